"""A Prefect flow that ends as its sweep did, tells Prefect so once it answers, and returns what was found."""

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
"""How long a sweep that was interrupted waits for a server that is away, and one whose server was its own."""
SAY_SECONDS = 60.0
"""Between two lines that say so."""
CLIENT: Mapping[str, tuple[Any, Any]] = {
    "max_retries": (PREFECT_CLIENT_MAX_RETRIES, 7),
    "retry_extra_codes": (PREFECT_CLIENT_RETRY_EXTRA_CODES, {500, 504}),
}
"""Settings of Prefect's client where the user has set no others. Seven tries, each twice as long after the
one before, are four minutes. Prefect answers 500 while its database is away."""


class ServerAwayAbort(Abort):
    """Ends a flow without a word to a server that is away.

    Attributes:
        outcome: The state that Prefect was not told, or what has ended the flow.
    """

    def __init__(self, outcome: State[Any] | BaseException) -> None:
        super().__init__("Prefect's server is away, and was not told how the sweep has ended")
        self.outcome = outcome


class SweepFlow(Flow[P, Any]):
    """A flow whose function returns a state that holds what was found.

    From Python it returns what was found, also where the state is Failed, as that of a sweep is whose trials
    have all failed. What is raised in it is raised.
    """

    def __call__(  # type: ignore[override]
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        call: Any = super().__call__
        state = _state_of(lambda: call(*args, return_state=True, wait_for=wait_for, **kwargs))
        return state if return_state else _found(state)

    def with_options(self, **settings: Any) -> SweepFlow[P]:
        """The same flow with other settings of Prefect's.

        It would make a plain flow of it, which raises TypeError where every trial has failed.
        """
        made = super().with_options(**settings)
        made.__class__ = type(self)
        return made  # type: ignore[return-value]

    def again(self, row: FlowRun, parameters: dict[str, Any]) -> Any:
        """Run it as a flow run that there is already."""
        go_on: Any = run_flow
        return _found(
            _state_of(lambda: go_on(self, flow_run=row, parameters=parameters, return_type="state"))
        )


def sweep_flow(
    name: str, run_name: Callable[[], str] | str | None = None, **settings: Any
) -> Callable[[Callable[P, Any]], SweepFlow[P]]:
    """Make a function a flow of sweeps.

    Args:
        name: The flow's name.
        run_name: Of its runs, or what gives it.
        settings: Prefect's, beside those.
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
    """Tell Prefect how a sweep has ended, once it answers.

    Args:
        beat: Of its run.
        outcome: What running its batches had to say.
        found: What the sweep has found.
        said: That, in a sentence.
        well: Whether any of it is a result.
        where: Its tables and report are.
        publish: Shows it on the flow run's page.
        error: Why the sweep is not whole, where it is not.

    Returns:
        What the flow is to return: a state that holds what was found, Failed where nothing is a result.

    Raises:
        SweepflowError: `error`.
        ServerAwayAbort: where the server stays away.
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
    """Let Prefect's client try again where the server is away, as often as its user wants, or often."""
    own = get_current_settings().client.model_fields_set
    with temporary_settings(dict(pair for name, pair in CLIENT.items() if name not in own)):
        yield


@contextmanager
def told() -> Iterator[None]:
    """Before Prefect is told what has ended a flow, wait for a server that is away.

    Raises:
        ServerAwayAbort: where it stays away: Prefect's own attempts would hide what has ended the flow.
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
    """How long a sweep waits for a server that is away, by what has ended it, in seconds."""
    return AWAY_SECONDS if error is None or isinstance(error, Exception) else ASK_SECONDS


@contextmanager
def tables_at_any_end(write: Callable[[], str]) -> Iterator[None]:
    """Where the block does not end well, write what there is.

    Args:
        write: Writes tables and report; what it returns is said, if anything.
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
    """Wait for a Prefect server that is away, or whose database is.

    Args:
        seconds: For how long it may be away, from when this sweep first found it so.
        beat: Of the run, which says that it waits.

    Returns:
        Whether it answers, if only with a refusal.
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
    """A line on the terminal, or in the log of a deployment's worker; there may be neither any more."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _state_of(run: Callable[[], State[Any]]) -> State[Any]:
    """Run a flow with a client that does not give up soon: the state that it has ended in."""
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
    """What a flow has found, whatever state it has ended in."""
    if not (state.is_completed() or state.is_failed()):
        state.result(_sync=True)  # type: ignore[call-overload]  # which raises what it is
    if state.data is None:
        return None
    found = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    if isinstance(found, BaseException):
        raise found
    return found
