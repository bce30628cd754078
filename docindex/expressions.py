"""
Filters as Python expressions, which an editor completes and a type checker sees.

    F = fields_of(Package)
    index.filter((F.size < 10_000) & is_in(F.section, ['games', 'math']) & ~F.name.startswith('lib'))

To a type checker `F` is a `Package`, so it knows the fields and their types: `F.size < 'big'` is an error there. What a
comparison gives is a `Filter`, checked against the schema at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from .errors import FilterError
from .filters import Filter, FilterLike
from .parsing import is_field, is_inside, parse
from .schema import Schema
from .values import step_to

D = TypeVar('D', bound=BaseModel)
T = TypeVar('T')


def fields_of(doc_type: type[D]) -> D:
    """
    Return what stands for the fields of a document class in filters.

    Comparisons `== != < <= > >=` give filters, `F.name.startswith('lib')` does, and so do the functions below.
    `F.author.name` is a field of a document inside, `F.meta['colour']` and `F.chapters[0]` are inside a dict or list.

    Raises:
        SchemaError: the class cannot be indexed.
    """
    return cast(D, _Fields(_schema(doc_type)))


@lru_cache(maxsize=256)
def _schema(doc_type: type[D]) -> Schema[D]:
    return Schema(doc_type)


def given(field: T | None) -> T:
    """
    Return a field that may be None, as one that is not: `given(F.price) < 10`, `given(F.author).born > 1900`.

    Only type checkers want that; a comparison with a missing value is false in any case.
    """
    return cast(T, field)


def is_in(field: Any, values: Iterable[Any]) -> Filter:
    """Return the filter for documents in which a field is one of `values`."""
    return FieldExpression.in_(_field(field), values)


def exists(field: Any) -> Filter:
    """Return the filter for documents in which a field is not None."""
    return FieldExpression.exists(_field(field))


def contains(field: Any, value: Any) -> Filter:
    """Return the filter for documents in which a list has this element, or a string this part."""
    return FieldExpression.contains(_field(field), value)


def contains_any(field: Any, values: Iterable[Any]) -> Filter:
    """Return the filter for documents in which a list has one of these elements."""
    return FieldExpression.contains_any(_field(field), values)


def contains_all(field: Any, values: Iterable[Any]) -> Filter:
    """Return the filter for documents in which a list has all of these elements."""
    return FieldExpression.contains_all(_field(field), values)


def regex(field: Any, pattern: str | re.Pattern[str]) -> Filter:
    """Return the filter for documents in which some part of a string matches a regular expression."""
    return FieldExpression.regex(_field(field), pattern)


def elem_match(field: Any, filter_: FilterLike) -> Filter:
    """
    Return the filter for documents that have one in a list of documents which fulfils a filter.

    `elem_match(F.chunks, (C.page > 3) & (C.text == 'x'))`, where `C = fields_of(Chunk)`: both of the same chunk.
    """
    return FieldExpression.elem_match(_field(field), filter_)


def size(field: Any) -> int:
    """Return what stands for the number of elements of a list or dict, `size(F.tags) > 3`; to a type checker an int."""
    return cast(int, FieldExpression.size(_field(field)))


def _field(field: Any) -> FieldExpression:
    if not isinstance(field, FieldExpression):
        raise FilterError(f'expected a field such as F.price, where F = fields_of(YourDocument); got {field!r}')
    return field


class _Fields:
    """See `fields_of`."""

    def __init__(self, schema: Schema[Any]) -> None:
        self._schema: Schema[Any] = schema

    def __getattr__(self, name: str) -> FieldExpression:
        if name.startswith('_'):
            raise AttributeError(name)
        return _expression(self._schema, name)

    def __dir__(self) -> list[str]:
        return list(self._schema.doc_type.model_fields)

    def __repr__(self) -> str:
        return f'fields_of({self._schema.name})'


class FieldExpression:
    """A field in a filter that is being written; see `fields_of`."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, schema: Schema[Any], name: str, operator: str | None = None) -> None:
        self._schema = schema
        self._name = name
        self._operator = operator

    def _is(self, operator: str, operand: Any) -> Filter:
        condition: dict[str, Any] = {operator: operand}
        return parse(self._schema, {self._name: {self._operator: condition} if self._operator else condition})

    def __eq__(self, other: object) -> Filter:  # type: ignore[override]
        return self._is('$eq', other)

    def __ne__(self, other: object) -> Filter:  # type: ignore[override]
        return self._is('$ne', other)

    def __lt__(self, other: object) -> Filter:
        return self._is('$lt', other)

    def __le__(self, other: object) -> Filter:
        return self._is('$lte', other)

    def __gt__(self, other: object) -> Filter:
        return self._is('$gt', other)

    def __ge__(self, other: object) -> Filter:
        return self._is('$gte', other)

    def as_filter(self) -> Filter:
        """Return the filter that a boolean field is by itself."""
        try:
            return self._is('$eq', True)
        except FilterError:
            raise FilterError(
                f'{self!r} is a field and no filter; compare it, and put comparisons in parentheses: (F.a < 1) & ...'
            ) from None

    def __and__(self, other: Filter | int) -> Filter:
        return self.as_filter() & other

    def __or__(self, other: Filter | int) -> Filter:
        return self.as_filter() | other

    def __invert__(self) -> Filter:
        return ~self.as_filter()

    def in_(self, values: Iterable[Any]) -> Filter:
        """See `is_in`."""
        return self._is('$in', values)

    def exists(self) -> Filter:
        """See `exists`."""
        return self._is('$exists', True)

    def contains(self, value: Any) -> Filter:
        """See `contains`."""
        return self._is('$contains', value)

    def contains_any(self, values: Iterable[Any]) -> Filter:
        """See `contains_any`."""
        return self._is('$any', values)

    def contains_all(self, values: Iterable[Any]) -> Filter:
        """See `contains_all`."""
        return self._is('$all', values)

    def startswith(self, prefix: str) -> Filter:
        """Return the filter for documents in which a string begins so."""
        return self._is('$startswith', prefix)

    def regex(self, pattern: str | re.Pattern[str]) -> Filter:
        """See `regex`."""
        return self._is('$regex', pattern)

    def elem_match(self, filter_: FilterLike) -> Filter:
        """See `elem_match`."""
        return self._is('$elemMatch', filter_)

    def size(self) -> FieldExpression:
        """See `size`."""
        return FieldExpression(self._schema, self._name, '$size')

    def __getitem__(self, key: Any) -> FieldExpression:
        step = step_to(key)
        if '__' in step:
            raise FilterError(f'{self!r}: the key {key!r} has two underscores in it, and cannot be named in a filter')
        if self._name.endswith('_') and is_inside(self._schema, self._name):
            raise FilterError(f'{self!r} ends with an underscore; what is inside of it cannot be named in a filter')
        return _expression(self._schema, f'{self._name}__{step}')

    def __getattribute__(self, name: str) -> Any:
        # A field of a document may be called `size`, as a method is here; the field is meant then.
        if not name.startswith('_'):
            schema, inner = self._schema, f'{self._name}__{name}'
            if inner in schema.nodes or (not hasattr(type(self), name) and is_field(schema, inner)):
                return FieldExpression(schema, inner)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        return self[name]

    def __bool__(self) -> bool:
        raise FilterError(f'{self!r} is a field and not a value; compare it, or ask exists({self!r})')

    def __iter__(self) -> Any:
        raise FilterError(f'{self!r} is a field and not a list; write contains({self!r}, ...) instead of "in"')

    def __repr__(self) -> str:
        return f'F.{self._name.replace("__", ".")}'


def _expression(schema: Schema[Any], name: str) -> FieldExpression:
    if name.startswith('__') or not is_field(schema, name):
        known = [field for field in schema.nodes if '__' not in field]
        raise AttributeError(f'{schema.name} has no field {name!r}; its fields are {", ".join(known)}')
    return FieldExpression(schema, name)
