"""What translations of filters have in common, whatever the language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .filters import And, Filter, Not, Or, Some

_LAST_CHARACTER = '\U0010ffff'


def normal(filter_: Filter, is_negated: bool = False) -> Filter:
    """Return the same with `not` at conditions only, and no `and` in an `and`: it is nested less deeply then."""
    if isinstance(filter_, Not):
        return normal(filter_.part, not is_negated)
    if isinstance(filter_, Some):
        filter_ = replace(filter_, part=normal(filter_.part))
    if not isinstance(filter_, (And, Or)):
        return Not(filter_) if is_negated else filter_
    cls = And if isinstance(filter_, And) is not is_negated else Or
    parts: list[Filter] = []
    for part in filter_.parts:
        inner = normal(part, is_negated)
        parts += inner.parts if isinstance(inner, cls) else [inner]
    return parts[0] if len(parts) == 1 else cls(tuple(parts))


def joined(parts: Sequence[str], word: str) -> str:
    """Join parts as a tree: parsers nest what stands in a row, and a thousand levels are too many for them."""
    if len(parts) <= 16:
        return f'({word.join(parts)})'
    middle = len(parts) // 2
    return f'({joined(parts[:middle], word)}{word}{joined(parts[middle:], word)})'


def after(prefix: str) -> str | None:
    """Return the first string, by code points, after all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text has surrogates
