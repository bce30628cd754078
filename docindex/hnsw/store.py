"""
One open work directory: joins the rows, the vectors and the graphs, and decides in which order they are written.

I1  A document exists from the moment SQLite has committed it, and not before. Nothing else decides.
I2  A row of a vector file that a commit mentions is on the disk, synced, before that commit, or a copy of it is in that
    commit, in the table `unsynced`. Copies go only in a commit before which the files were synced, with the rows in
    them. Whoever opens the directory sees the copies, not what the file has in their place.
I3  A row of a vector file below the committed `next_label` is never changed: at most it is written again as it was.
I4  Between two compactions a label is never given to a second version; what had a dead label stays dead.
I5  A graph, in memory or in a file, is a cache. It says up to which label and which tombstone it follows the truth;
    what came later is added from the truth, and searches scan it until it is.
I6  A graph file is complete, synced and under its final name before SQLite records it, with its checksum. One that is
    not recorded, or does not match, is not read.
I7  What a call has refused, or failed to commit, has changed nothing in memory either.
I8  Searches hold the lock shared, from the graph to the last row; a commit and each step in a graph hold it alone. So
    a search never sees a label without its row.
I9  Where other processes may commit, a call sees the tables at one moment, and follows the truth up to that moment
    before it looks at anything else.

With `durability='process'` nothing is synced but the making of a directory, its compaction and its settings, and I2
holds for the kernel's memory only.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._progress import check_progress
from ..embedding import Recorded, check_recorded
from ..errors import (
    ClosedIndexError,
    CorruptIndexError,
    ReadOnlyError,
    SchemaMismatchError,
    SettingsError,
    WorkDirError,
    WorkDirLockedError,
)
from ..fields import GRAPH_SETTINGS, SEARCH_SETTINGS, VectorSettings
from ..locks import Turns, processors
from ..schema import Schema
from . import opening, upkeep
from .batches import Batches
from .extraction import Extractions, tables_of
from .following import Following
from .graphs import STEP_ROWS
from .mending import mend_after_churn
from .rows import Rows
from .settings import Declared
from .sidecar import Sidecar
from .state import Access, State, View
from .transaction import Lists, Part, Transaction
from .unsynced import settle
from .waking import Waking
from .workdir import WorkDir, disk_errors

logger = logging.getLogger('docindex')

_SHARED_SAVE_ROWS = 500


class Store:
    """
    What is in a work directory. All handles of a process that open a directory alike share one; see `sharing`.

    Attributes:
        path: The directory.
        access: How it was opened.
        opening_seconds: How long that took.
        turns: Taken by searches: of more threads than there are processors, most only wait for Python's lock.

    Args:
        path: The directory.
        schema: The schema of its documents; None: the directory exists, and has one.
        extractions: Read from the documents of each level what filters look at; None where there is no schema.
        declared: For each vector field, the settings that the caller gives.
        access: How to open it.
        lock_timeout: Seconds to wait for another process.

    Raises:
        WorkDirError: the directory cannot be used; see its subclasses.
        SettingsError: a setting makes no sense.
    """

    # -- opening and closing ---------------------------------------------------------------------

    def __init__(
        self,
        path: Path,
        schema: Schema[Any] | None,
        extractions: Extractions | None,
        declared: Declared,
        access: Access,
        lock_timeout: float,
    ) -> None:
        start = time.perf_counter()
        self.path = path
        self.access = access
        self._pid = os.getpid()
        self.turns = Turns(processors())
        self._writing = threading.RLock()
        self._is_closed = False
        self._batches = Batches()
        self._may_compact = True
        self._types = None if schema is None else schema.describe(declared)
        with disk_errors(path, 'opening this'), ExitStack() as undo:
            self._work_dir = WorkDir(path, lock_timeout, read_only=access.read_only, is_kept=not access.follows)
            undo.callback(self._work_dir.release)
            with self._work_dir.held():
                self._sidecar = Sidecar(self._work_dir.database, read_only=access.read_only, is_synced=access.is_synced)
                undo.callback(self._sidecar.close)
                overlay = self._prepare(schema, extractions, declared)
                self._following = Following(self._work_dir, self._sidecar, access, overlay, self._writing)
                undo.callback(self._close_state)
                self._waking = Waking(self._following, self._writing, self.reading)
                self._note_whether_synced()
                self._forget_rolled_back()
                self._sweep()
            self.state.graphs.catch_up(show_progress=None)
            self._identity = self._work_dir.identity()
            undo.pop_all()
        self.opening_seconds = time.perf_counter() - start

    def check_in_place(self) -> None:
        """
        Check that the directory is the one that was opened.

        Raises:
            WorkDirError: it was removed, or another has been put in its place.
        """
        if self._work_dir.identity() != self._identity:
            message = 'this directory was removed or replaced while it was open in this process'
            raise WorkDirError(message, self.path, 'close this index and open it anew')

    def is_left_behind(self) -> bool:
        """Return whether another process has changed the schema, so that whoever opened this has to open it anew."""
        if not self.access.follows:
            return False
        try:
            # Without the lock: this must not wait for searches, one of which may be about to release a handle.
            with self._sidecar.latest() as rows:
                self._following.check_schema(rows.meta())
        except SchemaMismatchError:
            return True
        return False

    def _prepare(self, schema: Schema[Any] | None, extractions: Extractions | None, declared: Declared) -> Declared:
        """Make the directory fit the schema; return what a reader, who cannot, sets for itself."""
        if self._sidecar.is_new() and (schema is None or self.access.read_only):
            raise WorkDirError('there is no index here yet', self.path, 'open it for writing first')
        if schema is None or extractions is None or self.access.keeps_schema:
            return {}
        if self.access.read_only:
            overlay = opening.overlay(self._work_dir, self._sidecar, schema, declared)
            opening.check_levels(self._sidecar, schema)
            opening.check_embeddings(self._work_dir, self._sidecar, schema.embeddings(declared))
            return overlay
        if self._sidecar.is_new():
            opening.create(self._work_dir, self._sidecar, schema, declared, extractions)
        opening.check_none_lost(self._work_dir, self._sidecar, self.access)
        opening.check_embeddings(self._work_dir, self._sidecar, schema.embeddings(declared))
        opening.carry_over(self._work_dir, self._sidecar, schema, declared)
        opening.check_levels(self._sidecar, schema)
        opening.put_declared(self._work_dir, self._sidecar, declared)
        opening.put_embeddings(self._sidecar, schema.embeddings(declared))
        opening.put_fields(self._sidecar, extractions)
        return {}

    def _note_whether_synced(self) -> None:
        """Note, before anything is written without a sync, that it is; and once all is synced, that it is not."""
        if self.access.read_only or self.state.is_synced == self.access.is_synced:
            return
        if self.access.is_synced:
            for file in self.state.files.values():
                file.sync()
        self._sidecar.set_meta(is_synced=self.access.is_synced)
        self.state.commits += 1
        self.state.is_synced = self.access.is_synced

    def _forget_rolled_back(self) -> None:
        """Without syncs, let no vector stay that a commit may seem to mention one day; see `VectorFile.cut_back`."""
        if not self.access.is_synced and not self.access.read_only:
            self.state.cut_back(self.state.labels.next)

    def join(self, schema: Schema[Any], extractions: Extractions, declared: Declared, access: Access) -> None:
        """
        Serve another handle, too, and take over the settings it declares.

        Raises:
            SchemaMismatchError: it has another schema, or another function makes its vectors.
            SettingsError: it wants the directory opened in another way, or a setting that cannot be changed any more.
        """
        types = schema.describe(declared)
        if self._types is not None and types != self._types:
            different = sorted(name for name in {*types, *self._types} if types.get(name) != self._types.get(name))
            raise SchemaMismatchError(
                f'this directory is open in this process with another schema, which differs in {", ".join(different)}',
                self.path,
                'close that index first',
            )
        fields = self.state.fields
        wanted = tables_of(extractions, fields.names)
        if not wanted.has_columns_of(fields) or (fields.to_json() != wanted.to_json() and not access.read_only):
            raise SettingsError(
                f'{self.path} is open in this process with another index, full_text, tokenizer or exclude of a field; '
                'close that index first'
            )
        embeddings = schema.embeddings(declared)
        check_recorded(self.state.embeddings, embeddings, self.path)
        if self.access.trusts_graphs and not access.trusts_graphs:
            raise SettingsError(f'{self.path} is open in this process with its graph files; close that index first')
        if access.read_only:
            return
        if access.is_synced != self.access.is_synced or access.compacts_at != self.access.compacts_at:
            raise SettingsError(
                f'{self.path} is open in this process with another durability or auto_compact; close that index first'
            )
        self.declare(declared)
        if {**self.state.embeddings, **embeddings} != self.state.embeddings:  # seldom, as above
            self._remember(embeddings)

    def close(self) -> None:
        """Save the graphs and close the files."""
        with self._writing, ExitStack() as always:
            # Each of these, whatever becomes of the others, and even if Ctrl-C ends the saving.
            always.callback(self._work_dir.release)
            always.callback(self._sidecar.close)
            always.callback(self._close_state)
            always.callback(self._turn_away)
            always.callback(self._batches.end)
            always.callback(self._sync_at_last)
            try:
                if not self.access.read_only:
                    self._save_graphs_at_last()
            except Exception:  # a full disk, say: the graphs are caches, and the next opening catches up
                logger.exception('the graphs in %s could not be saved; the next opening takes longer', self.path)

    def _save_graphs_at_last(self) -> None:
        if not self.access.shared_writes:
            self.state.graphs.catch_up(show_progress=False)
            self.state.graphs.save()
            return
        try:
            with self._work_dir.held(timeout=0):
                self._following.follow()
                # A command that stores one document and ends is not to write a file of all of them.
                self.state.graphs.save(at_least=_SHARED_SAVE_ROWS)
        except WorkDirLockedError:
            pass  # whoever is writing has a graph of its own to save

    def _sync_at_last(self) -> None:
        # For who copies files: they are complete without the copies of rows. But a command that stores one document and
        # ends is not to wait for the disk once more, and with `durability='process'` nothing is.
        if self.access.read_only or self.access.shared_writes or not self.access.is_synced:
            return
        try:
            settle(self._sidecar, self.state.files)
        except Exception:  # a full disk, say: the copies stay
            logger.exception('the vectors in %s could not be synced; nothing is lost, SQLite has copies', self.path)

    def _turn_away(self) -> None:
        """Let the searches that are under way end, and no other begin."""
        with self._following.lock.exclusive():
            self._is_closed = True

    def _close_state(self) -> None:
        self.state.close()

    def _sweep(self) -> None:
        if not self.access.read_only:
            self._work_dir.sweep(self.settings, set(self.state.paths(self._sidecar.rows)))

    # -- settings --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What this process knows of the directory, as of the last commit that it has followed."""
        return self._following.state

    @property
    def settings(self) -> Mapping[str, VectorSettings]:
        """The settings in force, by vector field."""
        return self.state.settings.effective

    def declare(self, declared: Declared) -> None:
        """Take over what a schema says anew about the settings; see `SettingsRecord`."""
        if self.state.settings.news(declared):  # seldom; otherwise another handle need not wait for a long write
            with self._alone('open another handle with other settings'):
                self._change_settings(self.state.settings.news(declared), declared)

    def _remember(self, embeddings: Mapping[str, Recorded]) -> None:
        """Note which functions make vectors from now on."""
        with self._alone('open another handle that makes vectors of texts'):
            with self._following.lock.exclusive(), self._following.publishing() as state:
                if opening.put_embeddings(self._sidecar, embeddings):
                    state.commits += 1
                state.embeddings = {**state.embeddings, **embeddings}
            state.acknowledge()

    def configure(self, settings: Declared) -> None:
        """
        Change settings of vector fields, durably.

        Raises:
            SettingsError: a setting is unknown or out of range, or is built into a graph that holds vectors.
        """
        with self._alone('configure'):
            changed = {field: self.settings[field].changed(given, field) for field, given in settings.items()}
            for field, given in settings.items():
                room = self.state.graphs.room(field)
                if given.get('max_elements', room) < room:
                    raise SettingsError(f'{field}: max_elements can only grow; there is room for {room:,} now')
            self._change_settings(changed, {})

    def _change_settings(self, changed: Mapping[str, VectorSettings], declared: Declared) -> None:
        for field, new in changed.items():
            self._check_changeable(field, new)
        with self._following.lock.exclusive(), self._following.publishing() as state:
            for field, new in changed.items():
                state.graphs.reserve(field, new.max_elements)
            if state.settings.put(changed, declared):
                state.commits += 1
            for field, new in changed.items():
                state.graphs.put_settings(field, new)
        state.acknowledge()
        state.graphs.catch_up(show_progress=None)

    def _check_changeable(self, field: str, new: VectorSettings) -> None:
        old = self.settings[field]
        opening.check_file_settings(field, old, new)
        graphs = self.state.graphs
        has_graph = graphs.get(field) is not None or field in graphs.asleep
        if not has_graph or not self.state.labels.all_documents:
            return
        before, after = old.built_in(), new.built_in()
        fixed = [name for name in GRAPH_SETTINGS if after[name] != before[name]]
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
        self.check_writable()
        with self._writing:
            self._check_usable()
            if self._batches.current is not None:
                self._batches.check_task()
                yield
                return
            with self._work_dir.held():
                self.check_in_place()
                self._following.follow()
                if self.state.is_synced and not self.access.is_synced:  # another process may have synced it all
                    self._note_whether_synced()
                yield

    def put(self, parts: Iterable[Part], show_progress: bool | None, lists: Lists = Lists.REPLACED) -> None:
        """
        Store documents, each new or in the place of the one with its id; all of them, or none.

        Args:
            parts: The documents, each before those in its lists.
            show_progress: Whether to show a bar while the graphs are built.
            lists: What becomes of their lists.
        """
        check_progress(show_progress)
        self._write(lambda transaction: transaction.put(parts, lists), show_progress)

    def extend(self, parts: Iterable[Part], level: int, counts: Mapping[int, int]) -> None:
        """Store new documents in the lists of documents that are there; see `Transaction.extend`."""
        self._write(lambda transaction: transaction.extend(parts, level, counts), show_progress=False)

    def remove(self, labels: Sequence[int], level: int = 0) -> None:
        """Delete the documents of a level with these labels, and those in their lists, all or none."""
        self._write(lambda transaction: transaction.remove(labels, level), show_progress=False)

    def note(self, key: str, value: str) -> None:
        """Keep a note under a key, with the rest of the batch if there is one."""
        self._write(lambda transaction: transaction.note(key, value), show_progress=False)

    def _write(self, stage: Callable[[Transaction], None], show_progress: bool | None) -> None:
        with self.updating():
            if self._batches.current is not None:
                stage(self._batches.current)
                return
            with _Committing(self) as transaction:
                stage(transaction)
            self._settle(transaction, show_progress)

    def batch(self) -> AbstractContextManager[None]:
        """
        Make one commit of all that this thread writes inside; nothing of it, if an exception leaves the block.

        Raises:
            QueryError: this thread is in a batch already.
        """
        return _Batch(self)

    def _commit(self, transaction: Transaction) -> None:
        if self.access.is_synced:
            transaction.secure()  # I2
        with self._following.lock.exclusive(), self._following.publishing() as state:
            self._sidecar.commit()  # I1
            state.publish(transaction.change, state.commits + 1)
        if self.access.is_synced:
            state.acknowledge()  # otherwise a power cut may take commits back, and that would be no surprise

    def _settle(self, transaction: Transaction, show_progress: bool | None) -> None:
        """Let the graphs follow; the write is done already."""
        for field in self.state.graphs.oversleeping():
            self.wake(field, show_progress)
        # What other processes have written in the meantime is added bit by bit.
        at_most = max(transaction.added, STEP_ROWS) if self.access.follows else None
        self.state.graphs.catch_up(show_progress, at_most)
        mend_after_churn(self.state.graphs)
        self.state.graphs.save_if_worthwhile()
        if self._may_compact and upkeep.is_worthwhile(self.state.labels, self.access.compacts_at):
            self._compact_on_its_own(show_progress)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Keep other writers out of what is a commit of its own, and no part of a batch."""
        with self.updating():
            self.check_no_batch(what)
            yield

    # -- graphs in memory --------------------------------------------------------------------------

    def wake(self, field: str, show_progress: bool | None = None) -> None:
        """Have a field's graph in memory; see `Waking`. Not to be called inside `reading`."""
        self._waking.wake(field, show_progress)

    def wake_all(self, show_progress: bool | None = None) -> None:
        """Have all graphs in memory."""
        for field in self.settings:
            self.wake(field, show_progress)

    def unload(self, field: str) -> None:
        """Let go of a field's graph until it is needed again; saved first, where this process may write."""
        if self.access.read_only:
            with self._writing:
                self._send_to_sleep(field)
            return
        with self._alone('unload a graph'), disk_errors(self.path, 'saving a graph'):
            self.state.graphs.catch_up(show_progress=None)
            self.state.graphs.save(only=field)
            self._send_to_sleep(field)

    def _send_to_sleep(self, field: str) -> None:
        with self._following.lock.exclusive():
            self._check_usable()
            self.state.graphs.send_to_sleep(field)

    # -- upkeep ----------------------------------------------------------------------------------

    def save_graphs(self, show_progress: bool | None) -> None:
        """Write a file for every graph that has changed since its last one; searches go on meanwhile."""
        check_progress(show_progress)
        with self._alone('save graphs'), disk_errors(self.path, 'saving the graphs'):
            self.state.graphs.catch_up(show_progress)
            self.state.graphs.save(show_progress=show_progress)

    def compact(self, show_progress: bool | None) -> None:
        """
        Write vector files and graphs without the dead, and take them into use; searches go on meanwhile.

        Everything new is written beside the old. The commit that renumbers the documents also names the new files, so a
        crash leaves the one state or the other (I1), and debris that the next opening removes.
        """
        check_progress(show_progress)
        with self._alone('compact'), ExitStack() as undo:
            undo.enter_context(disk_errors(self.path, 'compacting this'))
            undo.callback(self._sweep_unless_committed)
            new = upkeep.next_generation(self._work_dir, self._sidecar, self.state, self._following.lock, show_progress)
            undo.callback(new.close, but=self.state)
            snapshots = new.graphs.write_all()
            with self._following.lock.exclusive(), self._following.publishing() as replaced:
                meta = {'next_label': new.labels.next, 'generation': new.generation}
                self._sidecar.renumber(meta, new.labels.absences(), new.labels.runs(), snapshots)  # I1, I6
                undo.pop_all()
                for field in replaced.graphs.asleep:
                    new.graphs.send_to_sleep(field)
                self._following.state = new
            replaced.close(but=new)
            new.acknowledge()
            self._sweep()
            self._sidecar.vacuum()

    def _sweep_unless_committed(self) -> None:
        # An interrupt may come just after the commit: then the new files are the truth, and the next write follows.
        if self._sidecar.commits() == self.state.commits:
            self._sweep()

    def _compact_on_its_own(self, show_progress: bool | None) -> None:
        try:
            self.compact(show_progress)
        except Exception:  # a full disk, say, or damage that a reader will hear of; the write is done
            self._may_compact = False  # or every write would try
            logger.exception('%s could not be compacted; this is not tried again before it is reopened', self.path)

    def backup(self, path: Path, show_progress: bool | None) -> None:
        """Copy the directory as it is now to `path`, which must be empty or not exist; searches go on, writes wait."""
        if path.resolve().is_relative_to(self.path):
            raise WorkDirError('a backup inside the directory that it is of would be lost with it', path)
        with self._alone('back up'):
            upkeep.backup(self._work_dir, self._sidecar, self.state, path, show_progress)

    def check_text(self, view: View) -> None:
        """Raise `CorruptIndexError` if full text is not that of the documents."""
        if self.access.read_only:
            view.rows.check_text(view.state.fields)
        else:
            self._sidecar.check_text()

    def put_fields(self, extractions: Extractions) -> None:
        """Make anew what filters and full text look at."""
        with self._following.lock.exclusive(), self._following.publishing() as state:
            opening.fill_fields(self._sidecar, extractions, is_damaged=True)
            state.commits += 1
            state.fields = tables_of(extractions, state.fields.names)
        self.state.acknowledge()

    @contextmanager
    def still(self) -> Iterator[View]:
        """See one state for as long as this is held, which may be long: writes wait, searches do not."""
        if self.access.read_only:
            with self.reading() as view:
                yield view
        else:
            with self._alone('verify'):
                yield View(self.state, self._sidecar.rows)

    # -- reading ---------------------------------------------------------------------------------

    def reading(self) -> AbstractContextManager[View]:
        """See one state of the documents and their vectors for as long as this is held."""
        return _Reading(self)

    @contextmanager
    def moment(self) -> Iterator[View]:
        """
        See one state for as long as this is held, which may be long, while others read, write and compact.

        Vector files only grow (I3), and one that a compaction has replaced stays there for whoever has it open.

        Raises:
            QueryError: this thread is in a batch.
        """
        self.check_no_batch('look at one moment')
        with ExitStack() as undo:
            rows = self._sidecar.take()
            undo.callback(self._sidecar.give_back, rows)
            undo.callback(rows.let_go)
            while True:
                with self.reading() as view:
                    if rows.hold() != view.state.commits:  # another process has written in between
                        continue
                    try:
                        files = {
                            name: undo.enter_context(closing(file.reopened()))
                            for name, file in view.state.files.items()
                        }
                    except CorruptIndexError:
                        if self.commits_by_now() == view.state.commits:
                            raise
                        continue  # another process has compacted since, and removed them
                    state, labels = replace(view.state, files=files), view.labels.copy()
                    break
            yield View(state, rows, labels)

    def read_through(self) -> None:
        """Read all documents once; not under the lock, for it may take long. See `Rows.read_through`."""
        with self._sidecar.latest() as rows:
            rows.read_through()

    def commits_by_now(self) -> int:
        """Return how many changes have been committed, whoever made them and whatever is seen here."""
        with self._sidecar.latest() as rows:
            return rows.commits()

    # -- checks ----------------------------------------------------------------------------------

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process has opened it, and is not a fork of the one that did."""
        return self._pid == os.getpid()

    def _check_process(self) -> None:
        # Before a lock is asked for: in a forked process it may be held for ever by a thread that is not there.
        if not self.is_of_this_process:
            raise ClosedIndexError(
                'this index belongs to the process that this one was forked from; open it after the fork only'
            )

    def _check_usable(self) -> None:
        self._check_process()
        if self._is_closed:
            raise ClosedIndexError(f'the index in {self.path} was closed; open it again')

    def check_no_batch(self, what: str) -> None:
        """Raise `QueryError` if this thread is in a batch."""
        self._batches.check_none(what)

    def check_closable(self) -> None:
        """Raise `QueryError` if this thread is in a batch, in whatever task."""
        self._batches.check_none('close')
        self._batches.check_task()

    def check_writable(self) -> None:
        """
        Check that this thread may write.

        Raises:
            ReadOnlyError: the directory was opened for reading.
            QueryError: it belongs to a batch of another thread.
        """
        if self.access.read_only:
            raise ReadOnlyError('this index was opened with read_only=True', self.path, 'open it without, to write')
        self._batches.check_thread()


class _Reading:
    """
    Holds the lock shared, and sees the truth up to the last commit (I8, I9).

    A class: a generator would cost each search a microsecond more.
    """

    __slots__ = ('_rows', '_store')

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: Rows | None = None

    def __enter__(self) -> View:
        store = self._store
        store._check_process()
        lock = store._following.lock
        try:
            lock.acquire_shared()
            store._check_usable()
            batch = store._batches.own()
            if batch is not None:
                return batch.view()
            store._batches.check_thread()
            if store.access.follows:
                store.check_in_place()
            self._rows = store._sidecar.take()
            if store.access.follows and not store._following.is_current(self._rows):
                lock.release()
                store._following.follow_and_share(self._rows, store._check_usable)
            return View(store.state, self._rows)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        try:
            self._give_back()
        finally:
            self._store._following.lock.release()

    def _give_back(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            if self._store.access.follows:
                rows.let_go()
            self._store._sidecar.give_back(rows)


class _Committing:
    """
    Commits what is staged inside: whole, or not at all.

    A class and no generator: an interrupt may leave either unfinished, and a generator would roll back when it is
    collected, which may be in the middle of the next transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Transaction:
        store = self._store
        self.transaction = Transaction(store.state, store._sidecar, store.access.is_synced)
        try:
            store._sidecar.begin()
        except BaseException:
            store._sidecar.roll_back()  # other processes wait for it
            raise
        return self.transaction

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_committed = False
        try:
            if kind is None:
                self._store._check_usable()
                self.transaction.check_whole()
            if kind is None and not self.transaction.is_empty:
                self._store._commit(self.transaction)
                is_committed = True
        finally:
            if not self._store._is_closed:  # by the end of the interpreter
                self._store._sidecar.roll_back()
                if not is_committed:
                    self._store._forget_rolled_back()


class _Batch:
    """Stages what this thread writes inside, and commits it at the end; see `Store.batch`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._transaction: Transaction | None = None
        self._end = ExitStack()

    def __enter__(self) -> None:
        store, committing = self._store, _Committing(self._store)

        def settle(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                store._settle(committing.transaction, show_progress=False)

        with ExitStack() as undo:
            # At the end the last comes first: no batch any more, the commit, what follows it, and others may write.
            undo.enter_context(store._alone('begin another batch'))
            undo.push(settle)
            transaction = undo.enter_context(committing)
            undo.callback(store._batches.end)
            store._batches.begin(transaction)
            self._transaction, self._end = transaction, undo.pop_all()

    def __exit__(self, *exception: Any) -> None:
        try:
            self._end.__exit__(*exception)
        except BaseException:
            self._give_up()
            raise
        self._transaction = None

    def __del__(self) -> None:
        self._give_up()  # Ctrl-C may have come before `__exit__` did anything

    def _give_up(self) -> None:
        """End what Ctrl-C has kept from ending: what this thread writes later would be in it, and never stored."""
        if self._transaction is not None and self._store._batches.is_left(self._transaction):
            self._store._batches.end()
            self._end.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
