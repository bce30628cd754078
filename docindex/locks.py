"""How threads get out of each other's way: a lock that readers share and one writer has alone, and turns."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

_PATIENCE = 0.01
"""
Seconds to wait for a turn. On two cores eight threads that search without a pause find, with 0, 2, 5, 10 and 20 ms,
0.92, 1.05, 1.19, 1.31 and 1.46 of what one finds; half of the answers come within 4.3, 3.8, 1.5, 1.0 and 0.9 ms, and
99 of 100 within 17, 13, 11, 16 and 24.
"""


def processors() -> int:
    """Return how many processors this process may use."""
    # Not os.cpu_count(), which counts processors that a container may not use.
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class SharedLock:
    """
    Any number of threads hold it shared, or one holds it exclusively. Not reentrant.

    A waiting writer keeps new readers out, so it is not starved; a writer that comes back at once
    lets waiting readers go first, so they are not either.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._readers = 0
        self._waiting_readers = 0
        self._waiting_writers = 0
        self._is_exclusive = False
        self._shared = _Held(self.acquire_shared, self.release_shared)
        self._exclusive = _Held(self.acquire_exclusive, self.release_exclusive)

    def shared(self) -> AbstractContextManager[None]:
        """Hold the lock together with other readers."""
        return self._shared

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the lock alone."""
        return self._exclusive

    @property
    def is_exclusive(self) -> bool:
        """Whether somebody holds it alone."""
        return self._is_exclusive

    def downgrade(self) -> None:
        """Turn the lock that this thread holds alone into a shared one, without letting a writer in between."""
        with self._condition:
            self._is_exclusive = False
            self._readers += 1
            self._condition.notify_all()

    def acquire_shared(self) -> None:
        """Take the lock together with other readers."""
        with self._condition:
            if self._is_exclusive or self._waiting_writers:
                self._waiting_readers += 1
                try:
                    self._condition.wait_for(lambda: not self._is_exclusive and not self._waiting_writers)
                finally:
                    self._waiting_readers -= 1
            self._readers += 1

    def release_shared(self) -> None:
        """Give a shared lock back."""
        with self._condition:
            self._readers -= 1
            if not self._readers and self._waiting_writers:
                self._condition.notify_all()

    def acquire_exclusive(self) -> None:
        """Take the lock alone."""
        if self._waiting_readers:
            time.sleep(0.0001)
        with self._condition:
            self._waiting_writers += 1
            try:
                self._condition.wait_for(lambda: not self._is_exclusive and not self._readers)
            except BaseException:  # Ctrl-C: readers that have let this go first have nobody to wait for
                self._condition.notify_all()
                raise
            finally:
                self._waiting_writers -= 1
            self._is_exclusive = True

    def release_exclusive(self) -> None:
        """Give the lock back."""
        with self._condition:
            self._is_exclusive = False
            self._condition.notify_all()


class _Held:
    """Acquires when entered, releases when left. A class, for a generator would cost each step a microsecond more."""

    def __init__(self, acquire: Callable[[], None], release: Callable[[], None]) -> None:
        self._acquire = acquire
        self._release = release

    def __enter__(self) -> None:
        self._acquire()

    def __exit__(self, *exception: object) -> None:
        self._release()


class Turns:
    """
    Lets so many threads at a time do what more of them do more slowly; a habit, and no lock.

    A thread that does it again and again keeps its turn, since waking another for each time is what is slow. So nobody
    is made to wait for long: whose turn does not come goes on all the same.
    """

    def __init__(self, at_once: int) -> None:
        self._free = threading.Semaphore(at_once)

    def one(self) -> AbstractContextManager[None]:
        """Have a turn while this is held, if one is free soon."""
        return _Turn(self._free)


class _Turn:
    """A class, as `_Held` is."""

    __slots__ = ('_free', '_has_it')

    def __init__(self, free: threading.Semaphore) -> None:
        self._free = free
        self._has_it = False

    def __enter__(self) -> None:
        self._has_it = self._free.acquire(timeout=_PATIENCE)

    def __exit__(self, *exception: object) -> None:
        if self._has_it:
            self._free.release()
