"""
What it costs that documents stand in lists of others: 2,000 documents with 50 chunks each, and the same chunks flat.

    python benchmarks/subindexes.py --data PATH_TO_debian-packages

The embeddings are those of the packages, five times with a little noise. Both ways do the same work in turn, in one
run; only ratios count, for the speed of a machine drifts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray
from docindex.tensors import Float32Array

DIM, LIMIT, CHUNKS, NOISE = 384, 10, 50, 0.02
TEXT = 'What a chunk of a longer text says, in a sentence or two of the usual length. ' * 3


class Chunk(BaseDoc):
    """A part of a document."""

    text: str
    page: int
    embedding: NdArray | None = Field(None, dim=DIM, space='cosine')


class Document(BaseDoc):
    """A document in parts."""

    title: str
    year: int
    chunks: DocList[Chunk]


class FlatChunk(Chunk):
    """The same part, which says by itself where it belongs."""

    document: str
    title: str
    year: int


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, help='the directory with embeddings.npz and queries.npz')
    parser.add_argument('--documents', type=int, default=2_000)
    parser.add_argument('--rounds', type=int, default=10, help='in how many parts they are indexed, in turn')
    given = parser.parse_args()
    docs = documents(given.data, given.documents)
    queries = np.load(given.data / 'queries.npz')['unseen'].astype(np.float32)
    with tempfile.TemporaryDirectory() as directory:
        nested = HnswDocumentIndex[Document](work_dir=Path(directory, 'nested'))
        flat = HnswDocumentIndex[FlatChunk](work_dir=Path(directory, 'flat'))
        report('index: rate of lists / of flat chunks', *index_in_turn(nested, flat, docs, given.rounds), True)
        finders: list[tuple[str, Callable[[Float32Array], Any]]] = [
            ('find chunks / flat find', lambda query: nested.find(query, 'chunks__embedding', LIMIT)),
            ('find_subindex, with complete roots / flat find', lambda query: nested.find_subindex(query, limit=LIMIT)),
            ('the same, and every chunk of them looked at', lambda query: looked_at(nested, query)),
            (
                'find, group_by_root / flat find',
                lambda query: nested.find(query, 'chunks__embedding', LIMIT, group_by_root=True),
            ),
        ]
        for name, find in finders:
            report(name, *find_in_turn(find, lambda query: flat.find(query, 'embedding', LIMIT), queries))
        nested.close()
        flat.close()


def looked_at(index: HnswDocumentIndex[Document], query: Float32Array) -> int:
    """Look at each chunk of the documents that `find_subindex` returns, for which it has to be made."""
    found = index.find_subindex(query, limit=LIMIT)
    return sum(chunk.page for document in found.root_documents for chunk in document.chunks)


def documents(directory: Path, count: int) -> list[Document]:
    """Return documents whose chunks have the embeddings of the packages, with noise."""
    real = np.load(directory / 'embeddings.npz')['description'].astype(np.float32)
    rng = np.random.default_rng(7)
    order = rng.permutation(count * CHUNKS) % len(real)
    docs: list[Document] = []
    for at, part in enumerate(np.array_split(order, count)):
        vectors = real[part] + rng.normal(0, NOISE, (len(part), DIM)).astype(np.float32)
        chunks = [
            Chunk(id=f'{at}-{page}', text=TEXT, page=page, embedding=vector) for page, vector in enumerate(vectors)
        ]
        docs.append(Document(id=str(at), title=f'Document {at}', year=1990 + at % 30, chunks=DocList[Chunk](chunks)))
    return docs


def index_in_turn(
    nested: HnswDocumentIndex[Document], flat: HnswDocumentIndex[FlatChunk], docs: list[Document], rounds: int
) -> tuple[list[float], list[float]]:
    """Return seconds of each round, of documents with lists and of their chunks alone."""
    ours: list[float] = []
    theirs: list[float] = []
    for at in range(rounds):
        part = docs[at::rounds]
        ours.append(seconds(partial(nested.index, part)))
        chunks = [
            FlatChunk(**dict(chunk), document=doc.id, title=doc.title, year=doc.year)
            for doc in part
            for chunk in doc.chunks
        ]
        theirs.append(seconds(partial(flat.index, chunks)))
    return ours, theirs


def find_in_turn(
    find: Callable[[Float32Array], Any], other: Callable[[Float32Array], Any], queries: Float32Array
) -> tuple[list[float], list[float]]:
    """Return seconds of each query, one way and the other, in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(3):
        for query in queries:
            ours.append(seconds(partial(find, query)))
            theirs.append(seconds(partial(other, query)))
    return ours, theirs


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(name: str, ours: list[float], theirs: list[float], upside_down: bool = False) -> None:
    """Print the median ratio, and within what half of all are."""
    ratios = [b / a if upside_down else a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    milliseconds = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
    print(
        f'{name:50} {middle:5.2f} ({low:.2f} to {high:.2f}), medians {milliseconds[0]:.2f} and {milliseconds[1]:.2f} ms'
    )


if __name__ == '__main__':
    main()
