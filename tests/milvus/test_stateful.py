"""Random stories on Milvus: the index against a dict and exact search, also after it was opened again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from docindex import BaseDoc, DocumentNotFoundError, Field, NdArray
from docindex.errors import BatchError, ServerError
from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import ExactIndex, same
from tests.hnsw import test_lists_stateful
from tests.milvus.test_lists import Killed, fails_at, small_calls


class Part(BaseDoc):
    name: str = ''
    shape: NdArray = Field(dim=2, space='cosine', stored_as='float16')


class Thing(BaseDoc):
    text: str = ''
    number: int = 0
    main: NdArray = Field(dim=3, space='l2')
    side: NdArray | None = Field(default=None, dim=2, space='ip', index=False)
    part: Part | None = None


SPACES = {'main': 'l2', 'side': 'ip', 'part__shape': 'cosine'}
DIMS = {'main': 3, 'side': 2, 'part__shape': 2}
IDS = ['a', '"', "it's \\", '日本', '\n', '%_', ' ']

# Small integers make equal vectors, ties and zeros likely.
_numbers = st.integers(-2, 2).map(float) | st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
_ids = st.sampled_from(IDS)
_texts = st.sampled_from(['', 'a', '"', '\\', 'é', "a'b"])


def _vectors(dim: int) -> st.SearchStrategy[Any]:
    return st.lists(_numbers, min_size=dim, max_size=dim).map(lambda numbers: np.array(numbers, np.float32))


_halves = _vectors(2).map(lambda vector: np.float32(np.float16(vector)))
_parts = st.builds(Part, id=st.just('part'), name=_texts, shape=_halves)
_fields = {
    'text': _texts,
    'number': st.integers(-3, 3),
    'main': _vectors(3),
    'side': st.none() | _vectors(2),
    'part': st.none() | _parts,
}
_batches = st.lists(st.builds(Thing, id=_ids, **_fields), min_size=1, max_size=5)
_queries = st.sampled_from(list(DIMS)).flatmap(lambda field: st.tuples(st.just(field), _vectors(DIMS[field])))
_filters = st.sampled_from(
    [
        None,
        {'number': {'$gt': 0}},
        {'text': {'$ne': 'a'}, 'side': {'$exists': True}},
        {'$or': [{'part__name': {'$contains': "'"}}, {'text': {'$regex': '^.$'}}]},
        {'$not': {'part': None}},
        {'id': {'$in': IDS[:3]}},
    ]
)


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix='docindex-milvus-'))
        self.oracle: ExactIndex[Thing] = ExactIndex(SPACES)
        self.open()

    def open(self) -> None:
        self.index = MilvusDocumentIndex[Thing](uri=self.root / 'story.db')

    def teardown(self) -> None:
        try:
            self.oracle.check_all(self.index)
            report = self.index.verify()
            assert report.is_sound, str(report)
        finally:
            self.index.close()
            shutil.rmtree(self.root)

    @rule(things=_batches)
    def store(self, things: list[Thing]) -> None:
        self.index.index(things)
        self.oracle.index(things)

    @rule(id_=_ids, changes=st.fixed_dictionaries({}, optional=_fields))
    def update(self, id_: str, changes: dict[str, Any]) -> None:
        if id_ in self.oracle.docs:
            self.index.update(id_, **changes)
            self.oracle.update(id_, **changes)
        else:
            with pytest.raises(DocumentNotFoundError):
                self.index.update(id_, **changes)

    @rule(ids=st.lists(_ids, max_size=3))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == self.oracle.delete(ids)

    @rule(things=_batches, at=st.integers(0, 2), is_killed=st.booleans())
    def fail_to_store(self, things: list[Thing], at: int, is_killed: bool) -> None:
        """What arrived is stored, in the order of the call; the error says what that is."""
        last = list({thing.id: thing for thing in things}.values())
        arrived = last[: 2 * at]  # two in each call
        error: BaseException = Killed() if is_killed else ServerError('no', self.index.uri)
        with small_calls(), fails_at('upsert', at, error):
            if len(arrived) == len(last):
                self.index.index(things)
            else:
                with pytest.raises(Killed if is_killed else BatchError) as raised:
                    self.index.index(things)
                assert getattr(raised.value, 'stored', None) == (None if is_killed else [one.id for one in arrived])
        self.oracle.index(arrived)

    @rule(query=_queries, limit=st.integers(0, 9), exact=st.booleans(), filter_=_filters)
    def find(self, query: tuple[str, Any], limit: int, exact: bool, filter_: Any) -> None:
        field, vector = query
        found = self.index.find(vector, field, limit, exact=exact, filter=filter_)
        self.oracle.matching(filter_).check(found, vector, field, limit)

    @rule(filter_=_filters)
    def filter(self, filter_: Any) -> None:
        expected = self.oracle.matching(filter_).docs
        found = self.index.filter(filter_, None)
        assert set(found.id) == set(expected)
        assert all(same(doc, expected[doc.id]) for doc in found)
        assert self.index.count(filter_) == len(expected)

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.open()

    @invariant()
    def the_same_ids(self) -> None:
        assert set(self.index) == set(self.oracle.docs)
        assert len(self.index) == len(self.oracle.docs)


class ListStory(test_lists_stateful.Story):
    """The stories of documents in lists that are told of the local index, but for what only that can do."""

    batch = fail = compact = None

    def open(self) -> None:
        self.index, self.reader = (
            MilvusDocumentIndex[test_lists_stateful.Book](uri=self.path / 'story.db') for _ in range(2)
        )


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=10, stateful_step_count=15)
TestListStory = ListStory.TestCase
TestListStory.settings = settings(max_examples=5, stateful_step_count=8)
