"""Graphs that are loaded when somebody needs them, and let go of when nobody does."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray
from docindex.errors import ClosedIndexError, QueryError, SettingsError
from docindex.hnsw.graph import Graph
from tests.programs import run


class Chunk(BaseDoc):
    embedding: NdArray[4]


class Page(BaseDoc):
    title: str = ''
    plot: NdArray[4]
    poster: NdArray[3] = Field(space='cosine')
    chunks: DocList[Chunk] = DocList[Chunk]()


Pages = HnswDocumentIndex[Page]
COUNT = 60
VECTORS = np.random.default_rng(5).standard_normal((4 * COUNT, 7)).astype(np.float32)


def pages(numbers: range) -> list[Page]:
    return [
        Page(
            id=f'p{n}',
            title=f'title {n}',
            plot=VECTORS[n, :4],
            poster=VECTORS[n, 4:],
            chunks=DocList[Chunk]([Chunk(id=f'c{n}', embedding=VECTORS[n, 3:])]),
        )
        for n in numbers
    ]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a directory with graph files of three fields."""
    with Pages(work_dir=tmp_path / 'pages') as index:
        index.index(pages(range(COUNT)))
    return tmp_path / 'pages'


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count which graph files hnswlib is given."""
    seen: Counter[str] = Counter()
    load = Graph.load.__func__  # type: ignore[attr-defined]

    def counted(cls: Any, path: Path, *given: Any) -> Graph:
        seen[path.name.partition('.')[0]] += 1
        return load(cls, path, *given)

    monkeypatch.setattr(Graph, 'load', classmethod(counted))
    return seen


def asleep(index: HnswDocumentIndex[Any]) -> set[str]:
    return set(index._store.state.graphs.asleep)


def nearest(index: HnswDocumentIndex[Any], numbers: range, field: str = 'plot') -> list[str]:
    start, stop = {'plot': (0, 4), 'poster': (4, 7), 'chunks__embedding': (3, 7)}[field]
    return [index.find(VECTORS[n, start:stop], field, 1).documents[0].id for n in numbers]


@pytest.mark.parametrize('how', [{}, {'read_only': True}, {'shared_writes': True}])
def test_opening_reads_no_graph_file(made: Path, loads: Counter[str], how: dict[str, Any]) -> None:
    """With `lazy=True` each field's graph is loaded by the first search in that field, once."""
    with Pages(work_dir=made, lazy=True, **how) as index:
        assert not loads
        assert nearest(index, range(5)) == [f'p{n}' for n in range(5)]
        assert loads == {'plot': 1}
        assert nearest(index, range(5), 'chunks__embedding') == [f'c{n}' for n in range(5)]
        assert loads == {'plot': 1, 'chunks__embedding': 1}
        assert asleep(index) == {'poster'}
    assert set(loads) == {'plot', 'chunks__embedding'}


def test_what_needs_no_graph_loads_none(made: Path, loads: Counter[str]) -> None:
    """Reading, filters, exact search, updates, deletions, writes and closing leave graphs in their files."""
    with Pages(work_dir=made, lazy=True) as index:
        assert index['p3'].title == 'title 3'
        assert index.count({'title': 'title 4'}) == 1
        assert index.find(VECTORS[7, :4], 'plot', 1, exact=True).documents[0].id == 'p7'
        index.update('p3', title='other')
        del index['p4']
        index.index(pages(range(COUNT, COUNT + 10)))
        index.configure(ef=50)
        index.summary()
    assert not loads
    with Pages(work_dir=made) as index:
        assert nearest(index, range(COUNT, COUNT + 10)) == [f'p{n}' for n in range(COUNT, COUNT + 10)]
        assert index.verify().problems == []


def test_the_next_search_catches_up(made: Path, loads: Counter[str]) -> None:
    """What was written, replaced and deleted while a graph was asleep is in it once it is awake."""
    with Pages(work_dir=made, lazy=True) as index:
        index.index(pages(range(COUNT, 2 * COUNT)))
        index.delete([f'p{n}' for n in range(10)])
        index.update('p20', plot=VECTORS[200, :4])
        assert nearest(index, range(COUNT, 2 * COUNT)) == [f'p{n}' for n in range(COUNT, 2 * COUNT)]
        assert nearest(index, range(200, 201)) == ['p20']
        assert not {f'p{n}' for n in range(10)} & set(nearest(index, range(10)))
        graph = index._store.state.graphs.get('plot')
        assert graph is not None
        assert graph.covered == index._store.state.labels.next
        assert index.verify().problems == []
    assert loads['plot'] == 1


def test_a_new_directory_is_awake(tmp_path: Path, loads: Counter[str]) -> None:
    """Where there is nothing to load, writes build the graph at once, and closing saves it."""
    with Pages(work_dir=tmp_path, lazy=True) as index:
        index.index(pages(range(COUNT)))
        assert not asleep(index)
    saved = {path.name.partition('.')[0] for path in (tmp_path / 'graphs').iterdir()}
    assert saved == {'plot', 'poster', 'chunks__embedding'}
    assert not loads


def test_much_that_is_written_wakes_a_graph(made: Path, loads: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes much into an index that nobody searches does not leave it all to the next search."""
    monkeypatch.setattr('docindex.hnsw.graphs._FAR_BEHIND', 20)
    with Pages(work_dir=made, lazy=True) as index:
        index.index(pages(range(COUNT, COUNT + 10)))
        assert not loads
        index.index(pages(range(COUNT + 10, COUNT + 30)))
        assert not asleep(index)
        assert loads == {'plot': 1, 'poster': 1, 'chunks__embedding': 1}


def test_threads_load_a_graph_once(made: Path, loads: Counter[str]) -> None:
    """Many first searches at once load the graph once, and all are right."""
    found: list[list[str]] = []
    with Pages(work_dir=made, lazy=True) as index:
        start = threading.Barrier(8)

        def search() -> None:
            start.wait()
            found.append(nearest(index, range(20)))

        threads = [threading.Thread(target=search) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[f'p{n}' for n in range(20)]] * 8
    assert loads == {'plot': 1}


def test_a_search_beside_the_loading_of_another_field(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one field's graph is loaded, searches of others are answered, and so are writes."""
    loading, go_on = threading.Event(), threading.Event()
    load = Graph.load.__func__  # type: ignore[attr-defined]

    def slow(cls: Any, path: Path, *given: Any) -> Graph:
        if path.name.startswith('plot'):
            loading.set()
            assert go_on.wait(20)
        return load(cls, path, *given)

    monkeypatch.setattr(Graph, 'load', classmethod(slow))
    with Pages(work_dir=made, lazy=True) as index:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.extend(nearest(index, range(3))))
        thread.start()
        assert loading.wait(20)
        assert nearest(index, range(3), 'poster') == ['p0', 'p1', 'p2']
        index.index(pages(range(COUNT, COUNT + 3)))
        index.compact()
        assert not found
        go_on.set()
        thread.join()
        assert found == ['p0', 'p1', 'p2']
        assert nearest(index, range(COUNT, COUNT + 3)) == [f'p{n}' for n in range(COUNT, COUNT + 3)]
        assert index.verify().problems == []


def test_inside_a_batch(made: Path, loads: Counter[str]) -> None:
    """A search inside a batch wakes the graph, and sees what the batch has written."""
    with Pages(work_dir=made, lazy=True) as index, index.batch():
        index.index(pages(range(COUNT, COUNT + 2)))
        assert nearest(index, range(COUNT - 2, COUNT + 2)) == [f'p{n}' for n in range(COUNT - 2, COUNT + 2)]
        assert loads == {'plot': 1}


def test_queries_of_several_steps_wake_what_they_need(made: Path, loads: Counter[str]) -> None:
    """`execute_query`, `count`, `explain` and `find_subindex` load the graphs of the fields that they search."""
    with Pages(work_dir=made, lazy=True) as index:
        query = index.build_query().find(VECTORS[3, :4], 'plot', 1).build()
        assert index.execute_query(query).documents.id == ['p3']
        assert loads == {'plot': 1}
        assert index.find_subindex(VECTORS[3, 3:], 'chunks', 'embedding', 1).documents.id == ['c3']
        assert loads == {'plot': 1, 'chunks__embedding': 1}


def test_a_damaged_file_is_noticed_at_first_use(made: Path) -> None:
    """A graph file that was damaged while it waited is not used; the graph is built from the vectors."""
    with Pages(work_dir=made, lazy=True) as index:
        [path] = (made / 'graphs').glob('plot.*.hnsw')
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert nearest(index, range(COUNT)) == [f'p{n}' for n in range(COUNT)]
        assert index._store.state.graphs.rejected == {'plot': 'is damaged'}


def test_a_reader_finds_the_file_that_is_there_by_then(made: Path, loads: Counter[str]) -> None:
    """A lazy reader loads what the writer has saved last, also after a compaction."""
    with Pages(work_dir=made) as writer, Pages(work_dir=made, lazy=True, read_only=True) as reader:
        loads.clear()
        writer.index(pages(range(COUNT, 2 * COUNT)))
        writer.save_graphs()
        assert nearest(reader, range(2 * COUNT)) == [f'p{n}' for n in range(2 * COUNT)]
        writer.delete([f'p{n}' for n in range(10)])
        writer.compact()
        assert nearest(reader, range(10, 30), 'poster') == [f'p{n}' for n in range(10, 30)]
        assert nearest(reader, range(10, 2 * COUNT)) == [f'p{n}' for n in range(10, 2 * COUNT)]


def test_a_handle_that_is_not_lazy_wakes_what_another_left(made: Path) -> None:
    """Handles of one process may differ: opening without `lazy` loads what is asleep."""
    with Pages(work_dir=made, lazy=True) as lazy:
        assert asleep(lazy) == {'plot', 'poster', 'chunks__embedding'}
        with Pages(work_dir=made, lazy=True):
            assert asleep(lazy) == {'plot', 'poster', 'chunks__embedding'}
        with Pages(work_dir=made):
            assert not asleep(lazy)
        assert nearest(lazy, range(3)) == ['p0', 'p1', 'p2']


def test_a_compaction_leaves_asleep_what_was(made: Path) -> None:
    """Compacting builds all graphs, and keeps in memory only those that were there."""
    with Pages(work_dir=made, lazy=True) as index:
        nearest(index, range(1))
        index.delete([f'p{n}' for n in range(0, COUNT, 2)])
        index.compact()
        assert asleep(index) == {'poster', 'chunks__embedding'}
        assert nearest(index, range(1, COUNT, 2), 'poster') == [f'p{n}' for n in range(1, COUNT, 2)]
        assert index.verify().problems == []


def test_lazy_without_trust(made: Path, loads: Counter[str]) -> None:
    """With `trust_graphs=False` a graph is built from the vectors at first use, and no file is read."""
    with Pages(work_dir=made, lazy=True, trust_graphs=False) as index:
        assert nearest(index, range(COUNT)) == [f'p{n}' for n in range(COUNT)]
        assert asleep(index) == {'poster', 'chunks__embedding'}
    assert not loads


def test_settings_of_a_graph_that_is_asleep(made: Path) -> None:
    """What is built into a graph cannot be changed while it is asleep either; what searches use can."""
    with Pages(work_dir=made, lazy=True) as index:
        with pytest.raises(SettingsError, match='M cannot be changed'):
            index.configure(search_field='plot', M=5)
        with pytest.raises(SettingsError, match='max_elements can only grow; there is room for 1,024'):
            index.configure(search_field='plot', max_elements=5)
        index.configure(search_field='plot', ef=33, max_elements=5000)
        assert nearest(index, range(3)) == ['p0', 'p1', 'p2']
        graph = index._store.state.graphs.get('plot')
        assert graph is not None
        assert (graph.settings.ef, graph.capacity) == (33, 5000)
        index.configure(search_field='poster', index=False)
        assert not asleep(index) & {'poster'}
        assert nearest(index, range(3), 'poster') == ['p0', 'p1', 'p2']


def test_lazy_must_be_true_or_false(tmp_path: Path) -> None:
    """Anything else is a `SettingsError`."""
    with pytest.raises(SettingsError, match='lazy must be True or False'):
        Pages(work_dir=tmp_path, lazy='yes')  # type: ignore[arg-type]


# -- unload, warm_up -------------------------------------------------------------------------------


def test_unload_gives_a_graph_back(made: Path, loads: Counter[str]) -> None:
    """`unload` saves what is in no file, and the next search loads the graph again, without adding anything."""
    with Pages(work_dir=made) as index:
        loads.clear()
        index.index(pages(range(COUNT, COUNT + 10)))
        index.unload('plot')
        assert asleep(index) == {'plot'}
        assert nearest(index, range(COUNT + 10)) == [f'p{n}' for n in range(COUNT + 10)]
        assert loads == {'plot': 1}
        graph = index._store.state.graphs.get('plot')
        assert graph is not None
        assert graph.churn == 0  # nothing came to it after its file
        index.unload('plot')
        index.unload('plot')
        index.unload('chunks__embedding')
        assert asleep(index) == {'plot', 'chunks__embedding'}
        with pytest.raises(QueryError, match='search_field is missing'):
            index.unload()


def test_a_reader_unloads_without_saving(made: Path, loads: Counter[str]) -> None:
    """A reader's graph is let go of, and what its file lacks is added again at the next search."""
    with Pages(work_dir=made) as writer, Pages(work_dir=made, read_only=True) as reader:
        writer.index(pages(range(COUNT, COUNT + 10)))
        nearest(reader, range(1))
        loads.clear()
        reader.unload('plot')
        assert nearest(reader, range(COUNT + 10)) == [f'p{n}' for n in range(COUNT + 10)]
        assert loads == {'plot': 1}


def test_unload_is_refused_inside_a_batch_and_after_closing(made: Path) -> None:
    """Inside a batch `unload` is a `QueryError`, afterwards a `ClosedIndexError`."""
    index = Pages(work_dir=made)
    with index.batch(), pytest.raises(QueryError, match='inside a batch'):
        index.unload('plot')
    index.close()
    with pytest.raises(ClosedIndexError):
        index.unload('plot')
    with pytest.raises(ClosedIndexError):
        index.warm_up()


def test_warm_up_loads_what_is_not_loaded(made: Path, loads: Counter[str]) -> None:
    """`warm_up` loads one field's graph, or all; it returns the seconds that it took."""
    with Pages(work_dir=made, lazy=True) as index:
        assert index.warm_up('poster') > 0
        assert loads == {'poster': 1}
        index.warm_up()
        assert not asleep(index)
        assert set(loads.values()) == {1}


def test_warm_up_of_nothing(tmp_path: Path) -> None:
    """An empty index can be warmed up, and one with empty lists."""
    with Pages(work_dir=tmp_path) as index:
        index.warm_up()
        index.index(Page(id='a', plot=VECTORS[0, :4], poster=VECTORS[0, 4:]))
        index.warm_up()
        index.warm_up('chunks__embedding')


@pytest.mark.skipif(sys.platform != 'linux', reason='says how much memory a process has')
def test_memory_comes_back(tmp_path: Path) -> None:
    """After `unload` the process needs less memory, by a good part of the graph."""
    program = textwrap.dedent("""
        import resource
        from pathlib import Path
        import numpy as np
        from docindex import BaseDoc, HnswDocumentIndex, NdArray

        class Note(BaseDoc):
            vector: NdArray[512]

        def resident():
            return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()

        vectors = np.random.default_rng(0).standard_normal((2_000, 512)).astype(np.float32)
        with HnswDocumentIndex[Note](work_dir='notes') as index:
            index.configure(max_elements=50_000)
            index.index(Note(id=str(n), vector=vector) for n, vector in enumerate(vectors))
            before = resident()
            index.unload('vector')
            print(before - resident())
    """)
    ended = run(program, cwd=tmp_path)
    assert int(ended.stdout or '0') > 2_000 * 512 * 4 / 2, ended.stderr
