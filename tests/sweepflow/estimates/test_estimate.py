"""lambda-hat and its error bar against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.estimates.estimate import corrected, drift, estimate


def autoregressive(chains: int, draws: int, rho: float, seed: int = 0) -> np.ndarray:
    """Stationary AR(1) chains of mean 0 and variance 1."""
    noise = np.random.default_rng(seed).standard_normal((chains, draws))
    out = np.empty_like(noise)
    out[:, 0] = noise[:, 0]
    for t in range(1, draws):
        out[:, t] = rho * out[:, t - 1] + math.sqrt(1 - rho * rho) * noise[:, t]
    return out


@given(
    st.integers(1, 5),
    st.integers(4, 60),
    st.floats(-10.0, 10.0),
    st.floats(0.1, 1e4),
    st.integers(0, 2**16),
)
def test_the_formula(chains: int, draws: int, loss_0: float, nbeta: float, seed: int) -> None:
    losses = loss_0 + np.random.default_rng(seed).gamma(3.0, 1.0, (chains, draws)) / nbeta
    found = estimate(losses, loss_0, nbeta)
    assert found.llc == pytest.approx(nbeta * (losses.mean() - loss_0), rel=1e-6)
    assert found.chains == pytest.approx(nbeta * (losses.mean(axis=1) - loss_0), rel=1e-6)
    if math.isfinite(found.ess):
        least = [nbeta * losses.std(ddof=1) / math.sqrt(found.ess)]
        if chains > 1:
            least.append(nbeta * losses.mean(axis=1).std(ddof=1) / math.sqrt(chains))
        assert found.mcse >= max(least) * (1 - 1e-6), (
            "an error is never smaller than what chains' spread says"
        )
        assert found.low < found.llc < found.high
        assert found.high - found.llc == pytest.approx(found.llc - found.low, rel=1e-6)
        assert found.high - found.llc >= 1.95 * found.mcse


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_sample_size(rho: float) -> None:
    """Of a stationary AR(1) chain: draws (1 - rho) / (1 + rho)."""
    found = estimate(autoregressive(4, 5000, rho), 0.0, 1.0)
    assert found.ess == pytest.approx(20_000 * (1 - rho) / (1 + rho), rel=0.15)
    assert found.r_hat == pytest.approx(1.0, abs=0.01)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    held = [
        (found := estimate(autoregressive(4, 250, 0.8, seed), 0.0, 1.0)).low < 0 < found.high
        for seed in range(400)
    ]
    assert 0.91 <= np.mean(held) <= 0.985


def test_the_interval_is_wider_with_few_effective_draws() -> None:
    few, many = (estimate(autoregressive(2, draws, 0.0), 0.0, 1.0) for draws in (6, 5000))
    assert (few.high - few.llc) / few.mcse > 2.1
    assert 1.95 < (many.high - many.llc) / many.mcse < 2.2


def test_chains_that_disagree() -> None:
    losses = autoregressive(4, 500, 0.0)
    losses[2] += 3.0
    found = estimate(losses, 0.0, 1.0)
    assert found.r_hat > 1.3
    assert found.ess < 20
    assert found.spread_p < 1e-6
    assert found.mcse == pytest.approx(losses.mean(axis=1).std(ddof=1) / 2, rel=1e-9)


def test_chains_that_disagree_in_their_tails_only() -> None:
    """R-hat is of ranks: one chain of 400 whose few large values are tenfold looks alike to it."""
    losses = np.random.default_rng(0).exponential(1.0, (4, 2000))
    losses[1] = np.where(losses[1] > 3.0, 20.0 * losses[1], losses[1])
    found = estimate(losses, 0.0, 1.0)
    assert found.r_hat < 1.05
    assert found.spread_p < 1e-3


def test_chains_that_agree_seldom_look_as_if_they_did_not() -> None:
    found = [estimate(autoregressive(4, 400, 0.8, seed), 0.0, 1.0).spread_p for seed in range(300)]
    assert np.mean(np.array(found) < 0.01) < 0.03


@pytest.mark.parametrize("rho", [0.0, 0.9, 0.99])
def test_the_error_is_as_large_as_the_spread_over_runs(rho: float) -> None:
    runs = [estimate(autoregressive(4, 2000, rho, seed), 0.0, 1.0) for seed in range(200)]
    stated = math.sqrt(np.mean([run.mcse**2 for run in runs]))
    assert 0.9 <= stated / np.std([run.llc for run in runs]) <= 1.35


def test_a_wave_that_short_lags_do_not_see() -> None:
    """Independent draws on a slow wave: the means of long batches differ by it."""
    noise = np.random.default_rng(0).standard_normal((4, 4000))
    wave = autoregressive(4, 8, 0.0, 1).repeat(500, axis=1)
    found = estimate(noise + wave, 0.0, 1.0)
    assert found.mcse > 0.7 / math.sqrt(32)


def test_a_bias_that_is_known_with_an_error_is_taken_off() -> None:
    found = estimate(autoregressive(4, 500, 0.5), 0.0, 1.0)
    less = corrected(found, 0.5, 2 * found.mcse)
    assert less.llc == pytest.approx(found.llc - 0.5)
    assert less.chains == pytest.approx(np.array(found.chains) - 0.5)
    assert less.mcse == pytest.approx(math.sqrt(5) * found.mcse)
    assert less.high - less.llc == pytest.approx(math.sqrt(5) * (found.high - found.llc))
    assert corrected(found, 0.0, 0.0) == found


def test_a_drift_that_all_chains_share() -> None:
    still, moving = autoregressive(4, 600, 0.5), autoregressive(4, 600, 0.5) + np.linspace(0, 1, 600)
    assert abs(drift(still)) < 3.3 < drift(moving)
    assert drift(-moving) == pytest.approx(-drift(moving))
    assert drift(np.zeros((0, 100))) == drift(still[:, :10]) == 0.0


def test_no_sound_chain() -> None:
    found = estimate(np.zeros((0, 100)), 1.0, 10.0)
    numbers = (found.llc, found.mcse, found.low, found.high, found.ess, found.r_hat)
    assert all(math.isnan(number) for number in numbers)
    assert found.chains == ()


def test_nothing_moved() -> None:
    found = estimate(np.full((3, 100), 2.0), 1.5, 10.0)
    assert found.llc == 5.0
    assert math.isnan(found.mcse)
    assert math.isnan(found.r_hat)


def test_one_chain_is_frozen() -> None:
    """It takes part, pulls R-hat up, and warns of nothing."""
    losses = autoregressive(4, 500, 0.0)
    losses[1] = 4.0
    found = estimate(losses, 0.0, 1.0)
    assert found.chains[1] == 4.0
    assert found.r_hat > 1.3


def test_one_chain() -> None:
    found = estimate(autoregressive(1, 1000, 0.5), 0.0, 1.0)
    assert 100 < found.ess < 1000
    assert found.r_hat == pytest.approx(1.0, abs=0.05)
    drifting = autoregressive(1, 1000, 0.5) + np.linspace(0.0, 3.0, 1000)
    assert estimate(drifting, 0.0, 1.0).r_hat > 1.3
