"""
How often a graph finds the true neighbours, how long that takes, and which `ef` is enough.

Measured against exact search. A neighbour that is as near as the farthest true one is right, too: equal vectors must
not count as misses.

The queries are a user's own, or lie beside a sample of the stored vectors. Rejected: the stored vectors, each without
itself. The graph has been built by searches for just these, and finds what is around them far too well. Recall@10 for
`ef` of 11, 22, 44 and 100 was, among 20,000 embeddings of texts, 0.97, 0.99, 0.99 and 1.00 with stored vectors; 0.82,
0.91, 0.96 and 0.99 with embeddings of other texts; and 0.90, 0.95, 0.98 and 0.99 with the reflections that are taken,
of the nearest neighbour at the stored vector. Points between neighbours did as stored vectors did, noise nearly so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .._progress import check_progress, progress_bar
from ..display import Sections, Shown
from ..distances import Labels, comparable
from ..errors import QueryError, ReadOnlyError
from ..fields import VectorSettings
from ..fusion import check_integer
from ..plotting import new_figure
from ..tensors import Float32Array
from . import graphless
from .graph import why_impossible
from .search import FieldSearch
from .state import View
from .store import Store

_AT_ONCE = 16  # queries are compared with all vectors while writes wait
_NEAR, _NEAR_EF = 8, 100  # whatever the settings are: queries are not to change with what is measured
_LARGEST = 200  # times limit: who examines so many and misses the aim needs another graph
_STEP = 16  # ef is found to a sixteenth
# Between two ways of computing one float32 distance; see `reachability`.
_TOLERANCE = 1e-5


Queries = Float32Array | int
"""Shape (q, dim); or how many stored vectors to take instead."""


class TunePoint(NamedTuple):
    """
    What one `ef` gives.

    Attributes:
        ef: How many candidates a search examined.
        recall: The share of the true neighbours that were found, from 0 to 1.
        error: The standard error of `recall`, for the sample is only a sample.
        seconds: What a search of the graph with one query took, without reading documents: the median, which does not
            change if something else keeps the machine busy for a moment.
    """

    ef: int
    recall: float
    error: float
    seconds: float


@dataclass(frozen=True)
class TuneResult(Sections):
    """
    What `tune` has measured and chosen.

    Attributes:
        search_field: The vector field.
        limit: For how many neighbours.
        target: The recall that was to be reached.
        ef: The smallest `ef` that reaches it, to a sixteenth; the largest that was tried, if none does.
        is_reached: Whether it reaches it.
        is_stored: Whether searches use it from now on.
        before: The `ef` that searches for `limit` neighbours have used so far.
        queries: How many queries were asked for each `ef`.
        curve: What was measured, by ascending `ef`.
    """

    search_field: str
    limit: int
    target: float
    ef: int
    is_reached: bool
    is_stored: bool
    before: int
    queries: int
    curve: tuple[TunePoint, ...]

    @property
    def recall(self) -> float:
        """The recall with the chosen `ef`."""
        return next(point.recall for point in self.curve if point.ef == self.ef)

    @property
    def title(self) -> str:
        """The outcome, in a line."""
        recall = f'recall@{self.limit}'
        if not self.is_reached:
            return (
                f'{self.search_field}: no ef up to {self.ef:,} reaches a {recall} of {self.target:g}, the best is '
                f'{self.recall:.4f}; nothing was stored. A larger M or ef_construction builds a better graph'
            )
        outcome = 'stored' if self.is_stored else 'not stored'
        return (
            f'{self.search_field}: ef={self.ef} has a {recall} of {self.recall:.3f} ({outcome}; {self.before} before)'
        )

    def _parts(self) -> list[Shown]:
        names = ['ef', f'recall@{self.limit}', 'error', 'ms', 'queries per second']
        rows = [
            [str(ef), f'{recall:.4f}', f'{error:.4f}', f'{1000 * seconds:.3f}', f'{1 / seconds:,.0f}']
            for ef, recall, error, seconds in self.curve
        ]
        return [Shown(f'{self.queries:,} queries for each ef, by one thread', names, rows)]

    @cached_property
    def figure(self) -> Any:
        """
        The curve as a `matplotlib.figure.Figure`: recall, and queries per second, against `ef`.

        Raises:
            MissingLibraryError: matplotlib is missing; the message says what to install.
        """
        figure = new_figure(7, 4.2)
        recall = figure.subplots()
        rate = recall.twinx()
        efs = [point.ef for point in self.curve]
        errors = [point.error for point in self.curve]
        recall.errorbar(efs, [point.recall for point in self.curve], errors, fmt='o-', color='C0', capsize=3)
        recall.axhline(self.target, color='C0', linestyle=':')
        if self.is_reached:
            recall.axvline(self.ef, color='grey', linestyle=':')
            recall.annotate(f' ef={self.ef}', (self.ef, 0.02), xycoords=('data', 'axes fraction'), color='grey')
        rate.plot(efs, [1 / point.seconds for point in self.curve], 's--', color='C1')
        recall.set_xscale('log', base=2)
        recall.xaxis.set_major_formatter('{x:.0f}')
        recall.set_xlabel('ef')
        recall.set_ylabel(f'recall@{self.limit}, and the aim of {self.target:g}', color='C0')
        rate.set_ylabel('queries per second, one thread', color='C1')
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_formatter('{x:,.0f}')
        recall.set_zorder(rate.get_zorder() + 1)  # what was asked for is not to lie below
        recall.patch.set_visible(False)
        for axes in (recall, rate):
            axes.spines['top'].set_visible(False)
        # Not all of it where no ef is enough.
        recall.set_title(self.title.partition(', the best is ')[0], loc='left', fontsize='medium')
        return figure


def tune(
    store: Store,
    field: str,
    target: float,
    limit: int,
    queries: Queries,
    is_to_store: bool,
    is_to_plot: bool,
    show_progress: bool | None,
) -> TuneResult:
    """Find the smallest `ef` with a recall of `target`, and put it in force; see `Steering.tune`."""
    target = _checked_target(target)
    _check(limit, show_progress)
    store.check_no_batch('tune')
    if is_to_store and store.access.read_only:
        raise ReadOnlyError(
            'this index was opened with read_only=True', store.path, 'tune(..., store=False) measures only'
        )
    if is_to_plot:
        new_figure(1, 1)  # if matplotlib is missing it says so now
    settings = store.settings[field]
    _check_has_graph(field, settings)
    graphless.check_possible('tune')
    trial = _Trial(store, field, limit, queries, show_progress)
    _check_asks_graph(store, field)
    curve: dict[int, TunePoint] = {}

    def reaches(ef: int) -> bool:
        if ef not in curve:
            curve[ef] = trial.point(ef)
        return curve[ef].recall >= target

    with trial.measuring():
        # hnswlib examines at least as many candidates as it is to find.
        ef = _smallest(reaches, trial.limit - 1, _LARGEST * trial.limit)
        is_reached = reaches(ef)
        for more in (2, 4, 8) if is_to_plot and is_reached else ():
            reaches(more * ef)
    is_stored = is_to_store and is_reached
    if is_stored:
        store.configure({field: {'ef': ef}})
    points = tuple(curve[ef] for ef in sorted(curve))
    before = settings.search_ef(limit)
    result = TuneResult(field, limit, target, ef, is_reached, is_stored, before, trial.size, points)
    if is_to_plot:
        _ = result.figure  # drawn now: an error comes from `tune`, not from whoever looks at it
    return result


def _checked_target(target: object) -> float:
    number = target.item() if isinstance(target, np.generic) else target
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number <= 1:
        raise QueryError(f'recall must be a number above 0 and up to 1, got {target!r}')
    return float(number)


def _check(limit: int, show_progress: bool | None) -> None:
    """Check what is the same for every field, one without a graph included."""
    check_integer('limit', limit, 1)
    check_progress(show_progress)


def _smallest(reaches: Callable[[int], bool], low: int, largest: int) -> int:
    """Return the smallest number above `low` that reaches something, about; `largest` if none does."""
    high = low + 1
    while not reaches(high) and high < largest:
        low, high = high, min(2 * high, largest)
    while reaches(high) and high - low > max(1, low // _STEP):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def recall(store: Store, field: str, limit: int, ef: int | None, queries: Queries, show_progress: bool | None) -> float:
    """Return the share of the true neighbours that searches find; see `Steering.recall`."""
    _check(limit, show_progress)
    if why_impossible() or not store.settings[field].index:
        return 1.0
    trial = _Trial(store, field, limit, queries, show_progress)
    with trial.measuring():
        return trial.point(ef or store.settings[field].search_ef(limit)).recall


class _Trial:
    """
    Queries, with their true neighbours.

    Attributes:
        size: How many queries.
        limit: How many neighbours each has, at most as many as there are.
    """

    def __init__(self, store: Store, field: str, limit: int, queries: Queries, show_progress: bool | None) -> None:
        self._store = store
        self._field = field
        self._show_progress = show_progress
        self._advance: Callable[[int], object] = lambda done: None
        store.wake(field, show_progress)  # with a bar; it sleeps again only if somebody unloads it
        self._queries = _beside_stored(store, field, queries) if isinstance(queries, int) else queries
        self.size = len(self._queries)
        self.limit = limit
        self._true: list[Labels] = []
        self._farthest: list[float] = []
        self._search_exactly()

    def _search_exactly(self) -> None:
        with progress_bar(self.size, 'searching exactly', self._show_progress, 'query') as advance:
            for start in range(0, self.size, _AT_ONCE):
                with self._store.reading() as view:
                    search = _searching(view, self._field)
                    found = search.nearest(self._queries[start : start + _AT_ONCE], self.limit, exact=True, ef=None)
                self._true += list(found[0])
                self._farthest += found[1][:, -1].tolist()
                advance(len(found[0]))
        self.limit = min(map(len, self._true))

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Show a bar, if one is wanted, for all that is measured inside."""
        # How many ef will be tried is not known.
        with progress_bar(None, 'measuring', self._show_progress, 'search') as self._advance:
            yield

    def point(self, ef: int) -> TunePoint:
        """Ask the graph each query, one after another."""
        shares: list[float] = []
        seconds: list[float] = []
        for at in range(self.size):
            query = self._queries[at : at + 1]
            with _awake(self._store, self._field) as search:
                start = time.perf_counter()
                (labels,), (distances,) = search.nearest(query, self.limit, exact=False, ef=ef)
                seconds.append(time.perf_counter() - start)
            farthest = self._farthest[at]
            # In l2 distances that are equal differ in proportion, else by what is lost when they are taken from 1.
            slack = _TOLERANCE * (abs(farthest) if search.settings.space == 'l2' else max(1.0, abs(farthest)))
            is_right = np.isin(labels, self._true[at]) | (distances <= farthest + slack)
            shares.append(float(is_right.sum()) / self.limit)
            self._advance(1)
        error = float(np.std(shares, ddof=1)) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
        return TunePoint(ef, float(np.mean(shares)), error, float(np.median(seconds)))


def _searching(view: View, field: str) -> FieldSearch:
    """
    Return the search in a field, each time anew: others may delete meanwhile.

    Raises:
        QueryError: there are too few vectors to have neighbours.
    """
    search = view.searching(field)
    count = search.labels.vectors(field)
    if count < 2:
        raise QueryError(f'{field}: recall is measured among two stored vectors or more, and there are {count}')
    return search


@contextmanager
def _awake(store: Store, field: str) -> Iterator[FieldSearch]:
    """
    Give the search in a field, with the graph in memory: without it answers are exact, and say nothing of the graph.

    Raises:
        QueryError: there is no graph any more, or too few vectors.
    """
    while True:
        store.wake(field, show_progress=False)
        with store.reading() as view:
            search = _searching(view, field)
            if search.graph is not None:  # or another thread has unloaded it since
                yield search
                return
            _check_has_graph(field, search.settings)


def _check_asks_graph(store: Store, field: str) -> None:
    with _awake(store, field) as search:
        if search.is_exact:
            raise QueryError(f'{field!r} has a graph that hides many vectors: its searches are exact; see the log')


def _check_has_graph(field: str, settings: VectorSettings) -> None:
    if not settings.index:
        raise QueryError(f'{field!r} has no graph (index=False): its searches are exact, and have no ef to tune')


def _beside_stored(store: Store, field: str, sample: int) -> Float32Array:
    """Return queries, shape (q, dim): each as far from a stored vector as its nearest neighbour, on the other side."""
    with store.reading() as view:
        search = _searching(view, field)
        labels = search.labels.living(field, 0, search.labels.next)
        # Seeded: two calls ask for the same.
        chosen = np.random.default_rng(0).choice(len(labels), min(sample, len(labels)), replace=False)
        labels = np.sort(labels[chosen])
        # In cosine of length 1: a neighbour counts by where it lies, not by how long it is.
        space = search.settings.space
        vectors = comparable(view.state.vectors(field, labels, view.labels), space)
    equal = _TOLERANCE if space == 'cosine' else 0.0  # parallel vectors are not quite equal when they are of length 1
    queries = vectors.copy()
    for at in range(0, len(labels), _AT_ONCE):
        with _awake(store, field) as search:
            found, _ = search.nearest(vectors[at : at + _AT_ONCE], _NEAR, exact=False, ef=_NEAR_EF)
            for row, near in enumerate(found, at):
                neighbours = comparable(search.file.rows(near), space)
                is_other = (np.abs(neighbours - vectors[row]) > equal).any(axis=1)  # not itself, nor one equal to it
                if is_other.any():
                    queries[row] += vectors[row] - neighbours[is_other.argmax()]
    return queries
