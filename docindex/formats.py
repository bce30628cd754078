"""Which bytes of a file are which rows: Parquet, Arrow, JSON, CSV; and tables in memory, and iterators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ._optional import optional
from .errors import DocIndexError, QueryError
from .sources import DAMAGE, Piece, Records, Source, check_names, unreadable
from .textfiles import CsvFile, JsonFile

FORMATS = {
    'parquet': ('.parquet', '.pq'),
    'arrow': ('.arrow', '.feather', '.ipc'),
    'jsonl': ('.jsonl', '.ndjson', '.jsonl.gz', '.ndjson.gz'),
    'json': ('.json', '.json.gz'),
    'csv': ('.csv', '.csv.gz'),
}
"""The formats, and how the names of their files end."""

_BUFFER = 1 << 20


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
    except DAMAGE as error:
        raise unreadable(str(path), 'cannot be read' if not path.is_file() else f'is no {kind} file', error) from error


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
        except DAMAGE as error:
            raise unreadable(name, 'cannot be read', error) from error
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
        check_names('the DataFrame', names)
        super().__init__('the DataFrame', dict.fromkeys(names, ()), len(frame))

    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        for at in range(start, len(self._frame), size):
            yield Piece(at + 1, self._frame.iloc[at : at + size])


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
    check_names(source, schema.names)
    structs = optional('pyarrow', 'arrow', 'tables').types

    def inner(outer: str, of: Any) -> list[str]:
        if not structs.is_struct(of):
            return [outer]
        return [name for field in of for name in inner(f'{outer}__{field.name}', field.type)]

    return {field.name: inner(field.name, field.type) for field in schema}
