"""What to do about the jobs of a cluster: how many to start, which to end, what to tell, when to give up.

A pure function of what is seen, so that it can be tested without a cluster and without waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweepflow.flows.runners.jobs import Held

MOST_STILLBORN = 3
"""Jobs in a row that end without a worker that has reported for work."""
ENDING_SECONDS = 10.0
"""How long the processes of a job may take to end before it is replaced; it may have been requeued."""
IDLE_SECONDS = 30.0
"""How long a job that is too many has nothing to do before it is ended: to start another takes longer."""


@dataclass
class Known:
    """What the supervisor remembers of a job.

    Attributes:
        running_since: When its processes were first seen to run (seconds of a monotonic clock), or None.
        hopeless_since: Since when it has waited for what does not pass by waiting, or None.
        ending_since: Since when its processes are being ended, or None; it may be to start again.
        gone_since: Since when workers of it have been connected though it is not there, or None.
        idle_since: Since when none of its workers has had a batch, or None.
        reported: Whether a worker of it has reported for work.
        joined: How many workers of it have.
        starts: How often it was seen to start again: SLURM requeues jobs.
        leaving: Whether it is ending because it was told to, or because its walltime is near.
        ended: Whether it has.
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
        """Take in what a job is now."""
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
    """How long and how often; see `sweepflow.schema.runner` for the words.

    Attributes:
        fewest_jobs: Kept where there is less work than that.
        most_jobs: Held at once.
        first_jobs: Asked for before it is known how much work there is.
        replacements: Workers that may be lost.
        connect_seconds, hopeless_seconds: Longest waits.
        working_seconds: How long a job takes work from its start; None for as long as it lives.
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
        known: What is remembered of every job that was ever started.
        workers: Workers of each job that are connected.
        wanted: Jobs that there is work for.
        lost: Workers that were lost.
        stillborn: Jobs in a row that ended before a worker of theirs reported.
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
    """What to do.

    Attributes:
        start: Jobs to start.
        cancel: Jobs to end.
        waiting: What there is to wait for, in words.
        failure: Why the sweep has to end, in words: what is wrong, and about which job.
    """

    start: int = 0
    cancel: list[str] = field(default_factory=list)
    waiting: str = ""
    failure: tuple[str, str] | None = None


def decide(seen: Seen, limits: Limits) -> Actions:
    """What to do about a cluster in this state."""
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
    """Whether a job has workers, or will have: where it does not, it is replaced."""
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
