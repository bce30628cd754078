import os
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest

from docindex.distances import distances
from docindex.fields import VectorSettings
from docindex.hnsw.graph import Graph, ShortAnswerError, _threads

DIM = 6


class Filled:
    """A graph and the vectors that were put into it, by label."""

    def __init__(self, count: int = 0, seed: int = 0, **settings: Any) -> None:
        self.graph = Graph(VectorSettings(dim=DIM, **settings))
        self.vectors = np.empty((0, DIM), np.float32)
        self.dead: set[int] = set()
        self.add(np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32))

    def add(self, vectors: Any) -> None:
        labels = np.arange(len(self.vectors), len(self.vectors) + len(vectors))
        self.vectors = np.concatenate([self.vectors, np.asarray(vectors, np.float32)])
        self.graph.add(labels, self.vectors[labels], lambda known: self.vectors[known], self.is_living)

    def is_living(self, label: int) -> bool:
        return label not in self.dead

    def bury(self, label: int) -> None:
        self.dead.add(label)
        self.graph.bury(label)

    def search(self, query: Any, k: int, ef: int = 100) -> tuple[list[int], list[float]]:
        labels, scores = self.graph.search(np.asarray(query, np.float32)[None], k, ef)
        return labels[0].tolist(), scores[0].tolist()


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
def test_a_graph_finds_what_a_scan_finds(space: Any) -> None:
    """With enough candidates a graph gives the labels and distances of an exact scan, in every space."""
    filled = Filled(300, space=space)
    queries = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    exact = distances(queries, filled.vectors, space)
    labels, scores = filled.graph.search(queries, 5, 300)
    assert labels.tolist() == np.argsort(exact, axis=1)[:, :5].tolist()
    np.testing.assert_allclose(scores, np.sort(exact, axis=1)[:, :5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('threads', [1, 2, -1])
def test_threads_change_no_answer(threads: int) -> None:
    """Several threads add and search as one does."""
    filled = Filled(500, num_threads=threads)
    labels, scores = filled.graph.search(filled.vectors, 1, 200)
    assert labels[:, 0].tolist() == list(range(500))
    assert scores.max() == 0


def test_all_processors_are_used_unless_a_number_is_given() -> None:
    """By default there is a thread for each processor that this process may use."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    assert _threads(VectorSettings(dim=2)) == processors
    assert _threads(VectorSettings(dim=2, num_threads=3)) == 3


def test_one_thread_is_deterministic(tmp_path: Path) -> None:
    """With one thread and a seed, the same vectors make the same file; another seed makes another (P34)."""
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        Filled(500, random_seed=seed, num_threads=1).graph.save(tmp_path / name)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
    assert (tmp_path / 'a').read_bytes() != (tmp_path / 'c').read_bytes()


def test_the_buried_are_not_found() -> None:
    """A label that was buried is never returned, and what is left is found through it."""
    filled = Filled(200)
    for label in range(0, 200, 2):
        filled.bury(label)
    for label in range(200):
        (found,), _ = filled.search(filled.vectors[label], 1)
        assert found == label if label % 2 else found % 2
    assert filled.graph.live == 100


@pytest.mark.parametrize('k', [200, 100, 51])
def test_more_than_there_is_is_a_short_answer(k: int) -> None:
    """A graph that cannot give k labels says so, instead of hnswlib's error (P9)."""
    filled = Filled(100)
    for label in range(50):
        filled.bury(label)
    with pytest.raises(ShortAnswerError):
        filled.search(filled.vectors[0], k, ef=1)


@pytest.mark.parametrize('together', [True, False], ids=['one batch', 'one by one'])
@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
def test_equal_vectors_hide_nothing(together: bool, space: Any) -> None:
    """Hundreds of equal vectors are all found, and so is every vector that came after them (P11)."""
    filled = Filled(space=space)
    crowd, others = np.ones((300, DIM)), np.random.default_rng(2).normal(size=(200, DIM))
    for batch in [crowd] if together else crowd[:, None]:
        filled.add(batch)
    filled.add(others / np.linalg.norm(others, axis=1)[:, None])
    nearest = distances(filled.vectors[300:], filled.vectors, space).min(axis=1)
    _, found = filled.graph.search(filled.vectors[300:], 1, 100)
    assert np.isclose(found[:, 0], nearest, atol=1e-5).mean() >= 0.98
    labels, scores = filled.search(crowd[0], 300)
    assert sorted(labels) == list(range(300))
    assert max(scores) - min(scores) < 1e-5


def test_equal_vectors_die_one_by_one() -> None:
    """Of equal vectors each can be buried, in any order; the node goes with the last and comes back with the next."""
    filled = Filled(20)
    filled.add(np.ones((4, DIM)))
    for label, left in ((21, [20, 22, 23]), (20, [22, 23]), (23, [22])):
        filled.bury(label)
        assert sorted(filled.search(np.ones(DIM), len(left))[0]) == left
    filled.bury(22)
    assert filled.search(np.ones(DIM), 1)[0][0] < 20
    filled.add(np.ones((1, DIM)))
    assert filled.search(np.ones(DIM), 1) == ([24], [0])


@pytest.mark.parametrize('size', [1e-25, 1e25])
def test_extremes_under_cosine(size: float) -> None:
    """Under cosine length does not count, where hnswlib would underflow or overflow (P18)."""
    filled = Filled(space='cosine')
    filled.add(np.eye(DIM) * size)
    labels, scores = filled.search(np.eye(DIM)[2], DIM)
    assert labels[0] == 2
    assert scores == pytest.approx([0, 1, 1, 1, 1, 1])


def test_equal_directions_are_not_at_a_negative_distance() -> None:
    """Rounding never makes a cosine distance below zero (P18)."""
    filled = Filled(200, space='cosine')
    _, scores = filled.graph.search(filled.vectors * 3, 1, 100)
    assert scores.min() >= 0


def test_it_grows_by_doubling() -> None:
    """A graph of four places takes any number of vectors; its capacity doubles (D31, P27)."""
    filled = Filled(max_elements=4)
    capacities = []
    for _ in range(33):
        filled.add(np.random.default_rng(len(filled.vectors)).normal(size=(1, DIM)))
        capacities.append(filled.graph.capacity)
    assert sorted(set(capacities)) == [4, 8, 16, 32, 64]
    assert filled.search(filled.vectors[0], 1) == ([0], [0])
    assert filled.graph.held == 33


def test_a_batch_larger_than_the_graph() -> None:
    """One batch may be many times as large as the capacity."""
    filled = Filled(1000, max_elements=4)
    assert filled.graph.capacity == 1024
    assert filled.search(filled.vectors[999], 1) == ([999], [0])


def test_a_graph_survives_saving(tmp_path: Path) -> None:
    """A loaded graph has the same vectors, tombstones, twins and counts, and can go on growing (P22, P24)."""
    filled = Filled(50, max_elements=4, space='cosine')
    filled.add(filled.vectors[:3])
    filled.bury(7)
    graph = filled.graph
    graph.covered, graph.buried = 53, 1
    graph.save(tmp_path / 'g')
    filled.graph = Graph.load(tmp_path / 'g', graph.settings, 53, [7], graph.dead, graph.twins(), [])
    assert (filled.graph.covered, filled.graph.buried, filled.graph.live) == (53, 1, graph.live)
    assert filled.search(filled.vectors[0], 2)[0] == [0, 50]
    assert filled.search(filled.vectors[7], 1)[0] != [7]
    filled.add(np.random.default_rng(9).normal(size=(100, DIM)))
    assert filled.search(filled.vectors[152], 1)[0] == [152]


def test_an_empty_graph_survives_saving(tmp_path: Path) -> None:
    """A graph without vectors can be saved, loaded and filled (P24)."""
    filled = Filled(0, max_elements=4)
    filled.graph.save(tmp_path / 'g')
    filled.graph = Graph.load(tmp_path / 'g', filled.graph.settings, 0, [], 0, [], [])
    filled.add(np.eye(DIM))
    assert filled.search(np.eye(DIM)[3], 1) == ([3], [0])


def test_a_save_that_wrote_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hnswlib says nothing when the disk is full; `save` does (P21)."""
    filled = Filled(50)
    with pytest.raises(OSError):
        filled.graph.save(tmp_path / 'missing' / 'g')

    class Full:
        """An index of hnswlib on a full disk."""

        def save_index(self, path: bytes) -> None:
            Path(os.fsdecode(path)).write_bytes(b'some')

        def index_file_size(self) -> int:
            return 1000

    monkeypatch.setattr(filled.graph, '_index', Full())
    with pytest.raises(OSError, match='only 4 of 1,000 bytes'):
        filled.graph.save(tmp_path / 'g')


def test_a_file_hnswlib_refuses_is_an_error(tmp_path: Path) -> None:
    """A file of a wrong length is a RuntimeError, and the process goes on (P3, P5)."""
    filled = Filled(50)
    filled.graph.save(tmp_path / 'g')
    (tmp_path / 'g').write_bytes((tmp_path / 'g').read_bytes()[:-1])
    with pytest.raises(RuntimeError):
        Graph.load(tmp_path / 'g', filled.graph.settings, 50, [], 0, [], [])
    assert filled.search(filled.vectors[1], 1) == ([1], [0])


def test_each_search_has_its_own_ef(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ef` is set before each search that needs another one, and before the first."""
    filled, seen = Filled(50), []
    real = filled.graph._index

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def set_ef(self, ef: int) -> None:
            seen.append(ef)
            real.set_ef(ef)

    monkeypatch.setattr(filled.graph, '_index', Watched())
    for ef in (10, 10, 20, 10):
        filled.search(filled.vectors[0], 1, ef)
    assert seen == [10, 20, 10]


@pytest.mark.parametrize('M', [2, 64])
def test_settings_reach_hnswlib(M: int) -> None:
    """The number of links and candidates are those of the settings."""
    index = Filled(10, M=M, ef_construction=123, max_elements=77).graph._index
    assert isinstance(index, hnswlib.Index)
    assert (index.M, index.ef_construction, index.max_elements) == (M, 123, 77)


def test_every_second_deleted_still_finds_the_rest() -> None:
    """Recall@10 after 50 of each 100 died, seed 3: at least 0.95 by automatic ef."""
    filled = Filled(1000, seed=3)
    for label in np.random.default_rng(3).permutation(1000)[:500].tolist():
        filled.bury(label)
    living = np.array([label for label in range(1000) if filled.is_living(label)])
    queries = np.random.default_rng(4).normal(size=(50, DIM)).astype(np.float32)
    found, _ = filled.graph.search(queries, 10, 100)
    nearest = living[np.argsort(distances(queries, filled.vectors[living], 'l2'), axis=1)[:, :10]]
    hits = sum(len({*f} & {*n}) for f, n in zip(found.tolist(), nearest.tolist(), strict=True))
    assert hits / 500 >= 0.95
