"""`verify` on Milvus: what somebody else wrote into the collections is found, named, and mended where that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, DocumentError, Field, NdArray
from docindex.milvus.index import MilvusDocumentIndex


class Line(BaseDoc):
    words: str = ''


class Page(BaseDoc):
    number: int = 0
    look: NdArray = Field(dim=2)
    lines: list[Line] = Field(default_factory=list)


class Book(BaseDoc):
    title: str = Field(default='', full_text=True)
    year: int | None = None
    cover: NdArray | None = Field(default=None, dim=2, space='cosine')
    pages: DocList[Page] = DocList[Page]()


Index = MilvusDocumentIndex[Book]


def book(id_: str) -> Book:
    lines = [Line(id=f'{id_}.0.{at}', words=f'line {at}') for at in range(3)]
    pages = [Page(id=f'{id_}.{at}', number=at, look=[at, 1], lines=lines if at == 0 else []) for at in range(3)]
    return Book(id=id_, title=f'title of {id_}', year=2000, cover=[1, 2], pages=DocList[Page](pages))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[MilvusDocumentIndex[Book]]:
    with Index(uri=tmp_path / 'books.db') as index:
        index.index([book('a'), book('b')])
        yield index


def edit(index: MilvusDocumentIndex[Book], collection: str, id_: str, **fields: Any) -> None:
    """Change fields of rows behind the back of the index."""
    client = index._server._client
    rows = client.query(collection, filter=f'id == "{id_}"', output_fields=['*'])
    assert len(rows) == 1
    names = [name for name in rows[0] if not name.startswith('_bm25__')]
    client.upsert(collection, [{**{name: rows[0][name] for name in names}, **fields}])


def is_as_before(index: MilvusDocumentIndex[Book]) -> bool:
    return [repr(doc) for doc in index.get(['a', 'b'])] == [repr(book('a')), repr(book('b'))]


@pytest.mark.parametrize(
    ('collection', 'id_', 'fields', 'misled'),
    [
        ('Book', 'a', {'year': 1}, lambda index: index.count({'year': 2000})),
        ('Book', 'a', {'title': 'x'}, lambda index: index.count({'title': {'$startswith': 'title'}})),
        ('Book', 'a', {'_words__title': ' x '}, lambda index: len(index.text_search('title').documents)),
        ('Book', 'a', {'_size__pages': 7}, lambda index: index.count({'pages': {'$size': 3}})),
        ('Book__pages', 'a.0', {'_size__lines': 7}, lambda index: index.count({'pages__lines': {'$size': 3}})),
        ('Book__pages__lines', 'a.0.0', {'words': 'x'}, lambda index: index.count({'pages__lines__words': 'line 0'})),
    ],
)
def test_what_misleads_filters_is_mended(
    index: MilvusDocumentIndex[Book],
    collection: str,
    id_: str,
    fields: dict[str, Any],
    misled: Callable[[Any], int],
) -> None:
    """A row that says something else than its document is named, and written anew if that is asked for."""
    edit(index, collection, id_, **fields)
    assert misled(index) == 1
    report = index.verify()
    assert not report.is_sound
    assert report.stale == [id_]
    assert repr(id_) in str(report)
    assert index.verify(repair=True).is_sound
    assert index.verify().is_sound
    assert misled(index) == 2


def test_a_vector_is_stored_once(index: MilvusDocumentIndex[Book]) -> None:
    """A vector that was changed is the document's, as nothing else tells of it; that there is none would be damage."""
    edit(index, 'Book__pages', 'a.1', look=[5.0, 5.0])
    assert index.verify().is_sound
    assert np.array_equal(index['a'].pages[1].look, [5, 5])
    edit(index, 'Book', 'b', _has__cover=False)
    assert list(index.verify().damaged) == ['b']


def test_a_lost_child_is_noticed(index: MilvusDocumentIndex[Book]) -> None:
    """Where a row of a list is gone, the document that had it is named; mended, it has a shorter list."""
    index._server._client.delete('Book__pages', filter='id == "a.1"')
    assert index.verify().stale == ['a']
    assert index.verify(repair=True).is_sound
    assert [page.id for page in index['a'].pages] == ['a.0', 'a.2']
    assert index.filter({'pages': {'$size': 2}}).id == ['a']
    assert index.verify().is_sound


@pytest.mark.parametrize('parent', ['a.7', 'b.0'])
def test_what_is_in_no_list_is_left_over(index: MilvusDocumentIndex[Book], parent: str) -> None:
    """A row whose document is not there, or is another version, is in no list: it is counted, and deleted."""
    edit(index, 'Book__pages__lines', 'a.0.2', _key='1/x', _parent=parent)
    report = index.verify()
    assert (report.left_over, report.is_sound) == (1, False)
    assert index.verify(repair=True).is_sound
    assert index.verify().left_over == 0
    assert is_as_before(index)


def test_what_cannot_be_read_is_named(index: MilvusDocumentIndex[Book]) -> None:
    """A row that no document can be made of is named with the reason, and others can be read."""
    edit(index, 'Book', 'a', _doc=['no document'])
    report = index.verify(repair=True)
    assert not report.is_sound
    assert list(report.damaged) == ['a']
    assert "damaged: 'a': a stored document does not fit Book any more" in str(report)
    with pytest.raises(DocumentError, match='does not fit Book'):
        index['a']
    assert index['b'].title == 'title of b'
    index.index(book('a'))
    assert index.verify().is_sound
    assert is_as_before(index)


def test_verifying_changes_nothing(index: MilvusDocumentIndex[Book]) -> None:
    """A sound index is reported sound, with the number of rows of each collection."""
    report = index.verify()
    assert report.is_sound
    assert report.documents == {'Book': 2, 'Book__pages': 6, 'Book__pages__lines': 6}
    assert is_as_before(index)
