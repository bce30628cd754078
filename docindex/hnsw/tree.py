"""
Documents with the documents in their lists, and in the lists of those, on their way into the store and back.

They are stored level by level: first those that are indexed, then all that are in a list of theirs. Each is a row with
vectors of its own, which says in whose list it stands, and where; its own lists are empty there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel

from ..deferred import deferred
from ..distances import Labels
from ..errors import CHECK, CorruptIndexError, DocumentError
from ..fields import VectorSettings
from ..incoming import Given, inside, last_of_each, levels_from, list_of, unlike
from ..schema import Level, Schema
from .documents import Documents, Kept
from .extraction import Extractions
from .fieldtable import FieldTables
from .records import ScannedRow, StoredRow
from .rows import Content
from .state import View
from .transaction import Part, TakenIdError

D = TypeVar('D', bound=BaseModel)

PORTION = 8_192  # documents that are turned into rows and matrices at a time


class Tree(Generic[D]):
    """
    Writes and reads the documents of a schema, whole.

    Args:
        schema: The schema.
        dims: The lengths of its vectors, by flat name.

    Attributes:
        schema: The schema.
        levels: The documents of each level, by the flat name of its list; the empty name is that of no list.
        root: The level of the outermost documents.
        vectors: The vector fields of all levels, by flat name.
        extractions: What filters look at.
    """

    def __init__(self, schema: Schema[D], dims: Mapping[str, int]) -> None:
        self.schema = schema
        self.levels: dict[str, Documents[Any]] = {}
        for name, level in schema.levels.items():
            mine = [column for column in level.schema.columns if level.flat(column) in dims]
            self.levels[name] = Documents(level, {column: dims[level.flat(column)] for column in mine})
        self.root = schema.levels['']
        self.vectors = list(dims)
        self.extractions: Extractions = {name: documents.extraction for name, documents in self.levels.items()}

    # -- into the store ----------------------------------------------------------------------------

    def parts(
        self, docs: Sequence[BaseModel], fields: FieldTables, settings: Mapping[str, VectorSettings]
    ) -> Iterable[Part]:
        """
        Return documents, the last of each id, and those in their lists, as parts to be stored in this order.

        What is not much is checked at once. Otherwise the parts are made, and checked, one by one, so that there is
        never much more in memory than the documents themselves.

        Raises:
            DocumentError: a document cannot be stored; the message says which and why.
        """
        return self.parts_of('', last_of_each(docs), fields, settings)

    def parts_of(
        self, name: str, given: Sequence[Given], fields: FieldTables, settings: Mapping[str, VectorSettings]
    ) -> Iterable[Part]:
        """Return documents of a level, no id twice, and those in their lists, as `parts` does."""
        parts = self._parts(name, given, fields, settings)
        first = list(islice(self._below(name, given), PORTION))
        return list(parts) if len(first) < PORTION else parts

    def _parts(
        self, name: str, given: Iterable[Given], fields: FieldTables, settings: Mapping[str, VectorSettings]
    ) -> Iterator[Part]:
        levels = self.schema.levels
        for inner in levels_from(levels, name):
            documents, level = self.levels[inner], fields.number(inner)
            mine = {column: settings[levels[inner].flat(column)] for column in documents.dims}
            each = iter(given if inner == name else unlike(inside(levels, inner, name, given)))
            while portion := list(islice(each, PORTION)):
                rows, vectors = documents.prepared(portion, mine)
                flat = {levels[inner].flat(column): one for column, one in vectors.items()}
                yield Part(level, rows, flat)

    def _below(self, name: str, given: Iterable[Given]) -> Iterator[Given]:
        """Yield documents of a level and all that are in lists of theirs."""
        levels = self.schema.levels
        for inner in levels_from(levels, name):
            yield from inside(levels, inner, name, given)

    def taken(self, error: TakenIdError, view: View, path: Path) -> DocumentError:
        """Return the error that a user sees where an id in a list is taken."""
        fields = view.state.fields
        level = self.schema.levels[fields.names[error.level]]
        name, outer = level.list_column.name, self.schema.levels[level.outer or ''].schema.name
        where = f'in {name} of {error.owner!r}'
        if level.outer:
            above = fields.number(level.outer)
            labels = np.array(list(view.rows.labels_of([error.owner], above).values()), np.int64)
            (root,) = view.rows.ids_of(self.roots_of(view, labels, above, path).tolist()).values()
            where += f', which belongs to {root!r}'
        return DocumentError(
            f'the id {error.row.id!r} in {name} of {outer} {error.row.parent!r} is taken: it is {where}; '
            f'ids are unique in all {level.name} of an index'
        )

    # -- out of the store --------------------------------------------------------------------------

    def reread(self, view: View, row: ScannedRow) -> Any:
        """Return the document that a row is of, with its vectors and without those in its lists."""
        documents = self.levels[view.state.fields.names[row.level]]
        return documents.reread(view, row.label, row.data, row.tensors)

    def load(
        self, view: View, labels: Labels, path: Path, name: str = '', rows: Mapping[int, Content] | None = None
    ) -> list[Any]:
        """
        Return the documents of a level with these labels, in their order, their lists complete.

        Args:
            view: What is seen.
            labels: The labels.
            path: What errors name.
            name: The level.
            rows: What `Rows.fetch` returns for them, where it has been called.

        Raises:
            CorruptIndexError: one of them is not there, or damaged, or a list is not as long as it should be.
        """
        documents = self.levels[name]
        docs = documents.load(view, labels, path, rows)
        if documents.lists and docs:
            inside = self._inside_of(view, [doc.id for doc in docs], path, name)
            expected = view.rows.child_counts(labels.tolist())
            for label, doc in zip(labels.tolist(), docs, strict=True):
                self._fill(doc, expected[label], inside, path)
        return docs

    def roots_of(self, view: View, labels: Labels, level: int, path: Path) -> Labels:
        """Return for documents of a level the labels of the outermost ones that they are in, in their order."""
        outer = view.state.fields.outer(level)
        while outer is not None:
            parents = view.rows.parents(list(dict.fromkeys(labels.tolist())), outer)
            try:
                labels = np.array([parents[label] for label in labels.tolist()], np.int64)
            except KeyError as error:
                raise CorruptIndexError('a document is in a list of one that is not there', path, CHECK) from error
            outer = view.state.fields.outer(outer)
        return labels

    def later(self, view: View, labels: Labels, path: Path) -> dict[int, Any]:
        """Return outermost documents by label, each whole and as of now, but made when somebody looks at it."""
        wanted = list(dict.fromkeys(labels.tolist()))
        found = view.rows.rows(wanted)
        rows = [found[label] for label in wanted]
        inside = self._inside_of(view, [row[2] for row in rows], path, '')
        docs = self._made('', self.levels[''].kept(view, path), rows, inside, path)
        return dict(zip(wanted, docs, strict=True))

    def _inside_of(self, view: View, ids: Sequence[str], path: Path, name: str) -> list[_Inside]:
        """Return what is in the lists of documents of a level."""
        found: list[_Inside] = []
        for level in (one for one in self.schema.levels.values() if one.outer == name):
            documents, number = self.levels[level.name], view.state.fields.number(level.name)
            rows: Mapping[str, Sequence[Any]]
            deeper: list[_Inside] = []
            if documents.lists:
                every = view.rows.children(number, ids)
                rows = {parent: list(each) for parent, each in groupby(every, itemgetter(1))}
                deeper = self._inside_of(view, [row[2] for row in every], path, level.name)
            else:
                rows = view.rows.packed_children(number, ids)
            found.append(_Inside(level, rows, documents.kept(view, path), deeper))
        return found

    def _made(
        self, name: str, kept: Kept[Any], rows: Sequence[Any], inside: Sequence[_Inside], path: Path
    ) -> list[Any]:
        """Return documents of a level: made when somebody looks at them, if they may wait for that."""
        documents, make = self.levels[name], kept.making(rows)

        def whole(at: int) -> Any:
            doc = make(at)
            self._fill(doc, StoredRow(*rows[at]).children, inside, path)
            return doc

        complete = whole if inside else make
        positions = range(len(rows))
        return deferred(documents.doc_type, complete, positions) if kept.may_wait else [*map(complete, positions)]

    def _fill(self, doc: Any, children: int, lists: Sequence[_Inside], path: Path) -> None:
        """Put the documents in its lists into a document that should have so many."""
        found = 0
        for one in lists:
            rows = one.rows.get(doc.id, ())
            found += len(rows)
            current = list_of(doc, one.level)
            if current is None and len(rows):
                message = f'{doc.id!r} has no list {one.level.name!r}, but there are documents of it'
                raise CorruptIndexError(message, path, CHECK)
            if current is not None and (len(rows) or current):  # what is there already is a default of the class
                docs = self._made(one.level.name, one.kept, rows, one.deeper, path)
                list.__setitem__(current, slice(None), docs)
        if found != children:
            message = f'{doc.id!r} has {found} documents in its lists where there should be {children}'
            raise CorruptIndexError(message, path, CHECK)


class _Inside(NamedTuple):
    """
    What is in one list of documents, in all of these.

    Attributes:
        level: The list.
        rows: The rows of what is in it, by the id of the document that has it.
        kept: Makes documents of them.
        deeper: What is in their lists.
    """

    level: Level
    rows: Mapping[str, Sequence[Any]]
    kept: Kept[Any]
    deeper: list[_Inside]
