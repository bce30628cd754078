import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from docindex import WorkDirError, WorkDirLockedError
from docindex.hnsw.workdir import WorkDir

HOLD = """
import sys
from pathlib import Path
from docindex.hnsw.workdir import WorkDir
held = WorkDir(Path(sys.argv[1]), 0)
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds `tmp_path / 'd'`."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path / 'd')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def test_a_directory_is_made(tmp_path: Path) -> None:
    """A directory and its parents are created where missing, and it says which process has it."""
    work_dir = WorkDir(tmp_path / 'a' / 'b', 0)
    assert sorted(path.name for path in work_dir.path.iterdir()) == ['docindex.lock', 'graphs', 'vectors']
    assert (work_dir.path / 'docindex.lock').read_text().split() == [str(os.getpid()), socket.gethostname()]
    work_dir.release()


def test_a_second_process_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """A directory that another process holds is refused at once, with the directory and the holder's id (D5)."""
    with pytest.raises(WorkDirLockedError) as raised:
        WorkDir(tmp_path / 'd', 0)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.pid == holder.pid
    assert str(holder.pid) in str(raised.value)
    assert str(tmp_path / 'd') in str(raised.value)
    assert 'lock_timeout' in raised.value.hint


def test_a_lock_ends_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """After `kill -9` of the holder the directory is free, lock file or not."""
    holder.kill()
    holder.wait()
    assert (tmp_path / 'd' / 'docindex.lock').exists()
    WorkDir(tmp_path / 'd', 0).release()


def test_a_lock_can_be_waited_for(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """With a timeout the second process waits, and gets the directory when it is free."""
    with pytest.raises(WorkDirLockedError):
        WorkDir(tmp_path / 'd', 0.05)
    assert holder.stdin is not None
    holder.stdin.close()
    WorkDir(tmp_path / 'd', 30).release()


@pytest.mark.parametrize('content', [b'', b'nonsense', b'\xff\xfe', b'12'])
def test_an_unreadable_holder_is_no_name(tmp_path: Path, holder: subprocess.Popen[str], content: bytes) -> None:
    """If the holder's id cannot be read the error says so much less, and is the same error."""
    (tmp_path / 'd' / 'docindex.lock').write_bytes(content)
    with pytest.raises(WorkDirLockedError, match='another process') as raised:
        WorkDir(tmp_path / 'd', 0)
    assert raised.value.pid is None


def test_release_frees_it(tmp_path: Path) -> None:
    """A released directory can be held again."""
    WorkDir(tmp_path, 0).release()
    WorkDir(tmp_path, 0).release()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A path that is a file, or below one, is a `WorkDirError`, an OSError, with the path."""
    (tmp_path / 'file').write_text('x')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(WorkDirError, match='cannot use this') as raised:
            WorkDir(path, 0)
        assert isinstance(raised.value, OSError)
        assert raised.value.path == str(path)


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write anywhere')
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A read-only directory is a `WorkDirError`."""
    tmp_path.chmod(0o500)
    with pytest.raises(WorkDirError):
        WorkDir(tmp_path / 'd', 0)
    tmp_path.chmod(0o700)


def test_a_directory_of_docarray_is_refused(tmp_path: Path) -> None:
    """A directory that DocArray wrote is left alone, with what to do instead, and not held."""
    (tmp_path / 'docs_sqlite.db').write_bytes(b'theirs')
    for _ in range(2):
        with pytest.raises(WorkDirError, match='DocArray wrote this'):
            WorkDir(tmp_path, 0)
    assert not (tmp_path / 'vectors').exists()


def test_names_of_files(tmp_path: Path) -> None:
    """A field's files go by its name and a number; a new graph file gets a number that no file has."""
    work_dir = WorkDir(tmp_path, 0)
    assert work_dir.vector_file('a__b', 2) == tmp_path / 'vectors' / 'a__b.2.f32'
    assert work_dir.new_graph_name('a') == 'a.1.hnsw'
    for name in ('a.7.hnsw', 'b.9.hnsw', 'odd.hnsw', 'a.x.hnsw'):
        (tmp_path / 'graphs' / name).touch()
    assert work_dir.new_graph_name('a') == 'a.10.hnsw'
    for name in ('a.0.f32', 'a.1.f32', 'ab.0.f32', 'a.x.f32', 'a.b.0.f32'):
        (tmp_path / 'vectors' / name).touch()
    assert sorted(path.name for path in work_dir.vector_files('a')) == ['a.0.f32', 'a.1.f32']
    work_dir.release()


def test_sweeping_removes_only_our_debris(tmp_path: Path) -> None:
    """Unfinished and forgotten files of the fields go; files of others stay, for the directory may be anybody's."""
    work_dir = WorkDir(tmp_path, 0)
    ours = ['vectors/v.0.f32', 'vectors/v.1.f32.new', 'graphs/v.1.hnsw', 'graphs/v.2.hnsw.new']
    others = ['vectors/mine.0.f32', 'vectors/v.f32', 'graphs/v.hnsw', 'graphs/mine.hnsw', 'etc/app.new', 'v.0.f32']
    (tmp_path / 'etc').mkdir()
    for name in (*ours, *others, 'graphs/v.3.hnsw', 'vectors/v.2.f32'):
        (tmp_path / name).touch()
    keep = {tmp_path / 'graphs' / 'v.3.hnsw', tmp_path / 'vectors' / 'v.2.f32'}
    work_dir.sweep(['v'], keep)
    assert [name for name in (*ours, *others) if (tmp_path / name).exists()] == others
    assert all(path.exists() for path in keep)
    work_dir.release()


@pytest.mark.parametrize('name', ['with space', '[1]', 'a*?', "it's", 'äö', 'my__dir'])
def test_any_directory_name(tmp_path: Path, name: str) -> None:
    """A directory's name is no pattern (D7, D19)."""
    work_dir = WorkDir(tmp_path / name, 0)
    (tmp_path / name / 'vectors' / 'v.0.f32').touch()
    (tmp_path / name / 'graphs' / 'v.5.hnsw').touch()
    assert work_dir.vector_files('v') == [tmp_path / name / 'vectors' / 'v.0.f32']
    assert work_dir.new_graph_name('v') == 'v.6.hnsw'
    work_dir.release()
