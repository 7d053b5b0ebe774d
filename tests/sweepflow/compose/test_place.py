"""Where a sweep runs, read from a command line before the rest of it is composed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepflow.compose import compose_llc, compose_trials
from sweepflow.compose.place import place
from sweepflow.schema.runner import DaskRunner, LocalRunner, SlurmRunner


@pytest.mark.parametrize(
    "overrides",
    [
        ["runner=local", "store=here"],
        ["runner=dask", "runner.workers=3", "store='a b/c'"],
        ["model=small,base", "target.seed=1,2", "runner=slurm", "runner.partition=debug", "runner.jobs=4"],
        ["runner=slurm", "runner.directives=[--exclusive]", "store=/tmp/s", "sampler=glob(*)"],
    ],
)
def test_it_is_what_the_whole_command_line_says(overrides: list[str]) -> None:
    config = compose_llc(overrides)[0]
    assert place("llc", overrides) == (config.runner, Path(config.store))


@pytest.mark.parametrize("overrides", [[], ["store=here", "model=base"]])
def test_where_nothing_names_a_runner_it_is_this_process(overrides: list[str]) -> None:
    assert place("llc", overrides) == (compose_llc(overrides)[0].runner, None) == (LocalRunner(), None)


def test_of_a_hyperparameter_sweep_too() -> None:
    overrides = ["workload=digits_mlp", "space=optimizer", "runner=dask", "learning_rate=interval(0.1,1)"]
    settings = compose_trials(overrides).settings
    assert place("sweep", overrides) == (settings.runner, Path(settings.store))
    assert isinstance(settings.runner, DaskRunner)


def test_an_experiment_may_say_it(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "big.yaml").write_text(
        "# @package _global_\nrunner:\n  kind: slurm\n  partition: gpu\n"
    )
    assert place("llc", ["+experiment=big"], tmp_path) == (
        SlurmRunner(partition="gpu"),
        Path(compose_llc([])[0].store),
    )


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPFLOW_STORE", "/a/b c")
    assert place("llc", ["runner=local"]) == (LocalRunner(), Path("/a/b c"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["runner=nothing"],
        ["runner.workers=-1"],
        ["runner=slurm", "runner.wall=1"],
        ["runner=dask", "runner.workers=["],
        ["+experiment=nothing"],
    ],
)
def test_what_is_wrong_is_left_to_the_whole_composition(overrides: list[str]) -> None:
    assert place("llc", overrides) == (None, None)
