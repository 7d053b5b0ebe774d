"""A request to cancel, beside the run file: it reaches a run wherever the store does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.store import Store


def ask_to_cancel(store: Store, flow_run_id: str, who: str) -> None:
    """Ask a run to end; its process sees it at its next sign of life.

    Raises:
        StoreError: where the store cannot be written.
    """
    write_bytes(_path(store, flow_run_id), who.encode())


def cancel_asked(store: Store, flow_run_id: str) -> str | None:
    """Who has asked a run to end, or None where nobody has."""
    try:
        return _path(store, flow_run_id).read_text(errors="replace")
    except OSError:
        return None


def forget_request(store: Store, flow_run_id: str) -> None:
    """Take the request back: it has been fulfilled, or the run begins anew."""
    with suppress(OSError):
        _path(store, flow_run_id).unlink(missing_ok=True)


def _path(store: Store, flow_run_id: str) -> Path:
    return store.paths.run(flow_run_id).with_suffix(".cancel")
