"""
The tensors of a document as bytes, exactly: what the vector files do not say of them.

A table of contents in JSON behind its length, then the tensors one after another. For each:

    [reference, dtype, shape]             its elements follow
    [reference, dtype, null]              a vector that float32 holds exactly, or whose rounding is wanted: its elements
                                          stand in the vector file
    [reference, dtype, shape, framework]  either, where the framework is not the one to be expected

To be expected is the framework that the type of a vector column names, and numpy everywhere else. A float32 vector of
that framework has no entry at all.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import DocumentError
from .frameworks import FRAMEWORKS, NUMPY, Array, Framework, framework_of, is_storable, itemsize
from .tensors import Tensor, Tensors

_FLOAT32 = np.dtype(np.float32).str


class Packing:
    """
    Writes and reads the tensors of documents of one class.

    Args:
        columns: Its vector columns, by flat name, with the framework that the type of each names, if it does.
    """

    def __init__(self, columns: Mapping[str, Framework | None]) -> None:
        self._expected: dict[str | int, Framework] = {name: framework or NUMPY for name, framework in columns.items()}
        self._fixed = {name: framework for name, framework in columns.items() if framework is not None}
        self._to_make = {name: framework for name, framework in self._fixed.items() if framework is not NUMPY}

    @property
    def makes_tensors(self) -> bool:
        """Whether a vector, as it stands in its file, has to become a tensor of another framework."""
        return bool(self._to_make)

    def pack(self, tensors: Tensors, rounded: Collection[str] = ()) -> bytes | None:
        """
        Return what is needed to give the tensors of a document back; None if the vector files have all of it.

        Vectors in the columns `rounded` are to come back as the vector files have them, exact or not.

        Raises:
            DocumentError: a tensor has no numbers in it that could be written: a sparse one, one of Python objects.
        """
        contents: list[list[Any]] = []
        elements: list[bytes] = []
        left: list[tuple[str | int, Tensor]] = [
            (name, vector) for name, vector in tensors.vectors.items() if not self._is_said(name, vector)
        ]
        for reference, tensor in (*left, *enumerate(tensors.others)):
            framework = framework_of(tensor) or NUMPY
            named = [] if framework is self._expected.get(reference, NUMPY) else [framework.name]
            dtype = framework.dtype(tensor)
            if isinstance(reference, str) and (reference in rounded or _fits_float32(framework.numbers(tensor))):
                contents.append([reference, dtype, None, *named])
            else:
                contents.append([reference, dtype, list(tensor.shape), *named])
                elements.append(_to_bytes(tensor, framework))
        if not contents:
            return None
        table = json.dumps(contents, separators=(',', ':')).encode()
        return b''.join([struct.pack('<I', len(table)), table, *elements])

    def is_nothing(self, columns: Mapping[str, Sequence[Tensor | None]]) -> bool:
        """Return whether `pack` returns None for each of some documents without other tensors than these vectors."""
        return all(self._is_said(name, vector) for name, column in columns.items() for vector in column)

    def _is_said(self, name: str, vector: Tensor | None) -> bool:
        """Return whether the column and its vector file say all about a vector."""
        if vector is None:
            return True
        expected = self._expected[name]
        if expected is NUMPY and type(vector) is np.ndarray:
            return bool(vector.dtype == np.float32)
        return framework_of(vector) is expected and expected.dtype(vector) == _FLOAT32

    def unpack(self, packed: bytes | None, tensors: Tensors) -> None:
        """
        Complete `tensors`, which has the vectors as float32 arrays so far. Vectors become what their columns say.

        Raises:
            MissingLibraryError: the framework of a tensor is not installed.
        """
        if packed is not None:
            self._unpack(packed, tensors)
        for name, framework in self._to_make.items():
            vector = tensors.vectors[name]
            if type(vector) is np.ndarray:  # it has no entry
                tensors.vectors[name] = framework.make(vector)

    def _unpack(self, packed: bytes, tensors: Tensors) -> None:
        for reference, dtype, data, shape, named in _entries(packed):
            framework = self._fixed.get(reference) or named
            if shape is None:
                vector = tensors.vectors[reference]
                tensors.vectors[reference] = None if vector is None else framework.from_array(vector, dtype)
            elif isinstance(reference, str):
                tensors.vectors[reference] = framework.from_bytes(data, dtype, shape)
            else:
                tensors.others.append(framework.from_bytes(data, dtype, shape))


def _entries(packed: bytes) -> Iterator[tuple[Any, str, Array, list[int] | None, Framework]]:
    (length,) = struct.unpack_from('<I', packed)
    offset = 4 + length
    for reference, dtype, shape, *named in json.loads(packed[4:offset]):
        size = 0 if shape is None else math.prod(shape) * itemsize(dtype)
        # A copy: what a user gets can be written to.
        data = np.frombuffer(packed, np.uint8, size, offset).copy()
        offset += size
        yield reference, dtype, data, shape, FRAMEWORKS[named[0]] if named else NUMPY


def _to_bytes(tensor: Tensor, framework: Framework) -> bytes:
    dtype = framework.numpy_dtype(tensor)
    if not is_storable(dtype):
        raise DocumentError(f'a tensor of dtype {dtype} cannot be stored; use one of numbers, or a list')
    try:
        return framework.to_bytes(tensor)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:  # sparse, or on no device
        raise DocumentError(f'a {framework.name} tensor cannot be stored: {error}') from error


def _fits_float32(numbers: Array) -> bool:
    # A float16 or int8 vector is exact in float32: its type is all there is to keep.
    return np.array_equal(numbers.astype(np.float32).astype(numbers.dtype), numbers)


def alias(tensor: Tensor) -> Tensor:
    """Return another object for the same tensor."""
    return (framework_of(tensor) or NUMPY).alias(tensor)
