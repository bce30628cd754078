"""
Documents as the rows of JSON lines and CSV, and back: what the cells of `docindex.tables` are as JSON, and as text.

A row of JSON is a document as one would write it: nested documents are objects, lists are lists, vectors lists of
numbers. Numbers in JSON have no type, so a list of numbers is read as float32 if that holds each of them, and vectors
of other types are written with their type beside them. In CSV a cell is the text of a value, or JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import date, time, timedelta
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from .tables import EXTRA, Form, InlineTensors, Rows, TableColumn

_BASE64 = 'base64'
_TENSOR = {'dtype', 'shape', 'numbers'}
_TIMEDELTA = TypeAdapter(timedelta)


# -- JSON ----------------------------------------------------------------------------------------------------


def json_row(doc: BaseModel, rows: Rows[Any], outer: str = '') -> dict[str, Any]:
    """Return a document, or one that is nested in it as `outer`, as JSON types."""
    row: dict[str, Any] = {}
    for name, value in doc.__dict__.items():
        column = rows.columns.get(outer + name)
        if isinstance(value, BaseModel) and outer + name in _documents(rows):
            row[name] = json_row(value, rows, f'{outer}{name}__')
        elif column is not None:
            row[name] = None if value is None else to_json(column.form, value)
        elif value is None and outer + name in _documents(rows):
            row[name] = None
    extra = rows.columns.get(outer + EXTRA)
    return row if extra is None or not doc.model_extra else {**to_json(extra.form, doc.model_extra), **row}


def row_of_json(row: Mapping[str, Any], rows: Rows[Any], outer: tuple[str, ...] = ()) -> dict[str, Any]:
    """
    Return a row of JSON as a document class validates it; fields of nested documents may stand in it by flat name.

    Raises:
        ValueError: a value cannot be read; the message names its column.
    """
    tree: dict[str, Any] = {}
    others: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for name, value in row.items():
        flat = '__'.join((*outer, name))
        column, document = rows.columns.get(flat), _documents(rows).get(flat)
        if document == (*outer, name):
            tree[name] = row_of_json(value, rows, document) if isinstance(value, Mapping) else value
        elif column is not None and column.path == (*outer, name):
            tree[name] = _read(column, value)
        elif column is not None and not outer:
            cells[name] = _read(column, value)
        else:
            others[name] = value
    extra = rows.columns.get('__'.join((*outer, EXTRA)))
    tree = {**_from_flat(cells, rows), **tree}
    return tree if extra is None else {**from_json(extra.form, others), **tree}


def nested_row(row: Mapping[str, Any], rows: Rows[Any]) -> Mapping[str, Any]:
    """Return a dict in which fields of nested documents have flat names as one that a document class validates."""
    flat = {name: row[name] for name in row if name in rows.columns and len(rows.columns[name].path) > 1}
    rest = {name: value for name, value in row.items() if name not in flat}
    return {**_from_flat(flat, rows), **rest} if flat else row


def _from_flat(cells: Mapping[str, Any], rows: Rows[Any]) -> dict[str, Any]:
    """Return the nested documents that these cells are of."""
    if not cells:
        return {}
    outermost = {rows.columns[name].path[0] for name in cells}
    tree = next(rows.rows({name: [cell] for name, cell in cells.items()}))
    return {name: value for name, value in tree.items() if name in outermost}


def to_json(form: Form, value: Any) -> Any:
    """Return a value that is not None as JSON types."""
    if form.kind == 'tensor':
        array = np.asarray(value)
        numbers = array.tolist()
        is_clear = array.size and array.ndim and _tensor(numbers).dtype == array.dtype
        return numbers if is_clear else InlineTensors().refer(array)
    if form.kind == 'list' and form.item is not None:
        return [None if item is None else to_json(form.item, item) for item in value]
    if form.kind == 'documents' and form.rows is not None:
        return [json_row(doc, form.rows) for doc in value]
    if form.kind == 'json':
        return json.loads(form.cells.dump(value))
    if form.kind == 'bytes':
        return {_BASE64: base64.b64encode(value).decode()}
    if isinstance(value, timedelta):
        return _TIMEDELTA.dump_python(value, mode='json')
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value) if form.kind in ('str', 'text') else value


def from_json(form: Form, value: Any) -> Any:
    """
    Return what `to_json` was given; what it would not have written is left to the document class.

    Raises:
        ValueError: it cannot be read.
    """
    if form.kind == 'tensor':
        return _tensor(value)
    if form.kind == 'json':
        return form.cells.load(json.dumps(value))
    if form.kind == 'list' and form.item is not None and isinstance(value, list):
        return [None if item is None else from_json(form.item, item) for item in value]
    if form.kind == 'documents' and form.rows is not None and isinstance(value, list):
        return [row_of_json(item, form.rows) if isinstance(item, Mapping) else item for item in value]
    if form.kind == 'bytes' and isinstance(value, Mapping) and value.keys() == {_BASE64}:
        return base64.b64decode(value[_BASE64], validate=True)
    return value


def _tensor(value: Any) -> Any:
    if isinstance(value, Mapping) and value.keys() == _TENSOR:
        return InlineTensors().resolve(value)
    if not isinstance(value, list):
        return value
    array = np.asarray(value)
    with np.errstate(over='ignore'):
        single = array.astype(np.float32) if array.dtype == np.float64 else array
    return single if np.array_equal(single, array, equal_nan=array.dtype.kind == 'f') else array


def _read(column: TableColumn, value: Any) -> Any:
    try:
        return None if value is None else from_json(column.form, value)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{column.name}: {error}') from error


@cache
def _documents(rows: Rows[Any]) -> dict[str, tuple[str, ...]]:
    """Return the paths of the nested documents by flat name."""
    paths = {column.path[:depth] for column in rows.columns.values() for depth in range(1, len(column.path))}
    return {'__'.join(path): path for path in paths}


# -- CSV -----------------------------------------------------------------------------------------------------


def text_row(doc: BaseModel, rows: Rows[Any]) -> list[str]:
    """Return a document as the cells of CSV, in the order of the columns."""
    return [_to_text(column, column.value(doc)) for column in rows.columns.values()]


def row_of_texts(row: Mapping[str, str], rows: Rows[Any]) -> dict[str, Any]:
    """
    Return a row of CSV as a document class validates it.

    Raises:
        ValueError: a cell cannot be read; the message names its column.
    """
    cells = {name: [_from_text(rows.columns[name], text)] for name, text in row.items() if name in rows.columns}
    return next(rows.rows(cells))


def _to_text(column: TableColumn, value: Any) -> str:
    if value is None:
        return ''
    if column.form.kind == 'str':
        text = str(to_json(column.form, value))
        # An empty cell is None, so an empty text is two quotes; a text of such quotes gets two more.
        return text if column.is_key or text.strip('"') or len(text) == 1 else f'{text}""'
    value = to_json(column.form, value)
    return value if isinstance(value, str) and column.form.kind != 'json' else json.dumps(value)


def _from_text(column: TableColumn, text: str) -> Any:
    form = column.form
    if form.kind == 'str':
        if column.is_key or text.strip('"') or len(text) == 1:
            return text
        return text[:-2] if text else None
    if not text or (column.can_be_none and text.lower() == 'nan' and form.kind != 'float'):
        return None
    is_json = form.kind in ('tensor', 'list', 'documents', 'json', 'presence') or text.startswith(f'{{"{_BASE64}"')
    return _read(column, _parsed(column, text)) if is_json else text


def _parsed(column: TableColumn, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if column.form.kind == 'json':
            return text  # what a union with a string may be
        shown = text if len(text) <= 40 else f'{text[:37]}...'
        raise ValueError(f'{column.name}: expected JSON, such as [1, 2], got {shown!r}') from error
