"""Before and after a flow's work: plan it, and collect what it found. No Prefect here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from sweepflow.engine.devices import configure
from sweepflow.errors import SweepflowError
from sweepflow.estimates.agreement import with_disagreements
from sweepflow.estimates.plan import Plan
from sweepflow.llc_sweep import LlcSweep
from sweepflow.storage.reruns import all_again
from sweepflow.storage.store import Store
from sweepflow.words import shortened


class IncompleteError(SweepflowError):
    """Some batches failed, so the sweep is not complete; what finished is in the store."""


def command_line(overrides: Iterable[str], config_dir: str | Path | None = None, rerun: bool = False) -> str:
    """What is typed in a shell to get a sweep."""
    options = [] if config_dir is None else ["--config-dir", str(config_dir)]
    options += ["--rerun"] * rerun
    return shlex.join(["sweepflow", "llc", *options, *overrides])


def prepare(
    overrides: Iterable[str],
    config_dir: str | Path | None = None,
    rerun: bool = False,
    flow_run_id: str | None = None,
) -> tuple[Plan, Store]:
    """Everything that can go wrong before work starts: compose, validate, look up, cut into batches.

    Args:
        overrides: In Hydra's grammar.
        config_dir: A directory of configuration groups of the user's own.
        rerun: Whether what the store knows is run again, too.
        flow_run_id: Of the flow that runs it, for which a rerun is asked for; None for a look at the plan.

    Raises:
        ConfigError: for what cannot be run.
        StoreError: for a store that cannot be written, where there is anything to write.
    """
    configure()
    from sweepflow.compose import compose_llc
    from sweepflow.estimates.plan import make_plan

    configs = compose_llc(list(overrides), config_dir)
    store = Store(Path(configs[0].store))
    plan = make_plan(configs, store, lambda ids: rerun and all_again(store.paths, ids, flow_run_id))
    if plan.batches:
        store.check_writable()
    return plan, store


def compile_first(plan: Plan, store: Store) -> None:
    """Compile the program of the first batch, while a server starts."""
    from sweepflow.engine.run import compile_ahead
    from sweepflow.targets.workload import TARGET

    if plan.target_batches:  # samplers need the targets' results to be compiled for
        batch = plan.target_batches[0]
        compile_ahead(TARGET, batch.trials, store, size=batch.size, datasets=batch.datasets)


def collect(plan: Plan, store: Store, command: str) -> LlcSweep:
    """A sweep's records as the store has them, with its tables and report written."""
    wanted = [*plan.targets, *plan.estimates]
    records = store.known(wanted)
    sweep = LlcSweep(
        name=plan.name,
        command=command,
        directory=store.paths.sweep(plan.name),
        targets={i: records[i] for i in plan.targets if i in records},
        estimates=with_disagreements([records[i] for i in plan.estimates if i in records]),
        missing=[i for i in wanted if i not in records],
    )
    sweep.write(store)
    return sweep


def so_far(plan: Plan, store: Store, command: str) -> str:
    """Write the tables of a sweep that was ended before its end; what there is to say of it."""
    sweep = collect(plan, store, command)
    if not sweep.targets and not sweep.estimates:
        return ""
    done = f"{plan.trials - len(sweep.missing)} of {plan.trials} trials are done"
    return f"{done}; {sweep.headline}; tables and report so far: {sweep.directory}"


def incomplete(missing: Sequence[str], trials: int, failures: Sequence[str]) -> IncompleteError | None:
    """Why a sweep does not end well; None where every batch did.

    Args:
        missing: Ids of trials without a record.
        trials: How many were asked for.
        failures: What failed, in words.
    """
    if not missing and not failures:
        return None
    return IncompleteError(
        f"{len(missing)} of {trials} trials have no result"
        if missing
        else "a batch failed, and its trials have old results that are failures",
        got=shortened("; ".join(failures), 1500) or ", ".join(missing[:10]),
        do="mend the cause and start the same command again: what is done is kept",
    )
