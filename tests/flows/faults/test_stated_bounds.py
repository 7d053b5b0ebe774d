"""Where there are no workers to be had, or none that live, a sweep ends within the bounds that are stated."""

from __future__ import annotations

import pytest

from sweepflow.flows.runners.jobs import RunnerError
from tests.flows.faults.gates import gated, let_go
from tests.flows.faults.lab import ON_SLURM, TWO_JOBS, Lab

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

REPLACEMENTS = 2
KILLED = (
    r"more than 2 workers were lost \(runner.replacements\)\s+got: +a worker process of job \d+ was killed"
)


def ended(lab: Lab) -> None:
    """It has failed, and nothing is left of it: no job, no process, no key of its own."""
    assert lab.prefect.see().run.state.name == "Failed"
    lab.nothing_is_left()
    assert not list((lab.store.root / "runs").glob("*.pem"))


def test_jobs_whose_workers_always_die(lab: Lab) -> None:
    with pytest.raises(RunnerError, match=KILLED) as caught:
        lab.sweep(lab.walks([-1, -2, -3], *TWO_JOBS, f"runner.replacements={REPLACEMENTS}"))
    assert caught.value.exit_code == 1
    assert REPLACEMENTS < len(lab.begun()) <= REPLACEMENTS + 3, "one more, and what ran meanwhile"
    again, _ = lab.lost()
    assert again and all("a worker process of job" in reason for reason in again)
    ended(lab)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            ('runner.directives=["--hold"]', "runner.hopeless_seconds=2"),
            r"job \d+ waits, and waiting does not help: JobHeldUser: .*scontrol release",
        ),
        (
            ("runner.prologue=['exec sleep 300']", "runner.connect_seconds=3"),
            r"job \d+ has run for \d+ s, and no worker of it has reported for work",
        ),
    ],
    ids=["hopeless_seconds", "connect_seconds"],
)
def test_jobs_that_never_work(keys: tuple[str, ...], words: str, lab: Lab) -> None:
    overrides = gated(lab, 1, *ON_SLURM, "runner.jobs=1", *keys)
    let_go(lab, [0])
    with pytest.raises(RunnerError, match=words) as caught:
        lab.sweep(overrides)
    assert "log cannot be read" not in str(caught.value), "a job that has not begun has none"
    assert lab.begun() == [] and lab.prefect.see().tasks == []
    ended(lab)
