"""
`SubIndex`: the documents in the lists of others, as an index of their own.

What changes a list writes the outermost document anew, with all of its lists: so it changes whole, like every document.
Only the fields of a document that has no lists itself are written alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from .._aio import OneByOne
from ..doclist import DocList
from ..errors import DocumentError, DocumentNotFoundError
from ..filters import FilterLike
from ..incoming import Given, list_of
from ..parsing import parse
from ..query import Query
from ..results import SubindexFindResult
from ..schema import Level
from ..scopes import Scope
from ..searchable import ids_of
from ..sublists import InLists
from .changing import Changing
from .limits import Row
from .searching import Searching
from .server import Server
from .writing import Writer

D = TypeVar('D', bound=BaseModel)


class SubIndex(Changing[D], InLists[D]):
    """
    The documents in one list of those of an index, in all of them: `index.subindex('chunks')`.

    They are found, filtered, read, changed and deleted by their own fields and ids, and `append` adds some; the
    documents that they are in have them as they are here. It is open as long as the index is.

    `len` and `count` read the ids of what they count, since a server also has rows of versions that are under way. A
    search while the same documents are replaced begins anew, a few times; then what is gone is left out.
    """

    def __init__(self, index: Changing[Any], level: Level, writes: OneByOne) -> None:
        self._index = index
        self._tree = index._tree
        self._level = level
        self._writes = writes  # those of the index: its async calls write one after another

    def _usable(self) -> Server:
        return self._index._usable()

    def _writer(self) -> Writer:
        return self._index._writer()

    # -- writing ---------------------------------------------------------------------------------

    def append(self, parent_id: str, docs: object) -> None:
        """Add documents at the end of a list; see `InLists.append`."""
        self._usable()
        new = self._level.schema.documents(docs)
        outer = self._level.outer or ''
        rows = self._tree.rows_of(outer, ids_of(parent_id))
        if not rows:
            raise DocumentNotFoundError([parent_id])

        def add(doc: Any) -> None:
            current = list_of(doc, self._level)
            if current is None:
                column = self._level.list_column
                holder = doc
                for step in column.path[:-1]:
                    holder = getattr(holder, step)
                if holder is None:
                    raise DocumentError(
                        f'{column.outer} is None in this document; set it as a whole, {column.outer}=...'
                    )
                setattr(holder, column.path[-1], new)
            else:
                current.extend(new)

        if new:
            self._change_inside(
                outer, [row['_root'] if '_root' in row else row['id'] for row in rows], {parent_id: add}
            )

    def _store_whole(self, given: Sequence[Given], rows: Sequence[Row]) -> None:
        changed = {one.doc.id: one.doc for one in given}

        def replaced(doc: Any) -> None:
            current = list_of(doc, self._level)
            for at, each in enumerate(current or ()):
                if each.id in changed and current is not None:
                    list.__setitem__(current, at, changed[each.id])

        self._change_inside(self._level.outer or '', [row['_root'] for row in rows], {None: replaced})

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete the documents with these ids, passing over unknown ones; return how many there were."""
        self._usable()
        rows = self._tree.rows_of(self._level.name, ids_of(ids))
        self._remove(rows)
        return len(rows)

    def __delitem__(self, key: str | list[str] | tuple[str, ...]) -> None:
        self._usable()
        self._remove(self._rows_of(ids_of(key)))

    def _remove(self, rows: Sequence[Row]) -> None:
        gone = {row['id'] for row in rows}

        def without(doc: Any) -> None:
            current = list_of(doc, self._level)
            if current is not None:
                list.__setitem__(current, slice(None), [each for each in current if each.id not in gone])

        if gone:
            self._change_inside(self._level.outer or '', [row['_root'] for row in rows], {None: without})

    def _change_inside(
        self, level: str, roots: Iterable[str], changes: dict[str | None, Callable[[Any], None]]
    ) -> None:
        """Change documents of a level, those with an id or under None all, in outermost ones, and store these."""
        docs = self._tree.load('', list(dict.fromkeys(roots)))
        for root in docs.values():
            for doc in self._inside(root, level):
                change = changes.get(doc.id) or changes.get(None)
                if change is not None:
                    change(doc)
        self._writer().store([Given(doc, None, 0, (f'document {id_!r}',)) for id_, doc in docs.items()])

    def _inside(self, root: Any, name: str) -> list[Any]:
        """Return the documents of a level that an outermost one has in its lists."""
        if not name:
            return [root]
        level = self._tree.schema.levels[name]
        return [doc for outer in self._inside(root, level.outer or '') for doc in list_of(outer, level) or ()]

    # -- reading ---------------------------------------------------------------------------------

    def roots(self, ids: str | Iterable[str]) -> DocList[Any]:
        """Return for each of these documents the indexed one that it belongs to; see `InLists.roots`."""
        self._usable()
        wanted = ids_of(ids)
        root_of = {row['id']: row['_root'] for row in self._rows_of(wanted)}
        docs = self._tree.load('', list(dict.fromkeys(root_of.values())))
        missing = [id_ for id_ in wanted if root_of[id_] not in docs]
        if missing:
            raise DocumentNotFoundError(missing)
        return self._outermost([docs[root_of[id_]] for id_ in wanted])

    def with_roots(self, query: Query, root_filter: FilterLike) -> SubindexFindResult[Any]:
        """Answer a query about documents in outermost ones that match, with these."""
        self._usable()
        scope = self._scope(query, parse(self._tree.root.schema, root_filter))
        return self._settled(scope, lambda searching: self._with_roots(searching, query, scope))

    def _with_roots(self, searching: Searching, query: Query, scope: Scope) -> SubindexFindResult[Any]:
        docs, scores = self._answered(searching, query, scope).result
        root_of = searching.roots_of(docs.id)
        roots = self._tree.load('', list(dict.fromkeys(root_of.values())))
        there = {doc.id for root in roots.values() for doc in self._inside(root, self._level.name)}
        kept = [at for at, doc in enumerate(docs) if root_of.get(doc.id) in roots and doc.id in there]
        searching.passed_over |= {doc.id for at, doc in enumerate(docs) if at not in kept}
        of = self._outermost([roots[root_of[docs[at].id]] for at in kept])
        return SubindexFindResult(of, docs[kept], scores[kept])

    def _outermost(self, docs: Sequence[Any]) -> DocList[Any]:
        return DocList[self._tree.schema.doc_type].trusted(list(docs))  # type: ignore[name-defined]

    def filtered(self, query: Query, root_filter: FilterLike) -> DocList[Any]:
        """Return the documents that a query finds in outermost ones that match."""
        self._usable()
        return self._answer(query, parse(self._tree.root.schema, root_filter)).result.documents

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self._level.name!r} of {self._index!r}>'
