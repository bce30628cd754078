"""`open_index`: a directory that is opened without the class of its documents."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from docindex import (
    BaseDoc,
    CorruptIndexError,
    DocumentError,
    Field,
    HnswDocumentIndex,
    NdArray,
    ReadOnlyError,
    SchemaError,
    WorkDirError,
    open_index,
)
from tests.test_blueprint import Chunk, Everything, Pair, Point, Poster, everything


class Note(BaseDoc):
    text: str = Field(full_text=True)
    price: float | None = None
    embedding: NdArray = Field(dim=3)


class Stripped(Note):
    @pydantic.field_validator('text')
    @classmethod
    def stripped(cls, value: str) -> str:
        return value.strip()


def some(count: int = 12) -> list[Everything]:
    """Return documents with all there is, each a little different."""
    random = np.random.default_rng(0)
    docs = []
    for at in range(count):
        doc = everything()
        doc.id, doc.year = str(at), at + 10
        doc.point, doc.pair = (Point(at), Pair(at, 'x')) if at % 2 else (None, None)
        doc.poster = Poster(id=f'p{at}', embedding=random.normal(size=3).astype(np.float32))
        doc.chunks[:] = [
            Chunk(id=f'{at}-{n}', text=f'chunk {n}', embedding=random.normal(size=4)) for n in range(at % 3)
        ]
        docs.append(doc)
    return docs


def notes(count: int = 20) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    return [{'id': str(at), 'text': f'note {at}', 'price': at / 2, 'embedding': vectors[at]} for at in range(count)]


def tables(path: Path) -> dict[str, Any]:
    """Return all that SQLite has but how often something was committed."""
    with sqlite3.connect(path / 'documents.sqlite3') as file:
        meta = dict(file.execute('SELECT key, value FROM meta').fetchall())
        ids = file.execute('SELECT level, id, data, tensors, parent, position, children FROM documents').fetchall()
    file.close()
    meta = {key: value for key, value in meta.items() if key not in ('commits', 'next_label')}
    return {'meta': meta, 'documents': sorted(ids, key=repr)}


def forget_blueprint(path: Path) -> None:
    """Make of a directory what an older docindex left."""
    with sqlite3.connect(path / 'documents.sqlite3') as file:
        file.execute("DELETE FROM meta WHERE key = 'blueprint'")
    file.close()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A closed index of documents with all there is."""
    with HnswDocumentIndex[Everything](work_dir=tmp_path / 'made') as index:
        index.index(some())
    return tmp_path / 'made'


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """A closed index of notes whose class has a validator."""
    with HnswDocumentIndex[Stripped](work_dir=tmp_path / 'noted') as index:
        index.index(notes())
    return tmp_path / 'noted'


def test_documents_are_what_they_were(made: Path) -> None:
    """Each document comes back with the values, types and lists that its own class gives it."""
    with HnswDocumentIndex[Everything](work_dir=made) as index:
        expected = [repr(doc) for doc in index.get([*index])]
    with open_index(made, read_only=True) as index, open_index(made, read_only=True) as other:
        assert [repr(doc) for doc in index.get([*index])] == expected
        assert index['1'] == other['1']
        assert repr(index) == f"<HnswDocumentIndex[Everything] in '{made}': 12 documents>"


def test_it_answers_as_with_the_class(made: Path) -> None:
    """Searches, filters and full text find what they find with the class."""
    vector = np.ones(4)

    def answers(index: HnswDocumentIndex[Any]) -> list[Any]:
        near, text = index.find(vector, 'chunks__embedding', 3), index.subindex('chunks').text_search('chunk', limit=4)
        asked = {'colour': 'red', 'year': {'$gt': 15}, 'point__x': {'$gte': 7}, 'price': {'$lt': '2.0'}}
        return [
            (near.documents.id, near.scores.tolist()),
            (text.documents.id, text.scores.tolist()),
            index.filter(asked).id,
            index.find([1, 2, 3], 'poster__embedding', 3, filter=asked, exact=True).documents.id,
            index.count({'chunks__text': {'$regex': '1'}}),
        ]

    with HnswDocumentIndex[Everything](work_dir=made) as index:
        expected = answers(index)
    with open_index(made, read_only=True) as index:
        assert answers(index) == expected


def test_what_is_written_without_the_class_is_what_the_class_writes(made: Path) -> None:
    """Storing every document anew through it leaves each row, and the description, as the class has written them."""
    before = tables(made)
    with open_index(made) as index:
        for doc in index.get([*index]):
            index.index(doc)
        index.index({'id': 'new', 'title': 'n', 'poster': {'embedding': [1, 2, 3]}})
        index.update('new', year=2000)
        assert index.verify().is_sound
        assert index.delete('new') == 1
        with pytest.raises(DocumentError):
            index.index({'id': 'bad', 'title': ''})
    assert tables(made) == before
    with HnswDocumentIndex[Everything](work_dir=made) as index:
        assert index.verify().is_sound
        assert tables(made)['meta'] == before['meta']


REFUSED: dict[str, Callable[[HnswDocumentIndex[Any]], object]] = {
    'index': lambda index: index.index(index['1']),
    'index_columns': lambda index: index.index_columns(id=['1'], text=['x'], embedding=[[1, 2, 3]]),
    'update': lambda index: index.update('1', text='x'),
    'update of documents': lambda index: index.update(index['1']),
}


@pytest.mark.parametrize('what', REFUSED)
def test_code_of_the_users_is_not_passed_over(noted: Path, what: str) -> None:
    """Where the class has a validator, storing is refused with a word about it, and changes nothing."""
    before = tables(noted)
    with open_index(noted) as index:
        with pytest.raises(SchemaError, match=r'Stripped has stripped\(\).*HnswDocumentIndex\[Stripped\]'):
            REFUSED[what](index)
        assert index['1'].text == 'note 1'
    assert tables(noted) == before


def test_what_needs_no_class_goes_without_it(noted: Path) -> None:
    """Where storing is refused, documents can be found, filtered, deleted and compacted."""
    with open_index(noted) as index:
        assert index.find(index['3'], limit=1).documents.id == ['3']
        assert index.filter({'price': {'$lt': 1.5}}).id == ['0', '1', '2']
        assert index.text_search('7').documents.id == ['7']
        assert index.delete(['3', '4']) == 2
        index.compact()
        assert index.verify().is_sound
    with HnswDocumentIndex[Stripped](work_dir=noted) as index:
        assert len(index) == 18
        assert index.verify().is_sound


def test_a_reader_changes_nothing(made: Path) -> None:
    """Opened for reading it writes nothing, and refuses to."""
    before = tables(made)
    with open_index(made, read_only=True) as index, pytest.raises(ReadOnlyError):
        index.delete('1')
    assert tables(made) == before


def test_an_older_directory(made: Path) -> None:
    """A directory whose class was not described can be read, searched and deleted from; storing is refused."""
    with HnswDocumentIndex[Everything](work_dir=made) as index:
        expected = index.get([*index])
        near = index.find([1, 2, 3], 'poster__embedding', 3).documents.id
    forget_blueprint(made)
    with open_index(made) as index:
        found = index.get([*index])
        for mine, others in zip(found, expected, strict=True):
            same = ['id', 'title', 'when', 'day', 'price', 'key', 'numbers', 'several', 'data', 'anything', 'path']
            assert [getattr(mine, name) for name in same] == [getattr(others, name) for name in same]
            assert np.array_equal(mine.poster.embedding, others.poster.embedding)
            assert np.array_equal(mine.picture.tensor, others.picture.tensor)
            assert [chunk.text for chunk in mine.chunks] == [chunk.text for chunk in others.chunks]
        assert index.find([1, 2, 3], 'poster__embedding', 3).documents.id == near
        assert len(index.filter({'title': 't', 'year': {'$lt': 13}})) == 3
        assert index.subindex('chunks').text_search('chunk', limit=2).documents.text == ['chunk 0', 'chunk 0']
        assert index.delete('1') == 1
        with pytest.raises(SchemaError, match='noted less about the class'):
            index.index(index['2'])
    with HnswDocumentIndex[Everything](work_dir=made) as index:
        assert index.verify().is_sound


def test_an_older_directory_is_completed(made: Path) -> None:
    """The next opening for writing with the class describes it; one for reading does not."""
    described = tables(made)
    forget_blueprint(made)
    with HnswDocumentIndex[Everything](work_dir=made, read_only=True):
        assert 'blueprint' not in tables(made)['meta']
    with HnswDocumentIndex[Everything](work_dir=made):
        pass
    assert tables(made) == described


def test_a_class_that_changes_is_described_anew(tmp_path: Path) -> None:
    """After the class has got a field and another default, documents from before have them without the class, too."""

    def note(**fields: Any) -> Any:
        annotations = {'text': str, 'embedding': NdArray[3], **dict.fromkeys(fields, int)}
        namespace = {'__annotations__': annotations, '__module__': __name__, **fields}
        return type(BaseDoc)('Note', (BaseDoc,), namespace)

    with HnswDocumentIndex[note()](work_dir=tmp_path) as index:
        index.index({'id': 'a', 'text': 'x', 'embedding': [1, 2, 3]})
    for stars in (3, 5):
        with HnswDocumentIndex[note(stars=stars)](work_dir=tmp_path):
            pass
        with open_index(tmp_path, read_only=True) as index:
            assert index['a'].stars == stars


def test_a_description_that_does_not_fit(made: Path) -> None:
    """If an older docindex has changed the columns since, the class is guessed, and storing refused."""
    with sqlite3.connect(made / 'documents.sqlite3') as file:
        ((text,),) = file.execute("SELECT value FROM meta WHERE key = 'blueprint'").fetchall()
        drawn = json.loads(text)
        del drawn['classes']['Everything']['fields']['year']
        file.execute("UPDATE meta SET value = ? WHERE key = 'blueprint'", (json.dumps(drawn),))
    file.close()
    with open_index(made) as index:
        assert index['3'].year == 13
        with pytest.raises(SchemaError):
            index.update('3', year=14)


SENSELESS = [
    ('blueprint', {'root': 1, 'classes': {}, 'unknown': []}),
    ('blueprint', {}),
    ('settings', {'poster__embedding': {'declared': {}, 'effective': {'dim': 'many'}}}),
    ('settings', {'poster__embedding': {'declared': {}}}),
    ('columns', {'id': 1}),
    ('columns', {'id': 'str', 'a b': 'int'}),
    ('json_schema', {'$defs': [], 'properties': 3}),
]


@pytest.mark.parametrize(('key', 'value'), SENSELESS)
def test_a_description_that_makes_no_sense(made: Path, key: str, value: Any) -> None:
    """A description that is damaged, or a stranger's, is an error of ours."""
    if key != 'blueprint':
        forget_blueprint(made)
    with sqlite3.connect(made / 'documents.sqlite3') as file:
        file.execute('UPDATE meta SET value = ? WHERE key = ?', (json.dumps(value), key))
    file.close()
    with pytest.raises((SchemaError, CorruptIndexError), match=r'makes? no sense|lacks a part'):
        open_index(made)


def test_settings_that_make_no_sense(made: Path) -> None:
    """Settings of no field are an error of ours; and a vector is as long as its file says, whatever was declared."""
    with closing(sqlite3.connect(made / 'documents.sqlite3', isolation_level=None)) as file:
        ((value,),) = file.execute("SELECT value FROM meta WHERE key = 'settings'")
        settings = json.loads(value)
        field = next(iter(settings))
        lies = {**settings, 'nowhere': settings[field]}
        file.execute("UPDATE meta SET value = ? WHERE key = 'settings'", [json.dumps(lies)])
        with pytest.raises(CorruptIndexError, match='settings of fields that it has not'):
            open_index(made)
        settings[field]['declared']['dim'] = {}
        file.execute("UPDATE meta SET value = ? WHERE key = 'settings'", [json.dumps(settings)])
    with open_index(made) as index:
        assert index.settings(field)['dim'] == settings[field]['effective']['dim']


def test_lengths_that_only_the_index_was_told(tmp_path: Path) -> None:
    """Vectors whose length came from `default_column_config` have it without the class, too, and settings stay."""

    class Plain(BaseDoc):
        embedding: NdArray

    config = {np.ndarray: {'dim': 3, 'space': 'cosine'}}
    with HnswDocumentIndex[Plain](work_dir=tmp_path, default_column_config=config) as index:
        index.index({'id': 'a', 'embedding': [1, 2, 3]})
        index.configure(ef=77)
        settings = index.settings()
    with open_index(tmp_path) as index:
        assert index.settings() == settings
        assert index.find([2, 4, 6]).scores[0] == pytest.approx(0, abs=1e-6)
        index.index({'id': 'b', 'embedding': [3, 2, 1]})
    with HnswDocumentIndex[Plain](work_dir=tmp_path, default_column_config=config) as index:
        assert index.settings() == settings
        assert len(index) == 2


def test_a_field_that_is_left_out_of_json_for_some_values(tmp_path: Path) -> None:
    """A field with `exclude_if`, which is stored with each value, is there without the class, needed or not."""

    class Counted(BaseDoc):
        count: int = pydantic.Field(exclude_if=lambda count: count == 0)

    with HnswDocumentIndex[Counted](work_dir=tmp_path) as index:
        index.index([Counted(id='none', count=0), Counted(id='two', count=2)])
    with open_index(tmp_path) as index:
        assert [index['none'].count, index.filter({'count': 2}).id] == [0, ['two']]


def test_beside_the_class_in_one_process(made: Path) -> None:
    """With and without the class, one process sees one directory, and each what the other writes."""
    with HnswDocumentIndex[Everything](work_dir=made) as index, open_index(made) as other:
        other.update('1', year=99)
        assert index['1'].year == 99
        index.update('1', year=98)
        assert other['1'].year == 98


def test_there_is_nothing(tmp_path: Path) -> None:
    """Where there is no index, none is made."""
    with pytest.raises(WorkDirError, match='there is no index here'):
        open_index(tmp_path / 'nowhere')
    assert not (tmp_path / 'nowhere').exists()
    (tmp_path / 'documents.sqlite3').write_bytes(b'no database at all' * 100)
    with pytest.raises(CorruptIndexError):
        open_index(tmp_path)
