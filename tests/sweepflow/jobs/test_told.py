"""What Hydra says within a job, whatever else is called, and in which thread."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from sweepflow.errors import ConfigError
from sweepflow.jobs.told import told
from tests.slurm.processes import PATIENCE


def named(name: str) -> DictConfig:
    return DictConfig({"hydra": {"job": {"name": name}}})


def says() -> str:
    return str(HydraConfig.get().job.name)


@given(st.recursive(st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=12))
def test_after_an_inner_job_it_is_the_outer_one(tree: Any) -> None:
    """Jobs call jobs, as the tree has them; those that are True raise."""

    def call(jobs: Any, name: str) -> None:
        with told(named(name)):
            assert says() == name
            for number, inner in enumerate(jobs if isinstance(jobs, list) else []):
                if inner is True:
                    with pytest.raises(ZeroDivisionError), told(named("raises")):
                        _ = 1 // 0
                else:
                    call(inner, f"{name}.{number}")
                assert says() == name

    call(tree, "outer")
    assert not HydraConfig.initialized()


def test_it_is_each_threads_own() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def call(name: str) -> list[str]:
        said = []
        for _ in range(20):
            both.wait()
            with told(named(name)):
                both.wait()
                said.append(says())
                both.wait() if name == "a" else None
                said.append(says())
            both.wait() if name == "b" else None  # they end in turns, and at once
        return said

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(call, "ab"))
    assert found == [["a"] * 40, ["b"] * 40]
    assert not HydraConfig.initialized()


def test_a_thread_of_a_job_hears_its_job_or_that_it_cannot_be_known() -> None:
    with ThreadPoolExecutor(1) as pool, told(named("outer")), told(named("inner")):
        assert pool.submit(says).result() == "inner"
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as other:

            def another() -> None:
                with told(named("another")):
                    with pytest.raises(ConfigError, match=r"several sweeps(.|\n)*copy_context"):
                        pool.submit(says).result()
                    assert pool.submit(context.run, says).result() == "inner"

            other.submit(another).result()


def test_what_a_program_of_hydras_has_is_back_afterwards() -> None:
    theirs: Any = named("theirs")
    HydraConfig.instance().cfg = theirs
    try:
        with told(named("job")):
            mine: Any = named("the user's own, in the job")
            HydraConfig.instance().cfg = mine
            with told(named("inner")):
                assert says() == "inner"
            assert HydraConfig.instance().cfg is mine
        assert HydraConfig.instance().cfg is theirs
    finally:
        HydraConfig.instance().cfg = None
