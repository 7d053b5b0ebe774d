"""What is decided about the jobs of a cluster, for any state of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.flows.runners.jobs import Held
from sweepflow.flows.runners.supervision import (
    ENDING_SECONDS,
    IDLE_SECONDS,
    MOST_STILLBORN,
    Actions,
    Known,
    Limits,
    Seen,
    decide,
)

NOW = 1000.0
LIMITS = Limits(
    fewest_jobs=0, most_jobs=4, first_jobs=4, replacements=5, connect_seconds=120.0, hopeless_seconds=60.0
)


@st.composite
def states(draw: st.DrawFn) -> tuple[Seen, Limits]:
    times = st.one_of(st.none(), st.floats(0, NOW))
    fewest = draw(st.integers(0, 4))
    limits = replace(LIMITS, fewest_jobs=fewest, most_jobs=draw(st.integers(max(1, fewest), 8)))
    held, known, workers = [], {}, {}
    for number in range(draw(st.integers(0, 10))):
        state = draw(st.sampled_from(["pending", "running", "ending"]))
        reason = draw(st.sampled_from(["", "Resources", "Priority"])) if state == "pending" else ""
        job = Held(str(number), state, reason)
        held.append(job)
        known[job.id] = Known(
            running_since=draw(times),
            ending_since=draw(times) if state == "ending" else None,
            idle_since=draw(times),
            reported=draw(st.booleans()),
            leaving=draw(st.booleans()),
        )
        workers[job.id] = draw(st.integers(0, 2)) if state == "running" else 0
    lost, stillborn = draw(st.integers(0, 8)), draw(st.integers(0, 4))
    return Seen(NOW, held, known, workers, draw(st.integers(0, 20)), lost, stillborn), limits


@given(states())
def test_never_more_jobs_than_may_be_and_no_busy_one_is_ended(state: tuple[Seen, Limits]) -> None:
    seen, limits = state
    actions = decide(seen, limits)
    staying = [
        job
        for job in seen.held
        if not seen.known[job.id].leaving and job.id not in actions.cancel and job.state != "ending"
    ]
    assert actions.start >= 0
    if actions.start:
        assert len(staying) + actions.start <= max(limits.most_jobs, len(staying))
        assert not actions.cancel, "what is ended is not started again in the same breath"
    for job_id in actions.cancel:
        job = next(job for job in seen.held if job.id == job_id)
        idle = seen.known[job_id].idle_since
        assert job.state == "pending" or (idle is not None and NOW - idle > IDLE_SECONDS)
        assert not seen.known[job_id].leaving
    kept = [j for j in seen.held if not seen.known[j.id].leaving and j.id not in actions.cancel]
    assert len(kept) >= min(limits.fewest_jobs, len([j for j in seen.held if not seen.known[j.id].leaving]))


@given(states())
def test_where_nothing_is_wrong_there_are_as_many_jobs_as_are_wanted(state: tuple[Seen, Limits]) -> None:
    seen, limits = state
    seen = replace(seen, stillborn=0, lost=0)
    actions = decide(seen, limits)
    wanted = min(max(seen.wanted, limits.fewest_jobs), limits.most_jobs)
    known = seen.known
    ended = {j.id for j in seen.held if NOW - (known[j.id].ending_since or NOW) > ENDING_SECONDS}
    staying = [job for job in seen.held if not known[job.id].leaving and job.id not in ended]
    assert len(staying) + actions.start >= wanted
    assert actions.start == max(0, wanted - len(staying))


def decided(
    *jobs: Held,
    known: Known | None = None,
    workers: int = 0,
    wanted: int = 1,
    lost: int = 0,
    stillborn: int = 0,
) -> Actions:
    count = {job.id: workers for job in jobs}
    return decide(
        Seen(NOW, list(jobs), {job.id: known or Known() for job in jobs}, count, wanted, lost, stillborn),
        LIMITS,
    )


def test_a_sweep_ends_where_jobs_end_before_they_have_worked() -> None:
    assert decided(stillborn=MOST_STILLBORN - 1).failure is None
    what, _ = decided(stillborn=MOST_STILLBORN).failure or ("", "")
    assert what == "3 jobs in a row ended before a worker of theirs reported for work"


def test_a_broken_node_does_not_end_the_sweep_of_those_that_work() -> None:
    actions = decided(Held("1", "running"), workers=1, wanted=4, stillborn=MOST_STILLBORN)
    assert actions.failure is None and actions.start == 0
    assert "3 jobs in a row ended at once" in actions.waiting


def test_a_sweep_ends_where_more_workers_are_lost_than_may_be() -> None:
    assert decided(Held("1", "running"), workers=1, lost=5).failure is None
    what, _ = decided(Held("1", "running"), workers=1, lost=6).failure or ("", "")
    assert what == "more than 5 workers were lost (runner.replacements)"


def test_a_worker_that_does_not_report_ends_the_sweep_only_where_none_works() -> None:
    silent = Known(running_since=NOW - 121)
    what, job = decided(Held("7", "running"), known=silent).failure or ("", "")
    assert what == "job 7 has run for 121 s, and no worker of it has reported for work" and job == "7"
    assert decided(Held("7", "running"), known=silent, workers=1).failure is None
    assert decided(Held("7", "running"), known=replace(silent, running_since=NOW - 119)).failure is None
    assert decided(Held("7", "running"), known=replace(silent, reported=True)).failure is None


def test_waiting_in_vain_ends_and_waiting_for_resources_does_not() -> None:
    waiting = Known(hopeless_since=NOW - 61)
    job = Held("7", "pending", "AssocGrpCPUMinutesLimit", "the account has used up its time; ask for more")
    what, _ = decided(job, known=waiting).failure or ("", "")
    assert "waits, and waiting does not help: AssocGrpCPUMinutesLimit: the account has used up" in what
    actions = decided(Held("7", "pending", "Resources"), known=Known())
    assert actions.failure is None and actions.waiting == "1 job pending (1 for Resources)"


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([Held("1", "running")], "1 job starting"),
        (
            [Held("1", "pending", "Priority"), Held("2", "pending", "Priority")],
            "2 jobs pending (2 for Priority)",
        ),
        (
            [Held("1", "running"), Held("2", "pending", "Resources"), Held("3", "pending", "Priority")],
            "2 jobs pending (1 for Resources, 1 for Priority); 1 job starting",
        ),
        ([Held("1", "pending")], "1 job pending"),
    ],
)
def test_what_there_is_to_wait_for_is_said(jobs: list[Held], words: str) -> None:
    assert decided(*jobs).waiting == words


def test_a_job_that_is_requeued_starts_anew() -> None:
    known = Known()
    for state in ("pending", "running"):
        known.see(Held("1", state), NOW, LIMITS)
    known.reported = True
    assert known.starts == 0 and known.running_since == NOW
    known.see(Held("1", "ending"), NOW + 1, LIMITS)
    assert known.ending_since == NOW + 1
    known.see(Held("1", "pending", "BeginTime"), NOW + 2, LIMITS)
    assert (known.starts, known.running_since, known.reported, known.ending_since) == (1, None, False, None)
    known.see(Held("1", "running"), NOW + 30, LIMITS)
    assert known.running_since == NOW + 30 and known.starts == 1


def test_a_job_takes_no_work_near_its_walltime() -> None:
    known, limits = Known(), replace(LIMITS, working_seconds=54.0)
    known.see(Held("1", "running"), NOW, limits)
    known.see(Held("1", "running"), NOW + 54, limits)
    assert not known.leaving
    known.see(Held("1", "running"), NOW + 55, limits)
    assert known.leaving
    assert decide(Seen(NOW + 55, [Held("1", "running")], {"1": known}, {"1": 1}, 1, 0, 0), limits).start == 1
