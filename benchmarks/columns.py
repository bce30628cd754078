"""
How fast documents come in, in each form that there is, against `add_items` of hnswlib alone.

    python -m benchmarks.columns --data PATH_TO_debian-packages

All forms take turns, part by part, in one run and with one number of threads, and only ratios count, for the speed of a
machine drifts. The index has the settings that it has by default; each call returns when all of its part is durable.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from benchmarks.floor import DIM, EF_CONSTRUCTION, M, Package
from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray
from docindex.tensors import Float32Array


class Vector(BaseDoc):
    """An id and an embedding."""

    embedding: NdArray = Field(dim=DIM, space='cosine')


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, help='the directory with packages.jsonl.gz, embeddings.npz')
    parser.add_argument('--count', type=int, default=20_000, help='how many packages')
    parser.add_argument('--rounds', type=int, default=5, help='in how many parts they are stored, in turn')
    parser.add_argument('--threads', type=int, default=1, help='the num_threads of all sides')
    parser.add_argument('--cpu', action='store_true', help='count seconds of the processor: where others keep it busy')
    given = parser.parse_args()
    rows, vectors = load(given.data, given.count)
    graph = hnswlib.Index('cosine', DIM)
    graph.init_index(len(rows), M=M, ef_construction=EF_CONSTRUCTION)
    with ExitStack() as stack:

        def opened(doc_type: type[BaseDoc]) -> HnswDocumentIndex[Any]:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            index = stack.enter_context(HnswDocumentIndex[doc_type](work_dir=directory))  # type: ignore[valid-type]
            index.configure(num_threads=given.threads)
            return index

        ways: dict[str, Callable[[int, int], Callable[[], Any]]] = {
            'add_items alone': lambda a, b: lambda: graph.add_items(vectors[a:b], num_threads=given.threads),
            'index_columns, id and embedding': columns_of(opened(Vector), [], vectors),
            'index_columns, all': columns_of(opened(Package), rows, vectors),
            'index of a DocList': documents_of(opened(Package), rows, vectors),
            'index of dicts': dicts_of(opened(Package), rows, vectors),
        }
        report(in_turn(ways, len(rows), given.rounds, time.process_time if given.cpu else time.perf_counter))


def load(directory: Path, count: int) -> tuple[list[dict[str, Any]], Float32Array]:
    """Return the packages and their embeddings."""
    vectors = np.load(directory / 'embeddings.npz')['description'].astype(np.float32)[:count]
    with gzip.open(directory / 'packages.jsonl.gz', 'rt') as file:
        rows = [{'id': str(at), **json.loads(line)} for at, line in enumerate(file)]
    return rows[:count], vectors


def columns_of(
    index: HnswDocumentIndex[Any], rows: list[dict[str, Any]], vectors: Float32Array
) -> Callable[[int, int], Callable[[], Any]]:
    """Return what makes a part ready, and returns the call that stores it."""

    def ready(a: int, b: int) -> Callable[[], Any]:
        names = rows[0] if rows else []
        columns: dict[str, Any] = {name: [row[name] for row in rows[a:b]] for name in names}
        columns |= {'id': [str(at) for at in range(a, b)], 'embedding': vectors[a:b]}
        return lambda: index.index_columns(columns)

    return ready


def documents_of(
    index: HnswDocumentIndex[Any], rows: list[dict[str, Any]], vectors: Float32Array
) -> Callable[[int, int], Callable[[], Any]]:
    """Do the same for a list of documents."""

    def ready(a: int, b: int) -> Callable[[], Any]:
        docs = DocList[Package](
            [Package(**row, embedding=vector) for row, vector in zip(rows[a:b], vectors[a:b], strict=True)]
        )
        return lambda: index.index(docs)

    return ready


def dicts_of(
    index: HnswDocumentIndex[Any], rows: list[dict[str, Any]], vectors: Float32Array
) -> Callable[[int, int], Callable[[], Any]]:
    """Do the same for a list of dicts."""

    def ready(a: int, b: int) -> Callable[[], Any]:
        dicts = [{**row, 'embedding': vector} for row, vector in zip(rows[a:b], vectors[a:b], strict=True)]
        return lambda: index.index(dicts)

    return ready


def in_turn(
    ways: dict[str, Callable[[int, int], Callable[[], Any]]], count: int, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the seconds that each way takes for each part."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    parts = np.array_split(np.arange(count), rounds)
    for number, part in enumerate(parts):
        names = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]  # none is always the first
        for name in names:
            store = ways[name](int(part[0]), int(part[-1]) + 1)
            start = clock()
            store()
            seconds[name].append(clock() - start)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Print for each way the median of its rate as a part of the floor's, the spread, and the ratio of the totals."""
    floor = seconds['add_items alone']
    for name, ours in seconds.items():
        ratios = [a / b for a, b in zip(floor, ours, strict=True)]
        spread = f'{min(ratios):.3f} to {max(ratios):.3f}'
        print(f'{name:32} {statistics.median(ratios):.3f} ({spread}), in total {sum(floor) / sum(ours):.3f}')


if __name__ == '__main__':
    main()
