"""
How values stand in a collection, so that Milvus finds equal or less what is so to `docindex.values`.

A number, a boolean or a string is itself. Moments, dates and times are integers, all other values strings that are in
their order. Lists, dicts and values of several kinds are JSON in which each value says what it is, because engines
differ in what they make of a comparison of a number with a boolean or a string:

    {"number": 5.0}                a number that is a double
    {"above": 0.1}                 one that is not: it lies between this double and the next
    {"text": "red"}                and likewise "boolean", "datetime", ...: the classes of `docindex.values.class_of`
    {"dict": {"colour": {"text": "red"}}, "size": 1.0}
    {"list": ["red", "$number:5", {"list": [], "length": 0.0}], "length": 3.0}

Scalars in a list are strings, for `json_contains` finds nothing else alike on all engines: Milvus Lite 3.2 compares as
Python does and takes true for 1, and Milvus 2.3.5 does not take 1.0 for 1. All numbers are doubles, because a server
reads integers of 64 bits in another way. None is left out of dicts, so that what `exists` is there. Whether something
is a list or a dict is asked of `length` and `size`: of empty ones newer servers say that they do not exist.
"""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from typing import Any

from ..values import class_of, decimal_key, to_sql

Number = int | float | Decimal

LARGEST = sys.float_info.max
"""Servers refuse infinity in a column, and JSON has no word for it; this stands for all that is larger."""
LARGEST_INT64 = (1 << 63) - 1
_FIRST_MOMENT = 10**18  # in microseconds before 1970; no moment is earlier, so that none has a sign


def tagged(value: Any) -> dict[str, Any]:
    """Return a canonical value, which is not None, as JSON that says what it is."""
    kind = class_of(value)
    if kind == 'list':
        return {'list': [_element(item) for item in value], 'length': float(len(value))}
    if kind == 'dict':
        there = {key(name): tagged(item) for name, item in value.items() if item is not None}
        return {'dict': there, 'size': float(len(value))}
    if kind == 'number':
        floor = floor_of(value)
        return {'number' if floor == value else 'above': floor}
    return {kind: scalar(value)}


def _element(value: Any) -> Any:
    if value is None:
        return None
    return tagged(value) if class_of(value) in ('list', 'dict') else token(value)


def scalar(value: Any) -> str | bool:
    """Return a canonical value that is no number, list or dict as it stands in JSON: strings are in their order."""
    kind = class_of(value)
    if kind == 'boolean':
        return bool(value)
    if kind == 'opaque':
        return ''  # that it is there is all that there is to say
    if kind == 'bytes':
        return str(value.hex())
    found = to_sql(value)
    return f'{found + _FIRST_MOMENT:019d}' if isinstance(found, int) else str(found)


def token(value: Any) -> str:
    """Return a canonical value as an element of a list: equal values, and no others, are the same string."""
    kind = class_of(value)
    if kind == 'text':
        return key(value)
    if kind == 'number':
        return f'$number:{_digits(value)}'
    return f'${kind}:{scalar(value)}'


def key(name: str) -> str:
    """Return a string in a form that no tag has; a server does not take an empty key."""
    return f'${name}' if not name or name.startswith('$') else name


def _digits(value: Number) -> str:
    if -LARGEST_INT64 <= value <= LARGEST_INT64 and value == int(value):
        return str(int(value))
    nearest = float(value)
    return repr(nearest) if nearest == value else decimal_key(Decimal(value))


def floor_of(value: Number) -> float:
    """Return the largest double that is not above a number, and the smallest of all for what lies below that."""
    nearest = nearest_of(value)
    return nearest if nearest <= value or nearest == -LARGEST else math.nextafter(nearest, -math.inf)


def nearest_of(value: Number) -> float:
    """Return the double nearest to a number; none is infinite, and zero has no sign."""
    if value >= LARGEST:  # compared, not clipped by abs(): that rounds a Decimal, or fails where it is very large
        return LARGEST
    return -LARGEST if value <= -LARGEST else float(value) + 0.0
