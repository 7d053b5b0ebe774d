"""The commands of hyperparameter sweeps, started as a user starts them."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sweepflow.storage.store import Store
from tests.prefect_server import NO_SERVER, Machine
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]

DIGITS = ("workload=digits_mlp", "model.widths=[8]", "epochs=2")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_design_is_written_run_and_compared(office: Machine, typed: Callable[..., tuple[int, str]]) -> None:
    here = office.directory
    drawn = [*DIGITS, "learning_rate=tag(log,interval(1e-3,1e-1))", "-n", "4"]
    code, text = typed(here, "samples", *drawn, "-o", "my samples.csv")
    assert code == 0 and "4 configurations in my samples.csv" in text
    design = rows_of(here / "my samples.csv")
    assert [*design[0]] == ["learning_rate"] and len(design) == 4
    assert not (here / "sweepflow-data").exists(), "nothing was run"

    table = [*DIGITS, "--from", "my samples.csv", "name=table"]
    code, text = typed(here, "sweep", "--dry-run", *table)
    assert code == 0 and "4 trials in 1 group; 0 are in the store, 4 to run in 1 batch" in text
    code, text = office.run("sweepflow", "sweep", *table)
    assert code == 0, text
    runs = rows_of(here / "sweepflow-data/sweeps/table/runs.csv")
    assert [float(row["learning_rate"]) for row in runs] == [float(row["learning_rate"]) for row in design]

    code, text = office.run("sweepflow", "sweep", *drawn, "name=drawn", PREFECT_API_URL=NO_SERVER)
    assert code == 0, "all of it is in the store, and needs no server"
    assert f"best:    {'sweepflow-data/sweeps/drawn/best.yaml'}" in text

    rate = runs[0]["learning_rate"]
    code, text = office.run("sweepflow", "train", *DIGITS, f"learning_rate={rate}", "store=alone")
    assert code == 0
    (alone,) = Store(here / "alone").records("trl")
    assert alone.id == runs[0]["id"]
    assert alone.figures["validation_loss"] == float(runs[0]["validation_loss"]), "to the last bit"

    code, text = typed(here, "compare", "table", "drawn", "-o", "both.html")
    assert code == 0 and "table" in text and "drawn" in text
    assert (here / "both.html").stat().st_size > 10_000
    code, text = typed(here, "compare", "tabel", "drawn")
    assert code == 2 and "did you mean 'table'?" in text


@pytest.mark.parametrize(
    "asked",
    [[*DIGITS, "learning_rate=0.001,0.1"], ["workload=landscape", "landscape=beale", "x=0.5,1.0"]],
    ids=["digits", "landscape"],
)
def test_the_best_configuration_is_an_experiment(asked: list[str], office: Machine) -> None:
    code, text = office.run("sweepflow", "sweep", *asked, "name=first")
    assert code == 0, text
    (office.directory / "mine/experiment").mkdir(parents=True)
    best = office.directory / "sweepflow-data/sweeps/first/best.yaml"
    (office.directory / "mine/experiment/best.yaml").write_text(best.read_text())
    code, text = office.run(
        "sweepflow", "train", "--config-dir", "mine", "+experiment=best", PREFECT_API_URL=NO_SERVER
    )
    assert code == 0, text
    assert json.loads(text)["id"] in best.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["learning_rate=tag(log,interval(0,1))"], "log_uniform"),
        (["learning_rate=interval(0.1,1)", "--samples", "0"], "at least one sample"),
        (["learning_rate=0.1", "--method", "sobel"], "did you mean 'sobol'?"),
        (["lr=0.1"], "there is no key"),
        (["workload=digits_mpl"], "did you mean 'workload=digits_mlp'?"),
        (["workload=mnist_cnn", "data.path=nowhere"], "nowhere"),
        (["learning_rate=0.1", "--from", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_input_is_one_screen_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    code, text = typed(tmp_path, "sweep", *arguments)
    assert code == 2, text
    assert words in text and text.startswith("error: ") and len(text.splitlines()) < 12


@pytest.mark.parametrize("runner", [["runner=slurm"], ["runner=dask", "runner.workers=1"]])
def test_a_batch_size_holds_for_programs_on_one_worker(
    runner: list[str], tmp_path: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    program = ["workload=command", "command=echo", "metrics=[loss]", "args.n=range(0,5)"]
    code, text = typed(tmp_path, "sweep", "--dry-run", *program, *runner, "runner.batch_size=2")
    assert code == 0 and "5 to run in 3 batches" in text, text


def test_programs_end_with_an_interrupted_sweep_and_the_same_command_goes_on(machine: Machine) -> None:
    (machine.directory / "train.py").write_text(
        "import pathlib, subprocess, sys\n"
        "n = int(sys.argv[1].split('=')[1])\n"
        "if n > 1 and not pathlib.Path('go').exists():\n"
        "    pathlib.Path(f'started {n}').touch()\n"
        "    subprocess.run([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    import signal; signal.pause()\n"
        "print(f'METRIC loss={n}')\n"
    )
    sweep = ["workload=command", "command='python train.py'", "metrics=[loss]", "args.n=0,1,2,3"]
    sweep.append("max_concurrent=2")
    running = machine.start("sweepflow", "sweep", *sweep)
    running.wait_for(lambda _: len(list(machine.directory.glob("started *"))) == 2)
    started = psutil.Process(running.process.pid).children(recursive=True)
    assert len(started) >= 3, "the programs and the embedded server"

    os.killpg(running.process.pid, signal.SIGINT)

    assert running.process.wait(PATIENCE) == 130, running.text
    _, alive = psutil.wait_procs(started, timeout=PATIENCE)
    assert not alive
    store = Store(machine.directory / "sweepflow-data")
    assert len(list(store.records("trl"))) == 2, "what had ended is kept"
    (machine.directory / "go").touch()
    code, text = machine.run("sweepflow", "sweep", *sweep)
    assert code == 0, text
    assert len(list(store.records("trl"))) == 4
