"""
DocArray's documents as bytes: `docarray.proto` of version 0.41, the same since 0.36.

    MESSAGE             FIELDS
    DocProto            1: map<string, NodeProto>; also DictOfAnyProto
    NodeProto           one of 1: text, 2: int32, 3: double, 4: bool, 5: bytes, 6: NdArrayProto, 7: DocProto,
                        8: DocListProto, 9, 10, 11: ListOfAnyProto as list, set, tuple, 12: DictOfAnyProto;
                        nothing for None; and 13: the name of a type of DocArray, which the schema says better
    ListOfAnyProto      1: repeated NodeProto
    DocListProto        1: repeated DocProto
    NdArrayProto        1: DenseNdArrayProto
    DenseNdArrayProto   1: bytes, 2: repeated uint32 shape, 3: dtype, as numpy writes it
    an entry of a map   1: key, 2: value
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..frameworks import Array
from .wire import BYTES, FIXED64, VARINT, WireError, fields, varints

_DTYPE = re.compile(r'[<>|=][biufc]\d{1,2}')  # numbers only: an array of objects would be made of pointers


def document(blob: bytes) -> dict[str, Any]:
    """
    Return the values of a document by field; nested documents are dicts, tensors read-only arrays.

    Raises:
        WireError: the bytes are no document.
    """
    try:
        return _mapping(memoryview(blob))
    except RecursionError as error:
        raise WireError('documents inside of documents, without end') from error


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the messages in a repeated field."""
    for found, kind, value in fields(message):
        if found == number:
            yield _bytes(kind, value)


def _bytes(kind: int, value: int | memoryview) -> memoryview:
    if kind != BYTES or isinstance(value, int):
        raise WireError('a number where bytes are expected')
    return value


def _text(value: memoryview) -> str:
    try:
        return str(value, 'utf-8')
    except UnicodeDecodeError as error:
        raise WireError(f'a text that is not UTF-8: {error}') from error


def _mapping(message: memoryview) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in _parts(message, 1):
        key, value = '', None
        for number, kind, content in fields(entry):
            if number == 1:
                key = _text(_bytes(kind, content))
            elif number == 2:
                value = _node(_bytes(kind, content))
        values[key] = value
    return values


def _node(message: memoryview) -> Any:
    node = None
    for number, kind, content in fields(message):
        if number in _SCALARS:
            expected, scalar = _SCALARS[number]
            if kind != expected:
                raise WireError(f'a value of kind {number} is written in the way {kind}')
            node = scalar(content)
        elif number in _PARTS:
            node = _PARTS[number](_bytes(kind, content))
    return node


def _integer(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _set(message: memoryview) -> set[Any]:
    try:
        return set(map(_node, _parts(message, 1)))
    except TypeError as error:
        raise WireError(f'a set of what cannot be in one: {error}') from error


def _tensor(message: memoryview) -> Array:
    for dense in _parts(message, 1):
        return _dense(dense)
    raise WireError('a tensor without content')


def _dense(message: memoryview) -> Array:
    buffer, shape, name = memoryview(b''), [], ''
    for number, kind, content in fields(message):
        if number == 1:
            buffer = _bytes(kind, content)
        elif number == 2:
            shape += [content] if isinstance(content, int) else varints(content)
        elif number == 3:
            name = _text(_bytes(kind, content))
    try:
        dtype = np.dtype(name) if _DTYPE.fullmatch(name) else None
    except TypeError:
        dtype = None
    if dtype is None:
        raise WireError(f'a tensor of {name!r}, which are no numbers')
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise WireError(f'a tensor of shape {tuple(shape)} and dtype {name}, in {len(buffer):,} bytes')
    return np.frombuffer(buffer, dtype).reshape(shape) if buffer else np.zeros(shape, dtype)


_SCALARS: dict[int, tuple[int, Callable[[Any], Any]]] = {
    1: (BYTES, _text),
    2: (VARINT, _integer),
    3: (FIXED64, lambda content: struct.unpack('<d', content)[0]),
    4: (VARINT, bool),
    5: (BYTES, bytes),
}
_PARTS: dict[int, Callable[[memoryview], Any]] = {
    6: _tensor,
    7: _mapping,
    8: lambda message: [_mapping(part) for part in _parts(message, 1)],
    9: lambda message: [_node(part) for part in _parts(message, 1)],
    10: _set,
    11: lambda message: tuple(_node(part) for part in _parts(message, 1)),
    12: _mapping,
}
