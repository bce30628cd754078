"""
Read everything, compare the truths with each other and the caches with them, and mend what can be mended.

What SQLite and the vector files hold cannot be made up again: damage there is listed, by document. A graph can: vectors
that a search misses are linked anew, and a graph that disagrees with the documents is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .._progress import progress_bar
from ..distances import Labels, distances
from ..errors import DocIndexError
from .graph import Graph, ShortAnswerError
from .sidecar import ScannedRow
from .store import Store

ReadDocument = Callable[[int, bytes, bytes | None], Any]

_BATCH = 1024
_NEIGHBOURS = 10
_ROUNDS = 3
_TOLERATED_SHARE = 0.01
# Between two ways of computing one float32 distance; measured on 384-d vectors: below 1e-6 of their length.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Problem:
    """
    Something that is not as it should be.

    Attributes:
        message: What it is, for a reader.
        id: The document it is about, if it is about one.
        field: The vector field it is about, if it is about one.
        is_mended: Whether it was put right.
    """

    message: str
    id: str | None = None
    field: str | None = None
    is_mended: bool = False

    def __str__(self) -> str:
        about = ', '.join(f'{what} {name!r}' for what, name in (('document', self.id), ('field', self.field)) if name)
        return f'{f"{about}: " if about else ""}{self.message}{" (mended)" if self.is_mended else ""}'


@dataclass
class CheckReport:
    """
    What `verify` found.

    Attributes:
        documents: How many documents were read.
        vectors: How many vectors were read.
        unreachable: By field, how many vectors a search for themselves misses; a few are in the nature of a graph.
        problems: Everything that was wrong, mended or not.
    """

    documents: int = 0
    vectors: int = 0
    unreachable: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return all(problem.is_mended for problem in self.problems)

    def __str__(self) -> str:
        verdict = 'sound' if self.is_sound else 'DAMAGED'
        lines = [f'{self.documents:,} documents and {self.vectors:,} vectors read: {verdict}', *map(str, self.problems)]
        return '\n'.join(lines)


def verify(store: Store, read: ReadDocument, repair: bool, show_progress: bool | None) -> CheckReport:
    """
    Check a store; writes wait meanwhile.

    Args:
        store: The open store.
        read: Makes a document from its label, JSON and tensors, and raises if it cannot.
        repair: Whether to mend the graphs.
        show_progress: Whether to show a bar.
    """
    report = CheckReport()
    with store.updating():
        report.problems += [Problem(f'SQLite: {line}') for line in store.sidecar.integrity()]
        total = store.labels.documents * (1 + 2 * len(store.settings))
        with progress_bar(total, 'checking', show_progress) as advance:
            try:
                _check_vectors(store, report, advance)
                damaged = {problem.id for problem in report.problems}
                _check_documents(store, read, damaged, report, advance)
            except DocIndexError as error:  # SQLite could not go on reading
                report.problems.append(Problem(str(error)))
            is_damaged = {problem.field for problem in report.problems}
            for name in store.settings:
                if name not in is_damaged:
                    _check_graph(store, name, repair, report, advance)
    return report


def _check_vectors(store: Store, report: CheckReport, advance: Callable[[int], object]) -> None:
    for name in store.settings:
        for labels in _batches(store, name):
            for label in store.file(name).damaged(labels).tolist():
                id_ = store.sidecar.id_of(label)
                report.problems.append(Problem('its vector does not match its checksum', id_, name))
            report.vectors += len(labels)
            advance(len(labels))


def _check_documents(
    store: Store, read: ReadDocument, damaged: set[str | None], report: CheckReport, advance: Callable[[int], object]
) -> None:
    """Check each row, and that a document can be made of it; those whose vectors are `damaged` cannot."""
    seen: list[int] = []
    for row in store.sidecar.scan():
        seen.append(row.label)
        report.documents += 1
        advance(1)
        if row.is_damaged:
            report.problems.append(Problem('its row does not match its checksum', row.id))
        elif row.id not in damaged:
            problem = _unreadable(row, read)
            if problem is not None:
                report.problems.append(Problem(problem, row.id))
    living = set(store.labels.living_documents().tolist())
    for label in sorted(living.symmetric_difference(seen)):
        what = 'is lost' if label in living else 'is there, but counts as deleted'
        report.problems.append(Problem(f'the document with label {label} {what}'))


def _unreadable(row: ScannedRow, read: ReadDocument) -> str | None:
    """Return why a row does not give the document it says it is, if it does not."""
    try:
        doc = read(row.label, row.data, row.tensors)
    except Exception as error:  # pydantic's, json's, anything: the bytes are as they were written
        return f'it cannot be read: {error}'
    return None if doc.id == row.id else f'its row says the id is {doc.id!r}'


def _check_graph(store: Store, name: str, repair: bool, report: CheckReport, advance: Callable[[int], object]) -> None:
    graph = store.graphs.get(name)
    if graph is None:
        return
    problem = _disagreement(store, graph, name)
    if problem is None:
        answer = _ask_all(store, name, advance)
        if answer.wrong:
            problem = f'the graph has other vectors than the documents, {answer.wrong} at least'
    if problem is not None:
        if repair:
            store.graphs.rebuild(name)
        report.problems.append(Problem(problem, field=name, is_mended=repair))
        return
    vectors = store.labels.vectors(name)
    missed = answer.missed
    if repair and len(missed):
        missed = relink(store, name, missed)
    report.unreachable[name] = len(missed)
    # An approximate graph misses one in a thousand or so, and finds it from elsewhere; this is another matter.
    if len(answer.missed) > _TOLERATED_SHARE * vectors:
        is_mended = len(missed) <= _TOLERATED_SHARE * vectors
        message = f'searches miss {len(answer.missed):,} of {vectors:,} vectors'
        report.problems.append(Problem(message, field=name, is_mended=is_mended))


def relink(store: Store, name: str, missed: Labels) -> Labels:
    """Link vectors that searches miss anew, or all in a new graph; return those that are missed even so."""
    for attempt in range(_ROUNDS + 1):
        if attempt < _ROUNDS:
            store.graphs.relink(name, missed)
        else:
            store.graphs.rebuild(name)
        missed = _ask_all(store, name, lambda done: None).missed
        if not len(missed):
            break
    return missed


def _disagreement(store: Store, graph: Graph, name: str) -> str | None:
    """Return how the labels in a graph differ from the living ones, if they do."""
    living = store.labels.living(name, 0, store.labels.next)
    lost = graph.lacks(living)
    if len(lost):
        return f'the graph lacks {len(lost)} of {len(living)} vectors'
    nodes = len(np.unique(graph.nodes_of(living)))
    if graph.live != nodes:
        return f'the graph counts {graph.live} living nodes where {nodes} have vectors'
    return None


class _Answer(NamedTuple):
    """What became of asking a graph for vectors by themselves: the labels it missed, and how many it had wrong."""

    missed: Labels
    wrong: int


def _ask_all(store: Store, name: str, advance: Callable[[int], object]) -> _Answer:
    """Search for every vector of a field by itself, with the usual `ef`."""
    missed, wrong = [np.empty(0, np.int64)], 0
    graph = store.graphs.get(name)
    if graph is None:
        return _Answer(missed[0], wrong)
    for labels in _batches(store, name):
        answer = _ask(store, graph, name, labels)
        missed.append(answer.missed)
        wrong += answer.wrong
        advance(len(labels))
    return _Answer(np.concatenate(missed), wrong)


def _ask(store: Store, graph: Graph, name: str, labels: Labels) -> _Answer:
    settings = store.settings[name]
    vectors = store.file(name).rows(labels)
    k = min(_NEIGHBOURS, store.labels.vectors(name))
    try:
        found, found_distances = graph.search(vectors, k, settings.search_ef(_NEIGHBOURS))
    except ShortAnswerError:
        if len(labels) == 1:
            return _Answer(labels, 0)
        each = [_ask(store, graph, name, labels[at : at + 1]) for at in range(len(labels))]
        return _Answer(np.concatenate([one.missed for one in each]), sum(one.wrong for one in each))
    own = np.array([distances(row[None], row[None], settings.space)[0, 0] for row in vectors])
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1) ** 2
    # Equal vectors are exactly 0 apart in l2; in the other spaces their distance is rounded.
    slack = {'l2': 0 * lengths, 'ip': _TOLERANCE * np.maximum(1, lengths), 'cosine': 0 * lengths + _TOLERANCE}[
        settings.space
    ]
    is_own = found == labels[:, None]
    # Not missed either if all that was returned is as near: the vector has that many equals.
    is_found = is_own.any(axis=1) | (found_distances[:, -1] <= own + slack)
    is_wrong = (is_own & (np.abs(found_distances - own[:, None]) > slack[:, None])).any(axis=1)
    return _Answer(np.asarray(labels[~is_found], np.int64), int(is_wrong.sum()))


def _batches(store: Store, name: str) -> Iterator[Labels]:
    for start in range(0, store.labels.next, _BATCH):
        labels = store.labels.living(name, start, min(start + _BATCH, store.labels.next))
        if len(labels):
            yield labels
