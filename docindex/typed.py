"""
Documents as JSON in which each value that JSON has no word for names its type: `{"$set": [1, 2]}`.

    [{"id": "a", "when": {"$datetime": "2026-01-31T12:00:00"}, "colour": {"$enum": ["Colour", "RED"]}}]

Reading runs none of the user's code: documents are put together as they were, without their validators. And it imports
nothing: a class can only be named if the schema mentions it.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import ipaddress
import json
import math
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from functools import partial
from typing import Any, get_args
from uuid import UUID

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import PydanticUndefined

from .annotations import types_within
from .doclist import DocList
from .errors import DocumentError
from .frameworks import framework_of
from .refusals import unknown_of
from .tensors import Tensors

Atom = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]

_MOST_DIGITS = 4300  # more digits in an integer Python's own JSON does not read; sys.set_int_max_str_digits


class TypedJson:
    """
    Writes and reads documents of one class.

    Args:
        doc_type: The document class; the classes that it mentions are those that can be named.

    Attributes:
        names: These classes, with their names.
    """

    def __init__(self, doc_type: type[BaseModel]) -> None:
        self._doc_type = doc_type
        self._classes = _named(cls for cls in types_within(doc_type) if cls not in _ATOMS and cls not in _PLAIN)
        self.names = {cls: name for name, cls in self._classes.items()}

    def dump(self, doc: BaseModel, tensors: Tensors) -> bytes:
        """
        Return a document as JSON, its tensors being added to `tensors`.

        Raises:
            DocumentError: a value cannot be written; the message names its field.
        """
        return json.dumps([self._fields(self._doc_type, doc, tensors)], separators=(',', ':')).encode()

    def load(self, text: bytes, tensors: Tensors) -> Any:
        """Return the document that `dump` was given."""
        return self._construct(self._doc_type, json.loads(text)[0], tensors)

    def dump_value(self, value: Any) -> Any:
        """
        Return a single value without tensors, a default say, as JSON types.

        Raises:
            TypeError: it cannot be written.
        """
        tensors = Tensors({})
        written = self._encode(value, tensors)
        if tensors.others:
            raise TypeError('a tensor cannot be written here')
        return written

    def load_value(self, written: Any) -> Any:
        """Return the value that `dump_value` was given."""
        return self._decode(written, Tensors({}))

    # -- writing ---------------------------------------------------------------------------------

    def _fields(self, cls: type[BaseModel], doc: BaseModel, tensors: Tensors) -> dict[str, Any]:
        values = {name: doc.__dict__.get(name, _MISSING) for name, info in cls.model_fields.items() if not info.exclude}
        fields: dict[str, Any] = {}
        for name, value in {**values, **(doc.__pydantic_extra__ or {})}.items():
            if value is _MISSING:
                raise DocumentError(f'{name}: the field is missing')
            try:
                fields[name] = self._encode(value, tensors)
            except (TypeError, AttributeError) as error:  # a dataclass may lack an attribute
                raise DocumentError(f'{name}: {error}') from error
        return fields

    def _encode(self, value: Any, tensors: Tensors) -> Any:
        """Return `value` as JSON types."""
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if framework_of(value) is not None:
            return {'$tensor': tensors.refer(value)}
        if kind in self.names:
            return self._encode_instance(self.names[kind], value, tensors)
        if isinstance(value, int):
            if value.bit_length() > _MOST_DIGITS * math.log2(10):
                raise TypeError(f'an integer of more than {_MOST_DIGITS:,} digits cannot be stored')
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {'$float': str(float(value))}
        if kind in _ATOMS:
            tag, to_json, _ = _ATOMS[kind]
            return {tag: to_json(value)}
        base = next((base for base in _BASES if isinstance(value, base)), None)
        if base is not None and value == value:  # pandas has a datetime that is none, NaT, and is not itself
            tag, to_json, _ = _ATOMS[base]
            return {tag: to_json(value)}
        return self._encode_container(value, tensors)

    def _encode_container(self, value: Any, tensors: Tensors) -> Any:
        kind = type(value)
        if kind is dict and all(type(key) is str and not key.startswith('$') for key in value):
            return {key: self._encode(item, tensors) for key, item in value.items()}
        if isinstance(value, dict) and kind in _DICTS:
            pairs = [[self._encode(key, tensors), self._encode(item, tensors)] for key, item in value.items()]
            return {_DICTS[kind]: [_factory_name(value), pairs] if isinstance(value, defaultdict) else pairs}
        if kind is deque:
            return {'$deque': [value.maxlen, [self._encode(item, tensors) for item in value]]}
        if kind is list:
            return [self._encode(item, tensors) for item in value]
        if kind in _SEQUENCES:
            return {_SEQUENCES[kind]: [self._encode(item, tensors) for item in value]}
        if isinstance(value, DocList):
            return {'$doclist': [self._encode(item, tensors) for item in value]}
        if isinstance(value, Secret):
            return {'$secret': self._encode(value.get_secret_value(), tensors)}
        raise TypeError(f'a {kind.__name__} cannot be stored here, for the schema does not mention that type')

    def _encode_instance(self, name: str, value: Any, tensors: Tensors) -> Any:
        """Return an instance of one of the schema's classes as JSON types."""
        if isinstance(value, Flag):
            return {'$flag': [name, value.value]}
        if isinstance(value, Enum):
            return {'$enum': [name, value.name]}
        if isinstance(value, BaseModel):
            return {'$model': [name, self._fields(type(value), value, tensors)]}
        if dataclasses.is_dataclass(value):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {'$dataclass': [name, self._encode_all(fields, tensors)]}
        if isinstance(value, tuple) and hasattr(value, '_asdict'):
            return {'$namedtuple': [name, self._encode_all(value._asdict(), tensors)]}
        if isinstance(value, DocList):
            return {'$doclistof': [name, [self._encode(item, tensors) for item in value]]}
        if isinstance(value, (dict, list, set, frozenset, tuple, deque, Secret)):
            return self._encode_container(value, tensors)
        try:
            return {'$as': [name, _adapter(type(value)).dump_python(value, mode='json')]}
        except Exception as error:  # pydantic's for a type that it has no schema for
            raise TypeError(f'a {type(value).__name__} cannot be stored: {error}') from error

    def _encode_all(self, values: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        return {name: self._encode(value, tensors) for name, value in values.items()}

    # -- reading ---------------------------------------------------------------------------------

    def _decode(self, value: Any, tensors: Tensors) -> Any:
        if isinstance(value, list):
            return [self._decode(item, tensors) for item in value]
        if not isinstance(value, dict):
            return value
        if not (len(value) == 1 and next(iter(value)).startswith('$')):
            return {key: self._decode(item, tensors) for key, item in value.items()}
        ((tag, content),) = value.items()
        if tag == '$tensor':
            return tensors.resolve(content)
        if tag in _ATOMS_BY_TAG:
            return _ATOMS_BY_TAG[tag](content)
        if tag in _SEQUENCES_BY_TAG:
            return _SEQUENCES_BY_TAG[tag](self._decode(item, tensors) for item in content)
        if tag in _DICTS_BY_TAG:
            return _DICTS_BY_TAG[tag](dict(self._pairs(content, tensors)))
        if tag == '$defaultdict':
            return defaultdict(_FACTORIES.get(content[0]), self._pairs(content[1], tensors))
        if tag == '$deque':
            return deque((self._decode(item, tensors) for item in content[1]), content[0])
        if tag == '$doclistof':
            # The class now may have lists instead: in a directory both are documents.
            return self._classes.get(content[0], DocList).trusted([self._decode(item, tensors) for item in content[1]])
        if tag == '$secret':
            return Secret(self._decode(content, tensors))
        return self._decode_instance(tag, content[0], content[1], tensors)

    def _pairs(self, pairs: list[list[Any]], tensors: Tensors) -> Iterator[tuple[Any, Any]]:
        return ((self._decode(key, tensors), self._decode(item, tensors)) for key, item in pairs)

    def _decode_instance(self, tag: str, name: str, content: Any, tensors: Tensors) -> Any:
        cls = self._classes.get(name)
        if unknown_of(self._doc_type) and (cls is None or not _FITS[tag](cls)):
            if isinstance(content, dict) and cls is not None and issubclass(cls, BaseModel):
                return self._construct(cls, content, tensors)
            return self._decode(content, tensors)
        if cls is None:
            raise DocumentError(f'stored with the class {name}, which {self._doc_type.__name__} no longer mentions')
        if tag == '$enum':
            return cls[content]
        if tag == '$flag':
            return cls(content)
        if tag == '$model':
            return self._construct(cls, content, tensors)
        if tag == '$as':
            return _adapter(cls).validate_python(content)
        values = {field: self._decode(value, tensors) for field, value in content.items()}
        if tag == '$namedtuple':
            return cls(**values)
        made: Any = object.__new__(cls)
        for field, value in values.items():
            object.__setattr__(made, field, value)
        return made

    def _construct(self, cls: type[BaseModel], fields: Mapping[str, Any], tensors: Tensors) -> Any:
        """Put a document together as it was."""
        values: dict[str, Any] = {}
        for name, info in cls.model_fields.items():
            if name in fields:
                values[name] = as_declared(info.annotation, self._decode(fields[name], tensors))
            elif info.is_required():
                raise DocumentError(f'a stored document does not fit {cls.__name__} any more: {name} is missing')
            else:
                values[name] = info.get_default(call_default_factory=True, validated_data=values)
        doc: Any = object.__new__(cls)
        extra = {name: self._decode(fields[name], tensors) for name in fields if name not in values}
        object.__setattr__(doc, '__dict__', values)
        object.__setattr__(doc, '__pydantic_fields_set__', set(fields) & values.keys())
        object.__setattr__(doc, '__pydantic_extra__', extra if cls.model_config.get('extra') == 'allow' else None)
        object.__setattr__(doc, '__pydantic_private__', _private(cls))
        return doc


_MISSING = object()
_FITS: dict[str, Callable[[type[Any]], bool]] = {
    '$enum': lambda cls: issubclass(cls, Enum),
    '$flag': lambda cls: issubclass(cls, Flag),
    '$model': lambda cls: issubclass(cls, BaseModel),
    '$dataclass': dataclasses.is_dataclass,
    '$namedtuple': lambda cls: hasattr(cls, '_asdict'),
    '$as': lambda cls: True,
}
"""Which classes a tag can go with; one that is made of a guess may be of another kind than the user's."""


def _private(cls: type[BaseModel]) -> dict[str, Any] | None:
    """Return the private attributes of a new instance, which are not stored."""
    private: dict[str, Any] = {}
    for name, attribute in cls.__private_attributes__.items():
        if attribute.default_factory is not None:
            private[name] = attribute.default_factory()  # type: ignore[call-arg]
        elif attribute.default is not PydanticUndefined:
            private[name] = copy.deepcopy(attribute.default)
    return private or None


def as_declared(annotation: Any, value: Any) -> Any:
    """Return a value of a field of this type; a list of documents as one of their class."""
    if isinstance(value, DocList):
        for member in (annotation, *get_args(annotation)):
            if isinstance(member, type) and issubclass(member, DocList):
                return member.trusted(list(value))
    return value


def _named(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    """Return classes by name; where two share one, the later goes by its module as well."""
    named: dict[str, type[Any]] = {}
    for cls in classes:
        named[cls.__name__ if cls.__name__ not in named else f'{cls.__module__}.{cls.__qualname__}'] = cls
    return named


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(cls: Any) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


# -- the types that have a tag of their own ------------------------------------------------------------------


def _factory_name(value: defaultdict[Any, Any]) -> str | None:
    if value.default_factory is None:
        return None
    name = getattr(value.default_factory, '__name__', '')
    if _FACTORIES.get(name) is not value.default_factory:
        raise TypeError(f'a defaultdict with the factory {value.default_factory!r} cannot be stored')
    return name


def _as_text(kind: type[Any]) -> Atom:
    return f'${kind.__name__.lower()}', str, kind


def _bytes_to_json(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _time_to_json(value: datetime | time) -> str | list[Any]:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise TypeError(f'{value!r} cannot be stored, for without a date its zone has no offset; leave the zone out')
    text = value.isoformat()
    return [text, value.fold] if value.fold and value.utcoffset() is None else text  # an offset says which of two it is


def _time_from_json(kind: Any, content: str | list[Any]) -> Any:
    return kind.fromisoformat(content) if isinstance(content, str) else kind.fromisoformat(content[0]).replace(fold=1)


def _pattern_to_json(pattern: re.Pattern[Any]) -> list[Any]:
    text = pattern.pattern
    return [text, pattern.flags] if isinstance(text, str) else [_bytes_to_json(text), pattern.flags, 'bytes']


def _pattern_from_json(content: list[Any]) -> re.Pattern[Any]:
    # A flag that is implied by the text, such as re.UNICODE, is the same when it is given.
    text, flags, *of_bytes = content
    return re.compile(base64.b64decode(text), flags) if of_bytes else re.compile(text, flags)


_PLAIN = {
    str,
    int,
    bool,
    float,
    type(None),
    list,
    dict,
    set,
    frozenset,
    tuple,
    deque,
    defaultdict,
    OrderedDict,
    Counter,
}
_SEQUENCES: dict[type, str] = {tuple: '$tuple', set: '$set', frozenset: '$frozenset'}
_SEQUENCES_BY_TAG: dict[str, Callable[[Iterator[Any]], Any]] = {
    **{tag: kind for kind, tag in _SEQUENCES.items()},
    '$doclist': DocList,
}
_DICTS: dict[type, str] = {dict: '$dict', OrderedDict: '$ordereddict', Counter: '$counter', defaultdict: '$defaultdict'}
_DICTS_BY_TAG: dict[str, Callable[[dict[Any, Any]], Any]] = {
    '$dict': dict,
    '$ordereddict': OrderedDict,
    '$counter': Counter,
}
_FACTORIES: dict[str, Callable[[], Any]] = {
    kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple, bytes)
}
_ATOMS: dict[type, Atom] = {
    bytes: ('$bytes', _bytes_to_json, base64.b64decode),
    datetime: ('$datetime', _time_to_json, partial(_time_from_json, datetime)),
    date: ('$date', date.isoformat, date.fromisoformat),
    time: ('$time', _time_to_json, partial(_time_from_json, time)),
    timedelta: ('$timedelta', lambda value: [value.days, value.seconds, value.microseconds], lambda c: timedelta(*c)),
    complex: ('$complex', lambda value: [value.real, value.imag], lambda content: complex(*content)),
    SecretStr: ('$secretstr', SecretStr.get_secret_value, SecretStr),
    SecretBytes: (
        '$secretbytes',
        lambda v: _bytes_to_json(v.get_secret_value()),
        lambda c: SecretBytes(base64.b64decode(c)),
    ),
    re.Pattern: ('$pattern', _pattern_to_json, _pattern_from_json),
    **{
        kind: _as_text(kind)
        for kind in (
            Decimal,
            UUID,
            ipaddress.IPv4Address,
            ipaddress.IPv6Address,
            ipaddress.IPv4Network,
            ipaddress.IPv6Network,
            ipaddress.IPv4Interface,
            ipaddress.IPv6Interface,
            pathlib.PurePosixPath,
            pathlib.PureWindowsPath,
        )
    },
    # The kind of path depends on the system; a path that was written on one is one on the other.
    pathlib.Path: ('$path', str, pathlib.Path),
    pathlib.PosixPath: ('$path', str, pathlib.Path),
    pathlib.WindowsPath: ('$path', str, pathlib.Path),
}
_BASES = (datetime, date, time, timedelta, UUID, Decimal, bytes)
"""Of what pydantic leaves a subclass as it is; as which a value of it is stored. A datetime is a date, too."""
_ATOMS_BY_TAG: dict[str, Callable[[Any], Any]] = {tag: read for tag, _, read in _ATOMS.values()} | {'$float': float}
