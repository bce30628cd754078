"""A document class as JSON, and made again from it."""
# ruff: noqa: RUF012 (pydantic copies defaults)

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import sys
import uuid
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar

import annotated_types
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, RootModel, StringConstraints, create_model
from typing_extensions import TypedDict

from docindex import (
    AnyTensor,
    BaseDoc,
    DocIndexError,
    DocList,
    Field,
    ImageDoc,
    ImageUrl,
    NdArray,
    SchemaError,
    TextDoc,
)
from docindex.blueprint import blueprint
from docindex.rebuilding import rebuilt
from docindex.refusals import check_known, unknown_of
from docindex.schema import Schema
from docindex.tensors import Tensors
from docindex.typed import TypedJson


class Colour(enum.StrEnum):
    RED = 'red'
    BLUE = 'blue'


class Old(str, enum.Enum):  # noqa: UP042 (as many still write it)
    A = 'a'


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 2.0
    more: list[int] = dataclasses.field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: str


class Size(TypedDict):
    width: int
    height: NotRequired[int]


class Branch(BaseModel):
    name: str
    branches: list[Branch] = []


class Tags(RootModel[list[str]]):
    pass


UserId = NewType('UserId', str)


class Chunk(BaseDoc):
    text: str = Field(full_text=True, tokenizer='porter')
    embedding: NdArray[4]


Wide = AnyTensor[2, 'w', ...]


class Poster(BaseDoc):
    embedding: NdArray = Field(dim=3, space='cosine')
    other: Wide | None = None


class Everything(BaseDoc):
    """Of every type something."""

    model_config = ConfigDict(extra='forbid')

    title: Annotated[str, StringConstraints(min_length=1)] = Field(description='what it is called', max_length=50)
    colour: Colour = Colour.RED
    old: Old | None = None
    rights: Rights = Rights.READ | Rights.WRITE
    point: Point | None = Point(1)
    pair: Pair | None = None
    size: Size = {'width': 1}
    tree: list[Branch] = []
    tags: Tags = Tags(['x'])
    user: UserId = UserId('u')
    literal: Literal['a', 1, Colour.RED] = 'a'
    when: datetime | str = 'now'
    day: date = date(2026, 1, 31)
    long: timedelta = timedelta(hours=1)
    price: Decimal = Decimal('1.50')
    key: uuid.UUID = Field(default_factory=uuid.uuid4)
    table: dict[str, list[int | None]] = {}
    numbers: set[int] = {1}
    several: tuple[int, ...] = ()
    data: bytes = b'\xff'
    url: ImageUrl | None = None
    picture: ImageDoc | None = None
    poster: Poster | None = None
    chunks: DocList[Chunk] = DocList[Chunk]()
    plain: list[Chunk] = []
    year: Annotated[int, annotated_types.Gt(3)] = Field(5, lt=3000, index=False)
    ages: list[Annotated[int, annotated_types.Ge(0)]] = []
    counts: collections.Counter[str] = collections.Counter()
    path: Path = Path('x')
    anything: Any = None


def again(doc_type: type[BaseModel]) -> type[BaseModel]:
    """Return what is made of a class's blueprint, after that was written as JSON."""
    return rebuilt(json.loads(json.dumps(blueprint(doc_type))))


def everything() -> Everything:
    return Everything(
        title='t',
        pair=Pair(1, 'x'),
        tree=[Branch(name='a', branches=[Branch(name='b')])],
        when=datetime(2026, 1, 31),
        picture=ImageDoc(url='x.png', tensor=np.ones((2, 2))),
        poster=Poster(embedding=[1, 2, 3], other=np.ones((2, 3, 4), np.float16)),
        chunks=[Chunk(text='c', embedding=[1, 2, 3, 4])],
        table={'a': [1, None]},
        anything={'b': Decimal(1), 2: (3,)},
    )


def test_nothing_of_a_usual_class_is_unknown() -> None:
    """The blueprint of a class with every common kind of type is JSON, and leaves nothing open."""
    drawn = blueprint(Everything)
    assert json.loads(json.dumps(drawn)) == drawn
    assert drawn['unknown'] == []
    check_known(again(Everything))


def test_the_columns_are_the_same() -> None:
    """A class that is made again has the same columns, types, kinds and settings."""
    mine, others = Schema(Everything), Schema(again(Everything))
    assert mine.describe({}) == others.describe({})
    assert mine.vector_settings({}) == others.vector_settings({})
    for level, other in zip(mine.levels.values(), others.levels.values(), strict=True):
        for name, node in level.schema.nodes.items():
            found = other.schema.nodes[name]
            assert (found.settings, found.kind.name, found.kind.choices) == (
                node.settings,
                node.kind.name,
                node.kind.choices,
            )
            assert (found.has_default, found.is_optional, found.is_stored) == (
                node.has_default,
                node.is_optional,
                node.is_stored,
            )


def test_it_reads_and_writes_the_same() -> None:
    """A document that the class has written is read by the one made again, and written to the same bytes."""
    cls, doc = again(Everything), everything()
    tensors, others = Tensors({}), Tensors({})
    written = TypedJson(Everything).dump(doc, tensors)
    read = TypedJson(cls).load(written, tensors)
    assert repr(read) == repr(doc)
    assert type(read) is cls
    assert TypedJson(cls).dump(read, others) == written


def test_defaults_and_constraints_are_those_of_the_class() -> None:
    """A document that is made of little has the defaults, each its own; what the class refuses is refused."""
    cls = again(Everything)
    made, other = cls(id='a', title='t'), cls(id='a', title='t')
    expected = Everything(id='a', title='t', key=made.key)
    assert repr(made) == repr(expected)
    assert made.tree is not other.tree
    assert made.key != other.key
    for wrong in ({'title': ''}, {'title': 'x' * 51}, {'year': 3}, {'year': 3000}, {'ages': [-1]}, {'nothing': 1}):
        with pytest.raises(pydantic.ValidationError):
            cls(**{'title': 't', **wrong})


def test_predefined_documents() -> None:
    """Predefined documents are themselves, and a class that inherits from one does what it does."""

    class Sentence(TextDoc):
        embedding: NdArray[3]

    class Page(BaseDoc):
        title: TextDoc
        sentence: Sentence

    assert again(TextDoc) is TextDoc
    cls = again(Page)
    assert not unknown_of(cls)
    page = cls(title='boats', sentence=again(Sentence)('x', embedding=[1, 2, 3]).model_dump())
    assert page.title == 'boats'
    assert page.sentence == 'x'


class Strange:
    """A type that pydantic does not know."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(str)


def fresh() -> str:
    return 'fresh'


class WithValidator(BaseDoc):
    text: str

    @pydantic.field_validator('text')
    @classmethod
    def stripped(cls, value: str) -> str:
        return value.strip()


class WithInit(BaseDoc):
    def model_post_init(self, context: Any) -> None:
        pass


class Picky(enum.Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Picky:
        return cls.ONE


UNKNOWN: dict[str, Any] = {
    'WithValidator has stripped()': WithValidator,
    'WithInit has code that runs when an instance is made': WithInit,
    'Doc.field is of the type Strange': Strange,
    'Doc.field has a default_factory': Annotated[str, pydantic.Field(default_factory=fresh)],
    'Doc.field has Predicate(str.islower)': annotated_types.LowerCase[str],
    'Picky has code that runs when a member is made or looked for': Picky,
    'Doc.field is of the type ndarray[tuple[Any, ...], dtype[float64]]': np.ndarray[
        tuple[Any, ...], np.dtype[np.float64]
    ],
}


@pytest.mark.parametrize('clause', UNKNOWN)
def test_what_is_not_known_is_said(clause: str) -> None:
    """Code of the user's, and a type that nobody here knows, are listed; such a class reads, and does not write."""
    config = ConfigDict(arbitrary_types_allowed=True)
    annotation = UNKNOWN[clause]
    namespace = {'__annotations__': {'field': annotation}, '__module__': __name__, 'model_config': config}
    doc_type = type(BaseDoc)('Doc', (BaseDoc,), namespace)
    assert clause in blueprint(doc_type)['unknown']
    with pytest.raises(SchemaError, match='not stored without their class'):
        check_known(again(doc_type))


T = TypeVar('T')


class Box(BaseModel, Generic[T]):
    content: T
    when: datetime | str = ''


@pytest.mark.skipif(sys.version_info < (3, 12), reason='a type that is in itself has a name since Python 3.12')
def test_a_type_in_itself() -> None:
    """A class with a type that is in itself is read and not written, for that type is not known to its end."""
    names: dict[str, Any] = {}
    exec('type Nest = list[Nest] | int', names)
    doc_type = create_model('Doc', __base__=BaseDoc, nest=(names['Nest'], ...))
    cls: Any = again(doc_type)
    assert unknown_of(cls)
    written = TypedJson(doc_type).dump(doc_type(id='a', nest=[1, [2, []]]), Tensors({}))  # type: ignore[call-arg]
    assert TypedJson(cls).load(written, Tensors({})).nest == [1, [2, []]]


@dataclasses.dataclass
class Twig:
    name: str
    twigs: list[Twig] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Nest:
    birds: list[Bird]


class Bird(BaseModel):
    name: str
    nest: Nest | None = None


@pytest.mark.parametrize(
    ('annotation', 'value'),
    [(Twig, Twig('a', [Twig('b')])), (list[Bird], [Bird(name='a', nest=Nest([Bird(name='b')]))])],
    ids=['a dataclass', 'a document in a dataclass'],
)
def test_a_dataclass_in_itself(annotation: Any, value: Any) -> None:
    """A class with a dataclass that is in itself, on whatever way, is read and not written."""
    doc_type = create_model('Doc', __base__=BaseDoc, value=(annotation, ...))
    cls = again(doc_type)
    assert unknown_of(cls)
    written = TypedJson(doc_type).dump(doc_type(id='a', value=value), Tensors({}))  # type: ignore[call-arg]
    assert "name='b'" in repr(TypedJson(cls).load(written, Tensors({})))


def test_an_enum_that_is_only_in_a_literal() -> None:
    """The class of a member that is one of a `Literal`'s values is known, though no field is of it."""

    class Doc(BaseDoc):
        colour: Literal[Colour.RED, 'none'] = Colour.RED

    cls = again(Doc)
    assert not unknown_of(cls)
    written = TypedJson(Doc).dump(Doc(id='a'), Tensors({}))
    assert TypedJson(cls).load(written, Tensors({})).colour.value == 'red'


def test_generic_classes() -> None:
    """A class that was made of a generic one is there under its own name, and documents with it are read."""

    class Full(BaseDoc):
        boxes: dict[str, Box[Decimal] | Box[list[date]]] = {}

    doc = Full(id='a', boxes={'x': Box[Decimal](content='1.0'), 'y': Box[list[date]](content=['2026-01-31'])})
    cls = again(Full)
    assert not unknown_of(cls)
    written = TypedJson(Full).dump(doc, Tensors({}))
    assert repr(TypedJson(cls).load(written, Tensors({}))) == repr(doc)


def test_two_classes_of_one_name() -> None:
    """Two classes that are called the same are two, and are named in stored documents as before."""
    other = enum.Enum('Colour', ['GREEN'], module='elsewhere')
    namespace = {'__annotations__': {'one': Colour, 'two': other}, '__module__': __name__}
    doc_type: Any = type(BaseDoc)('Both', (BaseDoc,), namespace)
    cls: Any = again(doc_type)
    doc = doc_type(one=Colour.RED, two=other.GREEN)
    written = TypedJson(doc_type).dump(doc, Tensors({}))
    read = TypedJson(cls).load(written, Tensors({}))
    assert (read.one, read.two.name, type(read.two)) == ('red', 'GREEN', cls.model_fields['two'].annotation)
    assert TypedJson(cls).dump(read, Tensors({})) == written


def mutilated(drawn: Any, at: list[int], by: Any) -> Any:
    """Return JSON with something else in one place."""
    if not at or not isinstance(drawn, (dict, list)) or not drawn:
        return by
    if isinstance(drawn, dict):
        key = sorted(drawn)[at[0] % len(drawn)]
        return {**drawn, key: mutilated(drawn[key], at[1:], by)}
    place = at[0] % len(drawn)
    return [*drawn[:place], mutilated(drawn[place], at[1:], by), *drawn[place + 1 :]]


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.sampled_from(
        [None, 1, 'x', '__init__', [], {}, ['class', 'Everything'], ['union'], ['list'], 'os.system', [[]]]
    ),
)
def test_a_strangers_blueprint_does_no_harm(at: list[int], by: Any) -> None:
    """Whatever stands in a blueprint, there is a class of it, and a schema, or an error of ours."""
    drawn = mutilated(json.loads(json.dumps(blueprint(Everything))), at, by)
    try:
        made = rebuilt(drawn)
    except SchemaError:
        return
    assert issubclass(made, BaseModel)
    with suppress(DocIndexError):
        assert 'id' in Schema(made).columns


def test_a_class_that_was_made_again_is_drawn_as_the_first() -> None:
    """What is copied from index to index without its class does not lose more with each copy."""

    class Shelf(BaseDoc):
        tags: list[str] = []
        when: datetime = pydantic.Field(default_factory=datetime.now)

    drawn = blueprint(Shelf)
    assert blueprint(rebuilt(drawn)) == drawn
