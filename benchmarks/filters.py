"""
What a filter costs a vector search, and whether it still finds what it should.

    python -m benchmarks.filters --data PATH_TO_debian-packages
    python -m benchmarks.filters --synthetic 1000000 --work-dir DIRECTORY

The same queries with and without a filter, in one run with one thread; only ratios count. Filters match 50, 10, 3, 1,
0.1 and 0.01 % of the documents, in three ways:

    even     spread evenly over all documents
    near     of one section, or cluster, that of the nearest neighbour of the query
    one      of one section, or cluster, wherever the query is: for most queries far away

Recall@10 is measured against `exact=True`, which compares with each vector that matches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sources import CLUSTERS, clustered, packages
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, fields_of
from docindex.tensors import Float32Array

LIMIT = 10
SHARES = (0.5, 0.1, 0.03, 0.01, 0.001, 0.0001)


class Package(BaseDoc):
    """A Debian package; `part` is a random number from 0 to 1."""

    section: str
    size: int
    part: float
    embedding: NdArray = Field(dim=384, space='cosine')


class Point(BaseDoc):
    """A synthetic document; `cluster` says which vectors it is near, the larger the rarer."""

    cluster: int
    part: float
    embedding: NdArray = Field(dim=128, space='l2', num_threads=-1)


Case = tuple[str, Callable[[int], Any]]
"""The name of a line, and the filter for a query of a number."""


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument('--data', type=Path, help='the directory with packages.jsonl.gz and embeddings.npz')
    data.add_argument('--synthetic', type=int, metavar='N', help='so many clustered vectors of length 128')
    parser.add_argument('--work-dir', type=Path, help='where to keep the index; one that is there is used again')
    parser.add_argument('--queries', type=int, default=100, help='how many queries (100)')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work_dir = given.work_dir or Path(temporary)
        if given.data:
            with HnswDocumentIndex[Package](work_dir=work_dir) as index:
                queries = fill_packages(index, given.data)[: given.queries]
                measure(index, queries, package_cases(index, queries))
        else:
            with HnswDocumentIndex[Point](work_dir=work_dir) as points:
                queries = fill_points(points, given.synthetic, given.queries)
                measure(points, queries, point_cases(points, queries))


def measure(index: HnswDocumentIndex[Any], queries: Float32Array, cases: list[Case]) -> None:
    """Print a line for each case: how many match, latencies with and without the filter, recall, how many are short."""
    print(f'{len(index):,} documents, {len(queries)} queries, {LIMIT} results, one thread; ms are medians')
    print(f'recall@10 without a filter: {recall_without(index, queries):.3f}')
    print('filter                matches   first ms      ms   without   ratio   p95 ratio   recall@10   short')
    for name, filter_of in cases:
        start = time.perf_counter()
        index.find(queries[0], 'embedding', LIMIT, filter=filter_of(0))
        first = time.perf_counter() - start
        found: list[list[str]] = []
        times: list[float] = []
        without: list[float] = []
        for at, query in enumerate(queries):
            condition = filter_of(at)
            start = time.perf_counter()
            docs = index.find(query, 'embedding', LIMIT, filter=condition).documents
            times.append(time.perf_counter() - start)
            found.append(docs.id)
            start = time.perf_counter()
            index.find(query, 'embedding', LIMIT)
            without.append(time.perf_counter() - start)
        counts: list[int] = []
        recalls: list[float] = []
        short = 0
        for at in range(0, len(queries), 2):  # exact search takes its time
            true = index.find(queries[at], 'embedding', LIMIT, filter=filter_of(at), exact=True).documents.id
            short += len(found[at]) < len(true)
            recalls.append(len(set(found[at]) & set(true)) / max(1, len(true)))
            counts.append(index.count(filter_of(at)) if at < 20 else counts[-1])
        middle, usual = 1000 * statistics.median(times), 1000 * statistics.median(without)
        tail = 1000 * statistics.quantiles(times, n=20)[-1] / usual
        print(
            f'{name:18} {statistics.median(counts):10,.0f}  {1000 * first:9.2f}  {middle:6.2f}  {usual:8.2f}  '
            f'{middle / usual:6.2f}  {tail:10.2f}  {statistics.fmean(recalls):10.3f}  {short:6}',
            flush=True,
        )


def recall_without(index: HnswDocumentIndex[Any], queries: Float32Array) -> float:
    """Return which share of the ten true neighbours is found without any filter."""
    found = index.find_batched(queries, 'embedding', LIMIT).documents
    true = index.find_batched(queries, 'embedding', LIMIT, exact=True).documents
    return statistics.fmean(len(set(a.id) & set(b.id)) / LIMIT for a, b in zip(found, true, strict=True))


# -- the shared packages ------------------------------------------------------------------------------------


def fill_packages(index: HnswDocumentIndex[Package], directory: Path) -> Float32Array:
    """Store the packages; return embeddings of packages that are not among them."""
    if not len(index):
        rows, vectors, _ = packages(directory)
        parts = np.random.default_rng(0).random(len(vectors))
        index.index(
            Package(id=str(at), section=row['section'], size=row['size'], part=parts[at], embedding=vectors[at])
            for at, row in enumerate(rows)
        )
    return np.asarray(np.load(directory / 'queries.npz')['unseen'], np.float32)


def package_cases(index: HnswDocumentIndex[Package], queries: Float32Array) -> list[Case]:
    """Return even filters, the section around each query, and sections of all sizes."""
    fields = fields_of(Package)
    own = [index.find(query, 'embedding', 1, exact=True).documents[0].section for query in queries]
    cases = even_cases(fields.part)
    cases.append(('near: own section', lambda at: fields.section == own[at]))
    cases += [(f'one: {name}', always(fields.section == name)) for name in sections(index)]
    return cases


def sections(index: HnswDocumentIndex[Package]) -> Iterator[str]:
    """Yield the largest section, and others whose sizes are each about a third of that before."""
    names = {index[id_].section for id_ in list(index)[::10]}
    wanted = float(len(index))
    for count, name in sorted(((index.count({'section': name}), name) for name in names), reverse=True):
        if count <= wanted:
            yield name
            wanted = count / 3


# -- synthetic clusters -------------------------------------------------------------------------------------


def fill_points(index: HnswDocumentIndex[Point], count: int, queries: int) -> Float32Array:
    """Store clustered vectors; return others from the same clusters."""
    random = np.random.default_rng(1)
    vectors, of = clustered(random, count + queries, 128)
    parts = random.random(count)
    for start in range(len(index), count, 20_000):
        stop = min(start + 20_000, count)
        index.index(
            Point(id=str(at), cluster=int(of[at]), part=parts[at], embedding=vectors[at]) for at in range(start, stop)
        )
        print(f'{stop:,} stored', flush=True)
    return vectors[count:]


def point_cases(index: HnswDocumentIndex[Point], queries: Float32Array) -> list[Case]:
    """Return even filters, the clusters around each query, and clusters of all sizes."""
    fields = fields_of(Point)
    own = [index.find(query, 'embedding', 1, exact=True).documents[0].cluster for query in queries]
    sizes = np.array([index.count({'cluster': cluster}) for cluster in range(CLUSTERS)])
    cases = even_cases(fields.part)
    cases.append(('near: own cluster', lambda at: fields.cluster == own[at]))
    for share in SHARES[1:]:
        nearest = int(np.argmin(abs(sizes / len(index) - share)))
        cases.append((f'one: {100 * share:g} %', always(fields.cluster == nearest)))
    return cases


def even_cases(part: Any) -> list[Case]:
    """Return filters for shares of all documents, wherever they lie."""
    return [(f'even: {100 * share:g} %', always(part < share)) for share in SHARES]


def always(condition: Any) -> Callable[[int], Any]:
    """Return the same filter for every query."""
    return lambda at: condition


if __name__ == '__main__':
    main()
