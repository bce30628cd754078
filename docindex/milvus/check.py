"""What `verify` does on Milvus: compare what a server keeps with what it should be, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._progress import progress_bar
from ..errors import DocIndexError
from ..incoming import Given
from .limits import Row
from .records import Place
from .server import Server
from .tree import Tree
from .writing import Writer

_SHOWN = 20


@dataclass
class MilvusCheckReport:
    """
    What was read, and what was wrong; `print` shows it.

    Attributes:
        documents: How many rows were read, by collection.
        damaged: The ids of documents that cannot be read, with what is wrong.
        stale: The ids of documents whose row says something else than the document: filters and searches are misled.
        left_over: How many rows are in lists of documents that do not have them: left by writes that were interrupted.
        repaired: Whether `stale` and `left_over` were mended.
    """

    documents: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    left_over: int = 0
    repaired: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return not self.damaged and (self.repaired or (not self.stale and not self.left_over))

    def __str__(self) -> str:
        lines = [f'{count:,} documents in {name!r}' for name, count in self.documents.items()]
        lines += [f'damaged: {id_!r}: {why}' for id_, why in list(self.damaged.items())[:_SHOWN]]
        mended = ' (mended)' if self.repaired else ''
        if self.stale:
            lines.append(f'{len(self.stale):,} rows do not fit their documents{mended}: {self.stale[:_SHOWN]}')
        if self.left_over:
            lines.append(f'{self.left_over:,} rows are in the lists of no document{mended}')
        return '\n'.join([*lines, 'sound' if self.is_sound else 'not sound'])


def verify(
    server: Server, tree: Tree[Any], writer: Writer, repair: bool, show_progress: bool | None
) -> MilvusCheckReport:
    """Do what `MilvusDocumentIndex.verify` says."""
    report = MilvusCheckReport(repaired=repair)
    total = sum(server.count(layout.collection) for layout in tree.layouts.values())
    with progress_bar(total, 'verifying', show_progress, 'document') as advance:
        for name, layout in tree.layouts.items():
            report.documents[layout.collection] = 0
            for rows in tree.each(name, '', layout.stored_fields):
                report.documents[layout.collection] += len(rows)
                _check_rows(tree, writer, name, rows, report)
                advance(len(rows))
    return report


def _check_rows(tree: Tree[Any], writer: Writer, name: str, rows: Sequence[Row], report: MilvusCheckReport) -> None:
    layout = tree.layouts[name]
    current = _in_lists(tree, name, rows)
    if len(current) < len(rows):
        keys = {row[layout.key] for row in current}
        lost = [row[layout.key] for row in rows if row[layout.key] not in keys]
        # Between the two reads a document may have been replaced; what is left over stays so.
        again = tree.by_ids(name, layout.key, lost, layout.place_fields)
        still = {row[layout.key] for row in _in_lists(tree, name, again)}
        lost = [row[layout.key] for row in again if row[layout.key] not in still]
        report.left_over += len(lost)
        if report.repaired:
            writer.remove_rows(name, lost)
    counted = _counted(tree, name, current)
    stale: list[Row] = []
    for row in current:
        try:
            wanted = _wanted(tree, name, row, counted)
        except DocIndexError as error:
            report.damaged[row['id']] = str(error)
            continue
        if not _is_same(row, wanted):
            stale.append(wanted)
    if stale:  # what was written meanwhile is newer than what it was compared with
        now = {
            row[layout.key]: row['_at']
            for row in tree.by_ids(name, layout.key, [row[layout.key] for row in stale], layout.place_fields)
        }
        stale = [row for row in stale if now.get(row[layout.key]) == row['_at']]
    report.stale += [row['id'] for row in stale]
    if report.repaired:
        writer.put_rows(name, stale)


def _in_lists(tree: Tree[Any], name: str, rows: Sequence[Row]) -> list[Row]:
    """Return those of some rows of a level that are in the list of a document."""
    current = tree.current(name, rows)
    outer = tree.schema.levels[name].outer
    if not outer:
        return current
    fields = tree.layouts[outer].place_fields
    above = tree.by_ids(outer, 'id', (row['_parent'] for row in current), fields)
    there = {(row['id'], row['_root'], row['_version']) for row in above}
    return [row for row in current if (row['_parent'], row['_root'], row['_version']) in there]


def _counted(tree: Tree[Any], name: str, rows: Sequence[Row]) -> dict[str, Counter[str]]:
    """Return how many documents are in each list, by list and by the id of the document that has it."""
    found: dict[str, Counter[str]] = {}
    versions = {row['id']: row['_version'] for row in rows}
    for level in tree.schema.levels.values():
        if level.outer == name and level.name:
            inner = tree.by_ids(level.name, '_parent', versions, ['_parent', '_version'])
            found[level.list_column.name] = Counter(
                row['_parent'] for row in inner if versions[row['_parent']] == row['_version']
            )
    return found


def _wanted(tree: Tree[Any], name: str, row: Row, counted: dict[str, Counter[str]]) -> Row:
    """Return what a row should be, by its document."""
    layout, records = tree.layouts[name], tree.records[name]
    (doc,) = records.documents([row])
    given = Given(doc, row.get('_parent'), row.get('_position', 0), (f'document {row["id"]!r}',))
    (wanted,) = records.rows([given], [Place(row['_version'], row['_at'], row.get('_root'))])
    for column, counts in counted.items():
        field_name = layout.scalars[column].name if column in layout.scalars else None
        if field_name is not None and wanted[field_name] is not None:
            wanted[field_name] = counts[row['id']]
    return wanted


def _is_same(row: Row, wanted: Row) -> bool:
    return all(_is_equal(row.get(name), value) for name, value in wanted.items())


def _is_equal(left: Any, right: Any) -> bool:
    if isinstance(right, np.ndarray):
        return np.array_equal(np.asarray(left, np.float32), right)
    return bool(left == right)
