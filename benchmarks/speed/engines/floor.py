"""
The floor: hnswlib, numpy and sqlite3 by hand, for exactly these documents and filters. It checks nothing.

One table has a row for each document: JSON, and the vector as bytes. A write is one commit (WAL, synchronous=FULL) and
one `add_items`. It does without what would make it a library: the graph is written to its file at closing only, so that
after a crash it would have to be built anew, and readers get no protection from writers.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, create_model

from benchmarks.speed.datasets import LIMIT, Batch, Float32, matching
from benchmarks.speed.engines import EF_CONSTRUCTION, EFFORTS, Engine, M

TYPES: dict[str, Any] = {'str': str, 'int': int, 'float': float, 'list[str]': list[str]}
DEFAULT_EF = 100  # what docindex takes by itself for ten results
SCANNED, EXAMINED = 0.3e-3, 2.0
"""Microseconds for a number of a vector that is compared with, and for a neighbour that the graph is asked for."""


class Floor(Engine):
    """hnswlib, numpy and sqlite3."""

    title = 'the floor'
    packages = ('hnswlib', 'numpy', 'pydantic')
    durable = 'a commit (WAL, synchronous=FULL): 1 sync'
    efforts = EFFORTS

    def create(self) -> None:
        self._connections = threading.local()
        self._sqlite.execute(
            'CREATE TABLE documents (label INTEGER PRIMARY KEY, id TEXT UNIQUE, part REAL, data TEXT, vector BLOB)'
        )
        self._graph = hnswlib.Index(self.meta.space, self.meta.dim)
        self._graph.init_index(self.meta.count, M=M, ef_construction=EF_CONSTRUCTION)
        self._next = 0
        self.set_effort(self.effort)

    def open(self) -> None:
        self._connections = threading.local()
        self._graph = hnswlib.Index(self.meta.space, self.meta.dim)
        self._graph.load_index(str(self.directory / 'graph.bin'))
        (self._next,) = self._sqlite.execute('SELECT max(label) + 1 FROM documents').fetchone()
        self.set_effort(self.effort)

    def close(self) -> None:
        self._graph.save_index(str(self.directory / 'graph.bin'))
        self._sqlite.close()

    def set_effort(self, effort: int | None) -> None:
        self.effort = effort
        self._graph.set_ef(effort or DEFAULT_EF)

    @property
    def _sqlite(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        if not hasattr(self._connections, 'here'):
            self._connections.here = sqlite3.connect(self.directory / 'documents.sqlite3', check_same_thread=False)
            self._connections.here.execute('PRAGMA journal_mode=WAL')
            self._connections.here.execute('PRAGMA synchronous=FULL')
        found: sqlite3.Connection = self._connections.here
        return found

    def define(self) -> None:
        fields: dict[str, Any] = {name: (TYPES[kind], ...) for name, kind in self.meta.fields.items()}
        config = ConfigDict(arbitrary_types_allowed=True)
        self._document: type[BaseModel] = create_model(
            'Document', __config__=config, id=(str, ...), embedding=(np.ndarray | None, None), **fields
        )

    # -- writing

    def prepare(self, batch: Batch) -> Any:
        docs = [self._document(id=id_, **fields) for id_, fields in zip(batch.ids, batch.fields, strict=True)]
        return docs, batch.vectors

    def add(self, ready: Any) -> dict[str, float]:
        docs, vectors = ready
        labels = self._new_labels(len(docs))
        self._insert(labels, docs, vectors)
        start = time.perf_counter()
        self._graph.add_items(vectors, np.asarray(labels))
        alone = time.perf_counter() - start
        self._sqlite.commit()
        return {'add_items': alone}

    def upsert(self, ready: Any) -> None:
        docs, vectors = ready
        labels = self._new_labels(len(docs))
        old = self._labels([doc.id for doc in docs])
        self._sqlite.executemany('DELETE FROM documents WHERE label = ?', [(label,) for label in old])
        self._insert(labels, docs, vectors)
        self._graph.add_items(vectors, np.asarray(labels))
        for label in old:
            self._graph.mark_deleted(label)
        self._sqlite.commit()

    def _new_labels(self, count: int) -> range:
        labels = range(self._next, self._next + count)
        self._next += count
        if self._next > self._graph.get_max_elements():
            self._graph.resize_index(2 * self._next)
        return labels

    def _insert(self, labels: range, docs: list[Any], vectors: Float32) -> None:
        rows = (
            (label, doc.id, doc.part, doc.model_dump_json(exclude={'embedding'}), vector.tobytes())
            for label, doc, vector in zip(labels, docs, vectors, strict=True)
        )
        self._sqlite.executemany('INSERT INTO documents VALUES (?, ?, ?, ?, ?)', rows)

    def update(self, ids: list[str], field: str, values: list[str]) -> None:
        rows = [(f'$.{field}', value, id_) for value, id_ in zip(values, ids, strict=True)]
        self._sqlite.executemany('UPDATE documents SET data = json_set(data, ?, ?) WHERE id = ?', rows)
        self._sqlite.commit()

    def delete(self, ids: list[str]) -> None:
        for label in self._labels(ids):
            self._graph.mark_deleted(label)
        self._sqlite.executemany('DELETE FROM documents WHERE id = ?', [(id_,) for id_ in ids])
        self._sqlite.commit()

    def _labels(self, ids: list[str]) -> list[int]:
        found = self._sqlite.execute(
            'SELECT label FROM documents WHERE id IN (SELECT value FROM json_each(?))', [json.dumps(ids)]
        )
        return [label for (label,) in found]

    # -- reading

    def find(self, query: Float32, below: float | None) -> Any:
        labels = self._nearest(query) if below is None else self._nearest_below(query, below)
        return self._documents([labels])[0]

    def ids(self, found: Any) -> list[str]:
        return [doc.id for doc in found]

    def find_batched(self, queries: Float32) -> Sequence[Any]:
        found, _ = self._graph.knn_query(queries, k=LIMIT)
        return self._documents(found.tolist())

    def get(self, id_: str) -> Any:
        row = self._sqlite.execute('SELECT data, vector FROM documents WHERE id = ?', [id_]).fetchone()
        return self._complete(*row)

    def _nearest(self, query: Float32, limit: int = LIMIT) -> list[int]:
        found, _ = self._graph.knn_query(query, k=limit, num_threads=1)
        labels: list[int] = found[0].tolist()
        return labels

    def _documents(self, found: list[list[int]]) -> list[list[BaseModel]]:
        wanted = [*{label for labels in found for label in labels}]
        rows: dict[int, tuple[str, bytes]] = {}
        for at in range(0, len(wanted), 30_000):  # of 32,766 variables
            some = wanted[at : at + 30_000]
            marks = ','.join('?' * len(some))
            query = f'SELECT label, data, vector FROM documents WHERE label IN ({marks})'
            rows |= {label: (data, vector) for label, data, vector in self._sqlite.execute(query, some)}
        return [[self._complete(*rows[label]) for label in labels] for labels in found]

    def _complete(self, data: str, vector: bytes) -> BaseModel:
        doc = self._document.model_validate_json(data)
        doc.__dict__['embedding'] = np.frombuffer(vector, np.float32)
        return doc

    # -- filters: the better of two ways, with all that it takes in memory. hnswlib's own filters, which call Python
    # for each vector that is looked at, are slower than either.

    def _nearest_below(self, query: Float32, below: float) -> list[int]:
        limit = math.ceil(1.5 * LIMIT / below)
        if matching(self.meta.count, below) * self.meta.dim * SCANNED < limit * EXAMINED:
            return self._scanned(query, below)
        while True:
            found = [label for label in self._nearest(query, limit) if self._parts[label] < below]
            if len(found) >= LIMIT:
                return found[:LIMIT]
            limit *= 2

    def _scanned(self, query: Float32, below: float) -> list[int]:
        labels = self._by_part[: int(np.searchsorted(self._sorted_parts, below))]
        rows = self._matrix[labels]
        if self.meta.space == 'l2':
            rows -= query
            scores = np.einsum('ij,ij->i', rows, rows)
        else:
            scores = -np.einsum('ij,j->i', rows, query)  # BLAS shares small products among threads, and is slower
        nearest = np.argpartition(scores, LIMIT - 1)[:LIMIT] if len(scores) > LIMIT else np.arange(len(scores))
        found: list[int] = labels[nearest[np.argsort(scores[nearest])]].tolist()
        return found

    @cached_property
    def _parts(self) -> NDArray[np.float64]:
        return np.array([part for (part,) in self._sqlite.execute('SELECT part FROM documents ORDER BY label')])

    @cached_property
    def _by_part(self) -> NDArray[np.int64]:
        return np.argsort(self._parts)

    @cached_property
    def _sorted_parts(self) -> NDArray[np.float64]:
        return self._parts[self._by_part]

    @cached_property
    def _matrix(self) -> Float32:
        rows = self._sqlite.execute('SELECT vector FROM documents ORDER BY label')
        matrix = np.empty((self.meta.count, self.meta.dim), np.float32)
        for at, (vector,) in enumerate(rows):
            matrix[at] = np.frombuffer(vector, np.float32)
        return matrix if self.meta.space == 'l2' else matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
