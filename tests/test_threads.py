"""One index serves any number of threads, whatever the others do with it."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from docindex import ClosedIndexError, HnswDocumentIndex
from docindex.testing import ExactIndex, distances
from docindex.testing.films import SPACES, Film, films
from tests import programs

SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
READERS = 8
WRITES = 16


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HnswDocumentIndex[Film]]:
    with HnswDocumentIndex[Film](work_dir=tmp_path) as index:
        yield index


def many(count: int, seed: int) -> list[Film]:
    """Return films with ids of their own, `<seed>.<number>`, numbered from 0."""
    return [film.model_copy(update={'id': f'{seed}.{at}'}) for at, film in enumerate(films(count, seed))]


def check_answer(index: HnswDocumentIndex[Film], query: Film, field: str, limit: int, exact: bool) -> list[str]:
    """Assert that each score is the distance to the vector of the document beside it; return the ids."""
    seen: ExactIndex[Film] = ExactIndex(SPACES)
    seen.index([query])
    asked = seen.vector(query.id, field)
    assert asked is not None
    docs, scores = index.find(asked, field, limit, exact=exact)
    assert len(set(docs.id)) == len(docs), 'a document was found twice: two of its versions at once'
    assert (np.diff(scores) >= 0).all()
    seen.index(docs)
    for doc, score in zip(docs, scores.tolist(), strict=True):
        vector = seen.vector(doc.id, field)
        assert vector is not None
        assert score == pytest.approx(distances(asked, vector[None], SPACES[field])[0], abs=1e-4)
    return [doc.id for doc in docs]


def test_readers_beside_a_writer(index: HnswDocumentIndex[Film]) -> None:
    """
    Eight threads search and get while one stores, updates, deletes and compacts; no call fails and no answer is mixed.

    Each score is the distance to the returned document's own vector, no document comes in two versions, and one that
    was acknowledged before a search began, and is never touched, is found by it (I8).
    """
    print(f'seed {SEED}')
    acknowledged: list[Film] = many(40, seed=0)
    index.index(acknowledged)
    is_over = threading.Event()

    def read(seed: int) -> int:
        chance = random.Random(SEED + seed)
        count = 0
        while not is_over.is_set() or count < 20:
            film = chance.choice(acknowledged)
            field = chance.choice([field for field in SPACES if field != 'poster__look' or film.poster])
            field = 'plot' if field == 'sound' and film.sound is None else field
            ids = check_answer(index, film, field, chance.choice([1, 5, 40]), chance.random() < 0.3)
            if field == 'plot':
                assert ids[0] == film.id
            assert index[film.id].title == film.title
            assert film.id in index
            count += 1
        return count

    def write() -> None:
        chance = random.Random(SEED)
        try:
            for number in range(1, WRITES):
                lasting, passing = many(5, seed=number), many(10, seed=1000 + number)
                index.index(lasting + passing)
                acknowledged.extend(lasting)
                index.update(passing[0].id, plot=chance.choice(acknowledged).plot + np.float32(0.5))
                index.index([film.model_copy(update={'plot': -film.plot}) for film in passing])
                index.delete([film.id for film in passing])
                if number % 5 == 0:
                    index.compact()
                    index.save_graphs()
        finally:
            is_over.set()

    with ThreadPoolExecutor(READERS + 1) as pool:
        reading = [pool.submit(read, seed) for seed in range(READERS)]
        pool.submit(write).result()
        assert all(future.result() >= 20 for future in reading)
    oracle: ExactIndex[Film] = ExactIndex(SPACES)
    oracle.index(acknowledged)
    oracle.check_all(index)


def test_writers_take_turns(index: HnswDocumentIndex[Film]) -> None:
    """What eight threads store and delete at once is there in the end as if they had done it one after another."""

    def write(seed: int) -> list[Film]:
        mine = many(30, seed)
        for film in mine:
            index.index(film)
        assert index.delete([film.id for film in mine[::2]]) == 15
        return mine[1::2]

    oracle: ExactIndex[Film] = ExactIndex(SPACES)
    with ThreadPoolExecutor(READERS) as pool:
        for kept in pool.map(write, range(READERS)):
            oracle.index(kept)
    oracle.check_all(index)


def test_updates_of_one_document_are_not_lost(index: HnswDocumentIndex[Film]) -> None:
    """Two threads that change different fields of one document both succeed, each time."""
    index.index(many(1, seed=0))

    def change(field: str) -> None:
        for value in range(50):
            index.update('0.0', **{field: value if field == 'year' else str(value)})
            assert str(getattr(index['0.0'], field)) == str(value)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, ['year', 'title']))
    assert (index['0.0'].year, index['0.0'].title) == (49, '49')


def test_searches_with_different_ef_do_not_disturb_each_other(index: HnswDocumentIndex[Film]) -> None:
    """Threads that search with `ef` of their own each get a whole answer."""
    index.index(many(300, seed=0))
    queries = many(20, seed=1)

    def search(ef: int) -> None:
        for query in queries:
            assert len(index.find(query, 'plot', limit=5, ef=ef).documents) == 5

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(search, [5, 10, 50, 100, 200, 300, 7, 11]))


def test_closing_while_others_use_it(tmp_path: Path) -> None:
    """A call that meets a closed index raises `ClosedIndexError`, whatever it was doing; nothing else ever happens."""
    query = many(1, seed=0)[0]
    uses: list[Callable[[HnswDocumentIndex[Film]], object]] = [
        lambda index: index.find(query, 'plot'),
        lambda index: index.get('0.1'),
        lambda index: index.index(many(2, seed=1)),
        lambda index: index.delete('0.2'),
    ]

    def use_until_closed(
        use: Callable[[HnswDocumentIndex[Film]], object], index: HnswDocumentIndex[Film], started: threading.Barrier
    ) -> None:
        started.wait()
        while True:
            use(index)

    for attempt in range(20):
        index = HnswDocumentIndex[Film](work_dir=tmp_path)
        index.index(many(20, seed=0))
        started = threading.Barrier(len(uses) + 1)
        with ThreadPoolExecutor(len(uses)) as pool:
            futures = [pool.submit(use_until_closed, use, index, started) for use in uses]
            started.wait()
            for _ in range(attempt):
                index.get('0.1')
            index.close()
            assert {type(future.exception()) for future in futures} == {ClosedIndexError}
    with HnswDocumentIndex[Film](work_dir=tmp_path) as index:
        report = index.verify()
        assert report.is_sound, str(report)


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc to count open files')
def test_threads_that_end_leave_no_files_open(index: HnswDocumentIndex[Film]) -> None:
    """A server that makes a thread for each request does not run out of file descriptors."""
    index.index(many(3, seed=0))

    def open_files() -> int:
        return len(list(Path('/proc/self/fd').iterdir()))

    before = open_files()
    for _ in range(60):
        thread = threading.Thread(target=index.get, args=['0.1'])
        thread.start()
        thread.join()
    assert open_files() < before + 30


DEADLOCKS = {
    'opening a second handle while a reader drops one': """
        holding, opening = threading.Event(), threading.Event()
        other = [HnswDocumentIndex[Film](work_dir=sys.argv[1] + '/other')]
        def read():
            with index._store.reading():  # as every search does; a validator or the garbage collector may run here
                holding.set()
                time.sleep(0.5)
                other.pop().close()
        threading.Thread(target=read, daemon=True).start()
        holding.wait()
        HnswDocumentIndex[Film](work_dir=sys.argv[1]).close()
    """,
    'ids from an iterator that writes': """
        index.index(films())
        def moved():
            index.index(a_film('written meanwhile'))
            yield 'film 0'
        index.delete(moved())
        assert 'film 0' not in index and 'written meanwhile' in index
    """,
    'documents from an iterator that reads and writes': """
        index.index(films())
        def changed():
            for id_ in list(index):
                index.delete(id_)
                yield a_film(id_)
        index.index(changed())
        assert len(index) == 12
    """,
}


@pytest.mark.parametrize('story', DEADLOCKS.values(), ids=DEADLOCKS)
def test_nothing_waits_for_ever(tmp_path: Path, story: str) -> None:
    """Calls inside calls, and handles that are dropped meanwhile, do not wait for each other."""
    code = f"""
import faulthandler, sys, threading, time
from docindex import HnswDocumentIndex
from docindex.testing.films import Film, a_film, films
faulthandler.dump_traceback_later(15, exit=True)
def main(index):
    if True:{story}
main(HnswDocumentIndex[Film](work_dir=sys.argv[1]))
print('done')
"""
    ended = programs.run(code, tmp_path)
    assert ended.stdout == 'done\n', ended.stderr
