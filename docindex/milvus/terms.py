"""What expressions of Milvus are made of: literals, `and` and `or`, and how much an expression says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..translating import joined


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
"""No id is empty. Of what has no column in it, `"a" == "b"`, Milvus 2.3.5 makes an error."""


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


def literals(values: Iterable[Any]) -> str:
    """Return values as a list in an expression, each once."""
    return f'[{", ".join(map(literal, dict.fromkeys(values)))}]'


def exists(path: str) -> Expression:
    """Return that JSON has something at a path."""
    # Milvus 2.3.5 takes `exists` for no condition beside `and` and `or`, and its negation for one.
    return Expression(f'not ({is_missing(path).text})')


def is_missing(path: str) -> Expression:
    """Return that JSON has nothing at a path."""
    return Expression(f'not (exists {path})')
