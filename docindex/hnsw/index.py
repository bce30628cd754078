"""`HnswDocumentIndex`: the local index, as users see it. What happens to the files is `store`'s business."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..doclist import DocList
from ..errors import (
    ClosedIndexError,
    CorruptIndexError,
    DocumentNotFoundError,
    IdTypeError,
    QueryError,
    SchemaError,
    SettingsError,
    WorkDirError,
)
from ..execution import answer
from ..filters import Filter, FilterLike
from ..index import DocumentIndex, ids_of
from ..matrices import query_matrix
from ..parsing import parse
from ..query import Query, TextMode, checked_count
from ..results import Explanation, FindResult, FindResultBatched
from ..schema import Schema
from . import sharing
from .check import CheckReport, verify
from .config import ColumnConfig, Durability, HnswDBConfig, HnswRuntimeConfig, vector_defaults
from .documents import Documents
from .searching import Searching, checked_ef, vector_field
from .state import View
from .store import Store

D = TypeVar('D', bound=BaseModel)


class HnswDocumentIndex(DocumentIndex[D]):
    """
    A document index in one directory: an hnswlib graph for each vector field, SQLite for everything else.

    `HnswDocumentIndex[Book](work_dir='books')` opens the directory, or makes it. Handles of one process on one
    directory share what is in it; another process that wants to write is kept out until the last of them is closed. Any
    number of threads may use it.

    Args:
        db_config: A `DBConfig`, or the directory.
        work_dir: The directory; the current one by default. Created when missing.
        index_name: A name for this index, if `work_dir` holds several.
        default_column_config: Settings for all vector fields, `{np.ndarray: {'space': 'cosine'}}`; a field's own come
            first.
        read_only: Open an index that exists, beside the process that writes to it and any number of other readers. Each
            call sees what was committed before it. Calls that write raise `ReadOnlyError`.
        shared_writes: Hold the lock for each write only, so that other processes that do the same can write in turn.
        durability: 'power': what a call has acknowledged survives a power cut. 'process': it survives the end of the
            process, however that comes; a power cut may take back, or damage, what was written in the last seconds.
        auto_compact: The share of deleted and replaced versions, among all, at which a write compacts the index; 0.5 by
            default, and False: never. See `compact`.
        trust_graphs: False: do not read the graph files, build the graphs from the vectors.
        lock_timeout: Seconds to wait for another process that writes; by default 0, and 60 with `shared_writes`.

    Raises:
        SchemaError: the document class cannot be indexed.
        SettingsError: a setting is out of range, or nobody knows it.
        WorkDirError: the directory cannot be used: it is open in another process (`WorkDirLockedError`), was made with
            another schema (`SchemaMismatchError`) or by a newer docindex (`FormatVersionError`), or is damaged
            (`CorruptIndexError`).
    """

    DBConfig = HnswDBConfig
    RuntimeConfig = HnswRuntimeConfig
    _doc_type: ClassVar[type[BaseModel] | None] = None

    if not TYPE_CHECKING:

        def __class_getitem__(cls, doc_type):
            if isinstance(doc_type, TypeVar):
                return super().__class_getitem__(doc_type)
            return _of_type(cls, doc_type)

    def __init__(
        self,
        db_config: HnswDBConfig | str | os.PathLike[str] | None = None,
        *,
        work_dir: str | os.PathLike[str] | None = None,
        index_name: str | None = None,
        default_column_config: ColumnConfig | None = None,
        read_only: bool | None = None,
        shared_writes: bool | None = None,
        durability: Durability | None = None,
        auto_compact: float | bool | None = None,
        trust_graphs: bool | None = None,
        lock_timeout: float | None = None,
    ) -> None:
        if self._doc_type is None:
            raise SchemaError('an index needs a document class: HnswDocumentIndex[YourDocument](work_dir=...)')
        if db_config is not None and not isinstance(db_config, (HnswDBConfig, str, os.PathLike)):
            raise SettingsError(f'expected a DBConfig or a directory, got {type(db_config).__name__} {db_config!r}')
        given = db_config if isinstance(db_config, HnswDBConfig) else HnswDBConfig(db_config or '.')
        self._db_config = given.changed(
            work_dir=work_dir or None,
            index_name=index_name or None,
            default_column_config=default_column_config,
            read_only=read_only,
            shared_writes=shared_writes,
            durability=durability,
            auto_compact=auto_compact,
            trust_graphs=trust_graphs,
            lock_timeout=lock_timeout,
        )
        self._runtime_config = HnswRuntimeConfig(self._db_config.default_column_config)
        self._schema: Schema[Any] = Schema(self._doc_type)
        declared = self._schema.vector_settings(vector_defaults(self._db_config.default_column_config))
        self._documents: Documents[Any] = Documents(
            self._schema, {name: settings['dim'] for name, settings in declared.items()}
        )
        self._store = sharing.acquire(
            self._db_config.directory(),
            self._schema,
            self._documents.extraction,
            declared,
            self._db_config.access(),
            self._db_config.patience(),
        )
        # Also when the handle is forgotten, or the interpreter ends: DocArray's users never closed one.
        self._release = weakref.finalize(self, sharing.release, self._store)

    # -- writing ---------------------------------------------------------------------------------

    def index(self, docs: object, *, show_progress: bool | None = False) -> None:
        """Store documents: insert, or update where the id exists; see `DocumentIndex.index`."""
        store = self._usable()
        store.check_writable()
        rows, vectors = self._documents.prepared(self._schema.documents(docs), store.settings)
        if rows:
            store.put(rows, vectors, show_progress)

    def batch(self) -> AbstractContextManager[None]:
        """
        Make one transaction of all that this thread writes inside: it is stored whole at the end of the block.

        What this thread reads inside has the changes in it; nobody else sees them before the end, and other threads'
        writes wait for it. An exception that leaves the block undoes all of it. A call inside that fails by itself has
        done nothing, as always, and the batch can go on.

        Raises:
            QueryError: this thread is in a batch already.
        """
        return self._usable().batch()

    @overload
    def update(self, docs: str, /, **fields: Any) -> None: ...
    @overload
    def update(self, docs: BaseModel | dict[str, Any] | Iterable[BaseModel | dict[str, Any]], /) -> None: ...
    def update(self, docs: Any, /, **fields: Any) -> None:
        """Change some fields of one document, or replace documents that exist; see `DocumentIndex.update`."""
        store = self._usable()
        if not isinstance(docs, str) and fields:
            raise QueryError("to change some fields, give the document's id: update('the id', price=3)")
        # Before any lock, for the user's iterators and properties run here.
        replaced = None if isinstance(docs, str) else self._schema.documents(docs)
        with store.updating():
            changed = [self._schema.changed(self[docs], fields)] if replaced is None else replaced
            rows, vectors = self._documents.prepared(changed, store.settings)
            self._labels_of([row.id for row in rows])
            if rows:
                store.put(rows, vectors, show_progress=False)

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""
        store, wanted = self._usable(), ids_of(ids)
        with store.updating():
            with store.reading() as view:
                labels = view.rows.labels_of(wanted)
            if labels:
                store.remove(list(labels.values()))
            return len(labels)

    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        store, wanted = self._usable(), ids_of(key)
        with store.updating():
            labels = self._labels_of(wanted)
            if labels:
                store.remove(list(labels.values()))

    def _labels_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the labels of all these ids, or raise for those that are missing."""
        with self._store.reading() as view:
            labels = view.rows.labels_of(ids)
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in labels]
        if missing:
            raise DocumentNotFoundError(missing)
        return labels

    # -- reading ---------------------------------------------------------------------------------

    def find(
        self,
        query: object,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002 (the field's name for it)
        exact: bool = False,
        ef: int | None = None,
    ) -> FindResult[D]:
        """Return the `limit` documents nearest to `query`, nearest first; see `DocumentIndex.find`."""
        found = self._find([query], search_field, limit, filter, exact, ef)
        return FindResult(found.documents[0], found.scores[0])

    def find_batched(
        self,
        queries: Any,
        search_field: str = '',
        limit: int = 10,
        *,
        filter: FilterLike = None,  # noqa: A002
        exact: bool = False,
        ef: int | None = None,
    ) -> FindResultBatched[D]:
        """Answer several queries as `find` does each; see `DocumentIndex.find_batched`."""
        return self._find(queries, search_field, limit, filter, exact, ef)

    def _find(
        self, queries: Any, search_field: str, limit: int, filter_: FilterLike, exact: bool, ef: int | None
    ) -> FindResultBatched[D]:
        store = self._usable()
        name = vector_field(self._schema, [column.name for column in self._documents.columns], search_field)
        limit = checked_count('limit', limit)
        ef = checked_ef(ef)
        matrix = query_matrix(queries, self._schema.columns[name], store.settings[name])
        condition = parse(self._schema, filter_)
        with store.reading() as view:
            labels, scores = Searching(view, self._schema).find(name, matrix, limit, exact, ef, condition)
            docs = self._documents.load(view, labels.ravel(), store.path)
        self._documents.check(docs, condition, store.path)
        each = labels.shape[1]
        lists = [self._doclist(docs[at * each : (at + 1) * each]) for at in range(len(matrix))]
        return FindResultBatched(lists, scores)

    def execute_query(self, query: Query) -> FindResult[D]:
        """Answer a query of several steps; see `DocumentIndex.execute_query`."""
        with self._usable().reading() as view:
            return self._answer(view, query)[0]

    def count(self, filter_query: FilterLike | Query = None) -> int:
        """Return how many documents match; see `DocumentIndex.count`."""
        store = self._usable()
        if isinstance(filter_query, Query):
            with store.reading() as view:
                return len(answer(filter_query, self._schema, Searching(view, self._schema)).keys)
        condition = parse(self._schema, filter_query)
        with store.reading() as view:
            return view.rows.count_where(Searching(view, self._schema).where(condition))

    def _explain(self, query: Query) -> Explanation:
        with self._usable().reading() as view:
            result, filter_, searching = self._answer(view, query)
            matches = view.rows.count_where(searching.where(filter_))
        return Explanation(query, filter_, searching.estimate, matches, searching.steps, len(result.documents))

    def _answer(self, view: View, query: Query) -> tuple[FindResult[Any], Filter, Searching]:
        """Return what a query finds, the filter that all of it matches, and what was done."""
        if not isinstance(query, Query):
            raise QueryError(f'expected a query, as index.build_query()...build() makes it; got {type(query).__name__}')
        searching, path = Searching(view, self._schema), self._store.path
        found = answer(query, self._schema, searching)
        labels = np.array(found.keys, np.int64)
        with searching.step(f'read {len(labels):,} documents'):
            if found.select is None:
                docs = self._doclist(self._documents.load(view, labels, path))
                self._documents.check(docs, found.filter, path)
            else:
                docs = self._documents.select(view, labels, path, found.select, found.filter)
        return FindResult(docs, found.scores), found.filter, searching

    def snippets(
        self,
        query: str,
        docs: Iterable[Any],
        search_field: str = '',
        *,
        mode: TextMode = 'any',
        before: str = '**',
        after: str = '**',
        words: int = 16,
    ) -> list[str]:
        """Return for each document the part of its text that fits best, marked; see `DocumentIndex.snippets`."""
        store = self._usable()
        if isinstance(docs, (str, BaseModel)):
            raise QueryError('expected several documents or ids, got one; put it into a list')
        ids = ids_of([doc.id if isinstance(doc, BaseModel) and hasattr(doc, 'id') else doc for doc in docs])
        if not isinstance(words, int) or isinstance(words, bool) or not 1 <= words <= 64:
            raise QueryError(f'words must be from 1 to 64, got {words!r}')
        with store.reading() as view:
            return Searching(view, self._schema).snippets(query, ids, search_field, mode, before, after, words)

    @overload
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""
        store = self._usable()
        asked = ids_of(ids)
        with store.reading() as view:
            known = view.rows.labels_of(asked)
            found = [id_ for id_ in asked if id_ in known]
            docs = self._documents.load(view, np.array([known[id_] for id_ in found], np.int64), store.path)
        for id_, doc in zip(found, docs, strict=True):
            if doc.id != id_:
                raise CorruptIndexError(f'the row of {id_!r} holds another document', store.path, 'see index.verify()')
        if isinstance(ids, str):
            return docs[0] if docs else None
        return self._doclist(docs)

    def _doclist(self, docs: list[D]) -> DocList[D]:
        return DocList[self._doc_type].trusted(docs)  # type: ignore[name-defined]

    def __contains__(self, item: object) -> bool:
        store = self._usable()
        id_ = getattr(item, 'id', None) if isinstance(item, BaseModel) else item
        if not isinstance(id_, str):
            raise IdTypeError(f'expected an id or a document, got {type(item).__name__} {item!r}')
        with store.reading() as view:
            return bool(view.rows.labels_of([id_]))

    def __iter__(self) -> Iterator[str]:
        with self._usable().reading() as view:
            return iter(view.rows.ids())

    def num_docs(self) -> int:
        """Return the number of documents."""
        with self._usable().reading() as view:
            return view.labels.documents

    # -- settings, closing ---------------------------------------------------------------------------

    def configure(
        self,
        runtime_config: HnswRuntimeConfig | None = None,
        /,
        *,
        search_field: str | None = None,
        default_column_config: ColumnConfig | None = None,
        **settings: Any,
    ) -> None:
        """
        Change settings of one vector field (`search_field`), or of all: `configure(ef=200)`.

        `ef`, `ef_min`, `ef_max`, `ef_factor`, `num_threads`, a larger `max_elements` and `index` can be changed at any
        time, and everything but `dim` while the index is empty. The change is kept when the index is reopened.

        Args:
            runtime_config: A `RuntimeConfig`, as in DocArray.
            search_field: The vector field.
            default_column_config: `{np.ndarray: {...}}`, as in DocArray.
            settings: See `docindex.fields.VectorSettings`.

        Raises:
            SettingsError: nobody knows a setting, it is out of range, or it cannot be changed any more.
            QueryError: there is no such vector field.
        """
        store = self._usable()
        if runtime_config is not None and not isinstance(runtime_config, HnswRuntimeConfig):
            raise SettingsError(
                f'expected a HnswRuntimeConfig, got {type(runtime_config).__name__}; settings go by name: ef=200'
            )
        config = default_column_config or (runtime_config or HnswRuntimeConfig()).default_column_config
        changed = {**vector_defaults(config), **settings}
        every = [column.name for column in self._documents.columns]
        names = [vector_field(self._schema, every, search_field)] if search_field else every
        store.configure(dict.fromkeys(names, changed))
        if default_column_config is not None or runtime_config is not None:
            self._runtime_config = HnswRuntimeConfig(config)

    def save_graphs(self) -> None:
        """
        Save the graphs now, as `close` does: the next opening will be quick even if this process is killed.

        Documents are safe without it; a graph that was not saved is completed when the index is opened.
        """
        self._usable().save_graphs()

    def verify(self, repair: bool = False, *, show_progress: bool | None = None) -> CheckReport:
        """
        Read everything, compare it, and search for every document by its own vectors.

        Args:
            repair: Mend what can be mended: link vectors anew that searches miss, rebuild a graph that lacks some, take
                a damaged vector from the graph (which has it as it was, unless the space is 'cosine').
            show_progress: True: show a progress bar. None: show one on a terminal.

        Returns:
            What was read and what was wrong; `report.is_sound` is the verdict, `print(report)` the list. Damage to
            documents and vectors is listed by id.

        Raises:
            ReadOnlyError: something is to be mended, in an index that was opened with `read_only=True`.
        """
        store = self._usable()
        if repair:
            store.check_writable()
        return verify(store, self._documents.reread, self._documents.extraction, repair, show_progress)

    def compact(self, *, show_progress: bool | None = None) -> None:
        """
        Rewrite the vectors and graphs without the dead: what deleted documents and old versions took comes back.

        It takes about as long as indexing all vectors anew, and twice their room meanwhile. Searches go on; writes
        wait.
        """
        self._usable().compact(show_progress)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """
        Copy the index as it is now into another directory, while it is in use: searches go on, writes wait.

        The copy holds every document that was acknowledged before the call, and opens as an index of its own. Copying
        the directory by other means is safe only while it is closed.

        Args:
            path: A directory that is empty or does not exist; the parents are created too.

        Raises:
            WorkDirError: the directory is not empty, or cannot be written.
        """
        try:
            self._usable().backup(Path(path))
        except WorkDirError:
            raise
        except OSError as error:
            raise WorkDirError(f'the backup failed: {error.strerror or error}', path) from error

    async def asave_graphs(self) -> None:
        """Do what `save_graphs` does, while the event loop goes on."""
        await self._writes.run(self.save_graphs)

    async def averify(self, repair: bool = False) -> CheckReport:
        """Do what `verify` does, while the event loop goes on."""
        return await self._writes.run(self.verify, repair, show_progress=False)

    async def acompact(self) -> None:
        """Do what `compact` does, while the event loop goes on."""
        await self._writes.run(self.compact, show_progress=False)

    async def abackup(self, path: str | os.PathLike[str]) -> None:
        """Do what `backup` does, while the event loop goes on."""
        await self._writes.run(self.backup, path)

    def __enter__(self) -> Self:
        self._usable()
        return self

    def close(self) -> None:
        """
        Save the graphs and let go of the directory. Closing twice is fine.

        Raises:
            QueryError: this thread is in a batch.
        """
        if self._release.alive:
            self._store.check_no_batch('close')
        self._release()

    @property
    def index_name(self) -> str:
        """The name of this index: what it was given, or that of its document class."""
        return self._db_config.index_name or self._schema.name

    @property
    def work_dir(self) -> Path:
        """The directory in which this index is kept."""
        return self._store.path

    def settings(self, search_field: str = '') -> dict[str, Any]:
        """Return the settings in force of a vector field; see `docindex.fields.VectorSettings`."""
        name = vector_field(self._schema, [column.name for column in self._documents.columns], search_field)
        with self._usable().reading() as view:
            return view.state.settings.effective[name].to_dict()

    def _usable(self) -> Store:
        if not self._release.alive:
            raise ClosedIndexError(f'the index in {self._store.path} was closed; open it again')
        return self._store

    def __repr__(self) -> str:
        state = f'{len(self)} documents' if self._release.alive else 'closed'
        return f'<{type(self).__name__} in {str(self._store.path)!r}: {state}>'


@lru_cache(maxsize=256)
def _of_type(base: type[HnswDocumentIndex[Any]], doc_type: Any) -> type[HnswDocumentIndex[Any]]:
    if not (isinstance(doc_type, type) and issubclass(doc_type, BaseModel)):
        raise SchemaError(f'{base.__name__}[...] takes a BaseDoc or pydantic model class, got {doc_type!r}')
    return type(
        f'{base.__name__}[{doc_type.__name__}]', (base,), {'_doc_type': doc_type, '__module__': base.__module__}
    )
