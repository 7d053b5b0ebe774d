from __future__ import annotations

from collections.abc import Callable

from sweepflow.report.trials.causes import MAX_CAUSE, causes
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def test_what_differs_in_numbers_alone_is_one_cause(trial: Trial, view_of: ViewOf) -> None:
    reasons = [
        "left at step 7, loss 1.5e+12",
        "exit code 2",
        "left at step 1,031, loss 3e8",
        "left the house",
    ]
    statuses = ["diverged", "failed", "diverged", "diverged"]
    records = [
        trial(None, status=s, reasons=[r], learning_rate=1.0 + i)
        for i, (s, r) in enumerate(zip(statuses, reasons, strict=True))
    ]
    found = causes(view_of([trial(0.1), *records]))
    assert [(c.status, c.ids) for c in found] == [
        ("diverged", (records[0].id, records[2].id)),
        ("failed", (records[1].id,)),
        ("diverged", (records[3].id,)),
    ]
    assert found[0].text == (
        f"2 diverged: left at step 7, loss 1.5e+12 (one of them: sweepflow show {records[0].id})"
    )
    assert found[1].text == f"1 failed: exit code 2 (sweepflow show {records[1].id})"


def test_a_log_is_one_line_with_its_beginning_and_its_end(trial: Trial, view_of: ViewOf) -> None:
    log = "exit code 1; its log ends:\n" + "x" * 400 + "\n    raise Boom(y)\n    ^^^^^^^^\n | Boom: no memory"
    (found,) = causes(view_of([trial(status="failed", reasons=[log])]))
    assert "\n" not in found.text and "^" not in found.text
    assert found.text.startswith("1 failed: exit code 1; its log ends: xxx")
    assert "raise Boom(y) Boom: no memory (sweepflow show" in found.text
    assert len(found.text) < MAX_CAUSE + 60


def test_the_status_is_said_once(trial: Trial, view_of: ViewOf) -> None:
    (found,) = causes(view_of([trial(None, status="diverged", reasons=["diverged: loss is nan"])]))
    assert found.text.startswith("1 diverged: loss is nan (")


def test_sound_and_flagged_trials_have_no_cause(trial: Trial, view_of: ViewOf) -> None:
    assert causes(view_of([trial(0.1), trial(0.2, status="flagged", reasons=["odd"], x=1)])) == []
