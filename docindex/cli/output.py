"""Documents on standard output: as JSON lines for programs, as tables and trees for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from ..display import document_as_tree, documents_as_table, show
from ..errors import QueryError
from ..tables import Rows, rows_of
from ..texts import json_row, value_to_json

Fields = Sequence[str]


def is_json(as_json: bool | None) -> bool:
    """Return whether to write JSON: as was said, or where nobody looks."""
    return not sys.stdout.isatty() if as_json is None else as_json


def documents(count: int) -> str:
    """Return so many documents in words."""
    return '1 document' if count == 1 else f'{count:,} documents'


def write_json(value: Any) -> None:
    """Write a line of JSON; in ASCII if a text in it has half of a surrogate pair, or signs that the output has not."""
    for is_ascii in (False, True):
        line = json.dumps(value, ensure_ascii=is_ascii, allow_nan=False, separators=(',', ':'))
        with suppress(UnicodeEncodeError):
            line.encode(sys.stdout.encoding)  # `write` would escape it in its own way, which is not JSON's
            sys.stdout.write(line + '\n')
            return


def write_documents(docs: Sequence[Any], doc_type: type[BaseModel], fields: Fields, as_json: bool | None) -> None:
    """Write documents, each as an object that `docindex index` would read."""
    if is_json(as_json):
        to_json = writer(doc_type, fields)
        for doc in docs:
            write_json(to_json(doc))
    elif len(docs) == 1 and not fields:
        show(document_as_tree(docs[0]))
    else:
        show(_table(docs, None, doc_type, fields))


def write_found(
    docs: Sequence[Any], scores: Iterable[float], doc_type: type[BaseModel], fields: Fields, as_json: bool | None
) -> None:
    """Write what a search found, each document with its score."""
    if is_json(as_json):
        to_json = writer(doc_type, fields)
        for doc, score in zip(docs, scores, strict=True):
            write_json({'score': float(score), 'document': to_json(doc)})
    else:
        show(_table(docs, list(scores), doc_type, fields))


def writer(doc_type: type[BaseModel], fields: Fields) -> Callable[[Any], Mapping[str, Any]]:
    """
    Return what makes JSON types of a document: of all of it, or of some fields, by flat name.

    Raises:
        QueryError: there is no such field.
    """
    rows: Rows[Any] = rows_of(doc_type)
    _check(fields, rows)
    if not fields:
        return lambda doc: json_row(doc, rows)
    columns = [rows.columns[name] for name in fields]
    return lambda doc: {column.name: value_to_json(column.form, column.value(doc)) for column in columns}


def _table(docs: Sequence[Any], scores: Any, doc_type: type[BaseModel], fields: Fields) -> Any:
    """Return a table of some fields; if none are named, without vectors and the ids of nested documents."""
    if not docs:
        return 'no documents'
    rows: Rows[Any] = rows_of(doc_type)
    _check(fields, rows)
    readable = [name for name, one in rows.columns.items() if one.form.kind != 'tensor' and not name.endswith('__id')]
    columns = {name: rows.columns[name].value for name in fields or readable}
    return documents_as_table(docs, scores, rows=len(docs), title=documents(len(docs)), columns=columns)


def _check(fields: Fields, rows: Rows[Any]) -> None:
    unknown = [name for name in fields if name not in rows.columns]
    if unknown:
        raise QueryError(f'there is no field {unknown[0]!r} to show; the fields are {", ".join(rows.columns)}')
