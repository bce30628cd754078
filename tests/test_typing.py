"""A user's code type-checks, and means to a checker what it does when it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.programs import ROOT, environment

API = ROOT / 'tests' / 'typing' / 'api.py'


def mypy(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'mypy', '--strict', '--no-error-summary', str(file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False)


def test_mypy_accepts_user_code() -> None:
    """`mypy --strict` agrees with every `assert_type`, and finds an error on each line that must be one."""
    checked = mypy(API)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_mypy_would_notice(tmp_path: Path) -> None:
    """The check is not empty: `find` giving another class would be an error, and so would a needless `ignore`."""
    wrong = API.read_text().replace('FindResult[Video])', 'FindResult[Image])')
    wrong = wrong.replace('image = Image(', 'image = Image(  # type: ignore[arg-type]\n    ')
    (tmp_path / 'wrong.py').write_text(wrong)
    checked = mypy(tmp_path / 'wrong.py')
    assert checked.stdout.count('not "FindResult[Image]"') == 2
    line = wrong[: wrong.index('image = Image(')].count('\n') + 1
    assert f'wrong.py:{line}: error: Unused "type: ignore" comment' in checked.stdout


def test_pyright_accepts_user_code() -> None:
    """Pyright agrees with every `assert_type`, and refuses exactly the lines marked for it."""
    checked = subprocess.run(
        [sys.executable, '-m', 'pyright', '--outputjson', '--pythonpath', sys.executable, str(API)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    try:
        report = json.loads(checked.stdout)
    except json.JSONDecodeError:
        pytest.skip(f'pyright did not run; it downloads node the first time: {checked.stderr[-300:]}')
    errors = [line for line in report['generalDiagnostics'] if line['severity'] == 'error']
    assert not errors, Counter((line['range']['start']['line'] + 1, line['message']) for line in errors)
    assert report['summary']['filesAnalyzed'] == 1
