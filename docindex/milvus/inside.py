"""
Conditions on what is inside of JSON columns: lists, dicts and unions, as `forms` writes them.

A path may lead to several places, because a step can be a key of a dict or a position in a list. In each place a
comparison is one with a scalar of one class, which is there or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..filters import SIZE, Condition
from ..kinds import Kind
from ..values import canonical, class_of
from .comparisons import BetweenDoubles, Doubles, Same, Values, compared
from .forms import LARGEST, Number, floor_of, key, scalar, token
from .terms import ALL, ANY, NONE, Expression, all_of, any_of, exists, is_missing, literal, literals

_MOST_PLACES = 8
_MOST_POSITIONS = 16


class _Place(NamedTuple):
    """
    Something inside of a JSON column.

    Attributes:
        path: The way to it.
        kind: What it can be.
        there: What is true if it is there.
        is_element: Whether it is in a list: then scalars are strings.
    """

    path: str
    kind: Kind
    there: Expression
    is_element: bool = False


_WHATEVER = Kind('any', is_ordered=True)


def in_json(name: str, condition: Condition, is_negated: bool) -> Expression:
    """Return a condition on what is in a JSON column, or its negation."""
    if condition.operator == '$in':  # Milvus Lite has `in` for columns, and not for what is inside of them
        each = [in_json(name, replace(condition, operator='$eq', operand=one), is_negated) for one in condition.operand]
        return all_of(each) if is_negated else any_of(each)
    *steps, last = condition.path or ('',)
    is_size = last == SIZE
    found = _places(_Place(name, condition.kind, ALL), steps if is_size else condition.path)
    if found is None:
        return ANY
    places, elsewhere = found
    operator, operand = condition.operator, condition.operand
    each = [
        _size(place, operator, operand, is_negated) if is_size else _value(place, operator, operand, is_negated)
        for place in places
    ]
    # What is in each element of a list cannot be asked for: one that is there may fulfil the condition.
    return all_of([*each, *(ANY for _ in elsewhere)]) if is_negated else any_of([*each, *elsewhere])


def _places(start: _Place, steps: Sequence[str]) -> tuple[list[_Place], list[Expression]] | None:
    """
    Return where a path may lead, and what is true if it leads into each element of a list.

    None, if it may lead to too many places.
    """
    places, elsewhere = [start], []
    for step in steps:
        outer, places = places, []
        for place in outer:
            path, kind = place.path, place.kind
            inner = kind.step(step) or _WHATEVER
            if kind.name in ('dict', 'any') and canonical(step) == step:  # no key has half a surrogate pair
                entry = f'{path}["dict"][{literal(key(step))}]'
                places.append(_Place(entry, inner, exists(entry)))
            if kind.name in ('list', 'any') and not step.isdecimal():
                elsewhere.append(_has_elements(path, 1))
            elif kind.name in ('list', 'any') and len(step) < 19:
                at = int(step)
                places.append(_Place(f'{path}["list"][{at}]', inner, _has_elements(path, at + 1), is_element=True))
        if len(places) > _MOST_PLACES:
            return None
    return places, elsewhere


def _has_elements(path: str, count: int) -> Expression:
    """Return that a list has so many elements: what a condition asks for may be in them, or not."""
    return Expression(f'{path}["length"] >= {literal(float(count))}', is_exact=False)


def _size(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    names = {'list': ['length'], 'dict': ['size']}.get(place.kind.name, ['length', 'size'])
    each = [_at(f'{place.path}["{name}"]', Doubles(), operator, operand, is_negated) for name in names]
    return all_of(each) if is_negated else any_of(each)


def _at(path: str, values: Values, operator: str, operand: Any, is_negated: bool) -> Expression:
    """Return a comparison of a scalar of one class that may be missing, or its negation."""
    if operator == '$exists':
        return is_missing(path) if is_negated else exists(path)
    found = compared(path, values, operator, operand, is_negated)
    if is_negated:
        return any_of([is_missing(path), found])
    return found if found.text else all_of([exists(path), found])


def _value(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    """Return a condition on what is in one place, or its negation."""
    path, may_be = place.path, place.kind.name
    if operator in ('$any', '$all'):
        return _elements(path, operator, operand, is_negated)
    if operator == '$contains':
        each = []
        if may_be != 'list' and class_of(operand) == 'text':
            each.append(_scalar(place, operator, operand, is_negated))
        if may_be in ('list', 'any'):
            each.append(_elements(path, '$any', (operand,), is_negated))
        return all_of(each) if is_negated else any_of(each)
    if operator == '$eq' and class_of(operand) in ('list', 'dict'):
        return _equal_container(path, operand, is_negated)
    return _scalar(place, operator, operand, is_negated)


def _scalar(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    path = place.path
    if place.is_element:
        return _element(place, operator, operand, is_negated)
    if operator == '$exists':
        return is_missing(path) if is_negated else place.there
    if operator in ('$regex', '$startswith', '$contains') or class_of(operand) == 'text':
        return _at(f'{path}["text"]', Same(), operator, operand, is_negated)
    if class_of(operand) != 'number':
        return _at(f'{path}["{class_of(operand)}"]', Same(), operator, scalar(operand), is_negated)
    doubles = _at(f'{path}["number"]', Doubles(), operator, operand, is_negated)
    others = _between(f'{path}["above"]', operator, operand, is_negated)
    return all_of([doubles, others]) if is_negated else any_of([doubles, others])


def _between(path: str, operator: str, operand: Number, is_negated: bool) -> Expression:
    """Return a comparison with a number that lies between the double at a path and the next; or its negation."""
    value = floor_of(operand)
    if value != operand or abs(value) == LARGEST:
        return _at(path, BetweenDoubles(), operator, operand, is_negated)
    if operator == '$eq':
        return ALL if is_negated else NONE
    # No such number is equal to the operand.
    return _at(path, Same(), '$gte' if operator in ('$gt', '$gte') else '$lt', value, is_negated)


def _element(place: _Place, operator: str, operand: Any, is_negated: bool) -> Expression:
    """Return a condition on an element of a list; it may be None, or a list or dict itself."""
    if is_negated:
        return ANY
    return Expression(f'{place.path} == {literal(token(operand))}') if operator == '$eq' else place.there


def _elements(path: str, operator: str, operands: Sequence[Any], is_negated: bool) -> Expression:
    """Return that a list has one or all of some elements, or that it does not, or is no list."""
    scalars = [token(one) for one in operands if class_of(one) not in ('list', 'dict')]
    is_exact = len(scalars) == len(operands)
    if is_negated and not is_exact:
        return ANY
    if not operands and operator == '$any':
        return ALL if is_negated else NONE
    length = f'{path}["length"]'
    if not scalars or (operator == '$any' and not is_exact):
        return is_missing(length) if is_negated else Expression(exists(length).text, is_exact)
    found = f'json_contains_{operator[1:]}({path}["list"], {literals(scalars)})'
    return any_of([is_missing(length), Expression(f'not ({found})')]) if is_negated else Expression(found, is_exact)


def _equal_container(path: str, operand: list[Any] | dict[str, Any], is_negated: bool) -> Expression:
    """Return that something is a list or dict of this size, with these elements as far as that can be asked for."""
    name = 'length' if isinstance(operand, list) else 'size'
    size = _at(f'{path}["{name}"]', Doubles(), '$eq', len(operand), is_negated)
    if not operand:
        return size
    if is_negated:
        return ANY
    if isinstance(operand, dict) or len(operand) > _MOST_POSITIONS:
        return Expression(size.text, is_exact=False)
    elements = [_Place(f'{path}["list"][{at}]', _WHATEVER, size, is_element=True) for at in range(len(operand))]
    pairs = [(place, one) for place, one in zip(elements, operand, strict=True) if one is not None]
    is_exact = all(class_of(one) not in ('list', 'dict', 'none', 'opaque') for one in operand)
    each = [_value(place, '$eq', one, is_negated) for place, one in pairs]
    return all_of([Expression(size.text, is_exact), *each])
