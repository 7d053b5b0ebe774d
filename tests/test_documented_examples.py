"""Every example in the README and in docs/ is run, as a reader would, in an empty directory.

Blocks fenced as `sh` and `python` are run, in order, in one directory a file. Blocks fenced as `console`
are not: they start servers or installations, and have tests of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNFILLED = re.compile(r"@@|<<<<|>>>>|\{\{|\b(TODO|TBD|FIXME|XXX|lorem ipsum)\b", re.IGNORECASE)
"""What a writer leaves where something is still to come."""
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


def test_the_readme_has_examples() -> None:
    kinds = {kind for kind, _ in blocks(ROOT / "README.md")}
    assert kinds == {"sh", "python"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), start=1)
    assert [f"{page.name}:{number}: {line}" for number, line in lines if UNFILLED.search(line)] == []


@pytest.mark.parametrize("marker", ["@@SPEED@@", "is TBD.", "<!-- todo -->", "{{ figure }}", "<<<<<<< HEAD"])
def test_the_search_finds_what_is_left(marker: str) -> None:
    assert UNFILLED.search(f"It takes {marker} seconds")
    assert not UNFILLED.search("a method, `x@y`, a[b{c}], 1 << 4, Mastodon")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    directory = tmp_path / "a reader's directory"
    directory.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    for kind, text in blocks(page):
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n--- printed:\n{done.stdout}\n{done.stderr}"
