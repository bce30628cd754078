"""What is read of the documents of one level, and of those in their lists."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..distances import Labels
from ..doclist import DocList
from ..errors import CHECK, CorruptIndexError
from ..execution import answer
from ..filling import query_with_vectors, with_vectors
from ..filters import Filter, FilterLike
from ..parsing import parse
from ..query import FindStep, Query, TextMode, checked_count
from ..refusals import unknown_of
from ..results import Explanation, FindResult, FindResultBatched
from ..schema import Level
from ..scopes import ALL, Scope, about, checked_ef, id_of, levels_named, scope_of, vector_field
from ..searchable import Searchable, ids_of
from ..selecting import selected
from ..tensors import Float32Array
from .documents import Documents
from .searching import Searching
from .state import View
from .store import Store
from .tree import Tree

D = TypeVar('D', bound=BaseModel)


class Reading(Searchable[D]):
    """
    Answers from a store what `Searchable` promises, for the documents of one level.

    Attributes (set by the classes that inherit from this one):
        _tree: Reads the documents of all levels.
        _level: The level whose documents these are, and whose names queries speak.
    """

    _tree: Tree[Any]
    _level: Level

    @abstractmethod
    def _usable(self) -> Store:
        """Return the store, or raise `ClosedIndexError`."""

    # -- searching -----------------------------------------------------------------------------------

    def find_batched(
        self,
        queries: Any,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
        group_by_root: bool = False,
    ) -> FindResultBatched[D]:
        """Answer several queries as `find` does each; see `Searchable.find_batched`."""
        store = self._usable()
        name = vector_field(self._level, self._tree.vectors, search_field)
        scope = Scope(self._level, self._tree.schema.level_of(name))
        limit, ef = checked_count('limit', limit), checked_ef(ef)
        condition = parse(self._level.schema, filter)
        queries = self._as_vectors(scope, name, queries)
        if not exact:
            store.wake(name)
        with store.turns.one(), store.reading() as view:
            searching = Searching(view, scope)
            matrix = searching.queries(name, queries)
            if group_by_root and scope.found.name:
                return self._find_roots(view, searching, name, matrix, limit, exact, ef, condition)
            labels, scores = searching.find(name, matrix, limit, exact, ef, condition)
            docs = self._loaded(view, labels.ravel(), scope, condition)
        each = labels.shape[1]
        lists = [self._doclist(docs[at * each : (at + 1) * each], scope.found) for at in range(len(matrix))]
        return FindResultBatched(lists, scores)

    def _as_vectors(self, scope: Scope, name: str, queries: Any) -> Any:
        """Return queries with vectors in the place of texts, before any lock: the function may take its time."""
        column = scope.found.schema.columns[scope.found.name_of(name)]
        scope.check_queries(name, queries)
        return with_vectors(queries, column, self._usable().state.embeddings.get(name))

    def _in_vectors(self, query: Query) -> Query:
        """Return a query of several steps with vectors in the place of texts."""

        def asked(search_field: str, one: Any) -> Any:
            name = vector_field(self._level, self._tree.vectors, search_field)
            (found,) = self._as_vectors(Scope(self._level, self._tree.schema.level_of(name)), name, [one])
            return found

        found: Query = query_with_vectors(query, asked)
        return found

    def _find_roots(
        self,
        view: View,
        searching: Searching,
        name: str,
        queries: Float32Array,
        limit: int,
        exact: bool,
        ef: int | None,
        condition: Filter,
    ) -> FindResultBatched[D]:
        """Return for each query the outermost documents that the nearest are in, each once."""
        root, path = self._tree.root, self._usable().path
        lists: list[DocList[D]] = []
        scores: list[Float32Array] = []
        for query in queries:
            wanted = limit
            while True:
                # The nearest may all be in a few documents; then more of them are asked for.
                labels, distances = searching.find(name, query[None], wanted, exact, ef, condition)
                roots = self._tree.roots_of(view, labels[0], searching.level, path)
                _, first = np.unique(roots, return_index=True)
                if len(first) >= limit or labels.shape[1] < wanted:
                    break
                wanted *= 4
            at = np.sort(first)[:limit]
            lists.append(self._doclist(self._tree.load(view, roots[at], path), root))
            scores.append(distances[0, at])
        is_even = len({len(each) for each in scores}) <= 1
        return FindResultBatched(lists, np.stack(scores) if is_even and scores else scores)

    def execute_query(self, query: Query) -> FindResult[D]:
        """Answer a query of several steps; see `Searchable.execute_query`."""
        query = self._in_vectors(query)
        with self._reading_for(query) as view:
            return self._answer(view, query).result

    def count(self, filter_query: FilterLike | Query = None) -> int:
        """Return how many documents match; see `Searchable.count`."""
        store = self._usable()
        if isinstance(filter_query, Query):
            scope, query = self._scope(filter_query), self._in_vectors(filter_query)
            with self._reading_for(query) as view:
                return len(answer(query, self._level.schema, Searching(view, scope)).keys)
        condition = parse(self._level.schema, filter_query)
        with store.reading() as view:
            return view.rows.count_where(Searching(view, Scope(self._level, self._level)).where(condition))

    def _explain(self, query: Query) -> Explanation:
        asked = self._in_vectors(query)
        with self._reading_for(asked) as view:
            found = self._answer(view, asked)
            matches = view.rows.count_where(found.searching.where(found.filter))
        estimate, steps = found.searching.estimate, found.searching.steps
        return Explanation(query, found.filter, estimate, matches, steps, len(found.result.documents))

    def _reading_for(self, query: Query) -> AbstractContextManager[View]:
        """See one state, with the graphs in memory that a query needs."""
        store = self._usable()
        for step in query.steps if isinstance(query, Query) else ():
            if isinstance(step, FindStep) and not step.exact:
                store.wake(vector_field(self._level, self._tree.vectors, step.search_field))
        return store.reading()

    def _answer(self, view: View, query: Query, root_filter: Filter = ALL) -> _Answered:
        """Return what a query finds."""
        scope = self._scope(query, root_filter)
        searching = Searching(view, scope)
        found = answer(query, self._level.schema, searching)
        labels = np.array(found.keys, np.int64)
        with searching.step(f'read {len(labels):,} documents'):
            if found.select is None:
                docs = self._doclist(self._loaded(view, labels, scope, found.filter), scope.found)
            else:
                docs = self._selected(view, labels, found.select, found.filter)
        return _Answered(FindResult(docs, found.scores), labels, found.filter, searching)

    def _scope(self, query: Query, root_filter: Filter = ALL) -> Scope:
        return scope_of(query, self._level, self._tree.schema, self._tree.vectors, root_filter)

    def _snippets(
        self, query: str, ids: list[str], search_field: str, mode: TextMode, before: str, after: str, words: int
    ) -> list[str]:
        scope = Scope(self._level, levels_named(self._tree.schema, self._level, search_field)[0])
        with self._usable().reading() as view:
            return Searching(view, scope).snippets(query, ids, search_field, mode, before, after, words)

    # -- by id ---------------------------------------------------------------------------------------

    @overload
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""
        store = self._usable()
        asked = ids_of(ids)
        with store.reading() as view:
            known, rows = view.rows.fetch_ids(asked, self._number(view))
            found = [id_ for id_ in asked if id_ in known]
            labels = np.array([known[id_] for id_ in found], np.int64)
            docs = self._tree.load(view, labels, store.path, self._level.name, rows)
        self._check_ids(found, docs)
        if isinstance(ids, str):
            return docs[0] if docs else None
        return self._doclist(docs, self._level)

    def __contains__(self, item: object) -> bool:
        store = self._usable()
        id_ = id_of(item)
        with store.reading() as view:
            return bool(view.rows.labels_of([id_], self._number(view)))

    def __iter__(self) -> Iterator[str]:
        with self._usable().reading() as view:
            return iter(view.rows.ids(self._number(view)))

    def num_docs(self) -> int:
        """Return the number of documents."""
        with self._usable().reading() as view:
            return view.labels.documents(self._number(view))

    # -- documents -------------------------------------------------------------------------------------

    @property
    def _documents(self) -> Documents[Any]:
        return self._tree.levels[self._level.name]

    def _number(self, view: View) -> int:
        return view.state.fields.number(self._level.name)

    def _load(self, view: View, labels: Labels) -> list[Any]:
        return self._tree.load(view, labels, self._usable().path, self._level.name)

    def _loaded(self, view: View, labels: Labels, scope: Scope, filter_: Filter) -> list[Any]:
        """Return the documents that were found, which match what has found them."""
        docs = self._tree.load(view, labels, self._usable().path, scope.found.name)
        self._check(docs, filter_ if scope.found is scope.names else about(filter_, scope))
        return docs

    def _selected(self, view: View, labels: Labels, fields: tuple[str, ...], filter_: Filter) -> DocList[Any]:
        """Return some fields of the documents with these labels."""
        documents, nodes = self._documents, self._level.schema.nodes
        if any(nodes[name].is_tensor or nodes[name].is_document or nodes[name].inner for name in fields):
            docs = self._load(view, labels)
        else:
            docs = documents.without_vectors(view, labels, self._usable().path)
        if not documents.lists:  # a filter may look into the lists, which are not read here
            self._check(docs, filter_)
        return selected(self._level.schema, docs, fields)

    def _check_ids(self, ids: Sequence[str], docs: Sequence[Any]) -> None:
        """
        Check that documents have the ids that they were asked for by.

        Raises:
            CorruptIndexError: one has another.
        """
        for id_, doc in zip(ids, docs, strict=True):
            if doc.id != id_:
                path = self._usable().path
                raise CorruptIndexError(f'the row of {id_!r} holds another document', path, 'see index.verify()')

    def _check(self, docs: list[Any], filter_: Filter) -> None:
        """
        Check that documents match the filter that has found them.

        Raises:
            CorruptIndexError: one does not; what filters look at is damaged.
        """
        if filter_ == ALL or unknown_of(self._level.schema.doc_type):
            return  # values of unknown types are not what they are to filters
        for doc in docs:
            if not filter_.matches(doc):
                message = f'the document {doc.id!r} does not match what was found: {filter_}'
                raise CorruptIndexError(message, self._usable().path, CHECK)

    def _doclist(self, docs: list[Any], level: Level) -> DocList[Any]:
        return DocList[level.schema.doc_type].trusted(docs)  # type: ignore[name-defined]


class _Answered(NamedTuple):
    """
    What a query has found.

    Attributes:
        result: The documents and their scores.
        labels: Their labels.
        filter: What all of them match.
        searching: What was done.
    """

    result: FindResult[Any]
    labels: Labels
    filter: Filter
    searching: Searching
