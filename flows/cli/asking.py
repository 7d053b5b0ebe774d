"""Test for commands that ask a cluster for jobs. Their flow makes the plan while the jobs start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def asks_for_jobs(command: str, overrides: Sequence[str], config_dir: Path | None) -> bool:
    """Return whether a command line has a runner whose workers take long to start.

    Raises:
        ConfigError: if the workers could never report, because no server outlives this command.
    """
    from sweepflow.compose.place import place
    from sweepflow.schema.runner import SlurmRunner

    runner, _ = place(command, overrides, config_dir)
    if not isinstance(runner, SlurmRunner):
        return False
    from sweepflow.flows.runners.check import refuse
    from sweepflow.flows.runners.checks import address
    from sweepflow.flows.runners.probe import api_url

    if (url := api_url()) is None:
        refuse([address(url, here=False)])
    return True
