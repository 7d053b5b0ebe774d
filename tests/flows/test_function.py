"""Any Python callable as jobs: what run and multirun give back, and what Prefect and the store have of it."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra_zen import builds, instantiate
from omegaconf import DictConfig
from pydantic import BaseModel

from sweepflow import multirun, run, store
from sweepflow.errors import ConfigError
from sweepflow.flows.function import NoScoreWarning
from sweepflow.jobs import Job, Jobs
from sweepflow.jobs.call import NotBatchedWarning, NotKeptWarning
from sweepflow.jobs.sweepers import Random
from sweepflow.space import Distribution
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import TooManyFailuresError
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server]

CALLED: list[Any] = []
"""What the functions below were called with."""


@pytest.fixture(autouse=True)
def somewhere(prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store of the test's own, where none is named, and groups of the config store of its own."""
    monkeypatch.setenv("SWEEPFLOW_STORE", str(tmp_path / "a researcher's store"))
    repository = ConfigStore.instance()
    before = repository.repo
    repository.repo = dict(before)
    CALLED.clear()
    yield
    repository.repo = before


@dataclass
class MyExperiment:
    foo: str = "hello"
    bar: str = "world"


def say(cfg: MyExperiment) -> None:
    print(cfg.foo + " " + cfg.bar)


def note(x: Any) -> None:
    """A function of its own: a function's globals are part of what it is."""
    CALLED.append(x)


def square(cfg: Any) -> int:
    note(cfg.x)
    result: int = cfg.x**2
    return result


def fails_at_two(cfg: Any) -> int:
    if cfg.x == 2:
        raise ValueError("two is too many")
    return square(cfg)


def values(jobs: Jobs) -> list[Any]:
    return [job.return_value for job in jobs]


def test_an_experiment_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    job = run(MyExperiment, say, overrides=["bar=mom"])
    assert capsys.readouterr().out == "hello mom\n"
    assert job.overrides == ("bar=mom",) and job.return_value is None and job.status == "ok"
    assert job.cfg == {"foo": "hello", "bar": "mom"} and job.task_name == "say"
    multirun(MyExperiment, say, overrides=["bar=mom,dad"])
    assert capsys.readouterr().out == "hello mom\nhello dad\n"


def test_builds_and_instantiate() -> None:
    assert run(builds(dict, a=1, b=1), task_function=instantiate).return_value == {"a": 1, "b": 1}
    jobs = multirun(builds(dict, a=1, b=1), task_function=instantiate, overrides=["a=1,2"])
    assert values(jobs) == [{"a": 1, "b": 1}, {"a": 2, "b": 1}]


def test_a_partial_of_a_builtin() -> None:
    def task_function(cfg: DictConfig) -> Any:
        return instantiate(cfg.f)(cfg.x)

    assert run({"f": builds(pow, exp=2, zen_partial=True), "x": 10}, task_function).return_value == 100
    cfg = {"f": builds(pow, exp=2, zen_partial=True), "x": 1}
    assert values(multirun(cfg, task_function, overrides=["x=range(-2,3)"])) == [4, 1, 0, 1, 4]


def test_options_of_a_group() -> None:
    def sgd(lr: float, momentum: float) -> str:
        return f"sgd {lr} {momentum}"

    store(group="optim", name="sgd", node={"name": "sgd", "lr": 0.3, "momentum": 0.0})
    store(group="optim", name="adam", node={"name": "adam", "lr": 0.3})
    config = {"optim": None, "steps": 20}
    jobs = multirun(
        config, lambda cfg: (cfg.optim.name, cfg.optim.lr), overrides=["optim=sgd,adam", "optim.lr=1"]
    )
    assert values(jobs) == [("sgd", 1), ("adam", 1)]


def test_label_value_record_and_table_are_one() -> None:
    jobs = multirun({"x": 0}, lambda cfg: cfg.x, overrides=["x=shuffle(range(0,6))"])
    assert sorted(values(jobs)) == list(range(6))
    for job in jobs:
        record = Store(default()).get(job.fingerprint)
        assert record is not None
        assert record.config == {"overrides": [f"x={job.return_value}"], "config": {"x": job.return_value}}
        assert job.overrides == (f"x={job.return_value}",) and job.params == {"x": job.return_value}


def test_a_pydantic_model_comes_as_one() -> None:
    class Config(BaseModel):
        x: int
        y: float = 0.5

    jobs = multirun(Config, lambda cfg: (type(cfg).__name__, cfg.x, cfg.y), overrides=["x=1,2"])
    assert values(jobs) == [("Config", 1, 0.5), ("Config", 2, 0.5)]
    whole = multirun(Config, lambda cfg: cfg.y, overrides=["x=1", "y=1,2"])
    assert (
        [repr(job.params["y"]) for job in whole]
        == [repr(job.return_value) for job in whole]
        == ["1.0", "2.0"]
    )
    with pytest.raises(ConfigError, match="does not take new"):
        multirun(Config, square, overrides=["x=1", "+new=1,2"])
    with pytest.raises(ConfigError, match=r"x: .*int(.|\n)*x=1.5"):
        multirun(Config, square, overrides=["x=1,1.5"])
    with pytest.raises(ConfigError, match=r"not whole.*x"):
        run(Config, square)
    assert CALLED == []


def test_one_that_raises_does_not_end_the_others(prefect: Any) -> None:
    jobs = multirun({"x": 0}, fails_at_two, overrides=["x=range(0,5)"])
    assert [job.status for job in jobs] == ["ok", "ok", "failed", "ok", "ok"]
    with pytest.raises(ValueError, match="two is too many"):
        _ = jobs[2].return_value
    assert "fails_at_two" in jobs[2].traceback
    record = Store(default()).get(jobs[2].fingerprint)
    assert record is not None and record.status == "failed"
    assert record.reasons == ("ValueError: two is too many",)
    assert "ValueError: two is too many" in record.figures["traceback"]
    assert record.config == {"overrides": ["x=2"], "config": {"x": 2}}
    seen = prefect.see()
    assert (seen.run.state.name, seen.run.state.message) == ("Completed", "5 jobs, 1 of them failed")
    assert seen.names() == ["jobs from 0"]
    assert "ValueError: two is too many" in str(jobs) and "ValueError: two" in jobs._repr_html_()


def default() -> Path:
    return Path(os.environ["SWEEPFLOW_STORE"])


def test_one_that_raises_ends_them_where_that_is_asked_for(prefect: Any) -> None:
    with pytest.raises(ValueError, match="two is too many"):
        multirun({"x": 0}, fails_at_two, overrides=["x=range(0,5)"], on_error="raise")
    assert CALLED == [0, 1]
    assert prefect.see().run.state.name == "Failed"
    with pytest.raises(ValueError, match="two is too many"):
        run({"x": 2}, fails_at_two)
    assert run({"x": 2}, fails_at_two, on_error="keep").status == "failed"


def fails_but_at_five(cfg: Any) -> Any:
    note(cfg.x)
    if cfg.x != 5:
        raise ValueError(f"{cfg.x} is no five")
    return cfg.x


@pytest.mark.parametrize("vectorize", [False, True])
def test_a_sweep_that_only_fails_is_ended_where_that_is_asked_for(vectorize: bool, prefect: Any) -> None:
    def sweep(numbers: str, most: int, **how: Any) -> list[str]:
        CALLED.clear()
        jobs = multirun({"x": 0}, fails_but_at_five, [f"x={numbers}"], max_failures=most, **how)
        assert len(CALLED) == len(jobs)
        return [job.status for job in jobs]

    fails = ["failed"] * 4
    assert sweep("range(1,10)", 5) == [*fails, "ok", *fails], "a result begins the count anew"
    assert sweep("range(6,10)", 4) == fails, "there are no others to call"
    assert sweep("range(6,26)", 0) == fails * 5
    warned = pytest.warns(NotBatchedWarning) if vectorize else nullcontext()
    words = r"4 jobs in a row(.|\n)*9 is no five(.|\n)*max_failures"
    with warned, pytest.raises(TooManyFailuresError, match=words):
        sweep("range(6,26)", 4, vectorize=vectorize)
    assert [x for x in CALLED if type(x) is int] == [6, 7, 8, 9], "and one call of all"
    assert prefect.see().run.state.name == "Failed"


def test_a_search_that_only_fails_tells_its_sweeper_and_ends() -> None:
    mine = Downhill()
    with pytest.raises(TooManyFailuresError):
        multirun({"x": 0.0}, lambda cfg: 1 / 0, ["x=interval(-4,8)"], sweeper=mine, max_failures=1)
    assert mine.told and all(math.isnan(score) for _, score in mine.told)


def test_a_pure_function_is_called_once() -> None:
    first = multirun({"x": 0}, square, overrides=["x=1,2"], cache=True)
    again = multirun({"x": 0}, square, overrides=["x=1,2,3"], cache=True)
    assert values(again) == [1, 4, 9] and CALLED == [1, 2, 3]
    assert [job.from_store for job in again] == [True, True, False]
    assert [job.fingerprint for job in first] == [job.fingerprint for job in again[:2]]
    assert first[0].duration == again[0].duration
    multirun({"x": 0}, square, overrides=["x=1"])
    assert CALLED == [1, 2, 3, 1], "not without cache=True"
    multirun({"x": 0}, square, overrides=["x=1"], cache=True, version=2)
    assert CALLED == [1, 2, 3, 1, 1], "another version"
    failed = [multirun({"x": 2}, fails_at_two, cache=True)[0] for _ in range(2)]
    assert [job.from_store for job in failed] == [False, False], "a failure is tried again"


class Opaque:
    pass


def test_any_value_comes_back_and_what_is_not_kept_is_said() -> None:
    job = run({"x": 1}, lambda cfg: Opaque())
    assert isinstance(job.return_value, Opaque) and "cannot keep" in job.note and "Opaque" in job.note
    record = Store(default()).get(job.fingerprint)
    assert record is not None and record.status == "ok" and record.reasons == (job.note,)
    with pytest.warns(NotKeptWarning, match=r"will be called again: .*Opaque") as warned:
        multirun({"x": 1}, lambda cfg: Opaque(), cache=True)
    assert_points_at_the_line_above(warned)


def assert_points_at_the_line_above(warned: pytest.WarningsRecorder) -> None:
    (one,) = warned
    assert (one.filename, one.lineno) == (__file__, sys._getframe(1).f_lineno - 1)


def test_what_a_job_knows() -> None:
    def ask(cfg: Any) -> str:
        own = HydraConfig.get()
        assert own.runtime.output_dir.endswith(f"/{own.job.num}") and own.overrides.task == [f"x={cfg.x}"]
        return str(own.job.config_name)

    first, second = multirun({"x": 1}, ask, overrides=["x=1,2"], name="my sweep")
    assert first.return_value.startswith("sweepflow_")
    assert (first.hydra_cfg.hydra.job.num, second.hydra_cfg.hydra.job.num) == (0, 1)
    assert list(second.hydra_cfg.hydra.overrides.task) == ["x=2"]
    folder = Path(second.working_dir)
    assert folder.is_dir() and folder.name == "1" and folder.parent == Path(first.working_dir).parent
    assert folder.parent.parent == default() / "sweeps" / "my sweep" / "jobs"
    assert not HydraConfig.initialized(), "as it was before"


def leaves_a_file(cfg: Any) -> str:
    file = Path(HydraConfig.get().runtime.output_dir) / "file"
    with file.open("x") as new:
        new.write(cfg.text)
    note(cfg.text)
    return str(file)


def test_no_call_writes_into_the_folder_of_another() -> None:
    sweep = partial(multirun, task_function=leaves_a_file, overrides=["x=1,2"])
    calls = [sweep({"x": 0, "text": "a"}), sweep({"x": 0, "text": "b"}), sweep({"x": 0, "text": "b"})]
    calls += [sweep({"x": 0, "text": text}, name="mine", cache=True) for text in "ccd"]
    assert [*"aabbbbccdd"] == CALLED
    files = [job.return_value for jobs in calls for job in jobs]
    assert len(set(files)) == 10
    # What the store serves has the folder of the call that it is of.
    assert all(job.from_store for job in calls[4])
    assert [job.working_dir for job in calls[4]] == [job.working_dir for job in calls[3]]
    for jobs, text in zip(calls, "abbccd", strict=True):
        for job in jobs:
            assert Path(job.return_value).parent == Path(job.working_dir)
            assert Path(job.return_value).read_text() == text


def test_jobs_that_leave_nothing_leave_no_folder() -> None:
    jobs = multirun({"x": 0}, square, ["x=range(0,20)"], name="many")
    assert not (default() / "sweeps" / "many").exists()
    assert len({job.working_dir for job in jobs}) == 20


def test_what_hydra_says_of_the_outer_job_it_says_after_inner_ones() -> None:
    def inner(cfg: Any) -> int:
        assert HydraConfig.get().overrides.task == [f"z={cfg.z}"]
        return 1 // (cfg.z - 1)

    def outer(cfg: Any) -> list[Any]:
        said = [list(HydraConfig.get().overrides.task)]
        jobs = multirun({"z": 0}, inner, ["z=1,2,3"])
        said.append(list(HydraConfig.get().overrides.task))
        with pytest.raises(ZeroDivisionError):
            run({"z": 0}, inner, ["z=1"])
        said.append(list(HydraConfig.get().overrides.task))
        return [said, [job.status for job in jobs]]

    for job in multirun({"x": 0}, outer, ["x=1,2"]):
        assert job.return_value == [[[f"x={job.cfg.x}"]] * 3, ["failed", "ok", "ok"]]
    assert not HydraConfig.initialized()


def test_sweeps_in_threads_at_once_have_their_own() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def says(cfg: Any) -> list[str]:
        both.wait()
        told = list(HydraConfig.get().overrides.task)
        both.wait()
        return told

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda key: multirun({key: 0}, says, [f"{key}=1,2,3"]), "ab"))
    for jobs in found:
        assert [job.return_value for job in jobs] == [list(job.overrides) for job in jobs]
    assert not HydraConfig.initialized()


def test_in_a_running_event_loop() -> None:
    async def notebook() -> list[Any]:
        return values(multirun({"x": 0}, square, overrides=["x=1,2"]))

    assert asyncio.run(notebook()) == [1, 4]


class Downhill:
    """Halves the interval, on the side of the better end."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, float]] = []

    def begin(self, space: Mapping[str, Distribution], goal: str) -> None:
        assert goal == "minimize"
        assert space.keys() == {"x"}
        assert space["x"].bounds is not None
        self.low, self.high = space["x"].bounds

    def ask(self, n: int) -> list[list[str]]:
        assert n == 1
        if self.high - self.low < 0.01:
            return []
        return [[f"x={x!r}"] for x in (self.low, self.high)]

    def tell(self, job: Job, score: float) -> None:
        self.told.append((job.params["x"], score))
        if len(self.told) % 2 == 0:
            (low, at_low), (high, at_high) = self.told[-2:]
            middle = (low + high) / 2
            self.low, self.high = (low, middle) if at_low < at_high else (middle, high)


def parabola(cfg: Any) -> float:
    return float((cfg.x - 1) ** 2 + cfg.offset)


def test_a_sweeper_of_ones_own() -> None:
    mine = Downhill()
    jobs = multirun(
        {"x": 0.0, "offset": 0.0}, parabola, overrides=["x=interval(-4,8)", "offset=2"], sweeper=mine
    )
    assert jobs.best is not None
    assert abs(jobs.best.params["x"] - 1) < 0.01
    assert jobs.best.score == min(values(jobs)) >= 2
    assert jobs.best.cfg.offset == 2
    assert mine.told == [(job.params["x"], job.return_value) for job in jobs], "in the order of asking"


def test_a_random_search() -> None:
    search = partial(multirun, {"x": 1, "y": 12}, overrides=["x=interval(-12, 12)", "y=interval(-12, 12)"])
    jobs = search(lambda cfg: (cfg.x - 2) ** 2 + (cfg.y + 3) ** 2 + 12, sweeper=Random(10))
    assert len(jobs) == 10
    assert all(set(job.params) == {"x", "y"} for job in jobs)
    assert jobs.best is not None
    assert jobs.best.score == min(values(jobs))
    most = search(lambda cfg: {"gain": cfg.x}, sweeper=Random(10), score=lambda v: v["gain"], goal="maximize")
    assert most.best is not None
    assert most.best.score == max(job.params["x"] for job in jobs)


def test_several_at_once_may_share_a_call_and_a_key_may_be_added() -> None:
    jobs = multirun(
        {"x": 0.0}, wave_of_two, ["x=interval(0,1)", "+rate=interval(1,2)"], sweeper=Random(10), at_once=4,
        vectorize=True,
    )  # fmt: skip
    assert len(jobs) == 10 and len(CALLED) == 3
    assert set(jobs.batched) == {"x", "rate"}
    assert all(job.score == pytest.approx(job.params["x"] * job.params["rate"]) for job in jobs)
    with pytest.raises(ConfigError, match=r"too few(.|\n)*at_once=0"):
        multirun({"x": 0.0}, parabola, ["x=interval(0,1)"], sweeper=Random(10), at_once=0)


def wave_of_two(cfg: Any) -> Any:
    note(cfg.x)
    return cfg.x * cfg.rate


def test_a_search_that_ends_by_an_error_tells_its_sweeper() -> None:
    mine = Downhill()
    with pytest.raises(ZeroDivisionError):
        multirun(
            {"x": 0.0}, lambda cfg: 1 / 0, overrides=["x=interval(-4,8)"], sweeper=mine, on_error="raise"
        )
    assert [x for x, _ in mine.told] == [-4.0, 8.0] and all(math.isnan(score) for _, score in mine.told)


def test_what_is_no_score_is_said_and_the_search_goes_on() -> None:
    sweep = partial(multirun, {"x": 0}, lambda cfg: None if cfg.x == 2 else cfg.x, sweeper=Random(12))
    with pytest.warns(NoScoreWarning, match=r"job \d \(x=.*has no score: TypeError(.|\n)*score=") as warned:
        jobs = sweep(overrides=["x=1,2,3"])
    assert_points_at_the_line_above(warned)
    assert len(jobs) == 3 and jobs.best is not None
    assert jobs.best.params == {"x": 1}


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("raised", "said"), [(WordlessError(), "WordlessError"), (SystemExit(3), "sys.exit(3)")]
)
def test_an_odd_exception_is_a_failed_job(raised: BaseException, said: str) -> None:
    def odd(cfg: Any) -> int:
        if cfg.x == 1:
            raise raised
        return square(cfg)

    jobs = multirun({"x": 0}, odd, ["x=1,2"])
    assert [job.status for job in jobs] == ["failed", "ok"]
    assert said in str(jobs) and "raise raised" in jobs[0].traceback
    record = Store(default()).get(jobs[0].fingerprint)
    assert record is not None and said in record.reasons[0]


def test_a_record_has_the_configuration_as_it_was_given() -> None:
    def changes(cfg: Any) -> int:
        cfg.x *= 10
        return square(cfg)

    (job,) = multirun({"x": 0}, changes, ["x=3"])
    record = Store(default()).get(job.fingerprint)
    assert record is not None and record.config["config"] == {"x": 3} and job.return_value == 900


async def waits(cfg: Any) -> int:
    return square(cfg)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"overrides": ["x=1,2", "runner=dask"]}, r"runner=\['runner=dask'\]"),
        ({"overrides": "x=1,2"}, "list of texts"),
        ({"overrides": {"x": [1, 2]}}, "list of texts"),
        ({"overrides": [5]}, "list of texts"),
        ({"goal": "max"}, "minimize or maximize"),
        ({"sweeper": Random}, "no sweeper"),
        ({"name": "../../x"}, "name of a folder"),
        ({"name": ""}, "name of a folder"),
        ({"name": "a" * 300}, "name of a folder"),
        ({"sweeper": object()}, "no sweeper"),
        ({"task_function": waits}, "asyncio.run"),
        ({"runner": ["runner.workers=2"]}, "not which"),
        ({"config": {"x": 1, "f": [{"_target_": "no.such.thing"}]}}, r"_target_: no\.such\.thing"),
    ],
)
def test_bad_arguments_are_refused_before_any_call(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        multirun(**{"config": {"x": 0}, "task_function": square, **given})
    assert CALLED == []


def test_a_failed_job_has_no_score() -> None:
    jobs = multirun({"x": 0}, fails_at_two, overrides=["x=1,2,3"], sweeper=Random(12))
    assert {job.status for job in jobs} == {"ok", "failed"}
    assert all(math.isnan(job.score or 0.0) == (job.status == "failed") for job in jobs)
    assert jobs.best is not None
    assert jobs.best.params == {"x": 1}


def wave(cfg: Any) -> Any:
    note(cfg.x)
    return {"height": jnp.sin(cfg.x) * cfg.rate, "curve": cfg.x * jnp.arange(3.0)}


def test_numbers_share_a_call(prefect: Any) -> None:
    sweep = partial(multirun, {"x": 0.0, "rate": 1.0}, wave, overrides=["x=0.5,1.0,2.5", "rate=1.0,0.1"])
    jobs = sweep(vectorize=True, cache=True)
    assert len(CALLED) == 1
    assert jobs.batched == ("x", "rate")
    assert prefect.see().names() == ["batched jobs"]
    for job, alone in zip(jobs, sweep(), strict=True):
        np.testing.assert_allclose(job.return_value["height"], alone.return_value["height"], rtol=1e-6)
        assert job.return_value["curve"].shape == (3,)
    again = sweep(vectorize=True, cache=True)
    assert all(job.from_store for job in again)
    assert len(CALLED) == 1 + 6
    with pytest.warns(NotBatchedWarning, match=r"2 jobs .* one by one: .*over x.*; use jnp.where") as warned:
        apart = multirun({"x": 0}, fails_at_two, overrides=["x=1,2"], vectorize=True)
    assert_points_at_the_line_above(warned)
    assert [job.status for job in apart] == ["ok", "failed"] and apart.batched == ()
    with (
        pytest.warns(NotBatchedWarning, match="raises in a call of several jobs: ValueError: two"),
        pytest.raises(ValueError, match="two is too many"),
    ):
        multirun({"x": 2, "y": 0}, fails_at_two, overrides=["y=1,2"], vectorize=True, on_error="raise")
    with pytest.raises(ConfigError, match="nothing to batch"):
        multirun({"x": 0}, square, overrides=["x=1,2"], vectorize=True, sweeper=Random(2))


def test_many_jobs_are_few_task_runs(prefect: Any) -> None:
    jobs = multirun({"x": 0}, square, overrides=["x=range(0,300)"])
    assert values(jobs) == [x**2 for x in range(300)]
    assert prefect.see().names() == ["jobs from 0"]
    assert str(jobs).endswith("and 250 more") and "and 250 more" in jobs._repr_html_()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: run({"x": 1}, square, overrides=["x=1,2"]),
            ["run calls the function once", "2 jobs", "multirun"],
        ),
        (lambda: multirun({"x": 1}, square, overrides=["y=1"]), ["no key 'y'", "x"]),
        (lambda: multirun({"x": 1}, 3), ["something to call", "3 (int)"]),
        (lambda: multirun({"x": 1}, square, on_error="ignore"), ["on_error", "keep or raise"]),
        (lambda: multirun({"x": 1}, square, max_failures=-1), ["max_failures", "-1", "0 for any"]),
        (lambda: multirun({"x": 1}, square, max_failures=True), ["max_failures", "True", "0 for any"]),
        (lambda: multirun(3, square), ["cannot be the configuration of a job"]),
    ],
    ids=["sweep", "key", "function", "on_error", "negative", "truth", "config"],
)
def test_what_is_refused_before_any_call(call: Any, said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        call()
    for words in said:
        assert words in str(error.value)
    assert CALLED == []
