"""
LanceDB in a directory: https://docs.lancedb.com/indexing/vector-index.

Of its indexes IVF_HNSW_SQ: on 20,000 x 384, at a recall of 0.95 and more, IVF_FLAT and IVF_PQ with re-ranking were
slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.index import HnswSq

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import EF_CONSTRUCTION, Engine, M

TYPES = {'str': pa.string(), 'int': pa.int64(), 'float': pa.float64(), 'list[str]': pa.list_(pa.string())}


class LanceDB(Engine):
    """Arrow tables go in, dictionaries come out."""

    title = 'LanceDB'
    packages = ('lancedb', 'pyarrow')
    durable = 'files of a new version: no sync'

    def create(self) -> None:
        self._space = self.meta.space
        fields = [pa.field(name, TYPES[kind]) for name, kind in self.meta.fields.items()]
        vector = pa.list_(pa.float32(), self.meta.dim)
        self._schema = pa.schema([pa.field('id', pa.string()), *fields, pa.field('embedding', vector)])
        self._table = lancedb.connect(self.directory).create_table('documents', schema=self._schema)

    def open(self) -> None:
        self._table = lancedb.connect(self.directory).open_table('documents')
        self._schema = self._table.schema

    def close(self) -> None:
        del self._table

    def finish(self) -> None:
        config = HnswSq(distance_type=self.meta.space, m=M, ef_construction=EF_CONSTRUCTION)
        self._table.create_index('embedding', config=config)
        self._table.create_scalar_index('part')
        self._table.create_scalar_index('id')
        self.settle()

    def settle(self) -> None:
        self._table.optimize()  # until then, what was added is searched one by one

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        columns = {name: [fields[name] for fields in batch.fields] for name in self.meta.fields}
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(batch.vectors.reshape(-1)), self.meta.dim)
        return pa.table({'id': batch.ids, **columns, 'embedding': vectors}, schema=self._schema)

    def add(self, ready: Any) -> dict[str, float] | None:
        self._table.add(ready)
        return None

    def upsert(self, ready: Any) -> None:
        self._table.merge_insert('id').when_matched_update_all().when_not_matched_insert_all().execute(ready)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        # Columns that are left out keep what they hold.
        self._table.merge_insert('id').when_matched_update_all().execute(pa.table({'id': ids, field: values}))

    def delete(self, ids: list[str]) -> None:
        self._table.delete(f'id IN ({", ".join(repr(id_) for id_ in ids)})')

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        return self._search(query, below).to_list()

    def _search(self, query: Float32, below: float | None) -> Any:
        builder = self._table.search(query).distance_type(self.meta.space).limit(LIMIT)
        if self.effort is not None:
            builder = builder.ef(self.effort)
        return builder if below is None else builder.where(f'part < {below}', prefilter=True)

    def ids(self, found: Any) -> list[str]:
        return [row['id'] for row in found]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        # Several vectors in one search come back as one list, each row with the number of its query.
        return [self._search(queries, None).to_list()]

    def get(self, id_: str) -> Any:
        return self._table.search().where(f'id = {id_!r}').limit(1).to_list()[0]
