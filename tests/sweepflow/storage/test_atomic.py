"""Writers of one record at once, in processes of their own: a reader sees a whole record, always."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sweepflow.errors import StoreError
from sweepflow.storage import atomic
from sweepflow.storage.atomic import abandoned_temporaries, write_bytes
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

ID = "est_0123456789abcdef"
ROUNDS = 150


def record(writer: int) -> Record:
    """Figures and arrays that tell who wrote them; long enough not to be written in one piece."""
    return Record(
        id=ID,
        workload="llc",
        version=1,
        status="ok",
        reasons=(),
        config={"writer": writer, "padding": str(writer) * 50_000},
        figures={"llc": float(writer)},
        arrays={"loss": np.full(20_000 * (writer + 1), float(writer))},
    )


def write_many_times(root: Path, writer: int, start: float) -> None:
    while time.time() < start:
        pass
    for _ in range(ROUNDS):
        Store(root).put(record(writer))


def test_two_processes_at_one_record_leave_a_whole_one_at_every_moment(store: Store) -> None:
    store.put(record(0))
    context = multiprocessing.get_context("spawn")
    start = time.time() + 3
    writers = [context.Process(target=write_many_times, args=(store.root, n, start)) for n in (0, 1)]
    for process in writers:
        process.start()
    seen = set()
    while any(process.is_alive() for process in writers):
        found = store.get(ID)  # a torn record would warn, and warnings are errors
        assert found is not None
        writer = int(found.figures["llc"])
        assert found.config == record(writer).config
        # The record may change between the two calls: the arrays are whole, and one writer's own.
        loss = store.arrays(ID)["loss"]
        assert len(loss) == 20_000 * (loss[0] + 1) and (loss == loss[0]).all()
        seen.add(writer)
    assert [process.exitcode for process in writers] == [0, 0]
    assert seen == {0, 1}
    assert not [path for path in store.root.rglob("*") if path.name.endswith(atomic.TEMPORARY_SUFFIX)]


def test_a_writer_that_is_killed_leaves_the_record_as_it_was(store: Store) -> None:
    store.put(record(0))
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sweepflow.storage import atomic\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic.write_bytes(Path(sys.argv[1]), b'half')\n"
    )
    path = store.paths.record(ID)
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    found = store.get(ID)
    assert found is not None and found.figures["llc"] == 0
    assert [one.id for one in store.records("est")] == [ID]
    (left,) = path.parent.glob(f".*{atomic.TEMPORARY_SUFFIX}")
    assert abandoned_temporaries(store.root) == [left]


def test_temporaries_that_somebody_may_still_be_writing(store: Store) -> None:
    """A living process of this machine, or one of another machine; after an hour not even those."""
    here = platform.node().split(".")[0]
    names = [f".record.json.{here}.{os.getpid()}.0123abcd.tmp", ".record.json.elsewhere.1.0123abcd.tmp"]
    folder = store.paths.folder("est")
    folder.mkdir(parents=True)
    for name in (*names, ".editor.tmp"):
        (folder / name).write_bytes(b"half")
    assert abandoned_temporaries(store.root) == []
    long_ago = time.time() - atomic.LONGEST_WRITE_SECONDS - 60
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert abandoned_temporaries(store.root) == sorted(folder / name for name in names)


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a directory in the record's place"
    path.mkdir()
    with pytest.raises(StoreError, match=r"cannot be written\n  got: .*irectory"):
        write_bytes(path, b"content")
    assert list(tmp_path.iterdir()) == [path]
