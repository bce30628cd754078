"""docindex, as its README shows it, at default settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import create_model

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import Engine, HasNoneError
from benchmarks.speed.engines.floor import TYPES
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray


class DocIndex(Engine):
    """A list of documents goes in, `DocList`s of documents come out."""

    title = 'docindex'
    packages = ('docindex', 'hnswlib', 'numpy', 'pydantic')
    durable = 'a commit (WAL, synchronous=FULL) with the vectors, or after these were synced: 1 or 2 syncs'

    def define(self) -> None:
        space: Any = self.meta.space
        fields: dict[str, Any] = {name: (TYPES[kind], ...) for name, kind in self.meta.fields.items()}
        fields['embedding'] = (NdArray, Field(dim=self.meta.dim, space=space))
        self._document: Any = create_model('Document', __base__=BaseDoc, **fields)
        untyped: Any = HnswDocumentIndex  # to a type checker, what stands in brackets has to be written there
        self._index_class = untyped[self._document]

    def create(self) -> None:
        self.open()

    def open(self) -> None:
        self._index: Any = self._index_class(work_dir=self.directory)

    def close(self) -> None:
        self._index.close()

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        return [self._document(id=id_, embedding=vector, **fields) for id_, fields, vector in rows]

    def add(self, ready: Any) -> dict[str, float] | None:
        self._index.index(ready)
        return None

    def upsert(self, ready: Any) -> None:
        self._index.index(ready)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        self._index.update({id_: {field: value} for id_, value in zip(ids, values, strict=True)})

    def delete(self, ids: list[str]) -> None:
        self._index.delete(ids)

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        condition = None if below is None else {'part': {'$lt': below}}
        return self._index.find(query, search_field='embedding', limit=LIMIT, filter=condition, ef=self.effort)

    def ids(self, found: Any) -> list[str]:
        return [doc.id for doc in found.documents]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        found: Sequence[Any] = self._index.find_batched(queries, 'embedding', limit=LIMIT, ef=self.effort).documents
        return found

    def get(self, id_: str) -> Any:
        return self._index[id_]


class DocIndexDicts(DocIndex):
    """Dictionaries go in."""

    title = 'docindex, dicts'

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        return [{'id': id_, 'embedding': vector, **fields} for id_, fields, vector in rows]


class DocIndexColumns(DocIndex):
    """Columns go in, with the vectors as one array."""

    title = 'docindex, columns'

    def prepare(self, batch: Batch) -> Any:
        columns = {name: [fields[name] for fields in batch.fields] for name in self.meta.fields}
        return {'id': batch.ids, **columns, 'embedding': batch.vectors}

    def add(self, ready: Any) -> dict[str, float] | None:
        index: Any = self._index
        if not hasattr(index, 'index_columns'):
            raise HasNoneError('no index_columns in this version')
        index.index_columns(**ready)
        return None
