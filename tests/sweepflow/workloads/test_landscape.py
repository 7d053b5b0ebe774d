"""Landscapes at their minima, and descents against what can be said of them on paper."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store
from sweepflow.workloads import load_workload
from sweepflow.workloads.landscape import MINIMA, VALUES, Config

LANDSCAPE = load_workload("landscape")


def run(store: Store, *configs: Config, **settings: Any) -> list[Any]:
    trials = [LANDSCAPE.trial(config) for config in configs]
    return run_batch(LANDSCAPE.run, trials, store, size=len(trials), datasets=1, **settings)


@pytest.mark.parametrize("name", VALUES)
def test_minima(name: str) -> None:
    assert MINIMA.keys() == VALUES.keys()

    def value(w: jax.Array) -> jax.Array:
        return VALUES[name](w[0], w[1])

    for minimum in MINIMA[name]:
        at = jnp.asarray(minimum)
        # Himmelblau's are written with six digits, at curvatures of about a hundred.
        assert float(value(at)) == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(jax.grad(value)(at), 0, atol=1e-3 if name == "himmelblau" else 1e-12)
        assert (np.linalg.eigvalsh(jax.hessian(value)(at)) > 0).all()
        around = at + 0.01 * jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        assert (jax.vmap(value)(around) > value(at)).all()


def test_gradient_descent_on_the_paraboloid(store: Store, compilations: list[str]) -> None:
    """x_t = (1 - 2 r)^t x_0 and y_t = (1 - 20 r)^t y_0, with r the rate."""
    shared: dict[str, Any] = {"landscape": "paraboloid", "optimizer": "sgd", "momentum": 0, "steps": 30}
    rates = (1e-3, 1e-2, 0.04, 0.099, 0.11)
    configs = [Config(**shared, learning_rate=rate, x=1.5 + i, y=-2.0) for i, rate in enumerate(rates)]
    records = run(store, *configs)
    assert len(compilations) == 1
    for config, record in zip(configs, records, strict=True):
        x = (1 - 2 * config.learning_rate) ** 30 * config.x
        y = (1 - 20 * config.learning_rate) ** 30 * config.y
        assert record.status == "ok"
        assert record.figures["x_final"] == pytest.approx(x, rel=1e-4)
        assert record.figures["y_final"] == pytest.approx(y, rel=1e-3, abs=1e-6)
        assert record.figures["loss"] == pytest.approx(x**2 + 10 * y**2, rel=1e-3, abs=1e-6)
        assert record.figures["distance"] == pytest.approx(np.hypot(x, y), rel=1e-3)
    assert records[-1].figures["best_loss"] == pytest.approx(5.5**2 + 40), "it only goes up from its start"
    assert records[-1].figures["loss"] > records[-1].figures["best_loss"]
    # One that leaves the finite numbers, and its neighbours; alone, and in another order.
    lost = Config(**shared, learning_rate=1e6, x=1.0)
    mixed = run(store, configs[1], lost, configs[0])
    assert [record.status for record in mixed] == ["ok", "diverged", "ok"]
    assert "loss is not finite" in mixed[1].reasons
    assert (mixed[0].figures, mixed[2].figures) == (records[1].figures, records[0].figures)
    assert run(store, configs[3])[0].figures == records[3].figures
    # `sequential`: one lane at a time, which rounds in its own way.
    for config, record in zip(configs, records, strict=True):
        (alone,) = run(store, config, width=1)
        assert alone.figures == pytest.approx(record.figures, rel=1e-5, abs=1e-9)
    assert len(compilations) == 2, "one for however many fit a call"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion"])
def test_every_optimizer_finds_a_minimum_of_himmelblaus(optimizer: Any, store: Store) -> None:
    rate = {"sgd": 2e-3, "lion": 1e-2}.get(optimizer, 2e-2)
    config = Config(
        landscape="himmelblau", optimizer=optimizer, learning_rate=rate, steps=500, keep_path=True, b2=0.99
    )
    (record,) = run(store, config)
    path = store.arrays(record.id)["path"]
    assert path.shape == (501, 2)
    np.testing.assert_array_equal(path[0], np.float32([config.x, config.y]))
    np.testing.assert_array_equal(path[-1], [record.figures["x_final"], record.figures["y_final"]])
    assert record.figures["distance"] < 0.1
    values = [float(VALUES["himmelblau"](*point)) for point in path.astype(np.float64)]
    assert record.figures["best_loss"] == pytest.approx(min(values), rel=1e-3, abs=1e-4)


def test_one_program_an_optimizer_whatever_its_numbers_and_starts(
    store: Store, compilations: list[str]
) -> None:
    """Rates, decays, clipping and starting points are fed to it."""
    for i, optimizer in enumerate(("sgd", "adam", "adamw", "rmsprop", "lion"), start=1):
        shared: dict[str, Any] = {"optimizer": optimizer, "steps": 7, "keep_path": True}
        configs = [
            Config(
                **shared, x=x, y=-x, learning_rate=rate, momentum=rate, b1=rate, weight_decay=x, clip_norm=x
            )
            for x in (0.25, 0.5, 1.5)
            for rate in (0.01, 0.02)
        ]
        records = [record for at in (0, 2, 4) for record in run(store, *configs[at : at + 2])]
        assert len(compilations) == i
        ends = {(record.figures["x_final"], record.figures["y_final"]) for record in records}
        assert len(ends) == len(configs), "and each has its own"


def test_it_has_no_seed_and_nothing_to_stop() -> None:
    assert LANDSCAPE.seed_key is None and LANDSCAPE.until is None and LANDSCAPE.pad is None
    assert LANDSCAPE.metric(Config()) == "loss"


def test_golden_ids() -> None:
    """With a VERSION of its own: a change of the file's text is no other trial."""
    assert LANDSCAPE.source == ""
    ids = [LANDSCAPE.trial(Config()).id, LANDSCAPE.trial(Config(landscape="beale", x=1)).id]
    assert ids == ["trl_c0488ca2de40b899", "trl_b1f8cb6ffbb63d59"]


def test_a_name_that_is_none() -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_workload("landscap")
