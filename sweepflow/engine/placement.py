"""Which of a process's devices a group runs on, so that batches of small groups run side by side."""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager


def first_device(program_key: str, devices: int, there_are: int) -> int:
    """The first of the devices of a group that needs only some of them.

    It follows from the program alone: a program's place is part of what its persistent compilation is found
    by, and must be the same in the next process.

    Args:
        program_key: The group's.
        devices: How many it uses.
        there_are: How many this process has.
    """
    blocks = max(1, there_are // devices)
    return devices * (zlib.crc32(program_key.encode()) % blocks)


class DeviceLocks:
    """One batch at a time on each device; batches on other devices run beside it, and others may compile."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def hold(self, devices: Iterable[int]) -> Iterator[None]:
        """Wait for these devices, and keep them while the context lasts."""
        with self._guard:
            locks = [self._locks[number] for number in sorted(set(devices))]
        with ExitStack() as stack:
            for lock in locks:  # always in the same order: two batches cannot wait for each other
                stack.enter_context(lock)
            yield
