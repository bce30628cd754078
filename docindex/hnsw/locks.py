"""A lock that many readers share and one writer has alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager


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
                self._condition.wait_for(lambda: not self._is_exclusive and not self._waiting_writers)
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
