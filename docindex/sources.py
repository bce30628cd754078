"""
Where rows come from, piece by piece: what files, tables and iterators have in common.

A `Source` of any length needs the memory of one piece. What a row says about a document is not known here. A row that
cannot be read, though the next one can, comes as `Unreadable`.
"""

from __future__ import annotations

import csv
import itertools
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from .errors import DocIndexError, SourceError

# What the readers of files raise; pyarrow's errors are among them.
DAMAGE = (OSError, EOFError, zlib.error, csv.Error, ValueError, TypeError, KeyError, NotImplementedError)


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
        except DAMAGE as error:
            raise unreadable(self.name, f'cannot be read after row {read:,}', error) from error

    @abstractmethod
    def _pieces(self, start: int, size: int, columns: Sequence[str] | None) -> Iterator[Piece]:
        """Do what `pieces` says; errors of whoever reads the file may leave it as they are."""

    def expected(self) -> int | None:
        """Return about how many rows there are, for who wants to know how long it will take; None: nobody can say."""
        return self.total

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of the file."""


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


def check_names(source: str, columns: Sequence[str]) -> None:
    """Raise for the first name that two columns have."""
    twice = [name for at, name in enumerate(columns) if name in columns[:at]]
    if twice:
        raise SourceError(f'{source} has two columns {twice[0]!r}', source)


def unreadable(name: str, what: str, error: BaseException) -> SourceError:
    """Return what there is to say about a source, `what`, after an error of whoever reads it."""
    reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return SourceError(f'{name} {what}: {reason}', name)
