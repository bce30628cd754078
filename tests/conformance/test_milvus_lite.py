"""Milvus Lite, embedded, keeps the contract of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import DocumentIndexContract, EmbeddingContract, OpenIndex, SubindexContract, TextContract


class _Lite:
    @pytest.fixture
    def open_index(self, tmp_path: Path) -> OpenIndex:
        def open_(doc_type: type[Any]) -> MilvusDocumentIndex[Any]:
            uri = str(tmp_path / 'index.db')
            return MilvusDocumentIndex[doc_type](uri=uri, index_name='contract')  # type: ignore[valid-type]

        return open_


class TestMilvusLite(_Lite, DocumentIndexContract):
    sees_past_equal_vectors = False


class TestMilvusLiteSubindexes(_Lite, SubindexContract):
    pass


class TestMilvusLiteEmbeddings(_Lite, EmbeddingContract):
    has_transactions = False


class TestMilvusLiteTexts(_Lite, TextContract):
    pass
