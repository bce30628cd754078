"""What `find` and `find_batched` promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..doclist import DocList
from ..document import BaseDoc
from ..errors import DimensionError, DocIndexError, QueryError, VectorError
from ..fields import Field
from ..index import DocumentIndex
from ..results import FindResult
from ..tensors import NdArray
from .contract import OpenIndex
from .exact import ExactIndex
from .films import EXACT, FIELDS, SPACES, Film, FilmContract, Poster, Trailer, a_film, a_vector


class Note(BaseDoc):
    """A document with one vector field."""

    text: str = ''
    vector: NdArray = Field(dim=2)


_BAD_QUERIES: dict[str, tuple[dict[str, Any], type[DocIndexError]]] = {
    'an unknown field': ({'search_field': 'smell'}, QueryError),
    'a field that is no vector': ({'search_field': 'title'}, QueryError),
    'no field where there are several': ({}, QueryError),
    'a negative limit': ({'search_field': 'plot', 'limit': -1}, QueryError),
    'a limit that is no integer': ({'search_field': 'plot', 'limit': 1.5}, QueryError),
    'a document without the vector': ({'query': a_film('silent'), 'search_field': 'sound'}, QueryError),
    'another length': ({'query': [1, 2, 3], 'search_field': 'plot'}, DimensionError),
    'NaN': ({'query': [1, 2, 3, float('nan')], 'search_field': 'plot'}, VectorError),
    'words': ({'query': ['a', 'b', 'c', 'd'], 'search_field': 'plot'}, VectorError),
}


class FindingContract(FilmContract):
    """
    What is found, in which order.

    Attributes:
        sees_past_equal_vectors: Whether a search that is not exact finds what is beside a crowd of equal vectors.
    """

    sees_past_equal_vectors = True

    # -- find() ----------------------------------------------------------------------------------

    @EXACT
    @FIELDS
    @pytest.mark.parametrize('limit', [0, 1, 5, 1000])
    def test_find_returns_the_nearest_first(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str, limit: int, exact: bool
    ) -> None:
        """
        The `limit` nearest come back as they were stored, nearest first, with their distances.

        Only documents that have the vector count; there may be fewer than `limit` of them.
        """
        query = a_vector(field)
        stored.check(index.find(query, field, limit, exact=exact), query, field, limit)

    @EXACT
    def test_find_in_an_empty_index(self, index: DocumentIndex[Film], exact: bool) -> None:
        """Where nothing is stored nothing is found."""
        docs, scores = index.find(a_vector('plot'), 'plot', exact=exact)
        assert len(docs) == 0
        assert scores.shape == (0,)

    def test_the_result_is_typed(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Documents come as a `DocList` of the schema, so that their columns can be read at once."""
        docs, _ = index.find(stored.docs['film 5'].plot, 'plot', limit=2)
        assert isinstance(docs, DocList)
        assert docs.doc_type is Film
        assert docs.title[0] == 'Title 5'

    @pytest.mark.parametrize(
        'query',
        [
            pytest.param(lambda film: film.plot, id='numpy'),
            pytest.param(lambda film: film.plot.astype(np.float64), id='float64'),
            pytest.param(lambda film: film.plot.tolist(), id='a list'),
            pytest.param(lambda film: tuple(film.plot.tolist()), id='a tuple'),
            pytest.param(lambda film: film, id='a document'),
            pytest.param(lambda film: Trailer(id='?', title='', plot=film.plot), id='of another class'),
            pytest.param(lambda film: {'plot': film.plot}, id='a dict'),
        ],
    )
    def test_a_query_is_a_vector_or_a_document(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], query: Callable[[Film], Any]
    ) -> None:
        """A query is any array of numbers, or a document or dict that has the field."""
        film = stored.docs['film 6']
        stored.check(index.find(query(film), 'plot', limit=4), film.plot, 'plot', 4)

    def test_a_nested_field_of_a_document_is_a_query(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """A document is compared by the vector that `outer__inner` names, wherever it is nested."""
        film = stored.docs['film 1']
        assert film.poster is not None
        stored.check(index.find(film, 'poster__look', limit=4), film.poster.look, 'poster__look', 4)

    def test_the_only_vector_field_need_not_be_named(self, open_index: OpenIndex) -> None:
        """`search_field` may be left out where there is one vector field."""
        with open_index(Note) as notes:
            notes.index([{'id': 'a', 'vector': [0, 0]}, {'id': 'b', 'vector': [3, 4]}])
            docs, scores = notes.find([0, 0])
        assert docs.id == ['a', 'b']
        assert scores.tolist() == [0, 25]

    @pytest.mark.parametrize('bad', _BAD_QUERIES.values(), ids=_BAD_QUERIES)
    def test_a_bad_query_is_refused(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], bad: tuple[dict[str, Any], type[DocIndexError]]
    ) -> None:
        """A query that makes no sense raises, also for a limit of 0 or an empty index."""
        arguments, error = bad
        call: dict[str, Any] = {'query': [0, 0, 0, 0], **arguments}
        with pytest.raises(error):
            index.find(**call)
        with pytest.raises(error):
            index.find(**{'limit': 0, **call})
        index.delete(list(stored.docs))
        with pytest.raises(error):
            index.find(**call)

    def test_an_unknown_search_field_is_told_the_known_ones(self, index: DocumentIndex[Film]) -> None:
        """The error for an unknown search field lists those that exist."""
        with pytest.raises(QueryError) as raised:
            index.find([0, 0, 0, 0], 'smell')
        assert all(field in str(raised.value) for field in ('smell', *SPACES))

    def test_zero_is_at_distance_one_from_everything(self, index: DocumentIndex[Film]) -> None:
        """A vector of zeros has cosine distance 1 to every vector, stored or asked for."""
        looks = {'zero': [0, 0, 0], 'one': [1, 0, 0], 'minus one': [-1, 0, 0]}
        index.index([a_film(id_, poster=Poster(look=np.array(look))) for id_, look in looks.items()])
        docs, scores = index.find([2, 0, 0], 'poster__look')
        assert docs.id == ['one', 'zero', 'minus one']
        assert scores.tolist() == pytest.approx([0, 1, 2])
        assert index.find([0, 0, 0], 'poster__look').scores.tolist() == pytest.approx([1, 1, 1])

    @pytest.mark.parametrize('size', [1e-38, 1e-20, 1e-3, 1e3, 1e20, 1e38])
    def test_cosine_does_not_depend_on_length(self, index: DocumentIndex[Film], size: float) -> None:
        """Very small and very large vectors have the cosine distance of their directions."""
        looks = np.array([[1, 2, 0], [2, 1, 0], [-1, 0, 1]])
        index.index(a_film(str(at), poster=Poster(look=look * size)) for at, look in enumerate(looks))
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index(a_film(str(at), poster=Poster(look=look)) for at, look in enumerate(looks))
        docs, scores = index.find([1, 2, 0], 'poster__look')
        assert dict(zip(docs.id, scores.tolist(), strict=True)) == pytest.approx(
            oracle.distances([1, 2, 0], 'poster__look'), abs=1e-6
        )

    def test_equal_vectors_are_all_found(self, index: DocumentIndex[Film]) -> None:
        """A thousand documents with one vector hide neither each other nor a document beside them."""
        crowd = [a_film(f'equal {at}', [1, 1, 1, 1]) for at in range(1000)]
        index.index([*crowd, a_film('beside', [2, 2, 2, 2])])
        assert len(index.find([1, 1, 1, 1], 'plot', limit=1000).documents) == 1000
        found = index.find([2, 2, 2, 2], 'plot', limit=1, exact=not self.sees_past_equal_vectors)
        assert found.documents.id == ['beside']

    # -- find_batched() --------------------------------------------------------------------------

    @EXACT
    @FIELDS
    def test_a_batch_is_answered_as_each_alone(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], field: str, exact: bool
    ) -> None:
        """`find_batched` gives for each row of an array what is nearest to it, in the order of the queries."""
        queries = np.stack([a_vector(field, seed) for seed in range(5)])
        docs, scores = index.find_batched(queries, field, limit=4, exact=exact)
        assert scores.shape == (5, 4)
        for query, found, found_scores in zip(queries, docs, scores, strict=True):
            stored.check(FindResult(found, found_scores), query, field, 4)

    def test_a_batch_of_documents(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Queries may be a list of what `find` takes, mixed, or a `DocList`."""
        film, other = stored.docs['film 0'], stored.docs['film 1']
        mixed = index.find_batched([film, other.plot, other.plot.tolist()], 'plot', limit=1)
        assert [docs[0].id for docs in mixed.documents] == ['film 0', 'film 1', 'film 1']
        listed = index.find_batched(DocList[Film]([film, other]), 'plot', limit=1)
        assert [docs[0].id for docs in listed.documents] == ['film 0', 'film 1']

    def test_a_batch_of_no_queries(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """No queries have no answers."""
        assert index.find_batched([], 'plot').documents == []

    def test_one_bad_query_refuses_the_batch(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A batch with one query of a wrong length raises."""
        with pytest.raises(DimensionError):
            index.find_batched([[0, 0, 0, 0], [0, 0]], 'plot')
