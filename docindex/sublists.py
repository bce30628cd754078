"""`InLists`: what can be asked of the documents in a list, and done to them, on every backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel

from ._aio import OneByOne
from .doclist import DocList
from .filters import FilterLike
from .query import Query
from .results import SubindexFindResult
from .searchable import Searchable

D = TypeVar('D', bound=BaseModel)


class InLists(Searchable[D]):
    """
    The documents in one list of those of an index, in all of them: `index.subindex('chunks')`.

    They are found, filtered, read, changed and deleted by their own fields and ids, and `append` adds some; the
    documents that they are in have them as they are here. It is open as long as the index is.

    Attributes (set by the classes that inherit from this one):
        _writes: The writes of the index: async calls here and there write one after another.
    """

    _writes: OneByOne

    @abstractmethod
    def append(self, parent_id: str, docs: object) -> None:
        """
        Add documents at the end of a list.

        Args:
            parent_id: The id of the document whose list that is: of `folders__files` a folder.
            docs: New documents, as for `index`.

        Raises:
            DocumentNotFoundError: there is no such document.
            DocumentError: one of the new ones does not fit, or its id is taken.
        """

    @abstractmethod
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of documents, or replace documents that exist; see `DocumentIndex.update`."""

    @abstractmethod
    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""

    @abstractmethod
    def roots(self, ids: str | Iterable[str]) -> DocList[Any]:
        """
        Return for each of these documents the indexed one that it belongs to.

        Raises:
            DocumentNotFoundError: an id is not there.
        """

    @abstractmethod
    def with_roots(self, query: Query, root_filter: FilterLike) -> SubindexFindResult[Any]:
        """Answer a query about documents in outermost ones that match, with these."""

    @abstractmethod
    def filtered(self, query: Query, root_filter: FilterLike) -> DocList[Any]:
        """Return the documents that a query finds in outermost ones that match."""

    async def aappend(self, parent_id: str, docs: object) -> None:
        """Do what `append` does, while the event loop goes on."""
        await self._writes.run(self.append, parent_id, docs)

    async def aupdate(self, docs: Any, /, **fields: Any) -> None:
        """Do what `update` does, while the event loop goes on."""
        await self._writes.run(self.update, docs, **fields)

    async def adelete(self, ids: str | Iterable[str]) -> int:
        """Do what `delete` does, while the event loop goes on."""
        return await self._writes.run(self.delete, ids)
