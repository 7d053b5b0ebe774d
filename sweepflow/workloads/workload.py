"""The properties of a workload that a sweep needs, whether it is a JAX function or an external program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from sweepflow.engine.workload import C, Trial, Workload
from sweepflow.fingerprint import fingerprint
from sweepflow.schema.fields import Config
from sweepflow.schema.numbers import plain_number
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads.goal import Goal


class RunTrials(Protocol[C]):
    """Runs trials that are not a JAX function; returns one record per trial, in their order."""

    def __call__(
        self, trials: Sequence[Trial[C]], store: Store, *, on_record: Callable[[Record], None] | None = None
    ) -> list[Record]: ...


@dataclass(frozen=True)
class SweepWorkload(Generic[C]):
    """A workload as a sweep sees it.

    Attributes:
        path: Path that it is loaded from: a module path, or the path of a `.py` file.
        name: Name of the workload; part of every fingerprint.
        version: Version, raised whenever results change; part of every fingerprint.
        config_type: Type of its configurations.
        metric: Figure that decides which trial is best, if the sweep does not say; from a configuration.
        run: Function that runs its trials: a pure JAX function with the parts that the engine needs, or a
            function of trials.
        seed_key: Dotted key of the seed in which repeats differ; None if the workload has no seed.
        prepare: Completes a configuration (with the digest of a file, for example) and corrects values that
            are certainly mistakes; returns the configuration, and the corrections in words.
        check: Makes sure that a trial can run, without running it.
        one_look: Context in which `prepare` and `check` look at each file once, so that all trials of a plan
            see the same state of the file, and many trials are not slow.
        dataset: Identity of a trial's input arrays; a batch holds each data set once.
        source: Digest of the source code, if that is part of the fingerprint; otherwise empty.
        inputs: Digest of the input arrays, from a configuration, if that is part of the fingerprint;
            otherwise empty.
        forget: Makes the workload read input arrays again, before trials are planned.
        goals: Whether a small or a large value is good, by figure; for figures whose goal the workload
            states.
        figures: Figures that are sure to exist, from a configuration; empty if only a run can tell.
        pad: Gives trials of different shapes one shape to be compiled for; None if that is not possible.
        at_once: Number of trials of a batch that run side by side; batches that are cut automatically are not
            smaller.
        within: A configuration as one of a sweep with this name; the values that it sets never identify a
            trial.
        typed: Command of a trial, as a person would type it; empty if a trial is not a command.
        until: The trial that stops early after some of its `epochs`, or continues from there; None for a
            workload that cannot stop early. If it can, its configurations have `epochs` and `stop_after`.
    """

    path: str
    name: str
    version: int
    config_type: type[C]
    metric: Callable[[C], str]
    run: Workload[C] | RunTrials[C]
    seed_key: str | None = "seed"
    prepare: Callable[[C], tuple[C, tuple[str, ...]]] = field(default=lambda config: (config, ()))
    check: Callable[[C], None] = field(default=lambda config: None)
    one_look: Callable[[], AbstractContextManager[None]] = nullcontext
    dataset: Callable[[C], object] = field(default=lambda config: None)
    source: str = ""
    inputs: Callable[[C], str] = field(default=lambda config: "")
    forget: Callable[[], None] = field(default=lambda: None)
    goals: Mapping[str, Goal] = field(default_factory=dict)
    figures: Callable[[C], tuple[str, ...]] = field(default=lambda config: ())
    pad: Callable[[Sequence[Trial[C]]], list[Trial[C]]] | None = None
    at_once: Callable[[C], int] = field(default=lambda config: 1)
    within: Callable[[C, str], C] = field(default=lambda config, sweep: config)
    typed: Callable[[Trial[C], Store], str] = field(default=lambda trial, store: "")
    until: Callable[[Trial[C], int | None, int], Trial[C]] | None = None

    def trial(self, config: C) -> Trial[C]:
        """Return the trial of a prepared configuration."""
        beside = {"source": self.source, "inputs": self.inputs(config)}
        beside = {name: digest for name, digest in beside.items() if digest}
        payload: Any = {"config": config, **beside} if beside else config
        # What is no number tells keys apart all the same: the id, which has it, is in them.
        seed = plain_number(_get(config, self.seed_key)) or 0
        return Trial(fingerprint("trl", self.name, self.version, payload), config, int(seed))


def _get(config: Config, key: str | None) -> Any:
    value: Any = config
    for part in key.split(".") if key else ():
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value if key else None
