"""The example in the docstring of each public name runs, and prints what it says."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

import sweepflow

MARKERS = {"Content", "Location", "Traced"}
"""Markers of fields: the example of `Config` shows them."""


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*sweepflow.__all__} - MARKERS))
def test_it_runs(name: str, prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPFLOW_STORE", raising=False)
    text = inspect.getdoc(getattr(sweepflow, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples, "it has an example"
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
