import dataclasses
import enum
import fractions
import ipaddress
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel, SecretBytes, SecretStr, create_model
from typing_extensions import TypeAliasType, TypedDict

from docindex import AnyTensor, BaseDoc, DocIndexError, DocList, DocumentError, Field, ImageUrl, NdArray
from docindex.payload import Payloads
from docindex.schema import Schema

T = TypeVar('T')
NAN, INF = float('nan'), float('inf')
ONE, TWO = UUID(int=1), UUID(int=2)


class Colour(enum.Enum):
    RED = 'red'
    BLUE = 'blue'


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(enum.StrEnum):
    GOOD = 'good'


class Odd(enum.Enum):
    NONE = None
    PAIR = (1, 2)
    TEXT = '1'
    NUMBER = 1


class Ratio(float, enum.Enum):
    HALF = 0.5


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class IntRights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Cat(BaseModel):
    kind: Literal['cat'] = 'cat'
    lives: int = 9


class Dog(BaseModel):
    kind: Literal['dog'] = 'dog'
    lives: int = 1


class Kennel(BaseModel):
    lives: int = 1


class Tag(BaseModel, frozen=True):
    name: str


@dataclasses.dataclass(frozen=True)
class Place:
    number: int


class Node(BaseModel):
    name: str
    children: list['Node'] = []


class Words(RootModel[list[str]]):
    pass


class Box(BaseModel, Generic[T]):
    content: T


class Point(NamedTuple):
    x: int
    y: float


class Meta(TypedDict):
    author: Cat
    year: int


@dataclasses.dataclass
class Price:
    amount: Decimal
    since: date


@dataclasses.dataclass
class Event:
    when: datetime | str
    raw: bytes = b''
    password: SecretStr | None = None


@pydantic.dataclasses.dataclass
class Checked:
    colours: set[Colour]


Hue = NewType('Hue', Colour)
Prices = TypeAliasType('Prices', dict[str, Price])
Twice = TypeAliasType('Twice', tuple[T, T], type_params=(T,))


def round_trip(doc: BaseModel) -> Any:
    schema = Schema(type(doc))
    columns = [schema.columns[name] for name in schema.vector_settings({})]
    payloads = Payloads(type(doc), columns)
    vectors = {column.name: column.value(doc) for column in columns}
    text, packed = payloads.dump(
        payloads.fitting(doc), {name: None if v is None else np.asarray(v) for name, v in vectors.items()}
    )
    as_float32 = {
        name: np.zeros(1, np.float32) if v is None else np.asarray(v).astype(np.float32) for name, v in vectors.items()
    }
    return payloads.load(text, packed, as_float32)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are of the same type and equal, NaN to NaN, as deep as lists and dicts go."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


VALUES: dict[str, tuple[Any, Any]] = {
    'datetime': (datetime, datetime(2024, 2, 29, 12, 34, 56, 789_012)),
    'datetime in utc': (datetime, datetime(2024, 2, 29, 12, 0, tzinfo=UTC)),
    'datetime with an offset': (datetime, datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))),
    'datetime in a zone': (datetime, datetime(2024, 7, 1, tzinfo=ZoneInfo('Europe/Berlin'))),
    'datetime before standard time': (datetime, datetime(1880, 1, 1, tzinfo=timezone(timedelta(seconds=1172)))),
    'the first datetime': (datetime, datetime.min),
    'the last datetime': (datetime, datetime.max),
    'date': (date, date(1, 1, 1)),
    'time': (time, time(1, 2, 3, 4)),
    'time in utc': (time, time(1, 2, 3, tzinfo=UTC)),
    'timedelta': (timedelta, timedelta(days=-1, microseconds=1)),
    'the longest timedelta': (timedelta, timedelta.max),
    'the shortest timedelta': (timedelta, timedelta.min),
    'Decimal': (Decimal, Decimal('1.10')),
    'Decimal with an exponent': (Decimal, Decimal('-1E+5')),
    'UUID': (UUID, ONE),
    'bytes': (bytes, b'text'),
    'bytes that are no text': (bytes, b'\xff\x00\xfe'),
    'str': (str, 'a\0"\\\u2028😀'),
    'str that looks like ours': (str, '$tensor'),
    'bool': (bool, True),
    'int': (int, -5),
    'int beyond 64 bits': (int, 2**200),
    'float': (float, 0.1),
    'float without a fraction': (float, 5.0),
    'minus zero': (float, -0.0),
    'the smallest float': (float, 5e-324),
    'NaN': (float, NAN),
    'infinity': (float, -INF),
    'NaN in a list': (list[float], [1.5, NAN, INF]),
    'NaN in an optional': (float | None, NAN),
    'NaN in a dict': (dict[str, float], {'a': NAN}),
    'None': (float | None, None),
    'set': (set[int], {3, 1}),
    'frozenset': (frozenset[str], frozenset({'a'})),
    'tuple': (tuple[int, str], (1, 'a')),
    'tuple of any length': (tuple[float, ...], (1.0, NAN)),
    'list of tuples': (list[tuple[int, ...]], [(1,), ()]),
    'dict': (dict[str, int], {'b': 1, 'a': 2}),
    'dict with int keys': (dict[int, str], {1: 'a', -2: 'b'}),
    'dict with UUID keys': (dict[UUID, UUID], {ONE: TWO}),
    'dict with date keys': (dict[date, int], {date(2024, 1, 1): 1}),
    'dict with tuple keys': (dict[tuple[int, str], int], {(1, 'a'): 2}),
    'dict with enum keys': (dict[Colour, int], {Colour.RED: 1}),
    'dict with keys like ours': (dict[str, Any], {'$tensor': 0, '$set': [1]}),
    'nested dict of anything': (dict[str, Any], {'a': {'b': [{'c': None}, (1, {2})]}, 'd': b'\xff'}),
    'Any: datetime': (Any, datetime(2024, 1, 1)),
    'Any: Decimal': (Any, Decimal(1)),
    'Any: int keys': (Any, {1: {2: 3}}),
    'Any: half a character': (Any, '\ud800'),
    'Any: complex': (Any, 1 + 2j),
    'Enum': (Colour, Colour.RED),
    'IntEnum': (Level, Level.HIGH),
    'StrEnum': (Mood, Mood.GOOD),
    'Enum of odd values': (list[Odd], [Odd.NONE, Odd.PAIR, Odd.TEXT, Odd.NUMBER]),
    'Enum of floats': (Ratio, Ratio.HALF),
    'Flag': (Rights, Rights.READ),
    'Flags': (Rights, Rights.READ | Rights.WRITE),
    'no Flag': (Rights, Rights(0)),
    'Flags beside bytes': (dict[str, Rights | bytes], {'a': Rights.READ | Rights.WRITE, 'b': Rights(0)}),
    'IntFlags beside bytes': (dict[str, IntRights | bytes], {'a': IntRights.READ | IntRights.WRITE, 'b': b'\xff'}),
    'Literal': (Literal['a', 1, True], True),
    'Literal of an Enum': (Literal[Colour.RED], Colour.RED),
    'datetime | str: datetime': (datetime | str, datetime(2024, 1, 1)),
    'datetime | str: str': (datetime | str, '2024-01-01T00:00:00'),
    'UUID | str: UUID': (UUID | str, ONE),
    'UUID | str: str': (UUID | str, str(ONE)),
    'int | str | None: int': (int | str | None, 5),
    'int | str | None: str': (int | str | None, '5'),
    'int | str | None: None': (int | str | None, None),
    'int | float': (list[int | float], [1, 1.0, 1.5]),
    'bool | int': (list[bool | int], [True, 1, 0]),
    'list | set | tuple': (list[list[int] | set[int] | tuple[int, ...]], [[1], {1}, (1,)]),
    'bytes | str': (list[bytes | str], [b'a', 'a']),
    'two models: one': (Dog | Kennel, Dog(lives=2)),
    'two models: the other': (Dog | Kennel, Kennel(lives=2)),
    'discriminated union': (list[Annotated[Cat | Dog, Field(discriminator='kind')]], [Dog(), Cat()]),
    'model or None': (Cat | None, Cat(lives=3)),
    'list of models': (list[Cat], [Cat(), Cat(lives=1)]),
    'DocList': (DocList[Cat], DocList[Cat]([Cat()])),
    'DocLists in a dict': (dict[str, DocList[Cat]], {'a': DocList[Cat]([Cat()]), 'b': DocList[Cat]()}),
    'set of models': (set[Tag], {Tag(name='a'), Tag(name='b')}),
    'dict with model keys': (dict[Tag, int], {Tag(name='a'): 1}),
    'set of dataclasses': (frozenset[Place], frozenset({Place(1)})),
    'recursive': (Node, Node(name='a', children=[Node(name='b', children=[Node(name='c')])])),
    'RootModel': (Words, Words(['a', 'b'])),
    'generic model': (Box[datetime | str], Box[datetime | str](content=datetime(2024, 1, 1))),
    'two generic models': (Box[int] | Box[str], Box[str](content='1')),
    'dataclass': (Price, Price(Decimal('1.5'), date(2024, 1, 1))),
    'dataclass with a union': (Event, Event(datetime(2024, 1, 1))),
    'dataclass with bytes': (Event, Event('now', b'\xff')),
    'dataclass with a secret': (Event, Event('now', b'', SecretStr('hidden'))),
    'pydantic dataclass': (Checked, Checked({Colour.RED})),
    'NamedTuple': (Point, Point(1, 2.5)),
    'TypedDict': (Meta, {'author': Cat(), 'year': 5}),
    'SecretStr': (SecretStr, SecretStr('hidden')),
    'SecretBytes': (SecretBytes, SecretBytes(b'hidden')),
    'Secret': (pydantic.Secret[int], pydantic.Secret[int](5)),
    'url': (ImageUrl, ImageUrl('a.png')),
    'pydantic url': (pydantic.HttpUrl, pydantic.HttpUrl('https://example.org/a')),
    'IPv4Address': (ipaddress.IPv4Address, ipaddress.IPv4Address('1.2.3.4')),
    'any ip address': (pydantic.IPvAnyAddress, ipaddress.IPv4Address('1.2.3.4')),
    'Path': (pathlib.Path, pathlib.Path('a/b')),
    'Pattern': (re.Pattern[str], re.compile('a.*')),
    'Fraction': (fractions.Fraction, fractions.Fraction(1, 3)),
    'ZoneInfo': (ZoneInfo, ZoneInfo('Europe/Berlin')),
    'complex': (complex, 1 - 2j),
    'deque': (deque[int], deque([1, 2])),
    'defaultdict': (defaultdict[str, int], defaultdict(int, a=1)),
    'Counter': (Counter[str], Counter(a=2)),
    'OrderedDict': (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    'Sequence': (Sequence[int], (1, 2)),
    'NewType of an Enum': (Hue, Colour.RED),
    'name of a type': (Prices | None, {'a': Price(Decimal('1.5'), date(2024, 1, 1))}),
    'generic name of a type': (list[Twice[Colour]], [(Colour.RED, Colour.RED)]),
    'JsonValue': (pydantic.JsonValue, {'a': [1, None, 'x']}),
    'ByteSize': (pydantic.ByteSize, pydantic.ByteSize(3000)),
    'Base64Bytes': (pydantic.Base64Bytes, b'aGVsbG8='),
    'AwareDatetime': (pydantic.AwareDatetime, datetime(2024, 1, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize('beside', ['alone', 'beside bytes'])
@pytest.mark.parametrize(('annotation', 'value'), VALUES.values(), ids=VALUES)
def test_a_value_comes_back(annotation: Any, value: Any, beside: str) -> None:
    """
    A value of any type that pydantic can put into JSON comes back equal and of the same type.

    With bytes beside it the document is written in the careful way, which names the types of values.
    """
    more: dict[str, Any] = {} if beside == 'alone' else {'raw': (bytes, ...)}
    doc_type = create_model('Doc', __base__=BaseDoc, value=(annotation, ...), **more)
    doc: Any = doc_type(id='a', value=value, **dict.fromkeys(more, b'\xff'))
    again = round_trip(doc)
    assert type(again) is doc_type
    assert same(again.value, doc.value), f'{doc.value!r} came back as {again.value!r}'


class Drivers(UUID):
    """Database drivers have classes of their own for UUIDs."""


@pytest.mark.parametrize('more', [{}, {'raw': (bytes, b'\xff')}], ids=['alone', 'beside bytes'])
@pytest.mark.parametrize(
    ('annotation', 'value', 'stored'),
    [
        (datetime, pd.Timestamp('2026-01-31 12:00:00.5'), datetime(2026, 1, 31, 12, 0, 0, 500_000)),
        (datetime | str, pd.Timestamp('2026-01-31', tz='UTC'), datetime(2026, 1, 31, tzinfo=UTC)),
        (timedelta, pd.Timedelta(days=1), timedelta(days=1)),
        (dict[str, UUID], {'a': Drivers(int=1)}, {'a': ONE}),
    ],
)
def test_a_value_of_a_subclass_is_stored_as_its_base(
    annotation: Any, value: Any, stored: Any, more: dict[str, Any]
) -> None:
    """What pandas and others make of datetimes and UUIDs is stored, and comes back as Python's."""
    doc_type = create_model('Doc', __base__=BaseDoc, value=(annotation, ...), **more)
    again: Any = round_trip(doc_type(value=value))
    assert same(again.value, stored)


@pytest.mark.parametrize('more', [{}, {'raw': (bytes, b'\xff')}], ids=['alone', 'beside bytes'])
def test_a_time_that_is_none_is_refused(more: dict[str, Any]) -> None:
    """NaT of pandas is a datetime to Python and to pydantic, and is no time that could be read back."""
    doc_type = create_model('Doc', __base__=BaseDoc, value=(datetime, ...), **more)
    with pytest.raises(DocumentError, match='value'):
        round_trip(doc_type(value=pd.NaT))


def test_secrets_come_back() -> None:
    """A secret is stored as what it is, not as the stars it is printed with."""
    doc_type = create_model('Doc', __base__=BaseDoc, text=(SecretStr, ...), raw=(SecretBytes, ...), event=(Event, ...))
    doc: Any = doc_type(text='hidden', raw=b'hidden', event=Event('now', b'', SecretStr('hidden')))
    again = round_trip(doc)
    assert again.text.get_secret_value() == 'hidden'
    assert again.raw.get_secret_value() == b'hidden'
    assert again.event.password.get_secret_value() == 'hidden'


@pytest.mark.parametrize('more', [{}, {'raw': (bytes, b'\xff')}], ids=['alone', 'beside bytes'])
def test_a_number_of_too_many_digits_is_refused(more: dict[str, Any]) -> None:
    """An int that could not be read back from JSON is a `DocumentError`, not a document that nobody can read."""
    doc_type = create_model('Doc', __base__=BaseDoc, number=(int, ...), **more)
    with pytest.raises(DocumentError, match='number'):
        round_trip(doc_type(number=10**5000))


@pytest.mark.parametrize('or_text', [False, True])
@pytest.mark.parametrize('when', [datetime(2024, 10, 27, 2, 30, fold=1), time(2, 30, fold=1)], ids=str)
def test_of_two_equal_times_it_is_the_same_one(when: datetime | time, or_text: bool) -> None:
    """A time that a clock shows twice, when summer time ends, stays the second of the two."""
    annotation: Any = type(when) | str if or_text else type(when)
    doc_type = create_model('Doc', __base__=BaseDoc, value=(annotation, ...))
    assert round_trip(doc_type(value=when)).value.fold == 1


@pytest.mark.parametrize('annotation', [time, Any, time | str], ids=str)
def test_a_time_with_a_zone_of_no_offset_is_refused(annotation: Any) -> None:
    """Without a date a zone does not say by how much it differs, and would not come back."""
    doc_type = create_model('Doc', __base__=BaseDoc, value=(annotation, ...))
    with pytest.raises(DocumentError, match=r'Europe/Berlin.*cannot be stored.*leave the zone out'):
        round_trip(doc_type(value=time(2, 30, tzinfo=ZoneInfo('Europe/Berlin'))))
    assert round_trip(doc_type(value=time(2, 30, tzinfo=UTC))).value == time(2, 30, tzinfo=UTC)


def test_a_datetime_is_the_same_moment() -> None:
    """A zone may come back as an offset; the moment does not move, by a second either."""
    doc_type = create_model('Doc', __base__=BaseDoc, value=(datetime, ...))
    for zone in (UTC, ZoneInfo('Asia/Kolkata'), timezone(timedelta(seconds=-17762))):
        moment = datetime(1890, 1, 1, 12, tzinfo=zone)
        assert round_trip(doc_type(value=moment)).value == moment  # type: ignore[call-arg]


# -- what a class does to its values ----------------------------------------------------------------------------


class Cheering(BaseDoc):
    title: str
    count: int = 0

    @pydantic.field_validator('title')
    @classmethod
    def cheer(cls, title: str) -> str:
        return title + '!'


class Counting(BaseDoc):
    count: int = 0

    def model_post_init(self, context: Any) -> None:
        self.count += 1


class Renaming(BaseModel):
    id: str
    title: str

    def __init__(self, title: str, **others: Any) -> None:
        super().__init__(title=title + '!', **others)


class Doubling(BaseDoc):
    half: Annotated[int, pydantic.PlainSerializer(lambda number: number // 2)] = 0
    twice: Annotated[int, pydantic.AfterValidator(lambda number: number * 2)] = 0


@pytest.mark.parametrize(
    'doc',
    [Cheering(id='a', title='x'), Counting(id='a'), Renaming(id='a', title='x'), Doubling(id='a', half=5, twice=5)],
    ids=lambda doc: type(doc).__name__,
)
def test_reading_does_not_change_a_document(doc: BaseModel) -> None:
    """Validators, serializers and initialisers that are not idempotent are not run again when a document is read."""
    again = round_trip(doc)
    assert vars(again) == vars(doc)


def test_private_attributes_start_anew() -> None:
    """A model with private attributes comes back usable, with their defaults; they are not stored."""

    class Doc(BaseDoc):
        raw: bytes = b'\xff'
        _cache: dict[str, int] = PrivateAttr(default_factory=dict)

    doc = Doc(id='a')
    doc._cache['x'] = 1
    assert round_trip(doc)._cache == {}


def test_aliases() -> None:
    """Fields with aliases come back, whatever the class says about names and aliases."""

    class Inner(BaseModel):
        model_config = ConfigDict(validate_by_name=False, serialize_by_alias=True)
        a: int = Field(alias='A')

    class Doc(BaseDoc):
        b: int = Field(0, validation_alias=pydantic.AliasChoices('B', 'bee'), serialization_alias='BB')
        inner: Inner

    doc = Doc.model_validate({'id': 'x', 'B': 5, 'inner': {'A': 3}})
    assert round_trip(doc) == doc


def test_extra_fields() -> None:
    """What `extra='allow'` lets in comes back, types and all."""

    class Doc(BaseDoc):
        model_config = ConfigDict(extra='allow')

    doc = Doc(id='a', when=datetime(2024, 1, 1), v=np.float16([1, 2]), raw=b'\xff')  # type: ignore[call-arg]
    assert round_trip(doc) == doc


@pytest.mark.parametrize('extra', ['ignore', 'forbid'])
def test_computed_and_excluded_fields(extra: Any) -> None:
    """Computed fields are computed again; an excluded field comes back as its default."""

    class Doc(BaseDoc):
        model_config = ConfigDict(extra=extra)
        name: str
        secret: str = Field('default', exclude=True)

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def shout(self) -> str:
            return self.name.upper()

    again = round_trip(Doc(id='a', name='x', secret='y'))
    assert (again.name, again.shout, again.secret) == ('x', 'X', 'default')


def test_a_field_excluded_for_some_values_comes_back() -> None:
    """A field that is left out of JSON for some values is not left out here."""

    class Doc(BaseDoc):
        count: int = pydantic.Field(exclude_if=lambda count: count == 0)

    assert round_trip(Doc(count=0)).count == 0


@pytest.mark.parametrize(
    'config',
    [
        {'ser_json_timedelta': 'float', 'ser_json_bytes': 'base64', 'val_json_bytes': 'base64'},
        {'ser_json_inf_nan': 'strings'},
        {'ser_json_inf_nan': 'constants'},
        {'use_enum_values': True},
        {'strict': True},
        {'frozen': True},
        {'str_strip_whitespace': True},
    ],
    ids=str,
)
def test_configurations(config: ConfigDict) -> None:
    """What a class says about JSON does not reach the store."""

    class Doc(BaseModel):
        model_config = config
        id: str
        length: timedelta = timedelta(microseconds=1)
        number: float = INF
        colour: Colour = Colour.RED
        names: dict[int, set[UUID]] = {1: {ONE}}
        amount: Decimal = Decimal('1.5')

    doc = Doc(id='a')
    assert round_trip(doc) == doc


def test_classes_with_one_name() -> None:
    """Two classes of the same name within one schema are not mixed up."""

    class Outer:
        class Cat(BaseModel):
            kind: str = 'big'
            lives: int = 1

    doc_type = create_model('Doc', __base__=BaseDoc, pets=(list[Cat | Outer.Cat], ...))
    doc: Any = doc_type(pets=[Outer.Cat(), Cat()])
    assert [type(pet) for pet in round_trip(doc).pets] == [Outer.Cat, Cat]


def test_a_subclass_is_read_as_the_schema_class() -> None:
    """A document of a subclass is stored as what the schema says; what it adds is left out."""

    class More(Cheering):
        more: int = 0

    payloads = Payloads(Cheering, [])
    text, packed = payloads.dump(More(id='a', title='x', more=5), {})
    again = payloads.load(text, packed, {})
    assert type(again) is Cheering
    assert (again.title, again.model_extra) == ('x!', None)


# -- what cannot be stored ----------------------------------------------------------------------------------------


class Strange:
    """A class that nobody can write as JSON."""


class Open(BaseDoc):
    model_config = ConfigDict(extra='allow')
    anything: Any = None


class Odds(Open):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    declared: Strange | None = None


@pytest.mark.parametrize(
    'doc',
    [
        Odds(declared=Strange()),
        Open(anything=Strange()),
        Open(extra=Strange()),  # type: ignore[call-arg]
        Open(extra={'a': [Strange()]}),  # type: ignore[call-arg]
    ],
    ids=['declared', 'anything', 'extra', 'in extra'],
)
def test_what_cannot_be_stored_is_refused(doc: BaseModel) -> None:
    """A value that cannot be written is a `DocumentError` that names the field, not some error of a library below."""
    with pytest.raises(DocumentError, match=r'declared|anything|extra'):
        round_trip(doc)


def test_a_value_of_a_wrong_type_is_refused() -> None:
    """What `model_construct` or an assignment put past the class's checks is a `DocumentError` (D26)."""
    for doc in (Cat.model_construct(lives='many'), Node.model_construct(name=5)):
        doc_type = create_model('Doc', __base__=BaseDoc, inner=(type(doc), ...))
        with pytest.raises(DocumentError, match='inner'):
            round_trip(doc_type.model_construct(inner=doc, id='a'))


def test_a_missing_field_is_refused() -> None:
    """A document that lacks a required field is a `DocumentError` that names it."""
    for doc_type in (
        create_model('Doc', id=(str, ...), n=(int, ...)),
        create_model('Doc', id=(str, ...), n=(bytes, ...)),
    ):
        with pytest.raises(DocumentError, match='n'):
            round_trip(doc_type.model_construct(id='a'))


@dataclasses.dataclass
class Late:
    number: int = dataclasses.field(init=False)


def test_a_missing_attribute_is_refused() -> None:
    """So is one of a dataclass in the document, which Python makes without it."""
    doc_type = create_model('Doc', __base__=BaseDoc, late=(Late, ...))
    with pytest.raises(DocumentError, match="late: 'Late' object has no attribute 'number'"):
        round_trip(doc_type(late=Late()))


def test_what_no_longer_fits_is_our_error() -> None:
    """A document that the class has come to refuse is a `DocIndexError` when it is read, not pydantic's."""
    before, after = create_model('Doc', id=(str, ...), t=(str, ...)), create_model('Doc', id=(str, ...), t=(int, ...))
    text, packed = Payloads(before, []).dump(before(id='a', t='x'), {})  # type: ignore[call-arg]
    with pytest.raises(DocIndexError, match='t'):
        Payloads(after, []).load(text, packed, {})


# -- tensors ----------------------------------------------------------------------------------------------------

ARRAYS = {
    'float16': np.float16([1, -0.0, 6e-8]),
    'float32': np.float32([1e-45, -0.0, 3e38]),
    'float64': np.array([0.1, 5e-324, -0.0]),
    'float64 in range': np.array([0.5, 0.25, -0.0]),
    'int8': np.int8([-128, 0, 127]),
    'int64': np.array([2**53 + 1, -1, 0]),
    'int64 at its end': np.array([2**62 + 1, -(2**62), 0]),
    'uint64': np.array([2**62 + 1, 0, 1], np.uint64),
    'bool': np.array([True, False, True]),
    'big-endian': np.array([0.1, 1, 2], '>f8'),
    'big-endian float32': np.array([0.1, 1, 2], '>f4'),
    'every other': np.arange(6, dtype=np.float64)[::2] / 3,
    'read-only': np.frombuffer(np.arange(3, dtype=np.float64).tobytes()),
}


def bits(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


@pytest.mark.parametrize('beside', [None, b'\xff'], ids=['alone', 'beside bytes'])
@pytest.mark.parametrize('annotation', [NdArray[3], NdArray[3] | None, Annotated[AnyTensor, Field(dim=3)]], ids=str)
@pytest.mark.parametrize('array', ARRAYS.values(), ids=ARRAYS)
def test_a_vector_comes_back_bit_for_bit(array: Any, annotation: Any, beside: bytes | None) -> None:
    """A vector comes back with its type and all of its bits, whatever float32 would make of it (D12)."""
    doc: Any = create_model('Doc', __base__=BaseDoc, v=(annotation, ...), raw=(bytes | None, None))(v=array, raw=beside)
    again = round_trip(doc)
    assert bits(again.v) == bits(array)
    assert again.v.flags.writeable


SHAPED = {
    'matrix': np.arange(6.0).reshape(2, 3),
    'Fortran order': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'four axes': np.zeros((1, 2, 3, 4), np.int8),
    'no axes': np.array(5.0),
    'no elements': np.zeros((0, 4), np.float32),
    'NaN': np.array([NAN, INF]),
    'one element': np.array([1.5], np.float16),
}


@pytest.mark.parametrize('beside', [None, b'\xff'], ids=['alone', 'beside bytes'])
@pytest.mark.parametrize('array', SHAPED.values(), ids=SHAPED)
def test_a_tensor_of_any_shape_comes_back(array: Any, beside: bytes | None) -> None:
    """A tensor that is no vector column comes back too, in a field, a list, a dict and a nested document."""

    class Inner(BaseModel):
        tensor: NdArray

    class Doc(BaseDoc):
        tensor: NdArray = Field(index=False)
        listed: list[NdArray]
        named: dict[str, NdArray]
        inners: list[Inner]
        raw: bytes | None

    doc = Doc(tensor=array, listed=[array, array + 1], named={'a': array}, inners=[Inner(tensor=array)], raw=beside)
    again = round_trip(doc)
    assert bits(again.tensor) == bits(array)
    assert bits(again.listed[1]) == bits(array + 1)
    assert bits(again.named['a']) == bits(again.inners[0].tensor) == bits(array)


def test_columns_do_not_get_mixed_up() -> None:
    """Each of several vectors comes back in its own field, one array in two fields included."""

    class Inner(BaseDoc):
        c: NdArray[2]
        d: NdArray[2] | None = None

    class Doc(BaseDoc):
        a: NdArray[2]
        inner: Inner
        b: NdArray[2] | None = None

    shared = np.array([0.1, 0.2])
    doc = Doc(a=shared, inner=Inner(c=np.int8([1, 2]), d=shared), b=shared)
    again = round_trip(doc)
    assert [bits(v) for v in (again.a, again.b, again.inner.d)] == [bits(shared)] * 3
    assert bits(again.inner.c) == bits(np.int8([1, 2]))
    assert again.a is not again.b


def test_writing_does_not_change_the_document() -> None:
    """Storing leaves the user's document, and the arrays in it, alone (D17)."""
    array = np.array([0.1, 0.2])
    doc: Any = create_model('Doc', __base__=BaseDoc, a=(NdArray[2], ...), b=(NdArray[2], ...))(a=array, b=array)
    round_trip(doc)
    assert doc.a is array
    assert doc.b is array


def test_an_absent_vector_comes_back_as_none() -> None:
    """A vector that is None comes back as None, also in a document that is None itself."""

    class Inner(BaseDoc):
        v: NdArray[2] | None = None

    class Doc(BaseDoc):
        v: NdArray[2] | None = None
        inner: Inner | None = None

    assert round_trip(Doc()).v is None
    assert round_trip(Doc()).inner is None
    assert round_trip(Doc(inner=Inner())).inner.v is None


@pytest.mark.parametrize('value', [[0.1, 2, 3], [1, 2, 3]], ids=str)
def test_a_vector_written_as_a_list_comes_back_as_a_list(value: list[float]) -> None:
    """A `list[float]` with a dim is searched as a vector, and stays a list of the same numbers."""
    doc: Any = create_model('Doc', id=(str, 'a'), v=(list[float], Field(dim=3)))(v=value)
    assert same(round_trip(doc).v, doc.v)


def test_an_int_is_not_taken_for_a_tensor() -> None:
    """Numbers and strings in a document are not mistaken for references to its tensors."""

    class Doc(BaseDoc):
        v: NdArray[2]
        things: list[Any]

    doc = Doc(v=[1, 2], things=[0, 'v', {'$tensor': 'v'}])
    assert round_trip(doc).things == doc.things


def test_a_payload_names_no_other_class() -> None:
    """A stored document can only refer to classes that its schema mentions; nothing it names is imported."""
    doc_type = create_model('Doc', __base__=BaseDoc, pet=(Cat | Dog, ...))
    payloads = Payloads(doc_type, [])
    text, _ = payloads.dump(doc_type(pet=Cat()), {})  # type: ignore[call-arg]
    with pytest.raises(DocumentError, match='Popen'):
        payloads.load(text.replace(b'"Cat"', b'"Popen"'), None, {})


# -- several at once ----------------------------------------------------------------------------------------------


class Point(BaseModel):
    id: str = 'p'
    x: float = 0.0


class Plain(BaseDoc):
    title: str = ''
    weight: float | None = None
    at: Point | None = None
    points: list[Point] = pydantic.Field(default_factory=list)
    v: NdArray[2] | None = None
    other: NdArray[2] | None = None


def without_title(id_: str) -> Plain:
    """Return a document that lacks a field."""
    doc = Plain(id=id_)
    del doc.title
    return doc


ONE_VECTOR, OTHER_VECTOR = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
ALIKE: dict[str, list[Plain]] = {
    'vectors or none': [Plain(id='a', v=ONE_VECTOR), Plain(id='b'), Plain(id='c', v=ONE_VECTOR, other=OTHER_VECTOR)],
    'vectors that are one object': [Plain(id='a', v=ONE_VECTOR, other=ONE_VECTOR), Plain(id='b', other=ONE_VECTOR)],
    'texts like JSON': [Plain(id='a', title='},{"id":"b"'), Plain(id='},{"id":'), Plain(id='c', title='null')],
    'fields that are missing': [without_title('a'), without_title('b')],
    'documents in documents': [Plain(id='a', at=Point()), Plain(id='b', points=[Point(x=1)]), Plain(id='c')],
}
UNLIKE: dict[str, list[Plain]] = {
    'lists that begin like documents': [Plain(id='a', points=[Point(), Point()]), Plain(id='b')],
    'fields in another order, and such a list': [
        Plain(id='a'),
        Plain.model_construct(points=[Point(), Point()], id='b', title='', weight=None, at=None, v=None, other=None),
    ],
    'values that JSON cannot say': [Plain(id='a'), Plain(id='b', weight=NAN)],
    'vectors that float32 does not hold': [Plain(id='a', v=np.array([0.1, 1])), Plain(id='b')],
    'values of another type': [Plain(id='a'), Plain(id='b').model_copy(update={'title': 5})],
}


def alike(docs: list[Plain]) -> tuple[Payloads[Plain], list[bytes] | None]:
    """Return what writes documents, and the JSON that it writes of these at once."""
    schema = Schema(Plain)
    payloads = Payloads(Plain, [schema.columns['v'], schema.columns['other']])
    return payloads, payloads.dump_alike(docs, {'v': [doc.v for doc in docs], 'other': [doc.other for doc in docs]})


@pytest.mark.parametrize('docs', ALIKE.values(), ids=ALIKE)
def test_documents_are_written_at_once_as_one_by_one(docs: list[Plain]) -> None:
    """Several plain documents written at once become the JSON that each would become by itself."""
    payloads, dumped = alike(docs)
    each = [payloads.dump(doc, {'v': doc.v, 'other': doc.other}) for doc in docs]
    assert [(text, None) for text in dumped or ()] == each


@pytest.mark.parametrize('docs', UNLIKE.values(), ids=UNLIKE)
def test_what_cannot_be_told_apart_is_not_written_at_once(docs: list[Plain]) -> None:
    """Documents are left to be written one by one where their JSON could not be told apart, or would not say all."""
    assert alike(docs)[1] is None


def test_a_tensor_of_another_document_is_no_vector_of_this_one() -> None:
    """A tensor that is another document's vector, the same object, is not taken for this document's own."""

    class Beside(BaseDoc):
        v: NdArray[2] | None = None
        beside: NdArray | None = Field(None, index=False)

    docs = [Beside(id='a', beside=ONE_VECTOR), Beside(id='b', v=ONE_VECTOR)]
    payloads = Payloads(Beside, [Schema(Beside).columns['v']])
    assert payloads.dump_alike(docs, {'v': [doc.v for doc in docs]}) is None
