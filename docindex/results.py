"""
What a search gives back.

A score is always a **distance**, for every space: smaller is nearer, 0 is the query itself.

    l2       the squared Euclidean distance, sum((a - b) ** 2)
    ip       1 - dot(a, b); negative for long vectors that point the same way
    cosine   1 - cos(a, b), from 0 (same direction) to 2 (opposite); 1 if either is all zero

(hnswlib's README, "Supported distances", which DocArray's local index also returns.)
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from .doclist import DocList

D = TypeVar('D')


class FindResult(NamedTuple, Generic[D]):
    """
    The documents nearest to one query, nearest first.

    Attributes:
        documents: At most `limit` documents of the index's schema.
        scores: Their distances, shape (len(documents),), float32, ascending.
    """

    documents: DocList[D]
    scores: np.ndarray[Any, np.dtype[np.float32]]


class FindResultBatched(NamedTuple, Generic[D]):
    """
    The answers to several queries, in the order of the queries.

    Attributes:
        documents: One `DocList` a query; all of the same length.
        scores: Their distances, shape (number of queries, documents a query), float32.
    """

    documents: list[DocList[D]]
    scores: np.ndarray[Any, np.dtype[np.float32]]
