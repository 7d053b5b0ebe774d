"""From configurations to the batches that have to be run: fingerprints, without those that the store has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sweepflow import data
from sweepflow.batching import Plan, WorkUnit, batches, shared_out
from sweepflow.engine.devices import worker_count
from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError
from sweepflow.estimates.workload import LLC, check, estimate_trial
from sweepflow.schema.data import DataConfig
from sweepflow.schema.llc import EstimateConfig, LlcConfig
from sweepflow.schema.target import TargetConfig
from sweepflow.storage.store import Store
from sweepflow.targets.workload import TARGET, target_trial
from sweepflow.targets.workload import check as check_target


@dataclass(frozen=True)
class LlcPlan(Plan):
    """A sweep of targets and estimates, before any work.

    Attributes:
        targets: Every target that was asked for, once.
        estimates: Every estimate that was asked for.
    """

    targets: dict[str, Trial[TargetConfig]]
    estimates: dict[str, Trial[EstimateConfig]]

    @property
    def trials(self) -> int:
        """Number of trials that were asked for, in both stages."""
        return len(self.targets) + len(self.estimates)


def make_plan(
    configs: Sequence[LlcConfig], store: Store, ask: Callable[[Collection[str]], bool] = lambda ids: False
) -> LlcPlan:
    """Turn a sweep's configurations into a plan.

    Args:
        configs: One configuration for each estimate.
        store: Store of the known records.
        ask: Called with the ids of all trials of the sweep; returns whether to run all of them, even if the
            store knows them.

    Raises:
        ConfigError: for a duplicate, a configuration that cannot be run, or a file that cannot be read.
    """
    pinned: dict[DataConfig, DataConfig] = {}
    trials: dict[str, Trial[EstimateConfig]] = {}
    targets: dict[TargetConfig, Trial[TargetConfig]] = {}
    for config in configs:
        if config.data not in pinned:
            pinned[config.data] = data.pin(config.data)
        estimate = config.model_copy(update={"data": pinned[config.data]}).estimate()
        if estimate.target not in targets:
            check_target(estimate.target)
            targets[estimate.target] = target_trial(estimate.target)
        trial = estimate_trial(estimate)
        check(trial.config)
        if trial.id in trials:
            raise ConfigError(
                "the sweep asks for one estimate twice",
                got=_describe(trial.config),
                do="remove the value that is given twice, or spelled in two ways",
            )
        trials[trial.id] = trial
    built = {trial.id: trial for trial in targets.values()}
    ids = [*built, *trials]
    known = {} if ask(ids) else store.finished(ids)
    runner = configs[0].runner
    size = shared_out(worker_count(runner)) if runner.batch_size == "auto" else runner.batch_size
    missing = [trial for trial in trials.values() if trial.id not in known]
    # A target is built where it is missing, even if all its estimates are known: the tables show it.
    to_build = [trial for trial in built.values() if trial.id not in known]
    digest = hashlib.sha256(" ".join(sorted(trials)).encode()).hexdigest()
    units = [WorkUnit("target", batch) for batch in batches(TARGET, to_build, size, lambda c: c.data)]
    for batch in batches(LLC, missing, size, lambda c: c.target.data):
        # A group is sampled as soon as its own targets are built.
        needs = frozenset(targets[trial.config.target].id for trial in batch.trials)
        units.append(WorkUnit("llc", batch, needs))
    return LlcPlan(
        name=configs[0].name or f"llc-{digest[:8]}",
        runner=runner,
        known=known,
        units=units,
        targets=built,
        estimates=trials,
    )


def _describe(config: EstimateConfig) -> str:
    target, sampler = config.target, config.sampler
    return (
        f"model {target.model.kind}, data {target.data.kind}, target.seed={target.target.seed}, "
        f"sampler {sampler.kind}, sampler.seed={sampler.seed}"
    )
