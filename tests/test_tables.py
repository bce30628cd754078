"""Documents as tables, texts and data frames, and back."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from docindex import BaseDoc, DocList, Field, ImageUrl, MissingLibraryError, NdArray, TableError
from docindex.arrow import arrow_schema, parquet_batches, rows_from_record_batch, to_record_batch
from docindex.tables import rows_of
from docindex.tensors import AnyTensor, TorchTensor
from docindex.testing import same
from docindex.texts import row_of_texts

Way = Callable[[DocList[Any], Path], DocList[Any]]
Title = NewType('Title', str)


class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Author(BaseDoc):
    name: str
    v: NdArray[2] | None = None


class Note(BaseModel):
    """All of it may be missing, and so may the note."""

    a: int | None = None
    b: str | None = None


class Chunk(BaseDoc):
    text: str
    embedding: NdArray[3] | None = None
    note: Note = Note()


class Folder(BaseModel):
    name: str
    folders: list[Folder] = []


class Book(BaseDoc):
    title: str
    pages: int | None = None
    price: float = 1.0
    is_new: bool = False
    author: Author | None = None
    note: Note | None = None
    embedding: NdArray = Field(dim=4)
    image: NdArray[2, 3] | None = None
    ragged: NdArray = Field(index=False)
    when: datetime = datetime(2026, 1, 31, 12, 0, 0, 5)
    day: date | None = None
    at: time = time(1, 2, 3)
    delta: timedelta = timedelta(1, 2, 3)
    money: Decimal = Decimal('1.10')
    colour: Colour = Colour.RED
    level: Level | None = None
    size: Literal['s', 'm'] = 's'
    data: bytes = b'\xff\x00'
    key: UUID = UUID(int=7)
    tags: set[str] = set()  # noqa: RUF012
    counts: dict[str, int] = {}  # noqa: RUF012
    vectors: dict[str, NdArray[2]] = {}  # noqa: RUF012
    either: int | str | None = None
    point: Point | None = None
    chunks: DocList[Chunk] = DocList[Chunk]()
    frames: list[NdArray[2]] = []  # noqa: RUF012
    days: list[date | None] = []  # noqa: RUF012
    pair: tuple[int, str] = (1, 'a')
    url: ImageUrl | None = None
    folder: Folder | None = None


def book(n: int) -> Book:
    random = np.random.default_rng(n)
    return Book(
        id=str(n),
        title=['', 'plain', 'with, "quotes"\nand lines', ' é中 '][n % 4],
        pages=None if n % 2 else n,
        author=None if n % 3 == 0 else Author(name='' if n % 2 else 'A', v=random.random(2) if n % 3 == 1 else None),
        note=[None, Note(), Note(a=1)][n % 3],
        embedding=random.random(4, dtype=np.float32),
        image=None if n % 2 else random.integers(0, 9, (2, 3)),
        ragged=random.random((n % 3, 2)),
        day=date(2020, 2, 29) if n % 2 else None,
        level=Level.HIGH if n % 2 else None,
        tags={'a', 'b'} if n % 2 else set(),
        counts={'$x': n},
        vectors={'v': random.random(2)},
        either=[1, '1', None][n % 3],
        point=Point(n, 0.5) if n % 2 else None,
        chunks=DocList[Chunk](
            Chunk(id=f'{n}-{k}', text=str(k), embedding=random.random(3) if k else None, note=Note(a=k))
            for k in range(n % 4)
        ),
        frames=[random.random(2)] * (n % 2),
        days=[date(2020, 1, 1), None],
        url='a.png' if n % 2 else None,
        folder=Folder(name='a', folders=[Folder(name='b')]) if n % 2 else None,
    )


BOOKS = DocList[Book](map(book, range(12)))


def through_arrow(docs: DocList[Any], path: Path) -> DocList[Any]:
    return type(docs).from_arrow(docs.to_arrow())


def through_parquet(docs: DocList[Any], path: Path) -> DocList[Any]:
    docs.to_parquet(path / 'docs.parquet')
    return type(docs).from_parquet(path / 'docs.parquet')


def through_json(docs: DocList[Any], path: Path) -> DocList[Any]:
    return type(docs).from_json(docs.to_json())


def through_json_file(docs: DocList[Any], path: Path) -> DocList[Any]:
    docs.to_json(path / 'docs.json')
    return type(docs).from_json(path / 'docs.json')


def through_csv(docs: DocList[Any], path: Path) -> DocList[Any]:
    docs.to_csv(path / 'docs.csv')
    return type(docs).from_csv(path / 'docs.csv')


def through_pandas(docs: DocList[Any], path: Path) -> DocList[Any]:
    return type(docs).from_dataframe(docs.to_dataframe())


def through_polars(docs: DocList[Any], path: Path) -> DocList[Any]:
    return type(docs).from_dataframe(docs.to_dataframe('polars'))


WAYS = [
    through_arrow,
    through_parquet,
    through_json,
    through_json_file,
    through_csv,
    through_pandas,
    through_polars,
]
every_way = pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__.removeprefix('through_'))


@every_way
def test_documents_come_back(way: Way, tmp_path: Path) -> None:
    """Whatever a document holds comes back equal from every kind of table, in a list of the same class."""
    again = way(BOOKS, tmp_path)
    assert again == BOOKS
    assert type(again) is DocList[Book]
    assert type(again[3].chunks) is DocList[Chunk]


@every_way
def test_no_documents_come_back(way: Way, tmp_path: Path) -> None:
    """An empty list is an empty table with all columns, and an empty list again."""
    assert way(DocList[Book](), tmp_path) == []


class Named(BaseDoc):
    title: Title
    value: pydantic.JsonValue
    choice: Literal['a', 1, None]


@every_way
def test_values_of_named_types_come_back(way: Way, tmp_path: Path) -> None:
    """A name of a type is the type: a text that looks like JSON is none, and None is a value where the type says so."""
    docs = DocList[Named](
        [
            Named(title=Title('5'), value='5', choice='a'),
            Named(title=Title('null'), value={'a': [None]}, choice=None),
            Named(title=Title(''), value=None, choice=1),
        ]
    )
    assert way(docs, tmp_path) == docs
    assert docs.to_arrow().schema.field('title').type == pa.string()


class Value(BaseDoc):
    text: str
    number: int | None = None
    real: float = 0.0
    when: datetime | None = None
    money: Decimal | None = None
    data: bytes | None = None
    tags: list[str] | None = None
    any_of: int | str | bool | None = None
    table: dict[str, float] = {}  # noqa: RUF012
    vector: NdArray | None = Field(None, index=False)


texts = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'))
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(seconds=1172))])
times = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 28), timezones=st.none() | zones)
values = st.builds(
    Value,
    id=texts.filter(bool),
    text=texts,
    number=st.none() | st.integers(-(2**63), 2**63 - 1),
    real=st.floats(allow_nan=False),
    when=st.none() | times,
    money=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    data=st.none() | st.binary(),
    tags=st.none() | st.lists(texts),
    any_of=st.none() | st.integers(-(2**80), 2**80) | texts | st.booleans(),
    table=st.dictionaries(texts, st.floats(allow_nan=False)),
    vector=st.none() | st.lists(st.floats(width=32)).map(lambda numbers: np.array(numbers, np.float32)),
)


@pytest.mark.parametrize('way', [through_arrow, through_json, through_csv], ids=lambda way: way.__name__)
@settings(max_examples=25, deadline=None)
@given(docs=st.lists(values, max_size=4))
def test_any_values_come_back(way: Way, docs: list[Value], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any text, number, time with or without a zone, bytes, union, dict or tensor with NaN comes back equal."""
    listed = DocList[Value](docs)
    assert way(listed, tmp_path_factory.getbasetemp()) == listed


def test_the_arrow_types() -> None:
    """Vectors are fixed-size lists of their own dtype, nested documents flat columns, lists of documents structs."""
    schema = BOOKS.to_arrow().schema
    assert schema.field('embedding').type == pa.list_(pa.float32(), 4)
    assert schema.field('image').type == pa.list_(pa.list_(pa.int64(), 3), 2)
    assert schema.field('author__v').type == pa.list_(pa.float64(), 2)
    assert schema.field('author__name').type == pa.string()
    assert schema.field('note').type == pa.bool_()  # whether there is a note at all
    assert schema.field('when').type == pa.timestamp('us')
    assert schema.field('chunks').type.value_type.field('note__a').type == pa.int64()
    assert arrow_schema(Book).field('embedding').type == pa.list_(pa.float32(), 4)
    assert BOOKS.to_dataframe('polars').schema['embedding'] == pl.Array(pl.Float32, 4)


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', 'int8', 'uint8', 'bool'])
@pytest.mark.parametrize('way', [through_arrow, through_parquet, through_polars], ids=lambda way: way.__name__)
def test_vectors_keep_their_dtype(dtype: str, way: Way, tmp_path: Path) -> None:
    """A vector comes back from Arrow, Parquet and polars with its dtype, and can be written to."""
    books = DocList[Book]([Book(title='a', embedding=np.ones(4, dtype), ragged=np.zeros(1))])
    (again,) = way(books, tmp_path)
    assert again.embedding.dtype == dtype
    again.embedding[0] = 0


def test_rows_of_a_batch_are_rows_of_one_matrix() -> None:
    """Vectors are read as views of one array, not as a Python float for each number."""
    rows = [*rows_from_record_batch(BOOKS.to_arrow().to_batches()[0].slice(2, 5), Book)]
    assert [row['id'] for row in rows] == list('23456')
    assert rows[0]['embedding'].base is rows[4]['embedding'].base
    np.testing.assert_array_equal(rows[1]['embedding'], BOOKS[3].embedding)


def test_batches_written_one_by_one(tmp_path: Path) -> None:
    """Batches of one schema make one Parquet file, which is read batch by batch."""
    schema = arrow_schema(Book, BOOKS)
    with pq.ParquetWriter(tmp_path / 'b.parquet', schema) as writer:
        for start in range(0, 12, 5):
            writer.write_batch(to_record_batch(BOOKS[start : start + 5], schema, Book, first_row=start))
    assert sum(len(batch) for batch in parquet_batches(tmp_path / 'b.parquet', 3)) == 12
    assert DocList[Book].from_parquet(tmp_path / 'b.parquet') == BOOKS


class Film(BaseDoc):
    title: str
    year: int = 2000
    author: Author | None = None
    v: NdArray[2] | None = None


@pytest.mark.parametrize(
    ('column', 'expected'),
    [
        (pa.array([[1, 2], None], pa.list_(pa.float64())), np.float64),
        (pa.array([[1, 2], None], pa.large_list(pa.int64())), np.int64),
        (pa.array([[1, 2], None], pa.list_(pa.float32(), 2)), np.float32),
        (pa.array(['[1, 2]', None]), np.float32),
        (pa.array([b'x', [1, 2], None][1:], pa.list_(pa.float16())), np.float16),
    ],
    ids=lambda value: str(getattr(value, 'type', '')),
)
def test_vectors_of_other_tables(column: pa.Array, expected: type[Any]) -> None:
    """A vector may stand in a table as a list of any kind, or as JSON."""
    films = DocList[Film].from_arrow(pa.table({'title': ['a', 'b'], 'v': column}))
    assert films[0].v is not None
    assert films[0].v.tolist() == [1, 2]
    assert films[0].v.dtype == expected
    assert films[1].v is None


def test_structs_are_nested_documents() -> None:
    """Where others nest documents in structs, these are read as the columns that they are here."""
    author = pa.array([{'id': 'x', 'name': 'A', 'v': [1.0, 2.0]}, None])
    films = DocList[Film].from_arrow(pa.table({'title': ['a', 'b'], 'author': author}))
    assert films.author.name == ['A', None]


def test_dictionaries_readers_and_strangers() -> None:
    """Dictionary columns, batches, readers, DuckDB-like objects and unknown columns are all fine."""
    table = pa.table({'title': pa.array(['a', 'b', 'a']).dictionary_encode(), 'colour_of_the_sea': [1, 2, 3]})
    for source in (table, table.to_batches()[0], table.to_reader(1), pl.from_arrow(table)):
        assert DocList[Film].from_arrow(source).title == ['a', 'b', 'a']
    assert DocList[Film].from_arrow(table).year == [2000] * 3
    with pytest.raises(TableError, match='expected an Arrow table, got list'):
        DocList[Film].from_arrow([1])


def test_pandas_reads_our_files(tmp_path: Path) -> None:
    """What pandas makes of a Parquet or CSV file is read as well as what this library makes of it."""
    books = BOOKS[[0, 2, 4, 8]]
    books.either = [None] * 4  # a 1 and a '1' are both JSON in the file, and pandas knows neither
    books.to_parquet(tmp_path / 'b.parquet')
    assert DocList[Book].from_dataframe(pd.read_parquet(tmp_path / 'b.parquet')) == books


@pytest.mark.parametrize(
    ('columns', 'row', 'column', 'message'),
    [
        ({'title': ['a', None]}, 1, 'title', 'row 1: title: Field required'),
        ({'id': ['x', 'y'], 'title': ['a', 'b'], 'year': ['1', 'soon']}, 1, 'year', r"row 1 \(id 'y'\): year: Input"),
        ({'title': ['a', 'b'], 'v': [[1.0, 2.0], [1.0]]}, 1, 'v', 'row 1: v: expected a 2-d vector, got 1-d'),
        ({'title': ['a', 'b'], 'v': [[1.0, 2.0], [1.0, None]]}, 1, 'v', 'row 1: v: a number is missing'),
        ({'year': [1, 2]}, None, 'title', "no column 'title', which Film needs; the columns are 'year'"),
        ({'titel': ['a'], 'year': [1]}, None, 'title', "'title', which Film needs; is it 'titel'"),
        (
            {'v': [[1.0, 2.0]], 'author__titel': ['a']},
            None,
            'title',
            "'title', which Film needs; is it 'author__titel'",
        ),
        ({'x': [1]}, None, 'title', "no column 'title'"),
    ],
)
def test_a_table_that_does_not_fit(
    columns: dict[str, Any], row: int | None, column: str, message: str, tmp_path: Path
) -> None:
    """An error names the row, the column and the reason, in words and as attributes."""
    table = pa.table(columns)
    pq.write_table(table, tmp_path / 'x.parquet')
    sources: list[Callable[[], Any]] = [
        lambda: DocList[Film].from_arrow(table),
        lambda: DocList[Film].from_dataframe(pl.from_arrow(table)),
        lambda: DocList[Film].from_parquet(tmp_path / 'x.parquet'),
    ]
    for read in sources:
        with pytest.raises(TableError, match=message) as raised:
            read()
        assert (raised.value.row, raised.value.column) == (row, column)
        assert isinstance(raised.value, ValueError)


def test_the_row_counts_over_batches() -> None:
    """The number of a bad row is that in the table, not in its batch."""
    batches = [pa.record_batch({'title': ['a', 'b']}), pa.record_batch({'title': ['c', None]})]
    with pytest.raises(TableError, match='row 3: title'):
        DocList[Film].from_arrow(pa.Table.from_batches(batches))


def test_a_value_that_a_column_cannot_hold() -> None:
    """An integer of more than 64 bits has no place in Arrow; the error names the document."""
    films = DocList[Film]([Film(id='a', title='a'), Film(id='b', title='b', year=2**70)])
    with pytest.raises(TableError, match=r"row 1 \(id 'b'\): year: ") as raised:
        films.to_arrow()
    assert (raised.value.row, raised.value.column) == (1, 'year')
    assert through_json(films, Path()) == films


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('title,year\na,1\nb\n', r'row 1 \(line 3\): it has 1 cells, and the header names 2 columns'),
        ('title,year\na,1\nb,x\n', r'row 1 \(line 3\): year: Input should be a valid integer'),
        ('year\n1\n', "no column 'title'"),
        ('titlle,year\na,1\n', "is it 'titlle'"),
        ('id,title,v\nx,a,"[1,"\n', r"row 0 \(line 2, id 'x'\): v: expected JSON, such as \[1, 2\], got '\[1,'"),
        ('title\n"a\n', r'row 0 \(line 2\): this is no CSV'),
        ('title,title\n', "two columns 'title'"),
        ('', 'is empty: a CSV file begins with the names of its columns'),
    ],
)
def test_a_csv_file_that_does_not_fit(text: str, message: str, tmp_path: Path) -> None:
    """A CSV file is refused with its row, column and reason."""
    (tmp_path / 'x.csv').write_text(text)
    with pytest.raises(TableError, match=message):
        DocList[Film].from_csv(tmp_path / 'x.csv')


def test_a_csv_file_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte order mark, another dialect, empty lines and very long cells are no trouble."""
    (tmp_path / 'x.csv').write_bytes(b'\xef\xbb\xbftitle\tyear\r\n' + b'x' * 200_000 + b'\t\r\n\r\nb\t7\r\n')
    films = DocList[Film].from_csv(tmp_path / 'x.csv', dialect='excel-tab')
    assert films.year == [2000, 7]
    assert len(films[0].title) == 200_000


def test_an_empty_cell(tmp_path: Path) -> None:
    """An empty cell is None or the default, or the empty text where nothing else can be meant; all come back."""

    def read(**texts: str) -> dict[str, Any]:
        return row_of_texts(texts, rows_of(Chunk))

    chunks = DocList[Chunk]([Chunk(text=text, note=Note(b=note)) for text in ('', '""') for note in (None, '', '"')])
    assert through_csv(chunks, tmp_path) == chunks
    assert read(id='', text='', note__b='') == {'text': '', 'note': {'b': None}}
    assert read(text='""', note__b='""') == {'text': '""', 'note': {'b': ''}}
    films = DocList[Film]([Film(title='', author=Author(name='')), Film(title='')])
    assert through_csv(films, tmp_path) == films


@pytest.mark.parametrize('way', [through_json, through_json_file], ids=lambda way: way.__name__)
def test_half_of_a_surrogate_pair_comes_back(way: Way, tmp_path: Path) -> None:
    """A text that UTF-8 has no bytes for is written to JSON by its number."""
    films = DocList[Film]([Film(title='\ud83d is half of \U0001f600')])
    assert way(films, tmp_path) == films


def test_a_csv_file_is_csv(tmp_path: Path) -> None:
    """Numbers, words and times stand in it as themselves, vectors as JSON lists."""
    BOOKS.to_csv(tmp_path / 'b.csv')
    row = next(csv.DictReader(io.StringIO((tmp_path / 'b.csv').read_text())))
    assert (row['price'], row['when'], row['colour'], row['author__name']) == (
        '1.0',
        '2026-01-31T12:00:00.000005',
        'red',
        '',
    )
    assert row['image'].startswith('[[')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[{"title": "a"}, {"title": 5}]', r'row 1 \(line 1\): title: Input should be a valid string'),
        ('[{"title": "a"}', "expected ',' in line 1, got the end of the file"),
        ('[{"title": "a"},\n', 'no JSON: Expecting value in the value of line 2'),
        ('[{"title": "a"},\n{"title": "b"}] x', "expected the end of the file in line 2, got 'x'"),
        ('[{"title": "a"}, 7]', r'row 1 \(line 1\): expected a JSON object, got int'),
        ('[{"title": ' + '[' * 100_000, 'nested too deeply'),
        ('{"title": "a"}\n\n{"title": 5}', r'row 1 \(line 3\): title: Input should be a valid string'),
        ('{"title": "a"}\n{"titl', r'row 1 \(line 2\): this is no JSON'),
        ('[{"title": "a", "v": {"dtype": "?", "shape": [7], "numbers": [1]}}]', 'row 0 .*: v: cannot reshape'),
        ('[{"title": "a", "v": {"dtype": "no", "framework": "no"}}]', "row 0 .*: v: 'shape'"),
    ],
)
def test_json_that_does_not_fit(text: str, message: str) -> None:
    """JSON that is none, or does not fit the class, is refused with its row."""
    with pytest.raises(TableError, match=message):
        DocList[Film].from_json(text)


def test_json_is_what_one_would_write() -> None:
    """A document is an object with lists of numbers, one in a line; what JSON cannot say has its type beside it."""
    films = DocList[Film]([Film(id='a', title='é', v=[1.0, 2.5]), Film(id='b', title='', v=[np.nan, 2.0])])
    films[0].v = np.array([1, 2.5], np.float32)
    lines = films.to_json().splitlines()
    assert lines[0] == '[{"id":"a","title":"é","year":2000,"author":null,"v":[1.0,2.5]},'
    assert json.loads(lines[1][:-1])['v'] == {'dtype': '<f8', 'shape': [2], 'base64': 'AAAAAAAA+H8AAAAAAAAAQA=='}
    assert DocList[Film].from_json(films.to_json()) == films
    assert DocList[Film].from_json(b'[{"title": "a"}]').title == ['a']
    flat = '{"title": "a", "author__name": "A"}\n{"title": "b", "author": {"name": "B"}}\n{"title": "c"}'
    assert DocList[Film].from_json(flat).author.name == ['A', 'B', None]
    notes = '[{"note": true, "note__a": 1}, {"note": true}, {"note": false}, {"note__a": null}, {"note": {}}]'
    assert [doc.note for doc in DocList[Noted].from_json(notes)] == [Note(a=1), Note(), None, None, Note()]


class Noted(BaseDoc):
    note: Note | None = None


class Tensed(BaseDoc):
    vector: NdArray = Field(dim=2)
    whole: NdArray | None = Field(None, index=False)


@pytest.mark.parametrize(
    ('field', 'numbers', 'dtype'),
    [
        ('vector', '[1, 2]', 'float32'),
        ('vector', '[0.5, 2]', 'float32'),
        ('vector', '[0.1, 2]', 'float64'),
        ('vector', '[16777217, 2]', 'float64'),
        ('vector', '[9007199254740993, 2]', 'int64'),
        ('vector', '[1e300, 2]', 'float64'),
        ('vector', '[true, false]', 'bool'),
        ('whole', '[[1, 2]]', 'int64'),
        ('whole', '[[1.0, 2]]', 'float32'),
        ('whole', '[[1e-40, 2]]', 'float64'),
    ],
)
def test_lists_of_numbers_have_a_type(field: str, numbers: str, dtype: str, tmp_path: Path) -> None:
    """A list is float32 if that holds each of its numbers, else float64; integers in what is no vector are int64."""
    row = {'vector': [1, 2], field: json.loads(numbers)}
    (tmp_path / 'x.csv').write_text(
        f'vector,{field}\n"[1, 2]","{numbers}"\n' if field == 'whole' else f'vector\n"{numbers}"'
    )
    (from_json,) = DocList[Tensed].from_json(json.dumps([row]))
    (from_csv,) = DocList[Tensed].from_csv(tmp_path / 'x.csv')
    for doc in (from_json, from_csv):
        assert getattr(doc, field).dtype == dtype
        assert getattr(doc, field).tolist() == json.loads(numbers)


TEXTS = [through_json, through_json_file, through_csv]


@pytest.mark.parametrize('way', TEXTS, ids=lambda way: way.__name__)
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', 'int8', 'int64', 'uint64', 'bool', '>f4'])
def test_texts_keep_the_dtype(way: Way, dtype: str, tmp_path: Path) -> None:
    """A tensor of any type comes back from JSON and CSV as it was, to the bit, also NaN, nothing and a scalar."""
    tensors = [np.array([1, 0], dtype), np.array([[1], [0]], dtype), np.zeros((0, 3), dtype), np.array(1, dtype)]
    if np.dtype(dtype).kind == 'f':
        tensors += [np.array([np.nan, -np.inf], dtype), np.array([0.1, -0.0], dtype)]
    docs = DocList[Tensed](
        [Tensed(vector=tensor if tensor.shape == (2,) else tensors[0], whole=tensor) for tensor in tensors]
    )
    assert all(same(*pair) for pair in zip(way(docs, tmp_path), docs, strict=True))


class Torched(BaseDoc):
    vector: TorchTensor = Field(dim=2)
    other: TorchTensor | None = Field(None, index=False)
    of_any: AnyTensor | None = Field(None, index=False)
    named: dict[str, AnyTensor] = {}  # noqa: RUF012


@every_way
def test_tensors_of_other_frameworks(way: Way, tmp_path: Path) -> None:
    """A torch field holds torch's tensors again; in texts and pandas with their type, and in fields of any tensor."""
    torch = pytest.importorskip('torch')
    docs = DocList[Torched](
        Torched(vector=torch.tensor([0.1, 2.0]), other=torch.tensor([[1.5]]).to(dtype), named={'x': torch.ones(1)})
        for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int8)
    )
    is_arrow = way in (through_arrow, through_parquet, through_polars)
    if not is_arrow:  # Arrow's columns have one type, of numpy's
        docs[0].of_any = torch.tensor([1, 2])
        docs[1].vector = torch.tensor([0.1, float('nan')], dtype=torch.bfloat16)
    for again, doc in zip(way(docs, tmp_path), docs, strict=True):
        assert again == doc
        assert isinstance(again.vector, torch.Tensor)
        assert type(again.of_any) is type(doc.of_any)
        assert is_arrow or (again.other.dtype, again.vector.dtype) == (doc.other.dtype, doc.vector.dtype)


class Strict(BaseDoc):
    model_config = ConfigDict(strict=True)
    number: int = 0
    real: float = 0.0
    flag: bool = False
    when: datetime = datetime(2026, 1, 31)
    delta: timedelta = timedelta(1)
    money: Decimal = Decimal('1.5')
    colour: Colour = Colour.RED
    tags: frozenset[date] = frozenset()
    pair: tuple[int, ...] = ()
    keys: set[UUID] = set()  # noqa: RUF012
    colours: tuple[Colour, ...] = ()
    times: list[datetime] = []  # noqa: RUF012
    url: ImageUrl | None = None
    inner: StrictPart | None = None
    parts: list[StrictPart] = []  # noqa: RUF012


class StrictPart(BaseModel):
    model_config = ConfigDict(strict=True)
    colour: Colour = Colour.RED
    sums: tuple[Decimal, ...] = ()


STRICT = DocList[Strict](
    [
        Strict(number=5, flag=True, tags=frozenset({date(2020, 1, 1)}), pair=(1, 2), colour=Colour.BLUE),
        Strict(
            keys={UUID(int=1)}, colours=(Colour.RED,), times=[datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)]
        ),
        Strict(url=ImageUrl('a.png'), inner=StrictPart(), parts=[StrictPart(sums=(Decimal('1.10'),)), StrictPart()]),
    ]
)


def through_a_file_for_pandas(docs: DocList[Any], path: Path) -> DocList[Any]:
    docs.to_parquet(path / 'docs.parquet')
    return type(docs).from_dataframe(pd.read_parquet(path / 'docs.parquet'))


@pytest.mark.parametrize('way', [*WAYS, through_a_file_for_pandas], ids=lambda way: way.__name__)
def test_strict_documents_come_back(way: Way, tmp_path: Path) -> None:
    """A class that converts nothing, sets, tuples, enums, is written and read as any other."""
    assert [*map(repr, way(STRICT, tmp_path))] == [*map(repr, STRICT)]


NOT_UTF8 = pa.array([b'fine', b'\xff'], pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ('column', 'cells'),
    [
        ('when', pa.array([0, 10**15], pa.timestamp('ms'))),
        ('when', pa.array([0, 16 * 10**14], pa.timestamp('s', 'UTC'))),
        ('delta', pa.array([0, 10**17], pa.duration('s'))),
        ('day', pa.array([0, 10**8], pa.date32())),
        ('title', NOT_UTF8),
        ('tags', pa.ListArray.from_arrays([0, 1, 2], NOT_UTF8)),
    ],
)
def test_what_python_has_no_value_for(column: str, cells: pa.Array) -> None:
    """A time after the year 9999, or a text that is not UTF-8, is an error with its row, not another time or text."""
    table = pa.table({'title': ['a', 'b'], 'embedding': [[1, 2, 3, 4]] * 2, 'ragged': [[1]] * 2})
    table = table.drop_columns([column] if column in table.column_names else []).append_column(column, cells)
    with pytest.raises(TableError, match=f'row 1: {column}: ') as caught:
        DocList[Book].from_arrow(table)
    assert (caught.value.row, caught.value.column) == (1, column)


class Choosy(BaseDoc):
    count: pydantic.StrictInt = 1
    flag: pydantic.StrictBool | None = True
    money: Decimal = pydantic.Field(Decimal('1.50'), strict=True)
    days: Annotated[set[date], pydantic.Strict()] = {date(2026, 1, 31)}  # noqa: RUF012
    level: Literal[1, 2] = 1
    always: Literal[True] = True


@every_way
def test_strict_fields_and_choices_come_back(way: Way, tmp_path: Path) -> None:
    """A single field that converts nothing, or takes some numbers only, is written and read as any other."""
    docs = DocList[Choosy]([Choosy(id='a'), Choosy(id='b', flag=None, level=2)])
    assert [*map(repr, way(docs, tmp_path))] == [*map(repr, docs)]


def test_a_strict_class_refuses_other_types() -> None:
    """A text is no number, and stands for no colour that there is not."""
    with pytest.raises(TableError, match='number: Input should be a valid integer'):
        DocList[Strict].from_json('[{"number": "5"}]')
    with pytest.raises(TableError, match='colour: Input should be an instance of Colour'):
        DocList[Strict].from_arrow(pa.table({'colour': ['green']}))
    with pytest.raises(TableError, match='number: Input should be a valid integer'):
        DocList[Strict].from_dataframe(pd.DataFrame({'number': ['5']}))


class Person(BaseModel):
    given: str = pydantic.Field('', alias='name')
    name: str = pydantic.Field('', validation_alias=pydantic.AliasChoices('surname', pydantic.AliasPath('names', 1)))


class Crossed(BaseDoc):
    title: str = pydantic.Field('', alias='name')
    name: str = pydantic.Field('', alias='full_name')
    author: Person | None = None
    others: list[Person] = []  # noqa: RUF012
    by_role: dict[str, Person] = {}  # noqa: RUF012


PERSON = Person.model_construct(given='G', name='S')
CROSSED = DocList[Crossed](
    [Crossed.model_construct(id='a', title='T', name='N', author=PERSON, others=[PERSON], by_role={'x': PERSON})]
)


@pytest.mark.parametrize('way', [*WAYS, through_a_file_for_pandas], ids=lambda way: way.__name__)
def test_an_alias_that_is_the_name_of_another_field(way: Way, tmp_path: Path) -> None:
    """What is written has the names of fields and is read by them, also if one of them is an alias of another."""
    assert way(CROSSED, tmp_path) == CROSSED


class Open(BaseDoc):
    model_config = ConfigDict(extra='allow')
    inner: dict[str, Any] = {}  # noqa: RUF012


@every_way
def test_extra_fields_come_back(way: Way, tmp_path: Path) -> None:
    """What a class with `extra='allow'` holds beyond its fields is kept."""
    docs = DocList[Open]([Open(id='a', colour='red', n=3), Open(id='b')])
    assert way(docs, tmp_path) == docs


class Twice(BaseDoc):
    a: Note = Note()
    a__b: str = ''


def test_names_that_meet_are_refused() -> None:
    """Two fields that flatten to one column are an error, for one of them would be lost."""
    with pytest.raises(TableError, match="two fields flatten to the column 'a__b'"):
        DocList[Twice]([Twice()]).to_arrow()


def test_a_list_of_no_class() -> None:
    """An untyped list is a table if its documents are of one class; reading needs to know the class."""
    assert DocList([Film(title='a')]).to_arrow().num_rows == 1
    for docs in (DocList([]), DocList([Film(title='a'), Author(name='b')])):
        with pytest.raises(TableError, match='write DocList'):
            docs.to_arrow()
    with pytest.raises(TableError, match='write DocList'):
        DocList.from_json('[]')


def test_frames_of_other_libraries_are_refused() -> None:
    """A data frame is pandas' or polars', to read as well as to write."""
    with pytest.raises(TableError, match="not 'spark'"):
        BOOKS.to_dataframe('spark')  # type: ignore[arg-type]
    with pytest.raises(TableError, match='expected a data frame of pandas or polars, got dict'):
        DocList[Film].from_dataframe({'title': []})


@pytest.mark.parametrize(
    ('library', 'call', 'extra'),
    [
        ('pyarrow', lambda docs: docs.to_arrow(), 'arrow'),
        ('pyarrow.parquet', lambda docs: docs.to_parquet('x'), 'arrow'),
        ('pandas', lambda docs: docs.to_dataframe(), 'pandas'),
        ('polars', lambda docs: docs.to_dataframe('polars'), 'polars'),
    ],
)
def test_a_missing_library_says_what_to_install(
    library: str, call: Callable[[Any], Any], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an optional library the call that needs it names the extra."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=rf'pip install .docindex-hnsw\[{extra}\]') as raised:
        call(DocList[Film]([Film(title='a')]))
    assert isinstance(raised.value, ImportError)
