"""What every sampler must do, whichever it is: one row a sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.data import describe, load
from sweepflow.estimates.length import given_warmup, room
from sweepflow.models import build_network
from sweepflow.samplers import chain, chains_per_trial, point_of, step_of_point
from sweepflow.samplers.posterior import FORWARD_COST, LocalPosterior
from sweepflow.schema.data import QuadraticData
from sweepflow.schema.fields import static_part, traced_part
from sweepflow.schema.model import PotentialModel

SAMPLERS = ("sgld", "sgld_rmsprop", "sgld_adam", "sgnht", "hmc", "nuts", "mclmc")
STOCHASTIC = ("sgld", "sgld_rmsprop", "sgld_adam", "sgnht")
POINTS = {"sgld": 2 + 8, "sgnht": 2 + 8, "hmc": 20 + 8, "nuts": 20 + 8, "mclmc": 8}
"""Warm-up of 15 steps is 2 blocks of 10; MCLMC's tuning is not recorded."""

pytestmark = pytest.mark.parametrize("sampler", SAMPLERS)


def quadratic(dtype: str, nbeta: float = 20.0, gamma: float = 1.0) -> LocalPosterior:
    """L(w) = (4 w_1^2 + w_2^2) / 2, as the workload hands it to a sampler."""
    data = QuadraticData(eigenvalues=(4.0, 1.0))
    shape, rows = describe(data), load(data)
    assert rows.truth is not None
    return LocalPosterior(
        network=build_network(PotentialModel(), shape),
        shape=shape,
        x=jnp.asarray(rows.x, dtype),
        y=jnp.asarray(rows.y, dtype),
        center=jnp.asarray(rows.truth, dtype),
        nbeta=jnp.asarray(nbeta, dtype),
        gamma=jnp.asarray(gamma, dtype),
    )


def run_chain(config: Any, dtype: str) -> dict[str, np.ndarray]:
    traced = {name: jnp.asarray(value) for name, value in traced_part(config).items() if value is not None}
    static = static_part(config)

    def one(key: Any) -> Any:
        length = room(config, 1)
        run = chain(static, traced, quadratic(dtype), key, jnp.asarray(0, jnp.int32), length)
        return run.in_one_go(point_of(config, length)).results()

    found = jax.jit(one)(jax.random.key(0))
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.slow
def test_trace(sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    config = small(sampler).sampler
    swept = run_sweep([small(sampler)])
    (record,) = swept.estimates
    arrays = swept.store.arrays(record.id)
    points = POINTS[config.kind]
    assert arrays["loss"].shape == (3, points)
    assert arrays["loss"].dtype == np.float64
    assert arrays["bias_loss"].shape == (chains_per_trial(config) - 3, points)
    assert np.isfinite(arrays["loss"]).all()
    assert record.figures["trace_warmup"] == given_warmup(config, config.warmup) == points - 8
    assert step_of_point(config, points - 1) == 20 + 8 * config.thinning
    assert len({row.tobytes() for row in arrays["loss"]}) == 3, "chains do not differ"
    assert (np.ptp(arrays["loss"], axis=1) > 0).all()

    spent = arrays["full_gradients"]
    assert spent.shape == (points,)
    assert (np.diff(spent) > 0).all()
    lanes = chains_per_trial(config)
    match config.kind:
        case "sgld" | "sgnht":
            # Of ten blocks the first is followed by a proposal, of two gradients; bias chains take twice
            # the steps.
            each = config.thinning * 8 / 30 + FORWARD_COST
            np.testing.assert_allclose(spent, 2 + each * np.arange(1, points + 1))
            finer = 2 * config.thinning * 8 / 30 + FORWARD_COST
            every = points * (3 * each + (lanes - 3) * finer) + 2 * lanes
            assert record.figures["full_gradients"] == pytest.approx(every)
        case "hmc":
            # Of 4 steps at most: 1, 3, 2, 4 and again, in warm-up and after it, whatever the chain.
            each = np.tile([1, 3, 2, 4], 9)
            every = np.cumsum(each)
            np.testing.assert_array_equal(spent, [*every[:20], *every[21::2]])
            assert record.figures["full_gradients"] == lanes * each.sum()
        case "nuts":
            assert (np.diff(spent) <= 2**4 * config.thinning).all()
        case "mclmc":
            np.testing.assert_array_equal(np.diff(spent), 2 * config.thinning)


@pytest.mark.slow
def test_randomness_comes_from_the_seed(
    sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    first, again = run_sweep([small(sampler)]), run_sweep([small(sampler)])
    np.testing.assert_array_equal(first.traces(), again.traces())
    other = run_sweep([small(sampler, sampler_changes={"seed": 1})])
    assert list(other.plan.targets) == list(first.plan.targets)
    assert (other.traces() != first.traces()).any(axis=1).all()


@pytest.mark.slow
def test_a_known_answer_in_the_other_dtype(
    sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """E[nbeta L] = 1/2 sum nbeta h / (nbeta h + gamma), here of a potential, roughly, after few draws.

    In the dtype that is not the sampler's default, for which `sweepflow.verify` and its tests answer.
    """
    dtype = "float64" if sampler in STOCHASTIC else "float32"
    # Preconditioned SGLD samples another density than this one unless its preconditioner is constant.
    changes: dict[str, Any] = {"dtype": dtype, "nbeta": 20.0, "gamma": 1.0, "draws": 300, "warmup": 200}
    if sampler in STOCHASTIC:
        changes |= {"step_size": 1e-3, **({"epsilon": 1.0} if sampler != "sgnht" else {})}
    config = small(
        sampler,
        model=PotentialModel(),
        data=QuadraticData(eigenvalues=(4.0, 1.0)),
        start="truth",
        steps=0,
        sampler_changes=changes,
    )
    (record,) = run_sweep([config]).estimates
    exact = 0.5 * (80 / 81 + 20 / 21)
    error = max(record.figures["llc_mcse"], 0.05)
    assert abs(record.figures["llc"] - exact) < 5 * error
    assert record.figures["L0"] == 0.0
    assert record.status in ("ok", "flagged")


def test_the_chain_itself(sampler: str, small: Callable[..., Any]) -> None:
    """One chain, no warm-up, no thinning, the smallest number of draws, all rows: as plain JAX."""
    dtype = "float32" if sampler in STOCHASTIC else "float64"
    assert small(sampler).sampler.dtype == dtype, "the default, for the other one is above"
    changes = {"warmup": 0, "thinning": 1, "chains": 1, "draws": 4, "nbeta": 20.0}
    if sampler in STOCHASTIC:
        changes["batch_size"] = None
    config = small(sampler, sampler_changes=changes).sampler
    found = run_chain(config, dtype)
    assert found["loss"].shape == found["full_gradients"].shape == (4,)
    assert {found[name].dtype for name in ("loss", "full_gradients", "step_size")} == {np.dtype(float)}
    assert np.isfinite(found["loss"]).all()
    assert (found["loss"] > 0).all()
    assert found["step_size"] > 0
    assert (np.diff(found["full_gradients"]) > 0).all()
    if sampler in STOCHASTIC:
        assert np.isfinite(found["acceptance"]).tolist() == [True, False, False, False]
        np.testing.assert_allclose(found["full_gradients"], 2 + (1 + FORWARD_COST) * np.arange(1, 5))
        assert (found["distance"] > 0).all() and (found["noise_norm"] > 0).all()
    elif config.kind == "mclmc":
        assert not found["rejected"].any()
    else:
        assert ((found["acceptance"] >= 0) & (found["acceptance"] <= 1)).all()
