import errno
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docindex import CorruptIndexError, WorkDirError
from docindex.hnsw.records import Change, Row, Snapshot
from docindex.hnsw.sidecar import Sidecar

META: dict[str, Any] = {'columns': {'id': 'ID'}, 'settings': {}}
SNAPSHOT = Snapshot('v', 'v.1.hnsw', 10, 11, 12, 13, 14, '[]', '[]', '{}')


def row(id_: str, text: str = '{}', tensors: bytes | None = None) -> Row:
    return Row(id_, text.encode(), tensors)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path / 'documents.sqlite3')
    made.create(META)
    yield made
    made.close()


def commit(sidecar: Sidecar, *changes: Change) -> None:
    sidecar.begin()
    for change in changes:
        sidecar.apply(change)
    sidecar.commit()


def fill(sidecar: Sidecar, *ids: str) -> None:
    commit(sidecar, Change(len(ids), inserted=[row(id_, f'"{id_}"') for id_ in ids]))


def committed(sidecar: Sidecar) -> list[str]:
    """Return the ids that a connection of its own sees."""
    connection = sqlite3.connect(sidecar.path)
    ids = [id_ for (id_,) in connection.execute('SELECT id FROM documents ORDER BY label')]
    connection.close()
    return ids


def test_a_file_is_new_until_it_is_created(tmp_path: Path) -> None:
    """A file without tables is new; one that was created knows its description."""
    sidecar = Sidecar(tmp_path / 's')
    assert sidecar.is_new()
    sidecar.create(META)
    assert not sidecar.is_new()
    assert sidecar.rows.meta().items() >= {**META, 'next_label': 0, 'commits': 0}.items()
    sidecar.close()


def test_every_commit_is_synced(sidecar: Sidecar) -> None:
    """I1: the file is in WAL mode with synchronous=FULL, so a commit that returned survives a power cut."""
    assert sidecar._writer.all('PRAGMA journal_mode') == [('wal',)]
    assert sidecar._writer.all('PRAGMA synchronous') == [(2,)]


def test_a_description_is_synced_even_if_writes_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `is_synced=False` writes are left to the system; a renumbering and a new description are not."""
    sidecar = Sidecar(tmp_path / 's', is_synced=False)
    sidecar.create(META)
    seen: list[int] = []
    really_commit = type(sidecar._writer).commit

    def noted(connection: Any) -> None:
        seen.append(connection.all('PRAGMA synchronous')[0][0])
        really_commit(connection)

    monkeypatch.setattr(type(sidecar._writer), 'commit', noted)
    fill(sidecar, 'a')
    sidecar.renumber({}, {}, [], [])
    with pytest.raises(WorkDirError):
        sidecar.renumber({}, {'v': [0, 0]}, [], [])
    sidecar.set_meta(generation=1)
    commit(sidecar, Change(2, inserted=[row('b')]))
    assert seen == [1, 2, 2, 1]
    sidecar.close()


def test_a_change_is_stored(sidecar: Sidecar) -> None:
    """Documents that a change inserts, rewrites and buries are so afterwards, and after reopening."""
    fill(sidecar, 'a', 'b', 'c')
    commit(
        sidecar,
        Change(4, [row('c', '"new"', b'\0\xff')], [(0, row('a', '"again"'))], buried=[1, 2], absences={'v': [3]}),
    )
    other = Sidecar(sidecar.path)
    for looked_at in (sidecar.rows, sidecar.take(), other.rows):
        assert looked_at.ids() == ['a', 'c']
        assert looked_at.labels_of(['c', 'b', 'a']) == {'a': 0, 'c': 3}
        assert looked_at.fetch([0, 1, 3]) == {0: (b'"again"', None), 3: (b'"new"', b'\0\xff')}
        assert looked_at.tombstones() == [1, 2]
        assert looked_at.absences(['v']) == {'v': [3]}
        assert looked_at.meta()['next_label'] == 4
        assert looked_at.commits() == 2
        if looked_at is not sidecar.rows:
            looked_at.close()


def test_several_changes_are_one_commit(sidecar: Sidecar) -> None:
    """What is applied between `begin` and `commit` is seen by nobody else before it, and counts as one."""
    sidecar.begin()
    sidecar.apply(Change(2, [row('a'), row('b')]))
    sidecar.apply(Change(3, [row('a', '"new"')], buried=[0]))
    sidecar.apply(Change(3, rewritten=[(1, row('b', '"again"'))]))
    assert sidecar.rows.ids() == ['b', 'a']
    assert committed(sidecar) == []
    sidecar.commit()
    assert committed(sidecar) == ['b', 'a']
    assert sidecar.rows.fetch([0, 1, 2]) == {1: (b'"again"', None), 2: (b'"new"', None)}
    assert (sidecar.rows.tombstones(), sidecar.commits()) == ([0], 1)


def test_what_is_rolled_back_is_none(sidecar: Sidecar) -> None:
    """I1: changes that were applied and not committed never were; to roll back what has not begun is nothing."""
    fill(sidecar, 'a')
    sidecar.begin()
    sidecar.apply(Change(2, [row('b')], buried=[0]))
    sidecar.roll_back()
    sidecar.roll_back()
    assert (sidecar.rows.ids(), sidecar.rows.tombstones(), sidecar.commits()) == (['a'], [], 1)


@pytest.mark.parametrize('go_on', ['begin', 'commits', 'set_meta', 'record', 'close'])
def test_what_an_interrupt_left_unfinished_is_none(sidecar: Sidecar, go_on: str) -> None:
    """I1: a transaction that nobody ended is not committed by what comes next, and does not count."""
    fill(sidecar, 'a')
    sidecar.begin()
    sidecar.apply(Change(2, [row('b')]))
    given: dict[str, Any] = {'set_meta': {'generation': 0}, 'record': {'snapshot': SNAPSHOT}}
    getattr(sidecar, go_on)(**given.get(go_on, {}))
    assert committed(sidecar) == ['a']
    if go_on != 'close':
        assert sidecar.commits() == (2 if go_on == 'set_meta' else 1)


FAILING = pytest.mark.parametrize(
    'change',
    [
        Change(2, inserted=[row('b'), row('c')]),
        Change(2, inserted=[row('a')]),
        Change(2, inserted=[row('b')], absences={'v': [1, 1]}),
    ],
    ids=['a label twice', 'an id twice', 'an absence twice'],
)


@FAILING
def test_a_change_that_fails_is_none(sidecar: Sidecar, change: Change) -> None:
    """I1, I7: when `apply` raises nothing of the change exists, and the next one works."""
    fill(sidecar, 'a')
    sidecar.begin()
    with pytest.raises(WorkDirError):
        sidecar.apply(change)
    sidecar.roll_back()
    assert sidecar.rows.ids() == ['a']
    assert (sidecar.rows.meta()['next_label'], sidecar.commits()) == (1, 1)
    commit(sidecar, Change(2, inserted=[row('b')]))
    assert sidecar.rows.ids() == ['a', 'b']


@FAILING
def test_a_change_that_fails_takes_no_other_with_it(sidecar: Sidecar, change: Change) -> None:
    """I7: when `apply` raises what was applied before it in the transaction is still there, and can be committed."""
    sidecar.begin()
    sidecar.apply(Change(1, [row('a')], absences={'v': [0]}))
    with pytest.raises(WorkDirError):
        sidecar.apply(change)
    assert sidecar.rows.ids() == ['a']
    assert (sidecar.rows.meta()['next_label'], sidecar.rows.absences(['v'])) == (1, {'v': [0]})
    sidecar.apply(Change(2, [row('b')]))
    sidecar.commit()
    assert committed(sidecar) == ['a', 'b']
    assert (sidecar.rows.absences(['v']), sidecar.commits()) == ({'v': [0]}, 1)


def test_a_full_disk_ends_the_whole_transaction(sidecar: Sidecar) -> None:
    """I7: when SQLite itself rolls back, as for a full disk, the error is ours and the next transaction works."""
    fill(sidecar, 'a')
    pages = sidecar._writer.all('PRAGMA page_count')[0][0]
    sidecar._writer.all(f'PRAGMA max_page_count = {pages}')
    sidecar.begin()
    sidecar.apply(Change(2, [row('b')]))
    with pytest.raises(WorkDirError, match='full'):
        sidecar.apply(Change(3, [row('c', 'x' * 100_000)]))
    sidecar.roll_back()
    assert (sidecar.rows.ids(), sidecar.commits()) == (['a'], 1)
    sidecar._writer.all('PRAGMA max_page_count = 1000')
    commit(sidecar, Change(2, [row('c', 'x' * 100_000)]))
    assert committed(sidecar) == ['a', 'c']


def test_a_document_that_cannot_be_read_is_not_half_stored(sidecar: Sidecar) -> None:
    """I7: an error of whoever makes the rows, raised in the middle of a change, undoes what was done of it."""

    class Broken(list[int]):
        def __iter__(self) -> Any:
            yield 0
            raise OSError(errno.EIO, 'Input/output error')

    fill(sidecar, 'a', 'b')
    sidecar.begin()
    with pytest.raises(OSError, match='Input/output'):
        sidecar.apply(Change(2, buried=Broken([0])))
    sidecar.commit()
    assert (sidecar.rows.ids(), sidecar.rows.tombstones()) == (['a', 'b'], [])


def test_graph_files_are_recorded(sidecar: Sidecar) -> None:
    """The last record of a field's graph file is the one that counts."""
    sidecar.record(SNAPSHOT)
    sidecar.record(Snapshot(**{**vars(SNAPSHOT), 'file': 'v.2.hnsw'}))
    assert {field: snapshot.file for field, snapshot in sidecar.rows.snapshots().items()} == {'v': 'v.2.hnsw'}


def test_meta_can_be_changed(sidecar: Sidecar) -> None:
    """An entry of the description changes durably, the others stay."""
    sidecar.set_meta(settings={'v': {'M': 3}})
    other = Sidecar(sidecar.path)
    assert other.rows.meta().items() >= {'settings': {'v': {'M': 3}}, 'columns': META['columns']}.items()
    other.close()


def test_a_renumbering_is_one_commit(sidecar: Sidecar) -> None:
    """Documents get labels without gaps, the dead are forgotten, and what is given replaces what was recorded."""
    fill(sidecar, 'a', 'b', 'c', 'd')
    commit(sidecar, Change(5, [row('b', '"new"', b'\0')], buried=[0, 1], absences={'v': [4]}))
    sidecar.record(SNAPSHOT)
    before = sidecar.commits()
    new = [Snapshot(**{**vars(SNAPSHOT), 'field': field, 'file': f'{field}.2.hnsw'}) for field in 'vw']
    sidecar.renumber({'next_label': 3, 'generation': 1}, {'v': [2], 'w': [0, 1]}, [], new)
    rows = sidecar.rows
    assert rows.labels_of(list('abcd')) == {'c': 0, 'd': 1, 'b': 2}
    assert rows.fetch([0, 1, 2]) == {0: (b'"c"', None), 1: (b'"d"', None), 2: (b'"new"', b'\0')}
    assert (rows.tombstones(), rows.absences(['v', 'w'])) == ([], {'v': [2], 'w': [0, 1]})
    assert rows.snapshots() == {'v': new[0], 'w': new[1]}
    assert rows.meta().items() >= {'next_label': 3, 'generation': 1, **META}.items()
    assert sidecar.commits() == before + 1


def test_a_renumbering_that_fails_is_none(sidecar: Sidecar) -> None:
    """I7: when `renumber` raises labels, tombstones and graph files are as they were, and the next one works."""
    fill(sidecar, 'a', 'b')
    commit(sidecar, Change(2, buried=[0]))
    sidecar.record(SNAPSHOT)
    with pytest.raises(WorkDirError):
        sidecar.renumber({'next_label': 1}, {'v': [0, 0]}, [], [])
    rows = sidecar.rows
    assert (rows.labels_of(['b']), rows.tombstones(), rows.snapshots()) == ({'b': 1}, [0], {'v': SNAPSHOT})
    assert (rows.meta()['next_label'], sidecar.commits()) == (2, 2)
    sidecar.renumber({'next_label': 1}, {}, [], [])
    assert (rows.labels_of(['b']), sidecar.commits()) == ({'b': 0}, 3)


def test_documents_lack_the_vectors_of_a_new_field(sidecar: Sidecar) -> None:
    """Another description that brings a vector field makes all documents lack it, whatever was known of it before."""
    commit(sidecar, Change(3, [row('a'), row('b'), row('c')], absences={'v': [1], 'w': [0]}))
    commit(sidecar, Change(3, buried=[0]))
    sidecar.adapt({'columns': {'id': 'ID', 'v': 'vector'}}, {'v': 0}, [])
    assert sidecar.rows.absences(['v', 'w']) == {'v': [1, 2], 'w': [0]}
    assert (sidecar.rows.meta()['columns'], sidecar.commits()) == ({'id': 'ID', 'v': 'vector'}, 3)


def test_a_backup_has_what_is_committed(sidecar: Sidecar, tmp_path: Path) -> None:
    """A copy holds all that was committed, in a file of its own that opens by itself."""
    fill(sidecar, 'a', 'b')
    sidecar.backup(tmp_path / 'copy')
    commit(sidecar, Change(3, [row('c')]))
    copy = Sidecar(tmp_path / 'copy')
    assert (copy.rows.ids(), copy.commits()) == (['a', 'b'], 1)
    copy.close()


def test_a_reader_changes_nothing(sidecar: Sidecar) -> None:
    """A file that was opened for reading shows what is committed, also later, and refuses every change."""
    fill(sidecar, 'a')
    reader = Sidecar(sidecar.path, read_only=True)
    assert reader.rows.ids() == ['a']
    changes: list[Callable[[], object]] = [
        lambda: commit(reader, Change(2, [row('b')])),
        lambda: reader.set_meta(generation=9),
        lambda: reader.record(SNAPSHOT),
    ]
    for change in changes:
        with pytest.raises(WorkDirError, match='readonly'):
            change()
    commit(sidecar, Change(2, [row('b')]))
    taken = reader.take()
    assert (taken.ids(), reader.rows.meta()['generation']) == (['a', 'b'], 0)
    taken.close()
    reader.close()


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    """Opening a file that is not there for reading is our error, and there is none afterwards."""
    with pytest.raises(WorkDirError, match='unable to open'):
        Sidecar(tmp_path / 's', read_only=True)
    assert list(tmp_path.iterdir()) == []


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


def test_a_locked_file_is_our_error(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite cannot do at the moment is a `WorkDirError` that says so, not sqlite3's."""
    sidecar._writer.all('PRAGMA busy_timeout = 0')
    other = sqlite3.connect(sidecar.path, isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    with pytest.raises(WorkDirError, match='locked'):
        fill(sidecar, 'a')
    other.execute('ROLLBACK')
    other.close()
    fill(sidecar, 'a')
    assert sidecar.rows.ids() == ['a']


def undo_everything_for(sidecar: Sidecar, id_: str) -> None:
    """Let SQLite roll back the whole transaction when a document with this id comes: what it does for a full disk."""
    connection = sqlite3.connect(sidecar.path, isolation_level=None)
    moment = f"BEFORE INSERT ON documents WHEN NEW.id = '{id_}'"
    connection.execute(f"CREATE TRIGGER full {moment} BEGIN SELECT RAISE(ROLLBACK, 'full'); END")
    connection.close()


@pytest.mark.parametrize('goes_on', [False, True])
def test_what_sqlite_undid_by_itself_cannot_be_committed(sidecar: Sidecar, goes_on: bool) -> None:
    """I1: what is applied after SQLite has rolled back a transaction by itself is not committed without the rest."""
    fill(sidecar, 'a')
    undo_everything_for(sidecar, 'c')
    sidecar.begin()
    sidecar.apply(Change(2, [row('b')]))
    with pytest.raises(WorkDirError, match='full'):
        sidecar.apply(Change(3, [row('c')]))
    with pytest.raises(WorkDirError):  # noqa: PT012 - in the one or in the other
        if goes_on:
            sidecar.apply(Change(3, [row('d')]))
        sidecar.commit()
    assert committed(sidecar) == ['a']
    assert sidecar.commits() == 1
