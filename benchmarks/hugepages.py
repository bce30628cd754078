"""
What large pages of memory give hnswlib: searching and building with and without `docindex.hnsw.hugepages`.

    python benchmarks/hugepages.py [--vectors 20000] [--dim 384]

Two graphs of the same vectors, one of them in large pages, do the same work in turn, in one run, with one thread; only
ratios count. Where the kernel gives large pages to everybody ("always" in transparent_hugepage/enabled) they are the
same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import hnswlib
import numpy as np

from docindex.hnsw.hugepages import HugePages
from docindex.tensors import Float32Array

SETTING = Path('/sys/kernel/mm/transparent_hugepage/enabled')
M, EF_CONSTRUCTION, EF, LIMIT, PARTS = 16, 200, 100, 10, 20


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vectors', type=int, default=20_000)
    parser.add_argument('--dim', type=int, default=384)
    given = parser.parse_args()
    setting = SETTING.read_text().strip() if SETTING.exists() else 'none on this system'
    print(f'{given.vectors:,} x {given.dim}; large pages of this kernel: {setting}')
    vectors, queries = clusters(given.vectors, given.dim)
    plain = graph(given.vectors, given.dim)
    with HugePages(given.vectors * 4 * given.dim):
        large = graph(given.vectors, given.dim)
    report('add_items', *added_in_turn([large, plain], vectors))
    report('knn_query', *searched_in_turn([large, plain], queries))


def clusters(count: int, dim: int) -> tuple[Float32Array, Float32Array]:
    """Return vectors around a thousand centres, and a thousand queries around the same."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(1000, dim)).astype(np.float32)
    around = centres[random.integers(0, len(centres), count + 1000)]
    every = around + 0.5 * random.normal(size=around.shape).astype(np.float32)
    return every[:count], every[count:]


def graph(capacity: int, dim: int) -> hnswlib.Index:
    """Return an empty graph."""
    made = hnswlib.Index('l2', dim)
    made.init_index(capacity, M=M, ef_construction=EF_CONSTRUCTION)
    made.set_ef(EF)
    return made


def added_in_turn(graphs: list[hnswlib.Index], vectors: Float32Array) -> list[list[float]]:
    """Return for each graph the seconds that each part of the vectors took."""
    seconds: list[list[float]] = [[] for _ in graphs]
    for part in np.array_split(np.arange(len(vectors)), PARTS):
        for one, spent in zip(graphs, seconds, strict=True):
            start = time.perf_counter()
            one.add_items(vectors[part], part, num_threads=1)
            spent.append(time.perf_counter() - start)
    return seconds


def searched_in_turn(graphs: list[hnswlib.Index], queries: Float32Array) -> list[list[float]]:
    """Return for each graph the seconds that each query took."""
    seconds: list[list[float]] = [[] for _ in graphs]
    for query in queries:
        for one, spent in zip(graphs, seconds, strict=True):
            start = time.perf_counter()
            one.knn_query(query, k=LIMIT, num_threads=1)
            spent.append(time.perf_counter() - start)
    return seconds


def report(what: str, large: list[float], plain: list[float]) -> None:
    """Print the quartiles of the pairwise ratios."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(large, plain, strict=True)], n=4)
    print(f'{what}: with large pages {middle:.2f} of the time (quartiles {low:.2f} to {high:.2f})')


if __name__ == '__main__':
    main()
