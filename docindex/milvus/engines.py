"""
Milvus Lite in this process: one engine for each directory, however many handles there are on it.

It goes on after its client is closed, and keeps the lock of its directory; so the last handle ends it.
"""

from __future__ import annotations

import atexit
import os
import threading
from functools import lru_cache
from typing import Any

from .._optional import optional
from ..locks import SharedLock

LOCK = threading.RLock()
"""
Held while a handle is opened or closed.

By a thread that has it already, too: a handle that is opened may have Python collect another one, which closes it.
"""


class Engine:
    """
    The engine in one directory.

    Attributes:
        calls: Shared by calls that read rows, had alone by each other call.
        handles: How many handles are on it.
    """

    # Milvus Lite changes its log and its memory for new ones when it writes them out: another write meanwhile would go
    # to the old ones, and a read would find what was in them neither there nor in files. Two calls that are the first
    # to need a collection open it twice, and what is written to the one is not in the other.

    def __init__(self) -> None:
        self.calls = SharedLock()
        self.handles = 0


_engines: dict[str, Engine] = {}


def check_installed() -> None:
    """
    Check that there is Milvus Lite.

    Raises:
        MissingLibraryError: it is not installed.
    """
    optional('milvus_lite', 'milvus', 'Milvus indexes in a directory', 'milvus-lite')


def enter(directory: str) -> Engine:
    """Count one handle more on a directory, and return its engine; `LOCK` is held."""
    _leave_to_parent()
    engine = _engines.setdefault(directory, Engine())
    engine.handles += 1
    return engine


def leave(directory: str) -> None:
    """Count one handle less, and end the engine with the last; `LOCK` is held."""
    engine = _engines[directory]
    engine.handles -= 1
    if not engine.handles:
        del _engines[directory]
        _manager().release_server(directory)


def _manager() -> Any:
    return _managers().server_manager_instance


def _managers() -> Any:
    return optional('milvus_lite.server_manager', 'milvus', 'Milvus indexes in a directory')


@lru_cache(maxsize=1)
def _leave_to_parent() -> None:
    """
    Have a child that is forked from here leave the engines to its parent, which writes to their logs.

    Milvus Lite would end them at the exit of any process, and with a handle on the same directory that is closed there.
    """
    of_parents: list[Any] = []  # kept, since what is collected closes its files

    def forget() -> None:
        global LOCK
        LOCK = threading.RLock()  # a thread that is not in the child may have it
        _engines.clear()
        of_parents.append(_manager())
        atexit.unregister(_manager().release_all)
        _managers().server_manager_instance = _managers().ServerManager()

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=forget)
