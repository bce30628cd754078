"""What of a document stands in the table `fields`: read from the document, or from its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ..kinds import canonical_of
from ..payload import Payloads
from ..schema import Column, Schema
from ..tensors import Float32Array
from ..values import OPAQUE, canonical, encode, to_json, to_sql
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
        self._read = [_reader(schema.nodes[name]) for name in (field.name for field in self.fields)]

    def values(self, doc: BaseModel) -> tuple[Any, ...]:
        """Return what stands in the columns for a document."""
        return tuple([read(doc) for read in self._read])

    def reread(self, data: bytes, tensors: bytes | None) -> tuple[Any, ...]:
        """
        Return what stands in the columns for a document that is stored.

        Raises:
            DocumentError: it does not fit its class.
        """
        return self.values(self._payloads.load(data, tensors, self._vectors))


Extractions = Mapping[str, Extraction]
"""Of the documents of each level, by the flat name of its list; the empty name is that of no list."""


def tables_of(extractions: Extractions, names: Sequence[str]) -> FieldTables:
    """Return the tables of levels, which have their numbers by the order of `names`."""
    tables = [FieldTable(extractions[name].fields, level) for level, name in enumerate(names)]
    return FieldTables(names, tables)


def _reader(column: Column) -> Callable[[BaseModel], Any]:
    kind, value_of = column.kind, _getter(column)
    if kind.name == 'opaque':
        return lambda doc: None if value_of(doc) is None else to_sql(OPAQUE)
    if kind.name == 'list' and kind.element().type is str:
        return lambda doc: _texts(value_of(doc))
    if not kind.is_scalar:
        return lambda doc: None if (value := canonical_of(kind, value_of(doc))) is None else to_json(value)

    def read(doc: BaseModel) -> Any:
        value = value_of(doc)
        # Nearly all values are as SQLite is to have them.
        if value is None or (type(value) is str and value.isascii()):
            return value
        if (type(value) is int and -_LARGE < value < _LARGE) or (type(value) is float and value == value):
            return value
        return to_sql(canonical(value))

    return read


def _texts(value: Any) -> str | None:
    if type(value) is list:
        text = encode(value)
        if text.isascii():
            return text
    return None if value is None else to_json(canonical(value))


def _getter(column: Column) -> Callable[[BaseModel], Any]:
    if len(column.path) > 1:
        return column.value
    (name,) = column.path
    return lambda doc: doc.__dict__.get(name)
