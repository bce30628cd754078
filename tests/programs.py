"""Other Python processes that use this checkout of docindex: the helper of the tests that need more than one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120
"""Seconds after which a process that says nothing is taken to hang."""


def environment() -> dict[str, str]:
    """Return an environment in which this checkout is the docindex that is imported."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1'}


def run(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it printed; one that hangs is killed and fails the test."""
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        cwd=cwd,
        check=False,
    )


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program whose output, and errors with it, can be read line by line."""
    return subprocess.Popen(
        [sys.executable, '-c', code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def named(value: object) -> str:
    """Return a value as the name of a test, the same in each process: without addresses, and with sets in order."""
    if isinstance(value, (set, frozenset)):
        return f'{type(value).__name__}({sorted(map(repr, value))})'
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))
