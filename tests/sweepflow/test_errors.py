"""An error fits one screen and says what was wrong, what was given, what is allowed, what to do."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import (
    MAX_GOT,
    ConfigError,
    DataError,
    StoreError,
    SweepflowError,
    did_you_mean,
    nearest,
)

KINDS = (SweepflowError, ConfigError, DataError, StoreError)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_has_its_parts_in_order(kind: type[SweepflowError]) -> None:
    error = kind("it is wrong", got=0, allowed="1 or more", do="give 1")
    assert str(error).splitlines() == [
        "it is wrong",
        "  got:     0",
        "  allowed: 1 or more",
        "  do:      give 1",
    ]
    assert str(kind("it is wrong")) == "it is wrong"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_back_from_another_process(kind: type[SweepflowError]) -> None:
    error = kind("it is wrong", got=[1, 2], do="give 1")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert (copy.what, copy.got, copy.allowed, copy.do) == ("it is wrong", [1, 2], None, "give 1")


def test_misuse_ends_with_exit_code_2_and_the_rest_with_1() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "SweepflowError": 1,
        "ConfigError": 2,
        "DataError": 2,
        "StoreError": 2,
    }


@given(st.text(min_size=MAX_GOT + 1, max_size=50_000))
def test_a_long_value_is_shown_by_its_ends(value: str) -> None:
    error = ConfigError("too long", got=value, do="give less")
    shown = str(error).removeprefix("too long\n  got:     ").removesuffix("\n  do:      give less")
    assert len(shown) == MAX_GOT
    assert value.startswith(shown[:400]) and value.endswith(shown[-50:])
    assert error.got == value


@given(st.text(max_size=MAX_GOT))
def test_a_short_value_is_shown_whole(value: str) -> None:
    assert str(ConfigError("wrong", got=value)) == f"wrong\n  got:     {value}"


@pytest.mark.parametrize(
    ("typed", "closest"),
    [("n_dat", "n_data"), ("ndata", "n_data"), ("lerning_rate", "learning_rate"), ("xyz", None), ("", None)],
)
def test_the_nearest_name(typed: str, closest: str | None) -> None:
    known = ["n_data", "n_test", "learning_rate"]
    assert nearest(typed, known) == closest
    assert (repr(closest) if closest else "the names above") in did_you_mean(typed, known)
