"""Random stories of documents in lists, two levels deep: the index against plain dictionaries."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import Field as PydanticField

from docindex import BaseDoc, DocList, DocumentError, DocumentNotFoundError, HnswDocumentIndex, NdArray
from docindex.hnsw.sidecar import Sidecar

Plain = dict[str, Any]
"""A document as a dictionary: its lists are lists of these, its vectors are lists of numbers."""


class Sentence(BaseDoc):
    word: str = ''
    embedding: NdArray[2] | None = None


class Chunk(BaseDoc):
    page: int = 0
    embedding: NdArray[2]
    sentences: list[Sentence] = PydanticField(default_factory=list)


class Book(BaseDoc):
    title: str = ''
    cover: NdArray[2] | None = None
    chunks: DocList[Chunk] | None = None
    notes: list[Chunk] = PydanticField(default_factory=list)


LEVELS = ['chunks', 'notes', 'chunks__sentences', 'notes__sentences']
_vectors = st.lists(st.integers(-2, 2), min_size=2, max_size=2)


def _named(ids: Iterable[str], **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Plain]:
    return st.fixed_dictionaries({'id': st.sampled_from(list(ids)), **others})


_sentences = _named([f's{n}' for n in range(6)], word=st.text(max_size=2), embedding=st.none() | _vectors)
_chunks = _named(
    [f'c{n}' for n in range(7)],
    page=st.integers(0, 3),
    embedding=_vectors,
    sentences=st.lists(_sentences, max_size=2),
)
_lists = st.lists(_chunks, max_size=3)
_BOOK_FIELDS = {
    'title': st.text(max_size=2),
    'cover': st.none() | _vectors,
    'chunks': st.none() | _lists,
    'notes': st.lists(_chunks, max_size=1),
}
BOOKS = [f'b{n}' for n in range(4)]
_books = _named(BOOKS, **_BOOK_FIELDS)
_changes = st.fixed_dictionaries({}, optional=_BOOK_FIELDS)


def plain(doc: Any) -> Any:
    """Return a document as a dictionary."""
    if isinstance(doc, BaseDoc):
        return {name: plain(getattr(doc, name)) for name in type(doc).model_fields}
    if isinstance(doc, list):
        return [plain(one) for one in doc]
    return doc.tolist() if isinstance(doc, np.ndarray) else doc


def places(books: Mapping[str, Plain], level: str) -> Iterator[tuple[list[Plain], int, str]]:
    """Yield each document of a level: the list it is in, its position there, the id of its book."""
    first, _, second = level.partition('__')
    for book in books.values():
        outer = book[first] or []
        for at, chunk in enumerate(outer):
            if second:
                yield from ((chunk[second], place, book['id']) for place in range(len(chunk[second])))
            else:
                yield outer, at, book['id']


def ids_in(books: Mapping[str, Plain], level: str) -> list[str]:
    """Return the ids of all documents of a level."""
    return [inside[at]['id'] for inside, at, _ in places(books, level)]


def is_possible(books: Mapping[str, Plain]) -> bool:
    """Return whether no id is there twice in a level."""
    return all(len(set(ids)) == len(ids) for ids in (ids_in(books, level) for level in LEVELS))


def copied(value: Any) -> Any:
    """Return dictionaries and lists of one's own."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix='docindex-lists-'))
        self.books: dict[str, Plain] = {}
        self.is_in_batch = False
        self.open()

    def open(self) -> None:
        self.index = HnswDocumentIndex[Book](work_dir=self.path, durability='process')
        self.reader = HnswDocumentIndex[Book](work_dir=self.path, durability='process', read_only=True)

    def teardown(self) -> None:
        try:
            report = self.index.verify()
            assert report.is_sound, str(report)
        finally:
            self.reader.close()
            self.index.close()
            shutil.rmtree(self.path)

    def attempt(self, call: Callable[[], None], after: dict[str, Plain]) -> None:
        """Make a call, which is to fail and do nothing if what would be there after it is not possible."""
        if is_possible(after):
            call()
            self.books = after
        else:
            with pytest.raises(DocumentError, match='taken'):
                call()

    # -- books -------------------------------------------------------------------------------------

    @rule(books=st.lists(_books, max_size=3), as_documents=st.booleans())
    def store(self, books: list[Plain], as_documents: bool) -> None:
        given: Any = [Book(**copied(book)) for book in books] if as_documents else copied(books)
        before = [plain(book) if as_documents else copied(book) for book in given]
        self.attempt(
            lambda: self.index.index(given),
            {**copied(self.books), **{book['id']: copied(book) for book in books}},
        )
        assert [plain(book) if as_documents else book for book in given] == before

    @rule(id_=st.sampled_from(BOOKS), changes=_changes)
    def update(self, id_: str, changes: Plain) -> None:
        if id_ not in self.books:
            with pytest.raises(DocumentNotFoundError):
                self.index.update(id_, **copied(changes))
            return
        after = copied(self.books)
        after[id_].update(copied(changes))
        self.attempt(lambda: self.index.update(id_, **copied(changes)), after)

    @rule(ids=st.lists(st.sampled_from(BOOKS), max_size=2))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == len(self.books.keys() & set(ids))
        self.books = {id_: book for id_, book in self.books.items() if id_ not in ids}

    @precondition(lambda self: len(self.books) > 1)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """All that is in the lists of one book goes to the end of those of another, in one call."""
        one, other = data.draw(st.permutations(sorted(self.books)))[:2]
        after = copied(self.books)
        after[other]['chunks'] = (after[other]['chunks'] or []) + (after[one]['chunks'] or [])
        after[one]['chunks'] = None
        self.attempt(lambda: self.index.index([copied(after[other]), copied(after[one])]), after)

    # -- documents in lists --------------------------------------------------------------------------

    @rule(id_=st.sampled_from(BOOKS), name=st.sampled_from(['chunks', 'notes']), chunks=_lists)
    def append_chunks(self, id_: str, name: str, chunks: list[Plain]) -> None:
        subindex, after = self.index.subindex(name), copied(self.books)
        if id_ not in after:
            with pytest.raises(DocumentNotFoundError):
                subindex.append(id_, copied(chunks))
            return
        after[id_][name] = (after[id_][name] or []) + copied(chunks)
        self.attempt(lambda: subindex.append(id_, copied(chunks)), after)

    @precondition(lambda self: bool(ids_in(self.books, 'chunks')))
    @rule(data=st.data(), sentences=st.lists(_sentences, max_size=2))
    def append_sentences(self, data: st.DataObject, sentences: list[Plain]) -> None:
        after = copied(self.books)
        inside, at, _ = data.draw(st.sampled_from(list(places(after, 'chunks'))))
        inside[at]['sentences'] += copied(sentences)
        subindex = self.index.subindex('chunks__sentences')
        self.attempt(lambda: subindex.append(inside[at]['id'], copied(sentences)), after)

    @rule(data=st.data(), level=st.sampled_from(LEVELS))
    def update_inside(self, data: st.DataObject, level: str) -> None:
        after = copied(self.books)
        found = list(places(after, level))
        if not found:
            return
        inside, at, _ = data.draw(st.sampled_from(found))
        changes: Plain = {'word': data.draw(st.text(max_size=2)), 'embedding': data.draw(st.none() | _vectors)}
        if not level.endswith('sentences'):
            optional = {'page': st.integers(), 'embedding': _vectors, 'sentences': st.lists(_sentences, max_size=2)}
            changes = data.draw(st.fixed_dictionaries({}, optional=optional))
        inside[at].update(copied(changes))
        self.attempt(lambda: self.index.subindex(level).update(inside[at]['id'], **copied(changes)), after)

    @rule(data=st.data(), name=st.sampled_from(['chunks', 'notes']))
    def replace_inside(self, data: st.DataObject, name: str) -> None:
        after = copied(self.books)
        found = list(places(after, name))
        if not found:
            return
        new: list[Plain] = []
        for inside, at, _ in data.draw(st.lists(st.sampled_from(found), max_size=2, unique_by=lambda one: id(one))):
            inside[at] = {**data.draw(_chunks), 'id': inside[at]['id']}
            new.append(copied(inside[at]))
        self.attempt(lambda: self.index.subindex(name).update(copied(new)), after)

    @rule(data=st.data(), level=st.sampled_from(LEVELS))
    def delete_inside(self, data: st.DataObject, level: str) -> None:
        ids = ids_in(self.books, level)
        gone = data.draw(st.lists(st.sampled_from([*ids, 'nobody']), max_size=3))
        assert self.index.subindex(level).delete(gone) == len(set(gone) & set(ids))
        # From the end, so that the positions stay right.
        for inside, at, _ in reversed(list(places(self.books, level))):
            if inside[at]['id'] in gone:
                del inside[at]

    # -- transactions --------------------------------------------------------------------------------

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Let nothing have happened, in the index and here."""
        before = copied(self.books)
        with pytest.raises(KeyError, match='undo'), self.index.batch():  # noqa: PT012
            yield
            self.everybody_agrees(False)
            raise KeyError('undo')
        self.books = before

    @rule(books=st.lists(_books, max_size=2), data=st.data(), is_undone=st.booleans())
    def batch(self, books: list[Plain], data: st.DataObject, is_undone: bool) -> None:
        with self.undone() if is_undone else self.index.batch():
            self.store(books, False)
            self.append_chunks(data.draw(st.sampled_from(BOOKS)), 'chunks', data.draw(_lists))
            self.delete_inside(data, data.draw(st.sampled_from(LEVELS)))
            self.update_inside(data, data.draw(st.sampled_from(LEVELS)))
            self.store(data.draw(st.lists(_books, max_size=2)), True)
            self.delete(data.draw(st.lists(st.sampled_from(BOOKS), max_size=1)))

    @rule(book=_books, step=st.sampled_from(['apply', 'commit']))
    def fail(self, book: Plain, step: str) -> None:
        if not is_possible({**self.books, book['id']: book}):
            return
        with mock.patch.object(Sidecar, step, side_effect=OSError('no')), pytest.raises(OSError, match='no'):
            self.index.index(copied(book))

    @rule()
    def reopen(self) -> None:
        self.reader.close()
        self.index.close()
        self.open()

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def verify(self) -> None:
        for index in (self.index, self.reader):
            report = index.verify()
            assert report.is_sound, str(report)

    # -- reading -------------------------------------------------------------------------------------

    @invariant()
    def everybody_agrees(self, with_reader: bool = True) -> None:
        for index in [self.index, self.reader] if with_reader else [self.index]:
            assert {book.id: plain(book) for book in index.get(list(index))} == self.books
            for level in LEVELS:
                assert sorted(index.subindex(level)) == sorted(ids_in(self.books, level))
                assert len(index.subindex(level)) == len(ids_in(self.books, level))

    @rule(query=_vectors, level=st.sampled_from(LEVELS), exact=st.booleans())
    def find(self, query: list[int], level: str, exact: bool) -> None:
        expected: dict[tuple[str, str], float] = {}
        for inside, at, book in places(self.books, level):
            if inside[at]['embedding'] is not None:
                distance = float(((np.array(inside[at]['embedding']) - query) ** 2).sum())
                expected[inside[at]['id'], book] = distance
        for index in (self.index, self.reader):
            books, docs, scores = index.find_subindex(query, level, 'embedding', limit=50, exact=exact)
            found = {(doc.id, book.id): score for doc, book, score in zip(docs, books, scores.tolist(), strict=True)}
            assert found == expected
            assert scores.tolist() == sorted(scores.tolist())
            assert [plain(book) for book in books] == [self.books[book.id] for book in books]

    @rule(query=_vectors, level=st.sampled_from(LEVELS), limit=st.integers(1, 4))
    def find_books(self, query: list[int], level: str, limit: int) -> None:
        nearest: dict[str, float] = {}
        for inside, at, book in places(self.books, level):
            if inside[at]['embedding'] is not None:
                distance = float(((np.array(inside[at]['embedding']) - query) ** 2).sum())
                nearest[book] = min(distance, nearest.get(book, distance))
        found = self.index.find(query, f'{level}__embedding', limit, exact=True, group_by_root=True)
        assert found.scores.tolist() == sorted(nearest.values())[:limit]
        assert [nearest[book.id] for book in found.documents] == found.scores.tolist()
        assert len({book.id for book in found.documents}) == len(found.documents)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=20, stateful_step_count=20)
