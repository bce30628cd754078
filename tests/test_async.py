"""The calls that an event loop need not wait for."""

from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, DocumentIndex, DocumentNotFoundError, Field, HnswDocumentIndex, NdArray


class Word(BaseDoc):
    count: int = 0
    vector: NdArray = Field(dim=4)


def words(count: int) -> list[Word]:
    vectors = np.random.default_rng(0).normal(size=(count, 4))
    return [Word(id=str(at), count=at, vector=vector) for at, vector in enumerate(vectors)]


def test_each_twin_does_what_its_call_does(tmp_path: Path) -> None:
    """Stored, found, changed and deleted through the twins, an index is as through the calls themselves."""

    async def use() -> None:
        async with HnswDocumentIndex[Word](work_dir=tmp_path / 'a') as index:
            await index.aindex(words(40))
            rest = words(50)[40:]
            await index.aindex_columns(
                id=[word.id for word in rest],
                count=[word.count for word in rest],
                vector=[word.vector for word in rest],
            )
            await index.aupdate('3', count=33)
            await index.aupdate([Word(id='4', count=44, vector=np.ones(4))])
            assert await index.adelete(['5', 'unknown']) == 1
            assert await index.anum_docs() == 49
            assert [doc.count for doc in await index.aget(['3', '4'])] == [33, 44]
            assert await index.aget('5') is None
            query = words(50)[7].vector
            for exact in (True, False):
                docs, scores = await index.afind(query, 'vector', limit=3, exact=exact)
                expected = index.find(query, 'vector', limit=3, exact=exact)
                assert docs.id == expected.documents.id
                np.testing.assert_array_equal(scores, expected.scores)
            batched = await index.afind_batched(np.stack([query, -query]), limit=2, ef=50)
            assert [docs.id for docs in batched.documents] == [
                index.find(q, limit=2).documents.id for q in (query, -query)
            ]
            await index.aconfigure(ef=77)
            assert index.settings()['ef'] == 77
            await index.asave_graphs()
            await index.aunload()
            assert await index.awarm_up() > 0
            await index.acompact()
            assert (await index.averify()).is_sound
            await index.abackup(tmp_path / 'copy')
        with HnswDocumentIndex[Word](work_dir=tmp_path / 'copy') as copy:
            assert len(copy) == 49

    asyncio.run(use())


SILENT = {'averify', 'acompact', 'aconfigure', 'asave_graphs', 'abackup', 'atune', 'arecall', 'awarm_up'}
"""Twins that show no progress."""


def test_every_call_that_can_take_long_has_a_twin() -> None:
    """Each public call of an index has a twin with the same parameters, but for those that take no time."""
    quick = {'batch', 'subindex', 'summary', 'stats', 'work_dir', 'index_name', 'build_query'}
    calls = {name for name in dir(HnswDocumentIndex) if not name.startswith('_') and name.islower()} - quick
    twins = {name for name in calls if name[0] == 'a' and name[1:] in calls}
    assert {f'a{name}' for name in calls - twins} == twins
    for name in twins - SILENT:
        call, twin = getattr(HnswDocumentIndex, name[1:]), getattr(HnswDocumentIndex, name)
        assert list(inspect.signature(call).parameters) == list(inspect.signature(twin).parameters), name


def test_an_error_comes_through(tmp_path: Path) -> None:
    """What a call raises, its twin raises."""

    async def use() -> None:
        async with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
            with pytest.raises(DocumentNotFoundError):
                await index.aupdate('nobody', count=1)
            with pytest.raises(ValueError, match='limit'):
                await index.afind(np.ones(4), limit=-1)

    asyncio.run(use())


def test_the_loop_goes_on(tmp_path: Path) -> None:
    """While a write waits for another thread's, the event loop turns, and searches are answered."""

    async def use(index: HnswDocumentIndex[Word]) -> None:
        holding, done = threading.Event(), threading.Event()

        def hold() -> None:
            with index.batch():
                holding.set()
                done.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        holding.wait()
        # More than asyncio's pool has threads.
        writes = [asyncio.create_task(index.aindex(Word(id=f'new{at}', vector=np.ones(4)))) for at in range(40)]
        try:
            for _ in range(20):
                assert len((await asyncio.wait_for(index.afind(np.ones(4), limit=5), 30)).documents) == 5
            assert not any(write.done() for write in writes)
        finally:
            done.set()
            holder.join()
        await asyncio.gather(*writes)
        assert await index.anum_docs() == 50

    with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
        index.index(words(10))
        asyncio.run(use(index))


def test_every_backend_has_twins() -> None:
    """The twins of what every backend promises are given with the promise."""
    promised = {name for name in DocumentIndex.__abstractmethods__ if not name.startswith('_')} - {'subindex'}
    assert {f'a{name}' for name in promised} <= set(dir(DocumentIndex))
