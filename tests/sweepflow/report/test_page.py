from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sweepflow.report.page import MAX_ROWS, render, write_report
from sweepflow.storage.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]


def arrays(record: Record) -> Mapping[str, np.ndarray]:
    return record.arrays


def rendered(sweep: Sweep, name: str = "a-sweep", command: str = "sweepflow llc") -> str:
    return render(name=name, command=command, estimates=sweep[0], targets=sweep[1], arrays=arrays)


class Document(HTMLParser):
    """Tags with their attributes, the text outside scripts and styles, and the scripts' own."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.css = "", [], ""  # type: str, list[str], str
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            self.css += data
        else:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(t == tag for t, _ in self.tags)


def test_nothing_is_loaded_from_anywhere(typical: Sweep) -> None:
    document = Document(rendered(typical))
    for tag, attributes in document.tags:
        assert "src" not in attributes, tag
        assert tag not in ("iframe", "object", "embed", "base")
        for name in ("href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "url(" not in document.css and "@import" not in document.css
    assert any("plotly.js v" in script for script in document.scripts)


def test_the_page_says_what_was_found(typical: Sweep) -> None:
    text = Document(rendered(typical, command="sweepflow llc model=small,base")).text
    assert "over the 9 sound of 12 estimates, on 4 targets; 2 flagged, 1 diverged" in text
    assert "R̂ 1.41 > 1.05; step-size bias 5.1 exceeds its error bar 1.2" in text
    assert "loss still falling: 3.1 % over the last tenth of training" in text
    assert "all 4 chains diverged, the first at step 120" in text
    assert "sweepflow llc model=small,base" in text
    assert "jax 0.10.2" in text and "box-7" in text


def test_what_to_do_stands_behind_its_reason_and_notes_behind_all(target_of: Make, estimate_of: Make) -> None:
    lost = replace(
        target_of(seed=2, status="flagged", reasons=["loss still falling"]), advice=("target.steps=20000",)
    )
    target = target_of()
    flagged = replace(
        estimate_of(target, status="flagged", reasons=["R̂ 1.41 > 1.05", "few draws", "odd"]),
        advice=("sampler.warmup=4000", "", "<b>sampler.ess=800</b>"),
        notes=("the chains stayed in one basin",),
    )
    noted = replace(estimate_of(target, "nuts"), notes=("found its step size at once",))
    targets = {target.id: target, lost.id: lost}
    document = Document(rendered(([flagged, noted, estimate_of(target, "mclmc")], targets)))
    said = (
        "R̂ 1.41 > 1.05 (do: sampler.warmup=4000); few draws; odd (do: <b>sampler.ess=800</b>); "
        "the chains stayed in one basin"
    )
    assert said in document.text and document.count("b") == 0
    assert "loss still falling (do: target.steps=20000)" in document.text
    titles = [attributes.get("title") for tag, attributes in document.tags]
    assert said in titles and "found its step size at once" in titles
    assert "no reason was recorded" not in document.text


def test_what_people_write_is_not_markup(target_of: Make, estimate_of: Make) -> None:
    evil = "<b>x</b></script><script>alert(1)</script>"
    target = target_of(name=evil)
    other = target_of(name="digits", seed=2)
    estimates = [
        estimate_of(target, status="flagged", reasons=[evil]),
        replace(estimate_of(other), provenance={"host": evil}),
    ]
    plain = Document(rendered(([estimate_of(other)], {other.id: other})))
    html = rendered((estimates, {target.id: target, other.id: other}), name=evil, command=evil)
    document = Document(html)
    assert document.count("script") == plain.count("script") and document.count("b") == 0
    figures = json.loads(next(s for s in document.scripts if s.startswith("[")))
    # Plotly would read mark-up of its own in any text it draws.
    drawn = re.sub(r"</?(?:br|extra|sub)>", "", json.dumps(figures))
    assert "<" not in drawn and "&lt;b&gt;" in drawn


def test_every_figure_has_its_place(calibration: Sweep) -> None:
    document = Document(rendered(calibration))
    figures = json.loads(next(s for s in document.scripts if s.startswith("[")))
    places = [a["data-figure"] for _, a in document.tags if "data-figure" in a]
    assert places == [str(i) for i in range(len(figures))]
    # Intervals, 2 maps and 2 curves, 2 targets, 24 traces.
    assert len(figures) == 1 + 4 + 2 + 24


def test_a_row_an_estimate(typical: Sweep) -> None:
    document = Document(rendered(typical))
    assert document.count("tr") == 1 + 12
    assert document.count("td") == 12 * document.count("th")


def test_a_large_sweep_stays_small_and_reads_only_what_is_drawn(huge: Sweep, tmp_path: Path) -> None:
    loaded = []

    def counted_arrays(record: Record) -> Mapping[str, np.ndarray]:
        loaded.append(record.id)
        return record.arrays

    path = tmp_path / "a directory" / "report.html"
    write_report(path, name="huge", command="x", estimates=huge[0], targets=huge[1], arrays=counted_arrays)
    assert path.stat().st_size < 20e6
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    # Arrays are read for what is drawn: 24 targets × 8 samplers and 24 traces at most.
    assert len(loaded) <= 24 * 8 + 24


def test_the_table_is_cut(target_of: Make, estimate_of: Make) -> None:
    target, one = target_of(), estimate_of(target_of())
    many = [
        replace(one, id=f"est_{i:016x}", config={**one.config, "sampler": {"kind": "hmc", "seed": i}})
        for i in range(MAX_ROWS + 7)
    ]
    document = Document(rendered((many, {target.id: target})))
    assert document.count("tr") == 1 + MAX_ROWS
    assert "The first 2,000 are shown; 7 more are in results.csv." in document.text


def test_no_estimates_is_a_small_page() -> None:
    html = rendered(([], {}))
    assert len(html) < 20_000
    assert "This sweep holds no estimates" in html and "No estimates" in html


def test_an_estimate_that_could_not_run(target_of: Make, failed_of: Make, estimate_of: Make) -> None:
    target = target_of()
    text = Document(rendered(([failed_of(target), estimate_of(target)], {target.id: target}))).text
    assert "■ failed" in text and "out of memory at a batch of one" in text


def test_an_estimate_without_any_figures(target_of: Make, failed_of: Make) -> None:
    bare = replace(failed_of(target_of()), figures={})
    assert "No λ̂: the estimate failed" in rendered(([bare], {}))


@pytest.mark.parametrize("value", [1e38, 1e300])
def test_chains_about_to_leave_the_numbers_are_drawn(
    value: float, target_of: Make, estimate_of: Make
) -> None:
    estimate = estimate_of(target_of())
    arrays = {name: estimate.arrays[name].astype(np.float64) for name in ("loss", "llc_running")}
    for trace in arrays.values():
        trace[:, -5:] = value
    estimate = replace(estimate, arrays={**estimate.arrays, **arrays})
    assert "data-figure" in rendered(([estimate], {}))
