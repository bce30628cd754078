import errno
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docindex import CorruptIndexError, FormatVersionError, WorkDirError, _files
from docindex.hnsw import vectors
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


@pytest.mark.skipif(not hasattr(os, 'pread'), reason='this system cannot read at a place')
def test_one_new_row_is_read_without_mapping_the_file_anew(file: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that was written after the file was mapped is read by itself, as a copy; what is not there is damage."""
    file.peek(labels(0, 1))
    file.write(5, ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(vectors.mmap, 'mmap', None)
        row = file.peek(labels(7))
        row[:] += 1
        assert file.peek(labels(7)).tobytes() == ROWS[[2]].tobytes()
        assert not len(file.damaged(labels(7)))
    with pytest.raises(CorruptIndexError, match='ends after 10 of 13 vectors'):
        file.peek(labels(12))


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc to count open files')
def test_what_is_kept_has_one_descriptor_in_common(file: VectorFile) -> None:
    """Rows can be read after the file was closed and removed, and however often they were kept, by one descriptor."""

    def open_files() -> int:
        opened = [path for path in [*Path('/proc/self/fd').iterdir()] if os.path.lexists(path)]
        return sum(str(file.path) in str(path.readlink()) for path in opened)

    before, kept = open_files(), []
    other = VectorFile(file.path, 3, 5)
    for rows in range(5, 10):
        other.write(rows, ROWS[:1])
        kept.append(other.kept(rows))
    assert open_files() == before + 2
    os.truncate(file.path, file.path.stat().st_size - 1)
    with pytest.raises(CorruptIndexError, match='this file was cut off'):
        other.kept(9)(labels(8, 9))
    other.close()
    file.path.unlink()
    for read in kept:
        for asked in (labels(), labels(2), labels(1, 2, 3), labels(4, 0, 2), labels(2, 0, 4)):
            assert read(asked).tobytes() == ROWS[asked].tobytes()
    del kept, read
    assert open_files() == before


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


def test_writes_are_synced_together(file: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: several writes wait for the disk once, in `sync`, which syncs the file that they wrote to."""
    done: list[tuple[str, int]] = []
    write_at, sync_file = _files.write_at, _files.sync_file
    monkeypatch.setattr(_files, 'write_at', lambda fd, *given: (done.append(('write', fd)), write_at(fd, *given)))
    monkeypatch.setattr(_files, 'sync_file', lambda fd: (done.append(('sync', fd)), sync_file(fd)))
    file.write(5, ROWS)
    file.write(10, ROWS)
    file.sync()
    assert [step for step, _ in done] == ['write', 'write', 'sync']
    assert {os.fstat(fd).st_ino for _, fd in done} == {file.path.stat().st_ino}


def failing(*given: object) -> None:
    raise OSError(errno.EIO, 'Input/output error')


@pytest.mark.parametrize(('step', 'call'), [('write_at', 'write'), ('sync_file', 'sync')])
def test_a_disk_that_fails_is_our_error(
    file: VectorFile, monkeypatch: pytest.MonkeyPatch, step: str, call: str
) -> None:
    """What the system refuses while writing or syncing is a `WorkDirError` with the file, and rows stay readable."""
    monkeypatch.setattr(_files, step, failing)
    with pytest.raises(WorkDirError, match='Input/output error') as raised:
        getattr(file, call)(*((5, ROWS) if call == 'write' else ()))
    assert raised.value.path == str(file.path)
    assert file.rows(labels(0, 1, 2, 3, 4)).tobytes() == ROWS.tobytes()


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
    copy = file.path.parent / 'copy' / file.path.name
    copy.parent.mkdir()
    shutil.copyfile(file.path, copy)
    damage(copy)
    with pytest.raises(error, match=said) as raised:
        VectorFile(copy, 3, 5)
    assert isinstance(raised.value, OSError)
    assert str(copy) in str(raised.value)
    assert raised.value.hint  # type: ignore[attr-defined]


def test_what_is_unused(file: VectorFile) -> None:
    """A file without rows and commits, or none, is what an unfinished creation leaves; another is not."""
    assert not VectorFile.is_unused(file.path)
    assert VectorFile.is_unused(file.path.with_name('nothing'))
    VectorFile.create(file.path.with_name('new'), 3)
    assert VectorFile.is_unused(file.path.with_name('new'))
    emptied = VectorFile(file.path.with_name('new'), 3, 0)
    emptied.acknowledge(1)
    assert not VectorFile.is_unused(file.path.with_name('new'))
    emptied.close()


def test_commits_are_remembered(file: VectorFile) -> None:
    """How many commits SQLite had made stands in the header, and no row is touched by it."""
    file.acknowledge(7)
    other = VectorFile(file.path, 3, 5)
    assert other.commits == 7
    assert other.rows(labels(0)).tobytes() == ROWS[[0]].tobytes()
    other.close()


# -- scans ---------------------------------------------------------------------------------------------


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The labels whose checksums were looked at, call by call."""
    seen: list[list[int]] = []
    mismatches = VectorFile._mismatches

    def noted(file: VectorFile, asked: Any, table: Any) -> Any:
        seen.append(asked.tolist())
        return mismatches(file, asked, table)

    monkeypatch.setattr(VectorFile, '_mismatches', noted)
    return seen


def damage(file: VectorFile, label: int, byte: int = 0) -> None:
    edited(HEADER + label * ROW + byte, bytes([file.path.read_bytes()[HEADER + label * ROW + byte] ^ 4]))(file.path)


@pytest.mark.parametrize('asked', [[], [0], [4], [1, 2, 3], [0, 2, 4], [0, 1, 2, 3, 4]], ids=str)
def test_a_scan_returns_rows(file: VectorFile, asked: list[int]) -> None:
    """A scan of ascending labels, with gaps or without, returns their rows in that order."""
    assert file.scan(labels(*asked)).tobytes() == ROWS[asked].tobytes()
    assert file.scan(labels(*asked)).shape == (len(asked), 3)


def test_a_scan_checks_each_row_once(file: VectorFile, checked: list[list[int]]) -> None:
    """Rows are checked when they are first scanned, and only those that were not before."""
    for asked in ([1, 2], [0, 1, 2, 3], [0, 1, 2, 3], [3], [0, 4]):
        assert file.scan(labels(*asked)).tobytes() == ROWS[asked].tobytes()
    assert checked == [[1, 2], [0, 3], [4]]


def test_rows_are_checked_when_they_are_first_read(file: VectorFile, checked: list[list[int]]) -> None:
    """What a scan has checked is checked again where documents are read, and then trusted."""
    file.scan(labels(0, 1))
    for asked in ([0, 1], [1], [0], [1, 2], [0, 1, 2]):
        assert file.rows(labels(*asked)).tobytes() == ROWS[asked].tobytes()
    assert checked == [[0, 1], [0, 1], [1, 2]]


def test_rows_are_checked_again_now_and_then(
    file: VectorFile, checked: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many rows each is checked anew: the disk may have failed since."""
    monkeypatch.setattr(vectors, '_TRUSTED_ROWS', 4)
    for _ in range(6):
        file.rows(labels(0, 1))
    assert checked == [[0, 1], [0, 1]]
    damage(file, 1, 0)
    with pytest.raises(CorruptIndexError, match='row 1'):
        file.rows(labels(0, 1))


def test_pages_are_given_back_where_rows_are_read_in_turn(file: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads many rows in their order does not keep them in memory; what searches find, in any order, stays."""
    given_back: list[int] = []
    monkeypatch.setattr(VectorFile, '_let_go', lambda self, taken: given_back.append(taken))
    file.write(5, np.ones((1000, 3), np.float32))
    in_turn = np.arange(1005)
    for asked, taken in ((in_turn, 1005), (in_turn[::-1], 0), (np.roll(in_turn, 1), 0), (in_turn[:100], 0)):
        assert file.rows(asked).tobytes() == file.scan(in_turn)[asked].tobytes()
        assert given_back[0] == taken
        given_back.clear()


@pytest.mark.parametrize('byte', range(ROW))
def test_a_scan_notices_a_damaged_row(file: VectorFile, byte: int) -> None:
    """A damaged row fails every scan that comes to it, with its label, and no other."""
    damage(file, 2, byte)
    assert file.scan(labels(0, 1)).tobytes() == ROWS[:2].tobytes()
    for _ in range(2):
        with pytest.raises(CorruptIndexError, match='row 2') as raised:
            file.scan(labels(0, 1, 2, 3, 4))
        assert raised.value.path == str(file.path)
    assert file.scan(labels(0, 1, 3, 4)).tobytes() == ROWS[[0, 1, 3, 4]].tobytes()


def test_what_is_written_over_is_checked_again(file: VectorFile, checked: list[list[int]]) -> None:
    """Rows that a transaction wrote, scanned and lost are other rows once the next one has written there."""
    file.scan(labels(0, 1, 2, 3, 4))
    file.write(3, ROWS[:2] * 5)
    damage(file, 4)
    checked.clear()
    assert file.scan(labels(0, 1, 2, 3)).tobytes() == np.concatenate([ROWS[:3], ROWS[:1] * 5]).tobytes()
    with pytest.raises(CorruptIndexError, match='row 4'):
        file.scan(labels(0, 1, 2, 3, 4))
    assert checked == [[3], [4]]


def test_a_scan_of_a_growing_file_checks_what_is_new(file: VectorFile, checked: list[list[int]]) -> None:
    """Rows that came after the first scan are checked by the next one; there may be many of them."""
    file.scan(labels(0, 1, 2, 3, 4))
    many = np.random.default_rng(1).normal(size=(5000, 3)).astype(np.float32)
    file.write(5, many)
    checked.clear()
    assert file.scan(np.arange(5005)).tobytes() == np.concatenate([ROWS, many]).tobytes()
    file.scan(np.arange(5005))
    assert [(asked[0], len(asked)) for asked in checked] == [(5, 5000)]


def test_a_scan_beyond_the_end_is_damage(file: VectorFile) -> None:
    """Rows that are not in the file are a `CorruptIndexError`, not whatever stands after it in memory."""
    with pytest.raises(CorruptIndexError, match='after 5 of 7'):
        file.scan(labels(4, 6))


# -- files that are too short, and readers -------------------------------------------------------------


@pytest.mark.parametrize('length', [HEADER, HEADER + 3 * ROW, HEADER + 3 * ROW + 5], ids=['empty', 'cut', 'torn'])
@pytest.mark.parametrize('read_only', [False, True])
def test_rows_that_a_file_lacks_are_damaged(file: VectorFile, length: int, read_only: bool) -> None:
    """A file that may lack rows is opened with those it has; each of the others counts as damaged."""
    held = (length - HEADER) // ROW
    cut(length)(file.path)
    with pytest.raises(CorruptIndexError, match=f'after {held} of 5'):
        VectorFile(file.path, 3, 5, read_only=read_only)
    short = VectorFile(file.path, 3, 5, read_only=read_only, may_lack_rows=True)
    assert short.damaged(labels(0, 1, 2, 3, 4)).tolist() == list(range(held, 5))
    assert short.rows(np.arange(held)).tobytes() == ROWS[:held].tobytes()
    for label in range(held, 5):
        for look in (short.rows, short.scan):
            with pytest.raises(CorruptIndexError):
                look(labels(label))
    assert file.path.stat().st_size == (length if read_only else HEADER + 5 * ROW)
    short.close()


def test_what_fills_up_a_file_is_written_over_and_stays_damaged_else(file: VectorFile) -> None:
    """A file that lacked rows takes new ones behind them, and any opening after that knows which are lost."""
    cut(HEADER + 3 * ROW)(file.path)
    short = VectorFile(file.path, 3, 5, may_lack_rows=True)
    short.write(5, ROWS)
    short.close()
    other = VectorFile(file.path, 3, 10)
    assert other.damaged(np.arange(10)).tolist() == [3, 4]
    assert other.rows(np.arange(5, 10)).tobytes() == ROWS.tobytes()
    other.close()


def test_a_whole_file_is_not_filled_up(file: VectorFile) -> None:
    """A file that has its rows, and more that a crash left, is opened as it is."""
    before = file.path.read_bytes()
    VectorFile(file.path, 3, 3, may_lack_rows=True).close()
    assert file.path.read_bytes() == before


def test_a_reader_cannot_write(file: VectorFile) -> None:
    """A file that was opened for reading is read as any other, also what is written meanwhile, and never changed."""
    reader = VectorFile(file.path, 3, 5, read_only=True)
    assert (
        reader.scan(labels(0, 1, 2, 3, 4)).tobytes() == reader.rows(labels(0, 1, 2, 3, 4)).tobytes() == ROWS.tobytes()
    )
    file.write(5, ROWS)
    assert reader.rows(labels(9)).tobytes() == ROWS[[4]].tobytes()
    before = file.path.read_bytes()
    with pytest.raises(WorkDirError):
        reader.write(0, ROWS * 2)
    reader.acknowledge(99)
    assert file.path.read_bytes() == before
    assert reader.commits == 0
    reader.close()


def test_a_link_is_not_followed(file: VectorFile, tmp_path: Path) -> None:
    """A link in the place of a vector file, which may lead to anybody's file, is refused with its path."""
    link = tmp_path / 'link.f32'
    link.symlink_to(file.path)
    with pytest.raises(WorkDirError) as raised:
        VectorFile(link, 3, 5)
    assert raised.value.path == str(link)
