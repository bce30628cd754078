"""
The graphs of all fields, in memory and in files: caches that follow the truth (I5, I6 in `store`).

A graph follows by two numbers: `covered`, the label up to which it has seen every vector, and `buried`, how many
tombstones it knows. Opening a directory, finishing a write and rebuilding a damaged graph are then the same work:
`catch_up`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import _files
from .._progress import progress_bar
from ..distances import Labels
from ..errors import SettingsError
from ..fields import GRAPH_SETTINGS, VectorSettings
from .graph import Graph
from .labels import LabelTable
from .locks import SharedLock
from .sidecar import Sidecar, Snapshot
from .vectors import VectorFile
from .workdir import WorkDir

logger = logging.getLogger('docindex')

_ADD_ROWS = 512  # a quarter of a second; a search waits for no more than that
# After a kill at the worst moment a third of a graph is built again, or what takes some ten seconds if that is more. In
# return all the saving while an index grows writes each vector about three times, and a small one is saved at close.
_SAVE_ROWS = 30_000
_SAVE_SHARE = 0.5
_MOSTLY_DEAD = 4  # nodes for each living one


class GraphCache:
    """
    The graph of each field that has one. One thread changes them at a time, the one that holds the writer's lock.

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
        self._snapshots = sidecar.snapshots()

    def get(self, field: str) -> Graph | None:
        """Return a field's graph; None if it has none."""
        return self._graphs.get(field)

    def load(self, settings: Mapping[str, VectorSettings]) -> None:
        """Read the graph files, and make a new graph where one cannot be used."""
        for field, given in settings.items():
            if given.index:
                self._graphs[field] = self._load(field, given) or self._empty(given)

    def build(self, settings: Mapping[str, VectorSettings], show_progress: bool | None) -> None:
        """Make all graphs anew; files there are of labels that have changed since, so they are not saved yet."""
        self._snapshots.clear()
        for field, given in settings.items():
            if given.index:
                self._graphs[field] = self._empty(given)
        self.catch_up(show_progress)

    def paths(self) -> list[Path]:
        """Return the graph files that SQLite knows."""
        return [self._work_dir.graph_file(snapshot.file) for snapshot in self._snapshots.values()]

    def _load(self, field: str, settings: VectorSettings) -> Graph | None:
        """Return the graph in a field's file, or None, and why in the log, if the file is not to be trusted."""
        snapshot = self._snapshots.get(field)
        if snapshot is None:
            return None
        path = self._work_dir.graph_file(snapshot.file)
        try:
            problem = self._doubt(snapshot, settings, path)
            if problem is None:
                twins = json.loads(snapshot.twins)
                return Graph.load(path, settings, snapshot.covered, snapshot.buried, snapshot.dead, twins)
        except RuntimeError as error:
            problem = f'is not accepted by hnswlib ({error})'
        except (ValueError, TypeError) as error:
            problem = f'has a record that makes no sense ({error})'
        logger.warning('graph file %s %s; the graph is rebuilt from the vectors', path, problem)
        del self._snapshots[field]
        return None

    def _doubt(self, snapshot: Snapshot, settings: VectorSettings, path: Path) -> str | None:
        """Return what speaks against a graph file, before hnswlib sees it."""
        if json.loads(snapshot.settings) != _built_in(settings):
            return 'was built with other settings'
        if not path.is_file() or path.is_symlink():
            return 'is missing'
        if path.stat().st_size != snapshot.size or _files.checksum(path) != snapshot.checksum:
            return 'is damaged'
        if snapshot.covered > self._labels.next or snapshot.buried > len(self._labels.dead):
            return 'is newer than the documents'
        return None

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
        elif graph is None or _built_in(graph.settings) != _built_in(settings):
            self._graphs[field] = self._empty(settings)
            self._snapshots.pop(field, None)  # its file is of the graph before
        else:
            graph.settings = settings

    def bury(self) -> None:
        """Mark in each graph what died since it last followed. Called with the lock held alone."""
        for field in list(self._graphs):
            with self._giving_up(field):
                self._bury(field)

    def _empty(self, settings: VectorSettings) -> Graph:
        """Return a graph that follows the truth from the start, where nobody has to be buried."""
        graph = Graph(settings, self._labels.documents)
        graph.buried = len(self._labels.dead)
        return graph

    def _start_anew(self, field: str) -> None:
        self._graphs[field] = self._empty(self._graphs[field].settings)
        self._snapshots.pop(field, None)  # its file is of the graph before

    def _bury(self, field: str) -> None:
        graph = self._graphs[field]
        for label in self._labels.dead[graph.buried :]:
            # A label from `covered` on is not in the graph yet, and being dead it will not get there.
            if label < graph.covered and self._labels.has_vector(field, label):
                graph.bury(label)
            graph.buried += 1

    def catch_up(self, show_progress: bool | None) -> None:
        """Add to every graph what the truth has and it lacks, letting searches through now and then."""
        with self._lock.exclusive():
            self.bury()
            for field, graph in list(self._graphs.items()):
                if graph.covered < self._labels.next and graph.held > _MOSTLY_DEAD * graph.live:
                    # What is added among the dead is linked to nothing but them, and lost; and adding the few that live
                    # once more costs less than burying the others did.
                    self._start_anew(field)
        missing = sum(self._labels.next - graph.covered for graph in self._graphs.values())
        with progress_bar(missing, 'indexing', show_progress) as advance:
            for field in list(self._graphs):
                self._add_missing(field, advance)

    def _add_missing(self, field: str, advance: Callable[[int], object]) -> None:
        graph, file = self._graphs[field], self._files[field]
        with self._lock.exclusive(), self._giving_up(field):
            graph.reserve(graph.held + self._labels.next - graph.covered)
        while graph.covered < self._labels.next and self._graphs[field] is graph:
            stop = min(graph.covered + _ADD_ROWS, self._labels.next)
            labels = self._labels.living(field, graph.covered, stop)
            vectors = file.rows(labels)
            with self._lock.exclusive(), self._giving_up(field):
                graph.add(labels, vectors, file.peek, self._labels.is_living)
                advance(stop - graph.covered)
                graph.covered = stop

    def rebuild(self, field: str) -> None:
        """Make a field's graph anew from the vectors."""
        with self._lock.exclusive():
            self._start_anew(field)
        self._add_missing(field, lambda done: None)

    def relink(self, field: str, labels: Labels) -> None:
        """Link vectors that are in a field's graph anew."""
        vectors = self._files[field].rows(labels)
        with self._lock.exclusive(), self._giving_up(field):
            self._graphs[field].relink(labels, vectors)
        self._snapshots.pop(field, None)  # its file is of the graph before

    @contextmanager
    def _giving_up(self, field: str) -> Iterator[None]:
        """
        Replace a graph that fails half-way by an empty one, which follows the truth from the start (I5).

        What is committed stays committed: a graph that hnswlib has no memory for must not make a write fail. An
        interrupt (Ctrl-C) goes on its way, but nobody knows how far the graph had come.
        """
        try:
            yield
        except BaseException as error:
            self._start_anew(field)
            if not isinstance(error, Exception):
                raise
            logger.exception('the graph of %r in %s has to be rebuilt; searches scan until then', field, self._work_dir)

    def save(self, at_least: int = 1, share: float = 0.0) -> None:
        """
        Write a file for each graph with `at_least` unsaved additions and deletions, and that `share` of all.

        Raises:
            OSError: a file could not be written; the earlier one is still there.
        """
        for field, graph in self._graphs.items():
            if self._unsaved(field, graph) >= max(at_least, share * graph.covered):
                self._save(field, graph)

    def save_if_worthwhile(self) -> None:
        """Save the graphs that have grown by a good share, so that saving costs in proportion to writing."""
        try:
            self.save(_SAVE_ROWS, _SAVE_SHARE)
        except OSError:  # a full disk, say; the documents are safe
            logger.exception('a graph in %s could not be saved; the next opening takes longer', self._work_dir)

    def _unsaved(self, field: str, graph: Graph) -> int:
        saved = self._snapshots.get(field)
        if saved is None:
            return graph.covered
        return graph.covered - saved.covered + graph.buried - saved.buried

    def _save(self, field: str, graph: Graph) -> None:
        path = self._work_dir.graph_file(self._work_dir.new_graph_name(field))
        beside = path.with_name(path.name + '.new')
        graph.save(beside)
        _files.publish(beside, path)
        snapshot = Snapshot(
            field=field,
            file=path.name,
            size=path.stat().st_size,
            checksum=_files.checksum(path),
            covered=graph.covered,
            buried=graph.buried,
            dead=graph.dead,
            twins=json.dumps(graph.twins()),
            settings=json.dumps(_built_in(graph.settings)),
        )
        self._sidecar.record(snapshot)  # I6
        replaced, self._snapshots[field] = self._snapshots.get(field), snapshot
        if replaced is not None:
            self._work_dir.graph_file(replaced.file).unlink(missing_ok=True)


def _built_in(settings: VectorSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in (*GRAPH_SETTINGS, 'dim')}
