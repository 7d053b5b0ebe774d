"""What is said of jobs where nobody looks at a bar."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sweepflow.tasks.jobs_progress import jobs_progress


def test_a_line_a_minute_and_none_of_what_takes_less(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    job: Any = SimpleNamespace(status="failed", from_store=False)
    with jobs_progress("my sweep", 200, clock=lambda: now) as ended:
        for _ in range(150):
            now += 1.0
            ended(job)
    assert capsys.readouterr().err.splitlines() == [
        "my sweep: 60/200 jobs, 60 failed",
        "my sweep: 120/200 jobs, 120 failed",
    ]
