"""A Prefect server and command lines for the tests, each in processes of its own that end with the test."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.guard import guard
from tests.slurm.processes import PATIENCE
from tests.warm import Command, warm

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
START_SECONDS = PATIENCE
NO_SERVER = "http://127.0.0.1:9/api"
"""Nothing answers there: a command that asks Prefect fails."""

TINY = [
    "model=mlp",
    "model.widths=[3]",
    "data.n_data=40",
    "data.n_test=20",
    "target.steps=60",
    "sampler=sgld_fast",
    "sampler.draws=10",
    "sampler.warmup=20",
    "sampler.thinning=1",
]
"""One target and one estimate in a second of compute, good for nothing but to see it go round."""


@dataclass
class Running:
    """A process that a test has started, in a process group of its own, with all that it says in a file."""

    process: Command | subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[str], bool], seconds: float = PATIENCE) -> str:
        """Wait until what it has said fulfils a condition."""
        deadline = time.monotonic() + seconds
        while not condition(self.text):
            ended = self.process.poll()
            assert ended is None, f"it ended with {ended} first:\n{self.text}"
            assert time.monotonic() < deadline, f"it has not happened in {seconds} s:\n{self.text}"
            time.sleep(0.05)
        return self.text

    def end(self) -> None:
        """Ask the whole group to end, and make it."""
        for request in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, request)
                self.process.wait(PATIENCE)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


@dataclass
class Machine:
    """A researcher's machine: environment, directory, and commands that run there.

    Attributes:
        directory: Where commands run.
        environment: What they see.
        logs: Where what they say is kept; `directory` where it is not given.
    """

    directory: Path
    environment: Mapping[str, str]
    logs: Path | None = None
    started: list[Running] = field(default_factory=list)

    def start(self, *command: str | Path, **environment: str) -> Running:
        """Start a command of the virtual environment that the tests run in."""
        log = (self.logs or self.directory) / f"log {len(self.started)}.txt"
        program, arguments, seen = command[0], [*map(str, command[1:])], {**self.environment, **environment}
        process: Command | subprocess.Popen[bytes]
        with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
            if program == "sweepflow" and warm().fits(seen):
                streams = [nothing.fileno(), out.fileno(), out.fileno()]
                process = warm().start(arguments, self.directory, seen, streams)
            else:
                process = subprocess.Popen(
                    [str(BIN / program), *arguments],
                    cwd=self.directory,
                    env=seen,
                    stdin=nothing,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        guard(process.pid)
        self.started.append(Running(process, log))
        return self.started[-1]

    def run(self, *command: str | Path, seconds: float = PATIENCE, **environment: str) -> tuple[int, str]:
        """Run a command to its end: its exit code, and all that it said."""
        running = self.start(*command, **environment)
        try:
            return running.process.wait(seconds), running.text
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{command} runs after {seconds} s:\n{running.text}") from None

    def end(self) -> None:
        for running in self.started:
            running.end()


def isolated(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without the user's Prefect and store, and with a Prefect home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "SWEEPFLOW_")) and name != "XLA_FLAGS"
    }
    return {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "COLUMNS": "160",
        **more,
    }


MIGRATE = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Make a Prefect home at a path, with the database of a server's first start.

    To make one takes seconds: it is made once for all processes of a run, and copied.
    """
    base = tmp_path_factory.getbasetemp()
    first = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "first prefect home"
    with first.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not first.exists():
            aside = first.with_suffix(".aside")
            shutil.rmtree(aside, ignore_errors=True)
            subprocess.run([sys.executable, "-c", MIGRATE], env=isolated(aside), check=True)
            aside.rename(first)

    def copy(home: Path) -> Path:
        shutil.copytree(first, home)
        return home

    return copy


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Path]) -> Path:
    return new_home(tmp_path_factory.mktemp("server's") / "prefect home")


@pytest.fixture(scope="session")
def api_url(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real `prefect server start` with a database of its own, one for each test process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machine = Machine(tmp_path_factory.mktemp("server"), isolated(prefect_home))
    server = machine.start(
        "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"
    )
    url = f"http://127.0.0.1:{port}/api"

    def answers(_: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    try:
        server.wait_for(answers, START_SECONDS)
        yield url
    finally:
        machine.end()


@pytest.fixture
def machine(tmp_path: Path, new_home: Callable[[Path], Path]) -> Iterator[Machine]:
    """A machine without a Prefect server; the directory has a space in its name."""
    directory = tmp_path / "a researcher's home"
    directory.mkdir()
    here = Machine(directory, isolated(new_home(tmp_path / "prefect")))
    yield here
    here.end()


@pytest.fixture
def office(tmp_path: Path, api_url: str, prefect_home: Path) -> Iterator[Machine]:
    """A machine whose commands use the tests' Prefect server."""
    directory = tmp_path / "a researcher's office"
    directory.mkdir()
    here = Machine(directory, isolated(prefect_home, PREFECT_API_URL=api_url))
    yield here
    here.end()
