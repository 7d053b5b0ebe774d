"""Roles of fields, and the parts of a configuration they split it into."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from sweepflow.schema.data import FileData, TeacherStudentData
from sweepflow.schema.fields import (
    Config,
    Content,
    Location,
    Role,
    Traced,
    dump,
    roles,
    static_part,
    traced_part,
    with_numbers,
    without,
)
from sweepflow.schema.llc import EstimateConfig
from sweepflow.schema.model import MlpModel
from sweepflow.schema.sampler import SgldSampler
from sweepflow.schema.target import TargetConfig, TrainingConfig


class Inner(Config):
    width: int = 3
    rate: Traced[float | None] = 0.5
    seed: Content[int] = 0
    path: Location[str] = "here"


class Outer(Config):
    kind: Literal["outer"] = "outer"
    inner: Inner = Inner()
    scale: Traced[float] = 2


ESTIMATE = EstimateConfig(
    target=TargetConfig(
        model=MlpModel(widths=(8,)), data=TeacherStudentData(), target=TrainingConfig(learning_rate=0.125)
    ),
    sampler=SgldSampler(nbeta=100.0, step_size=2e-5),
)


def test_every_field_has_the_role_of_its_annotation() -> None:
    assert roles(Inner) == {
        "width": Role.STATIC,
        "rate": Role.TRACED,
        "seed": Role.CONTENT,
        "path": Role.LOCATION,
    }
    assert roles(Outer) == {"kind": Role.STATIC, "inner": Role.STATIC, "scale": Role.TRACED}


def test_the_traced_part_is_floats_by_dotted_key() -> None:
    assert traced_part(Outer(inner=Inner(rate=1))) == {"inner.rate": 1.0, "scale": 2.0}
    assert all(type(value) is float for value in traced_part(Outer(inner=Inner(rate=1))).values())
    assert traced_part(ESTIMATE) == {
        "target.target.learning_rate": 0.125,
        "target.target.momentum": 0.9,
        "target.target.weight_decay": 0.0,
        "target.target.tolerance": 0.0,
        "sampler.nbeta": 100.0,
        "sampler.gamma": 10.0,
        "sampler.step_size": 2e-5,
        "sampler.min_acceptance": 0.85,
        "sampler.b1": 0.9,
        "sampler.b2": 0.99,
        "sampler.epsilon": 0.1,
    }


@pytest.mark.parametrize(
    "hidden", ["rate", "seed", "path", "inner.rate", "inner.seed", "inner.path", "scale"]
)
def test_the_static_part_hides_everything_else(hidden: str) -> None:
    value: object = static_part(Outer()) if "." in hidden or hidden == "scale" else static_part(Inner())
    *owners, name = hidden.split(".")
    for owner in owners:
        value = getattr(value, owner)
    with pytest.raises(AttributeError, match=name):
        getattr(value, name)


def test_the_static_part_keeps_static_values_and_leaves_the_original_whole() -> None:
    original = Outer(inner=Inner(width=7))
    stripped = static_part(original)
    assert (stripped.kind, stripped.inner.width) == ("outer", 7)
    assert type(stripped) is Outer
    assert original.scale == 2.0 and original.inner.seed == 0 and original.inner.path == "here"


def test_a_running_programs_numbers_take_the_place_of_the_traced_ones() -> None:
    numbers = {name: object() for name in traced_part(Outer())}
    filled = with_numbers(Outer(inner=Inner(width=7)), numbers)
    assert type(filled) is Outer and type(filled.inner) is Inner
    assert filled.scale is numbers["scale"] and filled.inner.rate is numbers["inner.rate"]
    assert (filled.kind, filled.inner.width) == ("outer", 7)
    for hidden in ("seed", "path"):
        with pytest.raises(AttributeError, match=hidden):
            getattr(filled.inner, hidden)
    with pytest.raises(KeyError, match=r"inner\.rate"):
        with_numbers(Outer(), {"scale": 1.0})


def test_fields_of_some_roles_can_be_left_out() -> None:
    original = Outer(inner=Inner(seed=4))
    kept = without(original, Role.TRACED)
    assert (kept.inner.seed, kept.inner.path, kept.inner.width) == (4, "here", 3)
    for owner, name in ((kept, "scale"), (kept.inner, "rate")):
        with pytest.raises(AttributeError, match=name):
            getattr(owner, name)
    assert without(original).__dict__["scale"] == 2.0, "of none: as it was"
    assert original.scale == 2.0 and original.inner.rate == 0.5


def test_static_parts_are_equal_where_only_other_fields_differ() -> None:
    other = Outer(inner=Inner(rate=9, seed=9, path="there"), scale=9)
    assert static_part(other).inner.__dict__ == static_part(Outer()).inner.__dict__
    assert dump(other, Role.TRACED, Role.CONTENT, Role.LOCATION) == {"kind": "outer", "inner": {"width": 3}}


def test_dump_leaves_out_roles_at_every_depth() -> None:
    assert dump(Outer()) == {
        "kind": "outer",
        "inner": {"width": 3, "rate": 0.5, "seed": 0, "path": "here"},
        "scale": 2.0,
    }
    assert dump(Outer(), Role.LOCATION)["inner"] == {"width": 3, "rate": 0.5, "seed": 0}
    assert "path" not in dump(FileData(path="x.csv"), Role.LOCATION)


def test_configurations_are_values() -> None:
    assert hash(Outer(scale=1)) == hash(Outer(scale=1.0))
    assert Outer(scale=1) == Outer(scale=1.0) != Outer(scale=1.5)
    assert {ESTIMATE: 1}[EstimateConfig.model_validate(ESTIMATE.model_dump())] == 1
    with pytest.raises(ValidationError, match="frozen"):
        ESTIMATE.target.target.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_nan_or_infinite(number: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Outer(scale=number)


def test_unknown_keys_are_refused_at_every_depth() -> None:
    with pytest.raises(ValidationError, match=r"inner\.widht\n.*not permitted"):
        Outer.model_validate({"inner": {"widht": 3}})
