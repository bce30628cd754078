"""The stores that this process has open: handles that open a directory in the same way share one."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ..errors import SettingsError, WorkDirLockedError
from ..schema import Schema
from .extraction import Extractions
from .settings import Declared
from .state import Access
from .store import Store

# A reader's own settings are no other reader's.
_Key = tuple[Path, bool, bool, str]

_stores: dict[_Key, Store] = {}
_handles: Counter[Store] = Counter()
# What processes had open from which this one was forked. SQLite would take the locks that it has there for its own:
# others would take this process for gone, and remove the log in which it writes.
_open_in_parents: dict[Path, int] = {}
# One lock for each directory that was ever opened: waiting for one does not hold up another.
_opening: defaultdict[Path, threading.RLock] = defaultdict(threading.RLock)


def acquire(
    path: Path,
    schema: Schema[Any],
    extractions: Extractions,
    declared: Declared,
    access: Access,
    lock_timeout: float,
) -> Store:
    """
    Return the store of a directory, opening it if this process has not; give it up with `release`.

    Args and errors are those of `Store`, and those of `Store.join`.
    """
    path = path.resolve()
    _check_not_in_parents(path)
    own = json.dumps(declared, sort_keys=True) if access.read_only else ''
    key = path, access.read_only, access.shared_writes, own
    with _opening[path]:
        store = _stores.get(key)
        if store is not None:
            store.check_in_place()
            if store.is_left_behind():
                del _stores[key]  # its handles keep it
                store = None
        if not access.read_only and (path, False, not access.shared_writes, own) in _stores:
            how = 'without' if access.shared_writes else 'with'
            raise SettingsError(f'{path} is open in this process {how} shared_writes; close that index first')
        is_new = store is None
        if store is None:
            store = _stores[key] = Store(path, schema, extractions, declared, access, lock_timeout)
        _handles[store] += 1
    if not is_new:
        # Not under the lock: this waits for searches to end, and one of those may be about to release a handle.
        try:
            store.join(schema, extractions, declared, access)
            if not access.is_lazy:
                store.wake_all()
        except BaseException:
            release(store)
            raise
    return store


def _check_not_in_parents(path: Path) -> None:
    pid = _open_in_parents.get(path)
    if pid is not None:
        raise WorkDirLockedError(
            f'process {pid}, from which this one was forked, had this directory open, and SQLite cannot open a file on '
            'both sides of a fork',
            path,
            "open it after the fork only, or start processes by 'spawn': multiprocessing.get_context('spawn')",
            pid,
        )


def release(store: Store) -> None:
    """Give up one handle; the last one saves the graphs and closes the files."""
    if not store.is_of_this_process:
        return
    with _opening[store.path]:
        _handles[store] -= 1
        if not _handles[store]:
            del _handles[store]
            for key in [key for key, other in _stores.items() if other is store]:
                del _stores[key]
            store.close()


def _forget_all() -> None:
    """In a process that was forked: leave what is open to the parent, whose threads may hold the locks."""
    _open_in_parents.update(dict.fromkeys((store.path for store in _handles), os.getppid()))
    _stores.clear()
    _handles.clear()
    _opening.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_all)
