"""Checks of an external program that are possible before it is started."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator

from sweepflow.errors import ConfigError
from sweepflow.workloads.command_config import CommandConfig
from sweepflow.workloads.command_files import directory, pin
from sweepflow.workloads.command_line import check_line

_INTERPRETER = re.compile(r"(python|pypy)[\d.]*|(ba|da|z|k)?sh|Rscript|julia|node|perl|ruby")
_SCRIPT = re.compile(r".+\.(py|sh|R|r|jl|js|mjs|pl|rb)")
_KEPT = "all that it prints is kept in a log beside its record: leave that part out"
_BY_SHELL = (
    "put the line into a script, with \"$@\" where the arguments belong: command='bash run.sh' "
    "(sh -c '...' sh does it, too)"
)


def check(config: CommandConfig) -> None:
    """Check that the command can be started, without starting it.

    Raises:
        ConfigError: if its directory, program or script does not exist, the program cannot be executed, the
            command needs a shell, an argument would not reach the program, or a file changed since it was
            pinned.
    """
    _check_shell_syntax(config)
    check_line(config)
    place = directory(config)
    if not os.path.isdir(place):
        raise ConfigError(
            "the directory that the command should run in is not there",
            got=f"cwd={config.cwd}, looked for at {os.path.abspath(place)}",
            do="make it, or leave cwd out to run where sweepflow is started",
        )
    words = shlex.split(config.command)
    _check_program(config, words[0], place)
    if len(words) > 1 and _INTERPRETER.fullmatch(os.path.basename(words[0])) and _SCRIPT.fullmatch(words[1]):
        path = os.path.join(place, words[1])
        if not os.path.isfile(path) and "{" not in words[1]:
            raise ConfigError(
                f"there is no script {words[1]!r}",
                got=f"{config.command}, looked for at {os.path.abspath(path)}",
                do="check the spelling; a relative path starts at cwd",
            )
    if config.sha256:
        pin(config)


def _check_program(config: CommandConfig, program: str, place: str) -> None:
    path = os.path.join(place, program)
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


def _check_shell_syntax(config: CommandConfig) -> None:
    """Refuse syntax that only a shell understands: the program would get it as words."""
    command = config.command
    found = next(shell_syntax(command), None)
    if found is None:
        return
    folder = re.match(r"\s*cd\s+(\S+)\s*(&&|;)\s*(.+)", command)
    variable = re.match(r"\s*(\w+)=(\S*)\s+(.+)", command)
    if folder:
        do = f"write cwd={folder[1]} command={shlex.quote(folder[3])}"
    elif found.endswith("=") and variable:
        do = f"write environment.{variable[1]}={variable[2]} command={shlex.quote(variable[3])}"
    elif found in (">", "<") or re.search(r"\|\s*tee\b", command):
        do = f"{_KEPT if found != '<' else 'name the file in args'}; or {_BY_SHELL}"
    elif found == "~":
        do = f"write the whole path: {os.path.expanduser('~')}"
    elif found in ("*", "?"):
        do = f"list the files, or put it in quotes where the program is to get it as it is; or {_BY_SHELL}"
    elif found.startswith("\\"):
        do = "put it in single quotes for the text itself"
    elif found == "$":
        do = f"write its value, or put it in single quotes for the text itself; or {_BY_SHELL}"
    else:
        do = _BY_SHELL
    raise ConfigError(
        f"the command has {found!r}, which only a shell understands, and is run without one",
        got=command,
        allowed="a program and its arguments, in words; quotes keep a word together",
        do=do,
    )


def shell_syntax(command: str) -> Iterator[str]:
    """Yield the parts of a command that have a special meaning in a shell, in their order."""
    quote, escaped, begins = "", False, True
    for number, character in enumerate(command):
        behind = command[number + 1 : number + 2]
        if escaped:
            if quote and character in "$`":  # a shell takes the backslash away, and words are split without
                yield f"\\{character}"
            escaped, begins = False, False
            continue
        if character == "\\" and quote != "'":
            escaped = True
            continue
        if quote:
            if character == quote:
                quote = ""
            elif quote == '"' and (character == "`" or (character == "$" and _names(behind))):
                yield character
            continue
        if character in "'\"":
            quote = character
        elif character in "|&;<>()`*?":
            yield "&&" if command[number : number + 2] == "&&" else character
        elif (character == "$" and _names(behind, "'\"")) or (begins and character in "~#"):
            yield character
        begins = character.isspace()
        if number == 0 or not command[:number].strip():
            assignment = re.match(r"[A-Za-z_]\w*=", command[number:])
            if assignment:
                yield assignment[0]


def _names(behind: str, quotes: str = "") -> bool:
    """Return whether the character after a dollar sign gives it a meaning: name, number, bracket, quote."""
    return bool(re.fullmatch(rf"[A-Za-z_{{(\[\d@*#?$!{quotes}-]", behind))
