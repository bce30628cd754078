"""Milvus Lite in this process: one directory and who may have it; handles, threads, forks, and ends without close."""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from milvus_lite.engine import collection
from pymilvus import MilvusClient

from docindex import BaseDoc, ClosedIndexError, Field, NdArray, ServerError
from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import ExactIndex
from tests.programs import run as run_program


class Film(BaseDoc):
    title: str = ''
    plot: NdArray = Field(dim=2, space='l2')


class Other(BaseDoc):
    plot: NdArray = Field(dim=2)


def films(start: int, end: int, title: str = 'first') -> list[Film]:
    return [Film(id=f'{at}', title=title, plot=[at, 1]) for at in range(start, end)]


def opened(directory: Path, **options: object) -> MilvusDocumentIndex[Film]:
    return MilvusDocumentIndex[Film](uri=str(directory / 'films.db'), **options)  # type: ignore[arg-type]


PROGRAM = """
import sys
from docindex import BaseDoc, Field, NdArray
from docindex.milvus.index import MilvusDocumentIndex

class Film(BaseDoc):
    title: str = ''
    plot: NdArray = Field(dim=2, space='l2')

index = MilvusDocumentIndex[Film](uri=sys.argv[1])
"""


def run(directory: Path, rest: str = '') -> subprocess.CompletedProcess[str]:
    """Run a program that opens the index in a directory, and then something more."""
    return run_program(PROGRAM + rest, directory / 'films.db')


def test_a_second_process(tmp_path: Path) -> None:
    """While one process has a directory, another gets a clear error; afterwards it may have it."""
    with opened(tmp_path) as index:
        index.index(films(0, 3))
        refused = run(tmp_path)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith('docindex.errors.ServerError: cannot connect: Open local')
        assert 'another process has it open' in refused.stderr
        assert str(tmp_path / 'films.db') in refused.stderr
        assert len(index) == 3
    assert run(tmp_path, 'assert len(index) == 3').returncode == 0


def test_a_missing_directory(tmp_path: Path) -> None:
    """A directory in one that does not exist is refused, and named."""
    with pytest.raises(ServerError, match='make the directory that it is to be in') as caught:
        opened(tmp_path / 'nothing')
    assert str(tmp_path / 'nothing') in str(caught.value)


def test_a_file_instead(tmp_path: Path) -> None:
    """A file where the directory should be, such as one of Milvus Lite 2, is refused and left as it was."""
    (tmp_path / 'films.db').write_bytes(b'SQLite format 3')
    with pytest.raises(ServerError, match='no directory of Milvus Lite 3'):
        opened(tmp_path)
    assert (tmp_path / 'films.db').read_bytes() == b'SQLite format 3'


def test_handles_share(tmp_path: Path) -> None:
    """Handles on one directory, by whatever name, see each other's writes; closing one leaves the others."""
    first = opened(tmp_path)
    second = opened(tmp_path / '..' / tmp_path.name)
    other = opened(tmp_path, index_name='other')
    first.index(films(0, 3))
    assert (len(second), len(other)) == (3, 0)
    first.close()
    second.index(films(3, 5))
    with pytest.raises(ClosedIndexError, match='was closed'):
        len(first)
    second.close()
    other.index(films(0, 1))
    other.close()
    with opened(tmp_path) as again, opened(tmp_path, index_name='other') as other:
        assert (len(again), len(other)) == (5, 1)


def test_garbage_collection_closes(tmp_path: Path) -> None:
    """A handle that is forgotten without close lets go of the directory, and loses nothing."""
    index = opened(tmp_path)
    index.index(films(0, 3))
    del index
    gc.collect()
    assert run(tmp_path, 'assert len(index) == 3').returncode == 0


@pytest.mark.parametrize('end', ['', 'sys.exit(0)', 'index.close()', 'del index', 'other = index; index = None'])
def test_the_end_of_a_program(tmp_path: Path, end: str) -> None:
    """However a program ends, what it has stored is there, and it says nothing on stderr."""
    ended = run(tmp_path, f'index.index([Film(id=str(at), plot=[at, 1]) for at in range(50)])\n{end}\n')
    assert (ended.returncode, ended.stderr) == (0, '')
    with opened(tmp_path) as index:
        assert len(index) == 50


@pytest.mark.parametrize('end', ['import os; os._exit(3)', 'import os; os.kill(os.getpid(), 9)', 'raise SystemExit(3)'])
def test_a_sudden_end(tmp_path: Path, end: str) -> None:
    """What was acknowledged is there when the process dies in the next moment."""
    assert run(tmp_path, f'index.index([Film(id=str(at), plot=[at, 1]) for at in range(50)])\n{end}').returncode != 0
    with opened(tmp_path) as index:
        assert sorted(index, key=int) == [str(at) for at in range(50)]
        assert index.verify().is_sound


def _in_child(index: MilvusDocumentIndex[Film], answers: multiprocessing.Queue[str]) -> None:
    try:
        answers.put(str(len(index)))
    except ClosedIndexError as error:
        answers.put(str(error))


def test_fork(tmp_path: Path) -> None:
    """A child that was forked cannot use the handle, and is told so; the parent goes on as before."""
    context = multiprocessing.get_context('fork')
    with opened(tmp_path) as index:
        index.index(films(0, 3))
        answers = context.Queue()
        child = context.Process(target=_in_child, args=(index, answers))
        child.start()
        assert 'forked' in answers.get(timeout=60)
        child.join(60)
        assert child.exitcode == 0
        index.index(films(3, 5))
        assert len(index) == 5


def test_the_exit_of_a_child(tmp_path: Path) -> None:
    """A child that was forked and exits as a program does leaves the parent's engine and its log alone."""
    rest = """
import os
index.index([Film(id='a', plot=[1, 1])])
if not os.fork():
    sys.exit()
assert os.wait()[1] == 0
index.index([Film(id='b', plot=[2, 1])])
os._exit(7)  # as if it was killed: what is only in the log has to be there
"""
    ended = run(tmp_path, rest)
    assert ended.returncode == 7
    assert 'Traceback' not in ended.stderr  # gRPC has a word about forks, on some machines
    with opened(tmp_path) as index:
        assert sorted(index) == ['a', 'b']


def test_a_child_opens_the_directory_of_its_parent(tmp_path: Path) -> None:
    """A child that was forked is told that another process has the directory, and takes nothing from its parent."""
    rest = """
import os
index.index([Film(id='a', plot=[1, 1])])
if not os.fork():
    try:
        MilvusDocumentIndex[Film](uri=sys.argv[1]).close()
    except Exception as error:
        os._exit('another process has it open' in str(error))
    os._exit(2)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
index.index([Film(id='b', plot=[2, 1])])
os._exit(7)  # as if it was killed: what is only in the log has to be there
"""
    assert run(tmp_path, rest).returncode == 7
    with opened(tmp_path) as index:
        assert sorted(index) == ['a', 'b']


def test_a_child_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """A child that was forked opens another directory, writes there and reads."""
    rest = """
import os
index.index([Film(id='a', plot=[1, 1])])
if not os.fork():
    with MilvusDocumentIndex[Film](uri=sys.argv[1] + '.child') as own:
        own.index([Film(id='b', plot=[2, 1])])
        assert own.find([2, 1]).documents.id == ['b']
    os._exit(1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
assert sorted(index) == ['a']
"""
    assert run(tmp_path, rest).returncode == 0


def test_threads(tmp_path: Path) -> None:
    """Many threads that write, find, count and delete at once, on two handles, see what they wrote themselves."""
    exact = ExactIndex[Film]({'plot': 'l2'})
    with opened(tmp_path) as one, opened(tmp_path) as other:

        def work(number: int) -> None:
            index = (one, other)[number % 2]
            for start in range(1_000 * number, 1_000 * number + 40, 10):
                index.index(films(start, start + 10))
                assert index.find([start, 1], limit=1).documents[0].id == str(start)
                assert index.delete(str(start + 9)) == 1
                assert str(start + 9) not in index
                assert index.count({'title': 'first'}) > 0

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        for number in range(6):
            for start in range(1_000 * number, 1_000 * number + 40, 10):
                exact.index(films(start, start + 9))
        assert sorted(one) == sorted(exact.docs)
        assert one.verify().is_sound


def test_opening_at_once(tmp_path: Path) -> None:
    """Threads that open one new index at once all get it."""
    barrier = threading.Barrier(4)

    def work(number: int) -> int:
        barrier.wait()
        with opened(tmp_path) as index:
            index.index(films(number, number + 1))
            return len(index)

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(4))) <= 4
    with opened(tmp_path) as index:
        assert len(index) == 4


def test_reads_beside_writing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored is found while Milvus Lite writes out what it has in memory, for a search or within a write."""
    found: list[list[str]] = []
    log = collection.WAL

    def read_meanwhile(*args: Any, **options: Any) -> collection.WAL:  # memory is empty by now, and no file is there
        monkeypatch.setattr(collection, 'WAL', log)
        reader = threading.Thread(target=lambda: found.append(sorted(index)))
        readers.append(reader)
        reader.start()
        reader.join(0.3)
        return log(*args, **options)

    readers: list[threading.Thread] = []
    with opened(tmp_path) as index:
        index.index(films(0, 3))
        monkeypatch.setattr(collection, 'WAL', read_meanwhile)
        index.find([0, 1])
        readers[0].join()
        index.index(films(3, 5))
        monkeypatch.setattr(collection, 'WAL', read_meanwhile)
        monkeypatch.setattr(collection, 'MEMTABLE_MEMORY_LIMIT', 1)
        index.index(films(5, 6))
        readers[1].join()
    assert found == [['0', '1', '2'], ['0', '1', '2', '3', '4', '5']]


def test_an_index_that_exists_is_opened_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that open one index at once, while Milvus Lite reads it slowly, lose nothing that they write."""
    first, barrier, number = collection.Collection.__init__, threading.Barrier(3), itertools.count()

    def slowly(self: collection.Collection, *args: Any, **options: Any) -> None:
        first(self, *args, **options)
        time.sleep(0.1 * next(number))

    def work(number: int) -> None:
        barrier.wait()
        with opened(tmp_path) as index:
            index.index(films(number, number + 1))

    opened(tmp_path).close()
    monkeypatch.setattr(collection.Collection, '__init__', slowly)
    with ThreadPoolExecutor(3) as pool, opened(tmp_path, index_name='other'):
        list(pool.map(work, range(3)))
        with opened(tmp_path) as index:
            assert sorted(index) == ['0', '1', '2']


def test_a_handle_is_collected_while_another_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle that Python collects while the same thread opens another one is closed, and hangs nobody."""
    ask = MilvusClient.get_server_version

    def ask_and_collect(self: MilvusClient, **options: Any) -> str:
        gc.collect()
        return ask(self, **options)

    forgotten: list[Any] = [opened(tmp_path)]
    forgotten[0].index(films(0, 3))
    forgotten.append(forgotten)
    del forgotten
    monkeypatch.setattr(MilvusClient, 'get_server_version', ask_and_collect)
    with opened(tmp_path) as index:
        assert sorted(index) == ['0', '1', '2']
    assert run(tmp_path, 'assert len(index) == 3').returncode == 0


@pytest.mark.parametrize('dies_at', ['create_collection', 'create_index', 'load_collection'])
def test_death_while_it_is_made(tmp_path: Path, dies_at: str) -> None:
    """An index whose making came to no end is made by who opens it next."""
    rest = f"""
import os
from pymilvus import MilvusClient

class Other(BaseDoc):
    plot: NdArray = Field(dim=2)

MilvusClient.{dies_at} = lambda *_, **__: os._exit(3)
MilvusDocumentIndex[Other](uri=sys.argv[1], index_name='films')
"""
    assert run(tmp_path, rest).returncode == 3
    with MilvusDocumentIndex[Other](uri=str(tmp_path / 'films.db'), index_name='films') as index:
        index.index(Other(id='a', plot=[1, 2]))
        assert index.find([1, 2]).documents.id == ['a']


def test_async(tmp_path: Path) -> None:
    """Coroutines find and index at once."""

    async def main() -> None:
        async with opened(tmp_path) as index:
            await asyncio.gather(*(index.aindex(films(10 * at, 10 * at + 10)) for at in range(4)))
            found = await asyncio.gather(*(index.afind([at, 1], limit=1) for at in range(40)))
            assert [one.documents[0].id for one in found] == [str(at) for at in range(40)]

    asyncio.run(main())
