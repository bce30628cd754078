"""Filters as Python expressions: each is what its dictionary is."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from docindex import (
    BaseDoc,
    Field,
    Filter,
    FilterError,
    NdArray,
    SchemaError,
    contains,
    contains_all,
    contains_any,
    exists,
    fields_of,
    given,
    is_in,
    regex,
    size,
)
from docindex.parsing import parse
from docindex.schema import Schema


class Colour(Enum):
    RED = 'red'


class Chapter(BaseModel):
    title: str
    size: int = 0


class Author(BaseModel):
    name: str
    size: int = 0
    exists: bool = False
    contains: str = ''
    regex: str = ''
    in_: str = ''
    startswith: str = ''
    operator: int = 0


class Book(BaseDoc):
    title: str
    price: float = 0
    size: int = 0
    contains: str = ''
    exists: bool = False
    amount: Decimal = Decimal(0)
    colour: Colour = Colour.RED
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, int] = Field(default_factory=dict)
    anything: Any = None
    author: Author | None = None
    chapters: list[Chapter] = Field(default_factory=list)
    vector: NdArray = Field(dim=2)


F: Any = fields_of(Book)


@pytest.mark.parametrize(
    ('expression', 'query'),
    [
        (F.price == 1, {'price': 1}),
        (F.price != 1, {'price': {'$ne': 1}}),
        (F.price < 1, {'price': {'$lt': 1}}),
        (F.price <= 1, {'price': {'$lte': 1}}),
        (F.price > 1, {'price': {'$gt': 1}}),
        (F.price >= 1, {'price': {'$gte': 1}}),
        (1 < F.price, {'price': {'$gt': 1}}),  # noqa: SIM300
        (1 >= F.price, {'price': {'$lte': 1}}),  # noqa: SIM300
        (1 == F.price, {'price': 1}),  # noqa: SIM300
        (F.author == None, {'author': None}),  # noqa: E711
        (F.author != None, {'author': {'$ne': None}}),  # noqa: E711
        (F.colour == Colour.RED, {'colour': 'red'}),
        (F.amount < '9.99', {'amount': {'$lt': Decimal('9.99')}}),
        (F.id == 'a', {'id': 'a'}),
        (F.author.name == 'a', {'author__name': 'a'}),
        (F.meta['a'] == 1, {'meta__a': 1}),
        (F.meta.a == 1, {'meta__a': 1}),
        (F.meta['size'] == 1, {'meta__size': 1}),
        (F.tags[0] == 'a', {'tags__0': 'a'}),
        (F.chapters[0].title == 'a', {'chapters__0__title': 'a'}),
        (F.chapters.title == 'a', {'chapters__title': 'a'}),
        (F.chapters[0]['title'] == 'a', {'chapters__0__title': 'a'}),
        (F.anything.a[0]['b'].c > 1, {'anything__a__0__b__c': {'$gt': 1}}),
        (F.price.in_([1, 2]), {'price': {'$in': [1, 2]}}),
        (is_in(F.price, (1, 2)), {'price': {'$in': [1, 2]}}),
        (is_in(F.author.name, {'a'}), {'author__name': {'$in': ['a']}}),
        (F.author.exists == True, {'author__exists': True}),  # noqa: E712
        (F.title.exists(), {'title': {'$exists': True}}),
        (exists(F.vector), {'vector': {'$exists': True}}),
        (F.title.contains('a'), {'title': {'$contains': 'a'}}),
        (contains(F.tags, 'a'), {'tags': {'$contains': 'a'}}),
        (F.tags.contains_any(['a']), {'tags': {'$any': ['a']}}),
        (contains_any(F.tags, ['a']), {'tags': {'$any': ['a']}}),
        (F.tags.contains_all(['a']), {'tags': {'$all': ['a']}}),
        (contains_all(F.tags, ['a']), {'tags': {'$all': ['a']}}),
        (F.title.startswith('a'), {'title': {'$startswith': 'a'}}),
        (F.tags[0].startswith('a'), {'tags__0': {'$startswith': 'a'}}),
        (F.title.regex('a'), {'title': {'$regex': 'a'}}),
        (regex(F.title, re.compile('a', re.I)), {'title': {'$regex': re.compile('a', re.I)}}),
        (size(F.tags) > 3, {'tags': {'$size': {'$gt': 3}}}),
        (F.tags.size() == 3, {'tags': {'$size': 3}}),
        (size(F.meta) != 3, {'meta': {'$size': {'$ne': 3}}}),
        (is_in(size(F.chapters), [1, 2]), {'chapters': {'$size': {'$in': [1, 2]}}}),
        (size(F.anything.a) < 3, {'anything__a': {'$size': {'$lt': 3}}}),
        ((F.price < 1) & is_in(F.title, ['a']), {'price': {'$lt': 1}, 'title': {'$in': ['a']}}),
        (
            (F.price < 1) | ~F.title.startswith('x'),
            {'$or': [{'price': {'$lt': 1}}, {'$not': {'title': {'$startswith': 'x'}}}]},
        ),
    ],
    ids=str,
)
def test_an_expression_is_its_dictionary(expression: Any, query: dict[str, Any]) -> None:
    """Each comparison, function and method gives the filter that its dictionary gives."""
    assert expression == parse(Schema(Book), query)


@pytest.mark.parametrize('name', ['size', 'contains', 'exists'])
def test_a_field_that_is_called_like_a_method(name: str) -> None:
    """A field called `size` is the field, also in a document within; methods are there where no such field is."""
    value = {'size': 1, 'contains': 'a', 'exists': True}[name]
    assert (getattr(F, name) == value) == parse(Schema(Book), {name: value})
    assert (getattr(F.author, name) == value) == parse(Schema(Book), {f'author__{name}': value})


def test_methods_that_fields_hide_are_there_as_functions() -> None:
    """`exists(F.author)` asks for the author, though an author has a field `exists`; so do the other functions."""
    schema = Schema(Book)
    assert exists(F.author) == parse(schema, {'author': {'$exists': True}})
    with pytest.raises(FilterError, match=r'Book\.author: a document cannot be compared'):
        is_in(F.author, [1])
    with pytest.raises(FilterError, match=r'Book\.author: \$size is for'):
        assert size(F.author) == 1
    with pytest.raises(FilterError, match=r'Book\.author: \$regex is for'):
        regex(F.author, 'a')


def test_a_name_within_a_list_that_is_called_like_a_method() -> None:
    """Of a list, `size` is the number of its elements, and `['size']` the field of its documents."""
    chapters: Any = size(F.chapters)
    assert (chapters == 1) == parse(Schema(Book), {'chapters': {'$size': 1}})
    assert (F.chapters['size'] == 1) == parse(Schema(Book), {'chapters__size': 1})
    assert (F.chapters[0]['size'] == 1) == parse(Schema(Book), {'chapters__0__size': 1})


@pytest.mark.parametrize(
    ('look', 'message'),
    [
        (lambda: F.prise, "Book has no field 'prise'; its fields are id, title, price, size"),
        (lambda: F.author.nom, 'nom'),
        (lambda: F.author['nom'], "Book has no field 'author__nom'"),
        (lambda: F.price.x, 'x'),
        (lambda: F.price[0], "Book has no field 'price__0'"),
        (lambda: F.chapters.titel, 'titel'),
        (lambda: F.meta.a.b, 'b'),
        (lambda: F._private, '_private'),
        (lambda: F.__len__, '__len__'),
        (lambda: F.title.text, 'text'),
    ],
)
def test_an_unknown_field(look: Callable[[], Any], message: str) -> None:
    """A name that is no field is an AttributeError, as a misspelt attribute always is."""
    with pytest.raises(AttributeError, match=message):
        look()


@pytest.mark.parametrize(
    'look', [lambda: F.author.nom, lambda: F.chapters.titel, lambda: F.price.x], ids=['doc', 'list', 'float']
)
def test_an_unknown_field_within_is_told_what_there_is(look: Callable[[], Any]) -> None:
    """A misspelt field of a document within is an error that names the class, and no talk of FieldExpression."""
    with pytest.raises(AttributeError, match='Book'):
        look()


@pytest.mark.parametrize(
    ('misuse', 'message'),
    [
        (lambda: F.price < 'x', r'Book\.price: expected a number, got str'),
        (lambda: F.price < None, r'Book\.price: expected a number, got NoneType'),
        (lambda: F.tags < ['a'], 'needs values that have an order'),
        (lambda: F.title == 3, r'Book\.title: expected a string'),
        (lambda: F.price == F.size, r'Book\.price: expected a number, got FieldExpression F\.size'),
        (lambda: F.price.startswith('a'), r'Book\.price: \$startswith is for strings'),
        (lambda: F.title.in_('abc'), r'\$in takes a list'),
        (lambda: is_in(F.title, 'abc'), r'\$in takes a list'),
        (lambda: regex(F.title, '('), 'is no regular expression'),
        (lambda: size(F.title) == 3, r'Book\.title: \$size is for lists and dicts'),
        (lambda: F.tags.size() == 'x', r'Book\.tags: expected a number'),
        (lambda: is_in('title', ['a']), r"expected a field such as F\.price.*got 'title'"),
        (lambda: exists(3), r'expected a field such as F\.price'),
        (lambda: size(['a']), r'expected a field such as F\.price'),
        (lambda: contains(F, 'a'), r'expected a field such as F\.price'),
        (lambda: bool(F.exists), r'F\.exists is a field and not a value'),
        (lambda: F.price and F.size, r'F\.price is a field and not a value'),
        (lambda: not F.exists, r'F\.exists is a field and not a value'),
        (lambda: 'a' in F.tags, r'F\.tags is a field and not a list'),
        (lambda: list(F.tags), r'F\.tags is a field and not a list'),
        (lambda: [tag for tag in F.tags], r'F\.tags is a field and not a list'),  # noqa: C416
        (lambda: F.title in ['a', 'b'], 'neither true nor false'),
        (lambda: 1 < F.price < 5, 'neither true nor false'),
        (lambda: (F.price < 5) and (F.size > 1), 'neither true nor false'),
        (lambda: F.price < 5 & F.size, 'parentheses|unsupported operand'),
        (lambda: (F.price < 5) & F.size, r"F\.size is a field and no filter; compare it, and put comparisons in par"),
    ],
)  # fmt: skip
def test_misuse(misuse: Callable[[], Any], message: str) -> None:
    """What Python would understand otherwise than it was meant is refused, and the message says what to write."""
    with pytest.raises((FilterError, TypeError), match=message):
        misuse()


def test_fields_cannot_be_keys() -> None:
    """A field is no key, for its `==` is not what a dict asks for."""
    with pytest.raises(TypeError, match='unhashable'):
        hash(F.price)


def test_printing() -> None:
    """A field prints as it was written."""
    assert [repr(each) for each in (F, F.price, F.author.name)] == ['fields_of(Book)', 'F.price', 'F.author.name']


def test_an_editor_can_complete() -> None:
    """`dir()` gives the fields."""
    assert dir(F) == sorted(Book.model_fields)


def test_fields_can_be_copied() -> None:
    """What stands for the fields can be copied, as an object of any module can."""
    assert (copy.copy(F).price < 1) == (F.price < 1)
    assert (copy.deepcopy(F).price < 1) == (F.price < 1)


def test_a_key_with_two_underscores() -> None:
    """A key of a dict with two underscores in it, which cannot be named, is refused and not taken for two keys."""
    with pytest.raises((AttributeError, FilterError)):
        F.anything['a__b']


def test_what_is_inside_of_a_key_that_ends_in_an_underscore() -> None:
    """It is refused: nobody could tell which of the keys the underscore belongs to."""

    class Nested(BaseDoc):
        counts: dict[str, dict[str, int]] = Field(default_factory=dict)

    fields: Any = fields_of(Nested)
    assert exists(fields.counts['a_']).matches(Nested(counts={'a_': {}}))
    assert (fields.counts['a']['_b'] == 1).matches(Nested(counts={'a': {'_b': 1}}))
    with pytest.raises(FilterError, match='ends with an underscore'):
        fields.counts['a_']['b']


def test_a_dict_whose_name_ends_in_an_underscore() -> None:
    """Fields with Python's reserved names have an underscore at their end, and are reached into as others are."""

    class Message(BaseDoc):
        from_: dict[str, int] = Field(default_factory=dict)

    fields: Any = fields_of(Message)
    assert (fields.from_['a'] == 1).matches(Message(from_={'a': 1}))


def test_keys_that_are_no_strings() -> None:
    """The key of a dict in a filter may be what it is in the document: a member of an enum, a datetime, a tuple."""

    class Keyed(BaseDoc):
        colours: dict[Colour, int]
        times: dict[datetime, int]
        pairs: dict[tuple[int, int], int]

    fields: Any = fields_of(Keyed)
    when = datetime(2026, 1, 31)
    doc = Keyed(colours={Colour.RED: 1}, times={when: 1}, pairs={(1, 2): 1})
    for field in (fields.colours[Colour.RED], fields.colours['red'], fields.times[when], fields.pairs[1, 2]):
        assert (field == 1).matches(doc)


def test_a_class_that_cannot_be_indexed() -> None:
    """`fields_of` refuses what an index would refuse."""

    class NoId(BaseModel):
        name: str = ''

    with pytest.raises(SchemaError, match='no field "id"'):
        fields_of(NoId)


def test_what_it_matches() -> None:
    """An expression can be asked about a document."""
    book = Book(title='Go', price=3, tags=['a', 'b'], author=Author(name='Ann'), vector=np.zeros(2))
    assert ((F.price < 10) & contains(F.tags, 'a') & ~F.author.name.startswith('B')).matches(book)
    assert not ((F.price >= 10) | (size(F.tags) > 2)).matches(book)


def test_a_boolean_field_is_a_filter() -> None:
    """`F.exists` by itself, negated, or joined with another filter means that it is True."""
    yes, no = (Book(title='t', vector=np.zeros(2), exists=flag, price=3) for flag in (True, False))
    for written, expected in (
        (parse(Schema(Book), F.exists), (True, False)),
        (~F.exists, (False, True)),
        (F.exists & (F.price < 5), (True, False)),
        ((F.price > 5) | F.exists, (True, False)),
    ):
        assert isinstance(written, Filter)
        assert (written.matches(yes), written.matches(no)) == expected


def test_given_is_the_field_itself() -> None:
    """`given` changes nothing but what a type checker sees."""
    assert repr(given(F.price)) == 'F.price'
