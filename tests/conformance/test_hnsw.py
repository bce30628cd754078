"""The local index keeps the contract of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docindex import HnswDocumentIndex
from docindex.testing import DocumentIndexContract, EmbeddingContract, OpenIndex, SubindexContract, TextContract


class _Hnsw:
    @pytest.fixture
    def open_index(self, tmp_path: Path) -> OpenIndex:
        def open_(doc_type: type[Any]) -> HnswDocumentIndex[Any]:
            return HnswDocumentIndex[doc_type](work_dir=tmp_path)  # type: ignore[valid-type]  # known when it runs

        return open_


class TestHnswDocumentIndex(_Hnsw, DocumentIndexContract):
    pass


class TestHnswSubindexes(_Hnsw, SubindexContract):
    pass


class TestHnswEmbeddings(_Hnsw, EmbeddingContract):
    pass


class TestHnswTexts(_Hnsw, TextContract):
    pass
