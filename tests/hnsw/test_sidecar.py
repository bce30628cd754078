import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docindex import CorruptIndexError, FormatVersionError, WorkDirError
from docindex.hnsw.sidecar import Change, Row, Sidecar, Snapshot

META: dict[str, Any] = {'columns': {'id': 'ID'}, 'settings': {}}
SNAPSHOT = Snapshot('v', 'v.1.hnsw', 10, 11, 12, 13, 14, '[]', '{}')


def row(id_: str, text: str = '{}', tensors: bytes | None = None) -> Row:
    return Row(id_, text.encode(), tensors)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path / 'documents.sqlite3')
    made.create(META)
    yield made
    made.close()


def fill(sidecar: Sidecar, *ids: str) -> None:
    sidecar.apply(Change(len(ids), inserted=[row(id_, f'"{id_}"') for id_ in ids]))


def execute(sidecar: Sidecar, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(sidecar.path, isolation_level=None)
    assert connection.execute(sql, values).rowcount != 0
    connection.close()


def test_a_file_is_new_until_it_is_created(tmp_path: Path) -> None:
    """A file without tables is new; one that was created knows its description."""
    sidecar = Sidecar(tmp_path / 's')
    assert sidecar.is_new()
    sidecar.create(META)
    assert not sidecar.is_new()
    assert sidecar.meta().items() >= {**META, 'next_label': 0, 'commits': 0}.items()
    sidecar.close()


def test_every_commit_is_synced(sidecar: Sidecar) -> None:
    """I1: the file is in WAL mode with synchronous=FULL, so a commit that returned survives a power cut."""
    assert sidecar._writer.execute('PRAGMA journal_mode').fetchone() == ('wal',)
    assert sidecar._writer.execute('PRAGMA synchronous').fetchone() == (2,)


def test_a_change_is_stored(sidecar: Sidecar) -> None:
    """Documents that a change inserts, rewrites and buries are so afterwards, and after reopening."""
    fill(sidecar, 'a', 'b', 'c')
    sidecar.apply(
        Change(4, [row('c', '"new"', b'\0\xff')], [(0, row('a', '"again"'))], buried=[1, 2], absences={'v': [3]})
    )
    for looked_at in (sidecar, Sidecar(sidecar.path)):
        assert looked_at.ids() == ['a', 'c']
        assert looked_at.labels_of(['c', 'b', 'a']) == {'a': 0, 'c': 3}
        assert looked_at.fetch([0, 1, 3]) == {0: (b'"again"', None), 3: (b'"new"', b'\0\xff')}
        assert looked_at.tombstones() == [1, 2]
        assert looked_at.count() == 2
        assert looked_at.meta()['next_label'] == 4
        assert looked_at.commits() == 2
    looked_at.close()


@pytest.mark.parametrize(
    'change',
    [
        Change(2, inserted=[row('b'), row('c')]),
        Change(2, inserted=[row('a')]),
        Change(2, inserted=[row('b')], absences={'v': [1, 1]}),
    ],
    ids=['a label twice', 'an id twice', 'an absence twice'],
)
def test_a_change_that_fails_is_none(sidecar: Sidecar, change: Change) -> None:
    """I1, I7: when `apply` raises nothing of the change exists, and the next one works."""
    fill(sidecar, 'a')
    with pytest.raises(WorkDirError):
        sidecar.apply(change)
    assert sidecar.ids() == ['a']
    assert (sidecar.meta()['next_label'], sidecar.commits()) == (1, 1)
    sidecar.apply(Change(2, inserted=[row('b')]))
    assert sidecar.ids() == ['a', 'b']


@pytest.mark.parametrize(
    'id_', ["it's", 'a"b', 'a\0b', 'a\0c', '😀', 'x' * 10_000, 'NULL', '%', "'; DROP TABLE documents"]
)
def test_any_id(sidecar: Sidecar, id_: str) -> None:
    """An id is only ever a value: quotes, NUL, Unicode and any length come back (D21)."""
    fill(sidecar, id_, 'other', 'a\0')
    assert sidecar.ids()[0] == id_
    assert sidecar.labels_of([id_]) == {id_: 0}
    assert sidecar.labels_of(['a']) == {}


@pytest.mark.parametrize('count', [32_767, 100_001])
def test_more_ids_than_a_statement_takes(sidecar: Sidecar, count: int) -> None:
    """SQLite's limit on variables is nobody's business (D28)."""
    fill(sidecar, 'a', 'b')
    ids = [*map(str, range(count)), 'b']
    assert sidecar.labels_of(ids) == {'b': 1}
    assert list(sidecar.fetch(range(count))) == [0, 1]


@pytest.mark.parametrize(
    'sql',
    [
        'UPDATE documents SET data = \'"c"\' WHERE label = 1',
        "UPDATE documents SET tensors = x'00' WHERE label = 1",
        'UPDATE documents SET checksum = checksum + 1 WHERE label = 1',
    ],
    ids=['data', 'tensors', 'checksum'],
)
def test_a_row_that_changed_by_itself_is_noticed(sidecar: Sidecar, sql: str) -> None:
    """A document that is not what was stored is a `CorruptIndexError`; others are read as before."""
    fill(sidecar, 'a', 'b')
    execute(sidecar, sql)
    assert sidecar.fetch([0]) == {0: (b'"a"', None)}
    with pytest.raises(CorruptIndexError, match='does not match'):
        sidecar.fetch([0, 1])


def test_graph_files_are_recorded(sidecar: Sidecar) -> None:
    """The last record of a field's graph file is the one that counts."""
    sidecar.record(SNAPSHOT)
    sidecar.record(Snapshot(**{**vars(SNAPSHOT), 'file': 'v.2.hnsw'}))
    assert {field: snapshot.file for field, snapshot in sidecar.snapshots().items()} == {'v': 'v.2.hnsw'}


def test_meta_can_be_changed(sidecar: Sidecar) -> None:
    """An entry of the description changes durably, the others stay."""
    sidecar.set_meta(settings={'v': {'M': 3}})
    other = Sidecar(sidecar.path)
    assert other.meta().items() >= {'settings': {'v': {'M': 3}}, 'columns': META['columns']}.items()
    other.close()


@pytest.mark.parametrize(
    ('sql', 'error', 'said'),
    [
        ("UPDATE meta SET value = '99' WHERE key = 'format'", FormatVersionError, 'format 99'),
        ("DELETE FROM meta WHERE key = 'columns'", CorruptIndexError, 'description'),
        ("UPDATE meta SET value = 'garbage' WHERE key = 'columns'", CorruptIndexError, None),
        ("UPDATE meta SET value = '\"text\"' WHERE key = 'format'", CorruptIndexError, None),
    ],
    ids=['newer', 'incomplete', 'no JSON', 'another type'],
)
def test_a_description_that_cannot_be_used(
    sidecar: Sidecar, sql: str, error: type[Exception], said: str | None
) -> None:
    """A newer format, or a description that is not whole, is a `WorkDirError` with the path and what to do."""
    execute(sidecar, sql)
    with pytest.raises(error, match=said) as raised:
        sidecar.meta()
    assert isinstance(raised.value, OSError)
    assert str(sidecar.path) in str(raised.value)
    assert raised.value.hint  # type: ignore[attr-defined]


def test_garbage_is_no_database(tmp_path: Path) -> None:
    """A file that SQLite does not accept is a `CorruptIndexError`, and no connection stays open to it."""
    (tmp_path / 's').write_bytes(b'garbage' * 1000)
    with pytest.raises(CorruptIndexError, match='SQLite cannot read this file'):
        Sidecar(tmp_path / 's')


def test_another_database_is_refused(tmp_path: Path) -> None:
    """An SQLite file of somebody else is refused, and not changed."""
    connection = sqlite3.connect(tmp_path / 's')
    connection.execute('CREATE TABLE mine (x)')
    connection.close()
    sidecar = Sidecar(tmp_path / 's')
    with pytest.raises(WorkDirError, match='not made by docindex'):
        sidecar.is_new()
    sidecar.close()


def test_every_thread_reads_for_itself(sidecar: Sidecar) -> None:
    """Any thread can read, which one sqlite3 connection would refuse (D24)."""
    fill(sidecar, 'a')
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(sidecar.labels_of(['a']))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{'a': 0}] * 8


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='counts open files in /proc')
def test_threads_that_ended_leave_no_files_open(sidecar: Sidecar) -> None:
    """A service that answers each request in a thread of its own does not run out of file descriptors."""
    fill(sidecar, 'a')
    before = len(list(Path('/proc/self/fd').iterdir()))
    for _ in range(50):
        thread = threading.Thread(target=lambda: sidecar.labels_of(['a']))
        thread.start()
        thread.join()
    assert len(list(Path('/proc/self/fd').iterdir())) < before + 10


def test_a_locked_file_is_our_error(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite cannot do at the moment is a `WorkDirError` that says so, not sqlite3's."""
    sidecar._writer.execute('PRAGMA busy_timeout = 0')
    other = sqlite3.connect(sidecar.path, isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    with pytest.raises(WorkDirError, match='locked'):
        fill(sidecar, 'a')
    other.execute('ROLLBACK')
    other.close()
    fill(sidecar, 'a')
    assert sidecar.ids() == ['a']
