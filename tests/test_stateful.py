"""
Random stories: the index against a dict and exact search, through closing, crashes, failures and lost graphs.

DOCINDEX_HYPOTHESIS=long tells many more of them. A failing story is printed as a short program,
with a blob to replay it.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from docindex import BaseDoc, DocumentNotFoundError, Field, FindResult, HnswDocumentIndex, NdArray
from docindex.hnsw.sidecar import Sidecar
from docindex.testing import ExactIndex, same


class Part(BaseDoc):
    name: str = ''
    shape: NdArray = Field(dim=2, space='cosine', stored_as='float16')


class Thing(BaseDoc):
    text: str = ''
    number: int = 0
    main: NdArray = Field(dim=3, space='l2', max_elements=2)
    side: NdArray | None = Field(default=None, dim=2, space='ip', index_dim=1)
    part: Part | None = None


SPACES = {'main': 'l2', 'side': 'ip', 'part__shape': 'cosine'}
DIMS = {'main': 3, 'side': 2, 'part__shape': 2}
IDS = [f'id {number}' for number in range(12)]

# Small integers make equal vectors, ties and zeros likely.
_numbers = st.integers(-2, 2).map(float) | st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
_ids = st.sampled_from(IDS)
_crashes = st.sampled_from(['as it was', 'without graphs', 'older graphs', 'damaged graphs', 'debris'])


def _vectors(dim: int) -> st.SearchStrategy[Any]:
    return st.lists(_numbers, min_size=dim, max_size=dim).map(lambda numbers: np.array(numbers, np.float32))


_halves = _vectors(2).map(lambda vector: np.float32(np.float16(vector)))
_parts = st.builds(Part, id=st.just('part'), name=st.text(max_size=3), shape=_halves)
_things = st.builds(
    Thing,
    id=_ids,
    text=st.text(max_size=3),
    number=st.integers(-9, 9),
    main=_vectors(3),
    side=st.none() | _vectors(2),
    part=st.none() | _parts,
)
_batches = st.lists(_things, max_size=8)
_changes = st.fixed_dictionaries(
    {},
    optional={
        'text': st.text(max_size=3),
        'number': st.integers(-9, 9),
        'main': _vectors(3),
        'side': st.none() | _vectors(2),
        'part': st.none() | _parts,
    },
)
_queries = st.sampled_from(list(DIMS)).flatmap(lambda field: st.tuples(st.just(field), _vectors(DIMS[field])))


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix='docindex-story-'))
        self.oracle: ExactIndex[Thing] = ExactIndex(SPACES)
        self.lives = 0
        self.older_graphs: Path | None = None
        self.open(self.root / 'life 0')

    def open(self, path: Path) -> None:
        self.path = path
        self.index = HnswDocumentIndex[Thing](work_dir=path)

    def teardown(self) -> None:
        try:
            self.oracle.check_all(self.index)
            report = self.index.verify()
            assert report.is_sound, str(report)
        finally:
            self.index.close()
            shutil.rmtree(self.root)

    # -- writing ---------------------------------------------------------------------------------

    @rule(things=_batches)
    def store(self, things: list[Thing]) -> None:
        self.index.index(things)
        self.oracle.index(things)

    @rule(things=_batches)
    def replace(self, things: list[Thing]) -> None:
        if {thing.id for thing in things} <= set(self.oracle.docs):
            self.index.update(things)
            self.oracle.index(things)
        else:
            with pytest.raises(DocumentNotFoundError):
                self.index.update(things)

    @rule(id_=_ids, changes=_changes)
    def update(self, id_: str, changes: dict[str, Any]) -> None:
        if id_ in self.oracle.docs:
            self.index.update(id_, **changes)
            self.oracle.update(id_, **changes)
        else:
            with pytest.raises(DocumentNotFoundError):
                self.index.update(id_, **changes)

    @rule(ids=st.lists(_ids, max_size=5))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == self.oracle.delete(ids)

    @rule(ids=st.lists(_ids, min_size=1, max_size=4))
    def delete_all_or_none(self, ids: list[str]) -> None:
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in self.oracle.docs]
        if not missing:
            del self.index[ids]
            self.oracle.delete(ids)
        else:
            with pytest.raises(DocumentNotFoundError) as raised:
                del self.index[ids]
            assert raised.value.ids == missing

    @rule(things=st.lists(_things, min_size=1, max_size=8), step=st.sampled_from(['apply', 'commit']))
    def fail_to_store(self, things: list[Thing], step: str) -> None:
        with mock.patch.object(Sidecar, step, side_effect=OSError('no')), pytest.raises(OSError, match='no'):
            self.index.index(things)

    # -- reading ---------------------------------------------------------------------------------

    @rule(ids=st.lists(_ids, max_size=5))
    def get(self, ids: list[str]) -> None:
        expected = [self.oracle.docs[id_] for id_ in ids if id_ in self.oracle.docs]
        found = self.index.get(ids)
        assert len(found) == len(expected)
        assert all(map(same, found, expected))

    @rule(query=_queries, limit=st.integers(0, 20), exact=st.booleans())
    def find(self, query: tuple[str, Any], limit: int, exact: bool) -> None:
        field, vector = query
        self.oracle.check(self.index.find(vector, field, limit, exact=exact), vector, field, limit)

    @rule(queries=st.lists(_vectors(3), min_size=1, max_size=4), limit=st.integers(1, 5))
    def find_batched(self, queries: list[Any], limit: int) -> None:
        docs, scores = self.index.find_batched(queries, 'main', limit)
        for query, found, found_scores in zip(queries, docs, scores, strict=True):
            self.oracle.check(FindResult(found, found_scores), query, 'main', limit)

    @invariant()
    def the_same_ids(self) -> None:
        assert set(self.index) == set(self.oracle.docs)
        assert len(self.index) == len(self.oracle.docs)

    # -- what happens to an index ------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.open(self.path)

    @rule()
    def save_graphs(self) -> None:
        self.index.save_graphs()
        self.older_graphs = self.root / 'older graphs'
        shutil.rmtree(self.older_graphs, ignore_errors=True)
        shutil.copytree(self.path / 'graphs', self.older_graphs)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def verify(self) -> None:
        report = self.index.verify()
        assert report.is_sound, str(report)

    @rule(kind=_crashes, seed=st.integers(0, 999))
    def crash(self, kind: str, seed: int) -> None:
        """Go on with a copy of the directory as it is now: what a killed process would leave."""
        self.lives += 1
        copy = self.root / f'life {self.lives}'
        shutil.copytree(self.path, copy)
        self.index.close()
        shutil.rmtree(self.path)
        if kind == 'without graphs':
            shutil.rmtree(copy / 'graphs')
        if kind == 'older graphs' and self.older_graphs is not None:
            shutil.rmtree(copy / 'graphs')
            shutil.copytree(self.older_graphs, copy / 'graphs')
        if kind == 'damaged graphs':
            for file in (copy / 'graphs').iterdir():
                flip_a_bit(file, random.Random(seed))
        if kind == 'debris':
            for file in (copy / 'vectors').iterdir():
                with file.open('ab') as appended:
                    appended.write(random.Random(seed).randbytes(seed % 50))
            (copy / 'graphs' / 'main.99.hnsw.new').write_bytes(b'unfinished')
        self.open(copy)
        self.oracle.check_all(self.index)


def flip_a_bit(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


TestStory = Story.TestCase
TestStory.settings = settings(stateful_step_count=30)
