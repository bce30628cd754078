"""
What a value is to a filter.

Filters compare values as what they are: a datetime with datetimes, an amount with amounts. So each value is first put
into one form for all that is equal (`canonical`), and each field has a `Kind`: what it can be compared with.

    text       str, the url types, paths, string enums and literals; in the order of code points
    number     int, float, number enums; integers of more than 64 bits count as the nearest float
    decimal    Decimal; a float is taken as it is written, 9.99 as Decimal('9.99')
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
import types
import typing
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Annotated, Any, Union
from uuid import UUID

import numpy as np
import pydantic
from pydantic import AnyUrl as PydanticUrl
from pydantic import BaseModel, TypeAdapter, ValidationError

from .document import ID, AnyUrl
from .tensors import is_tensor_type


class Opaque:
    """A value that is there, and of which nothing else can be said."""

    def __repr__(self) -> str:
        return '<a value that cannot be compared>'


OPAQUE = Opaque()
_INT64 = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TEXT_TYPES = (str, ID, AnyUrl, PydanticUrl, PurePath, IPv4Address, IPv6Address)
_LIST_TYPES = (list, tuple, set, frozenset, deque)
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
_UNORDERED = {'boolean', 'list', 'dict', 'opaque'}


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
    if isinstance(value, _TEXT_TYPES):
        return canonical(str(value))
    if isinstance(value, np.generic):
        return canonical(value.item())
    return _canonical_container(value)


def _canonical_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(canonical(key)): canonical(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        fields = {name: value.__dict__.get(name) for name in type(value).model_fields}
        return {name: canonical(item) for name, item in {**fields, **(value.__pydantic_extra__ or {})}.items()}
    if isinstance(value, (set, frozenset)):
        return _sorted(canonical(item) for item in value)
    if isinstance(value, _LIST_TYPES):
        return [canonical(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return OPAQUE


def canonical_of(kind: Kind, value: Any) -> Any:
    """Return a value in that form, as a field of a kind keeps it: of a document only what its declared class has."""
    model = kind.type if isinstance(kind.type, type) and issubclass(kind.type, BaseModel) else None
    if kind.name == 'list' and isinstance(value, list):
        element = kind.element()
        return [canonical_of(element, item) for item in value]
    if kind.name == 'dict' and model is not None and isinstance(value, model) and type(value) is not model:
        fields = model.model_fields.items()
        return {name: canonical_of(kind_of(info.annotation), getattr(value, name)) for name, info in fields}
    return canonical(value)


def _sorted(items: Iterable[Any]) -> list[Any]:
    def key(item: Any) -> Any:
        kind = class_of(item)
        return (kind, repr(item)) if kind in _UNORDERED or kind == 'none' else (kind, item)

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
    return kind == class_of(right) and kind not in _UNORDERED and kind != 'none' and bool(left < right)


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


# -- kinds ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """
    What the values of a field are to a filter.

    Attributes:
        name: One of the names in the table above.
        type: The type as the schema has it.
        choices: All canonical values that there can be, if there are only some.
        is_ordered: Whether one value can be less than another.
    """

    name: str
    type: Any = None
    choices: tuple[Any, ...] | None = None
    is_ordered: bool = False

    @property
    def is_scalar(self) -> bool:
        """Whether SQLite compares its values by itself."""
        return self.name not in ('list', 'dict', 'any', 'opaque')

    def element(self) -> Kind:
        """Return the kind of what is in a list."""
        inner = [argument for argument in typing.get_args(self.type) if argument is not ...]
        doc_type = getattr(self.type, 'doc_type', None)
        if doc_type is not None:
            return kind_of(doc_type)
        return kind_of(inner[0]) if len(set(inner)) == 1 else Kind('any', is_ordered=True)

    def step(self, name: str) -> Kind | None:
        """Return the kind of what goes by a name or position inside; None if nothing does."""
        if self.name == 'list':
            return self.element() if name.isdecimal() else self.element().step(name)
        if self.name == 'any':
            return self
        if self.name != 'dict':
            return None
        if isinstance(self.type, type) and issubclass(self.type, BaseModel):
            if name in self.type.model_fields:
                return kind_of(self.type.model_fields[name].annotation)
            return Kind('any', is_ordered=True) if self.type.model_config.get('extra') == 'allow' else None
        arguments = typing.get_args(self.type)
        return kind_of(arguments[1]) if len(arguments) == 2 else Kind('any', is_ordered=True)

    def members(self) -> list[str]:
        """Return the names that can be inside, if they are known."""
        inner = self.element() if self.name == 'list' else self
        is_model = isinstance(inner.type, type) and issubclass(inner.type, BaseModel)
        return list(inner.type.model_fields) if is_model else []

    def operand(self, value: Any, is_choice: bool = False) -> Any:
        """
        Return what a value of this kind is to be compared with, as a canonical value.

        Args:
            value: What the filter says.
            is_choice: Only what a document can hold makes sense: it is compared for equality.

        Raises:
            ValueError: values of this kind cannot be compared with it; the message says what they can be.
        """
        found = self._converted(value)
        if found is None or found is OPAQUE or (self.name not in ('any', 'decimal') and class_of(found) != self.name):
            raise ValueError(f'expected {self.describe()}, got {type(value).__name__} {value!r}')
        if is_choice and self.choices is not None and not any(equal(found, choice) for choice in self.choices):
            raise ValueError(f'{value!r} is none of {", ".join(map(repr, self.choices))}')
        return found

    def _converted(self, value: Any) -> Any:
        if self.name == 'decimal':
            return _as_decimal(value)
        found = canonical(value)
        if isinstance(found, list) and (typing.get_origin(self.type) or self.type) in (set, frozenset):
            return _sorted(found)
        if self.name == 'datetime' and type(found) is date:
            return datetime(found.year, found.month, found.day, tzinfo=UTC)
        if type(found) is str and self.name in _PARSED_FROM_TEXT:  # as JSON has it
            return canonical(_parsed(_PARSED_FROM_TEXT[self.name], found))
        return found

    def describe(self) -> str:
        """Return in words what a value of this kind is."""
        if self.choices is not None:
            return f'one of {", ".join(map(repr, self.choices))}'
        return _IN_WORDS.get(self.name, self.name)


_PARSED_FROM_TEXT: dict[str, Any] = {
    'datetime': datetime,
    'date': date,
    'time': time,
    'duration': timedelta,
    'uuid': UUID,
}
_IN_WORDS = {
    'text': 'a string',
    'number': 'a number',
    'decimal': 'a Decimal, or a number or string that can be one',
    'boolean': 'True or False',
    'datetime': 'a datetime or date, or a string such as "2026-01-31T12:00:00Z"',
    'date': 'a date, or a string such as "2026-01-31"',
    'time': 'a time, or a string such as "12:00:00"',
    'duration': 'a timedelta, or a string such as "PT1H30M"',
    'uuid': 'a UUID, or a string that can be one',
    'bytes': 'bytes',
    'list': 'a list',
    'dict': 'a dict',
    'any': 'a value',
}


def _as_decimal(value: Any) -> Decimal | None:
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    try:
        found = Decimal(value if isinstance(value, int) else str(value))
    except InvalidOperation:
        return None
    return None if found.is_nan() else found


def _parsed(type_: Any, text: str) -> Any:
    try:
        found = TypeAdapter(type_).validate_python(text)
    except ValidationError:
        return None
    return None if isinstance(found, Decimal) and found.is_nan() else found


def kind_of(annotation: Any) -> Kind:
    """Return what values of a type are to a filter."""
    annotation = _bare(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        arguments = tuple(one for one in arguments if one is not None)
        return _kind_of_choices(annotation, arguments, is_ordered=True)
    if origin in (Union, types.UnionType):
        names = {kind_of(argument).name for argument in arguments}
        # What JSON has no word for keeps its own: a union of such is compared by what each value is.
        return Kind(names.pop(), is_ordered=True) if names in ({'number'}, {'text'}) else Kind('any', is_ordered=True)
    if annotation is Any or annotation is object or isinstance(annotation, typing.TypeVar):
        return Kind('any', annotation, is_ordered=True)
    cls = annotation if origin is None else origin
    if not isinstance(cls, type) or is_tensor_type(annotation):
        return Kind('opaque', annotation)
    if issubclass(cls, Enum):
        return _kind_of_choices(annotation, list(cls), is_ordered=issubclass(cls, (IntEnum, StrEnum, int, str, float)))
    cls = _CHECKED.get(cls, cls)
    for base, name in _KINDS:
        if issubclass(cls, base):
            return Kind(name, annotation, is_ordered=name not in _UNORDERED)
    if issubclass(cls, (Sequence, Set)) or cls is Collection:
        return Kind('list', annotation)
    if issubclass(cls, (BaseModel, Mapping)) or dataclasses.is_dataclass(cls):
        return Kind('dict', annotation)
    return Kind('opaque', annotation)


_CHECKED: dict[type, type] = {
    **dict.fromkeys(
        (pydantic.AwareDatetime, pydantic.NaiveDatetime, pydantic.PastDatetime, pydantic.FutureDatetime), datetime
    ),
    **dict.fromkeys((pydantic.PastDate, pydantic.FutureDate), date),
}

_KINDS: list[tuple[type | tuple[type, ...], str]] = [
    (bool, 'boolean'),
    ((int, float), 'number'),
    (_TEXT_TYPES, 'text'),
    (Decimal, 'decimal'),
    (datetime, 'datetime'),
    (date, 'date'),
    (time, 'time'),
    (timedelta, 'duration'),
    (UUID, 'uuid'),
    (bytes, 'bytes'),
    (_LIST_TYPES, 'list'),
]


def _kind_of_choices(annotation: Any, members: Iterable[Any], is_ordered: bool) -> Kind:
    choices = tuple(canonical(member) for member in members)
    names = {class_of(choice) for choice in choices}
    if names in ({'text'}, {'number'}, {'boolean'}) and not any(type(one) is Decimal for one in choices):
        (name,) = names
        is_flag = isinstance(annotation, type) and hasattr(annotation, '_boundary_')  # any sum of its members
        return Kind(name, annotation, None if is_flag else choices, is_ordered and name != 'boolean')
    return Kind('any', annotation, is_ordered=is_ordered)


def _bare(annotation: Any) -> Any:
    """Strip `Optional`, `Annotated` and `NewType`."""
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            annotation = arguments[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, '__value__') and not isinstance(annotation, type):  # type X = ..., since Python 3.12
            annotation = annotation.__value__
        elif origin in (Union, types.UnionType):
            members = tuple(member for member in arguments if member is not types.NoneType)
            if len(members) == len(arguments):
                return annotation
            annotation = Union[members]  # noqa: UP007 (of a tuple)
        else:
            return annotation
