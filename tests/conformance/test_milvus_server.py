"""Milvus as a server keeps the contract of every backend: Milvus Lite on loopback, or what `MILVUS_URI` names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import DocumentIndexContract, OpenIndex, SubindexContract, TextContract
from tests.milvus.servers import drop_all, lite_server, opened, server_of_environment


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """How to open an index on the one server that all tests here share."""
    given = server_of_environment()
    if given is not None:
        yield given
        return
    with lite_server(tmp_path_factory.mktemp('milvus')) as server:
        yield {'uri': server.uri}


class _OnServer:
    @pytest.fixture
    def open_index(self, options: dict[str, Any]) -> Iterator[OpenIndex]:
        """Open the one index of a test, and remove it afterwards."""
        name = f'test_{uuid.uuid4().hex}'

        def open_(doc_type: type[Any]) -> MilvusDocumentIndex[Any]:
            return opened(doc_type, {**options, 'index_name': name})

        yield open_
        drop_all(options, name)


class TestMilvusServer(_OnServer, DocumentIndexContract):
    sees_past_equal_vectors = False


class TestMilvusServerSubindexes(_OnServer, SubindexContract):
    pass


class TestMilvusServerTexts(_OnServer, TextContract):
    pass
