"""Notes on the keys and trials that a chart leaves out, in words."""

from __future__ import annotations

from sweepflow.report.trials.view import TrialsView


def omissions(
    view: TrialsView, keys: int, most_keys: int, important: bool, drawn: int, lost: int
) -> list[str]:
    """Sentences about keys and trials that are not drawn; none if all of them are drawn.

    Args:
        view: The sweep.
        keys: Number of keys that vary.
        most_keys: Number of keys that the chart has room for.
        important: Whether the keys are in order of importance.
        drawn: Number of trials with a value that are drawn.
        lost: Number of trials without a value that are drawn.
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
