"""
Whether hnswlib can be given a graph file: it believes what it reads, and goes wherever a link points.

A checksum tells damage, not a lie: whoever writes a file can write its checksum. What `save_index` of hnswlib 0.8 makes
(`saveIndex`, `loadIndex`, `markDeletedInternal` in its hnswalg.h), in the byte order of the machine:

    OFFSET           SIZE       WHAT
    0                8          offsetLevel0: 0
    8                8          max_elements: for how many elements `load_index` is to make room
    16               8          cur_element_count, here n
    24               8          size_data_per_element: 4 + 8 * M + 4 * dim + 8; dim is that of the graph
    32               8          label_offset: 4 + 8 * M + 4 * dim
    40               8          offsetData: 4 + 8 * M
    48               4          maxlevel: that of the entry point, and no element is above it; -1 if n = 0
    52               4          enterpoint_node: the element where searches start; 2^32 - 1 if n = 0
    56               8, 8, 8    maxM: M; maxM0: 2 * M; M
    80               8          mult: 1 / ln(M) as a double; new elements draw their levels with it
    88               8          ef_construction, at least M
    96               n records  each element on level 0, where all are:
                     2              how many links it has
                     1, 1           1 if it is marked deleted, which `Graph` never does; 0
                     8 * M          the elements it links to; beyond their number, what was there before
                     4 * dim        its vector as float32
                     8              its label
    ...              n records  each element on the levels above:
                     4              size of the rest: 4 + 4 * M for each level, so 0 for most elements
                     4, 4 * M       level 1: how many links, and to which elements; they are on that level too
                     ...            level 2 and so on

Refused is what would lead hnswlib astray. Let pass, for it does no harm: a link to oneself, a second one to another, a
vector of another document (`verify` finds that). A deletion mark is refused, for hnswlib crashes when it adds an
element and its way there ends among marked ones.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .. import _files
from ..fields import VectorSettings

if TYPE_CHECKING:
    from concurrent.futures import Future

_Words = np.ndarray[Any, np.dtype[np.uint32]]
_Numbers = np.ndarray[Any, np.dtype[np.int64]]

_HEADER = struct.Struct('=6QiI3QdQ')
HEADER_SIZE = _HEADER.size
_NOWHERE = (1 << 32) - 1
_DELETED = np.uint32(1 << 16)
_READ_BYTES = 4 << 20  # 200,000 x 128 took 36 ms; with 16 MB, which no cache holds, 47
# hnswlib allocates some 50 bytes for each element there is room for, and counts in 32 bits with sign.
_MODEST_ROOM = 1 << 20
_MOST_ROOM = (1 << 31) - 1
# A level l is drawn with the probability M ** -l, from a random number of 64 bits at the most.
_RAREST = 1 << 64


class _DefectError(Exception):
    """What is wrong with the file, as `defect` returns it."""


class _Header(NamedTuple):
    """The numbers at the start; `max_links` is hnswlib's maxM."""

    offset_level0: int
    max_elements: int
    element_count: int
    size_data_per_element: int
    label_offset: int
    offset_data: int
    max_level: int
    enterpoint: int
    max_links: int
    max_links0: int
    M: int
    mult: float
    ef_construction: int


class _Upper(NamedTuple):
    """
    The elements above level 0, in order.

    Attributes:
        words: The file's last part, in which all their links are.
        heads: Where in `words` each of them has its size, shape (u,).
        elements: Which elements they are, shape (u,).
        levels: Their highest levels, shape (u,).
    """

    words: _Words
    heads: _Numbers
    elements: _Numbers
    levels: _Numbers


def defect(path: Path, settings: VectorSettings, next_label: int, checksum: int | None = None) -> str | None:
    """
    Return what is wrong with a graph file, to follow 'graph file x ', or None if hnswlib can be given it.

    Args:
        path: The file. It must not change any more.
        settings: What the graph was made with.
        next_label: All labels in the graph are smaller.
        checksum: The CRC-32 of the file as it was written; None: nobody knows.

    Raises:
        OSError: the file cannot be read.
    """
    problem: str | None = None
    try:
        with path.open('rb') as opened, _Summed(opened) as file:
            _check(file, settings, next_label)
            is_damaged = file.checksum() != checksum
    except _DefectError as error:
        is_damaged, problem = _files.checksum(path) != checksum, str(error)
    return 'is damaged' if is_damaged and checksum is not None else problem


class _Summed:
    """
    A file that is read from the beginning to the end, once, while a second thread makes the CRC-32 of what was read.

    Two thirds of the work are the CRC-32, for which zlib lets go of Python's lock. Beside `load_index`, which does not,
    it could be made of a mapping only; but where a disk fails, a mapping ends the process.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        from concurrent.futures import ThreadPoolExecutor  # 1 ms that whoever begins a new index need not wait for

        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        self._thread = ThreadPoolExecutor(1, 'docindex-checksum')
        self._begun: deque[Future[None]] = deque()
        self._sum = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=True)

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._begun.append(self._thread.submit(self._add, content))
        return content

    def readinto(self, block: memoryview) -> int:
        """Read into a block; of those that were read before, the last may still be looked at, and no other."""
        self._wait(but=1)
        size = self._file.readinto(block)
        self._begun.append(self._thread.submit(self._add, block[:size]))
        return size

    def tell(self) -> int:
        return self._file.tell()

    def checksum(self) -> int:
        """Return the CRC-32 of all that was read."""
        self._wait(but=0)
        return self._sum

    def _add(self, content: bytes | memoryview) -> None:
        self._sum = zlib.crc32(content, self._sum)

    def _wait(self, but: int) -> None:
        while len(self._begun) > but:
            self._begun.popleft().result()


def _check(file: _Summed, settings: VectorSettings, next_label: int) -> None:
    header = _Header(*_HEADER.unpack(_read(file, _HEADER.size)))
    _check_settings(header, settings)
    _check_counts(header, settings, next_label, file.size)
    _check_elements(file, header, next_label)
    _check_upper(_read_upper(file, header, file.size - file.tell()), header)


def _read(file: io.BufferedReader | _Summed, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise _DefectError('ends too early')
    return content


# -- the header ----------------------------------------------------------------------------------


def _check_settings(header: _Header, settings: VectorSettings) -> None:
    """Check what follows from the settings."""
    links, vector = 4 + 8 * settings.M, 4 * settings.graph_dim
    expected = {
        'offset_level0': 0,
        'size_data_per_element': links + vector + 8,
        'label_offset': links + vector,
        'offset_data': links,
        'max_links': settings.M,
        'max_links0': 2 * settings.M,
        'M': settings.M,
        'ef_construction': max(settings.ef_construction, settings.M),
    }
    for name, value in expected.items():
        if getattr(header, name) != value:
            raise _DefectError(f'says that its {name} is {getattr(header, name):,}, not {value:,}')
    # The last bit is the business of each C library.
    if not math.isclose(header.mult, 1 / math.log(settings.M), rel_tol=1e-9):
        raise _DefectError(f'says that its mult is {header.mult}, not 1 / ln({settings.M})')


def _check_counts(header: _Header, settings: VectorSettings, next_label: int, size: int) -> None:
    """Check that the numbers of elements, levels and bytes can be true, before any memory is allocated for them."""
    count, room = header.element_count, header.max_elements
    if count > next_label:
        raise _DefectError(f'says that it has {count:,} elements, of {next_label:,} labels')
    # `Graph` doubles the room it has, or takes that of the settings, which may have been larger once.
    largest = min(max(settings.max_elements, 2 * next_label, _MODEST_ROOM), _MOST_ROOM)
    if not count <= room <= largest:
        raise _DefectError(f'says that it has room for {room:,} elements, not for {count:,} to {largest:,}')
    if not count and (header.max_level, header.enterpoint) != (-1, _NOWHERE):
        raise _DefectError('says that it has an entry point, and no elements')
    # 64 first: a power of 2 ** 31 would take for ever.
    if count and not (0 <= header.max_level <= 64 and settings.M**header.max_level <= _RAREST):
        raise _DefectError(f'says that its max_level is {header.max_level}')
    if count and header.enterpoint >= count:
        raise _DefectError(f'says that its entry point is element {header.enterpoint:,} of {count:,}')
    rest = size - _HEADER.size - count * header.size_data_per_element
    if not 4 * count <= rest <= 4 * count * (1 + max(header.max_level, 0) * (settings.M + 1)):
        raise _DefectError(f'has {size:,} bytes, too few or too many for {count:,} elements')


# -- level 0 -------------------------------------------------------------------------------------


def _check_elements(file: _Summed, header: _Header, next_label: int) -> None:
    """Check all elements on level 0."""
    labels = np.empty(header.element_count, np.uint64)
    start = 0
    for records in _records(file, header):
        stop = start + len(records)
        labels[start:stop] = np.ascontiguousarray(records[:, -2:]).view(np.uint64)[:, 0]
        _check_links(records, header)
        if not np.isfinite(records[:, 1 + header.max_links0 : -2].view(np.float32)).all():
            raise _DefectError('holds a vector with NaN or infinity')
        start = stop
    _check_labels(labels, next_label)


def _records(file: io.BufferedReader | _Summed, header: _Header) -> Iterator[_Words]:
    """Yield blocks of elements, shape (n, words). Each is overwritten by the one after the next."""
    # Not mapped: if the file is truncated meanwhile, a mapping would end the process.
    rows = max(1, _READ_BYTES // header.size_data_per_element)
    blocks = np.empty((2, min(rows, header.element_count), header.size_data_per_element // 4), np.uint32)
    for number, start in enumerate(range(0, header.element_count, rows)):
        part = blocks[number % 2, : header.element_count - start]
        if file.readinto(part.data.cast('B')) < part.nbytes:
            raise _DefectError('ends too early')
        yield part


def _check_links(records: _Words, header: _Header) -> None:
    if (records[:, 0] & _DELETED).any():
        raise _DefectError('has an element that is marked deleted')
    if records[:, 0].max() > header.max_links0:
        raise _DefectError(f'has an element with more than {header.max_links0:,} links, or with unknown flags')
    # All places, used or not: hnswlib never shrinks, so what is left over there once was an element.
    if records[:, 1 : 1 + header.max_links0].max() >= header.element_count:
        raise _DefectError('has a link to an element that is not there')


def _check_labels(labels: np.ndarray[Any, np.dtype[np.uint64]], next_label: int) -> None:
    if not len(labels):
        return
    if labels.max() >= next_label:
        raise _DefectError(f'has the label {labels.max():,}, and there are {next_label:,}')
    is_there = np.zeros(next_label, bool)  # sorting them took six times as long
    is_there[labels] = True
    if np.count_nonzero(is_there) < len(labels):
        raise _DefectError('has two elements with one label')


# -- the levels above ----------------------------------------------------------------------------


def _read_upper(file: _Summed, header: _Header, size: int) -> _Upper:
    """Find the elements above level 0 and check their sizes."""
    if size % 4:
        raise _DefectError('ends within a number')
    words = np.frombuffer(_read(file, size), np.uint32)
    per_level = header.max_links + 1
    heads = _heads(words, per_level)
    levels = words[heads].astype(np.int64) // (4 * per_level)
    if len(words) - levels.sum() * per_level != header.element_count:
        raise _DefectError(f'has more or fewer than {header.element_count:,} elements above level 0')
    before = np.cumsum(levels * per_level) - levels * per_level
    return _Upper(words, heads, heads - before, levels)


def _heads(words: _Words, per_level: int) -> _Numbers:
    """Return where in the last part of a file the sizes other than 0 are, those of whole levels."""
    used = np.flatnonzero(words)
    # To step over each link takes five times as long as over the few that look like sizes.
    likely = used[words[used] % (4 * per_level) == 0]
    heads, ends, end = [], [], 0
    for at, stop in zip(likely.tolist(), (likely + 1 + words[likely] // 4).tolist(), strict=True):
        if at >= end:
            heads.append(at)
            ends.append(end := stop)
    if end > len(words):
        raise _DefectError('ends within the links of an element')
    if (np.searchsorted(used, ends) - np.searchsorted(used, heads)).sum() < len(used):
        raise _DefectError('has an element with a part of a level')
    return np.array(heads, np.int64)


def _check_upper(upper: _Upper, header: _Header) -> None:
    level_of = np.zeros(header.element_count, np.int64)
    level_of[upper.elements] = upper.levels
    if header.element_count and level_of[header.enterpoint] != header.max_level:
        raise _DefectError(f'has an entry point that is not on level {header.max_level}')
    if level_of.max(initial=0) > max(header.max_level, 0):
        raise _DefectError(f'has an element above level {header.max_level}')
    for level in range(1, header.max_level + 1):
        elements, lists = _on_level(level, upper, header)
        if lists[:, 0].max() > header.max_links:
            raise _DefectError(f'has an element with more than {header.max_links:,} links on level {level}')
        links = _links(elements, lists)
        if links.max() >= header.element_count:
            raise _DefectError(f'has a link on level {level} to an element that is not there')
        if (level_of[links] < level).any():
            raise _DefectError(f'has a link on level {level} to an element that is not on it')


def _on_level(level: int, upper: _Upper, header: _Header) -> tuple[_Numbers, _Words]:
    """Return the elements (n,) on a level above 0, and for each how many links it has, and its links (n, 1 + M)."""
    is_on = upper.levels >= level
    starts = upper.heads[is_on] + 1 + (level - 1) * (header.max_links + 1)
    return upper.elements[is_on], np.lib.stride_tricks.sliding_window_view(upper.words, header.max_links + 1)[starts]


def _links(elements: _Numbers, lists: _Words) -> _Words:
    """Return to which elements these (n,) link, shape (n, places): in unused places, to themselves."""
    is_used = np.arange(lists.shape[1] - 1) < (lists[:, :1] & 0xFFFF)
    return np.where(is_used, lists[:, 1:], elements[:, None].astype(np.uint32))


# -- few links ----------------------------------------------------------------------------------


def scarcely_linked(path: Path, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """
    Return the labels of the elements to which at most so many others link on level 0.

    Args:
        path: A sound graph file.
        most: How many.
    """
    with path.open('rb') as file:
        header = _Header(*_HEADER.unpack(_read(file, _HEADER.size)))
        links = np.zeros(header.element_count, np.int64)
        labels = np.empty(header.element_count, np.int64)
        start = 0
        for records in _records(file, header):
            some = np.arange(start, start + len(records))
            targets = _links(some, records[:, : 1 + header.max_links0])
            np.add.at(links, targets[targets != some[:, None]], 1)
            labels[some] = np.ascontiguousarray(records[:, -2:]).view(np.int64)[:, 0]
            start += len(records)
    return labels[links <= most]
