"""How many programs a batch compiled, and how many it found in the persistent compilation cache."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import jax.monitoring

HIT = "/jax/compilation_cache/cache_hits"
COMPILED = "/jax/core/compile/backend_compile_duration"
"""JAX's own names of what happens; the second comes for every program, found or compiled."""


class Compilations:
    """Counts what this thread does while it is entered: batches run side by side, each in a thread.

    Attributes:
        from_cache: Programs found in the persistent compilation cache.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._programs = 0
        self.from_cache = 0

    @property
    def compiled(self) -> int:
        """Programs compiled here."""
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
