"""
The data of one comparison, on disk, so that processes with nothing but numpy can read the same documents.

A directory has `vectors.npy`, `spare.npy` (vectors for what is written later), `queries.npy`, `documents.jsonl` with
the other fields of each document, and `truth.npy`: how far the tenth of the true neighbours of a query is, without a
filter and for each share of `SHARES`. `meta.json` is written last; a directory that has it is complete.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sources import clustered, packages

Float32 = NDArray[np.float32]
LIMIT = 10
SHARES = (0.5, 0.1, 0.03, 0.01, 0.001, 0.0001)
"""Filters let through `part < share`; `part` is spread evenly over the documents, from 0 to 1."""
QUERIES = 1000
JUDGED = 1000
"""
The first so many queries have true neighbours, and stand for all when recall is measured. Not fewer: in clusters far
apart a query finds all of its neighbours or none, so that 200 of them say 0.95 where 1,000 say 0.91.
"""
_TOGETHER = 20  # queries that are compared with all vectors at once; 80 MB for a million
SPARE = 40_000
"""Vectors for what is written later: each is written once, for equal ones could be quicker than others."""


@dataclass
class Meta:
    """What a dataset is: `fields` are the names and types of all that is no vector and no id."""

    name: str
    title: str
    count: int
    dim: int
    space: str
    fields: dict[str, str]
    changing: str  # the field, a string, that updates of metadata change
    vector_bytes: int = 0
    json_bytes: int = 0


@dataclass
class Batch:
    """Documents as they are given to a library: ids, other fields, vectors."""

    ids: list[str]
    fields: list[dict[str, Any]]
    vectors: Float32


@dataclass
class Dataset:
    """A dataset that was prepared; nothing is read before it is needed."""

    directory: Path
    meta: Meta
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path) -> Dataset:
        return cls(directory, Meta(**json.loads((directory / 'meta.json').read_text())))

    def __getattr__(self, name: str) -> Any:
        """Map an array when it is first asked for."""
        if name not in {'vectors', 'spare', 'queries', 'truth', 'offsets', 'parts'}:
            raise AttributeError(name)
        if name not in self._arrays:
            self._arrays[name] = np.load(self.directory / f'{name}.npy', mmap_mode='r')
        return self._arrays[name]

    def documents(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return the other fields of the documents with these numbers."""
        with (self.directory / 'documents.jsonl').open('rb') as file:
            found = []
            for number in numbers:
                file.seek(int(self.offsets[number]))
                found.append(json.loads(file.readline()))
        return found

    def batch(self, start: int, stop: int) -> Batch:
        """Return documents of the dataset as it is."""
        ids = [str(at) for at in range(start, stop)]
        return Batch(ids, self.documents(range(start, stop)), np.array(self.vectors[start:stop]))

    def changed(self, ids: list[str], first_spare: int) -> Batch:
        """Return documents with these ids, vectors that are not in the dataset, and other fields of some document."""
        rows = [(first_spare + at) % len(self.spare) for at in range(len(ids))]
        fields = self.documents([row % self.meta.count for row in rows])
        return Batch(ids, fields, np.array(self.spare[rows]))

    def recall(self, numbers: Sequence[int], found: Sequence[Sequence[str]], below: float | None) -> float:
        """
        Return which share of the true neighbours was found, on average.

        As is usual, what is as near as the tenth counts, whichever of several equal ones was returned. What a filter
        should have kept out does not count, nor what was returned twice.
        """
        row = 0 if below is None else 1 + SHARES.index(below)
        shares = []
        for number, ids in zip(numbers, found, strict=True):
            expected = LIMIT if below is None else min(LIMIT, matching(self.meta.count, below))
            rows = np.array(sorted({int(id_) for id_ in ids}), np.int64)
            if below is not None:
                rows = rows[self.parts[rows] < below]
            worst = float(self.truth[row, number])
            near = distances(self.meta.space, self.queries[number], self.vectors[rows]) <= worst + 1e-6 * max(1, worst)
            shares.append(min(int(near.sum()), expected) / expected)
        return float(np.mean(shares))


def matching(count: int, share: float) -> int:
    """Return how many documents a filter lets through; at least one."""
    return max(1, math.ceil(round(count * share, 6)))


def shares_of(count: int) -> list[float]:
    """Return the shares that differ for so many documents."""
    return [share for share in SHARES if count * share >= 1]


def distances(space: str, query: Float32, vectors: Float32) -> NDArray[np.float64]:
    """Return exact distances, as hnswlib defines them."""
    one, many = query.astype(np.float64), np.asarray(vectors, np.float64)
    if space == 'l2':
        return np.asarray(np.square(many - one).sum(axis=1))
    return np.asarray(1 - (many @ one) / (np.linalg.norm(many, axis=1) * np.linalg.norm(one)))


# -- preparing ----------------------------------------------------------------------------------------------


def prepare(name: str, cache: Path, data: Path | None, scale: float) -> Dataset:
    """
    Return a dataset, made if it is not in the cache yet.

    Args:
        name: 'packages', '128', '768' or 'smoke'.
        cache: Where datasets are kept.
        data: The directory with the packages.
        scale: Which part of the usual number of synthetic vectors to take.
    """
    if name == 'packages':
        if data is None:
            raise SystemExit('the packages need --data, the directory with packages.jsonl.gz; examples/data has a part')
        rows, vectors, unseen = packages(data)
        return _once(cache / f'packages-{len(rows)}', partial(_write_packages, data, rows, vectors, unseen))
    count, dim = {'128': (1_000_000, 128), '768': (200_000, 768), 'smoke': (600, 16)}[name]
    count = int(count * scale)
    return _once(cache / f'{name}-{count}', partial(_write_clusters, name, count, dim))


def _once(directory: Path, write: Callable[[Path], None]) -> Dataset:
    """Return the dataset in a directory, which is written first if it is not complete."""
    if not (directory / 'meta.json').exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write(directory)
    return Dataset.open(directory)


def _write_packages(data: Path, rows: list[dict[str, Any]], vectors: Float32, unseen: Float32, directory: Path) -> None:
    random = np.random.default_rng(1)
    # Names are embedded by the same model: real vectors that are not in the index, for queries and later writes.
    names = np.load(data / 'embeddings.npz')['name'].astype(np.float32)
    others = names[random.permutation(len(names))]
    queries = np.concatenate([unseen, others])[:QUERIES]
    beside = vectors + random.normal(scale=0.01, size=vectors.shape).astype(np.float32)
    spare = np.concatenate([others[QUERIES:], beside])[:SPARE]
    types = {'str': 'str', 'int': 'int', 'list': 'list[str]'}
    fields = {name: types[type(value).__name__] for name, value in rows[0].items()}
    meta = Meta('packages', f'{len(rows):,} packages', len(rows), vectors.shape[1], 'cosine', fields, 'version')
    _write(directory, meta, vectors, spare, queries, lambda at: rows[at])


def _write_clusters(name: str, count: int, dim: int, directory: Path) -> None:
    random = np.random.default_rng(1)
    spare = min(SPARE, 2 * count)
    vectors, of = clustered(random, count + spare + QUERIES, dim)
    title = f'{count:,} x {dim}'
    meta = Meta(name, title, count, dim, 'l2', {'title': 'str', 'cluster': 'int'}, 'title')
    rest = [count, count + spare]
    base, others, queries = np.split(vectors, rest)
    _write(
        directory,
        meta,
        base,
        others,
        queries,
        lambda at: {'title': f'The point with the number {at}', 'cluster': int(of[at])},
    )


def _write(
    directory: Path,
    meta: Meta,
    vectors: Float32,
    spare: Float32,
    queries: Float32,
    row: Callable[[int], dict[str, Any]],
) -> None:
    """Write all files; `meta.json` last."""
    parts = (np.random.default_rng(2).permutation(meta.count) + 0.5) / meta.count
    meta.fields = {**meta.fields, 'part': 'float'}
    offsets = np.zeros(meta.count + 1, np.int64)
    with (directory / 'documents.jsonl').open('wb') as file:
        for at in range(meta.count):
            file.write(json.dumps({**row(at), 'part': float(parts[at])}).encode() + b'\n')
            offsets[at + 1] = file.tell()
    meta.vector_bytes, meta.json_bytes = vectors.nbytes, int(offsets[-1])
    arrays: dict[str, NDArray[Any]] = {
        'vectors': vectors,
        'spare': spare,
        'queries': queries,
        'parts': parts,
        'offsets': offsets,
    }
    arrays['truth'] = _truth(meta.space, vectors, queries[:JUDGED], parts)
    for name, array in arrays.items():
        np.save(directory / f'{name}.npy', array)
    (directory / 'meta.json').write_text(json.dumps(asdict(meta), indent=1))


def _truth(space: str, vectors: Float32, queries: Float32, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of the last true neighbour: a row for no filter, and one for each of `SHARES`."""
    return np.array([list(_last(space, vectors, queries, parts < share)) for share in (2.0, *SHARES)])


def _last(space: str, vectors: Float32, queries: Float32, mask: NDArray[np.bool_]) -> Iterator[float]:
    """Yield for each query the distance of the tenth, or last, of the vectors in the mask; all if there are none."""
    chosen = np.asarray(vectors if mask.all() else vectors[mask if mask.any() else slice(0, 1)])
    if space == 'cosine':
        chosen = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    squares = np.einsum('ij,ij->i', chosen, chosen)
    candidates = min(4 * LIMIT, len(chosen))
    for start in range(0, len(queries), _TOGETHER):
        some = queries[start : start + _TOGETHER]
        estimates = squares - 2 * (some @ chosen.T) if space == 'l2' else -(some @ chosen.T)
        for query, estimated in zip(some, estimates, strict=True):
            nearest = np.argpartition(estimated, candidates - 1)[:candidates]
            exact = np.sort(distances(space, query, chosen[nearest]))
            yield float(exact[min(LIMIT, len(exact)) - 1])
