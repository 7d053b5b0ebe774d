"""Steps before and after an LLC sweep: plan it, and collect its results. They do not use Prefect."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sweepflow.engine.devices import configure
from sweepflow.estimates.agreement import with_disagreements
from sweepflow.estimates.plan import LlcPlan
from sweepflow.llc_sweep import LlcSweep
from sweepflow.storage.reruns import all_again
from sweepflow.storage.store import Store


@dataclass(frozen=True)
class PreparedLlc:
    """An LLC sweep that is ready to run.

    Attributes:
        plan: Its trials and batches.
        store: Its store.
        command: The shell command that runs it.
        rerun: Whether it runs again the trials that the store knows.
    """

    plan: LlcPlan
    store: Store
    command: str
    rerun: bool = False

    @property
    def is_done(self) -> bool:
        """True if there is nothing to run."""
        return not self.plan.batches

    def ask_for_rerun(self, flow_run_id: str) -> None:
        """Ask for all its trials to be run again, in the name of a flow run, if the sweep is a rerun."""
        if self.rerun:
            all_again(self.store.paths, [*self.plan.targets, *self.plan.estimates], flow_run_id)

    def compile_first(self) -> None:
        """Compile the program of the first batch, while a server starts."""
        from sweepflow.engine.run import compile_ahead
        from sweepflow.targets.workload import TARGET

        for batch in self.plan.batches_of("target")[:1]:  # samplers are compiled for the targets' results
            compile_ahead(TARGET, batch.trials, self.store, size=batch.size, datasets=batch.datasets)

    def collect(self) -> LlcSweep:
        """Collect the sweep's records from the store, and write its tables and report."""
        plan = self.plan
        wanted = [*plan.targets, *plan.estimates]
        records = self.store.known(wanted)
        sweep = LlcSweep(
            name=plan.name,
            command=self.command,
            directory=self.store.paths.sweep(plan.name),
            targets={i: records[i] for i in plan.targets if i in records},
            estimates=with_disagreements([records[i] for i in plan.estimates if i in records]),
            missing=[i for i in wanted if i not in records],
        )
        sweep.write(self.store)
        return sweep


def prepare(
    overrides: Iterable[str],
    config_dir: str | Path | None = None,
    rerun: bool = False,
    flow_run_id: str | None = None,
) -> PreparedLlc:
    """Do all steps that can fail before work starts: compose, validate, look up, cut into batches.

    Args:
        overrides: Overrides in Hydra's grammar.
        config_dir: A directory of the user's own configuration groups.
        rerun: Whether to run trials that the store knows again, too.
        flow_run_id: Id of the flow run that runs the sweep, in whose name a rerun is asked for; None if there
            is no flow run yet.

    Raises:
        ConfigError: if something cannot be run.
        StoreError: if the store cannot be written, and there is something to write.
    """
    configure()
    from sweepflow.compose import compose_llc
    from sweepflow.estimates.plan import make_plan

    overrides = list(overrides)
    configs = compose_llc(overrides, config_dir)
    store = Store(Path(configs[0].store))
    plan = make_plan(configs, store, lambda ids: rerun and all_again(store.paths, ids, flow_run_id))
    if plan.batches:
        store.check_writable()
    options = [] if config_dir is None else ["--config-dir", str(config_dir)]
    options += ["--rerun"] * rerun
    return PreparedLlc(plan, store, shlex.join(["sweepflow", "llc", *options, *overrides]), rerun)
