"""What a sweep needs to know of a workload, whether it is a JAX function or an external program."""

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
    """Runs trials that are no JAX function, one record each, in their order."""

    def __call__(
        self, trials: Sequence[Trial[C]], store: Store, *, on_record: Callable[[Record], None] | None = None
    ) -> list[Record]: ...


@dataclass(frozen=True)
class SweepWorkload(Generic[C]):
    """A workload as a sweep sees it.

    Attributes:
        path: Where it is loaded from: a module path, or the path of a `.py` file.
        name: Part of every fingerprint.
        version: Raised whenever results change; part of every fingerprint.
        config_type: The type of its configurations.
        metric: The figure that says which trial is best, where the sweep does not say; from a configuration.
        run: How its trials run: a pure JAX function with what the engine needs, or a function of trials.
        seed_key: Dotted key of the seed that repeats differ in; None where it has none.
        prepare: Completes a configuration (the digest of a file, say) and mends what is sure to be a slip;
            returns it with what was mended, in words.
        check: Makes sure, without running it, that a trial can run.
        one_look: Within it, `prepare` and `check` look at each file once, so that all trials of a plan are of
            one state of it, and many are not slow.
        dataset: What identifies a trial's input arrays; a batch holds each once.
        source: Digest of the source code, where that is part of the fingerprint; else empty.
        inputs: Digest of the input arrays, from a configuration, where that is part of the fingerprint; else
            empty.
        forget: Makes it read input arrays again, before trials are planned.
        goals: Whether a small or a large one is good, of figures of which the workload states it.
        figures: The figures that are sure to be there, from a configuration; empty where only a run can tell.
        pad: Gives trials of different shapes one shape to be compiled for; None where that cannot be.
        at_once: How many trials of a batch run side by side; batches are cut no smaller by themselves.
        within: A configuration as one of a sweep with this name; what it sets never identifies a trial.
        typed: What a trial runs, as a person would type it; empty for what is no command.
        until: The trial that stops early after some of its `epochs`, or goes on from there; None for a
            workload that cannot. Configurations of one that can have `epochs` and `stop_after`.
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
        """The trial of a prepared configuration."""
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
