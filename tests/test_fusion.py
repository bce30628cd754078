from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docindex.distances import distances
from docindex.errors import QueryError
from docindex.fusion import Ranking, diversified, fused, grouped
from docindex.tensors import Float32Array

SPACES = ['l2', 'ip', 'cosine']


def ranking(scores: Mapping[Any, float], is_distance: bool = False, name: str = 'r') -> Ranking[Any]:
    """Return a ranking of `scores`, best first, equal ones as they come."""
    keys = sorted(scores, key=lambda key: scores[key] if is_distance else -scores[key])
    return Ranking(name, keys, np.array([scores[key] for key in keys], np.float32), is_distance)


def listed(keys: str) -> Ranking[Any]:
    """Return a ranking of letters, as they stand."""
    return ranking({key: -at for at, key in enumerate(keys)})


def as_dict(answer: tuple[list[Any], Float32Array]) -> dict[Any, float]:
    keys, scores = answer
    return dict(zip(keys, scores.tolist(), strict=True))


def rank_of(one: Ranking[Any], key: object) -> int:
    score = one.scores[one.keys.index(key)]
    return 1 + int((one.scores < score if one.is_distance else one.scores > score).sum())


def place(rankings: Sequence[Ranking[Any]], key: object) -> tuple[int, int, int]:
    """Return what decides between keys of equal fused score, as the module states it."""
    having = [at for at, one in enumerate(rankings) if key in one.keys]
    return min(rank_of(rankings[at], key) for at in having), having[0], rankings[having[0]].keys.index(key)


# Few scores, so that there are many ties.
one_ranking = st.builds(
    ranking, st.dictionaries(st.integers(0, 12), st.sampled_from([-2.5, 0, 0.1, 1, 7]), max_size=10), st.booleans()
)
some_rankings = st.lists(one_ranking, max_size=4)


@st.composite
def weighted_rankings(draw: st.DrawFn) -> tuple[list[Ranking[Any]], list[int]]:
    rankings = draw(st.lists(one_ranking, min_size=1, max_size=4))
    several = st.lists(st.integers(0, 5), min_size=len(rankings), max_size=len(rankings))
    return rankings, draw(several.filter(any))


def share(one: Ranking[Any], key: object) -> Fraction:
    """Return a normalised score, exactly."""
    scores = [Fraction(score) * (-1 if one.is_distance else 1) for score in one.scores.tolist()]
    low, high = min(scores), max(scores)
    return Fraction(1) if low == high else (scores[one.keys.index(key)] - low) / (high - low)


def exactly(rankings: list[Ranking[Any]], method: str, weights: list[int], k: int) -> dict[Any, Fraction]:
    """Return what `fused` should, without any rounding."""
    sums: dict[Any, Fraction] = {}
    for one, weight in zip(rankings, weights, strict=True):
        for key in one.keys:
            part = Fraction(1, k + rank_of(one, key)) if method == 'rrf' else share(one, key) / sum(weights)
            sums[key] = sums.get(key, Fraction(0)) + weight * part
    return sums


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@given(drawn=weighted_rankings(), k=st.integers(1, 100))
def test_fused_follows_its_definition(method: Any, drawn: tuple[list[Ranking[Any]], list[int]], k: int) -> None:
    """Keys, scores and order are what exact fractions give, ties decided as the module states, for both methods."""
    rankings, weights = drawn
    exact = exactly(rankings, method, weights, k)
    keys, scores = fused(rankings, method, weights, k)
    assert keys == sorted(exact, key=lambda key: (-exact[key], place(rankings, key)))
    assert scores.tolist() == pytest.approx([float(exact[key]) for key in keys])
    assert scores.dtype == np.float32
    assert scores.shape == (len(keys),)
    assert (np.diff(scores) <= 0).all()


@given(weighted_rankings())
def test_weighted_scores_lie_between_0_and_1(drawn: tuple[list[Ranking[Any]], list[int]]) -> None:
    """No rounding takes a score of `weighted` out of 0 to 1."""
    assert all(0 <= score <= 1 for score in fused(drawn[0], 'weighted', drawn[1])[1])


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@given(drawn=weighted_rankings(), random=st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_order(method: Any, drawn: tuple[list[Ranking[Any]], list[int]], random: Any) -> None:
    """Neither the order of the rankings nor that of equal scores within one changes any fused score by a bit."""
    rankings, weights = drawn
    pairs = list(zip(rankings, weights, strict=True))
    random.shuffle(pairs)
    shuffled = []
    for one, _ in pairs:
        items = list(zip(one.keys, one.scores.tolist(), strict=True))
        random.shuffle(items)
        shuffled.append(ranking(dict(items), one.is_distance))
    again = fused(shuffled, method, [weight for _, weight in pairs])
    assert as_dict(again) == as_dict(fused(rankings, method, weights))


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@given(rankings=some_rankings)
def test_no_weights_are_equal_weights(method: Any, rankings: list[Ranking[Any]]) -> None:
    """Without weights every ranking has weight 1."""
    keys, scores = fused(rankings, method)
    if rankings:
        expected_keys, expected = fused(rankings, method, [1] * len(rankings))
        assert keys == expected_keys
        assert scores.tolist() == expected.tolist()
    else:
        assert keys == []


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@given(one=one_ranking)
def test_one_ranking_keeps_its_order(method: Any, one: Ranking[Any]) -> None:
    """A single ranking comes back in the order that it had."""
    assert fused([one], method)[0] == one.keys


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@given(drawn=weighted_rankings())
def test_a_ranking_twice_is_one_of_twice_the_weight(method: Any, drawn: tuple[list[Ranking[Any]], list[int]]) -> None:
    """Repeating all rankings is the same as doubling the weights."""
    rankings, weights = drawn
    twice = as_dict(fused(rankings * 2, method, weights * 2))
    assert twice == pytest.approx(as_dict(fused(rankings, method, [2 * weight for weight in weights])))


def test_rrf_by_hand() -> None:
    """Rankings a b c and c a: a gets 1/61 + 1/62, c gets 1/63 + 1/61, b gets 1/62."""
    keys, scores = fused([listed('abc'), listed('ca')])
    assert keys == ['a', 'c', 'b']
    assert scores.tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])


def test_rrf_with_weights_and_another_k_by_hand() -> None:
    """With k = 1 and weights 1 and 3: c gets 1/4 + 3/2, a gets 1/2 + 3/3, b gets 1/3."""
    keys, scores = fused([listed('abc'), listed('ca')], 'rrf', [1, 3], k=1)
    assert keys == ['c', 'a', 'b']
    assert scores.tolist() == pytest.approx([1.75, 1.5, 1 / 3])


def test_equal_scores_share_the_better_rank() -> None:
    """Scores 9 5 5 1 have the ranks 1 2 2 4."""
    found = as_dict(fused([ranking({'a': 9, 'b': 5, 'c': 5, 'd': 1})]))
    assert found == pytest.approx({'a': 1 / 61, 'b': 1 / 62, 'c': 1 / 62, 'd': 1 / 64})


def test_weighted_by_hand() -> None:
    """Distances 0 1 4 count as 1 0.75 0, scores 30 20 10 as 1 0.5 0, and the mean is weighted 3 to 1."""
    near = ranking({'a': 0, 'b': 1, 'c': 4}, is_distance=True)
    words = ranking({'c': 30, 'b': 20, 'd': 10})
    keys, scores = fused([near, words], 'weighted', [3, 1])
    assert keys == ['a', 'b', 'c', 'd']
    assert scores.tolist() == [0.75, (3 * 0.75 + 0.5) / 4, 0.25, 0]


def test_weighted_where_all_scores_are_equal() -> None:
    """A ranking that makes no difference, or has one key only, gives each of its keys 1."""
    found = as_dict(fused([ranking({'a': 2, 'b': 2}), ranking({'b': -7}, is_distance=True)], 'weighted'))
    assert found == {'a': 0.5, 'b': 1}


def test_weighted_gives_the_best_everywhere_exactly_one() -> None:
    """A key that is first in every ranking gets 1, not a little less by rounding."""
    rankings = [listed('ab'), listed('abc'), listed('ac')]
    assert fused(rankings, 'weighted', [0.1, 0.7, 0.3])[1][0] == 1


def test_weighted_with_scores_at_the_ends_of_float32() -> None:
    """Scores whose difference overflows float32 are normalised all the same."""
    found = as_dict(fused([ranking({'a': 3e38, 'b': 0, 'c': -3e38})], 'weighted'))
    assert found == pytest.approx({'a': 1, 'b': 0.5, 'c': 0})


def test_a_tie_that_rounding_would_break() -> None:
    """Ranks 1 2 3, 2 3 1 and 3 1 2 add up to the same score to the last bit, so that the tie rule decides."""
    for k in range(1, 100):
        keys, scores = fused([listed('cab'), listed('abc'), listed('bca')], k=k)
        assert len(set(scores.tolist())) == 1
        assert keys == ['c', 'a', 'b']  # best rank 1 each; the first ranking has them in this order


def test_a_tie_of_different_ranks_that_rounding_would_break() -> None:
    """Sums that are equal on paper are a tie: 1/3 + 1/6 + 1/10 and 3 * 1/5, which float64 makes a little more."""
    assert math.fsum([1 / 3, 1 / 6, 1 / 10]) < math.fsum([1 / 5] * 3)
    keys, scores = fused([listed('yax'), listed('bcxy'), listed('daxefghy')], k=2)
    assert scores[keys.index('x')] == scores[keys.index('y')] == np.float32(0.6)
    assert keys.index('y') < keys.index('x')  # y is first in one ranking, x third in all


def test_a_small_weight_decides_where_a_large_one_does_not() -> None:
    """A weight of a millionth is enough to order keys that are equal otherwise."""
    equal = ranking({'a': 1, 'b': 1})
    for method in ('rrf', 'weighted'):
        assert fused([equal, listed('ba')], method, [1, 1e-6])[0] == ['b', 'a']


def test_ties_go_to_the_better_best_rank() -> None:
    """Of equal fused scores, the key with the better rank in some ranking is first, wherever that ranking stands."""
    # With k = 1: x has ranks 2 and 2, 1/3 + 1/3; y has ranks 1 and 5, 1/2 + 1/6.
    keys, scores = fused([listed('axbcy'), listed('yxdef')], k=1)
    assert scores[0] == scores[1] == np.float32(2 / 3)
    assert keys[:2] == ['y', 'x']


def test_ties_go_to_the_earlier_ranking_then_place() -> None:
    """Of equal scores and best ranks, keys of the first ranking come first, in its order, then those of the second."""
    rankings = [ranking({'d': 1, 'b': 1}), ranking({'c': 1, 'a': 1, 'b': 1})]
    assert fused(rankings, lambda _: dict.fromkeys('abcd', 0.5))[0] == ['d', 'b', 'c', 'a']
    assert fused(rankings[::-1], lambda _: dict.fromkeys('abcd', 0.5))[0] == ['c', 'a', 'b', 'd']


def test_a_ranking_of_weight_0_adds_only_its_keys() -> None:
    """Weight 0 adds nothing to a score; keys of that ranking alone come last, with 0."""
    for method in ('rrf', 'weighted'):
        keys, scores = fused([listed('ab'), listed('zb')], method, [1, 0])
        assert keys[0] == 'a'
        assert as_dict((keys, scores))['z'] == 0


@pytest.mark.parametrize('method', ['rrf', 'weighted', lambda rankings: {}])
@pytest.mark.parametrize('rankings', [[], [listed('')], [listed(''), listed('')]])
def test_nothing_joined_is_nothing(method: Any, rankings: list[Ranking[Any]]) -> None:
    """No rankings, and empty ones, give no keys, without a warning."""
    keys, scores = fused(rankings, method)
    assert keys == []
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


def test_an_empty_ranking_is_no_help_and_no_harm() -> None:
    """An empty ranking beside another changes no order; its weight counts in the mean."""
    assert fused([listed('ab'), listed('')])[0] == ['a', 'b']
    assert as_dict(fused([listed('ab'), listed('')], 'weighted', [1, 3])) == {'a': 0.25, 'b': 0}


def test_a_function_sees_the_rankings_and_decides() -> None:
    """A function gets the rankings as they are; keys that it leaves out are left out, larger scores are first."""
    rankings = [ranking({'a': 1, 'b': 2}, is_distance=True, name='embedding'), ranking({'c': 9}, name='description')]
    seen: list[Ranking[str]] = []

    def method(given: Sequence[Ranking[str]]) -> dict[str, float]:
        seen.extend(given)
        return {'a': -1, 'c': np.float32(2.5)}  # type: ignore[dict-item]

    keys, scores = fused(rankings, method)
    assert [one.name for one in seen] == ['embedding', 'description']
    assert all(one is original for one, original in zip(seen, rankings, strict=True))
    assert keys == ['c', 'a']
    assert scores.tolist() == [2.5, -1]


def test_a_function_may_return_scores_finer_than_float32() -> None:
    """Scores are compared before they are rounded to float32: two times a second apart are no tie."""
    keys, scores = fused([listed('ab')], lambda _: {'a': 1_700_000_000, 'b': 1_700_000_001})
    assert keys == ['b', 'a']
    assert scores[0] == scores[1]


def test_what_a_function_does_to_the_rankings_does_not_matter() -> None:
    """Ties are decided by the rankings as they came, even if the function empties them."""

    def method(given: Sequence[Ranking[str]]) -> dict[str, float]:
        for one in given:
            one.keys.clear()
        return {'a': 0, 'b': 0}

    assert fused([listed('ba')], method)[0] == ['b', 'a']


def test_the_error_of_a_function_is_the_users() -> None:
    """An exception in a function comes out as it is."""
    with pytest.raises(ZeroDivisionError):
        fused([listed('a')], lambda _: {'a': 1 / 0})


@pytest.mark.parametrize(
    ('returned', 'message'),
    [
        ({'z': 1}, "keys of its rankings, got 'z'"),
        ({'a': math.nan}, "finite in float32, got nan for 'a'"),
        ({'a': math.inf}, "got inf for 'a'"),
        ({'a': 1, 'b': -math.inf}, "got -inf for 'b'"),
        ({'a': 1e39}, r"got 1e\+39 for 'a'"),
        ({'a': 10**400}, "for 'a'"),
        ({'a': np.float32('nan')}, "for 'a'"),
        ({'a': None}, "got None for 'a'"),
        ({'a': '1'}, "got '1' for 'a'"),
        ({'a': 1j}, "for 'a'"),
        (['a', 'b'], 'mapping from keys to scores, got list'),
        (None, 'mapping from keys to scores, got NoneType'),
    ],
)
def test_what_a_function_must_not_return(returned: Any, message: str) -> None:
    """Unknown keys, scores that are no finite numbers, and anything but a mapping are refused by name."""
    with pytest.raises(QueryError, match=message):
        fused([listed('ab')], lambda _: returned)


@pytest.mark.parametrize(
    'number', [1, 1.0, True, np.float16(1), np.float32(1), np.float64(1), np.int8(1), np.uint64(1)]
)
def test_any_real_number_is_a_score_and_a_weight(number: Any) -> None:
    """Python's and numpy's numbers all do, as a score and as a weight."""
    assert as_dict(fused([listed('a')], lambda _: {'a': number})) == {'a': 1}
    assert as_dict(fused([listed('a')], 'weighted', [number])) == {'a': 1}


def test_weights_may_be_an_array() -> None:
    """Weights may be a numpy array."""
    assert as_dict(fused([listed('a'), listed('b')], 'weighted', np.array([3, 1]))) == {'a': 0.75, 'b': 0.25}  # type: ignore[arg-type]


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@pytest.mark.parametrize(
    'weights',
    [
        [],
        [1],
        [1, 1, 1],
        [0, 0],
        [2, -1],
        [1, math.nan],
        [1, math.inf],
        [1, 10**400],
        [3e38, 3e38],
        [1, '1'],
        [1, None],
        'ab',
        0.5,
        {'embedding': 1, 'description': 2},
    ],
)
def test_weights_must_be_one_number_for_each_ranking(method: Any, weights: Any) -> None:
    """Weights that are too few, too many, negative, not finite or all 0 are refused, with the rankings' names."""
    rankings = [ranking({'a': 1}, name='embedding'), ranking({'a': 1}, name='description')]
    with pytest.raises(QueryError, match=r"not all 0, one for each of 2 rankings \('embedding', 'description'\), got"):
        fused(rankings, method, weights)


@pytest.mark.parametrize('method', ['rrf', 'weighted'])
@pytest.mark.parametrize('weight', [1e-30, 1.6e38])
def test_extreme_weights(method: Any, weight: float) -> None:
    """Very small and very large weights overflow nothing and keep the order."""
    keys, scores = fused([listed('ab'), listed('acb')], method, [weight, weight], k=1)
    assert keys[0] == 'a'
    assert np.isfinite(scores).all()


def test_weights_for_a_function_are_refused() -> None:
    """Weights beside a function would be ignored, and are refused instead."""
    with pytest.raises(QueryError, match='a fusion function weighs by itself'):
        fused([listed('a')], lambda _: {'a': 1}, [1])


@pytest.mark.parametrize('k', [0, -1, 60.0, True, None, '60', 1 << 31, 10**400])
def test_k_must_be_a_positive_integer(k: Any) -> None:
    """A k that is not a positive integer is refused."""
    with pytest.raises(QueryError, match='k must be an integer from 1 to 2,147,483,647, got'):
        fused([listed('a')], k=k)


@pytest.mark.parametrize('method', ['RRF', '', None, 3, ['rrf'], b'rrf'])
def test_an_unknown_method_is_refused(method: Any) -> None:
    """The message names the methods there are."""
    with pytest.raises(QueryError, match="'rrf', 'weighted' or a function of the rankings, got"):
        fused([listed('a')], method)


def test_a_ranking_is_one_object() -> None:
    """Rankings compare and hash as objects, for arrays have no single truth value."""
    one, other = listed('ab'), listed('ab')
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def random(seed: int, rows: int, dim: int = 4) -> Float32Array:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def similarity(a: Float32Array, b: Float32Array, space: str) -> float:
    """Return the similarity as the docstring of `diversified` states it, in float64."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if space == 'l2':
        return float(1 / (1 + ((x - y) ** 2).sum()))
    return float(x @ y / (1 if space == 'ip' else np.linalg.norm(x) * np.linalg.norm(y)))


@pytest.mark.parametrize('space', SPACES)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 15), limit=st.integers(1, 18), mult=st.floats(0, 1))
def test_every_choice_is_a_best_one(space: Any, seed: int, rows: int, limit: int, mult: float) -> None:
    """Each row chosen has the largest marginal relevance of all rows left, by the formula written out."""
    query, vectors = random(seed, 1)[0], random(seed + 1, rows)
    chosen = diversified(query, vectors, space, limit, mult)
    assert len(chosen) == len(set(chosen)) == min(limit, rows)
    for count, at in enumerate(chosen):

        def gain(row: int, before: Sequence[int] = chosen[:count]) -> float:
            redundancy = max((similarity(vectors[row], vectors[other], space) for other in before), default=0)
            factor = mult if before else 1
            return factor * similarity(query, vectors[row], space) - (1 - mult) * redundancy

        best = max(gain(row) for row in range(rows) if row not in chosen[:count])
        assert gain(at) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize('space', SPACES)
@given(
    query=st.lists(st.integers(-2, 2), min_size=2, max_size=2),
    rows=st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), max_size=12),
    limit=st.integers(0, 14),
)
def test_lambda_1_is_the_order_by_distance(space: Any, query: list[int], rows: list[list[int]], limit: int) -> None:
    """With `lambda_mult` 1 the rows come by distance, equal ones by position; zeros and repeated rows included."""
    vectors = np.array(rows, np.float32).reshape(len(rows), 2)
    exact = distances(np.array([query], np.float32), vectors, space)[0]
    chosen = diversified(np.array(query, np.float32), vectors, space, limit, 1)
    assert chosen == np.argsort(exact, kind='stable')[:limit].tolist()
    assert all(type(at) is int for at in chosen)


@pytest.mark.parametrize('space', SPACES)
@given(seed=st.integers(0, 1000), mult=st.floats(0, 1))
def test_a_smaller_limit_is_a_beginning(space: Any, seed: int, mult: float) -> None:
    """A choice of fewer rows is the beginning of a choice of more, and begins with the nearest row."""
    query, vectors = random(seed, 1)[0], random(seed + 1, 8)
    everything = diversified(query, vectors, space, 8, mult)
    assert everything[0] == int(distances(query[None], vectors, space)[0].argmin())
    for limit in range(9):
        assert diversified(query, vectors, space, limit, mult) == everything[:limit]


def test_diversified_by_hand() -> None:
    """Of two near twins and a row further off, l2: lambda 0.5 takes the stranger second, lambda 0.9 the twin."""
    # Similar to the query 0 by 1/2, 1/2.44, 1/5; to row 0 by 1/1.04 (row 1) and 1/10 (row 2).
    query, vectors = np.zeros(1, np.float32), np.array([[1], [1.2], [-2]], np.float32)
    assert diversified(query, vectors, 'l2', 3, 0.5) == [0, 2, 1]  # 0.1 - 0.05 > 0.205 - 0.481
    assert diversified(query, vectors, 'l2', 3, 0.9) == [0, 1, 2]  # 0.369 - 0.096 > 0.18 - 0.01


def test_rows_that_are_very_close_are_told_apart() -> None:
    """Squared distances far below float32's precision at 1 still count in l2."""
    vectors = np.array([[0], [1e-5], [2e-5]], np.float32)
    assert diversified(vectors[0], vectors, 'l2', 3, 0.25) == [0, 2, 1]


def test_lambda_0_begins_with_the_nearest_and_flees_from_it() -> None:
    """With `lambda_mult` 0 the first is the nearest, then what is least like those chosen, equal ones by distance."""
    vectors = np.array([[0, 1], [0.8, 0.6], [1, 0], [-1, 0.1]], np.float32)
    assert diversified(np.array([1, 0.1], np.float32), vectors, 'cosine', 3, 0) == [2, 3, 0]
    mirrored = np.array([[-1, 0], [3, 0], [1, 1], [1, -1], [1, 0]], np.float32)
    query = np.array([1.1, -0.2], np.float32)
    assert diversified(query, mirrored, 'l2', 3, 0) == [4, 1, 0]  # both at 4 from row 4, row 1 nearer to the query


def test_negative_similarities_are_not_taken_for_none() -> None:
    """Under ip a row opposite to those chosen is rewarded for it, although nothing chosen would count as 0."""
    vectors = np.array([[2, 0], [0, 1], [-2, 1.5]], np.float32)
    assert diversified(np.array([1, 0], np.float32), vectors, 'ip', 2, 0.5) == [0, 2]  # -1 + 2 > 0 - 0


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize('mult', [0, 0.5, 1])
def test_equal_rows_are_chosen_by_position(space: Any, mult: float) -> None:
    """Rows that are all the same come in the order of their positions."""
    assert diversified(np.ones(2, np.float32), np.ones((5, 2), np.float32), space, 5, mult) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('space', SPACES)
def test_far_rows_are_no_trouble(space: Any) -> None:
    """Vectors as long as the space allows are compared without overflow or warning."""
    vectors = np.array([[8e18, 0], [-8e18, 0], [0, 8e18], [0, 0]], np.float32)
    assert sorted(diversified(vectors[0], vectors, space, 4, 0.5)) == [0, 1, 2, 3]


@pytest.mark.parametrize('space', SPACES)
def test_nothing_to_choose_from(space: Any) -> None:
    """No rows, or a limit of 0, give no positions."""
    assert diversified(np.ones(3, np.float32), np.empty((0, 3), np.float32), space, 5, 0.5) == []
    assert diversified(np.ones(3, np.float32), random(1, 4, 3), space, 0, 0.5) == []


def test_diversified_leaves_its_input_alone() -> None:
    """Neither the query nor the vectors are written to."""
    query, vectors = random(1, 1)[0], random(2, 6)
    query.flags.writeable = vectors.flags.writeable = False
    assert len(diversified(query, vectors, 'l2', 6, 0.3)) == 6


@pytest.mark.parametrize('mult', [-0.01, 1.01, math.nan, math.inf, None, '0.5', 10**400])
def test_lambda_must_lie_between_0_and_1(mult: Any) -> None:
    """A `lambda_mult` outside [0, 1] is refused."""
    with pytest.raises(QueryError, match='lambda_mult must be a number from 0 to 1, got'):
        diversified(np.ones(2, np.float32), np.ones((3, 2), np.float32), 'l2', 2, mult)


@pytest.mark.parametrize('limit', [-1, 2.0, True, None])
def test_the_limit_of_a_choice_is_no_negative_number(limit: Any) -> None:
    """A limit that is neither 0 nor a positive integer is refused."""
    with pytest.raises(QueryError, match='limit must be an integer of at least 0, got'):
        diversified(np.ones(2, np.float32), np.ones((3, 2), np.float32), 'l2', limit, 0.5)


def test_grouped_by_hand() -> None:
    """Groups b a b c a b a, two of each: b's first two, a's first two, c's only one."""
    keys, groups = range(7), 'babcaba'
    assert grouped(keys, groups, 2, None) == [0, 2, 1, 4, 3]
    assert grouped(keys, groups, 2, 2) == [0, 2, 1, 4]
    assert grouped(keys, groups, 1, 9) == [0, 1, 3]


def test_none_is_a_group() -> None:
    """None is a group like any other, with a place and a size."""
    assert grouped('abcd', [None, 'x', None, None], 2, None) == [0, 2, 1]
    assert grouped('abcd', ['x', None, 'x', None], 1, 1) == [0]


@given(st.lists(st.sampled_from(['x', 'y', None, 0, 7, ('t', 1)])), st.integers(1, 5), st.none() | st.integers(1, 7))
def test_grouped_follows_its_definition(groups: list[Any], size: int, limit: int | None) -> None:
    """The first groups by best member come one after another, each with its first members in ranked order."""
    order = sorted(set(groups), key=groups.index)[:limit]
    expected = [[at for at, group in enumerate(groups) if group == wanted][:size] for wanted in order]
    assert grouped([f'id {at}' for at in range(len(groups))], groups, size, limit) == sum(expected, [])  # noqa: RUF017


def test_groups_larger_than_the_ranking() -> None:
    """A size and a limit beyond all there is are as good as none, however large."""
    assert grouped('abc', 'xyx', 10**30, 10**30) == [0, 2, 1]


@pytest.mark.parametrize('number', [0, -1, 1.0, True, '1'])
def test_size_and_limit_of_groups_are_positive(number: Any) -> None:
    """A size or a limit that is not a positive integer is refused by name."""
    with pytest.raises(QueryError, match='size must be an integer of at least 1, got'):
        grouped('ab', 'xy', number, None)
    with pytest.raises(QueryError, match='limit must be an integer of at least 1, got'):
        grouped('ab', 'xy', 1, number)


def test_a_size_of_none_is_refused() -> None:
    """Only the limit may be None."""
    with pytest.raises(QueryError, match='size must be an integer of at least 1, got None'):
        grouped('ab', 'xy', None, 1)  # type: ignore[arg-type]
