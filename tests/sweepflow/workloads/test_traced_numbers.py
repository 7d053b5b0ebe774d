"""What a user's function is fed: the numbers of its configuration, and nothing else in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepflow.engine.datasets import ROW
from sweepflow.engine.workload import Workload
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import key_data
from sweepflow.schema.numbers import fed, held
from sweepflow.storage.store import Store
from sweepflow.workloads.load import load_workload

from .conftest import HEAD, PLAIN, run

ALL_KINDS = HEAD + (
    "class Inner(Base):\n    count: Traced[int] = 0\n"
    "class Config(Base):\n"
    "    flag: Traced[bool] = False\n    seed: Traced[int] = 0\n    rate: Traced[float] = 0.0\n"
    "    scale: Traced[float | None] = None\n    either: Traced[int | float] = 0\n"
    "    any_of: Traced[bool | int] = 0\n    inner: Inner = Inner()\n"
    "def run(config, inputs, key):\n"
    "    return {'loss': config.rate, 'inverse': ~config.flag, 'flag': config.flag, 'seed': config.seed,\n"
    "        'rate': config.rate, 'either': config.either, 'any_of': config.any_of,\n"
    "        'count': config.inner.count, 'scale': -1.0 if config.scale is None else config.scale}\n"
)
WHOLE = st.integers() | st.integers(-(2**31) - 1, 2**31)
FRACTIONS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(width=32, allow_nan=False)


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    finite = FRACTIONS.filter(np.isfinite)
    return {
        "flag": draw(st.booleans()),
        "seed": draw(WHOLE),
        "rate": draw(finite),
        "scale": draw(st.none() | finite),
        "either": draw(WHOLE | finite),
        "any_of": draw(st.booleans() | WHOLE),
        "inner": {"count": draw(WHOLE)},
    }


def seen(workload: Any, config: Any) -> dict[str, Any]:
    """What its function sees of a configuration, as the engine calls it for a trial."""
    trial, engine = workload.trial(config), workload.run
    assert isinstance(engine, Workload)
    traced = {key: fed(key, [value])[0] for key, value in trial.traced.items()}
    found = engine.lane(config)({}, {ROW: np.int32(0)}, traced, key_data(trial.id, 0), np.int32(0))
    return {key: np.asarray(value) for key, value in found.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_program_sees_is_what_the_configuration_says(dtype: str, module: Callable[..., str]) -> None:
    """Exactly, for truth values and whole numbers; to the nearest, for fractions; all else is refused."""
    workload = load_workload(module(f"DTYPE = '{dtype}'\n" + ALL_KINDS))

    @given(values())
    @settings(suppress_health_check=list(HealthCheck), max_examples=60)
    def law(given: dict[str, Any]) -> None:
        config = workload.config_type(**given)
        wanted = {**given, "count": given["inner"]["count"]}
        fractions = {key: wanted[key] for key in ("rate", "scale", "either") if wanted[key] is not None}
        whole = {key: wanted[key] for key in ("seed", "any_of", "count", "flag")}
        nearest = {key: held(value, np.dtype(dtype)) for key, value in fractions.items()}
        if None in nearest.values() or not all(-(2**31) <= n < 2**31 for n in whole.values()):
            with pytest.raises(ConfigError, match="does not fit"):
                workload.check(config)
            return
        workload.check(config)
        found = seen(workload, config)
        for key, number in whole.items():
            assert found[key] == number
            assert found[key].dtype == (np.bool_ if isinstance(number, bool) else np.int32)
        assert found["inverse"] == (not given["flag"])
        for key, number in nearest.items():
            assert float(found[key]) == number and found[key].dtype == dtype
        assert given["scale"] is not None or found["scale"] == -1

    law()


def test_through_the_engine(module: Callable[..., str], store: Store) -> None:
    """One batch, whose trials differ in all of them; a number that is not there is another program."""
    workload = load_workload(module(ALL_KINDS))
    asked = [
        workload.config_type(flag=True, seed=2**31 - 1, rate=0.1, any_of=True, inner={"count": 2**24 + 1}),
        workload.config_type(flag=False, seed=-(2**31), rate=3e38, any_of=False, inner={"count": -1}),
    ]
    keys = {workload.run.program_key(config) for config in asked}
    assert len(keys) == 1 and workload.run.program_key(workload.config_type(scale=0.0)) not in keys
    first, second = (record.figures for record in run(workload, asked, store))
    assert first["flag"] is True and first["inverse"] is False and second["inverse"] is True
    assert (first["seed"], second["seed"]) == (2**31 - 1, -(2**31))
    assert (first["count"], second["count"]) == (2**24 + 1, -1)
    assert (first["rate"], second["rate"]) == (float(np.float32(0.1)), float(np.float32(3e38)))


def test_what_does_not_fit_is_an_error_in_words_of_the_engine_too(
    module: Callable[..., str], store: Store
) -> None:
    workload = load_workload(module(ALL_KINDS))
    with pytest.raises(ConfigError, match=r"seed=4294967295\n.*int32"):
        run(workload, [workload.config_type(seed=2**32 - 1)], store)


@pytest.mark.parametrize("dtype", ["'flot32'", "'int32'", "3"])
def test_a_dtype_that_holds_no_fractions(dtype: str, module: Callable[..., str]) -> None:
    path = module(f"DTYPE = {dtype}\n" + HEAD + PLAIN + "    return {'loss': config.x}\n")
    with pytest.raises(ConfigError, match="no type of fractions"):
        load_workload(path)


def test_a_static_number_that_is_too_large_for_jax_is_told_in_words(
    module: Callable[..., str], store: Store
) -> None:
    """In a group whose program is traced only as its batch begins, too."""
    text = (
        HEAD
        + PLAIN.replace("    x:", "    size: int = 1\n    x:")
        + "    return {'loss': config.x * config.size}\n"
    )
    workload = load_workload(module(text))
    assert workload.figures(workload.config_type()) == ("loss",)
    with pytest.raises(ConfigError, match=r"run\(\) of .* raises\n.*line \d+: return.*OverflowError"):
        run(workload, [workload.config_type(size=2**70)], store)


@pytest.mark.parametrize(
    ("annotation", "seeds"),
    [
        ("Content[str]", ("a", "b")),
        ("Content[tuple[int, ...]]", ((1, 2), (2, 1))),
        ("Content[int | None]", (None, 2**70)),
        ("Traced[int]", (-1, 1)),
    ],
)
def test_a_seed_of_any_type_decides_the_key(
    annotation: str, seeds: tuple[Any, Any], module: Callable[..., str]
) -> None:
    fields = PLAIN.replace("    x:", f"    seed: {annotation}\n    x:")
    workload = load_workload(module(HEAD + fields + "    return {'loss': config.x}\n"))
    trials = [workload.trial(workload.config_type(seed=seed)) for seed in seeds]
    first, second = (key_data(trial.id, trial.seed).tolist() for trial in trials)
    assert first != second
