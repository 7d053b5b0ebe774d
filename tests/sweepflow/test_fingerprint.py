"""A trial's identity: the same wherever it is taken, and another for everything that decides a result."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import ConfigError
from sweepflow.estimates.workload import estimate_trial
from sweepflow.fingerprint import canonical_json, fingerprint, frozen, key_data
from sweepflow.schema.data import (
    BundledData,
    DeepLinearData,
    FileData,
    NormalCrossingData,
    QuadraticData,
    TeacherStudentData,
)
from sweepflow.schema.fields import Config, Role, roles
from sweepflow.schema.llc import EstimateConfig, LlcConfig
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, PotentialModel
from sweepflow.schema.sampler import HmcSampler, MclmcSampler, NutsSampler, SgldSampler
from sweepflow.schema.target import TargetConfig, TrainingConfig
from sweepflow.targets.workload import target_trial

TRAINING = TrainingConfig(
    start="random",
    optimizer="adam",
    schedule="cosine",
    steps=3000,
    batch_size=None,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=0.0,
    tolerance=0.0,
    dtype="float64",
    seed=1,
)
"""Every field is given, here and below: a default that changes leaves the golden ids as they are."""

TARGETS = {
    "mlp_on_teacher": TargetConfig(
        model=MlpModel(target_params=500, depth=2, activation="relu", bias=True),
        data=TeacherStudentData(
            n_data=1000,
            n_test=500,
            input_dim=4,
            output_dim=1,
            inputs="isotropic",
            condition_number=100.0,
            components=4,
            separation=2.0,
            latent_dim=2,
            noise="gaussian",
            noise_scale=0.1,
            degrees_of_freedom=4.0,
            outlier_fraction=0.05,
            outlier_scale=10.0,
            teacher_widths=(8,),
            teacher_activation="tanh",
            seed=0,
        ),
        target=TRAINING,
    ),
    "cnn_on_digits": TargetConfig(
        model=CnnModel(channels=(8, 16), dense=32, activation="relu"),
        data=BundledData(name="digits", test_fraction=0.2, seed=0),
        target=TRAINING.model_copy(update={"optimizer": "adamw", "weight_decay": 1e-4, "batch_size": 128}),
    ),
    "deep_linear_at_its_truth": TargetConfig(
        model=DeepLinearModel(widths=(4,)),
        data=DeepLinearData(widths=(4, 4, 4), rank=2, n_data=1000, n_test=500, noise_scale=0.0, seed=3),
        target=TRAINING.model_copy(update={"start": "truth", "steps": 0}),
    ),
    "potential": TargetConfig(
        model=PotentialModel(),
        data=NormalCrossingData(exponents=(1, 2), n_data=1000, dimension=2),
        target=TRAINING.model_copy(update={"start": "truth", "steps": 0}),
    ),
}
COMMON: dict[str, Any] = {
    "nbeta": None,
    "gamma": 10.0,
    "chains": 4,
    "ess": None,
    "max_gradients": None,
    "thinning": 1,
    "seed": 0,
}
SGLD: dict[str, Any] = COMMON | {
    "thinning": 10,
    "min_acceptance": 0.85,
    "batch_size": 256,
    "bias_chains": 2,
    "b1": 0.9,
    "b2": 0.99,
    "epsilon": 0.1,
    "dtype": "float32",
}
SAMPLERS = {
    "sgld": SgldSampler(**SGLD, draws=500, warmup=1000, preconditioner="rmsprop", step_size=1e-5),
    "sgld_that_sets_itself": SgldSampler(
        **SGLD | {"ess": 200.0, "max_gradients": 300_000},
        draws="auto",
        warmup="auto",
        preconditioner="none",
        step_size="auto",
    ),
    "hmc": HmcSampler(
        **COMMON | {"nbeta": 144.0},
        draws=500,
        warmup=500,
        num_integration_steps=10,
        target_acceptance=0.8,
        initial_step_size=0.01,
        dtype="float64",
    ),
    "nuts": NutsSampler(
        **COMMON,
        draws=300,
        warmup=300,
        max_num_doublings=8,
        target_acceptance=0.8,
        initial_step_size=0.01,
        dtype="float64",
    ),
    "mclmc": MclmcSampler(
        **COMMON, draws=2000, warmup=2000, desired_energy_var=5e-5, max_step_size=10.0, dtype="float64"
    ),
}
TRIALS: dict[str, Config] = {
    **TARGETS,
    **{
        f"{kind}_on_{target}": EstimateConfig(target=TARGETS[target], sampler=SAMPLERS[kind])
        for kind, target in [
            ("sgld", "mlp_on_teacher"),
            ("sgld_that_sets_itself", "mlp_on_teacher"),
            ("hmc", "mlp_on_teacher"),
            ("nuts", "cnn_on_digits"),
            ("mclmc", "potential"),
        ]
    },
}

GOLDEN = {
    "mlp_on_teacher": "tgt_c6867cb742746484",
    "cnn_on_digits": "tgt_57723a29e5667078",
    "deep_linear_at_its_truth": "tgt_b9d6b462118b6252",
    "potential": "tgt_4d945e969eca00c5",
    "sgld_on_mlp_on_teacher": "est_fe86a6690fbcf478",
    "sgld_that_sets_itself_on_mlp_on_teacher": "est_7db03cd64f43079f",
    "hmc_on_mlp_on_teacher": "est_eb5490cce802205d",
    "nuts_on_cnn_on_digits": "est_2f3b27ec11f8af74",
    "mclmc_on_potential": "est_fa8af71e7b68ca26",
}
"""A change here makes every stored result unfindable."""


def trial_id(config: Config) -> str:
    """The id under which the store keeps this configuration's result."""
    if isinstance(config, TargetConfig):
        return target_trial(config).id
    assert isinstance(config, EstimateConfig)
    return estimate_trial(config).id


def golden_ids() -> dict[str, str]:
    return {name: trial_id(config) for name, config in TRIALS.items()}


def test_golden_fingerprints() -> None:
    assert golden_ids() == GOLDEN


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_golden_fingerprints_in_another_process_and_directory(hash_seed: str, tmp_path: Path) -> None:
    code = (
        "import importlib.util, json\n"
        f"spec = importlib.util.spec_from_file_location('golden', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(json.dumps(module.golden_ids()))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    assert json.loads(done.stdout) == GOLDEN


def test_an_id_is_a_prefix_and_16_hex_digits_of_the_canonical_text() -> None:
    text = '{"config":{"b":[1,2.5],"ü":null},"version":3,"workload":"w"}'.replace("ü", "\\u00fc")
    digits = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert fingerprint("trl", "w", 3, {"ü": None, "b": (1, 2.5)}) == f"trl_{digits}"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"b": 1, "a": 2.0}, '{"a":2.0,"b":1}'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a"}), '["a","b"]'),
        ((1, (2, [3])), "[1,[2,[3]]]"),
        (np.float64(0.1), "0.1"),
        (np.float32(0.5), "0.5"),
        (np.int32(7), "7"),
        (np.uint8(7), "7"),
        (np.bool_(True), "true"),
        (np.str_("a"), '"a"'),
        (np.arange(3), "[0,1,2]"),
        (jnp.float32(0.5), "0.5"),
        (jnp.asarray(7), "7"),
        (jnp.array([1.5, 2.5]), "[1.5,2.5]"),
        (-0.0, "0.0"),
        (True, "true"),
        (None, "null"),
        (0.00001, "1e-05"),
        ({"x": {"y": {1.5}}}, '{"x":{"y":[1.5]}}'),
    ],
)
def test_one_spelling_a_value(given: object, text: str) -> None:
    assert canonical_json(given) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float32("nan"), jnp.float32("inf")])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"a": [v]}, lambda v: np.asarray([v])])
def test_nan_and_infinity_are_refused(number: Any, wrap: Any) -> None:
    with pytest.raises(ConfigError, match="NaN or infinity"):
        canonical_json(wrap(number))


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, np.complex64(1j), len, Role.STATIC])
def test_what_json_cannot_hold_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"cannot hold this value\n  got: .*\n  allowed: numbers"):
        canonical_json(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_loses_nothing(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(json_values)
def test_a_stored_configuration_has_the_fingerprint_of_the_one_it_was_made_from(value: object) -> None:
    stored = json.loads(json.dumps(value, indent=1, ensure_ascii=False))
    assert canonical_json(stored) == canonical_json(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=1, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_count(value: dict[str, int], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


@given(st.integers(min_value=1, max_value=2**53))
def test_a_whole_number_for_a_real_field_is_the_real_number(number: int) -> None:
    assert trial_id(changed("target.learning_rate", number)) == trial_id(
        changed("target.learning_rate", float(number))
    )


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("target.learning_rate", "1e-5", 0.00001),
        ("target.momentum", 0, -0.0),
        ("data.noise_scale", np.float64(0.25), "0.25"),
        ("data.teacher_widths", [8, 8], (8, 8)),
        ("target.seed", 7, 7.0),
    ],
)
def test_two_spellings_of_one_configuration_are_one_trial(key: str, one: object, other: object) -> None:
    assert trial_id(changed(key, one)) == trial_id(changed(key, other))


def changed(key: str, value: object, base: Config = TARGETS["mlp_on_teacher"]) -> Any:
    """The configuration with one nested field replaced, and validated."""
    content = base.model_dump()
    *owners, name = key.split(".")
    owner = content
    for part in owners:
        owner = owner[part]
    owner[name] = value
    return type(base).model_validate(content)


def other_value(config: Config, name: str) -> object:
    """Another value that a field accepts."""
    value = getattr(config, name)
    match value:
        case "auto":
            return 1000
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.5 if value > 2 else value / 2 or 0.25
        case tuple():
            return (*value[:-1], value[-1] + 1)
        case None:
            return 3
    annotation = type(config).model_fields[name].annotation
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str) and choice != value]
    return choices[0] if choices else f"{value}-other"


def fields_of(config: Config, prefix: str = "") -> Iterator[tuple[str, Config, str, Role]]:
    for name, role in roles(type(config)).items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from fields_of(value, f"{prefix}{name}.")
        elif name != "kind":
            yield f"{prefix}{name}", config, name, role


EVERY: dict[str, Config] = {
    **TRIALS,
    "quadratic": changed(
        "data", QuadraticData(eigenvalues=(1.0, 0.5), dimension=2).model_dump(), TARGETS["potential"]
    ),
    "file": changed(
        "data",
        FileData(path="a file.csv", sha256="0" * 64, target_column="y").model_dump(),
        TARGETS["cnn_on_digits"],
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_field_that_decides_the_result_changes_the_id_and_no_location_does(name: str) -> None:
    base = EVERY[name]
    seen = {trial_id(base)}
    roles_seen = set()
    for key, owner, field, role in fields_of(base):
        if key in ("sampler.ess", "sampler.max_gradients") and owner.is_sized:  # type: ignore[attr-defined]
            continue  # it has no effect beside a given number of draws, and is refused
        values = {field: other_value(owner, field)}
        if isinstance(owner, MlpModel) and field == "widths":
            values = {"widths": (5, 5), "target_params": None, "depth": None}
        elif isinstance(owner, (QuadraticData, NormalCrossingData)) and field == "dimension":
            longer = "eigenvalues" if isinstance(owner, QuadraticData) else "exponents"
            values |= {longer: (*getattr(owner, longer), 1)}
        elif key == "sampler.draws":
            values |= {"ess": None}
        content = base.model_dump()
        at = content
        for part in key.split(".")[:-1]:
            at = at[part]
        at |= values
        identity = trial_id(type(base).model_validate(content))
        roles_seen.add(role)
        if role is Role.LOCATION:
            assert identity == trial_id(base), key
        else:
            assert identity not in seen, key
            seen.add(identity)
    assert {Role.STATIC, Role.TRACED, Role.CONTENT} <= roles_seen
    assert (Role.LOCATION in roles_seen) == (name == "file")


def test_where_and_how_a_sweep_runs_is_no_part_of_a_trial() -> None:
    config = EVERY["file"]
    assert isinstance(config, TargetConfig)
    parts = {"model": config.model, "target": config.target, "sampler": SAMPLERS["hmc"]}
    plain = LlcConfig(**parts, data=config.data)
    moved = LlcConfig(
        **parts,
        data=config.data.model_copy(update={"path": "/elsewhere/b.csv"}),
        runner={"kind": "local", "batch_size": 3, "workers": 1, "memory_fraction": 0.25},
        store="/another/store",
        name="another-name",
    )
    assert trial_id(plain.estimate()) == trial_id(moved.estimate())
    assert trial_id(plain.estimate().target) == trial_id(moved.estimate().target)


def test_the_default_temperature_is_the_number_it_stands_for() -> None:
    config = TRIALS["sgld_on_mlp_on_teacher"]
    n = 1000
    explicit = changed("sampler.nbeta", n / math.log(n), config)
    assert trial_id(explicit) == trial_id(config)
    assert trial_id(changed("sampler.nbeta", n / math.log(n) + 1e-9, config)) != trial_id(config)


@pytest.mark.parametrize("key", ["sampler.ess", "sampler.max_gradients"])
def test_a_length_that_is_not_given_is_the_number_it_stands_for(key: str) -> None:
    config = TRIALS["sgld_that_sets_itself_on_mlp_on_teacher"]
    assert trial_id(changed(key, None, config)) == trial_id(config)
    assert trial_id(changed(key, 100, config)) != trial_id(config)


def test_workload_and_version_are_part_of_the_id() -> None:
    payload = TARGETS["potential"]
    ids = {fingerprint("trl", name, version, payload) for name in ("a", "b") for version in (1, 2)}
    assert len(ids) == 4


@given(st.text(min_size=1, max_size=30), st.integers(min_value=0, max_value=2**32 - 1))
def test_a_trials_key_depends_on_its_id_and_seed_and_nothing_else(trial: str, seed: int) -> None:
    key = key_data(trial, seed)
    assert (key.dtype, key.shape) == (np.uint32, (2,))
    np.testing.assert_array_equal(key, key_data(trial, seed))
    assert not np.array_equal(key, key_data(trial, (seed + 1) % 2**32))
    assert not np.array_equal(key, key_data(f"{trial}0", seed))


def test_golden_key() -> None:
    # Big-endian by definition, so that a key is the same on every machine.
    assert key_data("tgt_0123456789abcdef", 7).tolist() == [2788257005, 2626945644]


SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.sampled_from("a1")
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(PLAIN, PLAIN)
def test_values_count_as_one_where_trials_of_them_have_one_id(first: Any, second: Any) -> None:
    assert (frozen(first) == frozen(second)) == (canonical_json(first) == canonical_json(second))
