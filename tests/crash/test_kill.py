"""
A process that is killed while it writes loses nothing it acknowledged.

DOCINDEX_KILLS=500 python -m pytest tests/crash/test_kill.py kills more often than the dozen times of a normal run, and
DOCINDEX_SEED=... repeats a run, as far as a kill at a random moment can be repeated.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docindex import HnswDocumentIndex
from docindex.testing import same
from tests.crash.agreement import check_agreement
from tests.crash.shelf import Shelf
from tests.crash.workload import LISTS, SPACES, Page, Step, open_index
from tests.programs import ROOT, environment

KILLS = int(os.environ.get('DOCINDEX_KILLS', '12'))
SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32)))
KILLS_A_DIRECTORY = 4


@pytest.mark.parametrize('directory', range(-(-KILLS // KILLS_A_DIRECTORY)))
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, directory: int) -> None:
    """
    After kill -9 everything acknowledged is there, by id and by search, and nothing else; a batch is whole or absent.

    The next process goes on in the same directory, so that recovering is interrupted as well (I1 to I6).
    """
    oracle = Shelf(SPACES)
    for kill in range(min(KILLS_A_DIRECTORY, KILLS - directory * KILLS_A_DIRECTORY)):
        seed = SEED + 1000 * directory + kill
        begun, done = killed_writer(tmp_path, seed)
        print(f'seed {SEED}, directory {directory}, kill {kill}: {done + 1} of {begun + 1} steps acknowledged')
        for number in range(done + 1):
            Step(seed, number, oracle).apply(oracle)
        after = oracle.copy()
        if begun > done:
            Step(seed, begun, oracle).apply(after)
        with open_index(tmp_path) as index:
            if holds(index, after):
                oracle = after
            oracle.check_all(index)
            check_agreement(index, oracle.docs, lists=LISTS)
            report = index.verify()
            assert report.is_sound, str(report)


def killed_writer(path: Path, seed: int) -> tuple[int, int]:
    """Let a process work, kill it at a random moment, and return the last steps it has begun and acknowledged."""
    chance = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, '-m', 'tests.crash.workload', str(path), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert process.stdout is not None
    with process:
        seen = [process.stdout.readline() for _ in range(chance.choice([0, 1, 2, 10, 40, 80]))]
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        seen += process.stdout.readlines()
    lines = [line.split() for line in seen if line.endswith('\n')]
    begun = [int(number) for word, *rest in lines if word == 'begin' for number in rest]
    done = [int(number) for word, *rest in lines if word == 'done' for number in rest]
    assert process.returncode == -9, f'the writer ended by itself:\n{"".join(seen)}'
    return max(begun, default=-1), max(done, default=-1)


def holds(index: HnswDocumentIndex[Page], oracle: Shelf) -> bool:
    """Return whether an index has just these documents, their lists with them."""
    return set(index) == set(oracle) and all(same(index[id_], doc) for id_, doc in oracle.docs.items())
