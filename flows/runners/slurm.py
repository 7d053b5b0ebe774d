"""SLURM's commands as typed functions: submit, list and cancel jobs, and get the outcome of a job.

The output of SLURM is read in its machine-readable forms.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweepflow.flows.runners.slurm_command import PASSING, SlurmError, SubmitError, output_of, run, said

SEPARATOR = "\x1f"
"""Separator of the columns of squeue and sinfo: a control character that no name, reason or list of nodes
contains."""

INNOCENT = frozenset({"CANCELLED", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REVOKED", "FORGOTTEN"})
"""Final states of a job that are no evidence against the work in the job."""
LATE = frozenset({"TIMEOUT", "DEADLINE"})
"""Final states of a job that was ended because of the time it took."""
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
        reason: Reason why it waits, in SLURM's words: Resources, Priority, QOSMaxCpuPerUserLimit, or the
            word None.
        node: Node on which it runs; empty while it waits.
        started: Actual or expected start, as local time in ISO 8601; None if SLURM cannot say.
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
    """The outcome of a job.

    Attributes:
        state: SLURM's long form; FORGOTTEN if SLURM no longer knows the job (SLURM forgets a job after
            MinJobAge, five minutes by default).
        exit_code: Exit code of the job's script.
        signal: Signal that ended the script, or 0.
        node: Node on which the script ran; empty if the script never ran.
    """

    state: str
    exit_code: int = 0
    signal: int = 0
    node: str = ""

    @property
    def innocent(self) -> bool:
        """True if the outcome is no evidence against the work in the job."""
        return self.state in INNOCENT

    @property
    def late(self) -> bool:
        """True if the job's time was over: the walltime, or a deadline that a directive gives."""
        return self.state in LATE


@dataclass(frozen=True)
class Partition:
    """A partition of the cluster.

    Attributes:
        limit: Longest walltime, as SLURM writes it: 1-00:00:00, infinite.
        default: Whether it is used if no partition is named.
        up: Whether it starts jobs.
        nodes: Number of its nodes.
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
        address: Address by which SLURM reaches it.
        hostname: Host name that the machine itself uses.
    """

    name: str
    address: str
    hostname: str
    partitions: tuple[str, ...]


def submit(script: str) -> str:
    """Submit a batch script, and return the id of its job.

    Raises:
        SubmitError: with the message of sbatch; `may_pass` is true if the script may be accepted later.
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
    """Return SLURM's reason for refusing a batch script, in its own words; None if SLURM would accept it.

    Raises:
        SlurmError: if SLURM cannot be asked.
    """
    done = run(["sbatch", "--test-only"], script)
    if not done.returncode:
        return None
    if any(words in done.stderr.lower() for words in PASSING):
        raise SlurmError("SLURM cannot be asked", got=said(done), do="try again when `scontrol ping` answers")
    return said(done)


test_only.__test__ = False  # type: ignore[attr-defined]  # to pytest it looks like a test


def queue(name: str | None = None) -> list[QueuedJob]:
    """Return this user's jobs that wait or run, in order of their ids.

    Args:
        name: Name of the jobs; None for all names.
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
    """Return the outcome of a job, or None if it waits, runs, or is to start again."""
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
    """End jobs; jobs that have already ended cause no error."""
    if job_ids:
        _cancel(["scancel", *job_ids])


def cancel_named(name: str) -> None:
    """End this user's jobs that have this name."""
    _cancel(["scancel", f"--user={os.getuid()}", f"--name={name}"])


def partitions() -> list[Partition]:
    """Return the partitions of the cluster."""
    found = []
    # %P marks the default partition with a star; %R does not.
    done = output_of(["sinfo", "--noheader", f"--format={SEPARATOR.join(['%P', '%l', '%a', '%D'])}"])
    for line in done.splitlines():
        name, limit, available, nodes = (part.strip() for part in line.split(SEPARATOR))
        found.append(Partition(name.rstrip("*"), limit, name.endswith("*"), available == "up", _count(nodes)))
    return found


def nodes() -> list[Node]:
    """Return the compute nodes of the cluster."""
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
    """Return whether SLURM's controller, or its backup, answers."""
    done = run(["scontrol", "ping"])
    return bool(re.search(r"\bis UP\b", done.stdout))


def _cancel(command: Sequence[str]) -> None:
    done = run(command)
    if done.returncode and not re.search(r"invalid job id|already completing", done.stderr, re.IGNORECASE):
        raise SlurmError("jobs cannot be cancelled", got=said(done), do=f"try again: {' '.join(command)}")


def _fields(line: str) -> dict[str, str]:
    """Return the fields of a line of scontrol's output.

    Values that contain spaces are cut; none of these values is needed.
    """
    return dict(re.findall(r"(?:^|\s)([A-Za-z][\w/:]*)=(\S*)", line))


def _count(text: str) -> int:
    """Convert a number of nodes as sinfo writes it: 1200 or 1.2K."""
    return round(float(text[:-1]) * 1000) if text.endswith("K") else int(text)
