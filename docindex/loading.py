"""
Rows of a source into an index: batch by batch, each a transaction that also notes how far the source has come.

L1  What is stored of a source and what is noted of it are one commit: a load that was interrupted goes on behind the
    last row that it has dealt with, and stores none twice, also where rows have no id.
L2  Nothing is read before the columns are known to fit.
L3  A batch with a bad row stores nothing, or with `on_error='skip'` all but its bad rows.
L4  Vectors are made of texts before the transaction of their batch: others can write while a model thinks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ValidationError

from ._progress import check_progress, progress_bar
from .annotations import aliases_of
from .arrow import rows_from_record_batch
from .bookmarks import Bookmark, Notebook
from .errors import DocumentError, IdTypeError, LoadError, QueryError, TableError, VectorError
from .formats import open_file, open_table
from .frames import rows_from_pandas
from .refusals import explain
from .schema import Schema
from .sources import Piece, Records, Source, Unreadable
from .tables import EXTRA, Rows, rows_of
from .texts import nested_row, row_of_json, row_of_texts

logger = logging.getLogger('docindex')

OnError = Literal['raise', 'skip']

_REFUSED = (DocumentError, IdTypeError, VectorError)
_SHOWN = 10


class Target(Notebook, Protocol):
    """What an index must be able to do, to be loaded."""

    def index(self, docs: object, *, show_progress: bool | None = None) -> None:
        """Store documents, all of them or none."""


@dataclass(frozen=True)
class BadRow:
    """
    A row that was not stored.

    Attributes:
        row: Its number, from 1; a header and empty lines do not count.
        reason: What is wrong with it.
        line: The line of the file in which it begins, from 1; None where there are no lines.
    """

    row: int
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f'{_place(self.row, self.line)}: {self.reason}'


@dataclass(frozen=True)
class LoadReport:
    """
    What a load has done; `print(report)` says it in words.

    Attributes:
        source: The path, or what was loaded.
        stored: How many rows are stored, by this call.
        skipped: The rows that were not, with `on_error='skip'`; those of this call.
        resumed_from: How many rows an earlier call, which was interrupted, had dealt with; 0: this one began anew.
        ignored: The columns, or names in rows, that no field has.
        seconds: How long it took.
    """

    source: str
    stored: int
    skipped: list[BadRow] = field(default_factory=list)
    resumed_from: int = 0
    ignored: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f', {self.stored / self.seconds:,.0f} a second' if self.seconds > 1 else ''
        text = f'{self.source}: {_rows(self.stored)} stored in {self.seconds:,.1f} s{rate}'
        if self.resumed_from:
            text += f'; went on after row {self.resumed_from:,}'
        if self.ignored:
            shown_names = ', '.join(map(repr, self.ignored[:_SHOWN]))
            text += f'; no field is called {shown_names}{", ..." if len(self.ignored) > _SHOWN else ""}'
        if self.skipped:
            text += f'; {_rows(len(self.skipped))} skipped:'
        shown = [f'\n  {bad}' for bad in self.skipped[:_SHOWN]]
        more = len(self.skipped) - _SHOWN
        return text + ''.join(shown) + (f'\n  and {more:,} more, see skipped' if more > 0 else '')


def load(
    index: Target,
    doc_type: type[BaseModel],
    source: Any,
    *,
    batch_size: int,
    show_progress: bool | None,
    on_error: OnError,
    resume: bool,
    resume_key: str | None,
    format: str | None,  # noqa: A002 (as in the index's own method)
    rename: Mapping[str, str] | None,
) -> LoadReport:
    """Do what `DocumentIndex.index_from` says."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise QueryError(f'batch_size must be a positive number of rows, got {batch_size!r}')
    if on_error not in ('raise', 'skip'):
        raise QueryError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    check_progress(show_progress)
    with closing(_opened(source, format)) as opened:
        conversion = _Conversion(opened, rows_of(doc_type), dict(rename or {}))
        bookmark = Bookmark.of(index, source, resume_key)
        loading = _Loading(index, opened, conversion, bookmark, on_error)
        return loading.run(bookmark.begin(resume), batch_size, show_progress)


def _opened(source: Any, format_: str | None) -> Source:
    if isinstance(source, (str, os.PathLike)):
        return open_file(Path(source), format_)
    if format_ is not None:
        raise QueryError(f'format is for files, and this is a {type(source).__name__}')
    return open_table(source)


@dataclass
class _Row:
    """A row on its way: its place in the source, and what `index` takes."""

    number: int
    line: int | None
    value: Any


class _Loading:
    """One load of a source."""

    def __init__(
        self, index: Target, source: Source, conversion: _Conversion, bookmark: Bookmark, on_error: OnError
    ) -> None:
        self._index = index
        self._source = source
        self._conversion = conversion
        self._schema = Schema(conversion.doc_type)
        self._bookmark = bookmark
        self._skips = on_error == 'skip'
        self._done = 0
        self._stored = 0
        self._skipped: list[BadRow] = []

    def run(self, start: int, batch_size: int, show_progress: bool | None) -> LoadReport:
        """Load what comes after the first `start` rows."""
        began = time.perf_counter()
        source = self._source
        total = source.total if show_progress is False else source.expected()
        with (
            progress_bar(total, 'loading', show_progress, 'row', start) as advance,
            closing(source.pieces(start, batch_size, self._conversion.wanted)) as pieces,
        ):
            self._done = start
            try:
                for piece in pieces:
                    self._store(piece)
                    advance(len(piece.rows))
                self._bookmark.finish(self._done)
            except LoadError as error:
                error.stored, error.done = self._stored, self._done
                raise
        ignored = sorted(self._conversion.ignored)
        return LoadReport(source.name, self._stored, self._skipped, start, ignored, time.perf_counter() - began)

    def _store(self, piece: Piece) -> None:
        rows, bad = self._conversion.rows(piece)
        self._check(bad)
        if self._schema.makes_vectors:  # L4
            rows, lacking = self._with_vectors(rows)
            self._check(lacking)
            bad = [*bad, *lacking]
        done = piece.first - 1 + len(piece.rows)
        with self._index._transaction():  # L1
            refused = self._put(rows)
            self._check(refused)
            self._bookmark.put(done)
        self._done = done
        self._stored += len(rows) - len(refused)
        self._skipped += sorted([*bad, *refused], key=lambda row: row.row)

    def _check(self, bad: Sequence[BadRow]) -> None:
        """Raise for the first of some bad rows, unless they are to be skipped (L3)."""
        if bad and not self._skips:
            first = min(bad, key=lambda row: row.row)
            raise LoadError(f'{self._source.name}, {first}', self._source.name, first.row, first.line)

    def _with_vectors(self, rows: list[_Row]) -> tuple[list[_Row], list[BadRow]]:
        """Return rows as documents whose vectors are made, and those that are refused: by halves, as in `_put`."""
        try:
            docs = self._schema.documents([row.value for row in rows])
        except _REFUSED as error:
            if len(rows) == 1:
                return [], [BadRow(rows[0].number, _reason(error), rows[0].line)]
            middle = len(rows) // 2
            first, refused = self._with_vectors(rows[:middle])
            if refused and not self._skips:
                return first, refused
            second, more = self._with_vectors(rows[middle:])
            return first + second, refused + more
        return [_Row(row.number, row.line, doc) for row, doc in zip(rows, docs, strict=True)], []

    def _put(self, rows: Sequence[_Row]) -> list[BadRow]:
        """Store rows, and return those that are refused: by halves, for an index takes all or nothing."""
        if not rows:
            return []
        try:
            self._index.index([row.value for row in rows], show_progress=False)
        except _REFUSED as error:
            if len(rows) == 1:
                return [BadRow(rows[0].number, _reason(error), rows[0].line)]
            middle = len(rows) // 2
            refused = self._put(rows[:middle])
            return refused if refused and not self._skips else refused + self._put(rows[middle:])
        return []


class _Conversion:
    """
    Makes of the rows of a source what an index takes.

    Attributes:
        doc_type: The document class.
        wanted: The columns that it needs; None: nobody knows the columns.
        ignored: The columns, or names in rows seen by now, that no field has.

    Raises:
        LoadError: a column is missing that every document needs (L2).
        QueryError: `rename` names what is not there, or makes one field of two columns.
    """

    def __init__(self, source: Source, table: Rows[Any], rename: Mapping[str, str]) -> None:
        self._table = table
        self.doc_type = table.doc_type
        self._rename = rename
        self._read: Callable[[Mapping[str, Any], Rows[Any]], Mapping[str, Any]] = row_of_json
        if isinstance(source, Records):
            self._read = nested_row
        elif source.has_texts:
            self._read = row_of_texts
        self._is_ambiguous = table.is_ambiguous and not isinstance(source, Records)
        self.wanted: list[str] | None = None
        self.ignored: set[str] = set()
        self._meant = {*table.columns, *table.doc_type.model_fields}
        if isinstance(source, Records):
            self._meant |= aliases_of(table.doc_type)
        unknown = [name for name in rename.values() if name.partition('__')[0] not in table.doc_type.model_fields]
        if unknown:
            raise QueryError(f'rename: {table.doc_type.__name__} has no field {unknown[0]!r}')
        if source.columns is None:
            return
        lost = [name for name in rename if name not in source.columns]
        if lost:
            raise QueryError(f'rename: {source.name} has no column {lost[0]!r}; it has {", ".join(source.columns)}')
        columns = self._columns(source.name, source.columns)
        try:
            known = table.known(columns, whole=source.has_objects)
        except TableError as error:
            raise LoadError(f'{source.name}: {error}', source.name) from error
        self.wanted = list(dict.fromkeys(columns[name] for name in known))
        self.ignored = set(source.columns).difference(self.wanted)
        if self.ignored:
            logger.info('%s: no field is called %s; they are ignored', source.name, sorted(self.ignored))

    def _columns(self, source: str, given: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return the columns of a source by what they are called here: a struct by each of what is inside."""
        found: dict[str, str] = {}
        for column, inner in given.items():
            name = self._renamed(column)
            is_struct = bool(inner) and self._table.is_document(name)
            for flat in [name + one.removeprefix(column) for one in inner] if is_struct else [name]:
                if flat in found:
                    both = f'{found[flat]!r} and {column!r}'
                    raise QueryError(f'{source}: the columns {both} are both {flat!r} here; rename one of them')
                found[flat] = column
        return found

    def _renamed(self, name: str) -> str:
        return self._rename.get(name, name)

    def rows(self, piece: Piece) -> tuple[list[_Row], list[BadRow]]:
        """Return the rows of a piece, and those that cannot be read."""
        rows: list[_Row] = []
        bad: list[BadRow] = []
        lines: Sequence[int | None] = piece.lines or [None] * len(piece.rows)
        for number, (line, value) in enumerate(zip(lines, self._values(piece.rows), strict=True), piece.first):
            if isinstance(value, Unreadable):
                bad.append(BadRow(number, value.reason, line))
            else:
                rows.append(_Row(number, line, value))
        return rows, bad

    def _values(self, rows: Any) -> Sequence[Any]:
        values = self._trees(rows)
        return [self._document(value) for value in values] if self._is_ambiguous else values

    def _document(self, tree: Any) -> Any:
        """Return a row as a document, before an index takes the names of fields for aliases."""
        if not isinstance(tree, Mapping):
            return tree
        try:
            return self._table.validated(tree)
        except ValidationError as error:
            id_ = tree.get('id')
            return Unreadable(f'(id {id_!r}): {explain(error)}' if isinstance(id_, str) else explain(error))

    def _trees(self, rows: Any) -> Sequence[Any]:
        if hasattr(rows, 'iloc'):
            return self._from_table(rows.set_axis([self._renamed(str(name)) for name in rows.columns], axis='columns'))
        if not isinstance(rows, list):
            return self._from_table(rows.rename_columns([self._renamed(name) for name in rows.schema.names]))
        return [row if isinstance(row, (Unreadable, BaseModel)) else self._from_dict(row) for row in rows]

    def _from_table(self, table: Any) -> Sequence[Any]:
        """Return the rows of a record batch or a pandas frame; which of them cannot be read is found by halves."""
        is_pandas = hasattr(table, 'iloc')
        read = rows_from_pandas if is_pandas else rows_from_record_batch
        try:
            return list(read(table, self._table.doc_type))
        except TableError as error:
            if len(table) == 1:
                return [Unreadable(str(error).partition(': ')[2])]  # it has placed itself in a table of one
            middle, parts = len(table) // 2, table.iloc if is_pandas else table
            return [*self._from_table(parts[:middle]), *self._from_table(parts[middle:])]

    def _is_unknown(self, name: Any) -> bool:
        """Return whether a name is neither a field's nor that of one in a nested document or a list of dicts."""
        return not isinstance(name, str) or not any(meant.startswith(f'{name}__') for meant in self._meant)

    def _from_dict(self, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row  # the index says what it thinks of it
        if self._rename:
            names = [*map(self._renamed, row)]
            if len({*names}) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                both = ' and '.join(repr(name) for name in row if self._renamed(name) == twice)
                return Unreadable(f'{both} are both {twice!r} here')
            row = dict(zip(names, row.values(), strict=True))
        if self.wanted is None and EXTRA not in self._meant:
            self.ignored.update(name for name in row.keys() - self._meant if self._is_unknown(name))
        try:
            return self._read(row, self._table)
        except (ValueError, TypeError, KeyError) as error:
            return Unreadable(str(error))


def _reason(error: Exception) -> str:
    """Return what is wrong with a document that was indexed alone, without its position among one."""
    return str(error).removeprefix('document 0').removeprefix(': ').strip()


def _place(row: int, line: int | None) -> str:
    return f'row {row:,}' + ('' if line is None else f' (line {line:,})')


def _rows(count: int) -> str:
    return f'{count:,} row' if count == 1 else f'{count:,} rows'
