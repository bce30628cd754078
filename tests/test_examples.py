"""Every example runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PATIENCE, ROOT, environment

EXAMPLES = sorted((ROOT / 'examples').glob('*.py'))


def run(example: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example), '--work-dir', str(tmp_path / 'index'), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )


def test_there_are_examples() -> None:
    """The examples are where these tests look for them."""
    assert EXAMPLES


@pytest.mark.parametrize('example', EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    """With its default arguments an example ends well, prints something, and leaves nothing but its work directory."""
    ended = run(example, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    assert [path.name for path in tmp_path.iterdir()] == ['index']


@pytest.mark.parametrize('example', EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_again(example: Path, tmp_path: Path) -> None:
    """An example can be run a second time on the directory that it left."""
    assert run(example, tmp_path).returncode == 0
    again = run(example, tmp_path)
    assert again.returncode == 0, again.stderr


def test_scale_out_finds_the_same_on_both(tmp_path: Path) -> None:
    """The copy is complete, and vectors with and without filters find the same packages here and there."""
    ended = run(ROOT / 'examples' / 'scale_out.py', tmp_path, '7')
    assert ended.returncode == 0, ended.stderr
    assert '\ncomplete\n' in ended.stdout
    finds = [line for line in ended.stdout.splitlines() if line.strip().startswith('find')]
    assert len(finds) == 3
    assert all(line.strip().endswith('3/3') for line in finds)
