"""
Documents as data frames of pandas or polars, and back. A frame is recognised by its class: neither is imported for it.

A polars frame is the Arrow table of `docindex.arrow`. A pandas frame holds Python objects where numpy has no type for
them: arrays, sets, lists of documents, enums. pandas does not tell None from NaN, so that a NaN in a `float | None`
comes back as None; anything else comes back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from ._optional import optional
from .arrow import from_arrow, to_arrow
from .errors import DocumentError, TableError
from .tables import (
    STRICT_TEXTS,
    BadCellError,
    Form,
    Rows,
    TableColumn,
    at_row,
    plain_cell,
    read_cells,
    rows_of,
    strict_list,
    tensor_from_parts,
    text_reader,
    type_of,
)
from .texts import cell_of_text

D = TypeVar('D', bound=BaseModel)

_MAY_BE_NULL = {'int': 'Int64', 'bool': 'boolean'}
_INFERRED = ('str', 'int', 'float', 'bool', 'datetime', 'timedelta', 'presence')


def to_dataframe(docs: Sequence[Any], doc_type: type[Any] | None, library: str) -> Any:
    """
    Return documents as a data frame.

    Args:
        docs: The documents.
        doc_type: Their class, None for that of all of them.
        library: 'pandas' or 'polars'.

    Raises:
        MissingLibraryError: the library is not installed; the message says what to install.
    """
    if library == 'polars':
        return optional('polars', 'polars', 'polars frames').from_arrow(to_arrow(docs, doc_type))
    if library != 'pandas':
        raise TableError(f"a data frame is one of 'pandas' or 'polars', not {library!r}")
    pandas = optional('pandas', 'pandas', 'pandas frames')
    columns = rows_of(type_of(docs, doc_type)).columns.values()
    series = {column.name: _series(pandas, column.form, [column.value(doc) for doc in docs]) for column in columns}
    return pandas.DataFrame(series, index=pandas.RangeIndex(len(docs)))


def from_dataframe(frame: Any, doc_type: type[D]) -> list[D]:
    """
    Return the rows of a data frame of pandas or polars as documents.

    Raises:
        TableError: a column is missing, or a row does not fit; the message names both and the reason.
    """
    library = type(frame).__module__.partition('.')[0]
    if library == 'polars' and hasattr(frame, 'lazy') and hasattr(frame, 'columns'):
        return from_arrow(frame.to_arrow(), doc_type)
    if library != 'pandas' or not hasattr(frame, 'columns'):
        raise TableError(f'expected a data frame of pandas or polars, got {type(frame).__name__}')
    rows = rows_of(doc_type)
    return [rows.document(row, number) for number, row in enumerate(rows_from_pandas(frame, doc_type))]


def rows_from_pandas(frame: Any, doc_type: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a pandas frame as nested dicts, which the document class validates.

    Each cell is read by itself: what pandas, or Arrow, takes a column for depends on the cells around it.

    Raises:
        TableError: a column is missing, looks like a misspelt one, is there twice, or has a cell that cannot be read.
    """
    rows = rows_of(doc_type)
    names = [*map(str, frame.columns)]
    cells: dict[str, Sequence[Any]] = {}
    for name in rows.known(names, whole=True):
        try:
            cells[name] = read_cells(frame.iloc[:, names.index(name)], partial(_cell, rows, name))
        except BadCellError as error:
            raise error.at(0, name) from error
    return rows.rows(cells)


def values_of(series: Any, name: str, may_be_nan: bool) -> list[Any]:
    """
    Return the cells of a pandas column as values that Python has, None where one is missing.

    Args:
        series: The column.
        name: Its name, for an error.
        may_be_nan: Whether NaN is a value there, and nothing is missing.

    Raises:
        DocumentError: Python has no such value, a time in the year 20000 say; the message names the row.
    """
    try:
        return read_cells(_present(series.tolist(), not may_be_nan), _as_python)
    except BadCellError as error:
        raise DocumentError(at_row(error.row, None, f'{name}: {error.reason}')) from error


def _series(pandas: Any, form: Form, cells: list[Any]) -> Any:
    if form.kind == 'str':
        cells = [None if cell is None else plain_cell(form, cell) for cell in cells]
    dtype = None if form.kind in _INFERRED else 'object'
    if form.kind in _MAY_BE_NULL and any(cell is None for cell in cells):
        dtype = _MAY_BE_NULL[form.kind]
    try:
        return pandas.Series(cells, dtype=dtype)
    except (OverflowError, ValueError, TypeError):  # integers beyond 64 bits, times with and without a zone
        return pandas.Series(cells, dtype='object')


def _present(cells: Iterable[Any], nan_is_none: bool) -> list[Any]:
    """Return the cells of a column, None where one is missing."""
    return [None if _is_missing(cell, nan_is_none) else cell for cell in cells]


def _is_missing(cell: Any, nan_is_none: bool) -> bool:
    if isinstance(cell, float):
        return nan_is_none and math.isnan(cell)
    return cell is None or type(cell).__name__ in ('NAType', 'NaTType')


def _as_python(cell: Any) -> Any:
    if hasattr(cell, 'to_pydatetime'):
        return cell.to_pydatetime(warn=False)
    if hasattr(cell, 'to_pytimedelta'):
        return cell.to_pytimedelta()
    return cell.item() if isinstance(cell, np.generic) else cell


def _cell(rows: Rows[Any], name: str, cell: Any) -> Any:
    """Return a cell of a pandas column as what a document class validates, None where one is missing."""
    column = rows.columns.get(name)
    if _is_missing(cell, column is None or column.can_be_none or not column.form.may_be_nan):
        return None
    if isinstance(cell, Mapping) and name in rows.doc_types:
        return _document(rows_of(rows.doc_types[name]), cell)
    if column is not None:
        return _value(column, column.form, _as_python(cell))
    if not isinstance(cell, BaseModel):
        raise TypeError(f'expected a document, got {type(cell).__name__}')
    return cell


def _value(column: TableColumn, form: Form, cell: Any) -> Any:
    """Return a value in a cell, or in the list in one, as what a document class validates."""
    if isinstance(cell, str) and form.kind in ('tensor', 'list', 'documents', 'json') and not form.may_be_text:
        return cell_of_text(column, cell)  # what pandas makes of a CSV file
    if isinstance(cell, str) and column.is_strict:
        return text_reader(form, STRICT_TEXTS)(cell)
    if isinstance(cell, dict) and form.kind == 'tensor':
        return tensor_from_parts(cell)
    if isinstance(cell, np.ndarray) and form.kind == 'tensor':
        return cell if cell.dtype != object else np.array([*map(np.asarray, cell)])
    if isinstance(cell, np.ndarray) and form.kind in ('list', 'documents'):
        cell = _listed(column, form.item, cell)
    if isinstance(cell, list) and column.is_strict:
        cell = strict_list(form, cell)
    if form.rows is not None and isinstance(cell, list):
        return [_document(form.rows, item) if isinstance(item, Mapping) else item for item in cell]
    return cell


def _listed(column: TableColumn, item: Form | None, array: np.ndarray[Any, Any]) -> list[Any]:
    """Return what pandas makes of a list in a Parquet file as a list of Python's values."""
    if array.dtype.kind in 'mM':
        array = array.astype(f'{array.dtype.kind}8[us]')  # finer ones would become integers
    cells: list[Any] = array.tolist()
    return cells if item is None else [None if cell is None else _value(column, item, cell) for cell in cells]


def _document(rows: Rows[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dict in a cell, a struct of a Parquet file say, as what a document class validates."""
    known = {name: [_cell(rows, name, given[name])] for name in given if name in rows.columns or name in rows.doc_types}
    others = {name: value for name, value in given.items() if name not in known}  # extra ones, aliases
    return {**next(rows.rows(known), {}), **others}
