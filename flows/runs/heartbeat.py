"""Signs of life of a flow run: its run file, which is rewritten every few seconds as long as it runs."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, CancelledRun, TerminationSignal
from prefect.settings import get_current_settings

from sweepflow.errors import ConfigError, StoreError, in_words
from sweepflow.flows.runs.claim import alone
from sweepflow.flows.runs.liveness import is_at_work, process_start, this_host, this_machine
from sweepflow.flows.runs.record import RunFileWarning, RunRecord, RunState, get_run, now, write_run
from sweepflow.flows.runs.requests import cancel_asked, forget_request
from sweepflow.flows.server.embedded import is_embedded
from sweepflow.provenance import provenance
from sweepflow.storage.leases import Leases, forget, leases_by_owner
from sweepflow.storage.store import Store
from sweepflow.words import shortened

BEAT_SECONDS = 5.0
"""Time between two signs of life if there is nothing new."""
NEWS_SECONDS = 1.0
"""Time between two signs of life if there is something new."""
ASK_SECONDS = 15.0
"""Time between two questions to Prefect whether the run is to be cancelled."""
JOIN_SECONDS = 5.0
"""Maximum wait for a beat that is being written when the run ends."""
MAX_REASON = 500
"""Maximum number of characters of an error that a run file keeps."""

MOST_BEATS = 16
"""Number of runs of this process that are remembered. Several may be at work at once, in threads."""

_BEATS: dict[str, Beat] = {}
"""The runs of this process that began last, by id, both while they run and afterwards."""


class Beat:
    """Signs of life of one run, and the information that it gives about itself. Created by `beating`.

    Attributes:
        states: Final states of its task runs that could not report them themselves, by id. The hooks of the
            run tell Prefect.
    """

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store = store
        self._record = record
        self._lock = threading.Lock()
        self._warned = False
        self._news = False
        self.states: dict[UUID, State[Any]] = {}
        self._end: tuple[RunState, str | None] = "completed", None

    @property
    def end(self) -> tuple[RunState, str | None]:
        """The state in which the run ends if nothing is raised, and the reason."""
        return self._end

    def ends(self, state: RunState, reason: str) -> None:
        """Set the state in which the run ends if nothing is raised, and the reason; default: completed."""
        self._end = state, shortened(" ".join(reason.split()), MAX_REASON)

    @property
    def news(self) -> bool:
        """True if there is new information that is not written yet."""
        return self._news

    @property
    def got_on(self) -> bool:
        """True if the run has computed anything."""
        return (self._record.done or 0) > (self._record.known or 0)

    @property
    def record(self) -> RunRecord:
        """The current information about the run."""
        return self._record

    @property
    def store(self) -> Store:
        """The store that has its run file."""
        return self._store

    @property
    def leases(self) -> Leases:
        """Leases of the trials that the run has in hand. They count as long as it shows signs of life."""
        return Leases(self._store, self._record.flow_run_id, partial(is_at_work, self._store))

    def note(
        self,
        *,
        total: int | None = None,
        done: int | None = None,
        known: int | None = None,
        lost: int | None = None,
        waiting: str | None = None,
        job_name: str | None = None,
    ) -> None:
        """Set information that the next sign of life will carry. A value stays if its argument is None.

        This method may be called from any thread.

        Args:
            total: Number of trials of the sweep.
            done: Number of trials that have a result.
            known: Number of trials that had a result before the run began.
            lost: Number of workers that were lost.
            waiting: The thing that the run waits for, in words; an empty string if it no longer waits.
            job_name: Name of its SLURM jobs.
        """
        given = {
            "total": total,
            "done": done,
            "known": known,
            "lost": lost,
            "waiting": waiting,
            "job_name": job_name,
        }
        said = {name: value for name, value in given.items() if value is not None}
        with self._lock:
            changed = {name: value for name, value in said.items() if getattr(self._record, name) != value}
            self._record = self._record.model_copy(update=changed)
            # What it waits for changes often, and can wait for the next sign of life.
            self._news = self._news or bool(changed.keys() - {"waiting"})

    def write(self, **changes: object) -> None:
        """Write the run file now. A store that cannot be written ends no sweep, but causes one warning."""
        with self._lock:
            self._record = self._record.model_copy(update={"beat": now(), **changes})
            self._news = False
            try:
                write_run(self._store, self._record)
            except StoreError as error:
                if not self._warned:
                    self._warned = True
                    warnings.warn(
                        f"signs of life cannot be written, and this run will be taken for dead: {error.got}",
                        RunFileWarning,
                        stacklevel=2,
                    )


def latest() -> Beat | None:
    """Return the run of this process that began last, whether it still runs or has ended."""
    return next(reversed(_BEATS.values()), None)


def beat_of(flow_run_id: str) -> Beat | None:
    """Return the signs of life of a run of this process, whether it still runs or has ended."""
    return _BEATS.get(flow_run_id)


@contextmanager
def beating(
    store: Store,
    *,
    name: str,
    command: str,
    runner: str = "local",
    job_name: str | None = None,
    flow_run_id: str | None = None,
    flow: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Iterator[Beat]:
    """Keep the run file of a flow run up to date while the block runs, and record how the block ended.

    A request to cancel the run, in the store or in Prefect's pages, ends this process as TERM would. If
    another process works on the run, this process leaves the run alone.

    Args:
        store: The sweep's store.
        name: The sweep's name.
        command: The shell command that runs the sweep.
        runner: Kind of its runner.
        job_name: Name of its SLURM jobs.
        flow_run_id: Prefect's id of the flow run. By default, this argument and the following ones are taken
            from the running flow.
        flow: The flow's name.
        parameters: Parameters of the flow, as JSON.
    """
    flow_run_id = _running(flow_run_id)
    with alone(store, flow_run_id):
        record = _begin(store, name, command, runner, job_name, flow_run_id, flow, parameters)
        if record.attempt > 1:  # what it has kept since is not taken again, and so not let go of
            for lease in leases_by_owner(store).get(flow_run_id, []):
                forget(lease, flow_run_id)
        with _beats(store, record) as beat:
            yield beat


def _running(flow_run_id: str | None) -> str:
    """Return the id of the given flow run, or of the running flow run if none is given."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if flow_run_id is None and run is not None:
        return str(run.id)
    if flow_run_id is None:
        raise RuntimeError("signs of life are those of a flow run: call it in a flow, or give flow_run_id")
    return flow_run_id


@contextmanager
def _beats(store: Store, record: RunRecord) -> Iterator[Beat]:
    beat = Beat(store, record)
    _BEATS.pop(record.flow_run_id, None)
    _BEATS[record.flow_run_id] = beat
    for old in list(_BEATS)[:-MOST_BEATS]:
        _BEATS.pop(old, None)
    forget_request(store, record.flow_run_id)
    beat.write()
    ended = threading.Event()
    # The settings that say which server is asked are in the context.
    target = contextvars.copy_context().run
    thread = threading.Thread(target=target, args=(_keep_beating, beat, ended), daemon=True)
    thread.start()
    refused = False
    try:
        yield beat
        state, reason = beat.end
    except Abort:  # it has ended, and nothing is told to Prefect
        state, reason = beat.end
        raise
    except BaseException as error:
        state, reason = _how_it_ended(beat, error)
        # What was asked for cannot be run: there is nothing to resume, and the corrected command is another.
        refused = isinstance(error, ConfigError) and record.attempt == 1 and not beat.got_on
        raise
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)
        if refused:
            store.paths.run(record.flow_run_id).unlink(missing_ok=True)
        else:
            beat.write(state=state, reason=reason, waiting=None)


def _begin(
    store: Store,
    name: str,
    command: str,
    runner: str,
    job_name: str | None,
    flow_run_id: str,
    flow: str | None,
    parameters: Mapping[str, Any] | None,
) -> RunRecord:
    """Create the record of a run that begins, or begins again."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if parameters is None:
        parameters = {} if run is None else run.parameters
    before = get_run(store, flow_run_id)
    moment = now()
    url = get_current_settings().api.url
    software = provenance(device=False)
    start = process_start(os.getpid())
    return RunRecord(
        flow_run_id=flow_run_id,
        flow=flow or (context.flow.name if context is not None and context.flow is not None else ""),
        name=name,
        run_name="" if run is None else run.name,
        command=command,
        parameters=dict(parameters),
        directory=str(Path.cwd()),
        host=this_host(),
        machine=this_machine(),
        pid=os.getpid(),
        pid_started=0.0 if start is None else start,
        started=moment if before is None else before.started,
        attempt=1 if before is None else before.attempt + 1,
        attempt_started=moment,
        beat=moment,
        runner=runner,
        job_name=job_name,
        api_url=None if is_embedded(url) else url,
        deployment_id=None if run is None or run.deployment_id is None else str(run.deployment_id),
        lost=0 if before is None else before.lost,
        versions={"python": str(software["python"]), **dict(software["versions"])},  # type: ignore[call-overload]
    )


def _keep_beating(beat: Beat, ended: threading.Event) -> None:
    """Write the run file, and check whether the run is to be cancelled, until the run has ended."""
    beaten = asked_prefect = time.monotonic()
    while not ended.wait(NEWS_SECONDS):
        moment = time.monotonic()
        if not beat.news and moment - beaten < BEAT_SECONDS:
            continue
        beat.write()
        beaten = moment
        asked = cancel_asked(beat.store, beat.record.flow_run_id) is not None
        # A run that a Prefect worker has started is ended by it.
        if not asked and moment - asked_prefect >= ASK_SECONDS and "PREFECT__FLOW_RUN_ID" not in os.environ:
            asked = _cancelled_in_prefect(beat.record.flow_run_id)
            asked_prefect = moment
        if asked and not ended.is_set():
            _end_this_process()
            return


def _end_this_process() -> None:
    """End this process as TERM does.

    If nobody has set a handler for TERM in this process, the run has no right to end it, and only warns.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        warnings.warn(
            "this flow run is to be cancelled, but its process does other things, too: interrupt it",
            RunFileWarning,
            stacklevel=2,
        )


def _cancelled_in_prefect(flow_run_id: str) -> bool:
    """Return whether the run was told to end in Prefect's pages; False if Prefect does not answer."""
    if get_current_settings().api.url is None:
        return False
    with suppress(Exception), get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run_id)).state
        return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)
    return False


def _how_it_ended(beat: Beat, error: BaseException) -> tuple[RunState, str]:
    """Return the final state of a run that an exception has ended, and the reason in words."""
    who = cancel_asked(beat.store, beat.record.flow_run_id)
    stopped = isinstance(error, (KeyboardInterrupt, TerminationSignal))
    if stopped and who is not None:
        return "cancelled", f"cancelled by {who}"
    if isinstance(error, CancelledRun) or (stopped and _cancelled_in_prefect(beat.record.flow_run_id)):
        return "cancelled", "cancelled in Prefect"
    if isinstance(error, KeyboardInterrupt):
        return "crashed", "interrupted (Ctrl-C)"
    if isinstance(error, TerminationSignal):
        return "crashed", "ended from outside (TERM)"
    state: RunState = "failed" if isinstance(error, Exception) else "crashed"
    return state, shortened(in_words(error), MAX_REASON)
