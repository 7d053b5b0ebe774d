"""The way of a command from a plan to a flow, and from its results to an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sweepflow.estimates.prepare import PreparedLlc
    from sweepflow.trials.prepare import PreparedTrials


def run_flow(prepared: PreparedLlc | PreparedTrials | None, flow: Callable[[], Any]) -> Any:
    """Run a flow with a server, or only collect the results if there is nothing to run.

    Args:
        prepared: The sweep, planned from the arguments of the flow; None lets the flow plan.
        flow: Function that imports the flow, and calls it.

    Returns:
        The results of the sweep.
    """
    meanwhile = None
    if prepared is not None:
        if prepared.is_done:  # nothing to orchestrate: no server is started to say so
            return prepared.collect()
        if prepared.plan.runner.kind == "local":
            meanwhile = prepared.compile_first
    from sweepflow.flows.server.embedded import prefect_server

    with prefect_server(meanwhile):
        from sweepflow.flows.orchestrate import planned_ahead

        with planned_ahead(prepared):
            return flow()


def end_with(found: Any, as_json: bool) -> None:
    """Print the results of a flow, and end the command with exit code 1 if they are not sound.

    Args:
        found: What the flow has returned, whichever flow it was.
        as_json: Whether to print them for other programs.
    """
    sound = _print_document(found) if as_json else _print(found)
    if not sound:
        raise typer.Exit(1)


def _print_document(found: Any) -> bool:
    from sweepflow.flows.cli.documents import found_document, print_json

    document = found_document(found)
    print_json(document)
    return bool(document["sound"])


def _print(found: Any) -> bool:
    from sweepflow.llc_sweep import LlcSweep
    from sweepflow.trials.result import TrialsSweep

    if isinstance(found, LlcSweep):
        from sweepflow.flows.cli.print import print_sweep

        print_sweep(found)
        return found.sound
    if isinstance(found, TrialsSweep):
        from sweepflow.flows.cli.print_trials import print_trials

        print_trials(found)
        return found.sound
    from sweepflow.flows.cli.print import print_comparisons

    print_comparisons(found)
    return all(comparison.within for comparison in found)
