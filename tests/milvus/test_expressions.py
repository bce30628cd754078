"""Filters as expressions of Milvus, held against their meaning on Milvus Lite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docindex import BaseDoc, DocList, Field, NdArray
from docindex.filters import Filter, Not, Some
from docindex.milvus.columns import ScalarColumn, scalar_columns
from docindex.milvus.expressions import Expression, expression, literal
from docindex.milvus.terms import ALL, ANY, NONE, all_of, any_of
from docindex.parsing import parse
from docindex.schema import Schema
from tests.filtering import DOCUMENTS, Samples, every_place, filters

pymilvus = pytest.importorskip('pymilvus')
pytest.importorskip('milvus_lite')

Client = Any


@dataclass
class Collection:
    """Documents in a collection, and questions for them."""

    client: Client
    name: str
    schema: Schema[Any]
    columns: Mapping[str, ScalarColumn]
    docs: Sequence[BaseDoc]

    def filter(self, query: Any) -> Filter:
        return parse(self.schema, query)

    def expression(self, filter_: Filter) -> Expression:
        return expression(filter_, self.columns, self.documents_with)

    def documents_with(self, some: Some) -> list[str]:
        return [doc.id for doc in self.docs if some.matches(doc)]

    def ids(self, text: str) -> set[str]:
        """Ask Milvus."""
        rows = self.client.query(self.name, filter=text, output_fields=['id'], limit=1000)
        return {row['id'] for row in rows}

    def check(self, query: Any) -> Expression:
        """Check that Milvus finds what a filter means, and more only if the expression says so."""
        filter_ = self.filter(query)
        found = self.expression(filter_)
        meant = {doc.id for doc in self.docs if filter_.matches(doc)}
        ids = self.ids(found.text) if found.text else {doc.id for doc in self.docs}
        assert meant <= ids, f'{filter_}\n{found.text}'
        assert ids == meant or not found.is_exact, f'{filter_}\n{found.text}'
        return found


@pytest.fixture(scope='module')
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Milvus Lite, in this process."""
    client = pymilvus.MilvusClient(str(tmp_path_factory.mktemp('milvus') / 'lite.db'))
    yield client
    client.close()


@pytest.fixture(scope='module')
def collection(client: Client) -> Callable[..., Collection]:
    """Return the collection of a class: of these documents, or of sixty by chance."""
    known: dict[type[BaseDoc], Collection] = {}

    def of(cls: type[BaseDoc], docs: Sequence[BaseDoc] = ()) -> Collection:
        if cls not in known:
            samples = Samples()
            known[cls] = store(client, cls, docs or [samples.document(cls, f'd{at}') for at in range(60)])
        return known[cls]

    return of


def store(client: Client, cls: type[BaseDoc], docs: Sequence[BaseDoc]) -> Collection:
    """Make a collection of what filters look at."""
    types, schema = pymilvus.DataType, Schema(cls)
    columns = scalar_columns(schema)
    fields = client.create_schema(auto_id=False, enable_dynamic_field=False)
    fields.add_field('id', types.VARCHAR, is_primary=True, max_length=512)
    fields.add_field('_vector', types.FLOAT_VECTOR, dim=2)
    for column in columns.values():
        length = {} if column.max_length is None else {'max_length': column.max_length}
        fields.add_field(column.name, types[column.data_type], nullable=column.is_nullable, **length)
    index = client.prepare_index_params()
    index.add_index('_vector', index_type='FLAT', metric_type='L2')
    client.create_collection(cls.__name__, schema=fields, index_params=index)
    rows = [
        {'id': doc.id, '_vector': [0, 0]}
        | {column.name: column.encode(schema.nodes[field].value(doc)) for field, column in columns.items()}
        for doc in docs
    ]
    client.upsert(cls.__name__, rows[::2])
    client.flush(cls.__name__)  # half of them are in a file, the others in memory
    client.upsert(cls.__name__, rows[1::2])
    return Collection(client, cls.__name__, schema, columns, docs)


# -- what is found ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('cls', list(DOCUMENTS), ids=lambda cls: cls.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_an_expression_finds_what_a_filter_means(
    collection: Callable[..., Collection], cls: type[BaseDoc], data: st.DataObject
) -> None:
    """An expression finds all documents that fulfil a random filter, and no others if it says that it is exact."""
    found = collection(cls)
    for query in data.draw(st.lists(filters(found.schema), min_size=1, max_size=3), 'filters'):
        found.check(query)


@pytest.mark.parametrize('cls', list(DOCUMENTS), ids=lambda cls: cls.__name__)
def test_each_operator_for_each_field(collection: Callable[..., Collection], cls: type[BaseDoc]) -> None:
    """Each operator, for each field and some of what is inside, finds what it means; and so does its negation."""
    found, samples = collection(cls), Samples()
    for name, kind in every_place(found.schema):
        if name in found.schema.nodes or samples.random.random() < 0.04:
            for condition in samples.conditions(kind):
                found.check({name: condition})
                found.check({'$not': {name: condition}})


class Part(BaseDoc):
    text: str = ''


class Thing(BaseDoc):
    title: str = ''
    subtitle: str | None = None
    year: int = 0
    pages: int | None = None
    price: float = 0
    is_new: bool = False
    is_old: bool | None = None
    amount: Decimal | None = None
    when: datetime | None = None
    day: date = date(2000, 1, 1)
    lasts: timedelta = timedelta()
    key: UUID | None = None
    raw: bytes = b''
    tags: list[str] = Field(default_factory=list)
    numbers: list[int] | None = None
    meta: dict[str, Any] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    either: int | str | None = None
    like: str = ''
    größe: float = 0
    parts: DocList[Part] = Field(default_factory=DocList[Part])
    more: DocList[Part] | None = None
    hidden: str = Field(default='', index=False)
    vector: NdArray | None = Field(default=None, dim=2)


THINGS = [
    Thing(
        id='a',
        title='Ab%_\\',
        subtitle='x',
        year=1,
        price=0.5,
        tags=['new', 'old'],
        meta={'colour': 'red', 'size': 3, 'deep': {'er': 1}, 'list': [{'er': 1}]},
        counts={'n': 5, '': 1, '$eq': 2},
        numbers=[1, 2],
        either=1,
        like='1',
        größe=1.5,
        parts=[Part(id='a1', text='one'), Part(id='a2', text='two')],
    ),
    Thing(
        id='b',
        title="it's",
        pages=7,
        year=-5,
        price=float('nan'),
        is_new=True,
        is_old=False,
        amount=Decimal('9.99'),
        when=datetime(2020, 1, 1, 12),
        day=date(2020, 1, 1),
        lasts=timedelta(hours=1),
        key=UUID(int=5),
        raw=b'\0\xff',
        tags=['new'],
        meta={'colour': 'blue', 'size': True, 'deep': [{'er': 1}]},
        counts={'n': 7},
        either='1',
        more=[Part(id='b1', text='three')],
    ),
    Thing(
        id='c', title='new', price=float('inf'), meta={'colour': 5, 'size': 3.5, 'none': None}, numbers=[], is_old=True
    ),
    Thing(id='d', title='other\nline', year=1 << 70, price=-1, amount=Decimal('1E+30'), tags=[''], more=[]),
]

EXACT: list[dict[str, Any]] = [
    {'id': 'a'},
    {'id': {'$in': ['a', 'x']}},
    {'title': 'new'},
    {'title': {'$gt': 'a', '$lte': 'new'}},
    {'title': {'$startswith': 'Ab%'}},
    {'title': {'$contains': 'th'}},
    {'title': {'$contains': 'r\nl'}},
    {'title': {'$in': ['new', 'x']}},
    {'subtitle': None},
    {'subtitle': 'x'},
    {'year': {'$gte': -5, '$lt': 2}},
    {'year': 1.0},
    {'year': 1.5},
    {'year': {'$gt': 0.5}},
    {'year': {'$lt': 0.5}},
    {'year': {'$gte': 0.5}},
    {'year': {'$lte': Decimal('1.5')}},
    {'pages': {'$in': [7, 8, None]}},
    {'price': 0.5},
    {'price': {'$lt': 10}},
    {'price': {'$gte': Decimal('0.1')}},
    {'price': None},
    {'is_new': True},
    {'is_old': False},
    {'amount': Decimal('9.99')},
    {'amount': {'$gt': 10}},
    {'when': {'$gte': '2020-01-01T00:00:00Z'}},
    {'day': '2020-01-01'},
    {'lasts': {'$lt': timedelta(minutes=1)}},
    {'key': {'$exists': True}},
    {'key': UUID(int=5)},
    {'raw': {'$gt': b'\0'}},
    {'tags': {'$contains': 'new'}},
    {'tags': {'$contains': ''}},
    {'tags': {'$any': ['old', 'x']}},
    {'tags': {'$all': ['old', 'new']}},
    {'tags': {'$size': 1}},
    {'tags': {'$size': {'$gte': 2}}},
    {'tags': []},
    {'numbers': None},
    {'numbers': {'$contains': 2.0}},
    {'meta__colour': 'red'},
    {'meta__colour': {'$in': ['red', 5]}},
    {'meta__colour': {'$gt': 'b'}},
    {'meta__colour': {'$startswith': 'b'}},
    {'meta__colour': {'$contains': 'lu'}},
    {'meta__size': {'$gte': 3}},
    {'meta__size': True},
    {'meta__size': 1},
    {'meta__size': {'$exists': True}},
    {'meta__none': None},
    {'meta': {'$size': 3}},
    {'counts__n': {'$lt': 6}},
    {'counts__': 1},
    {'counts__$eq': 2},
    {'either': 1},
    {'either': '1'},
    {'either': {'$gt': 0}},
    {'like': '1'},
    {'größe': {'$gt': 1}},
    {'parts': {'$size': 2}},
    {'parts__text': 'two'},
    {'more': None},
    {'more': {'$size': 0}},
    {'more__text': {'$contains': 'r'}},
    {'$or': [{'tags': {'$contains': 'old'}}, {'year': {'$lt': 0}}]},
    {'$and': [{'tags': {'$contains': 'new'}}, {'price': {'$exists': False}}]},
    {},
]


@pytest.mark.parametrize('query', EXACT, ids=str)
def test_common_filters_are_exact(collection: Callable[..., Collection], query: dict[str, Any]) -> None:
    """What Milvus can say it says: no document has to be looked at after such a filter, or its negation."""
    things = collection(Thing, THINGS)
    assert things.check(query).is_exact
    assert things.check({'$not': query}).is_exact
    assert things.check({'$and': [query, {'$not': {'title': 'other\nline'}}]}).is_exact


@pytest.mark.parametrize(
    ('query', 'text'),
    [
        ({'title': {'$regex': '^A'}}, ''),
        ({'subtitle': {'$regex': '^A'}}, 'subtitle is not null'),
        ({'subtitle': {'$not': {'$regex': '^A'}}}, ''),
        ({'title': {'$contains': 'b%_'}}, 'title like "%b%"'),
        ({'hidden': ''}, ''),
        ({'$not': {'hidden': ''}}, ''),
        ({'vector': None}, ''),
        ({'year': 1 << 70}, 'year == 9223372036854775807'),
        ({'price': {'$gt': 10**400}}, '(price is not null and price >= 1.7976931348623157e+308)'),
        ({'tags': {'$ne': ['a']}}, ''),
        ({'$and': [{'hidden': ''}, {'title': 'new'}]}, 'title == "new"'),
        ({'$or': [{'hidden': ''}, {'title': 'new'}]}, ''),
        ({'meta__deep__er': 1}, None),
        ({'$not': {'meta__deep__er': 1}}, None),
        ({'meta__colour': {'$regex': 'r'}}, None),
        ({'tags__0': {'$gt': 'a'}}, None),
        ({'meta': {'colour': 'red'}}, None),
    ],
    ids=str,
)
def test_what_milvus_cannot_say(collection: Callable[..., Collection], query: dict[str, Any], text: str | None) -> None:
    """What Milvus cannot say is said wider, or not at all, and is not called exact; negated it is no less wide."""
    found = collection(Thing, THINGS).check(query)
    assert not found.is_exact
    assert text is None or found.text == text


def test_documents_in_lists() -> None:
    """What is asked of lists becomes a choice among ids; of too many of them nothing is known."""
    schema = Schema(Thing)
    columns, one = scalar_columns(schema), parse(schema, {'parts__text': 'x'})
    assert expression(one, columns, lambda some: ['a', '"b']) == Expression('id in ["a", "\\"b"]')
    assert expression(Not(one), columns, lambda some: ['a']) == Expression('id not in ["a"]')
    assert expression(one, columns, lambda some: []) == NONE
    assert expression(Not(one), columns, lambda some: []) == ALL
    assert expression(one, columns, lambda some: None) == expression(Not(one), columns, lambda some: None) == ANY


def test_a_presence_column_can_be_added() -> None:
    """Whether an optional vector is there is asked of a column that says so, where the collection has one."""
    schema = Schema(Thing)
    kind = schema.nodes['vector'].kind
    columns = {'vector': ScalarColumn('vector', '_has__vector', 'BOOL', is_nullable=False, kind=kind)}
    found = expression(parse(schema, {'vector': None}), columns, lambda some: None)
    assert found == Expression('_has__vector == false')


def test_deep_filters(collection: Callable[..., Collection]) -> None:
    """A filter that is nested deeply, or has many parts, is asked for all the same, or nothing is said of it."""
    things = collection(Thing, THINGS)
    query: dict[str, Any] = {'title': 'new'}
    for depth in range(90):
        query = {'$or' if depth % 2 else '$and': [query, {'year': depth}]}
        if depth % 9 == 0:
            things.check(query)
            things.check({'$not': query})
    many = [{'title': str(number), 'year': number} for number in range(1_000)]
    assert things.check({'$or': [*many, {'title': 'new'}]}).is_exact
    assert things.check({'year': {'$in': [*range(-5, 5_000)]}}).is_exact
    things.check({'meta__' + '__'.join('0' * 30): 1})


def test_combining() -> None:
    """Parts that say nothing, or can never be, disappear; the rest is as exact as its parts."""
    one, other, wide = Expression('a == 1'), Expression('b == 2'), Expression('c == 3', is_exact=False)
    assert all_of([]) == any_of([one, ALL]) == any_of([ANY, ALL]) == ALL
    assert any_of([]) == all_of([one, ANY, NONE]) == NONE
    assert all_of([one, ANY]) == Expression('a == 1', is_exact=False)
    assert any_of([one, ANY]) == ANY
    assert any_of([one, NONE]) == all_of([one, ALL]) == all_of([one, one]) == one
    assert all_of([one, other, wide]) == Expression('(a == 1 and b == 2 and c == 3)', is_exact=False)
    assert any_of([one, all_of([other, one])]) == Expression('(a == 1 or (b == 2 and a == 1))')


# -- values are values ------------------------------------------------------------------------------------

HOSTILE = ['"', "'", '\\', '\\"', '" or id != "', "' or '1' == '1", '\\" or id != "x', 'a" == "a', '%', '_', '\\%', '']
HOSTILE += [
    '{x}',
    '$meta["a"]',
    '] or [',
    '\\n',
    '\\u0041',
    '\\x41',
    '\r\n',
    '\t',
    '\0',
    '\x1b',
    '\x7f',
    '\x85',
    '\u2028',
]
HOSTILE += [
    '"); drop',
    'true',
    'null',
    '1',
    '语言',
    '🙂',
    '\ufeff',
    '\uffff',
    '\U0010ffff',
    'r"x"',
    'ISO "x"',
    '/',
    '~1',
    'a/b',
]


class Note(BaseDoc):
    text: str
    maybe: str | None = None
    texts: list[str] = Field(default_factory=list)
    meta: dict[str, Any] = Field(default_factory=dict)


NOTES = [
    Note(id=f'n{at}', text=text, maybe=text, texts=[text], meta={text: text, 'key': {text: [text]}})
    for at, text in enumerate([*HOSTILE, *map(chr, range(1, 128)), 'plain'])
]


def check_everywhere(notes: Collection, text: str) -> None:
    """Ask for a string in each place that a value or a key can have."""
    for query in (
        {'text': text},
        {'maybe': {'$ne': text}},
        {'text': {'$in': [text, 'plain']}},
        {'text': {'$startswith': text}},
        {'text': {'$lte': text}},
        {'text': {'$contains': text}},
        {'texts': {'$contains': text}},
        {'texts': {'$all': [text, text]}},
        {'texts__0': text},
        {'meta': {'$size': 2}, 'texts': [text]},
    ):
        notes.check(query)
    if '__' not in f'_{text}_':
        notes.check({f'meta__{text}': text})
        notes.check({f'meta__{text}': {'$exists': False}})
        notes.check({f'meta__key__{text}': {'$contains': text}})


@pytest.mark.parametrize('text', HOSTILE, ids=ascii)
def test_hostile_strings(collection: Callable[..., Collection], text: str) -> None:
    """Quotes, escapes, wildcards, control characters and pieces of expressions are values like any others."""
    check_everywhere(collection(Note, NOTES), text)


@settings(max_examples=25)
@given(st.text(max_size=5) | st.lists(st.sampled_from(HOSTILE), max_size=3).map(''.join))
def test_any_string(collection: Callable[..., Collection], text: str) -> None:
    """No string that a user gives changes what an expression asks for."""
    check_everywhere(collection(Note, NOTES), text)


def test_each_character(collection: Callable[..., Collection]) -> None:
    """Each character of ASCII is found as itself, and as nothing else."""
    notes = collection(Note, NOTES)
    for text in map(chr, range(1, 128)):
        assert notes.check({'text': text}).is_exact


def test_literals() -> None:
    """A literal escapes backslash, quote, newline, return and tab, and nothing else."""
    assert literal('a"\\\n\r\t\0é') == '"a\\"\\\\\\n\\r\\t\0é"'
    assert [literal(value) for value in (True, False, -5, 0.5, 1e308, 5e-324)] == [
        'true',
        'false',
        '-5',
        '0.5',
        '1e+308',
        '5e-324',
    ]
