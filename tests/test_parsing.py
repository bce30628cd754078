"""Dictionaries become filters, or errors that name the field and what is possible."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel, SecretStr

from docindex import BaseDoc, Field, FilterError, NdArray, QueryError
from docindex.filters import SIZE, And, Condition, Filter, Not, Or
from docindex.parsing import is_field, parse
from docindex.schema import Schema


class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Chapter(BaseModel):
    title: str
    pages: int | None = None


class Author(BaseDoc):
    name: str
    age: int = 0
    face: NdArray | None = Field(default=None, dim=2)


class Book(BaseDoc):
    title: str
    price: float = 0
    pages: int | None = None
    sold: bool = False
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
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, int] = Field(default_factory=dict)
    anything: Any = None
    author: Author | None = None
    chapters: list[Chapter] = Field(default_factory=list)
    secret: SecretStr | None = None
    vector: NdArray = Field(dim=2)


SCHEMA = Schema(Book)


def parsed(query: object) -> Filter:
    return parse(SCHEMA, query)


def condition(query: object) -> Condition:
    """Return what is parsed, which must be one condition."""
    found = parsed(query)
    assert isinstance(found, Condition)
    return found


# -- the dialect ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('operator', ['$lt', '$lte', '$gt', '$gte', '$eq', '$in', '$regex', '$startswith', '$contains'])
def test_an_operator_is_a_condition(operator: str) -> None:
    """A field with one operator is one condition: on the column, with the operator and the canonical operand."""
    operand: Any = ['a'] if operator == '$in' else 'a'
    found = condition({'author__name': {operator: operand}})
    assert (found.field, found.steps, found.path, found.operator) == ('author__name', ('author', 'name'), (), operator)
    assert found.operand == (('a',) if operator == '$in' else 'a')
    assert found.kind.name == 'text'


def test_negative_operators_negate() -> None:
    """`$ne`, `$neq` and `$nin` are `$not` of `$eq` and `$in`; `{'$exists': False}` and None are not `$exists`."""
    same = parsed({'price': 3})
    assert parsed({'price': {'$eq': 3}}) == same
    assert [parsed({'price': {operator: 3}}) for operator in ('$ne', '$neq')] == [Not(same), Not(same)]
    assert parsed({'price': {'$not': {'$eq': 3}}}) == parsed({'price': {'$not': 3}}) == Not(same)
    assert parsed({'$not': {'price': 3}}) == Not(same)
    assert parsed({'price': {'$nin': [3]}}) == Not(parsed({'price': {'$in': [3]}}))
    there = parsed({'pages': {'$exists': True}})
    assert [parsed({'pages': each}) for each in (None, {'$eq': None}, {'$exists': False})] == [Not(there)] * 3
    assert parsed({'pages': {'$ne': None}}) == Not(Not(there))


@pytest.mark.parametrize('name', ['vector', 'author', 'author__face', 'secret'])
def test_what_cannot_be_compared_is_none_of_no_values(name: str) -> None:
    """On a vector or a document `$in` takes None alone: of nothing it is never true, of None what None is by itself."""
    never = Not(And())
    assert parsed({name: {'$in': []}}) == never
    assert parsed({name: {'$nin': []}}) == Not(never)
    assert parsed({name: {'$in': [None, None]}}) == Or((never, parsed({name: None})))
    assert parsed(parsed({name: {'$nin': [None]}}).to_dict()) == parsed({name: {'$nin': [None]}})


def test_several_conditions_mean_and() -> None:
    """Several operators on a field, several fields, and several documents within, all have to be true."""
    low, high, title = parsed({'price': {'$gte': 1}}), parsed({'price': {'$lt': 2}}), parsed({'title': 'a'})
    assert parsed({'price': {'$gte': 1, '$lt': 2}}) == And((low, high))
    assert parsed({'price': {'$gte': 1}, 'title': 'a'}) == And((low, title))
    assert parsed({'$and': [{'price': {'$gte': 1}}, {'title': 'a'}]}) == And((low, title))
    assert parsed({'$or': [{'price': {'$gte': 1}}, {'title': 'a'}]}) == Or((low, title))
    assert parsed({'$or': {'price': {'$gte': 1}, 'title': 'a'}}) == Or((low, title))
    assert parsed({'$or': [{'price': {'$gte': 1, '$lt': 2}}]}) == Or((And((low, high)),))
    name, age = parsed({'author__name': 'x'}), parsed({'author__age': {'$gt': 3}})
    assert parsed({'author': {'name': 'x', 'age': {'$gt': 3}}}) == And((name, age))


@pytest.mark.parametrize('query', [None, {}, OrderedDict(), MappingProxyType({})])
def test_nothing_lets_everything_pass(query: object) -> None:
    """No filter is a filter that lets everything pass."""
    assert parsed(query) == And()
    assert parsed({'$and': [{}, {}]}) == And((And(), And()))


def test_places() -> None:
    """A name is split into the column and the way into its value."""
    places = {
        'meta__a': ('meta', ('a',)),
        'meta__a__': None,
        'tags__0': ('tags', ('0',)),
        'chapters__title': ('chapters', ('title',)),
        'chapters__0__title': ('chapters', ('0', 'title')),
        'anything__a__0__b': ('anything', ('a', '0', 'b')),
        'author__name': ('author__name', ()),
        'author__id': ('author__id', ()),
    }
    for name, place in places.items():
        if place is None:
            assert not is_field(SCHEMA, name)
        else:
            found = condition({name: {'$exists': True}})
            assert (found.field, found.path) == place
            assert is_field(SCHEMA, name)


def test_the_size_is_a_place() -> None:
    """`$size` takes a number, or conditions on it."""
    found = condition({'tags': {'$size': 3}})
    assert (found.path, found.operator, found.operand) == ((SIZE,), '$eq', 3)
    assert condition({'tags': {'$size': {'$gte': 3}}}).operator == '$gte'
    assert parsed({'tags': {'$size': {'$gte': 1, '$lt': 3}}}) == And(
        (parsed({'tags': {'$size': {'$gte': 1}}}), parsed({'tags': {'$size': {'$lt': 3}}}))
    )
    assert condition({'meta': {'$size': 3}}).path == (SIZE,)


@pytest.mark.parametrize('values', [[1, 2], (1, 2), {1, 2}, frozenset({1, 2}), range(1, 3), {1: 'a', 2: 'b'}.keys()])
def test_any_iterable_is_a_list(values: Any) -> None:
    """`$in` takes what can be iterated over, an iterator too."""
    assert condition({'pages': {'$in': values}}).operand == (1, 2)
    assert condition({'pages': {'$in': iter(values)}}).operand == (1, 2)
    assert condition({'pages': {'$in': np.array([1, 2])}}).operand == (1, 2)


@pytest.mark.parametrize(
    ('name', 'written', 'value'),
    [
        ('when', '2026-01-31T12:00:00Z', datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('when', '2026-01-31 12:00', datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('when', '2026-01-31', datetime(2026, 1, 31, tzinfo=UTC)),
        ('day', '2026-01-31', date(2026, 1, 31)),
        ('clock', '12:30', time(12, 30)),
        ('lasts', 'PT90S', timedelta(seconds=90)),
        ('uuid', '00000000-0000-0000-0000-000000000007', UUID(int=7)),
        ('amount', '9.990', Decimal('9.99')),
        ('amount', 9.99, Decimal('9.99')),
        ('colour', 'red', Colour.RED),
        ('level', 2, Level.HIGH),
    ],
)
def test_values_as_json_has_them(name: str, written: Any, value: Any) -> None:
    """What JSON can only say as a string or number means the same as the value itself, with each operator."""
    for build in (
        lambda one: {name: one},
        lambda one: {name: {'$in': [one]}},
        lambda one: {name: {'$not': {'$nin': [one]}}},
    ):
        assert parsed(build(written)) == parsed(build(value))
    if name != 'colour':
        assert parsed({name: {'$lt': written}}) == parsed({name: {'$lt': value}})


# -- errors -----------------------------------------------------------------------------------------------

ERRORS: list[tuple[Any, str]] = [
    # not a filter
    (
        'price < 3',
        "a filter is a dictionary such as {'price': {'$lt': 10}}, or a comparison such as F.price < 10; got str",
    ),
    ([{'price': 3}], 'a filter is a dictionary'),
    (True, 'a filter is a dictionary'),
    (3, 'a filter is a dictionary'),
    ({'$and': [3]}, 'a filter is a dictionary'),
    ({'$not': 'x'}, 'a filter is a dictionary'),
    # fields
    ({'prise': 3}, "Book has no field 'prise'; did you mean 'price'?"),
    ({'author__nam': 'x'}, "Book has no field 'author__nam'; did you mean 'author__name'?"),
    ({'author': {'nam': 'x'}}, "Book has no field 'author__nam'; did you mean 'author__name'?"),
    ({'xyz': 3}, "Book has no field 'xyz'; its fields are id, title, price,"),
    ({'': 3}, "Book has no field ''"),
    ({'__': 3}, "Book has no field '__'"),
    ({'price__x': 3}, "Book: there is no 'x' in price (float)"),
    ({'price__0': 3}, "Book: there is no '0' in price (float)"),
    ({'tags__x': 3}, "Book: there is no 'x' in tags (list[str])"),
    ({'chapters__titel': 'x'}, "Book: there is no 'titel' in chapters (list[Chapter]); in it are title, pages"),
    ({'chapters__0__titel': 'x'}, "Book: there is no 'titel' in chapters__0 (list[Chapter]); in it are title, pages"),
    ({'chapters__title__x': 'x'}, "Book: there is no 'x' in chapters__title"),
    ({'meta__a__b': 1}, "Book: there is no 'b' in meta__a"),
    ({3: 1}, '3 is no field and none of $and, $or, $not'),
    ({None: 1}, 'None is no field'),
    ({('price',): 1}, "('price',) is no field"),
    ({'$nor': []}, "'$nor' is no field and none of $and, $or, $not"),
    ({'$lt': 3}, "'$lt' is no field and none of $and, $or, $not; write {'the field': {'$lt': ...}}"),
    # operators
    ({'price': {'$lower': 3}}, "Book.price: there is no operator '$lower'; did you mean $"),
    ({'price': {'$xyz': 3}}, "Book.price: there is no operator '$xyz'; the operators are $eq, $ne,"),
    ({'price': {'$gte ': 3}}, "there is no operator '$gte '; did you mean $gte?"),
    ({'price': {'$LT': 3}}, "Book.price: there is no operator '$LT'"),
    ({'price': {'$lt': 3, 'x': 1}}, "Book.price: there is no operator 'x'"),
    ({'price': {'$lt': 3, 4: 1}}, 'Book.price: there is no operator 4'),
    ({'price': {'$and': []}}, "Book.price: there is no operator '$and'"),
    ({'sold': {'$lt': True}}, 'Book.sold: $lt needs values that have an order, and a bool has none'),
    ({'colour': {'$gte': 'red'}}, 'Book.colour: $gte needs values that have an order, and a Colour | None has none'),
    ({'tags': {'$gt': ['a']}}, 'Book.tags: $gt needs values that have an order'),
    ({'anything': {'$gt': [1]}}, 'Book.anything: $gt needs values that have an order'),
    ({'anything': {'$gt': True}}, 'Book.anything: $gt needs values that have an order'),
    ({'price': {'$regex': 'a'}}, 'Book.price: $regex is for strings, and this is a float'),
    ({'tags': {'$startswith': 'a'}}, 'Book.tags: $startswith is for strings, and this is a list[str]'),
    ({'price': {'$contains': 1}}, 'Book.price: $contains is for lists and strings, and this is a float'),
    ({'title': {'$any': ['a']}}, 'Book.title: $any is for lists, and this is a str'),
    ({'title': {'$all': ['a']}}, 'Book.title: $all is for lists'),
    ({'title': {'$size': 1}}, 'Book.title: $size is for lists and dicts, and this is a str'),
    ({'author': {'$size': 1}}, 'Book.author: $size is for lists and dicts'),
    # values
    ({'price': '3'}, "Book.price: expected a number, got str '3'"),
    ({'price': True}, 'Book.price: expected a number, got bool True'),
    ({'price': {'$lt': None}}, 'Book.price: expected a number, got NoneType None'),
    ({'price': {'$lt': float('nan')}}, 'Book.price: expected a number, got float nan'),
    ({'price': {'$in': [1, 'x']}}, "Book.price: expected a number, got str 'x'"),
    ({'price': [1, 2]}, 'Book.price: expected a number, got list [1, 2]; for one of several values write $in'),
    ({'price': {}}, 'Book.price: expected a number, got dict {}'),
    ({'price': {'lt': 3}}, "Book.price: expected a number, got dict {'lt': 3}"),
    ({'title': 3}, 'Book.title: expected a string, got int 3'),
    ({'title': b'a'}, 'Book.title: expected a string, got bytes'),
    ({'title': {'$startswith': 3}}, 'Book.title: $startswith takes a string, got int 3'),
    ({'title': {'$contains': None}}, 'Book.title: $contains takes a string, got NoneType None'),
    ({'title': {'$regex': 3}}, 'Book.title: $regex takes a string or re.compile(...) of one, got 3'),
    ({'title': {'$regex': re.compile(b'a')}}, 'Book.title: $regex takes a string'),
    ({'title': {'$regex': '('}}, "Book.title: $regex: '(' is no regular expression: missing )"),
    ({'title': {'$in': 'abc'}}, "Book.title: $in takes a list, got str 'abc'"),
    ({'title': {'$in': {'a': 1}}}, 'Book.title: $in takes a list, got dict'),
    ({'title': {'$nin': 3}}, 'Book.title: $nin takes a list, got int 3'),
    ({'raw': 'a'}, 'Book.raw: expected bytes, got str'),
    ({'sold': 1}, 'Book.sold: expected True or False, got int 1'),
    ({'sold': 'true'}, 'Book.sold: expected True or False'),
    ({'pages': {'$exists': 1}}, 'Book.pages: $exists takes True or False, got 1'),
    ({'pages': {'$exists': None}}, 'Book.pages: $exists takes True or False, got None'),
    ({'when': 'yesterday'}, 'Book.when: expected a datetime or date, or a string such as'),
    ({'when': 3}, 'Book.when: expected a datetime or date'),
    ({'day': datetime(2020, 1, 1)}, 'Book.day: expected a date'),
    ({'clock': 'noon'}, 'Book.clock: expected a time'),
    ({'lasts': 'long'}, 'Book.lasts: expected a timedelta'),
    ({'uuid': 'x'}, 'Book.uuid: expected a UUID'),
    ({'amount': 'x'}, 'Book.amount: expected a Decimal'),
    ({'amount': Decimal('NaN')}, 'Book.amount: expected a Decimal'),
    ({'colour': 'green'}, "Book.colour: 'green' is none of 'red', 'blue'"),
    ({'colour': {'$in': ['red', 'green']}}, "Book.colour: 'green' is none of 'red', 'blue'"),
    ({'colour': Level.LOW}, "Book.colour: expected one of 'red', 'blue', got Level"),
    ({'level': 3}, 'Book.level: 3 is none of 1, 2'),
    ({'level': 'LOW'}, "Book.level: expected one of 1, 2, got str 'LOW'"),
    ({'word': {'$ne': 'c'}}, "Book.word: 'c' is none of 'a', 'b'"),
    ({'tags': 'a'}, "Book.tags: expected a list, got str 'a'; for an element write $contains"),
    ({'tags': {'$contains': 3}}, 'Book.tags: expected a string, got int 3'),
    ({'tags': {'$any': 'a'}}, "Book.tags: $any takes a list, got str 'a'"),
    ({'tags': {'$all': [1]}}, 'Book.tags: expected a string, got int 1'),
    ({'tags': {'$size': 'a'}}, "Book.tags: expected a number, got str 'a'"),
    ({'tags': {'$size': {'$regex': 'a'}}}, 'Book.tags: $regex is for strings'),
    ({'meta__a': 'x'}, "Book.meta__a: expected a number, got str 'x'"),
    ({'chapters__0__pages': 'x'}, 'Book.chapters__0__pages: expected a number'),
    ({'chapters__title': 3}, 'Book.chapters__title: expected a string'),
    ({'vector': [1, 2]}, 'Book.vector: a '),
    ({'secret': 'x'}, 'Book.secret: a SecretStr | None cannot be compared; one can ask whether it is there: $exists'),
    ({'author': 'x'}, 'Book.author: a document cannot be compared; one can ask whether it is there: $exists'),
    ({'author': {'$in': [1]}}, 'Book.author: a document cannot be compared'),
    # combinations
    ({'$and': []}, '$and takes a list of filters, got []'),
    ({'$or': []}, '$or takes a list of filters, got []'),
    ({'$or': {}}, '$or takes a list of filters, got {}'),
    ({'$or': 'x'}, '$or takes a list of filters'),
    ({'$and': None}, '$and takes a list of filters'),
]


@pytest.mark.parametrize(('query', 'message'), ERRORS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize('wrap', [lambda query: query, lambda query: {'$or': [{'price': 1}, {'$not': query}]}])
def test_errors(query: Any, message: str, wrap: Callable[[Any], Any]) -> None:
    """What is wrong is told before anything runs, with the field and what is possible, however deep it stands."""
    with pytest.raises(FilterError) as caught:
        parsed(wrap(query))
    assert message in str(caught.value)
    assert isinstance(caught.value, (QueryError, ValueError))


@pytest.mark.parametrize('operator', ['$eq', '$ne', '$in', '$contains', '$any'])
def test_a_value_that_nothing_can_be(operator: str) -> None:
    """A value that no document can hold in a comparable way is refused, also where any value is possible."""
    operand: Any = [object()] if operator in ('$in', '$any') else object()
    with pytest.raises(FilterError, match=r'Book\.anything'):
        parsed({'anything': {operator: operand}})


INJECTIONS = [
    'price; DROP TABLE fields',
    "price' OR '1'='1",
    'price"',
    'f_price',
    'label',
    'rowid',
    'price--',
    'price\0',
]


@pytest.mark.parametrize('name', INJECTIONS)
def test_a_name_is_a_field_or_refused(name: str) -> None:
    """Nothing but the schema's names is a field, alone or within; and no operator but those there are."""
    for query in ({name: 1}, {f'author__{name}': 1}, {'author': {name: 1}}, {f'price__{name}': 1}):
        with pytest.raises(FilterError, match=r'has no field|there is no'):
            parsed(query)
    with pytest.raises(FilterError, match='there is no operator'):
        parsed({'price': {f'${name}': 1}})


@pytest.mark.parametrize('depth', [100, 400, 5_000])
def test_too_deep(depth: int) -> None:
    """A filter that is nested as deep as nobody writes is parsed or refused, but nothing breaks."""
    query: dict[str, Any] = {'price': 1}
    for _ in range(depth):
        query = {'$not': query}
    try:
        found = str(parsed(query))
    except FilterError as error:
        found = str(error)
    assert 'nested' in found or found.count('not ') == depth


def test_a_query_is_left_as_it_was() -> None:
    """Parsing changes nothing in the dictionary, and later changes to it change nothing in the filter."""
    tags = ['a']
    query = {'tags': {'$eq': tags}, '$or': [{'price': 1}]}
    found = parsed(query)
    assert query == {'tags': {'$eq': ['a']}, '$or': [{'price': 1}]}
    tags.append('b')
    assert found == parsed({'tags': {'$eq': ['a']}, '$or': [{'price': 1}]})


def test_a_filter_of_another_schema() -> None:
    """A filter that was made for one class is checked anew for another."""

    class Other(BaseDoc):
        price: int = 0

    class Textual(BaseDoc):
        price: str = ''

    cheap = parse(Schema(Other), {'price': {'$lt': 3}})
    assert parsed(cheap) == parsed({'price': {'$lt': 3}})
    with pytest.raises(FilterError, match=r'Textual\.price: expected a string'):
        parse(Schema(Textual), cheap)
    with pytest.raises(FilterError, match="Author has no field 'price'"):
        parse(Schema(Author), cheap)
