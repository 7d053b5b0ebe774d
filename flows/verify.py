"""Compare estimates with learning coefficients that are known in closed form."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import tags

from sweepflow.engine.devices import configure
from sweepflow.estimates.plan import make_plan
from sweepflow.flows.prepare import collect, incomplete, so_far
from sweepflow.flows.run_plan import run_plan
from sweepflow.flows.runners.asked import Asked
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.flows.sweep_flow import end, sweep_flow, tables_at_any_end, told
from sweepflow.report.numbers import counted
from sweepflow.storage.store import Store
from sweepflow.tasks.report import publish
from sweepflow.verify import Comparison, cases, compare

NAME = "verify"


@sweep_flow(NAME)
def verify(quick: bool = False, store: str = "sweepflow-data") -> list[Comparison]:
    """Run every case whose true value is known, and compare each estimate with the true value.

    Args:
        quick: Whether to run only a subset that takes under a minute.
        store: Directory of the store.

    Returns:
        One comparison for each case.

    Raises:
        IncompleteError: if a batch failed; all other results are in the store.
    """
    configure()
    chosen = cases(quick)
    opened = Store(Path(store))
    opened.check_writable()
    plan = make_plan([case.config.model_copy(update={"name": NAME}) for case in chosen], opened)
    command = "sweepflow verify" + " --quick" * quick
    with told(), tags("sweepflow", NAME), beating(opened, name=NAME, command=command) as beat:
        with tables_at_any_end(lambda: so_far(plan, opened, command)):
            outcome = run_plan(plan, opened, Asked(), beat)
        sweep = collect(plan, opened, command)
        records = {record.id: record for record in sweep.estimates}
        # A plan keeps the order of its configurations.
        pairs = zip(chosen, plan.estimates, strict=True)
        found = [compare(case, records[i]) for case, i in pairs if i in records]
        agree = sum(comparison.within for comparison in found)
        return end(
            beat,
            outcome,
            found,
            said=f"{agree} of {counted(len(chosen), 'estimate')} are where the closed form says",
            well=agree > 0,
            where=sweep.directory,
            publish=partial(publish, sweep),
            error=incomplete(sweep.missing, plan.trials, outcome.failures),
        )
