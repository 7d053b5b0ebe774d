from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from sweepflow.report.terminal import MAX_ROWS, MAX_SENTENCES, results_table, targets_table
from sweepflow.storage.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]


def printed(table: Table, width: int = 100) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_an_estimate_with_what_was_found_below(typical: Sweep) -> None:
    lines = printed(results_table(*typical))
    assert lines[0].split() == ["target", "sampler", "λ̂", "±", "95", "%", "ESS", "R̂", "bias", "status"]
    first = next(line for line in lines if "sgld" in line)
    assert " ".join(first.split()) == "target_params=1000 seed=1 sgld 8.59 ± 0.66 413 1.01 0.31 ✓ ok"
    text = "\n".join(lines)
    assert "▲ flagged: R̂ 1.41 > 1.05 (+1)" in text
    assert "target_params=10000 seed=2 †" in text and "† this target did not reach a minimum" in text
    assert "over the 9 sound of 12 estimates, on 4 targets; 2 flagged, 1 diverged" in text
    assert all(cell_len(line) <= 100 for line in lines)


def test_numbers_are_whole_on_a_narrow_terminal(calibration: Sweep) -> None:
    text = "\n".join(printed(results_table(*calibration), width=80))
    assert "11.46 ± 0.93" in text


def test_many_rows_are_cut_and_counted(huge: Sweep) -> None:
    table = results_table(*huge)
    assert table.row_count == MAX_ROWS
    text = "\n".join(printed(table))
    assert "1,160 more are in results.csv" in text
    assert "over the 1,032 sound of 1,200 estimates, " in text


def test_nothing_and_nothing_sound(diverged: Sweep) -> None:
    assert "No estimates" in printed(results_table([], {}))
    text = "\n".join(printed(results_table(*diverged)))
    assert "–" in text and "✗ diverged: all 4 chains diverged" in text


def test_words_are_not_read_as_markup(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    one = replace(estimate_of(target), status="failed", reasons=("[red]x[/red] [0]",))
    assert "[red]x[/red] [0]" in "\n".join(printed(results_table([one], {target.id: target})))


def test_targets(typical: Sweep) -> None:
    _, targets = typical
    lines = printed(targets_table(targets))
    assert " ".join(lines[1].split()) == "target_params=1000 seed=1 986 1,437 0.00231 0.113 4.2e-5 ✓ ok"
    assert "4 targets, 1 without a minimum" in lines
    assert printed(targets_table({}))[0].startswith("target")


def test_what_to_do_is_under_the_table(target_of: Make, estimate_of: Make) -> None:
    """The commonest first, once for all that it is for, and nothing for a reason that nothing helps."""
    target = target_of()
    rare, often = "sampler.chains=8", "sampler.ess=800"
    advised = [(rare, ""), (often,), (often, often), ("",), (), (often,)]
    estimates = [
        replace(estimate_of(target, seed=seed), status="flagged", reasons=("a",) * len(do), advice=do)
        for seed, do in enumerate(advised)
    ]
    lines = printed(results_table(estimates, {target.id: target}))
    assert [line for line in lines if "do:" in line] == [
        f"do: {often}  (for 3 estimates)",
        f"do: {rare}  (for hmc seed=0 on {target.id})",
    ]


def test_much_to_do_is_cut_and_counted(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    estimates = [
        replace(estimate_of(target, seed=seed), status="flagged", reasons=("a",), advice=(f"sampler.x={do}",))
        for seed, do in enumerate([*range(MAX_SENTENCES + 2), MAX_SENTENCES + 1])
    ]
    lines = printed(results_table(estimates, {target.id: target}))
    shown = [line for line in lines if line.startswith("do: ")]
    assert len(shown) == MAX_SENTENCES
    assert shown[0] == f"do: sampler.x={MAX_SENTENCES + 1}  (for 2 estimates)"
    assert "2 more of do: in the report" in lines


def test_advice_is_not_read_as_markup(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    one = replace(estimate_of(target), status="flagged", reasons=("a",), advice=("[red]x[/red] [0]",))
    assert "do: [red]x[/red] [0]" in "\n".join(printed(results_table([one], {target.id: target})))


def test_notes_of_estimates_are_under_the_table(target_of: Make, estimate_of: Make) -> None:
    """What is worth knowing of an estimate that is `ok` is seen without opening the report."""
    target = target_of()
    estimates = [replace(estimate_of(target, seed=seed), notes=("the budget ended",)) for seed in range(2)]
    lines = printed(results_table(estimates, {target.id: target}))
    assert "note: the budget ended  (for 2 estimates)" in lines
