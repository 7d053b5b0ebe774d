"""Commands for estimates of learning coefficients: llc, plan, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    set_up_logging,
    store_dir,
)
from sweepflow.flows.cli.documents import llc_plan_document, print_json
from sweepflow.flows.cli.found import end_with, run_flow
from sweepflow.streak import MOST
from sweepflow.tasks.output import lasting_output

if TYPE_CHECKING:
    from sweepflow.estimates.prepare import PreparedLlc


@app.command()
@lasting_output()
def llc(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    max_failures: MaxFailures = MOST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and stop.")] = False,
    rerun: Rerun = False,
    log_level: LogLevel = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Estimate the local learning coefficient of N targets with M samplers.

    Example: sweepflow llc model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc
    """
    typed = overrides or []

    def run() -> Any:
        set_up_logging(log_level)
        from sweepflow.estimates.prepare import prepare

        def flow() -> Any:
            from sweepflow.flows.llc import llc

            return llc(typed, None if config_dir is None else str(config_dir), rerun, max_failures)

        plans_here = dry_run or not asks_for_jobs("llc", typed, config_dir)
        prepared = prepare(typed, config_dir, rerun) if plans_here else None
        return prepared if dry_run else run_flow(prepared, flow)

    found = guarded(run, quiet=quiet, as_json=as_json)
    if dry_run:
        guarded(lambda: _print_plan(found, as_json))
    else:
        end_with(found, as_json)


@app.command()
def plan(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    rerun: Rerun = False,
    as_json: Json = False,
) -> None:
    """Show groups, batches, store hits and misses, and the trials of a sweep, without running it."""
    llc(overrides, config_dir, dry_run=True, rerun=rerun, as_json=as_json)


@app.command()
@lasting_output()
def verify(
    quick: Annotated[bool, typer.Option("--quick", help="A subset that takes under a minute.")] = False,
    store: StoreDir = None,
    log_level: LogLevel = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare estimates with learning coefficients that are known in closed form."""

    def run() -> Any:
        set_up_logging(log_level)

        def flow() -> Any:
            from sweepflow.flows.verify import verify

            return verify(quick=quick, store=str(store_dir(store)))

        return run_flow(None, flow)

    end_with(guarded(run, quiet=quiet, as_json=as_json), as_json)


def _print_plan(prepared: PreparedLlc, as_json: bool) -> None:
    if as_json:
        print_json(llc_plan_document(prepared))
    else:
        from sweepflow.flows.cli.print import print_plan

        print_plan(prepared)
