"""Seeds of repeats: what the field takes, distinct, and the old ones wherever they fit."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, create_model

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config, Content, Role, Traced
from sweepflow.trials.seeds import draw_seeds


class Few(enum.IntEnum):
    FIRST = 3
    SECOND = 5


def taking(annotation: Any) -> type[Config]:
    return create_model("Taking", __base__=Config, seed=(annotation, 0))


def words(count: int, seed: int = 0) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(count)]


@pytest.mark.parametrize(
    "annotation",
    [
        Content[int],
        Content[Annotated[int, Field(ge=0, lt=2**32)]],
        Content[Annotated[float, Field(gt=-math.inf, le=math.inf)]],
    ],
)
def test_words_of_32_bits_where_the_field_takes_them(annotation: Any) -> None:
    assert draw_seeds(taking(annotation), "seed", 5, 7) == words(5, 7)


@given(
    low=st.integers(-10, 2**33),
    span=st.integers(0, 2**33),
    role=st.sampled_from([Role.TRACED, Role.CONTENT]),
    count=st.integers(1, 8),
    design=st.integers(0, 100),
)
@settings(max_examples=60)
def test_every_seed_fits_and_no_two_are_one(low: int, span: int, role: Role, count: int, design: int) -> None:
    kind = taking(Annotated[int, Field(ge=low, le=low + span), role])
    most = 2**31 - 1 if role is Role.TRACED else 2**32 - 1
    free = max(0, min(low + span, most) - max(low, 0) + 1)
    if free < count:
        with pytest.raises(ConfigError, match=f"fewer seeds than repeats\n.*--repeats {count}"):
            draw_seeds(kind, "seed", count, design)
        return
    found = draw_seeds(kind, "seed", count, design)
    assert len(set(found)) == count
    for seed, word in zip(found, words(count, design), strict=True):
        kind(seed=seed)
        assert seed <= most
        assert seed == word or not (low <= word <= low + span and word <= most) or word in found
    assert draw_seeds(kind, "seed", count, design)[: count - 1] == found[: count - 1]


def test_a_traced_seed_fits_int32_and_those_that_did_stay() -> None:
    drawn, found = words(64), draw_seeds(taking(Traced[int]), "seed", 64, 0)
    assert len(set(found)) == 64 and max(found) < 2**31
    assert any(word >= 2**31 for word in drawn)
    assert all(seed == word for seed, word in zip(found, drawn, strict=True) if word < 2**31)


@pytest.mark.parametrize(
    ("annotation", "there_are"),
    [
        (Content[Literal[1, 2, 9]], [1, 2, 9]),
        (Traced[Few], [3, 5]),
        (Content[Annotated[int, Field(ge=0, le=40, multiple_of=20)]], [0, 20, 40]),
    ],
)
def test_fields_that_list_their_seeds(annotation: Any, there_are: list[int]) -> None:
    kind = taking(annotation)
    assert sorted(draw_seeds(kind, "seed", len(there_are), 0)) == there_are
    with pytest.raises(ConfigError, match="fewer seeds than repeats"):
        draw_seeds(kind, "seed", len(there_are) + 1, 0)


def test_a_fraction_is_a_seed_that_float32_tells_apart() -> None:
    found = draw_seeds(taking(Traced[float]), "seed", 200, 0)
    assert len({np.float32(seed) for seed in found}) == 200
