"""`import_docarray`: the documents of a DocArray work directory in a new index, and a report of what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from .._progress import check_progress, progress_bar
from ..annotations import is_ambiguous
from ..errors import CorruptIndexError, DocumentError, IdTypeError, QueryError, VectorError, WorkDirError
from ..hnsw.config import HnswDBConfig
from ..hnsw.index import HnswDocumentIndex
from ..query import checked_count
from ..refusals import explain
from ..schema import Schema
from .blobs import document
from .directory import DocArrayDirectory, Numbers, row_of
from .fitting import Fitting
from .wire import WireError

OnError = Literal['raise', 'skip']
_UNFIT = (DocumentError, VectorError, IdTypeError)


@dataclass(frozen=True)
class Skipped:
    """
    A document that was not imported.

    Attributes:
        row: The number of its row in `docs_sqlite.db`, the column `doc_id`.
        id: Its id; None if it could not be read.
        reason: What is wrong with it.
    """

    row: int
    id: str | None
    reason: str

    def __str__(self) -> str:
        return f'row {self.row}{"" if self.id is None else f" (id {self.id!r})"}: {self.reason}'


@dataclass(frozen=True)
class ImportReport:
    """
    What an import has found and done; `print(report)` says it in words.

    Attributes:
        found: How many documents DocArray has.
        imported: How many of them are in the index now.
        in_index: How many documents the index holds; more than `imported` if it held others before.
        skipped: Those that are not, and why.
        float32: By field, how many vectors are known as float32 only, as DocArray itself returns them: it stored them
            in its graph and nowhere else. All other vectors and tensors are what was once given to DocArray.
        forgotten: By graph file, how many of its vectors have no document: it was deleted, or never finished. Left out.
        orphans: By field, how many documents a subindex has that are in no document's list any more. Left out.
        lost: By field, how many documents are in a list but not in the subindex of DocArray. Imported.
        not_compared: By field, why a subindex could not be read, and so not be compared with the documents' lists.
        unknown_fields: Fields of DocArray's documents that the schema does not have. Left out.
    """

    found: int
    imported: int
    in_index: int
    skipped: Sequence[Skipped] = ()
    float32: Mapping[str, int] = field(default_factory=dict)
    forgotten: Mapping[str, int] = field(default_factory=dict)
    orphans: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    not_compared: Mapping[str, str] = field(default_factory=dict)
    unknown_fields: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every document of DocArray is in the index, with all of its fields."""
        return self.imported == self.found and not self.unknown_fields

    def __str__(self) -> str:
        return '\n'.join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f'{self.imported:,} of {self.found:,} documents imported; the index holds {self.in_index:,}'
        for name, count in self.float32.items():
            yield f'{name}: vectors that DocArray kept in float32 only, as it returned them: {count:,}'
        for name, count in self.forgotten.items():
            yield f'left out: vectors in {name} whose document was deleted, or never written: {count:,}'
        for name, count in self.orphans.items():
            yield f'left out: documents in the subindex {name} that are in no list any more: {count:,}'
        for name, count in self.lost.items():
            yield f'{name}: imported although missing from the subindex: {count:,}'
        for name, reason in self.not_compared.items():
            yield f'the subindex {name} was not compared with the lists of the documents: {reason}'
        for name in self.unknown_fields:
            yield f'left out: the field {name}, which the schema does not have'
        for skipped in self.skipped:
            yield f'skipped: {skipped}'


def import_docarray(
    old: str | os.PathLike[str],
    new: HnswDBConfig | str | os.PathLike[str],
    schema: type[BaseModel],
    *,
    batch_size: int = 1000,
    on_error: OnError = 'raise',
    resume: bool = False,
    show_progress: bool | None = False,
) -> ImportReport:
    """
    Import the documents of a DocArray work directory; see docs/from-docarray.md. DocArray need not be installed.

    `old` is only read; DocArray must not write to it meanwhile. Each batch is a transaction: what was imported before
    an error or an interruption stays in `new`, and `resume=True` completes it.

    Args:
        old: The work directory of DocArray's `HnswDocumentIndex`, of version 0.36 to 0.41.
        new: The directory of the new index, or a `DBConfig`. It must hold no documents yet.
        schema: The document class, with docindex's types; its fields have the names that they had in DocArray.
        batch_size: How many documents are read, checked and stored at a time.
        on_error: 'raise': the first document that cannot be read, or does not fit the schema, ends the import. 'skip':
            such documents are left out, and listed in the report.
        resume: `new` may hold documents. Those with the same id are replaced.
        show_progress: True: show a progress bar. None: show one on a terminal.

    Returns:
        What was found; see `ImportReport`.

    Raises:
        WorkDirError: `old` is no work directory of DocArray, is being written to, or `new` cannot be used or holds
            documents.
        CorruptIndexError: a file or a document in `old` is damaged; the message says which.
        DocumentError: a document does not fit the schema; the message names its row, its id and the fields.
        SchemaError: the class cannot be indexed.
        QueryError: an argument makes no sense.
    """
    if on_error not in ('raise', 'skip'):
        raise QueryError(f"on_error is 'raise' or 'skip', got {on_error!r}")
    if checked_count('batch_size', batch_size) == 0:
        raise QueryError('batch_size must be at least 1, got 0')
    check_progress(show_progress)
    with DocArrayDirectory(Path(old), Schema(schema).columns) as source:
        config = new if isinstance(new, HnswDBConfig) else HnswDBConfig(new)
        _check_apart(source.path, config.directory())
        with HnswDocumentIndex[schema](config) as index:  # type: ignore[valid-type]
            if len(index) and not resume:
                hint = 'resume=True (--resume) goes on with an import, and replaces documents that have the same id'
                raise WorkDirError(f'this index holds {len(index):,} documents already', config.directory(), hint)
            work = _Import(source, index, schema, on_error)
            with progress_bar(len(source), 'importing', show_progress, 'document') as advance:
                for rows in source.batches(batch_size):
                    work.store(rows)
                    advance(len(rows))
            source.check_unchanged()
            return work.report()


def _check_apart(old: Path, new: Path) -> None:
    if new.resolve().is_relative_to(old.resolve()):
        raise WorkDirError("the new index cannot be inside DocArray's directory", new, 'choose another one')


class _Import:
    """An import at work, and what it has met so far."""

    def __init__(
        self, source: DocArrayDirectory, index: HnswDocumentIndex[Any], schema: type[BaseModel], on_error: OnError
    ) -> None:
        self._source = source
        self._index = index
        self._schema = schema
        self._by_alias = not is_ambiguous(schema)  # DocArray knows fields by their names
        self._on_error = on_error
        self._fitting = Fitting(schema)
        self._skipped: list[Skipped] = []
        self._float32: dict[str, int] = {}
        self._rows: list[Numbers] = []
        self._imported = 0

    def store(self, rows: Sequence[tuple[int, object]]) -> None:
        """Import some documents, in one transaction."""
        self._rows.append(np.array([row for row, _ in rows], np.int64))
        docs = [(row, doc) for row, blob in rows if (doc := self._document(row, blob)) is not None]
        before = len(self._skipped)
        try:
            self._index.index([doc for _, doc in docs], show_progress=False)
        except _UNFIT:
            self._store_each(docs)
        self._imported += len(docs) - (len(self._skipped) - before)

    def _store_each(self, docs: Sequence[tuple[int, Any]]) -> None:
        """Store documents of which at least one is refused: to find out which, and to store the others."""
        with self._index.batch():
            for row, doc in docs:
                try:
                    self._index.index(doc, show_progress=False)
                except _UNFIT as error:
                    self._leave_out(Skipped(row, doc.id, str(error).removeprefix('document 0 ')), error)

    def _document(self, row: int, blob: object) -> BaseModel | None:
        """Return the document in a row; None if it is left out."""
        id_ = None
        try:
            values = _values(row, blob)
            id_ = values['id']
            from_graphs = self._add_vectors(row, values)
            self._fitting.fit(values)
            doc = self._schema.model_validate(values, by_alias=self._by_alias, by_name=True)
        except WireError as error:
            self._leave_out(Skipped(row, id_, str(error)), error)
            return None
        except ValidationError as error:
            self._leave_out(Skipped(row, id_, explain(error)), error)
            return None
        for name in from_graphs:
            self._float32[name] = self._float32.get(name, 0) + 1
        return doc

    def _add_vectors(self, row: int, values: dict[str, Any]) -> list[str]:
        """Add the vectors that DocArray keeps in its graphs only; return their names."""
        # What is there to be searched is never None in DocArray: it refuses to index that.
        missing = [name for name in self._source.graphs if name in values and values[name] is None]
        for name in missing:
            values[name] = self._source.graphs[name].vector(row)
            if values[name] is None:
                raise WireError(f'its vector is neither in the document nor in {name}.bin')
        return missing

    def _leave_out(self, skipped: Skipped, error: Exception) -> None:
        """
        Skip a document, or end the import because of it.

        Raises:
            CorruptIndexError: it cannot be read.
            DocumentError: it does not fit the schema.
        """
        if self._on_error == 'skip':
            self._skipped.append(skipped)
            return
        message = f'{skipped}; {self._imported:,} documents were imported before its batch'
        hint = "on_error='skip' (--skip-errors) leaves such documents out"
        if isinstance(error, WireError):
            raise CorruptIndexError(message, self._source.database, hint) from error
        raise DocumentError(f'{message} ({self._source.database}); {hint}') from error

    def report(self) -> ImportReport:
        """Return what was found, after the last document."""
        rows = np.concatenate(self._rows) if self._rows else np.empty(0, np.int64)
        forgotten = {graph.path.name: _missing(graph.rows, rows) for graph in self._source.graphs.values()}
        orphans: dict[str, int] = {}
        lost: dict[str, int] = {}
        not_compared: dict[str, str] = {}
        for fields, numbers in self._fitting.children.items():
            name = '__'.join(fields)
            try:
                there = self._source.children(fields)
            except WorkDirError as error:  # all that is needed of it is in the documents
                not_compared[name] = str(error)
                continue
            if there is not None:
                held = np.array(numbers, np.int64)
                orphans[name] = _missing(there, held)
                lost[name] = _missing(held, there)
        return ImportReport(
            found=len(rows),
            imported=self._imported,
            in_index=len(self._index),
            skipped=self._skipped,
            float32=self._float32,
            forgotten=_without_zeros(forgotten),
            orphans=_without_zeros(orphans),
            lost=_without_zeros(lost),
            not_compared=not_compared,
            unknown_fields=sorted(self._fitting.unknown),
        )


def _values(row: int, blob: object) -> dict[str, Any]:
    """Return what a row holds, if it is the document that the row is for."""
    if not isinstance(blob, bytes):
        raise WireError(f'expected the bytes of a document, got {type(blob).__name__}')
    values = document(blob)
    id_ = values.get('id')
    if not isinstance(id_, str) or row_of(id_) != row:
        raise WireError(f'the document has the id {id_!r}, which belongs into another row')
    return values


def _missing(numbers: Numbers, among: Numbers) -> int:
    return int(np.isin(np.unique(numbers), among, invert=True).sum())


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
