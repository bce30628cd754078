"""
Loads a graph when somebody needs it (I5, I8 in `store`).

A graph that is asleep is like one that covers nothing: searches compare with every vector, and are right. So it is
woken before a search begins, without a lock, and nobody has to wait for that but whoever searches this field. Only,
hnswlib holds Python's own lock while it reads a file.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager

from . import graphless
from .following import Following
from .graph import why_impossible
from .graphs import MovedError
from .state import View


class Waking:
    """
    Wakes graphs, for any thread that holds no lock of the store.

    Args:
        following: The state whose graphs these are.
        writing: Held by the thread of this process that writes.
        reading: Gives a view of the last commit.
    """

    def __init__(
        self, following: Following, writing: threading.RLock, reading: Callable[[], AbstractContextManager[View]]
    ) -> None:
        self._following = following
        self._writing = writing
        self._reading = reading
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def wake(self, field: str, show_progress: bool | None = None) -> None:
        """
        Have a field's graph in memory, if it has one, and complete unless somebody is writing.

        Without hnswlib it stays asleep, and the log says so.

        Args:
            field: The vector field.
            show_progress: Whether to show a bar while what its file lacks is added.
        """
        if field not in self._following.state.graphs.asleep:
            return
        if why_impossible():
            graphless.say_once()
        else:
            with self._loading[field]:  # two at once load it once
                while not self._is_loaded(field):
                    pass
            self._catch_up(show_progress)

    def _is_loaded(self, field: str) -> bool:
        """Load a graph; return whether that need not be tried again."""
        with self._reading() as view:
            state, snapshots = view.state, view.rows.snapshots()
        if field not in state.graphs.asleep:
            return True
        try:
            graph = state.graphs.prepared(field, snapshots.get(field))
        except MovedError:
            return False
        with self._following.lock.exclusive():
            if self._following.state is state:  # or it was compacted meanwhile
                state.graphs.awaken(field, graph)
        return False

    def _catch_up(self, show_progress: bool | None) -> None:
        # If a thread writes, it works on the graphs itself, and searches scan until then.
        if self._writing.acquire(blocking=False):
            try:
                self._following.state.graphs.catch_up(show_progress)
            finally:
                self._writing.release()
