"""A SLURM cluster for tests, by hand.

eval "$(python -m tests.slurm up)"      # then sinfo, sbatch, sweepflow runner=slurm ...
python -m tests.slurm down
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

from sweepflow.errors import SweepflowError
from tests.slurm.cluster import Cluster
from tests.slurm.config import Size


def main() -> int:
    """Take a cluster up or down; the exit code."""
    usual = Path(tempfile.gettempdir()) / f"sweepflow-slurm-{os.getuid()}"
    parser = argparse.ArgumentParser("python -m tests.slurm", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster, and print the environment it needs")
    down = commands.add_parser("down", help="end a cluster, its jobs, and every process of them")
    guard = commands.add_parser("guard", help="wait for the end of standard input, then as down")
    for command in (up, down, guard):
        command.add_argument("--directory", type=Path, default=usual, help="default: %(default)s")
    for name in ("nodes", "cpus", "gpus", "memory"):
        up.add_argument(f"--{name}", type=int, default=getattr(Size(), name), help="default: %(default)s")
    given = parser.parse_args()
    cluster = Cluster(given.directory.absolute())
    try:
        if given.command == "up":
            cluster.size = Size(given.nodes, given.cpus, given.gpus, given.memory)
            cluster.up()
            for name, value in cluster.environment.items():
                print(f"export {name}={shlex.quote(value)}")
            return 0
        if given.command == "guard":
            sys.stdin.buffer.read()
        cluster.down()
    except SweepflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
