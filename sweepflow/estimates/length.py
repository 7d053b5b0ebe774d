"""The length of the chains: a warm-up in relaxation times, then draws, rung by rung, until they are enough.

Only the trial's own traces decide whether the draws are enough, at points that these traces also decide. So a
trial ends at the same draw, regardless of its batch, its worker, and the place of an interruption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sweepflow.errors import ConfigError
from sweepflow.estimates.estimate import drift, estimate
from sweepflow.samplers import cost_of_points, point_of, recorded, tuning_points
from sweepflow.samplers.stochastic import blocks
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
    StochasticSampler,
)

MAX_R_HAT = 1.05
"""Value above which chains disagree (Vehtari et al. 2021 ask for 1.01; short chains rarely give it)."""
RARE = 1e-3
"""Probability of a false alarm, for every test that has one."""
MAX_DRIFT = 3.29
"""Maximum difference between the last and the first third of the draws, in standard errors: the normal
quantile of `RARE`."""
WARMUP_TIMES = 3.0
"""Length of `warmup=auto` in relaxation times. The remaining influence of the start is exp(-3) of a
direction's share in lambda-hat if the loss is flat, and exp(-6) if it is as curved as the localisation."""
LEAST_TIMES = 2.0
"""Number of relaxation times below which a warm-up is too short."""
DRAW_TIMES = 3.0
"""Number of relaxation times of the first rung."""
WARMUP_SHARE = 1 / 3
"""Maximum share of the budget that goes into `warmup=auto`. The whole share is used if nothing holds the
chains, which then have no relaxation time."""
FIRST_DRAWS = {"sgld": 200, "sgnht": 200, "hmc": 75, "nuts": 75, "mclmc": 1000}
"""Number of draws of the first rung."""
LEAST_GROWTH, MOST_GROWTH = 1.2, 1.5
"""Minimum and maximum growth factor of the draws, from one rung to the next."""
LAST_RUNG = 1.2
"""A rung takes the whole rest of the budget if it would leave less than a fifth of its own size."""
MORE = 1.05
"""Safety factor on the number of draws that the effective draws so far say are needed."""
COST_PERIOD = 64
"""Number of points after which the costs of points repeat."""
MOST_DRAWS = 2**18
"""Maximum number of draws of a chain with `draws=auto`: 2 MB of losses."""


@dataclass(frozen=True)
class Span:
    """The recorded points that are draws.

    Attributes:
        warmup: Number of recorded points before the first draw.
        end: Number of recorded points up to the last draw.
    """

    warmup: int
    end: int

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.end - self.warmup


def stayed_finite(losses: Float[np.ndarray, "chains points"]) -> Bool[np.ndarray, " chains"]:
    """Return which chains have only finite recorded losses."""
    return np.isfinite(losses).all(axis=1)


def room(config: SamplerConfig, rows: int) -> int:
    """Return the number of recorded points that a chain's traces have room for.

    Args:
        config: A settled sampler.
        rows: Number of stored rows of the data.
    """
    if config.draws != "auto" and config.warmup != "auto":
        return given_warmup(config, config.warmup) + config.draws
    assert config.max_gradients is not None  # settled
    first = cost_of_points(config, rows, tuning_points(config) + COST_PERIOD)
    beyond = max(0.0, config.max_gradients - first.sum()) / first[-COST_PERIOD:].mean()
    longest = point_of(config, MOST_DRAWS + 1)
    spent = np.cumsum(cost_of_points(config, rows, int(min(len(first) + beyond + COST_PERIOD, longest))))
    return recorded(config, int(np.searchsorted(spent, config.max_gradients, side="right")))


def check_length(config: SamplerConfig, rows: int) -> None:
    """Check that a chain's budget is enough for what was asked for, and that its traces have room for it.

    Args:
        config: A settled sampler.
        rows: Number of stored rows of the data.

    Raises:
        ConfigError: if not; the error says what would be enough.
    """
    if config.is_sized:
        return
    assert config.max_gradients is not None  # settled
    draws = FIRST_DRAWS[config.kind] if config.draws == "auto" else config.draws
    if config.warmup != "auto":
        warmup = given_warmup(config, config.warmup)
    else:
        warmup = recorded(config, tuning_points(config)) + 1
    most = room(config, rows)
    if most < warmup + draws:
        least = float(cost_of_points(config, rows, point_of(config, warmup + draws)).sum())
        raise ConfigError(
            "the budget of an estimate ends before its first draws are made",
            got=f"sampler.max_gradients={config.max_gradients}",
            allowed=f"{math.ceil(least)} or more: {warmup} points of warm-up and {draws} draws, "
            f"{config.chains} chains",
            do=f"sampler.max_gradients={math.ceil(2 * least)}, or a shorter sampler.warmup",
        )
    if most > MOST_DRAWS:
        raise ConfigError(
            "the budget of an estimate buys more draws than its traces have room for",
            got=f"sampler.max_gradients={config.max_gradients}",
            allowed=f"{MOST_DRAWS} draws a chain",
            do=f"keep fewer of them: sampler.thinning={10 * config.thinning}",
        )
    if config.ess is not None and config.ess > config.chains * most:
        raise ConfigError(
            "so many effective draws cannot come from so few draws",
            got=f"sampler.ess={config.ess:g}, and sampler.max_gradients={config.max_gradients}",
            allowed=f"{config.chains * most} or fewer: the draws that this budget buys",
            do="ask for fewer effective draws, or give a larger sampler.max_gradients",
        )


def points(config: SamplerConfig, rows: int) -> int:
    """Return the maximum number of points that a chain is run for."""
    return point_of(config, room(config, rows))


def relaxation_time(config: SamplerConfig, step_size: float) -> float:
    """Return the number of steps in which the square of a coordinate that only the localisation holds loses
    its memory of its start by a factor e.

    For SGLD it is 1 / (step_size gamma). It is NaN if no such time is known.
    """
    if config.gamma == 0:
        return math.nan
    match config:
        case SgldSampler(preconditioner="none"):
            return 1 / (step_size * config.gamma)
        case SgnhtSampler():
            # Of a damped oscillator: slow by friction, or by too little of it. Its square forgets twice
            # as fast.
            damped = config.friction**2 - 4 * config.gamma
            rate = config.friction
            if damped > 0:  # friction less the root, without the loss of digits
                rate = 4 * config.gamma / (config.friction + math.sqrt(damped))
            return 1 / (math.sqrt(step_size) * rate)
    return math.nan


def short_warmup(config: SamplerConfig) -> str | None:
    """Return a warning, before anything is run, about a given warm-up that is too short.

    None if the warm-up is long enough, or if only the run can tell.
    """
    if not isinstance(config, StochasticSampler) or config.warmup == "auto" or config.step_size == "auto":
        return None
    time = relaxation_time(config, config.step_size)
    if not config.warmup < LEAST_TIMES * time:
        return None
    return (
        f"a warm-up of {config.warmup} steps is {config.warmup / time:.2g} of the {time:.0f} in which chains "
        f"spread, less than {LEAST_TIMES:g}: sampler.warmup={math.ceil(WARMUP_TIMES * time)}, or auto"
    )


def next_stop(config: SamplerConfig, rows: int, results: Mapping[str, np.ndarray] | None, done: int) -> int:
    """Return the next point at which to ask, or the one at which the run ends; see
    `engine.workload.Segmented`."""
    if config.is_sized:
        return points(config, rows)
    if results is None:
        return done or tuning_points(config) or 1
    return point_of(config, span(config, rows, results, recorded(config, done)).end)


def span(
    config: SamplerConfig, rows: int, results: Mapping[str, np.ndarray], available: int | None = None
) -> Span:
    """Return the draws of a run.

    Args:
        config: A settled sampler.
        rows: Number of stored rows of the data.
        results: Traces of the run, (lanes, points).
        available: Number of recorded points that there are; if not given, all are there and the run has
            ended.

    Returns:
        The draws of the last rung: the first rung that is enough, that has come to the end of the budget, or
        for which there are too few points.
    """
    most = room(config, rows)
    step_size = float(np.mean(results["step_size"][: config.chains]))
    time = relaxation_time(config, step_size) / config.thinning
    if config.draws != "auto":
        return _span(config, time, most, config.draws)
    first = FIRST_DRAWS[config.kind]
    draws = first if math.isnan(time) else max(first, math.ceil(DRAW_TIMES * time))
    spent = results["full_gradients"].sum(axis=0)
    while True:
        rung = _span(config, time, most, draws)
        if rung.end == most or (available is not None and rung.end > available):
            return rung
        losses = results["loss"][: config.chains, : rung.end]
        kept = losses[stayed_finite(losses)][:, rung.warmup :]
        if not len(kept) or spent[rung.end - 1] >= (config.max_gradients or math.inf):
            return rung
        seen = estimate(kept, 0.0, 1.0)
        assert config.ess is not None  # settled
        agree = seen.r_hat <= MAX_R_HAT and seen.spread_p >= RARE
        # The drift last: it takes two more estimates.
        if seen.ess >= config.ess and agree and abs(drift(kept)) <= MAX_DRIFT:
            return rung
        growth = MORE * config.ess / seen.ess if seen.ess > 0 else MOST_GROWTH
        draws = math.ceil(rung.draws * min(max(growth, LEAST_GROWTH), MOST_GROWTH))
        left = float(most - rung.end)
        if isinstance(config, NutsSampler):
            # What the draws so far have cost says how many are left.
            cost = (spent[rung.end - 1] - spent[rung.warmup]) / (rung.draws - 1)
            left = min(left, ((config.max_gradients or math.inf) - spent[rung.end - 1]) / cost)
        if LAST_RUNG * (draws - rung.draws) > left:
            draws = rung.draws + max(1, math.ceil(left))


def _span(config: SamplerConfig, time: float, most: int, draws: int) -> Span:
    """Return the warm-up and this many draws after it, or fewer if there is no room for them; `time` is in
    recorded points."""
    if config.warmup != "auto":
        warmup = given_warmup(config, config.warmup)
        return Span(warmup, min(most, warmup + draws))
    tuned = recorded(config, tuning_points(config))
    if math.isnan(time):
        end = min(most, tuned + math.ceil(draws / (1 - WARMUP_SHARE)))
        warmup = tuned + math.ceil((end - tuned) * WARMUP_SHARE)
        return Span(warmup if config.draws == "auto" else min(warmup, max(tuned, end - draws)), end)
    spare = most - tuned
    longest = spare - draws if config.draws != "auto" else int(spare * WARMUP_SHARE)
    warmup = tuned + min(math.ceil(WARMUP_TIMES * time), max(0, longest))
    return Span(warmup, min(most, warmup + draws))


def given_warmup(config: SamplerConfig, warmup: int) -> int:
    """Return the number of recorded points of a warm-up of this many steps; MCLMC's is not recorded."""
    match config:
        case SgldSampler() | SgnhtSampler():
            return blocks(config, warmup)
        case HmcSampler() | NutsSampler():
            return warmup
        case MclmcSampler():
            return 0
