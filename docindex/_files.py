"""
Writing so that it stays written: the only module that syncs or renames.

A write that returned may still be lost in a power cut until the file is synced, and a new name
until its directory is. Everything in `hnsw/` goes through here, so a test can stand in for the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_READ_SIZE = 1 << 20
# Others may read what the umask lets them, and write nothing: an index is as private or public as its owner's files.
FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
# A link may stand where a file is to be written, if a stranger made the directory: it is not followed. Not on Windows,
# where nobody without privileges can make one.
_NO_LINK = getattr(os, 'O_NOFOLLOW', 0)
_BINARY = getattr(os, 'O_BINARY', 0)

if sys.platform == 'darwin':
    import fcntl

    def sync_file(fd: int) -> None:
        """Wait until every write to `fd` is on the disk."""
        # macOS: fsync() only reaches the drive's own cache; see its manual page.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:

    def sync_file(fd: int) -> None:
        """Wait until every write to `fd` is on the disk."""
        getattr(os, 'fdatasync', os.fsync)(fd)


def sync_directory(path: Path) -> None:
    """Wait until the names in `path` are on the disk (Windows does this by itself)."""
    if sys.platform == 'win32':
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Create `path` and its parents where missing, so that their names survive a power cut."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(_DIRECTORY_MODE, exist_ok=True)
    sync_directory(path.parent)


def open_file(path: Path, read_only: bool) -> int:
    """
    Open a regular file that exists and is no link, and return its descriptor.

    Raises:
        OSError: there is something else.
    """
    # A pipe would be waited for without O_NONBLOCK, which means nothing to a file.
    fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | _BINARY | _NO_LINK | getattr(os, 'O_NONBLOCK', 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, 'this is no regular file', str(path))
    return fd


def touch(path: Path) -> None:
    """Make an empty file at `path` if there is nothing."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | _BINARY | _NO_LINK, FILE_MODE))


def create_empty(path: Path) -> None:
    """Make an empty file at `path`, in the place of whatever is there."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY | _NO_LINK, FILE_MODE))


def create_file(path: Path, content: bytes, size: int = 0) -> None:
    """Create `path` with `content`, and a hole up to `size` bytes; complete and synced, or not at all."""
    beside = path.with_name(path.name + '.new')
    create_empty(beside)
    with beside.open('r+b') as file:
        file.write(content)
        if size > len(content):
            file.truncate(size)
    publish(beside, path)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file, complete and synced, or not at all."""
    beside = path.with_name(path.name + '.new')
    create_empty(beside)
    shutil.copyfile(source, beside)
    publish(beside, path)


def remove(path: Path) -> None:
    """Remove a file that nothing refers to any more, if that can be done: on Windows not while somebody has it open."""
    with suppress(OSError):
        path.unlink()


def publish(beside: Path, path: Path) -> None:
    """Give the finished file `beside` its final name: sync, rename, sync the directory."""
    fd = os.open(beside, os.O_RDWR)
    try:
        sync_file(fd)
    finally:
        os.close(fd)
    beside.replace(path)
    sync_directory(path.parent)


def write_at(fd: int, content: memoryview, offset: int) -> None:
    """Write all of `content` at byte `offset`; the system may take it in several pieces."""
    # Not os.pwrite(), which Windows lacks; a file that is written here has one writer.
    os.lseek(fd, offset, os.SEEK_SET)
    while content:
        content = content[os.write(fd, content) :]


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Return the `size` bytes at byte `offset`, or those that are there; for the one who writes."""
    os.lseek(fd, offset, os.SEEK_SET)
    content = bytearray()
    while block := os.read(fd, size - len(content)):
        content += block
    return bytes(content)


def checksum(path: Path) -> int:
    """Return the CRC-32 of the whole file."""
    crc = 0
    with path.open('rb') as file:
        while block := file.read(_READ_SIZE):
            crc = zlib.crc32(block, crc)
    return crc


def size(path: Path) -> int:
    """Return how many bytes a file has; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_through(path: Path, advance: Callable[[int], object]) -> None:
    """
    Read a file, if it is there, so that the operating system has it in memory; `advance` is told of the bytes.

    Not to be called for a file that SQLite has open; see `Rows.read_through`.
    """
    with suppress(FileNotFoundError), path.open('rb', buffering=0) as file:
        block = memoryview(bytearray(_READ_SIZE))
        while count := file.readinto(block):
            advance(count)
