"""Jobs that are sent to a worker and back, as trials: the callable and its configuration are sent as files.

Calls have a store of their own, in which they are the trials. This store exists only while their flow runs.
The worker keeps the job's record in the user's store, under the job's own fingerprint.
"""

from __future__ import annotations

import base64
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.utils import setup_globals
from omegaconf.basecontainer import BaseContainer

from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError, SweepflowError, in_words
from sweepflow.fingerprint import fingerprint
from sweepflow.jobs.call import Callee, keep_record, perform
from sweepflow.jobs.job import Job
from sweepflow.provenance import provenance
from sweepflow.schema.fields import Config
from sweepflow.stop import raise_if_stopped
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads.workload import SweepWorkload

NAME = "call"
VERSION = 1
SHARED = "function.pickle"
UNPICKLABLE = (
    "return numbers, arrays, or structures of them; or leave runner= out, and it stays in its process"
)
OF_HYDRA = ("now", "hydra", "python_version")
"""Resolvers that `setup_globals` registers; OmegaConf's own resolvers begin with `oc.`."""


class CallError(SweepflowError):
    """The result of a call is not available: it was lost, or cannot be pickled."""


class NotCalledError(CallError):
    """A job was not called: its worker was lost, or the sweep ended before."""


class Call(Config):
    """One call, as it is sent to a worker.

    Attributes:
        hydra: Name of the file with Hydra's own configuration.
        job: The job, pickled, in base64.
    """

    hydra: str
    job: str


def check_sendable(callee: Callee) -> None:
    """Check that a callable can be sent to workers, before anything is started.

    Raises:
        ConfigError: for a callable that cannot be pickled.
    """
    _pickled(callee.function, f"the function {callee.name}")


class Sender:
    """Writes the files that workers need, and reads their results. Made by `sending`.

    Attributes:
        calls: Store of the calls.
    """

    def __init__(self, callee: Callee, calls: Store) -> None:
        self.calls = calls
        self._callee = callee
        self._hydra: dict[int, tuple[str, Any]] = {}
        # A module of the user's is imported there by its name: from where it is here.
        path = [os.path.abspath(entry) for entry in sys.path]
        function = _pickled(callee.function, callee.name)
        store = callee.store.root.absolute()
        content = (path, _resolvers(), callee.name, callee.version, store, function)
        write_bytes(calls.root / SHARED, pickle.dumps(content))

    def send(self, job: Job) -> Trial[Call]:
        """Return the job as a trial.

        Raises:
            ConfigError: for a configuration that cannot be pickled.
        """
        if id(job.of_hydra) not in self._hydra:
            name = f"hydra-{len(self._hydra)}.pickle"
            # The object is kept: as long as it lives no other has its id.
            self._hydra[id(job.of_hydra)] = name, job.of_hydra
            write_bytes(self.calls.root / name, _pickled(job.of_hydra, "Hydra's configuration"))
        content = _pickled(replace(job, of_hydra=None), f"the configuration of job {job.number}")  # type: ignore[arg-type]
        config = Call(hydra=self._hydra[id(job.of_hydra)][0], job=base64.b64encode(content).decode())
        # Of this flow run only: a function that is not pure is called again in the next. Prefect has the id
        # for its cache, whose key has the store's path, which is this flow run's.
        return Trial(fingerprint("trl", NAME, VERSION, {"number": job.number}), config, 0)

    def receive(self, trial_id: str, job: Job, failure: str = "") -> None:
        """Fill a job with its result.

        Args:
            trial_id: Id of the trial that `send` returned.
            job: The job.
            failure: Message about its batch, if the batch failed.
        """
        record, file = self.calls.get(trial_id), _result(self.calls, trial_id)
        if record is None or record.status == "failed":
            why = "; ".join(record.reasons) if record else failure
            _lost(
                job, NotCalledError("the job was not called to its end", got=why or "the sweep ended before")
            )
            if record is not None:  # it ends its workers
                keep_record(self._callee, job, device=False)
            return
        try:
            plain, value, raised = pickle.loads(file.read_bytes())
            job.value, job.error = pickle.loads(value), pickle.loads(raised)
        except Exception as error:  # whatever unpickling a user's type may raise
            _lost(job, CallError("what the job returned cannot be read here", got=in_words(error)))
        else:
            for name, content in plain.items():
                setattr(job, name, content)
        file.unlink(missing_ok=True)


@contextmanager
def sending(callee: Callee, run_id: str) -> Iterator[Sender]:
    """Provide a sender whose files exist while the block runs.

    Args:
        callee: The callable of the jobs.
        run_id: Id of the flow run.

    Raises:
        ConfigError: for a callable that cannot be pickled.
    """
    calls = Store(callee.store.paths.calls(run_id).absolute())
    try:
        yield Sender(callee, calls)
    finally:
        shutil.rmtree(calls.root, ignore_errors=True)


def share(first: Job, job: Job) -> None:
    """Give a job the result of another job with the same configuration."""
    job.value, job.status, job.error = first.value, first.status, first.error
    job.duration, job.traceback, job.note = first.duration, first.traceback, first.note
    job.directory = first.directory


def run_trials(
    trials: Sequence[Trial[Call]], store: Store, *, on_record: Callable[[Record], None] | None = None
) -> list[Record]:
    """Call each job in this process, which is a worker's, and keep its result."""
    return [_called(trial, store, on_record) for trial in trials]


def _called(trial: Trial[Call], calls: Store, on_record: Callable[[Record], None] | None) -> Record:
    raise_if_stopped()
    callee = _callee(calls.root)
    job: Job = pickle.loads(base64.b64decode(trial.config.job))
    job.of_hydra = _hydra(calls.root / trial.config.hydra)
    perform(callee.function, job)
    if job.status == "failed":  # a program that it waits for may have been ended with this process
        raise_if_stopped()
    value, raised = _outcome(job)
    keep_record(callee, job)
    plain = {name: getattr(job, name) for name in ("status", "duration", "traceback", "note")}
    write_bytes(_result(calls, trial.id), pickle.dumps((plain, value, raised)))
    record = Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status="ok",
        reasons=() if job.error is None else (in_words(job.error),),
        config={"job": job.fingerprint},
        figures={"failed": job.status == "failed"},
        seconds={"compile": 0.0, "run": job.duration},
        provenance=provenance(),
    )
    calls.put(record)
    if on_record is not None:
        on_record(record)
    return record


def why_job_failed(record: Record) -> str | None:
    """Return the reason of a failure from a job's record; None if the job has not failed."""
    failed = record.status == "failed" or record.figures["failed"]
    return "; ".join(record.reasons) if failed else None


def _result(calls: Store, trial_id: str) -> Path:
    return calls.root / f"{trial_id}.pickle"


def _resolvers() -> dict[str, bytes]:
    """Return the user's own resolvers, pickled. A resolver that cannot be pickled is left out; a job that
    needs it does not find it."""
    found = {}
    for name, resolver in BaseContainer._resolvers.items():
        if name not in OF_HYDRA and not name.startswith("oc."):
            with suppress(Exception):
                found[name] = cloudpickle.dumps(resolver)
    return found


def _outcome(job: Job) -> tuple[bytes, bytes]:
    """Return a job's return value and its exception, pickled. A job whose return value cannot be pickled has
    failed."""
    try:
        value = cloudpickle.dumps(job.value)
    except Exception as error:  # whatever pickling a user's type may raise
        what = f"a value that cannot be pickled: {type(job.value).__name__} ({in_words(error)})"
        job.value, value = None, cloudpickle.dumps(None)
        job.status, job.error = "failed", CallError(f"the job returned {what}", do=UNPICKLABLE)
        job.traceback = str(job.error)
    try:
        raised = cloudpickle.dumps(job.error)
        pickle.loads(raised)  # exceptions with arguments of their own often are not read back
    except Exception:
        assert job.error is not None
        raised = cloudpickle.dumps(CallError(in_words(job.error)))
    return value, raised


def _lost(job: Job, error: CallError) -> None:
    job.status, job.error, job.traceback = "failed", error, str(error)


def _pickled(value: Any, what: str) -> bytes:
    try:
        return cloudpickle.dumps(value)
    except Exception as error:  # whatever pickling a user's type may raise
        raise ConfigError(
            f"{what} cannot be sent to workers",
            got=in_words(error),
            allowed="what cloudpickle takes: functions, lambdas and classes, with picklable values in them",
            do="make locks, connections and open files within the function, or leave runner= out",
        ) from error


@lru_cache(maxsize=1)
def _callee(directory: Path) -> Callee:
    path, resolvers, name, version, store, function = pickle.loads((directory / SHARED).read_bytes())
    sys.path[:] = dict.fromkeys([*path, *sys.path])  # in that order: a module may have the name of another
    setup_globals()
    try:
        for resolver, content in resolvers.items():
            BaseContainer._resolvers.setdefault(resolver, pickle.loads(content))
        return Callee(pickle.loads(function), name, version, Store(store))
    except Exception as error:  # whatever importing a user's module may raise
        raise ConfigError(
            f"a worker cannot read the function {name}",
            got=in_words(error),
            do="install the modules that it imports there, or define it in the script itself",
        ) from error


@lru_cache(maxsize=8)
def _hydra(file: Path) -> Any:
    return pickle.loads(file.read_bytes())


WORKLOAD: SweepWorkload[Call] = SweepWorkload(
    path=__name__,
    name=NAME,
    version=VERSION,
    config_type=Call,
    metric=lambda config: "failed",
    run=run_trials,
    seed_key=None,
)
