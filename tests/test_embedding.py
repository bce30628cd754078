"""Functions that make vectors of texts, what a field says of them, and what a schema refuses."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from docindex import (
    BaseDoc,
    DimensionError,
    DocList,
    Embedder,
    EmbeddingError,
    Field,
    HnswDocumentIndex,
    NdArray,
    SchemaError,
    SettingsError,
    VectorError,
)
from docindex.embedding import Embeds, declared_embeds
from docindex.plain import json_says_all
from docindex.schema import Schema


def lengths(texts: list[str]) -> Any:
    return np.array([[len(text), 1] for text in texts], np.float64)


class Model:
    """What somebody brings."""

    def encode(self, texts: list[str]) -> Any:
        return lengths(texts)

    def __call__(self, texts: list[str]) -> Any:
        return lengths(texts)


class TorchModel(Model):
    forward = Model.__call__


class Named(Model):
    name = 'a name of its own'


async def waits(texts: list[str]) -> Any:
    return lengths(texts)


class AsyncModel:
    async def __call__(self, texts: list[str]) -> Any:
        return lengths(texts)


# -- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('function', 'name'),
    [
        (lengths, 'lengths'),
        (Model().encode, 'Model.encode'),
        (Model(), 'Model'),
        (Named(), 'a name of its own'),
        (Named().encode, 'a name of its own'),
        (np.array, 'array'),
    ],
)
def test_a_function_has_a_name(function: Any, name: str) -> None:
    """A function is known by its attribute `name`, or that of its object, or by what Python calls it."""
    assert Embedder(function).name == name
    assert Embedder(function, name='minilm').name == 'minilm'


def test_a_function_in_a_function_has_its_own_name() -> None:
    """Where a function was defined does not belong to its name."""

    def inner(texts: list[str]) -> Any:
        return lengths(texts)

    assert Embedder(inner).name == 'inner'


@pytest.mark.parametrize('function', [lambda texts: texts, functools.partial(lengths)], ids=['lambda', 'partial'])
def test_a_function_without_a_name_is_refused(function: Any) -> None:
    """What has no name that means anything needs one: the directory is to know it again."""
    with pytest.raises(SettingsError, match=r'Embedder\(function, name='):
        Embedder(function)
    with pytest.raises(SettingsError, match=r'Embedder\(function, name='):
        Field(embeds='title', with_=function)
    assert Embedder(function, name='it').name == 'it'


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda: Embedder(waits), 'afind'),
        (lambda: Embedder(AsyncModel()), 'async'),  # type: ignore[arg-type]
        (lambda: Embedder(lengths, queries=waits), 'async'),
        (lambda: Embedder('minilm'), "function.*str 'minilm'"),  # type: ignore[arg-type]
        (lambda: Embedder(type('Encoder', (), {'encode': lengths})()), 'model.encode'),
        (lambda: Embedder(TorchModel()), 'model.encode'),
        (lambda: Embedder(lengths, name=' '), 'name'),
        (lambda: Embedder(lengths, batch_size=0), 'batch_size'),
        (lambda: Embedder(lengths, batch_size=True), 'batch_size'),
        (lambda: Field(embeds='title'), 'with_='),
        (lambda: Field(with_=lengths), 'embeds='),
        (lambda: Field(embeds=[], with_=lengths), 'embeds'),
        (lambda: Field(embeds='a text', with_=lengths), "'a text'"),
        (lambda: Field(embeds='{title', with_=lengths), '{title'),
        (lambda: Field(embeds='{title!r}', with_=lengths), 'template'),
        (lambda: Field(embeds='{title:>3}', with_=lengths), 'template'),
        (lambda: Field(embeds='{title.upper}', with_=lengths), 'template'),
        (lambda: Field(embeds='{}', with_=lengths), 'template'),
        (lambda: Field(embeds='no {{field}}', with_=lengths), 'embeds'),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    """What is no function, an async one, a bad name, batch size or template, is refused where it is written."""
    with pytest.raises(SettingsError, match=said):
        make()


# -- vectors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'answer',
    [
        lengths,
        lambda texts: lengths(texts).tolist(),
        lambda texts: [*lengths(texts)],
        lambda texts: (row for row in lengths(texts)),
        lambda texts: lengths(texts).astype(np.int16),
    ],
    ids=['an array', 'lists', 'a list of arrays', 'an iterator of arrays', 'integers'],
)
def test_a_function_returns_what_it_likes(answer: Any) -> None:
    """Whatever numpy takes for numbers is a matrix, float32, batch by batch."""
    vectors = Embedder(answer, name='it', batch_size=2).documents(['a', 'bb', 'ccc'], 'v')
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 1], [2, 1], [3, 1]]


def test_a_function_may_keep_its_array() -> None:
    """A function that fills one array again and again gives each text its own vector, and cannot change the texts."""
    buffer = np.zeros((1, 2))

    def again(texts: list[str]) -> Any:
        buffer[:] = lengths(texts)
        texts.clear()
        return buffer

    assert Embedder(again, batch_size=1).documents(['a', 'bb'], 'v').tolist() == [[1, 1], [2, 1]]


def test_batches_are_not_larger_than_said() -> None:
    """A function gets at most `batch_size` texts at a time, in order."""
    calls: list[list[str]] = []

    def listens(texts: list[str]) -> Any:
        calls.append(texts)
        return lengths(texts)

    Embedder(listens, batch_size=3).documents([*'abcdefgh'], 'v')
    assert calls == [['a', 'b', 'c'], ['d', 'e', 'f'], ['g', 'h']]


def test_batches_have_one_length() -> None:
    """Vectors of another length in a later batch are refused, also where nobody says how long they should be."""
    embedder = Embedder(lambda texts: [[1.0] * len(texts[0])], name='it', batch_size=1)
    with pytest.raises(EmbeddingError, match=r"'v'.*'it'.*\(1, 1\).*\(1, 2\)"):
        embedder.documents(['a', 'bb'], 'v')


def test_an_answer_to_wait_for_is_refused() -> None:
    """A function that turns out to be async says so, and leaves no coroutine behind."""
    with pytest.raises(EmbeddingError, match="'it' is async"):
        Embedder(lambda texts: waits(texts), name='it').documents(['a'], 'v')  # type: ignore[arg-type, return-value]


def test_a_text_without_a_finite_vector_is_named() -> None:
    """NaN is refused with the text that it came for."""
    embedder = Embedder(lambda texts: [[np.nan if 'b' in text else 1.0] for text in texts], name='it')
    with pytest.raises(EmbeddingError, match="'abc'") as raised:
        embedder.documents(['a', 'abc'], 'v')
    assert (raised.value.field, raised.value.function) == ('v', 'it')


def test_progress_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`show_progress=True` shows how many texts have a vector, with the name of the field."""
    pytest.importorskip('tqdm')
    stream = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', stream)
    with HnswDocumentIndex[Song](tmp_path) as index:
        index.index([{'title': 'a' * n} for n in range(1, 4)], show_progress=True)
        assert 'vectors of vector' in stream.getvalue()
        assert '3/3' in stream.getvalue()
        stream.truncate(0)
        index.index_columns(title=['a', 'b'], show_progress=True)
        assert 'vectors of vector' in stream.getvalue()


# -- texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('of', 'values', 'text'),
    [
        ('title', ['a'], 'a'),
        ('title', [' a '], ' a '),
        ('title', [None], None),
        ('title', [' \n'], None),
        (['title'], ['a'], 'a'),
        (['title', 'body'], ['a', 'b'], 'a\nb'),
        (['title', 'body'], [None, 'b'], 'b'),
        (['title', 'body'], ['', ' '], None),
        ('{title}: {body}', ['a', 'b'], 'a: b'),
        ('{title}: {body}', ['a', None], 'a: '),
        ('{title}: {body}', ['', None], None),
        ('{title}', ['{body}'], '{body}'),
        ('{title} {{of}} {title}', ['a'], 'a {of} a'),
    ],
)
def test_the_text_that_is_embedded(of: Any, values: list[Any], text: str | None) -> None:
    """One field is its text, several are its lines, a template is what it says; of blanks alone there is none."""
    assert Embeds(of, Embedder(lengths)).text(values) == text


# -- fields -------------------------------------------------------------------------------------------


class Singer(BaseDoc):
    name: str
    voice: NdArray | None = Field(dim=2, embeds='name', with_=lengths)


class Song(BaseDoc):
    title: str
    vector: NdArray[2] = Field(embeds='title', with_=lengths)


class Album(BaseDoc):
    title: str
    singer: Singer
    songs: DocList[Song] = DocList[Song]()
    cover: NdArray = Field(dim=2, embeds='{singer__name}: {title}', with_=lengths)


class Plain(BaseModel):
    id: str
    title: str
    vector: Annotated[NdArray[2], Field(embeds='title', with_=lengths)]
    other: list[float] = Field(dim=2, embeds='title', with_=lengths)


def test_a_vector_may_be_missing_until_its_document_is_stored() -> None:
    """The vector can be left out, or None, whatever its type says; and one that is given is checked as ever."""
    song = Song(title='a')
    assert song.vector is None
    assert Song(title='a', vector=None).vector is None
    song.vector = [1, 2]
    assert song.vector.tolist() == [1, 2]
    song.vector = None  # type: ignore[assignment]
    assert Plain(id='x', title='a').vector is None
    with pytest.raises(ValidationError):
        Song(title='a', vector=[1, 2, 3])


def test_the_class_stays_plain() -> None:
    """A field that embeds does not slow down the rest: documents are written and read by pydantic as before."""
    assert json_says_all(Album)
    assert json_says_all(Plain)


def test_the_json_schema_says_that_it_may_be_missing() -> None:
    """In JSON, too, the vector need not be there; and what makes it is none of JSON's business."""
    schema = Song.model_json_schema()
    assert schema['required'] == ['title']
    assert {'type': 'null'} in schema['properties']['vector']['anyOf']
    assert 'embeds' not in str(schema)


def test_a_subclass_inherits_it() -> None:
    """A subclass has the field with what it embeds, and may say otherwise."""

    class Live(Song):
        place: str = ''

    class Other(Song):
        vector: NdArray[2] = Field(embeds='title', with_=Named())

    assert [declared_embeds(cls.model_fields['vector']) is not None for cls in (Live, Other)] == [True, True]
    assert Schema(Other).embeddings({'vector': {'dim': 2}})['vector']['function'] == 'a name of its own'


def test_each_type_of_vector_is_made() -> None:
    """Lists of numbers become lists, arrays arrays, in plain pydantic classes and `Annotated` types too."""
    (doc,) = Schema(Plain).documents({'id': 'x', 'title': 'abc'})
    assert doc.vector.tolist() == [3, 1]
    assert doc.other == [3.0, 1.0]


def test_what_a_directory_remembers() -> None:
    """Of each field that embeds: the function, the text, the fields in it and the dimension, by flat names."""
    schema = Schema(Album)
    assert schema.embeddings(schema.vector_settings({})) == {
        'singer__voice': {'function': 'lengths', 'of': 'name', 'fields': ['singer__name'], 'dim': 2},
        'songs__vector': {'function': 'lengths', 'of': 'title', 'fields': ['title'], 'dim': 2},
        'cover': {
            'function': 'lengths',
            'of': '{singer__name}: {title}',
            'fields': ['singer__name', 'title'],
            'dim': 2,
        },
    }


def _song(**fields: Any) -> type[BaseModel]:
    annotations = {name: annotation for name, (annotation, _) in fields.items()}
    values = {name: value for name, (_, value) in fields.items()}
    return type('Song', (BaseDoc,), {'__annotations__': annotations, '__module__': __name__, **values})


_EMBEDS: dict[str, Any] = {'embeds': 'title', 'with_': lengths}


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        ({'vector': (NdArray[2], Field(**_EMBEDS))}, "'title', and there is no such field"),
        ({'title': (int, 3), 'vector': (NdArray[2], Field(**_EMBEDS))}, 'a int'),
        ({'title': (list[str], []), 'vector': (NdArray[2], Field(**_EMBEDS))}, 'list'),
        ({'title': (str, Field('', exclude=True)), 'vector': (NdArray[2], Field(**_EMBEDS))}, 'excluded'),
        ({'title': (str, ''), 'vector': (str, Field(**_EMBEDS))}, 'embeds is for vectors'),
        ({'title': (str, ''), 'vector': (NdArray[2, 2], Field(**_EMBEDS))}, 'embeds is for vectors'),
        ({'title': (str, ''), 'vector': (NdArray, Field(**_EMBEDS))}, 'nothing says how long'),
        ({'title': (str, ''), 'singer': (Singer, Field(**_EMBEDS))}, 'say it of its fields'),
        ({'title': (str, ''), 'songs': (DocList[Song], Field(**_EMBEDS))}, 'say it of their fields'),
        (
            {'songs': (DocList[Song], None), 'vector': (NdArray[2], Field(embeds='songs__title', with_=lengths))},
            'songs__title',
        ),
    ],
)
def test_a_schema_that_cannot_embed_is_refused(fields: dict[str, Any], said: str) -> None:
    """Only vectors embed, and only strings that are stored in the same document; the error names both fields."""
    with pytest.raises(SchemaError, match=said):
        Schema(_song(**fields)).vector_settings({})


# -- documents ----------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Any) -> Iterator[HnswDocumentIndex[Album]]:
    with HnswDocumentIndex[Album](tmp_path / 'index') as index:
        yield index


def test_the_place_of_a_document_without_a_text_is_named(index: HnswDocumentIndex[Album]) -> None:
    """A document in a list that has neither vector nor text is named by the path to it."""
    album = Album(id='x', title='a', singer=Singer(name='b'), songs=DocList[Song]([Song(title='a'), Song(title='')]))
    with pytest.raises(Exception, match=r"document 0 \(id 'x'\): songs\[1\]: field 'vector' has no vector") as raised:
        index.index(album)
    assert type(raised.value).__name__ == 'DocumentError'


def test_equal_texts_are_embedded_once(index: HnswDocumentIndex[Album], monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that many documents share is given to the function once."""
    calls: list[list[str]] = []

    def listens(texts: list[str]) -> Any:
        calls.append(texts)
        return lengths(texts)

    embeds = declared_embeds(Song.model_fields['vector'])
    assert embeds is not None
    monkeypatch.setattr(embeds, 'embedder', Embedder(listens))
    Schema(Song).documents([{'title': 'a'}] * 5 + [{'title': 'b'}])
    assert calls == [['a', 'b']]


def test_a_vector_of_zeros_is_refused_where_it_cannot_be_compared(tmp_path: Any) -> None:
    """What a function returns is checked like what a user gives: float16 does not hold vectors that are too small."""

    def tiny_vectors(texts: list[str]) -> Any:
        return lengths(texts) * 1e-9

    class Tiny(BaseDoc):
        title: str
        vector: NdArray = Field(default=None, dim=2, stored_as='float16', embeds='title', with_=tiny_vectors)

    with HnswDocumentIndex[Tiny](tmp_path) as tiny, pytest.raises(VectorError, match='float16'):
        tiny.index(Tiny(title='a'))


def test_the_length_may_stand_in_the_index(tmp_path: Any) -> None:
    """Where only `default_column_config` says how long vectors are, others are refused by their field's name."""

    class Loose(BaseDoc):
        title: str
        vector: NdArray = Field(default=None, embeds='title', with_=lengths)

    def open_(dim: int) -> HnswDocumentIndex[Loose]:
        return HnswDocumentIndex[Loose](tmp_path / str(dim), default_column_config={np.ndarray: {'dim': dim}})

    with open_(2) as right, open_(3) as wrong:
        right.index(Loose(id='x', title='a'))
        assert right.find('a').documents.id == ['x']
        with pytest.raises(DimensionError, match='3-d'):
            wrong.index(Loose(id='x', title='a'))
        with pytest.raises(DimensionError, match='3-d'):
            wrong.find('a')
