"""Overrides of a key and of what holds it: the later one wins, or both are named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sweepflow.compose import compose_llc, compose_trials
from sweepflow.compose.overlaps import assigned, value_at
from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composed, Composer

NESTED = Composer({"opt": {"name": "sgd", "lr": 0.5}, "sizes": [1, 2], "n": 0, "label": "${opt.lr}-${n}"})
PROGRAM = ["workload=command", "command='echo x'", "metrics=[loss]"]


def expand(*overrides: str) -> list[Composed]:
    return NESTED.expand(overrides)


def seen(found: Sequence[Composed]) -> list[Any]:
    return [OmegaConf.to_container(one.tree.opt) for one in found]


def test_a_later_value_within_swept_mappings_holds_in_all() -> None:
    found = expand("opt={name:sgd,lr:0.1},{name:adam,lr:0.2}", "opt.lr=9")
    assert seen(found) == [{"name": "sgd", "lr": 9}, {"name": "adam", "lr": 9}]
    assert [one.params["opt"] for one in found] == seen(found), "the table has what the job got"
    assert found[0].overrides == ("opt={name:sgd,lr:0.1}", "opt.lr=9")
    found = expand("opt={name:sgd,lr:0.1},{name:adam,lr:0.2}", "opt.lr=8,9")
    assert [(one.tree.opt.name, one.tree.opt.lr) for one in found] == [
        ("sgd", 8), ("sgd", 9), ("adam", 8), ("adam", 9),
    ]  # fmt: skip


def test_a_later_mapping_wins_over_a_value_within() -> None:
    found = expand("opt.lr=9", "opt={name:sgd,lr:0.1},{name:adam}")
    assert seen(found) == [{"name": "sgd", "lr": 0.1}, {"name": "adam", "lr": 9}]
    (one,) = expand("opt.lr=9", "opt={lr:3}")
    assert one.tree.opt == {"name": "sgd", "lr": 3}


def test_values_that_do_not_overlap_keep_what_is_between_them_in_order() -> None:
    (one, two) = expand("opt.lr=1,2", "opt={name:a}", "opt.name=b", "n=3")
    assert seen([one, two]) == [{"name": "b", "lr": 1}, {"name": "b", "lr": 2}]
    assert (one.tree.n, one.tree.label) == (3, "1-3")


def test_places_in_lists() -> None:
    found = expand("sizes=[8,8],[16,16]", "sizes.0=4")
    assert [list(one.tree.sizes) for one in found] == [[4, 8], [4, 16]]
    assert [one.params["sizes"] for one in found] == [[4, 8], [4, 16]]


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["sizes=[8],[16]", "sizes.0=4"], ("sizes", "sizes.0")),
        (["opt.lr=1,2", "opt={lr:3}"], ("opt.lr", "opt")),
        (["opt.lr=1,2", "opt={lr:3},{lr:4}"], ("opt.lr", "opt")),
        (["opt.lr=1,2", "opt={lr:3},{name:x}"], ("opt.lr", "opt")),
        (["opt.lr=1,2", "opt=null"], ("opt.lr", "opt")),
        (["opt={lr:1},{lr:2}", "opt.lr=9"], ("opt", "opt.lr")),
        (["opt={lr:1},{lr:2}", "~opt.lr"], ("opt", "opt.lr")),
        (["opt.lr=1,2", "~opt"], ("opt.lr", "opt")),
        (["n=1,2", "~n"], ("n",)),
    ],
)
def test_what_cannot_both_hold_names_both(overrides: list[str], keys: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        expand(*overrides)
    assert all(text in str(error.value) for text in overrides) and all(
        key in error.value.what for key in keys
    )


def test_a_plus_on_a_key_that_is_there_is_refused_as_hydra_refuses_it() -> None:
    for overrides in (["+n=1"], ["+n=1,2"], ["opt.lr=1,2", "+opt.lr.x=3"]):
        with pytest.raises(ConfigError):
            expand(*overrides)
    with pytest.raises(ConfigError, match="n is there already"):
        expand("+n=1,2")
    assert [one.tree.n for one in expand("++n=1,2")] == [1, 2]
    assert [one.tree.new for one in expand("+new=1,2")] == [1, 2]


# --- The command line ---------------------------------------------------------------------------------------


def widths(*overrides: str) -> list[Any]:
    return [config.model.widths for config in compose_llc(["model=mlp", *overrides])]  # type: ignore[union-attr]


def test_on_the_command_line_too() -> None:
    assert widths("model.widths=[8,8],[16,16]", "model.widths.0=4") == [(4, 8), (4, 16)]
    with pytest.raises(ConfigError, match=r"model.widths is swept, and model.widths.0") as error:
        widths("model.widths=[8],[16]", "model.widths.0=4")
    assert "model.widths=[8],[16] and model.widths.0=4" in str(error.value)
    with pytest.raises(ConfigError, match="no such place"):
        widths("model.widths=[8,8],[16,16]", "model.widths.2=4")


def args(*overrides: str, config_dir: Path | None = None) -> list[Any]:
    request = compose_trials([*PROGRAM, *overrides], config_dir)
    return [request.config(point, {}).args for point in request.points]


@pytest.mark.parametrize("more", [[], ["args.other=${args.a.x}"]], ids=["plain", "with an interpolation"])
def test_mappings_are_merged_whether_swept_or_not(more: list[str]) -> None:
    """Each alone is what it is in the sweep, with interpolations and without."""
    texts = ["args.a={x:1}", "args.a={y:2}"]
    both = args("args.a.x=0", "args.a={x:1},{y:2}", *more)
    assert both == [args("args.a.x=0", text, *more)[0] for text in texts]
    assert [one["a"] for one in both] == [{"x": 1}, {"x": 0, "y": 2}]


def test_every_function_of_the_grammar_on_the_command_line() -> None:
    found = args("args.x=str(1,2)", "args.y=shuffle(range(0,2))")
    assert sorted((one["x"], one["y"]) for one in found) == [("1", 0), ("1", 1), ("2", 0), ("2", 1)]
    request = compose_trials([*PROGRAM, "args.y=shuffle(range(0,9))"])
    assert request.grid == ("args.y",)
    assert args("args.y=str(3)") == [{"y": "3"}]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose name has all that has to be quoted."""
    directory = tmp_path_factory.mktemp("mine") / 'it\'s "mine", \\ ${x} [1] é\\'
    files = {
        "space/parts.yaml": {
            "parameters": {
                "args.a.x": {"distribution": "uniform", "low": 0, "high": 1},
                "args.b": {"distribution": "categorical", "values": [[1, 2], [3, 4]]},
            }
        },
        "experiment/swept.yaml": {
            "hydra": {"sweeper": {"params": {"args.a.x": "1,2", "args.b": "[5,6],[7,8]"}}}
        },
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# @package _global_\n" * name.startswith("experiment") + json.dumps(content))
    return directory


def test_a_directory_of_any_name(mine: Path) -> None:
    assert {"args.a.x", "args.b"} == drawn(mine, "args.c=1")


def drawn(mine: Path, *overrides: str) -> set[str]:
    space = compose_trials([*PROGRAM, "space=parts", *overrides], mine).space
    return set() if space is None else set(space.keys)


def test_what_is_typed_wins_over_a_space_by_what_holds_it(mine: Path) -> None:
    assert drawn(mine, "args.a={x:3}") == {"args.b"}
    assert drawn(mine, "args.a={y:3},{y:4}") == {"args.a.x", "args.b"}
    assert drawn(mine, "args.a=null") == drawn(mine, "args={a:{x:1}}") == {"args.b"}


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["args.b.0=9"], ("args.b", "args.b.0")),
        (["args.a={x:1},{y:2}"], ("args.a.x", "args.a")),
        (["args.a=choice({x:1},{x:2})"], ("args.a.x", "args.a")),
        (["args.c=choice([1,2],[3,4])", "args.c.0=9"], ("args.c", "args.c.0")),
        (["args.c.d=interval(0,1)", "args.c={d:9}"], ("args.c.d", "args.c")),
    ],
)
def test_what_is_drawn_and_what_is_given_in_part(
    mine: Path, overrides: list[str], keys: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as error:
        drawn(mine, *overrides)
    assert all(key in error.value.what for key in keys) and all(
        text in str(error.value) for text in overrides
    )


def test_an_experiments_sweep_and_what_is_typed(mine: Path) -> None:
    def found(*overrides: str) -> list[Any]:
        return [(a["a"], a["b"]) for a in args("+experiment=swept", *overrides, config_dir=mine)]

    assert found("args.a={x:3}", "args.b=0") == [({"x": 3}, 0)], "the command line wins"
    assert found("args.b.0=9", "args.a={y:3}")[::3] == [
        ({"x": 1, "y": 3}, [9, 6]),
        ({"x": 2, "y": 3}, [9, 8]),
    ]
    with pytest.raises(ConfigError, match=r"\[5,6\],\[7,8\], from the experiment swept and args.b"):
        found("args.b.0=9", "args.b.1=0")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", 1),
        ("a.b", {"c": 2}),
        ("a.b.c", None),
        ("l.1", 7),
        ("l.0.x", 8),
        ("new.in", [1]),
        ("a", {"b": {"d": 3}}),
    ],
)
def test_values_are_set_as_omegaconf_sets_them(path: str, value: Any) -> None:
    content = {"a": {"b": {"c": 1}}, "l": [{"x": 1}, 2]}
    tree = OmegaConf.create(content)
    OmegaConf.update(tree, path, value, merge=True, force_add=True)
    before = json.dumps(content)
    found = assigned(content, path.split("."), value)
    assert found == OmegaConf.to_container(tree)
    assert value_at(found, path) == (value if not isinstance(value, dict) else found_mapping(tree, path))
    assert value_at(content, f"{path}.nothing") is None
    assert json.dumps(content) == before, "in a copy"


def found_mapping(tree: Any, path: str) -> Any:
    return OmegaConf.to_container(OmegaConf.select(tree, path))
