"""Of two that go on with one run, one wins; a killed holder blocks nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flows.runs.claim import claim, lock_path
from flows.runs.record import write_run
from sweepflow.errors import ConfigError
from sweepflow.store.store import Store
from tests.flows.runs.test_record import record

HOLD = """
import sys
from pathlib import Path
from flows.runs.claim import claim
from sweepflow.store.store import Store
with claim(Store(Path(sys.argv[1])), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_of_two_wins_until_it_is_killed(store: Store) -> None:
    run = record()
    write_run(store, run)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root), run.flow_run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigError, match="another process is going on") as raised,
            claim(store, run.flow_run_id),
        ):
            pass
        assert f"process {holder.pid} on" in str(raised.value)

        holder.kill()
        holder.wait()
        with claim(store, run.flow_run_id):
            assert lock_path(store, run.flow_run_id).exists()


def test_a_claim_that_is_over_can_be_made_again(store: Store) -> None:
    run = record()
    write_run(store, run)
    for _ in range(3):
        with claim(store, run.flow_run_id):
            pass
