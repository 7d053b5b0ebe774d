"""Every example in the README and in docs/ is run, as a reader would, in an empty directory.

Blocks fenced as `sh` and `python` are run, in order, in one directory a section; Python after Python in one
process, as in a notebook that is cleared before each cell. Blocks fenced as `console` are not run: they start
servers or installations, and have tests of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tests.prefect_server import BIN, isolated
from tests.warm import warm

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNFILLED = re.compile(r"@@|<<<<|>>>>|\{\{|\b(TODO|TBD|FIXME|XXX|lorem ipsum)\b", re.IGNORECASE)
"""What a writer leaves where something is still to come."""
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
NOTEBOOKS = {"python.md"}
"""Pages whose sections are one: each of their many processes would import Prefect and JAX anew."""
ALONE = {("python.md", "Configurations")}
"""Sections of theirs that change what Hydra knows, and with it what others mean."""
CELLS = """
import sys

known = {*globals(), "known", "cell"}
for cell in sys.argv[1:]:
    for name in globals().keys() - known:
        del globals()[name]
    exec(cell, globals())
"""
"""Runs each of its arguments as if it were a program of its own."""
GOES_ON = {("configuration.md", "The store"), ("resume.md", "Cleaning up")}
"""Sections that look at what an example before them on the page has left."""
FEW_DRAWS = "data.n_data=100 target.steps=50 sampler.draws=20 sampler.warmup=60"
SHORTER = {
    "sweepflow llc model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc": (
        f"sweepflow llc model=small target.seed=1,2 sampler=sgld,hmc {FEW_DRAWS}"
    ),
    "sweepflow sweep workload=digits_mlp space=optimizer --samples 64": (
        "sweepflow sweep workload=digits_mlp space=optimizer --samples 64 optimizer=sgd epochs=2"
    ),
}
"""Commands that take minutes as they are: a test plans them, and runs these in their place."""


@dataclass(frozen=True)
class Section:
    """What a page has under one heading, with the sections that go on with it."""

    page: Path
    heading: str
    blocks: tuple[tuple[str, str], ...]


def sections(page: Path) -> list[Section]:
    """The sections of a page that have examples."""
    before, *rest = HEADING.split(page.read_text())
    found: list[Section] = []
    for heading, text in [("", before), *zip(rest[::2], rest[1::2], strict=True)]:
        blocks = BLOCK.findall(text)
        goes_on = (page.name, heading) in GOES_ON
        if found and (goes_on or (page.name in NOTEBOOKS and (page.name, heading) not in ALONE)):
            number = -1 if goes_on else 0
            found[number] = replace(found[number], blocks=(*found[number].blocks, *blocks))
        elif blocks:
            found.append(Section(page, heading, tuple(blocks)))
    return found


SECTIONS = [section for page in PAGES for section in sections(page)]


def test_no_example_is_left_out() -> None:
    for page in PAGES:
        run = [block for section in SECTIONS if section.page == page for block in section.blocks]
        assert sorted(run) == sorted(BLOCK.findall(page.read_text()))
    kinds = {kind for section in SECTIONS if section.page.name == "README.md" for kind, _ in section.blocks}
    assert kinds == {"sh", "python"}


def test_what_is_said_of_sections_and_commands_is_so() -> None:
    headings = {(page.name, heading) for page in PAGES for heading in HEADING.findall(page.read_text())}
    assert headings >= GOES_ON | ALONE and {page.name for page in PAGES} >= NOTEBOOKS
    commands = {line for section in SECTIONS for _, text in section.blocks for line in text.splitlines()}
    assert commands >= SHORTER.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), start=1)
    assert [f"{page.name}:{number}: {line}" for number, line in lines if UNFILLED.search(line)] == []


@pytest.mark.parametrize("marker", ["@@SPEED@@", "is TBD.", "<!-- todo -->", "{{ figure }}", "<<<<<<< HEAD"])
def test_the_search_finds_what_is_left(marker: str) -> None:
    assert UNFILLED.search(f"It takes {marker} seconds")
    assert not UNFILLED.search("a method, `x@y`, a[b{c}], 1 << 4, Mastodon")


@pytest.fixture(scope="session")
def reader_home(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Path]) -> Path:
    """The Prefect home of a reader who has no server."""
    return new_home(tmp_path_factory.mktemp("reader") / "home")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{s.page.name} {s.heading}".strip())
def test_examples_run(section: Section, tmp_path: Path, reader_home: Path, api_url: str) -> None:
    directory = tmp_path / "a reader's directory"
    directory.mkdir()
    alone = {
        **isolated(reader_home),
        "PATH": os.pathsep.join([str(warm().shell_command()), str(BIN), os.environ["PATH"]]),
    }
    # The README's reader has no server yet, and a section that makes a home shows what is done without one.
    no_server = section.page.name == "README.md" or any("PREFECT_HOME" in text for _, text in section.blocks)
    environment = alone if no_server else {**alone, "PREFECT_API_URL": api_url}
    for kind, blocks in groupby(section.blocks, key=itemgetter(0)):
        texts = [text for _, text in blocks]
        command = [sys.executable, "-c", CELLS, *texts]
        text = "\n".join(texts)
        if kind == "sh":
            for command_line, shorter in SHORTER.items():
                text = text.replace(f"{command_line}\n", f"{command_line} --dry-run\n{shorter}\n")
            command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n--- printed:\n{done.stdout}\n{done.stderr}"
