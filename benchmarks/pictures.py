"""
What tensors cost that are not indexed: pictures of 3 x 224 x 224 beside a vector, read with the documents.

    python benchmarks/pictures.py

Prints what `find` and `index[id]` take with pictures and without, and where the difference goes: SQLite reading the
bytes, their checksum, and the copy that a user can write to. Medians; compare columns, not machines.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.frameworks import Array

DIM, SHAPE, BATCH, LIMIT = 384, (3, 224, 224), 100, 10


class Bare(BaseDoc):
    """A title and its embedding."""

    title: str
    embedding: NdArray = Field(dim=DIM, space='cosine')


class Pictured(Bare):
    """The same with a picture."""

    picture: NdArray = Field(index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--documents', type=int, default=2_000)
    parser.add_argument('--calls', type=int, default=200)
    parser.add_argument('--directory', type=Path, help='where to write; a temporary directory by default')
    options = parser.parse_args()
    print(f'{options.documents:,} documents of {DIM} dimensions, {options.calls} calls each; ms a call\n')
    print('| | `find`, 10 documents | `index[id]` | SQLite reads 10 | checksums of 10 | copies of 10 |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name, dtype in (('no picture', None), ('uint8', np.uint8), ('float32', np.float32)):
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            row = report(Path(directory), dtype, options.documents, options.calls)
        print(f'| {name} | {" | ".join("" if each is None else f"{1000 * each:.2f}" for each in row)} |')


def report(directory: Path, dtype: type[np.generic] | None, documents: int, calls: int) -> list[float | None]:
    """Return the median seconds of each column, for documents with pictures of a dtype."""
    random = np.random.default_rng(0)
    queries = random.random((calls, DIM), np.float32)
    ids = [str(n) for n in random.integers(documents, size=calls)]
    schema = Bare if dtype is None else Pictured
    with HnswDocumentIndex[schema](work_dir=directory) as index:  # type: ignore[valid-type]
        for batch in batches(random, dtype, documents):
            index.index(batch)
        find = median(lambda query: index.find(query, limit=LIMIT), queries)
        get = median(lambda id_: index[id_], ids)
        if dtype is None:
            return [find, get, None, None, None]
        labels = [random.choice(documents, LIMIT, replace=False).tolist() for _ in queries]
        with index._store.reading() as view:
            fetched = median(view.rows.fetch, labels)  # which checks the checksums as well
            read = [[packed or b'' for _, packed in view.rows.fetch(chosen).values()] for chosen in labels[:20]]
        checksums = median(lambda blobs: [zlib.crc32(blob) for blob in blobs], read)
        size = int(np.prod(SHAPE)) * np.dtype(dtype).itemsize
        copies = median(
            lambda blobs: [np.frombuffer(blob, np.uint8, size, len(blob) - size).copy() for blob in blobs], read
        )
    return [find, get, fetched - checksums, checksums, copies]


def batches(random: np.random.Generator, dtype: type[np.generic] | None, documents: int) -> Iterator[list[Bare]]:
    """Yield documents."""
    for first in range(0, documents, BATCH):
        vectors = random.random((BATCH, DIM), np.float32)
        yield [document(first + at, vector, random, dtype) for at, vector in enumerate(vectors)]


def document(n: int, vector: Array, random: np.random.Generator, dtype: type[np.generic] | None) -> Bare:
    """Return one document."""
    if dtype is None:
        return Bare(id=str(n), title=f'picture {n}', embedding=vector)
    picture = (random.random(SHAPE, np.float32) * 255).astype(dtype)
    return Pictured(id=str(n), title=f'picture {n}', embedding=vector, picture=picture)


def median(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the median time of a call, in seconds."""
    times = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == '__main__':
    main()
