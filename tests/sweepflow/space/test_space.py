"""Spaces: what is drawn, that it is stable, and that conditions, constraints and grids do what they say."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.space import (
    METHODS,
    EmptyDesignError,
    Space,
    categorical,
    constant,
    int_uniform,
    joint,
    log_uniform,
    quantized,
    uniform,
)

CONF = Path(__file__).parents[3] / "conf" / "space"
DEFAULTS = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.0,
    "batch_size": 64,
    "model.widths": [64],
    "model.activation": "relu",
}
PARAMETERS = {
    "learning_rate": log_uniform(1e-4, 1e-1),
    "optimizer": categorical(["sgd", "adam", "rmsprop"], [0.5, 0.3, 0.2]),
    "momentum": uniform(0.5, 0.99, when={"optimizer": "sgd"}),
    "model.widths": categorical([[32], [64, 64]]),
    "regime": joint([{"batch_size": 32, "epochs": 20}, {"batch_size": 64}]),
    "layers": int_uniform(1, 4),
}
CONSTRAINTS = [{"skip": "learning_rate > 0.05 and optimizer == adam"}]
EXTENDING = [method for method in METHODS if method not in ("grid", "latin_hypercube")]


def test_a_row_has_the_active_keys_sorted() -> None:
    for row in Space(parameters=PARAMETERS).draw(64).rows:
        assert list(row) == sorted(row)
        assert ("momentum" in row) is (row["optimizer"] == "sgd")
        assert ("epochs" in row) is (row["batch_size"] == 32)
        assert "regime" not in row and row["model.widths"] in ([32], [64, 64])


@pytest.mark.parametrize("method", METHODS)
@given(st.permutations(list(PARAMETERS)))
@settings(max_examples=10)
def test_the_order_in_the_file_does_not_matter(method: Any, order: list[str]) -> None:
    shuffled = Space.of(
        {"parameters": {name: PARAMETERS[name] for name in order}, "constraints": CONSTRAINTS}
    )
    straight = Space.of({"parameters": PARAMETERS, "constraints": CONSTRAINTS})
    assert shuffled.draw(96, method).rows == straight.draw(96, method).rows


@pytest.mark.parametrize("method", EXTENDING)
@given(st.integers(2, 40), st.integers(0, 40), st.integers(0, 99))
@settings(max_examples=15)
def test_a_larger_design_begins_with_the_rows_of_the_smaller(
    method: Any, samples: int, more: int, seed: int
) -> None:
    space = Space.of({"parameters": PARAMETERS, "constraints": CONSTRAINTS})
    small = space.draw(samples, method, seed, DEFAULTS).rows
    assert space.draw(samples + more, method, seed, DEFAULTS).rows[: len(small)] == small


def test_a_condition_does_not_move_other_keys() -> None:
    free = {**PARAMETERS, "momentum": uniform(0.5, 0.99)}
    for with_condition, without in zip(
        Space(parameters=PARAMETERS).draw(64).rows, Space(parameters=free).draw(64).rows, strict=True
    ):
        assert with_condition.items() <= without.items() or with_condition == {
            key: value for key, value in without.items() if key != "momentum"
        }


def test_samples_that_are_the_same_are_removed_and_counted() -> None:
    few = Space(parameters={"layers": int_uniform(1, 4), "depth": constant(3)}).draw(64)
    assert [row["layers"] for row in few.rows] != sorted(row["layers"] for row in few.rows)
    assert sorted(row["layers"] for row in few.rows) == [1, 2, 3, 4]
    assert few.duplicates == 60


def test_a_key_left_out_is_the_same_as_its_default() -> None:
    space = Space(parameters={"regime": joint([{"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}])})
    assert len(space.draw(8, fixed={"momentum": 0.9}).rows) == 1
    assert len(space.draw(8, fixed={"momentum": 0.5}).rows) == 2
    assert len(space.draw(8).rows) == 2


def test_what_constraints_make_the_same_is_removed() -> None:
    space = Space.of(
        {
            "parameters": {
                "optimizer": categorical(["sgd", "adam"]),
                "momentum": categorical([0.0, 0.9], when="optimizer == sgd"),
            },
            "constraints": [{"when": "optimizer == sgd and momentum == 0", "set": {"optimizer": "adam"}}],
        }
    )
    # The constraint turns (sgd, 0) into adam, whose momentum is left out: it is the drawn adam.
    design = space.draw(16, fixed={"momentum": 0.9})
    assert sorted(map(str, design.rows)) == ["{'momentum': 0.9, 'optimizer': 'sgd'}", "{'optimizer': 'adam'}"]
    assert (design.changed, design.skipped, design.duplicates) == (4, 0, 14)


def test_a_constraint_can_bring_a_conditional_key_in() -> None:
    space = Space.of(
        {
            "parameters": {
                "optimizer": categorical(["sgd", "adam"]),
                "learning_rate": uniform(0, 1),
                "momentum": uniform(0.5, 0.9, when="optimizer == sgd"),
            },
            "constraints": [{"when": "learning_rate > 0.5", "set": {"optimizer": "sgd"}}],
        }
    )
    for row in space.draw(64).rows:
        assert row["learning_rate"] <= 0.5 or row["optimizer"] == "sgd"
        assert ("momentum" in row) is (row["optimizer"] == "sgd")


def test_a_key_that_a_constraint_sets_is_there_whatever_its_condition() -> None:
    space = Space.of(
        {
            "parameters": {
                "optimizer": categorical(["sgd", "adam"]),
                "momentum": uniform(0.5, 0.9, when="optimizer == sgd"),
            },
            "constraints": [{"when": "optimizer == adam", "set": {"momentum": 0}}],
        }
    )
    assert all(("momentum", 0) in row.items() for row in space.draw(8).rows if row["optimizer"] == "adam")


def test_a_chain_of_conditions_ends_where_one_does_not_hold() -> None:
    chain = {
        "a": categorical([0, 1]),
        "b": categorical([0, 1], when={"a": 1}),
        "c": categorical([0, 1], when="b == 1"),
        "d": categorical([0, 1], when={"c": [1]}),
    }
    # The default b=1 of the configuration does not count: b is drawn, and left out where a is 0.
    for fixed in ({}, {"b": 1, "c": 1}):
        rows = Space(parameters=chain).draw(256, fixed=fixed).rows
        assert sorted(map(tuple, map(dict.values, rows))) == [
            (0,),
            (1, 0),
            (1, 1, 0),
            (1, 1, 1, 0),
            (1, 1, 1, 1),
        ]


def test_conditions_look_at_keys_that_are_not_drawn() -> None:
    space = Space(parameters={"momentum": uniform(0, 1, when="optimizer == sgd"), "seed": int_uniform(0, 9)})
    assert "momentum" in space.draw(1, fixed={"optimizer": "sgd"}).rows[0]
    assert "momentum" not in space.draw(1, fixed={"optimizer": "adam"}).rows[0]


def test_a_joint_parameter_may_have_the_name_of_one_of_its_keys() -> None:
    space = Space(parameters={"optimizer": joint([{"optimizer": "sgd", "momentum": 0.9}])})
    assert space.draw(1).rows == [{"momentum": 0.9, "optimizer": "sgd"}]
    assert space.keys == ("momentum", "optimizer")


def test_a_value_that_is_a_mapping_is_one_value() -> None:
    assert Space(parameters={"data": constant({"kind": "digits"})}).draw(1).rows == [
        {"data": {"kind": "digits"}}
    ]


def test_grid_takes_every_discrete_value_and_the_most_quantiles_that_fit() -> None:
    space = Space(
        parameters={
            "x": uniform(0, 1),
            "y": log_uniform(0.01, 1),
            "optimizer": categorical(["sgd", "adam"]),
            "dropout": quantized(uniform(0, 0.2), 0.1),
        }
    )
    design = space.draw(2 * 3 * 16 + 5, "grid")
    assert len(design.rows) == 2 * 3 * 16 and "96 points, of the 101" in design.notes[0]
    assert Counter(row["dropout"] for row in design.rows) == {0.0: 32, 0.1: 32, 0.2: 32}
    assert sorted({row["x"] for row in design.rows}) == [0.125, 0.375, 0.625, 0.875]
    assert sorted({row["y"] for row in design.rows}) == pytest.approx(
        [10**-1.75, 10**-1.25, 10**-0.75, 0.1**0.25]
    )


@given(st.integers(1, 2000), st.integers(1, 4))
@settings(max_examples=50)
def test_no_finer_grid_would_fit(samples: int, continuous: int) -> None:
    space = Space(parameters={f"x{i}": uniform(0, 1) for i in range(continuous)})
    points = len(space.draw(samples, "grid").rows)
    k = round(points ** (1 / continuous))
    assert k**continuous == points <= samples < (k + 1) ** continuous


def test_grid_with_a_conditional_key_has_no_duplicates() -> None:
    parameters = {
        "optimizer": categorical(["sgd", "adam"]),
        "momentum": uniform(0, 1, when={"optimizer": "sgd"}),
    }
    design = Space(parameters=parameters).draw(8, "grid")
    assert len(design.rows) == 5 and design.duplicates == 3


def test_replacing_a_distribution_keeps_its_condition_and_moves_nothing_else() -> None:
    space = Space(parameters=PARAMETERS)
    replaced = space.replaced({"momentum": uniform(0.0, 0.1), "seed2": constant(1)})
    assert replaced.parameters["momentum"].when == {"optimizer": "sgd"}
    narrowed = space.replaced({"momentum": uniform(0.0, 0.1)}).draw(32).rows
    for row, original in zip(narrowed, space.draw(32).rows, strict=True):
        assert {**row, "momentum": 0} == {**original, "momentum": 0}


def test_a_key_that_is_given_is_not_drawn_and_conditions_see_it() -> None:
    given_optimizer = Space(parameters=PARAMETERS).without(["optimizer", "seed"])
    assert given_optimizer is not None and "optimizer" not in given_optimizer.keys
    assert all("momentum" in row for row in given_optimizer.draw(8, fixed={"optimizer": "sgd"}).rows)
    assert not any("momentum" in row for row in given_optimizer.draw(8, fixed={"optimizer": "adam"}).rows)
    assert Space(parameters={"layers": int_uniform(1, 4)}).without({"layers"}) is None
    both = Space(parameters=PARAMETERS).without(["batch_size", "epochs"])
    assert both is not None and "regime" not in both.parameters
    with pytest.raises(ConfigError, match=r"batch_size is drawn together(.|\n)*regime: batch_size, epochs"):
        Space(parameters=PARAMETERS).without(["batch_size"])


def test_plain_data_and_back() -> None:
    space = Space.of({"parameters": PARAMETERS, "constraints": CONSTRAINTS})
    assert Space.of(space.model_dump(mode="json")) == space


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing at all": ({"parameters": {}}, "neither parameters nor constraints"),
    "missing": ({"constraints": []}, "neither parameters nor constraints"),
    "parameters are no mapping": ({"parameters": [1]}, "parameters: input should be"),
    "key beside parameters": ({"learning_rate": uniform(0, 1)}, "below `parameters`"),
    "drawn twice": ({"parameters": {"a": uniform(0, 1), "j": joint([{"a": 1}])}}, "a is drawn twice"),
    "log-uniform from 0": (
        {"parameters": {"lr": {"distribution": "log_uniform", "low": 0, "high": 1}}},
        "lr: log_uniform: low has to be above 0",
    ),
    "circle": (
        {"parameters": {"a": uniform(0, 1, when="b > 0"), "b": uniform(0, 1, when={"a": 1})}},
        "round in a circle",
    ),
    "depends on itself": ({"parameters": {"a": uniform(0, 1, when="a > 0")}}, "a needs a"),
    "unknown key in a condition": (
        {"parameters": {"a": uniform(0, 1, when="optimzer == sgd")}},
        "a: when: there is no key 'optimzer'(.|\n)*did you mean 'optimizer'",
    ),
    "unknown key in a constraint": (
        {"parameters": {"a": uniform(0, 1)}, "constraints": [{"skip": "batchsize > 3"}]},
        "did you mean 'batch_size'",
    ),
    "skips everything": (
        {"parameters": {"a": uniform(0, 1)}, "constraints": [{"skip": "a < 2"}]},
        "leave none of the 16 samples\n.*skip a < 2: 16",
    ),
    "constraint that cannot be computed": (
        {"parameters": {"a": uniform(0, 1)}, "constraints": [{"skip": "a > optimizer"}]},
        "cannot be computed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_space_is_refused_before_work(case: str) -> None:
    raw, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        Space.of(raw).draw(16, fixed=DEFAULTS)


def test_an_empty_design_says_why_in_another_process_too() -> None:
    space = Space.of(
        {"parameters": {"a": uniform(0, 1)}, "constraints": [{"skip": "a < 0.5"}, {"skip": "a >= 0.5"}]}
    )
    with pytest.raises(EmptyDesignError) as error:
        space.draw(16)
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value)
    assert again.design == error.value.design
    assert again.design.rows == [] and list(again.design.by_constraint.values()) == [8, 8]


@pytest.mark.parametrize("method", METHODS)
def test_no_samples_are_refused(method: Any) -> None:
    for samples in (0, -1):
        with pytest.raises(ConfigError, match=f"samples={samples}"):
            Space(parameters=PARAMETERS).draw(samples, method)


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layers \(4\) x .* = 48 points, samples=47(.|\n)*--samples 48"):
        Space(parameters=PARAMETERS).draw(47, "grid")
    huge = Space(parameters={"a": int_uniform(0, 2**50), "b": quantized(uniform(0, 1), 1e-12)})
    with pytest.raises(ConfigError, match="more points than there are samples"):
        huge.draw(64, "grid")


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_spaces_that_come_with_it_can_be_drawn(path: Path) -> None:
    assert path.read_text().startswith(f"# sweepflow sweep workload=digits_mlp space={path.stem} --samples ")
    space = Space.of(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    assert set(space.keys) <= set(DEFAULTS)
    design = space.draw(64, fixed=DEFAULTS)
    assert len(design.rows) >= 48 and len(design.rows) + design.skipped + design.duplicates == 64
    extended = space.draw(256, fixed=DEFAULTS)
    assert extended.rows[: len(design.rows)] == design.rows
    assert all(extended.by_constraint.values())
