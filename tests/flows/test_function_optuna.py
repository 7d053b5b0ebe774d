"""A flow of jobs that one of Optuna's samplers asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from sweepflow import multirun
from sweepflow.errors import ConfigError
from sweepflow.jobs.optuna_search import Optuna

pytestmark = [pytest.mark.server]

CONFIG = {"x": 0.0, "optim": "sgd", "n": 1, "lr": 0.1}
OVERRIDES = [
    "x=interval(-12,12)",
    "optim=choice(sgd,adam)",
    "n=range(1,9)",
    "lr=tag(log,interval(1e-5,1e-1))",
]


@pytest.fixture(autouse=True)
def somewhere(prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of the test's own."""
    monkeypatch.setenv("SWEEPFLOW_STORE", str(tmp_path / "a researcher's store"))


def loss(cfg: Any) -> float:
    if cfg.x < -8:
        raise ValueError("it diverged")
    return (cfg.x - 2) ** 2 + abs(cfg.n - 6) + abs(math.log10(cfg.lr) + 3) + (cfg.optim == "sgd")


@pytest.mark.parametrize("at_once", [1, 4])
def test_jobs_are_what_the_study_has(at_once: int) -> None:
    sweeper = Optuna(30)
    jobs = multirun(CONFIG, loss, OVERRIDES, sweeper=sweeper, goal="minimize", at_once=at_once)
    trials = sweeper.study.trials
    assert len(jobs) == 30 and [job.params for job in jobs] == [trial.params for trial in trials]
    failed = [job.status == "failed" for job in jobs]
    assert any(failed) and [trial.state is TrialState.FAIL for trial in trials] == failed
    assert jobs.best is not None and jobs.best.score == sweeper.study.best_value < 10


def test_a_study_of_the_users_own_goes_on() -> None:
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))
    for total in (4, 8):
        multirun(CONFIG, lambda cfg: cfg.n, OVERRIDES, sweeper=Optuna(4, study=study), goal="maximize")
        assert len(study.trials) == total
    with pytest.raises(ConfigError, match="another goal"):
        multirun(CONFIG, loss, OVERRIDES, sweeper=Optuna(4, study=study), goal="minimize")
    assert len(study.trials) == 8
