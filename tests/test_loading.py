"""Files and tables into an index, row by row."""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pydantic
import pytest

from docindex import BaseDoc, DocList, HnswDocumentIndex, LoadError, QueryError, SourceError, TableError
from docindex.formats import open_file
from docindex.loading import BadRow, LoadReport
from tests.books import Book
from tests.programs import PATIENCE, environment

Index = HnswDocumentIndex[Book]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with HnswDocumentIndex[Book](work_dir=tmp_path / 'index') as made:
        yield made


def rows(count: int, with_id: bool = True) -> list[dict[str, Any]]:
    """Return rows as a JSON file has them."""
    made = [{'title': f'Book {at}', 'price': at / 4, 'vector': [float(at), 1.0]} for at in range(count)]
    return [{'id': str(at), **row} for at, row in enumerate(made)] if with_id else made


def json_lines(path: Path, given: list[Any]) -> Path:
    """Write JSON lines; a row that is bytes is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in given]
    path.write_bytes(b''.join(line + b'\n' for line in lines))
    return path


def table() -> pa.Table:
    columns = {name: [row[name] for row in rows(50)] for name in ('id', 'title', 'price')}
    matrix = np.array([row['vector'] for row in rows(50)], np.float32)
    return pa.table({**columns, 'vector': pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 2)})


def arrow_file(path: Path, of: pa.Table) -> None:
    with pa.OSFile(str(path), 'wb') as file, pa.ipc.new_stream(file, of.schema) as writer:
        writer.write_table(of)


def csv_file(path: Path, of: pa.Table) -> None:
    frame = of.to_pandas()
    frame['vector'] = [json.dumps(vector.tolist()) for vector in frame['vector']]
    frame.to_csv(path, index=False, compression=None)


def lines_file(path: Path, of: pa.Table) -> None:
    path.write_bytes(b''.join(json.dumps(row).encode() + b'\n' for row in of.to_pylist()))


def array_file(path: Path, of: pa.Table) -> None:
    path.write_text('\ufeff' + json.dumps(of.to_pylist(), indent=1))


def packed(write: Callable[[Path, pa.Table], None]) -> Callable[[Path, pa.Table], None]:
    def write_packed(path: Path, of: pa.Table) -> None:
        write(path, of)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return write_packed


FILES: dict[str, Callable[[Path, pa.Table], None]] = {
    'x.parquet': lambda path, of: pq.write_table(of, path),
    'x.feather': lambda path, of: feather.write_feather(of, path),
    'x.arrow': arrow_file,
    'x.jsonl': lines_file,
    'x.jsonl.gz': packed(lines_file),
    'x.json': array_file,
    'x.csv': csv_file,
    'x.csv.gz': packed(csv_file),
}


@pytest.mark.parametrize('name', FILES)
def test_a_file_is_loaded(index: Index, tmp_path: Path, name: str) -> None:
    """Each format gives the rows that others wrote in it, vectors as float32, and can be continued in its middle."""
    FILES[name](tmp_path / name, table())
    report = index.index_from(tmp_path / name, batch_size=7)
    assert (report.stored, report.skipped, report.resumed_from) == (50, [], 0)
    assert len(index) == 50
    assert (index['49'].title, index['49'].price) == ('Book 49', 12.25)
    assert index['49'].vector.dtype == np.float32
    assert index.find([49, 1], 'vector', limit=1).documents.id == ['49']
    source = open_file(tmp_path / name, None)
    pieces = list(source.pieces(20, 7, None))
    source.close()
    numbers = [piece.first + at for piece in pieces for at in range(len(piece.rows))]
    assert numbers == list(range(21, 51))
    assert max(len(piece.rows) for piece in pieces) == 7


TABLES: dict[str, Callable[[], Any]] = {
    'pyarrow': table,
    'batch': lambda: table().to_batches()[0],
    'reader': lambda: table().to_reader(max_chunksize=20),
    'pandas': lambda: table().to_pandas(),
    'polars': lambda: pl.from_arrow(table()),
    'dicts': lambda: rows(50),
    'generator': lambda: (Book(**row) for row in rows(50)),
}


@pytest.mark.parametrize('name', TABLES)
def test_a_table_is_loaded(index: Index, name: str) -> None:
    """Tables of pyarrow, pandas and polars, and iterables of dicts and documents, are loaded as files are."""
    assert index.index_from(TABLES[name](), batch_size=8).stored == 50
    assert sorted(index, key=int) == [str(at) for at in range(50)]
    assert (index['7'].title, index['7'].vector.tolist()) == ('Book 7', [7, 1])


class Part(BaseDoc):
    name: str
    size: int | None = None


class Mixed(BaseDoc):
    meta: dict[str, Any] = {}  # noqa: RUF012
    counts: dict[str, int] = {}  # noqa: RUF012
    notes: list[dict[str, Any]] = []  # noqa: RUF012
    since: float | date | None = None
    ratio: float | date = 0.5
    code: int | str = 0
    reals: list[float] = []  # noqa: RUF012
    pair: tuple[int, str] = (0, '')
    key: UUID | None = None
    tags: set[str] = set()  # noqa: RUF012
    path: Path = Path()
    part: Part | None = None
    parts: DocList[Part] = DocList[Part]()


MIXED = DocList[Mixed](
    [
        Mixed(id='a', meta={'author': 'x'}, counts={'a': 1}, notes=[{'a': 1}, {'b': 2}], since=date(2020, 1, 1)),
        Mixed(id='b', meta={'year': 2020}, since=1.5, code='1', part=Part(id='p', name='P')),
        Mixed(id='c', counts={'b': 2}, ratio=math.nan, code=1, reals=[1.0, math.nan], path=Path('a/b')),
        Mixed(id='d', ratio=date(2020, 1, 1), code='x', pair=(1, 'b'), key=UUID(int=1), tags={'t'}),
        Mixed(id='e', parts=DocList[Part]([Part(id='q', name='Q', size=1), Part(id='r', name='R')])),
    ]
)


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_cells_of_pandas_are_read_one_by_one(tmp_path: Path, batch_size: int) -> None:
    """Dicts, unions, tuples, paths, models: a frame gives the documents it was made of, whatever stands around each."""
    frame = MIXED.to_dataframe()
    with HnswDocumentIndex[Mixed](work_dir=tmp_path / 'index') as index:
        report = index.index_from(frame, batch_size=batch_size)
        assert (report.stored, report.ignored) == (5, [])
        assert [*map(repr, index[list('abcde')])] == [*map(repr, MIXED)]
    assert [*map(repr, DocList[Mixed].from_dataframe(frame))] == [*map(repr, MIXED)]


class Made(BaseDoc):
    part: Part
    spare: Part | None = None
    many: list[Part] = []  # noqa: RUF012


def test_a_cell_of_pandas_can_hold_a_document(tmp_path: Path) -> None:
    """A nested document may be one cell, a dict or a model, and so may those of a list; what else is there is bad."""
    part = {'id': 'p', 'name': 'P', 'size': None}
    cells = [part, Part(**part), {'id': 'q'}, 'Q', None]
    frame = pd.DataFrame({'id': list('abcde'), 'part': cells, 'spare': cells[:2] + [None] * 3})
    frame['many'] = [[part], [Part(id='r', name='R')], None, None, None]
    with HnswDocumentIndex[Made](work_dir=tmp_path / 'index') as index:
        report = index.index_from(frame, on_error='skip')
        assert (report.stored, report.ignored) == (2, [])
        assert [(bad.row, bad.reason) for bad in report.skipped] == [
            (3, "(id 'c'): part__name: Field required"),
            (4, 'part: expected a document, got str'),
            (5, "(id 'e'): part: Field required"),
        ]
        expected = Made(id='a', part=Part(**part), spare=Part(**part), many=[Part(**part)])
        assert index['a'] == DocList[Made].from_dataframe(frame[:2])[0] == expected
        assert (index['b'].part, index['b'].spare, index['b'].many[0].name) == (Part(**part), Part(**part), 'R')
        with pytest.raises(
            LoadError, match='the DataFrame, row 4: part: expected a document, got str; rows 1 to 2 are'
        ):
            index.index_from(frame.iloc[[0, 1, 0, 3]], batch_size=2)


def test_structs_of_a_file_that_pandas_has_read(tmp_path: Path) -> None:
    """What pandas makes of structs and lists in a Parquet file is read: dicts in which None is what is missing."""
    made = Made(id='a', part=Part(id='p', name='P'), many=[Part(id='q', name='Q', size=1)])
    rows = [made.model_dump(), {'id': 'b', 'part': {'id': None, 'name': 'R'}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / 'x.parquet')
    with HnswDocumentIndex[Made](work_dir=tmp_path / 'index') as index:
        assert index.index_from(pd.read_parquet(tmp_path / 'x.parquet')).stored == 2
        assert (index['a'], index['b'].part.name, index['b'].spare) == (made, 'R', None)


def test_columns_of_pandas_have_any_names(index: Index) -> None:
    """Names that are no strings are meant by their text."""
    frame = table().to_pandas().rename(columns={'title': 7})
    assert index.index_from(frame, rename={'7': 'title'}).stored == 50


def test_two_columns_of_one_name_are_refused(index: Index, tmp_path: Path) -> None:
    """A table or a file with two columns of one name is refused, before anything is read."""
    twice = table().rename_columns(['id', 'title', 'title', 'vector'])
    arrow_file(tmp_path / 'x.arrow', twice)
    pq.write_table(twice, tmp_path / 'x.parquet')
    for source in (twice, twice.to_pandas(), tmp_path / 'x.arrow', tmp_path / 'x.parquet'):
        with pytest.raises(SourceError, match="has two columns 'title'"):
            index.index_from(source)
    for read in (lambda: DocList[Book].from_arrow(twice), lambda: DocList[Book].from_dataframe(twice.to_pandas())):
        with pytest.raises(TableError, match="there are two columns 'title'"):
            read()


def test_a_frame_goes_on_by_its_key(index: Index) -> None:
    """With `resume_key` a frame is continued behind its last batch, its index being whatever it is."""
    frame = table().to_pandas().drop(columns='id').set_index(pd.Index([3] * 50))
    bad = frame.assign(title=[*frame['title'][:33], 7, *frame['title'][34:]])
    with pytest.raises(LoadError, match=r'the DataFrame, row 34: title: Input should be .*; rows 1 to 30 are done'):
        index.index_from(bad, batch_size=10, resume_key='frame')
    assert index.index_from(frame, resume_key='frame').resumed_from == 30
    assert titles(index) == [f'Book {at}' for at in range(50)]


def test_a_file_of_one_row_group_is_read_piece_by_piece(tmp_path: Path) -> None:
    """However a file is laid out, no piece has more rows than a batch, and Arrow holds little more than that."""
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(100_000 * 64, np.float32)), 64)
    pq.write_table(pa.table({'vector': matrix}), tmp_path / 'x.parquet', row_group_size=100_000, use_dictionary=False)
    del matrix
    before, most, sizes = pa.total_allocated_bytes(), 0, []
    source = open_file(tmp_path / 'x.parquet', None)
    for piece in source.pieces(0, 1000, None):
        sizes.append(len(piece.rows))
        most = max(most, pa.total_allocated_bytes() - before)
    source.close()
    assert (sum(sizes), max(sizes)) == (100_000, 1000)
    assert most < 8 << 20  # the whole is 24 MiB


# -- columns -------------------------------------------------------------------------------------------------


def test_nested_documents_by_flat_names(index: Index, tmp_path: Path) -> None:
    """`cover__url` is a column of CSV and a key of JSON; without any cell the optional document is None."""
    (tmp_path / 'x.csv').write_text(
        'id,title,vector,cover__url,cover__look,tags\n'
        'a,A,"[1, 2]",a.png,"[3, 4]","[""new"", ""old""]"\n'
        'b,B,"[1, 2]",,,\n'
    )
    index.index_from(tmp_path / 'x.csv')
    assert index['a'].cover is not None
    assert (index['a'].cover.url, index['a'].cover.look.tolist(), index['a'].tags) == ('a.png', [3, 4], ['new', 'old'])
    assert (index['b'].cover, index['b'].tags) == (None, [])
    flat = {'id': 'c', 'title': 'C', 'vector': [1, 2], 'cover__url': 'c.png'}
    nested = {'id': 'd', 'title': 'D', 'vector': [1, 2], 'cover': {'url': 'd.png'}}
    index.index_from(json_lines(tmp_path / 'x.jsonl', [flat, nested]))
    index.index_from([{**flat, 'id': 'e', 'cover__url': None}, {**flat, 'id': 'f'}])
    assert [doc.cover and doc.cover.url for doc in index[['c', 'd', 'e', 'f']]] == ['c.png', 'd.png', None, 'c.png']


def test_a_struct_is_a_nested_document(index: Index, tmp_path: Path) -> None:
    """A struct column with the name of a nested document is read into it."""
    structs = pa.table({'id': ['a'], 'title': ['A'], 'vector': [[1.0, 2.0]], 'cover': [{'url': 'a.png', 'year': 1990}]})
    pq.write_table(structs, tmp_path / 'x.parquet')
    index.index_from(tmp_path / 'x.parquet')
    assert index['a'].cover is not None
    assert index['a'].cover.url == 'a.png'


def test_a_column_is_not_taken_for_a_misspelt_one(index: Index) -> None:
    """A struct may have fields of its own beside those of the nested document; nothing that has a default is missed."""
    structs = pa.array([{'url': 'a.png', 'size': 7, 'look_at': 1}])
    index.index_from(pa.table({'id': ['a'], 'title': ['A'], 'vector': [[1.0, 2.0]], 'cover': structs, 'prices': [1]}))
    assert index['a'].cover is not None
    assert (index['a'].cover.url, index['a'].price) == ('a.png', None)
    with pytest.raises(LoadError, match="no column 'title', which Book needs; is it 'titel'"):
        index.index_from(pa.table({'titel': ['A'], 'vector': [[1.0, 2.0]]}))


def test_a_missing_column_is_noticed_before_anything_is_read(index: Index, tmp_path: Path) -> None:
    """A file without a column that every document needs is refused; the message names it and those there are."""
    pq.write_table(table().drop_columns(['title']), tmp_path / 'x.parquet')
    with pytest.raises(LoadError, match=r"'title', which Book needs.*'price'") as raised:
        index.index_from(tmp_path / 'x.parquet', on_error='skip')
    assert (raised.value.path, raised.value.row) == (str(tmp_path / 'x.parquet'), None)
    assert len(index) == 0


def test_columns_that_no_field_has_are_ignored(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    """Further columns are ignored, and the report and a line in the log say which."""
    with caplog.at_level(logging.INFO, 'docindex'):
        report = index.index_from(table().append_column('shelf', pa.array([1] * 50)))
    assert len(index) == 50
    assert report.ignored == ['shelf']
    assert "no field is called 'shelf'" in str(report)
    assert [message for message in caplog.messages if "['shelf']" in message] == caplog.messages


def test_names_in_rows_that_no_field_has_are_reported(index: Index) -> None:
    """Names of no field in rows are in the report, and those of nested documents are not."""
    rows = [
        {'title': 'a', 'vector': [1, 2], 'cover': {'url': 'a.png'}},
        {'title': 'b', 'vector': [1, 2], 'cover__url': 'b.png', 'titel': 'c', 'Vector': 1},
    ]
    assert index.index_from(rows).ignored == ['Vector', 'titel']


@pytest.mark.parametrize('ending', ['parquet', 'jsonl', 'csv'])
def test_columns_can_be_renamed(index: Index, tmp_path: Path, ending: str) -> None:
    """`rename` reads a column into a field of another name."""
    FILES[f'x.{ending}'](tmp_path / f'x.{ending}', table().rename_columns(['id', 'name', 'price', 'vector']))
    index.index_from(tmp_path / f'x.{ending}', rename={'name': 'title'})
    assert index['3'].title == 'Book 3'


def test_a_struct_can_be_renamed(index: Index, tmp_path: Path) -> None:
    """A struct is a nested document by the name that it gets."""
    columns = {'id': ['a'], 'title': ['A'], 'vector': [[1.0, 2.0]], 'front': [{'url': 'a.png'}]}
    pq.write_table(pa.table(columns), tmp_path / 'x.parquet')
    for source in (tmp_path / 'x.parquet', pd.DataFrame(columns)):
        assert index.index_from(source, rename={'front': 'cover'}).ignored == []
        assert index['a'].cover is not None
        assert index['a'].cover.url == 'a.png'
        index.delete('a')


CLASHES: dict[str, dict[str, str]] = {
    "'Title' and 'title' are both 'title' here": {'Title': 'title'},
    "'Title' and 'price' are both 'pages' here": {'Title': 'pages', 'price': 'pages'},
}


def clashing() -> pa.Table:
    return table().append_column('Title', pa.array(['X'] * 50)).select(['id', 'Title', 'title', 'price', 'vector'])


@pytest.mark.parametrize('clash', CLASHES)
@pytest.mark.parametrize('name', ['x.parquet', 'x.arrow', 'x.csv', 'a table', 'a frame'])
def test_two_columns_cannot_be_one(index: Index, tmp_path: Path, name: str, clash: str) -> None:
    """Where `rename` makes one of two columns, none of them is lost: nothing is read, and the error names both."""
    source: Any = {'a table': clashing(), 'a frame': clashing().to_pandas()}.get(name, tmp_path / name)
    if name in FILES:
        FILES[name](tmp_path / name, clashing())
    with pytest.raises(QueryError, match=f'{clash}; rename one of them'):
        index.index_from(source, rename=CLASHES[clash], on_error='skip')
    assert len(index) == 0


@pytest.mark.parametrize('name', ['x.jsonl', 'dicts'])
def test_two_names_in_a_row_cannot_be_one(index: Index, tmp_path: Path, name: str) -> None:
    """Where rows have no columns, one in which `rename` makes one of two names is a bad row; either alone is fine."""
    given = [
        {'id': 'a', 'title': 'A', 'vector': [1, 2], 'long': 1},
        {'id': 'b', 'Title': 'B', 'vector': [1, 2], 'thick': 2},
        {'id': 'c', 'Title': 'X', 'title': 'Y', 'vector': [1, 2]},
        {'id': 'd', 'title': 'D', 'vector': [1, 2], 'long': 3, 'thick': 4},
    ]
    source: Any = given if name == 'dicts' else json_lines(tmp_path / name, given)
    rename = {'Title': 'title', 'long': 'pages', 'thick': 'pages'}
    with pytest.raises(LoadError, match=r"row 3.*: 'Title' and 'title' are both 'title' here; nothing is stored"):
        index.index_from(source, rename=rename)
    report = index.index_from(source, rename=rename, on_error='skip')
    assert [(bad.row, bad.reason) for bad in report.skipped] == [
        (3, "'Title' and 'title' are both 'title' here"),
        (4, "'long' and 'thick' are both 'pages' here"),
    ]
    assert [(doc.title, doc.pages) for doc in index[['a', 'b']]] == [('A', 1), ('B', 2)]


class Crossed(BaseDoc):
    title: str = pydantic.Field('', alias='name')
    name: str = pydantic.Field('', alias='full_name')
    pages: int = 0


@pytest.mark.parametrize('ending', ['parquet', 'arrow', 'jsonl', 'json', 'csv'])
def test_an_alias_that_is_the_name_of_another_field(tmp_path: Path, ending: str) -> None:
    """What an index exports has the names of fields and is read by them, also if one of them is an alias of another."""
    path = tmp_path / f'x.{ending}'
    with HnswDocumentIndex[Crossed](work_dir=tmp_path / 'index') as index:
        index.index([{'id': 'a', 'name': 'T', 'full_name': 'N'}])
        index.export(path)
        index.update('a', title='changed')
        assert index.index_from(path).stored == 1
        assert (index['a'].title, index['a'].name) == ('T', 'N')


def test_rows_of_a_program_may_have_aliases(tmp_path: Path) -> None:
    """Dicts are read as `index` reads them, by aliases; bad rows are named either way."""
    rows = [{'id': 'a', 'name': 'T', 'full_name': 'N'}, {'id': 'b', 'pages': 'many'}]
    with HnswDocumentIndex[Crossed](work_dir=tmp_path / 'index') as index:
        for source in (rows, json_lines(tmp_path / 'x.jsonl', rows)):
            report = index.index_from(source, on_error='skip')
            assert [bad.row for bad in report.skipped] == [2]
            assert report.skipped[0].reason.startswith("(id 'b'): pages: Input should be a valid integer")
        assert index.index_from(rows[:1]).ignored == []
        assert (index['a'].title, index['a'].name) == ('T', 'N')


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        ({'batch_size': 0}, 'batch_size must be'),
        ({'on_error': 'ignore'}, "'raise' or 'skip'"),
        ({'format': 'xml'}, "one of 'parquet'"),
        ({'rename': {'title': 'nothing'}}, "no field 'nothing'"),
        ({'rename': {'nothing': 'title'}}, "no column 'nothing'"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(index: Index, tmp_path: Path, options: Any, complaint: str) -> None:
    """An argument that makes no sense is refused in words that say what would."""
    pq.write_table(table(), tmp_path / 'x.parquet')
    with pytest.raises(QueryError, match=complaint):
        index.index_from(tmp_path / 'x.parquet', **options)


def test_what_is_no_source(index: Index, tmp_path: Path) -> None:
    """A file of unknown format, a single row, a number and a lazy frame are refused."""
    with pytest.raises(QueryError, match='say format='):
        index.index_from(tmp_path / 'x.bin')
    for given, complaint in [({}, 'one dict'), (7, 'got int'), (pl.LazyFrame({'id': ['a']}), r'collect\(\) it')]:
        with pytest.raises(QueryError, match=complaint):
            index.index_from(given)


# -- bad rows ------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Any, str]] = {
    'a vector that is too short': (
        {**rows(1)[0], 'vector': [1.0]},
        "(id '0'): field 'vector' holds 2-d vectors, got 1-d",
    ),
    'a vector with NaN': ({**rows(1)[0], 'vector': [1.0, float('nan')]}, "(id '0'): field 'vector' has NaN"),
    'no vector': ({'id': 'x', 'title': 'X'}, "(id 'x'): vector: Field required"),
    'an id that is a number': ({**rows(1)[0], 'id': 7}, 'an id is a string, got int 7'),
    'a wrong type': ({**rows(1)[0], 'pages': 'many'}, "(id '0'): pages: Input should be a valid integer"),
    'a number that is too large': (b'{"pages": 1' + b'0' * 5000 + b'}', 'this is no JSON: Exceeds the limit'),
    'no JSON': (b'{"id": ', 'this is no JSON: Expecting value'),
    'no object': (b'[1]', 'expected a JSON object, got list'),
    'no UTF-8': (b'{"id": "\xff"}', 'this is not UTF-8: invalid start byte at byte 9'),
    'too deep': (b'[' * 100_000, 'this is no JSON that can be read: it is nested too deeply'),
}


@pytest.mark.parametrize('what', BAD)
def test_a_bad_row_is_named(index: Index, tmp_path: Path, what: str) -> None:
    """A bad row ends the load; the error has the file, the row, its line and the reason, and what is stored by then."""
    bad, reason = BAD[what]
    path = json_lines(tmp_path / 'x.jsonl', [*rows(9), b'', bad, *rows(20)[10:]])
    with pytest.raises(LoadError) as raised:
        index.index_from(path, batch_size=4)
    error = raised.value
    assert (error.path, error.row, error.line, error.stored, error.done) == (str(path), 10, 11, 8, 8)
    assert str(error).startswith(f'{path}, row 10 (line 11): {reason}')
    assert str(error).endswith('; rows 1 to 8 are done')
    assert sorted(index) == [str(at) for at in range(8)], 'something of the batch with the bad row was stored'


def test_bad_rows_are_skipped(index: Index, tmp_path: Path) -> None:
    """With `on_error='skip'` all other rows are stored, and the report lists the bad ones in order."""
    given: list[Any] = rows(40)
    places = dict(zip([0, 3, 4, 17, 38, 39], BAD.values(), strict=False))
    for at, (bad, _) in places.items():
        given[at] = bad
    report = index.index_from(json_lines(tmp_path / 'x.jsonl', given), batch_size=10, on_error='skip')
    assert [(bad.row, bad.line) for bad in report.skipped] == [(at + 1, at + 1) for at in places]
    for bad, (_, reason) in zip(report.skipped, places.values(), strict=True):
        assert bad.reason.startswith(reason)
    assert (report.stored, len(index)) == (34, 34)
    assert set(index) == {str(at) for at in range(40) if at not in places}
    assert str(report).splitlines()[1] == f'  {report.skipped[0]}'
    assert '34 rows stored' in str(report)
    assert '6 rows skipped' in str(report)


def test_bad_rows_of_a_table(index: Index) -> None:
    """In a table, too, a bad row is told from its neighbours: of another length, or without what is required."""
    vectors = [[1.0, 2.0], [1.0], [3.0, 4.0], [None, 1.0], None]
    bad = pa.table({'id': list('abcde'), 'title': ['A', 'B', 'C', 'D', 'E'], 'vector': vectors})
    report = index.index_from(bad, on_error='skip')
    assert [(row.row, row.line) for row in report.skipped] == [(2, None), (4, None), (5, None)]
    assert 'a number is missing' in report.skipped[1].reason
    assert sorted(index) == ['a', 'c']
    with pytest.raises(LoadError, match=r'the Table, row 4: vector: .*a number is missing'):
        index.index_from(bad.take([0, 2, 0, 3]))


def test_a_report_is_cut_short() -> None:
    """Of many bad rows a printed report shows ten."""
    text = str(LoadReport('x.csv', 1, [BadRow(at, 'bad') for at in range(1, 31)], 5))
    assert len(text.splitlines()) == 12
    assert text.startswith('x.csv: 1 row stored')
    assert 'went on after row 5' in text
    assert text.endswith('and 20 more, see skipped')


# -- bad files -----------------------------------------------------------------------------------------------


def test_a_cut_off_file(index: Index, tmp_path: Path) -> None:
    """Of a gzipped file that was cut off the rows before are stored, and the error says after which row it ends."""
    random = np.random.default_rng(0)
    given = [{**row, 'vector': random.random(2).tolist()} for row in rows(2000)]
    whole = gzip.compress(json_lines(tmp_path / 'x', given).read_bytes())
    (tmp_path / 'x.jsonl.gz').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r'x.jsonl.gz cannot be read after row [\d,]+: .*end-of-stream') as raised:
        index.index_from(tmp_path / 'x.jsonl.gz', batch_size=100, on_error='skip')
    assert len(index) == raised.value.stored == raised.value.done
    assert 500 < len(index) < 1900


@pytest.mark.parametrize('name', ['x.parquet', 'x.arrow', 'x.feather'])
@pytest.mark.parametrize('content', [b'', b'nothing of the kind' * 100, b'half'], ids=['empty', 'other', 'half'])
def test_a_broken_table(index: Index, tmp_path: Path, name: str, content: bytes) -> None:
    """A Parquet or Arrow file that is empty, cut in half or something else is an error that names it."""
    FILES[name](tmp_path / name, table())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content == b'half' else content)
    with pytest.raises(SourceError, match=name) as raised:
        index.index_from(tmp_path / name)
    assert raised.value.path == str(tmp_path / name)
    assert isinstance(raised.value, OSError)


@pytest.mark.parametrize('name', ['x.parquet', 'x.arrow', 'x.feather'])
def test_damage_inside_of_a_table(index: Index, tmp_path: Path, name: str) -> None:
    """A text in a Parquet or Arrow file that is none is an error that names the file, as in the other formats."""
    plain: dict[str, Callable[[], None]] = {
        'x.parquet': lambda: pq.write_table(table(), tmp_path / name, compression='none', use_dictionary=False),
        'x.arrow': lambda: arrow_file(tmp_path / name, table()),
        'x.feather': lambda: feather.write_feather(table(), tmp_path / name, compression='uncompressed'),
    }
    plain[name]()
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b'Book 33', b'Boo\xff 33'))
    with pytest.raises(SourceError, match=f'{name} cannot be read after row 0: .*UTF8'):
        index.index_from(tmp_path / name)
    assert len(index) == 0


def test_places_beyond_the_end_of_a_table(index: Index, tmp_path: Path) -> None:
    """An Arrow file that says that a text is where there is none is an error that names the file, and no crash."""
    arrow_file(tmp_path / 'x.arrow', table())
    ends = np.cumsum([0, *(len(row['title']) for row in rows(50))]).astype(np.int32)
    wrong = ends.copy()
    wrong[20:] += 1 << 30
    content = (tmp_path / 'x.arrow').read_bytes()
    assert ends.tobytes() in content
    (tmp_path / 'x.arrow').write_bytes(content.replace(ends.tobytes(), wrong.tobytes()))
    with pytest.raises(SourceError, match=r'x.arrow cannot be read'):
        index.index_from(tmp_path / 'x.arrow')


def test_a_file_that_is_not_there(index: Index, tmp_path: Path) -> None:
    """A path at which there is nothing, or a directory, is an error that names it."""
    for name in ('x.parquet', 'x.arrow', 'x.jsonl', 'x.csv'):
        with pytest.raises(SourceError, match=rf'{name} cannot be read: .*No such file'):
            index.index_from(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(SourceError, match=rf'{name} cannot be read'):
            index.index_from(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
@pytest.mark.parametrize('name', ['x.jsonl', 'x.json', 'x.csv'])
def test_a_pipe_is_no_file(index: Index, tmp_path: Path, name: str) -> None:
    """A pipe, of which the beginning would be gone when it is read again, is refused and not waited for."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=rf'{name} is a pipe, which can be read only once'):
        index.index_from(tmp_path / name)


def test_files_without_rows(index: Index, tmp_path: Path) -> None:
    """No rows are no error, but a CSV file has a header at least."""
    pq.write_table(table().slice(0, 0), tmp_path / 'x.parquet')
    (tmp_path / 'x.jsonl').write_bytes(b'\n')
    (tmp_path / 'header.csv').write_text('id,title,vector\n')
    for name in ('x.parquet', 'x.jsonl', 'header.csv'):
        assert index.index_from(tmp_path / name).stored == 0
    (tmp_path / 'x.csv').touch()
    with pytest.raises(SourceError, match='is empty: a CSV file begins with the names of its columns'):
        index.index_from(tmp_path / 'x.csv')


def test_a_json_array_is_read_piece_by_piece(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever an array is cut while it is read, its rows and lines are the same; what is behind it is refused."""
    given: list[Any] = rows(9)
    given[3] = {**given[3], 'title': 'é"\\u00e9\\\\ \U0001f600 ]},', 'price': -1.5e-7, 'pages': True}
    given[4] = [None, 'x']
    text = json.dumps(given, indent=2)
    starts = [at for at, line in enumerate(text.splitlines(), 1) if line in ('  {', '  [')]
    (tmp_path / 'x.json').write_text(f' {text}\n')
    for buffer in (2, 7, 100):
        monkeypatch.setattr('docindex.textfiles._BUFFER', buffer)
        report = index.index_from(tmp_path / 'x.json', on_error='skip', batch_size=2)
        assert [(bad.row, bad.line) for bad in report.skipped] == [(5, starts[4])]
        assert (report.stored, index['3'].title) == (8, given[3]['title'])
        source = open_file(tmp_path / 'x.json', None)
        assert [line for piece in source.pieces(2, 3, None) for line in piece.lines or ()] == starts[2:]
    (tmp_path / 'x.json').write_text(f'{text},')
    with pytest.raises(SourceError, match=r"after row 8: .*expected the end of the file in line \d+, got ','"):
        index.index_from(tmp_path / 'x.json', on_error='skip', batch_size=2)


def test_csv_as_people_write_it(index: Index, tmp_path: Path) -> None:
    """A mark at the beginning, quoted line breaks, empty lines and cells, NaN for what is optional: all understood."""
    (tmp_path / 'x.csv').write_bytes(
        b'\xef\xbb\xbfid,title,price,pages,vector,cover__look\r\n'
        b'a,"one\r\ntwo, ""three""",1.5,,"[1, 2]",NaN\r\n'
        b'\r\n'
        b'b,,nan,7,"[1, 2]",\r\n'
    )
    assert index.index_from(tmp_path / 'x.csv').stored == 2
    assert (index['a'].title, index['a'].price, index['a'].pages) == ('one\r\ntwo, "three"', 1.5, 0)
    assert index['a'].cover is None
    assert (index['b'].title, index['b'].pages) == ('', 7)
    assert np.isnan(index['b'].price)


CSV: dict[str, tuple[bytes, str]] = {
    'too many cells': (b'x,X,"[1, 2]",more', 'it has 4 cells, and the header names 3 columns'),
    'too few cells': (b'x,X', 'it has 2 cells, and the header names 3 columns'),
    'no UTF-8': (b'x,\xe9t\xe9,"[1, 2]"', "title: this is not UTF-8: b'\\xe9t\\xe9'"),
    'no list': (b'x,X,1 2', "vector: expected JSON, such as [1, 2], got '1 2'"),
    'no vector': (b'x,X,', 'vector: Field required'),
    'a stray quote': (b'x,"X"X,"[1, 2]"', "this is no CSV: ',' expected after '\"'"),
}


@pytest.mark.parametrize('what', CSV)
def test_a_bad_row_of_csv(index: Index, tmp_path: Path, what: str) -> None:
    """A row with a wrong number of cells, or a cell that cannot be read, is named, and the others can be stored."""
    bad, reason = CSV[what]
    good = b'%d,"two\nlines","[1, 2]"\n'
    (tmp_path / 'x.csv').write_bytes(b'id,title,vector\n' + good % 1 + bad + b'\n' + good % 2)
    report = index.index_from(tmp_path / 'x.csv', on_error='skip')
    assert [(row.row, row.line) for row in report.skipped] == [(2, 4)]
    assert reason in report.skipped[0].reason
    assert sorted(index) == ['1', '2']


def test_csv_that_is_none(index: Index, tmp_path: Path) -> None:
    """UTF-16, and two columns of one name, are errors of the file; a quote that is never closed is one of a row."""
    path = tmp_path / 'x.csv'
    path.write_text('id,title', 'utf-16')
    with pytest.raises(SourceError, match='is UTF-16; save it as UTF-8'):
        index.index_from(path)
    path.write_bytes(b'\x1f\x00\xff\xfe,title')
    with pytest.raises(SourceError, match='its header is not UTF-8'):
        index.index_from(path)
    path.write_text('id,title,title,vector\n')
    with pytest.raises(SourceError, match="two columns 'title'"):
        index.index_from(path)
    path.write_text('id,title,vector\na,A,"[1, 2]"\nb,"B,"[1, 2]"\nc,C\n')
    with pytest.raises(LoadError, match=r'row 2 \(line 3\): this is no CSV'):
        index.index_from(path)


# -- going on ------------------------------------------------------------------------------------------------


def failing(count: int, at: int) -> Iterator[dict[str, Any]]:
    """Yield rows without ids, and fail before one of them."""
    for number, row in enumerate(rows(count, with_id=False)):
        if number == at:
            raise KeyboardInterrupt
        yield row


def titles(index: Index) -> list[str]:
    return sorted((doc.title for doc in index.filter(None, limit=None)), key=lambda title: int(title.split()[1]))


def test_an_iterator_goes_on_by_its_key(index: Index) -> None:
    """With `resume_key` an iterator that was interrupted is continued behind its last batch; rows without ids too."""
    with pytest.raises(KeyboardInterrupt):
        index.index_from(failing(100, 57), batch_size=10, resume_key='books')
    assert len(index) == 50
    report = index.index_from(failing(100, 1000), batch_size=30, resume_key='books')
    assert (report.resumed_from, report.stored) == (50, 50)
    assert titles(index) == [f'Book {at}' for at in range(100)]


def test_an_iterator_without_a_key_begins_anew(index: Index) -> None:
    """Without a key nobody knows that it is the same iterator."""
    with pytest.raises(KeyboardInterrupt):
        index.index_from(failing(100, 57), batch_size=10)
    assert index.index_from(failing(20, 1000), batch_size=10).resumed_from == 0
    assert len(index) == 70


def test_a_file_goes_on_after_it_was_mended(index: Index, tmp_path: Path) -> None:
    """After an error the same call goes on behind the last batch; a changed file is loaded from its beginning."""
    path = json_lines(tmp_path / 'x.jsonl', [*rows(30), b'bad', *rows(60)[31:]])
    with pytest.raises(LoadError):
        index.index_from(path, batch_size=7)
    report = index.index_from(path, batch_size=5, on_error='skip')
    assert (report.resumed_from, report.stored, [row.row for row in report.skipped]) == (28, 31, [31])
    json_lines(path, [*rows(30), b'bad'])
    with pytest.raises(LoadError):
        index.index_from(path, batch_size=7)
    json_lines(path, rows(60))
    assert index.index_from(path).resumed_from == 0


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are UTF-8 here')
def test_any_name_of_a_file(index: Index, tmp_path: Path) -> None:
    """A file whose name is no UTF-8 is loaded, and goes on where it was."""
    path = json_lines(tmp_path / os.fsdecode(b'x\xff.jsonl'), [*rows(10), b'bad', *rows(20)[11:]])
    with pytest.raises(LoadError):
        index.index_from(path, batch_size=4)
    assert index.index_from(path, on_error='skip').resumed_from == 8


def test_a_finished_file_is_loaded_anew(index: Index, tmp_path: Path) -> None:
    """After its end the same call begins anew: rows with ids replace themselves."""
    path = json_lines(tmp_path / 'x.jsonl', rows(20))
    for _ in range(2):
        report = index.index_from(path, batch_size=6)
        assert (report.stored, report.resumed_from, len(index)) == (20, 0, 20)


def test_going_on_can_be_refused(index: Index, tmp_path: Path) -> None:
    """`resume=False` begins with the first row."""
    path = json_lines(tmp_path / 'x.jsonl', [*rows(20), b'bad'])
    for resume, expected in ((True, 0), (False, 0), (True, 18)):
        with pytest.raises(LoadError) as raised:
            index.index_from(path, batch_size=6, resume=resume)
        assert raised.value.done == 18
        assert raised.value.stored == 18 - expected


KILLED = """
import os, signal, sys
from docindex import HnswDocumentIndex
from tests.books import Book

class Dying(HnswDocumentIndex[Book]):
    def _put_note(self, key, value):
        super()._put_note(key, value)
        if self.num_docs() >= int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

Dying(work_dir=sys.argv[1]).index_from(sys.argv[2], batch_size=10)
"""


@pytest.mark.parametrize('ending', ['parquet', 'jsonl', 'csv'])
def test_a_killed_load_goes_on_without_duplicates(tmp_path: Path, ending: str) -> None:
    """`kill -9` in the middle of a batch leaves the batches before; the next call stores the rest, each row once."""
    path = tmp_path / f'x.{ending}'
    FILES[f'x.{ending}'](path, table().drop_columns(['id']))
    for at in (30, 40):
        arguments = [sys.executable, '-c', KILLED, str(tmp_path / 'index'), str(path), str(at)]
        killed = subprocess.run(arguments, timeout=PATIENCE, env=environment(), check=False)
        assert killed.returncode == -signal.SIGKILL
        with HnswDocumentIndex[Book](work_dir=tmp_path / 'index', read_only=True) as reader:
            assert len(reader) == at - 10
    with HnswDocumentIndex[Book](work_dir=tmp_path / 'index') as index:
        report = index.index_from(path, batch_size=10)
        assert (report.resumed_from, report.stored) == (30, 20)
        assert titles(index) == [f'Book {at}' for at in range(50)]


def test_what_is_noted_outlives_compaction_and_backup(index: Index, tmp_path: Path) -> None:
    """How far a load has come is kept by a compaction, by a backup and by another opening."""
    path = json_lines(tmp_path / 'x.jsonl', [*rows(20), b'bad', *rows(30)[21:]])
    with pytest.raises(LoadError):
        index.index_from(path, batch_size=10)
    index.delete(['0', '1'])
    index.compact()
    index.backup(tmp_path / 'copy')
    with HnswDocumentIndex[Book](work_dir=tmp_path / 'copy') as copy:
        assert copy.index_from(path, on_error='skip').resumed_from == 20
        assert len(copy) == 27


def test_a_batch_that_is_undone_takes_its_notes_along(index: Index) -> None:
    """A note is a part of the transaction: of one that is rolled back nothing is left."""
    index._put_note('key', 'before')
    with pytest.raises(ZeroDivisionError), index.batch():  # noqa: PT012
        index._put_note('key', 'inside')
        assert index._note('key') == 'inside'
        index.index(rows(1))
        raise ZeroDivisionError
    assert index._note('key') == 'before'
    assert index._note('another') is None


def test_two_loads_of_one_file_do_not_mix(index: Index, tmp_path: Path) -> None:
    """Where somebody else loads the same file meanwhile, the later one notices before it stores a row twice."""
    path = json_lines(tmp_path / 'x.jsonl', rows(30, with_id=False))
    original = index._transaction
    calls = []

    def transaction() -> Any:
        calls.append(1)
        if len(calls) == 2:
            index._put_note(f'load {path}', '{"identity": [], "rows": 3, "finished": false}')
        return original()

    index._transaction = transaction  # type: ignore[method-assign]
    with pytest.raises(LoadError, match='is being loaded by somebody else'):
        index.index_from(path, batch_size=10)
    assert len(index) == 10


def test_loading_inside_a_batch_is_refused(index: Index) -> None:
    """A load makes transactions of its own, so it is no part of a batch."""
    with pytest.raises(QueryError, match='another batch'), index.batch():
        index.index_from(rows(3))
    assert len(index) == 0


def test_progress_is_shown(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that was asked for counts rows, of how many if that is known, and begins where the load goes on."""
    pq.write_table(table(), tmp_path / 'x.parquet')
    index.index_from(tmp_path / 'x.parquet', batch_size=10, show_progress=True)
    assert '50/50' in capsys.readouterr().err
    index.index_from(json_lines(tmp_path / 'x.jsonl', rows(30)), show_progress=True)
    assert '30/30' in capsys.readouterr().err.replace(' ', '')


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, index: Index, tmp_path: Path) -> None:
    """JSON lines, CSV and pandas need no other library; Parquet says what to install."""
    frame = table().to_pandas()
    for name in [name for name in sys.modules if name.partition('.')[0] == 'pyarrow']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    assert index.index_from(json_lines(tmp_path / 'x.jsonl', rows(3))).stored == 3
    assert index.index_from(frame).stored == 50
    (tmp_path / 'x.parquet').touch()
    with pytest.raises(ImportError, match=r"pip install 'docindex-hnsw\[arrow\]'"):
        index.index_from(tmp_path / 'x.parquet')


EXPECTED = {
    'x.jsonl': (b'{"id": "a"}\n{"id": "b"}\n{"id": "c"}', 3),
    'x.csv': (b'id\na\nb\n', 2),
    'x.jsonl.gz': (gzip.compress(b'{"id": "a"}\n'), None),
    'x.json': (b'[{"id": "a"}]', None),
}


@pytest.mark.parametrize('name', EXPECTED)
def test_how_many_rows_are_expected(tmp_path: Path, name: str) -> None:
    """About how many rows a text has is known by its lines, unless it is packed; by that a bar shows the time left."""
    content, expected = EXPECTED[name]
    (tmp_path / name).write_bytes(content)
    assert open_file(tmp_path / name, None).expected() == expected


def test_how_many_rows_a_long_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long text only the beginning is looked at, and the rest is taken to be like it."""
    monkeypatch.setattr('docindex.textfiles._LOOK', 100)
    (tmp_path / 'x.jsonl').write_bytes(b'{"a": 1}\n' * 1000)
    assert open_file(tmp_path / 'x.jsonl', None).expected() == 990
