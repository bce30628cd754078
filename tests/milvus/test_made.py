"""How collections are made, and compared with the schema that they are opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docindex import BaseDoc, CollectionError, Field, MilvusDocumentIndex, NdArray, ServerError, SettingsError
from docindex.milvus.server import Server


def note(**settings: Any) -> type[BaseDoc]:
    class Note(BaseDoc):
        embedding: NdArray = Field(dim=4, **settings)

    return Note


def opened(path: Path, **settings: Any) -> MilvusDocumentIndex[Any]:
    return MilvusDocumentIndex[note(**settings)](uri=path / 'index.db')


def test_an_index_type_that_milvus_lite_does_not_have_is_refused(tmp_path: Path) -> None:
    """Milvus Lite would take it, and not load the collection again; nothing is made."""
    with pytest.raises(SettingsError, match=r"embedding: Milvus Lite has the index types HNSW, .* and not 'DISKANN'"):
        opened(tmp_path, milvus={'index_type': 'DISKANN'})
    opened(tmp_path, milvus={'index_type': 'IVF_SQ8', 'nlist': 16, 'search': {'nprobe': 4}}).close()


def test_a_collection_that_cannot_be_made_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a server refuses an index, or fails to load a collection that is new, the same name can be made again."""

    def refuse(self: object, collection: str) -> None:
        raise ServerError('cannot load', 'somewhere')

    monkeypatch.setattr(Server, 'load', refuse)
    with pytest.raises(ServerError, match='cannot load'):
        opened(tmp_path)
    monkeypatch.undo()
    with opened(tmp_path, space='cosine') as index:
        index.index(note(space='cosine')(id='1', embedding=[1, 2, 3, 4]))
        assert index.find([1, 2, 3, 4]).documents.id == ['1']


@pytest.mark.parametrize(
    ('changed', 'said'),
    [({'space': 'cosine'}, 'HNSW COSINE'), ({'milvus': {'index_type': 'IVF_FLAT'}}, 'IVF_FLAT L2')],
)
def test_another_distance_or_index_type_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    """A collection is not opened with a distance or an index type that it was not made with: answers would be wrong."""
    opened(tmp_path).close()
    with pytest.raises(CollectionError, match=rf'is FLOAT_VECTOR\[4\] HNSW L2, wanted FLOAT_VECTOR\[4\] {said}'):
        opened(tmp_path, **changed)
    opened(tmp_path).close()


def test_whether_there_is_a_graph_is_decided_when_it_is_made(tmp_path: Path) -> None:
    """`configure(index=False)` is refused: the collection has its graph."""
    with opened(tmp_path) as index, pytest.raises(SettingsError, match='index is built into the collection'):
        index.configure(index=False)
