"""
Which documents JSON says everything about.

Pydantic's own JSON is the fast way to write a document, and right for most. It would not do for a `datetime | str`
(which comes back as a string), for `bytes` that are not UTF-8, for NaN (which becomes null), for a class whose
validators change what they are given once more. In doubt the answer here is no: `docindex.typed` then writes the
document, with the type of each value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID

import annotated_types
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from .doclist import DocList
from .document import ID, BaseDoc
from .embedding import Embeds
from .frameworks import framework_of
from .tensors import is_tensor_type
from .urls import AnyUrl

_PLAIN = {str, int, bool, float, type(None), datetime, date, time, timedelta, Decimal, UUID, ID}
_PLAIN_KEYS = {str, int, UUID}
_CHECKS_ONLY = (annotated_types.BaseMetadata, annotated_types.GroupedMetadata, StringConstraints, FieldInfo, Embeds)
_CHANGES_JSON = {
    'ser_json_timedelta',
    'ser_json_temporal',
    'ser_json_bytes',
    'val_json_bytes',
    'json_encoders',
    'use_enum_values',
}
_CHANGES_VALUES = {
    'str_strip_whitespace',
    'str_to_lower',
    'str_to_upper',
    'str_min_length',
    'str_max_length',
    'allow_inf_nan',
}


def json_says_all(annotation: Any, within: tuple[type[Any], ...] = ()) -> bool:
    """
    Return whether every value of a type comes back from pydantic's JSON as what it was, but for `json_loses`.

    `within` are the classes on the way here, for those that contain themselves in a list.
    """

    def says_all(inner: Any) -> bool:
        return json_says_all(inner, within)

    if (_is_hashable(annotation) and annotation in _PLAIN) or is_tensor_type(annotation):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return says_all(arguments[0]) and _only_checks(arguments[1:])
    if origin is Literal:
        return all(type(argument) in (str, int) for argument in arguments)
    if origin in (list, set, frozenset, tuple):
        return all(argument is ... or says_all(argument) for argument in arguments)
    if origin is dict:
        return arguments[0] in _PLAIN_KEYS and says_all(arguments[1])
    if type(None) in arguments and len(arguments) == 2:
        return all(map(says_all, arguments))
    return (
        isinstance(annotation, type)
        and origin is None
        and (annotation in within or _class_is_plain(annotation, within))
    )


def _class_is_plain(cls: type[Any], within: tuple[type[Any], ...]) -> bool:
    if issubclass(cls, AnyUrl):
        return True
    if issubclass(cls, Enum):
        values = [member.value for member in cls]
        of_one_type = all(type(value) is str for value in values) or all(type(value) is int for value in values)
        return of_one_type and not issubclass(cls, Flag)
    if issubclass(cls, DocList):
        return cls.doc_type is not None and json_says_all(cls.doc_type, within)
    if not issubclass(cls, BaseModel):
        return False
    decorators = cls.__pydantic_decorators__
    return (
        not (decorators.validators or decorators.field_validators or decorators.root_validators)
        and not (decorators.field_serializers or decorators.model_serializers or decorators.model_validators)
        and not _CHANGES_JSON & cls.model_config.keys()
        and cls.model_config.get('extra') != 'allow'
        and not cls.__pydantic_root_model__
        and any(makes_as(cls, base) for base in (BaseModel, BaseDoc))
        and all(_field_is_plain(info, (*within, cls)) for info in cls.model_fields.values())
    )


def makes_as(cls: type[BaseModel], base: type[BaseModel]) -> bool:
    """Return whether making an instance of a class runs no other code than making one of its base."""
    after = getattr(cls.model_post_init, '__name__', '')
    return (
        cls.__init__ is base.__init__
        and (cls.model_post_init is BaseModel.model_post_init or after == 'init_private_attributes')
        and cls.__get_pydantic_core_schema__.__func__ is base.__get_pydantic_core_schema__.__func__  # type: ignore[attr-defined]
    )


def _field_is_plain(info: FieldInfo, within: tuple[type[Any], ...]) -> bool:
    is_left_out_sometimes = getattr(info, 'exclude_if', None) is not None
    return not is_left_out_sometimes and json_says_all(info.annotation, within) and _only_checks(info.metadata)


def _only_checks(metadata: Iterable[object]) -> bool:
    return all(isinstance(item, _CHECKS_ONLY) or type(item).__name__ == 'PydanticGeneralMetadata' for item in metadata)


def checks_values(annotation: Any, seen: frozenset[type[Any]] = frozenset()) -> bool:
    """
    Return whether a type that JSON says all about refuses, or changes, some values that pydantic writes without a word.

    `Field(ge=0)` does, and `str_to_lower`, a url, a `Literal`: a default, or an assignment, that nobody has checked may
    have put such a value there.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return any(map(_checks, arguments[1:])) or checks_values(arguments[0], seen)
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, (ID, AnyUrl))):
        return True
    if isinstance(annotation, type) and origin is None and issubclass(annotation, DocList):
        return checks_values(annotation.doc_type, seen)
    if isinstance(annotation, type) and origin is None and issubclass(annotation, BaseModel) and annotation not in seen:
        fields, seen = {**annotation.model_fields}, seen | {annotation}
        if 'id' in fields and fields['id'].annotation is ID:  # who stores documents has looked at that
            del fields['id']
        return not _CHANGES_VALUES.isdisjoint(annotation.model_config) or any(
            any(map(_checks, info.metadata)) or checks_values(info.annotation, seen) for info in fields.values()
        )
    return any(checks_values(argument, seen) for argument in arguments)


def _checks(item: object) -> bool:
    """Return whether something beside a type says more than what it is called, or what vectors are made of."""
    return any(map(_checks, item.metadata)) if isinstance(item, FieldInfo) else not isinstance(item, Embeds)


def json_loses(value: object) -> bool:
    """Return whether there is something in a value that JSON cannot say, though it can say all else of its type."""
    if isinstance(value, float):
        return not math.isfinite(value)  # pydantic writes null
    if isinstance(value, (str, int, type(None))) or framework_of(value) is not None:
        return False
    if isinstance(value, (datetime, time)):
        offset = value.utcoffset()
        if offset is None:
            return bool(value.fold) or value.tzinfo is not None
        return bool(offset.total_seconds() % 60)  # pydantic writes hours and minutes
    if isinstance(value, BaseModel):
        return any(map(json_loses, value.__dict__.values()))
    if isinstance(value, Mapping):
        return any(map(json_loses, value.keys())) or any(map(json_loses, value.values()))
    return isinstance(value, Iterable) and any(map(json_loses, value))


def _is_hashable(annotation: object) -> bool:
    return getattr(annotation, '__hash__', None) is not None and get_origin(annotation) is None
