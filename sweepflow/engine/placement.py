"""Choice of the devices that a group runs on, so that batches of small groups run side by side."""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager


def first_device(program_key: str, devices: int, there_are: int) -> int:
    """Return the first device of a group that needs only some of this process's devices.

    It follows from the program alone. The devices of a program are part of the key of its persistent
    compilation, so they must be the same in the next process.

    Args:
        program_key: Program key of the group.
        devices: Number of devices that the group uses.
        there_are: Number of devices that this process has.
    """
    blocks = max(1, there_are // devices)
    return devices * (zlib.crc32(program_key.encode()) % blocks)


class DeviceLocks:
    """Locks that allow one batch at a time on each device.

    Batches on other devices run at the same time, and others may compile.
    """

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
