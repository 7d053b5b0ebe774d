"""Outline of what can be typed for a command: groups with their options, and keys with the values they take.

A shell asks for it to complete a word, and somebody waits. So it is read from files, from the schema and from
the source of workloads; neither Hydra nor JAX is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic.fields import FieldInfo

import sweepflow
from sweepflow.compose.allowed import choices, kind_of, sections, typed
from sweepflow.schema.llc import LlcConfig

PACKAGE = Path(sweepflow.__file__).parent
CONF = PACKAGE / "conf"
"""Directory of the shipped configuration files, in a checkout and in an installed wheel alike."""
SOURCES = {
    "train": ("optimizer.py", "train/config.py"),
    "landscape": ("optimizer.py", "landscape.py"),
    "command": ("command_config.py",),
}
"""Files with the fields of the shipped workloads' configurations."""
NOT_TYPED = {"kind", "sha256", "pinned", "sweep", "resume_after", "pad_widths_to", "model", "data"}
"""Fields that a group sets, or that sweepflow fills in."""

Files = Mapping[str, Mapping[str, Path]]
"""The file of each option of each group."""
Values = dict[str, list[str]]
"""Values of each key, as they are typed and as far as they are known: names, or the default."""


@dataclass(frozen=True)
class Outline:
    """Words that overrides are made of.

    Attributes:
        groups: Options of each group, by the group as it is typed: `+experiment` has a plus.
        keys: Values of each dotted key.
    """

    groups: dict[str, list[str]]
    keys: Values


def outline(primary: str, overrides: Sequence[str], config_dir: Path | None = None) -> Outline:
    """Return what can be typed beside other overrides.

    Args:
        primary: Name of the primary file: `llc` or `sweep`.
        overrides: The other overrides. The options that they choose decide which keys there are.
        config_dir: A directory of the user's own groups.
    """
    shipped = _files(CONF)
    files = {group: dict(options) for group, options in shipped.items()}
    for group, own in {} if config_dir is None else _files(config_dir).items():
        files.setdefault(group, {}).update(own)
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    chosen = {group: options.split(",") for group, _, options in pairs if group in files}
    composed = _add_defaults(chosen, files, primary)
    groups = {group: sorted(options) for group, options in files.items() if group in composed}
    added = {f"+{group}": sorted(files[group]) for group in files if group not in shipped}
    keys: Values = {"store": [], "name": []}
    for group, options in chosen.items():
        keys |= _workload_keys(options, files) if group == "workload" else _keys(group, options, files)
    return Outline({**groups, **added, "+experiment": sorted(files["experiment"])}, keys)


def _files(directory: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for file in directory.glob("*/*.yaml"):
        found.setdefault(file.parent.name, {})[file.stem] = file
    return found


def _add_defaults(chosen: dict[str, list[str]], files: Files, primary: str) -> set[str]:
    """Add the options that files choose where nothing is typed, and return the groups that files name."""
    named = set()
    contents = [_content(files, group, option) for group, options in chosen.items() for option in options]
    contents.append(_read(CONF / f"{primary}.yaml"))
    for content in contents:
        for group, option in _defaults(content):
            named.add(group)
            if group not in chosen:
                chosen[group] = [option] if option else []
                contents += [_content(files, group, option)] if option else []
    return named


def _defaults(content: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield the groups and options of a defaults list."""
    for item in content.get("defaults") or []:
        for group, option in item.items() if isinstance(item, dict) else ():
            yield str(group).removeprefix("override ").lstrip("/"), option


def _content(files: Files, group: str, option: str) -> Mapping[str, Any]:
    file = files.get(group, {}).get(option)
    return {} if file is None else _read(file)


def _read(file: Path) -> Mapping[str, Any]:
    """Return the content of a YAML file; nothing if it is none, which the command itself says."""
    with suppress(OSError, ValueError, yaml.YAMLError):
        content = yaml.safe_load(file.read_text("utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _keys(group: str, options: Sequence[str], files: Files) -> Values:
    """Return the keys of a section of the schema, of the kinds that the options have."""
    section = LlcConfig.model_fields.get(group)
    kinds = {None, *(_content(files, group, option).get("kind") for option in options)}
    return {
        f"{group}.{name}": _values(one)
        for model in (sections(section.annotation) if section else ())
        if kind_of(model) in kinds
        for name, one in model.model_fields.items()
        if name not in NOT_TYPED
    }


def _values(field: FieldInfo) -> list[str]:
    if field.annotation is bool:
        return ["false", "true"]
    return choices(field) or _shown(field.default)


def _shown(default: object) -> list[str]:
    """Return a default as it is typed, unless a shell would need quotes around it."""
    return [typed(default)] if isinstance(default, (int, float, str)) and default != "" else []


def _workload_keys(options: Sequence[str], files: Files) -> Values:
    """Return the keys of workloads, which are read from their source: JAX would be imported with them."""
    keys: Values = {}
    for option in options:
        name = str(_content(files, "workload", option).get("workload"))
        for file in SOURCES.get(name, ()):
            keys |= _fields(PACKAGE / "workloads" / file)
        if option not in files["workload"]:  # a module of the user
            keys |= _fields(
                Path(option) if option.endswith(".py") else Path(f"{option.replace('.', '/')}.py")
            )
    return keys


def _fields(file: Path) -> Values:
    """Return the fields of the configuration that a file defines, with their values."""
    try:
        body = ast.parse(file.read_text("utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return {}
    aliases = {
        target.id: node.value
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {
        node.target.id: _values_in(node, aliases)
        for model in body
        if isinstance(model, ast.ClassDef) and model.name.endswith("Config")
        for node in model.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id not in NOT_TYPED
    }


def _values_in(node: ast.AnnAssign, aliases: Mapping[str, ast.expr]) -> list[str]:
    """Return what `_values` returns, for a field in a source file."""
    annotation = aliases.get(ast.unparse(node.annotation), node.annotation)
    if ast.unparse(annotation) == "bool":
        return ["false", "true"]
    names = [
        name.value
        for literal in ast.walk(annotation)
        if isinstance(literal, ast.Subscript) and ast.unparse(literal.value) == "Literal"
        for name in ast.walk(literal.slice)
        if isinstance(name, ast.Constant)
    ]
    if names or node.value is None:
        return [typed(name) for name in names]
    with suppress(ValueError):  # a call, say
        return _shown(ast.literal_eval(node.value))
    return []
