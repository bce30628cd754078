"""`execute_query`, `filter`, `count` and `explain`, held against a search that a list of documents can be read for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docindex import (
    BaseDoc,
    ClosedIndexError,
    DimensionError,
    DocIndexError,
    DocList,
    Explanation,
    Field,
    FilterError,
    HnswDocumentIndex,
    NdArray,
    Query,
    QueryBuilder,
    QueryError,
    Ranking,
    SettingsError,
    VectorError,
    fields_of,
)


class Author(BaseDoc):
    name: str = ''
    face: NdArray | None = Field(default=None, dim=2)


class Book(BaseDoc):
    title: str = Field(default='', full_text=True)
    year: int | None = None
    price: Decimal = Decimal(0)
    section: str = ''
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, int] = Field(default_factory=dict)
    printed: datetime | None = None
    is_new: bool = False
    author: Author | None = None
    look: NdArray = Field(dim=3)
    sound: NdArray | None = Field(default=None, dim=2, space='cosine')


Books = HnswDocumentIndex[Book]
F = fields_of(Book)
EXAMPLES = settings().max_examples
WORDS = ['chess', 'engine', 'board', 'card', 'opening']


def books(count: int = 40, seed: int = 3) -> list[Book]:
    """Return books of which some have no year, sound, author or face, and several share a year and section."""
    random = np.random.default_rng(seed)

    def vector(dim: int) -> Any:
        return random.standard_normal(dim).astype(np.float32)

    def author(at: int) -> Author | None:
        return None if at % 5 == 4 else Author(id=f'a{at}', name=f'name {at % 6}', face=None if at % 3 else vector(2))

    return [
        Book(
            id=f'b{at}',
            title=' '.join(random.choice(WORDS, 1 + at % 4)),
            year=None if at % 7 == 6 else 2000 + int(random.integers(6)),
            price=Decimal(int(random.integers(500))) / 100,
            section=['games', 'math', 'misc'][int(random.integers(3))],
            tags=[word for word in WORDS if random.random() < 0.3],
            meta={'pages': at} if at % 2 else {},
            printed=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=int(random.integers(9))),
            is_new=bool(random.integers(2)),
            author=author(at),
            look=vector(3),
            sound=None if at % 4 == 3 else vector(2),
        )
        for at in range(count)
    ]


BOOKS = books()


@pytest.fixture(scope='module')
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HnswDocumentIndex[Book]]:
    """The books, which no test here changes."""
    with Books(work_dir=tmp_path_factory.mktemp('books')) as index:
        index.index(BOOKS)
        yield index


def ask(index: HnswDocumentIndex[Any], builder: QueryBuilder) -> tuple[list[str], list[float]]:
    docs, scores = index.execute_query(builder.build())
    assert scores.dtype == np.float32
    assert scores.shape == (len(docs),)
    return [doc.id for doc in docs], scores.tolist()


def ids(index: HnswDocumentIndex[Any], builder: QueryBuilder) -> list[str]:
    return ask(index, builder)[0]


# -- the model -----------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A step: how it is built, and what it means to the model."""

    name: str
    build: Callable[[QueryBuilder], QueryBuilder]
    value: Any = None
    limit: int | None = None

    def __repr__(self) -> str:
        return str(self.build(QueryBuilder()).build())


class Scored(NamedTuple):
    doc: Book
    score: float


FILTERS: list[tuple[Any, Callable[[Book], bool]]] = [
    (None, lambda doc: True),
    ({}, lambda doc: True),
    ({'section': 'games'}, lambda doc: doc.section == 'games'),
    ({'section': {'$in': ['math', 'misc']}}, lambda doc: doc.section in ('math', 'misc')),
    ({'year': {'$gte': 2003}}, lambda doc: doc.year is not None and doc.year >= 2003),
    ({'year': {'$not': {'$gte': 2003}}}, lambda doc: doc.year is None or doc.year < 2003),
    ({'$or': [{'year': None}, {'is_new': True}]}, lambda doc: doc.year is None or doc.is_new),
    ({'price': {'$lt': 2.5}, 'is_new': False}, lambda doc: doc.price < Decimal('2.5') and not doc.is_new),
    ({'tags': {'$contains': 'chess'}}, lambda doc: 'chess' in doc.tags),
    ({'tags': {'$size': {'$gte': 2}}}, lambda doc: len(doc.tags) >= 2),
    ({'meta__pages': {'$gt': 10}}, lambda doc: doc.meta.get('pages', 0) > 10),
    ({'author__name': 'name 2'}, lambda doc: doc.author is not None and doc.author.name == 'name 2'),
    ({'sound': {'$exists': True}}, lambda doc: doc.sound is not None),
    ({'title': {'$regex': '^b'}}, lambda doc: doc.title.startswith('b')),
    ({'id': {'$in': ['b1', 'b2', 'b3', 'nobody']}}, lambda doc: doc.id in ('b1', 'b2', 'b3')),
    (F.section != 'games', lambda doc: doc.section != 'games'),
    ({'section': 'nowhere'}, lambda doc: False),
]
SORTS: dict[str, Callable[[Book], Any]] = {
    'year': lambda doc: doc.year,
    'price': lambda doc: doc.price,
    'title': lambda doc: doc.title,
    'id': lambda doc: doc.id,
    'printed': lambda doc: doc.printed,
    'author__name': lambda doc: doc.author.name if doc.author else None,
}
GROUPS: dict[str, Callable[[Book], Any]] = {
    'section': lambda doc: doc.section,
    'year': lambda doc: doc.year,
    'is_new': lambda doc: doc.is_new,
    'tags': lambda doc: tuple(doc.tags),
    'author__name': lambda doc: doc.author.name if doc.author else None,
}
VECTORS: dict[str, Callable[[Book], Any]] = {
    'look': lambda doc: doc.look,
    'sound': lambda doc: doc.sound,
    'author__face': lambda doc: doc.author.face if doc.author else None,
}
DIMS = {'look': 3, 'sound': 2, 'author__face': 2}


def distance(field: str, query: Any, vector: Any) -> float:
    a, b = np.asarray(query, np.float64), np.asarray(vector, np.float64)
    if field == 'sound':
        return float(1 - (a @ b) / np.sqrt((a @ a) * (b @ b)))
    return float(((a - b) ** 2).sum())


def nearest(field: str, query: Any, limit: int, docs: Sequence[Book]) -> list[Scored]:
    """Return the nearest of some documents by comparing each."""
    found = [
        Scored(doc, distance(field, query, VECTORS[field](doc))) for doc in docs if VECTORS[field](doc) is not None
    ]
    return sorted(found, key=lambda one: one.score)[:limit]


def joined(rankings: Sequence[list[Scored]], weights: Sequence[float], k: int) -> list[Scored]:
    """Return rankings by distance joined by reciprocal ranks, in the order that `docindex.fusion` promises."""
    docs = {one.doc.id: one.doc for ranking in rankings for one in ranking}
    places = {
        id_: [(at, [one.doc.id for one in ranking].index(id_)) for at, ranking in enumerate(rankings)
              if id_ in [one.doc.id for one in ranking]]
        for id_ in docs
    }  # fmt: skip
    total = {id_: math.fsum(weights[at] / (k + 1 + place) for at, place in places[id_]) for id_ in docs}
    order = sorted(docs, key=lambda id_: (-round(total[id_], 12), min(place for _, place in places[id_]), places[id_]))
    return [Scored(docs[id_], total[id_]) for id_ in order]


def sorted_by(found: list[Scored], value: Callable[[Book], Any], descending: bool) -> list[Scored]:
    there = [one for one in found if value(one.doc) is not None]
    there.sort(key=lambda one: value(one.doc), reverse=descending)
    return there + [one for one in found if value(one.doc) is None]


def grouped_by(found: list[Scored], value: Callable[[Book], Any], size: int, limit: int | None) -> list[Scored]:
    groups: dict[Any, list[Scored]] = {}
    for one in found:
        groups.setdefault(value(one.doc), []).append(one)
    return [one for members in list(groups.values())[:limit] for one in members[:size]]


def model(steps: Sequence[Asked], docs: Sequence[Book]) -> list[Scored]:
    """Return what a query of these steps finds, as `docindex.query` says it."""
    rankings = [step for step in steps if step.name == 'find']
    passed = [doc for doc in docs if all(step.value(doc) for step in steps if step.name == 'filter')]
    rest = list(steps)
    if rankings:
        first = steps.index(rankings[0])
        among: Sequence[Book] = docs
        for step in steps[:first]:
            among = [doc for doc in among if step.value(doc)][: step.limit]
        passed = [doc for doc in passed if doc in among]
        rest = list(steps[first:])
        each = [nearest(field, query, limit, passed) for field, query, limit in (step.value for step in rankings)]
        fuses = [step.value for step in steps if step.name == 'fuse']
        weights, k = fuses[0] if fuses else (None, 60)
        found = each[0] if len(each) == 1 and not fuses else joined(each, weights or [1] * len(each), k)
    else:
        found = [Scored(doc, math.nan) for doc in passed]
    for step in rest:
        if step.name == 'sort':
            found = sorted_by(found, *step.value)
        elif step.name == 'group_by':
            found = grouped_by(found, *step.value)
        elif step.name == 'offset':
            found = found[step.value :]
        elif step.limit is not None and step.name in ('limit', 'filter'):
            found = found[: step.limit]
    return found


counts = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 100])


def filter_step(chosen: tuple[Any, Callable[[Book], bool]], limit: int | None) -> Asked:
    return Asked('filter', lambda q: q.filter(chosen[0], limit), chosen[1], limit)


def find_step(field: str, seed: int, limit: int, exact: bool) -> Asked:
    query = np.random.default_rng(seed).standard_normal(DIMS[field]).astype(np.float32)
    return Asked('find', lambda q: q.find(query, field, limit, exact=exact), (field, query, limit))


filter_steps = st.builds(filter_step, st.sampled_from(FILTERS), st.none())
limited_filters = st.builds(filter_step, st.sampled_from(FILTERS), counts)
find_steps = st.builds(find_step, st.sampled_from(list(DIMS)), st.integers(0, 20), counts, st.booleans())
sort_steps = st.builds(
    lambda name, down: Asked('sort', lambda q: q.sort(name, descending=down), (SORTS[name], down)),
    st.sampled_from(list(SORTS)),
    st.booleans(),
)
group_steps = st.builds(
    lambda name, size, limit: Asked('group_by', lambda q: q.group_by(name, size, limit), (GROUPS[name], size, limit)),
    st.sampled_from(list(GROUPS)),
    st.integers(1, 3),
    st.none() | st.integers(1, 4),
)
offset_steps = st.builds(lambda n: Asked('offset', lambda q: q.offset(n), n), counts)
limit_steps = st.builds(lambda n: Asked('limit', lambda q: q.limit(n), limit=n), counts)
paging_steps = sort_steps | offset_steps | limit_steps
later_steps = paging_steps | group_steps | filter_steps


@st.composite
def unranked(draw: st.DrawFn) -> list[Asked]:
    before = draw(st.lists(filter_steps, max_size=2))
    paged = draw(st.lists(paging_steps, max_size=3))
    return [*before, *paged, *draw(st.lists(later_steps | limited_filters, max_size=3))]


@st.composite
def ranked(draw: st.DrawFn) -> list[Asked]:
    before = draw(st.lists(filter_steps | limited_filters, max_size=3))
    rankings = draw(st.lists(find_steps, min_size=1, max_size=3))
    between = draw(st.lists(filter_steps, max_size=1))
    fuses: list[Asked] = []
    if draw(st.booleans()):
        k = draw(st.integers(1, 90))
        weights = draw(st.none() | st.tuples(*[st.integers(1, 5)] * len(rankings)))
        fuses = [Asked('fuse', lambda q: q.fuse(weights=weights, k=k), (weights, k))]
    after = draw(st.lists(later_steps | limited_filters, max_size=4))
    return [*before, rankings[0], *between, *rankings[1:], *fuses, *after]


def check(index: HnswDocumentIndex[Book], steps: Sequence[Asked]) -> None:
    builder = index.build_query()
    for step in steps:
        builder = step.build(builder)
    found_ids, scores = ask(index, builder)
    expected = model(steps, BOOKS)
    assert found_ids == [one.doc.id for one in expected]
    np.testing.assert_allclose(scores, [one.score for one in expected], rtol=1e-4, atol=1e-5)


@settings(max_examples=3 * EXAMPLES)
@given(unranked())
def test_a_query_without_ranking_is_as_a_list_is_read(index: HnswDocumentIndex[Book], steps: list[Asked]) -> None:
    """Filters combine with "and", everything else rearranges the documents in the order in which it stands."""
    check(index, steps)


@settings(max_examples=2 * EXAMPLES)
@given(ranked())
def test_a_query_with_rankings_is_as_a_list_is_read(index: HnswDocumentIndex[Book], steps: list[Asked]) -> None:
    """
    All filters count for all rankings, these are joined, and the rest rearranges what came out of it.

    The limit of a filter before them leaves the first so many to be ranked. A single ranking has its real distances.
    """
    check(index, steps)


# -- filters and limits --------------------------------------------------------------------------


def test_a_single_ranking_has_real_distances(index: HnswDocumentIndex[Book]) -> None:
    """Scores are the distances to the query, ascending, whatever was filtered before and behind."""
    query = index.build_query().filter({'is_new': True}).find([0, 0, 0], 'look').filter({'year': {'$gte': 2001}})
    found, scores = ask(index, query)
    docs = {doc.id: doc for doc in BOOKS}
    assert scores == sorted(scores)
    np.testing.assert_allclose(scores, [float(np.dot(docs[id_].look, docs[id_].look)) for id_ in found], rtol=1e-5)


def test_filters_before_and_behind_find_are_one(index: HnswDocumentIndex[Book]) -> None:
    """Where a filter stands does not matter; two of them are the same as one with both conditions."""
    first, second = {'is_new': True}, {'section': {'$ne': 'games'}}
    start = index.build_query()
    answers = [
        ask(index, start.filter(first).filter(second).find([1, 0, 0], 'look', 5)),
        ask(index, start.filter(first).find([1, 0, 0], 'look', 5).filter(second)),
        ask(index, start.find([1, 0, 0], 'look', 5).filter(first).filter(second)),
        ask(index, start.find([1, 0, 0], 'look', 5).filter({**first, **second})),
    ]
    assert answers == [answers[0]] * 4
    assert len(answers[0][0]) == 5


def test_the_limit_of_a_filter_before_find_is_of_what_is_ranked(index: HnswDocumentIndex[Book]) -> None:
    """Only the first so many documents that match are ranked, in the order in which they were indexed."""
    games = [doc.id for doc in BOOKS if doc.section == 'games']
    start = index.build_query().filter({'section': 'games'}, limit=4)
    assert sorted(ids(index, start.find([1, 0, 0], 'look', 100))) == sorted(games[:4])
    assert set(ids(index, start.text_search(' '.join(WORDS), limit=100))) == set(games[:4])
    assert ids(index, start.find([1, 0, 0], 'look').filter({'id': games[3]})) == [games[3]]
    assert ids(index, start.find([1, 0, 0], 'look').filter({'id': games[4]})) == []


def test_limits_of_several_filters_before_find(index: HnswDocumentIndex[Book]) -> None:
    """Each limit is of what the filters up to it have left over."""
    games = [doc for doc in BOOKS if doc.section == 'games'][:8]
    new = [doc.id for doc in games if doc.is_new][:2]
    query = index.build_query().filter({'section': 'games'}, limit=8).filter({'is_new': True}, limit=2)
    assert sorted(ids(index, query.find([1, 0, 0], 'look'))) == sorted(new)
    assert len(new) == 2


def test_a_limit_between_other_steps_counts_there(index: HnswDocumentIndex[Book]) -> None:
    """`limit` before `sort` sorts the first ones, behind it keeps the smallest; offset and limit page."""
    start = index.build_query().filter({'year': {'$exists': True}})
    by_year = sorted((doc for doc in BOOKS if doc.year is not None), key=lambda doc: (doc.year, BOOKS.index(doc)))
    assert ids(index, start.sort('year').limit(5)) == [doc.id for doc in by_year[:5]]
    assert ids(index, start.limit(5).sort('year')) == [doc.id for doc in by_year if doc in BOOKS[:5]]
    paged = [id_ for page in range(0, 40, 7) for id_ in ids(index, start.sort('year').offset(page).limit(7))]
    assert paged == [doc.id for doc in by_year]
    assert ids(index, start.sort('year').limit(9).offset(7)) == [doc.id for doc in by_year[7:9]]


def test_the_same_vector_field_can_be_ranked_twice(index: HnswDocumentIndex[Book]) -> None:
    """Several query vectors in one field are several rankings."""
    one, other = BOOKS[0], BOOKS[1]
    found, scores = ask(index, index.build_query().find(one, 'look', 1).find(other, 'look', 1))
    assert found == ['b0', 'b1']
    assert scores == pytest.approx([1 / 61, 1 / 61])


# -- several rankings ----------------------------------------------------------------------------


def test_weighted_fusion(index: HnswDocumentIndex[Book]) -> None:
    """'weighted' adds up scores from 1 for the best to 0 for the worst of each ranking, by weight."""
    query = index.build_query().find([1, 0, 0], 'look', 10).find([0, 1], 'sound', 10)
    found, scores = ask(index, query.fuse('weighted', weights=[3, 1]))
    expected: dict[str, float] = {}
    rankings = [nearest('look', [1, 0, 0], 10, BOOKS), nearest('sound', [0, 1], 10, BOOKS)]
    for ranking, weight in zip(rankings, (3, 1), strict=True):
        best, worst = ranking[0].score, ranking[-1].score
        for one in ranking:
            share = weight * (worst - one.score) / (worst - best) / 4
            expected[one.doc.id] = expected.get(one.doc.id, 0) + share
    assert dict(zip(found, scores, strict=True)) == pytest.approx(expected, abs=1e-5)
    assert scores == sorted(scores, reverse=True)


def test_text_and_vectors_are_fused(index: HnswDocumentIndex[Book]) -> None:
    """A ranking by words and one by vectors are joined by reciprocal ranks if nothing is said."""
    query = index.build_query().find([1, 0, 0], 'look', 5).text_search('chess engine', 'title', 5)
    by_text = index.text_search('chess engine', 'title', 5)
    expected = dict.fromkeys(
        [*(one.doc.id for one in nearest('look', [1, 0, 0], 5, BOOKS)), *by_text.documents.id], 0.0
    )
    for place, one in enumerate(nearest('look', [1, 0, 0], 5, BOOKS)):
        expected[one.doc.id] += 1 / (61 + place)
    for doc, score in zip(*by_text, strict=True):
        expected[doc.id] += 1 / (61 + int((by_text.scores > score).sum()))
    found, scores = ask(index, query)
    assert dict(zip(found, scores, strict=True)) == pytest.approx(expected)
    assert ask(index, query.fuse('rrf')) == (found, scores)


def test_a_function_that_fuses_sees_ids(index: HnswDocumentIndex[Book]) -> None:
    """A function gets the rankings with ids, names and scores as they came, and its scores are the answer."""
    seen: list[Ranking[str]] = []

    def fuse(rankings: Sequence[Ranking[str]]) -> Mapping[str, float]:
        seen.extend(rankings)
        return {id_: float(at) for at, id_ in enumerate(rankings[0].keys)}

    query = index.build_query().find([1, 0, 0], 'look', 4).text_search('chess', 'title', 3).fuse(fuse)
    found, scores = ask(index, query)
    look = [one.doc.id for one in nearest('look', [1, 0, 0], 4, BOOKS)]
    assert (found, scores) == (look[::-1], [3, 2, 1, 0])
    assert [(one.name, one.is_distance) for one in seen] == [('look', True), ('title', False)]
    assert seen[0].keys == look
    assert seen[1].keys == index.text_search('chess', 'title', 3).documents.id
    assert (np.diff(seen[1].scores) <= 0).all()


def test_fuse_may_stand_anywhere(index: HnswDocumentIndex[Book]) -> None:
    """`fuse` says how, not when: it may stand before the rankings, and changes the scores of a single one, too."""
    start = index.build_query()
    behind = start.find([1, 0, 0], 'look').find([0, 1], 'sound').fuse(weights=[1, 5])
    before = start.fuse(weights=[1, 5]).find([1, 0, 0], 'look').find([0, 1], 'sound')
    assert ask(index, behind) == ask(index, before)
    found, scores = ask(index, start.find([1, 0, 0], 'look', 2).fuse())
    assert found == [one.doc.id for one in nearest('look', [1, 0, 0], 2, BOOKS)]
    assert scores == pytest.approx([1 / 61, 1 / 62])


def test_rankings_that_find_nothing_can_be_fused(index: HnswDocumentIndex[Book]) -> None:
    """Where one ranking, or each, has no document, the rest of the query goes on."""
    query = index.build_query().find([1, 0, 0], 'look', 3).text_search('nowhere', 'title')
    assert ids(index, query) == [one.doc.id for one in nearest('look', [1, 0, 0], 3, BOOKS)]
    for method in ('rrf', 'weighted'):
        nothing = query.filter({'section': 'nowhere'}).fuse(method)
        assert ask(index, nothing.sort('year').group_by('section').diversify(3, 'look')) == ([], [])


# -- rearranging ---------------------------------------------------------------------------------


def similarity(left: Any, right: Any) -> float:
    return 1 / (1 + distance('look', left, right))


def test_diversify_takes_what_is_near_and_unlike(index: HnswDocumentIndex[Book]) -> None:
    """Each document is the best by nearness to the query less its likeness to those before; scores stay distances."""
    query, docs = [1, 0, 0], {doc.id: doc for doc in BOOKS}
    candidates = [one.doc.id for one in nearest('look', query, 20, BOOKS)]
    chosen = candidates[:1]
    while len(chosen) < 6:
        gain = {
            id_: 0.4 * similarity(query, docs[id_].look)
            - 0.6 * max(similarity(docs[id_].look, docs[other].look) for other in chosen)
            for id_ in candidates
            if id_ not in chosen
        }
        chosen.append(max(gain, key=lambda id_: gain[id_]))
    found, scores = ask(index, index.build_query().find(query, 'look', 20).diversify(6, lambda_mult=0.4))
    assert found == chosen
    assert scores == pytest.approx([distance('look', query, docs[id_].look) for id_ in chosen], rel=1e-5)
    assert chosen != candidates[:6]


def test_diversify_by_another_field_or_vector(index: HnswDocumentIndex[Book]) -> None:
    """`diversify` uses field and vector of the last `find` unless it has its own; without a `find` it needs them."""
    start = index.build_query()
    two = start.find([0, 1], 'sound', 9).find([1, 0, 0], 'look', 9)
    assert ids(index, two.diversify(5)) == ids(index, two.diversify(5, 'look', query=[1, 0, 0]))
    other = start.find([1, 0, 0], 'look', 20).filter({'sound': {'$exists': True}})
    by_sound = ids(index, other.diversify(20, 'sound', lambda_mult=1, query=[0, 1]))
    among = [doc for doc in BOOKS if doc.id in by_sound]
    assert by_sound == [one.doc.id for one in nearest('sound', [0, 1], 20, among)]
    text = start.text_search('chess', limit=30)
    assert sorted(ids(index, text.diversify(30, 'look', query=[1, 0, 0]))) == sorted(ids(index, text))


def test_diversify_puts_what_has_no_vector_behind(index: HnswDocumentIndex[Book]) -> None:
    """A document without a vector is not taken for one with a vector of zeros: it comes last, if at all."""
    query = index.build_query().filter({'author': {'$exists': True}})
    found = ids(index, query.diversify(40, 'author__face', lambda_mult=1, query=[0, 0]))
    has_face = [id_ for id_ in found if VECTORS['author__face'](BOOKS[int(id_[1:])]) is not None]
    assert found[: len(has_face)] == has_face
    assert len(has_face) > 3


def test_groups_of_equal_dicts_are_one(tmp_path: Path) -> None:
    """Two dictionaries with the same entries in another order are equal, and one group."""
    with Books(work_dir=tmp_path) as index:
        metas: list[dict[str, int]] = [{'a': 1, 'b': 2}, {'b': 2, 'a': 1}, {'a': 1}, {}]
        index.index(Book(id=str(at), meta=meta, look=np.zeros(3)) for at, meta in enumerate(metas))
        assert ids(index, index.build_query().group_by('meta')) == ['0', '2', '3']


def test_sorting_is_of_what_values_are(tmp_path: Path) -> None:
    """Text sorts by code points, decimals as numbers, moments in time across zones; what is missing comes last."""
    values: dict[str, list[Any]] = {
        'title': ['', 'B', 'a', 'b', 'Ä', 'ä', '\U0001f600'],
        'price': [Decimal('-10'), Decimal('-9.5'), Decimal(0), Decimal('1e-9'), Decimal('2'), Decimal('10')],
        'year': [-5, 0, 3, 1 << 40],
        'printed': [
            datetime.fromisoformat(text)
            for text in ('2020-01-01T00:00:00+05:00', '2019-12-31T20:00:00', '2020-01-01T00:00:00-05:00')
        ],
    }
    for name, ordered in values.items():
        for descending in (False, True):
            with Books(work_dir=tmp_path / f'{name} {descending}') as index:
                shuffled = np.random.default_rng(1).permutation(len(ordered)).tolist()
                index.index(Book(id=str(at), look=np.zeros(3), **{name: ordered[at]}) for at in shuffled)
                by_sqlite = index.build_query().sort(name, descending=descending)
                by_python = index.build_query().find([0, 0, 0], 'look').sort(name, descending=descending)
                expected = [str(at) for at in range(len(ordered))][:: -1 if descending else 1]
                assert ids(index, by_sqlite) == ids(index, by_python) == expected, name


# -- select --------------------------------------------------------------------------------------


@pytest.mark.parametrize('is_ranked', [False, True], ids=['filtered', 'ranked'])
@pytest.mark.parametrize(
    'names',
    [
        (),
        ('title',),
        ('id',),
        ('year', 'price', 'printed', 'is_new'),
        ('tags', 'meta'),
        ('author__name',),
        ('author',),
        ('look',),
        ('sound', 'author__face'),
        ('title', 'author__name', 'look', 'id', 'title'),
    ],
    ids=str,
)
def test_select_gives_only_these_fields(
    index: HnswDocumentIndex[Book], names: tuple[str, ...], is_ranked: bool
) -> None:
    """Documents have the fields that were asked for, by flat name, as they were stored, their id, and nothing else."""
    query = index.build_query().filter({'section': 'games'})
    query = query.find([1, 0, 0], 'look', 50) if is_ranked else query
    whole, scores = index.execute_query(query.build())
    some, some_scores = index.execute_query(query.select(*names).build())
    assert set(type(some[0]).model_fields) == {'id', *names}
    assert some.id == whole.id
    np.testing.assert_array_equal(some_scores, scores)
    for selected, doc in zip(some, whole, strict=True):
        assert set(selected.model_dump()) == {'id', *names}
        for name in names:
            expected: Any = doc
            for step in name.split('__'):
                expected = None if expected is None else getattr(expected, step)
            value = getattr(selected, name)
            assert type(value) is type(expected)
            if isinstance(expected, np.ndarray):
                assert value.dtype == expected.dtype
            assert np.array_equal(value, expected)


def test_selected_documents_are_documents(index: HnswDocumentIndex[Book]) -> None:
    """They print, compare, come as a `DocList` with columns, and of one class for the same fields."""
    query = index.build_query().limit(3).select('title', 'author__name').build()
    docs = index.execute_query(query).documents
    assert isinstance(docs, DocList)
    assert docs.title == [doc.title for doc in BOOKS[:3]]
    assert docs.author__name == [doc.author.name if doc.author else None for doc in BOOKS[:3]]
    assert isinstance(docs[0], BaseDoc)
    assert not isinstance(docs[0], Book)
    again = index.execute_query(query).documents
    assert docs[0] == again[0]
    assert docs.doc_type is again.doc_type
    assert type(docs[0]).model_validate_json(docs[0].model_dump_json()) == docs[0]


def test_select_may_stand_anywhere(index: HnswDocumentIndex[Book]) -> None:
    """`select` says what comes back and nothing else: other steps see all fields, whatever the order."""
    start = index.build_query().select('title').filter({'year': {'$gte': 2002}}).sort('price').group_by('section')
    other = index.build_query().filter({'year': {'$gte': 2002}}).sort('price').group_by('section').select('title')
    assert index.execute_query(start.build()).documents == index.execute_query(other.build()).documents
    assert len(index.execute_query(start.build()).documents) == 3


def test_select_of_nothing_found(index: HnswDocumentIndex[Book]) -> None:
    """Where nothing is found the class is still that of the fields."""
    docs, scores = index.execute_query(index.build_query().filter({'section': 'nowhere'}).select('title').build())
    assert len(docs) == len(scores) == 0
    assert set(docs.doc_type.model_fields) == {'id', 'title'}  # type: ignore[union-attr]


# -- misuse --------------------------------------------------------------------------------------


MISUSE: dict[str, tuple[Callable[[QueryBuilder], QueryBuilder], type[DocIndexError]]] = {
    'fuse without a ranking': (lambda q: q.fuse(), QueryError),
    'two fuses': (lambda q: q.find([1, 0, 0], 'look').fuse().fuse(), QueryError),
    'two selects': (lambda q: q.select('title').select('year'), QueryError),
    'sort before find': (lambda q: q.sort('year').find([1, 0, 0], 'look'), QueryError),
    'limit before find': (lambda q: q.limit(3).find([1, 0, 0], 'look'), QueryError),
    'offset before text_search': (lambda q: q.offset(3).text_search('chess'), QueryError),
    'group_by before find': (lambda q: q.group_by('section').find([1, 0, 0], 'look'), QueryError),
    'diversify before find': (lambda q: q.diversify(3, 'look').find([1, 0, 0], 'look'), QueryError),
    'filter by an unknown field': (lambda q: q.filter({'smell': 1}), FilterError),
    'filter by a wrong type': (lambda q: q.filter({'year': 'soon'}), FilterError),
    'sort by an unknown field': (lambda q: q.sort('smell'), QueryError),
    'sort by a vector': (lambda q: q.sort('look'), QueryError),
    'sort by a list': (lambda q: q.sort('tags'), QueryError),
    'sort by a document': (lambda q: q.sort('author'), QueryError),
    'sort by something that is no name': (lambda q: q.sort(3), QueryError),  # type: ignore[arg-type]
    'sort by a field in Python': (lambda q: q.sort(F.year), QueryError),  # type: ignore[arg-type]
    'group by an unknown field': (lambda q: q.group_by('smell'), QueryError),
    'group by a vector': (lambda q: q.group_by('look'), QueryError),
    'group by a document': (lambda q: q.group_by('author'), QueryError),
    'select an unknown field': (lambda q: q.select('title', 'smell'), QueryError),
    'find in an unknown field': (lambda q: q.find([1, 0, 0], 'smell'), QueryError),
    'find in no vector': (lambda q: q.find([1, 0, 0], 'title'), QueryError),
    'find in one of several': (lambda q: q.find([1, 0, 0]), QueryError),
    'find by another length': (lambda q: q.find([1, 0], 'look'), DimensionError),
    'find by NaN': (lambda q: q.find([math.nan, 0, 0], 'look'), VectorError),
    'find with a wrong ef': (lambda q: q.find([1, 0, 0], 'look', ef=0), SettingsError),
    'find by a document without vector': (lambda q: q.find(BOOKS[3], 'sound'), QueryError),
    'text in a field without full text': (lambda q: q.text_search('chess', 'section'), QueryError),
    'text that is none': (lambda q: q.text_search(3), QueryError),
    'fuse in an unknown way': (lambda q: q.find([1, 0, 0], 'look').fuse('best'), QueryError),  # type: ignore[arg-type]
    'fuse with too many weights': (lambda q: q.find([1, 0, 0], 'look').fuse(weights=[1, 2]), QueryError),
    'fuse with a function and weights': (
        lambda q: q.find([1, 0, 0], 'look').fuse(lambda rankings: {}, weights=[1]),
        QueryError,
    ),
    'fuse to unknown ids': (lambda q: q.find([1, 0, 0], 'look').fuse(lambda rankings: {'nobody': 1.0}), QueryError),
    'diversify without a vector': (lambda q: q.text_search('chess').diversify(3, 'look'), QueryError),
    'diversify without a field': (lambda q: q.text_search('chess').diversify(3, query=[1, 0, 0]), QueryError),
    'diversify by an unknown field': (lambda q: q.find([1, 0, 0], 'look').diversify(3, 'smell'), QueryError),
    'diversify by another length': (lambda q: q.find([1, 0, 0], 'look').diversify(3, query=[1]), DimensionError),
}


@pytest.mark.parametrize(('add', 'error'), MISUSE.values(), ids=MISUSE)
def test_misuse_is_refused(
    index: HnswDocumentIndex[Book], add: Callable[[QueryBuilder], QueryBuilder], error: type[DocIndexError]
) -> None:
    """A query that makes no sense raises, whether or not a document would be concerned by it."""
    for start in (index.build_query(), index.build_query().filter({'section': 'nowhere'})):
        for call in (index.execute_query, index.explain):
            with pytest.raises(error):
                call(add(start).build())


def test_errors_name_the_call_as_it_was_written(index: HnswDocumentIndex[Book]) -> None:
    """The error for a step in a wrong place has the name of the step in it, and one for a field those there are."""
    with pytest.raises(QueryError, match='group_by'):
        index.execute_query(index.build_query().group_by('section').find([1, 0, 0], 'look').build())
    with pytest.raises(QueryError, match=r'smell.*title.*author__name'):
        index.execute_query(index.build_query().sort('smell').build())


def test_a_closed_index_answers_no_query(tmp_path: Path) -> None:
    """Queries, counts and explanations of a closed index are refused."""
    index = Books(work_dir=tmp_path)
    index.close()
    query = index.build_query().limit(3).build()
    for call in (index.execute_query, index.explain):
        with pytest.raises(ClosedIndexError):
            call(query)
    for use in (index.filter, index.count):
        with pytest.raises(ClosedIndexError):
            use({'year': 1})


# -- filter(), count() ---------------------------------------------------------------------------


@pytest.mark.parametrize(('condition', 'matches'), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_count_and_filter_agree(
    index: HnswDocumentIndex[Book], condition: Any, matches: Callable[[Book], bool]
) -> None:
    """`filter` returns what matches in the order of indexing, 10 by default and all for None, `count` how many."""
    expected = [doc.id for doc in BOOKS if matches(doc)]
    assert index.count(condition) == len(expected)
    assert index.filter(condition).id == expected[:10]
    assert index.filter(condition, limit=None).id == expected
    assert index.filter(condition, limit=0).id == []
    assert index.filter(condition, 3, offset=2).id == expected[2:5]
    assert index.filter(condition, limit=None, offset=3).id == expected[3:]


def test_count_without_a_filter_is_of_all(index: HnswDocumentIndex[Book]) -> None:
    """`count()` counts all documents."""
    assert index.count() == len(index) == 40


def test_filter_returns_whole_documents(index: HnswDocumentIndex[Book]) -> None:
    """What `filter` returns is equal to what was stored, vectors and all."""
    docs = index.filter({'section': 'games'}, limit=None)
    assert docs.doc_type is Book
    assert list(docs) == [doc for doc in BOOKS if doc.section == 'games']


@pytest.mark.parametrize('limit', [0, 4, 10, None], ids=str)
@pytest.mark.parametrize('sort', list(SORTS))
def test_filter_sorts_and_pages(index: HnswDocumentIndex[Book], sort: str, limit: int | None) -> None:
    """`sort`, `descending`, `offset` and `limit` give a part of the sorted list; equal values stay as indexed."""
    every = [Scored(doc, 0) for doc in BOOKS if doc.section != 'games']
    condition = {'section': {'$ne': 'games'}}
    for descending in (False, True):
        expected = [one.doc.id for one in sorted_by(every, SORTS[sort], descending)]
        for offset in (0, 3, 100):
            found = index.filter(condition, limit, sort=sort, descending=descending, offset=offset)
            assert found.id == expected[offset:][:limit], f'{descending=} {offset=}'


def test_descending_needs_something_to_descend_by(index: HnswDocumentIndex[Book]) -> None:
    """`descending` without `sort` is refused, for it would be passed over."""
    with pytest.raises(QueryError, match='sort'):
        index.filter({}, descending=True)


@pytest.mark.parametrize(
    'given',
    [{'limit': -1}, {'limit': 1.5}, {'limit': True}, {'offset': -1}, {'offset': None}, {'sort': 'smell'}],
    ids=str,
)
def test_filter_refuses_what_makes_no_sense(index: HnswDocumentIndex[Book], given: dict[str, Any]) -> None:
    """Negative numbers, numbers that are none and unknown fields are a `QueryError`."""
    with pytest.raises(QueryError):
        index.filter({}, **given)


def test_filter_batched_answers_each(index: HnswDocumentIndex[Book]) -> None:
    """Several filters are answered in order, each as `filter` answers it, from any iterable."""
    several = [condition for condition, _ in FILTERS]
    found = index.filter_batched(iter(several), limit=4)
    assert [docs.id for docs in found] == [index.filter(one, limit=4).id for one in several]
    assert index.filter_batched([]) == []
    assert [len(docs) for docs in index.filter_batched([{}], limit=None)] == [40]
    with pytest.raises(FilterError):
        index.filter_batched([{}, {'smell': 1}])


def check_a_batch_that_fails(index: HnswDocumentIndex[Book]) -> None:
    with index.batch():
        index.update('b3', section='new', look=np.zeros(3))
        index.index(Book(id='later', section='new', look=np.zeros(3)))
        assert index.count({'section': 'new'}) == 3
        query = index.build_query().filter({'section': 'new'}).find([0, 0, 0], 'look').sort('id').build()
        assert index.execute_query(query).documents.id == ['b0', 'b3', 'later']
        assert index.explain(query).matches == 3
        raise ZeroDivisionError


def test_queries_follow_writes(tmp_path: Path) -> None:
    """Filters, sorting, groups and counts see updates, deletions and new documents, in a batch before its end."""
    with Books(work_dir=tmp_path) as index:
        index.index(BOOKS)
        index.update('b0', section='new', year=1)
        index.delete(['b1', 'b2'])
        assert index.filter({'section': 'new'}).id == ['b0']
        assert index.count() == 38
        assert index.filter(None, 1, sort='year').id == ['b0']
        with pytest.raises(ZeroDivisionError):
            check_a_batch_that_fails(index)
        assert index.filter({'section': 'new'}).id == ['b0']
        index.compact()
        assert index.filter({'section': 'new'}).id == ['b0']
        assert index.filter(None, limit=None).id == [doc.id for doc in BOOKS if doc.id not in ('b1', 'b2')]


# -- explain() -----------------------------------------------------------------------------------


def check_explained(explained: Explanation, matches: int, documents: int) -> None:
    assert (explained.matches, explained.documents) == (matches, documents)
    assert explained.estimate is None or explained.estimate <= matches
    assert all(step.what and step.seconds >= 0 for step in explained.steps)
    text = str(explained)
    assert text.startswith(f'{explained.query}\nfilter: {explained.filter}\nmatches: {matches:,}')
    assert all(f'ms  {step.what}' in text for step in explained.steps)
    assert text.endswith(f'in all, for {documents:,} documents')


def test_explain_says_what_find_does(index: HnswDocumentIndex[Book]) -> None:
    """With what `find` takes, it tells the plan, the filter, how many match and how long each step took."""
    explained = index.explain([1, 0, 0], 'look', 3, filter={'section': 'games'})
    matches = sum(doc.section == 'games' for doc in BOOKS)
    check_explained(explained, matches, 3)
    assert "find(query=[1, 0, 0], search_field='look', limit=3)" in str(explained)
    assert "section == 'games'" in str(explained)
    assert any('look' in step.what for step in explained.steps)
    assert 'read 3 documents' in [step.what for step in explained.steps]


def test_explain_without_a_filter(index: HnswDocumentIndex[Book]) -> None:
    """Without a filter all documents match, and the graph is asked, or for `exact` all vectors compared."""
    check_explained(index.explain([1, 0, 0], 'look'), 40, 10)
    assert any('graph' in step.what for step in index.explain([1, 0, 0], 'look').steps)
    assert not any('graph' in step.what for step in index.explain([1, 0, 0], 'look', exact=True).steps)


def test_explain_of_a_query(index: HnswDocumentIndex[Book]) -> None:
    """A query of several steps is told as it was written, with a step for each ranking; all its filters are one."""
    query = index.build_query().filter({'year': {'$gte': 2002}}).find([1, 0, 0], 'look').text_search('chess')
    query = query.filter({'is_new': True}).sort('year').limit(2).select('title')
    explained = index.explain(query.build())
    matches = sum(doc.year is not None and doc.year >= 2002 and doc.is_new for doc in BOOKS)
    check_explained(explained, matches, 2)
    assert str(explained.filter) == 'year >= 2002 and is_new == True'
    for name in ('look', 'title'):
        assert any(step.what.startswith(f'{name}: ') for step in explained.steps)


def test_explain_of_nothing_found(index: HnswDocumentIndex[Book]) -> None:
    """A query that nothing matches is explained like another."""
    check_explained(index.explain(index.build_query().filter({'section': 'nowhere'}).build()), 0, 0)
    check_explained(index.explain([1, 0, 0], 'look', filter={'section': 'nowhere'}), 0, 0)
    check_explained(index.explain(Query()), 40, 40)
