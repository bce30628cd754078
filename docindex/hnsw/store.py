"""
One open work directory: joins the rows, the vectors and the graphs, and decides in which order they are written.

I1  A document exists from the moment SQLite has committed it, and not before. Nothing else decides.
I2  Vectors are on the disk, synced, before the commit that mentions their labels.
I3  A row of a vector file below the committed `next_label` is never written again.
I4  Between two compactions a label is never given to a second version; what had a dead label stays dead.
I5  A graph, in memory or in a file, is a cache. It says up to which label and which tombstone it follows the truth;
    what came later is added from the truth, and searches scan it until it is.
I6  A graph file is complete, synced and under its final name before SQLite records it, with its checksum. One that is
    not recorded, or does not match, is not read.
I7  What a call has refused, or failed to commit, has changed nothing in memory either.
I8  Searches hold the lock shared, from the graph to the last row; a commit and each step in a graph hold it alone. So
    a search never sees a label without its row.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import _files
from .._progress import check_progress
from ..distances import Labels, check_comparable
from ..errors import ClosedIndexError, CorruptIndexError, SchemaMismatchError, SettingsError, WorkDirError
from ..fields import GRAPH_SETTINGS, SEARCH_SETTINGS, VectorSettings
from ..schema import Schema
from ..tensors import Float32Array
from .evolution import evolution
from .graphs import GraphCache
from .labels import Flags, LabelTable
from .locks import SharedLock
from .search import FieldSearch, Found
from .settings import Declared, SettingsRecord, first_entry
from .sidecar import Change, Row, Sidecar
from .vectors import VectorFile
from .workdir import WorkDir

logger = logging.getLogger('docindex')

_COPY_ROWS = 65_536


@dataclass(frozen=True)
class Vectors:
    """
    The vectors of a batch in one field.

    Attributes:
        matrix: Shape (documents, dim), float32; zeros where there is none.
        is_present: Shape (documents,): which documents have one.
    """

    matrix: Float32Array
    is_present: Flags


class Store:
    """
    What is in a work directory. All handles of a process on one directory share one store; see `shared`.

    Attributes:
        path: The directory.
        labels: Which labels live. Read it under `reading()`.
    """

    _open: ClassVar[dict[Path, Store]] = {}
    # One lock for each directory that was ever opened: waiting for one does not hold up another.
    _opening: ClassVar[defaultdict[Path, threading.RLock]] = defaultdict(threading.RLock)

    # -- opening and closing ---------------------------------------------------------------------

    @classmethod
    def shared(cls, path: Path, schema: Schema[Any], declared: Declared, lock_timeout: float) -> Store:
        """
        Return the store of a directory, opening it if this process has not; give it up with `release`.

        Args:
            path: The directory.
            schema: The schema of its documents.
            declared: For each vector field, the settings that the caller gives.
            lock_timeout: Seconds to wait for another process.

        Raises:
            WorkDirError: the directory cannot be used; see its subclasses.
            SettingsError: a setting cannot be changed while others use the store.
        """
        path = path.resolve()
        with cls._opening[path]:
            store = cls._open.get(path)
            is_new = store is None
            if store is None:
                store = cls(path, schema, declared, lock_timeout)
                cls._open[path] = store
            store._handles += 1
        if not is_new:
            # Not under the lock: this waits for searches to end, and one of those may be about to release a handle.
            try:
                store._check_types(schema.describe(declared))
                store.declare(declared)
            except BaseException:
                store.release()
                raise
        return store

    @classmethod
    def forget_all(cls) -> None:
        """In a process that was forked: leave what is open to the parent, whose threads may hold the locks."""
        cls._open.clear()
        cls._opening.clear()

    def release(self) -> None:
        """Give up one handle; the last one saves the graphs and closes the files."""
        if self._pid != os.getpid():
            return
        with self._opening[self.path]:
            self._handles -= 1
            if self._handles == 0:
                del self._open[self.path]
                self._close()

    def __init__(self, path: Path, schema: Schema[Any], declared: Declared, lock_timeout: float) -> None:
        self.path = path
        self._pid = os.getpid()
        self._handles = 0
        self._writing = threading.RLock()
        self._lock = SharedLock()
        self._is_closed = False
        self._files: dict[str, VectorFile] = {}
        self._work_dir = WorkDir(path, lock_timeout)
        with ExitStack() as undo:
            undo.callback(self._work_dir.release)
            self._rows = Sidecar(self._work_dir.database)
            undo.callback(self._rows.close)
            if self._rows.is_new():
                self._create(schema, declared)
            self._types = schema.describe(declared)
            meta = self._rows.meta()
            if meta['columns'] != self._types:
                self._carry_over(meta, schema, declared)
            self._settings = SettingsRecord(self._rows, self._rows.meta()['settings'])
            undo.callback(self._close_vectors)
            self._put_declared(declared)
            self._follow()
            self._sweep()
            self._graphs.catch_up(show_progress=None)
            undo.pop_all()

    def _create(self, schema: Schema[Any], declared: Declared) -> None:
        """Make the files of a new directory; the SQLite tables last, for they are what makes it an index."""
        for field in declared:
            if any(not VectorFile.is_empty(path) for path in self._work_dir.vector_files(field)):
                raise CorruptIndexError(
                    'this SQLite file is missing or empty, but there are vectors beside it',
                    self._work_dir.database,
                    'restore it from a backup',
                )
        remembered = first_entry(declared)
        for field, both in remembered.items():
            VectorFile.create(self._work_dir.vector_file(field, 0), both['effective']['dim'])
        self._rows.create({**_description(schema, declared), 'settings': remembered})

    def _check_types(self, types: Mapping[str, str]) -> None:
        if types == self._types:
            return
        different = sorted(
            name for name in {*types, *self._types} if types.get(name, None) != self._types.get(name, None)
        )
        raise SchemaMismatchError(
            f'this directory is open in this process with another schema, which differs in {", ".join(different)}',
            self.path,
            'close that index first',
        )

    def _carry_over(self, meta: Mapping[str, Any], schema: Schema[Any], declared: Declared) -> None:
        """Take a new schema for the stored documents, if they fit it; nothing is changed if they do not."""
        way = evolution(meta['columns'], self._types, schema)
        if way.obstacles:
            raise SchemaMismatchError(
                f'the documents in this directory do not fit the schema: {"; ".join(way.obstacles)}',
                self.path,
                'open it with the schema it was made with, or index the documents anew into another work_dir',
            )
        new_vectors = {field: declared[field] for field in way.new_vectors if field in declared}
        for field, given in new_vectors.items():
            path = self._work_dir.vector_file(field, meta['generation'])
            VectorFile.create(path, given['dim'], rows=meta['next_label'])
        settings = {**meta['settings'], **first_entry(new_vectors)}
        self._rows.adapt({**_description(schema, declared), 'settings': settings}, list(new_vectors))
        logger.info('the schema of %s has changed: %s', self.path, '; '.join(way.changes))

    def _put_declared(self, declared: Declared) -> None:
        """Take over the settings that the schema says anew, if the vectors that are there allow it."""
        news = self._settings.news(declared)
        for field, new in news.items():
            if self.settings[field].space == 'cosine' != new.space:
                self._check_lengths(field, new)
        self._settings.put(news, declared)

    def _check_lengths(self, field: str, new: VectorSettings) -> None:
        """Raise `VectorError` if vectors that were stored for 'cosine' are too long for a new space."""
        meta = self._rows.meta()
        with closing(self._open_vectors(field, meta)) as file:
            for start in range(0, meta['next_label'], _COPY_ROWS):
                block = file.block(start, min(start + _COPY_ROWS, meta['next_label']))
                check_comparable(block, new.space, field, lambda row: f'a document in {self.path}')

    def _follow(self) -> None:
        """Take over from SQLite what is there: when opening, and when an interrupt came just after a commit."""
        meta = self._rows.meta()
        labels = LabelTable()
        labels.publish(meta['next_label'], self._rows.tombstones(), self._rows.absences())
        if labels.documents != self._rows.count():
            raise CorruptIndexError(
                f'this file holds {self._rows.count()} documents where there should be {labels.documents}',
                self._work_dir.database,
                'restore it from a backup',
            )
        self._close_vectors()
        self._files = {field: self._open_vectors(field, meta) for field in self.settings}
        self.labels = labels
        self._graphs = GraphCache(self._work_dir, self._rows, self._files, labels, self._lock)
        self._graphs.load(self.settings)
        self._graphs.bury()
        self._generation: int = meta['generation']
        self._commits: int = meta['commits']

    @contextmanager
    def _following(self) -> Iterator[None]:
        """If an interrupt (Ctrl-C) comes between a commit and what follows it in memory, read it all from SQLite."""
        try:
            yield
        except BaseException:
            if self._rows.commits() != self._commits:
                self._follow()
            raise

    def _open_vectors(self, field: str, meta: Mapping[str, Any]) -> VectorFile:
        path = self._work_dir.vector_file(field, meta['generation'])
        file = VectorFile(path, self.settings[field].dim, meta['next_label'])
        if file.commits > meta['commits']:
            file.close()
            raise CorruptIndexError(
                f'this file has lost {file.commits - meta["commits"]} of {file.commits} commits',
                self._work_dir.database,
                'it and its "-wal" file belong together; restore the whole directory from one backup',
            )
        return file

    def _sweep(self) -> None:
        known = {*self._graphs.paths(), *(file.path for file in self._files.values())}
        self._work_dir.sweep(self.settings, known)

    def _close(self) -> None:
        with self._writing, ExitStack() as always:
            # Each of these, whatever becomes of the others, and even if Ctrl-C ends the saving.
            always.callback(self._work_dir.release)
            always.callback(self._rows.close)
            always.callback(self._close_vectors)
            always.callback(self._turn_away)
            try:
                self._graphs.catch_up(show_progress=False)
                self._graphs.save()
            except Exception:  # a full disk, say: the graphs are caches, and the next opening catches up
                logger.exception('the graphs in %s could not be saved; the next opening takes longer', self.path)

    def _turn_away(self) -> None:
        """Let the searches that are under way end, and no other begin."""
        with self._lock.exclusive():
            self._is_closed = True

    def _close_vectors(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    # -- settings --------------------------------------------------------------------------------

    @property
    def settings(self) -> Mapping[str, VectorSettings]:
        """The settings in force, by vector field."""
        return self._settings.effective

    def declare(self, declared: Declared) -> None:
        """Take over what a schema says anew about the settings; see `SettingsRecord`."""
        if self._settings.news(declared):  # seldom; otherwise another handle need not wait for a long write
            with self._writing:
                self._change_settings(self._settings.news(declared), declared)

    def configure(self, settings: Declared) -> None:
        """
        Change settings of vector fields, durably.

        Raises:
            SettingsError: a setting is unknown or out of range, or is built into a graph that holds vectors.
        """
        with self._writing:
            self._check_usable()
            changed = {field: self.settings[field].changed(given, field) for field, given in settings.items()}
            for field, given in settings.items():
                graph = self._graphs.get(field)
                if graph is not None and given.get('max_elements', graph.capacity) < graph.capacity:
                    raise SettingsError(
                        f'{field}: max_elements can only grow; there is room for {graph.capacity:,} now'
                    )
            self._change_settings(changed, {})

    def _change_settings(self, changed: Mapping[str, VectorSettings], declared: Declared) -> None:
        for field, new in changed.items():
            self._check_changeable(field, new)
        with self._lock.exclusive():
            for field, new in changed.items():
                self._graphs.reserve(field, new.max_elements)
            self._settings.put(changed, declared)
            for field, new in changed.items():
                self._graphs.put_settings(field, new)
        self._graphs.catch_up(show_progress=None)

    def _check_changeable(self, field: str, new: VectorSettings) -> None:
        old = self.settings[field]
        if new.dim != old.dim:
            raise SettingsError(f'{field}: dim is {old.dim} and cannot become {new.dim}; make a new index')
        if self._graphs.get(field) is None or not self.labels.documents:
            return
        fixed = [name for name in GRAPH_SETTINGS if getattr(new, name) != getattr(old, name)]
        if fixed:
            raise SettingsError(
                f'{field}: {", ".join(fixed)} cannot be changed while the graph is in use; change it in the schema or '
                'default_column_config and open the index anew, which rebuilds the graph. These can be changed at any '
                f'time: index, max_elements, {", ".join(sorted(SEARCH_SETTINGS))}'
            )

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Keep other writers out between a look at the documents and the write that rests on it."""
        self._check_process()
        with self._writing:
            self._check_usable()
            if self._rows.commits() != self._commits:
                # An interrupt came while `_following` another: the labels in memory are behind, and the next vectors
                # would be written over committed ones (I3).
                with self._lock.exclusive():
                    self._follow()
            yield

    def put(self, rows: Sequence[Row], vectors: Mapping[str, Vectors], show_progress: bool | None) -> None:
        """
        Store documents, each new or in the place of the one with its id; all of them, or none.

        Args:
            rows: The documents; no id twice.
            vectors: For each vector field, their vectors in the same order.
            show_progress: Whether to show a bar while the graphs are built.
        """
        check_progress(show_progress)
        with self.updating():
            change, new = self._plan(rows, vectors)
            for field, given in vectors.items():
                matrix = given.matrix if len(new) == len(rows) else given.matrix[new]
                self._files[field].write(self.labels.next, matrix)  # I2
            self._commit(change)
            self._graphs.catch_up(show_progress)
            self._graphs.save_if_worthwhile()

    def remove(self, labels: Sequence[int]) -> None:
        """Delete the documents with these labels, all or none."""
        with self.updating():
            self._commit(Change(self.labels.next, buried=list(labels)))
            self._graphs.save_if_worthwhile()

    def save_graphs(self) -> None:
        """Write a file for every graph that has changed since its last one; searches go on meanwhile."""
        with self.updating():
            self._graphs.catch_up(show_progress=None)
            self._graphs.save()

    def compact(self, show_progress: bool | None) -> None:
        """
        Write vector files and graphs without the dead, and take them into use; searches go on meanwhile.

        Everything new is written beside the old. The commit that renumbers the documents also names the new files, so a
        crash leaves the one state or the other (I1), and debris that the next opening removes.
        """
        with self.updating(), ExitStack() as undo:
            undo.callback(self._sweep_unless_committed)
            living = self.labels.living_documents()
            absences = {field: np.flatnonzero(self.labels.absent(field, living)).tolist() for field in self._files}
            labels = LabelTable()
            labels.publish(len(living), [], absences)
            generation = self._generation + 1
            files: dict[str, VectorFile] = {}
            for field in self._files:
                files[field] = undo.enter_context(closing(self._copied(field, living, generation)))
            graphs = GraphCache(self._work_dir, self._rows, files, labels, self._lock)
            graphs.build(self.settings, show_progress)
            with self._lock.exclusive(), self._following():
                self._rows.renumber({'next_label': labels.next, 'generation': generation}, absences)  # I1
                replaced, self._files = self._files, files
                self._graphs, self.labels, self._generation = graphs, labels, generation
                self._commits += 1
                undo.pop_all()
            for file in replaced.values():
                file.close()
            self._graphs.save_if_worthwhile()
            self._sweep()
            self._rows.vacuum()

    def _sweep_unless_committed(self) -> None:
        # An interrupt may come just after the commit: then the new files are the truth, and the next write follows.
        if self._rows.commits() == self._commits:
            self._sweep()

    def backup(self, path: Path) -> None:
        """
        Copy the directory as it is now to `path`, which must be empty or not exist; searches go on, writes wait.

        SQLite comes last: a backup that was interrupted is no index, and says so when it is opened.
        """
        if path.resolve().is_relative_to(self.path):
            raise WorkDirError('a backup inside the directory that it is of would be lost with it', path)
        with self.updating():
            if path.exists() and any(path.iterdir()):
                raise WorkDirError('a backup needs an empty directory, or one that does not exist', path)
            copies = [*(file.path for file in self._files.values()), *self._graphs.paths()]
            for source in copies:
                target = path / source.relative_to(self.path)
                _files.make_directory(target.parent)
                _files.copy_file(source, target)
            beside = path / f'{self._work_dir.database.name}.new'
            self._rows.backup(beside)
            _files.publish(beside, path / self._work_dir.database.name)

    def _copied(self, field: str, labels: Labels, generation: int) -> VectorFile:
        """Return a new vector file with the rows of `labels`, in that order."""
        path = self._work_dir.vector_file(field, generation)
        VectorFile.create(path, self.settings[field].dim)
        with ExitStack() as undo:
            file = undo.enter_context(closing(VectorFile(path, self.settings[field].dim, 0)))
            for start in range(0, len(labels), _COPY_ROWS):
                file.write(start, self.vectors(field, labels[start : start + _COPY_ROWS]))
            undo.pop_all()
        return file

    def _plan(self, rows: Sequence[Row], vectors: Mapping[str, Vectors]) -> tuple[Change, list[int]]:
        """
        Decide which documents need a new version, and give those a label.

        Returns the change, and the positions of the rows with a new version, in the order of their labels.
        """
        known = self._rows.labels_of([row.id for row in rows]) if self.labels.documents else {}
        same = self._unchanged_vectors(rows, vectors, known)
        new = [position for position in range(len(rows)) if position not in same]
        first = self.labels.next
        absent = {field: np.flatnonzero(~given.is_present[new]) + first for field, given in vectors.items()}
        change = Change(
            first + len(new),
            inserted=[rows[position] for position in new],
            rewritten=[(known[rows[position].id], rows[position]) for position in sorted(same)],
            buried=[known[rows[position].id] for position in new if rows[position].id in known],
            absences={field: labels.tolist() for field, labels in absent.items() if len(labels)},
        )
        return change, new

    def _unchanged_vectors(
        self, rows: Sequence[Row], vectors: Mapping[str, Vectors], known: Mapping[str, int]
    ) -> set[int]:
        """Return the positions of the documents that exist with just these vectors: they need no work in a graph."""
        positions = [position for position, row in enumerate(rows) if row.id in known]
        labels = np.array([known[rows[position].id] for position in positions], np.int64)
        is_same = np.ones(len(positions), bool)
        for field, given in vectors.items():
            had_one = np.array([self.labels.has_vector(field, label) for label in labels.tolist()], bool)
            # As bits: -0.0 is not 0.0 when a vector is to come back as it was given. Unchecked: a damaged one is not
            # the same.
            stored = self._files[field].peek(labels).view(np.uint32)
            has_same = (stored == given.matrix[positions].view(np.uint32)).all(axis=1)
            is_same &= (had_one == given.is_present[positions]) & has_same
        return {position for position, same in zip(positions, is_same.tolist(), strict=True) if same}

    def _commit(self, change: Change) -> None:
        with self._lock.exclusive(), self._following():
            self._rows.apply(change)  # I1
            self.labels.publish(change.next_label, change.buried, change.absences)
            self._graphs.bury()
            self._commits += 1
        for file in self._files.values():
            file.acknowledge(self._commits)

    # -- reading ---------------------------------------------------------------------------------

    def reading(self) -> AbstractContextManager[None]:
        """See one state of the documents and their vectors for as long as this is held."""
        self._check_process()
        return self._lock.shared(self._check_usable)

    def search(self, field: str, queries: Float32Array, limit: int, exact: bool, ef: int | None) -> Found:
        """Return labels and distances of the vectors nearest to each query; see `FieldSearch`. Under `reading()`."""
        graph, file = self._graphs.get(field), self._files[field]
        return FieldSearch(field, self.settings[field], graph, file, self.labels).nearest(queries, limit, exact, ef)

    def rows(self, labels: Sequence[int]) -> dict[int, tuple[bytes, bytes | None]]:
        """Return the JSON and tensors of these labels. Call it under `reading()`."""
        return self._rows.fetch(labels)

    def vectors(self, field: str, labels: Labels) -> Float32Array:
        """Return the vectors of these labels (n,), checked, with zeros for those that have none; see `reading()`."""
        is_absent = self.labels.absent(field, labels)
        if not is_absent.any():
            return self._files[field].rows(labels)
        # What was never written has no checksum: the rows of documents that are older than the field.
        vectors = np.zeros((len(labels), self.settings[field].dim), np.float32)
        vectors[~is_absent] = self._files[field].rows(labels[~is_absent])
        return vectors

    def labels_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the labels of those ids that exist. Call it under `reading()`."""
        return self._rows.labels_of(ids)

    def ids(self) -> list[str]:
        """Return all ids, oldest version first. Call it under `reading()`."""
        return self._rows.ids()

    # -- for `check`, which looks at everything ------------------------------------------------------

    @property
    def sidecar(self) -> Sidecar:
        """The rows."""
        return self._rows

    @property
    def graphs(self) -> GraphCache:
        """The graphs."""
        return self._graphs

    def file(self, field: str) -> VectorFile:
        """Return the vector file of a field."""
        return self._files[field]

    def _check_process(self) -> None:
        # Before a lock is asked for: in a forked process it may be held for ever by a thread that is not there.
        if self._pid != os.getpid():
            raise ClosedIndexError('this index belongs to the process that this one was forked from; open it anew here')

    def _check_usable(self) -> None:
        self._check_process()
        if self._is_closed:
            raise ClosedIndexError(f'the index in {self.path} was closed; open it again')


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=Store.forget_all)


def _description(schema: Schema[Any], declared: Declared) -> dict[str, Any]:
    return {'columns': schema.describe(declared), 'json_schema': schema.json_schema()}
