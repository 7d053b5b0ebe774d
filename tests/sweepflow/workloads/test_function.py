"""A user's own workload, from a module file at a path with a space in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from sweepflow.engine.workload import Workload
from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store
from sweepflow.workloads.load import load_workload

from .conftest import BOWL, HEAD, PLAIN, run


@pytest.mark.slow
def test_from_a_file_to_its_records(
    module: Callable[..., str], store: Store, compilations: list[str]
) -> None:
    path = module(BOWL)
    workload = load_workload(path)
    assert load_workload(path) is workload
    config_type, calls = workload.config_type, sys.modules[Path(path).stem].CALLS
    assert (workload.metric(config_type()), dict(workload.goals), workload.seed_key) == (
        "height",
        {"height": "maximize"},
        "seed",
    )
    asked = [config_type(x=x, count=count, seed=seed) for x, count, seed in ((0.5, 5, 0), (0.1, -4, 1))]
    first, second = run(workload, asked, store)
    assert calls == [(0, 4)] * 2, "once a seed, which inputs() may depend on"
    assert workload.dataset(asked[0]) == workload.dataset(asked[1]), "and does not here"
    assert first.status == second.status == "ok"
    assert first.figures["height"] == pytest.approx(0.75, rel=1e-6)
    assert (first.figures["halved"], second.figures["halved"]) == (2, -2)
    assert (first.figures["is_even"], second.figures["is_even"]) == (False, True)
    assert isinstance(first.figures["halved"], int) and isinstance(first.figures["is_even"], bool)
    assert first.figures["drawn"] != second.figures["drawn"]
    assert first.config == asked[0].model_dump(mode="json")
    arrays = store.arrays(first.id)
    assert set(arrays) == {"curve.steps", "table"}
    np.testing.assert_allclose(arrays["curve.steps"], [0.5, 1.5, 2.5, 3.5])
    assert arrays["table"].shape == (4, 4)
    assert len(compilations) == 1

    more = [config_type(x=0.01 * i, count=i, inner={"slope": i}) for i in range(2)]
    slopes = run(workload, more, store)
    assert len(compilations) == 1
    np.testing.assert_allclose(store.arrays(slopes[1].id)["curve.steps"], np.arange(4) + 0.01, rtol=1e-6)


@pytest.mark.slow
def test_distinct_inputs_in_one_batch(module: Callable[..., str], store: Store) -> None:
    path = module(BOWL)
    workload = load_workload(path)
    calls = sys.modules[Path(path).stem].CALLS
    asked = [workload.config_type(rows=rows, x=x) for rows in (3, 1, 3) for x in (0.1, 0.2)]
    asked = list(dict.fromkeys(asked))
    records = run(workload, asked, store, datasets=3)
    assert [record.figures["row_sum"] for record in records] == [14, 14, 6, 6]
    assert calls == [(3, 4), (1, 4)]
    digests = [workload.dataset(config) for config in asked]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_a_result_that_is_not_finite(module: Callable[..., str], store: Store) -> None:
    text = HEAD + (
        "class Config(Base):\n    x: Traced[float] = 1.0\n"
        "def run(config, inputs, key):\n"
        "    curve = jnp.log(config.x - jnp.arange(4))\n"
        "    return {'loss': curve[-1], 'x': config.x, 'losses': curve, 'fine': jnp.ones(2)}\n"
    )
    workload = load_workload(module(text))
    assert workload.seed_key is None and not workload.goals
    fine, lost = run(workload, [workload.config_type(x=9.0), workload.config_type(x=1.5)], store)
    assert fine.status == "ok" and fine.reasons == ()
    assert lost.status == "diverged"
    assert lost.reasons == ("loss is not finite", "curve.losses is not finite from point 2")
    assert lost.figures == {"loss": None, "x": 1.5}


def test_what_run_and_inputs_may_not_read(module: Callable[..., str], store: Store) -> None:
    for field in ("seed", "rows", "where"):
        workload = load_workload(module(BOWL.replace("jnp.sqrt(1 - config.x)", f"config.x + config.{field}")))
        with pytest.raises(ConfigError, match=rf"AttributeError.*{field}"):
            run(workload, [workload.config_type()], store)
    for field in ("x", "count", "inner.slope"):
        workload = load_workload(module(BOWL.replace("(config.rows, config.points)", f"config.{field}")))
        with pytest.raises(ConfigError, match=rf"AttributeError.*{field.rpartition('.')[2]}"):
            workload.dataset(workload.config_type())


def test_dtype(module: Callable[..., str], store: Store) -> None:
    text = (
        'DTYPE = "float64"\n'
        + HEAD
        + (
            "class Config(Base):\n    x: Traced[float] = 0.1\n"
            "def run(config, inputs, key):\n    return {'loss': config.x}\n"
        )
    )
    workload = load_workload(module(text))
    assert run(workload, [workload.config_type()], store)[0].figures == {"loss": 0.1}
    assert workload.metric(workload.config_type()) == "loss"


@pytest.mark.parametrize(
    ("numbers", "programs"),
    [("int | float", 1), ("Any", 2), ("Literal[1, 2.5, 0.5]", 2), ("PositiveFloat | PositiveInt", 1)],
)
def test_a_whole_number_cuts_no_other_number(
    numbers: str, programs: int, module: Callable[..., str], store: Store
) -> None:
    """A lane depends on its program's key alone, whichever trial it is compiled for."""
    text = (
        HEAD
        + "from typing import Any, Literal\nfrom pydantic import PositiveFloat\n"
        + f"class Config(Base):\n    x: Traced[{numbers}] = 1\n"
        + "def run(config, inputs, key):\n    return {'loss': 2 * config.x}\n"
    )
    workload = load_workload(module(text))
    asked = [workload.config_type(x=x) for x in (1, 0.5, 2.5)]
    found = [run(workload, [config], store, size=2)[0].figures["loss"] for config in asked]
    assert found == [2, 1, 5]
    assert len({workload.run.program_key(config) for config in asked}) == programs


def test_figures_are_known_before_any_work(module: Callable[..., str], compilations: list[str]) -> None:
    workload = load_workload(module(BOWL))
    found = workload.figures(workload.config_type())
    assert set(found) == {"height", "halved", "is_even", "row_sum", "drawn", "root"}
    assert compilations == []


@pytest.mark.parametrize("returned", ["config.x", "[config.x]", "None", "{}"])
def test_a_run_that_returns_no_dict_is_refused_before_any_work(
    returned: str, module: Callable[..., str]
) -> None:
    workload = load_workload(module(HEAD + PLAIN + f"    return {returned}\n"))
    with pytest.raises(ConfigError, match=r"returns no arrays by name\n.*got:.*\n.*allowed:.*\n.*do:"):
        workload.figures(workload.config_type())


def test_a_run_without_a_scalar_is_refused_before_any_work(module: Callable[..., str]) -> None:
    workload = load_workload(module(HEAD + PLAIN + "    return {'curve': jnp.ones(3)}\n"))
    with pytest.raises(ConfigError, match=r"returns no figure.*\n.*curve of shape \(3,\)\n.*\n.*do:"):
        workload.figures(workload.config_type())


RAISING: list[tuple[str, str]] = [
    ("    if config.x > 0:\n        return {'loss': config.x}\n", "line 11: if config.x > 0:: TracerBool"),
    ("    return {'loss': confg.x}\n", "line 11: return {'loss': confg.x}: NameError: name 'confg'"),
    (
        "    return {'loss': jnp.ones(3) @ jnp.ones(4)}\n",
        "line 11: return {'loss': jnp.ones(3) @ jnp.ones(4)}:",
    ),
    ("    return {'loss': config.seed}\n", "line 11: return {'loss': config.seed}: AttributeError"),
    ("    return {'loss': 'low'}\n", "got:     TypeError"),
    (
        "    return {'loss': config.x}\ndef inputs(config):\n    return open('none')\n",
        "line 13: return open('none')",
    ),
]


@pytest.mark.parametrize(("body", "got"), RAISING, ids=[row[1] for row in RAISING])
def test_what_raises_as_it_is_traced_is_shown_with_its_line(
    body: str, got: str, module: Callable[..., str]
) -> None:
    path = module(HEAD + PLAIN.replace("def run", "    seed: Content[int] = 0\ndef run") + body)
    workload = load_workload(path)
    with pytest.raises(ConfigError) as told:
        workload.figures(workload.config_type())
    function = "inputs" if "def inputs" in body else "run"
    assert told.value.what == f"{function}() of {Path(path).stem} raises"
    assert got in str(told.value) and told.value.allowed and told.value.do
    assert path in str(told.value) or "line" not in got
    assert isinstance(told.value.__cause__, Exception)


def test_program_keys_hold_what_shapes_the_program_and_nothing_else(module: Callable[..., str]) -> None:
    workload = load_workload(module(BOWL))
    build, engine = workload.config_type, workload.run
    assert isinstance(engine, Workload)
    key = engine.program_key(build())
    assert key == engine.program_key(build(x=3, count=9, seed=2, rows=7, where="there"))
    assert key != engine.program_key(build(points=5))
    assert engine.label(build()).endswith("points=4")
    assert engine.vector_width("cpu") == 1
    assert workload.trial(build(seed=7)).seed == 7
    assert workload.trial(build(where="there")).id == workload.trial(build()).id


@pytest.mark.parametrize("returned", ["config.x", "[config.x]", "None", "{}"])
def test_run_that_returns_no_dict(returned: str, module: Callable[..., str], store: Store) -> None:
    workload = load_workload(module(HEAD + PLAIN + f"    return {returned}\n"))
    with pytest.raises(ConfigError) as caught:
        run(workload, [workload.config_type()], store)
    assert "returns no arrays by name" in caught.value.what
    assert '{"loss": loss}' in str(caught.value)


@pytest.mark.parametrize("returned", ["1j * config.x", "jax.random.key(0)"])
def test_results_that_a_record_cannot_hold_are_refused_before_any_work(
    returned: str, module: Callable[..., str]
) -> None:
    workload = load_workload(module(HEAD + PLAIN + f"    return {{'loss': {returned}}}\n"))
    with pytest.raises(ConfigError, match=r"cannot hold\n.*loss of (complex64|key<fry>)"):
        workload.figures(workload.config_type())


def test_inputs_that_are_no_dict(module: Callable[..., str]) -> None:
    text = HEAD + PLAIN + "    return {'loss': config.x}\ndef inputs(config):\n    return np.ones(3)\n"
    workload = load_workload(module(text))
    with pytest.raises(ConfigError, match="returns no arrays by name"):
        workload.dataset(workload.config_type())


def test_strict_promotion_is_not_the_users_affair(module: Callable[..., str], store: Store) -> None:
    """The tests run under it; a user's function mixes integers and floats as JAX does by default."""
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    text = HEAD + PLAIN + "    return {'loss': config.x * jnp.arange(3)[2]}\n"
    workload = load_workload(module(text))
    assert run(workload, [workload.config_type()], store)[0].figures == {"loss": 2.0}
