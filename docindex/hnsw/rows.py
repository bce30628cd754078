"""
What stands in the SQLite file, read: the questions that are asked of its tables.

    meta         key, value: format, columns, json_schema, settings, next_label, commits, generation, is_synced,
                 embeddings
    documents    one row a living document; label is its current version's. Of a document in a list: its level, the id
                 of the document whose list that is, and where in it; of one with lists, how many are in them
    runs         labels from which on all are of a level, up to the next run; before the first they are of level 0
    tombstones   labels that were deleted or replaced, in the order of their commits
    fields       what of the documents filters and full text look at, a table a level; see `fieldtable`
    absences     labels that have no vector in a field (it is optional)
    snapshots    one row a graph file: its size, checksum, settings and what it covers
    notes        key, value: what somebody wants to know of an earlier write, such as how far a source was read
    unsynced     copies of the rows of vector files that the disk may not have yet; size: bytes of all, up to this one
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from ..embedding import is_record
from ..errors import CHECK, CorruptIndexError, FormatVersionError, QueryError, WorkDirError
from .conditions import Where
from .connection import Connection
from .fieldtable import FieldTables, are_safe
from .fulltext import TextMatch
from .records import PackedRows, Place, ScannedRow, Snapshot, mismatch, row_checksum, snapshot_checksum

logger = logging.getLogger('docindex')

FORMAT = 1

_META: dict[str, Any] = {
    'columns': dict,
    'fields': list,
    'levels': list,
    'settings': dict,
    'next_label': int,
    'commits': int,
    'generation': int,
    'is_synced': bool,
}
_STORED_ROWS = (
    'SELECT label, parent, id, CAST(data AS BLOB), tensors, position, children, checksum FROM documents WHERE'
)
Content = tuple[bytes, bytes | None]
"""The JSON of a document, and its tensors."""

_Fetched = tuple[int, bytes, bytes | None, str | None, int, int]
_VARIABLES = 10_000  # a statement's limit is 32,766
_FEW = 2_000


class Rows:
    """
    The tables, as one connection sees them.

    Attributes:
        path: The SQLite file.

    Raises (each method):
        WorkDirError: SQLite failed.
        CorruptIndexError: it cannot read the file.
    """

    def __init__(self, connection: Connection) -> None:
        self.path = connection.path
        self._connection = connection
        self._all = connection.all

    def hold(self) -> int:
        """See one moment from now on, until `let_go`, whatever is committed meanwhile; return `commits()` of it."""
        self._connection.roll_back()  # what an interrupt left
        self._all('BEGIN')
        return self.commits()  # SQLite chooses the moment at the first look

    def let_go(self) -> None:
        """See what is there, at each look, again."""
        self._connection.roll_back()

    def is_outdated(self) -> bool:
        """Return whether another connection has to be taken, to see what is written now."""
        return self._connection.is_outdated()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # -- what the directory is -------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """
        Return what the directory says of itself.

        Raises:
            FormatVersionError: a newer docindex wrote it.
        """
        rows = self._all('SELECT key, value FROM meta')
        try:
            meta: dict[str, Any] = {key: json.loads(value) for key, value in rows}
            newer = meta['format'] > FORMAT
            meta.setdefault('embeddings', {})  # an earlier docindex did not write it
            is_whole = all(isinstance(meta.get(key), kind) for key, kind in _META.items()) and _names_are_safe(meta)
            is_whole = is_whole and is_record(meta['embeddings'])
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptIndexError('this file does not describe itself', self.path, CHECK) from error
        if newer:
            message = f'this directory has format {meta["format"]}, and this docindex knows up to {FORMAT}'
            raise FormatVersionError(message, self.path, 'upgrade docindex')
        if not is_whole:
            raise CorruptIndexError('this file lacks a part of its description', self.path, CHECK)
        return meta

    def commits(self) -> int:
        """Return how many changes have been committed, ever."""
        try:
            return int(self._all("SELECT value FROM meta WHERE key = 'commits'")[0][0])
        except (IndexError, ValueError, TypeError) as error:
            raise CorruptIndexError('this file does not say how many commits it has', self.path, CHECK) from error

    def unsynced(self) -> dict[str, dict[int, bytes]]:
        """
        Return copies of the rows of vector files that the disk may not have yet, by field and label.

        What only damage can have put there, such as labels that there are not, is left out.
        """
        found: dict[str, dict[int, bytes]] = {}
        sql = (
            "SELECT field, label, row FROM unsynced JOIN meta ON key = 'next_label' "
            'WHERE label >= 0 AND label < CAST(value AS INTEGER)'
        )
        for field, label, row in self._all(sql):
            if isinstance(label, int) and isinstance(row, bytes):
                found.setdefault(field, {})[label] = row
        return found

    def unsynced_size(self) -> int:
        """Return how many bytes these copies have."""
        return int(self._all('SELECT coalesce(max(size), 0) FROM unsynced')[0][0])

    # -- documents -------------------------------------------------------------------------------

    def labels_of(self, ids: Sequence[str], level: int = 0) -> dict[str, int]:
        """Return the labels of those `ids` that exist in a level."""
        found: dict[str, int] = {}
        for chunk in _chunks(_possible(ids)):
            sql = f'SELECT id, label FROM documents WHERE level = {level:d} AND id IN ({_marks(chunk)})'
            found.update(self._all(sql, chunk))
        return found

    def fetch(self, labels: Sequence[int]) -> dict[int, Content]:
        """
        Return the JSON and the tensors of those `labels` that exist.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        found: dict[int, Content] = {}
        for chunk in _chunks(labels):
            found |= self._checked(self._all(_fetching(f'label IN ({_marks(chunk)})'), chunk))
        return found

    def fetch_ids(self, ids: Sequence[str], level: int) -> tuple[dict[str, int], dict[int, Content]]:
        """
        Return what `labels_of` and `fetch` return for those `ids` that exist in a level.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        labels: dict[str, int] = {}
        found: dict[int, Content] = {}
        for chunk in _chunks(_possible(ids)):
            rows = self._all(_fetching(f'level = {level:d} AND id IN ({_marks(chunk)})', ', id'), chunk)
            labels |= ((row[-1], row[0]) for row in rows)
            found |= self._checked(row[:-1] for row in rows)
        return labels, found

    def _checked(self, rows: Iterable[_Fetched]) -> dict[int, Content]:
        found: dict[int, Content] = {}
        for label, data, tensors, parent, position, checksum in rows:
            # Most have neither tensors nor a parent; asking for those in another function takes as long again.
            is_bare = data and tensors is None and parent is None
            if checksum != (crc32(data) if is_bare else row_checksum(data, tensors, parent, position)):
                raise mismatch(label, self.path)
            found[label] = data, tensors
        return found

    # -- documents in lists ----------------------------------------------------------------------

    def children(self, level: int, parents: Sequence[str]) -> list[Any]:
        """Return the documents of a level in lists of these parents, list by list, in order, as for a `StoredRow`."""
        found: list[Any] = []
        for chunk in _chunks(parents):
            which = f'level = {level:d} AND parent IN ({_marks(chunk)}) ORDER BY parent, position'
            found += self._all(f'{_STORED_ROWS} {which}', chunk)
        return found

    def packed_children(self, level: int, parents: Sequence[str]) -> dict[str, PackedRows]:
        """Return the same by parent, in half the time, where nobody may look at them: they are unpacked later."""
        found: dict[str, PackedRows] = {}
        for chunk in _chunks(parents):
            sql = (
                'SELECT parent, count(*), group_concat(label), group_concat(position), group_concat(checksum), '
                "group_concat(length(CAST(data AS BLOB))), CAST(group_concat(data, '') AS BLOB), count(tensors) "
                f'FROM documents WHERE level = {level:d} AND parent IN ({_marks(chunk)}) GROUP BY parent'
            )
            rows = self._all(sql, chunk)
            with_tensors = [row[0] for row in rows if row[-1]]
            tensors = self._tensors(level, with_tensors) if with_tensors else {}
            found.update((row[0], PackedRows(row, tensors, self.path)) for row in rows)
        return found

    def _tensors(self, level: int, parents: Sequence[str]) -> dict[int, bytes]:
        """Return the tensors, by label, of the documents of a level in lists of a few parents."""
        sql = (
            'SELECT label, tensors FROM documents '
            f'WHERE level = {level:d} AND parent IN ({_marks(parents)}) AND tensors IS NOT NULL'
        )
        return dict(self._all(sql, parents))

    def rows(self, labels: Sequence[int]) -> dict[int, Any]:
        """Return those of `labels` that exist, as for a `StoredRow`."""
        found: dict[int, Any] = {}
        for chunk in _chunks(labels):
            found.update((row[0], row) for row in self._all(f'{_STORED_ROWS} label IN ({_marks(chunk)})', chunk))
        return found

    def child_labels(self, level: int, parents: Sequence[str]) -> list[int]:
        """Return the labels of the documents of a level that are in lists of these parents."""
        found: list[int] = []
        for chunk in _chunks(parents):
            sql = f'SELECT label FROM documents WHERE level = {level:d} AND parent IN ({_marks(chunk)})'
            found += [label for (label,) in self._all(sql, chunk)]
        return found

    def child_counts(self, labels: Sequence[int]) -> dict[int, int]:
        """Return how many documents are in the lists of documents, by label, as these say it."""
        found: dict[int, int] = {}
        for chunk in _chunks(labels):
            found.update(self._all(f'SELECT label, children FROM documents WHERE label IN ({_marks(chunk)})', chunk))
        return found

    def places(self, labels: Sequence[int]) -> dict[int, Place]:
        """Return where documents stand, by label."""
        found: dict[int, Place] = {}
        for chunk in _chunks(labels):
            sql = f'SELECT label, parent, position FROM documents WHERE label IN ({_marks(chunk)})'
            found.update((row[0], Place(*row)) for row in self._all(sql, chunk))
        return found

    def checked_places(self, labels: Sequence[int]) -> dict[int, Place]:
        """
        Return where documents stand, by label.

        Raises:
            CorruptIndexError: a row does not match its checksum, so that it may stand elsewhere.
        """
        self.fetch(labels)
        return self.places(labels)

    def parents(self, labels: Sequence[int], level: int) -> dict[int, int]:
        """Return the labels of the documents, of a level, in whose lists these are, by their labels."""
        found: dict[int, int] = {}
        for chunk in _chunks(labels):
            sql = (
                'SELECT own.label, parents.label FROM documents AS own JOIN documents AS parents '
                f'ON parents.level = {level:d} AND parents.id = own.parent WHERE own.label IN ({_marks(chunk)})'
            )
            found.update(self._all(sql, chunk))
        return found

    def last_position(self, level: int, parent: str) -> int:
        """Return the last position in a document's list; -1 if it is empty."""
        sql = 'SELECT coalesce(max(position), -1) FROM documents WHERE level = ? AND parent = ?'
        (last,) = self._all(sql, (level, parent))[0]
        if not isinstance(last, int):
            raise CorruptIndexError(f'a place in a list of {parent!r} is no number', self.path, CHECK)
        return last

    # -- documents by their fields ---------------------------------------------------------------

    def labels_where(
        self, where: Where, order: str = '', limit: int | None = None, offset: int = 0
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """
        Return the labels of the documents that match.

        Args:
            where: What they match.
            order: SQL behind ORDER BY, made of columns; empty: in the order of labels, which is that of indexing.
            limit: At most so many; None: all.
            offset: Without the first so many.
        """
        if order:
            limit = -1 if limit is None else limit
            return self._labels(where, f'ORDER BY {order} LIMIT {limit:d} OFFSET {offset:d}')
        if limit is None:
            return np.sort(self._labels(where))[offset:]
        # SQLite would rather read the table from its beginning than sort the few that an index finds.
        few = self._labels(where, f'LIMIT {_FEW}')
        if len(few) < _FEW:
            return np.sort(few)[offset : offset + limit]
        return self._labels(where, f'ORDER BY label LIMIT {limit:d} OFFSET {offset:d}')

    def _labels(self, where: Where, which: str = '') -> np.ndarray[Any, np.dtype[np.int64]]:
        found = self._all(f'SELECT label FROM {where.table} WHERE {where.sql} {which}', where.parameters)
        try:
            return np.fromiter((label for (label,) in found), np.int64, len(found))
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptIndexError('what filters look at has labels that are none', self.path, CHECK) from error

    def count_where(self, where: Where, at_most: int | None = None) -> int:
        """Return how many documents match; it stops counting at `at_most`."""
        if at_most is None:
            return int(self._all(f'SELECT count(*) FROM {where.table} WHERE {where.sql}', where.parameters)[0][0])
        sql = f'SELECT count(*) FROM (SELECT 1 FROM {where.table} WHERE {where.sql} LIMIT {at_most:d})'
        return int(self._all(sql, where.parameters)[0][0])

    def among(self, where: Where, labels: Sequence[int]) -> set[int]:
        """Return those of `labels` whose documents match."""
        found: set[int] = set()
        for chunk in _chunks(labels):
            among = ','.join(map(str, chunk))
            sql = f'SELECT label FROM {where.table} WHERE label IN ({among}) AND {where.sql}'
            found.update(label for (label,) in self._all(sql, where.parameters))
        return found

    def ids_of(self, labels: Sequence[int]) -> dict[int, str]:
        """Return the ids of documents, by label."""
        found: dict[int, str] = {}
        for chunk in _chunks(labels):
            found.update(self._all(f'SELECT label, id FROM documents WHERE label IN ({_marks(chunk)})', chunk))
        return found

    def values(self, table: str, column: str, labels: Sequence[int]) -> dict[int, Any]:
        """Return what stands in a column of a table of fields, by label."""
        found: dict[int, Any] = {}
        for chunk in _chunks(labels):
            found.update(self._all(f'SELECT label, {column} FROM {table} WHERE label IN ({_marks(chunk)})', chunk))
        return found

    def text_ranking(self, text: TextMatch, where: Where, limit: int) -> list[tuple[int, float]]:
        """
        Return labels and scores of the texts that fit best of those that match a filter, best first.

        Raises:
            QueryError: SQLite does not understand what is searched.
        """
        weights = ''.join(f', {weight!r}' for weight in text.weights)
        sql = (  # first the words, and of what has them the filter
            f'SELECT rowid, -bm25({text.table}{weights}) AS score FROM {text.table} WHERE {text.table} MATCH ? AND '
            f'EXISTS (SELECT 1 FROM {where.table} WHERE label = {text.table}.rowid AND {where.sql}) '
            f'ORDER BY score DESC, {text.table}.rowid LIMIT {limit:d}'
        )
        return self._match(text, sql, (text.expression, *where.parameters))

    def snippets(
        self, text: TextMatch, column: int, labels: Sequence[int], before: str, after: str, words: int
    ) -> dict[int, str]:
        """Return for each label the part of a text with most of what is searched, marked; for those that have some."""
        found: dict[int, str] = {}
        for chunk in _chunks(labels):
            sql = (
                f"SELECT rowid, snippet({text.table}, {column:d}, ?, ?, '…', {words:d}) FROM {text.table} "
                f'WHERE {text.table} MATCH ? AND rowid IN ({_marks(chunk)})'
            )
            found.update(self._match(text, sql, (before, after, text.expression, *chunk)))
        return found

    def _match(self, text: TextMatch, sql: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            return self._all(sql, parameters)
        except WorkDirError as error:
            if text.is_safe or isinstance(error, CorruptIndexError):
                raise
            raise QueryError(f'{text.query!r} cannot be searched: {error.__cause__}') from error

    def ids(self, level: int = 0) -> list[str]:
        """Return the ids of all documents of a level, in the order of their labels."""
        return [id_ for (id_,) in self._all('SELECT id FROM documents WHERE level = ? ORDER BY label', (level,))]

    def id_of(self, label: int) -> str | None:
        """Return the id of the document with a label."""
        found = self._all('SELECT CAST(id AS BLOB) FROM documents WHERE label = ?', (label,))
        return str(found[0][0].decode(errors='replace')) if found else None

    def check_labels(self, next_label: int, levels: int) -> None:
        """
        Check that each label up to `next_label` is either a document's or dead, and no other, nor any level of more
        than there are, is anywhere; and that the dead are counted from 1.

        Raises:
            CorruptIndexError: it is not so.
        """
        (documents, dead, different), *_ = self._all(
            'SELECT (SELECT count(*) FROM documents), count(*), count(DISTINCT label) FROM tombstones'
        )
        outside = self._all(
            # Two conditions each, for which the keys serve: with NOT BETWEEN SQLite reads a million labels, 40 ms.
            'SELECT 1 FROM documents WHERE label < 0 UNION ALL SELECT 1 FROM documents WHERE label > :last UNION ALL '
            'SELECT 1 FROM tombstones WHERE position < 1 UNION ALL SELECT 1 FROM tombstones WHERE position > :dead '
            'UNION ALL '
            "SELECT 1 FROM tombstones WHERE typeof(label) != 'integer' OR label NOT BETWEEN 0 AND :last UNION ALL "
            "SELECT 1 FROM absences WHERE typeof(label) != 'integer' OR label NOT BETWEEN 0 AND :last UNION ALL "
            "SELECT 1 FROM runs WHERE typeof(level) != 'integer' OR label NOT BETWEEN 0 AND :last "
            'OR level NOT BETWEEN 0 AND :deepest UNION ALL '
            'SELECT 1 FROM documents WHERE level < 0 UNION ALL '
            'SELECT 1 FROM documents WHERE level > :deepest UNION ALL '
            'SELECT 1 FROM tombstones JOIN documents USING (label) LIMIT 1',
            {'last': next_label - 1, 'dead': dead, 'deepest': levels - 1},
        )
        if documents + dead != next_label or different != dead or outside:
            expected = next_label - dead
            raise CorruptIndexError(
                f'this file holds {documents} documents where there should be {expected}, or has a label in two places',
                self.path,
                CHECK,
            )

    def scan(self, level: int | None = None) -> Generator[ScannedRow, None, None]:
        """Yield every row, or those of one level, damaged ones too."""
        sql = (
            'SELECT label, level, CAST(id AS BLOB), CAST(data AS BLOB), CAST(tensors AS BLOB), typeof(tensors), '
            'CAST(parent AS BLOB), position, checksum FROM documents '
            f'{"" if level is None else f"WHERE level = {level:d} "}ORDER BY label'
        )
        for label, of, id_, data, tensors, kind, parent, position, checksum in self._connection.each(sql):
            above = None if parent is None else parent.decode(errors='replace')
            is_damaged = kind not in ('blob', 'null') or None in (id_, data)
            is_damaged = is_damaged or row_checksum(data, tensors, above, position) != checksum
            yield ScannedRow(label, of, (id_ or b'').decode(errors='replace'), data or b'', tensors, is_damaged)

    def read_through(self) -> None:
        """
        Read every document, so that the operating system has them in memory.

        Not by opening the file: POSIX takes all locks on a file from a process that closes it, whoever has opened it,
        and so SQLite's. Others would take this process for gone, and remove the log in which it writes.
        """
        self._all('SELECT sum(length(data)), sum(length(tensors)) FROM documents')

    def scan_fields(self, table: str) -> Generator[tuple[Any, ...], None, None]:
        """Yield every row of a table of fields: its label, and what stands in its columns."""
        yield from self._connection.each(f'SELECT * FROM {table} ORDER BY label')

    def count_stray_fields(self, table: str, level: int) -> int:
        """Return how many rows of a level's table of fields are no document's."""
        sql = f'SELECT count(*) FROM {table} WHERE label NOT IN (SELECT label FROM documents WHERE level = {level:d})'
        return int(self._all(sql)[0][0])

    def lost_children(self, level: int, below: Sequence[int]) -> list[tuple[str, str]]:
        """Return the ids of the documents of a level whose lists are not as long as they should be, and why."""
        levels = ','.join(map(str, below)) or 'NULL'
        counted = self._all(
            'SELECT CAST(id AS BLOB), children, (SELECT count(*) FROM documents AS each WHERE each.level IN '
            f'({levels}) AND each.parent = documents.id) AS found FROM documents WHERE level = ? AND children != found',
            (level,),
        )
        orphans = self._all(
            f'SELECT CAST(id AS BLOB), CAST(parent AS BLOB) FROM documents WHERE level IN ({levels}) AND parent NOT IN '
            '(SELECT id FROM documents WHERE level = ?)',
            (level,),
        )
        wrong = [(id_, f'there are {found} documents in its lists, and it says {said}') for id_, said, found in counted]
        wrong += [
            (id_, f'it is in a list of {parent.decode(errors="replace")!r}, which is not there')
            for id_, parent in orphans
        ]
        return [(id_.decode(errors='replace'), why) for id_, why in wrong]

    def check_text(self, tables: FieldTables) -> None:
        """
        Compare full text with the texts it is of; in a copy, for FTS5 compares only where it may write.

        Raises:
            CorruptIndexError: they differ.
        """
        statements = [statement for table in tables for statement in table.check_text()]
        if statements:
            self._connection.try_on_copy(statements)

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with its own file; nothing if it is sound."""
        try:
            lines = [line for (line,) in self._all('PRAGMA integrity_check')]
        except CorruptIndexError as error:
            return [str(error.args[0])]
        return [] if lines == ['ok'] else lines

    # -- labels, graph files ---------------------------------------------------------------------

    def runs(self, start: int = 0) -> list[tuple[int, int]]:
        """Return the labels, from `start` on, from which on all are of a level, and which."""
        return self._all('SELECT label, level FROM runs WHERE label >= ? ORDER BY label', (start,))

    def count_by_level(self) -> dict[int, int]:
        """Return how many documents there are of each level that has some."""
        return dict(self._all('SELECT level, count(*) FROM documents GROUP BY level'))

    def tombstones(self, after: int = 0) -> list[int]:
        """Return the dead labels in the order in which they died, without the first `after`."""
        sql = 'SELECT label FROM tombstones WHERE position > ? ORDER BY position'  # positions count from 1
        return [label for (label,) in self._all(sql, (after,))]

    def absences(self, fields: Iterable[str], start: int = 0) -> dict[str, list[int]]:
        """Return for each field the labels from `start` on that have no vector."""
        sql = 'SELECT label FROM absences WHERE field = ? AND label >= ?'
        return {name: [label for (label,) in self._all(sql, (name, start))] for name in fields}

    def note(self, key: str) -> str | None:
        """Return what was noted under a key."""
        found = self._all('SELECT value FROM notes WHERE key = ?', (key,))
        return str(found[0][0]) if found else None

    def snapshots(self) -> dict[str, Snapshot]:
        """Return the graph files there are, by field."""
        found: dict[str, Snapshot] = {}
        for *row, checksum in self._all('SELECT * FROM snapshots'):
            if checksum == snapshot_checksum(row):
                found[row[0]] = Snapshot(*row)
            else:
                logger.warning('%s: the record of the graph file of %r is damaged; it is not used', self.path, row[0])
        return found


def _names_are_safe(meta: Mapping[str, Any]) -> bool:
    """Return whether fields have names that can be those of files: a stranger may have written them."""
    levels = meta['levels']
    are_names = all(isinstance(name, str) for name in levels) and levels[:1] == [''] and len(set(levels)) == len(levels)
    are_lists = are_names and len(levels) == len(meta['fields']) and meta['columns'].keys() >= set(levels[1:])
    return are_lists and all(re.fullmatch(r'\w+', name) for name in meta['settings']) and are_safe(meta['fields'])


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _VARIABLES] for start in range(0, len(values), _VARIABLES))


def _fetching(which: str, more: str = '') -> str:
    # As BLOB, which sqlite3 hands over as the bytes that pydantic wants.
    return f'SELECT label, CAST(data AS BLOB), tensors, parent, position, checksum{more} FROM documents WHERE {which}'


def _possible(ids: Sequence[str]) -> Sequence[str]:
    # Half of a surrogate pair cannot be written as UTF-8, so no document has such an id.
    return [id_ for id_ in ids if id_.isascii() or id_.encode(errors='ignore').decode() == id_]


def _marks(values: Sequence[Any]) -> str:
    return ','.join('?' * len(values))
