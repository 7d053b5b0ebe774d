"""How long batches wait for a Prefect server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from uuid import uuid4

import httpx
import pytest

from sweepflow.flows.runs import reconcile
from sweepflow.flows.server import away, waiting
from sweepflow.flows.server.away import AWAY_SECONDS, Outage, ServerWatch, one_outage, outage
from tests.slurm.processes import PATIENCE

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
    watch = ServerWatch(Outage(clock))
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
    this = Outage(clock)
    watch = ServerWatch(this)
    for clock.now in (0.0, 250.0, 500.0):
        assert watch.is_to_wait(NOBODY)
        clock.now += 10.0
        assert bool(watch.waiting) is not answers
    clock.now = AWAY_SECONDS
    assert not watch.is_to_wait(NOBODY)
    clock.now += 10.0
    assert not watch.waiting, "what is left is not held up"
    assert watch.stays_away is not answers
    assert ServerWatch(this).stays_away is not answers, "also for what is launched later"
    watch.worked()
    monkeypatch.setattr(away, "_answers", lambda: False)
    assert not watch.stays_away, "a later outage, however short, is another one"


def test_while_a_server_is_away_it_is_said_in_brief_why(monkeypatch: pytest.MonkeyPatch) -> None:
    request = httpx.Request("GET", "http://127.0.0.1:4200/api/flow_runs/1")
    answer = httpx.Response(500, request=request, text="<html>\n<p>no database</p>\n" * 50)
    link = "\nFor more information check: https://example.org/500"
    told: list[str] = []

    def ask(client: object) -> bool:
        if told:
            return True
        raise httpx.HTTPStatusError(
            f"Server error for {request.url}{link}\n{answer.text}", request=request, response=answer
        )

    monkeypatch.setattr(reconcile, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(reconcile, "RETRY_SECONDS", 0.0)
    assert reconcile.patiently(ask, time.monotonic() + PATIENCE, told.append)
    assert told == ["HTTPStatusError: Server error for http://127.0.0.1:4200/api/flow_runs/1"]


def test_batches_and_the_end_of_a_sweep_wait_within_one_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, waits = Clock(), list[float]()

    def stays_silent(ask: object, deadline: float, on_silence: Callable[[str], None]) -> None:
        waits.append(round(deadline - clock.now, 3))
        while clock.now < deadline:
            on_silence("nobody answers")
            clock.now += 10.0
        raise NOBODY

    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
    monkeypatch.setattr(waiting, "is_embedded", lambda url: False)
    monkeypatch.setattr(waiting, "patiently", stays_silent)
    monkeypatch.setattr(waiting.time, "monotonic", clock)
    monkeypatch.setattr(away, "_answers", lambda: False)
    with one_outage():
        outage().clock = clock
        watch = ServerWatch()
        for clock.now in (0.0, 200.0, 400.0):
            assert watch.is_to_wait(NOBODY)
        assert not waiting.await_server(AWAY_SECONDS)
        assert not waiting.await_server(AWAY_SECONDS), "as jobs do that close their batches first"
        assert not watch.is_to_wait(NOBODY)
        assert waits == [200.0, 0.0] and clock.now == AWAY_SECONDS
        said = capsys.readouterr().err
        assert "for 3 min at most" in said and said.count("sweepflow cleanup --yes") == 1
        outage().over()
        assert not waiting.await_server(AWAY_SECONDS)
    assert waits[2:] == [AWAY_SECONDS], "another one has a limit of its own"
