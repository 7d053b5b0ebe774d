"""Records by fingerprint: JSON for people and tables, safetensors (which cannot run code) for arrays."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sweepflow.errors import ConfigError, StoreError
from sweepflow.storage.atomic import read_bytes, write_bytes
from sweepflow.storage.paths import FOLDERS, StorePaths
from sweepflow.storage.record import Record, Status
from sweepflow.storage.reruns import of_before

FORMAT = 1
LISTS = tuple(f"sweepflow {folder}" for folder in FOLDERS.values())
"""Commands that list the ids of each kind."""
TRIAL_ID = re.compile(rf"({'|'.join(FOLDERS)})_[0-9a-f]{{16}}")


class TornRecordWarning(UserWarning):
    """A file in the store that is not a complete record; it counts as a miss."""


@dataclass(frozen=True)
class Store:
    """The known results, in one directory.

    A record's arrays are written before its JSON, so a record that can be read has its arrays. A file that is
    torn, or is not a record, counts as a miss and gives a warning.
    """

    root: Path
    paths: StorePaths = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "paths", StorePaths(Path(self.root)))

    def check_writable(self) -> None:
        """Make the directory and check that files can be renamed into it.

        Raises:
            StoreError: if that fails; before any work starts.
        """
        probe = self.root / ".writable"
        write_bytes(probe, b"")
        probe.unlink(missing_ok=True)

    def put(self, record: Record) -> None:
        """Write a record; it replaces any record with the same id."""
        arrays: dict[str, Any] = {}
        if record.arrays:  # else there is no file beside it: sweeps of figures alone are many
            content = save({name: _native(value) for name, value in record.arrays.items()})
            arrays = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        head = {
            "format": FORMAT,
            "id": record.id,
            "workload": record.workload,
            "version": record.version,
            "status": record.status,
            "reasons": list(record.reasons),
            "advice": list(record.advice),
            "notes": list(record.notes),
            "figures": dict(record.figures),
            "seconds": dict(record.seconds),
            "config": dict(record.config),
            "provenance": dict(record.provenance),
            "arrays": arrays,
        }
        text = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False)
        if arrays:
            write_bytes(self.paths.arrays(record.id, arrays["sha256"]), content)
        write_bytes(self.paths.record(record.id), text.encode())

    def get(self, trial_id: str) -> Record | None:
        """The record of a trial without its arrays, or None if there is no record or it is torn."""
        path = self.paths.record(trial_id)
        content = read_bytes(
            path,
            "a record cannot be read",
            do="mend the permissions, or give another directory with store=DIR",
        )
        if content is None:
            return None
        try:
            head = json.loads(content)
            record = _record(head)
            if head["format"] != FORMAT or record.id != trial_id:
                return _miss(path, f"it says it is format {head['format']}, id {record.id}")
            if head["arrays"] != {}:
                arrays = self.paths.arrays(trial_id, head["arrays"]["sha256"])
                if arrays.stat().st_size != head["arrays"]["bytes"]:
                    return _miss(path, f"{arrays.name} is torn")
        except FileNotFoundError:
            return _miss(path, "its arrays are missing")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _miss(path, "it is not a whole record")
        return record

    def arrays(self, trial_id: str) -> dict[str, np.ndarray]:
        """The arrays of a record that `get` has found.

        Raises:
            StoreError: if the arrays are missing or do not match the record.
        """
        try:
            arrays = json.loads(self.paths.record(trial_id).read_bytes())["arrays"]
            if arrays == {}:
                return {}
            sha256 = arrays["sha256"]
            content = self.paths.arrays(trial_id, sha256).read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError("the content does not match the record")
            return load(content)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise StoreError(
                "a record's arrays cannot be read",
                got=f"{self.paths.record(trial_id)}: {error}",
                do=f"remove the record with: sweepflow rm {trial_id}, and start the sweep again",
            ) from error

    def known(self, trial_ids: Iterable[str]) -> dict[str, Record]:
        """The existing records of these trials, by id."""
        found = ((trial_id, self.get(trial_id)) for trial_id in trial_ids)
        return {trial_id: record for trial_id, record in found if record is not None}

    def current(self, trial_ids: Iterable[str]) -> dict[str, Record]:
        """The existing records of these trials that no rerun will replace, by id."""
        found = self.known(trial_ids)
        replaced = of_before(self.paths, found)
        return {i: record for i, record in found.items() if i not in replaced}

    def finished(self, trial_ids: Iterable[str]) -> dict[str, Record]:
        """The records of these trials that are results, by id. A `failed` trial is run again, and so is a
        trial that a rerun asks for."""
        return {i: record for i, record in self.current(trial_ids).items() if record.status != "failed"}

    def written(self, trial_ids: Iterable[str]) -> dict[str, int]:
        """Times at which the records of these trials were written, in ns since 1970, by id; without reading
        the records.

        Listing their folders makes a network file system look for files that other machines have written.
        Folders that cannot be listed are skipped; reading a record there gives the error.
        """
        folders: dict[Path, dict[str, str]] = defaultdict(dict)
        for trial_id in trial_ids:
            path = self.paths.record(trial_id)
            folders[path.parent][path.name] = trial_id
        found: dict[str, int] = {}
        for folder, names in folders.items():
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name in names:
                        found[names[entry.name]] = entry.stat().st_mtime_ns
        return found

    def records(self, prefix: str) -> Iterator[Record]:
        """All records with this id prefix, ordered by id."""
        for trial_id in self._ids(prefix):
            if (record := self.get(trial_id)) is not None:
                yield record

    def _ids(self, prefix: str) -> list[str]:
        """Ids of the files that are in the right place for a record of that id."""
        paths = self.paths.folder(prefix).glob("??/*.json")
        return sorted(p.stem for p in paths if TRIAL_ID.fullmatch(p.stem) and p == self.paths.record(p.stem))

    def find(self, name: str) -> Record:
        """The only record whose id starts with `name`.

        Raises:
            ConfigError: if there is no such record or more than one, or if the record is damaged.
        """
        prefix = name.split("_", 1)[0]
        matches = [i for i in self._ids(prefix) if i.startswith(name)] if prefix in FOLDERS else []
        if len(matches) == 1 and (record := self.get(matches[0])) is not None:
            return record
        if len(matches) == 1:
            raise ConfigError(
                "this record is damaged",
                got=str(self.paths.record(matches[0])),
                do="start its sweep again, which computes it anew",
            )
        if matches:
            raise ConfigError(
                "more than one record starts like this",
                got=name,
                allowed=", ".join(matches[:5]),
                do="give more of its id",
            )
        lists = f"sweepflow {FOLDERS[prefix]}" if prefix in FOLDERS else ", ".join(LISTS)
        raise ConfigError(
            "no such record",
            got=f"{name}, in the store {self.root}",
            allowed=f"an id, or the beginning of one, such as {prefix if prefix in FOLDERS else 'tgt'}_1a2b",
            do=f"list the ids with: {lists}; for another store add --store DIR",
        )

    def make_folder(self, trial_id: str) -> None:
        """Make the folder of a trial that is a process; files of an earlier try stay.

        Raises:
            StoreError: if that fails.
        """
        folder = self.paths.trial_folder(trial_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "a trial's folder cannot be made",
                got=f"{folder}: {error.strerror}",
                do="free space, mend the permissions, or give another directory with store=DIR",
            ) from error

    def drop_empty_folder(self, trial_id: str) -> None:
        """Remove the folder of a trial that has written nothing there."""
        with suppress(OSError):  # it is not empty
            self.paths.trial_folder(trial_id).rmdir()

    def remove(self, trial_id: str) -> None:
        """Remove a record, its arrays, its log, and its own folder."""
        try:
            record = self.paths.record(trial_id)
            record.unlink(missing_ok=True)  # first: without it the arrays are nobody's
            for arrays in record.parent.glob(f"{trial_id}.*.safetensors"):
                arrays.unlink(missing_ok=True)
            self.paths.log(trial_id).unlink(missing_ok=True)
            if (folder := self.paths.trial_folder(trial_id)).is_dir():
                shutil.rmtree(folder)
        except OSError as error:
            raise StoreError(
                "a record cannot be removed", got=f"{trial_id}: {error}", do="mend the permissions"
            ) from error


def _record(head: Mapping[str, Any]) -> Record:
    if head["status"] not in get_args(Status):
        raise ValueError(f"status {head['status']!r} is not known")
    return Record(
        id=head["id"],
        workload=head["workload"],
        version=int(head["version"]),
        status=head["status"],
        reasons=tuple(head["reasons"]),
        advice=tuple(head.get("advice", ())),
        notes=tuple(head.get("notes", ())),
        config=dict(head["config"]),
        figures=dict(head["figures"]),
        seconds=dict(head["seconds"]),
        provenance=dict(head["provenance"]),
    )


def _miss(path: Path, why: str) -> Record | None:
    warnings.warn(f"{path} is passed over: {why}", TornRecordWarning, stacklevel=3)
    return None


def _native(value: np.ndarray) -> np.ndarray:
    """The array, contiguous and in this machine's byte order: safetensors writes the bytes unchanged."""
    array = np.require(value, requirements="C")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
