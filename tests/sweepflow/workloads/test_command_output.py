"""METRIC lines of external programs: a number is taken whole, or refused with what it said."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.workloads.command_output import LONGEST_READ, Output, read_output


def said(text: str | bytes, *, whole: bool = True) -> Output:
    return read_output(io.BytesIO(text.encode() if isinstance(text, str) else text), whole=whole)


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        *[("1_000", 1000), ("+5", 5), ("-.5", -0.5), ("1.", 1), ("1E3", 1000), ("0005", 5), ("1e-400", 0)],
        *[("-Infinity", -math.inf), ("inf", math.inf), ("NaN", math.nan), ("1e999", math.inf)],
        *[("0.5,", 0.5), ("0.5;", 0.5), ("0.5.", 0.5), ("0.5).", 0.5), ("0.5]", 0.5), ("0.5,b=1", 0.5)],
        *[
            ("0.5 %", 0.5),
            ("0.5 1000 rows", 0.5),
            ("12 of 100", 12),
            ("0.5\x1b[0m", 0.5),
            ("0.5\r 40%|", 0.5),
        ],
    ],
)
def test_a_number_is_read_whole(printed: str, value: float) -> None:
    found = said(f"METRIC loss={printed} and so on\n")
    np.testing.assert_array_equal(found.metrics["loss"], [value])
    assert "loss" not in found.refused and found.last["loss"]


@pytest.mark.parametrize(
    "printed",
    [
        *["1,234.0", "1,234", "1.234,5", "1,5", "1'234", "1.234.567", "1\u202f234.0", "1\xa0234", "1 234"],
        *["1,234,567.0", "-12 345 678", "1,234=5"],
        *["1.5e", "1e+", "0x10", "0b1", "1__0", "12%", "3.2ms", "0.5s", "1k", "1/2", "3e", "1.5f", "1+2j"],
        *["--5", "+-5", "\u22125", "=5", "1=2", "1...", ".", "e5", "None", "null", "tensor(0.5)", "[0.5]"],
        *["'0.5'", '"0.5"', "0.5Warning:", "0.5METRIC", "0.5\x00", "", "True", "#1", "1\\n", "0.5\ufffd1"],
    ],
)
def test_what_is_no_number_is_refused_with_what_it_said(printed: str) -> None:
    for behind in ("", "\n", " \n", "\r\n", ", b=1\n"):
        found = said(f"METRIC loss={printed}{behind}")
        assert "loss" not in found.metrics and found.last["loss"] is False
        assert found.refused["loss"].startswith(printed[:3].rstrip(" "))
        assert found.metrics.get("b", [1]) == [1]


@given(
    st.floats(), st.sampled_from([repr, str, "{:g}".format, "{:.17g}".format, "{:e}".format, "{:f}".format])
)
def test_every_float_is_read_back_as_it_was_printed(number: float, form: object) -> None:
    printed = form(number)  # type: ignore[operator]
    for line in (f"METRIC loss={printed}", f"METRIC loss={printed}, b=1", f"(METRIC loss={printed})."):
        np.testing.assert_array_equal(said(line).metrics["loss"], [float(printed)])


@given(st.text(st.characters(codec="utf-8", exclude_characters=" \t\r\n=\x1b"), min_size=1))
def test_no_part_of_a_word_is_taken_for_its_number(word: str) -> None:
    """What is read is what `float` says of the whole word, less what a sentence puts behind it."""
    found = said(f"METRIC loss={word}")
    if "loss" in found.metrics:
        (value,) = found.metrics["loss"]
        bare = word.rstrip()
        candidates = {bare[: len(bare) - cut] for cut in range(len(bare))}
        whole = next(c for c in sorted(candidates, key=len, reverse=True) if _reads(c))
        np.testing.assert_array_equal(value, float(whole))
        assert set(bare[len(whole) :]) <= set(".,;)]}")
    else:
        assert found.refused["loss"] == word.rstrip()[:200]


def _reads(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("log", "metrics"),
    [
        ("[rank0]: METRIC loss=1\n2026-01-01 10:00:00,123 INFO METRIC loss=2\n", {"loss": [1, 2]}),
        ("Epoch 3METRIC loss=1\n", {"loss": [1]}),
        ("100%|##| 9/9 [00:01<00:00]\rMETRIC loss=1\r\x1b[KMETRIC loss=2\n", {"loss": [1, 2]}),
        ("MY_METRIC a=1\nSUBMETRIC a=2\nMETRICS a=3\n", {}),
        (b"\xff\xfeMETRIC a=1 \x80\nMETRIC b=\xe2\x88\x925\n", {"a": [1]}),
        (f"{'x' * LONGEST_READ} METRIC a=12{'3' * 9}\nMETRIC b=2\n", {"b": [2]}),
        (f"{'x' * (LONGEST_READ - 12)} METRIC a=1{'2' * 99}\nMETRIC b=2\n", {"b": [2]}),
    ],
)
def test_what_stands_around_a_metric_changes_nothing(
    log: str | bytes, metrics: dict[str, list[float]]
) -> None:
    assert said(log).metrics == metrics


def test_a_torn_last_line_is_not_read_where_the_program_was_ended() -> None:
    log = "METRIC loss=0.5\nMETRIC loss=12"  # of 123.4
    assert said(log).metrics == {"loss": [0.5, 12]}, "it ended by itself, so the line is whole"
    assert said(log, whole=False).metrics == {"loss": [0.5]}
    assert said(f"{log}3.4\n", whole=False).metrics == {"loss": [0.5, 123.4]}


def test_what_was_refused_is_counted_and_the_last_is_known() -> None:
    found = said("METRIC a=None\nMETRIC a=1\nMETRIC a=x\nMETRIC a=2 b=1\nMETRIC b=1,5\n")
    assert found.metrics == {"a": [1, 2], "b": [1]}
    assert found.refusals == {"a": 2, "b": 1} and found.refused == {"a": "x", "b": "1,5"}
    assert found.last == {"a": True, "b": False}
    assert said("METRIC loss: 0.5\n").unread == "METRIC loss: 0.5"
