"""
What the oldest server can do: one vector field, no full text, nothing that may be missing.

Run on the server that `MILVUS_URI` names; `python -m tests.milvus_server` starts one. Otherwise on Milvus Lite that is
told to call itself Milvus 2.3, where the expressions and calls for such a server are tried.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, DocList, Field, NdArray
from docindex.milvus.index import MilvusDocumentIndex
from docindex.testing import ExactIndex
from tests.milvus.servers import drop_all, guarded_server, server_of_environment


class Scene(BaseDoc):
    words: str
    at: int


class Film(BaseDoc):
    title: str
    year: int
    is_new: bool
    tags: list[str]
    meta: dict[str, Any]
    price: float = Field(default=0, index=False)
    plot: NdArray = Field(dim=3, space='cosine')
    scenes: DocList[Scene]


TITLES = ['Metropolis', "it's", '100 %', 'a"b', 'back\\slash', 'two\nlines', '日本語🎬', 'x_y', '', 'xay']
FILTERS: list[Any] = [
    {'year': 1903},
    {'year': {'$lt': 1904, '$gte': 1901}},
    {'year': {'$in': [1901, 1907, 2000]}},
    {'$not': {'year': {'$nin': [1901, 1907]}}},
    {'$or': [{'is_new': True}, {'title': 'Metropolis'}]},
    *({'title': title} for title in TITLES),
    {'title': {'$startswith': 'x'}},
    {'title': {'$startswith': 'x_'}},
    {'title': {'$contains': '%'}},
    {'title': {'$contains': 'a'}},
    {'$not': {'title': {'$contains': 'a'}}},
    {'title': {'$regex': 'x.y'}},
    {'tags': {'$contains': 'red'}},
    {'$not': {'tags': {'$contains': 'red'}}},
    {'tags__0': 'red'},
    {'meta__at': {'$gt': 4}},
    {'meta__at': 4.0},
    {'meta__名': {'$contains': '本'}},
    {'meta__名': {'$exists': True}},
    {'meta__deep__x': None},
    {'price': {'$lt': 3}},
    {'scenes': {'$size': 2}},
    {'id': {'$in': ['film 1', "it's", 'film 4']}},
]


def films(count: int = 10) -> list[Film]:
    random = np.random.default_rng(5)
    return [
        Film(
            id=f'film {at}',
            title=TITLES[at % len(TITLES)],
            year=1900 + at,
            is_new=at % 2 == 0,
            tags=['red', 'blue'][: at % 3],
            meta={'at': at, **({'名': '日本'} if at % 4 == 0 else {}), 'deep': {'x': at}},
            price=at,
            plot=random.standard_normal(3).astype(np.float32),
            scenes=[Scene(id=f'{at}/{scene}', words=f'scene {scene}', at=scene) for scene in range(at % 3)],
        )
        for at in range(count)
    ]


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    given = server_of_environment()
    if given is not None:
        yield given
        return
    with guarded_server(tmp_path_factory.mktemp('old'), version='v2.3.5') as server:
        yield {'uri': server.uri}


@pytest.fixture
def named(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name = f'old_{uuid.uuid4().hex}'
    yield {**options, 'index_name': name}
    drop_all(options, name)


@pytest.fixture(scope='module')
def filled(options: dict[str, Any]) -> Iterator[tuple[MilvusDocumentIndex[Film], ExactIndex[Film]]]:
    name = f'old_{uuid.uuid4().hex}'
    index, exact = MilvusDocumentIndex[Film](**options, index_name=name), ExactIndex[Film]({'plot': 'cosine'})
    for some in (films(), films()[3:6]):
        index.index(some)
        exact.index(some)
    yield index, exact
    index.close()
    drop_all(options, name)


@pytest.mark.parametrize('filter_query', FILTERS, ids=str)
def test_filters(filled: tuple[MilvusDocumentIndex[Film], ExactIndex[Film]], filter_query: Any) -> None:
    """Filters, counts and filtered searches are those of the reference."""
    index, exact = filled
    matching = exact.matching(filter_query)
    assert set(index.filter(filter_query, limit=None).id) == set(matching.docs)
    assert index.count(filter_query) == len(matching.docs)
    query = [1, 2, 3]
    matching.check(index.find(query, limit=3, filter=filter_query), query, 'plot', 3)


def test_documents(filled: tuple[MilvusDocumentIndex[Film], ExactIndex[Film]]) -> None:
    """Each document comes back as it was, is there once, and is found by its vector."""
    index, exact = filled
    exact.check_all(index)
    assert len(index) == 10
    assert index.verify().is_sound


def test_replacing_and_deleting(named: dict[str, Any]) -> None:
    """A document that is indexed again is replaced, one that was deleted is gone at once, with its scenes."""
    with MilvusDocumentIndex[Film](**named) as index:
        index.index(films())
        index.index([film.model_copy(update={'title': 'new', 'scenes': film.scenes[:1]}) for film in films()[:4]])
        assert (len(index), index.count({'title': 'new'})) == (10, 4)
        assert index.delete(['film 0', 'film 2', 'nobody']) == 2
        assert len(index) == 8
        assert sorted(index) == [f'film {at}' for at in (1, 3, 4, 5, 6, 7, 8, 9)]
        assert [scene.id for scene in index['film 5'].scenes] == ['5/0', '5/1']
        assert 'film 2' not in index
        index.update('film 5', year=2000)
        assert index['film 5'].year == 2000
        assert sorted(index.subindex('scenes').filter({'at': 1}, limit=None).id) == ['5/1', '8/1']


def test_opening_again(named: dict[str, Any]) -> None:
    """What was stored is there for another client."""
    with MilvusDocumentIndex[Film](**named) as index:
        index.index(films())
    with MilvusDocumentIndex[Film](**{**named, 'consistency': 'Strong'}) as index:
        assert len(index) == 10
        assert index.find(films()[3].plot, limit=1).documents[0] == films()[3]
