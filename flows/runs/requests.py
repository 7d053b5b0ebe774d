"""A request to cancel a run, beside the run file. It reaches the run wherever the store does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.store import Store


def ask_to_cancel(store: Store, flow_run_id: str, who: str) -> None:
    """Ask a run to end. The process of the run sees the request at its next sign of life.

    Raises:
        StoreError: if the store cannot be written.
    """
    write_bytes(_path(store, flow_run_id), who.encode())


def cancel_asked(store: Store, flow_run_id: str) -> str | None:
    """Return who has asked a run to end, or None if nobody has."""
    try:
        return _path(store, flow_run_id).read_text(errors="replace")
    except OSError:
        return None


def forget_request(store: Store, flow_run_id: str) -> None:
    """Remove the request, because it has been fulfilled or because the run begins again."""
    with suppress(OSError):
        _path(store, flow_run_id).unlink(missing_ok=True)


def _path(store: Store, flow_run_id: str) -> Path:
    return store.paths.run(flow_run_id).with_suffix(".cancel")
