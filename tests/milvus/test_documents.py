"""Documents of all kinds on Milvus: they come back as they were, and are filtered as their values say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict

from docindex import AnyTensor, BaseDoc, DocumentError, Field, NdArray, SchemaError
from docindex.milvus.index import MilvusDocumentIndex
from docindex.milvus.server import Server
from docindex.parsing import parse
from docindex.schema import Schema
from docindex.testing import same
from tests.filtering import DOCUMENTS, HALF, documents, filters

Open = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open indexes of a directory; they are closed afterwards."""
    indexes: list[MilvusDocumentIndex[Any]] = []

    def open_(doc_type: Any, name: str = 'index') -> MilvusDocumentIndex[Any]:
        indexes.append(MilvusDocumentIndex[doc_type](uri=tmp_path / f'{name}.db'))
        return indexes[-1]

    yield open_
    for index in indexes:
        index.close()


def made(annotations: dict[str, Any], **defaults: Any) -> Any:
    """Return a document class with these fields."""
    return type('Made', (BaseDoc,), {'__annotations__': annotations, '__module__': __name__, **defaults})


# -- values ------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def of_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, MilvusDocumentIndex[Any]]]:
    path = tmp_path_factory.mktemp('kinds')
    indexes = {cls: MilvusDocumentIndex[cls](uri=path / f'{cls.__name__}.db') for cls in DOCUMENTS}  # type: ignore[valid-type]
    yield indexes
    for index in indexes.values():
        index.close()


@pytest.mark.parametrize('cls', list(DOCUMENTS), ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=6, phases=[Phase.explicit, Phase.generate])  # a smaller one would take minutes
def test_documents_are_filtered_by_what_they_are(of_class: dict[Any, Any], cls: Any, data: st.DataObject) -> None:
    """Of documents with awkward values a filter finds those that `Filter.matches` says."""
    index = of_class[cls]
    docs = documents(cls, data.draw(st.lists(DOCUMENTS[cls], min_size=1, max_size=5)))
    index.delete([f'd{at}' for at in range(5)])
    try:
        index.index(docs)
    except DocumentError:
        assert HALF in repr(docs) or '\\ud' in repr(docs)  # half of a surrogate pair is no text
        return
    assert list(index) == [doc.id for doc in docs]
    for query in data.draw(st.lists(filters(Schema(cls)), min_size=1, max_size=4)):
        condition = parse(Schema(cls), query)
        expected = [doc.id for doc in docs if condition.matches(doc)]
        assert index.filter(query, None).id == expected
        assert index.count(query) == len(expected)


def test_values_that_have_no_hash(opened: Open) -> None:
    """A filter can ask for lists and dicts."""
    index = opened(made({'rows': list[list[int]], 'meta': dict[str, Any]}))
    index.index([{'id': 'a', 'rows': [[1], [2]], 'meta': {'a': [1]}}, {'id': 'b', 'rows': [], 'meta': {}}])
    assert index.filter({'rows': [[1], [2]]}).id == ['a']
    assert index.filter({'rows': {'$any': [[3], [2]]}}).id == ['a']
    assert index.filter({'meta': {'$ne': {'a': [1]}}}).id == ['b']


class Extreme(BaseDoc):
    model_config = ConfigDict(ser_json_inf_nan='constants')
    whole: int = 0
    real: float | None = None
    amount: Decimal | None = None
    when: datetime | None = None
    either: int | str | float | None = None
    numbers: list[float | int] = Field(default_factory=list)
    open: dict[str, Any] = Field(default_factory=dict)


def test_extreme_values(opened: Open) -> None:
    """Numbers beyond 64 bits, infinities, NaN and the ends of calendars are kept, and told apart by filters."""
    zone = timezone(timedelta(hours=5))
    docs = [
        Extreme(
            id='a', whole=10**30, real=float('inf'), amount=Decimal('1.10'), when=datetime(2020, 1, 1, tzinfo=zone)
        ),
        Extreme(id='b', whole=-(2**63), real=float('nan'), amount=Decimal('1E+400'), when=datetime.max, either='x\0'),
        Extreme(id='c', whole=2**63 - 1, real=-0.0, either=float('nan'), numbers=[2**70, 1.5, float('-inf')]),
        Extreme(id='d', whole=2**63, real=5e-324, either=2**70, open={'': None, '$x': [1, None, {'q': float('inf')}]}),
    ]
    index = opened(Extreme)
    index.index(docs)
    assert [repr(doc) for doc in index.get(list('abcd'))] == [repr(doc) for doc in docs]
    for query, expected in [
        ({'whole': 10**30}, ['a']),
        ({'whole': {'$gt': 2**63 - 2}}, ['a', 'c', 'd']),
        ({'whole': {'$in': [2**63, -(2**63)]}}, ['b', 'd']),
        ({'real': float('inf')}, ['a']),
        ({'real': None}, ['b']),
        ({'real': {'$lt': 1}}, ['c', 'd']),
        ({'amount': Decimal('1.1')}, ['a']),
        ({'either': 2**70}, ['d']),
        ({'numbers': {'$contains': 2**70}}, ['c']),
    ]:
        assert index.filter(query, None).id == expected, query
    assert index.verify().is_sound


def test_what_is_too_large_is_refused_by_name(opened: Open) -> None:
    """What filters look at has a limit, which is named before anything is sent; what is only stored has hardly one."""

    class Text(BaseDoc):
        text: str = ''
        stored: str = Field(default='', index=False)
        values: dict[str, Any] = Field(default_factory=dict)

    index = opened(Text)
    large = Text(id='large', stored='é' * 1_000_000, text='x' * 65_535)
    index.index(large)
    assert same(index['large'], large)
    assert index.filter({'stored': {'$startswith': 'éé'}}).id == ['large']
    for bad, message in [
        (Text(id='b', text='é' * 40_000), "'text' has 80,000 bytes"),
        (Text(id='b', values={'a': 'x' * 70_000}), "'values' has 70,"),
        (Text(id='b', stored='x' * 70_000_000), "'b'"),
    ]:
        with pytest.raises(DocumentError, match=message):
            index.index([Text(id='a'), bad])
    assert list(index) == ['large']


# -- names -------------------------------------------------------------------------------------------------

_KEYWORDS = ['in', 'and', 'or', 'not', 'is', 'null', 'IN', 'And', 'like', 'LIKE', 'exists', 'true', 'iso', 'interval']
_OURS = ['distance', 'score', 'pk', 'key', 'root', 'version', 'count', 'entity', 'rowid', 'timestamp', 'k_in', 'has']
_OTHERS = ['größe', '名前', 'été', 'ete', 'ж', 'u_ete', 'd__e', 'Distance', 'Ete']


@pytest.mark.parametrize('names', [_KEYWORDS, _OURS, _OTHERS], ids=['of the language', 'like ours', 'others'])
def test_a_field_can_have_any_name(opened: Open, names: list[str]) -> None:
    """Names that mean something to Milvus, or have letters that it does not take, are names like others."""
    cls = made({**dict.fromkeys(names, str), 'v': NdArray[2]}, **dict.fromkeys(names, 'x'))
    index = opened(cls)
    index.index([cls(id='a', v=[1, 2]), cls(id='b', v=[3, 4], **dict.fromkeys(names, 'y'))])
    assert same(index['a'], cls(id='a', v=[1, 2]))
    for name in names:
        assert index.filter({name: 'x'}).id == ['a']
        assert index.find([1, 2], filter={name: {'$ne': 'x'}}).documents.id == ['b']


def test_many_fields(opened: Open) -> None:
    """A collection has 64 fields at most: with more, the error says so, and how to have fewer."""
    with pytest.raises(SchemaError, match=r'64 at most; with Field\(index=False\)'):
        opened(made({f'f{at}': int for at in range(200)}))
    cls = made({f'f{at}': int for at in range(200)}, **{f'f{at}': Field(at, index=False) for at in range(200)})
    index = opened(cls)
    index.index(cls(id='a'))
    assert same(index['a'], cls(id='a'))
    assert index.filter({'f3': 3}).id == ['a']
    assert index.count({'f3': 4}) == 0


# -- tensors -----------------------------------------------------------------------------------------------


def test_vectors_of_all_types_come_back(opened: Open) -> None:
    """A vector comes back with the type and the bits that it was given with, and is searched as float32."""

    class Vector(BaseDoc):
        v: NdArray = Field(dim=2)
        half: NdArray | None = Field(default=None, dim=2, stored_as='float16')
        scanned: NdArray | None = Field(default=None, dim=2, index=False, space='cosine')
        any: AnyTensor | None = Field(default=None, index=False)

    index = opened(Vector)
    for dtype in ('f2', 'f4', 'f8', '>f4', 'i1', 'i4', 'i8', 'u1', '?'):
        doc = Vector(id=dtype, v=np.array([1, 0], dtype), any=np.ones((2, 3), dtype), scanned=np.array([1, 1], dtype))
        index.index(doc)
        assert same(index[dtype], doc)
        assert index.find([1, 0], 'v', 1).scores.tolist() == [0]
    tiny = Vector(id='tiny', v=np.array([1e-310, 1 / 3]), scanned=[1e-30, 1e-30], half=[1 / 3, 2])
    index.index(tiny)
    assert np.array_equal(index['tiny'].v, tiny.v)
    assert np.array_equal(index['tiny'].half, np.float16([1 / 3, 2]))
    assert len(index.find([2, 2], 'scanned', 20, filter={'id': 'tiny'}).documents) == 1
    assert index.find([2, 2], 'scanned', 20).scores[:9] == pytest.approx([0] * 9, abs=1e-6)
    assert index.verify().is_sound


def test_tensors_of_torch(opened: Open) -> None:
    """Tensors of torch come back as such, bfloat16 too."""
    torch = pytest.importorskip('torch')

    class Vector(BaseDoc):
        v: AnyTensor = Field(dim=3)

    index = opened(Vector)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32):
        index.index(Vector(id='a', v=torch.tensor([1, 2, 3]).to(dtype)))
        assert index['a'].v.dtype == dtype
        assert torch.equal(index['a'].v, torch.tensor([1, 2, 3]).to(dtype))
        assert index.find(torch.tensor([1.0, 2, 3])).scores.tolist() == [0]


# -- files -------------------------------------------------------------------------------------------------


class Row(BaseDoc):
    n: int = 0
    v: NdArray = Field(dim=2)


@pytest.mark.parametrize('kind', ['parquet', 'jsonl'])
def test_an_interrupted_load_goes_on(opened: Open, tmp_path: Path, kind: str) -> None:
    """A file whose load is interrupted is loaded to its end by the same call; exported, it makes the same index."""
    rows = [{'id': f'r{at}', 'n': at, 'v': [float(at), 1.0]} for at in range(50)]
    source, target = tmp_path / f'rows.{kind}', tmp_path / f'out.{kind}'
    if kind == 'parquet':
        pq.write_table(pa.Table.from_pylist(rows), source)
    else:
        source.write_text('\n'.join(map(json.dumps, rows)))
    index = opened(Row)
    original, calls = Server.upsert, iter(range(100))

    def interrupted(self: Server, *args: Any) -> None:
        if next(calls) == 6:
            raise KeyboardInterrupt
        original(self, *args)

    with mock.patch.object(Server, 'upsert', interrupted), pytest.raises(KeyboardInterrupt):
        index.index_from(source, batch_size=10)
    assert 0 < len(index) < 50
    report = index.index_from(source, batch_size=10)
    assert 0 < report.stored < 50
    assert [index[row['id']].n for row in rows] == list(range(50))
    index.export(target)
    again = opened(Row, 'again')
    again.index_from(target)
    assert [same(again[id_], index[id_]) for id_ in again] == [True] * 50
    assert again.verify().is_sound


def test_columns(opened: Open) -> None:
    """Columns of any type of numbers become documents."""
    index = opened(Row)
    for dtype in ('f2', 'f4', 'f8', 'i4'):
        index.index_columns(id=[f'{dtype} {at}' for at in range(3)], n=np.arange(3), v=np.ones((3, 2), dtype))
        assert index[f'{dtype} 2'].v.tolist() == [1, 1]
    assert len(index) == 12
    assert index.verify().is_sound
