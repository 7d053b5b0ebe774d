"""Settings of every test: JAX as sweepflow uses it, with strict dtypes and a compilation cache of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from sweepflow.engine.devices import configure
from sweepflow.storage.store import Store

pytest_plugins = ["tests.prefect_server", "tests.postgres", "tests.slurm.fixture"]

CACHE = "JAX_COMPILATION_CACHE_DIR"
WORTH = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_session: list[str] = []
_reruns: list[tuple[str, str]] = []
"""Tests that were run again, and the error of the first time."""


# The same examples in every run, and no time limit on one: the machine may be busy.
hypothesis.settings.register_profile("sweepflow", derandomize=True, deadline=None)
hypothesis.settings.load_profile("sweepflow")


def pytest_configure(config: pytest.Config) -> None:
    # A user's cache would hide compilations from the tests that count them. Processes that a test
    # starts, and workers of a parallel run, share this one through the environment.
    if not hasattr(config, "workerinput"):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="sweepflow tests ")
        # JAX's own is a second, and few of the tests' programs take one.
        os.environ[WORTH] = "0.2"
        # As flows/__init__.py says, for tests that import Prefect first.
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
        _session.append(os.environ[CACHE])
    configure()
    import jax

    jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(os.environ[WORTH]))
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: nobody waits for them at the end.
    items.sort(key=lambda item: "documented_examples" not in item.nodeid)
    # Real servers on a busy machine: two more tries. The summary names each test that needed one, and why:
    # a cause that is seen there is to be mended.
    for item in items:
        if item.get_closest_marker("server") or item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.flaky(reruns=2))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.outcome == "rerun":
        _reruns.append((report.nodeid, str(report.longreprtext).strip().splitlines()[-1]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{len(_reruns)} tests were run again")
    for test, cause in _reruns:
        terminalreporter.write_line(f"  {test}: {cause}")


def pytest_unconfigure() -> None:
    while _session:
        shutil.rmtree(_session.pop(), ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, at a path with a space and a quote in it."""
    return Store(tmp_path / "a researcher's store")


@pytest.fixture(autouse=True)
def _no_module_of_a_test_outlives_it(request: pytest.FixtureRequest) -> Iterator[None]:
    """What was imported from a test's directory is forgotten: another test may have a file of that name."""
    mine = str(request.getfixturevalue("tmp_path")) if "tmp_path" in request.fixturenames else None
    yield
    if mine is not None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(mine):
                del sys.modules[name]
