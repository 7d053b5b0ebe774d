"""The modules that a user's workload imports from beside it: which they are, and how a file finds them.

They are read off the source: what `import` names and what lies below the workload's own folder, and so on
from there. So their text counts in what identifies a trial, whether they are imported at the top or inside a
function. What is imported by other means (`importlib`), and installed packages, are not looked at.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from sweepflow.installed import holds_packages


class FromSource(SourceFileLoader):
    """Compiles the file as it is: a kept compilation is known by whole seconds and the size only."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        world = WORLDS.get(module.__name__.partition(".")[0])
        if world is not None:
            module.__dict__["__builtins__"] = world.builtins
        super().exec_module(module)


def neighbours(file: Path, name: str) -> dict[str, Path]:
    """Files of the modules that a source file imports from its own folder, and those that these import.

    Args:
        file: The workload's source.
        name: Its module's full name.

    Returns:
        By full name below the folder that the module is imported from, without the file itself.
    """
    file = file.resolve()
    root = file.parents[name.count(".") + (file.name == "__init__.py")]
    own = name.partition(".")[0]
    found: dict[str, Path] = {}
    waiting = [file]
    while waiting:
        for path in _imported(waiting.pop(), root):
            parts = path.relative_to(root).with_suffix("").parts
            full = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            is_own = not holds_packages(root) or full.partition(".")[0] == own
            if is_own and path != file and full not in found:
                found[full] = path
                waiting.append(path)
    return dict(sorted(found.items()))


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """Files below a folder that a source file names in its imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # executing it says what is wrong
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if node.level else root
            if base == root or root in base.parents:
                for alias in node.names:
                    yield from _files(base, [*(node.module or "").split("."), alias.name])


def _files(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    """The source files on the way to a module, as far as there are any; a last part may be no module."""
    for part in filter(None, parts):
        base = base / part
        for file in (base / "__init__.py", base.with_name(f"{part}.py")):
            if file.is_file():
                yield file
                break


def digest_of(file: Path, beside: Mapping[str, Path]) -> str:
    """16 hex digits of a source file and of its neighbours; the file's own where there are none."""
    text = hashlib.sha256(file.read_bytes())
    for name, path in beside.items():
        text.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return text.hexdigest()[:16]


@dataclass(frozen=True)
class World:
    """What the code of a workload that was given as a file, and of its neighbours, is executed in.

    Attributes:
        package: Which its neighbours are in.
        builtins: Python's own, but for an `import` that looks beside the file first.
    """

    package: ModuleType
    builtins: dict[str, Any]


WORLDS: dict[str, World] = {}
"""By the names of their packages."""


def open_world(module: ModuleType, file: Path, digest: str) -> None:
    """Let the code of a module that is about to be executed import what lies beside its file.

    `sys.path` stays as it is, and so do the names of other modules: neighbours are in a package of their own,
    which the module's own `import` looks into. So two workloads may each have a neighbour of the same name.
    The package's name is the same wherever the same source is loaded from the same place.
    """
    place = hashlib.sha256(f"{file}\0{digest}".encode()).hexdigest()[:8]
    world = f"{file.stem.replace('.', '_')}@{place}"
    _open_finder()
    if world not in WORLDS:
        package = types.ModuleType(world, f"Modules beside {file}.")
        package.__path__ = [str(file.parent)]
        WORLDS[world] = World(package, {**vars(builtins), "__import__": _importer(world, file.parent)})
    sys.modules[world] = WORLDS[world].package
    sys.modules[f"{world}.{file.stem}"] = module  # a neighbour may import the workload
    setattr(WORLDS[world].package, file.stem, module)
    module.__dict__["__builtins__"] = WORLDS[world].builtins


def close_world(module: ModuleType) -> None:
    """Forget the neighbours of a module that is not kept any more."""
    for world in [name for name, world in WORLDS.items() if module in vars(world.package).values()]:
        del WORLDS[world]
        for name in [name for name in sys.modules if name.partition(".")[0] == world]:
            del sys.modules[name]


def _importer(world: str, folder: Path) -> Callable[..., Any]:
    known: dict[str, bool] = {}

    def own_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not known.setdefault(top, _lies_beside(top, folder)):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        found = builtins.__import__(f"{world}.{name}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[f"{world}.{top}"]

    return own_import


def _lies_beside(name: str, folder: Path) -> bool:
    """Whether a module is to be found in a folder; a bare folder is none where there is one elsewhere."""
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None or spec.origin is not None:
        return spec is not None
    return any((folder / name).rglob("*.py")) and importlib.util.find_spec(name) is None


FRESH: set[str] = set()
"""Modules that are being imported anew, whatever compilation of them is kept."""


@contextmanager
def imported_anew(names: Iterable[str]) -> Iterator[None]:
    """Modules are forgotten, so that the block imports them as their files are now.

    Packages are executed again as they stand, since other modules of theirs stay, unless their files are
    gone. What was forgotten comes back where the block raises.
    """
    before = {name: sys.modules[name] for name in names}
    modules = [name for name, module in before.items() if not _is_package(module)]
    FRESH.update(before)
    _open_finder()
    try:
        for name in modules:
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(
                    child, None
                )  # `from parent import child` would find the old one
        for name in sorted(before.keys() - set(modules)):
            importlib.reload(before[name])
        yield
    except BaseException:
        for name in modules:
            sys.modules[name] = before[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], child, before[name])
        raise
    finally:
        FRESH.difference_update(before)


def _is_package(module: ModuleType) -> bool:
    """Whether it is one whose file is there."""
    return hasattr(module, "__path__") and Path(str(module.__file__)).is_file()


def _open_finder() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    importlib.invalidate_caches()  # a file of this second may not be listed yet


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in FRESH and fullname.partition(".")[0] not in WORLDS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = FromSource(spec.loader.name, spec.loader.path)
        return spec
