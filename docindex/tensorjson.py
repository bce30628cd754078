"""
Tensors as JSON: lists of numbers, which anybody reads and writes, with their types where lists do not say all.

Numbers in JSON have no type, so there is a rule by which a list is read, and a tensor that would come back as another
one is written as `{"dtype": "<f8", "shape": [2], "numbers": [0.1, 0.2]}`:

    floats       float32 if that holds each of the numbers exactly, otherwise float64
    integers     int64; in a vector they are read as floats are, for many programs write 1.0 as 1
    booleans     bool

A vector is a tensor with one axis of known length.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from .frameworks import FRAMEWORKS, NUMPY, Array, Framework, framework_of
from .tensors import Tensors, as_array, as_tensor, framework_of_type

_FLOAT32, _FLOAT64, _INT64 = (np.dtype(kind) for kind in (np.float32, np.float64, np.int64))


def tensor_to_json(value: object, annotation: Any, is_vector: bool) -> Any:
    """
    Return a tensor as JSON types: nested lists of numbers, or a dict that says the type as well.

    Args:
        value: The tensor, of any framework.
        annotation: Its type in the schema: tensors of another framework than this type makes say so.
        is_vector: Whether the schema says that it has one axis of known length.

    Raises:
        VectorError: it is no tensor.
    """
    tensor = as_tensor(value)
    framework = framework_of(tensor) or NUMPY
    array = as_array(tensor)
    is_expected = framework is (framework_of_type(annotation) or NUMPY)
    says_all = is_expected and array.size > 0 and array.ndim > 0 and framework.dtype(tensor) == array.dtype.str
    if says_all and np.isfinite(array).all() and _dtype_of_list(array, is_vector) == array.dtype:
        return array.tolist()
    return _described(tensor, framework)


def tensor_from_json(value: Any, is_vector: bool) -> Any:
    """
    Return the tensor that JSON stands for; what is neither a list nor a described tensor comes back as it is.

    Raises:
        ValueError: the list is uneven, or the description does not fit its numbers.
        KeyError: the description lacks something.
    """
    if isinstance(value, Mapping) and 'dtype' in value:
        return _from_described(value)
    if not isinstance(value, list):
        return value
    array = np.asarray(value)
    return array.astype(_dtype_of_list(array, is_vector), copy=False)


class InlineTensors(Tensors):
    """Tensors that stand in the JSON of `docindex.typed` themselves, with their types."""

    def __init__(self) -> None:
        super().__init__({})

    def refer(self, tensor: Any) -> Any:
        """Return what stands for a tensor in the JSON."""
        return _described(tensor, framework_of(tensor) or NUMPY)

    def resolve(self, reference: Any) -> Any:
        """Return the tensor again."""
        return _from_described(reference)


def _dtype_of_list(array: Array, is_vector: bool) -> np.dtype[Any]:
    """Return the dtype with which these numbers are read from a list."""
    if array.dtype.kind != 'f' and not (is_vector and array.dtype.kind in 'iu'):
        return _INT64 if array.dtype.kind in 'iu' else array.dtype
    return next((dtype for dtype in (_FLOAT32, _FLOAT64) if _holds(dtype, array)), array.dtype)


def _holds(dtype: np.dtype[Any], array: Array) -> bool:
    with np.errstate(over='ignore', invalid='ignore'):  # which numbers that are lost announce
        again = array.astype(dtype).astype(array.dtype)
    return np.array_equal(again, array, equal_nan=array.dtype.kind == 'f')


def _described(tensor: Any, framework: Framework) -> dict[str, Any]:
    numbers = framework.numbers(tensor)
    described: dict[str, Any] = {'dtype': framework.dtype(tensor), 'shape': list(numbers.shape)}
    if framework is not NUMPY:
        described['framework'] = framework.name
    if np.isfinite(numbers).all():
        return {**described, 'numbers': numbers.ravel().tolist()}
    return {**described, 'base64': base64.b64encode(framework.to_bytes(tensor)).decode()}  # JSON has no NaN


def _from_described(described: Mapping[str, Any]) -> Any:
    dtype, shape = described['dtype'], described['shape']
    framework = FRAMEWORKS[described.get('framework', 'numpy')]
    if 'base64' in described:
        data = np.frombuffer(base64.b64decode(described['base64']), np.uint8).copy()
        return framework.from_bytes(data, dtype, shape)
    # Not by way of float64, which does not hold each int64.
    numbers = np.array(described['numbers'], dtype if dtype[:1] in '<>|' else np.float32)
    return framework.from_array(numbers.reshape(shape), dtype)
