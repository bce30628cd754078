"""What values are to filters: their canonical form, their kinds, and how SQLite and JSON hold them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict
from uuid import UUID

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, HttpUrl, SecretStr

from docindex import ID, AnyTensor, BaseDoc, DocList, ImageUrl, NdArray
from docindex.kinds import Kind, kind_of
from docindex.values import OPAQUE, canonical, class_of, decimal_key, equal, from_json, is_less, to_json, to_sql
from tests.programs import named

INF, NAN = math.inf, math.nan
EAST = timezone(timedelta(hours=14))


class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mood(StrEnum):
    GOOD = 'good'


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Mixed(Enum):
    TEXT = 'a'
    NUMBER = 1


class Day(Enum):
    FIRST = date(2020, 1, 1)


class Point(NamedTuple):
    x: int
    y: int


class Options(TypedDict):
    wide: bool


@dataclasses.dataclass
class Size:
    width: int
    height: float | None = None


class Inner(BaseModel):
    name: str = 'a'
    size: Size | None = None


class Loose(BaseModel):
    model_config = ConfigDict(extra='allow')
    known: int = 1


class Doc(BaseDoc):
    text: str = ''


# -- canonical --------------------------------------------------------------------------------------------

CANONICAL: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (1, 1),
    (np.float64(1.5), 1.5),
    (NAN, None),
    (INF, INF),
    ((1 << 63) - 1, (1 << 63) - 1),
    (-(1 << 63), -(1 << 63)),
    (1 << 63, float(1 << 63)),
    (10**30, 1e30),
    (10**400, INF),
    (-(10**400), -INF),
    ('', ''),
    ('é\0', 'é\0'),
    ('a\ud800', 'a?'),
    (np.str_('a'), 'a'),
    (ImageUrl('a.png'), 'a.png'),
    (HttpUrl('http://a.b/'), 'http://a.b/'),
    (PurePosixPath('a/b'), 'a/b'),
    (IPv4Address('127.0.0.1'), '127.0.0.1'),
    (Colour.RED, 'red'),
    (Level.HIGH, 2),
    (Mood.GOOD, 'good'),
    (Rights.READ | Rights.WRITE, 3),
    (Day.FIRST, date(2020, 1, 1)),
    (Decimal('NaN'), None),
    (Decimal('sNaN'), None),
    (Decimal('1.50'), Decimal('1.5')),
    (datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)),
    (datetime(2020, 1, 1, fold=1), datetime(2020, 1, 1, tzinfo=UTC)),
    (datetime(2020, 1, 1, 14, tzinfo=EAST), datetime(2020, 1, 1, tzinfo=UTC)),
    (datetime.min.replace(tzinfo=EAST), datetime.min.replace(tzinfo=UTC)),
    (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), datetime.max.replace(tzinfo=UTC)),
    (date(2020, 1, 1), date(2020, 1, 1)),
    (time(15, tzinfo=EAST), time(1)),
    (time(1, tzinfo=EAST), time(11)),
    (time(12, fold=1), time(12)),
    (b'a', b'a'),
    ([1, NAN, 'a'], [1, None, 'a']),
    ((1, (2,)), [1, [2]]),
    (deque([1]), [1]),
    (Point(1, 2), [1, 2]),
    (set(), []),
    (frozenset({'b', 'a'}), ['a', 'b']),
    (DocList[Doc]([Doc(id='1', text='a')]), [{'id': '1', 'text': 'a'}]),
    ({1: 'a', Colour.RED: None}, {'1': 'a', 'red': None}),
    (OrderedDict(a=1), {'a': 1}),
    (defaultdict(list, a=[]), {'a': []}),
    (Inner(size=Size(3)), {'name': 'a', 'size': {'width': 3, 'height': None}}),
    (Loose.model_validate({'more': Level.LOW}), {'known': 1, 'more': 1}),
    (SecretStr('a'), OPAQUE),
    (np.zeros(2), OPAQUE),
    (1j, OPAQUE),
    (re.compile('a'), OPAQUE),
    (object(), OPAQUE),
    (Size, OPAQUE),
]


@pytest.mark.parametrize(('value', 'expected'), CANONICAL, ids=named)
def test_canonical(value: Any, expected: Any) -> None:
    """All that is equal to a filter has one form, of one of the builtin types."""
    found = canonical(value)
    assert found == expected
    assert type(found) is type(expected)
    assert canonical(found) == found


def test_a_decimal_that_is_no_number_inside_of_a_list() -> None:
    """NaN is no value inside of containers either."""
    assert canonical({'a': [Decimal('NaN'), {'b': NAN}]}) == {'a': [None, {'b': None}]}


class Moment(datetime):
    """As pandas and pendulum have them."""


class Identity(UUID):
    """As asyncpg has it."""


class Duration(timedelta):
    pass


class Bytes(bytes):
    pass


class Calendar(date):
    pass


class Clock(time):
    pass


class Amount(Decimal):
    pass


@pytest.mark.parametrize(
    ('value', 'plain'),
    [
        (Moment(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)),
        (Moment(2020, 1, 1, 14, tzinfo=EAST), datetime(2020, 1, 1, tzinfo=UTC)),
        (Calendar(2020, 1, 1), date(2020, 1, 1)),
        (Clock(12), time(12)),
        (Duration(1), timedelta(1)),
        (Identity(int=1), UUID(int=1)),
        (Bytes(b'a'), b'a'),
        (Amount(1), Decimal(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_derived_class_is_as_what_it_derives_from(value: Any, plain: Any) -> None:
    """What other libraries derive from Python's own classes has the same canonical form, of Python's class."""
    assert canonical(value) == plain
    assert type(canonical(value)) is type(plain)
    assert equal(canonical(value), plain)


@given(st.sets(st.integers() | st.floats(allow_nan=False) | st.text(max_size=2) | st.none(), max_size=5))
def test_equal_sets_have_one_form(values: set[Any]) -> None:
    """Sets that are equal are so in their canonical form, in whatever order and type their numbers are."""
    other = {int(one) if isinstance(one, float) and one.is_integer() and abs(one) < 1 << 62 else one for one in values}
    assert other == values
    assert equal(canonical(values), canonical(other))


# -- equal, less ------------------------------------------------------------------------------------------

ORDERED: list[list[Any]] = [
    ['', '\0', 'A', 'a', 'a\0', 'ab', 'b', 'é', '\ud7ff', '\ue000', '\U0010ffff'],
    [-INF, -(1 << 63), -1, -0.5, 0, 5e-324, 1, (1 << 53), (1 << 53) + 1, (1 << 63) - 1, float(1 << 63), INF],
    [canonical(moment) for moment in (datetime.min, datetime(1969, 12, 31), datetime(2020, 1, 1), datetime.max)],
    [date.min, date(1970, 1, 1), date.max],
    [time.min, time(0, 0, 0, 1), time(0, 0, 1), time.max],
    [timedelta.min, -timedelta.resolution, timedelta(), timedelta.resolution, timedelta.max],
    [timedelta.max - timedelta.resolution, timedelta.max],
    [UUID(int=0), UUID(int=1), UUID(int=1 << 64), UUID(int=(1 << 128) - 1)],
    [b'', b'\0', b'a', b'a\0', b'\xff'],
    [
        Decimal(text)
        for text in (
            *('-Infinity', '-1E+1000000', '-1E+30', '-15', '-1.51', '-1.5', '-1.49', '-1', '-0.15', '-1E-1000000', '0'),
            *('1E-1000000', '0.1', '0.11', '1', '1.5', '9.99', '10', '100', '123456789012345678901234567890'),
            *('123456789012345678901234567891', '1E+30', '1E+1000000', 'Infinity'),
        )
    ],
]


@pytest.mark.parametrize('values', ORDERED, ids=lambda values: type(values[0]).__name__)
def test_sqlite_has_the_order_of_python(values: list[Any]) -> None:
    """Values of one kind are held by SQLite in an order that is theirs, and equal only where they are equal."""
    for at, one in enumerate(values):
        for other in values[at + 1 :]:
            assert is_less(one, other)
            assert not is_less(other, one)
            assert not equal(one, other)
            assert to_sql(one) < to_sql(other)
            assert type(to_sql(one)) in (int, float, str, bytes)


@given(st.lists(st.decimals(allow_nan=False), min_size=2, max_size=2))
def test_the_keys_of_decimals_are_in_their_order(pair: list[Decimal]) -> None:
    """Of two Decimals the smaller has the smaller key; equal ones, however they are written, have the same."""
    left, right = pair
    assert (decimal_key(left) < decimal_key(right)) == (left < right)
    assert (decimal_key(left) == decimal_key(right)) == (left == right)


@pytest.mark.parametrize(
    ('one', 'other'),
    [('1', '1.000'), ('1E+2', '100'), ('0', '-0'), ('0', '0E+10'), ('-1.50', '-1.5'), ('1E+1000000', '10E+999999')],
)
def test_equal_decimals_have_one_key(one: str, other: str) -> None:
    """How a Decimal is written does not matter."""
    assert decimal_key(Decimal(one)) == decimal_key(Decimal(other))


def test_decimals_of_the_largest_exponents() -> None:
    """Exponents of 18 digits, the largest that there are, fit into the keys."""
    written = ['-9E+999999999999999999', '-1E-999999999999999999', '1E-999999999999999999', '9E+999999999999999999']
    keys = [decimal_key(Decimal(text)) for text in written]
    assert keys == sorted(keys)
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ('one', 'other'),
    [(1, True), (0, False), (1, '1'), ('a', b'a'), (date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)), ([], {})],
)
def test_other_classes_are_never_equal_and_have_no_order(one: Any, other: Any) -> None:
    """A boolean is no number, a date no datetime; nothing of two classes is equal or less, also inside of lists."""
    assert not equal(one, other)
    assert not equal([one], [other])
    assert not equal({'a': one}, {'a': other})
    assert not is_less(one, other)
    assert not is_less(other, one)


def test_equal_looks_inside() -> None:
    """Lists are equal element by element in their order, dicts key by key in any order."""
    assert equal([1, {'a': 2.0, 'b': None}], [1.0, {'b': None, 'a': 2}])
    assert not equal([1, 2], [2, 1])
    assert not equal([1], [1, 1])
    assert not equal({'a': 1}, {'a': 1, 'b': 1})
    assert not equal(OPAQUE, OPAQUE)


@pytest.mark.parametrize('value', [True, [1], {'a': 1}, OPAQUE, None])
def test_what_has_no_order(value: Any) -> None:
    """Booleans, lists, dicts, None and what cannot be compared are never less than anything."""
    assert not is_less(value, value)
    assert not is_less(False, True)
    assert not is_less([], [1])


def test_class_of() -> None:
    """Each canonical value is of a class, None of one for itself."""
    values = [1, 1.0, Decimal(1), True, 'a', None, OPAQUE, [], {}]
    expected = ['number', 'number', 'number', 'boolean', 'text', 'none', 'opaque', 'list', 'dict']
    assert [class_of(value) for value in values] == expected


# -- JSON -------------------------------------------------------------------------------------------------

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.decimals(),
    st.datetimes(timezones=st.sampled_from([None, UTC, EAST, timezone(timedelta(seconds=7))])),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.binary(),
    st.just(OPAQUE),
)
KEYS = st.sampled_from(['a', '', '$', '$dict', '$float', '$datetime', '$opaque', '$decimal']) | st.text()
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


def same(left: Any, right: Any) -> bool:
    """Whether two canonical values are equal, and of the same types all through."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return (
        bool(left == right) and math.copysign(1, left) == math.copysign(1, right)
        if type(left) is float
        else left == right
    )


@given(VALUES)
def test_json_gives_canonical_values_back(value: Any) -> None:
    """Every canonical value comes back from JSON as what it was, with its type, its sign and the order of its keys."""
    value = canonical(value)
    text = to_json(value)
    assert same(from_json(text), value)
    assert text.encode().decode() == text


@pytest.mark.parametrize(
    'value',
    [
        {'$datetime': 'x'},
        {'$dict': [['a', 1]]},
        {'$float': 'inf'},
        {'$opaque': 1},
        {'$': 1, 'a': {'$list': []}},
        {'$dict': {'$dict': []}},
        {'a': {'$decimal': Decimal(1)}},
        [{'$float': INF}, -INF, {'': -0.0}],
    ],
)
def test_keys_that_look_like_tags(value: Any) -> None:
    """A dict whose keys begin with a dollar is a dict, whatever they are."""
    assert same(from_json(to_json(value)), value)


def test_json_says_equal_things_once() -> None:
    """Equal strings are the same JSON, wherever they stand: conditions on lists look for that."""
    for text in ('', 'a"b', 'é', '\0', '\u2028', '\U0010ffff', '\\'):
        assert to_json(text) in to_json([1, text, {'a': [text]}])


# -- kinds ------------------------------------------------------------------------------------------------

Price = NewType('Price', float)

KINDS: list[tuple[Any, str]] = [
    (str, 'text'),
    (ID, 'text'),
    (ImageUrl, 'text'),
    (HttpUrl, 'text'),
    (Path, 'text'),
    (IPv4Address, 'text'),
    (int, 'number'),
    (float, 'number'),
    (int | float, 'number'),
    (Price, 'number'),
    (pydantic.PositiveInt, 'number'),
    (pydantic.ByteSize, 'number'),
    (Optional[int], 'number'),  # noqa: UP045
    (Annotated[int | None, 'x'], 'number'),
    (bool, 'boolean'),
    (Decimal, 'decimal'),
    (pydantic.condecimal(max_digits=3), 'decimal'),
    (datetime, 'datetime'),
    (date, 'date'),
    (time, 'time'),
    (timedelta, 'duration'),
    (UUID, 'uuid'),
    (pydantic.UUID4, 'uuid'),
    (bytes, 'bytes'),
    (Colour, 'text'),
    (Level, 'number'),
    (Mood, 'text'),
    (Rights, 'number'),
    (Mixed, 'any'),
    (Day, 'any'),
    (Literal['a', 'b'], 'text'),
    (Literal[1, 2], 'number'),
    (Literal[True], 'boolean'),
    (Literal[Colour.RED], 'text'),
    (Literal['a', 1], 'any'),
    (list[int], 'list'),
    (list, 'list'),
    (tuple[int, str], 'list'),
    (set[str], 'list'),
    (deque[int], 'list'),
    (DocList[Doc], 'list'),
    (Point, 'list'),
    (dict[str, int], 'dict'),
    (dict, 'dict'),
    (Mapping[str, int], 'dict'),
    (Options, 'dict'),
    (Size, 'dict'),
    (Inner, 'dict'),
    (int | str, 'any'),
    (bool | int, 'any'),
    (Decimal | int, 'any'),
    (Inner | None | str, 'any'),
    (Any, 'any'),
    (object, 'any'),
    (NdArray, 'opaque'),
    (NdArray.__class_getitem__(3), 'opaque'),
    (AnyTensor, 'opaque'),
    (SecretStr, 'opaque'),
    (complex, 'opaque'),
    (re.Pattern[str], 'opaque'),
]


@pytest.mark.parametrize(('annotation', 'name'), KINDS, ids=str)
def test_kinds(annotation: Any, name: str) -> None:
    """Each type has one kind, with or without None, constraints or another name."""
    assert kind_of(annotation).name == name
    assert kind_of(Annotated[annotation, 'more']).name == name
    if annotation is not Any:
        assert kind_of(annotation | None).name == name if hasattr(annotation, '__or__') else True


@pytest.mark.parametrize(
    ('annotation', 'name'),
    [
        (pydantic.AwareDatetime, 'datetime'),
        (pydantic.NaiveDatetime, 'datetime'),
        (pydantic.PastDatetime, 'datetime'),
        (pydantic.PastDate, 'date'),
        (pydantic.FutureDate, 'date'),
    ],
    ids=str,
)
def test_the_dates_of_pydantic(annotation: Any, name: str) -> None:
    """A date that pydantic checks further, such as AwareDatetime, is a date to a filter."""
    assert kind_of(annotation).name == name


ABSTRACT = {'Sequence': 'list', 'MutableSequence': 'list', 'Set': 'list', 'Collection': 'list'}


@pytest.mark.parametrize('name', list(ABSTRACT))
def test_abstract_containers_are_lists(name: str) -> None:
    """`Sequence[str]` and its like are lists of strings."""
    import collections.abc

    kind = kind_of(getattr(collections.abc, name)[str])
    assert kind.name == 'list'
    assert kind.element().name == 'text'


def test_choices_and_order() -> None:
    """Enums and literals know their choices; those have an order that are numbers or strings themselves."""
    assert kind_of(Colour).choices == ('red', 'blue')
    assert kind_of(Literal['x', 'y']).choices == ('x', 'y')
    assert kind_of(Rights).choices is None
    assert kind_of(str).choices is None
    ordered = [kind_of(annotation).is_ordered for annotation in (Level, Mood, Literal['a'], str, Any, int | str)]
    assert ordered == [True] * 6
    unordered = [
        kind_of(annotation).is_ordered for annotation in (Colour, bool, Literal[True], list[int], dict, NdArray)
    ]
    assert unordered == [False] * 6


def test_a_choice_that_may_be_none() -> None:
    """`Literal['a', None]` is `Literal['a'] | None`."""
    kind = kind_of(Literal['a', None])
    assert (kind.name, kind.choices, kind.is_ordered) == ('text', ('a',), True)


def test_an_enum_of_decimals_is_no_number() -> None:
    """Decimals are held otherwise than other numbers, and so are enums of them."""

    class Amounts(Enum):
        SMALL = Decimal('1.5')

    kind = kind_of(Amounts)
    assert kind.name in ('decimal', 'any')


@pytest.mark.parametrize('flag', [Flag('F', ['A', 'B']), IntFlag('F', ['A', 'B'])])
def test_any_sum_of_flags_is_possible(flag: Any) -> None:
    """Flags are numbers; a sum of them can be asked for."""
    both = flag.A | flag.B
    assert kind_of(flag).operand(both, is_choice=True) == 3


@pytest.mark.parametrize(
    ('annotation', 'step', 'name'),
    [
        (list[int], '0', 'number'),
        (list[list[str]], '0', 'list'),
        (list[Inner], '0', 'dict'),
        (list[Inner], 'name', 'text'),
        (list[list[Inner]], 'name', 'text'),
        (DocList[Doc], 'text', 'text'),
        (dict[str, int], 'anything', 'number'),
        (dict[str, list[str]], '0', 'list'),
        (Mapping[str, Inner], 'a', 'dict'),
        (dict, 'a', 'any'),
        (list, '0', 'any'),
        (tuple[int, str], '1', 'any'),
        (tuple[int, ...], '1', 'number'),
        (Loose, 'more', 'any'),
        (Loose, 'known', 'number'),
        (Inner, 'size', 'dict'),
        (Any, 'a', 'any'),
        (list[int], 'name', None),
        (list[Inner], 'nome', None),
        (Inner, 'nome', None),
        (str, '0', None),
        (NdArray, '0', None),
    ],
    ids=str,
)
def test_what_is_inside(annotation: Any, step: str, name: str | None) -> None:
    """A kind knows the kind of what a name or a position inside of it is, or that there is none."""
    found = kind_of(annotation).step(step)
    assert (found and found.name) == name


def test_members() -> None:
    """The names inside are known of documents, and of documents in lists."""
    assert kind_of(Inner).members() == kind_of(list[Inner]).members() == ['name', 'size']
    assert kind_of(dict[str, int]).members() == kind_of(str).members() == []


# -- operands ---------------------------------------------------------------------------------------------

OPERANDS: list[tuple[Any, Any, Any]] = [
    (str, ImageUrl('a'), 'a'),
    (float, 1, 1),
    (int, 1.5, 1.5),
    (int, 10**30, 1e30),
    (bool, True, True),
    (Decimal, 9.99, Decimal('9.99')),
    (Decimal, 3, Decimal(3)),
    (Decimal, '1e2', Decimal(100)),
    (Decimal, (1 << 64) + 1, Decimal((1 << 64) + 1)),
    (Decimal, INF, Decimal('Infinity')),
    (Decimal, Decimal('-Infinity'), Decimal('-Infinity')),
    (datetime, '2026-01-31T12:00:00Z', datetime(2026, 1, 31, 12, tzinfo=UTC)),
    (datetime, '2026-01-31T12:00:00+02:00', datetime(2026, 1, 31, 10, tzinfo=UTC)),
    (datetime, '2026-01-31', datetime(2026, 1, 31, tzinfo=UTC)),
    (datetime, date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
    (date, '2026-01-31', date(2026, 1, 31)),
    (time, '12:00:00', time(12)),
    (timedelta, 'PT1H30M', timedelta(minutes=90)),
    (UUID, str(UUID(int=7)), UUID(int=7)),
    (bytes, b'a', b'a'),
    (Colour, Colour.RED, 'red'),
    (Colour, 'red', 'red'),
    (Level, 2, 2),
    (list[int], (1, 2), [1, 2]),
    (dict[str, int], {'a': 1}, {'a': 1}),
    (Any, 'a', 'a'),
]


@pytest.mark.parametrize(('annotation', 'value', 'expected'), OPERANDS, ids=str)
def test_operands(annotation: Any, value: Any, expected: Any) -> None:
    """What a value is compared with may be said as JSON can say it, and keeps its exact value."""
    found = kind_of(annotation).operand(value, is_choice=True)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ('annotation', 'value', 'message'),
    [
        (int, '1', 'expected a number, got str'),
        (int, True, 'expected a number, got bool True'),
        (int, NAN, 'expected a number, got float nan'),
        (str, 1, 'expected a string, got int 1'),
        (bool, 1, 'expected True or False'),
        (Decimal, 'x', 'expected a Decimal'),
        (Decimal, 'NaN', 'expected a Decimal'),
        (Decimal, True, 'expected a Decimal'),
        (datetime, 'soon', 'expected a datetime or date'),
        (date, datetime(2020, 1, 1), 'expected a date'),
        (time, '25:00', 'expected a time'),
        (timedelta, 'long', 'expected a timedelta'),
        (UUID, 'x', 'expected a UUID'),
        (bytes, 'a', 'expected bytes'),
        (list[int], 1, 'expected a list'),
        (dict, [], 'expected a dict'),
        (Colour, 1, "expected one of 'red', 'blue'"),
        (Colour, 'green', "'green' is none of 'red', 'blue'"),
        (Any, None, 'expected a value'),
    ],
    ids=str,
)
def test_operands_that_cannot_be(annotation: Any, value: Any, message: str) -> None:
    """What cannot be compared with a kind is refused, with what can be."""
    with pytest.raises(ValueError, match=re.escape(message)):
        kind_of(annotation).operand(value, is_choice=True)


@pytest.mark.parametrize('number', [np.int64(3), np.int32(3), np.uint8(3), np.float32(3), np.float64(3)])
def test_numbers_of_numpy(number: Any) -> None:
    """The numbers in an array can be compared with, for that is where a list of values often comes from."""
    assert kind_of(int).operand(number) == 3
    assert kind_of(float).operand(number) == 3


def test_a_kind_of_an_element() -> None:
    """Elements of lists without a type can be anything."""
    assert kind_of(list).element() == Kind('any', is_ordered=True)
    assert kind_of(list[Annotated[int, pydantic.Field(gt=0)]]).element().name == 'number'
    assert kind_of(tuple[int, int]).element().name == 'number'
