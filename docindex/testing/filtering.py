"""What filters mean, in each call that takes one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from ..doclist import DocList
from ..errors import FilterError, QueryError
from ..expressions import fields_of
from ..index import DocumentIndex
from ..results import FindResult
from .contract import OpenIndex
from .exact import ExactIndex, same
from .films import EXACT, FIELDS, SPACES, Film, FilmContract, a_film, a_vector, films

_FILTERS: list[Any] = [
    None,
    {},
    {'year': 1903},
    {'year': {'$gte': 1902, '$lt': 1907}},
    {'year': {'$gt': Decimal('1902.5'), '$lte': Decimal(1907)}},
    {'year': {'$ne': 1903}, 'title': {'$nin': ['Title 1', 'Title 2']}},
    {'$or': [{'year': {'$lte': 1901}}, {'tags': {'$contains': 'b'}}]},
    {'$and': [{'tags': {'$any': ['b', 'z']}}, {'$not': {'year': {'$gt': 1906}}}]},
    {'tags': {'$all': ['a', 'b']}},
    {'tags': {'$size': 0}},
    {'tags__0': 'a'},
    {'title': {'$startswith': 'Title 1'}},
    {'title': {'$regex': '[13579]$'}},
    {'title': {'$contains': '1'}},
    {'id': {'$in': ['film 3', 'film 9', 'nobody']}},
    {'sound': {'$exists': False}},
    {'poster': None},
    {'poster': {'$in': []}},
    {'sound': {'$in': [None]}},
    {'sound': {'$nin': []}},
    {'sound': {'$nin': [None]}},
    {'plot': {'$in': [None]}},
    {'plot': {'$nin': []}},
    {'poster__url': {'$gt': '5.png'}},
    {'poster__url': {'$not': {'$gt': '5.png'}}},
    {'title': "'; DROP TABLE documents; --"},
]
_FILTERED = pytest.mark.parametrize('filter_query', _FILTERS, ids=str)
_BAD_FILTERS: dict[str, Any] = {
    'an unknown field': {'smell': 'sweet'},
    'an unknown nested field': {'poster__smell': 'sweet'},
    'an unknown operator': {'year': {'$near': 1900}},
    'a value of another type': {'year': 'soon'},
    'an operator for other types': {'year': {'$regex': '19'}},
    'an order of what has none': {'tags': {'$lt': ['a']}},
    'a vector to compare with': {'plot': [0, 0, 0, 0]},
    'no list where one belongs': {'year': {'$in': 1900}},
    'no filter at all': 'year < 1900',
}


def check_filters(index: DocumentIndex[Film], oracle: ExactIndex[Film]) -> None:
    """Assert that each filter finds in `index` what it finds in `oracle`; updated documents may stand anywhere."""
    for filter_query in [*_FILTERS, {'year': 1999}, {'tags': {'$contains': 'z'}}]:
        only = oracle.matching(filter_query)
        assert set(index.filter(filter_query, limit=None).id) == set(only.docs)
        assert index.count(filter_query) == len(only.docs)
        query = a_vector('plot')
        only.check(index.find(query, 'plot', 3, filter=filter_query), query, 'plot', 3)


class FilteringContract(FilmContract):
    """What matches, alone and in a search."""

    @_FILTERED
    def test_filter_returns_what_matches(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], filter_query: Any
    ) -> None:
        """
        `filter` gives the documents that match, as they were stored, in the order of indexing; `count` says how many.

        What matches is what `Filter.matches` says.
        """
        expected = list(stored.matching(filter_query).docs.values())
        found = index.filter(filter_query, limit=None)
        assert isinstance(found, DocList)
        assert found.doc_type is Film
        assert found.id == [doc.id for doc in expected]
        assert all(map(same, found, expected))
        assert index.count(filter_query) == len(expected)
        assert index.filter(filter_query, 2, offset=1).id == found.id[1:3]
        assert index.filter(filter_query, limit=0).id == []

    def test_filter_returns_ten_if_nothing_is_said(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`filter` returns at most 10 documents unless another limit is given; `count` without a filter counts all."""
        assert index.filter({}).id == list(stored.docs)[:10]
        assert index.count() == 12

    def test_filter_sorts(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`sort` puts documents in the order of a field, those without a value last; offset and limit count there."""
        posters = [(doc.poster.url, doc.id) for doc in stored.docs.values() if doc.poster is not None]
        without = [doc.id for doc in stored.docs.values() if doc.poster is None]
        for descending in (False, True):
            ordered = [id_ for _, id_ in sorted(posters, reverse=descending)] + without
            how: dict[str, Any] = {'sort': 'poster__url', 'descending': descending}
            assert index.filter({}, None, **how).id == ordered
            assert index.filter({}, None, offset=7, **how).id == ordered[7:]
            assert index.filter({}, 3, offset=7, **how).id == ordered[7:10]

    def test_several_filters_are_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """`filter_batched` gives what `filter` gives for each, in order."""
        found = index.filter_batched(iter(_FILTERS), limit=3)
        assert [docs.id for docs in found] == [index.filter(one, limit=3).id for one in _FILTERS]
        assert index.filter_batched([]) == []

    def test_a_filter_in_python_is_one_in_a_dictionary(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """Comparisons of `fields_of` are filters wherever a dictionary is one."""
        F = fields_of(Film)  # noqa: N806 (as everybody calls it)
        condition = (F.year >= 1902) & (F.year < 1907)
        expected = list(stored.matching(condition).docs)
        assert expected == ['film 2', 'film 3', 'film 4', 'film 5', 'film 6']
        assert index.filter(condition).id == expected
        assert index.count(condition) == 5
        assert set(index.find(a_vector('plot'), 'plot', filter=condition).documents.id) == set(expected)

    @EXACT
    @FIELDS
    @_FILTERED
    def test_find_with_a_filter_comes_back_full(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], filter_query: Any, field: str, exact: bool
    ) -> None:
        """The nearest of what matches are found, `limit` of them if so many match and have the vector."""
        query, only = a_vector(field), stored.matching(filter_query)
        for limit in (1, 4, 1000):
            only.check(index.find(query, field, limit, filter=filter_query, exact=exact), query, field, limit)

    @FIELDS
    def test_a_batch_with_a_filter_is_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str
    ) -> None:
        """`find_batched` with a filter gives for each query the nearest of what matches."""
        condition = {'year': {'$gte': 1905}}
        queries = np.stack([a_vector(field, seed) for seed in range(4)])
        docs, scores = index.find_batched(queries, field, limit=3, filter=condition)
        for query, found, found_scores in zip(queries, docs, scores, strict=True):
            stored.matching(condition).check(FindResult(found, found_scores), query, field, 3)

    @pytest.mark.parametrize('bad', _BAD_FILTERS.values(), ids=_BAD_FILTERS)
    def test_a_bad_filter_is_refused(self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: Any) -> None:
        """A filter that does not fit the schema is a `FilterError`, a `QueryError`, in every call, for any limit."""
        calls: list[Callable[[], object]] = [
            lambda: index.filter(bad),
            lambda: index.filter(bad, limit=0),
            lambda: index.filter_batched([{}, bad]),
            lambda: index.count(bad),
            lambda: index.find([0, 0, 0, 0], 'plot', filter=bad),
            lambda: index.find([0, 0, 0, 0], 'plot', limit=0, filter=bad),
            lambda: index.find_batched([[0, 0, 0, 0]], 'plot', filter=bad),
            lambda: index.execute_query(index.build_query().find([0, 0, 0, 0], 'plot').filter(bad).build()),
            lambda: index.explain([0, 0, 0, 0], 'plot', filter=bad),
        ]
        for call in calls:
            with pytest.raises(FilterError) as raised:
                call()
            assert isinstance(raised.value, QueryError)

    @pytest.mark.parametrize('given', [{'limit': -1}, {'limit': 1.5}, {'offset': -1}, {'sort': 'smell'}], ids=str)
    def test_filter_refuses_numbers_and_orders_that_make_no_sense(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], given: dict[str, Any]
    ) -> None:
        """A negative limit or offset, or an unknown field to sort by, is a `QueryError`."""
        with pytest.raises(QueryError):
            index.filter({}, **given)

    def test_filters_follow_what_is_written(self, open_index: OpenIndex) -> None:
        """After updates, replacements and deletions, and after reopening, filters see the documents as they are."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        with open_index(Film) as index:
            for store in (index, oracle):
                store.index(films())
                store.update('film 3', year=1999)
                store.update('film 4', plot=np.zeros(4, np.float32), tags=['z'])
                store.update('film 5', poster=None)
                store.index([a_film('film 6', year=1999)])
                store.delete(['film 7', 'film 8'])
            check_filters(index, oracle)
        with open_index(Film) as index:
            check_filters(index, oracle)

    def test_an_empty_index_has_no_matches(self, index: DocumentIndex[Film]) -> None:
        """Where nothing is stored nothing matches."""
        assert index.filter({'year': 1}).id == index.filter({}, limit=None).id == []
        assert index.count() == 0
        assert len(index.find(a_vector('plot'), 'plot', filter={'year': {'$ne': 1}}).documents) == 0
