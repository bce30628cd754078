"""
Keeps what this process knows of a directory at the last commit, whoever made it (I8, I9 in `store`).

A process that holds the lock for good makes all commits itself, and has something to follow only if Ctrl-C came between
a commit and what comes after it in memory. With readers and shared writers, other processes commit too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..errors import CorruptIndexError, SchemaMismatchError
from ..locks import SharedLock
from .fieldtable import FieldTables
from .graphs import MovedError
from .rows import Rows
from .settings import Declared
from .sidecar import Sidecar
from .state import Access, State
from .workdir import WorkDir


class Following:
    """
    The state of a directory, and how it moves on.

    Attributes:
        state: As of the last commit that was followed.
        lock: Held shared by who reads the state, alone by who changes it.

    Args:
        work_dir: The directory.
        sidecar: Its SQLite file.
        access: How it was opened.
        overlay: Settings that a reader has for itself.
        writing: Held by the thread of this process that writes.
    """

    def __init__(
        self, work_dir: WorkDir, sidecar: Sidecar, access: Access, overlay: Declared, writing: threading.RLock
    ) -> None:
        self.lock = SharedLock()
        self._work_dir = work_dir
        self._sidecar = sidecar
        self._access = access
        self._overlay = overlay
        self._writing = writing
        # Whether an interrupt may have left `state` between two commits.
        self._is_torn = False
        with self._moment() as rows:
            self.state = self._read(rows)

    @contextmanager
    def _moment(self) -> Iterator[Rows]:
        rows = self._sidecar.take()
        rows.hold()
        try:
            yield rows
        finally:
            rows.let_go()
            self._sidecar.give_back(rows)

    def _read(self, rows: Rows) -> State:
        """Return the state at the moment of `rows`, or at a later one if another process has replaced files since."""
        while True:
            try:
                return State.read(self._work_dir, self._sidecar, rows, self.lock, self._access, self._overlay)
            except MovedError:
                pass
            except CorruptIndexError:
                with self._sidecar.latest() as latest:
                    if latest.meta()['generation'] == rows.meta()['generation']:
                        raise
            rows.let_go()
            rows.hold()

    # -- what this process commits -----------------------------------------------------------------

    def publishing(self) -> AbstractContextManager[State]:
        """
        Give the state, for a commit and its publication inside; if Ctrl-C comes between the two, read it all anew.

        Called with the lock held alone.
        """
        return _Publishing(self)

    # -- what others have committed ------------------------------------------------------------------

    def follow(self) -> None:
        """Take over what is there before a write. Called with the right to write."""
        if self._sidecar.commits() != self.state.commits or self._is_torn:
            # The labels in memory are behind, and the next vectors would be written over committed ones (I3).
            with self.lock.exclusive():
                self._follow(self._sidecar.rows)

    def is_current(self, rows: Rows) -> bool:
        """Begin a moment of `rows`; return whether the state is as of that, and the graphs need no help."""
        if rows.hold() != self.state.commits or self._is_torn:
            return False
        return not self.state.graphs.are_behind or not self._can_step()

    def follow_and_share(self, rows: Rows, check: Callable[[], None]) -> None:
        """
        Bring the state and `rows` to one moment with the lock held alone, unless `check` raises; then share it.

        The caller releases it, also if this raises.
        """
        self.lock.acquire_exclusive()
        check()
        rows.let_go()  # another thread may have moved the state on, beyond that moment
        if rows.hold() != self.state.commits or self._is_torn:
            self._follow(rows)
        if self._can_step():
            self.state.graphs.step()
        self.lock.downgrade()

    def _can_step(self) -> bool:
        # Not while a thread of this process writes, which works on the graphs itself.
        is_idle = self._writing.acquire(blocking=False)
        if is_idle:
            self._writing.release()
        return is_idle

    def _follow(self, rows: Rows) -> None:
        """Move on to the moment of `rows`, or a later one. Called with the lock held alone."""
        meta = rows.meta()
        self.check_schema(meta)
        can_step, self._is_torn = self._access.follows and not self._is_torn, True
        if not (can_step and self._step(rows, meta)):
            replaced, self.state = self.state, self._read(rows)
            replaced.close()
        self._is_torn = False

    def check_schema(self, meta: Mapping[str, Any]) -> None:
        """Raise `SchemaMismatchError` if another process has changed what the documents, or their scores, mean."""
        before = self.state.settings.effective
        is_other = meta['columns'] != self.state.columns or meta['settings'].keys() != before.keys()
        is_other = is_other or not _fields(meta).has_columns_of(self.state.fields)
        if is_other or any(meta['settings'][field]['effective']['space'] != before[field].space for field in before):
            raise SchemaMismatchError(
                'this directory has got another schema, or another space, since it was opened here',
                self._work_dir.path,
                'close this index, and open it anew with that schema',
            )

    def _step(self, rows: Rows, meta: Mapping[str, Any]) -> bool:
        try:
            return self.state.follow(rows, meta)
        except MovedError:
            return False


def _fields(meta: Mapping[str, Any]) -> FieldTables:
    return FieldTables.from_json(meta['levels'], meta['fields'])


class _Publishing:
    """See `Following.publishing`. A class, and without the lock: it must not matter when a generator is collected."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def __enter__(self) -> State:
        self._following._is_torn = True
        return self._following.state

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        following = self._following
        if kind is not None and following._sidecar.commits() != following.state.commits:
            following._follow(following._sidecar.rows)
        following._is_torn = False
