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
from ..filters import SIZE, And, Condition, Filter, Not, Or, Some, holds
from ..translating import after, joined, normal
from ..values import from_json, to_json, to_sql
from .fieldtable import FieldTable, FieldTables

_COMPARISONS = {'$eq': '=', '$lt': '<', '$lte': '<=', '$gt': '>', '$gte': '>='}
_MANY = 1_000
_MOST_PARAMETERS = 30_000
_DEEPEST = 40  # SQLite's parser, before 3.46, has room for a hundred symbols


class Where(NamedTuple):
    """What stands behind WHERE: SQL on the columns of a table of fields, the values of its parameters, the table."""

    sql: str
    parameters: tuple[Any, ...]
    table: str = 'fields'


def where(filter_: Filter, tables: FieldTables, level: int = 0, of_level: int = 0) -> Where:
    """
    Return a filter as SQL, on the table of fields of a level.

    Args:
        filter_: The filter.
        tables: The tables of all levels.
        level: The level of the documents that are to be found.
        of_level: The level whose documents the filter speaks of: that one, or one in whose lists they are. What it
            says of the lists on the way then is about the documents that are to be found.

    Raises:
        FilterError: the directory has no column for a field yet, or the filter is too large.
    """
    writer = _Writer(tables, level)
    sql = writer.sql(normal(filter_), of_level, 0)
    if len(writer.parameters) > _MOST_PARAMETERS:
        raise FilterError(f'this filter has {len(writer.parameters):,} values, and {_MOST_PARAMETERS:,} are possible')
    return Where(sql, tuple(writer.parameters), tables[level].name)


def where_roots(filter_: Filter, tables: FieldTables, level: int) -> Where:
    """Return as SQL, on the table of fields of a level, that the outermost documents match a filter of theirs."""
    roots = where(filter_, tables)
    return Where(_Writer(tables, level).lowered(roots.sql, 0), roots.parameters, tables[level].name)


class _Writer:
    """Writes filters as conditions on the rows of one level's table; what they compare with goes to `parameters`."""

    def __init__(self, tables: FieldTables, level: int) -> None:
        self._tables = tables
        self._level = level
        self._way = _way_to(tables, level)
        self.parameters: list[Any] = []

    def sql(self, filter_: Filter, at: int, depth: int) -> str:
        """Return a condition on a row for what a filter says of the document of level `at` that it is, or is in."""
        if depth > _DEEPEST:
            raise FilterError(f'this filter is nested more than {_DEEPEST} times')
        if isinstance(filter_, Condition):
            table = self._tables[at]
            is_size = filter_.path == (SIZE,) and filter_.kind.name == 'opaque'
            found = self._size(filter_, table) if is_size else _condition(filter_, table, self.parameters)
            return self.lowered(found, at)
        if isinstance(filter_, Some):
            return self._some(filter_, at, depth + 1)
        if isinstance(filter_, Not):
            return f'(({self.sql(filter_.part, at, depth)}) IS NOT TRUE)'
        if not isinstance(filter_, (And, Or)):
            raise TypeError(filter_)
        is_and = isinstance(filter_, And)
        parts = [self.sql(part, at, depth + 1) for part in filter_.parts]
        return joined(parts, ' AND ' if is_and else ' OR ') if parts else ('1' if is_and else '0')

    def _some(self, some: Some, at: int, depth: int) -> str:
        inner = self._tables.inner(at, some.field)
        if inner in self._way:  # it is about the documents that are to be found, or those they are in
            place = '' if some.position is None else self.lowered(_ranked(some.position, inner, at), inner) + ' AND '
            return f'({place}{self.sql(some.part, inner, depth)})'
        within = _Writer(self._tables, inner)
        condition = within.sql(some.part, inner, depth)
        if some.position is not None:
            condition = f'{_ranked(some.position, inner, at)} AND {condition}'
        self.parameters += within.parameters
        found = f'SELECT label FROM {self._tables[inner].name} WHERE {condition}'
        # Joins, not IN within IN: SQLite's parser has little room. CROSS: in this order, from the few that were found.
        outer = (
            'SELECT outer_.label FROM documents AS inner_ CROSS JOIN documents AS outer_ '
            f'WHERE inner_.label IN ({found}) AND outer_.level = {at} AND outer_.id = inner_.parent'
        )
        return self.lowered(f'label IN ({outer})', at)

    def _size(self, condition: Condition, table: FieldTable) -> str:
        inner = self._tables.inner(table.level, condition.field)
        own = f'(SELECT id FROM documents AS own WHERE own.label = {table.name}.label)'
        count = f'(SELECT count(*) FROM documents AS inside WHERE level = {inner} AND parent = {own})'
        sql = _scalar(count, condition, self.parameters)
        presence = table.fields.get(condition.field)
        return sql if presence is None else f'({presence.column} IS NOT NULL AND {sql})'

    def lowered(self, sql: str, at: int) -> str:
        """Return a condition on rows of this level for one on rows of the level `at`, in whose lists they are."""
        if at == self._level:
            return sql
        found = f'SELECT label FROM {self._tables[at].name} WHERE {sql}'
        for level in self._way[self._way.index(at) + 1 :]:
            found = (
                'SELECT inner_.label FROM documents AS outer_ CROSS JOIN documents AS inner_ '
                f'WHERE outer_.label IN ({found}) AND inner_.level = {level} AND inner_.parent = outer_.id'
            )
        return f'label IN ({found})'


def _way_to(tables: FieldTables, level: int) -> list[int]:
    """Return the levels from the outermost to this one, in whose lists its documents are."""
    outer = tables.outer(level)
    return [level] if outer is None else [*_way_to(tables, outer), level]


def _ranked(position: int, level: int, outer: int) -> str:
    """Return a condition on a document of a level to be the one at a position in its list, which may have gaps."""
    inside = f'SELECT label FROM documents AS each WHERE each.level = {level} AND each.parent = own.id'
    one = f'{inside} ORDER BY each.position LIMIT 1 OFFSET {position:d}'
    return f'label IN (SELECT ({one}) FROM documents AS own WHERE own.level = {outer} AND own.children > {position:d})'


def _condition(condition: Condition, table: FieldTable, parameters: list[Any]) -> str:
    if condition.field == 'id':
        condition_on_id = _scalar('id', condition, parameters)
        return f'label IN (SELECT label FROM documents WHERE level = {table.level} AND {condition_on_id})'
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
    return f'{joined([f"instr({column}, ?) > 0"] * len(operands), word)} AND '


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
        end = after(operand)
        parameters += [operand] if end is None else [operand, end]
        return f'{column} >= ?' if end is None else f'({column} >= ? AND {column} < ?)'
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
