"""
`DocumentIndex`: what every backend promises. `docindex.testing` checks the promises.

An index holds documents of one class by their `id`. A call either does all it was asked or raises a
`DocIndexError` and has done nothing; when it returns, what it wrote is durable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, Self, TypeVar, overload

from numpy.typing import ArrayLike
from pydantic import BaseModel

from ._aio import OneByOne, beside
from .doclist import DocList
from .errors import DocumentNotFoundError, IdTypeError
from .results import FindResult, FindResultBatched

D = TypeVar('D', bound=BaseModel)


class DocumentIndex(ABC, Generic[D]):
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

    # -- reading ---------------------------------------------------------------------------------

    @abstractmethod
    def find(
        self, query: object, search_field: str = '', limit: int = 10, *, exact: bool = False, ef: int | None = None
    ) -> FindResult[D]:
        """
        Return the `limit` documents nearest to `query`, nearest first.

        Args:
            query: A vector, shape (dim,), compared as float32; or a document of any class that has the field.
            search_field: The flat name of a vector field. May be left out if there is only one.
            limit: At most this many; fewer only when fewer documents have this vector.
            exact: Compare with every vector instead of searching the graph.
            ef: How many candidates to examine, instead of what the settings say. More: slower, more accurate.

        Raises:
            QueryError: no such vector field, a negative limit, or no vector in the query.
            VectorError: the query is not finite or not numeric; `DimensionError`: has another length.
        """

    @abstractmethod
    def find_batched(
        self,
        queries: Sequence[object] | ArrayLike,
        search_field: str = '',
        limit: int = 10,
        *,
        exact: bool = False,
        ef: int | None = None,
    ) -> FindResultBatched[D]:
        """
        Answer several queries as `find` does each.

        `queries` is an array of shape (q, dim), or a sequence of what `find` takes.
        """

    # A string is an iterable of strings too; the first overload that fits counts.
    @overload
    @abstractmethod
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    @abstractmethod
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    @abstractmethod
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of this moment: in the order of indexing, but an updated document stands anywhere."""

    @abstractmethod
    def num_docs(self) -> int:
        """Return the number of documents."""

    @abstractmethod
    def __contains__(self, item: object) -> bool:
        """Return whether there is a document with this id, or with the id of this document."""

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

    async def afind(
        self, query: object, search_field: str = '', limit: int = 10, *, exact: bool = False, ef: int | None = None
    ) -> FindResult[D]:
        """Do what `find` does, while the event loop goes on."""
        return await beside(self.find, query, search_field, limit, exact=exact, ef=ef)

    async def afind_batched(
        self,
        queries: Sequence[object] | ArrayLike,
        search_field: str = '',
        limit: int = 10,
        *,
        exact: bool = False,
        ef: int | None = None,
    ) -> FindResultBatched[D]:
        """Do what `find_batched` does, while the event loop goes on."""
        return await beside(self.find_batched, queries, search_field, limit, exact=exact, ef=ef)

    @overload
    async def aget(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    async def aget(self, ids: Iterable[str]) -> DocList[D]: ...
    async def aget(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Do what `get` does, while the event loop goes on."""
        return await beside(self.get, ids)

    async def anum_docs(self) -> int:
        """Do what `num_docs` does, while the event loop goes on."""
        return await beside(self.num_docs)

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

    @overload
    def __getitem__(self, key: str) -> D: ...
    @overload
    def __getitem__(self, key: list[str] | tuple[str, ...]) -> DocList[D]: ...
    def __getitem__(self, key: str | list[str] | tuple[str, ...]) -> D | DocList[D]:
        """
        Return the document with an id, or those with several, in that order.

        Raises:
            DocumentNotFoundError: naming all ids that are not there.
        """
        ids = ids_of(key)
        docs = self.get(ids)
        if len(docs) < len(ids):
            found = set(docs.id)
            raise DocumentNotFoundError([id_ for id_ in dict.fromkeys(ids) if id_ not in found])
        return docs[0] if isinstance(key, str) else docs

    @abstractmethod
    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        """
        Delete the document with an id, or those with several; all of them, or none.

        Raises:
            DocumentNotFoundError: naming all ids that are not there.
        """

    def __len__(self) -> int:
        """Return the number of documents."""
        return self.num_docs()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def ids_of(key: object) -> list[str]:
    """
    Return the ids in a key: a string, or any iterable of strings.

    Raises:
        IdTypeError: something in it is not a string.
    """
    if isinstance(key, str):
        return [key]
    if not isinstance(key, Iterable) or isinstance(key, (bytes, BaseModel, dict)):
        raise IdTypeError(f'expected an id or a list of ids, got {type(key).__name__} {key!r}')
    ids = list(key)
    for id_ in ids:
        if not isinstance(id_, str):
            raise IdTypeError(f'an id is a string, got {type(id_).__name__} {id_!r}; use str(...)')
    return ids
