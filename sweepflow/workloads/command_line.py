"""The command line of an external program: its words, and the line that a person would type."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from sweepflow.errors import ConfigError
from sweepflow.words import shortened
from sweepflow.workloads.command_config import CommandConfig, flat, text

LONGEST_LABEL = 40
PLACES = ("trial", "sweep", "trial_dir")
"""Names of the places `{...}` besides `{seed}` and `{args.KEY}`, in the order of GIVEN_VARIABLES: the trial's
id, its sweep's name, a folder of its own."""
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})

_NAME = r"(?:trial|trial_dir|sweep|seed|args\.[^\s{}=]+)"
_PLACE = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
_LIKE_A_PLACE = re.compile(r"(?<!\{)\{([a-z_]+)\}(?!\})")
_LIKENESS = 0.8
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""Text that argparse takes for a negative number and not for an option."""


def command_line(config: CommandConfig, given: Mapping[str, str] | None = None) -> list[str]:
    """Return the words of the whole command line; arguments sorted by key, so that equal trials run alike.

    Args:
        config: Configuration of the trial.
        given: Values of `{trial}`, `{trial_dir}` and `{sweep}`; a place without a value stays as it is.
    """
    known = {name: value for name, value in (given or {}).items() if name in PLACES}
    own = dict(_own(config))
    values = {**known, **{place: text(value) for place, (_, value) in own.items()}}
    words = shlex.split(config.command)
    placed = {place for word in words for place in _places(word)}
    left = [one for place, one in own.items() if place not in placed]
    arguments = _STYLES[config.style]([(key, _filled_in(value, known)) for key, value in left])
    return [*(_filled(word, values) for word in words), *arguments]


def filled_environment(config: CommandConfig, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the configuration sets, with the values of their places."""
    return {name: _filled(value, given) for name, value in config.environment.items()}


def typed(config: CommandConfig, given: Mapping[str, str] | None = None) -> str:
    """Return the command line as it would be typed in a shell, with its directory and its variables."""
    given = given or {}
    variables = [f"{name}={shlex.quote(v)}" for name, v in sorted(filled_environment(config, given).items())]
    line = " ".join([*variables, shlex.join(command_line(config, given))])
    return line if config.cwd is None else f"cd {shlex.quote(os.path.expanduser(config.cwd))} && {line}"


def label(config: CommandConfig) -> str:
    """Return the command for people: its words without their directories, cut to LONGEST_LABEL characters."""
    said = " ".join(os.path.basename(word) or word for word in shlex.split(config.command))
    return shortened(said, LONGEST_LABEL)


def check_line(config: CommandConfig) -> None:
    """Check that every argument reaches the program unchanged.

    Raises:
        ConfigError: for a place that nothing fills, an argument that is not passed, or an argument that has
            no form in its style.
    """
    words = shlex.split(config.command)
    placed = [place for word in words for place in _places(word)]
    own = dict(_own(config))
    for place in placed:
        if place not in PLACES and place not in own:
            raise ConfigError(
                f"nothing fills the place {{{place}}} in the command",
                got=config.command,
                allowed=", ".join(f"{{{name}}}" for name in (*PLACES, *own)),
                do=f"give {place}=..., or write {{{{{place}}}}} for the text itself",
            )
    for word in [*words, *_texts(config)]:
        for name in _LIKE_A_PLACE.findall(word):
            match = difflib.get_close_matches(name, [*PLACES, "seed"], 1, _LIKENESS)
            if match and name not in (*PLACES, "seed"):
                raise ConfigError(
                    f"there is no place {{{name}}}",
                    got=word,
                    allowed=", ".join(f"{{{name}}}" for name in (*PLACES, "seed", "args.KEY")),
                    do=f"did you mean {{{match[0]}}}? Write {{{{{name}}}}} for the text itself",
                )
    left = [key for place, (key, _) in own.items() if place not in placed]
    if config.style == "none" and left:
        raise ConfigError(
            f"style=none passes no arguments, and the command has no place for {', '.join(left)}",
            got=config.command,
            do=f"add {{{next(p for p in own if p not in placed)}}} to the command, or take another style",
        )
    script = shell_script(words)
    if script is not None:
        _check_script(config, script, bool(left) and config.style != "none")
    if config.style == "option":
        for key, value in flat(config.args):
            _check_option(key, value)


def shell_script(words: list[str]) -> str | None:
    """Return the script of `sh -c SCRIPT`; None if the command does not have this form."""
    if os.path.basename(words[0]) not in SHELLS:
        return None
    before = ""
    for word, behind in pairwise(words[1:]):
        if re.fullmatch(r"-[a-z]*c", word):
            return behind
        if not word.startswith(("-", "+")) and before not in ("-o", "+o", "-O", "+O"):
            return None
        before = word
    return None


def _check_script(config: CommandConfig, script: str, passes: bool) -> None:
    if passes and not re.search(r"\$[@*1]|\$\{[@*1]", script):
        raise ConfigError(
            "the shell's script does not pass its arguments on, so the program would not see them",
            got=config.command,
            allowed='a script with "$@" where the arguments belong',
            do="sh -c 'python train.py \"$@\"' sh: the last word is the script's own name",
        )
    unsafe = [place for place in _places(script) if place not in ("trial", "sweep", "seed")]
    if unsafe:
        raise ConfigError(
            f"{{{unsafe[0]}}} within a shell's script would be read as shell",
            got=script,
            allowed='"$SWEEPFLOW_TRIAL_DIR", and "$@" or "$1" for arguments',
            do="write the variable, in quotes, instead",
        )


def _check_option(key: str, value: Any) -> None:
    entries = value if isinstance(value, list) else []
    wrong = [e for e in entries if isinstance(e, list) or (isinstance(e, str) and e.startswith("-"))]
    if wrong:
        raise ConfigError(
            f"args.{key} has no form as --{key} A B C: {text(wrong[0])} would not be read as one of them",
            got=f"args.{key}={text(value)}",
            allowed="a list of numbers, or of text that does not begin with -",
            do="take style=flag or style=json",
        )


def _own(config: CommandConfig) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield the arguments by their places, as key and value; sorted, the seed last."""
    for key, value in sorted(flat(config.args)):
        yield f"args.{key}", (key, value)
    if config.seed is not None:
        yield "seed", (config.seed_argument, config.seed)


def _texts(config: CommandConfig) -> Iterator[str]:
    for _, value in flat(config.args):
        yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))
    yield from config.environment.values()


def _places(word: str) -> list[str]:
    return [plain for _, plain in _PLACE.findall(word) if plain]


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Return a word with the values of its places; `{{trial}}` is the text `{trial}`."""
    return _PLACE.sub(lambda m: f"{{{m[1]}}}" if m[1] else values.get(m[2], m[0]), word)


def _filled_in(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_filled_in(entry, values) for entry in value]
    return _filled(value, values) if isinstance(value, str) else value


def _options(given: list[tuple[str, Any]]) -> list[str]:
    """Return arguments as argparse takes them: true is `--key` alone, false and null are left out, lists are
    several words."""
    words: list[str] = []
    for key, value in given:
        if isinstance(value, list):
            words += [f"--{key}", *map(_number_or_text, value)]
        elif value is True:
            words.append(f"--{key}")
        elif value is not False and value is not None:
            said = text(value)  # what begins with a hyphen would be taken for an option
            words += [f"--{key}={said}"] if said.startswith("-") else [f"--{key}", said]
    return words


def _number_or_text(value: Any) -> str:
    said = text(value)
    if said.startswith("-") and not _NEGATIVE.fullmatch(said) and isinstance(value, float):
        return str(np.format_float_positional(value, trim="0"))  # argparse takes -1e-05 for an option
    return said


def _json(given: list[tuple[str, Any]]) -> list[str]:
    nested: dict[str, Any] = {}
    for key, value in given:
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return [json.dumps(nested, ensure_ascii=False)]


_STYLES: Mapping[str, Callable[[list[tuple[str, Any]]], list[str]]] = {
    "override": lambda given: [f"{key}={text(value)}" for key, value in given],
    "flag": lambda given: [f"--{key}={text(value)}" for key, value in given],
    "option": _options,
    "json": _json,
    "none": lambda given: [],
}
