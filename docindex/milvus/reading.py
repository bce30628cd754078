"""What is read of the documents of one level, and of those in their lists."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..doclist import DocList
from ..execution import answer
from ..filters import Filter, FilterLike
from ..fusion import Ranking
from ..parsing import parse
from ..query import Query, TextMode, checked_count
from ..results import Explanation, FindResult, FindResultBatched
from ..schema import Level
from ..scopes import ALL, Scope, checked_ef, id_of, levels_named, scope_of, vector_field
from ..searchable import Searchable, ids_of
from ..selecting import selected
from ..tensors import Float32Array
from .limits import MOST_RESULTS
from .searching import Searching
from .server import Server
from .tree import Tree

D = TypeVar('D', bound=BaseModel)
T = TypeVar('T')

_ATTEMPTS = 5


class Reading(Searchable[D]):
    """
    Answers from a server what `Searchable` promises, for the documents of one level.

    Attributes (set by the classes that inherit from this one):
        _tree: Reads the documents of all levels.
        _level: The level whose documents these are, and whose names queries speak.
    """

    _tree: Tree[Any]
    _level: Level

    @abstractmethod
    def _usable(self) -> Server:
        """Return the server, or raise `ClosedIndexError`."""

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
        server = self._usable()
        flat = vector_field(self._level, self._tree.vectors, search_field)
        scope = Scope(self._level, self._tree.schema.level_of(flat))
        limit, ef = checked_count('limit', limit), checked_ef(ef)
        condition = parse(self._level.schema, filter)
        name = scope.found.name_of(flat)
        matrix = Searching(server, self._tree, scope).queries(name, queries)
        if group_by_root and scope.found.name:
            return self._settled(
                scope, lambda searching: self._find_roots(searching, name, matrix, limit, exact, ef, condition)
            )

        def find(searching: Searching) -> FindResultBatched[D]:
            found = searching.find(name, matrix, limit, exact, ef, condition)
            docs = self._loaded(searching, scope.found, [id_ for ranking in found for id_ in ranking.keys])
            return _batch([_there(ranking, docs) for ranking in found], scope.found)

        return self._settled(scope, find)

    def _settled(self, scope: Scope, ask: Callable[[Searching], T]) -> T:
        """
        Return what is asked; asked once more, where documents were replaced meanwhile.

        What a search finds in lists may be of a version that was there before, or is not there yet. Where the same is
        passed over twice, it was left by a write that did not come to its end, and not by one that is under way.
        """
        server, before = self._usable(), set[str]()
        for _ in range(_ATTEMPTS):
            searching = Searching(server, self._tree, scope)
            found = ask(searching)
            if searching.passed_over <= before:
                break
            before = searching.passed_over
        return found

    def _loaded(self, searching: Searching, level: Level, ids: Sequence[str]) -> dict[str, Any]:
        """Return by id the documents of a level that were found; those that are gone are noted."""
        docs = self._tree.load(level.name, ids, searching.rows if level is searching.found else None)
        searching.passed_over |= set(ids) - docs.keys()
        return docs

    def _find_roots(
        self,
        searching: Searching,
        name: str,
        queries: Float32Array,
        limit: int,
        exact: bool,
        ef: int | None,
        condition: Filter,
    ) -> FindResultBatched[D]:
        """Return for each query the outermost documents that the nearest are in, each once."""
        answers: list[_There] = []
        for query in queries:
            wanted = limit
            while True:
                # The nearest may all be in a few documents; then more of them are asked for.
                (ranking,) = searching.find(name, query[None], wanted, exact, ef, condition)
                roots = searching.roots_of(ranking.keys)
                first: dict[str, int] = {}
                searching.passed_over |= set(ranking.keys) - roots.keys()
                for at, id_ in enumerate(ranking.keys):
                    if id_ in roots:
                        first.setdefault(roots[id_], at)
                if len(first) >= limit or len(ranking.keys) < wanted or wanted >= MOST_RESULTS:
                    break
                wanted = min(4 * wanted, MOST_RESULTS)
            ids = list(first)[:limit]
            scores = ranking.scores[[first[id_] for id_ in ids]]
            docs = self._loaded(searching, self._tree.root, ids)
            answers.append(_there(Ranking(name, ids, scores, True), docs))
        return _batch(answers, self._tree.root)

    def execute_query(self, query: Query) -> FindResult[D]:
        """Answer a query of several steps; see `Searchable.execute_query`."""
        return self._answer(query).result

    def count(self, filter_query: FilterLike | Query = None) -> int:
        """Return how many documents match; see `Searchable.count`."""
        self._usable()
        if isinstance(filter_query, Query):
            query, schema = filter_query, self._level.schema
            return self._settled(self._scope(query), lambda searching: len(answer(query, schema, searching).keys))
        condition = parse(self._level.schema, filter_query)
        return self._settled(Scope(self._level, self._level), lambda searching: searching.count(condition))

    def _explain(self, query: Query) -> Explanation:
        found = self._answer(query)
        matches = found.searching.count(found.filter)
        return Explanation(query, found.filter, None, matches, found.searching.steps, len(found.result.documents))

    def _scope(self, query: Query, root_filter: Filter = ALL) -> Scope:
        return scope_of(query, self._level, self._tree.schema, self._tree.vectors, root_filter)

    def _answer(self, query: Query, root_filter: Filter = ALL) -> _Answered:
        """Return what a query finds."""
        self._usable()
        scope = self._scope(query, root_filter)
        return self._settled(scope, lambda searching: self._answered(searching, query, scope))

    def _answered(self, searching: Searching, query: Query, scope: Scope) -> _Answered:
        found = answer(query, self._level.schema, searching)
        with searching.step(f'read {len(found.keys):,} documents'):
            docs = self._loaded(searching, scope.found, found.keys)
            there = _there(Ranking('', found.keys, found.scores, False), docs)
        if found.select is None:
            shown = _doclist(there.docs, scope.found)
        else:
            shown = selected(scope.found.schema, there.docs, found.select)
        return _Answered(FindResult(shown, there.scores), found.filter, searching)

    def _snippets(
        self, query: str, ids: list[str], search_field: str, mode: TextMode, before: str, after: str, words: int
    ) -> list[str]:
        scope = Scope(self._level, levels_named(self._tree.schema, self._level, search_field)[0])
        searching = Searching(self._usable(), self._tree, scope)
        return searching.snippets(query, ids, search_field, mode, before, after, words)

    # -- by id ---------------------------------------------------------------------------------------

    @overload
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""
        self._usable()
        asked = ids_of(ids)
        docs = self._tree.load(self._level.name, asked)
        if isinstance(ids, str):
            return docs.get(ids)
        each = [docs[id_] for id_ in asked if id_ in docs]
        return _doclist(_apart(each), self._level)

    def __contains__(self, item: object) -> bool:
        self._usable()
        name = self._level.name
        rows = self._tree.by_ids(name, 'id', [id_of(item)], self._tree.layouts[name].place_fields)
        return bool(self._tree.current(name, rows))

    def __iter__(self) -> Iterator[str]:
        return iter(
            self._settled(Scope(self._level, self._level), lambda searching: searching.keys(ALL, None, None, 0))
        )

    def num_docs(self) -> int:
        """Return the number of documents."""
        return self.count()


class _Answered(NamedTuple):
    """
    What a query has found.

    Attributes:
        result: The documents and their scores.
        filter: What all of them match.
        searching: What was done.
    """

    result: FindResult[Any]
    filter: Filter
    searching: Searching


class _There(NamedTuple):
    """Documents that were found and are still there, and their scores."""

    docs: list[Any]
    scores: Float32Array


def _there(ranking: Ranking[str], docs: dict[str, Any]) -> _There:
    """Return what a ranking has found, without what was deleted before it could be read."""
    at = [position for position, id_ in enumerate(ranking.keys) if id_ in docs]
    return _There(_apart([docs[ranking.keys[position]] for position in at]), ranking.scores[at])


def _apart(docs: list[Any]) -> list[Any]:
    """Return documents such that none stands in two places."""
    seen: set[int] = set()
    apart = []
    for doc in docs:
        apart.append(doc.model_copy(deep=True) if id(doc) in seen else doc)
        seen.add(id(doc))
    return apart


def _batch(answers: list[_There], level: Level) -> FindResultBatched[Any]:
    scores = [one.scores for one in answers]
    is_even = len({len(each) for each in scores}) <= 1
    lists = [_doclist(one.docs, level) for one in answers]
    return FindResultBatched(lists, np.stack(scores) if is_even and scores else scores)


def _doclist(docs: list[Any], level: Level) -> DocList[Any]:
    return DocList[level.schema.doc_type].trusted(docs)  # type: ignore[name-defined]
