"""Compare estimates with learning coefficients that are known in closed form."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, tags
from prefect.runtime import flow_run

from flows.prepare import check_complete, collect
from flows.run_plan import run_plan
from flows.runners.asked import Asked
from flows.runs.heartbeat import beating
from flows.runs.hooks import settle
from flows.runs.reconcile import close_task_runs
from sweepflow.engine.devices import configure
from sweepflow.llc.plan import make_plan
from sweepflow.store.store import Store
from sweepflow.verify import Comparison, cases, compare
from tasks.report import publish

NAME = "verify"


@flow(
    name=NAME,
    on_failure=[settle],
    on_crashed=[settle],
    on_cancellation=[settle],
)
def verify(quick: bool = False, store: str = "sweepflow-data") -> list[Comparison]:
    """Run every case whose truth is known, and hold each estimate against it.

    Args:
        quick: Only a subset that takes under a minute.
        store: The store's directory.

    Returns:
        One comparison a case.

    Raises:
        IncompleteError: where a batch failed; everything else is in the store.
    """
    configure()
    chosen = cases(quick)
    opened = Store(Path(store))
    opened.check_writable()
    plan = make_plan([case.config.model_copy(update={"name": NAME}) for case in chosen], opened)
    command = "sweepflow verify" + " --quick" * quick
    with tags("sweepflow", NAME), beating(opened, name=NAME, command=command) as beat:
        outcome = run_plan(plan, opened, Asked(), beat)
        sweep = collect(plan, opened, command)
        close_task_runs(flow_run.id, outcome.states)
        publish(sweep)
        check_complete(sweep.missing, plan.trials, outcome.failures)
    records = {record.id: record for record in sweep.estimates}
    # A plan keeps the order of its configurations.
    return [compare(case, records[i]) for case, i in zip(chosen, plan.estimates, strict=True)]
