"""The command `sweepflow`: one more thin face over the flows."""

from __future__ import annotations

import warnings
from typing import Any

import typer

from flows.cli import doctor, llc, runs, store, sweep
from flows.cli.app import app

__all__ = ["app", "doctor", "llc", "main", "runs", "store", "sweep"]


def main() -> None:
    """Entry point of the `sweepflow` command."""
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning as one line; where in sweepflow it arose helps nobody on a terminal."""
    typer.echo(f"warning: {message}", err=True)
