"""
`Searchable`: what can be asked of documents that are stored, whether they are indexed themselves or stand in lists.

`docindex.index` adds what can be done to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from numpy.typing import ArrayLike
from pydantic import BaseModel

from ._aio import beside
from ._later import later
from .doclist import DocList
from .errors import DocumentNotFoundError, IdTypeError, QueryError
from .filters import FilterLike
from .fusion import Fusion
from .query import Query, QueryBuilder, SearchFields, TextMode, checked_count
from .results import Explanation, FindResult, FindResultBatched

if TYPE_CHECKING:
    from .planes import Method

D = TypeVar('D', bound=BaseModel)

_HYBRID_DEPTH = 100
_HYBRID_WEIGHTS = (0.75, 0.25)


class Searchable(ABC, Generic[D]):
    """Documents of class `D` by their ids, with vector search over each of their vector fields."""

    def find(
        self,
        query: object,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002 (the field's name for it)
        exact: bool = False,
        ef: int | None = None,
        group_by_root: bool = False,
    ) -> FindResult[D]:
        """
        Return the `limit` documents nearest to `query`, nearest first.

        Args:
            query: A vector, shape (dim,), compared as float32; a document of any class that has the field; or a text,
                where the field says how one becomes a vector (`Field(embeds=..., with_=...)`).
            search_field: The flat name of a vector field. May be left out if there is only one. That of a field of
                documents in a list, `chunks__embedding`, finds these, and a filter then names the fields of the
                outermost documents all the same: `chunks__page` is that of the chunk that is found, `title` that of
                the document it is in.
            limit: At most this many; fewer only when fewer documents have this vector and match the filter.
            filter: Only documents that match; see `docindex.filters`.
            exact: Compare with every vector instead of searching the graph.
            ef: How many candidates to examine, instead of what the settings say. More: slower, more accurate.
            group_by_root: Return the `limit` outermost documents that the nearest are in, each once, with the distance
                of the nearest one in it.

        Raises:
            QueryError: no such vector field, a negative limit, or no vector in the query.
            FilterError: the filter does not fit the schema.
            VectorError: the query is not finite or not numeric; `DimensionError`: has another length.
            EmbeddingError: the function that makes vectors of texts has failed.
        """
        found = self.find_batched(
            [query], search_field, limit, filter=filter, exact=exact, ef=ef, group_by_root=group_by_root
        )
        return FindResult(found.documents[0], found.scores[0])

    @abstractmethod
    def find_batched(
        self,
        queries: Sequence[object] | ArrayLike,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
        group_by_root: bool = False,
    ) -> FindResultBatched[D]:
        """
        Answer several queries as `find` does each.

        `queries` is an array of shape (q, dim), or a sequence of what `find` takes.
        """

    @abstractmethod
    def execute_query(self, query: Query) -> FindResult[D]:
        """
        Answer a query of several steps, as of one moment; `build_query` makes it, `docindex.query` says what it means.

        The documents are of the index's schema, or of a class with what `select` has left of it.

        Raises:
            QueryError: a step does not fit the schema, or the other steps; `FilterError`: a filter does not.
        """

    def build_query(self) -> QueryBuilder:
        """Return a builder: `build_query().filter(...).find(...).limit(5).build()` is for `execute_query`."""
        return QueryBuilder()

    def filter(
        self,
        filter_query: FilterLike,
        limit: int | None = 10,
        *,
        sort: str = '',
        descending: bool = False,
        offset: int = 0,
    ) -> DocList[D]:
        """
        Return documents that match, in the order in which they were indexed.

        Args:
            filter_query: A dictionary, `{'price': {'$lt': 10}}`, or comparisons, `F.price < 10`; see
                `docindex.filters`. None: all.
            limit: At most this many; None: all.
            sort: In the order of this field; what has no value comes last.
            descending: From the largest to the smallest.
            offset: Without the first so many.

        Raises:
            FilterError: a field is unknown, an operator or a value not for it.
            QueryError: a number is negative, or there is no such field or order.
        """
        query = self.build_query().filter(filter_query)
        if not isinstance(sort, str) or sort:
            query = query.sort(sort, descending=descending)
        elif descending:
            raise QueryError('descending needs sort=...')
        query = query.offset(offset)
        return self.execute_query((query if limit is None else query.limit(limit)).build()).documents

    def filter_batched(self, filter_queries: Iterable[FilterLike], limit: int | None = 10) -> list[DocList[D]]:
        """Answer several filters as `filter` does each."""
        return [self.filter(filter_query, limit) for filter_query in filter_queries]

    @abstractmethod
    def count(self, filter_query: FilterLike | Query = None) -> int:
        """
        Return how many documents match a filter, or how many a query finds.

        Raises:
            FilterError: as for `filter`. QueryError: as for `execute_query`.
        """

    def text_search(
        self,
        query: Any,
        search_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        mode: TextMode = 'any',
    ) -> FindResult[D]:
        """
        Return the `limit` documents whose texts fit some words best, with their BM25 scores; larger is better.

        Args:
            query: The words; or a document, whose text in the field is taken.
            search_field: A field with `Field(full_text=True)`, a list of several, or several with weights,
                `{'title': 3, 'body': 1}`. Left out: all of them.
            limit: At most this many.
            filter: Only documents that match; see `docindex.filters`.
            mode: 'any': one word at least; more, and rarer ones, count more. 'all': every word. 'phrase': the words in
                a row. 'prefix': every word, the last one as a beginning. 'boolean': SQLite's language of AND, OR, NOT,
                "phrases", beginn*, NEAR(...) and parentheses. But for the last, signs in the query mean nothing.

        Raises:
            QueryError: a field has no full text, or the query is no string, or a boolean one that makes no sense.
            FilterError: as for `filter`.
        """
        found = self.build_query().filter(filter).text_search(query, search_field, limit, mode=mode)
        return self.execute_query(found.build())

    def text_search_batched(
        self,
        queries: Iterable[Any],
        search_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        mode: TextMode = 'any',
    ) -> FindResultBatched[D]:
        """Answer several queries as `text_search` does each."""
        if isinstance(queries, str):
            raise QueryError('expected several queries, got a string; use text_search() for one')
        found = [self.text_search(query, search_field, limit, filter=filter, mode=mode) for query in queries]
        return FindResultBatched([each.documents for each in found], [each.scores for each in found])

    def snippets(
        self,
        query: str,
        docs: Iterable[Any],
        search_field: str = '',
        *,
        mode: TextMode = 'any',
        before: str = '**',
        after: str = '**',
        words: int = 16,
    ) -> list[str]:
        """
        Return for each document the part of its stored text that fits a text search best, what fits being marked.

        Args:
            query: What was searched.
            docs: Documents, or ids.
            search_field: The field; may be left out if only one has full text.
            mode: How it was searched; see `text_search`.
            before: What to put before each match.
            after: What to put after each match.
            words: How many words a snippet has at most, up to 64.

        Returns:
            One string a document, empty where nothing fits.
        """
        if isinstance(docs, (str, BaseModel)):
            raise QueryError('expected several documents or ids, got one; put it into a list')
        ids = ids_of([doc.id if isinstance(doc, BaseModel) and hasattr(doc, 'id') else doc for doc in docs])
        if not isinstance(words, int) or isinstance(words, bool) or not 1 <= words <= 64:
            raise QueryError(f'words must be from 1 to 64, got {words!r}')
        return self._snippets(query, ids, search_field, mode, before, after, words)

    @abstractmethod
    def _snippets(
        self, query: str, ids: list[str], search_field: str, mode: TextMode, before: str, after: str, words: int
    ) -> list[str]:
        """Do what `snippets` says; the arguments are checked."""

    def hybrid(
        self,
        text: str,
        vector: object = None,
        search_field: str = '',
        text_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        fusion: Fusion[str] = 'weighted',
        weights: Sequence[float] | None = None,
        mode: TextMode = 'any',
    ) -> FindResult[D]:
        """
        Return the `limit` documents that are best by nearness and words together, with fused scores; larger is better.

        Args:
            text: The words.
            vector: The vector, or what else `find` takes. Left out: that of the words, where the field embeds texts.
            search_field: The vector field.
            text_field: The fields with full text; see `text_search`.
            limit: At most this many.
            filter: Only documents that match; see `docindex.filters`.
            fusion: How the rankings are joined: 'weighted', 'rrf' or a function; see `docindex.fusion`.
            weights: How much vector and text count; (0.75, 0.25) by default (as in Weaviate; on the questions of
                `benchmarks/relevance.py` that is better than each of them alone, and equal weights are worse).
            mode: How the words are searched; see `text_search`.

        Raises:
            QueryError, FilterError, VectorError: as for `find` and `text_search`.
        """
        depth = min(max(_HYBRID_DEPTH, 2 * checked_count('limit', limit)), (1 << 62) - 1)
        both = self.build_query().filter(filter).find(text if vector is None else vector, search_field, depth)
        both = both.text_search(text, text_field, depth, mode=mode)
        given = weights if weights is not None or callable(fusion) else _HYBRID_WEIGHTS
        return self.execute_query(both.fuse(fusion, weights=given).limit(limit).build())

    def explain(
        self,
        query: object,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
    ) -> Explanation:
        """
        Answer a query and say how: `explain(query)` for one of `build_query`, or with what `find` takes.

        Returns:
            The plan, how many documents match and how many were thought to, and how long each step took.
        """
        if not isinstance(query, Query):
            found = self.build_query().filter(filter)
            query = found.find(query, search_field, limit, exact=exact, ef=ef).build()
        return self._explain(query)

    @abstractmethod
    def _explain(self, query: Query) -> Explanation:
        """Answer a query and say how."""

    def plot(
        self,
        search_field: str = '',
        *,
        color: str = '',
        highlight: object = None,
        query: object = None,
        method: Method | None = None,
        filter: FilterLike = None,  # noqa: A002
        limit: int = 5000,
        ax: Any = None,
    ) -> Any:
        """
        Draw the vectors of a field in two dimensions: which documents are alike, and where a result stands among them.

        A point is a document. The picture is the same each time as long as the documents are. It says which are near
        each other, and not how near: `docindex.planes` has what the two methods keep.

        Args:
            search_field: A vector field; may be left out if there is only one.
            color: The flat name of a field: numbers and times become a range of colours, anything else a colour for
                each of the most frequent values.
            highlight: What to draw a ring around: what `find` and others have found, documents, or ids. The first ten
                have numbers in their order.
            query: A vector or a document, as for `find`, to draw a star at its place.
            method: 'pca', the two directions in which the vectors differ most; 'umap', for which umap-learn must be
                installed, a plane on which neighbours stay neighbours; None: 'umap' if it is installed, else 'pca'.
            filter: Only documents that match; see `docindex.filters`. What is highlighted is drawn in any case.
            limit: At most so many of them, by chance, but the same ones each time. This many vectors are in memory.
            ax: The axes of matplotlib to draw on. None: those of a new figure.

        Returns:
            The figure, a `matplotlib.figure.Figure`: notebooks show it, `savefig('plot.png')` writes it.

        Raises:
            QueryError: there is no such field, its values are no vectors or no colours, or there is nothing to draw.
            DocumentNotFoundError: what is to be highlighted is not in the index.
            FilterError, VectorError: as for `find`.
            MissingLibraryError: matplotlib, or umap-learn, is missing; the message says what to install.
        """
        return later('plotting').plot(
            self,
            search_field,
            color=color,
            highlight=highlight,
            query=query,
            method=method,
            filter_=filter,
            limit=limit,
            ax=ax,
        )

    # A string is an iterable of strings too; the first overload that fits counts.
    @overload
    @abstractmethod
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    @abstractmethod
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    @abstractmethod
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of this moment: in the order of indexing, but an updated document stands anywhere."""

    @abstractmethod
    def num_docs(self) -> int:
        """Return the number of documents."""

    @abstractmethod
    def __contains__(self, item: object) -> bool:
        """Return whether there is a document with this id, or with the id of this document."""

    @overload
    def __getitem__(self, key: str) -> D: ...
    @overload
    def __getitem__(self, key: list[str] | tuple[str, ...]) -> DocList[D]: ...
    def __getitem__(self, key: str | list[str] | tuple[str, ...]) -> D | DocList[D]:
        """
        Return the document with an id, or those with several, in that order.

        Raises:
            DocumentNotFoundError: naming all ids that are not there.
        """
        ids = ids_of(key)
        docs = self.get(ids)
        if len(docs) < len(ids):
            found = set(docs.id)
            raise DocumentNotFoundError([id_ for id_ in dict.fromkeys(ids) if id_ not in found])
        return docs[0] if isinstance(key, str) else docs

    def __len__(self) -> int:
        """Return the number of documents."""
        return self.num_docs()

    # -- the same verbs in async code ------------------------------------------------------------------

    async def afind(
        self,
        query: object,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
        group_by_root: bool = False,
    ) -> FindResult[D]:
        """Do what `find` does, while the event loop goes on."""
        given: dict[str, Any] = {'filter': filter, 'exact': exact, 'ef': ef, 'group_by_root': group_by_root}
        return await beside(self.find, query, search_field, limit, **given)

    async def afind_batched(
        self,
        queries: Sequence[object] | ArrayLike,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
        group_by_root: bool = False,
    ) -> FindResultBatched[D]:
        """Do what `find_batched` does, while the event loop goes on."""
        given: dict[str, Any] = {'filter': filter, 'exact': exact, 'ef': ef, 'group_by_root': group_by_root}
        return await beside(self.find_batched, queries, search_field, limit, **given)

    async def afilter(
        self,
        filter_query: FilterLike,
        limit: int | None = 10,
        *,
        sort: str = '',
        descending: bool = False,
        offset: int = 0,
    ) -> DocList[D]:
        """Do what `filter` does, while the event loop goes on."""
        return await beside(self.filter, filter_query, limit, sort=sort, descending=descending, offset=offset)

    async def afilter_batched(self, filter_queries: Iterable[FilterLike], limit: int | None = 10) -> list[DocList[D]]:
        """Do what `filter_batched` does, while the event loop goes on."""
        return await beside(self.filter_batched, filter_queries, limit)

    async def acount(self, filter_query: FilterLike | Query = None) -> int:
        """Do what `count` does, while the event loop goes on."""
        return await beside(self.count, filter_query)

    async def atext_search(
        self,
        query: Any,
        search_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        mode: TextMode = 'any',
    ) -> FindResult[D]:
        """Do what `text_search` does, while the event loop goes on."""
        return await beside(self.text_search, query, search_field, limit, filter=filter, mode=mode)

    async def atext_search_batched(
        self,
        queries: Iterable[Any],
        search_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        mode: TextMode = 'any',
    ) -> FindResultBatched[D]:
        """Do what `text_search_batched` does, while the event loop goes on."""
        return await beside(self.text_search_batched, queries, search_field, limit, filter=filter, mode=mode)

    async def asnippets(
        self,
        query: str,
        docs: Iterable[Any],
        search_field: str = '',
        *,
        mode: TextMode = 'any',
        before: str = '**',
        after: str = '**',
        words: int = 16,
    ) -> list[str]:
        """Do what `snippets` does, while the event loop goes on."""
        marks = {'before': before, 'after': after}
        return await beside(self.snippets, query, docs, search_field, mode=mode, words=words, **marks)

    async def ahybrid(
        self,
        text: str,
        vector: object = None,
        search_field: str = '',
        text_field: SearchFields = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        fusion: Fusion[str] = 'weighted',
        weights: Sequence[float] | None = None,
        mode: TextMode = 'any',
    ) -> FindResult[D]:
        """Do what `hybrid` does, while the event loop goes on."""
        given = text, vector, search_field, text_field, limit
        return await beside(self.hybrid, *given, filter=filter, fusion=fusion, weights=weights, mode=mode)

    async def aexecute_query(self, query: Query) -> FindResult[D]:
        """Do what `execute_query` does, while the event loop goes on."""
        return await beside(self.execute_query, query)

    async def aexplain(
        self,
        query: object,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
    ) -> Explanation:
        """Do what `explain` does, while the event loop goes on."""
        return await beside(self.explain, query, search_field, limit, filter=filter, exact=exact, ef=ef)

    async def aplot(
        self,
        search_field: str = '',
        *,
        color: str = '',
        highlight: object = None,
        query: object = None,
        method: Method | None = None,
        filter: FilterLike = None,  # noqa: A002
        limit: int = 5000,
        ax: Any = None,
    ) -> Any:
        """Do what `plot` does, while the event loop goes on."""
        given: dict[str, Any] = {'color': color, 'highlight': highlight, 'query': query, 'method': method, 'ax': ax}
        return await beside(self.plot, search_field, filter=filter, limit=limit, **given)

    @overload
    async def aget(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    async def aget(self, ids: Iterable[str]) -> DocList[D]: ...
    async def aget(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Do what `get` does, while the event loop goes on."""
        return await beside(self.get, ids)

    async def anum_docs(self) -> int:
        """Do what `num_docs` does, while the event loop goes on."""
        return await beside(self.num_docs)


def ids_of(key: object) -> list[str]:
    """
    Return the ids in a key: a string, or any iterable of strings.

    Raises:
        IdTypeError: something in it is not a string.
    """
    if isinstance(key, str):
        return [key]
    if not isinstance(key, Iterable) or isinstance(key, (bytes, BaseModel, dict)):
        raise IdTypeError(f'expected an id or a list of ids, got {type(key).__name__} {key!r}')
    ids = list(key)
    for id_ in ids:
        if not isinstance(id_, str):
            raise IdTypeError(f'an id is a string, got {type(id_).__name__} {id_!r}; use str(...)')
    return ids
