"""What nobody reads any longer ends nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sweepflow.tasks.output import lasting_output
from tests.slurm.processes import PATIENCE

WRITERS = """
import logging, sys, warnings
from rich.console import Console
early = Console(file=sys.stderr)                    # as Prefect's log has it
logging.basicConfig(stream=sys.stderr, level=logging.INFO)
import typer
from sweepflow.tasks.output import lasting_output

sys.stdin.readline()                                # by now nobody reads
with lasting_output():
    for _ in range(3):
        early.print("a log's")
        Console(stderr=True).print("the progress's")
        Console().print("a table's")
        print("a function's", flush=True)
        print("a warning's", file=sys.stderr, flush=True)
        typer.echo("a command's")
        logging.info("a library's")
        warnings.warn("a")
        sys.stdout.flush()
open(sys.argv[1], "w").write("the end")
"""


def started(tmp_path: Path, out: int | None, code: str = WRITERS) -> tuple[subprocess.Popen[bytes], Path]:
    end = tmp_path / "end"
    command = [sys.executable, "-c", code, str(end)]
    if out is None:
        command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out), end


@pytest.mark.parametrize("kind", ["pipe", "terminal", "closed", "full disk"])
def test_every_writer_goes_on(tmp_path: Path, kind: str) -> None:
    if kind == "terminal":
        reads, writes = pty.openpty()
    elif kind == "pipe":
        reads, writes = os.pipe()
    elif kind == "full disk":
        reads, writes = os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    else:
        process, end = started(tmp_path, None)
        process.communicate(b"\n", 60)
        assert end.read_text() == "the end"
        return
    process, end = started(tmp_path, writes)
    os.close(writes)
    os.close(reads)
    process.communicate(b"\n", 60)
    assert end.read_text() == "the end"


def test_outside_of_a_sweep_a_pipe_ends_a_command_as_ever() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    code = "from sweepflow.tasks.output import lasting_output\nwith lasting_output(): pass\n"
    code += "print('a', flush=True)"
    done = subprocess.run([sys.executable, "-c", code], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert done.returncode != 0 and "BrokenPipeError" in done.stderr


def test_what_is_in_a_buffer_as_a_sweep_ends_does_not_decide_how_it_ends() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    code = "from sweepflow.tasks.output import lasting_output\nwith lasting_output(): print('a table')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_streams_are_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.write
    with lasting_output(), lasting_output():
        assert print("shown") is None
    assert sys.stdout.write == before
    assert capsys.readouterr().out == "shown\n"


def test_the_first_to_end_takes_nothing_from_another(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.write
    held, go_on = threading.Event(), threading.Event()

    def one() -> None:
        with lasting_output():
            held.set()
            go_on.wait(PATIENCE)

    thread = threading.Thread(target=one)
    thread.start()
    assert held.wait(PATIENCE)
    with lasting_output():
        go_on.set()
        thread.join()
        assert sys.stdout.write != before, "this one has not ended"
    assert sys.stdout.write == before
