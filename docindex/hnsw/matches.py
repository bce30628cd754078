"""What is known of the documents that match a filter, kept from one query to the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from ..distances import Labels
from .conditions import Where
from .labels import Flags

_CACHED = 32


@dataclass
class Matches:
    """
    What is known of the documents that match a filter.

    Attributes:
        commits: As of which commit.
        count: How many there are, or a number below that.
        is_exact: Whether `count` is how many.
        labels: All of them, ascending; None: not fetched.
        share: Which share of the nearest neighbours of the last query matched.
        asked: How many neighbours have been looked up since.
    """

    commits: int
    count: int = 0
    is_exact: bool = False
    labels: Labels | None = None
    share: float | None = None
    asked: int = 0
    _is_match: Flags | None = field(default=None, repr=False)

    def flags(self, next_label: int) -> Flags | None:
        """Return for each label below `next_label` whether it matches; None if they were not fetched."""
        if self.labels is not None and self._is_match is None:
            is_match = np.zeros(next_label, bool)
            is_match[self.labels] = True
            self._is_match = is_match
        return self._is_match


class MatchCache:
    """What is known of the last filters, so that the same filter need not be counted for each query."""

    def __init__(self) -> None:
        self._known: OrderedDict[Where, Matches] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, where: Where, commits: int) -> Matches:
        """Return what is known at a commit."""
        with self._lock:
            known = self._known.pop(where, None)
            if known is None or known.commits != commits:
                known = Matches(commits, share=known.share if known else None)
            self._known[where] = known
            if len(self._known) > _CACHED:
                self._known.popitem(last=False)
            return known
