"""Documents with lists, written by several processes in turn: who follows sees each write whole, at every level."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from docindex import HnswDocumentIndex
from tests import programs
from tests.crash.agreement import check_agreement
from tests.crash.shelf import Shelf
from tests.crash.workload import KINDS, KINDS_OF_LISTS, LISTS, SPACES, Page, Step

SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
STEPS = int(os.environ.get('DOCINDEX_LISTS', '24'))

WRITER = """
import sys
from docindex import HnswDocumentIndex
from tests.crash.workload import Page, Step

index = HnswDocumentIndex[Page](sys.argv[1], shared_writes=True)
print('open', flush=True)
for line in sys.stdin:
    step = Step(int(sys.argv[2]), int(line), index, most=6)
    step.apply(index)
    print(step.kind, flush=True)
"""


@contextmanager
def writer(path: Path, seed: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that makes the steps whose numbers it is told."""
    with programs.start(WRITER, path, seed) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == 'open\n'
        yield process
        process.stdin.close()
        assert process.wait() == 0


def make(process: subprocess.Popen[str], number: int) -> None:
    """Let a process make a step, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f'{number}\n')
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer.strip() in (*KINDS, *KINDS_OF_LISTS), answer + process.stdout.read()


def check_labels(index: HnswDocumentIndex[Any], path: Path) -> None:
    """Assert that what is known of the labels is what SQLite says: which live, and of which level each is."""
    index.num_docs()  # it follows
    labels = index._store.state.labels
    with closing(sqlite3.connect(path / 'documents.sqlite3')) as connection:
        documents = dict(connection.execute('SELECT label, level FROM documents'))
        dead = [label for (label,) in connection.execute('SELECT label FROM tombstones ORDER BY position')]
    assert sorted(labels.living_documents().tolist()) == sorted(documents)
    assert labels.dead == dead
    assert all(labels.is_of(level, label) for label, level in documents.items())
    for level in range(1 + len(LISTS)):
        assert labels.documents(level) == list(documents.values()).count(level)


@pytest.mark.parametrize('mode', ['read_only', 'shared_writes'])
def test_who_follows_sees_lists_whole(tmp_path: Path, mode: str) -> None:
    """
    A reader, or a writer that takes turns, has after each write of others just what it has made, compactions too.

    Documents come with complete lists, and are found by what is in these; nothing of a list is left of what is gone.
    """
    shelf = Shelf(SPACES)
    print(f'seed {SEED}')
    settings: Any = {mode: True}
    with (
        writer(tmp_path, SEED) as one,
        writer(tmp_path, SEED) as other,
        HnswDocumentIndex[Page](tmp_path, **settings) as index,
    ):
        for number in range(STEPS):
            if mode == 'shared_writes' and number % 3 == 2:
                Step(SEED, number, index, most=6).apply(index)
            else:
                make((one, other)[number % 2], number)
            Step(SEED, number, shelf, most=6).apply(shelf)
            check_labels(index, tmp_path)
            if number % 3 == 2:
                shelf.check_all(index)
                check_agreement(index, shelf.docs, lists=LISTS)
        report = index.verify()
        assert report.is_sound, str(report)
