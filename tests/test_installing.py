"""What readers and error messages are told to install can be installed, and is this project."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

from docindex.hnsw import graphless
from tests.programs import ROOT

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
NAME = PROJECT['name']
EXTRAS = PROJECT['optional-dependencies']
READ = {'.md', '.py', '.toml', '.ipynb', '.html', '.yml', '.yaml', '.txt', ''}
"""Files with one of these endings are read by people, or shown to them."""
PLACES = [ROOT / name for name in ('docindex', 'docs', 'examples', 'benchmarks')]
# What a command of pip, uv, poetry, conda and others installs: all up to the end of the line, or of the command.
INSTALLED = re.compile(
    r'\b(?:(?:pip3?|pipx|uv|poetry|pdm|rye|conda|mamba)(?:\s+(?:pip|-\S+))*\s+(?:install|add|download|wheel|run)|uvx)\b'
    r'([^\n`;&|#]*)'
)
OTHER_PROJECT = re.compile(r"""(?<![\w./-])docindex(?=\[|[=<>~!]=|["'`\s,)]|$)""")
OURS_WITH_EXTRAS = re.compile(rf'(?:{NAME}|\.)\[([a-z0-9_, -]+)\]')


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that says something to users."""
    files = [ROOT / 'README.md', ROOT / 'Makefile', *(path for place in PLACES for path in place.rglob('*'))]
    for path in files:
        if path.is_file() and path.suffix in READ and '__pycache__' not in path.parts:
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def installs_another_project(line: str) -> bool:
    """Return whether a line has a command that installs what is called `docindex` on PyPI."""
    return any(map(OTHER_PROJECT.search, INSTALLED.findall(line)))


@pytest.mark.parametrize(
    ('line', 'is_wrong'),
    [
        ('pip install docindex', True),
        ("pip install -U 'docindex[cli]'", True),
        ('`python -m pip install "docindex>=0.1"`', True),
        ('uv add docindex', True),
        ('uv pip install -q docindex', True),
        ('uvx docindex check films', True),
        ("needs pyarrow: pip install 'docindex[arrow]', or pip install pyarrow", True),
        ("pip install 'docindex-hnsw[cli]'", False),
        (".venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m docindex", False),
        ('pip install .  # brings the command docindex', False),
        ('docindex may use pip; with it docindex is fetched', False),
    ],
)
def test_the_wrong_command_would_be_seen(line: str, is_wrong: bool) -> None:
    """The guard knows a command that installs the other project from one that does not."""
    assert installs_another_project(line) is is_wrong


def test_nobody_is_told_to_install_another_project() -> None:
    """`docindex` on PyPI is somebody else's, so no page, docstring, message or example installs it."""
    wrong = [
        f'{name}: {line.strip()}'
        for name, text in texts()
        for line in text.splitlines()
        if installs_another_project(line)
    ]
    assert not wrong


def test_the_extras_that_are_named_exist() -> None:
    """Each extra in a command, and each that an error for a missing library names, is one of the distribution's."""
    named = {
        extra.strip() for _, text in texts() for found in OURS_WITH_EXTRAS.findall(text) for extra in found.split(',')
    }
    for path in (ROOT / 'docindex').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == 'optional' and len(node.args) > 1:
                extra = node.args[1]
                named |= {extra.value} if isinstance(extra, ast.Constant) and isinstance(extra.value, str) else set()
    assert {'cli', 'test', 'arrow', 'plot'} <= named <= set(EXTRAS)


def test_every_extra_is_explained() -> None:
    """docs/dependencies.md has a line for each extra, with the packages in it."""
    page = (ROOT / 'docs' / 'dependencies.md').read_text()
    rows = {cells[1].strip(' `'): cells[2].lower() for line in page.splitlines() if len(cells := line.split('|')) > 4}
    for extra, packages in EXTRAS.items():
        if extra != 'test':  # which has a table of its own
            for package in packages:
                assert re.split(r'[<>=~! ]', package)[0].lower() in rows[extra], f'{package} of {extra}'


def test_the_readme_installs_what_docindex_needs_without_hnswlib() -> None:
    """The README's line for machines without a compiler has every dependency but hnswlib, in its version."""
    readme = (ROOT / 'README.md').read_text()
    line = next(line for line in readme.splitlines() if 'Where it cannot be compiled' in line)
    needed = {*PROJECT['dependencies']} - {graphless.REQUIREMENT}
    assert len(needed) == len(PROJECT['dependencies']) - 1
    assert {*re.findall(r'"([^"]+)"', line)} == needed


def test_the_readme_says_what_the_log_says() -> None:
    """What docindex advises where hnswlib is missing stands in the README's box."""
    box = (ROOT / 'README.md').read_text().partition('## Installing hnswlib')[2]
    commands = [part for words in graphless.COMPILERS.values() for part in words.split('`')[1::2]]
    assert len(commands) == 3
    quoted = graphless.COMPILERS['win32'].split('"')[1]
    for command in (*commands, quoted, graphless.CONDA, f'"{graphless.REQUIREMENT}"'):
        assert command in box
