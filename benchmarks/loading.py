"""
What loading a Parquet file takes: memory, against what the finished index needs; and time, against `index`.

    python benchmarks/loading.py --rows 100000
    python benchmarks/loading.py --rows 1000000 --work-dir DIRECTORY

Writes clustered vectors of length 128 to a Parquet file with one row group, as pandas does, which is the hardest to
read piece by piece. Then, each in a process of its own:

    loading      `index_from(file)`: the most memory that it occupied, and how many rows came a second
    using        opens the finished index and answers one query: what the index needs
    indexing     the same documents in memory, with `index` in batches of the same size: rows a second

Memory is resident memory. Of that, `own` is what the process has allocated itself; the rest are pages of files it has
mapped, which the kernel takes back when somebody needs the room. The bar: loading at most 1.3 times using.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

DIM = 128
CLUSTERS = 1000
BATCH = 4096
BAR = 1.3


class Point(BaseDoc):
    """A synthetic document."""

    title: str
    size: int
    embedding: NdArray = Field(dim=DIM, space='l2')


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument(
        '--work-dir', type=Path, help='where to keep file and index; a file that is there is used again'
    )
    parser.add_argument('--no-indexing', action='store_true', help='leave out the comparison with index()')
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given.work_dir, given.rows)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        measure(given.work_dir or Path(temporary), given.rows, [*PARTS][: 2 if given.no_indexing else 3])


def measure(work_dir: Path, rows: int, parts: list[str]) -> None:
    """Run each part in a process of its own, and print what it says."""
    work_dir.mkdir(parents=True, exist_ok=True)
    file = parquet_file(work_dir, rows)
    print(f'{rows:,} rows of {DIM} float32, {file.stat().st_size / 2**20:,.0f} MiB of Parquet, batches of {BATCH:,}')
    print('            peak MiB   own MiB   seconds   rows/s')
    found: dict[str, dict[str, float]] = {}
    for part in parts:
        command = [sys.executable, __file__, '--part', part, '--work-dir', str(work_dir), '--rows', str(rows)]
        found[part] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        peak, own, seconds = (found[part][name] for name in ('peak', 'own', 'seconds'))
        print(f'{part:10}  {peak:8,.0f}  {own:8,.0f}  {seconds:8.1f}  {rows / seconds:7,.0f}', flush=True)
    ratio = found['loading']['peak'] / found['using']['peak']
    own = found['loading']['own'] / found['using']['own']
    print(f'memory: loading / using = {ratio:.2f} ({own:.2f} of own memory); the bar is {BAR}')
    if 'indexing' in found:
        print(f'rate: loading / indexing = {found["indexing"]["seconds"] / found["loading"]["seconds"]:.2f}')


def parquet_file(work_dir: Path, rows: int) -> Path:
    """Return the path of a file of so many rows, written if it is not there yet."""
    path = work_dir / f'points-{rows}.parquet'
    if path.exists():
        return path
    beside = path.with_suffix('.new')
    random = np.random.default_rng(5)
    centres = random.normal(size=(CLUSTERS, DIM)).astype(np.float32)
    vectors = centres[random.integers(CLUSTERS, size=rows)]
    vectors += random.normal(scale=0.5, size=(rows, DIM)).astype(np.float32)
    table = pa.table(
        {
            'id': [f'point {number}' for number in range(rows)],
            'title': [f'The point with the number {number}' for number in range(rows)],
            'size': pa.array(random.integers(1000, size=rows)),
            'embedding': pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM),
        }
    )
    pq.write_table(table, beside, row_group_size=rows)
    beside.rename(path)
    return path


def load(work_dir: Path, rows: int) -> dict[str, float]:
    """Load the file into a new index."""
    with HnswDocumentIndex[Point](work_dir=fresh(work_dir / f'loaded-{rows}')) as index, watched() as memory:
        start = time.perf_counter()
        index.index_from(parquet_file(work_dir, rows), batch_size=BATCH, resume=False, show_progress=None)
        seconds = time.perf_counter() - start
    return {**memory, 'seconds': seconds}


def use(work_dir: Path, rows: int) -> dict[str, float]:
    """Open the index that was loaded, and ask it one query."""
    with watched() as memory:
        start = time.perf_counter()
        with HnswDocumentIndex[Point](work_dir=work_dir / f'loaded-{rows}', read_only=True) as index:
            found = index.find(np.ones(DIM, np.float32), 'embedding', limit=10)
            if len(index) != rows or len(found.documents) != 10:
                raise SystemExit(f'{len(index)} of {rows} documents are there, {len(found.documents)} were found')
        seconds = time.perf_counter() - start
    return {**memory, 'seconds': seconds}


def index_from_memory(work_dir: Path, rows: int) -> dict[str, float]:
    """Index the same documents, which are in memory, in batches of the same size; reading them does not count."""
    seconds = 0.0
    with HnswDocumentIndex[Point](work_dir=fresh(work_dir / 'indexed')) as index, watched() as memory:
        for batch in pq.ParquetFile(parquet_file(work_dir, rows)).iter_batches(BATCH):
            matrix = batch['embedding'].flatten().to_numpy().reshape(-1, DIM)
            columns = zip(*(batch[name].to_pylist() for name in ('id', 'title', 'size')), matrix, strict=True)
            docs = [Point(id=id_, title=title, size=size, embedding=row) for id_, title, size, row in columns]
            start = time.perf_counter()
            index.index(docs)
            seconds += time.perf_counter() - start
    return {**memory, 'seconds': seconds}


PARTS = {'loading': load, 'using': use, 'indexing': index_from_memory}


def fresh(path: Path) -> Path:
    """Return the path of a directory, of which what an earlier run has left is removed."""
    shutil.rmtree(path, ignore_errors=True)
    return path


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Give a dict that has, at the end, the most memory in MiB that the process has had meanwhile."""
    peak = {'peak': 0.0, 'own': 0.0}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            status = Path('/proc/self/status').read_text()
            for name, key in (('peak', 'VmRSS:'), ('own', 'RssAnon:')):
                peak[name] = max(peak[name], int(status.partition(key)[2].split()[0]) / 1024)
            is_over.wait(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()


if __name__ == '__main__':
    main()
