import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from docindex import _files


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk, in order: `sync`, `rename`, `sync directory`."""
    done: list[str] = []

    def record(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def recorded(*arguments: object) -> object:
            done.append(name)
            return real(*arguments)

        return recorded

    monkeypatch.setattr(_files, 'sync_file', record('sync', _files.sync_file))
    monkeypatch.setattr(Path, 'replace', record('rename', Path.replace))
    monkeypatch.setattr(_files, 'sync_directory', record('sync directory', _files.sync_directory))
    return done


def test_a_file_is_created_whole(tmp_path: Path, steps: list[str]) -> None:
    """`create_file` syncs the content before the name, and the name before it returns."""
    _files.create_file(tmp_path / 'a', b'content')
    assert (tmp_path / 'a').read_bytes() == b'content'
    assert steps == ['sync', 'rename', 'sync directory']
    assert list(tmp_path.iterdir()) == [tmp_path / 'a']


def test_a_file_that_cannot_be_synced_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, `create_file` raises and the earlier file is still there under that name."""
    (tmp_path / 'a').write_bytes(b'earlier')

    def full(fd: int) -> None:
        raise OSError('full')

    monkeypatch.setattr(_files, 'sync_file', full)
    with pytest.raises(OSError, match='full'):
        _files.create_file(tmp_path / 'a', b'later')
    assert (tmp_path / 'a').read_bytes() == b'earlier'


def test_publish_replaces(tmp_path: Path, steps: list[str]) -> None:
    """`publish` puts a finished file in the place of an earlier one."""
    (tmp_path / 'a').write_bytes(b'earlier')
    (tmp_path / 'a.new').write_bytes(b'later')
    _files.publish(tmp_path / 'a.new', tmp_path / 'a')
    assert (tmp_path / 'a').read_bytes() == b'later'
    assert steps == ['sync', 'rename', 'sync directory']
    assert not (tmp_path / 'a.new').exists()


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows syncs names by itself')
def test_directories_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make_directory` makes missing parents and syncs each new name; one that exists is left alone."""
    synced: list[Path] = []
    monkeypatch.setattr(_files, 'sync_directory', synced.append)
    _files.make_directory(tmp_path / 'a' / 'b')
    assert (tmp_path / 'a' / 'b').is_dir()
    assert synced == [tmp_path, tmp_path / 'a']
    _files.make_directory(tmp_path / 'a' / 'b')
    assert len(synced) == 2


def test_a_directory_under_a_file_is_an_error(tmp_path: Path) -> None:
    """`make_directory` raises an OSError where a file is in the way."""
    (tmp_path / 'a').write_text('a file')
    with pytest.raises(OSError):
        _files.make_directory(tmp_path / 'a' / 'b')


@pytest.mark.parametrize('piece', [1, 3, 1000])
def test_a_write_in_pieces_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """`write_at` writes all of it at its place, however little the system takes at a time."""
    path = tmp_path / 'a'
    path.write_bytes(b'0123456789')
    write = os.write
    monkeypatch.setattr(os, 'write', lambda fd, content: write(fd, content[:piece]))
    fd = os.open(path, os.O_RDWR)
    _files.write_at(fd, memoryview(b'abcd'), 8)
    os.close(fd)
    assert path.read_bytes() == b'01234567abcd'


@pytest.mark.parametrize('size', [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 7])
def test_a_checksum_is_of_the_whole_file(tmp_path: Path, size: int) -> None:
    """`checksum` is the CRC-32 of the file, in however many blocks it is read."""
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / 'a').write_bytes(content[:size])
    assert _files.checksum(tmp_path / 'a') == zlib.crc32(content[:size])
