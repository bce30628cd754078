"""What is known of the documents that match a filter, kept from one query to the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from ..distances import Labels
from .conditions import Where
from .labels import Flags
from .scan import Gathered

_CACHED = 32
_CACHED_LABELS = 1 << 22  # 9 bytes each


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
        scans: How often all of them have been compared with a query.
        gathered: Their vectors, by field; for the last filters only.
    """

    commits: int
    count: int = 0
    is_exact: bool = False
    labels: Labels | None = None
    share: float | None = None
    asked: int = 0
    scans: int = 0
    gathered: dict[str, Gathered] = field(default_factory=dict, repr=False)
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
            labels = sum(len(other.labels) for other in self._known.values() if other.labels is not None)
            while len(self._known) > 1 and (len(self._known) > _CACHED or labels > _CACHED_LABELS):
                _, oldest = self._known.popitem(last=False)
                labels -= 0 if oldest.labels is None else len(oldest.labels)
            return known

    def keep(self, matches: Matches, name: str, gathered: Gathered, most: int) -> None:
        """Keep the vectors of matches in a field, and of others so many that there are no more than `most` numbers."""
        with self._lock:
            matches.gathered[name] = gathered
            size = 0
            for known in reversed(self._known.values()):
                size += sum(one.vectors.size for one in known.gathered.values())
                if known is not matches and size > most:
                    known.gathered.clear()
