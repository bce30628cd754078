import threading
from collections.abc import Callable

import pytest

from docindex.hnsw.locks import SharedLock

_LONG = 10  # seconds: how long a test waits for what should happen at once
_SHORT = 0.05  # seconds: how long it looks that something does not happen


class Holder:
    """A thread that holds a lock until it is told to let go."""

    def __init__(self, hold: Callable[[], object]) -> None:
        self.has_it, self._let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(hold,), daemon=True)
        self._thread.start()

    def _run(self, hold: Callable[[], object]) -> None:
        with hold():  # type: ignore[attr-defined]
            self.has_it.set()
            self._let_go.wait(_LONG)

    def end(self) -> None:
        self._let_go.set()
        self._thread.join(_LONG)
        assert not self._thread.is_alive()


def test_readers_share() -> None:
    """Any number of threads hold the lock shared at one time."""
    lock = SharedLock()
    holders = [Holder(lock.shared) for _ in range(5)]
    assert all(holder.has_it.wait(_LONG) for holder in holders)
    for holder in holders:
        holder.end()


@pytest.mark.parametrize('other', ['shared', 'exclusive'])
def test_a_writer_is_alone(other: str) -> None:
    """While one thread holds the lock exclusively nobody else has it; then the other gets it."""
    lock = SharedLock()
    writer = Holder(lock.exclusive)
    assert writer.has_it.wait(_LONG)
    waiting = Holder(getattr(lock, other))
    assert not waiting.has_it.wait(_SHORT)
    writer.end()
    assert waiting.has_it.wait(_LONG)
    waiting.end()


def test_a_writer_waits_for_all_readers() -> None:
    """A writer gets the lock when the last reader has let go."""
    lock = SharedLock()
    readers = [Holder(lock.shared), Holder(lock.shared)]
    assert all(reader.has_it.wait(_LONG) for reader in readers)
    writer = Holder(lock.exclusive)
    readers[0].end()
    assert not writer.has_it.wait(_SHORT)
    readers[1].end()
    assert writer.has_it.wait(_LONG)
    writer.end()


def test_a_waiting_writer_is_not_starved() -> None:
    """Readers that come after a waiting writer wait behind it."""
    lock = SharedLock()
    reader = Holder(lock.shared)
    assert reader.has_it.wait(_LONG)
    writer = Holder(lock.exclusive)
    assert not writer.has_it.wait(_SHORT)
    late = Holder(lock.shared)
    assert not late.has_it.wait(_SHORT)
    reader.end()
    assert writer.has_it.wait(_LONG)
    assert not late.has_it.wait(_SHORT)
    writer.end()
    assert late.has_it.wait(_LONG)
    late.end()


@pytest.mark.parametrize('hold', ['shared', 'exclusive'])
def test_an_error_inside_lets_go(hold: str) -> None:
    """A lock is free again after its holder raised, and the error comes through."""
    lock = SharedLock()
    with pytest.raises(ZeroDivisionError), getattr(lock, hold)():
        raise ZeroDivisionError
    writer = Holder(lock.exclusive)
    assert writer.has_it.wait(_LONG)
    writer.end()


def test_counting_under_the_lock_loses_nothing() -> None:
    """Writers in many threads exclude each other."""
    lock, count = SharedLock(), [0]

    def add() -> None:
        for _ in range(500):
            with lock.shared():
                pass
            with lock.exclusive():
                before = count[0]
                count[0] = before + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert count == [2000]
