"""
Writing so that it stays written: the only module that syncs or renames.

A write that returned may still be lost in a power cut until the file is synced, and a new name
until its directory is. Everything in `hnsw/` goes through here, so a test can stand in for the disk.
"""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from pathlib import Path

_READ_SIZE = 1 << 20

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
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def create_file(path: Path, content: bytes, size: int = 0) -> None:
    """Create `path` with `content`, and a hole up to `size` bytes; complete and synced, or not at all."""
    beside = path.with_name(path.name + '.new')
    with beside.open('wb') as file:
        file.write(content)
        if size > len(content):
            file.truncate(size)
    publish(beside, path)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file, complete and synced, or not at all."""
    beside = path.with_name(path.name + '.new')
    shutil.copyfile(source, beside)
    publish(beside, path)


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


def checksum(path: Path) -> int:
    """Return the CRC-32 of the whole file."""
    crc = 0
    with path.open('rb') as file:
        while block := file.read(_READ_SIZE):
            crc = zlib.crc32(block, crc)
    return crc
