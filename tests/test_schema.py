from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar

import numpy as np
import pydantic
import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, RootModel, create_model, field_validator, model_validator
from typing_extensions import TypeAliasType

from docindex import (
    ID,
    AnyTensor,
    BaseDoc,
    DimensionError,
    DocList,
    DocumentError,
    Field,
    IdTypeError,
    NdArray,
    QueryError,
    SchemaError,
    VectorError,
)
from docindex.refusals import check_id
from docindex.schema import Schema

T = TypeVar('T')


class Look(BaseDoc):
    tensor: NdArray[2]
    url: str = ''


class Image(BaseDoc):
    look: Look
    size: int = 0


class Film(BaseDoc):
    title: str
    poster: Image | None = None
    plot: NdArray = Field(dim=3)


class Bare(BaseModel):
    tensor: NdArray = Field(dim=2)


class Node(BaseModel):
    children: list['Node'] = []


def schema_with(annotation: Any, default: Any = ...) -> Schema[Any]:
    return Schema(create_model('Doc', __base__=BaseDoc, v=(annotation, default)))


def vectors(schema: Schema[Any], **defaults: Any) -> dict[str, Any]:
    return {name: settings['dim'] for name, settings in schema.vector_settings(defaults).items()}


# -- columns ---------------------------------------------------------------------------------------------------


def test_nested_documents_are_flattened() -> None:
    """A nested document contributes its fields under `outer__inner` names, to any depth, its id too."""
    schema = Schema(Film)
    assert list(schema.columns) == [
        'id',
        'title',
        'poster__id',
        'poster__look__id',
        'poster__look__tensor',
        'poster__look__url',
        'poster__size',
        'plot',
    ]
    assert schema.columns['poster__look__tensor'].path == ('poster', 'look', 'tensor')
    assert vectors(schema) == {'poster__look__tensor': 2, 'plot': 3}


def test_a_column_is_optional_if_anything_on_its_way_is() -> None:
    """A field of an optional document may be missing, and its value is then None."""
    schema = Schema(Film)
    assert schema.columns['poster__look__tensor'].is_optional
    assert not schema.columns['plot'].is_optional
    film = Film(title='a', plot=[1, 2, 3])
    assert schema.columns['poster__look__tensor'].value(film) is None
    film = Film(title='a', plot=[1, 2, 3], poster=Image(look=Look(tensor=[4, 5])))
    assert schema.columns['poster__look__tensor'].value(film).tolist() == [4, 5]


@pytest.mark.parametrize(
    'annotation',
    [
        NdArray[3],
        AnyTensor[3],
        Optional[NdArray[3]],  # noqa: UP045
        NdArray[3] | None,
        Annotated[NdArray[3], 'remark'],
        Annotated[NdArray, Field(dim=3)],
        Annotated[AnyTensor | None, Field(dim=3)],
        Annotated[list[float], Field(dim=3)],
        Annotated[tuple[float, ...], Field(dim=3)],
        Annotated[list[float] | None, Field(dim=3)],
        Annotated[NdArray['d'], Field(dim=3)],  # noqa: F821
        NewType('Point', NdArray[3]),  # type: ignore[valid-newtype]
        TypeAliasType('MaybePoint', Annotated[NdArray, Field(dim=3)] | None),
    ],
    ids=str,
)
def test_ways_to_write_a_vector(annotation: Any) -> None:
    """A tensor, or a list of numbers, whose length is known is a vector column, optional ones too (D11)."""
    assert vectors(schema_with(annotation)) == {'v': 3}


def test_a_plain_model_is_a_schema() -> None:
    """A pydantic model with `id: str` serves as well, with np.ndarray or list[float] and a dim."""

    class Plain(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        id: str
        a: np.ndarray = pydantic.Field(dim=2)  # type: ignore[call-overload]
        b: list[float] = Field(dim=3)
        c: list[float] = []

    assert vectors(Schema(Plain)) == {'a': 2, 'b': 3}


@pytest.mark.parametrize(
    'annotation',
    [
        NdArray[3, 4],
        NdArray[3, ...],
        NdArray['x', 'x'],
        Annotated[NdArray, Field(index=False)],
        list[float],
        list[NdArray[3]],
        dict[str, NdArray[3]],
        list[Bare],
        Node,
        int,
        str | int | None,
        Annotated[NdArray | str, Field(index=False)],
    ],
    ids=str,
)
def test_what_is_stored_without_being_a_vector(annotation: Any) -> None:
    """Tensors of other shapes, lists and whatever pydantic knows are stored, and are no vector columns (D25)."""
    assert vectors(schema_with(annotation)) == {}


@pytest.mark.parametrize('annotation', [DocList[Look], list[Look], DocList[Look] | None], ids=str)
def test_documents_in_a_list_have_vectors_of_their_own(annotation: Any) -> None:
    """The vectors of documents with ids in a list are columns of a level; those they are in have none of them."""
    schema = schema_with(annotation)
    assert vectors(schema) == {'v__tensor': 2}
    assert [name for name, column in schema.columns.items() if column.is_tensor] == []
    assert [name for name, column in schema.levels['v'].schema.columns.items() if column.is_tensor] == ['tensor']


def test_index_false_with_a_length_is_a_vector_column() -> None:
    """A vector without a graph still has a length, by which it is checked and searched."""
    assert vectors(schema_with(Annotated[NdArray[3], Field(index=False)])) == {'v': 3}


def test_defaults_of_the_index_give_a_length() -> None:
    """`default_column_config` may give the length; a field's own comes first."""

    class Doc(BaseDoc):
        a: NdArray
        b: NdArray[5]

    assert vectors(Schema(Doc), dim=7) == {'a': 7, 'b': 5}


# -- what cannot be indexed -------------------------------------------------------------------------------------


def twice() -> type[BaseModel]:
    class Inner(BaseModel):
        b: int = 0

    return create_model('Doc', __base__=BaseDoc, a=(Inner, Inner()), a__b=(int, 0))


def endless() -> type[BaseModel]:
    class Endless(BaseDoc):
        next: Optional['Endless'] = None

    Endless.model_rebuild()
    return Endless


REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    'no length': (lambda: schema_with(NdArray).vector_settings({}), ['Doc', "'v'", 'NdArray[128]', 'index=False']),
    'symbolic': (lambda: schema_with(NdArray['x']).vector_settings({}), ['Doc', "'v'"]),
    'twice': (lambda: Schema(twice()), ['a.b and a__b', "'a__b'", 'rename']),
    'endless': (lambda: Schema(endless()), ['Endless', 'next', 'list[Endless]']),
    'no id': (lambda: Schema(create_model('Doc', v=(int, 0))), ['Doc', '"id"', 'BaseDoc']),
    'id a number': (lambda: Schema(create_model('Doc', id=(int, 0))), ['Doc.id', 'string', 'int']),
    'not a class': (lambda: Schema(5), ['5']),  # type: ignore[type-var, arg-type]
    'not a model': (lambda: Schema(dict), ['dict']),  # type: ignore[type-var]
    'dim of a string': (lambda: schema_with(str, Field(dim=3)), ['Doc.v', 'str', 'dim']),
    'two lengths': (lambda: schema_with(NdArray[3], Field(dim=4)), ['Doc.v', 'NdArray[3]', 'dim=4']),
    'dim of a matrix': (lambda: schema_with(NdArray[3, 4], Field(dim=12)), ['Doc.v', 'NdArray[3, 4]']),
    'index of a matrix': (lambda: schema_with(NdArray[3, 4], Field(index=True)), ['Doc.v', 'NdArray[3, 4]']),
    'vector or string': (lambda: schema_with(NdArray[3] | str), ['Doc.v', 'index=False']),
    'required but excluded': (lambda: schema_with(int, Field(exclude=True)), ['Doc.v', 'excluded']),
    'a long name': (
        lambda: Schema(create_model('Doc', __base__=BaseDoc, **{'v' * 201: (NdArray[3], ...)})).vector_settings({}),
        ['Doc', 'vvv', '200 bytes'],
    ),
    'only case differs': (
        lambda: Schema(create_model('Doc', __base__=BaseDoc, v=(NdArray[3], ...), V=(NdArray[3], ...))).vector_settings(
            {}
        ),
        ["'v'", "'V'", 'case'],
    ),
    'a path': (
        lambda: Schema(create_model('Doc', __base__=BaseDoc, **{'../v': (NdArray[3], ...)})).vector_settings({}),
        ['Doc', '../v'],
    ),
}


@pytest.mark.parametrize(('make', 'said'), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_indexed(make: Callable[[], object], said: list[str]) -> None:
    """A class that cannot be indexed is a `SchemaError`, a TypeError, that names the field and what to do."""
    with pytest.raises(SchemaError) as raised:
        make()
    assert isinstance(raised.value, TypeError)
    assert all(word in str(raised.value) for word in said)


def test_a_class_that_is_not_complete_is_refused() -> None:
    """A class that mentions a type not defined yet is a `SchemaError`, not pydantic's."""

    class Doc(BaseDoc):
        other: 'Later | None' = None  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(SchemaError, match='Doc mentions a type that is not defined'):
        Schema(Doc)


@pytest.mark.parametrize(
    'annotation', [str, ID, str | None, Annotated[str, Field(max_length=5)], NewType('UserId', str)], ids=str
)
def test_ways_to_write_an_id(annotation: Any) -> None:
    """An id is a string, checked further or not."""
    assert Schema(create_model('Doc', id=(annotation, ...))).columns['id']


# -- what a directory remembers ---------------------------------------------------------------------------------


def test_a_schema_describes_itself() -> None:
    """A description has each column's type, vectors by their length, whichever way that was written."""

    class Doc(BaseDoc):
        a: NdArray = Field(dim=3)
        b: AnyTensor[3]
        c: int | None
        d: str | int
        e: Literal['x'] = 'x'

    schema = Schema(Doc)
    assert schema.describe(schema.vector_settings({})) == {
        'id': 'ID',
        'a': 'vector[3]',
        'b': 'vector[3]',
        'c': 'int | None',
        'd': 'str | int',
        'e': "Literal['x']",
    }


def library() -> type[BaseModel]:
    def strip(text: str) -> str:
        return text.strip()

    class Chapter(BaseModel):
        title: str = ''

    class Book(BaseDoc):
        chapters: list[Chapter]
        words: list[Annotated[str, AfterValidator(strip)]]
        chapter_or_word: Chapter | list[Chapter] | None = None

    return Book


def test_a_description_does_not_depend_on_where_a_class_is() -> None:
    """
    A class that moves to another module, or is made again by another run, still describes the same columns.

    Otherwise a directory could not be opened any more after a refactoring, or at all by another process.
    """
    one, other = library(), library()
    for cls in (one, one.model_fields['chapters'].annotation.__args__[0]):  # type: ignore[union-attr]
        cls.__module__, cls.__qualname__ = 'elsewhere', cls.__name__
    descriptions = [Schema(cls).describe({}) for cls in (one, other)]
    assert descriptions[0] == descriptions[1]


def test_a_description_tells_required_from_optional() -> None:
    """A vector that may be missing is not described like one that may not: its absence could not be read back."""
    required, optional = schema_with(NdArray[3]), schema_with(NdArray[3] | None, None)
    assert required.describe(required.vector_settings({})) != optional.describe(optional.vector_settings({}))


# -- documents ------------------------------------------------------------------------------------------------


def test_documents_of_the_class_pass_as_they_are() -> None:
    """A document of the schema's class, or of a subclass, is not copied."""
    film = Film(title='a', plot=[1, 2, 3])
    assert Schema(Film).documents(film)[0] is film
    assert Schema(Film).documents([film])[0] is film


@pytest.mark.parametrize(
    'given',
    [
        lambda dict_: dict_,
        lambda dict_: [dict_],
        lambda dict_: (dict_,),
        lambda dict_: iter([dict_]),
        lambda dict_: DocList[Film]([Film(**dict_)]),
        lambda dict_: create_model('Other', id=(str, ''), title=(str, ''), plot=(list[int], []))(**dict_),
    ],
    ids=['dict', 'list', 'tuple', 'iterator', 'DocList', 'other class'],
)
def test_documents_come_in_many_forms(given: Callable[[dict[str, Any]], object]) -> None:
    """A document, a dict, any iterable of these and documents of another class become documents of the schema."""
    (film,) = Schema(Film).documents(given({'id': 'x', 'title': 'a', 'plot': [1, 2, 3]}))
    assert type(film) is Film
    assert (film.id, film.title, film.plot.tolist()) == ('x', 'a', [1, 2, 3])


def test_a_dict_may_use_names_or_aliases() -> None:
    """Where a field has an alias a dict may use either; another document's attributes go by the name."""

    class Doc(BaseDoc):
        title: str = Field(alias='Title')

    schema = Schema(Doc)
    assert schema.documents([{'title': 'a'}, {'Title': 'b'}])[1].title == 'b'
    assert schema.documents(create_model('Other', id=(str, 'x'), title=(str, 'c'))())[0].title == 'c'


@pytest.mark.parametrize('given', ['abc', b'abc', 5, None, np.zeros(3)], ids=repr)
def test_what_holds_no_documents_is_refused(given: object) -> None:
    """Anything that is neither a document nor several is a `DocumentError` that says what came."""
    with pytest.raises(DocumentError, match=rf'expected Films.*got {type(given).__name__}'):
        Schema(Film).documents(given)


GOOD = {'id': 'x', 'title': 'a', 'plot': [1, 2, 3]}
BAD_DOCUMENTS: dict[str, tuple[Any, type[Exception], list[str]]] = {
    'not a document': (5, DocumentError, ['expected a Film or a dict', 'int']),
    'missing field': ({'id': 'x', 'plot': [1, 2, 3]}, DocumentError, ["'x'", 'title', 'required']),
    'missing vector': ({'id': 'x', 'title': 'a'}, DocumentError, ["'x'", 'plot', 'required']),
    'wrong type': ({**GOOD, 'title': 5}, DocumentError, ["'x'", 'title', 'string']),
    'wrong nested': ({**GOOD, 'poster': {'look': {}}}, DocumentError, ["'x'", 'poster__look__tensor']),
    'no vector': ({**GOOD, 'plot': 'abc'}, VectorError, ["'x'", 'plot', "'abc'"]),
    'None vector': ({**GOOD, 'plot': None}, VectorError, ["'x'", 'plot', 'None']),
    'nested length': (
        {**GOOD, 'poster': {'look': {'tensor': [1, 2, 3]}}},
        DimensionError,
        ["'x'", 'poster__look__tensor', '2-d', '3-d'],
    ),
    'id a number': ({**GOOD, 'id': 5}, IdTypeError, ['int 5', 'str(']),
    'id None': ({**GOOD, 'id': None}, IdTypeError, ['NoneType None']),
    'id empty': ({**GOOD, 'id': ''}, DocumentError, ['id']),
    'id half a character': ({**GOOD, 'id': '\ud800'}, DocumentError, ['id', 'nicode']),
}


@pytest.mark.parametrize(('bad', 'error', 'said'), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_a_document_that_does_not_fit(bad: object, error: type[Exception], said: list[str]) -> None:
    """A document that does not fit is refused with its position, its id, the field, and what was expected."""
    with pytest.raises(error) as raised:
        Schema(Film).documents([GOOD, bad])
    assert type(raised.value) is error
    assert 'document 1' in str(raised.value)
    assert all(word in str(raised.value) for word in said)


@pytest.mark.parametrize(
    ('id_', 'error'), [(5, IdTypeError), (None, IdTypeError), ('', DocumentError), ('a\udc00', DocumentError)], ids=repr
)
def test_an_id_is_checked(id_: object, error: type[Exception]) -> None:
    """An id that got past the class, through `model_construct` say, is refused with its position."""
    with pytest.raises(error, match='document 3'):
        check_id(id_, lambda: 'document 3')


@pytest.mark.parametrize('id_', ["it's", 'a"b', 'a\0b', '😀 é', 'x' * 10_000, ' ', '../..', '%', 'NULL'])
def test_any_other_string_is_an_id(id_: str) -> None:
    """Quotes, NUL, any Unicode and any length are fine."""
    assert check_id(id_, lambda: 'document 0') == id_


# -- changing some fields -----------------------------------------------------------------------------------------


def test_some_fields_change() -> None:
    """`changed` returns a copy with other values, nested ones by their flat name, and leaves the document alone."""
    film = Film(title='a', plot=[1, 2, 3], poster=Image(look=Look(tensor=[4, 5], url='u')))
    changed = Schema(Film).changed(film, {'title': 'b', 'poster__look__tensor': [6, 7]})
    assert changed.poster is not None
    assert film.poster is not None
    assert (changed.title, changed.poster.look.tensor.tolist(), changed.poster.look.url) == ('b', [6, 7], 'u')
    assert (film.title, film.poster.look.tensor.tolist()) == ('a', [4, 5])
    assert changed.plot is film.plot


def test_a_whole_nested_document_changes() -> None:
    """A nested document can be set as a whole, from a dict, or to None."""
    schema = Schema(Film)
    film = schema.changed(Film(title='a', plot=[1, 2, 3]), {'poster': {'look': {'tensor': [1, 2]}}})
    assert isinstance(film.poster, Image)
    assert schema.changed(film, {'poster': None}).poster is None


@pytest.mark.parametrize(
    ('values', 'error', 'said'),
    [
        ({'colour': 1}, QueryError, ['Film', "'colour'", 'title']),
        ({'id': 'y'}, QueryError, ['id', 'cannot be changed']),
        ({'title': 5}, DocumentError, ['title', 'string']),
        ({'plot': 'x'}, VectorError, ['plot']),
        ({'poster__look__url': 'u'}, DocumentError, ['poster is None']),
        ({'title': 'b', 'poster': {'look': {'tensor': [1]}}}, DimensionError, ['poster__look__tensor', '2-d', '1-d']),
    ],
    ids=str,
)
def test_a_change_that_does_not_fit(values: dict[str, Any], error: type[Exception], said: list[str]) -> None:
    """A change is refused with the field's flat name and what was expected."""
    with pytest.raises(error) as raised:
        Schema(Film).changed(Film(title='a', plot=[1, 2, 3]), values)
    assert type(raised.value) is error
    assert all(word in str(raised.value) for word in said)


def test_what_is_not_stored_does_not_change() -> None:
    """A change of a field that `exclude` keeps out of the store is refused, but of vectors, which are searched."""

    class Inner(BaseModel):
        secret: str = pydantic.Field('', exclude=True)
        note: str = ''
        vector: NdArray | None = Field(None, dim=2)

    class Note(BaseModel):
        text: str = ''

    class Doc(BaseDoc):
        secret: str = pydantic.Field('', exclude=True)
        note: Note | None = pydantic.Field(None, exclude=True)
        tensor: NdArray | None = Field(None, index=False, exclude=True)
        inner: Inner = Inner()
        hidden: Inner | None = pydantic.Field(None, exclude=True)
        vector: NdArray | None = Field(None, dim=2, exclude=True)
        count: int = pydantic.Field(0, exclude_if=lambda count: count == 0)

    schema, doc = Schema(Doc), Doc(hidden=Inner())
    for name in ('secret', 'note', 'note__text', 'inner__secret', 'hidden__note', 'tensor'):
        with pytest.raises(QueryError, match=f'Doc.{name} is excluded from serialisation, so it is not stored'):
            schema.changed(doc, {name: 'x'})
    changed = schema.changed(doc, {'inner__note': 'x', 'count': 2, 'vector': [1, 2], 'hidden__vector': [3, 4]})
    assert (changed.inner.note, changed.count, changed.vector.sum(), changed.hidden.vector.sum()) == ('x', 2, 3, 7)
    assert schema.changed(doc, {'hidden': {'vector': [5, 6]}}).hidden.vector.sum() == 11


@pytest.mark.parametrize('is_frozen', [False, True], ids=['changeable', 'frozen'])
def test_a_change_leaves_other_fields_alone(is_frozen: bool) -> None:
    """Validators do not run again on the fields that do not change, in frozen classes and nested documents either."""

    class Inner(BaseModel):
        model_config = ConfigDict(frozen=is_frozen)
        cents: int
        note: str = ''

        @field_validator('cents')
        @classmethod
        def of_euros(cls, cents: int) -> int:
            return cents * 100

    class Doc(BaseDoc):
        model_config = ConfigDict(frozen=is_frozen)
        title: str
        count: int = 0
        inner: Inner

        @field_validator('title')
        @classmethod
        def cheer(cls, title: str) -> str:
            return title + '!'

    schema = Schema(Doc)
    before = Doc(title='a', inner=Inner(cents=3))
    doc = schema.changed(before, {'count': '2', 'inner__note': 'x'})
    assert (doc.title, doc.count, doc.inner) == ('a!', 2, Inner.model_construct(cents=300, note='x'))
    assert (before.count, before.inner.note) == (0, '')
    assert schema.changed(doc, {'inner__cents': 4}).inner.cents == 400
    with pytest.raises(DocumentError, match=r'inner__cents: .*integer'):
        schema.changed(doc, {'inner__cents': 'x'})


def test_validators_of_a_whole_frozen_document_run() -> None:
    """What a validator of all fields makes of a frozen document counts when one changes, and so does its refusal."""

    class Doc(BaseDoc):
        model_config = ConfigDict(frozen=True)
        price: int = 0
        total: int = 0

        @model_validator(mode='after')
        def sum_up(self) -> Any:
            assert self.price >= 0, 'negative'
            return self.model_copy(update={'total': self.price + 1})

    doc = Doc.model_validate({'price': 1})
    assert Schema(Doc).changed(doc, {'price': 5}).total == 6
    with pytest.raises(DocumentError, match='negative'):
        Schema(Doc).changed(doc, {'price': -1})


def test_a_change_keeps_what_extra_let_in() -> None:
    """Extra fields survive a change of others."""

    class Doc(BaseDoc):
        model_config = ConfigDict(extra='allow')
        count: int = 0

    doc = Schema(Doc).changed(Doc(count=1, colour='red'), {'count': 2})  # type: ignore[call-arg]
    assert (doc.count, doc.colour) == (2, 'red')  # type: ignore[attr-defined]


def test_names_of_documents_are_documents() -> None:
    """A nested document, and those in a list, may be declared by a name of their class."""

    class Page(BaseDoc):
        text: str

    pages = TypeAliasType('Pages', DocList[Page])
    doc_type = create_model('Doc', __base__=BaseDoc, cover=(NewType('Cover', Page), ...), pages=(pages, ...))
    schema = Schema(doc_type)
    assert list(schema.columns) == ['id', 'cover__id', 'cover__text', 'pages']
    assert list(schema.levels) == ['', 'pages']


def test_generic_and_root_models_are_columns() -> None:
    """A generic model is flattened like another; a root model is one value."""

    class Box(BaseModel, Generic[T]):
        content: T

    class Words(RootModel[list[str]]):
        pass

    class Doc(BaseDoc):
        box: Box[int]
        words: Words

    assert list(Schema(Doc).columns) == ['id', 'box__content', 'words']
