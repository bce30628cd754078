"""Where hnswlib cannot be imported, all but the graphs is there; they are completed when it can be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray
from docindex.errors import MissingLibraryError, SettingsError
from docindex.hnsw import graphless
from docindex.testing import DocumentIndexContract, OpenIndex, SubindexContract
from tests.programs import run


class Part(BaseDoc):
    embedding: NdArray[4]


class Note(BaseDoc):
    text: str = Field(default='', full_text=True)
    plot: NdArray[4]
    bare: NdArray[4] = Field(index=False)
    parts: DocList[Part] = DocList[Part]()


Notes = HnswDocumentIndex[Note]
COUNT = 60
VECTORS = np.random.default_rng(8).standard_normal((6 * COUNT, 4)).astype(np.float32)
PROGRAM = """
import sys
sys.modules['hnswlib'] = None
from tests.hnsw.test_without_hnswlib import *
work_dir, *numbers = sys.argv[1:]
first, stop = map(int, numbers)
"""
Without = Callable[[], AbstractContextManager[None]]


def notes(numbers: range) -> list[Note]:
    return [
        Note(
            id=f'n{n}',
            text=f'text {n}',
            plot=VECTORS[n],
            bare=-VECTORS[n],
            parts=[Part(id=f'p{n}', embedding=VECTORS[n])],
        )
        for n in numbers
    ]


def nearest(index: HnswDocumentIndex[Note], field: str = 'plot', **how: Any) -> list[list[str]]:
    """Return the ids of three neighbours of each of some vectors."""
    return [index.find(vector, field, 3, **how).documents.id for vector in VECTORS[:20]]


def graph_files(work_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((work_dir / 'graphs').iterdir())}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """What is done inside is done as if hnswlib were not installed."""

    @contextmanager
    def inside() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr('docindex.hnsw.graph._failure', ModuleNotFoundError("No module named 'hnswlib'"))
            patch.delattr('docindex.hnsw.graph.hnswlib')
            graphless.say_once.cache_clear()
            yield

    return inside


@pytest.fixture
def made(work_dir: Path) -> Path:
    """Return a directory that was made with hnswlib, with graph files."""
    with Notes(work_dir=work_dir) as index:
        index.index(notes(range(COUNT)))
    return work_dir


class _Without:
    @pytest.fixture
    def open_index(self, tmp_path: Path, without: Without) -> Iterator[OpenIndex]:
        def open_(doc_type: type[Any]) -> HnswDocumentIndex[Any]:
            return HnswDocumentIndex[doc_type](work_dir=tmp_path)  # type: ignore[valid-type]  # known when it runs

        with without():
            yield open_


class TestTheContract(_Without, DocumentIndexContract):
    """What every backend promises holds without hnswlib, too."""


class TestTheContractOfLists(_Without, SubindexContract):
    """So does what is promised of documents in lists."""


def test_a_process_without_hnswlib(work_dir: Path) -> None:
    """Without hnswlib a program indexes, filters, finds vectors and words, and is told once what is missing."""
    code = """
with Notes(work_dir=work_dir) as index:
    index.index(notes(range(first, stop)))
    assert nearest(index) == nearest(index, exact=True)
    assert nearest(index, 'bare') == nearest(index, 'bare', exact=True)
    assert index.find(VECTORS[7], 'parts__embedding', 1).documents.id == ['p7']
    assert index.filter({'text': 'text 3'}).id == ['n3']
    assert index.text_search('text 5', limit=1).documents.id == ['n5']
    assert index.find(VECTORS[7], 'plot', 1, filter={'text': 'text 3'}).documents.id == ['n3']
    assert index.verify().problems == []
    print(index.stats())
"""
    ended = run(PROGRAM + code, work_dir, 0, COUNT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('no hnswlib') == 2
    (said,) = ended.stderr.splitlines()
    assert 'hnswlib is not installed' in said
    assert '"hnswlib>=0.8,<0.9"' in said
    with Notes(work_dir=work_dir) as index:
        graphs = index.stats().fields
        assert {name: (one.is_loaded, one.behind) for name, one in graphs.items()} == {
            'plot': (True, 0),
            'bare': (False, 0),
            'parts__embedding': (True, 0),
        }
        assert nearest(index) == nearest(index, exact=True)
        assert index.verify().problems == []
    assert sorted(name.partition('.')[0] for name in graph_files(work_dir)) == ['parts__embedding', 'plot']


def test_graph_files_wait(made: Path, without: Without) -> None:
    """Writes without hnswlib leave the graph files as they are; the next opening with it adds what they lack."""
    files = graph_files(made)
    with without(), Notes(work_dir=made) as index:
        index.index(notes(range(COUNT, 2 * COUNT)))
        index.index([note.model_copy(update={'plot': VECTORS[n + 200]}) for n, note in enumerate(notes(range(10)))])
        index.delete([f'n{n}' for n in range(20, 30)])
        expected = nearest(index)
        assert graph_files(made) == files
    assert graph_files(made) == files
    with Notes(work_dir=made) as index:
        stats = index.stats().fields['plot']
        assert stats.loading_seconds is not None  # from the file, and not from nothing
        assert stats.behind == 0
        assert nearest(index) == expected
        assert index.verify().problems == []
    assert graph_files(made) != files


def test_nobody_tries_to_load_graphs(work_dir: Path, without: Without, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far the truth has left a graph behind, a write without hnswlib does not wait for it."""
    monkeypatch.setattr('docindex.hnsw.graphs._FAR_BEHIND', 10)
    with without():
        for how in ({}, {'lazy': True}, {'shared_writes': True}):
            with Notes(work_dir=work_dir, **how) as index:
                index.index(notes(range(COUNT)))
                index.save_graphs()
                index.unload('plot')
                assert nearest(index) == nearest(index, exact=True)
                assert index.warm_up() > 0


def test_a_compaction_without_hnswlib(made: Path, without: Without) -> None:
    """It renumbers what the graph files speak of, so they go; the next opening with hnswlib builds graphs anew."""
    with without(), Notes(work_dir=made) as index:
        index.delete([f'n{n}' for n in range(30, 50)])
        index.compact()
        expected = nearest(index)
        assert graph_files(made) == {}
    with Notes(work_dir=made) as index:
        assert index.stats().fields['plot'].behind == 0
        assert nearest(index) == expected
        assert index.verify().problems == []
    assert len(graph_files(made)) == 2


def test_sessions_with_and_without_hnswlib_take_turns(work_dir: Path, without: Without) -> None:
    """Whatever is written in which kind of session, searches are right in each, and graphs sound at the end."""
    random = np.random.default_rng(3)
    expected: set[str] = set()
    for session in range(10):
        with without() if session % 2 else nullcontext(), Notes(work_dir=work_dir) as index:
            written = [f'n{n}' for n in random.choice(COUNT, 20, replace=False)]
            index.index([notes(range(int(id_[1:]), int(id_[1:]) + 1))[0] for id_ in written])
            expected |= {*written}
            gone = random.choice(sorted(expected), 5, replace=False).tolist()
            index.delete(gone)
            expected -= {*gone}
            if session in (4, 7):
                index.compact()
            assert nearest(index) == nearest(index, exact=True)
            assert set(index.find(VECTORS[0], 'plot', COUNT).documents.id) == expected
    with Notes(work_dir=work_dir) as index:
        assert index.verify().problems == []


def test_a_reader_with_hnswlib_follows_a_writer_without(made: Path) -> None:
    """A process with graphs adds to them what another one writes that has none, and goes on after its compaction."""
    with Notes(work_dir=made, read_only=True) as reader:
        for code in (
            'Notes(work_dir=work_dir).index(notes(range(first, stop)))',
            'with Notes(work_dir=work_dir) as index: index.delete([f"n{n}" for n in range(5)]); index.compact()',
        ):
            ended = run(PROGRAM + code, made, COUNT, 2 * COUNT)
            assert ended.returncode == 0, ended.stderr
            assert nearest(reader) == nearest(reader, exact=True)
            assert reader.stats().fields['plot'].is_loaded
        assert len(reader) == 2 * COUNT - 5


def test_settings_of_graphs_that_cannot_be_there(made: Path, without: Without) -> None:
    """Without hnswlib settings change as with it: the graph of the next opening with hnswlib has them."""
    with without(), Notes(work_dir=made) as index:
        index.configure(search_field='plot', ef=77, index=False)
        index.configure(search_field='plot', index=True)
        index.configure(search_field='bare', index=True)
        with pytest.raises(SettingsError, match='M cannot be changed while the graph is in use'):
            index.configure(search_field='plot', M=8)
        assert nearest(index) == nearest(index, exact=True)
    with Notes(work_dir=made) as index:
        assert index.settings('plot')['ef'] == 77
        assert {name: one.behind for name, one in index.stats().fields.items() if one.is_loaded}.keys() == {
            'plot',
            'bare',
            'parts__embedding',
        }
        assert index.verify().problems == []


def test_what_needs_a_graph_says_so(made: Path, without: Without) -> None:
    """There is no `ef` to tune without a graph, as an error says that names the cure; recall is that of scans."""
    with without(), Notes(work_dir=made) as index:
        with pytest.raises(
            MissingLibraryError, match=r'tune needs hnswlib.*not installed.*hnswlib>=0.8,<0.9'
        ) as raised:
            index.tune('plot')
        assert raised.value.name == 'hnswlib'
        assert index.settings('plot')['ef'] is None
        assert index.recall('plot') == 1.0
        query = index.build_query().find(VECTORS[3], 'plot', limit=2)
        assert next(step.what for step in index.explain(query.build()).steps) == 'plot: compare with all vectors'


def test_exact_searches_need_no_warning(
    made: Path, without: Without, warnings_logged: pytest.LogCaptureFixture
) -> None:
    """Who asks for exact search gets what was asked for, and nothing in the log; others hear of it once."""
    with without(), Notes(work_dir=made) as index:
        index.index(notes(range(COUNT, COUNT + 5)))
        nearest(index, exact=True)
        nearest(index, 'bare')
        index.filter({'text': 'text 3'})
        index.text_search('text')
        assert warnings_logged.messages == []
        nearest(index)
        nearest(index, 'parts__embedding')
        assert len(warnings_logged.messages) == 1


@pytest.mark.parametrize('platform', ['linux', 'darwin', 'win32', 'freebsd14'])
def test_the_advice_is_for_this_system(platform: str, without: Without, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to install hnswlib comes with what brings a compiler on the system at hand."""
    monkeypatch.setattr(sys, 'platform', platform)
    with without():
        advice = graphless.how_to_install()
    assert advice.startswith('`pip install "hnswlib>=0.8,<0.9"` compiles it, for which it needs ')
    others = [words for name, words in graphless.COMPILERS.items() if name != platform]
    assert not any(words in advice for words in others)
    assert graphless.COMPILERS.get(platform, 'a C++ compiler') in advice


def test_the_advice_for_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment of conda hnswlib comes compiled, from conda-forge."""
    (tmp_path / 'conda-meta').mkdir()
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    assert graphless.how_to_install() == '`conda install -c conda-forge "hnswlib=0.8"`'


@pytest.mark.parametrize(
    ('module', 'why'),
    [
        ("raise ImportError('GLIBCXX_3.4.32 not found')", 'GLIBCXX_3.4.32 not found'),
        ('class Index: pass', 'it is older than 0.8, or chroma-hnswlib'),
    ],
)
def test_a_hnswlib_that_cannot_be_used(tmp_path: Path, module: str, why: str) -> None:
    """One of another machine, or another one by that name, counts as missing; the log has why, and what to install."""
    (tmp_path / 'hnswlib.py').write_text(module)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.hnsw.test_without_hnswlib import *
with Notes(work_dir=sys.argv[1] + '/notes') as index:
    index.index(notes(range(5)))
    print(index.find(VECTORS[3], 'plot', 1).documents.id)
"""
    ended = run(code, tmp_path)
    assert ended.stdout == "['n3']\n", ended.stderr
    assert f'hnswlib cannot be used ({why}). `pip install --no-cache-dir --force-reinstall' in ended.stderr
