"""
A power cut at any moment loses nothing that was acknowledged, whatever the disk did with what was not synced by then.

A program runs under strace (`strace`), which tells what it wrote and what it synced. From that follows what was not
synced in time (`power.audit`), and which directories a power cut may leave (`power.cuts`). Each of those is opened, and
must hold what was acknowledged.

DOCINDEX_POWER=1000 python -m pytest tests/crash/test_power.py cuts more often than the hundred times of a normal run,
and DOCINDEX_SEED=... repeats a run: the same cuts, and directories that are the same but for the salt in SQLite's log.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from docindex import CorruptIndexError, DocIndexError, HnswDocumentIndex
from docindex.testing import same
from tests.crash.agreement import check_agreement
from tests.crash.calls import WRITES, IllustratedPage, illustrate
from tests.crash.power import Cut, Disk, audit, cuts, without_syncs
from tests.crash.shelf import Shelf
from tests.crash.strace import (
    TOP,
    Event,
    Mark,
    Names,
    Recording,
    RecordingError,
    Resize,
    Sync,
    Write,
    obstacle,
    record,
)
from tests.crash.workload import LISTS, SPACES, Page, a_few_kinds, pages

CUTS = int(os.environ.get('DOCINDEX_POWER', '100'))
SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
LIVES = 3
CUTS_A_LIFE = 25
HISTORIES = -(-CUTS // (CUTS_A_LIFE * (LIVES + 1)))
HEADER = 64
"""Bytes of a vector file before its first row."""

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle())

BOTH_WAYS = """
from docindex.hnsw import unsynced
# Vectors here are short, and some writes are to be such as have their files synced.
unsynced._SMALL, unsynced._MOST = 600, 1500
"""
CALLS = (
    BOTH_WAYS
    + """
import sys
from pathlib import Path
from tests.crash.agreement import check_agreement
from tests.crash.calls import work
work(*map(Path, sys.argv[1:]))
"""
)
FORGETFUL = {
    'sync_file': 'from docindex import _files\n_files.sync_file = lambda fd: None\n',
    'sync_directory': 'from docindex import _files\n_files.sync_directory = lambda path: None\n',
}
"""What makes docindex forget to sync."""
LIFE = (
    BOTH_WAYS
    + """
import sqlite3, sys
from pathlib import Path
from tests.crash.workload import a_few_kinds, work

# After so many pages SQLite folds its log into the database and begins it again. After 1000 of them would be too late.
def connect(*arguments, connect=sqlite3.connect, **named):
    connection = connect(*arguments, **named)
    connection.execute('PRAGMA wal_autocheckpoint = 10')
    return connection

sqlite3.connect = connect
work(Path(sys.argv[1]), a_few_kinds(int(sys.argv[2])))
"""
)


def recorded(path: Path, code: str) -> Recording:
    path.mkdir()
    return record(path, code, path / 'index', path / 'copy')


@pytest.fixture(scope='module')
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """What `calls` does."""
    return recorded(tmp_path_factory.mktemp('power') / 'disk', CALLS)


@pytest.fixture(scope='module', params=FORGETFUL)
def forgetful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """What `calls` does with a docindex that forgets to sync."""
    return recorded(tmp_path_factory.mktemp('forgetful') / 'disk', FORGETFUL[request.param] + CALLS)


def states() -> list[Shelf]:
    """Return what is stored before the first line that `calls` prints, and after each."""
    found: list[Shelf] = [Shelf(SPACES), Shelf(SPACES)]
    for write in WRITES.values():
        found.append(found[-1].copy())
        write(found[-1])
    found += [found[-1], found[-1], illustrated(found[-1])]  # copied, closed, opened with another field
    found.append(found[-1].copy())
    illustrate(found[-1])
    return [*found, found[-1]]


def illustrated(state: Shelf) -> Shelf:
    """Return the same documents with the field that was added to the schema."""
    later: Shelf = Shelf({**SPACES, 'cover': 'ip'})
    later.index(IllustratedPage(**dict(doc)) for doc in state.docs.values())
    return later


# -- whether the instruments are right -------------------------------------------------------------------


@pytest.mark.parametrize(
    'code',
    [
        'os.link(path, path + "2")',
        'os.symlink(path, path + "2")',
        'os.truncate(path, 2)',
        'os.mkdir(path + "2"); os.rmdir(path + "2")',
        'os.mkdir(path + "2"); os.rename(path + "2", path + "3")',
        'os.chdir(os.path.dirname(path)); os.unlink("file")',
        'mmap.mmap(file.fileno(), 0)[0:1] = b"x"',
        'os.fork() == 0 and os._exit(0)',
        'os.posix_fallocate(file.fileno(), 0, 100)',
        'file.seek(0); os.sendfile(file.fileno(), os.open("/etc/passwd", os.O_RDONLY), 0, 10)',
        'os.pwritev(file.fileno(), [b"x"], 0)',
    ],
)
def test_what_the_recorder_does_not_know_is_an_error(tmp_path: Path, code: str) -> None:
    """A change to a file in a way that `strace` does not follow is an error, and not overlooked."""
    (tmp_path / 'disk').mkdir()
    setting = 'import mmap, os, sys; path = sys.argv[1]; file = open(path, "w+b", 0); file.write(b"content")\n'
    record(tmp_path / 'disk', setting, tmp_path / 'disk' / 'file')
    (tmp_path / 'disk' / 'file').unlink()
    with pytest.raises(RecordingError):
        record(tmp_path / 'disk', setting + code, tmp_path / 'disk' / 'file')


OLD, NEW, ZERO = (letter * 512 for letter in (b'o', b'n', b'\0'))
THERE: list[Event] = [Names('', TOP, {'a': 1}), Write('a', 1, 0, OLD + OLD), Sync('a', 1), Sync('', TOP)]
NEW_B: list[Event] = [Names('', TOP, {'b': 2}), Write('b', 2, 0, NEW), Sync('b', 2)]
B_TO_A = Names('', TOP, {'b': None, 'a': 2})
LEFT: dict[str, tuple[list[Event], list[dict[str, bytes]]]] = {
    'nothing': ([], [{'a': OLD + OLD}]),
    'a write': (
        [Write('a', 1, 0, NEW + NEW)],
        [{'a': OLD + OLD}, {'a': OLD + NEW}, {'a': NEW + OLD}, {'a': NEW + NEW}],
    ),
    'a write, synced': ([Write('a', 1, 0, NEW), Sync('a', 1)], [{'a': NEW + OLD}]),
    'two writes into a sector': (
        [Write('a', 1, 0, NEW[:1]), Write('a', 1, 1, NEW[:1])],
        [{'a': new + OLD[len(new) :] + OLD} for new in (b'', NEW[:1], NEW[:2])],
    ),
    'a write at the end': (
        [Write('a', 1, 1024, NEW)],
        [{'a': OLD + OLD}, {'a': OLD + OLD + ZERO}, {'a': OLD + OLD + NEW}],
    ),
    'a cut and a write': (
        [Resize('a', 1, 0), Write('a', 1, 0, NEW)],
        [{'a': content} for content in (OLD + OLD, NEW + OLD, b'', ZERO, NEW)],
    ),
    'a creation': (NEW_B, [{'a': OLD + OLD}, {'a': OLD + OLD, 'b': NEW}]),
    'a creation, synced': ([*NEW_B, Sync('', TOP)], [{'a': OLD + OLD, 'b': NEW}]),
    'a creation and a renaming': ([*NEW_B, B_TO_A], [{'a': OLD + OLD}, {'a': OLD + OLD, 'b': NEW}, {'a': NEW}]),
    'a renaming, without a sync before': ([*NEW_B[:-1], B_TO_A, Sync('', TOP)], [{'a': b''}, {'a': ZERO}, {'a': NEW}]),
    'two removals': (
        [*NEW_B, Sync('', TOP), Names('', TOP, {'a': None}), Names('', TOP, {'b': None})],
        [{}, {'a': OLD + OLD}, {'b': NEW}, {'a': OLD + OLD, 'b': NEW}],
    ),
    'a file that is synced, in a directory that is not': (
        [Names('', TOP, {'d': 2}), Names('d', 2, {'d/f': 3}), Write('d/f', 3, 0, NEW), Sync('d/f', 3), Sync('d', 2)],
        [{'a': OLD + OLD}, {'a': OLD + OLD, 'd/f': NEW}],
    ),
}


@pytest.mark.parametrize(('events', 'expected'), LEFT.values(), ids=LEFT)
def test_a_power_cut_leaves_all_that_it_may_and_nothing_else(
    tmp_path: Path, events: list[Event], expected: list[dict[str, bytes]]
) -> None:
    """What was not synced may be there, or in part, or not; what was synced is there; and each of it happens."""
    disk = Disk(Recording([*THERE, *events], {TOP, *(event.node for event in events if isinstance(event, Names))}))
    disk.advance(len(THERE) + len(events))
    found = set()
    for seed in range(200):
        path = tmp_path / str(seed)
        disk.cut_power(Random(seed), path)
        files = [file for file in path.rglob('*') if file.is_file()]
        found.add(frozenset((file.relative_to(path).as_posix(), file.read_bytes()) for file in files))
    assert found == {frozenset(left.items()) for left in expected}


# -- what was not synced in time ------------------------------------------------------------------------


def test_when_a_call_returns_what_it_wrote_is_synced(recording: Recording) -> None:
    """What a call has written is on the disk when it returns, names too, and got there in the right order (I2, I6)."""
    complaints = audit(recording)
    assert not complaints, '\n'.join(complaints[:20])
    syncs = Counter[str]()
    call = ''
    for event in reversed(recording.events[recording.start :]):
        call = event.text if isinstance(event, Mark) else call
        syncs[call] += isinstance(event, Sync)
    assert len(syncs) == len(states()) - 1
    assert all(syncs.values()), f'a call that syncs nothing proves nothing: {syncs}'


def test_forgetting_to_sync_is_noticed(forgetful: Recording) -> None:
    """A docindex that does not sync its files, or the names in its directories, does not pass the audit."""
    complaints = audit(forgetful)
    assert any('vectors' in complaint for complaint in complaints)
    assert any('graphs' in complaint for complaint in complaints)


@pytest.mark.parametrize(
    'path',
    [
        *('', 'index', 'index/vectors', 'index/graphs', 'copy', 'copy/vectors', 'copy/graphs'),
        *('index/documents.sqlite3', 'index/documents.sqlite3-wal', 'copy/documents.sqlite3.new'),
        *('index/vectors/text.0.f32', 'index/vectors/text.1.f32', 'index/vectors/*.new', 'copy/vectors/*.new'),
        *('index/graphs/text.*.new', 'copy/graphs/*.new'),
    ],
)
def test_one_missing_sync_is_noticed(recording: Recording, path: str) -> None:
    """What does not sync one of its files or directories does not pass the audit."""
    assert audit(without_syncs(recording, path))


# -- what a power cut leaves ----------------------------------------------------------------------------


def test_a_power_cut_during_any_call_leaves_before_or_after(recording: Recording, tmp_path: Path) -> None:
    """A power cut leaves what the calls that returned have made, and of the next one all or nothing."""
    check_calls(cuts(recording, SEED, HISTORIES * CUTS_A_LIFE, tmp_path / 'left'))


@pytest.mark.parametrize('history', range(HISTORIES))
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, history: int) -> None:
    """
    After a power cut all that was acknowledged is there, by id and by search, and nothing else; a batch whole or not.

    The next process goes on with what one of the cuts has left, so that recovering is interrupted as well (I1 to I6).
    """
    oracle: Shelf = Shelf(SPACES)
    disk = tmp_path / 'life 0'
    disk.mkdir()
    for life in range(LIVES):
        print(f'history {history}, life {life}')
        seed = SEED + 1000 * history + life
        after = after_each_step(seed, oracle)
        heir = Random(seed).randrange(CUTS_A_LIFE)
        left = cuts(record(disk, LIFE, disk / 'index', seed), seed, CUTS_A_LIFE, tmp_path / 'left')
        disk = tmp_path / f'life {life + 1}'
        for number, cut in enumerate(left):
            announce(cut)
            if number == heir:
                shutil.copytree(cut.path, disk)
            done, begun = (sum(line.startswith(word) for line in cut.said) for word in ('done', 'begin'))
            found = check(cut.path / 'index', Page, [after[done], after[begun]])
            if number == heir:
                oracle = found


@pytest.mark.parametrize('path', ['index/documents.sqlite3', '*-wal', '*/text.0.f32', 'index/vectors'])
def test_a_disk_that_does_not_sync_loses_something(recording: Recording, tmp_path: Path, path: str) -> None:
    """If a file or a directory were not synced, some power cut would lose something, and that is noticed."""
    with pytest.raises((AssertionError, DocIndexError)):
        check_calls(cuts(without_syncs(recording, path), 1, 200, tmp_path / 'left'))


def test_a_docindex_that_does_not_sync_loses_something(forgetful: Recording, tmp_path: Path) -> None:
    """If docindex did not sync files, or directories, some power cut would lose something, and that is noticed."""
    with pytest.raises((AssertionError, DocIndexError)):
        check_calls(cuts(forgetful, 1, 200, tmp_path / 'left'))


def test_graph_files_need_no_sync(recording: Recording, tmp_path: Path) -> None:
    """Whatever a power cut makes of the files of graphs, nothing is lost and no answer is wrong (I5, I6)."""
    check_calls(cuts(without_syncs(recording, '*/graphs*'), SEED, CUTS_A_LIFE, tmp_path / 'left'))


def announce(cut: Cut) -> None:
    print(f'seed {SEED}: power cut after {cut.position} events, after {cut.said[-1:]}, before {cut.before}')


def after_each_step(seed: int, state: Shelf) -> list[Shelf]:
    """Return what `LIFE` has stored before its first step, and after each."""
    found = [state]
    for make_step in a_few_kinds(seed):
        found.append(found[-1].copy())
        make_step(found[-1]).apply(found[-1])
    return found


def check_calls(left: Iterable[Cut]) -> None:
    """Assert that whatever is left of `calls` holds what they have made, in the directory and in its copy."""
    foretold = states()
    for cut in left:
        announce(cut)
        allowed = foretold[len(cut.said) :][:2]
        if 'close' in cut.said:
            check(cut.path / 'index', IllustratedPage, [illustrated(state) for state in allowed])
        else:
            check(cut.path / 'index', Page, allowed)
        check_copy(cut.path / 'copy', foretold[len(WRITES) + 1], 'backup' in cut.said)


def check_copy(copy: Path, original: Shelf, is_acknowledged: bool) -> None:
    """Assert that a copy is complete, if it was acknowledged or is an index; else that it does not pass for one."""
    if is_acknowledged or (copy / 'documents.sqlite3').exists():
        check(copy, Page, [original])
    elif any(file.stat().st_size > HEADER for file in copy.glob('vectors/*.f32')):
        with pytest.raises(CorruptIndexError):
            HnswDocumentIndex[Page](work_dir=copy)


def check(path: Path, doc_type: type[Page], allowed: list[Shelf]) -> Shelf:
    """Assert that a directory holds one of these states, whole, and that an index goes on from there; return which."""
    if doc_type is Page and allowed[0].docs:  # before a writer comes, who puts back what is lost
        with HnswDocumentIndex[Page](path, read_only=True) as reader:
            assert any(holds(reader, state) for state in allowed)
    with HnswDocumentIndex[doc_type](work_dir=path) as index:  # type: ignore[valid-type]
        found = next((state for state in allowed[:-1] if holds(index, state)), allowed[-1])
        found.check_all(index)
        check_agreement(index, found.docs, lists=LISTS)
        report = index.verify()
        assert report.is_sound, str(report)
        later = found.copy()
        docs = [doc_type(**dict(page)) for page in pages([*list(found.docs)[:1], 'later'], 1000, Random(0))]
        for store in (index, later):
            store.index(docs)
    with HnswDocumentIndex[doc_type](work_dir=path) as index:  # type: ignore[valid-type]
        later.check_all(index)
        check_agreement(index, later.docs, lists=LISTS)
    return found


def holds(index: HnswDocumentIndex[Any], state: Shelf) -> bool:
    """Return whether an index has just these documents."""
    return set(index) == set(state.docs) and all(same(index[id_], doc) for id_, doc in state.docs.items())
