"""
A Milvus server, or Milvus Lite in this process: collections, their rows, and errors in our words.

This is the only module that knows pymilvus. What Lite and servers do differently is made alike here (checked with
pymilvus 3.0.2, Milvus Lite 3.2.2 and Milvus 2.3.5):

* `insert` of an existing primary key replaces the row in Lite and adds a second one on servers: only `upsert` is used.
* `get(ids=...)` and `delete(ids=...)` build an expression without escaping the ids; expressions are made in
  `expressions` alone, and these two are never called.
* A search without `output_fields` returns all of them in Lite, and none on servers; they are always named.
* A collection that was opened by a new process is not loaded.
* Milvus Lite goes on in this process after `close()`, and keeps the lock of its directory; the last handle ends it.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._optional import optional
from ..errors import DocumentError, SettingsError
from .failures import Failures, quieten
from .terms import literal

T = TypeVar('T')

Row = dict[str, Any]
Consistency = str

MOST_RESULTS = 16_384
"""How many rows a server returns to one search or query (its limits `topK` and `maxQueryResultWindow`)."""
_LARGEST_CALL = 64 << 20  # bytes a server takes at once (`grpc.serverMaxRecvSize`)
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 4_096
_READ_BYTES = 16 << 20
_SMALL_ROW = 256  # bytes; ids and numbers are read as many at once as there may be
# A server that comes back is found at once: a connection of its own does not wait as long as the last one has to.
_GRPC = {'grpc.use_local_subchannel_pool': 1}
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
        self._failures = Failures(self.uri, _secrets(uri, token), timeout)
        self._is_open = True
        quieten()
        given = {'token': token, 'db_name': db_name}
        with _embedded_lock:
            self._client = self._failures.once('connect', lambda: self._connected(uri, given))
            if self._directory is not None:
                _embedded[self._directory] += 1

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
        except BaseException:
            client.close()
            raise
        return client

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
        return self._call(
            f'ask for the collection {collection!r}',
            lambda left: bool(self._client.has_collection(collection, timeout=left)),
        )

    def create(self, collection: str, fields: Sequence[FieldOfCollection], description: str) -> None:
        """Make a collection with its indexes, and load it."""
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

        def create(left: float) -> None:
            if not self._client.has_collection(collection, timeout=left):
                self._client.create_collection(
                    collection, schema=schema, consistency_level=self.consistency, timeout=left
                )

        self._call(f'make the collection {collection!r}', create)
        # Nothing is in it: there is nothing to wait for, which takes half a second an index.
        self._call(
            f'make the indexes of the collection {collection!r}',
            lambda left: self._client.create_index(collection, indexes, timeout=left, sync=False),
        )
        self.load(collection)

    def load(self, collection: str) -> None:
        """Have a collection ready to be searched."""
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
        """Return the types of a collection's fields by name, 'VARCHAR' or 'FLOAT_VECTOR[128]'."""
        described = self._call(
            f'describe the collection {collection!r}',
            lambda left: self._client.describe_collection(collection, timeout=left),
        )
        found: dict[str, str] = {}
        for field in described['fields']:
            name = self._pymilvus.DataType(field['type']).name
            dim = field.get('params', {}).get('dim')
            found[field['name']] = 'TEXTS' if name == 'ARRAY' else name + (f'[{dim}]' if dim else '')
        return found

    # -- rows ------------------------------------------------------------------------------------------

    def upsert(self, collection: str, rows: Sequence[Row]) -> None:
        """Store rows that fit into one call; `batches` makes such."""
        self._call(
            f'store {len(rows):,} rows in {collection!r}',
            lambda left: self._client.upsert(collection, list(rows), timeout=left),
            collection,
        )

    def delete(self, collection: str, expression: str) -> None:
        """Delete the rows that an expression, which is not empty, is true of."""
        self._call(
            f'delete from {collection!r}',
            lambda left: self._client.delete(collection, filter=expression, timeout=left),
            collection,
        )

    def count(self, collection: str, expression: str = '') -> int:
        """Return how many rows an expression is true of; of an empty one: how many there are."""
        found = self._call(
            f'count in {collection!r}',
            lambda left: self._client.query(
                collection,
                filter=expression,
                output_fields=['count(*)'],
                timeout=left,
                consistency_level=self.consistency,
            ),
            collection,
        )
        return int(found[0]['count(*)'])

    def query(self, collection: str, expression: str, fields: Sequence[str]) -> list[Row]:
        """Return these fields of the rows, `MOST_RESULTS` at most, that an expression is true of; it is not empty."""
        found = self._call(
            f'read from {collection!r}',
            lambda left: self._client.query(
                collection,
                filter=expression,
                output_fields=list(fields),
                limit=MOST_RESULTS,
                timeout=left,
                consistency_level=self.consistency,
            ),
            collection,
        )
        return [dict(row) for row in found]

    def each(self, collection: str, expression: str, fields: Sequence[str], row_bytes: int) -> Iterator[list[Row]]:
        """Yield these fields of all rows that an expression is true of, in batches; a row has about so many bytes."""
        what = f'read from {collection!r}'
        rows = self._call(
            what,
            lambda left: self._client.query_iterator(
                collection,
                batch_size=readable_rows(row_bytes),
                filter=expression,
                output_fields=list(fields),
                timeout=left,
                consistency_level=self.consistency,
            ),
            collection,
        )
        try:
            while batch := [dict(row) for row in self._call(what, lambda _: rows.next(), collection)]:
                # pymilvus writes the last key into its next expression without escaping it.
                rows._next_id = literal(rows._next_id)[1:-1]
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
        found = self._call(
            f'search {field!r} in {collection!r}',
            lambda left: self._client.search(
                collection,
                data=list(queries),
                anns_field=field,
                limit=limit,
                filter=expression,
                output_fields=list(fields),
                search_params={'params': params},
                timeout=left,
                consistency_level=self.consistency,
            ),
            collection,
        )
        return [[{**hit['entity'], 'distance': hit['distance']} for hit in hits] for hits in found]

    def _call(self, what: str, call: Callable[[float], T], collection: str = '') -> T:
        """Return what a call returns, which gets the seconds that it has; a collection that it needs is loaded."""
        prepare = (lambda left: self._client.load_collection(collection, timeout=left)) if collection else None
        return self._failures.repeated(what, call, prepare)


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


def _secrets(uri: str, token: str) -> list[str]:
    """Return what no message may have in it: tokens, and the passwords in them."""
    in_uri = urlsplit(uri).netloc.rpartition('@')[0] if '://' in uri else ''
    tokens = [one for one in (token, in_uri) if one]
    return tokens + [password for one in tokens for password in [one.partition(':')[2]] if password]


def without_password(uri: str) -> str:
    """Return a uri to be shown."""
    return re.sub(r'(?<=//)[^/@]*@', '', uri)


def readable_rows(row_bytes: int) -> int:
    """Return how many rows of about so many bytes are read at once."""
    most = MOST_RESULTS if row_bytes <= _SMALL_ROW else 1_000
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
