"""Sweep of N targets x M samplers: build missing targets, sample missing estimates, write a report."""

from __future__ import annotations

from functools import partial

from prefect.client.schemas.objects import State
from pydantic import NonNegativeInt

from sweepflow.compose.place import place
from sweepflow.estimates.prepare import PreparedLlc, prepare
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.work import Work
from sweepflow.flows.orchestrate import Found, named_by_overrides, orchestrate, sweep_flow
from sweepflow.llc_sweep import LlcSweep
from sweepflow.report.headline import has_result
from sweepflow.streak import MOST
from sweepflow.tasks.report import publish


@sweep_flow("llc", named_by_overrides("llc"))
def llc(
    overrides: list[str] | None = None,
    config_dir: str | None = None,
    rerun: bool = False,
    max_failures: NonNegativeInt = MOST,
) -> LlcSweep | State[LlcSweep]:
    """Estimate the local learning coefficient of N targets with M samplers.

    >>> from sweepflow import llc
    >>> overrides = ["data=diabetes", "model=small", "target.steps=200", "sampler=sgld,hmc"]
    >>> found = llc([*overrides, "sampler.ess=20"])
    >>> [record.config["sampler"]["kind"] for record in found.estimates]
    ['sgld', 'hmc']
    >>> found.rows()[0]["llc_mcse"] > 0
    True

    Args:
        overrides: Hydra overrides, as after `sweepflow llc` in a shell.
        config_dir: A directory of configuration groups of your own.
        rerun: Whether to run again the trials that the store knows. Each record stays until the new record
            replaces it.
        max_failures: Number of calls in a row that may fail alike before the sweep is ended; 0 for any
            number. Trials that share a call of a compiled program count as one.

    Returns:
        The sweep's records, and the location of its tables and report.

    Raises:
        ConfigError: before any work, if anything cannot be run.
        TooManyFailuresError: if too many calls fail alike; running work is stopped, as by Ctrl-C.
        IncompleteError: at the end, if a batch failed; all other results are in the store.
    """
    overrides = overrides or []
    return orchestrate(
        partial(place, "llc", overrides, config_dir),
        partial(prepare, overrides, config_dir, rerun),
        run_stages,
        _find,
        max_failures=max_failures,
    )


def run_stages(work: Work[PreparedLlc]) -> None:
    """Build the targets, and sample a group as soon as its own targets are built."""
    work.run(work.prepared.plan.units)


def _find(prepared: PreparedLlc, outcome: Outcome) -> Found:
    sweep = prepared.collect()
    well = has_result(sweep.estimates or [*sweep.targets.values()])
    return Found(sweep, sweep.headline, well, sweep.directory, sweep.missing, partial(publish, sweep))
