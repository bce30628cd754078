"""Documents given as columns: stored as documents would be, to the byte."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, field_validator

from docindex import (
    AnyTensor,
    BaseDoc,
    DocIndexError,
    DocList,
    DocumentError,
    DocumentIndex,
    Field,
    HnswDocumentIndex,
    ImageUrl,
    NdArray,
    QueryError,
    VectorError,
)
from docindex.hnsw import columns as hnsw_columns
from docindex.hnsw.documents import Documents


class Binding(Enum):
    PAPER = 'paper, glued'
    CLOTH = 'cloth'


class Place(BaseModel):
    city: str = 'Lyon'
    people: int | None = None


class Publisher(BaseModel):
    name: str
    place: Place | None = None
    tags: list[str] = Field(default_factory=list)


class Author(BaseModel):
    name: str | None = None
    born: date | None = None
    look: NdArray | None = Field(None, dim=2, space='cosine')


class Chunk(BaseDoc):
    text: str


class Book(BaseDoc):
    title: str = Field('', max_length=40, full_text=True)
    pages: int = Field(1, ge=0)
    price: float | None = None
    weight: float = 0
    is_new: bool = False
    tags: list[str] = Field([])
    pairs: tuple[int, ...] = ()
    ratings: dict[str, int] = Field({})
    binding: Binding = Binding.CLOTH
    shelf: Literal['a', 'b'] | None = None
    sold: datetime | None = None
    cost: Decimal = Decimal('1.50')
    key: UUID | None = None
    cover: ImageUrl | None = None
    lent: timedelta = timedelta(0)
    author: Author | None = None
    publisher: Publisher
    chunks: DocList[Chunk] = Field(default_factory=DocList[Chunk])
    notes: list[Chunk] = Field([])
    text: NdArray = Field(dim=3)
    image: NdArray | None = Field(None, dim=2)


class Note(BaseModel):
    """One that converts."""

    model_config = ConfigDict(str_strip_whitespace=True, coerce_numbers_to_str=True)

    id: str
    text: str = Field('', min_length=0)
    count: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, validate_default=True)

    id: str
    count: int = 0
    size: float | None = None


class Checked(BaseDoc):
    """One that is not plain: making it runs a validator, and its types are unions and tensors."""

    name: str = ''
    when: datetime | str | None = None
    picture: NdArray[2, 2] | None = None
    other: AnyTensor | None = Field(None, dim=2)
    text: NdArray = Field(dim=3)

    @field_validator('name')
    @classmethod
    def _upper(cls, name: str) -> str:
        return name.upper()


IDS = st.sampled_from(['a', 'b', 'c', 'd', 'é', '"', '\n'])
WORDS = st.text(max_size=8) | st.sampled_from(
    ['"', '\\', '","', '],[', '%s', '\x00\x1f\x7f', '\u2028', '🎬', '\ud800', 'null']
)
LISTS = st.lists(WORDS, max_size=3)
ZONES = st.sampled_from([UTC, None, timezone(timedelta(hours=2)), timezone(timedelta(seconds=90))])
TIMES = st.builds(
    lambda at, zone: at.replace(tzinfo=zone), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), ZONES
)
NUMBERS = st.floats(-4, 4, width=32)


def vectors(dim: int) -> st.SearchStrategy[Any]:
    return st.lists(NUMBERS, min_size=dim, max_size=dim).map(lambda numbers: np.array(numbers, np.float32))


BOOKS: dict[str, st.SearchStrategy[Any]] = {
    'id': IDS,
    'title': WORDS,
    'pages': st.integers(0) | st.sampled_from(['12', 3.0, 1 << 70]),
    'price': st.none() | st.floats(),
    'weight': st.floats(allow_nan=False) | st.integers(0, 9),
    'is_new': st.booleans() | st.just('yes'),
    'tags': LISTS,
    'pairs': st.lists(st.integers(), max_size=3),
    'ratings': st.dictionaries(WORDS, st.integers(), max_size=2),
    'binding': st.sampled_from([*Binding, 'cloth']),
    'shelf': st.sampled_from(['a', 'b', None]),
    'sold': st.none() | TIMES | st.just('2026-01-31T12:00:00Z'),
    'cost': st.decimals(allow_nan=False, allow_infinity=False) | st.just('9.99'),
    'key': st.none() | st.uuids(),
    'cover': st.none() | st.sampled_from(['a.png', 'https://host/b,c.jpg']),
    'lent': st.timedeltas(timedelta(0), timedelta(days=9)),
    'author__name': st.none() | WORDS,
    'author__born': st.none() | st.dates(),
    'author__look': st.none() | vectors(2),
    'publisher__name': WORDS,
    'publisher__place__city': WORDS,
    'publisher__place__people': st.none() | st.integers(0, 9),
    'publisher__tags': LISTS,
    'text': vectors(3),
    'image': st.none() | vectors(2),
}
NOTES = {'id': IDS, 'text': WORDS | st.integers(), 'count': st.integers() | st.just(' 7 ')}
STRICT = {'id': IDS, 'count': st.integers(), 'size': st.none() | st.floats()}
CHECKED: dict[str, st.SearchStrategy[Any]] = {
    'id': IDS,
    'name': WORDS,
    'when': st.none() | TIMES | WORDS,
    'picture': st.none() | st.just(np.eye(2)),
    'other': st.none() | vectors(2),
    'text': vectors(3),
}
REQUIRED = {'id', 'text', 'publisher__name'}


@st.composite
def tables(draw: st.DrawFn, columns: dict[str, st.SearchStrategy[Any]]) -> dict[str, list[Any]]:
    """Draw columns, not always all of them, for up to six rows."""
    names = [name for name in columns if name in REQUIRED or draw(st.booleans())]
    rows = draw(st.integers(0, 6))
    return {name: draw(st.lists(columns[name], min_size=rows, max_size=rows)) for name in names}


def nested(row: dict[str, Any]) -> dict[str, Any]:
    """Return a flat row as a nested dict; an optional document without any value is None."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        *outer, last = name.split('__')
        inside = found
        for step in outer:
            inside = inside.setdefault(step, {})
        inside[last] = value
    for outer, step in ((found, 'author'), (found.get('publisher', {}), 'place')):
        if step in outer and all(value is None for value in outer[step].values()):
            outer[step] = None
    return found


def stored(work_dir: Path) -> dict[str, list[Any]]:
    """Return all that SQLite has of documents."""
    with contextlib.closing(sqlite3.connect(work_dir / 'documents.sqlite3')) as connection:
        tables = ('documents', 'fields', 'tombstones', 'absences', 'runs')
        return {name: sorted(connection.execute(f'SELECT * FROM {name}'), key=repr) for name in tables}


def check_same(
    doc_type: type[Any],
    columns: list[dict[str, list[Any]]],
    index_columns: Callable[..., None] = HnswDocumentIndex.index_columns,
) -> None:
    """Assert that an index of columns holds what one of documents does, after each of some writes."""
    with (
        tempfile.TemporaryDirectory() as directory,
        HnswDocumentIndex[doc_type](work_dir=Path(directory, 'a'), durability='process') as by_columns,  # type: ignore[valid-type]
        HnswDocumentIndex[doc_type](work_dir=Path(directory, 'b'), durability='process') as by_documents,  # type: ignore[valid-type]
    ):
        for table in columns:
            rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
            errors: list[type[Exception] | None] = [None, None]
            try:
                by_documents.index([nested(row) for row in rows])
            except DocIndexError as error:
                errors[0] = type(error)
            try:
                index_columns(by_columns, table)
            except DocIndexError as error:
                errors[1] = type(error)
            assert errors[0] == errors[1]
            assert stored(by_columns.work_dir) == stored(by_documents.work_dir)
        assert list(by_columns) == list(by_documents)
        assert [*map(repr, map(by_columns.get, by_columns))] == [*map(repr, map(by_documents.get, by_documents))]


quickly = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(quickly, max_examples=30)
@given(st.lists(tables(BOOKS), min_size=1, max_size=2))
def test_columns_are_stored_as_documents_are(columns: list[dict[str, list[Any]]]) -> None:
    """What `index_columns` stores is what `index` stores of the same documents: JSON, vectors, what filters look at."""
    check_same(Book, columns)


@quickly
@given(tables(BOOKS))
def test_any_backend_takes_columns(columns: dict[str, list[Any]]) -> None:
    """What a backend has that does nothing about columns itself stores the same."""
    check_same(Book, [columns], DocumentIndex.index_columns)


@quickly
@given(tables(NOTES))
def test_columns_are_converted_as_the_class_says(columns: dict[str, list[Any]]) -> None:
    """A class that strips blanks and turns numbers into strings does so in columns."""
    check_same(Note, [columns])


@quickly
@given(tables(STRICT))
def test_columns_of_a_strict_class(columns: dict[str, list[Any]]) -> None:
    """What cannot be said in JSON, NaN say, comes back in a strict class too."""
    check_same(Strict, [columns])


@quickly
@given(tables(CHECKED))
def test_columns_of_a_class_with_validators(columns: dict[str, list[Any]]) -> None:
    """A class whose validators have to be run gives the same as its documents."""
    check_same(Checked, [columns])


class Word(BaseDoc):
    """A plain class with little in it."""

    text: str = ''
    weight: float = 0
    number: int = Field(default_factory=iter(range(100)).__next__)
    show_progress: bool = False
    vector: NdArray = Field(dim=2)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HnswDocumentIndex[Word]]:
    with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
        yield index


def a_table(rows: int) -> dict[str, Any]:
    return {'id': [str(row) for row in range(rows)], 'vector': np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)}


def test_no_documents_are_made(index: HnswDocumentIndex[Word], monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of a plain class never become documents, nested and optional ones neither."""
    monkeypatch.setattr(Documents, 'prepared', None)
    index.index_columns(a_table(5), text=['a'] * 5)
    assert index['3'].text == 'a'


def test_a_default_factory_is_called_for_each_row(index: HnswDocumentIndex[Word]) -> None:
    """Each document gets a default of its own."""
    index.index_columns(a_table(5))
    assert len({index[id_].number for id_ in index}) == 5


def test_a_field_may_be_called_like_an_argument(index: HnswDocumentIndex[Word]) -> None:
    """A column that has the name of an argument goes in the mapping."""
    index.index_columns({**a_table(2), 'show_progress': [True, False]}, text=['a', 'b'], show_progress=False)
    assert [index[id_].show_progress for id_ in index] == [True, False]


def test_many_rows_come_in_portions(index: HnswDocumentIndex[Word], monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions, one of them with a value that JSON cannot say, store what one would; the last of an id counts."""
    monkeypatch.setattr(hnsw_columns, 'PORTION', 3)
    table = a_table(10)
    table['id'][1] = '8'
    weights = [1.0, 2.0, 3.0, 4.0, float('inf'), 6.0, 7.0, 8.0, 9.0, 10.0]
    index.index_columns(table, weight=weights, text=[f'"{row}"' for row in range(10)])
    assert list(index) == ['0', '8', '2', '3', '4', '5', '6', '7', '9']
    for row, id_ in ((8, '8'), (4, '4'), (9, '9')):
        assert (index[id_].text, index[id_].weight) == (f'"{row}"', weights[row])
        np.testing.assert_array_equal(index[id_].vector, table['vector'][row])
    assert index.verify().is_sound


class Crossed(BaseDoc):
    title: str = pydantic.Field(alias='name')
    name: str = pydantic.Field('', validation_alias='full_name')
    rating: int | float = 0.0


class CrossedAndPlain(Crossed):
    rating: float = 0


@pytest.mark.parametrize('doc_type', [Crossed, CrossedAndPlain])
@pytest.mark.parametrize('rating', [0.5, float('inf')])
def test_an_alias_that_is_the_name_of_another_field(tmp_path: Path, doc_type: type[Crossed], rating: float) -> None:
    """Columns are read by the names of fields, also where documents are made of them and a name is an alias as well."""
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index_columns(id=['a'], title=['T'], name=['N'], rating=[rating])
        assert (index['a'].title, index['a'].name, index['a'].rating) == ('T', 'N', rating)


class Signer(BaseModel):
    name: str = pydantic.Field(alias='fullName')


class Letter(BaseDoc):
    signers: list[Signer] = []  # noqa: RUF012


@pytest.mark.parametrize('key', ['name', 'fullName'])
@pytest.mark.parametrize(
    'store',
    [
        lambda index, signers: index.index({'id': 'a', 'signers': signers}),
        lambda index, signers: index.index_columns(id=['a'], signers=[signers]),
        lambda index, signers: index.update('b', signers=signers),
        lambda index, signers: index.update({'b': {'signers': signers}}),
    ],
    ids=['index', 'index_columns', 'update', 'update of many'],
)
def test_dictionaries_in_a_list_name_fields_or_aliases(tmp_path: Path, key: str, store: Callable[..., None]) -> None:
    """However a document is stored, dictionaries in it may have the names of fields or their aliases."""
    with HnswDocumentIndex[Letter](work_dir=tmp_path) as index:
        index.index(Letter(id='b'))
        store(index, [{key: 'Ada'}])
        assert index.filter({'signers': {'$contains': {'name': 'Ada'}}})[0].signers[0].name == 'Ada'


def test_columns_in_a_batch(index: HnswDocumentIndex[Word]) -> None:
    """Columns are part of a batch: undone with it, and seen inside."""
    with contextlib.suppress(ZeroDivisionError), index.batch():
        index.index_columns(a_table(3))
        assert len(index) == 3
        _ = 1 / 0
    assert len(index) == 0
    with index.batch():
        index.index_columns(a_table(3))
        index.index_columns(a_table(4), text=list('abcd'))
    assert [index[id_].text for id_ in index] == list('abcd')


def test_nothing_is_written_before_all_is_checked(
    index: HnswDocumentIndex[Word], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad value in the last of many portions is refused before a transaction begins."""
    monkeypatch.setattr(hnsw_columns, 'PORTION', 2)
    monkeypatch.setattr(index._store, 'put', None)
    table = a_table(9)
    with pytest.raises(DocumentError, match=r"row 8 \(id '8'\): text: Input should be a valid string"):
        index.index_columns(table, text=[*'abcdefgh', 9])
    table['vector'][8, 1] = np.nan
    with pytest.raises(VectorError, match=r"row 8 \(id '8'\): field 'vector' has NaN at position 1"):
        index.index_columns(table)


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ({'txt': ['a', 'b']}, r"Word has no field 'txt'; did you mean 'text'\?"),
        ({'text': ['a']}, "their lengths differ: 'text' has 1, the others have 2"),
        ({'text': 'ab'}, "the column 'text' is a str; a column is a list or an array"),
        ({'text': (letter for letter in 'ab')}, "the column 'text' is a generator"),
        ({'text': {'a', 'b'}}, "the column 'text' is a set"),
        ({'vector': np.float32(1)}, "the column 'vector' is a float32"),
    ],
)
def test_what_is_no_column_is_explained(index: HnswDocumentIndex[Word], columns: dict[str, Any], message: str) -> None:
    """An error says what is wrong with a column, and what was expected."""
    with pytest.raises(QueryError, match=message):
        index.index_columns({**a_table(2), **columns})


@pytest.mark.parametrize(
    'column',
    [
        pytest.param(lambda values: pytest.importorskip('pandas').Series(values), id='pandas'),
        pytest.param(lambda values: pytest.importorskip('polars').Series(values), id='polars'),
        pytest.param(lambda values: pytest.importorskip('pyarrow').chunked_array([values]), id='arrow'),
        pytest.param(lambda values: [np.array(values)[at] for at in range(2)], id='numpy scalars'),
        pytest.param(tuple, id='tuple'),
    ],
)
def test_columns_of_other_libraries(index: HnswDocumentIndex[Word], column: Callable[[list[Any]], Any]) -> None:
    """Columns of tables, scalars of numpy and tuples are taken as the values that are in them."""
    vectors = column([1.0, 2.0])
    index.index_columns(
        id=column(['a', 'b']), text=column(['x', 'y']), number=column([1, 2]), vector=np.stack([vectors, vectors]).T
    )
    assert [(doc.text, doc.number, doc.vector.tolist()) for doc in index.get(['a', 'b'])] == [
        ('x', 1, [1, 1]),
        ('y', 2, [2, 2]),
    ]


@pytest.mark.parametrize('rating', [np.array([1.5], np.longdouble), [np.longdouble(1.5)]], ids=['array', 'scalar'])
def test_longer_floats_become_python_s(tmp_path: Path, rating: Any) -> None:
    """A float of numpy that is longer than Python's is stored as Python's, as other numbers are."""
    with HnswDocumentIndex[Visit](work_dir=tmp_path) as index:
        index.index_columns(id=['a'], rating=rating)
        assert index['a'].rating == 1.5


class Slide(BaseDoc):
    vector: NdArray[2] | None = None
    pixels: NdArray[2, 2] | None = None


def test_a_tensor_that_is_missing_in_polars_is_none(tmp_path: Path) -> None:
    """In a column of arrays of one shape, too, which numpy would fill with NaN."""
    polars = pytest.importorskip('polars')
    vectors = polars.Series([[1, 2], None], dtype=polars.Array(polars.Float32, 2))
    pixels = polars.Series([None, [[1, 2], [3, 4]]], dtype=polars.Array(polars.Int16, (2, 2)))
    with HnswDocumentIndex[Slide](work_dir=tmp_path) as index:
        index.index_columns(id=['a', 'b'], vector=vectors, pixels=pixels)
        first, second = index.get(['a', 'b'])
    assert (first.pixels, second.vector) == (None, None)
    assert first.vector.tolist() == [1, 2]
    assert (second.pixels.dtype, second.pixels.tolist()) == (np.int16, [[1, 2], [3, 4]])


class Visit(BaseDoc):
    """What pandas has no None for."""

    begun: datetime | None = datetime(2026, 1, 1)
    place: str | None = 'here'
    people: int | None = 1
    is_paid: bool | None = True
    price: float | None = 1.5
    lasted: timedelta | None = timedelta(1)
    vector: NdArray | None = Field(None, dim=2)
    rating: float = 0
    weight: int | float = 0


@pytest.mark.parametrize('index_columns', [HnswDocumentIndex.index_columns, DocumentIndex.index_columns])
def test_what_is_missing_in_pandas_is_none(tmp_path: Path, index_columns: Callable[..., None]) -> None:
    """NaT, NA and NaN in a column of pandas are None where a field may be None; in other numbers NaN is a value."""
    pandas = pytest.importorskip('pandas')
    whole = Visit(id='a', people=7, vector=np.ones(2, np.float32), rating=0.5, weight=2.5)
    nothing = dict.fromkeys(['begun', 'place', 'people', 'is_paid', 'price', 'lasted', 'vector'])
    rows = [dict(whole), {**nothing, 'id': 'b', 'rating': float('nan'), 'weight': float('nan')}]
    frame = pandas.DataFrame(rows).astype({'people': 'Int64', 'is_paid': 'boolean'})
    with HnswDocumentIndex[Visit](work_dir=tmp_path) as index:
        index_columns(index, dict(frame))
        assert repr(index['a']) == repr(whole)
        assert repr(index['b']) == repr(Visit(**rows[1]))
        index_columns(index, id=['c', 'd'], people=pandas.Index([1, float('nan')]), is_paid=pandas.array([True, None]))
        assert [(doc.people, doc.is_paid) for doc in index.get(['c', 'd'])] == [(1, True), (None, None)]


def test_what_is_missing_in_pandas_is_refused_where_there_is_no_none(tmp_path: Path) -> None:
    """A missing value for a field that is never None, and a time that Python has no word for, name row and column."""
    pandas = pytest.importorskip('pandas')
    times = pandas.Series(np.array(['2026-01-31', '20000-01-01'], 'M8[s]'))
    with HnswDocumentIndex[Visit](work_dir=tmp_path) as index:
        with pytest.raises(DocumentError, match=r'row 1: rating: Input should be a valid number'):
            index.index_columns(rating=pandas.array([1.5, None]))
        with pytest.raises(DocumentError, match='row 1: begun: year 20000 is out of range'):
            index.index_columns(begun=times)


@pytest.mark.parametrize('index_columns', [HnswDocumentIndex.index_columns, DocumentIndex.index_columns])
def test_vectors_become_float32(index: HnswDocumentIndex[Word], index_columns: Callable[..., None]) -> None:
    """Vectors of any type come back as float32; those that it does not hold are refused."""
    for vectors in (np.ones((1, 2)), np.ones((1, 2), np.int8), np.ones((1, 2), np.float16), [[1, True]], [np.ones(2)]):
        index_columns(index, id=['a'], vector=vectors)
        assert index['a'].vector.dtype == np.float32
        assert index['a'].vector.tolist() == [1, 1]
    for number in (1e39, 1e-50):
        with pytest.raises(VectorError, match='float32'):
            index_columns(index, id=['b'], vector=np.full((1, 2), number))
    assert list(index) == ['a']


class Scan(BaseDoc):
    """Pixels that are a vector or none, as the index has it."""

    pixels: NdArray


@pytest.mark.parametrize('index_columns', [HnswDocumentIndex.index_columns, DocumentIndex.index_columns])
@pytest.mark.parametrize(('settings', 'dtype'), [({'dim': 2}, np.float32), ({'index': False}, np.float64)])
def test_an_index_may_say_what_is_a_vector(
    tmp_path: Path, index_columns: Callable[..., None], settings: dict[str, Any], dtype: type[Any]
) -> None:
    """Where the class does not say whether a tensor is a vector, the index that it goes to does."""
    with HnswDocumentIndex[Scan](work_dir=tmp_path, default_column_config={np.ndarray: settings}) as index:
        index_columns(index, id=['a'], pixels=np.full((1, 2), 0.1))
        assert index['a'].pixels.tolist() == [dtype(0.1)] * 2
        assert index['a'].pixels.dtype == dtype


def test_times_of_numpy(tmp_path: Path) -> None:
    """A time of numpy becomes one of Python, whatever its unit, and NaT None."""
    times = np.array(['2026-01-31T12:00', 'NaT'], 'M8[ns]')
    with HnswDocumentIndex[Book](work_dir=tmp_path) as index:
        index.index_columns(id=['a', 'b'], sold=times, publisher__name=['p', 'q'], text=np.eye(2, 3))
        assert [doc.sold for doc in index.get(['a', 'b'])] == [datetime(2026, 1, 31, 12), None]


def test_lists_of_documents_are_replaced_by_none(tmp_path: Path) -> None:
    """A row replaces the document with its id and the documents in its lists, which are no columns."""
    with HnswDocumentIndex[Book](work_dir=tmp_path) as index:
        chunks = DocList[Chunk]([Chunk(text='one')])
        index.index(Book(id='a', publisher=Publisher(name='p'), text=np.ones(3), chunks=chunks))
        with pytest.raises(QueryError, match="'chunks' is a list of documents, and these have no columns here"):
            index.index_columns(id=['a'], publisher__name=['p'], text=[np.ones(3)], chunks=[chunks])
        assert len(index['a'].chunks) == 1
        index.index_columns(id=['a'], publisher__name=['p'], text=[np.ones(3)])
        assert len(index['a'].chunks) == 0
        assert index.subindex('chunks').num_docs() == 0
        assert index.verify().is_sound
