"""Commands whose output other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sweepflow.flows.cli import app

ReadJson = Callable[..., Any]


@pytest.fixture
def read_json(typed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadJson:
    """Type a command with `--json` in a directory of the test's own: the one document that it prints.

    A number that is not finite, which Python would read, is no JSON.
    """

    def read(*command: str, code: int = 0) -> Any:
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(app, [*command, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout, parse_constant=pytest.fail)

    return read
