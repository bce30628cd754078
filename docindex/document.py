"""
`BaseDoc`, which document classes inherit from, and when two documents are equal.

Tensor types stand in `docindex.tensors`, urls in `docindex.urls`; any other type that pydantic knows can be a field.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ._later import later
from .fields import Field
from .frameworks import NUMPY, Framework, framework_of
from .tensors import Tensor, vector_as_json_schema

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    ID = str
else:
    ModelMetaclass = type(BaseModel)

    class ID:
        """The type of a document's id: a string that is not empty."""

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            return core_schema.str_schema(strict=True, min_length=1)


M = TypeVar('M', bound=BaseModel)


def fresh_id() -> str:
    """Return 32 random hexadecimal digits, as DocArray does."""
    return os.urandom(16).hex()


@dataclass_transform(kw_only_default=True, field_specifiers=(Field, pydantic.Field, pydantic.PrivateAttr))
class _DocumentType(ModelMetaclass):
    """Tells type checkers that `docindex.Field` describes a field, as `pydantic.Field` does."""


class BaseDoc(BaseModel, metaclass=_DocumentType):
    """
    A document: a pydantic model with an `id`, by default a fresh unique one.

    Two documents are equal if all of their fields are, tensors element by element, NaN equal to NaN.
    Assigning to a field validates the value. A plain `pydantic.BaseModel` with an `id: str` can be
    indexed just as well.
    """

    model_config = ConfigDict(validate_assignment=True)

    id: ID = Field(default_factory=fresh_id)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, BaseDoc):
            return NotImplemented
        return _equal_fields(self, other)

    __hash__ = None  # type: ignore[assignment]  # equality looks at fields, and fields can change

    if TYPE_CHECKING:

        @property
        def summary(self) -> Any:
            """Print the document as a tree of its fields, with types and shapes: `doc.summary()`."""

    @classmethod
    def schema_summary(cls) -> None:
        """Print the document class as a tree of its fields, with types and settings."""
        display = later('display')
        display.show(display.schema_as_tree(cls))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        for field in handler.resolve_ref_schema(described).get('properties', {}).values():
            if isinstance(field.get('dim'), int) and field['dim'] > 0:
                _say_length(field, field['dim'])
        return described

    def _repr_html_(self) -> str:
        html: str = later('display').document_as_tree(self)._repr_html_()
        return html

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            framework = framework_of(value)
            is_long = framework is not None and math.prod(value.shape) > 6
            yield name, _ShortTensor(value, framework) if framework is not None and is_long else value


def _say_length(field: JsonSchemaValue, dim: int) -> None:
    """Say in the JSON schema of a field how long its vectors are, which its type need not say."""
    for described in [field, *field.get('anyOf', [])]:
        if 'array' in described.get('type', ''):
            described |= vector_as_json_schema(dim)


class _OnDocuments:
    """
    A method of documents that their classes do not have, so that a field may be called the same.

    Pydantic would warn of such a field, and take the method for its default.
    """

    def __init__(self, name: str, method: Callable[[BaseDoc], None]) -> None:
        self._name = name
        self._method = method

    def __get__(self, doc: BaseDoc | None, cls: type[BaseDoc]) -> Callable[[], None]:
        if doc is None:
            raise AttributeError(f'{cls.__name__} has no attribute {self._name!r}')
        return partial(self._method, doc)


def _print_summary(doc: BaseDoc) -> None:
    """Print the document as a tree of its fields, with types and shapes."""
    display = later('display')
    display.show(display.document_as_tree(doc))


BaseDoc.summary = _OnDocuments('summary', _print_summary)  # type: ignore[assignment, method-assign]


class _ShortTensor:
    """A tensor's type instead of its hundreds of numbers."""

    def __init__(self, tensor: Tensor, framework: Framework) -> None:
        self._tensor, self._framework = tensor, framework

    def __repr__(self) -> str:
        shape = ' x '.join(map(str, self._tensor.shape))
        kind = np.dtype(dtype) if (dtype := self._framework.dtype(self._tensor))[0] in '<>|' else dtype
        return f'<{shape} {kind}>' if self._framework is NUMPY else f'<{shape} {kind} {self._framework.name}>'


def with_value(doc: M, path: Sequence[str], value: object) -> M:
    """Return a copy of a document in which another value stands at the end of a path of fields, unvalidated."""
    step, *rest = path
    return doc.model_copy(update={step: with_value(getattr(doc, step), rest, value) if rest else value})


def _equal_fields(left: BaseModel, right: BaseModel) -> bool:
    # Not the whole __dict__, where cached properties stand too.
    mine, others = ({name: doc.__dict__.get(name) for name in type(left).model_fields} for doc in (left, right))
    return equal_values(mine, others) and equal_values(left.__pydantic_extra__, right.__pydantic_extra__)


def equal_values(left: object, right: object) -> bool:
    """Return whether two values are the same, looking into containers and comparing tensors as a whole."""
    framework = framework_of(left)
    if framework is not framework_of(right):
        return False
    if framework is not None:
        mine, others = framework.numbers(left), framework.numbers(right)
        may_be_nan = mine.dtype.kind == 'f' and others.dtype.kind == 'f'
        return np.array_equal(mine, others, equal_nan=may_be_nan)
    if isinstance(left, BaseModel) and not isinstance(left, BaseDoc) and type(left) is type(right):
        return _equal_fields(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal_values(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        same_length = isinstance(left, tuple) == isinstance(right, tuple) and len(left) == len(right)
        return same_length and all(map(equal_values, left, right))
    return bool(left == right)
