from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from rich.console import Console

from sweepflow.errors import ConfigError
from sweepflow.report.trials.charts.progress import progress_chart
from sweepflow.report.trials.compare import Comparison, compare, write_comparison
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def cells(comparison: Comparison) -> dict[str, tuple[Any, Any]]:
    return {row["what"]: tuple(row[name] for name in comparison.names) for row in comparison.rows}


def test_regret_is_against_the_better_of_the_two(trial: Trial, view_of: ViewOf) -> None:
    a = view_of([trial(v, at=i, learning_rate=0.1 + i) for i, v in enumerate((0.9, 0.5, 0.7, 0.4))])
    b = view_of([trial(v, at=i, learning_rate=0.01 + i) for i, v in enumerate((0.6, None, 0.3, 0.8))])
    found = cells(compare(("a", a), ("b", b)))
    assert found["best validation_loss"] == (0.4, 0.3)
    assert found["regret after 25% of trials"] == pytest.approx((0.6, 0.3))
    assert found["regret after 50% of trials"] == pytest.approx((0.2, 0.3))
    assert found["regret after 100% of trials"] == pytest.approx((0.1, 0.0))
    assert found["trials"] == (4, 4) and found["seconds compiling"] == (2.0, 2.0)
    assert found["seconds running"] == (8.0, 8.0)
    assert found["best: learning_rate"] == ("3.1", "2.01")
    assert not any(what.startswith("best: ") and what != "best: learning_rate" for what in found)


def test_regret_is_never_negative_where_more_is_better(trial: Trial, view_of: ViewOf) -> None:
    options = {"metric": "validation_accuracy", "goal": "maximize"}
    a = view_of([trial(v, at=i, x=i) for i, v in enumerate((0.8, 0.4))], **options)
    b = view_of([trial(v, at=i, x=i) for i, v in enumerate((2.0, 0.2))], **options)
    comparison = compare(("a", a), ("b", b))
    found = cells(comparison)
    assert found["regret after 50% of trials"] == pytest.approx((0.15, 0.45))
    assert found["regret after 100% of trials"] == pytest.approx((0.05, 0.0))
    assert comparison.title == "b found the better validation_accuracy: 0.95 against 0.9"
    guess = compare(("a", a), ("b", dataclasses.replace(b, guessed=True))).title
    assert guess == f"{comparison.title}; more is better, going by the name validation_accuracy"


def test_repeats_are_compared_by_their_mean_and_by_the_single_best(trial: Trial, view_of: ViewOf) -> None:
    a = view_of([trial(v, seed=i) for i, v in enumerate((0.1, 0.9))])
    b = view_of([trial(v, seed=i, learning_rate=0.3) for i, v in enumerate((0.4, 0.4))])
    comparison = compare(("a", a), ("b", b))
    found = cells(comparison)
    assert found["best validation_loss, mean over repeats"] == (0.5, 0.4)
    assert found["best validation_loss, single trial"] == (0.1, 0.4)
    assert comparison.title.startswith("b found the better") and found["configurations"] == (1, 1)


@pytest.mark.parametrize("options", [{"metric": "train_loss"}, {"goal": "maximize"}])
def test_sweeps_judged_by_different_figures_are_refused(
    trial: Trial, view_of: ViewOf, options: dict[str, Any]
) -> None:
    with pytest.raises(
        ConfigError, match=r"not judged by the same figure(.|\n)*a: minimize validation_loss; b: "
    ):
        compare(("a", view_of([trial(0.3)])), ("b", view_of([trial(0.3)], **options)))


def test_a_sweep_without_a_value_has_no_regret(trial: Trial, view_of: ViewOf) -> None:
    lost = view_of([trial(status="failed")])
    comparison = compare(("good", view_of([trial(0.3)])), ("lost", lost))
    assert comparison.title == "Only good has a validation_loss"
    assert cells(comparison)["regret after 100% of trials"] == (0.0, None)
    assert cells(comparison)["failed"] == (0, 1)
    assert compare(("a", lost), ("b", view_of([]))).title == "Neither sweep has a validation_loss"


def test_a_halved_sweep_is_not_better_by_its_rungs(trial: Trial, view_of: ViewOf) -> None:
    halved = [trial(v, learning_rate=0.1 + i) for i, v in enumerate((0.1, 0.5))]
    halved = [replace(r, figures={**r.figures, "rung": i + 1}) for i, r in enumerate(halved)]
    comparison = compare(("halved", view_of(halved)), ("whole", view_of([trial(0.3)])))
    assert comparison.title == "whole found the better validation_loss: 0.3 against 0.5"
    assert cells(comparison)["best validation_loss"] == (0.5, 0.3)
    assert cells(comparison)["regret after 100% of trials"] == pytest.approx((0.2, 0.0))


def test_a_sweep_and_itself(trial: Trial, view_of: ViewOf) -> None:
    view = view_of([trial(0.3, learning_rate=0.1 * i) for i in (1, 2)])
    comparison = compare(("same", view), ("same", view))
    assert comparison.names == ("same", "same (2)")
    assert comparison.title == "Both found the same best validation_loss, 0.3"


def test_it_is_shown_in_a_terminal_and_on_a_page(sweep_of: Callable[..., TrialsView], tmp_path: Path) -> None:
    comparison = compare(("<b>first</b>", sweep_of(32)), ("second", sweep_of(16, repeats=2)))
    console = Console(width=110, color_system=None)
    with console.capture() as capture:
        console.print(comparison.table())
    assert "regret after 25% of trials" in capture.get() and "<b>first</b>" in capture.get()
    path = tmp_path / "a place" / "compare.html"
    write_comparison(path, comparison, "sweepflow compare first second")
    page = path.read_text(encoding="utf-8")
    assert "<b>first" not in page and "&lt;b&gt;first" in page and "sweepflow compare first second" in page
    chart = progress_chart(list(zip(comparison.names, comparison.views, strict=True)))
    assert chart is not None and len(chart.panels) == 2 and len(chart.legend) == 2
    for panel in chart.panels:
        go.Figure(panel.figure)
        assert len(panel.figure["data"]) == 2
    by_trials, by_seconds = (panel.figure["data"][0] for panel in chart.panels)
    assert by_trials["x"][-1] == 32 and by_seconds["x"][-1] == pytest.approx(32 * 2.5)
    assert by_trials["y"][-1] == by_seconds["y"][-1]
    assert "point at a status" not in page


def test_regret_goes_by_the_order_asked_for(trial: Trial, view_of: ViewOf) -> None:
    """The order of writing is one group after another, whatever the design."""
    values = (0.9, 0.2, 0.4, 0.3)
    view = view_of([trial(v, at=10 - i, x=i) for i, v in enumerate(values)])
    found = cells(compare(("a", view), ("b", view)))
    assert found["regret after 25% of trials"] == pytest.approx((0.7, 0.7))
    assert found["regret after 50% of trials"] == (0.0, 0.0)
