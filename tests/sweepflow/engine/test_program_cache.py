"""Programs that a process keeps: a bounded number, and none is compiled twice while somebody has it."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.program import Layout, Program, ProgramCache
from tests.slurm.processes import PATIENCE

LAYOUT = Layout(1, 1, 1)


class Compiler:
    """Makes programs, and knows which were made and which are alive."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.alive: WeakSet[Program] = WeakSet()

    def get(self, cache: ProgramCache, name: int, charge: bool = True) -> tuple[Program, float]:
        return cache.get((name,), lambda: self.compile(name), charge=charge)

    def compile(self, name: int) -> Program:
        self.made.append(name)
        program = Program(LAYOUT, lambda: name, 2.0, 0, cast(Any, None), cast(Any, None), ())
        self.alive.add(program)
        return program


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 4))
def test_the_least_recently_asked_for_goes_first(asked: list[int], most: int) -> None:
    cache, compiler, kept, made = ProgramCache(most), Compiler(), list[int](), list[int]()
    for name in asked:
        program, _ = compiler.get(cache, name)
        assert program.compiled() == name
        del program
        if name in kept:
            kept.remove(name)
        else:
            made.append(name)
        kept = [*kept, name][-most:]
        gc.collect(0)
        assert {one.compiled() for one in compiler.alive} == set(kept), "and its memory is given back"
    assert compiler.made == made


def test_one_in_use_is_compiled_once_and_charged_once() -> None:
    cache, compiler = ProgramCache(2), Compiler()
    running, seconds = compiler.get(cache, 0)
    assert seconds == 2
    for name in (1, 2, 3):
        assert compiler.get(cache, name, charge=False)[1] == 0
    assert compiler.get(cache, 0) == (running, 0)
    assert compiler.get(cache, 3)[1] == 2, "to the first who runs it"
    assert compiler.made == [0, 1, 2, 3]
    assert compiler.get(cache, 1)[1] == 2, "compiled again, which took its time again"


def test_one_that_is_being_compiled_is_waited_for_whatever_else_is_asked() -> None:
    cache, compiler, begun, may_end = ProgramCache(1), Compiler(), threading.Event(), threading.Event()

    def slowly() -> Program:
        begun.set()
        assert may_end.wait(PATIENCE)
        return compiler.compile(0)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, (0,), slowly)
        assert begun.wait(PATIENCE)
        for name in (1, 2):
            compiler.get(cache, name)
        second = threads.submit(cache.get, (0,), slowly)
        may_end.set()
        assert first.result()[0] is second.result()[0]
    assert compiler.made == [1, 2, 0]


def test_what_cannot_be_compiled_is_tried_again() -> None:
    cache, compiler = ProgramCache(1), Compiler()
    with pytest.raises(ZeroDivisionError):
        cache.get((0,), lambda: cast(Program, 1 / 0))
    assert compiler.get(cache, 0)[1] == 2
