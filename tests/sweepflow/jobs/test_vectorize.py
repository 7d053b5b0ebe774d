"""One vmapped call gives what the calls one by one give."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import BaseModel

from sweepflow.errors import ConfigError
from sweepflow.jobs.job import Job
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.vectorize import call_together, groups


class Inner(BaseModel):
    rate: float = 0.5


class Model(BaseModel):
    x: float = 0.0
    kind: str = "sin"
    inner: Inner = Inner()


PLAIN = {"x": 0.0, "kind": "sin", "inner": {"rate": 0.5}}


def wave(cfg: Any) -> dict[str, Any]:
    height = {"sin": jnp.sin, "cos": jnp.cos}[cfg.kind](cfg.x) * cfg.inner.rate
    return {"height": height, "curve": height * jnp.arange(3.0)}


def planned(config: Any, overrides: list[str], function: Any = wave) -> list[Job]:
    return JobPlan(config, function, overrides, "nowhere").add(overrides)


@pytest.mark.parametrize("config", [PLAIN, Model], ids=["mapping", "model"])
def test_it_is_what_the_calls_one_by_one_give(config: Any) -> None:
    jobs = planned(config, ["x=0.5,1,2.5", "kind=sin,cos", "inner.rate=1,0.1"])
    found = groups(jobs)
    assert [(group.keys, len(group.jobs)) for group in found] == [(("x", "inner.rate"), 6)] * 2
    assert {job.params["kind"] for job in found[0].jobs} == {"sin"}
    for group in found:
        for job, value in zip(group.jobs, call_together(wave, group), strict=True):
            alone = wave(job.cfg)
            np.testing.assert_allclose(value["height"], alone["height"], rtol=1e-6)
            np.testing.assert_allclose(value["curve"], alone["curve"], rtol=1e-6)
            assert isinstance(value["curve"], np.ndarray)


def test_what_is_no_number_is_called_one_by_one() -> None:
    (first, second) = groups(planned(PLAIN, ["kind=sin,cos"]))
    assert first.keys == second.keys == ()
    (value,) = call_together(wave, second)
    assert value["height"] == 0.5


def looks(cfg: Any) -> Any:
    return cfg.x if cfg.x > 1 else -cfg.x


@pytest.mark.parametrize(
    "function", [looks, lambda cfg: float(cfg.x), lambda cfg: f"{cfg.x}"], ids=["if", "float", "text"]
)
def test_a_function_that_cannot_be_batched_is_named_with_a_remedy(function: Any) -> None:
    (group,) = groups(planned(PLAIN, ["x=0.5,1.5"], function))
    with pytest.raises(ConfigError, match=r"cannot be batched over x(.|\n)*jnp.where"):
        call_together(function, group)


def test_what_refers_to_a_number_goes_with_it() -> None:
    config = {"x": 0.0, "y": "${x}", "inner": {"rate": "${y}"}}
    jobs = planned(config, ["x=1.0,2.0,3.0"], lambda cfg: jnp.sin(cfg.x) * cfg.y + cfg.inner.rate)
    (group,) = groups(jobs)
    assert group.keys == ("x",)
    values = call_together(lambda cfg: jnp.sin(cfg.x) * cfg.y + cfg.inner.rate, group)
    np.testing.assert_allclose(values, [np.sin(x) * x + x for x in (1.0, 2.0, 3.0)], rtol=1e-6)
