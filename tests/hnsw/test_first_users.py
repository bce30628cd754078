"""What first users met and what became of it: a story each."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from docindex import (
    BaseDoc,
    ClosedIndexError,
    DocumentError,
    Field,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    SchemaError,
    SettingsError,
    VectorError,
    WorkDirError,
)
from tests.programs import environment


class Note(BaseDoc):
    v: NdArray = Field(dim=2)


Notes = HnswDocumentIndex[Note]


class Plain(BaseModel):
    id: str
    v: NdArray = Field(dim=3)


class Inner(BaseDoc):
    text: str


class Middle(BaseDoc):
    inner: Inner | None = None


class Outer(BaseDoc):
    middle: Middle | None = None
    v: NdArray[2] = Field(space='cosine')


def test_a_list_that_was_assigned_unchecked_is_a_vector(tmp_path: Path) -> None:
    """A pydantic model takes any value in an assignment; a list there is stored as the vector it stands for."""
    doc: Any = Plain(id='a', v=np.ones(3))
    doc.v = [3, 2, 1]
    with HnswDocumentIndex[Plain](work_dir=tmp_path) as index:
        index.index(doc)
        np.testing.assert_array_equal(index['a'].v, [3, 2, 1])
        assert index.find(doc, 'v').scores.tolist() == [0]


def test_a_nested_document_is_set_at_any_depth(tmp_path: Path) -> None:
    """`update` takes the flat name of a document at any level, and says it where one on the way is None."""
    with HnswDocumentIndex[Outer](work_dir=tmp_path) as index:
        index.index({'id': 'a', 'middle': {}, 'v': [1, 0]})
        with pytest.raises(DocumentError, match=r'middle__inner is None .* middle__inner='):
            index.update('a', middle__inner__text='x')
        index.update('a', middle__inner=Inner(text='y'))
        index.update('a', middle__inner__text='z')
        middle = index['a'].middle
        assert middle is not None
        assert middle.inner is not None
        assert middle.inner.text == 'z'


def test_a_vector_that_float32_makes_zero_is_refused(tmp_path: Path) -> None:
    """A direction that float32 would lose is an error, as a value that it cannot hold is; a true zero is a zero."""
    with HnswDocumentIndex[Outer](work_dir=tmp_path) as index:
        for refused in (
            lambda: index.index({'id': 'a', 'v': [1e-300, 0]}),
            lambda: index.find([0, 1e-300], 'v'),
        ):
            with pytest.raises(VectorError, match='zero in float32'):
                refused()
        assert len(index) == 0
        index.index({'id': 'a', 'v': [0.0, 0.0]})
        assert index.find([1, 0], 'v').scores.tolist() == [1]


def test_settings_of_a_tensor_that_is_no_vector_are_refused() -> None:
    """Settings that nothing would heed are an error of the schema."""

    class Image(BaseDoc):
        pixels: NdArray[2, 2, 2] = Field(space='cosine')

    with pytest.raises(SchemaError, match='pixels'):
        HnswDocumentIndex[Image]()


def test_a_closed_index_cannot_be_entered(tmp_path: Path) -> None:
    """`with` a closed index raises at once, and not at the first call inside."""
    index = HnswDocumentIndex[Plain](work_dir=tmp_path)
    index.close()
    with pytest.raises(ClosedIndexError), index:
        pass


def test_a_backup_inside_its_own_directory_is_refused(tmp_path: Path) -> None:
    """A backup that would be lost together with what it is of is no backup."""
    with HnswDocumentIndex[Plain](work_dir=tmp_path) as index, pytest.raises(WorkDirError, match='inside'):
        index.backup(tmp_path / 'copy')
    assert not (tmp_path / 'copy').exists()


def test_a_directory_of_docarray_is_left_as_it_is(tmp_path: Path) -> None:
    """A directory that DocArray wrote is refused before anything is put into it."""
    (tmp_path / 'docs_sqlite.db').write_bytes(b'')
    with pytest.raises(WorkDirError, match='DocArray'):
        HnswDocumentIndex[Plain](work_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['docs_sqlite.db']


@pytest.mark.parametrize('given', [{'db_config': 5}, {'lock_timeout': 'soon'}], ids=str)
def test_arguments_of_a_wrong_type_are_ours_to_name(tmp_path: Path, given: dict[str, Any]) -> None:
    """A wrong argument of the constructor is a `SettingsError` that says what came."""
    with pytest.raises(SettingsError, match=r"5|'soon'"):
        HnswDocumentIndex[Plain](**{'work_dir': tmp_path, **given})


# -- the second first user ---------------------------------------------------------------------------------------


def test_a_directory_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """Handles on a directory that is gone, or another by now, say so instead of going on with the old one."""
    path = tmp_path / 'work'
    with Notes(path) as first:
        first.index(Note(id='old', v=[1, 2]))
    reader = Notes(path, read_only=True)
    assert len(reader) == 1
    shutil.rmtree(path)
    for call in (lambda: len(reader), lambda: Notes(path, read_only=True)):
        with pytest.raises(WorkDirError, match='removed or replaced'):
            call()
    writer = Notes(path)
    writer.index([Note(id='a', v=[1, 2]), Note(id='b', v=[1, 2])])
    with pytest.raises(WorkDirError, match='removed or replaced'):
        reader.find([1, 2])
    reader.close()
    with Notes(path, read_only=True) as anew:
        assert list(anew) == ['a', 'b']
    shutil.rmtree(path)
    with pytest.raises(WorkDirError, match='removed or replaced'):
        writer.index(Note(id='c', v=[1, 2]))
    writer.close()


def test_a_readers_settings_are_those_of_now(tmp_path: Path) -> None:
    """What `configure` has set in the writer, `settings` says in a reader, whatever was called before."""
    with Notes(tmp_path) as writer, Notes(tmp_path, read_only=True) as reader:
        writer.configure(ef=222)
        assert reader.settings()['ef'] == 222


def test_a_twin_does_not_read_past_a_batch(tmp_path: Path) -> None:
    """Inside a batch an async twin would see the index without it; it says so, also when it only reads."""

    async def use(index: HnswDocumentIndex[Note]) -> None:
        with index.batch():
            index.index(Note(id='new', v=[1, 2]))
            with pytest.raises(QueryError, match='async twins'):
                await index.aget('new')
            assert 'new' in index

    with Notes(tmp_path) as index:
        asyncio.run(use(index))
        assert list(index) == ['new']


def test_graph_files_that_are_in_use_cannot_be_distrusted(tmp_path: Path) -> None:
    """`trust_graphs=False` beside a handle that has read them is refused, not ignored."""
    with Notes(tmp_path), pytest.raises(SettingsError, match='graph files'):
        Notes(tmp_path, trust_graphs=False)


@pytest.mark.parametrize('command', ['check', 'compact'])
def test_a_command_on_a_wrong_directory_leaves_nothing(tmp_path: Path, command: str) -> None:
    """Where there is no index, the command line says so and makes none."""
    (tmp_path / 'photo.txt').touch()
    arguments = [sys.executable, '-m', 'docindex', command, str(tmp_path)]
    ended = subprocess.run(arguments, capture_output=True, text=True, env=environment(), check=False)
    assert (ended.returncode, ended.stderr) == (
        2,
        f'docindex: there is no index here: documents.sqlite3 is missing ({tmp_path})\n',
    )
    assert [path.name for path in tmp_path.iterdir()] == ['photo.txt']
