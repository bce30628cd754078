"""
How a query is answered, for any backend that can do five things.

Documents go by keys here: labels in the local index, ids elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from .errors import QueryError
from .fields import Space
from .filters import And, Filter
from .fusion import Ranking, diversified, fused, grouped
from .parsing import parse
from .query import (
    VERBS,
    DiversifyStep,
    FilterStep,
    FindStep,
    FuseStep,
    GroupStep,
    LimitStep,
    OffsetStep,
    Query,
    SelectStep,
    SortStep,
    Step,
    TextStep,
)
from .schema import Column, Schema
from .tensors import Float32Array

K = TypeVar('K', int, str)


class Backend(ABC, Generic[K]):
    """What a query needs of an index, all as of one moment."""

    @abstractmethod
    def keys(self, filter_: Filter, sort: SortStep | None, limit: int | None, offset: int) -> list[K]:
        """Return what matches, in the order of a field, or of indexing."""

    @abstractmethod
    def nearest(self, step: FindStep, filter_: Filter, within: list[K] | None) -> Ranking[K]:
        """Return the nearest of what matches; `within` are the only keys that count, if it is not None."""

    @abstractmethod
    def text(self, step: TextStep, filter_: Filter, within: list[K] | None) -> Ranking[K]:
        """Return what fits the words best of what matches."""

    @abstractmethod
    def values(self, name: str, keys: Sequence[K]) -> list[Any]:
        """Return what each of these has in a field: hashable, and less or more where the field has an order."""

    @abstractmethod
    def vectors(self, step: DiversifyStep, keys: Sequence[K]) -> tuple[Float32Array, dict[K, Float32Array], Space]:
        """Return a query (dim,), the vectors (dim,) of those keys that have one, and the space of the field."""


@dataclass
class Answer(Generic[K]):
    """
    What a query has found.

    Attributes:
        keys: Best first.
        scores: Their scores, shape (n,), float32; NaN where nothing ranked them.
        filter: What all of them match.
        select: The fields that were asked for; None: all.
    """

    keys: list[K]
    scores: Float32Array
    filter: Filter
    select: tuple[str, ...] | None


def answer(query: Query, schema: Schema[Any], backend: Backend[K]) -> Answer[K]:
    """
    Return the keys that a query finds, and their scores.

    Raises:
        QueryError: a step does not fit the schema, or the steps before it. `FilterError`: a filter does not.
    """
    filters = [parse(schema, step.filter) for step in query.steps if isinstance(step, FilterStep)]
    every = filters[0] if len(filters) == 1 else And(tuple(filters))
    rankings = [step for step in query.steps if isinstance(step, (FindStep, TextStep))]
    selected = _selected(query, schema)
    steps = _rest(query)
    _check_fields(steps, schema)
    if rankings:
        within = _within(query, filters, backend)
        keys, scores = _ranked(query, [_ask(step, every, within, backend) for step in rankings], backend)
    else:
        sort, offset, limit, steps = _pushed_down(steps)
        keys = backend.keys(every, sort, limit, offset)
        scores = np.full(len(keys), np.nan, np.float32)
    last = next((step for step in reversed(rankings) if isinstance(step, FindStep)), None)
    for step in steps:
        at = _positions(step, keys, backend, last)
        keys, scores = [keys[position] for position in at], scores[at]
    return Answer(keys, scores, every, selected)


def _ask(step: FindStep | TextStep, filter_: Filter, within: list[K] | None, backend: Backend[K]) -> Ranking[K]:
    if isinstance(step, FindStep):
        return backend.nearest(step, filter_, within)
    return backend.text(step, filter_, within)


def _ranked(query: Query, rankings: list[Ranking[K]], backend: Backend[K]) -> tuple[list[K], Float32Array]:
    how = [step for step in query.steps if isinstance(step, FuseStep)]
    if len(how) > 1:
        raise QueryError('a query has one fuse() at most')
    if len(rankings) == 1 and not how:
        return rankings[0].keys, rankings[0].scores
    step = how[0] if how else FuseStep()
    if not callable(step.method):
        return fused(rankings, step.method, step.weights, step.k)
    # A user's function knows documents by their ids.
    every = list(dict.fromkeys(key for ranking in rankings for key in ranking.keys))
    key_of = dict(zip(backend.values('id', every), every, strict=True))
    id_of = {key: id_ for id_, key in key_of.items()}
    named = [Ranking(one.name, [id_of[key] for key in one.keys], one.scores, one.is_distance) for one in rankings]
    ids, scores = fused(named, step.method, step.weights, step.k)
    return [key_of[id_] for id_ in ids], scores


def _within(query: Query, filters: Sequence[Filter], backend: Backend[K]) -> list[K] | None:
    """Return the keys that `filters` with a limit, before the first ranking, leave over; None if there are none."""
    within: list[K] | None = None
    passed = 0
    for step in query.steps:
        if isinstance(step, (FindStep, TextStep)):
            break
        if isinstance(step, FilterStep):
            passed += 1
            if step.limit is not None:
                found = backend.keys(And(tuple(filters[:passed])), None, step.limit if within is None else None, 0)
                there = set(found)
                within = found if within is None else [key for key in within if key in there][: step.limit]
    return within


def _rest(query: Query) -> list[Step]:
    """Return the steps that rearrange what was found, in order."""
    is_ranked = any(isinstance(step, (FindStep, TextStep)) for step in query.steps)
    has_ranking_come = not is_ranked
    rest: list[Step] = []
    for step in query.steps:
        if isinstance(step, (FindStep, TextStep)):
            if rest:
                raise QueryError(f'{VERBS[type(rest[0])]}() comes behind all of find() and text_search()')
            has_ranking_come = True
        elif isinstance(step, FilterStep):
            if step.limit is not None and has_ranking_come:
                rest.append(LimitStep(step.limit))
        elif isinstance(step, FuseStep):
            if not is_ranked:
                raise QueryError('fuse() joins rankings, and there is no find() or text_search()')
        elif not isinstance(step, SelectStep):
            if not has_ranking_come:
                raise QueryError(f'{VERBS[type(step)]}() comes behind find() and text_search()')
            rest.append(step)
    return rest


def _pushed_down(steps: list[Step]) -> tuple[SortStep | None, int, int | None, list[Step]]:
    """Return the order, offset and limit with which the backend can begin, and the steps that are left."""
    sort, offset, limit = None, 0, None
    if steps and isinstance(first := steps[0], SortStep):
        sort, steps = first, steps[1:]
    if steps and isinstance(first := steps[0], OffsetStep):
        offset, steps = first.count, steps[1:]
    if steps and isinstance(first := steps[0], LimitStep):
        limit, steps = first.count, steps[1:]
    return sort, offset, limit, steps


def _positions(step: Step, keys: list[K], backend: Backend[K], find: FindStep | None) -> list[int]:
    """Return the positions that a step leaves, in its order."""
    every = list(range(len(keys)))
    if isinstance(step, LimitStep):
        return every[: step.count]
    if isinstance(step, OffsetStep):
        return every[step.count :]
    if isinstance(step, SortStep):
        return in_order(step, backend.values(step.field, keys))
    if isinstance(step, GroupStep):
        return grouped(keys, backend.values(step.field, keys), step.size, step.limit)
    if not isinstance(step, DiversifyStep):
        raise TypeError(step)
    if find is None and step.query is None:
        raise QueryError('diversify() without a find() needs a query: diversify(..., query=vector)')
    if find is not None:
        mine = find.query if step.query is None else step.query
        step = DiversifyStep(step.limit, step.search_field or find.search_field, step.lambda_mult, mine)
    query, vectors, space = backend.vectors(step, keys)
    there = [at for at in every if keys[at] in vectors]
    matrix = np.array([vectors[keys[at]] for at in there], np.float32).reshape(len(there), len(query))
    chosen = [there[at] for at in diversified(query, matrix, space, step.limit, step.lambda_mult)]
    return (chosen + [at for at in every if keys[at] not in vectors])[: step.limit]


def in_order(step: SortStep, values: Sequence[Any]) -> list[int]:
    """
    Return the positions of values in their order, those of None last; equal ones stay in theirs.

    Raises:
        QueryError: the values have no order.
    """
    there = [at for at, value in enumerate(values) if value is not None]
    try:
        there.sort(key=lambda at: values[at], reverse=step.descending)
    except TypeError as error:
        raise QueryError(f'{step.field}: the values have no order; see index.verify()') from error
    return there + [at for at, value in enumerate(values) if value is None]


def _selected(query: Query, schema: Schema[Any]) -> tuple[str, ...] | None:
    selects = [step for step in query.steps if isinstance(step, SelectStep)]
    if not selects:
        return None
    if len(selects) > 1:
        raise QueryError('a query has one select() at most')
    for name in selects[0].fields:
        field_of(schema, name)
    return selects[0].fields


def field_of(schema: Schema[Any], name: str) -> Column:
    """
    Return the field or nested document of this flat name.

    Raises:
        QueryError: there is none.
    """
    if name not in schema.nodes:
        raise QueryError(f'{schema.name} has no field {name!r}; its fields are {", ".join(schema.nodes)}')
    if not schema.nodes[name].is_stored:
        raise QueryError(f'{name!r} is excluded from serialisation, so stored documents do not have it')
    return schema.nodes[name]


def _check_fields(steps: list[Step], schema: Schema[Any]) -> None:
    for step in steps:
        if not isinstance(step, (SortStep, GroupStep)):
            continue
        column = field_of(schema, step.field)
        if isinstance(step, SortStep) and not (column.kind.is_scalar and column.kind.is_ordered):
            raise QueryError(f'{step.field}: a {column.type_name} has no order to sort by')
        if isinstance(step, GroupStep) and column.kind.name == 'opaque':
            raise QueryError(f'{step.field}: a {column.type_name} cannot be grouped by')
