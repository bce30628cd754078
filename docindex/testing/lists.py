"""
The promises about documents in lists as tests, for any backend.

    class TestMyLists(SubindexContract):
        @pytest.fixture
        def open_index(self): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ..doclist import DocList
from ..document import BaseDoc
from ..errors import DocumentError, QueryError
from ..fields import Field
from ..index import DocumentIndex
from ..results import FindResult
from ..tensors import NdArray
from .contract import Contract, OpenIndex
from .exact import ExactIndex, same

_RANDOM = np.random.default_rng(20)


class Line(BaseDoc):
    """What stands on a page."""

    words: str
    gist: NdArray | None = Field(None, dim=3)


class Page(BaseDoc):
    """A page of a book."""

    number: int
    look: NdArray = Field(dim=4)
    lines: list[Line] = Field(default_factory=list)


class Book(BaseDoc):
    """A book."""

    title: str
    year: int = 2000
    cover: NdArray = Field(dim=4)
    pages: DocList[Page] = DocList[Page]()


def books(count: int = 6) -> list[Book]:
    """Return books with pages, with lines; every third line has no vector."""
    return [
        Book(
            id=f'book {book}',
            title=f'Title {book}',
            year=1990 + book,
            cover=_RANDOM.standard_normal(4).astype(np.float32),
            pages=DocList[Page](
                Page(
                    id=f'{book}.{page}',
                    number=page,
                    look=_RANDOM.standard_normal(4).astype(np.float32),
                    lines=[
                        Line(
                            id=f'{book}.{page}.{line}',
                            words=f'line {line}',
                            gist=None if line == 2 else _RANDOM.standard_normal(3).astype(np.float32),
                        )
                        for line in range(3)
                    ],
                )
                for page in range(4)
            ),
        )
        for book in range(count)
    ]


class SubindexContract(Contract):
    """What every backend does with documents in lists."""

    @pytest.fixture
    def index(self, open_index: OpenIndex) -> Iterator[DocumentIndex[Book]]:
        """Give an index of books."""
        with open_index(Book) as index:
            index.index(self.books)
            yield index

    @pytest.fixture(autouse=True)
    def given(self) -> None:
        """Make the books."""
        self.books = books()

    def _inside(self, name: str) -> dict[str, tuple[Book, Any]]:
        """Return all documents in a list, each with the book that it is in, by id."""
        pages = [(book, page) for book in self.books for page in book.pages]
        found = pages if name == 'pages' else [(book, line) for book, page in pages for line in page.lines]
        return {doc.id: (book, doc) for book, doc in found}

    def test_a_document_comes_back_whole(self, index: DocumentIndex[Book]) -> None:
        """A document has its lists, and these theirs, in order."""
        assert all(same(index[book.id], book) for book in self.books)
        assert len(index) == len(self.books)

    @pytest.mark.parametrize(('name', 'field', 'dim'), [('pages', 'look', 4), ('pages__lines', 'gist', 3)])
    def test_documents_in_lists_are_found(self, index: DocumentIndex[Book], name: str, field: str, dim: int) -> None:
        """The nearest in lists come with the documents that they are in, whichever way they are asked for."""
        inside = self._inside(name)
        oracle: ExactIndex[Any] = ExactIndex({field: 'l2'})
        oracle.index([doc for _, doc in inside.values()])
        query = np.ones(dim, np.float32)
        found = index.find_subindex(query, name, field, limit=7, exact=True)
        oracle.check(FindResult(found.documents, found.scores), query, field, 7)
        assert [root.id for root in found.root_documents] == [inside[doc.id][0].id for doc in found.documents]
        assert all(
            same(root, inside[doc.id][0]) for root, doc in zip(found.root_documents, found.documents, strict=True)
        )
        for again in (
            index.find(query, f'{name}__{field}', 7, exact=True),
            index.subindex(name).find(query, field, 7, exact=True),
        ):
            assert again.documents.id == found.documents.id
            assert again.scores.tolist() == found.scores.tolist()

    def test_groups_by_root(self, index: DocumentIndex[Book]) -> None:
        """The outermost documents come in the order of the best in each, each once."""
        query = np.ones(4, np.float32)
        every = index.find_subindex(query, 'pages', 'look', limit=100, exact=True)
        order = list(dict.fromkeys(every.root_documents.id))
        grouped = index.find(query, 'pages__look', len(self.books), exact=True, group_by_root=True)
        assert grouped.documents.id == order
        assert grouped.scores[0] == every.scores[0]

    def test_filters_reach_into_lists(self, index: DocumentIndex[Book]) -> None:
        """Documents are found by what is in their lists; of several conditions `$elemMatch` asks the same one."""
        changed = self.books[2].model_copy(deep=True)
        changed.pages[1].lines[0].words = 'rare'
        index.index(changed)
        assert index.filter({'pages__lines__words': 'rare'}).id == ['book 2']
        assert index.filter({'pages': {'$elemMatch': {'number': 1, 'lines__words': 'rare'}}}).id == ['book 2']
        assert index.count({'pages': {'$elemMatch': {'number': 2, 'lines__words': 'rare'}}}) == 0
        assert index.count({'pages': {'$size': 4}}) == len(self.books)

    def test_a_choice_of_no_vectors(self, index: DocumentIndex[Book]) -> None:
        """`$in` of nothing is never true of a vector, `$in` of None if it is missing, in lists as outside."""
        assert index.count({'pages__lines__gist': {'$in': []}}) == 0
        assert index.count({'pages__lines__gist': {'$nin': []}}) == len(self.books)
        assert index.filter_subindex({'gist': {'$in': [None]}}, 'pages__lines', limit=None).id == [
            line.id for book in self.books for page in book.pages for line in page.lines if line.gist is None
        ]
        assert index.count({'pages__7': {'$in': [None]}}) == len(self.books)
        assert index.count({'pages__3': {'$in': [None]}}) == index.count({'pages': {'$in': [None]}}) == 0

    def test_filters_reach_out_of_lists(self, index: DocumentIndex[Book]) -> None:
        """Among documents in lists a filter is about them and what they are in, and so is `root_filter`."""
        query = np.ones(4, np.float32)
        one = index.find(query, 'pages__look', 5, filter={'pages__number': {'$lt': 2}, 'year': 1991})
        other = index.find_subindex(
            query, 'pages', 'look', 5, filter={'number': {'$lt': 2}}, root_filter={'year': 1991}
        )
        assert sorted(one.documents.id) == sorted(other.documents.id) == ['1.0', '1.1']
        pages = index.filter_subindex({'number': 3}, 'pages', limit=None, root_filter={'year': {'$gte': 1994}})
        assert sorted(pages.id) == ['4.3', '5.3']

    def test_what_is_stored_again_replaces_its_lists(self, index: DocumentIndex[Book]) -> None:
        """A document that is stored again has the lists that it then has, and no others are found."""
        fewer = self.books[0].model_copy(deep=True)
        fewer.pages = DocList[Page](fewer.pages[1:2])
        index.index(fewer)
        assert same(index['book 0'], fewer)
        assert [id_ for id_ in index.subindex('pages') if id_.startswith('0.')] == ['0.1']
        assert not index.subindex_contains('0.2.1')
        assert index.subindex_contains('0.1.1')

    def test_a_document_takes_its_lists_with_it(self, index: DocumentIndex[Book]) -> None:
        """What is in the lists of a deleted document is deleted."""
        index.delete('book 3')
        assert len(index.subindex('pages')) == 4 * (len(self.books) - 1)
        assert not any(id_.startswith('3.') for id_ in index.subindex('pages__lines'))

    def test_ids_in_lists_are_unique(self, index: DocumentIndex[Book]) -> None:
        """A document in a list cannot have the id of one in another list of the kind; nothing is stored then."""
        thief = Book(id='thief', title='', cover=np.zeros(4, np.float32), pages=DocList[Page](self.books[1].pages[:1]))
        with pytest.raises(DocumentError, match=r"'1\.0'"):
            index.index(thief)
        assert 'thief' not in index
        assert same(index['book 1'], self.books[1])

    def test_an_unknown_list_is_refused(self, index: DocumentIndex[Book]) -> None:
        """A list that is not there is named, with those that are."""
        with pytest.raises(QueryError, match='pages__lines'):
            index.subindex('chapters')
