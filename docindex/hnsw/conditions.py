"""
Filters as SQL.

A condition is true, false or NULL there, and NULL counts as false: `IS NOT TRUE` is what `$not` becomes. What SQLite
cannot compare by itself, lists and dicts, is given to `docindex.filters.holds`, the reference, by a function in SQL.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import FilterError
from ..filters import And, Condition, Filter, Not, Or, holds
from ..values import from_json, to_json, to_sql
from .fieldtable import FieldTable

_COMPARISONS = {'$eq': '=', '$lt': '<', '$lte': '<=', '$gt': '>', '$gte': '>='}
_MANY = 1_000
_MOST_PARAMETERS = 30_000
_DEEPEST = 40  # SQLite's parser, before 3.46, has room for a hundred symbols
_LAST_CHARACTER = '\U0010ffff'


class Where(NamedTuple):
    """What stands behind WHERE: SQL on the columns of `fields`, and the values of its parameters."""

    sql: str
    parameters: tuple[Any, ...]


def where(filter_: Filter, table: FieldTable) -> Where:
    """
    Return a filter as SQL.

    Raises:
        FilterError: the directory has no column for a field yet, or the filter is too large.
    """
    parameters: list[Any] = []
    sql = _sql(_normal(filter_), table, parameters, 0)
    if len(parameters) > _MOST_PARAMETERS:
        raise FilterError(f'this filter has {len(parameters):,} values, and {_MOST_PARAMETERS:,} are possible')
    return Where(sql, tuple(parameters))


def _normal(filter_: Filter, is_negated: bool = False) -> Filter:
    """Return the same with `not` at conditions only, and no `and` in an `and`: SQLite nests less deeply then."""
    if isinstance(filter_, Not):
        return _normal(filter_.part, not is_negated)
    if not isinstance(filter_, (And, Or)):
        return Not(filter_) if is_negated else filter_
    cls = And if isinstance(filter_, And) is not is_negated else Or
    parts: list[Filter] = []
    for part in filter_.parts:
        normal = _normal(part, is_negated)
        parts += normal.parts if isinstance(normal, cls) else [normal]
    return parts[0] if len(parts) == 1 else cls(tuple(parts))


def _sql(filter_: Filter, table: FieldTable, parameters: list[Any], depth: int) -> str:
    if depth > _DEEPEST:
        raise FilterError(f'this filter is nested more than {_DEEPEST} times')
    if isinstance(filter_, Condition):
        return _condition(filter_, table, parameters)
    if isinstance(filter_, Not):
        return f'(({_sql(filter_.part, table, parameters, depth)}) IS NOT TRUE)'
    if not isinstance(filter_, (And, Or)):
        raise TypeError(filter_)
    is_and = isinstance(filter_, And)
    parts = [_sql(part, table, parameters, depth + 1) for part in filter_.parts]
    return _joined(parts, ' AND ' if is_and else ' OR ') if parts else ('1' if is_and else '0')


def _joined(parts: list[str], word: str) -> str:
    """Join parts as a tree: SQLite nests what stands in a row, and a thousand levels are too many for it."""
    if len(parts) <= 16:
        return f'({word.join(parts)})'
    middle = len(parts) // 2
    return f'({_joined(parts[:middle], word)}{word}{_joined(parts[middle:], word)})'


def _condition(condition: Condition, table: FieldTable, parameters: list[Any]) -> str:
    if condition.field == 'id':
        return f'label IN (SELECT label FROM documents WHERE {_scalar("id", condition, parameters)})'
    if condition.field not in table.fields:
        raise FilterError(
            f'{condition.field!r} cannot be asked for yet: the documents were written without it; open the index once '
            'for writing with this schema'
        )
    column = table.fields[condition.field].column
    if condition.kind.name == 'opaque':
        return f'{column} IS NOT NULL'
    if condition.kind.is_scalar and not condition.path:
        return _scalar(column, condition, parameters)
    if condition.operator == '$exists' and not condition.path:
        return f'{column} IS NOT NULL'
    operand = condition.operand
    is_several = isinstance(operand, tuple)
    mentions = _mentions(column, condition, parameters)
    parameters += [json.dumps(condition.path), condition.operator, to_json(list(operand) if is_several else operand)]
    return f'({mentions}docindex_holds({column}, ?, ?, ?))'


def _mentions(column: str, condition: Condition, parameters: list[Any]) -> str:
    """Return a condition for the JSON of a list to mention strings: most documents need no closer look."""
    operands = condition.operand if isinstance(condition.operand, tuple) else (condition.operand,)
    word = {'$contains': ' OR ', '$any': ' OR ', '$all': ' AND '}.get(condition.operator)
    if word is None or condition.path or condition.kind.name != 'list' or not operands:
        return ''
    if not all(type(one) is str for one in operands):
        return ''
    parameters += [to_json(one) for one in operands]
    return f'{_joined([f"instr({column}, ?) > 0"] * len(operands), word)} AND '


def _scalar(column: str, condition: Condition, parameters: list[Any]) -> str:
    operator, operand = condition.operator, condition.operand
    if operator in _COMPARISONS:
        parameters.append(to_sql(operand))
        return f'{column} {_COMPARISONS[operator]} ?'
    if operator == '$in':
        return _is_in(column, [to_sql(one) for one in operand], parameters)
    if operator == '$exists':
        return f'{column} IS NOT NULL'
    if operator == '$regex':
        parameters.append(operand)
        return f'docindex_regex(?, {column})'
    if operator == '$startswith':
        # As a range, for which an index serves; SQLite's substr() ends at a NUL.
        after = _after(operand)
        parameters += [operand] if after is None else [operand, after]
        return f'{column} >= ?' if after is None else f'({column} >= ? AND {column} < ?)'
    if operator == '$contains':
        parameters.append(operand)
        return f'instr({column}, ?) > 0'
    raise TypeError(operator)


def _is_in(column: str, values: list[Any], parameters: list[Any]) -> str:
    # SQLite's JSON does not give each float back, and ends strings at a NUL.
    if len(values) > _MANY and all(type(one) is int or (type(one) is str and '\0' not in one) for one in values):
        parameters.append(json.dumps(values))
        return f'{column} IN (SELECT value FROM json_each(?))'
    parameters += values
    return f'{column} IN ({", ".join("?" * len(values))})'


def _after(prefix: str) -> str | None:
    """Return the first string, by code points, after all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text has surrogates


# -- functions in SQL -----------------------------------------------------------------------------------


def holds_in_sql(value: str | None, path: str, operator: str, operand: str) -> bool:
    """Return whether a list or dict, as `fields` has it, fulfils a condition."""
    return value is not None and holds(from_json(value), _read_path(path), operator, _read_operand(operator, operand))


@lru_cache(maxsize=512)
def _read_path(path: str) -> tuple[str, ...]:
    return tuple(json.loads(path))


@lru_cache(maxsize=512)
def _read_operand(operator: str, operand: str) -> Any:
    found = from_json(operand)
    return tuple(found) if operator in ('$in', '$any', '$all') else found


def regex_in_sql(pattern: str, value: str | None) -> bool:
    """Return whether some part of a string matches."""
    return value is not None and re.search(pattern, value) is not None
