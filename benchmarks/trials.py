"""Hyperparameter sweeps against the alternatives: digits, one hidden layer of 64, 64 learning rates.

python -m benchmarks.trials one-by-one | grouped     (each side of a pair, in a process with its own flags)
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import SWEEPFLOW, seconds, surroundings
from benchmarks.overhead import server_start
from sweepflow.storage.store import Store

TRIALS = 64
RATES = ",".join(f"{rate:.6g}" for rate in np.geomspace(1e-4, 1e-1, TRIALS))
DIGITS = ("workload=digits_mlp", "epochs=10", "batch_size=128")
PROCESSES = 6
"""Number of trials that are also run in a process each."""
REPEATS = 5
AS_IT_COMES = "--xla_cpu_multi_thread_eigen=true --xla_force_host_platform_device_count=1"
COUNTED = """
import sys, jax
log = open(sys.argv.pop(1), "a", buffering=1)
jax.monitoring.register_event_listener(
    lambda event, **_: event.endswith("cache_misses") and print("compiled", file=log))
from sweepflow.flows.cli import main
main()
"""


def against_processes(directory: Path) -> list[tuple[str, str]]:
    """Compare configurations per second: the whole command of a sweep, and one process for each trial."""
    environment = surroundings(directory / "sweep")
    server_start(directory / "sweep")  # makes the database, which is done once
    store = f"store={directory / 'sweep' / 'store'}"
    whole = seconds([SWEEPFLOW, "sweep", store, *DIGITS, f"learning_rate={RATES}"], environment)
    alone = []
    for number, rate in enumerate(RATES.split(",")[:: TRIALS // PROCESSES][:PROCESSES]):
        own = directory / f"process{number}"
        command = [SWEEPFLOW, "train", f"store={own / 'store'}", *DIGITS, f"learning_rate={rate}"]
        alone.append(seconds(command, surroundings(own, JAX_ENABLE_COMPILATION_CACHE="false")))
    each = statistics.fmean(alone)
    inside = sum(sum(r.seconds.values()) for r in Store(directory / "sweep" / "store").records("trl"))
    return [
        (f"sweep of {TRIALS} learning rates, whole command, cold", f"{whole:.1f} s"),
        ("  of that, compiling and running", f"{inside:.1f} s"),
        (f"one process a trial (mean of {PROCESSES})", f"{each:.1f} s"),
        (
            "  ratio of configurations a second, whole command (wanted: at least 50)",
            f"{TRIALS * each / whole:.0f}",
        ),
        ("  the same, start of Python, Prefect and report apart", f"{TRIALS * each / inside:.0f}"),
    ]


def grouped_against_one_by_one(directory: Path) -> list[tuple[str, str]]:
    """Compare a group run by the engine with its trials run one by one in plain JAX, compiled once."""
    rates: dict[str, list[float]] = {"one-by-one": [], "grouped": []}
    for _ in range(3):
        for side, found in rates.items():
            flags = {"XLA_FLAGS": AS_IT_COMES} if side == "one-by-one" else {}
            command = [sys.executable, "-m", "benchmarks.trials", side]
            environment = surroundings(directory / "pair", **flags)
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found.append(float(output.stdout.splitlines()[-1]))
    alone, together = (statistics.median(found) for found in rates.values())
    return [
        (f"trials a second, {TRIALS} learning rates one by one in one process", f"{alone:.1f}"),
        ("trials a second, the same as one group", f"{together:.1f}"),
        ("  ratio (wanted: at least 2)", f"{together / alone:.2f}"),
    ]


def compilations(directory: Path) -> list[tuple[str, str]]:
    """Count the programs compiled by a Sobol sweep of 256 in 8 groups, uninterrupted and killed midway."""
    drawn = ["optimizer=choice(sgd,adam,rmsprop,lion)", "batch_size=choice(64,128)"]
    arguments = [
        "sweep",
        *DIGITS[:2],
        *drawn,
        "learning_rate=tag(log,interval(1e-4,1e-1))",
        "--samples",
        "256",
    ]
    counts = []
    for name in ("whole", "killed"):
        own = directory / name
        own.mkdir(parents=True)
        log = own / "compiled.txt"
        command = [sys.executable, "-c", COUNTED, str(log), *arguments, f"store={own / 'store'}"]
        if name == "killed":
            _kill_when(command, surroundings(own), lambda own=own: len(_records(own / "store")) > 64)
        seconds(command, surroundings(own))
        counts.append(len(log.read_text().splitlines()))
    return [
        ("programs compiled by a sweep of 256 in 8 groups (wanted: 8)", str(counts[0])),
        ("  the same, killed after some batches and started again (wanted: below 16)", str(counts[1])),
    ]


def many(directory: Path) -> list[tuple[str, str]]:
    """Measure 10,000 trials of a 2-parameter landscape, new and from the store.

    Measure also the growth of Prefect's database.
    """
    environment = surroundings(directory)
    server_start(directory)
    before = _database(directory)
    space = ["x=interval(-2,2)", "learning_rate=tag(log,interval(1e-4,1))"]
    command = [
        SWEEPFLOW,
        "sweep",
        f"store={directory / 'store'}",
        "workload=landscape",
        *space,
        "-n",
        "10000",
    ]
    cold, again = seconds(command, environment), seconds(command, environment)
    return [
        ("10,000 trials of a landscape, whole command (wanted: at most 60 s)", f"{cold:.1f} s"),
        ("  again, all from the store (wanted: at most 15 s)", f"{again:.1f} s"),
        (
            "  Prefect's database grew by (wanted: less than 2 MB)",
            f"{(_database(directory) - before) / 1e6:.2f} MB",
        ),
    ]


def batched_against_sequential(directory: Path) -> list[tuple[str, str]]:
    """Measure the largest difference of a validation metric between the two modes."""
    found = []
    for mode in ("batched", "sequential"):
        store = directory / mode
        command = [SWEEPFLOW, "sweep", f"store={store}", *DIGITS, f"learning_rate={RATES}", "--mode", mode]
        seconds(command, surroundings(directory))
        found.append({r.id: r.figures for r in Store(store).records("trl")})
    apart = [
        abs(found[0][i][name] - found[1][i][name])
        for i in found[0]
        for name in ("validation_loss", "validation_accuracy")
    ]
    return [
        (
            f"worst difference of a validation metric, batched and sequential, {TRIALS} trials",
            f"{max(apart):.2g}",
        )
    ]


def halving(directory: Path) -> list[tuple[str, str]]:
    """Compare successive halving with running every trial to its end, 30 epochs."""
    spent, best = [], []
    for options in ([], ["--halving", "3"]):
        store = directory / f"store{len(options)}"
        sweep = [f"store={store}", "workload=digits_mlp", "epochs=30", f"learning_rate={RATES}"]
        seconds([SWEEPFLOW, "sweep", *sweep, *options], surroundings(directory))
        records = list(Store(store).records("trl"))
        spent.append(sum(record.seconds["run"] for record in records))
        ended = [r for r in records if r.figures.get("epochs_run") == 30 and r.status == "ok"]
        best.append(min(r.figures["validation_loss"] for r in ended))
    return [
        ("seconds running, every trial to its end, 30 epochs", f"{spent[0]:.2f} s"),
        ("seconds running, --halving 3", f"{spent[1]:.2f} s"),
        ("  ratio", f"{spent[0] / spent[1]:.1f}"),
        ("best validation loss found, full and halved", f"{best[0]:.4f} and {best[1]:.4f}"),
    ]


def _records(store: Path) -> list[Path]:
    return list(store.glob("trials/??/*.json"))


def _database(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "prefect").glob("prefect.db*"))


def _kill_when(command: list[str], environment: dict[str, str], reached: Any) -> None:
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not reached():
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _trials() -> tuple[Any, Any]:
    from sweepflow.trials.prepare import SweepOptions, prepare_trials

    prepared = prepare_trials(
        [f"store={tempfile.mkdtemp()}", *DIGITS, f"learning_rate={RATES}"], SweepOptions()
    )
    return prepared.plan.workload.run, prepared


def _grouped() -> float:
    from sweepflow.engine.run import run_batch

    workload, prepared = _trials()

    def run() -> float:
        return sum(
            record.seconds["run"]
            for batch in prepared.plan.batches
            for record in run_batch(
                workload, batch.trials, prepared.store, size=batch.size, datasets=batch.datasets
            )
        )

    run()
    return TRIALS / min(run() for _ in range(REPEATS))


def _one_by_one() -> float:
    import jax

    from sweepflow.fingerprint import key_data

    workload, prepared = _trials()
    trials = [trial for batch in prepared.plan.batches for trial in batch.trials]
    inputs = workload.inputs(trials, 1, prepared.store)
    lane = workload.lane(trials[0].config)
    shared = jax.device_put(dict(inputs.shared))

    @jax.jit
    def trial(own: Any, traced: Any, key: Any) -> Any:
        return lane(shared, own, traced, jax.random.wrap_key_data(key), np.int32(0))

    def run() -> float:
        started = time.perf_counter()
        for index, one in enumerate(trials):
            own = {name: value[index] for name, value in inputs.own.items()}
            numbers = {name: np.float64(value) for name, value in one.traced.items()}
            jax.device_get(trial(own, numbers, key_data(one.id, one.seed)))
        return time.perf_counter() - started

    run()
    return TRIALS / min(run() for _ in range(REPEATS))


if __name__ == "__main__":
    print(json.dumps({"one-by-one": _one_by_one, "grouped": _grouped}[sys.argv[1]]()))
