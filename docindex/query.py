"""
Queries of several steps, as values.

    q = index.build_query().filter({'section': 'games'}).find(vector, 'embedding', limit=50).limit(10).build()
    docs, scores = index.execute_query(q)

Three kinds of steps, whatever the order in which they are written:

1. All **filters** count, those before and those behind `find` alike: what does not match is not looked for.
2. **Rankings**, `find` and `text_search`, each with its own `limit`. Several are joined by `fuse` (see
   `docindex.fusion`), by reciprocal rank fusion if nothing is said. Without any, documents come as they were indexed.
3. **The rest**, one after another as they stand: `sort`, `offset`, `limit`, `group_by`, `diversify`, and the `limit` of
   a filter. The limit of a filter that stands before the first ranking means: rank the first so many that match.

A query is immutable, prints readably, and knows no index: it can be sent to any that has the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from .document import equal_values
from .errors import FilterError, QueryError
from .filters import Filter, FilterLike
from .frameworks import framework_of
from .fusion import Fusion, check_integer, check_share
from .tensors import as_array

TextMode = Literal['any', 'all', 'phrase', 'prefix', 'boolean']
SearchFields = str | Sequence[str] | Mapping[str, float]
"""Fields to search text in: one, several, or several with weights. Empty: all that have full text."""


@dataclass(frozen=True)
class FilterStep:
    """Only documents that match; the first `limit` of them, if that is given."""

    filter: FilterLike
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class FindStep:
    """The `limit` documents nearest to a vector."""

    query: Any
    search_field: str = ''
    limit: int = 10
    exact: bool = False
    ef: int | None = None


@dataclass(frozen=True)
class TextStep:
    """The `limit` documents whose text fits some words best."""

    query: Any
    search_field: SearchFields = ''
    limit: int = 10
    mode: TextMode = 'any'


@dataclass(frozen=True)
class FuseStep:
    """How several rankings become one."""

    method: Fusion[Any] = 'rrf'
    weights: tuple[float, ...] | None = None
    k: int = 60


@dataclass(frozen=True)
class SortStep:
    """In the order of a field; what has no value comes last."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class OffsetStep:
    """Without the first so many."""

    count: int


@dataclass(frozen=True)
class LimitStep:
    """The first so many."""

    count: int


@dataclass(frozen=True)
class GroupStep:
    """The best `size` of each of the first `limit` groups of equal values in a field."""

    field: str
    size: int = 1
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class DiversifyStep:
    """
    The `limit` documents that are near a vector and unlike each other; see `docindex.fusion.diversified`.

    Documents without a vector come last.
    """

    limit: int
    search_field: str = ''
    lambda_mult: float = 0.5
    query: Any = None


@dataclass(frozen=True)
class SelectStep:
    """Only these fields of each document."""

    fields: tuple[str, ...]


Step = (
    FilterStep
    | FindStep
    | TextStep
    | FuseStep
    | SortStep
    | OffsetStep
    | LimitStep
    | GroupStep
    | DiversifyStep
    | SelectStep
)
VERBS: dict[type, str] = {
    FilterStep: 'filter',
    FindStep: 'find',
    TextStep: 'text_search',
    FuseStep: 'fuse',
    SortStep: 'sort',
    OffsetStep: 'offset',
    LimitStep: 'limit',
    GroupStep: 'group_by',
    DiversifyStep: 'diversify',
    SelectStep: 'select',
}


@dataclass(frozen=True, eq=False)
class Query:
    """
    A query that is complete; `index.execute_query` answers it, `index.explain` says how.

    Attributes:
        steps: What it does, as it was written.
    """

    steps: tuple[Step, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Query):
            return NotImplemented
        mine, others = ([(type(step).__name__, vars(step)) for step in query.steps] for query in (self, other))
        return equal_values(mine, others)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return '\n'.join(map(_describe, self.steps)) or 'everything'

    def __repr__(self) -> str:
        return f'<Query: {", ".join(map(_describe, self.steps)) or "everything"}>'


class QueryBuilder:
    """
    Collects the steps of a query. Each call returns another builder; this one stays as it is.

    Raises (each method):
        QueryError: a number makes no sense. Fields and values are checked by the index that executes the query.
    """

    def __init__(self, steps: tuple[Step, ...] = ()) -> None:
        self._steps = steps

    def _with(self, step: Step) -> QueryBuilder:
        return QueryBuilder((*self._steps, step))

    def filter(self, filter_query: FilterLike, limit: int | None = None) -> QueryBuilder:
        """Let only documents pass that match; see `docindex.filters`."""
        # A dictionary that is changed afterwards must not change the query.
        try:
            kept = _frozen(filter_query)
        except RecursionError:
            raise FilterError('this filter is nested too deeply') from None
        return self._with(FilterStep(kept, None if limit is None else checked_count('limit', limit)))

    def find(
        self, query: Any, search_field: str = '', limit: int = 10, *, exact: bool = False, ef: int | None = None
    ) -> QueryBuilder:
        """Rank by nearness to a vector, or to the vector in a document; see `DocumentIndex.find`."""
        query = _frozen(query)
        return self._with(FindStep(query, search_field, checked_count('limit', limit), exact, ef))

    def text_search(
        self, query: Any, search_field: SearchFields = '', limit: int = 10, *, mode: TextMode = 'any'
    ) -> QueryBuilder:
        """Rank by words; see `DocumentIndex.text_search`."""
        if not isinstance(search_field, (str, Mapping, Sequence)):
            raise QueryError(f'search_field must be a name, several, or several with weights, got {search_field!r}')
        return self._with(TextStep(query, _frozen(search_field), checked_count('limit', limit), mode))

    def fuse(self, method: Fusion[Any] = 'rrf', *, weights: Sequence[float] | None = None, k: int = 60) -> QueryBuilder:
        """
        Join the rankings in this way; see `docindex.fusion`. Scores are then the fused ones: larger is better.

        Args:
            method: 'rrf', 'weighted', or a function from the rankings to a score for each key.
            weights: One for each ranking, in their order.
            k: For 'rrf': the larger, the less the first ranks stand out.
        """
        if weights is not None and not isinstance(weights, Iterable):
            raise QueryError(f'weights must be one number for each ranking, got {weights!r}')
        check_integer('k', k, 1, (1 << 31) - 1)
        return self._with(FuseStep(method, None if weights is None else tuple(weights), k))

    def sort(self, field: str, *, descending: bool = False) -> QueryBuilder:
        """Put what has come so far in the order of a field; what has no value comes last."""
        _check_name('sort', field)
        return self._with(SortStep(field, descending))

    def offset(self, count: int) -> QueryBuilder:
        """Leave out the first so many."""
        return self._with(OffsetStep(checked_count('offset', count)))

    def limit(self, count: int) -> QueryBuilder:
        """Keep the first so many."""
        return self._with(LimitStep(checked_count('limit', count)))

    def group_by(self, field: str, size: int = 1, limit: int | None = None) -> QueryBuilder:
        """Keep the best `size` of each group of equal values in a field, of the first `limit` groups."""
        _check_name('group_by', field)
        check_integer('size', size, 1)
        if limit is not None:
            check_integer('limit', limit, 1)
        return self._with(GroupStep(field, size, limit))

    def diversify(
        self, limit: int, search_field: str = '', *, lambda_mult: float = 0.5, query: Any = None
    ) -> QueryBuilder:
        """
        Keep `limit` documents that are near a vector and unlike each other, by maximal marginal relevance.

        Args:
            limit: How many. What is ranked before should be several times as many.
            search_field: The vector field; that of the last `find` if it is left out.
            lambda_mult: From 0, only variety counts, to 1, only nearness.
            query: The vector; that of the last `find` if it is left out.
        """
        check_share('lambda_mult', lambda_mult)
        return self._with(DiversifyStep(checked_count('limit', limit), search_field, lambda_mult, _frozen(query)))

    def select(self, *fields: str) -> QueryBuilder:
        """
        Return documents with these fields only, and their id.

        They are of a class of its own, though a type checker takes them for the index's; a field of a nested document
        has its flat name there, `author__name`.
        """
        for field in fields:
            _check_name('select', field)
        return self._with(SelectStep(fields))

    def build(self, *args: Any, **kwargs: Any) -> Query:
        """Return the query."""
        if args or kwargs:
            raise QueryError('build() takes nothing; say it in a step: filter(...), find(...), limit(...)')
        return Query(self._steps)


def _check_name(verb: str, field: object) -> None:
    if not isinstance(field, str):
        raise QueryError(f'{verb}() takes the flat name of a field, a string; got {type(field).__name__}')


def checked_count(name: str, value: object) -> int:
    """Return a number of documents: 0 or a positive integer."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        hint = '; join filters with &' if isinstance(value, Filter) else ''
        raise QueryError(f'{name} must be 0 or a positive integer, got {value!r}{hint}')
    return int(value)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    if framework_of(value) is not None:
        return np.array(as_array(value))
    if isinstance(value, (set, frozenset)):
        return frozenset(value)
    return [_frozen(item) for item in value] if isinstance(value, (list, Iterator, KeysView, ValuesView)) else value


def _describe(step: Step) -> str:
    """Return a step as it was written, without what it did not need to say."""
    shown = []
    for field in fields(step):
        value = getattr(step, field.name)
        if value != field.default if not isinstance(value, np.ndarray) else True:
            shown.append(f'{field.name}={_short(value)}')
    return f'{VERBS[type(step)]}({", ".join(shown)})'


def _short(value: Any) -> str:
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, np.ndarray):
        return f'<{" x ".join(map(str, value.shape))} {value.dtype}>'
    text = repr(value)
    return text if len(text) <= 120 else f'{text[:117]}...'
