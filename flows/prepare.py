"""Before and after a flow's work: plan it, and collect what it found. No Prefect here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sweepflow.engine.devices import configure
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from sweepflow.sweep import Sweep


def prepare(overrides: Iterable[str], config_dir: str | Path | None = None) -> tuple[Plan, Store]:
    """Everything that can go wrong before work starts: compose, validate, look up, cut into batches.

    Raises:
        ConfigError: for what cannot be run.
        StoreError: for a store that cannot be written.
    """
    configure()
    from sweepflow.compose import compose_llc
    from sweepflow.llc.plan import make_plan

    configs = compose_llc(list(overrides), config_dir)
    store = Store(Path(configs[0].store))
    plan = make_plan(configs, store)
    store.check_writable()
    return plan, store


def collect(plan: Plan, store: Store, command: str) -> Sweep:
    """A sweep's records as the store has them, with its tables and report written."""
    wanted = [*plan.targets, *plan.estimates]
    records = store.known(wanted)
    sweep = Sweep(
        name=plan.name,
        command=command,
        directory=store.paths.sweep(plan.name),
        targets={i: records[i] for i in plan.targets if i in records},
        estimates=[records[i] for i in plan.estimates if i in records],
        missing=[i for i in wanted if i not in records],
    )
    sweep.write(store)
    return sweep
