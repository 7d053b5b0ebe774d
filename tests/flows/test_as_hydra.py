"""What hydra-zen's users do, with the import line changed, and what is said of what they cannot."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hydra import TaskFunction
from hydra.conf import HydraConf, JobConf
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from hydra_zen import (
    builds,
    hydra_list,
    instantiate,
    make_config,
    make_custom_builds_fn,
    multirun,
    to_yaml,
    zen,
)
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from hydra_plugins.sweepflow_launcher import FlowLauncher
from sweepflow import hydra_multirun, hydra_run, launch
from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store

pytestmark = [pytest.mark.server]

CALLED: list[Any] = []
"""What functions below were called with."""


@pytest.fixture(autouse=True)
def somewhere(prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory of the test's own, with a store, and groups of the config store of its own."""
    directory = tmp_path / "a researcher's directory"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.delenv("SWEEPFLOW_STORE", raising=False)
    repository = ConfigStore.instance()
    before = repository.repo
    repository.repo = _copied(before)
    CALLED.clear()
    yield
    repository.repo = before


def _copied(repo: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(inner) if isinstance(inner, dict) else inner for name, inner in repo.items()}


def own_store() -> Store:
    return Store(Path("sweepflow-data"))


# --- Running experiments -----------------------------------------------------------------------------------


@dataclass
class MyExperiment:
    foo: str = "hello"
    bar: str = "world"


def say(cfg: Any) -> None:
    print(cfg.foo + " " + cfg.bar)


def test_an_experiment_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    job = hydra_run(MyExperiment, say, overrides=["bar=mom"])
    assert capsys.readouterr().out == "hello mom\n"
    assert job.overrides == ["bar=mom"]
    assert job.return_value is None
    assert job.cfg == {"foo": "hello", "bar": "mom"}
    assert job.task_name == job.hydra_cfg.hydra.job.name == "say"
    assert job.status is JobStatus.COMPLETED
    assert isinstance(job, JobReturn)
    hydra_multirun(MyExperiment, say, overrides=["bar=mom,dad"])
    assert capsys.readouterr().out == "hello mom\nhello dad\n"


def test_builds_and_instantiate() -> None:
    job = hydra_run(builds(dict, a=1, b=1), task_function=instantiate)
    assert job.return_value == {"a": 1, "b": 1}
    jobs = hydra_multirun(
        builds(dict, a=1, b=1),
        task_function=instantiate,
        overrides=["a=1,2"],
    )
    assert [j.return_value for j in jobs[0]] == [{"a": 1, "b": 1}, {"a": 2, "b": 1}]
    assert [j.return_value for j in jobs.jobs] == [{"a": 1, "b": 1}, {"a": 2, "b": 1}]
    assert jobs.return_value is jobs


def test_a_partial_of_a_builtin() -> None:
    # Of hydra-zen's, which has since renamed hydra_partial.
    cfg = dict(f=builds(pow, exp=2, zen_partial=True), x=10)  # noqa: C408

    def task_function(cfg: DictConfig) -> Any:
        return instantiate(cfg.f)(cfg.x)

    assert hydra_run(cfg, task_function).return_value == 100
    jobs = hydra_multirun(cfg, task_function, overrides=["x=range(-2,3)"])
    assert [j.return_value for j in jobs[0]] == [4, 1, 0, 1, 4]


def gradient_descent(
    *, starting_xy: Any, optim: Callable[[], Any], num_steps: int, landscape_fn: Callable[..., Any]
) -> np.ndarray:
    xy = jnp.array(tuple(starting_xy))
    trajectory = [xy]
    optimizer = optim()
    state = optimizer.init(xy)
    for _ in range(num_steps):
        gradient = jax.grad(lambda xy: landscape_fn(*xy))(xy)
        with jax.numpy_dtype_promotion("standard"):  # Adam of optax
            updates, state = optimizer.update(gradient, state)
        xy = optax.apply_updates(xy, updates)
        trajectory.append(xy)
    return np.stack(trajectory)


def parabaloid(x: Any, y: Any) -> Any:
    return 0.1 * x**2 + 0.2 * y**2


def test_options_of_a_group_in_the_config_store() -> None:
    cs = ConfigStore.instance()
    cs.store(
        group="optim", name="sgd", node=builds(optax.sgd, learning_rate=0.3, momentum=0.0, zen_partial=True)
    )
    cs.store(group="optim", name="adam", node=builds(optax.adam, learning_rate=0.3, zen_partial=True))
    config = builds(
        gradient_descent,
        optim=None,  # not defined yet
        landscape_fn=parabaloid,
        starting_xy=(-1.5, 0.5),
        num_steps=20,
    )
    jobs = hydra_multirun(config, task_function=instantiate, overrides=["optim=sgd"])
    (alone,) = jobs[0]
    assert alone.return_value.shape == (21, 2)
    assert parabaloid(*alone.return_value[-1]) < 0.1 * parabaloid(*alone.return_value[0])
    jobs = hydra_multirun(config, task_function=instantiate, overrides=["optim=sgd,adam"])
    assert [j.overrides for j in jobs[0]] == [["optim=sgd"], ["optim=adam"]]
    np.testing.assert_array_equal(jobs[0][0].return_value, alone.return_value)
    assert not np.array_equal(jobs[0][1].return_value, alone.return_value)


# --- A sweeper of the user's own ---------------------------------------------------------------------------


class RandomSearchSweeper(Sweeper):
    def __init__(self, optim: DictConfig):
        self.opt_config = optim
        self.config: DictConfig | None = None
        self.launcher: Any = None
        self.job_idx: int = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.job_idx = 0
        self.hydra_context = hydra_context
        self.config = config

        self.launcher = instantiate(config.hydra.launcher)
        self.launcher.setup(
            config=config,
            task_function=task_function,
            hydra_context=hydra_context,
        )

    def sweep(self, arguments: list[str]) -> Any:
        parser = OverridesParser.create()
        parsed = parser.parse_overrides(arguments)

        param_bounds = {}
        for override in parsed:
            key = override.get_key_element()
            val: Any = override.value()
            if override.is_interval_sweep():
                param_bounds[key] = [val.start, val.end]

        all_results = []
        best_score = None
        best_solution = None
        iterations = 0
        while iterations < self.opt_config.max_iter:
            new_solution = {k: random.uniform(*v) for k, v in param_bounds.items()}

            overrides = [tuple(f"{k}={float(v)}" for k, v in new_solution.items())]

            returns = self.launcher.launch(overrides, initial_job_idx=self.job_idx)
            score = returns[0].return_value

            if best_score is None or score < best_score:
                best_score = score
                best_solution = new_solution

            self.job_idx += len(returns)
            iterations += 1
            all_results.append(new_solution)

        results_to_serialize = {
            "best_evaluated_params": best_solution,
            "best_evaluated_result": best_score,
        }
        return results_to_serialize, all_results


def square(x: float, y: float, z: float = 12) -> float:
    return (x - 2) ** 2 + (y + 3) ** 2 + abs(z)


def squared(cfg: Any) -> float:
    CALLED.append(cfg.x)
    return square(cfg.x, cfg.y)


def random_search(**options: Any) -> Any:
    conf = builds(RandomSearchSweeper, optim={"x": 0, "y": 12, "maximize": False, "max_iter": 10})
    ConfigStore.instance().store(group="hydra/sweeper", name="test_sweeper", node=conf)
    return hydra_multirun(
        {"x": 1, "y": 12},
        squared,
        overrides=[
            "hydra/sweeper=test_sweeper",
            "x=interval(-12, 12)",
            "y=interval(-12, 12)",
        ],
        **options,
    )


def test_a_random_search_by_a_sweeper_of_hydras(prefect: Any) -> None:
    random.seed(0)
    job = random_search()
    best, history = job.return_value
    assert len(history) == len(job.jobs) == len(CALLED) == 10
    scores = [square(**drawn) for drawn in history]
    assert best == {
        "best_evaluated_params": history[scores.index(min(scores))],
        "best_evaluated_result": min(scores),
    }
    assert [j.cfg for j in job.jobs] == history
    assert [len(batch) for batch in job] == [1] * 10
    directories = {j.working_dir for j in job.jobs}
    assert len(directories) == 10
    # One flow, and a record for each job.
    seen = prefect.see()
    assert (seen.run.state.name, seen.run.state.message) == ("Completed", "10 jobs")
    assert seen.run.parameters["overrides"][0] == "hydra/sweeper=test_sweeper"
    for j in job.jobs:
        record = own_store().get(j.job.fingerprint)
        assert record is not None
        assert record.config == {"overrides": j.overrides, "config": j.cfg}
        assert record.figures["return_value"] == j.return_value


class InPairs(RandomSearchSweeper):
    """As plugins that are installed do it: with a launcher of Hydra's registry, and many jobs at a time."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> Any:
        batches = [[["x=1", "y=0"], ["x=2", "y=0"]], [["x=3", "y=0"]]]
        for batch in batches:
            self.validate_batch_is_legal(batch)
        found = [self.launcher.launch(batch, initial_job_idx=0) for batch in batches]
        return [[(j.status, j.hydra_cfg.hydra.job.num, j.task_name) for j in jobs] for jobs in found]


def test_a_sweeper_with_the_launcher_of_hydras_registry() -> None:
    ConfigStore.instance().store(group="hydra/sweeper", name="pairs", node=builds(InPairs, optim={}))
    found = hydra_multirun({"x": 1, "y": 12}, fails_at_two, overrides=["hydra/sweeper=pairs"])
    ok, failed = (JobStatus.COMPLETED, JobStatus.FAILED)
    name = "fails_at_two"
    assert found.return_value == [[(ok, 0, name), (failed, 1, name)], [(ok, 2, name)]]
    with pytest.raises(ValueError, match="two is too many"):
        _ = found[0][1].return_value
    with pytest.raises(TypeError, match="only for sweepers that hydra_multirun"):
        FlowLauncher().setup(hydra_context=None, task_function=say, config=None)  # type: ignore[arg-type]


def fails_at_two(cfg: Any) -> float:
    CALLED.append(cfg.x)
    if cfg.x == 2:
        raise ValueError("two is too many")
    return float(cfg.x)


class Raising(InPairs):
    def sweep(self, arguments: list[str]) -> Any:
        self.launcher.launch([["x=1"]], initial_job_idx=0)
        raise LookupError("no way down")


class Misspelling(InPairs):
    def sweep(self, arguments: list[str]) -> Any:
        return self.launcher.launch([["x=1"], ["z=1"]], initial_job_idx=0)


def test_sweepers_that_fail(prefect: Any) -> None:
    for sweeper in (Raising, Misspelling):
        node = builds(sweeper, optim={})
        ConfigStore.instance().store(group="hydra/sweeper", name=sweeper.__name__, node=node)
    with pytest.raises(LookupError, match="no way down"):
        hydra_multirun({"x": 1}, fails_at_two, overrides=["hydra/sweeper=Raising"])
    seen = prefect.see()
    assert seen.run.state.name == "Failed"
    assert "no way down" in seen.run.state.message
    assert CALLED == [1]
    with pytest.raises(ConfigError, match=r"'z'(.|\n)*got: +z=1"):
        hydra_multirun({"x": 1}, fails_at_two, overrides=["hydra/sweeper=Misspelling"])
    assert CALLED == [1], "a batch is composed before it is called"


# --- What cannot be done -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: hydra_run({"x": 1}, fails_at_two, ["x=1,2"]), ["x=1,2", "use hydra_multirun"]),
        (lambda: hydra_run({"x": 1}, fails_at_two, ["y=1"]), ["'y'", "+y=1"]),
        (lambda: hydra_run({"x": 1}, fails_at_two, ["x=[1"]), ["x=[1"]),
        (lambda: hydra_run(3, fails_at_two), ["cannot be the configuration of a job"]),
        (lambda: hydra_multirun({"x": 1}, fails_at_two, ["x=1,3", "y=1"]), ["'y'", "+y=1"]),
        (lambda: hydra_multirun({"x": 1}, fails_at_two, ["x=interval(0,1)"]), ["x=interval(0,1)", "Random"]),
        (
            lambda: hydra_multirun({"x": 1}, fails_at_two, ["hydra/sweeper=nope"]),
            ["hydra/sweeper/nope", "basic"],
        ),
        (
            lambda: hydra_multirun({"x": 1}, fails_at_two, ["hydra/sweeper=lost"]),
            ["the sweeper cannot be made", "no.such.Sweeper"],
        ),
        (
            lambda: hydra_multirun({"x": 1}, fails_at_two, ["hydra/sweeper=dict"]),
            ["no sweeper", "builtins.dict"],
        ),
        (
            lambda: hydra_multirun({"x": 1}, fails_at_two, ["hydra/launcher=farm", "x=1,2"]),
            ["hydra/launcher=farm", "runner='slurm'"],
        ),
        (lambda: launch({"x": 1}, fails_at_two, x=[1, 2]), ["x: ", "[1, 2] (list)", "multirun([1, 2])"]),
        (lambda: launch({"x": 1}, fails_at_two, execution_whitelist="auto"), ["needs a newer Hydra"]),
    ],
    ids=[
        "sweep", "key", "grammar", "config", "key of many", "interval", "sweeper", "lost", "dict", "launcher",
        "list", "whitelist",
    ],
)  # fmt: skip
def test_what_is_refused_before_any_call(call: Any, said: list[str]) -> None:
    cs = ConfigStore.instance()
    cs.store(group="hydra/sweeper", name="lost", node={"_target_": "no.such.Sweeper"})
    cs.store(group="hydra/sweeper", name="dict", node={"_target_": "builtins.dict"})
    cs.store(group="hydra/launcher", name="farm", node={"_target_": "a.farm.Launcher"})
    with pytest.raises(ConfigError) as error:
        call()
    for words in said:
        assert words in str(error.value)
    assert CALLED == []


def test_a_job_that_raises(prefect: Any) -> None:
    with pytest.raises(ValueError, match="two is too many"):
        hydra_run({"x": 2}, fails_at_two)
    CALLED.clear()
    with pytest.raises(ValueError, match="two is too many"):
        hydra_multirun({"x": 0}, fails_at_two, overrides=["x=1,2,3"])
    assert CALLED == [1, 2, 3], "its batch is called to its end"
    assert prefect.see().run.state.name == "Failed"
    CALLED.clear()
    with pytest.raises(ValueError, match="two is too many"):
        hydra_multirun({"x": 0}, fails_at_two, overrides=["x=1,2,3", "hydra.sweeper.max_batch_size=2"])
    assert CALLED == [1, 2]


# --- launch ------------------------------------------------------------------------------------------------


def as_yaml(cfg: Any) -> str:
    out = to_yaml(cfg)
    print(out)
    return out


Conf = make_config("a", "b")


def test_launch_with_keywords(capsys: pytest.CaptureFixture[str]) -> None:
    job = launch(Conf, as_yaml, a=1, b="foo")
    assert job.return_value == "a: 1\nb: foo\n"
    assert capsys.readouterr().out == "a: 1\nb: foo\n\n"
    assert job.cfg == {"a": 1, "b": "foo"}
    assert job.overrides == ["a=1", "b=foo"]
    assert job.status is JobStatus.COMPLETED
    assert Path(job.working_dir).parts[-3] == "outputs"
    assert launch(Conf, as_yaml, a=1, b="foo", overrides={"+c": 22}).overrides == ["+c=22", "a=1", "b=foo"]
    job = launch(Conf, as_yaml, overrides=["a=1", "b='foo'", "+c=22"])
    assert job.return_value == "a: 1\nb: foo\nc: 22\n"
    typed = launch(MyExperiment, lambda cfg: cfg.bar, bar=None, to_dictconfig=True, version_base=None)
    assert typed.return_value is None
    with pytest.raises(ConfigError, match="bar"):
        launch(MyExperiment, lambda cfg: cfg.bar, bar=None)


def test_launch_of_many() -> None:
    (outputs,) = launch(Conf, as_yaml, a="1,2,3", b="bar", multirun=True)
    assert [j.cfg for j in outputs] == [{"a": a, "b": "bar"} for a in (1, 2, 3)]
    directories = [Path(j.working_dir) for j in outputs]
    assert [directory.name for directory in directories] == ["0", "1", "2"]
    assert len({directory.parent for directory in directories}) == 1
    assert directories[0].parts[-4] == "multirun"
    values = [random.uniform(0, 1) for _ in range(10)]
    (jobs,) = launch(make_config(), instantiate, overrides={"+param": multirun(values)}, multirun=True)
    assert [j.return_value.param for j in jobs] == values


@pytest.mark.parametrize(
    ("overrides", "printed"),
    [
        (["+foo=1"], "1\n"),
        (["+foo=1,2,3"], "1\n2\n3\n"),
        ({"+foo": 1}, "1\n"),
        ({"+foo": multirun([1, 2, 3])}, "1\n2\n3\n"),
        ({"+foo": hydra_list([1, 2, 3])}, "[1, 2, 3]\n"),
        ({"+foo": multirun([hydra_list([1, 2]), hydra_list([3])])}, "[1, 2]\n[3]\n"),
        ({"+foo": multirun(["a", None, True])}, "a\nNone\nTrue\n"),
        ({"+foo": {"a": None, "b": ["1,2", "x y"]}}, "{'a': None, 'b': ['1,2', 'x y']}\n"),
    ],
    ids=str,
)
def test_values_of_overrides(overrides: Any, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    def show(foo: Any) -> None:
        print(foo)
        assert foo != "None", "which is text"

    many = len(printed.splitlines()) > 1
    launch(make_config(), zen(show), overrides=overrides, multirun=many, version_base="1.2")
    assert capsys.readouterr().out == printed


def test_a_job_runs_in_its_directory() -> None:
    def log(cfg: Any) -> str:
        Path("log.txt").write_text(f"{cfg.first} and {cfg.second}")
        return HydraConfig.get().runtime.output_dir

    config = make_config("first", "second")
    before = os.getcwd()
    job = launch(config, log, overrides=["first=link", "second=zelda"])
    directory = Path(job.working_dir)
    assert (directory / "log.txt").read_text() == "link and zelda"
    assert str(directory) == job.return_value == job.hydra_cfg.hydra.runtime.output_dir
    assert (directory / ".hydra" / "config.yaml").read_text() == "first: link\nsecond: zelda\n"
    assert (directory / ".hydra" / "overrides.yaml").read_text() == "- first=link\n- second=zelda\n"
    assert "output_dir: " in (directory / ".hydra" / "hydra.yaml").read_text()
    assert os.getcwd() == before
    # As Hydra 1.2 and newer have it: not there.
    stays = launch(config, log, overrides={"first": "a", "second": "b"}, version_base="1.3")
    assert stays.working_dir == before
    assert Path("log.txt").read_text() == "a and b"
    assert Path(stays.return_value) != Path(before)
    # What Hydra is told of itself.
    told = [
        "first=1,2",
        "second=s",
        "hydra.sweep.dir=out",
        "hydra.sweep.subdir=${first}/${hydra.job.num}/${hydra.job.override_dirname}",
        "hydra.job.config.override_dirname.exclude_keys=[second]",
        "hydra.output_subdir=null",
        "+hydra.job.env_set.WHO=me",
    ]
    (jobs,) = hydra_multirun(config, lambda cfg: os.environ["WHO"], told)
    assert [j.return_value for j in jobs] == ["me", "me"]
    assert "WHO" not in os.environ
    assert [j.overrides for j in jobs] == [["first=1", "second=s"], ["first=2", "second=s"]]
    assert [j.working_dir for j in jobs] == [f"{before}/out/1/0/first=1", f"{before}/out/2/1/first=2"]
    assert [j.hydra_cfg.hydra.job.override_dirname for j in jobs] == ["first=1", "first=2"]
    assert not list(Path("out").rglob(".hydra"))


def test_hydras_configuration_in_its_store() -> None:
    conf = HydraConf(job=JobConf(chdir=True), callbacks={"note": builds(Noting, mark="!")})
    ConfigStore.instance().store(group="hydra", name="config", node=conf)
    job = launch(make_config(x=1), lambda cfg: os.getcwd(), version_base="1.2")
    assert job.return_value == job.working_dir == job.hydra_cfg.hydra.runtime.output_dir
    said = ["run starts!", "job 1 starts!", f"{job.return_value}!", "run ends!"]
    assert said == CALLED
    CALLED.clear()
    told = ["x=1,2", "hydra.job.chdir=False", "hydra.callbacks.note.mark=?"]
    (jobs,) = launch(make_config(x=1), lambda cfg: 10 / (cfg.x - 1), ["x=2,3", *told[1:]], multirun=True)
    assert [j.return_value for j in jobs] == [10, 5]
    assert CALLED == ["sweep starts?", "job 2 starts?", "10.0?", "job 3 starts?", "5.0?", "sweep ends?"]
    CALLED.clear()
    with pytest.raises(ZeroDivisionError):
        launch(make_config(x=1), lambda cfg: 10 / (cfg.x - 1), told, multirun=True)
    assert CALLED == ["sweep starts?", "job 1 starts?", "FAILED?", "job 2 starts?", "10.0?"]


class Noting(Callback):
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        CALLED.append(f"run starts{self.mark}")

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        CALLED.append(f"run ends{self.mark}")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        CALLED.append(f"sweep starts{self.mark}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        CALLED.append(f"sweep ends{self.mark}")

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        CALLED.append(f"job {config.x} starts{self.mark}")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed = job_return.status is JobStatus.FAILED
        CALLED.append(f"{'FAILED' if failed else job_return.return_value}{self.mark}")


class Traveller:
    def __init__(self, name: str, level: int = 1, luggage: Any = None) -> None:
        self.name, self.level, self.luggage = name, level, luggage

    def __repr__(self) -> str:
        return f"{self.name}, level {self.level}, with {self.luggage}"


def luggage(gold: int, tool: str) -> dict[str, Any]:
    return {"gold": gold, "tool": tool}


def gilded(kind: Callable[..., Traveller]) -> Callable[..., Traveller]:
    def wrapper(*args: Any, **kwargs: Any) -> Traveller:
        found = kind(*args, **kwargs)
        found.luggage["gold"] += 1000
        return found

    return wrapper


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["who.name=ivy"], "ivy, level 1, with {'gold': 10, 'tool': 'stick'}"),
        (
            ["who.name=ivy", "who.level=2", "who.luggage.tool=rope"],
            "ivy, level 2, with {'gold': 10, 'tool': 'rope'}",
        ),
        (["who.name=ivy", "+who/luggage=light"], "ivy, level 1, with {'gold': 0, 'tool': 'none'}"),
        (
            ["who.name=ivy", "who.level=3", "+who/luggage=light", "who.luggage.gold=10"],
            "ivy, level 3, with {'gold': 10, 'tool': 'none'}",
        ),
        (["who=rakesh"], "rakesh, level 300, with {'gold': 41, 'tool': 'pillow'}"),
        (["who=rakesh", "who.luggage.tool=axe"], "rakesh, level 300, with {'gold': 41, 'tool': 'axe'}"),
        (["who=gilded", "who.name=ivy"], "ivy, level 1, with {'gold': 1010, 'tool': 'stick'}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_hierarchy_of_groups(overrides: list[str], found: str) -> None:
    full = make_custom_builds_fn(populate_full_signature=True)
    of_luggage = full(luggage)
    starter = of_luggage(gold=10, tool="stick")
    of_traveller = full(Traveller, luggage=starter)
    cs = ConfigStore.instance()
    cs.store(group="who/luggage", name="starter", node=starter)
    cs.store(group="who/luggage", name="light", node=of_luggage(gold=0, tool="none"))
    cs.store(group="who", name="base", node=of_traveller)
    rakesh = of_traveller(name="rakesh", level=300, luggage=of_luggage(gold=41, tool="pillow"))
    cs.store(group="who", name="rakesh", node=rakesh)
    cs.store(group="who", name="gilded", node=full(Traveller, luggage=starter, zen_wrappers=gilded))
    config = make_config("who", hydra_defaults=["_self_", {"who": "base"}])
    job = launch(config, lambda cfg: repr(instantiate(cfg).who), overrides)
    assert job.return_value == found


def test_experiments_by_name() -> None:
    cs = ConfigStore.instance()
    for name in ("mysql", "sqlite"):
        cs.store(group="db", name=name, node={"name": name})
    for name in ("apache", "nginx"):
        cs.store(group="server", name=name, node={"name": name, "port": 80})
    defaults = ["_self_", {"db": "mysql"}, {"server": "apache"}]
    config = make_config("db", "server", hydra_defaults=defaults)
    for name, chosen in {"aplite": [], "nglite": [{"override /server": "nginx"}]}.items():
        experiment = make_config(
            hydra_defaults=["_self_", {"override /db": "sqlite"}, *chosen],
            server={"port": 8080},
            bases=(config,),
        )
        cs.store(group="experiment", name=name, node=experiment, package="_global_")
    (jobs,) = launch(config, dict, ["+experiment=aplite,nglite"], multirun=True)
    expected = [(name, 8080, "sqlite") for name in ("apache", "nginx")]
    assert [(j.cfg.server.name, j.cfg.server.port, j.cfg.db.name) for j in jobs] == expected
    (again,) = launch(config, dict, ["+experiment=glob(*)"], multirun=True)
    assert [j.cfg for j in again] == [j.cfg for j in jobs]
    (one,) = launch(config, dict, ["db=sqlite", "server=glob(n*)", "server.port=1,2"], multirun=True)[0][:1]
    assert one.cfg == {"db": {"name": "sqlite"}, "server": {"name": "nginx", "port": 1}}


# --- What is composed --------------------------------------------------------------------------------------


def test_groups_are_the_users_own() -> None:
    """`model` and `small` are of `conf/`, too: there is nothing of it here."""
    assert launch({"x": 1}, lambda cfg: cfg.model, ["+model=small"]).return_value == "small"
    ConfigStore.instance().store(group="model", name="small", node={"mine": 1})
    assert launch({"model": None}, lambda cfg: cfg.model, ["model=small"]).return_value == {"mine": 1}


@pytest.mark.parametrize(
    "overrides",
    [
        ["a.b=3", "a.c=${a.b}"],
        ["a={b: 3, c: 4}", "a.b=5"],
        ["a.b=2", "a.b=3"],
        ["+n=1", "n=2"],
        ["d@e=one", "a.b=2"],
        ["~a.c", "a.b=2"],
        ["l=[3]", "s='a,b'"],
        ["++a.b=7", "a.b=8"],
    ],
    ids=" ".join,
)
def test_jobs_are_composed_as_hydra_composes_them(overrides: list[str]) -> None:
    from hydra import compose, initialize

    ConfigStore.instance().store(group="d", name="one", node={"in": 1})
    ConfigStore.instance().store(group="d", name="two", node={"in": 2})
    config = {"defaults": ["_self_", {"d@e": "two"}], "a": {"b": 1, "c": 2}, "l": [1, 2], "s": "t", "v": 0}
    ConfigStore.instance().store(name="theirs", node=config)
    with initialize(None, version_base="1.3"):
        theirs = [compose("theirs", [*overrides, f"v={v}"]) for v in (1, 2)]
    (jobs,) = hydra_multirun(config, lambda cfg: None, [*overrides, "v=1,2"])
    assert [j.cfg for j in jobs] == theirs


def test_parameters_of_hydras_sweeper() -> None:
    node: dict[str, Any] = {"params": {"x": "1,2", "y": "5,6"}, "max_batch_size": 1}
    node["_target_"] = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    ConfigStore.instance().store(group="hydra/sweeper", name="mine", node=node)
    told = ["hydra/sweeper=mine", "y=7"]
    found = hydra_multirun({"x": 0, "y": 0}, lambda cfg: (cfg.x, cfg.y), told)
    assert [[j.return_value for j in batch] for batch in found] == [[(1, 7)], [(2, 7)]]


class Model(BaseModel):
    x: int = 1


def test_a_pydantic_model_comes_as_one() -> None:
    note = {"note": builds(Noting, mark="")}
    ConfigStore.instance().store(group="hydra", name="config", node=HydraConf(callbacks=note))
    job = hydra_run(Model, lambda cfg: type(cfg).__name__, ["x=2"])
    assert job.return_value == "Model"
    assert job.cfg == Model(x=2)
    assert (Path(job.working_dir) / ".hydra" / "config.yaml").read_text() == "x: 2\n"
    assert CALLED[1] == "job 2 starts"


def test_what_hydra_knew_before_it_knows_after() -> None:
    from hydra.core.global_hydra import GlobalHydra

    seen = HydraConfig.instance().cfg, GlobalHydra.instance().hydra
    names = set(ConfigStore.instance().repo)

    def nested(cfg: Any) -> Any:
        inner = hydra_run({"y": cfg.x}, lambda cfg: HydraConfig.get().job.name, job_name="inner")
        return inner.return_value, HydraConfig.get().job.name, HydraConfig.get().job.num

    (jobs,) = hydra_multirun({"x": 1}, nested, ["x=1,2"], job_name="outer")
    assert [j.return_value for j in jobs] == [("inner", "outer", 0), ("inner", "outer", 1)]
    assert (HydraConfig.instance().cfg, GlobalHydra.instance().hydra) == seen
    assert set(ConfigStore.instance().repo) == names


@pytest.mark.slow
def test_jobs_on_workers() -> None:
    told = ["runner=dask", "runner.workers=2"]

    def where(cfg: Any) -> tuple[int, str, str]:
        return os.getpid(), os.getcwd(), HydraConfig.get().runtime.output_dir

    (jobs,) = hydra_multirun({"x": 0}, where, ["x=1,2,3"], runner=told)
    for j in jobs:
        pid, cwd, output = j.return_value
        assert pid != os.getpid()
        assert cwd == output == j.working_dir
    assert len({j.working_dir for j in jobs}) == 3


@pytest.mark.slow
def test_resolvers_on_workers() -> None:
    config = {"out": "${hydra:runtime.output_dir}", "when": "${now:%Y}", "mine": "${times_two:3}", "n": 0}
    overrides = ["n=1,2", "+z=1", "hydra.sweep.dir=jobs"]

    def looked_up(cfg: Any) -> tuple[int, Any]:
        return os.getpid(), (cfg.out, cfg.when, cfg.mine, cfg.n, cfg.z)

    OmegaConf.register_new_resolver("times_two", lambda x: 2 * x)
    try:
        (here,) = hydra_multirun(config, looked_up, overrides)
        (there,) = hydra_multirun(config, looked_up, overrides, runner=["runner=dask", "runner.workers=1"])
    finally:
        OmegaConf.clear_resolver("times_two")
    assert [j.return_value[1] for j in there] == [j.return_value[1] for j in here]
    assert [j.return_value[1][0] for j in here] == [j.working_dir for j in here]
    assert {j.return_value[1][2] for j in here} == {6}
    assert os.getpid() not in {j.return_value[0] for j in there}
