"""Overrides of the `sweep` flow: a workload, a grid, a space, and what is said of bad ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepflow.compose import compose_trials
from sweepflow.compose.trials import TrialsRequest
from sweepflow.errors import ConfigError

MODULE = """
from sweepflow.schema.fields import Config as Base, Traced
class Config(Base):
    size: int = 3
    x: Traced[float] = 1.0
    {field}: int = 0
def run(config, inputs, key):
    return {{"loss": config.x}}
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the user's own groups."""
    directory = tmp_path_factory.mktemp("mine") / "my groups"
    files = {
        "space/rates.yaml": {
            "parameters": {
                "learning_rate": {"distribution": "log_uniform", "low": 1e-3, "high": 1e-1},
                "momentum": {"distribution": "uniform", "low": 0, "high": 0.9, "when": {"optimizer": "sgd"}},
            },
            "constraints": [{"skip": "momentum > 0.8"}],
        },
        "space/pair.yaml": {
            "parameters": {
                "both": {
                    "distribution": "joint",
                    "choices": [{"x": 1.0, "y": 2.0}, {"x": -1.0, "y": 0.5}],
                },
                "learning_rate": {"distribution": "uniform", "low": 0.1, "high": 0.2},
            }
        },
        "space/bad.yaml": {"parameters": {"x": {"distribution": "log_uniform", "low": 0, "high": 1}}},
        "space/misspelt.yaml": {
            "parameters": {"learning_rat": {"distribution": "uniform", "low": 0.1, "high": 0.2}}
        },
        "space/weights.yaml": {
            "parameters": {"x": {"distribution": "categorical", "values": [1, 2], "weights": [0.5, 0.6]}}
        },
        "workload/mine.yaml": {"workload": "landscape", "landscape": "beale", "steps": 11},
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "# @package _global_\n" if name.startswith("workload") else ""
        path.write_text(head + json.dumps(content))
    experiments = directory / "experiment"
    experiments.mkdir()
    (experiments / "descents.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /workload: landscape\n"
        "landscape: beale\nsteps: 30\n"
        "hydra:\n  sweeper:\n    params:\n      optimizer: sgd,adam\n"
        "      learning_rate: tag(log,interval(1e-3,1e-1))\n      momentum: 0.5\n"
    )
    (experiments / "drawing.yaml").write_text(
        '# @package _global_\nhydra: {sweeper: {params: {learning_rate: "interval(-2,1)"}}}\n'
    )
    (experiments / "interpolated.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /workload: landscape\nx: ???\ny: ${x}\n"
    )
    return directory


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "a folder" / f"composed_{tmp_path.name}.py"
    file.parent.mkdir()
    file.write_text(MODULE.format(field="other"))
    return file


def grid_of(request: TrialsRequest) -> list[Any]:
    """Every point, validated."""
    return [request.config(point, {}) for point in request.points]


def parameters(request: TrialsRequest) -> dict[str, Any]:
    return {} if request.space is None else dict(request.space.parameters)


@pytest.mark.parametrize(
    "name", ["digits_mlp", "digits_cnn", "breast_cancer_mlp", "diabetes_mlp", "teacher_student_mlp"]
)
def test_the_shipped_workloads(name: str) -> None:
    request = compose_trials([f"workload={name}"])
    (config,) = grid_of(request)
    assert request.workload.name == "train" and request.space is None and request.grid == ()
    request.workload.check(config)


def test_without_a_word_it_is_the_digits() -> None:
    (config,) = grid_of(compose_trials([]))
    assert config.data.name == "digits" and config.model.widths == (64,)


def test_a_grid() -> None:
    request = compose_trials(
        ["workload=digits_mlp", "optimizer=sgd,adam", "batch_size=32,64", "seed=range(0,3)", "epochs=7"]
    )
    assert request.grid == ("optimizer", "batch_size", "seed")
    found = [(c.optimizer, c.batch_size, c.seed, c.epochs) for c in grid_of(request)]
    assert found == [(o, b, s, 7) for o in ("sgd", "adam") for b in (32, 64) for s in range(3)]


def test_groups_can_be_swept() -> None:
    request = compose_trials(["workload=digits_mlp", "model=small,base", "learning_rate=0.1,0.2"])
    assert request.grid == ("model", "learning_rate")
    found = [(c.model.target_params, c.model.depth, c.learning_rate) for c in grid_of(request)]
    assert found == [(500, 2, 0.1), (500, 2, 0.2), (2500, 3, 0.1), (2500, 3, 0.2)]
    convolutional = grid_of(compose_trials(["workload=digits_cnn", "model=cnn,linear"]))
    assert [config.model.kind for config in convolutional] == ["cnn", "mlp"]


@pytest.mark.parametrize(
    "name", ["digits_mlp", "breast_cancer_mlp", "diabetes_mlp", "teacher_student_mlp", "digits_cnn"]
)
def test_the_model_and_the_data_of_a_workload_can_be_chosen_anew(name: str) -> None:
    """Nothing of the workload's own model is left in the one that takes its place."""
    (config,) = grid_of(compose_trials([f"workload={name}", "model=small", "data=teacher_student"]))
    assert (config.model.target_params, config.model.widths) == (500, None)
    assert config.data.kind == "teacher_student"
    (config,) = grid_of(compose_trials([f"workload={name}", "model=mlp", "model.widths=[3]"]))
    assert config.model.widths == (3,)


def test_a_workload_of_ones_own(mine: Path) -> None:
    request = compose_trials(["workload=mine", "steps=12"], mine)
    (config,) = grid_of(request)
    assert (request.workload.name, config.landscape, config.steps) == ("landscape", "beale", 12)


def test_a_python_file_and_a_module(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = compose_trials([f"workload={module}", "x=2,3", "size=4"])
    assert request.workload.path == str(module) and request.workload.name == module.stem
    assert [(c.x, c.size) for c in grid_of(request)] == [(2.0, 4), (3.0, 4)]
    monkeypatch.chdir(module.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    by_file = compose_trials([f"workload={module.name}"])
    by_name = compose_trials([f"workload={module.stem}", "x=interval(0,1)"])
    assert by_file.workload.name == by_name.workload.name == module.stem
    assert set(parameters(by_name)) == {"x"}
    error = refused([f"workload={module}", "sise=4"])
    assert error.what == "there is no key or group 'sise'"
    assert error.do == "did you mean 'size'?"


def test_a_module_whose_fields_the_sweep_needs(module: Path) -> None:
    taken = module.with_name(f"taken_{module.name}")
    taken.write_text(MODULE.format(field="store"))
    error = refused([f"workload={taken}"])
    assert error.what == "the workload's configuration has a field that the sweep needs: store"
    assert error.do == "rename the field"


def test_what_is_typed_wins_over_the_space(mine: Path) -> None:
    space = parameters(compose_trials(["workload=landscape", "space=rates"], mine))
    assert set(space) == {"learning_rate", "momentum"}
    for given in ("learning_rate=0.3", "learning_rate=0.3,0.4"):
        request = compose_trials(["workload=landscape", "space=rates", given], mine)
        assert set(parameters(request)) == {"momentum"}
        assert grid_of(request)[0].learning_rate == 0.3
    request = compose_trials(
        ["workload=landscape", "space=rates", "momentum=interval(0.2,0.3)", "x=choice(1,2)"], mine
    )
    changed = parameters(request)
    assert set(changed) == {"learning_rate", "momentum", "x"}
    assert (changed["momentum"].low, changed["momentum"].high) == (0.2, 0.3)
    assert changed["momentum"].when == space["momentum"].when, "it is still drawn for sgd only"
    assert changed["learning_rate"] == space["learning_rate"]
    assert request.space is not None and len(request.space.constraints) == 1
    error = refused(["workload=landscape", "space=pair", "x=1"], mine)
    assert "drawn together with other keys" in error.what
    request = compose_trials(["workload=landscape", "space=pair", "x=1", "y=3"], mine)
    assert set(parameters(request)) == {"learning_rate"}


def test_distributions_without_a_space() -> None:
    request = compose_trials(
        [
            "workload=digits_mlp",
            "learning_rate=tag(log,interval(1e-3,1))",
            "epochs=int(interval(1,3))",
            "model.widths=choice([8],[16,16])",
        ]
    )
    assert {key: one.distribution for key, one in parameters(request).items()} == {
        "learning_rate": "log_uniform",
        "epochs": "int_uniform",
        "model.widths": "categorical",
    }
    config = request.config(request.points[0], {"model.widths": [16, 16], "learning_rate": 0.5})
    assert (config.model.widths, config.learning_rate) == ((16, 16), 0.5)
    (plain,) = grid_of(request)
    assert plain.model.widths == (64,), "the point is as it was"


def test_an_experiment_file(mine: Path) -> None:
    request = compose_trials(["+experiment=descents"], mine)
    assert request.grid == ("optimizer",)
    assert [c.optimizer for c in grid_of(request)] == ["sgd", "adam"]
    assert all((c.landscape, c.steps, c.momentum) == ("beale", 30, 0.5) for c in grid_of(request))
    assert set(parameters(request)) == {"learning_rate"}
    typed = compose_trials(["+experiment=descents", "learning_rate=0.3", "optimizer=lion", "steps=5"], mine)
    (config,) = grid_of(typed)
    assert (config.learning_rate, config.optimizer, config.steps) == (0.3, "lion", 5)
    assert typed.space is None


def test_a_key_that_must_be_given_may_be_drawn(mine: Path) -> None:
    """`command: ???` and its like; and where an interpolation needs it at once, it is missing."""
    error = refused(["workload=mnist_cnn"])
    assert "data.path has to be given" in error.what
    assert set(parameters(compose_trials(["workload=mnist_cnn", "data.path=choice(a,b)"]))) == {"data.path"}
    swept = compose_trials(["+experiment=interpolated", "x=1,2"], mine)
    assert [(c.x, c.y) for c in grid_of(swept)] == [(1, 1), (2, 2)]
    drawn = compose_trials(["+experiment=interpolated", "x=interval(0,1)", "y=3"], mine)
    assert drawn.config(drawn.points[0], {"x": 0.5}).y == 3
    again = ["+experiment=interpolated", "x=interval(0,1)", "y=${learning_rate}", "learning_rate=7"]
    drawn = compose_trials(again, mine)
    assert drawn.config(drawn.points[0], {"x": 0.5}).y == 7
    assert "x" in str(refused(["+experiment=interpolated"], mine))


def test_what_refers_to_a_drawn_key_follows_it(mine: Path) -> None:
    """As it follows one that is swept."""
    swept = compose_trials(["workload=mine", "steps=5,6", "y=${steps}"], mine)
    assert [(c.steps, c.y) for c in grid_of(swept)] == [(5, 5), (6, 6)]
    drawn = compose_trials(["workload=mine", "steps=choice(5,6)", "y=${steps}", "name=n"], mine)
    (point,) = drawn.points
    assert drawn.config(point, {}).y == 11, "what the file has"
    assert [drawn.config(point, {"steps": n}).y for n in (5, 6)] == [5, 6]
    assert drawn.config(point, {"steps": 5, "y": 1}).y == 1


def test_settings_of_the_sweep_are_no_part_of_a_configuration(tmp_path: Path) -> None:
    request = compose_trials(
        ["workload=landscape", f"store='{tmp_path}/a store'", "name=mine", "runner.batch_size=7"]
    )
    assert request.settings.store == f"{tmp_path}/a store"
    assert (request.settings.name, request.settings.runner.batch_size) == ("mine", 7)
    assert not {"store", "name", "runner", "workload", "space"} & set(request.points[0])


def refused(overrides: list[str], directory: Path | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        grid_of(compose_trials(overrides, directory))
    assert len(str(caught.value).splitlines()) <= 8, "on one screen"
    return caught.value


PROGRAM = ("workload=command", "command=echo", "metrics=[a]")

BAD: list[tuple[list[str], str, str]] = [
    (["workload=digits_mpl"], "there is no workload 'digits_mpl'", "did you mean 'workload=digits_mlp'?"),
    (["workload=no.such.module"], "there is no workload 'no.such.module'", "or a module path, or a .py file"),
    (["workload=nowhere.py"], "there is no workload 'nowhere.py'", "digits_mlp"),
    (["workload="], "there is no workload ''", "digits_mlp"),
    (["workload=json"], "this module is no workload", "class Config(sweepflow.Config)"),
    (["workload=digits_mlp,digits_cnn"], "one workload a sweep", "one sweep for each workload"),
    (["space=optimizer,learning_rate"], "one space a sweep", "one sweep for each space"),
    (["space=optimiser"], "group 'space' has no option 'optimiser'", "did you mean 'space=optimizer'?"),
    (["learningrate=0.1"], "there is no key or group 'learningrate'", "did you mean 'learning_rate'?"),
    (["lr=interval(0,1)"], "there is no key or group 'lr'", "learning_rate"),
    (["workload=landscape", "epochs=3"], "there is no key or group 'epochs'", "steps"),
    (["model.width=[3]"], "there is no key 'model.width'", "did you mean 'model.widths'?"),
    (["model=smal"], "group 'model' has no option 'smal'", "did you mean 'model=small'?"),
    (["model=interval(0,1)"], "model: an interval is a distribution", "list the options: model=FIRST"),
    (["learning_rate=-1"], "learning_rate cannot be -1", "a number greater than 0"),
    (["learning_rate=0.1,fast"], "learning_rate cannot be 'fast'", "a number greater than 0"),
    (["optimizer=sdg"], "optimizer cannot be 'sdg'", "sgd"),
    (["learning_rate=0.1,0.1"], "learning_rate: a value is given twice", "remove one"),
    (
        ["learning_rate=0.1", "learning_rate=0.2"],
        "learning_rate is given twice",
        "learning_rate=FIRST,SECOND",
    ),
    (["learning_rate=interval(1,0)"], "learning_rate: ", "interval(1,0)"),
    (["learning_rate=tag(log,interval(0,1))"], "learning_rate: ", "tag(log,interval(0,1))"),
    (["runner.batch_size=2,4"], "runner", "one"),
    (["runner.batch_size=choice(2,4)"], "runner", "one"),
    (["store=a,b"], "store says where the sweep runs", "one value"),
    (["name=a,b"], "name says where the sweep runs", "one value"),
    (["name='../x'"], "name cannot be '../x'", "letters a–z and digits"),
    (["runner.batch_size=0"], "runner.batch_size cannot be 0", "greater than 0"),
    (["space=learning_rate", "space.parameters.learning_rate.low=1e-4,1e-3"], "one space a sweep", "space"),
    (["space.parameter.x=1"], "a space has no field 'parameter'", "did you mean 'parameters'?"),
    (["data=quadratic,digits", "+experiment=data_scaling,x"], "", "experiment"),
    (["workload=command"], "command and metrics have to be", "'python train.py' metrics=[val_loss]"),
    (["workload=command", "command=a"], "metrics has to be given", "add metrics=[val_loss]"),
    (["workload=mnist_cnn"], "data.path has to be given", "four files of MNIST or Fashion-MNIST, or an .npz"),
    (["sampler=hmc"], "sampler is a group of `sweepflow llc`", "or use: sweepflow llc sampler=hmc"),
    (["target=adam", "epochs=1"], "target is a group of `sweepflow llc`", "use: sweepflow llc target=adam"),
    (
        ["workload=landscape", "model=small"],
        "'landscape' has no group 'model'",
        "allowed: its keys: optimizer, ",
    ),
    (["workload=landscape", "data=digits"], "'landscape' has no group 'data'", "leave it out"),
    (["workload=landscape", "+model=small"], "there is no key 'model'", "(+model=small)"),
    (
        ["+experiment=data_scaling"],
        "experiment/data_scaling asks for 'sampler': sampler is a group of `sweepflow llc`",
        "use: sweepflow llc +experiment=data_scaling",
    ),
    (
        [*PROGRAM, "args.mode=a,nan"],
        "args.mode cannot be nan: it is no finite number",
        "do:      quote it as text: args.mode=\"'nan'\"",
    ),
    ([*PROGRAM, "args.deep.mode=inf"], "args.deep.mode cannot be inf", "=\"'inf'\""),
    ([*PROGRAM, "args={a.b:1,a:{b:2}}"], "args has the same key twice: a.b", "change args"),
    (["workload=command", "command=''", "metrics=[a]"], "command names no program", "got:     command=''"),
    ([*PROGRAM, "depends=[a,b]", "depends.5=c"], "depends is a list, and has no place 5", "in a list of 2"),
    ([*PROGRAM, "~nothing"], "no key 'nothing' that could be removed", "command, metrics"),
    (["learning_rate=float(1,2),str(3)"], "a sweep within the list of another one", "float(1,2)"),
    (["learning_rate=(("], "this is not an override in Hydra's grammar", "learning_rate=(("),
]


@pytest.mark.parametrize(("overrides", "what", "part"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_overrides(overrides: list[str], what: str, part: str) -> None:
    error = refused(overrides)
    assert what in error.what
    assert part in str(error)
    assert error.got is not None and error.allowed and error.do, "all four parts"


@pytest.mark.parametrize(("name", "part"), [("bad", "low"), ("weights", "weights")])
def test_bad_spaces(name: str, part: str, mine: Path) -> None:
    error = refused(["workload=landscape", f"space={name}"], mine)
    assert part in str(error) and "x" in error.what


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert "not there" in refused([], tmp_path / "nothing").what


def test_a_module_without_a_group_is_told_with_its_keys(module: Path) -> None:
    error = refused([f"workload='{module}'", "model=small"])
    assert "has no group 'model'" in error.what and error.allowed == "its keys: size, x, other"


def test_a_value_that_is_quoted_as_the_error_says_is_text() -> None:
    for text, values in {"args.mode='nan'": ["nan"], "args.mode='nan',a": ["nan", "a"]}.items():
        found = grid_of(compose_trials([*PROGRAM, text]))
        assert [config.args["mode"] for config in found] == values


DRAWN: list[tuple[list[str], dict[str, Any], str | None, str, str]] = [
    # overrides, drawn, table, got, do
    (
        ["space=optimizer"],
        {"learning_rate": -1.0},
        None,
        "learning_rate=-1.0, drawn from the space optimizer",
        "mend the space optimizer, or override it with learning_rate=0.001",
    ),
    (
        ["learning_rate=interval(-2,1)"],
        {"learning_rate": -1.0},
        None,
        "learning_rate=-1.0, drawn from learning_rate=interval(-2,1)",
        "mend learning_rate=interval(-2,1), or override it with learning_rate=0.001",
    ),
    (
        ["space=misspelt"],
        {"learning_rat": 0.1},
        None,
        "learning_rat=0.1, drawn from the space misspelt",
        "did you mean 'learning_rate'?",
    ),
    (
        ["epochs=2", "learning_rate=0.5"],
        {"learning_rate": -1},
        None,
        "learning_rate=-1, from the table",
        "mend the table",
    ),
    (
        [],
        {"learning_rate": "fast"},
        "samples.csv, row 3",
        "learning_rate=fast, from the table samples.csv, row 3",
        "mend the table",
    ),
    (
        [],
        {"model.widths": [8, 0]},
        "samples.csv, row 3",
        "model.widths=0, from the table samples.csv, row 3",
        "mend the table",
    ),
    (
        ["space=optimizer"],
        {"seed": -3},
        None,
        "seed=-3, drawn for the repeats",
        "mend --repeats",
    ),
    (
        ["+experiment=drawing", "workload=digits_mlp"],
        {"learning_rate": -1.0},
        None,
        "learning_rate=-1.0, drawn from learning_rate=interval(-2,1), from the experiment drawing",
        "mend learning_rate=interval(-2,1), or override it with learning_rate=0.001",
    ),
]


@pytest.mark.parametrize(
    ("overrides", "drawn", "table", "got", "do"), DRAWN, ids=[row[3].replace("/", " ") for row in DRAWN]
)
def test_what_was_drawn_is_not_said_to_be_from_a_file(
    overrides: list[str], drawn: dict[str, Any], table: str | None, got: str, do: str, mine: Path
) -> None:
    request = compose_trials(overrides, mine)
    with pytest.raises(ConfigError) as caught:
        request.config(request.points[0], drawn, table)
    assert (caught.value.got, caught.value.do) == (got, do)
    assert len(str(caught.value).splitlines()) == 4


def test_keys_that_do_not_go_together_are_told_with_where_each_is_from(mine: Path) -> None:
    request = compose_trials(["workload=diabetes_mlp", "data=quadratic", "data.dimension=2"], mine)
    with pytest.raises(ConfigError) as caught:
        request.config(request.points[0], {"data.eigenvalues": [1, 2, 3]}, "t.csv, row 1")
    assert caught.value.what.startswith("data: dimension=2 needs 2 eigenvalues")
    assert caught.value.got == (
        "data=quadratic data.dimension=2, and data.eigenvalues=[1,2,3], from the table t.csv, row 1"
    )


def test_an_axis_knows_where_it_is_from(mine: Path) -> None:
    axes = {axis.key: axis for axis in compose_trials(["+experiment=descents", "steps=5"], mine).axes}
    assert axes["optimizer"].source == "experiment descents" and axes["steps"].source == "typed"
    assert axes["optimizer"].shown == "optimizer=sgd,adam, from the experiment descents"
    assert axes["steps"].shown == "steps=5"
