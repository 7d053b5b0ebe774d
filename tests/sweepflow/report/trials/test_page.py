from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweepflow.report.trials.page import MAX_ROWS, MAX_WARNINGS, render_trials, write_trials_report
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]
Arrays = Callable[[Record], Mapping[str, np.ndarray]]


def figures(html: str) -> list[dict[str, object]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found
    return list(json.loads(found[1]))


def test_the_page_says_what_was_found(cases: dict[str, TrialsView], arrays: Arrays) -> None:
    view = cases["typical"]
    html = render_trials("my-sweep", "sweepflow sweep workload=digits_mlp", view, arrays)
    best = view.records[view.by_merit[0]]
    title = re.search(r"<h1>(.*)</h1>", html)
    assert (
        title
        and title[1].startswith("Best validation_loss 0.1")
        and f"({best.id}) of 64 trials; " in title[1]
    )
    assert "sweepflow sweep workload=digits_mlp" in html and "jax 0.10.2" in html
    assert "point at a status to read its reasons" in html
    for heading in (
        "Trials",
        "Parallel coordinates",
        "Importance",
        "Static groups",
        "Learning curves",
        "Best so far",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert html.count("<tr>") == 1 + 64
    places = re.findall(r'data-figure="(\d+)"', html)
    assert places == [str(i) for i in range(len(figures(html)))]
    # The table begins with the best.
    assert re.findall(r"trl_[0-9a-f]{16}", html.partition("<tbody>")[2])[0] == best.id


def test_repeats_are_a_table_of_configurations(cases: dict[str, TrialsView], arrays: Arrays) -> None:
    html = render_trials("r", "x", cases["repeats"], arrays)
    assert "<h2>Configurations</h2>" in html and html.count("<tr>") == 1 + 24
    assert "± sd" in html and "72 trials: " in html


def test_nothing_is_called_important_where_there_are_too_few(
    cases: dict[str, TrialsView], arrays: Arrays
) -> None:
    few = render_trials("few", "x", cases["grid"], arrays)
    assert "too few to say what matters" in few and "rank correlation with validation_loss" in few
    assert "most important" not in few and "order of their importance" not in few
    many = render_trials("many", "x", cases["typical"], arrays)
    assert "The two keys are the most important" in many and "order of their importance" in many


@pytest.mark.parametrize(
    "name", ["one trial", "one key", "none finished", "one finished", "enormous", "flagged"]
)
def test_small_and_sad_sweeps_have_a_page(name: str, cases: dict[str, TrialsView], arrays: Arrays) -> None:
    html = render_trials(name, "x", cases[name], arrays)
    assert html.count("<tr>") == 1 + len(cases[name].records)
    if name == "none finished":
        assert "<h1>No validation_loss from 8 trials: 4 diverged, 4 failed</h1>" in html
    if name == "flagged":
        assert "The best configuration has a flagged trial: stopped." in html


def test_no_trials_is_a_small_page(cases: dict[str, TrialsView], arrays: Arrays) -> None:
    html = render_trials("none", "x", cases["none"], arrays)
    assert len(html) < 20_000 and "This sweep holds no trials" in html and "<h1>No trials</h1>" in html


def test_what_people_write_is_not_markup(trial: Trial, view_of: ViewOf, arrays: Arrays) -> None:
    evil = "<b>x</b></script><script>alert(1)</script>"
    records = [
        trial(0.1 * i, optimizer=evil if i % 2 else "sgd", **{evil: 0.1 * i}, reasons=[evil], seed=i)
        for i in range(1, 9)
    ]
    records.append(trial(None, status="diverged", optimizer=evil, **{evil: 1.0}, reasons=[evil]))
    view = view_of(records, groups={r.id: r.config["optimizer"] for r in records})
    html = render_trials(evil, evil, view, arrays)
    assert html.count("<script") == 3 and "<b>x" not in html.replace(r"\u003cb>", "")
    # Plotly would read mark-up of its own in any text it draws.
    drawn = re.sub(r"</?(?:br|extra|b)>", "", json.dumps(figures(html)))
    assert "<" not in drawn and "&lt;script&gt;" in drawn


def test_ten_thousand_trials_stay_small_and_read_only_what_is_drawn(
    sweep_of: Callable[..., TrialsView], arrays: Arrays, tmp_path: Path
) -> None:
    view = sweep_of(10_000)
    loaded: list[str] = []

    def counted(record: Record) -> Mapping[str, np.ndarray]:
        loaded.append(record.id)
        return arrays(record)

    path = tmp_path / "a directory" / "report.html"
    write_trials_report(path, "huge", "x", view, counted)
    assert path.stat().st_size < 8e6
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert len(loaded) <= 4
    html = path.read_text(encoding="utf-8")
    assert html.count("<tr>") == 1 + MAX_ROWS
    assert "The first 500 are shown; 9,500 more are in runs.csv." in html
    lost = len(view.lost)
    assert f"{lost - MAX_WARNINGS:,} more are in runs.csv." in html


def test_warnings_of_repeats_name_the_file_of_trials(trial: Trial, view_of: ViewOf, arrays: Arrays) -> None:
    records = [
        replace(trial(None, status="diverged", learning_rate=1.0 + i, seed=s), id=f"trl_{i}_{s}")
        for i in range(MAX_WARNINGS)
        for s in (0, 1)
    ]
    html = render_trials("x", "x", view_of(records), arrays)
    assert "300 more are in runs.csv." in html
