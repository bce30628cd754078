"""
Which collections a schema has, and which fields these: one collection for each level of documents.

| field | of | holds |
| --- | --- | --- |
| `id` | all | the id; the primary key of the outermost documents |
| `_key` | documents in lists | the primary key: the version of the lists, and the id |
| `_version` | all | the version of the lists that an outermost document has, or that a document in lists is in |
| `_root`, `_parent` | documents in lists | the ids of the outermost document, and of the one whose list it is in |
| `_position` | documents in lists | where in that list |
| `_at` | all | when it was stored, as a number that only grows: the order of indexing |
| `_doc`, `_tensors`, `_scales` | all | the document without its vectors, as `records` writes it |
| `<vector>`, `_has__<vector>` | all | a vector, and whether there is one; if not, one of random direction is there |
| `<field>`, `_size__<list>` | all | what filters look at, as `columns` says |
| `_words__<field>`, `_bm25__<field>` | all | the words of a full text, as `texts` makes them, and Milvus's vectors |

What is in lists belongs to the version that its outermost document names. So a document and its lists change at one
moment, when its row is replaced: the new lists are there before, under another version, and the old ones until after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import SchemaError, SettingsError
from ..fields import Tokenizer, VectorSettings
from ..schema import Level, Schema
from .columns import ScalarColumn, name_in_collection, scalar_columns
from .server import FieldOfCollection

_METRICS = {'l2': 'L2', 'ip': 'IP', 'cosine': 'COSINE'}
_MOST_FIELDS = 64
_LARGEST_DIM = 32_768
_LONGEST_NAME = 255
_HAS_VECTORS, _HAS_NULL, _HAS_TEXT = (2, 4), (2, 5), (2, 5)  # the first versions of servers that have these
_ROOT = ['_version', '_at', '_doc', '_tensors', '_scales']
_IN_LISTS = ['_key', '_root', '_parent', '_position']
_TYPES = {'_version': 'INT64', '_at': 'INT64', '_position': 'INT64', '_doc': 'TEXTS', '_tensors': 'TEXTS'}
_PLACEHOLDER = '_vector'


@dataclass(frozen=True)
class Layout:
    """
    The collection of one level.

    Attributes:
        level: The level.
        collection: The name of its collection.
        settings: The settings of its vector fields, by the names that they have in it.
        milvus: What `Field(milvus=...)` says of them.
    """

    level: Level
    collection: str
    settings: Mapping[str, VectorSettings]
    milvus: Mapping[str, Mapping[str, Any]]

    @property
    def is_root(self) -> bool:
        """Whether its documents are in no list."""
        return not self.level.name

    @property
    def key(self) -> str:
        """The primary key."""
        return 'id' if self.is_root else '_key'

    @cached_property
    def scalars(self) -> dict[str, ScalarColumn]:
        """What filters look at, by field."""
        return scalar_columns(self.level.schema)

    @cached_property
    def texts(self) -> dict[str, Tokenizer]:
        """The fields with full text, with their tokenizers."""
        return {
            name: column.settings.get('tokenizer', 'unicode61')
            for name, column in self.level.schema.columns.items()
            if column.settings.get('full_text')
        }

    @cached_property
    def words(self) -> dict[str, str]:
        """The fields of the collection that have the words of texts, by field; those of other tokenizers have none."""
        return {
            name: f'_words__{name_in_collection(name)}'
            for name, tokenizer in self.texts.items()
            if tokenizer == 'unicode61'
        }

    @cached_property
    def vectors(self) -> dict[str, str]:
        """The fields of the collection that have vectors, by field."""
        return {name: name_in_collection(name) for name in self.settings}

    @cached_property
    def optional(self) -> dict[str, str]:
        """The fields of the collection that say whether there is a vector, for those fields that may have none."""
        columns = self.level.schema.columns
        return {name: f'_has__{name_in_collection(name)}' for name in self.settings if columns[name].is_optional}

    @cached_property
    def document_fields(self) -> list[str]:
        """What a document is made of."""
        return [*self.place_fields, '_doc', '_tensors', '_scales', *self.vectors.values(), *self.optional.values()]

    @cached_property
    def place_fields(self) -> list[str]:
        """What says which document it is, and where it is."""
        return ['id', '_version', '_at'] if self.is_root else ['id', '_version', '_at', *_IN_LISTS]

    @cached_property
    def stored_fields(self) -> list[str]:
        """All that is stored by us, and not made by Milvus."""
        return [field.name for field in self.fields() if field.bm25_of is None]

    @cached_property
    def sizes(self) -> list[str]:
        """The fields of the collection that say how many documents are in lists."""
        return [self.scalars[name].name for name in self.level.schema.lists if name in self.scalars]

    @property
    def row_bytes(self) -> int:
        """About how many bytes a document has on its way."""
        return 2_048 + 4 * sum(settings.dim for settings in self.settings.values())

    def is_exact(self, name: str) -> bool:
        """Return whether the index of a vector field compares with every vector."""
        return bool(self.index_of(name)['index_type'] == 'FLAT')

    def index_of(self, name: str) -> dict[str, Any]:
        """Return the parameters of the index of a vector field."""
        settings, own = self.settings[name], dict(self.milvus.get(name, {}))
        own.pop('search', None)
        index_type = own.pop('index_type', 'HNSW' if settings.index else 'FLAT')
        params = {'M': settings.M, 'efConstruction': settings.ef_construction} if index_type == 'HNSW' else {}
        return {'index_type': index_type, 'metric_type': _METRICS[settings.space], 'params': {**params, **own}}

    def search_params(self, name: str, limit: int, ef: int | None) -> dict[str, Any]:
        """Return the parameters of a search in a vector field."""
        own = dict(self.milvus.get(name, {}).get('search', {}))
        if self.index_of(name)['index_type'] != 'HNSW':
            return own
        return {'ef': max(limit, ef or self.settings[name].search_ef(limit)), **own}

    def fields(self) -> list[FieldOfCollection]:
        """
        Return the fields of the collection.

        Raises:
            SchemaError: there are more than a server takes, or a name is too long.
        """
        ours = _ROOT if self.is_root else [*_IN_LISTS, *_ROOT]
        found = [FieldOfCollection('id', 'VARCHAR', is_primary=self.is_root)]
        found += [FieldOfCollection(name, _TYPES.get(name, 'VARCHAR'), is_primary=name == '_key') for name in ours]
        found += [
            FieldOfCollection(column.name, column.data_type, is_nullable=column.is_nullable)
            for column in self.scalars.values()
        ]
        for name, field in self.vectors.items():
            found.append(
                FieldOfCollection(field, 'FLOAT_VECTOR', dim=self.settings[name].dim, index=self.index_of(name))
            )
        found += [FieldOfCollection(name, 'BOOL') for name in self.optional.values()]
        for field in self.words.values():
            vectors = field.replace('_words__', '_bm25__')
            index = {'index_type': 'SPARSE_INVERTED_INDEX', 'metric_type': 'BM25', 'params': {}}
            # The words are made by us; they only have to be told apart again.
            found.append(FieldOfCollection(field, 'VARCHAR', analyzer={'tokenizer': 'standard'}))
            found.append(FieldOfCollection(vectors, 'SPARSE_FLOAT_VECTOR', index=index, bm25_of=field))
        if not self.vectors and not self.words:  # a collection has a vector
            index = {'index_type': 'FLAT', 'metric_type': 'L2', 'params': {}}
            found.append(FieldOfCollection(_PLACEHOLDER, 'FLOAT_VECTOR', dim=2, index=index))
        return found

    def placeholder(self) -> dict[str, Any]:
        """Return what stands in a row of a collection that needs a vector and has none."""
        return {} if self.vectors or self.words else {_PLACEHOLDER: [0.0, 0.0]}

    def describe(self) -> dict[str, str]:
        """Return the types of the fields, as a server describes them."""
        return {field.name: field.data_type + (f'[{field.dim}]' if field.dim else '') for field in self.fields()}


def layouts(
    schema: Schema[Any],
    index_name: str,
    settings: Mapping[str, VectorSettings],
    most_vectors: int,
) -> dict[str, Layout]:
    """
    Return the collection of each level, by the flat name of its list.

    Args:
        schema: The schema.
        index_name: The name of the index, which that of each collection begins with.
        settings: The settings of all vector fields, by flat name.
        most_vectors: How many vector fields a collection of the server has at most, those of full texts included.

    Raises:
        SettingsError: the name cannot be that of a collection.
        SchemaError: a server would not take the schema; the message names the limit.
    """
    if not re.fullmatch(r'[A-Za-z_][A-Za-z0-9_]*', index_name, re.ASCII):
        raise SettingsError(
            f'index_name must be letters, digits and underscores, as it names a collection; got {index_name!r}'
        )
    found: dict[str, Layout] = {}
    for name, level in schema.levels.items():
        own = {
            column: settings[level.flat(column)] for column in level.schema.columns if level.flat(column) in settings
        }
        milvus = {column: level.schema.columns[column].settings.get('milvus', {}) for column in own}
        collection = f'{index_name}__{name_in_collection(name)}' if name else index_name
        found[name] = Layout(level, collection, own, milvus)
        _check(found[name], most_vectors)
    return found


def check_release(layout: Layout, release: tuple[int, int]) -> None:
    """
    Check that a server of some version has all that a collection needs.

    Raises:
        SchemaError: it has not; the message names what, and the first version that has it.
    """
    name, fields = layout.level.schema.name, layout.fields()
    here = f'Milvus {".".join(map(str, release))}'
    if release < _HAS_TEXT and layout.texts:
        what = ', '.join(layout.texts)
        raise SchemaError(f'{name}: full_text ({what}) needs BM25, which {here} has not; {_named(_HAS_TEXT)} has')
    if release < _HAS_VECTORS and len(layout.vectors) > 1:
        what = ', '.join(layout.vectors)
        raise SchemaError(
            f'{name} has {len(layout.vectors)} vector fields ({what}), and {here} has one in a collection; '
            f'{_named(_HAS_VECTORS)} has several'
        )
    nullable = {field.name for field in fields if field.is_nullable}
    if release < _HAS_NULL and nullable:
        what = ', '.join(column.field for column in layout.scalars.values() if column.name in nullable)
        raise SchemaError(
            f'{name}: {what} may be None or NaN, and {here} has no nullable fields; {_named(_HAS_NULL)} has. With '
            'Field(index=False) such a field is stored, and filters read the documents'
        )


def _named(release: tuple[int, int]) -> str:
    return '.'.join(map(str, release))


def _check(layout: Layout, most_vectors: int) -> None:
    name, fields = layout.level.schema.name, layout.fields()
    vectors = [field.name for field in fields if field.data_type.endswith('VECTOR')]
    if len(vectors) > most_vectors:
        raise SchemaError(
            f'{name} needs {len(vectors)} vector fields on Milvus ({", ".join(vectors)}; a full text is one too); a '
            f'server takes {most_vectors}, unless its proxy.maxVectorFieldNum is raised; then say '
            f'max_vector_fields={len(vectors)}'
        )
    if len(fields) > _MOST_FIELDS:
        raise SchemaError(
            f'{name} needs {len(fields)} fields on Milvus, and a collection has {_MOST_FIELDS} at most; with '
            'Field(index=False) a field that filters seldom ask for has none'
        )
    for column, settings in layout.settings.items():
        if settings.dim > _LARGEST_DIM:
            raise SchemaError(f'{name}.{column} has {settings.dim:,} dimensions, and Milvus takes {_LARGEST_DIM:,}')
    for long in (one for one in [layout.collection, *(field.name for field in fields)] if len(one) > _LONGEST_NAME):
        raise SchemaError(f'{name}: {long[:60]!r}... is longer than the {_LONGEST_NAME} characters of a name on Milvus')
