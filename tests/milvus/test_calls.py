"""How often a call of ours asks a server: what goes to another machine and back is what takes the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, MilvusDocumentIndex, NdArray
from docindex.milvus.limits import MOST_RESULTS, readable_rows
from docindex.milvus.server import Server

ASKED = ('upsert', 'delete', 'count', 'query', 'search')


class Part(BaseDoc):
    text: str


class Paper(BaseDoc):
    title: str = Field(full_text=True)
    pages: int
    embedding: NdArray = Field(dim=4)
    parts: DocList[Part] = DocList[Part]()


class Page(BaseDoc):
    text: str = Field(full_text=True)
    number: int
    embedding: NdArray = Field(dim=4)


VECTORS = np.random.default_rng(0).standard_normal((1_200, 4)).astype(np.float32)


def pages(count: int) -> list[Page]:
    return [Page(id=str(n), text=f'page {n}', number=n, embedding=VECTORS[n]) for n in range(count)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[MilvusDocumentIndex[Page]]:
    with MilvusDocumentIndex[Page](uri=tmp_path / 'index.db') as index:
        yield index


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The calls to servers from now on."""
    found: Counter[str] = Counter()
    for name in ASKED:
        monkeypatch.setattr(Server, name, _counting(name, getattr(Server, name), found))
    return found


def _counting(name, original, found):
    def call(*args, **kwargs):
        found[name] += 1
        return original(*args, **kwargs)

    return call


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The collections that Milvus is told to write out."""
    from pymilvus import MilvusClient

    found: list[str] = []
    original = MilvusClient.flush

    def flush(self, collection_name, *args, **kwargs):
        found.append(collection_name)
        return original(self, collection_name, *args, **kwargs)

    monkeypatch.setattr(MilvusClient, 'flush', flush)
    return found


def test_a_search_asks_once(index: MilvusDocumentIndex[Page], calls: Counter[str]) -> None:
    """A search for vectors or words brings the documents with it; one for both asks for each."""
    index.index(pages(300))
    calls.clear()
    assert index.find(VECTORS[7]).documents[0].text == 'page 7'
    assert index.find_batched(VECTORS[:3], limit=2).documents[2][0].text == 'page 2'
    assert calls == {'search': 2}
    calls.clear()
    assert index.text_search('page 7', filter={'number': {'$lt': 20}}).documents[0].text == 'page 7'
    assert calls == {'search': 1}
    calls.clear()
    assert index.hybrid('page 7', VECTORS[7]).documents[0].text == 'page 7'
    assert calls == {'search': 2}


def test_what_is_filtered_is_asked_for_at_once(index: MilvusDocumentIndex[Page], calls: Counter[str]) -> None:
    """The places of up to 16,383 documents that match come in one answer, and the documents in a second."""
    index.index(pages(1_200))
    calls.clear()
    assert index.filter({'number': {'$gte': 5}}, limit=3).id == ['5', '6', '7']
    assert calls == {'query': 2}
    assert readable_rows(200) == MOST_RESULTS
    assert readable_rows(2_000) == 1_000


def test_documents_with_lists_are_of_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document whose lists change after a search has found it comes with its new fields and its new lists."""

    def paper(title: str) -> Paper:
        return Paper(id='1', title=title, pages=1, embedding=VECTORS[1], parts=[Part(id='1a', text=title)])

    with MilvusDocumentIndex[Paper](uri=tmp_path / 'index.db') as index:
        index.index(paper('old'))
        (unchanged,) = index.find(VECTORS[1]).documents
        assert (unchanged.title, unchanged.parts.text) == ('old', ['old'])
        original = Server.search

        def search(self, *args, **kwargs):
            found = original(self, *args, **kwargs)
            index.index(paper('new'))
            return found

        monkeypatch.setattr(Server, 'search', search)
        (changed,) = index.find(VECTORS[1]).documents
        assert (changed.title, changed.parts.text) == ('new', ['new'])


def test_milvus_lite_writes_out_what_is_searched(index: MilvusDocumentIndex[Page], flushed: list[str]) -> None:
    """More than 1,000 new rows are written out before the next search, once; fewer stay in memory."""
    assert len(index) == 0
    flushed.clear()
    index.index(pages(500))
    index.find(VECTORS[7])
    assert flushed == []
    index.index(pages(1_200))
    assert flushed == []
    index.find(VECTORS[7])
    index.find(VECTORS[7])
    assert flushed == ['Page']


def test_no_write_is_lost_while_milvus_lite_writes_out(index: MilvusDocumentIndex[Page]) -> None:
    """Threads that write and search, so that much is written out meanwhile, lose nothing of what they have stored."""
    index.index(pages(1_200))

    def work(number: int) -> None:
        for part in range(6):
            start = 10_000 * (number + 1) + 300 * part
            index.index([Page(id=str(n), text='', number=n, embedding=VECTORS[0]) for n in range(start, start + 300)])
            index.find(VECTORS[1], limit=1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(index) == 1_200 + 4 * 6 * 300
    assert len(list(index)) == len(index)
