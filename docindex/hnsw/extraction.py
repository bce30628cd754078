"""What of a document stands in the table `fields`: read from the document, or from its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isnan
from types import NoneType
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from pydantic_core import to_json as serialised

from ..kinds import canonical_of
from ..payload import Payloads
from ..schema import Column, Schema
from ..tensors import Float32Array
from ..values import OPAQUE, canonical, to_json, to_sql
from .fieldtable import FieldTable, FieldTables, stored_fields

_LARGE = 1 << 62


class Extraction:
    """
    Reads the columns of `fields` from documents of one schema.

    Args:
        schema: Their schema.
        payloads: Reads them from rows.
        vectors: A vector of any value for each vector field, to read with: none is looked at.

    Attributes:
        fields: The columns.
    """

    def __init__(
        self, schema: Schema[Any], payloads: Payloads[Any], vectors: Mapping[str, Float32Array | None]
    ) -> None:
        self.fields = stored_fields(schema)
        self._payloads = payloads
        self._vectors = vectors
        self._readers = [_Reader(schema.nodes[field.name]) for field in self.fields]

    def values(self, docs: Sequence[BaseModel]) -> list[tuple[Any, ...]]:
        """Return what stands in the columns, for each of some documents."""
        # Column by column: most are looked at as a whole, which takes a tenth of the time.
        fields = [doc.__dict__ for doc in docs]
        columns = [reader.column(docs, fields) for reader in self._readers]
        return [*zip(*columns, strict=True)] if columns else [()] * len(docs)

    def of_columns(self, columns: Mapping[str, list[Any]], count: int) -> list[tuple[Any, ...]]:
        """Return what `values` does for so many documents, of their values by flat name of the column."""
        found = [reader.convert(columns[field.name]) for field, reader in zip(self.fields, self._readers, strict=True)]
        return [*zip(*found, strict=True)] if found else [()] * count

    def reread(self, data: bytes, tensors: bytes | None) -> tuple[Any, ...]:
        """
        Return what stands in the columns for a document that is stored.

        Raises:
            DocumentError: it does not fit its class.
        """
        return self.values([self._payloads.load(data, tensors, self._vectors)])[0]


Extractions = Mapping[str, Extraction]
"""Of the documents of each level, by the flat name of its list; the empty name is that of no list."""


def tables_of(extractions: Extractions, names: Sequence[str]) -> FieldTables:
    """Return the tables of levels, which have their numbers by the order of `names`."""
    tables = [FieldTable(extractions[name].fields, level) for level, name in enumerate(names)]
    return FieldTables(names, tables)


class _Reader:
    """
    Reads one column.

    Attributes:
        convert: Makes of its values what stands there.
    """

    def __init__(self, column: Column) -> None:
        kind = column.kind
        self._value_of = column.value
        self._name = column.path[0] if len(column.path) == 1 else None
        self.convert: Callable[[list[Any]], list[Any]] = _scalars
        if kind.name == 'opaque':
            self.convert = _each(lambda value: to_sql(OPAQUE))
        elif kind.name == 'list' and kind.element().type is str:
            self.convert = _lists_of_texts
        elif not kind.is_scalar:
            self.convert = _each(lambda value: _json(canonical_of(kind, value)))

    def column(self, docs: Sequence[BaseModel], fields: Sequence[dict[str, Any]]) -> list[Any]:
        """Return what stands in the column, for each document; `fields` are what they consist of."""
        if self._name is None:
            return self.convert([self._value_of(doc) for doc in docs])
        return self.convert([one.get(self._name) for one in fields])


def _each(convert: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [None if value is None else convert(value) for value in values]


def _scalars(values: list[Any]) -> list[Any]:
    """Return values as SQLite is to have them, which nearly all are already."""
    types = {*map(type, values)} - {NoneType}
    if types == {str}:
        return [value if value is None or value.isascii() else to_sql(canonical(value)) for value in values]
    there = [value for value in values if value is not None]
    if types == {int}:
        is_ready = min(there) > -_LARGE and max(there) < _LARGE
    elif types == {float}:
        is_ready = not any(map(isnan, there))  # NaN is none
    else:
        is_ready = not types
    return values if is_ready else [None if value is None else to_sql(canonical(value)) for value in values]


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value)


def _lists_of_texts(values: list[Any]) -> list[str | None]:
    """Return lists of strings as JSON, as `_texts` does, nearly always all at once: in a third of the time."""
    there = [value for value in values if value is not None]
    if there and {*map(type, there)} == {list}:
        with suppress(PydanticSerializationError):
            text = serialised(there)
            pieces = lists_in(text.decode(), len(there)) if text.isascii() else None
            if pieces is not None:
                each = iter(pieces)
                return [None if value is None else next(each) for value in values]
    return [None if value is None else _texts(value) for value in values]


def lists_in(text: str, count: int) -> list[str] | None:
    """
    Return the JSON of each list in a JSON list of so many lists; None, if it cannot be told so simply.

    What stands between two of them cannot overlap with what looks the same within one, so if it is there often enough
    and no more, each is what it seems.
    """
    pieces = text[2:-2].split('],[')
    return [f'[{piece}]' for piece in pieces] if len(pieces) == count else None


def _texts(value: Any) -> str | None:
    if type(value) is list:
        with suppress(PydanticSerializationError):  # half of a surrogate pair
            text = serialised(value)  # what `encode` of values does, in a fifth of the time
            if text.isascii():
                return text.decode()
    return to_json(canonical(value))
