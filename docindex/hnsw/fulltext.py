"""
What is searched in texts, as an expression of SQLite's full text search (FTS5).

Scores are BM25 with k1 = 1.2 and b = 0.75 (https://sqlite.org/fts5.html, "The bm25() function"), turned round so that
larger is better. With weights, the words of a field count so many times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import QueryError
from ..query import SearchFields, TextMode
from .fieldtable import FieldTable, StoredField

_MODES = ('any', 'all', 'phrase', 'prefix', 'boolean')


class TextMatch(NamedTuple):
    """
    What is searched, and where.

    Attributes:
        query: As the user said it.
        table: The table of full text.
        columns: Its columns, all of them.
        weights: How much each of them counts; 0 where it is not searched.
        expression: For MATCH; empty: there are no words in it.
        is_safe: Whether it is written such that SQLite understands it.
    """

    query: str
    table: str
    columns: tuple[StoredField, ...]
    weights: tuple[float, ...]
    expression: str
    is_safe: bool


def text_match(
    table: FieldTable, schema_name: str, query: Any, search_field: SearchFields, mode: TextMode
) -> TextMatch:
    """
    Return what to search for some words in some fields.

    Raises:
        QueryError: a field has no full text, the fields have different tokenizers, or there is no such mode.
    """
    if not isinstance(query, str):
        raise QueryError(f'text_search needs a string, got {type(query).__name__} {query!r}')
    if mode not in _MODES:
        raise QueryError(f'mode must be one of {", ".join(_MODES)}, got {mode!r}')
    weights = _weights(table, schema_name, search_field)
    tables = {f'text_{table.fields[name].tokenizer}' for name in weights}
    if len(tables) > 1:
        raise QueryError(f'{", ".join(weights)} have different tokenizers; search them one after another, and fuse')
    (name,) = tables
    columns = tuple(table.text_tables()[name])
    expression = _expression(query.replace('\0', ' '), mode)
    if expression and len(weights) < len(columns):
        expression = f'{{{" ".join(table.fields[field].column for field in weights)}}} : ({expression})'
    each = tuple(weights.get(column.name, 0.0) for column in columns)
    return TextMatch(query, name, columns, each, expression, mode != 'boolean')


def _weights(table: FieldTable, schema_name: str, search_field: SearchFields) -> dict[str, float]:
    """Return the fields to search, with how much each counts."""
    known = [name for name, field in table.fields.items() if field.tokenizer is not None]
    if not known:
        raise QueryError(f'{schema_name} has no field with full text; write Field(full_text=True)')
    names = [search_field] if isinstance(search_field, str) else list(search_field)
    if names in ([''], []):
        names = known
    for name in names:
        if name not in known:
            raise QueryError(f'{name!r} is not a field with full text of {schema_name}; these are {", ".join(known)}')
    weights = search_field if isinstance(search_field, Mapping) else dict.fromkeys(names, 1.0)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float('inf'):
            raise QueryError(f'the weight of {name!r} must be a positive number, got {weight!r}')
    return {name: float(weight) for name, weight in weights.items()}


def _expression(query: str, mode: TextMode) -> str:
    """Return what FTS5 is to match: quoted, nothing in a word has a meaning of its own."""
    if mode == 'boolean':
        return query.strip()
    words = ['"' + word.replace('"', '""') + '"' for word in dict.fromkeys(query.split())]
    if mode == 'any':
        return ' OR '.join(words)
    if mode == 'phrase':
        return '"' + query.replace('"', '""') + '"' if words else ''
    # Side by side means "and"; a word of punctuation only is passed over then.
    return ' '.join(words) + ('*' if mode == 'prefix' and words else '')
