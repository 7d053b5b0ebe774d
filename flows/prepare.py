"""Steps before and after a flow's work: plan it, and collect its results. They do not use Prefect."""

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
    """Some batches failed, so the sweep is not complete; the finished results are in the store."""


def command_line(overrides: Iterable[str], config_dir: str | Path | None = None, rerun: bool = False) -> str:
    """Return the shell command that runs a sweep."""
    options = [] if config_dir is None else ["--config-dir", str(config_dir)]
    options += ["--rerun"] * rerun
    return shlex.join(["sweepflow", "llc", *options, *overrides])


def prepare(
    overrides: Iterable[str],
    config_dir: str | Path | None = None,
    rerun: bool = False,
    flow_run_id: str | None = None,
) -> tuple[Plan, Store]:
    """Do all steps that can fail before work starts: compose, validate, look up, cut into batches.

    Args:
        overrides: Overrides in Hydra's grammar.
        config_dir: A directory of the user's own configuration groups.
        rerun: Whether to run trials that the store knows again, too.
        flow_run_id: Id of the flow run that runs the sweep, in whose name a rerun is asked for; None if the
            plan is only looked at.

    Raises:
        ConfigError: if something cannot be run.
        StoreError: if the store cannot be written, and there is something to write.
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
    """Collect a sweep's records from the store, and write its tables and report."""
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
    """Write the tables of a sweep that was stopped early, and return a message about it."""
    sweep = collect(plan, store, command)
    if not sweep.targets and not sweep.estimates:
        return ""
    done = f"{plan.trials - len(sweep.missing)} of {plan.trials} trials are done"
    return f"{done}; {sweep.headline}; tables and report so far: {sweep.directory}"


def incomplete(missing: Sequence[str], trials: int, failures: Sequence[str]) -> IncompleteError | None:
    """Return the error of a sweep that does not end well; None if every batch ended well.

    Args:
        missing: Ids of trials without a record.
        trials: Number of trials that were asked for.
        failures: Failures, in words.
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
