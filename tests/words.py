"""A small schema, and other processes that have an index of it open: what the tests of several processes share."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from tests import programs


class Word(BaseDoc):
    count: int = 0
    vector: NdArray = Field(dim=4)


Words = HnswDocumentIndex[Word]


def word(id_: str, value: float = 1, count: int = 0) -> Word:
    return Word(id=id_, count=count, vector=np.full(4, value, np.float32))


WORDS = """
import os, sys, time
import numpy as np
from contextlib import suppress
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

class Word(BaseDoc):
    count: int = 0
    vector: NdArray = Field(dim=4)

Words = HnswDocumentIndex[Word]

def word(id_, value=1, count=0):
    return Word(id=id_, count=count, vector=np.full(4, value, np.float32))

def told(line):
    print(line, flush=True)
    return sys.stdin.readline().strip()
"""
"""What each program of these tests begins with."""

OBEYS = (
    WORDS
    + """
with Words(sys.argv[1], **eval(sys.argv[2])) as index:
    line = told('open')
    while line:
        try:
            answer = repr(eval(line))
        except Exception as error:
            answer = type(error).__name__
        line = told(answer)
"""
)
"""Opens a directory, evaluates each line that it reads, and prints what comes of it."""


class Other:
    """Another process that has an index open and does as it is told."""

    def __init__(self, path: Path, **access: Any) -> None:
        self.process = programs.start(OBEYS, path, access)
        assert self.line() == 'open'

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip('\n')

    def __call__(self, expression: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f'{expression}\n')
        self.process.stdin.flush()
        return self.line()

    def close(self) -> None:
        self.process.communicate(timeout=programs.PATIENCE)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=programs.PATIENCE)


@contextmanager
def other(path: Path, **access: Any) -> Iterator[Other]:
    process = Other(path, **access)
    try:
        yield process
        process.close()
    finally:
        process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    printed = process.communicate(timeout=programs.PATIENCE)[0]
    assert process.returncode == -signal.SIGKILL, f'it had ended by itself: {printed}'
