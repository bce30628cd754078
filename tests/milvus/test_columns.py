"""What stands in the fields of a Milvus collection for the values of a document."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, create_model

from docindex import BaseDoc, DocList, DocumentError, Field, NdArray
from docindex.milvus.columns import ScalarColumn, name_in_collection, scalar_columns
from docindex.milvus.forms import LARGEST, floor_of, nearest_of, scalar, tagged, token
from docindex.schema import Schema
from docindex.values import canonical, class_of, equal, is_less
from tests.filtering import ANYTHING, BY_KIND, NUMBERS, REALS, Colour, Level, Price

NAN, INF = float('nan'), float('inf')


class Author(BaseModel):
    name: str
    face: NdArray = Field(dim=2)


class Chunk(BaseDoc):
    text: str = ''


class Article(BaseDoc):
    title: str
    words: int
    price: float
    is_new: bool
    amount: Decimal
    when: datetime
    day: date
    clock: time
    lasts: timedelta
    key: UUID
    raw: bytes
    colour: Colour
    level: Level
    cost: Price | None = None
    tags: list[str]
    meta: dict[str, Any]
    either: int | str
    subtitle: str | None = None
    author: Author | None = None
    secret: SecretStr | None = None
    password: SecretStr
    chunks: DocList[Chunk]
    notes: DocList[Chunk] | None = None
    body: str = Field(default='', index=False)
    computed: str = Field(default='', exclude=True)
    vector: NdArray = Field(dim=2)


COLUMNS = scalar_columns(Schema(Article))


def test_types() -> None:
    """Each kind of field has its type; ids, vectors and what is not looked at, or always there, have none."""
    assert {field: column.data_type for field, column in COLUMNS.items()} == {
        'title': 'VARCHAR',
        'words': 'INT64',
        'price': 'DOUBLE',
        'is_new': 'BOOL',
        'amount': 'VARCHAR',
        'when': 'INT64',
        'day': 'INT64',
        'clock': 'INT64',
        'lasts': 'VARCHAR',
        'key': 'VARCHAR',
        'raw': 'VARCHAR',
        'colour': 'VARCHAR',
        'level': 'INT64',
        'cost': 'JSON',
        'tags': 'JSON',
        'meta': 'JSON',
        'either': 'JSON',
        'subtitle': 'VARCHAR',
        'author': 'BOOL',
        'author__name': 'VARCHAR',
        'secret': 'BOOL',
        'chunks': 'INT64',
        'notes': 'INT64',
    }
    assert all(column.field == field for field, column in COLUMNS.items())
    assert {column.max_length for column in COLUMNS.values() if column.data_type == 'VARCHAR'} == {65_535}
    assert {column.max_length for column in COLUMNS.values() if column.data_type != 'VARCHAR'} == {None}


def test_what_may_be_missing() -> None:
    """A column may be null where the field or a document on the way may be None, and where there may be NaN."""
    nullable = {field for field, column in COLUMNS.items() if column.is_nullable}
    assert nullable == {'price', 'amount', 'cost', 'either', 'subtitle', 'author__name', 'notes'}


def test_names() -> None:
    """A column is called as the field; what we add, and what Milvus would not take for a name, begins differently."""
    assert COLUMNS['author__name'].name == 'author__name'
    assert [COLUMNS[name].name for name in ('author', 'secret', 'chunks')] == [
        '_has__author',
        '_has__secret',
        '_size__chunks',
    ]
    assert name_in_collection('größe') == '_u_gre_6ka8i'
    assert name_in_collection('é') == '_u_9ca'
    assert [name_in_collection(name) for name in ('like', 'Null', 'ISO')] == ['_k_like', '_k_Null', '_k_ISO']


@given(
    st.lists(st.text('aZ_9éßλ語', min_size=1, max_size=6).filter(str.isidentifier), min_size=2, max_size=6, unique=True)
)
def test_no_two_names_are_the_same(fields: list[str]) -> None:
    """Different fields have different names in a collection, all of letters, digits and underscores."""
    names = [name_in_collection(field) for field in fields]
    assert len({*names}) == len(fields)
    assert all(name.isascii() and name.isidentifier() for name in names)
    assert all(name == field or name.startswith('_') for name, field in zip(names, fields, strict=True))


def test_a_field_called_like_a_word_of_expressions_is_looked_at() -> None:
    """A field `like` has a column, by another name."""
    cls = create_model('Odd', __base__=BaseDoc, like=(str, ''), größe=(int, 0))
    assert {field: column.name for field, column in scalar_columns(Schema(cls)).items()} == {
        'like': '_k_like',
        'größe': '_u_gre_6ka8i',
    }


@pytest.mark.parametrize(
    ('field', 'value', 'expected'),
    [
        ('title', 'a\ud800é', 'a?é'),
        ('words', 3, 3),
        ('words', 1 << 63, (1 << 63) - 1),
        ('words', -(1 << 63), -(1 << 63) + 1),
        ('words', -(10**400), -(1 << 63) + 1),
        ('price', 9.5, 9.5),
        ('price', 3, 3.0),
        ('price', NAN, None),
        ('price', INF, LARGEST),
        ('price', -INF, -LARGEST),
        ('is_new', True, True),
        ('amount', Decimal('sNaN'), None),
        ('when', datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1_000_000),
        ('day', date(1, 1, 2), 2),
        ('clock', time(0, 0, 0, 5), 5),
        ('lasts', timedelta(0), '100000000000000000000'),
        ('key', UUID(int=255), '0' * 30 + 'ff'),
        ('raw', b'\0\xff', '00ff'),
        ('colour', Colour.RED, 'red'),
        ('level', Level.LOW, -1),
        ('cost', Price.CHEAP, {'number': 1.5}),
        ('tags', ['a', '$b', ''], {'list': ['a', '$$b', '$'], 'length': 3.0}),
        ('either', 5, {'number': 5.0}),
        ('either', 'x', {'text': 'x'}),
        ('either', None, None),
        (
            'meta',
            {'a': 1, '': None, '$b': [True, 0.5, None, {}]},
            {
                'dict': {
                    'a': {'number': 1.0},
                    '$$b': {'list': ['$boolean:True', '$number:0.5', None, {'dict': {}, 'size': 0.0}], 'length': 4.0},
                },
                'size': 3.0,
            },
        ),
        ('author', None, False),
        ('author', 'any', True),
        ('chunks', [1, 2], 2),
        ('notes', None, None),
        ('notes', [], 0),
    ],
)
def test_encode(field: str, value: Any, expected: Any) -> None:
    """Values stand in the collection as the tables at the top of `columns` and `forms` say."""
    found = COLUMNS[field].encode(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ('field', 'value', 'complaint'),
    [
        ('title', 'é' * 32_768, "'title' has 65,536 bytes .* takes 65,535 in a text; with Field\\(index=False\\)"),
        ('raw', b'x' * 32_768, "'raw' has 65,536 bytes"),
        ('tags', ['x' * 65_515], "'tags' has 65,5.. bytes .* takes 65,536 in a list"),
        ('title', None, "'title' is None or NaN"),
        ('title', 5, "'title': expected a string, got 5"),
        ('words', 2.5, "'words': expected an integer, got 2.5"),
        ('price', Decimal('0.1'), "'price': expected a number, got Decimal"),
        ('meta', [1], "'meta': expected a dict"),
    ],
)
def test_what_a_server_refuses(field: str, value: Any, complaint: str) -> None:
    """What is too long for Milvus, or not what the schema says, is an error that names the field."""
    with pytest.raises(DocumentError, match=complaint):
        COLUMNS[field].encode(value)


def test_what_is_just_short_enough() -> None:
    """A text of 65,535 bytes, and a list of 65,536 as JSON, are stored."""
    assert COLUMNS['title'].encode('é' * 32_767 + 'x')
    empty = len('{"list":[""],"length":1.0}')
    assert COLUMNS['tags'].encode(['x' * (65_536 - empty)])
    with pytest.raises(DocumentError):
        COLUMNS['tags'].encode(['x' * (65_537 - empty)])


def test_a_column_without_nulls() -> None:
    """Where a server has no nulls, a column can be made one that refuses what is missing."""
    column = ScalarColumn('subtitle', 'subtitle', 'VARCHAR', is_nullable=False)
    assert column.encode('x') == 'x'
    with pytest.raises(DocumentError, match='subtitle'):
        column.encode(None)


# -- forms ----------------------------------------------------------------------------------------------


def stored(kind: str, value: Any) -> Any:
    """What stands in the column of a kind."""
    fields = {'text': 'title', 'decimal': 'amount', 'datetime': 'when', 'date': 'day', 'time': 'clock'}
    fields |= {'duration': 'lasts', 'uuid': 'key', 'bytes': 'raw', 'boolean': 'is_new'}
    return COLUMNS[fields[kind]].encode(value)


@pytest.mark.parametrize('kind', sorted(BY_KIND.keys() - {'number'}))
@settings(max_examples=50)
@given(data=st.data())
def test_what_is_less_stands_there_as_less(kind: str, data: st.DataObject) -> None:
    """Equal values are stored as the same, smaller ones as smaller, in columns and within JSON."""
    one, other = data.draw(BY_KIND[kind]), data.draw(BY_KIND[kind])
    left, right = canonical(one), canonical(other)
    assert (stored(kind, one) == stored(kind, other)) is equal(left, right)
    if kind != 'decimal':
        assert (scalar(left) == scalar(right)) is equal(left, right)
    if kind != 'boolean':
        assert (stored(kind, one) < stored(kind, other)) is is_less(left, right)
        assert kind == 'decimal' or (scalar(left) < scalar(right)) is is_less(left, right)


@given(NUMBERS | REALS | BY_KIND['decimal'], st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_lie_between_doubles(given_: Any, double: float) -> None:
    """A number within the doubles lies at the one below it, or before the next; no double comes in between."""
    number = canonical(given_)
    if number is None:
        return
    floor, nearest = floor_of(number), nearest_of(number)
    assert math.isfinite(floor)
    assert nearest in (floor, math.nextafter(floor, INF))
    if -LARGEST <= number <= LARGEST:
        assert (floor == number) or (floor < number < math.nextafter(floor, INF))
        assert (double <= number) is (double <= floor)
    assert tagged(number) == ({'number': floor} if floor == number else {'above': floor})


@given(ANYTHING, ANYTHING)
def test_tokens_are_equal_where_values_are(one: Any, other: Any) -> None:
    """Two scalars are the same element of a list if they are equal, of whatever class, and only then."""
    left, right = canonical(one), canonical(other)
    if {class_of(left), class_of(right)} & {'none', 'list', 'dict'}:
        return
    assert (token(left) == token(right)) is equal(left, right)
    assert token(left) == token(canonical(left))


@given(NUMBERS | REALS | BY_KIND['decimal'], NUMBERS | REALS | BY_KIND['decimal'])
def test_tokens_of_numbers(one: Any, other: Any) -> None:
    """Integers, floats and Decimals are the same element of a list if they are the same number."""
    left, right = canonical(one), canonical(other)
    if left is not None and right is not None:
        assert (token(left) == token(right)) is equal(left, right)


@given(st.integers(-(1 << 53), 1 << 53))
def test_an_integer_is_one_token(number: int) -> None:
    """An integer is the same element of a list as an int, a float and a Decimal."""
    assert token(number) == token(float(number)) == token(Decimal(number)) == f'$number:{number}'
