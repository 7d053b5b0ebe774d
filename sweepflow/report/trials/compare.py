"""Comparison of two hyperparameter sweeps: the findings and the cost of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table as RichTable
from rich.text import Text

from sweepflow.errors import ConfigError
from sweepflow.fingerprint import frozen
from sweepflow.report.document import Cell, Column, Document, Table, html, provenance_facts
from sweepflow.report.labels import ABSENT
from sweepflow.report.noted import NotedTable
from sweepflow.report.numbers import NOT_SET, NOTHING, reads_alike, setting, short
from sweepflow.report.table import Row
from sweepflow.report.trials.charts.progress import progress_chart
from sweepflow.report.trials.configurations import best, configurations, has_repeats
from sweepflow.report.trials.spent import spent
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.atomic import write_bytes

SHARES = (0.1, 0.25, 0.5, 1.0)

Named = tuple[str, TrialsView]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sweeps judged by the same metric.

    Attributes:
        names: Names of the two sweeps, made different if they are the same.
        views: The two sweeps.
        rows: One row for each measure: `what` in words, and each sweep's value under the sweep's name.
        title: The sweep that found the better value, in one line.
    """

    names: tuple[str, str]
    views: tuple[TrialsView, TrialsView]
    rows: list[Row]
    title: str

    def table(self) -> RichTable:
        """The comparison as a table for a terminal."""
        table = NotedTable()
        table.add_column("", overflow="fold")
        for name in self.names:
            table.add_column(name, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(Text(row["what"]), *(Text(_text(row[name])) for name in self.names))
        table.notes.append(self.title)
        return table


def compare(a: Named, b: Named) -> Comparison:
    """Compare two sweeps.

    Regret says how much worse a sweep's best single trial so far is than the best single trial of the two
    sweeps, in units of the metric. It is taken after a share of the sweep's trials, in the requested order.

    Args:
        a: Name and trials of a sweep.
        b: Name and trials of the other sweep.

    Raises:
        ConfigError: if the two sweeps do not have the same metric and the same goal.
    """
    if (a[1].metric, a[1].goal) != (b[1].metric, b[1].goal):
        raise ConfigError(
            "These two sweeps are not judged by the same figure, so neither is better than the other.",
            got=f"{a[0]}: {a[1].goal} {a[1].metric}; {b[0]}: {b[1].goal} {b[1].metric}",
            allowed="two sweeps with the same metric and goal",
            do="compare sweeps of the same metric, or judge both by a figure that both have",
        )
    names = (a[0], b[0] if b[0] != a[0] else f"{b[0]} (2)")
    views = (a[1], b[1])
    rows = [
        {"what": what, **dict(zip(names, map(of, views), strict=True))}
        for what, of in _measures(views).items()
    ]
    guessed = [view.better for view in views if view.guessed]
    title = "; ".join([_title(names, views), *guessed[:1]])
    return Comparison(names, views, rows + _differing(names, views), title)


def write_comparison(path: Path, comparison: Comparison, command: str) -> None:
    """Write a page with the table, and the best value so far against trials and seconds, to a temporary file
    that is renamed.

    Raises:
        StoreError: if the directory cannot be written.
    """
    names, views = comparison.names, comparison.views
    chart = progress_chart(list(zip(names, views, strict=True)))
    document = Document(
        name=" and ".join(names),
        title=comparison.title,
        command=command,
        table=Table(
            heading="Comparison",
            columns=[Column("what", words=True), *(Column(name) for name in names)],
            rows=[
                [Cell(row["what"], row["what"]), *(Cell(_text(row[name]), row[name]) for name in names)]
                for row in comparison.rows
            ],
            hint="Regret is how much worse a sweep's best single trial so far was than the best of both",
            cut=0,
            file="runs.csv",
            empty="",
        ),
        charts=[chart] if chart else [],
        warned=[],
        max_warnings=0,
        warned_file="runs.csv",
        no_warnings="each sweep's own report has its warnings",
        provenance=provenance_facts(
            {"trial": sum(len(view.records) for view in views)}, [*views[0].records, *views[1].records]
        ),
    )
    write_bytes(path, html(document, "compare.html.j2").encode())


def _measures(views: tuple[TrialsView, TrialsView]) -> dict[str, Callable[[TrialsView], float | str | None]]:
    metric, sign = views[0].metric, views[0].sign
    singles = {id(view): spent(view) for view in views}
    reached = [view.sign * singles[id(view)].after(1.0) for view in views if len(view.by_merit)]
    reference = min(reached, default=math.nan)
    repeats = any(has_repeats(configurations(view)) for view in views)

    def mean_of_best(view: TrialsView) -> float | None:
        found = best(view)
        return None if found is None else found.mean

    def single(view: TrialsView) -> float | None:
        return _finite(singles[id(view)].after(1.0))

    def best_id(view: TrialsView) -> str | None:
        found = best(view)
        return None if found is None else view.records[found.place].id

    def regret(share: float) -> Callable[[TrialsView], float | None]:
        return lambda view: _finite(sign * singles[id(view)].after(share) - reference)

    def seconds(part: str) -> Callable[[TrialsView], float]:
        return lambda view: float(sum(record.seconds.get(part, 0.0) for record in view.records))

    measures: dict[str, Callable[[TrialsView], float | str | None]] = {f"best {metric}": mean_of_best}
    if repeats:
        measures = {f"best {metric}, mean over repeats": mean_of_best, f"best {metric}, single trial": single}
    measures["best trial"] = best_id
    for share in SHARES:
        measures[f"regret after {share:.0%} of trials"] = regret(share)
    return measures | {
        "trials": lambda view: len(view.records),
        "configurations": lambda view: len(configurations(view)),
        "diverged": lambda view: view.counts.get("diverged", 0),
        "failed": lambda view: view.counts.get("failed", 0),
        "seconds compiling": seconds("compile"),
        "seconds running": seconds("run"),
    }


def _differing(names: tuple[str, str], views: tuple[TrialsView, TrialsView]) -> list[Row]:
    """Rows of the keys in which the two best configurations differ; none if a sweep has no best
    configuration."""
    found = [best(view) for view in views]
    settings = [view.settings[one.place] for view, one in zip(views, found, strict=True) if one is not None]
    if len(settings) < 2:
        return []
    keys = dict.fromkeys(key for ours in settings for key in ours)
    seeds = {view.seed_key for view in views}
    return [
        {
            "what": f"best: {key}",
            **{
                name: setting(ours[key], reads_alike(key, settings)) if key in ours else NOT_SET
                for name, ours in zip(names, settings, strict=True)
            },
        }
        for key in keys
        if key not in seeds and len({frozen(ours.get(key, ABSENT)) for ours in settings}) > 1
    ]


def _title(names: tuple[str, str], views: tuple[TrialsView, TrialsView]) -> str:
    metric = views[0].metric
    found = [best(view) for view in views]
    without = [name for name, one in zip(names, found, strict=True) if one is None]
    if len(without) == 2:
        return f"Neither sweep has a {metric}"
    if without:
        return f"Only {next(n for n in names if n not in without)} has a {metric}"
    texts = [one.value_text for one in found if one is not None]
    # Without the rung, which ranks the trials of one sweep: a halved one would beat any that was not.
    merits = [
        (one.n_failed > 0, views[0].sign * one.mean)
        for one in found
        if one is not None and one.mean is not None
    ]
    if merits[0] == merits[1]:
        return f"Both found the same best {metric}, {texts[0]}"
    better = 0 if merits[0] < merits[1] else 1
    return f"{names[better]} found the better {metric}: {texts[better]} against {texts[1 - better]}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float | str | None) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    return short(value, 4) if isinstance(value, float) else value
