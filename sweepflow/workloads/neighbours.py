"""The modules that a user's workload imports from beside it: the list of them, and the way a file finds them.

They are found in the source: modules that `import` names and that lie below the workload's own folder, and
in turn the modules that those import. Therefore their text is part of a trial's identity, whether they are
imported at the top or inside a function. Modules that are imported by other means (`importlib`), and
installed packages, are not examined.
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
    """Compiles the file as it is: a cached compilation is identified only by whole seconds and the size."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        world = WORLDS.get(module.__name__.partition(".")[0])
        if world is not None:
            module.__dict__["__builtins__"] = world.builtins
        super().exec_module(module)


def neighbours(file: Path, name: str) -> dict[str, Path]:
    """Return the files of the modules that a source file imports from its own folder, and of the modules that
    these import.

    Args:
        file: Source file of the workload.
        name: Full name of its module.

    Returns:
        Files by full name below the folder that the module is imported from, without the file itself.
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
    """Yield the files below a folder that a source file names in its imports."""
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
    """Yield the source files on the way to a module, as far as they exist; a last part may be no module."""
    for part in filter(None, parts):
        base = base / part
        for file in (base / "__init__.py", base.with_name(f"{part}.py")):
            if file.is_file():
                yield file
                break


def digest_of(file: Path, beside: Mapping[str, Path]) -> str:
    """Return the digest (16 hex digits) of a source file and its neighbours; its own if it has none."""
    text = hashlib.sha256(file.read_bytes())
    for name, path in beside.items():
        text.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return text.hexdigest()[:16]


@dataclass(frozen=True)
class World:
    """The environment in which the code of a workload given as a file, and of its neighbours, is executed.

    Attributes:
        package: Package that contains the neighbours.
        builtins: Python's own builtins, except for an `import` that looks beside the file first.
    """

    package: ModuleType
    builtins: dict[str, Any]


WORLDS: dict[str, World] = {}
"""Worlds by the names of their packages."""


def open_world(module: ModuleType, file: Path, digest: str) -> None:
    """Let the code of a module that is about to be executed import modules that lie beside its file.

    `sys.path` and the names of other modules do not change: neighbours are in a package of their own, which
    the module's own `import` searches. Therefore two workloads may each have a neighbour of the same name.
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
    """Forget the neighbours of a module that is no longer kept."""
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
    """Return whether a module is found in a folder. A bare folder does not count if there is a module of its
    name elsewhere."""
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None or spec.origin is not None:
        return spec is not None
    return any((folder / name).rglob("*.py")) and importlib.util.find_spec(name) is None


FRESH: set[str] = set()
"""Modules that are being imported again, whatever compilation of them is cached."""


@contextmanager
def imported_anew(names: Iterable[str]) -> Iterator[None]:
    """Forget modules, so that the block imports them from the present files.

    Packages are executed again in place, since their other modules stay, unless their files no longer exist.
    Forgotten modules come back if the block raises.
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
    """Return whether a module is a package whose file exists."""
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
