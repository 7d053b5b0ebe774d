"""A slot of one of Prefect's global concurrency limits, so that sweeps share devices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
from prefect import get_run_logger
from prefect.concurrency.sync import concurrency

from sweepflow.stop import is_stopped

TRY_SECONDS = 5.0
"""Longest question for a slot; between two, a wish to stop is seen."""
LEASE_SECONDS = 60.0
"""How long a slot stays taken after its holder was killed; the least that Prefect takes."""


@contextmanager
def slot(limit: str | None, leave_at: float | None) -> Iterator[bool]:
    """Hold a slot while the block runs, and wait for it before.

    Args:
        limit: The limit's name; None where nothing is limited.
        leave_at: Unix time by which this process has to be gone; None where it may stay.

    Yields:
        Whether there is one: none where this process is stopped, or has to leave, before one is free.
    """
    with ExitStack() as stack:
        yield limit is None or _acquired(stack, limit, leave_at)


def _acquired(stack: ExitStack, limit: str, leave_at: float | None) -> bool:
    get_run_logger().info("waits for a slot of %s", limit)
    while not is_stopped() and (leave_at is None or time.time() + TRY_SECONDS < leave_at):
        try:
            # A lease that cannot be renewed, as the server is away, is no reason to end the batch.
            held = concurrency(
                limit,
                timeout_seconds=TRY_SECONDS,
                lease_duration=LEASE_SECONDS,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            stack.enter_context(held)
        except TimeoutError:
            continue
        except httpx.TransportError:  # the server is away, and may come back
            time.sleep(TRY_SECONDS)
        else:
            return True
    return False
