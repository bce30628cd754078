"""Recall that is measured, `ef` that is chosen by it, and the numbers of an index."""

from __future__ import annotations

import asyncio
import io
import itertools
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray
from docindex.distances import unit
from docindex.errors import DimensionError, MissingLibraryError, QueryError, ReadOnlyError
from docindex.hnsw.search import FieldSearch
from docindex.hnsw.state import View
from docindex.hnsw.store import Store


class Chunk(BaseDoc):
    embedding: NdArray[8]


class Note(BaseDoc):
    vector: NdArray[24]
    plain: NdArray[3] | None = Field(None, index=False)
    chunks: DocList[Chunk] = DocList[Chunk]()


Notes = HnswDocumentIndex[Note]
VECTORS = np.random.default_rng(3).standard_normal((1500, 24)).astype(np.float32)


def filled(path: Path, vectors: Any = VECTORS, **settings: Any) -> HnswDocumentIndex[Note]:
    index = Notes(work_dir=path, default_column_config={np.ndarray: {'M': 4, 'ef_construction': 20, **settings}})
    index.index(
        Note(id=str(n), vector=vector, chunks=[Chunk(id=f'c{n}', embedding=vector[:8])])
        for n, vector in enumerate(vectors)
    )
    return index


def true_recall(index: HnswDocumentIndex[Note], queries: Any, ef: int) -> float:
    found = index.find_batched(queries, 'vector', 10, ef=ef).documents
    true = index.find_batched(queries, 'vector', 10, exact=True).documents
    return float(np.mean([len(set(a.id) & set(b.id)) / 10 for a, b in zip(found, true, strict=True)]))


def test_tune_stores_the_smallest_ef_that_is_enough(tmp_path: Path) -> None:
    """The chosen `ef` reaches the aim, one that is clearly smaller does not, and it is there when reopened."""
    with filled(tmp_path) as index:
        result = index.tune('vector', 0.9, sample=200)
        assert result.is_reached
        assert result.is_stored
        assert result.recall >= 0.9
        assert index.recall('vector', sample=200) == result.recall
        assert index.recall('vector', ef=result.ef * 4 // 5, sample=200) < 0.9
        assert [point.ef for point in result.curve] == sorted({point.ef for point in result.curve})
        assert f'ef={result.ef} ' in str(result)
    with Notes(work_dir=tmp_path) as index:
        assert index.settings('vector')['ef'] == result.ef
        assert index.settings('chunks__embedding')['ef'] is None


def test_recall_is_what_one_would_count(tmp_path: Path) -> None:
    """With queries of one's own, `recall` is the share of the true neighbours that `find` returns."""
    queries = np.random.default_rng(4).standard_normal((100, 24)).astype(np.float32)
    with filled(tmp_path) as index:
        for ef in (10, 30):
            assert index.recall('vector', ef=ef, queries=queries) == pytest.approx(true_recall(index, queries, ef))
        assert index.recall('vector', ef=10) < index.recall('vector', ef=100)


def test_without_queries_recall_does_not_promise_too_much(tmp_path: Path) -> None:
    """Measured beside the stored vectors recall is nearer to that of new queries than measured with them."""
    queries = np.random.default_rng(4).standard_normal((300, 24)).astype(np.float32)
    with filled(tmp_path) as index:
        new = index.recall('vector', ef=15, queries=queries)
        stored = index.recall('vector', ef=15, queries=VECTORS[:300])
        assert abs(index.recall('vector', ef=15, sample=300) - new) < abs(stored - new)


def test_the_same_sample_each_time(tmp_path: Path) -> None:
    """Two measurements of one graph agree."""
    with filled(tmp_path) as index:
        assert index.recall('vector', ef=10, sample=50) == index.recall('vector', ef=10, sample=50)


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
def test_equal_vectors_are_no_misses(tmp_path: Path, space: str) -> None:
    """Where many vectors are equal, any of them is a right answer."""
    few = np.repeat(VECTORS[:12], 25, axis=0)
    with filled(tmp_path, few, space=space) as index:
        assert index.recall('vector', ef=200) == 1
        assert index.recall('chunks__embedding', ef=200) == 1


def test_parallel_vectors_are_equal_in_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a stored vector means beside those parallel to it, too: no query is one of them, or turned away."""
    few = VECTORS[:100]
    asked, nearest = [], FieldSearch.nearest

    def noted(search: FieldSearch, queries: Any, limit: int, exact: bool, ef: int | None) -> Any:
        if exact:
            asked.extend(queries)
        return nearest(search, queries, limit, exact, ef)

    with filled(tmp_path, np.concatenate([few, 2 * few, 3 * few]), space='cosine') as index:
        monkeypatch.setattr(FieldSearch, 'nearest', noted)
        index.recall('vector')
        cosines = (unit(np.array(asked)) @ unit(few).T).max(axis=1)
        assert len(cosines) == 300
        assert ((cosines > 0.5) & (cosines < 0.99)).all()


def test_lengths_do_not_matter_in_cosine(tmp_path: Path) -> None:
    """In the space cosine recall is that of the directions, however long the vectors are."""
    few = VECTORS[:300]
    lengths = 2.0 ** np.random.default_rng(4).integers(-3, 4, (300, 1))
    with (
        filled(tmp_path / 'alike', few, space='cosine', num_threads=1) as alike,
        filled(tmp_path / 'unlike', few * lengths, space='cosine', num_threads=1) as unlike,
    ):
        assert unlike.recall('vector', ef=10) == alike.recall('vector', ef=10) < 1


def test_an_aim_that_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no `ef` is enough, the result says so, and nothing is stored."""
    monkeypatch.setattr('docindex.hnsw.tuning._LARGEST', 3)
    with filled(tmp_path) as index:
        result = index.tune('vector', 1.0, sample=100)
        assert (result.is_reached, result.is_stored, result.ef) == (False, False, 30)
        assert 'no ef up to 30 reaches a recall@10 of 1' in str(result)
        assert index.settings('vector')['ef'] is None


def test_tune_only_measures_if_told(tmp_path: Path) -> None:
    """With `store=False` nothing changes; a reader can do that, and is refused otherwise before any work."""
    with filled(tmp_path) as index:
        result = index.tune('vector', 0.8, sample=50, store=False)
        assert result.is_reached
        assert not result.is_stored
        assert index.settings('vector')['ef'] is None
        with Notes(work_dir=tmp_path, read_only=True) as reader:
            assert reader.tune('vector', 0.8, sample=50, store=False).is_reached
            with pytest.raises(ReadOnlyError, match='store=False'):
                reader.tune('vector', 0.8)


def test_tune_in_lists_and_subclasses_of_calls(tmp_path: Path) -> None:
    """Vectors of documents in lists are tuned by their flat name; the async twins do the same."""
    with filled(tmp_path) as index:
        result = index.tune('chunks__embedding', 0.9, sample=50)
        assert index.settings('chunks__embedding')['ef'] == result.ef
        again = asyncio.run(index.atune('chunks__embedding', 0.9, sample=50, store=False))
        assert again.ef == result.ef
        assert asyncio.run(index.arecall('chunks__embedding', sample=50)) == result.recall


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('queries', [None, VECTORS[:5]])
def test_fewer_than_two_vectors_are_refused(tmp_path: Path, count: int, queries: Any) -> None:
    """Where there is no vector, or one, nothing is measured or stored, be it with queries of one's own or without."""
    with filled(tmp_path, VECTORS[:count]) as index:
        for measure in (index.recall, index.tune):
            with pytest.raises(
                QueryError, match=f'vector: recall .* two stored vectors or more, and there are {count}'
            ):
                measure('vector', queries=queries)
        assert index.settings('vector')['ef'] is None


@pytest.mark.parametrize('moment', ['searching exactly', 'measuring'])
@pytest.mark.parametrize('queries', [None, VECTORS[:5]])
def test_documents_vanish_while_recall_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, queries: Any
) -> None:
    """If all documents are deleted meanwhile, that is said, and no `ef` is stored that was measured among nothing."""
    with filled(tmp_path, VECTORS[:20]) as index:

        @contextmanager
        def delete_all(total: object, what: str, *others: object) -> Iterator[Callable[[int], object]]:
            if what == moment:
                index.delete(list(index))
            yield lambda done: None

        monkeypatch.setattr('docindex.hnsw.tuning.progress_bar', delete_all)
        with pytest.raises(QueryError, match='there are 0'):
            index.tune('vector', queries=queries)
        assert index.settings('vector')['ef'] is None


@pytest.mark.parametrize('queries', [None, VECTORS[:20] + 0.5])
def test_a_graph_that_is_unloaded_is_measured_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queries: Any
) -> None:
    """Another thread may call `unload` at any moment: exact searches without the graph do not count as its answers."""
    with filled(tmp_path, VECTORS[:300]) as index:
        expected = index.recall('vector', ef=10, queries=queries, sample=20)
        turns, read = itertools.count(), Store.reading

        def unload_and_read(store: Store) -> AbstractContextManager[View]:
            if next(turns) % 2:  # at each second: or waking would have no end
                index.unload('vector')
            return read(store)

        monkeypatch.setattr(Store, 'reading', unload_and_read)
        assert index.recall('vector', ef=10, queries=queries, sample=20) == expected < 0.95


def test_a_graph_that_is_given_up_is_measured_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the field has no graph any more while it is measured, that is said, and nothing is stored."""
    with filled(tmp_path, VECTORS[:20]) as index:

        @contextmanager
        def without_graph(*arguments: object) -> Iterator[Callable[[int], object]]:
            index.configure(search_field='vector', index=False)
            yield lambda done: None

        monkeypatch.setattr('docindex.hnsw.tuning.progress_bar', without_graph)
        with pytest.raises(QueryError, match='no graph'):
            index.tune('vector')


def test_small_indexes(tmp_path: Path) -> None:
    """With fewer documents than `limit` recall is measured for those."""
    with filled(tmp_path, VECTORS[:1]) as index:
        index.index(Note(id=str(n), vector=VECTORS[n]) for n in range(5))
        assert index.recall('vector', limit=10) == 1
        assert index.tune('vector', limit=10).is_reached


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'recall': 0}, 'recall must be'),
        ({'recall': 95}, 'recall must be'),
        ({'recall': np.float32(95)}, 'recall must be'),
        ({'recall': np.bool_(True)}, 'recall must be'),
        ({'limit': 0}, 'limit must be'),
        ({'sample': 0}, 'sample must be'),
        ({'sample': 1.5}, 'sample must be'),
        ({'queries': []}, 'no queries'),
        ({'search_field': 'plain'}, 'index=False'),
        ({'search_field': 'nothing'}, 'not a vector field'),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    """Arguments out of range are refused with a word about what was expected."""
    with filled(tmp_path, VECTORS[:20]) as index, pytest.raises(QueryError, match=words):
        index.tune(**{'search_field': 'vector', **given})


def test_an_aim_that_numpy_has_computed(tmp_path: Path) -> None:
    """A number of numpy is a number, and the result has one of Python."""
    with filled(tmp_path, VECTORS[:20]) as index:
        for target in (np.float16(0.9), np.float32(0.9), np.float64(0.9), np.int64(1)):
            result = index.tune('vector', target)
            assert result.is_reached
            assert result.target == pytest.approx(float(target))
            assert type(result.target) is float


@pytest.mark.parametrize('field', ['vector', 'plain'])
@pytest.mark.parametrize('limit', [-3, 0, 'x'])
def test_recall_checks_its_limit(tmp_path: Path, field: str, limit: Any) -> None:
    """A `limit` that makes no sense is refused also where there is no graph, and nothing to measure."""
    with filled(tmp_path, VECTORS[:20]) as index, pytest.raises(QueryError, match='limit must be'):
        index.recall(field, limit)


def test_a_field_without_a_graph_finds_all(tmp_path: Path) -> None:
    """Searches without a graph are exact: recall is 1."""
    with filled(tmp_path, VECTORS[:20]) as index:
        assert index.recall('plain') == 1
        with pytest.raises(DimensionError):
            index.recall('vector', queries=[[1.0, 2.0]])
        with index.batch(), pytest.raises(QueryError, match='inside a batch'):
            index.tune('vector')


def test_a_figure(tmp_path: Path) -> None:
    """With `plot=True` the result has a figure with the curve, points beyond the choice included."""
    pytest.importorskip('matplotlib')
    with filled(tmp_path, VECTORS[:300]) as index:
        result = index.tune('vector', 0.8, sample=50, plot=True)
        assert max(point.ef for point in result.curve) >= 8 * result.ef
        image = io.BytesIO()
        result.figure.savefig(image, format='png')
        assert image.getvalue()[:4] == b'\x89PNG'
        assert result.figure.axes[0].get_title(loc='left') == result.title
        assert result.figure._repr_png_()[:4] == b'\x89PNG'  # a notebook shows it


def test_a_result_with_a_figure_goes_to_another_process(tmp_path: Path) -> None:
    """What `tune` returns can be pickled, with its figure, which a notebook shows there, too."""
    pytest.importorskip('matplotlib')
    with filled(tmp_path, VECTORS[:100]) as index:
        result = index.tune('vector', 0.8, sample=20, plot=True)
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert copy.figure.axes[0].get_title(loc='left') == result.title
    assert copy.figure._repr_png_() == result.figure._repr_png_()


def test_without_matplotlib_the_plot_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If matplotlib is missing, `plot=True` says what to install before it measures or stores anything."""
    for name in [name for name in sys.modules if name.partition('.')[0] == 'matplotlib']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    monkeypatch.setattr(FieldSearch, 'nearest', None)
    with filled(tmp_path, VECTORS[:20]) as index:
        with pytest.raises(MissingLibraryError, match='pip install matplotlib'):
            index.tune('vector', plot=True)
        assert index.settings('vector')['ef'] is None


# -- stats -----------------------------------------------------------------------------------------


def test_stats_count(tmp_path: Path) -> None:
    """`stats` has documents, vectors, dead versions, room, bytes and settings of each field."""
    with filled(tmp_path, VECTORS[:100], max_elements=500) as index:
        index.delete([str(n) for n in range(10)])
        index.update('20', vector=VECTORS[500])
        index.save_graphs()
        stats = index.stats()
        assert (stats.documents, stats.dead, stats.compactions) == ({'': 90, 'chunks': 90}, 21, 0)
        vector, chunks, plain = (stats.fields[name] for name in ('vector', 'chunks__embedding', 'plain'))
        assert (vector.vectors, vector.dead, vector.capacity, vector.behind) == (90, 11, 500, 0)
        assert (chunks.vectors, chunks.dead) == (90, 10)
        assert (plain.vectors, plain.is_loaded, plain.memory) == (0, False, 0)
        assert vector.settings['M'] == 4
        assert vector.graph_bytes == sum(path.stat().st_size for path in tmp_path.glob('graphs/vector.*'))
        assert vector.saving_seconds is not None
        assert vector.loading_seconds is None
        assert vector.memory > 500 * (4 * 24 + 8 * 4)
        index.unload('vector')
        assert 'not loaded' in str(index.stats())
        index.find(VECTORS[50], 'vector')
        assert index.stats().fields['vector'].loading_seconds is not None
        assert '90 documents, 90 chunks, 21 dead' in str(index.stats())
        index.compact()
        assert index.stats().dead == 0


def test_stats_of_a_graph_that_is_built_anew(tmp_path: Path) -> None:
    """What it took to load a graph is forgotten together with the graph: one that is built here was not loaded."""
    filled(tmp_path, VECTORS[:20]).close()
    with Notes(work_dir=tmp_path) as index:
        assert index.stats().fields['vector'].loading_seconds is not None
        for has_graph in (False, True):
            index.configure(search_field='vector', index=has_graph)
            assert index.stats().fields['vector'].is_loaded == has_graph
            assert index.stats().fields['vector'].loading_seconds is None
        assert index.stats().fields['chunks__embedding'].loading_seconds is not None
        index.unload('chunks__embedding')
        next(tmp_path.glob('graphs/chunks__embedding.*')).write_bytes(b'damaged')
        index.warm_up('chunks__embedding')
        assert index.stats().fields['chunks__embedding'].loading_seconds is None
