"""
A document as bytes, and back, exactly.

Where JSON says everything about a document, which its class tells, pydantic writes and reads it:
about two microseconds each way. JSON alone would lose the rest: a `datetime | str` comes back as a
string, `bytes` may not be UTF-8, NaN becomes null, validators run a second time. Such documents are
written as JSON in which each value names its type. Either way tensors stand beside the JSON.

Nothing that a payload names is ever imported: it can only refer to classes its schema mentions.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args, get_origin
from uuid import UUID

import annotated_types
import numpy as np
from pydantic import BaseModel, SecretStr, StringConstraints, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError

from .doclist import DocList
from .document import ID, AnyUrl
from .errors import DocumentError
from .schema import Column, explain
from .tensors import Array, Float32Array, Tensors, is_tensor_type

D = TypeVar('D', bound=BaseModel)


class Payloads(Generic[D]):
    """
    Writes and reads the documents of one class.

    Args:
        doc_type: The document class.
        columns: Its vector columns.
    """

    def __init__(self, doc_type: type[D], columns: Iterable[Column]) -> None:
        self._doc_type = doc_type
        self._paths = {column.name: column.path for column in columns}
        self._is_plain = _json_says_all(doc_type)
        self._has_floats = float in set(_types_within(doc_type))
        self._classes = _named(cls for cls in _types_within(doc_type) if cls not in _ATOMS)
        self._names = {cls: name for name, cls in self._classes.items()}

    def dump(self, doc: D, vectors: Mapping[str, Array | None]) -> tuple[bytes, bytes | None]:
        """
        Return a document's JSON as UTF-8, and its tensors as bytes.

        Args:
            doc: A document of the class; what a subclass adds is left out.
            vectors: The values of its vector columns by flat name, None where there is none. As float32 they are kept
                elsewhere; here go those that would not come back exactly from float32.

        Raises:
            DocumentError: a value cannot be stored.
        """
        if len(vectors) > 1:
            doc, vectors = self._unshared(doc, vectors)
        tensors = Tensors(vectors)
        text = (self._dump_plain(doc, tensors) if self._is_plain else None) or self._dump_typed(doc, tensors)
        return text, _pack(tensors)

    def load(self, text: bytes, packed: bytes | None, vectors: Mapping[str, Float32Array]) -> D:
        """Return the document that `dump` was given; `vectors` are its vector columns by flat name, as float32."""
        tensors = Tensors(vectors)
        if packed is not None:
            _unpack(packed, tensors)
        if text.startswith(b'['):
            return cast(D, self._construct(self._doc_type, json.loads(text)[0], tensors))
        try:
            validated = self._doc_type.__pydantic_validator__.validate_json(
                text, context=tensors, by_alias=False, by_name=True
            )
        except ValidationError as error:
            raise DocumentError(
                f'a stored document does not fit {self._doc_type.__name__} any more: {explain(error)}'
            ) from error
        return cast(D, validated)

    def _unshared(self, doc: D, vectors: Mapping[str, Array | None]) -> tuple[D, Mapping[str, Array | None]]:
        """Return a document in which no two vector columns are one object: each is referred to by its own name."""
        present = [id(vector) for vector in vectors.values() if vector is not None]
        if len(set(present)) == len(present):
            return doc, vectors
        apart: dict[str, Array | None] = {}
        for name, vector in vectors.items():
            is_shared = vector is not None and any(vector is other for other in apart.values())
            apart[name] = vector.view() if is_shared and vector is not None else vector
            if is_shared:
                doc = _with_value(doc, self._paths[name], apart[name])
        return doc, apart

    def _dump_plain(self, doc: D, tensors: Tensors) -> bytes | None:
        """Return pydantic's JSON, or None if it would not say all about this document."""
        try:
            dumped = self._doc_type.__pydantic_serializer__.to_json(
                doc, context=tensors, by_alias=False, round_trip=True, warnings='error'
            )
        except PydanticSerializationError as error:
            self._check_types(doc, error)
            return None
        # pydantic writes NaN and infinity as null.
        if self._has_floats and b'null' in dumped and _holds_non_finite(doc):
            return None
        return dumped

    def _check_types(self, doc: D, cause: Exception) -> None:
        # Either a value is of a wrong type (put there by model_construct, say), or JSON has no way to say it.
        try:
            self._doc_type.model_validate(doc.__dict__, by_alias=False, by_name=True)
        except ValidationError as error:
            raise DocumentError(explain(error)) from cause

    def _dump_typed(self, doc: D, tensors: Tensors) -> bytes:
        tensors.others.clear()
        return json.dumps([self._fields(doc, tensors)], separators=(',', ':')).encode()

    def _fields(self, doc: BaseModel, tensors: Tensors) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, info in type(doc).model_fields.items():
            if not info.exclude:
                try:
                    fields[name] = self._encode(getattr(doc, name), tensors)
                except TypeError as error:
                    raise DocumentError(f'{name}: {error}') from error
        for name, value in (doc.__pydantic_extra__ or {}).items():
            fields[name] = self._encode(value, tensors)
        return fields

    def _encode(self, value: Any, tensors: Tensors) -> Any:
        """Return `value` as JSON types; one that JSON has no word for is `{'$type': ...}`."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if isinstance(value, np.ndarray):
            return {'$tensor': tensors.refer(value)}
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {'$float': str(float(value))}
        if isinstance(value, dict):
            return self._encode_dict(value, tensors)
        if kind is list:
            return [self._encode(item, tensors) for item in value]
        if kind in _SEQUENCES:
            return {_SEQUENCES[kind]: [self._encode(item, tensors) for item in value]}
        if kind in _ATOMS:
            name, to_json, _ = _ATOMS[kind]
            return {name: to_json(value)}
        if isinstance(value, DocList):
            return {'$doclist': [self._encode(item, tensors) for item in value]}
        if kind not in self._names:
            raise TypeError(f'a {kind.__name__} cannot be stored here, for the schema does not mention that type')
        if isinstance(value, BaseModel):
            return {'$model': [self._names[kind], self._fields(value, tensors)]}
        if isinstance(value, Enum):
            return {'$enum': [self._names[kind], value.name]}
        return {'$as': [self._names[kind], _adapter(kind).dump_python(value, mode='json')]}

    def _encode_dict(self, value: dict[Any, Any], tensors: Tensors) -> Any:
        if all(type(key) is str and not key.startswith('$') for key in value):
            return {key: self._encode(item, tensors) for key, item in value.items()}
        return {'$dict': [[self._encode(key, tensors), self._encode(item, tensors)] for key, item in value.items()]}

    def _decode(self, value: Any, tensors: Tensors) -> Any:
        if isinstance(value, list):
            return [self._decode(item, tensors) for item in value]
        if not isinstance(value, dict):
            return value
        if not (len(value) == 1 and next(iter(value)).startswith('$')):
            return {key: self._decode(item, tensors) for key, item in value.items()}
        ((tag, content),) = value.items()
        if tag in _ATOMS_BY_NAME:
            return _ATOMS_BY_NAME[tag](content)
        if tag in _SEQUENCES_BY_NAME:
            return _SEQUENCES_BY_NAME[tag](self._decode(item, tensors) for item in content)
        if tag == '$tensor':
            return tensors.resolve(content)
        if tag == '$dict':
            return {self._decode(key, tensors): self._decode(item, tensors) for key, item in content}
        cls = self._classes.get(content[0])
        if cls is None:
            raise DocumentError(
                f'stored with the class {content[0]}, which {self._doc_type.__name__} no longer mentions'
            )
        if tag == '$model':
            return self._construct(cls, content[1], tensors)
        if tag == '$enum':
            return cls[content[1]]
        return _adapter(cls).validate_python(content[1])

    def _construct(self, cls: type[Any], fields: Mapping[str, Any], tensors: Tensors) -> Any:
        """Put a document together as it was, without running its validators again."""
        values: dict[str, Any] = {}
        for name, info in cls.model_fields.items():
            if name in fields:
                value = self._decode(fields[name], tensors)
                values[name] = _doclist(info, value)
            else:
                values[name] = info.get_default(call_default_factory=True, validated_data=values)
        doc: Any = object.__new__(cls)
        object.__setattr__(doc, '__dict__', values)
        object.__setattr__(doc, '__pydantic_fields_set__', set(fields))
        extra = {name: self._decode(fields[name], tensors) for name in fields if name not in values}
        object.__setattr__(doc, '__pydantic_extra__', extra if cls.model_config.get('extra') == 'allow' else None)
        object.__setattr__(doc, '__pydantic_private__', None)
        if cls.__pydantic_post_init__:
            doc.model_post_init(None)
        return doc


def _doclist(info: FieldInfo, value: Any) -> Any:
    if isinstance(value, DocList):
        for member in (info.annotation, *get_args(info.annotation)):
            if isinstance(member, type) and issubclass(member, DocList):
                return member.trusted(list(value))
    return value


_SEQUENCES: dict[type, str] = {tuple: '$tuple', set: '$set', frozenset: '$frozenset'}
_SEQUENCES_BY_NAME: dict[str, Callable[[Iterator[Any]], Any]] = {
    **{name: kind for kind, name in _SEQUENCES.items()},
    '$doclist': DocList,
}
_ATOMS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: ('$bytes', lambda value: base64.b64encode(value).decode(), base64.b64decode),
    datetime: ('$datetime', datetime.isoformat, datetime.fromisoformat),
    date: ('$date', date.isoformat, date.fromisoformat),
    time: ('$time', time.isoformat, time.fromisoformat),
    timedelta: (
        '$timedelta',
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda value: timedelta(*value),
    ),
    Decimal: ('$decimal', str, Decimal),
    UUID: ('$uuid', str, UUID),
    complex: ('$complex', lambda value: [value.real, value.imag], lambda value: complex(*value)),
    SecretStr: ('$secret', SecretStr.get_secret_value, SecretStr),
}
_ATOMS_BY_NAME: dict[str, Callable[[Any], Any]] = {name: read for name, _, read in _ATOMS.values()} | {'$float': float}


def _adapter(cls: Any) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _named(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    """Return classes by name; where two share one, the later goes by its module as well."""
    named: dict[str, type[Any]] = {}
    for cls in classes:
        named[cls.__name__ if cls.__name__ not in named else f'{cls.__module__}.{cls.__qualname__}'] = cls
    return named


def _holds_non_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, BaseModel):
        return any(map(_holds_non_finite, value.__dict__.values()))
    if isinstance(value, Mapping):
        return any(map(_holds_non_finite, value.keys())) or any(map(_holds_non_finite, value.values()))
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, np.ndarray)):
        return any(map(_holds_non_finite, value))
    return False


# -- which classes JSON says everything about ---------------------------------------------------------

_PLAIN = {str, int, bool, float, type(None), datetime, date, time, timedelta, Decimal, UUID, ID}
_PLAIN_KEYS = {str, int, UUID}
_CHECKS_ONLY = (annotated_types.BaseMetadata, annotated_types.GroupedMetadata, StringConstraints, FieldInfo)
_CHANGES_JSON = {
    'ser_json_timedelta',
    'ser_json_temporal',
    'ser_json_bytes',
    'val_json_bytes',
    'json_encoders',
    'use_enum_values',
}


def _json_says_all(annotation: Any, within: tuple[type[Any], ...] = ()) -> bool:
    """
    Return whether every value of a type comes back from pydantic's JSON as what it was.

    In doubt the answer is no: a new pydantic type is then stored the careful way, which is slower.
    `within` are the classes on the way here, for those that contain themselves in a list.
    """

    def says_all(inner: Any) -> bool:
        return _json_says_all(inner, within)

    if annotation in _PLAIN or is_tensor_type(annotation):
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
        return all(type(value) is str for value in values) or all(type(value) is int for value in values)
    if issubclass(cls, DocList):
        return cls.doc_type is not None and _json_says_all(cls.doc_type, within)
    if not issubclass(cls, BaseModel):
        return False
    decorators = cls.__pydantic_decorators__
    return (
        not (decorators.validators or decorators.field_validators or decorators.root_validators)
        and not (decorators.field_serializers or decorators.model_serializers or decorators.model_validators)
        and not _CHANGES_JSON & cls.model_config.keys()
        and cls.model_config.get('extra') != 'allow'
        and cls.__get_pydantic_core_schema__.__func__ is BaseModel.__get_pydantic_core_schema__.__func__  # type: ignore[attr-defined]
        and cls.__pydantic_root_model__ is False
        and all(
            _json_says_all(info.annotation, (*within, cls)) and _only_checks(info.metadata)
            for info in cls.model_fields.values()
        )
    )


def _only_checks(metadata: Iterable[object]) -> bool:
    return all(isinstance(item, _CHECKS_ONLY) or type(item).__name__ == 'PydanticGeneralMetadata' for item in metadata)


def _types_within(annotation: Any, seen: set[Any] | None = None) -> Iterator[Any]:
    """Yield every class that a type mentions, also through the fields of documents."""
    seen = set() if seen is None else seen
    arguments = get_args(annotation)
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        if issubclass(annotation, DocList) and annotation.doc_type is not None:
            arguments = (annotation.doc_type,)
        if issubclass(annotation, BaseModel):
            arguments = tuple(info.annotation for info in annotation.model_fields.values())
    if get_origin(annotation) is not Literal:
        for argument in arguments:
            yield from _types_within(argument, seen)


# -- tensors as bytes: a table of contents in JSON behind its length, then the arrays one after another -----


def _pack(tensors: Tensors) -> bytes | None:
    contents: list[list[Any]] = []
    arrays: list[bytes] = []
    for reference, array in (*tensors.vectors.items(), *enumerate(tensors.others)):
        is_vector = isinstance(reference, str)
        if array is None or (is_vector and array.dtype == np.float32):
            continue
        # A float16 or int8 vector is exact in float32: its type is all there is to keep.
        if is_vector and np.array_equal(array.astype(np.float32).astype(array.dtype), array):
            contents.append([reference, array.dtype.str, None])
        else:
            contents.append([reference, array.dtype.str, list(array.shape)])
            arrays.append(np.ascontiguousarray(array).tobytes())
    if not contents:
        return None
    table = json.dumps(contents, separators=(',', ':')).encode()
    return b''.join([struct.pack('<I', len(table)), table, *arrays])


def _unpack(packed: bytes, tensors: Tensors) -> None:
    (length,) = struct.unpack_from('<I', packed)
    offset = 4 + length
    for reference, dtype_name, shape in json.loads(packed[4:offset]):
        dtype = np.dtype(dtype_name)
        if shape is None:
            vector = tensors.vectors[reference]
            tensors.vectors[reference] = None if vector is None else vector.astype(dtype)
            continue
        # A copy: what a user gets can be written to.
        array = np.frombuffer(packed, dtype, math.prod(shape), offset).reshape(shape).copy()
        offset += array.nbytes
        if isinstance(reference, str):
            tensors.vectors[reference] = array
        else:
            tensors.others.append(array)


def _with_value(doc: D, path: Sequence[str], value: object) -> D:
    step, *rest = path
    return doc.model_copy(update={step: _with_value(getattr(doc, step), rest, value) if rest else value})
