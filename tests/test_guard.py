"""Nothing that a test has started outlives the test process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.prefect_server import ROOT

STARTS = """
import sys
from pathlib import Path
from tests.prefect_server import Machine

here = Machine(Path(sys.argv[1]), {})
sleeps = "print('up', flush=True); import time; time.sleep(600)"
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + sleeps
for program in (sleeps, deaf):
    here.start("python", "-c", program).wait_for(lambda said: "up" in said)
ended = here.start("python", "-c", "")
ended.process.wait()
print(*(running.process.pid for running in here.started[:2]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_test_process_has_started_ends(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as test:
        assert test.stdout is not None
        started = [psutil.Process(int(pid)) for pid in test.stdout.readline().split()]
        assert len(started) == 2
        test.send_signal(how)
    _, left = psutil.wait_procs(started, 60)
    assert not left
