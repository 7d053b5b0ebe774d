"""Compare estimates with learning coefficients that are known in closed form."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect.client.schemas.objects import State

from sweepflow.engine.devices import configure
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.prepare import PreparedLlc
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.llc import run_stages
from sweepflow.flows.orchestrate import Found, orchestrate, sweep_flow
from sweepflow.report.numbers import counted
from sweepflow.storage.store import Store
from sweepflow.tasks.report import publish
from sweepflow.verify import Comparison, cases, compare

NAME = "verify"


@sweep_flow(NAME)
def verify(quick: bool = False, store: str = "sweepflow-data") -> list[Comparison] | State[list[Comparison]]:
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

    def prepare(flow_run_id: str) -> PreparedLlc:
        opened = Store(Path(store))
        opened.check_writable()
        plan = make_plan([case.config.model_copy(update={"name": NAME}) for case in chosen], opened)
        return PreparedLlc(plan, opened, "sweepflow verify" + " --quick" * quick)

    def find(prepared: PreparedLlc, outcome: Outcome) -> Found:
        sweep = prepared.collect()
        records = {record.id: record for record in sweep.estimates}
        # A plan keeps the order of its configurations.
        pairs = zip(chosen, prepared.plan.estimates, strict=True)
        found = [compare(case, records[i]) for case, i in pairs if i in records]
        agree = sum(comparison.within for comparison in found)
        said = f"{agree} of {counted(len(chosen), 'estimate')} are where the closed form says"
        return Found(found, said, agree > 0, sweep.directory, sweep.missing, partial(publish, sweep))

    return orchestrate(lambda: (None, None), prepare, run_stages, find)
