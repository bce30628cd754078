"""
What starting takes: `import docindex`, and the first answer, against importing the libraries that it stands on.

    python benchmarks/imports.py
    python benchmarks/imports.py --rounds 50

Each program is a fresh interpreter, `python -c`, and each round starts all of them in turn; a ratio compares two of one
round. Bytecode is written before, by a round that does not count, as pip does when it installs: without it (a checkout
with PYTHONDONTWRITEBYTECODE) compiling the source would take longer than all the rest.

    libraries      import numpy, pydantic, hnswlib, filelock
    with a model   and what any program with documents needs of them: sqlite3, and one pydantic model
    docindex       import docindex
    names          from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
    first answer   and opens an index, stores 20 documents and finds 3

The bar: docindex at most 1.25 times the libraries. But a name of docindex is looked for when it is used: `names` says
what a program waits for, and `with a model` how little that could be.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIBRARIES = 'import numpy, pydantic, hnswlib, filelock'
NAMES = 'from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray'
MODEL = """
import sqlite3
class Model(pydantic.BaseModel):
    id: str = pydantic.Field(default='')
"""
ANSWER = """
import tempfile
class Note(BaseDoc):
    text: str
    embedding: NdArray[4] = Field(space='cosine')
with tempfile.TemporaryDirectory() as directory, HnswDocumentIndex[Note](work_dir=directory) as index:
    index.index([Note(text=str(n), embedding=[n, 1, 2, 3]) for n in range(20)])
    assert len(index.find([5, 1, 2, 3], limit=3).documents) == 3
"""
PROGRAMS = {
    'libraries': LIBRARIES,
    'with a model': LIBRARIES + MODEL,
    'docindex': 'import docindex',
    'names': NAMES,
    'first answer': NAMES + ANSWER,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--rounds', type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        one_round(directory)
        seconds = np.array([one_round(directory) for _ in range(options.rounds)])
    ratios = seconds / seconds[:, :1]
    print(f'{options.rounds} rounds; medians, and from the first quartile to the third\n')
    print('| | ms | | x libraries | |')
    print('| --- | --- | --- | --- | --- |')
    for name, taken, ratio in zip(PROGRAMS, 1000 * seconds.T, ratios.T, strict=True):
        low, middle, high = np.percentile(taken, [25, 50, 75])
        first, median, third = np.percentile(ratio, [25, 50, 75])
        print(f'| {name} | {middle:.0f} | {low:.0f} to {high:.0f} | {median:.2f} | {first:.2f} to {third:.2f} |')


def one_round(bytecode: str) -> list[float]:
    """Return how many seconds each program took."""
    return [run(program, bytecode) for program in PROGRAMS.values()]


def run(program: str, bytecode: str) -> float:
    """Return the seconds from the start of an interpreter to its end; `bytecode` is where it keeps what it compiles."""
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}
    environment['PYTHONPYCACHEPREFIX'] = bytecode
    began = time.perf_counter()
    subprocess.run([sys.executable, '-c', program], check=True, env=environment, cwd=Path(__file__).parents[1])
    return time.perf_counter() - began


if __name__ == '__main__':
    main()
