import json
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from docindex import AnyTensor, BaseDoc, NdArray, VectorError
from docindex.tensors import as_array, fits

DTYPES = ['float16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint64', 'bool', '>f4', '>i2']


class OfTorch:
    """Stands in for torch.Tensor, which is recognised by its module and never imported; one on a graphics card."""

    shape = (2,)

    def __init__(self, array: Any, dtype: str = 'torch.float32') -> None:
        self.array, self.dtype = array, dtype

    def float(self) -> 'OfTorch':
        return OfTorch(self.array)

    def numpy(self, *, force: bool = False) -> Any:
        if not force or self.dtype == 'torch.bfloat16':
            raise TypeError('torch refuses this')
        return self.array


OfTorch.__module__ = 'torch'


class ArrayLike:
    """A tensor of some other framework."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1, 2], np.float16)


@pytest.mark.parametrize('dtype', DTYPES)
def test_an_array_comes_back_as_it_is(dtype: str) -> None:
    """An ndarray is neither copied nor rounded."""
    array = np.ones(3, dtype)
    assert as_array(array) is array


@pytest.mark.parametrize(
    ('value', 'expected'),
    [([1, 2], 'int64'), ((1.5, 2), 'float64'), ([[1], [2]], 'int64'), ([True, False], 'bool'), ([], 'float64')],
)
def test_lists_become_arrays(value: Any, expected: str) -> None:
    """Nested lists and tuples of numbers are arrays of numpy's own choice of type."""
    array = as_array(value)
    assert array.tolist() == [list(row) if isinstance(row, tuple) else row for row in value]
    assert array.dtype == expected


@pytest.mark.parametrize('dtype', ['torch.float32', 'torch.bfloat16'])
def test_a_torch_tensor_is_taken_from_its_device(dtype: str) -> None:
    """A torch tensor is detached, brought to the processor, and widened where numpy has no such type (D27)."""
    values = np.array([1, 2], np.float32)
    array = as_array(OfTorch(values, dtype))
    np.testing.assert_array_equal(array, values)


def test_an_array_like_of_any_framework() -> None:
    """Whatever offers `__array__` is read through it, with its type."""
    assert as_array(ArrayLike()).dtype == np.float16


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        ('1,2', "str '1,2'"),
        (b'12', 'bytes'),
        (None, 'NoneType None'),
        (8, 'int 8'),
        ({'a': 1}, 'dict'),
        (['1', '2'], 'list'),
        ([None, 1], 'object'),
        ([[1], [1, 2]], 'list'),
        (np.array(['a']), '<U1'),
        (np.array([1j]), 'complex128'),
        (np.array(['2024-01-01'], 'datetime64[D]'), 'datetime64'),
        (np.zeros(2, 'f4,f4'), 'ndarray'),
        ([10**400], 'object'),
    ],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_refused(value: object, said: str) -> None:
    """Anything else is a `VectorError`, a ValueError, that says what came; an int never makes an empty array."""
    with pytest.raises(VectorError, match='expected an array of numbers') as raised:
        as_array(value)
    assert isinstance(raised.value, ValueError)
    assert said in str(raised.value)


def test_an_error_does_not_print_a_whole_array() -> None:
    """What came is shortened in the message."""
    with pytest.raises(VectorError) as raised:
        as_array(['x'] * 10_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ('expected', 'good', 'bad'),
    [
        ((3,), (3,), (4,)),
        ((3,), (3,), (1, 3)),
        ((3, 2), (3, 2), (2, 3)),
        (('x',), (7,), ()),
        ((3, 'x', 'x'), (3, 5, 5), (3, 5, 4)),
        (('x', 'y'), (5, 4), (5,)),
        ((3, ...), (3,), (4, 3)),
        ((3, ...), (3, 5, 6), ()),
        ((..., 3), (9, 9, 3), (3, 9)),
        (('x', ..., 'x'), (2, 9, 2), (2, 9, 3)),
    ],
    ids=str,
)
def test_shapes(expected: Any, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    """A number is a length, equal letters are equal lengths, and ... is any number of axes."""
    assert fits(good, expected)
    assert not fits(bad, expected)


@pytest.mark.parametrize('axes', [0, -1, True, 1.5, None, (3, None), (..., 3, ...)], ids=str)
def test_a_shape_that_makes_no_sense_is_refused(axes: Any) -> None:
    """`NdArray[...]` takes positive lengths, letters and one ellipsis."""
    with pytest.raises(TypeError, match='NdArray'):
        NdArray[axes]


def test_the_same_shape_is_the_same_type() -> None:
    """`NdArray[3]` is one class wherever it is written, and not `NdArray[4]` or `AnyTensor[3]`."""
    assert NdArray[3] is NdArray[3]
    assert NdArray[3] is not NdArray[4]
    assert NdArray[3] is not AnyTensor[3]
    assert NdArray[3, 'x', ...].__name__ == "NdArray[3, 'x', ...]"


def test_isinstance_asks_for_the_shape() -> None:
    """`isinstance(array, NdArray[3])` holds for arrays of that shape."""
    array: Any = np.zeros(3)
    assert isinstance(array, NdArray)
    assert isinstance(array, NdArray[3])
    assert not isinstance(array, NdArray[4])
    assert not isinstance([0, 0, 0], NdArray[3])


@pytest.mark.parametrize('kind', [NdArray, AnyTensor])
def test_a_field_holds_a_plain_array(kind: Any) -> None:
    """A numpy array stays what it is in an `NdArray` and an `AnyTensor`, and a list becomes one."""
    adapter = TypeAdapter(kind)
    assert type(adapter.validate_python([1, 2])) is np.ndarray
    assert adapter.validate_python(np.float16([1, 2])).dtype == np.float16


def test_an_ndarray_field_makes_numpy_of_everything() -> None:
    """A tensor of another framework becomes a numpy array in an `NdArray`, and stays what it is in an `AnyTensor`."""
    tensor = OfTorch(np.ones(2, np.float16), 'torch.float16')
    converted = TypeAdapter(NdArray[2]).validate_python(tensor)
    assert (type(converted), converted.dtype) == (np.ndarray, np.float16)
    assert TypeAdapter(AnyTensor[2]).validate_python(tensor) is tensor


def test_a_wrong_length_names_both() -> None:
    """A document refuses a vector of another length, and says which it has and which it needs."""

    class Doc(BaseDoc):
        v: NdArray[3]
        image: NdArray[2, 'x', 'x'] = np.zeros((2, 1, 1))  # noqa: F821

    with pytest.raises(ValidationError, match='expected a 3-d vector, got 4-d'):
        Doc(v=[1, 2, 3, 4])
    with pytest.raises(ValidationError, match=r'expected a tensor of shape \(2, x, x\), got \(2, 3, 4\)'):
        Doc(v=[1, 2, 3], image=np.zeros((2, 3, 4)))
    with pytest.raises(ValidationError, match='expected an array of numbers, got int 8'):
        Doc(v=8)


def test_json_has_nested_lists() -> None:
    """A document dumped to JSON has its tensors as nested lists, and can be read back from it."""

    class Doc(BaseDoc):
        v: NdArray[2]
        image: NdArray[1, 2]

    doc = Doc(id='a', v=np.float32([1, 2]), image=[[3, 4]])
    assert json.loads(doc.model_dump_json()) == {'id': 'a', 'v': [1, 2], 'image': [[3, 4]]}
    assert Doc.model_validate_json(doc.model_dump_json()).v.tolist() == [1, 2]
    assert doc.model_dump()['v'] is doc.v


def test_a_json_schema_describes_the_shape() -> None:
    """The JSON schema of a document describes its tensors."""

    class Doc(BaseDoc):
        v: NdArray[2]
        image: NdArray['x', 3]  # noqa: F821
        anything: NdArray

    properties = Doc.model_json_schema()['properties']
    two = {'type': 'array', 'items': {'type': 'number'}, 'minItems': 2, 'maxItems': 2}
    number = {'type': ['number', 'boolean', 'null']}  # of a vector, which is searched, each is finite
    three = {'type': 'array', 'items': number, 'minItems': 3, 'maxItems': 3}
    assert properties['v'].items() >= two.items()
    assert properties['image'].items() >= {'type': 'array', 'items': three}.items()
    assert properties['anything']['type'] == ['array', 'number']
