"""Documents with values of every kind, and filters on them: what each translation of filters is tried with."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
from hypothesis import strategies as st
from pydantic import BaseModel

from docindex import BaseDoc, Field, NdArray
from docindex.kinds import Kind
from docindex.schema import Schema
from docindex.values import canonical

INF = float('inf')

# -- values that are awkward ------------------------------------------------------------------------------

HALF = '\ud800'  # of a surrogate pair
TEXTS = ['', 'a', 'A', 'ab', 'abc', 'b', 'é', 'e\u0301', 'ß', '\0', 'a\0', 'a\0b', "it's", '"q"', '%', '_', '\\', 'a%b']
TEXTS += ['\U0010ffff', 'a\U0010ffff', 'a\U0010ffffb', '\ud7ff', 'a\ud7ffb', '\ue000', HALF, f'a{HALF}', 'x\udfff', '?']
TEXTS += [
    '$eq',
    '{"$dict":1}',
    '[1]',
    '0',
    '1',
    '1.0',
    'None',
    'null',
    '\u2028',
    "'); DROP TABLE fields; --",
    '2020-01-01',
]
INTS = [0, 1, -1, 2, 10, 1 << 31, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, (1 << 63) - 512, 1 << 63, -(1 << 63)]
INTS += [-(1 << 63) - 1, 1 << 64, 10**30, -(10**30), 10**400]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 9.99, 2.0**53, 2.0**63, -(2.0**63), 1e16, 1e30, 1e308, 5e-324, INF, -INF]
NAN = float('nan')
DECIMALS = [
    *map(Decimal, ('0', '-0', '1', '1.0', '1E+2', '100', '10', '2', '-1', '-1.5', '-1.50', '-15', '-0.15', '9.99'))
]
DECIMALS += map(Decimal, ('0.1', '1E-30', '1E+30', '-1E+30', '9223372036854775809', '123456789012345678901234567890'))
DECIMALS += map(Decimal, ('1E+1000000', '-1E-1000000', '-1E+1000000', '12E+4', '1.2E-4', 'Infinity', '-Infinity'))
ZONES = [
    UTC,
    timezone(timedelta(hours=14)),
    timezone(-timedelta(hours=12)),
    timezone(timedelta(minutes=53, seconds=28)),
]
MOMENTS = [datetime.min, datetime.max, datetime(1970, 1, 1), datetime(2020, 1, 1), datetime(2020, 1, 1, 12, fold=1)]
MOMENTS += [datetime(2020, 1, 1, 0, 0, 0, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999)]
DATETIMES = [*MOMENTS, *(moment.replace(tzinfo=zone) for moment in MOMENTS for zone in ZONES)]
DATES = [date.min, date.max, date(1970, 1, 1), date(2020, 1, 1), date(2020, 1, 2)]
TIMES = [time.min, time.max, time(12), time(12, fold=1), time(11, 59, 59, 999_999)]
TIMES += [time(12, tzinfo=zone) for zone in ZONES]
DURATIONS = [timedelta(), timedelta.max, timedelta.min, timedelta.resolution, -timedelta.resolution, timedelta(days=1)]
DURATIONS += [timedelta.max - timedelta.resolution, timedelta(hours=24), timedelta(days=-1, seconds=1)]
UUIDS = [UUID(int=0), UUID(int=1), UUID(int=(1 << 128) - 1), UUID('12345678-1234-5678-1234-567812345678')]
BYTES = [b'', b'\0', b'a', b'a\0', b'\xff', b'\x80', b'a' * 300]
KEYS = ['a', 'b', 'A', '', '0', '1', '$eq', '$x', 'é', "'", '"', 'a b', HALF, 'None', 'True']


def some(values: Sequence[Any], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(values), st.sampled_from(values), *others)


BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    'text': some(TEXTS, st.text(st.characters(), max_size=4)),
    'number': some([*INTS, *FLOATS], st.integers(), st.floats(allow_nan=False)),
    'decimal': some(DECIMALS, st.decimals(allow_nan=False)),
    'boolean': st.booleans(),
    'datetime': some(DATETIMES, st.datetimes(timezones=st.sampled_from([None, *ZONES]))),
    'date': some(DATES, st.dates()),
    'time': some(TIMES, st.times()),
    'duration': some(DURATIONS, st.timedeltas()),
    'uuid': some(UUIDS, st.uuids()),
    'bytes': some(BYTES, st.binary(max_size=3)),
}
SCALARS = st.one_of(*BY_KIND.values())
ANYTHING = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)

# -- document classes with all kinds of fields ------------------------------------------------------------


class Colour(Enum):
    RED = 'red'
    BLUE = "b'lue"
    NONE = ''


class Level(IntEnum):
    LOW = -1
    HIGH = 1 << 40


class Mood(StrEnum):
    GOOD = 'good'
    ODD = 'o%d_d'


class Price(Enum):
    CHEAP = Decimal('1.50')
    DEAR = Decimal('1E+3')


AnyDecimal = Annotated[Decimal, pydantic.Field(allow_inf_nan=True)]


class Scalars(BaseDoc):
    text: str
    text_or_none: str | None = None
    number: int
    number_or_none: int | None = None
    real: float
    real_or_none: float | None = None
    either: int | float | None = None
    flag: bool
    flag_or_none: bool | None = None
    amount: AnyDecimal
    amount_or_none: AnyDecimal | None = None
    when: datetime
    when_or_none: datetime | None = None
    day: date
    clock: time | None = None
    lasts: timedelta
    lasts_or_none: timedelta | None = None
    uuid: UUID | None = None
    raw: bytes
    plain: str = Field(default='', index=False)
    searched: str = Field(default='', full_text=True)


class Choices(BaseDoc):
    colour: Colour
    colour_or_none: Colour | None = None
    level: Level | None = None
    mood: Mood | None = None
    price: Price | None = None
    word: Literal['a', 'b', '']
    digit: Literal[1, 2, 3] | None = None
    mixed: Literal['a', 1, True] | None = None


class Lists(BaseDoc):
    texts: list[str] = Field(default_factory=list)
    texts_or_none: list[str] | None = None
    numbers: list[int] = Field(default_factory=list)
    reals: list[float] = Field(default_factory=list)
    amounts: list[AnyDecimal] = Field(default_factory=list)
    flags: list[bool] = Field(default_factory=list)
    moments: list[datetime] = Field(default_factory=list)
    durations: list[timedelta] = Field(default_factory=list)
    uuids: tuple[UUID, ...] = ()
    raws: list[bytes] = Field(default_factory=list)
    colours: list[Colour] = Field(default_factory=list)
    text_set: set[str] = Field(default_factory=set)
    real_set: set[float] = Field(default_factory=set)
    amount_set: frozenset[AnyDecimal] = frozenset()
    rows: list[list[int]] = Field(default_factory=list)
    pair: tuple[int, str] | None = None


class Open(BaseDoc):
    counts: dict[str, int] = Field(default_factory=dict)
    words: dict[str, str] | None = None
    lists: dict[str, list[str]] = Field(default_factory=dict)
    meta: dict[str, Any] = Field(default_factory=dict)
    number_or_text: int | str | None = None
    when_or_text: datetime | str | None = None
    amount_or_flag: AnyDecimal | bool | None = None
    whatever: Any = None
    whatevers: list[Any] = Field(default_factory=list)


class Chapter(BaseModel):
    title: str
    pages: int | None = None
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, Any] = Field(default_factory=dict)


class Author(BaseModel):
    name: str
    born: date | None = None
    known_as: list[str] = Field(default_factory=list)
    face: NdArray | None = Field(default=None, dim=2)


class Nested(BaseDoc):
    title: str | None = None
    author: Author | None = None
    chapters: list[Chapter] = Field(default_factory=list)
    by_key: dict[str, Chapter] = Field(default_factory=dict)
    embedding: NdArray | None = Field(default=None, dim=2)


NUMBERS = st.sampled_from(INTS) | st.integers()
REALS = some([*FLOATS, NAN], st.floats())
VECTORS = st.none() | st.lists(st.integers(-3, 3), min_size=2, max_size=2)


def contents_with(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


def listed(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, max_size=3)


def keyed(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(KEYS), strategy, max_size=3)


TEXT, AMOUNT = BY_KIND['text'], BY_KIND['decimal'] | st.just(Decimal('NaN'))
CHAPTERS = st.builds(
    Chapter, title=TEXT, pages=st.none() | NUMBERS, tags=listed(TEXT), meta=keyed(ANYTHING | st.just(NAN))
)
AUTHORS = st.builds(Author, name=TEXT, born=st.none() | BY_KIND['date'], known_as=listed(TEXT), face=VECTORS)
DOCUMENTS: dict[type[BaseDoc], st.SearchStrategy[dict[str, Any]]] = {
    Scalars: contents_with(
        {
            'text': TEXT,
            'number': NUMBERS,
            'real': REALS,
            'flag': st.booleans(),
            'amount': AMOUNT,
            'when': BY_KIND['datetime'],
            'day': BY_KIND['date'],
            'lasts': BY_KIND['duration'],
            'raw': BY_KIND['bytes'],
        },
        text_or_none=TEXT,
        number_or_none=NUMBERS,
        real_or_none=REALS,
        either=NUMBERS | REALS,
        flag_or_none=st.booleans(),
        amount_or_none=AMOUNT,
        when_or_none=BY_KIND['datetime'],
        clock=BY_KIND['time'],
        lasts_or_none=BY_KIND['duration'],
        uuid=BY_KIND['uuid'],
        plain=TEXT,
        searched=TEXT,
    ),
    Choices: contents_with(
        {'colour': st.sampled_from(Colour), 'word': st.sampled_from(['a', 'b', ''])},
        colour_or_none=st.sampled_from(Colour),
        level=st.sampled_from(Level),
        mood=st.sampled_from(Mood),
        price=st.sampled_from(Price),
        digit=st.sampled_from([1, 2, 3]),
        mixed=st.sampled_from(['a', 1, True]),
    ),
    Lists: contents_with(
        {},
        texts=listed(TEXT),
        texts_or_none=listed(TEXT),
        numbers=listed(NUMBERS),
        reals=listed(REALS),
        amounts=listed(AMOUNT),
        flags=listed(st.booleans()),
        moments=listed(BY_KIND['datetime']),
        durations=listed(BY_KIND['duration']),
        uuids=listed(BY_KIND['uuid']),
        raws=listed(BY_KIND['bytes']),
        colours=listed(st.sampled_from(Colour)),
        text_set=st.sets(TEXT, max_size=3),
        real_set=st.sets(REALS, max_size=3),
        amount_set=st.sets(BY_KIND['decimal'], max_size=3),
        rows=listed(listed(NUMBERS)),
        pair=st.tuples(NUMBERS, TEXT),
    ),
    Open: contents_with(
        {},
        counts=keyed(NUMBERS),
        words=keyed(TEXT),
        lists=keyed(listed(TEXT)),
        meta=keyed(ANYTHING | st.just(NAN)),
        number_or_text=NUMBERS | TEXT,
        when_or_text=BY_KIND['datetime'] | TEXT,
        amount_or_flag=AMOUNT | st.booleans(),
        whatever=ANYTHING | REALS,
        whatevers=listed(ANYTHING | REALS),
    ),
    Nested: contents_with(
        {'chapters': st.lists(CHAPTERS, min_size=1, max_size=3)},
        title=TEXT,
        author=AUTHORS,
        by_key=keyed(CHAPTERS),
        embedding=VECTORS,
    ),
}

# -- filters ----------------------------------------------------------------------------------------------

SIZES = st.integers(-1, 4) | st.sampled_from(
    [{'$gte': 2}, {'$lt': 1}, {'$in': [1, 3]}, {'$ne': 0}, {'$gt': 0.5, '$lte': 2}, {'$not': {'$gt': 1}}]
)
PATTERNS: list[str] = ['', 'a', '^a', 'b$', '.', '\\d', '(?i)A', '[é_%]', '\\\\', '\\x00', '(?s)a.b', 'a|b', 'é']
PARTS = st.sampled_from(['', 'a', 'a', 'b', 'é', '\0', '%', '_', "'", '"', '\\', '\U0010ffff', HALF]) | TEXT
REGEXES = st.sampled_from([*PATTERNS, re.compile('A', re.IGNORECASE), re.compile('^ a', re.VERBOSE | re.MULTILINE)])


def operands(kind: Kind) -> st.SearchStrategy[Any]:
    """What values of a kind can be compared with."""
    if kind.choices:
        return st.sampled_from(kind.choices)
    if kind.name == 'decimal':
        others = st.integers() | st.floats(allow_nan=False) | st.sampled_from(['1.5', '1e2'])
        return BY_KIND['decimal'] | others | st.sampled_from(INTS)
    if kind.name == 'datetime':
        return BY_KIND['datetime'] | BY_KIND['date'] | st.datetimes(timezones=st.sampled_from([None, UTC])).map(str)
    if kind.name == 'list':
        return listed(operands(kind.element()))
    if kind.name == 'dict':
        return keyed(ANYTHING)
    return BY_KIND.get(kind.name, ANYTHING.filter(lambda value: canonical(value) is not None))


def ordered_operands(kind: Kind) -> st.SearchStrategy[Any]:
    return SCALARS.filter(lambda value: not isinstance(value, bool)) if kind.name == 'any' else operands(kind)


def conditions(kind: Kind) -> st.SearchStrategy[Any]:
    """What can stand behind the name of something of a kind."""
    if kind.name == 'opaque':
        return st.sampled_from([{'$exists': True}, {'$exists': False}, None, {'$ne': None}])
    one = operands(kind)
    several = st.lists(one | st.none(), max_size=4)
    choices: list[st.SearchStrategy[Any]] = [
        st.tuples(st.sampled_from(['$eq', '$ne', '$neq']), one | st.none()),
        st.tuples(st.sampled_from(['$in', '$nin']), several),
        st.tuples(st.just('$exists'), st.booleans()),
    ]
    is_any = kind.name == 'any'
    if kind.is_ordered:
        choices.append(st.tuples(st.sampled_from(['$lt', '$lte', '$gt', '$gte']), ordered_operands(kind)))
    if is_any or kind.name == 'text':
        choices += [
            st.tuples(st.sampled_from(['$startswith', '$contains']), PARTS),
            st.tuples(st.just('$regex'), REGEXES),
        ]
    if is_any or kind.name == 'list':
        element = operands(kind.element() if kind.name == 'list' else kind)
        choices.append(st.tuples(st.just('$contains'), element))
        choices.append(st.tuples(st.sampled_from(['$any', '$all']), listed(element)))
    if is_any or kind.name in ('list', 'dict'):
        choices.append(st.tuples(st.just('$size'), SIZES))
    simple = st.lists(st.one_of(choices), min_size=1, max_size=2).map(dict)
    return simple | simple.map(lambda condition: {'$not': condition})


@st.composite
def places(draw: st.DrawFn, schema: Schema[Any]) -> tuple[str, Kind]:
    """Return a field or something inside of it, and what its values are."""
    name = draw(st.sampled_from(list(schema.nodes)))
    kind = schema.nodes[name].kind
    for _ in range(draw(st.integers(0, 2))):
        steps = [*kind.members(), *(['0', '1'] if kind.name == 'list' else [key for key in KEYS if '_' not in key])]
        steps = [step for step in steps if kind.step(step) is not None]
        if not steps:
            break
        step = draw(st.sampled_from(steps))
        inner = kind.step(step)
        assert inner is not None
        name, kind = f'{name}__{step}', inner
    return name, kind


def filters(schema: Schema[Any]) -> st.SearchStrategy[dict[str, Any]]:
    one = places(schema).flatmap(lambda place: conditions(place[1]).map(lambda condition: {place[0]: condition}))
    return st.recursive(
        one | st.just({}),
        lambda inner: st.one_of(
            inner.map(lambda part: {'$not': part}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {'$and': parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {'$or': parts}),
            st.tuples(inner, one).map(lambda parts: {**parts[0], **parts[1]}),
        ),
        max_leaves=5,
    )


def documents(cls: type[BaseDoc], contents: list[dict[str, Any]], first: int = 0) -> list[BaseDoc]:
    return [cls(id=f'd{at}', **content) for at, content in enumerate(contents, first)]


# -- the same, by chance ---------------------------------------------------------------------------------

SHORT = ['a\ud7ff', '\ud7ff', '', 'a', 'b', 'é', '\0', '%', "'", '\\', HALF, '\U0010ffff']
POOLS: dict[str, list[Any]] = {
    'text': TEXTS,
    'number': [*FLOATS, NAN],
    'decimal': DECIMALS,
    'boolean': [False, True],
    'datetime': DATETIMES,
    'date': DATES,
    'time': TIMES,
    'duration': DURATIONS,
    'uuid': UUIDS,
    'bytes': BYTES,
}
UNIONS: dict[str, list[Any]] = {
    'mixed': ['a', 1, True],
    'price': list(Price),
    'pair': [(1, 'a'), (1 << 64, '')],
    'number_or_text': [*INTS, *TEXTS],
    'when_or_text': [*DATETIMES, *TEXTS],
    'amount_or_flag': [*DECIMALS, True],
}


class Samples:
    """Values and operands of each kind, by chance, the same for each run."""

    def __init__(self) -> None:
        self.random = random.Random(7)

    def value(self, kind: Kind) -> Any:
        choice = self.random.choice
        if kind.choices is not None or kind.name in POOLS:
            return choice(kind.choices or (INTS if kind.type is int else POOLS[kind.name]))
        if kind.name == 'list':
            return [self.value(kind.element()) for _ in range(choice([0, 1, 2, 3]))]
        if kind.name == 'any':
            return choice([None, self.value(Kind(choice([*POOLS, *POOLS, 'list', 'dict']), choice([None, int])))])
        names = kind.members() or self.random.sample(KEYS, 3)
        return {name: self.value(inner) for name in names if (inner := kind.step(name)) is not None}

    def document(self, cls: type[BaseDoc], id_: str) -> BaseDoc:
        contents: dict[str, Any] = {}
        for name, column in Schema(cls).columns.items():
            if name == 'id' or (column.has_default and self.random.random() < 0.2):
                continue
            place = contents
            for step in column.path[:-1]:
                place = place.setdefault(step, {})
            vector = [self.random.randint(-3, 3), 1]
            given = self.random.choice(UNIONS[name]) if name in UNIONS else self.value(column.kind)
            place[column.path[-1]] = vector if column.is_tensor else given
        if self.random.random() < 0.2:
            contents.pop('author', None)
        return cls.model_validate({'id': id_, **contents})

    def operand(self, kind: Kind) -> Any:
        """Return what can be compared with a kind: no None, no NaN."""
        while True:
            found = self.value(kind)
            try:
                kind.operand(found, is_choice=True)
            except ValueError:
                continue
            return found

    def conditions(self, kind: Kind) -> Iterator[dict[str, Any]]:
        """Yield a condition with each operator."""
        yield {'$exists': True}
        if kind.name == 'opaque':
            return
        for operator in ('$eq', '$ne'):
            yield {operator: self.operand(kind)}
        for operator in ('$in', '$nin'):
            yield {operator: [self.operand(kind) for _ in range(4)]}
        scalar = Kind(self.random.choice([*(set(POOLS) - {'boolean'})])) if kind.name == 'any' else kind
        if kind.is_ordered:
            yield from ({operator: self.operand(scalar)} for operator in ('$lt', '$lte', '$gt', '$gte'))
        if kind.name in ('text', 'any'):
            yield from ({operator: self.random.choice(SHORT)} for operator in ('$startswith', '$contains'))
            yield {'$regex': self.random.choice(PATTERNS)}
        if kind.name in ('list', 'any'):
            element = kind.element() if kind.name == 'list' else scalar
            yield {'$contains': self.operand(element)}
            yield from ({operator: [self.operand(element) for _ in range(2)]} for operator in ('$any', '$all'))
        if kind.name in ('list', 'dict', 'any'):
            yield {'$size': self.random.choice([0, 1, 2, 3, {'$gt': 1}])}


def every_place(schema: Schema[Any]) -> Iterator[tuple[str, Kind]]:
    """Yield each field, and something inside of each, up to two steps deep."""
    found = [(name, node.kind) for name, node in schema.nodes.items()]
    for depth in range(3):
        yield from found
        if depth < 2:
            found = [
                (f'{name}__{step}', inner)
                for name, kind in found
                for step in dict.fromkeys([*kind.members(), '0', 'a', '$eq', "'"])
                if (inner := kind.step(step)) is not None
            ]
