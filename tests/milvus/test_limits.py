"""The limits of a server: named before anything is sent; and batches, which are split to fit into a call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

from docindex import BaseDoc, DocList, DocumentError, Field, NdArray, QueryError, SchemaError
from docindex.milvus import server as server_module
from docindex.milvus.index import MilvusDocumentIndex
from docindex.milvus.limits import batches, size_of
from tests.milvus.servers import GuardedServer, guarded_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedServer]:
    with guarded_server(tmp_path / 'server') as one:
        yield one


def opened(doc_type: type[BaseDoc], server: GuardedServer, **options: Any) -> MilvusDocumentIndex[Any]:
    return MilvusDocumentIndex[doc_type](uri=server.uri, **options)  # type: ignore[valid-type]  # known when it runs


def with_fields(**fields: Any) -> type[BaseDoc]:
    return create_model('Wide', __base__=BaseDoc, **fields)


VECTORS = {f'v{at}': (NdArray, Field(dim=2)) for at in range(4)}
SCHEMAS: dict[str, tuple[type[BaseDoc], str]] = {
    'vector fields': (with_fields(**VECTORS, v4=(NdArray, Field(dim=2))), r'Wide needs 5 vector fields.*takes 4'),
    'full texts are vector fields': (
        with_fields(**VECTORS, text=(str, Field(full_text=True))),
        r'Wide needs 5 vector fields.*_bm25__text',
    ),
    'fields': (with_fields(**{f'f{at}': (str, '') for at in range(60)}), r'Wide needs 67 fields.*has 64 at most'),
    'dimensions': (with_fields(v=(NdArray, Field(dim=32_769))), r'Wide\.v has 32,769 dimensions.*takes 32,768'),
    'the name of a field': (with_fields(**{'f' * 256: (str, '')}), r"Wide: 'f+'\.\.\. is longer than the 255"),
}


@pytest.mark.parametrize('name', SCHEMAS)
def test_schemas(server: GuardedServer, name: str) -> None:
    """A schema that a server would not take is refused with the limit in the message, before a collection is made."""
    doc_type, says = SCHEMAS[name]
    with pytest.raises(SchemaError, match=says):
        opened(doc_type, server)
    assert 'CreateCollection' not in server.calls


def test_more_vector_fields(server: GuardedServer) -> None:
    """A server that takes more vector fields can be used, when one says so."""
    doc_type = SCHEMAS['vector fields'][0]
    with opened(doc_type, server, max_vector_fields=5) as index:
        index.index({'id': 'a', **{f'v{at}': [at, 1] for at in range(5)}})
        assert index.find([4, 1], 'v4', limit=1).scores[0] == 0


class Inner(BaseDoc):
    text: str = ''


class Article(BaseDoc):
    text: str = ''
    body: str = Field(default='', index=False)
    words: str = Field(default='', full_text=True, index=False)
    meta: dict[str, Any] = Field(default_factory=dict)
    vector: NdArray = Field(default=np.zeros(2), dim=2)
    parts: DocList[Inner] = DocList[Inner]()


@pytest.fixture
def index(server: GuardedServer) -> Iterator[MilvusDocumentIndex[Article]]:
    with opened(Article, server) as one:
        one.index(Article(id='there'))
        yield one


DOCUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    'text': ({'text': 'x' * 65_536}, r"'text' has 65,536 bytes.*takes 65,535 in a text.*index=False"),
    'bytes, not characters': ({'text': 'é' * 32_768}, r"'text' has 65,536 bytes"),
    'JSON': ({'meta': {'a': 'x' * 65_530}}, r"'meta' has .* bytes.*takes 65,536 in a list, dict"),
    'an id': ({'id': 'x' * 65_536}, r'id has over 65,535 bytes'),
    'full text': ({'words': 'xy ' * 25_000}, r"'words' has 75,001 bytes of words.*65,535 at most"),
    'in a list': ({'parts': [{'text': 'x' * 65_536}]}, r"'text' has 65,536 bytes"),
    'a call': ({'body': 'x' * (64 << 20)}, r"'bad' has 67,1.. ?.*takes 67,108,864 in one call|more than Milvus takes"),
}


@pytest.mark.parametrize('name', DOCUMENTS)
def test_documents(index: MilvusDocumentIndex[Article], server: GuardedServer, name: str) -> None:
    """A document that a server would not take is refused, named, before anything of its batch is sent."""
    fields, says = DOCUMENTS[name]
    server.calls.clear()
    with pytest.raises(DocumentError, match=says) as caught:
        index.index([Article(id='good'), Article(**{'id': 'bad', **fields})])
    assert 'bad' in str(caught.value) or 'xxx' in str(caught.value)
    assert 'Upsert' not in server.calls
    assert list(index) == ['there']


def test_what_just_fits(index: MilvusDocumentIndex[Article]) -> None:
    """At the limits everything is stored and found."""
    doc = Article(
        id='x' * 65_535, text='é' * 32_767 + 'x', body='y' * 5_000_000, meta={'a': 'z' * 65_000}, words='w ' * 30_000
    )
    index.index(doc)
    assert index[doc.id] == doc
    assert index.filter({'text': doc.text}).id == [doc.id]
    assert index.filter({'meta__a': {'$startswith': 'zz'}}).id == [doc.id]


def test_results(index: MilvusDocumentIndex[Article]) -> None:
    """A search for more than a server returns is refused, and says what has more."""
    index.update('there', words='a word')
    with pytest.raises(QueryError, match=r'16,385.*16,384 results; export'):
        index.find([1, 2], limit=16_385)
    with pytest.raises(QueryError, match=r'16,385.*16,384 results; export'):
        index.text_search('word', limit=16_385)
    assert len(index.find([1, 2], limit=16_384).documents) == 1
    assert len(index.text_search('word', limit=16_384).documents) == 1


def test_batches_fit(index: MilvusDocumentIndex[Article], monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of any size is sent in calls that each fit, and all of it arrives."""
    sent: list[int] = []
    upsert = server_module.Server.upsert

    def watched(self: Any, collection: str, rows: Any) -> None:
        sent.append(sum(map(size_of, rows)))
        upsert(self, collection, rows)

    monkeypatch.setattr(server_module.Server, 'upsert', watched)
    index.index([Article(id=f'{at}', body='x' * 3_000_000) for at in range(30)])
    assert len(sent) > 4
    assert max(sent) <= 16 << 20
    assert len(index) == 31


def test_large_documents_are_read(tmp_path: Path) -> None:
    """Documents that do not fit into one answer of a server come in several."""
    with guarded_server(tmp_path, sends=2 << 20) as server, opened(Article, server) as index:
        index.index([Article(id=f'{at}', body='x' * 200_000, words='word', vector=[at, 1]) for at in range(25)])
        ids = [f'{at}' for at in range(25)]
        assert index.get(ids).id == ids
        assert index.filter({'id': {'$in': ids}}, limit=None).id == ids
        for among in (None, {'body': {'$startswith': 'x'}}):
            assert len(index.find([0, 1], limit=25, filter=among).documents) == 25
            for words, mode in [('word', 'any'), ('wo', 'prefix')]:
                assert len(index.text_search(words, limit=25, mode=mode, filter=among).documents) == 25
        assert index.verify().is_sound


def test_long_ids(index: MilvusDocumentIndex[Article]) -> None:
    """Ids that do not fit into one expression are asked for, and deleted, in several."""
    docs = [Article(id=f'{at}' + 'y' * 60_000) for at in range(12)]
    index.index(docs)
    assert index.get([doc.id for doc in docs]).id == [doc.id for doc in docs]
    assert index.delete([doc.id for doc in docs]) == 12
    assert list(index) == ['there']


def test_splitting() -> None:
    """Rows are split by size and number, none is left out, and one that is too large alone is named."""
    rows = [{'id': str(at), 'text': 'x' * 1_000_000} for at in range(100)] + [{'id': 'a'}] * 10_000
    parts = list(batches(rows))
    assert [row for part in parts for row in part] == rows
    assert max(len(part) for part in parts) <= 4_096
    assert max(sum(map(size_of, part)) for part in parts) <= 16 << 20
    assert list(batches([])) == []
    with pytest.raises(DocumentError, match='the large one has'):
        list(batches([{'text': 'x' * (65 << 20)}], lambda row: 'the large one'))
