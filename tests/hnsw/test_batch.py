"""`with index.batch():` makes one commit of several calls: all of them or none, and seen by nobody else before it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import (
    BaseDoc,
    ClosedIndexError,
    DimensionError,
    DocList,
    DocumentError,
    DocumentNotFoundError,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    WorkDirLockedError,
)
from docindex.hnsw.sidecar import Sidecar
from docindex.testing import ExactIndex
from docindex.testing.films import SPACES, Film, a_film, a_vector, films
from tests import programs
from tests.words import WORDS, Word, Words, word

Films = HnswDocumentIndex[Film]


class UndoError(Exception):
    """Undoes a batch."""


@pytest.fixture(params=[False, True], ids=['exclusive', 'shared'])
def index(request: pytest.FixtureRequest, work_dir: Path) -> Iterator[HnswDocumentIndex[Word]]:
    """An index with the words 0 to 9, each with its number as its vector and its count."""
    with Words(work_dir, shared_writes=request.param) as index:
        index.index([word(str(at), at, at) for at in range(10)])
        yield index


def commits(work_dir: Path) -> int:
    with Words(work_dir, read_only=True) as reader, reader._store.reading() as view:
        return view.rows.commits()


def nearest(index: HnswDocumentIndex[Word], value: float, **how: Any) -> str:
    return str(index.find(np.full(4, value), limit=1, **how).documents[0].id)


def contents(index: HnswDocumentIndex[Word]) -> dict[str, tuple[int, float]]:
    """Return what is in an index, and assert that all ways to look at it agree."""
    docs = index.get(list(index))
    assert len(index) == len(list(index)) == len(docs)
    found = index.find(np.zeros(4), limit=100).documents
    assert sorted(found.id) == sorted(docs.id) == sorted(index.find(np.zeros(4), limit=100, exact=True).documents.id)
    for doc in docs:
        assert doc.id in index
        assert nearest(index, doc.vector[0]) == nearest(index, doc.vector[0], exact=True) == doc.id
    return {doc.id: (doc.count, float(doc.vector[0])) for doc in docs}


BEFORE = {str(at): (at, float(at)) for at in range(10)}


def write_some(index: HnswDocumentIndex[Word]) -> dict[str, tuple[int, float]]:
    """Write with each call, and return what there is then."""
    index.index([word('a', 20), word('b', 21)])
    index.index(word('3', 33, 3))
    index.update('4', count=44)
    index.update('5', vector=np.full(4, 55))
    index.update([word('6', 66, 6)])
    assert index.delete(['7', 'nobody']) == 1
    del index['8']
    expected = {**BEFORE, 'a': (0, 20.0), 'b': (0, 21.0), '3': (3, 33.0), '4': (44, 4.0), '5': (5, 55.0)}
    expected['6'] = 6, 66.0
    del expected['7'], expected['8']
    return expected


# -- one commit ----------------------------------------------------------------------------------------------


def test_a_batch_is_one_commit(index: HnswDocumentIndex[Word], work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls it has, a batch is committed once, at its end."""
    before = commits(work_dir)
    made: list[str] = []
    commit = Sidecar.commit
    monkeypatch.setattr(Sidecar, 'commit', lambda sidecar: (made.append('commit'), commit(sidecar))[1])
    with index.batch():
        expected = write_some(index)
        assert not made
    assert made == ['commit']
    assert commits(work_dir) == before + 1
    assert contents(index) == expected


@pytest.mark.parametrize(
    'nothing',
    [
        lambda index: None,
        lambda index: index.index([]),
        lambda index: index.delete(['nobody']),
        lambda index: (index.get('1'), len(index)),
    ],
    ids=['nothing', 'no documents', 'delete nobody', 'only looking'],
)
def test_an_empty_batch_commits_nothing(
    index: HnswDocumentIndex[Word], work_dir: Path, nothing: Callable[[HnswDocumentIndex[Word]], object]
) -> None:
    """A batch in which nothing is written leaves the number of commits as it is, and the index works on."""
    before = commits(work_dir)
    with index.batch():
        nothing(index)
    assert commits(work_dir) == before
    index.index(word('new'))
    assert commits(work_dir) == before + 1


def test_it_is_there_after_reopening(work_dir: Path) -> None:
    """What a batch has stored is there when the directory is opened again, and sound."""
    with Words(work_dir) as index:
        index.index([word(str(at), at, at) for at in range(10)])
        with index.batch():
            expected = write_some(index)
    with Words(work_dir, trust_graphs=False) as index:
        assert contents(index) == expected
        assert index.verify().is_sound


def test_batches_one_after_another(index: HnswDocumentIndex[Word], work_dir: Path) -> None:
    """Batches and single calls in turn add up; a batch that is undone in between leaves no trace."""
    for number in range(5):
        with index.batch():
            index.index(word(f'batch {number}', 100 + number))
            index.delete(f'single {number - 1}')
        with suppress(UndoError), index.batch():
            index.index(word(f'undone {number}', 200 + number))
            index.delete('9')
            raise UndoError
        index.index(word(f'single {number}', 300 + number))
    assert set(contents(index)) == {*BEFORE, *(f'batch {at}' for at in range(5)), 'single 4'}
    with Words(work_dir, read_only=True) as reader:
        assert contents(reader) == contents(index)


# -- what its own thread sees --------------------------------------------------------------------------------


def test_a_batch_sees_its_own_writes(index: HnswDocumentIndex[Word]) -> None:
    """Every way to look shows a batch what it has written so far."""
    with index.batch():
        expected = write_some(index)
        assert contents(index) == expected
        assert index['a'].vector.tolist() == [20] * 4
        assert ('a' in index, '7' in index, index.get('8')) == (True, False, None)
        with pytest.raises(DocumentNotFoundError):
            index['7']
        batched = index.find_batched(np.array([[20.0] * 4, [7.0] * 4, [33.0] * 4]), limit=2)
        assert [docs.id[0] for docs in batched.documents] == ['a', '9', '3']
    assert contents(index) == expected


def test_a_document_of_the_batch_changes_in_it(index: HnswDocumentIndex[Word]) -> None:
    """What a batch has stored it may update, replace, delete and store again; the last word counts."""
    with index.batch():
        index.index(word('x', 50))
        index.update('x', count=1)
        assert (index['x'].count, index['x'].vector[0]) == (1, 50)
        index.update('x', vector=np.full(4, 51))
        assert (index['x'].count, nearest(index, 51)) == (1, 'x')
        index.index(word('x', 52, 2))
        assert (len(index), index['x'].count, nearest(index, 52)) == (11, 2, 'x')
        index.index(word('y', 60))
        assert index.delete('y') == 1
        assert 'y' not in index
        assert index.delete('y') == 0
        index.index([word('y', 61), word('y', 62)])
        del index['y']
        index.index(word('y', 63))
        del index['0']
        index.index(word('0', 64))
    expected = {**BEFORE, 'x': (2, 52.0), 'y': (0, 63.0), '0': (0, 64.0)}
    assert contents(index) == expected


def test_a_batch_of_films_answers_as_the_reference(work_dir: Path) -> None:
    """With optional and nested vectors, a batch answers after each call as the reference does, and so afterwards."""
    oracle: ExactIndex[Film] = ExactIndex(SPACES)
    with Films(work_dir) as index:
        for number in range(3):
            with index.batch():
                for store in (index, oracle):
                    store.index(films(12, seed=number))
                    store.delete(['film 1', 'film 2'])
                oracle.check_all(index)
                for store in (index, oracle):
                    store.index([a_film('film 2', sound=a_vector('sound')), a_film('extra')])
                    store.update('film 3', title='changed', sound=None)
                oracle.check_all(index)
            oracle.check_all(index)
        assert index.verify().is_sound


# -- what others see -----------------------------------------------------------------------------------------


def test_nobody_else_sees_a_batch_before_its_end(index: HnswDocumentIndex[Word], work_dir: Path) -> None:
    """Other threads, and readers, see what was there before until the batch ends, and then all of it."""
    with Words(work_dir, read_only=True) as reader, ThreadPoolExecutor(1) as pool:
        with index.batch():
            expected = write_some(index)
            assert pool.submit(contents, index).result(20) == BEFORE
            assert contents(reader) == BEFORE
            assert pool.submit(contents, reader).result(20) == BEFORE
            assert contents(index) == expected
        assert contents(reader) == expected
        assert pool.submit(contents, index).result(20) == expected


def test_other_threads_look_meanwhile(work_dir: Path) -> None:
    """A thread that looks all the time sees either what was before a batch or what is after it, never a part."""
    with Words(work_dir) as index, ThreadPoolExecutor(2) as pool:
        index.index([word(f'{sign}{at}', at + 1) for at in range(4) for sign in '+-'])
        is_over = threading.Event()

        def look() -> int:
            seen: set[int] = set()
            while not is_over.is_set():
                docs = index.get([f'{sign}{at}' for at in range(4) for sign in '+-'])
                assert len({doc.count for doc in docs}) == 1, docs
                found = index.find(np.zeros(4), limit=20, exact=len(seen) % 2 == 0).documents
                assert len(found) == len(set(found.id)) == 8
                assert len({doc.count for doc in found}) == 1, found
                seen.add(docs[0].count)
            return len(seen)

        looking = [pool.submit(look) for _ in range(2)]
        try:
            for count in range(1, 40):
                with index.batch():
                    for at in range(4):
                        for sign in '+-':
                            index.index(word(f'{sign}{at}', at + count, count))
        finally:
            is_over.set()
        assert min(each.result() for each in looking) > 2


def test_batches_of_two_threads_wait_for_each_other(index: HnswDocumentIndex[Word]) -> None:
    """Two threads each with a batch: one begins when the other has ended, so that neither counts over the other."""
    inside: list[str] = []

    def count(name: str) -> None:
        for _ in range(15):
            with index.batch():
                inside.append(name)
                counted = index['0'].count
                time.sleep(0.001)
                index.update('0', count=counted + 1)
                assert inside == [name]
                inside.clear()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(count, name) for name in 'ab']:
            done.result(60)
    assert index['0'].count == 30


def test_a_single_write_of_another_thread_waits(index: HnswDocumentIndex[Word]) -> None:
    """A call of another thread that writes comes after the batch, and is not undone with it."""
    with ThreadPoolExecutor(1) as pool:
        with suppress(UndoError), index.batch():
            index.index(word('undone'))
            writing = pool.submit(index.index, word('theirs', 77))
            time.sleep(0.1)
            assert not writing.done()
            raise UndoError
        writing.result(20)
    assert contents(index) == {**BEFORE, 'theirs': (0, 77.0)}


# -- undoing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('error', [UndoError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_undoes_a_batch(
    index: HnswDocumentIndex[Word], work_dir: Path, error: type[BaseException]
) -> None:
    """Whatever exception leaves the block, nothing of the batch is left, here, for readers and on the disk."""
    before = commits(work_dir)
    try:
        with index.batch():
            write_some(index)
            raise error
    except error:
        pass
    assert contents(index) == BEFORE
    assert commits(work_dir) == before
    with Words(work_dir, read_only=True) as reader:
        assert contents(reader) == BEFORE
    expected = write_some(index)
    assert contents(index) == expected
    assert index.verify().is_sound
    index.close()
    with Words(work_dir, trust_graphs=False) as again:
        assert contents(again) == expected


REFUSED: dict[str, tuple[Callable[[HnswDocumentIndex[Word]], object], type[Exception]]] = {
    'a bad vector': (lambda index: index.index([word('good'), Word(id='bad', vector=[1, 2])]), DimensionError),
    'not finite': (lambda index: index.index([word('good'), word('bad', np.nan)]), Exception),
    'a bad document': (lambda index: index.index([word('good'), {'id': 'bad', 'count': 'many'}]), DocumentError),
    'update an unknown id': (lambda index: index.update('nobody', count=1), DocumentNotFoundError),
    'update unknown documents': (lambda index: index.update([word('1', 99), word('nobody')]), DocumentNotFoundError),
    'del an unknown id': (lambda index: index.__delitem__(['1', 'nobody']), DocumentNotFoundError),
    'a bad query': (lambda index: index.find([1, 2]), DimensionError),
    'an unknown field': (lambda index: index.find([1, 2, 3, 4], 'nothing'), QueryError),
}


@pytest.mark.parametrize(('call', 'error'), REFUSED.values(), ids=REFUSED)
def test_a_call_that_fails_does_nothing_and_the_batch_goes_on(
    index: HnswDocumentIndex[Word], call: Callable[[HnswDocumentIndex[Word]], object], error: type[Exception]
) -> None:
    """A refused call inside a batch leaves what the batch has done so far, which can go on and is stored."""
    with index.batch():
        expected = write_some(index)
        with pytest.raises(error):
            call(index)
        assert contents(index) == expected
        index.index(word('later', 90))
    assert contents(index) == {**expected, 'later': (0, 90.0)}
    assert index.verify().is_sound


def test_a_call_that_fails_in_sqlite_does_nothing_and_the_batch_goes_on(
    index: HnswDocumentIndex[Word], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that fails after it has begun to write leaves nothing of itself, and the rest of the batch is stored."""
    insert = Sidecar._set_meta

    def failing(*_: Any) -> None:
        raise OSError('no space left')

    with index.batch():
        expected = write_some(index)
        monkeypatch.setattr(Sidecar, '_set_meta', failing)
        for call in (lambda: index.index([word('bad', 80), word('1', 81)]), lambda: index.delete(['1', 'a'])):
            with pytest.raises(OSError, match='no space left'):
                call()
        monkeypatch.setattr(Sidecar, '_set_meta', insert)
        assert contents(index) == expected
        index.index(word('later', 90))
    assert contents(index) == {**expected, 'later': (0, 90.0)}
    assert index.verify().is_sound


def test_a_commit_that_fails_undoes_the_batch(
    index: HnswDocumentIndex[Word], work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the commit at the end fails, the block raises and nothing of the batch is there; the next one works."""

    def failing(_: Sidecar) -> None:
        raise OSError('no space left')

    def write() -> None:
        with index.batch():
            write_some(index)

    with monkeypatch.context() as patched:
        patched.setattr(Sidecar, 'commit', failing)
        with pytest.raises(OSError, match='no space left'):
            write()
    assert contents(index) == BEFORE
    with index.batch():
        expected = write_some(index)
    assert contents(index) == expected
    with Words(work_dir, read_only=True) as reader:
        assert contents(reader) == expected


NOT_INSIDE: dict[str, Callable[[HnswDocumentIndex[Word]], object]] = {
    'another batch': lambda index: index.batch().__enter__(),
    'compact': lambda index: index.compact(),
    'configure': lambda index: index.configure(ef=99),
    'save_graphs': lambda index: index.save_graphs(),
    'verify': lambda index: index.verify(),
    'repair': lambda index: index.verify(repair=True),
    'close': lambda index: index.close(),
    'backup': lambda index: index.backup(index.work_dir.parent / 'copy'),
    'a handle with other settings': lambda index: Words(
        index.work_dir, shared_writes=index._db_config.shared_writes, default_column_config={np.ndarray: {'ef': 99}}
    ),
}


@pytest.mark.parametrize('call', NOT_INSIDE.values(), ids=NOT_INSIDE)
def test_what_is_no_part_of_a_batch_is_refused_and_the_batch_goes_on(
    index: HnswDocumentIndex[Word], work_dir: Path, call: Callable[[HnswDocumentIndex[Word]], object]
) -> None:
    """What commits by itself, or ends the index, raises `QueryError` inside a batch, which is stored all the same."""
    before = commits(work_dir)
    with index.batch():
        expected = write_some(index)
        with pytest.raises(QueryError, match='batch'):
            call(index)
        assert contents(index) == expected
    assert contents(index) == expected
    assert commits(work_dir) == before + 1
    assert index.settings()['ef'] is None
    assert not (work_dir.parent / 'copy').exists()


def test_what_a_batch_refuses_other_threads_wait_for(index: HnswDocumentIndex[Word]) -> None:
    """Another thread that compacts or configures during a batch does it after its end."""
    with ThreadPoolExecutor(2) as pool:
        with index.batch():
            waiting = [pool.submit(index.compact), pool.submit(index.configure, ef=99)]
            expected = write_some(index)
            time.sleep(0.1)
            assert not any(each.done() for each in waiting)
        for each in waiting:
            each.result(20)
    assert contents(index) == expected
    assert index.settings()['ef'] == 99


def test_a_second_handle_in_a_batch(index: HnswDocumentIndex[Word], work_dir: Path) -> None:
    """Handles of one process share the batch of a thread: another one writes into it, and may be closed inside."""
    with index.batch():
        second = Words(work_dir, shared_writes=index._db_config.shared_writes)
        second.index(word('second', 70))
        assert nearest(index, 70) == 'second'
        with pytest.raises(QueryError, match='batch'):
            second.close()
    assert contents(second) == contents(index) == {**BEFORE, 'second': (0, 70.0)}
    second.close()
    index.index(word('third'))


def test_two_indexes_at_once(tmp_path: Path) -> None:
    """A thread may have a batch in each of two directories; each is stored or undone by itself."""
    with Words(tmp_path / 'a') as first, Words(tmp_path / 'b') as second:
        with first.batch():
            first.index(word('x', 1))
            with suppress(UndoError), second.batch():
                second.index(word('y', 2))
                first.index(word('z', 3))
                raise UndoError
            second.index(word('w', 4))
        assert (sorted(contents(first)), sorted(contents(second))) == (['x', 'z'], ['w'])


class Leaf(BaseDoc):
    v: NdArray[4]


class Tree(BaseDoc):
    leaves: DocList[Leaf] = DocList[Leaf]()


@pytest.mark.parametrize('durability', ['power', 'process'])
def test_what_was_read_in_a_batch_stays_what_it_was(work_dir: Path, durability: str) -> None:
    """Documents in lists that were read in a batch keep their vectors, whatever is stored once the batch is undone."""

    def tree(number: int, leaves: int) -> Tree:
        vector = np.full(4, number, np.float32)
        return Tree(id=str(number), leaves=DocList[Leaf](Leaf(id=f'{number} {at}', v=vector) for at in range(leaves)))

    with HnswDocumentIndex[Tree](work_dir=work_dir, durability=durability) as index:
        with suppress(UndoError), index.batch():
            index.index(tree(1, 200))
            read, found = index['1'], index.find_subindex(np.full(4, 1), 'leaves', 'v', limit=1)
            raise UndoError
        index.index(tree(2, 300))
        for one in (read, found.root_documents[0]):
            assert {leaf.v.tolist() == [1] * 4 for leaf in one.leaves} == {True}
        assert list(index) == ['2']


# -- async ---------------------------------------------------------------------------------------------------

TWINS: dict[str, Callable[[HnswDocumentIndex[Word]], Any]] = {
    'aindex': lambda index: index.aindex(word('new')),
    'aupdate': lambda index: index.aupdate('1', count=5),
    'adelete': lambda index: index.adelete('1'),
    'acompact': lambda index: index.acompact(),
    'asave_graphs': lambda index: index.asave_graphs(),
    'averify': lambda index: index.averify(),
}


@pytest.mark.parametrize('twin', TWINS.values(), ids=TWINS)
def test_async_twins_inside_a_batch(
    index: HnswDocumentIndex[Word], twin: Callable[[HnswDocumentIndex[Word]], Any]
) -> None:
    """An async twin inside a batch would wait for it in another thread for ever: it raises, and the batch goes on."""

    async def story() -> dict[str, tuple[int, float]]:
        with index.batch():
            expected = write_some(index)
            with pytest.raises(QueryError, match='batch'):
                await asyncio.wait_for(twin(index), 20)
            assert contents(index) == expected
        await index.aindex(word('afterwards', 90))
        return expected

    expected = asyncio.run(story())
    assert contents(index) == {**expected, 'afterwards': (0, 90.0)}


def test_another_tasks_async_write_waits_for_a_batch(index: HnswDocumentIndex[Word]) -> None:
    """A task that writes with an async twin while another is in a batch waits, and is not undone with it."""

    async def batch() -> None:
        with suppress(UndoError), index.batch():
            index.index(word('undone'))
            await asyncio.sleep(0.1)
            raise UndoError

    async def write() -> None:
        await asyncio.sleep(0.02)
        await index.aindex(word('theirs', 77))

    async def both() -> None:
        await asyncio.wait_for(asyncio.gather(batch(), write()), 20)

    asyncio.run(both())
    assert contents(index) == {**BEFORE, 'theirs': (0, 77.0)}


def test_another_tasks_write_does_not_vanish_with_a_batch(index: HnswDocumentIndex[Word]) -> None:
    """What one task has stored is not undone with the batch of another, which waits for something inside it."""
    acknowledged: list[str] = []

    async def batch() -> None:
        with suppress(UndoError), index.batch():
            index.index(word('undone'))
            await asyncio.sleep(0.1)
            raise UndoError

    async def write() -> None:
        await asyncio.sleep(0.02)
        with suppress(QueryError):  # it may be refused, since waiting would stop the batch as well
            index.index(word('theirs', 77))
            acknowledged.append('theirs')

    async def both() -> None:
        await asyncio.gather(batch(), write())

    asyncio.run(both())
    assert [id_ for id_ in acknowledged if id_ not in index] == []


def test_a_task_that_outlives_its_batch_is_in_no_other(index: HnswDocumentIndex[Word]) -> None:
    """What a task stores that was begun in a batch, which has ended, is not undone with a batch of another task."""
    refused: list[str] = []

    async def outliving(begun: asyncio.Event) -> None:
        await begun.wait()
        try:
            index.index(word('theirs', 77))
        except QueryError as error:  # waiting would stop the other batch as well
            refused.append(str(error))

    async def other(begun: asyncio.Event, task: asyncio.Task[None]) -> None:
        with suppress(UndoError), index.batch():
            index.index(word('undone'))
            begun.set()
            await task
            assert list(index) == [*BEFORE, 'undone']
            raise UndoError

    async def story() -> None:
        begun = asyncio.Event()
        with index.batch():
            task = asyncio.create_task(outliving(begun))
        await asyncio.wait_for(asyncio.create_task(other(begun, task)), 20)

    asyncio.run(story())
    assert 'another task' in refused[0]
    assert contents(index) == BEFORE


def test_a_task_that_outlives_its_batch_has_async_twins(index: HnswDocumentIndex[Word]) -> None:
    """A task that was begun in a batch may use async twins once that has ended."""

    async def outliving(ended: asyncio.Event) -> list[str]:
        await ended.wait()
        await index.aupdate('1', count=5)
        return list((await index.afind(word('5', 5).vector, limit=1)).documents.id)

    async def story() -> list[str]:
        ended = asyncio.Event()
        with index.batch():
            task = asyncio.create_task(outliving(ended))
            await asyncio.sleep(0)
        ended.set()
        return await asyncio.wait_for(task, 20)

    assert asyncio.run(story()) == ['5']
    assert index['1'].count == 5


def test_another_task_cannot_close_under_a_batch(index: HnswDocumentIndex[Word]) -> None:
    """While a task is in a batch, another of its thread that closes the index is refused, and the batch is stored."""

    async def close() -> None:
        with pytest.raises(QueryError, match='another task'):
            index.close()

    async def story() -> None:
        task = asyncio.create_task(close())
        with index.batch():
            index.index(word('new'))
            await task

    asyncio.run(story())
    assert 'new' in index


# -- kills, sizes --------------------------------------------------------------------------------------------

KILLED = (
    WORDS
    + """
import signal
index = Words(sys.argv[1])
index.index([word(str(at), at, at) for at in range(10)])
with index.batch():
    index.index([word(f'new {at}', 100 + at) for at in range(500)])
    index.delete([str(at) for at in range(5)])
    index.update('9', count=99)
    os.kill(os.getpid(), signal.SIGKILL)
"""
)


def test_a_kill_inside_a_batch_leaves_what_was_before(work_dir: Path) -> None:
    """After kill -9 in a batch the directory has nothing of it, also for a reader that was there all the time."""
    with Words(work_dir):
        pass
    with Words(work_dir, read_only=True) as reader:
        assert programs.run(KILLED, work_dir).returncode == -signal.SIGKILL
        assert contents(reader) == BEFORE
        with Words(work_dir) as index:
            assert contents(index) == BEFORE
            assert index.verify().is_sound
            expected = write_some(index)
            assert contents(index) == expected
        assert contents(reader) == expected


LEFT_OPEN = """
import sys
from tests.words import Words
index = Words(sys.argv[1])

def deleting():
    with index.batch():
        index.delete(['1'])
        yield

one = deleting()
next(one)
"""


def test_the_end_of_the_interpreter_inside_a_batch(index: HnswDocumentIndex[Word], work_dir: Path) -> None:
    """A program that ends inside a batch stores nothing of it, and says nothing of what is inside of this library."""
    index.close()
    ended = programs.run(LEFT_OPEN, work_dir)
    assert (ended.returncode, ended.stderr) == (0, '')
    with Words(work_dir) as reopened:
        assert '1' in reopened


def test_an_index_that_is_forgotten_inside_a_batch(work_dir: Path) -> None:
    """A batch whose index is collected before its end stores nothing, and says that the index was closed."""

    def load() -> None:
        indexes = [Words(work_dir)]
        with indexes[0].batch():
            indexes[0].index([word('1', 1, 1)])
            indexes.clear()

    with pytest.raises(ClosedIndexError, match='was closed'):
        load()
    with Words(work_dir) as reopened:
        assert len(reopened) == 0


def test_a_big_batch_is_as_one_call(tmp_path: Path) -> None:
    """Ten thousand documents in a batch of a hundred calls are the same as in one call, and all of them are found."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((10_000, 4)).astype(np.float32)
    docs = [Word(id=str(at), count=at, vector=vector) for at, vector in enumerate(vectors)]
    quick: Any = {np.ndarray: {'ef_construction': 40, 'M': 8}}
    with (
        Words(tmp_path / 'a', default_column_config=quick) as batched,
        Words(tmp_path / 'b', default_column_config=quick) as at_once,
    ):
        with batched.batch():
            for start in range(0, 10_000, 100):
                batched.index(docs[start : start + 100])
            assert len(batched) == 10_000
            assert batched.find(vectors[1234], limit=1).documents.id == ['1234']
        at_once.index(docs)
        assert len(batched) == len(at_once) == 10_000
        assert list(batched) == list(at_once)
        asked = rng.choice(10_000, 300, replace=False)
        answers = [index.find_batched(vectors[asked], limit=10) for index in (batched, at_once)]
        assert [docs.id for docs in answers[0].documents] == [docs.id for docs in answers[1].documents]
        assert [docs.id[0] for docs in answers[0].documents] == [str(at) for at in asked]
        for at in asked[:50].tolist():
            assert batched[str(at)].vector.tolist() == vectors[at].tolist()
        report = batched.verify()
        assert report.is_sound, str(report)
        assert report.vectors == 10_000
        graph = batched._store.state.graphs.get('vector')
        assert graph is not None
        assert graph.covered == 10_000


def test_a_batch_that_replaces_everything_compacts_by_itself(work_dir: Path) -> None:
    """A batch that leaves most versions dead is followed by a compaction, as a single write is, and all is found."""
    with Words(work_dir) as index:
        index.index([word(str(at), at) for at in range(600)])
        with index.batch():
            for turn in range(1, 4):
                index.index([word(str(at), at + turn * 1000, turn) for at in range(600)])
        assert index._store.state.generation == 1
        assert len(index) == 600
        for at in range(0, 600, 50):
            assert nearest(index, 3000 + at) == str(at)
            assert index[str(at)].count == 3
        assert index.verify().is_sound


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork here')
@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_fork_inside_a_batch(index: HnswDocumentIndex[Word], work_dir: Path) -> None:
    """A child that is forked inside a batch has no part in it; the parent ends it undisturbed."""
    with index.batch():
        expected = write_some(index)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(20)
                with suppress(RuntimeError):
                    index.index(word('child'))
                    os._exit(2)
                with pytest.raises(WorkDirLockedError):
                    Words(work_dir, read_only=True)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert contents(index) == expected
    assert contents(index) == expected
    with Words(work_dir, read_only=True) as reader:
        assert contents(reader) == expected
