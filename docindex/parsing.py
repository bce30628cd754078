"""From a dictionary to a filter, checked against a schema: what `docindex.filters` describes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import FilterError
from .filters import SIZE, And, Condition, Filter, Not, Or, Some, by_itself
from .kinds import Kind
from .schema import Column, Schema
from .values import canonical, class_of

_OPERATORS = ['$eq', '$ne', '$neq', '$lt', '$lte', '$gt', '$gte', '$in', '$nin', '$exists', '$not']
_OPERATORS += ['$regex', '$startswith', '$contains', '$any', '$all', '$size', '$elemMatch']
_COMBINED = ('$and', '$or', '$not')


def parse(schema: Schema[Any], query: object) -> Filter:
    """
    Return the filter that a dictionary stands for, or a filter once more, checked against a schema.

    None and an empty dictionary let everything pass.

    Raises:
        FilterError: a field is unknown, an operator unknown or not for such a field, a value of another type.
    """
    try:
        return _parse(schema, query)
    except RecursionError:
        raise FilterError('this filter is nested too deeply') from None


def _parse(schema: Schema[Any], query: object) -> Filter:
    if query is None:
        return And()
    query = by_itself(query)
    if isinstance(query, Filter):
        query = query.to_dict()
    if not isinstance(query, Mapping):
        raise FilterError(
            f"a filter is a dictionary such as {{'price': {{'$lt': 10}}}}, or a comparison such as F.price < 10; got "
            f'{type(query).__name__} {query!r}'
        )
    return _all([_parse_item(schema, key, value) for key, value in query.items()])


def is_field(schema: Schema[Any], name: str) -> bool:
    """Return whether a filter can name this: a field, or something inside of its values."""
    try:
        _Place.find(schema, name)
    except FilterError:
        return False
    return True


def is_inside(schema: Schema[Any], name: str) -> bool:
    """Return whether what a filter calls so is inside of the values of a field."""
    return bool(_Place.find(schema, name).path)


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_item(schema: Schema[Any], key: object, value: Any) -> Filter:
    if key == '$not':
        return Not(_parse(schema, value))
    if key in ('$and', '$or'):
        each = [{name: value[name]} for name in value] if isinstance(value, Mapping) else value
        if not isinstance(each, (list, tuple)) or not each:
            hint = '' if each else '; an empty one says nothing'
            raise FilterError(f'{key} takes a list of filters, got {value!r}{hint}')
        parts = tuple(_parse(schema, one) for one in each)
        return And(parts) if key == '$and' else Or(parts)
    if not isinstance(key, str) or key.startswith('$'):
        raise FilterError(f'{key!r} is no field and none of {", ".join(_COMBINED)}{_elsewhere(key)}')
    return _Place.find(schema, key).condition(value)


def _elsewhere(key: object) -> str:
    return f"; write {{'the field': {{{key!r}: ...}}}}" if key in _OPERATORS else ''


@dataclass(frozen=True)
class _Place:
    """
    A field, or something inside of its values, that a filter names.

    Attributes:
        schema: The schema of the document it is a field of.
        column: The field.
        path: The way from there into a dict or list.
        kind: What its values are.
        lists: The lists of documents on the way there, outermost first, with the position in each that is meant.
        position: Where `column` is a list of documents: the one that is meant; None: the list.
    """

    schema: Schema[Any]
    column: Column
    path: tuple[str, ...]
    kind: Kind
    lists: tuple[tuple[Column, int | None], ...] = ()
    position: int | None = None

    @classmethod
    def find(cls, schema: Schema[Any], name: str, lists: tuple[tuple[Column, int | None], ...] = ()) -> _Place:
        for at in range(len(name), 0, -1):
            if at == len(name) or name.startswith('__', at):
                column = schema.nodes.get(name[:at])
                if column is not None and (at == len(name) or not column.is_document):
                    place = cls(schema, column, (), column.kind, lists)
                    rest = name[at + 2 :]
                    return (
                        place._into(rest.split('__') if name[at:] else []) if not column.inner else place._inner(rest)
                    )
        close = difflib.get_close_matches(name.replace('.', '__'), schema.nodes, n=1)
        inside = [level.flat(name) for level in schema.levels.values() if level.name and name in level.schema.nodes]
        close = inside or close
        hint = f'did you mean {close[0]!r}?' if close else f'its fields are {", ".join(schema.nodes)}'
        raise FilterError(f'{schema.name} has no field {name!r}; {hint}')

    def _inner(self, rest: str) -> _Place:
        """Return what a name means in the documents of this list."""
        step, _, behind = rest.partition('__')
        position = int(step) if step.isdecimal() and len(step) < 19 else None
        rest = behind if position is not None else rest
        if not rest or self.column.inner is None:
            return replace(self, position=position)
        return _Place.find(self.column.inner, rest, (*self.lists, (self.column, position)))

    def _into(self, steps: list[str]) -> _Place:
        if not steps:
            return self  # nearly always
        kind = self.kind
        for at, step in enumerate(steps):
            inner = kind.step(step)
            if inner is None:
                outer = '__'.join((self.name, *steps[:at]))
                known = f'; in it are {", ".join(kind.members())}' if kind.members() else ''
                raise FilterError(
                    f'{self.schema.name}: there is no {step!r} in {outer} ({self.column.type_name}){known}'
                )
            kind = inner
        return replace(self, path=(*self.path, *steps), kind=kind)

    @property
    def name(self) -> str:
        return '__'.join((self.column.name, *self.path))

    def condition(self, value: Any) -> Filter:
        """Return the filter for what stands behind the name of a field."""
        if isinstance(value, Mapping) and any(isinstance(key, str) and key.startswith('$') for key in value):
            return _all([self.compare(operator, operand) for operator, operand in value.items()])
        if isinstance(value, Mapping) and self.column.is_document:
            places = {key: _Place.find(self.schema, f'{self.name}__{key}', self.lists) for key in value}
            return _all([place.condition(value[key]) for key, place in places.items()])
        return self.compare('$eq', value)

    def compare(self, operator: Any, operand: Any) -> Filter:
        """Return the filter for one operator and what it compares with."""
        match operator:
            case '$eq' if operand is None:
                return Not(self._exists())
            case '$elemMatch':
                return self._some(operand)
            case '$eq':
                return self._is('$eq', self._operand(operand, is_choice=True))
            case '$ne' | '$neq':
                return Not(self.compare('$eq', operand))
            case '$lt' | '$lte' | '$gt' | '$gte':
                return self._is(operator, self._ordered(operator, operand))
            case '$in':
                return self._is_in(self._list(operator, operand))
            case '$nin':
                return Not(self._is_in(self._list(operator, operand)))
            case '$exists':
                if not isinstance(operand, bool):
                    raise self._error(f'$exists takes True or False, got {operand!r}')
                return self._exists() if operand else Not(self._exists())
            case '$regex' | '$startswith':
                self._check(operator, 'text')
                return self._is(operator, self._text(operator, operand))
            case '$contains' if self.kind.name == 'text':
                return self._is(operator, self._text(operator, operand))
            case '$contains':
                self._check(operator, 'list', 'text')
                return self._is(operator, self._element().operand(operand))
            case '$any' | '$all':
                self._check(operator, 'list')
                element = self._element()
                return self._is(operator, tuple(map(element.operand, self._list(operator, operand))))
            case '$size':
                if self.column.inner is None or self.position is not None:
                    self._check(operator, 'list', 'dict')
                sized = replace(self, path=(*self.path, SIZE), kind=Kind('number', is_ordered=True))
                return sized.condition(operand)
            case '$not':
                return Not(self.condition(operand))
        close = difflib.get_close_matches(str(operator), _OPERATORS, n=1)
        hint = f'did you mean {close[0]}?' if close else f'the operators are {", ".join(_OPERATORS)}'
        raise self._error(f'there is no operator {operator!r}; {hint}')

    def _is(self, operator: str, operand: Any) -> Filter:
        column = self.column
        if not column.is_stored:
            raise self._error('it is excluded from serialisation, so stored documents do not have it')
        if self.kind.name == 'opaque' and operator == '$in':
            return self._in_lists(Not(And()))  # only None can be among the values, and that is asked by itself
        return self._in_lists(Condition(column.name, column.path, self.path, operator, operand, column.kind))

    def _in_lists(self, filter_: Filter) -> Filter:
        """Return the filter for documents that have one in their lists for which a filter holds."""
        for column, position in reversed(self.lists):
            filter_ = Some(column.name, column.path, filter_, position)
        return filter_

    def _some(self, query: object) -> Filter:
        column = self.column
        if column.inner is None:
            raise self._error(
                f'$elemMatch is for lists of documents that are stored one by one, and this {column.type_name} is not'
            )
        return self._in_lists(Some(column.name, column.path, _parse(column.inner, query), self.position))

    def _exists(self) -> Filter:
        if self.position is not None:
            return self._some(None)
        is_always = self.kind.name == 'opaque' and not self.column.is_optional and not self.path
        return self._in_lists(And()) if is_always else self._is('$exists', True)

    def _is_in(self, operands: Sequence[Any]) -> Filter:
        values = tuple(self._operand(one, is_choice=True) for one in operands if one is not None)
        found = self._is('$in', values)
        return found if len(values) == len(operands) else Or((found, self.compare('$eq', None)))

    def _element(self) -> _Place:
        kind = self.kind.element() if self.kind.name == 'list' else Kind('any', is_ordered=True)
        return replace(self, kind=kind)

    def operand(self, value: Any) -> Any:
        """Return what an element of this list is compared with."""
        return self._operand(value, is_choice=True)

    def _operand(self, value: Any, is_choice: bool = False) -> Any:
        if self.column.inner is not None and not self.path:
            name = f'{self.name}__{next(iter(self.column.inner.columns))}'
            raise self._error(f'this is a list of documents; ask for a field of theirs, {name}, or write $elemMatch')
        if self.kind.name == 'opaque':
            what = 'document' if self.column.is_document else self.column.type_name
            raise self._error(f'a {what} cannot be compared; one can ask whether it is there: $exists')
        try:
            return self.kind.operand(value, is_choice)
        except ValueError as error:
            hint = ''
            if self.kind.name != 'list' and isinstance(value, (list, tuple, set)):
                hint = '; for one of several values write $in'
            elif self.kind.name == 'list':
                hint = '; for an element write $contains'
            raise self._error(f'{error}{hint}') from None

    def _ordered(self, operator: str, value: Any) -> Any:
        operand = self._operand(value)
        if not self.kind.is_ordered or class_of(operand) in ('list', 'dict', 'boolean', 'opaque'):
            raise self._error(f'{operator} needs values that have an order, and a {self.column.type_name} has none')
        return operand

    def _text(self, operator: str, value: Any) -> str:
        if operator == '$regex':
            return self._regex(value)
        if not isinstance(value, str):
            raise self._error(f'{operator} takes a string, got {type(value).__name__} {value!r}')
        return str(canonical(value))

    def _regex(self, value: Any) -> str:
        flags = ''
        if isinstance(value, re.Pattern):
            flags = ''.join(letter for letter in 'aimsx' if value.flags & re.RegexFlag[letter.upper()])
            value = value.pattern
        if not isinstance(value, str):
            raise self._error(f'$regex takes a string or re.compile(...) of one, got {value!r}')
        pattern = f'(?{flags}){value}' if flags else value
        if canonical(pattern) != pattern:
            raise self._error(f'$regex: {value!r} is not valid Unicode')
        try:
            re.compile(pattern)
        except re.error as error:
            raise self._error(f'$regex: {value!r} is no regular expression: {error}') from error
        return pattern

    def _list(self, operator: str, value: Any) -> list[Any]:
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, '__iter__'):
            raise self._error(f'{operator} takes a list, got {type(value).__name__} {value!r}')
        return list(value)

    def _check(self, operator: str, *kinds: str) -> None:
        if self.kind.name not in (*kinds, 'any'):
            words = {'text': 'strings', 'list': 'lists', 'dict': 'dicts'}
            meant = ' and '.join(words[kind] for kind in kinds)
            raise self._error(f'{operator} is for {meant}, and this is a {self.column.type_name}')

    def _error(self, message: str) -> FilterError:
        return FilterError(f'{self.schema.name}.{self.name.removesuffix(f"__{SIZE}")}: {message}')
