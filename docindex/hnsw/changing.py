"""What can be done to the documents of one level that exist: change them, replace them, delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..changes import Changes, changed, changes_of, naming_what_has_no_id, touches
from ..distances import Labels
from ..errors import DocumentNotFoundError
from ..filling import Made
from ..incoming import Given, last_of_each
from ..refusals import check_known
from ..searchable import ids_of
from .reading import Reading
from .state import View
from .store import Store
from .transaction import Lists, Part, TakenIdError

D = TypeVar('D', bound=BaseModel)


class _Staying(Enum):
    """What of documents an update leaves alone, so that it need not be read."""

    NOTHING = 'a list changes, or somebody may look at all of a document'
    LISTS = 'a vector changes, or is made of a text'
    LISTS_AND_VECTORS = 'other fields change'


class Changing(Reading[D]):
    """Changes documents of one level in a store."""

    @overload
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    def update(self, docs: Mapping[str, Mapping[str, Any]], /) -> None: ...
    @overload
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of documents, or replace documents that exist; see `DocumentIndex.update`."""
        store = self._usable()
        check_known(self._level.schema.doc_type)
        changes = changes_of(docs, fields, self._level.schema.doc_type)
        store.check_writable()
        if changes is not None:
            made = self._made(store, changes)
            with store.updating():
                self._change(store, changes, made)
            return
        # Before any lock, for the user's iterators and properties run here.
        replaced = self._level.schema.documents(docs)
        with store.updating(), naming_what_has_no_id(replaced):
            given = last_of_each(replaced)
            self._put_whole(store, self._placed(given, self._labels_of([one.doc.id for one in given])))

    def _made(self, store: Store, changes: Changes) -> Made:
        """
        Return the vectors of the texts that an update brings, made before any lock.

        If somebody else changes a document in the meantime, those that it needs then are made in the update.
        """
        made: Made = {}
        if self._level.schema.makes_vectors:
            _, current = self._current(store, [*changes], self._staying(changes))
            changed(self._level, current, changes, {}, made)
        return made

    def _staying(self, changes: Changes) -> _Staying:
        """Return what of the documents nobody asks for, the user's code included."""
        documents, schema = self._documents, self._level.schema
        if not documents.is_plain or touches(changes, schema.lists):
            return _Staying.NOTHING
        if schema.makes_vectors or touches(changes, documents.dims):
            return _Staying.LISTS
        return _Staying.LISTS_AND_VECTORS

    def _current(self, store: Store, ids: Sequence[str], staying: _Staying) -> tuple[dict[str, int], list[Any]]:
        """Return the labels of documents and, at the same moment, these, with empty lists and zeros for what stays."""
        loads: dict[_Staying, Callable[[View, Labels, Path], list[Any]]] = {
            _Staying.NOTHING: partial(self._tree.load, name=self._level.name),
            _Staying.LISTS: self._documents.load,
            _Staying.LISTS_AND_VECTORS: self._documents.without_vectors,
        }
        with store.reading() as view:
            labels = self._labels_in(view, ids)
            docs = loads[staying](view, np.array([*labels.values()], np.int64), store.path)
        self._check_ids([*labels], docs)
        return labels, docs

    def _change(self, store: Store, changes: Changes, made: Made) -> None:
        """Change some fields of documents; what stays is neither read nor stored."""
        staying, documents = self._staying(changes), self._documents
        labels, current = self._current(store, [*changes], staying)
        given = self._placed(last_of_each(changed(self._level, current, changes, store.state.embeddings, made)), labels)
        if staying is _Staying.NOTHING:
            self._put_whole(store, given)
            return
        settings = {name: store.settings[self._level.flat(name)] for name in documents.dims}
        rows, vectors = documents.prepared(given, settings, are_vectors_kept=staying is _Staying.LISTS_AND_VECTORS)
        if documents.lists:
            with store.reading() as view:
                children = view.rows.child_counts([*labels.values()])
            rows = [row._replace(children=children[labels[row.id]]) for row in rows]
        flat = {self._level.flat(name): one for name, one in vectors.items()}
        if rows:
            self._put(store, [Part(store.state.fields.number(self._level.name), rows, flat)], Lists.KEPT)

    def _placed(self, given: Sequence[Given], labels: Mapping[str, int]) -> Sequence[Given]:
        """Return documents that exist, by their labels, with their places in lists."""
        if self._level.outer is None:
            return given
        with self._usable().reading() as view:
            places = view.rows.places([*labels.values()])
        each = ((one, places[labels[one.doc.id]]) for one in given)
        return [one._replace(parent=place.parent, position=place.position) for one, place in each]

    def _put_whole(self, store: Store, given: Sequence[Given]) -> None:
        """Store documents with those in their lists."""
        if given:
            self._put(store, self._tree.parts_of(self._level.name, given, store.state.fields, store.settings))

    def _put(
        self,
        store: Store,
        parts: Iterable[Part],
        lists: Lists = Lists.REPLACED,
        show_progress: bool | None = False,
    ) -> None:
        try:
            store.put(parts, show_progress, lists)
        except TakenIdError as error:
            with store.reading() as view:
                raise self._tree.taken(error, view, store.path) from None

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""
        store, wanted = self._usable(), ids_of(ids)
        with store.updating():
            with store.reading() as view:
                labels = view.rows.labels_of(wanted, self._number(view))
            self._remove(store, labels)
            return len(labels)

    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        store, wanted = self._usable(), ids_of(key)
        with store.updating():
            self._remove(store, self._labels_of(wanted))

    def _remove(self, store: Store, labels: dict[str, int]) -> None:
        if labels:
            store.remove(list(labels.values()), store.state.fields.number(self._level.name))

    def _labels_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the labels of all these ids, in their order, or raise for those that are missing."""
        with self._usable().reading() as view:
            return self._labels_in(view, ids)

    def _labels_in(self, view: View, ids: Sequence[str]) -> dict[str, int]:
        labels = view.rows.labels_of(ids, self._number(view))
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in labels]
        if missing:
            raise DocumentNotFoundError(missing)
        return {id_: labels[id_] for id_ in ids}
