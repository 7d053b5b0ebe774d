"""MCLMC's tuning, cut into steps, against blackjax's own, which is one call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow import samplers
from sweepflow.data import describe, load
from sweepflow.models import build_network
from sweepflow.samplers import mclmc
from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.mclmc_tuning import Plan, autocorrelation_times, plan
from sweepflow.samplers.posterior import LocalPosterior, Position
from sweepflow.schema.data import QuadraticData
from sweepflow.schema.model import PotentialModel
from sweepflow.schema.sampler import MclmcSampler

ENERGY_VAR = 1e-4


@dataclass(frozen=True)
class Walled(LocalPosterior):
    """Not a number where the first coordinate, the widest, is farther out than its wall."""

    wall: Any

    def logdensity(self, w: Position) -> Any:
        return jnp.where(jnp.abs(w[0]) > self.wall, jnp.nan, LocalPosterior.logdensity(self, w))


def gaussian(wall: Any = jnp.inf) -> Walled:
    """nbeta L(w) + gamma |w|^2 / 2 = sum_i h_i w_i^2 / 2 with h from 1 to 401, as MCLMC sees it."""
    data = QuadraticData(dimension=21, eigenvalues=tuple(float(20 * i) for i in range(21)))
    shape, rows = describe(data), load(data)
    posterior = Walled(
        network=build_network(PotentialModel(), shape),
        shape=shape,
        x=jnp.asarray(rows.x),
        y=jnp.asarray(rows.y),
        center=jnp.asarray(rows.truth),
        nbeta=jnp.asarray(1.0),
        gamma=jnp.asarray(1.0),
        wall=wall,
    )
    return in_float64(posterior)


def fractions(warmup: int) -> tuple[float, float, float]:
    """blackjax's arguments for a warm-up, of which it spends a third more than the second on readjusting."""
    length = min(warmup // 4, 300)
    first = 0.4 * (warmup - length)
    return first / max(warmup, 1), 1.1 * first / max(warmup, 1), length / max(warmup, 1)


def blackjax_keys(key: Any, stages: Plan) -> Any:
    """The kernel's key at each tuning step, as `mclmc_find_L_and_step_size` splits its own."""
    adapting, length = jax.random.split(key, 2)
    *first, final = jax.random.split(adapting, stages.search + stages.spread + 1)
    readjusting = jax.random.split(final, stages.readjustment) if stages.readjustment else []
    kept = [jax.random.split(one)[0] for one in (*first, *readjusting)]
    return jnp.stack([*kept, *(jax.random.split(length, stages.length) if stages.length else [])])


@cache
def tuned_here(warmup: int) -> Any:
    """The tuning as a function of the wall, the first key, and the keys of its steps; compiled once."""
    config = MclmcSampler(warmup=warmup, draws=4)
    stages = plan(warmup)
    traced = {"desired_energy_var": jnp.asarray(ENERGY_VAR), "max_step_size": jnp.asarray(1.0)}

    @jax.jit
    def run(wall: Any, first_key: Any, keys: Any) -> Any:
        course = mclmc.course(config, traced, gaussian(wall), first_key, lambda number: keys[number], 4)
        start, stop = (jnp.asarray(point, jnp.int32) for point in (0, stages.steps))
        return course.advance(course.begin(), start, stop)

    return run


@cache
def tuned_by_blackjax(warmup: int) -> Any:
    """blackjax's, as a function of the wall, the first key, and the key that it splits."""
    blackjax = import_blackjax()
    one, two, three = fractions(warmup)

    @jax.jit
    def run(wall: Any, first_key: Any, tune_key: Any) -> Any:
        posterior = gaussian(wall)
        with jax.numpy_dtype_promotion("standard"):
            return blackjax.mclmc_find_L_and_step_size(
                blackjax.mclmc.build_kernel(),
                warmup,
                blackjax.mclmc.init(posterior.center, posterior.logdensity, first_key),
                tune_key,
                logdensity_fn=posterior.logdensity,
                frac_tune1=one,
                frac_tune2=two,
                frac_tune3=three,
                desired_energy_var=ENERGY_VAR,
            )[:2]

    return run


@pytest.mark.parametrize(
    ("warmup", "wall"),
    [
        pytest.param(400, math.inf, id="all stages"),
        pytest.param(400, 1.5, id="steps that fail"),
        pytest.param(8, math.inf, id="the shortest with all stages"),
        pytest.param(2, math.inf, id="too short for variances, and for the length"),
    ],
)
def test_the_same_keys_tune_to_the_same(warmup: int, wall: float) -> None:
    first_key, tune_key = jax.random.split(jax.random.key(3))
    here = tuned_here(warmup)(wall, first_key, blackjax_keys(tune_key, plan(warmup)))
    state, tuned = tuned_by_blackjax(warmup)(wall, first_key, tune_key)
    for ours, theirs, tolerance in (
        (here.tuning.step_size, tuned.step_size, 1e-9),
        (here.tuning.inverse_mass_matrix, tuned.inverse_mass_matrix, 1e-9),
        (here.tuning.decoherence_length, tuned.L, 1e-5),
        (here.chain.position, state.position, 1e-9),
        (here.chain.logdensity, state.logdensity, 1e-9),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    stages = plan(warmup)
    moved = np.asarray(here.tuning.inverse_mass_matrix) != 1
    assert moved.all() == (stages.spread > 1)
    untuned = float(here.tuning.decoherence_length) == pytest.approx(np.sqrt(21))
    assert untuned == (stages.length == 0)
    failed = np.isfinite(here.tuning.largest_step_size) & (here.tuning.largest_step_size < 1e300)
    assert failed == math.isfinite(wall)


def test_the_steps_of_a_warmup_are_those_of_blackjax() -> None:
    for warmup in range(3001):
        one, two, three = fractions(warmup)
        total = max(warmup, 1)
        search, spread, length = round(total * one), round(total * two), round(total * three)
        assert plan(warmup) == (
            search,
            spread,
            round(spread / 3) if spread > 1 else 0,
            length if length > 1 else 0,
        )


@pytest.mark.parametrize("n", [2, 5, 251])
def test_autocorrelation_times_are_those_of_blackjax(n: int) -> None:
    import_blackjax()
    from blackjax.diagnostics import effective_sample_size

    noise = np.random.default_rng(n).normal(size=(n, 200))
    correlation = np.repeat([-0.5, 0.0, 0.5, 0.9, 0.999], 40)
    columns = np.empty_like(noise)
    columns[0] = noise[0]
    for row in range(1, n):
        columns[row] = correlation * columns[row - 1] + np.sqrt(1 - correlation**2) * noise[row]
    columns[:, 7] = 0.1
    with jax.numpy_dtype_promotion("standard"):
        here = np.asarray(jax.jit(autocorrelation_times)(columns))
        sizes = np.asarray(jax.jit(effective_sample_size)(columns[None]))
    assert np.flatnonzero(np.isnan(here)).tolist() == [7] == np.flatnonzero(sizes == 0).tolist()
    np.testing.assert_allclose(np.delete(here, 7), n / np.delete(sizes, 7), rtol=1e-10)


@pytest.mark.parametrize("warmup", [0, 1])
def test_without_a_warmup_the_first_guess_is_drawn_with(warmup: int) -> None:
    config = MclmcSampler(warmup=warmup, draws=4)
    assert samplers.point_of(config, 4) == 4

    @jax.jit
    def run(bound: Any) -> Any:
        traced = {"desired_energy_var": jnp.asarray(ENERGY_VAR), "max_step_size": bound}
        chain = mclmc.chain(config, traced, gaussian(), jax.random.key(0), jnp.asarray(0, jnp.int32), 4)
        return chain.in_one_go(4)

    for bound, step_size in ((1.0, 0.25), (0.1, 0.1)):
        found = run(bound)
        assert found.step_size == pytest.approx(step_size * np.sqrt(21))
        np.testing.assert_array_equal(found.full_gradients, [2, 4, 6, 8])
