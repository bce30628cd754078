"""
The work directory: whose it is, and which files are in it. The only module that imports filelock.

    FILE                          WRITTEN BY   MEANING
    docindex.lock                 workdir      held by the one writing process; its process id is in it
    documents.sqlite3             sidecar      which documents exist, and all of them but their vectors: truth
    documents.sqlite3-wal, -shm   SQLite       commits not yet folded into the file: truth, never delete them
    vectors/<field>.<n>.f32       vectors      every vector, row number = label: truth. Each compaction makes new ones
    graphs/<field>.<n>.hnsw       graph        a snapshot that `documents.sqlite3` knows of: a cache, may be deleted
    */*.new                       _files       unfinished: never read, removed at the next opening
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from .. import _files
from ..errors import SettingsError, WorkDirError, WorkDirLockedError

_POLL, _SHORT_POLL = 0.05, 0.002  # seconds between two attempts to get the lock: for good, and for one write
_CLOSE_IT = 'close it there, choose another work_dir, or wait with lock_timeout=<seconds>'


class WorkDir:
    """
    A directory that this process may write to while it holds the lock.

    Args:
        path: The directory; it and its parents are created where missing, unless `read_only`.
        lock_timeout: Seconds to wait for another process that holds it.
        read_only: Nothing is written, and no lock needed.
        is_kept: The lock is held until `release`; otherwise only under `held()`.

    Raises:
        WorkDirLockedError: another process holds it.
        WorkDirError: it cannot be created or written to, or belongs to DocArray.
    """

    def __init__(self, path: Path, lock_timeout: float, *, read_only: bool = False, is_kept: bool = True) -> None:
        self.path = path
        self._timeout = lock_timeout
        self._is_kept = is_kept
        self._lock: filelock.BaseFileLock | None = None
        is_number = isinstance(lock_timeout, (int, float)) and not isinstance(lock_timeout, bool)
        if not is_number or not lock_timeout >= 0:  # NaN neither
            raise SettingsError(f'lock_timeout must be 0 or more seconds, got {lock_timeout!r}')
        self._refuse_docarray()
        self._refuse_links()
        if read_only:
            if not self.database.exists():
                raise WorkDirError('there is no index here', path, 'it is made by opening it without read_only')
            return
        try:
            _files.make_directory(path)
            _files.touch(self.path / 'docindex.lock')
            # The kernel's lock ends with the process that holds it: a lock file that was left over locks nobody out.
            self._lock = filelock.FileLock(
                self.path / 'docindex.lock',
                thread_local=False,
                fallback_to_soft=False,  # which a killed process would leave locked
                poll_interval=_POLL if is_kept else _SHORT_POLL,
                on_acquired=_write_holder,
            )
            if is_kept:
                self._acquire(lock_timeout)
        except WorkDirError:
            raise
        except OSError as error:
            raise WorkDirError(f'cannot use this as a work directory: {error.strerror or error}', path) from error
        try:
            for directory in (self.path / 'vectors', self.path / 'graphs'):
                _files.make_directory(directory)
        except BaseException:
            self.release()
            raise

    @contextmanager
    def held(self, timeout: float | None = None) -> Iterator[None]:
        """
        Hold the lock, if it is not held anyway.

        Args:
            timeout: Seconds to wait for another process; None: `lock_timeout`.

        Raises:
            WorkDirLockedError: another process holds it.
        """
        if self._is_kept or self._lock is None:
            yield
            return
        self._acquire(self._timeout if timeout is None else timeout)
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self, timeout: float) -> None:
        if self._lock is None:
            return
        try:
            self._lock.acquire(timeout=timeout)
        except filelock.Timeout as error:
            pid, host = self._holder()
            holder = f'process {pid} on {host}' if pid else 'another process'
            raise WorkDirLockedError(
                f'{holder} has this directory open for writing', self.path, _CLOSE_IT, pid
            ) from error

    def _holder(self) -> tuple[int | None, str]:
        try:
            pid, host = (self.path / 'docindex.lock').read_text().split()
            return int(pid), host
        except (OSError, ValueError):
            return None, ''

    def _refuse_docarray(self) -> None:
        if (self.path / 'docs_sqlite.db').exists() and not self.database.exists():
            raise WorkDirError(
                'DocArray wrote this directory, in a format of its own',
                self.path,
                'choose another work_dir and index the documents that DocArray returns',
            )

    def _refuse_links(self) -> None:
        # The directory may have been made by somebody who wants something else to be written over.
        names = ('docindex.lock', 'vectors', 'graphs', 'documents.sqlite3', 'documents.sqlite3-wal')
        for path in (*(self.path / name for name in names), self.path / 'documents.sqlite3-shm'):
            if path.is_symlink():
                raise WorkDirError('this is a symbolic link, and would be followed', path, 'put the file itself there')

    def identity(self) -> tuple[int, int] | None:
        """Return what no other directory has while this one is there; None if it is gone."""
        try:
            found = self.database.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / 'documents.sqlite3'

    def vector_file(self, field: str, generation: int) -> Path:
        """Return the path of a field's vectors, after so many compactions."""
        return self.path / 'vectors' / f'{field}.{generation}.f32'

    def vector_files(self, field: str) -> list[Path]:
        """Return the paths of a field's vectors that exist, of any generation."""
        return [
            path
            for path in self.path.glob('vectors/*.f32')
            if re.fullmatch(rf'{re.escape(field)}\.\d+\.f32', path.name)
        ]

    def graph_file(self, name: str) -> Path:
        """Return the path of a graph file by its name."""
        return self.path / 'graphs' / name

    @staticmethod
    def is_graph_name(name: str) -> bool:
        """Return whether `graph_file` stays in the directory with a name that a stranger may have written."""
        return re.fullmatch(r'\w+\.\d+\.hnsw', name) is not None

    def new_graph_name(self, field: str) -> str:
        """Return a name for a field's next graph file that no file has."""
        number = 1 + max((_number(path) for path in (self.path / 'graphs').glob('*.hnsw')), default=0)
        return f'{field}.{number}.hnsw'

    def sweep(self, fields: Collection[str], keep: Collection[Path]) -> None:
        """
        Remove what a crash left unfinished: vector and graph files of `fields` other than those in `keep`.

        Nothing else is touched: the work directory may be a user's current directory.
        """
        for path in (*self.path.glob('vectors/*'), *self.path.glob('graphs/*')):
            ours = re.fullmatch(r'(.+)\.\d+\.(f32|hnsw)(\.new)?', path.name)
            if ours and ours[1] in fields and path not in keep:
                _files.remove(path)

    def __str__(self) -> str:
        return str(self.path)

    def release(self) -> None:
        """Let the next process have the directory."""
        if self._lock is not None and self._is_kept:
            self._lock.release()


@contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise `WorkDirError`, which says what was being done, for whatever the disk refuses."""
    try:
        yield
    except WorkDirError:
        raise
    except OSError as error:
        raise WorkDirError(
            f'{doing} failed: {error.strerror or error}', error.filename or path, 'is the disk full?'
        ) from error


def _write_holder(fd: int) -> None:
    with suppress(OSError):  # a full disk must not keep anybody from opening; the holder stays unnamed
        os.ftruncate(fd, 0)
        os.write(fd, f'{os.getpid()} {socket.gethostname() or "localhost"}'.encode())


def _number(path: Path) -> int:
    number = path.name.split('.')[-2]
    return int(number) if number.isdecimal() else 0
