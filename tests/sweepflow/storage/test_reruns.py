"""Requests for trials to be run again, and what counts as a result meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepflow.errors import StoreError
from sweepflow.storage.record import Record
from sweepflow.storage.reruns import all_again, ask_again, is_going_on, of_before
from sweepflow.storage.store import Store

IDS = [f"trl_{i:016x}" for i in range(6)]


def put(store: Store, trial_id: str, number: float = 0.0, status: str = "ok") -> None:
    store.put(Record(trial_id, "w", 1, status, (), {}, {"loss": number}, {"run": number}))  # type: ignore[arg-type]


def put_all(store: Store, ids: Sequence[str] = IDS) -> None:
    for trial_id in ids:
        put(store, trial_id)


def test_a_record_of_before_is_no_result_and_stays_until_the_new_one_is_there(store: Store) -> None:
    put_all(store, IDS[:4])
    assert all_again(store.paths, IDS, None), "a look at the plan asks for nothing"
    assert len(store.finished(IDS)) == 4
    assert not all_again(store.paths, IDS, "one"), "the store tells it now"
    assert store.finished(IDS) == store.current(IDS) == {}
    assert set(store.known(IDS)) == set(IDS[:4]), "but they are there"
    put(store, IDS[0], 1.0)
    put(store, IDS[4], 1.0)
    put(store, IDS[1], 1.0, "failed")
    assert set(store.finished(IDS)) == {IDS[0], IDS[4]}
    assert set(store.current(IDS)) == {IDS[0], IDS[1], IDS[4]}
    assert of_before(store.paths, IDS) == {IDS[2], IDS[3]}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from([*range(4), "ask", "same"]), max_size=12), tag=st.uuids())
def test_however_often_it_is_interrupted_no_trial_is_run_again_twice(
    steps: list[object], tag: object, store: Store
) -> None:
    """Whoever goes on, the same flow run or a new one with the same command, runs what is left."""
    store = replace(store, root=store.root / str(tag))
    ids, ran = IDS[:4], dict.fromkeys(IDS[:4], 0)
    put_all(store, ids)
    ask_again(store.paths, ids, "first")
    for number, step in enumerate(steps, 1):
        if isinstance(step, int):
            if ids[step] not in store.finished(ids):
                put(store, ids[step], number)
                ran[ids[step]] += 1
        elif is_going_on(store.paths, ids) or step == "same":
            ask_again(store.paths, ids, "first" if step == "same" else f"run {number}")
        assert set(store.finished(ids)) == {i for i, times in ran.items() if times == 1}
        assert max(ran.values()) <= 1


def test_a_request_that_is_done_is_followed_by_another(store: Store) -> None:
    put_all(store)
    ask_again(store.paths, IDS, "first")
    for trial_id in IDS:
        put(store, trial_id, 1.0)
    assert not is_going_on(store.paths, IDS) and len(store.finished(IDS)) == 6
    ask_again(store.paths, IDS, "first")
    assert len(store.finished(IDS)) == 6, "the same run, whose end was interrupted, asks for nothing more"
    ask_again(store.paths, IDS, "second")
    assert not store.finished(IDS)
    assert [path.stem for path in store.paths.reruns.glob("*")] == ["second"], "what is done is forgotten"


def test_a_request_for_more_than_the_interrupted_one_is_a_request_for_all(store: Store) -> None:
    put_all(store)
    ask_again(store.paths, IDS[:2], "first")
    assert is_going_on(store.paths, IDS[:1]) and not is_going_on(store.paths, IDS[1:])
    ask_again(store.paths, IDS[1:], "second")
    assert of_before(store.paths, IDS) == set(IDS)


def test_checkpoints_of_before_are_not_gone_on_from_and_later_ones_are(store: Store) -> None:
    put_all(store)
    checkpoint = store.paths.checkpoint(IDS[0])
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    ask_again(store.paths, IDS, "first")
    assert not checkpoint.exists()
    checkpoint.touch()
    ask_again(store.paths, IDS, "first")
    ask_again(store.paths, IDS, "second")
    assert checkpoint.exists()


def test_what_cannot_be_read_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_all(store)
    ask_again(store.paths, IDS, "one")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for look in (of_before, is_going_on):
        with pytest.raises(StoreError, match="cannot be told"):
            look(store.paths, IDS)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": 3}', '{"asked": ["x"]}'])
def test_a_file_that_is_no_request_asks_for_nothing(content: str, store: Store) -> None:
    put_all(store)
    store.paths.reruns.mkdir(parents=True)
    (store.paths.reruns / "x.json").write_text(content)
    assert len(store.finished(IDS)) == 6 and not is_going_on(store.paths, IDS)
