"""`read_only=True`: any number of readers beside the one that writes, each up to date, and never half a write."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import (
    BaseDoc,
    ClosedIndexError,
    DocumentNotFoundError,
    Field,
    HnswDocumentIndex,
    NdArray,
    ReadOnlyError,
    SchemaMismatchError,
    SettingsError,
    WorkDirError,
    WorkDirLockedError,
)
from docindex.hnsw.check import _lost_commits
from docindex.hnsw.connection import Connection
from docindex.hnsw.graphs import STEP_ROWS, GraphCache
from docindex.hnsw.rows import Rows
from docindex.hnsw.state import State, View
from docindex.hnsw.vectors import VectorFile
from docindex.testing import ExactIndex
from docindex.testing.films import SPACES, Film, films
from tests import programs
from tests.words import WORDS, Other, Word, Words, kill, other, word

SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))

# Forking with other threads alive warns from Python 3.12 on.
pytestmark = pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with the words 0 to 9, each with its number as its vector and its count."""
    with Words(tmp_path / 'work') as index:
        index.index([word(str(at), at, at) for at in range(10)])
    return tmp_path / 'work'


def nearest(index: HnswDocumentIndex[Word], value: float, **how: Any) -> str:
    return str(index.find(np.full(4, value), limit=1, **how).documents[0].id)


# -- beside a writer -----------------------------------------------------------------------------------------


def test_a_reader_opens_beside_a_writer_of_this_process(path: Path) -> None:
    """Readers and the writer are open at once, in any order, and each sees what is written."""
    with Words(path, read_only=True) as early, Words(path) as writer, Words(path, read_only=True) as late:
        writer.index(word('new', 77))
        for reader in (early, late):
            assert 'new' in reader
            assert nearest(reader, 77) == 'new'
    with Words(path, read_only=True) as reader:
        assert len(reader) == 11


def test_readers_open_beside_a_writer_of_another_process(path: Path) -> None:
    """Several readers open while another process has the directory open for writing, and it goes on writing."""
    with other(path) as writer, Words(path, read_only=True) as reader, other(path, read_only=True) as third:
        assert writer("index.index(word('new', 77))") == 'None'
        assert nearest(reader, 77) == 'new'
        assert third("'new' in index, len(index)") == '(True, 11)'


def test_a_writer_opens_beside_readers(path: Path) -> None:
    """Readers hold no lock: a process that wants to write need not wait for them."""
    with other(path, read_only=True) as reader:
        with Words(path) as writer:
            writer.delete('3')
        assert reader("'3' in index, len(index)") == '(False, 9)'


def test_a_reader_leaves_the_lock_file_alone(path: Path) -> None:
    """The lock file still names the writer after readers have come and gone, and readers make no files of their own."""
    with other(path) as writer:
        named = (path / 'docindex.lock').read_text()
        before = sorted(path.rglob('*'))
        with Words(path, read_only=True) as reader:
            assert len(reader) == 10
        assert (path / 'docindex.lock').read_text() == named
        assert named.split()[0] == str(writer.process.pid)
        assert sorted(path.rglob('*')) == before


NEWS: dict[str, tuple[str, Callable[[HnswDocumentIndex[Word]], object], object]] = {
    'index': ("index.index(word('new', 77))", lambda reader: nearest(reader, 77), 'new'),
    'index an id that exists': ("index.index(word('3', 78))", lambda reader: nearest(reader, 78), '3'),
    'update': ("index.update('3', count=99)", lambda reader: reader['3'].count, 99),
    'update a vector': ("index.update('3', vector=[80, 80, 80, 80])", lambda reader: nearest(reader, 80), '3'),
    'delete': ("index.delete('3')", lambda reader: (reader.get('3'), len(reader)), (None, 9)),
    'del': ("index.__delitem__('3')", lambda reader: ('3' in reader, len(list(reader))), (False, 9)),
    'delete, searched': ("index.delete('3')", lambda reader: nearest(reader, 3.1), '4'),
    'delete, searched exactly': ("index.delete('3')", lambda reader: nearest(reader, 3.1, exact=True), '4'),
    'configure': ('index.configure(ef=333)', lambda reader: (len(reader), reader.settings()['ef']), (10, 333)),
    'compact': ("(index.delete('3'), index.compact())", lambda reader: (len(reader), nearest(reader, 3.1)), (9, '4')),
    'save_graphs': ('index.save_graphs()', lambda reader: nearest(reader, 3), '3'),
    'everything deleted': ('index.delete(list(index))', lambda reader: (len(reader), list(reader)), (0, [])),
}


@pytest.fixture(scope='module')
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Other, Path]]:
    """A process that writes, for several tests: each lets it store the words 0 to 9 first."""
    path = tmp_path_factory.mktemp('busy') / 'work'
    with other(path) as writer:
        yield writer, path


@pytest.mark.parametrize(('write', 'look', 'expected'), NEWS.values(), ids=NEWS)
def test_a_reader_sees_a_write_at_its_next_call(
    busy: tuple[Other, Path], write: str, look: Callable[[HnswDocumentIndex[Word]], object], expected: object
) -> None:
    """What another process has committed the very next call of a reader answers with."""
    writer, path = busy
    writer('(index.delete(list(index)), index.index([word(str(at), at, at) for at in range(10)]))')
    with Words(path, read_only=True) as reader:
        assert nearest(reader, 5) == '5'
        assert look(reader) != expected or write == 'index.save_graphs()'
        writer(write)
        assert look(reader) == expected


@pytest.mark.parametrize('is_open', [False, True], ids=['opening', 'following'])
def test_a_compaction_while_files_are_opened(path: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool) -> None:
    """When a compaction removes a file that a reader is about to open, the reader takes the new one instead."""
    pending: list[Callable[[], None]] = []
    check = VectorFile._check_header

    def checking(file: VectorFile) -> None:
        check(file)
        if pending:
            pending.pop()()

    with Words(path) as writer, ExitStack() as closing:
        reader = closing.enter_context(Words(path, read_only=True)) if is_open else None
        if is_open:
            writer.delete('3')
            writer.compact()
        monkeypatch.setattr(VectorFile, '_check_header', checking)
        pending.append(writer.compact)
        if reader is None:
            reader = closing.enter_context(Words(path, read_only=True))
        assert nearest(reader, 5) == '5'
        assert not pending
        assert len(reader) == len(writer)


# -- what a reader refuses -----------------------------------------------------------------------------------


WRITING_CALLS: dict[str, Callable[[HnswDocumentIndex[Word], Path], object]] = {
    'index': lambda reader, _: reader.index(word('new')),
    'update': lambda reader, _: reader.update('1', count=5),
    'update documents': lambda reader, _: reader.update(word('1')),
    'delete': lambda reader, _: reader.delete('1'),
    'delete what is not there': lambda reader, _: reader.delete('nobody'),
    'del': lambda reader, _: reader.__delitem__('1'),
    'configure': lambda reader, _: reader.configure(ef=200),
    'compact': lambda reader, _: reader.compact(),
    'save_graphs': lambda reader, _: reader.save_graphs(),
    'repair': lambda reader, _: reader.verify(repair=True),
    'batch': lambda reader, _: reader.batch().__enter__(),
    # A copy must not change under the hands of who makes it, and a reader cannot make the writer wait.
    'backup': lambda reader, tmp_path: reader.backup(tmp_path / 'copy'),
}


@pytest.mark.parametrize('call', WRITING_CALLS.values(), ids=WRITING_CALLS)
def test_a_reader_refuses_to_write(
    path: Path, tmp_path: Path, call: Callable[[HnswDocumentIndex[Word], Path], object]
) -> None:
    """Each call that writes raises `ReadOnlyError` with the directory and changes nothing, and the reader goes on."""
    with Words(path, read_only=True) as reader:
        with pytest.raises(ReadOnlyError, match='read_only') as raised:
            call(reader, tmp_path)
        assert raised.value.path == str(path)
        assert isinstance(raised.value, PermissionError)
        assert (len(reader), reader['1'].count) == (10, 1)
    with Words(path) as writer:
        assert (len(writer), writer['1'].count, writer.settings()['ef']) == (10, 1, None)
    assert not (tmp_path / 'copy').exists()


def test_an_empty_index_call_of_a_reader(path: Path) -> None:
    """A reader that is given no documents at all has nothing to refuse, or refuses; nothing else happens."""
    with Words(path, read_only=True) as reader:
        for nothing in (lambda: reader.index([]), lambda: reader.update([])):
            with suppress(ReadOnlyError):
                nothing()
            assert len(reader) == 10


@pytest.mark.parametrize('name', ['nothing', 'directory', 'deep/er'])
def test_there_is_nothing_to_read(tmp_path: Path, name: str) -> None:
    """A reader of a directory that does not exist, or holds no index, is told so and makes nothing."""
    (tmp_path / 'directory').mkdir()
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(WorkDirError, match='no index here') as raised:
        Words(tmp_path / name, read_only=True)
    assert raised.value.path == str(tmp_path / name)
    assert 'writing' in raised.value.hint or 'read_only' in raised.value.hint
    assert sorted(tmp_path.rglob('*')) == before


def test_an_index_that_is_being_made_is_none_yet(tmp_path: Path) -> None:
    """A reader that comes before the writer has made the tables is told that there is no index yet."""
    (tmp_path / 'documents.sqlite3').touch()
    with pytest.raises(WorkDirError, match='no index here'):
        Words(tmp_path, read_only=True)
    with Words(tmp_path) as writer, Words(tmp_path, read_only=True) as reader:
        writer.index(word('x'))
        assert list(reader) == ['x']


def test_a_reader_that_shares_writes_makes_no_sense(path: Path) -> None:
    """`read_only` and `shared_writes` exclude each other."""
    with pytest.raises(SettingsError, match='exclude'):
        Words(path, read_only=True, shared_writes=True)


def test_an_empty_index_can_be_read(tmp_path: Path) -> None:
    """An index without documents answers a reader, and the first documents get through to it."""
    with Words(tmp_path) as writer, Words(tmp_path, read_only=True) as reader:
        assert (len(reader), list(reader), len(reader.find([1, 2, 3, 4]).documents)) == (0, [], 0)
        writer.index(word('x'))
        assert nearest(reader, 5) == 'x'


def test_a_closed_reader_refuses(path: Path) -> None:
    """After `close` a reader is closed, whatever the writer of the same process does."""
    with Words(path) as writer:
        reader = Words(path, read_only=True)
        reader.close()
        with pytest.raises(ClosedIndexError):
            len(reader)
        assert len(writer) == 10


# -- what it answers -----------------------------------------------------------------------------------------


def test_a_reader_answers_as_the_reference(tmp_path: Path) -> None:
    """Every kind of field: after each of many random writes a reader holds and finds what the reference does."""
    print(f'seed {SEED}')
    chance = random.Random(SEED)
    oracle: ExactIndex[Film] = ExactIndex(SPACES)
    with HnswDocumentIndex[Film](tmp_path) as writer, HnswDocumentIndex[Film](tmp_path, read_only=True) as reader:
        for number in range(12):
            new = films(chance.randint(1, 20), seed=chance.randrange(1 << 30))
            gone = chance.sample(sorted(oracle.docs), len(oracle.docs) // 4)
            for store in (writer, oracle):
                store.index(new)
                store.delete(gone)
            if number % 4 == 3:
                writer.compact()
            oracle.check_all(reader)
        assert reader.verify().is_sound


def test_verify_by_a_reader_that_is_a_moment_behind(path: Path) -> None:
    """Vector files may know of a commit which the reader does not see yet, and of none that there is not."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        writer.index(word('new', 77))
        state = reader._store.state  # as of the commit before
        (file,) = state.counters
        for ahead, is_sound in ((1, True), (2, False)):
            file.commits = state.commits + ahead
            lost = _lost_commits(reader._store, View(state, reader._store._sidecar.rows))
            assert bool(lost) != is_sound


def test_verify_by_a_reader(path: Path) -> None:
    """A reader verifies what it sees: sound beside a writer, and a damaged vector is reported by id."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        writer.index(word('new'))
        report = reader.verify()
        assert report.is_sound, str(report)
        assert (report.documents, report.vectors) == (11, 11)
        with (path / 'vectors/vector.0.f32').open('r+b') as file:
            file.seek(64 + 3 * 20)
            file.write(b'\xff')
        assert [(problem.id, problem.is_mended) for problem in reader.verify().problems] == [('3', False)]


def test_a_reader_follows_many_documents_at_once(path: Path) -> None:
    """Thousands of documents that came in one write are all found at the next call, exactly and by the graph."""
    random_ = np.random.default_rng(SEED)
    vectors = random_.standard_normal((3000, 4)).astype(np.float32) + 100
    with Words(path) as writer, Words(path, read_only=True) as reader:
        assert len(reader) == 10
        writer.index([Word(id=f'n{at}', vector=vector) for at, vector in enumerate(vectors)])
        asked = random_.choice(3000, 60, replace=False).tolist()
        for at in asked:
            assert reader.find(vectors[at], limit=1).documents.id == [f'n{at}']
        found = reader.find_batched(vectors[asked], limit=1, exact=True)
        assert [docs.id for docs in found.documents] == [[f'n{at}'] for at in asked]
        for _ in range(60):  # by now the graph has followed
            len(reader)
        assert not reader._store.state.graphs.are_behind
        for at in asked:
            assert reader.find(vectors[at], limit=1).documents.id == [f'n{at}']


def test_two_threads_of_a_reader_while_news_arrive(path: Path) -> None:
    """Threads that share a reader each see at least what was written before their call, whoever follows first."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        written, is_over = [0], threading.Event()

        def read() -> int:
            calls = 0
            while not is_over.is_set() or not calls:
                least = written[0]
                assert reader['0'].count >= least
                assert reader.find(np.zeros(4), limit=1).documents[0].count >= least
                assert len(list(reader)) == 10
                calls += 1
            return calls

        with ThreadPoolExecutor(2) as pool:
            reading = [pool.submit(read) for _ in range(2)]
            try:
                for count in range(1, 200):
                    writer.update('0', count=count)
                    writer.index(word('9', value=count + 100))
                    written[0] = count
                    if count % 50 == 0:
                        writer.compact()
            finally:
                is_over.set()
            assert all(future.result() > 0 for future in reading)


# -- never half a write --------------------------------------------------------------------------------------

PAIRS = 8
PAIRING = (
    WORDS
    + f"""
def pairs(count):
    return [Word(id=f'{{sign}}{{at}}', count=count, vector=(1 if sign == '+' else -1) * np.array([at + 1, count, 1, 1]))
            for at in range({PAIRS}) for sign in '+-']

compacting, has_told = 'compact' in sys.argv, False
index = Words(sys.argv[1])
from pathlib import Path
written = Path(sys.argv[1] + '.count')  # a writer that was killed may have left an index that it had just emptied
count = max([int(written.read_text() or 0) if written.exists() else 0, *(index[id_].count for id_ in index)])
print('open', flush=True)
while True:
    count += 1
    written.with_suffix('.new').write_text(str(count))
    written.with_suffix('.new').replace(written)
    if 'refill' in sys.argv and count % 10 == 0:
        index.delete(list(index))
    index.index(pairs(count))
    if count % 10 and not has_told:
        has_told = print(count, flush=True) is None
    if compacting and count % 5 == 0:
        index.compact()
"""
)
"""Keeps pairs of documents, equal in their count and opposite in their vectors, all of one count in one call."""

READING = (
    WORDS
    + f"""
def check(docs, is_whole=True):
    by_id = {{doc.id: doc for doc in docs}}
    assert len(by_id) == len(docs), f'twice in one answer: {{docs}}'
    counts = {{doc.count for doc in docs}}
    assert len(counts) <= 1, f'two writes in one answer: {{counts}}'
    assert not is_whole or len(docs) in (0, {2 * PAIRS}), f'half a write: {{len(docs)}}'
    for id_, doc in by_id.items():
        assert doc.vector[1] == (doc.count if id_[0] == '+' else -doc.count), f'vector of another version: {{doc}}'
        if is_whole:
            assert (by_id[('-' if id_[0] == '+' else '+') + id_[1:]].vector == -doc.vector).all()
    return max(counts, default=0)

ids = [f'{{sign}}{{at}}' for at in range({PAIRS}) for sign in '+-']
index = Words(sys.argv[1], read_only=True)
until, calls, last, seen = time.monotonic() + float(sys.argv[2]), 0, 0, set()
print('open', flush=True)
while time.monotonic() < until or (min(calls / 5, len(seen) / 3) < 1 and time.monotonic() < until + 60):
    query = np.array([1, last, 1, 1], np.float32)
    counts = [check(index.get(ids))]
    found = index.find(query, limit=100)
    assert (np.diff(found.scores) >= 0).all()
    for doc, score in zip(found.documents, found.scores):
        assert abs(((doc.vector - query) ** 2).sum() - score) <= 1e-4 * score + 1e-4, f'a wrong score: {{doc}}'
    counts.append(check(found.documents))
    counts.append(check(index.find(query, limit=100, exact=True).documents))
    batched = index.find_batched(np.stack([query, -query]), limit=100)
    counts.append(check(batched.documents[0]))
    assert check(batched.documents[1]) == counts[-1], 'two moments in one batch of queries'
    check(index.find(query, limit=3).documents, is_whole=False)
    assert len(list(index)) in (0, len(ids))
    assert len(index) in (0, len(ids))
    if index.get('+3') is not None and 'refill' not in sys.argv:
        assert len(index) == len(list(index)) == len(ids)
    for count in counts:
        assert count >= last or not count, f'went back from {{last}} to {{count}}'
        last = max(last, count)
    seen.add(last)
    calls += 1
report = index.verify()
assert report.is_sound, str(report)
index.close()
print('read', calls, len(seen), flush=True)
"""
)


def pairing(path: Path, *habits: str) -> subprocess.Popen[str]:
    """Start a writer of pairs, and return it when it has written some."""
    writer = programs.start(PAIRING, path, *habits)
    assert writer.stdout is not None
    assert writer.stdout.readline() == 'open\n'
    assert writer.stdout.readline().strip().isdecimal()
    return writer


def finished(reader: subprocess.Popen[str]) -> tuple[int, int]:
    """Return how many rounds a reader has made, and how many writes it has seen; fail with its error."""
    printed = reader.communicate(timeout=programs.PATIENCE)[0]
    assert reader.returncode == 0, printed
    *_, calls, seen = printed.split()
    return int(calls), int(seen)


@pytest.mark.parametrize('habits', [[], ['compact'], ['compact', 'refill']], ids=['plain', 'compacting', 'refilling'])
def test_readers_see_whole_writes_only(tmp_path: Path, habits: list[str]) -> None:
    """
    Two readers look at pairs that a writer keeps equal, by get, find, exact, batched, len and iteration: none is torn.

    The writer compacts again and again, or deletes everything and begins anew, and the readers go on.
    """
    writer = pairing(tmp_path, *habits)
    try:
        readers = [programs.start(READING, tmp_path, 1.5, *habits) for _ in range(2)]
        rounds = [finished(reader) for reader in readers]
    finally:
        kill(writer)
    print(f'rounds and writes seen: {rounds}')
    assert all(calls >= 5 and seen >= 3 for calls, seen in rounds)


def test_readers_survive_writers_that_are_killed(tmp_path: Path) -> None:
    """Writers are killed in the middle of their work, one after another; a reader that stays open sees whole writes."""
    print(f'seed {SEED}')
    chance = random.Random(SEED)
    writer = pairing(tmp_path, 'compact', 'refill')
    reader = programs.start(READING, tmp_path, 3, 'refill')
    assert reader.stdout is not None
    assert reader.stdout.readline() == 'open\n'
    kills = 0
    while reader.poll() is None:
        time.sleep(chance.uniform(0, 0.3))
        kill(writer)
        kills += 1
        writer = pairing(tmp_path, 'compact', 'refill')
    kill(writer)
    calls, seen = finished(reader)
    print(f'{kills} kills, {calls} rounds, {seen} writes seen')
    assert kills >= 2
    assert seen >= 3
    with Words(tmp_path) as index:
        assert index.verify().is_sound


# -- the schema of a reader ----------------------------------------------------------------------------------


def test_a_reader_has_a_field_more(path: Path) -> None:
    """A reader's schema may have another field with a default, which stored documents have then; nothing is changed."""

    class Longer(Word):
        note: str | None = 'none'

    with Words(path) as writer, HnswDocumentIndex[Longer](path, read_only=True) as reader:
        writer.index(word('new', 77))
        assert reader['new'].note == 'none'
        assert reader.find([77] * 4, limit=1).documents[0].note == 'none'
        with Words(path) as same:
            assert len(same) == 11


def test_a_reader_has_a_field_less(path: Path) -> None:
    """A reader's schema may lack a field that is no vector."""

    class Shorter(BaseDoc):
        vector: NdArray = Field(dim=4)

    with HnswDocumentIndex[Shorter](path, read_only=True) as reader:
        assert not hasattr(reader['3'], 'count')
    with Words(path) as writer:
        assert writer['3'].count == 3


def refused(path: Path, schema: type[BaseDoc], match: str, error: type[Exception] = SchemaMismatchError) -> Any:
    with pytest.raises(error, match=match) as raised:
        HnswDocumentIndex[schema](path, read_only=True)  # type: ignore[valid-type]
    with Words(path, read_only=True) as reader, Words(path) as writer:
        assert len(reader) == len(writer) == 10
    return raised.value


def test_a_reader_with_another_type_is_refused(path: Path) -> None:
    """The error names the field and both types."""

    class Different(BaseDoc):
        count: str = ''
        vector: NdArray = Field(dim=4)

    refused(path, Different, 'count is int there and str here')


def test_a_reader_with_another_dimension_is_refused(path: Path) -> None:
    """The error names the vector field and both dimensions."""

    class Different(BaseDoc):
        count: int = 0
        vector: NdArray = Field(dim=5)

    refused(path, Different, r'vector is vector\[.*4.*\] there and vector\[.*5.*\] here')


def test_a_reader_without_a_vector_field_is_refused(path: Path) -> None:
    """A vector field less is refused, as it is for a writer."""

    class Different(BaseDoc):
        count: int = 0

    refused(path, Different, 'vector')


def test_a_reader_with_another_space_is_refused(path: Path) -> None:
    """A graph is built for one space: the error names both, and says that a writer can change it."""

    class Different(Word):
        vector: NdArray = Field(dim=4, space='cosine')

    error = refused(path, Different, 'l2.*cosine', SettingsError)
    assert 'writing' in str(error)


def test_a_reader_with_a_new_vector_field_is_refused(path: Path) -> None:
    """Even an optional vector that is not stored yet is refused, with what to do; once a writer did it, it opens."""

    class Richer(Word):
        cover: NdArray | None = Field(default=None, dim=2)

    error = refused(path, Richer, 'cover')
    assert 'writing' in error.hint
    with HnswDocumentIndex[Richer](path) as writer:
        writer.index(Richer(id='new', vector=[1, 2, 3, 4], cover=[1, 2]))
    with HnswDocumentIndex[Richer](path, read_only=True) as reader:
        assert reader.find([1, 2], 'cover').documents.id == ['new']


def test_settings_of_a_readers_schema_are_its_own(path: Path) -> None:
    """`ef` in a reader's schema applies to its searches; what is stored, and the writer, know nothing of it."""

    class Thorough(BaseDoc):
        count: int = 0
        vector: NdArray = Field(dim=4, ef=444)

    with Words(path) as writer, HnswDocumentIndex[Thorough](path, read_only=True) as reader:
        assert (reader.settings()['ef'], writer.settings()['ef']) == (444, None)
        writer.configure(num_threads=2)
        assert len(reader) == 10
        assert (reader.settings()['ef'], reader.settings()['num_threads']) == (444, 2)
        writer.compact()
        assert len(reader) == 10
        assert (reader.settings()['ef'], writer.settings()['ef']) == (444, None)
        with other(path, read_only=True) as another:
            assert another("index.settings()['ef']") == 'None'


def test_two_readers_of_one_process_have_their_own_settings(path: Path) -> None:
    """A reader whose schema has another `ef` than that of a reader which is open already searches with its own."""

    class Thorough(BaseDoc):
        count: int = 0
        vector: NdArray = Field(dim=4, ef=444)

    with Words(path, read_only=True) as first, HnswDocumentIndex[Thorough](path, read_only=True) as second:
        assert (first.settings()['ef'], second.settings()['ef']) == (None, 444)


GIVES_ANOTHER_SCHEMA = (
    WORDS
    + """
class Longer(Word):
    note: str | None = None

with HnswDocumentIndex[Longer](sys.argv[1]) as index:
    index.index(Longer(id='longer', vector=[1, 2, 3, 4], note='!'))
"""
)


def test_the_schema_changes_while_a_reader_is_open(path: Path) -> None:
    """A reader whose directory gets another schema says so at each call, and what to do; a new one opens."""
    with Words(path, read_only=True) as reader:
        assert len(reader) == 10
        ended = programs.run(GIVES_ANOTHER_SCHEMA, path)
        assert ended.returncode == 0, ended.stderr
        calls: list[Callable[[], object]] = [
            lambda: len(reader),
            lambda: reader.get('1'),
            lambda: reader.find([1, 2, 3, 4]),
            lambda: list(reader),
            lambda: '1' in reader,
            lambda: reader.verify(),
        ]
        for call in calls:
            with pytest.raises(SchemaMismatchError, match='another schema') as raised:
                call()
            assert raised.value.path == str(path)
            assert 'open it anew' in raised.value.hint
    with Words(path, read_only=True) as reader:
        assert list(reader)[-1] == 'longer'


GIVES_ANOTHER_SPACE = (
    WORDS
    + """
class Turned(BaseDoc):
    count: int = 0
    vector: NdArray = Field(dim=4, space='cosine')

HnswDocumentIndex[Turned](sys.argv[1]).close()
"""
)


def test_the_space_changes_while_a_reader_is_open(path: Path) -> None:
    """A reader whose schema has a space never answers with distances of another without a word."""

    class Flat(BaseDoc):
        count: int = 0
        vector: NdArray = Field(dim=4, space='l2')

    HnswDocumentIndex[Flat](path).close()
    with HnswDocumentIndex[Flat](path, read_only=True) as reader:
        assert len(reader) == 10
        ended = programs.run(GIVES_ANOTHER_SPACE, path)
        assert ended.returncode == 0, ended.stderr
        with pytest.raises((SchemaMismatchError, SettingsError)):
            reader.find([7, 7, 7, 7], limit=1)


# -- a medium that cannot be written -------------------------------------------------------------------------


@pytest.fixture
def read_only_path(path: Path, tmp_path: Path) -> Iterator[Path]:
    """The directory `path` once more, where nothing can be written."""
    mounted = tmp_path / 'mounted'
    mounted.mkdir()
    if not hasattr(os, 'geteuid') or os.geteuid() != 0:
        pytest.skip('only root can mount')

    def call(*command: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*map(str, command)], capture_output=True, check=False)

    try:
        if call('mount', '--bind', path, mounted).returncode:
            pytest.skip('mount does not work here')
        try:
            if call('mount', '-o', 'remount,ro,bind', mounted).returncode:
                pytest.skip('a bind mount cannot be made read-only here')
            yield mounted
        finally:
            assert call('umount', '-l', mounted).returncode == 0
    except FileNotFoundError:
        pytest.skip('there is no mount')


def test_a_directory_that_cannot_be_written_is_read(path: Path, read_only_path: Path) -> None:
    """A closed index on a read-only file system is read: all of it, and sound; a writer is refused."""
    before = sorted(path.rglob('*'))
    with Words(read_only_path, read_only=True) as reader:
        assert nearest(reader, 5) == '5'
        assert len(reader) == 10
        assert reader.verify().is_sound
    with pytest.raises(WorkDirError, match='Read-only'):
        Words(read_only_path)
    assert sorted(path.rglob('*')) == before


def test_a_reader_that_cannot_write_follows_a_writer_that_can(path: Path, read_only_path: Path) -> None:
    """Where only the reader cannot write, it sees a writer come, store, compact and go."""
    with Words(read_only_path, read_only=True) as reader:
        assert len(reader) == 10
        with Words(path) as writer:
            writer.index(word('new', 77))
            assert nearest(reader, 77) == 'new'
            writer.delete('5')
            assert '5' not in reader
            writer.compact()
            assert (len(reader), nearest(reader, 77)) == (10, 'new')
        assert (len(reader), nearest(reader, 77)) == (10, 'new')


def test_a_reader_that_cannot_write_notices_a_writer_that_has_gone_again(path: Path, read_only_path: Path) -> None:
    """A writer that comes, writes and goes between two calls of such a reader is not overlooked."""
    with Words(read_only_path, read_only=True) as reader:
        assert len(reader) == 10
        with Words(path) as writer:
            writer.index([word(f'new {at}', at) for at in range(500)])
            writer.delete('5')
        assert len(reader) == len(list(reader)) == 509
        assert '5' not in reader
        assert reader['new 3'].vector[0] == 3


def killed_after_writing(path: Path) -> None:
    """Leave in SQLite's log what is not in its file."""
    with suppress(AssertionError), other(path) as writer:
        writer("(index.index(word('new', 77)), index.delete('5'))")
        writer.process.kill()
    assert (path / 'documents.sqlite3-wal').stat().st_size


def test_the_log_of_a_killed_writer_is_read_where_nothing_can_be_written(path: Path, read_only_path: Path) -> None:
    """A reader that cannot write has what a killed writer had acknowledged in the log, and follows the next writer."""
    killed_after_writing(path)
    with Words(read_only_path, read_only=True) as reader:
        assert (len(reader), nearest(reader, 77), '5' in reader) == (10, 'new', False)
        assert reader.verify().is_sound
        with other(path) as writer:
            writer("index.index(word('newer', 88))")
            assert nearest(reader, 88) == 'newer'
        assert (len(reader), nearest(reader, 88)) == (11, 'newer')


def test_a_log_that_cannot_be_read_is_not_passed_over(path: Path, read_only_path: Path) -> None:
    """Without the index of the log, as in a copy that left it out, such a reader has all that is there or says no."""
    killed_after_writing(path)
    (path / 'documents.sqlite3-shm').unlink()
    with suppress(WorkDirError), Words(read_only_path, read_only=True) as reader:
        assert (len(reader), nearest(reader, 77), '5' in reader) == (10, 'new', False)
    with Words(path) as writer:
        assert (len(writer), nearest(writer, 77), '5' in writer) == (10, 'new', False)


# -- looking for news is cheap -------------------------------------------------------------------------------


def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the statements that are sent to SQLite from now on."""
    sent: Counter[str] = Counter()
    send = Connection.all

    def counting(connection: Connection, sql: str, *parameters: Any) -> list[Any]:
        sent[sql] += 1
        return send(connection, sql, *parameters)

    monkeypatch.setattr(Connection, 'all', counting)
    # `Rows` takes the method when it is made: those that are idle are not counted.
    return sent


def test_nothing_is_read_anew_when_there_is_no_news(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a reader that finds nothing new asks SQLite for one moment and its number of commits, and no more."""
    with Words(path) as writer:
        writer.index(word('new', 77))
        sent = statements(monkeypatch)
        with Words(path, read_only=True) as reader:
            assert (len(reader), nearest(reader, 77)) == (11, 'new')
            for name in ('read', 'follow'):
                monkeypatch.setattr(State, name, lambda *_: pytest.fail('there was nothing to follow'))
            monkeypatch.setattr(Rows, 'meta', lambda _: pytest.fail('there was nothing new'))
            sent.clear()
            for _ in range(5):
                assert len(reader) == 11
            assert sent == {'BEGIN': 5, "SELECT value FROM meta WHERE key = 'commits'": 5, 'ROLLBACK': 5}


def test_news_are_followed_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write is followed without reading everything anew; only a compaction makes a reader begin again."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        assert len(reader) == 10
        anew: list[object] = []
        read = State.read
        monkeypatch.setattr(State, 'read', lambda *arguments: (anew.append(1), read(*arguments))[1])
        for at in range(20):
            writer.index(word(f'new {at}', at + 100))
            writer.update('1', count=at)
            assert (nearest(reader, at + 100), reader['1'].count) == (f'new {at}', at)
        assert not anew
        writer.compact()
        assert len(reader) == 30
        assert len(anew) == 1


def test_an_export_begins_while_the_writer_compacts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose vector files a compaction removes, just as it opens them, exports what is there then."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        reopened = VectorFile.reopened

        def late(file: VectorFile) -> VectorFile:
            monkeypatch.undo()
            del writer['3']
            writer.compact()
            return reopened(file)

        monkeypatch.setattr(VectorFile, 'reopened', late)
        reader.export(path.with_suffix('.jsonl'))
    assert len(path.with_suffix('.jsonl').read_text().splitlines()) == 9


# -- fork ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork here')
def test_a_forked_reader_refuses_and_so_does_another(path: Path) -> None:
    """A forked process can neither use the parent's reader nor open its own; the parent's goes on seeing news."""
    with Words(path) as writer, Words(path, read_only=True) as reader:
        assert len(reader) == 10
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(20)
                for call in (lambda: len(reader), lambda: reader.get('1'), lambda: reader.find([1, 2, 3, 4])):
                    with pytest.raises(ClosedIndexError, match='fork'):
                        call()
                reader.close()
                with pytest.raises(WorkDirLockedError, match='forked'):
                    Words(path, read_only=True)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        writer.index(word('new', 77))
        assert nearest(reader, 77) == 'new'
        with pytest.raises(DocumentNotFoundError):
            reader['nobody']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork here')
@pytest.mark.parametrize('given', [{}, {'shared_writes': True}, {'read_only': True}], ids=str)
def test_a_forked_child_cannot_open_what_the_parent_has_closed(path: Path, given: dict[str, Any]) -> None:
    """What was open when a process was forked stays closed to the child, which has none of SQLite's locks."""
    ended = os.pipe()
    with Words(path, **given) as index:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(20)
                os.read(ended[0], 1)
                with pytest.raises(WorkDirLockedError, match='forked') as raised:
                    Words(path, shared_writes=True)
                assert raised.value.pid == os.getppid()
                status = 0
            finally:
                os._exit(status)
        assert len(index) == 10
    os.write(ended[1], b'x')
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with Words(path) as index:
        index.index(word('new', 77))
        assert len(index) == 11
    for end in ended:
        os.close(end)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork here')
def test_a_forked_child_opens_what_was_closed_before(path: Path) -> None:
    """A directory that the parent has closed before the fork is open to the child as to anybody."""
    with Words(path) as index:
        index.index(word('new', 77))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(20)
            with Words(path, read_only=True) as own:
                assert nearest(own, 77) == 'new'
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(not Path('/proc/locks').exists(), reason='only Linux lists locks')
@pytest.mark.parametrize('given', [{}, {'shared_writes': True}, {'read_only': True}], ids=str)
def test_warming_up_keeps_the_locks_of_sqlite(path: Path, given: dict[str, Any]) -> None:
    """After `warm_up` this process still has its locks on the file of documents, by which others know of it."""
    inode = (path / 'documents.sqlite3').stat().st_ino

    def held() -> list[str]:
        lines = [line.split() for line in Path('/proc/locks').read_text().splitlines()]
        return [' '.join(line[1:]) for line in lines if line[4] == str(os.getpid()) and line[5].endswith(f':{inode}')]

    with Words(path, **given) as index:
        before = held()
        assert before
        index.warm_up()
        assert held() == before


@pytest.mark.parametrize('what', ['save', 'compact'])
def test_a_thread_follows_while_another_wakes_a_graph(path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A graph that one thread wakes is left alone once another has replaced it, and no document is found twice."""
    real, calls, mine = GraphCache._add, [0], threading.current_thread()
    with Words(path) as writer:
        writer.save_graphs()
        writer.index([word(str(at), at, at) for at in range(3_000)])
        with Words(path, read_only=True, lazy=True) as reader:
            graphs, lock = reader._store.state.graphs, reader._store._following.lock
            others = threading.Thread(target=lambda: len(reader))
            acquire = lock.acquire_exclusive

            def add(cache: GraphCache, field: str, stop: int) -> None:
                rows = stop - cache._graphs[field].covered
                real(cache, field, stop)
                if cache is graphs and rows > STEP_ROWS and not others.ident:
                    writer.compact() if what == 'compact' else writer.update('1', count=5)
                    writer.save_graphs()
                    others.start()

            def late() -> None:  # this thread is put to sleep just before it takes the lock, and the other gets it
                if threading.current_thread() is mine and others.ident and not calls[0]:
                    calls[0] += 1
                    others.join(20)
                acquire()

            monkeypatch.setattr(GraphCache, '_add', add)
            monkeypatch.setattr(lock._exclusive, '_acquire', late)
            for value in (5, 50, 500, 2_500):
                found = reader.find(np.full(4, value, np.float32), limit=9).documents.id
                assert len(set(found)) == 9
                assert found[0] == str(value)
        assert calls == [1]
