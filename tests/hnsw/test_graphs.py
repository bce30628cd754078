import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from pydantic import create_model

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, _files
from docindex.hnsw.graph import Graph
from docindex.hnsw.sidecar import Sidecar


class Doc(BaseDoc):
    v: NdArray[8]
    w: NdArray[8] = Field(space='cosine')


Index = HnswDocumentIndex[Doc]
VECTORS = np.random.default_rng(0).normal(size=(200, 2, 8)).astype(np.float32)


def docs(start: int = 0, stop: int = 100) -> list[Doc]:
    return [Doc(id=str(at), v=VECTORS[at, 0], w=VECTORS[at, 1]) for at in range(start, stop)]


def finds_everything(index: HnswDocumentIndex[Doc]) -> bool:
    """Return whether each document is found by both of its vectors, by the graphs."""
    stored = index.get(list(index))
    return all(
        [found[0].id for found in index.find_batched(stored, field, limit=1).documents] == stored.id
        for field in ('v', 'w')
    )


def graph_file(work_dir: Path, field: str) -> Path:
    (path,) = (work_dir / 'graphs').glob(f'{field}.*.hnsw')
    return path


@pytest.fixture
def closed(work_dir: Path) -> Path:
    """A directory with a hundred documents and two saved graphs."""
    with Index(work_dir=work_dir) as index:
        index.index(docs())
    return work_dir


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors have been added to graphs, call by call."""
    added: list[int] = []
    add = Graph.add

    def counted(graph: Graph, labels: object, *others: object) -> None:
        added.append(len(labels))  # type: ignore[arg-type]
        add(graph, labels, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Graph, 'add', counted)
    return added


def test_a_saved_graph_is_not_built_again(closed: Path, built: list[int]) -> None:
    """Opening what was closed adds no vector to a graph (P22: and searches with the settings that were in force)."""
    with Index(work_dir=closed) as index:
        assert sum(built) == 0
        assert finds_everything(index)


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are UTF-8 here')
def test_any_name_of_a_directory(tmp_path: Path, built: list[int]) -> None:
    """Graphs are saved and read in a directory whose name is no UTF-8, too."""
    for _ in range(2):
        with Index(work_dir=tmp_path / os.fsdecode(b'x\xff')) as index:
            if not len(index):
                index.index(docs())
                built.clear()
            assert finds_everything(index)
    assert built == []


def test_what_came_after_the_last_save_is_added(work_dir: Path, built: list[int]) -> None:
    """I5: opening adds what a graph file does not cover, and only that; tombstones included."""
    with Index(work_dir=work_dir) as index:
        index.index(docs(0, 90))
        index.save_graphs()
        shutil.copytree(work_dir / 'graphs', work_dir / 'earlier')
        index.index(docs(90, 100))
        index.delete(['5', '95'])
        shutil.copytree(work_dir, work_dir.parent / 'killed')
    killed = work_dir.parent / 'killed'
    built.clear()
    with Index(work_dir=killed) as index:
        assert sum(built) == 2 * 9
        assert finds_everything(index)
        assert {found[0].id for found in index.find_batched(docs(5, 6), 'v', limit=1).documents} != {'5'}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    'missing': (Path.unlink, 'is missing'),
    'empty': (lambda path: path.write_bytes(b''), 'is damaged'),
    'truncated': (lambda path: path.write_bytes(path.read_bytes()[:-100]), 'is damaged'),
    'longer': (lambda path: path.write_bytes(path.read_bytes() + b'\0'), 'is damaged'),
    'a flipped bit': (flip, 'is damaged'),
    'of another field': (lambda path: shutil.copyfile(graph_file(path.parent.parent, 'w'), path), 'is damaged'),
}


@pytest.mark.parametrize(('damage', 'said'), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_graph_file_is_rebuilt(
    closed: Path, damage: Callable[[Path], object], said: str, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """I5, I6: a graph file that is not what was recorded is not read, but made anew, with a line in the log (P5)."""
    path = graph_file(closed, 'v')
    damage(path)
    with Index(work_dir=closed) as index:
        (line,) = warnings_logged.messages
        assert str(path) in line
        assert said in line
        assert finds_everything(index)
    warnings_logged.clear()
    with Index(work_dir=closed) as index:
        assert finds_everything(index)
    assert not warnings_logged.messages


def test_graph_files_that_were_swapped_are_rebuilt(closed: Path, warnings_logged: pytest.LogCaptureFixture) -> None:
    """I6: two fields whose files changed places, same dim and all, are noticed (P20)."""
    one, other, spare = graph_file(closed, 'v'), graph_file(closed, 'w'), closed / 'spare'
    for source, target in ((one, spare), (other, one), (spare, other)):
        source.rename(target)
    with Index(work_dir=closed) as index:
        assert len(warnings_logged.messages) == 2
        assert finds_everything(index)


def test_a_graph_file_nobody_recorded_is_not_read(closed: Path) -> None:
    """I6: what a crash left between writing a graph file and recording it is removed unread."""
    (closed / 'graphs' / 'v.77.hnsw').write_bytes(b'garbage')
    (closed / 'graphs' / 'v.78.hnsw.new').write_bytes(b'half')
    with Index(work_dir=closed) as index:
        assert sorted(path.name for path in (closed / 'graphs').iterdir()) == ['v.1.hnsw', 'w.2.hnsw']
        assert finds_everything(index)


def test_a_graph_file_of_the_future_is_not_read(closed: Path, warnings_logged: pytest.LogCaptureFixture) -> None:
    """I5: a graph that claims to know more than SQLite does, after a restored backup say, is made anew."""
    sidecar = Sidecar(closed / 'documents.sqlite3')
    sidecar.record(replace(sidecar.rows.snapshots()['v'], covered=1000))
    sidecar.close()
    with Index(work_dir=closed) as index:
        assert 'newer than the documents' in warnings_logged.text
        assert finds_everything(index)


@pytest.mark.parametrize('column', ['settings', 'twins'])
def test_a_record_that_makes_no_sense_is_a_missing_graph(
    closed: Path, column: str, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """I5: damage to what SQLite keeps about a graph costs the graph, not the index, and the log says so."""
    connection = sqlite3.connect(closed / 'documents.sqlite3', isolation_level=None)
    connection.execute(f"UPDATE snapshots SET {column} = 'garbage' WHERE field = 'v'")
    connection.close()
    with Index(work_dir=closed) as index:
        assert 'record of the graph file' in warnings_logged.text
        assert finds_everything(index)


def test_a_file_hnswlib_refuses_is_rebuilt(
    closed: Path, monkeypatch: pytest.MonkeyPatch, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """A file that hnswlib does not take, though its checksum is right, is made anew."""

    def refuse(*given: object, **more: object) -> Graph:
        raise RuntimeError('Index seems to be corrupted or unsupported')

    monkeypatch.setattr(Graph, 'load', refuse)
    with Index(work_dir=closed) as index:
        assert 'not accepted by hnswlib' in warnings_logged.text
        assert finds_everything(index)


@pytest.mark.parametrize('method', ['add', 'reserve', 'bury'])
def test_a_graph_that_fails_does_not_fail_the_write(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch, method: str, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """I5: after the commit a graph may fail; the write stands, searches scan, and the next write builds it again."""
    with Index(work_dir=work_dir) as index:
        index.index(docs(0, 50))

        def fail(*given: object) -> None:
            raise RuntimeError('Not enough memory')

        with monkeypatch.context() as patch:
            patch.setattr(Graph, method, fail)
            index.index(docs(50, 100))
            index.delete(['7'])
            assert len(index) == 99
            assert finds_everything(index)
        assert 'has to be rebuilt' in warnings_logged.text
        index.index(docs(100, 101))
        assert index._store.state.graphs.get('v').covered == 101  # type: ignore[union-attr]
        assert finds_everything(index)


def test_a_graph_that_cannot_be_saved_does_not_fail_closing(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """When the disk is full at closing the documents are safe, and the next opening builds the graphs (P21)."""
    index = Index(work_dir=work_dir)
    index.index(docs())

    def full(beside: Path, path: Path) -> None:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(_files, 'publish', full)
        index.close()
    assert 'could not be saved' in warnings_logged.text
    with Index(work_dir=work_dir) as index:
        assert finds_everything(index)


def test_a_file_is_complete_before_it_is_recorded(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I6: a graph file is synced under its final name before SQLite knows of it; the one before goes last."""
    seen: list[tuple[str, list[str]]] = []

    def names() -> list[str]:
        return sorted(path.name for path in (work_dir / 'graphs').glob('v.*'))

    with HnswDocumentIndex[Doc](work_dir=work_dir) as index:
        index.index(docs(0, 5))
        index.save_graphs()
        index.index(docs(5, 10))
        publish, record = _files.publish, index._store._sidecar.record
        monkeypatch.setattr(_files, 'publish', lambda *paths: (seen.append(('publish', names())), publish(*paths)))
        monkeypatch.setattr(
            index._store._sidecar, 'record', lambda snapshot: (seen.append(('record', names())), record(snapshot))
        )
        index.save_graphs()
    assert seen[:2] == [('publish', ['v.1.hnsw', 'v.3.hnsw.new']), ('record', ['v.1.hnsw', 'v.3.hnsw'])]


def test_saving_costs_what_was_written(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing few documents at a time does not rewrite the graph each time (D29)."""
    saved: list[Path] = []
    save = Graph.save
    monkeypatch.setattr(Graph, 'save', lambda graph, path: (saved.append(path), save(graph, path)))
    with Index(work_dir=work_dir) as index:
        for at in range(100):
            index.index(docs(at, at + 1))
        assert not saved
    assert len(saved) == 2
    with Index(work_dir=work_dir):
        pass
    assert len(saved) == 2


def test_one_file_is_left_of_a_graph(closed: Path) -> None:
    """I6: once a new file of a graph is recorded the earlier ones are gone, also one that was given up in between."""
    with Index(work_dir=closed) as index:
        for start in (100, 150):
            graphs = index._store.state.graphs
            graphs.relink('v', np.arange(3))  # as after much replacing: no file is like the graph any more
            index.index(docs(start, start + 50))
            index.save_graphs()
        assert [path.name.partition('.')[0] for path in sorted((closed / 'graphs').iterdir())] == ['v', 'w']
        assert finds_everything(index)
    with Index(work_dir=closed) as index:
        assert finds_everything(index)


@pytest.mark.parametrize('setting', [{'M': 8}, {'space': 'ip'}, {'ef_construction': 50}, {'random_seed': 7}], ids=str)
def test_a_built_in_setting_rebuilds_the_graph_at_opening(
    closed: Path, setting: dict[str, Any], warnings_logged: pytest.LogCaptureFixture
) -> None:
    """A schema with another value of what is built into a graph makes it anew, and answers by it (D9)."""
    again = create_model(
        'Doc', __base__=BaseDoc, v=(NdArray[8], Field(**setting)), w=(NdArray[8], Field(space='cosine'))
    )
    with HnswDocumentIndex[again](work_dir=closed) as index:  # type: ignore[valid-type]
        assert 'was built with other settings' in warnings_logged.text
        assert index.settings('v').items() >= setting.items()
        graph, exact = (index.find(VECTORS[0, 0], 'v', limit=100, exact=exact, ef=200) for exact in (False, True))
        assert graph.documents.id == exact.documents.id
        np.testing.assert_allclose(graph.scores, exact.scores, rtol=1e-4, atol=1e-5)


def test_there_is_no_graph_where_none_is_wanted(work_dir: Path) -> None:
    """A field with `index=False` has vectors and exact answers, and no graph, in memory or on the disk."""

    class Plain(BaseDoc):
        v: NdArray[8] = Field(index=False)

    for _ in range(2):
        with HnswDocumentIndex[Plain](work_dir=work_dir) as index:
            index.index([Plain(id=doc.id, v=doc.v) for doc in docs()])
            assert index._store.state.graphs.get('v') is None
            assert index.find(VECTORS[3, 0], 'v', limit=1).documents.id == ['3']
    assert not list((work_dir / 'graphs').iterdir())


def test_every_graph_is_of_hnswlib(closed: Path) -> None:
    """The files are hnswlib's own: it loads them and finds the labels."""
    plain = hnswlib.Index(space='l2', dim=8)
    plain.load_index(str(graph_file(closed, 'v')))
    assert sorted(plain.get_ids_list()) == list(range(100))


def test_deleting_what_a_graph_never_had_is_no_work(work_dir: Path, warnings_logged: pytest.LogCaptureFixture) -> None:
    """I5: documents without a vector can be deleted and replaced without the graph of that field being made anew."""

    class Sparse(BaseDoc):
        v: NdArray[8] | None = None

    with HnswDocumentIndex[Sparse](work_dir=work_dir) as index:
        index.index([Sparse(id=doc.id, v=doc.v if at % 2 else None) for at, doc in enumerate(docs())])
        graph = index._store.state.graphs.get('v')
        index.delete(['0', '1'])
        index.index(Sparse(id='2', v=VECTORS[2, 0]))
        assert index._store.state.graphs.get('v') is graph
        assert index.find(VECTORS[2, 0], limit=1).documents.id == ['2']
    assert not warnings_logged.messages
