"""
A Milvus server, or Milvus Lite in this process: collections, their rows, and errors in our words.

This is the only module that knows pymilvus. What Lite and servers do differently is made alike here (checked with
pymilvus 3.0.2, Milvus Lite 3.2.2 and Milvus 2.3.5):

* `insert` of an existing primary key replaces the row in Lite and adds a second one on servers: only `upsert` is used.
* `get(ids=...)` and `delete(ids=...)` build an expression without escaping the ids; expressions are made in
  `expressions` alone, and these two are never called.
* A search without `output_fields` returns all of them in Lite, and none on servers; they are always named.
* A collection that was opened by a new process is not loaded.
* Milvus Lite compares a search with each row that it has not written out yet, slowly: it is told to before one.
* Milvus Lite goes on in this process after `close()`, and keeps the lock of its directory; the last handle ends it.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from .._optional import optional
from ..errors import DocumentError, ServerError, SettingsError

logger = logging.getLogger('docindex')

Row = dict[str, Any]
Consistency = str

MOST_RESULTS = 16_384
"""How many rows a server returns to one search or query (its limits `topK` and `maxQueryResultWindow`)."""
_LARGEST_CALL = 64 << 20  # bytes a server takes at once (`grpc.serverMaxRecvSize`)
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 4_096
_READ_BYTES = 16 << 20
_SMALL_ROW = 256  # bytes: an id and its place
# Rows that Milvus Lite holds in memory at most when it is searched: of 20,000 with 384 values a search takes thirty
# times as long as of the same in files; writing them out takes as long as three searches of them.
_MOST_UNSETTLED = 1_000
# It takes any other, too, and cannot load the collection any more once it has rows.
_INDEXES_OF_LITE = ('HNSW', 'HNSW_SQ', 'IVF_FLAT', 'IVF_SQ8', 'FLAT', 'AUTOINDEX')
_CONSISTENCIES = ('Strong', 'Session', 'Bounded', 'Eventually')
# An embedded engine is one in a process, however many handles there are on its directory.
_embedded: Counter[str] = Counter()
_embedded_lock = threading.Lock()


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
            optional('milvus_lite', 'milvus', 'Milvus indexes in a directory', 'milvus-lite')
        self._unsettled: Counter[str] = Counter()
        self._is_open = True
        with _embedded_lock, self._quiet():
            given = {'token': token, 'db_name': db_name}
            try:
                self._client = self._pymilvus.MilvusClient(
                    uri, timeout=timeout, **{name: value for name, value in given.items() if value}
                )
                self.version = str(self._client.get_server_version())
            except Exception as error:
                raise self._error(error, 'cannot connect') from error
            if self._directory is not None:
                _embedded[self._directory] += 1

    @property
    def is_embedded(self) -> bool:
        """Whether this is Milvus Lite in this process."""
        return self._directory is not None

    @property
    def release(self) -> tuple[int, int]:
        """The version of the server, (2, 3); Milvus Lite has that of the servers whose features it has."""
        if 'lite' in self.version:
            return (2, 5)
        found = re.search(r'(\d+)\.(\d+)', self.version)
        return (int(found[1]), int(found[2])) if found else (2, 5)

    def close(self) -> None:
        """Let go of the connection; the last handle on a directory ends the engine in it."""
        with _embedded_lock:
            if not self._is_open:
                return
            self._is_open = False
            self._client.close()
            if self._directory is not None:
                _embedded[self._directory] -= 1
                if not _embedded[self._directory]:
                    del _embedded[self._directory]
                    lite = optional('milvus_lite.server_manager', 'milvus', 'Milvus indexes in a directory')
                    lite.server_manager_instance.release_server(self._directory)

    # -- collections -----------------------------------------------------------------------------------

    def has(self, collection: str) -> bool:
        """Return whether there is such a collection."""
        with self._calling(f'ask for the collection {collection!r}'):
            return bool(self._client.has_collection(collection, timeout=self._timeout))

    def create(self, collection: str, fields: Sequence[FieldOfCollection], description: str) -> None:
        """
        Make a collection with its indexes, and load it.

        Raises:
            SettingsError: Milvus Lite does not have such an index.
            ServerError: a server does not take it; nothing is left of it.
        """
        self._check_indexes(fields)
        types = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )
        indexes = self._pymilvus.MilvusClient.prepare_index_params()
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
            if field.index is not None:
                indexes.add_index(field.name, index_name=field.name, **field.index)
        with self._calling(f'make the collection {collection!r}'):
            self._client.create_collection(
                collection, schema=schema, consistency_level=self.consistency, timeout=self._timeout
            )
        try:
            with self._calling(f'make the indexes of {collection!r}'):
                # Nothing is in it: there is nothing to wait for, which takes half a second an index.
                self._client.create_index(collection, indexes, timeout=self._timeout, sync=False)
            self.load(collection)
        except ServerError:  # of an index type that the server does not know, say: the collection would never load
            with suppress(ServerError):
                self.drop(collection)
            raise

    def _check_indexes(self, fields: Sequence[FieldOfCollection]) -> None:
        for field in fields if 'lite' in self.version else ():
            given = '' if field.index is None else field.index['index_type']
            if field.data_type == 'FLOAT_VECTOR' and given not in _INDEXES_OF_LITE:
                raise SettingsError(
                    f'{field.name}: Milvus Lite has the index types {", ".join(_INDEXES_OF_LITE)}, and not {given!r}'
                )

    def load(self, collection: str) -> None:
        """Have a collection ready to be searched."""
        self._unsettled[collection] = _MOST_UNSETTLED  # a process that was killed may have left so many, or more
        with self._calling(f'load the collection {collection!r}'):
            self._client.load_collection(collection, timeout=self._timeout)

    def drop(self, collection: str) -> None:
        """Remove a collection with all that is in it."""
        with self._calling(f'drop the collection {collection!r}'):
            self._client.drop_collection(collection, timeout=self._timeout)

    def fields(self, collection: str) -> dict[str, str]:
        """Return the types of a collection's fields by name, 'VARCHAR' or 'FLOAT_VECTOR[128] HNSW COSINE'."""
        with self._calling(f'describe the collection {collection!r}'):
            described = self._client.describe_collection(collection, timeout=self._timeout)
        found: dict[str, str] = {}
        for field in described['fields']:
            name = self._pymilvus.DataType(field['type']).name
            dim = field.get('params', {}).get('dim')
            found[field['name']] = 'TEXTS' if name == 'ARRAY' else name + (f'[{dim}]' if dim else '')
            if name == 'FLOAT_VECTOR':
                found[field['name']] += self._index_of(collection, field['name'])
        return found

    def _index_of(self, collection: str, field: str) -> str:
        with self._calling(f'describe the index of {field!r} in {collection!r}'):
            if field not in self._client.list_indexes(collection, field_name=field, timeout=self._timeout):
                return ''
            index = self._client.describe_index(collection, field, timeout=self._timeout)
        return f' {index["index_type"]} {index["metric_type"]}'

    # -- rows ------------------------------------------------------------------------------------------

    def upsert(self, collection: str, rows: Sequence[Row]) -> None:
        """Store rows that fit into one call; `batches` makes such."""
        with self._calling(f'store {len(rows):,} rows in {collection!r}'):
            self._client.upsert(collection, list(rows), timeout=self._timeout)
        self._unsettled[collection] += len(rows)

    def _settle(self, collection: str) -> None:
        """Have Milvus Lite write out what it holds in memory, if that may be much. Servers do so by themselves."""
        if 'lite' in self.version and self._unsettled[collection] >= _MOST_UNSETTLED:
            self._unsettled[collection] = 0
            with self._calling(f'write out {collection!r}'):
                self._client.flush(collection, timeout=self._timeout)

    def delete(self, collection: str, expression: str) -> None:
        """Delete the rows that an expression, which is not empty, is true of."""
        with self._calling(f'delete from {collection!r}'):
            self._client.delete(collection, filter=expression, timeout=self._timeout)

    def count(self, collection: str, expression: str = '') -> int:
        """Return how many rows an expression is true of; of an empty one: how many there are."""
        self._settle(collection)
        with self._calling(f'count in {collection!r}'):
            found = self._client.query(
                collection,
                filter=expression,
                output_fields=['count(*)'],
                timeout=self._timeout,
                consistency_level=self.consistency,
            )
        return int(found[0]['count(*)'])

    def query(self, collection: str, expression: str, fields: Sequence[str]) -> list[Row]:
        """Return these fields of the rows, `MOST_RESULTS` at most, that an expression is true of; it is not empty."""
        with self._calling(f'read from {collection!r}'):
            found = self._client.query(
                collection,
                filter=expression,
                output_fields=list(fields),
                limit=MOST_RESULTS,
                timeout=self._timeout,
                consistency_level=self.consistency,
            )
            return [dict(row) for row in found]

    def each(self, collection: str, expression: str, fields: Sequence[str], row_bytes: int) -> Iterator[list[Row]]:
        """Yield these fields of all rows that an expression is true of, in batches; a row has about so many bytes."""
        self._settle(collection)
        with self._calling(f'read from {collection!r}'):
            rows = self._client.query_iterator(
                collection,
                batch_size=readable_rows(row_bytes),
                filter=expression,
                output_fields=list(fields),
                timeout=self._timeout,
                consistency_level=self.consistency,
            )
        try:
            while True:
                with self._calling(f'read from {collection!r}'):
                    batch = [dict(row) for row in rows.next()]
                if not batch:
                    return
                yield batch
        finally:
            rows.close()

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
        with self._calling(f'search {field!r} in {collection!r}'):
            found = self._client.search(
                collection,
                data=list(queries),
                anns_field=field,
                limit=limit,
                filter=expression,
                output_fields=list(fields),
                search_params={'params': params},
                timeout=self._timeout,
                consistency_level=self.consistency,
            )
            return [[{**hit['entity'], 'distance': hit['distance']} for hit in hits] for hits in found]

    # -- errors ----------------------------------------------------------------------------------------

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Turn what pymilvus raises into our error, which names the server."""
        try:
            with self._quiet():
                yield
        except Exception as error:
            raise self._error(error, f'cannot {what}') from error

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Have pymilvus say nothing on stderr of errors that we raise."""
        log = logging.getLogger('pymilvus')
        if any(isinstance(each, _Raised) for each in log.filters):
            yield
            return
        quiet = _Raised()
        log.addFilter(quiet)
        try:
            yield
        finally:
            log.removeFilter(quiet)

    def _error(self, error: Exception, what: str) -> Exception:
        if not isinstance(error, (self._pymilvus.MilvusException, OSError, RuntimeError, ValueError)):
            return error
        message = ' '.join(str(getattr(error, 'message', error)).split())
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, message, re.IGNORECASE)), '')
        if self._directory is not None and 'Open local milvus failed' in message:
            hint = 'another process has it open, or it is no directory of Milvus Lite 3'
        shown = message if len(message) <= 500 else f'{message[:497]}...'
        return ServerError(f'{what}: {shown}{f"; {hint}" if hint else ""}', self.uri)


class _Raised(logging.Filter):
    """Holds back what is raised as well: pymilvus logs each error with its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is less than an error."""
        return record.levelno < logging.ERROR


_HINTS = [
    (r'unauthenticated|auth check|authenti', 'give the right token: "user:password", or an API key'),
    (r'permission', 'this user may not do that; ask for the privilege'),
    (r'database not found|database .*not exist', 'make the database first, or leave db_name out'),
    (r'rate limit|quota', 'the server limits how much it takes; wait, or raise its limits'),
    (r'timeout|unavailable|connect|channel', 'is the server running, and reachable from here?'),
]
LONGEST_TEXT = 65_535
"""How many bytes a string has at most in a collection."""
MOST_TEXTS = 4_096
"""How many strings an array has at most."""


def is_embedded(uri: str) -> bool:
    """Return whether a uri is a directory of Milvus Lite."""
    return uri.endswith('.db') and '://' not in uri


def checked_uri(uri: object) -> str:
    """
    Return a uri that can be one.

    Raises:
        SettingsError: it cannot.
    """
    if isinstance(uri, os.PathLike):
        uri = os.fspath(uri)
    if not isinstance(uri, str) or not (is_embedded(uri) or re.match(r'(https?|tcp)://[^/]|unix:', uri)):
        shown = without_password(uri) if isinstance(uri, str) else repr(uri)
        raise SettingsError(
            f'uri must be http://host:19530 or https://..., or ./name.db for Milvus Lite in this process; got {shown!r}'
        )
    return uri


def without_password(uri: str) -> str:
    """Return a uri to be shown."""
    return re.sub(r'(?<=//)[^/@]*@', '', uri)


def readable_rows(row_bytes: int) -> int:
    """Return how many rows of about so many bytes are read at once."""
    most = MOST_RESULTS if row_bytes <= _SMALL_ROW else 1_000  # a document may be larger than it is thought to be
    return max(1, min(most, _READ_BYTES // max(1, row_bytes)))


def size_of(row: Row) -> int:
    """Return about how many bytes a row has on its way."""
    return sum(map(_size, row.values())) + 32 * len(row)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return 4 * len(value) if not value.isascii() else len(value)
    if isinstance(value, (list, tuple)):
        return 8 + sum(map(_size, value))
    if isinstance(value, dict):
        return 8 + sum(_size(key) + _size(item) for key, item in value.items())
    return int(getattr(value, 'nbytes', 8))


def batches(rows: Sequence[Row], name_of: Any = str) -> Iterator[Sequence[Row]]:
    """
    Yield rows in batches that each fit into a call.

    Raises:
        DocumentError: one row alone is too large; `name_of` names it.
    """
    start, size = 0, 0
    for at, row in enumerate(rows):
        own = size_of(row)
        if own > _LARGEST_CALL:
            raise DocumentError(
                f'{name_of(row)} has {own:,} bytes, and Milvus takes {_LARGEST_CALL:,} in one call; '
                'keep what is large elsewhere, and its url in the document'
            )
        if at > start and (size + own > _BATCH_BYTES or at - start >= _BATCH_ROWS):
            yield rows[start:at]
            start, size = at, 0
        size += own
    if rows:
        yield rows[start:]
