"""
A work directory of DocArray's `HnswDocumentIndex`, opened for reading; nothing in it is changed.

    docs_sqlite.db    table `docs`: doc_id, the row's number, made from the id; data, the document (see `blobs`); and
                      columns that repeat values of it, for DocArray's filters. Truth: what has a row exists
    <field>.bin       a graph of hnswlib for each vector field. Deleted documents stay in it, for DocArray forgets to
                      save a deletion. The only copy of the vectors where no field is nested and no space is cosine
    <field>/          the same again for the documents in a list, a "subindex". They are in the documents whose lists
                      they are in, too, and those are what `index[id]` returns; here are also some that were replaced
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import CorruptIndexError, WorkDirError
from ..tensors import Float32Array

Numbers = np.ndarray[Any, np.dtype[np.int64]]

DATABASE = 'docs_sqlite.db'
_AGAIN = 'nothing in it was changed; restore it from a backup, or index the documents again'
_READ_BYTES = 4 << 20
_REFUSED = (sqlite3.Error, UnicodeDecodeError)  # SQLite quotes damaged names in what it says
_HEADER = struct.Struct('<6Q')
_ELEMENTS = 96  # where they begin in a graph file
_WAL_FORMAT = 2  # byte 18 of a database that has a write-ahead log


def row_of(id_: str) -> int:
    """Return the number under which DocArray keeps the document with an id."""
    return int(hashlib.sha256(id_.encode()).hexdigest(), 16) % 10**18


class DocArrayDirectory:
    """
    One work directory, as of the moment at which it was opened.

    Args:
        path: The directory.
        columns: The flat names of the fields whose vectors are wanted. Other files ending in `.bin` are somebody
            else's: DocArray's directory is the current one by default.

    Attributes:
        path: The directory.
        database: The SQLite file in it.
        graphs: The graph files of its vector fields, by flat name.

    Raises:
        WorkDirError: it is no work directory of DocArray, or a write to it has not ended.
        CorruptIndexError: a file in it is damaged.
    """

    def __init__(self, path: Path, columns: Collection[str]) -> None:
        self.path = path
        self.database = path / DATABASE
        self.graphs: dict[str, GraphFile] = {}
        with ExitStack() as opened:
            self._connection = opened.enter_context(closing(_opened(self.database)))
            for name in columns:
                if (path / f'{name}.bin').exists():
                    self.graphs[name] = opened.enter_context(closing(GraphFile(path / f'{name}.bin')))
            self._files = self._state()
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def __len__(self) -> int:
        """How many documents there are."""
        return int(self._read('SELECT COUNT(*) FROM docs').fetchone()[0])

    def batches(self, size: int) -> Iterator[list[tuple[int, object]]]:
        """Yield rows, the number of a document and its bytes, in the order of their numbers."""
        cursor = self._read('SELECT rowid, data FROM docs ORDER BY rowid')
        while rows := self._fetched(cursor, size):
            yield rows

    def children(self, fields: tuple[str, ...]) -> Numbers | None:
        """
        Return which documents there are in the subindex of a field; None where there is no subindex.

        Raises:
            WorkDirError: it cannot be read.
        """
        database = self.path.joinpath(*fields, DATABASE)
        if not database.exists():
            return None
        with closing(_opened(database)) as connection:
            try:
                found = connection.execute('SELECT rowid FROM docs')
                return np.fromiter((row for (row,) in found), np.int64)
            except _REFUSED as error:
                raise CorruptIndexError(f'SQLite cannot read this: {error}', database, _AGAIN) from error

    def check_unchanged(self) -> None:
        """
        Check that nobody has written to the directory since it was opened.

        Raises:
            WorkDirError: somebody has.
        """
        if self._state() != self._files:
            hint = 'close it there, and import it again with resume=True'
            raise WorkDirError('DocArray has written to this directory while it was read', self.path, hint)

    def _state(self) -> dict[str, tuple[int, int]]:
        stats = {path.name: path.stat() for path in (self.database, *(graph.path for graph in self.graphs.values()))}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}

    def _read(self, query: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(query)
        except _REFUSED as error:
            raise CorruptIndexError(f'SQLite cannot read the documents: {error}', self.database, _AGAIN) from error

    def _fetched(self, cursor: sqlite3.Cursor, size: int) -> list[tuple[int, object]]:
        try:
            return cursor.fetchmany(size)
        except _REFUSED as error:
            raise CorruptIndexError(f'SQLite cannot read on: {error}', self.database, _AGAIN) from error


def _opened(database: Path) -> sqlite3.Connection:
    """Return a connection that reads: it writes nothing, and keeps others from writing while it reads."""
    if not database.is_file():
        raise WorkDirError(f'this is no work directory of DocArray: {DATABASE} is missing', database.parent)
    for suffix in ('-journal', '-wal'):
        beside = database.with_name(database.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise WorkDirError(
                'a write has not ended',
                beside,
                'close DocArray; if it was killed, open the directory once more with it',
            )
    with database.open('rb') as file:
        has_log = file.read(19)[18:] == bytes([_WAL_FORMAT])
    # Even to read a database with a write-ahead log SQLite makes files, unless it is told that nobody writes.
    uri = f'{database.absolute().as_uri()}?mode=ro' + ('&immutable=1' if has_log else '')
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.text_factory = bytes  # `blobs` says what is wrong with them
    try:
        connection.execute('PRAGMA trusted_schema = OFF')
        connection.execute('BEGIN')
        connection.execute('SELECT rowid, data FROM docs LIMIT 1')
    except _REFUSED as error:
        connection.close()
        raise WorkDirError(f'SQLite cannot read this as an index of DocArray: {error}', database) from error
    return connection


class GraphFile:
    """
    The vectors in a file of hnswlib, whose format `hnsw.graph_file` describes. Its links are not looked at.

    Attributes:
        path: The file.
        rows: The numbers of all documents that it has vectors of, in ascending order, shape (n,).

    Raises:
        CorruptIndexError: the file is not one of hnswlib.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open('rb', buffering=0)
        try:
            count = self._header()
            labels = self._labels(count)
        except BaseException:
            self._file.close()
            raise
        self._order = np.argsort(labels, kind='stable')
        self.rows: Numbers = labels[self._order]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _header(self) -> int:
        """Read where in an element its vector and its label are; return how many elements there are."""
        level0, _, count, self._size, self._label, self._vector = _HEADER.unpack(self._read(0, _HEADER.size))
        dim, rest = divmod(self._label - self._vector, 4)
        is_ours = level0 == 0 and dim > 0 and rest == 0 and self._size == self._label + 8
        if not is_ours or _ELEMENTS + count * self._size > self.path.stat().st_size:
            raise CorruptIndexError('this file is damaged, or not one of hnswlib', self.path, _AGAIN)
        return int(count)

    def _labels(self, count: int) -> Numbers:
        labels = np.empty(count, np.int64)
        each = max(1, _READ_BYTES // self._size)
        for start in range(0, count, each):
            end = min(start + each, count)
            elements = self._read(_ELEMENTS + start * self._size, (end - start) * self._size)
            content = np.frombuffer(elements, np.uint8).reshape(end - start, self._size)
            labels[start:end] = content[:, self._label :].copy().view('<i8').ravel()
        return labels

    def vector(self, row: int) -> Float32Array | None:
        """Return the vector of a document, marked as deleted or not; None where there is none."""
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            return None
        start = _ELEMENTS + int(self._order[at]) * self._size + self._vector
        return np.frombuffer(self._read(start, self._label - self._vector), '<f4').astype(np.float32, copy=False)

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        content = self._file.read(size)
        if len(content) < size:
            raise CorruptIndexError('this file ends too early', self.path, _AGAIN)
        return content
