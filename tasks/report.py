"""Tables, report and Prefect artifacts of a finished sweep."""

from __future__ import annotations

from prefect.artifacts import create_link_artifact, create_table_artifact

from sweepflow.llc_sweep import LlcSweep
from sweepflow.report.trials.headline import headline as trials_headline
from sweepflow.report.trials.tables import configuration_rows
from sweepflow.trials.result import TrialsSweep

MAX_ROWS = 200
"""Largest number of rows of the table artifact, which Prefect keeps in its database."""
COLUMNS = (
    "id",
    "target_id",
    "status",
    "llc",
    "llc_low",
    "llc_high",
    "ess_mean",
    "r_hat",
    "reasons",
    "advice",
)


def publish_trials(sweep: TrialsSweep) -> None:
    """Show a sweep of trials on its flow run's page: its best configurations, and a link to the report."""
    rows = configuration_rows(sweep.view, best_first=True)
    title = trials_headline(sweep.view)
    create_table_artifact(rows[:MAX_ROWS], key="sweep-results", description=title)
    create_link_artifact(
        sweep.report.absolute().as_uri(), link_text=str(sweep.report), key="sweep-report", description=title
    )


def publish(sweep: LlcSweep) -> None:
    """Show a sweep's results on its flow run's page: a table, and a link to the report."""
    rows = [{column: row.get(column) for column in COLUMNS} for row in sweep.rows()[:MAX_ROWS]]
    title = sweep.headline
    create_table_artifact(rows, key="sweep-results", description=title)
    create_link_artifact(
        sweep.report.absolute().as_uri(), link_text=str(sweep.report), key="sweep-report", description=title
    )
