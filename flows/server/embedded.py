"""An embedded Prefect server, which runs as long as the command that starts it.

Prefect itself starts a server if no API is configured. That server shares the terminal's process group, so
Ctrl-C stops it before the flow run can be closed, and it outlives a command that is killed. The embedded
server has its own process group. It ends when its standard input ends, and so with the command, however the
command ends.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sweepflow.flows.server.faults import ServerError, find_fault
from sweepflow.tasks.output import keep_output, some_output

__all__ = ["ServerError", "is_embedded", "keep_prefect_server", "prefect_server"]

START_SECONDS = 120.0
"""Maximum wait for a server. The first one creates its database, which takes half a minute on a slow disk."""
STOP_SECONDS = 10.0
FLUSH_SECONDS = 5.0
"""Maximum wait for task-run states that are still on their way to the server."""


QUICK = {
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""Settings that skip the search for types of blocks when the server starts. The search takes a sixth of the
start time, because it imports all of Dask. Code that saves a block registers its type, and a server that is
started separately registers all types."""

MEANWHILE = "sweepflow-meanwhile"
"""Name of the thread that works while a server starts."""

_OWN: set[str] = set()
"""Addresses of servers that this process runs."""


@contextmanager
def prefect_server(meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Run a server until the block ends, and point Prefect to it, if no Prefect API is configured.

    Args:
        meanwhile: Function to call in its own thread while the server starts. It continues after the start if
            it takes longer.

    Raises:
        ServerError: if the server does not start, or the configured server cannot be used.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    if url := get_current_settings().api.url:
        _check(url)
        try:
            yield
        finally:
            _flush()
        return
    home = get_current_settings().home
    # What the server asks for its client gives, whatever other servers are given.
    secret = get_current_settings().server.api.auth_string
    own = {} if secret is None else {"PREFECT_API_AUTH_STRING": secret.get_secret_value()}
    environment = {
        **QUICK,
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        # As Prefect's own: no pages, and one application in the process.
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        # Its own messages are few, and all that tells why it did not come up.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    }
    with ExitStack() as stack:
        with _alone(home):
            server = _start(environment)
            if meanwhile is not None:
                threading.Thread(target=meanwhile, name=MEANWHILE, daemon=True).start()
            stack.callback(_stop, server)
            url = _url(server)
        own["PREFECT_API_URL"] = url
        before = {name: os.environ[name] for name in own if name in os.environ}
        os.environ.update(own)
        _OWN.add(url)
        refresh_global_settings_context()
        try:
            yield
        finally:
            _flush()
            _OWN.discard(url)
            for name in own:
                del os.environ[name]
            os.environ.update(before)
            refresh_global_settings_context()


def keep_prefect_server() -> None:
    """Run a server until this process ends, and point Prefect to it, if no Prefect API is configured.

    This is for a script or a notebook, which runs one flow after another.

    Raises:
        ServerError: as `prefect_server`.
    """
    from prefect.settings import get_current_settings

    if url := get_current_settings().api.url:
        if not is_embedded(url):
            _check(url)
    else:
        kept = ExitStack()
        kept.enter_context(prefect_server())
        atexit.register(kept.close)


def is_embedded(url: str | None) -> bool:
    """Return whether the server of an API belongs to this process, and ends with it.

    A server that Prefect itself starts has no URL; it counts as one of this process.
    """
    return url is None or url in _OWN


def _start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],  # -P: what lies in the working directory shadows nothing
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold a lock, so that only one server of this user starts at a time.

    Two servers that create the same database at the same time disturb each other. The operating system
    releases the lock of a process that ends, however the process ends.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "sweepflow-server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _url(server: subprocess.Popen[bytes]) -> str:
    """Wait until the server answers, and return its address."""
    assert server.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    # The port comes as one line; the pipe is closed, and so readable, where the process ends instead.
    spoke, _, _ = select.select([server.stdout], [], [], START_SECONDS)
    line = server.stdout.readline() if spoke else b""
    url = f"http://127.0.0.1:{line.decode().strip()}/api"
    while server.poll() is None and time.monotonic() < deadline:
        if silence(url) is None:
            return url
        time.sleep(0.1)
    raise ServerError(
        "Prefect's embedded server did not come up",
        got=f"exit code {server.poll()}" if server.poll() is not None else f"silence at {url}",
        do="read its messages above; or start one with: prefect server start, and set PREFECT_API_URL",
    )


def _check(url: str) -> None:
    """Check the configured server before Prefect does, because Prefect's own error fills three screens."""
    if (fault := find_fault(url)) is not None:
        raise fault.error


def silence(url: str) -> str | None:
    """Return the reason why the API does not answer; None if it answers, even with a refusal."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10):
            return None
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return None
    except (OSError, ValueError) as error:  # ValueError: no URL at all
        return str(getattr(error, "reason", error))


def _flush() -> None:
    """Send the data that this process still holds for the server: task-run states are sent as events."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=FLUSH_SECONDS)


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.close()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    server.stdout.close()


def serve() -> None:
    """Serve Prefect's API on a free port of the loopback interface until standard input ends.

    Prints the port.
    """
    some_output()
    for stream in (sys.stdout, sys.stderr):  # the command's, which may be gone before the command is
        keep_output(stream)
    import uvicorn
    from prefect.server.api.server import create_app

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(
        uvicorn.Config(create_app(), log_level="error", lifespan="on", timeout_graceful_shutdown=3)
    )

    def stop_with_the_command() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.should_exit = True
        time.sleep(STOP_SECONDS)
        os._exit(1)  # it hangs, and nobody is left to end it

    threading.Thread(target=stop_with_the_command, daemon=True).start()
    server.run(sockets=[listener])


if __name__ == "__main__":
    serve()
