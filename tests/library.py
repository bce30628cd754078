"""Books with documents in lists, two levels deep; random filters on them, and what these mean in plain Python."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic import Field as PydanticField

from docindex import BaseDoc, DocList, NdArray


class Sentence(BaseDoc):
    word: str = ''
    score: int | None = None
    embedding: NdArray[2]


class Chunk(BaseDoc):
    page: int = 0
    mark: str | None = None
    embedding: NdArray[2]
    sentences: list[Sentence] = PydanticField(default_factory=list)


class Cover(BaseDoc):
    stickers: list[Chunk] = PydanticField(default_factory=list)


class Book(BaseDoc):
    title: str = ''
    year: int | None = None
    embedding: NdArray[2]
    cover: Cover | None = None
    chunks: DocList[Chunk] | None = None


Found = dict[str, tuple[BaseModel, int]]
"""For each level on the way to a document that is found: the document of that level, and its position."""

# What can be asked at each level: fields with values for them, and lists with the level of their documents.
FIELDS: dict[str, dict[str, list[Any]]] = {
    'book': {'title': ['a', 'b', 'ab'], 'year': [0, 1, 2, None], 'id': ['book 0', 'book 3']},
    'chunk': {'page': [0, 1, 2], 'mark': ['a', 'b', None], 'id': ['book 1.0', 'book 2.1', 'x']},
    'sentence': {'word': ['a', 'b', 'ab', ''], 'score': [0, 1, 2, None]},
}
LISTS = {
    'book': {'chunks': 'chunk', 'cover__stickers': 'chunk'},
    'chunk': {'sentences': 'sentence'},
    'sentence': {},
}
IS_OPTIONAL = {'chunks', 'cover__stickers', 'cover'}

# -- random trees ------------------------------------------------------------------------------------------


def some_books(seed: int) -> list[Book]:
    chance = random.Random(seed)

    def vector() -> np.ndarray[Any, Any]:
        return np.array([chance.random(), chance.random()], np.float32)

    def sentences(name: str) -> list[Sentence]:
        return [
            Sentence(id=f'{name}.{at}', embedding=vector(), **values('sentence')) for at in range(chance.randrange(4))
        ]

    def chunks(name: str) -> list[Chunk]:
        ids = [f'{name}.{at}' for at in range(chance.randrange(4))]
        return [Chunk(id=id_, embedding=vector(), sentences=sentences(id_), **values('chunk')) for id_ in ids]

    def values(kind: str) -> dict[str, Any]:
        return {name: chance.choice(some) for name, some in FIELDS[kind].items() if name != 'id'}

    return [
        Book(
            id=name,
            embedding=vector(),
            cover=chance.choice([None, Cover(stickers=chunks(f'on {name}'))]),
            chunks=chance.choice([None, chunks(name), chunks(name), chunks(name)]),
            **values('book'),
        )
        for name in (f'book {at}' for at in range(12))
    ]


# -- random filters ----------------------------------------------------------------------------------------


def _names(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """Names of fields, of these documents or in lists of theirs, and the kind of document that has the field."""
    own = st.sampled_from([(name, kind) for name in FIELDS[kind]])
    inner = [_steps(name, of, _names(of)) for name, of in LISTS[kind].items()]
    return st.one_of(own, *inner)


def _steps(name: str, of: str, behind: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from([name, name, f'{name}__0', f'{name}__1']), behind).map(
        lambda both: (f'{both[0]}__{both[1][0]}', both[1][1])
    )


def _list_names(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """Names of lists, at any depth, and the kind of their documents."""
    own = st.sampled_from(list(LISTS[kind].items()))
    inner = [_steps(name, of, _list_names(of)) for name, of in LISTS[kind].items() if LISTS[of]]
    return st.one_of(own, *inner)


def _comparison(name: str, kind: str) -> st.SearchStrategy[dict[str, Any]]:
    values = FIELDS[kind][name.rpartition('__')[2]]
    there = [value for value in values if value is not None]
    one, several = st.sampled_from(there), st.lists(st.sampled_from(values), max_size=3)
    tests = [st.tuples(st.sampled_from(['$eq', '$ne', '$lt', '$gte']), one).map(lambda test: dict([test]))]
    tests += [st.tuples(st.sampled_from(['$in', '$nin']), several).map(lambda test: dict([test]))]
    tests += [st.booleans().map(lambda yes: {'$exists': yes}), one.map(lambda value: {'$not': {'$gt': value}})]
    if isinstance(there[0], str):
        tests += [one.map(lambda value: {'$contains': value}), one.map(lambda value: {'$startswith': value})]
    return st.one_of(*tests, st.sampled_from(values)).map(lambda test: {name: test})


def _sizes(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.integers(0, 3)
    sizes = numbers | st.tuples(st.sampled_from(['$lt', '$gte', '$ne']), numbers).map(lambda test: dict([test]))
    return st.tuples(_list_names(kind), sizes).map(lambda both: {both[0][0]: {'$size': both[1]}})


def _there(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    places = st.tuples(_list_names(kind), st.sampled_from(['', '__0', '__2'])).map(lambda both: both[0][0] + both[1])
    return st.tuples(places, st.sampled_from([None, {'$exists': True}, {'$exists': False}])).map(
        lambda both: dict([both])
    )


def _matching(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    def of(found: tuple[str, str]) -> st.SearchStrategy[dict[str, Any]]:
        name, inner = found
        places = st.sampled_from([name, f'{name}__0', f'{name}__1'])
        return st.tuples(places, filters(inner)).map(lambda both: {both[0]: {'$elemMatch': both[1]}})

    return _list_names(kind).flatmap(of)


def filters(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Filters of documents of a kind: 'book', 'chunk' or 'sentence'."""
    simple = _names(kind).flatmap(lambda found: _comparison(*found))
    if LISTS[kind]:
        simple = st.one_of(simple, simple, _sizes(kind), _there(kind), st.deferred(lambda: _matching(kind)))

    def combined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            inner.map(lambda one: {'$not': one}),
            several.map(lambda each: {'$or': each}),
            several.map(lambda each: {'$and': each}),
        )

    return st.recursive(simple, combined, max_leaves=4)


# -- what they mean ----------------------------------------------------------------------------------------


def means(query: Mapping[str, Any], kind: str, doc: Any, way: Found | None = None, at: str = '') -> bool:
    """
    Return whether a document fulfils a filter, said once more, as plainly as possible.

    Args:
        query: The filter.
        kind: What the document is.
        doc: The document.
        way: The documents that a search finds, and those that they are in, by level: what a filter says of a list
            among these is about these alone.
        at: The level of the document.
    """
    way = way or {}
    for key, value in query.items():
        if key == '$not':
            holds = not means(value, kind, doc, way, at)
        elif key in ('$or', '$and'):
            holds = (any if key == '$or' else all)(means(one, kind, doc, way, at) for one in value)
        elif not isinstance(value, Mapping):
            holds = _tests(key.split('__'), '$eq', value, kind, doc, way, at)
        else:
            holds = all(_tests(key.split('__'), test, operand, kind, doc, way, at) for test, operand in value.items())
        if not holds:
            return False
    return True


NEGATED = {'$ne': '$eq', '$nin': '$in'}


def _tests(steps: Sequence[str], test: str, operand: Any, kind: str, doc: Any, way: Found, at: str) -> bool:
    if test in NEGATED:
        return not _tests(steps, NEGATED[test], operand, kind, doc, way, at)
    if test == '$not':
        return all(not _tests(steps, one, value, kind, doc, way, at) for one, value in operand.items())
    if test == '$size' and not isinstance(operand, Mapping):
        return _tests(steps, test, {'$eq': operand}, kind, doc, way, at)
    if test == '$size' and '$ne' in operand:
        return not _tests(steps, test, operand['$ne'], kind, doc, way, at)
    if test == '$exists' and not operand:
        return not _tests(steps, test, True, kind, doc, way, at)
    if test == '$eq' and operand is None:
        return not _tests(steps, '$exists', True, kind, doc, way, at)
    if test == '$in' and None in operand:
        given_ = [one for one in operand if one is not None]
        return _tests(steps, '$in', given_, kind, doc, way, at) or _tests(steps, '$eq', None, kind, doc, way, at)
    return _some(list(steps), test, operand, kind, doc, way, at)


def _some(steps: list[str], test: str, operand: Any, kind: str, doc: Any, way: Found, at: str) -> bool:
    name = 'cover__stickers' if steps[:2] == ['cover', 'stickers'] else steps[0]
    rest = steps[2:] if name == 'cover__stickers' else steps[1:]
    if name not in LISTS[kind]:
        return _compares(getattr(doc, name), test, operand)
    inner, inside = f'{at}__{name}' if at else name, _list(doc, name)
    position = int(rest.pop(0)) if rest and rest[0].isdecimal() else None
    if not rest and position is None and test == '$exists':
        return inside is not None
    if not rest and test == '$size':
        return inside is not None and all(_compares(len(inside), one, number) for one, number in operand.items())
    there = list(enumerate(inside or []))
    if inner in way:
        there = [(place, one) for one, place in [way[inner]]]
    there = [(place, one) for place, one in there if position in (None, place)]
    of = LISTS[kind][name]
    if not rest and test == '$elemMatch':
        return any(means(operand, of, one, way, inner) for _, one in there)
    if not rest:
        return bool(there)  # $exists of a position
    return any(_some(rest.copy(), test, operand, of, one, way, inner) for _, one in there)


def _list(doc: Any, name: str) -> list[Any] | None:
    for step in name.split('__'):
        doc = None if doc is None else getattr(doc, step)
    return doc  # type: ignore[no-any-return]


def _compares(value: Any, test: str, operand: Any) -> bool:
    if value is None:
        return False
    return {
        '$eq': lambda: value == operand,
        '$in': lambda: value in operand,
        '$lt': lambda: value < operand,
        '$gt': lambda: value > operand,
        '$gte': lambda: value >= operand,
        '$exists': lambda: True,
        '$contains': lambda: operand in value,
        '$startswith': lambda: value.startswith(operand),
    }[test]()


def found_in(books: list[Book], level: str) -> Iterator[tuple[Book, Any, Found]]:
    """Yield each document of a level, with the book it is in, and the way to it."""
    for book in books:
        outer: list[tuple[Any, Found]] = [(book, {})]
        above = ''
        for name in level.replace('cover__stickers', 'cover.stickers').split('__'):
            name, above = name.replace('.', '__'), f'{above}__{name}'.strip('_').replace('.', '__')
            outer = [
                (one, {**way, above: (one, place)})
                for doc, way in outer
                for place, one in enumerate(_list(doc, name) or [])
            ]
        yield from ((book, doc, way) for doc, way in outer)


KINDS = {
    'chunks': 'chunk',
    'cover__stickers': 'chunk',
    'chunks__sentences': 'sentence',
    'cover__stickers__sentences': 'sentence',
}
LEVELS = st.sampled_from(list(KINDS))
