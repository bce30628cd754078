"""
How documents come to a server, and go.

A server takes rows, call by call, and nothing holds several calls together. So the order counts (W1 to W4):

W1  All documents of a call are checked and made into rows before the first is sent.
W2  What is in lists is sent before the outermost documents, under a new version. An outermost document's row names its
    version: when that row is replaced, the document and all of its lists have changed, at one moment.
W3  What the former version had in its lists is deleted after that, and what is in the lists of a deleted document after
    its row is gone. Only of the version that was there before: another one may be what another client is about to name.
W4  Rows are replaced by their ids, and what is in lists by version and id: the same call again leaves no duplicates.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .._progress import progress_bar
from ..errors import BatchError, DocumentError, ServerError
from ..incoming import Given, inside, levels_from, unlike
from .limits import Row, batches
from .records import Place
from .server import Server
from .tree import Tree, one_of, portions


class Writer:
    """
    Writes the documents of an index.

    Args:
        server: The server.
        tree: Their collections.
    """

    def __init__(self, server: Server, tree: Tree[Any]) -> None:
        self._server = server
        self._tree = tree
        self._lock = threading.Lock()
        self._latest = 0

    def store(self, given: Sequence[Given], show_progress: bool | None = False) -> None:
        """
        Store outermost documents, no id twice, with all that is in their lists.

        Raises:
            DocumentError, VectorError: one of them cannot be stored; nothing was sent.
            BatchError: the server failed; it names the documents that are stored.
        """
        version = self._stamps(1)
        rows = self._rows(given, version)
        parts = {name: _parts(each) for name, each in rows.items()}
        ids = [one.doc.id for one in given]
        self._check_ids(rows, set(ids))
        former = self._versions(ids)
        total = sum(map(len, rows.values()))
        with self._naming_stored(len(given), 'index') as stored:
            with progress_bar(total, 'indexing', show_progress, 'document') as advance:
                for name in reversed(list(parts)):  # W2
                    for sent in self._sent(name, parts[name]):
                        if not name:
                            stored += sent
                        advance(len(sent))
            self._forget_lists(former)  # W3

    @contextmanager
    def _naming_stored(self, count: int, verb: str) -> Iterator[list[str]]:
        """Give a list for the ids of documents that are stored, to be named if the server fails."""
        stored: list[str] = []
        try:
            yield stored
        except ServerError as error:
            message = f'{error.args[0]}; {len(stored):,} of {count:,} documents are stored: {verb} all of them again'
            raise BatchError(message, error.uri, stored) from error

    def _sent(self, name: str, parts: Iterable[Sequence[Row]]) -> Iterator[list[str]]:
        """Send rows of a level, part by part; yield the ids in each that the server has acknowledged."""
        for part in parts:
            self._server.upsert(self._tree.layouts[name].collection, part)
            yield [row['id'] for row in part]

    def _rows(self, given: Sequence[Given], version: int) -> dict[str, list[Row]]:
        """Return the rows of documents and of all that is in their lists, by level, the outermost first (W1)."""
        levels = self._tree.schema.levels
        root_of = {'': {one.doc.id: one.doc.id for one in given}}
        rows: dict[str, list[Row]] = {}
        for name in levels_from(levels, ''):
            each = list(unlike(inside(levels, name, '', given))) if name else list(given)
            if name:
                above = root_of[levels[name].outer or '']
                root_of[name] = {one.doc.id: above[one.parent or ''] for one in each}
            first, roots = self._stamps(len(each)), root_of[name]
            places = [Place(version, first + at, roots[one.doc.id] if name else None) for at, one in enumerate(each)]
            rows[name] = self._tree.records[name].rows(each, places)
        return rows

    def _check_ids(self, rows: dict[str, list[Row]], roots: set[str]) -> None:
        """
        Check that no id in a list is that of a document in a list of another outermost document.

        Raises:
            DocumentError: one is.
        """
        for name in rows:
            if not name or not rows[name]:
                continue
            layout = self._tree.layouts[name]
            owners = {row['id']: row['_parent'] for row in rows[name]}
            found = self._tree.by_ids(name, 'id', owners, layout.place_fields)
            for row in self._tree.current(name, [row for row in found if row['_root'] not in roots]):
                level = layout.level
                column, outer = level.list_column.name, self._tree.schema.levels[level.outer or ''].schema.name
                where = f'in {column} of {row["_parent"]!r}'
                if level.outer:
                    where += f', which belongs to {row["_root"]!r}'
                raise DocumentError(
                    f'the id {row["id"]!r} in {column} of {outer} {owners[row["id"]]!r} is taken: it is {where}; '
                    f'ids are unique in all {name} of an index'
                )

    def _versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the versions of the lists of those of some outermost documents that exist, if there are lists."""
        if len(self._tree.layouts) == 1:
            return {}
        return {row['id']: row['_version'] for row in self._tree.by_ids('', 'id', ids, ['id', '_version'])}

    def _forget_lists(self, versions: Mapping[str, int]) -> None:
        """Delete what is in lists of outermost documents, of one version each."""
        ids = list(versions)
        for name, layout in self._tree.layouts.items():
            for some in portions(ids) if name else ():
                known = ', '.join(map(str, sorted({versions[id_] for id_ in some})))
                self._server.delete(layout.collection, f'{one_of("_root", some)} and _version in [{known}]')

    def replace_rows(self, name: str, given: Sequence[Given], rows: Sequence[Row]) -> None:
        """Put documents of a level in the places of the rows with their ids; their lists stay as they are."""
        layout = self._tree.layouts[name]
        by_id = {row['id']: row for row in rows}
        old = [by_id[one.doc.id] for one in given]
        stamp = self._stamps(len(given))
        places = [Place(row['_version'], stamp + at, row.get('_root')) for at, row in enumerate(old)]
        placed = [
            one._replace(parent=row.get('_parent'), position=row.get('_position', 0))
            for one, row in zip(given, old, strict=True)
        ]
        new = self._tree.records[name].rows(placed, places)
        for row, before in zip(new, old, strict=True):
            row |= {field: before[field] for field in layout.sizes if field in before}
        parts = _parts(new)
        with self._naming_stored(len(given), 'update') as stored:
            for sent in self._sent(name, parts):
                stored += sent

    def put_rows(self, name: str, rows: Sequence[Row]) -> None:
        """Put rows of a level, complete, in the places of those with their keys."""
        for _ in self._sent(name, _parts(rows)):
            pass

    def remove(self, ids: Sequence[str]) -> None:
        """Delete outermost documents, and then what is in their lists (W3)."""
        former = self._versions(ids)
        self.remove_rows('', ids)
        self._forget_lists(former)

    def remove_rows(self, name: str, keys: Iterable[str]) -> None:
        """Delete rows of a level by their primary keys."""
        layout = self._tree.layouts[name]
        for some in portions(list(keys)):
            self._server.delete(layout.collection, one_of(layout.key, some))

    def _stamps(self, count: int) -> int:
        """Return the first of so many numbers that no call of this process has had: nanoseconds, or a little more."""
        with self._lock:
            first = max(time.time_ns(), self._latest + 1)
            self._latest = first + count
            return first


def _parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Return rows in parts that each fit into a call; all of them are looked at before the first is sent (W1)."""
    return list(batches(rows, lambda row: f'document {row["id"]!r}'))
