"""What each configuration refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sweepflow.schema.data import DataConfig
from sweepflow.schema.llc import EstimateConfig, LlcConfig
from sweepflow.schema.model import ModelConfig
from sweepflow.schema.runner import RunnerConfig
from sweepflow.schema.sampler import SamplerConfig
from sweepflow.schema.target import TrainingConfig

MODEL: Any = TypeAdapter(ModelConfig)
DATA: Any = TypeAdapter(DataConfig)
SAMPLER: Any = TypeAdapter(SamplerConfig)
TRAINING: Any = TypeAdapter(TrainingConfig)
RUNNER: Any = TypeAdapter(RunnerConfig)

REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (MODEL, {"kind": "mlp"}, "give either widths"),
    (MODEL, {"kind": "mlp", "widths": [3], "target_params": 9, "depth": 1}, "give either widths"),
    (MODEL, {"kind": "mlp", "target_params": 9}, "target_params and depth go together"),
    (MODEL, {"kind": "mlp", "widths": [3], "depth": 1}, "target_params and depth go together"),
    (MODEL, {"kind": "mlp", "widths": [3, 0]}, "greater than 0"),
    (MODEL, {"kind": "mlp", "widths": [3], "activation": "sine"}, "'relu', 'tanh', 'gelu' or 'silu'"),
    (MODEL, {"kind": "mpl", "widths": [3]}, "'mlp', 'deep_linear', 'cnn', 'potential'"),
    (MODEL, {"widths": [3]}, "kind"),
    (MODEL, {"kind": "cnn", "channels": []}, "at least 1 item"),
    (MODEL, {"kind": "deep_linear"}, "Field required"),
    (DATA, {"kind": "teacher_student", "n_data": 0}, "greater than 0"),
    (DATA, {"kind": "teacher_student", "n_data": 10.5}, "fractional part"),
    (DATA, {"kind": "teacher_student", "noise_scale": -0.1}, "greater than or equal to 0"),
    (DATA, {"kind": "teacher_student", "condition_number": 0.5}, "greater than or equal to 1"),
    (DATA, {"kind": "teacher_student", "degrees_of_freedom": 2}, "greater than 2"),
    (DATA, {"kind": "teacher_student", "outlier_fraction": 1}, "less than 1"),
    (DATA, {"kind": "teacher_student", "seed": 2**32}, "less than 4294967296"),
    (DATA, {"kind": "teacher_student", "seed": -1}, "greater than or equal to 0"),
    (DATA, {"kind": "deep_linear", "widths": [4, 2, 4], "rank": 3}, r"rank 3 is larger .* layer \(2\)"),
    (DATA, {"kind": "deep_linear", "widths": [4]}, "at least 2 items"),
    (DATA, {"kind": "normal_crossing", "exponents": [1, 1, 1]}, "dimension=2 needs 2 exponents"),
    (DATA, {"kind": "normal_crossing", "exponents": [0, 1]}, "greater than 0"),
    (DATA, {"kind": "quadratic", "eigenvalues": [1.0]}, "dimension=2 needs 2 eigenvalues"),
    (DATA, {"kind": "quadratic", "eigenvalues": [1.0, -1.0]}, "greater than or equal to 0"),
    (DATA, {"kind": "bundled", "name": "iris"}, "'digits', 'diabetes' or 'breast_cancer'"),
    (DATA, {"kind": "bundled", "test_fraction": 0}, "greater than 0"),
    (DATA, {"kind": "file"}, "Field required"),
    (DATA, {"kind": "file", "path": "x.csv", "task": "cluster"}, "'regression' or 'classification'"),
    (SAMPLER, {"kind": "sgld", "step_size": 0}, "greater than 0"),
    (SAMPLER, {"kind": "sgld", "step_size": float("nan")}, "finite number"),
    (SAMPLER, {"kind": "sgld", "b1": 1.0}, "less than 1"),
    (SAMPLER, {"kind": "sgld", "nbeta": 0}, "greater than 0"),
    (SAMPLER, {"kind": "hmc", "step_size": 0.1}, "not permitted"),
    (SAMPLER, {"kind": "hmc", "chains": 0}, "greater than 0"),
    (SAMPLER, {"kind": "hmc", "draws": 3}, "greater than or equal to 4"),
    (SAMPLER, {"kind": "nuts", "max_num_doublings": 13}, "less than or equal to 12"),
    (SAMPLER, {"kind": "nuts", "target_acceptance": 1.0}, "less than 1"),
    (SAMPLER, {"kind": "mclmc", "dtype": "float16"}, "'float32' or 'float64'"),
    (SAMPLER, {"kind": "gibbs"}, "'sgld', 'sgnht', 'hmc', 'nuts', 'mclmc'"),
    (TRAINING, {"steps": -1}, "greater than or equal to 0"),
    (TRAINING, {"learning_rate": "fast"}, "valid number"),
    (TRAINING, {"momentum": 1}, "less than 1"),
    (TRAINING, {"optimizer": "lion"}, "'adam', 'adamw' or 'sgd'"),
    (RUNNER, {"kind": "local", "batch_size": 0}, "greater than 0"),
    (RUNNER, {"kind": "local", "batch_size": "half"}, "'auto'"),
    (RUNNER, {"kind": "slurm", "memory_fraction": 1.5}, "less than or equal to 1"),
]


@pytest.mark.parametrize(("config", "given", "words"), REFUSED)
def test_what_is_refused_and_why(config: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config.validate_python(given)


LLC = {
    "model": {"kind": "mlp", "widths": [4]},
    "data": {"kind": "bundled"},
    "target": {},
    "sampler": {"kind": "hmc"},
}


def test_an_llc_configuration_splits_into_what_decides_the_result_and_what_does_not() -> None:
    here = LlcConfig.model_validate({**LLC, "store": "here", "name": "a-sweep"})
    there = LlcConfig.model_validate({**LLC, "store": "there", "runner": {"kind": "local", "batch_size": 3}})
    assert here.estimate() == there.estimate() != here
    estimate = here.estimate()
    assert isinstance(estimate, EstimateConfig)
    assert (estimate.target.model, estimate.sampler) == (here.model, here.sampler)
    assert (estimate.target.data, estimate.target.target) == (here.data, here.target)


def test_the_store_comes_from_the_environment_where_it_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPFLOW_STORE", "/data/my store")
    assert LlcConfig.model_validate(LLC).store == "/data/my store"
    assert LlcConfig.model_validate({**LLC, "store": "given"}).store == "given"
    monkeypatch.delenv("SWEEPFLOW_STORE")
    assert LlcConfig.model_validate(LLC).store == "sweepflow-data"
    monkeypatch.setenv("SWEEPFLOW_STORE", "")
    with pytest.raises(ValidationError, match="at least 1 character"):
        LlcConfig.model_validate(LLC)


@pytest.mark.parametrize("name", ["", "a ", "../up", "a/b", ".hidden", "-x", "ü"])
def test_a_sweep_name_is_a_folder_name(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        LlcConfig.model_validate({**LLC, "name": name})


def test_lists_are_kept_as_tuples_so_that_a_configuration_can_be_a_key() -> None:
    config = LlcConfig.model_validate(LLC)
    assert config.model.model_dump()["widths"] == (4,)
    assert config in {config}
