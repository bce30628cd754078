"""A progress bar for what takes a while, if tqdm is installed and somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._optional import optional
from .errors import MissingLibraryError


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
    try:
        tqdm = optional('tqdm.auto', 'progress', 'progress bars').tqdm
    except MissingLibraryError:
        if show:
            raise
        yield lambda done: None
        return
    with tqdm(total=total, desc=what, unit=unit, delay=0 if show else 2, initial=done) as bar:
        yield bar.update
