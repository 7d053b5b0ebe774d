"""A sweep's manifest, whatever a kill has done to it, and its records as tables show them."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest
import yaml

from sweepflow.errors import ConfigError
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.result import MANIFEST, TrialsSweep, as_shown, load_sweep, note_in_manifest

IDS = [f"trl_{i:016x}" for i in range(4)]


def record(i: int, loss: float | None, status: Any = "ok", **config: Any) -> Record:
    settings = {"learning_rate": 10.0 ** -(i + 1), "stop_after": None, "resume_after": 0}
    curves = {"curve.validation_loss": np.linspace(1, loss or 9, 3)}
    return Record(
        IDS[i], "train", 1, status, (), {**settings, **config}, {"validation_loss": loss}, arrays=curves
    )


RECORDS = [
    record(0, 0.5, momentum=0.9),
    record(1, 0.2, momentum=0.9),
    record(2, 0.1, stop_after=2, resume_after=1),
    record(3, None, "diverged"),
]


def end(store: Store, name: str = "mine", **changes: Any) -> None:
    for one in RECORDS:
        store.put(one)
    ended = {
        "name": name,
        "command": "sweepflow sweep",
        "metric": "validation_loss",
        "goal": "minimize",
        "log_keys": ["learning_rate"],
        "seed_key": "seed",
        "trials": IDS,
        "groups": dict.fromkeys(IDS, "one"),
        "rungs": {IDS[2]: 1},
        "left_out": {IDS[1]: ["momentum", "model.depth"]},
        "missing": [],
        "notes": ["a note"],
        **changes,
    }
    note_in_manifest(store.paths.sweep(name), "ended", **ended)


def test_a_line_says_what_happened_and_when(store: Store) -> None:
    directory = store.paths.sweep("mine")
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    note_in_manifest(directory, "started", trials=4)
    note_in_manifest(directory, "ended", name="mine — ünïcode\nand a line")
    lines = (directory / MANIFEST).read_text("utf-8").splitlines()
    assert len(lines) == 2
    first, second = map(json.loads, lines)
    assert (first["event"], first["trials"]) == ("started", 4)
    assert second["name"] == "mine — ünïcode\nand a line"
    assert before <= datetime.datetime.fromisoformat(first["time"]) <= datetime.datetime.now(datetime.UTC)


def test_a_sweep_as_the_store_has_it(store: Store) -> None:
    note_in_manifest(store.paths.sweep("mine"), "started")
    end(store)
    found = load_sweep(store, "mine")
    assert [one.id for one in found.trials] == IDS
    assert found.command == "sweepflow sweep" and found.notes == ["a note"]
    assert found.view.goal == "minimize" and found.view.log_keys == {"learning_rate"}
    assert found.trials[2].figures["rung"] == 1 and found.trials[2].config["stop_after"] is None
    assert "rung" not in found.trials[0].figures
    assert "momentum" in found.trials[0].config and "momentum" not in found.trials[1].config
    assert found.best is not None
    assert found.sound and not found.missing
    assert found.report == store.paths.sweep("mine") / "report.html"
    assert len(found.rows()) == 4


def test_what_is_gone_from_the_store_is_left_out(store: Store) -> None:
    end(store)
    store.remove(IDS[1])
    assert [one.id for one in load_sweep(store, "mine").trials] == [IDS[0], IDS[2], IDS[3]]


@pytest.mark.parametrize("torn", [b'{"event": "ended", "na', b'{"event": "ended"', b"\x00\x00", b"{"])
def test_after_a_torn_line(torn: bytes, store: Store) -> None:
    """What comes before it counts, and so does what comes after it."""
    path = store.paths.sweep("mine") / MANIFEST
    end(store, notes=["before"])
    with path.open("ab") as file:
        file.write(torn)
    assert load_sweep(store, "mine").notes == ["before"]
    end(store, notes=["after"])
    assert load_sweep(store, "mine").notes == ["after"]
    assert path.read_bytes().count(b"\n") == 3


def test_a_sweep_that_has_not_ended(store: Store) -> None:
    note_in_manifest(store.paths.sweep("mine"), "started")
    with pytest.raises(ConfigError, match="has not ended") as caught:
        load_sweep(store, "mine")
    assert "start the same command again" in str(caught.value)


def test_a_sweep_that_is_not_there(store: Store) -> None:
    with pytest.raises(ConfigError, match="no such sweep") as caught:
        load_sweep(store, "mine")
    assert "none yet" in str(caught.value)
    end(store, name="depth")
    end(store, name="width")
    with pytest.raises(ConfigError) as caught:
        load_sweep(store, "widht")
    assert caught.value.allowed == "depth, width"
    assert caught.value.do == "did you mean 'width'?"


def test_as_shown() -> None:
    plain = as_shown(RECORDS[0], None, ())
    assert (plain.config, plain.figures) == (RECORDS[0].config, RECORDS[0].figures)
    shown = as_shown(RECORDS[2], 2, ())
    assert shown.figures == {"validation_loss": 0.1, "rung": 2}
    assert shown.config["stop_after"] is None
    nested = record(0, 0.5, momentum=0.9, model={"kind": "mlp", "depth": 2})
    shown = as_shown(nested, None, ["momentum", "model.depth", "model.depth.deeper", "not.there"])
    assert shown.config == {**record(0, 0.5).config, "model": {"kind": "mlp"}}
    assert RECORDS[2].config["stop_after"] == 2, "the record itself is as it was"
    assert nested.config["model"] == {"kind": "mlp", "depth": 2} and "momentum" in nested.config


def sweep(store: Store, records: list[Record], missing: tuple[str, ...] = ()) -> TrialsSweep:
    for one in records:
        store.put(one)
    groups = dict.fromkeys([one.id for one in records], "one")
    view = TrialsView(records, "validation_loss", "minimize", frozenset({"learning_rate"}), groups, "seed")
    return TrialsSweep("mine", "sweepflow sweep", store.paths.sweep("mine"), view, missing)


def test_what_is_sound(store: Store) -> None:
    failed = record(1, None, "failed")
    assert sweep(store, RECORDS).sound, "one may diverge"
    assert not sweep(store, RECORDS, ("trl_f",)).sound
    assert not sweep(store, [RECORDS[0], failed]).sound
    assert not sweep(store, [RECORDS[3]]).sound, "but not all"


def test_the_best_file_is_the_best_and_goes_with_it(store: Store) -> None:
    some = sweep(store, [RECORDS[0], RECORDS[1], RECORDS[3]])
    some.write(store)
    assert {"runs.csv", "best.yaml", "report.html"} <= {path.name for path in some.directory.iterdir()}
    assert yaml.safe_load((some.directory / "best.yaml").read_text())["learning_rate"] == 0.01
    assert some.best is not None and some.best["learning_rate"] == 0.01
    none = sweep(store, [RECORDS[3]])
    none.write(store)
    assert none.best is None
    assert not (none.directory / "best.yaml").exists(), "an earlier run's"
