"""
Documents as rows of collections, and back, exactly.

A document without its vectors is JSON, as `docindex.payload` writes it, in strings of the length that Milvus takes; so
its size has no limit but that of a call. Tensors that float32 does not hold stand beside it in base64. Milvus squares
vectors in float32 to normalise them: one that is very short or long for `cosine` is stored multiplied by a power of
two, which `_scales` remembers, and comes back as it was.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from ..errors import CollectionError, DocumentError
from ..incoming import Given
from ..matrices import column_matrix
from ..payload import Payloads
from ..schema import Column
from ..tensors import Float32Array, LostTensorError, Tensor
from .layout import Layout
from .limits import LONGEST_TEXT, MOST_TEXTS, Row
from .texts import as_words

D = TypeVar('D', bound=BaseModel)

_SHORTEST, _LONGEST = 1e-15, 1e15  # lengths whose squares are far from the ends of float32
_PART = LONGEST_TEXT // 4  # characters, of up to four bytes each


@dataclass(frozen=True)
class Place:
    """
    Where a document is.

    Attributes:
        version: The version of the lists of the outermost document: those that it has, or that it is in.
        at: When it was stored.
        root: The id of the outermost document; None for one itself.
    """

    version: int
    at: int
    root: str | None = None


class Records(Generic[D]):
    """
    Writes and reads the rows of one collection.

    Args:
        layout: The collection.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        schema = layout.level.schema
        self._schema = schema
        self.doc_type: type[D] = schema.doc_type
        self.lists = list(schema.lists.values())
        self._columns = [schema.columns[name] for name in layout.settings]
        self._payloads: Payloads[D] = Payloads(schema.doc_type, self._columns, self.lists)
        self.is_plain = self._payloads.is_plain

    # -- into a collection ---------------------------------------------------------------------------

    def rows(self, given: Sequence[Given], places: Sequence[Place]) -> list[Row]:
        """
        Check documents, and return them as rows. Nothing is sent yet.

        Raises:
            DocumentError, VectorError: one of them cannot be stored; the message says which and why.
        """
        rows: list[Row] = [{} for _ in given]
        originals: dict[str, list[Tensor | None]] = {}
        scales: list[dict[str, int]] = [{} for _ in given]
        for column in self._columns:
            originals[column.name] = self._put_vectors(rows, scales, column, given)
        rounded = [name for name, one in self.layout.settings.items() if one.stored_as == 'float16']
        for at, (row, one, place) in enumerate(zip(rows, given, places, strict=True)):
            own = {name: values[at] for name, values in originals.items()}
            row |= self._identity(one, place) | self.layout.placeholder()
            try:
                doc = self._payloads.fitting(one.doc)
                text, tensors = self._payloads.dump(doc, own, rounded)
                row |= self._looked_at(doc)
            except DocumentError as error:
                raise DocumentError(f'{one.name()}: {error}') from error
            row['_doc'] = _in_parts(text.decode(), one)
            row['_tensors'] = _in_parts(base64.b64encode(tensors or b'').decode(), one)
            row['_scales'] = json.dumps(scales[at]) if scales[at] else ''
        return rows

    def _identity(self, one: Given, place: Place) -> Row:
        row: Row = {'id': one.doc.id, '_version': place.version, '_at': place.at}
        _check_length(one.doc.id, 'id', one)
        if not self.layout.is_root:
            key = f'{place.version}/{one.doc.id}'
            _check_length(key, 'id', one)
            row |= {'_key': key, '_root': place.root, '_parent': one.parent, '_position': one.position}
        return row

    def _looked_at(self, doc: D) -> Row:
        """Return what filters and text searches look at."""
        nodes, layout = self._schema.nodes, self.layout
        row = {column.name: column.encode(nodes[field].value(doc)) for field, column in layout.scalars.items()}
        for field, name in layout.words.items():
            row[name] = as_words(nodes[field].value(doc))
            if len(row[name].encode()) > LONGEST_TEXT:
                raise DocumentError(
                    f'field {field!r} has {len(row[name].encode()):,} bytes of words, and a full text on Milvus '
                    f'{LONGEST_TEXT:,} at most; split the text, into a list of documents say'
                )
        return row

    def _put_vectors(
        self, rows: list[Row], scales: list[dict[str, int]], column: Column, given: Sequence[Given]
    ) -> list[Tensor | None]:
        """Put the vectors of a field into rows; return them as they were given."""
        layout, settings = self.layout, self.layout.settings[column.name]
        values = [column.value(one.doc) for one in given]
        matrix, originals = column_matrix(values, column, settings, lambda at: given[at].name())
        field = layout.vectors[column.name]
        for at, (row, vector, original) in enumerate(zip(rows, matrix, originals, strict=True)):
            if original is None:
                vector = _some_direction(given[at].doc.id, settings.dim)
            elif settings.space == 'cosine':
                vector, exponent = _scaled(vector)
                if exponent:
                    scales[at][column.name] = exponent
            row[field] = vector
            if column.name in layout.optional:
                row[layout.optional[column.name]] = original is not None
        return originals

    # -- out of a collection -------------------------------------------------------------------------

    def documents(self, rows: Sequence[Row]) -> list[D]:
        """
        Return the documents that rows are of, their lists empty.

        Raises:
            CollectionError: a row is not what was written.
        """
        return [self._document(row, self.vectors(row)) for row in rows]

    def _document(self, row: Row, vectors: Mapping[str, Float32Array | None]) -> D:
        try:
            text = ''.join(row['_doc']).encode()
            tensors = base64.b64decode(''.join(row['_tensors'])) or None
            doc = self._payloads.load(text, tensors, vectors)
        except (LostTensorError, DocumentError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, DocumentError):
                raise
            message = f'the row of {row.get("id")!r} in {self.layout.collection!r} was not written by docindex: {error}'
            raise CollectionError(message, self.layout.collection) from error
        return doc

    def vectors(self, row: Row) -> dict[str, Float32Array | None]:
        """Return the vectors of a row by field, None where there is none."""
        scales = json.loads(row['_scales']) if row.get('_scales') else {}
        return {name: self._vector(row, name, scales.get(name, 0)) for name in self.layout.vectors}

    def vector(self, row: Row, name: str) -> Float32Array | None:
        """Return one vector of a row."""
        scales = json.loads(row['_scales']) if row.get('_scales') else {}
        return self._vector(row, name, scales.get(name, 0))

    def vector_fields(self, name: str) -> list[str]:
        """Return the fields of the collection that `vector` looks at."""
        optional = self.layout.optional.get(name)
        return ['_scales', self.layout.vectors[name], *([optional] if optional else [])]

    def _vector(self, row: Row, name: str, exponent: int) -> Float32Array | None:
        if name in self.layout.optional and not row[self.layout.optional[name]]:
            return None
        vector = np.asarray(row[self.layout.vectors[name]], np.float32)
        return np.ldexp(vector, -exponent) if exponent else vector

    def searched(self, name: str, query: Float32Array) -> Float32Array:
        """Return what to search for in the collection for a query (dim,)."""
        return _scaled(query)[0] if self.layout.settings[name].space == 'cosine' else query

    def without_vectors(self, rows: Sequence[Row]) -> list[D]:
        """Return documents with zeros for their vectors: none need be read."""
        zeros: dict[str, Float32Array | None] = {
            name: np.zeros(settings.dim, np.float32) for name, settings in self.layout.settings.items()
        }
        return [self._document(row, zeros) for row in rows]


def _in_parts(text: str, one: Given) -> list[str]:
    parts = list(_parts(text))
    if len(parts) > MOST_TEXTS:
        raise DocumentError(f'{one.name()} has {len(text):,} characters, which is more than Milvus takes')
    return parts


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PART):
        yield text[start : start + _PART]


def _check_length(text: str, field: str, one: Given) -> None:
    if len(text.encode()) > LONGEST_TEXT:
        raise DocumentError(f'{one.name()[:200]}: {field} has over {LONGEST_TEXT:,} bytes, which Milvus does not take')


def _scaled(vector: Float32Array) -> tuple[Float32Array, int]:
    """Return a vector of a length that float32 can square, and the power of two that it was multiplied by."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if length == 0 or _SHORTEST < length < _LONGEST:
        return vector, 0
    exponent = -int(np.floor(np.log2(length)))
    return np.ldexp(vector, exponent), exponent


def _some_direction(id_: str, dim: int) -> Float32Array:
    """
    Return what stands where there is no vector: one of length 1 that depends on the id.

    Zeros for all of them would be a crowd of equal vectors in the graph, which hides what is behind it.
    """
    random = np.random.default_rng(zlib.crc32(id_.encode()))
    vector = random.standard_normal(dim).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
