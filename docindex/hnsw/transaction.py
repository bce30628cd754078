"""
Writes on their way to one commit: planned, staged one after another, and not seen by anybody else before it.

Vectors go to the end of their files and rows into an SQLite transaction. What is staged and not committed leaves
nothing behind: the transaction is rolled back, and the next one writes over the vectors (I3).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import QueryError
from ..tensors import Float32Array
from .fieldtable import FieldTables
from .labels import Flags, LabelTable
from .records import Change, Row
from .rows import Rows
from .sidecar import Sidecar
from .state import State, View
from .unsynced import Written, secure


@dataclass(frozen=True)
class Vectors:
    """
    The vectors of a batch in one field.

    Attributes:
        matrix: Shape (documents, dim), float32; zeros where there is none.
        is_present: Shape (documents,): which documents have one.
    """

    matrix: Float32Array
    is_present: Flags


@dataclass(frozen=True)
class Part:
    """
    Documents of one level that are stored together.

    Attributes:
        level: The level.
        rows: The documents; no id twice.
        vectors: For each vector field of the level, their vectors in the same order; none, if all of them exist, and
            keep theirs.
    """

    level: int
    rows: Sequence[Row]
    vectors: Mapping[str, Vectors]


class Lists(Enum):
    """What becomes of the lists of documents that are stored."""

    REPLACED = 'their lists become what is stored with them'
    KEPT = 'their lists stay as they are'
    EXTENDED = 'they are new, and come to the lists of documents that are there'


class TakenIdError(Exception):
    """
    A document in a list has the id of one in a list of another document.

    Attributes:
        level: Their level.
        row: The document.
        owner: The id of the document in whose list the other one is.
    """

    def __init__(self, level: int, row: Row, owner: str) -> None:
        super().__init__(row.id)
        self.level = level
        self.row = row
        self.owner = owner


class Transaction:
    """
    What has been staged since the SQLite transaction began.

    Attributes:
        change: All of it together, without the rows: what `State.publish` takes once it is committed.
        is_empty: Whether nothing has been staged.
    """

    def __init__(self, state: State, sidecar: Sidecar, is_synced: bool = True) -> None:
        self._state = state
        self._is_synced = is_synced
        self._sidecar = sidecar
        self._labels: LabelTable | None = None
        self._first = state.labels.next
        self._last_level = state.labels.last_level
        self._is_torn = False
        self._written: list[Written] = []
        self.change = Change(state.labels.next)
        self.is_empty = True

    @property
    def added(self) -> int:
        """How many labels it gives."""
        return self.change.next_label - self._first

    def view(self) -> View:
        """Return what the thread that makes the changes sees of them."""
        if self.is_empty:
            return View(self._state, self._sidecar.rows)
        if self._labels is None:  # copied for the first look; writes alone never need it
            change, labels = self.change, self._state.labels.copy()
            labels.publish(change.next_label, change.buried, change.absences, change.runs)
            self._labels = labels
        return View(self._state, self._sidecar.rows, self._labels)

    # -- staging -----------------------------------------------------------------------------------

    def put(self, parts: Iterable[Part], lists: Lists = Lists.REPLACED) -> None:
        """
        Stage documents, each new or in the place of the one with its id, and those in their lists; all or none.

        Args:
            parts: The documents, each before those in its lists. They may be made while they are stored.
            lists: What becomes of their lists.

        Raises:
            TakenIdError: an id is taken by a document in a list of another one.
        """
        with self._whole():
            self._put_all(parts, lists)

    def extend(self, parts: Iterable[Part], level: int, counts: Mapping[int, int]) -> None:
        """
        Stage new documents in the lists of documents that are there.

        Args:
            parts: The new documents, and those in their lists.
            level: The level of those that are there.
            counts: How many their lists get, by label.

        Raises:
            TakenIdError: an id is taken.
        """
        with self._whole():
            self._put_all(parts, Lists.EXTENDED)
            self._stage(Change(self.change.next_label, recounted=dict(counts), level=level))

    def remove(self, labels: Sequence[int], level: int = 0) -> None:
        """Stage the end of the documents of a level with these labels, and of those in their lists."""
        with self._whole():
            if level:
                self._recount(level, labels)
            self._remove(level, labels)

    def note(self, key: str, value: str) -> None:
        """Stage a note."""
        with self._whole():
            self._stage(Change(self.change.next_label, notes={key: value}))

    def secure(self) -> None:
        """Let the commit that is to come bring the vectors to the disk, or wait until they are there (I2)."""
        secure(self._sidecar, self._state.files, self._written)

    def check_whole(self) -> None:
        """
        Check that SQLite and memory agree on what has been staged.

        Raises:
            QueryError: a call was interrupted between the two.
        """
        if self._is_torn:
            raise QueryError('a call in this batch was interrupted; nothing of the batch is stored')

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Let what is staged inside be staged whole, or not at all."""
        self.check_whole()
        change = self.change
        next_label, last_level, was_empty = change.next_label, self._last_level, self.is_empty
        buried, runs, written = len(change.buried), len(change.runs), len(self._written)
        absent = {field: len(labels) for field, labels in change.absences.items()}
        self._is_torn = True
        try:
            with self._sidecar.whole():
                yield
        except Exception:  # but not Ctrl-C, which may have come just after it
            del change.buried[buried:], change.runs[runs:], self._written[written:]
            change.absences = {field: change.absences[field][:length] for field, length in absent.items()}
            change.next_label, self._last_level, self.is_empty, self._labels = next_label, last_level, was_empty, None
            self._is_torn = False
            if not self._is_synced:
                self._state.cut_back(next_label)
            raise
        self._is_torn = False

    def _put_all(self, parts: Iterable[Part], lists: Lists) -> None:
        ends = _Ends(self._sidecar.rows, self._state.fields, lists)
        for part in parts:
            self._put(part, ends)
        for level, labels in ends.left_over():
            self._stage(Change(self.change.next_label, buried=labels, level=level))

    def _put(self, part: Part, ends: _Ends) -> None:
        known: dict[str, int] = {}
        if self._state.labels.documents(part.level) or not self.is_empty:
            known = self._sidecar.rows.labels_of([row.id for row in part.rows], part.level)
        ends.note(part, known)
        change, new = self._plan(part, known)
        for field, given in part.vectors.items():
            matrix = given.matrix if len(new) == len(part.rows) else given.matrix[new]
            self._state.files[field].write(self.change.next_label, matrix)
            self._written.append(Written(field, self.change.next_label, len(matrix)))
        self._stage(change)

    def _remove(self, level: int, labels: Sequence[int]) -> None:
        rows = self._sidecar.rows
        if not labels:
            return
        for inner in self._state.fields.below(level):
            self._remove(inner, rows.child_labels(inner, list(rows.ids_of(labels).values())))
        self._stage(Change(self.change.next_label, buried=list(labels), level=level))

    def _recount(self, level: int, labels: Sequence[int]) -> None:
        """Stage that documents leave the lists they are in."""
        outer = self._state.fields.outer(level)
        if outer is None:
            return
        counts = Counter(place.parent for place in self._sidecar.rows.places(labels).values())
        known = self._sidecar.rows.labels_of(list(counts), outer)
        fewer = {label: -counts[parent] for parent, label in known.items()}
        self._stage(Change(self.change.next_label, recounted=fewer, level=outer))

    def _stage(self, change: Change) -> None:
        self._sidecar.apply(change, self._state.fields[change.level])
        if self._labels is not None:
            self._labels.publish(change.next_label, change.buried, change.absences, change.runs)
        self.is_empty = False
        if change.inserted:
            self._last_level = change.level
        self.change.next_label = change.next_label
        self.change.buried.extend(change.buried)
        self.change.runs.extend(change.runs)
        for field, labels in change.absences.items():
            self.change.absences.setdefault(field, []).extend(labels)

    def _plan(self, part: Part, known: Mapping[str, int]) -> tuple[Change, list[int]]:
        """
        Decide which documents need a new version, and give those a label.

        Returns the change, and the positions of the rows with a new version, in the order of their labels.
        """
        rows = part.rows
        same = self._unchanged_vectors(part, known)
        new = [position for position in range(len(rows)) if position not in same]
        first = self.change.next_label
        absent = {field: np.flatnonzero(~given.is_present[new]) + first for field, given in part.vectors.items()}
        change = Change(
            first + len(new),
            inserted=[rows[position] for position in new],
            rewritten=[(known[rows[position].id], rows[position]) for position in sorted(same)],
            buried=[known[rows[position].id] for position in new if rows[position].id in known],
            absences={field: labels.tolist() for field, labels in absent.items() if len(labels)},
            runs=[(first, part.level)] if new and part.level != self._last_level else [],
            level=part.level,
        )
        return change, new

    def _unchanged_vectors(self, part: Part, known: Mapping[str, int]) -> set[int]:
        """Return the positions of the documents that exist with just these vectors: they need no work in a graph."""
        if not known:
            return set()
        positions = [position for position, row in enumerate(part.rows) if row.id in known]
        labels = np.array([known[part.rows[position].id] for position in positions], np.int64)
        is_same = np.ones(len(positions), bool)
        for field, given in part.vectors.items():
            had_one = np.array([self._has_vector(field, label) for label in labels.tolist()], bool)
            file = self._state.files[field]
            # As bits: -0.0 is not 0.0 when a vector is to come back as it was given.
            has_same = (file.peek(labels).view(np.uint32) == given.matrix[positions].view(np.uint32)).all(axis=1)
            if has_same.any():  # what is damaged is to be written anew
                has_same &= ~np.isin(labels, file.damaged(labels[has_same]))
            is_same &= (had_one == given.is_present[positions]) & has_same
        return {position for position, same in zip(positions, is_same.tolist(), strict=True) if same}

    def _has_vector(self, field: str, label: int) -> bool:
        if label < self._first:
            return self._state.labels.has_vector(field, label)
        absent = self.change.absences.get(field, [])  # this transaction's own: ascending, as labels are given
        at = bisect_left(absent, label)
        return absent[at : at + 1] != [label]


class _Ends:
    """
    Which documents in lists end, because the lists are replaced.

    At first these are all that are in lists of the documents that are stored, at any depth; those that are stored anew
    are no longer among them.
    """

    def __init__(self, rows: Rows, fields: FieldTables, lists: Lists) -> None:
        self._rows = rows
        self._fields = fields
        self._lists = lists
        self._labels: dict[int, set[int]] = {}
        self._top: int | None = None

    def note(self, part: Part, known: Mapping[str, int]) -> None:
        """Take note of documents before they are stored; `known` are the labels of those that exist."""
        level = part.level
        self._top = level if self._top is None else self._top
        if level and known:
            self._check_owners(part, known)
        if level in self._labels:
            self._labels[level].difference_update(known.values())
        if level == self._top and self._lists is Lists.REPLACED:
            self._add_below(level, list(known))

    def _add_below(self, level: int, ids: list[str]) -> None:
        for inner in self._fields.below(level) if ids else ():
            labels = self._rows.child_labels(inner, ids)
            self._labels.setdefault(inner, set()).update(labels)
            self._add_below(inner, list(self._rows.ids_of(labels).values()))

    def _check_owners(self, part: Part, known: Mapping[str, int]) -> None:
        """Check that the documents that exist are in lists that are replaced, or stay where they are."""
        mine = self._labels.get(part.level, set())
        others = [label for label in known.values() if label not in mine]
        # A damaged place would be written again, with a checksum that is right.
        places = self._rows.checked_places(others) if others else {}
        for row in part.rows:
            place = places.get(known.get(row.id, -1))
            if place is not None and (place.parent != row.parent or self._lists is Lists.EXTENDED):
                raise TakenIdError(part.level, row, place.parent)

    def left_over(self) -> Iterator[tuple[int, list[int]]]:
        """Yield the labels of those that end, level by level."""
        for level, labels in sorted(self._labels.items()):
            if labels:
                yield level, sorted(labels)
