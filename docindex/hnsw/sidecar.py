"""
Rows beside the graphs: the SQLite file, and what is written to it.

WAL with synchronous=FULL: one sync a commit, and nothing acknowledged is lost in a power cut. (Measured
over ten cuts each: WAL with NORMAL lost in 10, a rollback journal with FULL in 2.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from .. import _files
from ..errors import WorkDirError
from .connection import Connection
from .fieldtable import FieldTable, FieldTables
from .labels import Runs
from .records import Change, Row, ScannedRow, Snapshot, snapshot_checksum
from .rows import FORMAT, Rows

_DOCUMENTS = """
CREATE TABLE {} (
    label INTEGER PRIMARY KEY, level INTEGER NOT NULL, parent TEXT, position INTEGER NOT NULL,
    children INTEGER NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL, tensors BLOB, checksum INTEGER NOT NULL,
    UNIQUE (level, id)
)
"""
_COLUMNS = 'parent, position, children, data, tensors, checksum'
_CHILDREN = 'CREATE INDEX children ON documents (level, parent, position) WHERE parent IS NOT NULL'

_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{_DOCUMENTS.format('documents')};
{_CHILDREN};
CREATE TABLE runs (label INTEGER PRIMARY KEY, level INTEGER NOT NULL);
CREATE TABLE tombstones (position INTEGER PRIMARY KEY, label INTEGER NOT NULL);
CREATE TABLE absences (field TEXT NOT NULL, label INTEGER NOT NULL, PRIMARY KEY (field, label)) WITHOUT ROWID;
CREATE TABLE snapshots (
    field TEXT PRIMARY KEY, file TEXT NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    covered INTEGER NOT NULL, buried INTEGER NOT NULL, dead INTEGER NOT NULL, twins TEXT NOT NULL,
    strays TEXT NOT NULL, settings TEXT NOT NULL, record_checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE unsynced (size INTEGER PRIMARY KEY, field TEXT NOT NULL, label INTEGER NOT NULL, row BLOB NOT NULL);
"""
_FORGET_FIELDS = (
    'PRAGMA writable_schema = ON',
    "DELETE FROM sqlite_master WHERE tbl_name = 'fields' OR tbl_name GLOB 'fields_*' OR tbl_name GLOB 'text_*'",
    'PRAGMA writable_schema = RESET',
)
# KiB. With SQLite's 2 MB, reading ten rows of 20,000 documents took 25 us; with this 18.
_CACHE = 32_768
_NO_FIELDS = FieldTable()
_MANY_ROWS = 1_000


class Sidecar:
    """
    The SQLite file of a work directory. One thread writes at a time; any number may read.

    Attributes:
        rows: The tables for the thread that writes: with what it has not committed yet.

    Args:
        path: The file.
        read_only: Nothing will be written.
        is_synced: A commit waits for the disk. Without it a power cut may take the last ones back.

    Raises:
        CorruptIndexError: SQLite does not accept the file.
        WorkDirError: it cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False, is_synced: bool = True) -> None:
        self.path = path
        self._read_only = read_only
        self._synchronous = 'FULL' if is_synced else 'NORMAL'
        self._idle: list[Rows] = []
        self._writer = Connection(path, read_only)
        self.rows = Rows(self._writer)
        if read_only:
            return
        try:
            self._writer.all('PRAGMA journal_mode = WAL')
            self._writer.all(f'PRAGMA synchronous = {self._synchronous}')
            self._writer.all(f'PRAGMA cache_size = -{_CACHE}')
            # Only macOS heeds these; see `_files.sync_file`.
            self._writer.all('PRAGMA fullfsync = ON')
            self._writer.all('PRAGMA checkpoint_fullfsync = ON')
        except BaseException:
            self._writer.close()
            raise

    def is_new(self) -> bool:
        """
        Return whether nothing was ever stored here.

        Raises:
            WorkDirError: something was, but not by docindex.
        """
        tables = {name for (name,) in self._writer.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not {'meta', 'documents', 'tombstones'} <= tables:
            raise WorkDirError('this SQLite file was not made by docindex', self.path, 'choose another work_dir')
        return not tables

    # -- reading, beside others ------------------------------------------------------------------

    def take(self) -> Rows:
        """Return a connection that is idle, for one thread to read with; it is to be given back."""
        try:
            rows = self._idle.pop()
            if not rows.is_outdated():
                return rows
            rows.close()
            return self.take()
        except IndexError:
            connection = Connection(self.path, self._read_only)
            connection.all('PRAGMA query_only = ON')
            connection.all(f'PRAGMA cache_size = -{_CACHE}')
            return Rows(connection)

    def give_back(self, rows: Rows) -> None:
        """Let others read with a connection that was taken."""
        self._idle.append(rows)

    @contextmanager
    def latest(self) -> Iterator[Rows]:
        """Read what is committed by now, beside a moment that is held."""
        rows = self.take()
        try:
            yield rows
        finally:
            self.give_back(rows)

    # -- one write -------------------------------------------------------------------------------

    def commits(self) -> int:
        """Return how many changes have been committed, ever. Not to be called between `begin` and `commit`."""
        self._writer.roll_back()  # what an interrupt left unfinished would count here as committed
        return self.rows.commits()

    def begin(self) -> None:
        """Begin a transaction: what follows is committed together, or not at all."""
        self._writer.begin()

    def apply(self, change: Change, fields: FieldTable = _NO_FIELDS) -> None:
        """
        Make a change within the transaction; one that fails leaves nothing of itself.

        Args:
            change: What changes, of one level.
            fields: What filters look at in documents of that level.
        """
        self._check_begun()
        try:
            self._writer.all('SAVEPOINT change')
            self._bury(change.buried, fields)
            self._rewrite(change.rewritten, fields)
            self._insert(change, fields)
            if change.recounted:
                more = ((more, label) for label, more in change.recounted.items())
                self._writer.many('UPDATE documents SET children = children + ? WHERE label = ?', more)
            if change.notes:
                self._writer.many('INSERT OR REPLACE INTO notes VALUES (?, ?)', list(change.notes.items()))
            self._set_meta({'next_label': change.next_label})
            self._writer.all('RELEASE change')
        except BaseException:
            self._undo_to('change')
            raise

    def _bury(self, labels: Sequence[int], fields: FieldTable) -> None:
        statements = 'DELETE FROM documents WHERE label = ?', 'INSERT INTO tombstones (label) VALUES (?)', fields.delete
        for statement in statements if labels else ():
            self._writer.many(statement, ((label,) for label in labels))

    def _rewrite(self, rewritten: Sequence[tuple[int, Row]], fields: FieldTable) -> None:
        if rewritten:
            self._writer.many(
                'UPDATE documents SET parent = ?, position = ?, children = ?, data = CAST(? AS TEXT), tensors = ?, '
                'checksum = ? WHERE label = ?',
                ((*_values(row), label) for label, row in rewritten),
            )
            for start in range(0, len(rewritten), _MANY_ROWS):
                self._rewrite_fields(rewritten[start : start + _MANY_ROWS], fields)

    def _rewrite_fields(self, rewritten: Sequence[tuple[int, Row]], fields: FieldTable) -> None:
        """Change the columns that are to have other values, and no other: each has an index of its own."""
        wanted = {label: row.fields for label, row in rewritten}
        there: dict[int, list[Any]] = {}
        if not fields.text_tables():  # full text follows what is deleted and inserted
            there = {label: values for label, *values in self._writer.all(fields.select(len(wanted)), list(wanted))}
        anew = {label: values for label, values in wanted.items() if label not in there}
        changed: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
        for label, values in there.items():
            pairs = zip(values, wanted[label], strict=True)
            at = tuple(at for at, pair in enumerate(pairs) if _differ(*pair))
            if at:
                changed.setdefault(at, []).append((*(wanted[label][one] for one in at), label))
        for positions, values in changed.items():
            self._writer.many(fields.update(positions), values)
        if anew:
            self._writer.many(fields.delete, ((label,) for label in anew))
            self._writer.many(fields.insert, ((label, *values) for label, values in anew.items()))

    def _insert(self, change: Change, fields: FieldTable) -> None:
        if change.inserted:
            first = change.next_label - len(change.inserted)
            self._writer.many(
                f'INSERT INTO documents (label, level, id, {_COLUMNS}) '
                'VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?)',
                ((label, change.level, row.id, *_values(row)) for label, row in enumerate(change.inserted, first)),
            )
            with self._indexing(fields, len(change.inserted)):
                rows = ((label, *row.fields) for label, row in enumerate(change.inserted, first))
                self._writer.many(fields.insert, rows)
            self._insert_absences(change.absences)
            self._insert_runs(change.runs)

    @contextmanager
    def _indexing(self, fields: FieldTable, rows: int) -> Iterator[None]:
        """Make the indexes anew after so many rows, if that is less work than adding each: a third, for 20,000."""
        is_worthwhile = False
        if rows >= _MANY_ROWS:
            there = self._writer.all(f'SELECT count(*) FROM (SELECT 1 FROM {fields.name} LIMIT {rows:d})')[0][0]
            is_worthwhile = there < rows
        self._run(fields.drop_indexes() if is_worthwhile else ())
        yield
        self._run(fields.create_indexes() if is_worthwhile else ())

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the changes made inside be one: if it raises, nothing is left of them."""
        self._check_begun()
        self._writer.all('SAVEPOINT several')
        try:
            yield
            self._writer.all('RELEASE several')
        except BaseException:
            self._undo_to('several')
            raise

    def _undo_to(self, savepoint: str) -> None:
        # Not if a full disk, say, has made SQLite roll back all of it.
        if self._writer.is_in_transaction:
            try:
                self._writer.all(f'ROLLBACK TO {savepoint}')
                self._writer.all(f'RELEASE {savepoint}')
            except WorkDirError:  # an interrupt came after it was released, or before it was there: all of it goes
                self._writer.roll_back()

    def _check_begun(self) -> None:
        # A savepoint outside a transaction would be one of its own, and commit half of what belongs together.
        if not self._writer.is_in_transaction:
            raise WorkDirError(
                'SQLite has undone this transaction, for lack of room say', self.path, 'make room, and begin anew'
            )

    def keep_unsynced(self, copies: Iterable[tuple[str, int, bytes]], size: int) -> None:
        """Keep copies of rows of vector files, each of a field and a label, beside `size` bytes of others."""
        self._check_begun()
        for field, label, row in copies:
            size += len(row)
            # A key that only grows: rows of two kilobytes go side by side to the end of the table, where WITHOUT ROWID
            # would put half of each onto a page of its own.
            self._writer.all('INSERT INTO unsynced VALUES (?, ?, ?, ?)', (size, field, label, row))

    def forget_unsynced(self) -> None:
        """Forget these copies, within the transaction."""
        self._check_begun()
        self._writer.all('DELETE FROM unsynced')

    def commit(self) -> None:
        """Commit the transaction: when this returns it exists, when it raises it never did."""
        self._check_begun()
        self._count_commit()
        self._writer.commit()

    def roll_back(self) -> None:
        """Undo the transaction, if there is one."""
        self._writer.roll_back()

    # -- other writes, each a transaction --------------------------------------------------------

    def create(self, meta: Mapping[str, Any]) -> None:
        """Make the tables, in one transaction, synced, so that a directory either is an index or is not."""
        fixed: dict[str, Any] = {'format': FORMAT, 'next_label': 0, 'commits': 0, 'generation': 0, 'is_synced': True}
        fixed |= {'fields': [[]], 'levels': ['']}
        tables = FieldTables.from_json(meta.get('levels', ['']), meta.get('fields', [[]]))
        with self._synced(), self._writer.transaction():
            self._run((*_TABLES.split(';'), *(statement for table in tables for statement in table.create())))
            self._set_meta({**fixed, **meta})
        _files.sync_directory(self.path.parent)

    def set_meta(self, **values: Any) -> None:
        """Change entries of `meta`, synced in any case."""
        with self._synced(), self._writer.transaction():
            self._set_meta(values)
            self._count_commit()

    def adapt(self, meta: Mapping[str, Any], new_vectors: Mapping[str, int], new_levels: Iterable[int]) -> None:
        """
        Commit another description of the directory.

        Args:
            meta: The entries of `meta` that change.
            new_vectors: Vector fields that the documents there lack, and the level of each.
            new_levels: The numbers of levels that there were not before.
        """
        with self._writer.transaction():
            for name, level in new_vectors.items():
                self._writer.all('DELETE FROM absences WHERE field = ?', (name,))
                sql = 'INSERT INTO absences SELECT ?, label FROM documents WHERE level = ?'
                self._writer.all(sql, (name, level))
            self._run(statement for level in new_levels for statement in FieldTable((), level).create())
            self._set_meta(meta)
            self._count_commit()

    def renumber(
        self,
        meta: Mapping[str, Any],
        absences: Mapping[str, Sequence[int]],
        runs: Runs,
        snapshots: Sequence[Snapshot],
    ) -> None:
        """
        Give the documents the labels 0, 1, 2, ..., level by level, in the order of those they have; forget the dead.

        Synced in any case, for files that are no longer needed are removed after it.

        Args:
            meta: The entries of `meta` that change with it.
            absences: By field, the new labels that have no vector.
            runs: The new labels at which another level begins.
            snapshots: The graph files of the new labels.
        """
        with self._synced(), self._writer.transaction():
            self._run(statement for table in self._fields() for statement in table.renumber())
            # Into a new table: changing the key of each row in place takes longer, and leaves the file full of holes.
            self._writer.all(_DOCUMENTS.format('renumbered'))
            self._writer.all(
                f'INSERT INTO renumbered (label, level, id, {_COLUMNS}) '
                f'SELECT row_number() OVER (ORDER BY level, label) - 1, level, id, {_COLUMNS} '
                'FROM documents ORDER BY level, label'
            )
            self._writer.all('DROP TABLE documents')
            self._writer.all('ALTER TABLE renumbered RENAME TO documents')
            self._writer.all(_CHILDREN)
            emptied = ('tombstones', 'absences', 'runs', 'snapshots', 'unsynced')
            self._run(f'DELETE FROM {table}' for table in emptied)
            self._insert_absences(absences)
            self._insert_runs(runs)
            self._insert_snapshots(snapshots)
            self._set_meta(meta)
            self._count_commit()

    def put_fields(
        self, tables: FieldTables, read: Callable[[ScannedRow], Sequence[Any]], is_damaged: bool = False
    ) -> None:
        """
        Make the tables of fields anew, with other columns maybe.

        Args:
            tables: Those of each level.
            read: Returns what stands in them for a document.
            is_damaged: SQLite may not be able to read the old ones, nor to drop them: they are forgotten.
        """
        with self._writer.transaction():
            dropped = (statement for table in self._fields() for statement in table.drop())
            self._run(_FORGET_FIELDS if is_damaged else dropped)
            for table in tables:
                self._run(table.create())
                with closing(self.rows.scan(table.level)) as rows:
                    self._writer.many(table.insert, ((row.label, *read(row)) for row in rows))
            self._set_meta({'fields': tables.to_json()})
            self._count_commit()
        if is_damaged:
            self.vacuum()  # the pages of what was forgotten

    def check_text(self) -> None:
        """
        Compare full text with the texts it is of.

        Raises:
            CorruptIndexError: they differ.
        """
        with self._writer.transaction():
            self._run(statement for table in self._fields() for statement in table.check_text())

    def record(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the graph file of its field."""
        with self._writer.transaction():
            self._insert_snapshots([snapshot])

    def record_synced(self) -> None:
        """Forget the copies of rows of vector files: the files are synced."""
        with self._writer.transaction():
            self.forget_unsynced()

    def vacuum(self) -> None:
        """Give space that is no longer used back to the file system."""
        self._writer.all('VACUUM')
        self._writer.shorten_log()

    def backup(self, path: Path) -> None:
        """Copy what is committed into a new SQLite file."""
        self._writer.copy_to(path)

    def close(self) -> None:
        """Close all connections; the last one of all processes folds the write-ahead log into the file."""
        while self._idle:
            self._idle.pop().close()
        self._writer.close()

    @contextmanager
    def _synced(self) -> Iterator[None]:
        """Let the commit wait for the disk, and with it all before it, even where others do not."""
        self._writer.roll_back()  # what an interrupt left unfinished
        self._writer.all('PRAGMA synchronous = FULL')
        try:
            yield
        finally:
            self._writer.roll_back()
            self._writer.all(f'PRAGMA synchronous = {self._synchronous}')

    # -- parts of a transaction ------------------------------------------------------------------

    def _fields(self) -> FieldTables:
        meta = self.rows.meta()
        return FieldTables.from_json(meta['levels'], meta['fields'])

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self._writer.all(statement)

    def _set_meta(self, values: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._writer.many('INSERT OR REPLACE INTO meta VALUES (?, ?)', rows)

    def _count_commit(self) -> None:
        self._writer.all("UPDATE meta SET value = value + 1 WHERE key = 'commits'")

    def _insert_absences(self, absences: Mapping[str, Sequence[int]]) -> None:
        rows = ((name, label) for name, labels in absences.items() for label in labels)
        self._writer.many('INSERT INTO absences (field, label) VALUES (?, ?)', rows)

    def _insert_runs(self, runs: Runs) -> None:
        self._writer.many('INSERT INTO runs (label, level) VALUES (?, ?)', runs)

    def _insert_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        rows = ((*row, snapshot_checksum(row)) for row in map(astuple, snapshots))
        self._writer.many('INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', rows)


def _differ(left: Any, right: Any) -> bool:
    return left is not right and (type(left) is not type(right) or left != right)


def _values(row: Row) -> tuple[Any, ...]:
    return row.parent, row.position, row.children, row.data, row.tensors, row.checksum()
