"""
What `durability='process'` promises: nothing acknowledged is lost with the process, and a power cut loses only the end.

After a power cut the directory opens. What is there is what had been acknowledged up to some moment; documents from
shortly before it may be damaged, and are then reported and never returned. What a compaction has written stays.

DOCINDEX_POWER=1000 and DOCINDEX_KILLS=100 cut and kill more often, and DOCINDEX_SEED=... repeats a run, as in
`test_power` and `test_kill`.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from docindex import BaseDoc, CorruptIndexError, Field, HnswDocumentIndex, NdArray, SettingsError
from docindex.testing import same
from tests import programs
from tests.crash.power import Cut, cuts, without_syncs
from tests.crash.shelf import Shelf
from tests.crash.strace import Recording, obstacle, record
from tests.crash.unsynced import UndoneError, plan
from tests.crash.workload import SPACES, Page, Step, pages

CUTS = int(os.environ.get('DOCINDEX_POWER', '100'))
KILLS = int(os.environ.get('DOCINDEX_KILLS', '6'))
SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
KILLS_A_DIRECTORY = 3
CUTS_A_LIFE = 25
LIVES = 3

needs_strace = pytest.mark.skipif(bool(obstacle()), reason=obstacle())

KILLED = """
import sys
from pathlib import Path
from docindex import HnswDocumentIndex
from tests.crash import workload
workload.open_index = lambda path: HnswDocumentIndex[workload.Page](path, durability='process')
workload.work(Path(sys.argv[1]), workload.endless(int(sys.argv[2])))
"""
LIVING = """
import sqlite3, sys
from pathlib import Path
from tests.crash.unsynced import live

# After so many pages SQLite folds its log into the database and begins it again. After 1000 of them would be too late.
def connect(*arguments, connect=sqlite3.connect, **named):
    connection = connect(*arguments, **named)
    connection.execute('PRAGMA wal_autocheckpoint = 10')
    return connection

sqlite3.connect = connect
live(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
"""


class Word(BaseDoc):
    text: str = ''
    vector: NdArray = Field(dim=4)


Words = HnswDocumentIndex[Word]


def word(id_: str, value: float) -> Word:
    return Word(id=id_, vector=np.full(4, value, np.float32))


# -- what a life is to store --------------------------------------------------------------------------------


@dataclass
class History:
    """
    What a life is to store.

    Attributes:
        states: What is stored before the first step, and after each.
        kinds: Of what kind each step is.
    """

    states: list[Shelf]
    kinds: list[str]

    @classmethod
    def of(cls, seed: int, state: Shelf) -> History:
        history = cls([state], [])
        for make_step in plan(seed):
            history.states.append(history.states[-1].copy())
            step = make_step(history.states[-1])
            step.apply(history.states[-1])
            history.kinds.append(step.kind)
        return history

    def check_all(self, left: Iterable[Cut]) -> None:
        """Check each cut."""
        for cut in left:
            self.check(cut)

    def check(self, cut: Cut) -> Shelf:
        """Assert that a power cut has left what it may, that it heals, and return what is there then."""
        done, begun = (sum(line.startswith(word) for line in cut.said) for word in ('done', 'begin'))
        synced = max((at + 1 for at, kind in enumerate(self.kinds[:done]) if kind == 'compact'), default=0)
        is_strict = 'power' in cut.said
        if is_strict:
            synced = done
        path = cut.path / 'index'
        with HnswDocumentIndex[Page](path, durability='process') as index:
            damaged = unreadable(index)
            fitting = [
                at
                for at in range(synced, begun + 1)
                if set(index) == set(self.states[at].docs)
                and all(same(index[id_], doc) for id_, doc in self.states[at].docs.items() if id_ not in damaged)
            ]
            assert fitting, f'{done} steps were acknowledged, {synced} are sure; what is there is none of them'
            found = searched(index, [self.states[at] for at in fitting], damaged).copy()
            lasting = {id_ for id_, doc in self.states[synced].docs.items() if found.docs.get(id_) is doc}
            assert not damaged & lasting, 'what a compaction has written is damaged'
            assert not (damaged and is_strict)
            report = index.verify()
            problems = [problem for problem in report.problems if not problem.is_mended]
            assert {root_of(problem.id) for problem in problems} == damaged, str(report)
            heal(index, found, sorted(damaged))
        with HnswDocumentIndex[Page](path, durability='power') as index:
            found.check_all(index)
            report = index.verify()
            assert report.is_sound, str(report)
        return found


def unreadable(index: HnswDocumentIndex[Page]) -> set[str]:
    damaged = set()
    for id_ in index:
        try:
            index[id_].model_dump()  # all that is in it
        except CorruptIndexError:
            damaged.add(id_)
    return damaged


def root_of(id_: str | None) -> str:
    """Return the id of the page that is meant, or in whose lists the one is that is meant; see `workload`."""
    return (id_ or '').partition('/')[0]


def searched(index: HnswDocumentIndex[Page], states: Sequence[Shelf], damaged: set[str]) -> Shelf:
    """Return the last of the states that searches see; only damaged documents differ from one to another."""
    for state in reversed(states[1:]):
        with suppress(AssertionError):
            check_searches(index, state, damaged)
            return state
    check_searches(index, states[0], damaged)
    return states[0]


def check_searches(index: HnswDocumentIndex[Page], found: Shelf, damaged: set[str]) -> None:
    """Assert that a search answers right, or, if something is damaged, says so."""
    for field in SPACES:
        for id_ in list(found.docs)[:6]:
            query = found.vector(id_, field)
            for exact in (True, False):
                if query is None:
                    continue
                try:
                    answer = index.find(query, field, limit=5, exact=exact)
                    found.check(answer, query, field, limit=5)  # what is in lists is only read when it is looked at
                except CorruptIndexError:
                    assert damaged


def heal(index: HnswDocumentIndex[Page], found: Shelf, damaged: Sequence[str]) -> None:
    """Delete every other damaged document, and store the rest again."""
    for store in (index, found):
        store.delete(damaged[::2])
        store.index([found.docs[id_] for id_ in damaged[1::2]])
        store.index(pages(['after the cut'], 1000, Random(0)))
    found.check_all(index)


def life(path: Path, seed: int, *habits: str) -> Recording:
    path.mkdir(exist_ok=True)
    return record(path, LIVING, path / 'index', seed, *habits)


def announced(left: Iterable[Cut]) -> Iterator[Cut]:
    for cut in left:
        print(f'seed {SEED}: power cut after {cut.position} events, after {cut.said[-1:]}, before {cut.before}')
        yield cut


# -- a power cut -------------------------------------------------------------------------------------------


@needs_strace
@pytest.mark.parametrize('habits', [[], ['power'], ['undoing']], ids=['plain', 'then-power', 'undoing-batches'])
@pytest.mark.parametrize('number', range(-(-CUTS // 100)))
def test_a_power_cut_leaves_a_past_that_is_true(tmp_path: Path, habits: list[str], number: int) -> None:
    """
    After a power cut the directory opens with what was stored at some moment; what is damaged is told and heals.

    Nothing older than the last compaction is lost or damaged. From the moment at which the directory is opened with
    `durability='power'` nothing is lost at all.
    """
    seed = SEED + number
    history = History.of(seed, Shelf(SPACES))
    recording = life(tmp_path / 'disk', seed, *habits)
    history.check_all(announced(cuts(recording, seed, CUTS_A_LIFE, tmp_path / 'left')))


@needs_strace
@pytest.mark.parametrize('number', range(-(-CUTS // 100)))
def test_one_power_cut_after_another_leaves_a_past_that_is_true(tmp_path: Path, number: int) -> None:
    """The next process goes on, with `durability='process'`, where a power cut has left it; the same holds then."""
    oracle: Shelf = Shelf(SPACES)
    disk = tmp_path / 'life 0'
    for each in range(LIVES):
        seed = SEED + 1000 * number + each
        history = History.of(seed, oracle)
        left = cuts(life(disk, seed), seed, CUTS_A_LIFE // 2, tmp_path / 'left')
        heir = Random(seed).randrange(CUTS_A_LIFE // 2)
        disk = tmp_path / f'life {each + 1}'
        for at, cut in enumerate(announced(left)):
            if at == heir:
                shutil.copytree(cut.path, disk)
            found = history.check(cut)
            if at == heir:
                with HnswDocumentIndex[Page](disk / 'index', durability='process') as index:
                    heal(index, found_before_healing(index, history), sorted(unreadable(index)))
                    oracle = Shelf(SPACES)
                    oracle.index(index[id_] for id_ in index)
                assert set(oracle.docs) == set(found.docs)


def found_before_healing(index: HnswDocumentIndex[Page], history: History) -> Shelf:
    damaged = unreadable(index)
    return next(
        state.copy()
        for state in reversed(history.states)
        if set(index) == set(state.docs)
        and all(same(index[id_], doc) for id_, doc in state.docs.items() if id_ not in damaged)
    )


@needs_strace
def test_a_compaction_that_does_not_sync_would_be_noticed(tmp_path: Path) -> None:
    """If a compaction did not sync its vectors, some power cut would damage something old: these tests would tell."""
    history = History.of(1, Shelf(SPACES))
    recording = without_syncs(life(tmp_path / 'disk', 1), '*/vectors/*')
    left = cuts(recording, 1, 200, tmp_path / 'left')
    with pytest.raises((AssertionError, CorruptIndexError)):
        history.check_all(announced(left))


def test_what_was_undone_does_not_stand_in_for_what_was_lost(tmp_path: Path) -> None:
    """
    A document whose vector a power cut has lost does not come back with the vector of a write that never happened.

    Both had the same place in the vector file. The disk had got the first, of a batch that was undone, and not the
    second, although it had got SQLite's log.
    """
    with Words(tmp_path / 'index', durability='process') as index:
        index.index(word('old', 0))
        with suppress(UndoneError), index.batch():
            index.index(word('never stored', 1))
            raise UndoneError
        written_back = (tmp_path / 'index/vectors/vector.0.f32').read_bytes()
        index.index(word('stored', 2))
        shutil.copytree(tmp_path / 'index', tmp_path / 'cut')
    (tmp_path / 'cut/vectors/vector.0.f32').write_bytes(written_back)
    with Words(tmp_path / 'cut', durability='process') as index:
        try:
            assert index['stored'].vector.tolist() == [2, 2, 2, 2]
        except CorruptIndexError:
            assert [problem.id for problem in index.verify().problems] == ['stored']


# -- the end of a process ------------------------------------------------------------------------------------


@pytest.mark.parametrize('directory', range(-(-KILLS // KILLS_A_DIRECTORY)))
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, directory: int) -> None:
    """After kill -9 everything acknowledged is there and nothing else, though nothing waited for the disk."""
    oracle: Shelf = Shelf(SPACES)
    for kill in range(min(KILLS_A_DIRECTORY, KILLS - directory * KILLS_A_DIRECTORY)):
        seed = SEED + 1000 * directory + kill
        begun, done = killed_writer(tmp_path, seed)
        print(f'seed {SEED}, directory {directory}, kill {kill}: {done} of {begun} steps acknowledged')
        states = [oracle]
        for number in range(begun):
            states.append(states[-1].copy())
            Step(seed, number, states[-1]).apply(states[-1])
        with HnswDocumentIndex[Page](tmp_path, durability='process') as index:
            oracle = next((state for state in states[done:-1] if holds(index, state)), states[-1])
            oracle.check_all(index)
            report = index.verify()
            assert report.is_sound, str(report)


def killed_writer(path: Path, seed: int) -> tuple[int, int]:
    """Let a process work, kill it at a random moment, and return how many steps it has begun and acknowledged."""
    chance = Random(seed)
    with programs.start(KILLED, path, seed) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(chance.choice([2, 10, 40, 80]))]
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        seen += process.stdout.readlines()
    assert process.returncode == -9, f'the writer ended by itself:\n{"".join(seen)}'
    whole = [line for line in seen if line.endswith('\n')]
    begun, done = (sum(line.startswith(word) for line in whole) for word in ('begin', 'done'))
    return begun, done


def holds(index: HnswDocumentIndex[Page], state: Shelf) -> bool:
    return set(index) == set(state.docs) and all(same(index[id_], doc) for id_, doc in state.docs.items())


# -- how it goes together with durability='power' ------------------------------------------------------------


def counted(path: Path) -> int:
    """Return how many commits the header of the vector file counts."""
    return int(struct.unpack_from('<Q', (path / 'vectors/vector.0.f32').read_bytes(), 16)[0])


WRITES: dict[str, Callable[[HnswDocumentIndex[Word]], object]] = {
    'index': lambda index: index.index(word('new', 3)),
    'update': lambda index: index.update('x', text='changed'),
    'delete': lambda index: index.delete('x'),
}


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES)
def test_commits_that_a_power_cut_may_take_back_are_not_counted(
    tmp_path: Path, write: Callable[[HnswDocumentIndex[Word]], object]
) -> None:
    """A write that does not wait for the disk leaves the counter in the vector file alone; one that does counts."""
    for durability, counts in (('process', False), ('power', True)):
        path = tmp_path / durability
        with Words(path, durability=durability) as index:  # type: ignore[arg-type]
            index.index([word('x', 1), word('y', 2)])
            before = counted(path)
            write(index)
            assert (counted(path) > before) is counts


def test_a_lost_log_is_no_surprise(tmp_path: Path) -> None:
    """A directory whose last unsynced commits are gone opens; with `durability='power'` that is damage."""
    for durability in ('process', 'power'):
        path, copy = tmp_path / durability, tmp_path / f'{durability} cut'
        with Words(path) as index:
            index.index(word('old', 1))
        with Words(path, durability=durability) as index:  # type: ignore[arg-type]
            (synced,) = path.glob('*-wal')
            log = synced.read_bytes()
            index.index(word('lost', 2))
            shutil.copytree(path, copy)
            (copy / synced.name).write_bytes(log)
    with Words(tmp_path / 'process cut') as index:
        assert list(index) == ['old']
        assert index.verify().is_sound
    with pytest.raises(CorruptIndexError, match='lost 1 of'):
        Words(tmp_path / 'power cut')


def test_all_is_there_with_the_other_durability(tmp_path: Path) -> None:
    """An index goes from one durability to the other and back, with what was stored in each."""
    for number, durability in enumerate(['process', 'power', 'process', 'power']):
        with Words(tmp_path, durability=durability) as index:  # type: ignore[arg-type]
            assert list(index) == [str(at) for at in range(number)]
            index.index(word(str(number), number))
            assert index.verify().is_sound
    with Words(tmp_path) as index:
        assert [index[str(at)].vector[0] for at in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(('first', 'second'), [('process', 'power'), ('power', 'process')])
def test_one_process_has_one_durability(tmp_path: Path, first: Any, second: Any) -> None:
    """A second handle that asks for another durability is refused, and the first goes on."""
    with Words(tmp_path, durability=first) as index:
        with pytest.raises(SettingsError, match='durability'):
            Words(tmp_path, durability=second)
        index.index(word('x', 1))
        with Words(tmp_path, durability=first) as another:
            assert list(another) == ['x']
    with Words(tmp_path, durability=second) as index:
        assert list(index) == ['x']


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    """The error names the two that there are, and nothing is made."""
    with pytest.raises(SettingsError, match=r"'power' or 'process'"):
        Words(tmp_path / 'index', durability='disk')  # type: ignore[arg-type]
    assert not (tmp_path / 'index').exists()


OPENS_AND_CLOSES = """
import sys
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

class Word(BaseDoc):
    text: str = ''
    vector: NdArray = Field(dim=4)

HnswDocumentIndex[Word](sys.argv[1], shared_writes=True, durability='power').close()
"""


def test_another_process_that_syncs_does_not_vouch_for_this_one(tmp_path: Path) -> None:
    """
    Of two processes that write in turn one syncs and one does not: what the other leaves unsynced opens after a cut.

    The one that syncs comes and goes; the vectors that the other stores after that may be lost in a power cut.
    """
    with Words(tmp_path / 'index', shared_writes=True, durability='process') as index:
        index.index(word('old', 1))
        ended = programs.run(OPENS_AND_CLOSES, tmp_path / 'index')
        assert ended.returncode == 0, ended.stderr
        vectors = (tmp_path / 'index/vectors/vector.0.f32').read_bytes()
        index.index(word('new', 2))
        shutil.copytree(tmp_path / 'index', tmp_path / 'cut')
    (tmp_path / 'cut/vectors/vector.0.f32').write_bytes(vectors)
    with Words(tmp_path / 'cut', durability='process') as index:
        assert index['old'].vector.tolist() == [1, 1, 1, 1]
        with pytest.raises(CorruptIndexError):
            index['new']
        assert [problem.id for problem in index.verify().problems] == ['new']
