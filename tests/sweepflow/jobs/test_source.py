"""What a model of pydantic's makes of a composed tree."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composer
from sweepflow.jobs.source import validator


class Inner(BaseModel):
    rate: float = 0.1


class Model(BaseModel):
    x: int = 1
    inner: Inner = Inner()
    layers: list[Inner] = [Inner()]
    named: dict[str, Inner] = {"a": Inner()}


class Open(Model):
    model_config = ConfigDict(extra="allow")


class Renaming(Model):
    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"x" if key == "old" else key: value for key, value in given.items()}


def accepted(model: Any, *overrides: str) -> Any:
    (one,) = Composer(model).expand(overrides)
    return validator(model)(one.tree)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("+new=1", "new"),
        ("+inner.new=1", "inner.new"),
        ("layers=[{rate:1,new:2}]", "layers.0.new"),
        ("+named.a.new=1", "named.a.new"),
    ],
)
def test_a_key_that_a_model_would_ignore_is_refused(override: str, key: str) -> None:
    """Its label would say what the job never got."""
    with pytest.raises(ConfigError) as caught:
        accepted(Model, override)
    error = caught.value
    assert f"no field for {key}" in error.what and str(error.got).startswith(f"{key}=")
    assert error.allowed and "extra='allow'" in str(error.do)


def test_what_a_model_takes_in_its_own_way_is_its_own() -> None:
    assert accepted(Model, "x=2", "inner.rate=1", "layers=[{rate:1},{}]").layers == [Inner(rate=1), Inner()]
    assert accepted(Model(x=5)).x == 5
    assert accepted(Open, "+new=1").new == 1
    assert accepted(Renaming, "+old=3", "~x").x == 3
