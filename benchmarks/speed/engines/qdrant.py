"""Qdrant's local mode, which its authors recommend for trying out: every search is exact, in numpy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import Engine

warnings.filterwarnings('ignore', module='qdrant_client')  # that local mode is not for more than 20,000 points
AT_ONCE = 1000


class Qdrant(Engine):
    """Points go in and come out. Ids are numbers, so the document's own is part of the payload."""

    title = 'Qdrant, local'
    packages = ('qdrant-client', 'numpy')
    efforts = ()
    durable = "a commit of SQLite's (rollback journal): 4 syncs"

    def create(self) -> None:
        self.open()
        distance = models.Distance.COSINE if self.meta.space == 'cosine' else models.Distance.EUCLID
        self._client.create_collection(
            'documents', vectors_config=models.VectorParams(size=self.meta.dim, distance=distance)
        )

    def open(self) -> None:
        self._client = QdrantClient(path=str(self.directory))

    def close(self) -> None:
        self._client.close()

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        return [
            models.PointStruct(id=self._number(id_), vector=vector.tolist(), payload={**fields, 'id': id_})
            for id_, fields, vector in rows
        ]

    def _number(self, id_: str) -> int:
        """Return the number of an id; those that are added later come after all others."""
        return int(id_) if id_.isdecimal() else self.meta.count + int(id_.split()[-1])

    def add(self, ready: Any) -> dict[str, float] | None:
        for at in range(0, len(ready), AT_ONCE):
            self._client.upsert('documents', ready[at : at + AT_ONCE])
        return None

    def upsert(self, ready: Any) -> None:
        self.add(ready)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        operations: list[Any] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload={field: value}, points=[self._number(id_)])
            )
            for id_, value in zip(ids, values, strict=True)
        ]
        self._client.batch_update_points('documents', operations)

    def delete(self, ids: list[str]) -> None:
        self._client.delete('documents', models.PointIdsList(points=[self._number(id_) for id_ in ids]))

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        condition = None
        if below is not None:
            condition = models.Filter(must=[models.FieldCondition(key='part', range=models.Range(lt=below))])
        return self._client.query_points(
            'documents', query=query, query_filter=condition, limit=LIMIT, with_payload=True, with_vectors=True
        ).points

    def ids(self, found: Any) -> list[str]:
        return [point.payload['id'] for point in found]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        requests = [
            models.QueryRequest(query=query.tolist(), limit=LIMIT, with_payload=True, with_vector=True)
            for query in queries
        ]
        return [answer.points for answer in self._client.query_batch_points('documents', requests)]

    def get(self, id_: str) -> Any:
        return self._client.retrieve('documents', [self._number(id_)], with_payload=True, with_vectors=True)[0]
