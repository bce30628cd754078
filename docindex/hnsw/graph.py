"""
One vector field's graph: the only module that imports hnswlib, which must not be trusted with much.

hnswlib takes a query of any length and reads past its end; stores NaN; fails when it finds fewer
than asked; keeps neither `ef` nor the space in its files and loads damaged ones; saves to a full disk
without a word; normalises with underflow. So everything is checked before it gets here or here.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..distances import Labels, comparable, unit, unit_queries
from ..fields import VectorSettings
from ..locks import LOOK, processors
from ..tensors import Float32Array
from .graph_file import HEADER_SIZE
from .hugepages import HugePages
from .labels import FlagColumn, Flags
from .reduction import reduced
from .twins import ReadVectors, Twins

_failure: ImportError | None = None
try:
    import hnswlib

    # chroma-hnswlib 0.7 calls itself hnswlib, too, and whichever was installed last is found; Debian's is 0.6.
    if not hasattr(hnswlib.Index, 'index_file_size'):
        raise ImportError('it is older than 0.8, or chroma-hnswlib')
except ImportError as error:  # or not installed, or compiled for another Python; see `graphless`
    _failure = error

_MANY = 1_000
MOST_STRAYS = 256
"""To compare with so many takes a fifth of a search."""
LOOK_ROWS = 32
"""So many that were added are enough to ask whether searches find the last of them."""
_MOST_STRAYS_SHARE = 0.01  # or so large a part of a large graph: 10,000 of 1,000,000 x 128 take 1 ms
_Strays = tuple[list[int], Labels, Float32Array]
_NO_STRAYS: _Strays = ([], np.empty(0, np.int64), np.empty((0, 0), np.float32))


def why_impossible() -> ImportError | None:
    """Return why there can be no graphs in this process: hnswlib cannot be imported. None: there can."""
    return _failure


class ShortAnswerError(Exception):
    """The graph found fewer neighbours than it was asked for; an exact scan finds them."""


class Graph:
    """
    A graph over the vectors of one field.

    Attributes:
        covered: Every label below this one has been added, if it was alive then.
        buried: How many tombstones, in the order of their commits, have been marked in it.
        dead: On how many of its nodes nobody lives any more.
        churn: How many vectors were added since somebody last looked for vectors that nobody links to.
        strays: Labels in it that searches miss all the same, ascending: they are to be compared with one by one.
        looked_at: Of the labels from this one on nobody has asked yet whether searches find some of them.
        is_suspect: Whether searches missed many of those before it: what comes next they may miss, too.
        left_out: Labels below `covered` that are not in it, for their vectors are damaged.

    Args:
        settings: The field's settings; `ef` and `num_threads` may be changed later, see `settings`.
        capacity: For how many vectors to make room at least.
    """

    def __init__(self, settings: VectorSettings, capacity: int = 0) -> None:
        self.settings = settings
        self.covered = 0
        self.buried = 0
        self.dead = 0
        self.churn = 0
        self.looked_at = 0
        self.is_suspect = False
        self._is_dead = FlagColumn()
        self.strays: list[int] = []
        self._read_strays = _NO_STRAYS
        self.left_out: list[int] = []
        self._ef = _EfGate()
        self._twins = Twins()
        self._index = _new_index(settings)
        room = _room_for(capacity, settings.max_elements)
        with HugePages(room * _node_size(settings)):
            self._index.init_index(
                max_elements=room,
                M=settings.M,
                ef_construction=settings.ef_construction,
                random_seed=settings.random_seed,
                allow_replace_deleted=settings.allow_replace_deleted,
            )

    @classmethod
    def load(
        cls,
        path: Path,
        settings: VectorSettings,
        covered: int,
        dead_labels: Sequence[int],
        dead: int,
        twins: list[list[int]],
        strays: list[int],
    ) -> Graph:
        """
        Read a snapshot whose checksum was verified by the caller, who also kept what hnswlib does not.

        Raises:
            RuntimeError: hnswlib does not take it.
        """
        graph = cls.__new__(cls)
        graph.settings, graph.covered, graph.buried, graph.dead = settings, covered, len(dead_labels), dead
        graph.churn, graph.strays, graph.left_out = 0, sorted({*strays}), []
        graph.looked_at, graph.is_suspect = max(0, covered - LOOK_ROWS), False
        graph._read_strays = _NO_STRAYS
        graph._ef = _EfGate()
        graph._twins = Twins.from_json(twins)
        graph._is_dead = FlagColumn()
        graph._is_dead.mark([label for label in dead_labels if label < covered])
        for node, on_it in graph._twins.shared():
            graph._is_dead.mark([node], not on_it)
        # Always into a new object: hnswlib frees the old graph first and keeps a dangling pointer when the load fails.
        graph._index = index = _new_index(settings)
        room = max(covered, settings.max_elements)
        is_open = weakref.ref(graph)
        with HugePages(room * _node_size(settings), True, lambda: is_open() is not None):
            index.load_index(os.fsencode(path), max_elements=room, allow_replace_deleted=settings.allow_replace_deleted)
        return graph

    def save(self, path: Path) -> None:
        """
        Write a snapshot to `path`, not synced.

        Raises:
            OSError: not all of it could be written (hnswlib itself would not say).
        """
        self._index.save_index(os.fsencode(path))  # a name need not be UTF-8
        written, expected = path.stat().st_size, self._index.index_file_size()
        if written != expected:
            raise OSError(f'only {written:,} of {expected:,} bytes could be written; is the disk full?')

    @property
    def capacity(self) -> int:
        """For how many vectors there is room."""
        return int(self._index.max_elements)

    @property
    def held(self) -> int:
        """How many nodes are in it, dead ones included."""
        return int(self._index.element_count)

    @property
    def live(self) -> int:
        """How many nodes a search can return."""
        return self.held - self.dead

    @property
    def memory(self) -> int:
        """
        How many bytes hnswlib has allocated for it, about.

        As in the constructor and `loadIndex` of hnswlib 0.8 (hnswalg.h), for each place: a node on level 0; a pointer
        to the links above (8), a lock (40), a level (4), a mark of a visit (2). For each node besides: an entry in the
        table of labels (40, in libstdc++), and its links above, which a file has as memory has them.
        """
        place = _node_size(self.settings)
        above = int(self._index.index_file_size()) - HEADER_SIZE - (place + 4) * self.held
        return self.capacity * (place + 54) + 40 * self.held + above

    @property
    def hides_many(self) -> bool:
        """Whether so many are strays, or may be soon, that searches had better compare with every vector."""
        strays = len(self.strays)
        return self.is_suspect or (strays > MOST_STRAYS and strays > _MOST_STRAYS_SHARE * self.live)

    def twins(self) -> list[list[int]]:
        """Return which labels share a node, as JSON."""
        return self._twins.to_json()

    def reserve(self, total: int) -> None:
        """Make room for `total` vectors, by doubling."""
        if total > self.capacity:
            room = _room_for(total, max(self.capacity, self.settings.max_elements))
            with HugePages(room * _node_size(self.settings)):
                self._index.resize_index(room)

    def add(self, labels: Labels, vectors: Float32Array, read: ReadVectors, is_living: Callable[[int], bool]) -> None:
        """
        Add vectors (n, dim) under new labels (n,).

        `read` returns the vectors of labels that were added before, `is_living` whether one of those still lives.
        """
        if not len(labels):
            return
        ready = self.ready(vectors)
        nodes = self._twins.nodes(labels, ready, self._nodes, lambda known: self.ready(read(known)))
        is_node = nodes == labels
        self.reserve(self.held + int(is_node.sum()))
        self._put(*((labels, ready) if is_node.all() else (labels[is_node], ready[is_node])))
        for label, node in zip(labels[~is_node].tolist(), nodes[~is_node].tolist(), strict=True):
            on_it = self._twins.labels_on(node)
            node_lives = is_living(node) if on_it is None else bool(on_it)
            if not node_lives:
                self._is_dead.mark([node], False)
                self.dead -= 1
            self._twins.join(label, node, node_lives)

    def strays_to_compare(self, read: ReadVectors) -> tuple[Labels, Float32Array]:
        """Return the strays (n,) and their vectors (n, dim), which are read once, as `distances_to` takes them."""
        known, labels, vectors = self._read_strays
        if known != self.strays:
            known, labels = self.strays.copy(), np.array(self.strays, np.int64)
            vectors = comparable(read(labels), self.settings.space)
            self._read_strays = known, labels, vectors
        return labels, vectors

    def relink(self, labels: Labels, vectors: Float32Array) -> None:
        """Look for the neighbours of vectors that are in it once more, and link them from both sides."""
        nodes, first = np.unique(self.nodes_of(labels), return_index=True)
        self._put(nodes, self.ready(vectors[first]))

    def ready(self, vectors: Float32Array, scaled: Callable[[Float32Array], Float32Array] = unit) -> Float32Array:
        """
        Return vectors (n, dim) as hnswlib is to see them, shape (n, graph_dim).

        For 'cosine' of length 1, which `scaled` makes them, so that 'ip' does the rest.
        """
        if self.settings.space != 'cosine':
            return reduced(vectors, self.settings)
        if self.settings.is_reduced and self.settings.index_by == 'projection':
            vectors = scaled(vectors)  # of longer ones a projection has sums that float32 may not hold
        return scaled(reduced(vectors, self.settings))

    def _put(self, nodes: Labels, ready: Float32Array) -> None:
        if len(nodes):
            self._index.add_items(ready, nodes, num_threads=_threads(self.settings))

    def bury(self, label: int) -> None:
        """
        Stop returning a label. Its node stays, for searches to pass along.

        Without hnswlib's own mark, to which nothing is linked that is added later. So that is linked badly (6 of 20,000
        vectors were not found by themselves after replacing half, and without marks none), takes longer, and where only
        marked nodes are near, hnswlib crashes (`selectedNeighbors.back()` of none; with M=2, in 7 of 12 runs).
        """
        at = bisect_left(self.strays, label)
        if self.strays[at : at + 1] == [label]:
            del self.strays[at]
        node = self._twins.leave(label)
        if node is not None:
            self._is_dead.mark([node])
            self.dead += 1

    def nodes_of(self, labels: Labels) -> Labels:
        """Return the nodes on which labels live."""
        return np.array([self._twins.node_of(label) for label in labels.tolist()], np.int64)

    def takes_for_dead(self, labels: Labels) -> Labels:
        """Return those of `labels` on whose nodes it thinks that nobody lives."""
        return np.asarray(labels[self._is_dead.of(self.nodes_of(labels))], np.int64)

    def vectors(self, labels: Labels) -> Float32Array | None:
        """Return its copies of vectors (n, dim), which are in it; None if these are not what was given to it."""
        if self.settings.space == 'cosine' or self.settings.is_reduced:  # scaled to length 1, or not whole
            return None
        return np.asarray(self._index.get_items(self.nodes_of(labels), return_type='numpy'), np.float32)

    def lacks(self, labels: Labels) -> Labels:
        """Return those of `labels` that are not in it."""
        return np.asarray(labels[~np.isin(self.nodes_of(labels), self._nodes())], np.int64)

    def _nodes(self) -> Labels:
        return np.array(self._index.get_ids_list(), np.int64)

    def search(self, queries: Float32Array, k: int, ef: int) -> tuple[Labels, Float32Array]:
        """
        Return the labels and distances, both (q, k), of about the `k` nearest vectors to each query (q, dim).

        `k` is at most the number of living labels; the larger of `ef` and `k` is the number of candidates examined.
        Distances are those of what stands in the graph.

        Raises:
            ShortAnswerError: some query found fewer than `k`.
        """
        nodes, distances = self._nearest(queries, k, ef)
        return self._labels_on(nodes, distances, k)

    def search_among(self, queries: Float32Array, k: int, ef: int, is_wanted: Flags) -> tuple[Labels, Float32Array]:
        """
        Return the `k` nearest of some living labels to each query (q, dim), as `search` does.

        Args:
            queries: Shape (q, dim).
            k: How many; no more than are wanted.
            ef: How many of those that are wanted to examine, at least; what else lies on the way does not count.
            is_wanted: For each label below `covered`, whether it is.

        Raises:
            ShortAnswerError: some query found fewer than `k`.
        """
        nodes, distances = self._nearest(queries, k, ef, is_wanted)
        return self._labels_on(nodes, distances, k, is_wanted)

    def candidates(self, queries: Float32Array, count: int, ef: int, is_wanted: Flags | None = None) -> list[Labels]:
        """
        Return for each query (q, dim) all labels, in no order, that live on about the `count` nearest nodes.

        Args:
            queries: Shape (q, dim).
            count: How many nodes; all, if there are fewer.
            ef: How many to examine, at least.
            is_wanted: For each label below `covered`, whether it may be among them; None: all may.

        Raises:
            ShortAnswerError: some query found fewer nodes.
        """
        nodes, _ = self._nearest(queries, count, ef, is_wanted)
        return [self._twins.all_on(row, is_wanted) for row in nodes]

    def _nearest(
        self, queries: Float32Array, k: int, ef: int, is_wanted: Flags | None = None
    ) -> tuple[Labels, Float32Array]:
        """Return the `k` nearest nodes on which somebody lives, who is wanted; all such nodes if there are fewer."""
        ready = self.ready(queries, unit_queries)
        if is_wanted is None:
            count = min(k, self.live)
            return self._ask_living(ready, count, ef) if self.dead else self._ask(ready, count, ef)
        on_nodes = bytearray(is_wanted[: self.covered].tobytes())
        for node, labels in self._twins.shared():
            on_nodes[node] = any(is_wanted[label] for label in labels)
        # Called for each node on the way; a method of a built-in type makes no frame of Python's.
        return self._ask(ready, min(k, on_nodes.count(1)), ef, on_nodes.__getitem__)

    def _labels_on(
        self, nodes: Labels, distances: Float32Array, k: int, is_wanted: Flags | None = None
    ) -> tuple[Labels, Float32Array]:
        """Return the labels, of those that are wanted, on the nodes that were found for each query."""
        if self.settings.space == 'cosine':
            np.maximum(distances, 0, out=distances)  # rounding leaves -1e-7 between equal vectors
        found = self._twins.expand(nodes, distances, k, is_wanted)
        if found is None:
            raise ShortAnswerError
        return found

    def _ask(
        self, ready: Float32Array, k: int, ef: int, is_wanted: Callable[[int], int] | None = None
    ) -> tuple[Labels, Float32Array]:
        """Return the nearest nodes that are wanted, dead or alive."""
        threads = 1 if len(ready) == 1 else _threads(self.settings)
        try:
            self._ef.enter(self._index, ef)
            nodes, distances = self._index.knn_query(ready, k=k, num_threads=threads, filter=is_wanted)
        except RuntimeError as error:
            # "Cannot return the results in a contiguous 2D array. Probably ef or M is too small"
            raise ShortAnswerError from error
        finally:
            self._ef.leave()
        return nodes.view(np.int64), distances  # which hnswlib says are unsigned

    def _ask_living(self, ready: Float32Array, k: int, ef: int) -> tuple[Labels, Float32Array]:
        """Return the nearest living nodes: ask for more, by the share of the dead, and then for twice as many again."""
        found = np.empty((len(ready), k), np.int64)
        found_distances = np.empty((len(ready), k), np.float32)
        share = self.held / self.live
        most = min(self.held, max(_MANY, self.held // 4))  # a scan is no slower than asking for more than this
        if k > most:
            raise ShortAnswerError
        more, ef = min(int(k * share * 1.25) + 2, most), int(ef * share)
        missing = np.arange(len(ready))
        while len(missing):
            nodes, distances = self._ask(ready[missing], more, ef)
            is_dead = self._is_dead.of(nodes)
            first = np.argsort(is_dead, axis=1, kind='stable')[:, :k]  # the living ones, nearest first
            is_whole = ~np.take_along_axis(is_dead, first, 1).any(axis=1)
            whole = missing[is_whole]
            found[whole] = np.take_along_axis(nodes, first, 1)[is_whole]
            found_distances[whole] = np.take_along_axis(distances, first, 1)[is_whole]
            missing = missing[~is_whole]
            if len(missing) and more >= most:
                raise ShortAnswerError
            more, ef = min(2 * more, most), 2 * ef
        return found, found_distances


class _EfGate:
    """
    Lets searches with one `ef` run side by side, and those with another wait for them.

    hnswlib has no `ef` for a query, only for the graph; two threads would take each other's.

    Which threads are inside is known, for the reasons that `SharedLock` gives.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._condition = threading.Condition(self._mutex)
        self._users: set[int] = set()
        self._ef = 0
        self._is_closing = False

    def enter(self, index: hnswlib.Index, ef: int) -> None:
        """Wait until searches with an `ef` may begin."""
        thread = threading.get_ident()
        with self._mutex:
            self._users.discard(thread)
            while not self._may_enter(ef):
                self._condition.wait(LOOK)
            if not self._users:
                self._is_closing = False
            if self._ef != ef:
                self._ef = ef
                index.set_ef(ef)
            self._users.add(thread)

    def leave(self) -> None:
        """Let those with another begin, if nobody else is inside."""
        thread = threading.get_ident()
        with self._mutex:
            self._users.discard(thread)
            if not self._users:
                self._condition.notify_all()

    def _may_enter(self, ef: int) -> bool:
        if self._users and self._ef != ef:
            # Nobody else comes in, so that those inside come to an end.
            self._is_closing = True
        return not self._users or (self._ef == ef and not self._is_closing)


def _new_index(settings: VectorSettings) -> hnswlib.Index:
    # 'cosine' is 'ip' on vectors of length 1, and those are made here.
    return hnswlib.Index(space='l2' if settings.space == 'l2' else 'ip', dim=settings.graph_dim)


def _node_size(settings: VectorSettings) -> int:
    """Return the bytes of a node: its vector, its links on the lowest level and their number, its label (hnswalg.h)."""
    return 4 * settings.graph_dim + 4 * (2 * settings.M + 1) + 8


def _room_for(total: int, capacity: int) -> int:
    while capacity < total:
        capacity *= 2
    return capacity


def _threads(settings: VectorSettings) -> int:
    return settings.num_threads if settings.num_threads > 0 else processors()
