"""Send the probe to a compute node, as a job like those of workers, and read its findings."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweepflow.errors import SweepflowError
from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.check import Check
from sweepflow.flows.runners.checks import logs_directory
from sweepflow.flows.runners.job_script import NAME, log_path, probe_script
from sweepflow.flows.runners.probe import copy_in, expectations, last_words
from sweepflow.flows.runners.reasons import hopeless, in_words
from sweepflow.schema.runner import SlurmRunner
from sweepflow.storage.store import Store

VISIT_SECONDS = 120.0
"""Longest wait for the job to start and to end."""
SEEN_SECONDS = 15.0
"""Time that a file written on a compute node may take to be seen here."""
POLL_SECONDS = 0.25


class VisitError(SweepflowError):
    """The probe's job has produced no findings."""

    exit_code = 2


def visit(
    runner: SlurmRunner, store: Store, say: Callable[[str], None], seconds: float = VISIT_SECONDS
) -> list[Check]:
    """Return the findings of the probe on a compute node. The probe's job ends when this function ends.

    Args:
        runner: Configuration with the resources that the job requests, as for workers.
        store: Store of the sweep.
        say: Function that is called with the state of the job, whenever the state changes.
        seconds: Longest wait.

    Raises:
        VisitError: if the job does not start, or ends without findings.
        SlurmError: if SLURM does not accept the job.
    """
    logs = logs_directory(runner, store)
    logs.mkdir(parents=True, exist_ok=True)
    name = f"{NAME}doctor-{os.getpid()}"
    findings = logs / f"{name}.json"
    copy = copy_in(store.root, findings)
    script = probe_script(
        runner, job_name=name, logs=logs, environment=expectations(store), findings=findings
    )
    job_id = slurm.submit(script)
    log = log_path(logs, name, job_id)
    try:
        found = _wait(job_id, findings, log, say, seconds)
        wrote = any(check["name"] == "store" and check["ok"] for check in found["checks"])
        seen = _appears(copy) if wrote else None
    finally:
        slurm.cancel([job_id])
        findings.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    log.unlink(missing_ok=True)  # kept where it tells why there are no findings
    return list(_read(found, runner, store, seen))


def _wait(
    job_id: str, findings: Path, log: Path, say: Callable[[str], None], seconds: float
) -> dict[str, Any]:
    """Wait for the findings, and return them."""
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        if (found := _load(findings)) is not None:
            return found
        if (end := slurm.ended(job_id)) is not None:
            if end.state == "COMPLETED" and _appears(findings) and (found := _load(findings)) is not None:
                return found
            raise _ended(end, job_id, findings, log)
        doing = _doing(job_id)
        if doing != said:
            said = doing
            say(doing)
        if time.monotonic() > deadline:
            raise VisitError(
                f"the job has not ended in {seconds:g} s",
                got=said,
                do="wait for a free node, or choose another partition; `squeue --me` shows your jobs, "
                "and --no-job leaves this out",
            )
        time.sleep(POLL_SECONDS)


def _doing(job_id: str) -> str:
    """Return the state of the job, in words.

    Raises:
        VisitError: if waiting cannot help.
    """
    job = next((job for job in slurm.queue() if job.id == job_id), None)
    if job is None:
        return f"job {job_id} ends"
    if job.state != "PENDING":
        return f"job {job_id} is {job.state.lower()} on {job.node or 'a node'}"
    if (remedy := hopeless(job.reason)) is not None:
        raise VisitError("the job cannot start", got=f"SLURM's reason: {job.reason}", do=remedy)
    expected = f", expected to start at {job.started}" if job.started else ""
    return f"job {job_id} waits: {in_words(job.reason)}{expected}"


def _ended(end: slurm.Ended, job_id: str, findings: Path, log: Path) -> VisitError:
    code = f" with exit code {end.exit_code}" if end.exit_code else ""
    if end.state == "COMPLETED":
        return VisitError(
            "what a compute node wrote is not seen here",
            got=str(findings),
            allowed="a directory on a file system that all machines share",
            do="give one with runner.logs=DIR, and check that the store is on one",
        )
    said = last_words(log).replace("\n", "\n           ")
    return VisitError(
        f"the job ended {end.state}{code} on {end.node or 'no node'}, and has found nothing",
        got=f"its last words:\n           {said}",
        do="mend runner.python or runner.prologue, so that sweepflow starts there",
    )


def _read(found: Mapping[str, Any], runner: SlurmRunner, store: Store, seen: bool | None) -> Iterator[Check]:
    yield Check("node", True, f"{found['host']}, Python {found['python']} at {found['executable']}")
    for check in found["checks"]:
        yield Check(**check)
    if seen is not None:
        yield Check(
            "store, back",
            seen,
            "what is written there is seen here" if seen else "what is written there is not seen here",
            got=str(store.root.absolute()),
            remedy="give a directory on a file system that all machines share: store=DIR",
        )
    yield _devices(found["devices"], runner)


def _devices(devices: Mapping[str, Any], runner: SlurmRunner) -> Check:
    kinds = devices.get("kinds", [])
    each = f"{kinds[0]} x{len(kinds)}" if kinds else devices.get("error", "none")
    words = f"{devices.get('platform')}: {each}, for each of a job's workers ({devices['workers']})"
    if runner.gpus_each and devices.get("platform") in (None, "cpu"):
        return Check(
            "devices",
            False,
            "JAX finds no GPU there",
            got=f"CUDA_VISIBLE_DEVICES={','.join(devices['listed'])}; JAX: {each}",
            allowed=f"the GPUs that runner.gpus or runner.gres asks for: {runner.gpus_each}",
            remedy="install JAX for GPUs there, such as pip install 'jax[cuda12]'; or leave the GPUs out",
        )
    if len(devices["listed"]) not in (0, runner.gpus_each):
        words += f"; SLURM gives the job {len(devices['listed'])} GPUs"
    return Check("devices", True, words)


def _load(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None


def _appears(path: Path) -> bool:
    """Return whether a file appears here; a file server may report it late."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        with suppress(OSError):
            os.listdir(path.parent)
        time.sleep(POLL_SECONDS)
    return True
