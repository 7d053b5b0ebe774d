"""Runners: walltimes as SLURM writes them, workers of a job, and what is refused in which words."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sweepflow.compose import compose_llc
from sweepflow.errors import ConfigError
from sweepflow.schema.runner import DaskRunner, LocalRunner, RunnerConfig, SlurmRunner

RUNNER: Any = TypeAdapter(RunnerConfig)
SECONDS = st.integers(min_value=60, max_value=30 * 24 * 3600)


@given(SECONDS)
def test_a_walltime_means_the_same_however_it_is_written(seconds: int) -> None:
    minutes, left = divmod(seconds, 60)
    hours, days = minutes // 60, minutes // 60 // 24
    written = {
        f"{minutes}:{left}": seconds,
        f"{hours}:{minutes % 60}:{left}": seconds,
        f"{hours}:{minutes % 60:02}:{left:02}": seconds,
        f"{days}-{hours % 24}:{minutes % 60}:{left}": seconds,
        f"{days}-{hours % 24:02}:{minutes % 60:02}": seconds - left,
        f"{minutes}": seconds - left,
    }
    if hours:
        written[f"{days}-{hours % 24}"] = hours * 3600
    for walltime, expected in written.items():
        assert SlurmRunner(walltime=walltime).walltime_seconds == expected, walltime


@given(SECONDS, st.none() | st.floats(min_value=0.001, max_value=0.5))
def test_a_worker_leaves_before_the_walltime_and_not_at_once(seconds: int, share: float | None) -> None:
    leave = None if share is None else share * seconds
    runner = SlurmRunner(walltime=f"{seconds // 60}:{seconds % 60}", leave_seconds=leave)
    assert 0.5 * seconds <= runner.working_seconds < seconds
    left = seconds - runner.working_seconds
    assert left == pytest.approx(min(60.0, 0.1 * seconds) if leave is None else leave)


def test_a_worker_that_would_leave_at_once_is_refused() -> None:
    with pytest.raises(ValidationError, match="at most half of walltime"):
        SlurmRunner(walltime="10", leave_seconds=301)


@pytest.mark.parametrize(
    ("given", "gpus", "workers"),
    [
        ({}, 0, 1),
        ({"cores": 4}, 0, 4),
        ({"cores": 4, "gpus": 2}, 2, 2),
        ({"cores": 4, "gres": "gpu:a100:2"}, 2, 2),
        ({"cores": 4, "gres": "gpu:3"}, 3, 3),
        ({"cores": 4, "gres": "gpu"}, 1, 1),
        ({"cores": 4, "gres": "gpu:a100"}, 1, 1),
        ({"cores": 4, "gres": "tmpdisk:10"}, 0, 4),
        ({"cores": 4, "gres": "gpu:a100:2,nvme:100"}, 2, 2),
        ({"cores": 4, "gres": "nvme:1,gpu:2(S:0-1)"}, 2, 2),
    ],
)
def test_one_worker_a_gpu_or_a_core(given: dict[str, Any], gpus: int, workers: int) -> None:
    runner = SlurmRunner(**given)
    assert (runner.gpus_each, runner.workers_each) == (gpus, workers)


@pytest.mark.parametrize(
    ("given", "fewest", "most"),
    [
        ({}, 0, 1),
        ({"jobs": 7}, 0, 7),
        ({"minimum": 0, "maximum": 3}, 0, 3),
        ({"minimum": 2, "maximum": 2}, 2, 2),
    ],
)
def test_jobs_are_fixed_or_between_two_bounds(given: dict[str, Any], fewest: int, most: int) -> None:
    runner = SlurmRunner(**given)
    assert (runner.fewest_jobs, runner.most_jobs) == (fewest, most)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"walltime": "59s"}, "pattern"),
        ({"walltime": "0:59"}, "at least a minute"),
        ({"walltime": "1:2:3:4"}, "pattern"),
        ({"memory": "4"}, "pattern"),
        ({"memory": "4 apples"}, "pattern"),
        ({"partition": "two words"}, "pattern"),
        ({"account": "it's"}, "pattern"),
        ({"minimum": 1}, "given together"),
        ({"maximum": 1}, "given together"),
        ({"minimum": 2, "maximum": 1}, "minimum is at most maximum"),
        ({"gpus": 1, "gres": "gpu:1"}, "gpus or gres, not both"),
        ({"gpus": -1}, "greater than or equal to 0"),
        ({"cores": 0}, "greater than 0"),
        ({"directives": ("exclusive",)}, "behind #SBATCH"),
        ({"directives": ("--a\nrm",)}, "behind #SBATCH"),
        ({"python": "'/a path/python"}, "one line of shell"),
        ({"python": ""}, "one line of shell"),
        ({"python": "python\nrm"}, "one line of shell"),
    ],
    ids=str,
)
def test_what_slurm_could_not_read_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SlurmRunner(**given)


@pytest.mark.parametrize(
    "runner", [LocalRunner(workers=3), DaskRunner(workers=2), SlurmRunner(gres="gpu:a:2")]
)
def test_a_runner_is_the_same_after_a_round_trip(runner: RunnerConfig) -> None:
    assert RUNNER.validate_json(runner.model_dump_json()) == runner


def test_a_misspelled_key_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as refused:
        compose_llc(["runner=slurm", "runner.partiton=gpu"])
    said = str(refused.value)
    assert "there is no key 'runner.partiton' where runner.kind=slurm" in said
    assert "did you mean 'runner.partition'?" in said
    for key in ("partition", "account", "walltime", "gres", "prologue", "scratch", "interface"):
        assert f"runner.{key}" in refused.value.allowed


def test_a_key_of_another_runner_says_which() -> None:
    with pytest.raises(ConfigError, match=r"choose runner\.kind=slurm, which has it"):
        compose_llc(["runner=dask", "runner.partition=gpu"])


DOCUMENTED = {
    """'runner.directives=["--exclusive","--mail-type=FAIL"]'""": {
        "directives": ("--exclusive", "--mail-type=FAIL")
    },
    """'runner.prologue=["module load cuda"]'""": {"prologue": ("module load cuda",)},
    """"runner.python='apptainer exec --nv image.sif python'\"""": {
        "python": "apptainer exec --nv image.sif python"
    },
    """'runner.scratch="/scratch/$USER"'""": {"scratch": "/scratch/$USER"},
}


@pytest.mark.parametrize("typed", DOCUMENTED)
def test_documented_overrides_are_read_as_they_are_typed(typed: str) -> None:
    assert f"`{typed}`" in (Path(__file__).parents[3] / "docs" / "how-to" / "slurm.md").read_text("utf-8")
    (override,) = shlex.split(typed)
    (config,) = compose_llc(["runner=slurm", override])
    assert config.runner == SlurmRunner(**DOCUMENTED[typed])


def test_a_runner_is_chosen_by_its_group() -> None:
    (config,) = compose_llc(["runner=slurm", "runner.gpus=2", "runner.prologue=['module load cuda']"])
    assert config.runner == SlurmRunner(gpus=2, prologue=("module load cuda",))
    (config,) = compose_llc(["runner=dask"])
    assert config.runner == DaskRunner()
