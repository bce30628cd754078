"""The vector store of LangChain: its official tests, and what they leave open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from docindex import (
    BaseDoc,
    DocumentError,
    Field,
    FilterError,
    HnswDocumentIndex,
    MissingLibraryError,
    NdArray,
    QueryError,
    SchemaMismatchError,
    SettingsError,
    exists,
    fields_of,
)
from docindex.fields import Space
from docindex.integrations.langchain import DocArrayHnswSearch, DocIndexVectorStore
from tests.integrations.loops import goes_on_during
from tests.integrations.words import WORDS, LangChainWords
from tests.programs import named

TEXTS = ['Chess engine', 'Chess at night', 'A garden by the river', 'Letters from the garden', 'Night river']
METADATAS: list[dict[str, Any]] = [
    {'year': 1890, 'tags': ['game', 'machine'], 'source': {'file': 'a.txt', 'line': 3}},
    {'year': 1950, 'tags': ['game'], 'is_new': True},
    {'year': 1950, 'source': {'file': 'b.txt'}, 'rating': 4.5},
    {'tags': [], 'rating': None},
    {},
]
IDS = list('abcde')


class Author(BaseDoc):
    name: str
    born: int | None = None


class Book(BaseDoc):
    title: str = Field(full_text=True)
    year: int | None = None
    published: date | None = None
    author: Author | None = None
    tags: list[str] | None = None
    cover: NdArray[2] | None = None
    other: dict[str, Any] = Field(default_factory=dict)
    embedding: NdArray = Field(dim=len(WORDS), space='cosine')


class TestDocIndexVectorStore(VectorStoreIntegrationTests):
    """LangChain's 25 tests of a vector store."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        """Give an empty store."""
        with DocIndexVectorStore.open(tmp_path, self.get_embeddings()) as store:
            yield store


class TestDocArrayHnswSearch(VectorStoreIntegrationTests):
    """The same for the class that stands in for langchain-community's."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        """Give an empty store."""
        with DocArrayHnswSearch.from_params(self.get_embeddings(), str(tmp_path), 6) as store:
            yield store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocIndexVectorStore]:
    """Give a store of a few texts, in a directory of its own."""
    with DocIndexVectorStore.from_texts(TEXTS, LangChainWords(), METADATAS, ids=IDS, work_dir=tmp_path) as store:
        yield store


@pytest.fixture
def books(tmp_path: Path) -> Iterator[DocIndexVectorStore]:
    """Give a store over somebody's own schema, with the same texts."""
    typed = [
        {'year': 1890, 'author__name': 'Ada'},
        {'year': 1950, 'published': date(1950, 5, 1)},
        {'tags': ['new']},
        {'x': 1},
        {},
    ]
    with HnswDocumentIndex[Book](work_dir=tmp_path / 'books') as index:
        yield DocIndexVectorStore.from_texts(
            TEXTS, LangChainWords(), typed, ids=IDS, index=index, text_field='title', metadata_field='other',
            vector_field='embedding',
        )  # fmt: skip


def ids(found: list[Document]) -> list[str | None]:
    return [document.id for document in found]


# -- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'year': 1950}, 'bc'),
        ({'year': {'$lt': 1900}}, 'a'),
        ({'year': {'$ne': 1950}}, 'ade'),
        ({'year': {'$in': [1890, 1950]}, 'is_new': True}, 'b'),
        ({'tags': {'$contains': 'game'}}, 'ab'),
        ({'tags': {'$any': ['machine', 'nothing']}}, 'a'),
        ({'source__file': {'$startswith': 'b'}}, 'c'),
        ({'source__line': {'$exists': True}}, 'a'),
        ({'$or': [{'year': 1890}, {'rating': {'$gt': 4}}]}, 'ac'),
        ({'$not': {'$and': [{'year': {'$exists': True}}]}}, 'de'),
        ({'$and': {'year': 1950, 'is_new': True}}, 'b'),
        ({}, 'abcde'),
        (None, 'abcde'),
        (lambda document: document.metadata.get('year') == 1950, 'bc'),
        (lambda document: 'garden' in document.page_content, 'cd'),
        (lambda document: False, ''),
    ],
    ids=named,
)
def test_a_filter_names_keys_of_the_metadata(store: DocIndexVectorStore, given: Any, expected: str) -> None:
    """A dictionary of metadata keys with docindex's operators, or a function of a document, says what is found."""
    for found in (
        store.similarity_search('night', 5, filter=given),
        store.similarity_search_by_vector([1.0] * 6, 5, filter=given),
        [document for document, _ in store.similarity_search_with_score('night', k=5, filter=given)],
        store.max_marginal_relevance_search('night', 5, filter=given),
    ):
        assert sorted(filter(None, ids(found))) == list(expected)


def test_a_filter_names_typed_fields_and_what_is_beside_them(books: DocIndexVectorStore) -> None:
    """Keys that are fields of the schema, nested ones too, are compared as these are; other keys lie in the dict."""
    fields = fields_of(Book)
    given: list[tuple[Any, str]] = [
        ({'year': {'$gt': 1900}}, 'b'),
        ({'published': {'$gte': '1950-01-01'}}, 'b'),
        ({'author__name': 'Ada'}, 'a'),
        ({'x': 1}, 'd'),
        ({'tags__0': {'$startswith': 'n'}}, 'c'),
        (exists(fields.author) | (fields.other['x'] == 1), 'ad'),
    ]
    for filter_, expected in given:
        assert sorted(filter(None, ids(books.similarity_search('chess', 5, filter=filter_)))) == list(expected)
    with pytest.raises(FilterError, match='year'):
        books.similarity_search('chess', filter={'year': 'long ago'})
    with pytest.raises(FilterError, match=r'\$between'):
        books.similarity_search('chess', filter={'year': {'$between': [1, 2]}})
    with pytest.raises(FilterError, match='1 is no field'):
        books.similarity_search('chess', filter={1: 2})


def test_a_function_is_asked_until_enough_have_passed(tmp_path: Path) -> None:
    """A function that only the farthest documents pass finds them, and is called once for each document."""
    far = [f'garden {"river " * n}' for n in range(300)]
    calls: list[str | None] = []

    def passes(document: Document) -> bool:
        calls.append(document.id)
        return bool(document.metadata['n'] >= 295)

    metadatas = [{'n': n} for n in range(300)]
    with DocIndexVectorStore.from_texts(far, LangChainWords(), metadatas, work_dir=tmp_path) as store:
        found = store.similarity_search('garden', 3, filter=passes)
        assert [document.metadata['n'] for document in found] == [295, 296, 297]
        assert len(calls) == len(set(calls))


# -- scores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('space', ['cosine', 'l2', 'ip'])
def test_relevance_is_between_0_and_1(tmp_path: Path, space: Space) -> None:
    """In each space scores are distances, and relevance goes from 0 to 1, in the same order, and is 1 for the same."""
    embedding = LangChainWords()
    unit = np.eye(6)
    vectors = np.vstack([unit, -unit, (unit + unit[::-1]) / 2**0.5, [unit[0] * 100, unit[1] * 1e-3]])
    with DocIndexVectorStore.open(tmp_path, embedding, space=space) as store:
        embedding.embed_documents = lambda texts: vectors.tolist()  # type: ignore[method-assign]
        store.add_texts([str(n) for n in range(len(vectors))])
        embedding.embed_query = lambda text: unit[0].tolist()  # type: ignore[method-assign]
        scores = [score for _, score in store.similarity_search_with_score('', len(vectors))]
        relevances = [score for _, score in store.similarity_search_with_relevance_scores('', len(vectors))]
        same = store.similarity_search_with_relevance_scores(
            '', 1, filter=lambda document: document.page_content == '0'
        )
        assert scores == sorted(scores)
        assert relevances == sorted(relevances, reverse=True)
        assert len(relevances) == len(vectors)
        assert 0 <= min(relevances) < 0.1
        assert 0.99 < max(relevances) <= 1
        assert same[0][1] == pytest.approx(1)


def test_a_threshold_is_of_relevance(store: DocIndexVectorStore) -> None:
    """A retriever with a score threshold returns what is as relevant; one's own function of the distance counts."""
    options: dict[str, Any] = {'search_type': 'similarity_score_threshold', 'search_kwargs': {'score_threshold': 0.99}}
    assert ids(store.as_retriever(**options).invoke('chess engine')) == ['a']
    severe = DocIndexVectorStore(store.index, store.embedding, relevance_score_fn=lambda distance: 0.5)
    assert severe.as_retriever(**options).invoke('chess engine') == []


# -- searching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('lambda_mult', [0.0, 0.3, 0.7, 1.0])
def test_marginal_relevance_is_langchains(tmp_path: Path, lambda_mult: float) -> None:
    """Maximal marginal relevance chooses what LangChain's own function chooses of the same candidates."""
    vectors = np.random.default_rng(5).standard_normal((40, 6)).astype(np.float32)
    query = [1.0, 0.5, 0, 0, -0.5, 0]
    with DocIndexVectorStore.open(tmp_path, LangChainWords()) as store:
        store.index.index([{'id': str(n), 'text': '', 'embedding': row} for n, row in enumerate(vectors)])
        near = [int(document.id or '') for document in store.similarity_search_by_vector(query, 15, exact=True)]
        chosen = maximal_marginal_relevance(np.array(query), vectors[near], lambda_mult, 6)
        found = store.max_marginal_relevance_search_by_vector(query, 6, 15, lambda_mult, exact=True)
        assert ids(found) == [str(near[at]) for at in chosen]


def test_words_are_searched_too(store: DocIndexVectorStore, books: DocIndexVectorStore) -> None:
    """`text_search` ranks by words and `hybrid_search` by both, larger scores being better, and filters count."""
    assert [document.id for document, _ in store.text_search('letters')] == ['d']
    assert [document.id for document, _ in books.text_search('chess', filter={'year': 1950})] == ['b']
    both = store.hybrid_search('chess night', 3, weights=(0.5, 0.5))
    assert both[0][0].id == 'b'
    assert [score for _, score in both] == sorted((score for _, score in both), reverse=True)
    assert ids([document for document, _ in store.hybrid_search('chess', filter={'year': 1890})]) == ['a']


async def test_a_retriever_searches_words(store: DocIndexVectorStore) -> None:
    """A retriever of type 'text' or 'hybrid' returns what the search does, filtered too; of others, LangChain's."""
    given: dict[str, Any] = {'k': 2, 'filter': {'year': {'$exists': True}}}
    for search_type, search in (('text', store.text_search), ('hybrid', store.hybrid_search)):
        retriever = store.as_retriever(search_type=search_type, search_kwargs=given)
        assert [document.id for document, _ in search('chess night', **given)] == ids(retriever.invoke('chess night'))
        assert ids(await retriever.ainvoke('chess night')) == ids(retriever.invoke('chess night')) != []
        assert len(retriever.invoke('chess night', k=1)) == 1
    with pytest.raises(ValueError, match='search_type of sparse not allowed'):
        store.as_retriever(search_type='sparse')


async def test_the_async_calls_give_the_same(store: DocIndexVectorStore) -> None:
    """Each async call returns what the other one does."""
    given: dict[str, Any] = {'k': 3, 'filter': {'year': {'$exists': True}}}
    assert await store.asimilarity_search('chess', **given) == store.similarity_search('chess', **given)
    scored = await store.asimilarity_search_with_score('chess', **given)
    assert scored == store.similarity_search_with_score('chess', **given)
    assert await store.amax_marginal_relevance_search('chess', **given) == store.max_marginal_relevance_search(
        'chess', **given
    )
    assert await store.ahybrid_search('chess', **given) == store.hybrid_search('chess', **given)
    assert await store.atext_search('chess', **given) == store.text_search('chess', **given)
    assert ids(await store.as_retriever(search_type='mmr', search_kwargs=given).ainvoke('chess')) == ids(
        store.max_marginal_relevance_search('chess', **given)
    )
    assert await store.aadd_texts(['More chess'], [{'year': 2000}], ids=['f'], batch_size=1) == ['f']
    assert ids(await store.aget_by_ids(['f'])) == ['f']
    await store.adelete(filter={'year': 2000})
    assert await store.aget_by_ids(['f']) == []


@pytest.mark.parametrize(
    ('method', 'call'),
    [
        ('execute_query', lambda store: store.asimilarity_search('chess')),
        ('execute_query', lambda store: store.amax_marginal_relevance_search('chess')),
        ('hybrid', lambda store: store.ahybrid_search('chess')),
        ('index', lambda store: store.aadd_texts(['chess'])),
        ('delete', lambda store: store.adelete(['a'])),
    ],
    ids=['search', 'mmr', 'hybrid', 'add', 'delete'],
)
async def test_the_event_loop_goes_on(
    store: DocIndexVectorStore, monkeypatch: pytest.MonkeyPatch, method: str, call: Callable[[Any], Any]
) -> None:
    """While an async call waits for the index, the event loop runs other tasks."""
    await goes_on_during(call(store), store.index, method, monkeypatch)


# -- writing -----------------------------------------------------------------------------------------------


def test_metadata_comes_back_as_it_was(store: DocIndexVectorStore, books: DocIndexVectorStore) -> None:
    """Any JSON comes back, dates too; where metadata has typed fields, None in them is left out."""
    strange = {
        'nested': [{'ä': [1, 2.5, None, True]}],
        'when': date(2020, 1, 1),
        '_private': '',
        'id': 'x',
        'text': 'y',
    }
    [id_] = store.add_texts(['x'], [strange])
    assert store.get_by_ids([id_, 'c', 'a']) == [
        Document(id=id_, page_content='x', metadata=strange),
        Document(id='c', page_content=TEXTS[2], metadata=METADATAS[2]),
        Document(id='a', page_content=TEXTS[0], metadata=METADATAS[0]),
    ]
    a, b, d = books.get_by_ids(['a', 'b', 'd'])
    assert a.metadata == {'year': 1890, 'author__name': 'Ada'}  # and not the random id of the author
    assert (b.metadata, d.metadata) == ({'year': 1950, 'published': date(1950, 5, 1)}, {'x': 1})


def test_none_in_a_typed_field_counts_as_missing(tmp_path: Path) -> None:
    """None stands for what is not there, also where a field, or a nested document, cannot hold it."""

    class Report(BaseDoc):
        text: str
        pages: int = 1
        year: int | None = 1900
        author: Author | None = None
        embedding: NdArray = Field(dim=len(WORDS))

    with HnswDocumentIndex[Report](work_dir=tmp_path) as index:
        store = DocIndexVectorStore(index, LangChainWords())
        nothing = {'pages': None, 'year': None, 'author__name': None, 'author__born': None}
        store.add_texts(['a', 'b'], [nothing, {'author__name': 'Ada', 'author__born': None}], ids=['a', 'b'])
        a, b = index['a'], index['b']
        assert (a.pages, a.year, a.author) == (1, None, None)
        assert b.author is not None
        assert (b.author.name, b.author.born) == ('Ada', None)
        assert store.get_by_ids(['a'])[0].metadata == {'pages': 1}


def test_documents_of_the_index_are_found(books: DocIndexVectorStore) -> None:
    """What the index has stored itself is found, with its fields as metadata under the keys that were chosen."""
    books.index.index(Book(id='z', title='Engine', author=Author(name='Bob', born=1900), embedding=[0, 0, 1, 0, 0, 0]))
    renamed = DocIndexVectorStore(
        books.index, books.embedding, text_field='title', vector_field='embedding', metadata_field=None,
        metadata_fields={'by': 'author__name'},
    )  # fmt: skip
    assert renamed.similarity_search('engine', 1, filter={'by': 'Bob'}) == [
        Document(id='z', page_content='Engine', metadata={'by': 'Bob'})
    ]
    with pytest.raises(DocumentError, match=r"'year', only for 'by'.*metadata: dict"):
        renamed.add_texts(['x'], [{'year': 1}])
    assert len(books.index) == 6


def test_vectors_are_stored_as_float32(store: DocIndexVectorStore, tmp_path: Path) -> None:
    """Vectors take four bytes a number, although models give lists; a field of lists gets lists."""

    class Listed(BaseDoc):
        text: str
        embedding: list[float] = Field(dim=len(WORDS))

    assert store.index['a'].embedding.dtype == np.float32
    with HnswDocumentIndex[Listed](work_dir=tmp_path / 'listed') as listed:
        DocIndexVectorStore.from_texts(['chess'], LangChainWords(), ids=['a'], index=listed)
        assert listed['a'].embedding == pytest.approx(LangChainWords().embed_query('chess'))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'text_field': 'body'}, 'no field .body.; its fields are'),
        ({'text_field': 'year'}, 'holds no strings'),
        ({'text_field': 'title'}, 'say which one; the vector fields are cover, embedding'),
        ({'text_field': 'title', 'vector_field': 'year'}, 'year is no vector field'),
        ({'text_field': 'title', 'vector_field': 'embedding', 'metadata_field': 'year'}, 'is no dict'),
        ({'text_field': 'title', 'vector_field': 'embedding', 'metadata_fields': ['cover']}, 'cannot hold'),
        ({'text_field': 'title', 'vector_field': 'embedding', 'metadata_fields': ['isbn']}, "no field 'isbn'"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(books: DocIndexVectorStore, fields: Any, message: str) -> None:
    """A field that is not there, or cannot hold what it should, is named at once."""
    with pytest.raises(QueryError, match=message):
        DocIndexVectorStore(books.index, books.embedding, **fields)


def test_delete(store: DocIndexVectorStore) -> None:
    """Ids, a filter, or neither say what goes: without either it is everything, as LangChain has it."""
    assert store.delete(['a', 'unknown'])
    assert store.delete(filter={'year': 1950})
    assert sorted(store.index) == ['d', 'e']
    with pytest.raises(QueryError, match='not both'):
        store.delete(['d'], filter={'year': 1950})
    store.delete()
    assert store.similarity_search('chess') == []


def test_calls_that_make_no_sense_are_refused(store: DocIndexVectorStore) -> None:
    """Too few ids or metadatas, an argument that nobody knows, and no place at all are errors; nothing is stored."""
    with pytest.raises(QueryError, match='2 texts and 1 ids'):
        store.add_texts(['x', 'y'], ids=['z'])
    with pytest.raises(QueryError, match='1 texts and 2 metadatas'):
        store.add_texts(['x'], [{}, {}])
    assert isinstance(store.embedding, LangChainWords)
    assert store.embedding.calls == [5]  # before vectors are made, which may cost money
    with pytest.raises(TypeError, match='namespace'):
        store.add_texts(['x'], namespace='mine')
    with pytest.raises(TypeError):
        store.similarity_search('x', where={})
    with pytest.raises(SettingsError, match='work_dir='):
        DocIndexVectorStore.from_texts(['x'], LangChainWords())
    assert len(store.index) == 5


def test_indexing_of_langchain(store: DocIndexVectorStore) -> None:
    """`langchain_core.indexing.index` adds what is new, leaves what is the same, and deletes what is gone."""
    store.delete()
    records = InMemoryRecordManager('docs')
    records.create_schema()
    documents = [Document(page_content=text, metadata={'source': text[0]}) for text in TEXTS]
    options: dict[str, Any] = {'cleanup': 'full', 'source_id_key': 'source', 'key_encoder': 'sha256', 'batch_size': 2}
    first = index(documents, records, store, **options)
    assert (first['num_added'], len(store.index)) == (5, 5)
    second = index([*documents[1:], Document(page_content='New', metadata={'source': 'N'})], records, store, **options)
    assert (second['num_added'], second['num_skipped'], second['num_deleted']) == (1, 4, 1)
    assert sorted(document.page_content for document in store.similarity_search('', 10)) == sorted([*TEXTS[1:], 'New'])


def test_texts_are_embedded_in_batches(store: DocIndexVectorStore) -> None:
    """`batch_size` is how many texts the embedding model gets at once."""
    assert isinstance(store.embedding, LangChainWords)
    store.embedding.calls.clear()
    store.add_documents([Document(page_content=text) for text in TEXTS], batch_size=2)
    assert store.embedding.calls == [2, 2, 1]
    assert store.add_texts([]) == []


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LangChain the import says what to install."""
    monkeypatch.delitem(sys.modules, 'docindex.integrations.langchain_retriever')
    monkeypatch.delitem(sys.modules, 'docindex.integrations.langchain')
    monkeypatch.setitem(sys.modules, 'langchain_core', None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'docindex-hnsw\[langchain\]'"):
        import_module('docindex.integrations.langchain')


# -- directories -------------------------------------------------------------------------------------------


def test_a_store_is_opened_again(tmp_path: Path) -> None:
    """What was stored is there again; vectors of another length are refused; several may read beside the writer."""
    DocIndexVectorStore.from_texts(TEXTS, LangChainWords(), ids=IDS, work_dir=tmp_path, space='l2', M=8).close()
    with DocIndexVectorStore.open(tmp_path, LangChainWords(), space='l2') as store:
        assert ids(store.similarity_search('chess engine', 1)) == ['a']
        assert store.index.settings('embedding')['M'] == 8
    with pytest.raises(SchemaMismatchError, match='embedding'):
        DocIndexVectorStore.open(tmp_path, LangChainWords(), dim=7)
    with DocIndexVectorStore.open(tmp_path, LangChainWords(), read_only=True, space='l2') as reader:
        assert len(reader.index) == 5


def test_what_distance_means_stays_as_it_was(tmp_path: Path) -> None:
    """Who opens a directory and says no space has the one that it was made with, as a writer and as a reader."""
    words, work_dir = LangChainWords(), str(tmp_path)
    with DocIndexVectorStore.from_texts(TEXTS, words, ids=IDS, work_dir=work_dir, space='l2') as store:
        found = store.similarity_search_with_score('chess engine', 5)
    for again in (
        DocIndexVectorStore.open(work_dir, words, read_only=True),
        DocIndexVectorStore.open(work_dir, words),
        DocIndexVectorStore.from_texts([], words, work_dir=work_dir),
        DocArrayHnswSearch.from_params(words, work_dir, n_dim=len(WORDS)),
    ):
        assert again.index.settings()['space'] == 'l2'
        assert again.similarity_search_with_score('chess engine', 5) == found
        again.close()
    with DocIndexVectorStore.open(work_dir, words, space='ip') as store:
        assert store.index.settings()['space'] == 'ip'
    with DocIndexVectorStore.open(tmp_path / 'new', words) as store:
        assert store.index.settings()['space'] == 'cosine'


@pytest.mark.parametrize('made', [DocIndexVectorStore, DocArrayHnswSearch])
def test_a_store_that_cannot_be_filled_is_closed(tmp_path: Path, made: type[DocIndexVectorStore]) -> None:
    """When `from_texts` fails, nobody has the store, and its directory is free again at once."""
    with pytest.raises(DocumentError) as raised:
        made.from_texts(['x'], LangChainWords(), [{'what': object()}], work_dir=str(tmp_path))
    assert raised.traceback  # and with it every frame of the call
    with DocIndexVectorStore.open(tmp_path, LangChainWords(), shared_writes=True) as store:  # refused while it is open
        assert len(store.index) == 0


def test_calls_of_langchain_community(tmp_path: Path) -> None:
    """`DocArrayHnswSearch` takes the arguments that langchain-community's class of this name takes."""
    embedding, work_dir = LangChainWords(), str(tmp_path)
    with DocArrayHnswSearch.from_params(embedding, work_dir, 6, 'l2', 2000, True, 100, 10, 8, True, 1) as store:
        assert store.add_texts(TEXTS, METADATAS)
        settings = store.doc_index.settings()
        expected = {'space': 'l2', 'max_elements': 2000, 'ef_construction': 100, 'ef': 10, 'M': 8, 'num_threads': 1}
        assert settings.items() >= expected.items()
    documents = [Document(page_content='Garden', id='mine')]
    with DocArrayHnswSearch.from_documents(documents, embedding, work_dir=work_dir, n_dim=6, dist_metric='l2') as store:
        assert store.similarity_search_with_score('garden', 1) == [(Document(page_content='Garden', id='mine'), 0)]
        assert len(store.doc_index) == 6
    with pytest.raises(SettingsError, match='work_dir'):
        DocArrayHnswSearch.from_texts(TEXTS, embedding)
