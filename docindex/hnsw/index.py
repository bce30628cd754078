"""`HnswDocumentIndex`: the local index, as users see it. What happens to the files is `store`'s business."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from ..distances import Labels
from ..doclist import DocList
from ..errors import (
    ClosedIndexError,
    CorruptIndexError,
    DocumentError,
    DocumentNotFoundError,
    IdTypeError,
    QueryError,
    SchemaError,
    SettingsError,
    WorkDirError,
)
from ..fields import check_settings
from ..index import DocumentIndex, ids_of
from ..matrices import column_matrix, query_matrix
from ..payload import Payloads
from ..results import FindResult, FindResultBatched
from ..schema import Schema, check_id
from .check import CheckReport, verify
from .sidecar import Row
from .store import Store, Vectors

D = TypeVar('D', bound=BaseModel)
ColumnConfig = dict[Any, dict[str, Any]]


def _no_column_config() -> ColumnConfig:
    return {np.ndarray: {}, None: {}}


@dataclass
class HnswDBConfig:
    """
    Where an index is kept, and the settings of its vector fields.

    Attributes:
        work_dir: The directory; the current one by default.
        index_name: A name for this index, if `work_dir` holds several: each gets a directory in it.
        default_column_config: Under the key `np.ndarray`, settings for all vector fields that do not have
            their own; see `docindex.fields.VectorSettings`.
    """

    work_dir: str | os.PathLike[str] = '.'
    index_name: str | None = None
    default_column_config: ColumnConfig = field(default_factory=_no_column_config)


@dataclass
class HnswRuntimeConfig:
    """What `configure` changes: under the key `np.ndarray`, settings for all vector fields."""

    default_column_config: ColumnConfig = field(default_factory=_no_column_config)


class HnswDocumentIndex(DocumentIndex[D]):
    """
    A document index in one directory: an hnswlib graph for each vector field, SQLite for everything else.

    `HnswDocumentIndex[Book](work_dir='books')` opens the directory, or makes it. Handles of one process on one
    directory share what is in it; another process is kept out until the last of them is closed. Any number of threads
    may use it.

    Args:
        db_config: A `DBConfig`, or the directory.
        work_dir: The directory; the current one by default. Created when missing.
        index_name: A name for this index, if `work_dir` holds several.
        default_column_config: Settings for all vector fields, `{np.ndarray: {'space': 'cosine'}}`; a field's own come
            first.
        lock_timeout: Seconds to wait for another process that has the directory open.

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
        lock_timeout: float = 0,
    ) -> None:
        if self._doc_type is None:
            raise SchemaError('an index needs a document class: HnswDocumentIndex[YourDocument](work_dir=...)')
        if db_config is not None and not isinstance(db_config, (HnswDBConfig, str, os.PathLike)):
            raise SettingsError(f'expected a DBConfig or a directory, got {type(db_config).__name__} {db_config!r}')
        given = db_config if isinstance(db_config, HnswDBConfig) else HnswDBConfig(db_config or '.')
        self._db_config = HnswDBConfig(
            work_dir or given.work_dir,
            index_name or given.index_name,
            given.default_column_config if default_column_config is None else default_column_config,
        )
        self._runtime_config = HnswRuntimeConfig(self._db_config.default_column_config)
        self._schema: Schema[Any] = Schema(self._doc_type)
        declared = self._schema.vector_settings(_vector_defaults(self._db_config.default_column_config))
        self._store = Store.shared(_directory(self._db_config), self._schema, declared, lock_timeout)
        # Also when the handle is forgotten, or the interpreter ends: DocArray's users never closed one.
        self._release = weakref.finalize(self, self._store.release)
        self._columns = [self._schema.columns[name] for name in declared]
        self._payloads: Payloads[Any] = Payloads(self._doc_type, self._columns)

    # -- writing ---------------------------------------------------------------------------------

    def index(self, docs: object, *, show_progress: bool | None = False) -> None:
        """Store documents: insert, or update where the id exists; see `DocumentIndex.index`."""
        store = self._usable()
        rows, vectors = self._prepared(self._schema.documents(docs))
        if rows:
            store.put(rows, vectors, show_progress)

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
            rows, vectors = self._prepared(changed)
            self._labels_of([row.id for row in rows])
            if rows:
                store.put(rows, vectors, show_progress=False)

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""
        store, wanted = self._usable(), ids_of(ids)
        with store.updating():
            with store.reading():
                labels = store.labels_of(wanted)
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
        with self._store.reading():
            labels = self._store.labels_of(ids)
        missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in labels]
        if missing:
            raise DocumentNotFoundError(missing)
        return labels

    def _prepared(self, docs: Sequence[Any]) -> tuple[list[Row], dict[str, Vectors]]:
        """Check documents and turn them into rows and matrices, the last of each id. Nothing is written yet."""
        ids = [check_id(getattr(doc, 'id', None), at) for at, doc in enumerate(docs)]
        last = list({id_: at for at, id_ in enumerate(ids)}.values())
        vectors: dict[str, Vectors] = {}
        originals: dict[str, list[Any]] = {}
        for column in self._columns:
            values = [column.value(doc) for doc in docs]
            matrix, arrays = column_matrix(values, column, self._store.settings[column.name], ids)
            is_present = np.array([array is not None for array in arrays], bool)
            vectors[column.name] = (
                Vectors(matrix[last], is_present[last]) if len(last) < len(docs) else Vectors(matrix, is_present)
            )
            originals[column.name] = arrays
        rows: list[Row] = []
        for at in last:
            try:
                data, tensors = self._payloads.dump(docs[at], {name: arrays[at] for name, arrays in originals.items()})
            except DocumentError as error:
                raise DocumentError(f'document {at} (id {ids[at]!r}): {error}') from error
            rows.append(Row(ids[at], data, tensors))
        return rows, vectors

    # -- reading ---------------------------------------------------------------------------------

    def find(
        self, query: object, search_field: str = '', limit: int = 10, *, exact: bool = False, ef: int | None = None
    ) -> FindResult[D]:
        """Return the `limit` documents nearest to `query`, nearest first; see `DocumentIndex.find`."""
        found = self._find([query], search_field, limit, exact, ef)
        return FindResult(found.documents[0], found.scores[0])

    def find_batched(
        self,
        queries: Any,
        search_field: str = '',
        limit: int = 10,
        *,
        exact: bool = False,
        ef: int | None = None,
    ) -> FindResultBatched[D]:
        """Answer several queries as `find` does each; see `DocumentIndex.find_batched`."""
        return self._find(queries, search_field, limit, exact, ef)

    def _find(self, queries: Any, search_field: str, limit: int, exact: bool, ef: int | None) -> FindResultBatched[D]:
        store = self._usable()
        name = self._search_field(search_field)
        if not isinstance(limit, (int, np.integer)) or isinstance(limit, bool) or limit < 0:
            raise QueryError(f'limit must be 0 or a positive integer, got {limit!r}')
        check_settings({} if ef is None else {'ef': ef}, 'find()')
        matrix = query_matrix(queries, self._schema.columns[name], store.settings[name])
        with store.reading():
            labels, scores = store.search(name, matrix, int(limit), exact, ef if ef and ef > 0 else None)
            docs = self._load(labels.ravel())
        each = labels.shape[1]
        lists = [self._doclist(docs[at * each : (at + 1) * each]) for at in range(len(matrix))]
        return FindResultBatched(lists, scores)

    def _search_field(self, name: str) -> str:
        names = [column.name for column in self._columns]
        if not name and len(names) == 1:
            return names[0]
        if name in names:
            return name
        known = f'the vector fields are {", ".join(names)}' if names else 'there is no vector field'
        problem = f'{name!r} is not a vector field of {self._schema.name}' if name else 'search_field is missing'
        raise QueryError(f'{problem}; {known}')

    @overload
    def get(self, ids: str) -> D | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Iterable[str]) -> DocList[D]: ...
    def get(self, ids: str | Iterable[str]) -> D | DocList[D] | None:
        """Return the document with an id or None; or those of several ids that exist, in that order."""
        store = self._usable()
        asked = ids_of(ids)
        with store.reading():
            known = store.labels_of(asked)
            found = [id_ for id_ in asked if id_ in known]
            docs = self._load(np.array([known[id_] for id_ in found], np.int64))
        for id_, doc in zip(found, docs, strict=True):
            if doc.id != id_:  # type: ignore[attr-defined]  # a schema has an id
                raise CorruptIndexError(f'the row of {id_!r} holds another document', store.path, 'see index.verify()')
        if isinstance(ids, str):
            return docs[0] if docs else None
        return self._doclist(docs)

    def _load(self, labels: Labels) -> list[D]:
        """Return the documents with these labels, in their order. Called while reading."""
        if not len(labels):
            return []
        rows = self._store.rows(list(set(labels.tolist())))
        names = [column.name for column in self._columns]
        matrices = [self._store.vectors(name, labels) for name in names]
        docs: list[D] = []
        for label, *vectors in zip(labels.tolist(), *matrices, strict=True):
            if label not in rows:
                raise CorruptIndexError(
                    f'a graph knows the label {label}, which has no document',
                    self._store.path,
                    'remove its "graphs" directory and reopen',
                )
            docs.append(self._payloads.load(*rows[label], dict(zip(names, vectors, strict=True))))
        return docs

    def _doclist(self, docs: list[D]) -> DocList[D]:
        return DocList[self._doc_type].trusted(docs)  # type: ignore[name-defined]

    def __contains__(self, item: object) -> bool:
        store = self._usable()
        id_ = getattr(item, 'id', None) if isinstance(item, BaseModel) else item
        if not isinstance(id_, str):
            raise IdTypeError(f'expected an id or a document, got {type(item).__name__} {item!r}')
        with store.reading():
            return bool(store.labels_of([id_]))

    def __iter__(self) -> Iterator[str]:
        with self._usable().reading():
            return iter(self._store.ids())

    def num_docs(self) -> int:
        """Return the number of documents."""
        with self._usable().reading():
            return self._store.labels.documents

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
        changed = {**_vector_defaults(config), **settings}
        names = [self._search_field(search_field)] if search_field else [column.name for column in self._columns]
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
            repair: Mend the graphs: link vectors anew that searches miss, rebuild a graph that lacks some.
            show_progress: True: show a progress bar. None: show one on a terminal.

        Returns:
            What was read and what was wrong; `report.is_sound` is the verdict, `print(report)` the list. Damage to
            documents and vectors is listed by id; only a backup brings those back.
        """
        return verify(self._usable(), self._read, repair, show_progress)

    def _read(self, label: int, text: bytes, packed: bytes | None) -> Any:
        labels = np.array([label], np.int64)
        vectors = {column.name: self._store.vectors(column.name, labels)[0] for column in self._columns}
        return self._payloads.load(text, packed, vectors)

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

    def __enter__(self) -> Self:
        self._usable()
        return self

    def close(self) -> None:
        """Save the graphs and let go of the directory. Closing twice is fine."""
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
        return self._usable().settings[self._search_field(search_field)].to_dict()

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


def _directory(config: HnswDBConfig) -> Path:
    path = Path(config.work_dir)
    if config.index_name is None:
        return path
    if config.index_name in ('', '.', '..') or set(config.index_name) & set('/\\\0:'):
        raise SettingsError(f'index_name becomes a directory, so it cannot be {config.index_name!r}')
    return path / config.index_name


def _vector_defaults(config: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that a `default_column_config` gives for vectors."""
    for key, settings in config.items():
        if key is not np.ndarray and settings:
            raise SettingsError(
                f'default_column_config has settings for {key!r}; only np.ndarray, the vector fields, has any'
            )
    settings = dict(config.get(np.ndarray, {}))
    check_settings(settings, 'default_column_config')
    if settings.get('dim') == -1:  # DocArray's way to say: as long as the type says
        del settings['dim']
    return settings
