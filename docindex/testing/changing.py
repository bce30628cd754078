"""What `update` and `delete` promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..document import BaseDoc
from ..errors import DimensionError, DocumentError, DocumentNotFoundError, IdTypeError, QueryError, VectorError
from ..fields import Field
from ..index import DocumentIndex
from ..tensors import NdArray
from .contract import OpenIndex
from .exact import ExactIndex
from .films import Film, FilmContract, a_film, a_vector, films


class Named(BaseDoc):
    """A document whose fields have names that calls have for their parameters."""

    self: str
    docs: str
    columns: str
    call: str
    vector: NdArray = Field(dim=2)


class ChangingContract(FilmContract):
    """What becomes of documents that are there."""

    # -- update() --------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        'fields',
        [
            {'title': 'New', 'tags': ['x']},
            {'poster__url': 'new.png'},
            {'plot': np.array([5, 5, 5, 5], np.float32)},
            {'poster__look': np.array([0, 0, 1], np.float32), 'year': 2000},
            {'sound': None},
            {'poster': None},
        ],
        ids=lambda fields: ', '.join(fields),
    )
    def test_update_changes_some_fields(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], fields: dict[str, Any]
    ) -> None:
        """`update(id, field=value)` changes these fields, nested ones by flat name, and searches follow."""
        index.update('film 0', **fields)
        stored.update('film 0', **fields)
        stored.check_all(index)

    def test_update_changes_fields_of_many(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`update({id: {field: value}})` changes other fields in each document, vectors too, and searches follow."""
        changes: dict[str, dict[str, Any]] = {
            'film 2': {'title': 'New', 'year': 2001},
            'film 0': {'plot': np.ones(4, np.float32), 'tags': ['a', 'b']},
            'film 1': {'poster__url': 'other', 'sound': None},
            'film 3': {},
        }
        index.update({})
        index.update(changes)
        for id_, fields in changes.items():
            stored.update(id_, **fields)
        stored.check_all(index)

    def test_update_changes_no_vector_that_it_does_not_name(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film]
    ) -> None:
        """Other fields of many change in one call, and each document keeps its own vectors."""
        index.update({id_: {'title': f'{id_} again', 'year': 1999} for id_ in [*stored.docs]})
        for id_ in [*stored.docs]:
            stored.update(id_, title=f'{id_} again', year=1999)
        stored.check_all(index)

    @pytest.mark.parametrize(
        ('second', 'error', 'message'),
        [
            ({'nobody': {'title': 'x'}}, DocumentNotFoundError, 'nobody'),
            ({'film 1': {'smell': 'sweet'}}, QueryError, "'film 1': .*smell"),
            ({'film 1': {'id': 'film 99'}}, QueryError, "'film 1': .*id"),
            ({'film 1': {'year': 'soon'}}, DocumentError, "'film 1'.*year"),
            ({'film 1': {'plot': [1, 2]}}, DimensionError, 'film 1'),
            ({'film 3': {'poster__url': 'there is no poster'}}, DocumentError, 'poster'),
            ({7: {'title': 'x'}}, IdTypeError, '7'),
            ({'film 1': {7: 'x'}}, QueryError, "'film 1': .*7"),
            ({'film 1': None}, QueryError, "'film 1': expected a dict of the fields .* got NoneType"),
            ({'film 1': {'id': 'bad', 'plot': [1, 2, 3, 4]}}, QueryError, "'film 1': .*id"),
            ({'film 1': Film(id='film 1', plot=np.ones(4))}, QueryError, "'film 1': .* got Film"),
        ],
        ids=[
            'unknown id',
            'unknown field',
            'id',
            'wrong type',
            'length',
            'into None',
            'no id',
            'no name',
            'no changes',
            'a document as a dict',
            'a document',
        ],
    )
    def test_a_refused_update_of_many_changes_nothing(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], second: Any, error: type[Exception], message: str
    ) -> None:
        """If one document cannot be changed, none is, and the message names it."""
        with pytest.raises(error, match=message):
            index.update({'film 0': {'title': 'x'}, **second})
        stored.check_all(index)

    def test_a_field_may_have_the_name_of_a_parameter(self, open_index: OpenIndex) -> None:
        """Fields called `self`, `docs`, `columns` or `call` are stored as columns and updated by name like others."""

        async def use(index: DocumentIndex[Named]) -> None:
            await index.aindex_columns(id=['b'], self=['s'], docs=['d'], columns=['c'], call=['x'], vector=[[1, 2]])
            await index.aupdate('a', self='S', docs='D', columns='C', call='X')

        with open_index(Named) as index:
            index.index_columns(id=['a'], self=['s'], docs=['d'], columns=['c'], call=['x'], vector=[[1, 2]])
            asyncio.run(use(index))
            index.update('b', self='S', docs='D', columns='C', call='X')
            for doc in (index['a'], index['b']):
                assert [getattr(doc, name) for name in ('self', 'docs', 'columns', 'call')] == ['S', 'D', 'C', 'X']

    def test_changes_of_many_take_no_names(self, index: DocumentIndex[Film]) -> None:
        """Fields by name are for one document, and would be ambiguous here."""
        many: Any = {'film 0': {'title': 'x'}}
        with pytest.raises(QueryError, match="give the document's id"):
            index.update(many, title='x')

    @pytest.mark.parametrize(
        ('docs', 'position'),
        [
            ({'title': 'x', 'plot': [1, 1, 1, 1]}, 0),
            ([a_film('film 1', [1, 1, 1, 1]), {'title': 'x', 'plot': [1, 1, 1, 1]}], 1),
            (Film(title='x', plot=np.ones(4)), 0),
        ],
        ids=['a dictionary', 'one of two', 'a document'],
    )
    def test_update_needs_an_id(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], docs: Any, position: int
    ) -> None:
        """A document that was given no id replaces none; the error says where it stands, and how one field changes."""
        with pytest.raises(DocumentError, match=rf"document {position} has no id.*update\('the id', price=3\)"):
            index.update(docs)
        stored.check_all(index)

    def test_update_replaces_documents(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`update(docs)` replaces documents that exist."""
        changed = [a_film('film 1', [1, 1, 1, 1]), films()[2].model_copy(update={'title': 'New'})]
        index.update(changed)
        stored.index(changed)
        stored.check_all(index)

    @pytest.mark.parametrize(
        ('call', 'error'),
        [
            (lambda index: index.update('nobody', title='x'), DocumentNotFoundError),
            (lambda index: index.update([*films(2), a_film('nobody')]), DocumentNotFoundError),
            (lambda index: index.update('film 0', title='x', smell='sweet'), QueryError),
            (lambda index: index.update('film 0', title='x', id='film 99'), QueryError),
            (lambda index: index.update('film 0', title='x', year='soon'), DocumentError),
            (lambda index: index.update('film 0', title='x', plot=[1, 2]), DimensionError),
            (lambda index: index.update('film 0', title='x', plot=[0, 0, 0, float('inf')]), VectorError),
            (lambda index: index.update('film 3', title='x', poster__url='there is no poster'), DocumentError),
        ],
        ids=['unknown id', 'one unknown id', 'unknown field', 'id', 'wrong type', 'length', 'infinity', 'into None'],
    )
    def test_a_refused_update_changes_nothing(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], call: Callable[[Any], None], error: type[Exception]
    ) -> None:
        """An update of what is not there, or to what does not fit, raises and has changed nothing."""
        with pytest.raises(error):
            call(index)
        stored.check_all(index)

    # -- delete(), del -------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ('ids', 'count'),
        [('film 1', 1), (['film 1', 'nobody', 'film 2', 'film 1'], 2), ('nobody', 0), ([], 0), (('film 3',), 1)],
        ids=str,
    )
    def test_delete_counts_and_passes_over_unknown_ids(
        self, index: DocumentIndex[Film], stored: ExactIndex[Film], ids: Any, count: int
    ) -> None:
        """`delete` removes those that exist from reads and searches, and returns how many they were."""
        assert index.delete(ids) == count
        assert stored.delete([ids] if isinstance(ids, str) else ids) == count
        stored.check_all(index)

    def test_delete_takes_an_iterator(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """All documents can be deleted with `delete(index)`, and stored again afterwards."""
        assert index.delete(index) == 12
        assert len(index) == 0
        assert len(index.find(a_vector('plot'), 'plot').documents) == 0
        index.index(films())
        stored.check_all(index)

    @pytest.mark.parametrize('key', ['film 4', ['film 4', 'film 5'], ('film 0', 'film 11')], ids=str)
    def test_del(self, index: DocumentIndex[Film], stored: ExactIndex[Film], key: Any) -> None:
        """`del index[id]`, `del index[ids]` and `del index[a, b]` delete."""
        del index[key]
        stored.delete([key] if isinstance(key, str) else key)
        stored.check_all(index)

    def test_del_of_an_unknown_id_deletes_nothing(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """`del` with unknown ids among known ones names all the unknown ones and deletes none."""
        with pytest.raises(DocumentNotFoundError) as raised:
            del index['film 0', 'nobody', 'film 1', 'no one']
        assert raised.value.ids == ['nobody', 'no one']
        assert isinstance(raised.value, KeyError)
        stored.check_all(index)

    def test_a_deleted_id_can_be_used_again(self, index: DocumentIndex[Film], stored: ExactIndex[Film]) -> None:
        """A document stored after its deletion is found by its new vectors, and not by the old ones."""
        del index['film 0']
        again = a_film('film 0', [3, 3, 3, 3])
        index.index(again)
        stored.index([again])
        stored.check_all(index)
