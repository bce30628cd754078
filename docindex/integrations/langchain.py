"""
`DocIndexVectorStore`: any index of documents with texts as a vector store of LangChain.

    store = DocIndexVectorStore.from_texts(texts, embedding, metadatas, work_dir='notes')
    store.similarity_search('machines that play chess', k=3, filter={'year': {'$lt': 1900}})

`DocArrayHnswSearch` is the same with the arguments of langchain-community's class of this name.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

from .._aio import beside
from .._optional import optional
from ..errors import QueryError, SettingsError
from ..fields import Space
from ..filters import FilterLike
from ..index import DocumentIndex
from ..query import QueryBuilder, SearchFields, TextMode
from ..results import FindResult
from .langchain_retriever import DocIndexRetriever
from .layout import TextLayout
from .texts import Text, open_texts

optional('langchain_core', 'langchain', 'vector stores of LangChain', 'langchain-core')
from langchain_core.documents import Document  # noqa: E402 (its absence has been explained)
from langchain_core.embeddings import Embeddings  # noqa: E402
from langchain_core.vectorstores import VectorStore  # noqa: E402

MetadataFilter = FilterLike | Callable[[Document], bool]
"""A dictionary of metadata keys, `{'year': {'$lt': 1900}}`; an expression, `F.year < 1900`; or a function."""

_PROBE = 'How long are your vectors?'


class DocIndexVectorStore(VectorStore):
    """
    A vector store of LangChain over a document index, of any schema that has a text and its vector.

    Documents in it can be read, filtered and changed by the index as well, `store.index`, and those that it had before
    are found. Everything is durable when a call returns.

    Args:
        index: An open index.
        embedding: What makes vectors of texts.
        text_field: The field with `page_content`.
        vector_field: The field with its vector; may be left out if there is only one.
        metadata_field: A field that is a dict, for metadata that has no field of its own: `metadata`, if there is one.
            None: metadata without a field is refused.
        metadata_fields: Which fields are metadata, `['author']`, or, by the keys they have there,
            `{'author': 'author__name'}`. Left out: all but ids, text, dict and tensors, by their flat names.
        relevance_score_fn: What makes a relevance from 0 to 1 of a distance; see `relevance`.

    Raises:
        QueryError: there is no such field, or it cannot hold this.
    """

    def __init__(
        self,
        index: DocumentIndex[Any],
        embedding: Embeddings,
        *,
        text_field: str = 'text',
        vector_field: str = '',
        metadata_field: str | None = '',
        metadata_fields: Mapping[str, str] | Sequence[str] | None = None,
        relevance_score_fn: Callable[[float], float] | None = None,
    ) -> None:
        self.index = index
        self.embedding = embedding
        self._relevance = relevance_score_fn
        self._layout = TextLayout.of(
            index._documents_class(),
            text_field=text_field,
            vector_field=vector_field,
            metadata_field=metadata_field,
            metadata_fields=metadata_fields,
        )

    @classmethod
    def open(
        cls,
        work_dir: str | os.PathLike[str],
        embedding: Embeddings,
        *,
        dim: int | None = None,
        space: Space | None = None,
        read_only: bool = False,
        shared_writes: bool = False,
        relevance_score_fn: Callable[[float], float] | None = None,
        **settings: Any,
    ) -> Self:
        """
        Open a store in a directory, or make one: of texts, whose words can be searched too, and metadata of any keys.

        Args:
            work_dir: The directory.
            embedding: What makes vectors of texts.
            dim: How long the vectors are. Left out: `embedding` is asked for one.
            space: What distance means: 'cosine', 'l2' or 'ip'. Left out: what it means there; 'cosine' in a new one.
            read_only: Beside the process that writes; see `HnswDocumentIndex`.
            shared_writes: Beside other processes that write.
            relevance_score_fn: See the class.
            settings: More settings of the vector field, `M=32`; see `docindex.fields.VectorSettings`.

        Raises:
            WorkDirError: the directory cannot be used: it holds something else, or vectors of another length.
            SettingsError: a setting is out of range, or nobody knows it.
        """
        dim = len(embedding.embed_query(_PROBE)) if dim is None else dim
        index = open_texts(work_dir, Text, dim, space, read_only, shared_writes, **settings)
        return cls(index, embedding, relevance_score_fn=relevance_score_fn)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        index: DocumentIndex[Any] | None = None,
        **options: Any,
    ) -> Self:
        """
        Return a store with these texts: in a directory, see `open`, or over an index, see the class.

        Raises:
            SettingsError: neither `work_dir` nor `index` is given, or both are.
        """
        if (work_dir is None) == (index is None):
            raise SettingsError("say where the texts are to be kept: work_dir='a directory', or index=an open index")
        _check_lengths(texts, metadatas=metadatas, ids=ids)
        vectors = embedding.embed_documents(texts)
        if index is not None:
            store = cls(index, embedding, **options)
            store.index.index(store._documents(texts, vectors, metadatas, ids)[0])
            return store
        dim = len(vectors[0]) if vectors else None
        store = cls.open(cast(str, work_dir), embedding, **{'dim': dim, **options})
        return store._filled(texts, vectors, metadatas, ids)

    # -- writing ---------------------------------------------------------------------------------

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self.embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """
        Store texts, all of them or none, and return their ids.

        Args:
            texts: The texts.
            metadatas: One dictionary a text.
            ids: One id a text; a text whose id is there replaces the one before. Where it is None one is made.
            batch_size: How many texts `embed_documents` gets at once; None: all.
            kwargs: Nothing is known; a `TypeError` says so.

        Raises:
            QueryError: there are not as many metadatas or ids as texts.
            DocumentError: metadata does not fit the schema.
        """
        _refuse('add_texts', kwargs)
        texts = list(texts)
        _check_lengths(texts, metadatas=metadatas, ids=ids)
        vectors = [vector for some in _parts(texts, batch_size) for vector in self.embedding.embed_documents(some)]
        documents, made = self._documents(texts, vectors, metadatas, ids)
        self.index.index(documents)
        return made

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do what `add_texts` does, while the event loop goes on."""
        _refuse('aadd_texts', kwargs)
        texts = list(texts)
        _check_lengths(texts, metadatas=metadatas, ids=ids)
        vectors: list[list[float]] = []
        for some in _parts(texts, batch_size):
            vectors += await self.embedding.aembed_documents(some)
        documents, made = self._documents(texts, vectors, metadatas, ids)
        await self.index.aindex(documents)
        return made

    def delete(self, ids: list[str] | None = None, *, filter: FilterLike = None, **kwargs: Any) -> bool:  # noqa: A002
        """
        Delete the documents with these ids, passing over unknown ones, or those that match a filter.

        Without either all are deleted, as LangChain has it. Returns True.
        """
        _refuse('delete', kwargs)
        if ids is not None and filter is not None:
            raise QueryError('delete() takes ids or a filter, not both')
        self.index.delete(self._matching(filter) if ids is None else ids)
        return True

    def _documents(
        self,
        texts: Sequence[str],
        vectors: Sequence[Sequence[float]],
        metadatas: Sequence[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return texts as documents of the schema, and their ids."""
        _check_lengths(texts, vectors=vectors)
        made = [id_ or uuid.uuid4().hex for id_ in ids or [None] * len(texts)]
        rows = zip(made, texts, vectors, metadatas or [{}] * len(texts), strict=True)
        return [self._layout.document(id_, text, vector, metadata or {}) for id_, text, vector, metadata in rows], made

    def _filled(
        self,
        texts: Sequence[str],
        vectors: Sequence[Sequence[float]],
        metadatas: Sequence[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> Self:
        """Return this store, which nobody else knows yet, with texts; if that fails, its directory is free again."""
        try:
            self.index.index(self._documents(texts, vectors, metadatas, ids)[0])
        except BaseException:
            self.close()
            raise
        return self

    def _matching(self, filter_: FilterLike) -> list[str]:
        if filter_ is None:
            return list(self.index)
        query = self.index.build_query().filter(self._layout.filter(filter_)).select('id')
        return [doc.id for doc in self.index.execute_query(query.build()).documents]

    # -- searching -------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order, passing over unknown ones."""
        return [self._document(doc) for doc in self.index.get(list(ids))]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """
        Return the `k` documents nearest to a text, nearest first.

        Args:
            query: The text.
            k: At most so many; fewer only where fewer match.
            filter: Only documents that match: a dictionary of metadata keys, `{'year': {'$lt': 1900}}`, with the
                operators of `docindex.filters`; an expression of fields, `F.year < 1900`; or a function of a
                `Document`, which is slow: it is called for the nearest, and for more, until `k` have passed.
            search: What `find` takes: `exact=True`, `ef=200`.

        Raises:
            FilterError: the filter does not fit the schema.
        """
        return _without_scores(self.similarity_search_with_score(query, k, filter, **search))

    async def asimilarity_search(
        self,
        query: str,
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """Do what `similarity_search` does, while the event loop goes on."""
        return _without_scores(await self.asimilarity_search_with_score(query, k, filter, **search))

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """Return the `k` documents nearest to a vector; see `similarity_search`."""
        return _without_scores(self.similarity_search_with_score_by_vector(embedding, k, filter, **search))

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[tuple[Document, float]]:
        """Return what `similarity_search` does, each with its distance: smaller is nearer; see `docindex.results`."""
        vector = self.embedding.embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, filter, **search)

    async def asimilarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[tuple[Document, float]]:
        """Do what `similarity_search_with_score` does, while the event loop goes on."""
        vector = await self.embedding.aembed_query(query)
        return await beside(self.similarity_search_with_score_by_vector, vector, k, filter, **search)

    def similarity_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[tuple[Document, float]]:
        """Return the `k` documents nearest to a vector, each with its distance; see `similarity_search`."""
        near = self._near(embedding, k, filter, search)
        return self._scored(self.index.execute_query(near.build()))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """
        Return `k` documents that are near a text and unlike each other; see `docindex.fusion.diversified`.

        Args:
            query: The text.
            k: At most so many.
            fetch_k: They are chosen of the nearest so many.
            lambda_mult: From 0, only variety counts, to 1, only nearness.
            filter: Only documents that match; see `similarity_search`.
            search: What `find` takes: `exact=True`, `ef=200`.
        """
        vector = self.embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter, **search)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does, while the event loop goes on."""
        vector = await self.embedding.aembed_query(query)
        given = vector, k, fetch_k, lambda_mult, filter
        return await self.amax_marginal_relevance_search_by_vector(*given, **search)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """Return `k` documents that are near a vector and unlike each other; see `max_marginal_relevance_search`."""
        near = self._near(embedding, max(k, fetch_k), filter, search)
        found = self.index.execute_query(near.diversify(k, lambda_mult=lambda_mult).build())
        return _without_scores(self._scored(found))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: MetadataFilter = None,  # noqa: A002
        **search: Any,
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search_by_vector` does, while the event loop goes on."""
        given = embedding, k, fetch_k, lambda_mult, filter
        return await beside(self.max_marginal_relevance_search_by_vector, *given, **search)

    def text_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,  # noqa: A002
        *,
        text_field: SearchFields = '',
        mode: TextMode = 'any',
    ) -> list[tuple[Document, float]]:
        """
        Return the `k` documents whose words fit best, each with its BM25 score: larger is better.

        Args:
            query: The words.
            k: At most so many.
            filter: Only documents that match; see `similarity_search`. No function.
            text_field: Fields with full text; left out: all of them.
            mode: See `Searchable.text_search`.
        """
        condition = self._layout.filter(filter)
        return self._scored(self.index.text_search(query, text_field, k, filter=condition, mode=mode))

    def hybrid_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,  # noqa: A002
        *,
        text_field: SearchFields = '',
        **fusion: Any,
    ) -> list[tuple[Document, float]]:
        """
        Return the `k` documents that are best by nearness and words together, with fused scores: larger is better.

        Args:
            query: A text, for both.
            k: At most so many.
            filter: Only documents that match; see `similarity_search`. No function.
            text_field: Fields with full text; left out: all of them.
            fusion: What `Searchable.hybrid` takes: `fusion='rrf'`, `weights=(0.5, 0.5)`, `mode='all'`.
        """
        return self._hybrid(query, self.embedding.embed_query(query), k, filter, text_field, fusion)

    async def atext_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,  # noqa: A002
        **given: Any,
    ) -> list[tuple[Document, float]]:
        """Do what `text_search` does, while the event loop goes on."""
        return await beside(self.text_search, query, k, filter, **given)

    async def ahybrid_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,  # noqa: A002
        *,
        text_field: SearchFields = '',
        **fusion: Any,
    ) -> list[tuple[Document, float]]:
        """Do what `hybrid_search` does, while the event loop goes on."""
        vector = await self.embedding.aembed_query(query)
        return await beside(self._hybrid, query, vector, k, filter, text_field, fusion)

    def _hybrid(
        self,
        query: str,
        vector: list[float],
        k: int,
        filter_: FilterLike,
        text_field: SearchFields,
        fusion: dict[str, Any],
    ) -> list[tuple[Document, float]]:
        fields = self._layout.vector_field, text_field
        return self._scored(self.index.hybrid(query, vector, *fields, k, filter=self._layout.filter(filter_), **fusion))

    def _near(self, vector: list[float], limit: int, filter_: MetadataFilter, search: dict[str, Any]) -> QueryBuilder:
        condition: FilterLike
        if callable(filter_):
            condition = {'id': {'$in': self._passing(vector, limit, filter_, search)}}
        else:
            condition = self._layout.filter(filter_)
        return self.index.build_query().filter(condition).find(vector, self._layout.vector_field, limit, **search)

    def _passing(
        self, vector: list[float], limit: int, passes: Callable[[Document], bool], search: dict[str, Any]
    ) -> list[str]:
        """Return the ids of the `limit` nearest that pass, asking for more and more of the nearest."""
        verdicts: dict[str, bool] = {}
        asked = 4 * limit
        while True:
            near = self.index.find(vector, self._layout.vector_field, asked, **search).documents
            for doc in near:
                if doc.id not in verdicts:
                    verdicts[doc.id] = bool(passes(self._document(doc)))
            passing = [doc.id for doc in near if verdicts[doc.id]]
            if len(passing) >= limit or len(near) < asked:
                return passing[:limit]
            asked *= 4

    def as_retriever(self, **kwargs: Any) -> DocIndexRetriever:
        """
        Return a retriever.

        Args:
            kwargs: `search_type`: 'similarity', 'mmr', 'similarity_score_threshold', and here also 'text' and
                'hybrid'; `search_kwargs`: the arguments of the search, `{'k': 3, 'filter': {...}}`.
        """
        tags = kwargs.pop('tags', None) or self._get_retriever_tags()
        return DocIndexRetriever(vectorstore=self, tags=tags, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        space = self.index.settings(self._layout.vector_field)['space']
        return self._relevance or partial(relevance, space)

    def _scored(self, found: FindResult[Any]) -> list[tuple[Document, float]]:
        return [(self._document(doc), float(score)) for doc, score in zip(*found, strict=True)]

    def _document(self, doc: Any) -> Document:
        return Document(id=doc.id, page_content=self._layout.text(doc), metadata=self._layout.metadata(doc))

    # -- closing ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class DocArrayHnswSearch(DocIndexVectorStore):
    """
    langchain-community's `DocArrayHnswSearch`, on this library: the same calls, and all that `DocIndexVectorStore` can.

    The directory is one of docindex. What DocArray has written is brought over by `docindex.import_docarray`.
    """

    @classmethod
    def from_params(
        cls,
        embedding: Embeddings,
        work_dir: str,
        n_dim: int,
        dist_metric: Space | None = None,
        max_elements: int = 1024,
        index: bool = True,
        ef_construction: int = 200,
        ef: int | None = None,
        M: int = 16,  # noqa: N803
        allow_replace_deleted: bool = True,
        num_threads: int = -1,
        **settings: Any,
    ) -> Self:
        """
        Open a store, or make one; see `DocIndexVectorStore.open` and `docindex.fields.VectorSettings`.

        Three settings have other defaults than in langchain-community: `ef` there is 10, which finds three of four true
        neighbours (see `VectorSettings`), `num_threads` 1, and `dist_metric` 'cosine' also where the directory has
        another one.
        """
        return cls.open(
            work_dir,
            embedding,
            dim=n_dim,
            space=dist_metric,
            max_elements=max_elements,
            index=index,
            ef_construction=ef_construction,
            ef=ef,
            M=M,
            allow_replace_deleted=allow_replace_deleted,
            num_threads=num_threads,
            **settings,
        )

    @classmethod
    def from_texts(  # type: ignore[override]  # those of langchain-community
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        work_dir: str | None = None,
        n_dim: int | None = None,
        *,
        ids: list[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Return a store with these texts; `settings` as for `from_params`. `n_dim` may be left out."""
        if work_dir is None:
            raise SettingsError("say where the texts are to be kept: work_dir='a directory'")
        _check_lengths(texts, metadatas=metadatas, ids=ids)
        vectors = embedding.embed_documents(texts)
        n_dim = n_dim or len(vectors[0] if vectors else embedding.embed_query(_PROBE))
        return cls.from_params(embedding, work_dir, n_dim, **settings)._filled(texts, vectors, metadatas, ids)

    @property
    def doc_index(self) -> DocumentIndex[Any]:
        """The index, by langchain-community's name."""
        return self.index


def relevance(space: Space, distance: float) -> float:
    """
    Return a distance as a relevance from 0 to 1, larger is better, for score thresholds.

    cosine    (1 + cosine) / 2, 1 for the same direction and 0 for the opposite
    ip        the same of the dot product, which for vectors of length 1 is the cosine; 0 below -1, and 1 above 1
    l2        1 / (1 + distance), the distance being the squared Euclidean one
    """
    if space == 'l2':
        return 1 / (1 + distance)
    return min(1.0, max(0.0, 1 - distance / 2))


def _check_lengths(texts: Sequence[str], **given: Sequence[object] | None) -> None:
    for name, values in given.items():
        if values is not None and len(values) != len(texts):
            raise QueryError(f'there are {len(texts)} texts and {len(values)} {name}; each text needs one')


def _parts(texts: list[str], batch_size: int | None) -> list[list[str]]:
    size = batch_size or max(1, len(texts))
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def _without_scores(scored: Iterable[tuple[Document, float]]) -> list[Document]:
    return [document for document, _ in scored]


def _refuse(call: str, unknown: Mapping[str, object]) -> None:
    if unknown:
        raise TypeError(f'{call}() got unexpected arguments: {", ".join(unknown)}')
