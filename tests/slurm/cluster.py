"""A real SLURM on one machine: munge, slurmctld and a few slurmd on loopback, without systemd.

Everything of it lies below one directory, and nothing outside is used: two clusters can be up at once,
beside a SLURM or a munge that the machine has. Root's cluster runs as root, anybody else's as that user.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.slurm import processes
from tests.slurm.config import MARK, Paths, Size, write
from tests.slurm.daemons import ClusterError, Daemons, environment, variables
from tests.slurm.processes import wait_for

ROOT = Path(__file__).parent.parent.parent
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
COMMAND_SECONDS = 60.0
"""SLURM's commands ask a controller that is away again for some 10 s."""


@dataclass(frozen=True)
class Job:
    """A row of squeue.

    Attributes:
        state: SLURM's long form: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, ...
        reason: Why it waits or ended, such as Resources, BeginTime, NonZeroExitCode; the word None without.
        node: Where it runs or ran; empty while it waits.
    """

    id: int
    name: str
    state: str
    reason: str
    node: str
    partition: str


def lacking() -> str | None:
    """Why there can be no cluster on this machine, with the remedy, in one line; None where there can."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not processes.program(name)]
    if not missing:
        return None
    return f"no {', '.join(missing)}: apt-get install --no-install-recommends {PACKAGES}"


@dataclass
class Cluster:
    """A cluster below a directory, up or not.

    Args:
        directory: Of everything of it; short, as sockets lie there. Made by `up`, removed by `down`.
        size: How much it claims to have; of no account where it is up already.
        guarded: A process waits for the end of this one, however it ends, and takes the cluster down then.
    """

    directory: Path
    size: Size = field(default_factory=Size)
    guarded: bool = False
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _daemons: Daemons = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._daemons = Daemons(Paths(self.directory))

    @property
    def paths(self) -> Paths:
        return Paths(self.directory)

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need in their environment to talk to this cluster."""
        return variables(self.paths)

    @property
    def name(self) -> str:
        """ClusterName, which no other cluster of this machine has."""
        (line,) = [
            line for line in self.paths.slurm_conf.read_text().splitlines() if line.startswith("ClusterName=")
        ]
        return line.removeprefix("ClusterName=")

    # Up and down

    def up(self) -> Cluster:
        """Start every daemon and wait until all nodes are idle; about a second.

        Raises:
            ClusterError: where programs are lacking, a cluster is up there, or this one does not come up.
        """
        if reason := lacking():
            raise ClusterError("there is no SLURM on this machine", do=reason)
        if self._daemons.alive():
            raise ClusterError(
                "a cluster is up in that directory",
                got=self.directory,
                do=f"end it with: python -m tests.slurm down --directory '{self.directory}'",
            )
        self.down()  # what a machine that went down has left there
        write(self.paths, self.size)
        if self.guarded:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "tests.slurm", "guard", "--directory", str(self.directory)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        try:
            self._daemons.start_munge()
            self._daemons.start("slurmctld", ["slurmctld", "-D"])
            for node in self.size.names:
                self._daemons.start(node, ["slurmd", "-D", "-N", node])
            self.idle()
        except BaseException as error:  # Ctrl-C, too, leaves nothing
            said = self._daemons.last_words()
            self.down()
            if isinstance(error, (ClusterError, TimeoutError, OSError)):
                raise ClusterError("the cluster does not come up", got=f"{error}\n{said}") from error
            raise
        return self

    def down(self) -> None:
        """End the daemons and whatever runs in jobs, and remove the directory. Twice does no harm."""
        if self.paths.slurm_conf.exists():
            if not self.paths.slurm_conf.read_text().startswith(MARK):
                raise ClusterError("that SLURM is none of the tests'", got=self.paths.slurm_conf)
            self._daemons.end(self.name)
            shutil.rmtree(self.directory, ignore_errors=True)
        self._daemons.reap()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def idle(self) -> None:
        """Wait until every node is up and no job is on any.

        Raises:
            TimeoutError: with the nodes' states.
        """
        wait_for(self._busy, "all nodes idle", until=lambda busy: not busy)

    # Jobs

    def submit(self, command: str, *options: str) -> int:
        """Run a shell command as a batch job; `output` gives what it prints.

        Args:
            command: For /bin/sh, with this process's environment.
            options: Of sbatch, such as "--gres=gpu:1".
        """
        output = f"--output={self.paths.job('%j')}"
        return int(self.command("sbatch", "--parsable", output, *options, f"--wrap={command}"))

    def output(self, job_id: int) -> str:
        """What a job of `submit` has printed so far."""
        path = self.paths.job(job_id)
        return path.read_text() if path.exists() else ""

    def squeue(self, *, ended: bool = False) -> list[Job]:
        """Jobs that wait or run, in order of their ids; and those that ended minutes ago where asked for."""
        states = "--states=all" if ended else "--states=PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING"
        text = self.command("squeue", "--noheader", "--sort=i", states, "--format=%i|%T|%r|%N|%P|%j")
        jobs = []
        for line in text.splitlines():
            job_id, state, reason, node, partition, name = line.split("|", 5)
            jobs.append(Job(int(job_id), name, state, reason, node, partition))
        return jobs

    def job(self, job_id: int) -> Job:
        """One job, which may have ended some minutes ago."""
        (found,) = [job for job in self.squeue(ended=True) if job.id == job_id]
        return found

    def reaches(self, job_id: int, state: str) -> Job:
        """Wait until a job is in a state.

        Raises:
            TimeoutError: where it is not in time, with the state it is in.
        """
        return wait_for(lambda: self.job(job_id), state, until=lambda job: job.state == state)

    def cancel(self, *job_ids: int) -> None:
        """`scancel`: TERM to the steps, and after KillWait (5 s) KILL."""
        self.command("scancel", *map(str, job_ids))

    def requeue(self, job_id: int) -> None:
        """`scontrol requeue`: end the job where it runs and put it back into the queue."""
        self.command("scontrol", "requeue", str(job_id))

    def pids_of(self, job_id: int, containing: str = "") -> list[int]:
        """The processes of a running job, the oldest first; the batch script's shell is one of them.

        Args:
            job_id: A job of this cluster.
            containing: Only those whose command line has this in it.
        """
        found = processes.of_jobs(self.name, self.directory, job_id)
        found.sort(key=psutil.Process.create_time)
        return [process.pid for process in found if containing in _command_line(process)]

    def clear(self) -> None:
        """End every job, and wait until every node is idle again: for the next test."""
        if "slurmctld" not in self._daemons.alive():
            self.start_controller()
        for node in self.size.names:
            if any(word in self.node_state(node) for word in ("down", "drain")):
                self.set_node(node, "resume")
        if jobs := self.squeue():
            self.cancel(*(job.id for job in jobs))
        self.idle()

    # Nodes and the controller

    def set_node(self, node: str, state: str, reason: str = "a test") -> None:
        """`scontrol update`: "down" ends or requeues the node's jobs, "resume" takes it back."""
        self.command("scontrol", "update", f"NodeName={node}", f"State={state}", f"Reason={reason}")

    def node_state(self, node: str) -> str:
        """SLURM's long form, such as idle, mixed, allocated, down, draining."""
        return self.command("sinfo", "--noheader", f"--nodes={node}", "--partition=debug", "--format=%T")

    def stop_controller(self) -> None:
        """End slurmctld, as for its upgrade: jobs run on, and commands fail after some 10 s."""
        self._daemons.stop("slurmctld")

    def start_controller(self) -> None:
        """Start slurmctld again, with the queue it had, and wait until it answers."""
        self._daemons.start("slurmctld", ["slurmctld", "-D"])
        wait_for(lambda: "is UP" in (self._try("scontrol", "ping") or ""), "slurmctld answers")

    def command(self, *command: str) -> str:
        """What one of SLURM's commands prints about this cluster.

        Raises:
            ClusterError: where it fails, with what it said.
        """
        done = self._run(command)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} failed", got=done.stderr.strip() or done.stdout.strip())
        return done.stdout.strip()

    def _try(self, *command: str) -> str | None:
        done = self._run(command)
        return None if done.returncode else done.stdout.strip()

    def _run(self, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment(self.paths),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def _busy(self) -> list[str]:
        """The nodes that are not idle, each with its state."""
        self._daemons.none_ended()
        known = self._try("sinfo", "--noheader", "--Node", "--partition=debug", "--format=%N %T")
        return [line for line in known.splitlines() if not line.endswith(" idle")] if known else ["slurmctld"]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
