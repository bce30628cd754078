"""
Filters as expressions of Milvus.

What Milvus cannot say is said wider: an `Expression` that is not exact is true of all documents that fulfil the filter,
and of more. Negated it would be narrower, so negations are moved inwards until they stand at conditions, and each
condition is written in two ways: what is true wherever it holds, and what is true wherever it does not.

Engines differ where something is missing and under a `not` (Milvus Lite has three truth values, Milvus 2.3.5 two), so
each comparison stands beside a question for what it compares: `(a is null or a != 1)`. JSON is written so that a path
leads to values of one class, see `forms`, and nothing is compared across classes.

Run on Milvus Lite 3.2.2, and as far as it has the words (no `is null`, `like` for beginnings only) on Milvus 2.3.5; the
grammar of 3.0 was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, NamedTuple

from ..filters import SIZE, And, Condition, Filter, Not, Or, Some
from ..kinds import Kind
from ..translating import after, joined, normal
from ..values import canonical, class_of
from .columns import ScalarColumn
from .forms import LARGEST, LARGEST_INT64, Number, floor_of, key, nearest_of, scalar, token

_DEEPEST = 40
_MOST_PLACES = 8
_MOST_POSITIONS = 16
_EXACT_INTEGERS = 1 << 53  # from here on several integers are the same double
_COMPARISONS = {'$eq': '==', '$lt': '<', '$lte': '<=', '$gt': '>', '$gte': '>='}
_OPPOSITES = {'$lt': '$gte', '$lte': '$gt', '$gt': '$lte', '$gte': '$lt'}


@dataclass(frozen=True)
class Expression:
    """
    A condition on the rows of a collection.

    Attributes:
        text: In Milvus's language; empty: all rows.
        is_exact: Whether no other rows fulfil it than those that are meant. Those that are meant always do.
    """

    text: str
    is_exact: bool = True


ALL = Expression('')
ANY = Expression('', is_exact=False)
"""Nothing is known: all rows may be meant."""
NONE = Expression('id == ""')
"""No id is empty. `id in []`, or `false`, is not taken by all engines."""

_ID = ScalarColumn('id', 'id', 'VARCHAR', is_nullable=False)


def expression(
    filter_: Filter,
    columns: Mapping[str, ScalarColumn],
    documents_with: Callable[[Some], Sequence[str] | None],
) -> Expression:
    """
    Return a filter as an expression.

    Args:
        filter_: The filter, checked against the schema.
        columns: The fields that the collection has. Of others nothing can be said.
        documents_with: Returns the ids of all documents that have one in a list which fulfils something; None, if they
            are too many.
    """
    return _Writer(columns, documents_with).write(normal(filter_))


# -- parts of expressions -------------------------------------------------------------------------------


def all_of(parts: Iterable[Expression]) -> Expression:
    """Return what is true where all parts are."""
    parts = list(parts)
    if NONE in parts:
        return NONE
    texts = list(dict.fromkeys(part.text for part in parts if part.text))
    return Expression(_joined(texts, ' and '), all(part.is_exact for part in parts))


def any_of(parts: Iterable[Expression]) -> Expression:
    """Return what is true where one of the parts is."""
    parts = [part for part in parts if part != NONE]
    if not parts:
        return NONE
    if ALL in parts:
        return ALL
    if ANY in parts:
        return ANY
    texts = list(dict.fromkeys(part.text for part in parts))
    return Expression(_joined(texts, ' or '), all(part.is_exact for part in parts))


def _joined(texts: Sequence[str], word: str) -> str:
    return joined(texts, word) if len(texts) > 1 else ''.join(texts)


def _wider(part: Expression) -> Expression:
    return Expression(part.text, is_exact=False)


def literal(value: str | bool | float) -> str:
    r"""
    Return a value as it stands in an expression.

    A string has all characters as they are but five. Milvus Lite knows no `\u0001`, and nothing but these five ends a
    string or begins an escape, in its tokenizer and in the server's grammar.
    """
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    return repr(value).lower() if isinstance(value, bool) else repr(value)


_ESCAPES = str.maketrans({'\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t'})


def _literals(values: Iterable[Any]) -> str:
    return f'[{", ".join(map(literal, dict.fromkeys(values)))}]'


def _exists(path: str) -> Expression:
    # Milvus 2.3.5 takes `exists` for no condition beside `and` and `or`, and its negation for one.
    return Expression(f'not (not (exists {path}))')


def _is_missing(path: str) -> Expression:
    return Expression(f'not (exists {path})')


# -- filters --------------------------------------------------------------------------------------------


class _Writer:
    """Writes filters in which negations stand at conditions."""

    def __init__(
        self, columns: Mapping[str, ScalarColumn], documents_with: Callable[[Some], Sequence[str] | None]
    ) -> None:
        self._columns = {**columns, 'id': _ID}
        self._documents_with = documents_with

    def write(self, filter_: Filter, depth: int = 0) -> Expression:
        if depth > _DEEPEST:
            return ANY
        if isinstance(filter_, (And, Or)):
            combined = all_of if isinstance(filter_, And) else any_of
            return combined([self.write(part, depth + 1) for part in filter_.parts])
        is_negated = isinstance(filter_, Not)
        part = filter_.part if isinstance(filter_, Not) else filter_
        if isinstance(part, Some):
            return self._some(part, is_negated)
        if not isinstance(part, Condition):
            raise TypeError(part)
        column = self._columns.get(part.field)
        return ANY if column is None else _condition(part, column, is_negated)

    def _some(self, some: Some, is_negated: bool) -> Expression:
        ids = self._documents_with(some)
        if ids is None:
            return ANY
        if not ids:
            return ALL if is_negated else NONE
        return Expression(f'id {"not in" if is_negated else "in"} {_literals(ids)}')


def _condition(condition: Condition, column: ScalarColumn, is_negated: bool) -> Expression:
    name, operator, operand = column.name, condition.operator, condition.operand
    if column.kind.name == 'opaque' and column.data_type == 'BOOL':
        return Expression(f'{name} == {literal(not is_negated)}')
    if operator == '$exists' and (column.data_type != 'JSON' or not condition.path):
        found = NONE if is_negated else ALL
    elif column.data_type == 'JSON':
        found = _in_json(name, condition, is_negated)
    else:
        found = _compared(name, _Stored(column), operator, operand, is_negated)
    return _where_there(column, found, is_negated)


def _where_there(column: ScalarColumn, found: Expression, is_negated: bool) -> Expression:
    """Return a comparison of what may be missing: then the condition does not hold, and its negation does."""
    if not column.is_nullable:
        return found
    if is_negated:
        return any_of([Expression(f'{column.name} is null'), found])
    return all_of([Expression(f'{column.name} is not null'), found])


# -- scalars --------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """
    Where an operand lies among the values that are stored.

    Attributes:
        value: The same as it is stored; if it is not, the next that is less.
        is_stored: Whether it is.
        is_alone: Whether nothing else is stored as this is.
    """

    value: Any
    is_stored: bool = True
    is_alone: bool = True


class _Stored:
    """The values in a column: where an operand lies among them."""

    def __init__(self, column: ScalarColumn) -> None:
        self._column = column

    def point(self, operand: Any) -> _Point:
        column = self._column
        if column.kind.name not in ('number', 'opaque'):
            return _Point(column.stored(operand))
        return _among_integers(operand) if column.data_type == 'INT64' else _among_rounded(operand)


def _among_integers(operand: Number) -> _Point:
    if not -LARGEST_INT64 < operand < LARGEST_INT64:
        return _Point(LARGEST_INT64 if operand > 0 else -LARGEST_INT64, is_alone=False)
    return _Point(floor(operand), floor(operand) == operand)


def _among_rounded(operand: Number) -> _Point:
    if not -_EXACT_INTEGERS < operand < _EXACT_INTEGERS:
        return _Point(nearest_of(operand), is_alone=False)
    return _Point(floor_of(operand), floor_of(operand) == operand)


class _Doubles:
    """Numbers that are doubles, none of them rounded."""

    def point(self, operand: Number) -> _Point:
        return _Point(floor_of(operand), floor_of(operand) == operand, is_alone=operand >= -LARGEST)


class _BetweenDoubles:
    """Numbers that are no doubles, as the double below them."""

    def point(self, operand: Number) -> _Point:
        return _Point(floor_of(operand), is_alone=False)


class _Same:
    """Values that are stored as they are written in expressions."""

    def point(self, operand: Any) -> _Point:
        return _Point(operand)


def _compared(
    name: str,
    values: _Stored | _Doubles | _BetweenDoubles | _Same,
    operator: str,
    operand: Any,
    is_negated: bool,
) -> Expression:
    """Return a comparison of a scalar that is there, or its negation."""
    if operator == '$regex':
        return ANY
    if operator == '$startswith':
        return _begins(name, operand, is_negated)
    if operator == '$contains':
        return _has_part(name, operand, is_negated)
    if operator == '$in':
        return _is_in(name, [values.point(one) for one in operand], is_negated)
    point = values.point(operand)
    if operator == '$eq':
        return _is_equal(name, point, is_negated)
    return _is_before_or_behind(name, _OPPOSITES[operator] if is_negated else operator, point)


def _is_equal(name: str, point: _Point, is_negated: bool) -> Expression:
    if not point.is_stored:
        return ALL if is_negated else NONE
    if is_negated and not point.is_alone:
        return ANY
    return Expression(f'{name} {"!=" if is_negated else "=="} {literal(point.value)}', point.is_alone)


def _is_before_or_behind(name: str, operator: str, point: _Point) -> Expression:
    is_before = operator in ('$lt', '$lte')
    if not point.is_alone:
        operator = '$lte' if is_before else '$gte'
    elif not point.is_stored:  # it lies between this value and the next
        operator = '$lte' if is_before else '$gt'
    return Expression(f'{name} {_COMPARISONS[operator]} {literal(point.value)}', point.is_alone)


def _is_in(name: str, points: Sequence[_Point], is_negated: bool) -> Expression:
    stored = [point for point in points if point.is_stored]
    is_exact = all(point.is_alone for point in stored)
    if is_negated:  # what may be another value stays
        stored = [point for point in stored if point.is_alone]
    if not stored:
        return Expression('', is_exact) if is_negated else NONE
    word = 'not in' if is_negated else 'in'
    return Expression(f'{name} {word} {_literals(point.value for point in stored)}', is_exact)


def _begins(name: str, prefix: str, is_negated: bool) -> Expression:
    # A range: `like` has no way to mean a percent sign that all engines understand.
    end = after(prefix)
    if not prefix:
        return NONE if is_negated else ALL
    parts = [Expression(f'{name} {"<" if is_negated else ">="} {literal(prefix)}')]
    if end is not None:
        parts.append(Expression(f'{name} {">=" if is_negated else "<"} {literal(end)}'))
    return any_of(parts) if is_negated else all_of(parts)


def _has_part(name: str, part: str, is_negated: bool) -> Expression:
    if not part:
        return NONE if is_negated else ALL
    if re.search(r'[%_\\]', part):  # a backslash escapes on a server, and in Milvus Lite sometimes
        pattern = re.sub(r'[%_\\]+', '%', f'%{part}%')
        return ANY if is_negated else Expression(f'{name} like {literal(pattern)}', is_exact=False)
    found = f'{name} like {literal(f"%{part}%")}'
    return Expression(f'not ({found})' if is_negated else found)


# -- JSON -----------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """
    Something inside of a JSON column.

    Attributes:
        path: The way to it.
        kind: What it can be.
        is_element: Whether it is in a list: then scalars are strings.
    """

    path: str
    kind: Kind
    is_element: bool = False


_WHATEVER = Kind('any', is_ordered=True)


def _in_json(name: str, condition: Condition, is_negated: bool) -> Expression:
    """Return a condition on what is in a JSON column, or its negation."""
    if condition.operator == '$in':  # Milvus Lite has `in` for columns, and not for what is inside of them
        each = [
            _in_json(name, replace(condition, operator='$eq', operand=one), is_negated) for one in condition.operand
        ]
        return all_of(each) if is_negated else any_of(each)
    *steps, last = condition.path or ('',)
    is_size = last == SIZE
    found = _places(_Place(name, condition.kind), steps if is_size else condition.path)
    if found is None:
        return ANY
    places, elsewhere = found
    operator, operand = condition.operator, condition.operand
    each = [
        _size(place, operator, operand, is_negated) if is_size else _value(place, operator, operand, is_negated)
        for place in places
    ]
    # What is in each element of a list cannot be asked for: one that is there may fulfil the condition.
    if is_negated:
        return all_of([*each, *(ANY for _ in elsewhere)])
    return any_of([*each, *(_wider(_exists(path)) for path in elsewhere)])


def _places(start: _Place, steps: Sequence[str]) -> tuple[list[_Place], list[str]] | None:
    """Return where a path may lead, and lists in which it leads to each element; None, if there are too many."""
    places, elsewhere = [start], []
    for step in steps:
        outer, places = places, []
        for path, kind, _ in outer:
            inner = kind.step(step) or _WHATEVER
            if kind.name in ('dict', 'any') and canonical(step) == step:  # no key has half a surrogate pair
                places.append(_Place(f'{path}["dict"][{literal(key(step))}]', inner))
            if kind.name in ('list', 'any') and not step.isdecimal():
                elsewhere.append(f'{path}["list"]')
            elif kind.name in ('list', 'any') and len(step) < 19:
                places.append(_Place(f'{path}["list"][{int(step)}]', inner, is_element=True))
        if len(places) > _MOST_PLACES:
            return None
    return places, elsewhere


def _size(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    path = f'{place.path}["size"]'
    if operator == '$exists':
        return _is_missing(path) if is_negated else _exists(path)
    return _at(path, _Doubles(), operator, operand, is_negated)


def _at(
    path: str, values: _Doubles | _BetweenDoubles | _Same, operator: str, operand: Any, is_negated: bool
) -> Expression:
    """Return a comparison of a scalar of one class that may be missing, or its negation."""
    found = _compared(path, values, operator, operand, is_negated)
    if is_negated:
        return any_of([_is_missing(path), found])
    return found if found.text else all_of([_exists(path), found])


def _value(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    """Return a condition on what is in one place, or its negation."""
    path, may_be = place.path, place.kind.name
    if operator in ('$any', '$all'):
        return _elements(f'{path}["list"]', operator, operand, is_negated)
    if operator == '$contains':
        each = []
        if may_be != 'list' and class_of(operand) == 'text':
            each.append(_scalar(place, operator, operand, is_negated))
        if may_be in ('list', 'any'):
            each.append(_elements(f'{path}["list"]', '$any', (operand,), is_negated))
        return all_of(each) if is_negated else any_of(each)
    if operator == '$eq' and class_of(operand) in ('list', 'dict'):
        return _equal_container(path, operand, is_negated)
    return _scalar(place, operator, operand, is_negated)


def _scalar(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    path = place.path
    if place.is_element:
        return _element(path, operator, operand, is_negated)
    if operator == '$exists':
        return _is_missing(path) if is_negated else _exists(path)
    if operator in ('$regex', '$startswith', '$contains') or class_of(operand) == 'text':
        return _at(f'{path}["text"]', _Same(), operator, operand, is_negated)
    if class_of(operand) != 'number':
        return _at(f'{path}["{class_of(operand)}"]', _Same(), operator, scalar(operand), is_negated)
    doubles = _at(f'{path}["number"]', _Doubles(), operator, operand, is_negated)
    others = _between(f'{path}["above"]', operator, operand, is_negated)
    return all_of([doubles, others]) if is_negated else any_of([doubles, others])


def _between(path: str, operator: str, operand: Number, is_negated: bool) -> Expression:
    """Return a comparison with a number that lies between the double at a path and the next; or its negation."""
    value = floor_of(operand)
    if value != operand or abs(value) == LARGEST:
        return _at(path, _BetweenDoubles(), operator, operand, is_negated)
    if operator == '$eq':
        return ALL if is_negated else NONE
    # No such number is equal to the operand.
    return _at(path, _Same(), '$gte' if operator in ('$gt', '$gte') else '$lt', value, is_negated)


def _element(path: str, operator: str, operand: Any, is_negated: bool) -> Expression:
    """Return a condition on an element of a list; it may be None, or a list or dict itself."""
    if is_negated:
        return ANY
    if operator == '$eq':
        return Expression(f'{path} == {literal(token(operand))}')
    return _wider(_exists(path))


def _elements(path: str, operator: str, operands: Sequence[Any], is_negated: bool) -> Expression:
    """Return that a list has one or all of some elements, or that it does not, or is no list."""
    scalars = [token(one) for one in operands if class_of(one) not in ('list', 'dict')]
    is_exact = len(scalars) == len(operands)
    if is_negated and not is_exact:
        return ANY
    if not operands and operator == '$any':
        return ALL if is_negated else NONE
    if not scalars or (operator == '$any' and not is_exact):
        return _is_missing(path) if is_negated else Expression(_exists(path).text, is_exact)
    found = f'json_contains_{operator[1:]}({path}, {_literals(scalars)})'
    return any_of([_is_missing(path), Expression(f'not ({found})')]) if is_negated else Expression(found, is_exact)


def _equal_container(path: str, operand: list[Any] | dict[str, Any], is_negated: bool) -> Expression:
    """Return that something is a list or dict with as many elements, and where that can be asked for, with these."""
    inside = f'{path}["{class_of(operand)}"]'
    size = _at(f'{path}["size"]', _Doubles(), '$eq', len(operand), is_negated)
    if is_negated:
        return any_of([_is_missing(inside), size]) if not operand else ANY
    if isinstance(operand, dict) or len(operand) > _MOST_POSITIONS:
        return all_of([_exists(inside), Expression(size.text, is_exact=not operand)])
    each = [
        _value(_Place(f'{inside}[{at}]', _WHATEVER, True), '$eq', one, False)
        for at, one in enumerate(operand)
        if one is not None
    ]
    is_exact = all(class_of(one) not in ('list', 'dict', 'none', 'opaque') for one in operand)
    return all_of([_exists(inside), Expression(size.text, is_exact), *each])
