"""
Read everything, compare the truths with each other and the caches with them, and mend what can be mended.

What SQLite and the vector files hold cannot be made up again: damage there is listed, by document. A graph can: vectors
that a search misses are linked anew, and a graph that disagrees with the documents is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._progress import progress_bar
from ..distances import Labels, distances
from ..errors import DocIndexError
from .graph import Graph, ShortAnswerError
from .store import Store

ReadDocument = Callable[[int, bytes, bytes | None], Any]

_BATCH = 1024
_NEIGHBOURS = 10
_ROUNDS = 3
_GENEROUS_EF = 2000
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
        unreachable: By field, how many vectors no search finds, not even one for themselves.
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
            _check_vectors(store, report, advance)
            if not report.problems:
                # Reading a document reads its vectors; where those are damaged it would only be said twice.
                _check_documents(store, read, report, advance)
                for name in store.settings:
                    _check_graph(store, name, repair, report, advance)
    return report


def _check_documents(store: Store, read: ReadDocument, report: CheckReport, advance: Callable[[int], object]) -> None:
    seen: list[int] = []
    for row in store.sidecar.scan():
        seen.append(row.label)
        advance(1)
        if row.is_damaged:
            report.problems.append(Problem('its row does not match its checksum', row.id))
            continue
        try:
            doc = read(row.label, row.data, row.tensors)
        except DocIndexError as error:
            report.problems.append(Problem(f'it cannot be read: {error}', row.id))
            continue
        except Exception as error:  # pydantic's, json's, anything: the bytes are as they were written
            report.problems.append(Problem(f'the schema does not accept it: {error}', row.id))
            continue
        if doc.id != row.id:
            report.problems.append(Problem(f'its row says the id is {doc.id!r}', row.id))
    report.documents = len(seen)
    living = set(store.labels.living_documents().tolist())
    for label in sorted(living.symmetric_difference(seen)):
        lost = label in living
        report.problems.append(
            Problem(f'the document with label {label} is {"lost" if lost else "there, but counts as deleted"}')
        )


def _check_vectors(store: Store, report: CheckReport, advance: Callable[[int], object]) -> None:
    for name in store.settings:
        for labels in _batches(store, name):
            for label in store.file(name).damaged(labels).tolist():
                id_ = store.sidecar.id_of(label)
                report.problems.append(Problem('its vector does not match its checksum', id_, name))
            report.vectors += len(labels)
            advance(len(labels))


def _check_graph(store: Store, name: str, repair: bool, report: CheckReport, advance: Callable[[int], object]) -> None:
    graph = store.graphs.get(name)
    if graph is None:
        return
    problem = _disagreement(store, graph, name)
    if problem is not None:
        if repair:
            store.graphs.rebuild(name)
        report.problems.append(Problem(problem, field=name, is_mended=repair))
        return
    lost = _unreachable(store, graph, name, advance)
    report.unreachable[name] = len(lost)
    if len(lost):
        is_mended = repair and relink(store, name, lost)
        report.problems.append(Problem(f'no search finds {len(lost)} vectors', field=name, is_mended=is_mended))


def relink(store: Store, name: str, lost: Labels) -> bool:
    """Make vectors that no search finds reachable, by linking them anew or by a new graph; return whether all are."""
    for attempt in range(_ROUNDS + 1):
        if attempt < _ROUNDS:
            store.graphs.relink(name, lost)
        else:
            store.graphs.rebuild(name)
        graph = store.graphs.get(name)
        lost = lost[:0] if graph is None else _unreachable(store, graph, name, lambda done: None)
        if not len(lost):
            return True
    return False


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


def _unreachable(store: Store, graph: Graph, name: str, advance: Callable[[int], object]) -> Labels:
    """
    Return the labels that no search finds.

    A search with the usual `ef` now and then misses a vector that it could reach, being approximate; so those are asked
    for once more, with a generous one.
    """
    lost: list[Labels] = []
    for labels in _batches(store, name):
        missed = _missed(store, graph, name, labels, store.settings[name].search_ef(_NEIGHBOURS))
        lost.append(_missed(store, graph, name, missed, _GENEROUS_EF))
        advance(len(labels))
    return np.concatenate([np.empty(0, np.int64), *lost])


def _missed(store: Store, graph: Graph, name: str, labels: Labels, ef: int) -> Labels:
    """Return those of `labels` whose own vector does not find them: something farther was returned instead."""
    if not len(labels):
        return labels
    vectors = store.file(name).rows(labels)
    k = min(_NEIGHBOURS, store.labels.vectors(name))
    try:
        found, found_distances = graph.search(vectors, k, ef)
    except ShortAnswerError:
        if len(labels) == 1:
            return labels
        return np.concatenate([_missed(store, graph, name, labels[at : at + 1], ef) for at in range(len(labels))])
    own = np.array([distances(row[None], row[None], store.settings[name].space)[0, 0] for row in vectors])
    slack = _TOLERANCE * np.maximum(1, np.einsum('ij,ij->i', vectors, vectors))
    is_found = (found == labels[:, None]).any(axis=1) | (found_distances[:, -1] <= own + slack)
    return np.asarray(labels[~is_found], np.int64)


def _batches(store: Store, name: str) -> Iterator[Labels]:
    for start in range(0, store.labels.next, _BATCH):
        labels = store.labels.living(name, start, min(start + _BATCH, store.labels.next))
        if len(labels):
            yield labels
