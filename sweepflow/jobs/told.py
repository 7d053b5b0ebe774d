"""Hydra's `HydraConfig`, of which a process has one: within a job it gives the job's own, in every thread.

Jobs may be nested, and sweeps may run at once in several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, cast

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig

from sweepflow.errors import ConfigError


class OfHydra(Protocol):
    """An object with Hydra's configuration, under the key `hydra`."""

    @property
    def hydra(self) -> Any: ...


_WITHIN: ContextVar[tuple[OfHydra, ...]] = ContextVar("within", default=())
"""Configurations that `HydraConfig` gives in this thread, the innermost last."""
_LOCK = threading.Lock()
_told: list[tuple[OfHydra, ...]] = []
"""Configurations that `HydraConfig` gives in all threads."""
_before: list[Any] = []
"""Configuration that `HydraConfig` had before the first of them."""


class _Told:
    """Replaces Hydra's own configuration while a `told` block runs."""

    @property
    def hydra(self) -> Any:
        within = _WITHIN.get()
        if not within:  # a thread that a job has started
            with _LOCK:
                within = _told[-1]
                outermost = {id(one[0]) for one in _told}
            if len(outermost) > 1:
                raise ConfigError(
                    "several sweeps run at once in this process, and this thread is of none of them",
                    got="HydraConfig.get() in a thread that a job has started",
                    allowed="threads that have their job's context",
                    do="start it with contextvars.copy_context().run, or read HydraConfig in the job itself",
                )
        return within[-1].hydra


_TOLD = _Told()


@contextmanager
def told(own: OfHydra) -> Iterator[None]:
    """Let `HydraConfig`, and the resolver `hydra:`, give this configuration while the block runs, in this
    thread and in threads that it starts. Afterwards they give the earlier configuration again."""
    configured = HydraConfig.instance()
    within = (*_WITHIN.get(), own)
    with _LOCK:
        theirs = configured.cfg
        first = not _told
        if first:
            _before[:] = [theirs]
        _told.append(within)
        configured.cfg = cast(HydraConf, _TOLD)
    token = _WITHIN.set(within)
    try:
        yield
    finally:
        _WITHIN.reset(token)
        with _LOCK:
            _told[:] = [one for one in _told if one is not within]
            if not _told:
                configured.cfg = _before.pop()
            elif first or isinstance(theirs, _Told):  # others are told still, in this thread or in another
                configured.cfg = cast(HydraConf, _TOLD)
            else:  # a job had put another there itself
                configured.cfg = theirs
