"""Commands whose sweep is held in the middle of a batch, for as long as a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOLDS = """
import os
import time
from pathlib import Path

from sweepflow import stop

gate, store, real = Path(os.environ["HELD_BY"]), Path(os.environ["HELD_STORE"]), stop.is_stopped


def is_stopped():
    while gate.exists() and len(list(store.glob("[te]*/??/*.json"))) >= 3 and not real():
        time.sleep(0.05)
    return real()


stop.is_stopped = is_stopped
"""
"""What a batch asks between two calls of its program is answered late, as after a long call. The process has
all signals, threads and heartbeats of one that computes, and ends when it is asked to."""


@dataclass(frozen=True)
class Hold:
    """What holds sweeps of a store, once three of their trials are done.

    Attributes:
        directory: Where its files are; may be missing.
        store: The store.
    """

    directory: Path
    store: Path

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def environment(self) -> dict[str, str]:
        """What commands see that are held; others are not."""
        self.directory.mkdir(exist_ok=True)
        (self.directory / "sitecustomize.py").write_text(HOLDS)
        self.gate.touch()
        return {
            "PYTHONPATH": str(self.directory),
            "HELD_BY": str(self.gate),
            "HELD_STORE": str(self.store),
        }

    def let_go(self) -> None:
        """Let everything go on that is held."""
        self.gate.unlink()
