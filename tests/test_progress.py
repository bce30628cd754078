import io
import sys

import pytest

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
