"""
Every check there is: python -m tests [arguments for pytest].

Goes on after a check that failed, to report all there is to mend, and exits with 1 if any did.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    python = [sys.executable, '-m']
    steps = {
        'ruff check': [*python, 'ruff', 'check', '.'],
        'ruff format': [*python, 'ruff', 'format', '--check', '.'],
        'mypy': [*python, 'mypy'],
        'distribution': [*python, 'tests.distribution'],
        'pytest': [*python, 'pytest', *(arguments or side_by_side())],
    }
    outcomes: dict[str, str] = {}
    for number, (name, command) in enumerate(steps.items(), 1):
        say(f'[{number}/{len(steps)}] {name}')
        began = time.monotonic()
        passed = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
        outcomes[name] = 'passed' if passed else 'FAILED'
        say(f'[{number}/{len(steps)}] {name}: {outcomes[name]} after {time.monotonic() - began:.0f} s\n')
    say('   '.join(f'{name}: {outcome}' for name, outcome in outcomes.items()))
    return int('FAILED' in outcomes.values())


def side_by_side() -> list[str]:
    """Return the arguments that run all tests, those of one file together, in as many processes as there are cores."""
    # More than four help little: one file takes a tenth of the time.
    return ['-n', str(min(os.cpu_count() or 1, 4)), '--dist', 'loadfile']


def say(line: str) -> None:
    """Print a line at once, before what the next program prints."""
    sys.stdout.write(line + os.linesep)
    sys.stdout.flush()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
