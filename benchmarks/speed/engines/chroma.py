"""Chroma, `PersistentClient`: https://docs.trychroma.com/docs/collections/configure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import chromadb
from chromadb.config import Settings

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import EF_CONSTRUCTION, Engine, M

DEFAULT_EF = 100
INCLUDE: Any = ['metadatas', 'embeddings', 'distances']


class Chroma(Engine):
    """Ids, embeddings and metadata go in; lists are kept as JSON."""

    title = 'Chroma'
    packages = ('chromadb', 'numpy')
    durable = "commits of SQLite's: 8 syncs; the graph follows after each 1,000 writes"

    def create(self) -> None:
        hnsw = {'space': self.meta.space, 'max_neighbors': M, 'ef_construction': EF_CONSTRUCTION}
        self._client = self._connected()
        self._documents = self._client.create_collection(
            'documents', embedding_function=None, configuration={'hnsw': hnsw}
        )

    def open(self) -> None:
        self._client = self._connected()
        self._documents = self._client.get_collection('documents', embedding_function=None)

    def _connected(self) -> Any:
        return chromadb.PersistentClient(str(self.directory), settings=Settings(anonymized_telemetry=False))

    def close(self) -> None:
        self._client.close()

    def set_effort(self, effort: int | None) -> None:
        self.effort = effort
        self._documents.modify(configuration={'hnsw': {'ef_search': effort or DEFAULT_EF}})
        self.close()  # a graph that is loaded keeps its setting
        self.open()

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        most = self._client.get_max_batch_size()
        metadatas = [self._metadata(fields) for fields in batch.fields]
        return [
            {
                'ids': batch.ids[at : at + most],
                'embeddings': batch.vectors[at : at + most],
                'metadatas': metadatas[at : at + most],
            }
            for at in range(0, len(batch.ids), most)
        ]

    def _metadata(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: json.dumps(value) if isinstance(value, list) else value for name, value in fields.items()}

    def add(self, ready: Any) -> dict[str, float] | None:
        for some in ready:
            self._documents.add(**some)
        return None

    def upsert(self, ready: Any) -> None:
        for some in ready:
            self._documents.upsert(**some)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        self._documents.update(ids=ids, metadatas=[{field: value} for value in values])

    def delete(self, ids: list[str]) -> None:
        self._documents.delete(ids=ids)

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        where: Any = None if below is None else {'part': {'$lt': below}}
        return self._documents.query(query_embeddings=query[None], n_results=LIMIT, where=where, include=INCLUDE)

    def ids(self, found: Any) -> list[str]:
        return list(found['ids'][0])

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        return [self._documents.query(query_embeddings=queries, n_results=LIMIT, include=INCLUDE)]

    def get(self, id_: str) -> Any:
        return self._documents.get(ids=[id_], include=['metadatas', 'embeddings'])
