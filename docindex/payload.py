"""
A document as bytes, and back, exactly.

`docindex.plain` says whether pydantic's JSON would do for a document; that is written and read in about two
microseconds each way. Otherwise `docindex.typed` writes it. Either way tensors stand beside the
JSON, as `docindex.packing` writes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .annotations import types_within, unwrap
from .document import with_value
from .errors import DocumentError, MissingLibraryError
from .packing import Packing, alias
from .plain import checks_values, json_loses, json_says_all
from .refusals import check_known, explain, unknown_of
from .schema import Column
from .tensors import Float32Array, LostTensorError, Tensor, TensorColumns, Tensors, TensorsInTurn, framework_of_type
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
        columns = list(columns)
        self._paths = {column.name: column.path for column in columns}
        self._lists = list(lists)
        self._packing = Packing({column.name: framework_of_type(column.annotation) for column in columns})
        self._typed = TypedJson(doc_type)
        # An empty list may not be what a class allows; then it is not to be validated.
        is_known = not unknown_of(doc_type)
        self.is_plain = (
            is_known
            and json_says_all(doc_type)
            and not any(_is_constrained(doc_type, column) for column in self._lists)
        )
        self._has_checks = self.is_plain and checks_values(doc_type)
        are_stored = all(column.is_stored for column in columns)
        self._is_alike = self.is_plain and are_stored and not self._packing.makes_tensors
        self._optional = [name for name, info in doc_type.model_fields.items() if unwrap(info.annotation)[1]]
        types = set(types_within(doc_type))
        self._has_floats = float in types
        self._has_decimals = Decimal in types
        self._has_times = bool(types & {datetime, time})

    def fitting(self, doc: D) -> D:
        """
        Return a document with the values that its class would make of them, which mostly is the document itself.

        Nobody may have checked a default, an assignment, or what was put into a list; what filters look at would not be
        what comes back then, or nothing would. Where code of the user's makes documents, they stay as they are, for a
        validator need not like its own output.

        Raises:
            DocumentError: a value does not fit.
        """
        if not self.is_plain or not (self._has_checks or self._has_other_types(doc)):
            return doc
        doc = self._without_lists(doc)
        fields = {name: doc.__dict__[name] for name in self._doc_type.model_fields if name in doc.__dict__}
        try:
            return self._validated(fields)
        except ValidationError as error:
            raise DocumentError(explain(error)) from error

    def _validated(self, fields: dict[str, Any]) -> D:
        """Return the document that pydantic makes of the values in another."""
        validated = self._doc_type.__pydantic_validator__.validate_python(
            _as_dicts(fields), by_alias=False, by_name=True, context=None
        )
        return cast(D, validated)

    def _has_other_types(self, doc: D) -> bool:
        try:
            self._doc_type.__pydantic_serializer__.to_python(doc, warnings='error')
        except (PydanticSerializationError, TypeError):  # pydantic would put dicts into a set of documents
            return True
        except AttributeError:
            return False  # `dump` says which field is missing
        return False

    def dump(
        self, doc: D, vectors: Mapping[str, Tensor | None], rounded: Collection[str] = ()
    ) -> tuple[bytes, bytes | None]:
        """
        Return a document's JSON as UTF-8, and its tensors as bytes; `docindex.packing` says which.

        Args:
            doc: A document of the class; what a subclass adds is left out.
            vectors: The values of its vector columns by flat name, None where there is none. As float32 they are kept
                elsewhere; here go those that would not come back exactly from float32.
            rounded: The columns whose vectors need not come back exactly: none of them goes here.

        Raises:
            DocumentError: a value cannot be stored.
        """
        check_known(self._doc_type)
        if len(vectors) > 1:
            doc, vectors = self._unshared(doc, vectors)
        doc = self._without_lists(doc)
        tensors = Tensors(vectors)
        text = (self._dump_plain(doc, tensors) if self.is_plain else None) or self._dump_typed(doc, tensors)
        return text, self._packing.pack(tensors, rounded)

    def dump_alike(self, docs: Sequence[D], columns: Mapping[str, Sequence[Tensor | None]]) -> list[bytes] | None:
        """
        Return the JSON that `dump` returns for each of some documents, in half of the time.

        None, if they are not all of the plainest kind: JSON, with nothing beside it that the vector files do not have.

        Args:
            docs: The documents.
            columns: Their vector columns, by flat name.
        """
        # Then each begins alike, which is by what they are told apart.
        are_alike = self._is_alike and len({tuple(doc.__dict__) for doc in docs}) == 1
        if not are_alike or not self._packing.is_nothing(columns):
            return None
        text = self._json_of(docs, columns)
        dumped = None if text is None else _objects_in(text, len(docs))
        if text is None or dumped is None:
            return None
        if any(self._may_be_lost(one) and json_loses(doc) for one, doc in zip(dumped, docs, strict=True)):
            return None
        if self._has_checks or self._may_be_refused(text, docs):
            back = self.load_alike([(one, None) for one in dumped], columns)
            if back is None or self._json_of(back, columns) != text:
                return None  # see `fitting`
        return dumped

    def _json_of(self, docs: Sequence[D], columns: Mapping[str, Sequence[Tensor | None]]) -> bytes | None:
        """Return documents as a JSON list; None, if it would not say all of them."""
        tensors = TensorsInTurn(columns)
        try:
            text: bytes = self._all_alike.serializer.to_json(
                [self._without_lists(doc) for doc in docs],
                context=tensors,
                by_alias=False,
                round_trip=True,
                warnings='error',
            )
        except (PydanticSerializationError, AttributeError, LostTensorError):
            return None  # `dump` says which of them
        return text if tensors.are_used_up() else None

    def load(self, text: bytes, packed: bytes | None, vectors: Mapping[str, Float32Array | None]) -> D:
        """
        Return the document that `dump` was given; `vectors` are its vector columns by flat name, as float32.

        Raises:
            DocumentError: it does not fit its class any more, or never did.
            LostTensorError: it refers to a vector that is None.
            MissingLibraryError: it holds a tensor of a framework that is not installed.
        """
        tensors = Tensors(vectors)
        try:
            self._packing.unpack(packed, tensors)
            if text.startswith(b'['):
                return cast(D, self._typed.load(text, tensors))
        except (LostTensorError, DocumentError, MissingLibraryError):
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

    def load_alike(
        self, contents: Sequence[tuple[bytes, bytes | None]], columns: Mapping[str, Sequence[Float32Array | None]]
    ) -> list[D] | None:
        """
        Return what `load` returns for each of some documents, in less than half of the time.

        None, if they are not all of the plainest kind: JSON, with nothing beside it that the vector files do not have.

        Args:
            contents: The JSON and the tensors of each.
            columns: Their vector columns, by flat name.
        """
        if not self._is_alike or any(packed is not None or text[:1] == b'[' for text, packed in contents):
            return None
        tensors = TensorColumns(columns)
        try:
            docs: list[D] = self._all_alike.validator.validate_json(
                b'[%b]' % b','.join([text for text, _ in contents]), context=tensors, by_alias=False, by_name=True
            )
        except (ValidationError, LostTensorError):
            return None  # `load` says which of them
        # Each tensor was taken once, in turn, or something else than these documents was read.
        return docs if len(docs) == len(contents) and tensors.are_used_up() else None

    @cached_property
    def _all_alike(self) -> TypeAdapter[list[D]]:
        return TypeAdapter(list[self._doc_type])  # type: ignore[name-defined]

    def _without_lists(self, doc: D) -> D:
        """Return a document with empty lists in the place of those that are kept elsewhere."""
        for column in self._lists:
            full = column.value(doc)
            if full:
                doc = with_value(doc, column.path, type(full)())
        return doc

    def _unshared(self, doc: D, vectors: Mapping[str, Tensor | None]) -> tuple[D, Mapping[str, Tensor | None]]:
        """Return a document in which no two vector columns are one object: each is referred to by its own name."""
        present = [id(vector) for vector in vectors.values() if vector is not None]
        if len(set(present)) == len(present):
            return doc, vectors
        apart: dict[str, Tensor | None] = {}
        for name, vector in vectors.items():
            is_shared = vector is not None and any(vector is other for other in apart.values())
            apart[name] = alias(vector) if is_shared else vector
            if is_shared:
                doc = with_value(doc, self._paths[name], apart[name])
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
        if self._may_be_refused(dumped, [doc]):
            self._check_types(doc)
        return None if self._may_be_lost(dumped) and json_loses(doc) else dumped

    def _may_be_refused(self, dumped: bytes, docs: Sequence[D]) -> bool:
        """
        Return whether a class may refuse a value that pydantic has written: None in any field, or Decimal('NaN').

        Nobody may have checked a default, or what was put into a list.
        """
        known = sum([doc.__dict__.get(name, '') is None for name in self._optional for doc in docs])
        is_infinite = self._has_decimals and (b'NaN' in dumped or b'Infinity' in dumped)
        return is_infinite or dumped.count(b'null') > known

    def _may_be_lost(self, dumped: bytes) -> bool:
        """Return whether there may be a value of which pydantic's JSON does not say all: an infinite number, say."""
        return self._has_times or (self._has_floats and b'null' in dumped)

    def _dump_typed(self, doc: D, tensors: Tensors) -> bytes:
        tensors.forget()
        try:
            self._doc_type.__pydantic_serializer__.to_python(doc, warnings='error')
        except (PydanticSerializationError, AttributeError, TypeError) as error:
            self._check_types(doc, error)
        return self._typed.dump(doc, tensors)

    def _check_types(self, doc: D, cause: Exception | None = None) -> None:
        # Either a value is of a wrong type (put there by model_construct, say), or JSON has no way to say it.
        fields = {**doc.__dict__, **(doc.__pydantic_extra__ or {})}
        try:
            self._validated(fields)
        except ValidationError as error:
            raise DocumentError(explain(error)) from cause


def _objects_in(text: bytes, count: int) -> list[bytes] | None:
    """
    Return the JSON of each object in a JSON list of so many, which all begin with the same name.

    None, if it cannot be told so simply. What stands between two of them cannot stand in a string, where quotes are
    escaped, nor overlap with itself; so if it is there often enough and no more, each is what it seems.
    """
    begin = text[1 : text.index(b':') + 1]
    pieces = text[1 + len(begin) : -2].split(b'},' + begin)
    return [b'%b%b}' % (begin, piece) for piece in pieces] if len(pieces) == count else None


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
