"""
Milvus Lite in this process: one engine for each directory, however many handles there are on it.

It goes on after its client is closed, and keeps the lock of its directory; so the last handle ends it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import Counter
from functools import lru_cache
from typing import Any

from .._optional import optional

WRITING = threading.Lock()
"""
Held for each write.

Milvus Lite changes its log and its memory for new ones when it writes them out, and another write meanwhile would go to
the old ones. So what is written to engines in this process goes in turn.
"""
_handles: Counter[str] = Counter()
LOCK = threading.Lock()
"""Held while a handle is opened or closed."""


def check_installed() -> None:
    """
    Check that there is Milvus Lite.

    Raises:
        MissingLibraryError: it is not installed.
    """
    optional('milvus_lite', 'milvus', 'Milvus indexes in a directory', 'milvus-lite')


def enter(directory: str) -> None:
    """Count one handle more on a directory; `LOCK` is held."""
    _handles[directory] += 1
    _leave_to_parent()


def leave(directory: str) -> None:
    """Count one handle less, and end the engine with the last; `LOCK` is held."""
    _handles[directory] -= 1
    if not _handles[directory]:
        del _handles[directory]
        _engines().release_server(directory)


def _engines() -> Any:
    return optional('milvus_lite.server_manager', 'milvus', 'Milvus indexes in a directory').server_manager_instance


@lru_cache(maxsize=1)
def _leave_to_parent() -> None:
    """
    Have no child that is forked from here end the engines of its parent when it exits.

    Milvus Lite ends all of them at the exit of a process, of any: it would remove the log that the parent writes to.
    """

    def forget() -> None:
        global LOCK
        LOCK = threading.Lock()  # a thread that is not in the child may have it
        _handles.clear()
        atexit.unregister(engines.release_all)

    engines = _engines()
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=forget)
