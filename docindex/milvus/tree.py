"""
The documents of all levels as they stand on a server, with those in their lists, as of one version.

See `layout` for what a version is. What is in lists of a version that no outermost document names is passed over: it
was left by a write that did not come to its end, or belongs to one that is under way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from ..embedding import Recorded
from ..errors import CollectionError, ServerError
from ..incoming import list_of
from ..schema import Level, Schema
from .expressions import literal
from .failures import is_too_large
from .layout import Layout
from .limits import Row, readable_rows
from .records import Records
from .server import Server

D = TypeVar('D', bound=BaseModel)

MOST_AT_ONCE = 1_000
"""How many ids are asked for at once."""
_LONGEST_LIST = 200_000  # characters of ids in an expression; a million took Milvus Lite more than a second to read
_ATTEMPTS = 5


class Tree(Generic[D]):
    """
    Reads the documents of a schema, whole.

    Args:
        server: The server.
        schema: The schema.
        layouts: The collection of each level, by the flat name of its list.
        embeddings: How vectors were made of texts, by flat name, as the index remembers it.

    Attributes:
        schema: The schema.
        embeddings: The same.
        layouts: The collections.
        records: What writes and reads the rows of each.
        root: The level of the outermost documents.
        vectors: The vector fields of all levels, by flat name.
    """

    def __init__(
        self, server: Server, schema: Schema[D], layouts: Mapping[str, Layout], embeddings: Mapping[str, Recorded]
    ) -> None:
        self._server = server
        self.embeddings = embeddings
        self.schema = schema
        self.layouts = dict(layouts)
        self.records: dict[str, Records[Any]] = {name: Records(layout) for name, layout in layouts.items()}
        self.root = schema.levels['']
        self.vectors = [layout.level.flat(name) for layout in layouts.values() for name in layout.settings]

    # -- rows ------------------------------------------------------------------------------------------

    def by_ids(self, name: str, field: str, ids: Iterable[str], fields: Sequence[str], more: str = '') -> list[Row]:
        """Return these fields of the rows of a level that have one of some ids in a field, and fulfil more, if said."""
        layout = self.layouts[name]
        wanted = [id_ for id_ in dict.fromkeys(ids) if _can_be_written(id_)]
        at_once = MOST_AT_ONCE
        if set(fields) - set(layout.place_fields):
            at_once = min(at_once, readable_rows(layout.row_bytes))
        found: list[Row] = []
        for some in portions(wanted, at_once):
            expression = one_of(field, some)
            text = f'{expression} and ({more})' if more else expression
            is_key = field == layout.key  # otherwise one id may be that of many
            found += self.at_once(name, text, fields) if is_key else self.all_rows(name, text, fields)
        return found

    def at_once(self, name: str, expression: str, fields: Sequence[str]) -> list[Row]:
        """Return these fields of the rows, a few, that an expression is true of, in one answer if they fit into one."""
        try:
            return self._server.query(self.layouts[name].collection, expression, fields)
        except ServerError as error:
            if not is_too_large(error):
                raise
        return self.all_rows(name, expression, fields)

    def all_rows(self, name: str, expression: str, fields: Sequence[str]) -> list[Row]:
        """Return these fields of all rows of a level that an expression is true of."""
        return [row for batch in self.each(name, expression, fields) for row in batch]

    def each(self, name: str, expression: str, fields: Sequence[str]) -> Iterator[list[Row]]:
        """Yield these fields of all rows of a level that an expression is true of, in batches."""
        layout = self.layouts[name]
        large = set(fields) - set(layout.place_fields)
        yield from self._server.each(
            layout.collection, layout.key, expression, fields, layout.row_bytes if large else 200
        )

    def current(self, name: str, rows: Sequence[Row]) -> list[Row]:
        """Return those of some rows, with their places, that belong to the version of their outermost document."""
        if not name or not rows:
            return list(rows)
        roots = self.by_ids('', 'id', (row['_root'] for row in rows), ['id', '_version'])
        versions = {row['id']: row['_version'] for row in roots}
        return [row for row in rows if versions.get(row['_root']) == row['_version']]

    # -- documents -------------------------------------------------------------------------------------

    def load(self, name: str, ids: Sequence[str], known: Mapping[str, Row] | None = None) -> dict[str, Any]:
        """
        Return the documents of a level with these ids that exist, whole, by id.

        Args:
            name: The level.
            ids: The ids.
            known: Rows by id that were read just now, with all that documents are made of.

        Raises:
            CollectionError: somebody writes them faster than they can be read.
        """
        loaded: dict[str, Any] = {}
        left, read = ids, known or {}
        for _ in range(_ATTEMPTS):
            rows = [read[id_] for id_ in dict.fromkeys(left) if id_ in read]
            rows += self.rows_of(name, [id_ for id_ in left if id_ not in read])
            read = {}
            docs = self.complete(name, rows)
            # A version that is still the same has had its lists all the time.
            unchanged = {row['id'] for row in self._unchanged(name, rows)}
            loaded |= {row['id']: doc for row, doc in zip(rows, docs, strict=True) if row['id'] in unchanged}
            left = [row['id'] for row in rows if row['id'] not in unchanged]
            if not left:
                return loaded
        collection = self.layouts[name].collection
        raise CollectionError(
            f'documents in {collection!r} were replaced {_ATTEMPTS} times while they were read', collection
        )

    def _unchanged(self, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """Return those of some rows of a level that have the same lists by now."""
        if not self.records[name].lists:
            return rows
        if name:
            return self.current(name, rows)
        now = {
            row['id']: row['_version'] for row in self.by_ids('', 'id', (row['id'] for row in rows), ['id', '_version'])
        }
        return [row for row in rows if now.get(row['id']) == row['_version']]

    def rows_of(self, name: str, ids: Sequence[str]) -> list[Row]:
        """Return the rows of documents of a level with these ids that exist, with all that documents are made of."""
        return self.current(name, self.by_ids(name, 'id', ids, self.layouts[name].document_fields))

    def complete(self, name: str, rows: Sequence[Row]) -> list[Any]:
        """Return the documents that rows of a level are of, with those in their lists."""
        records = self.records[name]
        docs = records.documents(rows)
        if not records.lists or not docs:
            return docs
        versions = {row['id']: row['_version'] for row in rows}
        for level in self._lists_of(name):
            inside = self._inside(level, versions)
            for doc in docs:
                current = list_of(doc, level)
                if current is not None:
                    list.__setitem__(current, slice(None), inside.get(doc.id, ()))
        return docs

    def _inside(self, level: Level, versions: Mapping[str, int]) -> dict[str, list[Any]]:
        """Return the documents of a level in the lists of others, in order, by the ids of those."""
        layout = self.layouts[level.name]
        rows = self.by_ids(level.name, '_parent', versions, layout.document_fields)
        rows = sorted(
            (row for row in rows if versions.get(row['_parent']) == row['_version']), key=lambda row: row['_position']
        )
        found: dict[str, list[Any]] = defaultdict(list)
        for row, doc in zip(rows, self.complete(level.name, rows), strict=True):
            found[row['_parent']].append(doc)
        return found

    def _lists_of(self, name: str) -> list[Level]:
        return [level for level in self.schema.levels.values() if level.outer == name]

    def roots(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the outermost documents that rows of documents in lists are in, by id."""
        return self.load('', list(dict.fromkeys(row['_root'] for row in rows)))


def portions(ids: Sequence[str], most: int = MOST_AT_ONCE) -> Iterator[list[str]]:
    """Yield some ids after the other, so many at most, and no more than an expression should have."""
    some: list[str] = []
    size = 0
    for id_ in ids:
        if some and (len(some) >= most or size + len(id_) > _LONGEST_LIST):
            yield some
            some, size = [], 0
        some.append(id_)
        size += len(id_)
    if some:
        yield some


def one_of(field: str, ids: Sequence[str]) -> str:
    """Return as an expression that a field of strings has one of these."""
    return f'{field} in [{", ".join(map(literal, ids))}]'


def _can_be_written(id_: str) -> bool:
    """Return whether a string is one that a document can have as its id: half a surrogate pair is no text."""
    try:
        return bool(id_.encode())
    except UnicodeEncodeError:
        return False
