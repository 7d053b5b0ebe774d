"""A PostgreSQL of a test process's own, and a Prefect server whose database it is.

It lies below one folder and answers on loopback alone: a PostgreSQL that the machine has is not touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweepflow.flows.server.embedded import silence
from tests.prefect_server import START_SECONDS, Machine, isolated

REQUIRED = "SWEEPFLOW_REQUIRE_POSTGRES"
"""Set to anything, a machine without PostgreSQL fails the tests that need it; else they are skipped."""
DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps a server's programs there, by version, and off the PATH."""
GUARD = 'cat >/dev/null; "$1" --pgdata="$2/data" --mode=immediate --silent stop; rm -rf "$2"'
"""Ends the server when standard input does: with the test process, however that ends."""


def programs() -> Path | None:
    """Where PostgreSQL's programs are, of the newest version that there is; None where there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass
class Postgres:
    """A PostgreSQL below a folder of its own.

    Root may not run one: root's runs as nobody.

    Args:
        bin: PostgreSQL's programs.
    """

    bin: Path
    _folder: Path = field(init=False)
    _guard: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        # Not below this process's temporary folder, which nobody else may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="sweepflow-postgres-", dir="/tmp"))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", self.bin / "pg_ctl", self._folder],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._as_user(),
        )
        self._run("initdb", "--username=sweeps", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")

    @property
    def url(self) -> str:
        """Of its database, as Prefect's server takes it."""
        return f"postgresql+asyncpg://sweeps@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it where it is not up, and wait until it takes connections."""
        if (self._folder / "data" / "postmaster.pid").exists():
            return
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "--silent", f"--log={self._folder}/log", f"--options={options}", "start")

    def stop(self) -> None:
        """End it and whatever is connected to it, as for an upgrade, and wait until it is gone."""
        self._run("pg_ctl", "--silent", "--mode=fast", "stop")

    def down(self) -> None:
        """End it, if it runs, and remove its folder."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def _run(self, name: str, *options: str) -> None:
        command = [self.bin / name, f"--pgdata={self._folder}/data", *options]
        with (self._folder / f"{name}.log").open("a+") as said:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **self._as_user()
            )
            said.seek(0)
            assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{said.read()}"

    def _as_user(self) -> dict[str, Any]:
        if os.getuid() != 0:
            return {"cwd": self._folder}
        return {
            "cwd": self._folder,
            "user": "nobody",
            "group": pwd.getpwnam("nobody").pw_gid,
            "extra_groups": [],
        }


@dataclass(frozen=True)
class ServerOnPostgres:
    """A Prefect server on PostgreSQL.

    Attributes:
        postgres: Its database; up at the beginning of every test.
        environment: Of processes that talk to the server.
    """

    postgres: Postgres
    environment: dict[str, str]


@pytest.fixture(scope="session")
def server_on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOnPostgres]:
    """A Prefect server on a PostgreSQL, one for each test process."""
    if (found := programs()) is None:
        reason = "no initdb: apt-get install --no-install-recommends postgresql"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no PostgreSQL here: {reason}", pytrace=False)
        pytest.skip(f"needs PostgreSQL; {reason}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    directory = tmp_path_factory.mktemp("on postgres")
    environment = isolated(directory / "prefect home", PREFECT_API_URL=url)
    postgres, machine = Postgres(found), Machine(directory, environment)
    try:
        postgres.start()
        server = machine.start(
            *("prefect", "server", "start", "--port", str(port), "--no-ui"),
            PREFECT_API_DATABASE_CONNECTION_URL=postgres.url,
        )
        server.wait_for(lambda _: silence(url) is None, START_SECONDS)
        yield ServerOnPostgres(postgres, environment)
    finally:
        machine.end()
        postgres.down()
