"""
What is searched in texts, as an expression of SQLite's full text search (FTS5).

Scores are BM25 with k1 = 1.2 and b = 0.75 (https://sqlite.org/fts5.html, "The bm25() function"), turned round so that
larger is better. With weights, the words of a field count so many times.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import QueryError
from ..query import SearchFields, TextMode
from ..values import canonical
from .connection import divides
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
    table: FieldTable,
    schema_name: str,
    query: Any,
    search_field: SearchFields,
    mode: TextMode,
    others: Callable[[], list[str]],
) -> TextMatch:
    """
    Return what to search for some words in some fields.

    Raises:
        QueryError: a field has no full text, the fields have different tokenizers, or there is no such mode.
    """
    words = canonical(query)
    if not isinstance(words, str):
        raise QueryError(f'text_search needs a string, got {type(query).__name__} {query!r}')
    if mode not in _MODES:
        raise QueryError(f'mode must be one of {", ".join(_MODES)}, got {mode!r}')
    weights = _weights(table, schema_name, search_field, others)
    tables = {table.text_table(table.fields[name]) for name in weights}
    if len(tables) > 1:
        raise QueryError(f'{", ".join(weights)} have different tokenizers; search them one after another, and fuse')
    (name,) = tables
    columns = tuple(table.text_tables()[name])
    expression = _expression(words.replace('\0', ' '), mode, name == 'text_trigram')
    if expression and len(weights) < len(columns):
        expression = f'{{{" ".join(table.fields[field].column for field in weights)}}} : ({expression})'
    each = tuple(weights.get(column.name, 0.0) for column in columns)
    return TextMatch(query, name, columns, each, expression, mode != 'boolean')


def _weights(
    table: FieldTable, schema_name: str, search_field: SearchFields, others: Callable[[], list[str]]
) -> dict[str, float]:
    """Return the fields to search, with how much each counts; `others` are in lists, and named in errors."""
    known = [name for name, field in table.fields.items() if field.tokenizer is not None]
    if not known:
        raise QueryError(
            f'{schema_name} has no field with full text; write Field(full_text=True){_elsewhere(others())}'
        )
    if not isinstance(search_field, Iterable):
        raise QueryError(f'search_field must be a name, several, or several with weights, got {search_field!r}')
    names = [search_field] if isinstance(search_field, str) else list(search_field)
    if names in ([''], []):
        names = known
    for name in names:
        if name not in known:
            these = f'these are {", ".join(known)}{_elsewhere(others())}'
            raise QueryError(f'{name!r} is not a field with full text of {schema_name}; {these}')
    weights = search_field if isinstance(search_field, Mapping) and search_field else dict.fromkeys(names, 1.0)
    for name, weight in weights.items():
        if not _is_positive(weight):
            raise QueryError(f'the weight of {name!r} must be a positive number, got {weight!r}')
    return {name: float(weight) for name, weight in weights.items()}


def _elsewhere(others: list[str]) -> str:
    return f'; in its lists there are {", ".join(others)}' if others else ''


def _expression(query: str, mode: TextMode, is_trigram: bool) -> str:
    """Return what FTS5 is to match: quoted, nothing in a word has a meaning of its own."""
    if mode == 'boolean':
        return _boolean(query)
    if mode == 'phrase':
        return _quoted(query) if query.strip() else ''
    words = query.split() if is_trigram else words_of(query)
    if mode == 'prefix' and words:
        return ' '.join([*map(_quoted, dict.fromkeys(words[:-1])), f'{_quoted(words[-1])}*'])
    # Side by side means "and".
    return (' OR ' if mode == 'any' else ' ').join(map(_quoted, dict.fromkeys(words)))


def _boolean(query: str) -> str:
    """Return a user's expression as one that cannot end before its end; FTS5 checks the rest."""
    depth = 0
    for sign in re.sub(r'"[^"]*"', '', query):
        depth += (sign == '(') - (sign == ')')
        if depth < 0:
            raise QueryError(f'{query!r} cannot be searched: it closes a parenthesis that it has not opened')
    return f'({query})' if query.strip() else ''  # what begins with * means something else to FTS5


_SIGNS = ('P', 'S', 'Z', 'Cc', 'Cf')


def words_of(query: str) -> list[str]:
    """
    Return the words of a query: it is divided where FTS5 divides texts, but not at marks.

    A word of Hindi is several to FTS5, which takes its vowel signs for spaces; quoted as one, they stand in a row.
    """
    signs = [letter for letter in set(query) if _is_sign(letter)]
    divided = query.translate(dict.fromkeys(map(ord, signs), ' '))
    # Marks alone are no word; as the last one, they would be the beginning that is searched.
    return [word for word in divided.split(' ') if not all(map(_is_mark, word))]


def _is_sign(letter: str) -> bool:
    # SQLite knows Unicode 6.1: to it later signs, among them half of all emoji, are letters.
    return unicodedata.category(letter).startswith(_SIGNS) and (letter.isascii() or divides(letter))


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith('M')


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _is_positive(weight: Any) -> bool:
    try:
        return not isinstance(weight, (bool, str)) and 0 < float(weight) < float('inf')
    except (TypeError, ValueError, OverflowError):
        return False
