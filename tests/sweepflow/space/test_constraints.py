"""Constraints: what they do to a sample, in which order, and what is none."""

from __future__ import annotations

import itertools
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
    ("given", "value"),
    [
        ("batch_size * 2", 128),
        ("batch_size / 2", 32.0),
        ("2 ** 10 // batch_size", 16),
        ("momentum", 0.9),
        ("optimizer", "adam"),
        ("not nesterov", False),
        ("optimizer == adam", True),
        ("sgd", "sgd"),
        ("'batch_size * 2'", "batch_size * 2"),
        ("'momentum'", "momentum"),
        ("'runs/a-1.csv'", "runs/a-1.csv"),
        ("", ""),
        (0.5, 0.5),
        (None, None),
        (["batch_size", "batch_size * 2", 3, "relu"], [64, 128, 3, "relu"]),
        ("[batch_size, relu]", [64, "relu"]),
        ({"width": "batch_size", "name": "relu"}, {"width": 64, "name": "relu"}),
    ],
)
def test_a_value_is_an_expression_and_text_in_quotes_or_a_word_is_text(given: Any, value: Any) -> None:
    for raw in ({"when": "batch_size > 0", "set": {"args.new": given}}, {"require": {"args.old": [given]}}):
        bound = bind_constraint(parse_constraint(raw), {*VALUES, "args.new", "args.old"})
        if bound.sets:
            found = bound.assigned(VALUES)["args.new"]
            assert found == value and type(found) is type(value)
        else:
            assert not bound.skips({**VALUES, "args.old": value})
            assert bound.skips({**VALUES, "args.old": "something else"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("args.l1 * 2", "no key 'args.l1'"),
        ("batchsize", "write batch_size for the key"),
        ("resnet-50", "no key 'resnet'"),
        ("data/a b.csv", "is not an expression"),
        ("> 0.5", "is not an expression"),
        ("64", "without quotes"),
        ("1e-3", "without quotes"),
        ("true", "without quotes"),
        (["adam", "batch_size +"], "is not an expression"),
    ],
)
def test_text_that_is_neither_word_nor_expression_is_refused_by_its_key(given: Any, message: str) -> None:
    for raw, where in (
        ({"when": "momentum > 0", "set": {"optimizer": given}}, "set: optimizer: "),
        ({"skip": {"optimizer": given}}, "optimizer: "),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            bind_constraint(parse_constraint(raw), VALUES)
        assert caught.value.what.startswith(where) and "quotes of its own" in str(caught.value.allowed)
        assert caught.value.got is not None and caught.value.do


def test_several_sets_of_one_constraint_are_in_the_order_of_what_they_look_at() -> None:
    sets = {"a": "b * 2", "b": "c + 1", "c": 3, "momentum": "momentum / 2"}
    for names in itertools.permutations(sets):
        raw = {"when": "batch_size > 0", "set": {name: sets[name] for name in names}}
        bound = bind_constraint(parse_constraint(raw), {*VALUES, *sets})
        assert bound.assigned({**VALUES, "b": 100}) == {"a": 8, "b": 4, "c": 3, "momentum": 0.45}
    with pytest.raises(ConfigError, match="in a circle"):
        bind_constraint(parse_constraint({"when": "a > 0", "set": {"a": "b", "b": "a"}}), {"a", "b"})


def test_a_set_that_gives_no_finite_number_says_so() -> None:
    raw = {"when": "batch_size > 0", "set": {"momentum": "batch_size * 1e308"}}
    bound = bind_constraint(parse_constraint(raw), VALUES)
    with pytest.raises(ConfigError, match="no finite number"):
        bound.assigned(VALUES)


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
