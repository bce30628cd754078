"""
`shared_writes=True`: several processes and threads write in turn, lose nothing, and see each other's writes at once.

DOCINDEX_STRESS=600 python -m pytest tests/test_shared_writers.py -k stress works for ten minutes instead of six
seconds, and DOCINDEX_SEED=... repeats what is random.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import DimensionError, HnswDocumentIndex, SchemaMismatchError, SettingsError, WorkDirLockedError
from tests import programs
from tests.words import WORDS, Word, Words, other, word

SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
STRESS = float(os.environ.get('DOCINDEX_STRESS', '6'))
"""Seconds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with the words 0 to 9, each with its number as its vector and its count."""
    with Words(tmp_path / 'work') as index:
        index.index([word(str(at), at, at) for at in range(10)])
    return tmp_path / 'work'


def shared(path: Path, **options: Any) -> HnswDocumentIndex[Word]:
    return Words(path, shared_writes=True, **options)


def printed(process: subprocess.Popen[str]) -> list[str]:
    """Return the lines that a program has printed when it has ended, and it must not have failed."""
    lines = process.communicate(timeout=programs.PATIENCE)[0].splitlines()
    assert process.returncode == 0, '\n'.join(lines)
    return lines


def check_sound(index: HnswDocumentIndex[Word]) -> None:
    report = index.verify()
    assert report.is_sound, str(report)


# -- one after another ---------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, str]] = {
    'index': (
        "index.index(word('new', 77))",
        "(index.find([77] * 4, limit=1).documents.id, len(index), 'new' in index)",
    ),
    'update': ("index.update('3', count=99)", "index['3'].count"),
    'update a vector': ("index.update('3', vector=[80] * 4)", 'index.find([80] * 4, limit=1, exact=True).documents.id'),
    'delete': ("index.delete('3')", "(index.get('3'), list(index), index.find([3] * 4, limit=3).documents.id)"),
    'configure': ('index.configure(ef=333)', "(len(index), index.settings()['ef'])"),
    'compact': ("(index.delete('3'), index.compact())[1]", '(len(index), index.find([3] * 4, limit=9).documents.id)'),
}


@pytest.mark.parametrize(('write', 'look'), CALLS.values(), ids=CALLS)
def test_each_sees_the_others_writes_at_its_next_call(path: Path, write: str, look: str) -> None:
    """After one process has written, the very next call of another answers as the writer itself does."""
    with shared(path) as index, other(path, shared_writes=True) as writer:
        before = repr(eval(look))
        assert writer(look) == before
        writer(write)
        after = repr(eval(look))
        assert after == writer(look)
        assert after != before
        index.index(word('mine', 500))
        assert writer("index['mine'].vector[0]") == repr(index['mine'].vector[0])
        check_sound(index)


def test_a_write_rests_on_what_others_have_written(path: Path) -> None:
    """`update`, `delete` and a repeated id look at what is there by then, not at what this process saw last."""
    with shared(path) as index, other(path, shared_writes=True) as writer:
        assert len(index) == 10
        writer("index.update('1', count=100)")
        index.update('1', vector=[50, 50, 50, 50])
        assert writer("(index['1'].count, float(index['1'].vector[0]))") == '(100, 50.0)'
        writer("index.index(word('new', 60))")
        assert index.delete(['new', 'nobody']) == 1
        assert writer("'new' in index") == 'False'
        writer("index.index(word('2', 70))")
        index.index(word('2', 71))
        assert (
            writer('(len(index), index.find([70] * 4, limit=1).documents[0].vector.tolist())')
            == '(10, [71.0, 71.0, 71.0, 71.0])'
        )
        writer("index.delete('4')")
        assert writer("index.update('4', count=1)") == 'DocumentNotFoundError'
        with pytest.raises(KeyError):
            index.update('4', count=1)
        check_sound(index)


def test_a_call_that_fails_lets_the_next_process_write(path: Path) -> None:
    """A refused write has changed nothing and holds no lock."""
    with shared(path) as index, other(path, shared_writes=True, lock_timeout=5) as writer:
        with pytest.raises(DimensionError):
            index.index([word('good'), Word(id='bad', vector=[1, 2])])
        with pytest.raises(KeyError):
            index.update('nobody', count=1)
        with suppress(ZeroDivisionError), index.batch():
            index.index(word('undone'))
            raise ZeroDivisionError
        assert writer("(index.index(word('new')), len(index))") == '(None, 11)'
        assert len(index) == 11


# -- all at once ---------------------------------------------------------------------------------------------

STORES_AND_DELETES = (
    WORDS
    + """
from concurrent.futures import ThreadPoolExecutor
index = Words(sys.argv[1], shared_writes=True)

def work(thread):
    rng = np.random.default_rng([int(sys.argv[2]), thread])
    for number in range(int(sys.argv[3])):
        ids = [f'{sys.argv[2]}.{thread}.{number}.{at}' for at in range(3)]
        index.index([Word(id=id_, count=number, vector=rng.standard_normal(4).astype(np.float32)) for id_ in ids])
        index.update(ids[1], count=number + 1)
        assert index[ids[1]].count == number + 1
        assert index.delete(ids[2]) == 1
        assert ids[2] not in index
        if thread == 0 and number % 5 == 4 and sys.argv[2] == '0':
            index.compact()

with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, range(2)))
index.close()
"""
)


def test_processes_and_threads_lose_nothing(tmp_path: Path) -> None:
    """Three processes of two threads store, update and delete at once, one of them compacts: all of it is there."""
    rounds = 12
    processes = [programs.start(STORES_AND_DELETES, tmp_path, number, rounds) for number in range(3)]
    for process in processes:
        assert printed(process) == []
    with Words(tmp_path) as index:
        expected: dict[str, tuple[int, np.ndarray[Any, Any]]] = {}
        for process_ in range(3):
            for thread in range(2):
                rng = np.random.default_rng([process_, thread])
                for number in range(rounds):
                    vectors = [rng.standard_normal(4).astype(np.float32) for _ in range(3)]
                    for at in range(2):
                        expected[f'{process_}.{thread}.{number}.{at}'] = number + at, vectors[at]
        assert set(index) == set(expected)
        assert len(index) == len(expected)
        for id_, (count, vector) in expected.items():
            assert (index[id_].count, index[id_].vector.tolist()) == (count, vector.tolist())
            assert index.find(vector, limit=1).documents.id == [id_]
            assert index.find(vector, limit=1, exact=True).documents.id == [id_]
        check_sound(index)


COUNTS_UP = (
    WORDS
    + """
index = Words(sys.argv[1], shared_writes=True)
told('open')
for number in range(int(sys.argv[2])):
    with index.batch():
        count = index['counter'].count
        index.update('counter', count=count + 1)
        index.index(word(f'{sys.argv[3]}.{number}', count=count + 1))
        assert index['counter'].count == count + 1
    print(count + 1, flush=True)
index.close()
"""
)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write('go\n')
    process.stdin.flush()


def opened(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == 'open\n'


def test_no_increment_is_lost(tmp_path: Path) -> None:
    """Three processes count one counter up in batches: each value is given once, and the last one is their number."""
    with Words(tmp_path) as index:
        index.index(word('counter'))
    processes = [programs.start(COUNTS_UP, tmp_path, 30, name) for name in 'abc']
    for each in (opened, go):
        for process in processes:
            each(process)
    given = [int(line) for process in processes for line in printed(process)]
    assert sorted(given) == list(range(1, 91))
    with Words(tmp_path) as index:
        assert index['counter'].count == 90
        assert sorted(index[id_].count for id_ in index if id_ != 'counter') == list(range(1, 91))
        check_sound(index)


UPDATES_ONE_FIELD = """
import sys
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

class Three(BaseDoc):
    a: int = 0
    b: int = 0
    c: int = 0
    vector: NdArray = Field(dim=2)

with HnswDocumentIndex[Three](sys.argv[1], shared_writes=True) as index:
    if sys.argv[2] == 'make':
        index.index(Three(id='x', vector=[1, 2]))
    else:
        for value in range(1, 31):
            index.update('x', **{sys.argv[2]: value})
            assert getattr(index['x'], sys.argv[2]) == value
        print(index['x'].a, index['x'].b, index['x'].c)
"""


def test_updates_of_different_fields_are_not_lost(tmp_path: Path) -> None:
    """Processes that change different fields of one document with `update` do not take back each other's changes."""
    assert programs.run(UPDATES_ONE_FIELD, tmp_path, 'make').returncode == 0
    processes = [programs.start(UPDATES_ONE_FIELD, tmp_path, field) for field in 'abc']
    seen = [printed(process) for process in processes]
    assert ['30 30 30'] in seen


def test_a_batch_keeps_other_processes_waiting(path: Path) -> None:
    """What another process writes during a batch comes after it, though it began earlier; reading waits for nothing."""
    with shared(path) as index, other(path, shared_writes=True) as writer, ThreadPoolExecutor(1) as pool:
        with index.batch():
            index.index(word('mine', 50))
            assert writer("('mine' in index, len(index))") == '(False, 10)'
            waiting = pool.submit(writer, "(index.update('1', vector=[60] * 4), index['1'].count, len(index))")
            time.sleep(0.2)
            assert not waiting.done()
            index.update('1', count=2)
        assert waiting.result(programs.PATIENCE) == '(None, 2, 11)'
        assert (index['1'].count, index['1'].vector[0]) == (2, 60)


def test_a_killed_writer_takes_nothing_with_it(tmp_path: Path) -> None:
    """One of three writers is killed in the middle of its work: the others go on, and nothing acknowledged is lost."""
    print(f'seed {SEED}')
    chance = random.Random(SEED)
    with Words(tmp_path) as index:
        index.index(word('counter'))
    lasting = [programs.start(COUNTS_UP, tmp_path, 60, name) for name in 'ab']
    for each in (opened, go):
        for process in lasting:
            each(process)
    acknowledged: list[int] = []
    kills = 0
    while kills < 2:
        doomed = programs.start(COUNTS_UP, tmp_path, 100_000, f'doomed {kills}')
        opened(doomed)
        go(doomed)
        assert doomed.stdout is not None
        acknowledged += [int(doomed.stdout.readline()) for _ in range(chance.randint(1, 8))]
        time.sleep(chance.uniform(0, 0.02))
        doomed.kill()
        # Not `communicate`, which passes over what `readline` has read ahead.
        acknowledged += [int(line) for line in doomed.stdout.readlines() if line.endswith('\n')]
        doomed.communicate(timeout=programs.PATIENCE)
        kills += 1
    for process in lasting:
        acknowledged += [int(line) for line in printed(process)]
    assert len(set(acknowledged)) == len(acknowledged)
    with Words(tmp_path) as index:
        stored = [index[id_].count for id_ in index if id_ != 'counter']
        assert sorted(stored) == list(range(1, index['counter'].count + 1))
        assert set(acknowledged) <= set(stored)
        assert len(stored) - len(acknowledged) <= kills  # a commit that was never told
        check_sound(index)


# -- beside one that wants the directory for itself ----------------------------------------------------------

WRITES: dict[str, Callable[[HnswDocumentIndex[Word]], object]] = {
    'index': lambda index: index.index(word('new')),
    'update': lambda index: index.update('1', count=5),
    'delete': lambda index: index.delete('1'),
    'del': lambda index: index.__delitem__('1'),
    'configure': lambda index: index.configure(ef=99),
    'compact': lambda index: index.compact(),
    'save_graphs': lambda index: index.save_graphs(),
    'batch': lambda index: index.batch().__enter__(),
}


def test_an_exclusive_writer_keeps_them_out(path: Path) -> None:
    """While another process has the directory for itself, each write ends with its process id; reading goes on."""
    with shared(path, lock_timeout=0.05) as index:
        with other(path) as exclusive:
            exclusive("index.index(word('theirs', 77))")
            for write in WRITES.values():
                with pytest.raises(WorkDirLockedError, match=str(exclusive.process.pid)) as raised:
                    write(index)
                assert raised.value.pid == exclusive.process.pid
            with pytest.raises(WorkDirLockedError):
                shared(path / '..' / 'work' / '..' / 'work', lock_timeout=0).index(word('another handle'))
            assert (len(index), index['1'].count, index.settings()['ef']) == (11, 1, None)
            assert index.find([77] * 4, limit=1).documents.id == ['theirs']
        index.index(word('mine', 88))
        assert (len(index), index.find([88] * 4, limit=1).documents.id) == (12, ['mine'])
        check_sound(index)


def test_lock_timeout_is_how_long_a_write_waits(path: Path) -> None:
    """A write waits for another process as long as `lock_timeout` says, and goes on as soon as that lets go."""
    with shared(path, lock_timeout=programs.PATIENCE) as index, ThreadPoolExecutor(1) as pool:
        with other(path):
            writing = pool.submit(index.index, word('new'))
            time.sleep(0.2)
            assert not writing.done()
        writing.result(programs.PATIENCE)
        assert 'new' in index


def test_an_exclusive_writer_opens_beside_idle_ones(path: Path) -> None:
    """Who shares holds no lock between writes: another process may open the directory for itself meanwhile."""
    with shared(path) as index:
        index.index(word('mine'))
        with other(path) as exclusive:
            assert exclusive('len(index)') == '11'
            assert exclusive("(index.delete('mine'), index.compact())") == '(1, None)'
        assert 'mine' not in index
        index.index(word('mine again'))
        assert len(index) == 11


def test_one_process_has_one_way_of_writing(path: Path) -> None:
    """A shared handle beside an exclusive one of the same process, or the other way round, is refused at once."""
    with Words(path) as exclusive:
        with pytest.raises(SettingsError, match='without shared_writes'):
            shared(path)
        exclusive.index(word('x'))
    with shared(path) as index:
        with pytest.raises(SettingsError, match='with shared_writes'):
            Words(path)
        assert len(index) == 11


def test_closing_does_not_wait(path: Path) -> None:
    """A shared handle closes at once while another process has the directory for itself."""
    index = shared(path, lock_timeout=programs.PATIENCE)
    index.index([word(f'n{at}', at) for at in range(600)])  # enough for a graph file of its own
    with other(path) as exclusive:
        index.close()
        assert exclusive('len(index)') == '610'


GIVES_ANOTHER_SCHEMA = (
    WORDS
    + """
class Longer(Word):
    note: str | None = None

with HnswDocumentIndex[Longer](sys.argv[1], shared_writes=True) as index:
    index.index(Longer(id='longer', vector=[1, 2, 3, 4], note='!'))
"""
)


def test_another_schema_is_told_to_the_others(path: Path) -> None:
    """When one process gives the directory another schema, the others' calls say so; they have stored nothing since."""
    index = shared(path)
    index.index(word('before'))
    ended = programs.run(GIVES_ANOTHER_SCHEMA, path)
    assert ended.returncode == 0, ended.stderr
    looks: list[Callable[[HnswDocumentIndex[Word]], object]] = [
        len,
        list,
        lambda index: index.get('1'),
        lambda index: index.find([1, 2, 3, 4]),
        *WRITES.values(),
    ]
    for call in looks:
        with pytest.raises(SchemaMismatchError, match='another schema') as raised:
            call(index)
        assert 'open it anew' in raised.value.hint
    index.close()

    class Longer(Word):
        note: str | None = None

    with HnswDocumentIndex[Longer](path, shared_writes=True) as longer:
        assert list(longer) == [*map(str, range(10)), 'before', 'longer']
        assert (longer['longer'].note, longer['1'].note) == ('!', None)
        assert longer.verify().is_sound


GIVES_ANOTHER_GRAPH = (
    WORDS
    + """
class Linked(BaseDoc):
    count: int = 0
    vector: NdArray = Field(dim=4, M=40)

with HnswDocumentIndex[Linked](sys.argv[1], shared_writes=True) as index:
    print(index.settings()['M'])
"""
)


def test_another_graph_setting_is_followed(path: Path) -> None:
    """When one process opens the directory with another `M`, the others go on, with a graph that has it."""
    with shared(path) as index:
        assert index.settings()['M'] == 16
        assert programs.run(GIVES_ANOTHER_GRAPH, path).stdout == '40\n'
        assert index.find([7] * 4, limit=1).documents.id == ['7']
        index.index(word('new', 77))
        assert index.find([77] * 4, limit=1).documents.id == ['new']
        assert index.settings()['M'] == 40
        check_sound(index)


# -- stress --------------------------------------------------------------------------------------------------

STRESSING = (
    WORDS
    + """
import random, struct, threading

def vector(writer, number):
    return np.random.default_rng([writer, number]).standard_normal(4).astype(np.float32) * 10

class Told:
    # What a writer has begun and what it has acknowledged, for others to read before they call.
    def __init__(self, path, writer):
        self.fd = os.open(f'{path}.{writer}', os.O_RDWR | os.O_CREAT)

    def write(self, begun, done):
        os.pwrite(self.fd, struct.pack('qq', begun, done), 0)

    def read(self):
        return struct.unpack('qq', os.pread(self.fd, 16, 0).ljust(16, b'\\0'))

LASTING = 20  # a document of its own is there for so many rounds

def pair(writer, number):
    return [Word(id=f'{writer}{sign}', count=number, vector=vector(writer, number) * factor + 100)
            for sign, factor in (('+', 1), ('-', -1))]
"""
)
STRESS_WRITER = (
    STRESSING
    + """
path, me, seed, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), time.monotonic() + float(sys.argv[4])
told_by_me, chance = Told(path, me), random.Random(f'{seed} {me}')
index = Words(path, shared_writes=True)
number = 0
while time.monotonic() < until:
    number += 1
    told_by_me.write(number, number - 1)
    own = Word(id=f'{me}.{number}', count=number, vector=vector(me, number))
    index.index([*pair(me, number), own] if chance.random() < 0.5 else [own, *pair(me, number)])
    with index.batch():
        counter = index['counter'].count
        index.update('counter', count=counter + 1)
        if number > LASTING:
            assert index.delete(f'{me}.{number - LASTING}') == 1
    told_by_me.write(number, number)
    kind = chance.random()
    if kind < 0.03:
        index.compact()
    elif kind < 0.06:
        index.close()
        index = Words(path, shared_writes=True)
    elif kind < 0.1:
        index.save_graphs()
    elif kind < 0.3:
        assert index[f'{me}.{number}'].count == number
        assert index.find(vector(me, number), limit=1).documents.id == [f'{me}.{number}']
index.close()
print('wrote', number, flush=True)
"""
)
STRESS_READER = (
    STRESSING
    + """
path, writers, seed, until = sys.argv[1], int(sys.argv[2]), sys.argv[3], time.monotonic() + float(sys.argv[4])
files, chance, calls = [Told(path, writer) for writer in range(writers)], random.Random(seed), 0
index = Words(path, read_only=True)
while time.monotonic() < until:
    calls += 1
    writer = chance.randrange(writers)
    done = [file.read()[1] for file in files]
    number = done[writer]
    kind = chance.choice(['pair', 'counter', 'len', 'own', 'find', 'find', 'find pair', 'reopen'])
    if kind == 'pair' and number:
        plus, minus = index.get([f'{writer}+', f'{writer}-'])
        assert plus.count == minus.count >= number, f'{plus} {minus} {number}'
        assert (plus.vector == vector(writer, plus.count) + 100).all()
        assert (minus.vector == 100 - vector(writer, plus.count)).all()
    elif kind == 'counter':
        count = index['counter'].count
        assert sum(done) <= count <= sum(file.read()[0] for file in files)
    elif kind == 'len':
        there = len(index)
        begun = [file.read()[0] for file in files]
        if min(done) > LASTING:  # the counter, and of each writer a pair, and one more in the middle of a round
            assert 1 + writers * (2 + LASTING) <= there <= 1 + writers * (3 + LASTING), there
        ids = list(index)
        assert len(set(ids)) == len(ids)
    elif kind == 'own' and number:
        asked = [f'{writer}.{each}' for each in range(max(1, number - LASTING + 1), number + 1)]
        found = {doc.id: doc for doc in index.get(asked)}
        begun = files[writer].read()[0]
        for each in range(max(1, number - LASTING + 1), number + 1):
            doc = found.get(f'{writer}.{each}')
            assert doc is not None or each <= begun - LASTING, f'{writer}.{each} is lost at {number} to {begun}'
            assert doc is None or (doc.vector == vector(writer, each)).all()
        gone = [f'{writer}.{each}' for each in range(max(1, number - 3 * LASTING), number - LASTING + 1)]
        assert not index.get(gone), 'what was deleted is there'
    elif kind == 'find' and number:
        each = chance.randint(max(1, number - LASTING + 1), number)
        query = vector(writer, each)
        if chance.random() < 0.5:
            found = index.find(query, limit=5, exact=chance.random() < 0.3)
        else:
            batched = index.find_batched(np.stack([query, query + 1]), limit=5)
            found = type(index.find(query, limit=0))(batched.documents[0], batched.scores[0])
        begun = files[writer].read()[0]
        ids = found.documents.id
        assert len(set(ids)) == len(ids), ids
        assert ids[:1] == [f'{writer}.{each}'] or each <= begun - LASTING, f'{writer}.{each} not found: {ids}'
        for doc, score in zip(found.documents, found.scores):
            assert abs(((doc.vector - query) ** 2).sum() - score) <= 1e-4 * (1 + score), f'a wrong score: {doc}'
    elif kind == 'find pair' and number:
        found = index.find(np.full(4, 100), limit=2 * writers, exact=chance.random() < 0.3).documents
        counts = {}
        for doc in found:
            if doc.id[1:] in '+-':
                counts.setdefault(doc.id[0], []).append(doc.count)
        for each, two in counts.items():
            assert len(two) == 2 and len(set(two)) == 1 and two[0] >= done[int(each)], f'{counts} {done}'
        assert len(counts) == sum(each > 0 for each in done) or min(done) == 0, (counts, found.id)
    elif kind == 'reopen' and chance.random() < 0.05:
        index.close()
        index = Words(path, read_only=True)
index.close()
print('read', calls, flush=True)
"""
)


def test_stress(tmp_path: Path) -> None:
    """
    Four readers and two writers work on one directory: no error, nothing stale, nothing torn, nothing lost.

    A writer says what it has begun and acknowledged in a file that readers look into before and after each call: they
    see at least the one and at most the other.
    """
    print(f'seed {SEED}')
    path = tmp_path / 'work'
    with Words(path) as index:
        index.index(word('counter', 1000))
    with ExitStack() as ending:
        writers = [programs.start(STRESS_WRITER, path, me, SEED, STRESS) for me in range(2)]
        readers = [programs.start(STRESS_READER, path, 2, SEED + at, STRESS) for at in range(4)]
        for process in (*writers, *readers):
            ending.callback(process.communicate)
            ending.callback(process.kill)
        # Each in a thread: what one prints when it fails must not wait for another.
        with ThreadPoolExecutor(6) as pool:
            told = [
                pool.submit(lambda process: process.communicate(timeout=STRESS + programs.PATIENCE)[0], process)
                for process in (*writers, *readers)
            ]
        for process, answer in zip((*writers, *readers), told, strict=True):
            assert process.returncode == 0, answer.result()
    wrote, read = ([int(answer.result().split()[-1]) for answer in part] for part in (told[:2], told[2:]))
    print(f'{wrote} rounds written, {read} calls read')
    assert min(wrote) > 5
    assert min(read) > 20
    with Words(path) as index:
        expected = {f'{me}.{each}' for me in range(2) for each in range(max(1, wrote[me] - 19), wrote[me] + 1)}
        expected |= {f'{me}{sign}' for me in range(2) for sign in '+-'} | {'counter'}
        assert set(index) == expected
        assert index['counter'].count == sum(wrote)
        assert [index[f'{me}+'].count for me in range(2)] == wrote
        for id_ in expected:
            assert index.find(index[id_].vector, limit=1).documents.id == [id_]
        check_sound(index)
