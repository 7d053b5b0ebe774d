"""Jobs of a Python callable on workers in other processes: what comes back, and what the store has."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from pydantic import BaseModel

from sweepflow import multirun, run
from sweepflow.errors import ConfigError
from sweepflow.jobs.sent import CallError, NotCalledError
from sweepflow.jobs.sweepers import Sobol
from sweepflow.schema.runner import DaskRunner, SlurmRunner
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import TooManyFailuresError

pytestmark = [pytest.mark.server, pytest.mark.slow]

TWO = ["runner=dask", "runner.workers=2"]


@pytest.fixture(autouse=True)
def kept(prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the test, where none is named."""
    root = tmp_path / "a researcher's store"
    monkeypatch.setenv("SWEEPFLOW_STORE", str(root))
    yield Store(root)
    calls = list((root / "calls").rglob("*")) if root.exists() else []
    assert not [path for path in calls if path.is_file()], "nothing is left of what was on its way"


class Config(BaseModel):
    x: int
    kind: str = "number"


class Odd:
    """What JSON and arrays cannot hold."""

    def __init__(self, x: int, pid: int) -> None:
        self.x, self.pid = x, pid


class TalkativeError(Exception):
    """Cannot be read back: it wants two arguments."""

    def __init__(self, x: int, why: str) -> None:
        super().__init__(f"{x} is {why}")


def of_any_kind(cfg: Config) -> Any:
    match cfg.kind:
        case "odd":
            return Odd(cfg.x, os.getpid())
        case "lock":
            return threading.Lock()
        case "raises":
            raise TalkativeError(cfg.x, "too many")
        case "hydra":
            return HydraConfig.get().job.name
        case "array":
            return {"of jax": jnp.arange(cfg.x), "of numpy": np.arange(cfg.x)}
    return cfg.x


def test_what_jobs_give_comes_back(kept: Store, prefect: Any) -> None:
    kinds = ["number", "odd", "lock", "raises", "hydra", "array"]
    jobs = multirun(Config, of_any_kind, ["x=3", f"kind={','.join(kinds)}"], runner=TWO)
    number, odd, lock, raises, hydra, array = jobs
    assert [job.status for job in jobs] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    assert number.return_value == 3 and number.note == "" and number.duration > 0
    assert isinstance(odd.return_value, Odd) and odd.return_value.x == 3
    assert odd.return_value.pid != os.getpid()
    assert "cannot keep" in odd.note and "Odd" in odd.note
    with pytest.raises(CallError, match="cannot be pickled: lock"):
        _ = lock.return_value
    with pytest.raises(CallError, match="TalkativeError: 3 is too many"):
        _ = raises.return_value
    assert "raise TalkativeError(cfg.x" in raises.traceback
    assert hydra.return_value == "of_any_kind"
    assert isinstance(array.return_value["of jax"], jnp.ndarray)
    assert isinstance(array.return_value["of numpy"], np.ndarray)
    records = {job.params["kind"]: kept.get(job.fingerprint) for job in jobs}
    assert {kind: record and record.status for kind, record in records.items()} == {
        job.params["kind"]: job.status for job in jobs
    }
    # The same jobs in this process are those that the workers have done, where their values can be kept.
    again = multirun(Config, of_any_kind, ["x=3", "kind=number,array"], cache=True)
    assert all(job.from_store for job in again)
    seen = prefect.see()
    assert seen.run.state.is_completed()


def test_what_is_known_is_not_called_and_wants_no_workers(kept: Store, prefect: Any, tmp_path: Path) -> None:
    log = tmp_path / "called"

    def logged(cfg: Any) -> int:
        with log.open("a") as file:
            file.write(f"{cfg.x}\n")
        return int(cfg.x) + offset

    offset = 10
    first = multirun({"x": 0}, logged, ["x=1,2"], cache=True)
    jobs = multirun({"x": 0}, logged, ["x=range(1,5)"], cache=True, runner=TWO)
    assert [job.return_value for job in jobs] == [11, 12, 13, 14]
    assert [job.from_store for job in jobs] == [True, True, False, False]
    assert [job.fingerprint for job in first] == [job.fingerprint for job in jobs[:2]]
    assert sorted(log.read_text().split()) == ["1", "2", "3", "4"]
    again = multirun({"x": 0}, logged, ["x=range(1,5)"], cache=True, runner=TWO)
    assert all(job.from_store for job in again) and prefect.see().tasks == []
    assert sorted(log.read_text().split()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(("workers", "rounds"), [(1, [1, 1, 1]), (2, [2, 2])])
def test_a_sweeper_asks_for_as_many_as_there_are_workers(workers: int, rounds: list[int]) -> None:
    asked: list[int] = []

    class Watched(Sobol):
        def ask(self, n: int) -> Any:
            asked.append(n)
            return super().ask(n)

    runner = DaskRunner(workers=workers)
    jobs = multirun(
        {"x": 0.0}, lambda cfg: (cfg.x - 1) ** 2, ["x=interval(-4,4)"], sweeper=Watched(2), runner=runner
    )
    assert asked == rounds
    assert len(jobs) == 2 and jobs.best is not None
    assert [job.score for job in jobs] == [(job.params["x"] - 1) ** 2 for job in jobs]


def test_one_that_ends_its_worker_is_found_and_the_first_error_is_raised() -> None:
    def deadly(cfg: Any) -> int:
        if cfg.x == 1:
            os._exit(3)
        return int(cfg.x)

    jobs = multirun({"x": 0}, deadly, ["x=0,1,2"], runner=TWO)
    assert [job.status for job in jobs] == ["ok", "failed", "ok"]
    with pytest.raises(NotCalledError, match="ended its worker"):
        _ = jobs[1].return_value
    with pytest.raises(ZeroDivisionError):
        run({"x": 0}, lambda cfg: 1 / cfg.x, runner=TWO)


class Given:
    """Asks for numbers in their order, all at once."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers, self.scores = list(numbers), list[float]()

    def begin(self, space: Any, goal: str) -> None: ...

    def ask(self, n: int) -> list[list[str]]:
        asked, self.numbers = self.numbers[:n], self.numbers[n:]
        return [[f"x={x}"] for x in asked]

    def tell(self, job: Any, score: float) -> None:
        self.scores.append(score)


def test_a_sweep_that_only_fails_is_ended_and_has_what_was_done(kept: Store, prefect: Any) -> None:
    def no_five(cfg: Any) -> Any:
        if cfg.x > 5:
            raise ValueError(f"{cfg.x} is more than five")
        return cfg.x

    runner = DaskRunner(workers=1, batch_size=1)
    sweeper = Given(range(4, 40))
    with pytest.raises(TooManyFailuresError, match=r"in a row failed alike(.|\n)*is more than five"):
        multirun(
            {"x": 0}, no_five, ["x=range(0,40)"], sweeper=sweeper, at_once=36, runner=runner, max_failures=3
        )
    assert sweeper.scores[:2] == [4, 5] and all(math.isnan(score) for score in sweeper.scores[2:])
    assert len(sweeper.scores) == 36, "those that were not called, too"
    assert 3 <= len([r for r in kept.records("job") if r.status == "failed"]) < 10
    assert prefect.see().run.state.is_failed()


class Elsewhere:
    """Of a module that workers do not have."""

    def __reduce__(self) -> Any:
        return __import__, ("no_such_module_of_mine",)

    def __call__(self, cfg: Any) -> None: ...


def test_a_flow_whose_batches_fail_has_failed(prefect: Any) -> None:
    jobs = multirun({"x": 0}, Elsewhere(), ["x=1,2"], runner=DaskRunner(workers=1, batch_size=1))
    for number, job in enumerate(jobs, 1):
        with pytest.raises(
            NotCalledError, match=f"batch {number} of 2(.|\n)*no_such_module_of_mine"
        ) as caught:
            _ = job.return_value
        assert "of 2" in str(caught.value) and f"batch {3 - number}" not in str(caught.value)
    assert prefect.see().run.state.is_failed()


def test_what_cannot_be_sent_is_refused_before_anything_is_started(prefect: Any) -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"lambda.* cannot be sent(.|\n)*within the function"):
        multirun({"x": 0}, lambda cfg: lock.locked(), ["x=1,2"], runner="dask")
    with pytest.raises(ConfigError, match=r"runner\.wrokers(.|\n)*runner\.workers"):
        multirun({"x": 0}, of_any_kind, ["x=1,2"], runner=["runner=dask", "runner.wrokers=2"])
    with pytest.raises(ConfigError, match=r"no option 'dusk'(.|\n)*dask"):
        multirun({"x": 0}, of_any_kind, ["x=1,2"], runner="dusk")
    with pytest.raises(ConfigError, match="takes one runner"):
        multirun({"x": 0}, of_any_kind, ["x=1,2"], runner=["runner=dask", "x=2"])
    with pytest.raises(ConfigError, match="vmapped call is made in this process"):
        multirun({"x": 0}, of_any_kind, ["x=1,2"], runner="dask", vectorize=True)


@pytest.mark.slurm
def test_on_slurm(slurm: Any, kept: Store) -> None:
    runner = SlurmRunner(interface="lo", memory="256MB", jobs=2)
    jobs = multirun(
        {"x": 0}, lambda cfg: (cfg.x**2, os.environ["SLURM_JOB_ID"]), ["x=range(0,4)"], runner=runner
    )
    assert [job.return_value[0] for job in jobs] == [0, 1, 4, 9]
    assert all(job.return_value[1].isdigit() for job in jobs)
