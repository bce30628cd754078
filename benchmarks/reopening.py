"""
What opening a directory costs beyond `load_index` of hnswlib alone, until the first answer.

    python -m benchmarks.reopening --synthetic 1000000 --work-dir DIRECTORY

The same graph file in turn, in one run: loaded by hnswlib alone; by an index that is opened and asked one question; by
an index that is opened with `lazy=True`, with and without a question. Only ratios count. The files are in the kernel's
cache, as they are where a program is started again. The vectors are those of benchmarks/filters.py.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from benchmarks.filters import Point, fill_points
from docindex import HnswDocumentIndex

QUERY = np.zeros(128, np.float32)


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--synthetic', type=int, metavar='N', required=True, help='so many vectors of length 128')
    parser.add_argument('--work-dir', type=Path, help='where to keep the index; one that is there is used again')
    parser.add_argument('--rounds', type=int, default=7, help='how often each is done, in turn (7)')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work_dir = given.work_dir or Path(temporary)
        with HnswDocumentIndex[Point](work_dir=work_dir) as points:
            fill_points(points, given.synthetic, 1)
        measure(work_dir, given.rounds)


def measure(work_dir: Path, rounds: int) -> None:
    """Do each in turn, so many times; print medians, and the median of the ratios within a round."""
    [graph] = (work_dir / 'graphs').glob('*.hnsw')
    ways: dict[str, Callable[[], Any]] = {
        'load_index alone': lambda: load_alone(graph),
        'open, first answer': lambda: opened(work_dir, lazy=False, is_asked=True),
        'lazy: open': lambda: opened(work_dir, lazy=True, is_asked=False),
        'lazy: open, first answer': lambda: opened(work_dir, lazy=True, is_asked=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    alone = seconds['load_index alone'][1:]  # the first round only fills the caches
    print(f'{graph.stat().st_size:,} bytes, {rounds} rounds; medians')
    print('                          seconds   ratio   least   most')
    for name, taken in seconds.items():
        ratios = [one / other for one, other in zip(taken[1:], alone, strict=True)]
        middle, ratio = statistics.median(taken[1:]), statistics.median(ratios)
        print(f'{name:25} {middle:8.3f}  {ratio:6.2f}  {min(ratios):6.2f}  {max(ratios):5.2f}')


def load_alone(graph: Path) -> None:
    """Load a graph file and ask it one question."""
    index = hnswlib.Index('l2', 128)
    index.load_index(str(graph))
    index.set_ef(100)
    index.knn_query(QUERY, k=10)


def opened(work_dir: Path, lazy: bool, is_asked: bool) -> None:
    """Open a directory, and ask one question or none; closing it is part of neither side worth a millisecond."""
    with HnswDocumentIndex[Point](work_dir=work_dir, lazy=lazy) as index:
        if is_asked:
            index.find(QUERY, 'embedding', 10)


if __name__ == '__main__':
    main()
