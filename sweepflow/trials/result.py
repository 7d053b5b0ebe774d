"""The results of a sweep of trials: its records, and the files made from them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.report.trials.configurations import best, best_yaml
from sweepflow.report.trials.page import write_trials_report
from sweepflow.report.trials.tables import trial_rows, write_trial_tables
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.atomic import append_line, write_bytes
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, eq=False)
class TrialsSweep:
    """All results of one sweep.

    Attributes:
        name: The sweep's name.
        command: Command that was typed to get it.
        directory: Directory of its manifest, tables, best configuration and report.
        view: Its records, and the criterion by which they are judged.
        missing: Ids of trials without a record: their batches failed.
        notes: Notes on how the trials were chosen and run, in words.
        option: Option of the group `workload` that the sweep used.
        own: Path of the workload, if it is the user's own.
    """

    name: str
    command: str
    directory: Path
    view: TrialsView
    missing: Sequence[str] = ()
    notes: Sequence[str] = ()
    option: str = ""
    own: str = ""

    @property
    def trials(self) -> Sequence[Record]:
        """The records, in the order asked for."""
        return self.view.records

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.directory / "report.html"

    @property
    def sound(self) -> bool:
        """Soundness of the sweep: true if every trial has a result, and at least one a value. A trial may
        diverge."""
        statuses = [record.status for record in self.trials]
        return not self.missing and "failed" not in statuses and bool({"ok", "flagged"} & set(statuses))

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best configuration; None if no trial has a value."""
        found = best(self.view)
        return None if found is None else self.view.records[found.place].config

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row per trial: all settings and figures."""
        return trial_rows(self.view)

    def write(self, store: Store) -> None:
        """Write runs.csv, configurations.csv (and both as Parquet), best.yaml and report.html."""
        write_trial_tables(self.view, self.directory)
        best_file = self.directory / "best.yaml"
        if best(self.view) is not None:
            write_bytes(best_file, best_yaml(self.view, self.command, self.option, self.own).encode())
        else:
            best_file.unlink(missing_ok=True)
        write_trials_report(
            self.report, self.name, self.command, self.view, lambda record: store.arrays(record.id)
        )


def note_in_manifest(directory: Path, event: str, **what: Any) -> None:
    """Append one line, with the event and its time (UTC), to a sweep's manifest, which is never rewritten."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path, line = directory / MANIFEST, json.dumps({"event": event, "time": now, **what})
    # A line that a kill has torn has no end; this one must not be lost with it.
    torn = path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    append_line(path, f"\n{line}" if torn else line)


def replaced_note(directory: Path, command: str, trials: Sequence[str]) -> list[str]:
    """Return a note if the folder holds the results of other trials, which are about to be replaced.

    Args:
        directory: Directory of the sweep.
        command: Command that was typed to get it.
        trials: Ids of its trials.
    """
    ended = _last_ended(directory)
    if ended is None or set(ended["trials"]) & set(trials):
        return []
    if ended["command"] == command:
        return [
            "the same command has other trials than before, because files or code behind it have changed: "
            f"the tables in {directory.name} are replaced"
        ]
    return [
        f"{directory.name} named the sweep of another command ({ended['command']}): its tables are replaced"
    ]


def load_sweep(store: Store, name: str) -> TrialsSweep:
    """Return a sweep from its manifest and the store.

    Raises:
        ConfigError: if there is no such sweep.
    """
    directory = store.paths.sweep(name)
    if not (directory / MANIFEST).is_file():
        known = sorted(path.parent.name for path in directory.parent.glob(f"*/{MANIFEST}"))
        raise ConfigError(
            "there is no such sweep in the store",
            got=f"{name} in {store.root}",
            allowed=", ".join(known[-20:]) or "none yet: start one with sweepflow sweep",
            do=did_you_mean(name, known),
        )
    ended = _last_ended(directory)
    if ended is None:
        raise ConfigError(
            "this sweep has not ended", got=name, do="start the same command again: it goes on where it was"
        )
    found = store.known(ended["trials"])
    rungs, left_out = ended["rungs"], ended["left_out"]
    records = [as_shown(found[i], rungs.get(i), left_out.get(i, ())) for i in ended["trials"] if i in found]
    view = TrialsView(
        records,
        ended["metric"],
        ended["goal"],
        frozenset(ended["log_keys"]),
        ended["groups"],
        ended["seed_key"],
        ended.get("goal_guessed", False),  # sweeps of before did not say
        ended.get("asked", {}),
    )
    return TrialsSweep(ended["name"], ended["command"], directory, view, ended["missing"], ended["notes"])


def _last_ended(directory: Path) -> Any:
    """Return the last complete `ended` event of a sweep's manifest; None if there is none."""
    try:
        lines = (directory / MANIFEST).read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # torn by a kill
        if isinstance(event, dict) and event.get("event") == "ended":
            return event
    return None


def as_shown(record: Record, rung: int | None, left_out: Sequence[str]) -> Record:
    """Return a record as tables and charts show it.

    Args:
        record: Record as stored.
        rung: Rung at which halving stopped the trial. It becomes a figure, and the stop is then no setting.
        left_out: Dotted keys that have their defaults because the condition under which they are drawn does
            not hold. They are left out, since they decide nothing.
    """
    config, figures = dict(record.config), dict(record.figures)
    if rung is not None:
        config["stop_after"] = None
        figures["rung"] = rung
    for key in left_out:
        _drop(config, key.split("."))
    return replace(record, config=config, figures=figures)


def _drop(config: dict[str, Any], path: Sequence[str]) -> None:
    """Remove a nested key, copying the dicts on the way."""
    for part in path[:-1]:
        if not isinstance(config.get(part), Mapping):
            return
        config[part] = config = dict(config[part])
    config.pop(path[-1], None)
