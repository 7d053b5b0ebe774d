"""SLURM's commands as typed functions: submit, look, cancel, ask what became of a job.

What SLURM says is read in forms that it writes for machines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweepflow.flows.runners.slurm_command import PASSING, SlurmError, SubmitError, output_of, run, said

SEPARATOR = "\x1f"
"""Between the columns of squeue and sinfo: a control character that no name, reason or list of nodes has."""

INNOCENT = frozenset({"CANCELLED", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REVOKED", "FORGOTTEN"})
"""States at the end of a job that say nothing against the work that was in it."""
LATE = frozenset({"TIMEOUT", "DEADLINE"})
"""States at the end of a job that was ended for the time it took."""
UNENDED = frozenset(
    {
        *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"),
        *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "STAGE_OUT"),
    }
)
"""States of a job that has not ended, or is to start again."""


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs.

    Attributes:
        id: SLURM's number.
        state: SLURM's long form: PENDING, CONFIGURING, RUNNING, COMPLETING, SUSPENDED.
        reason: Why it waits, in SLURM's words: Resources, Priority, QOSMaxCpuPerUserLimit; None as a word.
        node: Where it runs; empty while it waits.
        started: When it started, or is expected to, local time in ISO 8601; None where SLURM cannot say.
        left: Time that it has left, as SLURM writes it: 59:12, 1-02:03:04, UNLIMITED.
    """

    id: str
    name: str
    state: str
    reason: str
    node: str
    started: str | None
    left: str


@dataclass(frozen=True)
class Ended:
    """What became of a job.

    Attributes:
        state: SLURM's long form; FORGOTTEN where SLURM no longer knows the job (it forgets after MinJobAge,
            five minutes by default).
        exit_code: Of the job's script.
        signal: That ended it, or 0.
        node: Where its script ran; empty where it never did.
    """

    state: str
    exit_code: int = 0
    signal: int = 0
    node: str = ""

    @property
    def innocent(self) -> bool:
        """Whether it says nothing against the work that was in the job."""
        return self.state in INNOCENT

    @property
    def late(self) -> bool:
        """Whether its time was over: the walltime, or a deadline that a directive gives."""
        return self.state in LATE


@dataclass(frozen=True)
class Partition:
    """A partition of the cluster.

    Attributes:
        limit: Longest walltime, as SLURM writes it: 1-00:00:00, infinite.
        default: Whether it is taken where none is named.
        up: Whether it starts jobs.
        nodes: How many it has.
    """

    name: str
    limit: str
    default: bool
    up: bool
    nodes: int


@dataclass(frozen=True)
class Node:
    """A compute node.

    Attributes:
        address: By which SLURM reaches it.
        hostname: What the machine calls itself.
    """

    name: str
    address: str
    hostname: str
    partitions: tuple[str, ...]


def submit(script: str) -> str:
    """Submit a batch script; its job's id.

    Raises:
        SubmitError: with what sbatch said; `may_pass` where it may be taken later.
    """
    done = run(["sbatch", "--parsable"], script)
    if done.returncode:
        raise SubmitError(
            "SLURM does not take the job",
            got=said(done),
            do="see what it would be: sweepflow doctor runner=slurm --no-job",
        )
    # ID or ID;CLUSTER, as the last line: a site's submit plugin may talk before it.
    return done.stdout.split()[-1].partition(";")[0]


def test_only(script: str) -> str | None:
    """Why SLURM would not take a batch script, in its own words; None where it would.

    Raises:
        SlurmError: where it cannot be asked.
    """
    done = run(["sbatch", "--test-only"], script)
    if not done.returncode:
        return None
    if any(words in done.stderr.lower() for words in PASSING):
        raise SlurmError("SLURM cannot be asked", got=said(done), do="try again when `scontrol ping` answers")
    return said(done)


test_only.__test__ = False  # type: ignore[attr-defined]  # to pytest it looks like a test


def queue(name: str | None = None) -> list[QueuedJob]:
    """This user's jobs that wait or run, in order of their ids.

    Args:
        name: Only those with this name.
    """
    columns = SEPARATOR.join(["%i", "%T", "%r", "%N", "%S", "%L", "%j"])
    done = output_of(["squeue", "--noheader", f"--user={os.getuid()}", "--sort=i", f"--format={columns}"])
    jobs = []
    for line in done.splitlines():
        parts = line.split(SEPARATOR)
        if len(parts) == 7:
            job_id, state, reason, node, started, left, called = (part.strip() for part in parts)
            if name not in (None, called):
                continue
            when = None if started in ("", "N/A") else started
            jobs.append(QueuedJob(job_id, called, state, reason, node, when, left))
    return jobs


def ended(job_id: str) -> Ended | None:
    """What became of a job, or None where it waits, runs, or is to start again."""
    done = run(["scontrol", "show", "job", "--oneliner", job_id])
    if done.returncode:
        if "invalid job id" in done.stderr.lower():
            return Ended("FORGOTTEN")
        raise SlurmError("SLURM does not say what became of a job", got=f"{job_id}: {said(done)}")
    fields = _fields(done.stdout)
    state = fields.get("JobState", "")
    if state in UNENDED:
        return None
    code, _, signal = fields.get("ExitCode", "0:0").partition(":")
    node = fields.get("BatchHost", "")
    return Ended(state, int(code or 0), int(signal or 0), "" if node == "(null)" else node)


def cancel(job_ids: Sequence[str]) -> None:
    """End jobs; those that have ended already do no harm."""
    if job_ids:
        _cancel(["scancel", *job_ids])


def cancel_named(name: str) -> None:
    """End this user's jobs of a name."""
    _cancel(["scancel", f"--user={os.getuid()}", f"--name={name}"])


def partitions() -> list[Partition]:
    """The partitions that there are."""
    found = []
    # %P marks the default partition with a star; %R does not.
    done = output_of(["sinfo", "--noheader", f"--format={SEPARATOR.join(['%P', '%l', '%a', '%D'])}"])
    for line in done.splitlines():
        name, limit, available, nodes = (part.strip() for part in line.split(SEPARATOR))
        found.append(Partition(name.rstrip("*"), limit, name.endswith("*"), available == "up", _count(nodes)))
    return found


def nodes() -> list[Node]:
    """The compute nodes that there are."""
    done = output_of(["scontrol", "show", "node", "--oneliner"])
    found = [_fields(line) for line in done.splitlines() if line.startswith("NodeName=")]
    return [
        Node(
            fields["NodeName"],
            fields.get("NodeAddr", ""),
            fields.get("NodeHostName", ""),
            tuple(fields.get("Partitions", "").split(",")),
        )
        for fields in found
    ]


def answers() -> bool:
    """Whether SLURM's controller, or its backup, answers."""
    done = run(["scontrol", "ping"])
    return bool(re.search(r"\bis UP\b", done.stdout))


def _cancel(command: Sequence[str]) -> None:
    done = run(command)
    if done.returncode and not re.search(r"invalid job id|already completing", done.stderr, re.IGNORECASE):
        raise SlurmError("jobs cannot be cancelled", got=said(done), do=f"try again: {' '.join(command)}")


def _fields(line: str) -> dict[str, str]:
    """The fields of a line of scontrol's; values that hold spaces are cut, and none of those is needed."""
    return dict(re.findall(r"(?:^|\s)([A-Za-z][\w/:]*)=(\S*)", line))


def _count(text: str) -> int:
    """1200 or 1.2K, as sinfo counts nodes."""
    return round(float(text[:-1]) * 1000) if text.endswith("K") else int(text)
