"""
What safety costs: writes with `durability='power'`, with 'process' and in a batch, and how a reader sees news.

    python benchmarks/durability.py

Every figure is a median; those of one column are from one run on one disk, so compare columns, not machines.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

DIM = 128


class Note(BaseDoc):
    """A short text and its embedding."""

    text: str
    embedding: NdArray = Field(dim=DIM, space='cosine')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--documents', type=int, default=5_000, help='in the index beforehand')
    parser.add_argument('--calls', type=int, default=300)
    parser.add_argument('--directory', type=Path, help='where to write; a temporary directory by default')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        report(Path(directory), options.documents, options.calls)


def report(directory: Path, documents: int, calls: int) -> None:
    random = np.random.default_rng(0)

    def notes(count: int, name: str) -> list[Note]:
        return [Note(id=f'{name} {n}', text=f'note {n}', embedding=random.random(DIM)) for n in range(count)]

    power = HnswDocumentIndex[Note](work_dir=directory / 'power')
    process = HnswDocumentIndex[Note](work_dir=directory / 'process', durability='process')
    shared = HnswDocumentIndex[Note](work_dir=directory / 'shared', shared_writes=True)
    indexes = {"durability='power'": power, "durability='process'": process, 'shared_writes=True': shared}
    for index in indexes.values():
        index.index(notes(documents, 'first'))
    print(f'{documents:,} documents of {DIM} dimensions, {calls} calls each; ms a call\n')
    print('| | one new document | metadata of one | delete one |')
    print('| --- | --- | --- | --- |')
    for name, index in indexes.items():
        times = [
            median(index.index, notes(calls, 'new')),
            median(lambda n, index=index: index.update(f'first {n}', text='changed'), range(calls)),
            median(index.delete, [f'new {n}' for n in range(calls)]),
        ]
        print(f'| {name} | {" | ".join(f"{1000 * each:.2f}" for each in times)} |')
    began = time.perf_counter()
    with power.batch():
        for note in notes(calls, 'batched'):
            power.index(note)
    print(f'\nin a batch of {calls}: {1000 * (time.perf_counter() - began) / calls:.2f} ms for one new document')

    reader = HnswDocumentIndex[Note](work_dir=directory / 'power', read_only=True)
    for _ in range(documents):  # so that its graphs have caught up
        len(reader)
    quiet = [median(lambda _, index=index: index.num_docs(), range(5000)) for index in (power, reader)]
    news = []
    for note in notes(calls, 'news'):
        power.index(note)
        began = time.perf_counter()
        if note.id not in reader:
            raise AssertionError('the reader did not see a committed document')
        news.append(time.perf_counter() - began)
    print(f'a reader looks for news in {1e6 * (quiet[1] - quiet[0]):.0f} us, and follows one document in', end=' ')
    print(f'{1000 * statistics.median(news):.2f} ms')
    for index in (*indexes.values(), reader):
        index.close()


def median(call: Callable[..., object], arguments: Iterable[object]) -> float:
    """Return the median time of a call, in seconds."""
    times = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == '__main__':
    main()
