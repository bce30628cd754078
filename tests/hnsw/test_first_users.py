"""What first users met and what became of it: a story each."""

from __future__ import annotations

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
    SchemaError,
    SettingsError,
    VectorError,
    WorkDirError,
)


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
