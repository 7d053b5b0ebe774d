"""One sentence with the findings of a hyperparameter sweep."""

from __future__ import annotations

from sweepflow.report.numbers import counted, short
from sweepflow.report.trials.configurations import Configuration, best, configurations, has_repeats
from sweepflow.report.trials.view import TrialsView


def headline(view: TrialsView) -> str:
    """The findings: `best validation_loss 0.0812 (trl_…) of 256 trials; 3 diverged, 1 failed`.

    With repeats, the sentence counts configurations too: `of 14 configurations (28 trials)`. It also states a
    guessed goal: `; less is better, going by the name val_loss`.
    """
    if not view.records:
        return "no trials"
    found = best(view)
    if found is None:
        ends = ", ".join(f"{count:,} {status}" for status, count in view.counts.items())
        return f"no {view.metric} from {counted(len(view.records), 'trial')}: {ends}"
    value = f"best {view.metric} {found.value_text}"
    if found.n > 1:
        of = f" of {found.n:,}" if found.n_failed else ""
        value += f" over {len(found.values):,}{of} repeats"
    unsound = ", ".join(f"{count:,} {status}" for status, count in view.counts.items() if status != "ok")
    trials, ours = counted(len(view.records), "trial"), configurations(view)
    of = f"{counted(len(ours), 'configuration')} ({trials})" if has_repeats(ours) else trials
    said = [f"{value} ({view.records[found.place].id}) of {of}", unsound, view.better if view.guessed else ""]
    return "; ".join(part for part in said if part)


def outcome_of(view: TrialsView) -> str:
    """The number of sound trials, and the headline: Prefect's message for a finished sweep."""
    sound, trials = view.counts.get("ok", 0), len(view.records)
    if not sound:
        return headline(view)
    return f"{sound:,} of {counted(trials, 'trial')} {'is' if sound == 1 else 'are'} sound; {headline(view)}"


def caveats(view: TrialsView) -> list[str]:
    """Sentences that a reader needs in order to compare the values."""
    said = []
    found = best(view)
    if found is not None and found.status != "ok":
        reasons = "; ".join(dict.fromkeys(reason for r in found.records for reason in r.reasons))
        said.append(f"The best configuration has a {found.status} trial{f': {reasons}' if reasons else ''}.")
    epochs = [r.figures.get("epochs_run") for r in view.records if r.status in ("ok", "flagged")]
    known = [int(e) for e in epochs if isinstance(e, (int, float))]
    if known and min(known) < max(known):
        stopped = sum(e < max(known) for e in known)
        said.append(
            f"{counted(stopped, 'trial')} ran fewer than {max(known):,} epochs (stopped or set to less);"
            f" their {view.metric} is of when they stopped."
        )
    ours = configurations(view)
    if any(c.n > 1 and c.n_failed for c in ours):
        said.append("A configuration that lost a repeat ranks below every whole one.")
    return said


def mean_text(one: Configuration) -> str:
    """A configuration's value without its error bar."""
    return one.value_text.partition(" ± ")[0] if one.sd is not None else short(one.mean, 4)
