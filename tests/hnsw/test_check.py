"""`verify`: what is sound is called sound, every damage is named, and the graphs are mended."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, CorruptIndexError, Field, HnswDocumentIndex, NdArray
from docindex.hnsw import graphs, mending, reachability
from docindex.hnsw.check import CheckReport, Problem
from docindex.hnsw.graph import Graph, ShortAnswerError
from docindex.hnsw.twins import Twins
from docindex.hnsw.unsynced import settle

HEADER = 64  # bytes before the rows of a vector file


class Cover(BaseDoc):
    thumbnail: NdArray[4] | None = None


class Note(BaseDoc):
    text: str
    embedding: NdArray[8] = Field(space='cosine')
    other: NdArray[8] | None = None
    cover: Cover | None = None
    extra: NdArray | None = Field(default=None, index=False)


Notes = HnswDocumentIndex[Note]


class Point(BaseDoc):
    embedding: NdArray[8]


Points = HnswDocumentIndex[Point]


def vectors(count: int, seed: int = 0, dim: int = 8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype('f4')


def notes(count: int, seed: int = 0) -> list[Note]:
    return [
        Note(
            id=f'n{at}',
            text=f'note {at} of {seed}',
            embedding=vectors(1, 1000 * seed + at)[0],
            other=vectors(1, 2000 * seed + at + 7)[0] if at % 3 else None,
            cover=Cover(id=f'c{at}', thumbnail=vectors(1, at, 4)[0] if at % 5 else None) if at % 2 else None,
        )
        for at in range(count)
    ]


@pytest.fixture
def churned(tmp_path: Path) -> Iterator[HnswDocumentIndex[Note]]:
    """100 notes, every fourth replaced, every tenth deleted: 90 documents, 125 labels that were given."""
    with Notes(work_dir=tmp_path / 'work') as index:
        index.index(notes(100))
        index.index(notes(100, seed=1)[::4])
        index.delete([f'n{at}' for at in range(0, 100, 10)])
        yield index


def label_of(index: HnswDocumentIndex[Any], id_: str) -> int:
    with index._store.reading() as view:
        return view.rows.labels_of([id_])[id_]


def flip(path: Path, offset: int) -> None:
    with path.open('r+b') as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def row_offset(label: int, dim: int = 8) -> int:
    return HEADER + label * (4 * dim + 4)


def edit(index: HnswDocumentIndex[Any], sql: str, *values: object) -> None:
    connection = sqlite3.connect(index._store._sidecar.path)
    with connection:
        assert connection.execute(sql, values).rowcount == 1
    connection.close()


def about(report: CheckReport) -> list[tuple[str | None, str | None]]:
    return [(problem.id, problem.field) for problem in report.problems]


def check_search(index: HnswDocumentIndex[Any], field: str = 'embedding') -> None:
    """Check that a search for each document that has a vector in a field is answered as exact search answers it."""
    for doc in index[list(index)]:
        if getattr(doc, field) is None:
            continue
        found, exact = index.find(doc, field, limit=3), index.find(doc, field, limit=3, exact=True)
        assert len(set(found.documents.id)) == len(exact.documents)
        np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-4, atol=1e-4)


# -- sound ---------------------------------------------------------------------------------------


def test_an_index_after_churn_is_sound(churned: HnswDocumentIndex[Note]) -> None:
    """An index of several fields, optional and nested vectors, replaced and deleted ones, is sound; all is counted."""
    living = churned[list(churned)]
    counts = {
        'embedding': 90,
        'other': sum(doc.other is not None for doc in living),
        'cover__thumbnail': sum(doc.cover is not None and doc.cover.thumbnail is not None for doc in living),
    }
    report = churned.verify()
    assert report.problems == []
    assert report.is_sound
    assert (report.documents, report.vectors) == (90, sum(counts.values()))
    assert report.unreachable == dict.fromkeys(counts, 0)
    assert str(report) == f'90 documents and {report.vectors} vectors read: sound'


@pytest.mark.parametrize('auto_compact', [False, 0.5])
def test_what_replaces_everything_is_found(tmp_path: Path, auto_compact: float) -> None:
    """After one call that gave every document another vector, each of them is found by its own, compacted or not."""
    with Points(work_dir=tmp_path, auto_compact=auto_compact) as index:
        for seed in (1, 51):
            index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(3000, seed))])
        found = index.find_batched(vectors(3000, 51), limit=1)
        assert [at for at, docs in enumerate(found.documents) if docs.id != [f'p{at}']] == []
        assert index.verify().is_sound


def test_what_replaces_everything_in_a_small_index_is_found(tmp_path: Path) -> None:
    """The same of a hundred documents with several fields."""
    with Notes(work_dir=tmp_path) as index:
        index.index(notes(100))
        index.index(notes(100, seed=1))
        check_search(index)
        assert index.verify().problems == []


def test_an_index_stays_sound(churned: HnswDocumentIndex[Note]) -> None:
    """It is sound after saving, compacting, reopening and with `repair`, which has nothing to do then."""
    churned.save_graphs()
    assert churned.verify(repair=True).problems == []
    churned.compact()
    assert churned.verify(repair=True).problems == []
    work_dir = churned.work_dir
    churned.close()
    with Notes(work_dir=work_dir) as reopened:
        assert reopened.verify().problems == []


def test_an_empty_index_is_sound(tmp_path: Path) -> None:
    """An index without documents, new or emptied, is sound."""
    with Notes(work_dir=tmp_path) as index:
        assert str(index.verify(repair=True)) == '0 documents and 0 vectors read: sound'
        index.index(notes(3))
        index.delete(list(index))
        assert str(index.verify(repair=True)) == '0 documents and 0 vectors read: sound'


def test_verify_changes_nothing(churned: HnswDocumentIndex[Note]) -> None:
    """Without `repair`, checking writes to no file of documents or vectors."""
    files = [path for path in churned.work_dir.rglob('*') if path.suffix in ('.f32', '.sqlite3', '.hnsw')]
    before = {path: path.read_bytes() for path in files}
    churned.verify()
    assert {path: path.read_bytes() for path in files} == before


# -- damaged truth -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('field', 'file', 'dim'), [('embedding', 'embedding', 8), ('cover__thumbnail', 'cover__thumbnail', 4)]
)
@pytest.mark.parametrize('at', ['first byte', 'last byte', 'checksum'])
def test_a_flipped_byte_of_a_vector_is_reported(
    churned: HnswDocumentIndex[Note], field: str, file: str, dim: int, at: str
) -> None:
    """A bit that is not as it was written is told by document and field, and mended if the graph has the vector."""
    offset = {'first byte': 0, 'last byte': 4 * dim - 1, 'checksum': 4 * dim}[at]
    settle(churned._store._sidecar, churned._store.state.files)  # or SQLite would have a copy to mend it with
    flip(churned.work_dir / 'vectors' / f'{file}.0.f32', row_offset(label_of(churned, 'n7'), dim) + offset)
    report = churned.verify(repair=True)
    assert about(report) == [('n7', field)]
    is_mended = field == 'cover__thumbnail'  # the other is 'cosine', of which the graph has it with length 1
    assert report.is_sound is is_mended
    line = f"document 'n7', field '{field}': its vector does not match its checksum{' (mended)' if is_mended else ''}"
    assert str(report).splitlines()[1] == line
    assert churned.verify().is_sound is is_mended


def test_all_damaged_vectors_are_reported(churned: HnswDocumentIndex[Note]) -> None:
    """Damage in several rows and fields is told in one run, all of it."""
    for id_ in ('n3', 'n5', 'n98'):
        flip(churned.work_dir / 'vectors' / 'embedding.0.f32', row_offset(label_of(churned, id_)))
    flip(churned.work_dir / 'vectors' / 'other.0.f32', row_offset(label_of(churned, 'n5')))
    expected = [('n3', 'embedding'), ('n5', 'embedding'), ('n98', 'embedding'), ('n5', 'other')]
    assert about(churned.verify()) == expected


def test_swapped_vectors_are_reported(churned: HnswDocumentIndex[Note]) -> None:
    """Two intact rows that stand in each other's place are told, both of them."""
    path = churned.work_dir / 'vectors' / 'embedding.0.f32'
    content = bytearray(path.read_bytes())
    one, two = (slice(row_offset(at), row_offset(at + 1)) for at in (label_of(churned, 'n7'), label_of(churned, 'n9')))
    content[one], content[two] = content[two], content[one]
    with path.open('r+b') as file:
        file.write(content)
    assert about(churned.verify()) == [('n7', 'embedding'), ('n9', 'embedding')]


@pytest.mark.parametrize(
    'sql',
    [
        "UPDATE documents SET data = replace(data, 'note', 'vote') WHERE id = ?",
        'UPDATE documents SET checksum = checksum + 1 WHERE id = ?',
        "UPDATE documents SET data = '' WHERE id = ?",
        "UPDATE documents SET data = CAST(X'ff00fe' AS TEXT) WHERE id = ?",
        "UPDATE documents SET tensors = X'00' WHERE id = ?",
        "UPDATE documents SET tensors = 'text' WHERE id = ?",
        'UPDATE documents SET tensors = 5 WHERE id = ?',
        "UPDATE documents SET checksum = 'text' WHERE id = ?",
        'UPDATE documents SET data = 5 WHERE id = ?',
    ],
)
def test_a_changed_document_is_reported(churned: HnswDocumentIndex[Note], sql: str) -> None:
    """Whatever was done to a row, its document is told by id, and the check goes on."""
    edit(churned, sql, 'n7')
    report = churned.verify(repair=True)
    assert about(report) == [('n7', None)]
    assert not report.is_sound
    assert report.documents == 90


def test_changed_tensors_are_reported(tmp_path: Path) -> None:
    """A bit flipped in what a document stores beside its vectors, an array that is not searched, is told by id."""

    class Picture(BaseDoc):
        embedding: NdArray[4]
        pixels: NdArray | None = Field(default=None, index=False)

    with HnswDocumentIndex[Picture](work_dir=tmp_path) as index:
        index.index([Picture(id=f'p{at}', embedding=np.ones(4) * at, pixels=np.ones((2, 3))) for at in range(5)])
        connection = sqlite3.connect(tmp_path / 'documents.sqlite3')
        packed = bytearray(connection.execute("SELECT tensors FROM documents WHERE id = 'p3'").fetchone()[0])
        connection.close()
        packed[-1] ^= 1
        edit(index, 'UPDATE documents SET tensors = ? WHERE id = ?', bytes(packed), 'p3')
        assert about(index.verify()) == [('p3', None)]


def test_a_document_that_the_schema_refuses_is_reported(churned: HnswDocumentIndex[Note]) -> None:
    """A row whose checksum was made to fit, but which is no such document, is told by id."""
    from zlib import crc32

    data = b'{"id":"n7","text":["not","a","text"]}'
    edit(churned, 'UPDATE documents SET data = ?, tensors = NULL, checksum = ? WHERE id = ?', data, crc32(data), 'n7')
    report = churned.verify()
    assert about(report) == [('n7', None)]


@pytest.mark.parametrize('id_', ["'another'", "CAST(X'ff' AS TEXT)", "X'ff'", "''"])
def test_a_changed_id_is_reported(churned: HnswDocumentIndex[Note], id_: str) -> None:
    """A document whose id column says something else than the document is told, not raised."""
    edit(churned, f'UPDATE documents SET id = {id_} WHERE id = ?', 'n7')
    report = churned.verify()
    assert len(report.problems) == 1
    assert 'n7' in str(report.problems[0])
    assert not report.is_sound


@pytest.mark.parametrize('is_repaired', [False, True])
def test_a_vector_that_is_none_is_reported(tmp_path: Path, is_repaired: bool) -> None:
    """Where it is lost that a document has no vector, that is told, and no repair makes it one with a vector."""
    with Notes(work_dir=tmp_path) as index:
        index.index(notes(8))
        edit(index, "DELETE FROM absences WHERE field = 'other' AND label = ?", label_of(index, 'n3'))
    with Notes(work_dir=tmp_path) as index:
        for _ in range(2):
            report = index.verify(repair=is_repaired)
            assert ('n3', None) in about(report)
            assert not report.is_sound
        index.index(notes(8)[3:4])
        assert index.verify(repair=True).is_sound
        assert 'n3' not in index.find(np.ones(8), 'other', limit=9).documents.id


@pytest.mark.parametrize(
    'sql',
    [
        "UPDATE text_unicode61_docsize SET sz = X'' WHERE id = 3",
        "UPDATE fields SET f_text = 'a coat' WHERE label = 3",
    ],
)
def test_damaged_full_text_is_reported_to_a_reader(tmp_path: Path, sql: str) -> None:
    """Who may only read is told as well that full text is not that of the documents."""

    class Line(BaseDoc):
        text: str = Field(full_text=True)

    with HnswDocumentIndex[Line](work_dir=tmp_path) as index:
        index.index([Line(id=str(at), text=f'a boat of {at}') for at in range(9)])
    with HnswDocumentIndex[Line](work_dir=tmp_path, read_only=True) as reader:
        assert reader.verify().is_sound
        edit(reader, sql)
        assert any('full text is not that of the documents' in str(problem) for problem in reader.verify().problems)


def test_a_lost_document_is_reported(churned: HnswDocumentIndex[Note]) -> None:
    """A row that is gone is told by its label, for its id went with it; the next opening refuses."""
    label = label_of(churned, 'n7')
    edit(churned, 'DELETE FROM documents WHERE id = ?', 'n7')
    edit(churned, 'DELETE FROM fields WHERE label = ?', label)
    report = churned.verify(repair=True)
    assert [problem.message for problem in report.problems] == [f'the document with label {label} is lost']
    assert not report.is_sound
    work_dir = churned.work_dir
    churned.close()
    with pytest.raises(CorruptIndexError, match='holds 89 documents where there should be 90'):
        Notes(work_dir=work_dir)


def test_a_document_that_is_back_is_reported(churned: HnswDocumentIndex[Note]) -> None:
    """I4: a row under a label that died is told."""
    others = 'level, position, children, data, tensors, checksum'
    row = f"SELECT 4, 'back', {others} FROM documents WHERE id = ?"
    edit(churned, f'INSERT INTO documents (label, id, {others}) {row}', 'n7')
    report = churned.verify()
    messages = {problem.message for problem in report.problems}
    assert 'the document with label 4 is there, but counts as deleted' in messages
    assert any(problem.id == 'back' for problem in report.problems)


def test_damage_of_two_kinds_is_reported(churned: HnswDocumentIndex[Note]) -> None:
    """A damaged vector does not keep a damaged document from being told: one run names everything."""
    flip(churned.work_dir / 'vectors' / 'embedding.0.f32', row_offset(label_of(churned, 'n7')))
    edit(churned, 'UPDATE documents SET checksum = checksum + 1 WHERE id = ?', 'n8')
    report = churned.verify()
    assert {('n7', 'embedding'), ('n8', None)} <= set(about(report))
    assert report.documents == 90


def test_a_graph_is_mended_beside_a_damaged_document(churned: HnswDocumentIndex[Note]) -> None:
    """A damaged row in SQLite does not keep a graph from being checked and mended."""
    edit(churned, 'UPDATE documents SET checksum = checksum + 1 WHERE id = ?', 'n8')
    graph = churned._store.state.graphs.get('embedding')
    graph.bury(label_of(churned, 'n9'))
    report = churned.verify(repair=True)
    assert [(problem.id, problem.field, problem.is_mended) for problem in report.problems] == [
        ('n8', None, False),
        ('n9' if report.problems[1].id else None, 'embedding', True),
    ]


@pytest.mark.parametrize('seed', range(8))
def test_damage_in_the_database_is_reported(tmp_path: Path, seed: int) -> None:
    """Bytes overwritten anywhere in SQLite's file are an error when opening, or a problem in the report."""
    with Notes(work_dir=tmp_path) as index:
        index.index(notes(300))
    path = tmp_path / 'documents.sqlite3'
    rng = np.random.default_rng(seed)
    offset = int(rng.integers(100, path.stat().st_size - 64))
    before = path.read_bytes()
    with path.open('r+b') as file:
        file.seek(offset)
        file.write(rng.bytes(64))
    try:
        index = Notes(work_dir=tmp_path)
    except CorruptIndexError:
        return
    with index:
        report = index.verify()
        whole = path.read_bytes() == before
        assert report.is_sound == whole or {id_: index[id_] for id_ in index} == {doc.id: doc for doc in notes(300)}


@pytest.mark.parametrize('damaged', ['dead', 'living'])
def test_a_damaged_row_does_not_make_a_write_half(tmp_path: Path, damaged: str) -> None:
    """A write beside a damaged vector either is done, and says so, or raises, and has done nothing."""
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(20))])
        if damaged == 'dead':
            index.delete('p7')
    flip(tmp_path / 'vectors' / 'embedding.0.f32', row_offset(7))
    with Points(work_dir=tmp_path) as index:
        try:
            index.index(Point(id='new', embedding=np.ones(8)))
            is_done = True
        except CorruptIndexError:
            is_done = False
        assert ('new' in index) == is_done


def test_a_damaged_vector_can_be_replaced(tmp_path: Path) -> None:
    """A document whose vector is damaged can be indexed anew, or deleted: the way back to a sound index."""
    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(20))])
        for label in (7, 8):
            flip(tmp_path / 'vectors' / 'embedding.0.f32', row_offset(label))
        index.delete('p8')
        index.index(Point(id='p7', embedding=np.ones(8)))
        assert index.verify().is_sound
        check_search(index)


# -- graphs --------------------------------------------------------------------------------------


def skip_some(add: Callable[..., None]) -> Callable[..., None]:
    """Return a `Graph.add` that loses every fourth label."""

    def losing(self: Graph, labels: Any, matrix: Any, *rest: Any) -> None:
        kept = labels % 4 > 0
        add(self, labels[kept], matrix[kept], *rest)

    return losing


def lacking(path: Path, monkeypatch: pytest.MonkeyPatch) -> HnswDocumentIndex[Point]:
    """Return an index of 75 points, some deleted before, whose graph lacks some of them."""
    index = Points(work_dir=path)
    with monkeypatch.context() as patch:
        patch.setattr(Graph, 'add', skip_some(Graph.add))
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(100))])
        with patch.context() as burying:
            burying.setattr(
                Graph, 'bury', lambda self, label, bury=Graph.bury: bury(self, label) if label % 4 else None
            )
            index.delete([f'p{at}' for at in range(75, 100)])
    return index


def check_mended(index: HnswDocumentIndex[Any], opened: Callable[[Path], HnswDocumentIndex[Any]]) -> None:
    """Check that it is sound now, stays so through a write and after a reopening, and answers as exact search."""
    assert index.verify().problems == []
    check_search(index)
    work_dir = index.work_dir
    index.close()
    with opened(work_dir) as reopened:
        assert reopened.verify().problems == []
        check_search(reopened)


def test_a_graph_that_lacks_vectors_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that never got into the graph are told by number; without `repair` it stays so."""
    with lacking(tmp_path, monkeypatch) as index:
        for _ in range(2):
            report = index.verify()
            assert about(report) == [(None, 'embedding')]
            assert str(report).splitlines()[1] == "field 'embedding': the graph lacks 19 of 75 vectors"
            assert not report.is_sound


def test_a_graph_that_lacks_vectors_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I5: repair makes the graph anew from the vectors; it is sound then, and after reopening."""
    index = lacking(tmp_path, monkeypatch)
    report = index.verify(repair=True)
    assert [problem.is_mended for problem in report.problems] == [True]
    assert report.is_sound
    assert str(report).endswith('vectors (mended)')
    check_mended(index, lambda path: Points(work_dir=path))


def test_a_mended_graph_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """I5: a graph that was made anew knows the dead: the next writes and the next opening go on with it."""
    index = lacking(tmp_path, monkeypatch)
    caplog.clear()  # that searches miss some was noticed
    with caplog.at_level(logging.WARNING, 'docindex'):
        index.verify(repair=True)
        graph = index._store.state.graphs.get('embedding')
        del index['p1']
        index.index(Point(id='new', embedding=np.ones(8)))
        assert index._store.state.graphs.get('embedding') is graph
        index.close()
        with Points(work_dir=tmp_path) as reopened:
            assert reopened.verify().problems == []
            assert reopened._store.state.graphs.get('embedding').live == 75
    assert caplog.messages == []


def test_a_graph_that_fails_is_made_anew_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I5: after a graph failed to bury a label, the new graph lasts; it is not made anew by each later write."""

    def failing(self: Graph, label: int) -> None:
        raise RuntimeError('no')

    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(30))])
        with monkeypatch.context() as patch:
            patch.setattr(Graph, 'bury', failing)
            index.delete(['p5', 'p6'])
        index.index(Point(id='new', embedding=np.ones(8)))
        for at in range(5):
            index.index(Point(id=f'new{at}', embedding=np.full(8, at)))
        index.delete('new')
        check_search(index)
        assert len(caplog.messages) == 1


def test_a_dead_vector_that_lives_in_the_graph_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I4: a graph that goes on returning the deleted is told, and mended."""
    index = Points(work_dir=tmp_path)
    index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(50))])
    with monkeypatch.context() as patch:
        patch.setattr(Graph, 'bury', lambda self, label: None)
        index.delete(['p3', 'p4'])
    assert about(index.verify()) == [(None, 'embedding')]
    report = index.verify(repair=True)
    assert report.problems[0].message == 'the graph counts 50 living nodes where 48 have vectors'
    assert report.is_sound
    assert 'p3' not in index.find(vectors(50)[3]).documents.id
    check_mended(index, lambda path: Points(work_dir=path))


def test_a_graph_in_which_the_wrong_one_died_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph with the right number of nodes, one dead that lives and one alive that died, is told and mended."""
    index = Points(work_dir=tmp_path)
    index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(50))])
    with monkeypatch.context() as patch:
        patch.setattr(Graph, 'bury', lambda self, label, bury=Graph.bury: bury(self, label + 1))
        index.delete('p3')
    assert not index.verify().is_sound
    assert index.verify(repair=True).is_sound
    check_mended(index, lambda path: Points(work_dir=path))


class Pair(BaseDoc):
    left: NdArray[8]
    right: NdArray[8]


@pytest.mark.parametrize('count', [5, 10, 200])
def test_swapped_graphs_are_reported_and_mended(tmp_path: Path, count: int) -> None:
    """The graph of another field, with just the right labels, is told; mended, distances and all are right."""
    pairs = [Pair(id=f'p{at}', left=vectors(1, at)[0], right=vectors(1, 900 + at)[0]) for at in range(count)]
    index = HnswDocumentIndex[Pair](work_dir=tmp_path)
    index.index(pairs)
    graphs = index._store.state.graphs._graphs
    graphs['left'], graphs['right'] = graphs['right'], graphs['left']
    assert {field for _, field in about(index.verify())} == {'left', 'right'}
    assert index.verify(repair=True).is_sound
    check_search(index, 'left')
    check_search(index, 'right')
    index.close()
    with HnswDocumentIndex[Pair](work_dir=tmp_path) as reopened:
        assert reopened.verify().problems == []
        check_search(reopened, 'left')
        check_search(reopened, 'right')


def hiding(path: Path, monkeypatch: pytest.MonkeyPatch, scale: float = 1, shift: float = 0, space: str = 'l2') -> Any:
    """Return an index in whose graph 300 equal vectors are a node each, and hide the 200 that came after them."""
    index = Points(work_dir=path, default_column_config={np.ndarray: {'space': space}})
    matrix = np.concatenate([np.tile(vectors(1, 99), (300, 1)), vectors(200)]) * np.float32(scale) + np.float32(shift)
    with monkeypatch.context() as patch:
        patch.setattr(Twins, 'nodes', lambda self, labels, *rest: labels.copy())
        patch.setattr(graphs.GraphCache, '_look_at_some', lambda self, field: None)  # it would be noticed at once
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(matrix)])
    return index


@pytest.mark.parametrize(
    ('space', 'scale', 'shift'), [('l2', 1, 0), ('cosine', 1, 0), ('l2', 1, 1000), ('cosine', 1000, 0), ('ip', 1, 0)]
)
def test_hidden_vectors_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str, scale: float, shift: float
) -> None:
    """What `find` does not find by its own vector is counted, however long the vectors are, however far from zero."""
    with hiding(tmp_path, monkeypatch, scale, shift, space) as index:
        docs = index[[f'p{at}' for at in range(300, 500)]]
        found = index.find_batched(docs, limit=10)
        exact = index.find_batched(docs, limit=10, exact=True)
        missed = sum(
            doc.id not in here.id and doc.id in there.id
            for doc, here, there in zip(docs, found.documents, exact.documents, strict=True)
        )
        assert missed > 50
        report = index.verify()
        assert report.unreachable['embedding'] >= missed
        assert not report.is_sound


def test_hidden_vectors_are_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repair makes every vector that a search for itself missed one that is found, also after reopening."""
    index = hiding(tmp_path, monkeypatch)
    report = index.verify(repair=True)
    assert report.is_sound
    check_mended(index, lambda path: Points(work_dir=path))


def test_what_no_graph_leads_to_is_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If vectors cannot be found however the graph is made, searches compare with every vector from then on."""
    docs = [Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(60))]
    with Points(work_dir=tmp_path) as index:
        index.index(docs)
        search = Graph.search

        def blind(self: Graph, queries: Any, k: int, ef: int) -> Any:
            labels, found = search(self, queries, k, ef)
            is_odd = labels[:, 0] % 2 == 1
            labels[is_odd, 0], found[is_odd, -1] = labels[is_odd, -1], 1e6
            return labels, found

        monkeypatch.setattr(Graph, 'search', blind)
        for module in (mending, reachability):
            monkeypatch.setattr(module, 'MOST_STRAYS', 0)
        report = index.verify(repair=True)
        assert report.unreachable == {'embedding': 0}
        assert [problem.is_mended for problem in report.problems] == [True]
        assert [index.find(doc, limit=1).documents.id for doc in docs] == [[doc.id] for doc in docs]


def test_twins_are_not_taken_for_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a search of many queries comes back short and each is asked alone, equal vectors still count as found."""
    search = Graph.search

    def short(self: Graph, queries: Any, k: int, ef: int) -> Any:
        if len(queries) > 1:
            raise ShortAnswerError
        return search(self, queries, k, ef)

    with Points(work_dir=tmp_path) as index:
        index.index([Point(id=f'p{at}', embedding=np.ones(8) * (at % 3)) for at in range(300)])
        monkeypatch.setattr(Graph, 'search', short)
        assert index.verify().problems == []


def test_a_field_without_a_graph_is_only_read(tmp_path: Path) -> None:
    """Vectors of a field that has no graph are read and checked; there is nothing to search or to mend."""
    with Points(work_dir=tmp_path, default_column_config={np.ndarray: {'index': False}}) as index:
        index.index([Point(id=f'p{at}', embedding=vector) for at, vector in enumerate(vectors(20))])
        report = index.verify(repair=True)
        assert (report.vectors, report.unreachable, report.problems) == (20, {}, [])
        flip(tmp_path / 'vectors' / 'embedding.0.f32', row_offset(7))
        assert about(index.verify()) == [('p7', 'embedding')]


# -- the report ----------------------------------------------------------------------------------


def test_a_report_reads_well() -> None:
    """A report says how much was read, its verdict, and each problem on a line of its own with what it is about."""
    report = CheckReport(1234, 5678, {'v': 0})
    assert str(report) == '1,234 documents and 5,678 vectors read: sound'
    report.problems = [
        Problem('gone', 'a'),
        Problem('bad', 'b', 'v'),
        Problem('lost', field='v', is_mended=True),
        Problem('odd'),
    ]
    assert str(report).splitlines() == [
        '1,234 documents and 5,678 vectors read: DAMAGED',
        "document 'a': gone",
        "document 'b', field 'v': bad",
        "field 'v': lost (mended)",
        'odd',
    ]


def test_only_mended_problems_are_sound() -> None:
    """A report is sound if nothing is wrong any more."""
    assert CheckReport().is_sound
    assert CheckReport(problems=[Problem('it', is_mended=True)]).is_sound
    assert not CheckReport(problems=[Problem('it', is_mended=True), Problem('that')]).is_sound


def test_a_vector_file_is_as_these_tests_think(churned: HnswDocumentIndex[Note]) -> None:
    """The offsets that these tests damage are where the vectors stand."""
    content = (churned.work_dir / 'vectors' / 'embedding.0.f32').read_bytes()
    stored = struct.unpack_from('<8f', content, row_offset(label_of(churned, 'n7')))
    assert np.array_equal(np.array(stored, 'f4'), churned['n7'].embedding)
