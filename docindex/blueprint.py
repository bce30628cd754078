"""
A document class as JSON: what a directory remembers of it, so that `docindex.rebuilding` can make it again.

    {"root": ["class", "Film"],
     "classes": {"Film": {"kind": "document", "base": "BaseDoc", "config": {}, "fields": {
         "title": {"type": "str"},
         "colour": {"type": ["union", ["class", "Colour"], "None"], "default": null},
         "embedding": {"type": ["tensor", "NdArray", [128]], "settings": {"space": "cosine"}}}},
                 "Colour": {"kind": "enum", "base": "StrEnum", "members": {"RED": "red"}}},
     "unknown": []}

A type is a name, or a list that begins with what it is a case of. Classes go by the names that `docindex.typed` gives
them, for stored documents name them so. What JSON cannot say, code of the user's above all, is listed in `unknown`, a
clause each: then the class that is made again reads every document, but cannot stand in for the user's in writing.
"""

from __future__ import annotations

import collections
import collections.abc
import copy
import dataclasses
import ipaddress
import pathlib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from fractions import Fraction
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID, uuid4

import annotated_types
import numpy as np
import pydantic
import typing_extensions
from pydantic import BaseModel, RootModel, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .annotations import stands_for, type_name
from .doclist import DocList
from .document import ID, BaseDoc, fresh_id
from .fields import declared_settings
from .plain import makes_as
from .tensors import AnyTensor, JaxArray, NdArray, TensorFlowTensor, TorchTensor, is_tensor_type
from .typed import TypedJson
from .urls import AnyUrl, AudioUrl, ImageUrl, TextUrl, VideoUrl

Type = Any
"""A type as JSON."""

_OF_PYTHON = [str, int, float, bool, bytes, complex, object, list, dict, set, frozenset, tuple, datetime, date, time]
_OF_PYTHON += [timedelta, Decimal, UUID, Fraction, collections.deque, collections.Counter, collections.OrderedDict]
_OF_PYTHON += [collections.defaultdict, re.Pattern, pathlib.Path, pathlib.PurePath, pathlib.PosixPath]
_OF_PYTHON += [pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath, ipaddress.IPv4Address]
_OF_PYTHON += [ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network, ipaddress.IPv4Interface]
_OF_PYTHON += [ipaddress.IPv6Interface, np.ndarray]
_OURS: list[Any] = [ID, AnyUrl, ImageUrl, TextUrl, AudioUrl, VideoUrl]
TENSORS: dict[str, Any] = {cls.__name__: cls for cls in (NdArray, AnyTensor, TorchTensor, JaxArray, TensorFlowTensor)}
_OF_PYDANTIC = 'SecretStr SecretBytes AwareDatetime NaiveDatetime PastDatetime FutureDatetime PastDate FutureDate '
_OF_PYDANTIC += 'AnyUrl AnyHttpUrl HttpUrl FileUrl FtpUrl AnyWebsocketUrl WebsocketUrl PostgresDsn RedisDsn EmailStr'
NAMED: dict[str, Any] = {
    'None': types.NoneType,
    'Any': Any,
    **{cls.__name__: cls for cls in (*_OF_PYTHON, *_OURS)},
    **TENSORS,
    **{f'pydantic.{name}': getattr(pydantic, name) for name in _OF_PYDANTIC.split()},
}
"""The types that go by a name; those of `PREDEFINED` do as well."""
_NAME_OF = {type_: name for name, type_ in NAMED.items()}

ORIGINS: dict[str, Any] = {
    **{cls.__name__: cls for cls in (list, dict, set, frozenset, tuple, collections.deque, collections.defaultdict)},
    **{cls.__name__: cls for cls in (collections.OrderedDict, collections.Counter, re.Pattern, pydantic.Secret)},
    **{name: getattr(collections.abc, name) for name in ('Sequence', 'Mapping', 'Set', 'Iterable', 'Collection')},
    **{name: getattr(collections.abc, name) for name in ('MutableSequence', 'MutableMapping', 'MutableSet')},
}
"""The types that take others in brackets."""
_NAME_OF_ORIGIN = {origin: name for name, origin in ORIGINS.items()}

PREDEFINED = ('TextDoc', 'ImageDoc', 'AudioDoc', 'VideoDoc')
"""The classes of `docindex.predefined`, which is loaded by those who use one."""
BASES: dict[str, type[BaseModel]] = {cls.__name__: cls for cls in (BaseDoc, BaseModel)}
"""What else a document class may inherit from."""
ENUMS: dict[str, type[Enum]] = {cls.__name__: cls for cls in (StrEnum, IntFlag, IntEnum, Flag, Enum)}
"""Likewise an enumeration."""
FACTORIES: dict[str, Callable[[], Any]] = {
    made_by.__name__: made_by
    for made_by in (str, int, float, bool, bytes, list, dict, set, frozenset, tuple, fresh_id, uuid4, DocList)
}
"""Makers of defaults."""
_CONFIG_WORDS = (
    'extra frozen strict str_strip_whitespace str_to_lower str_to_upper str_min_length str_max_length populate_by_name '
)
_CONFIG_WORDS += (
    'validate_by_name validate_by_alias validate_assignment validate_default use_enum_values coerce_numbers_to_str '
)
_CONFIG_WORDS += (
    'allow_inf_nan arbitrary_types_allowed revalidate_instances from_attributes regex_engine ser_json_timedelta '
)
_CONFIG_WORDS += 'ser_json_temporal ser_json_bytes val_json_bytes val_temporal_unit ser_json_inf_nan cache_strings'
CONFIG = frozenset(_CONFIG_WORDS.split())
"""What of a model's configuration changes the documents that it takes, or how they are written."""
_OF_NO_EFFECT_WORDS = (
    'title json_schema_extra use_attribute_docstrings protected_namespaces hide_input_in_errors loc_by_alias '
)
_OF_NO_EFFECT_WORDS += (
    'serialize_by_alias json_schema_serialization_defaults_required json_schema_mode_override defer_build '
)
_OF_NO_EFFECT_WORDS += (
    'validation_error_cause validate_return schema_generator field_title_generator model_title_generator '
)
_OF_NO_EFFECT_WORDS += 'plugin_settings ignored_types alias_generator'
_OF_NO_EFFECT = frozenset(_OF_NO_EFFECT_WORDS.split())
_CONSTRAINTS_WORDS = (
    'gt ge lt le multiple_of min_length max_length strict allow_inf_nan pattern max_digits decimal_places union_mode '
)
_CONSTRAINTS_WORDS += 'fail_fast coerce_numbers_to_str'
CONSTRAINTS = frozenset(_CONSTRAINTS_WORDS.split())
"""What pydantic's `Field` can say of a value."""
WORDS: tuple[str, ...] = (
    'alias',
    'validation_alias',
    'serialization_alias',
    'title',
    'description',
    'exclude',
    'frozen',
)
WORDS += ('validate_default', 'discriminator', 'deprecated')
"""What else it can say, of a field."""
MADE_OF = '__docindex_blueprint__'
"""The attribute with the blueprint that a class was made of."""


def blueprint(doc_type: type[BaseModel]) -> dict[str, Any]:
    """
    Return a document class as JSON types; `docindex.rebuilding.rebuilt` makes it again.

    That of a class which was made so is what it was made of, for it stands in for the class that was drawn.
    """
    made_of: dict[str, Any] | None = doc_type.__dict__.get(MADE_OF)
    if made_of is not None:
        return copy.deepcopy(made_of)
    drawing = _Drawing(doc_type)
    root = drawing.type_of(doc_type, doc_type.__name__)
    return {'root': root, 'classes': drawing.classes, 'unknown': sorted(set(drawing.unknown))}


class _Drawing:
    """
    Takes down types, and the classes that they mention.

    Attributes:
        classes: What was taken down of classes, by name.
        unknown: What could not be.
    """

    def __init__(self, doc_type: type[BaseModel]) -> None:
        self.classes: dict[str, Any] = {}
        self.unknown: list[str] = []
        self._typed = TypedJson(doc_type)
        self._within: list[Any] = []  # the classes, and names of types, that are being taken down

    # -- types -------------------------------------------------------------------------------------

    def type_of(self, annotation: Any, where: str) -> Type:
        """Return a type as JSON; errors are about `where`."""
        name = _NAME_OF.get(annotation) if _is_hashable(annotation) else None
        name = annotation.__name__ if _is_predefined(annotation) else name
        if name is not None:
            return name
        origin, arguments = get_origin(annotation), get_args(annotation)
        if annotation is None:
            return 'None'
        if origin is Annotated:
            return ['annotated', self.type_of(arguments[0], where), self._constraints(arguments[1:], where)]
        if origin in (Union, types.UnionType):
            return ['union', *(self.type_of(argument, where) for argument in arguments)]
        if origin is Literal:
            return ['literal', *(self._choice(argument, where) for argument in arguments)]
        if is_tensor_type(annotation):
            axes = [None if axis is ... else axis for axis in annotation.shape]
            return ['tensor', annotation.__mro__[1].__name__, axes]
        if stands_for(annotation) is not annotation:
            return self._named_type(annotation, where)
        if _is_hashable(origin) and origin in _NAME_OF_ORIGIN:
            inner = [None if argument is ... else self.type_of(argument, where) for argument in arguments]
            return [_NAME_OF_ORIGIN[origin], *inner]
        if isinstance(annotation, type) and origin is None:
            return self._class_type(annotation, where)
        return self._opaque(annotation, where)

    def _choice(self, choice: Any, where: str) -> Any:
        if isinstance(choice, Enum):
            self._class_type(type(choice), where)  # nothing else may mention it
        return self._value(choice, where)

    def _named_type(self, annotation: Any, where: str) -> Type:
        if annotation in self._within:
            return self._opaque(annotation, where)
        self._within.append(annotation)
        case = 'newtype' if isinstance(annotation, NewType) else 'alias'
        drawn = [case, annotation.__name__, self.type_of(stands_for(annotation), where)]
        self._within.pop()
        return drawn

    def _class_type(self, cls: type[Any], where: str) -> Type:
        if issubclass(cls, DocList):
            if cls.doc_type is None:
                return 'DocList'
            if self.classes.get(self._typed.names.get(cls.doc_type, '')) == {}:
                self.unknown.append(f'{where} is a {cls.__name__} in {cls.doc_type.__name__} itself')
            return ['doclist', self.type_of(cls.doc_type, where)]
        name = self._typed.names.get(cls)
        draw = next((draw for fits, draw in _KINDS if fits(cls)), None)
        if name is None or draw is None or self._is_in_itself(cls):
            return self._opaque(cls, where)
        if name not in self.classes:
            self.classes[name] = {}  # a class may mention itself
            # Of two classes of one name the other goes by its module, too.
            said = {} if cls.__name__ == name else {'name': cls.__name__}
            self._within.append(cls)
            self.classes[name] = {**draw(self, cls), **said}
            self._within.pop()
        return ['class', name]

    def _is_in_itself(self, cls: type[Any]) -> bool:
        """Return whether a class is mentioned within itself on a way through others than documents, which can wait."""
        way = self._within[self._within.index(cls) :] if cls in self._within else []
        return any(isinstance(one, type) and not issubclass(one, BaseModel) for one in way)

    def _opaque(self, annotation: Any, where: str) -> Type:
        """Return a type of which only the name is known, and of which known type its values are."""
        name = type_name(annotation)
        self.unknown.append(f'{where} is of the type {name}')
        cls = annotation if isinstance(annotation, type) else get_origin(annotation)
        mro = cls.__mro__[1:-1] if isinstance(cls, type) else ()
        return ['opaque', name, next((_NAME_OF[base] for base in mro if base in _NAME_OF), None)]

    # -- classes -----------------------------------------------------------------------------------

    def _document(self, cls: type[BaseModel]) -> dict[str, Any]:
        base = next(base for base in cls.__mro__ if _is_predefined(base) or base in BASES.values())
        self._note_code(cls, base)
        fields = {name: self._field(info, f'{cls.__name__}.{name}') for name, info in cls.model_fields.items()}
        if cls.__pydantic_root_model__:
            return {'kind': 'root', 'fields': fields}
        return {'kind': 'document', 'base': base.__name__, 'config': self._config(cls, base), 'fields': fields}

    def _note_code(self, cls: type[BaseModel], base: type[BaseModel]) -> None:
        """Note what code of the user's runs when an instance is made or written."""
        mine, inherited = cls.__pydantic_decorators__, base.__pydantic_decorators__
        for kind in ('validators', 'field_validators', 'root_validators', 'field_serializers', 'model_serializers'):
            self.unknown += [f'{cls.__name__} has {one}()' for one in getattr(mine, kind)]
        others = mine.model_validators.keys() - inherited.model_validators.keys()
        self.unknown += [f'{cls.__name__} has {one}()' for one in others]
        if not cls.__pydantic_root_model__ and not makes_as(cls, base):
            self.unknown.append(f'{cls.__name__} has code that runs when an instance is made')

    def _config(self, cls: type[BaseModel], base: type[BaseModel]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for name, value in cls.model_config.items():
            if name in _OF_NO_EFFECT or (name in base.model_config and base.model_config.get(name) == value):
                continue
            if name in CONFIG and isinstance(value, (str, int, type(None))):
                config[name] = value
            else:
                self.unknown.append(f'{cls.__name__} has {name} in its model_config')
        return config

    def _field(self, info: FieldInfo, where: str) -> dict[str, Any]:
        field: dict[str, Any] = {'type': self.type_of(info.annotation, where)}
        if info.default_factory is not None:
            name = getattr(info.default_factory, '__name__', '')
            field['factory'] = name if FACTORIES.get(name) is info.default_factory else None
            if field['factory'] is None:
                self.unknown.append(f'{where} has a default_factory')
        elif info.default is not PydanticUndefined:
            field['default'] = self._value(info.default, where)
        said: dict[str, Any] = {
            'constraints': self._constraints(info.metadata, where),
            'settings': declared_settings(info, where),
        }
        for name in WORDS:
            value = getattr(info, name, None)
            if value is not None and not isinstance(value, (str, bool)):
                self.unknown.append(f'{where} has the {name} {value!r}')
            elif value is not None:
                said[name] = value
        if getattr(info, 'exclude_if', None) is not None:
            self.unknown.append(f'{where} has exclude_if')
        return field | {name: value for name, value in said.items() if value not in ([], {})}

    def _constraints(self, metadata: Iterable[Any], where: str) -> list[dict[str, Any]]:
        """Return what is said of a value beside its type."""
        found: list[dict[str, Any]] = []
        for item in metadata:
            if isinstance(item, FieldInfo):
                settings = declared_settings(item, where)
                found += [*self._constraints(item.metadata, where), *([{'settings': settings}] if settings else [])]
            elif isinstance(item, StringConstraints):
                own = {name: value for name, value in vars(item).items() if value is not None}
                found.append({'string': self._said(own, where)})
            elif isinstance(item, annotated_types.GroupedMetadata):
                found += self._constraints(item, where)
            elif isinstance(item, annotated_types.BaseMetadata) or type(item).__name__ == 'PydanticGeneralMetadata':
                own = _attributes(item)
                if own.keys() <= CONSTRAINTS:
                    found.append({'field': self._said(own, where)})
                else:
                    self.unknown.append(f'{where} has {item!r}')
            else:
                self.unknown.append(f'{where} has {item!r}')
        return found

    def _said(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {name: self._value(value, where) for name, value in values.items()}

    def _enum(self, cls: type[Enum]) -> dict[str, Any]:
        base = next(base for base in ENUMS.values() if issubclass(cls, base))
        mixin = cls._member_type_  # type: ignore[attr-defined]
        if '_missing_' in vars(cls) or '__new_member__' in vars(cls):
            self.unknown.append(f'{cls.__name__} has code that runs when a member is made or looked for')
        members = {name: self._value(member.value, cls.__name__) for name, member in cls.__members__.items()}
        drawn: dict[str, Any] = {'kind': 'enum', 'base': base.__name__, 'members': members}
        if issubclass(cls, Flag):
            drawn['boundary'] = cls._boundary_.name  # type: ignore[attr-defined]
        if base is Enum and mixin is not object:
            if mixin not in (str, int, float, bytes):
                self.unknown.append(f'{cls.__name__} is a {mixin.__name__}')
            else:
                drawn['mixin'] = mixin.__name__
        return drawn

    def _dataclass(self, cls: type[Any]) -> dict[str, Any]:
        if hasattr(cls, '__post_init__') or hasattr(cls, '__pydantic_decorators__'):
            self.unknown.append(f'{cls.__name__} has code that runs when an instance is made')
        hints = get_type_hints(cls, include_extras=True)
        fields: dict[str, Any] = {}
        for each in dataclasses.fields(cls):
            where = f'{cls.__name__}.{each.name}'
            fields[each.name] = {'type': self.type_of(hints[each.name], where)}
            if each.default is not dataclasses.MISSING:
                fields[each.name]['default'] = self._value(each.default, where)
            elif each.default_factory is not dataclasses.MISSING:
                name = getattr(each.default_factory, '__name__', '')
                fields[each.name]['factory'] = name if FACTORIES.get(name) is each.default_factory else None
                if fields[each.name]['factory'] is None:
                    self.unknown.append(f'{where} has a default_factory')
        frozen = cls.__dataclass_params__.frozen
        return {'kind': 'dataclass', 'frozen': frozen, 'fields': fields}

    def _named_tuple(self, cls: type[Any]) -> dict[str, Any]:
        hints = get_type_hints(cls, include_extras=True)
        if cls._field_defaults:
            self.unknown.append(f'{cls.__name__} has defaults')
        fields = {name: {'type': self.type_of(hints.get(name, Any), f'{cls.__name__}.{name}')} for name in cls._fields}
        return {'kind': 'namedtuple', 'fields': fields}

    def _typed_dict(self, cls: type[Any]) -> dict[str, Any]:
        hints = get_type_hints(cls)
        fields = {
            name: {'type': self.type_of(hint, f'{cls.__name__}.{name}'), 'is_required': name in cls.__required_keys__}
            for name, hint in hints.items()
        }
        if hasattr(cls, '__pydantic_config__'):
            self.unknown.append(f'{cls.__name__} has a configuration')
        return {'kind': 'typeddict', 'fields': fields}

    def _value(self, value: Any, where: str) -> Any:
        """Return a value, of a default or a constraint, as JSON types."""
        try:
            return self._typed.dump_value(value)
        except (TypeError, ValueError):
            self.unknown.append(f'{where} has the default {value!r:.60}')
            return None


def _is_predefined(cls: Any) -> bool:
    return getattr(cls, '__module__', '') == f'{__package__}.predefined' and cls.__name__ in PREDEFINED


def _attributes(item: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(item):
        return {each.name: getattr(item, each.name) for each in dataclasses.fields(item)}
    return dict(vars(item))


def _is_hashable(annotation: object) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return not isinstance(annotation, TypeVar)


_KINDS: list[tuple[Callable[[type[Any]], bool], Callable[[_Drawing, Any], dict[str, Any]]]] = [
    (lambda cls: issubclass(cls, RootModel) or issubclass(cls, BaseModel), _Drawing._document),
    (lambda cls: issubclass(cls, Enum), _Drawing._enum),
    (dataclasses.is_dataclass, _Drawing._dataclass),
    (typing_extensions.is_typeddict, _Drawing._typed_dict),
    (lambda cls: issubclass(cls, tuple) and typing.cast(Any, hasattr(cls, '_asdict')), _Drawing._named_tuple),
]
