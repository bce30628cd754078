"""
Every write, stopped at every step it takes: by the death of the process, by a failing disk, by Ctrl-C.

What is there afterwards is the state before the write, or the one after it, whole.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from docindex import DocIndexError, Field, HnswDocumentIndex, NdArray
from docindex.hnsw import unsynced
from docindex.testing import ExactIndex
from docindex.testing.films import SPACES, Film, a_film, films
from tests.crash.agreement import check_agreement
from tests.crash.disk import FILE_STEPS, Photographer, Saboteur

Write = Callable[[Any], None]


class Told(Film):
    """A film whose title is searched for words."""

    title: str = Field(default='', full_text=True)


class Oracle(ExactIndex[Told]):
    """What an index should hold and find, by filters and words too."""

    def copy(self) -> Oracle:
        twin = Oracle(self.spaces)
        twin.docs = dict(self.docs)
        return twin

    def index(self, docs: Iterable[Film]) -> None:
        super().index(Told(**dict(doc)) for doc in docs)

    def check_all(self, index: Any) -> None:
        super().check_all(index)
        check_agreement(index, self.docs)


def _store_and_replace(index: Any) -> None:
    index.index([*films(4, seed=9), a_film('new', [1, 1, 1, 1])])


def _batch(index: Any) -> None:
    with index.batch() if isinstance(index, HnswDocumentIndex) else nullcontext():
        _store_and_replace(index)
        index.update('film 1', title='New')
        index.delete(['film 0', 'new', 'film 5'])
        index.index([*films(2, seed=4), a_film('newer', [2, 2, 2, 2])])


def _housekeeping(name: str) -> Write:
    def write(index: Any) -> None:
        if isinstance(index, HnswDocumentIndex):
            getattr(index, name)()

    return write


WRITES: dict[str, Write] = {
    'index': _store_and_replace,
    'index, as if many': _store_and_replace,
    'update': lambda index: index.update('film 0', title='New'),
    'update a vector': lambda index: index.update('film 0', plot=films(1, seed=9)[0].plot),
    'delete': lambda index: index.delete(['film 0', 'film 5']),
    'batch': _batch,
    'batch, as if many': _batch,
    'save_graphs': _housekeeping('save_graphs'),
    'compact': _housekeeping('compact'),
    'close': _housekeeping('close'),
    'configure': lambda index: index.configure(ef=77) if isinstance(index, HnswDocumentIndex) else None,
}
_WRITES = pytest.mark.parametrize('name', WRITES)

_ONE_FIELD = ['create_empty', 'publish', 'sync_file', 'sync_directory', 'write_at', 'sync_file']
_ONE_GRAPH = ['create_empty', 'save', 'publish', 'sync_file', 'sync_directory']
_COMMIT = ['keep_unsynced', 'commit', *['write_at'] * 3]
_SYNCED = ['write_at', 'sync_file'] * 3  # what has copies is written once more
_COMMIT_MANY = [*_SYNCED, 'forget_unsynced', 'commit', *['write_at'] * 3]
_CALLS_OF_A_BATCH = ['begin', *['write_at'] * 3, 'apply', 'apply', 'apply', *['write_at'] * 3, 'apply']
STEPS_OF: dict[str, list[str]] = {
    'index': ['begin', *['write_at'] * 3, 'apply', *_COMMIT, 'roll_back'],
    'index, as if many': ['begin', *['write_at'] * 3, 'apply', *_COMMIT_MANY, 'roll_back'],
    'update': ['begin', 'apply', 'commit', *['write_at'] * 3, 'roll_back'],
    'update a vector': ['begin', *['write_at'] * 3, 'apply', *_COMMIT, 'roll_back'],
    'delete': ['begin', 'apply', 'commit', *['write_at'] * 3, 'roll_back'],
    'batch': [*_CALLS_OF_A_BATCH, *_COMMIT, 'roll_back'],
    'batch, as if many': [*_CALLS_OF_A_BATCH, *_COMMIT_MANY, 'roll_back'],
    'save_graphs': [*_ONE_GRAPH, 'record', 'remove'] * 3,
    'compact': [*_ONE_FIELD * 3, *_ONE_GRAPH * 3, 'renumber', *['write_at'] * 3, *['remove'] * 6, 'vacuum'],
    'close': [*[*_ONE_GRAPH, 'record', 'remove'] * 3, *_SYNCED, 'record_synced', 'forget_unsynced'],
    'configure': ['set_meta', *['write_at'] * 3],
}
"""What each write does to the files, three of vectors and three of graphs; in between it is stopped."""


def make(path: Path) -> None:
    """Make an index of films with a past: graph files, tombstones, and a killed process that had not saved it all."""
    life = path.with_name(f'{path.name}, earlier')
    with HnswDocumentIndex[Told](work_dir=life) as index:
        index.index(films(10, seed=3))
        index.index(films())
    with HnswDocumentIndex[Told](work_dir=life) as index:
        index.update('film 7', plot=films(8, seed=5)[7].plot)
        index.update('film 7', plot=films()[7].plot)
        shutil.copytree(life, path, dirs_exist_ok=True)


def states(write: Write) -> tuple[Oracle, Oracle]:
    """Return what is stored before and after a write."""
    before = Oracle(SPACES)
    before.index(films())
    after = before.copy()
    write(after)
    return before, after


def write_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a write, and let vector files be synced in it if that is what many vectors want."""
    if name.endswith('as if many'):
        monkeypatch.setattr(unsynced, '_SMALL', 0)
    return WRITES[name]


def is_in(index: HnswDocumentIndex[Told], *states: Oracle) -> Oracle:
    """Assert that `index` holds one of these states, whole, and return it."""
    for state in states[:-1]:
        try:
            state.check_all(index)
        except AssertionError:
            continue
        return state
    states[-1].check_all(index)
    return states[-1]


@_WRITES
def test_a_death_at_any_step_leaves_before_or_after(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies before or after any step of a write leaves the state before it or after it (I1 to I6)."""
    make(tmp_path / 'index')
    write = write_of(name, monkeypatch)
    before, after = states(write)
    photographer = Photographer(tmp_path / 'index', tmp_path / 'album')
    with HnswDocumentIndex[Told](work_dir=tmp_path / 'index') as index, photographer.watching():
        write(index)
        index.close()
    steps = [moment.removeprefix('before ') for moment, _ in photographer.photographs if moment.startswith('before ')]
    assert steps[: len(STEPS_OF[name])] == STEPS_OF[name]
    for moment, photograph in photographer.photographs:
        print(moment, photograph)
        with HnswDocumentIndex[Told](work_dir=photograph) as index:
            is_in(index, before, after)
            report = index.verify()
            assert report.is_sound, str(report)


def test_a_death_at_any_step_of_making_an_index_leaves_one_or_none(tmp_path: Path) -> None:
    """A directory that was half made is made when it is opened the next time."""
    photographer = Photographer(tmp_path / 'index', tmp_path / 'album')
    (tmp_path / 'index').mkdir()
    with photographer.watching(), HnswDocumentIndex[Told](work_dir=tmp_path / 'index'):
        pass
    steps = [moment.removeprefix('before ') for moment, _ in photographer.photographs if moment.startswith('before ')]
    assert steps == [*['sync_directory'] * 2, *_ONE_FIELD[:4] * 3, 'create', 'sync_directory']
    for name, photograph in photographer.photographs:
        print(name, photograph)
        with HnswDocumentIndex[Told](work_dir=photograph) as index:
            assert len(index) == 0
            index.index(films())
            states(lambda index: None)[0].check_all(index)


class Longer(Told):
    """A film as a later version of a program has it."""

    smell: NdArray | None = Field(default=None, dim=3)
    grade: int = 3


def test_a_death_at_any_step_of_taking_a_new_schema_loses_nothing(tmp_path: Path) -> None:
    """A directory that was half carried over to another schema is carried over when it is opened the next time."""
    make(tmp_path / 'index')
    photographer = Photographer(tmp_path / 'index', tmp_path / 'album')
    with photographer.watching(), HnswDocumentIndex[Longer](work_dir=tmp_path / 'index'):
        pass
    steps = [moment.removeprefix('before ') for moment, _ in photographer.photographs if moment.startswith('before ')]
    assert steps[:6] == [*_ONE_FIELD[:4], 'adapt', 'put_fields']
    for moment, photograph in photographer.photographs:
        print(moment, photograph)
        with HnswDocumentIndex[Longer](work_dir=photograph) as index:
            assert {film.id: film.title for film in index.get(list(index))} == {film.id: film.title for film in films()}
            check_agreement(index, {film.id: Longer(**dict(film)) for film in films()})
            assert index.count({'grade': 3}) == len(films())
            index.update('film 7', smell=[1, 2, 3])
            assert index.find([0, 0, 0], 'smell').documents.id == ['film 7']
            assert index.find(films()[7].plot, 'plot', limit=1).documents.id == ['film 7']
            report = index.verify()
            assert report.is_sound, str(report)


@pytest.mark.parametrize('size', [0, 1, 21, 200])
def test_a_torn_row_of_vectors_is_never_seen(tmp_path: Path, size: int) -> None:
    """Vectors that were written in part when the process died are debris that the next write replaces (I2, I3)."""
    before, after = states(_store_and_replace)
    make(tmp_path / 'index')
    (file,) = (tmp_path / 'index' / 'vectors').glob('plot.*.f32')
    with file.open('ab') as torn:
        torn.write(b'\xff' * size)
    with HnswDocumentIndex[Told](work_dir=tmp_path / 'index') as index:
        before.check_all(index)
        _store_and_replace(index)
        after.check_all(index)
    with HnswDocumentIndex[Told](work_dir=tmp_path / 'index') as index:
        after.check_all(index)


FAILURES: dict[str, tuple[str, Callable[[], BaseException]]] = {
    'the disk is full': ('before', lambda: OSError(errno.ENOSPC, 'No space left on device')),
    'Ctrl-C before': ('before', KeyboardInterrupt),
    'Ctrl-C after': ('after', KeyboardInterrupt),
}


@_WRITES
@pytest.mark.parametrize('failure', FAILURES.values(), ids=FAILURES)
def test_a_failure_at_any_step_leaves_before_or_after(
    tmp_path: Path, name: str, failure: tuple[str, Callable[[], BaseException]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A write that fails at any step leaves one state, in memory and on the disk alike, and the next write works (I7).

    A write that returns has happened.
    """
    when, error = failure
    make(tmp_path / 'made')
    write = write_of(name, monkeypatch)
    before, after = states(write)
    steps: list[str] = []
    for at in range(100):
        directory = tmp_path / str(at)
        shutil.copytree(tmp_path / 'made', directory)
        index = HnswDocumentIndex[Told](work_dir=directory)
        saboteur = Saboteur(at, error(), when)
        has_raised = False
        with saboteur.at_work():
            try:
                write(index)
            except (OSError, KeyboardInterrupt):
                has_raised = True
        print(f'step {at}: {saboteur.struck}, {"raised" if has_raised else "returned"}')
        allowed = [before, after] if has_raised else [after]
        if name == 'close':
            index.close()  # an interrupted closing can be repeated
            index = HnswDocumentIndex[Told](work_dir=directory)
        with index:
            state = is_in(index, *allowed).copy()
            index.index(films(3, seed=11))
            state.index(films(3, seed=11))
            state.check_all(index)
        with HnswDocumentIndex[Told](work_dir=directory) as index:
            state.check_all(index)
        if saboteur.struck is None:
            assert sorted(steps) == sorted(
                STEPS_OF[name]
            )  # in the order in which they end, a `publish` after its parts
            return
        steps.append(saboteur.struck)
    pytest.fail('the write took a hundred steps')


@pytest.mark.parametrize('name', ['index', 'update', 'update a vector', 'delete', 'batch'])
def test_a_full_disk_is_an_error_of_this_library(tmp_path: Path, name: str) -> None:
    """A call that the disk fails raises a `DocIndexError` and has done nothing; or it returns and has done all."""
    before, after = states(WRITES[name])
    make(tmp_path / 'made')
    for at in range(100):
        directory = tmp_path / str(at)
        shutil.copytree(tmp_path / 'made', directory)
        saboteur = Saboteur(at, OSError(errno.ENOSPC, 'No space left on device'), 'before', FILE_STEPS)
        with HnswDocumentIndex[Told](work_dir=directory) as index:
            expected = after
            with saboteur.at_work():
                try:
                    WRITES[name](index)
                except DocIndexError:
                    expected = before
            print(f'step {at}: {saboteur.struck}')
            expected.check_all(index)
        if saboteur.struck is None:
            names = {step for _, step in FILE_STEPS}
            assert at == sum(step in names for step in STEPS_OF[name])
            return
    pytest.fail('the write took a hundred steps')


def test_a_progress_bar_that_cannot_be_shown_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a bar without tqdm fails before anything is written (I7)."""
    monkeypatch.setitem(__import__('sys').modules, 'tqdm.auto', None)
    with HnswDocumentIndex[Told](work_dir=tmp_path) as index:
        with pytest.raises(ImportError, match='tqdm'):
            index.index(films(), show_progress=True)
        assert len(index) == 0


@pytest.mark.parametrize('loss', ['missing', 'damaged'])
def test_a_graph_that_was_rebuilt_is_kept(tmp_path: Path, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    """A graph file that was lost is rebuilt once, and found sound by the opening after that (I5, I6)."""
    make(tmp_path / 'index')
    with HnswDocumentIndex[Told](work_dir=tmp_path / 'index'):
        pass
    for file in (tmp_path / 'index' / 'graphs').iterdir():
        if loss == 'missing':
            file.unlink()
        else:
            file.write_bytes(b'not a graph')
    for _ in range(2):
        with HnswDocumentIndex[Told](work_dir=tmp_path / 'index') as index:
            states(lambda index: None)[0].check_all(index)
    rebuilt = [record for record in caplog.records if 'rebuilt' in record.message]
    caplog.clear()
    with HnswDocumentIndex[Told](work_dir=tmp_path / 'index'):
        pass
    assert rebuilt
    assert not [record for record in caplog.records if 'rebuilt' in record.message], 'rebuilt at every opening'
