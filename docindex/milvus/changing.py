"""What can be done to the documents of one level that exist: change them, replace them, delete them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from ..changes import changed, changes_of, naming_what_has_no_id, touches
from ..errors import DocumentNotFoundError
from ..incoming import Given, last_of_each
from .limits import Row
from .reading import Reading
from .writing import Writer

D = TypeVar('D', bound=BaseModel)


class Changing(Reading[D]):
    """
    Changes documents of one level on a server.

    Two clients that change one document at the same time both read it first, and the last one to write it wins.
    """

    @abstractmethod
    def _writer(self) -> Writer:
        """Return what writes, if the index is open."""

    @overload
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    def update(self, docs: Mapping[str, Mapping[str, Any]], /) -> None: ...
    @overload
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of documents, or replace documents that exist; see `DocumentIndex.update`."""
        self._usable()
        changes = changes_of(docs, fields, self._level.schema.doc_type)
        if changes is None:
            replaced = self._level.schema.documents(docs)
            with naming_what_has_no_id(replaced):
                given = last_of_each(replaced)
                self._replace(given, self._rows_of([one.doc.id for one in given]), keeps_lists=False)
            return
        rows = self._rows_of([*changes])
        schema, records = self._level.schema, self._tree.records[self._level.name]
        keeps_lists = bool(schema.lists) and records.is_plain and not touches(changes, schema.lists)
        by_id = {row['id']: row for row in rows}
        docs = records.documents([by_id[id_] for id_ in changes]) if keeps_lists else list(self[[*changes]])
        new = changed(self._level, docs, changes, self._tree.embeddings, {})
        self._replace(last_of_each(new), rows, keeps_lists)

    def _rows_of(self, ids: Sequence[str]) -> list[Row]:
        """Return the rows of all these ids, or raise for those that are missing."""
        layout = self._tree.layouts[self._level.name]
        fields = [*layout.document_fields, *layout.sizes]
        rows = self._tree.current(self._level.name, self._tree.by_ids(self._level.name, 'id', ids, fields))
        known = {row['id'] for row in rows}
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in known]
        if missing:
            raise DocumentNotFoundError(missing)
        return rows

    def _replace(self, given: Sequence[Given], rows: Sequence[Row], keeps_lists: bool) -> None:
        """Put documents in the place of those with their ids, with their lists or without."""
        if keeps_lists or not self._level.schema.lists:
            self._writer().replace_rows(self._level.name, given, rows)
        else:
            self._store_whole(given, rows)

    @abstractmethod
    def _store_whole(self, given: Sequence[Given], rows: Sequence[Row]) -> None:
        """Put documents with their lists in the place of those that rows are of."""
