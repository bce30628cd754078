"""
Filters as small typed trees; `Filter.matches` says what they mean. `docindex.parsing` makes them from dictionaries.

    {'price': {'$lt': 10}, 'section': {'$in': ['games', 'math']}}        several conditions mean "and"
    {'$or': [{'thumbnail__width': {'$gte': 640}}, {'tags': {'$contains': 'wide'}}]}

| operator | for | true if the value |
| --- | --- | --- |
| `$eq`, or the value itself | all | is equal; `{'price': None}`: is missing |
| `$ne`, `$neq` | all | is not equal, or missing |
| `$lt`, `$lte`, `$gt`, `$gte` | what has an order | is less, ... |
| `$in`, `$nin` | all | is one of these; is none of these, or missing |
| `$exists` | all | is there, or is not |
| `$regex` | strings | has a place that matches (Python's `re.search`) |
| `$startswith` | strings | begins so |
| `$contains` | strings, lists | has this as a part; as an element |
| `$any`, `$all` | lists | has one of these elements; has all of them |
| `$size` | lists, dicts | has so many elements; also `{'$size': {'$gte': 2}}` |
| `$elemMatch` | lists of documents with ids | has a document that fulfils a filter |
| `$and`, `$or`, `$not` | filters | |

A name reaches into documents, dicts and lists: `author__name`, `meta__colour`, `chapters__0__title` (one element), and
`chapters__title` (any element). Each condition is true or false: missing and None are the same, and make a condition
false, but for `$ne`, `$nin`, `$not` and `{'$exists': False}`, which are true where what they negate is false.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import BaseModel

from .errors import FilterError
from .kinds import Kind, canonical_of
from .values import OPAQUE, class_of, equal, is_less

SIZE = '__size'
"""A step of a path: from a list or dict to the number of its elements."""

_WORDS = {'$eq': '==', '$lt': '<', '$lte': '<=', '$gt': '>', '$gte': '>=', '$any': 'any of', '$all': 'all of'}


class Filter(ABC):
    """
    A condition on documents: checked, immutable, printable.

    `a & b`, `a | b` and `~a` combine filters.
    """

    @abstractmethod
    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document fulfils it: the meaning that every backend is held to."""

    def __repr__(self) -> str:
        return f'<Filter: {self}>'

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary, from which `parse` makes it again."""

    def __and__(self, other: Filter | int) -> Filter:
        parts = (self, _as_filter(other))
        return And(tuple(inner for part in parts for inner in (part.parts if isinstance(part, And) else (part,))))

    def __or__(self, other: Filter | int) -> Filter:
        parts = (self, _as_filter(other))
        return Or(tuple(inner for part in parts for inner in (part.parts if isinstance(part, Or) else (part,))))

    def __rand__(self, other: Filter | int) -> Filter:
        return _as_filter(other) & self

    def __ror__(self, other: Filter | int) -> Filter:
        return _as_filter(other) | self

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise FilterError(
            'a filter is neither true nor false by itself; combine filters with &, | and ~ (in parentheses), not with '
            '"and", "or" and "not", and write (1 < F.x) & (F.x < 5)'
        )


FilterLike = Filter | Mapping[str, Any] | int | None
"""What calls take. `F.price < 10` is a `Filter`; type checkers take it for a bool, and `~(F.price < 10)` for an int."""


@dataclass(frozen=True, repr=False)
class Condition(Filter):
    """
    A condition on one field.

    Attributes:
        field: The flat name of the column, or of a nested document.
        steps: The way to it in a document.
        path: The way from there into a dict or list; see `inside`.
        operator: `$eq $lt $lte $gt $gte $in $exists $regex $startswith $contains $any $all`.
        operand: What it is compared with, as a canonical value; `$in`, `$any` and `$all` have a tuple of them.
        kind: What the values of the column are.
    """

    field: str
    steps: tuple[str, ...]
    path: tuple[str, ...]
    operator: str
    operand: Any
    kind: Kind

    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document fulfils it."""
        value = value_at(doc, self.steps)
        if self.path == (SIZE,) and isinstance(value, list):
            return _holds(len(value), self.operator, self.operand)
        if self.kind.name == 'opaque':
            value = None if value is None else OPAQUE
        return holds(canonical_of(self.kind, value), self.path, self.operator, self.operand)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        operand = list(self.operand) if isinstance(self.operand, tuple) else self.operand
        condition = {self.operator: operand}
        path = self.path
        if path and path[-1] == SIZE:
            condition, path = {'$size': condition}, path[:-1]
        return {'__'.join((self.field, *path)): condition}

    def __str__(self) -> str:
        name = '__'.join((self.field, *self.path))
        if self.operator == '$exists':
            return f'{name} exists'
        operand = list(self.operand) if isinstance(self.operand, tuple) else self.operand
        return f'{name} {_WORDS.get(self.operator, self.operator.removeprefix("$"))} {operand!r}'


@dataclass(frozen=True, repr=False)
class Some(Filter):
    """
    A document in a list fulfils something.

    Attributes:
        field: The flat name of the list.
        steps: The way to it in a document.
        part: What one of its documents is to fulfil.
        position: Only the document in this place counts; None: any.
    """

    field: str
    steps: tuple[str, ...]
    part: Filter
    position: int | None = None

    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document has one in its list that fulfils the part."""
        docs: Any = value_at(doc, self.steps) or ()
        if self.position is not None:
            docs = docs[self.position : self.position + 1]
        return any(map(self.part.matches, docs))

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        return {self._name: {'$elemMatch': self.part.to_dict()}}

    @property
    def _name(self) -> str:
        return self.field if self.position is None else f'{self.field}__{self.position}'

    def __str__(self) -> str:
        return f'some {self._name} with {_in_parentheses(self.part)}'


@dataclass(frozen=True, repr=False)
class And(Filter):
    """All of these; of none at all, every document."""

    parts: tuple[Filter, ...] = ()

    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document fulfils all parts."""
        return all(part.matches(doc) for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        return {'$and': [part.to_dict() for part in self.parts]} if self.parts else {}

    def __str__(self) -> str:
        return ' and '.join(map(_in_parentheses, self.parts)) or 'all'


@dataclass(frozen=True, repr=False)
class Or(Filter):
    """One of these at least."""

    parts: tuple[Filter, ...]

    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document fulfils a part."""
        return any(part.matches(doc) for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        return {'$or': [part.to_dict() for part in self.parts]}

    def __str__(self) -> str:
        return ' or '.join(map(_in_parentheses, self.parts))


@dataclass(frozen=True, repr=False)
class Not(Filter):
    """Not this."""

    part: Filter

    def matches(self, doc: BaseModel) -> bool:
        """Return whether a document does not fulfil it."""
        return not self.part.matches(doc)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        return {'$not': self.part.to_dict()}

    def __str__(self) -> str:
        return f'not {_in_parentheses(self.part)}'


def _in_parentheses(part: Filter) -> str:
    return str(part) if isinstance(part, (Condition, Not, Some)) else f'({part})'


def _as_filter(other: object) -> Filter:
    other = by_itself(other)
    if not isinstance(other, Filter):
        raise FilterError(
            f'expected another filter, got {other!r}; put comparisons in parentheses: (F.a < 1) & (F.b > 2)'
        )
    return other


def by_itself(query: object) -> object:
    """Return the filter that a boolean field is, `F.is_new`; anything else as it is."""
    as_filter = getattr(type(query), 'as_filter', None)
    return query if as_filter is None else as_filter(query)


def value_at(doc: BaseModel, steps: Sequence[str]) -> Any:
    """Return what a document has there; None where something on the way is None."""
    if not isinstance(doc, BaseModel):
        raise FilterError(f'expected a document, got {type(doc).__name__}')
    value: Any = doc
    for step in steps:
        value = None if value is None else getattr(value, step, None)
    return value


# -- what a condition means --------------------------------------------------------------------------------


def holds(value: Any, path: Sequence[str], operator: str, operand: Any) -> bool:
    """Return whether a canonical value, or one that is inside of it at `path`, fulfils a condition."""
    if not path:
        return _holds(value, operator, operand)
    return any(_holds(found, operator, operand) for found in inside(value, path))


def inside(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what is in a canonical value at `path`: a key of a dict, a position in a list or all that is in it."""
    if not path:
        yield value
        return
    step, *rest = path
    if step == SIZE:
        if isinstance(value, (list, dict)):
            yield len(value)
    elif isinstance(value, dict):
        if step in value:
            yield from inside(value[step], rest)
    elif isinstance(value, list) and step.isdecimal():
        if len(step) < 19 and int(step) < len(value):
            yield from inside(value[int(step)], rest)
    elif isinstance(value, list):
        for element in value:
            yield from inside(element, path)


def _holds(value: Any, operator: str, operand: Any) -> bool:
    if value is None:
        return False
    kind = class_of(value)
    match operator:
        case '$exists':
            return True
        case '$eq':
            return equal(value, operand)
        case '$in':
            return any(equal(value, one) for one in operand)
        case '$lt':
            return is_less(value, operand)
        case '$lte':
            return is_less(value, operand) or equal(value, operand)
        case '$gt':
            return is_less(operand, value)
        case '$gte':
            return is_less(operand, value) or equal(value, operand)
        case '$regex':
            return kind == 'text' and re.search(operand, value) is not None
        case '$startswith':
            return kind == 'text' and value.startswith(operand)
        case '$contains' if kind == 'text':
            return class_of(operand) == 'text' and operand in value
        case '$contains':
            return kind == 'list' and any(equal(element, operand) for element in value)
        case '$any':
            return kind == 'list' and any(equal(element, one) for element in value for one in operand)
        case '$all':
            return kind == 'list' and all(any(equal(element, one) for element in value) for one in operand)
    raise ValueError(operator)
