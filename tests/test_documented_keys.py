"""Every key and value that the documentation and `conf/` show of a workload is one that it takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepflow.compose import compose_llc, compose_trials
from sweepflow.workloads.command_config import CommandConfig
from tests.test_documented_examples import BLOCK, PAGES, SHOWN

ROOT = Path(__file__).parent.parent
PROGRAM = ("workload=command", "command=echo", "metrics=[loss]")
EXTERNAL = ROOT / "docs" / "how-to" / "external-program.md"
RUNNER_EXAMPLE = re.compile(
    r"""'(runner\.[a-z_]+=[^'\n]+)'|"(runner\.[a-z_]+=[^"\n]+)"|(?<!['"\w])(runner\.[a-z_]+=[^\s`'",]+)"""
)


def check(overrides: list[str]) -> Any:
    """Compose and validate; the first configuration."""
    request = compose_trials(overrides)
    first, *_ = [request.config(point, {}) for point in request.points]
    return first


def examples() -> Iterator[str]:
    """Everything on the page of external programs that is written as an override."""
    for code in re.findall(r"`([^`\n]+)`", EXTERNAL.read_text()):
        for word in shlex.split(code) if code.startswith("'") else [code]:
            if word.partition("=")[0].split(".")[0] in CommandConfig.model_fields and "=" in word:
                yield word


def runner_examples() -> Iterator[str]:
    """Every `runner.KEY=VALUE` of the documentation, in code or in a command."""
    for page in PAGES:
        for found in RUNNER_EXAMPLE.findall(page.read_text()):
            yield next(filter(None, found))


def test_the_search_finds_the_examples() -> None:
    assert {"runner.jobs=4", "runner.workers=2", "runner.partition=gpu"} <= set(runner_examples())
    assert {"devices=[0,1]", "style=option", 'args.out="{trial_dir}/model.pt"'} <= set(examples())


@pytest.mark.parametrize("override", sorted(set(examples())))
def test_values_that_are_shown_of_external_programs_are_taken(override: str) -> None:
    key = override.partition("=")[0]
    check([*(word for word in PROGRAM if word.partition("=")[0] != key), override])


def test_values_that_are_shown_of_runners_are_taken() -> None:
    pairs = {"runner.minimum": "runner.maximum=16", "runner.maximum": "runner.minimum=1"}
    for override in sorted(set(runner_examples())):
        runner = "dask" if override.startswith("runner.workers") else "slurm"
        other = pairs.get(override.partition("=")[0])
        compose_trials([*PROGRAM, f"runner={runner}", override, *([other] if other else [])])


COMMAND = re.compile(r"(?:\$ |# |)(?:\w+=\S* )?sweepflow (llc|plan|sweep|train|samples|doctor) (.*)")
FOR_OTHER_FILES = ("--config-dir", "workload=ridge", "mine.npz", "+experiment=best")
"""What stands in commands that need files of the reader's."""


def shown_commands() -> Iterator[tuple[str, str]]:
    """Commands with overrides: those of the blocks of all pages, and those in comments of shipped files."""
    texts = [
        text
        for page in PAGES
        for _, text in BLOCK.findall(page.read_text()) + SHOWN.findall(page.read_text())
    ]
    texts += [file.read_text() for file in sorted((ROOT / "conf").rglob("*.yaml"))]
    for text in texts:
        for line in re.sub(r"\\\n *", "", text).splitlines():
            found = COMMAND.fullmatch(line.strip())
            if found and not any(words in line for words in FOR_OTHER_FILES):
                yield found[1], found[2]


def test_the_search_finds_the_commands() -> None:
    found = set(shown_commands())
    assert ("llc", "+experiment=data_scaling") in found
    assert ("sweep", "workload=digits_mlp space=optimizer --samples 64") in found
    assert len(found) > 30


@pytest.mark.parametrize("command", sorted(set(shown_commands())), ids=" ".join)
def test_commands_that_are_shown_are_taken(command: tuple[str, str]) -> None:
    flow, words = command
    overrides = [word for word in shlex.split(words, comments=True) if "=" in word]
    if flow in ("llc", "plan", "doctor"):
        assert compose_llc(overrides)
    else:
        request = compose_trials(overrides)
        assert request.points
        if request.space is None:
            assert [request.config(point, {}) for point in request.points]
