"""
Large pages of memory for graphs.

A search jumps about in its graph, and with pages of 4 KiB the processor has to look up the address of nearly each
vector anew. Linux has pages of 2 MiB, but by default gives them only to who asks (`madvise` in
/sys/kernel/mm/transparent_hugepage/enabled), and hnswlib does not. Asked for, a search of 300,000 x 128 takes 0.80 of
the time, one of 20,000 x 384 0.91, and building both 0.88 (`benchmarks/hugepages.py`).

hnswlib does not say where its memory is, so that what the process has got from the kernel in the meantime is taken for
it. This is advice: nothing but speed changes for memory of others that comes in between. Where there is no such advice
(other systems, older kernels) nothing is done.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

_PAGE = 2 << 20
_MADV_COLLAPSE = 25  # of Linux 6.1; the mmap module has it from Python 3.13 on
_LARGE = 8 << 20
"""Bytes from which on memory is worth it: less is in the processor's caches anyway."""
# Seconds before pages are made large: while it does that, the kernel keeps the process from its memory. What was asked
# as soon as 20,000 x 384 were loaded took 6 ms instead of 2.
_GRACE = 0.5

Area = tuple[int, int]
"""Where memory begins, and where it ends."""


class HugePages:
    """
    Asks for large pages for what is allocated inside the block; for what is filled there already, soon after it.

    Args:
        size: About how many bytes will be allocated.
        is_filled: Whether they will also be written. Then their pages are made into large ones by a thread in the
            background, half a second later; it takes several milliseconds for each MB, and the kernel itself would take
            minutes.
        is_wanted: Returns whether that is still of use.
    """

    def __init__(self, size: int, is_filled: bool = False, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self._can_ask = size >= _LARGE and _madvise() is not None
        self._is_filled = is_filled
        self._is_wanted = is_wanted
        self._before: list[Area] = []

    def __enter__(self) -> None:
        if self._can_ask:
            try:
                self._before = _areas()
            except OSError:  # a container without /proc
                self._can_ask = False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or not self._can_ask:
            return
        new = [area for area in _without(_areas(), self._before) if area[1] - area[0] >= _LARGE]
        for start, end in new:
            _advise(start, end - start, mmap.MADV_HUGEPAGE)
        if self._is_filled and new:
            with suppress(RuntimeError):  # there may be as many threads as this process may have
                threading.Thread(target=self._collapse, args=(new,), name='docindex-hugepages', daemon=True).start()

    def _collapse(self, areas: list[Area]) -> None:
        time.sleep(_GRACE)
        for start, end in areas:
            for page in range(-(-start // _PAGE) * _PAGE, end - _PAGE + 1, _PAGE):
                if not self._is_wanted():
                    return
                if _is_mostly_there(page):
                    _advise(page, _PAGE, _MADV_COLLAPSE)


def _areas() -> list[Area]:
    """Return the memory of this process that belongs to no file, ascending."""
    areas: list[Area] = []
    with open('/proc/self/maps', encoding='utf-8', errors='replace') as file:  # noqa: PTH123 (faster, and no path)
        for line in file:
            where, permissions, *_, inode = line.split(maxsplit=5)[:5]
            if inode == '0' and permissions.startswith('rw'):
                start, _, end = where.partition('-')
                areas.append((int(start, 16), int(end, 16)))
    return areas


def _without(areas: list[Area], others: list[Area]) -> list[Area]:
    """Return the parts of areas that are in no other; both are ascending."""
    left: list[Area] = []
    for start, end in areas:
        for other_start, other_end in others:
            if other_end <= start or other_start >= end:
                continue
            if other_start > start:
                left.append((start, other_start))
            start = max(start, other_end)
        if start < end:
            left.append((start, end))
    return left


def _is_mostly_there(page: int) -> bool:
    """Return whether most of a large page has been written: the rest would be filled up with zeros."""
    small = (ctypes.c_ubyte * (_PAGE // mmap.PAGESIZE))()
    if _libc().mincore(ctypes.c_void_p(page), ctypes.c_size_t(_PAGE), small):
        return False  # it is not there any more
    return sum(one & 1 for one in small) > len(small) // 2


def _advise(start: int, size: int, advice: int) -> None:
    madvise = _madvise()
    if madvise is not None:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)  # what the kernel says does not matter


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


@cache
def _madvise() -> Any:
    if sys.platform != 'linux' or not hasattr(mmap, 'MADV_HUGEPAGE'):
        return None
    return getattr(_libc(), 'madvise', None)
