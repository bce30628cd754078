"""`Field(index_dim=...)`: part of each vector in the graph, its candidates compared exactly."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray, SettingsError
from docindex.fields import VectorSettings
from docindex.hnsw import reduction, rescoring, search
from docindex.hnsw.graph import ShortAnswerError
from docindex.hnsw.graphs import GraphCache
from docindex.hnsw.reduction import projection, reduced
from docindex.testing import ExactIndex

DIM, CUT, COUNT = 12, 4, 300
BOTH = ('prefix', 'projection')
SPACES = ('l2', 'ip', 'cosine')
random = np.random.default_rng(0)
VECTORS = random.normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = random.normal(size=(6, DIM)).astype(np.float32)
ALL = 1_000  # an `ef` with which all vectors are candidates


class Plain(BaseDoc):
    kind: int
    v: NdArray[DIM]


def schema(**settings: Any) -> Any:
    settings = {'index_dim': CUT, **settings}
    return create_model('Doc', __base__=Plain, v=(NdArray[DIM], Field(**settings)))


def docs(doc_type: Any, vectors: Any = VECTORS, first: int = 0) -> list[Any]:
    return [doc_type(id=f'd{at}', kind=at % 10, v=vector) for at, vector in enumerate(vectors, first)]


def oracle_of(space: str, content: list[Any]) -> ExactIndex[Any]:
    oracle: ExactIndex[Any] = ExactIndex({'v': space})
    oracle.docs = {doc.id: doc for doc in content}
    return oracle


@pytest.fixture(params=[(space, by) for space in SPACES for by in BOTH], ids=lambda param: '-'.join(param))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, ExactIndex[Any], str]]:
    """An index for each space and way, the exact answers, and the space."""
    space, by = request.param
    doc_type = schema(space=space, index_by=by)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        yield index, oracle_of(space, docs(doc_type)), space


def graph_of(index: Any, field: str = 'v') -> Any:
    return index._store.state.graphs.get(field)


# -- searching -----------------------------------------------------------------------------------------


def test_with_all_as_candidates_answers_are_exact(kept: Any) -> None:
    """With as many candidates as there are vectors, every search has the documents and distances of an exact one."""
    index, oracle, _ = kept
    for query in QUERIES:
        for limit in (1, 10, COUNT, COUNT + 5):
            oracle.check(index.find(query, limit=limit, ef=ALL), query, 'v', limit=limit)
            oracle.check(index.find(query, limit=limit, exact=True), query, 'v', limit=limit)


def test_scores_are_exact_whatever_is_found(kept: Any) -> None:
    """With few candidates something may be missed, but each score is the distance of the whole vectors, in order."""
    index, oracle, _ = kept
    for query in QUERIES:
        found, true = index.find(query, limit=10, ef=10), oracle.distances(query, 'v')
        assert found.scores.tolist() == sorted(found.scores.tolist())
        np.testing.assert_allclose(found.scores, [true[doc.id] for doc in found.documents], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('cutoff', [0, None])
@pytest.mark.parametrize('filter_', [{'kind': 3}, {'kind': {'$lt': 5}}, {'kind': {'$gte': 1}}, {'kind': 99}], ids=str)
def test_filtered_searches_are_exact_too(kept: Any, cutoff: int | None, filter_: Any) -> None:
    """Whichever way a filtered search goes, with enough candidates its answer is that of an exact one."""
    index, oracle, space = kept
    index.configure(flat_search_cutoff=cutoff)
    among = oracle_of(space, [oracle.docs[doc.id] for doc in index.filter(filter_, limit=None)])
    for query in QUERIES:
        for _ in range(2):
            among.check(index.find(query, limit=5, filter=filter_, ef=ALL), query, 'v', limit=5)


def test_a_filter_gets_as_many_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filtered search compares at least `ef` of those that match, in whatever way the graph is asked."""
    compared: list[set[int]] = []
    scan = rescoring.scan

    def noted(queries: Any, k: int, space: Any, file: Any, labels: Any, *more: Any) -> Any:
        compared.append({label for label in labels.tolist() if label % 10 < 5})
        return scan(queries, k, space, file, labels, *more)

    doc_type = schema(flat_search_cutoff=0)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        for module in (rescoring, search):
            monkeypatch.setattr(module, 'scan', noted)
        for query in QUERIES:
            compared.clear()
            assert len(index.find(query, limit=3, ef=60, filter={'kind': {'$lt': 5}}).documents) == 3
            assert max(map(len, compared)) >= 60


def test_clusters_that_lie_apart_are_not_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the graph reaches fewer candidates than it is asked for, those are compared, and not all there are."""
    centres = 100 * np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    vectors = np.repeat(centres, 100, axis=0) + 0.1 * np.random.default_rng(2).normal(size=(2_000, DIM))
    doc_type = schema(index_dim=8, M=2)
    monkeypatch.setattr(GraphCache, '_look_at_some', lambda self, field: None)  # or the graph would not be asked
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type, vectors.astype(np.float32)))
        exact = [found.id for found in index.find_batched(centres, limit=3, exact=True).documents]
        with pytest.raises(ShortAnswerError):
            graph_of(index).candidates(centres, 400, 400)
        monkeypatch.setattr(search.FieldSearch, '_scan', None)
        assert [found.id for found in index.find_batched(centres, limit=3, ef=400).documents] == exact


def test_batches_are_answered_as_single_queries(kept: Any) -> None:
    """`find_batched` gives what `find` gives each."""
    index, _, _ = kept
    together = index.find_batched(QUERIES, limit=7)
    for query, documents, scores in zip(QUERIES, together.documents, together.scores, strict=True):
        alone = index.find(query, limit=7)
        assert documents.id == alone.documents.id
        np.testing.assert_allclose(scores, alone.scores, rtol=1e-6)


# -- changes -------------------------------------------------------------------------------------------


def test_changes_and_reopening_keep_answers_exact(kept: Any, tmp_path: Path) -> None:
    """Updates, deletions, additions, compaction and reopening leave an index that is sound and exact."""
    index, oracle, space = kept
    doc_type = type(index['d0'])
    for at in range(0, COUNT, 3):
        del oracle.docs[f'd{at}']
    index.delete([f'd{at}' for at in range(0, COUNT, 3)])
    for changed in docs(doc_type, -VECTORS[:50], first=100) + docs(doc_type, VECTORS[:7], first=1000):
        oracle.docs[changed.id] = changed
        index.index(changed)

    def check(index: Any) -> None:
        for query in QUERIES:
            oracle.check(index.find(query, limit=20, ef=ALL), query, 'v', limit=20)
        assert index.verify().is_sound
        assert not sum(index.verify().unreachable.values())

    check(index)
    index.compact()
    check(index)
    assert space == index.settings('v')['space']
    index.close()
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as again:  # type: ignore[valid-type]
        assert not again._store.state.graphs.rejected
        check(again)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path, read_only=True) as reader:  # type: ignore[valid-type]
        for query in QUERIES:
            oracle.check(reader.find(query, limit=20, ef=ALL), query, 'v', limit=20)


@pytest.mark.parametrize('space', SPACES)
def test_vectors_that_differ_behind_the_prefix_are_told_apart(space: Any, tmp_path: Path) -> None:
    """Hundreds of vectors with one prefix share a node, and each is found by its own vector, also after deletions."""
    alike = VECTORS.copy()
    alike[: COUNT // 2, :CUT] = alike[0, :CUT]
    doc_type = schema(space=space)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type, alike))
        assert graph_of(index).held == COUNT - COUNT // 2 + 1
        oracle = oracle_of(space, docs(doc_type, alike))
        for deleted in ([], ['d0'], [f'd{at}' for at in range(1, COUNT, 2)]):
            index.delete(deleted)
            for id_ in deleted:
                del oracle.docs[id_]
            for at in (2, 40, 148, 200):
                # Whoever is on a node that was found is compared, so one candidate may be many more vectors.
                if space != 'ip' and f'd{at}' in oracle.docs:
                    assert index.find(alike[at], limit=1, ef=1).documents.id == [f'd{at}']
                oracle.check(index.find(alike[at], limit=5, ef=ALL), alike[at], 'v', limit=5)
                among = oracle_of(space, [doc for doc in oracle.docs.values() if doc.kind < 5])
                found = index.find(alike[at], limit=5, ef=ALL, filter={'kind': {'$lt': 5}})
                among.check(found, alike[at], 'v', limit=5)
        assert index.verify().is_sound


def test_equal_vectors_share_a_node_of_a_projection(tmp_path: Path) -> None:
    """Equal vectors have equal projections to the bit, however many are projected at once."""
    doc_type = schema(index_by='projection', space='cosine')
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type, VECTORS))
        index.index(docs(doc_type, VECTORS[:1], first=1000))
        index.index(docs(doc_type, VECTORS[:37], first=2000))
        assert graph_of(index).held == COUNT


@pytest.mark.parametrize('index_by', BOTH)
def test_vectors_as_long_as_float32_has_them_have_directions(index_by: str, tmp_path: Path) -> None:
    """With 'cosine' no vector is too long for a part of it, and the graph's file is good for the next opening."""
    doc_type = schema(space='cosine', index_by=index_by)
    longest = np.copysign(np.float32(3.4e38), VECTORS)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type, longest))
        assert index.stats().fields['v'].behind == 0
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        assert index._store.state.graphs.rejected == {}
        oracle = oracle_of('cosine', docs(doc_type, longest))
        for query in QUERIES:
            oracle.check(index.find(query, limit=10, ef=ALL), query, 'v', limit=10)


def test_a_prefix_of_zeros_is_no_obstacle(tmp_path: Path) -> None:
    """Where the prefix of some vectors is zero they share a node, and are found under cosine too."""
    some = VECTORS.copy()
    some[::2, :CUT] = 0
    doc_type = schema(space='cosine')
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type, some))
        oracle = oracle_of('cosine', docs(doc_type, some))
        for query in (*QUERIES, some[0]):
            oracle.check(index.find(query, limit=10, ef=ALL), query, 'v', limit=10)
        assert index.verify().is_sound


def test_lists_and_nested_documents_have_it_too(tmp_path: Path) -> None:
    """The settings work for documents in lists and nested ones, each with its own."""

    class Chunk(BaseDoc):
        v: NdArray[DIM] = Field(index_dim=3, index_by='projection', ef=ALL)

    class Part(BaseDoc):
        v: NdArray[DIM] = Field(index_dim=5, ef=ALL)

    class Whole(BaseDoc):
        part: Part
        chunks: DocList[Chunk]

    def whole(at: int) -> Whole:
        chunks = DocList[Chunk]([Chunk(id=f'{at}/{n}', v=VECTORS[3 * at + n]) for n in range(3)])
        return Whole(id=str(at), part=Part(id='p', v=VECTORS[at]), chunks=chunks)

    with HnswDocumentIndex[Whole](work_dir=tmp_path) as index:
        index.index([whole(at) for at in range(COUNT // 3)])
        assert graph_of(index, 'chunks__v').settings.graph_dim == 3
        for at in (0, 17, 50):
            assert index.find(VECTORS[at], 'part__v', limit=1).documents.id == [str(at)]
            assert index.find_subindex(VECTORS[at], 'chunks', 'v', limit=1).documents.id == [f'{at // 3}/{at % 3}']
        assert index.verify().is_sound


# -- settings ------------------------------------------------------------------------------------------


def test_the_graph_takes_less_room(tmp_path: Path) -> None:
    """A graph file has `index_dim` values of each vector, and the vector file all of them."""
    sizes = {}
    for cut in (CUT, DIM):
        doc_type = schema(index_dim=cut)
        with HnswDocumentIndex[doc_type](work_dir=tmp_path / str(cut)) as index:  # type: ignore[valid-type]
            index.index(docs(doc_type))
        sizes[cut] = [
            sum(file.stat().st_size for file in tmp_path.glob(f'{cut}/{part}/*')) for part in ('graphs', 'vectors')
        ]
    assert sizes[DIM][0] - sizes[CUT][0] == COUNT * 4 * (DIM - CUT)
    assert sizes[DIM][1] == sizes[CUT][1]


@pytest.mark.parametrize(
    ('before', 'after', 'is_rebuilt'),
    [
        ({}, {'index_dim': 5}, True),
        ({}, {'index_by': 'projection'}, True),
        ({}, {'index_dim': DIM}, True),
        ({'index_dim': DIM}, {'index_dim': CUT}, True),
        ({'index_by': 'projection'}, {'index_by': 'projection', 'random_seed': 7}, True),
        ({'index_dim': DIM}, {'index_dim': DIM, 'index_by': 'projection'}, False),
        ({}, {'oversampling': 3}, False),
    ],
    ids=str,
)
def test_another_schema_rebuilds_the_graph(
    before: Any, after: Any, is_rebuilt: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands in the graph can be changed in the schema: the next opening makes the graph anew where it must."""
    first, then = schema(**before), schema(**after)
    with HnswDocumentIndex[first](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(first))
    with HnswDocumentIndex[then](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        assert ('was built with other settings' in caplog.text) == is_rebuilt
        for query in QUERIES:
            oracle_of('l2', docs(then)).check(index.find(query, limit=5, ef=ALL), query, 'v', limit=5)
        assert index.verify().is_sound


def test_a_graph_in_use_cannot_be_reduced(kept: Any) -> None:
    """`configure` refuses what is built into a graph, and takes `oversampling`."""
    index, _, _ = kept
    for given in ({'index_dim': 5}, {'index_dim': None}):
        with pytest.raises(SettingsError, match=r'index_dim.* cannot be changed while the graph is in use'):
            index.configure(**given)
    index.configure(oversampling=30)
    assert VectorSettings(**index.settings('v')).search_ef(50) == 1_500


def test_index_dim_is_at_most_dim(tmp_path: Path) -> None:
    """More values than a vector has are refused, with both numbers."""
    doc_type = schema(index_dim=DIM + 1)
    with pytest.raises(SettingsError, match=rf'v: index_dim \({DIM + 1}\) is larger than dim \({DIM}\)'):
        HnswDocumentIndex[doc_type](work_dir=tmp_path)  # type: ignore[valid-type]


def test_without_it_nothing_is_compared_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `index_dim` equal to `dim` a search is the graph's own, and automatic `ef` is as without."""
    doc_type = schema(index_dim=DIM)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        monkeypatch.setattr(rescoring, 'scan', None)
        assert index.find(VECTORS[3], limit=1).documents.id == ['d3']
    assert VectorSettings(dim=DIM, index_dim=DIM).search_ef(100) == VectorSettings(dim=DIM).search_ef(100)


# -- the projection ------------------------------------------------------------------------------------


def test_a_projection_is_the_same_for_ever() -> None:
    """The matrix follows from three numbers, and from nothing else: stored graphs rest on it."""
    signs = np.signbit(projection(10, 3, 100))
    assert hashlib.sha256(np.packbits(signs).tobytes()).hexdigest()[:16] == 'cbeb8e997d76b66e'
    assert (np.abs(projection(10, 3, 100)) == 0.25).all()
    assert not np.array_equal(projection(10, 3, 100), projection(10, 3, 101))


@pytest.mark.parametrize(('dim', 'cut'), [(1, 1), (2, 1), (16, 15), (384, 64), (100, 99)])
def test_the_rows_of_a_projection_are_orthogonal(dim: int, cut: int) -> None:
    """Where `dim` is a power of two the rows are orthonormal; otherwise they are cut, and lengthen no vector."""
    matrix = projection(dim, cut, 1).astype(np.float64)
    assert matrix.shape == (cut, dim)
    assert np.linalg.svd(matrix, compute_uv=False).max() <= 1 + 1e-6
    if dim & (dim - 1) == 0:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(cut), atol=1e-6)


def test_a_projection_keeps_distances_on_average() -> None:
    """Distances of projected vectors, scaled by the share that is left, are near the true ones."""
    settings = VectorSettings(dim=384, index_dim=128, index_by='projection')
    some, others = np.random.default_rng(1).normal(size=(2, 500, 384)).astype(np.float32)
    true = ((some - others) ** 2).sum(axis=1)
    ratio = ((reduced(some, settings) - reduced(others, settings)) ** 2).sum(axis=1) / true * 512 / 128
    assert abs(ratio.mean() - 1) < 0.02
    assert ratio.std() < 0.15


def test_another_projection_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A graph file that was made with another matrix than this version makes is not used."""
    doc_type = schema(index_by='projection')
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
    original = reduction.projection
    monkeypatch.setattr(reduction, 'projection', lambda *numbers: -original(*numbers)[::-1])
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        assert 'was built with other settings' in caplog.text
        assert index.verify().is_sound


# -- damage --------------------------------------------------------------------------------------------


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)


def test_a_damaged_vector_is_not_made_up(tmp_path: Path) -> None:
    """`verify` lists a damaged vector and leaves it: the graph has only a part of it."""
    doc_type = schema()
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
    flip(tmp_path / 'vectors' / 'v.0.f32', 64 + 7 * (4 * DIM + 4) + 4 * (DIM - 1))
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        report = index.verify(repair=True)
        assert [(problem.id, problem.is_mended) for problem in report.problems] == [('d7', False)]
        with pytest.raises(Exception, match='row 7'):
            index.find(VECTORS[7], limit=1)


def test_a_graph_of_other_vectors_is_noticed(tmp_path: Path) -> None:
    """`verify` finds a graph whose values are not those of the vectors, and makes it anew."""
    doc_type = schema(index_by='projection')
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        graph = graph_of(index)
        graph._index.add_items(graph.ready(VECTORS[:5] * 3), np.arange(5))
        report = index.verify(repair=True)
        assert report.is_sound
        assert len(report.problems) == 1
        assert index.verify().problems == []


# -- other processes -----------------------------------------------------------------------------------


def test_a_reader_follows_to_another_graph(tmp_path: Path) -> None:
    """A reader goes on, exact, when a writer has opened the directory with another `index_dim`."""
    before, after = schema(ef=ALL), schema(ef=ALL, index_dim=7, index_by='projection')
    with HnswDocumentIndex[before](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(before))
    with HnswDocumentIndex[before](work_dir=tmp_path, read_only=True) as reader:  # type: ignore[valid-type]
        oracle = oracle_of('l2', docs(before))
        oracle.check(reader.find(QUERIES[0], limit=9), QUERIES[0], 'v', limit=9)
        with HnswDocumentIndex[after](work_dir=tmp_path) as index:  # type: ignore[valid-type]
            index.index(docs(after, VECTORS[:5] * 2, first=COUNT))
            oracle.docs.update({doc.id: doc for doc in docs(before, VECTORS[:5] * 2, first=COUNT)})
            for query in QUERIES:
                oracle.check(reader.find(query, limit=9), query, 'v', limit=9)
            assert graph_of(reader).settings.graph_dim == 7
        assert reader.verify().is_sound


def test_a_projection_finds_where_a_prefix_says_nothing(tmp_path: Path) -> None:
    """Of vectors whose first values are noise, a projection gives more of the true neighbours than a prefix."""
    values = np.random.default_rng(7).normal(size=(COUNT, 64)).astype(np.float32)
    values[:, :16] *= 0.01
    found = {}
    for by in BOTH:
        settings = {'index_dim': 16, 'index_by': by, 'ef': 30}
        doc_type = create_model('Doc', __base__=BaseDoc, v=(NdArray[64], Field(**settings)))
        with HnswDocumentIndex[doc_type](work_dir=tmp_path / by) as index:  # type: ignore[valid-type]
            index.index([doc_type(id=str(at), v=value) for at, value in enumerate(values)])
            queries = values[:20] + np.float32(0.1)
            true = index.find_batched(queries, limit=10, exact=True).documents
            some = index.find_batched(queries, limit=10).documents
        found[by] = sum(len({*one.id} & {*other.id}) for one, other in zip(some, true, strict=True))
    assert found['projection'] > 2 * found['prefix']
