"""`MilvusDocumentIndex`: an index on Milvus, as users see it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel

from .._later import later
from ..blueprint import blueprint
from ..embedding import check_recorded
from ..errors import ClosedIndexError, CollectionError, SchemaError, SchemaMismatchError, SettingsError
from ..fields import ColumnConfig, vector_defaults
from ..filters import FilterLike
from ..incoming import Given, last_of_each
from ..index import DocumentIndex
from ..parsing import parse
from ..schema import Schema
from ..scopes import Scope, list_level, vector_field
from ..searchable import ids_of
from .changing import Changing
from .config import MilvusDBConfig, MilvusRuntimeConfig
from .layout import Layout, check_release, layouts
from .limits import Row
from .notes import Notes
from .server import Server
from .settings import SettingsRecord
from .subindex import SubIndex
from .tree import Tree
from .writing import Writer

if TYPE_CHECKING:
    from ..exporting import Moment
    from .check import MilvusCheckReport

D = TypeVar('D', bound=BaseModel)


class MilvusDocumentIndex(Changing[D], DocumentIndex[D]):
    """
    A document index on Milvus: embedded (Milvus Lite, one process), on a server, or on a cluster.

    `MilvusDocumentIndex[Book](uri='http://host:19530')` opens the collections of the class, or makes them: one for the
    documents, and one for each list of documents in them. The calls are those of `HnswDocumentIndex`; docs/scaling.md
    says what differs. Any number of threads, processes and machines may use one index on a server.

    Args:
        db_config: A `DBConfig`, or the uri.
        uri: `./documents.db`, a directory of Milvus Lite in this process, or `http://host:19530`, `https://...`.
        token: `user:password`, or an API key.
        db_name: The database on the server.
        index_name: The name of the collection, letters, digits and underscores; that of the document class by default.
        default_column_config: Settings for all vector fields, `{np.ndarray: {'space': 'cosine'}}`; a field's own come
            first.
        consistency: What a read sees of the writes before it: 'Session', those of this process; 'Strong', all;
            'Bounded', those of some seconds ago; 'Eventually'.
        timeout: Seconds for each call to the server; what fails for a moment is repeated within them.
        max_vector_fields: How many vector fields a collection may have on the server (its proxy.maxVectorFieldNum).

    Raises:
        SchemaError: the document class cannot be indexed, or not on Milvus; the message names the limit.
        SettingsError: a setting is out of range, or nobody knows it.
        ServerError: the server cannot be reached, or does not let us in.
        SchemaMismatchError: the index was made with another schema.
        CollectionError: there is a collection of this name that something else has made.
        MissingLibraryError: pymilvus is not installed.
    """

    DBConfig = MilvusDBConfig
    RuntimeConfig = MilvusRuntimeConfig
    _describes: ClassVar[bool] = True  # whether the notes are to have what this class says

    def __init__(
        self,
        db_config: MilvusDBConfig | str | os.PathLike[str] | None = None,
        *,
        uri: str | os.PathLike[str] | None = None,
        token: str | None = None,
        db_name: str | None = None,
        index_name: str | None = None,
        default_column_config: ColumnConfig | None = None,
        consistency: str | None = None,
        timeout: float | None = None,
        max_vector_fields: int | None = None,
    ) -> None:
        if self._doc_type is None:
            raise SchemaError('an index needs a document class: MilvusDocumentIndex[YourDocument](uri=...)')
        if db_config is not None and not isinstance(db_config, (MilvusDBConfig, str, os.PathLike)):
            raise SettingsError(f'expected a DBConfig or a uri, got {type(db_config).__name__} {db_config!r}')
        given = db_config if isinstance(db_config, MilvusDBConfig) else MilvusDBConfig().changed(uri=db_config)
        self._db_config = given.changed(
            uri=None if uri is None else os.fspath(uri),
            token=token,
            db_name=db_name,
            index_name=index_name or None,
            default_column_config=default_column_config,
            consistency=consistency,
            timeout=timeout,
            max_vector_fields=max_vector_fields,
        )
        config = self._db_config
        self._runtime_config = MilvusRuntimeConfig(config.default_column_config)
        self._schema: Schema[Any] = Schema(self._doc_type)
        self._level = self._schema.levels['']
        declared = self._schema.vector_settings(vector_defaults(config.default_column_config))
        self._server = Server(os.fspath(config.uri), config.token, config.db_name, config.timeout, config.consistency)
        self._release = weakref.finalize(self, Server.close, self._server)
        try:
            self._notes = Notes(self._server, self.index_name)
            self._settings = SettingsRecord(self._notes, declared)
            self._open(declared)
        except BaseException:
            self._release()
            raise

    def _open(self, declared: dict[str, dict[str, Any]]) -> None:
        """Make the collections, or check those that are there."""
        settings = self._settings.effective
        found = layouts(self._schema, self.index_name, settings, self._db_config.max_vector_fields)
        for layout in found.values():
            check_release(layout, self._server.release)
        types, embeddings = self._schema.describe(declared), self._schema.embeddings(declared)
        where = f'{self.index_name} at {self._server.uri}'
        known = self._notes.description() or self._known_after_all(found)
        if known is not None:
            _check_types(known['types'], types, where)
        recorded = {**(known or {'embeddings': {}})['embeddings'], **embeddings}
        description = {
            'types': types,
            'embeddings': recorded,
            'blueprint': blueprint(self._schema.doc_type),
            'json_schema': self._schema.json_schema(),
        }
        if self._describes and known is None:
            # Before the collections: who dies here, or meets another one who does the same, finds them to be ours.
            self._notes.describe(description)
        for layout in found.values():
            _make_or_check(self._server, layout)
        if known is not None:
            is_empty = bool(embeddings) and not self._server.count(found[''].collection)
            check_recorded(known['embeddings'], embeddings, where, is_empty)
            if self._describes and any(known.get(key) != one for key, one in description.items()):
                self._notes.describe(description)
        self._tree: Tree[Any] = Tree(self._server, self._schema, found, recorded)
        self._writes_rows = Writer(self._server, self._tree)

    def _known_after_all(self, found: dict[str, Layout]) -> dict[str, Any] | None:
        """
        Return what is known of an index that a moment ago was not; None, if it is not there.

        Raises:
            CollectionError: there is a collection that something else has made.
        """
        there = [layout for layout in found.values() if self._server.has(layout.collection)]
        known = self._notes.description() if there else None
        if there and known is None:
            raise _strange(self._server, there[0], 'something else')
        return known

    # -- writing ---------------------------------------------------------------------------------

    def index(self, docs: object, *, show_progress: bool | None = None) -> None:
        """
        Store documents: insert, or update where the id exists; see `DocumentIndex.index`.

        Each document is stored whole or not at all. A server that fails in the middle may have stored some of them:
        `BatchError.stored` says which; the same call again stores the rest, and nothing twice.
        """
        self._usable()
        given = last_of_each(self._schema.documents(docs))
        self._usable()  # an iterator may have closed it
        if given:
            self._writer().store(given, show_progress)

    def _writer(self) -> Writer:
        self._usable()
        return self._writes_rows

    def _store_whole(self, given: Iterable[Given], rows: Iterable[Row]) -> None:
        self._writer().store(list(given))

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""
        self._usable()
        rows = self._tree.by_ids('', 'id', ids_of(ids), ['id'])
        if rows:
            self._writer().remove([row['id'] for row in rows])
        return len(rows)

    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        self._usable()
        self._writer().remove([row['id'] for row in self._rows_of(ids_of(key))])

    # -- documents in lists ------------------------------------------------------------------------

    def subindex(self, subindex: str = '') -> SubIndex[Any]:
        """Return the documents in a list as an index of their own; see `DocumentIndex.subindex` and `SubIndex`."""
        self._usable()
        return SubIndex(self, list_level(self._schema, subindex), self._writes)

    # -- data in and out -----------------------------------------------------------------------------

    def _transaction(self) -> AbstractContextManager[None]:
        # A server has none. What is loaded in it is stored before the note of how far it has come: interrupted between
        # the two, the rows of one batch are stored again, in their own places if they have ids.
        return nullcontext()

    def _note(self, key: str) -> str | None:
        self._usable()
        return self._notes.get(key)

    def _put_note(self, key: str, value: str) -> None:
        self._usable()
        self._notes.put(key, value)

    def _documents_class(self) -> type[D]:
        return self._schema.doc_type

    def _vector_fields(self) -> Sequence[str]:
        return self._tree.vectors

    @contextmanager
    def _moment(self, filter_query: FilterLike, batch_size: int) -> Iterator[Moment[D]]:
        condition = parse(self._schema, filter_query)
        ids = self._settled(Scope(self._level, self._level), lambda searching: searching.keys(condition, None, None, 0))

        def batches() -> Iterator[list[D]]:
            for start in range(0, len(ids), batch_size):
                wanted = ids[start : start + batch_size]
                docs = self._tree.load('', wanted)
                yield [docs[id_] for id_ in wanted if id_ in docs]

        yield later('exporting').Moment(len(ids), batches)

    # -- settings, closing ---------------------------------------------------------------------------

    def configure(
        self,
        runtime_config: MilvusRuntimeConfig | None = None,
        /,
        *,
        search_field: str | None = None,
        default_column_config: ColumnConfig | None = None,
        **settings: Any,
    ) -> None:
        """
        Change settings of one vector field (`search_field`), or of all: `configure(ef=200)`.

        `ef`, `ef_min`, `ef_max` and `ef_factor` count at the next search. What is built into a collection is declared
        in the schema before it is made. The change is kept when the index is opened again.

        Raises:
            SettingsError: nobody knows a setting, it is out of range, or it cannot be changed any more.
            QueryError: there is no such vector field.
        """
        self._usable()
        if runtime_config is not None and not isinstance(runtime_config, MilvusRuntimeConfig):
            raise SettingsError(
                f'expected a MilvusRuntimeConfig, got {type(runtime_config).__name__}; settings go by name: ef=200'
            )
        config = default_column_config or (runtime_config or MilvusRuntimeConfig()).default_column_config
        changed = {**vector_defaults(config), **settings}
        every = self._tree.vectors
        names = [vector_field(self._level, every, search_field)] if search_field else every
        self._settings.configure(dict.fromkeys(names, changed))
        new = layouts(self._schema, self.index_name, self._settings.effective, self._db_config.max_vector_fields)
        self._tree = Tree(self._server, self._schema, new, self._tree.embeddings)
        self._writes_rows = Writer(self._server, self._tree)

    def settings(self, search_field: str = '') -> dict[str, Any]:
        """Return the settings in force of a vector field; see `docindex.fields.VectorSettings`."""
        self._usable()
        return self._settings.effective[vector_field(self._level, self._tree.vectors, search_field)].to_dict()

    def verify(self, repair: bool = False, *, show_progress: bool | None = None) -> MilvusCheckReport:
        """
        Read everything, and compare what Milvus cannot keep together: documents, what filters look at, and lists.

        Args:
            repair: Write rows anew that do not fit their documents, and delete what is in lists of no document. Best
                while nobody writes: what is under way in another process is in no list yet.
            show_progress: True: show a progress bar. None: show one on a terminal.

        Returns:
            What was read and what was wrong; `report.is_sound` is the verdict, `print(report)` the list.
        """
        self._usable()
        report: MilvusCheckReport = later('milvus.check').verify(
            self._server, self._tree, self._writes_rows, repair, show_progress
        )
        return report

    async def averify(self, repair: bool = False) -> MilvusCheckReport:
        """Do what `verify` does, while the event loop goes on."""
        return await self._writes.run(self.verify, repair, show_progress=False)

    def __enter__(self) -> Self:
        self._usable()
        return self

    def close(self) -> None:
        """Let go of the server. Closing twice is fine."""
        self._release()

    @property
    def index_name(self) -> str:
        """The name of this index, which its collections have: what it was given, or that of its document class."""
        return self._db_config.index_name or self._schema.name

    @property
    def uri(self) -> str:
        """The address of the server, without any password."""
        return self._server.uri

    def _usable(self) -> Server:
        if not self._release.alive:
            raise ClosedIndexError(f'the index at {self._server.uri} was closed; open it again')
        if not self._server.is_ours:
            raise ClosedIndexError(
                f'the index at {self._server.uri} belongs to the process that this one was forked from; open it here'
            )
        return self._server

    def __repr__(self) -> str:
        is_usable = self._release.alive and self._server.is_ours
        state = f'{len(self)} documents' if is_usable else 'closed'
        return f'<{type(self).__name__} {self.index_name!r} at {self._server.uri!r}: {state}>'


def _check_types(known: dict[str, str], types: dict[str, str], where: str) -> None:
    """
    Check that documents are of the schema that an index was made with.

    Raises:
        SchemaMismatchError: they are not.
    """
    differ = sorted(field for field in known.keys() | types.keys() if known.get(field) != types.get(field))
    if not differ:
        return
    each = (f'{field} (was {known.get(field, "not there")}, is {types.get(field, "not there")})' for field in differ)
    raise SchemaMismatchError(
        f'the collections were made with another schema: {", ".join(each)}',
        where,
        'open it with the schema that it was made with, and copy its documents into another index_name',
    )


def _make_or_check(server: Server, layout: Layout) -> None:
    """
    Make a collection, or check that it is what its schema needs.

    Raises:
        CollectionError: it is not.
    """
    name = layout.collection
    if server.has(name) and _differing(layout.describe(), server.fields(name)):
        raise _strange(server, layout, 'other settings')
    server.create(name, layout.fields(), f'{layout.level.schema.name}, by docindex')


def _strange(server: Server, layout: Layout, made_by: str) -> CollectionError:
    name = layout.collection
    wanted, there = layout.describe(), server.fields(name)
    differ = [
        f'{field} (is {there.get(field, "not there")}, wanted {wanted.get(field, "not there")})'
        for field in _differing(wanted, there)
    ]
    what = f'; {", ".join(differ[:5])} differ' if differ else ''
    return CollectionError(
        f'there is a collection {name!r} at {server.uri} that was made by {made_by}{what}; choose another index_name, '
        'or drop the collection if nobody needs it',
        name,
    )


def _differing(wanted: dict[str, str], there: dict[str, str]) -> list[str]:
    # An index that is missing is made yet.
    return sorted(
        field
        for field in wanted.keys() | there.keys()
        if field not in wanted or there.get(field) not in (wanted[field], wanted[field].partition(' ')[0])
    )
