"""Every kind of configuration, composed with overrides in Hydra's grammar; what is said of what it lacks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra_zen import builds, just, make_config
from omegaconf import MISSING, OmegaConf
from pydantic import BaseModel

from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import Composed, Composer
from sweepflow.jobs.source import store


@dataclass
class Inner:
    rate: float = 0.1
    sizes: list[int] = field(default_factory=lambda: [1, 2])


@dataclass
class Experiment:
    foo: str = "hello"
    bar: int = 1
    inner: Inner = field(default_factory=Inner)


class InnerModel(BaseModel):
    rate: float = 0.1
    sizes: list[int] = [1, 2]


class Model(BaseModel):
    foo: str = "hello"
    bar: int = 1
    inner: InnerModel = InnerModel()


PLAIN = {"foo": "hello", "bar": 1, "inner": {"rate": 0.1, "sizes": [1, 2]}}
KINDS: dict[str, Any] = {
    "dataclass": Experiment,
    "instance": Experiment(),
    "model": Model,
    "instance of a model": Model(),
    "mapping": PLAIN,
    "mapping of dataclasses": {"foo": "hello", "bar": 1, "inner": Inner},
    "OmegaConf": OmegaConf.create(PLAIN),
    "make_config": make_config(foo="hello", bar=1, inner=Inner),
}


@pytest.fixture(autouse=True)
def own_groups() -> Iterator[None]:
    """Groups of the config store for one test."""
    repository = ConfigStore.instance()
    before = repository.repo
    repository.repo = dict(before)
    yield
    repository.repo = before


def expand(config: Any, overrides: list[str], config_dir: Path | None = None) -> list[Composed]:
    return Composer(config, config_dir).expand(overrides)


def trees(found: list[Composed]) -> list[Any]:
    return [OmegaConf.to_container(one.tree) for one in found]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_composed_alike(kind: str) -> None:
    (one,) = expand(KINDS[kind], ["bar=2", "inner.rate=0.5"])
    assert OmegaConf.to_container(one.tree) == {**PLAIN, "bar": 2, "inner": {"rate": 0.5, "sizes": [1, 2]}}
    assert one.overrides == ("bar=2", "inner.rate=0.5")
    assert one.hydra.hydra.job.config_name.startswith("sweepflow_")


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_override_varies_slowest(kind: str) -> None:
    found = expand(KINDS[kind], ["foo=a,b", "bar=range(0,3)", "inner.sizes=[3],[4,5]"])
    wanted = list(itertools.product("ab", range(3), ([3], [4, 5])))
    assert [(t["foo"], t["bar"], t["inner"]["sizes"]) for t in trees(found)] == wanted
    assert found[0].overrides == ("foo=a", "bar=0", "inner.sizes=[3]")


def test_jobs_share_nothing() -> None:
    first, second = expand(Experiment, ["bar=1,2"])
    first.tree.inner.rate = 7.0
    assert second.tree.inner.rate == 0.1
    assert expand(Experiment, [])[0].tree.inner.rate == 0.1


def test_groups_of_the_config_store() -> None:
    store({"lr": 0.1}, group="optim", name="sgd")
    store(group="optim", name="adam", node={"lr": 0.2, "b": 0.9})
    found = expand({"optim": None, "x": 1}, ["optim=sgd,adam", "x=1,2"])
    assert [one.overrides for one in found] == [
        ("optim=sgd", "x=1"),
        ("optim=sgd", "x=2"),
        ("optim=adam", "x=1"),
        ("optim=adam", "x=2"),
    ]
    assert trees(found)[2] == {"optim": {"lr": 0.2, "b": 0.9}, "x": 1}
    (one,) = expand({"optim": None}, ["optim=sgd", "optim.lr=5"])
    assert one.tree.optim.lr == 5
    assert len(expand({"optim": None}, ["optim=glob(*)"])) == 2


def test_a_defaults_list_chooses() -> None:
    store({"lr": 0.1}, group="optim", name="sgd")
    store({"lr": 0.2}, group="optim", name="adam")
    config = make_config(hydra_defaults=["_self_", {"optim": "sgd"}], optim=None, x=1)
    assert trees(expand(config, [])) == [{"optim": {"lr": 0.1}, "x": 1}]
    assert [tree["optim"]["lr"] for tree in trees(expand(config, ["optim=adam,sgd"]))] == [0.2, 0.1]


def test_groups_of_conf_compose_and_give_way_to_a_key() -> None:
    (one,) = expand({"x": 1}, ["+model=small"])
    assert one.tree.model.kind == "mlp"
    assert [tree["model"] for tree in trees(expand({"model": 1}, ["model=3,4"]))] == [3, 4]


def test_groups_of_the_users_own_directory(tmp_path: Path) -> None:
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "sgd.yaml").write_text("lr: 0.5\n")
    (one,) = expand({"x": 1}, ["+optim=sgd"], tmp_path)
    assert one.tree.optim.lr == 0.5
    (tmp_path / "optim" / "broken.yaml").write_text("lr: [0.5\n")
    with pytest.raises(ConfigError, match=r"(?s)Hydra cannot compose this.*broken\.yaml.*optim=broken"):
        expand({"x": 1}, ["+optim=broken", "x=2"], tmp_path)


def test_targets_interpolations_and_missing_values() -> None:
    config = {"f": builds(pow, exp=2, zen_partial=True), "g": just(len), "x": 10, "y": "${x}"}
    (one,) = expand(config, ["x=4"])
    assert one.tree.y == 4 and hydra.utils.instantiate(one.tree.f)(3) == 9
    assert hydra.utils.instantiate(one.tree.g) is len

    @dataclass
    class Open:
        x: int = MISSING

    (one,) = expand(Open, [])
    assert OmegaConf.is_missing(one.tree, "x")
    assert expand(Open, ["x=3"])[0].tree.x == 3


def test_a_program_of_hydras_own_is_put_aside_and_back() -> None:
    with hydra.initialize(config_path=None, version_base="1.3"):
        theirs = GlobalHydra.instance().hydra
        expand(Experiment, ["bar=2"])
        assert GlobalHydra.instance().hydra is theirs
    assert not [name for name in ConfigStore.instance().repo if name.startswith("sweepflow_")]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["bat=1"], ["no key 'bat'", "bar, foo, inner.rate", "did you mean 'bar'?", "+bat=VALUE"]),
        (["bat=1,2"], ["no key 'bat'", "did you mean 'bar'?"]),
        (["inner.rat=1"], ["no key 'inner.rat'", "did you mean 'inner.rate'?"]),
        (["inner.rat=1,2"], ["no key 'inner.rat'", "did you mean 'inner.rate'?"]),
        (["bar=x"], ["x", "bar=x"]),
        (["bar=1,x"], ["'x'", "bar=x"]),
        (["bar=interval(0,1)"], ["bar: an interval is a distribution", "bar=1,2,3"]),
        (["bar=1", "bar=2"], ["bar is given twice"]),
        (["bar==1"], ["not an override in Hydra's grammar"]),
        (["+optim=sgd"], []),
    ],
    ids=lambda value: "".join(value)[:20] if isinstance(value, list) else None,
)
def test_what_is_refused(overrides: list[str], said: list[str]) -> None:
    if not said:  # there is no such group: it is a new key
        assert expand(Experiment, overrides)[0].tree.optim == "sgd"
        return
    with pytest.raises(ConfigError) as error:
        expand(Experiment, overrides)
    for words in said:
        assert words in str(error.value)


@pytest.mark.parametrize("config", [3, "text", None, [1], len], ids=repr)
def test_what_is_no_configuration(config: Any) -> None:
    with pytest.raises(ConfigError, match=r"cannot be the configuration of a job(.|\n)*hydra-zen"):
        expand(config, [])


def test_a_value_that_no_tree_holds() -> None:
    with pytest.raises(ConfigError, match=r"kind that OmegaConf does not hold(.|\n)*_target_"):
        expand({"f": object()}, [])
    store({"lr": 1}, group="optim", name="sgd")
    with pytest.raises(ConfigError, match=r"did you mean '.optim=sgd'"):
        expand({"x": 1}, ["+optim=sg"])


@pytest.mark.parametrize(
    ("overrides", "said", "do"),
    [
        (["l.5=1"], "l is a list, and has no place 5", "l=["),
        (["l.5=1,2"], "l is a list, and has no place 5", "l=["),
        (["l.x=1"], "l is a list, and has no place x", "l=["),
        (["l.5.k=1"], "l is a list, and has no place 5", "l=["),
        (["+l.3=1"], "l is a list, which an override cannot make longer", "l=["),
        (["~l.1"], "l is a list, which an override cannot make longer or shorter", "l=["),
        (["none.0=1"], "none is a list, and has no place 0", "none=["),
        (["~a", "a.b=1"], "a.b is to be changed, and a, which holds it, is removed", "+a.b=1"),
        (["~a", "a.b=1,2"], "a.b is to be changed, and a, which holds it, is removed", "+a.b=1"),
        (["~l", "l.1=3"], "l.1 is to be changed, and l, which holds it, is removed", "leave ~l out"),
        (["~a", "~a.b"], "a.b is to be changed, and a, which holds it, is removed", "leave ~a.b out"),
        (["~q"], "no key 'q' that could be removed", "names above"),
        (["~a.q"], "no key 'a.q' that could be removed", "did you mean 'a."),
        (["~a=3"], "a is to be removed, and has another value", "~a"),
        (["hydra.sweep.dir=x"], "Hydra's directories, launchers and sweepers are not used", "hydra_multirun"),
        (["hydra.run.dir=x"], "Hydra's directories, launchers and sweepers are not used", "working_dir"),
        (["hydra/launcher=basic"], "Hydra's directories, launchers and sweepers are not used", "runner"),
        (["~gone"], "gone is null, and Hydra removes only what has a value", "leave ~gone out"),
        (["x=1,1.0,1.0"], "x: a value is given twice", "remove one 1.0"),
        (["x=[1],[true],[true]"], "x: a value is given twice", "remove one [true]"),
        (["+a.b=1"], "a.b is there already", "leave the plus out to change it: a.b=1"),
        (["a.q=1"], "no key 'a.q'", "+a.q=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_the_configuration_is_said_in_four_parts(
    overrides: list[str], said: str, do: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        expand({"l": [1, 2, 3], "none": [], "a": {"b": 1, "c": 2}, "x": 1, "gone": None}, overrides)
    error = caught.value
    assert said in error.what and do in str(error.do)
    assert error.allowed and all(text.split(",")[0] in str(error.got) for text in overrides[-1:])


def test_a_new_mapping_in_the_place_of_one_that_is_removed() -> None:
    (one,) = expand({"a": {"b": 1, "c": 2}}, ["~a", "+a.b=3"])
    assert one.tree == {"a": {"b": 3}}


def test_values_of_several_types_are_several() -> None:
    values = ["1", "1.0", "true", "'1'", "[1]", "[1.0]", "[true]", "{a:1}", "{a:true}"]
    found = [one.tree.x for one in expand({"x": 0}, ["x=" + ",".join(values)])]
    assert [repr(value) for value in found] == [
        *["1", "1.0", "True", "'1'", "[1]", "[1.0]", "[True]", "{'a': 1}", "{'a': True}"]
    ]
