"""zvec, Alibaba's embedded store: https://zvec.org/en/docs, and the docstrings of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zvec

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import EF_CONSTRUCTION, Engine, M

TYPES = {
    'str': zvec.DataType.STRING,
    'int': zvec.DataType.INT64,
    'float': zvec.DataType.DOUBLE,
    'list[str]': zvec.DataType.ARRAY_STRING,
}
AT_ONCE = 1000  # "Too many docs" above 1,024


class Zvec(Engine):
    """zvec.Docs go in and come out."""

    title = 'zvec'
    packages = ('zvec', 'numpy')
    durable = 'flush(): about 20 syncs'

    def create(self) -> None:
        zvec.init(log_level=zvec.LogLevel.ERROR)
        spaces = {'cosine': zvec.MetricType.COSINE, 'l2': zvec.MetricType.L2, 'ip': zvec.MetricType.IP}
        graph = zvec.HnswIndexParam(metric_type=spaces[self.meta.space], m=M, ef_construction=EF_CONSTRUCTION)
        by_range = zvec.InvertIndexParam(enable_range_optimization=True)
        fields = [
            zvec.FieldSchema(name, TYPES[kind], index_param=by_range if name == 'part' else None)
            for name, kind in self.meta.fields.items()
        ]
        vector = zvec.VectorSchema('embedding', zvec.DataType.VECTOR_FP32, self.meta.dim, index_param=graph)
        schema = zvec.CollectionSchema('documents', fields=fields, vectors=vector)
        self._documents = zvec.create_and_open(self._path, schema)

    @property
    def _path(self) -> str:
        return str(self.directory / 'documents')  # must not be there when it is created

    def open(self) -> None:
        self._documents = zvec.open(self._path)

    def close(self) -> None:
        self._documents.close()

    def finish(self) -> None:
        self.settle()

    def settle(self) -> None:
        self._documents.optimize()  # until then, what was inserted is searched one by one
        self._documents.flush()

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        docs = [zvec.Doc(id=id_, fields=fields, vectors={'embedding': vector}) for id_, fields, vector in rows]
        return [docs[at : at + AT_ONCE] for at in range(0, len(docs), AT_ONCE)]

    def add(self, ready: Any) -> dict[str, float] | None:
        for some in ready:
            self._done(self._documents.insert(some))
        self._documents.flush()
        return None

    def upsert(self, ready: Any) -> None:
        for some in ready:
            self._done(self._documents.upsert(some))
        self._documents.flush()

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        docs = [zvec.Doc(id=id_, fields={field: value}) for id_, value in zip(ids, values, strict=True)]
        for at in range(0, len(docs), AT_ONCE):
            self._done(self._documents.update(docs[at : at + AT_ONCE]))
        self._documents.flush()

    def delete(self, ids: list[str]) -> None:
        self._done(self._documents.delete(ids))
        self._documents.flush()

    def _done(self, statuses: Any) -> None:
        """Raise what zvec only returns."""
        failed = [status for status in statuses if not status.ok()]
        if failed:
            raise RuntimeError(f'{len(failed)} documents were refused: {failed[0]}')

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        param = None if self.effort is None else zvec.HnswQueryParam(ef=self.effort)
        condition = None if below is None else f'part < {below:.10f}'
        return self._documents.query(
            zvec.Query('embedding', vector=query, param=param), topk=LIMIT, filter=condition, include_vector=True
        )

    def ids(self, found: Any) -> list[str]:
        return [doc.id for doc in found]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        return [self.find(query, None) for query in queries]  # several queries in one call are one fused ranking

    def get(self, id_: str) -> Any:
        return self._documents.fetch(id_)[id_]
