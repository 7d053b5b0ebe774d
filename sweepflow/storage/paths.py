"""The only class that knows the layout of a store directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweepflow.schema.name import check_name

FOLDERS = {"tgt": "targets", "est": "estimates", "trl": "trials", "job": "jobs"}


@dataclass(frozen=True)
class StorePaths:
    """Layout of a store:

    targets/ab/tgt_abcdef0123456789.json          record
    targets/ab/tgt_abcdef0123456789.01234567.safetensors
                                                  its arrays, if any, named by their own hash too
    estimates/..., trials/..., jobs/...           likewise
    trials/ab/trl_abcdef0123456789.log            output of a trial that was a process
    trials/ab/trl_abcdef0123456789/               files that it has written
    checkpoints/ab/est_abcdef0123456789.safetensors
                                                  checkpoint of a trial that has no record yet
    leases/ab/trl_abcdef0123456789                owner of a running trial: a link to the name of a flow run
    reruns/FLOW_RUN_ID.json                       trials to run again, and digests of their old records
    sweeps/NAME/                                  manifest.json, results.csv, results.parquet, report.html
    sweeps/NAME/jobs/CALL/0, 1, ...               files that jobs of a Python function leave, if any
    runs/FLOW_RUN_ID.json, .pem                   place of a flow run and its sign of life; its workers' key
    calls/FLOW_RUN_ID/                            Python functions' jobs on their way to workers and back
    logs/                                         output of cluster jobs
    """

    root: Path

    def folder(self, prefix: str) -> Path:
        """The folder of all records with this id prefix."""
        return self.root / FOLDERS[prefix]

    def record(self, trial_id: str) -> Path:
        """The JSON of one record; two hex digits of fan-out keep directories small."""
        prefix, digits = trial_id.split("_", 1)
        return self.folder(prefix) / digits[:2] / f"{trial_id}.json"

    def arrays(self, trial_id: str, sha256: str) -> Path:
        """The arrays beside a record.

        The file name contains the hash of the arrays. So with two writers of one trial, the remaining record
        has its own arrays.
        """
        return self.record(trial_id).with_name(f"{trial_id}.{sha256[:8]}.safetensors")

    def log(self, trial_id: str) -> Path:
        """The output of a trial that was a process, beside its record."""
        return self.record(trial_id).with_suffix(".log")

    def trial_folder(self, trial_id: str) -> Path:
        """The own folder of a trial that is a process, beside its record."""
        return self.record(trial_id).with_suffix("")

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.root / "checkpoints"

    def checkpoint(self, trial_id: str) -> Path:
        """The checkpoint of an unfinished trial."""
        return self.checkpoints / trial_id.split("_", 1)[1][:2] / f"{trial_id}.safetensors"

    @property
    def leases(self) -> Path:
        """The folder of all leases."""
        return self.root / "leases"

    def lease(self, trial_id: str) -> Path:
        """The lease of a trial: its link says who runs the trial now."""
        return self.leases / trial_id.split("_", 1)[1][:2] / trial_id

    @property
    def reruns(self) -> Path:
        """The folder of all requests for trials to be run again."""
        return self.root / "reruns"

    def rerun(self, flow_run_id: str) -> Path:
        """The trials that one flow run asks to run again."""
        return self.reruns / f"{flow_run_id}.json"

    def sweep(self, name: str) -> Path:
        """The folder of one sweep's manifest, tables and report.

        Raises:
            ConfigError: for a text that cannot be a sweep's name.
        """
        return self.root / "sweeps" / check_name(name, "name")

    def jobs(self, name: str, call: str) -> Path:
        """The folder of the files that Python functions leave in one call of a sweep, by job number."""
        return self.sweep(name) / "jobs" / call

    def run(self, flow_run_id: str) -> Path:
        """The known facts about one flow run that works on this store."""
        return self.root / "runs" / f"{flow_run_id}.json"

    def run_key(self, flow_run_id: str) -> Path:
        """The key that the workers of a flow run use to communicate with it, while it runs."""
        return self.root / "runs" / f"{flow_run_id}.pem"

    def calls(self, flow_run_id: str) -> Path:
        """The files that a flow run sends to its workers, and that they send back, while it runs."""
        return self.root / "calls" / flow_run_id

    @property
    def logs(self) -> Path:
        """Output of cluster jobs."""
        return self.root / "logs"
