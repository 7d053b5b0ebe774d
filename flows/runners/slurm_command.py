"""Calls of SLURM's commands, and their messages if they fail.

No command goes through a shell, and every call has a timeout.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from sweepflow.errors import SweepflowError

WAIT = "try again when `scontrol ping` says that the controller is UP"
COMMAND_SECONDS = 60.0
"""Timeout of a command. If the controller is away, SLURM's commands ask it again for about 10 s before they
fail."""

PASSING = (
    "unable to contact slurm controller",
    "communication connection failure",
    "controller in standby mode",
    "temporarily un",  # able to accept job; available
    "timed out",
    "did not answer",
    "connection refused",
    "connection reset",
    "no route to host",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
)
"""Parts of SLURM's messages, in lower case, for requests that SLURM may accept a minute later."""


class SlurmError(SweepflowError):
    """One of SLURM's commands failed, does not exist, or did not answer in time."""

    exit_code = 2

    @property
    def may_pass(self) -> bool:
        """True if the same request may be accepted later: SLURM's controller is away or busy."""
        text = str(self.got).lower()
        return any(words in text for words in PASSING)


class SubmitError(SlurmError):
    """SLURM does not accept a job."""


def run(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of SLURM's commands.

    Raises:
        SlurmError: if the command does not exist, or does not end.
    """
    try:
        return subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(text),
            timeout=COMMAND_SECONDS,
            start_new_session=True,  # Ctrl-C is not for scancel
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmError(
            f"there is no {command[0]} on this machine",
            got=f"PATH={os.environ.get('PATH', '')}",
            allowed="a machine from which jobs are submitted, such as the cluster's login node",
            do="start sweepflow there; some sites need: module load slurm",
        ) from error
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be started", got=error) from error
    except subprocess.TimeoutExpired as error:
        kind = SubmitError if command[0] == "sbatch" else SlurmError
        raise kind(
            f"{command[0]} did not end", got=f"{' '.join(command)} did not answer in {COMMAND_SECONDS:g} s"
        ) from error


def output_of(command: Sequence[str]) -> str:
    """Return the output of one of SLURM's commands.

    Raises:
        SlurmError: as from `run`, and also if the command fails.
    """
    done = run(command)
    if done.returncode:
        raise SlurmError(f"{command[0]} failed", got=said(done), do=WAIT)
    return done.stdout


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a command that failed, on one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return (
        "; ".join(re.sub(r"^\w+: (error: )?", "", line) for line in lines) or f"exit code {done.returncode}"
    )


OVERRIDING = {
    "SBATCH_PARTITION": r"-p |--partition",
    "SBATCH_ACCOUNT": r"-A |--account",
    "SBATCH_QOS": r"-q |--qos",
    "SBATCH_TIMELIMIT": r"-t |--time",
    "SBATCH_CONSTRAINT": r"-C |--constraint",
    "SBATCH_GRES": r"--gres",
    "SBATCH_MEM_PER_NODE": r"--mem\b",
    "SBATCH_JOB_NAME": r"-J |--job-name",
    "SBATCH_OUTPUT": r"-o |--output",
    "SBATCH_ERROR": r"-o |--output",
    "SBATCH_OPEN_MODE": r"--open-mode",
}
"""Environment variables that take precedence over a script's directives, and the directives that are to take
precedence instead."""


def _environment(script: str | None) -> dict[str, str]:
    """Return this process's environment without variables that change the input or output of the commands."""
    dropped = {name for name in os.environ if name.startswith(("SQUEUE_", "SINFO_", "SCANCEL_"))}
    for name, directive in OVERRIDING.items():
        if script and re.search(rf"^#SBATCH ({directive})", script, re.MULTILINE):
            dropped.add(name)
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "SLURM_TIME_FORMAT": "standard"}
