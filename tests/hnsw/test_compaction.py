"""Compaction: the dead go, everything else stays, and a crash in the middle of it changes nothing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, _files
from docindex.hnsw.graph import Graph
from docindex.hnsw.sidecar import Sidecar


class Note(BaseDoc):
    text: str
    embedding: NdArray[8] = Field(space='cosine')
    other: NdArray[4] | None = None


def notes(count: int, seed: int = 0) -> list[Note]:
    rng = np.random.default_rng(seed)
    return [
        Note(
            id=f'n{at}',
            text=f'note {at} of {seed}',
            embedding=rng.normal(size=8).astype('f4'),
            other=rng.normal(size=4) if at % 3 else None,
        )
        for at in range(count)
    ]


@pytest.fixture
def churned(tmp_path: Path) -> Iterator[HnswDocumentIndex[Note]]:
    """300 notes, each replaced four times, every fifth deleted at the end; never compacted."""
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'work', auto_compact=False) as index:
        for seed in range(5):
            index.index(notes(300, seed))
        index.delete([f'n{at}' for at in range(0, 300, 5)])
        yield index


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob('*') if path.is_file())


def state(index: HnswDocumentIndex[Note]) -> dict[str, Note]:
    return {id_: index[id_] for id_ in index}


def files(work_dir: Path) -> set[str]:
    """Return the names of the vector and graph files, finished or not."""
    return {path.name for directory in ('vectors', 'graphs') for path in (work_dir / directory).iterdir()}


def test_everything_that_lives_stays(churned: HnswDocumentIndex[Note]) -> None:
    """After compacting, here and reopened, the same documents are there in the same order, and are found."""
    before = state(churned)
    churned.compact()
    assert state(churned) == before
    assert list(churned) == list(before)
    work_dir = churned.work_dir
    churned.close()
    with HnswDocumentIndex[Note](work_dir=work_dir) as reopened:
        assert state(reopened) == before
        for id_, note in before.items():
            assert reopened.find(note, 'embedding', limit=1).documents.id == [id_]


def test_documents_without_a_vector_are_still_not_found_by_it(churned: HnswDocumentIndex[Note]) -> None:
    """An optional vector that is absent is absent after compaction too."""
    churned.compact()
    with_other = {id_ for id_, note in state(churned).items() if note.other is not None}
    assert set(churned.find(np.zeros(4), 'other', limit=1000).documents.id) == with_other


def test_the_space_comes_back(churned: HnswDocumentIndex[Note], tmp_path: Path) -> None:
    """After replacing every vector again and again, the directory is no larger than a fresh one of that content."""
    docs = list(state(churned).values())
    churned.compact()
    work_dir = churned.work_dir
    churned.close()
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'fresh') as fresh:
        fresh.index(docs)
    assert size(work_dir) <= 1.1 * size(tmp_path / 'fresh')


def test_writing_goes_on_after_it(churned: HnswDocumentIndex[Note]) -> None:
    """What is indexed, replaced and deleted after a compaction is there after the next opening."""
    churned.compact()
    churned.index(notes(10, seed=9))
    del churned['n1']
    churned.compact()
    expected = state(churned)
    work_dir = churned.work_dir
    churned.close()
    with HnswDocumentIndex[Note](work_dir=work_dir) as reopened:
        assert state(reopened) == expected
        assert 'n1' not in reopened


def test_old_files_that_cannot_be_removed_stay(
    churned: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction is done even if the disk does not let go of the files before it; the next opening removes them."""
    before, work_dir = state(churned), churned.work_dir

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'unlink', refused)
        patch.setattr(_files, 'create_empty', lambda path: path.write_bytes(b''))
        churned.compact()
    assert {'embedding.0.f32', 'embedding.1.f32'} <= files(work_dir)
    churned.close()
    with HnswDocumentIndex[Note](work_dir=work_dir) as index:
        assert state(index) == before
        assert 'embedding.0.f32' not in files(work_dir)


def test_an_empty_index_can_be_compacted(tmp_path: Path) -> None:
    """Compacting nothing, or an index from which everything was deleted, leaves an index that works."""
    with HnswDocumentIndex[Note](work_dir=tmp_path) as index:
        index.compact()
        index.index(notes(3))
        index.delete(list(index))
        index.compact()
        index.index(notes(2))
        assert len(index.find(np.ones(8), 'embedding').documents) == 2


@pytest.mark.parametrize(
    ('auto_compact', 'is_compacted'), [(0.5, True), (0.8, True), (0.81, False), (False, False)], ids=str
)
def test_a_write_compacts_when_enough_is_dead(tmp_path: Path, auto_compact: float, is_compacted: bool) -> None:
    """The write by which the given share of all versions is dead compacts; what was written is there either way."""
    with HnswDocumentIndex[Note](work_dir=tmp_path, auto_compact=auto_compact) as index:
        for seed in range(5):
            index.index(notes(300, seed))  # 1,200 of 1,500 are dead in the end, and never 1,000 before
        assert ('embedding.1.f32' in files(tmp_path)) is is_compacted
        assert state(index) == {note.id: note for note in notes(300, 4)}


def test_a_write_is_done_even_if_it_cannot_be_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk without room for a compaction keeps nobody from writing: the write returns, and the log says why."""
    with HnswDocumentIndex[Note](work_dir=tmp_path) as index:
        for seed in range(4):
            index.index(notes(300, seed))
        before = files(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(_files, 'create_file', breaking(_files.create_file, 1))
            index.index(notes(300, 4))
        assert 'could not be compacted' in caplog.text
        assert files(tmp_path) == before
        assert state(index) == {note.id: note for note in notes(300, 4)}


def breaking(function: Callable[..., object], at: int) -> Callable[..., object]:
    """Return `function`, which the `at`-th time fails as a full disk does."""
    calls = 0

    def broken(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(28, 'No space left on device')
        return function(*args, **kwargs)

    return broken


@pytest.mark.parametrize(
    ('step', 'at'),
    [
        *[('create_empty', at) for at in (1, 2, 3, 4)],  # two vector files, two graph files
        *[('publish', at) for at in (1, 2, 3, 4)],
        *[('write_at', at) for at in (1, 2)],
        *[('sync_file', at) for at in (2, 4, 5, 6)],
        *[('checksum', at) for at in (1, 2)],
    ],
)
def test_a_compaction_that_fails_has_changed_nothing(
    churned: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    """I7: a full disk during compaction is an error; documents, search and the next compaction are as before."""
    churned.save_graphs()
    before, files_before = state(churned), files(churned.work_dir)
    assert len(files_before) == 4
    with monkeypatch.context() as patch:
        patch.setattr(_files, step, breaking(getattr(_files, step), at))
        with pytest.raises(OSError, match='No space left'):
            churned.compact()
    assert state(churned) == before
    assert churned.find(before['n7'], 'embedding', limit=1).documents.id == ['n7']
    assert files(churned.work_dir) == files_before
    churned.compact()
    assert state(churned) == before
    assert files(churned.work_dir).isdisjoint(files_before)


@pytest.mark.parametrize('moment', ['before the commit', 'after the commit'])
def test_a_crash_around_the_commit_leaves_one_state_or_the_other(
    churned: HnswDocumentIndex[Note], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """I1: a directory left behind just before or after the commit opens with all documents, and without debris."""
    churned.save_graphs()
    before = state(churned)
    renumber = Sidecar.renumber

    def crash(self: Sidecar, *args: object) -> None:
        if moment == 'after the commit':
            renumber(self, *args)  # type: ignore[arg-type]
        shutil.copytree(churned.work_dir, tmp_path / 'crashed')
        if moment == 'before the commit':
            renumber(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Sidecar, 'renumber', crash)
    churned.compact()
    assert len(list((tmp_path / 'crashed' / 'vectors').iterdir())) == 4
    assert len(list((tmp_path / 'crashed' / 'graphs').iterdir())) == 4
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'crashed') as reopened:
        assert state(reopened) == before
        assert reopened.find(before['n7'], 'embedding', limit=1).documents.id == ['n7']
        assert len(list((tmp_path / 'crashed' / 'vectors').iterdir())) == 2
        assert len(list((tmp_path / 'crashed' / 'graphs').iterdir())) == 2


def test_a_compacted_directory_opens_with_its_graphs(
    churned: HnswDocumentIndex[Note], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I6: the commit of a compaction records its graph files: after a crash at once no vector is added to a graph."""
    before = state(churned)
    renumber = Sidecar.renumber

    def crash(self: Sidecar, *args: object) -> None:
        renumber(self, *args)  # type: ignore[arg-type]
        shutil.copytree(churned.work_dir, tmp_path / 'crashed')

    monkeypatch.setattr(Sidecar, 'renumber', crash)
    churned.compact()
    monkeypatch.setattr(Graph, 'add', lambda *given: pytest.fail('a graph was built'))
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'crashed') as reopened:
        for id_, note in before.items():
            assert reopened.find(note, 'embedding', limit=1).documents.id == [id_]


def test_an_interrupt_just_after_the_commit_is_followed(
    churned: HnswDocumentIndex[Note], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3: Ctrl-C between the commit of a compaction and what follows it leaves an index that can be written."""
    before = state(churned)
    renumber = Sidecar.renumber

    def interrupted(self: Sidecar, *args: object) -> None:
        renumber(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Sidecar, 'renumber', interrupted)
        with pytest.raises(KeyboardInterrupt):
            churned.compact()
    churned.index(notes(1, seed=7))
    assert state(churned) == {**before, 'n0': notes(1, seed=7)[0]}
