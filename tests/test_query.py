"""Queries as values: built step by step, printed, kept, pickled, and sent to any index that has the fields."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, Field, FilterError, HnswDocumentIndex, NdArray, Query, QueryBuilder, QueryError, fields_of
from docindex.query import FilterStep, FindStep, LimitStep


class Game(BaseDoc):
    title: str = Field(default='', full_text=True)
    year: int = 0
    section: str = ''
    look: NdArray = Field(dim=2)


class Film(BaseDoc):
    """Has the fields of a game, and others."""

    title: str = Field(default='', full_text=True)
    year: int = 0
    director: str = ''
    section: str = ''
    look: NdArray = Field(dim=2)


class Song(BaseDoc):
    """Has none of them."""

    name: str = ''


F = fields_of(Game)


def games() -> list[Game]:
    sections = ['board', 'card', 'board', 'video', 'board', 'card']
    return [
        Game(id=f'g{at}', title=f'game {at}', year=2000 + at, section=section, look=np.array([at, 0.0]))
        for at, section in enumerate(sections)
    ]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HnswDocumentIndex[Game]]:
    """Six games; the look of each is [number, 0]."""
    with HnswDocumentIndex[Game](work_dir=tmp_path / 'games') as index:
        index.index(games())
        yield index


def shown(builder: QueryBuilder) -> str:
    return str(builder.build())


# -- building ------------------------------------------------------------------------------------


STEPS: dict[str, tuple[Callable[[QueryBuilder], QueryBuilder], str]] = {
    'filter': (lambda q: q.filter({'year': {'$lt': 3}}), "filter(filter={'year': {'$lt': 3}})"),
    'filter with limit': (lambda q: q.filter({'year': 3}, limit=7), "filter(filter={'year': 3}, limit=7)"),
    'filter in Python': (
        lambda q: q.filter((F.year < 3) & (F.section == 'card')),
        "filter(filter=year < 3 and section == 'card')",
    ),
    'filter of nothing': (lambda q: q.filter(None), 'filter(filter=None)'),
    'find': (lambda q: q.find([1, 2], 'look', limit=5), "find(query=[1, 2], search_field='look', limit=5)"),
    'find by default': (lambda q: q.find([1, 2]), 'find(query=[1, 2])'),
    'find an array': (lambda q: q.find(np.zeros(384, np.float32)), 'find(query=<384 float32>)'),
    'find exactly': (lambda q: q.find([1], exact=True, ef=50), 'find(query=[1], exact=True, ef=50)'),
    'text_search': (
        lambda q: q.text_search('a "b"', ['title', 'body'], 3, mode='all'),
        "text_search(query='a \"b\"', search_field=['title', 'body'], limit=3, mode='all')",
    ),
    'text_search with weights': (
        lambda q: q.text_search('a', {'title': 3}),
        "text_search(query='a', search_field={'title': 3})",
    ),
    'fuse': (lambda q: q.fuse(), 'fuse()'),
    'fuse with weights': (
        lambda q: q.fuse('weighted', weights=[1, 2], k=9),
        "fuse(method='weighted', weights=(1, 2), k=9)",
    ),
    'sort': (lambda q: q.sort('year'), "sort(field='year')"),
    'sort down': (lambda q: q.sort('year', descending=True), "sort(field='year', descending=True)"),
    'offset': (lambda q: q.offset(4), 'offset(count=4)'),
    'limit': (lambda q: q.limit(4), 'limit(count=4)'),
    'group_by': (lambda q: q.group_by('section', 2, limit=3), "group_by(field='section', size=2, limit=3)"),
    'diversify': (
        lambda q: q.diversify(4, 'look', lambda_mult=0.3, query=np.zeros(2)),
        "diversify(limit=4, search_field='look', lambda_mult=0.3, query=<2 float64>)",
    ),
    'select': (lambda q: q.select('title', 'year'), "select(fields=('title', 'year'))"),
}


@pytest.mark.parametrize(('add', 'line'), STEPS.values(), ids=STEPS)
def test_a_step_prints_as_it_was_written(add: Callable[[QueryBuilder], QueryBuilder], line: str) -> None:
    """Each step prints as a call with what was said, and without what was not."""
    assert shown(add(QueryBuilder())) == line


def test_a_query_prints_a_line_a_step() -> None:
    """`print` shows one step a line, in order, and `repr` the same in one line."""
    query = QueryBuilder().filter({'year': 3}).find([1, 2], limit=5).limit(2).build()
    assert str(query) == "filter(filter={'year': 3})\nfind(query=[1, 2], limit=5)\nlimit(count=2)"
    assert repr(query) == "<Query: filter(filter={'year': 3}), find(query=[1, 2], limit=5), limit(count=2)>"


def test_a_query_without_steps_prints_as_everything() -> None:
    """A query that asks for nothing in particular says so."""
    assert shown(QueryBuilder()) == 'everything'
    assert repr(QueryBuilder().build()) == '<Query: everything>'
    assert str(Query()) == 'everything'


def test_long_values_are_cut() -> None:
    """A vector given as a list, or a long text, does not fill the screen."""
    assert len(shown(QueryBuilder().find([0.123] * 1000))) < 200
    assert len(shown(QueryBuilder().text_search('word ' * 1000))) < 200
    assert len(shown(QueryBuilder().filter({'year': {'$in': list(range(1000))}}))) < 200


def test_a_document_can_be_printed_as_a_query() -> None:
    """A query by a document with vectors in it prints."""
    assert shown(QueryBuilder().find(games()[0], 'look')).startswith("find(query=Game(id='g0'")


@pytest.mark.parametrize('add', [add for add, _ in STEPS.values()], ids=STEPS)
def test_a_builder_stays_as_it_is(add: Callable[[QueryBuilder], QueryBuilder]) -> None:
    """Each step gives another builder, with one step more; from the first one can go on in another direction."""
    start = QueryBuilder().filter({'year': 1})
    one, other = add(start), add(start).limit(3)
    assert [len(builder.build().steps) for builder in (start, one, other)] == [1, 2, 3]
    assert shown(start) == "filter(filter={'year': 1})"
    assert str(other.build()) == f'{one.build()}\nlimit(count=3)'


def test_a_query_cannot_be_changed() -> None:
    """Neither a query nor its steps take other values."""
    query = QueryBuilder().filter({'year': 1}).limit(3).build()
    for thing, name in ((query, 'steps'), (query.steps[0], 'limit'), (query.steps[1], 'count')):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, ())


def _filter_step(condition: Any) -> tuple[Query, Any]:
    return QueryBuilder().filter(condition).build(), condition


@pytest.mark.parametrize(
    ('make', 'change'),
    [
        pytest.param(lambda: _filter_step({'year': 2001}), lambda given: given.update(year=2002), id='a filter'),
        pytest.param(lambda: _filter_step({'year': {'$lt': 2002}}), lambda given: given['year'].clear(), id='inside'),
        pytest.param(
            lambda: _filter_step({'$or': [{'year': 2001}]}),
            lambda given: given['$or'].append({'year': 2004}),
            id='a list',
        ),
        pytest.param(
            lambda: _filter_step({'year': {'$in': {2001}}}), lambda given: given['year']['$in'].add(2004), id='a set'
        ),
        pytest.param(
            lambda: (QueryBuilder().find(vector := np.zeros(2)).build(), vector),
            lambda given: given.fill(5),
            id='an array',
        ),
        pytest.param(
            lambda: (QueryBuilder().find(vector := [0, 0]).build(), vector),
            lambda given: given.__setitem__(0, 5),
            id='a list of numbers',
        ),
        pytest.param(
            lambda: (QueryBuilder().text_search('game', weights := {'title': 1.0}).build(), weights),
            lambda given: given.clear(),
            id='weights of fields',
        ),
        pytest.param(
            lambda: (QueryBuilder().text_search('game', names := ['title']).build(), names),
            lambda given: given.append('year'),
            id='names of fields',
        ),
        pytest.param(
            lambda: (QueryBuilder().find([0, 0]).find([5, 0]).fuse(weights=(w := [1, 1])).build(), w),
            lambda given: given.append(1),
            id='weights of rankings',
        ),
        pytest.param(
            lambda: (QueryBuilder().find([0, 0]).diversify(2, query=(v := np.zeros(2))).build(), v),
            lambda given: given.fill(9),
            id='the vector of diversify',
        ),
    ],
)
def test_what_was_given_may_change_afterwards(
    index: HnswDocumentIndex[Game], make: Callable[[], tuple[Query, Any]], change: Callable[[Any], object]
) -> None:
    """A dictionary, list, set or array that the caller changes later does not change a query that was made of it."""
    query, given = make()
    before = index.execute_query(query)
    change(given)
    after = index.execute_query(query)
    assert after.documents.id == before.documents.id
    np.testing.assert_array_equal(after.scores, before.scores)


# -- numbers -------------------------------------------------------------------------------------


_BAD_COUNTS = [-1, 1.5, '3', True, 1 << 62, float('nan'), [1]]


@pytest.mark.parametrize('bad', _BAD_COUNTS, ids=repr)
@pytest.mark.parametrize(
    'add',
    [
        pytest.param(lambda q, n: q.filter({}, limit=n), id='filter'),
        pytest.param(lambda q, n: q.find([1], limit=n), id='find'),
        pytest.param(lambda q, n: q.text_search('a', limit=n), id='text_search'),
        pytest.param(lambda q, n: q.offset(n), id='offset'),
        pytest.param(lambda q, n: q.limit(n), id='limit'),
        pytest.param(lambda q, n: q.diversify(n), id='diversify'),
    ],
)
def test_a_count_that_is_none_is_refused_at_once(add: Callable[[QueryBuilder, Any], object], bad: Any) -> None:
    """A limit or offset that is no integer of at least 0 is a `QueryError`, which is a ValueError, and names it."""
    with pytest.raises(QueryError, match='must be 0 or a positive integer') as raised:
        add(QueryBuilder(), bad)
    assert isinstance(raised.value, ValueError)
    assert repr(bad) in str(raised.value)


@pytest.mark.parametrize(
    'add',
    [
        pytest.param(lambda q: q.group_by('year', 0), id='group_by size 0'),
        pytest.param(lambda q: q.group_by('year', -1), id='group_by size -1'),
        pytest.param(lambda q: q.group_by('year', 1.5), id='group_by size 1.5'),
        pytest.param(lambda q: q.group_by('year', limit=0), id='group_by limit 0'),
        pytest.param(lambda q: q.group_by('year', limit=-1), id='group_by limit -1'),
        pytest.param(lambda q: q.fuse(k=0), id='fuse k 0'),
        pytest.param(lambda q: q.fuse(k=-3), id='fuse k -3'),
        pytest.param(lambda q: q.fuse(weights=3), id='fuse weights that are no list'),
        pytest.param(lambda q: q.diversify(3, lambda_mult=7), id='diversify lambda_mult 7'),
        pytest.param(lambda q: q.diversify(3, lambda_mult=float('nan')), id='diversify lambda_mult NaN'),
        pytest.param(lambda q: q.limit(None), id='limit None'),
        pytest.param(lambda q: q.offset(None), id='offset None'),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_at_once(add: Callable[[QueryBuilder], object]) -> None:
    """A number that no index could do anything with is a `QueryError` where it is written."""
    with pytest.raises(QueryError):
        add(QueryBuilder())


@pytest.mark.parametrize('zero', [0, np.int64(0), np.uint8(0)], ids=repr)
def test_zero_is_a_number(index: HnswDocumentIndex[Game], zero: int) -> None:
    """A limit of 0 finds nothing, an offset of 0 leaves out nothing; numpy's integers are integers."""
    every = QueryBuilder()
    assert len(index.execute_query(every.limit(zero).build()).documents) == 0
    assert len(index.execute_query(every.offset(zero).build()).documents) == 6
    assert len(index.execute_query(every.find([0, 0], limit=zero).build()).documents) == 0
    assert len(index.execute_query(every.filter({}, limit=zero).find([0, 0]).build()).documents) == 0
    assert type(every.limit(zero).build().steps[0].count) is int  # type: ignore[union-attr]


def test_build_takes_nothing() -> None:
    """DocArray's backends take arguments in `build`; here they would be lost, so they are refused."""
    with pytest.raises(QueryError, match=r'build\(\) takes nothing'):
        QueryBuilder().build(limit=3)
    with pytest.raises(QueryError, match=r'build\(\) takes nothing'):
        QueryBuilder().build({'year': 3})


def test_a_query_is_not_its_builder(index: HnswDocumentIndex[Game]) -> None:
    """A builder that was not built, or anything else, in the place of a query is a `QueryError`."""
    for wrong in (index.build_query().limit(3), {'year': 3}, None, 'everything'):
        with pytest.raises(QueryError, match='expected a query'):
            index.execute_query(wrong)  # type: ignore[arg-type]


# -- a query is kept and sent about --------------------------------------------------------------


WHOLE = (
    QueryBuilder()
    .filter((F.year >= 2001) & (F.section != 'video'))
    .filter({'section': {'$in': ['board', 'card']}})
    .find(np.array([0.0, 0.0]), 'look', limit=5)
    .text_search('game 4', 'title')
    .fuse(weights=[2, 1])
    .group_by('section', 2)
    .offset(1)
    .limit(3)
    .select('title', 'section')
    .build()
)


@pytest.mark.parametrize(
    'copied', [lambda q: pickle.loads(pickle.dumps(q)), copy.copy, copy.deepcopy], ids=['pickle', 'copy', 'deepcopy']
)
def test_a_query_survives_copying(index: HnswDocumentIndex[Game], copied: Callable[[Query], Query]) -> None:
    """A query that was pickled or copied prints and finds the same."""
    again = copied(WHOLE)
    assert str(again) == str(WHOLE)
    assert index.execute_query(again).documents.title == index.execute_query(WHOLE).documents.title
    assert len(index.execute_query(again).documents) == 3


def test_a_query_can_be_used_again(index: HnswDocumentIndex[Game]) -> None:
    """The same query gives the same answer each time, and follows what is written in between."""
    query = index.build_query().filter({'section': 'board'}).find([0, 0], limit=2).build()
    assert index.execute_query(query).documents.id == index.execute_query(query).documents.id == ['g0', 'g2']
    index.delete('g0')
    assert index.execute_query(query).documents.id == ['g2', 'g4']


def test_an_iterator_in_a_filter_is_read_once(index: HnswDocumentIndex[Game]) -> None:
    """Values that come from an iterator are there each time that a query is used, and for each of its steps."""
    query = index.build_query().filter({'year': {'$in': (year for year in (2001, 2002))}}).build()
    assert [index.execute_query(query).documents.id for _ in range(2)] == [['g1', 'g2']] * 2
    years = iter([2001, 2002])
    query = index.build_query().filter({'year': {'$in': years}}, limit=5).find([0, 0]).build()
    assert index.execute_query(query).documents.id == ['g1', 'g2']


def test_a_query_can_be_sent_to_another_index(index: HnswDocumentIndex[Game], tmp_path: Path) -> None:
    """A query knows no index: one of other documents that have the fields answers it, with its own documents."""
    with HnswDocumentIndex[Film](work_dir=tmp_path / 'films') as films:
        films.index(
            {'id': f'f{at}', 'title': f'game {at}', 'year': 2001, 'section': 'card', 'look': [at, 1]} for at in range(5)
        )
        query = index.build_query().filter(F.section == 'card').find([0, 0], 'look', limit=2).build()
        assert index.execute_query(query).documents.id == ['g1', 'g5']
        found = films.execute_query(query)
        assert found.documents.id == ['f0', 'f1']
        assert found.scores.tolist() == [1, 2]
        assert found.documents.doc_type is Film
        assert len(films.execute_query(WHOLE).documents) > 0


def test_an_index_without_the_fields_says_so(tmp_path: Path) -> None:
    """An index that lacks a field of a query names it."""
    with HnswDocumentIndex[Song](work_dir=tmp_path) as songs:
        with pytest.raises(FilterError, match='year'):
            songs.execute_query(QueryBuilder().filter({'year': {'$gt': 1900}}).build())
        with pytest.raises(QueryError, match='look'):
            songs.execute_query(WHOLE)
        with pytest.raises(QueryError, match='look'):
            songs.execute_query(QueryBuilder().find([0, 0], 'look').build())
        with pytest.raises(QueryError, match='section'):
            songs.execute_query(QueryBuilder().group_by('section').build())
        with pytest.raises(QueryError, match='title'):
            songs.execute_query(QueryBuilder().select('title').build())


def test_a_query_can_be_made_by_hand(index: HnswDocumentIndex[Game]) -> None:
    """The steps are plain values: a query made of them is that of the builder."""
    by_hand = Query((FilterStep({'section': 'card'}), FindStep([0, 0], limit=3), LimitStep(1)))
    built = index.build_query().filter({'section': 'card'}).find([0, 0], limit=3).limit(1).build()
    assert str(by_hand) == str(built)
    assert index.execute_query(by_hand).documents.id == index.execute_query(built).documents.id == ['g1']


# -- as in DocArray ------------------------------------------------------------------------------


def test_docarrays_calls_work(index: HnswDocumentIndex[Game]) -> None:
    """The calls of DocArray's documentation, with its names of arguments, are understood."""
    query = (
        index.build_query()
        .filter(filter_query={'year': {'$lte': 2004}}, limit=1000)
        .find(query=games()[3], search_field='look', limit=4)
        .filter(filter_query={'section': {'$eq': 'board'}}, limit=2)
        .build()
    )
    docs, scores = index.execute_query(query)
    assert docs.id == ['g2', 'g4']
    assert scores.tolist() == [1, 1]
    found = index.execute_query(query=index.build_query().find(query=np.array([5, 0]), search_field='look').build())
    assert found.documents.id == ['g5', 'g4', 'g3', 'g2', 'g1', 'g0']
    assert index.filter(filter_query={'year': {'$gt': 2003}}, limit=1).id == ['g4']
    assert [docs.id for docs in index.filter_batched(filter_queries=[{'year': 2000}, {'year': 1}], limit=3)] == [
        ['g0'],
        [],
    ]


def test_a_filter_behind_find_does_not_shorten_the_answer(index: HnswDocumentIndex[Game]) -> None:
    """As many documents are found as if the filter stood before `find`: it is not applied to what was found."""
    behind = index.build_query().find([0, 0], 'look', limit=2).filter({'section': 'card'}).build()
    before = index.build_query().filter({'section': 'card'}).find([0, 0], 'look', limit=2).build()
    assert index.execute_query(behind).documents.id == index.execute_query(before).documents.id == ['g1', 'g5']
