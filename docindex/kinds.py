"""What the values of a field are to a filter, by its type: the kinds that `docindex.values` lists."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Union
from uuid import UUID

import pydantic
from pydantic import BaseModel, TypeAdapter, ValidationError

from .annotations import stands_for
from .tensors import is_tensor_type
from .values import LIST_TYPES, OPAQUE, TEXT_TYPES, UNORDERED, canonical, class_of, equal, in_order


@dataclass(frozen=True)
class Kind:
    """
    What the values of a field are to a filter.

    Attributes:
        name: One of the names in the table there.
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

    @property
    def model(self) -> type[BaseModel] | None:
        """The document class that the values are of, if they are of one."""
        return self.type if isinstance(self.type, type) and issubclass(self.type, BaseModel) else None

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
        if self.model is not None:
            if name in self.model.model_fields:
                return kind_of(self.model.model_fields[name].annotation)
            return Kind('any', is_ordered=True) if self.model.model_config.get('extra') == 'allow' else None
        arguments = typing.get_args(self.type)
        return kind_of(arguments[1]) if len(arguments) == 2 else Kind('any', is_ordered=True)

    def members(self) -> list[str]:
        """Return the names that can be inside, if they are known."""
        model = (self.element() if self.name == 'list' else self).model
        return [] if model is None else list(model.model_fields)

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
        if self.name == 'number' and isinstance(found, Decimal):
            return _as_number(found)
        if isinstance(found, list) and (typing.get_origin(self.type) or self.type) in (set, frozenset):
            return in_order(found)
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


def _as_number(value: Decimal) -> int | float:
    """Return the integer that a Decimal is, or the float that is written so."""
    is_integer = -(1 << 63) <= value < 1 << 63 and value == int(value)
    return int(value) if is_integer else float(value)


def _parsed(type_: Any, text: str) -> Any:
    try:
        return TypeAdapter(type_).validate_python(text)
    except ValidationError:
        return None


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
            return Kind(name, annotation, is_ordered=name not in UNORDERED)
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
    (TEXT_TYPES, 'text'),
    (Decimal, 'decimal'),
    (datetime, 'datetime'),
    (date, 'date'),
    (time, 'time'),
    (timedelta, 'duration'),
    (UUID, 'uuid'),
    (bytes, 'bytes'),
    (LIST_TYPES, 'list'),
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
    """Strip `Optional`, `Annotated` and names of types."""
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            annotation = arguments[0]
        elif origin in (Union, types.UnionType):
            members = tuple(member for member in arguments if member is not types.NoneType)
            if len(members) == len(arguments):
                return annotation
            annotation = Union[members]  # noqa: UP007 (of a tuple)
        elif (named := stands_for(annotation)) is not annotation:
            annotation = named
        else:
            return annotation


def canonical_of(kind: Kind, value: Any) -> Any:
    """Return a value in that form, as a field of a kind keeps it: of a document only what its declared class has."""
    if kind.name == 'list' and isinstance(value, list):
        element = kind.element()
        return [canonical_of(element, item) for item in value]
    model = kind.model
    if model is not None and isinstance(value, model) and type(value) is not model:
        fields = model.model_fields.items()
        return {name: canonical_of(kind_of(info.annotation), getattr(value, name)) for name, info in fields}
    return canonical(value)
