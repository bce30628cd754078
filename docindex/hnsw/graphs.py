"""
The graphs of all fields, in memory and in files: caches that follow the truth (I5, I6 in `store`).

A graph follows by two numbers: `covered`, the label up to which it has seen every vector, and `buried`, how many
tombstones it knows. Opening a directory, finishing a write and rebuilding a damaged graph are then the same work:
`catch_up`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from .. import _files
from .._progress import progress_bar
from ..distances import Labels
from ..errors import SettingsError
from ..fields import VectorSettings
from ..locks import SharedLock
from . import graph_file
from .graph import LOOK_ROWS, Graph, why_impossible
from .labels import LabelTable
from .reachability import hides_many
from .records import Snapshot
from .reduction import built_in
from .search import FieldSearch
from .sidecar import Sidecar
from .vectors import VectorFile
from .workdir import WorkDir

logger = logging.getLogger('docindex')

_ADD_ROWS = 512  # a quarter of a second; a search waits for no more than that
# After a kill at the worst moment a third of a graph is built again, or what takes some ten seconds if that is more. In
# return all the saving while an index grows writes each vector about three times, and a small one is saved at close.
_SAVE_ROWS = 30_000
_SAVE_SHARE = 0.5
# Vectors that searches miss have few links to them, up to 4, as 1.3 % of all have.
_FEW_LINKS = 4
_HIDING = (
    'the graph of %r in %s does not lead to many of its vectors; searches compare with every vector until it does. '
    "With space='l2' one vector in the middle of all others, zeros say, can be the cause"
)
_MOSTLY_DEAD = 4  # nodes for each living one
# What other processes write is added a little at a call, 20 ms or so, and scanned until then; a graph file of theirs
# that is ahead by more than this is loaded instead.
STEP_ROWS = 64
_FAR_BEHIND = 2_000


class MovedError(Exception):
    """Another process has replaced a graph file since SQLite was asked for its name."""


class GraphCache:
    """
    The graph of each field that has one. One thread changes them at a time, the one that holds the writer's lock.

    A graph may be asleep: not in memory, until somebody wakes it (`Waking`). The truth leaves it behind meanwhile.
    Without hnswlib all of them are, and nobody can; see `graphless`.

    Attributes:
        asleep: The settings of the fields whose graphs are asleep.
        rejected: By field, why its graph file was not used.
        loading_seconds, saving_seconds: By field, how long that took the last time.

    Args:
        work_dir: Where the graph files are.
        sidecar: Which graph files there are, and what they cover.
        files: The vectors, by field.
        labels: Which labels live.
        lock: Held alone for each step in a graph (I8).
    """

    def __init__(
        self,
        work_dir: WorkDir,
        sidecar: Sidecar,
        files: Mapping[str, VectorFile],
        labels: LabelTable,
        lock: SharedLock,
    ) -> None:
        self._work_dir = work_dir
        self._sidecar = sidecar
        self._files = files
        self._labels = labels
        self._lock = lock
        self._graphs: dict[str, Graph] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._disowned: set[str] = set()
        self._trusts_files = True
        self._said_to_hide: set[str] = set()
        self.asleep: dict[str, VectorSettings] = {}
        self.rejected: dict[str, str] = {}
        self.loading_seconds: dict[str, float] = {}
        self.saving_seconds: dict[str, float] = {}

    @property
    def work_dir(self) -> WorkDir:
        """Where the graph files are."""
        return self._work_dir

    @property
    def fields(self) -> list[str]:
        """The fields whose graphs are in memory."""
        return list(self._graphs)

    def get(self, field: str) -> Graph | None:
        """Return a field's graph; None if it has none, or it is asleep."""
        return self._graphs.get(field)

    def room(self, field: str) -> int:
        """Return how many vectors a field's graph has room for, or will have once it is awake; 0 if it has none."""
        graph, asleep = self._graphs.get(field), self.asleep.get(field)
        if graph is not None:
            return graph.capacity
        return 0 if asleep is None else max(asleep.max_elements, self._labels.next)

    def snapshot(self, field: str) -> Snapshot | None:
        """Return what SQLite knows of a field's graph file; None if there is none."""
        return self._snapshots.get(field)

    def load(
        self,
        settings: Mapping[str, VectorSettings],
        snapshots: Mapping[str, Snapshot] | None,
        may_move: bool,
        is_lazy: bool = False,
    ) -> None:
        """
        Read the graph files, and make a new graph where one cannot be used.

        Args:
            settings: The settings of each field.
            snapshots: The graph files, by field; None: they are not to be trusted, nor those that come later.
            may_move: Whether another process may replace graph files meanwhile.
            is_lazy: Leave the graphs asleep, but for those of nothing.

        Raises:
            MovedError: one has.
        """
        self._trusts_files = snapshots is not None
        self._take_note(snapshots or {})
        for field, given in settings.items():
            if given.index and (why_impossible() or (is_lazy and self._labels.vectors(field))):
                self.asleep[field] = given
            elif given.index:
                self._graphs[field] = self._loaded(field, given, may_move)

    def _take_note(self, snapshots: Mapping[str, Snapshot]) -> None:
        self._snapshots.update(self._usable(snapshots))

    def _usable(self, snapshots: Mapping[str, Snapshot]) -> dict[str, Snapshot]:
        return {
            field: snapshot
            for field, snapshot in snapshots.items()
            if self._work_dir.is_graph_name(snapshot.file) and snapshot.file not in self._disowned
        }

    def _loaded(self, field: str, settings: VectorSettings, may_move: bool) -> Graph:
        start = time.perf_counter()
        graph = self._load(field, settings, may_move)
        if graph is None:
            return self._empty(field, settings)
        self.loading_seconds[field] = time.perf_counter() - start
        return graph

    # -- asleep ------------------------------------------------------------------------------------

    def prepared(self, field: str, snapshot: Snapshot | None) -> Graph:
        """
        Return the graph of a field that is asleep, for `awaken`. Called by one thread for a field, without a lock.

        Args:
            field: The field.
            snapshot: Its graph file by now, if there is one.

        Raises:
            MovedError: the file was replaced meanwhile, or somebody else has woken the graph.
        """
        settings = self.asleep.get(field)
        if settings is None:
            raise MovedError
        if self._trusts_files:
            self._snapshots.pop(field, None)
            self._take_note({} if snapshot is None else {field: snapshot})
        return self._loaded(field, settings, may_move=True)

    def awaken(self, field: str, graph: Graph) -> None:
        """Take a graph that was `prepared` into use. Called with the lock held alone."""
        settings = self.asleep.get(field)
        # Meanwhile it may have got other settings, or none.
        if settings is not None and built_in(settings) == built_in(graph.settings):
            graph.settings = settings
            self._graphs[field] = graph
            del self.asleep[field]
            with self._giving_up(field):
                self._bury(field)

    def send_to_sleep(self, field: str) -> None:
        """Let go of a field's graph, and of what is in no file of it. Called with the lock held alone."""
        graph = self._graphs.pop(field, None)
        if graph is not None:
            self.asleep[field] = graph.settings

    def oversleeping(self) -> list[str]:
        """Return the fields that are asleep and have been left behind by so much that searches would feel it."""
        if why_impossible():
            return []
        covered = {field: self._snapshots[field].covered if field in self._snapshots else 0 for field in self.asleep}
        stop = self._labels.next
        return [
            field
            for field, start in covered.items()
            if stop - start > _FAR_BEHIND and len(self._labels.living(field, min(start, stop), stop)) > _FAR_BEHIND
        ]

    def forget(self) -> None:
        """Let go of all graphs; whoever is adding to one stops. Called when they are not used any more."""
        self._graphs.clear()
        self.asleep.clear()

    def notice(self, snapshots: Mapping[str, Snapshot]) -> None:
        """
        Take note of the graph files that another process has written; load one that is far ahead.

        Called with the lock held alone.
        """
        if not self._trusts_files:
            return
        self._take_note(snapshots)
        for field, graph in list(self._graphs.items()):
            snapshot = self._snapshots.get(field)
            if snapshot is not None and snapshot.covered - graph.covered > _FAR_BEHIND:
                self._graphs[field] = self._load(field, graph.settings, may_move=True) or graph
                self._bury(field)

    def build(self, settings: Mapping[str, VectorSettings], show_progress: bool | None) -> None:
        """Make all graphs anew, from vectors for which there are no graph files yet."""
        for field, given in settings.items():
            if given.index and why_impossible():
                self.asleep[field] = given
            elif given.index:
                self._graphs[field] = self._empty(field, given)
        self.catch_up(show_progress)

    def paths(self, snapshots: Mapping[str, Snapshot]) -> list[Path]:
        """Return the graph files that are to be used, of those that SQLite knows (`snapshots`), and that are there."""
        known = self._usable(snapshots) if self._trusts_files else self._snapshots
        paths = [self._work_dir.graph_file(snapshot.file) for snapshot in known.values()]
        return [path for path in paths if path.exists()]

    def _load(self, field: str, settings: VectorSettings, may_move: bool) -> Graph | None:
        """Return the graph in a field's file, or None, and why in the log, if the file is not to be trusted."""
        snapshot = self._snapshots.get(field)
        if snapshot is None:
            return None
        path = self._work_dir.graph_file(snapshot.file)
        try:
            problem = self._doubt(snapshot, settings, path)
            if problem is None:
                more = json.loads(snapshot.twins), json.loads(snapshot.strays)
                problem = _nonsense(*more, snapshot.covered)
            if problem is None:
                dead_labels = self._labels.dead[: snapshot.buried]
                return Graph.load(path, settings, snapshot.covered, dead_labels, snapshot.dead, *more)
        except OSError as error:
            problem = f'cannot be read ({error.strerror or error})'
        except RuntimeError as error:
            problem = f'is not accepted by hnswlib ({error})'
        except (ValueError, TypeError) as error:
            problem = f'has a record that makes no sense ({error})'
        if may_move:
            with self._sidecar.latest() as latest:
                if latest.snapshots().get(field) != snapshot:
                    raise MovedError
        self.rejected[field] = problem
        logger.warning('graph file %s %s; the graph is rebuilt from the vectors', path, problem)
        self._disown(field)
        return None

    def _doubt(self, snapshot: Snapshot, settings: VectorSettings, path: Path) -> str | None:
        """Return what speaks against a graph file, before hnswlib sees it."""
        if json.loads(snapshot.settings) != built_in(settings):
            return 'was built with other settings'
        if not path.is_file() or path.is_symlink():
            return 'is missing'
        if path.stat().st_size != snapshot.size:
            return 'is damaged'
        if snapshot.covered > self._labels.next or snapshot.buried > len(self._labels.dead):
            return 'is newer than the documents'
        return graph_file.defect(path, settings, snapshot.covered, snapshot.checksum)

    def _disown(self, field: str) -> None:
        """Forget a field's graph file: it is damaged, or of another graph than the one in memory."""
        snapshot = self._snapshots.pop(field, None)
        if snapshot is not None:
            self._disowned.add(snapshot.file)

    def reserve(self, field: str, capacity: int) -> None:
        """
        Make room in a field's graph. Called with the lock held alone.

        Raises:
            SettingsError: there is not that much memory.
        """
        graph = self._graphs.get(field)
        try:
            if graph is not None:
                graph.reserve(capacity)
        except (MemoryError, RuntimeError) as error:
            raise SettingsError(f'{field}: there is no memory for max_elements={capacity:,}') from error

    def put_settings(self, field: str, settings: VectorSettings) -> None:
        """Give a field's graph new settings; it starts anew if they are built in. Called with the lock held alone."""
        graph = self._graphs.get(field)
        if not settings.index:
            self._graphs.pop(field, None)
            self.asleep.pop(field, None)
            self.loading_seconds.pop(field, None)
        elif field in self.asleep or why_impossible():
            self.asleep[field] = settings  # a file of a graph with other ones is not read
        elif graph is None or built_in(graph.settings) != built_in(settings):
            self._graphs[field] = self._empty(field, settings)
            self._disown(field)
        else:
            graph.settings = settings

    def bury(self) -> None:
        """Mark in each graph what died since it last followed. Called with the lock held alone."""
        for field in list(self._graphs):
            with self._giving_up(field):
                self._bury(field)

    def _empty(self, field: str, settings: VectorSettings) -> Graph:
        """Return a graph that follows the truth from the start, where nobody has to be buried; it is not loaded."""
        self.loading_seconds.pop(field, None)
        graph = Graph(settings, self._labels.vectors(field))
        graph.buried = len(self._labels.dead)
        return graph

    def _start_anew(self, field: str) -> None:
        self._graphs[field] = self._empty(field, self._graphs[field].settings)
        self._disown(field)

    def _bury(self, field: str) -> None:
        graph = self._graphs[field]
        for label in self._labels.dead[graph.buried :]:
            # A label from `covered` on is not in the graph yet, and being dead it will not get there.
            if label in graph.left_out:
                graph.left_out.remove(label)
            elif label < graph.covered and self._labels.has_vector(field, label):
                graph.bury(label)
            graph.buried += 1

    def catch_up(self, show_progress: bool | None, at_most: int | None = None) -> None:
        """
        Add to every graph what the truth has and it lacks, letting searches through now and then.

        Args:
            show_progress: Whether to show a bar.
            at_most: How many labels to go through in each graph; None: all.
        """
        with self._lock.exclusive():
            self._prepare()
        graphs = dict(self._graphs)
        missing = {field: self._missing(graph, at_most) for field, graph in graphs.items()}
        stops = {field: graph.covered + missing[field] for field, graph in graphs.items()}
        with progress_bar(sum(missing.values()), 'indexing', show_progress) as advance:
            for field, graph in graphs.items():
                self._add_missing(field, graph, stops[field], advance)

    def step(self) -> None:
        """Add a little of what other processes have written. Called with the lock held alone."""
        self._prepare()
        for field, graph in list(self._graphs.items()):
            stop = graph.covered + self._missing(graph, STEP_ROWS)
            if stop > graph.covered:
                with self._giving_up(field):
                    self._add(field, stop)
                    self._look_at_some(field)

    @property
    def are_behind(self) -> bool:
        """Whether a graph lacks anything."""
        return any(graph.covered < self._labels.next for graph in self._graphs.values())

    def _missing(self, graph: Graph, at_most: int | None) -> int:
        missing = self._labels.next - graph.covered
        return missing if at_most is None else min(missing, at_most)

    def _prepare(self) -> None:
        self.bury()
        for field, graph in list(self._graphs.items()):
            if graph.covered < self._labels.next and graph.held > _MOSTLY_DEAD * graph.live:
                # Searches walk among the dead, too; and adding the few that live once more costs less than adding the
                # others did.
                self._start_anew(field)

    def _add_missing(self, field: str, graph: Graph, stop: int, advance: Callable[[int], object]) -> None:
        if stop - graph.covered > _ADD_ROWS:  # room for all at once
            with self._lock.exclusive():
                if self._graphs.get(field) is graph:
                    with self._giving_up(field):
                        graph.reserve(graph.held + len(self._labels.living(field, graph.covered, stop)))
        while graph.covered < stop:
            with self._lock.exclusive():
                # Between two steps a thread that follows another process may have loaded another graph, or have gone
                # further in this one, and this one may have been sent to sleep. `covered` must not go back.
                before = graph.covered
                if before >= stop or self._graphs.get(field) is not graph:
                    return
                with self._giving_up(field):
                    self._add(field, min(before + _ADD_ROWS, stop))
                    if graph.covered == stop:
                        self._look_at_some(field)
            advance(graph.covered - before)

    def _add(self, field: str, stop: int) -> None:
        """Add the labels up to `stop`. Called with the lock held alone."""
        graph, file = self._graphs[field], self._files[field]
        labels = self._labels.living(field, graph.covered, stop)
        damaged = file.damaged(labels)
        if len(damaged):
            logger.error('%s: the vectors of %d documents are damaged; see index.verify()', file.path, len(damaged))
            graph.left_out.extend(damaged.tolist())
            labels = labels[~np.isin(labels, damaged)]
        graph.add(labels, file.peek(labels), file.peek, self._labels.is_living)
        graph.churn += len(labels)
        graph.covered = stop

    def _look_at_some(self, field: str) -> None:
        """Where nothing leads to many vectors any more, let searches look at all. Called with the lock held alone."""
        # `mend_after_churn` waits until much has been added; nobody would find what is hidden until then.
        graph = self._graphs[field]
        latest = self._labels.living(field, graph.looked_at, graph.covered)
        if len(latest) >= LOOK_ROWS and not graph.left_out:
            graph.looked_at = graph.covered
            was_suspect, graph.is_suspect = graph.is_suspect, hides_many(self.search(field), latest)
            if not was_suspect:  # it may have begun some time ago
                latest = self._labels.living(field, 0, graph.covered)
        if graph.is_suspect:
            self._take_as_strays(field, np.union1d(self.search(field).strays, latest))

    def rebuild(self, field: str) -> None:
        """Make a field's graph anew from the vectors."""
        with self._lock.exclusive():
            self._start_anew(field)
            graph, stop = self._graphs[field], self._labels.next
        self._add_missing(field, graph, stop, lambda done: None)

    def relink(self, field: str, labels: Labels) -> None:
        """Link vectors that are in a field's graph anew."""
        vectors = self._files[field].rows(labels)
        with self._lock.exclusive(), self._giving_up(field):
            self._graphs[field].relink(labels, vectors)
        self._disown(field)

    def put_strays(self, field: str, strays: Labels) -> None:
        """Let searches look at these labels, ascending."""
        with self._lock.exclusive():
            self._take_as_strays(field, strays)

    def _take_as_strays(self, field: str, strays: Labels) -> None:
        graph = self._graphs[field]
        graph.strays = strays.tolist()
        if graph.hides_many and field not in self._said_to_hide:
            self._said_to_hide.add(field)
            logger.warning(_HIDING, field, self._work_dir)

    def scarcely_linked(self, field: str) -> Labels:
        """
        Return the living labels of a field's graph to which few others are linked.

        Raises:
            OSError: hnswlib shows its links in files only, and this one could not be written.
        """
        beside = self._work_dir.graph_file(f'{self._work_dir.new_graph_name(field)}.new')
        try:
            _files.create_empty(beside)
            self._graphs[field].save(beside)  # not synced, and gone at once
            scarce = graph_file.scarcely_linked(beside, _FEW_LINKS)
        finally:
            _files.remove(beside)
        return scarce[[self._labels.is_living(label) for label in scarce.tolist()]]

    def search(self, field: str) -> FieldSearch:
        """Return what searches a field's graph as it is now."""
        graph = self._graphs[field]
        return FieldSearch(field, graph.settings, graph, self._files[field], self._labels)

    def _giving_up(self, field: str) -> AbstractContextManager[None]:
        """
        Replace a graph that fails half-way by an empty one, which follows the truth from the start (I5).

        What is committed stays committed: a graph that hnswlib has no memory for must not make a write fail. An
        interrupt (Ctrl-C) goes on its way, but nobody knows how far the graph had come.
        """
        return _GivingUp(self, field)

    def save(
        self, at_least: int = 1, share: float = 0.0, only: str | None = None, show_progress: bool | None = False
    ) -> None:
        """
        Write a file for each graph with `at_least` unsaved additions and deletions, and that `share` of all.

        Args:
            at_least: How many there must be.
            share: Of how many nodes they must be a part so large.
            only: The one field that is looked at.
            show_progress: Whether to show a bar.

        Raises:
            OSError: a file could not be written; the earlier one is still there.
        """
        due = {
            field: graph
            for field, graph in self._graphs.items()
            # A file of a graph that lacks something would have to say so.
            if only in (None, field)
            and self._unsaved(field, graph) >= max(at_least, share * graph.covered)
            and not graph.left_out
        }
        if not due:
            return
        with progress_bar(sum(graph.held for graph in due.values()), 'saving', show_progress) as advance:
            for field, graph in due.items():
                start = time.perf_counter()
                snapshot = self._write(field, graph)
                self._sidecar.record(snapshot)  # I6
                self._replace(snapshot)
                self.saving_seconds[field] = time.perf_counter() - start
                advance(graph.held)

    def save_if_worthwhile(self) -> None:
        """Save the graphs that have grown by a good share, so that saving costs in proportion to writing."""
        try:
            self.save(_SAVE_ROWS, _SAVE_SHARE)
        except OSError:  # a full disk, say; the documents are safe
            logger.exception('a graph in %s could not be saved; the next opening takes longer', self._work_dir)

    def write_all(self) -> list[Snapshot]:
        """Write a file for each graph, for SQLite to record together with another change (I6)."""
        for field, graph in self._graphs.items():
            if not graph.left_out:
                self._snapshots[field] = self._write(field, graph)
        return list(self._snapshots.values())

    def _unsaved(self, field: str, graph: Graph) -> int:
        saved = self._snapshots.get(field)
        if saved is None:
            return graph.covered
        return graph.covered - saved.covered + graph.buried - saved.buried

    def _write(self, field: str, graph: Graph) -> Snapshot:
        path = self._work_dir.graph_file(self._work_dir.new_graph_name(field))
        beside = path.with_name(path.name + '.new')
        _files.create_empty(beside)
        graph.save(beside)
        _files.publish(beside, path)
        return Snapshot(
            field=field,
            file=path.name,
            size=path.stat().st_size,
            checksum=_files.checksum(path),
            covered=graph.covered,
            buried=graph.buried,
            dead=graph.dead,
            twins=json.dumps(graph.twins()),
            strays=json.dumps(graph.strays),
            settings=json.dumps(built_in(graph.settings)),
        )

    def _replace(self, snapshot: Snapshot) -> None:
        replaced, self._snapshots[snapshot.field] = self._snapshots.get(snapshot.field), snapshot
        # SQLite may have named these until now.
        gone = {file for file in self._disowned if file.partition('.')[0] == snapshot.field}
        self._disowned -= gone
        if replaced is not None:
            gone.add(replaced.file)
        for file in gone - {snapshot.file}:  # the name of one that was missing is given again
            _files.remove(self._work_dir.graph_file(file))


class _GivingUp:
    """See `GraphCache._giving_up`. A class: a generator that an interrupt left unfinished gives up once collected."""

    def __init__(self, cache: GraphCache, field: str) -> None:
        self._cache = cache
        self._field = field

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if error is None:
            return False
        self._cache._start_anew(self._field)
        if not isinstance(error, Exception):
            return False
        about = self._field, self._cache._work_dir
        logger.exception('the graph of %r in %s has to be rebuilt; searches scan until then', *about)
        return True


def _nonsense(twins: Any, strays: Any, covered: int) -> str | None:
    """Return what is wrong with the twins and strays in a record that a stranger may have written."""
    groups = [*twins, strays] if isinstance(twins, list) else [None]
    if not all(isinstance(group, list) and all(type(label) is int for label in group) for group in groups):
        return 'has a record that makes no sense'
    labels = [label for group in twins for label in group[1:]]
    nodes = [group[0] for group in twins if group]
    if len(nodes) < len(twins) or len({*labels}) < len(labels) or len({*nodes}) < len(nodes):
        return 'has a record that gives a label twice'
    if not all(0 <= label < covered for label in (*labels, *nodes, *strays)):
        return 'has a record with labels that it does not cover'
    return None
