"""
The vectors of one field as an append-only matrix on disk: row number = label.

    OFFSET           SIZE       WHAT
    0                8          b'docindex'
    8                4          format version, little-endian, as all numbers here
    12               4          dim
    16               8          commits: how many SQLite had acknowledged when the last one was, or fewer
    24               4          CRC-32 of the field's name, which is the beginning of the file's
    28               4          width: 4 bytes for each value, float32, or 2, float16
    32               32         zeros
    64 + r * stride  width*dim  row r: the vector of label r, zeros if there is none
    ... + width*dim  4          CRC-32 of the row's vector, XOR the low 32 bits of its label

stride = width * dim + 4. Whatever a row is kept as, it is read as float32, which holds each float16 exactly; the name
of the file ends in .f32 either way. Which rows count is not written here: SQLite knows the next label, and rows from
there on are what a crash left over, to be written over. SQLite may also have copies of the last rows, which a power
cut may have taken from the file (`unsynced`). But if SQLite knows of fewer commits than stand here, it has
lost some: a write-ahead log that is gone or damaged is dropped by SQLite without a word.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .. import _files
from ..distances import Labels
from ..errors import CHECK, CorruptIndexError, FormatVersionError, WorkDirError
from ..fields import StoredAs
from ..tensors import Float32Array

Flags = np.ndarray[Any, np.dtype[np.bool_]]
_Rows = np.ndarray[Any, np.dtype[np.void]]
"""Rows as they stand in the file, shape (n,): `vector` and `checksum`."""
Copies = Mapping[int, bytes]
"""Rows of a vector file as they stand there, vector and checksum, by label."""

_WIDTHS: dict[StoredAs, int] = {'float32': 4, 'float16': 2}

_HEADER = struct.Struct('<8sIIQII32x')
_COMMITS = struct.Struct('<Q')
_COMMITS_OFFSET = 16
_MAGIC = b'docindex'
_VERSION = 1
_UNKNOWN = -1.0
_WRITE_ROWS = 16_384
_KEPT_ROWS = 1_024  # rows are read before their pages are given back; Linux maps 64 KiB around each
_SMALL = 64 << 20  # bytes of a file whose pages need not be given back: that many rows of another take as much
_SEARCHED_ROWS = 256  # are read for a search, as is what is in no order; the next one reads others beside them
_TRUSTED_ROWS = 65_536  # rows are read before those that were found sound are checked anew


class VectorFile:
    """
    An open vector file. One thread writes; any number may read rows that were written before.

    Attributes:
        path: The file.
        dim: Length of its vectors.
        stored_as: What it holds them as.
        commits: How many commits SQLite must know of at least.
        stride: Bytes from one row to the next.
        lacking: For a reader, rows that the file lacks or has otherwise, and that are seen all the same.

    Args:
        path: The file.
        dim: Length of its vectors.
        stored_as: What it holds them as.
        rows: How many rows must be there at least.
        read_only: Nothing will be written.
        may_lack_rows: Take a file that is too short; what it lacks counts as damaged.
        copies: Rows as they were written, if a power cut may have taken them from the file: they are put back, or, by
            who may not write, seen in the place of what is there.

    Raises:
        CorruptIndexError: it is missing, too short or not a vector file of this kind.
        FormatVersionError: a newer docindex wrote it.
    """

    def __init__(
        self,
        path: Path,
        dim: int,
        rows: int,
        *,
        stored_as: StoredAs = 'float32',
        read_only: bool = False,
        may_lack_rows: bool = False,
        copies: Copies | None = None,
    ) -> None:
        self.path = path
        self.dim = dim
        self.stored_as = stored_as
        self._row = np.dtype([('vector', f'<f{_WIDTHS[stored_as]}', (dim,)), ('checksum', '<u4')])
        self.stride = self._row.itemsize
        self._lengths = np.zeros(0, np.float32)
        self._fd = self._open(read_only)
        try:
            self._check_header()
            self.lacking = self._lacking(copies or {})
            if not read_only:
                self.put_back(self.lacking)
                self.lacking = {}
            self._check_size(0 if may_lack_rows else rows)
            if not read_only:
                self._fill_up(rows)
        except BaseException:
            os.close(self._fd)
            raise
        self._table = np.empty(0, self._row)
        self._is_sound: Flags = np.zeros(0, bool)
        self._trusted = 0
        self._mapped: mmap.mmap | None = None
        self._shared: _Descriptor | None = None
        self._taken = 0

    def reopened(self) -> VectorFile:
        """Return the same file opened once more, for reading, as it is seen here."""
        return VectorFile(self.path, self.dim, 0, stored_as=self.stored_as, read_only=True, copies=self.lacking)

    @staticmethod
    def create(path: Path, dim: int, rows: int = 0, stored_as: StoredAs = 'float32') -> None:
        """Make a file, synced, with room for `rows` labels that have no vector."""
        width = _WIDTHS[stored_as]
        size = _HEADER.size + rows * (width * dim + 4)
        _files.create_file(path, _HEADER.pack(_MAGIC, _VERSION, dim, 0, _name_checksum(path), width), size)

    @staticmethod
    def is_unused(path: Path) -> bool:
        """Return whether there is no file, or one without rows and commits: what an unfinished creation leaves."""
        if not path.exists():
            return True
        content = path.read_bytes() if path.stat().st_size <= _HEADER.size else b'.' * (_HEADER.size + 1)
        return len(content) < _HEADER.size or (len(content) == _HEADER.size and not _HEADER.unpack(content)[3])

    def _check_header(self) -> None:
        head = os.read(self._fd, _HEADER.size)
        if len(head) < _HEADER.size:
            raise CorruptIndexError('this vector file has no complete header', self.path, CHECK)
        magic, version, dim, self.commits, name, width = _HEADER.unpack(head)
        if magic != _MAGIC or not version:
            raise CorruptIndexError('this is not a vector file', self.path, CHECK)
        if version > _VERSION:
            raise FormatVersionError(
                f'this file has format {version}, a newer docindex wrote it', self.path, 'upgrade docindex'
            )
        if name != _name_checksum(self.path):
            raise CorruptIndexError('this file holds the vectors of another field', self.path, CHECK)
        if dim != self.dim:
            raise CorruptIndexError(f'this file holds {dim}-d vectors, not {self.dim}-d', self.path, CHECK)
        if width != _WIDTHS[self.stored_as]:
            message = f'this file has {width} bytes for each value, not {_WIDTHS[self.stored_as]} ({self.stored_as})'
            raise CorruptIndexError(message, self.path, CHECK)

    def _check_size(self, rows: int) -> None:
        if self.held < rows:
            raise CorruptIndexError(f'this file ends after {self.held} of {rows} vectors', self.path, CHECK)

    def _open(self, read_only: bool) -> int:
        try:
            return _files.open_file(self.path, read_only)
        except FileNotFoundError as error:
            raise CorruptIndexError('this vector file is missing', self.path, 'restore it from a backup') from error
        except OSError as error:
            raise WorkDirError(f'this file cannot be opened: {error.strerror or error}', self.path) from error

    def _fill_up(self, rows: int) -> None:
        """Let zeros, which match no checksum, stand for rows that the file lacks."""
        if self.held < rows:
            os.ftruncate(self._fd, _HEADER.size + rows * self.stride)

    def write(self, first_label: int, vectors: Float32Array) -> None:
        """
        Write vectors (n, dim) as the rows from `first_label` on; not synced.

        Raises:
            WorkDirError: the disk is full, say. What was written does not count.
        """
        with self._translated():
            self._write(first_label, vectors)
            # What a transaction wrote there that was rolled back.
            self._lengths[first_label:] = _UNKNOWN
            self._is_sound[first_label:] = False

    def copies(self, first_label: int, rows: int) -> Iterator[tuple[int, bytes]]:
        """Yield labels from `first_label` on with their rows as they stand here, for `copies` of a later opening."""
        with self._translated():
            table = _files.read_at(self._fd, rows * self.stride, _HEADER.size + first_label * self.stride)
        for row in range(rows):
            yield first_label + row, table[row * self.stride : (row + 1) * self.stride]

    def put_back(self, copies: Copies) -> None:
        """
        Write rows again as they were written first, those that are sound; not synced.

        Raises:
            WorkDirError: the disk is full, say.
        """
        with self._translated():
            for first, rows in _runs(self._sound(copies)):
                _files.write_at(self._fd, memoryview(rows), _HEADER.size + first * self.stride)
                self._lengths[first : first + len(rows) // self.stride] = _UNKNOWN

    def differing(self, copies: Copies) -> tuple[list[int], list[int]]:
        """Return the labels of copies that are damaged, and of those in whose place something else is seen."""
        return sorted(copies.keys() - self._sound(copies).keys()), sorted(self._lacking(copies).keys() - self.lacking)

    def _sound(self, copies: Copies) -> dict[int, bytes]:
        """Return those copies that match their checksums."""
        whole = {label: row for label, row in copies.items() if len(row) == self.stride}
        table = np.frombuffer(b''.join(whole.values()), self._row)
        is_damaged = self._mismatches(np.fromiter(whole, np.int64, len(whole)), table).tolist()
        return {label: row for (label, row), is_bad in zip(whole.items(), is_damaged, strict=True) if not is_bad}

    def _lacking(self, copies: Copies) -> dict[int, bytes]:
        """Return those sound copies that the file lacks, or has otherwise."""
        if not copies:
            return {}
        # Not `read_at`: a reader may look for this in several threads.
        with closing(mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ)) as mapped:
            start = {label: _HEADER.size + label * self.stride for label in copies}
            return {
                label: row
                for label, row in self._sound(copies).items()
                if mapped[start[label] : start[label] + self.stride] != row
            }

    def sync(self) -> None:
        """
        Wait until all that was written is on the disk.

        Raises:
            WorkDirError: the disk has failed.
        """
        with self._translated():
            _files.sync_file(self._fd)

    def cut_back(self, rows: int) -> None:
        """
        Forget what stands behind so many rows, and sync that.

        Where a commit may reach the disk before its vectors, older ones with the same labels, of a transaction that was
        rolled back, would otherwise be taken for them.
        """
        with self._translated():
            if self.held > rows:
                self._table = self._table[:rows]
                os.ftruncate(self._fd, _HEADER.size + rows * self.stride)
                _files.sync_file(self._fd)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f'the vectors could not be written: {error.strerror or error}'
            raise WorkDirError(message, self.path, 'make room on the disk and try again') from error

    def _write(self, first_label: int, vectors: Float32Array) -> None:
        for start in range(0, len(vectors), _WRITE_ROWS):
            part = vectors[start : start + _WRITE_ROWS]
            table = np.empty(len(part), self._row)
            table['vector'] = part
            labels = np.arange(first_label + start, first_label + start + len(part))
            table['checksum'] = self._checksums(labels, table)
            offset = _HEADER.size + (first_label + start) * self.stride
            _files.write_at(self._fd, table.view(np.uint8).data, offset)

    def acknowledge(self, commits: int) -> None:
        """Note that SQLite has made this many commits. Not synced: it only serves to notice that SQLite lost some."""
        # The commit stands; if it cannot be noted, a loss might not be noticed, and that is all.
        with suppress(OSError):
            _files.write_at(self._fd, memoryview(_COMMITS.pack(commits)), _COMMITS_OFFSET)
            self.commits = commits

    def rows(self, labels: Labels) -> Float32Array:
        """
        Return copies of the rows of `labels` (n,), shape (n, dim), each checked at the first time, and now and then.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        table = self._take(labels, is_kept=len(labels) <= _SEARCHED_ROWS or not _are_ascending(labels))
        if not self._are_sound(labels):
            self._check(labels, table)
            self._is_sound[labels] = True
        return _float32(table)

    def _are_sound(self, labels: Labels) -> bool:
        """Return whether all of some rows, which are there, have been checked: half of what it takes to read them."""
        self._trusted += len(labels)
        if self._trusted > _TRUSTED_ROWS or len(self._is_sound) < len(self._table):
            self._is_sound, self._trusted = np.zeros(len(self._table), bool), 0
        return bool(self._is_sound.take(labels).all())

    def kept(self, rows: int) -> Callable[[Labels], Float32Array]:
        """Return what does later what `rows` does, below row `rows`, even if the file is closed or removed by then."""
        take = self._taking(rows)

        def read(labels: Labels) -> Float32Array:
            table = take(labels)
            self._check(labels, table)
            return _float32(table)

        return read

    def _taking(self, rows: int) -> Callable[[Labels], _Rows]:
        """Return what copies rows, below row `rows`, from the file as it is seen now, also once it is closed."""
        if self.lacking or not hasattr(os, 'pread'):  # which Windows lacks
            return self._read_up_to(rows).take
        # Not from a mapping: each has a descriptor of its own, and who keeps what is found may keep any number of them.
        self._check_size(rows)
        shared = self._shared = self._shared or _Descriptor(os.dup(self._fd))

        def read_at(label: int, count: int) -> bytes:
            return os.pread(shared.number, count * self.stride, _HEADER.size + label * self.stride)

        def take(labels: Labels) -> _Rows:
            if len(labels) > 1 and labels[-1] - labels[0] == len(labels) - 1 and _are_ascending(labels):
                content = bytearray(read_at(int(labels[0]), len(labels)))
            else:
                content = bytearray().join(read_at(label, 1) for label in labels.tolist())
            if len(content) < len(labels) * self.stride:
                raise CorruptIndexError('this file was cut off', self.path, CHECK)
            return np.frombuffer(content, self._row)

        return take

    def scan(self, labels: Labels) -> Float32Array:
        """
        Return the rows of `labels` (n,), ascending, shape (n, dim), each checked when it is first scanned.

        Raises:
            CorruptIndexError: a row does not match its checksum.
        """
        if not len(labels):
            return np.empty((0, self.dim), np.float32)
        first, last = int(labels[0]), int(labels[-1]) + 1
        if last > len(self._lengths):
            grown = np.full(max(last, 2 * len(self._lengths)), _UNKNOWN, np.float32)
            grown[: len(self._lengths)] = self._lengths
            self._lengths = grown
        unknown = labels[self._lengths[labels] == _UNKNOWN]
        if len(unknown):
            table = self._take(unknown, is_kept=True)
            self._check(unknown, table)
            vectors = _float32(table)
            self._lengths[unknown] = np.sqrt(np.einsum('ij,ij->i', vectors, vectors))
        if last - first == len(labels):
            return _float32(self._read_up_to(last)[first:last])
        return _float32(self._take(labels, is_kept=True))

    def lengths(self, labels: Labels) -> Float32Array:
        """Return the lengths of rows (n,) that were scanned; infinite or 0 where float32 cannot hold their squares."""
        return np.asarray(self._lengths[labels], np.float32)

    def peek(self, labels: Labels) -> Float32Array:
        """Return copies of the rows of `labels` (n,), unchecked: to compare with."""
        return _float32(self._take(labels))

    def damaged(self, labels: Labels) -> Labels:
        """Return those of `labels` whose row is missing or does not match its checksum."""
        held = self.held
        there = labels[labels < held]
        is_damaged = self._mismatches(there, self._take(there))
        return np.concatenate([there[is_damaged], labels[labels >= held]])

    def block(self, start: int, stop: int) -> Float32Array:
        """Return the rows from `start` to before `stop`, unchecked: of float32 ones a view."""
        return _float32(self._read_up_to(stop)[start:stop])

    def _take(self, labels: Labels, is_kept: bool = False) -> _Rows:
        """
        Return copies of rows. With `is_kept` the kernel is not given their pages back, for searches come again.

        Of 4,096 scattered rows of 384 that are mapped already, copies take 1 ms; to map them anew takes 20.
        """
        if len(labels) <= _KEPT_ROWS or is_kept:
            self._let_go(0 if is_kept else len(labels))
            try:
                return self._table.take(labels)
            except IndexError:  # rows that were written after it was mapped
                row = self._one(int(labels[0])) if len(labels) == 1 and not is_kept else None
                return self._read_up_to(int(labels.max(initial=-1)) + 1).take(labels) if row is None else row
        table = self._read_up_to(int(labels.max()) + 1)
        rows = np.empty(len(labels), self._row)
        for start in range(0, len(labels), _KEPT_ROWS):
            part = slice(start, start + _KEPT_ROWS)
            # All of them are in the table; numpy's own check of that would take forty times as long.
            table.take(labels[part], out=rows[part], mode='clip')
            self._let_go(len(rows[part]))
        return rows

    def _one(self, label: int) -> _Rows | None:
        """Return a copy of one row; None, if only a mapping shows it. To map a file of 30 MB anew takes 60 us."""
        if self.lacking or not hasattr(os, 'pread'):  # which Windows lacks
            return None
        row = bytearray(os.pread(self._fd, self.stride, _HEADER.size + label * self.stride))
        return np.frombuffer(row, self._row) if len(row) == self.stride else None

    def _let_go(self, taken: int) -> None:
        """
        Give the pages of the mapping back to the kernel, now and then; they stay in its cache.

        Who reads all vectors in turn would otherwise seem to occupy the whole file.
        """
        self._taken += taken
        if self._taken >= _KEPT_ROWS and self._mapped is not None and hasattr(mmap, 'MADV_DONTNEED'):
            self._taken = 0
            if len(self._mapped) > _SMALL:
                self._mapped.madvise(mmap.MADV_DONTNEED)

    def _check(self, labels: Labels, table: _Rows) -> None:
        is_damaged = self._mismatches(labels, table)
        if is_damaged.any():
            label = int(labels[is_damaged][0])
            raise CorruptIndexError(f'the vector of row {label} does not match its checksum', self.path, CHECK)

    def _mismatches(self, labels: Labels, table: _Rows) -> Flags:
        return np.asarray(self._checksums(labels, table) != table['checksum'])

    def close(self) -> None:
        """Close the file. Views that were handed out stay valid."""
        self._table, self._mapped, self._shared = np.empty(0, self._row), None, None
        os.close(self._fd)

    def _checksums(self, labels: Labels, table: _Rows) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Return the checksums of rows (n,). With its label in it, a row in the place of another is noticed."""
        row_bytes, vector_bytes = self.stride, self.stride - 4
        view = table.view(np.uint8).data
        starts = range(0, len(table) * row_bytes, row_bytes)
        checksums = np.array([zlib.crc32(view[start : start + vector_bytes]) for start in starts], np.uint32)
        return checksums ^ labels.astype(np.uint32)

    @property
    def held(self) -> int:
        """How many rows are there."""
        held = (os.fstat(self._fd).st_size - _HEADER.size) // self.stride
        return max(held, max(self.lacking, default=-1) + 1)

    def _read_up_to(self, rows: int) -> _Rows:
        """Return a table of at least `rows` rows, mapped from the file."""
        table = self._table
        if len(table) < rows:
            self.lacking = self._lacking(self.lacking)  # a writer may have come, and put them back
            held = self.held  # all that is there, so a growing file is not mapped anew for each row
            size = _HEADER.size + held * self.stride
            mapped = self._patched(size) if self.lacking else mmap.mmap(self._fd, size, access=mmap.ACCESS_READ)
            shown = memoryview(mapped).toreadonly()
            table = np.frombuffer(shown, self._row, held, _HEADER.size)
            # Pages with what is seen in the place of the file's must not be given back.
            self._table, self._mapped = table, None if self.lacking else mapped
        if len(table) < rows:
            raise CorruptIndexError(f'this file ends after {len(table)} of {rows} vectors', self.path, CHECK)
        return table

    def _patched(self, size: int) -> mmap.mmap:
        """Return `size` bytes of the file in memory, with the rows that it lacks; nobody but this process sees them."""
        there = os.fstat(self._fd).st_size
        if there >= size:
            patched = mmap.mmap(self._fd, size, access=mmap.ACCESS_COPY)  # only pages that are patched take memory
        else:
            patched = mmap.mmap(-1, size)  # what lies behind the end of a file cannot be mapped
            with closing(mmap.mmap(self._fd, there, access=mmap.ACCESS_READ)) as mapped, memoryview(mapped) as whole:
                patched[:there] = whole
        for label, row in self.lacking.items():
            start = _HEADER.size + label * self.stride
            patched[start : start + self.stride] = row
        return patched


class _Descriptor:
    """A descriptor that is closed when nobody has it any more."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def _runs(copies: Copies) -> Iterator[tuple[int, bytes]]:
    """Yield the first of labels that follow each other, and all their rows."""
    for _, run in groupby(enumerate(sorted(copies)), key=lambda place: place[1] - place[0]):
        labels = [label for _, label in run]
        yield labels[0], b''.join(copies[label] for label in labels)


def _are_ascending(labels: Labels) -> bool:
    return bool((labels[1:] > labels[:-1]).all())


def _float32(rows: _Rows) -> Float32Array:
    """Return the vectors of rows (n,), shape (n, dim): of float32 ones a view."""
    return np.asarray(rows['vector'], np.float32)


def _name_checksum(path: Path) -> int:
    """Return the CRC-32 of the field in a file's name."""
    return zlib.crc32(path.name.rsplit('.', 2)[0].encode())
