"""What can be done to the documents of one level that exist: change them, replace them, delete them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from ..errors import DocumentNotFoundError, QueryError
from ..filling import check_texts
from ..incoming import Given, last_of_each
from ..searchable import ids_of
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
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of one document, or replace documents that exist; see `DocumentIndex.update`."""
        self._usable()
        schema = self._level.schema
        if not isinstance(docs, str):
            if fields:
                raise QueryError("to change some fields, give the document's id: update('the id', price=3)")
            replaced = last_of_each(schema.documents(docs))
            self._replace(replaced, self._rows_of([one.doc.id for one in replaced]), keeps_lists=False)
            return
        check_texts(self._level, self._tree.embeddings, fields)
        rows = self._rows_of(ids_of(docs))
        touched = any(name == one or name.startswith(f'{one}__') for name in schema.lists for one in fields)
        keeps_lists = bool(schema.lists) and not touched and self._tree.records[self._level.name].is_plain
        doc = self._tree.records[self._level.name].documents(rows)[0] if keeps_lists else self[docs]
        self._replace(last_of_each([schema.changed(doc, fields)]), rows, keeps_lists)

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
