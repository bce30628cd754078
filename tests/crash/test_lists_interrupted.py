"""
Ctrl-C at any moment of a write to lists of documents: all of it or nothing, in memory and on the disk.

DOCINDEX_INTERRUPTS=2000 python -m pytest tests/crash/test_lists_interrupted.py interrupts more often than the usual
run, and DOCINDEX_SEED=... repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest

import docindex
from docindex import HnswDocumentIndex
from docindex.testing import same
from tests.crash.agreement import check_agreement
from tests.crash.shelf import Shelf
from tests.crash.workload import LISTS, SPACES, Page, Step, a_note, a_section, open_index, pages

INTERRUPTS = int(os.environ.get('DOCINDEX_INTERRUPTS', '18'))
SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
OURS = str(Path(docindex.__file__).parent / 'hnsw')


def _step(kind: str) -> Callable[[Any, Random], None]:
    return lambda store, chance: Step(chance.randrange(1 << 32), 50, store, kind=kind, most=4).apply(store)


def _move(store: Any, chance: Random) -> None:
    """Store two pages, each with what is in the list of the other."""
    docs = pages(sorted(store)[:2], 60, chance, has_lists=False)
    for doc, other in zip(docs, sorted(store)[1::-1], strict=True):
        mine = [id_ for id_ in sorted(store.subindex('sections')) if id_.startswith(f'{other}/')]
        doc.sections.extend(a_section(id_, 60, chance) for id_ in mine)
        if doc.sections:
            doc.sections[0].notes.append(a_note(f'{doc.id}/moved', 60, chance))
    store.index(docs)


WRITES: dict[str, Callable[[Any, Random], None]] = {
    **{kind: _step(kind) for kind in ('store', 'append', 'append deep', 'rewrite', 'thin out', 'batch', 'delete')},
    'compact': _step('compact'),
    'move': _move,
}


class Interrupt:
    """Raises at the n-th time that a function of docindex begins or ends, where Python looks for signals."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.has_come = False

    def __enter__(self) -> Interrupt:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        file = frame.f_code.co_filename
        # Not in the lock itself: raised between taking it and noting that, this would be a test of Python.
        is_lock = file.endswith('locks.py') or frame.f_code.co_qualname.startswith('_Reading.')
        if not file.startswith(OURS) or is_lock or self.has_come:
            return None
        frame.f_trace_lines = False
        if event in ('call', 'return'):
            self._left -= 1
            if self._left < 0:
                self.has_come = True
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace


def count(write: Callable[[], object]) -> int:
    """Return how many such times there are."""
    counter = Interrupt(1 << 60)
    with counter:
        write()
    return (1 << 60) - counter._left


@pytest.fixture(scope='module')
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shelf]:
    """A directory with a past, and what is in it."""
    path, shelf = tmp_path_factory.mktemp('prepared') / 'index', Shelf(SPACES)
    with open_index(path) as index:
        for number, kind in enumerate(['store', 'store', 'append', 'rewrite', 'save_graphs', 'thin out', 'store']):
            for store in (index, shelf):
                Step(1, number, store, kind=kind, most=6).apply(store)
    return path, shelf


@pytest.mark.parametrize('name', WRITES)
def test_an_interrupted_write_to_lists_is_done_or_not(prepared: tuple[Path, Shelf], tmp_path: Path, name: str) -> None:
    """Documents with their lists are those before the write or after it; the next write works; a new opening agrees."""
    made, before = prepared
    after, seed = before.copy(), f'{SEED} {name}'
    WRITES[name](after, Random(seed))
    shutil.copytree(made, tmp_path / 'counted')
    with open_index(tmp_path / 'counted') as index:
        moments = count(lambda: WRITES[name](index, Random(seed))) - 5  # it differs by a few from run to run
        check(index, after)
    for at in Random(seed).sample(range(moments), min(moments, -(-INTERRUPTS // len(WRITES)))):
        print(f'seed {SEED}: at {at} of {moments}')
        directory = tmp_path / str(at)
        shutil.copytree(made, directory)
        with open_index(directory) as index:
            with pytest.raises(KeyboardInterrupt), Interrupt(at):
                WRITES[name](index, Random(seed))
            assert holds(index, before) or holds(index, after)
            found = (after if holds(index, after) else before).copy()
            for store in (index, found):
                Step(SEED, 70, store, kind='batch', most=3).apply(store)
            check(index, found)
        with open_index(directory) as index:
            assert holds(index, found)
        shutil.rmtree(directory)


def holds(index: HnswDocumentIndex[Page], shelf: Shelf) -> bool:
    return set(index) == set(shelf) and all(same(index[id_], doc) for id_, doc in shelf.docs.items())


def check(index: HnswDocumentIndex[Page], shelf: Shelf) -> None:
    shelf.check_all(index)
    check_agreement(index, shelf.docs, lists=LISTS)
    report = index.verify()
    assert report.is_sound, str(report)
