"""
Read everything, compare the truths with each other and the caches with them, and mend what can be mended.

What SQLite and the vector files hold cannot be made up again: damage there is listed, by document; only for a vector
there may be a copy in the graph. A graph can be made again: vectors that a search misses are linked anew, and a graph
that disagrees with the documents is rebuilt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._progress import progress_bar
from ..distances import Labels
from ..errors import DocIndexError
from .extraction import Extraction, Extractions
from .graph import Graph
from .mending import mend
from .reachability import ask_all
from .records import ScannedRow
from .search import FieldSearch
from .state import View
from .store import Store
from .vectors import Copies

ReadDocument = Callable[[View, ScannedRow], Any]

_TOLERATED_SHARE = 0.01


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


def verify(
    store: Store,
    read: ReadDocument | None,
    extractions: Extractions | None,
    repair: bool,
    show_progress: bool | None,
) -> CheckReport:
    """
    Check a store; writes wait meanwhile.

    Args:
        store: The open store.
        read: Makes a document from what is seen and its row, and raises if it cannot; None: that is not tried.
        extractions: Read what filters look at; None: that is not compared.
        repair: Whether to mend what can be mended.
        show_progress: Whether to show a bar.
    """
    report = CheckReport()
    store.wake_all(show_progress)
    with store.still() as view, _fields_seen(view, extractions) as fields_seen:
        of_sqlite = [Problem(f'SQLite: {line}') for line in view.rows.integrity()]
        report.problems += of_sqlite
        report.problems += _lost_commits(store, view)
        report.problems += [
            Problem(f'its file {why}; the graph was rebuilt', field=name, is_mended=True)
            for name, why in view.state.graphs.rejected.items()
        ]
        fields = view.state.settings.effective
        total = view.labels.all_documents + 2 * sum(map(view.labels.vectors, fields))
        with progress_bar(total, 'checking', show_progress) as advance:
            try:
                _check_vectors(view, repair, report, advance)
                damaged = {problem.id for problem in report.problems if not problem.is_mended}
                _check_documents(view, read, fields_seen, damaged, report, advance)
            except DocIndexError as error:  # SQLite could not go on reading
                report.problems.append(Problem(str(error)))
            report.problems += _check_lists(view)
            _check_fields(store, view, fields_seen, of_sqlite if repair else None, report)
            is_damaged = {problem.field for problem in report.problems if not problem.is_mended}
            for name in fields:
                if name not in is_damaged:
                    _check_graph(view, name, repair, report, advance)
    return report


def _lost_commits(store: Store, view: View) -> list[Problem]:
    """Compare the counter in SQLite with those beside it: a write-ahead log that is gone leaves it behind."""
    # For a reader these may have been read a moment after what it sees, and another process may have written by then.
    ahead = [file for file in view.state.counters if file.commits > view.state.commits]
    commits = store.commits_by_now() if ahead else 0
    return [
        Problem(f'SQLite has lost {file.commits - commits} commits that {file.path.name} knows of')
        for file in ahead
        if file.commits > commits
    ]


def _check_vectors(view: View, repair: bool, report: CheckReport, advance: Callable[[int], object]) -> None:
    copies = view.rows.unsynced()
    for name, file in view.state.files.items():
        own = copies.get(name, {})
        report.problems += _check_copies(view, name, own, repair)
        needed = view.labels.rows_needed(name)
        if file.held < needed:
            report.problems.append(Problem(f'{file.path.name} ends after {file.held} of {needed} vectors'))
        for labels in view.searching(name).batches():
            damaged = file.damaged(labels)
            restored = _restored(view, name, damaged, own) if repair and len(damaged) else set()
            for label in damaged.tolist():
                message, id_ = 'its vector does not match its checksum', view.rows.id_of(label)
                report.problems.append(Problem(message, id_, name, is_mended=label in restored))
            report.vectors += len(labels)
            advance(len(labels))


def _check_copies(view: View, name: str, copies: Copies, repair: bool) -> list[Problem]:
    """Compare the copies of rows that the disk may not have yet with sound rows of the vector file; put them back."""
    file = view.state.files[name]
    damaged, differing = file.differing({label: copies[label] for label in copies if view.labels.is_living(label)})
    is_sound = ~np.isin(differing, file.damaged(np.array(differing, np.int64)))
    differing = np.array(differing, np.int64)[is_sound].tolist()
    if repair and differing:
        file.put_back({label: copies[label] for label in differing})
        file.sync()
    lost = 'the copy of its vector, for a power cut, does not match its checksum'
    other = 'its vector is not the one that SQLite has a copy of'
    return [
        *(Problem(lost, view.rows.id_of(label), name) for label in damaged),
        *(Problem(other, view.rows.id_of(label), name, is_mended=repair) for label in differing),
    ]


def _restored(view: View, name: str, damaged: Labels, copies: Copies) -> set[int]:
    """Write what SQLite, or else the graph, has of damaged vectors into the vector file; return the labels of those."""
    graph, file = view.state.graphs.get(name), view.state.files[name]
    file.put_back({label: copies[label] for label in damaged.tolist() if label in copies})
    left = file.damaged(damaged)
    if graph is not None:
        held = left[(left < graph.covered) & ~np.isin(left, graph.lacks(left))]
        vectors = graph.vectors(held)
        if vectors is not None:
            for label, vector in zip(held.tolist(), vectors, strict=True):
                file.write(label, vector[None])
            left = left[~np.isin(left, held)]
    file.sync()
    return set(damaged.tolist()) - set(left.tolist())


def _check_documents(
    view: View,
    read: ReadDocument | None,
    fields_seen: _FieldsSeen | None,
    damaged: set[str | None],
    report: CheckReport,
    advance: Callable[[int], object],
) -> None:
    """Check each row, and that a document can be made of it; those whose vectors are `damaged` cannot."""
    seen: list[int] = []
    for row in view.rows.scan():
        seen.append(row.label)
        report.documents += 1
        advance(1)
        if row.is_damaged:
            report.problems.append(Problem('its row does not match its checksum', row.id))
        elif not _is_of_its_level(view, row):
            report.problems.append(Problem('it counts as a document of another level than its row says', row.id))
        elif row.id not in damaged:
            doc, problem = (None, _other_id(row)) if read is None else _document(view, row, read)
            if problem is not None:
                report.problems.append(Problem(problem, row.id))
            elif fields_seen is not None:
                fields_seen.compare(row, doc)
    living = set(view.labels.living_documents().tolist())
    for label in sorted(living.symmetric_difference(seen)):
        what = 'is lost' if label in living else 'is there, but counts as deleted'
        report.problems.append(Problem(f'the document with label {label} {what}'))


def _is_of_its_level(view: View, row: ScannedRow) -> bool:
    is_there = row.level in range(len(view.state.fields.names)) and row.label in range(view.labels.next)
    return is_there and view.labels.is_of(row.level, row.label)


def _document(view: View, row: ScannedRow, read: ReadDocument) -> tuple[Any, str | None]:
    """Return the document of a row, and why it is not the one that the row says it is, if it is not."""
    try:
        doc = read(view, row)
    except Exception as error:  # pydantic's, json's, anything: the bytes are as they were written
        return None, f'it cannot be read: {error}'
    return doc, None if doc.id == row.id else f'its row says the id is {doc.id!r}'


def _other_id(row: ScannedRow) -> str | None:
    """Return why a row is not that of the document that it has, whose JSON says its id as well; None, if it may be."""
    try:
        written = json.loads(row.data)
        id_ = (written[0] if isinstance(written, list) else written)['id']
    except (ValueError, TypeError, LookupError):  # whoever has the class says what is wrong with it
        return None
    return f'its row says the id is {id_!r}' if isinstance(id_, str) and id_ != row.id else None


def _check_lists(view: View) -> list[Problem]:
    """Compare documents with lists with those in the lists."""
    fields = view.state.fields
    try:
        wrong = [
            found for level in range(len(fields.names)) for found in view.rows.lost_children(level, fields.below(level))
        ]
    except DocIndexError as error:
        return [Problem(f'lists of documents cannot be read: {error}')]
    return [Problem(why, id_) for id_, why in wrong]


@contextmanager
def _fields_seen(view: View, extractions: Extractions | None) -> Iterator[_FieldsSeen | None]:
    """Go along the tables of fields, and let go of them even after Ctrl-C: SQLite is closed next."""
    if extractions is None:
        yield None
        return
    seen = _FieldsSeen(view, extractions)
    try:
        yield seen
    finally:
        seen.close()


class _FieldsSeen:
    """
    Goes along the tables of fields while documents are read, all in the order of labels.

    Attributes:
        extractions: What should stand there.
    """

    def __init__(self, view: View, extractions: Extractions) -> None:
        self.extractions = extractions
        self._tables = [
            _TableSeen(view, extractions[name], table.name, table.level)
            for name, table in zip(view.state.fields.names, view.state.fields, strict=True)
        ]

    @property
    def wrong(self) -> int:
        """In how many rows something else stands."""
        return sum(table.wrong for table in self._tables)

    def compare(self, row: ScannedRow, doc: Any) -> None:
        """Count a row that is not what the document has, or not there."""
        self._tables[row.level].compare(row.label, doc)

    def close(self) -> None:
        """Read no further."""
        for table in self._tables:
            table.close()


class _TableSeen:
    """
    Goes along one table.

    Attributes:
        wrong: In how many rows something else does; more than there are documents, if it cannot be read.
    """

    def __init__(self, view: View, extraction: Extraction, table: str, level: int) -> None:
        self.wrong = 0
        self._extraction = extraction
        self._rows = view.rows.scan_fields(table)
        self._next: tuple[Any, ...] | None = None
        try:
            self.wrong = view.rows.count_stray_fields(table, level)
        except DocIndexError:
            self.wrong = 1
        self._pass_to(0)

    def compare(self, label: int, doc: Any) -> None:
        """Count a row that is not what the document with a label has, or not there."""
        self._pass_to(label)
        if self._next != (label, *self._extraction.values([doc])[0]):
            self.wrong += 1

    def close(self) -> None:
        """Read no further."""
        self._rows.close()

    def _pass_to(self, label: int) -> None:
        try:
            while self._next is None or self._next[0] < label:
                self._next = next(self._rows)
        except StopIteration:
            self._next = None
        except DocIndexError:  # nothing can be read from here on
            self._next = None
            self.wrong += 1


def _check_fields(
    store: Store, view: View, fields_seen: _FieldsSeen | None, of_sqlite: list[Problem] | None, report: CheckReport
) -> None:
    """
    Report what filters and full text would get wrong; make it anew if the problems `of_sqlite` are given, to be mended.

    What SQLite finds wrong is mended as well if it was in these tables.
    """
    problems: list[Problem] = []
    if fields_seen is not None:
        fields_seen.close()
        if fields_seen.wrong:
            problems.append(Problem('filters see documents otherwise than they are'))
    problems += _check_text(store, view)
    if fields_seen is not None and of_sqlite is not None and (problems or of_sqlite):
        try:
            store.put_fields(fields_seen.extractions)
        except DocIndexError as error:  # the documents themselves cannot be read, say
            problems.append(Problem(f'filters and full text cannot be made anew: {error}'))
        else:
            if not view.rows.integrity() and not _check_text(store, view):
                problems = [replace(problem, is_mended=True) for problem in problems]
                report.problems = [
                    replace(problem, is_mended=True) if problem in of_sqlite else problem for problem in report.problems
                ]
    report.problems += problems


def _check_text(store: Store, view: View) -> list[Problem]:
    try:
        store.check_text(view)
    except DocIndexError as error:
        return [Problem(f'full text is not that of the documents, or cannot be compared with them: {error}')]
    return []


def _check_graph(view: View, name: str, repair: bool, report: CheckReport, advance: Callable[[int], object]) -> None:
    search = view.searching(name)
    if search.graph is None:
        return
    graphs, vectors = view.state.graphs, view.labels.vectors(name)
    problem = _disagreement(search, search.graph)
    if problem is None:
        answer = ask_all(search, advance)
        if answer.wrong:
            problem = f'the graph has other vectors than the documents, {answer.wrong} at least'
    if problem is not None:
        if repair:
            graphs.rebuild(name)
        report.problems.append(Problem(problem, field=name, is_mended=repair))
        return
    if search.is_exact:  # whatever the graph misses
        report.unreachable[name] = 0
        return
    missed = answer.missed
    if repair and len(missed):
        missed = mend(graphs, name, missed)
    report.unreachable[name] = len(missed)
    # An approximate graph misses one in a thousand or so, and finds it from elsewhere; this is another matter.
    if len(answer.missed) > _TOLERATED_SHARE * vectors:
        is_mended = len(missed) <= _TOLERATED_SHARE * vectors
        message = f'searches miss {len(answer.missed):,} of {vectors:,} vectors'
        report.problems.append(Problem(message, field=name, is_mended=is_mended))


def _disagreement(search: FieldSearch, graph: Graph) -> str | None:
    """Return how the labels in a graph differ from the living ones, if they do."""
    living = search.labels.living(search.field, 0, graph.covered)  # what comes later is scanned
    lost = graph.lacks(living)
    if len(lost):
        return f'the graph lacks {len(lost)} of {len(living)} vectors'
    dead = graph.takes_for_dead(living)
    if len(dead):
        return f'the graph takes {len(dead)} of {len(living)} vectors for deleted'
    nodes = len(np.unique(graph.nodes_of(living)))
    if graph.live != nodes:
        return f'the graph counts {graph.live} living nodes where {nodes} have vectors'
    return None
