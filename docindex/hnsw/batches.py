"""Who is in a batch of a store: one thread at most, and in it one task of asyncio, with those it has begun there."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from ..errors import QueryError
from .transaction import Transaction

# The batches in which the task at hand is. A task of asyncio has a context of its own, and so has a thread. A task that
# was begun in a batch has a copy of the context for good, so this names the batch and not the store, which has others.
_inside: ContextVar[frozenset[_Token]] = ContextVar('_inside', default=frozenset())


class _Token:
    """Stands for one batch, to be told from all others."""


class Batches:
    """
    The batches of one store, of which there is never more than one.

    Attributes:
        current: What is staged in it; None: nobody is in a batch.
    """

    def __init__(self) -> None:
        self.current: Transaction | None = None
        self._token = _Token()
        self._thread = 0

    def begin(self, transaction: Transaction) -> None:
        """Let this thread, and this task, be in a batch."""
        self._token = _Token()
        _inside.set(_inside.get() | {self._token})
        self.current, self._thread = transaction, threading.get_ident()

    def end(self) -> None:
        """Let nobody be in it any more."""
        self.current = None
        _inside.set(_inside.get() - {self._token})

    def is_left(self, transaction: Transaction) -> bool:
        """Return whether this thread, in whatever task, is in the batch in which a transaction is staged."""
        return self.current is transaction and self._is_of_this_thread

    def own(self) -> Transaction | None:
        """Return what is staged in the batch that this thread, and this task, is in; None, if it is in none."""
        return self.current if self._is_of_this_thread and self._token in _inside.get() else None

    def check_none(self, what: str) -> None:
        """Raise `QueryError` if this thread is in a batch."""
        if self.own() is not None:
            raise QueryError(f'you cannot {what} inside a batch; end the batch first')

    def check_thread(self) -> None:
        """Raise `QueryError` if this call belongs to a batch of another thread, which would not see what is in it."""
        # The context of a batch comes to another thread through an async twin.
        if self.current is not None and self._token in _inside.get() and not self._is_of_this_thread:
            raise QueryError(
                'this call belongs to a batch that another thread began; inside a batch make the calls themselves, not '
                'their async twins'
            )

    def check_task(self) -> None:
        """Raise `QueryError` if another task of this thread is in a batch."""
        if self.current is not None and self._is_of_this_thread and self._token not in _inside.get():
            raise QueryError(
                'another task of this thread is in a batch; let it end first, or write with aindex and its like'
            )

    @property
    def _is_of_this_thread(self) -> bool:
        return self._thread == threading.get_ident()
