"""Decisions about the jobs of a cluster: how many to start, which to end, what to report, when to give up.

They are a pure function of the observed state, so they can be tested without a cluster and without waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweepflow.flows.runners.jobs import Held

MOST_STILLBORN = 3
"""Limit on the number of jobs in a row that end before one of their workers has reported for work."""
ENDING_SECONDS = 10.0
"""Time that the processes of a job may take to end before the job is replaced; it may have been requeued."""
IDLE_SECONDS = 30.0
"""Time that a surplus job has nothing to do before it is ended: starting another job takes longer."""


@dataclass
class Known:
    """The state that the supervisor keeps of a job.

    All times are seconds of a monotonic clock.

    Attributes:
        running_since: Time at which its processes were first seen to run, or None.
        hopeless_since: Time since which it has waited for a reason that waiting does not change, or None.
        ending_since: Time since which its processes are being ended, or None; the job may start again.
        gone_since: Time since which its workers have been connected although the job is gone, or None.
        idle_since: Time since which none of its workers has had a batch, or None.
        reported: Whether one of its workers has reported for work.
        joined: Number of its workers that have reported for work.
        starts: Number of times it was seen to start again: SLURM requeues jobs.
        leaving: Whether it is ending because it was told to, or because its walltime is near.
        ended: Whether it has ended.
    """

    running_since: float | None = None
    ending_since: float | None = None
    gone_since: float | None = None
    idle_since: float | None = None
    hopeless_since: float | None = None
    reported: bool = False
    joined: int = 0
    starts: int = 0
    leaving: bool = False
    ended: bool = False

    def see(self, job: Held, now: float, limits: Limits) -> None:
        """Update this state from the present state of the job."""
        self.ended = False
        self.ending_since = (self.ending_since or now) if job.state == "ending" else None
        if job.state == "pending":
            if self.running_since is not None:  # requeued: it starts anew
                self.running_since, self.reported = None, False
                self.starts += 1
        elif self.running_since is None:
            self.running_since = now
        elif limits.working_seconds is not None and now - self.running_since > limits.working_seconds:
            self.leaving = True
        self.hopeless_since = (self.hopeless_since or now) if job.hopeless else None


@dataclass(frozen=True)
class Limits:
    """Limits on numbers and times; `sweepflow.schema.runner` explains the terms.

    Attributes:
        fewest_jobs: Number of jobs that are kept even if there is less work.
        most_jobs: Largest number of jobs at once.
        first_jobs: Number of jobs that are requested before the amount of work is known.
        replacements: Number of workers that may be lost.
        connect_seconds, hopeless_seconds: Longest waits.
        working_seconds: Time from its start in which a job takes work; None for as long as the job lives.
    """

    fewest_jobs: int
    most_jobs: int
    first_jobs: int
    replacements: int
    connect_seconds: float
    hopeless_seconds: float = 0.0
    working_seconds: float | None = None


@dataclass(frozen=True)
class Seen:
    """The state of a cluster at one time.

    Attributes:
        now: Seconds of a monotonic clock.
        held: Jobs that have not ended.
        known: State kept of every job that was ever started.
        workers: Number of connected workers of each job.
        wanted: Number of jobs for which there is work.
        lost: Number of workers that were lost.
        stillborn: Number of jobs in a row that ended before one of their workers reported.
    """

    now: float
    held: list[Held]
    known: Mapping[str, Known]
    workers: Mapping[str, int]
    wanted: int
    lost: int
    stillborn: int


@dataclass
class Actions:
    """Actions to take.

    Attributes:
        start: Number of jobs to start.
        cancel: Ids of the jobs to end.
        waiting: Description of what the sweep waits for.
        failure: Reason why the sweep has to end: a description of the error, and the id of its job.
    """

    start: int = 0
    cancel: list[str] = field(default_factory=list)
    waiting: str = ""
    failure: tuple[str, str] | None = None


def decide(seen: Seen, limits: Limits) -> Actions:
    """Return the actions to take for a cluster in this state."""
    actions = Actions()
    staying = [job for job in seen.held if _stays(seen, job)]
    actions.failure = _failure(seen, staying, limits)
    wanted = min(max(seen.wanted, limits.fewest_jobs), limits.most_jobs)
    # Where job after job ends at once, as on a node that is broken, those that work go on without more.
    actions.start = max(0, wanted - len(staying)) if seen.stillborn < MOST_STILLBORN else 0
    # The last in the queue first; then those that have had nothing to do.
    spare = [job.id for job in reversed(staying) if job.state == "pending"]
    spare += [job.id for job in staying if _idle_seconds(seen, job) > IDLE_SECONDS]
    actions.cancel = spare[: max(0, len(staying) - wanted)]
    actions.waiting = _waiting(seen, staying)
    return actions


def _stays(seen: Seen, job: Held) -> bool:
    """Return whether a job has workers, or will have workers; otherwise the job is replaced."""
    known = seen.known[job.id]
    ending = known.ending_since is not None and seen.now - known.ending_since > ENDING_SECONDS
    return not known.leaving and not ending


def _idle_seconds(seen: Seen, job: Held) -> float:
    since = seen.known[job.id].idle_since
    return 0.0 if since is None else seen.now - since


def _failure(seen: Seen, staying: list[Held], limits: Limits) -> tuple[str, str] | None:
    if seen.lost > limits.replacements:
        return f"more than {limits.replacements} workers were lost (runner.replacements)", ""
    if any(seen.workers.values()):
        return None
    if seen.stillborn >= MOST_STILLBORN:
        return f"{seen.stillborn} jobs in a row ended before a worker of theirs reported for work", ""
    for job in staying:
        known = seen.known[job.id]
        if known.running_since is not None and not known.reported:
            silent = seen.now - known.running_since
            if silent > limits.connect_seconds:
                what = f"job {job.id} has run for {silent:.0f} s, and no worker of it has reported for work"
                return what, job.id
        if known.hopeless_since is not None and seen.now - known.hopeless_since > limits.hopeless_seconds:
            return f"job {job.id} waits, and waiting does not help: {job.reason}: {job.hopeless}", job.id
    return None


def _waiting(seen: Seen, staying: list[Held]) -> str:
    pending = [job for job in staying if job.state == "pending"]
    starting = [j for j in staying if j.state == "running" and not seen.workers.get(j.id)]
    said = []
    if pending:
        # SLURM writes the word None where it has not looked at a job yet: there is nothing to say of those.
        reasons = Counter(job.reason for job in pending if job.reason not in ("", "None"))
        words = ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common())
        said.append(f"{len(pending)} job{'s' * (len(pending) > 1)} pending" + f" ({words})" * bool(words))
    if starting:
        said.append(f"{len(starting)} job{'s' * (len(starting) > 1)} starting")
    if seen.stillborn >= MOST_STILLBORN:
        said.append(f"{seen.stillborn} jobs in a row ended at once, and no more are started")
    return "; ".join(said)
