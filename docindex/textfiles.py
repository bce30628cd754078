"""JSON and CSV files as sources of rows, each with the line in which it begins."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from .errors import SourceError
from .sources import Piece, Source, Unreadable, check_names

_GZIP = b'\x1f\x8b'
_UTF8_MARK = b'\xef\xbb\xbf'
_UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')
_LARGEST_CELL = 1 << 27  # characters; a quote that is never closed makes one cell of the rest of the file
_BUFFER = 1 << 20
_LOOK = 16 << 20
_LONGEST_WORD = 16  # characters that JSON makes sense of together, outside of texts: two escapes of six, -Infinity
_TOO_DEEP = 'this is no JSON that can be read: it is nested too deeply'
_DECODER = json.JSONDecoder()


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
        check_names(str(path), header)
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
