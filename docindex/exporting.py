"""The documents of one moment into a file, which appears under its name when it is complete."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, cast

from pydantic import BaseModel

from . import _files
from ._optional import optional
from ._progress import check_progress, progress_bar
from .arrow import arrow_schema, to_record_batch
from .errors import DocumentError, ExportError, QueryError, TableError
from .formats import format_of
from .tables import rows_of
from .texts import csv_writer, json_writer

D = TypeVar('D')

Write = Callable[[Sequence[Any]], None]

_numbers = count(1)  # of exports of this process, of which several may be to one file


@dataclass(frozen=True)
class Moment(Generic[D]):
    """
    The documents of one moment.

    Attributes:
        total: How many there are.
        batches: Yields them; each call begins anew.
    """

    total: int
    batches: Callable[[], Iterator[list[D]]]


class _Wider(Exception):  # noqa: N818 (no error)
    """Documents have come that the types of the file's columns do not hold; all of it is to be written anew."""


def export(
    moment: Callable[[int], AbstractContextManager[Moment[Any]]],
    doc_type: type[BaseModel],
    path: str | os.PathLike[str],
    *,
    format: str | None,  # noqa: A002 (as in the index's own method)
    batch_size: int,
    show_progress: bool | None,
) -> int:
    """Do what `DocumentIndex.export` says; `moment` gives the documents in batches of a size."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise QueryError(f'batch_size must be a positive number of documents, got {batch_size!r}')
    check_progress(show_progress)
    path = Path(path)
    if path.exists() and not path.is_file():
        what = 'a directory' if path.is_dir() else 'a pipe or a device, whose place a file would take'
        raise ExportError(f'this file cannot be written: it is {what}', str(path))
    file = _File(path, format_of(path, format), doc_type)
    with moment(batch_size) as now:
        while True:
            try:
                with file.replacing() as beside, file.writing(beside) as write:
                    _write_all(now, write, show_progress)
                return now.total
            except _Wider:
                continue


def _write_all(now: Moment[Any], write: Write, show_progress: bool | None) -> None:
    with progress_bar(now.total, 'exporting', show_progress, 'document') as advance:
        for docs in now.batches():
            write(docs)
            advance(len(docs))


class _File:
    """
    A file to be.

    Args:
        path: Its name.
        format_: Its format.
        doc_type: The class of its documents.
    """

    def __init__(self, path: Path, format_: str, doc_type: type[BaseModel]) -> None:
        self._path = path
        self._format = format_
        self._doc_type = doc_type
        self._rows = rows_of(doc_type)
        self._witnesses: list[Any] = []

    @contextmanager
    def replacing(self) -> Iterator[Path]:
        """
        Give a path to write to, and let the file there take the place of this one.

        Raises:
            ExportError: it cannot be written; there is nothing of it then.
        """
        place = Path(os.path.realpath(self._path))  # not that of a link to it, for `/dev/stdout` is one
        beside = place.with_name(f'.{place.name}.{os.getpid()}.{next(_numbers)}.new')
        try:
            _files.create_empty(beside)
            yield beside
            _files.publish(beside, place)
        except (OSError, TableError, DocumentError, ValueError) as error:
            if isinstance(error, OSError) and type(error).__module__.startswith('docindex'):
                raise  # the index cannot be read
            reason = getattr(error, 'strerror', None) or error
            raise ExportError(f'this file cannot be written: {reason}', str(self._path)) from error
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def writing(self, path: Path) -> AbstractContextManager[Write]:
        """Give what writes documents to a file at `path`."""
        ways = {
            'parquet': self._parquet,
            'arrow': self._arrow,
            'jsonl': self._json,
            'json': self._json,
            'csv': self._csv,
        }
        return ways[self._format](path)

    # -- Arrow and Parquet, whose columns have types ---------------------------------------------------

    @contextmanager
    def _parquet(self, path: Path) -> Iterator[Write]:
        parquet, schema = optional('pyarrow.parquet', 'arrow', 'Parquet files'), self._schema()
        # Numbers of vectors hardly ever repeat: a dictionary of them would only be given up after a while.
        texts = [field.name for field in schema if not str(field.type).startswith('fixed_size_list')]
        with parquet.ParquetWriter(path, schema, use_dictionary=texts) as writer:
            yield lambda docs: writer.write_batch(self._batch(docs, schema))

    @contextmanager
    def _arrow(self, path: Path) -> Iterator[Write]:
        arrow, schema = optional('pyarrow', 'arrow', 'Arrow files'), self._schema()
        with arrow.OSFile(str(path), 'wb') as file, arrow.ipc.new_file(file, schema) as writer:
            yield lambda docs: writer.write_batch(self._batch(docs, schema))

    def _schema(self) -> Any:
        return arrow_schema(self._doc_type, self._witnesses)

    def _batch(self, docs: Sequence[Any], schema: Any) -> Any:
        """
        Return documents as Arrow.

        The type of a column depends on its values: of which dtype vectors are, whether times have a zone. Nobody knows
        before all have been seen; so where a type turns out to be too narrow, the file is written once more.
        """
        if arrow_schema(self._doc_type, docs) != schema:
            wider = arrow_schema(self._doc_type, [*self._witnesses, *docs])
            if wider != schema:
                self._witnesses += docs
                raise _Wider
        return to_record_batch(docs, schema, self._doc_type)

    # -- texts -----------------------------------------------------------------------------------------

    @contextmanager
    def _json(self, path: Path) -> Iterator[Write]:
        with self._text(path) as file, json_writer(file, self._rows, self._format == 'json') as write:
            yield write

    @contextmanager
    def _csv(self, path: Path) -> Iterator[Write]:
        with self._text(path) as file:
            yield csv_writer(file, self._rows)

    @contextmanager
    def _text(self, path: Path) -> Iterator[IO[str]]:
        is_packed = self._path.name.lower().endswith('.gz')
        with (
            gzip.open(path, 'wb') if is_packed else path.open('wb') as file,
            io.TextIOWrapper(cast('IO[bytes]', file), 'utf-8', newline='') as text,
        ):
            yield text
