"""What every command shares: the application, its options, and how errors end a command."""

from __future__ import annotations

import os
import sys
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


def open_store(store: Path | None) -> Any:
    """The store that a command was given."""
    from sweepflow.store.store import Store

    return Store(store_dir(store))


def store_dir(store: Path | None) -> Path:
    """Its directory."""
    return store or Path(os.environ.get("SWEEPFLOW_STORE", "sweepflow-data"))


def quiet_prefect() -> None:
    """Keep Prefect's log from the terminal, which shows progress, results and errors of its own, and keep its
    server off the network. The log itself is whole: Prefect's pages show it, and PREFECT_LOGGING_LEVEL=INFO
    brings it back. The user's own settings win. Must run before Prefect is imported."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def guarded(run: Callable[[], Any]) -> Any:
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
