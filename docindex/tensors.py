"""
The tensor types of a schema, and how anything array-like becomes a tensor.

    NdArray              a numpy array of any shape; give the length with Field(dim=128)
    NdArray[128]         a vector of 128 numbers
    NdArray[3, 224, 224] a tensor of that shape
    NdArray[3, 'w', 'w'] equal letters stand for equal lengths; ... for any number of further axes
    TorchTensor, JaxArray, TensorFlowTensor
                         the same, but the value is a tensor of that framework
    AnyTensor            the same, but the value is of whichever framework came in; a list becomes a numpy array

A value of the field's framework is kept as it is, with its dtype: nothing is rounded on the way in. A list, or a tensor
of another framework, becomes one of the field's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, cycle
from types import EllipsisType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .errors import MissingLibraryError, VectorError
from .frameworks import FRAMEWORKS, NUMPY, Array, Framework, framework_of, is_numeric

Axis = int | str | EllipsisType
Tensor = Any
"""A tensor of one of the frameworks; anything to a type checker, which need not know them."""
Float32Array = np.ndarray[Any, np.dtype[np.float32]]


def as_array(value: object) -> Array:
    """
    Return `value` (numpy, nested lists, a torch, jax or tensorflow tensor) as an array of numbers.

    An ndarray comes back as it is, not copied, but for dtypes that numpy itself does not have: bfloat16 becomes
    float32, which holds it exactly. Frameworks are recognised, never imported.

    Raises:
        VectorError: `value` is not an array of booleans, integers or floats of even shape.
    """
    tensor = as_tensor(value)
    if type(tensor) is np.ndarray and tensor.dtype.isbuiltin == 1:
        return tensor  # as nearly all are
    try:
        return (framework_of(tensor) or NUMPY).numbers(tensor)
    except _FRAMEWORK_ERRORS as error:
        raise _not_numbers(value, f': {error}') from error


def as_tensor(value: object, framework: Framework | None = None) -> Tensor:
    """
    Return `value` as a tensor of a framework; if that is None, of its own, which is numpy's for a list.

    Raises:
        VectorError: as for `as_array`.
        MissingLibraryError: the framework is not installed.
    """
    if type(value) is np.ndarray and value.dtype.kind in 'iuf' and framework in (None, NUMPY):
        return _numeric(value, value.dtype, value)  # as nearly all are
    found = framework_of(value)
    try:
        if found is not None:
            tensor = _numeric(value, found.numpy_dtype(value), value)
            return tensor if framework in (None, found) else (framework or NUMPY).make(found.array(tensor))
        if isinstance(value, (list, tuple)):
            made = (framework or NUMPY).make(value)
            return _numeric(made, (framework or NUMPY).numpy_dtype(made), value)
        if hasattr(value, '__array__'):
            return as_tensor(np.asarray(value), framework)
    except MissingLibraryError:
        raise
    except _FRAMEWORK_ERRORS as error:
        raise error if isinstance(error, VectorError) else _not_numbers(value, f': {error}') from error
    raise _not_numbers(value)


_FRAMEWORK_ERRORS = (ValueError, TypeError, RuntimeError, NotImplementedError)
"""What frameworks say of lists of uneven length, tensors that are sparse, or being traced, or of strings."""


def _numeric(tensor: Tensor, dtype: np.dtype[Any], value: object) -> Tensor:
    if not is_numeric(dtype):
        raise _not_numbers(value, f' of dtype {dtype}')
    return tensor


def _not_numbers(value: object, why: str = '') -> VectorError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + '...'
    return VectorError(f'expected an array of numbers, got {type(value).__name__} {shown}{why}')


class Tensors:
    """
    The tensors of one document, kept outside its JSON.

    Passed to pydantic as the context of a dump or a validation, it makes each tensor appear in the JSON as a reference
    instead of as nested lists of decimal numbers: a vector column by its name, any other tensor by its number. By name,
    for the fields of a class may come in another order the next time.

    Attributes:
        vectors: The vector columns of the document, by flat name; None where there is no vector.
        others: All its other tensors, by number.
    """

    def __init__(self, vectors: Mapping[str, Tensor | None]) -> None:
        self.vectors = dict(vectors)
        self.others: list[Tensor] = []
        self._number_of: dict[int, int] = {}  # by the id() of each of these, which lives as long as this

    def refer(self, tensor: Tensor) -> str | int:
        """Return the reference to `tensor`, the object itself, adding it if it is new."""
        for name, vector in self.vectors.items():
            if vector is tensor:
                return name
        number = self._number_of.setdefault(id(tensor), len(self.others))
        if number == len(self.others):
            self.others.append(tensor)
        return number

    def forget(self) -> None:
        """Forget what was added."""
        self.others.clear()
        self._number_of.clear()

    def resolve(self, reference: str | int) -> Tensor:
        """
        Return the tensor that a reference stands for.

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


class TensorColumns(Tensors):
    """
    The vectors of several documents that are validated one after another, from one JSON.

    Each is handed out when its turn comes, so that no document has to say which one it is.

    Args:
        columns: The vectors of all documents, by flat name of the column; None where a document has none.
    """

    def __init__(self, columns: Mapping[str, Sequence[Tensor | None]]) -> None:
        super().__init__({})
        self._left: dict[str | int, Iterator[Tensor]] = {
            name: iter([one for one in column if one is not None]) for name, column in columns.items()
        }

    def resolve(self, reference: str | int) -> Tensor:
        try:
            return next(self._left[reference])
        except (LookupError, StopIteration) as error:
            raise LostTensorError(reference) from error

    def are_used_up(self) -> bool:
        """Return whether each has been handed out."""
        return all(next(left, None) is None for left in self._left.values())


class TensorsInTurn(Tensors):
    """
    The vectors of several documents that are dumped one after another, into one JSON.

    Args:
        columns: The vectors of all documents, by flat name of the column, in the order in which a document has them;
            None where it has none.
    """

    def __init__(self, columns: Mapping[str, Sequence[Tensor | None]]) -> None:
        super().__init__({})
        in_turn = zip(cycle(columns), chain.from_iterable(zip(*columns.values(), strict=True)), strict=False)
        self._left = ((name, vector) for name, vector in in_turn if vector is not None)

    def refer(self, tensor: Tensor) -> str:
        """
        Return the name of the column whose turn it is.

        Raises:
            LostTensorError: that has another tensor.
        """
        name, vector = next(self._left, ('', None))
        if vector is not tensor:
            raise LostTensorError(name)
        return name

    def are_used_up(self) -> bool:
        """Return whether each has had its turn."""
        return next(self._left, None) is None


class LostTensorError(Exception):
    """A stored document refers to an array that is not stored with it."""


class _TensorType(type):
    """Lets `isinstance(array, NdArray[3])` ask about the shape."""

    shape: tuple[Axis, ...] | None

    framework: Framework | None

    def __instancecheck__(cls, value: object) -> bool:
        found: Any = framework_of(value)
        if found is None or cls.framework not in (None, found):
            return False
        return cls.shape is None or fits(tuple(value.shape), cls.shape)  # type: ignore[attr-defined]


class _Tensor(metaclass=_TensorType):
    shape: ClassVar[tuple[Axis, ...] | None] = None
    framework: ClassVar[Framework | None] = None

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
            # Without axes it is one number.
            return {'type': 'array' if cls.shape not in (None, (...,)) else ['array', 'number'], 'items': {}}
        if len(cls.shape) == 1 and isinstance(cls.shape[0], int):
            return vector_as_json_schema(cls.shape[0])
        described: JsonSchemaValue = {'type': ['number', 'boolean', 'null']}
        for axis in reversed(cls.shape):
            length = {'minItems': axis, 'maxItems': axis} if isinstance(axis, int) else {}
            described = {'type': 'array', 'items': described, **length}
        return described

    @classmethod
    def _validate(cls, value: object, info: core_schema.ValidationInfo) -> Tensor:
        context = info.context
        if isinstance(context, Tensors) and isinstance(value, (str, int)):
            return context.resolve(value)
        try:
            tensor = as_tensor(value, cls.framework)
        except VectorError as error:
            numbers = _numbers_of_json(value) if info.mode == 'json' else None
            if numbers is None:
                raise PydanticCustomError('tensor', '{reason}', {'reason': str(error)}) from error
            tensor = as_tensor(numbers, cls.framework)
        shape = tuple(tensor.shape)
        if cls.shape is not None and not fits(shape, cls.shape):
            if len(cls.shape) == len(shape) == 1:
                found = {'expected': cls.shape[0], 'got': shape[0]}
                raise PydanticCustomError('tensor_shape', 'expected a {expected}-d vector, got {got}-d', found)
            found = {'expected': _show(cls.shape), 'got': _show(shape)}
            raise PydanticCustomError('tensor_shape', 'expected a tensor of shape {expected}, got {got}', found)
        return tensor


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
    if isinstance(info.context, Tensors):
        return info.context.refer(as_tensor(value))  # an assignment that nobody checked may have left a list here
    array = as_array(value)
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        numbers = array.astype(object)
        numbers[~np.isfinite(array)] = None  # JSON has no NaN
        return numbers.tolist()
    return array.tolist()


def _numbers_of_json(value: object) -> Array | list[Any] | None:
    """Return what is no list of numbers as one, with NaN for null, or as an array without axes; None: it is neither."""
    try:
        array = np.asarray(value, object)
    except ValueError:  # lists of uneven length
        return None
    if value is None or not all(number is None or isinstance(number, (int, float)) for number in array.flat):
        return None
    numbers: list[Any] = array.astype(np.float64).tolist()  # a list, of which the framework makes what it makes of any
    return numbers if array.ndim else np.asarray(value)


def vector_as_json_schema(dim: int) -> JsonSchemaValue:
    """Return the JSON schema of a vector; unlike other tensors it is finite, or nobody could search it."""
    return {'type': 'array', 'items': {'type': 'number'}, 'minItems': dim, 'maxItems': dim}


def is_tensor_type(annotation: object) -> bool:
    """Return whether a type in a schema is one of the tensor types of this module."""
    return isinstance(annotation, _TensorType)


def framework_of_type(annotation: object) -> Framework | None:
    """Return the framework that the values of a type in a schema are tensors of; None if it does not say."""
    return annotation.framework if isinstance(annotation, _TensorType) else None


if TYPE_CHECKING:
    # What an editor sees: a field annotated `NdArray` holds an ndarray. `NdArray[128]` is no type to
    # a type checker (a number is not one); `NdArray = Field(dim=128)` says the same and is.
    # The others are anything: a checker need not have the framework, and takes what can become a tensor.
    NdArray = Array
    AnyTensor = Any
    TorchTensor = Any
    JaxArray = Any
    TensorFlowTensor = Any
else:

    class NdArray(_Tensor):
        """A numpy array of numbers, of the shape in the brackets if there are any."""

        framework = NUMPY

    class AnyTensor(_Tensor):
        """A tensor of whichever framework came in; a list becomes a numpy array."""

    class TorchTensor(_Tensor):
        """A `torch.Tensor`, of the shape in the brackets if there are any."""

        framework = FRAMEWORKS['torch']

    class JaxArray(_Tensor):
        """A `jax.Array`, of the shape in the brackets if there are any."""

        framework = FRAMEWORKS['jax']

    class TensorFlowTensor(_Tensor):
        """A `tensorflow.Tensor`, of the shape in the brackets if there are any."""

        framework = FRAMEWORKS['tensorflow']
