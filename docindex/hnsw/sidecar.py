"""
Rows beside the graphs: the only module that imports sqlite3.

    meta         key, value: format, columns, json_schema, settings, next_label, commits, generation
    documents    one row a living document; label is its current version's
    tombstones   labels that were deleted or replaced, in the order of their commits
    absences     labels that have no vector in a field (it is optional)
    snapshots    one row a graph file: its size, checksum, settings and what it covers

WAL with synchronous=FULL: one sync a commit, and nothing acknowledged is lost in a power cut. (Measured
over ten cuts each: WAL with NORMAL lost in 10, a rollback journal with FULL in 2.)
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .. import _files
from ..errors import CorruptIndexError, FormatVersionError, WorkDirError

FORMAT = 1

_DOCUMENTS = """
CREATE TABLE {} (
    label INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data TEXT NOT NULL, tensors BLOB, checksum INTEGER NOT NULL
)
"""
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{_DOCUMENTS.format('documents')};
CREATE TABLE tombstones (position INTEGER PRIMARY KEY, label INTEGER NOT NULL);
CREATE TABLE absences (field TEXT NOT NULL, label INTEGER NOT NULL, PRIMARY KEY (field, label)) WITHOUT ROWID;
CREATE TABLE snapshots (
    field TEXT PRIMARY KEY, file TEXT NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    covered INTEGER NOT NULL, buried INTEGER NOT NULL, dead INTEGER NOT NULL, twins TEXT NOT NULL,
    settings TEXT NOT NULL
) WITHOUT ROWID;
"""
_VARIABLES = 10_000  # a statement's limit is 32,766
_DAMAGED = 'if it opens, index.verify() lists all that is damaged; restore it from a backup'


class Row(NamedTuple):
    """One stored document: its id, its JSON as UTF-8, its tensors as bytes."""

    id: str
    data: bytes
    tensors: bytes | None

    def checksum(self) -> int:
        """Return the CRC-32 of the JSON, which has the id in it, and the tensors."""
        return row_checksum(self.data, self.tensors)


def row_checksum(data: bytes, tensors: bytes | None) -> int:
    """Return the CRC-32 of a row's JSON and tensors."""
    checksum = zlib.crc32(data)
    if tensors is None:
        return checksum
    # In a damaged row anything may stand here.
    return zlib.crc32(tensors, checksum) if isinstance(tensors, bytes) else ~checksum


class ScannedRow(NamedTuple):
    """A row as it is on the disk, damaged or not."""

    label: int
    id: str
    data: bytes
    tensors: bytes | None
    is_damaged: bool


@dataclass
class Change:
    """
    What one transaction does.

    Attributes:
        next_label: The first label that is free afterwards.
        inserted: New versions; their labels are the last ones before `next_label`, in this order.
        rewritten: Documents that change without a new version, by label.
        buried: Labels of versions that end: of deleted documents, and of replaced ones.
        absences: Per field, the labels among the inserted that have no vector in it.
    """

    next_label: int
    inserted: list[Row] = field(default_factory=list)
    rewritten: list[tuple[int, Row]] = field(default_factory=list)
    buried: list[int] = field(default_factory=list)
    absences: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """What is known of a graph file: enough to trust it, and to know what came after it."""

    field: str
    file: str
    size: int
    checksum: int
    covered: int
    buried: int
    dead: int
    twins: str
    settings: str


class Sidecar:
    """
    The SQLite file of a work directory. One thread writes at a time; any number may read.

    Raises:
        CorruptIndexError: SQLite does not accept the file.
        FormatVersionError: a newer docindex wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._writer = self._connect()
        try:
            with self._translated():
                self._writer.execute('PRAGMA journal_mode = WAL')
                self._writer.execute('PRAGMA synchronous = FULL')
                # Only macOS heeds these; see `_files.sync_file`.
                self._writer.execute('PRAGMA fullfsync = ON')
                self._writer.execute('PRAGMA checkpoint_fullfsync = ON')
        except BaseException:
            self._writer.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        # Used by one thread at a time, though not always the same.
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a SELECT, which may run beside others: each takes a connection that is idle."""
        with self._translated():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
                connection.execute('PRAGMA query_only = ON')
                # KiB. With SQLite's 2 MB, ten rows of 20,000 documents took 25 us; with this 18.
                connection.execute('PRAGMA cache_size = -32768')
            try:
                return connection.execute(sql, parameters).fetchall()
            finally:
                self._idle.append(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise WorkDirError(
                f'SQLite failed: {error}', self.path, 'check the disk, and that the file can be written'
            ) from error
        except sqlite3.DatabaseError as error:
            raise CorruptIndexError(f'SQLite cannot read this file: {error}', self.path, _DAMAGED) from error

    # -- what the directory is -------------------------------------------------------------------

    def is_new(self) -> bool:
        """
        Return whether nothing was ever stored here.

        Raises:
            WorkDirError: something was, but not by docindex.
        """
        with self._translated():
            tables = {name for (name,) in self._writer.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not {'meta', 'documents', 'tombstones'} <= tables:
            raise WorkDirError('this SQLite file was not made by docindex', self.path, 'choose another work_dir')
        return not tables

    def create(self, meta: Mapping[str, Any]) -> None:
        """Make the tables, in one transaction, so that a directory either is an index or is not."""
        with self._translated(), _Transaction(self._writer) as connection:
            for statement in _TABLES.split(';'):
                connection.execute(statement)
            _set_meta(connection, {'format': FORMAT, 'next_label': 0, 'commits': 0, 'generation': 0, **meta})
        _files.sync_directory(self.path.parent)

    def meta(self) -> dict[str, Any]:
        """
        Return what the directory says of itself.

        Raises:
            FormatVersionError: a newer docindex wrote it.
        """
        with self._translated():
            rows = self._writer.execute('SELECT key, value FROM meta').fetchall()
        try:
            meta: dict[str, Any] = {key: json.loads(value) for key, value in rows}
            newer = meta['format'] > FORMAT
            is_complete = {'columns', 'settings', 'next_label', 'commits', 'generation'} <= meta.keys()
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptIndexError('this file does not describe itself', self.path, _DAMAGED) from error
        if newer:
            message = f'this directory has format {meta["format"]}, and this docindex knows up to {FORMAT}'
            raise FormatVersionError(message, self.path, 'upgrade docindex')
        if not is_complete:
            raise CorruptIndexError('this file lacks a part of its description', self.path, _DAMAGED)
        return meta

    def commits(self) -> int:
        """Return how many changes have been committed, ever. Called by the writer, outside a transaction."""
        with self._translated():
            _roll_back(self._writer)  # what an interrupt left unfinished would count here as committed
            return int(self._writer.execute("SELECT value FROM meta WHERE key = 'commits'").fetchone()[0])

    def set_meta(self, **values: Any) -> None:
        """Change entries of `meta`, durably."""
        with self._translated(), _Transaction(self._writer) as connection:
            _set_meta(connection, values)

    # -- documents -------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Commit a change: when this returns it exists, when it raises it never did."""
        with self._translated(), _Transaction(self._writer) as connection:
            execute = connection.executemany
            execute('DELETE FROM documents WHERE label = ?', [(label,) for label in change.buried])
            execute('INSERT INTO tombstones (label) VALUES (?)', [(label,) for label in change.buried])
            execute(
                'UPDATE documents SET data = CAST(? AS TEXT), tensors = ?, checksum = ? WHERE label = ?',
                ((row.data, row.tensors, row.checksum(), label) for label, row in change.rewritten),
            )
            execute(
                'INSERT INTO documents (label, id, data, tensors, checksum) VALUES (?, ?, CAST(? AS TEXT), ?, ?)',
                (
                    (label, row.id, row.data, row.tensors, row.checksum())
                    for label, row in enumerate(change.inserted, change.next_label - len(change.inserted))
                ),
            )
            _insert_absences(connection, change.absences)
            _count_commit(connection, {'next_label': change.next_label})

    def adapt(self, meta: Mapping[str, Any], new_vectors: Sequence[str]) -> None:
        """Commit another description of the directory, in which the documents there are lack `new_vectors`."""
        with self._translated(), _Transaction(self._writer) as connection:
            for name in new_vectors:
                connection.execute('DELETE FROM absences WHERE field = ?', (name,))
                connection.execute('INSERT INTO absences SELECT ?, label FROM documents', (name,))
            _count_commit(connection, meta)

    def renumber(self, meta: Mapping[str, Any], absences: Mapping[str, Sequence[int]]) -> None:
        """
        Give the documents the labels 0, 1, 2, ... in the order of those they have; forget the dead and all graph files.

        Args:
            meta: The entries of `meta` that change with it.
            absences: By field, the new labels that have no vector.
        """
        with self._translated(), _Transaction(self._writer) as connection:
            # Into a new table: changing the key of each row in place takes longer, and leaves the file full of holes.
            connection.execute(_DOCUMENTS.format('renumbered'))
            connection.execute(
                'INSERT INTO renumbered SELECT row_number() OVER (ORDER BY label) - 1, id, data, tensors, checksum '
                'FROM documents ORDER BY label'
            )
            connection.execute('DROP TABLE documents')
            connection.execute('ALTER TABLE renumbered RENAME TO documents')
            for table in ('tombstones', 'absences', 'snapshots'):
                connection.execute(f'DELETE FROM {table}')
            _insert_absences(connection, absences)
            _count_commit(connection, meta)

    def vacuum(self) -> None:
        """Give space that is no longer used back to the file system."""
        with self._translated():
            self._writer.execute('VACUUM')
            self._writer.execute('PRAGMA wal_checkpoint(TRUNCATE)')

    def labels_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the labels of those `ids` that exist."""
        found: dict[str, int] = {}
        # Half of a surrogate pair cannot be written as UTF-8, so no document has such an id.
        possible = [id_ for id_ in ids if id_.isascii() or id_.encode(errors='ignore').decode() == id_]
        for chunk in _chunks(possible):
            found.update(self._read(f'SELECT id, label FROM documents WHERE id IN ({_marks(chunk)})', chunk))
        return found

    def fetch(self, labels: Sequence[int]) -> dict[int, tuple[bytes, bytes | None]]:
        """
        Return the JSON and the tensors of those `labels` that exist.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        found: dict[int, tuple[bytes, bytes | None]] = {}
        for chunk in _chunks(labels):
            # As BLOB, which sqlite3 hands over as the bytes that pydantic wants.
            sql = f'SELECT label, CAST(data AS BLOB), tensors, checksum FROM documents WHERE label IN ({_marks(chunk)})'
            for label, data, tensors, checksum in self._read(sql, chunk):
                if row_checksum(data, tensors) != checksum:
                    message = f'the document with label {label} does not match its checksum'
                    raise CorruptIndexError(message, self.path, _DAMAGED)
                found[label] = data, tensors
        return found

    def ids(self) -> list[str]:
        """Return the ids of all documents, in the order of their labels."""
        return [id_ for (id_,) in self._read('SELECT id FROM documents ORDER BY label')]

    def id_of(self, label: int) -> str | None:
        """Return the id of the document with a label."""
        with self._translated():
            row = self._writer.execute('SELECT CAST(id AS BLOB) FROM documents WHERE label = ?', (label,)).fetchone()
        return None if row is None else str(row[0].decode(errors='replace'))

    def scan(self) -> Iterator[ScannedRow]:
        """Yield every row, damaged ones too."""
        sql = (
            'SELECT label, CAST(id AS BLOB), CAST(data AS BLOB), CAST(tensors AS BLOB), typeof(tensors), checksum '
            'FROM documents ORDER BY label'
        )
        with self._translated():
            for label, id_, data, tensors, kind, checksum in self._writer.execute(sql):
                is_damaged = kind not in ('blob', 'null') or row_checksum(data, tensors) != checksum
                yield ScannedRow(label, id_.decode(errors='replace'), data, tensors, is_damaged)

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with its own file; nothing if it is sound."""
        try:
            lines = [line for (line,) in self._writer.execute('PRAGMA integrity_check')]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if lines == ['ok'] else lines

    def backup(self, path: Path) -> None:
        """Copy what is committed into a new SQLite file."""
        with self._translated(), closing(sqlite3.connect(path)) as copy:
            self._writer.backup(copy)

    def count(self) -> int:
        """Return the number of documents."""
        with self._translated():
            return int(self._writer.execute('SELECT count(*) FROM documents').fetchone()[0])

    def tombstones(self) -> list[int]:
        """Return all dead labels in the order in which they died."""
        with self._translated():
            return [label for (label,) in self._writer.execute('SELECT label FROM tombstones ORDER BY position')]

    def absences(self) -> dict[str, list[int]]:
        """Return by field the labels that have no vector."""
        absences: dict[str, list[int]] = {}
        with self._translated():
            for name, label in self._writer.execute('SELECT field, label FROM absences'):
                absences.setdefault(name, []).append(label)
        return absences

    # -- graph files -----------------------------------------------------------------------------

    def snapshots(self) -> dict[str, Snapshot]:
        """Return the graph files there are, by field."""
        with self._translated():
            return {row[0]: Snapshot(*row) for row in self._writer.execute('SELECT * FROM snapshots')}

    def record(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the graph file of its field."""
        with self._translated(), _Transaction(self._writer) as connection:
            connection.execute('INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', astuple(snapshot))

    def close(self) -> None:
        """Close all connections; the last one folds the write-ahead log into the file."""
        while self._idle:
            self._idle.pop().close()
        self._writer.close()


class _Transaction:
    """
    A transaction of the writer: committed at the end of the block, rolled back if the block raises.

    A class and no generator: an interrupt may leave either unfinished, and a generator would roll back when it is
    collected, which may be in the middle of the next transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        _roll_back(self._connection)  # what an interrupt left unfinished
        self._connection.execute('BEGIN IMMEDIATE')
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute('COMMIT')
        finally:
            _roll_back(self._connection)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute('ROLLBACK')


def _set_meta(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    rows = [(key, json.dumps(value)) for key, value in values.items()]
    connection.executemany('INSERT OR REPLACE INTO meta VALUES (?, ?)', rows)


def _count_commit(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    _set_meta(connection, values)
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'commits'")


def _insert_absences(connection: sqlite3.Connection, absences: Mapping[str, Sequence[int]]) -> None:
    rows = ((name, label) for name, labels in absences.items() for label in labels)
    connection.executemany('INSERT INTO absences (field, label) VALUES (?, ?)', rows)


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _VARIABLES] for start in range(0, len(values), _VARIABLES))


def _marks(values: Sequence[Any]) -> str:
    return ','.join('?' * len(values))
