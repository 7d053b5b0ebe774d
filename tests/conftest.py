"""Settings of every test: JAX as sweepflow uses it, with strict dtypes and a compilation cache of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import pytest

from sweepflow.engine.devices import configure
from sweepflow.store.store import Store

pytest_plugins = ["tests.prefect_server", "tests.slurm.fixture"]

CACHE = "JAX_COMPILATION_CACHE_DIR"
_session: list[str] = []


# The same examples in every run, and no time limit on one: the machine may be busy.
hypothesis.settings.register_profile("sweepflow", derandomize=True, deadline=None)
hypothesis.settings.load_profile("sweepflow")


def pytest_configure(config: pytest.Config) -> None:
    # A user's cache would hide compilations from the tests that count them. Processes that a test
    # starts, and workers of a parallel run, share this one through the environment.
    if not hasattr(config, "workerinput"):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="sweepflow tests ")
        _session.append(os.environ[CACHE])
    configure()
    import jax

    jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = dealt(sorted(items, key=place), workers)
    # Real servers on a busy machine: two more tries, which the summary counts, and a failure in all is one.
    for item in items:
        if _has_servers(item):
            item.add_marker(pytest.mark.flaky(reruns=2))


def place(item: pytest.Item) -> int:
    """Where a test comes: the longest first, so that nobody waits for them at the end."""
    if "documented_examples" in item.nodeid:
        return 0
    return 1 if _has_servers(item) else 2


def _has_servers(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("server", "slurm"))


def dealt(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Tests in the order in which each worker of a parallel run has its share of the long ones first.

    Of a list, `--dist worksteal` gives each worker one piece, all of a length, and one that is done takes
    from the ends of the others'.

    Args:
        items: The tests, the longest first.
        workers: That they are shared out among.
    """
    long = sum(place(item) < 2 for item in items)
    rest, order = list(items[long:]), []
    for worker in range(workers):
        heads = items[worker:long:workers]
        length = (len(items) - len(order)) // (workers - worker)
        taken = max(0, length - len(heads))
        order += [*heads, *rest[:taken]]
        del rest[:taken]
    return order + rest


def pytest_unconfigure() -> None:
    while _session:
        shutil.rmtree(_session.pop(), ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, at a path with a space and a quote in it."""
    return Store(tmp_path / "a researcher's store")
