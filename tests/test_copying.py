"""Copying an index into another: between directories here; `tests/milvus` has servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, MilvusDocumentIndex, NdArray, QueryError, copy_index
from docindex.testing import same
from docindex.testing.films import Film, films
from docindex.testing.finding import Note
from docindex.testing.lists import Book, books


def _local(path: Path, doc_type: type[Any] = Film) -> HnswDocumentIndex[Any]:
    return HnswDocumentIndex[doc_type](work_dir=path)  # type: ignore[valid-type]


@pytest.fixture
def source(tmp_path: Path) -> Any:
    with _local(tmp_path / 'source') as index:
        index.index(films(30))
        yield index


def _is_copy(source: Any, target: Any) -> bool:
    return list(source) == list(target) and all(same(source[id_], target[id_]) for id_ in source)


def test_all_documents_are_copied(tmp_path: Path, source: Any) -> None:
    """The target holds the documents of the source, in the same order; the report says so, and what was compared."""
    with _local(tmp_path / 'target') as target:
        report = copy_index(source, target, batch_size=7)
        assert _is_copy(source, target)
    assert (report.documents, report.written, report.same, report.compared) == (30, 30, 0, 30)
    assert report.is_complete
    assert report.searches == {'plot': 1, 'sound': 1, 'poster__look': 1}
    assert 'complete' in str(report)


def test_there_and_back_through_milvus(tmp_path: Path, source: Any) -> None:
    """A copy to Milvus and one back from there have the documents bit by bit."""
    with MilvusDocumentIndex[Film](uri=str(tmp_path / 'server.db')) as server:
        assert copy_index(source, server, batch_size=11).is_complete
        assert _is_copy(source, server)
        with _local(tmp_path / 'back') as back:
            assert copy_index(server, back).is_complete
            assert _is_copy(source, back)


def test_lists_are_copied(tmp_path: Path) -> None:
    """Documents come with those in their lists."""
    with _local(tmp_path / 'a', Book) as source, MilvusDocumentIndex[Book](uri=str(tmp_path / 'b.db')) as target:
        source.index(books())
        assert copy_index(source, target).is_complete
        assert _is_copy(source, target)
        assert len(target.subindex('pages__lines')) == len(source.subindex('pages__lines'))


def test_an_interrupted_copy_goes_on(tmp_path: Path, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called again after an interruption, it passes over what is there, and writes the rest and what has changed."""
    with _local(tmp_path / 'target') as target:
        calls = []

        def failing(docs: Any, **_: Any) -> None:
            calls.append(docs)
            if len(calls) == 3:
                raise KeyboardInterrupt
            HnswDocumentIndex.index(target, docs)

        with monkeypatch.context() as patch:
            patch.setattr(target, 'index', failing)
            with pytest.raises(KeyboardInterrupt):
                copy_index(source, target, batch_size=10)
        assert len(target) == 20
        source.update('film 3', title='New')
        report = copy_index(source, target, batch_size=10)
        assert (report.written, report.same) == (11, 19)
        assert report.is_complete
        assert target['film 3'].title == 'New'


def test_a_mirror_has_nothing_else(tmp_path: Path, source: Any) -> None:
    """What only the target has is counted, and deleted with `mirror`; a filter chooses what is copied."""
    with _local(tmp_path / 'target') as target:
        target.index(Film(id='old', plot=np.zeros(4, np.float32)))
        report = copy_index(source, target, filter={'year': {'$lt': 1905}})
        assert (report.documents, report.only_in_target, report.is_complete) == (5, 1, True)
        copy_index(source, target, mirror=True)
        assert set(target) == set(source)


def test_a_difference_is_found(tmp_path: Path, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that does not give back what was written is reported, by id."""
    with _local(tmp_path / 'target') as target:
        real = HnswDocumentIndex.index

        def changing(self: Any, docs: Any, **given: Any) -> None:
            real(self, [doc.model_copy(update={'title': 'lost'}) if doc.id == 'film 4' else doc for doc in docs])

        monkeypatch.setattr(HnswDocumentIndex, 'index', changing)
        report = copy_index(source, target)
    assert report.different == ['film 4']
    assert not report.is_complete
    assert "'film 4'" in str(report)


class Shelf(BaseDoc):
    notes: DocList[Note] = DocList[Note]()
    vector: NdArray = Field(dim=2)


def test_other_fields_are_refused(tmp_path: Path, source: Any) -> None:
    """Indexes with different fields, or one with itself, are a QueryError that names the fields."""
    with _local(tmp_path / 'target', Note) as target:
        with pytest.raises(QueryError, match='plot'):
            copy_index(source, target)
        with pytest.raises(QueryError, match='one index'):
            copy_index(source, source)
        with pytest.raises(QueryError, match='batch_size'):
            copy_index(source, target, batch_size=0)


def test_an_empty_index_is_copied(tmp_path: Path) -> None:
    """Nothing is copied, and nothing is missing."""
    with _local(tmp_path / 'a', Shelf) as source, _local(tmp_path / 'b', Shelf) as target:
        report = copy_index(source, target)
    assert (report.documents, report.compared, report.is_complete) == (0, 0, True)
