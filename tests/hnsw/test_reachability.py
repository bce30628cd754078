"""Every vector is found by itself, whatever was replaced and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.errors import QueryError
from docindex.hnsw import graph_file, mending, reachability
from docindex.hnsw.graph import Graph
from docindex.hnsw.reachability import ask_all

DIM = 16


class Point(BaseDoc):
    step: int = 0
    vector: NdArray = Field(dim=DIM)


Points = HnswDocumentIndex[Point]


def missed(index: HnswDocumentIndex[Any]) -> list[str]:
    """Return the ids of the documents that a search for their own vector does not find first."""
    ids = list(index)
    docs = index.get(ids)
    found = index.find_batched(np.stack([doc.vector for doc in docs]), limit=1)
    return [doc.id for doc, answer in zip(docs, found.documents, strict=True) if answer[0].id != doc.id]


def blinded(monkeypatch: pytest.MonkeyPatch, is_hidden: Any, below: int = 1 << 30) -> None:
    """Let hnswlib, and links anew, never lead to some vectors, where `ef` is `below` so much."""
    ask = Graph._ask

    def blind(self: Graph, ready: Any, k: int, ef: int) -> Any:
        if ef >= below:
            return ask(self, ready, k, ef)
        nodes, distances = ask(self, ready, min(k + 5, self.held), ef)
        order = np.argsort(is_hidden(nodes), axis=1, kind='stable')[:, :k]
        return np.take_along_axis(nodes, order, 1), np.take_along_axis(distances, order, 1)

    monkeypatch.setattr(Graph, '_ask', blind)


@pytest.mark.parametrize('auto_compact', [0.5, False])
def test_every_new_vector_is_found_at_once(tmp_path: Path, auto_compact: float | bool) -> None:
    """After each of many updates what was just written is found, although most of what was written is dead."""
    random = np.random.default_rng(3)
    with Points(work_dir=tmp_path, auto_compact=auto_compact) as index:
        for step in range(400):
            vector = random.normal(size=DIM)
            index.index(
                [Point(id=id_, vector=v) for id_, v in (('a', vector), ('b', -vector), (str(step), vector + 1))]
            )
            if step % 7 == 0:
                index.delete(str(step - 3))
            assert index.find(vector, limit=1).documents[0].id == 'a', step
        assert missed(index) == []
        assert index.verify().unreachable == {'vector': 0}


def test_everything_is_found_after_churn(tmp_path: Path) -> None:
    """After replacing all of some thousand vectors, a part at a time, none is missed; so after compacting."""
    random = np.random.default_rng(4)
    with Points(work_dir=tmp_path, auto_compact=False) as index:
        index.index([Point(id=str(at), vector=random.normal(size=DIM)) for at in range(3000)])
        for step in range(12):
            ids = random.choice(3000, 300, replace=False)
            index.delete([str(at) for at in ids[:100]])
            index.index([Point(id=str(at), step=step, vector=random.normal(size=DIM)) for at in ids])
        assert missed(index) == []
        index.compact()
        assert missed(index) == []


def test_what_the_graph_cannot_find_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors to which no search leads, however they are linked, are looked at in any case; reopened, too."""
    vectors = np.random.default_rng(5).normal(size=(300, DIM))
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)])
        blinded(monkeypatch, lambda nodes: nodes % 50 == 7)
        assert sorted(missed(index), key=int) == ['7', '57', '107', '157', '207', '257']
        assert index.verify().unreachable == {'vector': 6}
        assert index.verify(repair=True).is_sound
        assert missed(index) == []
        assert (
            index.find_batched(vectors, limit=5).documents[57].id
            == index.find(vectors[57], limit=5, exact=True).documents.id
        )
        index.delete('57')
        assert '57' not in index.find(vectors[57], limit=20).documents.id
    with Points(work_dir=tmp_path) as index:
        assert index._store.state.graphs.get('vector').strays == [7, 107, 157, 207, 257]
        assert missed(index) == []


def test_what_grows_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that makes a graph grow by a good share looks for vectors with few links, and finds those it misses."""
    vectors = np.random.default_rng(6).normal(size=(400, DIM))
    blinded(monkeypatch, lambda nodes: nodes == 11)
    monkeypatch.setattr(graph_file, 'scarcely_linked', lambda path, most: np.array([11, 12]))
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)])
        assert index._store.state.graphs.get('vector').strays == [11]
        assert missed(index) == []
        assert not list((tmp_path / 'graphs').glob('*.new'))


def test_what_the_graph_has_come_to_find_is_no_stray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray to which what was added later leads is found as others are, and searches stop comparing with it."""
    vectors = np.random.default_rng(9).normal(size=(800, DIM))
    docs = [Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)]
    with Points(work_dir=tmp_path) as index:
        with monkeypatch.context() as patch:
            blinded(patch, lambda nodes: nodes == 11)
            patch.setattr(graph_file, 'scarcely_linked', lambda path, most: np.array([11]))
            index.index(docs[:400])
            assert index._store.state.graphs.get('vector').strays == [11]
        index.index(docs[400:])
        assert index._store.state.graphs.get('vector').strays == []
        assert missed(index) == []


def test_of_too_many_those_are_strays_that_a_thorough_search_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If searches miss too many to look at, those are strays that a larger `ef` misses, too; no graph is rebuilt."""
    vectors = np.random.default_rng(10).normal(size=(300, DIM))
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)])
        graph = index._store.state.graphs.get('vector')
        blinded(monkeypatch, lambda nodes: nodes == 7)
        blinded(monkeypatch, lambda nodes: nodes % 50 == 7, below=1000)
        for module in (mending, reachability):
            monkeypatch.setattr(module, 'MOST_STRAYS', 3)
        assert index.verify(repair=True).unreachable == {'vector': 5}
        assert index._store.state.graphs.get('vector') is graph
        assert graph.strays == [7]
        assert '7' not in missed(index)


def test_a_graph_that_misses_too_much_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If linking anew leaves more than a search can look at, the graph is rebuilt."""
    vectors = np.random.default_rng(7).normal(size=(200, DIM))
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)])
        worn = index._store.state.graphs.get('vector')
        blinded(monkeypatch, lambda nodes: (nodes % 3 == 0) & (index._store.state.graphs.get('vector') is worn))
        for module in (mending, reachability):
            monkeypatch.setattr(module, 'MOST_STRAYS', 10)
        assert len(missed(index)) > 10
        assert index.verify(repair=True).is_sound
        assert index._store.state.graphs.get('vector') is not worn
        assert missed(index) == []


class Far(BaseDoc):
    step: int = 0
    vector: NdArray = Field(dim=96)


Fars = HnswDocumentIndex[Far]


def around(count: int, middle: int) -> list[Far]:
    """Return points in all directions around one, the origin, which is nearer to each of them than another is."""
    vectors = np.random.default_rng(11).normal(size=(count, 96))
    vectors[middle] = 0
    return [Far(id=str(at), vector=vector, step=at % 5) for at, vector in enumerate(vectors)]


def test_one_vector_in_the_middle_hides_no_others(tmp_path: Path) -> None:
    """What is stored after a vector to which hnswlib links all others is found: at once, with a filter, reopened."""
    docs = around(1400, 500)
    with Fars(work_dir=tmp_path) as index:
        for start in range(0, len(docs), 100):
            index.index(docs[start : start + 100])
            assert missed(index) == [], start
        found = index.find(docs[-1], limit=300, filter={'step': {'$gt': 0}})
        assert found.documents[0].id == docs[-1].id
        assert 'compare with all vectors' in str(index.explain(docs[-1]))
        report = index.verify()
        assert (report.is_sound, report.unreachable) == (True, {'vector': 0})
    with Fars(work_dir=tmp_path) as index:
        assert missed(index) == []
        index.compact()
        assert missed(index) == []


def test_a_vector_in_the_middle_does_not_hide_single_ones(tmp_path: Path) -> None:
    """Documents that are stored one by one are found, too, while there are few of them."""
    docs = around(1000, 800)
    with Fars(work_dir=tmp_path) as index:
        index.index(docs[:801])
        for doc in docs[801:]:
            index.index(doc)
        assert missed(index) == []


def test_what_a_larger_ef_finds_is_not_hidden(tmp_path: Path) -> None:
    """Where thorough searches find what others miss, the graph is asked, however much that is, and `ef` decides."""
    docs = around(1500, 1499)
    for at, doc in enumerate(docs):  # each that comes is nearer to the middle, and takes the links of those before it
        doc.vector = doc.vector * (1500 - at)
    with Fars(work_dir=tmp_path) as index:
        for start in range(0, len(docs), 100):
            index.index(docs[start : start + 100])
        assert len(missed(index)) > 500
        graph = index._store.state.graphs.get('vector')
        assert not graph.hides_many
        queries = np.stack([doc.vector for doc in docs[::10]])
        found = index.find_batched(queries, limit=1, ef=1500).documents
        assert [answer[0].id for answer in found] == [doc.id for doc in docs[::10]]


def test_there_is_no_ef_for_a_graph_that_hides_many(tmp_path: Path) -> None:
    """Where searches compare with every vector, all neighbours are found, and `tune` says why it has nothing to do."""
    with Fars(work_dir=tmp_path) as index:
        index.index(around(800, 0))
        assert index.recall(sample=50) == 1
        with pytest.raises(QueryError, match='hides many vectors'):
            index.tune(sample=50)


def test_scarcely_linked_counts_links(tmp_path: Path) -> None:
    """The labels with few links to them are those that hnswlib's own lists hardly mention."""
    vectors = np.random.default_rng(8).normal(size=(500, DIM))
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=str(at), vector=vector) for at, vector in enumerate(vectors)])
        index.save_graphs()
        (path,) = (tmp_path / 'graphs').glob('*.hnsw')
        scarce = {most: set(graph_file.scarcely_linked(path, most).tolist()) for most in (0, 2, 8, 32, 500)}
        assert scarce[500] == set(range(500))
        assert scarce[0] <= scarce[2] < scarce[8] < scarce[500]
        search = index._store.state.graphs.search('vector')
        assert len(ask_all(search).missed) == 0
