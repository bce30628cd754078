"""Opening a directory with another schema: what is carried over, and that nothing changes if it cannot be."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ConfigDict

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, SchemaMismatchError
from docindex.schema import Schema


class Poster(BaseDoc):
    url: str
    look: NdArray[4] = Field(space='cosine')


class Film(BaseDoc):
    title: str
    year: int = 2000
    plot: NdArray[8]
    poster: Poster | None = None


def films() -> list[Film]:
    rng = np.random.default_rng(0)
    return [
        Film(
            id=f'f{at}',
            title=f'Film {at}',
            plot=rng.normal(size=8),
            poster=Poster(id=f'p{at}', url='a.png', look=rng.normal(size=4).astype('f4')) if at % 2 else None,
        )
        for at in range(40)
    ]


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A closed directory with 40 films, of which some were replaced and deleted."""
    with HnswDocumentIndex[Film](work_dir=tmp_path / 'work') as index:
        index.index(films())
        index.index([film.model_copy(update={'plot': film.plot + 1}) for film in films()[:5]])
        index.delete(['f10', 'f11'])
    return tmp_path / 'work'


def fingerprint(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob('*') if path.is_file() and path.name != 'docindex.lock']
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_fields_in_another_order_are_the_same_schema(work_dir: Path) -> None:
    """Vectors belong to their fields by name: the order in which a class lists them means nothing."""

    class Turned(BaseDoc):
        poster: Poster | None = None
        plot: NdArray[8]
        year: int = 2000
        title: str

    with HnswDocumentIndex[Turned](work_dir=work_dir) as index:
        for film in films()[12:]:
            found = index[film.id]
            assert (found.title, found.poster) == (film.title, film.poster)
            np.testing.assert_array_equal(found.plot, film.plot)


def test_a_class_that_is_as_it_was_is_not_described_again(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a directory with the class it has asks pydantic for no JSON schema, which takes a while."""
    monkeypatch.setattr(Schema, 'json_schema', lambda schema: pytest.fail('asked'))
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        assert len(index) > 0


def test_a_new_field_takes_its_default_in_old_documents(work_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A field with a default is read as that, can be set, and stays; what was done stands in the log."""

    class Longer(Film):
        seen: datetime | None = None
        stars: int = 3

    with caplog.at_level(logging.INFO, 'docindex'), HnswDocumentIndex[Longer](work_dir=work_dir) as index:
        assert index['f20'].stars == 3
        index.update('f20', stars=5)
    assert 'stars is new, with its default in the stored documents' in caplog.text
    with HnswDocumentIndex[Longer](work_dir=work_dir) as index:
        assert (index['f20'].stars, index['f21'].stars, len(index)) == (5, 3, 38)
        assert index.find(films()[20], 'plot', limit=1).documents.id == ['f20']


def test_a_removed_field_is_no_longer_read(work_dir: Path) -> None:
    """A field that the schema does not have any more is left out of what comes back."""

    class Shorter(BaseDoc):
        title: str
        plot: NdArray[8]
        poster: Poster | None = None

    with HnswDocumentIndex[Shorter](work_dir=work_dir) as index:
        assert index['f21'].title == 'Film 21'
        assert not hasattr(index['f21'], 'year')


def test_a_new_vector_field_is_absent_in_old_documents(work_dir: Path) -> None:
    """An optional vector field that is new is None in old documents, and found in new ones, also after compacting."""

    class Richer(Film):
        sound: NdArray[3] | None = None

    with HnswDocumentIndex[Richer](work_dir=work_dir) as index:
        assert index['f20'].sound is None
        assert len(index.find(np.zeros(3), 'sound').documents) == 0
        index.update('f20', sound=np.ones(3))
        assert index.verify().is_sound
        index.compact()
        assert index.find(np.zeros(3), 'sound').documents.id == ['f20']
    with HnswDocumentIndex[Richer](work_dir=work_dir) as index:
        assert index.find(np.zeros(3), 'sound').documents.id == ['f20']
        assert index.find(films()[21], 'plot', limit=1).documents.id == ['f21']
        assert index.verify().is_sound


def test_a_new_nested_document_brings_its_vectors(tmp_path: Path) -> None:
    """A new optional document is None in old ones; its fields, vectors too, can be used from then on."""

    class Before(BaseDoc):
        title: str

    class After(BaseDoc):
        title: str
        poster: Poster | None = None

    with HnswDocumentIndex[Before](work_dir=tmp_path) as index:
        index.index([Before(id='a', title='A'), Before(id='b', title='B')])
    with HnswDocumentIndex[After](work_dir=tmp_path) as grown:
        assert grown['a'].poster is None
        grown.update('b', poster=Poster(url='b.png', look=np.ones(4)))
        assert grown.find(np.ones(4), 'poster__look').documents.id == ['b']


def changed(name: str) -> type[Any]:
    """Return a schema that the stored films do not fit."""
    namespace: dict[str, Callable[[], type[Any]]] = {}

    def schema(make: Callable[[], type[Any]]) -> Callable[[], type[Any]]:
        namespace[make.__name__] = make
        return make

    @schema
    def another_dim() -> type[Any]:
        class Changed(Film):
            plot: NdArray[9]  # type: ignore[assignment]

        return Changed

    @schema
    def another_type() -> type[Any]:
        class Changed(Film):
            year: str = '2000'  # type: ignore[assignment]

        return Changed

    @schema
    def required() -> type[Any]:
        class Changed(Film):
            stars: int

        return Changed

    @schema
    def required_vector() -> type[Any]:
        class Changed(Film):
            sound: NdArray[3]

        return Changed

    @schema
    def no_longer_none() -> type[Any]:
        class Changed(Film):
            poster: Poster  # type: ignore[assignment]

        return Changed

    @schema
    def vector_removed() -> type[Any]:
        class Changed(BaseDoc):
            title: str
            year: int = 2000
            poster: Poster | None = None

        return Changed

    @schema
    def removed_and_forbidden() -> type[Any]:
        class Changed(BaseDoc):
            model_config = ConfigDict(extra='forbid')
            title: str
            plot: NdArray[8]
            poster: Poster | None = None

        return Changed

    return namespace[name]()


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('another_dim', r'plot is vector\[8\] there and vector\[9\] here'),
        ('another_type', 'year is int there and str here'),
        ('required', 'stars is new and has no default'),
        ('required_vector', 'sound is new and has no default'),
        ('no_longer_none', 'poster is document | None there and document here'),
        ('vector_removed', 'plot is .* its vectors would be lost'),
        ('removed_and_forbidden', "year is int there and missing here, and extra='forbid'"),
    ],
)
def test_what_does_not_fit_is_refused(work_dir: Path, name: str, said: str) -> None:
    """A change that the stored documents cannot follow is an error that names the field, and nothing has changed."""
    before = fingerprint(work_dir)
    with pytest.raises(SchemaMismatchError, match=said) as raised:
        HnswDocumentIndex[changed(name)](work_dir=work_dir)
    assert raised.value.path == str(work_dir)
    assert fingerprint(work_dir) == before
    with HnswDocumentIndex[Film](work_dir=work_dir) as index:
        assert len(index) == 38


def test_a_type_may_begin_to_allow_none(work_dir: Path) -> None:
    """`int` may become `int | None`: every stored value still fits."""

    class Vaguer(Film):
        year: int | None = 2000  # type: ignore[assignment]

    with HnswDocumentIndex[Vaguer](work_dir=work_dir) as index:
        index.update('f20', year=None)
        assert (index['f20'].year, index['f21'].year) == (None, 2000)


def test_another_class_with_the_same_fields_is_the_same_schema() -> None:
    """Neither the name of a class nor the order of its fields is part of what a directory remembers."""

    class Movie(BaseDoc):
        plot: NdArray = Field(dim=8)
        poster: Poster | None = None
        year: int = 1900
        title: str

    one, other = Schema(Film), Schema(Movie)
    assert one.describe(one.vector_settings({})) == other.describe(other.vector_settings({}))
