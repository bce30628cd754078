"""DocArray 0.41, `HnswDocumentIndex`: https://docs.docarray.org/user_guide/storing/index_hnswlib/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docarray import BaseDoc, DocList
from docarray.index import HnswDocumentIndex
from docarray.typing import NdArray
from pydantic import Field, create_model

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import EF_CONSTRUCTION, Engine, M

DEFAULT_EF = 10
TYPES: dict[str, Any] = {'str': str, 'int': int, 'float': float, 'list[str]': list[str]}


class DocArray(Engine):
    """A DocList goes in, which DocArray takes without looking at each document."""

    title = 'DocArray'
    packages = ('docarray', 'hnswlib', 'numpy', 'pydantic')
    durable = "a commit of SQLite's (rollback journal): 4 syncs; none for the graph file"

    def define(self) -> None:
        fields: dict[str, Any] = {name: (TYPES[kind], ...) for name, kind in self.meta.fields.items()}
        settings: dict[str, Any] = {'space': self.meta.space, 'M': M, 'ef_construction': EF_CONSTRUCTION}
        # Room from the start: growing by what is needed copies the whole graph at each call.
        settings |= {'max_elements': self.meta.count + len(self.data.spare), 'num_threads': -1}
        fields['embedding'] = (NdArray[self.meta.dim], Field(**settings))
        self._document: Any = create_model('Document', __base__=BaseDoc, **fields)

    def create(self) -> None:
        self.open()

    def open(self) -> None:
        self._index = HnswDocumentIndex[self._document](work_dir=str(self.directory))
        self.set_effort(self.effort)

    def close(self) -> None:
        self._index._sqlite_conn.close()  # there is no close()

    def set_effort(self, effort: int | None) -> None:
        # DocArray forgets `ef` and `num_threads` when it opens a directory, and has no way to set them for a search.
        self.effort = effort
        self._index._hnsw_indices['embedding'].set_ef(effort or DEFAULT_EF)
        self._index._hnsw_indices['embedding'].set_num_threads(-1)

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        return DocList[self._document](
            self._document(id=id_, embedding=vector, **fields) for id_, fields, vector in rows
        )

    def add(self, ready: Any) -> dict[str, float] | None:
        self._index.index(ready)
        return None

    def upsert(self, ready: Any) -> None:
        self._index.index(ready)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        docs = self._index[ids]  # there is no update: read, change, index anew
        for doc, value in zip(docs, values, strict=True):
            setattr(doc, field, value)
        self._index.index(docs)

    def delete(self, ids: list[str]) -> None:
        del self._index[ids]

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        if below is None:
            return self._index.find(query, search_field='embedding', limit=LIMIT)
        builder = self._index.build_query().filter(filter_query={'part': {'$lt': below}})
        return self._index.execute_query(builder.find(query=query, search_field='embedding', limit=LIMIT).build())

    def ids(self, found: Any) -> list[str]:
        return [doc.id for doc in found.documents]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        found: Sequence[Any] = self._index.find_batched(queries, search_field='embedding', limit=LIMIT).documents
        return found

    def get(self, id_: str) -> Any:
        return self._index[id_]
