"""The command that checks whether a runner can work: doctor."""

from __future__ import annotations

import importlib.metadata
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sweepflow.flows.cli.app import ConfigDir, Json, Overrides, StoreDir, app, guarded, set_up_logging
from sweepflow.flows.cli.documents import print_json

COLUMN = 13


@app.command()
def doctor(
    overrides: Overrides = None,
    store: StoreDir = None,
    no_job: Annotated[
        bool, typer.Option("--no-job", help="Do not send a job to a compute node to look at it.")
    ] = False,
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """Check that sweeps can run with these settings, and say what to do if they cannot.

    Example: sweepflow doctor runner=slurm runner.partition=gpu runner.gpus=1
    """
    set_up_logging()

    def run() -> dict[str, Any]:
        from sweepflow.compose import compose_llc
        from sweepflow.flows.runners.checks import preflight
        from sweepflow.schema.runner import SlurmRunner
        from sweepflow.storage.store import Store

        given = list(overrides or [])
        config = compose_llc(given, config_dir)[0]
        runner, opened = config.runner, Store(Path(store or config.store))
        if isinstance(runner, SlurmRunner):
            _show_script(runner, opened)
        else:
            _show_machine(runner)
        here, there = preflight(runner, opened), []
        _show("here", here)
        if isinstance(runner, SlurmRunner) and not no_job and _well(here):
            from sweepflow.flows.runners.visit import visit

            typer.echo("\na job with the same header, which looks at a compute node")
            there = visit(runner, opened, say=lambda doing: typer.echo(f"  {doing}"))
            _show("there", there)
        return {"runner": runner.kind, "store": opened.root.absolute(), "here": here, "there": there}

    found = guarded(run, as_json=as_json)
    well = _well([*found["here"], *found["there"]])
    if as_json:
        print_json({"well": well, **found})
    said = "all is well" if well else "mend what has a ✗ above, and look again"
    typer.echo(f"\n{said}", err=as_json or not well)
    if not well:
        raise typer.Exit(2)


def _show_script(runner: Any, store: Any) -> None:
    from sweepflow.flows.runners.checks import logs_directory
    from sweepflow.flows.runners.job_script import NAME, job_script
    from sweepflow.flows.runners.probe import expectations

    script = job_script(
        runner,
        scheduler="tcp://THIS-HOST:PORT",
        job_name=f"{NAME}RUN",
        logs=logs_directory(runner, store),
        environment=expectations(store),
    )
    typer.echo("a job of workers\n" + textwrap.indent(script.rstrip(), "  "))


def _show_machine(runner: Any) -> None:
    """Print devices and threads of this machine, and the installed versions."""
    from sweepflow.engine.devices import compilation_cache_directory, configure, cores, gpus, worker_count

    configure()
    import jax

    devices = jax.local_devices()
    cache = getattr(jax.config, "jax_compilation_cache_dir", None) or compilation_cache_directory()
    rows = {
        "devices": f"{len(devices)} of {devices[0].platform}: {devices[0].device_kind}",
        "cores": str(cores()),
    }
    if runner.kind == "dask":
        each = "a GPU" if gpus() else "one core and one thread"
        rows["workers"] = f"{worker_count(runner)} processes, each with {each}"
    else:
        rows["threads"] = "one a device; BLAS as the environment says"
        rows["workers"] = f"runner.workers={runner.workers}: batches in hand at once"
    rows["compiled"] = f"programs are kept in {cache}"
    names = ("sweepflow", "jax", "jaxlib", "numpy", "prefect", "distributed")
    rows["versions"] = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    for name, words in rows.items():
        typer.echo(f"  {name:<{COLUMN}} {words}")


def _show(title: str, checks: Iterable[Any]) -> None:
    typer.echo(f"\n{title}")
    for check in checks:
        mark = "✓" if check.ok else "✗" if check.must else "!"
        first, *more = [check.words] if check.ok else check.text.splitlines()
        typer.echo(f"  {mark} {check.name:<{COLUMN}} {first}")
        for line in more:
            typer.echo(f"    {'':<{COLUMN}} {line}")


def _well(checks: Iterable[Any]) -> bool:
    return all(check.ok or not check.must for check in checks)
