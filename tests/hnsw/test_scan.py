from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from docindex.distances import distances, nearest
from docindex.fields import Space
from docindex.hnsw.scan import gather, scan
from docindex.hnsw.vectors import VectorFile

DIM = 24
ROWS = np.random.default_rng(5).normal(size=(6_000, DIM)).astype(np.float32)
QUERIES = np.random.default_rng(6).normal(size=(3, DIM)).astype(np.float32)


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorFile]:
    """A file with these rows."""
    path = tmp_path_factory.mktemp('scan') / 'v.f32'
    VectorFile.create(path, DIM)
    file = VectorFile(path, DIM, 0)
    file.write(0, ROWS)
    yield file
    file.close()


def some(count: int) -> Any:
    return np.sort(np.random.default_rng(count).permutation(len(ROWS))[:count]).astype(np.int64)


def never(labels: Any) -> Any:
    raise AssertionError('the file was read')


# From those few that are compared at once to those that are estimated first, in one block and in several.
@pytest.mark.parametrize('count', [1, 7, 64, 65, 400, 1_400, 5_000])
@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
@pytest.mark.parametrize('queries', [QUERIES[:1], QUERIES], ids=['one', 'three'])
@pytest.mark.parametrize('is_gathered', [False, True], ids=['', 'gathered'])
def test_it_is_the_answer_of_the_formulas(
    file: VectorFile, count: int, space: Space, queries: Any, is_gathered: bool
) -> None:
    """However many vectors there are, copied or not, the nearest are those that the distances of all tell."""
    labels = some(count)
    gathered = gather(file, labels) if is_gathered else None
    found, scores = scan(queries, 10, space, file, labels, gathered)
    for at, row in enumerate(distances(queries, ROWS[labels], space)):
        expected, distance = nearest(labels, row, min(10, count))
        assert found[at].tolist() == expected.tolist()
        assert scores[at] == pytest.approx(distance, abs=1e-5)


def test_few_copies_are_all_that_is_looked_at(file: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the vectors of some hundred matches were copied, the file is not read once more."""
    labels = some(300)
    gathered = gather(file, labels)
    monkeypatch.setattr(file, 'scan', never)
    found, _ = scan(ROWS[labels[[17]]], 1, 'l2', file, labels, gathered)
    assert found.tolist() == [[labels[17]]]


@pytest.mark.parametrize('make', [some, lambda count: some(0)], ids=['no place', 'no vectors'])
def test_nothing(file: VectorFile, make: Callable[[int], Any]) -> None:
    """Who asks for none, or among none, gets none."""
    labels = make(9)
    found, scores = scan(QUERIES, 0 if len(labels) else 5, 'ip', file, labels)
    assert found.shape == scores.shape == (3, 0)
