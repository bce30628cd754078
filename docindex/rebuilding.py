"""
A document class made of what `docindex.blueprint` says of one: it reads, checks and writes the same documents.

Nothing that is named here is imported or run: types come from the tables of `docindex.blueprint`, classes are made of
their fields. So a directory from a stranger can name what it likes.
"""

from __future__ import annotations

import dataclasses
import json
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, FlagBoundary
from functools import lru_cache
from typing import Annotated, Any, ForwardRef, Literal, NewType, Union

import pydantic
import typing_extensions
from pydantic import BaseModel, GetCoreSchemaHandler, RootModel, StringConstraints
from pydantic_core import CoreSchema, core_schema

from . import predefined
from .blueprint import (
    BASES,
    CONFIG,
    CONSTRAINTS,
    ENUMS,
    FACTORIES,
    MADE_OF,
    NAMED,
    ORIGINS,
    PREDEFINED,
    TENSORS,
    WORDS,
    Type,
)
from .doclist import DocList
from .errors import SchemaError
from .refusals import UNKNOWN
from .typed import TypedJson, as_declared

_STRING_WORDS = {'strip_whitespace', 'to_upper', 'to_lower', 'strict', 'min_length', 'max_length', 'pattern'}
_MIXINS = {cls.__name__: cls for cls in (str, int, float, bytes)}
_VALUES = TypedJson(BaseModel)
_PREDEFINED: dict[str, type[BaseModel]] = {name: getattr(predefined, name) for name in PREDEFINED}
_NAMED = {**NAMED, **_PREDEFINED, 'DocList': DocList}
_BASES = {**BASES, **_PREDEFINED}


def rebuilt(drawn: Mapping[str, Any]) -> type[BaseModel]:
    """
    Return the document class that a blueprint is of.

    If the blueprint says of something that it is unknown, the class reads documents, and cannot be written with:
    `docindex.schema.check_known` says so. Values of an unknown type come back as what stands in their JSON.

    The same blueprint gives the same class, so that documents of two handles can be equal.

    Raises:
        SchemaError: it makes no sense: a stranger wrote it, or a newer docindex.
    """
    return _rebuilt(json.dumps(drawn))


@lru_cache(maxsize=64)
def _rebuilt(text: str) -> type[BaseModel]:
    drawn = json.loads(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # pydantic's, of names that shadow others: the user has seen them
            made = _Building(drawn).root()
    except Exception as error:  # whatever pydantic, enum or dataclasses say of what a stranger wrote
        raise SchemaError(f'the description of the document class makes no sense: {error!r:.200}') from error
    setattr(made, MADE_OF, drawn)
    return made


class _Building:
    """Makes the classes of a blueprint, each when it is first mentioned."""

    def __init__(self, drawn: Mapping[str, Any]) -> None:
        self._drawn: Mapping[str, Any] = drawn['classes']
        self._root: Type = drawn['root']
        self._unknown: list[str] = list(map(str, drawn['unknown']))
        self._aliases = {name: f'Class{number}' for number, name in enumerate(self._drawn)}
        self._made: dict[str, Any] = {}
        self._opaque: dict[tuple[str, str | None], type[Any]] = {}
        self._typed = _VALUES

    def root(self) -> type[BaseModel]:
        """Return the document class."""
        found = self._type(self._root)
        namespace = {self._aliases[name]: cls for name, cls in self._made.items()}
        for cls in self._made.values():
            if issubclass(cls, BaseModel):
                cls.model_rebuild(_types_namespace=namespace)
                if self._unknown:
                    setattr(cls, UNKNOWN, self._unknown)
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            raise SchemaError(f'{self._root!r:.100} is no document class')
        self._typed = TypedJson(found)
        return found

    # -- types -------------------------------------------------------------------------------------

    def _type(self, drawn: Type) -> Any:
        if isinstance(drawn, str):
            return _NAMED[drawn]
        case, *rest = drawn
        if case in ORIGINS:
            inner = tuple(... if one is None else self._type(one) for one in rest)
            return ORIGINS[case][inner if len(inner) != 1 else inner[0]]
        return _CASES[case](self, *rest)

    def _class(self, name: str) -> Any:
        if name not in self._made:
            if name not in self._aliases:
                raise SchemaError(f'no class {name!r:.100} is described')
            self._made[name] = ForwardRef(self._aliases[name])  # a class may mention itself
            drawn = self._drawn[name]
            own = drawn.get('name', name)
            made = _KINDS[drawn['kind']](self, own, drawn)
            # `docindex.typed` tells classes of one name by these.
            module, _, qualified = name.rpartition('.') if own != name else (__name__, '', own)
            made.__module__, made.__qualname__ = module, qualified
            self._made[name] = made
        return self._made[name]

    def _union(self, *members: Type) -> Any:
        return Union[tuple(map(self._type, members))]  # noqa: UP007 (of a tuple)

    def _annotated(self, inner: Type, said: Sequence[Mapping[str, Any]]) -> Any:
        constraints = self._constraints(said)
        return Annotated[(self._type(inner), *constraints)] if constraints else self._type(inner)

    def _literal(self, *values: Any) -> Any:
        return Literal[tuple(map(self._choice, values))]

    def _choice(self, value: Any) -> Any:
        if isinstance(value, dict) and '$enum' in value:
            name, member = value['$enum']
            return self._class(name)[member]
        return _VALUES.load_value(value)

    def _tensor(self, name: str, axes: Sequence[Any]) -> Any:
        return TENSORS[name][tuple(... if axis is None else axis for axis in axes)]

    def _doclist(self, inner: Type) -> Any:
        doc_type = self._type(inner)
        # One that is in the class itself; the blueprint says that this is not known.
        return list[doc_type] if isinstance(doc_type, ForwardRef) else DocList[doc_type]  # type: ignore[valid-type]

    def _newtype(self, name: str, inner: Type) -> Any:
        return NewType(name, self._type(inner))

    def _alias(self, name: str, inner: Type) -> Any:
        return typing_extensions.TypeAliasType(name, self._type(inner))

    def _unknown_type(self, name: str, base: str | None) -> Any:
        """Return a type of that name that takes what comes."""
        if (name, base) not in self._opaque:
            bases = (NAMED[base],) if base else ()
            self._opaque[name, base] = type(name, bases, {'__get_pydantic_core_schema__': classmethod(_anything)})
        return self._opaque[name, base]

    # -- classes -----------------------------------------------------------------------------------

    def _document(self, name: str, drawn: Mapping[str, Any]) -> type[BaseModel]:
        base = _BASES[drawn['base']]
        config = {key: value for key, value in drawn['config'].items() if key in CONFIG}
        fields = drawn['fields']
        annotations = {field: self._annotated(one['type'], one.get('constraints', ())) for field, one in fields.items()}
        infos = {field: self._field(one) for field, one in fields.items()}
        for field in fields:
            if not field.isidentifier() or field.startswith('_'):
                raise SchemaError(f'{field!r:.100} is no name of a field')
        namespace = {'__annotations__': annotations, '__module__': __name__, '__qualname__': name, **infos}
        return _model(name, base, {**namespace, 'model_config': config})

    def _root_model(self, name: str, drawn: Mapping[str, Any]) -> type[BaseModel]:
        one = drawn['fields']['root']
        inner = self._annotated(one['type'], one.get('constraints', ()))
        namespace = {'__annotations__': {'root': inner}, '__module__': __name__, '__qualname__': name}
        return _model(name, RootModel, {**namespace, 'root': self._field(one)})

    def _field(self, drawn: Mapping[str, Any]) -> Any:
        words = {word: drawn[word] for word in WORDS if word in drawn}
        return pydantic.Field(**self._default(drawn), **words, json_schema_extra=drawn.get('settings'))

    def _default(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        if 'factory' in drawn:
            return {'default_factory': FACTORIES.get(drawn['factory'], _nothing)}
        if 'default' not in drawn:
            return {}
        default = drawn['default']
        if isinstance(default, (list, dict)):  # of classes perhaps that are not made yet; and a new one each time
            annotation = self._type(drawn['type'])
            return {'default_factory': lambda: as_declared(annotation, self._typed.load_value(default))}
        return {'default': default}

    def _constraints(self, said: Sequence[Mapping[str, Any]]) -> list[Any]:
        found: list[Any] = []
        for one in said:
            if 'settings' in one:
                found.append(pydantic.Field(json_schema_extra=one['settings']))
            elif 'string' in one:
                found.append(StringConstraints(**_known(one['string'], _STRING_WORDS)))
            else:
                found.append(pydantic.Field(**_known(one['field'], CONSTRAINTS)))
        return found

    def _enum(self, name: str, drawn: Mapping[str, Any]) -> type[Enum]:
        members = [(member, _VALUES.load_value(value)) for member, value in drawn['members'].items()]
        more: dict[str, Any] = {}
        if 'mixin' in drawn:
            more['type'] = _MIXINS[drawn['mixin']]
        if 'boundary' in drawn:
            more['boundary'] = FlagBoundary[drawn['boundary']]
        make: Any = ENUMS[drawn['base']]
        made: type[Enum] = make(name, members, **more)
        return made

    def _dataclass(self, name: str, drawn: Mapping[str, Any]) -> type[Any]:
        fields: list[Any] = []
        for field, one in drawn['fields'].items():
            default = self._default(one)
            fields.append((field, self._type(one['type']), dataclasses.field(**default)))
        return dataclasses.make_dataclass(name, fields, frozen=bool(drawn['frozen']), kw_only=True)

    def _named_tuple(self, name: str, drawn: Mapping[str, Any]) -> type[Any]:
        fields = [(field, self._type(one['type'])) for field, one in drawn['fields'].items()]
        make: Any = typing.NamedTuple
        made: type[Any] = make(name, fields)
        return made

    def _typed_dict(self, name: str, drawn: Mapping[str, Any]) -> type[Any]:
        fields = {}
        for field, one in drawn['fields'].items():
            inner = self._type(one['type'])
            fields[field] = inner if one['is_required'] else typing_extensions.NotRequired[inner]
        make: Any = typing_extensions.TypedDict
        made: type[Any] = make(name, fields)
        return made


def _model(name: str, base: type[BaseModel], namespace: dict[str, Any]) -> type[BaseModel]:
    metaclass: Any = type(base)
    made: type[BaseModel] = metaclass(name, (base,), namespace)
    return made


def _known(said: Mapping[str, Any], words: Any) -> dict[str, Any]:
    return {word: _VALUES.load_value(value) for word, value in said.items() if word in words}


def _anything(cls: type[Any], source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    return core_schema.any_schema()


def _nothing() -> None:
    """Stand in for a default that nobody can know."""


_CASES: dict[str, Callable[..., Any]] = {
    'class': _Building._class,
    'union': _Building._union,
    'annotated': _Building._annotated,
    'literal': _Building._literal,
    'tensor': _Building._tensor,
    'doclist': _Building._doclist,
    'newtype': _Building._newtype,
    'alias': _Building._alias,
    'opaque': _Building._unknown_type,
}
_KINDS: dict[str, Callable[[_Building, str, Mapping[str, Any]], Any]] = {
    'document': _Building._document,
    'root': _Building._root_model,
    'enum': _Building._enum,
    'dataclass': _Building._dataclass,
    'namedtuple': _Building._named_tuple,
    'typeddict': _Building._typed_dict,
}
