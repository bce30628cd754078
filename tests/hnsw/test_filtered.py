"""Vector search with a filter, by each of its three ways, against all documents compared one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.filters import FilterLike
from docindex.hnsw import filtered, matches
from docindex.hnsw.conditions import where
from docindex.hnsw.filtered import FilteredSearch
from docindex.hnsw.graphs import GraphCache
from docindex.parsing import parse
from docindex.schema import Schema
from docindex.testing import ExactIndex

DIM = 4
FIELDS = {'plot': 'l2', 'sound': 'ip', 'shot__look': 'cosine', 'flat': 'l2'}
WAYS = ['scan', 'ask', 'bitmap']


class Shot(BaseDoc):
    width: int = 0
    look: NdArray | None = Field(default=None, dim=DIM, space='cosine', num_threads=1)  # the same graph each time


class Scene(BaseDoc):
    """A vector in each space: required, optional, nested in something optional; and one without a graph."""

    group: int = 0
    tags: list[str] = Field(default_factory=list)
    plot: NdArray = Field(dim=DIM, space='l2', num_threads=1)
    sound: NdArray | None = Field(default=None, dim=DIM, space='ip', num_threads=1)
    shot: Shot | None = None
    flat: NdArray = Field(dim=DIM, index=False)


Scenes = HnswDocumentIndex[Scene]
SCHEMA = Schema(Scene)
FILTERS: dict[str, dict[str, Any]] = {
    'half': {'group': {'$lt': 5}},
    'a tenth': {'group': 3},
    'two': {'id': {'$in': ['s7', 's31', 'nobody']}},
    'none': {'group': -1},
    'all': {'group': {'$gte': 0}},
    'in a list': {'tags': {'$contains': 'odd'}},
    'nested': {'shot__width': {'$gt': 20}},
    'not nested': {'$not': {'shot__width': {'$gt': 20}}},
}


def scenes(numbers: range, seed: int = 0) -> list[Scene]:
    """Return scenes with random vectors, of which every third has no sound, and every fourth no shot or no look."""
    random = np.random.default_rng([seed, numbers.start])

    def vector() -> Any:
        return random.standard_normal(DIM).astype(np.float32)

    return [
        Scene(
            id=f's{at}',
            group=(at + seed) % 10,
            tags=['odd'] * (at % 2) + ['x'],
            plot=vector(),
            sound=vector() if at % 3 else None,
            shot=Shot(id='shot', width=at, look=vector() if at % 8 else None) if at % 4 else None,
            flat=vector(),
        )
        for at in numbers
    ]


class Oracle(ExactIndex[Scene]):
    """What should be found: documents compared with a filter, and one by one."""

    def __init__(self) -> None:
        super().__init__(FIELDS)

    def matching(self, filter_: FilterLike) -> Oracle:
        condition, found = parse(SCHEMA, filter_), Oracle()
        found.docs = {id_: doc for id_, doc in self.docs.items() if condition.matches(doc)}
        return found


class Both:
    """An index and its oracle, which are told the same."""

    def __init__(self, index: HnswDocumentIndex[Scene]) -> None:
        self.index = index
        self.oracle = Oracle()

    def store(self, docs: list[Scene]) -> None:
        self.index.index(docs)
        self.oracle.index(docs)

    def update(self, id_: str, **fields: Any) -> None:
        self.index.update(id_, **fields)
        self.oracle.update(id_, **fields)

    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == self.oracle.delete(ids)

    def check(self, filter_: FilterLike, limit: int, seed: int = 1, **how: Any) -> None:
        """Assert that all fields are searched rightly: the nearest that match, as many as there are up to `limit`."""
        expected = self.oracle.matching(filter_)
        assert self.index.count(filter_) == len(expected.docs)
        for field in FIELDS:
            queries = np.random.default_rng(seed).standard_normal((3, DIM)).astype(np.float32)
            found = self.index.find_batched(queries, field, limit, filter=filter_, **how)
            assert found.scores.shape[0] == len(found.documents) == 3
            for query, docs, scores in zip(queries, found.documents, found.scores, strict=True):
                alone = self.index.find(query, field, limit, filter=filter_, **how)
                expected.check(alone, query, field, limit)
                assert alone.documents.id == docs.id
                np.testing.assert_allclose(
                    alone.scores, scores, rtol=1e-5, atol=1e-6
                )  # of several, BLAS rounds otherwise


Force = Callable[[str], None]


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    """Lets filtered searches go one way only, whatever it costs."""
    by_graph = FilteredSearch._by_graph

    def forced(way: str) -> None:
        monkeypatch.setattr(filtered, '_FIRST_ASK', 1)
        monkeypatch.setattr(FilteredSearch, '_are_few', lambda self, limit: way == 'scan')
        monkeypatch.setattr(
            FilteredSearch, '_next', lambda self, asked, matching, limit, ef: ('ask for more', 2 * asked)
        )
        monkeypatch.setattr(
            FilteredSearch,
            '_by_graph',
            (lambda self, query, limit, ef: self._by_bitmap(query, limit, ef)) if way == 'bitmap' else by_graph,
        )

    return forced


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, force: Force) -> str:
    """Each of the ways."""
    force(request.param)
    return str(request.param)


@pytest.fixture
def both(work_dir: Path) -> Iterator[Both]:
    """An index of 120 scenes with a past: replaced, deleted, changed."""
    with Scenes(work_dir=work_dir) as index:
        both = Both(index)
        both.store(scenes(range(140)))
        both.store(scenes(range(20, 40), seed=1))
        both.delete([f's{at}' for at in range(0, 140, 7)])
        both.update('s31', group=3)
        yield both


def steps(index: HnswDocumentIndex[Any], filter_: FilterLike, **how: Any) -> str:
    """Return what a filtered search in `plot` does."""
    return '; '.join(step.what for step in index.explain(np.ones(DIM), 'plot', filter=filter_, **how).steps)


# -- right answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('filter_', FILTERS.values(), ids=FILTERS)
def test_each_way_finds_the_nearest_that_match(both: Both, way: str, filter_: dict[str, Any]) -> None:
    """In every space and kind of field the nearest matches are found, each once, as many as there are up to `limit`."""
    for limit in (0, 1, 4, 200):
        both.check(filter_, limit)
    both.check(filter_, 5, ef=2)
    both.check(filter_, 5, ef=300)
    both.check(filter_, 5, exact=True)


@pytest.mark.parametrize('cutoff', [0, 1, 1000, None])
def test_any_flat_search_cutoff_gives_the_same(both: Both, cutoff: int | None) -> None:
    """`flat_search_cutoff` changes how a search is done, and not what it finds."""
    both.index.configure(flat_search_cutoff=cutoff)
    for filter_ in FILTERS.values():
        both.check(filter_, 3)
        both.check(filter_, 500)


def test_each_way_is_taken_where_it_is_forced(both: Both, force: Force) -> None:
    """What these tests force is what is done."""
    for way, word in zip(WAYS, ['scan: ', 'ask the graph for ', 'bitmap: '], strict=True):
        force(way)
        taken = steps(both.index, FILTERS['a tenth'], limit=5)
        assert word in taken
        assert ('scan' in taken, 'bitmap' in taken) == (way == 'scan', way == 'bitmap')


def test_the_cutoff_decides_when_to_scan(both: Both) -> None:
    """Up to `flat_search_cutoff` matches, and no more, are compared one by one at once; so is all with `exact`."""
    count = both.index.count(FILTERS['half'])
    for cutoff, is_scan in ((count, True), (count - 1, False), (0, False)):
        both.index.configure(flat_search_cutoff=cutoff)
        taken = steps(both.index, FILTERS['half'], limit=5)
        assert ('ask the graph' not in taken) == is_scan
        assert is_scan == (f'compare with {count:,} matches' in taken)
    assert f'compare with {count:,} matches' in steps(both.index, FILTERS['half'], limit=5, exact=True)


def test_nothing_asked_is_nothing_found(both: Both, way: str) -> None:
    """No queries get no answers, filtered or not."""
    for field in FIELDS:
        found = both.index.find_batched(np.empty((0, DIM)), field, 3, filter=FILTERS['half'])
        assert len(found.documents) == 0
        assert len(found.scores) == 0


def test_an_empty_filter_is_none(both: Both) -> None:
    """A filter that says nothing is as good as none."""
    plain = both.index.find(np.ones(DIM), 'plot', 7)
    nothing: list[FilterLike] = [None, {}]
    for filter_ in nothing:
        found = both.index.find(np.ones(DIM), 'plot', 7, filter=filter_)
        assert found.documents.id == plain.documents.id


def test_an_index_without_documents_finds_nothing(work_dir: Path, way: str) -> None:
    """A filtered search in an empty index, or in one that has become empty, finds nothing."""
    with Scenes(work_dir=work_dir) as index:
        both = Both(index)
        both.check(FILTERS['half'], 3)
        both.store(scenes(range(30)))
        both.delete(list(both.oracle.docs))
        both.check(FILTERS['half'], 3)
        both.check(FILTERS['not nested'], 3)


# -- what graphs leave open ----------------------------------------------------------------------------------


@pytest.mark.parametrize('most', [1, 50, 400])
def test_equal_vectors_are_found_one_by_one(work_dir: Path, way: str, most: int) -> None:
    """Of 300 documents with one vector, those that match are found, each once, and those beside them too."""
    twins = scenes(range(300))
    for twin in twins:
        twin.plot, twin.flat = twins[0].plot, twins[0].flat
        twin.sound = twins[1].sound if twin.sound is not None else None
    with Scenes(work_dir=work_dir) as index:
        both = Both(index)
        both.store([*twins, *scenes(range(300, 360))])
        both.delete(['s0', 's1', *(f's{at}' for at in range(3, 300, 11))])
        for filter_ in (FILTERS['a tenth'], FILTERS['in a list'], {'id': {'$in': ['s2', 's4', 's299', 's301']}}):
            expected = both.oracle.matching(filter_)
            for field in FIELDS:
                for query in (twins[0].plot, twins[1].sound, np.ones(DIM, np.float32)):
                    found = index.find(query, field, most, filter=filter_)
                    expected.check(found, query, field, most)


def test_strays_are_found_once(both: Both, way: str) -> None:
    """What a graph is said not to find is found all the same, and only once if it does; the dead among it is not."""
    for field in ('plot', 'sound', 'shot__look'):
        graph = both.index._store.state.graphs.get(field)
        assert graph is not None
        living = both.index._store.state.labels.living(field, 0, graph.covered)
        graph.strays = living[::9].tolist()
    both.delete([f's{at}' for at in range(1, 140, 10)])
    for filter_ in FILTERS.values():
        both.check(filter_, 4)
        both.check(filter_, 300)


def test_what_the_graph_has_not_got_yet_is_found(both: Both, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that a graph does not follow yet are found with the others, replaced ones as they are now."""
    with monkeypatch.context() as patch:
        patch.setattr(GraphCache, 'catch_up', lambda *arguments, **named: None)
        both.store(scenes(range(130, 180), seed=2))
        both.delete(['s131', 's50', 's177'])
        both.update('s140', group=3)
        graph = both.index._store.state.graphs.get('plot')
        assert graph is not None
        assert graph.covered < both.index._store.state.labels.next
        for filter_ in (*FILTERS.values(), {'id': {'$in': ['s150', 's151', 's152']}}):
            both.check(filter_, 4)
            both.check(filter_, 300)


def test_a_compaction_changes_nothing(both: Both, way: str) -> None:
    """After a compaction the same is found, and after writes that follow it too."""
    for filter_ in FILTERS.values():
        both.check(filter_, 4)
    both.index.compact()
    for filter_ in FILTERS.values():
        both.check(filter_, 4)
    both.store(scenes(range(135, 150), seed=3))
    both.update('s60', group=3)
    for filter_ in FILTERS.values():
        both.check(filter_, 4)
    report = both.index.verify()
    assert report.problems == []


# -- inside a batch, and what is remembered ---------------------------------------------------------------------


def test_a_batch_sees_its_own_changes(both: Both, way: str) -> None:
    """Inside a batch what is staged counts: stored, replaced, changed, deleted; another thread sees none of it."""
    before = {name: both.index.count(filter_) for name, filter_ in FILTERS.items()}
    with both.index.batch():
        changes: list[Callable[[], object]] = [
            lambda: both.update('s60', group=3),
            lambda: both.store(scenes(range(130, 160), seed=2)),
            lambda: both.delete([f's{at}' for at in range(1, 140, 10)]),
            lambda: both.update('s33', shot=None),
            lambda: both.update('s34', group=3, sound=None),
        ]
        for change in changes:
            change()
            for filter_ in FILTERS.values():
                both.check(filter_, 4)
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(lambda: {name: both.index.count(filter_) for name, filter_ in FILTERS.items()})
            assert seen.result() == before
    for filter_ in FILTERS.values():
        both.check(filter_, 4)


def test_a_batch_that_is_undone_leaves_nothing_behind(both: Both, way: str) -> None:
    """What was found inside a batch is not remembered when the batch is rolled back."""
    oracle = both.oracle.copy()
    with suppress(ZeroDivisionError), both.index.batch():
        both.update('s60', group=3)
        both.store(scenes(range(130, 160), seed=2))
        both.delete(['s61', 's62'])
        both.check(FILTERS['a tenth'], 50)
        raise ZeroDivisionError
    both.oracle.docs = oracle.docs
    for filter_ in FILTERS.values():
        both.check(filter_, 50)


def story(both: Both, chance: Random, force: Force, length: int) -> Iterator[str]:
    """Do something by chance to an index, again and again, and yield what it was."""
    for number in range(length):
        known = sorted(both.oracle.docs)
        do = chance.choice(['store', 'replace', 'change', 'change', 'change', 'delete', 'compact', 'way', 'cutoff'])
        if do == 'store' or not known:
            both.store(scenes(range(200 + 4 * number, 203 + 4 * number), seed=chance.randrange(99)))
        elif do == 'replace':
            first = int(chance.choice(known)[1:])
            both.store(scenes(range(first, first + 3), seed=chance.randrange(99)))
        elif do == 'change':
            both.update(chance.choice(known), group=chance.choice([3, 3, 4, 9]), tags=chance.choice([[], ['odd']]))
        elif do == 'delete':
            both.delete(chance.sample(known, min(3, len(known))))
        elif do == 'compact':
            both.index.compact()
        elif do == 'way':
            force(chance.choice(WAYS))
        else:
            both.index.configure(flat_search_cutoff=chance.choice([0, 5, None]))
        yield f'{number} {do}'


@pytest.mark.parametrize('seed', range(6))
def test_what_is_remembered_of_a_filter_is_never_stale(work_dir: Path, force: Force, seed: int) -> None:
    """The same filters are answered rightly after any writes, also after those that only change what matches."""
    chance = Random(seed)
    with Scenes(work_dir=work_dir) as index:
        both = Both(index)
        both.store(scenes(range(60)))
        for told in story(both, chance, force, 30):
            print(told)
            filter_ = chance.choice(list(FILTERS.values()))
            with index.batch() if told.endswith('store') else nullcontext():
                both.check(filter_, chance.choice([1, 5, 100]), seed=chance.randrange(99))
        for filter_ in FILTERS.values():
            both.check(filter_, 5)


def test_only_so_many_filters_are_remembered(both: Both, way: str) -> None:
    """What is kept of filters is bounded in number, and the one asked last is kept."""
    for number in range(3 * matches._CACHED):
        both.index.find(np.ones(DIM), 'plot', 3, filter={'group': {'$lt': number}})
    known = both.index._store.state.matches._known
    assert len(known) == matches._CACHED
    condition = parse(SCHEMA, {'group': {'$lt': number}})
    assert next(reversed(known)) == where(condition, both.index._store.state.fields)


def test_one_filter_of_two_fields_is_counted_for_both(both: Both) -> None:
    """What is remembered of a filter for one field does not mislead the search in another, which fewer may have."""
    for field in (*FIELDS, *reversed(FIELDS)):
        query = np.ones(DIM, np.float32)
        for limit in (1, 200, 3):
            expected = both.oracle.matching(FILTERS['all'])
            expected.check(both.index.find(query, field, limit, filter=FILTERS['all']), query, field, limit)


# -- at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('access', [{}, {'read_only': True}])
def test_threads_search_while_one_writes(work_dir: Path, access: dict[str, Any]) -> None:
    """While documents change places in a filter, all in one commit, every search sees exactly as many as match."""
    marked, rounds = 20, 25
    with Scenes(work_dir=work_dir) as index:
        docs = scenes(range(300))
        for at, doc in enumerate(docs):
            doc.group = int(at < marked)
        index.index(docs)
        done = threading.Event()

        def search(number: int) -> int:
            count = 0
            random = np.random.default_rng(number)
            with Scenes(work_dir=work_dir, **access) as mine:
                while not done.is_set() or count < 3:
                    found = mine.find(random.standard_normal(DIM), 'plot', 50, filter={'group': 1}).documents
                    assert len(set(found.id)) == len(found) == marked
                    assert set(found.group) == {1}
                    count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            searching = [pool.submit(search, number) for number in range(3)]
            try:
                chance = Random(0)
                for number in range(rounds):
                    inside = sorted(doc.id for doc in index.filter({'group': 1}, limit=None))
                    outside = sorted(doc.id for doc in index.filter({'group': 0}, limit=None))
                    with index.batch():
                        index.update(chance.choice(inside), group=0)
                        index.update(chance.choice(outside), group=1)
                        if number % 5 == 0:
                            index.update(chance.choice(inside), plot=np.ones(DIM))
                    index.configure(flat_search_cutoff=chance.choice([0, 10, None]))
            finally:
                done.set()
            assert all(future.result() >= 3 for future in searching)


# -- how much is found ------------------------------------------------------------------------------------------

MANY, WIDE, CLUSTERS, QUERIES, LIMIT = 3000, 16, 30, 12, 10


class Point(BaseDoc):
    cluster: int = 0
    even: int = 0
    far: bool = False
    vector: NdArray = Field(dim=WIDE, space='l2')


@pytest.fixture(scope='module')
def points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HnswDocumentIndex[Point], Any, Any]]:
    """An index of clustered vectors, the vectors, and queries near the first cluster, from which half are `far`."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLUSTERS, WIDE)) * 3
    cluster = random.integers(0, CLUSTERS, MANY)
    vectors = (centres[cluster] + random.standard_normal((MANY, WIDE))).astype(np.float32)
    distance = ((centres - centres[0]) ** 2).sum(axis=1)
    is_far = (distance > np.median(distance))[cluster]
    docs = [
        Point(id=str(at), cluster=int(cluster[at]), even=at % 100, far=bool(is_far[at]), vector=vectors[at])
        for at in range(MANY)
    ]
    queries = (centres[0] + random.standard_normal((QUERIES, WIDE))).astype(np.float32)
    with HnswDocumentIndex[Point](work_dir=tmp_path_factory.mktemp('points') / 'work') as index:
        index.index(docs)
        yield index, vectors, queries


NEAR_AND_FAR: dict[str, tuple[dict[str, Any], Callable[[Point], bool]]] = {
    **{
        f'{share} % spread evenly': ({'even': {'$lt': share}}, lambda point, share=share: point.even < share)  # type: ignore[misc]
        for share in (1, 3, 10, 50, 90)
    },
    'the cluster of the query': ({'cluster': 0}, lambda point: point.cluster == 0),
    'another cluster': ({'cluster': 7}, lambda point: point.cluster == 7),
    'all that is far': ({'far': True}, lambda point: point.far),
    'all that is near': ({'far': False}, lambda point: not point.far),
    'near, and a few': (
        {'cluster': 0, 'even': {'$lt': 15}},
        lambda point: point.cluster == 0 and point.even < 15,
    ),
}
PLANS: dict[str, dict[str, float]] = {
    'as it is': {},
    'asking is cheap': {'_ASKING': 0.001},
    'the bitmap is cheap': {'_VISITING': 0.001, '_ASKING': 100.0},
    'scanning is dear': {'_SCANNING': 1000.0},
}


@pytest.mark.parametrize('costs', PLANS.values(), ids=PLANS)
@pytest.mark.parametrize('cutoff', [None, 0])
def test_whatever_the_plan_enough_is_found(
    points: tuple[HnswDocumentIndex[Point], Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    costs: dict[str, float],
    cutoff: int | None,
) -> None:
    """Any plan finds the full `limit`, nine and a half of the ten nearest, wherever the matches lie to the query."""
    index, vectors, queries = points
    for name, cost in costs.items():
        monkeypatch.setattr(filtered, name, cost)
    index.configure(flat_search_cutoff=cutoff)
    docs = {point.id: point for point in index.get(list(index))}
    for name, (filter_, is_match) in NEAR_AND_FAR.items():
        allowed = np.array([is_match(docs[str(at)]) for at in range(MANY)])
        hits = 0
        for query in queries:
            found = index.find(query, limit=LIMIT, filter=filter_)
            assert len(set(found.documents.id)) == len(found.documents) == min(LIMIT, int(allowed.sum())), name
            assert all(map(is_match, found.documents))
            assert (np.diff(found.scores) >= 0).all()
            distances = ((vectors - query) ** 2).sum(axis=1)
            nearest = np.sort(distances[allowed])[: len(found.documents)]
            own = distances[[int(id_) for id_ in found.documents.id]]
            np.testing.assert_allclose(found.scores, own, rtol=1e-4)
            hits += int((own <= nearest[-1]).sum())
        assert hits >= 0.95 * QUERIES * len(found.documents), name


def test_each_way_is_chosen_somewhere(
    points: tuple[HnswDocumentIndex[Point], Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planner scans for few and for what is far, asks for more where many match, and has a bitmap in between."""
    index, _, queries = points
    index.configure(flat_search_cutoff=None)

    def taken(filter_: dict[str, Any]) -> str:
        found = [index.explain(query, 'vector', LIMIT, filter=filter_) for query in queries]
        return ' '.join(step.what for explanation in found for step in explanation.steps)

    assert 'ask the graph' not in taken({'even': 3})
    assert 'scan' not in taken({'even': {'$lt': 90}})
    far = taken({'far': True})
    assert 'ask the graph' in far
    assert 'scan' in far
    monkeypatch.setattr(filtered, '_SCANNING', 3.0)
    in_between = {'$or': [{'far': True}, {'even': {'$lt': 5}}]}
    index.find(queries[0], limit=LIMIT, filter=in_between, exact=True)  # which fetches the labels
    assert 'bitmap' in taken(in_between)


def test_an_explanation_counts_rightly(points: tuple[HnswDocumentIndex[Point], Any, Any]) -> None:
    """`explain` says how many match, and found no more than that; its estimate is no more than the real number."""
    index, _, queries = points
    for cutoff in (None, 0):
        index.configure(flat_search_cutoff=cutoff)
        for filter_, _ in NEAR_AND_FAR.values():
            for query in queries[:3]:
                explanation = index.explain(query, 'vector', LIMIT, filter=filter_)
                assert explanation.matches == index.count(filter_)
                assert explanation.estimate is not None
                assert explanation.estimate <= explanation.matches
