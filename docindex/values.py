"""
What a value is to a filter.

Filters compare values as what they are: a datetime with datetimes, an amount with amounts. So each value is first put
into one form for all that is equal (`canonical`); what a field can hold of these is its `docindex.kinds.Kind`.

    text       str, the url types, paths, string enums and literals; in the order of code points
    number     int, float, number enums; integers of more than 64 bits count as the nearest float
    decimal    Decimal; a float is taken as it is written, 9.99 as Decimal('9.99'), and the other way round
    boolean    bool, which is no number
    datetime   one without a time zone is taken as UTC
    date, time, duration (timedelta), uuid, bytes
    list       list, tuple, set, DocList: any sequence of values
    dict       dict, and documents inside of lists and dicts
    any        a union, or what says nothing of its type: compares by what the value is
    opaque     tensors, secrets, anything else: all one can ask is whether it is there

NaN is no value: to a filter it is as if the field were None.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import AnyUrl as PydanticUrl
from pydantic import BaseModel

from .document import ID
from .urls import AnyUrl


class Opaque:
    """A value that is there, and of which nothing else can be said."""

    def __repr__(self) -> str:
        return '<a value that cannot be compared>'


OPAQUE = Opaque()
_INT64 = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

TEXT_TYPES = (str, ID, AnyUrl, PydanticUrl, PurePath, IPv4Address, IPv6Address)
LIST_TYPES = (list, tuple, set, frozenset, deque)
_CLASSES: dict[type, str] = {
    bool: 'boolean',
    int: 'number',
    float: 'number',
    Decimal: 'number',
    str: 'text',
    datetime: 'datetime',
    date: 'date',
    time: 'time',
    timedelta: 'duration',
    UUID: 'uuid',
    bytes: 'bytes',
    list: 'list',
    dict: 'dict',
    Opaque: 'opaque',
}
UNORDERED = {'boolean', 'list', 'dict', 'opaque'}


# -- values -----------------------------------------------------------------------------------------------


def canonical(value: Any) -> Any:
    """Return a value in the form in which filters compare it: one of the types in the table above, or None."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else value.encode(errors='replace').decode()  # half a surrogate pair is no text
    if value is None or kind is bool or kind is Opaque:
        return value
    if isinstance(value, Enum):
        return canonical(value.value)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else _as_float(value)
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if isinstance(value, str):
        return canonical(str(value))
    if isinstance(value, Decimal):
        return None if value.is_nan() else value if kind is Decimal else Decimal(value)
    if isinstance(value, datetime):
        return _as_utc(value)
    if isinstance(value, time):
        return _without_zone(value)
    if isinstance(value, date):
        return value if kind is date else date(value.year, value.month, value.day)
    if isinstance(value, timedelta):
        return value if kind is timedelta else timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, UUID):
        return value if kind is UUID else UUID(int=value.int)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, TEXT_TYPES):
        return canonical(str(value))
    if isinstance(value, np.generic):
        return canonical(value.item())
    return _canonical_container(value)


def _canonical_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {step_to(key): canonical(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        fields = {name: value.__dict__.get(name) for name in type(value).model_fields}
        return {name: canonical(item) for name, item in {**fields, **(value.__pydantic_extra__ or {})}.items()}
    if isinstance(value, (set, frozenset)):
        return in_order(canonical(item) for item in value)
    if isinstance(value, LIST_TYPES):
        return [canonical(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return OPAQUE


def step_to(key: Any) -> str:
    """Return what filters call the value of a key in a dict, which need not be a string."""
    return str(canonical(key))


def in_order(items: Iterable[Any]) -> list[Any]:
    """Return canonical values in one order, whatever they are: equal sets become equal lists."""

    def key(item: Any) -> Any:
        kind = class_of(item)
        return (kind, repr(item)) if kind in UNORDERED or kind == 'none' else (kind, item)

    return sorted(items, key=key)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _as_utc(value: datetime) -> datetime:
    if type(value) is not datetime:
        clock = value.hour, value.minute, value.second, value.microsecond
        value = datetime(value.year, value.month, value.day, *clock, tzinfo=value.tzinfo, fold=value.fold)
    if value.utcoffset() is None:
        return value.replace(tzinfo=UTC, fold=0)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # in the first or the last hours that there are
        return value.replace(tzinfo=UTC)


def _without_zone(value: time) -> time:
    offset = value.utcoffset()
    plain = time(value.hour, value.minute, value.second, value.microsecond)
    if offset is None:
        return plain
    return (datetime.combine(date(2000, 1, 2), plain) - offset).time()


def class_of(value: Any) -> str:
    """Return what a canonical value can be compared with: 'number', 'text', ...; 'none' for None."""
    return _CLASSES.get(type(value), 'none')


def equal(left: Any, right: Any) -> bool:
    """Return whether two canonical values are the same: of one class, and equal; lists and dicts by their values."""
    if class_of(left) != class_of(right) or left is OPAQUE:
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def is_less(left: Any, right: Any) -> bool:
    """Return whether a canonical value comes before another: of one class, which has an order."""
    kind = class_of(left)
    return kind == class_of(right) and kind not in UNORDERED and kind != 'none' and bool(left < right)


# -- values as SQLite and JSON hold them --------------------------------------------------------------------


def to_sql(value: Any) -> Any:
    """
    Return a canonical value as SQLite is to hold it, so that what is equal or less there is so here.

    That is for values of one scalar kind; lists and dicts are JSON, see `to_json`.
    """
    kind = type(value)
    if kind is datetime:
        return (value - _EPOCH) // _MICROSECOND
    if kind is date:
        return value.toordinal()
    if kind is time:
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if kind is timedelta:
        return f'{value // _MICROSECOND + 10**20:021d}'  # 67 bits
    if kind is Decimal:
        return decimal_key(value)
    if kind is UUID:
        return value.hex
    if kind is list or kind is dict:
        return to_json(value)
    return 1 if kind is Opaque else value


_COMPLEMENT = str.maketrans('0123456789', '9876543210')


def decimal_key(value: Decimal) -> str:
    """Return a string of digits for a decimal number; these are in the order of the numbers."""
    if value.is_infinite():
        return '4' if value > 0 else '0'
    if not value:
        return '2'
    digits = ''.join(map(str, value.as_tuple().digits)).rstrip('0')
    magnitude = f'{value.adjusted() + 3 * 10**18:020d}{digits}'  # exponents reach from -2e18 to 1e18
    # Of two negative numbers the one with more digits is the smaller; '~' comes after all of them.
    return f'3{magnitude}' if value > 0 else f'1{magnitude.translate(_COMPLEMENT)}~'


encode = json.JSONEncoder(ensure_ascii=False, separators=(',', ':')).encode
"""Returns lists, dicts, strings and numbers as JSON."""


def to_json(value: Any) -> str:
    """Return a canonical value as JSON, with a tag for what JSON has no word for."""
    return encode(_tagged(value))


def from_json(text: str) -> Any:
    """Return the canonical value that `to_json` was given."""
    return json.loads(text, object_hook=_untagged)


def _tagged(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind is dict:
        if any(key.startswith('$') for key in value):
            return {'$dict': [[key, _tagged(item)] for key, item in value.items()]}
        return {key: _tagged(item) for key, item in value.items()}
    if kind is float and math.isinf(value):
        return {'$float': str(value)}
    if kind in _TAGS:
        return {f'${_TAGS[kind][0]}': _TAGS[kind][1](value)}
    return value


def _untagged(content: dict[str, Any]) -> Any:
    if len(content) == 1:
        ((tag, item),) = content.items()
        if tag in _UNTAG:
            return _UNTAG[tag](item)
    return content


_TAGS: dict[type, tuple[str, typing.Callable[[Any], Any], typing.Callable[[Any], Any]]] = {
    datetime: ('datetime', datetime.isoformat, datetime.fromisoformat),
    date: ('date', date.isoformat, date.fromisoformat),
    time: ('time', time.isoformat, time.fromisoformat),
    timedelta: ('duration', lambda v: [v.days, v.seconds, v.microseconds], lambda content: timedelta(*content)),
    Decimal: ('decimal', str, Decimal),
    UUID: ('uuid', str, UUID),
    bytes: ('bytes', bytes.hex, bytes.fromhex),
    Opaque: ('opaque', lambda value: 1, lambda content: OPAQUE),
}
_UNTAG: dict[str, typing.Callable[[Any], Any]] = {
    **{f'${tag}': read for tag, _, read in _TAGS.values()},
    '$float': float,
    '$dict': dict,
}
