"""What `index` and `index_columns` promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import pytest

from ..doclist import DocList
from ..document import BaseDoc
from ..errors import DimensionError, DocIndexError, DocumentError, IdTypeError, QueryError, VectorError
from ..fields import Field
from ..index import DocumentIndex
from ..schema import Schema
from ..tensors import NdArray
from ..urls import ImageUrl
from .contract import OpenIndex
from .exact import ExactIndex, same
from .films import SPACES, Film, FilmContract, Poster, Trailer, a_film, films


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


class StoringContract(FilmContract):
    """What is stored, and what is refused before anything is."""

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
            'no number',
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
