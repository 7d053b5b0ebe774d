"""Every example in the README and in docs/ is run, as a reader would, in an empty directory.

Blocks fenced as `sh` and `python` are run, in order, in one directory a section; Python after Python in one
process, as in a notebook that is cleared before each cell. Blocks fenced as `console`, `pycon` and `py` are
not run: they start servers or installations, or show what another example runs. Their commands are composed,
their Python is compiled.
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
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
UNFILLED = re.compile(r"@@|<<<<|>>>>|\{\{|\b(TODO|TBD|FIXME|XXX|lorem ipsum)\b", re.IGNORECASE)
"""What a writer leaves where something is still to come."""
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^ *```(console|py)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
"""Blocks that are not run."""
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
NOTEBOOKS = {
    "docs/tutorials/learning-coefficient.md",
    "docs/tutorials/hyperparameters.md",
    "docs/tutorials/python-functions.md",
    "docs/how-to/own-workload.md",
    "docs/how-to/resume.md",
    "docs/how-to/results.md",
    "docs/how-to/python-functions.md",
}
"""Pages whose sections are one: each goes on with what those before it have left."""
GOES_ON = {
    "docs/how-to/sweepers.md": "docs/how-to/python-functions.md",
    "docs/how-to/hydra.md": "docs/how-to/python-functions.md",
    "docs/how-to/stop.md": "docs/how-to/resume.md",
}
"""Pages that are run after another, where it has left off: a process more would import Prefect and JAX."""
ALONE = {("docs/how-to/python-functions.md", "Give a configuration")}
"""Sections that change what Hydra knows, and with it what the others on their page mean."""
CELLS = """
import sys

known = {*globals(), "known", "cell"}
for cell in sys.argv[1:]:
    for name in globals().keys() - known:
        del globals()[name]
    exec(cell, globals())
"""
"""Runs each of its arguments as if it were a program of its own."""
FEW_DRAWS = "data.n_data=100 target.steps=50 sampler.warmup=60 sampler.draws=20"
DIGITS = "sweepflow sweep workload=digits_mlp"
FEW_TRIALS = "--samples 8 optimizer=sgd epochs=2"
SHORTER = {
    "sweepflow llc model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc": (
        f"sweepflow llc model=small target.seed=1,2 sampler=sgld {FEW_DRAWS}"
    ),
    "sweepflow llc model=linear sampler=hmc sampler.gamma=1": (
        "sweepflow llc model=linear sampler=hmc sampler.gamma=1 --dry-run"
    ),
    "sweepflow llc model=small target.seed=1,2 sampler=sgld,hmc name=first": (
        f"sweepflow llc model=small target.seed=1,2 sampler=hmc {FEW_DRAWS} name=first"
    ),
    "sweepflow llc model=small target.seed=1,2 sampler=hmc sampler.draws=10 name=short": (
        f"sweepflow llc model=small target.seed=1,2 sampler=hmc {FEW_DRAWS} name=short"
    ),
    "sweepflow llc sampler=sgld_fast sampler.step_size=1e-5,1e-4,1e-3,auto sampler.gamma=1,10,100 "
    "data.n_data=300": (
        f"sweepflow llc sampler=sgld_fast sampler.step_size=1e-4,auto sampler.gamma=1,10 {FEW_DRAWS}"
    ),
    f"{DIGITS} space=optimizer --samples 64 name=optimizers": (
        f"{DIGITS} space=optimizer {FEW_TRIALS} name=optimizers"
    ),
    f"{DIGITS} space=optimizer --samples 128 name=optimizers": (
        f"{DIGITS} space=optimizer --samples 128 name=optimizers --dry-run"
    ),
    f"{DIGITS} space=learning_rate --samples 64 name=adam": (
        f"{DIGITS} space=learning_rate {FEW_TRIALS} name=adam"
    ),
    f"{DIGITS} optimizer=adam,adamw,rmsprop learning_rate=0.03 --repeats 8 name=repeats": (
        f"{DIGITS} optimizer=adam,adamw,rmsprop learning_rate=0.03 --repeats 8 name=repeats --dry-run"
    ),
}
"""Commands that take minutes as they are, or add nothing to others: these run in their place, and a test
composes the commands as they are."""


@dataclass(frozen=True)
class Section:
    """What a page has under one heading, with what goes on with it."""

    page: str
    heading: str
    blocks: tuple[tuple[str, str], ...]


def name_of(page: Path) -> str:
    """A page's path from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def sections() -> list[Section]:
    """The sections that have examples, each with those that go on with it."""
    found: dict[tuple[str, str], Section] = {}
    for page in sorted(PAGES, key=lambda page: name_of(page) in GOES_ON):
        name = name_of(page)
        whole = GOES_ON.get(name, name if name in NOTEBOOKS else "")
        before, *rest = HEADING.split(page.read_text())
        for heading, text in [("", before), *zip(rest[::2], rest[1::2], strict=True)]:
            key = (whole, "") if whole and (name, heading) not in ALONE else (name, heading)
            first = found.get(key) or Section(*key, ())
            if blocks := BLOCK.findall(text):
                found[key] = replace(first, blocks=(*first.blocks, *blocks))
    return list(found.values())


SECTIONS = sections()


def test_no_example_is_left_out() -> None:
    run = [block for section in SECTIONS for block in section.blocks]
    assert sorted(run) == sorted(block for page in PAGES for block in BLOCK.findall(page.read_text()))
    kinds = {kind for section in SECTIONS if section.page == "README.md" for kind, _ in section.blocks}
    assert kinds == {"sh", "python"}


def test_what_is_said_of_sections_and_commands_is_so() -> None:
    headings = {(name_of(page), heading) for page in PAGES for heading in HEADING.findall(page.read_text())}
    assert headings >= ALONE
    assert {name_of(page) for page in PAGES} >= NOTEBOOKS | GOES_ON.keys()
    assert set(GOES_ON.values()) <= NOTEBOOKS
    commands = {line for section in SECTIONS for _, text in section.blocks for line in text.splitlines()}
    assert commands >= SHORTER.keys()


def test_python_that_is_only_shown_is_python() -> None:
    shown = [text for page in PAGES for kind, text in SHOWN.findall(page.read_text()) if kind == "py"]
    assert shown
    for text in shown:
        compile(text, "a block", "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
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
@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{s.page} {s.heading}".strip())
def test_examples_run(section: Section, tmp_path: Path, reader_home: Path, api_url: str) -> None:
    directory = tmp_path / "a reader's directory"
    directory.mkdir()
    alone = {
        **isolated(reader_home),
        "PATH": os.pathsep.join([str(warm().shell_command()), str(BIN), os.environ["PATH"]]),
    }
    # The README's reader has no server yet, and a section that makes a home shows what is done without one.
    no_server = section.page == "README.md" or any("PREFECT_HOME" in text for _, text in section.blocks)
    environment = alone if no_server else {**alone, "PREFECT_API_URL": api_url}
    for kind, blocks in groupby(section.blocks, key=itemgetter(0)):
        texts = [text for _, text in blocks]
        command = [sys.executable, "-c", CELLS, *texts]
        text = "\n".join(texts)
        if kind == "sh":
            for command_line, shorter in SHORTER.items():
                text = text.replace(f"{command_line}\n", f"{shorter}\n")
            command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n--- printed:\n{done.stdout}\n{done.stderr}"
