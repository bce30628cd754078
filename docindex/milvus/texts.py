"""
Texts as words, the way SQLite's unicode61 makes them: letters and digits, without case and accents.

Milvus gets texts as these words with a space before and behind each, so that what a word is does not depend on its
analyzers, which differ between Milvus Lite and servers: the standard analyzer finds these words again, and a phrase or
the beginning of a word is a `like`, which stands for the same words everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import QueryError
from ..fields import Tokenizer
from ..query import SearchFields, TextMode
from ..values import canonical
from .expressions import literal

_MODES = ('any', 'all', 'phrase', 'prefix')


class Words(NamedTuple):
    """
    What is searched in texts.

    Attributes:
        weights: How much each field counts, by name.
        words: The words.
        mode: How they are searched.
    """

    weights: dict[str, float]
    words: list[str]
    mode: TextMode

    def condition(self, columns: Mapping[str, str]) -> str:
        """Return as an expression what a text has to have; `columns` are those of the words, by field."""
        if self.mode == 'any':
            return ''
        names = [columns[field] for field in self.weights]
        if self.mode == 'phrase':
            return _any_of(f'{name} like {literal("% " + " ".join(self.words) + " %")}' for name in names)
        whole, begun = _whole_and_begun(self.words, self.mode)
        parts = [_any_of(f'{name} like {literal(f"% {word} %")}' for name in names) for word in whole]
        parts += [_any_of(f'{name} like {literal(f"% {word}%")}' for name in names) for word in begun]
        return ' and '.join(parts)


def _whole_and_begun(words: Sequence[str], mode: TextMode) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words that stand in a text as they are, and those that are only the beginning of one there."""
    return (words[:-1], words[-1:]) if mode == 'prefix' else (words, [])


def _any_of(parts: Iterator[str]) -> str:
    return f'({" or ".join(parts)})'


def words_searched(query: Any, search_field: SearchFields, mode: TextMode, known: Mapping[str, Tokenizer]) -> Words:
    """
    Return what to search for some words.

    Args:
        query: The words.
        search_field: The fields, perhaps with weights.
        mode: How they are searched.
        known: The fields with full text, with their tokenizers.

    Raises:
        QueryError: a field has no full text, or Milvus cannot search so.
    """
    text = canonical(query)
    if not isinstance(text, str):
        raise QueryError(f'text_search needs a string, got {type(query).__name__} {query!r}')
    if mode == 'boolean':
        raise QueryError("mode='boolean' is SQLite's language; on Milvus there are 'any', 'all', 'phrase' and 'prefix'")
    if mode not in _MODES:
        raise QueryError(f'mode must be one of {", ".join(_MODES)}, got {mode!r}')
    names = [search_field] if isinstance(search_field, str) else list(search_field)
    weights = dict(search_field) if isinstance(search_field, Mapping) and search_field else dict.fromkeys(names, 1.0)
    if list(weights) in ([''], []):
        weights = dict.fromkeys(known, 1.0)
    if not known:
        raise QueryError('no field has full text; write Field(full_text=True)')
    for name, weight in weights.items():
        if name not in known:
            raise QueryError(f'{name!r} is not a field with full text; these are {", ".join(known)}')
        if known[name] != 'unicode61':
            hint = 'filter by $contains instead' if known[name] == 'trigram' else 'declare it without a tokenizer'
            raise QueryError(f'{name!r} has tokenizer={known[name]!r}, which is not there on Milvus; {hint}')
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float('inf'):
            raise QueryError(f'the weight of {name!r} must be a positive number, got {weight!r}')
    return Words({name: float(weight) for name, weight in weights.items()}, words_of(text), mode)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in order."""
    return [_folded(match[0]) for match in _WORD.finditer(text)]


def as_words(text: str | None) -> str:
    """Return what stands in a collection for a text."""
    words = words_of(text or '')
    return f' {" ".join(words)} ' if words else ''


# SQLite's marks (`sqlite3Fts5UnicodeIsdiacritic`) are part of a word, and taken off; other marks are between words.
_MARKS = '\u0300-\u0304\u0306-\u030c\u030f\u0311\u031b\u0323-\u0328\u032d\u032e\u0330\u0331'
_WORD = re.compile(rf'[^\W_](?:[^\W_]|[{_MARKS}])*')
_MARK = re.compile(f'[{_MARKS}]')


def _folded(word: str) -> str:
    return word.lower() if word.isascii() else ''.join(map(_folded_letter, _MARK.sub('', word)))


@lru_cache(maxsize=4_096)
def _folded_letter(letter: str) -> str:
    """Return a letter without case, and without accents if it is a Latin one: that is where SQLite stops."""
    folded = letter.casefold() if len(letter.casefold()) == 1 else letter.lower()
    plain = unicodedata.normalize('NFD', folded)[0]
    return plain if plain.isascii() else folded


def snippet(text: str, words: Sequence[str], mode: TextMode, before: str, after: str, length: int) -> str:
    """
    Return the part of a text, of so many words, in which most of the words stand, these marked; empty if none does.

    Args:
        text: The text.
        words: The words, as `words_of` returns them.
        mode: 'all': each stands there. 'prefix': each, and the last one is a beginning. 'phrase': they stand in a row.
        before: What to put before a word that is found.
        after: What to put behind it.
        length: How many words a snippet has at most.
    """
    places = [(match.start(), match.end(), _folded(match[0])) for match in _WORD.finditer(text)]
    found = _found([word for _, _, word in places], words, mode)
    if not found:
        return ''
    starts = range(max(1, len(places) - length + 1))
    best = max(starts, key=lambda start: (_different(places, found, start, length), -start))
    shown = range(best, min(best + length, len(places)))
    parts = ['…' if best else '']
    end = places[best][0] if best else 0
    for at in shown:
        is_first = at in found and not (found.get(at - 1) and at > best)
        is_last = at in found and not (found[at] and at + 1 < shown.stop)
        word = text[places[at][0] : places[at][1]]
        parts += [text[end : places[at][0]], before if is_first else '', word, after if is_last else '']
        end = places[at][1]
    return ''.join(parts) + ('…' if shown.stop < len(places) else text[end:])


def _found(there: Sequence[str], words: Sequence[str], mode: TextMode) -> dict[int, bool]:
    """Return the positions of what is searched among the words of a text, and whether each goes on in the next."""
    if mode == 'phrase':
        starts = [at for at in range(len(there)) if list(there[at : at + len(words)]) == list(words)]
        found = dict.fromkeys([at + len(words) - 1 for at in starts], False)
        return found | dict.fromkeys([at + more for at in starts for more in range(len(words) - 1)], True)
    whole, begun = _whole_and_begun(words, mode)
    fits = set(whole) <= set(there) and all(any(word.startswith(one) for word in there) for one in begun)
    if mode != 'any' and not fits:
        return {}  # other texts of the document may have the rest
    wanted, beginnings = set(whole), tuple(begun)
    each = (at for at, word in enumerate(there) if word in wanted or word.startswith(beginnings))
    return dict.fromkeys(each, False)


def _different(
    places: Sequence[tuple[int, int, str]], found: Mapping[int, bool], start: int, length: int
) -> tuple[int, int]:
    """Return how many different words that are searched stand in a part of a text, and how many in all."""
    inside = [places[at][2] for at in range(start, min(start + length, len(places))) if at in found]
    return len(set(inside)), len(inside)
