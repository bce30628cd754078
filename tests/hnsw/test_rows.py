"""What is read from the SQLite file: by the thread that writes, and by others beside it."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docindex import CorruptIndexError, FormatVersionError, WorkDirError
from docindex.hnsw.records import Change, Row, row_checksum
from docindex.hnsw.rows import Rows
from docindex.hnsw.sidecar import Sidecar

META: dict[str, Any] = {'columns': {'id': 'ID'}, 'settings': {}}


def row(id_: str, text: str = '{}', tensors: bytes | None = None) -> Row:
    return Row(id_, text.encode(), tensors)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path / 'documents.sqlite3')
    made.create(META)
    yield made
    made.close()


@pytest.fixture
def rows(sidecar: Sidecar) -> Iterator[Rows]:
    """The tables, as a thread sees them that does not write."""
    taken = sidecar.take()
    yield taken
    taken.let_go()
    sidecar.give_back(taken)


def commit(sidecar: Sidecar, *changes: Change) -> None:
    sidecar.begin()
    for change in changes:
        sidecar.apply(change)
    sidecar.commit()


def fill(sidecar: Sidecar, *ids: str) -> None:
    commit(sidecar, Change(len(ids), inserted=[row(id_, f'"{id_}"') for id_ in ids]))


def execute(sidecar: Sidecar, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(sidecar.path, isolation_level=None)
    assert connection.execute(sql, values).rowcount != 0
    connection.close()


# -- documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'id_', ["it's", 'a"b', 'a\0b', 'a\0c', '😀', 'x' * 10_000, 'NULL', '%', "'; DROP TABLE documents"]
)
def test_any_id(sidecar: Sidecar, rows: Rows, id_: str) -> None:
    """An id is only ever a value: quotes, NUL, Unicode and any length come back (D21)."""
    fill(sidecar, id_, 'other', 'a\0')
    assert rows.ids()[0] == id_
    assert rows.id_of(0) == id_
    assert rows.labels_of([id_]) == {id_: 0}
    assert rows.labels_of(['a']) == {}


def test_half_a_surrogate_pair_is_no_id(sidecar: Sidecar, rows: Rows) -> None:
    """A string that no document can have as its id is not found, and no error."""
    fill(sidecar, 'a', '�')
    assert rows.labels_of(['\ud800', 'a']) == {'a': 0}


@pytest.mark.parametrize('count', [32_767, 100_001])
def test_more_ids_than_a_statement_takes(sidecar: Sidecar, rows: Rows, count: int) -> None:
    """SQLite's limit on variables is nobody's business (D28)."""
    fill(sidecar, 'a', 'b')
    ids = [*map(str, range(count)), 'b']
    assert rows.labels_of(ids) == {'b': 1}
    assert list(rows.fetch(range(count))) == [0, 1]


def test_what_is_not_there(sidecar: Sidecar, rows: Rows) -> None:
    """A label that nobody has is left out, and has no id."""
    fill(sidecar, 'a')
    assert rows.fetch([0, 7]) == {0: (b'"a"', None)}
    assert (rows.fetch([]), rows.labels_of([]), rows.id_of(7)) == ({}, {}, None)


@pytest.mark.parametrize(
    'sql',
    [
        'UPDATE documents SET data = \'"c"\' WHERE label = 1',
        "UPDATE documents SET tensors = x'00' WHERE label = 1",
        'UPDATE documents SET checksum = checksum + 1 WHERE label = 1',
    ],
    ids=['data', 'tensors', 'checksum'],
)
def test_a_row_that_changed_by_itself_is_noticed(sidecar: Sidecar, rows: Rows, sql: str) -> None:
    """A document that is not what was stored is a `CorruptIndexError`; others are read as before."""
    fill(sidecar, 'a', 'b')
    execute(sidecar, sql)
    assert rows.fetch([0]) == {0: (b'"a"', None)}
    with pytest.raises(CorruptIndexError, match='does not match'):
        rows.fetch([0, 1])


def test_a_scan_returns_every_row(sidecar: Sidecar, rows: Rows) -> None:
    """All rows come in the order of their labels, damaged ones too, and say whether they are."""
    fill(sidecar, 'a', 'b', 'c')
    execute(sidecar, "UPDATE documents SET tensors = 'text' WHERE label = 1")
    execute(sidecar, "UPDATE documents SET id = CAST(x'ff' AS TEXT) WHERE label = 2")
    scanned = list(rows.scan())
    assert [(found.label, found.id, found.data, found.is_damaged) for found in scanned] == [
        (0, 'a', b'"a"', False),
        (1, 'b', b'"b"', True),
        (2, '�', b'"c"', False),
    ]


def test_a_checksum_covers_both(sidecar: Sidecar) -> None:
    """No tensors, empty ones and what cannot be tensors differ in the checksum, so none is taken for another."""
    whole = [row_checksum(b'{}', None), row_checksum(b'{}', b'\0'), row_checksum(b'{}', 'text')]  # type: ignore[arg-type]
    assert len(set(whole)) == 3
    assert row('a', '{}', b'\0').checksum() == whole[1]


def test_a_sound_file_has_nothing_wrong(rows: Rows) -> None:
    """SQLite's own check of a sound file lists nothing."""
    assert rows.integrity() == []


def test_what_sqlite_finds_wrong_is_listed(tmp_path: Path) -> None:
    """Overwritten pages are lines in the list of what is wrong, and no exception."""
    sidecar = Sidecar(tmp_path / 's')
    sidecar.create(META)
    fill(sidecar, *map(str, range(1000)))
    sidecar.close()
    with (tmp_path / 's').open('r+b') as file:
        file.seek(4096 * 8)
        file.write(b'\xee' * 8192)
    sidecar = Sidecar(tmp_path / 's')
    assert sidecar.rows.integrity()
    sidecar.close()


# -- what the directory is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('sql', 'error', 'said'),
    [
        ("UPDATE meta SET value = '99' WHERE key = 'format'", FormatVersionError, 'format 99'),
        ("DELETE FROM meta WHERE key = 'columns'", CorruptIndexError, 'description'),
        ("DELETE FROM meta WHERE key = 'is_synced'", CorruptIndexError, 'description'),
        ("UPDATE meta SET value = 'garbage' WHERE key = 'columns'", CorruptIndexError, None),
        ("UPDATE meta SET value = '\"text\"' WHERE key = 'format'", CorruptIndexError, None),
    ],
    ids=['newer', 'incomplete', 'without one flag', 'no JSON', 'another type'],
)
def test_a_description_that_cannot_be_used(
    sidecar: Sidecar, rows: Rows, sql: str, error: type[Exception], said: str | None
) -> None:
    """A newer format, or a description that is not whole, is a `WorkDirError` with the path and what to do."""
    execute(sidecar, sql)
    with pytest.raises(error, match=said) as raised:
        rows.meta()
    assert isinstance(raised.value, OSError)
    assert str(sidecar.path) in str(raised.value)
    assert raised.value.hint  # type: ignore[attr-defined]


# -- labels --------------------------------------------------------------------------------------------


def test_tombstones_come_in_the_order_of_their_deaths(sidecar: Sidecar, rows: Rows) -> None:
    """Dead labels are returned in the order in which they were buried, and from any place in it on."""
    fill(sidecar, 'a', 'b', 'c', 'd', 'e')
    assert rows.tombstones() == []
    commit(sidecar, Change(5, buried=[3, 1]))
    commit(sidecar, Change(5, buried=[4]), Change(5, buried=[0]))
    assert [rows.tombstones(after) for after in range(6)] == [[3, 1, 4, 0], [1, 4, 0], [4, 0], [0], [], []]
    assert rows.tombstones(after=0) == rows.tombstones()


def test_tombstones_are_counted_anew_after_a_renumbering(sidecar: Sidecar, rows: Rows) -> None:
    """Once the dead are forgotten, places in their order count from the start again."""
    fill(sidecar, 'a', 'b', 'c')
    commit(sidecar, Change(3, buried=[1]))
    sidecar.renumber({'next_label': 2, 'generation': 1}, {}, [], [])
    assert rows.tombstones() == []
    commit(sidecar, Change(2, buried=[1, 0]))
    assert [rows.tombstones(after) for after in range(3)] == [[1, 0], [0], []]


@pytest.mark.parametrize('position', [-1, 0, 3])
def test_a_tombstone_in_no_place_is_noticed(sidecar: Sidecar, rows: Rows, position: int) -> None:
    """A tombstone that nobody would come to, or not in its turn, is an error, and not a document that lives."""
    fill(sidecar, 'a', 'b', 'c')
    commit(sidecar, Change(3, buried=[1, 2]))
    rows.check_labels(3, 1)
    execute(sidecar, 'UPDATE tombstones SET position = ? WHERE position = 1', position)
    with pytest.raises(CorruptIndexError, match='label in two places'):
        rows.check_labels(3, 1)


def test_absences_of_some_fields_from_a_label_on(sidecar: Sidecar, rows: Rows) -> None:
    """For each field that is asked for, and no other, the labels without a vector in it come from a label on."""
    inserted = [row(id_) for id_ in 'abcd']
    commit(sidecar, Change(4, inserted, absences={'v': [0, 2, 3], 'w': [1]}))
    assert rows.absences(['v', 'w']) == {'v': [0, 2, 3], 'w': [1]}
    assert rows.absences(['v', 'x'], start=1) == {'v': [2, 3], 'x': []}
    assert rows.absences(['v', 'w'], start=3) == {'v': [3], 'w': []}
    assert rows.absences(['v'], start=4) == {'v': []}
    assert rows.absences([]) == {}


def test_absences_of_the_dead_are_remembered(sidecar: Sidecar, rows: Rows) -> None:
    """A label keeps what is known of it when its document is deleted: graphs still ask."""
    commit(sidecar, Change(2, [row('a'), row('b')], absences={'v': [1]}))
    commit(sidecar, Change(2, buried=[1]))
    assert rows.absences(['v']) == {'v': [1]}


# -- one moment ----------------------------------------------------------------------------------------


def everything(rows: Rows) -> tuple[Any, ...]:
    return (
        rows.ids(),
        len(rows.ids()),
        rows.labels_of(['a', 'b', 'c']),
        rows.fetch([0, 1, 2]),
        rows.tombstones(),
        rows.absences(['v']),
        rows.meta()['next_label'],
        rows.commits(),
        [found.id for found in rows.scan()],
    )


def test_a_moment_that_is_held_stays(sidecar: Sidecar, rows: Rows) -> None:
    """Between `hold` and `let_go` everything is as of one moment, whatever another connection commits meanwhile."""
    fill(sidecar, 'a', 'b')
    assert rows.hold() == 1
    before = everything(rows)
    commit(sidecar, Change(3, [row('c')], [(0, row('a', '"again"'))], buried=[1], absences={'v': [2]}))
    assert everything(rows) == before
    assert rows.labels_of(['c']) == {}
    rows.let_go()
    assert everything(rows) == (
        ['a', 'c'],
        2,
        {'a': 0, 'c': 2},
        {0: (b'"again"', None), 2: (b'{}', None)},
        [1],
        {'v': [2]},
        3,
        2,
        ['a', 'c'],
    )


def test_the_moment_begins_with_hold(sidecar: Sidecar, rows: Rows) -> None:
    """What is committed just after `hold` is not seen, though nothing was looked at in between."""
    fill(sidecar, 'a')
    assert rows.hold() == 1
    commit(sidecar, Change(2, [row('b')]))
    assert rows.ids() == ['a']


def test_another_hold_is_another_moment(sidecar: Sidecar, rows: Rows) -> None:
    """To hold once more, as after an interrupt, lets go of the earlier moment first."""
    fill(sidecar, 'a')
    assert rows.hold() == 1
    commit(sidecar, Change(2, [row('b')]))
    assert rows.hold() == 2
    assert rows.ids() == ['a', 'b']
    rows.let_go()
    rows.let_go()
    assert rows.ids() == ['a', 'b']


def test_what_is_not_committed_is_not_seen(sidecar: Sidecar, rows: Rows) -> None:
    """The thread that writes sees what it has staged; others see it once it is committed."""
    fill(sidecar, 'a')
    sidecar.begin()
    sidecar.apply(Change(2, [row('b')]))
    assert sidecar.rows.ids() == ['a', 'b']
    assert rows.ids() == ['a']
    rows.hold()
    sidecar.commit()
    assert (rows.ids(), rows.commits()) == (['a'], 1)
    rows.let_go()
    assert (rows.ids(), rows.commits()) == (['a', 'b'], 2)


def test_a_held_moment_keeps_nobody_from_writing(sidecar: Sidecar, rows: Rows) -> None:
    """Commits, a renumbering and a vacuum go on beside a reader in its moment, which stays as it was."""
    fill(sidecar, 'a', 'b', 'c')
    rows.hold()
    before = everything(rows)
    commit(sidecar, Change(3, buried=[0]))
    sidecar.renumber({'next_label': 2, 'generation': 1}, {}, [], [])
    sidecar.vacuum()
    assert everything(rows) == before
    rows.let_go()
    assert rows.labels_of(['b', 'c']) == {'b': 0, 'c': 1}


# -- other threads -------------------------------------------------------------------------------------


def test_a_reader_cannot_write(sidecar: Sidecar, rows: Rows) -> None:
    """A connection that reads refuses to write, whatever it is asked."""
    with pytest.raises(WorkDirError, match='readonly'):
        rows._all("DELETE FROM meta WHERE key = 'commits'")


def test_every_thread_reads_for_itself(sidecar: Sidecar) -> None:
    """Any thread can read, which one sqlite3 connection would refuse (D24)."""
    fill(sidecar, 'a')
    found: list[Any] = []

    def read() -> None:
        rows = sidecar.take()
        found.append(rows.labels_of(['a']))
        sidecar.give_back(rows)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{'a': 0}] * 8


def test_each_reader_has_its_own_moment(sidecar: Sidecar) -> None:
    """Connections that are taken at once are different ones; one that was given back serves the next."""
    fill(sidecar, 'a')
    one, other = sidecar.take(), sidecar.take()
    assert one is not other
    one.hold()
    commit(sidecar, Change(2, [row('b')]))
    other.hold()
    assert (one.ids(), other.ids()) == (['a'], ['a', 'b'])
    for rows in (one, other):
        rows.let_go()
        sidecar.give_back(rows)
    assert {sidecar.take(), sidecar.take()} == {one, other}
    for rows in (one, other):
        rows.close()


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='counts open files in /proc')
def test_threads_that_ended_leave_no_files_open(sidecar: Sidecar) -> None:
    """A service that answers each request in a thread of its own does not run out of file descriptors."""
    fill(sidecar, 'a')
    before = len(list(Path('/proc/self/fd').iterdir()))

    def read() -> None:
        rows = sidecar.take()
        rows.labels_of(['a'])
        sidecar.give_back(rows)

    for _ in range(50):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(list(Path('/proc/self/fd').iterdir())) < before + 10
