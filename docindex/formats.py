"""
Which bytes of a file are which rows: Parquet, Arrow, JSON, CSV, tables in memory, iterators.

A `Source` is read piece by piece, so a file of any length needs the memory of one piece. What a row says about a
document is not known here. A row that cannot be read, though the next one can, comes as `Unreadable`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pydantic import BaseModel

from ._optional import optional
from .errors import DocIndexError, QueryError, SourceError

FORMATS = {
    'parquet': ('.parquet', '.pq'),
    'arrow': ('.arrow', '.feather', '.ipc'),
    'jsonl': ('.jsonl', '.ndjson', '.jsonl.gz', '.ndjson.gz'),
    'json': ('.json', '.json.gz'),
    'csv': ('.csv', '.csv.gz'),
}
"""The formats, and how the names of their files end."""

_GZIP = b'\x1f\x8b'
_UTF8_MARK = b'\xef\xbb\xbf'
_UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')
_LARGEST_CELL = 1 << 27  # characters; a quote that is never closed makes one cell of the rest of the file
_BUFFER = 1 << 20
_LOOK = 16 << 20
_LONGEST_WORD = 16  # characters that JSON makes sense of together, outside of texts: two escapes of six, -Infinity
_TOO_DEEP = 'this is no JSON that can be read: it is nested too deeply'
_DECODER = json.JSONDecoder()
# What the readers of files raise; pyarrow's errors are among them.
_DAMAGE = (OSError, EOFError, zlib.error, csv.Error, ValueError, TypeError, KeyError, NotImplementedError)


@dataclass(frozen=True)
class Unreadable:
    """A row that cannot be read, and why."""

    reason: str


@dataclass(frozen=True)
class Piece:
    """
    Rows that follow each other.

    Attributes:
        first: The number of the first one, from 1.
        rows: A pyarrow `RecordBatch`, a pandas frame, or a list of dicts, documents and `Unreadable`s.
        lines: In which lines of the file the rows begin, from 1; None where there are no lines.
    """

    first: int
    rows: Any
    lines: Sequence[int] | None = None


class Source(ABC):
    """
    Rows, which can be read from any of them on.

    Attributes:
        name: What it is called in messages.
        columns: Its columns by name, if they are known beforehand; those inside of a struct by `outer__inner`.
        total: How many rows there are, if that is known beforehand.
        has_texts: Whether each cell is a text.
        has_objects: Whether a cell may be any object of Python, a document too.

    Raises (each method):
        SourceError: it is not what it should be; the message says after which row.
    """

    has_texts = False
    has_objects = False

    def __init__(self, name: str, columns: Mapping[str, Sequence[str]] | None, total: int | None = None) -> None:
        self.name = name
        self.columns = columns
        self.total = total

    def pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Generator[Piece, None, None]:
        """Yield pieces of at most `size` rows, without the first `start`; other `columns` need not be read."""
        read = start
        try:
            for piece in self._pieces(start, size, columns):
                yield piece
                read = piece.first - 1 + len(piece.rows)
        except DocIndexError:
            raise
        except _DAMAGE as error:
            raise _unreadable(self.name, f'cannot be read after row {read:,}', error) from error

    @abstractmethod
    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        """Do what `pieces` says; errors of whoever reads the file may leave it as they are."""

    def expected(self) -> int | None:
        """Return about how many rows there are, for who wants to know how long it will take; None: nobody can say."""
        return self.total

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of the file."""


def format_of(path: Path, format_: str | None) -> str:
    """
    Return the format of a file: the one that was said, or that of its name.

    Raises:
        QueryError: there is no such format, or nobody knows which.
    """
    if format_ is not None:
        if format_ not in FORMATS:
            raise QueryError(f'format must be one of {", ".join(map(repr, FORMATS))}, got {format_!r}')
        return format_
    for name, endings in FORMATS.items():
        if path.name.lower().endswith(endings):
            return name
    known = ', '.join(ending for endings in FORMATS.values() for ending in endings)
    raise QueryError(f'the format of {path} is not clear from its name; say format=..., or use one of {known}')


def open_file(path: Path, format_: str | None) -> Source:
    """
    Open a file of one of the formats.

    Raises:
        SourceError: it does not exist, or is not of its format.
        QueryError: its format is not known.
        MissingLibraryError: pyarrow is needed.
    """
    kinds: dict[str, Callable[[Path], Source]] = {
        'parquet': ParquetFile,
        'arrow': ArrowFile,
        'jsonl': JsonFile,
        'json': JsonFile,
        'csv': CsvFile,
    }
    kind = format_of(path, format_)
    try:
        return kinds[kind](path)
    except DocIndexError:
        raise
    except _DAMAGE as error:
        raise _unreadable(str(path), 'cannot be read' if not path.is_file() else f'is no {kind} file', error) from error


def open_table(given: object) -> Source:
    """
    Return a table in memory, or any iterable of rows, as a source.

    Raises:
        QueryError: it is neither.
        SourceError: a table cannot be read.
        MissingLibraryError: pyarrow is needed.
    """
    if isinstance(given, (BaseModel, Mapping, str, bytes)):
        raise QueryError(f'expected a path, a table or an iterable of rows, got one {type(given).__name__}')
    name = f'the {type(given).__name__}'
    if type(given).__module__.partition('.')[0] == 'pandas' and hasattr(given, 'iloc'):
        return PandasTable(given)
    if hasattr(given, '__arrow_c_stream__') or hasattr(given, '__arrow_c_array__'):
        try:
            return ArrowTable(given, name)
        except _DAMAGE as error:
            raise _unreadable(name, 'cannot be read', error) from error
    if isinstance(given, Iterable):
        return Records(given, name)
    hint = '; collect() it first' if hasattr(given, 'collect') else ''
    raise QueryError(f'expected a path, a table or an iterable of rows, got {type(given).__name__}{hint}')


class ParquetFile(Source):
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        parquet = optional('pyarrow.parquet', 'arrow', 'Parquet files')
        # With a buffer the pages of a row group are read one by one: pandas writes files with a single row group.
        self._file = parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        super().__init__(str(path), _arrow_columns(str(path), self._file.schema_arrow), self._file.metadata.num_rows)

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        metadata, first = self._file.metadata, 0
        groups = list(range(metadata.num_row_groups))
        while groups and first + metadata.row_group(groups[0]).num_rows <= start:
            first += metadata.row_group(groups.pop(0)).num_rows
        if groups:
            # In this thread: others would read ahead.
            batches = self._file.iter_batches(size, groups, columns, use_threads=False)
            yield from _after(start, first, _validated(batches))

    def close(self) -> None:
        self._file.close()


class ArrowFile(Source):
    """
    An Arrow file of either kind, which Feather is too.

    It is mapped: what was read is the kernel's, which can take it back, however large its batches are.
    """

    def __init__(self, path: Path) -> None:
        arrow = optional('pyarrow', 'arrow', 'Arrow files')
        self._mapped = arrow.memory_map(str(path))
        try:
            with path.open('rb') as file:
                is_file = file.read(6) == b'ARROW1'
            self._file = arrow.ipc.open_file(self._mapped) if is_file else arrow.ipc.open_stream(self._mapped)
        except BaseException:
            self._mapped.close()
            raise
        super().__init__(str(path), _arrow_columns(str(path), self._file.schema))

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        yield from _after(start, 0, _resized(self._batches(), size))

    def _batches(self) -> Iterator[Any]:
        batches = self._file
        if hasattr(self._file, 'num_record_batches'):
            batches = map(self._file.get_batch, range(self._file.num_record_batches))
        return _validated(batches)

    def close(self) -> None:
        self._mapped.close()


class ArrowTable(Source):
    """A table of pyarrow, polars, duckdb, or of anybody else who hands over Arrow; also piece by piece."""

    def __init__(self, given: Any, name: str) -> None:
        arrow = optional('pyarrow', 'arrow', 'tables')
        if hasattr(given, '__arrow_c_stream__'):
            self._batches = arrow.RecordBatchReader.from_stream(given)
        else:
            batch = arrow.record_batch(given)
            self._batches = arrow.RecordBatchReader.from_batches(batch.schema, [batch])
        total = len(given) if hasattr(given, '__len__') else None
        super().__init__(name, _arrow_columns(name, self._batches.schema), total)

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        yield from _after(start, 0, _resized(self._batches, size))


class PandasTable(Source):
    """
    A pandas frame.

    It is not turned into Arrow, which guesses one type for all cells of a column: dicts got each other's keys.
    """

    has_objects = True

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        names = [*map(str, frame.columns)]
        _check_names('the DataFrame', names)
        super().__init__('the DataFrame', dict.fromkeys(names, ()), len(frame))

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        for at in range(start, len(self._frame), size):
            yield Piece(at + 1, self._frame.iloc[at : at + size])


class Records(Source):
    """Documents and dicts, one after another. What the iterator raises is not translated."""

    def __init__(self, rows: Iterable[Any], name: str) -> None:
        self._rows = rows
        super().__init__(name, None, len(rows) if isinstance(rows, Sized) else None)

    def pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Generator[Piece, None, None]:
        """Yield pieces of at most `size` rows, without the first `start`."""
        rows = itertools.islice(self._rows, start, None)
        while piece := list(itertools.islice(rows, size)):
            yield Piece(start + 1, piece)
            start += len(piece)

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        return self.pieces(start, size, columns)


class JsonFile(Source):
    """
    JSON objects, one on each line or all of them in an array; gzipped or not.

    Args:
        given: The path of the file, or its content.
    """

    def __init__(self, given: Path | bytes) -> None:
        self._given = given
        with self._opened() as file:
            blank = file.read(1)
            while blank.isspace():
                blank = file.read(1)
        self._is_array = blank == b'['
        super().__init__(str(given) if isinstance(given, Path) else 'the JSON', None)

    def expected(self) -> int | None:
        """Return about as many as there are lines."""
        return None if self._is_array or not isinstance(self._given, Path) else _lines_in(self._given)

    def _opened(self) -> IO[bytes]:
        return _open_text(self._given)

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        with self._opened() as file:
            rows = itertools.islice(_items(file) if self._is_array else _lines(file), start, None)
            while piece := list(itertools.islice(rows, size)):
                yield Piece(start + 1, [row for _, row in piece], [line for line, _ in piece])
                start += len(piece)


class CsvFile(Source):
    """
    A CSV file with a header, gzipped or not.

    Args:
        path: Where it is.
        encoding: How its characters are written.
        dialect: How its cells are separated and quoted, by a name that Python's `csv` knows.
    """

    has_texts = True

    def __init__(self, path: Path, encoding: str = 'utf-8', dialect: str = 'excel') -> None:
        self._path = path
        self._encoding = encoding
        self._dialect = dialect
        with self._opened() as rows:
            header = next(rows, None)
        if header is None:
            raise SourceError(f'{path} is empty: a CSV file begins with the names of its columns', str(path))
        if any('\udc80' <= character <= '\udcff' for character in ''.join(header)):
            raise SourceError(f'{path} cannot be read: its header is not {encoding.upper()}', str(path))
        _check_names(str(path), header)
        super().__init__(str(path), dict.fromkeys(header, ()))

    def expected(self) -> int | None:
        """Return about as many as there are lines, without the header."""
        lines = _lines_in(self._path)
        return None if lines is None else lines - 1

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        with self._opened() as reader:
            next(reader)
            rows = itertools.islice(self._rows(reader), start, None)
            while piece := list(itertools.islice(rows, size)):
                yield Piece(start + 1, [row for _, row in piece], [line for line, _ in piece])
                start += len(piece)

    def _rows(self, reader: Any) -> Iterator[tuple[int, dict[str, str] | Unreadable]]:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield line, Unreadable(f'this is no CSV: {error}')
                continue
            if cells is None:
                return
            if cells:
                yield line, self._row(cells)

    def _row(self, cells: list[str]) -> dict[str, str] | Unreadable:
        names = self.columns or {}
        if len(cells) != len(names):
            return Unreadable(f'it has {len(cells)} cells, and the header names {len(names)} columns')
        for name, cell in zip(names, cells, strict=True):
            if not cell.isascii() and any('\udc80' <= character <= '\udcff' for character in cell):
                return Unreadable(
                    f'{name}: this is not {self._encoding.upper()}: {cell[:40].encode(errors="surrogateescape")!r}'
                )
        return dict(zip(names, cells, strict=True))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        # For all of the process, so it only ever grows: vectors and texts make longer cells than the usual limit.
        csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
        is_utf8 = codecs.lookup(self._encoding).name.startswith('utf-8')
        with (
            _open_text(self._path) if is_utf8 else _unpacked(self._path) as file,
            io.TextIOWrapper(file, self._encoding, 'surrogateescape', newline='') as text,
        ):
            yield csv.reader(text, self._dialect, strict=True)


def _lines_in(path: Path) -> int | None:
    """Return about how many lines a file has, after a look at its beginning; None for one that is packed."""
    with path.open('rb') as file:
        start = file.read(_LOOK)
    if start[:2] == _GZIP or not start:
        return None
    lines = start.count(b'\n')
    if len(start) < _LOOK:
        return lines + (not start.endswith(b'\n'))
    return lines * path.stat().st_size // len(start) or None


def _open_text(given: Path | bytes) -> IO[bytes]:
    """Open UTF-8, behind the mark that some programs put first; unpacked, if it is gzipped."""
    name = str(given) if isinstance(given, Path) else 'the JSON'
    with ExitStack() as undo:
        file = undo.enter_context(_unpacked(given))
        mark = file.read(3)
        if mark[:2] in _UTF16_MARKS:
            raise SourceError(f'{name} is UTF-16; save it as UTF-8', name)
        if mark != _UTF8_MARK:
            file.seek(0)
        undo.pop_all()
    return file


def _unpacked(given: Path | bytes) -> IO[bytes]:
    if isinstance(given, bytes):
        return io.BytesIO(given)
    if given.is_fifo():
        message = f'{given} is a pipe, which can be read only once; write it into a file first'
        raise SourceError(message, str(given))
    with given.open('rb') as raw:
        is_packed = raw.read(2) == _GZIP
    return cast('IO[bytes]', gzip.open(given) if is_packed else given.open('rb', buffering=_BUFFER))


def _lines(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    """Yield the objects of JSON lines, each with the number of its line."""
    return ((number, _json(line)) for number, line in enumerate(file, 1) if not line.isspace())


def _items(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    """
    Yield the objects of a JSON array, each with the line in which it begins, while memory holds a few of them.

    Raises:
        ValueError: this is no JSON; where the next item would begin nobody can say.
    """
    text = _Unread(codecs.getreader('utf-8')(file))
    text.expect('[')
    while text.sign() != ']':
        yield text.line, _as_row(text.value())
        if text.sign() != ']':
            text.expect(',')
    text.expect(']')
    text.expect('')


class _Unread:
    """
    The JSON in a file from where it has been read on.

    Attributes:
        line: The line that comes next, from 1.
    """

    def __init__(self, file: codecs.StreamReader) -> None:
        self._file = file
        self._text = ''
        self._at = 0
        self.line = 1

    def sign(self) -> str:
        """Return the next character that is no white space; an empty text at the end of the file."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._go_to(self._at + 1)
            self._text, self._at = self._more(_BUFFER), 0
            if not self._text:
                return ''

    def expect(self, sign: str) -> None:
        """Go past a character, which must be this one."""
        found = self.sign()
        if found != sign:
            said = [repr(each) if each else 'the end of the file' for each in (sign, found)]
            raise ValueError(f'this is no JSON: expected {said[0]} in line {self.line}, got {said[1]}')
        self._at += 1

    def value(self) -> Any:
        """Return the value that comes next, and go past it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith('Unterminated') or error.pos > len(self._text) - _LONGEST_WORD
                more = self._more(max(_BUFFER, len(self._text))) if is_cut else ''
                if not more:
                    raise ValueError(f'this is no JSON: {error.msg} in the value of line {self.line}') from error
                self._text, self._at = self._text[self._at :] + more, 0
            except RecursionError as error:
                raise ValueError(f'{_TOO_DEEP} (line {self.line})') from error
            else:
                self._go_to(end)
                return value

    def _more(self, characters: int) -> str:
        # Said twice: with the first alone an answer is empty if it ends within a character.
        return self._file.read(characters, characters)

    def _go_to(self, at: int) -> None:
        self.line += self._text.count('\n', self._at, at)
        self._at = at


def _json(line: bytes) -> dict[str, Any] | Unreadable:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return Unreadable(f'this is not UTF-8: {error.reason} at byte {error.start + 1}')
    except RecursionError:
        return Unreadable(_TOO_DEEP)
    except ValueError as error:
        return Unreadable(f'this is no JSON: {error}')
    return _as_row(row)


def _as_row(row: Any) -> dict[str, Any] | Unreadable:
    if not isinstance(row, dict):
        return Unreadable(f'expected a JSON object, got {type(row).__name__}')
    return row


def _check_names(source: str, columns: Sequence[str]) -> None:
    """Raise for the first name that two columns have."""
    twice = [name for at, name in enumerate(columns) if name in columns[:at]]
    if twice:
        raise SourceError(f'{source} has two columns {twice[0]!r}', source)


def _after(start: int, first: int, batches: Iterable[Any]) -> Iterator[Piece]:
    """Yield record batches, of which the first one begins behind row `first`, without the rows up to `start`."""
    for batch in batches:
        skipped = min(max(0, start - first), len(batch))
        if skipped < len(batch):
            yield Piece(first + skipped + 1, batch.slice(skipped) if skipped else batch)
        first += len(batch)


def _validated(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield record batches of a file; in a damaged one pyarrow may look for values where there are none, and crash."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


def _resized(batches: Iterable[Any], size: int) -> Iterator[Any]:
    """Yield record batches cut into such of at most `size` rows."""
    for batch in batches:
        for at in range(0, len(batch), size):
            yield batch.slice(at, size)


def _arrow_columns(source: str, schema: Any) -> dict[str, list[str]]:
    _check_names(source, schema.names)
    structs = optional('pyarrow', 'arrow', 'tables').types

    def inner(outer: str, of: Any) -> list[str]:
        if not structs.is_struct(of):
            return [outer]
        return [name for field in of for name in inner(f'{outer}__{field.name}', field.type)]

    return {field.name: inner(field.name, field.type) for field in schema}


def _unreadable(name: str, what: str, error: BaseException) -> SourceError:
    reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return SourceError(f'{name} {what}: {reason}', name)
