"""Steps before and after a sweep of trials: plan it, and collect its results. They do not use Prefect."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweepflow.engine.devices import configure
from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.report.numbers import counted
from sweepflow.storage.record import Record
from sweepflow.storage.reruns import all_again, of_before
from sweepflow.storage.store import Store
from sweepflow.trials.draw import DesignOptions, Drawn
from sweepflow.trials.modes import Mode
from sweepflow.trials.plan import TrialsPlan
from sweepflow.trials.result import TrialsSweep
from sweepflow.workloads.goal import Aim, Goal
from sweepflow.workloads.workload import SweepWorkload


@dataclass(frozen=True)
class SweepOptions:
    """Options of a sweep, in addition to its overrides.

    Attributes:
        design: Options for the choice of configurations.
        mode: `batched`, `sequential` or `auto`.
        halving: Successive halving that keeps one in this many trials; None runs every trial to its end.
        pad_widths: Whether MLPs that differ in their widths share one compiled program.
        metric: The figure that trials are judged by; None takes the workload's own.
        goal: Direction of the metric; None takes it from the workload, or from the figure's name.
        config_dir: A directory of the user's own configuration groups.
        rerun: Whether to run trials that the store knows again, too.
    """

    design: DesignOptions = field(default_factory=DesignOptions)
    mode: Mode = "batched"
    halving: int | None = None
    pad_widths: bool = False
    metric: str | None = None
    goal: Goal | None = None
    config_dir: str | None = None
    rerun: bool = False

    def words(self) -> list[str]:
        """Return the options as they are typed in a shell."""
        design = self.design
        given: dict[str, Any] = {
            "--samples": design.samples,
            "--method": None if design.method == "sobol" else design.method,
            "--design-seed": design.seed or None,
            "--repeats": design.repeats,
            "--from": design.table,
            "--mode": None if self.mode == "batched" else self.mode,
            "--halving": self.halving,
            "--metric": self.metric,
            "--goal": self.goal,
            "--config-dir": self.config_dir,
        }
        words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        return words + ["--pad-widths"] * self.pad_widths + ["--rerun"] * self.rerun


@dataclass(frozen=True)
class PreparedTrials:
    """A sweep of trials that is ready to run.

    Attributes:
        plan: Its trials and batches.
        store: Its store.
        command: The shell command that runs it.
        options: Its options in addition to the overrides.
        aim: The figure that its trials are judged by, and the direction.
        option: Option of the group `workload` that it uses.
        own: Path of the workload, if it is the user's own; otherwise empty.
    """

    plan: TrialsPlan
    store: Store
    command: str
    options: SweepOptions
    aim: Aim
    option: str
    own: str

    @property
    def is_done(self) -> bool:
        """True if there is nothing to run. With halving, what there is to run is decided as it goes."""
        return not self.plan.batches and self.options.halving is None

    def ask_for_rerun(self, flow_run_id: str) -> None:
        """Ask for all its trials to be run again, in the name of a flow run, if the sweep is a rerun."""
        if self.options.rerun:
            ids = _all_ids(self.plan.workload, self.plan.drawn, self.options.halving)
            all_again(self.store.paths, ids, flow_run_id)

    def compile_first(self) -> None:
        """Compile the program of the first batch, while a server starts."""
        from sweepflow.engine.run import compile_ahead
        from sweepflow.engine.workload import Workload

        run, batches, options = (
            self.plan.workload.run,
            self.plan.batches,
            self.options,
        )
        # Other ways of running cut batches of other sizes, which other programs hold.
        if isinstance(run, Workload) and batches and options.mode == "batched" and options.halving is None:
            batch = batches[0]
            compile_ahead(run, batch.trials, self.store, size=batch.size, datasets=batch.datasets)

    def collect(
        self, notes: Sequence[str] = (), stopped: Mapping[str, tuple[str, int]] | None = None
    ) -> TrialsSweep:
        """Collect a sweep's records from the store, and write its tables and report.

        Args:
            notes: Notes from running the sweep.
            stopped: Trials that halving ended early, by id: the id of the record that each trial has instead
                of its own, and the rung. Trials that reached the end have the last rung.
        """
        from sweepflow.report.trials.view import TrialsView
        from sweepflow.trials.halving import repeats
        from sweepflow.trials.result import as_shown, note_in_manifest, replaced_note

        plan, store = self.plan, self.store
        stopped = stopped or {}
        ids = {i: stopped[i][0] if i in stopped else i for i in plan.drawn.trials}
        rungs = {ids[i]: rung for i, (_, rung) in stopped.items()}
        groups = {ids[i]: label for i, label in plan.groups.items()}
        left_out = {ids[i]: keys for i, keys in plan.drawn.left_out.items()}
        found = store.known(ids.values())
        ours = repeats(plan.drawn.trials.values(), plan.workload.seed_key)
        asked = {ids[i]: len(together) for together in ours for i in together if len(together) > 1}
        view = TrialsView(
            [as_shown(found[i], rungs.get(i), left_out.get(i, ())) for i in ids.values() if i in found],
            self.aim.metric,
            self.aim.goal,
            plan.drawn.log_keys,
            groups,
            plan.workload.seed_key,
            self.aim.guessed,
            asked,
        )
        sweep = TrialsSweep(
            name=plan.name,
            command=self.command,
            directory=store.paths.sweep(plan.name),
            view=view,
            missing=[i for i in ids.values() if i not in found],
            notes=[
                *plan.drawn.notes,
                *notes,
                *_old(store, ids.values()),
                *replaced_note(store.paths.sweep(plan.name), self.command, list(ids.values())),
            ],
            option=self.option,
            own=self.own,
        )
        sweep.write(store)
        note_in_manifest(
            sweep.directory,
            "ended",
            name=sweep.name,
            command=sweep.command,
            workload=plan.workload.path,
            metric=self.aim.metric,
            goal=self.aim.goal,
            goal_guessed=self.aim.guessed,
            asked=asked,
            seed_key=plan.workload.seed_key,
            log_keys=sorted(plan.drawn.log_keys),
            trials=list(ids.values()),
            groups=groups,
            rungs=rungs,
            left_out=left_out,
            missing=list(sweep.missing),
            notes=list(sweep.notes),
        )
        return sweep


def prepare_trials(
    overrides: Iterable[str], options: SweepOptions, flow_run_id: str | None = None
) -> PreparedTrials:
    """Do all steps that can fail before work starts: compose, draw, validate, look up, cut into batches.

    Args:
        overrides: Overrides in Hydra's grammar.
        options: Options in addition to the overrides.
        flow_run_id: Id of the flow run that runs the sweep, in whose name a rerun is asked for; None if there
            is no flow run yet.

    Raises:
        ConfigError: if something cannot be run.
        StoreError: if the store cannot be written, and there is something to write.
    """
    configure()
    from sweepflow.compose import compose_trials
    from sweepflow.trials.draw import draw_trials
    from sweepflow.trials.halving import rungs
    from sweepflow.trials.plan import make_plan
    from sweepflow.workloads.goal import aim

    overrides = list(overrides)
    request = compose_trials(overrides, options.config_dir, options.design.table)
    workload = request.workload
    if options.halving is not None and workload.until is None:
        raise ConfigError(
            f"the workload {workload.name!r} cannot stop early and go on, so there is nothing to halve",
            got=f"--halving {options.halving}",
            do="remove it",
        )
    if options.halving is not None:
        rungs(1, options.halving)  # refuses what is no eta
        if options.mode != "batched":
            raise ConfigError(
                "halving runs in batches", got=f"--halving with --mode {options.mode}", do="remove --mode"
            )
    if options.pad_widths and workload.pad is None:
        raise ConfigError(
            f"the workload {workload.name!r} has no widths to pad", got="--pad-widths", do="remove it"
        )
    drawn = draw_trials(request, options.design)
    first = next(iter(drawn.trials.values())).config
    if options.halving is not None and any(t.config.stop_after for t in drawn.trials.values()):
        raise ConfigError(
            "halving says when trials stop", got="--halving with stop_after=...", do="remove one of them"
        )
    metric = options.metric or workload.metric(first)
    figures = workload.figures(first)
    store = Store(Path(request.settings.store))
    if figures and metric not in figures and not _has_figure(store, drawn, metric):
        raise ConfigError(
            "the workload has no such figure",
            got=f"--metric {metric}" if options.metric else f"{metric}, the METRIC of {workload.path}",
            allowed=", ".join(figures),
            do=did_you_mean(metric, figures)
            + ("; name it in metrics=[...] if the program prints it" if workload.path == "command" else ""),
        )
    judged = aim(metric, options.goal, workload.goals, workload.path)
    if options.pad_widths and workload.pad is not None:
        padded = workload.pad(list(drawn.trials.values()))
        drawn = replace(drawn, trials={trial.id: trial for trial in padded})
    settings = request.settings
    again = options.rerun and all_again(store.paths, _all_ids(workload, drawn, options.halving), flow_run_id)
    plan = make_plan(workload, drawn, settings.runner, store, settings.name, options.halving, again=again)
    if plan.batches:
        store.check_writable()
    command = shlex.join(["sweepflow", "sweep", *overrides, *options.words()])
    return PreparedTrials(plan, store, command, options, judged, request.option, request.own or "")


def _has_figure(store: Store, drawn: Drawn, metric: str) -> bool:
    """Return whether a known result has a figure that the workload does not promise."""
    return any(metric in record.figures for record in store.known(drawn.trials).values())


def _all_ids(workload: SweepWorkload[Any], drawn: Drawn, halving: int | None) -> set[str]:
    """Return the ids of all trials that a sweep may run; with halving, also of those that stop at a rung."""
    from sweepflow.trials.halving import rungs

    ids = set(drawn.trials)
    if halving is not None and workload.until is not None:
        for trial in drawn.trials.values():
            stops = rungs(trial.config.epochs, halving)[:-1]
            ids |= {workload.until(trial, stop, 0).id for stop in stops}
    return ids


def _old(store: Store, ids: Iterable[str]) -> list[str]:
    """Return notes about a rerun that is not complete."""
    left = len(of_before(store.paths, list(ids)))
    words = f"{counted(left, 'trial')} of the rerun are yet to run, and have their results of before"
    return [words] if left else []


def write_samples(
    overrides: Iterable[str], design: DesignOptions, config_dir: str | Path | None, output: Path
) -> list[str]:
    """Write a design to a file without running it.

    Returns:
        Messages about the design, one a line.

    Raises:
        ConfigError: if something could not be run.
    """
    configure()
    from sweepflow.compose import compose_trials
    from sweepflow.space import write_table
    from sweepflow.trials.draw import draw_trials

    drawn = draw_trials(compose_trials(list(overrides), config_dir, design.table), design)
    write_table(output, list(drawn.rows.values()))
    return [*(f"note: {note}" for note in drawn.notes), f"{len(drawn.rows)} configurations in {output}"]


def run_one(overrides: Iterable[str], config_dir: str | Path | None) -> Record:
    """Run one configuration in this process, without Prefect, and keep its record.

    Raises:
        ConfigError: if something cannot be run, or if overrides ask for more than one configuration.
    """
    configure()
    from sweepflow.compose import compose_trials
    from sweepflow.engine.run import run_batch
    from sweepflow.engine.workload import Workload
    from sweepflow.trials.draw import draw_trials

    request = compose_trials(list(overrides), config_dir)
    if request.space is not None or len(request.points) > 1:
        raise ConfigError(
            "train runs one configuration",
            got=" ".join(overrides),
            allowed="one value for every key",
            do="use: sweepflow sweep, with the same overrides",
        )
    (trial,) = draw_trials(request, DesignOptions()).trials.values()
    store = Store(Path(request.settings.store))
    if (known := store.finished([trial.id]).get(trial.id)) is not None:
        return known
    request.workload.figures(trial.config)  # what is wrong with a user's function is said in words
    store.check_writable()
    run = request.workload.run
    if isinstance(run, Workload):
        (record,) = run_batch(run, [trial], store, size=1, datasets=1)
    else:
        (record,) = run([trial], store)
    return record
