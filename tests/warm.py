"""Commands of `sweepflow` in forks of one process that has imported JAX and other libraries already.

Importing them takes seconds of every command, and the tests type hundreds of commands. Each command is still
a process of its own, with its own environment, directory, streams and session. Only libraries are imported
before the fork: no module of sweepflow's or of Prefect's, which read settings when they are imported.

This file is also the program of that process, and of the `sweepflow` that shells find.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

LIBRARIES = (
    "jax", "jax.numpy", "jax.experimental", "numpy", "equinox", "optax", "jaxtyping", "hydra", "omegaconf",
    "hydra.core.override_parser.overrides_parser", "hydra._internal.config_loader_impl", "antlr4",
    "pydantic", "pydantic_settings", "rich.console", "rich.progress", "rich.table", "rich.json", "typer",
    "yaml", "jinja2", "griffe", "pendulum", "httpx", "httpcore", "h2.connection", "hpack", "anyio",
    "websockets", "fsspec", "pathspec", "coolname", "prometheus_client", "opentelemetry", "dateutil.parser",
    "psutil", "pyarrow", "pyarrow.parquet", "plotly.graph_objects", "safetensors.numpy", "cloudpickle",
    "orjson", "exceptiongroup", "amplitude", "jsonschema", "humanize", "slugify", "cachetools", "toml",
)  # fmt: skip
READ_AT_IMPORT = ("JAX_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_", "LD_")
"""Beginnings of variables that libraries read when they are imported. A command with others than this process
has cannot be a fork of it. XLA reads its flags later, when it is first used."""
STREAMS = 3


def read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that libraries read when they are imported."""
    return {name: text for name, text in environment.items() if name.startswith(READ_AT_IMPORT)}


class Command:
    """A command that runs, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self.returncode = connection, None
        self.pid = int(self._line())

    def _line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            part = self._connection.recv(1)
            if not part:
                raise RuntimeError("the process that commands are forks of has ended")
            text += part
        return text.decode()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known that the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the command to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("sweepflow", timeout or 0.0)
            self.returncode: int | None = int(self._line())
            self._connection.close()
        assert self.returncode is not None
        return self.returncode


class Warm:
    """The process that commands are forks of. It ends with this process."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="sweepflow-warm-")
        self.address = f"{self._directory.name}/socket"
        self.environment = read_at_import(os.environ)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen(64)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Return whether a command with this environment can be a fork."""
        return read_at_import(environment) == self.environment

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
    ) -> Command:
        """Start `sweepflow` with these arguments, standard input, output and error."""
        return ask(self.address, arguments, str(directory), environment, streams)

    def shell_command(self) -> Path:
        """Return a directory with a program `sweepflow` for the PATH of a shell."""
        program = Path(self._directory.name, "sweepflow")
        if not program.exists():
            client = shlex.join([sys.executable, "-I", "-S", __file__, self.address])
            program.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
            program.chmod(0o755)
        return program.parent


@cache
def warm() -> Warm:
    """Return the process that commands of this test process are forks of."""
    return Warm()


def ask(
    address: str,
    arguments: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    streams: Sequence[int],
) -> Command:
    """Ask the process at an address for a fork."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = json.dumps([list(arguments), directory, dict(environment)]).encode()
    socket.send_fds(connection, [len(request).to_bytes(8)], list(streams))
    connection.sendall(request)
    return Command(connection)


def serve(listener: socket.socket) -> Sequence[str] | None:
    """Fork until standard input ends.

    Returns:
        In a fork, the arguments of its command; None at the end.
    """
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:
                return None
            if key.fileobj is listener:
                connection, _ = listener.accept()
                size, streams, _, _ = socket.recv_fds(connection, 8, STREAMS)
                content = b""
                while len(content) < int.from_bytes(size):
                    content += connection.recv(1 << 16)
                arguments, directory, environment = json.loads(content)
                pid = os.fork()
                if pid == 0:
                    waiting.close()
                    listener.close()
                    _become(directory, environment, streams)
                    connection.sendall(f"{os.getpid()}\n".encode())
                    connection.close()
                    return arguments
                for stream in streams:
                    os.close(stream)
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
            else:
                pid, connection = key.data
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(OSError):  # nobody may wait for it any more
                    connection.sendall(f"{code}\n".encode())
                connection.close()


def _become(directory: str, environment: Mapping[str, str], streams: Sequence[int]) -> None:
    """Make this process one that a shell would have started."""
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = "r" if number == 0 else "w"
        buffering = 1 if number == 2 else -1
        setattr(sys, name, open(number, mode, buffering=buffering, closefd=False))  # noqa: SIM115
        setattr(sys, f"__{name}__", getattr(sys, name))


def main(number: int) -> None:
    """Import the libraries, and fork whenever a command is asked for."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    assert threading.active_count() == 1
    assert not {"sweepflow", "prefect"} & sys.modules.keys()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = serve(socket.socket(fileno=number))
    if arguments is None:
        return
    program = Path(sys.executable).with_name("sweepflow")
    sys.argv = [str(program), *arguments]
    sys.path.insert(0, str(program.parent))
    from sweepflow.flows.cli import main as command

    sys.exit(command())


if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        main(int(sys.argv[1]))
    else:  # what a shell finds as `sweepflow`
        running: Any = ask(sys.argv[1], sys.argv[2:], os.getcwd(), os.environ, [0, 1, 2])
        sys.exit(running.wait())
