"""Run files: there whole or passed over, and found by what a person types."""

from __future__ import annotations

import datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import ConfigError
from sweepflow.flows.runs.record import (
    RunFileWarning,
    RunRecord,
    find_run,
    get_run,
    now,
    runs,
    short_id,
    short_ids,
    write_run,
)
from sweepflow.flows.runs.table import runs_table
from sweepflow.storage.store import Store
from tests.work import calls


def record(**given: object) -> RunRecord:
    """A run of another machine, with what a test cares about."""
    moment = now()
    return RunRecord.model_validate(
        {
            "flow_run_id": str(uuid4()),
            "flow": "llc",
            "name": "a sweep",
            "directory": "/somewhere else",
            "host": "elsewhere",
            "machine": "another boot",
            "pid": 1,
            "pid_started": 1.0,
            "started": moment,
            "attempt_started": moment,
            "beat": moment,
            **given,
        }
    )


def minutes_ago(minutes: float) -> datetime.datetime:
    return now() - datetime.timedelta(minutes=minutes)


def test_what_is_written_is_read(store: Store) -> None:
    written = record(parameters={"overrides": ["x='a \"b\"'"], "n": None}, total=3, waiting="3 jobs: Größe")
    write_run(store, written)
    assert get_run(store, written.flow_run_id) == written
    assert runs(store) == [written]
    assert [path.name for path in store.paths.run("x").parent.iterdir()] == [f"{written.flow_run_id}.json"]


def test_nothing_is_known_of_an_empty_store(store: Store) -> None:
    assert runs(store) == [] and get_run(store, str(uuid4())) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff\xfe", b'{"format": 2, "flow_run_id": "x"}'],
    ids=["empty", "torn", "list", "null", "half", "bytes", "another format"],
)
def test_a_file_that_is_none_is_passed_over(store: Store, content: bytes) -> None:
    whole = record()
    write_run(store, whole)
    store.paths.run(str(uuid4())).write_bytes(content)
    with pytest.warns(RunFileWarning, match="passed over"):
        assert runs(store) == [whole]


def test_a_run_file_under_another_name_is_passed_over(store: Store) -> None:
    whole = record()
    write_run(store, whole)
    store.paths.run(str(uuid4())).write_bytes(store.paths.run(whole.flow_run_id).read_bytes())
    with pytest.warns(RunFileWarning, match="another run's"):
        assert runs(store) == [whole]


def test_temporary_files_and_requests_are_no_run_files(store: Store) -> None:
    whole = record()
    write_run(store, whole)
    for name in (
        f".{whole.flow_run_id}.json.1.tmp",
        f"{whole.flow_run_id}.lock",
        f"{whole.flow_run_id}.cancel",
    ):
        store.paths.run("x").with_name(name).write_text("half")
    assert runs(store) == [whole]


def test_the_newest_is_last(store: Store) -> None:
    made = [record(attempt_started=minutes_ago(minutes)) for minutes in (1, 3, 2)]
    for one in made:
        write_run(store, one)
    assert runs(store) == [made[1], made[2], made[0]]


def test_a_run_is_found_by_what_a_person_types(store: Store) -> None:
    old = record(name="mine", run_name="llc model=small", attempt_started=minutes_ago(5))
    new = record(name="mine")
    write_run(store, old)
    write_run(store, new)
    assert find_run(store, old.flow_run_id) == find_run(store, old.flow_run_id[:8]) == old
    assert find_run(store, old.flow_run_id[:8].upper()) == old
    assert find_run(store, "llc model=small") == old
    assert find_run(store, "mine") == new, "of several with the sweep's name, the newest"


def test_a_run_that_is_not_known_names_those_that_are(store: Store) -> None:
    known = record(name="digits")
    write_run(store, known)
    with pytest.raises(ConfigError, match="knows no such run") as raised:
        find_run(store, "digit")
    assert known.flow_run_id[:8] in str(raised.value) and "did you mean 'digits'?" in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_beginning_of_several_is_refused(store: Store) -> None:
    for digit in "12":
        write_run(store, record(flow_run_id=f"abcd000{digit}-0000-4000-8000-000000000000"))
    with pytest.raises(ConfigError, match="several runs begin so") as raised:
        find_run(store, "abcd")
    assert "abcd0001-" in str(raised.value) and "abcd0002-" in str(raised.value)


@given(st.lists(st.text("01a", min_size=12, max_size=12), max_size=12, unique=True))
def test_ids_are_shown_as_far_as_they_tell_runs_apart(ids: list[str]) -> None:
    for whole, short in short_ids(ids).items():
        assert whole.startswith(short) and len(short) >= 8
        assert [one for one in ids if one.startswith(short)] == [whole]
        assert len(short) == 8 or sum(one.startswith(short[:-1]) for one in ids) > 1, "no more than that"


def test_runs_that_were_scheduled_a_minute_apart_are_found_by_what_is_shown(store: Store) -> None:
    """Ids of scheduled runs begin with the time."""
    made = [
        record(flow_run_id=f"0199a1b2-{half}-7000-8000-00000000000{half[0]}") for half in ("1000", "2ea0")
    ]
    for one in made:
        write_run(store, one)
    shown = [line.split()[0] for line in runs_table(runs(store)[1:], among=runs(store))[1:]]
    shown += [short_id(store, one) for one in made]
    assert [find_run(store, word) for word in shown[1:]] == made
    assert shown[0] in shown[1:], "what a table of some of them shows is told from all others, too"


def test_each_run_of_a_list_takes_the_same_work(store: Store) -> None:
    add_runs(store, 500)
    few = calls(lambda: runs_table(runs(store)))
    add_runs(store, 500)
    many = calls(lambda: runs_table(runs(store)))
    assert len(runs_table(runs(store))) == 1_001
    assert many < 2.1 * few


def add_runs(store: Store, count: int) -> None:
    for _ in range(count):
        one = record(parameters={"overrides": [f"key{i}=value" for i in range(20)]})
        path = store.paths.run(one.flow_run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.model_dump_json(indent=1))
