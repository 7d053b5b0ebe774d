"""Tables of configurations: written and read again, made by others, and beside what is typed."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepflow.compose import compose_trials
from sweepflow.compose.trials import TrialsRequest
from sweepflow.errors import ConfigError
from sweepflow.jobs.sweepers import override
from sweepflow.report.trials.tables import (
    CONFIGURATION_COLUMNS,
    RUN_COLUMNS,
    SETTING,
    write_trial_tables,
)
from sweepflow.report.trials.view import TrialsView
from sweepflow.space import Space, categorical, write_table
from sweepflow.storage.record import Record
from sweepflow.trials.draw import DesignOptions, Drawn, draw_trials

FIELDS = """
from typing import Any, Literal
from pydantic import Field
from sweepflow.schema.fields import Config as Base, Content, Traced
METRIC = "loss"

class Inner(Base):
    names: tuple[str, ...] = ()
    flag: bool = False

class Config(Base):
    rate: Traced[float] = 0.5
    count: int = 1
    maybe: int | None = 3
    tag: Content[str] = ""
    label: Content[str | None] = "none"
    status: Content[str] = ""
    n: int = 1
    kind: Literal["a", "1"] = "a"
    inner: Inner = Inner()
    sizes: tuple[int, ...] = (1,)
    args: Content[dict[str, Any]] = Field(default_factory=dict)
    env: Content[dict[str, str]] = Field(default_factory=dict)

def run(config, inputs, key):
    return {"loss": config.rate}
"""
LOOKS = [
    "007",
    "7",
    "1e5",
    "1.10",
    "true",
    "null",
    "~",
    "",
    " ",
    "0,5",
    "a;b",
    "[1",
    '"',
    "yes",
    "010",
    "nan",
]
texts = st.one_of(
    st.sampled_from(LOOKS), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
)
floats = st.floats(-1e30, 1e30)
AXES = {
    "rate": st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False),
    "count": st.integers(-(2**31), 2**31 - 1),
    "maybe": st.none() | st.integers(0, 9),
    "tag": texts,
    "label": st.none() | texts,
    "status": texts,
    "n": st.integers(0, 99),
    "kind": st.sampled_from(["a", "1"]),
    "inner.names": st.lists(texts, max_size=2),
    "inner.flag": st.booleans(),
    "sizes": st.lists(st.integers(0, 99), min_size=1, max_size=2),
    "args.any": st.none() | st.booleans() | st.integers() | floats | texts,
    "env.NAME": texts,
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Overrides of a workload with a field of every type."""
    path = tmp_path_factory.mktemp("a lab") / "fields.py"
    path.write_text(FIELDS)
    yield [override("workload", str(path))]
    sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def composed(lab: list[str]) -> TrialsRequest:
    return compose_trials(lab)


def drawn_from(path: Path, overrides: list[str], config_dir: Path | None = None) -> Drawn:
    return draw_trials(compose_trials(overrides, config_dir, path), DesignOptions(table=path))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(st.sampled_from(sorted(AXES)), min_size=1, max_size=3),
    suffix=st.sampled_from(["csv", "parquet", "json", "yaml"]),
    data=st.data(),
)
def test_a_table_of_samples_gives_the_same_configurations_and_ids(
    keys: set[str], suffix: str, data: st.DataObject, composed: TrialsRequest, tmp_path: Path
) -> None:
    values = {key: data.draw(st.lists(AXES[key], min_size=1, max_size=3, unique_by=repr)) for key in keys}
    space = Space(parameters={key: categorical(found) for key, found in values.items()})
    drawn = draw_trials(replace(composed, space=space), DesignOptions(8, "random"))
    path = tmp_path / f"samples.{suffix}"
    write_table(path, list(drawn.rows.values()))
    again = draw_trials(composed, DesignOptions(table=path))
    assert {i: t.config for i, t in again.trials.items()} == {i: t.config for i, t in drawn.trials.items()}


def settings_of(path: Path, known: Collection[str], to: Path) -> None:
    """What a user takes of a sweep's table: its columns that are settings."""

    def is_setting(name: str) -> bool:
        results = RUN_COLUMNS if path.stem == "runs" else CONFIGURATION_COLUMNS
        return name not in results and name.removeprefix(SETTING).split(".")[0] in known

    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.select([name for name in table.column_names if is_setting(name)]), to)
        return
    with path.open(newline="") as file, to.open("w", newline="") as out:
        rows = list(csv.DictReader(file))
        kept = csv.DictWriter(out, [key for key in rows[0] if is_setting(key)], extrasaction="ignore")
        kept.writeheader()
        kept.writerows(rows)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries({}, optional=AXES),
        min_size=1,
        max_size=3,
    ).filter(any),
    suffix=st.sampled_from(["csv", "parquet"]),
)
def test_settings_in_a_sweeps_table_give_the_same_configurations_and_ids(
    rows: list[dict[str, Any]], suffix: str, composed: TrialsRequest, tmp_path: Path
) -> None:
    write_table(tmp_path / "asked.json", rows)
    drawn = draw_trials(composed, DesignOptions(table=tmp_path / "asked.json"))
    records = [
        Record(i, "fields", 1, "ok", (), one.config.model_dump(mode="json"), {"loss": 0.5, "rates": [1.0]})
        for i, one in drawn.trials.items()
    ]
    view = TrialsView(records, "loss", "minimize", frozenset(), {})
    for table in write_trial_tables(view, tmp_path):
        path = tmp_path / f"again.{suffix}"
        settings_of(table.with_suffix(f".{suffix}"), composed.workload.config_type.model_fields, path)
        assert list(draw_trials(composed, DesignOptions(table=path)).trials) == list(drawn.trials)


def test_a_result_beside_the_setting_of_its_name_is_refused(lab: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("setting_n,n,rate\n7,1,0.5\n")
    with pytest.raises(ConfigError, match=r"the key 'n' in two columns(.|\n)*setting_n and n") as refused:
        drawn_from(path, lab)
    assert "remove n" in str(refused.value.do)
    path.write_text("setting_none,rate\n7,0.5\n")
    with pytest.raises(ConfigError, match="no key of the workload: 'setting_none'"):
        drawn_from(path, lab)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_are_of_the_type_of_their_key(separator: str, lab: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        ["tag", "label", " args.id ", "count", "env.NAME", "rate"],
        ["007", "1e5", "007", "07", "8", "0.25"],
        ["true", "null", "010", "", "", "1"],
    ]
    path.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n")
    configs = [t.config for t in drawn_from(path, lab).trials.values()]
    assert [(c.tag, c.label, c.args["id"], c.count, c.env.get("NAME"), c.rate) for c in configs] == [
        ("007", "1e5", "007", 7, "8", 0.25),
        ("true", None, "010", 1, None, 1.0),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "rate;count\n0,5;1\n", ["a number of", "rate: 0,5, in line 2", "0.5"]),
        ("t.csv", "rate\tcount\n0.5\n", ["1 cells in line 2"]),
        ("t.csv", "rate count\n1\n", ["no key of the workload: 'rate count'"]),
        ("t.csv", "rat,count\n1,2\n", ["did you mean 'rate'"]),
        (
            "t.csv",
            "id,rate,loss\n1,2,3\n",
            ["that are no keys", "'id', 'loss'", "columns of results"],
        ),
        ("t.csv", "inner.flg\ntrue\n", ["flg", "inner.flag", "row 1"]),
        ("t.csv", "count\n1.5\n", ["count", "row 1"]),
        ("t.yaml", "- {rate: 1, rate: 2}\n", ["'rate' is given twice"]),
        ("t.json", '[{"rate": 1, "rate": 2}]', ["'rate' is given twice"]),
        ("t.json", '[{"rate": NaN}]', ["rate in row 1", "nan"]),
        ("t.yaml", "- {tag: !!binary aGk=}\n", ["tag in row 1", "bytes"]),
    ],
)
def test_what_a_table_cannot_say_is_refused_with_where_it_is(
    name: str, content: str, words: list[str], lab: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        drawn_from(path, lab)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("typed", "column", "expected", "noted"),
    [
        (["rate=0.5"], ("rate", 1), {"rate": 0.5}, True),
        (["rate=0.5,0.25"], ("rate", 1), {"rate": 0.25}, True),
        (["+args={id:9}"], ("args.id", 1), {"args": {"id": 9}}, True),
        (["+args={other:9}"], ("args.id", 1), {"args": {"other": 9, "id": 1}}, False),
        (["+args.id=9"], ("args", {"id": 1, "b": 2}), {"args": {"id": 9, "b": 2}}, False),
        (
            ["inner.flag=false,true"],
            ("inner", {"names": ["x"]}),
            {"inner": {"names": ["x"], "flag": True}},
            False,
        ),
        (["count=4"], ("rate", 1), {"count": 4, "rate": 1}, False),
    ],
)
def test_what_is_typed_wins_over_a_column_and_that_is_said(
    typed: list[str],
    column: tuple[str, object],
    expected: dict[str, object],
    noted: bool,
    lab: list[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{column[0]: column[1]}]))
    drawn = drawn_from(path, [*lab, *typed])
    config = list(drawn.trials.values())[-1].config.model_dump(mode="json")
    assert {key: config[key] for key in expected} == expected
    assert any("in place of the column" in note and typed[0] in note for note in drawn.notes) is bool(noted)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "yaml"])
@pytest.mark.parametrize("rows", [[{}, {"rate": 1.0}], [{"rate": 1.0}, {}], [{"rate": 1.0, "count": 2}, {}]])
def test_a_trial_of_defaults_that_was_written_is_run(
    rows: list[dict[str, object]], suffix: str, lab: list[str], tmp_path: Path
) -> None:
    path = tmp_path / f"t.{suffix}"
    write_table(path, rows)
    drawn = drawn_from(path, lab)
    number = rows.index({}) + 1
    assert list(drawn.rows.values()) == rows
    assert drawn.notes == [f"row {number} of {path} has no keys: it is the defaults"]


def test_blank_rows_of_others_are_skipped_and_said_and_rows_keep_their_numbers(
    lab: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("rate,count\n0.5,2\n,\n1,3\n" + 6 * ",\n")
    drawn = drawn_from(path, lab)
    assert list(drawn.rows.values()) == [{"rate": 0.5, "count": 2}, {"rate": 1, "count": 3}]
    (note,) = drawn.notes
    assert note.startswith(f"7 blank rows of {path} are skipped (2, 4, 5, 6, 7, …)"), note
    path.write_text("rate,count\n0.5,2\n,\n1,x\n")
    with pytest.raises(ConfigError, match="row 3"):
        drawn_from(path, lab)
    assert list(drawn_from(path, [*lab, "count=1"]).rows.values()) == [{"rate": 0.5}, {"rate": 1}]


def test_an_experiment_sweeps_no_column(lab: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("rate,count\n0.5,2\n")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "e.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {rate: '1,2'}}}\n"
    )
    with pytest.raises(ConfigError, match=r"experiment e(.|\n)*t.csv"):
        drawn_from(path, [*lab, "+experiment=e"], tmp_path / "conf")


def test_a_column_gives_what_a_file_leaves_open(tmp_path: Path) -> None:
    path, program = tmp_path / "runs.csv", ["workload=command", "+args.lr=1"]
    path.write_text('command,metrics,args.lr\ntrue,"[""loss""]",0.1\ntrue,"[""loss""]",0.2\n')
    configs = [trial.config for trial in drawn_from(path, ["workload=command"]).trials.values()]
    assert [(c.command, c.metrics, c.args) for c in configs] == [
        ("true", ("loss",), {"lr": lr}) for lr in (0.1, 0.2)
    ]
    path.write_text('command,metrics,args.lr\ntrue,"[""loss""]",0.1\n,"[""loss""]",0.2\n')
    with pytest.raises(ConfigError, match=r"every trial has to be given command(.|\n)*row 2"):
        drawn_from(path, program)
    assert len(drawn_from(path, [*program[:1], "command=echo"]).trials) == 2
    path.write_text("command\ntrue\n")
    with pytest.raises(ConfigError, match="metrics has to be given"):
        drawn_from(path, program)
