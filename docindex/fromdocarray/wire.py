"""
The wire format of Protocol Buffers: a message as its fields. Which messages there are is `blobs`' knowledge.

A message is a row of fields, each a number and a value; the low three bits of the number say how the value ends. See
https://protobuf.dev/programming-guides/encoding. The groups of its first version, which nobody writes any more, are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The ways in which a value can be written."""

_LONGEST_VARINT = 10  # bytes, for 64 bits


class WireError(Exception):
    """What is wrong with a message."""


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """
    Yield the number of each field, how it is written, and its value: an int for `VARINT`, else its bytes.

    Raises:
        WireError: the message does not consist of fields.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f'a field is written in the way {kind}, which there is not')
        if size > end - at:
            raise WireError(f'a field of {size:,} bytes, where {end - at:,} are left')
        yield number, kind, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, seven bits a byte from the lowest on, and where it ends."""
    if at < len(message) and message[at] < 0x80:  # as nearly all are
        return message[at], at + 1
    value = shift = 0
    for position in range(at, min(at + _LONGEST_VARINT, len(message))):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise WireError('a number does not end')


def varints(packed: memoryview) -> list[int]:
    """
    Return the numbers of a packed repeated field.

    Raises:
        WireError: the last one does not end.
    """
    numbers, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return numbers
