"""Which labels exist, of which level, which are dead, and which have no vector: SQLite's knowledge, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..distances import Labels

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Runs = Sequence[tuple[int, int]]
"""Labels from which on all are of a level, and that level, ascending."""


class LabelTable:
    """
    The labels of a directory.

    A label below `next` belongs to a document, or it is dead; only a compaction uses it again. Documents of all levels
    share the labels: those that are indexed, and those in their lists.

    Attributes:
        next: The first free label.
        dead: The labels that ended, in order.

    Args:
        level_of: The level of each vector field; 0 where it is not named.
    """

    def __init__(self, level_of: Mapping[str, int] | None = None) -> None:
        self.next = 0
        self.dead: list[int] = []
        self._level_of = dict(level_of or {})
        self._levels = _Levels()
        self._is_dead = FlagColumn()
        self._absent: dict[str, FlagColumn] = {}
        self._living_absent: dict[str, int] = {}

    def publish(
        self, next_label: int, buried: Sequence[int], absences: Mapping[str, Sequence[int]], runs: Runs = ()
    ) -> None:
        """Take over what a transaction has committed; `runs` are the labels at which another level begins."""
        self._levels.extend(self.next, next_label, runs)
        self.next = next_label
        for field, labels in absences.items():
            if not labels:
                continue
            self._absent.setdefault(field, FlagColumn()).mark(labels)
            self._living_absent[field] = self._living_absent.get(field, 0) + len(labels)
        self.dead += buried
        self._is_dead.mark(buried)
        self._levels.bury(buried)
        for field, absent in self._absent.items():
            self._living_absent[field] -= sum(absent.is_marked(label) for label in buried)

    def copy(self) -> LabelTable:
        """Return a table of its own with what this one knows."""
        other = LabelTable(self._level_of)
        other.next, other.dead = self.next, self.dead.copy()
        other._levels = self._levels.copy()
        other._is_dead = self._is_dead.copy()
        other._absent = {field: flags.copy() for field, flags in self._absent.items()}
        other._living_absent = self._living_absent.copy()
        return other

    @property
    def last_level(self) -> int:
        """The level of the last label; what is published without a run goes on with it."""
        return self._levels.last

    @property
    def all_documents(self) -> int:
        """How many documents there are, of all levels."""
        return self.next - len(self.dead)

    def documents(self, level: int = 0) -> int:
        """Return how many documents of a level there are."""
        return self._levels.living(level)

    def vectors(self, field: str) -> int:
        """Return how many documents have a vector in a field."""
        return self.documents(self._level_of.get(field, 0)) - self._living_absent.get(field, 0)

    def rows_needed(self, field: str) -> int:
        """Return how many rows the vector file of a field has at least."""
        return self._levels.stop(self._level_of.get(field, 0))

    def is_of(self, level: int, label: int) -> bool:
        """Return whether a label is of a level."""
        return self._levels.is_of(level, label)

    def are_of(self, level: int, labels: Labels) -> Flags:
        """Return which of these labels (n,) are of a level."""
        return self._levels.are_of(level, labels)

    def is_living(self, label: int) -> bool:
        """Return whether a label belongs to a document."""
        return not self._is_dead.is_marked(label)

    def is_any_dead(self, labels: Labels) -> bool:
        """Return whether one of these labels (n,) is dead."""
        return bool(self._is_dead.of(labels).any())

    def has_vector(self, field: str, label: int) -> bool:
        """Return whether a label, dead or alive, came with a vector in a field."""
        if not self._levels.is_of(self._level_of.get(field, 0), label):
            return False
        return field not in self._absent or not self._absent[field].is_marked(label)

    def living_documents(self) -> Labels:
        """Return all labels that belong to a document, level by level, ascending in each."""
        living = np.flatnonzero(~self._is_dead.between(0, self.next))
        return self._levels.in_order(living)

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs that a table in which all labels come level by level has."""
        return self._levels.runs_of(np.arange(self.next))

    def runs_of(self, labels: Labels) -> list[tuple[int, int]]:
        """Return at which positions in `labels`, which are in that order, another level begins, and which."""
        return self._levels.runs_of(labels)

    def is_complete(self, field: str) -> bool:
        """Return whether every label that there ever was has a vector in a field."""
        return self._levels.is_flat and field not in self._absent and not self._level_of.get(field, 0)

    def absent(self, field: str, labels: Labels) -> Flags:
        """Return which of these labels have no vector in a field, which may be one of another level."""
        return np.asarray(~self.is_of_level(field, labels) | self.lacks_vector(field, labels))

    def is_of_level(self, field: str, labels: Labels) -> Flags:
        """Return which of these labels are of the level of a field."""
        return self._levels.are_of(self._level_of.get(field, 0), labels)

    def lacks_vector(self, field: str, labels: Labels) -> Flags:
        """Return which of these labels came without a vector in a field of theirs."""
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
        return self._levels.among(self._level_of.get(field, 0), is_out, start)


class _Levels:
    """
    The level of each label: one number for many, for labels are given out in runs.

    While all are of level 0, which is so wherever documents have no lists of documents, nothing is kept.
    """

    def __init__(self) -> None:
        self.last = 0
        self._numbers = np.zeros(0, np.int8)
        self._living: dict[int, int] = {}
        self._stops: dict[int, int] = {}
        self.is_flat = True

    def copy(self) -> _Levels:
        other = _Levels()
        other.last, other.is_flat = self.last, self.is_flat
        other._numbers = self._numbers.copy()
        other._living, other._stops = self._living.copy(), self._stops.copy()
        return other

    def extend(self, start: int, stop: int, runs: Runs) -> None:
        """Note the levels of the labels from `start` to before `stop`."""
        if self.is_flat and any(level for _, level in runs):
            self.is_flat, self._numbers = False, np.zeros(max(1024, start), np.int8)
        ends = [first for first, _ in runs] + [stop]
        for level, first, end in zip(
            [self.last, *(level for _, level in runs)], [start, *ends[:-1]], ends, strict=True
        ):
            if first == end:
                continue
            self._living[level] = self._living.get(level, 0) + end - first
            self._stops[level] = end
            if not self.is_flat:
                self._fill(first, end, level)
        self.last = runs[-1][1] if runs else self.last

    def _fill(self, start: int, stop: int, level: int) -> None:
        if stop > len(self._numbers):
            grown = np.zeros(max(stop, 2 * len(self._numbers)), np.int8)
            grown[: len(self._numbers)] = self._numbers
            self._numbers = grown
        self._numbers[start:stop] = level

    def bury(self, labels: Sequence[int]) -> None:
        if self.is_flat:
            self._living[0] = self._living.get(0, 0) - len(labels)
            return
        levels, counts = np.unique(self._numbers[np.asarray(labels, np.int64)], return_counts=True)
        for level, count in zip(levels.tolist(), counts.tolist(), strict=True):
            self._living[level] -= count

    def living(self, level: int) -> int:
        return self._living.get(level, 0)

    def stop(self, level: int) -> int:
        return self._stops.get(level, 0)

    def is_of(self, level: int, label: int) -> bool:
        return level == (0 if self.is_flat else self._numbers[label])

    def are_of(self, level: int, labels: Labels) -> Flags:
        """Return which labels (n,) are of a level."""
        if self.is_flat:
            return np.full(len(labels), level == 0)
        return np.asarray(self._numbers[labels] == level)

    def among(self, level: int, is_out: Flags, start: int) -> Labels:
        """Return the labels of a level, from `start` on, that are not out."""
        if self.is_flat:
            return np.flatnonzero(~is_out) + start if level == 0 else np.empty(0, np.int64)
        return np.flatnonzero((self._numbers[start : start + len(is_out)] == level) & ~is_out) + start

    def in_order(self, labels: Labels) -> Labels:
        return labels if self.is_flat else labels[np.argsort(self._numbers[labels], kind='stable')]

    def runs_of(self, labels: Labels) -> list[tuple[int, int]]:
        if self.is_flat:
            return []
        levels, firsts = np.unique(self._numbers[labels], return_index=True)
        return [(first, level) for level, first in zip(levels.tolist(), firsts.tolist(), strict=True) if level]


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
