"""One process writes to a directory at a time; the others are told who does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, ClosedIndexError, Field, HnswDocumentIndex, NdArray, WorkDirLockedError
from tests import programs

# Forking with other threads alive warns from Python 3.12 on; forking is what these tests are about.
pytestmark = pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')

HOLDER = """
import sys
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

class Word(BaseDoc):
    vector: NdArray = Field(dim=2)

index = HnswDocumentIndex[Word](work_dir=sys.argv[1])
index.index(Word(id='held', vector=[1, 2]))
print('open', flush=True)
sys.stdin.readline()
index.close()
print('closed', flush=True)
"""


class Word(BaseDoc):
    vector: NdArray = Field(dim=2)


def word(id_: str) -> Word:
    return Word(id=id_, vector=np.array([3, 4], np.float32))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the index in `tmp_path` open, with one document, until it reads a line."""
    with programs.start(HOLDER, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'open\n'
        yield process
        process.kill()


def let_go(holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    with suppress(BrokenPipeError, ValueError):  # it has let go already
        holder.stdin.write('\n')
        holder.stdin.close()


def test_a_second_process_is_told_who_has_the_directory(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Opening a directory that another process has open fails, naming the directory and the holder's process id."""
    with pytest.raises(WorkDirLockedError) as raised:
        HnswDocumentIndex[Word](work_dir=tmp_path)
    assert raised.value.pid == holder.pid
    assert raised.value.path == str(tmp_path)
    assert isinstance(raised.value, TimeoutError)
    assert str(holder.pid) in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_second_process_is_told_at_once(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `lock_timeout` nothing waits: the error comes from the first attempt, without sleeping."""
    monkeypatch.setattr(time, 'sleep', lambda seconds: pytest.fail(f'slept for {seconds} seconds'))
    with pytest.raises(WorkDirLockedError):
        HnswDocumentIndex[Word](work_dir=tmp_path)


def test_a_process_that_was_refused_has_changed_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """After the refusal the holder goes on, and the directory is as it left it."""
    with pytest.raises(WorkDirLockedError):
        HnswDocumentIndex[Word](work_dir=tmp_path)
    let_go(holder)
    assert holder.wait(programs.PATIENCE) == 0
    with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
        assert list(index) == ['held']


def test_lock_timeout_waits_for_the_other_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """With `lock_timeout` the directory opens as soon as the other process lets go of it."""
    waiting = threading.Timer(0.3, let_go, [holder])
    waiting.start()
    with HnswDocumentIndex[Word](work_dir=tmp_path, lock_timeout=programs.PATIENCE) as index:
        assert not waiting.is_alive()
        assert list(index) == ['held']


def test_lock_timeout_ends(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """When `lock_timeout` has passed, the error is the same as without it."""
    with pytest.raises(WorkDirLockedError, match=str(holder.pid)):
        HnswDocumentIndex[Word](work_dir=tmp_path, lock_timeout=0.2)


def test_waiting_for_one_directory_does_not_hold_up_another(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """While one thread waits for a locked directory, another can open, use and close a different one."""
    opened: list[HnswDocumentIndex[Word]] = []

    def wait() -> None:
        opened.append(HnswDocumentIndex[Word](work_dir=tmp_path, lock_timeout=programs.PATIENCE))

    waiting = threading.Thread(target=wait)
    waiting.start()
    # Should opening the other one wait for the first, then this ends the waiting, and the assertion fails.
    rescue = threading.Timer(3, let_go, [holder])
    rescue.start()
    try:
        with HnswDocumentIndex[Word](work_dir=tmp_path / 'other') as other:
            other.index(word('x'))
        assert not opened
    finally:
        rescue.cancel()
        let_go(holder)
        waiting.join()
        opened[0].close()


def test_a_killed_holder_locks_nobody_out(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """After the holder was killed the directory opens at once, with all that it had acknowledged."""
    holder.send_signal(signal.SIGKILL)
    holder.wait(programs.PATIENCE)
    with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
        assert list(index) == ['held']
        index.index(word('next'))


def test_a_killed_process_with_a_forked_child_locks_nobody_out(tmp_path: Path) -> None:
    """A child that was forked from the holder, a worker of a pool say, does not keep its lock."""
    forking = HOLDER.replace(
        'sys.stdin.readline()', 'import os\nif os.fork() == 0:\n    print(os.getpid(), flush=True)'
    )
    forking = forking.replace('index.close()', 'import time; time.sleep(1000)')
    with programs.start(forking, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'open\n'
        child = int(process.stdout.readline())
        process.kill()
        process.wait(programs.PATIENCE)
        try:
            with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
                assert list(index) == ['held']
        finally:
            os.kill(child, signal.SIGKILL)


def test_two_handles_of_one_process_share_the_directory(tmp_path: Path) -> None:
    """What one handle writes another on the same directory sees, however its path is written; the last one closes."""
    first = HnswDocumentIndex[Word](work_dir=tmp_path)
    second = HnswDocumentIndex[Word](work_dir=str(tmp_path / 'nowhere' / '..'))
    first.index(word('x'))
    assert 'x' in second
    first.close()
    second.index(word('y'))
    assert list(second) == ['x', 'y']
    second.close()
    assert programs.run(HOLDER, tmp_path).stdout == 'open\nclosed\n'


def test_a_handle_that_was_forgotten_lets_go(tmp_path: Path) -> None:
    """A process that ends without closing its index saves the graphs and leaves no lock behind."""
    forgetful = HOLDER.replace('index.close()\n', '')
    assert programs.run(forgetful, tmp_path).returncode == 0
    assert list((tmp_path / 'graphs').glob('*.hnsw'))
    with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
        assert list(index) == ['held']


def test_a_copied_directory_opens(tmp_path: Path) -> None:
    """A copy of a closed directory is an index of its own, while the original is open."""
    with HnswDocumentIndex[Word](work_dir=tmp_path / 'a') as index:
        index.index(word('x'))
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    with HnswDocumentIndex[Word](work_dir=tmp_path / 'a') as index, HnswDocumentIndex[Word](tmp_path / 'b') as copy:
        index.delete('x')
        assert list(copy) == ['x']


def in_a_fork(check: Callable[[], None]) -> int:
    """Fork, call `check` in the child, and return the child's exit status; -14 if it hangs."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            check()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork here')
class TestFork:
    def test_a_forked_index_refuses_use(self, tmp_path: Path) -> None:
        """In a forked process the index says that it belongs to the parent, which goes on undisturbed."""
        with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
            index.index(word('x'))

            def use() -> None:
                for call in (
                    lambda: index.get('x'),
                    lambda: index.find([1, 2]),
                    lambda: index.index(word('y')),
                    lambda: index.delete('x'),
                    lambda: len(index),
                ):
                    with pytest.raises(ClosedIndexError, match='fork'):
                        call()
                index.close()

            assert in_a_fork(use) == 0
            index.index(word('z'))
            assert list(index) == ['x', 'z']
        with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
            assert list(index) == ['x', 'z']

    def test_the_parents_directory_is_locked_for_the_child(self, tmp_path: Path) -> None:
        """A forked process that opens the parent's directory is told that the parent has it."""
        parent = os.getpid()
        with HnswDocumentIndex[Word](work_dir=tmp_path):

            def use() -> None:
                with pytest.raises(WorkDirLockedError) as raised:
                    HnswDocumentIndex[Word](work_dir=tmp_path)
                assert raised.value.pid == parent

            assert in_a_fork(use) == 0

    def test_a_child_can_open_another_directory(self, tmp_path: Path) -> None:
        """A forked process can have an index of its own."""
        with HnswDocumentIndex[Word](work_dir=tmp_path / 'parent') as index:

            def use() -> None:
                with HnswDocumentIndex[Word](work_dir=tmp_path / 'child') as own:
                    own.index(word('x'))

            assert in_a_fork(use) == 0
            index.index(word('y'))
        with HnswDocumentIndex[Word](work_dir=tmp_path / 'child') as own:
            assert list(own) == ['x']

    def test_a_fork_in_the_middle_of_a_write_is_refused_too(self, tmp_path: Path) -> None:
        """The child's refusal does not wait for a lock that a thread of the parent held when it was forked."""
        with HnswDocumentIndex[Word](work_dir=tmp_path) as index:
            writing, done = threading.Event(), threading.Event()

            def write() -> None:
                with index._store.updating(), index._store._following.lock.exclusive():  # as every write does
                    writing.set()
                    done.wait()

            writer = threading.Thread(target=write)
            writer.start()
            assert writing.wait(10)

            def use() -> None:
                with pytest.raises(ClosedIndexError, match='fork'):
                    index.delete('x')
                with pytest.raises(ClosedIndexError, match='fork'):
                    index.get('x')

            try:
                assert in_a_fork(use) == 0
            finally:
                done.set()
                writer.join()
