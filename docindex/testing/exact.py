"""An index that is too simple to be wrong, and what it means that two documents are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from ..index import DocumentIndex
from ..parsing import parse
from ..results import FindResult
from ..schema import Schema

D = TypeVar('D', bound=BaseModel)
Float64Array = np.ndarray[Any, np.dtype[np.float64]]


class ExactIndex(Generic[D]):
    """
    What an index should hold and find: documents in a dict, compared one by one.

    Args:
        spaces: The vector fields by flat name, each with its space: `{'poster__look': 'cosine'}`.

    Attributes:
        docs: The documents by id.
    """

    def __init__(self, spaces: Mapping[str, str]) -> None:
        self.spaces = dict(spaces)
        self.docs: dict[str, D] = {}

    def copy(self) -> ExactIndex[D]:
        """Return another index with the same documents, which are never changed in place."""
        twin: ExactIndex[D] = ExactIndex(self.spaces)
        twin.docs = dict(self.docs)
        return twin

    def index(self, docs: Iterable[D]) -> None:
        """Insert documents, or put them in the place of those with their ids."""
        for doc in docs:
            self.docs[str(getattr(doc, 'id'))] = doc.model_copy(deep=True)  # noqa: B009 (D is any model with an id)

    def update(self, id_: str, /, **fields: Any) -> None:
        """Change fields of one document, by flat name."""
        changed = self.docs[id_].model_copy(deep=True)
        for name, value in fields.items():
            *outer, last = name.split('__')
            target: Any = changed
            for step in outer:
                target = getattr(target, step)
            setattr(target, last, value)
        self.docs[id_] = changed

    def delete(self, ids: Iterable[str]) -> int:
        """Forget documents; return how many there were."""
        return sum(self.docs.pop(id_, None) is not None for id_ in dict.fromkeys(ids))

    def matching(self, filter_query: Any) -> ExactIndex[D]:
        """Return another index with the documents that match a filter only, as `Filter.matches` says."""
        twin = self.copy()
        if self.docs:
            condition = parse(Schema(type(next(iter(self.docs.values())))), filter_query)
            twin.docs = {id_: doc for id_, doc in self.docs.items() if condition.matches(doc)}
        return twin

    def vector(self, id_: str, search_field: str) -> Float64Array | None:
        """Return a document's vector as the float32 numbers it is compared by, in float64; or None."""
        value: Any = self.docs[id_]
        for step in search_field.split('__'):
            value = None if value is None else getattr(value, step)
        return None if value is None else np.asarray(value, np.float32).astype(np.float64)

    def distances(self, query: Any, search_field: str) -> dict[str, float]:
        """Return the distance of every document that has a vector in the field, nearest first."""
        found = {id_: vector for id_ in self.docs if (vector := self.vector(id_, search_field)) is not None}
        if not found:
            return {}
        exact = np.asarray(query, np.float32).astype(np.float64)
        unsorted = distances(exact, np.stack(list(found.values())), self.spaces[search_field])
        order = np.argsort(unsorted, kind='stable').tolist()
        ids = list(found)
        return {ids[at]: float(unsorted[at]) for at in order}

    def check(self, found: FindResult[D], query: Any, search_field: str, limit: int) -> None:
        """
        Assert that `found` is a right answer: the nearest documents as they were stored, with their distances.

        Documents at one distance may come in any order, and scores may differ as float32 rounds.
        """
        expected = self.distances(query, search_field)
        ids = [str(getattr(doc, 'id')) for doc in found.documents]  # noqa: B009
        scores = np.asarray(found.scores)
        assert scores.dtype == np.float32
        assert scores.shape == (len(ids),)
        assert len(ids) == min(limit, len(expected)), f'{len(ids)} documents, not {min(limit, len(expected))}'
        assert len(set(ids)) == len(ids), f'a document was found twice: {ids}'
        assert (np.diff(scores) >= 0).all(), f'scores do not ascend: {scores}'
        tolerance = self._tolerance(query, search_field)
        for doc, id_, score, nearest in zip(found.documents, ids, scores, expected.values(), strict=False):
            assert id_ in self.docs, f'{id_!r} was found and does not exist'
            assert same(doc, self.docs[id_]), f'{doc!r} was found; stored was {self.docs[id_]!r}'
            own = expected[id_]
            assert abs(score - own) <= tolerance(own), f'{id_!r} has score {score}; it is at distance {own}'
            assert abs(score - nearest) <= tolerance(nearest), f'found {id_!r} at {score}, and missed one at {nearest}'

    def check_all(self, index: DocumentIndex[D]) -> None:
        """Assert that `index` holds exactly these documents, and that each is found by each of its own vectors."""
        assert set(index) == set(self.docs)
        assert len(index) == len(self.docs)
        for id_, doc in self.docs.items():
            assert same(index[id_], doc), f'{index[id_]!r} is stored; should be {doc!r}'
        for field in self.spaces:
            for id_ in self.docs:
                vector = self.vector(id_, field)
                if vector is not None:
                    self.check(index.find(vector, field, limit=5), vector, field, limit=5)
                    self.check(index.find(vector, field, limit=5, exact=True), vector, field, limit=5)

    def _tolerance(self, query: Any, search_field: str) -> Callable[[float], float]:
        """Return by how much a float32 score near a distance may be off: the size of what was added up, rounded."""
        if self.spaces[search_field] == 'l2':  # no terms cancel
            return lambda own: 1e-5 * own + 1e-30
        if self.spaces[search_field] == 'cosine':
            return lambda own: 1e-5
        vectors = [self.vector(id_, search_field) for id_ in self.docs]
        longest = max((float(np.linalg.norm(vector)) for vector in vectors if vector is not None), default=0)
        length = float(np.linalg.norm(np.asarray(query, np.float64)))
        return lambda own: 1e-6 * (1 + length * longest)


def distances(query: Float64Array, vectors: Float64Array, space: str) -> Float64Array:
    """Return the distances of a query (dim,) to vectors (n, dim) in float64, as `docindex.results` defines them."""
    if space == 'l2':
        return np.asarray(((vectors - query) ** 2).sum(axis=1))
    products = (vectors * query).sum(axis=1)
    if space == 'ip':
        return np.asarray(1 - products)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return np.asarray(1 - products / np.where(lengths > 0, lengths, 1))


def same(left: BaseModel, right: BaseModel) -> bool:
    """Return whether two documents hold the same: types, dtypes and, bit by bit, tensors."""
    if left.__class__ is not right.__class__:  # type() would see that one is not made yet
        return False
    return all(_same_value(getattr(left, name), getattr(right, name)) for name in type(left).model_fields)


def _same_value(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, BaseModel) and isinstance(right, BaseModel):
        return same(left, right)
    return type(left) is type(right) and bool(left == right)
