"""
`DocumentIndex`: what every backend promises. `docindex.testing` checks the promises.

An index holds documents of one class by their `id`. A call either does all it was asked or raises a
`DocIndexError` and has done nothing; when it returns, what it wrote is durable.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Self, TypeVar, overload

from pydantic import BaseModel

from ._aio import OneByOne, beside
from .doclist import DocList
from .filters import FilterLike
from .results import SubindexFindResult
from .searchable import Searchable

D = TypeVar('D', bound=BaseModel)


class DocumentIndex(Searchable[D]):
    """An index of documents of class `D`, with vector search over each of their vector fields."""

    # -- writing ---------------------------------------------------------------------------------

    @abstractmethod
    def index(self, docs: object, *, show_progress: bool | None = False) -> None:
        """
        Store documents: insert, or update where the id exists. All of them, or none.

        Args:
            docs: A document, a dict, or an iterable of either; documents of another class are read by the
                schema's field names. Of two with one id the last counts.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

        Raises:
            DocumentError: a document does not fit the schema.
            IdTypeError: an id is not a string.
            VectorError: a vector is not finite or not numeric; `DimensionError`: has another length.
        """

    @overload
    @abstractmethod
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    @abstractmethod
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    @abstractmethod
    def update(self, docs: Any, /, **fields: Any) -> None:
        """
        Change some fields of one document, `update('id', price=3, thumbnail__url='...')`, or replace documents.

        Raises:
            DocumentNotFoundError: an id is not there; nothing was changed.
            QueryError: a name is not a field's.
            DocumentError, IdTypeError, VectorError: as for `index`.
        """

    @abstractmethod
    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""

    # -- documents in lists ------------------------------------------------------------------------

    @abstractmethod
    def subindex(self, subindex: str) -> Searchable[Any]:
        """
        Return the documents in a list, `subindex('chunks')` or `subindex('folders__files')`, as an index of their own.

        They are found, filtered, counted and read there by their own fields and ids.

        Raises:
            QueryError: there is no such list.
        """

    @abstractmethod
    def find_subindex(
        self,
        query: object,
        subindex: str = '',
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        root_filter: FilterLike = None,
        exact: bool = False,
        ef: int | None = None,
    ) -> SubindexFindResult[D]:
        """
        Return the `limit` documents in a list that are nearest to `query`, with the documents they belong to.

        Args:
            query: A vector, or a document of any class that has the field.
            subindex: The flat name of the list, `chunks` or `folders__files`. May be left out if there is only one.
            search_field: A vector field of the documents in it. May be left out if there is only one.
            limit: At most so many documents in lists.
            filter: Only those that match; it names their fields.
            root_filter: Only those in documents that match; it names the fields of these.
            exact: Compare with every vector instead of searching the graph.
            ef: How many candidates to examine.

        Returns:
            For each document in a list, best first, the indexed document whose list it is in, itself, and its distance.

        Raises:
            QueryError, FilterError, VectorError: as for `find`.
        """

    @abstractmethod
    def filter_subindex(
        self,
        filter_query: FilterLike,
        subindex: str = '',
        limit: int | None = 10,
        *,
        root_filter: FilterLike = None,
    ) -> DocList[Any]:
        """Return documents in a list that match, in the order of indexing; see `find_subindex` and `filter`."""

    @abstractmethod
    def subindex_contains(self, item: object) -> bool:
        """Return whether this document, or one with this id, is in a list of a document here, at any depth."""

    # -- settings, closing ---------------------------------------------------------------------------

    @abstractmethod
    def configure(self, runtime_config: Any = None, /, *, search_field: str | None = None, **settings: Any) -> None:
        """
        Change settings of one vector field, or of all.

        Raises:
            SettingsError: nobody knows a setting, it is out of range, or it cannot be changed any more.
            QueryError: there is no such vector field.
        """

    @abstractmethod
    def close(self) -> None:
        """Save and let go of everything. Closing twice is fine; any other use afterwards is a `ClosedIndexError`."""

    # -- the same verbs in async code ------------------------------------------------------------------

    @cached_property
    def _writes(self) -> OneByOne:
        return OneByOne()

    async def aindex(self, docs: object, *, show_progress: bool | None = False) -> None:
        """Do what `index` does, while the event loop goes on."""
        await self._writes.run(self.index, docs, show_progress=show_progress)

    @overload
    async def aupdate(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    async def aupdate(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    async def aupdate(self, docs: Any, /, **fields: Any) -> None:
        """Do what `update` does, while the event loop goes on."""
        await self._writes.run(self.update, docs, **fields)

    async def adelete(self, ids: str | Iterable[str]) -> int:
        """Do what `delete` does, while the event loop goes on."""
        return await self._writes.run(self.delete, ids)

    async def afind_subindex(
        self,
        query: object,
        subindex: str = '',
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        root_filter: FilterLike = None,
        exact: bool = False,
        ef: int | None = None,
    ) -> SubindexFindResult[D]:
        """Do what `find_subindex` does, while the event loop goes on."""
        given: dict[str, Any] = {'filter': filter, 'root_filter': root_filter, 'exact': exact, 'ef': ef}
        return await beside(self.find_subindex, query, subindex, search_field, limit, **given)

    async def afilter_subindex(
        self,
        filter_query: FilterLike,
        subindex: str = '',
        limit: int | None = 10,
        *,
        root_filter: FilterLike = None,
    ) -> DocList[Any]:
        """Do what `filter_subindex` does, while the event loop goes on."""
        return await beside(self.filter_subindex, filter_query, subindex, limit, root_filter=root_filter)

    async def asubindex_contains(self, item: object) -> bool:
        """Do what `subindex_contains` does, while the event loop goes on."""
        return await beside(self.subindex_contains, item)

    async def aconfigure(self, runtime_config: Any = None, /, **settings: Any) -> None:
        """Do what `configure` does, while the event loop goes on."""
        await self._writes.run(self.configure, runtime_config, **settings)

    async def aclose(self) -> None:
        """Do what `close` does, after the writes that were begun, while the event loop goes on."""
        await self._writes.run(self.close)
        self._writes.end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    # -- the same verbs as operators ------------------------------------------------------------------

    @abstractmethod
    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        """
        Delete the document with an id, or those with several; all of them, or none.

        Raises:
            DocumentNotFoundError: naming all ids that are not there.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
