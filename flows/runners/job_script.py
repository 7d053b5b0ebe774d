"""The batch script of a job of workers, made from typed configuration by a pure function.

dask-jobqueue writes the header and the worker's command line. This module supplies the values that
dask-jobqueue would insert without quotes, or take from the user's own Dask configuration.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepflow.schema.runner import SlurmRunner

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMJob

WORKER = "sweepflow.flows.runners.worker"
PROBE = "sweepflow.flows.runners.probe"
SAFE_PATH = "-P"
"""Option of Python: files in the directory that a job starts in shadow no module. The probe adds the
directories from which the driver imports."""
NAME = "sweepflow-"
"""Prefix of the name of every job and every worker."""
ID_DIGITS = 12
PROCESSES = "SWEEPFLOW_PROCESSES"
"""Environment variable with the number of workers of a job."""
LEAVE_AT = "SWEEPFLOW_LEAVE_AT"
"""Environment variable with the time after which a worker takes no more work, in seconds since 1970."""
OWN = frozenset({PROCESSES, LEAVE_AT, "SWEEPFLOW_CORES"})
"""Environment variables that belong to a single job or worker."""
SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSW|AUTH|CREDENTIAL)", re.IGNORECASE)
SECTION = "sweepflow"
NOTHING = dict.fromkeys(
    [
        *("name", "cores", "memory", "processes", "python", "interface", "death-timeout", "local-directory"),
        *(
            "extra",
            "worker-command",
            "worker-extra-args",
            "queue",
            "project",
            "account",
            "walltime",
            "env-extra",
        ),
        *("job-script-prologue", "job-cpu", "job-mem", "job-extra", "job-extra-directives", "header-skip"),
        *("job-directives-skip", "log-directory", "shebang"),
    ]
)
"""Section of Dask's configuration in which nothing is set, so that the configuration of a site or a user has
no effect here."""


def job_name(flow_run_id: str) -> str:
    """Return the common name of all jobs of a flow run, by which they are found again."""
    return NAME + re.sub(r"[^0-9a-f]", "", flow_run_id.lower())[:ID_DIGITS]


def job_of(worker: str) -> str | None:
    """Return the id of the job to which the worker of that name belongs; None if it belongs to no job."""
    found = re.match(rf"{NAME}(\d+)(r\d+)?(-\d+)?$", worker)
    return found[1] if found else None


def log_path(logs: Path, job_name: str, job_id: str) -> Path:
    """Return the path of a job's output; a job that starts again appends to it."""
    return logs / f"{job_name}-{job_id}.log"


def job_script(
    runner: SlurmRunner, *, scheduler: str, job_name: str, logs: Path, environment: Mapping[str, str]
) -> str:
    """Return the batch script of one job of workers.

    Args:
        runner: Configuration with the resources that the job requests.
        scheduler: Address of Dask's scheduler, such as tcp://10.0.0.1:41000.
        job_name: Name of the job, as `job_name` makes it.
        logs: Directory of the jobs' output, which compute nodes see.
        environment: Variables that the script exports; names that look like secrets are left out.
    """
    leaving = runner.walltime_seconds - runner.working_seconds
    job = _job(
        runner,
        job_name,
        logs,
        environment,
        scheduler=scheduler,
        # A job that starts again has the same id, and Dask refuses a name that it knows.
        name=f"{NAME}${{SLURM_JOB_ID}}${{SLURM_RESTART_COUNT:+r$SLURM_RESTART_COUNT}}",
        worker_command=WORKER,
        death_timeout=int(runner.connect_seconds),
        local_directory=_scratch(runner),
        interface=runner.interface,
        worker_extra_args=[
            # After its batches have left by themselves, and spread, so that not all workers go at once.
            *("--lifetime", f"$(( {LEAVE_AT} + {int(leaving / 3)} - $(date +%s) ))"),
            *("--lifetime-stagger", str(max(1, int(leaving / 6)))),
        ],
    )
    return job.job_script()


def probe_script(
    runner: SlurmRunner, *, job_name: str, logs: Path, environment: Mapping[str, str], findings: Path
) -> str:
    """Return the script of the same job with the probe instead of the workers.

    The probe writes its findings to `findings`.
    """
    job = _job(runner, job_name, logs, environment, worker_command=PROBE)
    *before, _ = job.job_script().splitlines()
    return "\n".join(
        [*before, f"exec {_python(runner)} {SAFE_PATH} -m {PROBE} {shlex.quote(str(findings))}", ""]
    )


def _job(
    runner: SlurmRunner, job_name: str, logs: Path, environment: Mapping[str, str], **worker: Any
) -> SLURMJob:
    kind = _slurm_job()  # first, as importing it sets defaults
    import dask

    with dask.config.set({f"jobqueue.{SECTION}": NOTHING}):
        return kind(
            config_name=SECTION,
            shebang="#!/usr/bin/env bash",
            job_name=job_name,
            queue=runner.partition,
            account=runner.account,
            walltime=runner.walltime,
            cores=runner.cores,
            memory=runner.memory,
            processes=runner.workers_each,
            python=f"exec {_python(runner)} {SAFE_PATH}",
            job_directives_skip=(),
            job_extra_directives=_directives(runner, job_name, logs),
            job_script_prologue=_prologue(runner, environment),
            **worker,
        )


@cache
def _slurm_job() -> type[SLURMJob]:
    # When it is imported, it makes Ctrl-C end the process at once and with exit code 0; and in a thread it
    # cannot be imported, as only the main one may do that.
    heard = signal.signal
    signal.signal = _unheard  # type: ignore[assignment]
    try:
        from dask_jobqueue.slurm import SLURMJob
    finally:
        signal.signal = heard
    return SLURMJob


def _unheard(*_: Any) -> None: ...


def _directives(runner: SlurmRunner, job_name: str, logs: Path) -> list[str]:
    gres = runner.gres or (f"gpu:{runner.gpus}" if runner.gpus else None)
    options = {"qos": runner.qos, "gres": gres, "constraint": runner.constraint}
    # sbatch takes a quoted value, and replaces %j in it.
    folder = re.sub(r'(["\\])', r"\\\1", str(logs.absolute()).replace("%", "%%"))
    return [
        *(f"--{name}={value}" for name, value in options.items() if value is not None),
        *runner.directives,
        f'--output="{folder}/{job_name}-%j.log"',
        "--open-mode=append",
    ]


def _prologue(runner: SlurmRunner, environment: Mapping[str, str]) -> list[str]:
    exported = {n: v for n, v in environment.items() if n not in OWN and not SECRET.search(n)}
    return [
        f"export {LEAVE_AT}=$(( $(date +%s) + {int(runner.working_seconds)} ))",
        f"export {PROCESSES}={runner.workers_each}",
        *(f"export {name}={shlex.quote(value)}" for name, value in exported.items()),
        # Not the submitting machine's, which the node may lack.
        '[ -d "${TMPDIR:-}" ] || export TMPDIR=/tmp',
        *runner.prologue,
        f"mkdir -p {_scratch(runner)}",
    ]


def _python(runner: SlurmRunner) -> str:
    """Return the shell words that start Python."""
    return runner.python or shlex.quote(sys.executable)


def _scratch(runner: SlurmRunner) -> str:
    """Return a shell word in which variables such as $USER are replaced on the node."""
    given = runner.scratch or "$TMPDIR"
    return '"' + re.sub(r'(["`\\])', r"\\\1", given) + '"'
