"""What the documentation shows works: every Python block and every doctest runs."""

from __future__ import annotations

import doctest
import importlib
import shutil
from importlib.util import find_spec
from pathlib import Path

import mktestdocs
import pytest

from tests.programs import ROOT

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
THERE = {
    'from-docarray.md': {'old': ROOT / 'tests' / 'docarray' / 'flat'},
    'langchain.md': {'community_store': ROOT / 'tests' / 'docarray' / 'langchain'},
}
"""By page, the directories that a reader has."""
MODULES = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    for path in sorted((ROOT / 'docindex').rglob('*.py'))
]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run one after another, in a directory of their own, each knowing the earlier ones."""
    if not page.exists():
        pytest.skip(f'{page.name} is not written yet')
    for name, source in THERE.get(page.name, {}).items():
        shutil.copytree(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    blocks = mktestdocs.grab_code_blocks(page.read_text())
    run = [block for block in blocks if 'import torch' not in block or find_spec('torch')]  # too large for the tests
    exec(compile('\n'.join(run), str(page), 'exec', dont_inherit=True), {'__name__': '__main__'})


def test_the_readme_has_code() -> None:
    """The README shows Python that was run just now."""
    assert '```python' in (ROOT / 'README.md').read_text()


@pytest.mark.parametrize('module', MODULES)
def test_doctests(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples in docstrings give what they say."""
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_the_package_has_a_doctest() -> None:
    """`help(docindex)` opens with an example, which was run."""
    assert doctest.testmod(importlib.import_module('docindex')).attempted > 0
