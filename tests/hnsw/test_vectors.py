import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import CorruptIndexError, FormatVersionError, _files
from docindex.hnsw.vectors import VectorFile

HEADER, ROW = 64, 16
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[VectorFile]:
    """A file with five rows of three numbers."""
    path = tmp_path / 'v.f32'
    VectorFile.create(path, 3)
    file = VectorFile(path, 3, 0)
    file.write(0, ROWS)
    yield file
    file.close()


def labels(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_rows_come_back(file: VectorFile) -> None:
    """Rows are returned in the order asked for, bit for bit, twice if asked twice."""
    assert file.rows(labels(4, 0, 4)).tobytes() == ROWS[[4, 0, 4]].tobytes()
    assert file.rows(labels()).shape == (0, 3)


def test_rows_can_be_changed_without_changing_the_file(file: VectorFile) -> None:
    """What is handed out is a copy."""
    file.rows(labels(1))[:] = 0
    assert file.rows(labels(1)).tobytes() == ROWS[[1]].tobytes()


@pytest.mark.parametrize('value', [-0.0, 1e-45, 3e38], ids=str)
def test_odd_numbers_come_back(file: VectorFile, value: float) -> None:
    """Minus zero, subnormal and huge numbers keep their bits."""
    odd = np.full((1, 3), value, np.float32)
    file.write(5, odd)
    assert file.rows(labels(5)).tobytes() == odd.tobytes()


def test_rows_survive_reopening(file: VectorFile) -> None:
    """Another opening finds what was written."""
    other = VectorFile(file.path, 3, 5)
    assert other.rows(labels(0, 1, 2, 3, 4)).tobytes() == ROWS.tobytes()
    other.close()


def test_a_file_grows_while_it_is_read(file: VectorFile) -> None:
    """Rows that were written after the first look are seen, and views handed out before stay as they were."""
    before = file.block(0, 5)
    file.write(5, ROWS * 2)
    assert file.rows(labels(9)).tobytes() == (ROWS[[4]] * 2).tobytes()
    assert before.tobytes() == ROWS.tobytes()


def test_a_block_is_a_range_of_rows(file: VectorFile) -> None:
    """A block is the rows from one label to before another."""
    assert file.block(1, 4).tobytes() == ROWS[1:4].tobytes()


def test_debris_is_written_over(file: VectorFile) -> None:
    """I3: rows beyond the committed labels, which a crash left, are replaced by the next write there."""
    file.write(3, ROWS[:2] * 5)
    assert file.rows(labels(0, 1, 2, 3, 4)).tobytes() == np.concatenate([ROWS[:3], ROWS[:2] * 5]).tobytes()


def test_writing_many_rows(tmp_path: Path) -> None:
    """More rows than fit in one piece are written as any others."""
    many = np.arange(40_000, dtype=np.float32).reshape(-1, 1)
    VectorFile.create(tmp_path / 'v', 1)
    file = VectorFile(tmp_path / 'v', 1, 0)
    file.write(0, many)
    assert file.rows(np.arange(len(many))).tobytes() == many.tobytes()
    file.close()


def test_a_write_is_synced(file: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: when `write` returns, what it wrote was synced after it was written."""
    done: list[str] = []
    write_at = _files.write_at
    monkeypatch.setattr(_files, 'write_at', lambda *given: (done.append('write'), write_at(*given)))
    monkeypatch.setattr(_files, 'sync_file', lambda fd: done.append('sync'))
    file.write(5, ROWS)
    assert done == ['write', 'sync']


@pytest.mark.parametrize('byte', range(ROW))
def test_any_flipped_byte_of_a_row_is_noticed(file: VectorFile, byte: int) -> None:
    """A row that is not what was written is a `CorruptIndexError` with its label, never a wrong vector."""
    content = bytearray(file.path.read_bytes())
    content[HEADER + 2 * ROW + byte] ^= 4
    file.path.write_bytes(content)
    other = VectorFile(file.path, 3, 5)
    assert other.rows(labels(1, 3)).tobytes() == ROWS[[1, 3]].tobytes()
    with pytest.raises(CorruptIndexError, match='row 2') as raised:
        other.rows(labels(1, 2, 3))
    assert raised.value.path == str(file.path)
    assert other.damaged(labels(0, 1, 2, 3, 4)).tolist() == [2]
    other.close()


def test_a_row_in_the_place_of_another_is_noticed(file: VectorFile) -> None:
    """A row that was written to the wrong place is damaged, though its own bytes are whole."""
    content = bytearray(file.path.read_bytes())
    content[HEADER : HEADER + ROW] = content[HEADER + ROW : HEADER + 2 * ROW]
    file.path.write_bytes(content)
    other = VectorFile(file.path, 3, 5)
    with pytest.raises(CorruptIndexError, match='row 0'):
        other.rows(labels(0))
    other.close()


def edited(offset: int, content: bytes) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        whole = bytearray(path.read_bytes())
        whole[offset : offset + len(content)] = content
        path.write_bytes(whole)

    return edit


def cut(length: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:length])


DAMAGES: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    'missing': (Path.unlink, CorruptIndexError, 'missing'),
    'empty': (cut(0), CorruptIndexError, 'header'),
    'half a header': (cut(30), CorruptIndexError, 'header'),
    'only a header': (cut(HEADER), CorruptIndexError, 'after 0 of 5'),
    'one byte short': (cut(HEADER + 5 * ROW - 1), CorruptIndexError, 'after 4 of 5'),
    'another file': (edited(0, b'SQLite f'), CorruptIndexError, 'not a vector file'),
    'another dim': (edited(12, struct.pack('<I', 4)), CorruptIndexError, '4-d vectors, not 3-d'),
    'newer': (edited(8, struct.pack('<I', 99)), FormatVersionError, 'format 99'),
}


@pytest.mark.parametrize(('damage', 'error', 'said'), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_not_opened(
    file: VectorFile, damage: Callable[[Path], object], error: type[Exception], said: str
) -> None:
    """A file that is not a whole vector file of this length is refused, with its path and what to do."""
    copy = file.path.with_name('copy.f32')
    shutil.copyfile(file.path, copy)
    damage(copy)
    with pytest.raises(error, match=said) as raised:
        VectorFile(copy, 3, 5)
    assert isinstance(raised.value, OSError)
    assert str(copy) in str(raised.value)
    assert raised.value.hint  # type: ignore[attr-defined]


def test_what_is_empty(file: VectorFile) -> None:
    """A file without rows, or none, is what an unfinished creation leaves; one with a row is not."""
    assert not VectorFile.is_empty(file.path)
    assert VectorFile.is_empty(file.path.with_name('nothing'))
    VectorFile.create(file.path.with_name('new'), 3)
    assert VectorFile.is_empty(file.path.with_name('new'))


def test_commits_are_remembered(file: VectorFile) -> None:
    """How many commits SQLite had made stands in the header, and no row is touched by it."""
    file.acknowledge(7)
    other = VectorFile(file.path, 3, 5)
    assert other.commits == 7
    assert other.rows(labels(0)).tobytes() == ROWS[[0]].tobytes()
    other.close()
