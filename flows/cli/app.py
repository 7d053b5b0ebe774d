"""Parts that every command shares: the application, its options, and the way that errors end a command."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweepflow.errors import ConfigError, SweepflowError, did_you_mean, in_words
from sweepflow.flows.cli import completion
from sweepflow.tasks.output import progress_shown

app = typer.Typer(
    name="sweepflow",
    help="Parameter sweeps of JAX programs as Prefect flows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

USUAL_STORE = Path(os.environ.get("SWEEPFLOW_STORE", "sweepflow-data")).absolute()
"""The store that commands use if none is given, as it was when this command started."""

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Hydra overrides: group=option,option  key=value,value  key=range(1,6)  +experiment=NAME",
        autocompletion=completion.overrides,
    ),
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", help="A directory of configuration groups of your own.")
]
Rerun = Annotated[
    bool,
    typer.Option("--rerun", help="Run again what the store knows, replacing its records as new ones come."),
]
StoreDir = Annotated[
    Path | None, typer.Option("--store", help="The store; SWEEPFLOW_STORE or ./sweepflow-data.")
]

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help=f"Show the log of Prefect and of libraries, from this level on: {', '.join(LOG_LEVELS)}.",
        autocompletion=lambda: list(LOG_LEVELS),
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress on standard error, only warnings and errors.")
]
Everything = Annotated[bool, typer.Option("--all", help="List all, not only the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]

MaxFailures = Annotated[
    int,
    typer.Option(
        "--max-failures",
        min=0,
        help="Calls in a row that may fail alike before the sweep is ended; 0: any number. A call runs one "
        "trial, or all that share a call of a compiled program.",
    ),
]


def open_store(store: Path | None) -> Any:
    """Open the store that a command was given."""
    from sweepflow.storage.store import Store

    return Store(store_dir(store))


def store_dir(store: Path | None) -> Path:
    """Return the directory of the store that a command was given."""
    return store or Path(os.environ.get("SWEEPFLOW_STORE", "sweepflow-data"))


def set_up_logging(level: str | None = None) -> None:
    """Decide what the terminal shows of logs, and keep Prefect from telling anybody that it runs.

    Without a level, the terminal shows sweepflow's own progress, results and errors, and the user's own
    settings win: PREFECT_LOGGING_LEVEL=INFO brings Prefect's log back. A level wins over them. The log on
    Prefect's pages is whole in any case. This function must run before Prefect is imported.

    Raises:
        ConfigError: if there is no such level.
    """
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if level is None:
        if "PREFECT_LOGGING_LEVEL" not in os.environ:
            os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        return
    level = one_of(level.lower(), LOG_LEVELS, "log-level").upper()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = level
    os.environ["PREFECT_LOGGING_ROOT_LEVEL"] = level
    if level in ("DEBUG", "INFO"):
        os.environ["PREFECT_LOGGING_LEVEL"] = level
    else:  # the pages have INFO, as usual
        os.environ.pop("PREFECT_LOGGING_LEVEL", None)
    if level == "INFO":  # it has a line for every request, between the lines that are meant
        logging.getLogger("httpx").setLevel(logging.WARNING)


def one_of(word: str, allowed: Sequence[Any], option: str) -> Any:
    """Return the value of an option, if it is one of the allowed words.

    Raises:
        ConfigError: if it is not.
    """
    if word not in allowed:
        raise ConfigError(
            f"there is no such {option.replace('-', ' ')}",
            got=f"--{option} {word}",
            allowed=", ".join(allowed),
            do=did_you_mean(word, allowed),
        )
    return word


def asks_for_jobs(command: str, overrides: Sequence[str], config_dir: Path | None) -> bool:
    """Return whether a command line has a runner whose workers take long to start. Its flow then plans while
    they start.

    Raises:
        ConfigError: if the workers could never report, because no server outlives this command.
    """
    from sweepflow.compose.place import place
    from sweepflow.schema.runner import SlurmRunner

    runner, _ = place(command, overrides, config_dir)
    if not isinstance(runner, SlurmRunner):
        return False
    from sweepflow.flows.runners.check import refuse
    from sweepflow.flows.runners.checks import address
    from sweepflow.flows.runners.probe import api_url

    if (url := api_url()) is None:
        refuse([address(url, here=False)])
    return True


class Terminated(BaseException):
    """This process was asked to end, by TERM."""


def guarded(run: Callable[[], Any], *, quiet: bool = False, as_json: bool = False) -> Any:
    """Run a function, and turn the errors that sweepflow raises on purpose into a message and an exit code.

    Ctrl-C and TERM end the command alike, with exit codes 130 and 143. A second Ctrl-C ends it at once.

    Args:
        run: The function.
        quiet: Whether to show no progress.
        as_json: Whether the result is printed as JSON: whatever else is printed goes to standard error.
    """
    try:
        with (
            _terminable(),
            progress_shown(not quiet),
            redirect_stdout(sys.stderr) if as_json else nullcontext(),
        ):
            return run()
    except SweepflowError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _interrupted(130)
    except Exception as error:
        if not _of_prefect(error):
            raise
        from sweepflow.flows.server.faults import ServerError

        said = ServerError(
            "Prefect's server failed on the way",
            got=in_words(error),
            do="see that it runs, and its database; what is done is kept: start the same command again",
        )
        typer.echo(f"error: {said}", err=True)
        raise typer.Exit(1) from None
    except Terminated:
        _interrupted(143)


def _of_prefect(error: Exception) -> bool:
    """Return whether an error means that Prefect's server did not answer, or not as it should.

    In this case, Prefect's client is imported already.
    """
    httpx, exceptions = sys.modules.get("httpx"), sys.modules.get("prefect.exceptions")
    return (httpx is not None and isinstance(error, httpx.HTTPError)) or (
        exceptions is not None and isinstance(error, exceptions.PrefectHTTPStatusError)
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """Let TERM raise Terminated, so that open resources are closed, and let a second Ctrl-C wait for nothing.

    While a flow runs, Prefect takes TERM over, closes the flow run, and hands TERM back.
    """
    interrupted = False

    def raise_terminated(*_: Any) -> NoReturn:
        raise Terminated

    def interrupt(*_: Any) -> NoReturn:
        nonlocal interrupted
        if interrupted:
            with suppress(OSError):
                os.write(
                    2, b"\nended at once; what is done is kept; what is left behind: sweepflow cleanup\n"
                )
            os._exit(130)
        interrupted = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, raise_terminated)}
    # A closed terminal ends what it runs, but not under nohup.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        hung_up = signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        before[signal.SIGHUP] = hung_up
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted(code: int) -> NoReturn:
    with suppress(BaseException):  # a second Ctrl-C does not keep the first from ending this
        lines = ["", "stopped; what is done is kept: start the same command again to go on"]
        lines += [f"or, as the same flow run: {command}" for command in _resume_commands()]
        typer.echo("\n".join(lines), err=True)
        sys.stdout.flush()
        sys.stderr.flush()
    # A batch may still be on the devices: the interpreter would wait for its thread.
    os._exit(code)


def _resume_commands() -> list[str]:
    """Return commands that resume the run of this process, if there is a run that has not completed."""
    heartbeat = sys.modules.get("sweepflow.flows.runs.heartbeat")
    beat = None if heartbeat is None else heartbeat.latest()
    if beat is None or beat.record.state == "completed":
        return []
    from sweepflow.flows.runs.table import resume_command

    return [resume_command(beat.record, beat.store, USUAL_STORE)]
