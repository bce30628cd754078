"""The documents on which the promises are tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from ..document import BaseDoc
from ..fields import Field
from ..index import DocumentIndex
from ..tensors import NdArray
from .contract import Contract, OpenIndex
from .exact import ExactIndex


class Poster(BaseDoc):
    """A document inside another."""

    url: str = 'poster.png'
    look: NdArray = Field(dim=3, space='cosine')


class Film(BaseDoc):
    """One vector in each space: required, optional, and nested in something optional."""

    title: str = ''
    year: int = 1895
    tags: list[str] = Field(default_factory=list)
    plot: NdArray = Field(dim=4, space='l2')
    sound: NdArray | None = Field(default=None, dim=2, space='ip')
    poster: Poster | None = None


class Trailer(BaseModel):
    """Not a `Film`, but with the fields of one."""

    id: str
    title: str
    plot: Any
    seconds: int = 90


SPACES = {'plot': 'l2', 'sound': 'ip', 'poster__look': 'cosine'}
_DIMS = {'plot': 4, 'sound': 2, 'poster__look': 3}
FIELDS = pytest.mark.parametrize('field', list(SPACES))
EXACT = pytest.mark.parametrize('exact', [False, True], ids=['approximate', 'exact'])


def films(count: int = 12, seed: int = 7) -> list[Film]:
    """Return films with random vectors; every third is silent, every fourth has no poster."""
    random = np.random.default_rng(seed)

    def vector(dim: int) -> Any:
        return random.standard_normal(dim).astype(np.float32)

    return [
        Film(
            id=f'film {at}',
            title=f'Title {at}',
            year=1900 + at,
            tags=['a', 'b'][: at % 3],
            plot=vector(4),
            sound=None if at % 3 == 2 else vector(2),
            poster=None if at % 4 == 3 else Poster(id=f'poster {at}', url=f'{at}.png', look=vector(3)),
        )
        for at in range(count)
    ]


def a_film(id_: str, plot: Sequence[float] = (0, 0, 0, 0), **fields: Any) -> Film:
    """Return a film with a plot."""
    return Film(id=id_, plot=np.array(plot, np.float32), **fields)


def a_vector(field: str, seed: int = 1) -> Any:
    """Return a random query for a field of `Film`."""
    return np.random.default_rng(seed).standard_normal(_DIMS[field]).astype(np.float32)


class FilmContract(Contract):
    """Promises about films."""

    @pytest.fixture
    def index(self, open_index: OpenIndex) -> Iterator[DocumentIndex[Film]]:
        """Give an open, empty index of films."""
        with open_index(Film) as index:
            yield index

    @pytest.fixture
    def stored(self, index: DocumentIndex[Film]) -> ExactIndex[Film]:
        """Fill the index with films, and give the reference that holds the same."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        oracle.index(films())
        index.index(films())
        return oracle
