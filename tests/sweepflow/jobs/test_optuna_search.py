"""Optuna's samplers as sweepers: what they search, what they find, and what a study has of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BruteForceSampler, CmaEsSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from scipy import stats

from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composer
from sweepflow.jobs.job import Goal, Job
from sweepflow.jobs.optuna_search import Optuna
from sweepflow.jobs.sweepers import Random, Sweeper
from sweepflow.space import (
    Distribution,
    categorical,
    constant,
    int_uniform,
    joint,
    log_int_uniform,
    log_normal,
    log_uniform,
    normal,
    quantized,
    truncated_normal,
    uniform,
)

Params = Mapping[str, Any]

UNIT = FloatDistribution(0.0, 1.0)
DISTRIBUTIONS: dict[str, tuple[Distribution, str, BaseDistribution]] = {
    "uniform": (uniform(-12.0, 12.0), "x", FloatDistribution(-12.0, 12.0)),
    "log_uniform": (log_uniform(1e-5, 0.1), "x", FloatDistribution(1e-5, 0.1, log=True)),
    "int_uniform": (int_uniform(-3, 9), "x", IntDistribution(-3, 9)),
    "log_int_uniform": (log_int_uniform(1, 500), "x", IntDistribution(1, 500, log=True)),
    "normal": (normal(5.0, 2.0), "quantile of x", UNIT),
    "log_normal": (log_normal(0.0, 1.0), "quantile of x", UNIT),
    "truncated_normal": (truncated_normal(0.0, 1.0, low=0.5), "quantile of x", UNIT),
    "quantized": (quantized(uniform(0.0, 1.0), 0.1), "quantile of x", UNIT),
    "quantized, unbounded": (quantized(normal(0.0, 3.0), 0.5), "quantile of x", UNIT),
    "quantized, log": (quantized(log_int_uniform(8, 512), 8), "quantile of x", UNIT),
    "words": (categorical(["sgd", "adam", None]), "x", CategoricalDistribution(("sgd", "adam", None))),
    "weights": (categorical(["a", "b", "c"], [0.7, 0.0, 0.3]), "quantile of x", UNIT),
    "truth values": (categorical([True, False]), "x", CategoricalDistribution((True, False))),
    "range": (categorical([1, 2, 3, 4, 5, 6, 7, 8]), "x", IntDistribution(1, 8)),
    "range backwards": (categorical([9, 6, 3]), "x", IntDistribution(3, 9, step=3)),
    "range of decimals": (categorical([0.1, 0.2, 0.3, 0.4]), "x", FloatDistribution(0.1, 0.4, step=0.1)),
    "powers of two": (categorical([16, 32, 64]), "x", CategoricalDistribution((16, 32, 64))),
    "two numbers": (categorical([1, 2]), "x", CategoricalDistribution((1, 2))),
    "lists": (
        categorical([[64, 64], None, "null"]),
        "x",
        CategoricalDistribution(("[64, 64]", "null", '"null"')),
    ),
    "mappings": (
        categorical([{"b": 1, "a": 2}, {}]),
        "x",
        CategoricalDistribution(('{"a": 2, "b": 1}', "{}")),
    ),
    "alike in Python": (categorical([1, 1.0, True]), "x", CategoricalDistribution(("1", "1.0", "true"))),
    "constant": (constant([3]), "x", CategoricalDistribution(("[3]",))),
}
PLANE = {"x": uniform(-12.0, 12.0), "y": uniform(-12.0, 12.0)}
COMPOSER = Composer(dict.fromkeys(["x", "y", "optim", "n", "lr"]))


def bowl(params: Params) -> float:
    """Its minimum is 0, at (2, -3)."""
    return (params["x"] - 2) ** 2 + (params["y"] + 3) ** 2


def params_of(texts: Sequence[str]) -> dict[str, Any]:
    """What overrides are to Hydra."""
    (one,) = COMPOSER.expand([], texts)
    return one.params


def job_of(texts: Sequence[str]) -> Job:
    """A job that was asked for by a sweeper, beside an override of the user's own."""
    return Job(0, ("fixed=1", *texts), {}, {}, {}, DictConfig({}), "f", "", "")


def search(
    sweeper: Sweeper,
    function: Callable[[Params], float] = bowl,
    space: Mapping[str, Distribution] = PLANE,
    goal: Goal = "minimize",
) -> list[tuple[dict[str, Any], float]]:
    """One job after the other until the search is over: what was asked for, and its score."""
    sweeper.begin(space, goal)
    history = []
    while asked := sweeper.ask(1):
        for texts in asked:
            params = params_of(texts)
            history.append((params, function(params)))
            sweeper.tell(job_of(texts), history[-1][1])
    return history


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_a_study_knows_what_is_searched(kind: str) -> None:
    drawn, name, expected = DISTRIBUTIONS[kind]
    sweeper = Optuna(1)
    ((params, _),) = search(sweeper, lambda _: 0.0, {"x": drawn})
    (trial,) = sweeper.study.trials
    assert trial.distributions == {name: expected}
    assert params_of(trial.user_attrs["overrides"]) == params


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_random_samples_are_of_the_distribution(kind: str) -> None:
    drawn = DISTRIBUTIONS[kind][0]
    history = search(Optuna(100, sampler=RandomSampler(seed=0)), lambda _: 0.0, {"x": drawn})
    found = [params["x"] for params, _ in history]
    exact = drawn.ppf((np.arange(2000) + 0.5) / 2000)
    # By JSON, which tells 1, 1.0 and true apart.
    if (levels := drawn.levels()) is not None:
        places = {json.dumps(level, sort_keys=True): place for place, level in enumerate(levels)}
        found, exact = ([places[json.dumps(x, sort_keys=True)] for x in xs] for xs in (found, exact))
    else:
        assert {type(x) for x in found} == {float}
    assert stats.ks_2samp(found, exact).pvalue > 0.01


def test_the_ends_of_the_unit_interval_are_numbers() -> None:
    study = optuna.create_study(direction="minimize")
    for u in (0.0, 1.0):
        study.enqueue_trial({"quantile of x": u})
    low, high = (params["x"] for params, _ in search(Optuna(2, study=study), len, {"x": normal(0.0, 1.0)}))
    assert -9 < low < -8 < 8 < high < 9


def test_keys_that_are_drawn_as_one() -> None:
    pairs = [{"x": 1, "y": "one"}, {"x": 2}]
    history = search(Optuna(20), len, {"both": joint(pairs)})
    assert [pair for pair in pairs if (pair, len(pair)) in history] == pairs
    weighted = Optuna(100, sampler=RandomSampler(seed=0))
    found = [params for params, _ in search(weighted, len, {"both": joint(pairs, [0.1, 0.9])})]
    assert 2 <= found.count(pairs[0]) <= 20
    assert weighted.study.trials[0].distributions == {"quantile of both": UNIT}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab'\\ ,1", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.lists(VALUES, min_size=1, max_size=6, unique_by=lambda v: json.dumps(v, sort_keys=True)),
    st.integers(0),
)
@settings(max_examples=30)
def test_any_choices_can_be_searched(values: list[Any], seed: int) -> None:
    sampler = RandomSampler(seed=seed % 2**32)
    history = search(Optuna(4, sampler=sampler), lambda _: 0.0, {"x": categorical(values)})
    assert {json.dumps(params["x"], sort_keys=True) for params, _ in history} <= {
        json.dumps(value, sort_keys=True) for value in values
    }


def test_it_finds_a_minimum_sooner_than_random_draws_do() -> None:
    tpe, random = (
        [min(score for _, score in search(make(50, seed))) for seed in range(5)] for make in (Optuna, Random)
    )
    assert max(tpe) < 0.5 and np.median(tpe) < np.median(random) / 2


def test_choices_are_searched_too() -> None:
    space = {
        "optim": categorical(["sgd", "adam"]),
        "n": categorical([1, 2, 3, 4, 5, 6, 7, 8]),
        "lr": log_uniform(1e-5, 1e-1),
    }

    def loss(params: Params) -> float:
        of = {"sgd": 1.0, "adam": 0.0}[params["optim"]]
        return of + abs(params["n"] - 6) + abs(math.log10(params["lr"]) + 3)

    params, score = min(search(Optuna(80), loss, space), key=lambda pair: pair[1])
    assert score < 0.5 and params["optim"] == "adam" and params["n"] == 6


def test_any_sampler_of_optunas_can_search() -> None:
    history = search(Optuna(100, sampler=CmaEsSampler(seed=0)))
    assert min(score for _, score in history) < 1e-2


def test_the_same_seed_asks_for_the_same() -> None:
    first = search(Optuna(30, seed=3))
    assert first == search(Optuna(30, seed=3))
    assert first == search(Optuna(30, seed=3), space=dict(reversed(PLANE.items())))
    assert first[0] != search(Optuna(1, seed=4))[0]
    again = Optuna(30, seed=3)
    assert [search(again), search(again)] == [first, first], "a search of its own each time"


def test_the_goal_says_what_is_good() -> None:
    sweeper = Optuna(30)
    history = search(sweeper, lambda params: -bowl(params), goal="maximize")
    assert [params for params, _ in history] == [params for params, _ in search(Optuna(30))]
    assert sweeper.study.best_value == max(score for _, score in history) > -5


def test_failed_jobs_are_failed_trials() -> None:
    def risky(params: Params) -> float:
        return math.nan if params["x"] < 2 else bowl(params)

    sweeper = Optuna(40)
    history = search(sweeper, risky)
    failed = [math.isnan(score) for _, score in history]
    assert any(failed) and not all(failed)
    assert [trial.state is TrialState.FAIL for trial in sweeper.study.trials] == failed
    assert sweeper.study.best_value == min(score for _, score in history if not math.isnan(score))


def test_several_are_asked_for_before_any_score_is_told() -> None:
    sweeper = Optuna(30)
    sweeper.begin(PLANE, "minimize")
    sizes = []
    while asked := sweeper.ask(4):
        sizes.append(len(asked))
        assert len({tuple(texts) for texts in asked}) == len(asked)
        for texts in reversed(asked):
            sweeper.tell(job_of(texts), bowl(params_of(texts)))
    assert sizes == [4] * 7 + [2]
    trials = sweeper.study.trials
    assert [trial.value for trial in trials] == [bowl(trial.params) for trial in trials]
    assert sweeper.study.best_value < 5


def test_a_study_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a study.db'}"
    before, after = optuna.storages.RDBStorage(url), optuna.storages.RDBStorage(url)
    study = optuna.create_study(
        study_name="bowl", storage=before, direction="minimize", sampler=TPESampler(seed=0)
    )
    first = search(Optuna(15, study=study))
    loaded = optuna.load_study(study_name="bowl", storage=after, sampler=TPESampler(seed=1))
    second = search(Optuna(5, study=loaded))
    assert [trial.value for trial in loaded.trials] == [score for _, score in first + second]
    afresh = search(Optuna(5, sampler=TPESampler(seed=1)))
    assert all(params != other for (params, _), (other, _) in zip(second, afresh, strict=True)), (
        "its sampler knows the first"
    )
    for storage in (before, after):
        storage.remove_session()


def test_trials_of_a_study_that_wait_come_first() -> None:
    study = optuna.create_study(direction="minimize")
    study.enqueue_trial({"x": 2.0, "y": -3.0})
    assert search(Optuna(2, study=study))[0] == ({"x": 2.0, "y": -3.0}, 0.0)


@pytest.mark.filterwarnings("ignore:BruteForceSampler is experimental")
@pytest.mark.parametrize(
    "make", [lambda: GridSampler({"x": [1, 2], "y": ["a", "b", "c"]}, seed=0), lambda: BruteForceSampler(0)]
)
def test_a_sampler_that_has_tried_all_ends_the_search(
    make: Callable[[], optuna.samplers.BaseSampler],
) -> None:
    space = {"x": categorical([1, 2]), "y": categorical(["a", "b", "c"])}
    sweeper = Optuna(50, sampler=make())
    found = {(params["x"], params["y"]) for params, _ in search(sweeper, lambda _: 0.0, space)}
    assert found == {(x, y) for x in (1, 2) for y in "abc"}
    assert [trial.state for trial in sweeper.study.trials] == [TrialState.COMPLETE] * 6


def test_another_error_of_a_sampler_is_not_hidden() -> None:
    class Broken(RandomSampler):
        def after_trial(self, *_: Any) -> None:
            raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        search(Optuna(2, sampler=Broken()))


def test_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    try:
        search(Optuna(15))
        assert [record for record in caplog.records if record.name.startswith("optuna")] == []
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
        optuna.create_study()
        assert caplog.records, "what was kept back"
    finally:
        optuna.logging.disable_propagation()


def _study(*directions: str, **choices: Any) -> optuna.Study:
    study = optuna.create_study(directions=directions)
    if choices:
        study.tell(study.ask(choices), 0.0)
    return study


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optuna(0), r"at least one job(.|\n)*jobs=0"),
        (lambda: Optuna(9, sampler=TPESampler), r"no sampler of Optuna's(.|\n)*BaseSampler"),
        (lambda: Optuna(9, study="bowl"), r"no study of Optuna's(.|\n)*'bowl'(.|\n)*load_study"),
        (
            lambda: Optuna(9, sampler=RandomSampler(), study=_study("minimize")),
            r"a sampler already(.|\n)*RandomSampler(.|\n)*TPESampler",
        ),
        (lambda: Optuna(9).begin({}, "minimize"), r"nothing to search(.|\n)*interval"),
        (
            lambda: Optuna(9).begin({"y": uniform(0.0, 1.0, when="x == 1")}, "minimize"),
            r"y: Optuna is asked for all keys at once(.|\n)*x == 1",
        ),
        (
            lambda: Optuna(9, study=_study("maximize")).begin(PLANE, "minimize"),
            r"another goal(.|\n)*goal='minimize', study: maximize(.|\n)*goal='maximize'",
        ),
        (
            lambda: Optuna(9, study=_study("minimize", "minimize")).begin(PLANE, "minimize"),
            r"another goal(.|\n)*study of one objective",
        ),
        (
            lambda: Optuna(9, study=_study("minimize", x=FloatDistribution(1, 9, log=True))).begin(
                PLANE, "minimize"
            ),
            r"x: study '.*' has another distribution of it(.|\n)*trial 0: FloatDistribution",
        ),
        (
            lambda: Optuna(9, study=_study("minimize", x=CategoricalDistribution(("a",)))).begin(
                {"x": categorical(["a", "b"])}, "minimize"
            ),
            r"x: study '.*' has another distribution of it(.|\n)*choices=\('a',\)",
        ),
    ],
)
def test_what_cannot_be_searched_is_an_error_before_any_question(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_without_optuna_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'sweepflow\[optuna\]'"):
        Optuna(9)


def test_optuna_is_imported_by_those_who_use_it() -> None:
    code = "import sys, sweepflow.flows, sweepflow.jobs.optuna_search; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
