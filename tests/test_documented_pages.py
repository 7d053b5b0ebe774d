"""The pages of the reference are what the script makes of the code."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that makes the pages of the reference."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(reference: ModuleType) -> None:
    for path, text in reference.pages().items():
        same = path.read_text("utf-8") == text
        assert same, f"{path.relative_to(ROOT)} is of before: run python docs/reference.py"


def test_the_reference_is_the_same_in_every_environment(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference.pages()
    for name, value in {"SWEEPFLOW_STORE": f"{os.sep}elsewhere", "COLUMNS": "60", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert reference.pages() == expected


def test_every_key_of_the_reference_has_a_meaning(reference: ModuleType) -> None:
    rows = [line for line in reference.configuration().splitlines() if line.startswith("| `")]
    keys = [line for line in rows if line.count(" | ") >= 4]
    assert len(keys) > 150
    assert [line for line in keys if line.endswith("|  |")] == []
