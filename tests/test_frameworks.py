"""Tensors of torch, jax and tensorflow in documents. Each framework is tested where it is installed."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError, create_model

from docindex import (
    AnyTensor,
    BaseDoc,
    DimensionError,
    DocumentError,
    Field,
    HnswDocumentIndex,
    JaxArray,
    MissingLibraryError,
    NdArray,
    SchemaError,
    TensorFlowTensor,
    TorchTensor,
    VectorError,
)
from docindex.payload import Payloads
from docindex.schema import Schema
from docindex.tensors import as_array
from tests import programs

TYPES: dict[str, Any] = {'torch': TorchTensor, 'jax': JaxArray, 'tensorflow': TensorFlowTensor}
DTYPES = ['float32', 'float16', 'bfloat16', 'float8_e5m2', 'int32', 'int8', 'uint8', 'bool']


def of_torch(values: Any, dtype: str) -> Any:
    torch = pytest.importorskip('torch')
    return torch.as_tensor(values).to(getattr(torch, dtype))


def of_jax(values: Any, dtype: str) -> Any:
    return pytest.importorskip('jax.numpy').asarray(values, dtype=dtype)


def of_tensorflow(values: Any, dtype: str) -> Any:
    tensorflow = pytest.importorskip('tensorflow')
    narrow = dtype in ('bfloat16', 'float8_e5m2')
    kind = getattr(importlib.import_module('ml_dtypes'), dtype) if narrow else dtype
    return tensorflow.convert_to_tensor(np.asarray(values).astype(kind))


MAKE: dict[str, Callable[[Any, str], Any]] = {'torch': of_torch, 'jax': of_jax, 'tensorflow': of_tensorflow}


def round_trip(doc: BaseModel) -> Any:
    """Return a document as an index would give it back, its vectors kept as float32 in between."""
    schema: Schema[Any] = Schema(type(doc))
    columns = [schema.columns[name] for name in schema.vector_settings({})]
    given = {column.name: column.value(doc) for column in columns}
    payloads: Payloads[Any] = Payloads(type(doc), columns)
    text, packed = payloads.dump(doc, given)
    index = {name: None if value is None else float32(value) for name, value in given.items()}
    return payloads.load(text, packed, index)


def float32(tensor: Any) -> Any:
    array = tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.float() if is_torch(tensor) else tensor)
    return array.astype(np.float32)


def is_torch(tensor: Any) -> bool:
    return type(tensor).__module__ == 'torch'


@pytest.mark.parametrize('beside', [None, b'\xff'], ids=['alone', 'beside bytes'])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('framework', TYPES)
def test_a_tensor_comes_back_as_what_it_was(framework: str, dtype: str, beside: bytes | None) -> None:
    """A tensor comes back in its framework and dtype, as a vector, of any shape, in a list, and in an `AnyTensor`."""

    class Doc(BaseDoc):
        v: TYPES[framework][3]  # type: ignore[valid-type]
        any: AnyTensor = Field(dim=3)
        shaped: TYPES[framework]['h', 2] = Field(index=False)  # type: ignore[name-defined]  # noqa: F821, UP037
        free: list[AnyTensor]
        raw: bytes | None

    make = MAKE[framework]
    vector, matrix = make([1, 0, 3], dtype), make([[1, 2], [3, 4], [5, 6]], dtype)
    doc = Doc(v=vector, any=make([1, 0, 4], dtype), shaped=matrix, free=[matrix, np.ones(2)], raw=beside)  # type: ignore[call-arg]
    again = round_trip(doc)
    assert again == doc
    for name in ('v', 'any', 'shaped'):
        before, after = getattr(doc, name), getattr(again, name)
        assert (type(after), after.dtype) == (type(before), before.dtype)
    assert again.free[0].dtype == matrix.dtype
    assert type(again.free[1]) is np.ndarray


@pytest.mark.parametrize('framework', TYPES)
def test_a_field_has_tensors_of_its_framework(framework: str) -> None:
    """Lists, numpy arrays and JSON become tensors of the framework that the field names."""
    make, kind = MAKE[framework], TYPES[framework]
    doc_type = create_model('Doc', __base__=BaseDoc, v=(kind[2], ...))
    tensor = make([1, 2], 'float32')
    docs: list[Any] = [doc_type(v=value) for value in ([1.0, 2.0], np.float32([1, 2]), tensor)]  # type: ignore[call-arg]
    docs.append(doc_type.model_validate_json(docs[0].model_dump_json()))
    assert {type(doc.v) for doc in docs} == {type(tensor)}
    assert docs[2].v is tensor
    assert json.loads(docs[2].model_dump_json())['v'] == [1, 2]
    assert isinstance(tensor, kind[2])
    assert isinstance(tensor, AnyTensor)
    assert not isinstance(tensor, kind[3])
    assert not isinstance(tensor, NdArray)
    assert not isinstance(np.ones(2), kind)


@pytest.mark.parametrize('framework', TYPES)
def test_documents_with_tensors_are_like_others(framework: str) -> None:
    """Documents with a framework's tensors can be compared, copied, pickled, printed and described."""
    make = MAKE[framework]
    one, same, other = (Pair(id='a', v=make(values, 'bfloat16')) for values in ([1, 2], [1, 2], [1, 3]))
    assert one == same
    assert one != other
    assert one != Pair(id='a', v=np.float32([1, 2]))
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one.model_copy(deep=True) == one
    assert f'<7 bfloat16 {framework}>' in repr(Pair(v=make(range(7), 'bfloat16')))
    assert Pair.model_json_schema()['properties']['v']['type'] == ['array', 'number']
    assert one.model_dump()['v'] is one.v


class Pair(BaseDoc):
    v: AnyTensor


@pytest.mark.parametrize('framework', TYPES)
def test_queries_of_any_framework(framework: str, tmp_path: Path) -> None:
    """One can search with tensors of any framework, one or many at once, in bfloat16 as well."""
    make = MAKE[framework]
    doc_type = create_model('Doc', __base__=BaseDoc, v=(NdArray[2], ...))
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index([{'id': 'a', 'v': make([1, 2], 'float32')}, {'id': 'b', 'v': make([9, 9], 'float16')}])
        assert index.find(make([8, 9], 'bfloat16'), limit=1).documents.id == ['b']
        batched = index.find_batched(make([[8, 9], [1, 1]], 'float32'), limit=1)
        assert [docs.id for docs in batched.documents] == [['b'], ['a']]
        assert index['b'].v.dtype == np.float16
        with pytest.raises(DimensionError, match='3-d'):
            index.find(make([1, 2, 3], 'float32'))


@pytest.mark.parametrize('beside', [None, b'\xff'], ids=['alone', 'beside bytes'])
@pytest.mark.parametrize('dtype', ['bfloat16', 'float8_e4m3fn', 'float8_e5m2', 'int4'])
def test_numpys_narrow_dtypes_come_back(dtype: str, beside: bytes | None, tmp_path: Path) -> None:
    """A numpy array of bfloat16 and its likes is searched as float32 and comes back as it was."""
    kind = getattr(pytest.importorskip('ml_dtypes'), dtype)

    class Doc(BaseDoc):
        v: NdArray[3]
        shaped: AnyTensor = Field(index=False)
        raw: bytes | None

    doc = Doc(id='a', v=np.array([1, 0, 3], kind), shaped=np.ones((2, 0, 3), kind), raw=beside)
    with HnswDocumentIndex[Doc](work_dir=tmp_path) as index:
        index.index(doc)
        again = index['a']
        assert again == doc
        assert again.v.dtype == again.shaped.dtype == kind
        assert index.find(doc).scores.tolist() == [0]
        assert json.loads(again.model_dump_json(include={'v'}))['v'] == [1, 0, 3]


def test_a_query_keeps_a_copy(tmp_path: Path) -> None:
    """A query that was built with a tensor does not change when the tensor is written to, and can be printed."""
    doc_type = create_model('Doc', __base__=BaseDoc, v=(NdArray[2], ...))
    tensor = of_torch([1, 2], 'float32')
    with HnswDocumentIndex[doc_type](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index({'v': [1, 2]})
        query = index.build_query().find(tensor, 'v').build()
        tensor[0] = 9
        assert index.execute_query(query).scores.tolist() == [0]
        assert 'find' in str(query)


def test_tensors_or_something_else() -> None:
    """A union of tensor types is refused with a word about `AnyTensor`."""
    with pytest.raises(SchemaError, match='write AnyTensor'):
        Schema(create_model('Doc', __base__=BaseDoc, v=(NdArray[2] | TorchTensor[2], ...)))
    with pytest.raises(SchemaError, match='use two fields'):
        Schema(create_model('Doc', __base__=BaseDoc, v=(NdArray[2] | str, ...)))


def test_a_torch_tensor_comes_back_without_a_gradient(tmp_path: Path) -> None:
    """From an index comes a tensor that can be written to and asks for no gradient; the given one is untouched."""
    torch = pytest.importorskip('torch')

    class Doc(BaseDoc):
        v: TorchTensor[2]
        same: AnyTensor = Field(dim=2)
        turned: TorchTensor = Field(index=False)

    given = torch.tensor([0.5, 2], dtype=torch.float64, requires_grad=True)
    doc = Doc(id='a', v=given, same=given, turned=torch.arange(6).reshape(2, 3).T)
    with HnswDocumentIndex[Doc](work_dir=tmp_path) as index:
        index.index(doc)
    with HnswDocumentIndex[Doc](work_dir=tmp_path) as index:
        again = index['a']
        again.v[0], again.same[0], again.turned[0, 0] = 7, 8, 9
        assert (again.v.dtype, again.v.requires_grad, again.v.device.type) == (torch.float64, False, 'cpu')
        assert (again.v.tolist(), again.same.tolist(), again.turned.tolist()) == (
            [7, 2],
            [8, 2],
            [[9, 3], [1, 4], [2, 5]],
        )
        assert index['a'] == doc
    assert given.requires_grad
    assert doc.v is given


def test_what_torch_cannot_hand_over_is_refused() -> None:
    """Sparse, complex and device-less tensors are refused with torch's reason, as vectors and as other tensors."""
    torch = pytest.importorskip('torch')

    class Doc(BaseDoc):
        v: TorchTensor = Field(index=False)

    with pytest.raises(ValidationError, match='complex64'):
        Doc(v=torch.ones(2, dtype=torch.complex64))
    for tensor, why in ((torch.eye(2).to_sparse(), 'to_dense'), (torch.ones(2, device='meta'), 'no data')):
        with pytest.raises(DocumentError, match=why):
            round_trip(Doc(v=tensor))
    with pytest.raises(VectorError, match='to_dense'):
        as_array(torch.ones(2).to_sparse())


def test_jax_does_not_shorten_what_is_stored() -> None:
    """A float64 array that an `JaxArray` field is to give back is an error while jax holds no float64."""
    pytest.importorskip('jax')
    before = create_model('Doc', __base__=BaseDoc, v=(NdArray[2], ...))
    after = create_model('Doc', __base__=BaseDoc, v=(JaxArray[2], ...))
    doc: Any = before(v=[0.1, 0.2])  # type: ignore[call-arg]
    columns = [list(Schema(kind).columns.values())[1] for kind in (before, after)]
    text, packed = Payloads(before, columns[:1]).dump(doc, {'v': doc.v})
    with pytest.raises(DocumentError, match='jax_enable_x64'):
        Payloads(after, columns[1:]).load(text, packed, {'v': doc.v.astype(np.float32)})


def test_objects_are_no_tensor() -> None:
    """An array of Python objects or records, in a field that takes anything, is refused instead of losing them."""
    doc_type = create_model('Doc', __base__=BaseDoc, anything=(Any, None))
    for array in (np.array([{}, []], object), np.zeros(2, [('a', 'i4'), ('b', 'f4')])):
        with pytest.raises(DocumentError, match='cannot be stored'):
            round_trip(doc_type(anything=array))  # type: ignore[call-arg]


# -- without the framework ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', [TorchTensor, AnyTensor], ids=str)
def test_a_missing_framework_is_named(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor whose framework is not installed is an error with the line that installs it, not a numpy array."""
    monkeypatch.setitem(sys.modules, 'torch', None)
    payloads = Payloads(create_model('Doc', __base__=BaseDoc, v=(kind, Field(index=False))), [])
    table = b'[[0,"<f8",[2],"torch"]]'
    packed = len(table).to_bytes(4, 'little') + table + np.ones(2).tobytes()
    with pytest.raises(MissingLibraryError, match='pip install torch'):
        payloads.load(b'{"id":"a","v":0}', packed, {})


def test_a_list_needs_the_framework_of_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list given to a field of a framework that is not installed is an error with the line that installs it."""
    monkeypatch.setitem(sys.modules, 'jax.numpy', None)
    with pytest.raises(MissingLibraryError, match='pip install jax'):
        create_model('Doc', __base__=BaseDoc, v=(JaxArray[2], ...))(v=[1, 2])  # type: ignore[call-arg]


def test_a_field_changes_its_framework(tmp_path: Path) -> None:
    """Vectors that were stored as numpy come back as torch's when the schema says so, and the other way round."""
    pytest.importorskip('torch')
    numpy_doc = create_model('Doc', __base__=BaseDoc, v=(NdArray[2], ...))
    torch_doc = create_model('Doc', __base__=BaseDoc, v=(TorchTensor[2], ...))
    with HnswDocumentIndex[numpy_doc](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        index.index([{'id': '16', 'v': np.float16([1, 2])}, {'id': '32', 'v': np.float32([1, 2])}])
    with HnswDocumentIndex[torch_doc](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        assert [str(index[id_].v.dtype) for id_ in ('16', '32')] == ['torch.float16', 'torch.float32']
        index.index({'id': '64', 'v': of_torch([0.1, 2], 'float64')})
    with HnswDocumentIndex[numpy_doc](work_dir=tmp_path) as index:  # type: ignore[valid-type]
        assert [index[id_].v.dtype for id_ in ('16', '32', '64')] == [np.float16, np.float32, np.float64]


def test_no_framework_is_imported_for_numpy(tmp_path: Path) -> None:
    """Schemas may name a framework's types, and documents without a tensor of it do not load it."""
    code = """
import sys
from docindex import *

class Doc(BaseDoc):
    v: AnyTensor = Field(dim=2)
    other: TorchTensor[2] | None = None
    more: JaxArray | TensorFlowTensor | None = Field(None, index=False)

with HnswDocumentIndex[Doc](work_dir='index') as index:
    index.index(Doc(id='a', v=[1, 2]))
    assert index['a'].v.tolist() == [1, 2]
print(*sys.modules)
"""
    loaded = programs.run(code, cwd=tmp_path).stdout.split()
    assert not {'torch', 'jax', 'tensorflow', 'ml_dtypes'} & set(loaded)
