"""Exact distances, and the k smallest of them. What a distance means stands in `docindex.results`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .errors import VectorError
from .fields import Space
from .tensors import Float32Array

Labels = np.ndarray[Any, np.dtype[np.int64]]

# Within these bounds a norm and its square are far from float32's ends (1e-38 and 3e38).
_SMALLEST_NORM, _LARGEST_NORM = 1e-15, 1e15
_FEW_QUERIES = 4
# Two vectors of this norm are at a squared distance that float32 still holds.
_LARGEST_COMPARABLE_NORM = float(np.sqrt(np.finfo(np.float32).max)) / 2.1


@np.errstate(over='ignore')
def unit(vectors: Float32Array) -> Float32Array:
    """
    Return the rows of `vectors` (n, dim) scaled to length 1; a row of zeros stays zeros.

    Equal rows stay equal, to the bit, whatever other rows are with them: equal vectors share a node of a graph.

    hnswlib's own normalisation squares in float32, where 1e-25 underflows and 1e25 overflows.
    """
    # Not by BLAS, which rounds a row in one way alone and in another beside many.
    norms: Float32Array = np.sqrt(np.einsum('ij,ij->i', vectors, vectors))
    is_extreme = ~((norms > _SMALLEST_NORM) & (norms < _LARGEST_NORM))
    if not is_extreme.any():
        return np.asarray(vectors / norms[:, None], np.float32)
    exact = vectors[is_extreme].astype(np.float64)
    exact_norms = np.sqrt(np.einsum('ij,ij->i', exact, exact))
    exact_norms[exact_norms == 0] = 1
    norms[is_extreme] = 1
    found: Float32Array = vectors / norms[:, None]
    found[is_extreme] = exact / exact_norms[:, None]
    return found


def unit_queries(queries: Float32Array) -> Float32Array:
    """Return what `unit` does, but for how it is rounded, which for one query takes a third of the time."""
    if len(queries) == 1:
        exact = queries[0].astype(np.float64)
        length = float(exact.dot(exact)) ** 0.5
        if _SMALLEST_NORM < length < _LARGEST_NORM:
            return queries / np.float32(length)
    return unit(queries)


def check_comparable(
    vectors: Float32Array, space: Space, field: str, name_of: Callable[[int], str] = 'row {}'.format
) -> None:
    """
    Check that distances between `vectors` (n, dim) do not overflow float32.

    Raises:
        VectorError: one of them is too long; `name_of` names its row.
    """
    if space == 'cosine' or not vectors.size:
        return
    largest = float(np.abs(vectors).max()) * vectors.shape[1] ** 0.5
    if largest > _LARGEST_COMPARABLE_NORM:
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        if norms.max() > _LARGEST_COMPARABLE_NORM:
            name, longest = name_of(int(norms.argmax())), norms.max()
            raise VectorError(
                f'{name}: field {field!r}: a vector of length {longest:.3g} is too large for space {space!r}, whose '
                f'distances are float32 (at most {_LARGEST_COMPARABLE_NORM:.3g}); scale the vectors down'
            )


def distances(queries: Float32Array, vectors: Float32Array, space: Space) -> Float32Array:
    """Return the distances of each query (q, dim) to each vector (n, dim), shape (q, n), float32."""
    return distances_to(queries, comparable(vectors, space), space)


def comparable(vectors: Float32Array, space: Space) -> Float32Array:
    """Return what of vectors (n, dim) does not depend on a query, for `distances_to`."""
    return unit(vectors) if space == 'cosine' else vectors


def distances_to(queries: Float32Array, vectors: Float32Array, space: Space) -> Float32Array:
    """Return what `distances` does; `vectors` are made `comparable`."""
    if not len(queries):
        return np.empty((0, len(vectors)), np.float32)
    if space == 'l2' and len(vectors) < len(queries):
        return distances_to(vectors, queries, space).T
    if space == 'l2':
        # Not |a|^2 - 2ab + |b|^2, which loses the difference of two near vectors to rounding.
        return _stacked([np.einsum('ij,ij->i', rest, rest) for rest in (vectors - query for query in queries)])
    if space == 'ip':
        return np.asarray(1 - products(queries, vectors), np.float32)
    return np.asarray(np.maximum(1 - products(unit_queries(queries), vectors), 0), np.float32)


def products(queries: Float32Array, vectors: Float32Array) -> Float32Array:
    """Return the dot products of each query (q, dim) and each vector (n, dim), shape (q, n)."""
    # BLAS would share even one query among threads: 16 ms instead of 0.03 where another process keeps the cores busy.
    if len(queries) > _FEW_QUERIES:
        return np.asarray(queries @ vectors.T, np.float32)
    return _stacked([np.einsum('ij,j->i', vectors, query) for query in queries])


def _stacked(rows: list[Float32Array]) -> Float32Array:
    return rows[0][None] if len(rows) == 1 else np.stack(rows)  # nearly always one, for which numpy takes 5 us


def nearest(labels: Labels, distances: Float32Array, k: int) -> tuple[Labels, Float32Array]:
    """Return the `k` smallest distances, ascending, with their labels; equal ones in the order of labels."""
    if k < len(labels):
        threshold = np.partition(distances, k - 1)[k - 1]
        near = np.flatnonzero(distances <= threshold)
        labels, distances = labels[near], distances[near]
    order = np.lexsort((labels, distances))[:k]
    return labels[order], distances[order]


def exact_search(
    queries: Float32Array, k: int, space: Space, blocks: Iterable[tuple[Labels, Float32Array]]
) -> tuple[Labels, Float32Array]:
    """
    Return the `k` nearest of all vectors to each query, by comparing with every one of them.

    Args:
        queries: Shape (q, dim).
        k: How many; no more than there are vectors.
        space: The distance.
        blocks: The vectors, as pairs of labels (n,) and rows (n, dim).

    Returns:
        Labels and distances, both of shape (q, k), nearest first.
    """
    best_labels = [np.empty(0, np.int64) for _ in queries]
    best_distances = [np.empty(0, np.float32) for _ in queries]
    for labels, vectors in blocks:
        found = distances(queries, vectors, space)
        for at in range(len(queries)):
            best_labels[at], best_distances[at] = nearest(
                np.concatenate([best_labels[at], labels]), np.concatenate([best_distances[at], found[at]]), k
            )
    if not len(queries):
        return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    return np.stack(best_labels), np.stack(best_distances)
