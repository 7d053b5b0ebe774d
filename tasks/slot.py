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
"""Longest single request for a slot; between two requests, a request to stop is noticed."""
LEASE_SECONDS = 60.0
"""Time that a slot stays taken after its holder was killed; the shortest time that Prefect accepts."""


@contextmanager
def slot(limit: str | None, leave_at: float | None) -> Iterator[bool]:
    """Wait for a slot, and hold it while the block runs.

    Args:
        limit: The limit's name; None if nothing is limited.
        leave_at: Unix time by which this process has to be gone; None if it may stay.

    Yields:
        Whether there is a slot; false if this process is stopped, or has to leave, before a slot is free.
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
