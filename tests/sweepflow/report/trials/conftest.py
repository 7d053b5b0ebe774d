"""Sweeps of realistic trials: a learning rate with a valley, an optimizer that moves it, idle widths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record
from sweepflow.workloads.landscape import Config

EPOCHS = 12


def make_trial(
    value: float | None = 0.5, *, status: str = "ok", at: int = 0, reasons: Sequence[str] = (), **config: Any
) -> Record:
    """A trial with these settings; `value` is its validation loss, its accuracy is 1 - value / 4."""
    config = {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "model": {"kind": "mlp", "widths": [64]},
        "seed": 0,
    } | config
    ident = "trl_" + hashlib.sha256(repr((config, at)).encode()).hexdigest()[:16]
    curve = np.full(EPOCHS, np.nan)
    end = EPOCHS if status in ("ok", "flagged") else EPOCHS // 2
    level = 1.0 if value is None else value
    curve[:end] = level + 2 * np.exp(-np.arange(end) / 3.0)
    figures: dict[str, Any] = {"num_params": 4810, "epochs_run": EPOCHS, "validation_loss": value}
    if value is not None:
        figures |= {"train_loss": 0.9 * value, "test_loss": 1.1 * value, "validation_accuracy": 1 - value / 4}
    arrays = {
        "curve.train_loss": 0.9 * curve,
        "curve.validation_loss": curve,
        "curve.accuracy": 1 - curve / 4,
    }
    failed = status == "failed"
    return Record(
        id=ident,
        workload="digits_mlp",
        version=1,
        status=status,  # type: ignore[arg-type]
        reasons=tuple(reasons) or {"diverged": ("left the finite numbers at epoch 6",)}.get(status, ()),
        config=config,
        figures={} if failed else figures,
        seconds={"compile": 0.5, "run": 2.0},
        provenance={
            "host": "box-7",
            "device": "cpu x2",
            "versions": {"jax": "0.10.2"},
            "written": f"2026-11-20T{10 + at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}+00:00",
        },
        arrays={} if failed else arrays,
    )


def make_view(records: Sequence[Record], **options: Any) -> TrialsView:
    groups = {r.id: f"{r.config['optimizer']} {r.config['model'].get('widths')}" for r in records}
    known = {
        "metric": "validation_loss",
        "goal": "minimize",
        "log_keys": frozenset({"learning_rate"}),
        "groups": groups,
    }
    return TrialsView(records, **(known | options))


def make_sweep(count: int = 64, repeats: int = 1, **options: Any) -> TrialsView:
    """Random settings; large learning rates diverge, every 31st configuration fails."""
    random = np.random.default_rng(7)
    records = []
    for i in range(count):
        optimizer = str(random.choice(["sgd", "adam", "adamw"]))
        rate = float(10 ** random.uniform(-5, 0.5))
        config: dict[str, Any] = {
            "optimizer": optimizer,
            "learning_rate": rate,
            "batch_size": int(random.choice([32, 64, 128])),
            "model": {"kind": "mlp", "widths": [[32], [64, 64]][int(random.integers(2))]},
            "clip_norm": None if random.random() < 0.3 else float(random.uniform(0.1, 5)),
        }
        if optimizer == "sgd":
            config["momentum"] = float(random.uniform(0, 0.99))
        valley = math.log10(rate) + 2.5 - (1.2 if optimizer == "sgd" else 0.0)
        for seed in range(repeats):
            value = 0.1 + 0.15 * valley**2 + 0.01 * float(random.normal()) ** 2
            status = "failed" if i % 31 == 17 else "diverged" if math.log10(rate) > -0.4 else "ok"
            records.append(
                make_trial(
                    value if status == "ok" else None,
                    status=status,
                    at=len(records) // 8,
                    seed=seed,
                    **config,
                )
            )
    return make_view(records, **options)


def make_descent(
    path: np.ndarray | None, *, loss: float | None = 0.5, status: str = "ok", **settings: Any
) -> Record:
    """A trial of the workload `landscape` that went this way; None keeps no path."""
    config = Config(**({"optimizer": "sgd", "keep_path": path is not None} | settings))
    ident = hashlib.sha256(repr((config, None if path is None else path.tobytes())).encode()).hexdigest()
    return Record(
        id=f"trl_{ident[:16]}",
        workload="landscape",
        version=1,
        status=status,  # type: ignore[arg-type]
        reasons=("loss is not finite",) if status == "diverged" else (),
        config=config.model_dump(mode="json"),
        figures={"loss": loss if status == "ok" else None},
        arrays={} if path is None else {"path": path},
    )


def make_landscape_view(records: Sequence[Record], **options: Any) -> TrialsView:
    groups = {r.id: f"{r.config.get('landscape')} {r.config.get('optimizer')}" for r in records}
    known = {
        "metric": "loss",
        "goal": "minimize",
        "log_keys": frozenset(),
        "groups": groups,
        "seed_key": None,
    }
    return TrialsView(records, **(known | options))


def make_descents() -> TrialsView:
    """Every optimizer on three landscapes, from the same starts; one in five leaves."""
    records = []
    for landscape in ("rosenbrock", "himmelblau", "rastrigin"):
        for i, optimizer in enumerate(("sgd", "adam", "adamw", "rmsprop", "lion")):
            for j, start in enumerate(([-1.5, 2.0], [0.5, -1.0])):
                share = np.linspace(0, 1, 40)[:, None]
                path = np.array(start) * (1 - share) + share * np.array([1.0, 1.0 + 0.05 * i])
                lost = optimizer == "sgd" and j == 1
                if lost:
                    path[5:] *= np.linspace(1, 1e9, 35)[:, None]
                    path[30:] = np.nan
                status = "diverged" if lost else "ok"
                settings = {"landscape": landscape, "optimizer": optimizer, "x": start[0], "y": start[1]}
                records.append(make_descent(path, loss=0.1 + i, status=status, **settings))
    return make_landscape_view(records)


def arrays_of(record: Record) -> Mapping[str, np.ndarray]:
    return record.arrays


@pytest.fixture(scope="session")
def trial() -> Callable[..., Record]:
    return make_trial


@pytest.fixture(scope="session")
def view_of() -> Callable[..., TrialsView]:
    return make_view


@pytest.fixture(scope="session")
def sweep_of() -> Callable[..., TrialsView]:
    return make_sweep


@pytest.fixture(scope="session")
def descent() -> Callable[..., Record]:
    return make_descent


@pytest.fixture(scope="session")
def landscape_view() -> Callable[..., TrialsView]:
    return make_landscape_view


@pytest.fixture(scope="session")
def arrays() -> Callable[[Record], Mapping[str, np.ndarray]]:
    return arrays_of


@pytest.fixture(scope="session")
def cases() -> dict[str, TrialsView]:
    """Every kind of sweep that a page must show."""
    one_key = [make_trial(0.1 * (i + 1), learning_rate=10.0**-i, at=i) for i in range(5)]
    grid = [
        make_trial(0.1 + 0.01 * i * j, learning_rate=10.0**-i, batch_size=16 * 2**j, at=i)
        for i in range(4)
        for j in range(4)
    ]
    return {
        "typical": make_sweep(64),
        "repeats": make_sweep(24, repeats=3),
        "maximised": make_sweep(64, metric="validation_accuracy", goal="maximize"),
        "grid": make_view(grid),
        "one key": make_view(one_key),
        "one trial": make_view([make_trial(0.3)]),
        "equals": make_view([make_trial(0.3, learning_rate=10.0**-i) for i in range(24)]),
        "none finished": make_view(
            [
                make_trial(None, status=s, learning_rate=0.1 * (i + 1))
                for i, s in enumerate(["diverged", "failed"] * 4)
            ]
        ),
        "one finished": make_view(
            [make_trial(0.3), *(make_trial(None, status="diverged", learning_rate=1.0 + i) for i in range(4))]
        ),
        "flagged": make_view(
            [
                make_trial(0.1 * i, status="flagged", reasons=["stopped"], learning_rate=0.1 / i)
                for i in (1, 2, 3)
            ]
        ),
        "enormous": make_view(
            [make_trial(10.0 ** (30 * i), learning_rate=10.0**-i, weight_decay=0.1 * i) for i in range(10)]
        ),
        "negative": make_view([make_trial(float(-i), learning_rate=1e-3 * (i + 1)) for i in range(12)]),
        "descents": make_descents(),
        "none": make_view([]),
    }
