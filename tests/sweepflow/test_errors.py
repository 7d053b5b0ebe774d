"""An error fits one screen and says what was wrong, what was given, what is allowed, what to do."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import (
    MAX_BRIEF,
    MAX_GOT,
    ConfigError,
    DataError,
    StoreError,
    SweepflowError,
    did_you_mean,
    in_brief,
    in_words,
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
    assert len(shown) <= MAX_GOT
    assert value.startswith(shown[:400]) and value.endswith(shown[-50:])
    assert error.got == value


@given(st.text(max_size=MAX_GOT))
def test_a_short_value_is_shown_whole(value: str) -> None:
    assert str(ConfigError("wrong", got=value)) == f"wrong\n  got:     {value}"


@given(st.text(), st.none() | st.text())
def test_on_one_line_an_error_of_ours_has_neither_labels_nor_the_name_of_its_class(
    what: str, got: str | None
) -> None:
    said = in_words(StoreError(what, got=got, allowed="less", do="mend it"))
    assert said == " ".join(said.split())
    assert len(said) <= len(what) + len(got or "") + 2
    assert not said.startswith("StoreError") and "mend it" not in said


def test_a_foreign_exception_keeps_the_name_of_its_class() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert in_words(ValueError("no\n  number")) == "ValueError: no number"
    assert in_words(OddError()) == "OddError" and in_words(KeyError()) == "KeyError"


def test_exceptions_are_put_into_words_in_one_place() -> None:
    root = Path(__file__).parents[2]
    files = [file for folder in ("sweepflow", "flows", "tasks") for file in (root / folder).rglob("*.py")]
    by_hand = re.compile(r"type\(\w+\)\.__name__\}: \{")
    assert [str(file) for file in files if by_hand.search(file.read_text())] == []
    trees = {str(file.relative_to(root)): ast.parse(file.read_text()) for file in files}
    ours = {"Exception", "BaseException", *ours_of(trees.values())}
    assert {"ConfigError", "SlurmError"} < ours
    found = {name for name, tree in trees.items() for node in ast.walk(tree) if writes_out(node, ours)}
    assert found == {"flows/cli/app.py"}, "which shows one whole, on the terminal"


def ours_of(trees: Collection[ast.AST]) -> set[str]:
    """Names of our own errors."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found, more = set(), {"SweepflowError"}
    while more:
        found |= more
        more = {one.name for one in classes for base in one.bases if ast.unparse(base) in found} - found
    return found


def writes_out(node: ast.AST, ours: set[str]) -> bool:
    """Whether a handler of errors that may be ours has the whole text of one, labels included."""
    if not isinstance(node, ast.ExceptHandler) or node.type is None:
        return False
    caught = {one.id for one in ast.walk(node.type) if isinstance(one, ast.Name)}
    texts = (f"str({node.name})", f"{{{node.name}}}")
    parts = (ast.unparse(one) for one in ast.walk(node) if isinstance(one, ast.Call | ast.JoinedStr))
    return not ours.isdisjoint(caught) and any(text in part for part in parts for text in texts)


@pytest.mark.parametrize(
    "text", ["error '500'\nFor more: https://example.org", "\n\n a  b \n c", "x " * 500, ""]
)
def test_in_brief_an_error_is_the_beginning_of_one_line(text: str) -> None:
    said = in_brief(OSError(text))
    assert len(said) <= MAX_BRIEF and "\n" not in said
    assert said.rstrip(" …") in f"OSError: {' '.join(text.strip().partition(chr(10))[0].split())}"
    assert said.startswith("OSError")


@pytest.mark.parametrize(
    ("typed", "closest"),
    [("n_dat", "n_data"), ("ndata", "n_data"), ("lerning_rate", "learning_rate"), ("xyz", None), ("", None)],
)
def test_the_nearest_name(typed: str, closest: str | None) -> None:
    known = ["n_data", "n_test", "learning_rate"]
    assert nearest(typed, known) == closest
    assert (repr(closest) if closest else "the names above") in did_you_mean(typed, known)
