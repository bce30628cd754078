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
LOOK = 1  # seconds after which who waits looks by itself: an interrupt may have kept the news from coming


def processors() -> int:
    """Return how many processors this process may use."""
    # Not os.cpu_count(), which counts processors that a container may not use.
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class SharedLock:
    """
    Any number of threads hold it shared, or one holds it exclusively. Not reentrant.

    A waiting writer keeps new readers out, so it is not starved; a writer that comes back at once
    lets waiting readers go first, so they are not either.

    Ctrl-C may come just after the lock was taken, or before `release` has done anything. So it knows which threads hold
    it: what a thread has when it comes again, an interrupt has left to it.
    """

    def __init__(self) -> None:
        # Taken by itself: an interrupt in `Condition.__enter__`, which is Python, would leave it taken for ever.
        self._mutex = threading.Lock()
        self._condition = threading.Condition(self._mutex)
        self._readers: set[int] = set()
        self._writer: int | None = None
        self._waiting_readers = 0
        self._waiting_writers = 0
        self._shared = _Held(self.acquire_shared, self.release)
        self._exclusive = _Held(self.acquire_exclusive, self.release)

    def shared(self) -> AbstractContextManager[None]:
        """Hold the lock together with other readers."""
        return self._shared

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the lock alone."""
        return self._exclusive

    def downgrade(self) -> None:
        """Turn the lock that this thread holds alone into a shared one, without letting a writer in between."""
        thread = threading.get_ident()
        with self._mutex:
            self._readers.add(thread)
            self._writer = None
            self._condition.notify_all()

    def acquire_shared(self) -> None:
        """Take the lock together with other readers."""
        thread = threading.get_ident()
        with self._mutex:
            if self._writer is not None or self._waiting_writers:
                self._let_go(thread)
                self._waiting_readers += 1
                try:
                    self._wait_until(lambda: self._writer is None and not self._waiting_writers)
                finally:
                    self._waiting_readers -= 1
            self._readers.add(thread)

    def acquire_exclusive(self) -> None:
        """Take the lock alone."""
        thread = threading.get_ident()
        if self._waiting_readers:
            time.sleep(0.0001)
        with self._mutex:
            self._let_go(thread)
            self._waiting_writers += 1
            try:
                self._wait_until(lambda: self._writer is None and not self._readers)
            except BaseException:  # Ctrl-C: readers that have let this go first have nobody to wait for
                self._condition.notify_all()
                raise
            finally:
                self._waiting_writers -= 1
            self._writer = thread

    def release(self) -> None:
        """Give back what this thread holds, if it holds the lock."""
        thread = threading.get_ident()
        with self._mutex:
            self._let_go(thread)

    def _let_go(self, thread: int) -> None:
        self._readers.discard(thread)
        if self._writer == thread:
            self._writer = None
        if self._writer is None and not self._readers and (self._waiting_readers or self._waiting_writers):
            self._condition.notify_all()

    def _wait_until(self, is_met: Callable[[], bool]) -> None:
        while not self._condition.wait_for(is_met, LOOK):
            pass


class _Held:
    """
    Acquires when entered, releases when left, also if an interrupt comes just then.

    A class, for a generator would cost each step a microsecond more.
    """

    def __init__(self, acquire: Callable[[], None], release: Callable[[], None]) -> None:
        self._acquire = acquire
        self._release = release

    def __enter__(self) -> None:
        try:
            self._acquire()
        except BaseException:
            self._release()
            raise

    def __exit__(self, *exception: object) -> None:
        try:
            self._release()
        except BaseException:
            self._release()
            raise


class Turns:
    """
    Lets so many threads at a time do what more of them do more slowly; a habit, and no lock.

    A thread that does it again and again keeps its turn, since waking another for each time is what is slow. So nobody
    is made to wait for long: whose turn does not come goes on all the same. An interrupt may leave a turn to a thread,
    as it may a lock.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._mutex = threading.Lock()
        self._condition = threading.Condition(self._mutex)
        self._having: set[int] = set()
        self._one = _Held(self._take, self._give_back)

    def one(self) -> AbstractContextManager[None]:
        """Have a turn while this is held, if one is free soon."""
        return self._one

    def _take(self) -> None:
        thread = threading.get_ident()
        with self._mutex:
            self._having.discard(thread)
            if self._is_one_free() or self._condition.wait_for(self._is_one_free, _PATIENCE):
                self._having.add(thread)

    def _give_back(self) -> None:
        thread = threading.get_ident()
        with self._mutex:
            self._having.discard(thread)
            self._condition.notify()

    def _is_one_free(self) -> bool:
        return len(self._having) < self._at_once
