"""Documents out of an index into files, and back."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import BaseModel

from docindex import (
    BaseDoc,
    DocList,
    ExportError,
    Field,
    FilterError,
    HnswDocumentIndex,
    ImageUrl,
    NdArray,
    QueryError,
)
from docindex.testing import same

FILES = ['x.parquet', 'x.arrow', 'x.jsonl', 'x.json.gz', 'x.csv.gz']


class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(Enum):
    LOW = 1
    HIGH = 2


class Chunk(BaseDoc):
    text: str = ''
    raw: bytes | None = None
    look: NdArray | None = Field(default=None, index=False)


class Place(BaseModel):
    """All of it may be None, so nothing in it says whether it is there."""

    name: str | None = None
    seen: date | None = None


class Cover(BaseDoc):
    url: ImageUrl | None = None
    look: NdArray = Field(dim=2)
    place: Place | None = None


class Specimen(BaseDoc):
    title: str
    note: str | None = None
    count: int = 0
    weight: float = 0.5
    is_old: bool | None = None
    raw: bytes = b''
    price: Decimal | None = None
    when: datetime | None = None
    day: date | None = None
    hour: time | None = None
    length: timedelta | None = None
    key: UUID | None = None
    colour: Colour | None = None
    level: Level = Level.LOW
    tags: set[str] = Field(default_factory=set)
    numbers: list[float] = Field(default_factory=list)
    pair: tuple[int, str] = (0, '')
    options: dict[str, Any] = Field(default_factory=dict)
    either: int | str | None = None
    place: Place | None = None
    cover: Cover | None = None
    chunks: DocList[Chunk] = Field(default_factory=DocList[Chunk])
    vector: NdArray = Field(dim=3)
    other: NdArray | None = Field(default=None, dim=2, space='cosine')
    pixels: NdArray | None = Field(default=None, index=False)


def arrays(*shape: int) -> some.SearchStrategy[Any]:
    """Return arrays of a shape, some of which float32 holds and some of which it does not."""
    numbers = some.floats(-1e6, 1e6, allow_nan=False).map(lambda number: number or 1.0)
    size = int(np.prod(shape))
    lists = some.lists(numbers, min_size=size, max_size=size).filter(lambda each: np.float32(each).any())
    kinds = some.sampled_from([np.float32, np.float32, np.float32, np.float64])
    return some.builds(lambda each, kind: np.array(each, kind).reshape(shape), lists, kinds)


text = some.text(max_size=8)
covers = some.builds(
    Cover,
    url=some.none() | some.just('a.png'),
    look=arrays(2),
    place=some.none() | some.builds(Place, name=some.none() | text, seen=some.none() | some.dates()),
)
chunks = some.builds(
    Chunk, text=text, raw=some.none() | some.binary(max_size=4), look=some.none() | arrays(2) | arrays(2, 2)
)
times = some.datetimes(timezones=some.none() | some.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
specimens = some.builds(
    Specimen,
    title=text,
    note=some.none() | text | some.sampled_from(['', '"', '""', '"""', 'NaN', '[1]']),
    count=some.integers(-(2**63), 2**63 - 1),
    weight=some.floats(allow_nan=False),
    is_old=some.none() | some.booleans(),
    raw=some.binary(max_size=6),
    price=some.none() | some.decimals(allow_nan=False, allow_infinity=False),
    when=some.none() | times,
    day=some.none() | some.dates(),
    hour=some.none() | some.times(),
    length=some.none() | some.timedeltas(timedelta(days=-30_000), timedelta(days=30_000)),
    key=some.none() | some.uuids(),
    colour=some.none() | some.sampled_from(Colour),
    level=some.sampled_from(Level),
    tags=some.sets(text, max_size=3),
    numbers=some.lists(some.floats(allow_nan=False), max_size=3),
    pair=some.tuples(some.integers(-5, 5), text),
    options=some.dictionaries(text, some.none() | text | some.integers(-9, 9) | some.dates(), max_size=2),
    either=some.none() | some.integers(-9, 9) | text | some.just('7'),
    place=some.none() | some.builds(Place, name=some.none() | text),
    cover=some.none() | covers,
    chunks=some.lists(chunks, max_size=2).map(DocList[Chunk]),
    vector=arrays(3),
    other=some.none() | arrays(2),
    pixels=some.none() | arrays(2, 2) | arrays(1),
)


@pytest.mark.parametrize('name', FILES)
@settings(max_examples=8)
@given(docs=some.lists(specimens, max_size=6))
def test_what_is_exported_is_loaded_again(tmp_path_factory: pytest.TempPathFactory, name: str, docs: Any) -> None:
    """An index that is loaded from what another has exported holds the same documents, whatever is in them."""
    path = tmp_path_factory.mktemp('export')
    with HnswDocumentIndex[Specimen](work_dir=path / 'one') as one, HnswDocumentIndex[Specimen](path / 'two') as two:
        one.index(docs)
        assert one.export(path / name, batch_size=2) == len(docs)
        assert two.index_from(path / name, batch_size=3).stored == len(docs)
        assert list(two) == list(one)
        for doc in docs:
            assert two[doc.id] == doc
        if name.startswith(('x.json', 'x.csv')):  # in Arrow the vectors of a column have one type
            assert all(same(two[doc.id], doc) for doc in docs)


Write = Callable[[HnswDocumentIndex[Specimen], 'DocList[Specimen]', Path], Any]
WRITE: dict[str, Write] = {
    'x.jsonl': lambda index, docs, path: index.export(path, batch_size=2),
    'x.json': lambda index, docs, path: index.export(path, batch_size=2),
    'list.json': lambda index, docs, path: docs.to_json(path),
    'x.csv': lambda index, docs, path: index.export(path, batch_size=2),
    'list.csv': lambda index, docs, path: docs.to_csv(path),
}


def with_a_tag(doc: Specimen) -> Specimen:
    """A set of several comes in any order, also in a file."""
    return doc.model_copy(update={'tags': set(sorted(doc.tags)[:1])})


@settings(max_examples=20)
@given(docs=some.lists(specimens.map(with_a_tag), max_size=6).map(DocList[Specimen]))
def test_lists_and_indexes_read_each_other(tmp_path_factory: pytest.TempPathFactory, docs: DocList[Specimen]) -> None:
    """What an index exports a `DocList` reads and the other way round, bit by bit: there is one JSON and one CSV."""
    path = tmp_path_factory.mktemp('both')
    with HnswDocumentIndex[Specimen](work_dir=path / 'index') as index:
        index.index(docs)
        for name, write in WRITE.items():
            write(index, docs, path / name)
            read = DocList[Specimen].from_csv if name.endswith('csv') else DocList[Specimen].from_json
            again = read(path / name)
            index.delete(list(index))
            assert index.index_from(path / name, batch_size=4).stored == len(docs)
            for mine, listed in zip(docs, again, strict=True):
                assert same(listed, mine)
                assert same(index[mine.id], mine)
    assert (path / 'x.json').read_bytes() == (path / 'list.json').read_bytes()
    assert (path / 'x.csv').read_bytes() == (path / 'list.csv').read_bytes()
    array = json.loads((path / 'x.json').read_text(), parse_constant=pytest.fail)
    assert [json.loads(line) for line in (path / 'x.jsonl').read_bytes().splitlines()] == array


class Measured(BaseDoc):
    real: float
    maybe: float | None = None
    reals: list[float] = Field(default_factory=list)
    vector: NdArray = Field(dim=1)


@pytest.mark.parametrize('name', FILES)
def test_what_is_no_number_is_kept(tmp_path: Path, name: str) -> None:
    """NaN and infinity come back from every format, and JSON stays JSON."""
    nan, inf = float('nan'), float('inf')
    docs = [
        Measured(id=f'{at}', real=each, maybe=each, reals=[each], vector=[1.0]) for at, each in enumerate((nan, -inf))
    ]
    with HnswDocumentIndex[Measured](work_dir=tmp_path / 'index') as index:
        index.index(docs)
        index.export(tmp_path / name)
        index.delete(list(index))
        index.index_from(tmp_path / name)
        again = [[doc.real, doc.maybe, *doc.reals] for doc in (index['0'], index['1'])]
    assert repr(again) == repr([[nan] * 3, [-inf] * 3])


class Note(BaseDoc):
    text: str = ''
    number: int = 0
    vector: NdArray = Field(dim=4)


def notes(count: int, start: int = 0) -> list[Note]:
    vectors = np.random.default_rng(start).normal(size=(count, 4)).astype(np.float32)
    return [Note(id=str(at), number=at, vector=vector) for at, vector in enumerate(vectors, start)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[HnswDocumentIndex[Note]]:
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'index') as made:
        made.index(notes(100))
        yield made


def test_others_can_read_it(index: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """What is exported opens in pandas, polars and anything that reads lines of JSON, with its vectors."""
    for name in ('x.parquet', 'x.feather', 'x.csv', 'x.jsonl.gz'):
        index.export(tmp_path / name)
    vector = index['7'].vector
    assert pl.read_parquet(tmp_path / 'x.parquet')['vector'][7].to_list() == vector.tolist()
    assert pd.read_feather(tmp_path / 'x.feather')['vector'][7].tolist() == vector.tolist()
    frame = pd.read_csv(tmp_path / 'x.csv')
    assert list(frame.columns) == ['id', 'text', 'number', 'vector']
    assert json.loads(frame['vector'][7]) == vector.tolist()
    lines = gzip.decompress((tmp_path / 'x.jsonl.gz').read_bytes()).splitlines()
    assert json.loads(lines[7]) == {'id': '7', 'text': '', 'number': 7, 'vector': vector.tolist()}


def test_only_what_matches(index: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """With a filter only the documents that match are written; the count says how many."""
    assert index.export(tmp_path / 'x.parquet', filter={'number': {'$gte': 90}}, batch_size=3) == 10
    assert pq.read_table(tmp_path / 'x.parquet')['id'].to_pylist() == [str(at) for at in range(90, 100)]
    with pytest.raises(FilterError):
        index.export(tmp_path / 'y.parquet', filter={'nothing': 1})
    assert not list(tmp_path.glob('*y.parquet*'))


@pytest.mark.parametrize('read_only', [False, True])
def test_it_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool) -> None:
    """What is changed, deleted, added and compacted while an export runs does not show in it, and need not wait."""
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'index') as index:
        index.index(notes(100))
        before = {doc.id: doc for doc in index.filter(None, limit=None)}
        index.delete(['99'])
        del before['99']
        exporter = HnswDocumentIndex[Note](work_dir=tmp_path / 'index', read_only=read_only)
        load, calls = exporter._documents.load, []

        def change() -> None:
            index.index(notes(50, start=1000))
            index.index([doc.model_copy(update={'text': 'changed'}) for doc in before.values()])
            index.index([Note(id='50', vector=np.ones(4))])
            index.delete(['60', '61'])
            index.compact()

        def loaded(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                changing = threading.Thread(target=change)
                changing.start()
                changing.join(60)
                assert not changing.is_alive(), 'a writer waits for the export'
            return load(*arguments)

        monkeypatch.setattr(exporter._documents, 'load', loaded)
        assert exporter.export(tmp_path / 'x.jsonl', batch_size=10) == 99
        monkeypatch.undo()
        exporter.close()
        assert len(index) == 147
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'copy') as copy:
        copy.index_from(tmp_path / 'x.jsonl')
        assert {doc.id: doc for doc in copy.filter(None, limit=None)} == before


def test_it_is_whole_or_not_there(
    index: HnswDocumentIndex[Note], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that fails leaves the file that was there, and nothing beside it."""
    (tmp_path / 'x.csv').write_text('precious')
    there = sorted(tmp_path.iterdir())
    load, calls = index._documents.load, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return load(*arguments)

    monkeypatch.setattr(index._documents, 'load', failing)
    with pytest.raises(KeyboardInterrupt):
        index.export(tmp_path / 'x.csv', batch_size=10)
    assert (tmp_path / 'x.csv').read_text() == 'precious'
    assert sorted(tmp_path.iterdir()) == there


def test_a_file_that_cannot_be_written(index: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """A directory that is not there, and a number that Arrow has no room for, are errors that name the file."""
    with pytest.raises(ExportError, match=r'No such file or directory \(.*nowhere/x.csv\)') as raised:
        index.export(tmp_path / 'nowhere' / 'x.csv')
    assert raised.value.path == str(tmp_path / 'nowhere' / 'x.csv')
    index.index([Note(id='large', number=1 << 70, vector=np.ones(4))])
    with pytest.raises(ExportError, match=r"id 'large'.*number"):
        index.export(tmp_path / 'x.parquet')
    index.export(tmp_path / 'x.jsonl')
    index.export(tmp_path / 'x.csv')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['index', 'x.csv', 'x.jsonl']
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'copy') as copy:
        for name in ('x.jsonl', 'x.csv'):
            copy.index_from(tmp_path / name)
            assert copy['large'].number == 1 << 70
            del copy['large']


def test_two_exports_to_one_file(
    index: HnswDocumentIndex[Note], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export to a file to which another one is under way comes to its end, and so does the other."""
    path, load, calls = tmp_path / 'x.csv', index._documents.load, []

    def beginning_another(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            assert index.export(path, filter={'number': {'$lt': 5}}) == 5
            assert path.read_text().count('\n') == 6
        return load(*arguments)

    monkeypatch.setattr(index._documents, 'load', beginning_another)
    assert index.export(path, batch_size=10) == len(index)
    assert path.read_text().count('\n') == len(index) + 1


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_only_files_are_replaced(index: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """A pipe or a device stays where it is, and is refused; a link stays as well, and what it leads to is replaced."""
    os.mkfifo(tmp_path / 'pipe.csv')
    (tmp_path / 'x.csv').write_text('old')
    (tmp_path / 'link.csv').symlink_to(tmp_path / 'x.csv')
    (tmp_path / 'null.csv').symlink_to(os.devnull)
    for name in ('pipe.csv', 'null.csv'):
        with pytest.raises(ExportError, match=f'a pipe or a device.*{name}'):
            index.export(tmp_path / name)
    assert (tmp_path / 'pipe.csv').is_fifo()
    index.export(tmp_path / 'link.csv')
    assert (tmp_path / 'link.csv').is_symlink()
    assert (tmp_path / 'x.csv').read_text().startswith('id,')


def test_arguments_that_make_no_sense(index: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """Unknown formats and a batch of nothing are refused, and so is an export inside a batch."""
    for path, options in (('x.xlsx', {}), ('x.csv', {'format': 'xml'}), ('x.csv', {'batch_size': 0})):
        with pytest.raises(QueryError):
            index.export(tmp_path / path, **options)  # type: ignore[arg-type]
    with index.batch(), pytest.raises(QueryError, match='inside a batch'):
        index.export(tmp_path / 'x.csv')
    index.export(tmp_path / 'x.data', format='csv')
    assert (tmp_path / 'x.data').read_text().startswith('id,text,number,vector\n0,')
