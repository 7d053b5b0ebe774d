"""What shipped sweepers ask for, and overrides of any value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composer
from sweepflow.jobs.job import Job, Jobs
from sweepflow.jobs.sweepers import Random, Sobol, Sweeper, override
from sweepflow.space import categorical, int_uniform, uniform

SPACE = {"x": uniform(-12.0, 12.0), "k": int_uniform(1, 4), "optim": categorical(["sgd", "adam"])}
SHIPPED = {"random": Random, "sobol": Sobol}


def asked(sweeper: Sweeper, n: int = 1) -> list[list[str]]:
    sweeper.begin(SPACE, "minimize")
    found: list[list[str]] = []
    while more := sweeper.ask(n):
        assert len(more) <= n
        found += [list(texts) for texts in more]
    return found


@pytest.mark.parametrize("kind", SHIPPED)
def test_draws_lie_in_the_space_and_depend_on_the_seed_alone(kind: str) -> None:
    make = SHIPPED[kind]
    found = asked(make(16))
    assert len(found) == 16 and found == asked(make(16), n=5) != asked(make(16, seed=1))
    assert asked(make(32))[:16] == found, "the first of a longer search"
    for texts in found:
        of = dict(text.split("=") for text in texts)
        assert of.keys() == SPACE.keys() and -12 <= float(of["x"]) <= 12
        assert of["k"] in "1234" and of["optim"] in ("sgd", "adam")


@pytest.mark.parametrize("kind", SHIPPED)
def test_nothing_to_draw_is_an_error(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"nothing to draw(.|\n)*interval"):
        SHIPPED[kind](4).begin({}, "minimize")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab ,='\"\\{}[]:$1.", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=5,
)
COMPOSER = Composer({"x": None})


@given(VALUES.filter(lambda value: "${" not in repr(value)))
def test_any_value_can_be_overridden(value: Any) -> None:
    (one,) = COMPOSER.expand([], [override("x", value)])
    assert OmegaConf.to_container(one.tree) == {"x": value}
    assert one.params.keys() == {"x"}


def test_the_best_job_has_a_finite_score() -> None:
    scores = [math.nan, -math.inf, 3.0, None, 2.0, math.inf, 2.0]
    jobs = Jobs(Job(i, (), {}, {}, {}, DictConfig({}), "f", "", "", score=s) for i, s in enumerate(scores))
    assert jobs.best is jobs[4]
    jobs.goal = "maximize"
    assert jobs.best is jobs[2]
    assert Jobs(jobs[:2]).best is None
