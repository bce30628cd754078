"""Vectors that are made of texts, in the local index: when functions are called, and what a directory remembers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import (
    BaseDoc,
    CorruptIndexError,
    DocList,
    DocumentError,
    Embedder,
    EmbeddingError,
    Field,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    ReadOnlyError,
    SchemaMismatchError,
)
from docindex.schema import Schema
from tests.programs import run


class Model:
    """A function that notes its texts, and does something before it answers."""

    name = 'model'

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, texts: list[str]) -> Any:
        self.texts += texts
        self.meanwhile()
        return [[len(text), 1] for text in texts]


model = Model()


class Line(BaseDoc):
    words: str = ''
    gist: NdArray | None = Field(default=None, dim=2, embeds='words', with_=model)


class Page(BaseDoc):
    title: str = ''
    notes: str = ''
    vector: NdArray = Field(default=None, dim=2, embeds='title', with_=model)
    lines: DocList[Line] = DocList[Line]()


class Bare(BaseDoc):
    title: str = ''
    notes: str = ''
    vector: NdArray = Field(dim=2)
    lines: DocList[Line] = DocList[Line]()


class Other(Bare):
    vector: NdArray = Field(default=None, dim=2, embeds='title', with_=Embedder(Model(), name='another'))


Pages = HnswDocumentIndex[Page]


@pytest.fixture
def index(work_dir: Path) -> Iterator[HnswDocumentIndex[Page]]:
    with Pages(work_dir) as index:
        index.index(Page(id='old', title='old', lines=DocList[Line]([Line(id='line', words='line')])))
        model.texts.clear()
        yield index
        model.meanwhile = lambda: None


def remembered(work_dir: Path) -> Any:
    with sqlite3.connect(work_dir / 'documents.sqlite3') as connection:
        found = connection.execute("SELECT value FROM meta WHERE key = 'embeddings'").fetchone()
    connection.close()
    return found and json.loads(found[0])


# -- when functions are called -------------------------------------------------------------------------


_CALLS: dict[str, Callable[[HnswDocumentIndex[Page]], object]] = {
    'index': lambda index: index.index([Page(title='a'), {'title': 'b'}]),
    'index_columns': lambda index: index.index_columns(title=['a', 'b']),
    'index_from': lambda index: index.index_from([{'title': 'a'}], resume_key='a'),
    'update': lambda index: index.update('old', title='new'),
    'update documents': lambda index: index.update([{'id': 'old', 'title': 'new'}]),
    'update in a list': lambda index: index.subindex('lines').update('line', words='new'),
    'update a list': lambda index: index.update('old', lines=[{'words': 'new'}]),
    'append': lambda index: index.subindex('lines').append('old', Line(words='new')),
    'find': lambda index: index.find('a', 'vector'),
    'find_batched': lambda index: index.find_batched(['a'], 'vector'),
    'find in lists': lambda index: index.find_subindex('a', 'lines', 'gist'),
    'filter_subindex': lambda index: index.subindex('lines').execute_query(index.build_query().find('a').build()),
    'execute_query': lambda index: index.execute_query(index.build_query().find('a', 'vector').build()),
    'count': lambda index: index.count(index.build_query().find('a', 'vector').build()),
    'explain': lambda index: index.explain('a', 'vector'),
    'recall': lambda index: index.recall('vector', queries=['a', 'b'], limit=1),
}


@pytest.mark.parametrize('call', _CALLS.values(), ids=_CALLS)
def test_others_write_while_a_function_thinks(index: HnswDocumentIndex[Page], call: Any) -> None:
    """A function is called before any lock is taken: another thread can write, and compact, before it returns."""
    index.index([Page(id=str(n), title='a', vector=[n, 1]) for n in range(3)])
    ended: list[bool] = []

    def others() -> None:
        index.update('0', notes='written meanwhile')
        index.compact()

    def meanwhile() -> None:
        model.meanwhile = lambda: None
        thread = threading.Thread(target=others)
        thread.start()
        thread.join(20)
        ended.append(not thread.is_alive())

    model.meanwhile = meanwhile
    call(index)
    assert ended == [True]
    assert index['0'].notes == 'written meanwhile'


def test_a_text_that_changes_while_a_function_thinks(index: HnswDocumentIndex[Page]) -> None:
    """An update whose document another thread changes in the meantime has the vector of what is stored in the end."""

    class Both(BaseDoc):
        first: str
        second: str
        vector: NdArray = Field(default=None, dim=2, embeds=['first', 'second'], with_=model)

    with HnswDocumentIndex[Both](index.work_dir / 'both') as both:
        both.index(Both(id='x', first='a', second='b'))

        def meanwhile() -> None:
            model.meanwhile = lambda: None
            thread = threading.Thread(target=lambda: both.update('x', second='bbbb'))
            thread.start()
            thread.join(20)

        model.meanwhile = meanwhile
        both.update('x', first='aa')
        assert both['x'].vector.tolist() == [len('aa\nbbbb'), 1]


def test_threads_that_update_one_document(index: HnswDocumentIndex[Page]) -> None:
    """Threads that change the text of one document at the same time all succeed, one after another."""
    titles = [[f'{"a" * length}{thread}' for length in range(40)] for thread in range(3)]
    with ThreadPoolExecutor() as pool:
        written = [
            pool.submit(lambda mine: [index.update('old', title=title) for title in mine], mine) for mine in titles
        ]
        for one in written:
            one.result()
    stored = index['old']
    assert stored.title in [mine[-1] for mine in titles]
    assert stored.vector.tolist() == [len(stored.title), 1]


def test_a_batch_goes_on_after_a_function_has_failed(index: HnswDocumentIndex[Page]) -> None:
    """In a batch a call whose function fails has done nothing, and the others are stored."""

    def fails() -> None:
        raise ConnectionError

    with index.batch():
        index.index(Page(id='a', title='a'))
        model.meanwhile = fails
        with pytest.raises(EmbeddingError):
            index.update('a', title='aaa')
        model.meanwhile = lambda: None
        index.update('old', title='older')
    assert index['a'].vector.tolist() == [1, 1]
    assert index['old'].vector.tolist() == [5, 1]


def test_a_reader_calls_no_function_to_write(index: HnswDocumentIndex[Page]) -> None:
    """What a reader may not write is refused before a model is asked."""
    with Pages(index.work_dir, read_only=True) as reader:
        for write in ('index', 'index_columns', 'update', 'update documents', 'append'):
            with pytest.raises(ReadOnlyError):
                _CALLS[write](reader)
        assert model.texts == []
        assert reader.find('old', 'vector').documents.id == ['old']


def test_an_unknown_id_is_refused_before_a_function_is_called(index: HnswDocumentIndex[Page]) -> None:
    """An update of a document that is not there, or of a field, asks no model."""
    for id_, fields in (('nobody', {'title': 'a'}), ('old', {'title': 'a', 'colour': 'b'}), ('old', {'title': 3})):
        with pytest.raises((KeyError, QueryError, DocumentError)):
            index.update(id_, **fields)
    assert model.texts == []


def test_async_calls(index: HnswDocumentIndex[Page]) -> None:
    """Async code asks in words too: the function is called in a thread, and the event loop goes on."""
    turns: list[str] = []

    async def asks() -> None:
        loop = asyncio.get_running_loop()
        went_on = threading.Event()

        def meanwhile() -> None:
            loop.call_soon_threadsafe(went_on.set)
            turns.append('went on' if went_on.wait(20) else 'stood still')

        model.meanwhile = meanwhile
        await index.aindex(Page(id='x', title='abcdef'))
        assert (await index.afind('abcdef', 'vector', 1)).documents.id == ['x']

    asyncio.run(asks())
    assert turns == ['went on', 'went on']


def test_vectors_are_made_before_the_first_transaction_of_a_load(index: HnswDocumentIndex[Page]) -> None:
    """Of a load that a model ends, the batches before stay; the same call goes on where it has ended."""

    def fails() -> None:
        if 'c' in model.texts:
            raise ConnectionError('away')

    model.meanwhile = fails
    rows = [{'id': letter, 'title': letter} for letter in 'abcd']
    with pytest.raises(EmbeddingError, match='away'):
        index.index_from(rows, batch_size=2, resume_key='rows')
    assert set(index) == {'old', 'a', 'b'}
    model.meanwhile = lambda: None
    report = index.index_from(rows, batch_size=2, resume_key='rows')
    assert (report.resumed_from, report.stored) == (2, 2)
    assert index['d'].vector.tolist() == [1, 1]


# -- what a directory remembers ------------------------------------------------------------------------


def test_a_directory_remembers_its_functions(index: HnswDocumentIndex[Page]) -> None:
    """The names of the functions, what they embed and the dimensions stand in the directory."""
    assert remembered(index.work_dir) == {
        'vector': {'function': 'model', 'of': 'title', 'fields': ['title'], 'dim': 2},
        'lines__gist': {'function': 'model', 'of': 'words', 'fields': ['words'], 'dim': 2},
    }
    index.compact()
    index.backup(index.work_dir.parent / 'copy')
    assert remembered(index.work_dir.parent / 'copy') == remembered(index.work_dir)


@pytest.mark.parametrize('read_only', [False, True])
def test_another_function_is_refused(index: HnswDocumentIndex[Page], read_only: bool) -> None:
    """A schema with another function is refused, by readers as well, beside an open index and later on."""
    with pytest.raises(SchemaMismatchError, match=r"'model'.*'another'.*name='model'"):
        HnswDocumentIndex[Other](index.work_dir, read_only=read_only)
    index.close()
    with pytest.raises(SchemaMismatchError, match=r"'model'.*'another'.*another work_dir"):
        HnswDocumentIndex[Other](index.work_dir, read_only=read_only)


def test_another_dimension_is_refused(index: HnswDocumentIndex[Page]) -> None:
    """The same function with vectors of another length is refused, with both lengths."""

    class Longer(Bare):
        vector: NdArray = Field(default=None, dim=3, embeds='title', with_=model)

    index.close()
    with pytest.raises(SchemaMismatchError, match=r'vector is vector\[2\] there and vector\[3\] here'):
        HnswDocumentIndex[Longer](index.work_dir)


def test_a_directory_without_documents_says_to_remove_it(work_dir: Path) -> None:
    """Where nothing is stored yet, another function asks for no more than another directory."""
    Pages(work_dir).close()
    with pytest.raises(SchemaMismatchError, match='nothing is stored in it yet: remove it'):
        HnswDocumentIndex[Other](work_dir)


@pytest.mark.parametrize('beside', [False, True], ids=['later', 'beside an open index'])
def test_vectors_by_hand_first(work_dir: Path, beside: bool) -> None:
    """A directory that was filled by hand takes a function over: who opens it says that it made the vectors."""
    by_hand = HnswDocumentIndex[Bare](work_dir)
    by_hand.index(Bare(id='x', title='abc', vector=[3, 1]))
    assert 'vector' not in remembered(work_dir)
    if not beside:
        by_hand.close()
    with Pages(work_dir) as index:
        assert index.find('abc', 'vector').scores.tolist() == [0]
        index.index(Page(id='y', title='a'))
        assert remembered(work_dir)['vector']['function'] == 'model'
    by_hand.close()
    with pytest.raises(SchemaMismatchError, match='another'):
        HnswDocumentIndex[Other](work_dir)
    with Pages(work_dir) as again:
        assert again.verify().is_sound


def test_a_function_that_comes_to_an_open_directory_is_remembered_for_good(work_dir: Path) -> None:
    """What a second handle adds counts as a commit: the directory opens afterwards, also without a closing."""
    by_hand = HnswDocumentIndex[Bare](work_dir)
    by_hand.index(Bare(id='x', title='abc', vector=[3, 1]))
    with Pages(work_dir) as index, Pages(work_dir, read_only=True) as reader:
        by_hand.index(Bare(id='y', title='a', vector=[1, 1]))
        assert reader.find('abc', 'vector', 1).documents.id == index.find('abc', 'vector', 1).documents.id == ['x']
    by_hand.close()
    with Pages(work_dir) as again:
        assert len(again) == 2


def test_a_directory_of_an_earlier_version(index: HnswDocumentIndex[Page]) -> None:
    """A directory that says nothing of functions is one whose vectors were made by hand."""
    work_dir = index.work_dir
    index.close()
    with sqlite3.connect(work_dir / 'documents.sqlite3') as connection:
        connection.execute("DELETE FROM meta WHERE key = 'embeddings'")
    connection.close()
    with HnswDocumentIndex[Bare](work_dir) as bare:
        assert bare['old'].vector.tolist() == [3, 1]
    with Pages(work_dir) as again:
        assert again.find('old', 'vector').documents.id == ['old']


@pytest.mark.parametrize('written', ['[]', '{"vector": 3}', '{"vector": {"function": 3}}'])
def test_a_strange_description_is_damage(index: HnswDocumentIndex[Page], written: str) -> None:
    """Where the directory says something else than which functions made its vectors, it is damaged."""
    work_dir = index.work_dir
    index.close()
    with sqlite3.connect(work_dir / 'documents.sqlite3') as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'embeddings'", (written,))
    connection.close()
    with pytest.raises(CorruptIndexError):
        Pages(work_dir)


def test_a_new_field_of_an_old_directory(work_dir: Path) -> None:
    """An optional vector that comes later is None in old documents, until an update asks for it."""

    class Late(Bare):
        late: NdArray | None = Field(default=None, dim=2, embeds='notes', with_=model)

    with HnswDocumentIndex[Bare](work_dir) as bare:
        bare.index([Bare(id='x', notes='abc', vector=[1, 1]), Bare(id='y', vector=[1, 1])])
    with HnswDocumentIndex[Late](work_dir) as late:
        assert len(late.find('abc', 'late').documents) == 0
        for id_ in late:
            late.update(id_, late=None)
        assert late.find('abc', 'late').documents.id == ['x']
        assert late.find('abc', 'late').scores.tolist() == [0]


def test_the_functions_of_chunks_are_their_own(index: HnswDocumentIndex[Page]) -> None:
    """A document around those in a list cannot ask for them, though it has a text too."""
    with pytest.raises(QueryError, match='searched with a Line'):
        index.find(Page(title='a'), 'lines__gist')
    assert index.find(Line(words='line'), 'lines__gist').scores.tolist() == [0]


def test_columns_with_vectors_make_no_documents(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all vectors are given, columns are stored as fast as in a class that embeds nothing."""
    with HnswDocumentIndex[Line](work_dir) as index:
        monkeypatch.setattr(Schema, 'documents', None)
        index.index_columns(id=['a', 'b'], words=['x', 'y'], gist=np.ones((2, 2)))
        monkeypatch.undo()
        assert index['b'].gist.tolist() == [1, 1]  # type: ignore[union-attr]


def test_what_another_process_says_of_its_functions(work_dir: Path) -> None:
    """A shared writer knows the function that another one has brought since, and changes no text under its vectors."""
    with HnswDocumentIndex[Bare](work_dir, shared_writes=True) as bare:
        bare.index(Bare(id='x', title='abc', vector=[3, 1]))
        bare.update('x', title='abcd')
        other = run(
            'import sys\n'
            'from docindex import HnswDocumentIndex\n'
            'from tests.hnsw.test_embeddings import Page\n'
            'HnswDocumentIndex[Page](sys.argv[1], shared_writes=True).close()',
            work_dir,
        )
        assert other.returncode == 0, other.stderr
        with pytest.raises(QueryError, match="'model'"):
            bare.update('x', title='abc')
        with pytest.raises(QueryError, match="'model'"):
            bare.find('abc', 'vector')
