"""
A test kit for whoever writes a backend: the contract as tests, and an index that is too simple to be wrong.

    class TestMyDocumentIndex(DocumentIndexContract):
        @pytest.fixture
        def open_index(self, tmp_path):
            return lambda doc_type: MyDocumentIndex[doc_type](path=tmp_path)

runs every test below against `MyDocumentIndex`. Each docstring is one promise of `docindex.index`.

`ExactIndex` is the reference: a dict, and distances in float64 by the formulas of `docindex.results`. It shares no
code with the indexes that it judges, but for what a filter means (`Filter.matches`). This module needs pytest; nothing
else in docindex imports it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import numpy as np
import pydantic
import pytest
from pydantic import BaseModel

from .doclist import DocList
from .document import BaseDoc
from .errors import (
    ClosedIndexError,
    DimensionError,
    DocIndexError,
    DocumentError,
    DocumentNotFoundError,
    FilterError,
    IdTypeError,
    QueryError,
    SettingsError,
    VectorError,
)
from .expressions import fields_of
from .fields import Field
from .index import DocumentIndex
from .parsing import parse
from .query import QueryBuilder
from .results import FindResult
from .schema import Schema
from .tensors import NdArray
from .urls import ImageUrl

D = TypeVar('D', bound=BaseModel)
Float64Array = np.ndarray[Any, np.dtype[np.float64]]
OpenIndex = Callable[[type[Any]], DocumentIndex[Any]]


# -- the reference ------------------------------------------------------------------------------------


class ExactIndex(Generic[D]):
    """
    What an index should hold and find: documents in a dict, compared one by one.

    Args:
        spaces: The vector fields by flat name, each with its space: `{'poster__look': 'cosine'}`.

    Attributes:
        docs: The documents by id.
    """

    def __init__(self, spaces: Mapping[str, str]) -> None:
        self.spaces = dict(spaces)
        self.docs: dict[str, D] = {}

    def copy(self) -> ExactIndex[D]:
        """Return another index with the same documents, which are never changed in place."""
        twin: ExactIndex[D] = ExactIndex(self.spaces)
        twin.docs = dict(self.docs)
        return twin

    def index(self, docs: Iterable[D]) -> None:
        """Insert documents, or put them in the place of those with their ids."""
        for doc in docs:
            self.docs[str(getattr(doc, 'id'))] = doc.model_copy(deep=True)  # noqa: B009 (D is any model with an id)

    def update(self, id_: str, /, **fields: Any) -> None:
        """Change fields of one document, by flat name."""
        changed = self.docs[id_].model_copy(deep=True)
        for name, value in fields.items():
            *outer, last = name.split('__')
            target: Any = changed
            for step in outer:
                target = getattr(target, step)
            setattr(target, last, value)
        self.docs[id_] = changed

    def delete(self, ids: Iterable[str]) -> int:
        """Forget documents; return how many there were."""
        return sum(self.docs.pop(id_, None) is not None for id_ in dict.fromkeys(ids))

    def matching(self, filter_query: Any) -> ExactIndex[D]:
        """Return another index with the documents that match a filter only, as `Filter.matches` says."""
        twin = self.copy()
        if self.docs:
            condition = parse(Schema(type(next(iter(self.docs.values())))), filter_query)
            twin.docs = {id_: doc for id_, doc in self.docs.items() if condition.matches(doc)}
        return twin

    def vector(self, id_: str, search_field: str) -> Float64Array | None:
        """Return a document's vector as the float32 numbers it is compared by, in float64; or None."""
        value: Any = self.docs[id_]
        for step in search_field.split('__'):
            value = None if value is None else getattr(value, step)
        return None if value is None else np.asarray(value, np.float32).astype(np.float64)

    def distances(self, query: Any, search_field: str) -> dict[str, float]:
        """Return the distance of every document that has a vector in the field, nearest first."""
        found = {id_: vector for id_ in self.docs if (vector := self.vector(id_, search_field)) is not None}
        if not found:
            return {}
        exact = np.asarray(query, np.float32).astype(np.float64)
        unsorted = distances(exact, np.stack(list(found.values())), self.spaces[search_field])
        order = np.argsort(unsorted, kind='stable').tolist()
        ids = list(found)
        return {ids[at]: float(unsorted[at]) for at in order}

    def check(self, found: FindResult[D], query: Any, search_field: str, limit: int) -> None:
        """
        Assert that `found` is a right answer: the nearest documents as they were stored, with their distances.

        Documents at one distance may come in any order, and scores may differ as float32 rounds.
        """
        expected = self.distances(query, search_field)
        ids = [str(getattr(doc, 'id')) for doc in found.documents]  # noqa: B009
        scores = np.asarray(found.scores)
        assert scores.dtype == np.float32
        assert scores.shape == (len(ids),)
        assert len(ids) == min(limit, len(expected)), f'{len(ids)} documents, not {min(limit, len(expected))}'
        assert len(set(ids)) == len(ids), f'a document was found twice: {ids}'
        assert (np.diff(scores) >= 0).all(), f'scores do not ascend: {scores}'
        tolerance = self._tolerance(query, search_field)
        for doc, id_, score, nearest in zip(found.documents, ids, scores, expected.values(), strict=False):
            assert id_ in self.docs, f'{id_!r} was found and does not exist'
            assert same(doc, self.docs[id_]), f'{doc!r} was found; stored was {self.docs[id_]!r}'
            own = expected[id_]
            assert abs(score - own) <= tolerance(own), f'{id_!r} has score {score}; it is at distance {own}'
            assert abs(score - nearest) <= tolerance(nearest), f'found {id_!r} at {score}, and missed one at {nearest}'

    def check_all(self, index: DocumentIndex[D]) -> None:
        """Assert that `index` holds exactly these documents, and that each is found by each of its own vectors."""
        assert set(index) == set(self.docs)
        assert len(index) == len(self.docs)
        for id_, doc in self.docs.items():
            assert same(index[id_], doc), f'{index[id_]!r} is stored; should be {doc!r}'
        for field in self.spaces:
            for id_ in self.docs:
                vector = self.vector(id_, field)
                if vector is not None:
                    self.check(index.find(vector, field, limit=5), vector, field, limit=5)
                    self.check(index.find(vector, field, limit=5, exact=True), vector, field, limit=5)

    def _tolerance(self, query: Any, search_field: str) -> Callable[[float], float]:
        """Return by how much a float32 score near a distance may be off: the size of what was added up, rounded."""
        if self.spaces[search_field] == 'l2':  # no terms cancel
            return lambda own: 1e-5 * own + 1e-30
        if self.spaces[search_field] == 'cosine':
            return lambda own: 1e-5
        vectors = [self.vector(id_, search_field) for id_ in self.docs]
        longest = max((float(np.linalg.norm(vector)) for vector in vectors if vector is not None), default=0)
        length = float(np.linalg.norm(np.asarray(query, np.float64)))
        return lambda own: 1e-6 * (1 + length * longest)


def distances(query: Float64Array, vectors: Float64Array, space: str) -> Float64Array:
    """Return the distances of a query (dim,) to vectors (n, dim) in float64, as `docindex.results` defines them."""
    if space == 'l2':
        return np.asarray(((vectors - query) ** 2).sum(axis=1))
    products = (vectors * query).sum(axis=1)
    if space == 'ip':
        return np.asarray(1 - products)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return np.asarray(1 - products / np.where(lengths > 0, lengths, 1))


def same(left: BaseModel, right: BaseModel) -> bool:
    """Return whether two documents hold the same: types, dtypes and, bit by bit, tensors."""
    if left.__class__ is not right.__class__:  # type() would see that one is not made yet
        return False
    return all(_same_value(getattr(left, name), getattr(right, name)) for name in type(left).model_fields)


def _same_value(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, BaseModel) and isinstance(right, BaseModel):
        return same(left, right)
    return type(left) is type(right) and bool(left == right)


# -- what the contract is tried on ---------------------------------------------------------------------


class Poster(BaseDoc):
    """A document inside another."""

    url: str = 'poster.png'
    look: NdArray = Field(dim=3, space='cosine')


class Film(BaseDoc):
    """One vector in each space: required, optional, and nested in something optional."""

    title: str = ''
    year: int = 1895
    tags: list[str] = Field(default_factory=list)
    plot: NdArray = Field(dim=4, space='l2')
    sound: NdArray | None = Field(default=None, dim=2, space='ip')
    poster: Poster | None = None


class Note(BaseDoc):
    """A document with one vector field."""

    text: str = ''
    vector: NdArray = Field(dim=2)


class Offer(BaseDoc):
    """A document whose class would make other values of its defaults, and refuses some that a list can get."""

    price: Decimal = 0  # type: ignore[assignment]
    is_open: bool = 1  # type: ignore[assignment]
    seller: str = pydantic.Field(default='', pattern='^[a-z]*$')
    tags: list[str] = pydantic.Field(default_factory=list, max_length=2)
    look: NdArray = Field(dim=2)


_NAMELESS = Poster(look=np.ones(3)).model_copy(update={'url': None})


def _offer(id_: str) -> Offer:
    return Offer(id=id_, look=np.ones(2, np.float32))


class Scan(BaseDoc):
    """A document with a tensor that is no vector, for nothing says how long it is."""

    pixels: NdArray = Field(index=False)
    vector: NdArray = Field(dim=2)


class Named(BaseDoc):
    """A document whose fields have names that calls have for their parameters."""

    self: str
    docs: str
    columns: str
    call: str
    vector: NdArray = Field(dim=2)


class Trailer(BaseModel):
    """Not a `Film`, but with the fields of one."""

    id: str
    title: str
    plot: Any
    seconds: int = 90


SPACES = {'plot': 'l2', 'sound': 'ip', 'poster__look': 'cosine'}
_DIMS = {'plot': 4, 'sound': 2, 'poster__look': 3}
_FIELDS = pytest.mark.parametrize('field', list(SPACES))
_EXACT = pytest.mark.parametrize('exact', [False, True], ids=['approximate', 'exact'])


def films(count: int = 12, seed: int = 7) -> list[Film]:
    """Return films with random vectors; every third is silent, every fourth has no poster."""
    random = np.random.default_rng(seed)

    def vector(dim: int) -> Any:
        return random.standard_normal(dim).astype(np.float32)

    return [
        Film(
            id=f'film {at}',
            title=f'Title {at}',
            year=1900 + at,
            tags=['a', 'b'][: at % 3],
            plot=vector(4),
            sound=None if at % 3 == 2 else vector(2),
            poster=None if at % 4 == 3 else Poster(id=f'poster {at}', url=f'{at}.png', look=vector(3)),
        )
        for at in range(count)
    ]


def a_film(id_: str, plot: Sequence[float] = (0, 0, 0, 0), **fields: Any) -> Film:
    """Return a film with a plot."""
    return Film(id=id_, plot=np.array(plot, np.float32), **fields)


def a_vector(field: str, seed: int = 1) -> Any:
    """Return a random query for a field of `Film`."""
    return np.random.default_rng(seed).standard_normal(_DIMS[field]).astype(np.float32)


def _film(**fields: Any) -> dict[str, Any]:
    return {'id': 'bad', 'plot': [1, 2, 3, 4], **fields}


def _columns(docs: Sequence[Film]) -> dict[str, Any]:
    """Return the columns of films."""
    names = ['id', 'title', 'year', 'tags', 'sound', 'poster__id', 'poster__url', 'poster__look']
    columns = {name: [Schema(Film).columns[name].value(doc) for doc in docs] for name in names}
    return {**columns, 'plot': np.stack([doc.plot for doc in docs])}


_BAD_DOCUMENTS: dict[str, tuple[Any, type[DocIndexError], type[Exception]]] = {
    'a field of a wrong type': (_film(year='soon'), DocumentError, ValueError),
    'a required vector is missing': ({'id': 'bad'}, DocumentError, ValueError),
    'not a document': ('a film', DocumentError, ValueError),
    'an empty id': (_film(id=''), DocumentError, ValueError),
    'an id that is not Unicode': (_film(id='\ud800'), DocumentError, ValueError),
    'an id that is a number': (_film(id=7), IdTypeError, TypeError),
    'a vector that is too short': (_film(plot=[1, 2, 3]), DimensionError, ValueError),
    'a vector that is a matrix': (_film(plot=[[1, 2, 3, 4]]), DimensionError, ValueError),
    'a short nested vector': (_film(poster={'look': [1]}), DimensionError, ValueError),
    'NaN': (_film(plot=[1, 2, 3, float('nan')]), VectorError, ValueError),
    'infinity': (_film(sound=[float('inf'), 0]), VectorError, ValueError),
    'a float64 beyond float32': (_film(sound=[1e39, 0]), VectorError, ValueError),
}
# What changes among good columns (None: it is left out), the error, and what it names.
_BAD_COLUMNS: dict[str, tuple[dict[str, Any], type[DocIndexError], list[str]]] = {
    'an unknown name': ({'smell': [1, 2, 3]}, QueryError, ['smell']),
    'a document': ({'poster': [None] * 3}, QueryError, ['poster__look']),
    'a column that is too short': ({'title': ['a']}, QueryError, ['title', '1', '3']),
    'a single value': ({'year': 1990}, QueryError, ['year']),
    'a string': ({'title': 'abc'}, QueryError, ['title']),
    'a value of a wrong type': ({'year': [1, 'soon', 3]}, DocumentError, ['year', 'row 1']),
    'a nested value of a wrong type': ({'poster__url': ['a', 'b', 3]}, DocumentError, ['poster__url', 'row 2']),
    'a required column is missing': ({'plot': None}, DocumentError, ['plot']),
    'an id that is a number': ({'id': ['a', 'b', 3]}, IdTypeError, ['row 2']),
    'an empty id': ({'id': ['a', '', 'c']}, DocumentError, ['row 1']),
    'a matrix that is too narrow': ({'plot': np.zeros((3, 3))}, DimensionError, ['plot', '4', '3']),
    'a vector that is too short': ({'plot': [[1, 2, 3, 4], [1, 2, 3], [0] * 4]}, DimensionError, ['plot', '1']),
    'infinity': ({'sound': [None, [1, 2], [float('inf'), 0]]}, VectorError, ['sound']),
    'a float64 beyond float32': ({'plot': np.full((3, 4), 1e39)}, VectorError, ['plot']),
    'words instead of vectors': ({'plot': ['a', 'b', 'c']}, VectorError, ['plot']),
}
_STRANGE_IDS = ["it's", '"', '; DROP TABLE documents; --', 'a\0b', '\n', ' ', '日本語', '🎬', '%', '__', 'x' * 10_000]
_BAD_QUERIES: dict[str, tuple[dict[str, Any], type[DocIndexError]]] = {
    'an unknown field': ({'search_field': 'smell'}, QueryError),
    'a field that is no vector': ({'search_field': 'title'}, QueryError),
    'no field where there are several': ({}, QueryError),
    'a negative limit': ({'search_field': 'plot', 'limit': -1}, QueryError),
    'a limit that is no integer': ({'search_field': 'plot', 'limit': 1.5}, QueryError),
    'a document without the vector': ({'query': a_film('silent'), 'search_field': 'sound'}, QueryError),
    'another length': ({'query': [1, 2, 3], 'search_field': 'plot'}, DimensionError),
    'NaN': ({'query': [1, 2, 3, float('nan')], 'search_field': 'plot'}, VectorError),
    'words': ({'query': ['a', 'b', 'c', 'd'], 'search_field': 'plot'}, VectorError),
}
_FILTERS: list[Any] = [
    None,
    {},
    {'year': 1903},
    {'year': {'$gte': 1902, '$lt': 1907}},
    {'year': {'$ne': 1903}, 'title': {'$nin': ['Title 1', 'Title 2']}},
    {'$or': [{'year': {'$lte': 1901}}, {'tags': {'$contains': 'b'}}]},
    {'$and': [{'tags': {'$any': ['b', 'z']}}, {'$not': {'year': {'$gt': 1906}}}]},
    {'tags': {'$all': ['a', 'b']}},
    {'tags': {'$size': 0}},
    {'tags__0': 'a'},
    {'title': {'$startswith': 'Title 1'}},
    {'title': {'$regex': '[13579]$'}},
    {'title': {'$contains': '1'}},
    {'id': {'$in': ['film 3', 'film 9', 'nobody']}},
    {'sound': {'$exists': False}},
    {'poster': None},
    {'poster': {'$in': []}},
    {'sound': {'$in': [None]}},
    {'sound': {'$nin': []}},
    {'sound': {'$nin': [None]}},
    {'plot': {'$in': [None]}},
    {'plot': {'$nin': []}},
    {'poster__url': {'$gt': '5.png'}},
    {'poster__url': {'$not': {'$gt': '5.png'}}},
    {'title': "'; DROP TABLE documents; --"},
]
_FILTERED = pytest.mark.parametrize('filter_query', _FILTERS, ids=str)
_BAD_FILTERS: dict[str, Any] = {
    'an unknown field': {'smell': 'sweet'},
    'an unknown nested field': {'poster__smell': 'sweet'},
    'an unknown operator': {'year': {'$near': 1900}},
    'a value of another type': {'year': 'soon'},
    'an operator for other types': {'year': {'$regex': '19'}},
    'an order of what has none': {'tags': {'$lt': ['a']}},
    'a vector to compare with': {'plot': [0, 0, 0, 0]},
    'no list where one belongs': {'year': {'$in': 1900}},
    'no filter at all': 'year < 1900',
}
_BAD_STEPS: dict[str, Callable[[QueryBuilder], QueryBuilder]] = {
    'find in an unknown field': lambda query: query.find([0, 0, 0, 0], 'smell'),
    'find in no vector': lambda query: query.find([0, 0, 0, 0], 'title'),
    'sort by an unknown field': lambda query: query.sort('smell'),
    'sort by a vector': lambda query: query.sort('plot'),
    'sort by a list': lambda query: query.sort('tags'),
    'group by an unknown field': lambda query: query.group_by('smell'),
    'group by a vector': lambda query: query.group_by('plot'),
    'select an unknown field': lambda query: query.select('title', 'smell'),
    'select twice': lambda query: query.select('title').select('year'),
    'fuse without a ranking': lambda query: query.fuse(),
    'fuse twice': lambda query: query.find([0, 0, 0, 0], 'plot').fuse().fuse(),
    'fuse with too many weights': lambda query: query.find([0, 0, 0, 0], 'plot').fuse(weights=[1, 2]),
    'diversify without a vector': lambda query: query.diversify(3, 'plot'),
    'sort before find': lambda query: query.sort('year').find([0, 0, 0, 0], 'plot'),
    'limit before find': lambda query: query.limit(3).find([0, 0, 0, 0], 'plot'),
}
_USES: dict[str, Callable[[DocumentIndex[Any]], object]] = {
    'index': lambda index: index.index(films(1)),
    'index nothing': lambda index: index.index([]),
    'update': lambda index: index.update('film 0', year=1),
    'delete': lambda index: index.delete('film 0'),
    'delete nothing': lambda index: index.delete([]),
    'find': lambda index: index.find([0, 0, 0, 0], 'plot'),
    'find_batched': lambda index: index.find_batched([[0, 0, 0, 0]], 'plot'),
    'find with a filter': lambda index: index.find([0, 0, 0, 0], 'plot', filter={'year': 1}),
    'filter': lambda index: index.filter({'year': 1}),
    'filter_batched': lambda index: index.filter_batched([{'year': 1}]),
    'count': lambda index: index.count({'year': 1}),
    'count all': lambda index: index.count(),
    'execute_query': lambda index: index.execute_query(index.build_query().limit(1).build()),
    'explain': lambda index: index.explain([0, 0, 0, 0], 'plot'),
    'plot': lambda index: index.plot('plot'),
    'afilter': lambda index: asyncio.run(index.afilter({'year': 1})),
    'acount': lambda index: asyncio.run(index.acount()),
    'aexecute_query': lambda index: asyncio.run(index.aexecute_query(index.build_query().build())),
    'get': lambda index: index.get('film 0'),
    'get nothing': lambda index: index.get([]),
    'index[...]': lambda index: index['film 0'],
    'del': lambda index: index.__delitem__('film 0'),
    'in': lambda index: 'film 0' in index,
    'iter': lambda index: list(index),
    'len': len,
    'configure': lambda index: index.configure(ef=50),
    'index_columns': lambda index: index.index_columns(id=['x'], plot=[[0, 0, 0, 0]]),
    'aindex_columns': lambda index: asyncio.run(index.aindex_columns(id=['x'], plot=[[0, 0, 0, 0]])),
}


def check_filters(index: DocumentIndex[Film], oracle: ExactIndex[Film]) -> None:
    """Assert that each filter finds in `index` what it finds in `oracle`; updated documents may stand anywhere."""
    for filter_query in [*_FILTERS, {'year': 1999}, {'tags': {'$contains': 'z'}}]:
        only = oracle.matching(filter_query)
        assert set(index.filter(filter_query, limit=None).id) == set(only.docs)
        assert index.count(filter_query) == len(only.docs)
        query = a_vector('plot')
        only.check(index.find(query, 'plot', 3, filter=filter_query), query, 'plot', 3)


# -- the contract -------------------------------------------------------------------------------------


class DocumentIndexContract(ABC):
    """
    What every backend does, one test a promise. A subclass supplies `open_index`.

    The collection of a subclass needs a name that starts with `Test`.

    Attributes:
        sees_past_equal_vectors: Whether a search that is not exact finds what is beside a crowd of equal vectors.
    """

    sees_past_equal_vectors = True

    @pytest.fixture
    @abstractmethod
    def open_index(self) -> OpenIndex:
        """
        Return a function that opens the index of a document class, empty at first.

        Called again with the same class, after the index was closed, it opens what was kept.
        """

    @pytest.fixture
    def index(self, open_index: OpenIndex) -> Iterator[DocumentIndex[Film]]:
        """Give an open, empty index of films."""
        with open_index(Film) as index:
            yield index

    @pytest.fixture
    def stored(self, index: DocumentIndex[Film]) -> ExactIndex[Film]:
        """Fill the index with films, and give the reference that holds the same."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index(films())
        index.index(films())
        return oracle

    # -- index() ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        'given',
        [
            pytest.param(lambda film: film, id='a document'),
            pytest.param(lambda film: {**film.model_dump(), 'poster': film.poster}, id='a dict'),
            pytest.param(lambda film: [film], id='a list'),
            pytest.param(lambda film: (film,), id='a tuple'),
            pytest.param(lambda film: DocList[Film]([film]), id='a DocList'),
            pytest.param(lambda film: iter([film]), id='an iterator'),
            pytest.param(lambda film: [film, {'id': 'another', 'plot': [0, 0, 0, 0]}], id='documents and dicts'),
        ],
    )
    def test_index_takes_what_people_have(self, index: DocumentIndex[Film], given: Callable[[Film], Any]) -> None:
        """A document, a dict, or an iterable of either is stored."""
        film = films(1)[0]
        index.index(given(film))
        assert same(index[film.id], film)

    def test_documents_of_another_class_are_read_by_field_name(self, index: DocumentIndex[Film]) -> None:
        """A document of another class is stored as one of the schema, with the fields that both have."""
        index.index(Trailer(id='t', title='Soon', plot=np.ones(4, np.float32)))
        assert same(index['t'], Film(id='t', title='Soon', plot=np.ones(4, np.float32)))

    def test_the_same_id_replaces_the_whole_document(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """Indexing an id again leaves one document, the new one, and nothing of the old: not its vectors either."""
        new = a_film('film 0', [9, 9, 9, 9], title='Another cut')
        index.index(new)
        stored.index([new])
        stored.check_all(index)

    def test_the_last_of_one_id_counts(self, index: DocumentIndex[Film]) -> None:
        """Of two documents with one id in a batch the last is stored."""
        first, last = a_film('x', [1, 0, 0, 0], title='first'), a_film('x', [0, 1, 0, 0], title='last')
        index.index([first, *films(2), last])
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index([*films(2), last])
        oracle.check_all(index)

    # -- index_columns() ---------------------------------------------------------------------------

    @pytest.mark.parametrize('in_a_mapping', [False, True])
    def test_index_columns(self, index: DocumentIndex[Film], in_a_mapping: bool) -> None:
        """Columns by flat names, as keywords or in a mapping, are stored as the documents of their rows are."""
        columns = _columns(films())
        if in_a_mapping:
            index.index_columns(columns)
        else:
            index.index_columns(**columns)
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index(films())
        oracle.check_all(index)

    def test_index_columns_takes_arrays(self, index: DocumentIndex[Film]) -> None:
        """Arrays are columns too: of numbers, and of vectors of any type, which come back as float32."""
        plots = np.arange(8, dtype=np.float64).reshape(2, 4)
        index.index_columns(id=np.array(['a', 'b']), year=np.array([1950, 1960], np.int16), plot=plots)
        assert same(index['b'], a_film('b', [4, 5, 6, 7], year=1960))

    @pytest.mark.parametrize('numbers', [[2**53 + 1], [1e300], [1 / 3], [True, False]], ids=str)
    def test_index_columns_keeps_other_tensors(self, open_index: OpenIndex, numbers: list[float]) -> None:
        """A tensor that is no vector comes back from columns with its type and every bit, as from documents."""
        pixels = np.array([numbers, numbers])
        with open_index(Scan) as index:
            for id_, column in (('a', pixels), ('b', [*pixels])):
                index.index_columns(id=[id_, f'another {id_}'], pixels=column, vector=np.eye(2))
                assert same(index[id_], Scan(id=id_, pixels=pixels[0], vector=np.array([1, 0], np.float32)))

    def test_index_columns_replaces(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A row replaces the whole document with its id, and of two rows with one id the last counts."""
        plots = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32)
        index.index_columns(id=['film 0', 'new', 'film 0'], title=['first', 'other', 'last'], plot=plots)
        stored.index([a_film('film 0', plots[2], title='last'), a_film('new', plots[1], title='other')])
        stored.check_all(index)

    def test_columns_that_are_left_out_have_defaults(self, index: DocumentIndex[Film]) -> None:
        """A field without a column has its default in each document; so each gets an id of its own."""
        index.index_columns(plot=np.eye(4, dtype=np.float32))
        assert len(index) == 4
        found = index.find([0, 0, 1, 0], 'plot', limit=1).documents[0]
        assert same(found, Film(id=found.id, plot=np.array([0, 0, 1, 0], np.float32)))

    def test_empty_columns_are_fine(self, index: DocumentIndex[Film]) -> None:
        """Columns without rows store nothing."""
        index.index_columns(id=[], plot=[])
        assert len(index) == 0

    @pytest.mark.parametrize(('changed', 'error', 'named'), _BAD_COLUMNS.values(), ids=_BAD_COLUMNS)
    def test_bad_columns_store_nothing(
        self,
        index: DocumentIndex[Film],
        stored: ExactIndex[Film],
        changed: dict[str, Any],
        error: type[DocIndexError],
        named: Sequence[str],
    ) -> None:
        """Columns that do not fit are refused, by an error that names the column, and the row if it is one."""
        columns = {**_columns(films()[:3]), **changed}
        with pytest.raises(error) as caught:
            index.index_columns({name: column for name, column in columns.items() if column is not None})
        assert all(name in str(caught.value) for name in named)
        stored.check_all(index)

    def test_index_columns_refuses_what_has_no_names(self, index: DocumentIndex[Film]) -> None:
        """Documents are no columns, a column cannot be given twice, and there has to be one."""
        for given, named in (([_film()], {}), ({'id': ['a']}, {'id': ['a']}), (None, {})):
            with pytest.raises(QueryError):
                index.index_columns(given, **named)  # type: ignore[arg-type]
        assert len(index) == 0

    def test_an_empty_batch_is_fine(self, index: DocumentIndex[Film]) -> None:
        """Indexing no documents stores none."""
        index.index([])
        assert len(index) == 0

    @pytest.mark.parametrize('bad', _BAD_DOCUMENTS.values(), ids=_BAD_DOCUMENTS)
    def test_a_bad_document_stores_nothing_of_its_batch(
        self,
        index: DocumentIndex[Film],
        stored: ExactIndex[Film],
        bad: tuple[Any, type[DocIndexError], type[Exception]],
    ) -> None:
        """A batch with one unusable document is refused whole, with a `DocIndexError` that is the expected builtin."""
        document, error, builtin = bad
        with pytest.raises(error) as raised:
            index.index([{'id': 'new', 'plot': [0, 0, 0, 0]}, {'id': 'film 0', 'plot': [0, 0, 0, 0]}, document])
        assert isinstance(raised.value, builtin)
        stored.check_all(index)

    @pytest.mark.parametrize('count', [1, 3])
    def test_values_that_the_class_would_convert(self, open_index: OpenIndex, count: int) -> None:
        """What nobody has checked, a default or a copy's value, is stored as its class has it, and filters see that."""
        with open_index(Offer) as index:
            offers = [_offer(str(at)) for at in range(count)]
            index.index([offers[0].model_copy(update={'price': '-5'}), *offers[1:]])
            assert (index['0'].price, index['0'].is_open) == (Decimal(-5), True)
            assert index.count({'price': {'$lt': 0}}) == 1
            assert index.count({'price': 0}) == count - 1
            assert index.filter({'is_open': True}, sort='price').id[0] == '0'

    @pytest.mark.parametrize('count', [1, 3])
    @pytest.mark.parametrize('other', [{'tags': ['a', 'b', 'c']}, {'seller': 'XYZ'}, {'price': 'much'}], ids=str)
    def test_values_that_the_class_refuses(self, open_index: OpenIndex, other: dict[str, Any], count: int) -> None:
        """A value that nobody has checked, and that its class refuses, is an error that names it; nothing is stored."""
        with open_index(Offer) as index:
            index.index(_offer('there'))
            offers = [_offer(str(at)) for at in range(count)]
            offers[-1] = offers[-1].model_copy(update=other)
            with pytest.raises(DocumentError, match=f"id '{count - 1}'.*{next(iter(other))}"):
                index.index(offers)
            assert list(index) == ['there']
            assert index.find([1, 1], 'look').documents.id == ['there']

    @pytest.mark.parametrize('count', [1, 3])
    @pytest.mark.parametrize(
        'other', [{'title': None}, {'tags': [None]}, {'poster': _NAMELESS}], ids=lambda other: next(iter(other))
    )
    def test_none_where_a_value_is_needed(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], other: dict[str, Any], count: int
    ) -> None:
        """None that nobody has checked, in a field, a list or a nested document that needs a value, is refused."""
        bad = a_film('bad', poster=Poster(look=np.ones(3))).model_copy(update=other)
        with pytest.raises(DocumentError, match=f"id 'bad'.*{next(iter(other))}"):
            index.index([*(a_film(str(at)) for at in range(count - 1)), bad])
        with pytest.raises(DocumentError, match=f"id 'film 0'.*{next(iter(other))}"):
            index.update(bad.model_copy(update={'id': 'film 0'}))
        stored.check_all(index)

    @pytest.mark.parametrize(
        ('annotation', 'default', 'fine'),
        [
            (str, None, 'null'),
            (list[str], [None], []),
            (Literal['x', 'y'], '', 'x'),
            (dict[str, Literal[1, 2]], {'x': 3}, {'x': 2}),
            (ImageUrl, '', 'x.png'),
            (ImageUrl, 7, 'x.png'),
            (Annotated[int, pydantic.Field(ge=0)], -1, 0),
            (Decimal, Decimal('NaN'), Decimal(1)),
        ],
        ids=[
            'None',
            'None in a list',
            'no choice',
            'no choice in a dict',
            'no url',
            'a number',
            'too small',
            'not a number',
        ],
    )
    def test_a_default_that_the_class_refuses(
        self, open_index: OpenIndex, annotation: Any, default: Any, fine: Any
    ) -> None:
        """It is refused where it is needed, in documents, dicts and columns: it could not be read back."""
        doc_type: Any = pydantic.create_model(
            'Doc', __base__=BaseDoc, value=(annotation, default), note=(str | None, None)
        )
        with open_index(doc_type) as index:
            for docs in (doc_type(id='a'), [{'id': 'a', 'value': fine}, {'id': 'b'}]):
                with pytest.raises(DocumentError, match='value'):
                    index.index(docs)
            with pytest.raises(DocumentError, match='value'):
                index.index_columns(id=['a', 'b'], note=['x', None])
            index.index_columns(id=['a', 'b'], value=[fine, fine], note=['x', None])
            index.index([doc_type(id='c', value=fine), doc_type(id='d', value=fine, note='y')])
            assert [index[id_].note for id_ in 'abcd'] == ['x', None, None, 'y']
            assert [index[id_].value for id_ in 'abcd'] == [fine] * 4

    def test_a_refusal_names_field_and_document(self, index: DocumentIndex[Film]) -> None:
        """The error for a vector of a wrong length names the document, the field, both lengths."""
        with pytest.raises(DimensionError) as raised:
            index.index([*films(2), a_film('short', [1, 2])])
        assert (raised.value.field, raised.value.expected, raised.value.got) == ('plot', 4, (2,))
        assert all(word in str(raised.value) for word in ('short', 'plot', '4', '2'))

    def test_an_iterator_that_fails_stores_nothing(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """When the caller's own iterator raises half-way, its error comes through and nothing was stored."""

        def failing() -> Iterator[Film]:
            yield a_film('new')
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            index.index(failing())
        stored.check_all(index)

    def test_the_index_keeps_copies(self, index: DocumentIndex[Film]) -> None:
        """Changing a document after it was stored, or one that came back, does not change what is stored."""
        film = films(1)[0]
        index.index(film)
        film.plot[:] = 5
        index[film.id].plot[:] = 6
        index.find(film.plot, 'plot').documents[0].plot[:] = 7
        assert same(index[film.id], films(1)[0])

    def test_vectors_come_back_as_they_were_given(self, index: DocumentIndex[Film]) -> None:
        """A vector comes back with its dtype and every bit, in each space; searches compare it as float32."""
        film = Film(
            id='x',
            plot=np.array([1 / 3, 1e-300, -0.0, 12345678901.0]),
            sound=np.array([7, -9], np.int64),
            poster=Poster(look=np.array([3, 0, 4], np.float16)),
        )
        index.index(film)
        assert same(index['x'], film)

    @pytest.mark.parametrize('id_', _STRANGE_IDS, ids=range(len(_STRANGE_IDS)))
    def test_any_string_is_an_id(self, index: DocumentIndex[Film], id_: str) -> None:
        """Quotes, NUL, any Unicode and 10,000 characters are an id like any other, for every verb."""
        index.index([*films(3), a_film(id_)])
        index.update(id_, title='found')
        assert id_ in index
        assert id_ in list(index)
        assert index[id_].title == 'found'
        assert index.find([0, 0, 0, 0], 'plot', limit=1).documents[0].id == id_
        assert index.delete(id_) == 1
        assert len(index) == 3

    # -- update() --------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        'fields',
        [
            {'title': 'New', 'tags': ['x']},
            {'poster__url': 'new.png'},
            {'plot': np.array([5, 5, 5, 5], np.float32)},
            {'poster__look': np.array([0, 0, 1], np.float32), 'year': 2000},
            {'sound': None},
            {'poster': None},
        ],
        ids=lambda fields: ', '.join(fields),
    )
    def test_update_changes_some_fields(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], fields: dict[str, Any]
    ) -> None:
        """`update(id, field=value)` changes these fields, nested ones by flat name, and searches follow."""
        index.update('film 0', **fields)
        stored.update('film 0', **fields)
        stored.check_all(index)

    def test_update_changes_fields_of_many(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`update({id: {field: value}})` changes other fields in each document, vectors too, and searches follow."""
        changes: dict[str, dict[str, Any]] = {
            'film 2': {'title': 'New', 'year': 2001},
            'film 0': {'plot': np.ones(4, np.float32), 'tags': ['a', 'b']},
            'film 1': {'poster__url': 'other', 'sound': None},
            'film 3': {},
        }
        index.update({})
        index.update(changes)
        for id_, fields in changes.items():
            stored.update(id_, **fields)
        stored.check_all(index)

    def test_update_changes_no_vector_that_it_does_not_name(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """Other fields of many change in one call, and each document keeps its own vectors."""
        index.update({id_: {'title': f'{id_} again', 'year': 1999} for id_ in [*stored.docs]})
        for id_ in [*stored.docs]:
            stored.update(id_, title=f'{id_} again', year=1999)
        stored.check_all(index)

    @pytest.mark.parametrize(
        ('second', 'error', 'message'),
        [
            ({'nobody': {'title': 'x'}}, DocumentNotFoundError, 'nobody'),
            ({'film 1': {'smell': 'sweet'}}, QueryError, "'film 1': .*smell"),
            ({'film 1': {'id': 'film 99'}}, QueryError, "'film 1': .*id"),
            ({'film 1': {'year': 'soon'}}, DocumentError, "'film 1'.*year"),
            ({'film 1': {'plot': [1, 2]}}, DimensionError, 'film 1'),
            ({'film 3': {'poster__url': 'there is no poster'}}, DocumentError, 'poster'),
            ({7: {'title': 'x'}}, IdTypeError, '7'),
            ({'film 1': {7: 'x'}}, QueryError, "'film 1': .*7"),
            ({'film 1': None}, QueryError, "'film 1': expected a dict of the fields .* got NoneType"),
            ({'film 1': _film()}, QueryError, "'film 1': .*id"),
            ({'film 1': Film(id='film 1', plot=np.ones(4))}, QueryError, "'film 1': .* got Film"),
        ],
        ids=[
            'unknown id',
            'unknown field',
            'id',
            'wrong type',
            'length',
            'into None',
            'no id',
            'no name',
            'no changes',
            'a document as a dict',
            'a document',
        ],
    )
    def test_a_refused_update_of_many_changes_nothing(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], second: Any, error: type[Exception], message: str
    ) -> None:
        """If one document cannot be changed, none is, and the message names it."""
        with pytest.raises(error, match=message):
            index.update({'film 0': {'title': 'x'}, **second})
        stored.check_all(index)

    def test_a_field_may_have_the_name_of_a_parameter(self, open_index: OpenIndex) -> None:
        """Fields called `self`, `docs`, `columns` or `call` are stored as columns and updated by name like others."""

        async def use(index: DocumentIndex[Named]) -> None:
            await index.aindex_columns(id=['b'], self=['s'], docs=['d'], columns=['c'], call=['x'], vector=[[1, 2]])
            await index.aupdate('a', self='S', docs='D', columns='C', call='X')

        with open_index(Named) as index:
            index.index_columns(id=['a'], self=['s'], docs=['d'], columns=['c'], call=['x'], vector=[[1, 2]])
            asyncio.run(use(index))
            index.update('b', self='S', docs='D', columns='C', call='X')
            for doc in (index['a'], index['b']):
                assert [getattr(doc, name) for name in ('self', 'docs', 'columns', 'call')] == ['S', 'D', 'C', 'X']

    def test_changes_of_many_take_no_names(self, index: DocumentIndex[Film]) -> None:
        """Fields by name are for one document, and would be ambiguous here."""
        many: Any = {'film 0': {'title': 'x'}}
        with pytest.raises(QueryError, match="give the document's id"):
            index.update(many, title='x')

    @pytest.mark.parametrize(
        ('docs', 'position'),
        [
            ({'title': 'x', 'plot': [1, 1, 1, 1]}, 0),
            ([a_film('film 1', [1, 1, 1, 1]), {'title': 'x', 'plot': [1, 1, 1, 1]}], 1),
            (Film(title='x', plot=np.ones(4)), 0),
        ],
        ids=['a dictionary', 'one of two', 'a document'],
    )
    def test_update_needs_an_id(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], docs: Any, position: int
    ) -> None:
        """A document that was given no id replaces none; the error says where it stands, and how one field changes."""
        with pytest.raises(DocumentError, match=rf"document {position} has no id.*update\('the id', price=3\)"):
            index.update(docs)
        stored.check_all(index)

    def test_update_replaces_documents(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`update(docs)` replaces documents that exist."""
        changed = [a_film('film 1', [1, 1, 1, 1]), films()[2].model_copy(update={'title': 'New'})]
        index.update(changed)
        stored.index(changed)
        stored.check_all(index)

    @pytest.mark.parametrize(
        ('call', 'error'),
        [
            (lambda index: index.update('nobody', title='x'), DocumentNotFoundError),
            (lambda index: index.update([*films(2), a_film('nobody')]), DocumentNotFoundError),
            (lambda index: index.update('film 0', title='x', smell='sweet'), QueryError),
            (lambda index: index.update('film 0', title='x', id='film 99'), QueryError),
            (lambda index: index.update('film 0', title='x', year='soon'), DocumentError),
            (lambda index: index.update('film 0', title='x', plot=[1, 2]), DimensionError),
            (lambda index: index.update('film 0', title='x', plot=[0, 0, 0, float('inf')]), VectorError),
            (lambda index: index.update('film 3', title='x', poster__url='there is no poster'), DocumentError),
        ],
        ids=['unknown id', 'one unknown id', 'unknown field', 'id', 'wrong type', 'length', 'infinity', 'into None'],
    )
    def test_a_refused_update_changes_nothing(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], call: Callable[[Any], None], error: type[Exception]
    ) -> None:
        """An update of what is not there, or to what does not fit, raises and has changed nothing."""
        with pytest.raises(error):
            call(index)
        stored.check_all(index)

    # -- delete(), del -------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ('ids', 'count'),
        [('film 1', 1), (['film 1', 'nobody', 'film 2', 'film 1'], 2), ('nobody', 0), ([], 0), (('film 3',), 1)],
        ids=str,
    )
    def test_delete_counts_and_passes_over_unknown_ids(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], ids: Any, count: int
    ) -> None:
        """`delete` removes those that exist from reads and searches, and returns how many they were."""
        assert index.delete(ids) == count
        assert stored.delete([ids] if isinstance(ids, str) else ids) == count
        stored.check_all(index)

    def test_delete_takes_an_iterator(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """All documents can be deleted with `delete(index)`, and stored again afterwards."""
        assert index.delete(index) == 12
        assert len(index) == 0
        assert len(index.find(a_vector('plot'), 'plot').documents) == 0
        index.index(films())
        stored.check_all(index)

    @pytest.mark.parametrize('key', ['film 4', ['film 4', 'film 5'], ('film 0', 'film 11')], ids=str)
    def test_del(self, index: DocumentIndex[Film], stored: ExactIndex[Film], key: Any) -> None:
        """`del index[id]`, `del index[ids]` and `del index[a, b]` delete."""
        del index[key]
        stored.delete([key] if isinstance(key, str) else key)
        stored.check_all(index)

    def test_del_of_an_unknown_id_deletes_nothing(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`del` with unknown ids among known ones names all the unknown ones and deletes none."""
        with pytest.raises(DocumentNotFoundError) as raised:
            del index['film 0', 'nobody', 'film 1', 'no one']
        assert raised.value.ids == ['nobody', 'no one']
        assert isinstance(raised.value, KeyError)
        stored.check_all(index)

    def test_a_deleted_id_can_be_used_again(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A document stored after its deletion is found by its new vectors, and not by the old ones."""
        del index['film 0']
        again = a_film('film 0', [3, 3, 3, 3])
        index.index(again)
        stored.index([again])
        stored.check_all(index)

    # -- find() ----------------------------------------------------------------------------------

    @_EXACT
    @_FIELDS
    @pytest.mark.parametrize('limit', [0, 1, 5, 1000])
    def test_find_returns_the_nearest_first(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str, limit: int, exact: bool
    ) -> None:
        """
        The `limit` nearest come back as they were stored, nearest first, with their distances.

        Only documents that have the vector count; there may be fewer than `limit` of them.
        """
        query = a_vector(field)
        stored.check(index.find(query, field, limit, exact=exact), query, field, limit)

    @_EXACT
    def test_find_in_an_empty_index(self, index: DocumentIndex[Film], exact: bool) -> None:
        """Where nothing is stored nothing is found."""
        docs, scores = index.find(a_vector('plot'), 'plot', exact=exact)
        assert len(docs) == 0
        assert scores.shape == (0,)

    def test_the_result_is_typed(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Documents come as a `DocList` of the schema, so that their columns can be read at once."""
        docs, _ = index.find(stored.docs['film 5'].plot, 'plot', limit=2)
        assert isinstance(docs, DocList)
        assert docs.doc_type is Film
        assert docs.title[0] == 'Title 5'

    @pytest.mark.parametrize(
        'query',
        [
            pytest.param(lambda film: film.plot, id='numpy'),
            pytest.param(lambda film: film.plot.astype(np.float64), id='float64'),
            pytest.param(lambda film: film.plot.tolist(), id='a list'),
            pytest.param(lambda film: tuple(film.plot.tolist()), id='a tuple'),
            pytest.param(lambda film: film, id='a document'),
            pytest.param(lambda film: Trailer(id='?', title='', plot=film.plot), id='of another class'),
            pytest.param(lambda film: {'plot': film.plot}, id='a dict'),
        ],
    )
    def test_a_query_is_a_vector_or_a_document(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], query: Callable[[Film], Any]
    ) -> None:
        """A query is any array of numbers, or a document or dict that has the field."""
        film = stored.docs['film 6']
        stored.check(index.find(query(film), 'plot', limit=4), film.plot, 'plot', 4)

    def test_a_nested_field_of_a_document_is_a_query(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """A document is compared by the vector that `outer__inner` names, wherever it is nested."""
        film = stored.docs['film 1']
        assert film.poster is not None
        stored.check(index.find(film, 'poster__look', limit=4), film.poster.look, 'poster__look', 4)

    def test_the_only_vector_field_need_not_be_named(self, open_index: OpenIndex) -> None:
        """`search_field` may be left out where there is one vector field."""
        with open_index(Note) as notes:
            notes.index([{'id': 'a', 'vector': [0, 0]}, {'id': 'b', 'vector': [3, 4]}])
            docs, scores = notes.find([0, 0])
        assert docs.id == ['a', 'b']
        assert scores.tolist() == [0, 25]

    @pytest.mark.parametrize('bad', _BAD_QUERIES.values(), ids=_BAD_QUERIES)
    def test_a_bad_query_is_refused(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: tuple[dict[str, Any], type[DocIndexError]]
    ) -> None:
        """A query that makes no sense raises, also for a limit of 0 or an empty index."""
        arguments, error = bad
        call: dict[str, Any] = {'query': [0, 0, 0, 0], **arguments}
        with pytest.raises(error):
            index.find(**call)
        with pytest.raises(error):
            index.find(**{'limit': 0, **call})
        index.delete(list(stored.docs))
        with pytest.raises(error):
            index.find(**call)

    def test_an_unknown_search_field_is_told_the_known_ones(self, index: DocumentIndex[Film]) -> None:
        """The error for an unknown search field lists those that exist."""
        with pytest.raises(QueryError) as raised:
            index.find([0, 0, 0, 0], 'smell')
        assert all(field in str(raised.value) for field in ('smell', *SPACES))

    def test_zero_is_at_distance_one_from_everything(self, index: DocumentIndex[Film]) -> None:
        """A vector of zeros has cosine distance 1 to every vector, stored or asked for."""
        looks = {'zero': [0, 0, 0], 'one': [1, 0, 0], 'minus one': [-1, 0, 0]}
        index.index([a_film(id_, poster=Poster(look=np.array(look))) for id_, look in looks.items()])
        docs, scores = index.find([2, 0, 0], 'poster__look')
        assert docs.id == ['one', 'zero', 'minus one']
        assert scores.tolist() == pytest.approx([0, 1, 2])
        assert index.find([0, 0, 0], 'poster__look').scores.tolist() == pytest.approx([1, 1, 1])

    @pytest.mark.parametrize('size', [1e-38, 1e-20, 1e-3, 1e3, 1e20, 1e38])
    def test_cosine_does_not_depend_on_length(self, index: DocumentIndex[Film], size: float) -> None:
        """Very small and very large vectors have the cosine distance of their directions."""
        looks = np.array([[1, 2, 0], [2, 1, 0], [-1, 0, 1]])
        index.index(a_film(str(at), poster=Poster(look=look * size)) for at, look in enumerate(looks))
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index(a_film(str(at), poster=Poster(look=look)) for at, look in enumerate(looks))
        docs, scores = index.find([1, 2, 0], 'poster__look')
        assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(
            oracle.distances([1, 2, 0], 'poster__look'), abs=1e-6
        )

    def test_equal_vectors_are_all_found(self, index: DocumentIndex[Film]) -> None:
        """A thousand documents with one vector hide neither each other nor a document beside them."""
        crowd = [a_film(f'equal {at}', [1, 1, 1, 1]) for at in range(1000)]
        index.index([*crowd, a_film('beside', [2, 2, 2, 2])])
        assert len(index.find([1, 1, 1, 1], 'plot', limit=1000).documents) == 1000
        found = index.find([2, 2, 2, 2], 'plot', limit=1, exact=not self.sees_past_equal_vectors)
        assert found.documents.id == ['beside']

    # -- find_batched() --------------------------------------------------------------------------

    @_EXACT
    @_FIELDS
    def test_a_batch_is_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str, exact: bool
    ) -> None:
        """`find_batched` gives for each row of an array what is nearest to it, in the order of the queries."""
        queries = np.stack([a_vector(field, seed) for seed in range(5)])
        docs, scores = index.find_batched(queries, field, limit=4, exact=exact)
        assert scores.shape == (5, 4)
        for query, found, found_scores in zip(queries, docs, scores, strict=True):
            stored.check(FindResult(found, found_scores), query, field, 4)

    def test_a_batch_of_documents(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Queries may be a list of what `find` takes, mixed, or a `DocList`."""
        film, other = stored.docs['film 0'], stored.docs['film 1']
        mixed = index.find_batched([film, other.plot, other.plot.tolist()], 'plot', limit=1)
        assert [docs[0].id for docs in mixed.documents] == ['film 0', 'film 1', 'film 1']
        listed = index.find_batched(DocList[Film]([film, other]), 'plot', limit=1)
        assert [docs[0].id for docs in listed.documents] == ['film 0', 'film 1']

    def test_a_batch_of_no_queries(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """No queries have no answers."""
        assert index.find_batched([], 'plot').documents == []

    def test_one_bad_query_refuses_the_batch(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A batch with one query of a wrong length raises."""
        with pytest.raises(DimensionError):
            index.find_batched([[0, 0, 0, 0], [0, 0]], 'plot')

    # -- filters ---------------------------------------------------------------------------------

    @_FILTERED
    def test_filter_returns_what_matches(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], filter_query: Any
    ) -> None:
        """
        `filter` gives the documents that match, as they were stored, in the order of indexing; `count` says how many.

        What matches is what `Filter.matches` says.
        """
        expected = list(stored.matching(filter_query).docs.values())
        found = index.filter(filter_query, limit=None)
        assert isinstance(found, DocList)
        assert found.doc_type is Film
        assert found.id == [doc.id for doc in expected]
        assert all(map(same, found, expected))
        assert index.count(filter_query) == len(expected)
        assert index.filter(filter_query, 2, offset=1).id == found.id[1:3]
        assert index.filter(filter_query, limit=0).id == []

    def test_filter_returns_ten_if_nothing_is_said(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`filter` returns at most 10 documents unless another limit is given; `count` without a filter counts all."""
        assert index.filter({}).id == list(stored.docs)[:10]
        assert index.count() == 12

    def test_filter_sorts(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`sort` puts documents in the order of a field, those without a value last; offset and limit count there."""
        posters = [(doc.poster.url, doc.id) for doc in stored.docs.values() if doc.poster is not None]
        without = [doc.id for doc in stored.docs.values() if doc.poster is None]
        for descending in (False, True):
            ordered = [id_ for _, id_ in sorted(posters, reverse=descending)] + without
            how: dict[str, Any] = {'sort': 'poster__url', 'descending': descending}
            assert index.filter({}, None, **how).id == ordered
            assert index.filter({}, None, offset=7, **how).id == ordered[7:]
            assert index.filter({}, 3, offset=7, **how).id == ordered[7:10]

    def test_several_filters_are_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """`filter_batched` gives what `filter` gives for each, in order."""
        found = index.filter_batched(iter(_FILTERS), limit=3)
        assert [docs.id for docs in found] == [index.filter(one, limit=3).id for one in _FILTERS]
        assert index.filter_batched([]) == []

    def test_a_filter_in_python_is_one_in_a_dictionary(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """Comparisons of `fields_of` are filters wherever a dictionary is one."""
        F = fields_of(Film)  # noqa: N806 (as everybody calls it)
        condition = (F.year >= 1902) & (F.year < 1907)
        expected = list(stored.matching(condition).docs)
        assert expected == ['film 2', 'film 3', 'film 4', 'film 5', 'film 6']
        assert index.filter(condition).id == expected
        assert index.count(condition) == 5
        assert set(index.find(a_vector('plot'), 'plot', filter=condition).documents.id) == set(expected)

    @_EXACT
    @_FIELDS
    @_FILTERED
    def test_find_with_a_filter_comes_back_full(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], filter_query: Any, field: str, exact: bool
    ) -> None:
        """The nearest of what matches are found, `limit` of them if so many match and have the vector."""
        query, only = a_vector(field), stored.matching(filter_query)
        for limit in (1, 4, 1000):
            only.check(index.find(query, field, limit, filter=filter_query, exact=exact), query, field, limit)

    @_FIELDS
    def test_a_batch_with_a_filter_is_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str
    ) -> None:
        """`find_batched` with a filter gives for each query the nearest of what matches."""
        condition = {'year': {'$gte': 1905}}
        queries = np.stack([a_vector(field, seed) for seed in range(4)])
        docs, scores = index.find_batched(queries, field, limit=3, filter=condition)
        for query, found, found_scores in zip(queries, docs, scores, strict=True):
            stored.matching(condition).check(FindResult(found, found_scores), query, field, 3)

    @pytest.mark.parametrize('bad', _BAD_FILTERS.values(), ids=_BAD_FILTERS)
    def test_a_bad_filter_is_refused(self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: Any) -> None:
        """A filter that does not fit the schema is a `FilterError`, a `QueryError`, in every call, for any limit."""
        calls: list[Callable[[], object]] = [
            lambda: index.filter(bad),
            lambda: index.filter(bad, limit=0),
            lambda: index.filter_batched([{}, bad]),
            lambda: index.count(bad),
            lambda: index.find([0, 0, 0, 0], 'plot', filter=bad),
            lambda: index.find([0, 0, 0, 0], 'plot', limit=0, filter=bad),
            lambda: index.find_batched([[0, 0, 0, 0]], 'plot', filter=bad),
            lambda: index.execute_query(index.build_query().find([0, 0, 0, 0], 'plot').filter(bad).build()),
            lambda: index.explain([0, 0, 0, 0], 'plot', filter=bad),
        ]
        for call in calls:
            with pytest.raises(FilterError) as raised:
                call()
            assert isinstance(raised.value, QueryError)

    @pytest.mark.parametrize('given', [{'limit': -1}, {'limit': 1.5}, {'offset': -1}, {'sort': 'smell'}], ids=str)
    def test_filter_refuses_numbers_and_orders_that_make_no_sense(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], given: dict[str, Any]
    ) -> None:
        """A negative limit or offset, or an unknown field to sort by, is a `QueryError`."""
        with pytest.raises(QueryError):
            index.filter({}, **given)

    def test_filters_follow_what_is_written(self, open_index: OpenIndex) -> None:
        """After updates, replacements and deletions, and after reopening, filters see the documents as they are."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        with open_index(Film) as index:
            for store in (index, oracle):
                store.index(films())
                store.update('film 3', year=1999)
                store.update('film 4', plot=np.zeros(4, np.float32), tags=['z'])
                store.update('film 5', poster=None)
                store.index([a_film('film 6', year=1999)])
                store.delete(['film 7', 'film 8'])
            check_filters(index, oracle)
        with open_index(Film) as index:
            check_filters(index, oracle)

    def test_an_empty_index_has_no_matches(self, index: DocumentIndex[Film]) -> None:
        """Where nothing is stored nothing matches."""
        assert index.filter({'year': 1}).id == index.filter({}, limit=None).id == []
        assert index.count() == 0
        assert len(index.find(a_vector('plot'), 'plot', filter={'year': {'$ne': 1}}).documents) == 0

    # -- execute_query() -------------------------------------------------------------------------

    def test_filters_before_and_behind_find_combine(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """All filters of a query count, wherever they stand, and `limit` results come back; scores are distances."""
        some, more, query = {'year': {'$gte': 1902}}, {'title': {'$ne': 'Title 5'}}, a_vector('plot')
        only, start = stored.matching(some).matching(more), index.build_query()
        for builder in (
            start.filter(some).filter(more).find(query, 'plot', limit=4),
            start.filter(filter_query=some).find(query=query, search_field='plot', limit=4).filter(filter_query=more),
            start.find(query, 'plot', limit=4).filter(more).filter(some),
        ):
            only.check(index.execute_query(builder.build()), query, 'plot', 4)

    def test_limits_apply_where_they_stand(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A filter's limit before `find` leaves the first so many to rank; later steps cut what was found."""
        query, start = a_vector('plot'), index.build_query()
        first = stored.matching({'id': {'$in': ['film 2', 'film 3', 'film 4']}})
        found = index.execute_query(start.filter({'year': {'$gte': 1902}}, limit=3).find(query, 'plot').build())
        first.check(found, query, 'plot', 10)
        nearest = list(stored.distances(query, 'plot'))
        later = start.find(query, 'plot', limit=6)
        assert index.execute_query(later.offset(1).limit(3).build()).documents.id == nearest[1:4]
        assert index.execute_query(later.filter({}, limit=2).build()).documents.id == nearest[:2]
        by_year = sorted(nearest[:6], key=lambda id_: stored.docs[id_].year)
        assert index.execute_query(later.sort('year').limit(4).build()).documents.id == by_year[:4]
        assert index.execute_query(later.limit(4).sort('year').build()).documents.id == [
            id_ for id_ in by_year if id_ in nearest[:4]
        ]

    def test_a_query_without_ranking_has_no_scores(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Without `find`, documents come as they were indexed, and NaN is the score of each."""
        docs, scores = index.execute_query(index.build_query().filter({'year': {'$gt': 1905}}).offset(2).build())
        assert docs.id == list(stored.matching({'year': {'$gt': 1905}}).docs)[2:]
        assert scores.dtype == np.float32
        assert np.isnan(scores).all()
        assert index.execute_query(QueryBuilder().build()).documents.id == list(stored.docs)

    def test_several_rankings_are_fused(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Rankings of several fields become one by reciprocal ranks, with weights; a function sees them by id."""
        plot, look = a_vector('plot'), a_vector('poster__look')
        both = index.build_query().find(plot, 'plot', limit=5).find(look, 'poster__look', limit=5)
        expected: dict[str, float] = {}
        for field, query, weight in (('plot', plot, 2.0), ('poster__look', look, 1.0)):
            for rank, id_ in enumerate(list(stored.distances(query, field))[:5], 1):
                expected[id_] = expected.get(id_, 0.0) + weight / (60 + rank)
        docs, scores = index.execute_query(both.fuse(weights=[2, 1]).build())
        assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(expected)
        assert (np.diff(scores) <= 0).all()
        docs, scores = index.execute_query(both.fuse(lambda found: {found[1].keys[2]: 7.0}).build())
        assert docs.id == [list(stored.distances(look, 'poster__look'))[2]]
        assert scores.tolist() == [7]

    def test_groups_and_variety(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`group_by` keeps the best of each group, `diversify` with 1 the order by distance."""
        query = a_vector('plot')
        ranked = index.build_query().find(query, 'plot', limit=12)
        best: dict[tuple[str, ...], str] = {}
        for id_ in stored.distances(query, 'plot'):
            best.setdefault(tuple(stored.docs[id_].tags), id_)
        assert index.execute_query(ranked.group_by('tags').build()).documents.id == list(best.values())
        found = index.execute_query(ranked.diversify(5, lambda_mult=1).build())
        stored.check(found, query, 'plot', 5)

    def test_select_returns_these_fields_only(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Selected documents have their id and the fields that were asked for, by flat name."""
        query = index.build_query().find(a_vector('plot'), 'plot', limit=12).select('title', 'poster__url', 'plot')
        docs, _ = index.execute_query(query.build())
        assert set(type(docs[0]).model_fields) == {'id', 'title', 'poster__url', 'plot'}
        assert docs.id == list(stored.distances(a_vector('plot'), 'plot'))
        for doc in docs:
            film = stored.docs[doc.id]
            assert (doc.title, doc.poster__url) == (film.title, film.poster and film.poster.url)  # type: ignore[attr-defined]
            assert doc.plot.tobytes() == film.plot.tobytes()

    @pytest.mark.parametrize('bad', _BAD_STEPS.values(), ids=_BAD_STEPS)
    def test_a_query_that_makes_no_sense_is_refused(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: Callable[[QueryBuilder], QueryBuilder]
    ) -> None:
        """Unknown fields, fields that a step is not for, and steps in a wrong place are a `QueryError`."""
        query = bad(index.build_query()).build()
        for call in (index.execute_query, index.explain):
            with pytest.raises(QueryError):
                call(query)

    def test_explain_says_how(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`explain` answers as `execute_query` does, and tells query, filter, matches, and the time of each step."""
        query = index.build_query().filter({'year': {'$lt': 1905}}).find(a_vector('plot'), 'plot', limit=3).build()
        explained = index.explain(query)
        assert (explained.matches, explained.documents) == (5, 3)
        assert explained.steps
        assert all(step.seconds >= 0 for step in explained.steps)
        assert all(part in str(explained) for part in (str(query), 'year < 1905', *(s.what for s in explained.steps)))

    @_FIELDS
    def test_plot_draws_every_vector(self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str) -> None:
        """`plot` draws a point for each document that has a vector in the field, if matplotlib is installed."""
        pytest.importorskip('matplotlib')
        figure = index.plot(field, method='pca')
        there = [id_ for id_ in stored.docs if stored.vector(id_, field) is not None]
        assert sum(len(drawn.get_offsets()) for drawn in figure.axes[0].collections) == len(there)
        assert index.explain(a_vector('plot'), 'plot', 3, filter={'year': {'$lt': 1905}}).matches == 5

    def test_each_twin_answers_as_its_call(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`afilter`, `acount`, `afind`, `aexecute_query` and the others give what the calls without `a` give."""
        some, query = {'year': {'$gte': 1904}}, a_vector('plot')
        built = index.build_query().find(query, 'plot', limit=4).filter(some).build()

        async def use() -> None:
            assert (await index.afilter(some, 3, sort='year', descending=True, offset=1)).id == [
                'film 10',
                'film 9',
                'film 8',
            ]
            assert [docs.id for docs in await index.afilter_batched([some, {}], 1)] == [['film 4'], ['film 0']]
            assert await index.acount(some) == 8
            assert await index.acount() == 12
            stored.matching(some).check(await index.afind(query, 'plot', 4, filter=some), query, 'plot', 4)
            batch = await index.afind_batched([query], 'plot', 4, filter=some)
            stored.matching(some).check(FindResult(batch.documents[0], batch.scores[0]), query, 'plot', 4)
            stored.matching(some).check(await index.aexecute_query(built), query, 'plot', 4)
            assert (await index.aexplain(built)).matches == 8
            with pytest.raises(FilterError):
                await index.afilter({'smell': 1})

        asyncio.run(use())

    # -- get(), [], in, len, iter ------------------------------------------------------------------

    def test_get(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`get` returns the document with an id, None for an unknown one, and of several those that exist, in order."""
        one = index.get('film 3')
        assert one is not None
        assert same(one, stored.docs['film 3'])
        assert index.get('nobody') is None
        assert index.get(['film 5', 'nobody', 'film 2', 'film 5']).id == ['film 5', 'film 2', 'film 5']
        assert index.get(iter(['film 1'])).id == ['film 1']
        assert index.get([]).id == []

    def test_getitem(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`index[id]` is a document, `index[ids]` a `DocList` in that order."""
        assert same(index['film 3'], stored.docs['film 3'])
        assert index[['film 5', 'film 2']].id == ['film 5', 'film 2']
        assert index['film 5', 'film 2'].doc_type is Film

    def test_getitem_names_all_that_are_missing(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`index[...]` with unknown ids raises a KeyError that names each of them."""
        with pytest.raises(DocumentNotFoundError) as raised:
            index[['film 0', 'nobody', 'no one']]
        assert raised.value.ids == ['nobody', 'no one']
        assert isinstance(raised.value, KeyError)
        assert 'nobody' in str(raised.value)

    @pytest.mark.parametrize('key', [7, None, ['film 0', 7], b'film 0'], ids=repr)
    def test_an_id_is_a_string(self, index: DocumentIndex[Film], stored: ExactIndex[Film], key: Any) -> None:
        """Anything but a string where an id belongs is an `IdTypeError`, which is a TypeError; nothing is deleted."""
        for call in (index.get, index.delete, index.__getitem__, index.__delitem__):
            with pytest.raises(IdTypeError) as raised:
                call(key)
            assert isinstance(raised.value, TypeError)
        stored.check_all(index)

    def test_an_impossible_id_is_not_there(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A string that can be no document's id, empty or no valid Unicode, is an unknown id like another."""
        for id_ in ('', 'half \ud800'):
            assert id_ not in index
            assert index.get(id_) is None
            assert index.delete([id_, 'nobody']) == 0
            with pytest.raises(DocumentNotFoundError):
                index[id_]

    def test_in(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`in` takes an id or a document, of which the id counts."""
        assert 'film 0' in index
        assert 'nobody' not in index
        assert a_film('film 0') in index
        assert a_film('film 99') not in index
        with pytest.raises(IdTypeError):
            index.__contains__(7)

    def test_len_and_iter(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`len`, `num_docs` and iteration agree; new documents come in the order in which they were stored."""
        assert list(index) == list(stored.docs)
        assert len(index) == index.num_docs() == 12

    def test_iterating_sees_one_moment(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """The ids are those of the moment at which the iteration began, whatever is written meanwhile."""
        seen = []
        for id_ in index:
            seen.append(id_)
            index.delete(id_)
            index.index(a_film(f'after {id_}'))
        assert seen == list(stored.docs)

    # -- configure() -----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        'settings', [{'eff': 50}, {'ef': 0}, {'ef': 'many'}, {'M': 1}, {'space': 'manhattan'}, {'dim': 7}], ids=str
    )
    def test_configure_refuses_what_cannot_be(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], settings: dict[str, Any]
    ) -> None:
        """A setting that nobody knows, that is out of range or cannot be changed, is a `SettingsError`."""
        with pytest.raises(SettingsError) as raised:
            index.configure(**settings)
        assert next(iter(settings)) in str(raised.value)
        stored.check_all(index)

    def test_configure_keeps_what_is_stored(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Settings of all fields, or of one, can be changed while documents are stored."""
        index.configure(ef=200)
        index.configure(ef=50, search_field='plot')
        stored.check_all(index)

    def test_settings_say_what_distance_means(self, index: DocumentIndex[Film]) -> None:
        """`settings` has the space and the length of each vector field, and knows no others."""
        assert {name: index.settings(name)['space'] for name in SPACES} == SPACES
        assert index.settings('plot')['dim'] == 4
        with pytest.raises(QueryError):
            index.settings('title')

    # -- closing and reopening -------------------------------------------------------------------

    def test_reopening_finds_everything(self, open_index: OpenIndex) -> None:
        """What was written, updated and deleted before closing is so after reopening, by id and by search."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        with open_index(Film) as index:
            for store in (index, oracle):
                store.index(films())
                store.update('film 0', plot=np.zeros(4, np.float32))
                store.update('film 1', title='New')
                store.delete(['film 2', 'film 3'])
        with open_index(Film) as index:
            oracle.check_all(index)
            for store in (index, oracle):
                store.index(films(3, seed=8))
                store.delete(['film 4'])
        with open_index(Film) as index:
            oracle.check_all(index)

    def test_closing_twice_is_fine(self, open_index: OpenIndex) -> None:
        """A closed index can be closed again."""
        index = open_index(Film)
        index.close()
        index.close()

    @pytest.mark.parametrize('use', _USES.values(), ids=_USES)
    def test_a_closed_index_refuses_use(
        self, open_index: OpenIndex, use: Callable[[DocumentIndex[Any]], object]
    ) -> None:
        """Any use after closing is a `ClosedIndexError`, which is a RuntimeError."""
        with open_index(Film) as index:
            index.index(films(1))
        with pytest.raises(ClosedIndexError) as raised:
            use(index)
        assert isinstance(raised.value, RuntimeError)

    def test_an_index_closed_during_a_call_refuses_it(self, open_index: OpenIndex) -> None:
        """Documents that come from an iterator are refused when the index was closed before it ended."""
        index = open_index(Film)

        def closing() -> Iterator[Film]:
            yield from films(1)
            index.close()

        with pytest.raises(ClosedIndexError):
            index.index(closing())
        with open_index(Film) as index:
            assert len(index) == 0

    def test_an_error_inside_with_comes_through(self, open_index: OpenIndex) -> None:
        """`with` closes the index when its body raises, lets the error through, and keeps what was written."""

        def store_and_fail() -> None:
            with open_index(Film) as index:
                index.index(films(2))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store_and_fail()
        with open_index(Film) as index:
            assert len(index) == 2
