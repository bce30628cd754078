"""The vector store of LlamaIndex. There is no official suite; LlamaIndex's own functions say what is right."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

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
)
from docindex.fields import Space
from docindex.integrations.llama_index import DocIndexVectorStore
from tests.integrations.loops import goes_on_during
from tests.integrations.words import WORDS, LlamaIndexWords, vector

TEXTS = ['Chess engine', 'Chess at night', 'A garden by the river', 'Letters from the garden', 'Night river', 'Engine']
METADATAS: list[dict[str, Any]] = [
    {'year': 1890, 'tags': ['game', 'machine'], 'title': 'The Turk'},
    {'year': 1950, 'tags': ['game'], 'title': 'Night of the KINGS'},
    {'year': 1950, 'title': '', 'price': 4.5},
    {'tags': [], 'title': 'letters (old.)', 'facts': {}},
    {'year': None, 'price': -1},
    {},
]
IDS = list('abcdef')


def node(id_: str, text: str, metadata: dict[str, Any], document: str) -> TextNode:
    of = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=id_, text=text, metadata=metadata, embedding=vector(text), relationships=of)


NODES = [
    node(id_, text, metadata, f'document {n // 2}')
    for n, (id_, text, metadata) in enumerate(zip(IDS, TEXTS, METADATAS, strict=True))
]


class Page(BaseDoc):
    text: str = Field(full_text=True)
    year: int | None = None
    tags: list[str] | None = None
    title: str | None = None
    price: float | None = None
    kind: Literal['letter', 'note'] | None = None
    facts: dict[str, int] | None = None
    ref_doc_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    embedding: NdArray = Field(dim=len(WORDS), space='cosine')


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocIndexVectorStore]:
    """Give a store of a few nodes, in a directory of its own."""
    store = DocIndexVectorStore(work_dir=tmp_path / 'nodes', dim=len(WORDS))
    store.add(NODES)
    yield store
    store.client.close()


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[DocIndexVectorStore]:
    """Give a store over somebody's own schema, with the same nodes."""
    with HnswDocumentIndex[Page](work_dir=tmp_path / 'pages') as index:
        store = DocIndexVectorStore(index)
        store.add(NODES)
        yield store


def where(*filters: Any, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


def asked(text: str, k: int = 10, **fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=vector(text), query_str=text, similarity_top_k=k, **fields)


# -- filters -----------------------------------------------------------------------------------------------

COMPARISONS: list[tuple[str, FilterOperator, Any]] = [
    ('year', FilterOperator.EQ, 1950),
    ('title', FilterOperator.EQ, 'The Turk'),
    ('year', FilterOperator.NE, 1950),
    ('year', FilterOperator.GT, 1890),
    ('year', FilterOperator.GTE, 1890),
    ('year', FilterOperator.LT, 1950),
    ('year', FilterOperator.LTE, 1950),
    ('price', FilterOperator.LT, 0.5),
    ('year', FilterOperator.IN, [1890, 3]),
    ('title', FilterOperator.IN, ['The Turk', 'x']),
    ('year', FilterOperator.NIN, [1890, 3]),
    ('tags', FilterOperator.ANY, ['machine', 'x']),
    ('tags', FilterOperator.ALL, ['game', 'machine']),
    ('tags', FilterOperator.ALL, []),
    ('title', FilterOperator.ANY, ['Turk', 'old']),
    ('title', FilterOperator.ALL, ['of', 'Night']),
    ('tags', FilterOperator.CONTAINS, 'game'),
    ('title', FilterOperator.TEXT_MATCH, 'old.)'),
    ('title', FilterOperator.TEXT_MATCH, 'kings'),
    ('title', FilterOperator.TEXT_MATCH_INSENSITIVE, 'kings'),
    ('title', FilterOperator.IS_EMPTY, None),
    ('tags', FilterOperator.IS_EMPTY, None),
    ('year', FilterOperator.IS_EMPTY, None),
    ('facts', FilterOperator.IS_EMPTY, None),
]


def test_all_operators_are_compared() -> None:
    """The comparisons below leave no operator of LlamaIndex out."""
    assert {operator for _, operator, _ in COMPARISONS} == set(FilterOperator)


@pytest.mark.parametrize('condition', list(FilterCondition))
@pytest.mark.parametrize(('key', 'operator', 'value'), COMPARISONS)
def test_filters_mean_what_they_mean_in_llama_index(
    store: DocIndexVectorStore,
    typed: DocIndexVectorStore,
    key: str,
    operator: FilterOperator,
    value: Any,
    condition: FilterCondition,
) -> None:
    """Each operator, alone and joined, finds what LlamaIndex's own function lets through, in dicts and in fields."""
    other = MetadataFilter(key='price', value=0, operator=FilterOperator.GT)
    filters = where(MetadataFilter(key=key, value=value, operator=operator), other, condition=condition)
    passes = build_metadata_filter_fn(lambda id_: METADATAS[IDS.index(id_)], filters)
    expected = list(filter(passes, IDS))
    for one in (store, typed):
        assert [found.node_id for found in one.get_nodes(filters=filters)] == expected
        assert sorted(one.query(asked('chess', filters=filters)).ids or []) == expected


def test_filters_are_nested(store: DocIndexVectorStore) -> None:
    """Filters stand in filters, to any depth; none at all let everything pass."""
    old = MetadataFilter(key='year', value=1900, operator=FilterOperator.LT)
    games = MetadataFilter(key='tags', value='game', operator=FilterOperator.CONTAINS)
    neither = where(old, where(games, condition=FilterCondition.OR), condition=FilterCondition.NOT)
    assert [found.node_id for found in store.get_nodes(filters=neither)] == list('cdef')
    both = where(where(old, games), where(neither, condition=FilterCondition.NOT), condition=FilterCondition.OR)
    assert [found.node_id for found in store.get_nodes(filters=both)] == list('ab')
    for condition in FilterCondition:
        assert len(store.get_nodes(filters=where(condition=condition))) == 6


def test_ids_and_filters_all_count(store: DocIndexVectorStore) -> None:
    """
    `node_ids`, `doc_ids`, filters and docindex's own filter are joined by "and".

    LlamaIndex's retrievers hand over an empty list of ids, and mean all; elsewhere it is empty.
    """
    found = store.query(asked('chess', node_ids=['a', 'c', 'x'], doc_ids=['document 0']))
    assert found.ids == ['a']
    year = where(MetadataFilter(key='year', value=1950))
    assert sorted(store.query(asked('chess', filters=year, doc_ids=['document 1', 'document 0'])).ids or []) == [
        'b',
        'c',
    ]
    assert store.query(asked('chess', filters=year), filter={'tags': {'$size': 1}}).ids == ['b']
    assert len(store.query(asked('chess', node_ids=[], doc_ids=[])).ids or []) == 6
    assert store.get_nodes([]) == []
    store.delete_nodes([])
    assert len(store.client) == 6
    for key in ('ref_doc_id', 'doc_id', 'document_id'):
        of = where(MetadataFilter(key=key, value='document 2'))
        assert [one.node_id for one in store.get_nodes(filters=of)] == ['e', 'f']


def test_a_filter_that_does_not_fit_is_refused(typed: DocIndexVectorStore) -> None:
    """A value of another type than its field, or than its operator, is an error that names the key."""
    with pytest.raises(FilterError, match='year'):
        typed.get_nodes(filters=where(MetadataFilter(key='year', value='long ago')))
    with pytest.raises(FilterError, match='text_match takes a string'):
        typed.get_nodes(filters=where(MetadataFilter(key='title', value=3, operator=FilterOperator.TEXT_MATCH)))


# -- modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('space', ['cosine', 'l2', 'ip'])
def test_similarities_are_larger_for_what_is_nearer(tmp_path: Path, space: Space) -> None:
    """A similarity is the cosine, the dot product, or 1 / (1 + squared distance), best first."""
    vectors = np.random.default_rng(2).standard_normal((20, 4))
    store = DocIndexVectorStore(work_dir=tmp_path, dim=4, space=space)
    store.add([TextNode(id_=str(n), text='', embedding=row.tolist()) for n, row in enumerate(vectors)])
    query = vectors[3] * 2
    dots = vectors @ query
    expected = {
        'cosine': dots / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query),
        'ip': dots,
        'l2': 1 / (1 + ((vectors - query) ** 2).sum(axis=1)),
    }[space]
    found = store.query(VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=5), exact=True)
    assert found.ids == [str(n) for n in np.argsort(-expected)[:5]]
    assert found.similarities == pytest.approx(sorted(expected, reverse=True)[:5], rel=1e-4)
    store.client.close()


@pytest.mark.parametrize('threshold', [0.1, 0.5, 1.0])
def test_marginal_relevance(tmp_path: Path, threshold: float) -> None:
    """
    Mode `mmr` chooses what LangChain's function chooses of all vectors, wherever the threshold is given.

    LlamaIndex's own compares each vector with the one that was chosen last only, not with all that were.
    """
    vectors = np.random.default_rng(3).standard_normal((30, 6))
    store = DocIndexVectorStore(work_dir=tmp_path, dim=6)
    store.add([TextNode(id_=str(n), text='', embedding=row.tolist()) for n, row in enumerate(vectors)])
    query = vectors[:3].sum(axis=0).tolist()
    chosen = maximal_marginal_relevance(np.array(query), vectors.tolist(), threshold, 6)
    expected = list(map(str, chosen))
    mmr = VectorStoreQuery(query_embedding=query, similarity_top_k=6, mode=VectorStoreQueryMode.MMR)
    assert store.query(mmr, mmr_threshold=threshold, mmr_prefetch_k=30).ids == expected
    mmr.mmr_threshold = threshold
    assert store.query(mmr, mmr_prefetch_factor=5).ids == expected
    store.client.close()


@pytest.mark.parametrize('mode', [VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE])
def test_text_search_ranks_by_words(store: DocIndexVectorStore, mode: VectorStoreQueryMode) -> None:
    """The modes of words need no vector."""
    found = store.query(VectorStoreQuery(query_str='letters garden', similarity_top_k=2, mode=mode))
    assert found.ids == ['d', 'c']
    assert found.similarities == sorted(found.similarities or [], reverse=True)


def test_hybrid_search_weighs_by_alpha(store: DocIndexVectorStore) -> None:
    """With `alpha` 1 only the vector counts, with 0 only the words; `hybrid_top_k` says how many come."""

    def found(alpha: float | None, top: int | None = None) -> VectorStoreQueryResult:
        return store.query(
            VectorStoreQuery(
                query_embedding=vector('garden'), query_str='engine', similarity_top_k=4, hybrid_top_k=top,
                mode=VectorStoreQueryMode.HYBRID, alpha=alpha,
            )
        )  # fmt: skip

    near = store.query(asked('garden', 1)).ids
    assert (found(1).ids or [])[:1] == near
    assert (found(0).ids or [])[:1] == ['f']
    assert found(None).ids == found(0.75).ids
    assert len(found(0.5).ids or []) == 4
    assert len(found(0.5, 1).ids or []) == 1


def test_other_modes_and_queries_that_lack_something_are_refused(store: DocIndexVectorStore) -> None:
    """A mode that is not there, and a query without what its mode needs, are errors that say so."""
    with pytest.raises(QueryError, match=r'svm.*the modes are default, mmr, text_search and hybrid'):
        store.query(asked('x', mode=VectorStoreQueryMode.SVM))
    with pytest.raises(QueryError, match=r"'svm'.*the modes are default"):
        store.query(asked('x', mode='svm'))
    with pytest.raises(QueryError, match="'default' needs query_embedding"):
        store.query(VectorStoreQuery(query_str='x'))
    with pytest.raises(QueryError, match="'hybrid' needs query_str"):
        store.query(VectorStoreQuery(query_embedding=vector('x'), mode=VectorStoreQueryMode.HYBRID))
    with pytest.raises(QueryError, match="'hybrid' needs query_str"):
        store.query(VectorStoreQuery(query_embedding=vector('x'), mode='hybrid'))  # type: ignore[arg-type]


# -- nodes -------------------------------------------------------------------------------------------------


def test_nodes_come_back_as_they_were(store: DocIndexVectorStore) -> None:
    """Nodes of each class are the same again, but for their embeddings, with metadata whose keys are those in use."""
    embedding = vector('x')
    nodes: list[BaseNode] = [
        node('1', 'own keys', {'ref_doc_id': 'mine', 'text': 'y', 'nested': {'a': [1, None]}}, 'document 9'),
        Document(id_='2', text='a document', metadata={'a': 1}, embedding=embedding),
        IndexNode(id_='3', text='an index', index_id='there', embedding=embedding),
        ImageNode(id_='4', image='abcd', embedding=embedding),
        Node(id_='5', text_resource=MediaResource(text='some prose', mimetype='text/markdown'), embedding=embedding),
        TextNode(id_='6', text='', start_char_idx=3, excluded_llm_metadata_keys=['a'], embedding=embedding),
        Document(id_='7', image_resource=MediaResource(data=b'\x89PNG', mimetype='image/png'), embedding=embedding),
        Node(id_='8', audio_resource=MediaResource(data=b'RIFF'), embedding=embedding),
    ]
    assert store.add(nodes) == list('12345678')
    back = store.get_nodes(list('87654321'))[::-1]
    assert list(map(type, back)) == list(map(type, nodes))
    assert back == [one.model_copy(update={'embedding': None}) for one in nodes]
    assert [one.hash for one in back] == [one.hash for one in nodes]
    assert not any(one.text and one.text in str(one.node) for one in store.client[list('12356')])  # stored once


def test_documents_of_the_index_are_nodes(typed: DocIndexVectorStore) -> None:
    """What the index has stored itself comes as nodes, and is deleted by the document it is of."""
    page = Page(id='z', text='Engine', year=1843, ref_doc_id='notes', metadata={'x': 1}, embedding=vector('engine'))
    typed.client.index(page)
    [found] = typed.get_nodes(['z'])
    without = where(MetadataFilter(key='kind', value=None, operator=FilterOperator.IS_EMPTY))
    assert len(typed.get_nodes(filters=without)) == 7  # its type says that it is never an empty string
    assert isinstance(found, TextNode)
    assert (found.text, found.metadata, found.ref_doc_id) == ('Engine', {'x': 1, 'year': 1843}, 'notes')
    typed.delete('notes')
    assert 'z' not in typed.client
    assert typed.client['b'].year == 1950  # a typed field, which a filter finds by itself


def test_metadata_without_a_place_is_refused(tmp_path: Path) -> None:
    """A schema without a dict can be searched; a node cannot be added to it, for most of it would be lost."""

    class Bare(BaseDoc):
        text: str
        embedding: NdArray[6]

    with HnswDocumentIndex[Bare](work_dir=tmp_path) as index:
        index.index(Bare(id='a', text='chess', embedding=vector('chess')))
        store = DocIndexVectorStore(index)
        assert store.query(asked('chess')).ids == ['a']
        with pytest.raises(DocumentError, match='metadata: dict'):
            store.add(NODES)


def test_nodes_are_deleted(store: DocIndexVectorStore) -> None:
    """By document, by ids, by filters, by both, and all of them; without anything said nothing is."""
    store.delete('document 0')
    store.delete('document 0')
    assert sorted(store.client) == list('cdef')
    year = where(MetadataFilter(key='year', value=1950))
    store.delete_nodes(['d', 'e'], year)
    assert sorted(store.client) == list('cdef')
    store.delete_nodes(['d', 'unknown'])
    store.delete_nodes(filters=year)
    assert sorted(store.client) == ['e', 'f']
    for nothing in (None, where()):
        with pytest.raises(QueryError, match='clear'):
            store.delete_nodes(filters=nothing)
    store.clear()
    assert len(store.client) == 0
    assert store.query(asked('chess')).ids == []


def test_a_node_without_an_embedding_is_refused(store: DocIndexVectorStore) -> None:
    """One node without an embedding keeps all others of the call out."""
    with pytest.raises(ValueError, match='embedding not set'):
        store.add([node('y', 'y', {}, 'd'), TextNode(text='x')])
    assert 'y' not in store.client


# -- async -------------------------------------------------------------------------------------------------


async def test_the_async_calls_do_the_same(store: DocIndexVectorStore) -> None:
    """Each async call does what the other one does."""
    assert await store.aquery(asked('chess', 3)) == store.query(asked('chess', 3))
    assert await store.aget_nodes(['a']) == store.get_nodes(['a'])
    assert await store.async_add([node('g', 'more', {'year': 1}, 'document 7')]) == ['g']
    await store.adelete_nodes(['a'])
    await store.adelete_nodes(filters=where(MetadataFilter(key='year', value=1)))
    await store.adelete('document 2')
    assert sorted(store.client) == list('bcd')
    await store.aclear()
    assert len(store.client) == 0


@pytest.mark.parametrize(
    ('method', 'call'),
    [
        ('execute_query', lambda store: store.aquery(asked('chess'))),
        ('filter', lambda store: store.aget_nodes(['a'])),
        ('index', lambda store: store.async_add(NODES)),
        ('delete', lambda store: store.adelete('document 0')),
        ('execute_query', lambda store: store.adelete('document 0')),
        ('delete', lambda store: store.adelete_nodes(['a'])),
        ('execute_query', lambda store: store.adelete_nodes(['a'])),
        ('delete', lambda store: store.aclear()),
    ],
    ids=['query', 'get', 'add', 'delete', 'delete: which', 'delete nodes', 'delete nodes: which', 'clear'],
)
async def test_the_event_loop_goes_on(
    store: DocIndexVectorStore, monkeypatch: pytest.MonkeyPatch, method: str, call: Callable[[Any], Any]
) -> None:
    """While an async call waits for the index, the event loop runs other tasks."""
    await goes_on_during(call(store), store.client, method, monkeypatch)


# -- in LlamaIndex -----------------------------------------------------------------------------------------


def test_an_index_of_llama_index_uses_it(tmp_path: Path) -> None:
    """Documents go in, retrievers in each mode find them, documents are deleted and replaced, and all of it is kept."""
    embed_model, storage = LlamaIndexWords(), tmp_path / 'storage'
    store = DocIndexVectorStore.from_params(tmp_path / 'nodes', len(WORDS), M=8)
    context = StorageContext.from_defaults(vector_store=store)
    documents = [Document(id_=text, text=text, metadata={'n': n}) for n, text in enumerate(TEXTS)]
    index = VectorStoreIndex.from_documents(documents, context, embed_model=embed_model)
    for mode in ('default', 'mmr', 'text_search', 'hybrid'):
        [best, *_] = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=3).retrieve('night river')
        assert best.text == 'Night river'
        assert best.score is not None
    exactly = index.as_retriever(similarity_top_k=1, vector_store_kwargs={'filter': {'n': {'$lt': 2}}})
    assert [found.text for found in exactly.retrieve('garden night')] == ['Chess at night']
    index.delete_ref_doc('Night river')
    index.update_ref_doc(Document(id_='Engine', text='New engine', metadata={'n': 9}))
    assert sorted(found.get_content() for found in store.get_nodes()) == sorted([*TEXTS[:4], 'New engine'])
    index.storage_context.persist(str(storage))
    store.client.close()

    again = DocIndexVectorStore(work_dir=tmp_path / 'nodes', dim=len(WORDS))
    context = StorageContext.from_defaults(vector_store=again, persist_dir=str(storage))
    loaded = load_index_from_storage(context, embed_model=embed_model)
    assert loaded.as_retriever(similarity_top_k=1).retrieve('new engine')[0].text == 'New engine'
    assert again.client.settings()['M'] == 8
    again.client.close()


def test_a_store_is_made_again_from_what_it_says_of_itself(store: DocIndexVectorStore, tmp_path: Path) -> None:
    """A store with a directory is pickled, copied, and made from a dict or JSON; one over an index is only copied."""
    for again in (
        pickle.loads(pickle.dumps(store)),
        DocIndexVectorStore.from_dict(store.to_dict()),
        DocIndexVectorStore.from_json(store.to_json()),
        copy.deepcopy(store),
        copy.copy(store),
    ):
        assert again.to_dict() == store.to_dict()
        assert again.get_nodes() == store.get_nodes()
    with HnswDocumentIndex[Page](work_dir=tmp_path / 'pages') as index:
        over = DocIndexVectorStore(index)
        assert copy.deepcopy(over).client is index
        with pytest.raises(SettingsError, match='one with a work_dir can'):
            pickle.dumps(over)


def test_what_similarity_means_stays_as_it_was(tmp_path: Path) -> None:
    """Who opens a directory and says no space has the one that it was made with, copies of the store too."""
    made = DocIndexVectorStore(work_dir=tmp_path, dim=len(WORDS), space='l2')
    made.add(NODES)
    found = made.query(asked('chess'))
    made.client.close()
    opened = DocIndexVectorStore.from_params(tmp_path, len(WORDS))
    for again in (opened, pickle.loads(pickle.dumps(opened))):
        assert again.client.settings()['space'] == 'l2'
        assert again.query(asked('chess')).similarities == found.similarities
        again.client.close()
    new = DocIndexVectorStore(work_dir=tmp_path / 'new', dim=len(WORDS))
    assert new.client.settings()['space'] == 'cosine'
    new.client.close()


def test_a_place_is_needed(store: DocIndexVectorStore, tmp_path: Path) -> None:
    """A directory with the length of vectors, or an index, has to be given, and has to fit."""
    with pytest.raises(SettingsError, match='work_dir='):
        DocIndexVectorStore()
    with pytest.raises(SettingsError, match='work_dir='):
        DocIndexVectorStore(store.client, work_dir=tmp_path)
    with pytest.raises(SettingsError, match='dim=384'):
        DocIndexVectorStore(work_dir=tmp_path)
    with pytest.raises(SchemaMismatchError, match='embedding'):
        DocIndexVectorStore(work_dir=store.work_dir, dim=7)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LlamaIndex the import says what to install."""
    monkeypatch.delitem(sys.modules, 'docindex.integrations.llama_index')
    monkeypatch.setitem(sys.modules, 'llama_index.core', None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'docindex-hnsw\[llama-index\]'"):
        import_module('docindex.integrations.llama_index')
