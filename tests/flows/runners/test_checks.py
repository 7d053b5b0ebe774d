"""What is found out before a job is submitted, with what to do about it."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from sweepflow.errors import ConfigError
from sweepflow.flows.runners import checks
from sweepflow.flows.runners import slurm as commands
from sweepflow.flows.runners.check import Check, refuse
from sweepflow.flows.runners.checks import address, is_here, is_loopback, node_local, preflight
from sweepflow.flows.runners.slurm import Node
from sweepflow.schema.runner import DaskRunner, LocalRunner, RunnerConfig, SlurmRunner
from sweepflow.storage.store import Store
from tests.slurm.cluster import Cluster

SILENT = "http://127.0.0.1:9/api"
"""Nothing answers there."""


def failures(runner: RunnerConfig, store: Store) -> dict[str, Check]:
    return {check.name: check for check in preflight(runner, store) if not check.ok}


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


# Without a cluster


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://127.9.9.9:4200/api", True),
        ("http://localhost:4200/api", True),
        ("http://me.localhost/api", True),
        ("http://[::1]:4200/api", True),
        ("http://0.0.0.0:4200/api", True),  # where a server listens, and nobody calls
        ("http://login1:4200/api", False),
        ("http://10.1.2.3:4200/api", False),
        ("https://api.prefect.cloud/api/accounts/1/workspaces/2", False),
        ("https://127.0.0.1.example.org/api", False),
    ],
)
def test_a_loopback_address_is_told_from_others(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
    foreign = address(url, here=False)
    assert foreign.ok is not loopback
    assert address(url, here=True).ok
    if loopback:
        assert url in foreign.text and "prefect server start --host 0.0.0.0" in foreign.text
        assert f"export PREFECT_API_URL=http://{socket.gethostname()}:4200/api" in foreign.text


@pytest.mark.parametrize("here", [True, False])
def test_no_server_is_refused_with_the_command_that_starts_one(here: bool) -> None:
    check = address(None, here)
    assert not check.ok and check.must
    assert "prefect server start --host 0.0.0.0" in check.remedy and "export PREFECT_API_URL=" in check.remedy


def test_nodes_that_are_this_machine_are_known() -> None:
    node = Node("n1", "127.0.0.1", "another", ("debug",))
    assert is_here(node)
    assert is_here(replace(node, address="n1", hostname=socket.gethostname()))
    assert not is_here(replace(node, address="203.0.113.7"))


@pytest.mark.parametrize(
    ("path", "where"),
    [("/tmp/a/b", "/tmp"), ("/dev/shm", "/dev/shm"), ("/home/ada", None), ("/tmpfiles/x", None), ("/", None)],
)
def test_directories_that_each_machine_has_for_itself_are_known(path: str, where: str | None) -> None:
    assert node_local(Path(path)) == where


def test_one_failure_is_an_error_of_its_own_and_several_are_listed() -> None:
    good = Check("a", True, "well")
    first = Check("b", False, "no such partition", got="nope", allowed="debug", remedy="choose one")
    second = Check("c", False, "no server", remedy="start one")
    doubtful = Check("d", False, "perhaps not shared", must=False)
    refuse([good, doubtful])
    with pytest.raises(ConfigError) as one:
        refuse([good, first, doubtful])
    assert str(one.value) == "no such partition\n  got:     nope\n  allowed: debug\n  do:      choose one"
    with pytest.raises(ConfigError) as both:
        refuse([first, good, second])
    assert str(both.value).startswith("2 things have to be mended before any work starts")
    assert first.text in str(both.value) and second.text in str(both.value) and both.value.exit_code == 2


def test_a_machine_without_slurm_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = failures(SlurmRunner(), store).values()
    assert "there is no scontrol on this machine" in check.text and "login node" in check.text


@pytest.mark.parametrize("runner", [LocalRunner(), DaskRunner(), SlurmRunner()], ids=lambda r: r.kind)
def test_a_store_that_cannot_be_written_is_refused(
    runner: RunnerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a file").write_text("")
    check = failures(runner, Store(tmp_path / "a file" / "store"))["store"]
    assert "the store cannot be written" in check.text and "store=DIR" in check.text


def test_the_other_runners_need_nothing_but_a_store(store: Store) -> None:
    for runner in (LocalRunner(), DaskRunner()):
        assert [(check.name, check.ok) for check in preflight(runner, store)] == [("store", True)]


@pytest.mark.server
@pytest.mark.parametrize("runner", [LocalRunner, DaskRunner], ids=["local", "dask"])
def test_a_concurrency_limit_has_to_be_there(store: Store, prefect: object, runner: Any) -> None:
    name = f"gpus-{runner.__name__}-{os.getpid()}"
    check = failures(runner(concurrency_limit=name), store)["limit"]
    assert name in check.text and f"prefect gcl create {name} --limit N" in check.text
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=3))
    found = {check.name: check for check in preflight(runner(concurrency_limit=name), store)}
    assert found["limit"].ok and "3 batches" in found["limit"].words


def test_a_concurrency_limit_of_a_server_that_is_silent_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", SILENT)
    assert "cannot be read" in failures(LocalRunner(concurrency_limit="gpus"), store)["limit"].text


# On a cluster


@pytest.mark.slurm
@pytest.mark.server
def test_a_cluster_that_is_as_it_should_be(slurm: Cluster, store: Store, prefect: object) -> None:
    runner = SlurmRunner(partition="debug", account="sweeps", qos="normal", cores=2, gpus=1, interface="lo")
    found = preflight(runner, store)
    assert [check.text for check in found if not check.ok] == []
    assert {check.name for check in found} == {"store", "controller", "job", "address", "server", "interface"}
    assert commands.queue() == [], "a check is no job"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"partition": "nope"}, "invalid partition specified: nope", "choose runner.partition"),
    ({"account": "nope"}, "Invalid account", "give runner.account"),
    ({"qos": "nope"}, "Invalid qos", "give runner.qos"),
    ({"walltime": "10-0"}, "time limit", "runner.walltime"),
    ({"partition": "short", "walltime": "30"}, "time limit", "runner.walltime"),
    ({"gres": "tpu:1"}, "gres", "%P %G"),
    ({"gpus": 77}, "node configuration", "runner.cores, memory, gpus"),
    ({"cores": 99}, "", "sinfo"),
    ({"memory": "900GB"}, "", "sinfo"),
    ({"constraint": "nope"}, "feature", "runner.constraint"),
    ({"directives": ("--nonsense",)}, "nonsense", "sinfo"),
]


@pytest.mark.slurm
@pytest.mark.parametrize(("given", "said", "do"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_slurm_would_refuse_is_told_with_what_there_is(
    slurm: Cluster,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    said: str,
    do: str,
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", SILENT)
    check = failures(SlurmRunner(**given), store)["job"]
    assert said.lower() in check.words.lower() and do in check.remedy
    assert "debug (the default), up to 1:00:00; short, up to 1:00" in check.allowed
    (value,) = [str(v) for v in list(given.values())[-1:]]
    assert value.strip("(),'") in check.got


@pytest.mark.slurm
def test_a_sweep_is_refused_with_everything_that_is_wrong(
    slurm: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", SILENT)
    with pytest.raises(ConfigError) as refused:
        refuse(preflight(SlurmRunner(partition="nope", interface="ib9"), store))
    said = str(refused.value)
    for words in (
        "3 things",
        "invalid partition",
        "does not answer",
        "no such network interface",
        "eth0"[:0],
    ):
        assert words in said


@pytest.mark.slurm
def test_nodes_elsewhere_need_another_address_and_another_store(
    slurm: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same cluster, as a machine sees it that is none of its nodes."""
    monkeypatch.setenv("PREFECT_API_URL", SILENT)
    monkeypatch.setattr(checks, "is_here", lambda node: False)
    found = failures(SlurmRunner(), store)
    assert "cannot reach a server at a loopback address" in found["address"].text
    places = {
        "the store shared": store.root,
        "the jobs' output shared": store.root,
        "Python shared": Path(sys.prefix),
    }
    doubted = {name for name, check in found.items() if not check.must}
    assert doubted == {name for name, path in places.items() if node_local(path)}


@pytest.mark.slurm
def test_logs_that_cannot_be_written_are_refused(
    slurm: Cluster, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", SILENT)
    (tmp_path / "a file").write_text("")
    check = failures(SlurmRunner(logs=str(tmp_path / "a file" / "logs")), store)["logs"]
    assert "Not a directory" in check.text and "runner.logs=DIR" in check.text


@pytest.mark.slurm
@pytest.mark.slow
def test_a_controller_that_is_away_is_told(slurm: Cluster, store: Store) -> None:
    slurm.stop_controller()
    try:
        check = failures(SlurmRunner(), store)["controller"]
    finally:
        slurm.start_controller()
    assert "does not answer" in check.text and "scontrol ping" in check.text
