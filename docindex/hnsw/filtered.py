"""
Vector search among the documents that a filter lets through.

There are three ways, and what each takes depends on how many documents match and on where they lie:

* **scan**: fetch the labels that match, compare with each of their vectors. Right for few; always possible.
* **ask for more**: let the graph find more neighbours than wanted, and keep those that match. Right where many match.
* **bitmap**: let the graph walk on until it has found enough that match. Right in between, once the labels are known.

The filter is counted first, up to the number that a scan is best for. If there are more, the graph is asked for more
neighbours; how many of these match tells how the filter and the query lie to each other, whatever the filter matches
elsewhere. Where that is too few, the next step is the cheapest by the costs below. A scan comes last, so there are
always `limit` results if so many documents match.
"""

from __future__ import annotations

import numpy as np

from ..distances import Labels
from ..results import Step, Timed
from ..tensors import Float32Array
from .conditions import Where
from .graph import ShortAnswerError
from .labels import Flags
from .scan import Found, Gathered, gather
from .search import FieldSearch
from .state import View

# Microseconds, measured on 20,000 x 384 and 1,000,000 x 128 (benchmarks/filters.py). Only their ratios matter.
_ASKING = 3.5  # for a neighbour that the graph is asked for, and whether it matches;
_LOOKING_UP = 2.0  # the second half of that
_VISITING = 1.0  # for a node at which the graph looks at the bitmap
_FETCHING = 0.25  # for a label from SQLite
_SCANNING = 0.05  # for a vector ...
_SCANNING_NUMBER = 0.0006  # ... and for each number in it;
_SIDE_BY_SIDE = 0.3  # so much of that, if the vectors were copied

_FIRST_ASK = 100
_MARGIN = 1.5
_MOST_ASKED = 5_000
_GATHERED_SHARE = 8  # of all vectors an eighth is kept once more, at most


class FilteredSearch:
    """
    One field's search for what matches.

    Args:
        view: What is searched.
        name: The vector field.
        where: What matches.

    Attributes:
        steps: What has been done.
        matches: What is known by now of the documents that match.
        estimate: How many there are, at least, as far as was known when the way was chosen; None: it did not matter.
    """

    def __init__(self, view: View, name: str, where: Where) -> None:
        self._view = view
        self._search: FieldSearch = view.searching(name)
        self._where = where
        self._dim = self._search.settings.dim
        self.steps: list[Step] = []
        self.matches = view.matches(where)
        self.estimate: int | None = None

    def nearest(self, queries: Float32Array, limit: int, exact: bool, ef: int | None) -> Found:
        """Return the `limit` nearest to each query (q, dim) of the vectors that match, or all if there are fewer."""
        if exact or self._search.is_exact or self._are_few(limit):
            return self._scan(queries, limit)
        settings = self._search.settings
        ef = ef or settings.search_ef(limit)
        # Where the graph only gives candidates, of those that match there must be as many as `ef` says.
        wanted = max(limit, ef) if settings.is_reduced else limit
        found = [self._by_graph(query[None], wanted, ef) for query in queries]
        if not found:
            return np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        labels, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        return labels[:, :limit], scores[:, :limit]

    # -- how many ----------------------------------------------------------------------------------

    def _are_few(self, limit: int) -> bool:
        """Return whether so few match that a scan is best."""
        cutoff = self._cutoff(limit)
        matches = self.matches
        if not matches.is_exact and matches.count <= cutoff:
            with self._step(f'count matches, up to {cutoff + 1:,}'):
                matches.count = self._view.rows.count_where(self._where, cutoff + 1)
                matches.is_exact = matches.count <= cutoff
        self.estimate = matches.count
        return matches.count <= cutoff

    def _cutoff(self, limit: int) -> int:
        """Return up to how many matches a scan takes no longer than the graph, if they are spread evenly."""
        given = self._search.settings.flat_search_cutoff
        if given is not None:
            return given
        # Scanning m takes m * scan; the graph has to be asked for limit * vectors / m.
        vectors = self._view.labels.vectors(self._search.field)
        return max(limit, int((_ASKING * _MARGIN * limit * vectors / self._cost_of_scanning(1)) ** 0.5))

    def _cost_of_scanning(self, count: float) -> float:
        cost = _SCANNING + _SCANNING_NUMBER * self._dim
        if self._search.field in self.matches.gathered:
            return count * cost * _SIDE_BY_SIDE
        return count * (cost + (_FETCHING if self.matches.labels is None else 0))

    # -- the three ways ----------------------------------------------------------------------------

    def _scan(self, queries: Float32Array, limit: int) -> Found:
        labels = self._search.present(self._labels())
        gathered = self._gathered(labels)
        with self._step(f'scan: compare with {len(labels):,} matches'):
            return self._search.among(queries, limit, labels, gathered)

    def _gathered(self, labels: Labels) -> Gathered | None:
        """Return copies of the vectors of matches, which all have one, if they are few and scanned again."""
        name, matches = self._search.field, self.matches
        most = self._view.labels.next * self._dim // _GATHERED_SHARE
        if name not in matches.gathered and matches.scans and 0 < len(labels) * self._dim <= most:
            with self._step('copy the vectors of all matches'):
                self._view.keep(matches, name, gather(self._search.file, labels), most)
        matches.scans += 1
        return matches.gathered.get(name)

    def _by_graph(self, query: Float32Array, limit: int, ef: int) -> Found:
        # As many as would have been right the last time, if a scan does not cost less than that.
        expected = _MARGIN * limit / (self.matches.share or 1.0)
        ask = int(max(_FIRST_ASK, min(expected, self._cost_of_scanning(self.matches.count) / 2 / _ASKING)))
        while True:
            found, is_match = self._ask(query, ask, ef)
            matching = int(is_match.sum())
            self.matches.share = max(matching, 0.5) / max(len(is_match), 1)
            if matching >= limit or len(is_match) < ask:
                labels, distances = found
                return labels[:, is_match][:, :limit], distances[:, is_match][:, :limit]
            way, ask = self._next(ask, matching, limit, ef)
            if way == 'bitmap':
                return self._by_bitmap(query, limit, ef)
            if way == 'scan':
                return self._scan(query, limit)

    def _next(self, asked: int, matching: int, limit: int, ef: int) -> tuple[str, int]:
        """Return what to do after `matching` of `asked` neighbours were not enough, and how many to ask for."""
        share = max(matching, 0.5) / asked
        more = int(_MARGIN * limit / share)
        count, is_fetched = self._count(), self.matches.labels is not None
        costs = {'scan': self._cost_of_scanning(count)}
        if matching and more <= _MOST_ASKED:
            costs['ask for more'] = _ASKING * more
        if matching and (is_fetched or self.matches.asked > count):
            # What was spent on looking up neighbours would have paid for all labels by now.
            costs['bitmap'] = _VISITING * _examined(limit, share, ef) / share + (0 if is_fetched else _FETCHING * count)
        return min(costs, key=lambda way: costs[way]), more

    def _ask(self, query: Float32Array, ask: int, ef: int) -> tuple[Found, Flags]:
        with self._step(f'ask the graph for {ask:,} neighbours'):
            found = self._search.nearest(query, ask, False, max(ef, ask))
        flags = self._flags()
        if flags is not None:
            return found, flags[found[0][0]]
        with self._step(f'look up which of {found[0].shape[1]:,} match'):
            labels = found[0][0].tolist()
            matching = self._view.rows.among(self._where, labels)
            self.matches.asked += len(labels)
            return found, np.array([label in matching for label in labels], bool)

    def _flags(self) -> Flags | None:
        """Return for each label whether it matches, as soon as looking up neighbours has cost as much as that does."""
        if self.matches.labels is None and self.matches.asked:
            count = self._view.labels.vectors(self._search.field) * (self.matches.share or 1.0)
            if _LOOKING_UP * self.matches.asked > _FETCHING * count:
                self._labels()
        return self.matches.flags(self._view.labels.next)

    def _by_bitmap(self, query: Float32Array, limit: int, ef: int) -> Found:
        labels, flags = self._labels(), self.matches.flags(self._view.labels.next)
        if flags is None:
            return self._scan(query, limit)
        ef = _examined(limit, self.matches.share or 1.0, ef)
        try:
            with self._step(f'bitmap: walk the graph to {ef:,} of {len(labels):,} matches'):
                return self._search.by_graph_among(query, limit, ef, labels, flags)
        except ShortAnswerError:
            return self._scan(query, limit)

    # -- what they need ----------------------------------------------------------------------------

    def _count(self) -> int:
        if not self.matches.is_exact:
            with self._step('count all matches'):
                self.matches.count = self._view.rows.count_where(self._where)
                self.matches.is_exact = True
        return self.matches.count

    def _labels(self) -> Labels:
        if self.matches.labels is None:
            with self._step('fetch the labels of all matches'):
                level = self._view.state.fields.level_of(self._search.field)
                self.matches.labels = self._view.checked(self._view.rows.labels_where(self._where), level)
                self.matches.count, self.matches.is_exact = len(self.matches.labels), True
        return self.matches.labels

    def _step(self, what: str) -> Timed:
        return Timed(self.steps, what)


def _examined(limit: int, share: float, ef: int) -> int:
    """
    Return how many matches the graph is to examine with a bitmap.

    Fewer than without, for those that do not match help it on its way: with an `ef` of 100, recall@10 was 0.98 with
    50 where half of all match, with 20 at a tenth, and with 10 at 3 % and below.
    """
    return int(max(1.2 * limit, ef * share**0.5))
