"""The daemons of a cluster: munged, slurmctld, and a slurmd for each node."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

import psutil

from sweepflow.errors import SweepflowError
from tests.slurm import processes
from tests.slurm.config import Paths

STOP_SECONDS = 5.0


class ClusterError(SweepflowError):
    """The test cluster cannot be used."""


@dataclass
class Daemons:
    """The daemons of the cluster below a directory, started by this process or by another."""

    paths: Paths
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False, repr=False)

    def start_munge(self) -> None:
        """Start munged, and wait for its socket: the others ask for credentials as they start."""
        paths = self.paths
        files = {
            "key-file": paths.key,
            "socket": paths.munge_socket,
            "pid-file": paths.directory / "munged.pid",
            "log-file": paths.log("munged"),
            "seed-file": paths.directory / "munge.seed",
        }
        options = [f"--{name}={path}" for name, path in files.items()]
        # By force: it wants directories above that everybody may enter, and only this user has to.
        self.start("munged", ["munged", "--foreground", "--force", *options])
        processes.wait_for(lambda: self.none_ended() and paths.munge_socket.exists(), "munge's socket")

    def start(self, daemon: str, command: list[str]) -> None:
        """Start a daemon that is not up, and write its process id into the file of its name."""
        if daemon in self.alive():
            return
        program = processes.program(command[0])
        assert program is not None, command
        if (before := self._started.pop(daemon, None)) is not None:
            before.wait()
        self._started[daemon] = processes.start(
            [program, *command[1:]],
            pid_file=self.paths.pids / daemon,
            said=self.paths.said(daemon),
            environment=environment(self.paths),
            directory=self.paths.directory,
        )

    def alive(self) -> dict[str, psutil.Process]:
        """The daemons that are up, by the names of the files with their ids."""
        if not self.paths.pids.is_dir():
            return {}
        found = {
            file.name: processes.daemon(file, self.paths.slurm_conf)
            for file in sorted(self.paths.pids.iterdir())
        }
        return {name: process for name, process in found.items() if process is not None}

    def none_ended(self) -> bool:
        """True, as long as no daemon that this process has started has failed.

        Raises:
            ClusterError: with the exit code.
        """
        for name, process in self._started.items():
            if process.poll():
                raise ClusterError(f"{name}'s daemon ended", got=f"exit code {process.returncode}")
        return True

    def stop(self, name: str) -> None:
        """End one daemon and its children; without it, nothing."""
        if daemon := self.alive().get(name):
            processes.end([daemon, *_children(daemon)], STOP_SECONDS)

    def end(self, cluster: str) -> None:
        """End all of them, and before munged whatever runs in the cluster's jobs."""
        # The controller first: it would start other jobs in the place of those that end.
        for name in ["slurmctld", *(name for name in self.alive() if name not in ("slurmctld", "munged"))]:
            self.stop(name)
        # Twice: one of them may have started another meanwhile.
        for _ in range(2):
            processes.end(processes.of_jobs(cluster, self.paths.directory), seconds=0)
        self.stop("munged")

    def reap(self) -> None:
        """Take the exit codes of those that this process has started, after their end."""
        for process in self._started.values():
            process.wait()
        self._started.clear()

    def last_words(self) -> str:
        """The end of what each has printed."""
        words = []
        for file in sorted(self.paths.logs.glob("*.out")):
            lines = [line for line in file.read_text(errors="replace").splitlines() if "pmi" not in line]
            words += [f"{file.stem}: {line}" for line in lines[-3:]]
        return "\n".join(words)


def variables(paths: Paths) -> dict[str, str]:
    """What SLURM's commands need in their environment to talk to a cluster."""
    return {"SLURM_CONF": str(paths.slurm_conf)}


def environment(paths: Paths) -> dict[str, str]:
    """This process's environment for that cluster, without a job's that it may be in or another cluster's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))
    }
    return {**kept, **variables(paths)}


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
