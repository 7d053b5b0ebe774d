"""Jobs of workers on SLURM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.job_script import job_script, log_path
from sweepflow.flows.runners.jobs import Ended, Held, StartError
from sweepflow.flows.runners.probe import last_words
from sweepflow.flows.runners.reasons import hopeless
from sweepflow.flows.runners.slurm_command import SlurmError
from sweepflow.schema.runner import SlurmRunner


class SlurmJobs:
    """Starts jobs of workers with one common name.

    Args:
        runner: Configuration with the resources that a job requests.
        name: Name of all the jobs. Existing jobs of that name are ended, because their scheduler is gone.
        logs: Directory of the jobs' output, which compute nodes see.
        environment: Variables that the jobs' scripts export.
    """

    def __init__(self, runner: SlurmRunner, name: str, logs: Path, environment: Mapping[str, str]) -> None:
        self.workers_each = runner.workers_each
        self._runner, self._name, self._logs, self._environment = runner, name, logs, environment
        self._logs.mkdir(parents=True, exist_ok=True)
        slurm.cancel_named(name)

    def start(self, scheduler: str) -> str:
        try:
            return slurm.submit(self._script(scheduler))
        except SlurmError as error:
            refused = StartError(error.what, got=error.got, do=error.do)
            refused.passes = error.may_pass
            raise refused from error

    def held(self) -> list[Held] | None:
        try:
            jobs = slurm.queue(self._name)
        except SlurmError:
            return None
        return [_held(job) for job in jobs]

    def ended(self, job_id: str) -> Ended | None:
        try:
            found = slurm.ended(job_id)
        except SlurmError:
            return None
        if found is None:
            return None
        code = f", exit code {found.exit_code}" if found.exit_code else ""
        by = f", signal {found.signal}" if found.signal else ""
        where = f" on {found.node}" if found.node else ""
        return Ended(f"{found.state}{code}{by}{where}", found.innocent, found.exit_code, found.late)

    def last_words(self, job_id: str) -> str:
        return last_words(log_path(self._logs, self._name, job_id))

    def about(self) -> str:
        interface = self._runner.interface or "the one of the default route (runner.interface)"
        return f"{self._script('tcp://SCHEDULER')}\nnetwork interface: {interface}\noutput: {self._logs}"

    def cancel(self, job_ids: Sequence[str]) -> None:
        with suppress(SlurmError):
            slurm.cancel(job_ids)

    def close(self) -> None:
        # By name, and so also one that was submitted while this process was interrupted.
        with suppress(SlurmError):
            slurm.cancel_named(self._name)

    def _script(self, scheduler: str) -> str:
        return job_script(
            self._runner,
            scheduler=scheduler,
            job_name=self._name,
            logs=self._logs,
            environment=self._environment,
        )


def _held(job: slurm.QueuedJob) -> Held:
    if job.state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"):
        return Held(job.id, "pending", job.reason, hopeless(job.reason) or "")
    return Held(job.id, "ending" if job.state == "COMPLETING" else "running")
