"""
Writes on their way to one commit: planned, staged one after another, and not seen by anybody else before it.

Vectors go to the end of their files and rows into an SQLite transaction. What is staged and not committed leaves
nothing behind: the transaction is rolled back, and the next one writes over the vectors (I3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import QueryError
from ..tensors import Float32Array
from .labels import Flags, LabelTable
from .rows import Change, Row
from .sidecar import Sidecar
from .state import State, View


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
        self._is_torn = False
        self.change = Change(state.labels.next)
        self.is_empty = True

    @property
    def added(self) -> int:
        """How many labels it gives."""
        return self.change.next_label - self._first

    @property
    def labels(self) -> LabelTable:
        """The labels as they are once this is committed."""
        if self.is_empty:
            return self._state.labels
        if self._labels is None:  # copied for the second call and for a look; a single write never needs it
            labels = self._state.labels.copy()
            labels.publish(self.change.next_label, self.change.buried, self.change.absences)
            self._labels = labels
        return self._labels

    def view(self) -> View:
        """Return what the thread that makes the changes sees of them."""
        return View(self._state, self._sidecar.rows, self.labels)

    def put(self, rows: Sequence[Row], vectors: Mapping[str, Vectors]) -> None:
        """
        Stage documents, each new or in the place of the one with its id.

        Args:
            rows: The documents; no id twice.
            vectors: For each vector field, their vectors in the same order.
        """
        change, new = self._plan(rows, vectors)
        try:
            for field, given in vectors.items():
                matrix = given.matrix if len(new) == len(rows) else given.matrix[new]
                self._state.files[field].write(self.labels.next, matrix)
            self._stage(change)
        except BaseException:
            if not self._is_synced:
                self._state.cut_back(self.labels.next)
            raise

    def remove(self, labels: Sequence[int]) -> None:
        """Stage the end of the documents with these labels."""
        self._stage(Change(self.labels.next, buried=list(labels)))

    def sync(self) -> None:
        """Wait until the vectors are on the disk, which the commit is going to mention (I2)."""
        if self.added:
            for file in self._state.files.values():
                file.sync()

    def check_whole(self) -> None:
        """
        Check that SQLite and memory agree on what has been staged.

        Raises:
            QueryError: a call was interrupted between the two.
        """
        if self._is_torn:
            raise QueryError('a call in this batch was interrupted; nothing of the batch is stored')

    def _stage(self, change: Change) -> None:
        self.check_whole()
        self._is_torn = True
        try:
            self._sidecar.apply(change, self._state.fields)
        except Exception:  # but not Ctrl-C, which may have come just after it
            self._is_torn = False
            raise
        if self._labels is not None:
            self._labels.publish(change.next_label, change.buried, change.absences)
        self.is_empty = False
        self.change.next_label = change.next_label
        self.change.buried.extend(change.buried)
        for field, labels in change.absences.items():
            self.change.absences.setdefault(field, []).extend(labels)
        self._is_torn = False

    def _plan(self, rows: Sequence[Row], vectors: Mapping[str, Vectors]) -> tuple[Change, list[int]]:
        """
        Decide which documents need a new version, and give those a label.

        Returns the change, and the positions of the rows with a new version, in the order of their labels.
        """
        known = self._sidecar.rows.labels_of([row.id for row in rows]) if self.labels.documents else {}
        same = self._unchanged_vectors(rows, vectors, known)
        new = [position for position in range(len(rows)) if position not in same]
        first = self.labels.next
        absent = {field: np.flatnonzero(~given.is_present[new]) + first for field, given in vectors.items()}
        change = Change(
            first + len(new),
            inserted=[rows[position] for position in new],
            rewritten=[(known[rows[position].id], rows[position]) for position in sorted(same)],
            buried=[known[rows[position].id] for position in new if rows[position].id in known],
            absences={field: labels.tolist() for field, labels in absent.items() if len(labels)},
        )
        return change, new

    def _unchanged_vectors(
        self, rows: Sequence[Row], vectors: Mapping[str, Vectors], known: Mapping[str, int]
    ) -> set[int]:
        """Return the positions of the documents that exist with just these vectors: they need no work in a graph."""
        positions = [position for position, row in enumerate(rows) if row.id in known]
        labels = np.array([known[rows[position].id] for position in positions], np.int64)
        is_same = np.ones(len(positions), bool)
        for field, given in vectors.items():
            had_one = np.array([self.labels.has_vector(field, label) for label in labels.tolist()], bool)
            file = self._state.files[field]
            # As bits: -0.0 is not 0.0 when a vector is to come back as it was given.
            has_same = (file.peek(labels).view(np.uint32) == given.matrix[positions].view(np.uint32)).all(axis=1)
            has_same &= ~np.isin(labels, file.damaged(labels[has_same]))  # what is damaged is to be written anew
            is_same &= (had_one == given.is_present[positions]) & has_same
        return {position for position, same in zip(positions, is_same.tolist(), strict=True) if same}
