import numpy as np
import pytest

from docindex.distances import check_comparable, distances, exact_search, nearest, unit
from docindex.errors import VectorError
from docindex.tensors import Float32Array


def random(seed: int, rows: int, dim: int = 5) -> Float32Array:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


@pytest.mark.parametrize('size', [1e-44, 1e-38, 1e-25, 1e-10, 1, 1e10, 1e25, 3e37])
def test_unit_has_length_one_at_any_size(size: float) -> None:
    """Vectors from the smallest to the largest float32 numbers are normalised correctly (P18)."""
    vectors = (np.array([[3, 4, 0], [0, 0, 1]]) * size).astype(np.float32)
    scaled = unit(vectors)
    expected = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None]
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    np.testing.assert_allclose(unit(vectors[:1]), expected[:1], rtol=1e-6)


def test_unit_keeps_zeros() -> None:
    """A row of zeros stays zeros and does not disturb the rows beside it."""
    scaled = unit(np.array([[0, 0], [3, 4], [0, 2]], np.float32))
    np.testing.assert_allclose(scaled, [[0, 0], [0.6, 0.8], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize('dim', [3, 8, 33, 384, 1024])
def test_unit_makes_equal_rows_of_equal_ones(dim: int) -> None:
    """A row comes out the same to the bit alone, beside others, and beside some that float32 cannot square."""
    vectors = random(7, 40, dim)
    vectors[::4] *= np.float32(1e-25)
    vectors[1::4] *= np.float32(1e25)
    beside = unit(vectors[2::4])
    np.testing.assert_array_equal(unit(vectors)[2::4], beside)
    for together in (vectors, vectors[2::4]):
        np.testing.assert_array_equal(np.concatenate([unit(row[None]) for row in together]), unit(together))


def test_unit_of_nothing() -> None:
    """No rows give no rows, without a warning."""
    assert unit(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_distances_follow_their_definitions() -> None:
    """Each space is what `docindex.results` says of it, computed in float64."""
    queries, vectors = random(1, 4), random(2, 7)
    q, v = queries.astype(np.float64), vectors.astype(np.float64)
    dot = q @ v.T
    expected = {
        'l2': ((q[:, None] - v[None]) ** 2).sum(axis=2),
        'ip': 1 - dot,
        'cosine': 1 - dot / np.outer(np.linalg.norm(q, axis=1), np.linalg.norm(v, axis=1)),
    }
    for space in ('l2', 'ip', 'cosine'):
        found = distances(queries, vectors, space)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[space], rtol=1e-4, atol=1e-5)


def test_l2_of_near_vectors_is_not_lost_to_rounding() -> None:
    """Two long vectors that differ by a little are at the square of that little."""
    vector = np.full((1, 3), 1000, np.float32)
    near = vector + np.float32(0.01)
    expected = float(((near.astype(np.float64) - vector) ** 2).sum())
    assert distances(near, vector, 'l2')[0, 0] == pytest.approx(expected, rel=1e-5)


def test_cosine_of_a_vector_with_itself_is_not_negative() -> None:
    """Rounding never makes a distance below zero (P18)."""
    vectors = random(3, 500, 17)
    assert distances(vectors, vectors, 'cosine').min() == 0


def test_cosine_with_zeros_is_one() -> None:
    """A vector of zeros is at distance 1 from everything, itself included."""
    vectors = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    assert distances(vectors[:1], vectors, 'cosine').tolist() == [[1, 1, 1]]


@pytest.mark.parametrize('k', [1, 2, 3, 6])
def test_nearest_is_ordered_by_distance_then_label(k: int) -> None:
    """`nearest` returns the k smallest ascending, equal ones in the order of their labels."""
    labels = np.array([9, 4, 7, 2, 5, 1])
    values = np.array([2, 1, 1, 3, 1, 2], np.float32)
    found, scores = nearest(labels, values, k)
    assert found.tolist() == [4, 5, 7, 1, 9, 2][:k]
    assert scores.tolist() == [1, 1, 1, 2, 2, 3][:k]


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
@pytest.mark.parametrize('block', [1, 3, 50])
def test_a_scan_in_blocks_is_a_scan(space: str, block: int) -> None:
    """`exact_search` gives the same however the vectors are cut into blocks, empty ones included."""
    queries, vectors = random(4, 3), random(5, 20)
    labels = np.arange(100, 120)
    cut = [(labels[at : at + block], vectors[at : at + block]) for at in range(0, 20, block)]
    found, scores = exact_search(queries, 6, space, [(labels[:0], vectors[:0]), *cut])  # type: ignore[arg-type]
    everything = distances(queries, vectors, space)  # type: ignore[arg-type]
    assert found.tolist() == (100 + np.argsort(everything, axis=1, kind='stable')[:, :6]).tolist()
    np.testing.assert_allclose(scores, np.sort(everything, axis=1)[:, :6], rtol=1e-5, atol=1e-6)


def test_a_scan_for_no_queries_finds_nothing() -> None:
    """No queries are no error: the answer has no rows."""
    labels, scores = exact_search(np.empty((0, 5), np.float32), 2, 'l2', [(np.arange(3), random(6, 3))])
    assert labels.shape == scores.shape == (0, 2)


@pytest.mark.parametrize('space', ['l2', 'ip'])
def test_vectors_too_long_for_float32_distances_are_refused(space: str) -> None:
    """Where a distance could overflow float32 the vector is refused, with its field, length and space."""
    with pytest.raises(VectorError, match=rf"'v'.*length 1e\+20.*'{space}'"):
        check_comparable(np.array([[1, 0], [0, 1e20]], np.float32), space, 'v')  # type: ignore[arg-type]


def test_long_vectors_are_fine_where_length_does_not_count() -> None:
    """Under cosine any finite vector is accepted, and anywhere one of length 1e18."""
    check_comparable(np.array([[1e38, 1e38]], np.float32), 'cosine', 'v')
    check_comparable(np.array([[1e18, 0]], np.float32), 'l2', 'v')
    check_comparable(np.empty((0, 2), np.float32), 'l2', 'v')


def test_what_is_comparable_has_finite_distances() -> None:
    """Two opposite vectors of the largest length that is accepted are at a finite distance."""
    length = np.float32(8.7e18)
    vectors = np.array([[length, 0], [-length, 0]], np.float32)
    check_comparable(vectors, 'l2', 'v')
    check_comparable(vectors, 'ip', 'v')
    assert np.isfinite(distances(vectors, vectors, 'l2')).all()
    assert np.isfinite(distances(vectors, vectors, 'ip')).all()
