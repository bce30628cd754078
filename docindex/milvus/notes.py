"""
What a server remembers of the indexes on it: the collection `docindex_notes`, a key and a text in each row.

A collection for it, since a description cannot be changed, and properties are not free text on every version.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import CollectionError
from .expressions import literal
from .server import FieldOfCollection, Server

_COLLECTION = 'docindex_notes'
_PART = 16_000
FORMAT = 1
"""The format of rows and notes."""


class Notes:
    """
    The notes of one index.

    Args:
        server: The server.
        index_name: The name of the index.
    """

    def __init__(self, server: Server, index_name: str) -> None:
        self._server = server
        self._index_name = index_name

    def get(self, key: str) -> str | None:
        """Return what was noted under a key."""
        if not self._server.has(_COLLECTION):
            return None
        self._server.load(_COLLECTION)
        rows = self._server.query(_COLLECTION, f'key == {literal(self._key(key))}', ['value'], consistency='Strong')
        return ''.join(rows[0]['value']) if rows else None

    def put(self, key: str, value: str) -> None:
        """Note something under a key."""
        self._make()
        parts = [value[start : start + _PART] for start in range(0, len(value), _PART)]
        self._server.upsert(_COLLECTION, [{'key': self._key(key), 'value': parts, '_vector': [0.0, 0.0]}])

    def description(self) -> dict[str, Any] | None:
        """
        Return what is known of the index; None: it was never made.

        Raises:
            CollectionError: the note was written by something else, or by a newer docindex.
        """
        text = self.get('schema')
        if text is None:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
            number = found['format']
        except (ValueError, TypeError, KeyError) as error:
            raise CollectionError(
                f'what {_COLLECTION!r} says of {self._index_name!r} makes no sense', _COLLECTION
            ) from error
        if number != FORMAT:
            message = f'{self._index_name!r} was made by another docindex (format {number}, this one knows {FORMAT})'
            raise CollectionError(f'{message}; use the newer one', _COLLECTION)
        return found

    def describe(self, description: dict[str, Any]) -> None:
        """Note what the index is."""
        self.put('schema', json.dumps({'format': FORMAT, **description}))

    def _make(self) -> None:
        if self._server.has(_COLLECTION):
            self._server.load(_COLLECTION)
            return
        fields = [
            FieldOfCollection('key', 'VARCHAR', is_primary=True),
            FieldOfCollection('value', 'TEXTS'),
            FieldOfCollection(
                '_vector', 'FLOAT_VECTOR', dim=2, index={'index_type': 'FLAT', 'metric_type': 'L2', 'params': {}}
            ),
        ]
        self._server.create(_COLLECTION, fields, 'what docindex remembers of its indexes')

    def _key(self, key: str) -> str:
        return f'{self._index_name}/{key}'
