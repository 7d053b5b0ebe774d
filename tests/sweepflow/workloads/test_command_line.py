"""Command lines of external programs: every argument arrives as what it is, or is refused before work."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sweepflow.engine.failure import failed_record
from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store
from sweepflow.workloads.command import WORKLOAD, CommandConfig, check, run_trials
from sweepflow.workloads.command_check import shell_syntax
from sweepflow.workloads.command_line import command_line, typed

GIVEN = {"trial": "trl_1", "trial_dir": "/store/trl_1", "sweep": "mine"}


def config(command: str = "echo", **settings: Any) -> CommandConfig:
    return CommandConfig(**{"command": command, "metrics": ("loss",), **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"style": "option", "args": {"lr": 0.1, "n": "a b"}, "seed": 3}, "--lr 0.1 --n 'a b' --seed 3"),
        ({"style": "option", "args": {"a": True, "b": False, "c": None, "d": "x"}}, "--a --d x"),
        ({"style": "option", "args": {"xs": [1, 2.5, "a b"], "e": []}}, "--e --xs 1 2.5 'a b'"),
        ({"style": "option", "args": {"lr": -1e-05, "t": "-x"}}, "--lr=-1e-05 --t=-x"),
        ({"style": "option", "args": {"xs": [-1e-05, -2]}}, "--xs -0.00001 -2"),
        ({"style": "option", "args": {"optim": {"lr": 1}}}, "--optim.lr 1"),
        (
            {"style": "json", "args": {"a": {"b": [1, None]}}, "seed": 1},
            '\'{"a": {"b": [1, null]}, "seed": 1}\'',
        ),
        ({"style": "none"}, ""),
    ],
)
def test_styles(settings: dict[str, Any], words: str) -> None:
    asked = config("tool --fast", **settings)
    assert shlex.join(command_line(asked)) == f"tool --fast {words}".strip()


numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(numbers, st.lists(numbers, min_size=1), st.booleans(), texts.filter(lambda text: "{" not in text))
def test_argparse_reads_what_was_asked_for(one: float, xs: list[float], flag: bool, text: str) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--one", type=float)
    parser.add_argument("--xs", type=float, nargs="+")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--text")
    asked = config(style="option", args={"one": one, "xs": xs, "flag": flag, "text": text})
    read = parser.parse_args(command_line(asked)[1:])
    assert (read.one, read.xs, read.flag, read.text) == (one, xs, flag, text)
    (word,) = command_line(asked.model_copy(update={"style": "json"}))[1:]
    assert json.loads(word) == asked.args


def test_places_are_filled_and_what_is_placed_is_not_passed_again() -> None:
    asked = config(
        "tool {args.data} -n {args.n} {{trial}} {trial_dir}/x {other}",
        args={"data": "my data", "n": 3, "lr": 0.1, "out": "{trial_dir}/{sweep}", "all": ["{trial}", "{x}"]},
        environment={"WANDB_DIR": "{trial_dir}", "RAW": "{{sweep}}"},
        seed=1,
        cwd="/a b",
    )
    check_words = ["tool", "my data", "-n", "3", "{trial}", "/store/trl_1/x", "{other}"]
    check_words += ["all=[trl_1,{x}]", "lr=0.1", "out=/store/trl_1/mine", "seed=1"]
    assert command_line(asked, GIVEN) == check_words
    assert typed(asked, GIVEN) == (
        f"cd '/a b' && RAW='{{sweep}}' WANDB_DIR=/store/trl_1 {shlex.join(check_words)}"
    )
    assert command_line(config("t {seed}", seed=5, style="none")) == ["t", "5"]


def test_what_is_typed_does_what_the_trial_does(tmp_path: Path) -> None:
    """The line for people, run by a shell, gets the same words in the same place."""
    code = "import os, sys; print(os.getcwd(), os.environ['A'], sys.argv[1:])"
    asked = config(
        shlex.join([sys.executable, "-c", code]),
        args={"text": "it's $HOME; `x` *"},
        environment={"A": "b c"},
        cwd=str(tmp_path),
    )
    done = subprocess.run(["sh", "-c", typed(asked)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path} b c {command_line(asked)[3:]}\n"


def test_a_trial_is_told_its_id_its_sweep_and_a_folder_of_its_own(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "given = dict(a.split('=', 1) for a in sys.argv[1:])\n"
        "folder = pathlib.Path(os.environ['SWEEPFLOW_TRIAL_DIR'])\n"
        "assert given['folder'] == str(folder) and folder.is_absolute() and folder.is_dir()\n"
        "assert given['me'] == os.environ['SWEEPFLOW_TRIAL']\n"
        "kept = folder / 'checkpoint'\n"
        "n = int(kept.read_text()) + 1 if kept.exists() else 1\n"
        "if given['writes'] == 'true': kept.write_text(str(n))\n"
        "print(os.environ['SWEEPFLOW_SWEEP'])\n"
        "print(f'METRIC loss={n}')\n"
    )
    command = shlex.join([sys.executable, str(script)])
    args = {"folder": "{trial_dir}", "me": "{trial}"}
    told, silent = (
        WORKLOAD.trial(WORKLOAD.within(config(command, args={**args, "writes": w}), "my-sweep"))
        for w in (True, False)
    )
    assert told.id == WORKLOAD.trial(config(command, args={**args, "writes": True})).id
    for n in (1, 2):  # what the first try has left there stays
        records = run_trials([told, silent], store)
        assert [r.reasons for r in records] == [(), ()]
        assert [(r.status, r.figures["loss"]) for r in records] == [("ok", n), ("ok", 1)]
    assert store.paths.log(told.id).read_text().startswith("my-sweep\n")
    folder = store.paths.trial_folder(told.id)
    assert folder.parent == store.paths.record(told.id).parent and (folder / "checkpoint").exists()
    assert not store.paths.trial_folder(silent.id).exists(), "nothing was written there"
    unrun = failed_record(WORKLOAD, told, "it ended its worker", device=False)
    assert unrun.config.keys() == records[0].config.keys(), "whoever writes it"
    assert not {"sweep", "pinned"} & unrun.config.keys() and [r.id for r in store.records("trl")]
    store.remove(told.id)
    assert not folder.exists()


# What is refused before work


@pytest.mark.parametrize(
    ("command", "what", "do"),
    [
        ("python train.py | tee log", "|", "all that it prints is kept in a log"),
        ("python train.py > log", ">", "all that it prints is kept in a log"),
        ("python train.py 2>&1", ">", "all that it prints is kept in a log"),
        ("cd sub && python train.py", "&&", "write cwd=sub command='python train.py'"),
        ("python a.py; python b.py", ";", "bash run.sh"),
        ("python a.py &", "&", "bash run.sh"),
        ("python a.py < input", "<", "name the file in args"),
        ("python train.py --data $DATA/x", "$", "single quotes"),
        ('python train.py "${DATA}"', "$", "single quotes"),
        ("python train.py $(date)", "$", "bash run.sh"),
        ("python train.py `date`", "`", "bash run.sh"),
        ('python train.py "`date`"', "`", "bash run.sh"),
        ('python train.py "a \\$b"', "\\$", "single quotes for the text itself"),
        ("python ~/train.py", "~", "write the whole path"),
        ("python train.py *.csv", "*", "list the files"),
        ("python train.py # quick", "#", "bash run.sh"),
        ("(python train.py)", "(", "bash run.sh"),
        ("CUDA=1 python train.py", "CUDA=", "environment.CUDA=1 command='python train.py'"),
    ],
)
def test_what_only_a_shell_understands_is_refused(command: str, what: str, do: str) -> None:
    with pytest.raises(ConfigError) as told:
        check(config(command))
    assert repr(what) in told.value.what and do in str(told.value.do)


@pytest.mark.parametrize(
    "words",
    [
        "'a|b' \"c;d\" e\\&f 'x > y' '$HOME' '*.csv' \"~/x\"",
        "a~b x#y 5$ model.widths=[8,8] {a,b} --x=1 'it''s' \"a 'b' c\" {\"a\":1}",
    ],
)
def test_what_a_shell_would_leave_alone_is_not_refused(words: str) -> None:
    check(config(f"echo {words}"))
    shell = subprocess.run(
        ["sh", "-c", f"for w in {words}; do printf '%s\\n' \"$w\"; done"], capture_output=True, check=True
    )
    assert shell.stdout.decode().splitlines() == command_line(config(f"echo {words}"))[1:]


@given(st.lists(st.text("ab '\"\\$*?~|;&<>#`()[]=!^.-", min_size=1), min_size=20, max_size=40))
@settings(max_examples=25, deadline=None)
def test_what_is_not_refused_has_the_words_that_a_shell_makes_of_it(texts: list[str]) -> None:
    commands = [f"echo {text}" for text in texts if split(text) is not None]
    taken = [command for command in commands if next(shell_syntax(command), None) is None]
    lines = [f"printf '%s\\0' {command}; printf '\\n\\0'" for command in taken]
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
        words = [part.split("\0")[:-1] for part in done.stdout.split("\n\0")[:-1]]
        assert words == [shlex.split(command) for command in taken]


def split(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:  # a quote without its other half
        return None


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"command": "echo {args.lr}"}, "nothing fills the place {args.lr}"),
        ({"command": "echo {seed}"}, "nothing fills the place {seed}"),
        ({"command": "echo {trail}"}, "did you mean {trial}?"),
        ({"args": {"out": "{trial-dir}/{trialdir}"}}, "did you mean {trial_dir}?"),
        ({"style": "none", "args": {"lr": 1}}, "add {args.lr} to the command"),
        ({"style": "none", "seed": 1}, "add {seed} to the command"),
        ({"style": "option", "args": {"xs": ["a", "-b"]}}, "-b would not be read as one of them"),
        ({"style": "option", "args": {"xs": [[1], [2]]}}, "args.xs has no form"),
        ({"command": "sh -c 'echo METRIC loss=1'", "args": {"lr": 1}}, "does not pass its arguments on"),
        ({"command": "bash -o pipefail -c 'echo'", "seed": 1}, "does not pass its arguments on"),
        ({"command": "sh -c 'echo {args.lr} \"$@\"'", "args": {"lr": 1}}, "would be read as shell"),
        ({"command": f"{shlex.quote(sys.executable)} no/such.py"}, "there is no script 'no/such.py'"),
    ],
)
def test_arguments_that_would_not_arrive_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        check(config(**settings))
    assert complaint in str(told.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"command": "sh -c 'echo METRIC loss=1'"},
        {"command": "sh -c 'echo \"$@\" {trial}' sh", "args": {"lr": 1}},
        {"command": "echo {{trail}} {} {x}", "args": {"a": "{train}/{{trialdir}}"}},
        {"style": "none", "command": "echo {args.a} {seed}", "args": {"a": 1}, "seed": 1},
    ],
)
def test_arguments_that_arrive_are_not_refused(settings: dict[str, Any]) -> None:
    check(config(**settings))


def test_the_variables_of_a_trial_are_its_own() -> None:
    with pytest.raises(ValidationError, match="environment cannot hold SWEEPFLOW_TRIAL"):
        config(environment={"SWEEPFLOW_TRIAL": "x"})
