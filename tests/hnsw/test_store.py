import errno
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import (
    BaseDoc,
    ClosedIndexError,
    CorruptIndexError,
    DocIndexError,
    Field,
    FormatVersionError,
    HnswDocumentIndex,
    NdArray,
    SchemaMismatchError,
    SettingsError,
    WorkDirError,
    WorkDirLockedError,
    _files,
)
from docindex.hnsw import unsynced
from docindex.hnsw.graph import Graph
from docindex.hnsw.sidecar import Sidecar


class Doc(BaseDoc):
    text: str = ''
    v: NdArray[4]
    w: NdArray[3] | None = Field(None, space='cosine')


Index = HnswDocumentIndex[Doc]


def docs(start: int = 0, stop: int = 20, text: str = '', seed: int = 0) -> list[Doc]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(stop, 7)).astype(np.float32)
    return [
        Doc(id=str(at), text=text, v=vectors[at, :4], w=vectors[at, 4:] if at % 3 else None)
        for at in range(start, stop)
    ]


def state(index: HnswDocumentIndex[Doc]) -> dict[str, Any]:
    """Return everything that can be asked of an index: documents by id, and answers of the graphs and of a scan."""
    stored = index.get(list(index))
    queries = {'v': np.eye(4, dtype=np.float32), 'w': np.eye(3, dtype=np.float32)}
    return {
        'documents': [
            (doc.id, doc.text, doc.v.tobytes(), None if doc.w is None else doc.w.tobytes()) for doc in stored
        ],
        'count': len(index),
        **{
            (field, exact): [found.id for found in index.find_batched(query, field, limit=7, exact=exact).documents]
            for field, query in queries.items()
            for exact in (True, False)
        },
    }


@pytest.fixture
def closed(work_dir: Path) -> Path:
    """A directory with twenty documents."""
    with Index(work_dir=work_dir) as index:
        index.index(docs())
    return work_dir


def vector_file(work_dir: Path, field: str = 'v') -> Path:
    (path,) = (work_dir / 'vectors').glob(f'{field}.*.f32')
    return path


# -- one store for all handles ------------------------------------------------------------------------------------


def test_two_handles_share_what_is_there(work_dir: Path) -> None:
    """Two handles on one directory see each other's writes at once, and the last one closed saves (D5)."""
    with Index(work_dir=work_dir) as one, Index(work_dir=str(work_dir)) as other:
        one.index(docs(0, 10))
        assert len(other) == 10
        other.delete('3')
        assert '3' not in one
        one.close()
        other.index(docs(10, 11))
        expected = state(other)
    with Index(work_dir=work_dir) as index:
        assert state(index) == expected


def test_handles_find_each_other_by_the_real_path(
    work_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One directory is one store, whether it is written relative, absolute or through a link."""
    (tmp_path / 'link').symlink_to(work_dir)
    monkeypatch.chdir(tmp_path)
    with Index(work_dir=work_dir) as one, Index(work_dir='work') as two, Index(work_dir='link') as three:
        one.index(docs(0, 1))
        assert len(one) == len(two) == len(three) == 1


def test_a_forgotten_handle_lets_go(closed: Path) -> None:
    """A handle that nobody holds any more is closed: another process can open the directory, and nothing is lost."""
    index = Index(work_dir=closed)
    index.index(docs(20, 21))
    del index
    gc.collect()
    assert count_elsewhere(closed) == '21'


COUNT = """
import sys
from tests.hnsw.test_store import Index
with Index(work_dir=sys.argv[1]) as index:
    print(len(index))
"""


def count_elsewhere(work_dir: Path) -> str:
    """Open the directory in another process; return how many documents it finds, or the name of its error."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', COUNT, str(work_dir)], capture_output=True, text=True, check=False, cwd=root
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1].partition(':')[0].rpartition('.')[2]


def test_another_process_is_kept_out_until_the_last_handle_is_closed(closed: Path) -> None:
    """One process at a time has a directory; it is free as soon as the last handle is closed."""
    one, other = Index(work_dir=closed), Index(work_dir=closed)
    assert count_elsewhere(closed) == 'WorkDirLockedError'
    one.close()
    assert count_elsewhere(closed) == 'WorkDirLockedError'
    other.close()
    assert count_elsewhere(closed) == '20'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_a_forked_process_is_refused(closed: Path) -> None:
    """A handle that was inherited by a fork refuses every use, opening anew is refused too, and the parent goes on."""
    calls: list[Callable[[HnswDocumentIndex[Doc]], object]] = [
        lambda index: index.find([0, 0, 0, 0], 'v'),
        lambda index: index.get('1'),
        lambda index: index.index(docs(0, 1)),
        lambda index: index.delete('1'),
        lambda index: index.configure(ef=5),
        len,
    ]
    with Index(work_dir=closed) as index:
        child = os.fork()
        if not child:
            refused = sum(raises(ClosedIndexError, call, index) for call in calls)
            refused += raises(WorkDirLockedError, lambda path: Index(work_dir=path), closed)
            index.close()
            os._exit(refused)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == len(calls) + 1
        assert len(index) == 20
        assert count_elsewhere(closed) == 'WorkDirLockedError'


def raises(error: type[Exception], call: Callable[[Any], object], argument: object) -> bool:
    try:
        call(argument)
    except error:
        return True
    return False


def test_another_schema_does_not_share(closed: Path) -> None:
    """A second handle with other fields is refused, while the first stays open and usable."""

    class Other(BaseDoc):
        v: NdArray[4]
        colour: str

    with Index(work_dir=closed) as index:
        with pytest.raises(SchemaMismatchError, match='colour') as raised:
            HnswDocumentIndex[Other](work_dir=closed)
        assert isinstance(raised.value, OSError)
        assert len(index) == 20


def test_a_second_handle_cannot_rebuild_a_graph_in_use(closed: Path) -> None:
    """A schema with another M is refused while the graph is in use, and nothing of it is remembered."""

    class Other(Doc):
        v: NdArray[4] = Field(M=3, ef=77)

    with Index(work_dir=closed) as index:
        with pytest.raises(SettingsError, match='v: M cannot be changed while the graph is in use'):
            HnswDocumentIndex[Other](work_dir=closed)
        assert (index.settings('v')['M'], index.settings('v')['ef']) == (16, None)
    with HnswDocumentIndex[Other](work_dir=closed) as other:
        assert (other.settings('v')['M'], other.settings('v')['ef']) == (3, 77)
        assert len(other) == 20


# -- writes that fail ----------------------------------------------------------------------------------------------


def no_space(*given: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, 'No space left on device')


FAILURES: dict[str, tuple[object, str]] = {
    'writing vectors': (_files, 'write_at'),
    'syncing vectors': (_files, 'sync_file'),
    'keeping copies': (Sidecar, 'keep_unsynced'),
    'beginning': (Sidecar, 'begin'),
    'staging': (Sidecar, 'apply'),
    'committing': (Sidecar, 'commit'),
}
WRITES: dict[str, Callable[[HnswDocumentIndex[Doc]], object]] = {
    'insert': lambda index: index.index(docs(20, 30)),
    'replace': lambda index: index.index(docs(0, 5, text='new', seed=1)),
    'update': lambda index: index.update('1', v=[9, 9, 9, 9]),
}


@pytest.mark.parametrize(('owner', 'name'), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES)
def test_a_write_that_fails_was_none(
    closed: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, write: Callable[[Any], object]
) -> None:
    """I7: when the disk refuses, memory and disk are as before, and the next write succeeds (D6)."""
    monkeypatch.setattr(unsynced, '_SMALL', 0 if name == 'sync_file' else unsynced._SMALL)
    with Index(work_dir=closed) as index:
        before = state(index)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, no_space)
            with pytest.raises(OSError, match='No space left'):
                write(index)
        assert state(index) == before
    with Index(work_dir=closed) as index:
        assert state(index) == before
        write(index)
        after = state(index)
        assert after != before
    with Index(work_dir=closed) as index:
        assert state(index) == after


@pytest.mark.parametrize('step', ['apply', 'commit'])
@pytest.mark.parametrize('write', [lambda index: index.delete('1'), lambda index: index.__delitem__(['1', '2'])])
def test_a_delete_that_fails_was_none(
    closed: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Any], object], step: str
) -> None:
    """I7: a delete that was not committed deleted nothing, in the graphs either (D3)."""
    with Index(work_dir=closed) as index:
        before = state(index)
        with monkeypatch.context() as patch:
            patch.setattr(Sidecar, step, no_space)
            with pytest.raises(OSError):
                write(index)
        assert state(index) == before


@pytest.mark.parametrize('name', ['write_at', 'sync_file'])
def test_a_full_disk_is_our_error(closed: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A write that the system refuses is a `WorkDirError`, as every error on purpose is a `DocIndexError`."""
    monkeypatch.setattr(unsynced, '_SMALL', 0)
    with Index(work_dir=closed) as index:
        monkeypatch.setattr(_files, name, no_space)
        with pytest.raises(WorkDirError, match='No space left') as raised:
            index.index(docs(20, 30))
        monkeypatch.undo()
        assert raised.value.path.startswith(str(closed))


@pytest.mark.parametrize(('small', 'secured'), [(1 << 20, ['keep']), (0, ['sync', 'sync'])])
def test_vectors_are_secured_before_the_commit(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch, small: int, secured: list[str]
) -> None:
    """I2: before SQLite commits what mentions rows it has copies of them; or files are synced, if these are many."""
    monkeypatch.setattr(unsynced, '_SMALL', small)
    keep = Sidecar.keep_unsynced
    done: list[str] = []
    write_at, sync, commit = _files.write_at, _files.sync_file, Sidecar.commit
    with Index(work_dir=work_dir) as index:
        monkeypatch.setattr(_files, 'write_at', lambda *given: (done.append('write'), write_at(*given)))
        monkeypatch.setattr(_files, 'sync_file', lambda fd: (done.append('sync'), sync(fd)))
        monkeypatch.setattr(Sidecar, 'commit', lambda *given: (done.append('commit'), commit(*given)))
        monkeypatch.setattr(Sidecar, 'keep_unsynced', lambda *given: (done.append('keep'), keep(*given)))
        index.index(docs(0, 3))
        assert done == ['write', 'write', *secured, 'commit', 'write', 'write']  # the last: how many commits


def test_committed_rows_are_never_written_again(work_dir: Path) -> None:
    """I3: what a vector file holds below the committed labels stays as it is under inserts, updates and deletes."""
    with Index(work_dir=work_dir) as index:
        index.index(docs())
        rows = vector_file(work_dir).read_bytes()[64:]
        index.index(docs(0, 10, seed=1))
        index.update('3', v=[0, 0, 0, 0])
        index.delete(['4', '5'])
        index.index(docs(4, 6, seed=2))
        assert vector_file(work_dir).read_bytes()[64:].startswith(rows)


def test_what_died_stays_dead(work_dir: Path) -> None:
    """I4: a label is never given twice; deleted documents stay so after reopening, and their ids can be used again."""
    with Index(work_dir=work_dir) as index:
        index.index(docs())
        index.delete(['3', '4'])
        assert index._store.state.labels.next == 20
        index.index(docs(3, 4, text='again', seed=5))
        assert index._store.state.labels.next == 21
    with Index(work_dir=work_dir) as index:
        assert (len(index), '4' in index, index['3'].text) == (19, False, 'again')
        assert '4' not in index.find(docs()[4].v, 'v', limit=20).documents.id
        assert index.find(docs(seed=5)[3].v, 'v', limit=1).documents.text == ['again']


def test_an_update_without_a_new_vector_is_no_work_for_the_graph(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no vector changed only SQLite is touched; one that did, -0.0 for 0.0 say, makes a new version."""
    with Index(work_dir=work_dir) as index:
        index.index([Doc(id='a', v=[0, 1, 2, 3]), Doc(id='b', v=[4, 5, 6, 7])])
        index.update('a', text='new')
        index.index(Doc(id='b', text='new', v=np.float16([4, 5, 6, 7])))
        assert index._store.state.labels.next == 2
        assert index[['a', 'b']].text == ['new', 'new']
        assert index['b'].v.dtype == np.float16
        index.update('a', v=[-0.0, 1, 2, 3])
        index.update('b', w=[1, 2, 3])
        assert index._store.state.labels.next == 4
        assert np.signbit(index['a'].v[0])


# -- damaged directories ---------------------------------------------------------------------------------------------


def test_debris_of_a_crash_is_written_over(closed: Path) -> None:
    """I1, I3: rows of vectors without a commit are nothing; the next documents take their places."""
    with Index(work_dir=closed) as index:
        before = state(index)
    with vector_file(closed).open('ab') as file:
        file.write(b'\x7f' * 1000)
    with Index(work_dir=closed) as index:
        assert state(index) == before
        index.index(docs(20, 80))
    with Index(work_dir=closed) as index:
        assert state(index)['count'] == 80
        np.testing.assert_array_equal(index['79'].v, docs(0, 80)[79].v)


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_emptied(path: Path) -> None:
    path.write_bytes(b'')


def damage_garbage(path: Path) -> None:
    path.write_bytes(b'garbage!' * (path.stat().st_size // 8))


def damage_swapped(path: Path) -> None:
    shutil.copyfile(vector_file(path.parent.parent, 'w'), path)


@pytest.mark.parametrize(
    'damage',
    [damage_missing, damage_truncated, damage_emptied, damage_garbage, damage_swapped],
    ids=lambda it: it.__name__,
)
def test_a_vector_file_that_is_not_whole_is_not_opened(closed: Path, damage: Callable[[Path], None]) -> None:
    """Vectors are the truth: without all of them the directory is refused, each time, and nothing is changed."""
    path = vector_file(closed)
    damage(path)
    before = path.read_bytes() if path.exists() else None
    for _ in range(2):
        with pytest.raises(CorruptIndexError) as raised:
            Index(work_dir=closed)
        assert raised.value.path == str(path)
        assert raised.value.hint
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_flipped_vector_is_never_returned(closed: Path) -> None:
    """A vector that is not what was stored raises when its document is read; others are read as before."""
    path = vector_file(closed)
    content = bytearray(path.read_bytes())
    content[64 + 7 * 20 + 2] ^= 1
    path.write_bytes(content)
    with Index(work_dir=closed) as index:
        np.testing.assert_array_equal(index['6'].v, docs()[6].v)
        with pytest.raises(CorruptIndexError, match='row 7'):
            index['7']
        with pytest.raises(CorruptIndexError, match='row 7'):
            index.find(docs()[7].v, 'v', limit=20)


@pytest.mark.parametrize('damage', [damage_missing, damage_emptied, damage_garbage], ids=lambda it: it.__name__)
def test_a_database_that_is_gone_is_noticed(closed: Path, damage: Callable[[Path], None]) -> None:
    """Without its SQLite file a directory with vectors is damaged, not new; the vectors stay."""
    vectors = vector_file(closed).read_bytes()
    damage(closed / 'documents.sqlite3')
    for _ in range(2):
        with pytest.raises(CorruptIndexError) as raised:
            Index(work_dir=closed)
        assert raised.value.path == str(closed / 'documents.sqlite3')
    assert vector_file(closed).read_bytes() == vectors


def test_a_database_cut_in_half_is_noticed(closed: Path) -> None:
    """A SQLite file that lost its end is refused or fails when read, never answers with less."""
    path = closed / 'documents.sqlite3'
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptIndexError), Index(work_dir=closed) as index:
        index.get(list(index))


def change_database(work_dir: Path, sql: str) -> None:
    connection = sqlite3.connect(work_dir / 'documents.sqlite3', isolation_level=None)
    assert connection.execute(sql).rowcount
    connection.close()


def test_a_flipped_document_is_never_returned(closed: Path) -> None:
    """A document that is not what was stored raises when it is read; others are read as before."""
    change_database(closed, 'UPDATE documents SET data = replace(data, \'"text":""\', \'"text":"x"\') WHERE id = \'7\'')
    with Index(work_dir=closed) as index:
        assert index['6'].text == ''
        for read in (lambda: index['7'], lambda: index.find(docs()[7].v, 'v')):
            with pytest.raises(CorruptIndexError, match='does not match its checksum'):
                read()


def test_a_document_under_another_id_is_never_returned(closed: Path) -> None:
    """`index[id]` never returns a document with another id than was asked for."""
    change_database(closed, "UPDATE documents SET id = 'seven' WHERE id = '7'")
    with Index(work_dir=closed) as index, pytest.raises(CorruptIndexError):
        index['seven']


def test_lost_documents_are_noticed(closed: Path) -> None:
    """Rows that disappeared from SQLite are noticed at opening."""
    change_database(closed, "DELETE FROM documents WHERE id = '7'")
    with pytest.raises(CorruptIndexError, match='19 documents where there should be 20'):
        Index(work_dir=closed)


def test_lost_commits_are_noticed(work_dir: Path) -> None:
    """I1: a write-ahead log that is gone takes acknowledged commits with it, and that is noticed."""
    index = Index(work_dir=work_dir)
    index.index(docs(0, 5))
    index.index(docs(5, 10))
    copy = work_dir.parent / 'copy'
    shutil.copytree(work_dir, copy)
    index.close()
    with Index(work_dir=work_dir.parent / 'other') as other:
        other.index(docs(0, 5))
    shutil.copyfile(work_dir.parent / 'other' / 'documents.sqlite3', copy / 'documents.sqlite3')
    (copy / 'documents.sqlite3-wal').unlink()
    with pytest.raises(CorruptIndexError, match='lost 1 of 2 commits'):
        Index(work_dir=copy)


def test_lost_commits_are_noticed_before_the_schema_changes(work_dir: Path) -> None:
    """What an opening with a new class would write is not counted for lost commits, nor over vectors of theirs."""

    class Grown(Doc):
        number: int = 0
        more: NdArray | None = Field(default=None, dim=4)

    with Index(work_dir=work_dir) as index:
        index.index(docs(0, 5))
    copy = work_dir.parent / 'copy'
    with HnswDocumentIndex[Grown](work_dir=work_dir) as index:
        index.index([Grown(**doc.__dict__, more=np.ones(4)) for doc in docs(5, 10)])
        shutil.copytree(work_dir, copy)
    for file in copy.glob('documents.sqlite3-*'):
        file.unlink()
    before = {path: path.read_bytes() for path in copy.rglob('*.*') if path.is_file()}
    for schema in (Grown, Doc, Grown):
        with pytest.raises(CorruptIndexError, match='lost 3 of 4 commits'):
            HnswDocumentIndex[schema](work_dir=copy)  # type: ignore[valid-type]
        assert {path: path.read_bytes() for path in before} == before


def test_a_newer_directory_is_refused(closed: Path) -> None:
    """A directory of a newer format is refused with what to do, and not changed."""
    change_database(closed, "UPDATE meta SET value = '99' WHERE key = 'format'")
    before = {path: path.read_bytes() for path in closed.rglob('*') if path.is_file()}
    with pytest.raises(FormatVersionError, match='upgrade docindex') as raised:
        Index(work_dir=closed)
    assert isinstance(raised.value, OSError)
    assert {path: path.read_bytes() for path in before if path.suffix in ('.f32', '.hnsw')}.items() <= before.items()


def test_a_refused_directory_is_free(closed: Path) -> None:
    """An opening that failed holds nothing: mended, the directory opens, in this process and in another."""
    path = vector_file(closed)
    path.rename(closed / 'aside')
    with pytest.raises(CorruptIndexError):
        Index(work_dir=closed)
    (closed / 'aside').rename(path)
    assert count_elsewhere(closed) == '20'
    with Index(work_dir=closed) as index:
        assert len(index) == 20


@pytest.mark.parametrize('left', ['nothing', 'vectors', 'empty database'])
def test_an_unfinished_creation_is_finished(work_dir: Path, left: str) -> None:
    """A crash while a directory was being made leaves no index; the next opening makes it."""
    with Index(work_dir=work_dir):
        pass
    if left != 'empty database':
        (work_dir / 'documents.sqlite3').unlink()
    else:
        (work_dir / 'documents.sqlite3').write_bytes(b'')
    if left == 'nothing':
        vector_file(work_dir).unlink()
    with Index(work_dir=work_dir) as index:
        index.index(docs())
        assert len(index) == 20


def test_the_files_of_a_user_are_left_alone(work_dir: Path) -> None:
    """A work directory may be anybody's current directory: nothing that is not the index's is removed."""
    theirs = ['etc/app.conf.new', 'graphs/mine.hnsw', 'vectors/mine.f32', 'notes.new', 'graphs/notes.txt']
    for name in theirs:
        (work_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (work_dir / name).write_text('mine')
    for at in range(2):
        with Index(work_dir=work_dir) as index:
            index.index(docs(at, at + 1))
    assert [name for name in theirs if (work_dir / name).exists()] == theirs


# -- growing and answering ---------------------------------------------------------------------------------------------


def test_a_tiny_capacity_grows(work_dir: Path) -> None:
    """From `max_elements=4` an index grows without a caller's attention, one by one and in a batch (D31)."""

    class Tiny(BaseDoc):
        v: NdArray[4] = Field(max_elements=4)

    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    with HnswDocumentIndex[Tiny](work_dir=work_dir) as index:
        for at in range(50):
            index.index(Tiny(id=str(at), v=vectors[at]))
        index.index([Tiny(id=str(at), v=vectors[at]) for at in range(50, 300)])
        index.delete([str(at) for at in range(0, 300, 2)])
    with HnswDocumentIndex[Tiny](work_dir=work_dir) as index:
        found = index.find_batched(vectors[1::2], limit=1).documents
        assert [docs[0].id for docs in found] == [str(at) for at in range(1, 300, 2)]


def test_a_graph_that_lags_is_completed_by_a_scan(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I5: what a graph does not cover yet is found by a scan, and both are merged by distance."""
    with Index(work_dir=closed) as index:
        monkeypatch.setattr(type(index._store.state.graphs), 'catch_up', lambda *given: None)
        index.index(docs(20, 30))
        index.delete('25')
        graph = index._store.state.graphs.get('v')
        assert graph is not None
        assert (graph.covered, index._store.state.labels.next) == (20, 30)
        for limit in (1, 5, 29, 100):
            found, exact = (index.find(np.ones(4), 'v', limit=limit, exact=exact) for exact in (False, True))
            assert found.documents.id == exact.documents.id
            np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5)


def test_a_short_answer_is_completed_by_a_scan(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a graph finds fewer than it should, a scan gives the rest, for the query that needs it (P9)."""
    with Index(work_dir=closed) as index:
        graph = index._store.state.graphs.get('v')
        assert graph is not None
        real = graph._index.knn_query

        class Short:
            """An hnswlib index that finds nothing near the first unit vector."""

            def __getattr__(self, name: str) -> Any:
                return getattr(hnsw, name)

            def knn_query(self, queries: Any, **more: Any) -> Any:
                if (queries[:, 0] == 1).any():
                    raise RuntimeError('Cannot return the results in a contiguous 2D array')
                return real(queries, **more)

        hnsw = graph._index
        monkeypatch.setattr(graph, '_index', Short())
        found = index.find_batched(np.eye(4), 'v', limit=3)
        monkeypatch.undo()
        exact = index.find_batched(np.eye(4), 'v', limit=3, exact=True)
        assert [each.id for each in found.documents] == [each.id for each in exact.documents]


def test_a_search_sees_no_label_without_its_row(work_dir: Path) -> None:
    """I8: while one thread replaces and deletes, searches in another only ever see whole documents."""
    errors: list[BaseException] = []
    with Index(work_dir=work_dir) as index:
        index.index(docs(0, 40))
        stop = threading.Event()

        def search() -> None:
            try:
                while not stop.is_set():
                    found, scores = index.find([0, 0, 0, 0], 'v', limit=10)
                    assert len(found) == len(scores) == len(set(found.id)) == 10
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for seed in range(1, 15):
            index.index(docs(0, 40, seed=seed))
            index.delete([str(at) for at in range(seed)])
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not errors


def test_every_error_of_opening_is_ours(closed: Path) -> None:
    """Whatever byte of SQLite's description is damaged, opening works or raises a `DocIndexError`."""
    for key in ('columns', 'settings', 'next_label', 'commits', 'generation', 'is_synced', 'levels', 'fields'):
        copy = closed.parent / key
        shutil.copytree(closed, copy)
        change_database(copy, f"UPDATE meta SET value = substr(value, 2) WHERE key = '{key}'")
        with pytest.raises(DocIndexError), Index(work_dir=copy):
            pass


def test_a_capacity_that_memory_refuses_changes_nothing(closed: Path) -> None:
    """I7: a setting that cannot be put in force is refused as a `DocIndexError`, and is not remembered."""
    with Index(work_dir=closed) as index:
        before = state(index)
        with pytest.raises(DocIndexError):
            index.configure(max_elements=1 << 40)
        assert index.settings('v')['max_elements'] == 1024
        assert state(index) == before


def test_graphs_follow_a_cleared_index(closed: Path) -> None:
    """When every document is deleted searches find nothing, and an index can be filled again."""
    with Index(work_dir=closed) as index:
        index.delete(list(index))
        assert (len(index), list(index)) == (0, [])
        assert index.find([0, 0, 0, 0], 'v').documents == []
        assert index.find([0, 0, 0], 'w', exact=True).scores.shape == (0,)
        assert isinstance(index._store.state.graphs.get('v'), Graph)
        index.index(docs(0, 3))
        assert sorted(index.find([0, 0, 0, 0], 'v').documents.id) == ['0', '1', '2']


def test_a_batch_that_sqlite_has_undone_is_none(closed: Path) -> None:
    """
    I1, I7: when a full disk makes SQLite undo a batch, nothing of it is stored, whatever comes after in the batch.

    SQLite rolls back the whole transaction by itself, and what was written next became a transaction of its own.
    """
    connection = sqlite3.connect(closed / 'documents.sqlite3', isolation_level=None)
    full = "BEFORE INSERT ON documents WHEN NEW.id = '25' BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END"
    connection.execute(f'CREATE TRIGGER full {full}')
    connection.close()
    with Index(work_dir=closed) as index:
        before = state(index)
        with pytest.raises(DocIndexError), index.batch():  # noqa: PT012 - by the last call, or at the end
            index.index(docs(20, 24))
            index.delete('3')
            with pytest.raises(WorkDirError, match='the disk is full'):
                index.index(docs(24, 30))
            index.index(docs(30, 32))
        assert state(index) == before
        index.index(docs(40, 45))
        after = state(index)
        assert after['count'] == 25
    with Index(work_dir=closed) as index:
        assert state(index) == after
        assert index.verify().is_sound
