"""What runs in other threads of a process hears that it is being ended."""

from __future__ import annotations

import os
import signal
from contextvars import copy_context
from types import FrameType

import pytest

from sweepflow import stop
from sweepflow.stop import (
    InterruptedBatchError,
    Work,
    is_stopped,
    raise_if_stopped,
    stop_at_signals,
    stoppable,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_what_runs_and_does_what_it_did(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_ENDING", False)
    heard: list[tuple[int, bool]] = []

    def handle(given: int, frame: FrameType | None) -> None:
        heard.append((given, is_stopped()))

    before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop_at_signals()
        raise_if_stopped()
        os.kill(os.getpid(), number)
        assert heard == [(number, True)], "first it is asked to stop, then what was there before"
        with pytest.raises(InterruptedBatchError):
            raise_if_stopped()
        assert Work().stop(0.0), "nothing runs"
        assert is_stopped(), "it is not taken back"
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def test_it_waits_for_what_is_stoppable_and_no_longer_than_it_is_told() -> None:
    work = Work()
    with work.begun_here(), stoppable():
        assert not work.stop(0.01) and is_stopped()
    assert work.stop(0.01)


def test_the_work_of_another_sweep_goes_on() -> None:
    mine, theirs = Work(), Work()
    with mine.begun_here():
        thread = copy_context()
    with theirs.begun_here(), stoppable():
        assert mine.stop(0.0), "it is not waited for"
        raise_if_stopped()
    assert thread.run(is_stopped) and not is_stopped()
