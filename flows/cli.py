"""The command `sweepflow`: one more thin face over the flows."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweepflow.errors import SweepflowError

app = typer.Typer(
    name="sweepflow",
    help="Parameter sweeps of JAX programs as Prefect flows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Hydra overrides: group=option,option  key=value,value  key=range(1,6)  +experiment=NAME"
    ),
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", help="A directory of configuration groups of your own.")
]
StoreDir = Annotated[
    Path | None, typer.Option("--store", help="The store; SWEEPFLOW_STORE or ./sweepflow-data.")
]


@app.command()
def llc(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and stop.")] = False,
) -> None:
    """Estimate the local learning coefficient of N targets with M samplers.

    Example: sweepflow llc model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc
    """
    from flows.show import print_plan, print_sweep

    typed = overrides or []
    _quiet_prefect()

    def run() -> Any:
        from flows.prepare import collect, command_line, prepare

        plan, store = prepare(typed, config_dir)
        if dry_run:
            print_plan(plan)
            raise typer.Exit
        if not plan.batches:
            # Nothing to orchestrate: no server is started to say so.
            return collect(plan, store, command_line(typed, config_dir))
        from flows.embedded_server import prefect_server

        with prefect_server():
            from flows.llc_sweep import llc as flow

            return flow(overrides=typed, config_dir=None if config_dir is None else str(config_dir))

    sweep = _guarded(run)
    print_sweep(sweep)
    if not sweep.sound:
        raise typer.Exit(1)


@app.command()
def plan(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Show groups, batches, store hits and misses, and the trials of a sweep, without running it."""
    llc(overrides, config_dir, dry_run=True)


@app.command()
def verify(
    quick: Annotated[bool, typer.Option("--quick", help="A subset that takes under a minute.")] = False,
    store: StoreDir = None,
) -> None:
    """Compare estimates with learning coefficients that are known in closed form."""
    from flows.show import print_comparisons

    _quiet_prefect()

    def run() -> Any:
        from flows.embedded_server import prefect_server

        with prefect_server():
            from flows.verify import verify as flow

            return flow(quick=quick, store=str(_store_dir(store)))

    comparisons = _guarded(run)
    print_comparisons(comparisons)
    if not all(comparison.within for comparison in comparisons):
        raise typer.Exit(1)


@app.command()
def targets(store: StoreDir = None) -> None:
    """List the targets that the store knows."""
    from flows.show import print_targets

    _guarded(lambda: print_targets(_open(store)))


@app.command()
def estimates(store: StoreDir = None) -> None:
    """List the estimates that the store knows."""
    from flows.show import print_estimates

    _guarded(lambda: print_estimates(_open(store)))


@app.command()
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="An id, or the beginning of one.")],
    store: StoreDir = None,
) -> None:
    """Print one record whole."""
    from flows.show import print_record

    _guarded(lambda: print_record(_open(store).find(record_id)))


@app.command()
def rm(
    record_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or beginnings of them.")],
    store: StoreDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget records; the next sweep that wants them computes them again."""
    opened = _open(store)
    found = _guarded(lambda: [opened.find(name) for name in record_ids])
    for record in found:
        typer.echo(f"{record.id}  {record.workload}  {record.status}")
    if not yes and not typer.confirm(f"Remove {len(found)} from {opened.root}?"):
        raise typer.Exit(1)
    _guarded(lambda: [opened.remove(record.id) for record in found])
    typer.echo(f"removed {len(found)}")


def main() -> None:
    """Entry point of the `sweepflow` command."""
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning as one line; where in sweepflow it arose helps nobody on a terminal."""
    typer.echo(f"warning: {message}", err=True)


def _open(store: Path | None) -> Any:
    from sweepflow.store.store import Store

    return Store(_store_dir(store))


def _store_dir(store: Path | None) -> Path:
    return store or Path(os.environ.get("SWEEPFLOW_STORE", "sweepflow-data"))


def _quiet_prefect() -> None:
    """Keep Prefect's log from the terminal, which shows progress, results and errors of its own, and keep its
    server off the network. The log itself is whole: Prefect's pages show it, and PREFECT_LOGGING_LEVEL=INFO
    brings it back. The user's own settings win. Must run before Prefect is imported."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def _guarded(run: Callable[[], Any]) -> Any:
    """Run, and turn what sweepflow raises on purpose into a message and an exit code."""
    try:
        return run()
    except SweepflowError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _interrupted()


def _interrupted() -> NoReturn:
    typer.echo("\nstopped; what is done is kept: start the same command again to go on", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # A batch that is on the devices cannot be stopped, and the interpreter would wait for its thread.
    os._exit(130)
