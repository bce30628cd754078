"""
What `index_dim` and `stored_as='float16'` save, and what they cost, against the plain way.

    python benchmarks/lowmemory.py --data PATH_TO_debian-packages
    python benchmarks/lowmemory.py --synthetic 50000

The same documents go into one index for each way, in turn, and so do the queries, with one thread. Rates are by the
time of the processor, not of the clock, for a machine may have other work; only their ratios count. Afterwards a
process of its own opens each index and answers the queries once.

    recall@10    which share of the ten nearest, by exact search in the plain index, is found with the automatic `ef`
    at ef=400    the same with `find(..., ef=400)`: of more candidates
    queries/s    `find` of ten documents
    index/s      documents, vectors, graph and all
    graph MiB    what the process has allocated itself for the opened index, of which nearly all is the graph
    file MiB     the vector file
    disk MiB     the whole directory

The packages' embeddings are of all-MiniLM-L6-v2, which was not trained as Matryoshka. The synthetic vectors are a few
large clusters of 384 independent values, where a few values say little of the rest: a hard case.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.tensors import Float32Array

DIM, LIMIT, MORE = 384, 10, 400
CLUSTERS, QUERIES = 20, 200
COLUMNS = ('recall@10', f'at ef={MORE}', 'queries/s', 'index/s', 'graph MiB', 'file MiB', 'disk MiB')


class Way(NamedTuple):
    """How vectors are kept: a name, and settings."""

    name: str
    settings: dict[str, Any]


WAYS = [
    Way('plain', {}),
    *(
        Way(f'{by} {dim}', {'index_dim': dim, 'index_by': by})
        for by in ('prefix', 'projection')
        for dim in (64, 128, 192)
    ),
    Way('float16', {'stored_as': 'float16'}),
    Way('projection 128, float16', {'index_dim': 128, 'index_by': 'projection', 'stored_as': 'float16'}),
]


class Item(BaseDoc):
    """What is indexed; its settings come with the index."""

    text: str
    embedding: NdArray = Field(dim=DIM, space='cosine')


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--data', type=Path, help='the directory with packages.jsonl.gz and embeddings.npz')
    source.add_argument('--synthetic', type=int, metavar='ROWS', help='vectors in clusters instead')
    parser.add_argument('--rounds', type=int, default=8, help='in how many parts documents are indexed, in turn')
    parser.add_argument('--opened', type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    texts, vectors, queries = load(given.data) if given.data else synthetic(given.synthetic)
    if given.opened:
        print(own_memory(given.opened, queries))
        return
    with tempfile.TemporaryDirectory() as directory:
        found = measured(Path(directory), texts, vectors, queries, given.rounds)
        for way in WAYS:
            command = [sys.executable, *sys.argv, '--opened', str(Path(directory) / way.name)]
            found[way.name].insert(4, float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    print(f'{len(vectors):,} x {DIM}, {len(queries)} queries')
    print(f'| way | {" | ".join(COLUMNS)} |')
    print('| --- |' + ' ---: |' * len(COLUMNS))
    for name, numbers in found.items():
        shown = [f'{number:.3f}' for number in numbers[:2]] + [f'{number:,.0f}' for number in numbers[2:]]
        print(f'| {name} | {" | ".join(shown)} |')


def load(directory: Path) -> tuple[list[str], Float32Array, Float32Array]:
    """Return descriptions of packages, their embeddings, and those of packages that are not among them."""
    vectors = np.load(directory / 'embeddings.npz')['description'].astype(np.float32)
    with gzip.open(directory / 'packages.jsonl.gz', 'rt') as file:
        texts = [json.loads(line)['description'] for line in file]
    return texts, vectors, np.load(directory / 'queries.npz')['unseen'].astype(np.float32)


def synthetic(rows: int) -> tuple[list[str], Float32Array, Float32Array]:
    """Return texts, vectors in clusters, and queries from the same clusters."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(CLUSTERS, DIM)).astype(np.float32)
    vectors = centres[random.integers(CLUSTERS, size=rows + QUERIES)]
    vectors += random.normal(scale=0.5, size=vectors.shape).astype(np.float32)
    return [f'The point with the number {at}' for at in range(rows)], vectors[:rows], vectors[rows:]


def open_index(path: Path, settings: dict[str, Any]) -> HnswDocumentIndex[Item]:
    """Return an index of items that are kept in some way."""
    return HnswDocumentIndex[Item](work_dir=path, default_column_config={np.ndarray: settings})


def measured(
    directory: Path, texts: list[str], vectors: Float32Array, queries: Float32Array, rounds: int
) -> dict[str, list[float]]:
    """Build an index for each way, in turn, and return its numbers, but for its memory."""
    with ExitStack() as stack:
        indexes = [stack.enter_context(open_index(directory / way.name, way.settings)) for way in WAYS]
        building: list[list[float]] = [[] for _ in WAYS]
        for part in np.array_split(np.arange(len(vectors)), rounds):
            docs = [Item(id=str(at), text=texts[at], embedding=vectors[at]) for at in part.tolist()]
            for index, times in zip(indexes, building, strict=True):
                times.append(seconds(partial(index.index, docs)))
        finding: list[list[float]] = [[] for _ in WAYS]
        for query in np.concatenate([queries] * 3):
            for index, times in zip(indexes, finding, strict=True):
                times.append(seconds(partial(index.find, query, 'embedding', LIMIT)))
        true = [found.id for found in indexes[0].find_batched(queries, 'embedding', LIMIT, exact=True).documents]
        recalls = [[recall(index, queries, true, ef) for ef in (None, MORE)] for index in indexes]
    return {
        way.name: [
            *recalls[at],
            1 / statistics.median(finding[at]),
            len(vectors) / sum(building[at]),
            size(directory / way.name / 'vectors'),
            size(directory / way.name),
        ]
        for at, way in enumerate(WAYS)
    }


def recall(index: HnswDocumentIndex[Item], queries: Float32Array, true: list[Any], ef: int | None) -> float:
    """Return which share of the ten true neighbours is found, on average."""
    found = index.find_batched(queries, 'embedding', LIMIT, ef=ef).documents
    return statistics.fmean(len({*some.id} & {*others}) / LIMIT for some, others in zip(found, true, strict=True))


def own_memory(path: Path, queries: Float32Array) -> float:
    """Return how many MiB an opened index takes that has answered the queries, without pages of files."""
    settings = next(way.settings for way in WAYS if way.name == path.name)
    before = anonymous_mib()
    with open_index(path, settings) as index:
        for query in queries:
            index.find(query, 'embedding', LIMIT)
        return anonymous_mib() - before


def anonymous_mib() -> float:
    """Return how much memory this process has allocated, as Linux counts it."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon:')) / 1024


def size(path: Path) -> float:
    """Return how many MiB the files below a directory occupy."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob('*') if file.is_file()) / 2**20


def seconds(work: Callable[[], Any]) -> float:
    """Return for how long `work` keeps a processor busy."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == '__main__':
    main()
