"""One field's search: the graph's answer where it has one, and an exact scan for whatever it leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..distances import Labels, exact_search, nearest
from ..fields import VectorSettings
from ..tensors import Float32Array
from .graph import Graph, ShortAnswerError
from .labels import LabelTable
from .vectors import VectorFile

Found = tuple[Labels, Float32Array]
"""Labels and distances, both (q, k), nearest first."""

_SCAN_ROWS = 4096


@dataclass
class FieldSearch:
    """
    What is searched: one field, in the state in which it is found.

    Attributes:
        field: The vector field.
        settings: Its settings.
        graph: Its graph; None if it has none.
        file: Its vectors.
        labels: Which labels live.
    """

    field: str
    settings: VectorSettings
    graph: Graph | None
    file: VectorFile
    labels: LabelTable

    def nearest(self, queries: Float32Array, limit: int, exact: bool, ef: int | None) -> Found:
        """Return the `limit` vectors nearest to each query (q, dim), or all if there are fewer."""
        k = min(limit, self.labels.vectors(self.field))
        if k == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        graph = self.graph
        if exact or graph is None or graph.live == 0:
            return self._scan(queries, k, 0, self.labels.next)
        ef = ef or self.settings.search_ef(limit)
        if graph.covered == self.labels.next:
            return self._ask(graph, queries, k, ef)
        # What the graph does not follow yet is scanned (I5).
        ahead = len(self.labels.living(self.field, graph.covered, self.labels.next))
        found = self._ask(graph, queries, min(k, self.labels.vectors(self.field) - ahead), ef)
        return _merged(found, self._scan(queries, k, graph.covered, self.labels.next), k)

    def _ask(self, graph: Graph, queries: Float32Array, k: int, ef: int) -> Found:
        try:
            return graph.search(queries, k, ef)
        except ShortAnswerError:
            if len(queries) == 1:
                return self._scan(queries, k, 0, graph.covered)
            # One of them came back short; only that one needs the scan.
            each = [self._ask(graph, query[None], k, ef) for query in queries]
            return np.concatenate([labels for labels, _ in each]), np.concatenate([found for _, found in each])

    def _scan(self, queries: Float32Array, k: int, start: int, stop: int) -> Found:
        """Compare with every vector from label `start` to before `stop`; fewer than `k` if there are fewer."""
        return exact_search(queries, k, self.settings.space, self._blocks(start, stop))

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[Labels, Float32Array]]:
        for first in range(start, stop, _SCAN_ROWS):
            last = min(first + _SCAN_ROWS, stop)
            labels = self.labels.living(self.field, first, last)
            yield labels, self.file.block(first, last)[labels - first]


def _merged(some: Found, others: Found, k: int) -> Found:
    labels, distances = np.hstack([some[0], others[0]]), np.hstack([some[1], others[1]])
    rows = [nearest(*row, k) for row in zip(labels, distances, strict=True)]
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
