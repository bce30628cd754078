"""`SubIndex`: the documents in the lists of others, as an index of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from .._aio import OneByOne
from ..doclist import DocList
from ..errors import DocumentNotFoundError
from ..filters import Filter, FilterLike
from ..incoming import Given, unlike
from ..parsing import parse
from ..query import Query
from ..refusals import check_known
from ..results import SubindexFindResult
from ..schema import Level
from ..searchable import ids_of
from ..sublists import InLists
from .changing import Changing
from .store import Store
from .transaction import TakenIdError

D = TypeVar('D', bound=BaseModel)


class SubIndex(Changing[D], InLists[D]):
    """
    The documents in one list of those of an index, in all of them: `index.subindex('chunks')`.

    They are found, filtered, read, changed and deleted by their own fields and ids, and `append` adds some; the
    documents that they are in have them as they are here. It is open as long as the index is.
    """

    def __init__(self, index: Changing[Any], level: Level, writes: OneByOne) -> None:
        self._index = index
        self._tree = index._tree
        self._level = level
        self._writes = writes  # those of the index: its async calls write one after another

    def _usable(self) -> Store:
        return self._index._usable()

    # -- writing ---------------------------------------------------------------------------------

    def append(self, parent_id: str, docs: object) -> None:
        """Add documents at the end of a list; see `InLists.append`."""
        store = self._usable()
        store.check_writable()
        check_known(self._level.schema.doc_type)
        new = self._level.schema.documents(docs)
        column, outer = self._level.list_column, self._level.outer or ''
        with store.updating():
            fields = store.state.fields
            number, above = fields.number(self._level.name), fields.number(outer)
            with store.reading() as view:
                labels = view.rows.labels_of(ids_of(parent_id), above)
                if parent_id not in labels:
                    raise DocumentNotFoundError([parent_id])
                first = view.rows.last_position(number, parent_id) + 1
            if self._is_none(parent_id):
                self._outer.update(parent_id, **{column.name: new})
                return
            trail = (f'{outer or self._tree.root.schema.name} {parent_id!r}',)
            given = [Given(doc, parent_id, first + at, (trail, column.name, first + at)) for at, doc in enumerate(new)]
            if not given:
                return
            parts = self._tree.parts_of(self._level.name, list(unlike(given)), fields, store.settings)
            try:
                store.extend(parts, above, {labels[parent_id]: len(given)})
            except TakenIdError as error:
                with store.reading() as view:
                    raise self._tree.taken(error, view, store.path) from None

    @property
    def _outer(self) -> Changing[Any]:
        """The documents in whose lists these are."""
        if not self._level.outer:
            return self._index
        return SubIndex(self._index, self._tree.schema.levels[self._level.outer], self._writes)

    def _is_none(self, parent_id: str) -> bool:
        """Return whether a document has None in the place of this list."""
        column = self._level.list_column
        return column.is_optional and column.value(self._outer[parent_id]) is None

    # -- reading ---------------------------------------------------------------------------------

    def roots(self, ids: str | Iterable[str]) -> DocList[Any]:
        """Return for each of these documents the indexed one that it belongs to; see `InLists.roots`."""
        store, wanted = self._usable(), ids_of(ids)
        with store.reading() as view:
            number = self._number(view)
            labels = view.rows.labels_of(wanted, number)
            missing = [id_ for id_ in dict.fromkeys(wanted) if id_ not in labels]
            if missing:
                raise DocumentNotFoundError(missing)
            own = np.array([labels[id_] for id_ in wanted], np.int64)
            outermost = self._tree.roots_of(view, own, number, store.path)
            found = self._tree.later(view, outermost, store.path)
        return self._doclist([found[label] for label in outermost.tolist()], self._tree.root)

    def with_roots(self, query: Query, root_filter: FilterLike) -> SubindexFindResult[Any]:
        """Answer a query about documents in outermost ones that match, with these."""
        store, query = self._usable(), self._in_vectors(query)
        condition: Filter = parse(self._tree.root.schema, root_filter)
        with self._reading_for(query) as view:
            found = self._answer(view, query, condition)
            labels = self._tree.roots_of(view, found.labels, found.searching.level, store.path)
            roots = self._tree.later(view, labels, store.path)
        documents = self._doclist([roots[label] for label in labels.tolist()], self._tree.root)
        return SubindexFindResult(documents, *found.result)

    def filtered(self, query: Query, root_filter: FilterLike) -> DocList[Any]:
        """Return the documents that a query finds in outermost ones that match."""
        condition: Filter = parse(self._tree.root.schema, root_filter)
        query = self._in_vectors(query)
        with self._reading_for(query) as view:
            return self._answer(view, query, condition).result.documents

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self._level.name!r} of {self._index!r}>'
