"""
The graph's answer with exact distances, where the graph holds less than the vectors.

The graph then gives candidates, as many as `ef` says, and the vector file decides among them: scores are those of an
exact search, and what is not among the candidates is not found. Whoever has the same values as a candidate in the graph
is a candidate too: they share a node, and nothing there tells which of them is nearer.
"""

from __future__ import annotations

import numpy as np

from ..distances import Labels
from ..tensors import Float32Array
from .graph import Graph, ShortAnswerError
from .labels import Flags
from .scan import Found, scan
from .vectors import VectorFile


def search(
    graph: Graph,
    file: VectorFile,
    queries: Float32Array,
    k: int,
    ef: int,
    is_wanted: Flags | None = None,
) -> Found:
    """
    Return the `k` nearest of living labels to each query (q, dim), as the graph finds them, with exact distances.

    Args:
        graph: The graph.
        file: The vectors.
        queries: Shape (q, dim).
        k: How many; no more than there are.
        ef: How many candidates to examine at least.
        is_wanted: For each label that the graph covers, whether it may be returned; None: all may.

    Raises:
        ShortAnswerError: some query found fewer than `k`.
        CorruptIndexError: the vector of a candidate is damaged.
    """
    if not graph.settings.is_reduced:
        if is_wanted is None:
            return graph.search(queries, k, ef)
        return graph.search_among(queries, k, ef, is_wanted)
    if not len(queries) or not k:
        return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    found = []
    for query, labels in zip(queries, _candidates(graph, queries, k, ef, is_wanted), strict=True):
        if len(labels) < k:
            raise ShortAnswerError
        found.append(scan(query[None], k, graph.settings.space, file, np.sort(labels)))
    return np.concatenate([labels for labels, _ in found]), np.concatenate([scores for _, scores in found])


def _candidates(graph: Graph, queries: Float32Array, k: int, ef: int, is_wanted: Flags | None) -> list[Labels]:
    """Return the labels to compare for each query (q, dim)."""
    count = max(k, ef)
    while True:
        try:
            return graph.candidates(queries, count, ef, is_wanted)
        except ShortAnswerError:
            # From a cluster that lies far from all others hnswlib may get nowhere else, and it gives nothing rather
            # than fewer than it is asked for. The nearest are in the cluster, so fewer candidates do. Whoever asks for
            # several queries asks again for each.
            if len(queries) > 1 or count == k:
                raise
            count = max(k, count // 2)
