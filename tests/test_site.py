"""
The site of docs/ is whole: it builds, its links lead somewhere, and it says what the repository says.

What needs the builder (`pip install 'docindex-hnsw[docs]'`) is skipped without it, and what needs Chromium likewise.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

import docindex
from tests.browser import CHROMIUM, Browser
from tests.programs import PATIENCE, ROOT

DOCS = ROOT / 'docs'
SOURCES = [ROOT / 'README.md', *sorted(DOCS.rglob('*.md'))]
INCLUDING = {'index.md'}
"""Pages into which the site puts text from elsewhere."""
STRUCTURE = ('h1', 'h2', 'h3', 'table', 'tr', 'td', 'li', 'pre', 'blockquote')


@dataclass
class Html(HTMLParser):
    """What an HTML page consists of."""

    text: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _is_permalink: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or '' for name, value in attrs}
        self._is_permalink = tag == 'a' and 'headerlink' in given.get('class', '')
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.ids.update(filter(None, (given.get('id'), given.get('name') if tag == 'a' else None)))
        if tag == 'a' and 'href' in given:
            self.links.append(given['href'])
        self.loads += [given[name] for name in ('src', 'href') if name in given and tag not in ('a', 'base')]

    def handle_data(self, data: str) -> None:
        if not self._is_permalink:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_permalink = False

    @property
    def words(self) -> str:
        """The text without white space, which the two renderers set in their own ways."""
        return re.sub(r'\s', '', ''.join(self.text))


def parsed(html: str) -> Html:
    page = Html()
    page.feed(html)
    return page


def as_github_shows(source: Path) -> Html:
    return parsed(MarkdownIt('gfm-like', {'linkify': False, 'html': True}).render(source.read_text()))


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from copies: the builder writes beside its sources."""
    if not find_spec('zensical') or not find_spec('mkdocstrings_handlers'):
        pytest.skip("needs pip install 'docindex-hnsw[docs]'")
    directory = tmp_path_factory.mktemp('site')
    for name in ('docs', 'docindex'):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('README.md', 'mkdocs.yml'):
        shutil.copy(ROOT / name, directory)
    command = [sys.executable, '-m', 'zensical', 'build', '--strict']
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / 'site'


@pytest.fixture(scope='module')
def pages(site: Path) -> dict[Path, Html]:
    return {path: parsed(path.read_text()) for path in sorted(site.rglob('*.html'))}


def test_each_page_stands_in_the_navigation() -> None:
    """A page that the navigation does not name would be found by nobody."""
    navigation = (ROOT / 'mkdocs.yml').read_text().partition('\nnav:\n')[2]
    named = re.findall(r'([\w/-]+\.md)$', navigation, re.MULTILINE)
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob('*.md'))


def test_each_guide_is_named_in_the_readme() -> None:
    """Who comes by the README finds every page; those of the reference by their first one."""
    linked = set(as_github_shows(ROOT / 'README.md').links)
    guides = {f'docs/{path.name}' for path in DOCS.glob('*.md')} - {'docs/index.md'}
    assert guides | {'docs/reference/index.md'} <= linked


@pytest.mark.parametrize('source', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_work_in_the_repository(source: Path) -> None:
    """Each relative link leads to a file of the repository, and each anchor to a heading there, as GitHub names it."""
    # Of two equal headings the second has one anchor on GitHub and another one on the site: none may be linked to.
    missing = []
    for link in as_github_shows(source).links:
        to, target = urlsplit(link), source
        if to.scheme or to.netloc:
            continue
        if to.path:
            target = (source.parent / unquote(to.path)).resolve()
        if not target.exists() or (to.fragment and list(anchors(target)).count(to.fragment) != 1):
            missing.append(link)
    assert not missing


def anchors(source: Path) -> Iterator[str]:
    """Yield the anchors that GitHub gives to the headings of a page."""
    for opening, content in pairwise(MarkdownIt().parse(source.read_text())):
        if opening.type == 'heading_open':
            text = ''.join(part.content for part in content.children or [])
            yield re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-')


def test_every_public_name_is_in_the_reference() -> None:
    """Each name of `docindex.__all__` stands on one page of the reference, and no name that is not there."""
    named = [
        name
        for path in (DOCS / 'reference').glob('*.md')
        for name in re.findall(r'^::: docindex\.(\w+)$', path.read_text(), re.MULTILINE)
        if find_spec(f'docindex.{name}') is None  # a module, for what it says at its top
    ]
    assert sorted(named) == sorted(docindex.__all__)


def test_every_public_name_is_described(pages: dict[Path, Html]) -> None:
    """The builder found a docstring for each public name but ID, which type checkers take for a string."""
    ids = set().union(*(page.ids for page in pages.values()))
    assert {f'docindex.{name}' for name in docindex.__all__} <= ids


def test_every_call_of_an_index_is_in_the_reference(pages: dict[Path, Html]) -> None:
    """What `HnswDocumentIndex` can do is described, by it or by `DocumentIndex`, which promises it."""
    ids = set().union(*(page.ids for page in pages.values()))
    calls = [name for name in dir(docindex.HnswDocumentIndex) if not name.startswith('_') and name.islower()]
    homes = ('docindex.HnswDocumentIndex', 'docindex.DocumentIndex')
    assert [name for name in calls if not any(f'{home}.{name}' in ids for home in homes)] == []


def test_no_link_of_the_site_is_broken(site: Path, pages: dict[Path, Html]) -> None:
    """Each link leads to a file of the site, and each anchor to a place in it."""
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            to, target = urlsplit(link), path
            if to.scheme or to.netloc:
                continue
            if to.path:
                target = (site if to.path.startswith('/') else path.parent) / unquote(to.path).lstrip('/')
            target = (target / 'index.html' if target.is_dir() else target).resolve()
            is_there = target.exists() and (
                not to.fragment or target not in pages or unquote(to.fragment) in pages[target].ids
            )
            if not is_there:
                broken.append(f'{path.relative_to(site)}: {link}')
    assert not broken


def test_the_site_asks_nothing_of_other_machines(pages: dict[Path, Html]) -> None:
    """Fonts, scripts and pictures are its own: it can be read without a network, and nobody learns who reads it."""
    assert [load for page in pages.values() for load in page.loads if urlsplit(load).netloc] == []


@pytest.mark.parametrize(
    'source',
    [path for path in SOURCES[1:] if path.parent == DOCS and path.name not in INCLUDING],
    ids=lambda path: path.name,
)
def test_a_page_says_the_same_on_github_and_on_the_site(source: Path, site: Path) -> None:
    """The two read Markdown by rules of their own; text, tables, lists and blocks of code are the same in both."""
    html = (site / source.with_suffix('.html').name).read_text()
    article = re.search(r'<article[^>]*>(.*?)</article>', html, re.DOTALL)
    assert article
    ours, theirs = parsed(article[1]), as_github_shows(source)
    assert ours.words == theirs.words
    assert {tag: ours.counts.get(tag) for tag in STRUCTURE} == {tag: theirs.counts.get(tag) for tag in STRUCTURE}


# -- in a browser ----------------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope='module')
def served(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture(scope='module')
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip('needs Chromium')
    with Browser(tmp_path_factory.mktemp('profile')) as browser:
        browser.resize(390, 844)
        yield browser


def test_pages_fit_a_phone(site: Path, served: str, phone: Browser) -> None:
    """Each page renders without an error, and none is wider than the screen: wide tables and code scroll inside."""
    wrong = []
    for path in sorted(site.rglob('*.html')):
        name = path.relative_to(site)
        phone.open(f'{served}/{name}')
        width = phone.evaluate('document.documentElement.scrollWidth')
        if width > 390 or phone.problems:
            wrong.append((name, width, phone.problems))
    assert not wrong


@pytest.mark.parametrize(
    ('words', 'answer'),
    [
        ('elem_match', 'reference/filters.html#docindex.elem_match'),
        ('shared writes', 'processes.html#several-writers'),
        ('porter', 'hybrid.html#full-text'),
    ],
)
def test_the_search_finds(words: str, answer: str, served: str, phone: Browser) -> None:
    """What is typed into the search is found: names, words of text, words of code."""
    phone.open(f'{served}/index.html')
    phone.wait_for('!!document.querySelector(".md-search__button")')
    phone.evaluate('document.querySelector(".md-search__button").click()')
    phone.wait_for(f'!!({_IN_SHADOWS}).find(element => element.matches("input[type=text], input[role=combobox]"))')
    phone.type(words)
    page, _, place = answer.partition('#')
    found = f'({_IN_SHADOWS}).some(e => e.href && e.href.includes("/{page}?") && e.href.endsWith("#{place}"))'
    phone.wait_for(found)


_IN_SHADOWS = """
(function inside(root) {
    return [...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [e, ...inside(e.shadowRoot)] : [e])
})(document)
"""
"""JavaScript: all elements of the page, also those inside of the search's own tree."""
