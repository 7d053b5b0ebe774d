"""The end of a command that runs a flow: its results, and its exit code."""

from __future__ import annotations

from typing import Any

import typer


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
