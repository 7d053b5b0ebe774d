"""The table of a hyperparameter sweep for a terminal: its best configurations."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from sweepflow.report.headline import SYMBOL
from sweepflow.report.noted import NotedTable
from sweepflow.report.numbers import NOTHING, counted
from sweepflow.report.terminal import STYLE
from sweepflow.report.trials.causes import causes
from sweepflow.report.trials.configurations import has_repeats, ranked
from sweepflow.report.trials.headline import caveats, headline
from sweepflow.report.trials.tables import SETTING
from sweepflow.report.trials.view import TrialsView

MAX_ROWS = 10
MAX_KEYS = 6
"""Most keys with their own column; more do not fit a terminal."""
MAX_CAUSES = 5


def trials_table(view: TrialsView, *, rows: int = MAX_ROWS) -> Table:
    """The best configurations, the best first, with the findings and the causes of lost trials under them.

    Columns: the trial (the best repeat), the metric (mean ± standard deviation and n if there are repeats),
    the keys that vary, and the status.
    """
    ours = ranked(view)
    repeats = has_repeats(ours)
    keys = view.varying[:MAX_KEYS]
    table = NotedTable()
    table.add_column("trial", no_wrap=True)
    table.add_column(f"{view.metric}{' ± sd' if repeats else ''}", justify="right", overflow="fold")
    if repeats:
        table.add_column("n", justify="right", no_wrap=True)
    ours_alone = {str(column.header) for column in table.columns} | {"status"}
    for key in keys:
        # As in configurations.csv: a setting may be called what a column of ours is.
        name = f"{SETTING}{view.names[key]}" if view.names[key] in ours_alone else view.names[key]
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("status", no_wrap=True)
    for one in ours[:rows]:
        shown = [view.text(one.place, key) for key in keys]
        n = [f"{len(one.values)}/{one.n}" if one.n_failed else str(one.n)] if repeats else []
        table.add_row(
            Text(view.records[one.place].id),
            Text(one.value_text if one.mean is not None else NOTHING),
            *map(Text, n),
            *map(Text, shown),
            Text(f"{SYMBOL[one.status]} {one.status}", style=STYLE[one.status]),
        )
    why = causes(view)
    notes = table.notes
    notes += [headline(view), *(cause.text for cause in why[:MAX_CAUSES])]
    if len(why) > MAX_CAUSES:
        notes.append(f"{counted(len(why) - MAX_CAUSES, 'more cause')} in runs.csv")
    notes += caveats(view)
    if len(view.varying) > MAX_KEYS:
        notes.append(f"{counted(len(view.varying) - MAX_KEYS, 'more key')} vary: see runs.csv")
    if len(ours) > rows:
        more = counted(len(ours) - rows, "more configuration")
        notes.append(f"{more} in configurations.csv" if repeats else f"{len(ours) - rows:,} more in runs.csv")
    return table
