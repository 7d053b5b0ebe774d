"""From a command line to configurations, in Hydra's own grammar."""

from __future__ import annotations

import itertools
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from pydantic import TypeAdapter

from sweepflow.compose import compose_llc, session
from sweepflow.compose.session import CONF
from sweepflow.errors import ConfigError
from sweepflow.estimates.plan import make_plan
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import MlpModel
from sweepflow.schema.sampler import HmcSampler, SgldSampler
from sweepflow.storage.store import Store

FILES = {
    "model/tiny.yaml": "kind: mlp\nwidths: [3]\n",
    "data/mine.yaml": "kind: file\npath: ???\n",
    "target/tied.yaml": "batch_size: ${data.n_data}\nseed: ${data.seed}\n",
    "experiment/mine.yaml": (
        "# @package _global_\n"
        "defaults:\n  - override /model: tiny\n"
        "target:\n  steps: 7\n"
        "hydra:\n  sweeper:\n    params:\n"
        "      target.seed: range(1,4)\n"
        "      sampler: hmc,nuts\n"
        "      data.n_data: 10,20\n"
    ),
    "experiment/nothing_swept.yaml": "# @package _global_\ntarget:\n  steps: 9\n",
    "experiment/typo.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      target.sed: 1,2\n",
    "experiment/half.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params:\n      target.seed: 1,\n",
    "model/broken.yaml": "kind: [mlp\n",
    "model/unknown.yaml": "defaults:\n  - nowhere\nkind: mlp\n",
    "sampler/typo.yaml": "kind: hmc\nchans: 3\n",
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A researcher's own directory of groups."""
    directory = tmp_path_factory.mktemp("mine") / "it's my conf, v2"
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def refusal(overrides: list[str], config_dir: Path | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose_llc(overrides, config_dir)
    assert len(str(caught.value).splitlines()) <= 5
    assert caught.value.exit_code == 2
    return caught.value


def test_nothing_typed_is_the_primary_file_and_the_schemas_defaults() -> None:
    (config,) = compose_llc([])
    assert config.model == MlpModel(target_params=500, depth=2)
    assert config.sampler == SgldSampler()
    assert (config.data.kind, config.target.optimizer, config.runner.kind) == (
        "teacher_student",
        "adam",
        "local",
    )


def test_every_shipped_option_is_a_valid_configuration() -> None:
    fields = LlcConfig.model_fields
    for group in ("model", "data", "target", "sampler", "runner"):
        for path in sorted((CONF / group).glob("*.yaml")):
            overrides = [f"{group}={path.stem}"] + ["data.path=x"] * (path.stem in ("file", "mnist"))
            (config,) = compose_llc(overrides)
            TypeAdapter(fields[group].annotation).validate_python(getattr(config, group))


def test_axes_multiply_in_the_order_they_are_typed() -> None:
    configs = compose_llc(["model=small,base", "sampler=sgld,hmc", "target.seed=1,2", "data.seed=5,6"])
    seen = [(c.model.target_params, c.sampler.kind, c.target.seed, c.data.seed) for c in configs]
    assert seen == list(itertools.product([500, 2500], ["sgld", "hmc"], [1, 2], [5, 6]))


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("target.seed=3", [3]),
        ("target.seed=3,1,2", [3, 1, 2]),
        ("target.seed=range(1,6)", [1, 2, 3, 4, 5]),
        ("target.seed=range(3)", [0, 1, 2]),
        ("target.seed=range(0,10,step=4)", [0, 4, 8]),
        ("target.seed=choice(4,5)", [4, 5]),
        ("target.seed=choice(4)", [4]),
        ("target.seed=range(6,7)", [6]),
        ("target.seed=sort(3,1,2)", [1, 2, 3]),
        ("target.seed=sort(range(1,4),reverse=true)", [3, 2, 1]),
        ("+target.seed=1,2", [1, 2]),
        ("++target.seed=1,2", [1, 2]),
        ("target.seed='1','2'", [1, 2]),
        ("target.seed=int(1.0),2", [1, 2]),
        ("target.batch_size=null,32", [None, 32]),
        ("target.learning_rate=1e-3,1e-2", [0.001, 0.01]),
        ("target.learning_rate=range(0.25,1,step=0.25)", [0.25, 0.5, 0.75]),
        ("target.optimizer=adam,sgd", ["adam", "sgd"]),
        ("target.optimizer='adam',\"sgd\"", ["adam", "sgd"]),
        ("data.teacher_widths=[8]", [(8,)]),
        ("data.teacher_widths=[8,8],[16],[]", [(8, 8), (16,), ()]),
        ("data.seed=${model.depth}", [2]),
        ("data.seed=${model.depth},7", [2, 7]),
    ],
)
def test_values_are_what_hydra_users_write(override: str, values: list[object]) -> None:
    key = override.split("=")[0].lstrip("+")
    group, name = key.split(".")
    assert [getattr(getattr(c, group), name) for c in compose_llc([override])] == values


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("a.csv", ["a.csv"]),
        ("'my data, v2.csv'", ["my data, v2.csv"]),
        ("'a b.csv','c,d.csv'", ["a b.csv", "c,d.csv"]),
        ("a\\,b.csv", ["a,b.csv"]),
        ("a\\,b.csv,c\\ d.csv", ["a,b.csv", "c d.csv"]),
        ('\'it\\\'s.csv\',"say \\"x\\".csv"', ["it's.csv", 'say "x".csv']),
        ("'k=v.csv'", ["k=v.csv"]),
        ("'1','2'", ["1", "2"]),
        ("'range(1,3)'", ["range(1,3)"]),
        ("'\\${x}.csv'", ["${x}.csv"]),
        ("'Größe 1.npz'", ["Größe 1.npz"]),
    ],
)
def test_quoting_and_escaping_are_hydras(typed: str, paths: list[str]) -> None:
    configs = compose_llc(["data=file", f"data.path={typed}"])
    assert [config.data.path for config in configs] == paths  # type: ignore[union-attr]


def test_a_glob_takes_the_options_that_match() -> None:
    options = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
    assert len(compose_llc(["sampler=glob(*)"])) == len(options)
    kinds = [c.sampler.kind for c in compose_llc(["sampler=glob([hmc*,nuts*],exclude=*_fast)"])]
    assert kinds == ["hmc", "nuts"]


def test_a_group_choice_is_composed_once_however_many_configurations_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed: list[list[str]] = []
    compose = hydra.compose

    def counted(name: str, overrides: list[str], **options: bool) -> DictConfig:
        composed.append(overrides)
        return compose(name, overrides, **options)

    monkeypatch.setattr(session.hydra, "compose", counted)
    groups = ["model=small,base", "sampler=sgld,hmc,nuts"]
    assert len(compose_llc([*groups, "target.seed=range(100)", "data.n_data=100,200"])) == 1200
    assert len(composed) == 6
    composed.clear()
    assert len(compose_llc([*groups, "data.seed=${target.seed}", "target.seed=range(10)"])) == 60
    assert len(composed) == 6


def test_n_targets_and_m_samplers_are_n_builds_and_n_times_m_estimates(store: Store) -> None:
    plan = make_plan(
        compose_llc(
            ["model=small,base", "target.seed=1,2", "sampler=sgld,hmc", "sampler.gamma=1,10,100", "name=x"]
        ),
        store,
    )
    assert (len(plan.targets), len(plan.estimates), plan.hits) == (4, 24, 0)
    assert sum(len(batch.trials) for batch in plan.batches_of("target")) == 4
    assert len(plan.batches_of("target")) == 2  # two architectures
    assert len(plan.batches_of("llc")) == 4  # times two samplers; gamma is traced


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler.gamma=1,1.0"],
        ["target.learning_rate='1e-5',0.00001"],
        ["data.teacher_widths=[8],['8']"],
        ["target.momentum=0,-0.0"],
        ["sampler.nbeta=null,144.76482730108395"],
        ["sampler=hmc,hmc_fast", "sampler.chains=4", "sampler.ess=300", "sampler.warmup=300"],
        ["sampler.ess=null,200"],
        ["sampler.max_gradients=null,300000"],
    ],
)
def test_one_estimate_asked_for_twice_in_other_words_is_refused(overrides: list[str], store: Store) -> None:
    with pytest.raises(ConfigError, match="asks for one estimate twice"):
        make_plan(compose_llc(overrides), store)


def test_own_groups_join_the_shipped_ones(mine: Path) -> None:
    small, tiny = compose_llc(["model=small,tiny"], mine)
    assert (small.model, tiny.model) == (
        MlpModel(target_params=500, depth=2),
        MlpModel(widths=(3,)),
    )
    assert compose_llc(["model=tiny"], str(mine))[0] == tiny
    assert len(compose_llc(["model=glob(t*)"], mine)) == 1


def test_a_relative_directory_is_taken_from_where_one_stands(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    assert compose_llc(["model=tiny"], mine.name)[0].model == MlpModel(widths=(3,))


def test_a_file_with_interpolations_follows_what_is_swept(mine: Path) -> None:
    configs = compose_llc(["target=tied", "data.n_data=100,200", "data.seed=3"], mine)
    assert [(c.target.batch_size, c.target.seed) for c in configs] == [(100, 3), (200, 3)]


def test_a_value_that_a_file_leaves_open_can_be_swept(mine: Path) -> None:
    configs = compose_llc(["data=mine", "data.path=a.csv,b.csv"], mine)
    assert [c.data.path for c in configs] == ["a.csv", "b.csv"]  # type: ignore[union-attr]


def test_an_experiment_brings_its_sweep(mine: Path) -> None:
    configs = compose_llc(["+experiment=mine"], mine)
    assert len(configs) == 3 * 2 * 2
    assert {c.sampler.kind for c in configs} == {"hmc", "nuts"}
    assert {c.target.seed for c in configs} == {1, 2, 3}
    assert {(c.model, c.target.steps) for c in configs} == {(MlpModel(widths=(3,)), 7)}


def test_the_command_line_wins_over_the_experiment(mine: Path) -> None:
    overrides = ["+experiment=mine", "data.n_data=5", "sampler=sgld", "target.steps=1,2", "+target.seed=9"]
    configs = compose_llc(overrides, mine)
    seen = [(c.data.n_data, c.sampler.kind, c.target.steps, c.target.seed) for c in configs]  # type: ignore[union-attr]
    assert seen == [(5, "sgld", 1, 9), (5, "sgld", 2, 9)]
    assert compose_llc(["+experiment=mine", "model=base"], mine)[0].model != MlpModel(widths=(3,))


def test_an_experiment_without_a_sweep_is_one_configuration(mine: Path) -> None:
    (config,) = compose_llc(["+experiment=nothing_swept"], mine)
    assert config.target.steps == 9


def test_the_shipped_experiment() -> None:
    configs = compose_llc(["+experiment=data_scaling"])
    assert {(c.data.n_data, c.target.seed) for c in configs} == set(  # type: ignore[union-attr]
        itertools.product([1000, 2000, 5000], [1, 2])
    )
    assert all(isinstance(c.sampler, HmcSampler) for c in configs)


def test_hydra_of_the_user_is_left_as_it_was(mine: Path) -> None:
    with hydra.initialize_config_dir(str(mine / "model"), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        first = compose_llc(["target.seed=1,2"])
        with pytest.raises(ConfigError):
            compose_llc(["data.n_dta=1"])
        assert compose_llc(["target.seed=1,2"]) == first
        assert GlobalHydra.instance().hydra is before
        assert hydra.compose("tiny").widths == [3]
    assert not GlobalHydra.instance().is_initialized()


def test_where_one_stands_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = compose_llc(["sampler=glob(*)"])
    elsewhere = tmp_path / "conf"
    elsewhere.mkdir()
    (elsewhere / "llc.yaml").write_text("another: program\n")
    monkeypatch.chdir(tmp_path)
    assert compose_llc(["sampler=glob(*)"]) == here


# What a value is refused for is in test_invalid, word by word.
REFUSED: list[tuple[str, list[str], list[str]]] = [
    (
        "typo in a key",
        ["data.n_dta=5"],
        ["no key 'data.n_dta'", "data.n_dta=5", "data.n_data", "'data.n_data'?"],
    ),
    ("typo in a swept key", ["data.n_dta=5,6"], ["no key 'data.n_dta'", "5,6", "'data.n_data'?"]),
    ("no such group", ["modell=small"], ["no key or group 'modell'", "sampler, runner", "'model'?"]),
    ("no such key", ["+fo.bar=1"], ["no key or group 'fo.bar'", "+fo.bar=1", "model, data"]),
    ("nothing before =", ["=5"], ["no key or group ''", "=5"]),
    ("no such option", ["model=smal"], ["'model' has no option 'smal'", "base, ", "'model=small'?"]),
    ("one option of many", ["model=small,bsae"], ["no option 'bsae'", "small,bsae", "'model=base'?"]),
    ("no option", ["model=null"], ["no option None", "model=null", "base, "]),
    ("empty option", ["model="], ["no option ''", "base, "]),
    ("a group as a mapping", ["model={kind: cnn}"], ["no option {'kind': 'cnn'}", "base, "]),
    ("no such experiment", ["+experiment=zzz"], ["no option 'zzz'", "data_scaling", "write +experiment="]),
    ("typo in its name", ["+experiment=data_scalin"], ["did you mean '+experiment=data_scaling'?"]),
    (
        "experiment without +",
        ["experiment=data_scaling"],
        ["replace", "write a plus: +experiment=data_scaling"],
    ),
    (
        "two experiments",
        ["+experiment=mine,typo"],
        ["one experiment at a time", "mine,typo", "allowed: one of ", "do:      start one sweep for each"],
    ),
    (
        "typo in an experiment",
        ["+experiment=typo"],
        ["no key 'target.sed'", "target.sed=1,2, from the experiment typo", "'target.seed'?"],
    ),
    (
        "half an experiment",
        ["+experiment=half"],
        ["grammar", "target.seed=1,", "from the experiment half", "quote"],
    ),
    (
        "another command's workload",
        ["workload=digits_mlp", "learning_rate=0.1,0.2"],
        [
            "workload is a group of `sweepflow sweep`",
            "sweepflow sweep workload=digits_mlp learning_rate=0.1,0.2 --dry-run",
        ],
    ),
    ("another command's space", ["space=mine,x"], ["space is a group of `sweepflow sweep`", "--dry-run"]),
    (
        "a module for a workload",
        ["workload=my.module"],
        ["use: sweepflow sweep workload=my.module --dry-run"],
    ),
    (
        "a number for a list",
        ["data.teacher_widths=8"],
        ["data.teacher_widths", "a list such as [32,32]", "=[8]"],
    ),
    ("a bad entry", ["data.teacher_widths=[8,0]"], ["data.teacher_widths", "greater than 0", "[8,0]"]),
    ("not a choice", ["target.optimizer=adm"], ["target.optimizer", "adam, adamw, sgd", "adm"]),
    (
        "another sampler's key",
        ["sampler=hmc", "sampler.b1=0.5"],
        ["no key 'sampler.b1' where sampler.kind=hmc"],
    ),
    ("missing in a file", ["data=mine"], ["data.path has to be given", "???", "add data.path=..."]),
    (
        "missing beside an interpolation",
        ["data=mine", "target.seed=${data.seed}", "data.seed=3"],
        ["data.path has to be given", "add data.path=..."],
    ),
    ("empty range", ["target.seed=range(5,5)"], ["target.seed", "no values", "range(5,5)"]),
    (
        "empty glob",
        ["sampler=glob(zzz*)"],
        ["sampler", "no values", "hmc, hmc_fast", "do:      write it like"],
    ),
    ("glob over a key", ["target.seed=glob(*.nothing)"], ["target.seed", "no values", "no file"]),
    (
        "one value twice",
        ["target.seed=1,2,1"],
        ["target.seed", "given twice", "1,2,1", "each value once", "remove one 1"],
    ),
    ("one list twice", ["data.teacher_widths=[8],[8]"], ["given twice", "[8]"]),
    ("two spellings", ["sampler.step_size=1e-5,0.00001"], ["given twice", "1e-5,0.00001", "remove one"]),
    ("one option twice", ["model=small,small"], ["model", "given twice", "remove one small"]),
    ("one key twice", ["target.seed=1", "target.seed=2"], ["each key once", "1 and target.seed=2", "FIRST,"]),
    ("one key with and without +", ["target.seed=1", "++target.seed=2"], ["given twice"]),
    ("one group twice", ["model=small", "model=base"], ["model is given twice"]),
    ("interval", ["sampler.step_size=interval(0,1)"], ["range(1,4)", "interval(0,1)", "list the values"]),
    ("swept runner", ["runner.batch_size=4,8"], ["runner", "cannot be swept", "4,8", "one sweep for each"]),
    ("swept store", ["store=a,b"], ["store", "cannot be swept"]),
    ("swept name", ["name=a,b"], ["name", "cannot be swept"]),
    ("Hydra's own settings", ["hydra.run.dir=x"], ["no key or group 'hydra.run.dir'", "model, data"]),
    ("no =", ["data.n_data"], ["grammar", "data.n_data", "key=value"]),
    ("a comma too many", ["data.n_data=1,,2"], ["grammar", "1,,2"]),
    ("unquoted", ["data.path=a=b"], ["grammar", "a=b", "quote"]),
    ("unknown interpolation", ["data.seed=${data.nope}"], ["interpolation", "data.nope"]),
    ("unknown resolver", ["data.seed=${nope:1}"], ["interpolation", "nope"]),
    (
        "interpolation in a circle",
        ["data.seed=${target.seed}", "target.seed=${data.seed}"],
        ["interpolation"],
    ),
    ("a file that is not YAML", ["model=broken"], ["compose", "broken.yaml", "model=broken"]),
    ("a file with unknown defaults", ["model=unknown"], ["compose", "model/nowhere"]),
    (
        "a typo in a file",
        ["sampler=typo"],
        ["no key 'sampler.chans'", "'sampler.chains'?", "from a configuration file (sampler=typo)"],
    ),
]


@pytest.mark.parametrize(
    ("overrides", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_bad_input_is_refused_in_words_that_help(overrides: list[str], words: list[str], mine: Path) -> None:
    text = str(refusal(overrides, mine))
    assert [word for word in words if word not in text] == [], text


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert "directory is not there" in str(refusal([], tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    assert "DIR/model/mine.yaml" in str(refusal([], tmp_path / "file"))


def test_an_error_in_ten_thousand_values_still_fits_one_screen() -> None:
    seeds = ",".join(map(str, [*range(1, 10_000), -1]))
    text = str(refusal([f"target.seed={seeds}"]))
    assert "target.seed=-1, one of target.seed=1,2,3," in text
    assert len(text) < 1500


def test_ten_thousand_values_are_all_there() -> None:
    assert [c.target.seed for c in compose_llc(["target.seed=range(10000)"])] == list(range(10_000))
