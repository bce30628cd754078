"""
A document as bytes, and back, exactly.

`docindex.plain` says whether pydantic's JSON would do for a document; that is written and read in about two
microseconds each way. Otherwise `docindex.typed` writes it. Either way tensors stand beside the JSON.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from typing import Any, Generic, TypeVar, cast

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import DocumentError
from .plain import json_loses, json_says_all, types_within
from .schema import Column, explain
from .tensors import Array, Float32Array, LostTensorError, Tensors
from .typed import TypedJson

D = TypeVar('D', bound=BaseModel)


class Payloads(Generic[D]):
    """
    Writes and reads the documents of one class.

    Args:
        doc_type: The document class.
        columns: Its vector columns.
        lists: Those of its lists of documents that are kept elsewhere; what is written has empty ones.
    """

    def __init__(self, doc_type: type[D], columns: Iterable[Column], lists: Iterable[Column] = ()) -> None:
        self._doc_type = doc_type
        self._paths = {column.name: column.path for column in columns}
        self._lists = list(lists)
        self._typed = TypedJson(doc_type)
        # An empty list may not be what a class allows; then it is not to be validated.
        self.is_plain = json_says_all(doc_type) and not any(_is_constrained(doc_type, column) for column in self._lists)
        types = set(types_within(doc_type))
        self._has_floats = float in types
        self._has_times = bool(types & {datetime, time})

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
        for column in self._lists:
            full = column.value(doc)
            if full:
                doc = _with_value(doc, column.path, type(full)())
        tensors = Tensors(vectors)
        text = (self._dump_plain(doc, tensors) if self.is_plain else None) or self._dump_typed(doc, tensors)
        return text, _pack(tensors)

    def load(self, text: bytes, packed: bytes | None, vectors: Mapping[str, Float32Array | None]) -> D:
        """
        Return the document that `dump` was given; `vectors` are its vector columns by flat name, as float32.

        Raises:
            DocumentError: it does not fit its class any more, or never did.
            LostTensorError: it refers to a vector that is None.
        """
        tensors = Tensors(vectors)
        try:
            if packed is not None:
                _unpack(packed, tensors)
            if text.startswith(b'['):
                return cast(D, self._typed.load(text, tensors))
        except (LostTensorError, DocumentError):
            raise
        except Exception as error:  # whatever a stranger wrote there, or a class that has changed since
            raise DocumentError(f'a stored document does not fit {self._doc_type.__name__}: {error!r}') from error
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
        except AttributeError as error:
            raise DocumentError(f'a field is missing: {error}') from error
        if (self._has_times or (self._has_floats and b'null' in dumped)) and json_loses(doc):
            return None
        return dumped

    def _dump_typed(self, doc: D, tensors: Tensors) -> bytes:
        tensors.others.clear()
        try:
            self._doc_type.__pydantic_serializer__.to_python(doc, warnings='error')
        except (PydanticSerializationError, AttributeError) as error:
            self._check_types(doc, error)
        return self._typed.dump(doc, tensors)

    def _check_types(self, doc: D, cause: Exception) -> None:
        # Either a value is of a wrong type (put there by model_construct, say), or JSON has no way to say it.
        fields = {**doc.__dict__, **(doc.__pydantic_extra__ or {})}
        try:
            self._doc_type.__pydantic_validator__.validate_python(
                _as_dicts(fields), by_alias=False, by_name=True, context=None
            )
        except ValidationError as error:
            raise DocumentError(explain(error)) from cause


def _is_constrained(doc_type: type[BaseModel], column: Column) -> bool:
    """Return whether a class says more of a list than what is in it."""
    *outer, name = column.path
    for step in outer:
        doc_type = next(
            one for one in types_within(doc_type.model_fields[step].annotation) if issubclass(one, BaseModel)
        )
    info = doc_type.model_fields[name]
    return bool(info.metadata) or 'Annotated' in repr(info.annotation)


def _as_dicts(value: Any) -> Any:
    """Return documents within `value` as dicts: pydantic takes an instance as it is, right or wrong."""
    if isinstance(value, BaseModel) and not type(value).__pydantic_root_model__:
        return {name: _as_dicts(item) for name, item in {**value.__dict__, **(value.__pydantic_extra__ or {})}.items()}
    if type(value) is dict:
        return {name: _as_dicts(item) for name, item in value.items()}
    return [_as_dicts(item) for item in value] if type(value) is list else value


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
