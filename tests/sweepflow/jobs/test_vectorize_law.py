"""With and without `vectorize` jobs have the same status, and the same values up to rounding."""

from __future__ import annotations

import dataclasses
import math
import numbers
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hydra.core.hydra_config import HydraConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import BaseModel, PrivateAttr, computed_field

from sweepflow.jobs.call import Callee, call_batched, perform
from sweepflow.jobs.in_order import in_order
from sweepflow.jobs.job import Job
from sweepflow.jobs.vectorize import Group, groups
from sweepflow.storage.store import Store


@dataclasses.dataclass
class Typed:
    x: float = 0.0
    inner: Any = None


class Derived(BaseModel):
    x: float = 0.0
    _text: str = PrivateAttr("")
    _half: float = PrivateAttr(0.0)

    def model_post_init(self, context: Any) -> None:
        self._text, self._half = f"{self.x}", self.x / 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> float:
        return 2 * self.x

    @property
    def text(self) -> str:
        return self._text

    @property
    def half(self) -> float:
        return self._half


def fails(cfg: Any) -> Any:
    raise ValueError(f"no {cfg.x}")


def own_type_error(cfg: Any) -> Any:
    return jnp.sin(cfg.x) + len(5)  # type: ignore[arg-type]


def catches(cfg: Any) -> Any:
    try:
        return float(cfg.x)
    except Exception:
        return -1.0


def changes(cfg: Any) -> Any:
    cfg.x = cfg.x * 2
    return cfg.same


def matches(cfg: Any) -> Any:
    match cfg.x:
        case int():
            return jnp.sin(cfg.x)
        case float():
            return jnp.cos(cfg.x)


def kind_of(value: Any) -> str:
    return type(value).__name__


class Opaque:
    def __init__(self, x: Any) -> None:
        self.x = x


class Frozen:
    """A structure of JAX's with a number outside its leaves."""

    def __init__(self, leaf: Any, number: Any) -> None:
        self.leaf, self.number = leaf, number


jax.tree_util.register_pytree_node(
    Frozen, lambda f: ((f.leaf,), f.number), lambda n, leaf: Frozen(leaf[0], n)
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    z: Any
    a: Any


ANY: dict[str, Callable[[Any], Any]] = {
    # Python's own arithmetic, which is exact, and of what types it is
    "whole numbers": lambda c: jnp.asarray(1.0) * (c.x * 1_000_003 % 97 / 7),
    "a quotient": lambda c: 1 / c.x,
    "a power": lambda c: (c.x**2, 2 ** (c.x % 5), c.x**0.5),
    "parts": lambda c: (round(c.x), abs(c.x), -c.x, math.floor(c.x), c.x // 3, divmod(7, 3)),
    "itself": lambda c: {"x": c.x, "text": "t", "array": np.arange(2), "y": jnp.sin(c.x), "none": None},
    "a comparison": lambda c: c.x > 0,
    # what looks at a number
    "if": lambda c: jnp.sin(c.x) if c.x > 0 else jnp.cos(c.x),
    "in": lambda c: c.x in (1, 2.5),
    "or": lambda c: jnp.sin(c.x or 1),
    "float": lambda c: float(c.x),
    "math": lambda c: math.sin(c.x),
    "numpy": lambda c: (np.sin(c.x), np.arange(3) * c.x, np.float64(2) + c.x),
    "numpy to jax": lambda c: jnp.asarray(np.float32(1.5) * np.sqrt(np.abs(c.x))),
    "array of numpy": lambda c: np.array([c.x, 1.0]),
    "format": lambda c: f"{c.x:.3}",
    "text": lambda c: len(str(c.x)) * jnp.sin(c.x),
    "text of an array": lambda c: f"{jnp.asarray(c.x).dtype} {jnp.sin(c.x)}",
    "isinstance": lambda c: jnp.sin(c.x) if isinstance(c.x, int) else jnp.cos(c.x),
    "abstract": lambda c: jnp.sin(c.x) if isinstance(c.x, numbers.Integral) else jnp.cos(c.x),
    "type": lambda c: jnp.sin(c.x) if type(c.x) is int else jnp.cos(c.x),
    "type, elsewhere": lambda c: {"int": jnp.sin, "float": jnp.cos}.get(kind_of(c.x), jnp.tan)(c.x),
    "match": matches,
    "a key": lambda c: {1: "one"}.get(c.x, "other"),
    "none": lambda c: (c.x is None, c.x == "auto", c.x != "auto"),
    "attribute": lambda c: hasattr(c.x, "shape") or c.x.real,
    "caught": catches,
    "a change": changes,
    # what refers to one
    "referring text": lambda c: (len(c.name), jnp.sin(c.x)),
    "worked out": lambda c: jnp.cos(c.same) + c.twice + c.several[1],
    "a list": lambda c: sum(c.several) * jnp.ones(2),
    "hydra": lambda c: (len(HydraConfig.get().overrides.task[0]), jnp.sin(c.x)),
    # JAX
    "an array": lambda c: jnp.arange(3.0) * c.x,
    "narrow": lambda c: (jnp.ones(2, jnp.bfloat16) * c.x, jnp.ones(2, jnp.float16) + c.x),
    "jit": lambda c: jax.jit(lambda x: x * 2 + jnp.arange(3.0))(c.x),
    "grad": lambda c: jax.grad(lambda w: w * c.x)(2.0),
    "scan": lambda c: jax.lax.scan(lambda s, _: (s + c.x, s), jnp.zeros(()), None, length=3),
    "fori": lambda c: jax.lax.fori_loop(0, 3, lambda i, s: s + c.x, jnp.zeros(())),
    "length": lambda c: jnp.zeros(c.x % 7),  # of the numbers below, some would fill the memory
    "lax": lambda c: jax.lax.sin(c.x),
    "key": lambda c: jax.random.normal(jax.random.key(c.x)),
    "where": lambda c: jnp.where(c.x > 0, c.x, -1),
    "full": lambda c: jnp.full((2,), c.x),
    "cond": lambda c: jax.lax.cond(c.x > 0, lambda: 1.0, lambda: 2.0),
    "optax": lambda c: optax.sgd(c.x, momentum=0.9).init(jnp.ones(2))[0],
    "constant": lambda c: jnp.ones(2),
    "a tree": lambda c: jax.tree.map(lambda leaf: leaf * 10**9, {"n": c.x}),
    "a tree in jit": lambda c: jax.jit(lambda t: jax.tree.map(lambda leaf: leaf + jnp.ones(2), t))([c.x]),
    # the order of keys
    "keys": lambda c: {"z": jnp.sin(c.x), 3: c.x, "a": [{"q": {}, "p": {"c": c.x, "b": (jnp.cos(c.x),)}}]},
    "kinds of dicts": lambda c: Registered(
        OrderedDict(z=c.x, a={"d": 1, "c": 2}), defaultdict(list, z=[{"b": c.x, "a": None}], a=[jnp.sin(c.x)])
    ),
    "a number as a key": lambda c: {c.x: 1, "a": jnp.sin(c.x)},
    # what fails, or cannot be given back
    "fails": fails,
    "own TypeError": own_type_error,
    "opaque": lambda c: Opaque(jnp.sin(c.x)),
    "aside": lambda c: Frozen(jnp.sin(c.x), c.x),
}
"""Functions of `c.x`, and of what refers to it."""
OF_REFERRING = {"same": "${x}", "twice": "${times_two:${x}}", "several": [1, "${x}"]}
TEXT = {"name": "run_${x}"}
"""Where it is, jobs differ in text, and no two share a call."""


@pytest.fixture(scope="module", autouse=True)
def times_two() -> Iterator[None]:
    OmegaConf.register_new_resolver("times_two", lambda x: 2 * x)
    yield
    OmegaConf.clear_resolver("times_two")


def jobs_of(configs: list[Any]) -> list[Job]:
    of_hydra = OmegaConf.create({"hydra": {"job": {}, "overrides": {}, "runtime": {}}})
    return [
        Job(i, (f"x={i}",), {}, config, {}, of_hydra, "f", "nowhere", f"job_{i:016x}")
        for i, config in enumerate(configs)
    ]


def outcomes(function: Any, configs: list[Any], store: Store | None = None) -> tuple[list[Any], list[str]]:
    """Status and value of each job, in one call for several of them where a store is given."""
    jobs = jobs_of(configs)
    whys = []
    for group in groups(jobs) if store is not None else [Group((), tuple(jobs))]:
        why = call_batched(Callee(function, "f", None, store), group) if store and group.numbers else "alone"
        whys.append(why)
        if why:
            for job in group.jobs:
                perform(function, job)
    return [(job.status, str(job.error), job.value) for job in jobs], whys


def check(function: Any, make: Callable[[], list[Any]], store: Store) -> list[str]:
    """Compare calls with and without; why any was not batched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of what overflows, in both
        expected, _ = outcomes(function, make())
        found, whys = outcomes(function, make(), store)
    for one, other in zip(expected, found, strict=True):
        assert one[:2] == other[:2]
        same(one[2], other[2])
        assert keys_of(one[2]) == keys_of(other[2])
    return whys


def keys_of(value: Any) -> Any:
    """Its keys in their order, and those of what it holds; `jax.tree` sorts them."""
    if isinstance(value, (Opaque, Frozen, Registered)):
        value = vars(value)
    if isinstance(value, dict):
        return [(key, keys_of(inner)) for key, inner in value.items()]
    return [keys_of(inner) for inner in value] if isinstance(value, (list, tuple)) else None


def same(one: Any, other: Any) -> None:
    if isinstance(one, (Opaque, Frozen)):
        assert type(one) is type(other)
        same(vars(one), vars(other))
        return
    (leaves, structure), (others, of_other) = (jax.tree.flatten(in_order(value)) for value in (one, other))
    assert structure == of_other
    for leaf, its in zip(leaves, others, strict=True):
        if isinstance(leaf, (jax.Array, np.ndarray)):
            assert leaf.dtype == its.dtype and leaf.shape == its.shape
            loose = 0.02 if leaf.dtype.itemsize == 2 else 1e-5
            wide = np.float64 if leaf.dtype.kind in "fV" else leaf.dtype
            np.testing.assert_allclose(np.asarray(leaf, wide), np.asarray(its, wide), rtol=loose, atol=1e-6)
        elif isinstance(leaf, Opaque):
            same(leaf, its)
        else:
            assert type(leaf) is type(its) and (leaf == its or leaf != leaf)


NUMBERS = st.lists(
    st.integers(-3, 6) | st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 5000]),
    min_size=3,
    max_size=3,
) | st.lists(
    st.floats(-4, 4, width=32) | st.sampled_from([math.nan, math.inf, 1e300, 0.0]), min_size=3, max_size=3
)


@pytest.mark.parametrize("name", ANY)
def test_it_is_the_same_with_and_without(name: str, store: Store) -> None:
    referring = OF_REFERRING | (TEXT if name == "referring text" else {})

    @settings(max_examples=2)
    @given(NUMBERS, st.booleans())
    def law(values: list[int | float], wide: bool) -> None:
        with jax.enable_x64(wide):
            check(ANY[name], lambda: [OmegaConf.create({"x": x, **referring}) for x in values], store)

    law()
    for alike in ((1, 2.5, 2), (1, 2, 3), (0.5, 1.5, 2.5)):
        check(ANY[name], lambda xs=alike: [OmegaConf.create({"x": x, **referring}) for x in xs], store)


@pytest.mark.parametrize(
    "name",
    [
        "itself",
        "keys",
        "kinds of dicts",
        "worked out",
        "an array",
        "narrow",
        "jit",
        "a tree in jit",
        "grad",
        "scan",
        "fori",
        "where",
    ],
)
def test_what_can_be_batched_is(name: str, store: Store) -> None:
    whys = check(
        ANY[name], lambda: [OmegaConf.create({"x": x, **OF_REFERRING}) for x in (1.0, 2.5, -3.0)], store
    )
    assert whys == [""]


@pytest.mark.parametrize(
    "function",
    [
        lambda c: (c.text, jnp.sin(c.x)),
        lambda c: jnp.sin(c.half) + c.double,
        lambda c: (c.model_dump()["double"], jnp.sin(c.x)),
    ],
)
def test_what_a_model_works_out_is_each_jobs_own(function: Any, store: Store) -> None:
    check(function, lambda: [Derived(x=x) for x in (1.0, 22.5, 3.0)], store)


@pytest.mark.parametrize(
    "function",
    [
        lambda c: (type(OmegaConf.to_object(c)).__name__, jnp.sin(c.x)),
        lambda c: (OmegaConf.get_type(c).__name__, jnp.sin(c.inner.rate)),
        lambda c: c.get("nothing", 1) * jnp.sin(c.x),
        lambda c: c.nothing * jnp.sin(c.x),
    ],
)
def test_a_typed_tree_stays_one(function: Any, store: Store) -> None:
    check(
        function,
        lambda: [
            OmegaConf.structured(Typed(x, {"rate": "${x}", "list": [{"a": x}]})) for x in (1.0, 22.5, 3.0)
        ],
        store,
    )


def test_text_that_reads_like_a_reference_stays_text(store: Store) -> None:
    check(
        lambda c: (c.plain, c.named, jnp.sin(c.x)),
        lambda: [
            OmegaConf.create({"x": x, "plain": "\\${x}", "named": "${plain}", "gone": "${oc.env:NOT_THERE}"})
            for x in (1.0, 2.0)
        ],
        store,
    )
