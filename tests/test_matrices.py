from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DimensionError, DocumentError, Field, NdArray, QueryError, VectorError, VectorSettings
from docindex.matrices import column_matrix, query_matrix
from docindex.schema import Schema

NAN, INF = float('nan'), float('inf')


class Inner(BaseDoc):
    w: NdArray | None = Field(None, dim=2)


class Doc(BaseDoc):
    v: NdArray = Field(dim=3)
    inner: Inner = Inner()


class Other(BaseDoc):
    v: tuple[float, ...] = ()


COLUMNS = Schema(Doc).columns
SETTINGS = VectorSettings(dim=3)


def matrix_of(*values: Any, column: str = 'v', **settings: Any) -> Any:
    dim = 3 if column == 'v' else 2

    def name_of(at: int) -> str:
        return f"document {at} (id 'id {at}')"

    return column_matrix(values, COLUMNS[column], VectorSettings(dim=dim, **settings), name_of)


def test_values_become_a_matrix() -> None:
    """Vectors of any type become the rows of a float32 matrix, and are also returned as what they are."""
    matrix, arrays = matrix_of([1, 2, 3], np.float16([4, 5, 6]), (7.5, 8, 9))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 2, 3], [4, 5, 6], [7.5, 8, 9]]
    assert [array.dtype for array in arrays] == [np.int64, np.float16, np.float64]


def test_none_is_a_row_of_zeros() -> None:
    """Where an optional vector is missing the matrix has zeros and the list None."""
    matrix, arrays = matrix_of([1, 2], None, column='inner__w')
    assert matrix.tolist() == [[1, 2], [0, 0]]
    assert arrays[1] is None


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', '>f8', 'int8', 'uint64', 'bool'])
def test_every_number_type_is_taken(dtype: str) -> None:
    """Booleans, integers and floats of any size and byte order are numbers."""
    assert matrix_of(np.ones(3, dtype))[0].tolist() == [[1, 1, 1]]


BAD_VECTORS: dict[str, tuple[Any, type[Exception], list[str]]] = {
    'missing': (None, DocumentError, ['missing', '3-d']),
    'short': ([1, 2], DimensionError, ['3-d', '2-d']),
    'long': ([1, 2, 3, 4], DimensionError, ['3-d', '4-d']),
    'empty': ([], DimensionError, ['3-d', '0-d']),
    'a number': (np.float32(1), DimensionError, ['3-d', '()']),
    'a matrix': ([[1, 2, 3]], DimensionError, ['3-d', '(1, 3)']),
    'text': ('abc', VectorError, ["'abc'"]),
    'a list of text': (['a', 'b', 'c'], VectorError, ['numbers']),
    'NaN': ([1, 2, NAN], VectorError, ['NaN', 'position 2']),
    'infinity': ([1, -INF, 3], VectorError, ['infinite', 'position 1']),
    'too large for float32': ([1e300, 2, 3], VectorError, ['infinite in float32', 'position 0']),
}


@pytest.mark.parametrize(('value', 'error', 'said'), BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_a_bad_vector_is_refused(value: Any, error: type[Exception], said: list[str]) -> None:
    """A vector that cannot be stored is refused with its document, its field, what came and what was expected."""
    with pytest.raises(error) as raised:
        matrix_of([1, 2, 3], value)
    assert type(raised.value) is error
    assert isinstance(raised.value, ValueError)
    assert all(word in str(raised.value) for word in ["document 1 (id 'id 1')", "'v'", *said])


def test_a_dimension_error_can_be_read_by_a_program() -> None:
    """`DimensionError` has the field, the expected length and the shape that came."""
    with pytest.raises(DimensionError) as raised:
        matrix_of([1, 2])
    assert (raised.value.field, raised.value.expected, raised.value.got) == ('v', 3, (2,))


@pytest.mark.parametrize('space', ['l2', 'ip'])
def test_a_vector_too_long_for_its_space_is_refused(space: str) -> None:
    """A vector whose distances would overflow names its document and the space."""
    with pytest.raises(VectorError, match=space):
        matrix_of([1, 2, 3], [1e30, 0, 0], space=space)


@pytest.mark.parametrize('value', [[1e-25, 0, 0], [1e38, 1e38, 1e38], [0, 0, 0], [1e-45, 0, 0]], ids=str)
def test_extremes_are_fine_under_cosine(value: list[float]) -> None:
    """Under cosine any finite vector is accepted, zeros too."""
    matrix, _ = matrix_of(value, space='cosine')
    np.testing.assert_array_equal(matrix[0], np.float32(value))


@pytest.mark.parametrize(
    'queries',
    [
        [[1, 2, 3]],
        np.array([[1, 2, 3]]),
        [np.array([1.0, 2, 3])],
        ([1, 2, 3],),
        [Doc(v=[1, 2, 3])],
        [Other(v=[1, 2, 3])],
        [{'v': [1, 2, 3]}],
    ],
    ids=['lists', 'matrix', 'arrays', 'tuple', 'document', 'other class', 'dict'],
)
def test_queries_come_in_many_forms(queries: Any) -> None:
    """Queries are vectors, documents of any class that has the field, or dicts."""
    assert query_matrix(queries, COLUMNS['v'], SETTINGS).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    'query',
    [
        Doc(v=[0, 0, 0], inner=Inner(w=[1, 2])),
        {'inner': {'w': [1, 2]}},
        {'inner__w': [1, 2]},
        {'inner': Inner(w=[1, 2])},
    ],
    ids=['document', 'nested dict', 'flat dict', 'document in a dict'],
)
def test_a_nested_field_of_a_query(query: Any) -> None:
    """A nested vector is found along its path, or by its flat name in a dict."""
    assert query_matrix([query], COLUMNS['inner__w'], VectorSettings(dim=2)).tolist() == [[1, 2]]


def test_a_very_long_query_is_taken_without_a_warning() -> None:
    """A query whose square float32 does not hold has a direction like any other, and numpy says nothing of it."""
    query = np.float32([1e20, 0, 0])
    matrix = query_matrix([query], COLUMNS['v'], VectorSettings(dim=3, space='cosine'))
    assert np.array_equal(matrix, query[None])


BAD_QUERIES: dict[str, tuple[Any, type[Exception], list[str]]] = {
    'one document': (Doc(v=[1, 2, 3]), QueryError, ['Doc', 'find()']),
    'one dict': ({'v': [1, 2, 3]}, QueryError, ['dict', 'find()']),
    'one vector': (np.ones(3), QueryError, ['(3,)', 'find()']),
    'text': ('abc', QueryError, ['str']),
    'a number': (5, QueryError, ['int']),
    'no such field': ([Other(v=[1, 2, 3]), Inner()], QueryError, ['query 1', 'Inner', "'v'"]),
    'short': ([[1, 2]], DimensionError, ['the query', "'v'", '3-d', '2-d']),
    'one short': ([[1, 2, 3], [1, 2]], DimensionError, ['query 1', "'v'", '3-d', '2-d']),
    'NaN': ([[1, NAN, 3]], VectorError, ['the query', "'v'", 'NaN', 'position 1']),
    'infinite': ([[1, 2, 3], [1, 2, 1e300]], VectorError, ['query 1', "'v'", 'infinite', 'position 2']),
    'None': ([None], VectorError, ['the query', "'v'", 'None']),
    'words': (['a boat'], QueryError, ['the query', "'v'", 'a boat', 'embeds=']),
}


@pytest.mark.parametrize(('queries', 'error', 'said'), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_query_is_refused(queries: Any, error: type[Exception], said: list[str]) -> None:
    """A query that cannot be compared is refused with the field, what came and what was expected (D10, P1)."""
    with pytest.raises(error) as raised:
        query_matrix(queries, COLUMNS['v'], SETTINGS)
    assert type(raised.value) is error
    assert isinstance(raised.value, ValueError)
    assert all(word in str(raised.value) for word in said)


@pytest.mark.parametrize('queries', [[], (), np.empty((0, 3))], ids=repr)
def test_no_queries_are_a_matrix_without_rows(queries: Any) -> None:
    """No queries are fine."""
    assert query_matrix(queries, COLUMNS['v'], SETTINGS).shape == (0, 3)
