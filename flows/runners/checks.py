"""Checks before a sweep starts. They take a second or two; each failure comes with its remedy."""

from __future__ import annotations

import ipaddress
import socket
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from sweepflow.errors import SweepflowError, in_words
from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.check import Check, refuse
from sweepflow.flows.runners.job_script import job_script
from sweepflow.flows.runners.probe import api_url, expectations
from sweepflow.flows.runners.slurm_command import SlurmError
from sweepflow.flows.server.faults import find_fault
from sweepflow.schema.runner import LocalRunner, RunnerConfig, SlurmRunner
from sweepflow.storage.store import Store
from sweepflow.words import shortened

__all__ = ["Check", "preflight", "refuse"]

NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")
"""Directories that are local to each machine."""
START_A_SERVER = "prefect server start --host 0.0.0.0"


def preflight(runner: RunnerConfig, store: Store) -> list[Check]:
    """Check everything that can be known before a job is submitted.

    Args:
        runner: Runner of the sweep.
        store: Store of the sweep; its directory is created if it does not exist.
    """
    found = [_store(store)]
    if isinstance(runner, SlurmRunner):
        found += _slurm(runner, store, expectations(store) if found[0].ok else {})
    elif (url := api_url()) is not None:
        found.append(_answering(url))
    if not isinstance(runner, LocalRunner) or runner.concurrency_limit is not None:
        found += _limit(runner.concurrency_limit)
    return found


def _slurm(runner: SlurmRunner, store: Store, environment: Mapping[str, str]) -> Iterator[Check]:
    url = api_url()
    try:
        if not slurm.answers():
            yield Check(
                "controller",
                False,
                "SLURM's controller does not answer",
                remedy="wait until `scontrol ping` says that it is UP; `sinfo` shows the cluster",
            )
            return
        yield Check("controller", True, "SLURM's controller answers")
        yield _accepted(runner, store, environment)
        nodes = slurm.nodes()
        partition = runner.partition or next((p.name for p in slurm.partitions() if p.default), None)
    except SlurmError as error:
        yield _of(error, "controller")
        return
    here = all(is_here(node) for node in nodes if partition is None or partition in node.partitions)
    yield address(url, here)
    if url is not None:
        yield _answering(url)
    yield from _shared(runner, store, here)
    if runner.interface is not None:
        yield _interface(runner.interface, psutil.net_if_addrs())


def _accepted(runner: SlurmRunner, store: Store, environment: Mapping[str, str]) -> Check:
    script = job_script(
        runner,
        scheduler="tcp://0.0.0.0:0",
        job_name="sweepflow-check",
        logs=logs_directory(runner, store),
        environment=environment,
    )
    refusal = slurm.test_only(script)
    asked = _asked_for(runner)
    if refusal is None:
        return Check("job", True, f"SLURM takes the job: {asked}")
    known = [
        f"{p.name}{' (the default)' * p.default}, up to {p.limit}{'' if p.up else ', down'}"
        for p in slurm.partitions()
    ]
    return Check(
        "job",
        False,
        f"SLURM does not take the job: {refusal}",
        got=asked,
        allowed=f"partitions {'; '.join(known)}",
        remedy=_what_to_change(refusal),
    )


def _asked_for(runner: SlurmRunner) -> str:
    names = ("partition", "account", "qos", "walltime", "cores", "memory", "gpus", "gres", "constraint")
    given = {name: getattr(runner, name) for name in names}
    return " ".join(f"runner.{name}={value}" for name, value in given.items() if value) + (
        f" and {', '.join(runner.directives)}" if runner.directives else ""
    )


YOURS = "`sacctmgr show associations user=$USER format=account,partition,qos` lists yours"
REMEDIES = {
    "partition name": "choose runner.partition from the above",
    "account": f"give runner.account; {YOURS}",
    "qos": f"give runner.qos; {YOURS}",
    "time limit": "give a runner.walltime within the partition's; longer batches go on in the next job",
    "gres": "ask for GPUs as the cluster names them; `sinfo --format='%P %G'` lists them",
    "feature": "give a runner.constraint that nodes have; `sinfo --format='%P %f'` lists them",
    "memory": "ask for less runner.memory; `sinfo --format='%P %m'` lists what nodes have, in MB",
    "node configuration": "ask for what one node has: runner.cores, memory, gpus; "
    "`sinfo --format='%P %c %m %G'` lists it",
}
"""Remedies by words in sbatch's refusals."""


def _what_to_change(refusal: str) -> str:
    said = refusal.lower()
    return next(
        (remedy for words, remedy in REMEDIES.items() if words in said),
        "change what is asked for; `sinfo` shows what there is",
    )


def is_loopback(url: str) -> bool:
    """Return whether an address refers to the machine that uses it."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_here(node: slurm.Node) -> bool:
    """Return whether a compute node is this machine."""
    own = {address.address for found in psutil.net_if_addrs().values() for address in found}
    own |= {socket.gethostname(), socket.gethostname().partition(".")[0], "localhost"}
    return node.address in own or node.hostname in own


def address(url: str | None, here: bool) -> Check:
    """Check whether compute nodes can reach Prefect's API by its address.

    Args:
        url: Address of the API as this process uses it; None if there is none.
        here: Whether every node that a job may run on is this machine.
    """
    start = f"start a server that nodes reach: {START_A_SERVER}; then: {_export(socket.gethostname())}"
    if url is None:
        return Check(
            "address",
            False,
            "jobs need a Prefect server, and PREFECT_API_URL names none",
            allowed="a server that compute nodes reach; one that sweepflow starts for itself ends with it",
            remedy=start,
        )
    if "@" in url.partition("://")[2].partition("/")[0]:
        return Check(
            "server",
            False,
            "PREFECT_API_URL has a user and a password in it, which would stand in job scripts and run files",
            allowed="an address without them",
            remedy="give them as PREFECT_API_AUTH_STRING instead, which goes to jobs by the environment",
        )
    if is_loopback(url) and not here:
        return Check(
            "address",
            False,
            "compute nodes cannot reach a server at a loopback address",
            got=f"PREFECT_API_URL={url}",
            allowed="the name or address of this machine in the cluster's network",
            remedy=start,
        )
    nodes = "every node, which is this machine" if here else "every node"
    return Check("address", True, f"PREFECT_API_URL={url} means the same machine on {nodes}")


def _export(host: str) -> str:
    return f"export PREFECT_API_URL=http://{host}:4200/api"


def _answering(url: str) -> Check:
    if (fault := find_fault(url)) is None:
        return Check("server", True, "Prefect's server answers, and lets this user in")
    return Check("server", False, fault.what, got=fault.got, allowed=fault.allowed, remedy=fault.do)


def _store(store: Store) -> Check:
    try:
        store.check_writable()
    except SweepflowError as error:
        return _of(error, "store")
    return Check("store", True, f"{store.root.absolute()} can be written")


def logs_directory(runner: SlurmRunner, store: Store) -> Path:
    """Return the directory of the jobs' output."""
    return Path(runner.logs).absolute() if runner.logs else store.paths.logs.absolute()


def _shared(runner: SlurmRunner, store: Store, here: bool) -> Iterator[Check]:
    logs = logs_directory(runner, store)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            pass
    except OSError as error:
        yield Check(
            "logs",
            False,
            "the directory of the jobs' output cannot be written",
            got=f"{logs}: {error.strerror}",
            remedy="give another, that compute nodes see too: runner.logs=DIR",
        )
    places = {"the store": (store.root, "store=DIR"), "the jobs' output": (logs, "runner.logs=DIR")}
    if runner.python is None:
        places["Python"] = (Path(sys.prefix), "runner.python=PATH")
    for what, (path, key) in places.items():
        if not here and (local := node_local(path)) is not None:
            yield Check(
                f"{what} shared",
                False,
                f"{what} lies where each machine has a directory of its own",
                got=str(path.absolute()),
                allowed="a file system that compute nodes see under the same path",
                remedy=f"if {local} is not shared, give another with {key}",
                must=False,
            )


def node_local(path: Path) -> str | None:
    """Return the machine-local directory that contains a path; None if there is none."""
    resolved = path.absolute().resolve()
    return next((name for name in NODE_LOCAL if resolved.is_relative_to(name)), None)


def _interface(name: str, there: Mapping[str, object]) -> Check:
    if name in there:
        return Check("interface", True, f"{name} is here")
    return Check(
        "interface",
        False,
        "this machine has no such network interface",
        got=f"runner.interface={name}",
        allowed=", ".join(sorted(there)),
        remedy="take the one that reaches compute nodes, or leave runner.interface out",
    )


def _limit(name: str | None) -> list[Check]:
    """Check whether the global concurrency limit exists; a limit that does not exist limits no batches."""
    if name is None or (url := api_url()) is None:  # a server of the sweep's own limits nobody else
        return []
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL, temporary_settings

    create = f"prefect gcl create {name} --limit N, where N batches may run at once"
    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            limit = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        return [
            Check(
                "limit",
                False,
                "there is no such global concurrency limit",
                got=f"runner.concurrency_limit={name}",
                remedy=f"make it: {create}",
            )
        ]
    except Exception as error:  # no server: another check says so
        words = "the global concurrency limit cannot be read"
        return [Check("limit", False, words, got=shortened(in_words(error), 300), remedy=create)]
    state = "" if limit.active else ", but it is inactive"
    return [Check("limit", True, f"{name} lets {limit.limit} batches run at once{state}")]


def _of(error: SweepflowError, name: str) -> Check:
    """Convert an error to a failed check."""
    return Check(
        name,
        False,
        error.what,
        got="" if error.got is None else str(error.got),
        allowed=error.allowed or "",
        remedy=error.do or "",
    )
