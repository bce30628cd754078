"""Which labels exist, which are dead, and which have no vector in a field: SQLite's knowledge, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..distances import Labels

Flags = np.ndarray[Any, np.dtype[np.bool_]]


class LabelTable:
    """
    The labels of a directory.

    A label below `next` belongs to a document, or it is dead; only a compaction uses it again.

    Attributes:
        next: The first free label.
        dead: The labels that ended, in order.
    """

    def __init__(self) -> None:
        self.next = 0
        self.dead: list[int] = []
        self._is_dead = FlagColumn()
        self._absent: dict[str, FlagColumn] = {}
        self._living_absent: dict[str, int] = {}

    def publish(self, next_label: int, buried: Sequence[int], absences: Mapping[str, Sequence[int]]) -> None:
        """Take over what a transaction has committed."""
        self.next = next_label
        for field, labels in absences.items():
            self._absent.setdefault(field, FlagColumn()).mark(labels)
            self._living_absent[field] = self._living_absent.get(field, 0) + len(labels)
        self.dead += buried
        self._is_dead.mark(buried)
        for field, absent in self._absent.items():
            self._living_absent[field] -= sum(absent.is_marked(label) for label in buried)

    def copy(self) -> LabelTable:
        """Return a table of its own with what this one knows."""
        other = LabelTable()
        other.next, other.dead = self.next, self.dead.copy()
        other._is_dead = self._is_dead.copy()
        other._absent = {field: flags.copy() for field, flags in self._absent.items()}
        other._living_absent = self._living_absent.copy()
        return other

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return self.next - len(self.dead)

    def vectors(self, field: str) -> int:
        """Return how many documents have a vector in a field."""
        return self.documents - self._living_absent.get(field, 0)

    def is_living(self, label: int) -> bool:
        """Return whether a label belongs to a document."""
        return not self._is_dead.is_marked(label)

    def is_any_dead(self, labels: Labels) -> bool:
        """Return whether one of these labels (n,) is dead."""
        return bool(self._is_dead.of(labels).any())

    def has_vector(self, field: str, label: int) -> bool:
        """Return whether a label, dead or alive, came with a vector in a field."""
        return field not in self._absent or not self._absent[field].is_marked(label)

    def living_documents(self) -> Labels:
        """Return all labels that belong to a document, ascending."""
        return np.flatnonzero(~self._is_dead.between(0, self.next))

    def absent(self, field: str, labels: Labels) -> Flags:
        """Return which of these labels have no vector in a field."""
        if field not in self._absent or not len(labels):
            return np.zeros(len(labels), bool)
        return self._absent[field].between(0, self.next)[labels]

    def absences(self) -> dict[str, list[int]]:
        """Return for each field the labels, dead or alive, without a vector."""
        return {field: np.flatnonzero(flags.between(0, self.next)).tolist() for field, flags in self._absent.items()}

    def living(self, field: str, start: int, stop: int) -> Labels:
        """Return the living labels from `start` to before `stop` that have a vector in a field."""
        is_out = self._is_dead.between(start, stop)
        if field in self._absent:
            is_out = is_out | self._absent[field].between(start, stop)
        return np.flatnonzero(~is_out) + start


class FlagColumn:
    """One flag for each label, unset for all until marked."""

    def __init__(self) -> None:
        self._flags: Flags = np.zeros(1024, bool)

    def copy(self) -> FlagColumn:
        """Return a column of its own with these flags."""
        other = FlagColumn()
        other._flags = self._flags.copy()
        return other

    def mark(self, labels: Sequence[int], flag: bool = True) -> None:
        """Set the flags of labels, or unset them."""
        if labels:
            self._grow(max(labels) + 1)
            self._flags[labels] = flag

    def is_marked(self, label: int) -> bool:
        """Return the flag of a label."""
        return label < len(self._flags) and bool(self._flags[label])

    def of(self, labels: Labels) -> Flags:
        """Return the flags of labels, in their shape."""
        self._grow(int(labels.max(initial=0)) + 1)
        return self._flags[labels]

    def between(self, start: int, stop: int) -> Flags:
        """Return a view of the flags from label `start` to before `stop`."""
        self._grow(stop)
        return self._flags[start:stop]

    def _grow(self, length: int) -> None:
        if length > len(self._flags):
            grown = np.zeros(max(length, 2 * len(self._flags)), bool)
            grown[: len(self._flags)] = self._flags
            self._flags = grown
