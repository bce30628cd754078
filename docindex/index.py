"""
`DocumentIndex`: what every backend promises. `docindex.testing` checks the promises.

An index holds documents of one class by their `id`. A call either does all it was asked or raises a
`DocIndexError` and has done nothing; when it returns, what it wrote is durable.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from pydantic import BaseModel

from ._aio import OneByOne, beside
from ._later import later
from .doclist import DocList
from .errors import SchemaError
from .filters import FilterLike
from .results import SubindexFindResult
from .schema import Schema
from .searchable import Searchable
from .sublists import InLists

if TYPE_CHECKING:
    from .exporting import Moment
    from .loading import LoadReport, OnError

D = TypeVar('D', bound=BaseModel)

BATCH_SIZE = 4096
"""How many rows are loaded or exported at once unless a call says otherwise."""


class DocumentIndex(Searchable[D]):
    """
    An index of documents of class `D`, with vector search over each of their vector fields.

    A subclass `MyIndex` is made into that of a class of documents by `MyIndex[Book]`, where `_doc_type` is `Book`.
    """

    _doc_type: ClassVar[type[BaseModel] | None] = None

    if not TYPE_CHECKING:

        def __class_getitem__(cls, doc_type):
            if cls is DocumentIndex or isinstance(doc_type, TypeVar):  # a generic class like others
                return super().__class_getitem__(doc_type)
            return _of_type(cls, doc_type)

    # -- writing ---------------------------------------------------------------------------------

    @abstractmethod
    def index(self, docs: object, *, show_progress: bool | None = None) -> None:
        """
        Store documents: insert, or update where the id exists. All of them, or none.

        Args:
            docs: A document, a dict, or an iterable of either; documents of another class are read by the
                schema's field names. Of two with one id the last counts. Vectors that are missing are made, if their
                field says of which text (`Field(embeds=..., with_=...)`); the documents themselves stay as they are.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

        Raises:
            DocumentError: a document does not fit the schema, or lacks both a vector and the text to make it of.
            IdTypeError: an id is not a string.
            VectorError: a vector is not finite or not numeric; `DimensionError`: has another length.
            EmbeddingError: a function that makes vectors has failed.
        """

    def index_columns(
        self, columns: Mapping[str, Any] | None = None, /, *, show_progress: bool | None = None, **named: Any
    ) -> None:
        """
        Store documents given as columns, `index_columns(id=[...], author__name=[...], embedding=array)`.

        This does what `index` does, for documents that have the values of one row each; but a vector for a field of
        numpy arrays is converted to float32, and comes back as that. All of it is stored, or nothing.

        Args:
            columns: The columns in a mapping, beside or instead of the keywords: for a field called `show_progress`.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.
            named: Columns by the flat names of the fields, all of one length: lists, tuples, numpy arrays, columns of
                pandas, polars or Arrow; for vectors an array of shape (documents, dim), or a list with None where there
                is no vector. What is missing in a column of pandas is None. A field that is left out has its default in
                all documents: each gets an id of its own. An optional nested document is None in rows in which all of
                its columns are None.

        Raises:
            QueryError: there is no field of a name, it is a list of documents, or columns differ in length.
            DocumentError: a value does not fit, or a column is missing; the message names the column and the row.
            IdTypeError: an id is not a string.
            VectorError: a vector is not finite or not numeric; `DimensionError`: has another length.
        """
        schema = Schema(self._documents_class())
        given = later('columns').GivenColumns.read(schema, columns, named, self._vector_fields())
        self.index(given.documents(show_progress), show_progress=show_progress)

    @overload
    @abstractmethod
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    @abstractmethod
    def update(self, docs: Mapping[str, Mapping[str, Any]], /) -> None: ...
    @overload
    @abstractmethod
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    @abstractmethod
    def update(self, docs: Any, /, **fields: Any) -> None:
        """
        Change some fields of documents, or replace documents.

        `update('a', price=3, thumbnail__url='...')` changes one, `update({'a': {'price': 3}, 'b': {'title': 'B'}})` as
        many as you like: all of them, or none. A vector that is made of a text is made anew if that changes, unless the
        call gives another one. `update(docs)` replaces documents by others, as `index` does.

        Raises:
            DocumentNotFoundError: an id is not there; nothing was changed.
            QueryError: a name is not a field's, or what stands by an id is no dict of new values.
            DocumentError, IdTypeError, VectorError, EmbeddingError: as for `index`.
        """

    @abstractmethod
    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""

    # -- documents in lists ------------------------------------------------------------------------

    @abstractmethod
    def subindex(self, subindex: str = '') -> InLists[Any]:
        """
        Return the documents in a list, `subindex('chunks')` or `subindex('folders__files')`, as an index of their own.

        They are found, filtered, changed and read there by their own fields and ids. The list may be left out if there
        is only one.

        Raises:
            QueryError: there is no such list.
        """

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
        found = self.build_query().filter(filter).find(query, search_field, limit, exact=exact, ef=ef)
        return self.subindex(subindex).with_roots(found.build(), root_filter)

    def filter_subindex(
        self,
        filter_query: FilterLike,
        subindex: str = '',
        limit: int | None = 10,
        *,
        root_filter: FilterLike = None,
    ) -> DocList[Any]:
        """Return documents in a list that match, in the order of indexing; see `find_subindex` and `filter`."""
        found = self.build_query().filter(filter_query)
        return self.subindex(subindex).filtered((found if limit is None else found.limit(limit)).build(), root_filter)

    def subindex_contains(self, item: object) -> bool:
        """Return whether this document, or one with this id, is in a list of a document here, at any depth."""
        return any(item in self.subindex(name) for name in self._lists)

    @cached_property
    def _lists(self) -> list[str]:
        return [name for name in Schema(self._documents_class()).levels if name]

    # -- data in and out -----------------------------------------------------------------------------

    def index_from(
        self,
        source: Any,
        *,
        batch_size: int = BATCH_SIZE,
        show_progress: bool | None = None,
        on_error: OnError = 'raise',
        resume: bool = True,
        resume_key: str | None = None,
        format: str | None = None,  # noqa: A002 (what everybody calls it)
        rename: Mapping[str, str] | None = None,
    ) -> LoadReport:
        """
        Store the rows of a file or table, batch by batch; memory for one batch is enough for any length.

        Each batch is a transaction that also notes how far the source has come. A load that was interrupted, by Ctrl-C,
        an error or `kill -9`, goes on there when it is called again, and stores no row twice. After a load that came to
        its end the same call begins anew: rows with ids replace themselves, rows without become new documents.

        Args:
            source: The path of a Parquet, Arrow (Feather), JSON lines or CSV file, the latter two also gzipped; a table
                of pyarrow, pandas, polars or anything else that hands over Arrow, readers too; or any iterable of
                documents or dicts. Fields of nested documents are columns `outer__inner`. Columns that no field has
                are ignored, with a line in the log.
            batch_size: How many rows make a batch.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.
            on_error: 'raise': a bad row ends the load, and nothing of its batch is stored. 'skip': bad rows are left
                out, and listed in the report.
            resume: False: begin with the first row, even if an earlier load was interrupted.
            resume_key: What the source is known by: a file is recognised by its path, size and time, anything else only
                by such a key. It has to give the same rows in the same order again.
            format: 'parquet', 'arrow', 'jsonl', 'json' or 'csv', if the name of the file does not say.
            rename: `{'text': 'description'}` reads the column `text` into the field `description`.

        Returns:
            How many rows were stored, and which were not.

        Raises:
            LoadError: a row does not fit, or a column is missing, in which case nothing was read; `path`, `row` and
                `stored` say where. `SourceError`: the source cannot be read.
            QueryError: an argument makes no sense.
            MissingLibraryError: pyarrow is needed.
        """
        report: LoadReport = later('loading').load(
            self,
            self._documents_class(),
            source,
            batch_size=batch_size,
            show_progress=show_progress,
            on_error=on_error,
            resume=resume,
            resume_key=resume_key,
            format=format,
            rename=rename,
        )
        return report

    def export(
        self,
        path: str | PathLike[str],
        *,
        format: str | None = None,  # noqa: A002
        filter: FilterLike = None,  # noqa: A002
        batch_size: int = BATCH_SIZE,
        show_progress: bool | None = None,
    ) -> int:
        """
        Write the documents of this moment to a file, with their vectors, for `index_from` and everybody else to read.

        The file appears under its name when it is complete. Others can read and write the index meanwhile.

        Args:
            path: The file, which is replaced if it exists: Parquet, Arrow, JSON lines or CSV by its name; `.gz` packs
                the latter two.
            format: 'parquet', 'arrow', 'jsonl', 'json' or 'csv', if the name of the file does not say.
            filter: Only documents that match; see `docindex.filters`.
            batch_size: How many documents are held in memory at once.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

        Returns:
            How many documents were written.

        Raises:
            ExportError: the file cannot be written, or a value has no place in the format.
            FilterError: the filter does not fit the schema.
            QueryError: the format is not clear, or this thread is in a batch.
            MissingLibraryError: pyarrow is needed.
        """
        written: int = later('exporting').export(
            lambda size: self._moment(filter, size),
            self._documents_class(),
            path,
            format=format,
            batch_size=batch_size,
            show_progress=show_progress,
        )
        return written

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """Make one transaction of all that this thread writes inside: stored whole at its end, or not at all."""

    @abstractmethod
    def _documents_class(self) -> type[D]:
        """Return the class of the documents."""

    @abstractmethod
    def _vector_fields(self) -> Sequence[str]:
        """Return the flat names of the vector fields, of documents and of those in their lists."""

    @abstractmethod
    def _note(self, key: str) -> str | None:
        """Return what was noted under a key, within this thread's batch or committed."""

    @abstractmethod
    def _put_note(self, key: str, value: str) -> None:
        """Note something under a key, as a part of the batch if there is one."""

    @abstractmethod
    def _moment(self, filter_query: FilterLike, batch_size: int) -> AbstractContextManager[Moment[D]]:
        """Return the documents that match as of one moment, which stays as it is for as long as this is held."""

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
    def settings(self, search_field: str = '') -> dict[str, Any]:
        """
        Return the settings in force of a vector field, its `space` among them; see `docindex.fields.VectorSettings`.

        Raises:
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

    async def aindex_columns(
        self, columns: Mapping[str, Any] | None = None, /, *, show_progress: bool | None = False, **named: Any
    ) -> None:
        """Do what `index_columns` does, while the event loop goes on."""
        await self._writes.run(self.index_columns, columns, show_progress=show_progress, **named)

    @overload
    async def aupdate(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    async def aupdate(self, docs: Mapping[str, Mapping[str, Any]], /) -> None: ...
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

    async def aindex_from(
        self,
        source: Any,
        *,
        batch_size: int = BATCH_SIZE,
        show_progress: bool | None = None,
        on_error: OnError = 'raise',
        resume: bool = True,
        resume_key: str | None = None,
        format: str | None = None,  # noqa: A002
        rename: Mapping[str, str] | None = None,
    ) -> LoadReport:
        """Do what `index_from` does, while the event loop goes on."""
        return await self._writes.run(
            self.index_from,
            source,
            batch_size=batch_size,
            show_progress=show_progress,
            on_error=on_error,
            resume=resume,
            resume_key=resume_key,
            format=format,
            rename=rename,
        )

    async def aexport(
        self,
        path: str | PathLike[str],
        *,
        format: str | None = None,  # noqa: A002
        filter: FilterLike = None,  # noqa: A002
        batch_size: int = BATCH_SIZE,
        show_progress: bool | None = None,
    ) -> int:
        """Do what `export` does, while the event loop goes on."""
        return await beside(
            self.export, path, format=format, filter=filter, batch_size=batch_size, show_progress=show_progress
        )

    async def aconfigure(self, runtime_config: Any = None, /, **settings: Any) -> None:
        """Do what `configure` does, while the event loop goes on."""
        await self._writes.run(self.configure, runtime_config, **settings)

    async def asettings(self, search_field: str = '') -> dict[str, Any]:
        """Do what `settings` does, while the event loop goes on."""
        return await beside(self.settings, search_field)

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


@lru_cache(maxsize=256)
def _of_type(base: type[DocumentIndex[Any]], doc_type: Any) -> type[DocumentIndex[Any]]:
    if not (isinstance(doc_type, type) and issubclass(doc_type, BaseModel)):
        raise SchemaError(f'{base.__name__}[...] takes a BaseDoc or pydantic model class, got {doc_type!r}')
    return type(
        f'{base.__name__}[{doc_type.__name__}]', (base,), {'_doc_type': doc_type, '__module__': base.__module__}
    )
