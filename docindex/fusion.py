"""
Several rankings joined into one, and one ranking rearranged. Keys are whatever names a document: a label, an id.

A key's **rank** in a ranking is 1 + how many keys there have a better score. Equal scores share the better rank, so
that no rank depends on the order in which they came. `fused` gives each key of any ranking one score, larger is better:

    rrf         sum of weight / (k + rank) over the rankings that have the key. Reciprocal rank fusion; k = 60 and equal
                weights in Cormack, Clarke and Buettcher, SIGIR 2009. How large a score is counts for nothing.
    weighted    sum of weight * normalised score, divided by the sum of all weights; from 0 to 1. Min-max makes each
                ranking's best score 1 and its worst 0, distances are turned round; if all are equal, all are 1. A
                missing key gets 0, as the worst does. The convex combination of Bruch, Gai and Ingber, "An Analysis of
                Fusion Functions for Hybrid Retrieval", ACM TOIS 2023.
    a function  gets the rankings, returns a mapping from keys to scores. A key that it leaves out is left out.

Scores are compared in float64, those of rrf and weighted to 12 significant digits, and come back as float32.
Keys of equal fused score are ordered by, first, their best rank in any one ranking, even one of weight 0; then by the
first ranking, in the order given, that has the key; then by their place in that ranking. That leaves no two keys equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeGuard, TypeVar

import numpy as np

from .distances import distances
from .errors import QueryError
from .fields import Space
from .tensors import Float32Array

K = TypeVar('K', bound=Hashable)
Float64Array = np.ndarray[Any, np.dtype[np.float64]]

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Ranking(Generic[K]):
    """
    One ranking that is to be joined with others.

    Attributes:
        name: How the user called it: 'embedding', 'description'.
        keys: All different, best first.
        scores: One for each key, shape (n,), float32, finite.
        is_distance: True: a smaller score is better, as in a vector search. False: a larger one, as in BM25.
    """

    name: str
    keys: list[K]
    scores: Float32Array
    is_distance: bool


Fusion = Literal['rrf', 'weighted'] | Callable[[Sequence[Ranking[K]]], Mapping[K, float]]


def fused(
    rankings: Sequence[Ranking[K]], method: Fusion[K] = 'rrf', weights: Sequence[float] | None = None, k: int = 60
) -> tuple[list[K], Float32Array]:
    """
    Return the keys of all rankings, best first, with their fused scores; the module says how.

    Args:
        rankings: Any number of them; none gives no keys.
        method: 'rrf', 'weighted', or a function from the rankings to a score for each key.
        weights: One for each ranking; None: all 1. Refused with a function, which weighs by itself.
        k: For 'rrf' only: the larger, the less the first ranks stand out.

    Returns:
        Keys, and scores of shape (number of keys,), float32, descending.

    Raises:
        QueryError: the method is unknown, weights or `k` are out of range, or the function returned something else than
            finite scores of keys in the rankings.
    """
    check_integer('k', k, 1, (1 << 31) - 1)
    best = _best_ranks(rankings)
    if callable(method):
        if weights is not None:
            raise QueryError("weights are for 'rrf' and 'weighted'; a fusion function weighs by itself")
        scores = _checked_scores(method(rankings), best)
    elif method == 'rrf':
        scores = _by_rank(rankings, _checked_weights(weights, rankings), k)
    elif method == 'weighted':
        scores = _by_score(rankings, _checked_weights(weights, rankings))
    else:
        raise QueryError(f"fusion must be 'rrf', 'weighted' or a function of the rankings, got {method!r}")
    # `best` is in the order of first appearance, and sorting keeps that among equals.
    keys = sorted((key for key in best if key in scores), key=lambda key: (-scores[key], best[key]))
    return keys, np.array([scores[key] for key in keys], np.float32)


def _best_ranks(rankings: Sequence[Ranking[K]]) -> dict[K, int]:
    """Return each key's best rank, in the order in which the keys appear, one ranking after the other."""
    best: dict[K, int] = {}
    for ranking in rankings:
        for key, rank in zip(ranking.keys, _ranks(ranking).tolist(), strict=True):
            best[key] = min(rank, best.get(key, rank))
    return best


def _by_rank(rankings: Sequence[Ranking[K]], weights: Sequence[float], k: int) -> dict[K, float]:
    return _sums(rankings, [weight / (k + _ranks(one)) for one, weight in zip(rankings, weights, strict=True)], 1)


def _by_score(rankings: Sequence[Ranking[K]], weights: Sequence[float]) -> dict[K, float]:
    parts = [weight * _normalised(one) for one, weight in zip(rankings, weights, strict=True)]
    return _sums(rankings, parts, math.fsum(weights))


def _sums(rankings: Sequence[Ranking[K]], parts: Sequence[Float64Array], divisor: float) -> dict[K, float]:
    of_key: dict[K, list[float]] = {}
    for ranking, scores in zip(rankings, parts, strict=True):
        for key, score in zip(ranking.keys, scores.tolist(), strict=True):
            of_key.setdefault(key, []).append(score)
    # What float64 makes of 1/3 + 1/6 and 1/4 + 1/4, or of a sum in another order, must not decide between two keys.
    return {key: float(f'{math.fsum(scores) / divisor:.12g}') for key, scores in of_key.items()}


def _ranks(ranking: Ranking[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    costs = _costs(ranking)
    return np.searchsorted(np.sort(costs), costs).astype(np.int64) + 1


def _normalised(ranking: Ranking[Any]) -> Float64Array:
    costs = _costs(ranking)
    if not costs.size or costs.min() == costs.max():
        return np.ones(costs.shape)
    return np.asarray((costs.max() - costs) / (costs.max() - costs.min()), np.float64)


def _costs(ranking: Ranking[Any]) -> Float64Array:
    """Return the scores such that smaller is better, in float64, where no difference of two overflows."""
    scores = ranking.scores.astype(np.float64)
    return scores if ranking.is_distance else -scores


def _checked_weights(weights: object, rankings: Sequence[Ranking[Any]]) -> list[float]:
    if weights is None:
        return [1.0] * len(rankings)
    given = list(weights) if isinstance(weights, Iterable) else []
    numbers = [float(weight) for weight in given if _is_finite(weight) and weight >= 0]
    # The bound on their sum keeps every fused score within float32.
    if len(numbers) != len(given) or len(given) != len(rankings) or not 0 < math.fsum(numbers) <= _LARGEST_FLOAT32:
        names = ', '.join(repr(ranking.name) for ranking in rankings)
        raise QueryError(
            f'weights must be finite numbers of at least 0, not all 0, one for each of {len(rankings)} rankings '
            f'({names}), got {weights!r}'
        )
    return numbers


def _checked_scores(scores: object, known: Mapping[K, int]) -> dict[K, float]:
    if not isinstance(scores, Mapping):
        raise QueryError(f'a fusion function must return a mapping from keys to scores, got {type(scores).__name__}')
    for key, score in scores.items():
        if key not in known:
            raise QueryError(f'a fusion function must return keys of its rankings, got {key!r}, which is in none')
        if not _is_finite(score):
            raise QueryError(f'a fusion function must return scores finite in float32, got {score!r} for {key!r}')
    return {key: float(score) for key, score in scores.items()}


def _is_finite(value: object) -> TypeGuard[float]:
    number = value.item() if isinstance(value, np.generic) else value  # float16 does not compare with float32's end
    return isinstance(number, (int, float)) and -_LARGEST_FLOAT32 <= number <= _LARGEST_FLOAT32


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    """Raise `QueryError` for what is not an integer within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        expected = f'of at least {low}' if high is None else f'from {low} to {high:,}'
        raise QueryError(f'{name} must be an integer {expected}, got {value!r}')


def diversified(query: Float32Array, vectors: Float32Array, space: Space, limit: int, lambda_mult: float) -> list[int]:
    """
    Return the positions of `limit` rows that are near the query and unlike each other, in the order chosen.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each row chosen maximises `lambda_mult` * its
    similarity to the query - (1 - `lambda_mult`) * its largest similarity to a row chosen before. The first is the
    nearest, whatever `lambda_mult`. Of equally good rows the nearer is chosen, then the one of smaller position.

    Args:
        query: Shape (dim,).
        vectors: Shape (n, dim).
        space: What similarity is: 1 - distance for 'ip' and 'cosine', 1 / (1 + distance) for 'l2'.
        limit: How many; all n, if it is larger.
        lambda_mult: From 0, only variety counts, to 1, the order by distance.

    Raises:
        QueryError: `limit` is negative, or `lambda_mult` not in [0, 1].
    """
    check_integer('limit', limit, 0)
    check_share('lambda_mult', lambda_mult)
    to_query = distances(query[None], vectors, space)[0]
    by_distance = np.argsort(to_query, kind='stable')  # argmax takes the first of equals: the nearest
    vectors, relevance = vectors[by_distance], _similarities(to_query[by_distance], space)
    redundancy = np.full(len(vectors), -np.inf)
    chosen = list(range(min(limit, len(vectors), 1)))
    while len(chosen) < min(limit, len(vectors)):
        to_last = distances(vectors[chosen[-1:]], vectors, space)[0]
        redundancy = np.maximum(redundancy, _similarities(to_last, space))
        gain = lambda_mult * relevance - (1 - lambda_mult) * redundancy
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
    return [int(at) for at in by_distance[chosen]]


def _similarities(distances: Float32Array, space: Space) -> Float64Array:
    exact = distances.astype(np.float64)
    # 1 - distance has no lower bound under l2: one far row would outweigh what lambda_mult says. This is in (0, 1].
    return np.asarray(1 / (1 + exact) if space == 'l2' else 1 - exact, np.float64)


def grouped(keys: Sequence[K], groups: Sequence[Hashable], size: int, limit: int | None) -> list[int]:
    """
    Return the positions of the best keys of each group: group after group, best first within each.

    Args:
        keys: Best first.
        groups: The group of each key. Equal ones are one group, None is a group like any other.
        size: At most how many of each group.
        limit: At most how many groups, those with the best first members; None: all. Their order is that of these.

    Raises:
        QueryError: `size` or `limit` is not a positive integer.
    """
    check_integer('size', size, 1)
    if limit is not None:
        check_integer('limit', limit, 1)
    members: dict[Hashable, list[int]] = {}
    for at, (_, group) in enumerate(zip(keys, groups, strict=True)):
        members.setdefault(group, []).append(at)
    return [at for places in list(members.values())[:limit] for at in places[:size]]


def check_share(name: str, value: object) -> None:
    """Raise `QueryError` for what is not a number from 0 to 1."""
    if not _is_finite(value) or not 0 <= value <= 1:
        raise QueryError(f'{name} must be a number from 0 to 1, got {value!r}')
