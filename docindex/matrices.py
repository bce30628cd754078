"""The vectors of documents and of queries as float32 matrices, checked before anything else sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel

from .distances import check_comparable
from .errors import DimensionError, DocumentError, QueryError, VectorError
from .fields import StoredAs, VectorSettings
from .filling import with_vectors
from .frameworks import Array, framework_of
from .schema import Column
from .tensors import Float32Array, Tensor, as_array

# Squares of lengths between which each check is passed.
_SMALLEST_READY, _LARGEST_READY = 1e-30, 1e30
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_MOST_LOST = 2.0**-10
_BLOCK = 4_096


def column_matrix(
    values: Sequence[Any], column: Column, settings: VectorSettings, document: Callable[[int], str]
) -> tuple[Float32Array, list[Tensor | None]]:
    """
    Return the values of a vector column as a matrix (n, dim) with zeros for None, and each as the tensor it is.

    The matrix has what the vector file will: with `stored_as='float16'`, values that float16 holds.

    Args:
        values: The values.
        column: The column.
        settings: Its settings.
        document: Names, for an error, the document whose value stands at a position.

    Raises:
        DocumentError: a required vector is missing.
        DimensionError: a vector has another length than the column.
        VectorError: a vector is not numeric, not finite, too large for the space, or too large or too small for what it
            is stored as.
    """
    arrays: list[Array | None] = []
    for at, value in enumerate(values):
        if value is None and not column.is_optional:
            raise DocumentError(f'{document(at)}: field {column.name!r} is missing; it needs a {settings.dim}-d vector')
        arrays.append(None if value is None else _vector(value, column.name, settings.dim, document, at))
    nothing = np.zeros(settings.dim, np.float32)
    matrix = _float32([nothing if array is None else array for array in arrays], settings.dim)
    _check_values(matrix, arrays, column.name, document)
    check_comparable(matrix, settings.space, column.name, document)
    matrix = rounded(matrix, settings.stored_as, column.name, document)
    if all(array is value for array, value in zip(arrays, values, strict=True)):
        return matrix, arrays  # nearly always
    return matrix, [
        value if framework_of(value) is not None else array for array, value in zip(arrays, values, strict=True)
    ]


def rounded(matrix: Float32Array, stored_as: StoredAs, field: str, document: Callable[[int], str]) -> Float32Array:
    """
    Return finite vectors (n, dim) as a vector file gives them back: float32, rounded to what they are stored as.

    Args:
        matrix: The vectors.
        stored_as: What they are stored as.
        field: Their field, for an error.
        document: Names, for an error, the document whose vector stands in a row.

    Raises:
        VectorError: a value is infinite in float16, or a vector so small that more is lost than its precision.
    """
    if stored_as == 'float32':
        return matrix
    with np.errstate(over='ignore', under='ignore'):
        stored = matrix.astype(np.float16).astype(np.float32)
    if not np.isfinite(stored).all():
        row, position = np.argwhere(~np.isfinite(stored))[0].tolist()
        raise VectorError(
            f'{document(row)}: field {field!r} has {matrix[row, position]:.6g} at position {position}; '
            f"stored_as='float16' holds up to {_LARGEST_FLOAT16:,.0f}: scale the vectors down"
        )
    # A value rounds to one near it, by 2 ** -11 of itself at most, unless it is nearly 0. That does no harm to one
    # value among many, and real embeddings have such values; a vector of nothing else would become another one.
    lost, lengths = (np.linalg.norm(each.astype(np.float64), axis=1) for each in (matrix - stored, matrix))
    is_lost = lost > _MOST_LOST * lengths
    if is_lost.any():
        row = int(is_lost.argmax())
        raise VectorError(
            f'{document(row)}: field {field!r} is a vector of length {lengths[row]:.3g}, which is too small for '
            f"stored_as='float16': {lost[row] / lengths[row]:.1%} of it would be lost; scale the vectors up"
        )
    return stored


def whole_matrix(
    values: Any, column: Column, settings: VectorSettings, document: Callable[[int], str]
) -> Float32Array | None:
    """
    Return an array (n, dim) of numbers, the vectors of a column, as float32: itself if it is.

    None, if it is anything else, for `column_matrix` to look at value by value.

    Args:
        values: The array.
        column: The column.
        settings: Its settings.
        document: Names, for an error, the document whose vector is in a row.

    Raises:
        VectorError: as for `column_matrix`.
    """
    if not (isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in 'fiub'):
        return None
    if values.shape[1] != settings.dim or not values.dtype.isbuiltin:
        return None
    with np.errstate(over='ignore'):
        matrix = np.ascontiguousarray(values, np.float32)
    for start in range(0, len(matrix), _BLOCK):  # what numpy makes on the way is as large as what it looks at
        block = matrix[start : start + _BLOCK]
        name = partial(_further, document, start)
        _check_values(block, values[start : start + _BLOCK], column.name, name)
        check_comparable(block, settings.space, column.name, name)
    return rounded(matrix, settings.stored_as, column.name, document)


def _further(document: Callable[[int], str], start: int, at: int) -> str:
    return document(start + at)


def query_matrix(queries: object, column: Column, settings: VectorSettings) -> Float32Array:
    """
    Return queries as a matrix (q, dim), from documents, dicts, vectors, or texts if the column embeds some.

    A document can be of any class that has the column's field, or the text that the column embeds.

    Raises:
        QueryError: a document has no such field, the queries are not a sequence, or the column does not embed texts.
        DimensionError, VectorError: as for documents.
        EmbeddingError: the function that makes vectors of texts has failed.
    """
    if isinstance(queries, (str, bytes, BaseModel, Mapping)) or not hasattr(queries, '__len__'):
        raise QueryError(f'expected several queries, got {type(queries).__name__}; use find() for one')
    if isinstance(queries, np.ndarray) and queries.ndim != 2 and queries.size:
        raise QueryError(
            f'expected several queries, an array of shape (q, dim), got {queries.shape}; use find() for one'
        )
    given = list(queries)  # type: ignore[call-overload]
    if len(given) == 1 and _is_ready(given[0], settings.dim):
        return np.asarray(given[0])[None]
    given = with_vectors(given, column)

    def query(at: int) -> str:
        return f'query {at}' if len(given) > 1 else 'the query'

    arrays = [
        _vector(_query_value(one, column, query(at)), column.name, settings.dim, query, at)
        for at, one in enumerate(given)
    ]
    matrix = _float32(arrays, settings.dim)
    _check_values(matrix, arrays, column.name, query)
    check_comparable(matrix, settings.space, column.name, query)
    return matrix


def _is_ready(query: object, dim: int) -> bool:
    """Return whether a query is a float32 vector that none of the checks would refuse, as most are."""
    if type(query) is not np.ndarray or query.dtype != np.float32 or query.shape != (dim,):
        return False
    # Finite, not zero, and far from the ends of float32: one look instead of four, at 1 us instead of 8.
    exact = query.astype(np.float64)  # which does not overflow, and so prints no warning
    return bool(_SMALLEST_READY < exact.dot(exact) < _LARGEST_READY)


def _query_value(query: object, column: Column, what: str) -> object:
    if not isinstance(query, (BaseModel, Mapping)):
        return query
    value: Any = query
    for step in (column.name,) if isinstance(query, Mapping) and column.name in query else column.path:
        found = value.get(step) if isinstance(value, Mapping) else getattr(value, step, None)
        if found is None:
            raise QueryError(f'{what} ({type(query).__name__}) has no value for the search field {column.name!r}')
        value = found
    return value


def _vector(value: object, field: str, dim: int, what: Callable[[int], str], at: int) -> Array:
    if type(value) is np.ndarray and value.dtype == np.float32 and value.shape == (dim,):
        return value  # as nearly all of them are
    try:
        array = as_array(value)
    except VectorError as error:
        raise VectorError(f'{what(at)}: field {field!r}: {error}') from error
    if array.shape != (dim,):
        got = f'{array.shape[0]}-d' if array.ndim == 1 else f'an array of shape {array.shape}'
        raise DimensionError(f'{what(at)}: field {field!r} holds {dim}-d vectors, got {got}', field, dim, array.shape)
    return array


def _float32(arrays: Sequence[Array], dim: int) -> Float32Array:
    with np.errstate(over='ignore'):  # what overflows becomes infinite, and is refused as that
        together = np.concatenate(arrays, dtype=np.float32, casting='unsafe') if arrays else np.empty(0, np.float32)
    return together.reshape(len(arrays), dim)


def _check_values(
    matrix: Float32Array, arrays: Sequence[Array | None] | Array, field: str, what: Callable[[int], str]
) -> None:
    """Check that float32 holds the vectors: that they are finite in it, and not zero unless they are."""
    if np.isfinite(matrix).all():
        for row in np.flatnonzero(~matrix.any(axis=1)).tolist():
            array = arrays[row]
            if array is not None and array.any():
                raise VectorError(f'{what(row)}: field {field!r} is so small that it is zero in float32; scale it up')
        return
    row, position = np.argwhere(~np.isfinite(matrix))[0].tolist()
    found = 'NaN' if np.isnan(matrix[row, position]) else 'a value that is infinite in float32'
    raise VectorError(f'{what(row)}: field {field!r} has {found} at position {position}; vectors must be finite')
