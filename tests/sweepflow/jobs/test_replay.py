"""The law of overrides: those of a job, given alone, give its configuration; its table has what it got."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hypothesis import given, reject
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sweepflow.compose.grammar import quote
from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composed, Composer
from sweepflow.jobs.source import store

COMPOSER = Composer({"x": None, "y": 0, "m": {"a": 0, "b": [1, 2], "c": {"d": 4}}, "told": "${x}"})

NUMBERS = st.lists(st.integers(-9, 9) | st.floats(-9, 9), min_size=1, max_size=4, unique=True)
TEXTS = st.text("ab01 ,='\"\\{}[]:.e", max_size=4)
ELEMENTS = TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
LISTED = st.lists(ELEMENTS | st.lists(ELEMENTS, max_size=2), min_size=1, max_size=4, unique_by=repr)
MAPPINGS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=2), min_size=1, max_size=3
)
FUNCTIONS = [
    "{}",
    "shuffle({})",
    "choice({})",
    "sort({})",
    "sort({},reverse=true)",
    "shuffle(choice({}))",
    "[{}]",
    "shuffle([{}])",
    "sort([{}])",
    "str({})",
    "str(shuffle({}))",
    "[str([{}])]",
]
CASTS = ["int({})", "float({})", "bool({})", "float(shuffle({}))", "str([{}])"]
RANGES = ["range({},{})", "shuffle(range({},{}))", "sort(range({},{}),reverse=true)", "float(range({},{}))"]


def _filled(form: str, values: list[Any]) -> str:
    return form.format(",".join(map(quote, values)))


SWEPT = (
    st.builds(_filled, st.sampled_from(FUNCTIONS), LISTED | MAPPINGS)
    | st.builds(_filled, st.sampled_from(CASTS + FUNCTIONS), NUMBERS)
    | st.builds(str.format, st.sampled_from(RANGES), st.integers(-3, 0), st.integers(1, 3))
    | st.just("${y}")
)
KEYS = st.sampled_from(["x", "y", "+new", "++y", "m", "m.a", "m.b", "m.b.0", "m.c", "++m.c.d", "m.c.d"])
OVERRIDES = st.lists(st.builds("{}={}".format, KEYS, SWEPT), min_size=1, max_size=3)


@given(OVERRIDES)
def test_a_jobs_overrides_alone_give_its_configuration(overrides: list[str]) -> None:
    try:
        jobs = COMPOSER.expand(overrides)
    except ConfigError:
        reject()  # that text is no number, and what cannot both hold
    for job in jobs[:6]:
        (again,) = COMPOSER.expand([], job.overrides)
        assert _content(again) == _content(job) and again.overrides == job.overrides
        for key, value in job.params.items():
            _agree(value, OmegaConf.select(again.tree, key))


def _content(one: Composed) -> str:
    return repr(OmegaConf.to_container(one.tree))


def _agree(value: Any, found: Any) -> None:
    """What a table has is what a configuration has, of a mapping the keys that were given."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _agree(inner, found[key])
    else:
        assert repr(value) == repr(OmegaConf.to_container(found) if OmegaConf.is_config(found) else found)


@pytest.mark.parametrize(
    "text",
    ["x=shuffle(range(0,6))", "x=str(1,2)", "x=shuffle([1,2,3,4,5,6])", "x=sort(b,'1')", "m={a:1},{b:[]}"],
)
def test_by_hydra_itself_too(text: str) -> None:
    for job in COMPOSER.expand([text, "m.a=7"]):
        (again,) = COMPOSER.expand(job.overrides)
        assert _content(again) == _content(job)


@dataclass
class Typed:
    rate: float = 0.1
    name: str = "a"
    sizes: list[int] = field(default_factory=lambda: [1, 2])


def test_the_table_has_values_of_the_types_that_the_job_got() -> None:
    found = Composer(Typed).expand(["rate=1,2", "name=1,true", "sizes.0=3,4"])
    assert repr(dict(found[0].params)) == repr({"rate": 1.0, "name": "1", "sizes.0": 3})
    assert [one.params["name"] for one in found[::2]] == ["1", "True"] * 2
    (one,) = Composer({"x": 1, "y": "${x}"}).expand(["x=2", "y=${x},3"])[:1]
    assert one.params == {"y": 2}


# --- Groups and their packages -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def databases() -> Iterator[None]:
    repository = ConfigStore.instance()
    before = repository.repo
    repository.repo = dict(before)
    for name in ("my", "pg"):
        store({"name": name, "port": 1}, group="db", name=name)
    yield
    repository.repo = before


CHOSEN = {"defaults": ["_self_", {"db@src": "my"}, {"db@deep.dst": "my"}], "x": 0}


@pytest.mark.parametrize(
    ("config", "overrides", "src", "dst"),
    [
        (CHOSEN, ["db@src=pg"], ["pg"], ["my"]),
        (CHOSEN, ["db@src=pg", "db@deep.dst=pg"], ["pg"], ["pg"]),
        (CHOSEN, ["db@src=my,pg", "db@deep.dst=pg,my"], ["my", "my", "pg", "pg"], ["pg", "my"] * 2),
        (CHOSEN, ["db@src=glob(*)"], ["my", "pg"], ["my", "my"]),
        (CHOSEN, ["db@src=my,pg", "src.port=5,6"], ["my", "my", "pg", "pg"], ["my"] * 4),
        ({"x": 0}, ["db@src=my,pg", "+db@deep.dst=pg"], ["my", "pg"], ["pg", "pg"]),
        ({"x": 0}, ["db@src=pg", "db@deep.dst=pg"], ["pg"], ["pg"]),
        ({"x": 0}, ["+db@src=my,pg", "+db@deep.dst=pg,my"], ["my", "my", "pg", "pg"], ["pg", "my"] * 2),
    ],
)
def test_a_group_in_several_packages(
    config: dict[str, Any], overrides: list[str], src: list[str], dst: list[str]
) -> None:
    found = Composer(config).expand(overrides)
    assert [one.tree.src.name for one in found] == src
    assert [one.tree.deep.dst.name for one in found] == dst
    swept = [text.lstrip("+").partition("=")[0] for text in overrides if "," in text or "glob" in text]
    assert [list(one.params) for one in found] == [swept] * len(found)
    for one in found:
        assert one.params.get("db@src", one.tree.src.name) == one.tree.src.name
        (again,) = Composer(config).expand(one.overrides)
        assert again.tree == one.tree


def test_a_package_is_left_out() -> None:
    (one,) = Composer(CHOSEN).expand(["~db@src"])
    assert one.tree == {"x": 0, "deep": {"dst": {"name": "my", "port": 1}}}
    for text in ("db@other=pg", "db=pg"):  # perhaps one of those that the defaults list has was meant
        with pytest.raises(ConfigError, match=r"db@deep.dst, db@src"):
            Composer(CHOSEN).expand([text])
