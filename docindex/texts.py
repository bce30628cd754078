"""
Documents as JSON and as CSV, and back: what an index exports and loads, and what a `DocList` writes and reads.

In JSON a document is an object as one would write it: nested documents are objects, lists are lists, tensors lists of
numbers (`docindex.tensorjson`). What JSON has no word for says its type, as in `docindex.typed`: `{"$bytes": "AA=="}`,
`{"$float": "nan"}`. A nested document may be read from fields with flat names, `author__title`, as well.

In CSV each column of `docindex.tables` is one. A cell is the text of a word, a number or a time, and else JSON. An
empty cell is None, or the default where None is not allowed. In the column of a text that is never None it is the empty
text; elsewhere that is written as two quotes, and a text of nothing but quotes gets two more.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, time, timedelta
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from .errors import SourceError, TableError
from .sources import Source, Unreadable
from .tables import (
    BLANK,
    EXTRA,
    STRICT_TEXTS,
    Form,
    Kind,
    Rows,
    TableColumn,
    at_row,
    rows_of,
    strict_list,
    text_reader,
    type_of,
)
from .tensorjson import tensor_from_json, tensor_to_json
from .textfiles import CsvFile, JsonFile

D = TypeVar('D', bound=BaseModel)

_BYTES, _FLOAT = '$bytes', '$float'
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(',', ':'))
_DURATION = TypeAdapter(timedelta)
_PIECE = 1000
_IN_JSON = ('tensor', 'list', 'documents', 'json', 'presence')
_NO_TEXT: tuple[Kind, ...] = (*STRICT_TEXTS, 'int', 'float', 'bool')
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


# -- values as JSON ------------------------------------------------------------------------------------------


def value_to_json(form: Form, value: Any) -> Any:
    """
    Return a value as JSON types.

    Raises:
        DocumentError: it holds something of a type that the schema does not mention.
    """
    if value is None:
        return None
    if form.kind == 'tensor':
        return tensor_to_json(value, form.annotation, form.is_vector)
    if form.kind == 'list' and form.item is not None:
        return [value_to_json(form.item, item) for item in value]
    if form.kind == 'documents' and form.rows is not None:
        return [json_row(doc, form.rows) for doc in value]
    if form.kind == 'json':
        return json.loads(form.cells.dump(value))
    if form.kind == 'bytes':
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, timedelta):
        return _DURATION.dump_python(value, mode='json')
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(float(value))}
    return str(value) if form.kind in ('str', 'text') else value


def value_from_json(form: Form, value: Any, is_strict: bool = False) -> Any:
    """
    Return what `value_to_json` was given; what it would not have written is left to the document class.

    Args:
        form: What the value is in a table.
        value: JSON types.
        is_strict: Whether the document class takes no text where it wants a time, and no list where it wants a set.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it cannot be read.
    """
    if value is None:
        return None
    if form.kind == 'tensor':
        return tensor_from_json(value, form.is_vector)
    if form.kind == 'json':
        return form.cells.load(json.dumps(value))
    if isinstance(value, Mapping) and value.keys() == {_BYTES} and form.kind == 'bytes':
        return base64.b64decode(value[_BYTES], validate=True)
    if isinstance(value, Mapping) and value.keys() == {_FLOAT}:
        return float(value[_FLOAT])
    if isinstance(value, list):
        return _list_from_json(form, value, is_strict)
    return text_reader(form, STRICT_TEXTS if is_strict else ())(value) if isinstance(value, str) else value


def _list_from_json(form: Form, items: list[Any], is_strict: bool) -> Any:
    if form.kind == 'documents' and form.rows is not None:
        return [row_of_json(item, form.rows) if isinstance(item, Mapping) else item for item in items]
    if form.kind != 'list' or form.item is None:
        return items
    values = [value_from_json(form.item, item, is_strict) for item in items]
    return strict_list(form, values) if is_strict else values


def _encode(value: Any) -> str:
    """Return JSON, with half of a surrogate pair, for which UTF-8 has no bytes, by its number."""
    return _ENCODER.encode(value).encode(errors='backslashreplace').decode()


# -- documents as JSON ---------------------------------------------------------------------------------------


def json_row(doc: BaseModel, rows: Rows[Any], outer: str = '') -> dict[str, Any]:
    """Return a document, or one that is nested in it as `outer`, as JSON types."""
    row: dict[str, Any] = {}
    for name, value in doc.__dict__.items():
        flat = outer + name
        if flat in rows.documents:
            row[name] = None if value is None else json_row(value, rows, f'{flat}__')
        elif flat in rows.columns:
            row[name] = value_to_json(rows.columns[flat].form, value)
    extra = rows.columns.get(outer + EXTRA)
    return row if extra is None or not doc.model_extra else {**value_to_json(extra.form, doc.model_extra), **row}


def row_of_json(row: Mapping[str, Any], rows: Rows[Any], outer: tuple[str, ...] = ()) -> dict[str, Any]:
    """
    Return a row of JSON as a document class validates it; fields of nested documents may stand in it by flat name.

    Raises:
        TableError: a value cannot be read; the message names its column.
    """
    tree: dict[str, Any] = {}
    others: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for name, value in row.items():
        path = (*outer, name)
        flat = '__'.join(path)
        column = rows.columns.get(flat)
        if isinstance(value, Mapping) and rows.documents.get(flat) == path:
            tree[name] = row_of_json(value, rows, path)
        elif column is not None and (column.path == path or not outer):
            is_cell = column.path != path or (column.form.kind == 'presence' and isinstance(value, bool))
            (cells if is_cell else tree)[name] = _read(column, value)
        else:
            (tree if flat in rows.documents else others)[name] = value
    extra = rows.columns.get('__'.join((*outer, EXTRA)))
    tree = {**_from_flat(cells, rows), **tree}
    return tree if extra is None else {**value_from_json(extra.form, others), **tree}


def nested_row(row: Mapping[str, Any], rows: Rows[Any]) -> Mapping[str, Any]:
    """Return a dict in which fields of nested documents have flat names as one that a document class validates."""
    flat = {name: row[name] for name in row if name in rows.columns and len(rows.columns[name].path) > 1}
    rest = {name: value for name, value in row.items() if name not in flat}
    return {**_from_flat(flat, rows), **rest} if flat else row


def _from_flat(cells: Mapping[str, Any], rows: Rows[Any]) -> dict[str, Any]:
    """Return what these cells are of, nested documents among it."""
    if not cells:
        return {}
    outermost = {rows.columns[name].path[0] for name in cells}
    tree = next(rows.rows({name: [cell] for name, cell in cells.items()}))
    return {name: value for name, value in tree.items() if name in outermost}


def _read(column: TableColumn, value: Any) -> Any:
    try:
        return value_from_json(column.form, value, column.is_strict)
    except _UNREADABLE as error:
        raise TableError(f'{column.name}: {error}', column=column.name) from error


@contextmanager
def json_writer(file: IO[str], rows: Rows[Any], is_array: bool) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Give what writes documents as JSON, one in a line: as the items of an array, or as JSON lines."""
    separator = ''

    def write(docs: Iterable[Any]) -> None:
        nonlocal separator
        for doc in docs:
            file.write(separator + _encode(json_row(doc, rows)))
            separator = ',\n' if is_array else '\n'

    file.write('[' if is_array else '')
    yield write
    file.write(']' if is_array else separator)


# -- documents as CSV ----------------------------------------------------------------------------------------


def csv_writer(file: IO[str], rows: Rows[Any], dialect: str = 'excel') -> Callable[[Iterable[Any]], None]:
    """Write the names of the columns, and return what writes documents below."""
    writer = csv.writer(file, dialect)
    writer.writerow(rows.columns)
    columns = rows.columns.values()
    return lambda docs: writer.writerows([text_of_cell(each, each.value(doc)) for each in columns] for doc in docs)


def text_of_cell(column: TableColumn, value: Any) -> str:
    """Return a cell as the text that stands in a CSV file."""
    if value is None:
        return ''
    if isinstance(value, float) and column.form.kind == 'float':
        return 'NaN' if math.isnan(value) else repr(float(value))
    made = value_to_json(column.form, value)
    if not isinstance(made, str) or column.form.kind == 'json':
        return _encode(made)
    is_quotes = column.form.kind == 'str' and not made.strip('"') and len(made) != 1
    return f'{made}""' if is_quotes and not _is_text_when_empty(column) else made


def cell_of_text(column: TableColumn, text: str) -> Any:
    """
    Return the cell that a text in a CSV file stands for.

    Raises:
        TableError: it cannot be read; the message names the column.
    """
    form = column.form
    if form.kind == 'str' and not text.strip('"') and len(text) != 1:
        if _is_text_when_empty(column):
            return text
        if text:
            return text[:-2]
        return BLANK if form.annotation is str and not column.can_be_none else None
    if not text or (column.can_be_none and text.lower() == 'nan' and form.kind not in ('float', 'str')):
        return None
    if form.kind in _IN_JSON or (form.kind == 'bytes' and text.startswith(f'{{"{_BYTES}"')):
        return _read(column, _parsed(column, text))
    return text_reader(form, _NO_TEXT if column.is_strict or form.is_choice else ())(text)


def _is_text_when_empty(column: TableColumn) -> bool:
    """Return whether an empty cell can only be the empty text, not None and no document around it."""
    return column.form.annotation is str and not column.can_be_none and len(column.path) == 1


def row_of_texts(row: Mapping[str, str], rows: Rows[Any]) -> dict[str, Any]:
    """
    Return a row of CSV as a document class validates it.

    Raises:
        TableError: a cell cannot be read; the message names its column.
    """
    cells = {name: [cell_of_text(rows.columns[name], text)] for name, text in row.items() if name in rows.columns}
    return next(rows.rows(cells))


def _parsed(column: TableColumn, text: str) -> Any:
    if column.form.kind == 'presence':
        return text.lower() == 'true'
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if column.form.kind == 'json':
            return text  # what a union with a string may be
        shown = text if len(text) <= 40 else f'{text[:37]}...'
        raise TableError(f'{column.name}: expected JSON, such as [1, 2], got {shown!r}', column=column.name) from error


# -- whole lists ---------------------------------------------------------------------------------------------


def to_json(docs: Iterable[Any], doc_type: type[Any] | None, path: str | PathLike[str] | None) -> str:
    """Return documents as a JSON array, one in a line; with a `path` it is written there as well."""
    docs = list(docs)
    rows = rows_of(type_of(docs, doc_type))
    file = io.StringIO()
    with json_writer(file, rows, is_array=True) as write:
        write(docs)
    if path is not None:
        Path(path).write_text(file.getvalue(), encoding='utf-8', newline='')
    return file.getvalue()


def from_json(source: str | bytes | bytearray | PathLike[str], doc_type: type[D]) -> list[D]:
    """
    Return documents from a JSON array or from lines of JSON: from their text, or the path of a file with them.

    Raises:
        TableError: it is neither, or a document does not fit; the message names its row.
    """
    if isinstance(source, str) and source.lstrip('\ufeff \t\r\n')[:1] in ('[', '{'):
        source = source.encode()
    given = bytes(source) if isinstance(source, (bytes, bytearray)) else Path(source)
    return _documents(lambda: JsonFile(given), rows_of(doc_type), row_of_json)


def to_csv(docs: Sequence[Any], doc_type: type[Any] | None, path: str | PathLike[str], dialect: str) -> None:
    """Write documents to a CSV file in UTF-8."""
    rows = rows_of(type_of(docs, doc_type))
    with Path(path).open('w', encoding='utf-8', newline='') as file:
        csv_writer(file, rows, dialect)(docs)


def from_csv(path: str | PathLike[str], doc_type: type[D], encoding: str, dialect: str) -> list[D]:
    """
    Return the rows of a CSV file as documents.

    Raises:
        TableError: a column is missing, or a row does not fit; the message names both and the reason.
    """
    return _documents(lambda: CsvFile(Path(path), encoding, dialect), rows_of(doc_type), row_of_texts)


def _documents(opened: Callable[[], Source], rows: Rows[D], read: Callable[[Any, Rows[D]], Any]) -> list[D]:
    """Return all rows of a source as documents."""
    docs: list[D] = []
    try:
        with closing(opened()) as source:
            if source.columns is not None:
                rows.known(source.columns)
            for piece in source.pieces(0, _PIECE, None):
                lines: Sequence[int | None] = piece.lines or [None] * len(piece.rows)
                for row, line in zip(piece.rows, lines, strict=True):
                    docs.append(_document(row, rows, read, len(docs), line))
    except SourceError as error:
        # What the system says of a file is said in the way that `open` does.
        raise error.__cause__ if isinstance(error.__cause__, OSError) else TableError(error.args[0]) from error
    return docs


def _document(row: Any, rows: Rows[D], read: Callable[[Any, Rows[D]], Any], number: int, line: int | None) -> D:
    try:
        if isinstance(row, Unreadable):
            raise TableError(row.reason)
        made = read(row, rows)
    except TableError as error:
        id_ = row.get('id') if isinstance(row, Mapping) else None
        raise TableError(at_row(number, id_, str(error), line), row=number, column=error.column) from error
    return rows.document(made, number, line)
