"""What filters mean: `Filter.matches` for each operator and each kind of value."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr

from docindex import BaseDoc, Field, FilterError, NdArray, fields_of, is_in
from docindex.filters import And, Condition, Filter, Not, Or
from docindex.parsing import parse
from docindex.schema import Schema

NAN = float('nan')


class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Chapter(BaseModel):
    title: str
    pages: int | None = None
    tags: list[str] = []


class Author(BaseModel):
    name: str
    born: date | None = None
    face: NdArray | None = Field(default=None, dim=2)


class Book(BaseDoc):
    text: str | None = None
    number: int | None = None
    real: float | None = None
    flag: bool | None = None
    amount: Decimal | None = None
    when: datetime | None = None
    day: date | None = None
    clock: time | None = None
    lasts: timedelta | None = None
    uuid: UUID | None = None
    raw: bytes | None = None
    colour: Colour | None = None
    level: Level | None = None
    word: Literal['a', 'b'] | None = None
    texts: list[str] | None = None
    numbers: set[int] | None = None
    rows: list[list[int]] | None = None
    meta: dict[str, Any] | None = None
    either: int | str | None = None
    anything: Any = None
    author: Author | None = None
    chapters: list[Chapter] | None = None
    secret: SecretStr | None = None
    vector: NdArray | None = Field(default=None, dim=2)


SCHEMA = Schema(Book)


def holds(query: Any, **fields: Any) -> bool:
    """Whether a filter lets a book with these fields pass."""
    return parse(SCHEMA, query).matches(Book.model_validate({'id': 'x', **fields}))


# A field, a value, one that is less, and one that is more.
ORDERED: dict[str, tuple[Any, Any, Any]] = {
    'text': ('b', 'a\U0010ffff', 'b\0'),
    'number': (2, -(10**30), 1 << 70),
    'real': (0.5, float('-inf'), float('inf')),
    'amount': (Decimal('9.99'), Decimal('9.98999'), Decimal('1E+3')),
    'when': (datetime(2020, 1, 1), datetime.min, datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    'day': (date(2020, 1, 1), date.min, date.max),
    'clock': (time(12), time.min, time(12, 0, 0, 1)),
    'lasts': (timedelta(1), timedelta(-1), timedelta(1, 0, 1)),
    'uuid': (UUID(int=5), UUID(int=4), UUID(int=1 << 100)),
    'raw': (b'b', b'a\xff', b'b\0'),
    'level': (Level.LOW, 0, Level.HIGH),
    'word': ('a', '', 'b'),
    'either': (2, 1, 3),
    'anything': ('b', 'a', 'c'),
}
CHOICES = ('level', 'word')
UNORDERED: dict[str, tuple[Any, Any]] = {
    'flag': (True, False),
    'colour': (Colour.RED, Colour.BLUE),
    'texts': (['a', 'b'], ['b', 'a']),
    'numbers': ({1, 2}, {1}),
    'meta': ({'a': 1}, {'a': 2}),
    'anything': ([1], [1, 1]),
}
PAIRS = [
    *((name, one, more) for name, (one, _, more) in ORDERED.items()),
    *((n, *pair) for n, pair in UNORDERED.items()),
]
NAMES = ['text', 'number', 'real', 'flag', 'amount', 'when', 'day', 'clock', 'lasts', 'uuid', 'raw', 'colour', 'level']
NAMES += ['word', 'texts', 'numbers', 'rows', 'meta', 'either', 'anything', 'author', 'chapters', 'secret', 'vector']


@pytest.mark.parametrize('name', list(ORDERED))
def test_order(name: str) -> None:
    """`$lt $lte $gt $gte` compare values of each kind that has an order as Python does."""
    one, less, more = ORDERED[name]
    for operator, expected in {'$lt': (0, 0, 1), '$lte': (0, 1, 1), '$gt': (1, 0, 0), '$gte': (1, 1, 0)}.items():
        found = [holds({name: {operator: other}}, **{name: one}) for other in (less, one, more)]
        assert found == [bool(each) for each in expected], operator


@pytest.mark.parametrize(('name', 'one', 'other'), PAIRS)
def test_equality(name: str, one: Any, other: Any) -> None:
    """`$eq`, `$ne`, `$neq`, `$in`, `$nin` and a bare value compare values of each kind."""
    for value in (one, other):
        is_same = value is one
        assert holds({name: {'$eq': value}}, **{name: one}) is is_same
        assert holds({name: {'$ne': value}}, **{name: one}) is not is_same
        assert holds({name: {'$neq': value}}, **{name: one}) is not is_same
        assert holds({name: {'$in': [value]}}, **{name: one}) is is_same
        assert holds({name: {'$nin': [value]}}, **{name: one}) is not is_same
        assert holds({name: {'$not': {'$eq': value}}}, **{name: one}) is not is_same
        assert holds({name: {'$in': [other, value]}}, **{name: one}) is is_same
    if name != 'meta':
        assert holds({name: one}, **{name: one})
        assert not holds({name: other}, **{name: one})


@pytest.mark.parametrize('name', NAMES)
def test_missing(name: str) -> None:
    """Of what is None `$exists` is false, `{name: None}` true, and `$ne: None` false."""
    assert not holds({name: {'$exists': True}})
    assert holds({name: {'$exists': False}})
    assert holds({name: None})
    assert holds({name: {'$eq': None}})
    assert not holds({name: {'$ne': None}})
    assert not holds({name: {'$not': None}})


@pytest.mark.parametrize(('name', 'one', 'other'), PAIRS)
def test_there(name: str, one: Any, other: Any) -> None:
    """Of what has a value `$exists` is true."""
    assert holds({name: {'$exists': True}}, **{name: one})
    assert not holds({name: None}, **{name: other})


@pytest.mark.parametrize(
    ('name', 'value'), [('secret', 'x'), ('vector', [1, 2]), ('author', {'name': ''}), ('texts', [])]
)
def test_there_though_it_cannot_be_compared(name: str, value: Any) -> None:
    """Secrets, vectors and documents can be asked whether they are there; an empty list is."""
    assert holds({name: {'$exists': True}}, **{name: value})
    assert not holds({name: None}, **{name: value})


@pytest.mark.parametrize(('name', 'one', 'other'), PAIRS)
def test_conditions_on_what_is_missing_are_false(name: str, one: Any, other: Any) -> None:
    """A condition on None is false, its negation true: `$ne`, `$nin` and `$not` let None pass."""
    assert not holds({name: {'$eq': one}})
    assert not holds({name: {'$in': [one, other]}})
    assert holds({name: {'$ne': one}})
    assert holds({name: {'$nin': [one, other]}})
    assert holds({'$not': {name: {'$eq': one}}})
    if one is ORDERED.get(name, (None,))[0]:
        for operator in ('$lt', '$lte', '$gt', '$gte'):
            assert not holds({name: {operator: one}})
            assert holds({name: {'$not': {operator: one}}})


def test_nan_is_missing() -> None:
    """NaN counts as None: it exists not, and no comparison with it is true."""
    assert holds({'real': None}, real=NAN)
    assert not holds({'real': {'$exists': True}}, real=NAN)
    assert not holds({'$or': [{'real': {'$lt': 1}}, {'real': {'$gte': 1}}]}, real=NAN)
    assert holds({'real': {'$ne': 1}}, real=NAN)
    assert not holds({'meta__a': {'$exists': True}}, meta={'a': NAN})
    assert not holds({'anything': {'$exists': True}}, anything=Decimal('sNaN'))


@pytest.mark.parametrize('operator', ['$in', '$nin', '$any', '$all'])
def test_one_of_nothing(operator: str) -> None:
    """No value is one of none: `$in []` and `$any []` are false, `$nin []` true, `$all []` true of every list."""
    expected = operator in ('$nin', '$all')
    assert holds({'texts': {operator: []}}, texts=['a']) is expected
    assert holds({'texts': {operator: []}}, texts=[]) is expected
    assert holds({'texts': {operator: []}}) is (operator == '$nin')


def test_none_among_values() -> None:
    """None in `$in` lets missing values pass, in `$nin` it keeps them out."""
    assert holds({'number': {'$in': [1, None]}})
    assert holds({'number': {'$in': [1, None]}}, number=1)
    assert not holds({'number': {'$in': [1, None]}}, number=2)
    assert not holds({'number': {'$nin': [1, None]}})
    assert holds({'number': {'$nin': [1, None]}}, number=2)
    assert holds({'number': {'$in': [None]}})


def test_numbers_of_different_types_are_equal() -> None:
    """1 and 1.0 are equal, 0.0 and -0.0; True is not 1, where both are possible."""
    assert holds({'number': 1.0}, number=1)
    assert holds({'real': -0.0}, real=0.0)
    assert holds({'either': 1.0}, either=1)
    assert not holds({'anything': True}, anything=1)
    assert not holds({'anything': 1}, anything=True)
    assert not holds({'anything': '1'}, anything=1)
    assert not holds({'anything': {'$lt': 'b'}}, anything=1)
    assert holds({'number': 1 << 64}, number=1 << 64)
    assert holds({'amount': 9.99}, amount=Decimal('9.99'))
    assert holds({'amount': {'$lt': 10}}, amount=Decimal('9.99'))


def test_one_moment_in_two_time_zones() -> None:
    """Datetimes are compared as moments; one without a zone is in UTC, a date is its midnight."""
    noon = datetime.fromisoformat('2020-01-01T14:00:00+02:00')
    assert holds({'when': datetime(2020, 1, 1, 12)}, when=noon)
    assert holds({'when': '2020-01-01T12:00:00Z'}, when=noon)
    assert holds({'when': {'$gt': date(2020, 1, 1), '$lt': date(2020, 1, 2)}}, when=noon)


@pytest.mark.parametrize(
    ('condition', 'expected'),
    [
        ({'$startswith': ''}, True),
        ({'$startswith': 'Ab'}, True),
        ({'$startswith': 'ab'}, False),
        ({'$startswith': 'Ab%'}, True),
        ({'$startswith': '%'}, False),
        ({'$contains': ''}, True),
        ({'$contains': '%_'}, True),
        ({'$contains': 'b_'}, False),
        ({'$contains': '\\'}, True),
        ({'$regex': ''}, True),
        ({'$regex': '^Ab'}, True),
        ({'$regex': '^ab'}, False),
        ({'$regex': '(?i)^ab'}, True),
        ({'$regex': re.compile('^AB', re.IGNORECASE)}, True),
        ({'$regex': re.compile('(?i)^AB')}, True),
        ({'$regex': re.compile('A B # x', re.VERBOSE | re.IGNORECASE)}, True),
        ({'$regex': r'\\$'}, True),
        ({'$regex': '^b'}, False),
    ],
    ids=str,
)
def test_strings(condition: dict[str, Any], expected: bool) -> None:
    """Beginnings, parts and regular expressions are exact, with upper and lower case, without wildcards."""
    assert holds({'text': condition}, text='Ab%_\\') is expected
    assert holds({'meta__a': condition}, meta={'a': 'Ab%_\\'}) is expected
    assert not holds({'text': condition})
    assert not holds({'anything': condition}, anything=7)


@pytest.mark.parametrize(
    ('condition', 'expected'),
    [
        ({'$contains': 'a'}, True),
        ({'$contains': 'ab'}, False),
        ({'$contains': ''}, False),
        ({'$any': ['x', 'b']}, True),
        ({'$any': ['x']}, False),
        ({'$all': ['b', 'a', 'a']}, True),
        ({'$all': ['a', 'x']}, False),
        ({'$size': 3}, True),
        ({'$size': 2}, False),
        ({'$size': {'$gt': 2, '$lt': 4}}, True),
        ({'$size': {'$in': [1, 3]}}, True),
        ({'$size': {'$ne': 3}}, False),
        ({'$size': {'$not': {'$lt': 3}}}, True),
        ({'$eq': ['a', 'b', 'a']}, True),
        ({'$in': [['a'], ['a', 'b', 'a']]}, True),
    ],
    ids=str,
)
def test_lists(condition: dict[str, Any], expected: bool) -> None:
    """Lists are asked for an element, some, all, and for how many there are; a part of an element is none."""
    assert holds({'texts': condition}, texts=['a', 'b', 'a']) is expected
    assert holds({'anything': condition}, anything=('a', 'b', 'a')) is expected


def test_sizes() -> None:
    """Dicts and sets have a size, an empty list has size 0, and what is missing has none."""
    assert holds({'meta': {'$size': 2}}, meta={'a': 1, 'b': None})
    assert holds({'numbers': {'$size': 1}}, numbers=[1, 1])
    assert holds({'texts': {'$size': 0}}, texts=[])
    assert not holds({'texts': {'$size': 0}})
    assert holds({'texts': {'$size': {'$exists': False}}})
    assert not holds({'anything': {'$size': 1}}, anything='a')


BOOK = {
    'meta': {'a': {'b': [1, {'c': 'x'}]}, '0': 'zero', '': 'empty', '$size': 'dollar', 'none': None},
    'rows': [[1, 2], [3]],
    'chapters': [
        {'title': 'One', 'pages': 3, 'tags': ['x', 'y']},
        {'title': 'Two', 'tags': []},
        {'title': 'Three', 'pages': 9},
    ],
    'author': {'name': 'A', 'born': '2000-01-01'},
    'anything': [[{'k': 1}], {'k': 2}, 'k'],
}


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ({'author__name': 'A'}, True),
        ({'author': {'name': 'A', 'born': {'$lt': '2001-01-01'}}}, True),
        ({'author': {'name': 'A', 'born': None}}, False),
        ({'author__face': None}, True),
        ({'meta__a__b__0': 1}, True),
        ({'meta__a__b__1__c': 'x'}, True),
        ({'meta__a__b__c': 'x'}, True),
        ({'meta__a__b__9': 1}, False),
        ({'meta__a__b': {'$size': 2}}, True),
        ({'meta__a': {'$size': 1}}, True),
        ({'meta__0': 'zero'}, True),
        ({'meta__': 'empty'}, True),
        ({'meta__x': None}, True),
        ({'meta__x': {'$ne': 1}}, True),
        ({'meta__none': {'$exists': False}}, True),
        ({'meta__none__deeper': None}, True),
        ({'meta__a__b': {'$contains': {'c': 'x'}}}, True),
        ({'meta__a': {'b': [1, {'c': 'x'}]}}, True),
        ({'meta__a': {'$eq': {'b': [1]}}}, False),
        ({'rows__0': [1, 2]}, True),
        ({'rows__1__0': 3}, True),
        ({'rows__0__0': 3}, False),
        ({'rows': {'$contains': [3]}}, True),
        ({'rows__1': {'$size': 1}}, True),
        ({'chapters__0__title': 'One'}, True),
        ({'chapters__1__title': 'One'}, False),
        ({'chapters__title': 'Three'}, True),
        ({'chapters__title': 'Four'}, False),
        ({'chapters__title': {'$contains': 'hre'}}, True),
        ({'chapters__pages': {'$gt': 3}}, True),
        ({'chapters__pages': {'$gt': 9}}, False),
        ({'chapters__pages': {'$exists': True}}, True),
        ({'chapters__1__pages': None}, True),
        ({'chapters__tags': {'$contains': 'y'}}, True),
        ({'chapters__tags': {'$size': 0}}, True),
        ({'chapters__tags': {'$size': 5}}, False),
        ({'chapters__tags__1': 'y'}, True),
        ({'chapters__0': {'$eq': {'title': 'One', 'pages': 3, 'tags': ['x', 'y']}}}, True),
        ({'chapters': {'$size': 3}}, True),
        ({'anything__k': 1}, True),
        ({'anything__0__k': 1}, True),
        ({'anything__1__k': 1}, False),
        ({'anything__k': 3}, False),
    ],
    ids=str,
)
def test_inside(query: dict[str, Any], expected: bool) -> None:
    """A name reaches into documents, dicts and lists: to one position, or to any element."""
    assert holds(query, **BOOK) is expected
    assert holds({'$not': query}, **BOOK) is not expected


def test_any_element_is_meant_by_each_condition_alone() -> None:
    """Two conditions on any element may be true of two elements; `$ne` is true if no element is equal."""
    both = {'chapters__title': 'One', 'chapters__pages': 9}
    assert holds(both, **BOOK)
    assert not holds({'chapters__title': {'$ne': 'One'}}, **BOOK)
    assert holds({'chapters__pages': {'$gt': 5, '$lt': 5}}, **BOOK)
    assert not holds({'chapters__pages': {'$gt': 9, '$lt': 5}}, **BOOK)


def test_and_or_not() -> None:
    """`$and`, `$or` and `$not` are what they are in logic, and several conditions mean and."""
    yes, no = {'number': 1}, {'number': 2}
    for query, expected in (
        ({}, True),
        ({'$and': [yes, no]}, False),
        ({'$and': [yes, {}]}, True),
        ({'$or': [no, yes]}, True),
        ({'$or': [no, no]}, False),
        ({'$not': no}, True),
        ({'$not': {}}, False),
        ({'$not': {'$or': [no, {'$not': yes}]}}, True),
        ({'number': 1, 'text': 'a'}, True),
        ({'number': 1, 'text': 'b'}, False),
        ({'number': {'$gt': 0, '$lt': 1}}, False),
        ({'number': 1, '$or': [{'text': 'b'}, {'text': 'a'}]}, True),
        ({'$or': {'number': 2, 'text': 'a'}}, True),
        ({'$and': {'number': 2, 'text': 'a'}}, False),
    ):
        assert holds(query, number=1, text='a') is expected, query


def test_a_document_that_lacks_a_field() -> None:
    """A document that was made without validation and lacks a field has None there."""
    bare = Book.model_construct(id='x')
    bare.__dict__.pop('number', None)
    assert parse(SCHEMA, {'number': None}).matches(bare)
    assert not parse(SCHEMA, {'author__name': 'A'}).matches(bare)


def test_a_document_of_another_class() -> None:
    """A filter can be asked about any document that has the fields."""

    class Other(BaseModel):
        number: int

    assert parse(SCHEMA, {'number': 3}).matches(Other(number=3))
    assert not parse(SCHEMA, {'text': 'a'}).matches(Other(number=3))


# -- combining --------------------------------------------------------------------------------------------

F: Any = fields_of(Book)
ONE, TWO, THREE = (parse(SCHEMA, {'number': at}) for at in (1, 2, 3))


def test_and_and_or_stay_flat() -> None:
    """`&` of three is one `And` of three, `|` one `Or`; each keeps its parts in order."""
    one, two, three = ONE, TWO, THREE
    both, either = And((one, two, three)), Or((one, two, three))
    assert [one & two & three, one & (two & three)] == [both, both]
    assert [one | two | three, one | (two | three)] == [either, either]
    assert (one | two) & three == And((Or((one, two)), three))
    assert ~(one & two) == Not(And((one, two)))
    assert And() & one == And((one,))


@pytest.mark.parametrize('other', [True, False, None, 1, {'number': 1}, F.number])
def test_only_filters_are_combined(other: Any) -> None:
    """What is no filter cannot be combined with one; the message mentions the parentheses that were forgotten."""
    for combine in (lambda: ONE & other, lambda: other & ONE, lambda: ONE | other, lambda: other | ONE):
        with pytest.raises(FilterError, match='parentheses'):
            combine()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    'misuse',
    [
        lambda: ONE and TWO,
        lambda: ONE or TWO,
        lambda: not ONE,
        lambda: bool(ONE),
        lambda: [1] if ONE else [],
        lambda: 1 < F.number < 5,
        lambda: F.number in (1, 2),
    ],
)
def test_a_filter_is_not_true(misuse: Any) -> None:
    """`and`, `or`, `not`, `if`, chains of comparisons and `in` are refused, with what to write instead."""
    with pytest.raises(FilterError, match='&'):
        misuse()


def test_a_filter_does_not_change() -> None:
    """Filters are values: equal if they say the same, and their attributes cannot be set."""
    assert parse(SCHEMA, {'number': 1}) == ONE
    assert ONE != TWO
    assert isinstance(ONE, Condition)
    with pytest.raises(AttributeError):
        ONE.operand = 2  # type: ignore[misc]


@pytest.mark.parametrize('query', [{'number': 1}, {'number': {'$in': [1]}}, {'texts': {'$any': ['a']}, 'text': None}])
def test_filters_can_be_keys(query: dict[str, Any]) -> None:
    """Filters, being values, can stand in sets and as keys of dicts, whatever they compare with."""
    assert len({parse(SCHEMA, query), parse(SCHEMA, query)}) == 1


# -- printing, dictionaries -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('filter_', 'text'),
    [
        (F.number < 3, 'number < 3'),
        (F.number == 3, 'number == 3'),
        (F.number != 3, 'not number == 3'),
        ((F.number >= 1) & (F.number <= 3), 'number >= 1 and number <= 3'),
        ((F.number > 1) | is_in(F.text, ['a']), "number > 1 or text in ['a']"),
        (
            parse(SCHEMA, {'number': 1, '$or': [{'text': 'a'}, {'text': 'b'}]}),
            "number == 1 and (text == 'a' or text == 'b')",
        ),
        (~(parse(SCHEMA, {'number': 1, 'text': 'a'})), "not (number == 1 and text == 'a')"),
        (parse(SCHEMA, {'author__name': {'$exists': True}}), 'author__name exists'),
        (parse(SCHEMA, {'author': None}), 'not author exists'),
        (parse(SCHEMA, {'texts': {'$any': ['a'], '$all': ['b']}}), "texts any of ['a'] and texts all of ['b']"),
        (parse(SCHEMA, {'text': {'$regex': 'a', '$startswith': 'b'}}), "text regex 'a' and text startswith 'b'"),
        (parse(SCHEMA, {'chapters__0__title': 'x'}), "chapters__0__title == 'x'"),
        (parse(SCHEMA, {}), 'all'),
        (parse(SCHEMA, None), 'all'),
    ],
    ids=str,
)
def test_printing(filter_: Filter, text: str) -> None:
    """A filter prints as one would write it, with parentheses where they matter."""
    assert str(filter_) == text


QUERIES: list[dict[str, Any]] = [
    {},
    {'number': {'$gt': 0, '$lt': 5}},
    {'number': {'$in': [1, None]}},
    {'number': {'$nin': [1, 2]}},
    {'$or': [{'text': 'a'}, {'$not': {'number': None}}, {}]},
    {'when': {'$gte': '2020-01-01'}, 'amount': 1.5, 'uuid': str(UUID(int=1)), 'lasts': 'P1D'},
    {'colour': Colour.RED, 'level': {'$gt': Level.LOW}, 'word': 'a'},
    {'texts': {'$size': {'$gt': 1}, '$contains': 'a', '$any': ['a'], '$all': []}},
    {'texts': ['a'], 'numbers': {3, 20}, 'rows__0': [1]},
    {'meta': {'$eq': {'$eq': 1, 'a': {'$in': []}}}},
    {'meta__$x': 1, 'meta__': {'$ne': None}, "meta__'": 'x'},
    {'meta': {'$size': 2}, 'meta__a__b': {'$size': {'$ne': 1}}},
    {'author': {'name': {'$regex': re.compile('a', re.I)}}, 'author__face': None},
    {'anything': {'$lt': 5, '$contains': {'a': 1}}},
    {'anything__0__x': {'$exists': False}},
]


@pytest.mark.parametrize('query', QUERIES, ids=str)
def test_a_filter_as_a_dictionary(query: dict[str, Any]) -> None:
    """`to_dict` says all of a filter: parsed again it is equal, and so is the filter itself when it is parsed."""
    filter_ = parse(SCHEMA, query)
    assert parse(SCHEMA, filter_.to_dict()) == filter_
    assert parse(SCHEMA, filter_) == filter_


def test_a_key_that_is_an_operator() -> None:
    """A key of a dict that is called `$size` is a key, and not the number of elements."""
    assert holds({'meta__$size': 'dollar'}, **BOOK)
    assert not holds({'meta__$size': 5}, **BOOK)
