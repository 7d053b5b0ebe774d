"""The files that an external program's trial names or depends on: their contents are part of the trial."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

from sweepflow.errors import ConfigError
from sweepflow.schema.runner import default_store
from sweepflow.workloads.command_config import CommandConfig, flat

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MAGIC = re.compile(r"[*?\[]")
_KNOWN_FILES = 1 << 16
"""Number of files whose digests a process remembers."""


_LOOK: ContextVar[dict[Hashable, Any] | None] = ContextVar("look", default=None)
"""Contents that have been read in the present `one_look` block, if there is one."""

L = TypeVar("L")


@contextmanager
def one_look() -> Iterator[None]:
    """Context in which the content of a file or folder is read once, however many trials name it."""
    token = _LOOK.set({})
    try:
        yield
    finally:
        _LOOK.reset(token)


def _seen(key: Hashable, look: Callable[[], L]) -> L:
    known = _LOOK.get()
    if known is None:
        return look()
    if key not in known:
        known[key] = look()
    found: L = known[key]
    return found


def pin(config: CommandConfig) -> CommandConfig:
    """Return the same configuration with the SHA-256 of the files that it names and depends on.

    These files count:

    - every word of the command, and every part of a word after `=`, that is the path of a file;
    - the module after `-m`, if it lies below the directory that the command runs in;
    - every text of `args` and `environment` that is the path of a file;
    - all files of `depends`.

    Files of `outputs` do not count. A module that is installed elsewhere, and other files that the program
    imports or reads, are not seen.

    Raises:
        ConfigError: for a file that cannot be read, a file that changed since it was pinned, or an entry of
            `depends` that does not exist.
    """
    named = list(_named(config))
    if config.pinned is not None:  # of what has come since, the program may have written some
        named = [one for one in named if one[1] in config.pinned]
    sha = hashlib.sha256()
    for label, _, path in named:
        sha.update(f"{label} {_sha256(path)}\n".encode())
    for label, digest in _depended(config):
        sha.update(f"depends {label!r} {digest}\n".encode())
    if config.sha256 and config.sha256.lower() != sha.hexdigest():
        raise ConfigError(
            "a file that the command names has changed",
            got=f"SHA-256 {sha.hexdigest()} of what {config.command!r} names: "
            + ", ".join([*(config.pinned or [name for _, name, _ in named]), *config.depends]),
            allowed=f"SHA-256 {config.sha256}, as the configuration says",
            do="restore the file, or leave sha256 out (a column of a table, a key of best.yaml) to take it "
            "as it is, in new trials; give what the program itself writes as outputs=[...]",
        )
    names = dict.fromkeys(name for _, name, _ in named)
    return config.model_copy(update={"sha256": sha.hexdigest(), "pinned": tuple(names)})


def files_seen(config: CommandConfig) -> dict[str, str]:
    """Return the digest of every file that the trial names or depends on now, by its name."""
    return {name: _sha256(path) for _, name, path in _named(config)} | dict(_depended(config))


def folders_not_seen(config: CommandConfig) -> Iterator[str]:
    """Yield notes on folders that the command and its arguments name, and whose contents are not known."""
    known = [os.path.abspath(os.path.join(directory(config), os.path.expanduser(d))) for d in config.depends]
    for label, text in _texts(config):
        path = os.path.abspath(os.path.join(directory(config), os.path.expanduser(text)))
        named = text and not label.startswith("environment.") and os.path.isdir(path)
        if named and not _is_output(path, config) and not any(f"{path}/".startswith(f"{k}/") for k in known):
            yield (
                f"what lies in the folder {text} is no part of what identifies a trial: name it in depends "
                "where it decides the result, or in outputs"
            )


def directory(config: CommandConfig) -> str:
    """Return the directory that the command runs in."""
    return os.path.expanduser(config.cwd or ".")


def _named(config: CommandConfig) -> Iterator[tuple[str, str, str]]:
    """Yield the place where each file is named, the text that names it, and its path; without outputs."""
    for label, text in _texts(config):
        path = os.path.join(directory(config), os.path.expanduser(text))
        if os.path.isfile(path) and not _is_output(path, config):
            yield label, text, path


def _texts(config: CommandConfig) -> Iterator[tuple[str, str]]:
    """Yield every text that may name a file, with its place."""
    words = shlex.split(config.command)
    for number, word in enumerate(words):
        modules = _module_files(word, words[number - 1] if number else "")
        for text in (word, word.partition("=")[2], *modules):
            yield str(number), text
    for key, value in sorted(flat(config.args)):
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, str):
                yield f"args.{key}", entry
                yield f"args.{key}", entry.partition("=")[2]
    for name, value in sorted(config.environment.items()):
        yield f"environment.{name}", value


def _module_files(word: str, before: str) -> tuple[str, ...]:
    """Return the paths where Python, or a launcher that also takes `-m`, finds the module that a word names;
    none if it names no module."""
    name = word if before == "-m" else word.removeprefix("-m") if word.startswith("-m") else ""
    if not _MODULE.fullmatch(name):
        return ()
    place = name.replace(".", "/")
    return f"{place}.py", f"{place}/__main__.py"


def _depended(config: CommandConfig) -> list[tuple[str, str]]:
    """Return all files of `depends`, sorted, with their digests. Their names stay the same if everything is
    moved together."""
    key = (os.path.abspath(directory(config)), config.depends, config.outputs)
    return _seen(key, lambda: _look_at_depended(config)) if config.depends else []


def _look_at_depended(config: CommandConfig) -> list[tuple[str, str]]:
    here = directory(config)
    found: dict[str, str] = {}
    for entry in config.depends:
        text = os.path.normpath(os.path.expanduser(entry))
        whole = os.path.join(here, text)
        names = [text] if os.path.exists(whole) else sorted(glob.glob(text, root_dir=here, recursive=True))
        if not names:
            raise ConfigError(
                f"depends: there is no {entry!r}",
                got=f"{entry}, looked for at {os.path.abspath(whole)}",
                allowed="files, folders, and globs that find any, such as depends=[src/,configs/*.yaml]",
                do="check the spelling; a relative path starts at cwd",
            )
        base = os.path.dirname(_MAGIC.split(text, maxsplit=1)[0]) if os.path.isabs(text) else ""
        for name in names:
            path, shown = os.path.join(here, name), name.removeprefix(base).lstrip(os.sep)
            for file in _files_below(path) if os.path.isdir(path) else [path]:
                compiled = names != [text] and _is_compiled(file)
                if os.path.isfile(file) and not compiled and not _is_output(file, config):
                    label = os.path.normpath(shown + file[len(path) :])
                    if found.get(label, file) != file:  # of two folders of one name
                        label = os.path.abspath(file)
                    found[label] = file
    return sorted((label, _sha256(file)) for label, file in found.items())


def _files_below(folder: str) -> Iterator[str]:
    """Yield the files of a folder and its subfolders, except hidden and compiled files and the store."""
    store = os.path.realpath(default_store())
    for here, folders, files in os.walk(folder, followlinks=True):
        inside = f"{os.path.realpath(here)}{os.sep}"
        targets = {name: os.path.realpath(os.path.join(here, name)) for name in folders}
        folders[:] = [
            name
            for name, target in targets.items()
            if not name.startswith(".")
            and target != store
            and not inside.startswith(f"{target}{os.sep}")  # a link that leads back up
        ]
        paths = (os.path.join(here, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if not _is_compiled(path))


def _is_compiled(path: str) -> bool:
    """Return whether a file is a compiled module, which Python has made on import."""
    return path.endswith(".pyc") or "__pycache__" in path.split(os.sep)


def _is_output(path: str, config: CommandConfig) -> bool:
    """Return whether a file matches an entry of `outputs`, or lies below a match."""
    if not config.outputs:
        return False
    relative = os.path.relpath(path, directory(config)).split(os.sep)
    absolute = os.path.abspath(path).split(os.sep)
    for entry in config.outputs:
        pattern = os.path.normpath(os.path.expanduser(entry))
        parts = absolute if os.path.isabs(pattern) else relative
        if any(_fits(parts[:length], pattern.split(os.sep)) for length in range(1, len(parts) + 1)):
            return True
    return False


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a path matches a glob, part by part; `**` is any number of parts."""
    if not pattern or not parts:
        return not parts and all(one == "**" for one in pattern)
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or _fits(parts[1:], pattern)
    fits = parts[0] == pattern[0] or fnmatch.fnmatchcase(parts[0], pattern[0])  # a name may have brackets
    return fits and _fits(parts[1:], pattern[1:])


def _sha256(path: str) -> str:
    return _seen(path, lambda: _sha256_now(path))


def _sha256_now(path: str) -> str:
    try:
        status = os.stat(path)
        return _sha256_at(path, (status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError as error:
        raise ConfigError(
            "a file that the command names cannot be read",
            got=f"{path}: {error.strerror or error}",
            do="check its permissions",
        ) from None


@lru_cache(maxsize=_KNOWN_FILES)
def _sha256_at(path: str, _stamp: tuple[int, int, int]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
