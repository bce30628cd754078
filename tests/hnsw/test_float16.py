"""`Field(stored_as='float16')`: vector files of half the size, whose values are rounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

from docindex import BaseDoc, CorruptIndexError, DocList, Field, HnswDocumentIndex, NdArray, SettingsError, VectorError
from docindex.hnsw.vectors import VectorFile
from docindex.testing import ExactIndex

DIM, COUNT = 9, 200  # an odd length: rows are not aligned to their checksums
ROW = 2 * DIM + 4
SPACES = ('l2', 'ip', 'cosine')
random = np.random.default_rng(3)
VECTORS = random.normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = random.normal(size=(6, DIM)).astype(np.float32)


class Plain(BaseDoc):
    kind: int = 0
    v: NdArray[DIM]


class Half(Plain):
    v: NdArray[DIM] = Field(stored_as='float16')


def rounded(vectors: Any) -> Any:
    return np.float32(np.float16(vectors))


def docs(doc_type: Any = Half, vectors: Any = VECTORS, first: int = 0) -> list[Any]:
    return [doc_type(id=f'd{at}', kind=at % 10, v=vector) for at, vector in enumerate(vectors, first)]


def oracle_of(space: str, doc_type: Any) -> ExactIndex[Any]:
    """Return exact answers from what should be stored."""
    oracle: ExactIndex[Any] = ExactIndex({'v': space})
    oracle.docs = {doc.id: doc for doc in docs(doc_type, rounded(VECTORS))}
    return oracle


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HnswDocumentIndex[Half]]:
    with HnswDocumentIndex[Half](work_dir=tmp_path) as opened:
        opened.index(docs())
        yield opened


def next_label(index: Any) -> int:
    return int(index._store.state.labels.next)


# -- what comes back -----------------------------------------------------------------------------------


def test_vectors_come_back_rounded(index: Any, tmp_path: Path) -> None:
    """A document has the float16 values as float32, at once and after a compaction, a reopening and a backup."""

    def check(index: Any) -> None:
        again = index.get([f'd{at}' for at in range(COUNT)])
        assert all(doc.v.dtype == np.float32 for doc in again)
        assert np.stack([doc.v for doc in again]).tobytes() == rounded(VECTORS).tobytes()

    check(index)
    index.compact()
    check(index)
    index.backup(tmp_path.with_name('copy'))
    index.close()
    for path in (tmp_path, tmp_path.with_name('copy')):
        with HnswDocumentIndex[Half](work_dir=path) as other:
            check(other)


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', 'int8', 'int64', 'bool'])
def test_vectors_keep_their_dtype(dtype: str, tmp_path: Path) -> None:
    """Whatever the dtype, it comes back with rounded values, and no exact copy is kept beside them."""
    given = (VECTORS[0] * 50).astype(dtype)
    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        index.index(Half.model_construct(id='a', v=given, kind=0))
        again = index['a'].v
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, np.float16(given).astype(dtype))
        with index._store.reading() as view:
            ((_, packed),) = view.rows.fetch([0]).values()
        assert packed is None or len(packed) < 50


def test_the_vector_file_has_half_the_size(tmp_path: Path) -> None:
    """Rows take two bytes a value and four for the checksum."""
    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        index.index(docs())
    assert (tmp_path / 'vectors' / 'v.0.f32').stat().st_size == 64 + COUNT * ROW


def test_tensors_that_are_no_vector_stay_exact(tmp_path: Path) -> None:
    """Only what is searched is rounded: a float32 tensor beside it comes back to the bit."""

    class Photo(Half):
        pixels: NdArray = Field(index=False)

    with HnswDocumentIndex[Photo](work_dir=tmp_path) as index:
        index.index(Photo(id='a', v=VECTORS[0], pixels=VECTORS))
        assert index['a'].pixels.tobytes() == VECTORS.tobytes()
        assert index['a'].v.tobytes() == rounded(VECTORS[0]).tobytes()


# -- searching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('space', SPACES)
def test_searches_see_the_rounded_vectors(space: Any, tmp_path: Path) -> None:
    """Graph, scan and filters answer by what is stored: the distances are those of the rounded vectors."""
    doc_type = create_model('Doc', __base__=Plain, v=(NdArray[DIM], Field(stored_as='float16', space=space)))
    oracle = oracle_of(space, doc_type)
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        for query in QUERIES:
            for exact in (False, True):
                oracle.check(index.find(query, limit=10, exact=exact, ef=500), query, 'v', limit=10)
            among = oracle_of(space, doc_type)
            among.docs = {id_: doc for id_, doc in among.docs.items() if doc.kind < 3}
            for _ in range(3):
                found = index.find(query, limit=5, filter={'kind': {'$lt': 3}})
                among.check(found, query, 'v', limit=5)
        assert index.verify().is_sound
        assert index.verify().unreachable == {'v': 0}


def test_vectors_that_round_to_one_are_twins(tmp_path: Path) -> None:
    """Vectors that only differ in what is rounded away share a node, and are all found."""
    near = np.repeat(VECTORS[:1], 50, axis=0) * (1 + np.arange(50, dtype=np.float32)[:, None] * 1e-7)
    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        index.index(docs(vectors=near))
        assert index._store.state.graphs.get('v').held == len(np.unique(rounded(near), axis=0)) < 5
        assert len(index.find(near[0], limit=50).documents) == 50
        assert index.verify().is_sound


def test_it_goes_with_index_dim(tmp_path: Path) -> None:
    """Both choices together: the graph has a projection of the rounded vectors, and answers are exact for these."""
    settings: dict[str, Any] = {'stored_as': 'float16', 'index_dim': 4, 'index_by': 'projection', 'ef': 1000}
    doc_type = create_model('Doc', __base__=Plain, v=(NdArray[DIM], Field(**settings)))
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index(docs(doc_type))
        for query in QUERIES:
            oracle_of('l2', doc_type).check(index.find(query, limit=10), query, 'v', limit=10)
        assert index.verify().is_sound


def test_readers_and_lists(tmp_path: Path) -> None:
    """A reader follows what is written, and documents in lists can be kept so as well."""

    class Book(BaseDoc):
        pages: DocList[Half]

    with (
        HnswDocumentIndex[Book](work_dir=tmp_path) as index,
        HnswDocumentIndex[Book](work_dir=tmp_path, read_only=True) as reader,
    ):
        for at in range(0, COUNT, 50):
            index.index(Book(id=str(at), pages=DocList[Half](docs()[at : at + 50])))
            found = reader.find_subindex(VECTORS[at + 7], 'pages', 'v', limit=1)
            assert found.documents.id == [f'd{at + 7}']
            assert found.documents[0].v.tobytes() == rounded(VECTORS[at + 7]).tobytes()


# -- changes -------------------------------------------------------------------------------------------


def test_the_same_document_again_is_no_new_version(index: Any) -> None:
    """What is compared is what is stored: the exact original, and what came back, are the vector that is there."""
    index.index(docs())
    index.index(index.get(['d1', 'd2']))
    index.update('d3', kind=99)
    assert next_label(index) == COUNT
    assert index['d3'].kind == 99
    index.index(docs(vectors=VECTORS[:1] * 1.01))
    assert next_label(index) == COUNT + 1


REFUSED: dict[str, tuple[Any, str]] = {
    'too large': (
        [0, 70_000, *[1] * (DIM - 2)],
        r"'d0'.*'v' has 70000 at position 1; stored_as='float16' holds up to 65,504",
    ),
    'too small': ([1e-8] * DIM, r'length 3e-08, which is too small .* 100.0% of it would be lost'),
    'nearly too small': ([4.28e-6] * DIM, r'which is too small .* 0.3% of it would be lost'),
    'subnormal': ([1e-7] * DIM, r'too small .* scale the vectors up'),
}


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize(('vector', 'said'), REFUSED.values(), ids=REFUSED)
def test_what_float16_cannot_hold_is_refused(vector: Any, said: str, space: Any, tmp_path: Path) -> None:
    """Values beyond float16, and vectors of which too much would be lost, are refused before anything is written."""
    doc_type = create_model('Doc', __base__=Plain, v=(NdArray[DIM], Field(stored_as='float16', space=space)))
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        with pytest.raises(VectorError, match=said):
            index.index([*docs(doc_type, np.float32([vector])), doc_type(id='good', v=VECTORS[0])])
        assert len(index) == 0
        assert next_label(index) == 0


@pytest.mark.parametrize('vector', [[0] * DIM, [65_504] * DIM, [1e-9, 1, *[0] * (DIM - 2)], [1e-3] * DIM], ids=str)
def test_what_float16_holds_nearly_is_taken(vector: Any, index: Any) -> None:
    """Zeros, the largest value, and single values near zero are taken, and come back rounded."""
    index.index(docs(vectors=np.float32([vector])))
    assert index['d0'].v.tobytes() == rounded(vector).tobytes()


def test_a_query_is_not_rounded(index: Any) -> None:
    """A query keeps its values, and may be beyond float16."""
    assert 0 < index.find(VECTORS[3], limit=1).scores[0] < 1e-4
    assert index.find(rounded(VECTORS[3]), limit=1).scores[0] == 0
    assert len(index.find(np.full(DIM, 1e6), limit=1).documents) == 1


# -- settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('before', 'after'), [(Plain, Half), (Half, 'float32')], ids=['to float16', 'to float32'])
@pytest.mark.parametrize('read_only', [False, True])
def test_it_cannot_be_changed(before: Any, after: Any, read_only: bool, tmp_path: Path) -> None:
    """A directory keeps what its vectors are stored as; a schema that says otherwise is told what to do."""
    with HnswDocumentIndex[before](work_dir=tmp_path) as index:
        index.index(docs(before))
    other = after
    if after == 'float32':
        other = create_model('Doc', __base__=Plain, v=(NdArray[DIM], Field(stored_as='float32')))
    with pytest.raises(SettingsError, match=r"v: stored_as is 'float.*' and cannot become 'float.*new index"):
        HnswDocumentIndex[other](work_dir=tmp_path, read_only=read_only)
    with HnswDocumentIndex[before](work_dir=tmp_path) as index:
        with pytest.raises(SettingsError, match='stored_as'):
            index.configure(stored_as='float32' if before is Half else 'float16')
        assert index.verify().is_sound


def test_a_new_field_of_a_directory_can_have_it(tmp_path: Path) -> None:
    """An optional vector that the schema gets later is stored as it says."""

    class More(Half):
        w: NdArray[DIM] | None = Field(None, stored_as='float16')

    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        index.index(docs())
    with HnswDocumentIndex[More](work_dir=tmp_path) as index:
        index.index(More(id='new', v=VECTORS[0], w=VECTORS[1]))
        assert index['new'].w.tobytes() == rounded(VECTORS[1]).tobytes()
        assert index['d3'].w is None
        assert index.find(VECTORS[1], 'w', limit=1).documents.id == ['new']
        assert index.verify().is_sound


# -- damage --------------------------------------------------------------------------------------------


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize('byte', range(ROW))
def test_any_flipped_byte_of_a_row_is_noticed(byte: int, tmp_path: Path) -> None:
    """Each byte of a float16 row, its checksum included, matters."""
    VectorFile.create(tmp_path / 'v.0.f32', DIM, stored_as='float16')
    file = VectorFile(tmp_path / 'v.0.f32', DIM, 0, stored_as='float16')
    file.write(0, VECTORS[:5])
    file.close()
    flip(tmp_path / 'v.0.f32', 64 + 3 * ROW + byte)
    file = VectorFile(tmp_path / 'v.0.f32', DIM, 5, stored_as='float16')
    assert file.damaged(np.arange(5)).tolist() == [3]
    with pytest.raises(CorruptIndexError, match='row 3'):
        file.rows(np.array([3]))
    with pytest.raises(CorruptIndexError, match='row 3'):
        file.scan(np.arange(5))
    file.close()


def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    """A file that is opened as what it is not is refused."""
    VectorFile.create(tmp_path / 'v.0.f32', DIM, stored_as='float16')
    with pytest.raises(CorruptIndexError, match=r'2 bytes for each value, not 4 \(float32\)'):
        VectorFile(tmp_path / 'v.0.f32', DIM, 0)


def test_a_graph_gives_a_damaged_vector_back(tmp_path: Path) -> None:
    """Under l2 the graph has what the file had, to the bit, so `verify` can restore it."""
    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        index.index(docs())
    path = tmp_path / 'vectors' / 'v.0.f32'
    before = path.read_bytes()
    flip(path, 64 + 7 * ROW + 3)
    with HnswDocumentIndex[Half](work_dir=tmp_path) as index:
        report = index.verify(repair=True)
        assert [(problem.id, problem.is_mended) for problem in report.problems] == [('d7', True)]
        assert index['d7'].v.tobytes() == rounded(VECTORS[7]).tobytes()
    assert path.read_bytes()[64:] == before[64:]
