"""`HnswDocumentIndex`: the local index, as users see it. What happens to the files is `store`'s business."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel

from .._later import later
from .._progress import check_progress
from ..errors import ClosedIndexError, SchemaError, SettingsError, WorkDirError
from ..fields import ColumnConfig, vector_defaults
from ..filters import FilterLike
from ..index import DocumentIndex
from ..parsing import parse
from ..refusals import check_known, unknown_of
from ..schema import Schema
from ..scopes import Scope, list_level, vector_field
from . import sharing
from .config import Durability, HnswDBConfig, HnswRuntimeConfig
from .searching import Searching
from .state import Access
from .steering import Steering
from .store import Store
from .subindex import SubIndex
from .tree import Tree

if TYPE_CHECKING:
    from ..display import IndexSummary
    from ..exporting import Moment
    from .check import CheckReport
    from .columns import Columns

D = TypeVar('D', bound=BaseModel)


class HnswDocumentIndex(Steering[D], DocumentIndex[D]):
    """
    A document index in one directory: an hnswlib graph for each vector field, SQLite for everything else.

    `HnswDocumentIndex[Book](work_dir='books')` opens the directory, or makes it. Handles of one process on one
    directory share what is in it; another process that wants to write is kept out until the last of them is closed. Any
    number of threads may use it.

    Without hnswlib, which has to be compiled when it is installed, searches compare with every vector; the log says so
    once, and how to install it. Graphs are built when the directory is opened with it.

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
        lazy: True: each field's graph is loaded from its file when somebody first searches the field. Until then it
            takes no memory, and the directory opens at once.
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
        lazy: bool | None = None,
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
            lazy=lazy,
            lock_timeout=lock_timeout,
        )
        self._runtime_config = HnswRuntimeConfig(self._db_config.default_column_config)
        self._schema: Schema[Any] = Schema(self._doc_type)
        declared = self._declared()
        self._level = self._schema.levels['']
        self._tree: Tree[Any] = Tree(self._schema, {name: settings['dim'] for name, settings in declared.items()})
        self._store = sharing.acquire(
            self._db_config.directory(),
            self._schema,
            self._tree.extractions,
            declared,
            self._access(),
            self._db_config.patience(),
        )
        # Also when the handle is forgotten, or the interpreter ends: DocArray's users never closed one.
        self._release = weakref.finalize(self, sharing.release, self._store)

    def _declared(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the settings that the schema and the caller give, by vector field."""
        return self._schema.vector_settings(vector_defaults(self._db_config.default_column_config))

    def _access(self) -> Access:
        """Return how to open the directory."""
        return self._db_config.access()

    # -- writing ---------------------------------------------------------------------------------

    def index(self, docs: object, *, show_progress: bool | None = None) -> None:
        """Store documents: insert, or update where the id exists; see `DocumentIndex.index`."""
        store = self._usable()
        store.check_writable()
        check_known(self._schema.doc_type)
        given = self._schema.documents(docs, show_progress=show_progress)
        if given:
            parts = self._tree.parts(given, store.state.fields, store.settings)
            self._put(store, parts, show_progress=show_progress)

    def index_columns(
        self, columns: Mapping[str, Any] | None = None, /, *, show_progress: bool | None = None, **named: Any
    ) -> None:
        """
        Store documents given as columns; see `DocumentIndex.index_columns`.

        No Python object is made for a document, unless its class has validators or the like.
        """
        store = self._usable()
        store.check_writable()
        check_known(self._schema.doc_type)
        given = later('columns').GivenColumns.read(self._schema, columns, named, self._tree.vectors)
        if given.count:
            parts = self._columns.parts(given, store.state.fields, store.settings, show_progress)
            self._put(store, parts, show_progress=show_progress)

    @cached_property
    def _columns(self) -> Columns[Any]:
        columns: Columns[Any] = later('hnsw.columns').Columns(self._tree)
        return columns

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

    # -- documents in lists ------------------------------------------------------------------------

    def subindex(self, subindex: str = '') -> SubIndex[Any]:
        """Return the documents in a list as an index of their own; see `DocumentIndex.subindex` and `SubIndex`."""
        self._usable()
        return SubIndex(self, list_level(self._schema, subindex), self._writes)

    # -- data in and out -----------------------------------------------------------------------------

    def _transaction(self) -> AbstractContextManager[None]:
        return self.batch()

    def _note(self, key: str) -> str | None:
        with self._usable().reading() as view:
            return view.rows.note(key)

    def _put_note(self, key: str, value: str) -> None:
        self._usable().note(key, value)

    def _documents_class(self) -> type[D]:
        return self._schema.doc_type

    def _vector_fields(self) -> Sequence[str]:
        return self._tree.vectors

    @contextmanager
    def _moment(self, filter_query: FilterLike, batch_size: int) -> Iterator[Moment[D]]:
        store, condition = self._usable(), parse(self._schema, filter_query)
        with store.moment() as view:
            where = Searching(view, Scope(self._level, self._level)).where(condition)
            labels = view.checked(view.rows.labels_where(where), self._number(view))

            def batches() -> Iterator[list[D]]:
                for start in range(0, len(labels), batch_size):
                    docs = self._load(view, labels[start : start + batch_size])
                    self._check(docs, condition)
                    yield docs

            yield later('exporting').Moment(len(labels), batches)

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
        every = self._tree.vectors
        names = [vector_field(self._level, every, search_field)] if search_field else every
        store.configure(dict.fromkeys(names, changed))
        if default_column_config is not None or runtime_config is not None:
            self._runtime_config = HnswRuntimeConfig(config)

    def save_graphs(self, *, show_progress: bool | None = None) -> None:
        """
        Save the graphs now, as `close` does: the next opening will be quick even if this process is killed.

        Documents are safe without it; a graph that was not saved is completed when the index is opened.

        Args:
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.
        """
        self._usable().save_graphs(show_progress)

    def verify(self, repair: bool = False, *, show_progress: bool | None = None) -> CheckReport:
        """
        Read everything, compare it, and search for every document by its own vectors.

        With `read_only=True` full text is compared in a copy of `documents.sqlite3`, among the temporary files of the
        system.

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
        # Of what is not known it would say that it is damaged, and mend it.
        is_known = not unknown_of(self._schema.doc_type)
        read, extractions = (self._tree.reread, self._tree.extractions) if is_known else (None, None)
        report: CheckReport = later('hnsw.check').verify(store, read, extractions, repair, show_progress)
        return report

    def compact(self, *, show_progress: bool | None = None) -> None:
        """
        Rewrite the vectors and graphs without the dead: what deleted documents and old versions took comes back.

        It takes about as long as indexing all vectors anew, and twice their room meanwhile. Searches go on; writes
        wait.
        """
        self._usable().compact(show_progress)

    def backup(self, path: str | os.PathLike[str], *, show_progress: bool | None = None) -> None:
        """
        Copy the index as it is now into another directory, while it is in use: searches go on, writes wait.

        The copy holds every document that was acknowledged before the call, and opens as an index of its own. Copying
        the directory by other means is safe only while it is closed.

        Args:
            path: A directory that is empty or does not exist; the parents are created too.
            show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

        Raises:
            WorkDirError: the directory is not empty, or cannot be written.
        """
        try:
            check_progress(show_progress)
            self._usable().backup(Path(path), show_progress)
        except WorkDirError:
            raise
        except OSError as error:
            raise WorkDirError(f'the backup failed: {error.strerror or error}', path) from error

    async def asave_graphs(self) -> None:
        """Do what `save_graphs` does, while the event loop goes on."""
        await self._writes.run(self.save_graphs, show_progress=False)

    async def averify(self, repair: bool = False) -> CheckReport:
        """Do what `verify` does, while the event loop goes on."""
        return await self._writes.run(self.verify, repair, show_progress=False)

    async def acompact(self) -> None:
        """Do what `compact` does, while the event loop goes on."""
        await self._writes.run(self.compact, show_progress=False)

    async def abackup(self, path: str | os.PathLike[str]) -> None:
        """Do what `backup` does, while the event loop goes on."""
        await self._writes.run(self.backup, path, show_progress=False)

    def __enter__(self) -> Self:
        self._usable()
        return self

    def close(self) -> None:
        """
        Save the graphs and let go of the directory. Closing twice is fine.

        Raises:
            QueryError: this thread is in a batch, in this or another task.
        """
        if self._release.alive:
            self._store.check_closable()
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
        name = vector_field(self._level, self._tree.vectors, search_field)
        with self._usable().reading() as view:
            return view.state.settings.effective[name].to_dict()

    # -- to look at ----------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the schema, the vector fields with their settings, and what is stored: documents and bytes."""
        later('display').show(self._summary())

    def _summary(self) -> IndexSummary:
        with self._usable().reading() as view:
            settings = view.state.settings.effective
            vectors = {name: settings[name].to_dict() for name in self._tree.vectors}
            documents = {name: view.labels.documents(level) for level, name in enumerate(view.state.fields.names)}
        lists = {name: count for name, count in documents.items() if name}
        display = later('display')
        files = display.file_sizes(self.work_dir)
        name, doc_type = type(self).__name__, self._schema.doc_type
        summary: IndexSummary = display.IndexSummary(
            name, doc_type, self.work_dir, documents[''], lists, vectors, files
        )
        return summary

    def _repr_html_(self) -> str | None:
        return self._summary()._repr_html_() if self._release.alive else None

    def __rich__(self) -> Any:
        return self._summary() if self._release.alive else repr(self)

    def _usable(self) -> Store:
        if not self._release.alive:
            raise ClosedIndexError(f'the index in {self._store.path} was closed; open it again')
        return self._store

    def __repr__(self) -> str:
        state = f'{len(self)} documents' if self._release.alive else 'closed'
        return f'<{type(self).__name__} in {str(self._store.path)!r}: {state}>'
