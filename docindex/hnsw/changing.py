"""What can be done to the documents of one level that exist: change them, replace them, delete them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..errors import DocumentNotFoundError, QueryError
from ..filling import Made, check_texts
from ..incoming import Given, last_of_each
from ..schema import check_known
from ..searchable import ids_of
from .reading import Reading
from .store import Store
from .transaction import Lists, Part, TakenIdError

D = TypeVar('D', bound=BaseModel)


class Changing(Reading[D]):
    """Changes documents of one level in a store."""

    @overload
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of one document, or replace documents that exist; see `DocumentIndex.update`."""
        store = self._usable()
        check_known(self._level.schema.doc_type)
        if not isinstance(docs, str) and fields:
            raise QueryError("to change some fields, give the document's id: update('the id', price=3)")
        store.check_writable()
        if isinstance(docs, str):
            made = self._made(store, docs, fields)
            with store.updating():
                check_texts(self._level, store.state.embeddings, fields)
                self._change(store, docs, fields, made)
            return
        # Before any lock, for the user's iterators and properties run here.
        replaced = self._level.schema.documents(docs)
        with store.updating():
            given = self._given(replaced)
            if given:
                self._put(store, self._tree.parts_of(self._level.name, given, store.state.fields, store.settings))

    def _made(self, store: Store, id_: str, fields: Mapping[str, Any]) -> Made:
        """
        Return the vectors of the texts that an update brings, made before any lock.

        If somebody else changes the document in the meantime, those that it needs then are made in the update.
        """
        made: Made = {}
        if self._level.schema.makes_vectors:
            self._level.schema.changed(self._current(store, id_, self._is_partial(fields))[0], fields, made)
        return made

    def _is_partial(self, fields: Iterable[str]) -> bool:
        """Return whether a document can be changed without its lists: they stay, and nobody asks for them."""
        lists, documents = self._level.schema.lists, self._documents
        touched = any(name == one or name.startswith(f'{one}__') for name in lists for one in fields)
        return bool(documents.lists) and not touched and documents.is_plain

    def _current(self, store: Store, id_: str, partial: bool) -> tuple[Any, int]:
        """Return a document, if it is `partial` with empty lists, and how many documents are in its lists."""
        label = self._labels_of([id_])[id_]
        if not partial:
            return self[id_], 0
        with store.reading() as view:
            (doc,) = self._documents.load(view, np.array([label], np.int64), store.path)
            return doc, view.rows.child_counts([label])[label]

    def _change(self, store: Store, id_: str, fields: dict[str, Any], made: Made) -> None:
        """Change some fields of a document; its lists are read and stored only if that is needed."""
        schema, documents = self._level.schema, self._documents
        partial = self._is_partial(fields)
        doc, children = self._current(store, id_, partial)
        given = self._given([schema.changed(doc, fields, made)])
        if not partial:
            self._put(store, self._tree.parts_of(self._level.name, given, store.state.fields, store.settings))
            return
        settings = {name: store.settings[self._level.flat(name)] for name in documents.dims}
        (row,), vectors = documents.prepared(given, settings)
        flat = {self._level.flat(name): one for name, one in vectors.items()}
        number = store.state.fields.number(self._level.name)
        self._put(store, [Part(number, [row._replace(children=children)], flat)], Lists.KEPT)

    def _given(self, docs: Sequence[Any]) -> list[Given]:
        """Return documents that exist, the last of each id, with their places in lists."""
        given = last_of_each(docs)
        labels = self._labels_of([one.doc.id for one in given])
        if self._level.outer is None:
            return given
        with self._usable().reading() as view:
            places = view.rows.places(list(labels.values()))
        each = ((one, places[labels[one.doc.id]]) for one in given)
        return [one._replace(parent=place.parent, position=place.position) for one, place in each]

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
        """Return the labels of all these ids, or raise for those that are missing."""
        with self._usable().reading() as view:
            labels = view.rows.labels_of(ids, self._number(view))
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in labels]
        if missing:
            raise DocumentNotFoundError(missing)
        return labels
