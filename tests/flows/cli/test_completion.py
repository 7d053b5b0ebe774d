"""What a shell offers while a command is typed."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweepflow.flows.cli import app
from sweepflow.flows.runs.record import write_run
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import record
from tests.prefect_server import BIN

Complete = Callable[..., list[str]]
STEPS = ("integration_steps=", "integration_steps=64")
BOTH = ("", "false", "true")


@pytest.fixture
def bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Complete the last of some words, cut as bash cuts them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPFLOW_STORE", raising=False)

    def complete(*words: str) -> list[str]:
        asked = {"COMP_WORDS": "\n".join(["sweepflow", *words]), "COMP_CWORD": str(len(words))}
        return answer(_SWEEPFLOW_COMPLETE="complete_bash", **asked)

    return complete


def answer(**environment: str) -> list[str]:
    done = CliRunner().invoke(app, [], env=environment, prog_name="sweepflow")
    assert done.exit_code == 0 and not done.stderr, done.output
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["llc", "tar"], ["target=", "target=adam", "target=adamw", "target=sgd", "target=truth"]),
        (["llc", "target", "="], ["adam", "adamw", "sgd", "truth"]),
        (["llc", "target", "=", "ad"], ["adam", "adamw"]),
        (["llc", "target", "=", "adam,"], ["adam,adamw", "adam,sgd", "adam,truth"]),
        (["llc", "target", "=", "adam,s"], ["adam,sgd"]),
        (["llc", "'target=adam,s"], ["target=adam,sgd"]),
        (["llc", "model", "=", "base", "target", "=", "s"], ["sgd"]),
        (["llc", "sampler.dr"], ["sampler.draws=", "sampler.draws=auto"]),
        (["llc", "sampler.max_"], ["sampler.max_gradients=", "sampler.max_gradients=..."]),
        (["llc", "sampler.draws", "="], ["auto"]),
        (["llc", "sampler", "=", "hmc", "sampler.num_"], [f"sampler.num_{rest}" for rest in STEPS]),
        (["llc", "--dry-run", "-q", "sampler.num"], []),
        (["llc", "+"], ["+experiment=", "+experiment=data_scaling"]),
        (["llc", "+experiment", "=", "d"], ["data_scaling"]),
        (["llc", "nothing", "="], []),
        (["plan", "targ"], ["target=", "target=adam", "target=adamw", "target=sgd", "target=truth"]),
        (["doctor", "runner", "=", "s"], ["slurm"]),
        (["sweep", "samp"], []),
        (["sweep", "--samples", "8", "workload", "=", "digits_"], ["digits_cnn", "digits_mlp"]),
        (["train", "workload", "=", "landscape", "keep"], [f"keep_path={rest}" for rest in BOTH]),
        (["samples", "learning_r"], ["learning_rate=", "learning_rate=0.001"]),
        (["llc", "--log-level", "cr"], ["critical"]),
        (["run"], ["runs"]),
    ],
    ids=" ".join,
)
def test_words_are_completed_from_where_bash_cuts_them(
    words: list[str], offered: list[str], bash: Complete
) -> None:
    assert bash(*words) == offered


def test_all_that_can_come_next_is_offered_with_an_equals_sign(bash: Complete) -> None:
    offered = bash("llc", "")
    assert {"model=", "sampler=", "+experiment=", "store="} <= set(offered)
    assert not any("." in word for word in offered), "keys of sections come behind a dot"
    sections = bash("llc", "target.")
    assert "target.steps=" in sections and all(word.startswith("target.") for word in sections)


def test_other_shells_do_not_cut_words() -> None:
    for shell in ("zsh", "fish"):
        asked = {"_SWEEPFLOW_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        said = "\n".join(answer(**asked, _TYPER_COMPLETE_ARGS="sweepflow llc target=adam,s"))
        assert "target=adam,sgd" in said and "adamw" not in said


def test_groups_of_a_directory_of_ones_own_are_offered(bash: Complete, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "wide.yaml").write_text("kind: mlp\n")
    assert bash("llc", "--config-dir", "mine", "model", "=", "wi") == ["wide"]
    assert bash("llc", "model", "=", "wi") == []


def test_runs_that_can_be_resumed_are_offered(bash: Complete) -> None:
    store = Store(Path("sweepflow-data"))
    done, crashed = record(state="completed"), record(state="crashed")
    for run in (done, crashed):
        write_run(store, run)
    store.paths.run("torn").write_text("{")
    for command in ("resume", "cancel"):
        assert bash(command, "") == [crashed.flow_run_id[:8]]
        assert bash(command, "--store", "elsewhere", "") == []


def test_ids_and_names_of_sweeps_are_offered(bash: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPFLOW_STORE", "a store")
    store, ids = (
        Store(Path("a store")),
        ["est_ab00000000000000", "trl_ab00000000000000", "trl_cd00000000000000"],
    )
    for trial_id in ids:
        store.put(Record(trial_id, "llc", 1, "ok", (), {}, {}))
    (store.paths.sweep("first")).mkdir(parents=True)
    (store.paths.sweep("first") / "manifest.jsonl").touch()
    assert bash("show", "") == ids and bash("rm", ids[0], "trl") == ids[1:]
    assert bash("show", "trl_c") == ids[2:] and bash("show", "trl_cd00") == ids[2:]
    assert bash("show", "x") == []
    assert bash("compare", "") == bash("compare", "first", "f") == ["first"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_bash_completes_what_is_typed(tmp_path: Path) -> None:
    """Its own splitting of words, quotes and spaces is part of it."""
    typed = {
        "sweepflow llc samp": "sampler=",
        "sweepflow llc sampler=sgld,mclmc_": "sampler=sgld,mclmc_fast ",
        "sweepflow llc 'sampler=mclmc_": "'sampler=mclmc_fast' ",
        "sweepflow llc sampler=hmc sampler.dr": "sampler.draws=",
    }
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PS1": "", "TERM": "dumb"}
    ours, theirs = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    shell = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, b'eval "$(_SWEEPFLOW_COMPLETE=source_bash sweepflow)"\n')
        for words, completed in typed.items():
            # The line is no command, but printed: Ctrl-A goes to its beginning, Ctrl-E to its end.
            os.write(ours, f"{words}\t\x01echo \x05'<'\n".encode())
            said = b""
            while not said.endswith(b"<\r\n"):
                said += os.read(ours, 1000)
            assert said.decode().splitlines()[-1].endswith(f"{completed.replace(chr(39), '')}<"), said
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
