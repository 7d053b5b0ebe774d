"""The tables for a terminal: one line for each estimate, one line for each target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from sweepflow.report.headline import SYMBOL, headline, is_settled
from sweepflow.report.labels import Labels, derive_labels, target_key
from sweepflow.report.noted import NotedTable
from sweepflow.report.numbers import NOTHING, counted, llc_text, number, short
from sweepflow.storage.record import Record

MAX_ROWS = 40
MAX_SENTENCES = 6
"""Most lines of advice, and of notes, under a table."""
STYLE = {"ok": "green", "flagged": "yellow", "diverged": "red", "failed": "red"}


def results_table(estimates: Sequence[Record], targets: Mapping[str, Record], *, ids: bool = False) -> Table:
    """Estimates in the requested order, with the findings under them; `MAX_ROWS` at most, or all of them if
    `ids` asks for their ids too.

    Columns: target, sampler, λ̂ ± half the 95 % interval, effective sample size, R̂, λ̂ lost to the
    step size, and the status with its first reason.
    """
    labels = derive_labels(estimates, targets)
    table = _table(ids)
    table.add_column("target", overflow="fold", ratio=4)
    table.add_column("sampler", overflow="fold", ratio=4)
    for header in ("λ̂ ± 95 %", "ESS", "R̂", "bias"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold", ratio=5)
    unsettled = {key for key, target in targets.items() if not is_settled(target)}
    shown = estimates if ids else estimates[:MAX_ROWS]
    for estimate in shown:
        figures, key = estimate.figures, target_key(estimate)
        table.add_row(
            *([estimate.id] if ids else []),
            Text(labels.target[key] + (" †" if key in unsettled else "")),
            Text(labels.sampler[estimate.id]),
            Text(llc_text(figures)),
            Text(_whole(number(figures, "ess_mean"))),
            Text(_r_hat(number(figures, "r_hat"))),
            Text(short(number(figures, "llc_bias"), 2)),
            _status(estimate),
        )
    notes = table.notes
    notes.append(headline(estimates, targets))
    if any(target_key(e) in unsettled for e in shown):
        notes.append("† this target did not reach a minimum")
    if any(len(e.reasons) > 1 for e in shown):
        notes.append("(+1): one more reason; the report and `sweepflow show ID` have them all")
    notes += _lines("do", [(e, e.advice) for e in shown], labels)
    notes += _lines("note", [(e, e.notes) for e in shown], labels)
    if len(estimates) > len(shown):
        notes.append(f"{len(estimates) - len(shown):,} more are in results.csv")
    return table


def targets_table(targets: Mapping[str, Record], *, ids: bool = False) -> Table:
    """Targets: parameters, rows, losses, gradient norm at w0, and whether training reached a minimum."""
    labels = derive_labels((), targets)
    table = _table(ids)
    table.add_column("target", overflow="fold", ratio=4)
    for header in ("params", "n", "L₀", "test loss", "‖∇L‖"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold", ratio=4)
    shown = list(targets.items()) if ids else list(targets.items())[:MAX_ROWS]
    for key, target in shown:
        figures = target.figures
        table.add_row(
            *([key] if ids else []),
            Text(labels.target[key]),
            Text(_whole(number(figures, "num_params"))),
            Text(_whole(number(figures, "n"))),
            *(Text(short(number(figures, name))) for name in ("loss_train", "loss_test", "grad_norm")),
            _status(target, "no minimum" if not is_settled(target) else ""),
        )
    lost = sum(not is_settled(t) for t in targets.values())
    if lost:
        table.notes.append(f"{counted(len(targets), 'target')}, {lost:,} without a minimum")
    if len(targets) > len(shown):
        table.notes.append(f"{len(targets) - len(shown):,} more are not shown")
    if not targets:
        table.notes.append("No targets")
    return table


def _table(ids: bool = False) -> NotedTable:
    table = NotedTable()
    if ids:
        table.add_column("id", no_wrap=True)
    return table


def _status(record: Record, otherwise: str = "") -> Text:
    text = Text(f"{SYMBOL[record.status]} {record.status}", style=STYLE[record.status])
    reason = record.reasons[0] if record.reasons else otherwise
    if reason:
        more = f" (+{len(record.reasons) - 1})" if len(record.reasons) > 1 else ""
        text.append(f": {reason}{more}", style="default")
    return text


def _lines(word: str, said: Iterable[tuple[Record, Sequence[str]]], labels: Labels) -> list[str]:
    """Lines with the sentences about estimates, the most common first, each with its estimates."""
    of: dict[str, list[Record]] = defaultdict(list)
    for estimate, sentences in said:
        for sentence in dict.fromkeys(filter(None, sentences)):
            of[sentence].append(estimate)
    ranked = sorted(of.items(), key=lambda pair: -len(pair[1]))
    lines = []
    for sentence, members in ranked[:MAX_SENTENCES]:
        first = members[0]
        alone = f"{labels.sampler[first.id]} on {labels.target[target_key(first)]}"
        lines.append(
            f"{word}: {sentence}  (for {alone if len(members) == 1 else counted(len(members), 'estimate')})"
        )
    if len(ranked) > MAX_SENTENCES:
        lines.append(f"{len(ranked) - MAX_SENTENCES} more of {word}: in the report")
    return lines


def _whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _r_hat(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}" if value < 100 else short(value)
