"""
Documents as JSON and as CSV, and back.

In JSON a document is what pydantic writes, vectors being lists of numbers, wherever that says all about it. Another one
(with bytes, NaN, a value of a union) stands as `{"$document": {...}}`, in which values name their types as in
`docindex.typed`.

In CSV a cell of numbers, words or a time is that text, and anything else is JSON. An empty cell is None where None is
allowed: an empty string in a `str | None` is what CSV cannot say.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, time, timedelta
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import TableError
from .plain import json_loses, json_says_all
from .schema import explain
from .tables import (
    BLANK,
    BadCellError,
    Form,
    InlineTensors,
    TableColumn,
    at_row,
    lists_say_all,
    plain_cell,
    read_cells,
    rows_of,
    time_from_text,
    type_of,
)
from .tensors import as_array
from .typed import TypedJson

D = TypeVar('D', bound=BaseModel)

_TYPED = '$document'
_LONGEST_CELL = 1 << 30


# -- JSON ----------------------------------------------------------------------------------------------------


class DocumentJson(Generic[D]):
    """
    Writes and reads single documents of a class as JSON objects, such as the lines of a JSON lines file.

    Args:
        doc_type: The document class.
    """

    def __init__(self, doc_type: type[D]) -> None:
        self._doc_type = doc_type
        self._is_plain = json_says_all(doc_type)
        self._typed = TypedJson(doc_type)

    def dump(self, doc: D) -> bytes:
        """
        Return a document as JSON, without a line break in it.

        Raises:
            DocumentError: it holds a value of a type that its class does not mention.
        """
        if self._is_plain and not json_loses(doc) and not _has_lost_tensors(doc):
            with suppress(PydanticSerializationError):
                return self._doc_type.__pydantic_serializer__.to_json(
                    doc, by_alias=False, round_trip=True, warnings='error'
                )
        text = self._typed.dump(doc, InlineTensors()).decode()
        return f'{{"{_TYPED}":{text[1:-1]}}}'.encode()

    def load(self, text: str | bytes, number: int = 0) -> D:
        """
        Return the document that a JSON object says; `number` is its row's, for errors.

        Raises:
            TableError: it is no JSON, or does not fit; the message names the row, the fields and the reasons.
        """
        try:
            if f'"{_TYPED}"' in (text if isinstance(text, str) else text.decode()):
                value = json.loads(text)
                if isinstance(value, dict) and list(value) == [_TYPED]:
                    typed: D = self._typed.load(json.dumps([value[_TYPED]]).encode(), InlineTensors())
                    return typed
            return self._doc_type.__pydantic_validator__.validate_json(text, by_alias=True, by_name=True)  # type: ignore[no-any-return]
        except ValidationError as error:
            raise TableError(at_row(number, None, explain(error)), row=number) from error
        except (ValueError, TypeError, KeyError) as error:
            raise TableError(at_row(number, None, str(error)), row=number) from error


@cache
def json_of(doc_type: type[D]) -> DocumentJson[D]:
    """Return what writes and reads documents of a class as JSON."""
    return DocumentJson(doc_type)


def _has_lost_tensors(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return not lists_say_all(value)
    if isinstance(value, BaseModel):
        return any(map(_has_lost_tensors, value.__dict__.values()))
    if isinstance(value, Mapping):
        return any(map(_has_lost_tensors, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_lost_tensors, value))


def to_json(docs: Iterable[Any], doc_type: type[Any] | None, path: str | PathLike[str] | None) -> str:
    """Return documents as a JSON array; with a `path` it is written there as well."""
    docs = list(docs)
    codec = json_of(type_of(docs, doc_type))
    text = b'[' + b',\n'.join(map(codec.dump, docs)) + b']'
    if path is not None:
        Path(path).write_bytes(text)
    return text.decode()


def from_json(source: str | bytes | bytearray | PathLike[str], doc_type: type[D]) -> list[D]:
    """
    Return documents from a JSON array: from its text, or the path of a file with it.

    Raises:
        TableError: it is no JSON array, or a document does not fit; the message names its row.
    """
    is_text = isinstance(source, (bytes, bytearray)) or (isinstance(source, str) and source.lstrip()[:1] in ('[', '{'))
    text = bytes(source) if isinstance(source, (bytes, bytearray)) else source
    content = text if is_text else Path(source).read_bytes()  # type: ignore[arg-type]
    try:
        values = json.loads(content)  # type: ignore[arg-type]
    except ValueError as error:
        raise TableError(f'this is no JSON: {error}') from error
    if not isinstance(values, list):
        raise TableError(f'expected a JSON array of documents, got {type(values).__name__}')
    codec = json_of(doc_type)
    # Once more as text: pydantic takes a date from the string in a JSON text, in classes that are strict as well.
    return [codec.load(json.dumps(value), number) for number, value in enumerate(values)]


# -- CSV -----------------------------------------------------------------------------------------------------


def to_csv(docs: Sequence[Any], doc_type: type[Any] | None, path: str | PathLike[str], dialect: str) -> None:
    """Write documents to a CSV file in UTF-8."""
    cls = type_of(docs, doc_type)
    columns = rows_of(cls).columns.values()
    with Path(path).open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, dialect)
        writer.writerow(column.name for column in columns)
        for doc in docs:
            writer.writerow(_text(column.form, column.value(doc)) for column in columns)


def from_csv(path: str | PathLike[str], doc_type: type[D], encoding: str, dialect: str) -> list[D]:
    """
    Return the rows of a CSV file as documents.

    Raises:
        TableError: a column is missing, or a row does not fit; the message names both and the reason.
    """
    rows = rows_of(doc_type)
    with Path(path).open(encoding=encoding, newline='') as file:
        return [rows.document(row, number) for number, row in enumerate(rows_from_csv(file, doc_type, dialect))]


def rows_from_csv(lines: Iterable[str], doc_type: type[BaseModel], dialect: str = 'excel') -> Iterator[dict[str, Any]]:
    """
    Yield the rows of a CSV file, the first line being names, as nested dicts which the document class validates.

    Raises:
        TableError: a column is missing, a row has more or fewer cells than there are columns, or a cell cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # an image is longer than its 131,072 characters
    reader = csv.reader(lines, dialect, strict=True)
    try:
        names = next(reader, [])
        rows_of(doc_type).known(names)
        for number, cells in enumerate(filter(None, reader)):
            if len(cells) != len(names):
                raise TableError(at_row(number, None, f'{len(cells)} cells for {len(names)} columns'), row=number)
            yield row_from_texts(dict(zip(names, cells, strict=True)), doc_type, number)
    except csv.Error as error:
        raise TableError(f'line {reader.line_num} is no CSV: {error}') from error


def row_from_texts(texts: Mapping[str, str], doc_type: type[BaseModel], number: int = 0) -> dict[str, Any]:
    """
    Return the cells of a CSV row, by column, as a nested dict which the document class validates.

    Raises:
        TableError: a column is missing, or a cell cannot be read.
    """
    rows = rows_of(doc_type)
    cells: dict[str, Sequence[Any]] = {}
    for name in rows.known(texts):
        column = rows.columns[name]
        if not texts[name]:
            cells[name] = [_blank(column)]
            continue
        try:
            cells[name] = read_cells([texts[name]], _reader(column.form))
        except BadCellError as error:
            raise error.at(number, name) from error
    return next(rows.rows(cells))


def _blank(column: TableColumn) -> Any:
    if column.can_be_none or column.form.kind not in ('str', 'text'):
        return None
    return BLANK if len(column.path) > 1 else ''


def _text(form: Form, cell: Any) -> str:
    """Return a cell as the text that stands in a CSV file."""
    if cell is None:
        return ''
    if form.kind == 'documents' and form.rows is not None:
        return '[' + ', '.join(json_of(form.rows.doc_type).dump(doc).decode() for doc in cell) + ']'
    if form.kind in ('tensor', 'list', 'json', 'bytes'):
        return _json_text(form, cell)
    plain = plain_cell(form, cell, is_text=True)
    return _DURATION.dump_python(plain, mode='json') if form.kind == 'timedelta' else str(plain)


def _json_text(form: Form, cell: Any) -> str:
    """Return a cell as JSON: as lists of numbers and words where these say all, else with types."""
    try:
        if form.kind == 'list' or (form.kind == 'tensor' and lists_say_all(as_array(cell))):
            return json.dumps(_lists(form, cell), allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError):
        pass
    return form.cells.dump(cell)


def _lists(form: Form, cell: Any) -> Any:
    if form.kind == 'tensor':
        return as_array(cell).tolist()
    if form.kind == 'list' and form.item is not None:
        item = form.item
        return [None if each is None else _lists(item, each) for each in cell]
    plain = plain_cell(form, cell, is_text=True)
    return plain.isoformat() if isinstance(plain, (date, time)) else plain


def _reader(form: Form) -> Callable[[str], Any]:
    """Return what reads the text of a cell; most texts are read by the document class."""
    if form.kind == 'documents' and form.rows is not None:
        codec = json_of(form.rows.doc_type)
        return lambda text: [codec.load(json.dumps(value)) for value in json.loads(text)]
    if form.kind in ('list', 'tensor', 'json'):
        return form.cells.load
    if form.kind == 'bytes':
        return lambda text: form.cells.load(text) if text.startswith('{"$bytes"') else text
    if form.kind == 'presence':
        return lambda text: text.lower() == 'true'
    return time_from_text(form)


_DURATION = TypeAdapter(timedelta)
