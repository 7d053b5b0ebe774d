"""Numbers of programs that a batch compiled, and that it found in the persistent compilation cache."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import jax.monitoring

HIT = "/jax/compilation_cache/cache_hits"
COMPILED = "/jax/core/compile/backend_compile_duration"
"""JAX's names of the two events; the second event occurs for every program, found or compiled."""


class Compilations:
    """Counts the programs of this thread within a `with` block: batches run in parallel, each in a thread.

    Attributes:
        from_cache: Number of programs found in the persistent compilation cache.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._programs = 0
        self.from_cache = 0

    @property
    def compiled(self) -> int:
        """Number of programs compiled here."""
        return self._programs - self.from_cache

    def __enter__(self) -> Compilations:
        jax.monitoring.register_event_listener(self._on_event)
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_listener(self._on_event)
        jax.monitoring.unregister_event_duration_listener(self._on_duration)

    def _on_event(self, event: str, **_: Any) -> None:
        if event == HIT and threading.get_ident() == self._thread:
            self.from_cache += 1

    def _on_duration(self, event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILED and threading.get_ident() == self._thread:
            self._programs += 1
