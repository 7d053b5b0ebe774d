"""Every key and value that the documentation and `conf/` show of a workload is one that it takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepflow.compose import compose_llc, compose_trials
from sweepflow.compose.allowed import typed
from tests.test_documented_examples import HEADING

ROOT = Path(__file__).parent.parent
PROGRAM = ("workload=command", "command=echo", "metrics=[loss]")
SLURM = (*PROGRAM, "runner=slurm")
TABLES = {
    ("workloads.md", "An external program"): (PROGRAM, ""),
    ("sweeps.md", "Shipped workloads"): (("workload=digits_mlp",), ""),
    ("slurm.md", "Keys"): (SLURM, "runner."),
}
"""Sections with a table of keys, the overrides that choose what has them, and what stands before them."""
NOT_LISTED = {"sha256", "pinned", "sweep", "resume_after", "pad_widths_to", "model", "data", "kind"}
"""Keys that no user gives, and groups, which have pages of their own."""
ROW = re.compile(r"\| (`[\w.]+`(?:, `[\w.]+`)*) \| ([^|`]*)\| ([^|]*)\|")
RUNNER_EXAMPLE = re.compile(
    r"""'(runner\.[a-z_]+=[^'\n]+)'|"(runner\.[a-z_]+=[^"\n]+)"|(?<!['"\w])(runner\.[a-z_]+=[^\s`'",]+)"""
)


def section(page: str, heading: str) -> str:
    parts = HEADING.split((ROOT / "docs" / page).read_text())
    return parts[parts.index(heading) + 1]


def rows(page: str, heading: str) -> list[tuple[str, str | None, str]]:
    """Key, default and text of each row of a section's table of keys."""
    table = section(page, heading).split("| key | default | |\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    found = []
    for line in table.splitlines():
        row = ROW.fullmatch(line)
        assert row, f"this row is not read: {line}"
        keys = re.findall(r"`(.*?)`", row[1])
        defaults = [d.strip() or None for d in (row[2].split(", ") if len(keys) > 1 else [row[2]])]
        assert len(defaults) == len(keys), line
        found += [(key, default, row[3]) for key, default in zip(keys, defaults, strict=True)]
    return found


def check(overrides: list[str]) -> Any:
    """Compose and validate; the first configuration."""
    request = compose_trials(overrides)
    first, *_ = [request.config(point, {}) for point in request.points]
    return first


@pytest.mark.parametrize("place", TABLES, ids=lambda place: place[0])
def test_tables_have_every_key_with_its_default(place: tuple[str, str]) -> None:
    overrides, prefix = TABLES[place]
    chosen = compose_trials(overrides).settings.runner if prefix else check(list(overrides))
    fields = type(chosen).model_fields
    documented = rows(*place)
    given = list(overrides)
    for key, default, _ in documented:
        field = fields[key.split(".")[0]]
        if default is not None:
            shown = typed(field.get_default(call_default_factory=True))
            assert default == shown or (default == "none" and shown in ("null", "[]")), key
            given.append(f"{prefix}{key}={shown}")
    check(given)
    named = {key.split(".")[0] for key, _, _ in documented}
    assert named == set(fields) - NOT_LISTED


def examples() -> Iterator[str]:
    """Everything in a section on external programs that is written as an override."""
    keys = {key.split(".")[0] for key, _, _ in rows("workloads.md", "An external program")}
    for code in re.findall(r"`([^`\n]+)`", section("workloads.md", "An external program")):
        for word in shlex.split(code) if code.startswith("'") else [code]:
            if word.partition("=")[0].split(".")[0] in keys and "=" in word:
                yield word


def runner_examples() -> Iterator[str]:
    """Every `runner.KEY=VALUE` of the documentation, in code or in a command."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for found in RUNNER_EXAMPLE.findall(page.read_text()):
            yield next(filter(None, found))


def test_the_search_finds_the_examples() -> None:
    assert {"runner.jobs=4", "runner.workers=2", "runner.partition=gpu"} <= set(runner_examples())
    assert {"devices=[0,1]", "style=option", 'args.out="{trial_dir}/model.pt"'} <= set(examples())


@pytest.mark.parametrize("override", sorted(set(examples())))
def test_values_that_are_shown_of_external_programs_are_taken(override: str) -> None:
    key = override.partition("=")[0]
    check([*(word for word in PROGRAM if word.partition("=")[0] != key), override])


def test_values_that_are_shown_of_runners_are_taken() -> None:
    for override in sorted(set(runner_examples())):
        runner = "dask" if override.startswith("runner.workers") else "slurm"
        compose_trials([*PROGRAM, f"runner={runner}", override])


def shown_commands() -> Iterator[str]:
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        for line in file.read_text().splitlines():
            if command := re.match(r"# sweepflow (sweep|llc) (.*)", line):
                yield f"{command[1]} {command[2]}"


@pytest.mark.parametrize("command", list(shown_commands()))
def test_commands_in_the_comments_of_shipped_files_are_taken(command: str) -> None:
    flow, *words = shlex.split(command)
    overrides = [word for word in words if "=" in word]
    if flow == "sweep":
        request = compose_trials(overrides)
        assert request.points
        if request.space is None:
            assert [request.config(point, {}) for point in request.points]
    else:
        assert compose_llc(overrides)
