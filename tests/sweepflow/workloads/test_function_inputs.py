"""What a module's `inputs` gives is part of what identifies a trial, to the last byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from sweepflow.errors import ConfigError
from sweepflow.fingerprint import fingerprint
from sweepflow.storage.store import Store
from sweepflow.workloads.load import load_workload

from .conftest import HEAD, PLAIN, run

READING = HEAD + (
    "class Config(Base):\n    path: Location[str] = ''\n    x: Traced[float] = 1.0\n"
    "def inputs(config):\n    return {'a': np.load(config.path)}\n"
    "def run(config, inputs, key):\n    return {'loss': config.x * jnp.sum(inputs['a'])}\n"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data of mine.npy"
    np.save(path, np.ones(3))
    return path


def planned(path: str, data: Path) -> tuple[Any, Any]:
    """A workload, as a sweep that is planned now loads it, and its trial."""
    workload = load_workload(path)
    return workload, workload.trial(workload.config_type(path=str(data)))


def test_an_overwritten_file_makes_other_trials(module: Callable[..., str], data: Path, store: Store) -> None:
    """In one process too, such as a notebook's."""
    path = module(READING)
    found = []
    for value in (1, 2, 1):
        np.save(data, np.full(3, value, float))
        workload, trial = planned(path, data)
        found.append((trial.id, run(workload, [trial.config], store)[0].figures["loss"]))
    assert found[0] == found[2] and found[0][0] != found[1][0]
    assert [loss for _, loss in found] == [3, 6, 3]
    copy = data.with_name("moved.npy")
    copy.write_bytes(data.read_bytes())
    assert planned(path, copy)[1].id == found[0][0], "where a file lies decides nothing"


KINDS = st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?"])


def test_whatever_byte_changes(module: Callable[..., str], data: Path) -> None:
    """Values, their type and their shape: each is another input."""
    path = module(READING)

    @given(KINDS.flatmap(lambda kind: arrays_of.arrays(kind, st.integers(1, 4))), st.data())
    @settings(suppress_health_check=list(HealthCheck), max_examples=40)
    def law(first: np.ndarray, choice: st.DataObject) -> None:
        place = choice.draw(st.integers(0, first.nbytes - 1))
        if choice.draw(st.booleans()):
            other = bytearray(first.tobytes())
            other[place] ^= 1
            second = np.frombuffer(bytes(other), first.dtype)
        else:
            second = choice.draw(st.sampled_from([first[None], first.astype("f2"), first[:-1]]))
        ids = []
        for array in (first, second, first):
            np.save(data, array)
            ids.append(planned(path, data)[1].id)
        assert ids[0] == ids[2] != ids[1]

    with np.errstate(over="ignore", invalid="ignore"):
        law()


def test_a_process_at_work_reads_a_file_again_where_its_trials_are_of_another(
    module: Callable[..., str], data: Path, store: Store
) -> None:
    """As a worker does: it is given trials, and plans none."""
    path = module(READING)
    workload, first = planned(path, data)
    plain = first.config.model_dump(mode="json")
    np.save(data, np.full(3, 5.0))
    later = workload.trial(first.config)
    assert later.id == first.id, "what was planned goes on with the arrays that it was planned with"
    workload.forget()
    second = workload.trial(first.config)
    workload.forget()
    np.save(data, np.ones(3))
    workload.trial(first.config)  # this process now has the arrays of before
    np.save(data, np.full(3, 5.0))
    assert load_workload(path, {"id": second.id, "config": plain}) is workload
    assert run_planned(workload, second, store).figures["loss"] == 15
    with pytest.raises(ConfigError, match=f"its inputs.* changed after.*\n.*{first.id}") as told:
        run_planned(workload, first, store)
    assert "start the same command again" in str(told.value)


def run_planned(workload: Any, trial: Any, store: Store) -> Any:
    from sweepflow.engine.run import run_batch

    return run_batch(workload.run, [trial], store, size=2, datasets=1)[0]


def test_without_inputs_an_id_is_what_it_was(module: Callable[..., str]) -> None:
    path = module(HEAD + PLAIN + "    return {'loss': config.x}\n")
    workload = load_workload(path)
    config = workload.config_type()
    assert workload.inputs(config) == ""
    payload = {"config": config, "source": workload.source}
    assert workload.trial(config).id == fingerprint("trl", Path(path).stem, 0, payload)


@pytest.mark.parametrize("array", ["np.array(['a'])", "np.array([{}])", "np.array(['2020'], 'datetime64')"])
def test_arrays_of_what_is_no_number(array: str, module: Callable[..., str]) -> None:
    text = (
        HEAD + PLAIN + f"    return {{'loss': config.x}}\ndef inputs(config):\n    return {{'a': {array}}}\n"
    )
    workload = load_workload(module(text))
    with pytest.raises(ConfigError, match=r"array of what is no number\n.*a of dtype"):
        workload.trial(workload.config_type())


def test_what_inputs_raises_is_told_as_trials_are_planned(module: Callable[..., str], data: Path) -> None:
    data.unlink()
    with pytest.raises(ConfigError, match=r"inputs\(\) of .* raises\n.*line .*FileNotFoundError"):
        planned(module(READING), data)
