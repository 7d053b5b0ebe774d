"""From a command line and its options to distinct, complete trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepflow.compose import compose_trials
from sweepflow.errors import ConfigError, DataError
from sweepflow.schema.runner import LocalRunner
from sweepflow.space import write_table
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.draw import DesignOptions, Drawn, draw_trials
from sweepflow.trials.plan import make_plan

LANDSCAPE = ["workload=landscape"]
RATE = "learning_rate=tag(log,interval(1e-4,1))"
START = "x=interval(-2,2)"


def draw(overrides: list[str], directory: Path | None = None, **options: Any) -> Drawn:
    return draw_trials(compose_trials(overrides, directory), DesignOptions(**options))


def refused(overrides: list[str], directory: Path | None = None, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        draw(overrides, directory, **options)
    assert caught.value.got is not None
    return caught.value


@pytest.fixture
def space(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """A directory of the user's own with one space, `mine`."""

    def write(content: dict[str, Any]) -> Path:
        (tmp_path / "space").mkdir(exist_ok=True)
        (tmp_path / "space" / "mine.yaml").write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize("method", ["sobol", "halton", "random"])
def test_a_larger_design_begins_with_the_smaller(method: Any) -> None:
    asked = [*LANDSCAPE, RATE, START]
    few = draw(asked, samples=64, method=method)
    many = draw(asked, samples=256, method=method)
    assert len(few.trials) == 64 and len(many.trials) == 256
    assert list(many.trials)[:64] == list(few.trials)
    assert list(draw(asked, samples=64, method=method).trials) == list(few.trials), "the same in every call"
    assert not set(draw(asked, samples=64, method=method, seed=1).trials) & set(few.trials)


def test_rows_say_what_was_chosen() -> None:
    found = draw([*LANDSCAPE, RATE, "optimizer=sgd,lion", "steps=7"], samples=4)
    assert list(found.rows) == list(found.trials) and len(found.rows) == 8
    for trial_id, row in found.rows.items():
        config = found.trials[trial_id].config
        assert row == {"optimizer": config.optimizer, "learning_rate": config.learning_rate}
        assert config.steps == 7
    assert [row["optimizer"] for row in found.rows.values()] == ["sgd"] * 4 + ["lion"] * 4
    assert found.log_keys == {"learning_rate"}
    assert found.left_out == {}


def test_a_grid_is_run_whole_and_without_a_note() -> None:
    found = draw([*LANDSCAPE, "optimizer=sgd,adam", "x=1,2,3", "learning_rate=0.1"])
    assert len(found.trials) == 6
    assert found.notes == [] and found.log_keys == frozenset()


def test_the_default_is_64_samples_and_another_count_says_what_it_costs() -> None:
    assert len(draw([*LANDSCAPE, RATE]).trials) == 64
    assert draw([*LANDSCAPE, RATE], samples=32).notes == []
    (note,) = draw([*LANDSCAPE, RATE, "optimizer=sgd,adam"], samples=33).notes
    assert note.startswith("33 samples are no power of two"), "once, for two points of the grid"


def test_repeats_have_seeds_of_their_own_that_stay() -> None:
    asked = ["workload=digits_mlp", RATE]
    found = draw(asked, samples=4, repeats=3)
    seeds = [trial.config.seed for trial in found.trials.values()]
    assert len(found.trials) == 12 and len(set(seeds)) == 3
    assert seeds == seeds[:3] * 4
    assert [row["seed"] for row in found.rows.values()] == seeds
    (note,) = found.notes
    assert note == f"seed drawn for 3 repeats: {seeds[0]}, {seeds[1]}, {seeds[2]}"
    assert list(draw(asked, samples=4, repeats=3).trials) == list(found.trials)
    more = draw(asked, samples=8, repeats=5)
    assert set(found.trials) < set(more.trials), "both may be raised later"
    other = draw(asked, samples=4, repeats=3, seed=1)
    assert not {trial.config.seed for trial in other.trials.values()} & set(seeds)
    assert len(draw(["workload=digits_mlp"], repeats=2).trials) == 2


@pytest.mark.parametrize(
    "overrides", [["seed=3"], ["seed=range(0,5)"], ["seed=int(interval(0,9))"], ["seed=choice(1,2)"]]
)
def test_seeds_are_given_or_drawn(overrides: list[str]) -> None:
    assert refused(["workload=digits_mlp", *overrides], repeats=2).what == "seeds are either given or drawn"


def test_seeds_in_a_table_and_repeats(tmp_path: Path) -> None:
    table = tmp_path / "with seeds.csv"
    write_table(table, [{"learning_rate": 0.1}, {"learning_rate": 0.2, "seed": 3}])
    error = refused(["workload=digits_mlp"], table=table, repeats=2)
    assert error.what == "seeds are either given or drawn"
    assert len(draw(["workload=digits_mlp"], table=table).trials) == 2


@pytest.mark.parametrize("constraint", [{"skip": "seed > 3"}, {"when": "epochs > 1", "set": {"seed": 1}}])
def test_constraints_that_look_at_seeds_and_repeats(
    constraint: dict[str, Any], space: Callable[[dict[str, Any]], Path]
) -> None:
    rate = {"distribution": "uniform", "low": 0.1, "high": 0.2}
    directory = space({"parameters": {"learning_rate": rate}, "constraints": [constraint]})
    asked = ["workload=digits_mlp", "space=mine"]
    assert "looks at seeds" in refused(asked, directory, samples=2, repeats=2).what
    assert draw(asked, directory, samples=2).trials


def test_a_workload_without_a_seed_has_no_repeats() -> None:
    assert "has no seed" in refused([*LANDSCAPE, RATE], repeats=2).what


@pytest.mark.parametrize(
    ("overrides", "options", "what"),
    [
        ([RATE], {"samples": 0}, "a sweep has at least one sample"),
        ([RATE], {"samples": -4}, "a sweep has at least one sample"),
        (["x=1,2"], {"samples": 4}, "there is nothing to draw samples from"),
        ([], {"samples": 4}, "there is nothing to draw samples from"),
        ([RATE], {"repeats": 0}, "a configuration is run at least once"),
        ([RATE], {"seed": -1}, "a seed is negative"),
        ([RATE], {"table": Path("any.csv")}, "from a table or from a space, not from both"),
        ([], {"table": Path("any.csv"), "samples": 3}, "a table of configurations is run whole"),
        ([RATE], {"method": "sobl"}, "there is no design 'sobl'"),
        (["learning_rate=tag(log,interval(0,1))"], {}, "learning_rate: "),
    ],
)
def test_options_that_cannot_be(overrides: list[str], options: dict[str, Any], what: str) -> None:
    assert what in refused([*LANDSCAPE, *overrides], **options).what


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "yaml"])
def test_a_table_is_what_was_written(suffix: str, tmp_path: Path) -> None:
    asked = [*LANDSCAPE, RATE, START, "optimizer=choice(sgd,adam)", "nesterov=choice(true,false)"]
    found = draw(asked, samples=16)
    table = tmp_path / f"samples of mine.{suffix}"
    write_table(table, list(found.rows.values()))
    again = draw(LANDSCAPE, table=table)
    assert list(again.trials) == list(found.trials)
    assert again.rows == found.rows


def test_a_table_over_a_grid_and_its_lists(tmp_path: Path) -> None:
    table = tmp_path / "widths.csv"
    widths = [[16], [32, 32]]
    write_table(table, [{"model.widths": one, "learning_rate": 0.1} for one in widths])
    found = draw(["workload=digits_mlp", "optimizer=sgd,adam"], table=table)
    assert [(t.config.optimizer, list(t.config.model.widths)) for t in found.trials.values()] == [
        (optimizer, one) for optimizer in ("sgd", "adam") for one in widths
    ]


def test_tables_that_cannot_be_run(tmp_path: Path) -> None:
    table = tmp_path / "one column too many.csv"
    write_table(table, [{"learning_rate": 0.1}, {"learning_rate": 0.2, "momentun": 0.9}])
    error = refused(LANDSCAPE, table=table)
    assert error.what == "the table has a column that is no key of the workload: 'momentun'"
    assert error.do == "did you mean 'momentum'?, or remove the column"
    assert "learning_rate" in (error.allowed or "")
    write_table(table, [{"learning_rate": -1.0}])
    assert "learning_rate cannot be -1" in refused(LANDSCAPE, table=table).what
    write_table(table, [{"model.width": [3], "learning_rate": 1.0}])
    assert "model.width" in refused(["workload=digits_mlp"], table=table).what
    with pytest.raises(DataError, match="no such table"):
        draw(LANDSCAPE, table=tmp_path / "none.csv")


def test_what_is_the_same_is_run_once_and_counted(tmp_path: Path) -> None:
    table = tmp_path / "twice.json"
    write_table(table, [{"x": 1.0}, {"x": 2.0}, {"x": 1}, {"x": 2.0}, {"x": 1.0}])
    found = draw(LANDSCAPE, table=table)
    assert [trial.config.x for trial in found.trials.values()] == [1.0, 2.0]
    assert found.notes == ["3 configurations were the same as earlier ones and are run once"]
    write_table(table, [{"x": 1.0}, {"x": 1}])
    assert draw(LANDSCAPE, table=table).notes == [
        "1 configuration was the same as an earlier one and is run once"
    ]
    both = draw([*LANDSCAPE, "optimizer=choice(sgd,adam)"], samples=16)
    assert len(both.trials) == 2
    assert both.notes == ["14 configurations were the same as earlier ones and are run once"]
    repeated = draw(["workload=digits_mlp", "optimizer=choice(sgd,adam)"], samples=16, repeats=2)
    assert len(repeated.trials) == 4
    assert repeated.notes[0] == "28 configurations were the same as earlier ones and are run once"


def test_constraints_with_a_grid(space: Callable[..., Path]) -> None:
    """They see the grid's values and the defaults; counts are of all points together."""
    mine = space(
        {
            "parameters": {
                "learning_rate": {"distribution": "log_uniform", "low": 1e-4, "high": 1.0},
                "momentum": {"distribution": "uniform", "low": 0, "high": 0.9, "when": "optimizer == sgd"},
            },
            "constraints": [
                {"skip": "optimizer == adam and learning_rate > 0.01"},
                {"when": "learning_rate > 0.1 and steps == 200", "set": {"clip_norm": 1.0}},
            ],
        }
    )
    found = draw([*LANDSCAPE, "space=mine", "optimizer=sgd,adam"], mine, samples=64)
    configs = [trial.config for trial in found.trials.values()]
    assert len(configs) == 64 + 32
    assert all(config.learning_rate <= 0.01 for config in configs if config.optimizer == "adam")
    assert {c.clip_norm for c in configs if c.learning_rate > 0.1} == {1.0}
    assert {c.clip_norm for c in configs if c.learning_rate <= 0.1} == {0.0}
    assert {c.momentum for c in configs if c.optimizer == "adam"} == {0.9}, "the default"
    words = "\n".join(found.notes)
    assert "32 samples were skipped by constraints" in words
    assert "optimizer == adam and learning_rate > 0.01: 32 samples" in words
    assert ": 16 samples" in words
    adam = [i for i, trial in found.trials.items() if trial.config.optimizer == "adam"]
    assert found.left_out == {trial_id: ["momentum"] for trial_id in adam}
    assert found.log_keys == {"learning_rate"}


def test_a_point_of_which_nothing_is_left_and_a_sweep_of_which_nothing_is(space: Callable[..., Path]) -> None:
    parameters = {"x": {"distribution": "uniform", "low": 0, "high": 1}}
    mine = space({"parameters": parameters, "constraints": [{"skip": "optimizer == adam"}]})
    found = draw([*LANDSCAPE, "space=mine", "optimizer=sgd,adam"], mine, samples=8)
    assert {trial.config.optimizer for trial in found.trials.values()} == {"sgd"}
    assert "8 samples were skipped by constraints" in found.notes
    mine = space({"parameters": parameters, "constraints": [{"skip": "x >= 0"}]})
    for grid in ([], ["optimizer=sgd,adam"]):
        error = refused([*LANDSCAPE, "space=mine", *grid], mine, samples=8)
        assert "the constraints leave none of the" in error.what
        assert f"x >= 0: {8 * (1 + len(grid))}" in str(error.got)


def test_what_the_workload_mends_is_counted() -> None:
    asked = ["workload=digits_mlp", "schedule=cosine", "min_learning_rate=0.1", "learning_rate=0.01,0.05,0.5"]
    found = draw(asked)
    rates = [(t.config.learning_rate, t.config.min_learning_rate) for t in found.trials.values()]
    assert rates == [(0.01, 0.01), (0.05, 0.05), (0.5, 0.1)]
    assert found.notes == [
        "2 configurations: min_learning_rate was above learning_rate and is now equal to it"
    ]


def test_what_the_workload_refuses_is_refused_before_any_work() -> None:
    error = refused(["workload=diabetes_mlp", "label_smoothing=0,0.1"])
    assert "label smoothing" in error.what


def test_a_key_of_the_space_that_the_workload_does_not_have(space: Callable[..., Path]) -> None:
    mine = space({"parameters": {"momentun": {"distribution": "uniform", "low": 0, "high": 1}}})
    error = refused([*LANDSCAPE, "space=mine"], mine, samples=4)
    assert "momentun" in str(error) and "did you mean" in (error.do or ""), str(error)
    mine = space(
        {
            "parameters": {"x": {"distribution": "uniform", "low": 0, "high": 1}},
            "constraints": [{"skip": "momentun > 1"}],
        }
    )
    assert "momentun" in str(refused([*LANDSCAPE, "space=mine"], mine, samples=4))


@pytest.mark.parametrize("name", ["optimizer", "learning_rate", "architecture"])
def test_the_shipped_spaces(name: str) -> None:
    found = draw(["workload=digits_mlp", f"space={name}"], samples=64)
    assert 32 <= len(found.trials) <= 64
    assert "learning_rate" in found.log_keys


def test_two_files_are_not_one_trial(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in one sweep, nor in one and what the store has of another."""
    name = f"workload_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import sweepflow\nclass Config(sweepflow.Config):\n    weights: sweepflow.Location[str] = ''\n"
        "def run(config, inputs, key):\n    return {'loss': 0.0}\n"
    )
    monkeypatch.chdir(tmp_path)
    for file in ("a.bin", "b.bin"):
        Path(file).write_text(file)
    asked = [f"workload={name}.py"]
    told = refused([*asked, "weights=a.bin,b.bin"])
    assert "weights=a.bin" in str(told) and "weights=b.bin" in str(told)
    assert len(draw([*asked, "weights=a.bin,c.bin"]).trials) == 1
    first, second = (draw([*asked, f"weights={file}"]) for file in ("a.bin", "b.bin"))
    (trial,) = first.trials.values()
    store.put(Record(trial.id, name, 0, "ok", (), trial.config.model_dump(mode="json"), {}))
    workload = compose_trials(asked).workload
    assert make_plan(workload, first, LocalRunner(), store, None).hits == 1
    with pytest.raises(ConfigError, match="two files would be one trial"):
        make_plan(workload, second, LocalRunner(), store, None)
