"""What is read back by id, and what opening and closing promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ..errors import ClosedIndexError, DocumentNotFoundError, IdTypeError, QueryError, SettingsError
from ..index import DocumentIndex
from .contract import OpenIndex
from .exact import ExactIndex, same
from .films import SPACES, Film, FilmContract, a_film, films

_USES: dict[str, Callable[[DocumentIndex[Any]], object]] = {
    'index': lambda index: index.index(films(1)),
    'index nothing': lambda index: index.index([]),
    'update': lambda index: index.update('film 0', year=1),
    'delete': lambda index: index.delete('film 0'),
    'delete nothing': lambda index: index.delete([]),
    'find': lambda index: index.find([0, 0, 0, 0], 'plot'),
    'find_batched': lambda index: index.find_batched([[0, 0, 0, 0]], 'plot'),
    'find with a filter': lambda index: index.find([0, 0, 0, 0], 'plot', filter={'year': 1}),
    'filter': lambda index: index.filter({'year': 1}),
    'filter_batched': lambda index: index.filter_batched([{'year': 1}]),
    'count': lambda index: index.count({'year': 1}),
    'count all': lambda index: index.count(),
    'execute_query': lambda index: index.execute_query(index.build_query().limit(1).build()),
    'explain': lambda index: index.explain([0, 0, 0, 0], 'plot'),
    'plot': lambda index: index.plot('plot'),
    'afilter': lambda index: asyncio.run(index.afilter({'year': 1})),
    'acount': lambda index: asyncio.run(index.acount()),
    'aexecute_query': lambda index: asyncio.run(index.aexecute_query(index.build_query().build())),
    'get': lambda index: index.get('film 0'),
    'get nothing': lambda index: index.get([]),
    'index[...]': lambda index: index['film 0'],
    'del': lambda index: index.__delitem__('film 0'),
    'in': lambda index: 'film 0' in index,
    'iter': lambda index: list(index),
    'len': len,
    'configure': lambda index: index.configure(ef=50),
    'index_columns': lambda index: index.index_columns(id=['x'], plot=[[0, 0, 0, 0]]),
    'aindex_columns': lambda index: asyncio.run(index.aindex_columns(id=['x'], plot=[[0, 0, 0, 0]])),
}


class KeepingContract(FilmContract):
    """What is there, and stays there."""

    # -- get(), [], in, len, iter ------------------------------------------------------------------

    def test_get(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`get` returns the document with an id, None for an unknown one, and of several those that exist, in order."""
        one = index.get('film 3')
        assert one is not None
        assert same(one, stored.docs['film 3'])
        assert index.get('nobody') is None
        assert index.get(['film 5', 'nobody', 'film 2', 'film 5']).id == ['film 5', 'film 2', 'film 5']
        assert index.get(iter(['film 1'])).id == ['film 1']
        assert index.get([]).id == []

    def test_getitem(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`index[id]` is a document, `index[ids]` a `DocList` in that order."""
        assert same(index['film 3'], stored.docs['film 3'])
        assert index[['film 5', 'film 2']].id == ['film 5', 'film 2']
        assert index['film 5', 'film 2'].doc_type is Film

    def test_getitem_names_all_that_are_missing(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`index[...]` with unknown ids raises a KeyError that names each of them."""
        with pytest.raises(DocumentNotFoundError) as raised:
            index[['film 0', 'nobody', 'no one']]
        assert raised.value.ids == ['nobody', 'no one']
        assert isinstance(raised.value, KeyError)
        assert 'nobody' in str(raised.value)

    @pytest.mark.parametrize('key', [7, None, ['film 0', 7], b'film 0'], ids=repr)
    def test_an_id_is_a_string(self, index: DocumentIndex[Film], stored: ExactIndex[Film], key: Any) -> None:
        """Anything but a string where an id belongs is an `IdTypeError`, which is a TypeError; nothing is deleted."""
        for call in (index.get, index.delete, index.__getitem__, index.__delitem__):
            with pytest.raises(IdTypeError) as raised:
                call(key)
            assert isinstance(raised.value, TypeError)
        stored.check_all(index)

    def test_an_impossible_id_is_not_there(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A string that can be no document's id, empty or no valid Unicode, is an unknown id like another."""
        for id_ in ('', 'half \ud800'):
            assert id_ not in index
            assert index.get(id_) is None
            assert index.delete([id_, 'nobody']) == 0
            with pytest.raises(DocumentNotFoundError):
                index[id_]

    def test_in(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`in` takes an id or a document, of which the id counts."""
        assert 'film 0' in index
        assert 'nobody' not in index
        assert a_film('film 0') in index
        assert a_film('film 99') not in index
        with pytest.raises(IdTypeError):
            index.__contains__(7)

    def test_len_and_iter(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`len`, `num_docs` and iteration agree; new documents come in the order in which they were stored."""
        assert list(index) == list(stored.docs)
        assert len(index) == index.num_docs() == 12

    def test_iterating_sees_one_moment(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """The ids are those of the moment at which the iteration began, whatever is written meanwhile."""
        seen = []
        for id_ in index:
            seen.append(id_)
            index.delete(id_)
            index.index(a_film(f'after {id_}'))
        assert seen == list(stored.docs)

    # -- configure() -----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        'settings', [{'eff': 50}, {'ef': 0}, {'ef': 'many'}, {'M': 1}, {'space': 'manhattan'}, {'dim': 7}], ids=str
    )
    def test_configure_refuses_what_cannot_be(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], settings: dict[str, Any]
    ) -> None:
        """A setting that nobody knows, that is out of range or cannot be changed, is a `SettingsError`."""
        with pytest.raises(SettingsError) as raised:
            index.configure(**settings)
        assert next(iter(settings)) in str(raised.value)
        stored.check_all(index)

    def test_configure_keeps_what_is_stored(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """Settings of all fields, or of one, can be changed while documents are stored."""
        index.configure(ef=200)
        index.configure(ef=50, search_field='plot')
        stored.check_all(index)

    def test_settings_say_what_distance_means(self, index: DocumentIndex[Film]) -> None:
        """`settings` has the space and the length of each vector field, and knows no others."""
        assert {name: index.settings(name)['space'] for name in SPACES} == SPACES
        assert index.settings('plot')['dim'] == 4
        with pytest.raises(QueryError):
            index.settings('title')

    # -- closing and reopening -------------------------------------------------------------------

    def test_reopening_finds_everything(self, open_index: OpenIndex) -> None:
        """What was written, updated and deleted before closing is so after reopening, by id and by search."""
        oracle: ExactIndex[Film] = ExactIndex(SPACES)
        with open_index(Film) as index:
            for store in (index, oracle):
                store.index(films())
                store.update('film 0', plot=np.zeros(4, np.float32))
                store.update('film 1', title='New')
                store.delete(['film 2', 'film 3'])
        with open_index(Film) as index:
            oracle.check_all(index)
            for store in (index, oracle):
                store.index(films(3, seed=8))
                store.delete(['film 4'])
        with open_index(Film) as index:
            oracle.check_all(index)

    def test_closing_twice_is_fine(self, open_index: OpenIndex) -> None:
        """A closed index can be closed again."""
        index = open_index(Film)
        index.close()
        index.close()

    @pytest.mark.parametrize('use', _USES.values(), ids=_USES)
    def test_a_closed_index_refuses_use(
        self, open_index: OpenIndex, use: Callable[[DocumentIndex[Any]], object]
    ) -> None:
        """Any use after closing is a `ClosedIndexError`, which is a RuntimeError."""
        with open_index(Film) as index:
            index.index(films(1))
        with pytest.raises(ClosedIndexError) as raised:
            use(index)
        assert isinstance(raised.value, RuntimeError)

    def test_an_index_closed_during_a_call_refuses_it(self, open_index: OpenIndex) -> None:
        """Documents that come from an iterator are refused when the index was closed before it ended."""
        index = open_index(Film)

        def closing() -> Iterator[Film]:
            yield from films(1)
            index.close()

        with pytest.raises(ClosedIndexError):
            index.index(closing())
        with open_index(Film) as index:
            assert len(index) == 0

    def test_an_error_inside_with_comes_through(self, open_index: OpenIndex) -> None:
        """`with` closes the index when its body raises, lets the error through, and keeps what was written."""

        def store_and_fail() -> None:
            with open_index(Film) as index:
                index.index(films(2))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store_and_fail()
        with open_index(Film) as index:
            assert len(index) == 2
