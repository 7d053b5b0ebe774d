"""The end of a flow whose Prefect server is away: wait for the server, or end without telling it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    get_current_settings,
    temporary_settings,
)

from sweepflow.flows.runs.liveness import ago
from sweepflow.flows.runs.reconcile import is_away, patiently
from sweepflow.flows.runs.table import MAX_CELL
from sweepflow.flows.server.away import AWAY_SECONDS, one_outage, outage
from sweepflow.flows.server.embedded import is_embedded
from sweepflow.tasks.output import lasting_output
from sweepflow.words import shortened

if TYPE_CHECKING:
    from sweepflow.flows.runs.heartbeat import Beat

ASK_SECONDS = 5.0
"""Maximum time that a sweep waits for a server that is away, if the sweep was interrupted or the server was
its own."""
SAY_SECONDS = 60.0
"""Time between two messages about this wait."""
CLIENT: Mapping[str, tuple[Any, Any]] = {
    "max_retries": (PREFECT_CLIENT_MAX_RETRIES, 7),
    "retry_extra_codes": (PREFECT_CLIENT_RETRY_EXTRA_CODES, {500, 504}),
}
"""Settings of Prefect's client, unless the user has set others. Seven retries take four minutes, because the
delay doubles each time. Prefect answers 500 while its database is away."""


class ServerAwayAbort(Abort):
    """Exception that ends a flow without telling a server that is away.

    Attributes:
        outcome: The state that Prefect was not told, or the exception that has ended the flow.
    """

    def __init__(self, outcome: State[Any] | BaseException) -> None:
        super().__init__("Prefect's server is away, and was not told how the sweep has ended")
        self.outcome = outcome


@contextmanager
def patient_client() -> Iterator[None]:
    """Let Prefect's client retry if the server is away, as often as the user has set, or as `CLIENT` says."""
    own = get_current_settings().client.model_fields_set
    with temporary_settings(dict(pair for name, pair in CLIENT.items() if name not in own)):
        yield


@contextmanager
def told() -> Iterator[None]:
    """Wait for a server that is away, before Prefect is told what has ended a flow.

    Raises:
        ServerAwayAbort: if the server stays away. Prefect's own attempts would hide what has ended the flow.
    """
    # A deployment's flow is not called by `_state_of`.
    with lasting_output(), one_outage():
        try:
            with patient_client():
                yield
        except Abort:
            raise
        except BaseException as error:
            if not await_server(patience(error)):
                raise ServerAwayAbort(error) from error
            raise


def patience(error: BaseException | None) -> float:
    """Return the seconds that a sweep waits for a server that is away, which depend on what has ended it."""
    return AWAY_SECONDS if error is None or isinstance(error, Exception) else ASK_SECONDS


def await_server(seconds: float, beat: Beat | None = None) -> bool:
    """Wait for a Prefect server that is away, or whose database is away.

    Args:
        seconds: Maximum time that the server may be away, from the time when this sweep first found it away.
        beat: Signs of life of the run, which say that it waits.

    Returns:
        Whether the server answers, even if only with a refusal.
    """
    if is_embedded(get_current_settings().api.url):  # nobody starts it again
        seconds = min(seconds, ASK_SECONDS)
    this = outage()
    left = max(0.0, seconds - this.seconds)
    run_id, since, said = UUID(str(flow_run.id)), time.monotonic(), -SAY_SECONDS

    def on_silence(why: str) -> None:
        nonlocal said
        this.heard()
        now = time.monotonic() - since
        if now - said >= SAY_SECONDS:
            said = now
            say(f"waiting for Prefect's server, for {ago(left)} at most; what is done is in the store: {why}")
        if beat is not None:
            beat.note(waiting=shortened(f"Prefect's server: {why}", MAX_CELL))

    try:
        patiently(lambda client: client.read_flow_run(run_id), since + left, on_silence)
    except Exception as error:
        if is_away(error):
            this.heard()
            if not this.given_up:
                say("Prefect was not told how this run has ended; once it answers: sweepflow cleanup --yes")
            this.given_up = True
            return False
    this.over()
    return True


def say(line: str) -> None:
    """Print a line on the terminal or in the log of a deployment's worker, unless neither exists any more."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
