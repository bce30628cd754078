"""A stand-in for the disk: sees each step of a write, and can photograph the directory or fail there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from docindex import _files
from docindex.hnsw.graph import Graph
from docindex.hnsw.sidecar import Sidecar

Step = tuple[Any, str]
FILE_STEPS: list[Step] = [
    (_files, 'sync_file'),
    (_files, 'sync_directory'),
    (_files, 'create_empty'),
    (_files, 'write_at'),
    (_files, 'publish'),
    (Graph, 'save'),
]
"""What a full or failing disk can refuse; SQLite, when it is refused something, raises an error of its own."""
STEPS: list[Step] = [
    *FILE_STEPS,
    (_files, 'remove'),
    (Sidecar, 'create'),
    (Sidecar, 'adapt'),
    (Sidecar, 'put_fields'),
    (Sidecar, 'set_meta'),
    (Sidecar, 'begin'),
    (Sidecar, 'apply'),
    (Sidecar, 'keep_unsynced'),
    (Sidecar, 'forget_unsynced'),
    (Sidecar, 'record_synced'),
    (Sidecar, 'commit'),
    (Sidecar, 'roll_back'),
    (Sidecar, 'renumber'),
    (Sidecar, 'record'),
    (Sidecar, 'vacuum'),
]
"""Each function through which an index changes a file; every write is a sequence of these."""


@contextmanager
def watched(
    before: Callable[[str], object], after: Callable[[str], object], steps: Sequence[Step] = STEPS
) -> Iterator[None]:
    """Call `before` and `after` with the name of each step, before it is taken and after it."""

    def stand_in(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            before(name)
            result = original(*arguments, **named)
            after(name)
            return result

        return step

    patches = [mock.patch.object(owner, name, stand_in(getattr(owner, name), name)) for owner, name in steps]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


class Photographer:
    """
    Keeps a copy of a directory from before and after each step: what a process that dies there leaves behind.

    A dead process leaves what it has written, synced or not, for the kernel has it; so a copy is such a directory.
    """

    def __init__(self, directory: Path, album: Path) -> None:
        self._directory = directory
        self._album = album
        self.photographs: list[tuple[str, Path]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Photograph each step that is taken inside."""
        with watched(lambda name: self._take(f'before {name}'), lambda name: self._take(f'after {name}')):
            yield

    def _take(self, name: str) -> None:
        copy = self._album / f'{len(self.photographs)} {name}'
        shutil.copytree(self._directory, copy)
        self.photographs.append((name, copy))


class Saboteur:
    """
    Raises `error` at the `at`-th step, counted from 0: before it is taken, or just after.

    Attributes:
        struck: The name of that step, or None if there were not so many.
    """

    def __init__(self, at: int, error: BaseException, when: str, steps: Sequence[Step] = STEPS) -> None:
        self._left = at
        self._steps = steps
        self._error = error
        self._when = when
        self.struck: str | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Fail at one of the steps that are taken inside."""
        before, after = (self._step, _idle) if self._when == 'before' else (_idle, self._step)
        with watched(before, after, self._steps):
            yield

    def _step(self, name: str) -> None:
        self._left -= 1
        if self._left == -1:
            self.struck = name
            raise self._error


def _idle(name: str) -> None:
    pass
