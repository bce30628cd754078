"""What queries of several steps promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from ..errors import FilterError, QueryError
from ..index import DocumentIndex
from ..query import QueryBuilder
from ..results import FindResult
from .exact import ExactIndex
from .films import FIELDS, Film, FilmContract, a_vector

_BAD_STEPS: dict[str, Callable[[QueryBuilder], QueryBuilder]] = {
    'find in an unknown field': lambda query: query.find([0, 0, 0, 0], 'smell'),
    'find in no vector': lambda query: query.find([0, 0, 0, 0], 'title'),
    'sort by an unknown field': lambda query: query.sort('smell'),
    'sort by a vector': lambda query: query.sort('plot'),
    'sort by a list': lambda query: query.sort('tags'),
    'group by an unknown field': lambda query: query.group_by('smell'),
    'group by a vector': lambda query: query.group_by('plot'),
    'select an unknown field': lambda query: query.select('title', 'smell'),
    'select twice': lambda query: query.select('title').select('year'),
    'fuse without a ranking': lambda query: query.fuse(),
    'fuse twice': lambda query: query.find([0, 0, 0, 0], 'plot').fuse().fuse(),
    'fuse with too many weights': lambda query: query.find([0, 0, 0, 0], 'plot').fuse(weights=[1, 2]),
    'diversify without a vector': lambda query: query.diversify(3, 'plot'),
    'sort before find': lambda query: query.sort('year').find([0, 0, 0, 0], 'plot'),
    'limit before find': lambda query: query.limit(3).find([0, 0, 0, 0], 'plot'),
}


class QueryingContract(FilmContract):
    """What the steps of a query do to each other."""

    def test_filters_before_and_behind_find_combine(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """All filters of a query count, wherever they stand, and `limit` results come back; scores are distances."""
        some, more, query = {'year': {'$gte': 1902}}, {'title': {'$ne': 'Title 5'}}, a_vector('plot')
        only, start = stored.matching(some).matching(more), index.build_query()
        for builder in (
            start.filter(some).filter(more).find(query, 'plot', limit=4),
            start.filter(filter_query=some).find(query=query, search_field='plot', limit=4).filter(filter_query=more),
            start.find(query, 'plot', limit=4).filter(more).filter(some),
        ):
            only.check(index.execute_query(builder.build()), query, 'plot', 4)

    def test_limits_apply_where_they_stand(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A filter's limit before `find` leaves the first so many to rank; later steps cut what was found."""
        query, start = a_vector('plot'), index.build_query()
        first = stored.matching({'id': {'$in': ['film 2', 'film 3', 'film 4']}})
        found = index.execute_query(start.filter({'year': {'$gte': 1902}}, limit=3).find(query, 'plot').build())
        first.check(found, query, 'plot', 10)
        nearest = list(stored.distances(query, 'plot'))
        later = start.find(query, 'plot', limit=6)
        assert index.execute_query(later.offset(1).limit(3).build()).documents.id == nearest[1:4]
        assert index.execute_query(later.filter({}, limit=2).build()).documents.id == nearest[:2]
        by_year = sorted(nearest[:6], key=lambda id_: stored.docs[id_].year)
        assert index.execute_query(later.sort('year').limit(4).build()).documents.id == by_year[:4]
        assert index.execute_query(later.limit(4).sort('year').build()).documents.id == [
            id_ for id_ in by_year if id_ in nearest[:4]
        ]

    def test_a_query_without_ranking_has_no_scores(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Without `find`, documents come as they were indexed, and NaN is the score of each."""
        docs, scores = index.execute_query(index.build_query().filter({'year': {'$gt': 1905}}).offset(2).build())
        assert docs.id == list(stored.matching({'year': {'$gt': 1905}}).docs)[2:]
        assert scores.dtype == np.float32
        assert np.isnan(scores).all()
        assert index.execute_query(QueryBuilder().build()).documents.id == list(stored.docs)

    def test_several_rankings_are_fused(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Rankings of several fields become one by reciprocal ranks, with weights; a function sees them by id."""
        plot, look = a_vector('plot'), a_vector('poster__look')
        both = index.build_query().find(plot, 'plot', limit=5).find(look, 'poster__look', limit=5)
        expected: dict[str, float] = {}
        for field, query, weight in (('plot', plot, 2.0), ('poster__look', look, 1.0)):
            for rank, id_ in enumerate(list(stored.distances(query, field))[:5], 1):
                expected[id_] = expected.get(id_, 0.0) + weight / (60 + rank)
        docs, scores = index.execute_query(both.fuse(weights=[2, 1]).build())
        assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(expected)
        assert (np.diff(scores) <= 0).all()
        docs, scores = index.execute_query(both.fuse(lambda found: {found[1].keys[2]: 7.0}).build())
        assert docs.id == [list(stored.distances(look, 'poster__look'))[2]]
        assert scores.tolist() == [7]

    def test_groups_and_variety(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`group_by` keeps the best of each group, `diversify` with 1 the order by distance."""
        query = a_vector('plot')
        ranked = index.build_query().find(query, 'plot', limit=12)
        best: dict[tuple[str, ...], str] = {}
        for id_ in stored.distances(query, 'plot'):
            best.setdefault(tuple(stored.docs[id_].tags), id_)
        assert index.execute_query(ranked.group_by('tags').build()).documents.id == list(best.values())
        found = index.execute_query(ranked.diversify(5, lambda_mult=1).build())
        stored.check(found, query, 'plot', 5)

    def test_select_returns_these_fields_only(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Selected documents have their id and the fields that were asked for, by flat name."""
        query = index.build_query().find(a_vector('plot'), 'plot', limit=12).select('title', 'poster__url', 'plot')
        docs, _ = index.execute_query(query.build())
        assert set(type(docs[0]).model_fields) == {'id', 'title', 'poster__url', 'plot'}
        assert docs.id == list(stored.distances(a_vector('plot'), 'plot'))
        for doc in docs:
            film = stored.docs[doc.id]
            assert (doc.title, doc.poster__url) == (film.title, film.poster and film.poster.url)  # type: ignore[attr-defined]
            assert doc.plot.tobytes() == film.plot.tobytes()

    @pytest.mark.parametrize('bad', _BAD_STEPS.values(), ids=_BAD_STEPS)
    def test_a_query_that_makes_no_sense_is_refused(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: Callable[[QueryBuilder], QueryBuilder]
    ) -> None:
        """Unknown fields, fields that a step is not for, and steps in a wrong place are a `QueryError`."""
        query = bad(index.build_query()).build()
        for call in (index.execute_query, index.explain):
            with pytest.raises(QueryError):
                call(query)

    def test_explain_says_how(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`explain` answers as `execute_query` does, and tells query, filter, matches, and the time of each step."""
        query = index.build_query().filter({'year': {'$lt': 1905}}).find(a_vector('plot'), 'plot', limit=3).build()
        explained = index.explain(query)
        assert (explained.matches, explained.documents) == (5, 3)
        assert explained.steps
        assert all(step.seconds >= 0 for step in explained.steps)
        assert all(part in str(explained) for part in (str(query), 'year < 1905', *(s.what for s in explained.steps)))

    @FIELDS
    def test_plot_draws_every_vector(self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str) -> None:
        """`plot` draws a point for each document that has a vector in the field, if matplotlib is installed."""
        pytest.importorskip('matplotlib')
        figure = index.plot(field, method='pca')
        there = [id_ for id_ in stored.docs if stored.vector(id_, field) is not None]
        assert sum(len(drawn.get_offsets()) for drawn in figure.axes[0].collections) == len(there)
        assert index.explain(a_vector('plot'), 'plot', 3, filter={'year': {'$lt': 1905}}).matches == 5

    def test_each_twin_answers_as_its_call(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`afilter`, `acount`, `afind`, `aexecute_query` and the others give what the calls without `a` give."""
        some, query = {'year': {'$gte': 1904}}, a_vector('plot')
        built = index.build_query().find(query, 'plot', limit=4).filter(some).build()

        async def use() -> None:
            assert (await index.afilter(some, 3, sort='year', descending=True, offset=1)).id == [
                'film 10',
                'film 9',
                'film 8',
            ]
            assert [docs.id for docs in await index.afilter_batched([some, {}], 1)] == [['film 4'], ['film 0']]
            assert await index.acount(some) == 8
            assert await index.acount() == 12
            stored.matching(some).check(await index.afind(query, 'plot', 4, filter=some), query, 'plot', 4)
            batch = await index.afind_batched([query], 'plot', 4, filter=some)
            stored.matching(some).check(FindResult(batch.documents[0], batch.scores[0]), query, 'plot', 4)
            stored.matching(some).check(await index.aexecute_query(built), query, 'plot', 4)
            assert (await index.aexplain(built)).matches == 8
            with pytest.raises(FilterError):
                await index.afilter({'smell': 1})

        asyncio.run(use())
