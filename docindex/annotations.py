"""
What the declaration of a field says.

Whether it may be None, is a tensor, or a list of documents; how one writes its type; by what else it may be given; and
which classes it mentions.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_type_hints

import numpy as np
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from .doclist import DocList
from .document import ID
from .errors import SchemaError
from .tensors import is_tensor_type


def stands_for(annotation: Any) -> Any:
    """Return what the name of a type stands for, that of a `NewType` or of `type X = ...`; any other type as it is."""
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    meant = None if isinstance(annotation, type) else getattr(annotation, '__value__', None)
    if meant is None or isinstance(meant, str):
        return annotation
    arguments = typing.get_args(annotation)
    return meant[arguments] if arguments else meant


def members_of(annotation: Any) -> list[Any]:
    """Return the types that one is a union of, to any depth; itself, if it is none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return members_of(arguments[0])
    if origin in (Union, types.UnionType):
        return [one for member in arguments for one in members_of(member)]
    named = stands_for(annotation)
    return [annotation] if named is annotation else members_of(named)


def unwrap(annotation: Any) -> tuple[Any, bool, list[FieldInfo]]:
    """
    Strip `Optional`, `Annotated` and names of types: the type inside, whether None is allowed, pydantic fields found.

    A union of several types keeps its name: it may be in itself, as pydantic's `JsonValue` is.
    """
    can_be_none, name = types.NoneType in members_of(annotation), None
    found: list[FieldInfo] = []
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation, *metadata = typing.get_args(annotation)
            found += [item for item in metadata if isinstance(item, FieldInfo)]
        elif origin in (Union, types.UnionType):
            members = [one for one in typing.get_args(annotation) if members_of(one) != [types.NoneType]]
            if len(members) != 1:
                return name or annotation, can_be_none, found
            annotation = members[0]
        elif (named := stands_for(annotation)) is not annotation:
            name, annotation = name or annotation, named
        else:
            return annotation, can_be_none, found


def listed(annotation: Any) -> type[BaseModel] | None:
    """Return the class of the documents in a list, if each of them can be stored by itself: it has an id."""
    item = annotation.doc_type if isinstance(annotation, type) and issubclass(annotation, DocList) else None
    if typing.get_origin(annotation) is list:
        item = stands_for(*typing.get_args(annotation))
    if not isinstance(item, type) or not issubclass(item, BaseModel) or issubclass(item, RootModel):
        return None
    id_ = item.model_fields.get('id')
    return item if id_ is not None and unwrap(id_.annotation)[:2] in ((str, False), (ID, False)) else None


def tensor_settings(where: str, annotation: Any, settings: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Return whether the field may become a vector column, and its settings with the length in its type."""
    origin = typing.get_origin(annotation)
    if getattr(annotation, '__module__', '').startswith('docarray.typing.tensor'):
        raise SchemaError(f"{where} has DocArray's type {annotation.__name__}; import it from docindex instead")
    if origin in (Union, types.UnionType):
        if settings.get('index', True) and any(map(_holds_tensor, typing.get_args(annotation))):
            only_tensors = all(
                member is types.NoneType or _holds_tensor(member) for member in typing.get_args(annotation)
            )
            hint = 'write AnyTensor' if only_tensors else 'use two fields'
            raise SchemaError(f'{where}: a vector or something else cannot be searched; {hint}, or Field(index=False)')
        return False, settings
    if not _holds_tensor(annotation):
        # A list of floats is a vector only if the schema says so.
        is_vector = annotation in (list, tuple) or origin in (list, tuple, Sequence)
        if settings.get('dim', -1) > 0 and not is_vector:
            raise SchemaError(f'{where} is a {type_name(annotation)}, which cannot have a dim')
        return is_vector and settings.get('dim', -1) > 0, settings
    shape = annotation.shape if is_tensor_type(annotation) else None
    if shape is None:
        return True, settings
    if len(shape) != 1 or shape[0] is ...:
        if settings.keys() - {'index'} or settings.get('index'):
            raise SchemaError(
                f'{where}: only vectors can be indexed, and {type_name(annotation)} is not one; it is stored without '
                'any settings'
            )
        return False, settings
    if isinstance(shape[0], str):
        return True, settings
    if settings.get('dim', -1) not in (-1, shape[0]):
        raise SchemaError(f'{where}: {type_name(annotation)} and dim={settings["dim"]} contradict each other')
    return True, {**settings, 'dim': shape[0]}


def _holds_tensor(annotation: Any) -> bool:
    return is_tensor_type(annotation) or annotation is np.ndarray or typing.get_origin(annotation) is np.ndarray


def type_name(annotation: Any, is_outermost: bool = True) -> str:
    """Return a type as one would write it, without the modules of classes and what `Annotated` adds."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is types.NoneType:
        return 'None'
    if origin is Annotated:
        return type_name(arguments[0], is_outermost)
    if origin in (Union, types.UnionType):
        # Whether None is allowed at all is said by the caller.
        members = [member for member in arguments if not (is_outermost and member is types.NoneType)]
        return ' | '.join(type_name(member, False) for member in members)
    if origin is typing.Literal:
        return f'Literal[{", ".join(map(repr, arguments))}]'
    name = getattr(annotation, '__name__', None) or str(annotation).replace('typing.', '')
    if origin is None or not arguments:
        return name
    inner = ('...' if argument is ... else type_name(argument, False) for argument in arguments)
    return f'{getattr(origin, "__name__", name)}[{", ".join(inner)}]'


def aliases_of(cls: type[BaseModel]) -> set[str]:
    """Return by what else than its name a field of a document may be given."""
    aliases = {name: info.validation_alias for name, info in cls.model_fields.items()}
    choices = [(name, one) for name, alias in aliases.items() for one in getattr(alias, 'choices', [alias])]
    return {alias for name, one in choices if (alias := getattr(one, 'path', [one])[0]) not in (None, name)}


def is_ambiguous(cls: type[BaseModel]) -> bool:
    """
    Return whether the name of a field is an alias of another, in a document class or in one that it mentions.

    Taken for that alias, where names are meant, it would give the other field its value.
    """
    documents = (one for one in types_within(cls) if issubclass(one, BaseModel))
    return any(not aliases_of(one).isdisjoint(one.model_fields) for one in documents)


def types_within(annotation: Any, seen: set[Any] | None = None) -> Iterator[Any]:
    """Yield every class that a type mentions, also through the fields of documents, dataclasses and typed dicts."""
    seen = set() if seen is None else seen
    named = stands_for(annotation)
    if named is not annotation and annotation not in seen:
        seen.add(annotation)  # it may be in itself
        yield from types_within(named, seen)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        yield from {type(argument) for argument in arguments if isinstance(argument, Enum)} - seen
        return
    if isinstance(annotation, type) and origin is None:
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        arguments = _members(annotation)
    elif isinstance(origin, type):
        yield from types_within(origin, seen)
    for argument in arguments:
        yield from types_within(argument, seen)


@cache
def _members(cls: Any) -> tuple[Any, ...]:
    """Return the types that the fields of a class have."""
    if issubclass(cls, DocList):
        return () if cls.doc_type is None else (cls.doc_type,)
    if issubclass(cls, BaseModel):
        return tuple(info.annotation for info in cls.model_fields.values())
    if dataclasses.is_dataclass(cls) or hasattr(cls, '__total__') or hasattr(cls, '_fields'):
        return tuple(get_type_hints(cls, include_extras=True).values())
    return ()
