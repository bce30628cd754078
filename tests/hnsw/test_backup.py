"""A backup made while the index is in use is an index of its own, complete and consistent."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, CorruptIndexError, HnswDocumentIndex, NdArray, WorkDirError, _files
from tests import programs


class Note(BaseDoc):
    text: str = ''
    embedding: NdArray[4]


def notes(start: int, stop: int) -> list[Note]:
    return [Note(id=str(at), embedding=np.full(4, at, np.float32)) for at in range(start, stop)]


def test_a_backup_is_the_index_as_it_was(tmp_path: Path) -> None:
    """What is written after the backup is not in it, what was before is, and both can be written to."""
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'work') as index:
        index.index(notes(0, 50))
        del index['7']
        index.save_graphs()
        index.index(notes(50, 60))
        index.backup(tmp_path / 'deep' / 'copy')
        index.index(notes(60, 70))
        with HnswDocumentIndex[Note](work_dir=tmp_path / 'deep' / 'copy') as copy:
            assert set(copy) == {str(at) for at in range(60)} - {'7'}
            assert copy.find(np.full(4, 55), limit=1).documents.id == ['55']
            assert copy.verify().is_sound
            copy.index(notes(7, 8))
        assert '7' not in index


SAVER = """
import sys
from docindex import open_index

with open_index(sys.argv[1], shared_writes=True) as index:
    index.index({'id': 'theirs', 'embedding': [9, 9, 9, 9]})
    print('written', flush=True)
    sys.stdin.readline()
    index.save_graphs()
    print('saved', flush=True)
    sys.stdin.readline()
"""


def test_a_backup_has_the_graphs_that_another_process_has_saved(tmp_path: Path) -> None:
    """A graph file that another process has written since the last commit is in the backup, none before it."""
    work_dir, copy = tmp_path / 'work', tmp_path / 'copy'
    with HnswDocumentIndex[Note](work_dir=work_dir) as index:
        index.index(notes(0, 50))
    with (
        HnswDocumentIndex[Note](work_dir=work_dir, shared_writes=True) as index,
        programs.start(SAVER, work_dir) as saver,
    ):
        assert saver.stdout is not None
        assert saver.stdin is not None
        assert saver.stdout.readline() == 'written\n'
        assert 'theirs' in index
        saver.stdin.write('\n')
        saver.stdin.flush()
        assert saver.stdout.readline() == 'saved\n'
        index.backup(copy)
        assert [path.name for path in (copy / 'graphs').iterdir()] == [
            path.name for path in (work_dir / 'graphs').iterdir()
        ]
        saver.communicate('\n')
    with HnswDocumentIndex[Note](work_dir=copy) as index:
        assert index.verify().is_sound
        assert index.find(np.full(4, 9), limit=1).scores.tolist() == [0]


def test_a_backup_without_graph_files(tmp_path: Path) -> None:
    """Graph files are caches: a backup is made where they were removed, and its graphs are built when it is opened."""
    work_dir, copy = tmp_path / 'work', tmp_path / 'copy'
    with HnswDocumentIndex[Note](work_dir=work_dir) as index:
        index.index(notes(0, 50))
    with HnswDocumentIndex[Note](work_dir=work_dir, lazy=True) as index:
        for path in (work_dir / 'graphs').iterdir():
            path.unlink()
        index.backup(copy)
    with HnswDocumentIndex[Note](work_dir=copy) as index:
        assert index.find(np.full(4, 9), limit=1).documents.id == ['9']
        assert index.verify().is_sound


def test_a_backup_does_not_overwrite(tmp_path: Path) -> None:
    """A directory with something in it is refused, and left as it is."""
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'letter').write_text('Dear')
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'work') as index:
        index.index(notes(0, 3))
        with pytest.raises(WorkDirError, match='empty directory'):
            index.backup(tmp_path / 'full')
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['letter']


def test_an_interrupted_backup_is_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup on which the disk ran full is an error, and does not open as if it were complete."""
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'work') as index:
        index.index(notes(0, 3))
        publish = _files.publish

        def full_disk(beside: Path, path: Path) -> None:
            if path.suffix == '.sqlite3':
                raise OSError(28, 'No space left on device')
            publish(beside, path)

        with monkeypatch.context() as patch:
            patch.setattr(_files, 'publish', full_disk)
            with pytest.raises(WorkDirError, match='No space left'):
                index.backup(tmp_path / 'copy')
        with pytest.raises(CorruptIndexError, match='missing or empty'):
            HnswDocumentIndex[Note](work_dir=tmp_path / 'copy')
        index.backup(tmp_path / 'other')


def test_backups_while_others_write_are_consistent(tmp_path: Path) -> None:
    """Each of several backups made during writes holds whole batches, and is sound."""
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'work') as index:
        writer = threading.Thread(target=lambda: [index.index(notes(at * 10, at * 10 + 10)) for at in range(60)])
        writer.start()
        for number in range(4):
            index.backup(tmp_path / f'copy{number}')
        writer.join()
    for number in range(4):
        with HnswDocumentIndex[Note](work_dir=tmp_path / f'copy{number}') as copy:
            assert len(copy) % 10 == 0
            assert set(copy) == {str(at) for at in range(len(copy))}
            assert copy.verify().is_sound
