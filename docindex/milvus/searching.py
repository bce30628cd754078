"""
What a query needs of a server: a filter's documents, the nearest, the best texts.

A server searches, and what it finds is compared anew here, by the formulas of `docindex.distances` and the vectors as
they came back: so scores are those of the local index, and a vector of zeros, for which Milvus has none, has its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..distances import distances, exact_search
from ..errors import QueryError, ServerError
from ..execution import Backend, field_of, in_order
from ..fields import Space
from ..filling import with_vectors
from ..filters import Filter
from ..fusion import Ranking
from ..kinds import canonical_of
from ..matrices import query_matrix
from ..query import DiversifyStep, FindStep, SearchFields, SortStep, TextMode, TextStep
from ..results import Step, Timed
from ..scopes import Scope, checked_ef, vector_field
from ..tensors import Float32Array
from ..values import canonical, to_sql
from .conditions import Conditions
from .expressions import Expression
from .failures import is_too_large
from .limits import MOST_RESULTS, Row, readable_rows
from .server import Server
from .texts import Words, snippet, words_searched
from .tree import Tree, one_of

_MORE = 4  # times as many are asked for, where too few of what was found fulfil a filter


class Searching(Backend[str]):
    """
    Answers the steps of queries; keys are ids.

    Args:
        server: The server.
        tree: The collections.
        scope: What the query is about.

    Attributes:
        found: The level of the documents that are found.
        steps: What has been done, in order, with its time.
        rows: Of what searches have found, by id, those rows that came with all that documents are made of.
        passed_over: The keys of rows that were found in lists which do not exist any more, or not yet.
    """

    def __init__(self, server: Server, tree: Tree[Any], scope: Scope) -> None:
        self._server = server
        self._tree = tree
        self._scope = scope
        self.found = scope.found
        self._level = scope.found.name
        self._layout = tree.layouts[self._level]
        self._records = tree.records[self._level]
        self._complete = set(self._layout.document_fields)
        self._schema = scope.found.schema
        self._conditions = Conditions(server, tree, self._current)
        self._asked: dict[int, tuple[Filter, Expression]] = {}
        self.steps: list[Step] = []
        self.rows: dict[str, Row] = {}
        self.passed_over: set[str] = set()

    def _current(self, level: str, rows: Sequence[Row]) -> list[Row]:
        """Return those of some rows of a level that are in lists which exist; note the others."""
        current = self._tree.current(level, rows)
        if len(current) < len(rows):
            self.passed_over |= {row['_key'] for row in rows} - {row['_key'] for row in current}
        return current

    # -- filters -------------------------------------------------------------------------------------

    def asked(self, filter_: Filter) -> Expression:
        """Return a filter as it is asked."""
        # By its id(), for operands may be dicts, which have no hash; it is kept, so that the id stays its own.
        if id(filter_) not in self._asked:
            self._asked[id(filter_)] = filter_, self._conditions.asked(filter_, self._scope)
        return self._asked[id(filter_)][1]

    def count(self, filter_: Filter) -> int:
        """Return how many documents match."""
        asked = self.asked(filter_)
        if asked.is_exact and self._layout.is_root:
            return self._server.count(self._layout.collection, asked.text)
        # A server would count what writes that are under way, or did not come to their end, have in no list.
        return sum(map(len, self._matching(asked, filter_, asked.text, self._layout.place_fields)))

    def _matching(self, asked: Expression, filter_: Filter, text: str, fields: Sequence[str]) -> Iterator[list[Row]]:
        """Yield these fields, and all of documents that have to be looked at, of the rows that match."""
        versions: dict[str, int] = {}
        fields = fields if asked.is_exact else self._layout.document_fields
        for rows in self._tree.each(self._level, text, fields):
            kept = self._kept(rows, asked, filter_)
            if not self._layout.is_root:  # between two batches another version of a list may have come
                others = [row for row in kept if versions.setdefault(row['_root'], row['_version']) != row['_version']]
                self.passed_over |= {row['_key'] for row in others}
                kept = [row for row in kept if row['_key'] not in self.passed_over]
            yield kept

    def _checked(self, rows: Sequence[Row], filter_: Filter) -> list[Row]:
        """Return those of some rows that are there and whose documents match."""
        current = self._current(self._level, rows)
        return self._conditions.matching(current, filter_, self._scope)

    def keys(self, filter_: Filter, sort: SortStep | None, limit: int | None, offset: int) -> list[str]:
        """Return what matches, in the order of a field, or of indexing."""
        end = None if limit is None else offset + limit
        if end is not None and end <= offset:
            return []
        asked = self.asked(filter_)
        with self.step('fetch what matches'):
            if sort is None and asked.is_exact and end is not None:
                places = self._first(asked.text, end)
            elif asked.is_exact:
                places = self._places(asked.text)
            else:
                places = [
                    {name: row[name] for name in self._layout.place_fields}
                    for rows in self._matching(asked, filter_, asked.text, self._layout.document_fields)
                    for row in rows
                ]
        ids = [row['id'] for row in sorted(places, key=_when)]
        if sort is not None:
            ids = [ids[at] for at in in_order(sort, self.values(sort.field, ids))]
        return ids[offset:end]

    def _places(self, text: str) -> list[Row]:
        rows = self._tree.all_rows(self._level, text, self._layout.place_fields)
        return self._current(self._level, rows)

    def _first(self, text: str, count: int) -> list[Row]:
        """
        Return at least the first `count` of what an expression is true of, in the order of indexing.

        Milvus has no order. Where there is more than one answer holds, the moment before which there is enough, and not
        too much, is looked for by halves: some thirty counts instead of all ids.
        """
        collection = self._layout.collection
        rows = self._server.query(collection, text or '_at >= 0', self._layout.place_fields)
        if len(rows) < MOST_RESULTS:
            return self._current(self._level, rows)
        if self._server.count(collection, text) <= 2 * count:
            return self._places(text)
        low, high = 0, 1 << 62
        while high - low > 1:
            middle = (low + high) // 2
            found = self._server.count(collection, _also(text, f'_at < {middle}'))
            if count <= found <= max(MOST_RESULTS, 2 * count):
                rows = self._places(_also(text, f'_at < {middle}'))
                if len(rows) >= count:
                    return rows
                low = middle
            elif found < count:
                low = middle
            else:
                high = middle
        return self._places(_also(text, f'_at < {high}'))

    def values(self, name: str, keys: Sequence[str]) -> list[Any]:
        """Return what each of these has in a field: hashable, and less or more where the field has an order."""
        node = field_of(self._schema, name)
        if name == 'id':
            return list(keys)
        rows = self._current(self._level, self._by_ids(keys, ['_doc', '_tensors', '_scales']))
        found = {}
        for row, doc in zip(rows, self._records.without_vectors(rows), strict=True):
            value = canonical_of(node.kind, node.value(doc))
            found[row['id']] = to_sql(canonical(value)) if node.kind.is_scalar else _normalised(value)
        return [found.get(key) for key in keys]

    def _by_ids(self, ids: Iterable[str], fields: Sequence[str], more: str = '') -> list[Row]:
        return self._tree.by_ids(self._level, 'id', ids, [*self._layout.place_fields, *fields], more)

    # -- vectors -------------------------------------------------------------------------------------

    def vector_field(self, name: str) -> str:
        """Return the name, in the documents that are found, of the vector field that is meant."""
        return self._scope.found.name_of(vector_field(self._scope.names, self._tree.vectors, name))

    def queries(self, name: str, queries: Any) -> Float32Array:
        """Return the vectors that are searched for in a field, shape (q, dim), checked."""
        flat, column = self._scope.found.flat(name), self._schema.columns[name]
        self._scope.check_queries(flat, queries)
        queries = with_vectors(queries, column, self._tree.embeddings.get(flat))
        return query_matrix(queries, column, self._layout.settings[name])

    def nearest(self, step: FindStep, filter_: Filter, within: list[str] | None) -> Ranking[str]:
        """Return the nearest of what matches."""
        name = self.vector_field(step.search_field)
        query = self.queries(name, [step.query])
        if within is not None:
            with self.step(f'{name}: compare with the vectors of at most {len(within):,} documents'):
                return self._among(name, query, step.limit, filter_, within)
        return self.find(name, query, step.limit, step.exact, checked_ef(step.ef), filter_)[0]

    def find(
        self, name: str, queries: Float32Array, limit: int, exact: bool, ef: int | None, filter_: Filter
    ) -> list[Ranking[str]]:
        """Return for each query (q, dim) the ids of the nearest of what matches, and their distances."""
        _check_limit(limit)
        asked = self.asked(filter_)
        if not limit or not len(queries):
            return [Ranking(name, [], np.empty(0, np.float32), True) for _ in queries]
        if exact and not self._layout.is_exact(name):
            with self.step(f'{name}: compare with all vectors'):
                return self._all(name, queries, limit, asked, filter_)
        with self.step(f'{name}: ask the server'):
            return self._from_server(name, queries, limit, ef, asked, filter_)

    def _from_server(
        self, name: str, queries: Float32Array, limit: int, ef: int | None, asked: Expression, filter_: Filter
    ) -> list[Ranking[str]]:
        wanted = limit
        text = self._with_vector(name, asked.text)
        searched = [self._records.searched(name, query) for query in queries]
        while True:
            hits = self._hits(name, searched, wanted, ef, text, asked)
            found = [self._kept(each, asked, filter_) for each in hits]
            if all(len(each) >= limit for each in found):
                break
            there = self._server.count(self._layout.collection, text)
            if all(len(each) == there for each in hits):
                break
            if wanted * _MORE > MOST_RESULTS or any(len(each) < min(wanted, there) for each in hits):
                return self._all(name, queries, limit, asked, filter_)  # the index does not reach all that there is
            wanted *= _MORE
        for each in found:
            self._keep(each)
        return [self._ranked(name, query, rows, limit) for query, rows in zip(queries, found, strict=True)]

    def _hits(
        self, name: str, searched: Sequence[Float32Array], wanted: int, ef: int | None, text: str, asked: Expression
    ) -> list[list[Row]]:
        """Return what the server finds; all of each document, unless that is too much for one answer."""
        params, field = self._layout.search_params(name, wanted, ef), self._layout.vectors[name]
        with_documents = self._fields_of_hits(len(searched) * wanted)
        return self._searched(field, searched, wanted, text, self._fields(name, asked), params, with_documents)

    def _searched(
        self,
        field: str,
        queries: Sequence[Any],
        limit: int,
        text: str,
        fields: Sequence[str],
        params: dict[str, Any],
        more_fields: Sequence[str] = (),
    ) -> list[list[Row]]:
        """Return what the server finds, with more fields than are needed if these are no more than one answer holds."""
        collection = self._layout.collection
        try:
            return self._server.search(collection, field, queries, limit, text, more_fields or fields, params)
        except ServerError as error:
            if not is_too_large(error):
                raise
        key, places = self._layout.key, self._layout.place_fields
        found = self._server.search(collection, field, queries, limit, text, places, params)
        rows = self._tree.by_ids(self._level, key, [hit[key] for each in found for hit in each], fields)
        row_of = {row[key]: row for row in rows}
        return [[{**hit, **row_of[hit[key]]} for hit in each if hit[key] in row_of] for each in found]

    def _fields_of_hits(self, count: int) -> list[str]:
        """Return all that documents are made of, if so many come in one answer: then nothing is asked once more."""
        return self._layout.document_fields if count <= readable_rows(self._layout.row_bytes) else []

    def _keep(self, rows: Iterable[Row]) -> None:
        self.rows |= {row['id']: row for row in rows if row.keys() >= self._complete}

    def _fields(self, name: str, asked: Expression) -> list[str]:
        """Return what is read of a row that may be found: all of the document, if it has to be looked at."""
        if not asked.is_exact:
            return self._layout.document_fields
        return [*self._layout.place_fields, *self._records.vector_fields(name)]

    def _kept(self, rows: Sequence[Row], asked: Expression, filter_: Filter) -> list[Row]:
        return self._current(self._level, rows) if asked.is_exact else self._checked(rows, filter_)

    def _ranked(self, name: str, query: Float32Array, rows: Sequence[Row], limit: int) -> Ranking[str]:
        """Return rows in the order of their distances."""
        rows = [row for row in rows if self._records.vector(row, name) is not None]
        if not rows:
            return Ranking(name, [], np.empty(0, np.float32), True)
        vectors = np.stack([self._vector(row, name) for row in rows])
        scores = distances(query[None], vectors, self._layout.settings[name].space)[0]
        order = sorted(range(len(rows)), key=lambda at: (float(scores[at]), rows[at]['_at']))[:limit]
        return Ranking(name, [rows[at]['id'] for at in order], scores[order], True)

    def _vector(self, row: Row, name: str) -> Float32Array:
        vector = self._records.vector(row, name)
        if vector is None:
            raise TypeError(name)
        return vector

    def _all(
        self, name: str, queries: Float32Array, limit: int, asked: Expression, filter_: Filter
    ) -> list[Ranking[str]]:
        """Compare with every vector of what matches, which all come here."""
        text, fields = self._with_vector(name, asked.text), self._fields(name, asked)
        return self._exact(name, queries, limit, self._matching(asked, filter_, text, fields))

    def _among(
        self, name: str, query: Float32Array, limit: int, filter_: Filter, within: Sequence[str]
    ) -> Ranking[str]:
        asked = self.asked(filter_)
        rows = self._by_ids(within, self._fields(name, asked), self._with_vector(name, asked.text))
        return self._exact(name, query, limit, [self._kept(rows, asked, filter_)])[0]

    def _exact(
        self, name: str, queries: Float32Array, limit: int, blocks: Iterable[Sequence[Row]]
    ) -> list[Ranking[str]]:
        ids: list[str] = []

        def labelled() -> Iterator[tuple[Any, Float32Array]]:
            for rows in blocks:
                if rows:
                    labels = np.arange(len(ids), len(ids) + len(rows))
                    ids.extend(row['id'] for row in rows)
                    yield labels, np.stack([self._vector(row, name) for row in rows])

        each, scores = exact_search(queries, limit, self._layout.settings[name].space, labelled())
        return [Ranking(name, [ids[at] for at in labels], own, True) for labels, own in zip(each, scores, strict=True)]

    def _with_vector(self, name: str, text: str) -> str:
        """Return an expression, and that there is a vector."""
        return _also(text, f'{self._layout.optional[name]} == true') if name in self._layout.optional else text

    def vectors(self, step: DiversifyStep, keys: Sequence[str]) -> tuple[Float32Array, dict[str, Float32Array], Space]:
        """Return a query (dim,), the vectors (dim,) of those keys that have one, and the space of the field."""
        name = self.vector_field(step.search_field)
        rows = self._current(self._level, self._by_ids(keys, self._records.vector_fields(name)))
        vectors = {row['id']: self._records.vector(row, name) for row in rows}
        there = {id_: vector for id_, vector in vectors.items() if vector is not None}
        return self.queries(name, [step.query])[0], there, self._layout.settings[name].space

    def roots_of(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the outermost documents that some documents in lists are in, ids by ids."""
        rows = [self.rows[id_] for id_ in ids if id_ in self.rows]
        others = [id_ for id_ in ids if id_ not in self.rows]
        rows += self._current(self._level, self._by_ids(others, []))
        return {row['id']: row['_root'] for row in rows}

    # -- text ----------------------------------------------------------------------------------------

    def text(self, step: TextStep, filter_: Filter, within: list[str] | None) -> Ranking[str]:
        """Return what fits the words best of what matches."""
        words = self.words(step.query, step.search_field, step.mode)
        name, asked = ', '.join(words.weights), self.asked(filter_)
        if not words.words or not step.limit:
            return Ranking(name, [], np.empty(0, np.float32), False)
        if within is None:
            _check_limit(step.limit)
        text = _also(asked.text, words.condition(self._layout.words))
        with self.step(f'{name}: search the words'):
            scores, rows = self._scored(words, step.limit, text, asked, filter_, within)
        self._keep(rows.values())
        order = sorted(scores, key=lambda id_: (-scores[id_], rows[id_]['_at']))[: step.limit]
        return Ranking(name, order, np.array([scores[id_] for id_ in order], np.float32), False)

    def _scored(
        self, words: Words, limit: int, text: str, asked: Expression, filter_: Filter, within: list[str] | None
    ) -> tuple[dict[str, float], dict[str, Row]]:
        """Return the scores of at least the best so many, and their rows, by id."""
        # The best in all fields together need not be the best in each.
        is_enough = asked.is_exact and len(words.weights) == 1
        wanted = min(limit if is_enough else _MORE * limit, MOST_RESULTS)
        while True:
            hits = {field: self._best(words, field, wanted, text, asked, within) for field in words.weights}
            rows = {row['id']: row for each in hits.values() for row in each}
            if words.mode == 'prefix':  # a beginning is no word, so nothing scores for it
                rows |= {row['id']: row for row in self._first_rows(text, asked, within)}
            kept = {row['id']: row for row in self._kept(list(rows.values()), asked, filter_)}
            is_all = all(len(each) < wanted for each in hits.values()) or wanted >= MOST_RESULTS
            if len(kept) >= limit or is_all:
                break
            wanted = min(wanted * _MORE, MOST_RESULTS)
        if len(words.weights) > 1:  # what is among the best of one field has a score in the others too
            hits = {field: self._best(words, field, MOST_RESULTS, text, asked, list(kept)) for field in words.weights}
        scores = dict.fromkeys(kept, 0.0)
        for field, weight in words.weights.items():
            for row in hits[field]:
                if row['id'] in scores:
                    scores[row['id']] += weight * abs(row['distance'])  # Milvus Lite turns the sign round
        return scores, kept

    def _best(
        self, words: Words, field: str, limit: int, text: str, asked: Expression, within: list[str] | None
    ) -> list[Row]:
        name = self._layout.words[field].replace('_words__', '_bm25__')
        fields = self._layout.place_fields if asked.is_exact else self._layout.document_fields
        query = ' '.join(dict.fromkeys(words.words))
        if within is None:
            return self._searched(name, [query], limit, text, fields, {}, self._fields_of_hits(limit))[0]
        found: list[Row] = []
        for start in range(0, len(within), 1_000):
            some = within[start : start + 1_000]
            among = _also(text, one_of('id', some))
            # In lists an id may be that of several rows, of which one is in a list that exists.
            most = len(some) if self._layout.is_root else MOST_RESULTS
            found += self._searched(name, [query], most, among, fields, {})[0]
        return found

    def _first_rows(self, text: str, asked: Expression, within: list[str] | None) -> list[Row]:
        fields = self._layout.place_fields if asked.is_exact else self._layout.document_fields
        if within is not None:
            return self._by_ids(within, fields, text)
        return self._tree.at_once(self._level, text, fields)

    def words(self, query: Any, search_field: SearchFields, mode: TextMode) -> Words:
        """Return what is searched for; of a document, its text in the field."""
        if not isinstance(search_field, Iterable):
            raise QueryError(f'search_field must be a name, several, or several with weights, got {search_field!r}')
        search_field = self._scope.own_fields(search_field)
        texts = self._layout.texts
        only = search_field if isinstance(search_field, str) and search_field else next(iter(texts), '')
        if isinstance(query, BaseModel) and only in self._schema.columns:
            query = self._schema.columns[only].value(query)
        return words_searched(query, search_field, mode, texts)

    def snippets(
        self, query: str, ids: Sequence[str], search_field: str, mode: TextMode, before: str, after: str, length: int
    ) -> list[str]:
        """Return for each id the part of its text that fits best, marked; empty where nothing does."""
        words = self.words(query, search_field, mode)
        if len(words.weights) > 1:
            raise QueryError(f'snippets are of one field, search_field=...; {", ".join(words.weights)} have full text')
        (field,) = words.weights
        rows = self._current(self._level, self._by_ids(ids, ['_doc', '_tensors', '_scales']))
        docs = self._records.without_vectors(rows)
        texts = {doc.id: self._schema.columns[field].value(doc) or '' for doc in docs}
        return [snippet(texts.get(id_, ''), words.words, mode, before, after, length) for id_ in ids]

    # -- what was done -------------------------------------------------------------------------------

    def step(self, what: str) -> Timed:
        """Note how long the block takes."""
        return Timed(self.steps, what)


def _check_limit(limit: int) -> None:
    if limit > MOST_RESULTS:
        raise QueryError(
            f'limit is {limit:,}, and Milvus returns at most {MOST_RESULTS:,} results; export() has all documents'
        )


def _when(row: Row) -> int:
    return int(row['_at'])


def _also(text: str, more: str) -> str:
    """Return that both of two expressions are true; an empty one always is."""
    return f'({text}) and ({more})' if text and more else text or more


def _normalised(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str)
