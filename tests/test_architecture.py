"""The page on the architecture names files and functions that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DECISIONS = re.findall(r"^\| .* \| `([\w/]+\.py)`: `([\w.]+)` \|$", PAGE, re.MULTILINE)
PATHS = sorted(set(re.findall(r"`((?:sweepflow|flows|tasks|tests)/[\w/]+(?:\.py|/))`", PAGE)))


def defined(file: Path) -> Iterator[str]:
    """Functions and classes of a module, and methods as `Class.method`."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))


@pytest.mark.parametrize(("file", "name"), DECISIONS)
def test_a_decision_is_made_where_the_table_says(file: str, name: str) -> None:
    assert name in set(defined(ROOT / file))


def test_every_row_of_the_table_is_looked_at() -> None:
    table = PAGE.split("## Where is it decided")[1].split("\n## ")[0]
    assert len(DECISIONS) == table.count("\n| ") - 2 > 20


@pytest.mark.parametrize("path", PATHS)
def test_a_file_is_where_the_page_says(path: str) -> None:
    assert (ROOT / path).exists()
