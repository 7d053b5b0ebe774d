"""Hydra's override grammar as distributions."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sweepflow.errors import ConfigError
from sweepflow.space import (
    Distribution,
    categorical,
    distribution_of,
    int_uniform,
    log_int_uniform,
    log_uniform,
    uniform,
)


def _parse(text: str) -> Distribution | None:
    return distribution_of(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=interval(0,0.5)", uniform(0, 0.5)),
        ("x=interval(1,9)", uniform(1, 9)),
        ("x=interval(-1e-3,1e-3)", uniform(-1e-3, 1e-3)),
        ("model.x=tag(log,interval(1e-4,1e-1))", log_uniform(1e-4, 1e-1)),
        ("x=int(interval(1,9))", int_uniform(1, 9)),
        ("x=tag(log,int(interval(1,512)))", log_int_uniform(1, 512)),
        ("x=int(tag(log,interval(1,512)))", log_int_uniform(1, 512)),
        ("x=choice(sgd,adam)", categorical(["sgd", "adam"])),
        ("x=choice('sgd','a b',3,0.5,true)", categorical(["sgd", "a b", 3, 0.5, True])),
        ("x=choice([32],[64,'64'])", categorical([[32], [64, "64"]])),
        ("x=shuffle(choice(a,b))", categorical(["a", "b"])),
        ("x=float(choice(1,2))", categorical([1.0, 2.0])),
    ],
)
def test_distributions(text: str, expected: Distribution) -> None:
    assert _parse(text) == expected


@pytest.mark.parametrize(
    "text", ["x=3", "x=sgd,adam", "x=range(1,4)", "x=[1,2]", "x=glob(*)", "~x", "x=null"]
)
def test_values_and_lists_of_values_are_none(text: str) -> None:
    assert _parse(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=tag(log,interval(0,1))", "^x: log_uniform: low has to be above 0"),
        ("x=interval(1,0)", "low has to be below high"),
        ("x=int(interval(1.2,1.8))", "low has to be below high"),
        ("x=tag(logarithmic,interval(1,2))", "logarithmic"),
        ("x=tag(log,choice(1,2))", "no tags on a choice"),
        ("x=choice(a,a)", "given twice"),
    ],
)
def test_refused_overrides_are_echoed(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        _parse(text)
    assert error.value.got == text
