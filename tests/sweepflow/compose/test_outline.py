"""What can be typed, as it is read without Hydra and JAX, is what can be composed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepflow.compose import compose_llc, compose_trials
from sweepflow.compose.outline import NOT_TYPED, SOURCES, outline
from sweepflow.schema.llc import LlcConfig
from sweepflow.workloads import load_workload
from sweepflow.workloads.load import BUILT_IN

LLC = {"model", "data", "target", "sampler", "runner", "+experiment"}
OWN = """
from typing import Annotated, Literal
from pydantic import Field
from sweepflow import Config as Base, Traced

Shape = Literal["round", "flat"]

class Config(Base):
    shape: Shape = "round"
    rate: Traced[Annotated[float, Field(gt=0, description="of change")]] = -0.5
    on: bool = False
    depth: Literal[1, 2] | None = None
    name: str
"""


def test_groups_are_those_of_the_command() -> None:
    assert outline("llc", []).groups.keys() == LLC
    assert {"sgld", "hmc_fast"} <= set(outline("llc", []).groups["sampler"])
    sweep = {"workload", "space", "runner", "model", "data", "+experiment"}
    assert outline("sweep", []).groups.keys() == sweep
    without_networks = outline("sweep", ["workload=command"])
    assert without_networks.groups.keys() == sweep - {"model", "data"}
    assert not any(key.startswith("model.") for key in without_networks.keys)


def test_every_key_of_the_schema_is_a_key_of_its_option() -> None:
    for overrides in ([], ["model=cnn", "data=mnist", "data.path=x"], ["sampler=mclmc", "target=sgd"]):
        found = outline("llc", overrides).keys
        (config,) = compose_llc([one for one in overrides if not one.startswith("data")])
        for group in ("model", "target", "sampler", "runner"):
            section = getattr(config, group)
            names = {f"{group}.{name}" for name in type(section).model_fields if name not in NOT_TYPED}
            assert names == {key for key in found if key.startswith(f"{group}.")}
        assert found.keys() >= {"store", "name"} and {"store", "name"} < LlcConfig.model_fields.keys()


def test_keys_of_several_options_are_those_of_each() -> None:
    keys = outline("llc", ["sampler=sgld,hmc"]).keys
    assert {"sampler.preconditioner", "sampler.num_integration_steps"} <= keys.keys()
    assert "sampler.num_integration_steps" not in outline("llc", ["sampler=sgld"]).keys


def test_an_experiment_chooses_options() -> None:
    assert "sampler.num_integration_steps" in outline("llc", ["+experiment=data_scaling"]).keys
    assert "sampler.num_integration_steps" not in outline("llc", []).keys


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_source_of_a_workload_has_all_fields_of_its_configuration(name: str) -> None:
    option = {"train": "digits_mlp"}.get(name, name)
    fields = load_workload(name).config_type.model_fields
    keys = outline("sweep", [f"workload={option}"]).keys
    assert name in SOURCES
    assert {key for key in keys if "." not in key} - {"store", "name"} == set(fields) - NOT_TYPED


def test_values_are_names_or_the_default_as_they_are_typed() -> None:
    keys = {**outline("sweep", []).keys, **outline("llc", []).keys}
    assert keys["optimizer"] == ["sgd", "adam", "adamw", "rmsprop", "lion"]
    assert keys["nesterov"] == ["false", "true"] and keys["epochs"] == ["10"]
    assert keys["sampler.dtype"] == ["float32", "float64"] and keys["sampler.draws"] == ["auto"]
    assert keys["model.bias"] == ["false", "true"] and keys["model.widths"] == keys["sampler.nbeta"] == []
    compose_llc([f"sampler.gamma={keys['sampler.gamma'][0]}", f"sampler.chains={keys['sampler.chains'][0]}"])
    compose_trials([f"learning_rate={keys['learning_rate'][0]}", f"seed={keys['seed'][0]}"])


@pytest.mark.parametrize("path", ["own.py", "package.own"])
def test_a_module_of_the_users_is_read_and_not_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (tmp_path / "own.py", tmp_path / "package" / "own.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{OWN}\nraise SystemExit\n")
    keys = outline("sweep", [f"workload={path}"]).keys
    assert keys["shape"] == ["round", "flat"] and keys["rate"] == ["-0.5"] and keys["name"] == []
    assert keys["on"] == ["false", "true"] and keys["depth"] == ["1", "2"]


def test_groups_of_the_users_own_are_searched_too(tmp_path: Path) -> None:
    for name in ("model/mine", "db/mysql", "model/no yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text("[" if " " in name else "kind: cnn\n")
    groups = outline("llc", [], tmp_path).groups
    assert {"mine", "small"} < set(groups["model"]) and groups["+db"] == ["mysql"]
    assert "model.channels" in outline("llc", ["model=mine"], tmp_path).keys
    assert outline("llc", ["model=no yaml"], tmp_path).groups == groups, "the command says what is wrong"


@pytest.mark.parametrize(
    "typed", ["", "=", "sampler", "sampler=", "~sampler", "sampler=nothing", "workload=x.py"]
)
def test_what_is_half_typed_is_no_error(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("def (:\n")
    for primary in ("llc", "sweep"):
        assert "+experiment" in outline(primary, [typed]).groups
