"""A lock that many readers share and one writer has alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


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

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._condition:
            if self._is_exclusive or self._waiting_writers:
                self._waiting_readers += 1
                self._condition.wait_for(lambda: not self._is_exclusive and not self._waiting_writers)
                self._waiting_readers -= 1
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers and self._waiting_writers:
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone."""
        if self._waiting_readers:
            time.sleep(0.0001)
        with self._condition:
            self._waiting_writers += 1
            try:
                self._condition.wait_for(lambda: not self._is_exclusive and not self._readers)
            finally:
                self._waiting_writers -= 1
            self._is_exclusive = True
        try:
            yield
        finally:
            with self._condition:
                self._is_exclusive = False
                self._condition.notify_all()
