"""Configuration of an external program: what is run, with which arguments, and what identifies it."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from sweepflow.errors import ConfigError
from sweepflow.schema.data import Seed
from sweepflow.schema.fields import Config, Content, Location
from sweepflow.workloads.command_output import METRIC_NAME

RESERVED = ("exit_code", "seconds")
"""Figures of every command; a metric cannot have their names."""

LONGEST_LABEL = 40

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class CommandConfig(Config):
    """A program and its arguments: `command`, then those of `args`, then the seed, on one command line."""

    command: Content[str]
    """Split as a shell would, but run without one: no globs, no pipes, no variables."""
    args: Content[dict[str, Any]] = Field(default_factory=dict)
    """By dotted key, nested or not: numbers, text, true and false, null, and lists of them."""
    style: Content[Literal["override", "flag"]] = "override"
    """`key=value`, or `--key=value`."""
    seed: Content[Seed | None] = None
    seed_argument: Content[str] = "seed"
    """The key that the seed is passed under, where there is one."""
    metrics: Content[tuple[str, ...]] = Field(min_length=1)
    """Metrics that the program must print; others that it prints are kept as well."""
    sha256: Content[str] = ""
    """Of the files that the command names; filled in by sweepflow: a changed script is another trial."""
    cwd: Location[str | None] = None
    """The directory that the program runs in; the one that sweepflow was started in where it is not given."""
    timeout_seconds: Location[PositiveFloat | None] = None
    max_concurrent: Location[PositiveInt] = 1
    devices: Location[tuple[str, ...]] = ()
    """Given in turn as CUDA_VISIBLE_DEVICES; while there are enough, to one process at a time."""
    environment: Content[dict[str, str]] = Field(default_factory=dict)
    """Added to that of sweepflow; part of the trial, as what a program reads there may decide its result."""

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, command: str) -> str:
        try:
            words = shlex.split(command)
        except ValueError as error:  # such as "No closing quotation"
            raise ValueError(f"command cannot be split into words: {error}") from None
        if not words or "\0" in command:
            raise ValueError("command names no program")
        return command

    @field_validator("args")
    @classmethod
    def _has_one_form(cls, args: dict[str, Any]) -> dict[str, Any]:
        """Nested, whichever way it was written, so that equal arguments are equal configurations."""
        nested: dict[str, Any] = {}
        for key, value in _flat(args):
            *sections, name = key.split(".")
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise ValueError(f"args has a value and keys below it at the same key: {key}")
            if name in place:
                raise ValueError(f"args has the same key twice: {key}")
            place[name] = value
        return nested

    @field_validator("metrics")
    @classmethod
    def _can_be_found(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if not METRIC_NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(
                    f"metrics cannot hold {name!r}: a name has letters, digits and _ . / @ % + -, and is not "
                    f"{' or '.join(RESERVED)}"
                )
        return tuple(dict.fromkeys(metrics))

    @field_validator("environment")
    @classmethod
    def _can_be_set(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"environment cannot hold {name!r}: the system takes no such name or value")
        return environment

    @model_validator(mode="after")
    def _seed_is_given_once(self) -> CommandConfig:
        if self.seed is not None and self.seed_argument in dict(_flat(self.args)):
            raise ValueError(f"seed and args both give {self.seed_argument!r}")
        return self

    def __hash__(self) -> int:
        arguments = tuple((key, _hashable(value)) for key, value in sorted(_flat(self.args)))
        environment = tuple(sorted(self.environment.items()))
        return hash((self.command, arguments, self.style, self.seed, self.metrics, self.sha256, environment))


def _hashable(value: Any) -> Any:
    """Something hashable that is equal where values are: lists become tuples."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _flat(args: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values, in the order that they were written."""
    for key, value in args.items():
        parts = key.split(".") if isinstance(key, str) else [""]
        if not all(part and part.isprintable() and not set(part) & set("= \\") for part in parts):
            raise ValueError(f"args cannot have the key {prefix}{key}: keys are names, joined by dots")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value, f"{prefix}{key}")


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(entry, key) for entry in value]
    usable = value is None or isinstance(value, (bool, int, float, str))
    if not usable or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"args.{key} cannot be {value!r}: it is no finite number, text, true, false or null")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"args.{key} cannot hold the character NUL")
    return value


def command_line(config: CommandConfig) -> list[str]:
    """The words of the whole command line: arguments sorted by key, so that equal trials run alike."""
    given = sorted(_flat(config.args))
    if config.seed is not None:
        given.append((config.seed_argument, config.seed))
    dashes = "--" if config.style == "flag" else ""
    return [*shlex.split(config.command), *(f"{dashes}{key}={_text(value)}" for key, value in given)]


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return f"[{','.join(map(_text, value))}]"
    return str(value)


def label(config: CommandConfig) -> str:
    """The command for people: its words without their directories, cut to LONGEST_LABEL characters."""
    text = " ".join(os.path.basename(word) or word for word in shlex.split(config.command))
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def pin(config: CommandConfig) -> CommandConfig:
    """The same configuration with the SHA-256 of the files that its command names.

    Every word that is the path of a file counts, the part of a word behind `=`, and the module behind `-m`,
    where it lies below the directory that the command runs in. A module that is installed elsewhere, and what
    the program imports or reads beside these files, is not seen: where that changes, or differs between two
    programs of one name, add something to `args` that differs with it.

    Raises:
        ConfigError: for a file that cannot be read, or that changed since it was pinned.
    """
    sha = hashlib.sha256()
    words = shlex.split(config.command)
    for number, word in enumerate(words):
        modules = _module_files(word, words[number - 1] if number else "")
        for candidate in (word, word.partition("=")[2], *modules):
            path = os.path.join(_directory(config), candidate)
            if os.path.isfile(path):
                sha.update(f"{number} {_file_sha256(path)}\n".encode())
    if config.sha256 and config.sha256.lower() != sha.hexdigest():
        raise ConfigError(
            "a file that the command names has changed",
            got=f"SHA-256 {sha.hexdigest()} of what {config.command!r} names",
            allowed=f"SHA-256 {config.sha256}, as the configuration says",
            do="restore the file, or start the sweep anew to take it as it is, in new trials",
        )
    return config.model_copy(update={"sha256": sha.hexdigest()})


def _module_files(word: str, before: str) -> tuple[str, ...]:
    """Where Python, or a launcher that takes `-m` too, finds the module that a word names, if it does."""
    name = word if before == "-m" else word.removeprefix("-m") if word.startswith("-m") else ""
    if not _MODULE.fullmatch(name):
        return ()
    place = name.replace(".", "/")
    return f"{place}.py", f"{place}/__main__.py"


def _file_sha256(path: str) -> str:
    try:
        status = os.stat(path)
        return _file_sha256_at(path, (status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError as error:
        raise ConfigError(
            "a file that the command names cannot be read",
            got=f"{path}: {error.strerror or error}",
            do="check its permissions",
        ) from None


@lru_cache(maxsize=256)
def _file_sha256_at(path: str, _stamp: tuple[int, int, int]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _directory(config: CommandConfig) -> str:
    return os.path.expanduser(config.cwd or ".")


def check(config: CommandConfig) -> None:
    """Make sure that the command can be started, without starting it.

    Raises:
        ConfigError: where its directory or program is not there, the program cannot be executed, or a file
            changed since it was pinned.
    """
    directory = _directory(config)
    if not os.path.isdir(directory):
        raise ConfigError(
            "the directory that the command should run in is not there",
            got=f"cwd={config.cwd}, looked for at {os.path.abspath(directory)}",
            do="make it, or leave cwd out to run where sweepflow is started",
        )
    program = shlex.split(config.command)[0]
    path = os.path.join(directory, program)
    if "/" not in program:
        search = config.environment.get("PATH", os.environ.get("PATH", os.defpath))
        if shutil.which(program, path=search) is None:
            raise ConfigError(
                f"there is no program {program!r}",
                got=config.command,
                allowed=f"a program in one of the directories of PATH: {search}",
                do=f"write './{program}', or 'python {program}'"
                if os.path.isfile(path)
                else "check the spelling, or give the program's whole path",
            )
    elif not os.path.isfile(path):
        raise ConfigError(
            f"there is no program {program!r}",
            got=f"{config.command}, looked for at {os.path.abspath(path)}",
            do="check the spelling; a relative path starts at cwd",
        )
    elif not os.access(path, os.X_OK):
        raise ConfigError(
            f"{program!r} is not executable",
            got=config.command,
            do=f"chmod +x {shlex.quote(program)}, or put its interpreter in front, as in 'python train.py'",
        )
    if config.sha256:
        pin(config)
