from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from sweepflow.report.trials.headline import headline
from sweepflow.report.trials.terminal import trials_table
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def shown(table: Table, width: int = 140) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_best_ten_come_first_with_what_was_found(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(0.5 - 0.01 * i, learning_rate=1e-3 * (i + 1)) for i in range(12)]
    records += [trial(None, status="diverged", learning_rate=9.0), trial(status="failed", learning_rate=8.0)]
    lines = shown(trials_table(view_of(records)))
    assert lines[0].split() == ["trial", "validation_loss", "learning_rate", "status"]
    assert [line.split()[0] for line in lines[1:11]] == [r.id for r in records[11:1:-1]]
    assert lines[1].split() == [records[11].id, "0.39", "0.012", "✓", "ok"]
    # Lines of their own, however narrow the table is.
    assert lines[11:] == [
        f"best validation_loss 0.39 ({records[11].id}) of 14 trials; 1 diverged, 1 failed",
        f"1 diverged: left the finite numbers at epoch 6 (sweepflow show {records[12].id})",
        f"1 failed: no reason was recorded (sweepflow show {records[13].id})",
        "4 more in runs.csv",
    ]


def test_repeats_have_a_mean_an_error_and_a_count(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, learning_rate=0.1, seed=s) for s, v in enumerate((0.2, 0.3))]
    records += [
        trial(0.1, learning_rate=0.2, seed=0),
        trial(None, status="diverged", learning_rate=0.2, seed=1),
    ]
    lines = shown(trials_table(view_of(records)))
    assert lines[0].split() == ["trial", "validation_loss", "±", "sd", "n", "learning_rate", "status"]
    assert lines[1].split() == [records[0].id, "0.250", "±", "0.071", "2", "0.1", "✓", "ok"]
    assert lines[2].split() == [records[2].id, "0.1", "1/2", "0.2", "✗", "diverged"]
    best = f"best validation_loss 0.250 ± 0.071 over 2 repeats ({records[0].id})"
    assert lines[3:] == [
        f"{best} of 2 configurations (4 trials); 1 diverged",
        f"1 diverged: left the finite numbers at epoch 6 (sweepflow show {records[3].id})",
        "A configuration that lost a repeat ranks below every whole one.",
    ]


def test_a_key_that_a_trial_does_not_have_is_not_set(trial: Trial, view_of: ViewOf) -> None:
    lines = shown(
        trials_table(view_of([trial(0.2, momentum=0.9), trial(0.3, momentum=None), trial(0.4, x=1)]))
    )
    assert [line.split()[2:-2] for line in lines[1:4]] == [
        ["0.9", "not", "set"],
        ["none", "not", "set"],
        ["not", "set", "1"],
    ]


def test_markup_of_a_setting_is_text(trial: Trial, view_of: ViewOf) -> None:
    lines = shown(trials_table(view_of([trial(0.2, name="[red]x[/red]"), trial(0.3, name="b")])))
    assert "[red]x[/red]" in lines[1]


def test_the_headline_of_what_went_wrong(trial: Trial, view_of: ViewOf) -> None:
    assert headline(view_of([])) == "no trials"
    lost = view_of([trial(None, status="diverged"), trial(status="failed", learning_rate=1.0)])
    assert headline(lost) == "no validation_loss from 2 trials: 1 diverged, 1 failed"
    assert headline(lost) in shown(trials_table(lost))


def test_notes_are_as_wide_as_the_terminal_and_have_no_trailing_blanks(trial: Trial, view_of: ViewOf) -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(trials_table(view_of([trial(0.3), trial(0.4, x="[red]", reasons=["[b]"])])))
    notes = capture.get().splitlines()[3:]
    assert notes and notes == [note.rstrip() for note in notes]
    assert len(notes[0]) > max(len(line) for line in capture.get().splitlines()[:3])


def test_only_the_commonest_causes_have_a_line(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(0.3)]
    for i, why in enumerate("abcdefg"):
        records += [trial(status="failed", reasons=[why], learning_rate=1.0 + i, n=k) for k in range(i + 1)]
    lines = shown(trials_table(view_of(records)))
    said = [line for line in lines if "sweepflow show" in line]
    assert [line.partition(" (")[0] for line in said] == [f"{7 - i} failed: {'gfedc'[i]}" for i in range(5)]
    assert "2 more causes in runs.csv" in lines


def test_trials_that_were_stopped_early_are_said(trial: Trial, view_of: ViewOf) -> None:
    early = trial(0.4, learning_rate=0.5)
    early = replace(early, figures={**early.figures, "epochs_run": 4, "rung": 0})
    assert "1 trial ran fewer than 12 epochs" in "\n".join(shown(trials_table(view_of([trial(0.3), early]))))


def test_a_setting_that_is_called_as_a_column_has_another_name(trial: Trial, view_of: ViewOf) -> None:
    settings = [{"n": n, "trial": text, "seed": s} for n, text in ((1, "none"), (2, None)) for s in (0, 1)]
    lines = shown(trials_table(view_of([trial(0.1 * i, **one) for i, one in enumerate(settings)])))
    assert lines[0].split()[3:] == ["sd", "n", "setting_n", "setting_trial", "status"]
    assert [line.split()[5:7] for line in lines[1:3]] == [["1", '"none"'], ["2", "none"]]
