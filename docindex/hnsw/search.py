"""One field's search: the graph's answer where it has one, and an exact scan for whatever it leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..distances import Labels, distances_to, nearest
from ..errors import CHECK, CorruptIndexError
from ..fields import VectorSettings
from ..tensors import Float32Array
from . import rescoring
from .graph import Graph, ShortAnswerError
from .labels import Flags, LabelTable
from .scan import Found, Gathered, scan
from .vectors import VectorFile

_BATCH = 1024


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

    @property
    def is_exact(self) -> bool:
        """Whether each search compares with every vector: there is no graph, or it hides too many of them."""
        return self.graph is None or self.graph.hides_many

    @property
    def strays(self) -> Labels:
        """The labels with which searches compare one by one, ascending."""
        return np.array([] if self.graph is None else self.graph.strays, np.int64)

    def nearest(self, queries: Float32Array, limit: int, exact: bool, ef: int | None) -> Found:
        """Return the `limit` vectors nearest to each query (q, dim), or all if there are fewer."""
        k = min(limit, self.labels.vectors(self.field))
        if k == 0:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        graph = self.graph
        # In the middle of a transaction the graph does not know yet who is dead.
        if exact or graph is None or graph.hides_many or graph.live == 0 or graph.buried < len(self.labels.dead):
            return self._scan(queries, k, 0, self.labels.next)
        if graph.left_out:
            message = f'the vectors of {len(graph.left_out)} documents are damaged'
            raise CorruptIndexError(message, self.file.path, CHECK)
        ef = ef or self.settings.search_ef(limit)
        if graph.covered == self.labels.next:
            return self._with_strays(graph, self._ask(graph, queries, k, ef), queries)
        # What the graph does not follow yet is scanned (I5).
        found = self._ask(graph, queries, min(k, self.labels.vectors(self.field) - self.ahead(graph)), ef)
        found = self._with_strays(graph, found, queries)
        return _merged(found, self._scan(queries, k, graph.covered, self.labels.next), k)

    def among(self, queries: Float32Array, k: int, labels: Labels, gathered: Gathered | None = None) -> Found:
        """
        Compare with the vectors of these labels (n,), which have one, one by one; fewer than `k` if there are fewer.

        `gathered` are copies of the vectors.
        """
        return scan(queries, k, self.settings.space, self.file, labels, gathered)

    def present(self, labels: Labels) -> Labels:
        """Return those of `labels` that have a vector."""
        is_absent = self.labels.absent(self.field, labels)
        return labels[~is_absent] if is_absent.any() else labels

    def by_graph_among(self, queries: Float32Array, k: int, ef: int, labels: Labels, is_wanted: Flags) -> Found:
        """
        Return the `k` nearest of these labels (n,), ascending, as the graph finds them.

        `is_wanted` has a flag for each label that there is. Raises `ShortAnswerError`.
        """
        graph = self.graph
        if graph is None:
            raise ShortAnswerError
        # What the graph does not follow yet, or cannot find, is compared with one by one.
        beside = self.present(labels[np.searchsorted(labels, graph.covered) :])
        strays = [label for label in graph.strays if is_wanted[label]]
        if strays:
            beside, is_wanted = np.concatenate([np.array(strays, np.int64), beside]), is_wanted.copy()
            is_wanted[strays] = False
        count = min(k, len(labels) - len(beside))
        found = rescoring.search(graph, self.file, queries, count, ef, is_wanted)
        return _merged(found, self.among(queries, k, beside), k) if len(beside) else found

    def _with_strays(self, graph: Graph, found: Found, queries: Float32Array) -> Found:
        """Return the nearest of what was found and what the graph cannot find."""
        if not graph.strays:
            return found
        strays, vectors = graph.strays_to_compare(self.file.rows)
        their_distances = distances_to(queries, vectors, self.settings.space)
        # Hardly ever is one of them near; to merge them each time took as long as the search.
        is_near = their_distances <= found[1][:, -1:]
        if not is_near.any():
            return found
        for row in np.flatnonzero(is_near.any(axis=1)).tolist():
            labels, row_distances = found[0][row], found[1][row]
            is_new = is_near[row] & ~np.isin(strays, labels)
            merged = np.concatenate([labels, strays[is_new]])
            found[0][row], found[1][row] = nearest(
                merged, np.concatenate([row_distances, their_distances[row, is_new]]), len(labels)
            )
        return found

    def some(self) -> Float32Array | None:
        """Return a vector (dim,) of those that there are; None if there is none."""
        for labels in self.batches():
            return np.asarray(self.file.peek(labels[:1])[0], np.float32)
        return None

    def ahead(self, graph: Graph) -> int:
        """Return how many vectors there are that a graph does not follow yet."""
        return len(self.labels.living(self.field, graph.covered, self.labels.next))

    def batches(self, stop: int | None = None) -> Iterator[Labels]:
        """Yield the labels of all vectors, below `stop` if given, some thousand at a time."""
        stop = self.labels.next if stop is None else stop
        for first in range(0, stop, _BATCH):
            labels = self.labels.living(self.field, first, min(first + _BATCH, stop))
            if len(labels):
                yield labels

    def _ask(self, graph: Graph, queries: Float32Array, k: int, ef: int) -> Found:
        try:
            return rescoring.search(graph, self.file, queries, k, ef)
        except ShortAnswerError:
            if len(queries) == 1:
                return self._scan(queries, k, 0, graph.covered)
            # One of them came back short; only that one needs the scan.
            each = [self._ask(graph, query[None], k, ef) for query in queries]
            return np.concatenate([labels for labels, _ in each]), np.concatenate([found for _, found in each])

    def _scan(self, queries: Float32Array, k: int, start: int, stop: int) -> Found:
        """Compare with every vector from label `start` to before `stop`; fewer than `k` if there are fewer."""
        return scan(queries, k, self.settings.space, self.file, self.labels.living(self.field, start, stop))


def _merged(some: Found, others: Found, k: int) -> Found:
    both = np.hstack([some[0], others[0]]), np.hstack([some[1], others[1]])
    rows = [nearest(*row, k) for row in zip(*both, strict=True)]
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
