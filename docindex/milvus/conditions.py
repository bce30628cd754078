"""
Filters on collections: which rows of one level a filter is about, and whether a document fulfils it after all.

A filter may speak of other levels than the one whose documents are found. What it says of those is asked first, in
their collections, and becomes a choice among ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..filters import And, Condition, Filter, Not, Or, Some
from ..kinds import Kind
from ..schema import Level
from ..scopes import ALL, Scope
from .columns import ScalarColumn
from .expressions import Expression, expression
from .layout import Layout
from .limits import MOST_RESULTS, Row
from .server import Server

if TYPE_CHECKING:
    from .tree import Tree

MOST_IDS = 4_096
"""How many ids a choice among them has at most; 10,000 of 40 bytes took Milvus Lite a second to parse."""
_TEXT = Kind('text', str, is_ordered=True)
_PLACES = {name: ScalarColumn(name, name, 'VARCHAR', is_nullable=False) for name in ('_root', '_parent')}


class Conditions:
    """
    Asks filters of an index.

    Args:
        server: The server.
        tree: Reads the documents of all levels.
        current: Returns those of some rows of a level that are in lists which exist.
    """

    def __init__(self, server: Server, tree: Tree[Any], current: Callable[[str, Sequence[Row]], Sequence[Row]]) -> None:
        self._server = server
        self._tree = tree
        self._current = current

    def asked(self, filter_: Filter, scope: Scope) -> Expression:
        """Return a filter by the names of one level on the rows of the level that is found."""
        layout = self._tree.layouts[scope.found.name]
        lowered = self._lowered(filter_, scope.names, scope.found)
        if scope.root_filter != ALL:
            root = self._inside(scope.root_filter, self._tree.root, scope.found)
            lowered = And((lowered, root))
        return self._expression(lowered, layout)

    def _expression(self, filter_: Filter, layout: Layout) -> Expression:
        vectors = {
            name: ScalarColumn(name, field, 'BOOL', is_nullable=False, kind=layout.level.schema.columns[name].kind)
            for name, field in layout.optional.items()
        }
        columns = {**layout.scalars, **vectors, **({} if layout.is_root else _PLACES)}
        return expression(
            filter_, columns, lambda some: self._with_one(some, layout.level), has_parts=self._server.has_parts
        )

    def _with_one(self, some: Some, level: Level) -> list[str] | None:
        """Return the ids of the documents of a level that have in a list one that fulfils something; None: too many."""
        if some.position is not None:
            return None  # positions may have gaps
        name = level.flat(some.field)
        inner = self._tree.layouts[name]
        found = self._expression(some.part, inner)
        if not found.is_exact:
            return None
        count = self._server.count(inner.collection, found.text)
        if count > MOST_RESULTS:
            return None
        rows = self._current(name, self._tree.all_rows(name, found.text, inner.place_fields))
        ids = list(dict.fromkeys(row['_parent'] for row in rows))
        return ids if len(ids) <= MOST_IDS else None

    def _lowered(self, filter_: Filter, names: Level, found: Level) -> Filter:
        """Return a filter about the documents of one level as one about those, in their lists, that are found."""
        if names.name == found.name:
            return filter_
        if isinstance(filter_, (And, Or)):
            return type(filter_)(tuple(self._lowered(part, names, found) for part in filter_.parts))
        if isinstance(filter_, Not):
            return Not(self._lowered(filter_.part, names, found))
        if isinstance(filter_, Some):
            inner = self._tree.schema.levels[names.flat(filter_.field)]
            if _is_within(self._tree.schema.levels, found, inner):
                if filter_.position is not None:
                    return _UNKNOWN
                return self._lowered(filter_.part, inner, found)
        return self._inside(filter_, names, found)

    def _inside(self, filter_: Filter, names: Level, found: Level) -> Filter:
        """Return that a document which is found is in one, of the level `names`, that fulfils a filter."""
        layout = self._tree.layouts[names.name]
        asked = self._expression(filter_, layout)
        if not asked.is_exact or self._server.count(layout.collection, asked.text) > MOST_IDS:
            return _UNKNOWN
        rows = self._tree.all_rows(names.name, asked.text, layout.place_fields)
        ids = [row['id'] for row in self._current(names.name, rows)]
        if not names.name:
            return _one_of('_root', ids)
        if found.outer == names.name:
            return _one_of('_parent', ids)
        return _UNKNOWN

    # -- documents -------------------------------------------------------------------------------------

    def matching(self, rows: Sequence[dict[str, Any]], filter_: Filter, scope: Scope) -> list[dict[str, Any]]:
        """Return those of some rows, with all that documents are made of, whose documents fulfil a filter."""
        if filter_ == ALL and scope.root_filter == ALL:
            return list(rows)
        docs = self._tree.complete(scope.found.name, rows)
        if scope.names is scope.found and scope.root_filter == ALL:
            return [row for row, doc in zip(rows, docs, strict=True) if filter_.matches(doc)]
        roots = self._tree.roots(rows)
        kept = []
        for row, doc in zip(rows, docs, strict=True):
            root = roots.get(row['_root'])
            way = None if root is None else self._way(root, self._tree.root, scope.found, doc)
            if way is None:
                continue
            if fulfils(filter_, way, scope.names.name, scope.found) and scope.root_filter.matches(way['']):
                kept.append(row)
        return kept

    def _way(self, doc: Any, level: Level, found: Level, wanted: Any) -> dict[str, Any] | None:
        """Return the documents on the way from an outermost one to one in its lists, by the name of their level."""
        if level.name == found.name:
            return {level.name: doc} if doc.id == wanted.id else None
        for name in self._tree.schema.levels:
            inner = self._tree.schema.levels[name]
            if inner.outer != level.name or not _is_within(self._tree.schema.levels, found, inner):
                continue
            for each in inner.list_column.value(doc) or ():
                way = self._way(each, inner, found, wanted)
                if way is not None:
                    return {level.name: doc, **way}
        return None


def fulfils(filter_: Filter, way: Mapping[str, Any], name: str, found: Level) -> bool:
    """
    Return whether a document that is found fulfils what a filter says of the documents that it is in, and of itself.

    Args:
        filter_: The filter, by the names of the level `name`.
        way: The documents on the way to it, by level.
        name: The level.
        found: The level of the document.
    """
    if isinstance(filter_, And):
        return all(fulfils(part, way, name, found) for part in filter_.parts)
    if isinstance(filter_, Or):
        return any(fulfils(part, way, name, found) for part in filter_.parts)
    if isinstance(filter_, Not):
        return not fulfils(filter_.part, way, name, found)
    if isinstance(filter_, Some):
        inner = f'{name}__{filter_.field}' if name else filter_.field
        if inner in way:
            if filter_.position is not None:
                inside = replace(filter_, part=ALL)
                here = list(_listed(way[name], inside))
                if way[inner].id not in [doc.id for doc in here]:
                    return False
            return fulfils(filter_.part, way, inner, found)
    return filter_.matches(way[name])


def _listed(doc: Any, some: Some) -> Sequence[Any]:
    value = doc
    for step in some.steps:
        value = None if value is None else getattr(value, step, None)
    docs = list(value or ())
    return docs if some.position is None else docs[some.position : some.position + 1]


def _is_within(levels: Mapping[str, Level], found: Level, outer: Level) -> bool:
    """Return whether documents of a level are those of another, or in lists of theirs."""
    level: Level | None = found
    while level is not None:
        if level.name == outer.name:
            return True
        level = None if level.outer is None else levels[level.outer]
    return False


def _one_of(field: str, ids: Sequence[str]) -> Filter:
    return Condition(field, (field,), (), '$in', tuple(ids), _TEXT)


_UNKNOWN = Condition('_unknown', ('_unknown',), (), '$exists', True, _TEXT)
"""A condition on a field that no collection has: it may be true or not."""
