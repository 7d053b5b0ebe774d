"""How long batches wait for a Prefect server that is away."""

from __future__ import annotations

import httpx
import pytest

from flows.runs import away
from flows.runs.away import AWAY_SECONDS, ServerWatch

NOBODY = httpx.ConnectError("nobody answers")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_server_that_goes_away_again_under_long_batches_is_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(away, "_answers", lambda: True)
    clock = Clock()
    watch = ServerWatch(clock)
    assert watch.is_to_wait(NOBODY)
    clock.now = 60.0
    assert not watch.waiting, "it is back, and no batch ends for long"
    clock.now += AWAY_SECONDS
    assert watch.is_to_wait(NOBODY) and watch.waiting


@pytest.mark.parametrize("answers", [True, False])
def test_a_server_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    """Also where it answers questions, and fails at every batch."""
    monkeypatch.setattr(away, "_answers", lambda: answers)
    clock = Clock()
    watch = ServerWatch(clock)
    for clock.now in (0.0, 250.0, 500.0):
        assert watch.is_to_wait(NOBODY)
        clock.now += 10.0
        assert bool(watch.waiting) is not answers
    clock.now = AWAY_SECONDS
    assert not watch.is_to_wait(NOBODY)
    clock.now += 10.0
    assert not watch.waiting, "what is left is not held up"
