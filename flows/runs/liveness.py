"""Liveness of the process of a flow run, as far as this process can see."""

from __future__ import annotations

import enum
import functools
import os
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from sweepflow.flows.runs.record import RunRecord, get_run, now
from sweepflow.storage.store import Store

ALIVE_SECONDS = 60.0
"""Age of the latest sign of life below which a run on another host is alive."""
DEAD_SECONDS = 300.0
"""Age of the latest sign of life above which a run on another host is dead."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


class Life(enum.Enum):
    """State of a process, as far as it is known."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Liveness:
    """State of a run's process, and the evidence for it.

    Attributes:
        life: State of the process, as far as it is known.
        words: The evidence in words, to be put in brackets.
    """

    life: Life
    words: str


@functools.cache
def this_machine() -> str:
    """Return the scope in which a pid of this process is valid: this kernel boot and this pid namespace."""
    try:
        return f"{BOOT_ID.read_text().strip()} {os.readlink(PID_NAMESPACE)}"
    except OSError:  # no Linux
        return f"{platform.node()} {int(psutil.boot_time()) // 60}"


def this_host() -> str:
    """Return this host's name."""
    return platform.node()


def process_start(pid: int) -> float | None:
    """Return the start time of a process; None if there is no such process.

    The unit and the origin of the time depend on this machine. A process that has ended, and only waits for
    its parent to collect it, counts as none.
    """
    try:
        # Ticks since boot, exact: psutil's times of creation move when the clock is set. The name, which is
        # in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else float(fields[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, ValueError, IndexError):
        pass
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except psutil.Error:
        return None


def is_alive(record: RunRecord, at: datetime | None = None) -> Liveness:
    """Find out whether the process of a run is alive.

    On the same machine, the process itself is looked for. Elsewhere, its latest sign of life is used.

    Args:
        record: The run.
        at: The current time.
    """
    silent = max(0.0, ((at or now()) - record.beat).total_seconds())
    if record.state != "running":
        return Liveness(Life.DEAD, f"it has ended: {record.state}")
    if record.machine == this_machine():
        if process_start(record.pid) == record.pid_started:
            return Liveness(Life.ALIVE, f"process {record.pid} on this machine")
        return Liveness(
            Life.DEAD, f"its process {record.pid} is gone, the last sign of life {ago(silent)} ago"
        )
    words = f"no sign of life for {ago(silent)} from {record.host}"
    # The same name with another boot: this machine has been started anew, and takes its processes with it.
    dead_after = ALIVE_SECONDS if record.host == this_host() else DEAD_SECONDS
    if silent < ALIVE_SECONDS:
        return Liveness(Life.ALIVE, f"a sign of life {ago(silent)} ago from {record.host}")
    return Liveness(Life.DEAD if silent >= dead_after else Life.UNKNOWN, words)


def lives(store: Store, flow_run_id: str) -> bool:
    """Return whether a flow run is at work on a store, or may be; False if the store does not know it."""
    return _living(store, flow_run_id) is not None


def is_at_work(store: Store, flow_run_id: str) -> bool:
    """Return whether a flow run works on the trials that it has in hand.

    A run that is alive, but has been stopped, as by Ctrl-Z, and gives no sign of life, does not.
    """
    record = _living(store, flow_run_id)
    return record is not None and (now() - record.beat).total_seconds() < DEAD_SECONDS


def _living(store: Store, flow_run_id: str) -> RunRecord | None:
    record = get_run(store, flow_run_id)
    return None if record is None or is_alive(record).life is Life.DEAD else record


def ago(seconds: float) -> str:
    """Return a span of time in words that a person would use."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
