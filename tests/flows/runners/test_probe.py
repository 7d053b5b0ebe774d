"""What the probe finds, and what it says of a node that does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sweepflow.flows.runners import probe
from sweepflow.flows.runners.probe import EXPECT, REFUSAL, STORE_ROOT, TOKEN
from sweepflow.storage.store import Store


@pytest.fixture
def environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a driver without a server gives its workers."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return without_server(probe.expectations(store))


def without_server(environment: dict[str, str]) -> dict[str, str]:
    expected = {**json.loads(environment[EXPECT]), "server": False}
    return {**environment, EXPECT: json.dumps(expected)}


def expecting(environment: dict[str, str], **changes: Any) -> dict[str, str]:
    return {**environment, EXPECT: json.dumps({**json.loads(environment[EXPECT]), **changes})}


def failures(environment: dict[str, str], patience: float = 0.5) -> dict[str, str]:
    return {check.name: check.text for check in probe.checks(environment, patience) if not check.ok}


def test_this_machine_fits_itself(environment: dict[str, str]) -> None:
    assert [(check.name, check.ok) for check in probe.checks(environment)] == [
        ("versions", True),
        ("store", True),
    ]


def test_nothing_is_asked_of_a_worker_of_nobodys() -> None:
    assert probe.checks({}) == []


@pytest.mark.parametrize("name", probe.COMPARED)
def test_another_version_of_anything_is_told(name: str) -> None:
    here = probe.what_is_here()
    assert probe.differences(here, here) == []
    there = deepcopy(here)
    there["versions"][name] = "0.0.1"
    assert probe.differences(here, there) == [f"{name} is 0.0.1 there and {here['versions'][name]} here"]
    there["versions"][name] = None
    assert probe.differences(here, there) == [f"{name} is missing there and {here['versions'][name]} here"]


def test_another_python_is_told_and_another_patch_of_it_is_not() -> None:
    here = {**probe.what_is_here(), "python": "3.11.4"}
    assert probe.differences(here, {**here, "python": "3.12.4"}) == ["Python is 3.12.4 there and 3.11.4 here"]
    assert probe.differences(here, {**here, "python": "3.11.9"}) == []


def test_every_distribution_that_is_compared_is_installed() -> None:
    assert None not in probe.what_is_here()["versions"].values()


def test_another_version_is_refused_with_what_to_do(environment: dict[str, str]) -> None:
    versions = {**json.loads(environment[EXPECT])["versions"], "optax": "9.9"}
    said = failures(expecting(environment, versions=versions))["versions"]
    assert "9.9 here" in said and sys.executable in said and "runner.python=PATH" in said


def test_another_store_at_the_same_path_is_refused(environment: dict[str, str]) -> None:
    said = failures(expecting(environment, token="of another"))["store"]
    assert "another store is there" in said and "store=DIR" in said


def test_a_store_that_is_not_there_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "not mounted"
    assert f"{gone} is not there" in failures({**environment, STORE_ROOT: str(gone)})["store"]
    gone.mkdir()
    assert f"{gone} is empty" in failures({**environment, STORE_ROOT: str(gone)})["store"]


def test_a_token_that_a_file_server_tells_of_late_is_waited_for(
    environment: dict[str, str], store: Store
) -> None:
    token = store.root / TOKEN
    hidden = token.rename(store.root / "hidden")
    threading.Timer(0.7, lambda: hidden.rename(token)).start()
    assert failures(environment, patience=20) == {}


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody to whom permissions apply, root's tests too."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_store_that_cannot_be_written_is_refused(environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        root = Path(directory)
        given = expecting({**environment, STORE_ROOT: str(root)}, token=probe.store_token(root))
        (root / TOKEN).chmod(0o444)
        root.chmod(0o555)
        with unprivileged():
            said = failures(given)["store"]
        root.chmod(0o755)
        assert failures(given) == {}
    assert "cannot be written" in said and "Permission denied" in said and "free space" in said


def test_a_server_that_is_away_is_refused(environment: dict[str, str]) -> None:
    url = "http://127.0.0.1:9/api"
    said = failures({**expecting(environment, server=True), "PREFECT_API_URL": url})["server"]
    assert url in said and "prefect server start --host 0.0.0.0" in said


@pytest.mark.server
def test_a_server_that_answers_is_found(environment: dict[str, str], api_url: str) -> None:
    assert failures({**expecting(environment, server=True), "PREFECT_API_URL": api_url}) == {}


def test_a_store_keeps_its_token(store: Store) -> None:
    first = probe.store_token(store.root)
    assert len(first) == 32 and probe.store_token(store.root) == first
    assert probe.store_token(store.root.with_name("another")) != first


def test_what_workers_are_given_has_no_secret(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://a:4200/api")
    monkeypatch.setenv("SWEEPFLOW_STORE", "somewhere")
    for name in ("PREFECT_API_KEY", "WANDB_API_KEY", "HOME"):
        monkeypatch.setenv(name, "hunter2")
    given = probe.expectations(store)
    assert given["PREFECT_API_URL"] == "http://a:4200/api" and given["SWEEPFLOW_STORE"] == "somewhere"
    assert given[STORE_ROOT] == str(store.root) and "hunter2" not in str(given)


def test_a_program_below_the_prefix_of_its_python_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose Python is the system's, with /usr for its prefix."""
    library = os.path.dirname(os.__file__)
    root = os.path.dirname(os.path.dirname(library))
    of_python = [f"{root}/lib/python311.zip", library, f"{library}/lib-dynload", f"{library}/site-packages"]
    of_python += [f"{root}/local/lib/python3.11/dist-packages", f"{root}/bin"]
    monkeypatch.setattr(sys, "prefix", root)
    monkeypatch.setattr(sys, "path", [f"{root}/src/app", *of_python, f"{root}/src/more"])
    assert probe.own_path() == ([f"{root}/src/app"], [f"{root}/src/more"])


def test_looking_does_not_start_jax(environment: dict[str, str]) -> None:
    """It would take a GPU's memory, or fix the number of devices, before a worker has set its own."""
    code = (
        "import os, sys\n"
        "from sweepflow.flows.runners import probe\n"
        "assert probe.checks(os.environ)\n"
        "assert 'jax' not in sys.modules and 'prefect' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_as_a_program_it_writes_what_it_finds(
    environment: dict[str, str], store: Store, tmp_path: Path
) -> None:
    findings = tmp_path / "find ings.json"
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "sweepflow.flows.runners.probe", str(findings)],
        env={**kept, **environment, "SWEEPFLOW_PROCESSES": "2", "CUDA_VISIBLE_DEVICES": "4,6"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(findings.read_text())
    assert found["devices"] == {
        "listed": ["4", "6"],
        "workers": 2,
        "platform": "cpu",
        "kinds": ["cpu", "cpu"],
    }
    assert [check["ok"] for check in found["checks"]] == [True, True]
    assert found["executable"] == sys.executable
    assert probe.copy_in(store.root, findings).read_text() == findings.read_text()


def test_last_words_are_the_refusal_or_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    assert "cannot be read" in probe.last_words(log)
    log.write_text("\n \n")
    assert "has written nothing" in probe.last_words(log)
    log.write_text("\n".join(f"line {number}" for number in range(50)))
    assert probe.last_words(log, lines=2) == "line 48\nline 49"
    with log.open("a") as more:
        more.write(f"\n{REFUSAL} (n1)\nno store\n  got:     a\n  do:      b\n\nslurmstepd: error: it ended\n")
    assert probe.last_words(log) == f"{REFUSAL} (n1)\nno store\n  got:     a\n  do:      b"
