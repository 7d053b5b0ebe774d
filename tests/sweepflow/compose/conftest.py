"""Compositions by the hundred: what is the same for all of them is made once."""

from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from sweepflow.compose import session
from sweepflow.compose.axes import Groups

_listed: dict[tuple[object, ...], Groups] = {}
_list = session._groups


def _listed_once(loader: ConfigLoaderImpl) -> Groups:
    key = tuple(element.path for element in loader.get_search_path().get_path())
    if key not in _listed:
        _listed[key] = _list(loader)
    return _listed[key]


@pytest.fixture(autouse=True)
def groups_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra is asked for the options of a directory's groups once: it reads every file anew each time."""
    monkeypatch.setattr(session, "_groups", _listed_once)
