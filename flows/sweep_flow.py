"""A Prefect flow that ends as its sweep did, and returns the results of the sweep.

It tells Prefect how the sweep has ended, once Prefect answers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, TerminationSignal
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Completed, Failed

from sweepflow.errors import SweepflowError, in_words
from sweepflow.flows.embedded_server import is_embedded
from sweepflow.flows.job import Outcome
from sweepflow.flows.runs.away import AWAY_SECONDS, one_outage, outage
from sweepflow.flows.runs.heartbeat import Beat
from sweepflow.flows.runs.hooks import settle
from sweepflow.flows.runs.liveness import ago
from sweepflow.flows.runs.reconcile import StatesWarning, close_task_runs, is_away, patiently
from sweepflow.flows.runs.table import MAX_CELL
from sweepflow.tasks.output import lasting_output
from sweepflow.words import shortened

P = ParamSpec("P")

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


class SweepFlow(Flow[P, Any]):
    """A flow whose function returns a state that holds the results.

    A call from Python returns the results, even if the state is Failed, as it is for a sweep whose trials
    have all failed. An exception that is raised in the flow is passed on.
    """

    def __call__(  # type: ignore[override]
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        call: Any = super().__call__
        state = _state_of(lambda: call(*args, return_state=True, wait_for=wait_for, **kwargs))
        return state if return_state else _found(state)

    def with_options(self, **settings: Any) -> SweepFlow[P]:
        """Return the same flow with other settings of Prefect.

        Prefect's own method would return a plain flow, which raises TypeError if every trial has failed.
        """
        made = super().with_options(**settings)
        made.__class__ = type(self)
        return made  # type: ignore[return-value]

    def again(self, row: FlowRun, parameters: dict[str, Any]) -> Any:
        """Run the flow as a flow run that already exists."""
        go_on: Any = run_flow
        return _found(
            _state_of(lambda: go_on(self, flow_run=row, parameters=parameters, return_type="state"))
        )


def sweep_flow(
    name: str, run_name: Callable[[], str] | str | None = None, **settings: Any
) -> Callable[[Callable[P, Any]], SweepFlow[P]]:
    """Return a decorator that makes a function a flow of sweeps.

    Args:
        name: The flow's name.
        run_name: Name of its runs, or a function that returns it.
        settings: Further settings of Prefect.
    """
    return lambda body: SweepFlow(
        body,
        name=name,
        flow_run_name=run_name,
        on_failure=[settle],
        on_crashed=[settle],
        on_cancellation=[settle],
        **settings,
    )


def end(
    beat: Beat,
    outcome: Outcome,
    found: Any,
    *,
    said: str,
    well: bool,
    where: Path,
    publish: Callable[[], None],
    error: SweepflowError | None,
) -> Any:
    """Tell Prefect how a sweep has ended, once Prefect answers.

    Args:
        beat: Signs of life of its run.
        outcome: Outcome of running its batches.
        found: Object that holds everything that the sweep has found.
        said: Summary of `found` in one sentence.
        well: Whether `found` contains any result.
        where: Directory of its tables and report.
        publish: Function that shows `found` on the flow run's page.
        error: Reason why the sweep is not complete; None if it is complete.

    Returns:
        The state that the flow is to return. It holds `found`, and is Failed if there is no result.

    Raises:
        SweepflowError: `error`, if it is given.
        ServerAwayAbort: if the server stays away.
    """
    state: State[Any] = (Completed if well else Failed)(message=said, data=found)
    if error is not None:  # which is all that a command prints
        say(f"{said}; tables and report: {where}")
    beat.ends("completed" if well and error is None else "failed", said if error is None else in_words(error))
    if not await_server(AWAY_SECONDS, beat):
        raise ServerAwayAbort(error or state)
    close_task_runs(flow_run.id, outcome.states)
    try:
        publish()
    except httpx.HTTPError as refusal:  # what was found is in the store, and worth more than a page
        warnings.warn(f"the run's page in Prefect lacks its tables: {refusal}", StatesWarning, stacklevel=2)
    if error is not None:
        raise error
    return state


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


@contextmanager
def tables_at_any_end(write: Callable[[], str]) -> Iterator[None]:
    """Write the results so far if the block ends with an exception.

    Args:
        write: Function that writes tables and report. The text that it returns, if any, is printed.
    """
    try:
        yield
    except BaseException:
        try:
            said = write()
        except Exception as second:  # what has ended the sweep is more important
            said = f"tables and report could not be written: {in_words(second)}"
        if said:
            say(said)
        raise


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


def _state_of(run: Callable[[], State[Any]]) -> State[Any]:
    """Run a flow with a client that does not give up soon, and return the state that the flow ended in."""
    try:
        with lasting_output(), patient_client():
            return run()
    except ServerAwayAbort as away:
        if isinstance(away.outcome, TerminationSignal):  # Prefect has handed TERM back by now
            os.kill(os.getpid(), signal.SIGTERM)
        if isinstance(away.outcome, BaseException):
            raise away.outcome from None
        return away.outcome


def _found(state: State[Any]) -> Any:
    """Return the results of a flow, whatever state it has ended in."""
    if not (state.is_completed() or state.is_failed()):
        state.result(_sync=True)  # type: ignore[call-overload]  # which raises what it is
    if state.data is None:
        return None
    found = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    if isinstance(found, BaseException):
        raise found
    return found
