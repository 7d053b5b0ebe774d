"""Commands that look into the store: targets, estimates, trials, jobs, show, rm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweepflow.flows.cli import completion
from sweepflow.flows.cli.app import Everything, Json, StoreDir, app, guarded, open_store
from sweepflow.flows.cli.documents import print_json, records_document


@app.command()
def targets(store: StoreDir = None, as_json: Json = False) -> None:
    """List the targets that the store knows."""
    if as_json:
        _print_records(store, "tgt")
    else:
        from sweepflow.flows.cli.print import print_targets

        guarded(lambda: print_targets(open_store(store)))


@app.command()
def estimates(store: StoreDir = None, as_json: Json = False) -> None:
    """List the estimates that the store knows."""
    if as_json:
        _print_records(store, "est")
    else:
        from sweepflow.flows.cli.print import print_estimates

        guarded(lambda: print_estimates(open_store(store)))


@app.command()
def trials(store: StoreDir = None, everything: Everything = False, as_json: Json = False) -> None:
    """List the trials of hyperparameter sweeps that the store knows, the newest last."""
    if as_json:
        _print_records(store, "trl")
    else:
        from sweepflow.flows.cli.print import print_trial_records

        guarded(lambda: print_trial_records(open_store(store), everything))


@app.command()
def jobs(store: StoreDir = None, everything: Everything = False, as_json: Json = False) -> None:
    """List the jobs of Python functions that the store knows, the newest last."""
    if as_json:
        _print_records(store, "job")
    else:
        from sweepflow.flows.cli.print import print_trial_records

        guarded(lambda: print_trial_records(open_store(store), everything, "job"))


def _print_records(store: Path | None, prefix: str) -> None:
    guarded(lambda: print_json(records_document(open_store(store), prefix)))


@app.command()
def show(
    record_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="An id, or the beginning of one.", autocompletion=completion.record_ids
        ),
    ],
    store: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Print all of one record."""
    from sweepflow.flows.cli.print import beside_others, print_record

    def printed() -> None:
        from sweepflow.workloads.command import command_of

        opened = open_store(store)
        record = opened.find(record_id)
        print_record(beside_others(record, opened), command_of(record, opened), as_json)

    guarded(printed)


@app.command()
def rm(
    record_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...", help="Ids, or beginnings of them.", autocompletion=completion.record_ids
        ),
    ],
    store: StoreDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget records, and what programs wrote in their folders; the next sweep computes them again."""
    opened = open_store(store)
    found = guarded(lambda: [opened.find(name) for name in record_ids])
    for record in found:
        typer.echo(f"{record.id}  {record.workload}  {record.status}")
    if not yes and not typer.confirm(f"Remove {len(found)} from {opened.root}?"):
        raise typer.Exit(1)
    guarded(lambda: [opened.remove(record.id) for record in found])
    typer.echo(f"removed {len(found)}")
