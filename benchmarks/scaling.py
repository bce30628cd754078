"""
What an index on one machine takes, by the length of its vectors, and what the same calls take on Milvus Lite.

    python benchmarks/scaling.py --sizes 20000
    python benchmarks/scaling.py --data PATH_TO_debian-packages --rows 2000 20000

`--sizes` builds an index of so many random vectors for each length, and prints what a million of them take: memory of
the graph, as hnswlib allocates it, files, building and opening, in time of the processor (of all cores together), which
other work on the machine changes less than that of the clock. The million itself is not built: memory, files and
opening grow as the number of vectors does; building a little faster, by the logarithm of the number, as assumed here.

`--data` stores the same packages in a local index and in Milvus Lite, in this process, closes and opens both, and makes
each call in turn on the one and the other. Times of a machine that has other work are not to be compared between runs:
a ratio is the median of those of the rounds, within each of which the two calls were neighbours.

    index all             one call; until it returns
    first find            the first search after it: Milvus Lite has files to write first
    open                  until the first answer
    find                  ten documents by their embedding; then with a filter that lets half, and 2 %, of them through
    find, exact           compared with all vectors
    text_search, hybrid   ten documents by words, and by both
    filter                ten documents in the order of indexing, of those that half of all are
    count                 how many these are
    get                   one document by its id; a hundred
    upsert                one document that was there
    update                one field
    calls                 to the server, for one call of ours
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, MilvusDocumentIndex, NdArray
from docindex.milvus.server import Server
from docindex.tensors import Float32Array

DIMS, MILLION = (128, 384, 768, 1536), 1_000_000
CALLS = ('upsert', 'delete', 'count', 'query', 'search')
ROUNDS = 7


class Package(BaseDoc):
    """A package, with what filters and words ask for."""

    name: str
    description: str = Field(full_text=True)
    section: str
    size: int
    embedding: NdArray = Field(dim=384, space='cosine')


class Data(NamedTuple):
    """Packages, and questions with their embeddings."""

    packages: list[Package]
    texts: list[str]
    queries: Float32Array


def main() -> None:
    """Measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=int, metavar='ROWS', help='build with so many vectors of each length')
    parser.add_argument('--data', type=Path, help='the directory with packages.jsonl.gz and embeddings.npz')
    parser.add_argument('--rows', type=int, nargs='+', default=[2_000, 20_000], help='how many packages (2000 20000)')
    parser.add_argument('--rounds', type=int, default=ROUNDS, help=f'how often each call is made ({ROUNDS})')
    options = parser.parse_args()
    if not options.sizes and not options.data:
        parser.error('give --sizes, --data, or both')
    if options.sizes:
        measure_sizes(options.sizes)
    if options.data:
        for rows in options.rows:
            measure_calls(read(options.data, rows), options.rounds)


# -- sizes ---------------------------------------------------------------------------------------------


def measure_sizes(rows: int) -> None:
    """Print what a million vectors of each length take."""
    print(f'\nA million vectors, from what {rows:,} take:\n')
    print('| dim | graph, GiB | vector file, GiB | building, core minutes | opening, s |')
    print('| ---: | ---: | ---: | ---: | ---: |')
    growth = MILLION * math.log(MILLION) / (rows * math.log(rows))
    for dim in DIMS:
        vectors = np.random.default_rng(dim).standard_normal((rows, dim), np.float32)
        with tempfile.TemporaryDirectory() as directory:
            cls = vector_index(dim, rows)
            with cls(work_dir=directory) as index:
                start = time.process_time()
                index.index_columns(id=[str(n) for n in range(rows)], embedding=vectors)
                building = time.process_time() - start
                memory = index.stats().fields['embedding'].memory
            start = time.process_time()
            with cls(work_dir=directory) as index:
                index.find(vectors[0])
                opening = time.process_time() - start
            files = sum(path.stat().st_size for path in (Path(directory) / 'vectors').iterdir())
        print(
            f'| {dim:,} | {memory * MILLION / rows / 2**30:.1f} | {files * MILLION / rows / 2**30:.1f} '
            f'| {building * growth / 60:.0f} | {opening * MILLION / rows:.1f} |',
            flush=True,
        )


def vector_index(length: int, rows: int) -> type[HnswDocumentIndex[Any]]:
    """Return the class of an index of vectors of a length, with room for so many and no more."""

    class Item(BaseDoc):
        embedding: NdArray = Field(dim=length, max_elements=rows)

    return HnswDocumentIndex[Item]


# -- calls ---------------------------------------------------------------------------------------------


def measure_calls(data: Data, rounds: int) -> None:
    """Print what each call takes on both."""
    packages, (query, other), text = data.packages, data.queries[:2], data.texts[0]
    sizes = sorted(package.size for package in packages)
    half, few = {'size': {'$lt': sizes[len(sizes) // 2]}}, {'size': {'$lt': sizes[len(sizes) // 50]}}
    one, hundred = packages[7].id, [package.id for package in packages[:100]]
    print(f'\n{len(packages):,} packages, {rounds} rounds:\n')
    print('| call | local, ms | Milvus Lite, ms | ratio | calls |\n| --- | ---: | ---: | ---: | ---: |')
    with tempfile.TemporaryDirectory() as directory:
        local: Callable[[], Any] = lambda: HnswDocumentIndex[Package](work_dir=f'{directory}/local')  # noqa: E731
        lite: Callable[[], Any] = lambda: MilvusDocumentIndex[Package](uri=f'{directory}/lite.db')  # noqa: E731
        indexes = local(), lite()
        show('index all', indexes, lambda index: index.index(packages), 1)
        show('first find', indexes, lambda index: index.find(query), 1)
        for index in indexes:
            index.close()
        started = [taken(local), taken(lite)]
        times = [[seconds + taken(lambda index=index: index.find(query))[0]] for seconds, index in started]  # type: ignore[misc]
        print_row('open', times, Counter())
        indexes = started[0][1], started[1][1]
        calls: dict[str, Callable[[Any], Any]] = {
            'find': lambda index: index.find(other),
            'find, filter 50 %': lambda index: index.find(other, filter=half),
            'find, filter 2 %': lambda index: index.find(other, filter=few),
            'find_batched, 30 queries': lambda index: index.find_batched(data.queries),
            'find, exact': lambda index: index.find(other, exact=True),
            'text_search': lambda index: index.text_search(text),
            'hybrid': lambda index: index.hybrid(text, query),
            'filter 50 %': lambda index: index.filter(half),
            'filter 2 %': lambda index: index.filter(few),
            'count': lambda index: index.count(half),
            'get': lambda index: index.get(one),
            'get 100': lambda index: index.get(hundred),
            'upsert': lambda index: index.index(packages[7]),
            'update': lambda index: index.update(one, size=3),
        }
        for name, call in calls.items():
            show(name, indexes, call, rounds)
        for index in indexes:
            index.close()


def show(name: str, indexes: tuple[Any, ...], call: Callable[[Any], Any], rounds: int) -> None:
    """Make a call on each index in turn, so often, and print what it took."""
    times: list[list[float]] = [[] for _ in indexes]
    with counted() as calls:
        for _ in range(rounds):
            for own, index in zip(times, indexes, strict=True):
                own.append(taken(lambda index=index: call(index))[0])  # type: ignore[misc]
    print_row(name, times, Counter({what: count // rounds for what, count in calls.items()}))


def print_row(name: str, times: list[list[float]], calls: Counter[str]) -> None:
    local, lite = (statistics.median(each) * 1e3 for each in times)
    ratio = statistics.median(mine / other for other, mine in zip(*times, strict=True))
    said = ', '.join(f'{count} {what}' for what, count in calls.items() if count)
    print(f'| {name} | {number(local)} | {number(lite)} | {number(ratio)} | {said} |', flush=True)


def number(value: float) -> str:
    """Return a number with two digits that count, or all before the point."""
    return f'{value:,.0f}' if value >= 10 else f'{value:.2g}'


def taken(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds a call takes, and what it returns."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls to servers."""
    calls: Counter[str] = Counter()
    originals = {name: getattr(Server, name) for name in CALLS}

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return original(*args, **kwargs)

        return call

    for name, original in originals.items():
        setattr(Server, name, counting(name, original))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(Server, name, original)


def read(directory: Path, rows: int) -> Data:
    """Read so many packages."""
    vectors = np.load(directory / 'embeddings.npz')['description']
    packages = []
    with gzip.open(directory / 'packages.jsonl.gz', 'rt', encoding='utf-8') as lines:
        for line, vector in zip(lines, vectors[:rows], strict=False):
            row = json.loads(line)
            fields = {name: row[name] for name in ('name', 'description', 'section', 'size')}
            packages.append(Package(id=row['name'], embedding=vector.astype(np.float32), **fields))
    texts = json.loads((directory / 'queries.json').read_text())
    return Data(packages, texts, np.load(directory / 'queries.npz')['text'])


if __name__ == '__main__':
    main()
