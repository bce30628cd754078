"""
All documents of one index into another, of whatever kind: `copy_index(source, target)`.

What the target has already, and has the same, is passed over. So a copy that was interrupted goes on where it was, a
second one brings what has changed, and nothing need be remembered of how far one has come.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from ._progress import check_progress, progress_bar
from .document import equal_values
from .errors import QueryError
from .filters import FilterLike
from .index import DocumentIndex
from .schema import Schema

logger = logging.getLogger('docindex')

D = TypeVar('D', bound=BaseModel)

_SHOWN = 10
_NEIGHBOURS = 10
_SEED = 20


@dataclass
class CopyReport:
    """
    What a copy has done, and what the comparison at its end has found; `print(report)` says it in words.

    Attributes:
        documents: How many documents the source has, or how many of it were to be copied.
        written: How many were written to the target.
        same: How many it had already.
        only_in_target: How many documents the target has besides.
        compared: How many documents of a sample were compared, read from both.
        different: The ids of those that are not the same, or not there.
        searches: For each vector field, the mean share of neighbours that both find, of those of the sample; graphs
            differ, so it is a little less than 1.
        seconds: How long all of it took.
    """

    documents: int = 0
    written: int = 0
    same: int = 0
    only_in_target: int = 0
    compared: int = 0
    different: list[str] = field(default_factory=list)
    searches: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether the target has all documents, and of the sample the same ones."""
        return self.written + self.same == self.documents and not self.different

    def __str__(self) -> str:
        rate = f', {self.written / self.seconds:,.0f} a second' if self.seconds > 1 else ''
        lines = [f'{self.documents:,} documents: {self.written:,} written in {self.seconds:,.1f} s{rate}']
        if self.same:
            lines[0] += f', {self.same:,} were there already'
        if self.only_in_target:
            lines.append(f'{self.only_in_target:,} documents are in the target only')
        lines.append(f'{self.compared:,} documents compared: {len(self.different):,} differ')
        lines += [f'  {id_!r} differs' for id_ in self.different[:_SHOWN]]
        lines += [f'{name}: both find {share:.1%} of the same neighbours' for name, share in self.searches.items()]
        return '\n'.join([*lines, 'complete' if self.is_complete else 'not complete'])


def copy_index(
    source: DocumentIndex[D],
    target: DocumentIndex[Any],
    *,
    filter: FilterLike = None,  # noqa: A002 (the field's name for it)
    mirror: bool = False,
    batch_size: int = 1_000,
    sample: int = 100,
    show_progress: bool | None = None,
) -> CopyReport:
    """
    Copy the documents of an index into another, and compare the two.

    `copy_index(local, milvus)` and back. The source is read as of one moment, and both can be used meanwhile; what is
    written to the source after it began is for the next copy. Memory for one batch is enough, and for the ids. A copy
    that was interrupted is called again: what is there already is compared instead of written.

    Args:
        source: The index to read.
        target: The index to write to, with the same fields.
        filter: Only documents that match; see `docindex.filters`.
        mirror: Delete the documents from the target that the source does not have.
        batch_size: How many documents are read and written at once.
        sample: How many documents are compared at the end, and searched for with their vectors.
        show_progress: True: show a progress bar. None: show one on a terminal, for what takes long.

    Returns:
        What was written, and what differs; `report.is_complete` is the verdict.

    Raises:
        QueryError: the two have different fields, or are one.
        DocIndexError: what reading or writing raises; what was written before stays.
    """
    began = time.perf_counter()
    check_progress(show_progress)
    for name, number in (('batch_size', batch_size), ('sample', sample)):
        if isinstance(number, bool) or not isinstance(number, int) or number < (name == 'batch_size'):
            raise QueryError(f'{name} must be a positive number of documents, got {number!r}')
    _check_fields(source, target)
    copying = _Copying(source, target)
    with source._moment(filter, batch_size) as moment:
        copying.report.documents = moment.total
        copying.has_some = target.num_docs() > 0
        with progress_bar(moment.total, 'copying', show_progress, 'document') as advance:
            for docs in moment.batches():
                copying.put(docs)
                advance(len(docs))
    copying.finish(mirror and filter is None, sample)
    copying.report.seconds = time.perf_counter() - began
    return copying.report


class _Copying:
    """
    One copy.

    Attributes:
        report: What it has done.
        has_some: Whether the target had documents when it began.
    """

    def __init__(self, source: DocumentIndex[Any], target: DocumentIndex[Any]) -> None:
        self._source = source
        self._target = target
        self._ids: set[str] = set()
        self.report = CopyReport()
        self.has_some = True

    def put(self, docs: Sequence[Any]) -> None:
        """Write those of some documents that the target does not have, or has otherwise."""
        self._ids.update(doc.id for doc in docs)
        there = {doc.id: doc for doc in self._target.get([doc.id for doc in docs])} if self.has_some else {}
        new = [doc for doc in docs if doc.id not in there or not _is_same(doc, there[doc.id])]
        self.report.same += len(docs) - len(new)
        if new:
            self._target.index(new, show_progress=False)
        self.report.written += len(new)

    def finish(self, mirror: bool, sample: int) -> None:
        """Compare the two, and delete what only the target has, if that is wanted."""
        others = self._target.num_docs() - len(self._ids)
        if mirror and others:
            gone = [id_ for id_ in self._target if id_ not in self._ids]
            self._target.delete(gone)
            logger.info('%d documents that the source does not have were deleted', len(gone))
            others = self._target.num_docs() - len(self._ids)
        self.report.only_in_target = max(others, 0)
        if others < 0:
            logger.warning('the target has %d documents less than were written to it', -others)
        chosen = random.Random(_SEED).sample(sorted(self._ids), min(sample, len(self._ids)))
        mine, others_by_id = self._source.get(chosen), {doc.id: doc for doc in self._target.get(chosen)}
        self.report.compared = len(mine)
        for doc in mine:
            if doc.id not in others_by_id or not _is_same(doc, others_by_id[doc.id]):
                self.report.different.append(doc.id)
        self.report.searches = self._searched(mine)

    def _searched(self, docs: Sequence[Any]) -> dict[str, float]:
        """Return for each vector field the mean share of neighbours that both indexes find."""
        shares: dict[str, float] = {}
        schema = Schema(self._source._documents_class())
        for name in schema.vector_settings({}):
            if name not in schema.columns:
                continue  # of documents in lists
            queries = [value for doc in docs if (value := schema.columns[name].value(doc)) is not None]
            if not queries:
                continue
            matrix = np.stack([np.asarray(query, np.float32) for query in queries])
            found = [
                [set(found.id) for found in index.find_batched(matrix, name, _NEIGHBOURS).documents]
                for index in (self._source, self._target)
            ]
            each = [len(mine & others) / max(len(mine), 1) for mine, others in zip(*found, strict=True)]
            shares[name] = float(np.mean(each))
        return shares


def _is_same(left: Any, right: Any) -> bool:
    """Return whether two documents, perhaps of two classes with the same fields, hold the same."""
    return left.__class__.model_fields.keys() == right.__class__.model_fields.keys() and all(
        _is_same(mine, other) if isinstance(mine, BaseModel) and isinstance(other, BaseModel) else _equal(mine, other)
        for mine, other in ((getattr(left, name), getattr(right, name)) for name in left.__class__.model_fields)
    )


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list) and any(isinstance(one, BaseModel) for one in left):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return equal_values(left, right)


def _check_fields(source: DocumentIndex[Any], target: DocumentIndex[Any]) -> None:
    if source is target:
        raise QueryError('source and target are one index')
    mine, others = (_types(index._documents_class()) for index in (source, target))
    differ = sorted(name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name))
    if differ:
        shown = (f'{name} ({mine.get(name, "not there")} and {others.get(name, "not there")})' for name in differ[:5])
        raise QueryError(f'source and target have different fields: {", ".join(shown)}')


def _types(doc_type: type[BaseModel]) -> dict[str, str]:
    schema: Schema[Any] = Schema(doc_type)
    return schema.describe({})
