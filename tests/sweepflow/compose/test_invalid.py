"""Bad values, each with all four parts of its error: what is wrong, what was given, is allowed, is to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, create_model

from sweepflow.compose import compose_llc
from sweepflow.compose.allowed import allowed_values, choices, example, typed
from sweepflow.compose.invalid import explain
from sweepflow.errors import ConfigError
from sweepflow.schema.name import NAME_IN_WORDS

FILES = {
    "model/wide.yaml": "kind: mlp\nwidths: 64\n",
    "model/both.yaml": "kind: mlp\nwidths: [8]\ntarget_params: 100\ndepth: 2\n",
    "model/typo.yaml": "kind: mlp\nwidth: [8]\n",
    "model/kindless.yaml": "widths: [8]\n",
    "model/mpl.yaml": "kind: mpl\n",
    "experiment/swept.yaml": '# @package _global_\nhydra: {sweeper: {params: {target.steps: "10,many"}}}\n',
    "experiment/odd.yaml": '# @package _global_\nhydra: {sweeper: {params: {data.eigenvalues: "[1,2,3]"}}}\n',
    "experiment/empty.yaml": "# @package _global_\ndata:\n  n_data: 0\n",
}
WHOLE = "a whole number greater than 0"
SEED = "a whole number of at least 0 and less than 4294967296"
WIDTHS = f"a list such as [32,32] of {WHOLE.removeprefix('a ').replace('number', 'numbers')}"
FILE = "from a configuration file"

REFUSED: list[tuple[list[str], str, str, str, str]] = [
    # overrides, what, got, allowed, do
    (
        ["data.n_data=0"],
        "data.n_data cannot be 0",
        "data.n_data=0",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["data.n_data=9,0,8"],
        "data.n_data cannot be 0",
        "data.n_data=0, one of data.n_data=9,0,8",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["data.n_data=1.5"],
        "data.n_data cannot be 1.5",
        "data.n_data=1.5",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["data.n_data.x=3"],
        "data.n_data cannot be {x:3}",
        "data.n_data.x=3",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["data.n_data=0", "target.steps=many"],
        "data.n_data cannot be 0 (and 1 more key)",
        "data.n_data=0",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["target.seed=0", "data.n_data=${target.seed}"],
        "data.n_data cannot be 0",
        "data.n_data=${target.seed}, which is 0",
        WHOLE,
        "write it like data.n_data=1000",
    ),
    (
        ["target.steps=many"],
        "target.steps cannot be 'many'",
        "target.steps=many",
        "a whole number of at least 0",
        "write it like target.steps=20000",
    ),
    (["target.seed="], "target.seed cannot be empty", "target.seed=", SEED, "write it like target.seed=0"),
    (["target.seed=-1"], "target.seed cannot be -1", "target.seed=-1", SEED, "write it like target.seed=0"),
    (
        ["target.seed=4294967296"],
        "target.seed cannot be 4294967296",
        "target.seed=4294967296",
        SEED,
        "write it like target.seed=0",
    ),
    (
        ["target.momentum=1.0"],
        "target.momentum cannot be 1.0",
        "target.momentum=1.0",
        "a number of at least 0 and less than 1",
        "write it like target.momentum=0.9",
    ),
    (
        ["target.learning_rate=fast"],
        "target.learning_rate cannot be 'fast'",
        "target.learning_rate=fast",
        "a number greater than 0",
        "write it like target.learning_rate=0.01",
    ),
    (
        ["sampler.step_size=nan"],
        "sampler.step_size cannot be nan",
        "sampler.step_size=nan",
        "a finite number greater than 0, or auto",
        "write it like sampler.step_size=auto",
    ),
    (
        ["sampler.gamma=1,inf"],
        "sampler.gamma cannot be inf",
        "sampler.gamma=inf, one of sampler.gamma=1,inf",
        "a finite number of at least 0",
        "write it like sampler.gamma=10.0",
    ),
    (
        ["sampler.nbeta=0"],
        "sampler.nbeta cannot be 0",
        "sampler.nbeta=0",
        "a number greater than 0, or null",
        "give sampler.nbeta another value",
    ),
    (
        ["sampler.draws=3"],
        "sampler.draws cannot be 3",
        "sampler.draws=3",
        "a whole number of at least 4, or auto",
        "write it like sampler.draws=auto",
    ),
    (
        ["sampler=nuts", "sampler.max_num_doublings=13"],
        "sampler.max_num_doublings cannot be 13",
        "sampler.max_num_doublings=13",
        "a whole number of at least 1 and of at most 12",
        "write it like sampler.max_num_doublings=8",
    ),
    (
        ["runner.batch_size=many"],
        "runner.batch_size cannot be 'many'",
        "runner.batch_size=many",
        f"{WHOLE}, or auto",
        "write it like runner.batch_size=auto",
    ),
    (
        ["runner.memory_fraction=2"],
        "runner.memory_fraction cannot be 2",
        "runner.memory_fraction=2",
        "a number greater than 0 and of at most 1",
        "write it like runner.memory_fraction=0.5",
    ),
    (
        ["model.widths=64"],
        "model.widths cannot be 64",
        "model.widths=64",
        f"{WIDTHS}, or null",
        "write it like model.widths=[64]",
    ),
    (
        ["data.teacher_widths=8,[4]"],
        "data.teacher_widths cannot be 8",
        "data.teacher_widths=8, one of data.teacher_widths=8,[4]",
        WIDTHS,
        "write it like data.teacher_widths=[8]",
    ),
    (
        ["data.teacher_widths=[16,0]"],
        "an entry of data.teacher_widths cannot be 0",
        "data.teacher_widths=[16,0]",
        WIDTHS,
        "write it like data.teacher_widths=[8]",
    ),
    (
        ["data.teacher_widths=wide"],
        "data.teacher_widths cannot be 'wide'",
        "data.teacher_widths=wide",
        WIDTHS,
        "write it like data.teacher_widths=[8]",
    ),
    (
        ["model=cnn", "model.channels=[]"],
        "model.channels cannot be []",
        "model.channels=[]",
        f"{WIDTHS}, at least 1 of them",
        "write it like model.channels=[8,16]",
    ),
    (
        ["data=quadratic", "data.eigenvalues=[1,-2]"],
        "an entry of data.eigenvalues cannot be -2",
        "data.eigenvalues=[1,-2]",
        "a list such as [1.0,0.1] of numbers of at least 0, at least 1 of them",
        "write it like data.eigenvalues=[1.0,0.1]",
    ),
    (
        ["model.activation=rleu"],
        "model.activation cannot be 'rleu'",
        "model.activation=rleu",
        "one of relu, tanh, gelu, silu",
        "did you mean 'model.activation=relu'?",
    ),
    (
        ["target.optimizer=xyz"],
        "target.optimizer cannot be 'xyz'",
        "target.optimizer=xyz",
        "one of adam, adamw, sgd",
        "write it like target.optimizer=adam",
    ),
    (
        ["model.bias=maybe"],
        "model.bias cannot be 'maybe'",
        "model.bias=maybe",
        "true or false",
        "write it like model.bias=true",
    ),
    (
        ["name='../x'"],
        "name cannot be '../x'",
        "name='../x'",
        f"text of {NAME_IN_WORDS}, or null",
        "give name another value",
    ),
    (["store=''"], "store cannot be empty", "store=''", "text, not empty", "give store another value"),
    (
        ["data=file", "data.path=null"],
        "data.path cannot be null",
        "data.path=null",
        "the path of a .npz or .csv file",
        "give data.path another value",
    ),
    (
        ["data=file"],
        "data.path has to be given",
        "no data.path",
        "the path of a .npz or .csv file",
        "add data.path=FILE.npz",
    ),
    (
        ["data=mnist"],
        "data.path has to be given",
        "no data.path",
        "a directory with the four files of MNIST or Fashion-MNIST, or an .npz of them",
        "add data.path=DIRECTORY",
    ),
    (
        ["+experiment=swept"],
        "target.steps cannot be 'many'",
        "target.steps=many, one of target.steps=10,many, from the experiment swept",
        "a whole number of at least 0",
        "mend the experiment swept, or override it with target.steps=20000",
    ),
    (
        ["data=quadratic", "+experiment=odd"],
        "data: dimension=2 needs 2 eigenvalues",
        "data.eigenvalues=[1,2,3], from the experiment odd data=quadratic",
        "values of data.eigenvalues, data.dimension that go together",
        "change data.eigenvalues or data.dimension",
    ),
    (
        ["~sampler"],
        "sampler has to be given",
        "no sampler",
        "a section of kind sgld, sgnht, hmc, nuts, mclmc",
        "add sampler=...",
    ),
    (
        ["runner.wrkers=2"],
        "there is no key 'runner.wrkers' where runner.kind=local",
        "runner.wrkers=2",
        "runner.batch_size, runner.memory_fraction, runner.checkpoint_seconds, runner.concurrency_limit, "
        "runner.kind, runner.workers",
        "did you mean 'runner.workers'?",
    ),
    (
        ["runner.zzz=2"],
        "there is no key 'runner.zzz' where runner.kind=local",
        "runner.zzz=2",
        "runner.batch_size, runner.memory_fraction, runner.checkpoint_seconds, runner.concurrency_limit, "
        "runner.kind, runner.workers",
        "take one of the keys above, or leave it out",
    ),
    (
        ["data=normal_crossing", "data.rank=2"],
        "there is no key 'data.rank' where data.kind=normal_crossing",
        "data.rank=2",
        "data.kind, data.exponents, data.n_data, data.dimension",
        "leave it out, or choose data.kind=deep_linear, which has it",
    ),
    (
        ["model.kind=mpl"],
        "model.kind is not known",
        "model.kind=mpl",
        "one of mlp, deep_linear, cnn, potential",
        "did you mean 'model.kind=mlp'?",
    ),
    (
        ["model.widths=[8]"],
        "model: give either widths, or target_params with depth",
        f"model.widths=[8], and model.target_params=500 model.depth=2, {FILE}",
        "values of model.widths, model.target_params, model.depth that go together",
        "change model.widths or model.target_params or model.depth; null empties it",
    ),
    (
        ["data=quadratic", "data.eigenvalues=[1,2,3]"],
        "data: dimension=2 needs 2 eigenvalues",
        "data=quadratic data.eigenvalues=[1,2,3]",
        "values of data.eigenvalues, data.dimension that go together",
        "change data.eigenvalues or data.dimension",
    ),
    # What a file says is not shown as if it had been typed.
    (
        ["model=wide"],
        "model.widths cannot be 64",
        f"model.widths=64, {FILE} (model=wide)",
        f"{WIDTHS}, or null",
        "mend the file, or override it with model.widths=[64]",
    ),
    (
        ["+experiment=empty"],
        "data.n_data cannot be 0",
        f"data.n_data=0, {FILE} (+experiment=empty)",
        WHOLE,
        "mend the file, or override it with data.n_data=1000",
    ),
    (
        ["model=both"],
        "model: give either widths, or target_params with depth",
        f"model=both, and model.widths=[8] model.target_params=100 model.depth=2, {FILE}",
        "values of model.widths, model.target_params, model.depth that go together",
        "change model.widths or model.target_params or model.depth; null empties it",
    ),
    (
        ["model=typo"],
        "there is no key 'model.width' where model.kind=mlp",
        f"model.width=[8], {FILE} (model=typo)",
        "model.kind, model.widths, model.target_params, model.depth, model.activation, model.bias",
        "did you mean 'model.widths'?",
    ),
    (
        ["model=mpl"],
        "model.kind is not known",
        f"model.kind=mpl, {FILE} (model=mpl)",
        "one of mlp, deep_linear, cnn, potential",
        "did you mean 'model.kind=mlp'?",
    ),
    (
        ["model=kindless"],
        "model.kind has to be given",
        f"model={{widths:[8]}}, {FILE} (model=kindless)",
        "one of mlp, deep_linear, cnn, potential",
        "add model.kind=..., or choose a group with model=...",
    ),
]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory


def refusal(overrides: list[str], directory: Path) -> ConfigError | None:
    try:
        compose_llc(overrides, directory)
    except ConfigError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("overrides", "what", "got", "allowed", "do"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED]
)
def test_a_refusal_has_all_four_parts(
    overrides: list[str], what: str, got: str, allowed: str, do: str, mine: Path
) -> None:
    error = refusal(overrides, mine)
    assert error is not None
    assert (error.what, error.got, error.allowed, error.do) == (what, got, allowed, do)
    assert len(str(error).splitlines()) == 4


@pytest.mark.parametrize("row", [row for row in REFUSED if "write it like" in row[4]], ids=lambda r: r[2])
def test_what_an_error_says_to_write_can_be_written(
    row: tuple[list[str], str, str, str, str], mine: Path
) -> None:
    """The advice, taken, does away with that complaint."""
    overrides, _, _, _, do = row
    advice = do.removeprefix("write it like ")
    key = advice.partition("=")[0]
    kept = [override for override in overrides if not override.startswith(key)]
    refused = refusal([*kept, advice], mine)
    # Another complaint may come to light: of a key beside it, or of two that do not go together.
    assert refused is None or not refused.what.startswith(f"{key} ")


class Disc(BaseModel):
    distribution: Literal["disc"] = "disc"
    radius: float


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")
    distribution: Literal["square"] = "square"
    side: PositiveInt = 1


class Odd(BaseModel):
    """Fields as the schema does not have them yet."""

    pair: tuple[int, str]
    label: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    level: Literal[1, 2] | None = None
    table: dict[str, int] = {}
    within: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(max_length=3)] = [0.5]
    raw: bytes = b""
    anything: Any = 1
    maps: tuple[dict[str, int], ...] = ()
    names: tuple[str, ...] = ()
    shape: Disc | Square = Field(default=Square(), discriminator="distribution")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pair", "a list such as [32,32] of whole numbers"),
        ("label", "text that matches ^[a-z]+$"),
        ("level", "one of 1, 2, or null"),
        ("table", "a mapping such as {key:value}"),
        ("within", "a list such as [1.0,0.1] of numbers greater than 0 and of at most 1, at most 3 of them"),
        ("raw", "a value of type bytes"),
        ("anything", "any value"),
        ("maps", "a list, each entry a mapping such as {key:value}"),
        ("names", "a list such as [a,b] of text"),
        ("shape", "a section of distribution disc, square"),
    ],
)
def test_words_for_types_that_the_schema_may_yet_have(name: str, words: str) -> None:
    assert allowed_values(Odd.model_fields[name]) == words


@pytest.mark.parametrize(
    ("shape", "what", "do"),
    [
        ({"distribution": "squar"}, "shape.distribution is not known", "'shape.distribution=square'?"),
        ({}, "shape.distribution has to be given", "add shape.distribution=..."),
        (
            {"distribution": "square", "radius": 1.0},
            "there is no key 'shape.radius' where shape.distribution=square",
            "choose shape.distribution=disc, which has it",
        ),
        ({"distribution": "square", "side": 0}, "shape.side cannot be 0", "override it with shape.side=1"),
    ],
)
def test_sections_may_be_chosen_by_another_name_than_kind(
    shape: dict[str, object], what: str, do: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Odd.model_validate({"pair": (1, "a"), "shape": shape})
    error = explain(caught.value, Odd, ())
    assert error.what == what
    assert error.do is not None and do in error.do


def test_choices_and_examples() -> None:
    fields = Odd.model_fields
    assert choices(fields["level"]) == ["1", "2"] and choices(fields["table"]) == []
    assert example(fields["within"], 0.25) == "[0.25]"
    assert example(fields["within"], 7) == "[0.5]", "a list of what is refused is refused too"
    assert example(fields["within"], True) == "[0.5]"
    assert example(fields["names"]) == "[a,b]", "and not the empty default"
    assert example(create_model("Outer", inner=(Square, Square())).model_fields["inner"]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ([8, 16], "[8,16]"),
        ({"a": [None]}, "{a:[null]}"),
        ("x", "x"),
        (0.5, "0.5"),
    ],
)
def test_values_are_written_as_they_are_typed(value: object, text: str) -> None:
    assert typed(value) == text


@given(st.integers(-50, 50), st.integers(-60, 60))
def test_every_bound_is_told(low: int, value: int) -> None:
    """Whatever is allowed is not complained of, and whatever is not is told its bound."""
    model = create_model("Model", number=(Annotated[int, Field(ge=low)], low))
    if value >= low:
        assert model.model_validate({"number": value}).model_dump() == {"number": value}
        return
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"number": value})
    assert explain(caught.value, model, ()).allowed == f"a whole number of at least {low}"


def test_a_very_long_value_does_not_hide_the_rest() -> None:
    model = create_model("Model", number=(PositiveInt, 1))
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"number": list(range(10_000))})
    error = explain(caught.value, model, ())
    assert len(error.what) < 200 and len(str(error)) < 1000
