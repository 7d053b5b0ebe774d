"""What a chart of trials leaves out, in words."""

from __future__ import annotations

from sweepflow.report.trials.view import TrialsView


def omissions(
    view: TrialsView, keys: int, most_keys: int, important: bool, drawn: int, lost: int
) -> list[str]:
    """Sentences for keys and trials that are not drawn; none where all of them are.

    Args:
        view: The sweep.
        keys: Keys that vary.
        most_keys: Keys that the chart has room for.
        important: Whether the keys are in order of importance.
        drawn: Trials with a value that are drawn.
        lost: Trials without a value that are drawn.
    """
    notes = []
    if keys > most_keys:
        notes.append(f"The {'most important' if important else 'first'} {most_keys} of {keys} keys.")
    if drawn < len(view.by_merit):
        notes.append(
            f"{drawn:,} of {len(view.by_merit):,} trials with a value: the best, and the rest evenly by rank."
        )
    if lost < len(view.lost):
        notes.append(f"{lost:,} of {len(view.lost):,} trials without a value.")
    return notes
