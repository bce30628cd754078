"""Equal vectors share a node of the graph: they hide nothing, all of them are found, and each can go on its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docindex import BaseDoc, HnswDocumentIndex, NdArray
from docindex.distances import distances
from docindex.hnsw import twins
from docindex.hnsw.twins import Twins, _hashes, _HashTable

SPACES = ['l2', 'ip', 'cosine']
EQUAL, OTHERS = 300, 200


class Point(BaseDoc):
    embedding: NdArray[8]


Index = HnswDocumentIndex[Point]


def opened(path: Path | str, space: str = 'l2') -> HnswDocumentIndex[Point]:
    return Index(work_dir=path, default_column_config={np.ndarray: {'space': space}})


def vectors(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 8)).astype('f4')


def points(prefix: str, matrix: Iterable[np.ndarray[Any, Any]]) -> list[Point]:
    return [Point(id=f'{prefix}{at}', embedding=vector) for at, vector in enumerate(matrix)]


def equals(count: int = EQUAL, prefix: str = 'e') -> list[Point]:
    return points(prefix, np.tile(vectors(1, seed=99), (count, 1)))


def others(count: int = OTHERS) -> list[Point]:
    return points('o', vectors(count))


def ordered(order: str) -> list[Point]:
    same, rest = equals(), others()
    if order == 'between':
        return [*rest[: OTHERS // 2], *same, *rest[OTHERS // 2 :]]
    if order == 'scattered':
        mixed = [*same, *rest]
        return [mixed[at] for at in np.random.default_rng(1).permutation(len(mixed))]
    return [*same, *rest] if order == 'first' else [*rest, *same]


def check_answer(
    index: HnswDocumentIndex[Point], query: np.ndarray[Any, Any], limit: int, docs: dict[str, Any]
) -> None:
    """Compare an answer of the graph with every distance there is; documents at one distance may stand in any order."""
    found = index.find(query, limit=limit)
    space = index.settings()['space']
    ids = found.documents.id
    assert len(set(ids)) == len(ids) == min(limit, len(docs))
    if not docs:
        return
    of_all = distances(query[None].astype('f4'), np.stack(list(docs.values())), space)[0]
    own = dict(zip(docs, of_all.tolist(), strict=True))
    np.testing.assert_allclose(found.scores, np.sort(of_all)[: len(ids)], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, [own[id_] for id_ in ids], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, index.find(query, limit=limit, exact=True).scores, rtol=1e-4, atol=1e-4)


def check_all(index: HnswDocumentIndex[Point], docs: dict[str, Any]) -> None:
    """Compare, for some queries, short and complete answers with the truth `docs`."""
    assert set(index) == set(docs)
    for query in vectors(3, seed=5):
        for limit in (1, 3, len(docs), len(docs) + 10):
            check_answer(index, query, limit, docs)


def recall(index: HnswDocumentIndex[Point], queries: np.ndarray[Any, Any]) -> float:
    found, exact = index.find_batched(queries), index.find_batched(queries, exact=True)
    return float((found.scores <= exact.scores[:, -1:] + 1e-4).mean())


def graph(index: HnswDocumentIndex[Any]) -> Any:
    return index._store.state.graphs.get('embedding')


# -- Twins and the hash table, alone -------------------------------------------------------------


def nodes_of(table: Twins, first: int, matrix: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> list[int]:
    """Add `matrix` under labels from `first` on, where `stored` holds the vector of each label before."""
    labels = np.arange(first, first + len(matrix))
    return table.nodes(labels, matrix, lambda: np.arange(first), lambda asked: stored[asked]).tolist()


def test_equal_vectors_of_a_batch_get_the_first_label() -> None:
    """Within one batch the first of equal vectors is the node of all of them."""
    a, b, c = vectors(3)
    assert nodes_of(Twins(), 10, np.stack([a, b, a, c, b, a]), np.zeros((10, 8), 'f4')) == [10, 11, 10, 13, 11, 10]


def test_equal_vectors_of_later_batches_get_the_first_label() -> None:
    """A later equal vector belongs to the node that is there, in the next batch and after the hashes were read anew."""
    a, b, c = vectors(3)
    stored = np.stack([a, b, a])
    table = Twins()
    assert nodes_of(table, 0, stored, stored) == [0, 1, 0]
    assert nodes_of(table, 3, np.stack([c, b, c]), stored) == [3, 1, 3]
    assert nodes_of(Twins.from_json([[0, 0, 2]]), 3, np.stack([c, b, c]), stored) == [3, 1, 3]


def test_zero_and_minus_zero_share_a_node() -> None:
    """Vectors that are at distance 0 share a node, though their bits differ; what comes back is another matter."""
    zeros = np.zeros((1, 8), 'f4')
    assert nodes_of(Twins(), 0, np.concatenate([zeros, -zeros, zeros]), zeros) == [0, 0, 0]


def test_a_collision_does_not_make_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors with one hash that differ get a node each, within a batch and across batches."""
    monkeypatch.setattr(twins, '_hashes', lambda matrix: np.zeros(len(matrix), np.uint64))
    matrix = vectors(6)
    table = Twins()
    assert nodes_of(table, 0, matrix[:3], matrix) == [0, 1, 2]
    assert nodes_of(table, 3, matrix[3:], matrix) == [3, 4, 5]


def test_the_last_to_leave_a_node_gives_it_up() -> None:
    """A shared node is given up with its last label, whichever that is; one that is not shared, with its own."""
    table = Twins()
    table.join(5, 2, node_lives=True)
    assert table.labels_on(2) == {2, 5}
    assert table.leave(2) is None
    assert table.leave(5) == 2
    assert table.leave(7) == 7


def test_a_node_without_labels_can_be_lived_on_again() -> None:
    """After all labels of a node died, a new one lives there alone."""
    table = Twins()
    table.join(5, 2, node_lives=False)
    assert table.labels_on(2) == {5}
    table.leave(5)
    table.join(9, 2, node_lives=False)
    assert table.labels_on(2) == {9}
    assert table.node_of(9) == 2


def test_twins_survive_json() -> None:
    """What is written and read back knows the same labels and nodes, deserted nodes included."""
    table = Twins()
    for label, node in [(5, 2), (6, 2), (7, 3)]:
        table.join(label, node, node_lives=True)
    for label in (2, 3, 7):
        table.leave(label)
    back = Twins.from_json(table.to_json())
    assert [back.node_of(label) for label in range(7)] == [0, 1, 2, 3, 4, 2, 2]
    assert (back.labels_on(2), back.labels_on(3), back.labels_on(4)) == ({5, 6}, set(), None)
    assert back.leave(5) is None
    assert back.leave(6) == 2


def test_expand_lists_all_labels_of_a_node() -> None:
    """Found nodes become labels in the order of their distance, as many as asked, or none if there are too few."""
    table = Twins({4: {4, 8, 9}, 6: {7}})
    nodes, found = np.array([[4, 6, 1], [1, 6, 4]]), np.array([[1, 2, 3], [1, 2, 3]], 'f4')
    labels, expanded = table.expand(nodes, found, 4)  # type: ignore[misc]
    assert labels.tolist() == [[4, 8, 9, 7], [1, 7, 4, 8]]
    assert expanded.tolist() == [[1, 1, 1, 2], [1, 2, 3, 3]]
    assert table.expand(nodes, found, 6) is None
    assert table.expand(np.array([[1, 2]]), np.zeros((1, 2), 'f4'), 3) is None


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), min_size=1, max_size=40), max_size=12))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_hash_table_is_a_dict(batches: list[list[int]]) -> None:
    """Each hash is found with a label it was added with, and any other is not, however the batches were merged."""
    table = _HashTable()
    assert table.is_empty()
    added: dict[int, set[int]] = {}
    label = 0
    for batch in batches:
        table.add(np.array(batch, np.uint64), np.arange(label, label + len(batch)))
        for value in batch:
            added.setdefault(value, set()).add(label)
            label += 1
    found = table.find(np.array(sorted(added), np.uint64)).tolist()
    assert all(at in added[value] for at, value in zip(found, sorted(added), strict=True))
    absent = [value for value in range(20) if value not in added]
    assert table.find(np.array(absent, np.uint64)).tolist() == [-1] * len(absent)
    lengths = [len(run) for run, _ in table._runs]
    assert all(later * 2 <= earlier for earlier, later in pairwise(lengths))


def test_hashes_differ_where_vectors_differ() -> None:
    """One changed bit, two swapped numbers or a sign change the hash; a copy has the same."""
    matrix = vectors(1000)
    swapped, changed = matrix[:, ::-1], matrix.copy()
    changed.view(np.uint32)[:, 3] ^= 1
    everything = np.concatenate([matrix, swapped, changed, -matrix])
    assert len(np.unique(_hashes(everything))) == len(everything)
    assert (_hashes(matrix.copy()) == _hashes(matrix)).all()


# -- what users see ------------------------------------------------------------------------------


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize('order', ['first', 'last', 'between', 'scattered'])
def test_equal_vectors_hide_nothing(tmp_path: Path, space: str, order: str) -> None:
    """Hundreds of equal vectors, wherever they come, leave the others as easy to find as they are without them."""
    with opened(tmp_path, space) as index:
        for start in range(0, EQUAL + OTHERS, 125):
            index.index(ordered(order)[start : start + 125])
        assert graph(index).held == OTHERS + 1
        assert recall(index, vectors(OTHERS)) == 1
        assert index.verify().unreachable == {'embedding': 0}


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize('order', ['first', 'last', 'between'])
def test_all_equal_vectors_are_found(tmp_path: Path, space: str, order: str) -> None:
    """Asked for as many as there are equal ones, or more, a search returns all of them, at one distance."""
    with opened(tmp_path, space) as index:
        index.index(ordered(order))
        docs = {doc.id: doc.embedding for doc in ordered(order)}
        for limit in (1, 10, EQUAL, EQUAL + 1, EQUAL + OTHERS):
            check_answer(index, docs['e0'], limit, docs)
        if space != 'ip':  # where a longer vector may be nearer than an equal one
            assert set(index.find(docs['e0'], limit=EQUAL).documents.id) == {f'e{at}' for at in range(EQUAL)}


def test_parallel_vectors_hide_nothing_in_cosine(tmp_path: Path) -> None:
    """In `cosine` vectors of one direction are equal, whatever their length (counts of one word), and hide nothing."""
    parallel = np.zeros((EQUAL, 8), 'f4')
    parallel[:, 0] = np.arange(1, EQUAL + 1)
    with opened(tmp_path, 'cosine') as index:
        index.index([*points('e', parallel), *others()])
        assert recall(index, vectors(OTHERS)) >= 0.98


def test_zero_vectors_of_both_signs_hide_nothing(tmp_path: Path) -> None:
    """The vectors of empty texts are zero with either sign at any place; what comes after them is found."""
    signs = np.random.default_rng(3).choice([-1.0, 1.0], (EQUAL, 8)).astype('f4')
    with opened(tmp_path) as index:
        index.index([*points('e', signs * np.float32(0)), *others()])
        assert recall(index, vectors(OTHERS)) >= 0.98


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize('deleted', ['first', 'some', 'all but one', 'all'])
def test_equal_ones_go_one_by_one(tmp_path: Path, space: str, deleted: str) -> None:
    """I4: the deleted are not found any more, also the first, whose label is the node; the rest still are."""
    gone = {
        'first': ['e0'],
        'some': [f'e{at}' for at in range(0, EQUAL, 3)],
        'all but one': [f'e{at}' for at in range(EQUAL) if at != 7],
        'all': [f'e{at}' for at in range(EQUAL)],
    }[deleted]
    with opened(tmp_path, space) as index:
        index.index(ordered('first'))
        index.delete(gone)
        docs = {doc.id: doc.embedding for doc in ordered('first') if doc.id not in set(gone)}
        check_all(index, docs)
        check_answer(index, vectors(1, seed=99)[0], EQUAL, docs)
        assert graph(index).dead == (deleted == 'all')
        assert index.verify().is_sound


def test_a_deserted_node_is_revived(tmp_path: Path) -> None:
    """The vector of which all documents were deleted takes its old node when it comes back, also after reopening."""
    docs = {doc.id: doc.embedding for doc in [*others(), *equals(5)]}
    for is_reopened in (False, True):
        path = tmp_path / str(is_reopened)
        index = opened(path)
        index.index([*equals(3, 'x'), *others()])
        index.delete(['x0', 'x1', 'x2'])
        if is_reopened:
            index.close()
            index = opened(path)
        index.index(equals(5))
        assert (graph(index).held, graph(index).dead) == (OTHERS + 1, 0)
        check_all(index, docs)
        assert index.verify().is_sound
        index.close()


def test_a_single_vector_is_revived(tmp_path: Path) -> None:
    """A vector that no other ever shared takes its old node when it comes back, again and again."""
    with opened(tmp_path) as index:
        index.index(others(20))
        for round_ in range(4):
            index.delete('e0' if round_ else 'o3')
            index.index(Point(id='e0', embedding=vectors(20)[3]))
            check_all(index, {doc.id: doc.embedding for doc in index[list(index)]})
        assert (graph(index).held, graph(index).dead) == (20, 0)


@pytest.mark.parametrize('space', SPACES)
def test_twins_are_known_after_reopening(tmp_path: Path, space: str) -> None:
    """More of the equal vectors, added after a reopening, join the node that is in the graph's file."""
    with opened(tmp_path, space) as index:
        index.index(ordered('first'))
        index.delete(['e0', 'e1', 'o0'])
    with opened(tmp_path, space) as index:
        index.index(equals(50, 'late'))
        assert graph(index).held == OTHERS + 1
        docs = {doc.id: doc.embedding for doc in [*ordered('first'), *equals(50, 'late')]}
        check_all(index, {id_: vector for id_, vector in docs.items() if id_ not in {'e0', 'e1', 'o0'}})
        index.delete([f'e{at}' for at in range(2, EQUAL)])
        assert set(index.find(vectors(1, seed=99)[0], limit=50, exact=True).documents.id) >= {'late0'}
    with opened(tmp_path, space) as index:
        check_all(index, {id_: vector for id_, vector in docs.items() if id_[0] != 'e' and id_ != 'o0'})
        assert index.verify().is_sound


class Text(BaseDoc):
    embedding: NdArray[384]


@pytest.mark.parametrize('space', SPACES)
def test_an_equal_vector_in_each_call_joins_one_node(tmp_path: Path, space: str) -> None:
    """One of many equal vectors in each call, alone or beside others, joins the node that is there."""
    config = {np.ndarray: {'space': space}}
    distinct = np.random.default_rng(5).normal(size=(30, 384)).astype('f4')
    calls = [call for at in range(10) for call in ([at], [at, 10 + at], [at], [at, 20 + at])]
    with HnswDocumentIndex[Text](work_dir=tmp_path, default_column_config=config) as index:
        for number, call in enumerate(calls):
            index.index(Text(id=f'{number}-{at}', embedding=distinct[at]) for at in call)
        assert graph(index).held == len(distinct)


def test_an_update_moves_a_document_off_its_node(tmp_path: Path) -> None:
    """Documents that get another vector, or that of a node, are found at the new place and not at the old."""
    docs = {doc.id: doc.embedding for doc in ordered('first')}
    with opened(tmp_path) as index:
        index.index(ordered('first'))
        changes = {'e0': docs['o1'], 'e7': vectors(1, seed=50)[0], 'o2': docs['e1'], 'o1': docs['e1']}
        for id_, vector in changes.items():
            index.update(id_, embedding=vector)
        docs |= changes
        check_all(index, docs)
        check_answer(index, docs['e1'], EQUAL, docs)
        check_answer(index, docs['e0'], 2, docs)
        assert index.verify().is_sound


@pytest.mark.parametrize('space', SPACES)
def test_compaction_keeps_twins_together(tmp_path: Path, space: str) -> None:
    """After a compaction the equal ones that live share one node again, and the dead are out."""
    with opened(tmp_path, space) as index:
        index.index(ordered('between'))
        gone = {*(f'e{at}' for at in range(0, EQUAL, 2)), *(f'o{at}' for at in range(20))}
        index.delete(list(gone))
        index.compact()
        assert (graph(index).held, graph(index).dead) == (OTHERS - 20 + 1, 0)
        docs = {doc.id: doc.embedding for doc in ordered('between') if doc.id not in gone}
        check_all(index, docs)
        index.index(equals(5, 'new'))
        check_all(index, docs | {doc.id: doc.embedding for doc in equals(5, 'new')})


def test_twins_in_the_chunk_of_one_call(tmp_path: Path) -> None:
    """A batch of several chunks, equal vectors in each of them, makes one node for each distinct vector."""
    distinct = vectors(40)
    docs = points('p', distinct[np.random.default_rng(2).integers(0, 40, 2000)])
    with opened(tmp_path) as index:
        index.index(docs)
        assert graph(index).held == 40
        check_all(index, {doc.id: doc.embedding for doc in docs})


@pytest.mark.parametrize('space', SPACES)
def test_a_batch_of_queries_expands_each(tmp_path: Path, space: str) -> None:
    """Each query of a batch gets its own neighbours, though some have hundreds of twins and some none."""
    with opened(tmp_path, space) as index:
        index.index(ordered('scattered'))
        queries = np.concatenate([vectors(1, seed=99), vectors(5), vectors(5, seed=8)])
        for limit in (1, 7, EQUAL):
            batched = index.find_batched(queries, limit=limit)
            exact = index.find_batched(queries, limit=limit, exact=True)
            np.testing.assert_allclose(batched.scores, exact.scores, rtol=1e-4, atol=1e-4)


def test_equal_answers_come_in_the_order_of_exact_search(tmp_path: Path) -> None:
    """Of more equal documents than asked for, the graph returns the ones that exact search returns."""
    with opened(tmp_path) as index:
        index.index(ordered('scattered'))
        index.delete(['e0', 'e1'])
        query = vectors(1, seed=99)[0]
        for limit in (1, 10, EQUAL - 2):
            found, exact = index.find(query, limit=limit), index.find(query, limit=limit, exact=True)
            assert found.documents.id == exact.documents.id


def test_answers_are_right_when_every_hash_collides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that say nothing cost shared nodes, never an answer: through churn, reopening and compaction."""
    monkeypatch.setattr(twins, '_hashes', lambda matrix: np.full(len(matrix), 7, np.uint64))
    distinct = vectors(12)
    docs = {doc.id: doc.embedding for doc in points('p', distinct[np.arange(60) % 12])}
    with opened(tmp_path) as index:
        index.index([Point(id=id_, embedding=vector) for id_, vector in docs.items()])
        index.delete(['p0', 'p12', 'p24', 'p5'])
        docs = {id_: vector for id_, vector in docs.items() if id_ not in {'p0', 'p12', 'p24', 'p5'}}
        check_all(index, docs)
    with opened(tmp_path) as index:
        more = points('q', distinct)
        index.index(more)
        docs |= {doc.id: doc.embedding for doc in more}
        check_all(index, docs)
        assert index.verify().is_sound
        index.compact()
        check_all(index, docs)


IDS = st.integers(0, 11).map('d{}'.format)
WHICH = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just('index'), st.lists(st.tuples(IDS, WHICH), min_size=1, max_size=8)),
    st.tuples(st.just('update'), st.tuples(IDS, WHICH)),
    st.tuples(st.just('delete'), st.lists(IDS, min_size=1, max_size=6)),
    st.tuples(st.just('reopen'), st.none()),
    st.tuples(st.just('save'), st.none()),
    st.tuples(st.just('compact'), st.none()),
)


@given(steps=st.lists(STEPS, min_size=3, max_size=14), space=st.sampled_from(SPACES), collide=st.booleans())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_any_churn_of_few_vectors_is_searched_right(steps: list[Any], space: str, collide: bool) -> None:
    """Whatever is done to an index in which nearly every vector is a twin, searches answer as a scan of all does."""
    four = vectors(4, seed=11)
    truth: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as path, pytest.MonkeyPatch.context() as patch:
        if collide:
            patch.setattr(twins, '_hashes', lambda matrix: _hashes(matrix) & np.uint64(1))
        index = opened(path, space)
        try:
            for verb, given_ in steps:
                if verb == 'index':
                    index.index([Point(id=id_, embedding=four[which]) for id_, which in given_])
                    truth.update((id_, four[which]) for id_, which in given_)
                elif verb == 'update' and given_[0] in truth:
                    index.update(given_[0], embedding=four[given_[1]])
                    truth[given_[0]] = four[given_[1]]
                elif verb == 'delete':
                    assert index.delete(given_) == len(set(given_) & truth.keys())
                    truth = {id_: vector for id_, vector in truth.items() if id_ not in given_}
                elif verb == 'reopen':
                    index.close()
                    index = opened(path, space)
                elif verb == 'save':
                    index.save_graphs()
                elif verb == 'compact':
                    index.compact()
                assert set(index) == truth.keys()
                for limit in (1, 3, 12):
                    check_answer(index, four[0], limit, truth)
            assert str(index.verify()).endswith('sound')
            assert graph(index).live == len({vector.tobytes() for vector in truth.values()}) or collide
        finally:
            index.close()
