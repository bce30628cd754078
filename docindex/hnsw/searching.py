"""What a query needs of the local index, at one moment: a filter's documents, the nearest, the best texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..distances import Labels
from ..errors import CHECK, CorruptIndexError, QueryError
from ..execution import Backend, field_of
from ..fields import Space
from ..filters import Filter
from ..fusion import Ranking
from ..matrices import query_matrix
from ..query import DiversifyStep, FindStep, SearchFields, SortStep, TextMode, TextStep
from ..results import Step, Timed
from ..scopes import ALL, Scope, checked_ef, vector_field
from ..tensors import Float32Array
from .conditions import Where, where, where_roots
from .filtered import FilteredSearch
from .fulltext import TextMatch, text_match
from .scan import Found
from .state import View


class Searching(Backend[int]):
    """
    Answers the steps of queries from what is seen at one moment; keys are labels.

    Args:
        view: What is seen.
        scope: What the query is about.

    Attributes:
        steps: What has been done, in order, with its time.
        estimate: How many documents were thought to match, at least, when the way to search was chosen; None: it did
            not matter.
    """

    def __init__(self, view: View, scope: Scope) -> None:
        self._view = view
        self._scope = scope
        self._schema = scope.found.schema
        self._table = view.state.fields[view.state.fields.number(scope.found.name)]
        self.steps: list[Step] = []
        self.estimate: int | None = None

    @property
    def level(self) -> int:
        """The number of the level whose documents are found."""
        return self._table.level

    # -- filters -------------------------------------------------------------------------------------

    def where(self, filter_: Filter) -> Where:
        """Return a filter as SQL."""
        tables, scope = self._view.state.fields, self._scope
        found = where(filter_, tables, self._table.level, tables.number(scope.names.name))
        if scope.root_filter == ALL:
            return found
        root = where_roots(scope.root_filter, tables, self._table.level)
        return Where(f'({found.sql} AND {root.sql})', (*found.parameters, *root.parameters), found.table)

    def keys(self, filter_: Filter, sort: SortStep | None, limit: int | None, offset: int) -> list[int]:
        """Return what matches, in the order of a field, or of indexing."""
        order = '' if sort is None else self._order(sort)
        with self.step('fetch what matches from SQLite'):
            labels = self._view.rows.labels_where(self.where(filter_), order, limit, offset)
        found: list[int] = self._view.checked(labels, self.level).tolist()
        return found

    def _order(self, sort: SortStep) -> str:
        column = self._table.fields.get(sort.field)
        if column is None and sort.field != 'id':
            raise QueryError(f'{sort.field!r} cannot be sorted by: the documents were written without it')
        of_id = f'(SELECT id FROM documents WHERE documents.label = {self._table.name}.label)'
        by = of_id if column is None else column.column
        return f'{by} {"DESC" if sort.descending else "ASC"} NULLS LAST, label'

    def values(self, name: str, keys: Sequence[int]) -> list[Any]:
        """Return what each of these labels has in a field, as SQLite holds it."""
        field_of(self._schema, name)
        if name == 'id':
            ids = self._view.rows.ids_of(keys)
            return [ids[label] for label in keys]
        column = self._table.fields.get(name)
        if column is None:
            raise QueryError(f'{name!r} cannot be asked for: the documents were written without it')
        found = self._view.rows.values(self._table.name, column.column, keys)
        if len(found) < len(set(keys)):
            raise CorruptIndexError('what filters look at lacks documents', self._view.rows.path, CHECK)
        if not self._schema.nodes[name].kind.is_scalar:
            return [_normalised(found[label]) for label in keys]
        return [found[label] for label in keys]

    # -- vectors -------------------------------------------------------------------------------------

    def find(self, name: str, queries: Float32Array, limit: int, exact: bool, ef: int | None, filter_: Filter) -> Found:
        """Return labels and distances of the vectors in a field that are nearest to each query (q, dim)."""
        if filter_ == ALL and self._scope.root_filter == ALL:
            whole = self._view.searching(name)
            with self.step(f'{name}: {"compare with all vectors" if exact or whole.is_exact else "ask the graph"}'):
                return whole.nearest(queries, limit, exact, ef)
        search = FilteredSearch(self._view, name, self.where(filter_))
        found = search.nearest(queries, limit, exact, ef)
        self.estimate = search.estimate
        self.steps += [Step(f'{name}: {what}', seconds) for what, seconds in search.steps]
        return found

    def nearest(self, step: FindStep, filter_: Filter, within: list[int] | None) -> Ranking[int]:
        """Return the nearest of what matches."""
        ef = checked_ef(step.ef)
        name = self.vector_field(step.search_field)
        query = self.query(name, step.query)
        if within is None:
            labels, distances = self.find(name, query, step.limit, step.exact, ef, filter_)
        else:
            with self.step(f'{name}: compare with the vectors of at most {len(within):,} documents'):
                search, among = self._view.searching(name), self._among(filter_, within)
                labels, distances = search.among(query, step.limit, search.present(among))
        return Ranking(name, labels[0].tolist(), distances[0], True)

    def vectors(self, step: DiversifyStep, keys: Sequence[int]) -> tuple[Float32Array, dict[int, Float32Array], Space]:
        """Return a query (dim,), the vectors of those labels that have one, and the space of the field."""
        name, state = self.vector_field(step.search_field), self._view.state
        found = self._view.vectors_or_none(name, np.array(keys, np.int64))
        vectors = {key: vector for key, vector in zip(keys, found, strict=True) if vector is not None}
        return self.query(name, step.query)[0], vectors, state.settings.effective[name].space

    def query(self, name: str, query: Any) -> Float32Array:
        """Return a vector that is searched for, shape (1, dim), checked."""
        return self.queries(name, [query])

    def queries(self, name: str, queries: Any) -> Float32Array:
        """Return the vectors that are searched for in a field, by its flat name, shape (q, dim), checked."""
        self._scope.check_queries(name, queries)
        column = self._schema.columns[self._scope.found.name_of(name)]
        return query_matrix(queries, column, self._view.state.settings.effective[name])

    def vector_field(self, name: str) -> str:
        """Return the flat name, in the outermost documents, of the vector field that is meant; see `vector_field`."""
        return vector_field(self._scope.names, list(self._view.state.settings.effective), name)

    def _among(self, filter_: Filter, within: Sequence[int]) -> Labels:
        return np.array(sorted(self._view.rows.among(self.where(filter_), within)), np.int64)

    # -- text ----------------------------------------------------------------------------------------

    def text(self, step: TextStep, filter_: Filter, within: list[int] | None) -> Ranking[int]:
        """Return what fits the words best of what matches."""
        match, condition = self.text_match(step.query, step.search_field, step.mode), self.where(filter_)
        if within is not None:
            among = ','.join(map(str, within)) or 'NULL'
            condition = condition._replace(sql=f'{condition.sql} AND label IN ({among})')
        name = self._names(match)
        with self.step(f'{name}: search the words'):
            found = self._view.rows.text_ranking(match, condition, step.limit) if match.expression else []
        self._view.checked(np.array([label for label, _ in found], np.int64), self.level)
        return Ranking(name, [label for label, _ in found], np.array([score for _, score in found], np.float32), False)

    def text_match(self, query: Any, search_field: SearchFields, mode: TextMode) -> TextMatch:
        """Return what is searched for; of a document, its text in the field."""
        search_field = self._scope.own_fields(search_field)
        names = self._text_fields(search_field)
        for name in names:
            self._check_text(name)
        if isinstance(query, BaseModel) and len(names) == 1 and names[0] in self._schema.columns:
            query = self._schema.columns[names[0]].value(query)
        return text_match(self._table, self._schema.name, query, search_field, mode, self._texts_in_lists)

    def _texts_in_lists(self) -> list[str]:
        """Return the fields with full text that documents in lists have, for an error."""
        names, fields = self._scope.names, self._view.state.fields
        return [
            names.name_of(f'{fields.names[table.level]}__{name}')
            for table in fields
            if table.level and table is not self._table and names.has(f'{fields.names[table.level]}__')
            for name, field in table.fields.items()
            if field.tokenizer is not None
        ]

    def _text_fields(self, search_field: SearchFields) -> list[str]:
        """Return the names that are meant, right or wrong."""
        names = [search_field] if isinstance(search_field, str) else search_field
        if isinstance(names, Iterable) and list(names) not in ([''], []):
            return list(names)
        return [name for name, column in self._schema.columns.items() if column.settings.get('full_text')]

    def _check_text(self, name: str) -> None:
        field, node = self._table.fields.get(name), self._schema.nodes.get(name)
        if node is not None and node.settings.get('full_text') and (field is None or field.tokenizer is None):
            raise QueryError(f'{name!r} has no full text yet; open the index once for writing with this schema')

    def snippets(
        self, query: str, ids: Sequence[str], search_field: str, mode: TextMode, before: str, after: str, words: int
    ) -> list[str]:
        """Return for each id the part of its text that fits best, marked; empty where nothing does."""
        match = self.text_match(query, search_field, mode)
        places = [at for at, weight in enumerate(match.weights) if weight]
        if len(places) > 1:
            raise QueryError(f'snippets are of one field, search_field=...; {self._names(match)} have full text')
        labels = self._view.rows.labels_of(ids, self._table.level)
        found: dict[int, str] = {}
        if match.expression:
            found = self._view.rows.snippets(match, places[0], list(labels.values()), before, after, words)
        return [found.get(labels.get(id_, -1)) or '' for id_ in ids]

    def _names(self, match: TextMatch) -> str:
        return ', '.join(column.name for column, weight in zip(match.columns, match.weights, strict=True) if weight)

    # -- what was done -------------------------------------------------------------------------------

    def step(self, what: str) -> Timed:
        """Note how long the block takes."""
        return Timed(self.steps, what)


def _normalised(text: str | None) -> str | None:
    """Return JSON such that equal dicts are equal, in whatever order they list their keys."""
    return None if text is None else json.dumps(json.loads(text), sort_keys=True)
