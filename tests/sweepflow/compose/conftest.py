"""Compositions by the hundred: what is the same for all of them is made once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweepflow.compose import session
from sweepflow.compose.axes import Groups

_listed: dict[tuple[object, ...], Groups] = {}
_list = session._groups


def _listed_once(primary: str, own: Path | None, search: Sequence[str]) -> Groups:
    key = (primary, own, *search)
    if key not in _listed:
        _listed[key] = _list(primary, own, search)
    return _listed[key]


@pytest.fixture(autouse=True)
def groups_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra is asked for the options of a directory's groups once: it reads every file anew each time."""
    monkeypatch.setattr(session, "_groups", _listed_once)
