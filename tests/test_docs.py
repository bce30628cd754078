"""What the documentation shows works: every Python block and every doctest runs."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.programs import ROOT

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
EXAMPLES = {'examples/data': ROOT / 'examples' / 'data'}
THERE = {
    'from-docarray.md': {'old': ROOT / 'tests' / 'docarray' / 'flat'},
    'hybrid.md': EXAMPLES,
    'langchain.md': {'community_store': ROOT / 'tests' / 'docarray' / 'langchain'},
    'search.md': EXAMPLES,
    'tutorial.md': EXAMPLES,
}
"""By page, the directories that a reader has."""
BLOCK = re.compile(
    r"""
    (?:^<!--\ not\ run:\ (?P<reason>[^\n]+?)\ -->\n)?  # a block that cannot be run here says why
    ^```python\n (?P<code>.*?) ^```\n
    (?:\n^```text\n (?P<printed>.*?) ^```$)?  # right after a block stands what it prints
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
MODULES = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    for path in sorted((ROOT / 'docindex').rglob('*.py'))
]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The Python blocks of a page run one after another, in a directory of their own, each knowing the earlier ones.

    A block of text right after one is what it prints.
    """
    for name, source in THERE.get(page.name, {}).items():
        shutil.copytree(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == len(re.findall('^ *```py', text, re.MULTILINE))  # by no other name either
    known: dict[str, object] = {'__name__': '__main__'}
    for block in blocks:
        if block['reason'] or ('import torch' in block['code'] and not find_spec('torch')):  # too large for the tests
            continue
        lines = text.count('\n', 0, block.start('code'))
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile('\n' * lines + block['code'], str(page), 'exec', dont_inherit=True), known)
        if block['printed'] is not None:
            assert [line.rstrip() for line in output.getvalue().splitlines()] == block['printed'].splitlines()


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
