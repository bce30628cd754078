"""A progress bar for what takes a while, if tqdm is installed and somebody is looking."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ._optional import optional
from .errors import MissingLibraryError

_PATIENCE = 2  # seconds: what does not take longer shows no bar by itself


def check_progress(show: bool | None) -> None:
    """
    Raise an error if a bar is asked for that cannot be shown: better before the work than after it.

    Raises:
        MissingLibraryError: tqdm is missing; the message says what to install.
    """
    if show:
        optional('tqdm.auto', 'progress', 'progress bars')


@contextmanager
def progress_bar(
    total: int | None, what: str, show: bool | None, unit: str = 'vector', done: int = 0
) -> Iterator[Callable[[int], object]]:
    """
    Give a function that is told how many more are done.

    Args:
        total: How many there are; None: nobody knows.
        what: What is being done, in a word or two.
        show: True: show a bar. None: only on a terminal. False: never.
        unit: What is counted.
        done: How many of them are done already.

    Raises:
        MissingLibraryError: a bar was asked for and tqdm is missing; the message says what to install.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda done: None
        return
    check_progress(show)
    bar = _Bar(total, what, unit, done, 0 if show else _PATIENCE)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """
    A bar that is made once it is shown, if tqdm is installed: who stores one document does not wait for what makes it.

    Args:
        total, what, unit, done: As for `progress_bar`.
        patience: Seconds before it is shown.
    """

    def __init__(self, total: int | None, what: str, unit: str, done: int, patience: float) -> None:
        self._about = {'total': total, 'desc': what, 'unit': unit}
        self._done = done
        self._shown_from = time.monotonic() + patience
        self._bar: Any = None
        self.advance(0)  # one that was asked for is there at once

    def advance(self, more: int) -> None:
        """Take note of what was done."""
        if self._bar is None and time.monotonic() >= self._shown_from:
            self._bar, self._shown_from = self._made(), math.inf
        self._done += more
        if self._bar is not None:
            self._bar.update(more)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _made(self) -> Any:
        with suppress(MissingLibraryError):
            return optional('tqdm.auto', 'progress', 'progress bars').tqdm(**self._about, initial=self._done)
        return None
