"""The Prefect server that knows a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from sweepflow.flows.runs.record import RunRecord
from sweepflow.flows.server.embedded import prefect_server, silence


@contextmanager
def server_of(record: RunRecord) -> Iterator[None]:
    """Point Prefect to the server that a run talked to, until the block ends.

    A configured server comes first. If none is configured, the run's own server is used if it answers,
    otherwise an embedded server, whose database is the one in PREFECT_HOME.

    Raises:
        ServerError: if the configured server does not answer.
    """
    if get_current_settings().api.url is None and record.api_url and silence(record.api_url) is None:
        os.environ["PREFECT_API_URL"] = record.api_url
        refresh_global_settings_context()
        try:
            with prefect_server():
                yield
        finally:
            del os.environ["PREFECT_API_URL"]
            refresh_global_settings_context()
        return
    with prefect_server():
        yield
