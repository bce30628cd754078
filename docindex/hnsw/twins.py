"""
Equal vectors share one node of a graph.

A few hundred equal vectors (the embeddings of empty texts, say) make each other their only neighbours, and what comes
later is linked to them and never found: measured with hnswlib 0.8, 300 equal vectors first and 200 others after them,
not one of the others was its own nearest neighbour. So only the first of equal vectors becomes a node; the others are
its twins, and a search that finds the node returns all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ..distances import Labels
from ..tensors import Float32Array

ReadVectors = Callable[[Labels], Float32Array]
_Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_Flags = np.ndarray[Any, np.dtype[np.bool_]]

_READ_ROWS = 16_384
_LAST = 1_024


class Twins:
    """
    Which labels share whose node.

    A node goes by the label it was added under, which may have died since. `shared` lists the labels that live on a
    node, for each node that is or was shared; any other node has just its own label.
    """

    def __init__(self, shared: dict[int, set[int]] | None = None) -> None:
        self._shared = shared or {}
        self._node_of = {label: node for node, labels in self._shared.items() for label in (node, *labels)}
        self._known = _HashTable()

    def to_json(self) -> list[list[int]]:
        """Return each shared node with the labels on it."""
        return [[node, *sorted(labels)] for node, labels in self._shared.items()]

    @classmethod
    def from_json(cls, groups: list[list[int]]) -> Twins:
        """Return what `to_json` was called on, but for the hashes, which are read anew when they are needed."""
        return cls({node: set(labels) for node, *labels in groups})

    def shared(self) -> Iterable[tuple[int, set[int]]]:
        """Return each shared node with the labels that live on it."""
        return self._shared.items()

    def nodes(
        self, labels: Labels, vectors: Float32Array, nodes_so_far: Callable[[], Labels], read: ReadVectors
    ) -> Labels:
        """
        Return for each new label (n,) the node it belongs to: its own label, or that of an equal vector.

        Args:
            labels: The new labels.
            vectors: Their vectors as hnswlib is to see them, shape (n, dim).
            nodes_so_far: Returns all nodes of the graph.
            read: Returns the vectors of nodes, likewise.
        """
        if self._known.is_empty():
            existing = nodes_so_far()
            for start in range(0, len(existing), _READ_ROWS):
                part = existing[start : start + _READ_ROWS]
                self._known.add(_hashes(read(part)), part)
        hashes = _hashes(vectors)
        known = self._known.find(hashes)
        if known.max() < 0 and len({*hashes.tolist()}) == len(hashes):  # as nearly always
            self._known.add(hashes, labels)
            return labels
        _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        nodes = labels[first][which]
        nodes = np.where(known >= 0, known, nodes)
        # Hashes can be made to collide; vectors are compared before a node is shared.
        is_shared = nodes != labels
        if is_shared.any():
            earlier = dict(zip(labels.tolist(), vectors, strict=True))
            stored = known[is_shared & (known >= 0)]
            earlier.update(zip(stored.tolist(), read(stored) if len(stored) else [], strict=True))
            for at in np.flatnonzero(is_shared).tolist():
                if not np.array_equal(earlier[int(nodes[at])], vectors[at]):
                    nodes[at] = labels[at]
        own = nodes == labels
        self._known.add(hashes[own], labels[own])
        return nodes

    def join(self, label: int, node: int, node_lives: bool) -> None:
        """Let a new label live on the node of another; `node_lives` says whether anybody does yet."""
        if node not in self._shared:
            self._shared[node] = {node} if node_lives else set()
            self._node_of[node] = node
        self._shared[node].add(label)
        self._node_of[label] = node

    def leave(self, label: int) -> int | None:
        """Take a dead label away; return its node if nobody lives there any more."""
        node = self.node_of(label)
        if node not in self._shared:
            return node
        self._shared[node].discard(label)
        return None if self._shared[node] else node

    def node_of(self, label: int) -> int:
        """Return the node on which a label lives, or lived."""
        return self._node_of.get(label, label)

    def labels_on(self, node: int) -> set[int] | None:
        """Return the labels that live on a shared node; None if it is not shared."""
        return self._shared.get(node)

    def all_on(self, nodes: Labels, is_wanted: _Flags | None = None) -> Labels:
        """Return all labels that live on nodes (n,), and are wanted, in no order."""
        labels = nodes
        if self._shared and not self._shared.keys().isdisjoint(nodes.tolist()):
            every = (self._shared.get(node, (node,)) for node in nodes.tolist())
            labels = np.fromiter((label for on_it in every for label in on_it), np.int64)
        return labels if is_wanted is None else labels[is_wanted[labels]]

    def expand(
        self, nodes: Labels, distances: Float32Array, k: int, is_wanted: _Flags | None = None
    ) -> tuple[Labels, Float32Array] | None:
        """
        Return the labels on found nodes (q, n), nearest first, and their distances: `k` for each query.

        With `is_wanted`, only labels that are. None, if some query has fewer.
        """
        if not self._shared or self._shared.keys().isdisjoint(nodes.ravel().tolist()):
            return (nodes[:, :k], distances[:, :k]) if nodes.shape[1] >= k else None
        found = np.empty((len(nodes), k), np.int64)
        found_distances = np.empty((len(nodes), k), np.float32)
        for row, (row_nodes, row_distances) in enumerate(zip(nodes.tolist(), distances.tolist(), strict=True)):
            pairs = [
                (label, distance)
                for node, distance in zip(row_nodes, row_distances, strict=True)
                for label in sorted(self._shared.get(node, (node,)))
                if is_wanted is None or is_wanted[label]
            ]
            if len(pairs) < k:
                return None
            found[row] = [label for label, _ in pairs[:k]]
            found_distances[row] = [distance for _, distance in pairs[:k]]
        return found, found_distances


class _HashTable:
    """
    Hashes of vectors and their labels: sorted runs of doubling length, 16 bytes a vector; the last few in a dictionary.

    One by one, without that, each would look through a dozen runs.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[_Hashes, Labels]] = []
        self._last: dict[int, int] = {}

    def is_empty(self) -> bool:
        return not self._runs and not self._last

    def add(self, hashes: _Hashes, labels: Labels) -> None:
        if len(hashes) + len(self._last) <= _LAST:
            self._last.update(zip(hashes.tolist(), labels.tolist(), strict=True))
            return
        last_hashes, last_labels = np.array(list(self._last), np.uint64), np.array(list(self._last.values()), np.int64)
        self._runs.append(_sorted(np.concatenate([last_hashes, hashes]), np.concatenate([last_labels, labels])))
        self._last.clear()
        while len(self._runs) > 1 and len(self._runs[-1][0]) * 2 > len(self._runs[-2][0]):
            (some, their_labels), (others, other_labels) = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted(np.concatenate([others, some]), np.concatenate([other_labels, their_labels])))

    def find(self, hashes: _Hashes) -> Labels:
        """Return for each hash the label it was added with, or -1."""
        found = np.full(len(hashes), -1, np.int64)
        for known, labels in self._runs:
            if len(known):
                at = np.minimum(known.searchsorted(hashes), len(known) - 1)
                found = np.where(known[at] == hashes, labels[at], found)
        if self._last:
            last = np.array([self._last.get(one, -1) for one in hashes.tolist()], np.int64)
            found = np.where(last >= 0, last, found)
        return found


def _sorted(hashes: _Hashes, labels: Labels) -> tuple[_Hashes, Labels]:
    order = np.argsort(hashes, kind='stable')
    return hashes[order], labels[order]


def _hashes(vectors: Float32Array) -> _Hashes:
    """Return 64-bit hashes of the bits of vectors (n, dim): multilinear, with odd factors."""
    bits = (vectors + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0, to which it is equal
    return np.asarray(np.einsum('ij,j->i', bits.astype(np.uint64), _factors(vectors.shape[1])), np.uint64)


@lru_cache
def _factors(dim: int) -> _Hashes:
    """
    Return odd 64-bit numbers (dim,) without a pattern: the first of SplitMix64, their last bits set.

    (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.)
    """
    # Not from numpy.random: to import it takes as long as to index the first twenty documents.
    numbers = np.arange(1, dim + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ numbers >> np.uint64(shift)) * np.uint64(factor)
    return numbers ^ numbers >> np.uint64(31) | np.uint64(1)
