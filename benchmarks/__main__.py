"""Print the table of ratios: `python -m benchmarks [NAME...]`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import engine, jobs, overhead, runners, sweep, trials

BENCHMARKS: dict[str, Callable[[Path], list[tuple[str, str]]]] = {
    "expansion": lambda directory: overhead.expansion(),
    "scan": engine.engine_against_bare_scan,
    "groups": engine.grouped_against_one_by_one,
    "overhead": overhead.overhead,
    "compilations": sweep.compilations,
    "processes": sweep.against_processes,
    "workers": runners.workers_against_one,
    "slurm": runners.first_task_on_slurm,
    "checkpoints": runners.checkpoints,
    "again": runners.nothing_to_do,
    "kills": runners.cost_of_kills,
    "trials-processes": trials.against_processes,
    "trials-groups": trials.grouped_against_one_by_one,
    "trials-compilations": trials.compilations,
    "trials-many": trials.many,
    "trials-modes": trials.batched_against_sequential,
    "trials-halving": trials.halving,
    "jobs": jobs.against_hydra,
}


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all of them."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    table = Table(box=None, header_style="bold")
    table.add_column("what")
    table.add_column("measured", justify="right")
    for name in names or list(BENCHMARKS):
        with tempfile.TemporaryDirectory(prefix="sweepflow-bench-") as directory:
            for what, measured in BENCHMARKS[name](Path(directory)):
                table.add_row(what, measured)
    Console(width=100).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
