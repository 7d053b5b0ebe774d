"""The frame of every sweep: a Prefect flow that plans, asks for workers, runs batches, and reports its end.

The file of a flow contains only what is particular to it: its plan, the order of its batches, and its result.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, cast

import httpx
from prefect import Flow, get_run_logger, tags
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from sweepflow.batching import Plan
from sweepflow.errors import IncompleteError, SweepflowError, in_words
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.work import Prepared, PreparedT, Work
from sweepflow.flows.runners.asked import asked
from sweepflow.flows.runs.heartbeat import Beat, beating
from sweepflow.flows.runs.hooks import settle
from sweepflow.flows.runs.reconcile import StatesWarning, close_task_runs
from sweepflow.flows.server.away import AWAY_SECONDS
from sweepflow.flows.server.waiting import ServerAwayAbort, await_server, patient_client, say, told
from sweepflow.schema.runner import RunnerConfig
from sweepflow.storage.record import Record
from sweepflow.streak import MOST
from sweepflow.tasks.output import lasting_output
from sweepflow.tasks.progress import SweepProgress
from sweepflow.words import shortened

P = ParamSpec("P")


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


def named_by_overrides(command: str) -> Callable[[], str]:
    """Return the function that names a flow run for what was typed to start it."""

    def name() -> str:
        return shortened(" ".join([command, *(flow_run.parameters.get("overrides") or [])]), 120)

    return name


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


_AHEAD: ContextVar[Prepared | None] = ContextVar("sweepflow_prepared", default=None)


@dataclass(frozen=True)
class Found:
    """The findings of a sweep that has run.

    Attributes:
        value: The return value of the flow.
        said: Summary in one sentence.
        well: Whether there is any result.
        directory: Directory of the tables and the report.
        missing: Ids of trials that have no record.
        publish: Function that shows the findings on the flow run's page.
    """

    value: Any
    said: str
    well: bool
    directory: Path
    missing: Sequence[str]
    publish: Callable[[], None]


@contextmanager
def planned_ahead(prepared: Prepared | None) -> Iterator[None]:
    """Hand a plan to the flow that is called in the block, so that the flow does not plan again.

    Args:
        prepared: The sweep, planned from the arguments that the flow is given; None lets the flow plan.
    """
    token = _AHEAD.set(prepared)
    try:
        yield
    finally:
        _AHEAD.reset(token)


def orchestrate(
    place: Callable[[], tuple[RunnerConfig | None, Path | None]],
    prepare: Callable[[str], PreparedT],
    run: Callable[[Work[PreparedT]], None],
    find: Callable[[PreparedT, Outcome], Found],
    *,
    remark: Callable[[PreparedT], Callable[[Record], str]] | None = None,
    max_failures: int = MOST,
) -> State[Any]:
    """Run a sweep inside its flow. The tables are written however the sweep ends.

    Args:
        place: Function that finds the runner and the directory of the store before the sweep is planned, so
            that workers start meanwhile.
        prepare: Function that plans the sweep, given the id of the flow run. It is not called if
            `planned_ahead` has a plan.
        run: Function that runs the batches.
        find: Function that collects the findings and writes the tables, at the end or when the sweep is
            stopped.
        remark: Function that makes the function whose text is shown with the progress after each record.
        max_failures: Number of calls in a row that may fail alike before the sweep is ended; 0 for any
            number.

    Returns:
        The state that the flow is to return.

    Raises:
        ConfigError: before any work, if anything cannot be run.
        TooManyFailuresError: if too many calls fail alike.
        IncompleteError: at the end, if a batch failed.
        ServerAwayAbort: at the end, if Prefect's server stays away.
    """
    run_id = str(flow_run.id)
    ahead = _AHEAD.get()
    _AHEAD.set(None)  # it is for this flow, and not for one that a trial may call
    with ExitStack() as ending:
        ending.enter_context(told())
        where = place() if ahead is None else (ahead.plan.runner, ahead.store.root)
        workers = ending.enter_context(asked(where, run_id))
        if ahead is None:
            prepared = prepare(run_id)
        else:
            prepared = cast(PreparedT, ahead)
            prepared.ask_for_rerun(run_id)
        plan, store = prepared.plan, prepared.store
        get_run_logger().info("%s: %s trials, %s from the store", plan.name, plan.trials, plan.hits)
        with (
            beating(
                store,
                name=plan.name,
                command=prepared.command,
                runner=plan.runner.kind,
                job_name=workers.job_name,
            ) as beat,
            tags("sweepflow", plan.name),
        ):
            outcome = Outcome(states=beat.states)
            shown = None if remark is None else remark(prepared)
            with (
                _tables_at_any_end(plan, lambda: find(prepared, outcome)),
                SweepProgress(plan.name, (), 0, plan.hits, shown, beat.note, store, max_failures) as progress,
                ExitStack() as closing,
            ):
                run(Work(prepared, workers, beat, progress, outcome, closing))
            return _end(plan, beat, outcome, find(prepared, outcome))


def _end(plan: Plan, beat: Beat, outcome: Outcome, found: Found) -> State[Any]:
    """Tell Prefect how a sweep has ended, once Prefect answers, and return the state that holds its findings.

    Raises:
        IncompleteError: if the sweep is not complete.
        ServerAwayAbort: if the server stays away.
    """
    state: State[Any] = (Completed if found.well else Failed)(message=found.said, data=found.value)
    error = _incomplete(found.missing, plan.trials, outcome.failures)
    if error is not None:  # which is all that a command prints
        say(f"{found.said}; tables and report: {found.directory}")
    well = found.well and error is None
    beat.ends("completed" if well else "failed", found.said if error is None else in_words(error))
    if not await_server(AWAY_SECONDS, beat):
        raise ServerAwayAbort(error or state)
    close_task_runs(flow_run.id, outcome.states)
    try:
        found.publish()
    except httpx.HTTPError as refusal:  # what was found is in the store, and worth more than a page
        warnings.warn(f"the run's page in Prefect lacks its tables: {refusal}", StatesWarning, stacklevel=2)
    if error is not None:
        raise error
    return state


def _incomplete(missing: Sequence[str], trials: int, failures: Sequence[str]) -> SweepflowError | None:
    """Return the error of a sweep that does not end well; None if every batch ended well."""
    if not missing and not failures:
        return None
    return IncompleteError(
        f"{len(missing)} of {trials} trials have no result"
        if missing
        else "a batch failed, and its trials have old results that are failures",
        got=shortened("; ".join(failures), 1500) or ", ".join(missing[:10]),
        do="mend the cause and start the same command again: what is done is kept",
    )


@contextmanager
def _tables_at_any_end(plan: Plan, find: Callable[[], Found]) -> Iterator[None]:
    """Write the tables and the report of what is done if the block ends with an exception, and say so."""
    try:
        yield
    except BaseException:
        try:
            found = find()
            if done := plan.trials - len(found.missing):
                so_far = f"{done} of {plan.trials} trials are done; {found.said}"
                say(f"{so_far}; tables and report so far: {found.directory}")
        except Exception as second:  # what has ended the sweep is more important
            say(f"tables and report could not be written: {in_words(second)}")
        raise


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
