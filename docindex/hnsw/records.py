"""Records of the SQLite file: what is written to it, and what is read from it before it becomes a document."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CHECK, CorruptIndexError


class Row(NamedTuple):
    """
    One stored document.

    Attributes:
        id: Its id.
        data: Its JSON as UTF-8.
        tensors: Its tensors as bytes.
        fields: Its columns in `fields`.
        parent: The id of the document in whose list it is; None: it is in none.
        position: Documents in a list come in the order of these.
        children: How many documents are in its lists.
    """

    id: str
    data: bytes
    tensors: bytes | None
    fields: tuple[Any, ...] = ()
    parent: str | None = None
    position: int = 0
    children: int = 0

    def checksum(self) -> int:
        """Return the CRC-32 of the JSON, which has the id in it, the tensors, and the place in a list."""
        return row_checksum(self.data, self.tensors, self.parent, self.position)


def row_checksum(
    data: bytes | None, tensors: bytes | None, parent: str | None = None, position: int | None = None
) -> int:
    """Return the CRC-32 of a row's JSON, tensors, and place in a list."""
    checksum = zlib.crc32(data or b'')
    if tensors is not None:
        # In a damaged row anything may stand here.
        checksum = zlib.crc32(tensors, checksum) if isinstance(tensors, bytes) else ~checksum & 0xFFFFFFFF
    return checksum if parent is None else zlib.crc32(f'{parent}\0{position}'.encode(errors='replace'), checksum)


class ScannedRow(NamedTuple):
    """A row as it is on the disk, damaged or not."""

    label: int
    level: int
    id: str
    data: bytes
    tensors: bytes | None
    is_damaged: bool


class StoredRow(NamedTuple):
    """A document as its row has it, unchecked."""

    label: int
    parent: str | None
    id: str | None
    data: bytes
    tensors: bytes | None
    position: int
    children: int
    checksum: int

    def content(self, path: Path) -> tuple[bytes, bytes | None]:
        """
        Return the JSON and the tensors.

        Raises:
            CorruptIndexError: they do not match the checksum.
        """
        if row_checksum(self.data, self.tensors, self.parent, self.position) != self.checksum:
            raise mismatch(self.label, path)
        return self.data, self.tensors


class PackedRows(Sequence[Any]):
    """
    The rows of documents in one list, as for a `StoredRow`; of documents without lists.

    SQLite hands them over as a few long values, which takes half the time that as many values as there are would.

    Raises (where a row is asked for):
        CorruptIndexError: they make no sense.
    """

    def __init__(self, packed: Sequence[Any], tensors: Mapping[int, bytes], path: Path) -> None:
        self._packed = packed
        self._tensors = tensors
        self._path = path
        self._rows: list[Any] | None = None

    def __len__(self) -> int:
        return int(self._packed[1])

    def __getitem__(self, at: Any) -> Any:
        if self._rows is None:
            try:
                self._rows = sorted(self._unpacked(), key=itemgetter(5))
            except (ValueError, AttributeError, TypeError) as error:
                raise CorruptIndexError('the rows of a list cannot be read', self._path, CHECK) from error
        return self._rows[at]

    def _unpacked(self) -> Iterator[Any]:
        parent, count, labels, positions, checksums, lengths, data, _ = self._packed
        columns = [list(map(int, text.split(','))) for text in (labels, positions, checksums, lengths)]
        start = 0
        for label, position, checksum, length in zip(*columns, strict=True):
            text = data[start : start + length]
            yield label, parent, None, text, self._tensors.get(label), position, 0, checksum
            start += length
        if start != len(data) or len(columns[0]) != count:
            raise ValueError(f'{len(columns[0])} rows of {count}')


class Place(NamedTuple):
    """Where a document in a list stands."""

    label: int
    parent: str
    position: int


@dataclass
class Change:
    """
    What a write does to documents of one level.

    Attributes:
        next_label: The first label that is free afterwards.
        inserted: New versions; their labels are the last ones before `next_label`, in this order.
        rewritten: Documents that change without a new version, by label.
        buried: Labels of versions that end: of deleted documents, and of replaced ones.
        absences: Per field, the labels among the inserted that have no vector in it.
        recounted: How many documents more or less are in the lists of others, by their labels.
        runs: The labels from which on all are of a level, and which, if that changes among the inserted.
        level: Their level.
        notes: What is noted with it, by key.
    """

    next_label: int
    inserted: list[Row] = field(default_factory=list)
    rewritten: list[tuple[int, Row]] = field(default_factory=list)
    buried: list[int] = field(default_factory=list)
    absences: dict[str, list[int]] = field(default_factory=dict)
    recounted: dict[int, int] = field(default_factory=dict)
    runs: list[tuple[int, int]] = field(default_factory=list)
    level: int = 0
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """What is known of a graph file: enough to trust it, and to know what came after it."""

    field: str
    file: str
    size: int
    checksum: int
    covered: int
    buried: int
    dead: int
    twins: str
    strays: str
    settings: str


def snapshot_checksum(row: Sequence[Any]) -> int:
    """Return the CRC-32 of what is known of a graph file."""
    return zlib.crc32(json.dumps([repr(value) for value in row]).encode())


def mismatch(label: int, path: Path) -> CorruptIndexError:
    """Return the error for a row that is damaged."""
    return CorruptIndexError(f'the document with label {label} does not match its checksum', path, CHECK)
