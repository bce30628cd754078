"""
How much docindex adds to what it stands on: hnswlib and sqlite3, used by hand on the same data.

    python -m benchmarks.floor --data PATH_TO_debian-packages

Both sides do the same work in turn, in one run, with one thread, and only ratios count, for the speed of a machine
drifts. The floor keeps nothing safe: no checks, no checksums, no syncs, SQLite in memory, vectors in an array.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from benchmarks.sources import packages
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.tensors import Float32Array

DIM, LIMIT, M, EF_CONSTRUCTION, EF = 384, 10, 16, 200, 100  # EF is what docindex takes by itself for ten results


class Package(BaseDoc):
    """A Debian package and the embedding of its description."""

    name: str
    description: str
    section: str
    priority: str
    version: str
    size: int
    installed_kib: int
    team: str
    depends: list[str]
    tags: list[str]
    embedding: NdArray | None = Field(None, dim=DIM, space='cosine')


class Floor:
    """hnswlib and sqlite3 by hand."""

    def __init__(self, capacity: int) -> None:
        self.graph = hnswlib.Index('cosine', DIM)
        self.graph.init_index(capacity, M=M, ef_construction=EF_CONSTRUCTION)
        self.graph.set_ef(EF)
        self.vectors = np.empty((capacity, DIM), np.float32)
        self.sqlite = sqlite3.connect(':memory:')
        self.sqlite.execute('CREATE TABLE documents (label INTEGER PRIMARY KEY, data BLOB)')

    def add_vectors(self, first: int, vectors: Float32Array) -> None:
        """Call `add_items`, and nothing else."""
        self.graph.add_items(vectors, np.arange(first, first + len(vectors)), num_threads=1)

    def add_rest(self, first: int, docs: list[Package], vectors: Float32Array) -> None:
        """Keep what `find` needs to build documents."""
        self.vectors[first : first + len(docs)] = vectors
        rows = [(first + at, doc.model_dump_json(exclude={'embedding'})) for at, doc in enumerate(docs)]
        self.sqlite.executemany('INSERT INTO documents VALUES (?, ?)', rows)

    def find(self, query: Float32Array) -> list[Package]:
        """Call `knn_query`, one SELECT, and build ten complete models."""
        found, _ = self.graph.knn_query(query, k=LIMIT, num_threads=1)
        labels = found[0].tolist()
        marks = ','.join('?' * len(labels))
        rows = dict(self.sqlite.execute(f'SELECT label, data FROM documents WHERE label IN ({marks})', labels))
        docs = [Package.model_validate_json(rows[label]) for label in labels]
        for doc, vector in zip(docs, self.vectors[labels], strict=True):
            doc.__dict__['embedding'] = vector
        return docs


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--data', type=Path, required=True, help='the directory with packages.jsonl.gz and embeddings.npz'
    )
    parser.add_argument('--rounds', type=int, default=8, help='in how many parts the packages are indexed, in turn')
    given = parser.parse_args()
    docs, vectors, queries = load(given.data)
    floor = Floor(len(docs))
    with tempfile.TemporaryDirectory() as directory, HnswDocumentIndex[Package](work_dir=directory) as index:
        report(
            'index: rate of add_items alone / ours',
            *index_in_turn(floor, index, docs, vectors, given.rounds),
            upside_down=True,
        )
        report('find 10 documents: ours / floor', *find_in_turn(floor, index, queries))
        print(f'recall@10 against exact search: docindex {recall(index, queries):.3f}')


def load(directory: Path) -> tuple[list[Package], Float32Array, Float32Array]:
    """Return the packages, their embeddings, and embeddings of packages that are not among them."""
    rows, vectors, unseen = packages(directory)
    docs = [
        Package(id=str(at), embedding=vector, **row) for at, (row, vector) in enumerate(zip(rows, vectors, strict=True))
    ]
    return docs, vectors, unseen


def index_in_turn(
    floor: Floor, index: HnswDocumentIndex[Package], docs: list[Package], vectors: Float32Array, rounds: int
) -> tuple[list[float], list[float]]:
    """Return seconds of each round: ours, complete and durable, and the floor's bare `add_items`."""
    ours: list[float] = []
    theirs: list[float] = []
    for part in np.array_split(np.arange(len(docs)), rounds):
        first, last = int(part[0]), int(part[-1]) + 1
        ours.append(seconds(partial(index.index, docs[first:last])))
        theirs.append(seconds(partial(floor.add_vectors, first, vectors[first:last])))
        floor.add_rest(first, docs[first:last], vectors[first:last])
    return ours, theirs


def find_in_turn(
    floor: Floor, index: HnswDocumentIndex[Package], queries: Float32Array
) -> tuple[list[float], list[float]]:
    """Return seconds of each query, ours and the floor's, in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(5):
        for query in queries:
            ours.append(seconds(partial(index.find, query, 'embedding', LIMIT)))
            theirs.append(seconds(partial(floor.find, query)))
    return ours, theirs


def recall(index: HnswDocumentIndex[Package], queries: Float32Array) -> float:
    """Return which share of the ten true neighbours is found, on average."""
    found = index.find_batched(queries, 'embedding', LIMIT).documents
    true = index.find_batched(queries, 'embedding', LIMIT, exact=True).documents
    return statistics.fmean(len(set(a.id) & set(b.id)) / LIMIT for a, b in zip(found, true, strict=True))


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(what: str, ours: list[float], theirs: list[float], upside_down: bool = False) -> None:
    """Print the ratio of the totals, the quartiles of the pairwise ratios, and both medians."""
    ratios = sorted(b / a if upside_down else a / b for a, b in zip(ours, theirs, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    total = sum(theirs) / sum(ours) if upside_down else sum(ours) / sum(theirs)
    times = ' and '.join(f'{1000 * statistics.median(side):.3g} ms' for side in (ours, theirs))
    print(f'{what}: {middle:.2f}, in total {total:.2f} (quartiles {low:.2f} to {high:.2f}; medians {times})')


if __name__ == '__main__':
    main()
