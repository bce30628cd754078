"""
The tensor types of a schema, and how anything array-like becomes a numpy array.

    NdArray              any shape; give the length with Field(dim=128)
    NdArray[128]         a vector of 128 numbers
    NdArray[3, 224, 224] a tensor of that shape
    NdArray[3, 'w', 'w'] equal letters stand for equal lengths; ... for any number of further axes
    AnyTensor            the same as NdArray; numpy, lists and torch tensors all come back as numpy

A value is a plain `numpy.ndarray` with the dtype that was given: nothing is rounded on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import EllipsisType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .errors import VectorError

Axis = int | str | EllipsisType
Array = np.ndarray[Any, np.dtype[Any]]
Float32Array = np.ndarray[Any, np.dtype[np.float32]]


def as_array(value: object) -> Array:
    """
    Return `value` (numpy, nested lists, a torch, jax or tensorflow tensor) as an array of numbers.

    An ndarray comes back as it is, not copied. Frameworks are recognised, never imported.

    Raises:
        VectorError: `value` is not an array of booleans, integers or floats of even shape.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif type(value).__module__.partition('.')[0] == 'torch':
        array = _from_torch(value)
    elif isinstance(value, (list, tuple)) or hasattr(value, '__array__'):
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise VectorError(f'expected an array of numbers, got {_describe(value)}: {error}') from error
    else:
        raise VectorError(f'expected an array of numbers, got {_describe(value)}')
    if array.dtype.kind not in 'biuf' or array.dtype.itemsize > 8:
        raise VectorError(f'expected an array of numbers, got {_describe(value)} of dtype {array.dtype}')
    return array


def _from_torch(value: Any) -> Array:
    tensor = value.detach().cpu()
    # numpy has no bfloat16; float32 holds each of its values exactly.
    array = tensor.float().numpy() if str(tensor.dtype) == 'torch.bfloat16' else tensor.numpy()
    return np.asarray(array)


def _describe(value: object) -> str:
    shown = repr(value)
    return f'{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + "..."}'


class Tensors:
    """
    The arrays of one document, kept outside its JSON.

    Passed to pydantic as the context of a dump or a validation, it makes each tensor appear in the JSON as a reference
    instead of as nested lists of decimal numbers: a vector column by its name, any other tensor by its number. By name,
    for the fields of a class may come in another order the next time.

    Attributes:
        vectors: The vector columns of the document, by flat name; None where there is no vector.
        others: All its other tensors, by number.
    """

    def __init__(self, vectors: Mapping[str, Array | None]) -> None:
        self.vectors = dict(vectors)
        self.others: list[Array] = []

    def refer(self, array: Array) -> str | int:
        """Return the reference to `array`, the object itself, adding it if it is new."""
        for name, vector in self.vectors.items():
            if vector is array:
                return name
        for number, other in enumerate(self.others):
            if other is array:
                return number
        self.others.append(array)
        return len(self.others) - 1

    def resolve(self, reference: str | int) -> Array:
        """
        Return the array that a reference stands for.

        Raises:
            LostTensorError: there is none.
        """
        try:
            found = self.vectors[reference] if isinstance(reference, str) else self.others[reference]
        except (LookupError, TypeError):
            found = None
        if found is None:
            raise LostTensorError(reference)
        return found


class LostTensorError(Exception):
    """A stored document refers to an array that is not stored with it."""


class _TensorType(type):
    """Lets `isinstance(array, NdArray[3])` ask about the shape."""

    shape: tuple[Axis, ...] | None

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, np.ndarray) and (cls.shape is None or fits(value.shape, cls.shape))


class _Tensor(metaclass=_TensorType):
    shape: ClassVar[tuple[Axis, ...] | None] = None

    def __class_getitem__(cls, axes: Axis | tuple[Axis, ...]) -> _TensorType:
        return _shaped(cls, axes if isinstance(axes, tuple) else (axes,))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(_to_json, info_arg=True, when_used='json'),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if cls.shape is None or ... in cls.shape:
            return {'type': 'array', 'items': {}}
        described: JsonSchemaValue = {'type': 'number'}
        for axis in reversed(cls.shape):
            length = {'minItems': axis, 'maxItems': axis} if isinstance(axis, int) else {}
            described = {'type': 'array', 'items': described, **length}
        return described

    @classmethod
    def _validate(cls, value: object, info: core_schema.ValidationInfo) -> Array | None:
        if isinstance(info.context, Tensors) and isinstance(value, (str, int)):
            return info.context.resolve(value)
        try:
            array = as_array(value)
        except VectorError as error:
            raise PydanticCustomError('tensor', '{reason}', {'reason': str(error)}) from error
        if cls.shape is not None and not fits(array.shape, cls.shape):
            if len(cls.shape) == array.ndim == 1:
                found = {'expected': cls.shape[0], 'got': array.shape[0]}
                raise PydanticCustomError('tensor_shape', 'expected a {expected}-d vector, got {got}-d', found)
            found = {'expected': _show(cls.shape), 'got': _show(array.shape)}
            raise PydanticCustomError('tensor_shape', 'expected a tensor of shape {expected}, got {got}', found)
        return array


@cache
def _shaped(base: _TensorType, shape: tuple[Axis, ...]) -> _TensorType:
    for axis in shape:
        if isinstance(axis, bool) or not isinstance(axis, (int, str, EllipsisType)) or (type(axis) is int and axis < 1):
            raise TypeError(f'{base.__name__}[...] takes positive lengths, letters and ..., got {axis!r}')
    if shape.count(...) > 1:
        raise TypeError(f'{base.__name__}[...] takes one ... at the most')
    name = f'{base.__name__}[{", ".join("..." if axis is ... else repr(axis) for axis in shape)}]'
    return _TensorType(name, (base,), {'shape': shape, '__module__': base.__module__})


def fits(shape: tuple[int, ...], expected: tuple[Axis, ...]) -> bool:
    """Return whether an array's shape is one that `NdArray[expected]` allows."""
    if ... in expected:
        at = expected.index(...)
        rest = len(expected) - at - 1
        if len(shape) < at + rest:
            return False
        return fits(shape[:at] + shape[len(shape) - rest :], expected[:at] + expected[at + 1 :])
    if len(shape) != len(expected):
        return False
    letters: dict[str, int] = {}
    return all(
        letters.setdefault(axis, length) == length if isinstance(axis, str) else axis == length
        for length, axis in zip(shape, expected, strict=True)
    )


def _show(shape: tuple[Axis, ...]) -> str:
    return f'({", ".join("..." if axis is ... else str(axis) for axis in shape)})'


def _to_json(value: object, info: core_schema.SerializationInfo) -> object:
    array = as_array(value)  # an assignment that nobody checked may have left a list here
    return info.context.refer(array) if isinstance(info.context, Tensors) else array.tolist()


def is_tensor_type(annotation: object) -> bool:
    """Return whether a type in a schema is one of the tensor types of this module."""
    return isinstance(annotation, _TensorType)


if TYPE_CHECKING:
    # What an editor sees: a field annotated `NdArray` holds an ndarray. `NdArray[128]` is no type to
    # a type checker (a number is not one); `NdArray = Field(dim=128)` says the same and is.
    NdArray = Array
    AnyTensor = Array
else:

    class NdArray(_Tensor):
        """A numpy array of numbers, of the shape in the brackets if there are any."""

    class AnyTensor(_Tensor):
        """Any tensor that numpy can read; it comes back as a numpy array."""
