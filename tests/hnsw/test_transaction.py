"""What is staged: seen by the thread that stages it, one change once it is committed, and nothing before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, NdArray, WorkDirError, _files
from docindex.hnsw import opening, unsynced
from docindex.hnsw.labels import LabelTable
from docindex.hnsw.records import Change, Row
from docindex.hnsw.sidecar import Sidecar
from docindex.hnsw.state import Access, State
from docindex.hnsw.transaction import Part, Transaction, Vectors
from docindex.hnsw.tree import Tree
from docindex.hnsw.workdir import WorkDir
from docindex.locks import SharedLock
from docindex.schema import Schema


class Doc(BaseDoc):
    v: NdArray[4]
    w: NdArray[3] | None = None


Given = dict[str, tuple[float, float | None]]
"""For each id the numbers of which its vectors `v` and `w` are full; None if it has no `w`."""

NO_FIELDS = (None,)
"""What filters look at: only whether there is a `w`, and nobody filters here."""


@dataclass
class Directory:
    """An open directory without a store around it."""

    state: State
    sidecar: Sidecar

    def begin(self) -> Transaction:
        self.sidecar.begin()
        return Transaction(self.state, self.sidecar)

    def commit(self, transaction: Transaction) -> None:
        transaction.secure()
        self.sidecar.commit()
        self.state.publish(transaction.change, self.state.commits + 1)

    def seen(self) -> dict[str, int]:
        """Return the labels that another thread finds."""
        rows = self.sidecar.take()
        labels = rows.labels_of(rows.ids())
        self.sidecar.give_back(rows)
        return labels

    def stored(self) -> Given:
        """Return what is committed, as the vectors have it, for which `publish` has to be right."""
        labels = self.seen()
        at = np.array(list(labels.values()), np.int64)
        v, w = (self.state.vectors(field, at, self.state.labels)[:, 0].tolist() for field in 'vw')
        has_w = [self.state.labels.has_vector('w', label) for label in at.tolist()]
        assert self.state.labels.documents() == len(labels)
        assert all(map(self.state.labels.is_living, at.tolist()))
        return {id_: (v[n], w[n] if has_w[n] else None) for n, id_ in enumerate(labels)}


@pytest.fixture
def directory(work_dir: Path) -> Iterator[Directory]:
    """A directory with three documents, `a` and `b` with both vectors, `c` with one."""
    schema: Schema[Any] = Schema(Doc)
    declared = schema.vector_settings({})
    lock = WorkDir(work_dir, 0)
    sidecar = Sidecar(lock.database)
    extractions = Tree(schema, {name: given['dim'] for name, given in declared.items()}).extractions
    opening.create(lock, sidecar, schema, declared, extractions)
    state = State.read(lock, sidecar, sidecar.rows, SharedLock(), Access(), {})
    made = Directory(state, sidecar)
    transaction = made.begin()
    put(transaction, {'a': (1, 1), 'b': (2, 2), 'c': (3, None)})
    made.commit(transaction)
    yield made
    sidecar.roll_back()
    state.close()
    sidecar.close()
    lock.release()


def put(transaction: Transaction, docs: Given, text: str = '') -> None:
    transaction.put([Part(0, [Row(id_, f'{id_}{text}'.encode(), None, NO_FIELDS) for id_ in docs], vectors(docs))])


def vectors(docs: Given) -> Mapping[str, Vectors]:
    v = np.array([[v] * 4 for v, _ in docs.values()], np.float32).reshape(-1, 4)
    w = np.array([[w or 0] * 3 for _, w in docs.values()], np.float32).reshape(-1, 3)
    return {
        'v': Vectors(v, np.ones(len(docs), bool)),
        'w': Vectors(w, np.array([w is not None for _, w in docs.values()])),
    }


def dump(labels: LabelTable) -> tuple[Any, ...]:
    """Return all that a table knows of the labels below its next one."""
    all_labels = np.arange(labels.next)
    return (
        labels.next,
        labels.dead,
        labels.living_documents().tolist(),
        [labels.absent(field, all_labels).tolist() for field in 'vw'],
        [labels.vectors(field) for field in 'vw'],
    )


# -- labels, in between ----------------------------------------------------------------------------------


def test_an_empty_transaction_changes_nothing(directory: Directory) -> None:
    """Before anything is staged the labels are those of the state, and the change is none."""
    before = dump(directory.state.labels)
    transaction = directory.begin()
    assert transaction.is_empty
    assert (transaction.added, dump(transaction.view().labels)) == (0, before)
    assert transaction.change == Change(3)


def test_labels_after_several_calls(directory: Directory) -> None:
    """After each put and remove the labels are as if it were committed, and the state's are as they were."""
    before = dump(directory.state.labels)
    transaction = directory.begin()
    put(transaction, {'d': (4, 4), 'e': (5, None)})
    assert dump(transaction.view().labels)[:3] == (5, [], [0, 1, 2, 3, 4])
    assert not transaction.view().labels.has_vector('w', 4)
    transaction.remove([1, 4])
    assert dump(transaction.view().labels)[:3] == (5, [1, 4], [0, 2, 3])
    put(transaction, {'a': (6, None), 'f': (7, 7)})
    assert dump(transaction.view().labels)[:3] == (7, [1, 4, 0], [2, 3, 5, 6])
    labels = transaction.view().labels
    assert (labels.documents(), labels.vectors('v'), labels.vectors('w')) == (4, 4, 2)
    assert transaction.added == 4
    assert dump(directory.state.labels) == before
    directory.commit(transaction)
    assert directory.stored() == {'c': (3, None), 'd': (4, 4), 'a': (6, None), 'f': (7, 7)}


@pytest.mark.parametrize('looks', [False, True])
def test_labels_do_not_depend_on_who_looked(directory: Directory, looks: bool) -> None:
    """The labels are the same whether somebody asked for them between the calls or not."""
    transaction = directory.begin()
    for step in (
        lambda: put(transaction, {'a': (9, None), 'd': (4, 4)}),
        lambda: transaction.remove([3]),
        lambda: put(transaction, {'e': (5, None)}),
        lambda: transaction.remove([2]),
    ):
        step()
        if looks:
            dump(transaction.view().labels)
    assert dump(transaction.view().labels)[:3] == (6, [0, 3, 2], [1, 4, 5])
    assert transaction.view().labels.vectors('w') == 2


def test_what_is_committed_is_what_was_foretold(directory: Directory) -> None:
    """Once a transaction is published the state has just the labels that the transaction had."""
    transaction = directory.begin()
    put(transaction, {'d': (4, None), 'a': (8, None)})
    transaction.remove([1])
    put(transaction, {'a': (9, 9), 'b': (2, 2)})
    foretold = dump(transaction.view().labels)
    directory.commit(transaction)
    assert dump(directory.state.labels) == foretold
    assert directory.state.commits == directory.sidecar.commits() == 2


# -- what the thread sees, and others do not -------------------------------------------------------------


def test_only_the_view_sees_what_is_staged(directory: Directory) -> None:
    """Documents, labels and vectors of a transaction are in its view; another thread sees none before the commit."""
    before = directory.seen()
    transaction = directory.begin()
    put(transaction, {'d': (4, None), 'a': (9, 9)})
    transaction.remove([1])
    view = transaction.view()
    assert view.rows.labels_of(list('abcd')) == {'a': 4, 'c': 2, 'd': 3}
    assert view.labels.documents() == 3
    seen = {field: view.vectors_or_none(field, np.array([3, 4])) for field in 'vw'}
    assert {field: [None if one is None else one[0] for one in both] for field, both in seen.items()} == {
        'v': [4, 9],
        'w': [None, 9],
    }
    labels, distances = view.searching('v').nearest(np.full((1, 4), 9, np.float32), 10, exact=False, ef=None)
    assert labels.tolist() == [[4, 3, 2]]
    assert distances[0, 0] == 0
    assert directory.seen() == before
    directory.commit(transaction)
    assert directory.seen() == {'a': 4, 'c': 2, 'd': 3}


def test_what_is_not_committed_leaves_nothing(directory: Directory) -> None:
    """I1, I3: after a rollback documents and labels are as before, and the next transaction takes the same labels."""
    before = dump(directory.state.labels), directory.stored()
    transaction = directory.begin()
    put(transaction, {'d': (4, 4), 'a': (9, 9)})
    transaction.remove([1])
    directory.sidecar.roll_back()
    assert (dump(directory.state.labels), directory.stored()) == before
    transaction = directory.begin()
    put(transaction, {'e': (5, None), 'a': (8, 8), 'f': (6, 6)})
    assert transaction.view().rows.labels_of(list('aef')) == {'e': 3, 'a': 4, 'f': 5}
    directory.commit(transaction)
    assert directory.stored() == {'b': (2, 2), 'c': (3, None), 'e': (5, None), 'a': (8, 8), 'f': (6, 6)}


# -- an id twice -----------------------------------------------------------------------------------------


def test_an_id_stored_twice_counts_once(directory: Directory) -> None:
    """The last version of a document counts; the ones before it in the same transaction are dead, and not found."""
    transaction = directory.begin()
    put(transaction, {'d': (4, 4)})
    put(transaction, {'a': (5, None), 'd': (6, None)})
    put(transaction, {'d': (7, 7)})
    assert dump(transaction.view().labels)[:3] == (7, [0, 3, 5], [1, 2, 4, 6])
    directory.commit(transaction)
    assert directory.stored() == {'b': (2, 2), 'c': (3, None), 'a': (5, None), 'd': (7, 7)}
    assert directory.sidecar.rows.tombstones() == directory.state.labels.dead


def test_an_id_stored_twice_with_the_same_vectors_is_one_version(directory: Directory) -> None:
    """Another text for a document that the same transaction has stored needs no label of its own."""
    transaction = directory.begin()
    put(transaction, {'d': (4, None)})
    put(transaction, {'d': (4, None), 'a': (1, 1)}, text=' again')
    assert (transaction.added, transaction.view().labels.dead) == (1, [])
    directory.commit(transaction)
    assert directory.sidecar.rows.fetch([0, 3]) == {0: (b'a again', None), 3: (b'd again', None)}
    assert directory.stored() == {'a': (1, 1), 'b': (2, 2), 'c': (3, None), 'd': (4, None)}


class Compared(int):
    """A label that counts how often one is compared with another number."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return int(self) == other

    def __lt__(self, other: int) -> bool:
        Compared.times += 1
        return int(self) < other

    __hash__ = int.__hash__


def test_documents_without_vectors_are_not_looked_for_one_by_one(directory: Directory) -> None:
    """Storing many documents without a vector again compares each with a few of those that lack one, not with all."""
    docs: Given = {f'new {at}': (at, None) for at in range(200)}
    transaction = directory.begin()
    put(transaction, docs)
    transaction.change.absences['w'] = [*map(Compared, transaction.change.absences['w'])]
    put(transaction, docs, text=' again')
    assert transaction.added == len(docs)
    assert 0 < Compared.times <= 10 * len(docs)


def test_what_was_removed_can_be_stored_again(directory: Directory) -> None:
    """I4: an id that the transaction has removed gets a new label, even with the vectors that it had."""
    transaction = directory.begin()
    transaction.remove([0])
    put(transaction, {'a': (1, 1)})
    transaction.remove([3])
    put(transaction, {'a': (1, None)})
    assert dump(transaction.view().labels)[:3] == (5, [0, 3], [1, 2, 4])
    directory.commit(transaction)
    assert directory.stored() == {'b': (2, 2), 'c': (3, None), 'a': (1, None)}


def test_a_vector_that_comes_or_goes_makes_a_version(directory: Directory) -> None:
    """A document that gains or loses an optional vector is a new version, though no number in it differs."""
    transaction = directory.begin()
    put(transaction, {'d': (4, 0)})
    put(transaction, {'d': (4, None)})
    put(transaction, {'d': (4, 0)})
    assert (transaction.added, transaction.view().labels.dead) == (3, [3, 4])
    directory.commit(transaction)
    assert directory.stored()['d'] == (4, 0)


# -- stages that fail ------------------------------------------------------------------------------------


def fails(transaction: Transaction, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let a call fail half-way: in the rows, in the files, or by the rows it was given."""

    def full(*given: object) -> None:
        raise OSError(28, 'No space left on device')

    docs: Given = {'a': (9, 9), 'x': (8, None), 'y': (7, 7)}
    with monkeypatch.context() as patch:
        if how == 'rows':
            patch.setattr(Sidecar, '_set_meta', full)
        if how == 'files':
            patch.setattr(_files, 'write_at', full)
        if how == 'removed':
            patch.setattr(Sidecar, '_set_meta', full)
        calls: dict[str, Callable[[], object]] = {
            'an id twice': lambda: transaction.put([Part(0, [Row('x', b'', None, NO_FIELDS)] * 3, vectors(docs))]),
            'removed': lambda: transaction.remove([0, 1]),
        }
        with pytest.raises(OSError):
            calls.get(how, lambda: put(transaction, docs))()


@pytest.mark.parametrize('how', ['rows', 'files', 'an id twice', 'removed'])
@pytest.mark.parametrize('is_first', [True, False])
def test_a_stage_that_fails_leaves_nothing(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, how: str, is_first: bool
) -> None:
    """I7: after a call that failed the transaction holds what the calls before it staged, and the next one works."""
    transaction = directory.begin()
    if not is_first:
        put(transaction, {'d': (4, 4), 'b': (5, None)})
    before = dump(transaction.view().labels), transaction.is_empty, transaction.added, repr(transaction.change)
    rows_before = transaction.view().rows.labels_of(list('abcdxy'))
    fails(transaction, monkeypatch, how)
    assert (
        dump(transaction.view().labels),
        transaction.is_empty,
        transaction.added,
        repr(transaction.change),
    ) == before
    assert transaction.view().rows.labels_of(list('abcdxy')) == rows_before
    put(transaction, {'e': (6, None), 'a': (7, 7)})
    directory.commit(transaction)
    expected: Given = {'b': (2, 2), 'c': (3, None)} if is_first else {'c': (3, None), 'd': (4, 4), 'b': (5, None)}
    assert directory.stored() == expected | {'e': (6, None), 'a': (7, 7)}
    assert len(directory.state.files['v'].damaged(np.arange(directory.state.labels.next))) == 0


# -- the merged change -----------------------------------------------------------------------------------


def test_the_change_is_that_of_all_calls(directory: Directory) -> None:
    """What is to be published has the ends and absences of all calls, in their order, and no rows."""
    transaction = directory.begin()
    put(transaction, {'d': (4, None), 'b': (5, 5)})
    transaction.remove([3, 2])
    put(transaction, {'a': (1, 1), 'e': (6, None), 'f': (7, None)}, text=' new')
    put(transaction, {'e': (6, 6)})
    assert transaction.change == Change(8, buried=[1, 3, 2, 5], absences={'w': [3, 5, 6]})
    assert transaction.added == 5
    assert not transaction.is_empty


def test_what_only_rewrites_is_not_empty(directory: Directory) -> None:
    """A transaction that gives no label and ends none is a commit all the same."""
    transaction = directory.begin()
    put(transaction, {'a': (1, 1)}, text=' new')
    assert (transaction.is_empty, transaction.added, transaction.change) == (False, 0, Change(3))
    directory.commit(transaction)
    assert directory.sidecar.rows.fetch([0]) == {0: (b'a new', None)}


# -- the disk --------------------------------------------------------------------------------------------


def test_files_are_synced_once(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: however many calls have written many vectors, each file is synced once; none if nothing was written."""
    monkeypatch.setattr(unsynced, '_SMALL', 0)
    synced: list[int] = []
    sync_file = _files.sync_file
    monkeypatch.setattr(_files, 'sync_file', lambda fd: (synced.append(fd), sync_file(fd)))
    transaction = directory.begin()
    put(transaction, {'a': (1, 1)}, text=' new')
    transaction.remove([1])
    transaction.secure()
    assert synced == []
    for number in range(3):
        put(transaction, {'d': (number, None)})
    assert synced == []
    transaction.secure()
    assert len(synced) == len(set(synced)) == 2


def test_a_damaged_vector_is_written_anew(directory: Directory) -> None:
    """A document that comes with the vectors it had gets a new version if one of those is damaged on the disk."""
    path = directory.state.files['v'].path
    content = bytearray(path.read_bytes())
    content[64 + 20 + 16] ^= 1  # the checksum of the second row: the numbers are what they were
    with path.open('r+b') as file:
        file.write(content)
    transaction = directory.begin()
    put(transaction, {'a': (1, 1), 'b': (2, 2)})
    assert (transaction.added, transaction.view().labels.dead) == (1, [1])
    directory.commit(transaction)
    assert directory.stored() == {'a': (1, 1), 'c': (3, None), 'b': (2, 2)}


def test_a_full_disk_is_our_error(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that the disk refuses, while they are written or synced, are a `WorkDirError`."""

    def full(*given: object) -> None:
        raise OSError(28, 'No space left on device')

    transaction = directory.begin()
    put(transaction, {'d': (4, 4)})
    monkeypatch.setattr(unsynced, '_SMALL', 0)
    monkeypatch.setattr(_files, 'sync_file', full)
    with pytest.raises(WorkDirError, match='No space left'):
        transaction.secure()
    monkeypatch.setattr(_files, 'write_at', full)
    with pytest.raises(WorkDirError, match='No space left'):
        put(transaction, {'e': (5, 5)})
