"""
The vectors of one field as an append-only matrix on disk: row number = label.

    OFFSET           SIZE       WHAT
    0                8          b'docindex'
    8                4          format version, little-endian, as all numbers here
    12               4          dim
    16               8          commits: how many SQLite had acknowledged when the last one was, or fewer
    24               40         zeros
    64 + r * stride  4 * dim    row r: the vector of label r as float32, zeros if there is none
    ... + 4 * dim    4          CRC-32 of the row's vector, XOR the low 32 bits of its label

stride = 4 * dim + 4. Which rows count is not written here: SQLite knows the next label, and rows from
there on are what a crash left over, to be written over. But if SQLite knows of fewer commits than stand here, it has
lost some: a write-ahead log that is gone or damaged is dropped by SQLite without a word.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .. import _files
from ..distances import Labels
from ..errors import CorruptIndexError, FormatVersionError, WorkDirError
from ..tensors import Float32Array

_HEADER = struct.Struct('<8sIIQ40x')
_COMMITS = struct.Struct('<Q')
_COMMITS_OFFSET = 16
_MAGIC = b'docindex'
_VERSION = 1
_WRITE_ROWS = 16_384

_CHECK = 'index.verify() lists all that is damaged; restore it from a backup'


class VectorFile:
    """
    An open vector file. One thread writes; any number may read rows that were written before.

    Attributes:
        commits: How many commits SQLite must know of at least.

    Args:
        path: The file.
        dim: Length of its vectors.
        rows: How many rows must be there at least.

    Raises:
        CorruptIndexError: it is missing, too short or not a vector file of this dimension.
        FormatVersionError: a newer docindex wrote it.
    """

    def __init__(self, path: Path, dim: int, rows: int) -> None:
        self.path = path
        self.dim = dim
        self._stride = 4 * dim + 4
        self._check_header(rows)
        self._fd = os.open(path, os.O_RDWR | getattr(os, 'O_BINARY', 0))
        self._table = np.empty((0, dim + 1), np.float32)

    @staticmethod
    def create(path: Path, dim: int, rows: int = 0) -> None:
        """Make a file, synced, with room for `rows` labels that have no vector."""
        size = _HEADER.size + rows * (4 * dim + 4)
        _files.create_file(path, _HEADER.pack(_MAGIC, _VERSION, dim, 0), size)

    @staticmethod
    def is_empty(path: Path) -> bool:
        """Return whether there is no file, or one without rows: what an unfinished creation leaves."""
        return not path.exists() or path.stat().st_size <= _HEADER.size

    def _check_header(self, rows: int) -> None:
        try:
            with self.path.open('rb') as file:
                head = file.read(_HEADER.size)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise CorruptIndexError('this vector file is missing', self.path, 'restore it from a backup') from error
        if len(head) < _HEADER.size:
            raise CorruptIndexError('this vector file has no complete header', self.path, _CHECK)
        magic, version, dim, self.commits = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise CorruptIndexError('this is not a vector file', self.path, _CHECK)
        if version > _VERSION:
            raise FormatVersionError(
                f'this file has format {version}, a newer docindex wrote it', self.path, 'upgrade docindex'
            )
        if dim != self.dim:
            raise CorruptIndexError(f'this file holds {dim}-d vectors, not {self.dim}-d', self.path, _CHECK)
        if size < _HEADER.size + rows * self._stride:
            held = (size - _HEADER.size) // self._stride
            raise CorruptIndexError(f'this file ends after {held} of {rows} vectors', self.path, _CHECK)

    def write(self, first_label: int, vectors: Float32Array) -> None:
        """
        Write vectors (n, dim) as the rows from `first_label` on, and sync them.

        Raises:
            WorkDirError: the disk is full, say. What was written does not count.
        """
        try:
            self._write(first_label, vectors)
        except OSError as error:
            message = f'the vectors could not be written: {error.strerror or error}'
            raise WorkDirError(message, self.path, 'make room on the disk and try again') from error

    def _write(self, first_label: int, vectors: Float32Array) -> None:
        for start in range(0, len(vectors), _WRITE_ROWS):
            part = vectors[start : start + _WRITE_ROWS]
            table = np.empty((len(part), self.dim + 1), '<f4')
            table[:, : self.dim] = part
            labels = np.arange(first_label + start, first_label + start + len(part))
            table.view('<u4')[:, self.dim] = self._checksums(labels, table)
            offset = _HEADER.size + (first_label + start) * self._stride
            _files.write_at(self._fd, table.data.cast('B'), offset)
        if len(vectors):
            _files.sync_file(self._fd)

    def acknowledge(self, commits: int) -> None:
        """Note that SQLite has made this many commits. Not synced: it only serves to notice that SQLite lost some."""
        # The commit stands; if it cannot be noted, a loss might not be noticed, and that is all.
        with suppress(OSError):
            _files.write_at(self._fd, memoryview(_COMMITS.pack(commits)), _COMMITS_OFFSET)
            self.commits = commits

    def rows(self, labels: Labels) -> Float32Array:
        """
        Return copies of the rows of `labels` (n,), shape (n, dim), each checked.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        table = self._read_up_to(int(labels.max()) + 1 if len(labels) else 0).take(labels, axis=0)
        is_damaged = self._checksums(labels, table) != table.view('<u4')[:, self.dim]
        if is_damaged.any():
            label = int(labels[is_damaged][0])
            raise CorruptIndexError(f'the vector of row {label} does not match its checksum', self.path, _CHECK)
        return table[:, : self.dim]

    def peek(self, labels: Labels) -> Float32Array:
        """Return copies of the rows of `labels` (n,), unchecked: to compare with."""
        return self._read_up_to(int(labels.max()) + 1 if len(labels) else 0).take(labels, axis=0)[:, : self.dim]

    def damaged(self, labels: Labels) -> Labels:
        """Return those of `labels` whose row does not match its checksum."""
        table = self._read_up_to(int(labels.max()) + 1).take(labels, axis=0)
        is_damaged = self._checksums(labels, table) != table.view('<u4')[:, self.dim]
        return np.asarray(labels[is_damaged], np.int64)

    def block(self, start: int, stop: int) -> Float32Array:
        """Return a view of the rows from `start` to before `stop`, unchecked: for scans."""
        return self._read_up_to(stop)[start:stop, : self.dim]

    def close(self) -> None:
        """Close the file. Views that were handed out stay valid."""
        self._table = np.empty((0, self.dim + 1), np.float32)
        os.close(self._fd)

    def _checksums(self, labels: Labels, table: Float32Array) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Return the checksums of rows (n, dim + 1). With its label in it, a row in the place of another is noticed."""
        row_bytes, vector_bytes = self._stride, 4 * self.dim
        view = table.reshape(-1).view(np.uint8).data
        starts = range(0, len(table) * row_bytes, row_bytes)
        checksums = np.array([zlib.crc32(view[start : start + vector_bytes]) for start in starts], np.uint32)
        return checksums ^ labels.astype(np.uint32)

    def _read_up_to(self, rows: int) -> Float32Array:
        """Return a table of at least `rows` rows, vector and checksum, mapped from the file."""
        table = self._table
        if len(table) < rows:
            # Maps all that is there, so a growing file is not mapped anew for each row.
            held = (os.fstat(self._fd).st_size - _HEADER.size) // self._stride
            mapped = mmap.mmap(self._fd, _HEADER.size + held * self._stride, access=mmap.ACCESS_READ)
            table = np.frombuffer(mapped, '<f4', held * (self.dim + 1), _HEADER.size).reshape(held, self.dim + 1)
            self._table = table
        if len(table) < rows:
            raise CorruptIndexError(f'this file ends after {len(table)} of {rows} vectors', self.path, _CHECK)
        return table
