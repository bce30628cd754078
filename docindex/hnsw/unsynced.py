"""
Rows of vector files that the disk may not have yet, and what keeps a power cut from taking them (I2 in `store`).

To wait for a vector file as well as for SQLite would double what a small write takes. So the rows of small writes are
written to their file and not synced, and copies of them go into the very commit. After a power cut the next opening
puts back what the file lacks (`VectorFile`). Now and then the files are synced, and the copies are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .sidecar import Sidecar
from .vectors import VectorFile

_SMALL = 64 << 10
"""Bytes of a write that is not worth a sync."""
_MOST = 1 << 20
"""Bytes of copies at which the files are synced."""


class Written(NamedTuple):
    """
    Rows that were written to a vector file.

    Attributes:
        field: The field.
        first: The first label.
        rows: How many.
    """

    field: str
    first: int
    rows: int


def secure(sidecar: Sidecar, files: Mapping[str, VectorFile], written: Sequence[Written]) -> None:
    """
    Let what was written outlast a power cut from the moment at which SQLite commits the transaction it is in.

    Raises:
        WorkDirError: the disk has failed.
    """
    size = sum(files[field].stride * rows for field, _, rows in written)
    if not size:
        return
    known = sidecar.rows.unsynced_size()
    if size <= _SMALL and known + size <= _MOST:
        copies = (
            (field, label, row) for field, first, rows in written for label, row in files[field].copies(first, rows)
        )
        sidecar.keep_unsynced(copies, known)
        return
    _sync(sidecar, files, (field for field, _, _ in written))
    if known:
        sidecar.forget_unsynced()


def settle(sidecar: Sidecar, files: Mapping[str, VectorFile]) -> None:
    """
    Sync what is not synced yet, in a transaction of its own, so that no copies are needed.

    Raises:
        WorkDirError: the disk has failed.
    """
    if sidecar.rows.unsynced_size():
        _sync(sidecar, files)
        sidecar.record_synced()


def _sync(sidecar: Sidecar, files: Mapping[str, VectorFile], fields: Iterable[str] = ()) -> None:
    """Sync the files of `fields`, and those of which there are copies."""
    copies = sidecar.rows.unsynced()
    for field in sorted({*fields, *copies.keys() & files.keys()}):
        # Once more: if the kernel has tried to write them by itself and failed, it has told whoever asked first, and
        # takes them for written from then on.
        files[field].put_back(copies.get(field, {}))
        files[field].sync()
