"""A user's own workload, from a module file at a path with a space in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.engine.workload import Workload
from sweepflow.errors import ConfigError
from sweepflow.store.store import Store
from sweepflow.workloads.load import is_importable, load_workload
from sweepflow.workloads.workload import goal_of

HEAD = """
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PositiveInt
from sweepflow.schema.fields import Config as Base, Content, Location, Traced
"""

BOWL = (
    HEAD
    + """
CALLS = []
METRIC = "height"
GOAL = "maximize"
VECTOR_WIDTH = 1

class Inner(Base):
    slope: Traced[float] = 1.0

class Config(Base):
    points: PositiveInt = 4
    x: Traced[float] = 0.5
    count: Traced[int] = 2
    inner: Inner = Inner()
    rows: Content[int] = 0
    seed: Content[int] = 0
    where: Location[str] = "here"

def inputs(config):
    CALLS.append((config.rows, config.points))
    return {"a": np.full(config.points, float(config.rows), np.float32), "b": np.arange(3)}

def run(config, inputs, key):
    assert config.x.dtype == jnp.float32 and config.count.dtype == jnp.int32
    curve = config.x * config.inner.slope + jnp.arange(config.points) + inputs["a"]
    return {
        "height": 1 - config.x**2 + 0 * curve[0],
        "halved": config.count // 2,
        "is_even": config.count % 2 == 0,
        "row_sum": jnp.sum(inputs["a"]) + inputs["b"][-1],
        "drawn": jax.random.uniform(key),
        "root": jnp.sqrt(1 - config.x),
        "steps": curve,
        "table": jnp.outer(curve, curve),
    }
"""
)


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Writes a module under a name of its own, and forgets it afterwards."""
    made: list[str] = []

    def write(text: str, name: str | None = None) -> str:
        name = name or f"workload_{tmp_path.name}_{len(made)}"
        file = tmp_path / "a folder" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        made.append(name)
        return str(file)

    yield write
    for name in made:
        sys.modules.pop(name, None)
    load_workload.cache_clear()


def run(workload: Any, configs: list[Any], store: Store, **settings: Any) -> list[Any]:
    trials = [workload.trial(workload.prepare(config)[0]) for config in configs]
    settings = {"size": max(2, len(trials)), "datasets": 1, **settings}
    return run_batch(workload.run, trials, store, **settings)


@pytest.mark.slow
def test_from_a_file_to_its_records(
    module: Callable[..., str], store: Store, compilations: list[str]
) -> None:
    path = module(BOWL)
    workload = load_workload(path)
    assert load_workload(path) is workload
    config_type, calls = workload.config_type, sys.modules[Path(path).stem].CALLS
    assert (workload.metric(config_type()), workload.goal, workload.seed_key) == (
        "height",
        "maximize",
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
    assert workload.seed_key is None and workload.goal is None
    fine, lost = run(workload, [workload.config_type(x=9.0), workload.config_type(x=1.5)], store)
    assert fine.status == "ok" and fine.reasons == ()
    assert lost.status == "diverged"
    assert lost.reasons == ("loss is not finite", "curve.losses is not finite from point 2")
    assert lost.figures == {"loss": None, "x": 1.5}


def test_what_run_and_inputs_may_not_read(module: Callable[..., str], store: Store) -> None:
    for field in ("seed", "rows", "where"):
        workload = load_workload(module(BOWL.replace("jnp.sqrt(1 - config.x)", f"config.x + config.{field}")))
        with pytest.raises(AttributeError, match=field):
            run(workload, [workload.config_type()], store)
    for field in ("x", "count", "inner.slope"):
        workload = load_workload(module(BOWL.replace("(config.rows, config.points)", f"config.{field}")))
        with pytest.raises(AttributeError, match=field.rpartition(".")[2]):
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


def test_identity(module: Callable[..., str], tmp_path: Path) -> None:
    """With a VERSION it is the module's word; without, every change of the file makes other trials."""

    def trial_id(text: str) -> str:
        path = module(text, f"identity_{tmp_path.name}")
        load_workload.cache_clear()
        sys.modules.pop(Path(path).stem, None)
        workload = load_workload(path)
        assert workload.name == Path(path).stem
        return workload.trial(workload.config_type()).id

    commented = BOWL + "\n# a remark\n"
    assert trial_id(BOWL) == trial_id(BOWL) != trial_id(commented)
    versioned = "VERSION = 3\n"
    assert trial_id(versioned + BOWL) == trial_id(versioned + commented) != trial_id("VERSION = 4\n" + BOWL)


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


PLAIN = "class Config(Base):\n    x: Traced[float] = 1.0\ndef run(config, inputs, key):\n"
WRONG: list[tuple[str, str, str]] = [
    ("x = 1\n", "is no workload", "a class Config"),
    ("class Config:\n    pass\ndef run(config, inputs, key): ...\n", "is no workload", "a class Config"),
    (HEAD + "class Config(Base):\n    pass\nrun = 3\n", "is no workload", "a function run"),
    ("import not_there_at_all\n", "cannot be imported", "ModuleNotFoundError: No module named"),
    ("def broken(:\n", "cannot be imported", "SyntaxError"),
    ("raise RuntimeError('as I please')\n", "cannot be imported", "as I please"),
    (HEAD + "GOAL = 'max'\n" + PLAIN + "    return {}\n", "is no direction", "minimize or maximize"),
]


@pytest.mark.parametrize(("text", "what", "part"), WRONG, ids=[row[1] + " " + row[2] for row in WRONG])
def test_modules_that_cannot_be_used(text: str, what: str, part: str, module: Callable[..., str]) -> None:
    path = module(text)
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    assert what in caught.value.what
    assert part in str(caught.value)
    assert Path(path).stem in str(caught.value)
    # Mended, it can be loaded in the same process.
    Path(path).write_text(HEAD + PLAIN + "    return {'loss': config.x}\n")
    if what == "cannot be imported":
        assert load_workload(path).name == Path(path).stem


@pytest.mark.parametrize("returned", ["config.x", "[config.x]", "None", "{}"])
def test_run_that_returns_no_dict(returned: str, module: Callable[..., str], store: Store) -> None:
    workload = load_workload(module(HEAD + PLAIN + f"    return {returned}\n"))
    with pytest.raises(ConfigError) as caught:
        run(workload, [workload.config_type()], store)
    assert "returns no arrays by name" in caught.value.what
    assert '{"loss": loss}' in str(caught.value)


def test_inputs_that_are_no_dict(module: Callable[..., str]) -> None:
    text = HEAD + PLAIN + "    return {'loss': config.x}\ndef inputs(config):\n    return np.ones(3)\n"
    workload = load_workload(module(text))
    with pytest.raises(ConfigError, match="returns no arrays by name"):
        workload.dataset(workload.config_type())


def test_a_name_that_is_taken(module: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="loaded already") as caught:
        load_workload(module(BOWL, "json"))
    assert caught.value.do == "rename json.py"
    assert "dumps" in vars(sys.modules["json"])
    sys.modules["json"] = __import__("json")


def test_module_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"package_{tmp_path.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bowl.py").write_text(BOWL)
    broken = tmp_path / f"broken_{name}"
    broken.mkdir()
    (broken / "__init__.py").write_text("import not_there_at_all\n")
    (broken / "bowl.py").write_text(BOWL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert is_importable(f"{name}.bowl")
    assert sys.path[0] == str(tmp_path), "the directory that the command is typed in"
    workload = load_workload(f"{name}.bowl")
    assert workload.name == workload.path == f"{name}.bowl"
    assert workload.run.label(workload.config_type()) == "bowl points=4"
    for absent in ("", ".bowl", f"{name}.dent", f"{name}.bowl.deeper", "not_there.bowl", "no.py"):
        assert not is_importable(absent), absent
    assert is_importable(f"{broken.name}.bowl"), "it is there, and loading it says what is wrong"
    with pytest.raises(ConfigError, match="not_there_at_all"):
        load_workload(f"{broken.name}.bowl")
    for part in ("", ".bowl"):
        sys.modules.pop(name + part, None)
    load_workload.cache_clear()


def test_a_workload_that_is_ready() -> None:
    from sweepflow.workloads.train import WORKLOAD

    assert load_workload("train") is WORKLOAD


@pytest.mark.parametrize(
    ("metric", "goal"),
    [("loss", "minimize"), ("validation_accuracy", "maximize"), ("AUC", "maximize"), ("rmse", "minimize")],
)
def test_what_a_name_says_of_its_direction(metric: str, goal: str) -> None:
    assert goal_of(metric) == goal


def test_strict_promotion_is_not_the_users_affair(module: Callable[..., str], store: Store) -> None:
    """The tests run under it; a user's function mixes integers and floats as JAX does by default."""
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    text = HEAD + PLAIN + "    return {'loss': config.x * jnp.arange(3)[2]}\n"
    workload = load_workload(module(text))
    assert run(workload, [workload.config_type()], store)[0].figures == {"loss": 2.0}
