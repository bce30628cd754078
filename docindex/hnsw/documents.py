"""Documents of one level on their way into the store, as rows and matrices, and back out of it; see `tree`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from ..distances import Labels
from ..errors import CHECK, CorruptIndexError, DocumentError
from ..fields import VectorSettings
from ..incoming import Given
from ..matrices import column_matrix
from ..payload import Payloads
from ..schema import Level
from ..tensors import Float32Array, LostTensorError, as_tensor
from .extraction import Extraction
from .records import Row, StoredRow
from .rows import Content
from .state import View
from .transaction import Vectors

D = TypeVar('D', bound=BaseModel)

_BLOCK = 64
NEAR = 256  # documents that are looked at several times while they are in the processor's caches


class Documents(Generic[D]):
    """
    Writes and reads the documents of one level, without those in their lists.

    Args:
        level: The level.
        dims: The lengths of its vectors, by field.

    Attributes:
        level: The level.
        doc_type: The class.
        dims: The lengths of its vectors, by field.
        lists: The lists of documents that they have.
        is_plain: Whether reading and changing them runs no code of the user's.
        extraction: What filters look at.
    """

    def __init__(self, level: Level, dims: Mapping[str, int]) -> None:
        self.level = level
        self.dims = dims
        schema = level.schema
        self._schema = schema
        self._flat = {name: level.flat(name) for name in dims}
        self.doc_type: type[D] = schema.doc_type
        self.lists = list(schema.lists.values())
        self._columns = [schema.columns[name] for name in dims]
        self._payloads: Payloads[D] = Payloads(schema.doc_type, self._columns, self.lists)
        self._no_vectors: dict[str, Float32Array | None] = {
            name: np.zeros(dim, np.float32) for name, dim in dims.items()
        }
        self.is_plain = self._payloads.is_plain
        self.extraction = Extraction(schema, self._payloads, self._no_vectors)

    def prepared(
        self, given: Sequence[Given], settings: Mapping[str, VectorSettings], are_vectors_kept: bool = False
    ) -> tuple[list[Row], dict[str, Vectors]]:
        """
        Check documents and turn them into rows and matrices. Nothing is written yet.

        Args:
            given: The documents; no id twice.
            settings: Those of each vector field.
            are_vectors_kept: They come from `without_vectors`: there are no matrices, and rows with what they had.
        """
        docs = [one.doc for one in given]
        vectors: dict[str, Vectors] = {}
        originals: dict[str, list[Any]] = {}
        for column in self._columns:
            values = [column.value(doc) for doc in docs]
            if are_vectors_kept:  # a list of floats is one in the JSON, and an array beside it
                originals[column.name] = [None if value is None else as_tensor(value) for value in values]
                continue
            matrix, arrays = column_matrix(values, column, settings[column.name], lambda at: given[at].name())
            is_present = np.array([array is not None for array in arrays], bool)
            vectors[column.name] = Vectors(matrix, is_present)
            originals[column.name] = arrays
        rounded = [name for name, one in settings.items() if one.stored_as == 'float16']
        rows: list[Row] = []
        for start in range(0, len(given), NEAR):
            part = given[start : start + NEAR]
            near = {name: arrays[start : start + NEAR] for name, arrays in originals.items()}
            dumped, fitting = self._dumped(part, near, rounded)
            fields = self.extraction.values(fitting)
            for one, (data, tensors), in_fields in zip(part, dumped, fields, strict=True):
                rows.append(
                    Row(one.doc.id, data, tensors, in_fields, one.parent, one.position, self._children(one.doc))
                )
        return rows, vectors

    def _dumped(
        self, given: Sequence[Given], originals: Mapping[str, Sequence[Any]], rounded: Sequence[str]
    ) -> tuple[list[Content], list[Any]]:
        """
        Return the JSON and the tensors of documents, and these as they come back.

        `originals` are their vectors as they were given.
        """
        docs = [one.doc for one in given]
        alike = self._payloads.dump_alike(docs, originals)
        if alike is not None:
            return [(text, None) for text in alike], docs
        dumped: list[Content] = []
        for at, one in enumerate(given):
            try:
                docs[at] = self._payloads.fitting(one.doc)
                vectors = {name: arrays[at] for name, arrays in originals.items()}
                dumped.append(self._payloads.dump(docs[at], vectors, rounded))
            except DocumentError as error:
                raise DocumentError(f'{one.name()}: {error}') from error
        return dumped, docs

    def _children(self, doc: Any) -> int:
        return sum([len(column.value(doc) or ()) for column in self.lists]) if self.lists else 0

    def load(self, view: View, labels: Labels, path: Path, rows: Mapping[int, Content] | None = None) -> list[D]:
        """
        Return the documents with these labels, in their order; `rows` is what SQLite has of them, where that is known.

        Raises:
            CorruptIndexError: one of them is not there, or damaged; `path` is named.
        """
        if not len(labels):
            return []
        rows = _fetched(view, labels, path) if rows is None else rows
        return self._of(view, labels, [rows[label] for label in labels.tolist()], path)

    def kept(self, view: View, path: Path) -> Kept[D]:
        """Return what makes documents of rows later, with the vectors that they have now; `path` is named in errors."""
        vectors = {name: view.kept(self.level.flat(name)) for name in self.dims}
        return Kept(self._document, vectors, path, self.is_plain and view.is_committed)

    def _of(self, view: View, labels: Labels, rows: Sequence[Content], path: Path) -> list[D]:
        columns = {name: view.vectors_or_none(flat, labels) for name, flat in self._flat.items()}
        docs = self._payloads.load_alike(rows, columns)
        if docs is not None:
            return docs
        each = [dict(zip(columns, vectors, strict=True)) for vectors in zip(*columns.values(), strict=True)]
        return [self._document(row, vectors, path) for row, vectors in zip(rows, each or [{}] * len(rows), strict=True)]

    def without_vectors(self, view: View, labels: Labels, path: Path) -> list[D]:
        """
        Return the documents with these labels, with zeros for their vectors: no vector need be read.

        Raises:
            CorruptIndexError: as for `load`.
        """
        rows = _fetched(view, labels, path)
        contents = [rows[label] for label in labels.tolist()]
        columns = {name: [one] * len(contents) for name, one in self._no_vectors.items()}
        docs = self._payloads.load_alike(contents, columns)
        return docs or [self._document(row, self._no_vectors, path) for row in contents]

    def reread(self, view: View, label: int, text: bytes, packed: bytes | None) -> D:
        """
        Return the document that a row is of, with its vectors.

        Raises:
            DocumentError: a vector is searched that is none of it, or it cannot be read; see `Payloads.load`.
        """
        labels = np.array([label], np.int64)
        vectors = {name: view.vectors_or_none(self.level.flat(name), labels)[0] for name in self.dims}
        doc = self._payloads.load(text, packed, vectors)
        for column in self._columns:
            # SQLite has forgotten that there is none, and searches take the zeros in its place for one.
            if vectors[column.name] is not None and column.is_stored and column.value(doc) is None:
                raise DocumentError(f'searches see a vector in {self.level.flat(column.name)!r}, and it has none')
        return doc

    def _document(self, row: Content, vectors: Mapping[str, Float32Array | None], path: Path) -> D:
        try:
            return self._payloads.load(*row, vectors)
        except LostTensorError as error:
            message = f'a document refers to the vector {error.args[0]!r}, which is not there'
            raise CorruptIndexError(message, path, CHECK) from error


class Kept(Generic[D]):
    """
    Makes documents of rows, whatever has become of the index.

    Args:
        document: Makes one of its JSON and tensors, its vectors, and a path to name in errors.
        vectors: Read the vectors of labels, by field.
        path: The path.
        may_wait: Whether they may be made when somebody looks at them: that runs no code of the user's, and none of
            what they are made of can be undone.
    """

    def __init__(
        self,
        document: Callable[[Content, Mapping[str, Float32Array | None], Path], D],
        vectors: Mapping[str, Callable[[Labels], list[Float32Array | None]]],
        path: Path,
        may_wait: bool,
    ) -> None:
        self.may_wait = may_wait
        self._document = document
        self._vectors = vectors
        self._path = path

    def making(self, rows: Sequence[Any]) -> Callable[[int], D]:
        """
        Return what makes the documents of these rows, each as for a `StoredRow`, by position.

        Raises (it):
            CorruptIndexError: one of the rows, so perhaps of another place in the list, is damaged.
        """
        blocks: dict[int, dict[str, list[Float32Array | None]]] = {}
        contents: list[Content] = []

        def make(at: int) -> D:
            if not contents:  # all of them: with a damaged position one is in the place of another
                contents.extend(StoredRow(*row).content(self._path) for row in rows)
            block, within = divmod(at, _BLOCK)
            if block not in blocks:  # whoever looks at one document of a list looks at the next
                labels = np.array([row[0] for row in rows[block * _BLOCK : (block + 1) * _BLOCK]], np.int64)
                blocks[block] = {name: read(labels) for name, read in self._vectors.items()}
            vectors = {name: column[within] for name, column in blocks[block].items()}
            return self._document(contents[at], vectors, self._path)

        return make


def _fetched(view: View, labels: Labels, path: Path) -> dict[int, Content]:
    """Return the JSON and the tensors of the documents with these labels, by label."""
    wanted = set(labels.tolist())
    rows = view.rows.fetch(list(wanted))
    for label in wanted - rows.keys() if len(rows) < len(wanted) else ():
        raise CorruptIndexError(
            f'a graph knows the label {label}, which has no document', path, 'remove its "graphs" directory and reopen'
        )
    return rows
