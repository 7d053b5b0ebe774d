"""Commands about runs: resume, runs, cancel, cleanup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweepflow.flows.cli import completion
from sweepflow.flows.cli.app import (
    Everything,
    Json,
    LogLevel,
    Quiet,
    StoreDir,
    app,
    guarded,
    open_store,
    set_up_logging,
)
from sweepflow.flows.cli.documents import leftover_document, print_json, run_document
from sweepflow.flows.cli.found import end_with
from sweepflow.tasks.output import lasting_output

if TYPE_CHECKING:
    from sweepflow.flows.runs.leftovers import Leftover
    from sweepflow.storage.store import Store

MAX_LISTED = 50
"""Maximum number of runs that are listed, unless all are asked for."""

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="An id or the beginning of one, or a name of the run or the sweep.",
        autocompletion=completion.unfinished_runs,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Remove what was found.")]


@app.command()
@lasting_output()
def resume(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run of `sweepflow runs`; by default the latest that has not finished.",
            autocompletion=completion.unfinished_runs,
        ),
    ] = None,
    store: StoreDir = None,
    here: Annotated[
        bool, typer.Option("--here", help="Run a deployment's run in this process, not by its worker.")
    ] = False,
    log_level: LogLevel = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that has not finished, as the same flow run.

    What is in the store is not run again. Example: sweepflow resume
    """

    def go_on() -> Any:
        set_up_logging(log_level)
        from sweepflow.flows.runs.record import find_run, runs, short_id

        opened = open_store(store)
        if run is not None:
            record = find_run(opened, run)
            if record.state == "completed":
                typer.echo(f"{short_id(opened, record)} has completed; to look again: {record.command}")
                return None
        else:
            from sweepflow.flows.runs.resume import latest_unfinished

            known = runs(opened)
            unfinished = latest_unfinished(known)
            if unfinished is None:
                typer.echo(f"nothing is unfinished in {opened.root}{_at_work(known)}")
                return None
            record = unfinished
        from sweepflow.flows.runs.resume import resume as go_on_with

        return go_on_with(
            opened, record, lambda line: None if quiet else typer.echo(line, err=True), here=here
        )

    found = guarded(go_on, quiet=quiet, as_json=as_json)
    if found is not None:
        end_with(found, as_json)
    elif as_json:
        print_json(None)


@app.command()
def runs(
    store: StoreDir = None,
    everything: Everything = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Show what changes, until no run is running; end by Ctrl-C."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the runs on a store: state, trials done, hits, lost workers, age; the newest last."""

    def show() -> None:
        from sweepflow.flows.runs.record import runs as known_runs
        from sweepflow.flows.runs.table import runs_table

        opened = open_store(store)
        known = known_runs(opened)
        if as_json and not follow:
            print_json(list(map(run_document, known)))
            return
        if not known:
            said = f"there are no runs in {opened.root}; for another store add --store DIR"
            typer.echo(said, err=as_json)
            return
        if follow:
            from sweepflow.flows.cli.follow import follow as follow_runs

            follow_runs(opened, as_json, sys.maxsize if everything else MAX_LISTED)
            return
        shown = known if everything else known[-MAX_LISTED:]
        typer.echo("\n".join(runs_table(shown, among=known)))
        if len(shown) < len(known):
            typer.echo(f"the newest {len(shown)} of {len(known)} runs; --all lists them all")

    guarded(show)


@app.command()
def cancel(
    run: Run,
    store: StoreDir = None,
    kill: Annotated[bool, typer.Option("--kill", help="Kill a process that does not end in time.")] = False,
) -> None:
    """End a run: its process and its SLURM jobs. What is done is kept."""
    set_up_logging()

    def end() -> None:
        from sweepflow.flows.runs.cancel import cancel as end_run
        from sweepflow.flows.runs.record import find_run

        opened = open_store(store)
        end_run(opened, find_run(opened, run), typer.echo, kill=kill)

    guarded(end)


@app.command()
def cleanup(
    store: StoreDir = None,
    yes: Yes = False,
    everything: Annotated[
        bool, typer.Option("--all", help="SLURM jobs, too, that no run of this store names.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what sweeps have left behind, and remove it with --yes.

    Orphaned jobs, dead temporary servers, half-written records, stale checkpoints, dead runs that say that
    they run, and old run files.
    """
    set_up_logging()

    def clean() -> list[str]:
        from sweepflow.flows.runs.leftovers import leftovers, remove

        opened = open_store(store)
        found = leftovers(opened, lambda line: typer.echo(f"note: {line}", err=True), everything)
        mine = [item for item in found if everything or not item.foreign]
        if not as_json:
            _show_leftovers(opened, found)
        failures = remove(mine) if yes else []
        removed = len(mine) - len(failures) if yes else 0
        if as_json:
            listed = list(map(leftover_document, found))
            print_json({"leftovers": listed, "removed": removed, "failures": failures})
        elif found:
            would = f"{len(mine)} would be removed; --yes removes them"
            typer.echo(f"removed {removed}" if yes else would)
        return failures

    failures = guarded(clean)
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


def _show_leftovers(store: Store, found: Sequence[Leftover]) -> None:
    from sweepflow.flows.runs.table import leftovers_table

    if found:
        typer.echo("\n".join(leftovers_table(found)))
    else:
        typer.echo(f"nothing is left behind in {store.root}, nor on this machine")


def _at_work(known: Sequence[Any]) -> str:
    """Return the text to add if nothing can be resumed, but something runs."""
    from sweepflow.flows.runs.liveness import Life, is_alive
    from sweepflow.flows.runs.record import short_ids

    short = short_ids(record.flow_run_id for record in known)
    alive = [short[record.flow_run_id] for record in known if is_alive(record).life is not Life.DEAD]
    return f"; still at work: {', '.join(alive)}" if alive else ""
