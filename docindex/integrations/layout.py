"""
How texts with metadata lie in the documents of a schema, which may be anybody's.

LangChain and LlamaIndex know a text, its vector, and a dictionary of metadata. A schema has typed fields. So some keys
of the metadata are fields, and what is left over lies in a field that is a dict:

    class Page(BaseDoc):                        {'author': 'Ada', 'year': 1843, 'source': {'file': 'notes.txt'}}
        text: str                                     |              |             |
        author: str | None = None               ------+              |             |
        year: int | None = None                 ---------------------+             |
        metadata: dict[str, Any] = {}           -----------------------------------+
        embedding: NdArray[384]

A filter names keys of the metadata, wherever they lie: `{'year': {'$lt': 1900}, 'source__file': 'notes.txt'}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

import numpy as np
from pydantic import BaseModel

from ..errors import DocumentError, QueryError
from ..filters import FilterLike
from ..kinds import Kind
from ..schema import Column, Schema
from ..tensors import is_tensor_type

_METADATA = 'metadata'


@dataclass(frozen=True)
class TextLayout:
    """
    Which fields of a schema hold a text, its vector and its metadata.

    Attributes:
        schema: The schema of the documents.
        text_field: The field with the text.
        vector_field: The field with its vector.
        metadata_field: The field, a dict, with all metadata that has no field of its own; None: there is none.
        fields: The fields of the other metadata, by key.
    """

    schema: Schema[Any]
    text_field: str
    vector_field: str
    metadata_field: str | None
    fields: Mapping[str, str]

    @classmethod
    def of(
        cls,
        doc_type: type[BaseModel],
        *,
        text_field: str = 'text',
        vector_field: str = '',
        metadata_field: str | None = '',
        metadata_fields: Mapping[str, str] | Sequence[str] | None = None,
    ) -> TextLayout:
        """
        Return how texts lie in documents of a class.

        Args:
            doc_type: The document class.
            text_field: The flat name of a field of strings.
            vector_field: The flat name of a vector field; may be left out if there is only one.
            metadata_field: The flat name of a dict; None: keys without a field are refused. Left out: the field
                `metadata`, if there is such a dict.
            metadata_fields: The fields that are metadata, `['author', 'year']`, or, by the keys they go by there,
                `{'author': 'author__name'}`. Left out: all fields but ids, text, dict and tensors.

        Raises:
            QueryError: there is no such field, or it cannot hold this.
        """
        schema: Schema[Any] = Schema(doc_type)
        if metadata_field == '':
            metadata_field = _METADATA if _is_dict(schema.columns.get(_METADATA)) else None
        if metadata_field is not None and not _is_dict(_column(schema, 'metadata_field', metadata_field)):
            raise QueryError(f'metadata_field: {schema.name}.{metadata_field} is no dict, and metadata is one')
        if _column(schema, 'text_field', text_field).kind.name != 'text':
            raise QueryError(f'text_field: {schema.name}.{text_field} holds no strings')
        taken = {'id', text_field, metadata_field}
        if metadata_fields is None:
            found = (column for column in schema.columns.values() if _can_be_metadata(column, taken))
            metadata_fields = [column.name for column in found if column.path[-1] != 'id']  # mostly a random one
        fields = metadata_fields if isinstance(metadata_fields, Mapping) else {name: name for name in metadata_fields}
        for name in fields.values():
            if not _can_be_metadata(_column(schema, 'metadata_fields', name), taken):
                raise QueryError(f'metadata_fields: {schema.name}.{name} cannot hold a value of the metadata')
        return cls(schema, text_field, _vector_field(schema, vector_field), metadata_field, dict(fields))

    def document(self, id_: str, text: str, vector: Sequence[float], metadata: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return a document of the schema, as a dict.

        Raises:
            DocumentError: the schema has no place for a key.
        """
        values: dict[str, Any] = {'id': id_, self.text_field: text, self.vector_field: self._vector(vector)}
        rest = {key: value for key, value in metadata.items() if key not in self.fields}
        if rest and self.metadata_field is None:
            raise DocumentError(
                f'id {id_!r}: {self.schema.name} has no field for the metadata {", ".join(map(repr, rest))}, only for '
                f'{", ".join(map(repr, self.fields)) or "none"}; give it a field `metadata: dict[str, Any] = {{}}` for '
                'all others, or leave them out'
            )
        if self.metadata_field is not None:
            values[self.metadata_field] = rest
        values |= self._given({self.fields[key]: metadata[key] for key in metadata if key in self.fields})
        return self._nested(values)

    def text(self, doc: BaseModel) -> str:
        """Return the text of a document; an empty one where it is missing."""
        return self.schema.columns[self.text_field].value(doc) or ''

    def metadata(self, doc: BaseModel) -> dict[str, Any]:
        """Return the metadata of a document, from all of its fields. What is None there is left out."""
        found = {} if self.metadata_field is None else self.schema.columns[self.metadata_field].value(doc) or {}
        fields = {key: self.schema.columns[name].value(doc) for key, name in self.fields.items()}
        return {**found, **{key: value for key, value in fields.items() if value is not None}}

    def filter(self, given: FilterLike) -> FilterLike:
        """Return a filter in the names of fields, for one in the keys of metadata; one of expressions as it is."""
        if not isinstance(given, Mapping):
            return given
        named: dict[str, Any] = {}
        for key, condition in given.items():
            if key in ('$and', '$or') and isinstance(condition, Sequence) and not isinstance(condition, str):
                named[key] = [self.filter(one) for one in condition]
            elif key in ('$and', '$or', '$not'):
                named[key] = self.filter(condition)
            else:
                named[self.name_of(key) if isinstance(key, str) else key] = condition
        return named

    def name_of(self, key: str) -> str:
        """Return what a filter calls a key of the metadata, or something inside of its value, `source__file`."""
        steps = key.split('__')
        for at in range(len(steps), 0, -1):
            field = self.fields.get('__'.join(steps[:at]))
            if field is not None:
                return '__'.join([field, *steps[at:]])
        return key if self.metadata_field is None or key.startswith('$') else f'{self.metadata_field}__{key}'

    def kind_of(self, name: str) -> Kind:
        """Return what the values are that a filter calls `name`, if it is the name of a field; anything, otherwise."""
        return self.schema.columns[name].kind if name in self.schema.columns else Kind('any', is_ordered=True)

    def _given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values without None where a field cannot be it, and where nothing else is known of its document."""
        columns, nodes = self.schema.columns, self.schema.nodes
        begun = {columns[name].outer for name, value in values.items() if value is not None}

        def is_missing(column: Column) -> bool:
            is_alone = column.outer in nodes and nodes[column.outer].can_be_none and column.outer not in begun
            return is_alone or not (column.can_be_none or column.annotation is Any)

        return {name: value for name, value in values.items() if value is not None or not is_missing(columns[name])}

    def _vector(self, vector: Sequence[float]) -> Any:
        # float64, which a list becomes, would be stored beside the vector file's float32.
        annotation = self.schema.columns[self.vector_field].annotation
        is_list = (get_origin(annotation) or annotation) in (list, tuple, Sequence)
        return list(vector) if is_list else np.asarray(vector, np.float32)

    def _nested(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by flat names as a dict with dicts inside."""
        document: dict[str, Any] = {}
        for name, value in values.items():
            *outer, last = self.schema.columns[name].path
            inside = document
            for step in outer:
                inside = inside.setdefault(step, {})
            inside[last] = value
        return document


def _column(schema: Schema[Any], argument: str, name: str) -> Column:
    if name not in schema.columns:
        raise QueryError(f'{argument}: {schema.name} has no field {name!r}; its fields are {", ".join(schema.columns)}')
    return schema.columns[name]


def _vector_field(schema: Schema[Any], name: str) -> str:
    vectors = [each for each, column in schema.columns.items() if column.is_tensor]
    if not name and len(vectors) == 1:
        return vectors[0]
    if name not in vectors:
        problem = f'{schema.name}.{name} is no vector field' if name else 'say which one'
        raise QueryError(f'vector_field: {problem}; the vector fields are {", ".join(vectors) or "none at all"}')
    return name


def _is_dict(column: Column | None) -> bool:
    return column is not None and column.kind.name == 'dict' and column.kind.model is None


def _can_be_metadata(column: Column, taken: set[str | None]) -> bool:
    is_tensor = column.is_tensor or is_tensor_type(column.annotation)
    return column.name not in taken and column.is_stored and column.inner is None and not is_tensor
