"""Vectors that only the kernel has, copies of which went into their commit: after a power cut they are there (I2)."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, CorruptIndexError, Field, HnswDocumentIndex, NdArray, _files
from docindex.hnsw import unsynced
from docindex.hnsw.sidecar import Sidecar
from docindex.testing import same
from tests.crash.strace import Mark, Sync, obstacle, record

HEADER, STRIDE = 64, 4 * 4 + 4
FILE = 'vectors/v.0.f32'


class Word(BaseDoc):
    v: NdArray = Field(dim=4)
    w: NdArray | None = Field(default=None, dim=3)


Words = HnswDocumentIndex[Word]


def words(start: int, stop: int, seed: int = 0) -> list[Word]:
    numbers = np.random.default_rng(seed).normal(size=(stop, 4)).astype(np.float32)
    return [Word(id=str(n), v=numbers[n], w=numbers[n][:3] if n % 2 else None) for n in range(start, stop)]


def copies(path: Path) -> list[tuple[str, int, bytes]]:
    """Return the copies of rows that a directory has."""
    with closing(sqlite3.connect(path / 'documents.sqlite3')) as connection:
        return connection.execute('SELECT field, label, row FROM unsynced ORDER BY size').fetchall()


def change(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path / 'documents.sqlite3', isolation_level=None)) as connection:
        connection.execute(sql, values)


def row(path: Path, label: int) -> bytes:
    return (path / FILE).read_bytes()[HEADER + label * STRIDE :][:STRIDE]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each sync of a file."""
    done: list[int] = []
    sync = _files.sync_file
    monkeypatch.setattr(_files, 'sync_file', lambda fd: (done.append(fd), sync(fd)))
    return done


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a process leaves that is killed: five words synced, five more with copies, of which one died."""
    with Words(tmp_path / 'life') as index:
        index.index(words(0, 5))
    with Words(tmp_path / 'life') as index:
        index.index(words(5, 8))
        index.index(words(8, 10))
        index.delete('9')
        shutil.copytree(tmp_path / 'life', tmp_path / 'left')
    assert [(field, label) for field, label, _ in copies(tmp_path / 'left')] == [
        (field, label) for labels in ((5, 6, 7), (8, 9)) for field in 'vw' for label in labels
    ]
    return tmp_path / 'left'


def holds_all(index: Any, exact: bool = True) -> None:
    """Assert that an index has the words of `left`, by id, by search and by a walk along all."""
    docs = words(0, 9)
    assert list(index) == [doc.id for doc in docs]
    assert all(same(found, doc) for found, doc in zip(index.get(list(index)), docs, strict=True))
    for doc in docs:
        for exactly in (True, False):
            assert index.find(doc.v, 'v', limit=1, exact=exactly).documents.id == [doc.id]
    assert all(index.find(doc.w, 'w', limit=1).documents.id == [doc.id] for doc in docs if doc.w is not None)
    assert index.verify().is_sound


def cut_off(path: Path) -> None:
    for name, stride in (('v', 20), ('w', 16)):
        file = path / f'vectors/{name}.0.f32'
        file.write_bytes(file.read_bytes()[: HEADER + 5 * stride])


def cut_in_the_middle(path: Path) -> None:
    file = path / FILE
    file.write_bytes(file.read_bytes()[: HEADER + 6 * STRIDE + 7])


def zeros(path: Path) -> None:
    file = path / FILE
    content = bytearray(file.read_bytes())
    content[HEADER + 5 * STRIDE : HEADER + 7 * STRIDE] = bytes(2 * STRIDE)
    file.write_bytes(content)


def another_vector(path: Path) -> None:
    """What a transaction that was rolled back has written there, as sound as the right one."""
    with Words(path.with_name('other')) as index:
        index.index(words(0, 7, seed=7))
    file = path / FILE
    content = bytearray(file.read_bytes())
    content[HEADER + 6 * STRIDE : HEADER + 7 * STRIDE] = row(path.with_name('other'), 6)
    file.write_bytes(content)


LOSSES: dict[str, Callable[[Path], object]] = {
    'nothing': lambda path: None,
    'the end of the files': cut_off,
    'the end from the middle of a row on': cut_in_the_middle,
    'rows in the middle': zeros,
    'a row, and an older one is there': another_vector,
}
_LOSSES = pytest.mark.parametrize('lose', LOSSES.values(), ids=LOSSES)


# -- writing -------------------------------------------------------------------------------------------------


def test_a_small_write_syncs_no_vector_file(left: Path, synced: list[int]) -> None:
    """I2: vectors of a small write are in its commit, as they stand in their files, and no file is waited for."""
    with Words(left) as index:
        index.index(words(10, 12))
        with index.batch():
            index.index(words(12, 13))
            index.index(words(13, 14))
        index.update('1', w=None)
        assert synced == []
        assert {(field, label) for field, label, _ in copies(left)} >= {(f, n) for f in 'vw' for n in range(10, 15)}
        assert all(kept == row(left, label) for field, label, kept in copies(left) if field == 'v')


@pytest.mark.parametrize(('limit', 'size'), [('_SMALL', 2 * 36 - 1), ('_MOST', 7 * 36 - 1)])
def test_a_large_write_syncs_instead(
    left: Path, monkeypatch: pytest.MonkeyPatch, synced: list[int], limit: str, size: int
) -> None:
    """I2: many vectors, or so many copies, have their files synced; the copies of all that was written go with that."""
    with Words(left) as index:
        monkeypatch.setattr(unsynced, limit, size)
        index.index(words(10, 11))
        assert (len(synced), len(copies(left))) == (0, 12)
        index.index(words(11, 13))
        assert (len(synced), len(copies(left))) == (2, 0)
        index.index(words(13, 14))
        assert (len(synced), len(copies(left))) == (2, 2)


def test_a_large_write_syncs_what_other_fields_have_copies_of(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: copies go only if the files are synced that they are of, and not just those that a write adds to."""
    with Words(left) as index:
        done: list[str] = []
        for name, file in index._store.state.files.items():
            monkeypatch.setattr(file, 'sync', lambda name=name: done.append(name))
        unsynced.secure(index._store._sidecar, index._store.state.files, [])
        assert done == []
        unsynced.settle(index._store._sidecar, index._store.state.files)
        assert done == ['v', 'w']
        assert copies(left) == []
        unsynced.settle(index._store._sidecar, index._store.state.files)
        assert done == ['v', 'w']


class UndoneError(Exception):
    pass


def test_what_is_undone_leaves_no_copy(left: Path) -> None:
    """A batch that is undone leaves no copies; a call in it that fails leaves none of its own."""
    before = copies(left)
    with Words(left) as index:
        with suppress(UndoneError), index.batch():
            index.index(words(10, 12))
            raise UndoneError
        assert copies(left) == before
        with index.batch():
            index.index(words(20, 21))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Sidecar, 'apply', _full)
                with pytest.raises(OSError, match='No space'):
                    index.index(words(30, 33))
            index.index(words(21, 22))
        assert [label for _, label, _ in copies(left)[len(before) :]] == [10, 10, 11, 11]
        assert index.get(['20', '21']).id == ['20', '21']


def test_a_sync_that_failed_is_not_taken_for_one(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: what the kernel has dropped after a failing sync is written once more before the next one counts."""
    whole = (left / FILE).read_bytes()[HEADER:]
    with Words(left) as index:
        monkeypatch.setattr(unsynced, '_SMALL', 0)

        def failing(fd: int) -> None:
            zeros(left)
            raise OSError(5, 'Input/output error')

        with monkeypatch.context() as patch:
            patch.setattr(_files, 'sync_file', failing)
            with pytest.raises(OSError, match='Input/output'):
                index.index(words(10, 12))
        assert row(left, 5) == bytes(STRIDE)
        assert copies(left)
        index.index(words(10, 12))
        assert (copies(left), (left / FILE).read_bytes()[HEADER:][: len(whole)]) == ([], whole)


def test_compaction_forgets_copies(left: Path) -> None:
    """I2: the files of a compaction are synced and have other labels, so its commit forgets the copies."""
    with Words(left) as index:
        index.compact()
        assert copies(left) == []
        holds_all(index)
        index.index(words(20, 21))
        assert [(field, label) for field, label, _ in copies(left)] == [('v', 9), ('w', 9)]


def test_closing_syncs(left: Path, synced: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """Who closes a directory leaves vector files that are complete by themselves; if they cannot be synced, copies."""
    with Words(left):
        pass
    assert (len(synced) >= 2, copies(left)) == (True, [])
    with Words(left) as index, caplog.at_level(logging.ERROR, 'docindex'):
        index.index(words(10, 11))
        kept = copies(left)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sidecar, 'record_synced', _full)
            index.close()
    assert 'could not be synced' in caplog.text
    assert copies(left) == kept


def _full(*given: object) -> None:
    raise OSError(28, 'No space left on device')


def test_shared_writers_leave_copies(left: Path, synced: list[int]) -> None:
    """A command that stores one document and ends does not wait for vector files; the next one has its copies."""
    for number in (10, 11):
        with Words(left, shared_writes=True) as index:
            index.index(words(number, number + 1))
    assert (synced, [label for field, label, _ in copies(left) if field == 'v']) == ([], [5, 6, 7, 8, 9, 10, 11])
    cut_off(left)
    with Words(left, shared_writes=True) as index:
        assert index.get(['10', '11']).id == ['10', '11']
        assert np.array_equal(index['11'].v, words(11, 12)[0].v)


def test_without_syncs_there_are_no_copies(left: Path) -> None:
    """With `durability='process'` nothing is copied; copies from before it stay until files are synced."""
    before = copies(left)
    with Words(left, durability='process') as index:
        index.index(words(10, 11))
    assert copies(left) == before
    with Words(left):
        pass
    assert copies(left) == []


@pytest.mark.skipif(bool(obstacle()), reason=obstacle())
def test_a_small_write_waits_for_the_disk_once(tmp_path: Path) -> None:
    """Storing a document is one sync, of SQLite's log, as the system calls say; so is replacing one."""
    code = (
        'import sys\n'
        'from random import Random\n'
        'from tests.crash.workload import open_index, pages\n'
        'with open_index(sys.argv[1]) as index:\n'
        '    for step, said in enumerate(["ready", "stored", "replaced"]):\n'
        '        index.index(pages(["a page" if step else "another"], step, Random(0)))\n'
        '        print(said, flush=True)\n'
    )
    (tmp_path / 'disk').mkdir()
    events = record(tmp_path / 'disk', code, tmp_path / 'disk' / 'index').events
    for start, stop in (('ready', 'stored'), ('stored', 'replaced')):
        between = events[events.index(Mark(start)) : events.index(Mark(stop))]
        assert [event.path for event in between if isinstance(event, Sync)] == ['index/documents.sqlite3-wal']


# -- after a power cut -----------------------------------------------------------------------------------------


@_LOSSES
@pytest.mark.parametrize('shared_writes', [False, True])
def test_what_a_power_cut_took_is_put_back(left: Path, lose: Callable[[Path], object], shared_writes: bool) -> None:
    """I2: who opens a directory for writing puts back the rows that its vector files lack or have otherwise."""
    whole = (left / FILE).read_bytes()[HEADER:]
    lose(left)
    with Words(left, shared_writes=shared_writes) as index:
        assert (left / FILE).read_bytes()[HEADER:] == whole
        holds_all(index)
        index.index(words(20, 22))
    with Words(left) as index:
        assert index.get(['20', '21']).id == ['20', '21']
        index.delete(['20', '21'])
        holds_all(index)


@_LOSSES
def test_a_reader_sees_what_a_power_cut_took(left: Path, lose: Callable[[Path], object]) -> None:
    """I2: before a writer has come, readers see the copies, in all threads, and leave the files as they are."""
    lose(left)
    files = {path: path.read_bytes() for path in left.glob('vectors/*')}
    with Words(left, read_only=True) as reader:
        holds_all(reader)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(holds_all, [reader] * 8))
        assert reader.export(left.with_name('words.jsonl')) == 9
        assert {path: path.read_bytes() for path in left.glob('vectors/*')} == files
        with Words(left) as writer:
            holds_all(reader)
            writer.index(words(20, 40))
            assert reader.find(words(20, 40)[7].v, 'v', limit=1).documents.id == ['27']
            writer.delete([str(n) for n in range(20, 40)])
            writer.compact()
            holds_all(reader)
        holds_all(reader)


def test_readers_do_not_lose_what_they_see_to_the_kernel(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages in which a reader sees copies are not given back, whatever the size of the file."""
    monkeypatch.setattr('docindex.hnsw.vectors._KEPT_ROWS', 2)
    monkeypatch.setattr('docindex.hnsw.vectors._SMALL', 0)
    zeros(left)
    with Words(left, read_only=True) as reader:
        for _ in range(3):
            holds_all(reader)


def test_putting_back_can_be_cut_short(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: a process that dies, or a disk that fails, while rows are put back leaves copies for the next opening."""
    cut_off(left)
    write_at, calls = _files.write_at, 0

    def half(fd: int, content: memoryview, offset: int) -> None:
        nonlocal calls
        calls += 1
        write_at(fd, content[: len(content) // 2], offset)
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(_files, 'write_at', half)
        with pytest.raises(OSError, match='No space'):
            Words(left)
    assert calls == 1
    with Words(left) as index:
        holds_all(index)


def test_a_new_space_looks_at_what_a_power_cut_took(left: Path) -> None:
    """A change of the space is checked against all vectors, those included that only copies have."""

    class Other(BaseDoc):
        v: NdArray = Field(dim=4, space='l2')
        w: NdArray | None = Field(default=None, dim=3)

    cut_off(left)
    with HnswDocumentIndex[Other](left) as index:
        assert index.find(words(7, 8)[0].v, 'v', limit=1, exact=True).scores[0] == 0


# -- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('sql', 'values'),
    [
        ("UPDATE unsynced SET row = zeroblob(20) WHERE field = 'v'", ()),
        ("UPDATE unsynced SET row = x'00' WHERE field = 'v'", ()),
        ("UPDATE unsynced SET row = 'text'", ()),
        ('UPDATE unsynced SET label = label + 1', ()),
        ("UPDATE unsynced SET field = 'x'", ()),
        ("UPDATE unsynced SET field = 'w' WHERE field = 'v'", ()),
        *[("INSERT INTO unsynced VALUES (9999, 'v', ?, zeroblob(20))", (label,)) for label in (-1, 10, 1 << 40)],
    ],
)
def test_damaged_copies_change_nothing(left: Path, sql: str, values: tuple[object, ...]) -> None:
    """A copy that does not match its checksum, its label or its field is put nowhere, and costs no opening."""
    change(left, sql, *values)
    before = (left / FILE).read_bytes()[HEADER:]
    with Words(left) as index:
        index.index(words(20, 21))
        assert (left / FILE).read_bytes()[HEADER:][: len(before)] == before
        assert index.find(words(7, 8)[0].v, 'v', limit=1).documents.id == ['7']
    with Words(left) as index:
        index.delete('20')
        holds_all(index)


def test_verify_compares_copies(left: Path) -> None:
    """`verify` names the vectors whose copies are damaged, or not what is in the file, and puts the latter back."""
    with Words(left) as index:
        change(left, "UPDATE unsynced SET row = zeroblob(20) WHERE field = 'v' AND label = 7")
        another_vector(left)
        problems = {(problem.id, problem.message.split(',')[0]) for problem in index.verify().problems}
        assert {
            ('7', 'the copy of its vector'),
            ('6', 'its vector is not the one that SQLite has a copy of'),
        } <= problems
        assert [problem.id for problem in index.verify(repair=True).problems if problem.is_mended] == ['6']
        assert [problem.id for problem in index.verify().problems] == ['7']
    with Words(left) as index:
        holds_all(index)


def test_damage_without_copies_is_told(left: Path) -> None:
    """A vector that was synced, and has no copy any more, is damaged if the file has it otherwise."""
    with Words(left):
        pass
    zeros(left)
    with Words(left) as index, pytest.raises(CorruptIndexError):
        index['5']
