"""How far a source has come: noted in the index itself, in the transaction that stores the rows."""

from __future__ import annotations

import json
import logging
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from .errors import CHECK, CorruptIndexError, LoadError

logger = logging.getLogger('docindex')


class Notebook(Protocol):
    """What an index must be able to do for it."""

    def _transaction(self) -> AbstractContextManager[None]:
        """Make one transaction of all that is written inside."""

    def _note(self, key: str) -> str | None:
        """Return what was noted under a key."""

    def _put_note(self, key: str, value: str) -> None:
        """Note something, with the rest of the batch."""


class Bookmark:
    """
    How far a source has come, as the index knows it.

    Args:
        index: The index.
        key: What the source goes by; None: nothing is noted.
        identity: What it is recognised by: another size or time means that it was changed.
    """

    def __init__(self, index: Notebook, key: str | None, identity: list[Any], name: str) -> None:
        self._index = index
        # The name of a file need not be UTF-8, as the texts of an index are.
        self._key = None if key is None else key.encode(errors='backslashreplace').decode()
        self._identity = identity
        self._name = name
        self._noted: str | None = None

    @classmethod
    def of(cls, index: Notebook, source: Any, resume_key: str | None) -> Bookmark:
        """Return the bookmark of a file, or the one that a key was given for."""
        if not isinstance(source, (str, os.PathLike)):
            return cls(index, None if resume_key is None else f'load key {resume_key}', [], str(resume_key))
        path = Path(source).resolve()
        found = path.stat()
        key = f'load {path}' if resume_key is None else f'load key {resume_key}'
        return cls(index, key, [found.st_size, found.st_mtime_ns], str(path))

    def begin(self, resume: bool) -> int:
        """Return how many rows have been dealt with by a load that did not come to its end."""
        if self._key is None:
            return 0
        self._noted = self._index._note(self._key)
        if self._noted is None or not resume:
            return 0
        note = _parsed_note(self._noted, self._key)
        if note['finished']:
            return 0
        if note['identity'] != self._identity:
            logger.warning(
                '%s has changed since a load of it was interrupted; it is loaded from its beginning', self._name
            )
            return 0
        rows: int = note['rows']
        return rows

    def put(self, rows: int, *, is_finished: bool = False) -> None:
        """
        Note, within the batch, that so many rows have been dealt with.

        Raises:
            LoadError: somebody else has noted something since.
        """
        if self._key is None:
            return
        if self._index._note(self._key) != self._noted:
            raise LoadError(f'{self._name} is being loaded by somebody else, too', self._name)
        noted = json.dumps({'identity': self._identity, 'rows': rows, 'finished': is_finished})
        self._index._put_note(self._key, noted)
        self._noted = noted

    def finish(self, rows: int) -> None:
        """Note that all of it has been dealt with."""
        if self._key is not None:
            with self._index._transaction():
                self.put(rows, is_finished=True)


def _parsed_note(noted: str, key: str) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(noted)
        is_whole = type(note['rows']) is int and note['rows'] >= 0 and type(note['finished']) is bool
        note['identity']
    except (ValueError, TypeError, KeyError):
        is_whole = False
    if not is_whole:
        raise CorruptIndexError(f'how far a load has come cannot be read ({key!r})', 'documents.sqlite3', CHECK)
    return note
