"""Which fields of the shipped configurations change the program, and which are numbers fed to it."""

from __future__ import annotations

from types import NoneType
from typing import Literal, get_args, get_origin

import pytest

from sweepflow.schema.data import (
    BundledData,
    DeepLinearData,
    FileData,
    NormalCrossingData,
    QuadraticData,
    TeacherStudentData,
)
from sweepflow.schema.fields import Config, Role, roles
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, PotentialModel
from sweepflow.schema.sampler import HmcSampler, MclmcSampler, NutsSampler, SgldSampler, SgnhtSampler
from sweepflow.schema.target import TrainingConfig

FED_NUMBERS: list[type[Config]] = [
    TrainingConfig,
    SgldSampler,
    SgnhtSampler,
    HmcSampler,
    NutsSampler,
    MclmcSampler,
]
DATA: list[type[Config]] = [
    TeacherStudentData,
    DeepLinearData,
    NormalCrossingData,
    QuadraticData,
    BundledData,
    FileData,
]
MODELS: list[type[Config]] = [MlpModel, DeepLinearModel, CnnModel, PotentialModel]


def kinds(annotation: object) -> set[object]:
    """The plain types an annotation allows, None and markers apart."""
    if get_origin(annotation) is Literal:
        return {Literal}
    inner = get_args(annotation)
    if not inner or get_origin(annotation) is tuple:
        return {annotation}
    if hasattr(annotation, "__metadata__"):
        return kinds(inner[0])
    return set().union(*(kinds(part) for part in inner if part is not NoneType))


@pytest.mark.parametrize("config", FED_NUMBERS)
def test_every_real_number_of_training_and_samplers_is_traced(config: type[Config]) -> None:
    real = {name for name, field in config.model_fields.items() if float in kinds(field.annotation)}
    real -= {"ess"}  # it decides where a run ends, which is asked between calls of the program
    traced = {name for name, role in roles(config).items() if role is Role.TRACED}
    assert real == traced
    assert len(real) >= 3


@pytest.mark.parametrize("config", FED_NUMBERS)
def test_what_is_left_is_counts_and_choices_which_shape_the_program(config: type[Config]) -> None:
    for name, role in roles(config).items():
        if role is Role.STATIC:
            assert kinds(config.model_fields[name].annotation) <= {int, Literal, bool}, name


@pytest.mark.parametrize("config", [*FED_NUMBERS, *DATA])
def test_a_seed_never_shapes_the_program(config: type[Config]) -> None:
    assert roles(config).get("seed", Role.CONTENT) is Role.CONTENT


@pytest.mark.parametrize("config", DATA)
def test_data_are_shapes_and_content_and_feed_no_number(config: type[Config]) -> None:
    assert Role.TRACED not in roles(config).values()


@pytest.mark.parametrize("config", MODELS)
def test_all_of_an_architecture_is_static(config: type[Config]) -> None:
    assert set(roles(config).values()) == {Role.STATIC}


def test_only_the_path_of_the_users_file_is_a_location() -> None:
    located = {
        (config.__name__, name)
        for config in [*FED_NUMBERS, *DATA, *MODELS]
        for name, role in roles(config).items()
        if role is Role.LOCATION
    }
    assert located == {("FileData", "path")}
