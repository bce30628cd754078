"""Filters that reach into lists of documents, and out of them, held against their meaning in plain Python."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docindex import FilterError, HnswDocumentIndex, elem_match, fields_of
from docindex.parsing import parse
from docindex.schema import Schema
from tests.library import KINDS, LEVELS, Book, Chunk, filters, found_in, means, some_books


class Library(NamedTuple):
    """An index, and what is in it."""

    index: HnswDocumentIndex[Book]
    books: list[Book]


def with_gaps(index: HnswDocumentIndex[Book]) -> None:
    """Delete some documents from lists and add some, so that positions have gaps and labels are in disorder."""
    chunks = list(index.subindex('chunks'))
    index.subindex('chunks').delete(chunks[::4])
    index.subindex('chunks').append('book 3', [Chunk(id='appended', page=1, mark='a', embedding=[0.5, 0.5])])
    index.subindex('chunks__sentences').delete(list(index.subindex('chunks__sentences'))[::3])
    index.update('book 5', title='ab')
    index.index(index['book 2'])


@pytest.fixture(scope='module')
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Library]]:
    made: list[Library] = []
    for seed in range(3):
        index = HnswDocumentIndex[Book](work_dir=tmp_path_factory.mktemp('library'), durability='process')
        index.index(some_books(seed))
        if seed:
            with_gaps(index)
        made.append(Library(index, list(index.get(list(index)))))
    yield made
    for library in made:
        library.index.close()


@given(query=filters('book'))
@settings(max_examples=80)
def test_filters_of_books(libraries: list[Library], query: dict[str, Any]) -> None:
    """A filter finds the books that `Filter.matches` says it does, which are those that its words say."""
    filter_ = parse(Schema(Book), query)
    for index, books in libraries:
        expected = [book.id for book in books if filter_.matches(book)]
        assert expected == [book.id for book in books if means(query, 'book', book)]
        assert sorted(index.filter(query, None).id) == sorted(expected)
        assert index.count(query) == len(expected)


@given(query=filters('book'))
@settings(max_examples=40)
def test_filters_once_more_as_a_dictionary(query: dict[str, Any]) -> None:
    """A filter that has been written as a dictionary is the same when it is read again."""
    schema = Schema(Book)
    assert parse(schema, parse(schema, query).to_dict()) == parse(schema, parse(schema, query))
    assert all(
        parse(schema, query).matches(book) == parse(schema, parse(schema, query).to_dict()).matches(book)
        for book in some_books(0)
    )


@given(query=filters('book'), level=LEVELS, is_exact=st.booleans())
@settings(max_examples=80)
def test_filters_of_books_where_documents_in_lists_are_found(
    libraries: list[Library], query: dict[str, Any], level: str, is_exact: bool
) -> None:
    """What a filter says of the list whose documents are found, and of those on the way, it says of what is found."""
    for index, books in libraries:
        expected = [doc.id for book, doc, way in found_in(books, level) if means(query, 'book', book, way)]
        found = index.find([0.5, 0.5], f'{level}__embedding', 1000, filter=query, exact=is_exact)
        assert sorted(found.documents.id) == sorted(expected)


@given(data=st.data(), level=LEVELS)
@settings(max_examples=40)
def test_filters_of_subindexes(libraries: list[Library], data: st.DataObject, level: str) -> None:
    """A subindex takes filters of its documents, by their own names, wherever it is asked."""
    query = data.draw(filters(KINDS[level]))
    for index, books in libraries:
        expected = sorted(doc.id for _, doc, _ in found_in(books, level) if means(query, KINDS[level], doc))
        subindex = index.subindex(level)
        assert sorted(subindex.filter(query, None).id) == expected
        assert subindex.count(query) == len(expected)
        assert sorted(index.filter_subindex(query, level, None).id) == expected
        assert sorted(subindex.find([0.5, 0.5], 'embedding', 1000, filter=query).documents.id) == expected


@given(query=filters('chunk'))
@settings(max_examples=40)
def test_filters_of_chunks_where_their_sentences_are_found(libraries: list[Library], query: dict[str, Any]) -> None:
    """A subindex finds documents in the lists of its own, with filters by the names of its own."""
    for index, books in libraries:
        expected = [
            doc.id
            for _, doc, way in found_in(books, 'chunks__sentences')
            if means(query, 'chunk', way['chunks'][0], way, 'chunks')
        ]
        found = index.subindex('chunks').find([0.5, 0.5], 'sentences__embedding', 1000, filter=query)
        assert sorted(found.documents.id) == sorted(expected)


@given(data=st.data(), root_query=filters('book'), level=st.sampled_from(['chunks', 'cover__stickers']))
@settings(max_examples=40)
def test_root_filters(libraries: list[Library], data: st.DataObject, root_query: dict[str, Any], level: str) -> None:
    """A root filter lets those documents pass that are in a book that matches, as `filter` finds books."""
    query = data.draw(filters(KINDS[level]) | st.just({}))
    for index, books in libraries:
        expected = sorted(
            (doc.id, book.id)
            for book, doc, _ in found_in(books, level)
            if means(query, KINDS[level], doc) and means(root_query, 'book', book)
        )
        found = index.find_subindex([0.5, 0.5], level, 'embedding', 1000, filter=query, root_filter=root_query)
        assert sorted(zip(found.documents.id, found.root_documents.id, strict=True)) == expected
        filtered = index.filter_subindex(query, level, None, root_filter=root_query)
        assert sorted(filtered.id) == [id_ for id_, _ in expected]


def test_comparisons_by_attributes(libraries: list[Library]) -> None:
    """`F.chunks.page == 1` and `elem_match(F.chunks, ...)` say what the dictionaries say."""
    books, chunks = fields_of(Book), fields_of(Chunk)
    for index, _ in libraries:
        for written, query in [
            (books.chunks.page == 1, {'chunks__page': 1}),
            (
                elem_match(books.chunks, (chunks.page == 1) & (chunks.mark == 'a')),
                {'chunks': {'$elemMatch': {'page': 1, 'mark': 'a'}}},
            ),
        ]:
            assert index.filter(written, None).id == index.filter(query, None).id != []


@pytest.mark.parametrize(
    ('query', 'message'),
    [
        ({'chunks__pages': 1}, "Chunk has no field 'pages'; did you mean 'page'"),
        ({'chunks': 1}, 'this is a list of documents; ask for a field of theirs'),
        ({'chunks': [1]}, 'this is a list of documents'),
        ({'title': {'$elemMatch': {}}}, 'elemMatch is for lists of documents .* and this str is not'),
        ({'chunks__0': {'$size': 1}}, r'\$size is for lists and dicts'),
        ({'chunks': {'$elemMatch': {'title': 'a'}}}, "Chunk has no field 'title'"),
        ({'chunks': {'$size': 'x'}}, 'chunks'),
        ({'chunks': {'$lt': 1}}, 'list of documents'),
        ({'chunks__sentences__embedding': [1, 2]}, 'cannot be compared'),
        ({'chunks': {'$contains': 'x'}}, 'is for lists and strings'),
    ],
)
def test_filters_that_make_no_sense(libraries: list[Library], query: dict[str, Any], message: str) -> None:
    """A filter that does not fit the documents in a list is an error that names what does."""
    with pytest.raises(FilterError, match=message):
        libraries[0].index.filter(query)


@pytest.mark.skipif(sqlite3.sqlite_version_info >= (3, 46), reason='this SQLite has room for it')
def test_filters_that_are_too_much_for_sqlite(libraries: list[Library]) -> None:
    """A filter through more lists than an older SQLite has room for is an error about the filter, not the disk."""
    query: dict[str, Any] = {'cover__stickers__0__sentences__0__word': 'a'}
    for at in range(24):
        query = {'$or' if at % 2 else '$and': [{'title': 'a'}, query]}
    with pytest.raises(FilterError, match='reaches through more lists'):
        libraries[0].index.filter(query)
