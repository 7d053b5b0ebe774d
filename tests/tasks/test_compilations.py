"""Programs that a batch compiles, and programs that it finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from sweepflow.tasks.compilations import Compilations


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[None]:
    """A compilation cache of the test's own, that keeps small programs too."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    from jax.experimental.compilation_cache import compilation_cache

    for name, value in zip(names, (str(tmp_path), 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def program(number: int) -> None:
    jax.jit(lambda x: jnp.sin(x) * number)(jnp.ones(3)).block_until_ready()


@pytest.mark.usefixtures("cache")
def test_a_program_is_compiled_once_and_then_found() -> None:
    jnp.ones(3)
    with Compilations() as first:
        program(31)
    assert (first.compiled, first.from_cache) == (1, 0)
    with Compilations() as second:
        program(31)  # another function of the same text: JAX has forgotten it, the cache has not
    assert (second.compiled, second.from_cache) == (0, 1)


@pytest.mark.usefixtures("cache")
def test_another_thread_s_programs_are_not_counted() -> None:
    jnp.ones(3)
    with Compilations() as here:
        thread = threading.Thread(target=program, args=(32,))
        thread.start()
        thread.join()
    assert (here.compiled, here.from_cache) == (0, 0)


@pytest.mark.usefixtures("cache")
def test_nothing_is_counted_after_the_end() -> None:
    with Compilations() as ended:
        pass
    program(33)
    assert (ended.compiled, ended.from_cache) == (0, 0)
