"""`hybrid`: words and nearness together are what `fuse` makes of `text_search` and `find`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docindex import (
    BaseDoc,
    DimensionError,
    DocIndexError,
    Field,
    FilterError,
    FindResult,
    HnswDocumentIndex,
    NdArray,
    QueryError,
    Ranking,
    VectorError,
)
from docindex.fusion import fused
from tests.programs import named

WORDS = ['chess', 'engine', 'board', 'rook', 'opening', 'mate']


class Article(BaseDoc):
    title: str = Field(default='', full_text=True)
    body: str = Field(default='', full_text=True)
    section: str = ''
    year: int = 0
    vector: NdArray | None = Field(default=None, dim=4, space='cosine')
    other: NdArray | None = Field(default=None, dim=2)


class Simple(BaseDoc):
    text: str = Field(default='', full_text=True)
    vector: NdArray = Field(dim=2)


Articles = HnswDocumentIndex[Article]


def articles(count: int = 80, seed: int = 5) -> list[Article]:
    random = np.random.default_rng(seed)
    return [
        Article(
            id=str(at),
            title=' '.join(random.choice(WORDS, 1 + at % 2)),
            body=' '.join(random.choice(WORDS, at % 5)),
            section=['games', 'math', 'misc'][at % 3],
            year=2000 + at % 7,
            vector=None if at % 5 == 4 else random.standard_normal(4),
            other=random.standard_normal(2),
        )
        for at in range(count)
    ]


VECTOR = [1.0, 0.5, -0.25, 0.0]


@pytest.fixture(scope='module')
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HnswDocumentIndex[Article]]:
    """Eighty articles, of which some have no vector and some no word; no test here changes them."""
    with Articles(work_dir=tmp_path_factory.mktemp('articles')) as index:
        index.index(articles())
        yield index


def pairs(found: FindResult[Any]) -> list[tuple[str, float]]:
    assert found.scores.dtype == np.float32
    return list(zip(found.documents.id, found.scores.tolist(), strict=True))


def rankings(index: HnswDocumentIndex[Article], text: str, depth: int, **how: Any) -> list[Ranking[str]]:
    """Return what vector search and text search find by themselves."""
    mode = how.pop('mode', 'any')
    near, fits = index.find(VECTOR, 'vector', depth, **how), index.text_search(text, limit=depth, mode=mode, **how)
    by_vector = Ranking('vector', list(near.documents.id), near.scores, True)
    return [by_vector, Ranking('text', list(fits.documents.id), fits.scores, False)]


def joined(found: Sequence[Ranking[str]], *how: Any) -> list[tuple[str, float]]:
    keys, scores = fused(found, *how)
    return list(zip(keys, scores.tolist(), strict=True))


@given(
    words=st.lists(st.sampled_from([*WORDS, 'nowhere']), max_size=3, unique=True),
    method=st.sampled_from(['weighted', 'rrf']),
    weights=st.none() | st.tuples(st.integers(0, 3), st.integers(1, 3)),
    condition=st.sampled_from([None, {'section': 'games'}, {'year': {'$gte': 2005}}, {'section': 'nowhere'}]),
    limit=st.sampled_from([0, 1, 5, 30, 1000]),
    mode=st.sampled_from(['any', 'all', 'prefix']),
)
def test_hybrid_is_find_and_text_search_fused(
    index: HnswDocumentIndex[Article],
    words: list[str],
    method: Any,
    weights: tuple[int, int] | None,
    condition: Any,
    limit: int,
    mode: Any,
) -> None:
    """
    Both rankings, of the documents that match the filter, are joined by the method, with (0.75, 0.25) for weights.

    A document that only one of them has is found, too.
    """
    text = ' '.join(words)
    found = index.hybrid(
        text, VECTOR, 'vector', limit=limit, filter=condition, fusion=method, weights=weights, mode=mode
    )
    both = rankings(index, text, max(100, 2 * limit), filter=condition, mode=mode)
    expected = joined(both, method, weights or (0.75, 0.25))[:limit]
    assert [id_ for id_, _ in pairs(found)] == [id_ for id_, _ in expected]
    np.testing.assert_allclose(found.scores, [score for _, score in expected], rtol=1e-5, atol=1e-6)


def test_hybrid_is_a_query_that_can_be_written_out(index: HnswDocumentIndex[Article]) -> None:
    """The same comes from `build_query` with `find`, `text_search`, `fuse` and `limit`."""
    query = index.build_query().filter({'section': 'math'}).find(VECTOR, 'vector', 100)
    query = query.text_search('chess rook', ['title'], 100).fuse('weighted', weights=(0.75, 0.25)).limit(7)
    found = index.hybrid('chess rook', VECTOR, 'vector', ['title'], 7, filter={'section': 'math'})
    assert pairs(found) == pairs(index.execute_query(query.build()))
    assert len(found.documents) == 7


def test_hybrid_returns_typed_documents(index: HnswDocumentIndex[Article]) -> None:
    """Documents come as a `DocList` of the schema, as they were stored, 10 by default, best first."""
    docs, scores = index.hybrid('chess', VECTOR, 'vector')
    assert docs.doc_type is Article
    assert len(docs) == 10
    assert docs[0] == index[docs[0].id]
    assert (np.diff(scores) <= 0).all()
    assert 0 <= scores[-1] <= scores[0] <= 1


def test_fields_may_be_left_out_where_there_is_one(tmp_path: Path) -> None:
    """With one vector field and one text field nothing need be named."""
    with HnswDocumentIndex[Simple](work_dir=tmp_path) as index:
        index.index(
            [
                Simple(id='near', text='go', vector=np.array([1, 0])),
                Simple(id='words', text='chess', vector=np.array([9, 9])),
                Simple(id='both', text='chess', vector=np.array([1, 1])),
            ]
        )
        assert index.hybrid('chess', [1, 0.4]).documents.id[0] == 'both'
        assert set(index.hybrid('chess', [1, 0]).documents.id) == {'near', 'words', 'both'}
        assert index.hybrid(text='chess', vector=[1, 0], limit=2, weights=[1, 0]).documents.id == ['near', 'both']
        assert index.hybrid('chess', [1, 0], weights=[0, 1]).documents.id == ['both', 'words', 'near']


@pytest.mark.parametrize('text', ['', '   ', '!', 'nowhere', '"', '\0'])
def test_text_without_a_word_leaves_the_vectors(index: HnswDocumentIndex[Article], text: str) -> None:
    """Where no word is searched or found, the order is that of the vectors, and the best has the vectors' weight."""
    docs, scores = index.hybrid(text, VECTOR, 'vector', limit=20)
    assert docs.id == index.find(VECTOR, 'vector', 20).documents.id
    assert scores[0] == pytest.approx(0.75)


def test_documents_without_a_vector_are_found_by_their_words(index: HnswDocumentIndex[Article]) -> None:
    """A document that has no vector in the field can still come first by its words."""
    docs, scores = index.hybrid('chess', VECTOR, 'vector', limit=1000, weights=(1, 100))
    without = [doc.id for doc in docs if doc.vector is None]
    assert without
    assert set(without) == {doc.id for doc in index.text_search('chess', limit=1000).documents if doc.vector is None}
    best = index.text_search('chess', limit=1).scores[0]
    first = {doc.id for doc, score in zip(*index.text_search('chess', limit=1000), strict=True) if score == best}
    assert docs[0].id in first
    assert scores[0] > 100 / 101 - 1e-6


def test_a_document_is_a_vector(index: HnswDocumentIndex[Article]) -> None:
    """The vector may be a document, of whatever class, or a dict that has the field."""
    expected = pairs(index.hybrid('chess', VECTOR, 'vector'))
    for vector in (Article(vector=np.array(VECTOR)), {'vector': VECTOR}, np.array(VECTOR), tuple(VECTOR)):
        assert pairs(index.hybrid('chess', vector, 'vector')) == expected
    with pytest.raises(QueryError):
        index.hybrid('chess', Article(), 'vector')


def test_weights_of_text_fields(index: HnswDocumentIndex[Article]) -> None:
    """Text fields may have weights of their own."""
    weights = {'title': 5, 'body': 1}
    query = index.build_query().find(VECTOR, 'vector', 100).text_search('chess rook', weights, 100)
    expected = index.execute_query(query.fuse('weighted', weights=[0.75, 0.25]).limit(10).build())
    assert pairs(index.hybrid('chess rook', VECTOR, 'vector', weights)) == pairs(expected)


def test_a_function_can_fuse(index: HnswDocumentIndex[Article]) -> None:
    """A function sees both rankings by id, under the names of their fields, and no weights are put in its way."""
    seen: list[Ranking[str]] = []

    def fuse(given: Sequence[Ranking[str]]) -> Mapping[str, float]:
        seen.extend(given)
        return dict.fromkeys(given[1].keys, 1.0)

    found = index.hybrid('chess', VECTOR, 'vector', 'title', 4, fusion=fuse)
    assert [one.name for one in seen] == ['vector', 'title']
    assert set(found.documents.id) <= set(index.text_search('chess', 'title', 100).documents.id)
    assert found.scores.tolist() == [1, 1, 1, 1]


def test_hybrid_looks_deeper_than_it_returns(index: HnswDocumentIndex[Article]) -> None:
    """A short answer is the beginning of a long one: how many are returned does not change who is good."""
    long = pairs(index.hybrid('chess rook', VECTOR, 'vector', limit=50))
    for limit in (0, 1, 10):
        assert pairs(index.hybrid('chess rook', VECTOR, 'vector', limit=limit)) == long[:limit]


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        ({'weights': [1]}, QueryError),
        ({'weights': [1, 2, 3]}, QueryError),
        ({'weights': [0, 0]}, QueryError),
        ({'weights': [1, -1]}, QueryError),
        ({'weights': [1, float('nan')]}, QueryError),
        ({'weights': ['a', 'b']}, QueryError),
        ({'weights': 0.5}, QueryError),
        ({'weights': [1, 1], 'fusion': lambda rankings: {}}, QueryError),
        ({'fusion': 'best'}, QueryError),
        ({'fusion': None}, QueryError),
        ({'limit': -1}, QueryError),
        ({'limit': 2.5}, QueryError),
        ({'text': 3}, QueryError),
        ({'text': None}, QueryError),
        ({'mode': 'some'}, QueryError),
        ({'mode': 'boolean', 'text': 'chess AND'}, QueryError),
        ({'search_field': ''}, QueryError),
        ({'search_field': 'title'}, QueryError),
        ({'text_field': 'section'}, QueryError),
        ({'vector': [1, 2]}, DimensionError),
        ({'vector': [float('nan')] * 4}, VectorError),
        ({'filter': {'smell': 1}}, FilterError),
    ],
    ids=named,
)
def test_what_makes_no_sense_is_refused(
    index: HnswDocumentIndex[Article], arguments: dict[str, Any], error: type[DocIndexError]
) -> None:
    """Wrong weights, fields, numbers, texts and vectors are refused as in `fuse`, `find` and `text_search`."""
    with pytest.raises(error):
        index.hybrid(**{'text': 'chess', 'vector': VECTOR, 'search_field': 'vector', **arguments})


def test_any_limit_is_possible(index: HnswDocumentIndex[Article]) -> None:
    """A limit that `find` and `text_search` take is one for `hybrid`, however large."""
    largest = (1 << 62) - 1
    assert len(index.find(VECTOR, 'vector', largest).documents) == 64
    assert len(index.hybrid('chess', VECTOR, 'vector', limit=largest).documents) >= 64


def test_hybrid_in_an_empty_index(tmp_path: Path) -> None:
    """Where nothing is stored nothing is found."""
    with Articles(work_dir=tmp_path) as index:
        docs, scores = index.hybrid('chess', VECTOR, 'vector')
        assert len(docs) == 0
        assert scores.shape == (0,)
