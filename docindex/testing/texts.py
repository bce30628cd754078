"""
The promises about full text as tests, for any backend.

    class TestMyTexts(TextContract):
        @pytest.fixture
        def open_index(self): ...

BM25 leaves numbers open, so what is compared is which documents are found, and an order that all choices give.
`mode='boolean'` and the tokenizers 'porter' and 'trigram' are not among these promises: a backend may refuse them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ..document import BaseDoc
from ..errors import FilterError, QueryError
from ..fields import Field
from ..index import DocumentIndex
from ..query import TextMode
from ..tensors import NdArray
from .contract import Contract, OpenIndex


class Author(BaseDoc):
    """Who wrote a page."""

    name: str = ''
    about: str | None = Field(default=None, full_text=True)


class Page(BaseDoc):
    """A page with three full texts, one of them nested."""

    title: str = Field(default='', full_text=True)
    body: str | None = Field(default=None, full_text=True)
    section: str = ''
    year: int = 0
    author: Author | None = None
    vector: NdArray | None = Field(default=None, dim=2)


class Remark(BaseDoc):
    """A document with one full text and no vector."""

    text: str = Field(default='', full_text=True)


_PAGES = [
    {'id': 'engine', 'title': 'Chess engine', 'body': 'plays chess and more chess', 'section': 'games', 'year': 1},
    {'id': 'club', 'title': 'The club', 'body': 'where people play chess', 'section': 'sport', 'year': 2},
    {'id': 'motor', 'title': 'Engine of my car', 'body': 'no games here', 'section': 'cars', 'year': 3},
    {'id': 'go', 'title': 'Go', 'body': 'a board game', 'author': {'about': 'a chess teacher'}, 'year': 4},
    {'id': 'empty', 'title': '', 'section': 'games', 'year': 5},
    {'id': 'title', 'title': 'Opening theory', 'section': 'games', 'author': {'name': 'chess'}, 'year': 6},
]

# A text, a query, and in which modes the one is found by the other.
_WORDS: list[tuple[str, str, str]] = [
    ('the chess engine', 'ENGINE', 'any all phrase prefix'),
    ('the chess engine', 'engine chess', 'any all prefix'),
    ('the chess engine', 'chess engine', 'any all phrase prefix'),
    ('the chess engine', 'chess motor', 'any'),
    ('the chess engine', 'chess eng', 'any prefix'),
    ('the chess engine', 'gine', ''),
    ('the chess, engine.', '(chess) "engine"', 'any all phrase prefix'),
    ('a café in Zürich', 'CAFE zurich', 'any all prefix'),
    ('a cafe in Zurich', 'café in zürich', 'any all phrase prefix'),
    ('nai\u0308ve', 'naïve', 'any all phrase prefix'),
    ('straße', 'strasse', ''),
    ('release 3.14 of 2020', '3.14', 'any all phrase prefix'),
    ('release 3.14 of 2020', '2020 14', 'any all prefix'),
    ('x86_64', 'x86 64', 'any all phrase prefix'),
    ('日本語 の 本', '日本語', 'any all phrase prefix'),
    ('日本語 の 本', '日', 'prefix'),
    ('Война и мир', 'ВОЙНА', 'any all phrase prefix'),
    ('ΣΊΣΥΦΟΣ', 'σίσυφος', 'any all phrase prefix'),
    ('love 😀 peace', 'love peace', 'any all phrase prefix'),
    ('100% sure', '% sure', 'any all phrase prefix'),
    ('a_b', 'aXb', ''),
    ('and or not near', 'AND OR NOT NEAR(', 'any all phrase prefix'),
    ('it\'s "quoted" \\ here', 's "quoted', 'any all phrase prefix'),
    ("the dog's bowl", 'dog\u2019s', 'any all phrase prefix'),
    *(('garden chess', f'chess{sign}garden', 'any all prefix') for sign in "'-,\u2019\u2013—…·。→\xd7€😀\u200b"),
]
_NO_WORDS = ['', '   ', '"', '%', '!?', '😀', '*', "'); DROP TABLE texts; --"[:3]]
_BAD_SEARCHES: dict[str, dict[str, Any]] = {
    'no string': {'query': 3},
    'an unknown field': {'query': 'a', 'search_field': 'texts'},
    'a field without full text': {'query': 'a', 'search_field': 'section'},
    'a mode that there is not': {'query': 'a', 'mode': 'some'},
    'a weight of zero': {'query': 'a', 'search_field': {'title': 0}},
    'a negative limit': {'query': 'a', 'limit': -1},
}


class TextContract(Contract):
    """What every backend does with full text."""

    @pytest.fixture
    def pages(self, open_index: OpenIndex) -> Iterator[DocumentIndex[Page]]:
        """Give an index of six pages; the last two have no body."""
        with open_index(Page) as index:
            index.index([{**page, 'vector': [page['year'], 0]} for page in _PAGES])
            yield index

    @pytest.mark.parametrize('mode', ['any', 'all', 'phrase', 'prefix'])
    def test_words_are_found_without_case_and_accents(self, open_index: OpenIndex, mode: TextMode) -> None:
        """Words are letters and digits, without case and accents; a mode says which of them have to be there."""
        with open_index(Remark) as index:
            for at, (text, query, modes) in enumerate(_WORDS):
                index.index({'id': str(at), 'text': text})
                found = index.text_search(query, limit=100, mode=mode).documents.id
                assert (str(at) in found) == (mode in modes.split()), (text, query)

    @pytest.mark.parametrize('mode', ['any', 'all', 'phrase', 'prefix'])
    def test_what_has_no_words_finds_nothing(self, pages: DocumentIndex[Page], mode: TextMode) -> None:
        """A query of signs alone has no answer, and is no error."""
        for query in _NO_WORDS:
            assert len(pages.text_search(query, mode=mode).documents) == 0

    def test_the_best_come_first(self, pages: DocumentIndex[Page]) -> None:
        """Scores descend, a larger one is better; a word that is there twice counts more, and a weight too."""
        docs, scores = pages.text_search('chess', 'body')
        assert docs.id == ['engine', 'club']
        assert scores.dtype == np.float32
        assert scores.shape == (2,)
        assert (np.diff(scores) <= 0).all()
        for weights, first in [({'title': 9, 'body': 1}, 'motor'), ({'title': 1, 'body': 9}, 'club')]:
            pages.update('club', title='', body='an engine')
            found = pages.text_search('engine', weights, filter={'id': {'$in': ['motor', 'club']}})
            assert found.documents.id[0] == first

    def test_all_fields_are_searched_if_none_is_named(self, pages: DocumentIndex[Page]) -> None:
        """Several fields are searched together, nested ones too; in mode 'all' a word may be in any of them."""
        assert set(pages.text_search('chess').documents.id) == {'engine', 'club', 'go'}
        assert set(pages.text_search('chess', ['title', 'author__about']).documents.id) == {'engine', 'go'}
        assert pages.text_search('board teacher', mode='all').documents.id == ['go']
        assert len(pages.text_search('game a chess', mode='phrase').documents) == 0

    def test_filters_and_limits(self, pages: DocumentIndex[Page]) -> None:
        """Only what matches a filter is found, and as many of these as there are up to the limit."""
        filters: list[tuple[dict[str, Any], set[str]]] = [
            ({'year': {'$gte': 2}}, {'club', 'go'}),
            ({'section': 'games'}, {'engine'}),
            ({'author__about': {'$contains': 'chess'}}, {'go'}),
            ({'author__about': {'$regex': '^a'}}, {'go'}),
            ({'id': {'$in': []}}, set()),
        ]
        for filter_, expected in filters:
            assert set(pages.text_search('chess', filter=filter_).documents.id) == expected
        assert len(pages.text_search('chess', limit=2).documents) == 2
        assert len(pages.text_search('chess', limit=0).documents) == 0
        with pytest.raises(FilterError):
            pages.text_search('chess', filter={'years': 1})

    def test_texts_follow_their_documents(self, pages: DocumentIndex[Page]) -> None:
        """What is changed is found by its new words, what is deleted by none, and None has no words."""
        pages.update('club', body=None)
        pages.update('empty', title='a draughts board')
        pages.delete('engine')
        pages.index({'id': 'new', 'title': 'Chess again'})
        assert set(pages.text_search('chess').documents.id) == {'go', 'new'}
        assert set(pages.text_search('board').documents.id) == {'go', 'empty'}

    def test_snippets(self, pages: DocumentIndex[Page]) -> None:
        """The part of a text that fits best comes with its words marked, an empty one where nothing fits."""
        assert pages.snippets('chess', ['engine', 'motor', 'empty', 'nobody'], 'body') == [
            'plays **chess** and more **chess**',
            '',
            '',
            '',
        ]
        docs = pages.text_search('play chess', 'body', mode='phrase').documents
        found = pages.snippets('play chess', docs, 'body', mode='phrase', before='<', after='>')
        assert found == ['where people <play chess>']
        assert pages.snippets('CHE', ['club'], 'body', mode='prefix') == ['where people play **chess**']
        assert pages.snippets('chess', ['club'], 'body', words=2) == ['…play **chess**']
        with pytest.raises(QueryError):
            pages.snippets('chess', ['club'])  # of which field?

    def test_hybrid_joins_words_and_vectors(self, pages: DocumentIndex[Page]) -> None:
        """What fits by words and what is near are found together, and what is both comes first."""
        found = pages.hybrid('chess', [2, 0], text_field='body', limit=3)
        assert set(found.documents.id[:2]) == {'engine', 'club'}
        assert (np.diff(found.scores) <= 0).all()
        only = pages.hybrid('chess', [2, 0], text_field='body', filter={'year': {'$gt': 2}})
        assert 'go' in only.documents.id
        assert not {'engine', 'club'} & set(only.documents.id)

    def test_words_are_a_step_of_a_query(self, pages: DocumentIndex[Page]) -> None:
        """Filters, limits, groups, variety, sorting and selection combine with a search for words."""
        query = pages.build_query
        found = pages.execute_query(query().text_search('chess').filter({'year': {'$gt': 1}}).limit(1).build())
        assert found.documents.id[0] in ('club', 'go')
        selected = pages.execute_query(query().text_search('chess', 'body').select('title').build()).documents
        assert [doc.title for doc in selected] == ['Chess engine', 'The club']
        assert not hasattr(selected[0], 'body')
        assert pages.count(query().text_search('chess').build()) == 3
        grouped = pages.execute_query(query().text_search('chess engine').group_by('section').build()).documents
        assert len({doc.section for doc in grouped}) == len(grouped)
        varied = query().text_search('chess').diversify(2, 'vector', query=[1, 0]).build()
        assert len(pages.execute_query(varied).documents) == 2
        both = query().find([1, 0], 'vector').text_search('chess', 'body').fuse('rrf').build()
        assert set(pages.execute_query(both).documents.id[:2]) == {'engine', 'club'}

    @pytest.mark.parametrize('bad', list(_BAD_SEARCHES.values()), ids=list(_BAD_SEARCHES))
    def test_a_bad_search_is_refused(self, pages: DocumentIndex[Page], bad: dict[str, Any]) -> None:
        """A search that makes no sense raises `QueryError`."""
        with pytest.raises(QueryError):
            pages.text_search(**bad)
