from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, create_model, field_validator

from docindex import (
    AnyTensor,
    BaseDoc,
    ClosedIndexError,
    DimensionError,
    DocIndexError,
    DocList,
    DocumentError,
    DocumentNotFoundError,
    Field,
    HnswDocumentIndex,
    IdTypeError,
    NdArray,
    QueryError,
    SchemaError,
    SchemaMismatchError,
    SettingsError,
    VectorError,
)
from docindex.hnsw.vectors import VectorFile

NAN, INF = float('nan'), float('inf')


class Look(BaseDoc):
    tensor: NdArray = Field(dim=2, space='cosine')
    url: str = ''


class Film(BaseDoc):
    title: str
    year: int = 0
    plot: NdArray[3]
    look: Look | None = None


class OfTorch:
    """Stands in for torch.Tensor, which is recognised by its module."""

    dtype = 'torch.float32'
    shape = (3,)

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def numpy(self, *, force: bool) -> Any:
        return np.array(self.values, np.float32)


OfTorch.__module__ = 'torch'


def films() -> list[Film]:
    rng = np.random.default_rng(0)
    return [
        Film(
            id=f'f{at}',
            title=f'Title {at}',
            year=1900 + at,
            plot=rng.normal(size=3).astype(np.float32),
            look=Look(id=f'l{at}', tensor=rng.normal(size=2), url=f'{at}.png') if at % 4 else None,
        )
        for at in range(12)
    ]


def contents(index: HnswDocumentIndex[Film]) -> list[tuple[object, ...]]:
    return [
        (doc.id, doc.title, doc.year, doc.plot.tobytes(), doc.look and (doc.look.id, doc.look.tensor.tobytes()))
        for doc in index.get(list(index))
    ]


@pytest.fixture
def index(work_dir: Path) -> Iterator[HnswDocumentIndex[Film]]:
    """Twelve films, every fourth without a look."""
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        index.index(films())
        yield index


@pytest.fixture
def unchanged(index: HnswDocumentIndex[Film]) -> Iterator[None]:
    """Afterwards everything must be as before: by id, by search, in number, and on the disk after reopening."""
    before = contents(index)
    found = index.find(films()[1].plot, 'plot', limit=100)
    yield
    for handle in (index, None):
        if handle is None:
            index.close()
            handle = HnswDocumentIndex[Film](work_dir=index.work_dir)
        again = handle.find(films()[1].plot, 'plot', limit=100)
        assert contents(handle) == before
        assert len(handle) == handle.num_docs() == 12
        assert (again.documents.id, again.scores.tolist()) == (found.documents.id, found.scores.tolist())
        handle.close()


def one_field(annotation: Any, **settings: Any) -> type[BaseDoc]:
    return create_model('One', __base__=BaseDoc, v=(annotation, Field(**settings)))


# -- bad input: refused with the right error, and nothing is written ------------------------------------------------

GOOD = {'id': 'new', 'title': 'x', 'plot': [1, 2, 3]}
BAD_DOCUMENTS: dict[str, tuple[Any, type[DocIndexError], type[Exception], list[str]]] = {
    'wrong dimension': ({**GOOD, 'plot': [1, 2]}, DimensionError, ValueError, ['plot', '3-d', '2-d']),
    'wrong nested dimension': (
        {**GOOD, 'look': {'tensor': [1, 2, 3]}},
        DimensionError,
        ValueError,
        ['look__tensor', '2-d', '3-d'],
    ),
    'a matrix': ({**GOOD, 'plot': [[1, 2, 3]]}, DimensionError, ValueError, ['plot', '(1, 3)']),
    'NaN': ({**GOOD, 'plot': [1, NAN, 3]}, VectorError, ValueError, ['plot', 'NaN', 'finite']),
    'infinity': ({**GOOD, 'plot': [1, 2, -INF]}, VectorError, ValueError, ['plot', 'infinite', 'finite']),
    'float32 overflow': ({**GOOD, 'plot': [1e39, 2, 3]}, VectorError, ValueError, ['plot', 'infinite in float32']),
    'too long for l2': ({**GOOD, 'plot': [1e30, 2, 3]}, VectorError, ValueError, ['plot', "'l2'"]),
    'nested NaN': ({**GOOD, 'look': {'tensor': [NAN, 1]}}, VectorError, ValueError, ['look__tensor', 'NaN']),
    'text for a vector': ({**GOOD, 'plot': 'abc'}, VectorError, ValueError, ['plot', 'numbers', "'abc'"]),
    'missing vector': ({'id': 'new', 'title': 'x'}, DocumentError, ValueError, ['plot', 'required']),
    'vector None': ({**GOOD, 'plot': None}, VectorError, ValueError, ['plot', 'None']),
    'missing field': ({'id': 'new', 'plot': [1, 2, 3]}, DocumentError, ValueError, ['title', 'required']),
    'wrong type': ({**GOOD, 'year': 'soon'}, DocumentError, ValueError, ['year', 'integer']),
    'id a number': ({**GOOD, 'id': 5}, IdTypeError, TypeError, ['id', 'int 5', 'string']),
    'id None': ({**GOOD, 'id': None}, IdTypeError, TypeError, ['id', 'None', 'string']),
    'id empty': ({**GOOD, 'id': ''}, DocumentError, ValueError, ['id']),
    'not a document': (5, DocumentError, ValueError, ['Film', 'int']),
    'never checked: vector': (
        Film.model_construct(id='new', title='x', plot=np.ones(2)),
        DimensionError,
        ValueError,
        ['plot', '3-d', '2-d'],
    ),
    'never checked: no vector': (
        Film.model_construct(id='new', title='x', plot=None),
        DocumentError,
        ValueError,
        ['plot', 'missing'],
    ),
    'never checked: no field': (
        Film.model_construct(id='new', title='x'),
        DocumentError,
        ValueError,
        ['plot'],
    ),
    'never checked: id': (Film.model_construct(**{**GOOD, 'id': 5}), IdTypeError, TypeError, ['int 5', 'string']),
    'never checked: type': (
        Film.model_construct(**{**GOOD, 'plot': np.ones(3), 'year': 'soon'}),
        DocumentError,
        ValueError,
        ['year'],
    ),
}


@pytest.mark.parametrize(('bad', 'error', 'builtin', 'said'), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
@pytest.mark.usefixtures('unchanged')
def test_a_bad_document_refuses_the_batch(
    index: HnswDocumentIndex[Film], bad: Any, error: type[Exception], builtin: type[Exception], said: list[str]
) -> None:
    """I7: a document that cannot be stored raises with its field, what came and what was expected; none is stored."""
    batch = [Film(id='f0', title='changed', plot=[0, 0, 0]), Film(id='fresh', title='a', plot=[1, 1, 1]), bad]
    with pytest.raises(error) as raised:
        index.index(batch)
    assert type(raised.value) is error
    assert isinstance(raised.value, builtin)
    assert all(word in str(raised.value) for word in ['document 2', *said])


BAD_QUERIES: dict[str, tuple[dict[str, Any], type[DocIndexError], list[str]]] = {
    'wrong dimension': ({'query': [1, 2]}, DimensionError, ['plot', '3-d', '2-d']),
    'a matrix': ({'query': np.ones((2, 3))}, DimensionError, ['plot', '(2, 3)']),
    'NaN': ({'query': [1, NAN, 3]}, VectorError, ['plot', 'NaN']),
    'infinity': ({'query': [1, 2, 1e300]}, VectorError, ['plot', 'infinite']),
    'text': ({'query': 'a boat'}, QueryError, ['plot', "'a boat'"]),
    'nothing': ({'query': None}, VectorError, ['plot', 'None']),
    'unknown field': ({'search_field': 'colour'}, QueryError, ["'colour'", 'plot, look__tensor']),
    'not a vector': ({'search_field': 'title'}, QueryError, ["'title'", 'plot, look__tensor']),
    'no field': ({'search_field': ''}, QueryError, ['search_field', 'plot, look__tensor']),
    'dotted field': ({'search_field': 'look.tensor'}, QueryError, ["'look.tensor'", 'look__tensor']),
    'negative limit': ({'limit': -1}, QueryError, ['limit', '-1']),
    'limit a float': ({'limit': 2.0}, QueryError, ['limit', '2.0']),
    'limit True': ({'limit': True}, QueryError, ['limit', 'True']),
    'ef 0': ({'ef': 0}, SettingsError, ['ef', '0']),
    'a document without it': ({'query': Look(tensor=[1, 2])}, QueryError, ['Look', 'plot']),
    'a document with None': (
        {'query': Film(title='x', plot=[1, 2, 3]), 'search_field': 'look__tensor'},
        QueryError,
        ['look__tensor'],
    ),
}


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize(('bad', 'error', 'said'), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_query_is_refused(
    index: HnswDocumentIndex[Film], bad: dict[str, Any], error: type[Exception], said: list[str], exact: bool
) -> None:
    """A query that makes no sense is a ValueError of ours that says what came and what was expected (D10, P1)."""
    arguments: dict[str, Any] = {'query': [1, 2, 3], 'search_field': 'plot', 'exact': exact, **bad}
    with pytest.raises(error) as raised:
        index.find(**arguments)
    assert type(raised.value) is error
    assert isinstance(raised.value, ValueError)
    assert all(word in str(raised.value) for word in said)


@pytest.mark.parametrize('ef', [-1, None, 1, 10**6])
def test_ef_of_a_search(index: HnswDocumentIndex[Film], ef: int | None) -> None:
    """A search takes any `ef` that the setting takes, -1 for automatic included."""
    assert len(index.find([1, 2, 3], 'plot', ef=ef).documents) == 10


@pytest.mark.parametrize(
    'call',
    [
        lambda index, ids: index[ids],
        lambda index, ids: index.__delitem__(ids),
        lambda index, ids: index.__delitem__(tuple(ids)),
        lambda index, ids: index.update([Film(id=id_, title='x', plot=[1, 2, 3]) for id_ in ids]),
    ],
    ids=['get', 'del', 'del tuple', 'update'],
)
@pytest.mark.usefixtures('unchanged')
def test_unknown_ids_are_all_named(index: HnswDocumentIndex[Film], call: Callable[[Any, Any], object]) -> None:
    """Unknown ids in `index[...]`, `del` and `update` are a KeyError that names each once, and nothing happens (D3)."""
    with pytest.raises(DocumentNotFoundError) as raised:
        call(index, ['f1', 'nobody', 'f2', "no'one", 'nobody'])
    assert isinstance(raised.value, KeyError)
    assert raised.value.ids == ['nobody', "no'one"]
    assert all(id_ in str(raised.value) for id_ in raised.value.ids)


@pytest.mark.parametrize(
    'key', [5, None, b'f1', ['f1', 5], {'f1': 1}, Film(id='f1', title='x', plot=[1, 2, 3])], ids=str
)
@pytest.mark.usefixtures('unchanged')
def test_what_is_no_id_is_refused(index: HnswDocumentIndex[Film], key: Any) -> None:
    """Where an id belongs, anything but a string is a TypeError of ours, and nothing is deleted."""
    for call in (index.__getitem__, index.get, index.__delitem__, index.delete):
        with pytest.raises(IdTypeError) as raised:
            call(key)
        assert isinstance(raised.value, TypeError)


def test_impossible_ids_are_unknown(index: HnswDocumentIndex[Film]) -> None:
    """A string that cannot be an id, empty or half a character, is one that no document has."""
    for id_ in ('', '\ud800'):
        assert id_ not in index
        assert index.get(id_) is None
        assert index.delete(id_) == 0


@pytest.mark.parametrize(
    ('arguments', 'error', 'said'),
    [
        (('f1', {'colour': 'red'}), QueryError, ['colour', 'title']),
        (('f1', {'id': 'f2'}), QueryError, ['id']),
        (('f1', {'year': 'soon'}), DocumentError, ['year']),
        (('f1', {'plot': [1, 2]}), DimensionError, ['plot', '3-d', '2-d']),
        (('f1', {'plot': [1, NAN, 2]}), VectorError, ['plot', 'NaN']),
        (('f1', {'title': 'x', 'look__tensor': [1, 2, 3]}), DimensionError, ['look__tensor', '2-d', '3-d']),
        (('f0', {'look__url': 'x'}), DocumentError, ['look']),
        (('nobody', {'year': 5}), DocumentNotFoundError, ['nobody']),
        (([], {'year': 5}), QueryError, ['id']),
    ],
    ids=str,
)
@pytest.mark.usefixtures('unchanged')
def test_a_bad_update_is_refused(
    index: HnswDocumentIndex[Film], arguments: tuple[Any, dict[str, Any]], error: type[Exception], said: list[str]
) -> None:
    """I7: an update that cannot be done says which field and why, and changes nothing."""
    with pytest.raises(error) as raised:
        index.update(arguments[0], **arguments[1])
    assert type(raised.value) is error
    assert all(word in str(raised.value) for word in said)


@pytest.mark.parametrize(
    ('make', 'error', 'builtin', 'said'),
    [
        (lambda: one_field(NdArray), SchemaError, TypeError, ["'v'", 'NdArray[128]']),
        (lambda: one_field(NdArray[3], M=1), SettingsError, ValueError, ['M', '1', '2 to']),
        (lambda: create_model('One', v=(NdArray[3], ...)), SchemaError, TypeError, ['"id"']),
        (lambda: create_model('One', id=(int, 0)), SchemaError, TypeError, ['One.id', 'int']),
        (lambda: int, SchemaError, TypeError, ['int']),
        (
            lambda: create_model('One', __base__=BaseDoc, look=(Look, ...), look__tensor=(int, 0)),
            SchemaError,
            TypeError,
            ['look.tensor and look__tensor'],
        ),
    ],
    ids=['no dim', 'M 1', 'no id', 'id a number', 'no model', 'one name twice'],
)
def test_a_schema_that_cannot_be_indexed(
    work_dir: Path, make: Callable[[], Any], error: type[Exception], builtin: type[Exception], said: list[str]
) -> None:
    """A schema that cannot be indexed is refused before the directory is made."""
    with pytest.raises(error) as raised:
        HnswDocumentIndex[make()](work_dir=work_dir)
    assert type(raised.value) is error
    assert isinstance(raised.value, builtin)
    assert all(word in str(raised.value) for word in said)
    assert not work_dir.exists()


def test_a_name_that_is_a_path_stays_inside(tmp_path: Path) -> None:
    """No field's name makes a file outside of the work directory (D19)."""
    escaping = create_model('Escaping', __base__=BaseDoc, **{'../../v': (NdArray[2], ...)})
    with pytest.raises(SchemaError, match=r'\.\./\.\./v'):
        HnswDocumentIndex[escaping](work_dir=tmp_path / 'a' / 'b')
    assert not [path for path in tmp_path.rglob('*v*') if path.is_file()]


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        ({'default_column_config': {np.ndarray: {'colour': 1}}}, SettingsError),
        ({'default_column_config': {np.ndarray: {'M': 1}}}, SettingsError),
        ({'default_column_config': {'np.ndarray': {'M': 3}}}, SettingsError),
        ({'index_name': '../x'}, SettingsError),
        ({'index_name': 'a/b'}, SettingsError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """What cannot be a configuration is one of our errors, and makes no directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        HnswDocumentIndex[Film](**arguments)
    assert not list(tmp_path.iterdir())


def test_an_index_needs_a_class(work_dir: Path) -> None:
    """An index without a document class is a `SchemaError` that shows how to write one; a type variable passes."""
    with pytest.raises(SchemaError, match=r'HnswDocumentIndex\[YourDocument\]'):
        HnswDocumentIndex(work_dir=work_dir)
    assert HnswDocumentIndex[TypeVar('T')] is not None  # type: ignore[misc]


@pytest.mark.parametrize(
    'use',
    [
        lambda index: index.index([]),
        lambda index: index.update('f1', year=5),
        lambda index: index.delete('f1'),
        lambda index: index.__delitem__('f1'),
        lambda index: index.find([1, 2, 3], 'plot'),
        lambda index: index.find_batched([[1, 2, 3]], 'plot'),
        lambda index: index['f1'],
        lambda index: index.get('f1'),
        lambda index: 'f1' in index,
        len,
        list,
        lambda index: index.num_docs(),
        lambda index: index.configure(ef=5),
        lambda index: index.settings('plot'),
        lambda index: index.save_graphs(),
    ],
)
def test_use_after_close(index: HnswDocumentIndex[Film], use: Callable[[Any], object]) -> None:
    """A closed handle refuses every use with a RuntimeError of ours, also while another handle is open."""
    with HnswDocumentIndex[Film](work_dir=index.work_dir) as other:
        index.close()
        index.close()
        with pytest.raises(ClosedIndexError, match='closed') as raised:
            use(index)
        assert isinstance(raised.value, RuntimeError)
        assert len(other) == 12
    assert 'closed' in repr(index)


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'given',
    [
        lambda film: film,
        lambda film: film.model_dump(),
        lambda film: [film, film.model_dump()],
        lambda film: DocList[Film]([film]),
        lambda film: iter([film]),
        lambda film: create_model('Other', id=(str, ...), title=(str, ...), plot=(Any, ...), more=(int, 5))(
            id=film.id, title=film.title, plot=film.plot
        ),
        lambda film: {**film.model_dump(), 'plot': OfTorch(film.plot.tolist())},
        lambda film: {**film.model_dump(), 'plot': film.plot.tolist()},
    ],
    ids=['document', 'dict', 'list', 'DocList', 'iterator', 'other class', 'torch', 'lists'],
)
def test_documents_come_in_many_forms(work_dir: Path, given: Callable[[Film], Any]) -> None:
    """A document, a dict, several of either, and documents of another class with the same fields can be indexed."""
    film = films()[4]
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        index.index(given(film))
        assert len(index) == 1
        assert (index['f4'].title, index['f4'].plot.tolist()) == (film.title, film.plot.tolist())


@pytest.mark.parametrize('empty', [[], (), DocList[Film](), iter([])], ids=['list', 'tuple', 'DocList', 'iterator'])
@pytest.mark.usefixtures('unchanged')
def test_an_empty_batch_is_fine(index: HnswDocumentIndex[Film], empty: Any) -> None:
    """Nothing to store is no error."""
    index.index(empty)
    index.update([])
    assert index.delete([]) == 0
    del index[[]]


def test_an_id_that_exists_is_replaced(index: HnswDocumentIndex[Film]) -> None:
    """Indexing an id again replaces its document; of two in one batch the last wins."""
    index.index([Film(id='f1', title='first', plot=[9, 9, 9]), Film(id='f1', title='last', plot=[50, 50, 50])])
    assert (len(index), index['f1'].title, index['f1'].look) == (12, 'last', None)
    docs, scores = index.find([50, 50, 50], 'plot', limit=100)
    assert docs.id.count('f1') == 1
    assert (docs[0].id, scores[0]) == ('f1', 0)
    assert 'f1' not in index.find([1, 0], 'look__tensor', limit=100).documents.id


def test_a_deleted_id_can_come_back(index: HnswDocumentIndex[Film]) -> None:
    """Deleting and indexing the same id again works, and finds only the new version (D2)."""
    film = index['f1']
    for seed in range(3):
        del index['f1']
        assert 'f1' not in index
        index.index(film.model_copy(update={'plot': np.full(3, 10 + seed)}))
    assert index.find([12, 12, 12], 'plot', limit=1).documents.id == ['f1']
    assert len(index) == 12


def test_deleting(index: HnswDocumentIndex[Film]) -> None:
    """`delete` passes over unknown ids and says how many there were; `del` takes one, a list or several."""
    assert index.delete(['f1', 'nobody', 'f1']) == 1
    assert index.delete('f2') == 1
    del index['f3']
    del index[['f4', 'f5']]
    del index['f6', 'f7']
    assert sorted(index) == ['f0', 'f10', 'f11', 'f8', 'f9']
    assert sorted(index.find([0, 0, 0], 'plot', limit=99).documents.id) == sorted(index)


def test_some_fields_can_be_updated(index: HnswDocumentIndex[Film]) -> None:
    """`update(id, field=value)` changes some fields, nested ones by their flat name, vectors too."""
    index.update('f1', title='new', look__tensor=[0, -7], look__url='new.png')
    film = index['f1']
    assert (film.title, film.year, film.look.url, film.look.id) == ('new', 1901, 'new.png', 'l1')  # type: ignore[union-attr]
    assert film.plot.tolist() == films()[1].plot.tolist()
    docs, scores = index.find([0, -1], 'look__tensor', limit=1)
    assert (docs.id, scores.tolist()) == (['f1'], [0])


def test_an_update_of_other_fields_reads_no_vectors(
    index: HnswDocumentIndex[Film], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that are not named are not read, and come back as they were given, whatever their type."""
    precise = np.array([0.1, 0.2], np.float64)  # float32 does not hold these
    index.index(Film(id='f1', title='x', plot=[1, 2, 3], look=Look(tensor=precise)))
    with monkeypatch.context() as patch:
        for name in ('rows', 'peek', 'damaged', 'write'):
            patch.setattr(VectorFile, name, None)
        index.update({'f1': {'title': 'new', 'look__url': 'new.png'}, 'f4': {'year': 5}, 'f2': {'title': 'too'}})
    film = index['f1']
    assert film.look is not None
    assert (film.title, film.look.url, index['f4'].look) == ('new', 'new.png', None)
    assert (film.look.tensor.dtype, film.look.tensor.tolist()) == (np.float64, precise.tolist())
    assert (index['f2'].title, index['f2'].plot.tolist()) == ('too', films()[2].plot.tolist())
    assert index.count({'title': 'too'}) == 1
    assert index.verify().is_sound


def test_an_update_leaves_other_fields_alone(work_dir: Path) -> None:
    """A validator that is not idempotent does not run on the fields that an update does not name."""

    class Cheering(BaseDoc):
        title: str
        count: int = 0
        v: NdArray[2]

        @field_validator('title')
        @classmethod
        def cheer(cls, title: str) -> str:
            return title + '!'

    with HnswDocumentIndex[Cheering](work_dir=work_dir) as index:
        index.index(Cheering(id='a', title='x', v=[1, 2]))
        index.update('a', count=5)
        assert (index['a'].title, index['a'].count) == ('x!', 5)
        index.update({'a': {'count': 6}})
        assert (index['a'].title, index['a'].count, index['a'].v.tolist()) == ('x!', 6, [1, 2])


@pytest.mark.parametrize('precise', [False, True], ids=['', 'beyond float32'])
@pytest.mark.parametrize('kind', [list[float], tuple[float, ...], tuple[int, ...], list[float] | None], ids=str)
def test_an_update_leaves_lists_of_numbers_alone(work_dir: Path, kind: Any, precise: bool) -> None:
    """Vectors that are lists or tuples come through an update of other fields as they were."""
    listed: Any = create_model('Listed', __base__=BaseDoc, price=(int, 0), v=(kind, Field(dim=2)))
    numbers = [2**30 + 1, 7] if kind == tuple[int, ...] else [0.1 if precise else 0.5, 7.0]
    with HnswDocumentIndex[listed](work_dir=work_dir) as index:
        index.index([listed(id=id_, v=numbers) for id_ in 'abc'])
        before = index['a']
        index.update('a', price=3)
        index.update({'b': {'price': 3}, 'c': {'price': 3}})
        assert [index[id_].v for id_ in 'abc'] == [before.v] * 3
        assert index.find(numbers, limit=3).scores.tolist() == [0, 0, 0]
        assert index.count({'price': 3}) == 3
        assert index.verify().is_sound


def test_whole_documents_can_be_updated(index: HnswDocumentIndex[Film]) -> None:
    """`update(docs)` replaces documents that are there."""
    index.update([Film(id='f1', title='new', plot=[0, 0, 0]), {'id': 'f2', 'title': 'too', 'plot': [1, 1, 1]}])
    assert index[['f1', 'f2']].title == ['new', 'too']
    assert len(index) == 12


def test_the_documents_of_the_user_are_not_touched(work_dir: Path) -> None:
    """Indexing leaves the user's documents as they are, and later changes to them do not reach the index (D17)."""
    film = films()[1]
    before, plot = film.model_dump(), film.plot
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        index.index(film)
        assert film.plot is plot
        assert film.look is not None
        assert type(film.look) is Look
        assert film.model_dump().keys() == before.keys()
        film.plot[:] = 77
        assert index['f1'].plot.tolist() != [77] * 3


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reading_by_id(index: HnswDocumentIndex[Film]) -> None:
    """`index[id]`, `index[ids]` and `get` return documents of the schema, in the order asked for."""
    assert type(index['f3']) is Film
    assert type(index[['f3']]) is DocList[Film]
    assert index[['f5', 'f3', 'f5']].id == ['f5', 'f3', 'f5']
    assert index['f5', 'f3'].id == ['f5', 'f3']
    assert index[[]].id == []
    assert index.get('nobody') is None
    assert index.get(['f5', 'nobody', 'f3']).id == ['f5', 'f3']


def test_membership_and_iteration(index: HnswDocumentIndex[Film]) -> None:
    """`in` takes an id or a document; iteration gives the ids of the moment it began."""
    assert 'f1' in index
    assert films()[1] in index
    assert Film(title='x', plot=[1, 2, 3]) not in index
    with pytest.raises(IdTypeError):
        index.__contains__(5)
    ids = iter(index)
    index.delete(['f1'])
    assert list(ids) == [film.id for film in films()]


@pytest.mark.parametrize(
    'query',
    [
        lambda film: film,
        lambda film: film.plot,
        lambda film: film.plot.tolist(),
        lambda film: tuple(film.plot.tolist()),
        lambda film: film.plot.astype(np.float64),
        lambda film: OfTorch(film.plot.tolist()),
        lambda film: {'plot': film.plot},
        lambda film: create_model('Other', plot=(Any, ...))(plot=film.plot),
    ],
    ids=['document', 'numpy', 'list', 'tuple', 'float64', 'torch', 'dict', 'other class'],
)
def test_queries_come_in_many_forms(index: HnswDocumentIndex[Film], query: Callable[[Film], Any]) -> None:
    """A query is a document of any class that has the field, a dict, or any array of numbers."""
    docs, scores = index.find(query(films()[5]), search_field='plot', limit=3)
    assert (docs[0].id, scores[0], scores.dtype, type(docs)) == ('f5', 0, np.float32, DocList[Film])
    docs, scores = index.find_batched([query(films()[5]), query(films()[6])], search_field='plot', limit=3)
    assert [found[0].id for found in docs] == ['f5', 'f6']
    assert scores.shape == (2, 3)


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize(('limit', 'found'), [(0, 0), (1, 1), (12, 12), (13, 12), (10**9, 12), (np.int64(3), 3)])
def test_limits(index: HnswDocumentIndex[Film], limit: int, found: int, exact: bool) -> None:
    """A search returns `limit` documents, what there is if that is less, and nothing for 0 (P9)."""
    docs, scores = index.find([0, 0, 0], 'plot', limit=limit, exact=exact)
    assert len(docs) == len(scores) == found
    assert sorted(scores.tolist()) == scores.tolist()
    batched = index.find_batched(np.zeros((2, 3)), 'plot', limit=limit, exact=exact)
    assert batched.scores.shape == (2, found)


@pytest.mark.parametrize('exact', [True, False])
def test_documents_without_the_vector_are_not_found(index: HnswDocumentIndex[Film], exact: bool) -> None:
    """A search in an optional field finds the documents that have it, whatever the limit."""
    docs, scores = index.find([1, 0], 'look__tensor', limit=100, exact=exact)
    assert sorted(docs.id) == sorted(f'f{at}' for at in range(12) if at % 4)
    assert len(scores) == 9


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize('queries', [[], np.empty((0, 3))], ids=['list', 'array'])
def test_no_queries(index: HnswDocumentIndex[Film], queries: Any, exact: bool) -> None:
    """No queries have no answers, and are no error."""
    assert index.find_batched(queries, 'plot', exact=exact).documents == []


@pytest.mark.parametrize('exact', [True, False])
def test_an_empty_index_finds_nothing(work_dir: Path, exact: bool) -> None:
    """An index without documents answers, with nothing."""
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        docs, scores = index.find([1, 2, 3], 'plot', exact=exact)
        assert (docs, scores.shape) == ([], (0,))
        assert index.find_batched(np.ones((2, 3)), 'plot', exact=exact).scores.shape == (2, 0)
        assert (len(index), list(index)) == (0, [])


def test_the_only_vector_field_need_not_be_named(work_dir: Path) -> None:
    """Where there is one vector field `search_field` may be left out."""
    with HnswDocumentIndex[Look](work_dir=work_dir) as index:
        index.index(Look(id='a', tensor=[1, 2]))
        assert index.find([1, 2]).documents.id == ['a']
        assert index.settings()['dim'] == 2


# -- vectors come back as they went in, in every space -----------------------------------------------------------------

VECTORS = {
    'float16': np.float16([1, -0.0, 6e-8]),
    'float32': np.float32([1e-45, -0.0, 0.1]),
    'float64': np.array([0.1, 5e-324, -0.0]),
    'int8': np.int8([-128, 0, 127]),
    'int64': np.array([2**53 + 1, -1, 0]),
    'bool': np.array([True, False, True]),
    'big-endian': np.array([0.1, 1, 2], '>f8'),
}


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
@pytest.mark.parametrize('array', VECTORS.values(), ids=VECTORS)
def test_vectors_come_back_bit_for_bit(work_dir: Path, array: Any, space: Any) -> None:
    """Flat or nested, by id, by search and after reopening, a vector is what was given, in every space (D12, P18)."""

    class Inner(BaseDoc):
        v: AnyTensor = Field(dim=3, space=space)

    class Outer(BaseDoc):
        v: NdArray[3] = Field(space=space)
        inner: Inner

    def check(doc: Any) -> None:
        for found in (doc.v, doc.inner.v):
            assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())

    for write in (True, False):
        with HnswDocumentIndex[Outer](work_dir=work_dir) as index:
            if write:
                index.index(
                    [Outer(id='a', v=array, inner=Inner(v=array)), Outer(v=[9, 9, 9], inner=Inner(v=[9, 9, 9]))]
                )
            check(index['a'])
            check(next(doc for doc in index.find([1, 0, 1], 'inner__v').documents if doc.id == 'a'))


def test_values_come_back_after_reopening(work_dir: Path) -> None:
    """Values that JSON alone would lose survive the round trip through the directory (D26)."""

    class Doc(BaseDoc):
        v: NdArray[2] | None = None
        when: datetime | str
        raw: bytes
        numbers: dict[int, set[float]]
        image: NdArray[2, 2]

    doc = Doc(id='a', when=datetime(2024, 1, 1, tzinfo=UTC), raw=b'\xff\x00', numbers={1: {INF}}, image=np.eye(2))
    with HnswDocumentIndex[Doc](work_dir=work_dir) as index:
        index.index(doc)
    with HnswDocumentIndex[Doc](work_dir=work_dir) as index:
        assert index['a'] == doc


def test_a_document_of_any_width(work_dir: Path) -> None:
    """A plain pydantic model with np.ndarray and list[float] is a schema like another."""

    class Plain(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        id: str
        a: np.ndarray = pydantic.Field(dim=2)  # type: ignore[call-overload]
        b: Annotated[list[float], Field(dim=3, space='ip')]

    with HnswDocumentIndex[Plain](work_dir=work_dir) as index:
        index.index([Plain(id='x', a=np.array([1, 2]), b=[0.1, 2, 3]), {'id': 'y', 'a': np.zeros(2), 'b': [0, 0, 0]}])
        assert (index['x'].a.tolist(), index['x'].b) == ([1, 2], [0.1, 2.0, 3.0])
        assert index.find([1, 2], 'a').documents.id == ['x', 'y']
        assert index.find([1, 1, 1], 'b').scores.tolist() == pytest.approx([1 - 5.1, 1])
        with pytest.raises(DimensionError, match="'a' holds 2-d"):
            index.index(Plain(id='z', a=np.ones(3), b=[1, 2, 3]))
        assert Plain(id='x', a=np.ones(2), b=[]) in index


@pytest.mark.parametrize('size', [1e-25, 1e25, 1e-38, 3e38], ids=str)
def test_cosine_of_very_small_and_very_large(work_dir: Path, size: float) -> None:
    """Under cosine only the direction counts, and zeros are at distance 1 from everything (P18)."""
    with HnswDocumentIndex[Look](work_dir=work_dir) as index:
        tensors = {'right': [size, 0], 'up': [0, size], 'left': [-size, 0], 'zero': [0, 0]}
        index.index([Look(id=id_, tensor=np.float32(tensor)) for id_, tensor in tensors.items()])
        for exact in (True, False):
            docs, scores = index.find([1, 0], exact=exact)
            assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(
                {'right': 0, 'up': 1, 'left': 2, 'zero': 1}
            )
            assert index.find([0, 0], exact=exact).scores.tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize('space', ['l2', 'ip', 'cosine'])
def test_hundreds_of_equal_vectors(work_dir: Path, space: Any) -> None:
    """Equal vectors are all found when as many are asked for, and hide no other (P11)."""

    class Doc(BaseDoc):
        v: NdArray[8] = Field(space=space)

    rng = np.random.default_rng(1)
    others = rng.normal(size=(200, 8)).astype(np.float32)
    with HnswDocumentIndex[Doc](work_dir=work_dir) as index:
        index.index([Doc(id=f'same {at}', v=np.full(8, 0.01)) for at in range(400)])
        index.index([Doc(id=f'other {at}', v=v) for at, v in enumerate(others)])
        assert len({doc.id for doc in index.find(np.full(8, 0.01), limit=600).documents}) == 600
        found = index.find_batched(others, limit=5).scores
        exact = index.find_batched(others, limit=5, exact=True).scores
        assert np.isclose(found, exact, atol=1e-5).mean() >= 0.98


@pytest.mark.parametrize(
    'name', ['order', 'group', 'select', 'data', 'label', 'index', 'meta', 'doc_id', 'rowid', 'from_']
)
def test_fields_named_like_sql(work_dir: Path, name: str) -> None:
    """A field may be called what it likes: names are no SQL (D20)."""
    doc_type = create_model(
        'Doc', __base__=BaseDoc, **{name: (NdArray[2], ...), 'table': (str, 'x'), 'values': (int, 1)}
    )
    with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
        index.index(doc_type(id='a', **{name: [1, 2]}))
        index.update('a', table='y')
    with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
        assert index.find([1, 2], name).documents[0].table == 'y'


@pytest.mark.parametrize('id_', ["it's", 'a"b', 'a\0b', '😀é\u202e', ' ', '%', '../..', 'x' * 10_000, 'a\nb', 'NULL'])
def test_any_id(work_dir: Path, id_: str) -> None:
    """Quotes, NUL, any Unicode and 10,000 characters are an id like another, after reopening too."""
    with HnswDocumentIndex[Look](work_dir=work_dir) as index:
        index.index([Look(id=id_, tensor=[1, 2]), Look(id='a', tensor=[3, -4])])
    with HnswDocumentIndex[Look](work_dir=work_dir) as index:
        assert index[id_].id == id_
        assert id_ in index
        assert index.find([1, 2], limit=1).documents.id == [id_]
        del index[id_]
        assert list(index) == ['a']


# -- settings ----------------------------------------------------------------------------------------------------------

CHANGED: dict[str, Any] = {
    'space': 'cosine',
    'max_elements': 4096,
    'ef_construction': 50,
    'M': 5,
    'ef': 33,
    'ef_min': 11,
    'ef_max': 222,
    'ef_factor': 2,
    'num_threads': 2,
    'allow_replace_deleted': False,
    'random_seed': 9,
    'index': False,
}


@pytest.mark.parametrize('name', CHANGED)
@pytest.mark.parametrize('where', ['field', 'pydantic field', 'annotated', 'default', 'configure'])
def test_every_setting_is_kept(work_dir: Path, name: str, where: str) -> None:
    """A setting given in a field, for all fields or at run time is in force, and still is after reopening (D30)."""
    given = {name: CHANGED[name]}
    annotation: Any = Annotated[NdArray[2], Field(**given)] if where == 'annotated' else NdArray[2]
    field = Field(**given) if where == 'field' else pydantic.Field(**given) if where == 'pydantic field' else ...
    doc_type = create_model('Doc', __base__=BaseDoc, v=(annotation, field))
    config = {'default_column_config': {np.ndarray: given}} if where == 'default' else {}
    with HnswDocumentIndex[doc_type](work_dir=work_dir, **config) as index:
        if where == 'configure':
            index.configure(**given)
        index.index([doc_type(id=str(at), v=[at, 1]) for at in range(20)])
        assert index.settings()[name] == CHANGED[name]
        expected = index.find([3, 1], exact=True)
    with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
        assert index.settings()[name] == CHANGED[name]
        found = index.find([3, 1])
        assert found.documents.id == expected.documents.id
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_a_field_comes_before_the_default(work_dir: Path) -> None:
    """What a field says itself is stronger than `default_column_config`."""
    config: Any = {np.ndarray: {'dim': -1, 'M': 5, 'ef': 44, 'space': 'ip'}, None: {}}
    with HnswDocumentIndex[Film](work_dir=work_dir, default_column_config=config) as index:
        assert (index.settings('plot')['M'], index.settings('plot')['space']) == (5, 'ip')
        assert (index.settings('look__tensor')['M'], index.settings('look__tensor')['space']) == (5, 'cosine')


@pytest.mark.parametrize(
    'make',
    [
        lambda cls, path: cls(work_dir=path, default_column_config={np.ndarray: {'ef': 44}}),
        lambda cls, path: cls(cls.DBConfig(work_dir=path, default_column_config={np.ndarray: {'ef': 44}})),
        lambda cls, path: cls(db_config=configured(cls.DBConfig(work_dir=path))),
        lambda cls, path: cls(configured(HnswDocumentIndex.DBConfig()), work_dir=path),
    ],
    ids=['keyword', 'DBConfig', 'updated', 'both'],
)
def test_spellings_of_docarray(work_dir: Path, make: Callable[..., Any]) -> None:
    """Both of DocArray's ways to give settings for all fields work, and neither leaks into other indexes."""
    with make(HnswDocumentIndex[Look], work_dir) as index:
        assert index.settings()['ef'] == 44
        assert index.work_dir == work_dir
    with HnswDocumentIndex[Look](work_dir=work_dir.parent / 'other') as other:
        assert other.settings()['ef'] is None


def configured(config: Any) -> Any:
    config.default_column_config.get(np.ndarray).update({'ef': 44})
    return config


def test_what_json_cannot_say_of_a_field(work_dir: Path) -> None:
    """A field may have notes of the user's that JSON has no word for, DocArray's `col_type` say."""

    class Noted(BaseDoc):
        vector: NdArray[2] = pydantic.Field(json_schema_extra={'col_type': np.ndarray})  # type: ignore[dict-item]

    with HnswDocumentIndex[Noted](work_dir=work_dir) as index:
        index.index(Noted(id='a', vector=np.ones(2)))
        assert index.find([1, 1]).documents.id == ['a']


def test_where_an_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is a string or a path, first or by name; `index_name` is one in it; the default is where one is."""
    monkeypatch.chdir(tmp_path)
    for given, kwargs, expected in (
        ((), {}, '.'),
        (('a',), {}, 'a'),
        ((Path('b'),), {}, 'b'),
        ((), {'work_dir': 'c'}, 'c'),
        ((), {'work_dir': 'c', 'index_name': 'films'}, 'c/films'),
        ((), {'work_dir': 'my__dir', 'index_name': 'my__films'}, 'my__dir/my__films'),
    ):
        with HnswDocumentIndex[Look](*given, **kwargs) as index:  # type: ignore[arg-type]
            assert index.work_dir == (tmp_path / expected).resolve()
            assert index.index_name == kwargs.get('index_name', 'Look')
            assert (tmp_path / expected / 'documents.sqlite3').exists()


def test_two_names_are_two_indexes(work_dir: Path) -> None:
    """Indexes of different names in one directory do not see each other."""
    with (
        HnswDocumentIndex[Look](work_dir=work_dir, index_name='one') as one,
        HnswDocumentIndex[Film](work_dir=work_dir, index_name='two') as two,
    ):
        one.index(Look(tensor=[1, 2]))
        assert (len(one), len(two)) == (1, 0)


@pytest.mark.parametrize(
    'settings',
    [{'colour': 1}, {'M': 1}, {'ef': 0}, {'ef': 1 << 70}, {'dim': 5}, {'M': 17}, {'space': 'ip'}, {'ef': 5, 'M': 17}],
    ids=str,
)
def test_configure_refuses(index: HnswDocumentIndex[Film], settings: dict[str, Any]) -> None:
    """I7: what cannot be changed is a ValueError of ours that names the setting, and nothing of the call is done."""
    before = index.settings('plot'), index.settings('look__tensor')
    with pytest.raises(SettingsError) as raised:
        index.configure(**settings)
    assert isinstance(raised.value, ValueError)
    assert any(name in str(raised.value) for name in settings)
    assert (index.settings('plot'), index.settings('look__tensor')) == before


def test_configure_one_field_or_all(index: HnswDocumentIndex[Film]) -> None:
    """`configure` changes one field's settings or those of all, in each of its spellings."""
    index.configure(search_field='plot', ef=11)
    assert (index.settings('plot')['ef'], index.settings('look__tensor')['ef']) == (11, None)
    index.configure(ef=22)
    index.configure(default_column_config={np.ndarray: {'ef_min': 5}})
    index.configure(index.RuntimeConfig(default_column_config={np.ndarray: {'num_threads': 2}}))
    for field in ('plot', 'look__tensor'):
        settings = index.settings(field)
        assert (settings['ef'], settings['ef_min'], settings['num_threads']) == (22, 5, 2)
    with pytest.raises(SettingsError, match='HnswRuntimeConfig'):
        index.configure({'ef': 5})  # type: ignore[arg-type]
    with pytest.raises(QueryError, match='plot, look__tensor'):
        index.configure(search_field='colour', ef=5)


def test_anything_but_dim_can_be_configured_while_empty(work_dir: Path) -> None:
    """As long as there are no documents even what is built into a graph can be changed."""
    with HnswDocumentIndex[Look](work_dir=work_dir) as index:
        index.configure(space='l2', M=3)
        index.index([Look(id='a', tensor=[3, 4]), Look(id='b', tensor=[0, 0])])
        assert index.find([0, 0]).scores.tolist() == [0, 25]
        with pytest.raises(SettingsError, match='dim'):
            index.configure(dim=3)


def test_a_graph_can_be_dropped_and_made(index: HnswDocumentIndex[Film]) -> None:
    """`index=False` drops a graph, `index=True` builds it from the vectors; answers stay the same."""
    expected = index.find([1, 2, 3], 'plot', limit=12)
    for built in (False, True):
        index.configure(search_field='plot', index=built)
        assert (index._store.state.graphs.get('plot') is not None) is built
        found = index.find([1, 2, 3], 'plot', limit=12)
        assert found.documents.id == expected.documents.id
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_an_automatic_ef_follows_the_limit(index: HnswDocumentIndex[Film], monkeypatch: pytest.MonkeyPatch) -> None:
    """Automatic ef is 8 x limit within its bounds; a positive one, of field or search, is taken literally."""
    seen: list[int] = []
    graph = index._store.state.graphs.get('plot')
    assert graph is not None
    search = graph.search
    monkeypatch.setattr(graph, 'search', lambda queries, k, ef: (seen.append(ef), search(queries, k, ef))[1])
    for limit in (1, 20, 1000):
        index.find([1, 2, 3], 'plot', limit=limit)
    index.find([1, 2, 3], 'plot', ef=7)
    index.configure(ef=9)
    index.find([1, 2, 3], 'plot', limit=1000)
    assert seen == [100, 160, 500, 7, 9]


def test_other_settings_rebuild_at_opening(work_dir: Path) -> None:
    """A schema with another space and M opens the same directory, and answers by the new ones (D9)."""
    with HnswDocumentIndex[one_field(NdArray[2])](work_dir=work_dir) as index:
        index.index([{'id': 'near', 'v': [1, 1]}, {'id': 'far', 'v': [10, 9]}])
        assert index.find([2, 2]).documents.id == ['near', 'far']
    with HnswDocumentIndex[one_field(NdArray[2], space='ip', M=3)](work_dir=work_dir) as index:
        docs, scores = index.find([2, 2])
        assert (docs.id, scores.tolist()) == (['far', 'near'], [-37, -3])
        assert (index.settings()['space'], index.settings()['M']) == ('ip', 3)


def test_a_space_for_which_vectors_are_too_long_is_refused(work_dir: Path) -> None:
    """A directory whose vectors have no distance in a new space is refused, instead of answering with infinity."""
    with HnswDocumentIndex[one_field(NdArray[2], space='cosine')](work_dir=work_dir) as index:
        index.index([{'id': 'a', 'v': [1e25, 0]}, {'id': 'b', 'v': [1, 0]}])
    with pytest.raises((VectorError, SettingsError)):
        HnswDocumentIndex[one_field(NdArray[2], space='l2')](work_dir=work_dir).find([1, 0])


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        (lambda: one_field(NdArray[3]), ['v', 'vector[2]', 'vector[3]']),
        (lambda: create_model('One', __base__=BaseDoc, w=(NdArray[2], ...)), ['v', 'w']),
        (lambda: create_model('One', __base__=BaseDoc, v=(str, '')), ['v', 'str', 'vector[2]']),
    ],
    ids=['another dim', 'another name', 'another type'],
)
def test_another_schema_is_refused(work_dir: Path, other: Callable[[], Any], said: list[str]) -> None:
    """A directory made with another schema is an OSError of ours that names what differs, and is left alone (D8)."""
    with HnswDocumentIndex[one_field(NdArray[2])](work_dir=work_dir) as index:
        index.index({'id': 'a', 'v': [1, 2]})
    with pytest.raises(SchemaMismatchError) as raised:
        HnswDocumentIndex[other()](work_dir=work_dir)
    assert isinstance(raised.value, OSError)
    assert all(word in str(raised.value) for word in [*said, str(work_dir)])
    with HnswDocumentIndex[one_field(NdArray[2])](work_dir=work_dir) as index:
        assert index['a'].v.tolist() == [1, 2]


def test_a_missing_vector_is_not_read_as_a_required_one(work_dir: Path) -> None:
    """When a vector becomes required, a directory in which it is missing says so by an error of ours."""
    with HnswDocumentIndex[one_field(NdArray[2] | None, default=None)](work_dir=work_dir) as index:
        index.index({'id': 'a'})
    with pytest.raises(DocIndexError):
        HnswDocumentIndex[one_field(NdArray[2])](work_dir=work_dir)['a']


def test_a_document_its_class_no_longer_accepts(work_dir: Path) -> None:
    """When a class became stricter, reading a document that does not fit is an error of ours that names the field."""
    for length in (10, 2):
        doc_type = create_model('Doc', __base__=BaseDoc, title=(str, Field(max_length=length)))
        with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
            if length == 10:
                index.index({'id': 'a', 'title': 'long'})
            else:
                with pytest.raises(DocIndexError, match='title'):
                    index['a']


def test_the_order_of_fields_does_not_matter(work_dir: Path) -> None:
    """A class whose fields changed places reads each vector from its own field."""
    for names in (('a', 'b'), ('b', 'a')):
        doc_type = create_model('Doc', __base__=BaseDoc, **dict.fromkeys(names, (NdArray[2], ...)))
        with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
            index.index({'id': names[0], 'a': np.float64([0.1, 1]), 'b': np.int8([2, 2])})
            for id_ in index:
                assert (index[id_].a.tolist(), index[id_].b.tolist()) == ([0.1, 1], [2, 2])


def test_a_schema_without_vectors(work_dir: Path) -> None:
    """A schema without any vector is stored and read by id; a search says that there is nothing to search."""

    class Note(BaseDoc):
        text: str

    with HnswDocumentIndex[Note](work_dir=work_dir) as index:
        index.index(Note(id='a', text='x'))
        index.update('a', text='y')
        with pytest.raises(QueryError, match='no vector field'):
            index.find([1], 'text')
        with pytest.raises(DocumentNotFoundError):
            del index['nobody']
    with HnswDocumentIndex[Note](work_dir=work_dir) as index:
        assert index['a'].text == 'y'


def test_a_repr_says_what_and_where(index: HnswDocumentIndex[Film]) -> None:
    """An index prints its class, its directory and how many documents it has."""
    assert repr(index) == f"<HnswDocumentIndex[Film] in '{index.work_dir}': 12 documents>"
    assert HnswDocumentIndex[Film] is HnswDocumentIndex[Film]


@pytest.mark.filterwarnings('error')
def test_opening_warns_of_nothing(work_dir: Path) -> None:
    """Opening with defaults that JSON cannot say prints no warning of a library below."""
    doc_type = create_model('Doc', __base__=BaseDoc, raw=(bytes, b'\xff'))
    with HnswDocumentIndex[doc_type](work_dir=work_dir) as index:
        index.index(doc_type(id='a'))
        assert index['a'].raw == b'\xff'


@pytest.mark.parametrize('index_dim', [4, 8])
@pytest.mark.parametrize('deleted', [1, 500])
def test_a_large_limit_after_a_deletion(deleted: int, index_dim: int, tmp_path: Path) -> None:
    """A search for more than a graph with dead nodes is asked for has all of them, nearest first."""

    class Point(BaseDoc):
        v: NdArray[8] = Field(index_dim=index_dim)

    vectors = np.random.default_rng(0).normal(size=(1_600, 8)).astype(np.float32)
    with HnswDocumentIndex[Point](work_dir=tmp_path) as index:
        index.index([Point(id=str(at), v=vector) for at, vector in enumerate(vectors)])
        index.delete([str(at) for at in range(deleted)])
        found, exact = (index.find(vectors[0], limit=1_050, exact=exact) for exact in (False, True))
        assert found.documents.id == exact.documents.id
        assert len(found.documents) == 1_050
