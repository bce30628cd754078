"""
Comparisons of scalars: columns, and what JSON has at a path.

Not every operand is a value that can be stored: 1.5 is no INT64, and what lies outside of 64 bits shares a value with
others. A `Point` says so, and the comparison becomes one with the next value, or one that is true of more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor
from typing import Any, NamedTuple, Protocol

from ..translating import after
from .columns import ScalarColumn
from .forms import LARGEST, LARGEST_INT64, Number, floor_of, nearest_of
from .terms import ALL, ANY, NONE, Expression, all_of, any_of, literal, literals

_EXACT_INTEGERS = 1 << 53  # from here on several integers are the same double
_COMPARISONS = {'$eq': '==', '$lt': '<', '$lte': '<=', '$gt': '>', '$gte': '>='}
_OPPOSITES = {'$lt': '$gte', '$lte': '$gt', '$gt': '$lte', '$gte': '$lt'}


class Point(NamedTuple):
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


class Values(Protocol):
    """The values among which an operand lies."""

    def point(self, operand: Any) -> Point:
        """Return where."""


class Stored:
    """The values in a column: where an operand lies among them."""

    def __init__(self, column: ScalarColumn) -> None:
        self._column = column

    def point(self, operand: Any) -> Point:
        column = self._column
        if column.kind.name not in ('number', 'opaque'):
            return Point(column.stored(operand))
        return _among_integers(operand) if column.data_type == 'INT64' else _among_rounded(operand)


def _among_integers(operand: Number) -> Point:
    if not -LARGEST_INT64 < operand < LARGEST_INT64:
        return Point(LARGEST_INT64 if operand > 0 else -LARGEST_INT64, is_alone=False)
    return Point(floor(operand), floor(operand) == operand)


def _among_rounded(operand: Number) -> Point:
    if not -_EXACT_INTEGERS < operand < _EXACT_INTEGERS:
        return Point(nearest_of(operand), is_alone=False)
    return Point(floor_of(operand), floor_of(operand) == operand)


class Doubles:
    """Numbers that are doubles, none of them rounded."""

    def point(self, operand: Number) -> Point:
        return Point(floor_of(operand), floor_of(operand) == operand, is_alone=operand >= -LARGEST)


class BetweenDoubles:
    """Numbers that are no doubles, as the double below them."""

    def point(self, operand: Number) -> Point:
        return Point(floor_of(operand), is_alone=False)


class Same:
    """Values that are stored as they are written in expressions."""

    def point(self, operand: Any) -> Point:
        return Point(operand)


def compared(
    name: str,
    values: Values,
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


def _is_equal(name: str, point: Point, is_negated: bool) -> Expression:
    if not point.is_stored:
        return ALL if is_negated else NONE
    if is_negated and not point.is_alone:
        return ANY
    return Expression(f'{name} {"!=" if is_negated else "=="} {literal(point.value)}', point.is_alone)


def _is_before_or_behind(name: str, operator: str, point: Point) -> Expression:
    is_before = operator in ('$lt', '$lte')
    if not point.is_alone:
        operator = '$lte' if is_before else '$gte'
    elif not point.is_stored:  # it lies between this value and the next
        operator = '$lte' if is_before else '$gt'
    return Expression(f'{name} {_COMPARISONS[operator]} {literal(point.value)}', point.is_alone)


def _is_in(name: str, points: Sequence[Point], is_negated: bool) -> Expression:
    stored = [point for point in points if point.is_stored]
    is_exact = all(point.is_alone for point in stored)
    if is_negated:  # what may be another value stays
        stored = [point for point in stored if point.is_alone]
    if not stored:
        return Expression('', is_exact) if is_negated else NONE
    word = 'not in' if is_negated else 'in'
    return Expression(f'{name} {word} {literals(point.value for point in stored)}', is_exact)


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
