"""Documents with lists, as they come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray


class Chunk(BaseDoc):
    vector: NdArray = Field(dim=2)


class Paper(BaseDoc):
    chunks: DocList[Chunk] = Field(default_factory=DocList[Chunk])


def a_paper(id_: str, chunks: int) -> Paper:
    return Paper(
        id=id_,
        chunks=DocList[Chunk]([Chunk(id=f'{id_} {at}', vector=np.array([at, 1], np.float32)) for at in range(chunks)]),
    )


def test_a_document_that_is_found_several_times_is_complete_each_time(tmp_path: Path) -> None:
    """A document comes back with all in its lists, however often it is asked for at once, by ids or by its lists."""
    paper, other = a_paper('a', 3), a_paper('b', 2)
    with HnswDocumentIndex[Paper](work_dir=tmp_path) as index:
        index.index([paper, other])
        assert list(index[['a', 'b', 'a']]) == [paper, other, paper]
        assert list(index.subindex('chunks').roots(['a 0', 'b 1', 'a 2'])) == [paper, other, paper]
        found = index.find_subindex([0, 1], 'chunks', limit=5)
        assert [root.id for root in found.root_documents] == [id_.split()[0] for id_ in found.documents.id]
        assert all(root == {'a': paper, 'b': other}[root.id] for root in found.root_documents)
