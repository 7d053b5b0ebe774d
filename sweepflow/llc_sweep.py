"""A sweep's results as a whole: its records, and the files made of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepflow.report.headline import headline
from sweepflow.report.page import write_report
from sweepflow.report.table import estimate_rows, write_tables
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store


@dataclass(frozen=True)
class LlcSweep:
    """Everything that one sweep found.

    Attributes:
        name: The sweep's name.
        command: The command that was typed to get it.
        directory: Directory of its manifest, tables and report.
        targets: Target records by id.
        estimates: Estimate records in the order asked for.
        missing: Ids of trials without a record: their batches failed.
    """

    name: str
    command: str
    directory: Path
    targets: Mapping[str, Record]
    estimates: Sequence[Record]
    missing: Sequence[str] = ()

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.directory / "report.html"

    @property
    def headline(self) -> str:
        """The result of the sweep, in a sentence."""
        return headline(self.estimates, self.targets)

    @property
    def counts(self) -> dict[str, int]:
        """Estimates by status."""
        return dict(Counter(record.status for record in self.estimates))

    @property
    def sound(self) -> bool:
        """The soundness of the sweep: true if every trial has a result in finite numbers."""
        records = [*self.targets.values(), *self.estimates]
        return not self.missing and all(r.status in ("ok", "flagged") for r in records)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each estimate, with all settings and figures."""
        return estimate_rows(self.estimates, self.targets)

    def write(self, store: Store) -> None:
        """Write manifest.json, results.csv, results.parquet and report.html."""
        manifest = {
            "name": self.name,
            "command": self.command,
            "targets": list(self.targets),
            "estimates": [record.id for record in self.estimates],
            "missing": list(self.missing),
        }
        write_bytes(self.directory / "manifest.json", json.dumps(manifest, indent=1).encode())
        write_tables(self.estimates, self.targets, self.directory)
        write_report(
            self.report,
            name=self.name,
            command=self.command,
            estimates=self.estimates,
            targets=self.targets,
            arrays=lambda record: store.arrays(record.id),
        )
