import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from docindex import locks
from docindex.locks import SharedLock, Turns
from tests.signals import Signal

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


def test_a_writer_that_gives_up_holds_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that wait behind a writer that waits go on when Ctrl-C ends its waiting."""
    lock = SharedLock()
    reader = Holder(lock.shared)
    assert reader.has_it.wait(_LONG)
    wait_for, this = lock._condition.wait_for, threading.current_thread()
    late: list[Holder] = []

    def interrupted(is_met: Callable[[], bool], seconds: float) -> bool:
        if threading.current_thread() is not this:
            return wait_for(is_met, seconds)
        late.append(Holder(lock.shared))
        while not lock._waiting_readers:
            lock._condition.wait(_SHORT)
        raise KeyboardInterrupt

    monkeypatch.setattr(lock._condition, 'wait_for', interrupted)
    with pytest.raises(KeyboardInterrupt):
        lock.acquire_exclusive()
    assert late[0].has_it.wait(_LONG)
    late[0].end()
    reader.end()


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


class Downgrader:
    """A thread that takes a lock alone, shares it when it is told to, and holds it until it is told to let go."""

    def __init__(self, lock: SharedLock) -> None:
        self._lock = lock
        self.has_it, self.shares = threading.Event(), threading.Event()
        self._share, self._let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.has_it.wait(_LONG)

    def _run(self) -> None:
        self._lock.acquire_exclusive()
        self.has_it.set()
        self._share.wait(_LONG)
        self._lock.downgrade()
        self.shares.set()
        self._let_go.wait(_LONG)
        self._lock.release()

    def share(self) -> None:
        self._share.set()
        assert self.shares.wait(_LONG)

    def end(self) -> None:
        self._let_go.set()
        self._thread.join(_LONG)
        assert not self._thread.is_alive()


def test_waiting_readers_get_in_when_a_writer_shares() -> None:
    """Readers that waited for a writer hold the lock together with it as soon as it shares, as do later ones."""
    lock = SharedLock()
    writer = Downgrader(lock)
    readers = [Holder(lock.shared), Holder(lock.shared)]
    assert not any(reader.has_it.wait(_SHORT) for reader in readers)
    writer.share()
    late = Holder(lock.shared)
    assert all(reader.has_it.wait(_LONG) for reader in (*readers, late))
    for holder in (*readers, late, writer):
        holder.end()


def test_no_writer_gets_in_while_another_shares() -> None:
    """A writer that waits for one that shares gets the lock when that one has let go, and not in between."""
    lock = SharedLock()
    sharing = Downgrader(lock)
    waiting = Holder(lock.exclusive)
    assert not waiting.has_it.wait(_SHORT)
    sharing.share()
    assert not waiting.has_it.wait(_SHORT)
    sharing.end()
    assert waiting.has_it.wait(_LONG)
    waiting.end()


def test_a_writer_waits_for_all_who_share() -> None:
    """A writer waits for the readers that came in when another writer shared, however long they stay."""
    lock = SharedLock()
    sharing = Downgrader(lock)
    reader = Holder(lock.shared)
    sharing.share()
    assert reader.has_it.wait(_LONG)
    writer = Holder(lock.exclusive)
    sharing.end()
    assert not writer.has_it.wait(_SHORT)
    reader.end()
    assert writer.has_it.wait(_LONG)
    writer.end()


def test_nothing_changes_between_writing_and_sharing() -> None:
    """What a writer has changed is just so when it shares, among any number of writers that do the same."""
    lock, count, wrong = SharedLock(), [0], []

    def add() -> None:
        for _ in range(300):
            lock.acquire_exclusive()
            count[0] += 1
            mine = count[0]
            lock.downgrade()
            if count[0] != mine:
                wrong.append(mine)
            lock.release()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (count, wrong) == ([1200], [])


def test_a_turn_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many have a turn at a time, and the next gets one when one of them is done."""
    monkeypatch.setattr(locks, '_PATIENCE', _LONG)
    turns = Turns(2)
    first, second = Holder(turns.one), Holder(turns.one)
    assert first.has_it.wait(_LONG)
    assert second.has_it.wait(_LONG)
    third = Holder(turns.one)
    assert not third.has_it.wait(_SHORT)
    first.end()
    assert third.has_it.wait(_LONG)
    second.end()
    third.end()


def test_whose_turn_does_not_come_goes_on() -> None:
    """Nobody waits for a turn for long, and who had none takes none from the others."""
    turns = Turns(1)
    holder, late = Holder(turns.one), Holder(turns.one)
    assert holder.has_it.wait(_LONG)
    assert late.has_it.wait(_LONG)
    late.end()
    holder.end()
    with turns.one():
        assert not turns._is_one_free()


def test_a_turn_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails gives its turn to the next."""
    monkeypatch.setattr(locks, '_PATIENCE', _LONG)
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    holder = Holder(turns.one)
    assert holder.has_it.wait(_LONG / 2)
    holder.end()


def interrupted_at(at: int, hold: Callable[[], Any], then: Callable[[], Any]) -> bool:
    """Interrupt a thread that holds something, and let it hold something else then; return whether it came to that."""
    signal = Signal(at, locks.__name__)

    def run() -> None:
        with suppress(KeyboardInterrupt), signal, hold():
            pass
        with then():
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_LONG)
    assert not thread.is_alive()
    return signal.has_come


@pytest.mark.parametrize('then', ['shared', 'exclusive'])
@pytest.mark.parametrize('hold', ['shared', 'exclusive'])
def test_an_interrupt_leaves_a_lock_that_can_be_taken(hold: str, then: str) -> None:
    """Whenever Ctrl-C comes while the lock is taken or released, its thread takes it again, and others after that."""
    for at in itertools.count():
        lock = SharedLock()
        has_come = interrupted_at(at, getattr(lock, hold), getattr(lock, then))
        writer = Holder(lock.exclusive)
        assert writer.has_it.wait(_LONG)
        writer.end()
        if not has_come:
            break
    assert at > 10


def test_an_interrupt_leaves_a_turn_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever Ctrl-C comes while a turn is taken or ended, its thread has another one, and others after that."""
    monkeypatch.setattr(locks, '_PATIENCE', _LONG)
    for at in itertools.count():
        turns = Turns(1)
        has_come = interrupted_at(at, turns.one, turns.one)
        assert turns._is_one_free()
        if not has_come:
            break
    assert at > 5
