"""A connection to the SQLite file. The only module that imports sqlite3, whose errors become those of docindex here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import CHECK, CorruptIndexError, FilterError, WorkDirError
from .conditions import holds_in_sql, regex_in_sql

_PATIENCE = 60_000  # milliseconds: nobody holds the file for as long
_SHORT_PATIENCE = 1_000


class Connection:
    """
    A connection to the file, used by one thread at a time, though not always the same.

    Attributes:
        path: The file.
        raised: What a function of ours that SQLite has called has raised.

    Args:
        path: The file.
        read_only: Nothing will be written.

    Raises (each method):
        WorkDirError: SQLite failed.
        CorruptIndexError: it cannot read the file.
    """

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self._log = path.with_name(path.name + '-wal')
        # Even a reader writes to the log's index, which it cannot on a read-only medium; but where there is no log, the
        # file itself has everything.
        self._is_alone = read_only and not os.access(path.parent, os.W_OK) and not self._log.exists()
        self._seen = self._file_seen()
        mode = 'rwc' if not read_only else 'ro&immutable=1' if self._is_alone else 'ro'
        with _Translated(path):
            self._connection = sqlite3.connect(
                f'{path.absolute().as_uri()}?mode={mode}',
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_PATIENCE / 1000,
            )
        self.raised: BaseException | None = None
        for name, arguments, function in (('docindex_holds', 4, holds_in_sql), ('docindex_regex', 2, regex_in_sql)):
            self._connection.create_function(name, arguments, self._telling(function), deterministic=True)

    def _telling(self, function: Callable[..., bool]) -> Callable[..., bool]:
        """Return a function for SQL that keeps what it raises: SQLite tells only that something was."""

        def call(*arguments: Any) -> bool:
            try:
                return function(*arguments)
            except BaseException as error:
                self.raised = error
                raise

        return call

    def all(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Return the rows of a statement."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except BaseException as error:
            _translate(error, self.path, self)
            raise

    def each(self, sql: str) -> Iterator[Any]:
        """Yield the rows of a statement, which may be too many for the memory."""
        with _Translated(self.path, self):
            yield from self._connection.execute(sql)

    def many(self, sql: str, rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each of some rows."""
        with _Translated(self.path):
            self._connection.executemany(sql, rows)

    def is_outdated(self) -> bool:
        """Return whether somebody writes by now, which this connection would not notice."""
        return self._is_alone and (self._log.exists() or self._file_seen() != self._seen)

    def _file_seen(self) -> tuple[int, ...]:
        found = self.path.stat() if self._is_alone else None
        return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun, and not ended."""
        return self._connection.in_transaction

    def begin(self) -> None:
        """Begin a transaction that writes."""
        self.roll_back()  # what an interrupt left unfinished
        self.all('BEGIN IMMEDIATE')

    def commit(self) -> None:
        """Commit the transaction."""
        self.all('COMMIT')

    def roll_back(self) -> None:
        """End the transaction, if there is one."""
        if self._connection.in_transaction:
            self.all('ROLLBACK')

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is done inside, or roll it back if that raises."""
        return _Transaction(self)

    def shorten_log(self) -> None:
        """Cut the log, once nobody reads in it. That may not come about soon, and can wait for the next time."""
        self.all(f'PRAGMA busy_timeout = {_SHORT_PATIENCE}')
        self.all('PRAGMA wal_checkpoint(TRUNCATE)')
        self.all(f'PRAGMA busy_timeout = {_PATIENCE}')

    def copy_to(self, path: Path) -> None:
        """Copy what is committed into a new SQLite file."""
        with _Translated(path), closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def try_on_copy(self, statements: Iterable[str]) -> None:
        """Execute statements on a copy of what is seen here, which is gone afterwards."""
        with _Translated(self.path), closing(sqlite3.connect('', isolation_level=None)) as copy:
            self._connection.backup(copy)
            for sql in statements:
                copy.execute(sql)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@cache
def divides(sign: str) -> bool:
    """Return whether full text has two words where a sign stands between two letters, as this SQLite knows Unicode."""
    with closing(sqlite3.connect(':memory:')) as connection:
        connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='unicode61')")
        connection.execute('INSERT INTO texts VALUES (?)', [f'a{sign}a'])
        return bool(connection.execute("SELECT 1 FROM texts WHERE text MATCH 'a'").fetchone())


class _Translated:
    """What SQLite raises becomes an error of docindex. A class: a generator would cost each search a microsecond."""

    __slots__ = ('_connection', '_path')

    def __init__(self, path: Path, connection: Connection | None = None) -> None:
        self._path = path
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            _translate(error, self._path, self._connection)


def _translate(error: BaseException, path: Path, connection: Connection | None) -> None:
    """Raise what an error of SQLite is to a user; return if it is none of SQLite's."""
    if connection is not None and connection.raised is not None:
        raised, connection.raised = connection.raised, None
        if not isinstance(raised, Exception) or isinstance(raised, MemoryError):
            raise raised from None  # Ctrl-C, say
        raise CorruptIndexError(f'what filters look at cannot be read: {raised!r}', path, CHECK) from raised
    is_text = isinstance(error, UnicodeDecodeError) or str(error).startswith('Could not decode')
    if str(error).startswith('parser stack overflow'):  # and not that of full text
        raise FilterError(
            f'this filter reaches through more lists than SQLite {sqlite3.sqlite_version} can read at once; '
            'ask for less in one filter, or use SQLite 3.46 or newer'
        ) from error
    if isinstance(error, sqlite3.OperationalError) and not is_text:
        raise WorkDirError(
            f'SQLite failed: {error}', path, 'check the disk, and that the file can be written'
        ) from error
    if isinstance(error, (sqlite3.DatabaseError, UnicodeDecodeError)):
        raise CorruptIndexError(f'SQLite cannot read this file: {error}', path, CHECK) from error


class _Transaction:
    """
    A transaction: committed at the end of the block, rolled back if the block raises.

    A class and no generator: an interrupt may leave either unfinished, and a generator would roll back when it is
    collected, which may be in the middle of the next transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.begin()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.commit()
        finally:
            self._connection.roll_back()
