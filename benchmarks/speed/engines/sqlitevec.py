"""sqlite-vec: https://alexgarcia.xyz/sqlite-vec/. Every search is exact; vectors, filters and documents in one file."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pysqlite3 as sqlite3  # many Pythons, pyenv's among them, have a sqlite3 that loads no extensions
import sqlite_vec

from benchmarks.speed.datasets import LIMIT, Batch, Float32
from benchmarks.speed.engines import Engine


class SqliteVec(Engine):
    """A `vec0` table: `part` is a metadata column, the JSON an auxiliary one."""

    title = 'sqlite-vec'
    packages = ('sqlite-vec', 'pysqlite3-binary', 'numpy')
    efforts = ()
    durable = 'a commit (WAL, synchronous=FULL): 1 sync'

    def create(self) -> None:
        self.open()
        metric = {'cosine': 'cosine', 'l2': 'L2'}[self.meta.space]
        self._sqlite.execute(
            f'CREATE VIRTUAL TABLE documents USING vec0(id TEXT PRIMARY KEY, part FLOAT, +data TEXT, '
            f'embedding FLOAT[{self.meta.dim}] distance_metric={metric})'
        )

    def open(self) -> None:
        self._connections = threading.local()
        self._sqlite.execute('PRAGMA journal_mode=WAL')

    def close(self) -> None:
        self._sqlite.close()

    @property
    def _sqlite(self) -> Any:
        """Return the connection of this thread."""
        if not hasattr(self._connections, 'here'):
            connection = sqlite3.connect(str(self.directory / 'documents.sqlite3'), check_same_thread=False)
            connection.enable_load_extension(True)
            sqlite_vec.load(connection)
            connection.execute('PRAGMA synchronous=FULL')
            self._connections.here = connection
        return self._connections.here

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        rows = zip(batch.ids, batch.fields, batch.vectors, strict=True)
        return [(id_, fields['part'], json.dumps(fields), vector.tobytes()) for id_, fields, vector in rows]

    def add(self, ready: Any) -> dict[str, float] | None:
        with self._sqlite:
            self._sqlite.executemany('INSERT INTO documents (id, part, data, embedding) VALUES (?, ?, ?, ?)', ready)
        return None

    def upsert(self, ready: Any) -> None:
        with self._sqlite:  # vec0 has no ON CONFLICT
            self._sqlite.executemany('DELETE FROM documents WHERE id = ?', [(row[0],) for row in ready])
            self._sqlite.executemany('INSERT INTO documents (id, part, data, embedding) VALUES (?, ?, ?, ?)', ready)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        rows = [(f'$.{field}', value, id_) for id_, value in zip(ids, values, strict=True)]
        with self._sqlite:
            self._sqlite.executemany('UPDATE documents SET data = json_set(data, ?, ?) WHERE id = ?', rows)

    def delete(self, ids: list[str]) -> None:
        with self._sqlite:
            self._sqlite.executemany('DELETE FROM documents WHERE id = ?', [(id_,) for id_ in ids])

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        condition, values = ('', []) if below is None else (' AND part < ?', [below])
        rows = self._sqlite.execute(
            f'SELECT id, data, embedding, distance FROM documents WHERE embedding MATCH ? AND k = {LIMIT}{condition}',
            [query.tobytes(), *values],
        )
        return [(id_, json.loads(data), np.frombuffer(vector, np.float32), far) for id_, data, vector, far in rows]

    def ids(self, found: Any) -> list[str]:
        return [row[0] for row in found]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        return [self.find(query, None) for query in queries]

    def get(self, id_: str) -> Any:
        data, vector = self._sqlite.execute('SELECT data, embedding FROM documents WHERE id = ?', [id_]).fetchone()
        return json.loads(data), np.frombuffer(vector, np.float32)
