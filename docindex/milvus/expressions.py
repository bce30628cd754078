r"""
Filters as expressions of Milvus.

What Milvus cannot say is said wider: an `Expression` that is not exact is true of all documents that fulfil the filter,
and of more. Negated it would be narrower, so negations are moved inwards until they stand at conditions, and each
condition is written in two ways: what is true wherever it holds, and what is true wherever it does not.

Engines differ. What was asked of two of them, where `n` is an INT64 and `j` JSON:

| expression | Milvus Lite 3.2.2 | Milvus 2.3.5 |
| --- | --- | --- |
| `n != 1`, `n not in [1]` of null | false; true, but false where JSON is asked as well | has no null |
| `not (j["a"] < 5)` of "x", of nothing | false: neither true nor false is | true |
| `j["a"] == 1` of true | true | false |
| `json_contains(j["a"], 2)` of [2.0] | true | false |
| `exists j["a"]` of null | false | true |
| `exists j["a"] and n == 1` | as one would think | an error, but not of `not (exists j["a"])` |
| `n < 1.5`, `-9223372036854775808`, `j[""]`, `"a" == "a"` | as one would think | an error |
| `j["a"] in [1]`, `"\u0041"` | an error | as one would think |
| `like "%x%"`, `is null` | as one would think | an error: since 2.4, since 2.5 |

So a comparison stands beside a question for what it compares, `(n is null or n != 1)`; JSON is written so that a path
leads to values of one class, see `forms`, and nothing is compared across classes. Both engines order strings by code
points and tell upper from lower case. The grammar of Milvus 3.0 was read; no server after 2.3.5 was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..filters import And, Condition, Filter, Not, Or, Some
from ..translating import normal
from .columns import ScalarColumn
from .comparisons import Stored, compared
from .inside import in_json
from .terms import ALL, ANY, NONE, Expression, all_of, any_of, literal, literals

__all__ = ['Expression', 'expression', 'literal']

_DEEPEST = 40

_ID = ScalarColumn('id', 'id', 'VARCHAR', is_nullable=False)


def expression(
    filter_: Filter,
    columns: Mapping[str, ScalarColumn],
    documents_with: Callable[[Some], Sequence[str] | None],
    has_parts: bool = True,
) -> Expression:
    """
    Return a filter as an expression.

    Args:
        filter_: The filter, checked against the schema.
        columns: The fields that the collection has. Of others nothing can be said.
        documents_with: Returns the ids of all documents that have one in a list which fulfils something; None, if they
            are too many.
        has_parts: Whether `like` finds parts of strings, and not their beginnings alone.
    """
    return _Writer(columns, documents_with, has_parts).write(normal(filter_))


class _Writer:
    """Writes filters in which negations stand at conditions."""

    def __init__(
        self,
        columns: Mapping[str, ScalarColumn],
        documents_with: Callable[[Some], Sequence[str] | None],
        has_parts: bool,
    ) -> None:
        self._has_parts = has_parts
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
        if column is None or (not self._has_parts and _looks_for_part(part, column)):
            return ANY
        return _condition(part, column, is_negated)

    def _some(self, some: Some, is_negated: bool) -> Expression:
        ids = self._documents_with(some)
        if ids is None:
            return ANY
        if not ids:
            return ALL if is_negated else NONE
        return Expression(f'id {"not in" if is_negated else "in"} {literals(ids)}')


def _looks_for_part(condition: Condition, column: ScalarColumn) -> bool:
    """Return whether a condition may be about a part of a string, and not about an element of a list."""
    return condition.operator == '$contains' and (column.kind.name != 'list' or bool(condition.path))


def _condition(condition: Condition, column: ScalarColumn, is_negated: bool) -> Expression:
    name, operator, operand = column.name, condition.operator, condition.operand
    if column.kind.name == 'opaque' and column.data_type == 'BOOL':
        return Expression(f'{name} == {literal(not is_negated)}')
    if operator == '$exists' and (column.data_type != 'JSON' or not condition.path):
        found = NONE if is_negated else ALL
    elif column.data_type == 'JSON':
        found = in_json(name, condition, is_negated)
    else:
        found = compared(name, Stored(column), operator, operand, is_negated)
    return _where_there(column, found, is_negated)


def _where_there(column: ScalarColumn, found: Expression, is_negated: bool) -> Expression:
    """Return a comparison of what may be missing: then the condition does not hold, and its negation does."""
    if not column.is_nullable:
        return found
    if is_negated:
        return any_of([Expression(f'{column.name} is null'), found])
    return all_of([Expression(f'{column.name} is not null'), found])
