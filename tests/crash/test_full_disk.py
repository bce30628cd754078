"""
A disk that fills up: a small file system of its own, and every call with less and less room on it.

A stand-in that raises (`test_every_step.py`) chooses its moments; a full disk also cuts writes short, lets some of
SQLite's own fail, and lets none of them be repeated.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

import pytest

from docindex import Field, HnswDocumentIndex, NdArray, WorkDirError
from docindex.testing import ExactIndex
from docindex.testing.films import SPACES, Film, films
from tests.crash.agreement import check_agreement
from tests.crash.disk import FILE_STEPS, Saboteur
from tests.crash.shelf import Shelf
from tests.crash.workload import LISTS, Section, a_note, a_section, open_index, pages
from tests.crash.workload import SPACES as PAGE_SPACES

PAGE = 4096
SIZE = 900 * PAGE
ROOMS = [0, 1, 3, 6, 12, 40]
"""How many pages are left when a call begins."""


class Disk:
    """A file system of 3.6 MB, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / 'ballast'

    def fill(self, but: int = 0) -> None:
        """Take all room `but` for some pages."""
        with self._ballast.open('ab', 0) as file:
            try:
                while file.write(bytes(PAGE)):
                    pass
            except OSError as error:
                is_full = error.errno == errno.ENOSPC
        assert is_full
        os.truncate(self._ballast, max(self._ballast.stat().st_size // PAGE - but, 0) * PAGE)
        free = os.statvfs(self.path)
        assert free.f_bavail * free.f_frsize == but * PAGE

    def make_room(self) -> None:
        """Give all of it back."""
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk."""
    if not hasattr(os, 'geteuid') or os.geteuid() != 0:
        pytest.skip('only root can mount a small disk')
    path = tmp_path / 'disk'
    path.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', f'size={SIZE}', 'docindex-test', str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip('there is no mount')
    if mounted.returncode:
        pytest.skip(f'a small disk cannot be mounted here: {mounted.stderr.strip()}')
    try:
        yield Disk(path)
    finally:
        subprocess.run(['umount', '--lazy', str(path)], check=True)


def many_films() -> list[Film]:
    """Return films that take a hundred pages."""
    return [film.model_copy(update={'title': film.title * 4000}) for film in films(16, seed=9)]


def in_a_batch(index: Any) -> None:
    """Store, change and delete in one commit."""
    if not isinstance(index, HnswDocumentIndex):
        do_all(index)
        return
    with index.batch():
        do_all(index)


def do_all(index: Any) -> None:
    index.index(many_films()[4:])
    index.update('film 1', title='New' * 5000)
    index.delete(['film 0', 'film 13'])


WRITES: dict[str, Callable[[Any], object]] = {
    'index': lambda index: index.index(many_films()),
    'update': lambda index: index.update('film 0', title='New' * 10_000),
    'update a vector': lambda index: index.update('film 0', plot=films(1, seed=9)[0].plot),
    'delete': lambda index: index.delete([f'film {at}' for at in range(0, 12, 2)]),
    'batch': in_a_batch,
}
UPKEEP: dict[str, Callable[[HnswDocumentIndex[Film]], object]] = {
    'save_graphs': lambda index: index.save_graphs(),
    'compact': lambda index: index.compact(),
    'configure': lambda index: index.configure(ef=77),
    'verify': lambda index: index.verify(repair=True),
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An index of films with a past, that was closed."""
    with HnswDocumentIndex[Film](work_dir=tmp_path / 'made') as index:
        index.index(films(12, seed=3))
        index.index(films())
    return tmp_path / 'made'


def before() -> ExactIndex[Film]:
    oracle: ExactIndex[Film] = ExactIndex(SPACES)
    oracle.index(films())
    return oracle


def fails(call: Callable[[], object], directory: Path) -> bool:
    """Call it; return whether it failed, and assert that it said clearly what of."""
    try:
        call()
    except WorkDirError as error:
        check_clear(error, directory, 'No space left', 'disk', 'full')
        return True
    return False


def check_clear(error: BaseException, directory: Path, *words: str) -> None:
    """Assert that an error is of this library and says which file it is about, and one of these words."""
    assert isinstance(error, WorkDirError), f'not an error of this library: {error!r}'
    assert isinstance(error, OSError)
    assert str(directory) in str(error)
    assert not words or any(word in str(error) for word in words), str(error)


def check_onwards(disk: Disk, directory: Path, oracle: ExactIndex[Film]) -> None:
    """Assert that all is there, that what is closed on the full disk is whole, and goes on once there is room."""
    disk.make_room()
    with HnswDocumentIndex[Film](work_dir=directory) as index:
        oracle.check_all(index)
        for store in (index, oracle):
            store.index(films(3, seed=11))
        oracle.check_all(index)
        assert index.verify().is_sound
    with HnswDocumentIndex[Film](work_dir=directory) as index:
        oracle.check_all(index)


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES)
def test_a_write_for_which_there_is_no_room_is_none(disk: Disk, made: Path, write: Callable[[Any], object]) -> None:
    """A write raises a clear `WorkDirError` and has done nothing, or returns and has done all; reads go on."""
    outcomes = set()
    for room in ROOMS:
        directory = disk.path / f'index {room}'
        shutil.copytree(made, directory)
        oracle = before()
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            disk.fill(but=room)
            has_failed = fails(lambda index=index: write(index), directory)
            if not has_failed:
                write(oracle)
            print(f'{room} pages: {"failed" if has_failed else "done"}')
            outcomes.add(has_failed)
            oracle.check_all(index)
            disk.make_room()
            disk.fill()
        check_onwards(disk, directory, oracle)
        shutil.rmtree(directory)
    assert True in outcomes, 'there was always room'


def long_sections(page: str, count: int, words: int = 2000) -> list[Section]:
    """Return sections that take pages of the disk, each with a note."""
    found = [a_section(f'{page}/long {at}', 1, Random(at)) for at in range(count)]
    for section in found:
        section.title = f'{section.id} ' * words
        section.notes.append(a_note(f'{section.id}/note', 1, Random(1)))
    return found


def all_in_lists(store: Any) -> None:
    """Append to a list, store a page with another, change what is in a list and delete some of it, in one commit."""
    with store.batch() if isinstance(store, HnswDocumentIndex) else nullcontext():
        within = store.subindex('sections')
        within.append('page 0', long_sections('page 0', 4))
        store.index([pages(['page 1'], 2, Random(2))[0], *pages([f'new {at}' for at in range(9)], 2, Random(3))])
        within.update('page 0/long 1', title='New' * 9000)
        within.delete(['page 0/long 0', 'page 0/long 3'])


LIST_WRITES: dict[str, Callable[[Any], object]] = {
    'append': lambda store: store.subindex('sections').append('page 0', long_sections('page 0', 4)),
    'batch': all_in_lists,
}


@pytest.mark.parametrize('write', LIST_WRITES.values(), ids=LIST_WRITES)
def test_a_write_to_lists_for_which_there_is_no_room_is_none(
    disk: Disk, tmp_path: Path, write: Callable[[Any], object]
) -> None:
    """A write to lists of documents fails clearly, and every list is as it was; or it returns and has done all."""
    outcomes = set()
    for room in (0, 9, 200):
        directory, shelf = disk.path / f'index {room}', Shelf(PAGE_SPACES)
        with open_index(directory) as index:
            for store in (index, shelf):
                store.index(pages([f'page {at}' for at in range(6)], 0, Random(1)))
            disk.fill(but=room)
            has_failed = fails(lambda index=index: write(index), directory)
            if not has_failed:
                write(shelf)
            outcomes.add(has_failed)
            shelf.check_all(index)
            check_agreement(index, shelf.docs, lists=LISTS)
            disk.make_room()
            for store in (index, shelf):
                store.subindex('sections').append('page 2', long_sections('page 2', 3))
        with open_index(directory) as index:
            shelf.check_all(index)
            check_agreement(index, shelf.docs, lists=LISTS)
            assert index.verify().is_sound
        shutil.rmtree(directory)
    assert outcomes == {True, False}


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES)
def test_a_write_goes_on_when_there_is_room_again(disk: Disk, made: Path, write: Callable[[Any], object]) -> None:
    """After a write that failed the same index, without being opened anew, takes it as soon as there is room."""
    shutil.copytree(made, disk.path / 'index')
    oracle = before()
    with HnswDocumentIndex[Film](work_dir=disk.path / 'index') as index:
        disk.fill()
        while fails(lambda: write(index), disk.path):
            oracle.check_all(index)
            disk.make_room()
        write(oracle)
        oracle.check_all(index)
    check_onwards(disk, disk.path / 'index', oracle)


@pytest.mark.parametrize('upkeep', UPKEEP.values(), ids=UPKEEP)
def test_upkeep_without_room_changes_nothing(
    disk: Disk, made: Path, upkeep: Callable[[HnswDocumentIndex[Film]], object]
) -> None:
    """Housekeeping without room raises a `WorkDirError` or is done in part; no document changes; it works later."""
    for room in ROOMS:
        directory = disk.path / f'index {room}'
        shutil.copytree(made, directory)
        oracle = before()
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            index.update('film 7', plot=films(8, seed=5)[7].plot)
            oracle.update('film 7', plot=films(8, seed=5)[7].plot)
            disk.fill(but=room)
            try:
                upkeep(index)
                print(f'{room} pages: done')
            except OSError as error:
                print(f'{room} pages: {error!r}')
                check_clear(error, directory)
            oracle.check_all(index)
            disk.make_room()
            upkeep(index)
            oracle.check_all(index)
            disk.fill()
        check_onwards(disk, directory, oracle)
        shutil.rmtree(directory)


def test_a_backup_without_room_is_no_index(disk: Disk, made: Path) -> None:
    """A backup onto a disk that is full raises a `WorkDirError`; what is there of it does not open as an index."""
    with HnswDocumentIndex[Film](work_dir=made) as index:
        for room in ROOMS:
            disk.fill(but=room)
            copy = disk.path / 'copy'
            if fails(lambda copy=copy: index.backup(copy), disk.path):
                disk.make_room()
                assert not (copy / 'documents.sqlite3').exists()
                with pytest.raises(WorkDirError):
                    HnswDocumentIndex[Film](work_dir=copy, read_only=True)
            else:
                disk.make_room()
                with HnswDocumentIndex[Film](work_dir=copy) as copied:
                    before().check_all(copied)
            before().check_all(index)
            shutil.rmtree(copy, ignore_errors=True)
        assert room > 20
        index.backup(disk.path / 'copy')


class WithTrailer(Film):
    """A film that has got a large vector since."""

    trailer: NdArray | None = Field(default=None, dim=2048)


def test_a_new_field_without_room_leaves_the_directory_as_it_was(disk: Disk, made: Path) -> None:
    """A new vector field for which there is no room is a `WorkDirError`; the old schema still opens."""
    outcomes = set()
    for room in (*ROOMS, 80):
        directory = disk.path / f'index {room}'
        shutil.copytree(made, directory)
        disk.fill(but=room)
        opened: list[Any] = []
        has_failed = fails(
            lambda d=directory, o=opened: o.append(HnswDocumentIndex[WithTrailer](work_dir=d)), directory
        )
        for index in opened:
            index.close()
        outcomes.add(has_failed)
        disk.make_room()
        if has_failed:
            with HnswDocumentIndex[Film](work_dir=directory) as index:
                before().check_all(index)
        with HnswDocumentIndex[WithTrailer](work_dir=directory) as index:
            assert set(index) == set(before().docs)
            assert index['film 0'].trailer is None
        shutil.rmtree(directory)
    assert outcomes == {True, False}


@pytest.mark.parametrize('was', ['closed', 'killed'])
@pytest.mark.parametrize('read_only', [False, True], ids=['writer', 'reader'])
def test_a_full_disk_can_be_read(disk: Disk, made: Path, was: str, read_only: bool) -> None:
    """A full disk can be read, or there is a `WorkDirError` where SQLite has no room; nothing is lost."""
    outcomes = {}
    for room in (*ROOMS, 60):
        directory = disk.path / f'index {room}'
        if was == 'closed':
            shutil.copytree(made, directory)
        else:
            life = disk.path / 'life'
            shutil.copytree(made, life)
            with HnswDocumentIndex[Film](work_dir=life) as index:
                index.index(films())
                shutil.copytree(life, directory)
            shutil.rmtree(life)
            (directory / 'documents.sqlite3-shm').unlink()
        disk.fill(but=room)

        def look(directory: Path = directory) -> None:
            with HnswDocumentIndex[Film](work_dir=directory, read_only=read_only) as index:
                before().check_all(index)

        outcomes[room] = not fails(look, directory)
        check_onwards(disk, directory, before())
        shutil.rmtree(directory)
    print(outcomes)
    assert outcomes[60]
    assert outcomes[ROOMS[-1]]


def test_a_disk_that_fills_up_while_an_index_is_made(disk: Disk) -> None:
    """A new index for which there is no room raises a `WorkDirError`, and is made when there is some."""
    outcomes = set()
    for room in (*ROOMS, 60):
        directory = disk.path / f'new {room}'
        disk.fill(but=room)
        opened: list[Any] = []
        outcomes.add(fails(lambda d=directory, o=opened: o.append(HnswDocumentIndex[Film](work_dir=d)), directory))
        for index in opened:
            index.close()
        disk.make_room()
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            assert len(index) == 0
            index.index(films())
            before().check_all(index)
        shutil.rmtree(directory)
    assert outcomes == {True, False}


def test_a_disk_that_never_has_room_ends_no_process(disk: Disk, made: Path) -> None:
    """Fifty writes on a full disk fail alike, and leave nothing behind that takes room."""
    shutil.copytree(made, disk.path / 'index')
    with HnswDocumentIndex[Film](work_dir=disk.path / 'index') as index:
        disk.fill()
        opened = []
        for _ in range(50):
            assert fails(lambda: index.index(many_films()), disk.path)
            opened.append(len(list(Path('/proc/self/fd').iterdir())))
        assert opened[0] == opened[-1]
        before().check_all(index)
        assert not list(disk.path.rglob('*.new'))
    check_onwards(disk, disk.path / 'index', before())


FAILURES = {'ENOSPC': errno.ENOSPC, 'EIO': errno.EIO, 'EDQUOT': errno.EDQUOT}
_FAILURES = pytest.mark.parametrize('number', FAILURES.values(), ids=FAILURES)


def failing_at_each_step(made: Path, number: int, call: Callable[[Path, Saboteur], object]) -> set[str]:
    """Call it with a fresh directory for each step that the disk may fail; return which steps there were."""
    struck: set[str] = set()
    for at in range(100):
        directory = made.with_name(f'{made.name} {at}')
        shutil.copytree(made, directory)
        saboteur = Saboteur(at, OSError(number, os.strerror(number)), 'before', FILE_STEPS)
        call(directory, saboteur)
        shutil.rmtree(directory)
        if saboteur.struck is None:
            return struck
        struck.add(saboteur.struck)
    pytest.fail('it took a hundred steps')


@_FAILURES
@pytest.mark.parametrize('is_small', [True, False], ids=['small', 'as if many'])
def test_a_batch_that_the_disk_fails_is_an_error_of_this_library(
    made: Path, number: int, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that the disk fails, in whatever way, raises a `WorkDirError` that says so, and has done nothing."""
    if not is_small:
        monkeypatch.setattr('docindex.hnsw.unsynced._SMALL', 0)

    def write(directory: Path, saboteur: Saboteur) -> None:
        oracle = before()
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            with saboteur.at_work():
                try:
                    in_a_batch(index)
                    in_a_batch(oracle)
                except WorkDirError as error:
                    check_clear(error, directory, os.strerror(number))
            oracle.check_all(index)
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            oracle.check_all(index)

    assert failing_at_each_step(made, number, write) >= ({'write_at'} if is_small else {'write_at', 'sync_file'})


@_FAILURES
def test_a_compaction_that_fails_does_not_fail_the_write_before_it(
    made: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that raises has done nothing; what fails after its commit, as it compacts, only is in the log."""
    monkeypatch.setattr('docindex.hnsw.upkeep._FEW', 4)

    def write(directory: Path, saboteur: Saboteur) -> None:
        oracle = before()
        with HnswDocumentIndex[Film](work_dir=directory, auto_compact=0.1) as index:
            with saboteur.at_work():
                try:
                    index.delete(['film 1', 'film 2'])
                    oracle.delete(['film 1', 'film 2'])
                except OSError as error:
                    print(f'{saboteur.struck}: {error!r}')
            oracle.check_all(index)

    assert {'publish', 'write_at', 'sync_file'} <= failing_at_each_step(made, number, write)


OPENINGS: dict[str, tuple[bool, type[Film]]] = {
    'a new directory': (True, Film),
    'an index': (False, Film),
    'a new field': (False, WithTrailer),
}


@pytest.mark.parametrize(('is_new', 'doc_type'), OPENINGS.values(), ids=OPENINGS)
def test_an_opening_that_the_disk_fails_is_an_error_of_this_library(
    made: Path, tmp_path: Path, is_new: bool, doc_type: type[Film]
) -> None:
    """An opening that the disk fails at any step raises a `WorkDirError`, has lost nothing, and can be repeated."""

    def open_it(directory: Path, saboteur: Saboteur) -> None:
        try:
            with saboteur.at_work(), HnswDocumentIndex[doc_type](work_dir=directory):  # type: ignore[valid-type]
                pass
        except WorkDirError as error:
            check_clear(error, directory)
        with HnswDocumentIndex[doc_type](work_dir=directory) as index:  # type: ignore[valid-type]
            assert set(index) == (set() if is_new else set(before().docs))

    if is_new:
        (tmp_path / 'empty').mkdir()
    struck = failing_at_each_step(tmp_path / 'empty' if is_new else made, errno.ENOSPC, open_it)
    assert struck or doc_type is Film


@pytest.mark.parametrize('name', ['save_graphs', 'compact', 'backup'])
def test_upkeep_that_the_disk_fails_is_an_error_of_this_library(made: Path, tmp_path: Path, name: str) -> None:
    """Housekeeping that the disk fails at any step raises a `WorkDirError` that names a file, and loses nothing."""

    def keep_up(directory: Path, saboteur: Saboteur) -> None:
        oracle = before()
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            for store in (index, oracle):
                store.update('film 7', plot=films(8, seed=5)[7].plot)
            with saboteur.at_work():
                try:
                    index.backup(directory / '..' / f'copy of {directory.name}') if name == 'backup' else UPKEEP[name](
                        index
                    )
                except WorkDirError as error:
                    check_clear(error, tmp_path)
            oracle.check_all(index)
        with HnswDocumentIndex[Film](work_dir=directory) as index:
            oracle.check_all(index)

    assert 'publish' in failing_at_each_step(made, errno.ENOSPC, keep_up)
