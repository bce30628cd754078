"""
A Milvus server, or Milvus Lite in this process: collections, their rows, and errors in our words.

This is the only module that knows pymilvus. What Lite and servers do differently is made alike here (checked with
pymilvus 3.0.2, Milvus Lite 3.2.2 and Milvus 2.3.5):

* `insert` of an existing primary key replaces the row in Lite and adds a second one on servers: only `upsert` is used.
* `get(ids=...)`, `delete(ids=...)` and `query_iterator` build an expression without escaping the ids; expressions are
  made in `expressions` alone, and these are never called.
* A search without `output_fields` returns all of them in Lite, and none on servers; they are always named.
* A collection that was opened by a new process is not loaded.
* Milvus Lite compares a search with each row that it has not written out yet, slowly: it is told to before one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from .._optional import optional
from ..errors import ServerError, SettingsError
from . import engines
from .addresses import checked_uri, is_embedded, secrets, without_password
from .failures import Failures, is_too_large, quieten
from .limits import LONGEST_TEXT, MOST_RESULTS, MOST_TEXTS, Row, readable_rows
from .terms import literal

T = TypeVar('T')


_OLDEST = (2, 3)  # has upsert
# Rows that Milvus Lite holds in memory at most when it is searched: of 20,000 with 384 values a search takes thirty
# times as long as of the same in files; writing them out takes as long as three searches of them.
_MOST_UNSETTLED = 1_000
# It takes any other, too, and cannot load the collection any more once it has rows.
_INDEXES_OF_LITE = ('HNSW', 'HNSW_SQ', 'IVF_FLAT', 'IVF_SQ8', 'FLAT', 'AUTOINDEX')
# A server that comes back is found at once: a connection of its own does not wait as long as the last one has to.
# And no question every ten seconds whether the server is there, as pymilvus asks: Milvus Lite hangs up on that after 40
# seconds, with a message on stderr. Each call has its timeout.
_GRPC = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.keepalive_time_ms': 330_000,
    'grpc.keepalive_permit_without_calls': 0,
}
_CONSISTENCIES = ('Strong', 'Session', 'Bounded', 'Eventually')


@dataclass(frozen=True)
class FieldOfCollection:
    """
    A field of a collection.

    Attributes:
        name: Its name.
        data_type: 'VARCHAR', 'INT64', 'DOUBLE', 'BOOL', 'JSON', 'TEXTS' (an array of strings), 'FLOAT_VECTOR',
            'SPARSE_FLOAT_VECTOR'.
        is_primary: Whether it is the primary key.
        is_nullable: Whether it may be None.
        dim: The length of its vectors.
        index: The parameters of its index, with 'index_type' and 'metric_type'; None: it has none.
        analyzer: How its text becomes words, for `text_match` and BM25.
        bm25_of: The field of texts whose BM25 vectors it has.
    """

    name: str
    data_type: str
    is_primary: bool = False
    is_nullable: bool = False
    dim: int = 0
    index: dict[str, Any] | None = None
    analyzer: dict[str, Any] | None = None
    bm25_of: str | None = None


class Server:
    """
    A connection.

    Args:
        uri: `./documents.db` for Milvus Lite in this process, else `http://host:19530` or `https://...`.
        token: `user:password`, or an API key.
        db_name: The database on the server.
        timeout: Seconds for each call; what has failed for a moment is repeated by pymilvus within them.
        consistency: What a read sees of earlier writes: 'Strong', 'Session', 'Bounded' or 'Eventually'.

    Raises:
        ServerError: it cannot be reached, or does not let us in.
        SettingsError: the uri makes no sense.
        MissingLibraryError: pymilvus is not installed, or Milvus Lite.
    """

    def __init__(self, uri: str, token: str = '', db_name: str = '', timeout: float = 30, consistency: str = 'Session'):
        self.uri = without_password(checked_uri(uri))
        if consistency not in _CONSISTENCIES:
            raise SettingsError(f'consistency must be one of {", ".join(_CONSISTENCIES)}, got {consistency!r}')
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise SettingsError(f'timeout must be a positive number of seconds, got {timeout!r}')
        self._pymilvus = optional('pymilvus', 'milvus', 'Milvus indexes')
        self._timeout = timeout
        self.consistency = consistency
        self._directory = os.path.abspath(uri) if is_embedded(uri) else None  # noqa: PTH100 (as Milvus Lite does)
        if self._directory is not None:
            engines.check_installed()
        self._failures = Failures(self.uri, secrets(uri, token), timeout)
        self._pid = os.getpid()
        self._unsettled: Counter[str] = Counter()
        self._is_open = True
        self._deletes: Counter[str] = Counter()  # made in each collection
        self._waited: dict[str, int] = {}  # how many of them a read has waited for
        quieten()
        given = {'token': token, 'db_name': db_name}
        self._engine: engines.Engine | None = None
        with engines.LOCK:
            if self._directory is not None:
                self._engine = engines.enter(self._directory)
            try:
                self._client = self._failures.once('connect', lambda: self._connected(uri, given))
            except BaseException:
                self._leave()
                raise

    def _connected(self, uri: str, given: dict[str, str]) -> Any:
        """Return a client that has asked for the version of the server."""
        client = self._pymilvus.MilvusClient(
            uri,
            timeout=self._timeout,
            grpc_options=_GRPC,
            **{name: value for name, value in given.items() if value},
        )
        try:
            self.version = str(client.get_server_version(timeout=self._timeout))
            if self.release < _OLDEST:
                oldest = '.'.join(map(str, _OLDEST))
                raise RuntimeError(f'this is Milvus {self.version}, and docindex needs {oldest} or newer')
        except BaseException:
            client.close()
            raise
        return client

    @property
    def is_embedded(self) -> bool:
        """Whether this is Milvus Lite in this process."""
        return self._directory is not None

    @property
    def is_ours(self) -> bool:
        """Whether it was opened in this process, and not in one that this was forked from."""
        return self._pid == os.getpid()

    @property
    def release(self) -> tuple[int, int]:
        """The version of the server, (2, 3); Milvus Lite has that of the servers whose features it has."""
        if self.is_lite:
            return (2, 5)
        found = re.search(r'(\d+)\.(\d+)', self.version)
        return (int(found[1]), int(found[2])) if found else (2, 5)

    @property
    def is_lite(self) -> bool:
        """Whether this is Milvus Lite, in this process or another."""
        return self.version.startswith('milvus_lite')  # the server that pip installs is called 'v2.3.5-lite'

    @property
    def has_parts(self) -> bool:
        """Whether `like` finds parts of strings; before Milvus 2.4 it finds beginnings."""
        return self.release >= (2, 4)

    def close(self) -> None:
        """Let go of the connection; the last handle on a directory ends the engine in it."""
        if not self.is_ours:
            return
        with engines.LOCK:
            if not self._is_open:
                return
            self._is_open = False
            self._client.close()
            self._leave()

    def _leave(self) -> None:
        if self._directory is not None:
            engines.leave(self._directory)

    # -- collections -----------------------------------------------------------------------------------

    def has(self, collection: str) -> bool:
        """Return whether there is such a collection."""
        return self._call(
            f'ask for the collection {collection!r}',
            lambda left: bool(self._client.has_collection(collection, timeout=left)),
        )

    def create(self, collection: str, fields: Sequence[FieldOfCollection], description: str) -> None:
        """
        Make a collection with its indexes, or only what is missing of it, and load it.

        Raises:
            SettingsError: Milvus Lite does not have such an index.
        """
        self._check_indexes(fields)
        types = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )
        for field in fields:
            given: dict[str, Any] = {'is_primary': field.is_primary}
            if field.is_nullable:
                given['nullable'] = True
            if field.data_type in ('VARCHAR', 'TEXTS'):
                given['max_length'] = LONGEST_TEXT
            if field.dim:
                given['dim'] = field.dim
            if field.analyzer is not None:
                given |= {'enable_analyzer': True, 'enable_match': True, 'analyzer_params': field.analyzer}
            if field.data_type == 'TEXTS':
                given |= {'element_type': types.VARCHAR, 'max_capacity': MOST_TEXTS}
            type_ = types.ARRAY if field.data_type == 'TEXTS' else getattr(types, field.data_type)
            schema.add_field(field.name, type_, **given)
            if field.bm25_of is not None:
                function = self._pymilvus.Function(
                    name=field.name.strip('_'),
                    function_type=self._pymilvus.FunctionType.BM25,
                    input_field_names=[field.bm25_of],
                    output_field_names=[field.name],
                )
                schema.add_function(function)

        def create(left: float) -> None:
            if not self._client.has_collection(collection, timeout=left):
                self._client.create_collection(
                    collection, schema=schema, consistency_level=self.consistency, timeout=left
                )

        self._make(
            f'make the collection {collection!r}',
            create,
            lambda left: self._client.has_collection(collection, timeout=left),
        )
        for field in fields:
            if field.index is not None:
                self._make_index(collection, field.name, field.index)
        self.load(collection)

    def _make_index(self, collection: str, field: str, index: dict[str, Any]) -> None:
        """Make an index, if it is missing."""
        indexes = self._pymilvus.MilvusClient.prepare_index_params()
        indexes.add_index(field, index_name=field, **index)

        def is_there(left: float) -> bool:
            return field in self._client.list_indexes(collection, timeout=left)

        def make(left: float) -> None:
            if not is_there(left):
                # Nothing is in it: there is nothing to wait for, which takes half a second.
                self._client.create_index(collection, indexes, timeout=left, sync=False)

        self._make(f'make the index of {field!r} in {collection!r}', make, is_there)

    def _make(self, what: str, make: Callable[[float], None], is_there: Callable[[float], bool]) -> None:
        """
        Make something; that it cannot be made is no failure if it is there, for another client was faster.

        In this process one thread makes it, and the next one finds it: Milvus Lite is half done in between.
        """

        def call(left: float) -> None:
            try:
                make(left)
            except Exception:
                if not is_there(left):
                    raise

        self._call(what, call)

    def _check_indexes(self, fields: Sequence[FieldOfCollection]) -> None:
        for field in fields if self.is_lite else ():
            given = '' if field.index is None else field.index['index_type']
            if field.data_type == 'FLOAT_VECTOR' and given not in _INDEXES_OF_LITE:
                raise SettingsError(
                    f'{field.name}: Milvus Lite has the index types {", ".join(_INDEXES_OF_LITE)}, and not {given!r}'
                )

    def load(self, collection: str) -> None:
        """Have a collection ready to be searched."""
        self._unsettled[collection] = _MOST_UNSETTLED  # a process that was killed may have left so many, or more
        self._call(
            f'load the collection {collection!r}',
            lambda left: self._client.load_collection(collection, timeout=left),
        )

    def drop(self, collection: str) -> None:
        """Remove a collection with all that is in it."""
        self._call(
            f'drop the collection {collection!r}',
            lambda left: self._client.drop_collection(collection, timeout=left),
        )

    def fields(self, collection: str) -> dict[str, str]:
        """
        Return the types of a collection's fields by name.

        'VARCHAR', or of vectors 'FLOAT_VECTOR[128] HNSW COSINE', or without the last two if there is no index.
        """
        described = self._call(
            f'describe the collection {collection!r}',
            lambda left: self._client.describe_collection(collection, timeout=left),
        )
        found: dict[str, str] = {}
        for field in described['fields']:
            name = self._pymilvus.DataType(field['type']).name
            dim = field.get('params', {}).get('dim')
            found[field['name']] = 'TEXTS' if name == 'ARRAY' else name + (f'[{dim}]' if dim else '')
            if name == 'FLOAT_VECTOR':
                found[field['name']] += self._index_of(collection, field['name'])
        return found

    def _index_of(self, collection: str, field: str) -> str:
        def describe(left: float) -> str:
            if field not in self._client.list_indexes(collection, timeout=left):
                return ''
            index = self._client.describe_index(collection, field, timeout=left)
            return f' {index["index_type"]} {index["metric_type"]}'

        return self._call(f'describe the index of {field!r} in {collection!r}', describe)

    # -- rows ------------------------------------------------------------------------------------------

    def upsert(self, collection: str, rows: Sequence[Row]) -> None:
        """Store rows that fit into one call; `batches` makes such."""
        self._call(
            f'store {len(rows):,} rows in {collection!r}',
            lambda left: self._client.upsert(collection, list(rows), timeout=left),
            collection,
        )
        self._unsettled[collection] += len(rows)

    def _settle(self, collection: str) -> None:
        """Have the engine in this process write out what it holds in memory, if that may be much."""
        if self._engine is not None and self._unsettled[collection] >= _MOST_UNSETTLED:
            self._unsettled[collection] = 0
            self._call(
                f'write out {collection!r}', lambda left: self._client.flush(collection, timeout=left), collection
            )

    def delete(self, collection: str, expression: str) -> None:
        """Delete the rows that an expression, which is not empty, is true of."""
        try:
            self._call(
                f'delete from {collection!r}',
                lambda left: self._client.delete(collection, filter=expression, timeout=left),
                collection,
            )
        finally:  # also what has failed may come to pass
            self._deletes[collection] += 1

    def count(self, collection: str, expression: str = '') -> int:
        """Return how many rows an expression is true of; of an empty one: how many there are."""
        self._settle(collection)
        found = self._read(
            f'count in {collection!r}',
            lambda left, consistency: self._client.query(
                collection,
                filter=expression,
                output_fields=['count(*)'],
                timeout=left,
                consistency_level=consistency,
            ),
            collection,
        )
        return int(found[0]['count(*)'])

    def query(
        self, collection: str, expression: str, fields: Sequence[str], consistency: str | None = None
    ) -> list[Row]:
        """
        Return these fields of the rows, `MOST_RESULTS` at most, that an expression, not an empty one, is true of.

        `consistency` is another one than that of the connection.
        """
        found = self._read(
            f'read from {collection!r}',
            lambda left, ours: self._client.query(
                collection,
                filter=expression,
                output_fields=list(fields),
                limit=MOST_RESULTS,
                timeout=left,
                consistency_level=consistency or ours,
            ),
            collection,
        )
        return [dict(row) for row in found]

    def each(
        self, collection: str, key: str, expression: str, fields: Sequence[str], row_bytes: int
    ) -> Iterator[list[Row]]:
        """
        Yield these fields of all rows that an expression is true of, in batches, in the order of their keys.

        Args:
            collection: The collection.
            key: Its primary key.
            expression: The expression; empty: all rows.
            fields: The fields.
            row_bytes: How many bytes a row has, about.
        """
        self._settle(collection)
        text, moment, limit = expression or f'{key} != ""', 0, readable_rows(row_bytes)
        wanted = list(dict.fromkeys([*fields, key]))
        while True:
            try:
                rows = self._page(collection, text, wanted, limit, moment)
            except ServerError as error:
                if limit == 1 or not is_too_large(error):
                    raise
                limit = max(1, limit // 4)
                continue
            if not rows:
                return
            moment = moment or int((rows.extra or {}).get('iterator_session_ts', 0))
            yield [{name: row[name] for name in fields} for row in rows]
            behind = f'{key} > {literal(rows[-1][key])}'
            text = f'{behind} and ({expression})' if expression else behind

    def _page(self, collection: str, expression: str, fields: list[str], limit: int, moment: int) -> Any:
        """
        Return the first rows, in the order of their keys, that an expression is true of, as of a moment; 0: of now.

        This is what `query_iterator` of pymilvus asks. That itself is not used: it writes the last key into the next
        expression as it is, with its quotes and backslashes, and looks for its own words in what is searched for.
        """
        own = {'iterator': 'True', 'reduce_stop_for_best': 'True', 'guarantee_timestamp': moment}
        return self._call(
            f'read from {collection!r}',
            lambda left: self._client.query(
                collection, filter=expression, output_fields=fields, limit=limit, timeout=left, **own
            ),
            collection,
            beside_others=True,
        )

    def search(
        self,
        collection: str,
        field: str,
        queries: Sequence[Any],
        limit: int,
        expression: str,
        fields: Sequence[str],
        params: dict[str, Any],
    ) -> list[list[Row]]:
        """Return for each query the `limit` nearest rows, as the index of a field finds them, with their `distance`."""
        self._settle(collection)
        found = self._read(
            f'search {field!r} in {collection!r}',
            lambda left, consistency: self._client.search(
                collection,
                data=list(queries),
                anns_field=field,
                limit=limit,
                filter=expression,
                output_fields=list(fields),
                search_params={'params': params},
                timeout=left,
                consistency_level=consistency,
            ),
            collection,
        )
        return [[{**hit['entity'], 'distance': hit['distance']} for hit in hits] for hits in found]

    def _read(self, what: str, call: Callable[[float, str], T], collection: str) -> T:
        """
        Return what a read returns, which gets the seconds that it has, and how much of earlier writes it has to see.

        A client waits for its own writes until the time that the server said these were made at. Of a delete Milvus
        2.3.5 says none, and a `Session` would still see what it has deleted; so the next read waits for everything.
        """
        deletes = self._deletes[collection]
        waits = self.consistency == 'Session' and deletes > self._waited.get(collection, 0)
        found = self._call(
            what, lambda left: call(left, 'Strong' if waits else self.consistency), collection, beside_others=True
        )
        if waits:
            self._waited[collection] = deletes
        return found

    def _call(self, what: str, call: Callable[[float], T], collection: str = '', *, beside_others: bool = False) -> T:
        """
        Return what a call returns, which gets the seconds that it has; a collection that it needs is loaded.

        The engine in this process answers only reads of rows beside one another; see `engines.Engine`.
        """
        prepare = (lambda left: self._client.load_collection(collection, timeout=left)) if collection else None
        with self._turn(beside_others):
            return self._failures.repeated(what, call, prepare)

    def _turn(self, beside_others: bool) -> AbstractContextManager[None]:
        if self._engine is None:
            return nullcontext()
        return self._engine.calls.shared() if beside_others else self._engine.calls.exclusive()
