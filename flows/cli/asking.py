"""Whether a command asks a cluster for jobs: then its flow makes the plan, while they start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def asks_for_jobs(command: str, overrides: Sequence[str], config_dir: Path | None) -> bool:
    """Whether a command line has a runner whose workers take long to come.

    Raises:
        ConfigError: where they could never report, since there is no server that outlives this command.
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
