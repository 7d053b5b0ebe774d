"""Tiny trainings on real data, run batch by batch; programs are shared where their shapes allow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.engine.workload import Trial
from sweepflow.schema.data import BundledData, TeacherStudentData
from sweepflow.schema.model import MlpModel
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.workload import ENGINE, TRAIN

SMALL = TeacherStudentData(n_data=60, n_test=20, input_dim=3)
"""48 training rows, 12 validation rows."""

WIDE, NARROW = (6, 4), (4, 3)
TABLE: list[dict[str, Any]] = [
    {
        "optimizer": "sgd",
        "schedule": "cosine",
        "learning_rate": 0.05,
        "nesterov": True,
        "weight_decay": 0.01,
        "dropout": 0.1,
        "model": {"activation": "tanh"},
    },
    {"optimizer": "adam", "schedule": "constant", "weight_decay": 0.01, "model": {"activation": "gelu"}},
    {
        "optimizer": "adamw",
        "schedule": "warmup_cosine",
        "weight_decay": 0.1,
        "clip_norm": 0.5,
        "model": {"activation": "silu"},
    },
    {"optimizer": "rmsprop", "schedule": "plateau", "learning_rate": 1e-2, "model": {"bias": False}},
    {"optimizer": "lion", "schedule": "cosine", "learning_rate": 1e-2, "weight_decay": 0.1, "model": {}},
]
"""Every optimizer and every schedule; all twenty pairs would compile for a minute."""


def name_of(row: Any) -> str:
    return f"{row['optimizer']}-{row['schedule']}"


def of_table(build: Callable[..., Any], row: Any, widths: tuple[int, ...] = WIDE, **changes: Any) -> Any:
    """A row's trial on digits, stopped before its last epoch, so that its weights are kept."""
    model = MlpModel(widths=widths, **row["model"])
    return build({**row, "model": model, "epochs": 4, "stop_after": 3}, **changes)


@dataclass
class Ran:
    """What some trials gave, by the place that they were asked for in."""

    trials: list[Trial[TrainConfig]]
    store: Store

    def record(self, number: int = 0) -> Record:
        record = self.store.get(self.trials[number].id)
        assert record is not None
        return record

    def arrays(self, number: int = 0) -> dict[str, np.ndarray]:
        return self.store.arrays(self.trials[number].id)

    def outcome(self, number: int = 0) -> tuple[Any, ...]:
        """Everything that the configuration decides, in a form that compares bit by bit."""
        record = self.record(number)
        arrays = {name: (v.dtype.str, v.shape, v.tobytes()) for name, v in self.arrays(number).items()}
        return record.status, record.reasons, record.figures, arrays


@pytest.fixture(scope="session")
def trial() -> Callable[..., Trial[TrainConfig]]:
    """A training of milliseconds: digits, one hidden layer of 6, three epochs of eight steps."""

    def build(base: Mapping[str, Any] | None = None, **changes: Any) -> Trial[TrainConfig]:
        settings = {
            "model": MlpModel(widths=(6,)),
            "data": BundledData(name="digits"),
            "epochs": 3,
            "learning_rate": 0.01,
            **(base or {}),
            **changes,
        }
        config, _ = TRAIN.prepare(TrainConfig(**settings))
        TRAIN.check(config)
        return TRAIN.trial(config)

    return build


@pytest.fixture
def run_trials(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """Run trials of one group two at a time: every call has the same program, whoever makes it."""

    def run(trials: Sequence[Trial[TrainConfig]], store: Store | None = None, **settings: Any) -> Ran:
        store = store or Store(Path(tmp_path_factory.mktemp("a store")))
        size = settings.pop("size", 2)
        settings = {"datasets": 1, **settings}
        for first in range(0, len(trials), size):
            run_batch(ENGINE, trials[first : first + size], store, size=size, **settings)
        return Ran(list(trials), store)

    return run


@pytest.fixture
def raw_results(store: Store) -> Callable[..., dict[str, np.ndarray]]:
    """The results of one trial as its program gives them, padding included."""

    def run(trial: Trial[TrainConfig]) -> dict[str, np.ndarray]:
        found: list[dict[str, np.ndarray]] = []

        def record(trial: Trial[TrainConfig], results: Mapping[str, np.ndarray], store: Store) -> Record:
            found.append({name: rows[0] for name, rows in results.items()})
            return ENGINE.record(trial, results, store)

        run_batch(replace(ENGINE, record=record), [trial], store, size=2, datasets=1)
        return found[0]

    return run
