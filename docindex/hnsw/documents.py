"""Documents of one class on their way into the store, as rows and matrices, and back out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, create_model

from ..distances import Labels
from ..doclist import DocList
from ..document import BaseDoc
from ..errors import CHECK, CorruptIndexError, DocumentError
from ..fields import VectorSettings
from ..filters import And, Filter
from ..matrices import column_matrix
from ..payload import Payloads
from ..schema import Column, Schema, check_id
from ..tensors import Float32Array, LostTensorError
from .extraction import Extraction
from .rows import Row
from .state import View
from .transaction import Vectors

D = TypeVar('D', bound=BaseModel)


class Documents(Generic[D]):
    """
    Writes and reads the documents of one schema.

    Args:
        schema: The schema.
        dims: The lengths of its vectors, by field.

    Attributes:
        columns: Its vector fields.
        extraction: What filters look at.
    """

    def __init__(self, schema: Schema[D], dims: Mapping[str, int]) -> None:
        self._schema = schema
        self.columns = [schema.columns[name] for name in dims]
        self._payloads: Payloads[D] = Payloads(schema.doc_type, self.columns)
        self._no_vectors: dict[str, Float32Array | None] = {
            name: np.zeros(dim, np.float32) for name, dim in dims.items()
        }
        self.extraction = Extraction(schema, self._payloads, self._no_vectors)

    def prepared(
        self, docs: Sequence[D], settings: Mapping[str, VectorSettings]
    ) -> tuple[list[Row], dict[str, Vectors]]:
        """Check documents and turn them into rows and matrices, the last of each id. Nothing is written yet."""
        ids = [check_id(getattr(doc, 'id', None), at) for at, doc in enumerate(docs)]
        last = list({id_: at for at, id_ in enumerate(ids)}.values())
        vectors: dict[str, Vectors] = {}
        originals: dict[str, list[Any]] = {}
        for column in self.columns:
            values = [column.value(doc) for doc in docs]
            matrix, arrays = column_matrix(values, column, settings[column.name], ids)
            is_present = np.array([array is not None for array in arrays], bool)
            vectors[column.name] = (
                Vectors(matrix[last], is_present[last]) if len(last) < len(docs) else Vectors(matrix, is_present)
            )
            originals[column.name] = arrays
        rows: list[Row] = []
        for at in last:
            try:
                data, tensors = self._payloads.dump(docs[at], {name: arrays[at] for name, arrays in originals.items()})
            except DocumentError as error:
                raise DocumentError(f'document {at} (id {ids[at]!r}): {error}') from error
            rows.append(Row(ids[at], data, tensors, self.extraction.values(docs[at])))
        return rows, vectors

    def load(self, view: View, labels: Labels, path: Path) -> list[D]:
        """
        Return the documents with these labels, in their order.

        Raises:
            CorruptIndexError: one of them is not there, or damaged; `path` is named.
        """
        if not len(labels):
            return []
        rows = _fetched(view, labels, path)
        names = [column.name for column in self.columns]
        columns = [view.vectors_or_none(name, labels) for name in names]
        docs: list[D] = []
        for label, *vectors in zip(labels.tolist(), *columns, strict=True):
            docs.append(self._document(rows[label], dict(zip(names, vectors, strict=True)), path))
        return docs

    def select(self, view: View, labels: Labels, path: Path, fields: tuple[str, ...], filter_: Filter) -> DocList[Any]:
        """
        Return some fields of the documents with these labels, as documents of a class that has no others.

        Raises:
            CorruptIndexError: as for `load`, and as for `check`.
        """
        columns = [self._schema.nodes[name] for name in dict.fromkeys(('id', *fields))]
        if any(column.is_tensor or column.is_document for column in columns):
            docs: list[D] = self.load(view, labels, path)
        else:  # no vector need be read
            rows = _fetched(view, labels, path)
            docs = [self._document(rows[label], self._no_vectors, path) for label in labels.tolist()]
        self.check(docs, filter_, path)
        selected = _selection(self._schema.doc_type, tuple(columns))
        values = ({column.name: column.value(doc) for column in columns} for doc in docs)
        return DocList[selected].trusted([selected.model_construct(**each) for each in values])  # type: ignore[valid-type]

    def check(self, docs: Sequence[D], filter_: Filter, path: Path) -> None:
        """
        Check that documents match the filter that has found them.

        Raises:
            CorruptIndexError: one does not; what filters look at is damaged.
        """
        for doc in docs if filter_ != And() else []:
            if not filter_.matches(doc):
                message = f'the document {self._schema.columns["id"].value(doc)!r} does not match what was found'
                raise CorruptIndexError(f'{message}: {filter_}', path, CHECK)

    def reread(self, view: View, label: int, text: bytes, packed: bytes | None) -> D:
        """Return the document that a row is of, with its vectors."""
        labels = np.array([label], np.int64)
        vectors = {column.name: view.vectors_or_none(column.name, labels)[0] for column in self.columns}
        return self._payloads.load(text, packed, vectors)

    def _document(self, row: tuple[bytes, bytes | None], vectors: Mapping[str, Float32Array | None], path: Path) -> D:
        try:
            return self._payloads.load(*row, vectors)
        except LostTensorError as error:
            message = f'a document refers to the vector {error.args[0]!r}, which is not there'
            raise CorruptIndexError(message, path, CHECK) from error


def _fetched(view: View, labels: Labels, path: Path) -> dict[int, tuple[bytes, bytes | None]]:
    """Return the JSON and the tensors of the documents with these labels, by label."""
    wanted = set(labels.tolist())
    rows = view.rows.fetch(list(wanted))
    for label in wanted - rows.keys():
        raise CorruptIndexError(
            f'a graph knows the label {label}, which has no document', path, 'remove its "graphs" directory and reopen'
        )
    return rows


@lru_cache(maxsize=256)
def _selection(doc_type: type[BaseModel], columns: tuple[Column, ...]) -> type[BaseDoc]:
    """Return the class of documents with only these fields."""
    fields: dict[str, Any] = {
        column.name: (column.annotation | None if column.is_optional else column.annotation, ...)
        for column in columns
        if column.name != 'id'
    }
    return create_model(f'{doc_type.__name__}Selection', __base__=BaseDoc, **fields)
