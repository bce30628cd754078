"""
What this process knows of a directory: the truth as of one commit, and the caches that follow it.

A `State` moves from commit to commit while nobody reads; a `View` is what one call sees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..distances import Labels
from ..embedding import Recorded
from ..errors import CHECK, CorruptIndexError, SettingsError
from ..fields import VectorSettings
from ..locks import SharedLock
from ..tensors import Float32Array
from .conditions import Where
from .fieldtable import FieldTables
from .graphs import GraphCache
from .labels import LabelTable
from .matches import MatchCache, Matches
from .records import Change
from .rows import Rows
from .scan import Gathered
from .search import FieldSearch
from .settings import Declared, SettingsRecord
from .sidecar import Sidecar
from .vectors import Copies, VectorFile
from .workdir import WorkDir

NO_VECTORS = 'no-vectors'
"""Stands for a field in the name of the vector file of a schema without any: only its counter of commits is used."""


@dataclass(frozen=True)
class Access:
    """
    How a directory is opened.

    Attributes:
        read_only: Without the lock; nothing can be written.
        shared_writes: With the lock for each write only, so that other processes write in turn.
        is_synced: A write waits for the disk: `durability='power'`.
        trusts_graphs: Graph files are used; otherwise all graphs are built from the vectors.
        compacts_at: The share of dead labels at which a write compacts; None: never.
        is_lazy: Each graph is loaded when it is first needed.
        is_tolerant: What is damaged is opened as well as it can be, to list what is lost.
        keeps_schema: The schema is made of what the directory says, so none of it is put there.
    """

    read_only: bool = False
    shared_writes: bool = False
    is_synced: bool = True
    trusts_graphs: bool = True
    compacts_at: float | None = None
    is_lazy: bool = False
    is_tolerant: bool = False
    keeps_schema: bool = False

    @property
    def follows(self) -> bool:
        """Whether other processes may write while this one has the directory open."""
        return self.read_only or self.shared_writes


@dataclass
class State:
    """
    The labels, vector files, graphs and settings of a directory, as of one commit.

    Attributes:
        columns: The types of the documents; see `Schema.describe`.
        fields: The tables of fields, of all levels.
        settings: The settings in force.
        labels: Which labels live.
        files: The vectors, by field.
        counters: The vector files whose headers count commits.
        graphs: The graphs.
        generation: How many compactions there were.
        commits: How many changes SQLite had committed.
        is_synced: Whether all of it waited for the disk.
        embeddings: Which functions made vectors, and of which texts, by field.
        matches: What is known of the last filters.
    """

    columns: Mapping[str, str]
    fields: FieldTables
    settings: SettingsRecord
    labels: LabelTable
    files: dict[str, VectorFile]
    counters: list[VectorFile]
    graphs: GraphCache
    generation: int
    commits: int
    is_synced: bool
    embeddings: Mapping[str, Recorded]
    matches: MatchCache = field(default_factory=MatchCache)

    @classmethod
    def read(
        cls, work_dir: WorkDir, sidecar: Sidecar, rows: Rows, lock: SharedLock, access: Access, overlay: Declared
    ) -> State:
        """
        Return the state at the moment of `rows`.

        Args:
            work_dir: The directory.
            sidecar: Its SQLite file.
            rows: The tables at that moment.
            lock: What is held alone for each step in a graph (I8).
            access: How the directory is opened.
            overlay: Settings that a reader has for itself.

        Raises:
            CorruptIndexError: the parts do not fit together.
            MovedError: another process has replaced a file since that moment.
        """
        meta = rows.meta()
        settings = SettingsRecord(sidecar, meta['settings'], overlay)
        fields = FieldTables.from_json(meta['levels'], meta['fields'])
        labels = LabelTable({name: fields.level_of(name) for name in settings.effective})
        rows.check_labels(meta['next_label'], len(fields.names))
        labels.publish(meta['next_label'], rows.tombstones(), rows.absences(settings.effective), rows.runs())
        _check_levels(labels, fields, rows)
        with ExitStack() as undo:
            files: dict[str, VectorFile] = {}
            copies = rows.unsynced()  # I2
            for name, given in settings.effective.items():
                path = work_dir.vector_file(name, meta['generation'])
                files[name] = file = _open_file(path, given, labels.rows_needed(name), meta, access, copies.get(name))
                undo.callback(file.close)
            counters = list(files.values())
            if not counters:
                counters.append(_open_file(work_dir.vector_file(NO_VECTORS, 0), VectorSettings(dim=0), 0, meta, access))
                undo.callback(counters[0].close)
            for file in counters:
                check_commits(file, meta['commits'], sidecar, access)
            graphs = GraphCache(work_dir, sidecar, files, labels, lock)
            try:
                snapshots = rows.snapshots() if access.trusts_graphs else None
                graphs.load(settings.effective, snapshots, access.follows, access.is_lazy)
            except MemoryError as error:
                raise SettingsError(f'{work_dir}: there is no memory for graphs of {labels.all_documents:,}') from error
            graphs.bury()
            undo.pop_all()
        others = meta['generation'], meta['commits'], meta['is_synced'], meta['embeddings']
        return cls(meta['columns'], fields, settings, labels, files, counters, graphs, *others)

    def follow(self, rows: Rows, meta: Mapping[str, Any]) -> bool:
        """
        Move on to the moment of `rows`, whose description is `meta`; return whether that was possible.

        Called with the lock held alone.

        It is not after a compaction, which has numbered all labels anew.

        Raises:
            MovedError: a graph file was replaced while it was read.
        """
        if meta['generation'] != self.generation:
            return False
        change = Change(
            meta['next_label'],
            buried=rows.tombstones(after=len(self.labels.dead)),
            absences=rows.absences(self.files, start=self.labels.next),
            runs=rows.runs(start=self.labels.next),
        )
        self.publish(change, meta['commits'])
        for name, settings in self.settings.remember(meta['settings']).items():
            self.graphs.put_settings(name, settings)
        if meta['fields'] != self.fields.to_json():
            self.fields = FieldTables.from_json(meta['levels'], meta['fields'])
        self.graphs.notice(rows.snapshots())
        self.is_synced, self.embeddings = meta['is_synced'], meta['embeddings']
        return True

    def vectors(self, field: str, labels: Labels, table: LabelTable) -> Float32Array:
        """Return the vectors of labels (n,), checked, with zeros for those that have none, as `table` knows."""
        file = self.files[field]
        is_absent = table.absent(field, labels)
        if not is_absent.any():
            return file.rows(labels)
        # What was never written has no checksum: the rows of documents that are older than the field.
        vectors = np.zeros((len(labels), file.dim), np.float32)
        vectors[~is_absent] = file.rows(labels[~is_absent])
        return vectors

    def publish(self, change: Change, commits: int) -> None:
        """Let searches see what has been committed. Called with the lock held alone."""
        self.labels.publish(change.next_label, change.buried, change.absences, change.runs)
        self.graphs.bury()
        self.commits = commits

    def cut_back(self, rows: int) -> None:
        """Forget the vectors behind so many rows; see `VectorFile.cut_back`."""
        for file in self.files.values():
            file.cut_back(rows)

    def acknowledge(self) -> None:
        """Note beside SQLite how many commits it has made, so that a loss of some is noticed."""
        for file in self.counters:
            file.acknowledge(self.commits)

    def paths(self, rows: Rows) -> list[Path]:
        """
        Return the vector files and graph files that are in use, by what `rows` says now.

        That is more than `State` follows: a process that saves a graph makes no commit of it.
        """
        return [*(file.path for file in self.counters), *self.graphs.paths(rows.snapshots())]

    def close(self, but: State | None = None) -> None:
        """Let go of the graphs and close the vector files, `but` those of another state."""
        if but is None or self.graphs is not but.graphs:
            self.graphs.forget()
        for file in self.counters:  # all there are
            if but is None or file not in but.counters:
                file.close()


class View:
    """
    What one call sees: documents and vectors as of one commit.

    Attributes:
        rows: The tables.
        labels: Which labels live.
        state: Vectors, graphs and settings.
    """

    __slots__ = ('labels', 'rows', 'state')

    def __init__(self, state: State, rows: Rows, labels: LabelTable | None = None) -> None:
        self.state = state
        self.rows = rows
        self.labels = state.labels if labels is None else labels

    @property
    def is_committed(self) -> bool:
        """Whether all that is seen is committed; what is not may be undone, and other vectors written in its place."""
        return self.labels is self.state.labels

    def matches(self, where: Where) -> Matches:
        """Return what is known of the documents that match; of what is not committed yet nothing is kept."""
        if not self.is_committed:
            return Matches(self.state.commits)
        return self.state.matches.get(where, self.state.commits)

    def checked(self, labels: Labels, level: int) -> Labels:
        """
        Return labels that a filter has found, if each belongs to a document of a level.

        Raises:
            CorruptIndexError: one does not: what filters look at is damaged.
        """
        is_there = (labels >= 0) & (labels < self.labels.next)
        if not is_there.all() or self.labels.is_any_dead(labels) or not self.labels.are_of(level, labels).all():
            raise CorruptIndexError('what filters look at has documents that are not there', self.rows.path, CHECK)
        return labels

    def keep(self, matches: Matches, name: str, gathered: Gathered, most: int) -> None:
        """Keep the vectors of matches; see `MatchCache`."""
        self.state.matches.keep(matches, name, gathered, most)

    def searching(self, field: str) -> FieldSearch:
        """Return the search in a field."""
        state = self.state
        return FieldSearch(
            field, state.settings.effective[field], state.graphs.get(field), state.files[field], self.labels
        )

    def kept(self, field: str) -> Callable[[Labels], list[Float32Array | None]]:
        """Return what does later what `vectors_or_none` does now, for the labels there are."""
        read, table = self.state.files[field].kept(self.labels.rows_needed(field)), self.labels

        # Of a label that there is, what the table says never changes.
        return lambda labels: _or_none(read, table, field, labels)

    def vectors_or_none(self, field: str, labels: Labels) -> list[Float32Array | None]:
        """Return the vectors of these labels (n,), checked, with None for those that have none."""
        return _or_none(self.state.files[field].rows, self.labels, field, labels)


def _or_none(
    read: Callable[[Labels], Float32Array], table: LabelTable, field: str, labels: Labels
) -> list[Float32Array | None]:
    """Return the vectors of labels (n,), as `read` returns those that there are, with None for the others."""
    if table.is_complete(field):  # as nearly all are
        return list(read(labels))
    is_absent = table.absent(field, labels)
    found = iter(read(labels[~is_absent]))
    return [None if missing else next(found) for missing in is_absent.tolist()]


def _check_levels(labels: LabelTable, fields: FieldTables, rows: Rows) -> None:
    if len(fields.names) > 1:
        counts = rows.count_by_level()
        expected = {level: labels.documents(level) for level in range(len(fields.names)) if labels.documents(level)}
        if counts != expected:
            raise CorruptIndexError('this file has documents of other levels than it says', rows.path, CHECK)


def _open_file(
    path: Path, given: VectorSettings, rows: int, meta: Mapping[str, Any], access: Access, copies: Copies | None = None
) -> VectorFile:
    # What was not synced may have been cut off together with the power: those documents count as damaged.
    may_lack_rows = access.is_tolerant or not meta['is_synced']
    return VectorFile(
        path,
        given.dim,
        rows,
        stored_as=given.stored_as,
        read_only=access.read_only,
        may_lack_rows=may_lack_rows,
        copies=copies,
    )


def check_commits(file: VectorFile, commits: int, sidecar: Sidecar, access: Access) -> None:
    """
    Check that SQLite has as many commits as a vector file knows of.

    Raises:
        CorruptIndexError: it has lost some.
    """
    if file.commits > commits and access.follows:
        with sidecar.latest() as latest:  # there may have been some since that moment
            commits = latest.commits()
    # Nor for a repair: it would count as the lost commits, and a log that is found again would no longer fit.
    if file.commits > commits and not (access.is_tolerant and access.read_only):
        raise CorruptIndexError(
            f'this file has lost {file.commits - commits} of {file.commits} commits',
            sidecar.path,
            'it and its "-wal" file belong together; restore the whole directory from one backup',
        )
