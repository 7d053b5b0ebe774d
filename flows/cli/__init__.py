"""The command `sweepflow`: one more thin interface to the flows."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from typing import Any

import typer

from sweepflow.flows.cli import doctor, llc, runs, store, sweep
from sweepflow.flows.cli.app import app
from sweepflow.stop import is_working
from sweepflow.tasks.output import some_output

__all__ = ["app", "doctor", "llc", "main", "runs", "store", "sweep"]


def main() -> None:
    """Entry point of the `sweepflow` command."""
    warnings.showwarning = _show_warning
    # Where standard streams are closed, files would take their numbers, and have what libraries say in them.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    some_output()
    try:
        app()
    except BaseException as error:
        _leave(error)
        raise


def _leave(error: BaseException) -> None:
    """Exit at once if something still runs.

    Otherwise the interpreter would abort when it ends a thread that compiles. It would also wait for a batch
    that could not be stopped, and for all the work that the batch has yet to do.
    """
    server = sys.modules.get("sweepflow.flows.server.embedded")
    compiles = server is not None and any(one.name == server.MEANWHILE for one in threading.enumerate())
    if not compiles and not is_working():
        return
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif isinstance(code, str):
        typer.echo(code, err=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print a warning as one line. The place of its origin in sweepflow helps nobody on a terminal."""
    typer.echo(f"warning: {message}", err=True)
