"""Constraints: what they do to a sample, in which order, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from sweepflow.errors import ConfigError
from sweepflow.space import Space, categorical, uniform
from sweepflow.space.constraints import bind_constraint, parse_constraint

VALUES = {"optimizer": "adam", "momentum": 0.9, "batch_size": 64, "nesterov": True}


def test_set_gives_only_what_a_sample_does_not_have() -> None:
    constraint = bind_constraint(
        parse_constraint({"when": "optimizer == adam", "set": {"momentum": 0}}), VALUES
    )
    assert constraint.assigned(VALUES) == {"momentum": 0}
    assert constraint.assigned({**VALUES, "momentum": 0.0}) == {}
    assert constraint.assigned({**VALUES, "optimizer": "sgd"}) == {}
    assert not constraint.skips(VALUES)
    assert constraint.text == "optimizer == adam → momentum=0"


def test_true_is_not_one() -> None:
    constraint = bind_constraint(parse_constraint({"when": "batch_size > 1", "set": {"nesterov": 1}}), VALUES)
    assert constraint.assigned(VALUES) == {"nesterov": 1}


def test_when_as_a_mapping() -> None:
    raw = {"when": {"optimizer": ["adam", "adamw"], "batch_size": 64}, "set": {"momentum": 0}}
    constraint = bind_constraint(parse_constraint(raw), VALUES)
    assert constraint.assigned(VALUES) == {"momentum": 0}
    assert constraint.assigned({**VALUES, "batch_size": 32}) == {}
    assert constraint.text == "optimizer in ['adam', 'adamw'] and batch_size == 64 → momentum=0"


def test_skip_and_require_are_opposites_and_neither_acts_on_a_key_without_a_value() -> None:
    skip = bind_constraint(parse_constraint({"skip": "momentum > 0.5"}), VALUES)
    require = bind_constraint(parse_constraint({"require": "momentum > 0.5"}), VALUES)
    for momentum in (0.4, 0.6):
        assert skip.skips({"momentum": momentum}) is not require.skips({"momentum": momentum})
    assert not skip.skips({}) and not require.skips({})


def test_constraints_see_what_the_ones_before_them_left_and_what_is_not_drawn() -> None:
    space = Space.of(
        {
            "parameters": {"optimizer": categorical(["sgd", "adam"]), "momentum": uniform(0.5, 0.9)},
            "constraints": [
                {"when": "optimizer == adam and batch_size == 64", "set": {"momentum": 0}},
                {"skip": "momentum == 0 and seed == 1"},
            ],
        }
    )
    kept = space.draw(64, fixed={"batch_size": 64, "seed": 0})
    assert kept.skipped == 0 and kept.changed == 32
    assert all((row["momentum"] == 0) is (row["optimizer"] == "adam") for row in kept.rows)
    left = space.draw(64, fixed={"batch_size": 64, "seed": 1})
    assert left.skipped == 32 and left.changed == 0
    assert list(left.by_constraint.values()) == [32, 32]
    assert space.draw(64, fixed={"batch_size": 32, "seed": 1}).by_constraint == {
        "optimizer == adam and batch_size == 64 → momentum=0": 0,
        "skip momentum == 0 and seed == 1": 0,
    }


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("optimizer == adam", "is a mapping"),
        ({}, "exactly one thing"),
        ({"when": "momentum > 0"}, "exactly one thing"),
        ({"skip": "momentum > 0", "require": "momentum > 0"}, "split it in two"),
        ({"skp": "momentum > 0"}, "did you mean 'skip'"),
        ({"set": {"momentum": 0}}, "when: field required"),
        ({"when": "momentum > 0", "set": {}}, "sets nothing"),
        ({"when": "momentum > 0", "set": 3}, "set: input should be"),
        ({"when": "momentum > 0", "skip": "momentum > 0"}, "when: extra inputs"),
        ({"skip": "momentum = 0"}, "compare with =="),
        ({"skip": 3}, "skip: input should be"),
        ({"skip": {}}, "condition is empty"),
    ],
)
def test_what_is_no_constraint(raw: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parse_constraint(raw)
    assert error.value.got is not None


@pytest.mark.parametrize("form", ["skip", "require", "when"])
@pytest.mark.parametrize("condition", ["momentm > 0.5", {"momentm": 0.5}])
def test_unknown_keys_are_refused_when_the_configuration_is_known(form: str, condition: Any) -> None:
    raw = {form: condition, **({"set": {"momentum": 0}} if form == "when" else {})}
    with pytest.raises(ConfigError, match="did you mean 'momentum'"):
        bind_constraint(parse_constraint(raw), VALUES)
