"""Commands for hyperparameter sweeps: sweep, samples, train, compare."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweepflow.flows.cli import completion
from sweepflow.flows.cli.app import (
    ConfigDir,
    Json,
    LogLevel,
    MaxFailures,
    Overrides,
    Quiet,
    Rerun,
    StoreDir,
    app,
    asks_for_jobs,
    guarded,
    one_of,
    open_store,
    set_up_logging,
)
from sweepflow.flows.cli.documents import comparison_document, print_json, trials_plan_document
from sweepflow.flows.cli.found import end_with, run_flow
from sweepflow.streak import MOST
from sweepflow.tasks.output import lasting_output

if TYPE_CHECKING:
    from sweepflow.trials.prepare import PreparedTrials

Samples = Annotated[
    int | None, typer.Option("--samples", "-n", help="Configurations to draw; best a power of two.")
]
Method = Annotated[
    str, typer.Option("--method", help="sobol, halton, latin_hypercube, random or grid.", metavar="METHOD")
]
DesignSeed = Annotated[
    int, typer.Option("--design-seed", help="Seed of the design, and of seeds that are drawn.")
]
Repeats = Annotated[
    int | None, typer.Option("--repeats", help="Trials of every configuration, each with a drawn seed.")
]
Metric = Annotated[str | None, typer.Option("--metric", help="The figure that says which trial is best.")]
Goal = Annotated[str | None, typer.Option("--goal", help="minimize or maximize the metric.")]


@app.command()
@lasting_output()
def sweep(
    overrides: Overrides = None,
    samples: Samples = None,
    method: Method = "sobol",
    design_seed: DesignSeed = 0,
    repeats: Repeats = None,
    table: Annotated[
        Path | None, typer.Option("--from", help="Run the configurations of this CSV, Parquet, JSON or YAML.")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help="batched, sequential or auto.")] = "batched",
    halving: Annotated[
        int | None,
        typer.Option(
            "--halving", metavar="ETA", help="Successive halving: after each rung, one trial in ETA goes on."
        ),
    ] = None,
    pad_widths: Annotated[
        bool, typer.Option("--pad-widths", help="One compiled program for MLPs of different widths.")
    ] = False,
    metric: Metric = None,
    goal: Goal = None,
    config_dir: ConfigDir = None,
    max_failures: MaxFailures = MOST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and stop.")] = False,
    rerun: Rerun = False,
    log_level: LogLevel = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a workload with many configurations: a grid, or samples from a space.

    Example: sweepflow sweep workload=digits_mlp space=optimizer --samples 256
    """

    def run() -> Any:
        set_up_logging(log_level)
        from sweepflow.trials.modes import MODES
        from sweepflow.trials.prepare import SweepOptions, prepare_trials
        from sweepflow.workloads.goal import GOALS

        options = SweepOptions(
            _design(samples, method, design_seed, repeats, table),
            one_of(mode, MODES, "mode"),
            halving,
            pad_widths,
            metric,
            None if goal is None else one_of(goal, GOALS, "goal"),
            None if config_dir is None else str(config_dir),
            rerun,
        )

        def flow() -> Any:
            from sweepflow.flows.sweep import sweep

            return sweep(
                overrides=overrides or [],
                samples=samples,
                method=options.design.method,
                design_seed=design_seed,
                repeats=repeats,
                table=None if table is None else str(table),
                mode=options.mode,
                halving=halving,
                pad_widths=pad_widths,
                metric=metric,
                goal=options.goal,
                config_dir=options.config_dir,
                rerun=rerun,
                max_failures=max_failures,
            )

        plans_here = dry_run or not asks_for_jobs("sweep", overrides or [], config_dir)
        prepared = prepare_trials(overrides or [], options) if plans_here else None
        return prepared if dry_run else run_flow(prepared, flow)

    found = guarded(run, quiet=quiet, as_json=as_json)
    if dry_run:
        guarded(lambda: _print_plan(found, as_json))
    else:
        end_with(found, as_json)


def _print_plan(prepared: PreparedTrials, as_json: bool) -> None:
    if as_json:
        print_json(trials_plan_document(prepared))
    else:
        from sweepflow.flows.cli.print_trials import print_trials_plan

        print_trials_plan(prepared)


@app.command()
def samples(
    overrides: Overrides = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .csv, .parquet, .json or .yaml file.")
    ] = Path("samples.csv"),
    samples: Samples = None,
    method: Method = "sobol",
    design_seed: DesignSeed = 0,
    repeats: Repeats = None,
    config_dir: ConfigDir = None,
) -> None:
    """Write a design without running it; `sweepflow sweep --from FILE` runs it.

    Example: sweepflow samples workload=digits_mlp space=optimizer --samples 64 -o samples.csv
    """

    def run() -> Any:
        from sweepflow.trials.prepare import write_samples

        design = _design(samples, method, design_seed, repeats, None)
        return write_samples(overrides or [], design, config_dir, output)

    for line in guarded(run):
        typer.echo(line)


@app.command()
@lasting_output()
def train(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run one configuration alone, and print what it gives; a sweep would give the same for it.

    Example: sweepflow train workload=digits_mlp optimizer=sgd learning_rate=0.1
    """

    def run() -> Any:
        from sweepflow.trials.prepare import run_one

        return run_one(overrides or [], config_dir)

    record = guarded(run, quiet=quiet, as_json=as_json)
    from sweepflow.flows.cli.print import print_record

    print_record(record, as_json=as_json)
    if record.status not in ("ok", "flagged"):
        raise typer.Exit(1)


@app.command()
def compare(
    first: Annotated[
        str,
        typer.Argument(metavar="A", help="A sweep's name.", autocompletion=completion.sweep_names),
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", help="Another's.", autocompletion=completion.sweep_names)
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the HTML page here.")] = None,
    store: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Compare two sweeps: best trials, regret for the number of trials spent, time."""

    def run() -> Any:
        from sweepflow.report.trials.compare import compare as compared
        from sweepflow.report.trials.compare import write_comparison
        from sweepflow.trials.result import load_sweep

        opened = open_store(store)
        found = compared(*((name, load_sweep(opened, name).view) for name in (first, second)))
        if output is not None:
            write_comparison(output, found, shlex.join(["sweepflow", "compare", first, second]))
        return found

    found = guarded(run, as_json=as_json)
    if as_json:
        print_json(comparison_document(found, output))
    else:
        from sweepflow.flows.cli.print_trials import print_comparison

        print_comparison(found, output)


def _design(
    samples: int | None, method: str, design_seed: int, repeats: int | None, table: Path | None
) -> Any:
    from sweepflow.space import METHODS
    from sweepflow.trials.draw import DesignOptions

    return DesignOptions(samples, one_of(method, METHODS, "method"), design_seed, repeats, table)
