"""
A test kit for whoever writes a backend: the contract as tests, and an index that is too simple to be wrong.

    class TestMyDocumentIndex(DocumentIndexContract):
        @pytest.fixture
        def open_index(self, tmp_path):
            return lambda doc_type: MyDocumentIndex[doc_type](path=tmp_path)

runs every test of these modules against `MyDocumentIndex`. Each docstring is one promise of `docindex.index`.
`SubindexContract` has those about documents in lists, `TextContract` about full text, `EmbeddingContract` about vectors
that are made of texts.

`ExactIndex` is the reference: a dict, and distances in float64 by the formulas of `docindex.results`. It shares no
code with the indexes that it judges, but for what a filter means (`Filter.matches`). This package needs pytest; nothing
else in docindex imports it.
"""

from __future__ import annotations

from .changing import ChangingContract
from .contract import Contract, OpenIndex
from .embeddings import EmbeddingContract
from .exact import ExactIndex, distances, same
from .filtering import FilteringContract
from .finding import FindingContract
from .keeping import KeepingContract
from .lists import SubindexContract
from .querying import QueryingContract
from .storing import StoringContract
from .texts import TextContract


class DocumentIndexContract(
    StoringContract, ChangingContract, FindingContract, FilteringContract, QueryingContract, KeepingContract
):
    """What every backend does with documents, vectors and filters."""


__all__ = [
    'Contract',
    'DocumentIndexContract',
    'EmbeddingContract',
    'ExactIndex',
    'OpenIndex',
    'SubindexContract',
    'TextContract',
    'distances',
    'same',
]
