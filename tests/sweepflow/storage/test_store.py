"""Records come back as they were put, and what is not a whole record is a miss."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from sweepflow.errors import ConfigError, StoreError
from sweepflow.storage.record import Record
from sweepflow.storage.store import TRIAL_ID, Store, TornRecordWarning
from tests.work import calls

ID = "est_0123456789abcdef"


def record(trial_id: str = ID, **changes: Any) -> Record:
    """An estimate as the workload writes it."""
    whole = Record(
        id=trial_id,
        workload="llc",
        version=1,
        status="flagged",
        reasons=("R̂ 1.41 > 1.05", "step size too large: loss left the basin"),
        advice=("", "sampler.step_size=1e-5"),
        notes=("the chains stayed in one basin",),
        config={"sampler": {"kind": "hmc", "nbeta": 144.76, "seed": 1}, "target": {"model": {"widths": [8]}}},
        figures={"llc": 12.25, "llc_chains": [12.0, None], "r_hat": 1.41, "ess_mean": None, "divergences": 0},
        seconds={"compile": 1.5, "run": 0.25},
        provenance={"host": "box-7", "device": "cpu", "versions": {"jax": "0.10.2"}},
        arrays={
            "loss": np.linspace(0, 1, 24).reshape(4, 6),
            "full_gradients": np.arange(6, dtype=np.float32),
        },
    )
    return replace(whole, **changes)


def same(one: Record | None, other: Record) -> bool:
    """Whether all but the arrays, which `get` does not load, are equal."""
    return one is not None and replace(one, arrays={}).__dict__ == replace(other, arrays={}).__dict__


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file())


def test_what_is_put_comes_back(store: Store) -> None:
    assert store.get(ID) is None
    store.put(record())
    assert same(store.get(ID), record())
    for name, array in store.arrays(ID).items():
        expected = record().arrays[name]
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
    assert [path.suffix for path in files(store)] == [".safetensors", ".json"]


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
figures = st.dictionaries(
    words.filter(bool),
    st.none()
    | st.booleans()
    | st.integers()
    | words
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    max_size=6,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    figures=figures, **dict.fromkeys(["reasons", "advice", "notes"], st.lists(words, max_size=3).map(tuple))
)
def test_figures_and_words_come_back_exactly(
    store: Store, figures: dict[str, Any], **said: tuple[str, ...]
) -> None:
    put = record(figures=figures, **said)
    store.put(put)
    assert same(store.get(ID), put)


def test_a_record_of_before_there_was_advice_has_none(store: Store) -> None:
    store.put(record())
    path = store.paths.record(ID)
    head = json.loads(path.read_text())
    assert head.pop("advice") and head.pop("notes")
    path.write_text(json.dumps(head))
    found = store.get(ID)
    assert same(found, record(advice=(), notes=()))
    assert found is not None and found.advised == found.reasons == record().reasons


def test_each_reason_with_what_to_do_about_it() -> None:
    assert record().advised == (
        "R̂ 1.41 > 1.05",
        "step size too large: loss left the basin (do: sampler.step_size=1e-5)",
    )
    assert record(reasons=(), advice=()).advised == ()
    assert record(advice=("sampler.ess=800",)).advised == (
        "R̂ 1.41 > 1.05 (do: sampler.ess=800)",
        "step size too large: loss left the basin",
    )


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.float64(2.5),
        np.array([1, -2], np.int8),
        np.array([True, False]),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(10.0)[::-3],
        np.array([math.nan, math.inf, -0.0]),
        np.array([1.5, 2.5], ">f8"),
        np.array([1, 2, 3], ">i4"),
        np.asarray(jnp.arange(3, dtype=jnp.float32)),
    ],
)
def test_arrays_come_back_whatever_their_layout(store: Store, array: np.ndarray) -> None:
    store.put(record(arrays={"a": array}))
    back = store.arrays(ID)["a"]
    np.testing.assert_array_equal(back, array)
    assert (back.shape, back.dtype) == (np.shape(array), array.dtype.newbyteorder("="))


def test_a_record_without_arrays(store: Store) -> None:
    store.put(record(arrays={}))
    assert same(store.get(ID), record())
    assert store.arrays(ID) == {}
    assert [path.suffix for path in files(store)] == [".json"]


def test_the_last_record_put_is_the_one_that_is_found(store: Store) -> None:
    store.put(record())
    store.put(record(status="ok", reasons=(), arrays={"loss": np.ones(3)}))
    found = store.get(ID)
    assert found is not None and found.status == "ok"
    np.testing.assert_array_equal(store.arrays(ID)["loss"], np.ones(3))


def test_a_number_that_json_has_not_got_leaves_the_store_as_it_was(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.put(record(figures={"llc": math.nan}))
    assert files(store) == []


def test_a_record_torn_anywhere_is_a_miss_and_a_warning(store: Store) -> None:
    store.put(record())
    path = store.paths.record(ID)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.warns(TornRecordWarning, match="not a whole record"):
            assert store.get(ID) is None
    path.write_bytes(whole)
    assert same(store.get(ID), record())


def test_a_torn_record_is_replaced_by_the_next_put(store: Store) -> None:
    store.put(record())
    path = store.paths.record(ID)
    path.write_bytes(path.read_bytes()[:100])
    store.put(record())
    assert same(store.get(ID), record())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b"{}",
        b"[" * 200_000,
        b"\xff\xfe\x00",
        b"PK\x03\x04 a zip file",
        json.dumps({"id": ID}).encode(),
    ],
)
def test_a_foreign_file_in_a_records_place_is_a_miss(store: Store, content: bytes) -> None:
    store.put(record())
    store.paths.record(ID).write_bytes(content)
    with pytest.warns(TornRecordWarning):
        assert store.get(ID) is None


@pytest.mark.parametrize(
    "edit",
    [
        {"id": "est_ffffffffffffffff"},
        {"id": None},
        {"format": 2},
        {"format": None},
        {"version": "x"},
        {"figures": None},
        {"config": [1]},
        {"reasons": None},
        {"arrays": None},
        {"arrays": {"sha256": 7, "bytes": 1}},
        {"arrays": {"sha256": "/../../x", "bytes": 1}},
    ],
)
def test_a_record_that_is_not_what_its_name_says_is_a_miss(store: Store, edit: dict[str, Any]) -> None:
    store.put(record())
    path = store.paths.record(ID)
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    with pytest.warns(TornRecordWarning):
        assert store.get(ID) is None


def arrays_file(store: Store) -> Path:
    (path,) = store.root.rglob("*.safetensors")
    return path


def test_torn_or_missing_arrays_make_the_record_a_miss(store: Store) -> None:
    store.put(record())
    path = arrays_file(store)
    whole = path.read_bytes()
    for length in (0, 1, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.warns(TornRecordWarning, match="is torn"):
            assert store.get(ID) is None
    path.unlink()
    with pytest.warns(TornRecordWarning, match="arrays are missing"):
        assert store.get(ID) is None
    store.put(record())
    assert same(store.get(ID), record())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: pickle.dumps({"loss": 1}).ljust(len(whole), b" "),
        lambda whole: save({"loss": np.zeros(1)}).ljust(len(whole), b" "),
    ],
)
def test_arrays_of_the_right_length_that_are_not_the_records_own_are_refused(
    store: Store, spoil: Callable[[bytes], bytes]
) -> None:
    store.put(record())
    path = arrays_file(store)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreError, match=rf"does not match(.|\n)*sweepflow rm {ID}"):
        store.arrays(ID)


def test_asking_for_the_arrays_of_what_is_not_there_says_what_to_do(store: Store) -> None:
    with pytest.raises(StoreError, match=f"sweepflow rm {ID}"):
        store.arrays(ID)


def test_foreign_files_in_the_folders_are_nobodys_records(store: Store) -> None:
    store.put(record())
    folder = store.paths.record(ID).parent
    whole = store.paths.record(ID).read_bytes()
    (folder / "notes.json").write_text("{}")
    (folder / "est_0123456789abcdef.json.bak").write_bytes(whole)
    (folder / "est_0123456789ABCDEF.json").write_bytes(whole)
    (folder / ".est_0123456789abcdef.json.1.aa.tmp").write_bytes(whole[:9])
    (folder / "tgt_0123456789abcdef.json").write_bytes(whole)
    elsewhere = folder.parent / "zz"
    elsewhere.mkdir()
    (elsewhere / f"{ID}.json").write_bytes(whole)
    (folder.parent / "README").write_text("mine")
    assert [found.id for found in store.records("est")] == [ID]
    assert list(store.records("tgt")) == []
    assert store.find("est_01").id == ID
    with pytest.raises(ConfigError, match="no such record"):
        store.find("tgt_01")


def test_records_are_listed_by_id_and_torn_ones_passed_over(store: Store) -> None:
    ids = [f"est_{digit * 16}" for digit in "c0a7"]
    for trial_id in ids:
        store.put(record(trial_id))
    store.put(record("tgt_" + "0" * 16))
    store.paths.record(ids[0]).write_text("")
    with pytest.warns(TornRecordWarning):
        assert [found.id for found in store.records("est")] == sorted(ids[1:])
    assert list(Store(store.root / "nowhere").records("est")) == []


def test_known_is_what_the_store_has_of_what_is_asked(store: Store) -> None:
    store.put(record())
    other = "est_" + "f" * 16
    assert list(store.known([other, ID])) == [ID]
    assert store.known([]) == {}


def test_a_failed_trial_is_known_but_not_finished(store: Store) -> None:
    store.put(record())
    failed = "est_" + "f" * 16
    store.put(replace(record(failed), status="failed"))
    assert list(store.known([failed, ID])) == [failed, ID]
    assert list(store.finished([failed, ID])) == [ID]


IDS = ("est_aa00000000000000", "est_aa11111111111111", "est_ab00000000000000", "tgt_aa00000000000000")


@pytest.mark.parametrize(
    ("name", "found"),
    [(IDS[0], IDS[0]), ("est_aa0", IDS[0]), ("est_ab", IDS[2]), ("tgt_", IDS[3]), ("tgt", IDS[3])],
)
def test_a_record_is_found_by_the_beginning_of_its_id(store: Store, name: str, found: str) -> None:
    for trial_id in IDS:
        store.put(record(trial_id))
    assert store.find(name).id == found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("est_aa", ["more than one", f"{IDS[0]}, {IDS[1]}", "give more of its id"]),
        ("est_", ["more than one", IDS[2]]),
        ("est_ac", ["no such record", "est_ac", "sweepflow estimates"]),
        ("est_a*1", ["no such record", "est_a*1"]),
        ("est_a?0", ["no such record"]),
        ("est_[a]", ["no such record"]),
        ("est_../est_aa", ["no such record"]),
        ("aa00", ["no such record", "tgt_1a2b", "sweepflow estimates, sweepflow trials, sweepflow jobs;"]),
        ("trl_zzz", ["no such record", "trl_1a2b", "list the ids with: sweepflow trials; ", "--store DIR"]),
        ("tgt_no", ["in the store ", "list the ids with: sweepflow targets; ", "--store DIR"]),
        ("", ["no such record"]),
        (IDS[0] + "0", ["no such record"]),
    ],
)
def test_a_name_that_is_no_record_or_several(store: Store, name: str, words: list[str]) -> None:
    for trial_id in IDS:
        store.put(record(trial_id))
    with pytest.raises(ConfigError) as caught:
        store.find(name)
    assert [word for word in words if word not in str(caught.value)] == []


def test_remove_forgets_a_record_its_arrays_and_nothing_else(store: Store) -> None:
    neighbour = ID[:-1] + "0"
    for trial_id in (ID, neighbour):
        store.put(record(trial_id))
    store.put(record(arrays={"loss": np.ones(2)}))  # leaves the arrays of the first behind
    store.remove(ID)
    assert store.get(ID) is None
    assert same(store.get(neighbour), record(neighbour))
    assert not [path for path in files(store) if ID in path.name]
    store.remove(ID)  # twice is no error


def test_a_store_that_cannot_be_written_says_so_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the directory should be")
    for root in (tmp_path / "taken", tmp_path / "taken" / "store", Path("/proc/a store")):
        for use in (Store.check_writable, lambda store: store.put(record())):
            with pytest.raises(StoreError) as caught:
                use(Store(root))
            text = str(caught.value)
            assert "cannot be written" in text and str(root) in text and "store=DIR" in text
            assert caught.value.exit_code == 2
        assert Store(root).get(ID) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_directory_says_so(store: Store) -> None:
    store.check_writable()
    store.root.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"Permission denied(.|\n)*mend the permissions"):
            store.check_writable()
    finally:
        store.root.chmod(0o700)


def test_a_record_that_cannot_be_read_is_no_miss(store: Store) -> None:
    # A miss would run the trial again, and fail only at its end.
    store.paths.record(ID).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot be read(.|\n)*do: "):
        store.get(ID)


def test_checking_leaves_nothing_behind(store: Store) -> None:
    store.check_writable()
    assert store.root.is_dir() and files(store) == []


def test_ids_of_every_kind_have_a_folder_of_their_own(store: Store) -> None:
    ids = [f"{prefix}_{'0' * 16}" for prefix in ("tgt", "est", "trl")]
    assert all(TRIAL_ID.fullmatch(trial_id) for trial_id in ids)
    assert len({store.paths.record(trial_id).parent.parent for trial_id in ids}) == 3


def test_each_record_that_is_looked_up_takes_the_same_work(store: Store) -> None:
    ids = [f"est_{index * 2654435761 % 2**64:016x}" for index in range(1_000)]
    store.put(record(ids[0]))
    (arrays,) = store.root.rglob("*.safetensors")
    content, text = arrays.read_bytes(), store.paths.record(ids[0]).read_text()
    suffix = arrays.name.removeprefix(ids[0])
    for trial_id in ids[1:]:  # as `put` leaves them, without a rename each
        path = store.paths.record(trial_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(ids[0], trial_id))
        path.with_name(trial_id + suffix).write_bytes(content)
    found = store.known(ids)
    assert list(found) == ids
    assert same(found[ids[-1]], record(ids[-1]))
    assert calls(lambda: store.known(ids)) < 2.1 * calls(lambda: store.known(ids[:500]))
