"""What an external program's trial names or depends on decides its id; what it writes does not."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import fingerprint
from sweepflow.storage.store import Store
from sweepflow.workloads.command import NAME, VERSION, WORKLOAD, CommandConfig, check, pin, run_trials
from sweepflow.workloads.command_files import one_look


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a program that reads a file, a package, and settings."""
    folder = tmp_path / "a project [1]"
    for name, content in {
        "train.py": "print('METRIC loss=1')",
        "c.yaml": "lr: 1",
        "d.yaml": "lr: 1",
        "src/model.py": "width = 1",
        "src/deep/layer.py": "depth = 1",
        "configs/a.yaml": "a: 1",
        "configs/b.txt": "b: 1",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def config(cwd: Path, **settings: Any) -> CommandConfig:
    python = shlex.quote(sys.executable)
    given = {"command": f"{python} train.py", "metrics": ("loss",), "cwd": str(cwd), **settings}
    return CommandConfig(**given)


def identity(cwd: Path, **settings: Any) -> str:
    return fingerprint("trl", NAME, VERSION, pin(config(cwd, **settings)))


def within(settings: Any, project: Path) -> Any:
    """The settings with the project's path for `{here}`."""
    if isinstance(settings, dict):
        return {key: within(value, project) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return type(settings)(within(value, project) for value in settings)
    return settings.replace("{here}", str(project))


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({"args": {"config": "c.yaml"}}, "c.yaml"),
        ({"args": {"data": {"files": ["no", "c.yaml"]}}}, "c.yaml"),
        ({"args": {"extra": "--config=c.yaml"}}, "c.yaml"),
        ({"args": {"config": "{here}/c.yaml"}}, "c.yaml"),
        ({"environment": {"CONFIG": "c.yaml"}}, "c.yaml"),
        ({"command": f"{shlex.quote(sys.executable)} train.py --config=c.yaml"}, "c.yaml"),
        ({"depends": ("src/",)}, "src/deep/layer.py"),
        ({"depends": ("src",)}, "src/new.py"),
        ({"depends": ("{here}/src",)}, "src/model.py"),
        ({"depends": ("configs/*.yaml",)}, "configs/a.yaml"),
        ({"depends": ("configs/*.yaml",)}, "configs/new.yaml"),
        ({"depends": ("**/*.yaml",)}, "c.yaml"),
        ({"depends": ("c.yaml", "src/model.py")}, "src/model.py"),
    ],
)
def test_a_change_of_what_a_trial_names_or_depends_on_is_another_trial(
    settings: dict[str, Any], file: str, project: Path
) -> None:
    settings = within(settings, project)
    before = identity(project, **settings)
    assert before == identity(project, **settings)
    (project / file).write_text("changed: 2")
    after = identity(project, **settings)
    assert after != before
    with pytest.raises(ConfigError, match="has changed"):
        check(pin(config(project, **settings)).model_copy(update={"sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({"depends": ("src",)}, "src/__pycache__/model.cpython-311.pyc"),
        ({"depends": ("src/**",)}, "src/__pycache__/model.cpython-311.pyc"),
        ({"depends": ("src",)}, "src/.git/HEAD"),
        ({"depends": ("configs/*.yaml",)}, "configs/b.txt"),
        ({"depends": (".",)}, "sweepflow-data/trials/aa/trl_a.json"),
        ({"depends": (".",), "outputs": ("runs",)}, "runs/1/model.pt"),
        ({"depends": (".",), "outputs": ("**/*.log",)}, "src/deep/x.log"),
        ({"args": {"out": "runs/r.json"}, "outputs": ("runs/*.json",)}, "runs/r.json"),
        ({"args": {"out": "{here}/runs/r.json"}, "outputs": ("{here}/runs",)}, "runs/r.json"),
        ({"args": {"data": "configs"}}, "configs/a.yaml"),
        ({"args": {"name": "model"}}, "src/model.py"),
    ],
)
def test_what_is_written_compiled_or_not_named_changes_nothing(
    settings: dict[str, Any], file: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    settings = within(settings, project)
    before = identity(project, **settings)
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    for content in ("first", "second"):
        (project / file).write_text(content)
        assert identity(project, **settings) == before


def test_ids_without_such_files_are_as_they_were(project: Path) -> None:
    """The one of a command and its script, from the day before arguments were looked at."""
    bare = CommandConfig(command="python train.py", metrics=("loss",), cwd=str(project), args={"lr": 0.1})
    assert fingerprint("trl", NAME, VERSION, bare) == "trl_8b7a72df1f015a90"
    assert fingerprint("trl", NAME, VERSION, pin(bare)) == "trl_760080c43e9b7ac5"


def test_a_project_that_was_moved_has_the_same_ids(project: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"args": {"config": "c.yaml"}, "depends": ("src", "configs/*.yaml")}
    before = identity(project, **settings)
    moved = project.rename(tmp_path / "moved")
    assert identity(moved, **settings) == before
    assert identity(moved, **{**settings, "args": {"config": "d.yaml"}}) != before, "named otherwise"


def test_the_order_of_depends_decides_nothing(project: Path) -> None:
    entries = ["src", "configs/*.yaml", "c.yaml"]
    asked = [entries, entries[::-1], [*entries, "src/model.py"]]
    assert len({identity(project, depends=tuple(one)) for one in asked}) == 1


def test_what_depends_names_has_to_be_there(project: Path) -> None:
    for entry in ("scr/", "configs/*.yml"):
        with pytest.raises(ConfigError, match=rf"depends: there is no '{entry}'".replace("*", r"\*")):
            pin(config(project, depends=(entry,)))


def test_two_folders_of_one_name_are_both_seen(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "src" / "model.py"
    other.parent.mkdir(parents=True)
    for content in ("width = 1", "width = 2"):
        other.write_text(content)
        both = {identity(project, depends=(str(project / "src"), str(other.parent))) for _ in range(2)}
        globbed = identity(project, depends=(f"{tmp_path}/*/src/*.py",))
        if content == "width = 1":
            before = (both, globbed)
    assert len(both) == 1 and both != before[0] and globbed != before[1]


def test_all_trials_of_a_plan_are_of_one_state_of_a_file(project: Path) -> None:
    settings: dict[str, Any] = {"args": {"config": "c.yaml"}, "depends": ("src",)}
    with one_look():
        before = identity(project, **settings)
        (project / "c.yaml").write_text("changed")
        (project / "src" / "model.py").write_text("changed")
        assert identity(project, **settings) == before
    assert identity(project, **settings) != before


def test_links_that_lead_in_circles_end(project: Path) -> None:
    (project / "src" / "up").symlink_to(project)
    before = identity(project, depends=("src",))
    (project / "src" / "deep" / "layer.py").write_text("changed")
    assert identity(project, depends=("src",)) != before


def test_files_are_read_once_while_they_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(project, depends=("src",))
    read: list[object] = []
    monkeypatch.setattr("hashlib.file_digest", lambda file, name: read.append(file))
    assert [identity(project, depends=("src",)) for _ in range(3)] == [before] * 3 and not read


def asked(cwd: Path, **settings: Any) -> Trial[CommandConfig]:
    pinned = pin(config(cwd, **settings))
    return Trial(fingerprint("trl", NAME, VERSION, pinned), pinned, 0)


def test_an_output_that_was_not_there_stops_no_batch_and_is_told(store: Store, project: Path) -> None:
    """Planned before the first trial has made it, as all batches of a sweep are."""
    (project / "train.py").write_text(
        "import sys; open(sys.argv[-1].split('=')[1], 'a').write('x'); print('METRIC loss=1')"
    )
    trials = [asked(project, args={"out": "r.txt", "n": n}) for n in (1, 2)]
    first, second = (run_trials([trial], store)[0] for trial in trials)
    assert [first.status, second.status] == ["flagged", "flagged"]
    assert first.reasons[0].startswith("r.txt changed while it ran") and "outputs=" in first.reasons[0]
    assert (project / "r.txt").read_text() == "xx"
    quiet = asked(project, args={"out": "r.txt"}, outputs=("*.txt",))
    assert run_trials([quiet], store)[0].status == "ok"
    assert asked(project, args={"out": "r.txt"}, outputs=("*.txt",)).id == quiet.id


def test_an_input_that_changes_while_a_trial_runs_is_told(store: Store, project: Path) -> None:
    (project / "train.py").write_text("open('c.yaml', 'a').write('!'); print('METRIC loss=1')")
    (record,) = run_trials([asked(project, args={"config": "c.yaml"}, depends=("src",))], store)
    assert record.status == "flagged" and record.reasons[0].startswith("c.yaml changed while it ran")
    (project / "train.py").write_text("import os; os.remove('src/model.py'); print('METRIC loss=1')")
    (record,) = run_trials([asked(project, depends=("src",))], store)
    assert record.status == "flagged" and "src/model.py changed" in record.reasons[0]


def test_a_file_that_changes_between_two_trials_of_a_batch_starts_no_trial_under_the_old_id(
    store: Store, project: Path
) -> None:
    (project / "train.py").write_text(
        "import sys\nif sys.argv[-1] == 'n=1': open('c.yaml', 'a').write('!')\nprint('METRIC loss=1')"
    )
    trials = [asked(project, args={"config": "c.yaml", "n": n}) for n in (1, 2)]
    first, second = run_trials(trials, store)
    assert first.status == "flagged"
    assert second.status == "failed"
    assert second.reasons[0].startswith("could not be started: a file that the command names has changed")
    assert "got:" not in second.reasons[0] and "do:" not in second.reasons[0]


def test_folders_of_which_nothing_is_known_are_told(project: Path) -> None:
    def told(**settings: Any) -> tuple[str, ...]:
        return WORKLOAD.prepare(config(project, **settings))[1]

    (note,) = told(args={"data": "configs", "n": 1})
    assert note.startswith("what lies in the folder configs is no part")
    assert told(args={"data": "configs"}, depends=("configs",)) == ()
    assert told(args={"data": "src/deep"}, depends=("src/",)) == ()
    assert told(args={"out": "configs"}, outputs=("configs",)) == ()
    assert told(environment={"DATA": "configs"}, args={"file": "c.yaml", "none": ""}) == ()


def test_two_contents_under_one_name_are_two_trials_in_the_store(store: Store, project: Path) -> None:
    (project / "train.py").write_text(
        "import sys; print('METRIC loss=' + open(sys.argv[1].split('=')[1]).read())"
    )
    values = []
    for content in ("1", "2"):
        (project / "c.yaml").write_text(content)
        trial = asked(project, args={"config": "c.yaml"})
        assert store.get(trial.id) is None
        (record,) = run_trials([trial], store)
        values.append(record.figures["loss"])
        again = pin(CommandConfig.model_validate(record.config))  # as best.yaml has it
        assert WORKLOAD.trial(again).id == trial.id
    assert values == [1, 2]
    assert os.listdir(store.paths.folder("trl"))
