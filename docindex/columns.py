"""
Documents given as columns, a list or an array for each field, instead of one by one.

Here they are checked for their names and lengths, and can become documents. `docindex.hnsw.columns` stores them without
making any.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from ._later import later
from .annotations import is_ambiguous, types_within
from .errors import DocumentError, QueryError, VectorError
from .frameworks import NUMPY, framework_of
from .schema import Column, Schema
from .tensors import as_array, framework_of_type, is_tensor_type

D = TypeVar('D', bound=BaseModel)

_AS_LISTS = ('tolist', 'to_list', 'to_pylist')  # of numpy, polars, Arrow


class GivenColumns(Generic[D]):
    """
    Documents as columns by flat name, all of one length.

    A nested document is there in all rows, or if it may be None, in those where one of its columns has a value; without
    any column of its own it is what its class has by default.

    Attributes:
        schema: The schema of the documents.
        values: The columns: lists of values, or for tensors whatever was given.
        count: How many rows there are.
        vectors: The flat names of the vector fields.
    """

    def __init__(
        self, schema: Schema[D], values: Mapping[str, Sequence[Any]], count: int, vectors: Collection[str]
    ) -> None:
        self.schema = schema
        self.values = values
        self.count = count
        self.vectors = vectors
        self._around = {name for column in values for name in _documents_around(schema.columns[column])}
        self._presence: dict[str, list[bool] | None] = {'': None}

    @classmethod
    def read(
        cls, schema: Schema[D], columns: object, named: Mapping[str, Any], vectors: Collection[str]
    ) -> GivenColumns[D]:
        """
        Return columns as a user gives them, in a mapping, by keywords, or both; `vectors` are the vector fields.

        Raises:
            QueryError: there are none, a name is no column's, something is no column, or they differ in length.
            DocumentError: a column is missing that every document needs.
        """
        if columns is not None and not isinstance(columns, Mapping):
            raise QueryError(
                f'expected columns by name, id=[...], embedding=array, or a dict of them, got {type(columns).__name__}'
                '; index() takes documents, index_from() files and tables'
            )
        given = {**(columns or {}), **named}
        twice = [name for name in named if name in (columns or {})]
        if twice or not given:
            problem = f'the column {twice[0]!r} is given twice' if twice else 'there are no columns'
            raise QueryError(f'{problem}; the fields of {schema.name} are {", ".join(_possible(schema))}')
        for name in given:
            _check_name(schema, name)
        values = {name: _values(schema.columns[name], column) for name, column in given.items()}
        _check_lengths(values)
        found = cls(schema, values, len(next(iter(values.values()))), vectors)
        found._check_complete()
        return found

    def lacks_vectors(self) -> bool:
        """Return whether vectors have to be made of texts, for which documents are made first."""
        return any(self._lacks(column.name) for column in self.schema.embedding)

    def _lacks(self, name: str) -> bool:
        values: Any = self.values.get(name)
        return values is None or (not isinstance(values, np.ndarray) and any(value is None for value in values))

    def has_within(self, name: str) -> bool:
        """Return whether there is a column within the nested document `name`."""
        return name in self._around

    def presence(self, name: str) -> list[bool] | None:
        """Return in which rows there is the nested document `name`, of which there are columns; None: in all."""
        if name not in self._presence:
            node = self.schema.nodes[name]
            self._presence[name] = self._where_given(name) if node.can_be_none else self.presence(node.outer)
        return self._presence[name]

    def _where_given(self, name: str) -> list[bool] | None:
        found = np.zeros(self.count, bool)
        for one, column in self.values.items():
            if name in _documents_around(self.schema.columns[one]):
                if not isinstance(column, (list, tuple)):  # of tensors: each row of it is one
                    return None
                found |= np.fromiter((value is not None for value in column), bool, self.count)
        return None if found.all() else found.tolist()

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as nested dicts of what the document class validates."""
        inside: dict[str, list[Any]] = {'': [{} for _ in range(self.count)]}
        for name, node in self.schema.nodes.items():  # each after the document that it is in
            cells: Sequence[Any]
            if name in self.values:
                cells = self._cells(node)
            elif self.has_within(name):
                there = self.presence(name)
                inside[name] = [{} if there is None or there[at] else None for at in range(self.count)]
                cells = inside[name]
            else:
                continue
            for row, cell in zip(inside[node.outer], cells, strict=True):
                if row is not None:
                    row[node.path[-1]] = cell
        return inside['']

    def _cells(self, column: Column) -> Sequence[Any]:
        """Return the values of a column, vectors for numpy as float32: in a column they have one type."""
        values = self.values[column.name]
        if column.name not in self.vectors or framework_of_type(column.annotation) is not NUMPY:
            return values
        return [None if value is None else _as_float32(value) for value in values]

    def documents(self, show_progress: bool | None = False) -> list[D]:
        """
        Return the rows as documents, with the vectors that are made of texts.

        Raises:
            DocumentError, IdTypeError, VectorError: one of them does not fit; the message names the row and the column.
            EmbeddingError: a function that makes vectors has failed.
        """
        return self.schema.documents(self.rows(), 'row', show_progress, by_alias=not is_ambiguous(self.schema.doc_type))

    def _check_complete(self) -> None:
        missing = list(self._missing())
        if missing:
            names = ', '.join(map(repr, missing))
            are = 'columns are missing that every document needs' if missing[1:] else 'a column is missing'
            raise DocumentError(
                f'{are}: {names}; {self.schema.name} has no default for {"them" if missing[1:] else "it"}'
            )

    def _missing(self) -> Iterator[str]:
        """Yield the names of columns without which there is no document."""
        needed = {''}
        for name, node in self.schema.nodes.items():
            if node.outer not in needed:
                continue
            if node.is_document:
                needed |= {name} if self.has_within(name) or not node.has_default else set()
            elif not node.has_default and name not in self.values:
                yield name


def _documents_around(column: Column) -> list[str]:
    """Return the flat names of the nested documents in which a column is."""
    return ['__'.join(column.path[:depth]) for depth in range(1, len(column.path))]


def _possible(schema: Schema[Any]) -> list[str]:
    return [name for name, column in schema.columns.items() if column.inner is None]


def _check_name(schema: Schema[Any], name: object) -> None:
    if name in schema.lists:
        raise QueryError(f'{name!r} is a list of documents, and these have no columns here; index() takes them')
    if name in schema.columns:
        return
    possible = _possible(schema)
    inside = [one for one in possible if one.startswith(f'{name}__')]
    if inside:
        raise QueryError(f'{name!r} is a document; give its fields, {", ".join(inside)}')
    close = difflib.get_close_matches(str(name), possible, n=1)
    hint = f'did you mean {close[0]!r}?' if close else f'its fields are {", ".join(possible)}'
    raise QueryError(f'{schema.name} has no field {name!r}; {hint}')


def _values(column: Column, given: Any) -> Sequence[Any]:
    """Return a column as a list of values as Python has them; one of tensors as it is."""
    is_text = isinstance(given, (str, bytes, bytearray, Mapping))
    has_length = hasattr(given, '__len__') and getattr(given, 'ndim', 1) > 0
    if is_text or not has_length or not (isinstance(given, Sequence) or hasattr(given, '__array__')):
        raise QueryError(
            f'the column {column.name!r} is a {type(given).__name__}; a column is a list or an array, with a value for '
            'each document'
        )
    if type(given).__module__.partition('.')[0] == 'pandas' and given.ndim == 1:
        may_be_nan = not column.can_be_none and float in types_within(column.annotation)
        given = later('frames').values_of(given, column.name, may_be_nan)
    if is_tensor_type(column.annotation) or column.annotation is np.ndarray:
        return _tensors(given)
    if isinstance(given, np.ndarray) and given.dtype.kind in 'mM':
        given = given.astype(f'{given.dtype.kind}8[us]')  # finer ones would become integers
    if isinstance(given, np.ndarray) and given.dtype.char == 'g':
        given = given.astype(np.float64)  # Python has no longer ones
    convert = next((getattr(given, name) for name in _AS_LISTS if hasattr(given, name)), None)
    values: list[Any] = list(given) if convert is None else convert()
    if any(issubclass(one, np.generic) for one in {*map(type, values)}):
        return [_values(column, np.array([value]))[0] if isinstance(value, np.generic) else value for value in values]
    return values


def _tensors(given: Any) -> Sequence[Any]:
    if type(given).__module__.partition('.')[0] == 'polars' and given.null_count():
        return list(given)  # as an array it would have NaN where one is missing
    array: Any = given if isinstance(given, (list, tuple)) or framework_of(given) is not None else np.asarray(given)
    is_array = isinstance(array, np.ndarray) and array.dtype.kind != 'O' and array.ndim > 1
    return array if is_array else list(array)


def _check_lengths(values: Mapping[str, Sequence[Any]]) -> None:
    lengths = {name: len(column) for name, column in values.items()}
    ((usual, how_often), *others) = Counter(lengths.values()).most_common()
    if others:
        found = [f'{name!r} has {length:,}' for name, length in lengths.items() if length != usual or how_often == 1]
        rest = '' if how_often == 1 else f', the others have {usual:,}'
        raise QueryError(f'a column has a value for each document, but their lengths differ: {", ".join(found)}{rest}')


def _as_float32(value: Any) -> Any:
    try:
        array = as_array(value)
    except VectorError:
        return value  # whoever validates it says what is wrong
    with np.errstate(over='ignore'):
        converted = array.astype(np.float32, copy=False)
    is_lost = not converted.any() and array.any()
    return array if is_lost else converted
