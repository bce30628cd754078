"""A server that is killed, and comes back: nothing that it acknowledged is lost, and a repeated batch adds nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from docindex import BaseDoc, BatchError, DocList, Field, NdArray, ServerError
from docindex.milvus import limits
from docindex.milvus import server as server_module
from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import ExactIndex
from tests.milvus.servers import LiteServer, lite_server


class Scene(BaseDoc):
    words: str


class Film(BaseDoc):
    title: str
    plot: NdArray = Field(dim=2, space='l2')
    scenes: DocList[Scene]


def films(start: int, end: int, title: str = 'first') -> list[Film]:
    return [
        Film(id=f'{at}', title=title, plot=[at, 1], scenes=[Scene(id=f'{at}/{title}', words=title)])
        for at in range(start, end)
    ]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    with lite_server(tmp_path_factory.mktemp('dies') / 'data') as one:
        yield one


def opened(server: LiteServer, name: str, timeout: float = 60) -> MilvusDocumentIndex[Film]:
    return MilvusDocumentIndex[Film](uri=server.uri, index_name=name, timeout=timeout)


def before_call(patch: pytest.MonkeyPatch, number: int, collection: str, do: Callable[[], object]) -> None:
    """Do something right before rows are sent to a collection for the so manieth time, which is counted from 0."""
    upsert, calls = server_module.Server.upsert, iter(range(1_000))

    def watched(self: Any, to: str, rows: Any) -> None:
        if to == collection and next(calls) == number:
            do()
        upsert(self, to, rows)

    patch.setattr(server_module.Server, 'upsert', watched)


def test_between_calls(server: LiteServer) -> None:
    """The same handle goes on after a restart: what was acknowledged is there, reads and writes go as before."""
    exact = ExactIndex[Film]({'plot': 'l2'})
    with opened(server, 'between') as index:
        index.index(films(0, 20))
        exact.index(films(0, 20))
        server.kill()
        server.start()
        exact.check_all(index)
        server.kill()
        server.start_soon()  # the next call comes while nobody listens
        index.index(films(10, 30, 'second'))
        exact.index(films(10, 30, 'second'))
        exact.check_all(index)
        assert index.verify().is_sound
    server.wait()


@pytest.mark.parametrize('collection', ['batch', 'batch__scenes'])
def test_within_a_batch(server: LiteServer, monkeypatch: pytest.MonkeyPatch, collection: str) -> None:
    """
    A server that dies in a batch and stays away fails it: `stored` is what it acknowledged, and all of that is there.

    No document is half there, whichever it was about to be. The same batch again stores all, and nothing twice.
    """
    monkeypatch.setattr(limits, '_BATCH_ROWS', 10)
    old, new = films(0, 40), films(0, 40, 'second')
    with opened(server, 'batch') as index:
        index.delete(list(index))
        index.index(old)
    with opened(server, 'batch', timeout=0.5) as index:
        with monkeypatch.context() as patch:
            before_call(patch, 2, collection, server.kill)
            with pytest.raises(BatchError) as caught:
                index.index(new)
        stored = caught.value.stored
        assert stored == ([film.id for film in new[:20]] if collection == 'batch' else [])
        assert f'{len(stored)} of 40 documents are stored' in str(caught.value)
        assert server.uri in str(caught.value)
    server.start()
    with opened(server, 'batch') as index:
        exact = ExactIndex[Film]({'plot': 'l2'})
        exact.index([*new[: len(stored)], *old[len(stored) :]])
        exact.check_all(index)
        index.index(new)
        exact.index(new)
        exact.check_all(index)
        index.verify(repair=True)
        assert (len(index), index.subindex('scenes').count()) == (40, 40)
        assert index.verify().is_sound


def test_within_the_timeout(server: LiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies in a batch and is back within the timeout delays the batch, and nothing else."""
    monkeypatch.setattr(limits, '_BATCH_ROWS', 10)

    def restart() -> None:
        server.kill()
        threading.Timer(0.2, server.start_soon).start()

    with opened(server, 'delayed') as index:
        with monkeypatch.context() as patch:
            before_call(patch, 1, 'delayed', restart)
            index.index(films(0, 30))
        exact = ExactIndex[Film]({'plot': 'l2'})
        exact.index(films(0, 30))
        exact.check_all(index)


def test_while_reading(server: LiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All documents are read, once each, though the server starts anew in the middle; without it, an error says so."""
    monkeypatch.setattr(limits, '_READ_BYTES', 5 * 200)
    with opened(server, 'reading') as index:
        index.index(films(0, 40))
        batches = index._tree.each('', '', ['id'])
        found = next(batches)
        server.kill()
        server.start()
        found += [row for rows in batches for row in rows]
        assert sorted(row['id'] for row in found) == sorted(film.id for film in films(0, 40))
    with opened(server, 'reading', timeout=0.5) as index:
        batches = index._tree.each('', '', ['id'])
        next(batches)
        server.kill()
        with pytest.raises(ServerError, match='is the server running'):
            next(batches)
    server.start()


def test_killed_while_many_write(server: LiteServer) -> None:
    """Threads that write while the server is killed and started lose nothing of what was acknowledged to them."""
    acknowledged: dict[int, list[str]] = {}

    def write(number: int) -> None:
        acknowledged[number] = []
        for start in range(1_000 * number, 1_000 * number + 60, 5):
            index.index(films(start, start + 5))
            acknowledged[number] += [film.id for film in films(start, start + 5)]

    with opened(server, 'many') as index:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        server.kill()
        server.start()
        for thread in threads:
            thread.join()
        wanted = [id_ for ids in acknowledged.values() for id_ in ids]
        assert len(wanted) == 240
        assert sorted(index) == sorted(wanted)
        assert index.verify().is_sound
