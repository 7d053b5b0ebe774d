"""How long chains are run: a warm-up in their own time, draws until they are enough, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import ConfigError
from sweepflow.estimates.length import (
    WARMUP_TIMES,
    Span,
    check_length,
    next_stop,
    points,
    relaxation_time,
    room,
    short_warmup,
    span,
)
from sweepflow.samplers import chains_per_trial, cost_of_points, point_of, recorded, tuning_points
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
)

SAMPLERS: dict[str, SamplerConfig] = {
    "sgld": SgldSampler(),
    "sgld fixed step": SgldSampler(step_size=1e-4),
    "sgld fixed draws": SgldSampler(draws=300),
    "sgld no localisation": SgldSampler(gamma=0.0),
    "sgld rmsprop": SgldSampler(preconditioner="rmsprop"),
    "hmc": HmcSampler(thinning=3),
    "nuts": NutsSampler(max_num_doublings=4),
    "mclmc": MclmcSampler(thinning=2),
}
ROWS = 600
ALL = pytest.mark.parametrize("name", SAMPLERS)


def settled(name: str, **changes: Any) -> SamplerConfig:
    sampler = SAMPLERS[name]
    return type(sampler).model_validate({**sampler.model_dump(), **changes}).settled(50.0)


def traces(
    config: SamplerConfig, rho: float, seed: int = 0, step_size: float = 1e-3
) -> dict[str, np.ndarray]:
    """What chains would hand back whose losses are an AR(1) process."""
    lanes, length = chains_per_trial(config), room(config, ROWS)
    noise = np.random.default_rng(seed).standard_normal((lanes, length))
    loss = np.empty_like(noise)
    loss[:, 0] = noise[:, 0]
    for t in range(1, length):
        loss[:, t] = rho * loss[:, t - 1] + math.sqrt(1 - rho * rho) * noise[:, t]
    each = cost_of_points(config, ROWS, point_of(config, length)).cumsum() / lanes
    at = np.array([point_of(config, i + 1) - 1 for i in range(length)])
    return {
        "loss": loss,
        "full_gradients": np.tile(each[at], (lanes, 1)),
        "step_size": np.full(lanes, step_size),
    }


def run(config: SamplerConfig, results: dict[str, np.ndarray], ask_early: int = 0) -> tuple[Span, list[int]]:
    """Ask as the engine does, with nothing to be seen behind the points that are done; the end, and the
    stops."""
    done, stops, known = 0, [], None
    while (stop := next_stop(config, ROWS, known, done)) > done:
        stops.append(stop)
        done = min(stop, done + ask_early) if ask_early else stop
        seen = recorded(config, done)
        known = {name: rows.copy() for name, rows in results.items()}
        for name in ("loss", "full_gradients"):
            known[name][:, seen:] = 0.0
    assert stop == done
    return span(config, ROWS, known or results), stops


@ALL
def test_recorded_points_and_points_are_each_others_inverse(name: str) -> None:
    config = settled(name)
    for count in (0, 1, 5, tuning_points(config), tuning_points(config) + 7, 1000):
        assert recorded(config, point_of(config, count)) == count


@ALL
@pytest.mark.parametrize("rho", [0.0, 0.9, 0.999])
def test_draws_end_where_they_are_enough_or_where_the_budget_does(name: str, rho: float) -> None:
    config = settled(name, max_gradients=40_000 if name != "hmc" else 120_000)
    results = traces(config, rho)
    found, stops = run(config, results)
    assert 0 <= found.warmup < found.end <= room(config, ROWS)
    assert stops == sorted(set(stops))
    spent = results["full_gradients"].sum(axis=0)[found.end - 1]
    assert spent <= 1.1 * (config.max_gradients or math.inf)
    if rho == 0.999 and config.draws == "auto":
        assert found.end >= 0.8 * room(config, ROWS)
    if rho == 0.0 and config.draws == "auto":
        assert found.end < room(config, ROWS)


@given(st.integers(1, 700), st.sampled_from([0.0, 0.9, 0.98]), st.integers(0, 20))
def test_where_it_ends_does_not_depend_on_when_it_was_asked(early: int, rho: float, seed: int) -> None:
    config = settled("mclmc", max_gradients=30_000)
    results = traces(config, rho, seed)
    assert run(config, results)[0] == run(config, results, ask_early=early)[0]


@pytest.mark.parametrize("friction", [1e-3, 5.0, 1e3, 1e9, 1e20])
def test_relaxation_of_the_thermostat(friction: float) -> None:
    """The slower root of x^2 - friction x + gamma, or half the friction where both are complex; by products,
    since their difference has no digits left."""
    found = relaxation_time(SgnhtSampler(friction=friction, gamma=10.0), 1e-4)
    slow = min(abs(np.roots([1.0, -friction, 10.0]).real)) if friction < 1e4 else 10.0 / friction
    assert found == pytest.approx(1 / (1e-2 * 2 * slow), rel=1e-6)


def test_warm_up_is_counted_in_relaxation_times() -> None:
    config = settled("sgld")
    for step_size in (1e-3, 1e-4):
        found = span(config, ROWS, traces(config, 0.0, step_size=step_size))
        time = relaxation_time(config, step_size)
        assert time == pytest.approx(1 / (10.0 * step_size))
        steps = (found.warmup - tuning_points(config)) * config.thinning
        assert steps == pytest.approx(WARMUP_TIMES * time, abs=config.thinning)
        assert found.draws * config.thinning >= 2 * time


def test_a_given_warm_up_that_is_too_short_is_said_beforehand() -> None:
    told = short_warmup(SgldSampler(step_size=1e-4, warmup=100))
    assert told is not None and told.startswith(
        "a warm-up of 100 steps is 0.1 of the 1000 in which chains spread"
    )
    assert "sampler.warmup=3000" in told
    for enough in (
        SgldSampler(step_size=1e-4, warmup=2000),
        SgldSampler(step_size=1e-4),
        SgldSampler(warmup=100),
        SgldSampler(step_size=1e-4, warmup=100, gamma=0.0),
        HmcSampler(warmup=0),
    ):
        assert short_warmup(enough) is None


def test_a_warm_up_that_the_budget_does_not_reach_takes_a_third_of_it() -> None:
    config = settled("sgld", gamma=0.01)
    found = span(config, ROWS, traces(config, 0.0, step_size=1e-4))
    assert found.warmup < 0.4 * room(config, ROWS)
    assert found.end == room(config, ROWS)


@pytest.mark.parametrize("name", ["sgld no localisation", "sgld rmsprop"])
def test_where_no_time_is_known_a_third_is_warm_up(name: str) -> None:
    config = settled(name)
    found = span(config, ROWS, traces(config, 0.0))
    assert (found.warmup - tuning_points(config)) / (found.end - tuning_points(config)) == pytest.approx(
        1 / 3, abs=0.01
    )


def test_draws_that_are_given_are_drawn() -> None:
    config = settled("sgld fixed draws")
    assert span(config, ROWS, traces(config, 0.999)).draws == 300
    fixed = settled("hmc", draws=40, warmup=20, max_gradients=None)
    assert points(fixed, ROWS) == next_stop(fixed, ROWS, None, 0) == 20 + 40 * 3
    for changes in ({"preconditioner": "adam"}, {"gamma": 0.0}):  # no relaxation time is known
        many = SgldSampler(draws=4000, **changes).settled(50.0)
        assert span(many, ROWS, traces(many, 0.9)).draws == 4000


@pytest.mark.parametrize("gradients", [4, 31, 127])
def test_trajectories_that_cost_more_than_room_was_made_for_stay_within_the_budget(gradients: int) -> None:
    config = settled("nuts", ess=1e4, max_gradients=200_000, thinning=1)
    results = traces(config, 0.9)
    each = np.arange(1, results["loss"].shape[1] + 1) * float(gradients)
    results["full_gradients"] = np.tile(each, (config.chains, 1))
    found, _ = run(config, results)
    spent = results["full_gradients"].sum(axis=0)[found.end - 1]
    assert 0.9 * 200_000 <= spent <= 1.01 * 200_000 or found.end == room(config, ROWS)


def test_chains_that_diverged_end_at_the_first_rung() -> None:
    config = settled("mclmc")
    results = traces(config, 0.9)
    results["loss"][:] = np.nan
    assert span(config, ROWS, results).draws == 1000


@ALL
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"max_gradients": 300}, "ends before its first draws"),
        ({"ess": 1e9}, "so many effective draws cannot come from so few draws"),
        ({"max_gradients": 10**12}, "more draws than its traces have room for"),
    ],
)
def test_budgets_that_buy_nothing_or_too_much_are_refused(name: str, changes: Any, what: str) -> None:
    if "ess" in changes and SAMPLERS[name].draws != "auto":
        changes = {"max_gradients": 300}
        what = "ends before its first draws"
    with pytest.raises(ConfigError, match=what) as told:
        check_length(settled(name, **changes), ROWS)
    assert told.value.got and told.value.allowed and told.value.do


@ALL
def test_what_is_advised_is_accepted(name: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_length(settled(name, max_gradients=300), ROWS)
    least = int(str(told.value.allowed).split()[0])
    check_length(settled(name, max_gradients=least), ROWS)
    with pytest.raises(ConfigError):
        check_length(settled(name, max_gradients=int(0.9 * least)), ROWS)


@pytest.mark.parametrize(
    "given", [{"draws": 100, "ess": 50.0}, {"draws": 100, "warmup": 100, "max_gradients": 1000}]
)
def test_what_would_have_no_effect_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no effect beside a given number of draws"):
        SgldSampler.model_validate(given)


def test_a_step_size_cannot_be_found_without_a_warm_up() -> None:
    with pytest.raises(ValueError, match="a warm-up of 0 steps is too short to find step_size=auto in"):
        SgldSampler(warmup=0)
