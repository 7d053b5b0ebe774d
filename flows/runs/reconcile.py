"""Correct Prefect's states of a flow run, so that nothing stays Running that no longer runs."""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Crashed

from sweepflow.errors import in_brief, in_words

T = TypeVar("T")
DEADLINE_SECONDS = 60.0
"""Maximum time to try a server that does not answer."""
SETTLE_SECONDS = 3.0
"""Maximum time to wait for a state that is on its way, because task runs send their states as events."""
RETRY_SECONDS = 0.5
BUSY = (408, 425, 429)
"""HTTP status codes below 500 with which a server asks for a retry."""
PAGE = 200
"""Maximum number of task runs that Prefect's API returns at once."""
GONE = "its process has ended without saying how it went"


class StatesWarning(UserWarning):
    """Prefect could not be told how something ended."""


def close_task_runs(
    flow_run_id: UUID | str,
    how: Mapping[UUID, State] | None = None,
    *,
    reason: str = GONE,
    settle_seconds: float = SETTLE_SECONDS,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> int:
    """Give a final state to every task run of a flow run that has none.

    A server that is away is tried until the deadline. Nothing is raised, because the results of the flow are
    worth more than these states.

    Args:
        flow_run_id: The flow run.
        how: States, by id, of task runs of which more is known than that they have ended.
        reason: Reason why the other task runs are Crashed.
        settle_seconds: Maximum time to wait for states that are on their way.
        deadline_seconds: Maximum time to try a server that does not answer.

    Returns:
        Number of the task runs that were closed.
    """
    deadline = time.monotonic() + deadline_seconds
    settled = time.monotonic() + settle_seconds
    closed: set[UUID] = set()
    try:
        _send_events()
        while left := patiently(lambda client: open_task_runs(client, flow_run_id), deadline):
            if time.monotonic() < settled:
                time.sleep(RETRY_SECONDS / 2)
                continue
            again = [run.id for run in left if run.id not in closed]
            if not again:
                break
            for i in again:
                state = (how or {}).get(i) or Crashed(message=reason)
                patiently(lambda client, i=i, s=state: client.set_task_run_state(i, s, force=True), deadline)  # type: ignore[misc]
                closed.add(i)
    except Exception as error:
        warnings.warn(
            f"Prefect may say of batches of {flow_run_id} that they run, though none does: {in_words(error)}",
            StatesWarning,
            stacklevel=2,
        )
    return len(closed)


def open_task_runs(client: SyncPrefectClient, flow_run_id: UUID | str) -> list[TaskRun]:
    """Return the task runs of a flow run that have no final state, at most `PAGE` of them."""
    unended = [kind for kind in StateType if kind not in TERMINAL_STATES]
    return client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run_id))])),
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=unended))),
        sort=TaskRunSort.ID_DESC,
        limit=PAGE,
    )


def is_away(error: BaseException) -> bool:
    """Return whether a client error says that Prefect's server, or its database, is away and may come back.

    A refusal is permanent: of a wrong address, of a missing permission, or of something that the server does
    not know.
    """
    if isinstance(error, ConcurrencySlotAcquisitionError):  # a task run asks for slots of its tags
        if error.__cause__ is not None:
            return is_away(error.__cause__)
        # It has come from another process, without its cause: what no answer has come to, or a failure.
        return str(error).endswith("]") or re.search(r"\b5\d\d\b", str(error)) is not None
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        return code >= 500 or code in BUSY
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def patiently(
    ask: Callable[[SyncPrefectClient], T], deadline: float, on_silence: Callable[[str], None] | None = None
) -> T:
    """Ask the server, and retry while it is away.

    Args:
        ask: Function that asks with the client.
        deadline: Time on the monotonic clock; an error after it is raised.
        on_silence: Function that is called with a brief reason each time that the server is away.

    Raises:
        Exception: at once, if the server has answered, and waiting does not change its answer.
    """
    while True:
        try:
            # Its own tries are ever further apart: it would not see for minutes that the server is back.
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
                return ask(client)
        except Exception as error:
            if not is_away(error) or time.monotonic() >= deadline:
                raise
            if on_silence is not None:
                on_silence(in_brief(error))
        time.sleep(RETRY_SECONDS)


def read_flow_run(flow_run_id: UUID | str, deadline_seconds: float = DEADLINE_SECONDS) -> FlowRun | None:
    """Return Prefect's row of a flow run; None if its database has none."""
    with suppress(ObjectNotFound):
        return patiently(
            lambda client: client.read_flow_run(UUID(str(flow_run_id))), time.monotonic() + deadline_seconds
        )
    return None


def set_flow_run_state(
    flow_run_id: UUID | str, state: State, deadline_seconds: float = DEADLINE_SECONDS
) -> None:
    """Set a flow run's state, whatever the state was before."""
    patiently(
        lambda client: client.set_flow_run_state(UUID(str(flow_run_id)), state, force=True),
        time.monotonic() + deadline_seconds,
    )


def close_flow_run(run: FlowRun, reason: str) -> None:
    """Set a flow run whose process is gone, and its task runs, to Crashed; final states stay."""
    if run.state is None or not run.state.is_final():
        set_flow_run_state(run.id, Crashed(message=reason))
    close_task_runs(run.id, reason=reason)


def cancel_flow_run(flow_run_id: UUID | str, reason: str) -> None:
    """Mark a flow run that has been ended on purpose as Cancelled, and its task runs as Crashed."""
    set_flow_run_state(flow_run_id, Cancelled(message=reason))
    close_task_runs(flow_run_id, reason=reason)


def _send_events() -> None:
    """Send the states of task runs that this process still holds; another events worker sends later ones."""
    # In a thread: where an event loop runs in this one, as in a notebook, Prefect would give a coroutine.
    thread = threading.Thread(
        target=EventsWorker.drain_all, kwargs={"timeout": SETTLE_SECONDS, "at_exit": False}, daemon=True
    )
    thread.start()
    thread.join(SETTLE_SECONDS)
