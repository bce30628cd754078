import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, _progress
from docindex._progress import progress_bar


class Terminal(io.StringIO):
    """An output that somebody looks at."""

    def isatty(self) -> bool:
        return True


def looking(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Not a fixture: pytest puts its own stderr in place again before a test begins.
    stream = Terminal()
    monkeypatch.setattr(sys, 'stderr', stream)
    return stream


@pytest.fixture
def without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition('.')[0] == 'tqdm']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    monkeypatch.setitem(sys.modules, 'tqdm.auto', None)


def test_a_bar_shows_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that was asked for names the work, the total and how far it is."""
    terminal = looking(monkeypatch)
    pytest.importorskip('tqdm')
    with progress_bar(40, 'indexing', show=True) as advance:
        advance(30)
        advance(10)
    assert 'indexing' in terminal.getvalue()
    assert '40/40' in terminal.getvalue()


def test_no_bar_when_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`show=False` prints nothing, on a terminal either."""
    terminal = looking(monkeypatch)
    with progress_bar(2, 'indexing', show=False) as advance:
        advance(2)
    assert terminal.getvalue() == ''


def test_no_bar_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`show=None` prints nothing into a file or a pipe."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', stream)
    with progress_bar(2, 'indexing', show=None) as advance:
        advance(2)
    assert stream.getvalue() == ''


def test_what_is_quick_shows_no_bar_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """`show=None` on a terminal keeps quiet about what is done in an instant."""
    terminal = looking(monkeypatch)
    with progress_bar(2, 'indexing', show=None) as advance:
        advance(2)
    assert '2/2' not in terminal.getvalue()


def test_what_takes_long_shows_a_bar_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """`show=None` on a terminal shows a bar from the third second on, with all that was done before."""
    terminal = looking(monkeypatch)
    pytest.importorskip('tqdm')
    monkeypatch.setattr(_progress.time, 'monotonic', iter([0.0, 0.1, 1.9, 2.1]).__next__)
    with progress_bar(40, 'indexing', show=None) as advance:
        advance(20)
        assert terminal.getvalue() == ''
        advance(10)
        advance(10)
    assert '40/40' in terminal.getvalue()


def test_without_tqdm_a_bar_that_was_asked_for_is_an_error(without_tqdm: None) -> None:
    """Without tqdm `show=True` says what to install."""
    with pytest.raises(ImportError, match='install tqdm'), progress_bar(2, 'indexing', show=True):
        pass


def test_without_tqdm_nothing_else_changes(without_tqdm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tqdm `show=None` works in silence."""
    terminal = looking(monkeypatch)
    with progress_bar(2, 'indexing', show=None) as advance:
        advance(2)
    assert terminal.getvalue() == ''


def test_an_error_inside_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar does not swallow what the work raises."""
    terminal = looking(monkeypatch)
    with pytest.raises(ZeroDivisionError), progress_bar(2, 'indexing', show=True):
        raise ZeroDivisionError
    assert terminal.getvalue()


# -- each long operation ---------------------------------------------------------------------------


class Note(BaseDoc):
    title: str
    vector: NdArray[4]


@pytest.mark.parametrize('write', ['index', 'index_columns'])
def test_writes_show_a_bar_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str) -> None:
    """`index` and `index_columns` show a bar on a terminal for what takes long, unless they are told not to."""
    terminal = looking(monkeypatch)
    pytest.importorskip('tqdm')
    with HnswDocumentIndex[Note](work_dir=tmp_path) as index:
        monkeypatch.setattr(_progress, '_PATIENCE', -1)
        for shown, length in ((False, 1), (None, 2)):
            vectors = length * np.eye(3, 4, dtype=np.float32)
            columns = {'id': [*'abc'], 'title': [*'abc'], 'vector': vectors}
            docs = [Note(id=id_, title=id_, vector=one) for id_, one in zip('abc', vectors, strict=True)]
            assert terminal.getvalue() == ''
            getattr(index, write)(columns if write == 'index_columns' else docs, show_progress=shown)
        assert '100%' in terminal.getvalue()


Notes = HnswDocumentIndex[Note]
VECTORS = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


def notes(path: Path) -> HnswDocumentIndex[Note]:
    index = Notes(work_dir=path)
    index.index(Note(id=str(n), title=f'title {n}', vector=vector) for n, vector in enumerate(VECTORS))
    return index


LONG: dict[str, Callable[[HnswDocumentIndex[Note], Path, bool | None], object]] = {
    'index': lambda index, path, show: index.index(
        Note(id=f'new {show}', title='', vector=VECTORS[0] + 1), show_progress=show
    ),
    'compact': lambda index, path, show: index.compact(show_progress=show),
    'verify': lambda index, path, show: index.verify(show_progress=show),
    'save_graphs': lambda index, path, show: index.save_graphs(show_progress=show),
    'backup': lambda index, path, show: index.backup(path / f'backup {show}', show_progress=show),
    'export': lambda index, path, show: index.export(path / f'{show}.jsonl', show_progress=show),
    'tune': lambda index, path, show: index.tune(sample=5, show_progress=show),
    'recall': lambda index, path, show: index.recall(sample=5, show_progress=show),
    'warm_up': lambda index, path, show: index.warm_up(show_progress=show),
}


@pytest.mark.parametrize('work', LONG)
def test_each_long_operation_has_a_bar_and_a_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    """`show_progress=True` shows a bar, `False` none on a terminal, and `None` none in a pipe."""
    pytest.importorskip('tqdm')
    with notes(tmp_path / 'notes') as index:
        terminal = looking(monkeypatch)
        LONG[work](index, tmp_path, False)
        assert terminal.getvalue() == ''
        LONG[work](index, tmp_path, True)
        if work != 'save_graphs':  # all was saved by then
            assert '%|' in terminal.getvalue()
        pipe = io.StringIO()
        monkeypatch.setattr(sys, 'stderr', pipe)
        LONG[work](index, tmp_path, None)
        assert pipe.getvalue() == ''


def test_saving_shows_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save_graphs(show_progress=True)` shows how much has been saved."""
    pytest.importorskip('tqdm')
    with notes(tmp_path) as index:
        terminal = looking(monkeypatch)
        index.save_graphs(show_progress=True)
        assert '40/40' in terminal.getvalue()


def test_opening_shows_a_bar_where_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built while a directory is opened, and read anew for a new schema, has a bar on a terminal."""
    pytest.importorskip('tqdm')
    notes(tmp_path).close()
    asked: list[str] = []

    @contextmanager
    def noted(total: int, what: str, show: bool | None, *more: object) -> Iterator[Callable[[int], object]]:
        asked.extend([what] if show is None and total else [])
        yield lambda done: None

    class Searched(BaseDoc):
        title: str = Field(full_text=True)
        vector: NdArray[4] = Field(M=5)

    monkeypatch.setattr('docindex.hnsw.graphs.progress_bar', noted)
    monkeypatch.setattr('docindex.hnsw.opening.progress_bar', noted)
    with HnswDocumentIndex[Searched](work_dir=tmp_path) as index:
        assert len(index.text_search('title').documents) == 10
    assert asked == ['reading anew', 'indexing']
