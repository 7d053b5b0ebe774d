"""Every number of a CSV arrives; every cell that is none is named by line and column."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sweepflow.data.csv_table import parse_csv
from sweepflow.data.labels import class_indices
from sweepflow.errors import DataError


def parse(text: str, target: str | None = None, classify: bool = False) -> tuple[np.ndarray, np.ndarray]:
    return parse_csv(text.encode(), "my data.csv", target, classify=classify)


FINITE = st.floats(-1e100, 1e100, allow_nan=False)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=FINITE)


@given(TABLES, st.data())
def test_numbers_survive_exactly_whichever_column_is_the_target(
    table: np.ndarray, data: st.DataObject
) -> None:
    names = [f"a, {i}" for i in range(table.shape[1])]
    target = data.draw(st.integers(0, len(names) - 1))
    text = io.StringIO()
    csv.writer(text).writerows([names, *table.tolist()])
    x, y = parse(text.getvalue(), names[target])
    np.testing.assert_array_equal(x, np.delete(table, target, axis=1))
    np.testing.assert_array_equal(y, table[:, target])


def test_the_last_column_is_the_target_where_none_is_named() -> None:
    x, y = parse("a,b,c\n1,2,3\n4,5,6\n")
    assert x.tolist() == [[1.0, 2.0], [4.0, 5.0]]
    assert y.tolist() == [3.0, 6.0]


def test_byte_order_mark_crlf_blanks_and_quotes_are_no_trouble() -> None:
    x, y = parse('\ufeff"a, 1", "b"\r\n\r\n"1", 2\r\n 3 ,4e0\r\n\r\n', "a, 1")
    assert y.tolist() == [1.0, 3.0]
    assert x.tolist() == [[2.0], [4.0]]


def test_labels_are_text_only_where_they_have_to_be() -> None:
    assert parse("a,kind\n1, cat \n2,dog\n", classify=True)[1].tolist() == ["cat", "dog"]
    assert parse("a,kind\n1,1\n2,2.0\n", classify=True)[1].tolist() == [1.0, 2.0]


REFUSED = {
    "empty": ("", "is empty"),
    "no_header": ("1,2\n3,4\n", "first line of .* is numbers"),
    "one_column": ("a\n1\n", "single column"),
    "semicolons": ("a;b\n1;2\n", "separate cells by commas, not by ';'"),
    "unnamed_column": (",a,b\n0,1,2\n", r"no name(.|\n)*index=False"),
    "repeated_name": ("a,b,a\n1,2,3\n", r"share a name\n.*'a'"),
    "short_row": ("a,b,c\n1,2,3\n\n1,2\n", r"2 cells in line 4\n.*3 cells: 'a', 'b', 'c'"),
    "long_row": ("a,b\n1,2,3\n", "3 cells in line 2"),
    "text": ("a,b\n1,2\n1,two\n", "'two' in line 3, column 'b'"),
    "text_in_feature": ("a,b\nx,2\n", "'x' in line 2, column 'a'"),
    "underscore": ("a,b\n1_0,2\n", "'1_0' in line 2, column 'a'"),
    "empty_cells": (
        "a,b,c\n1,2,3\n1,,3\n,NA,3\n",
        r"missing or infinite(.|\n)*3 of 9, the first in line 3, column 'b'; columns 'a', 'b'\n",
    ),
    "nan": ("a,b\n1,nan\n", "1 of 2, the first in line 2, column 'b'"),
    "infinity": ("a,b\n1,2\n-inf,2\n", "1 of 4, the first in line 3, column 'a'"),
    "too_large": ("a,b\n1,1e200\n", "1 of 2, the first in line 2, column 'b'"),
    "open_quote": ('a,b\n1,"2\n', "cannot be read as CSV"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_how(case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        parse(text)
    assert "'my data.csv'" in str(caught.value)


def test_a_missing_label_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 4, the first in line 3, column 'kind'"):
        parse("a,kind\n1,cat\n2,?\n", classify=True)


def test_an_unknown_target_names_the_nearest_column() -> None:
    with pytest.raises(
        DataError, match=r"target_column='prize'\n.*'size', 'price'\n.*did you mean 'price'\?"
    ):
        parse("size,price\n1,2\n", "prize")


def test_other_encodings_are_refused() -> None:
    with pytest.raises(DataError, match=r"not UTF-8 text\n.*0xe9 at position 1"):
        parse_csv("né,b\n1,2\n".encode("latin-1"), "my data.csv", None, classify=False)


def test_an_error_fits_one_screen_however_wide_the_table() -> None:
    names = [f"column{i}" for i in range(5000)]
    with pytest.raises(DataError, match=r"\(5000 in all\)") as caught:
        parse(",".join(names) + "\n", "colum7")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("word", ["none", "NA", "null", "NaN", "n/a", "None"])
def test_a_class_may_have_any_name(word: str) -> None:
    _, y = parse(f"a,kind\n1,cat\n2,{word}\n3,dog\n", classify=True)
    assert y.tolist() == ["cat", word, "dog"]
    _, y = parse(f"a,kind\n1,{word}\n2,{word}\n", classify=True)
    assert y.tolist() == [word, word]
    with pytest.raises(DataError, match=r"1 of 6, the first in line 3, column 'kind'(.|\n)*a name that"):
        parse(f"a,kind\n1,1\n2,{word}\n3,2\n", classify=True)


@pytest.mark.parametrize("cell", ["", "?", "inf"])
def test_what_is_no_class(cell: str) -> None:
    with pytest.raises(DataError, match="1 of 6, the first in line 3"):
        parse(f"a,kind\n1,1\n2,{cell}\n3,2\n", classify=True)


@given(st.lists(st.integers(-(10**20), 10**20) | st.integers(2**53 - 2, 2**53 + 2), min_size=2, max_size=6))
def test_whole_labels_are_told_apart_whatever_their_size(labels: list[int]) -> None:
    _, y = parse("a,kind\n" + "".join(f"1,{label}\n" for label in labels), classify=True)
    if len(set(labels)) > 1:
        indices, classes = class_indices(y, "column 'kind'")
        assert classes == len(set(labels))
        assert indices.tolist() == [sorted(set(labels)).index(label) for label in labels]
