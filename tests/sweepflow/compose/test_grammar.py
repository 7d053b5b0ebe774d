"""The one reader and the one writer of overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.compose.axes import Axis, parse_axes
from sweepflow.compose.grammar import key_of, quote, quote_as_hydra, read, swept_values
from sweepflow.errors import ConfigError

TEXTS = (
    st.text(max_size=8)
    | st.text("\\'\"${}[](),:= \t\nab01e.~+-/", max_size=8)
    | st.sampled_from(["", "null", "NULL", "true", "1e3", "007", "inf", "-1", " a", "a ", "${x}", "é, '"])
)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z_][a-z0-9 ,:]{0,3}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    found = read(f"x={quote(value)}").value()
    assert repr(found) == repr(value), "of the same type, too"


@given(st.lists(TEXTS, min_size=2, max_size=4, unique=True))
def test_a_sweep_is_read_back_value_by_value(values: list[str]) -> None:
    (axis,) = axes(f"x={','.join(map(quote, values))}")
    assert list(axis.values) == values
    assert [read(text).value() for text in axis.texts] == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.5), "0.5"),
        (np.int32(3), "3"),
        (np.bool_(True), "true"),
        (Path("a b"), "'a b'"),
        ((1, "x"), "[1,x]"),
        ({1: None}, "{1:null}"),
    ],
)
def test_values_of_other_types(value: Any, text: str) -> None:
    assert quote(value) == text


@pytest.mark.parametrize("value", [{1, 2}, b"x", {"": 1}, {"1": 1}, {"é": 1}], ids=repr)
def test_what_the_grammar_has_no_words_for(value: Any) -> None:
    with pytest.raises(ConfigError, match="grammar"):
        quote(value)


def axes(*overrides: str, distributions: bool = False) -> list[Axis]:
    return parse_axes(overrides, {"db": ["my", "pg"], "model": ["a"]}, distributions=distributions)


@pytest.mark.parametrize(
    ("text", "values", "texts"),
    [
        ("x=str(1,2)", ["1", "2"], ["x='1'", "x='2'"]),
        ("x=str(true,null)", None, None),
        ("x='1','null'", ["1", "null"], ["x='1'", "x='null'"]),
        ("x=sort(3,1,2)", [1, 2, 3], ["x=1", "x=2", "x=3"]),
        ("x=sort(b,'1',reverse=true)", ["b", "1"], ["x=b", "x='1'"]),
        ("x=int(1.5,2.5)", [1, 2], ["x=1", "x=2"]),
        ("x=float(1,2)", [1.0, 2.0], ["x=1.0", "x=2.0"]),
        ("x=bool(0,1)", [False, True], ["x=false", "x=true"]),
        ("x=float(range(1,3))", [1.0, 2.0], ["x=1.0", "x=2.0"]),
        ("x=str([1,2],[3])", [["1", "2"], ["3"]], ["x=['1','2']", "x=['3']"]),
        (
            "x={a:1,b:{c:'2'}},{a:[]}",
            [{"a": 1, "b": {"c": "2"}}, {"a": []}],
            ["x={a:1,b:{c:'2'}}", "x={a:[]}"],
        ),
        ("+x=1e-3,1e22", [0.001, 1e22], ["+x=0.001", "+x=1e+22"]),
        (r"++x=a\,b,null,a\ b", ["a,b", None, "a b"], ["++x='a,b'", "++x=null", "++x='a b'"]),
        ("x=${y},2", ["${y}", 2], ["x='${y}'", "x=2"]),
        ("x=str(1)", ["1"], ["x='1'"]),
        ("x='f(1)'", ["f(1)"], ["x='f(1)'"]),
        ("x=1e-3", [0.001], ["x=1e-3"]),
        ("db@src=my,pg", ["my", "pg"], ["db@src=my", "db@src=pg"]),
        ("+db@a.b=glob(*)", ["my", "pg"], ["+db@a.b=my", "+db@a.b=pg"]),
        ("~db@src", [None], ["~db@src"]),
    ],
)
def test_label_and_value_are_of_one_parse(
    text: str, values: list[Any] | None, texts: list[str] | None
) -> None:
    if values is None:
        with pytest.raises(ConfigError, match="grammar"):
            axes(text)
        return
    (axis,) = axes(text)
    assert repr(list(axis.values)) == repr(values) and axis.texts == texts


@pytest.mark.parametrize(
    "text", ["x=shuffle(range(0,30))", "x=int(shuffle(range(0,30)))", "x=shuffle([1,2,3,4,5])"]
)
def test_a_shuffled_axis_has_one_order(text: str) -> None:
    for _ in range(3):
        (axis,) = axes(text)
        assert [read(one).value() for one in axis.texts] == list(axis.values)
    if "range" in text:
        assert list(axis.values) != list(range(30)) and sorted(axis.values) == list(range(30))


def test_a_group_is_known_by_its_package_too() -> None:
    found = axes("db@src=pg", "db@dst=pg", "+db=my", "~db@x=pg")
    assert [axis.key for axis in found] == ["db@src", "db@dst", "db", "db@x"]
    assert all(axis.is_group for axis in found)
    for overrides in (["db@src=pg", "+db@src=my"], ["db=pg", "~db"]):
        with pytest.raises(ConfigError, match="given twice"):
            axes(*overrides)
    for text, said in {
        "db@src=no": "group 'db' has no option 'no'",
        "nodb@src=pg": "no group 'nodb'",
        "db@a:b=pg": "not an override in Hydra's grammar",  # renamed a package, until Hydra 1.1
    }.items():
        with pytest.raises(ConfigError, match=said):
            axes(text)


@pytest.mark.parametrize(
    "text",
    [
        "x=tag(log,choice(1,2))",
        "x=tag(log,range(1,9))",
        "x=float(tag(log,range(1,9)))",
        "model=tag(log,choice(a))",
        "x=tag(log,1,2)",
        "x=tag(other,interval(0,1))",
    ],
)
@pytest.mark.parametrize("distributions", [False, True])
def test_no_tag_is_dropped(text: str, distributions: bool) -> None:
    with pytest.raises(ConfigError, match=r"tag") as error:
        axes(text, distributions=distributions)
    assert text in str(error.value)


@pytest.mark.parametrize("text", ["x=range(0,inf)", "x=range(0,5,0)", "x=range(0,1.5,0)", "x=range(nan,1)"])
def test_a_range_without_an_end(text: str) -> None:
    with pytest.raises(ConfigError, match="range") as error:
        axes(text)
    assert text in str(error.value)


def test_a_glob_of_a_key_that_is_no_group_is_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b" / "c").mkdir(parents=True)
    for name in ("2.npz", "1.npz", "1.txt", "c/3.npz"):
        (tmp_path / "a b" / name).touch()
    monkeypatch.chdir(tmp_path)
    (axis,) = axes("x=glob('a b/*.npz')")
    assert axis.values == ("a b/1.npz", "a b/2.npz") and axis.sweeps
    assert axis.texts == ["x='a b/1.npz'", "x='a b/2.npz'"]
    (axis,) = axes("+x=glob(['a b/**/*.npz','a b/1*'],exclude=['*/2*'])")
    assert axis.values == ("a b/1.npz", "a b/1.txt", "a b/c/3.npz")
    (axis,) = axes(f"x=glob({quote(f'{tmp_path}/*/1.txt')})")
    assert axis.values == (f"{tmp_path}/a b/1.txt",)
    with pytest.raises(ConfigError, match="no file matches") as error:
        axes("x=glob(b/*)")
    assert str(tmp_path) in str(error.value)


@given(VALUES)
def test_hydras_own_words_where_it_reads_them_back(value: Any) -> None:
    found = read(f"x={quote_as_hydra(value)}").value()
    assert repr(found) == repr(value)


def test_hydras_own_words() -> None:
    values = swept_values(read(r"x='a','1',1,a\,b,str(1),[x,'2'],True"))
    assert list(map(quote_as_hydra, values)) == ["'a'", "'1'", "1", r"a\,b", "'1'", "[x,'2']", "True"]
    assert key_of(read("~db@x.y")) == "db@x.y"


SWEEPS = ("float(1,2)", "choice(1,2)", "sort(2,1)", "shuffle(1,2)", "range(1,3)", "interval(0,1)", "glob(a)")
AROUND = ("{},3", "3,{}", "choice({},3)", "sort({},3)", "shuffle(3,{})", "str({},3)", "choice(1,[{}])")
VALUES = ("[1,{}]", "[{}],[3]", "sort([{},3])", "[[{}]]", "range({},9)", "interval({},9)")
KEYWORDS = (
    *("range(start=1,stop={})", "range(1,stop={})", "interval(start=0,end={})", "glob(include={})"),
    *("sort(2,1,reverse={})", "sort(3,sweep={})", "sort(list={})", "int(1,value={})", "shuffle(list=[{}])"),
)


@pytest.mark.parametrize("around", [*AROUND, *VALUES, *KEYWORDS])
def test_a_sweep_within_a_list_is_refused(around: str) -> None:
    for sweep in (*SWEEPS, "int(choice(1,2))"):
        text = f"+x={around.format(sweep)}"
        with pytest.raises(ConfigError) as error:
            axes(text, distributions=True)
        assert error.value.what.startswith("x: there is a sweep within"), text
        assert error.value.got == text and "float(1,2)" in str(error.value.allowed) and error.value.do


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x=float(1),str(2),int(3.5)", [1.0, "2", 3]),
        ("x=float(sort(2,1))", [1.0, 2.0]),
        ("x=int(float(1.5,2))", [1, 2]),
        ("x=sort(choice(2,1))", [1, 2]),
        ("x=sort(sweep=choice(2,1))", [1, 2]),
        ("x=sort(sweep=choice(1,2),reverse=true)", [2, 1]),
        ("x=float(value=range(1,3))", [1.0, 2.0]),
        ("x=range(start=1,stop=int(3))", [1, 2]),
        ("x=float(range(1,3))", [1.0, 2.0]),
        ("x=sort([2,1]),float([3])", [[1, 2], [3.0]]),
        ("x=choice(a,float(1))", ["a", 1.0]),
        ("x={a:float(1)},{a:2}", [{"a": 1.0}, {"a": 2}]),
    ],
)
def test_a_function_round_a_whole_list_or_round_one_value_is_taken(text: str, values: list[Any]) -> None:
    (axis,) = axes(text)
    assert repr(list(axis.values)) == repr(values)
