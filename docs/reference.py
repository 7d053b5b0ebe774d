"""Pages of `docs/reference/` that are made from the code: `python docs/reference.py` writes them.

`configuration.md` is made from the typed configurations and from the files of `conf/`, `commands.md` from the
help of the commands. A test compares the committed pages with what this script makes.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types as bounds
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from sweepflow.compose.allowed import kind_of, sections, typed
from sweepflow.flows.cli import app
from sweepflow.schema.bounds import options_of, unpacked
from sweepflow.schema.fields import Config, roles
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.name import NAME, NAME_IN_WORDS
from sweepflow.schema.runner import default_store
from sweepflow.workloads.command_config import CommandConfig
from sweepflow.workloads.landscape import Config as LandscapeConfig
from sweepflow.workloads.train.config import TrainConfig

ROOT = Path(__file__).parent.parent
WIDTH = 130
"""Number of characters of a line of text."""
GROUPS = {
    "model": "The network.",
    "data": "The data set.",
    "target": "The training of a target. All options have the same keys.",
    "sampler": "The sampler of the localised, tempered posterior p(w) ∝ exp(−nβ Lₙ(w) − γ/2 ‖w − w₀‖²).",
    "runner": "The place where batches run. These keys are no part of what identifies a trial.",
}
"""Groups that a whole section of a configuration is chosen from."""
COMMON_SETTINGS = ("store", "name")
"""Keys beside the groups that every sweep has."""
WORKLOADS: dict[str, type[Config]] = {
    "train": TrainConfig,
    "command": CommandConfig,
    "landscape": LandscapeConfig,
}
PATTERNS = {NAME: f": {NAME_IN_WORDS}", r"^[^\s'\"]+$": " without spaces and quotes"}
"""Regular expressions of text, and their meaning in words."""
FILLED_IN = ("kind", "sha256", "pinned", "sweep", "resume_after", "pad_widths_to")
"""Fields that a user does not give: the option chooses `kind`, and sweepflow fills the others in."""

CONFIGURATION = """\
# Configuration

`python docs/reference.py` makes this page from the typed configurations and from the files in `conf/`.
[Choose what to run](../how-to/overrides.md) explains how overrides are written.

Every table of keys has these columns:

- **key**: write it as `KEY=VALUE`, or as `KEY=VALUE,VALUE` for a sweep.
- **values**: the type and its bounds. `null` is the value that unsets a key.
- **default**: what the key has if neither you nor the chosen option sets it. You must give a “required” key.
- **role**: what the key decides.

| role | what the key decides |
| --- | --- |
| static | the compiled program: trials with different values are different programs |
| traced | a number that is fed to the program: trials with different values share a program |
| content | the arrays of the inputs, the random key, or the end of a run |
| location | where or how the work runs; it is no part of what identifies a trial |

A traced key with the value `auto` is static.
"""

COMMANDS = """\
# Commands

`python docs/reference.py` makes this page from the help that `sweepflow COMMAND --help` prints.

## Exit codes

Commands that run a sweep end with one of these exit codes, and so does `sweepflow resume`:

| exit code | meaning |
| --- | --- |
| 0 | Every trial has a finite result, which may be flagged. In a hyperparameter sweep, some trials may have \
diverged. |
| 1 | A trial failed, a batch failed, or `--max-failures` ended the sweep. `llc`: also if a trial diverged. \
`sweep`: also if all trials diverged. `verify`: also if an estimate is outside its tolerance. |
| 2 | Nothing was run: bad input, a store that cannot be written, or a server that cannot be used. |
| 130, 143 | The sweep was interrupted (130), or ended by TERM (143). |

`sweepflow doctor` ends with 0 if a sweep can run, and with 2 otherwise.
"""
ORDER = {
    "Learning coefficients": ("llc", "plan", "verify"),
    "Hyperparameters": ("sweep", "samples", "train", "compare"),
    "The store": ("targets", "estimates", "trials", "jobs", "show", "rm"),
    "Runs": ("runs", "resume", "cancel", "cleanup", "doctor"),
}
"""Headings of the page of commands, and the commands under each."""


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, "utf-8")


def pages() -> dict[Path, str]:
    """Return the text of every page by its path."""
    folder = ROOT / "docs" / "reference"
    return {folder / "configuration.md": configuration(), folder / "commands.md": commands()}


def commands() -> str:
    """Return the page of the commands."""
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert known == {name for names in ORDER.values() for name in names}
    parts = [COMMANDS]
    for heading, names in ORDER.items():
        parts.append(f"## {heading}\n")
        for name in names:
            shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [name, "--help"], prog_name="sweepflow")
            parts.append(f"### sweepflow {name}\n\n```text\n{shown.output.strip()}\n```\n")
    return "\n".join(parts)


def configuration() -> str:
    """Return the page of the configuration."""
    parts = [CONFIGURATION, "## Groups\n", *_groups()]
    for group, words in GROUPS.items():
        found = _kinds(group)
        parts += [f"## {group}\n", f"{words}\n", *_options(group)]
        common = _common(found)
        if common:
            parts += [f"### Every {group}\n", *_keys(found[0], group, common)]
        for section in found:
            names = [name for name in section.model_fields if name not in common]
            if len(found) > 1:
                parts.append(f"### {group}.kind={kind_of(section)}\n")
            parts += [f"{_docstring(section)}\n", *_keys(section, group, names)]
    parts += ["## workload\n", "What a hyperparameter sweep runs.\n", *_options("workload")]
    for name, section in WORKLOADS.items():
        parts += [f"### {name}\n", f"{_docstring(section)}\n", *_keys(section, "", section.model_fields)]
    parts += ["## space\n", "A space that a hyperparameter sweep draws its configurations from.\n"]
    parts += [*_options("space"), "## experiment\n", "A sweep in a file: `+experiment=NAME`.\n"]
    parts += [*_options("experiment"), "## Every sweep\n", *_keys(LlcConfig, "", COMMON_SETTINGS)]
    return "\n".join(parts)


def _groups() -> Iterator[str]:
    """Yield the table of all groups, with the option that each command takes if none is chosen."""
    defaults: dict[str, dict[str, str]] = {}
    for command in ("llc", "sweep"):
        for entry in yaml.safe_load((ROOT / "conf" / f"{command}.yaml").read_text("utf-8"))["defaults"]:
            if isinstance(entry, dict):
                ((group, option),) = entry.items()
                defaults.setdefault(group, {})[command] = option or "none"
    yield "| group | default of `sweepflow llc` | default of `sweepflow sweep` |\n| --- | --- | --- |"
    workload = {"model": "that of the workload", "data": "that of the workload"}
    for group in [*GROUPS, "workload", "space", "experiment"]:
        chosen = defaults.get(group, {})
        cells = (chosen.get("llc", ""), chosen.get("sweep", workload.get(group, "")))
        yield f"| [`{group}`](#{group}) | {cells[0]} | {cells[1]} |"
    yield ""


def _options(group: str) -> Iterator[str]:
    """Yield the table of a group's options: their comments, and what each sets."""
    yield "| option | what it sets | |\n| --- | --- | --- |"
    for file in sorted((ROOT / "conf" / group).glob("*.yaml")):
        text = file.read_text("utf-8")
        words = " ".join(_comment(line[2:]) for line in text.splitlines() if re.match("# (?!@)", line))
        yield f"| `{file.stem}` | {_cell(_set(yaml.safe_load(text) or {}))} | {_cell(words)} |"
    yield ""


def _comment(line: str) -> str:
    """Return a line of a file's comment with its commands and overrides as code, and its pages as links."""
    if line.startswith("sweepflow "):
        return f"`{line}`"
    line = re.sub(r"docs/([\w/-]+\.md)", r"[docs/\1](../\1)", line)
    return re.sub(r"(?<!\S)([\w.]+=[^\s,;:]*(?:,[^\s,;:]+)*)(?=[\s,;:]|$)", r"`\1`", line)


def _set(tree: dict[str, Any]) -> str:
    """Return what a file of options sets, as overrides."""
    words = []
    for entry in tree.pop("defaults", []):
        for group, option in entry.items():
            words.append(f"{group.removeprefix('override ').removeprefix('/')}={option}")
    for key, value in tree.pop("hydra", {}).get("sweeper", {}).get("params", {}).items():
        words.append(f"{key}={value}")
    for key, value in tree.pop("parameters", {}).items():
        rest = {name: part for name, part in value.items() if name != "distribution"}
        words.append(f"{key}: {value['distribution']} {typed(rest)}")
    for rule in tree.pop("constraints", []):
        words.append(typed(rule))
    words += [f"{key}={typed(value)}" for key, value in tree.items() if value != "???"]
    return ", ".join(f"`{word}`" for word in words)


def _kinds(group: str) -> list[type[Config]]:
    """Return the sections that a group chooses from."""
    return [one for one in sections(LlcConfig.model_fields[group].annotation) if issubclass(one, Config)]


def _common(found: list[type[Config]]) -> list[str]:
    """Return the names of the fields that all kinds of a section share, with one default and one meaning."""
    if len(found) == 1:
        return []

    def told(section: type[Config], name: str) -> Any:
        field = section.model_fields.get(name)
        return field and (_values(field), _default(field), _docstrings(section).get(name))

    first, *others = found
    return [
        name
        for name in first.model_fields
        if name not in FILLED_IN and all(told(other, name) == told(first, name) for other in others)
    ]


def _keys(section: type[Config], prefix: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the table of a section's keys."""
    shown = [name for name in names if name not in FILLED_IN]
    if not shown:
        return
    yield "| key | values | default | role | meaning |\n| --- | --- | --- | --- | --- |"
    for name in shown:
        field = section.model_fields[name]
        where = prefix == "runner" or section is LlcConfig
        role = "location" if where else roles(section)[name].value
        key = f"{prefix}.{name}" if prefix else name
        values = _values(field)
        if name.endswith("_seconds"):
            values = values.replace("float > 0", "float > 0, in seconds")
        meaning = _docstrings(section).get(name) or _sentence(field.description or "")
        yield f"| `{key}` | {values} | {_default(field)} | {role} | {_cell(meaning)} |"
    yield ""


def _values(field: FieldInfo) -> str:
    """Return the type of a field and its bounds: `int > 0, or auto`."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return _cell(_type(kind))


def _type(annotation: Any) -> str:
    plain, metadata = unpacked(annotation)
    if len(options_of(plain)) > 1 and get_origin(plain) is not Literal:
        if sections(plain):
            return "a section"
        parts = [_type(Annotated[option, *metadata] if metadata else option) for option in get_args(plain)]
        return ", or ".join(sorted(parts, key=lambda part: part == "`null`"))
    if plain is type(None):
        return "`null`"
    if get_origin(plain) is Literal:
        return ", ".join(f"`{typed(value)}`" for value in get_args(plain))
    if get_origin(plain) in (tuple, list):
        least = next(
            (f" {item.min_length} or more" for item in metadata if isinstance(item, bounds.MinLen)), ""
        )
        return f"list of{least} {_type(get_args(plain)[0])}"
    if get_origin(plain) is dict:
        return "mapping"
    if plain is str:
        found = [getattr(item, "pattern", None) for item in metadata]
        return "text" + next((words for pattern, words in PATTERNS.items() if pattern in found), "")
    names = {int: "int", float: "float", bool: "`true`, `false`"}
    return names.get(plain, "any") + _bounds(metadata)


def _bounds(metadata: Iterable[Any]) -> str:
    low = high = ""
    for item in metadata:
        match item:
            case bounds.Gt(gt=value):
                low = f"> {value:g}"
            case bounds.Ge(ge=value):
                low = f"≥ {value:g}"
            case bounds.Lt(lt=value):
                high = f"< {value if isinstance(value, int) else format(value, 'g')}"
            case bounds.Le(le=value):
                high = f"≤ {value:g}"
    return " " + " and ".join(filter(None, (low, high))) if low or high else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is default_store:
        return "`sweepflow-data`"  # whatever this process has in its environment
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        given = {"kind": kind_of(type(value)), **value.model_dump(exclude_defaults=True)}
        return ", ".join(f"`{key}={typed(one)}`" for key, one in given.items())
    return f"`{typed(value)}`"


def _docstring(section: type[Config]) -> str:
    """Return the docstring of a section, in lines of text."""
    paragraphs = inspect.cleandoc(section.__doc__ or "").split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(p.split()), WIDTH, break_long_words=False) for p in paragraphs)


@cache
def _docstrings(section: type[Config]) -> dict[str, str]:
    """Return the docstring of every field of a section, by the field's name."""
    found: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if not issubclass(one, Config):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(tree, ast.ClassDef)
        for statement, after in zip(tree.body, tree.body[1:], strict=False):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            found.pop(statement.target.id, None)
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[statement.target.id] = " ".join(str(after.value.value).split())
    return found


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "." * bool(words)


def _cell(text: str) -> str:
    """Return text that stands in a cell of a table."""
    return text.replace("|", r"\|")


if __name__ == "__main__":
    main()
