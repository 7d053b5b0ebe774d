"""What a cluster on one machine is made of: its files, and what they say."""

from __future__ import annotations

import os
import pwd
import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from sweepflow.errors import ConfigError

MARK = "# A SLURM cluster for sweepflow's tests; made by `python -m tests.slurm up`, removed by `down`."
ACCOUNT = "sweeps"
"""The only account that jobs may name; without accounting SLURM itself would take any."""
QOS = "normal"
"""The only quality of service that jobs may name."""
LONGEST_PATH = 75
"""Characters of a directory: sockets lie below it, and their paths have 107 at most."""
PORTS = range(10_000, 32_000)
"""Where listening ports are taken from: below those that the system hands to outgoing connections."""


@dataclass(frozen=True)
class Size:
    """How much the cluster claims to have, whatever the machine has.

    Attributes:
        nodes: Daemons that play a node; they are called n1, n2, ...
        cpus: CPUs of a node.
        gpus: Fake GPUs of a node; they are /dev/null by other names.
        memory: Memory of a node, in MiB. Nothing holds jobs to it.
    """

    nodes: int = 3
    cpus: int = 4
    gpus: int = 1
    memory: int = 16_384

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]


@dataclass(frozen=True)
class Paths:
    """Where everything of a cluster lies: below one directory."""

    directory: Path

    @property
    def slurm_conf(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def gres_conf(self) -> Path:
        return self.directory / "gres.conf"

    @property
    def job_submit(self) -> Path:
        return self.directory / "job_submit.lua"

    @property
    def key(self) -> Path:
        return self.directory / "munge.key"

    @property
    def munge_socket(self) -> Path:
        return self.directory / "munge.socket"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def jobs(self) -> Path:
        """What jobs of `Cluster.submit` print, a file each."""
        return self.directory / "jobs"

    @property
    def gpus(self) -> Path:
        return self.directory / "dev"

    @property
    def pids(self) -> Path:
        """A file for each daemon that was started, with its process id."""
        return self.directory / "pids"

    def log(self, daemon: str) -> Path:
        return self.logs / f"{daemon}.log"

    def said(self, daemon: str) -> Path:
        """What a daemon prints; here its first errors are, too."""
        return self.logs / f"{daemon}.out"

    def job(self, job_id: int | str) -> Path:
        return self.jobs / f"{job_id}.out"


def write(paths: Paths, size: Size) -> None:
    """Write the files of a cluster into a directory that is empty or does not exist.

    Raises:
        ConfigError: where the directory's path is too long, or it holds something else.
    """
    directory = paths.directory
    if len(str(directory)) > LONGEST_PATH or not str(directory).isprintable() or '"' in str(directory):
        raise ConfigError(
            "sockets cannot lie in that directory",
            got=directory,
            allowed=f"a path of at most {LONGEST_PATH} characters, none of them a quote or a line's end",
            do="name a shorter one with --directory",
        )
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ConfigError("the directory holds something else", got=directory, do="name another one")
    directory.chmod(0o755)  # munged's and slurmd's own checks want it no wider
    for folder in (paths.state, paths.logs, paths.jobs, paths.gpus, paths.pids):
        folder.mkdir()
    for number in range(size.gpus):
        # SLURM wants character devices. A link to one does, and needs neither mknod nor its rights.
        (paths.gpus / f"gpu{number}").symlink_to("/dev/null")
    paths.key.touch(mode=0o600)
    paths.key.write_bytes(secrets.token_bytes(128))
    paths.job_submit.write_text(job_submit())
    paths.gres_conf.write_text(gres_conf(paths, size))
    paths.slurm_conf.write_text(
        slurm_conf(paths, size, free_ports(size.nodes + 1), pwd.getpwuid(os.getuid()).pw_name)
    )


def free_ports(count: int) -> list[int]:
    """Neighbouring ports of the loopback interface on which nothing listens now."""
    while True:
        first = random.SystemRandom().choice(PORTS)
        ports = list(range(first, first + count))
        if all(_free(port) for port in ports):
            return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def slurm_conf(paths: Paths, size: Size, ports: list[int], user: str) -> str:
    """The cluster's slurm.conf.

    Args:
        paths: Where its files lie.
        size: How much it claims to have.
        ports: The controller's, then one for each node, in a row.
        user: Runs the daemons, and so all jobs where that is not root.
    """
    host = socket.gethostname()
    controller, *nodes = ports
    names = f"n[1-{size.nodes}]"
    gres = f"Gres=gpu:{size.gpus} " if size.gpus else ""
    return f"""{MARK}
ClusterName=sweepflow{controller}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}

# A munge daemon of its own; a requeued job waits for as long as a credential holds, else two minutes.
AuthType=auth/munge
AuthInfo="socket={paths.munge_socket},cred_expire=15"

StateSaveLocation="{paths.state}"
SlurmdSpoolDir="{paths.directory}/spool-%n"
SlurmctldPidFile="{paths.directory}/slurmctld.pid"
SlurmdPidFile="{paths.directory}/slurmd-%n.pid"
SlurmctldLogFile="{paths.log("slurmctld")}"
SlurmdLogFile="{paths.logs}/%n.log"
MailProg=/bin/true

# Neither systemd nor cgroups nor accounting.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none

# The nodes may claim more than the machine has. 2 for ReturnToService would undo a `down` by hand.
SlurmdParameters=config_overrides
ReturnToService=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SchedulerParameters=bf_interval=5,sched_interval=5,batch_sched_delay=0
GresTypes=gpu

# As many sites have it: jobs that were lost run again, what cannot run is refused at once.
JobRequeue=1
EnforcePartLimits=ALL
JobSubmitPlugins=lua
KillWait=5

NodeName={names} NodeHostname={host} NodeAddr=127.0.0.1 Port=[{nodes[0]}-{nodes[-1]}] \
CPUs={size.cpus} RealMemory={size.memory} {gres}State=UNKNOWN
# LLN: small jobs would else all go to the first node.
PartitionName=debug Nodes={names} Default=YES DefaultTime=10 MaxTime=60 LLN=YES State=UP
PartitionName=short Nodes={names} MaxTime=1 LLN=YES State=UP
"""


def gres_conf(paths: Paths, size: Size) -> str:
    """The nodes' GPUs: all nodes have the same files, as they are the same machine."""
    if not size.gpus:
        return MARK + "\n"
    files = f"gpu[0-{size.gpus - 1}]" if size.gpus > 1 else "gpu0"
    return f"{MARK}\nNodeName=n[1-{size.nodes}] Name=gpu File={paths.gpus.name}/{files}\n"


def job_submit() -> str:
    """What a database of accounts would do: refuse those that there are not, with SLURM's own errors."""
    # The number is ESLURM_INVALID_QOS of slurm_errno.h, which Lua is not told by name.
    return f"""{MARK.replace("#", "--")}
function slurm_job_submit(job, partitions, user)
  if job.account ~= nil and job.account ~= "{ACCOUNT}" then return slurm.ESLURM_INVALID_ACCOUNT end
  if job.qos ~= nil and job.qos ~= "{QOS}" then return 2066 end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end
return slurm.SUCCESS
"""
