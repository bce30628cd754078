"""How documents, lists, results and indexes show themselves."""

from __future__ import annotations

import io
from datetime import date
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, NewType

import numpy as np
import pytest
from rich.console import Console

from docindex import BaseDoc, DocList, Embedder, Field, HnswDocumentIndex, NdArray, display
from docindex.display import document_as_tree, documents_as_table, schema_as_tree, shortened
from docindex.pictures import averaged, vector_as_blocks, vector_as_svg

EVIL = '<script>alert(1)</script>'


class Kind(Enum):
    NOVEL = 'novel'


class Author(BaseDoc):
    name: str


class Page(BaseDoc):
    text: str


class Book(BaseDoc):
    title: str
    author: Author | None = None
    kind: Kind = Kind.NOVEL
    shelf: Literal['a.b', 'c'] = 'c'
    embedding: NdArray[4] = Field(space='cosine', M=32)
    pages: DocList[Page] = DocList[Page]()


class Node(BaseDoc):
    nodes: list[Node] = []  # noqa: RUF012


def books(count: int = 3, title: str = 'T') -> DocList[Book]:
    return DocList[Book](Book(id=f'b{n}', title=title, embedding=[0, -1, n, 2]) for n in range(count))


class Reader(HTMLParser):
    """Checks that every tag is closed, and notes which there are and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ''
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def printed(thing: object, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(thing)
    return out.getvalue()


@pytest.fixture
def index(tmp_path: Path) -> HnswDocumentIndex[Book]:
    index = HnswDocumentIndex[Book](work_dir=tmp_path / 'index')
    index.index(books(5, EVIL))
    return index


def test_whatever_a_document_holds_is_escaped(index: HnswDocumentIndex[Book]) -> None:
    """Html of lists, documents, results and indexes is well formed, and no text of a document becomes a tag."""
    evil = books(2, EVIL)
    evil[0].id = '"><script>'
    found, batched = index.find(evil[1]), index.find_batched(evil.embedding)
    for thing in (evil, evil[0], found, batched, index, DocList([evil[0], Author(name=EVIL)])):
        read = Reader(thing._repr_html_() or '')
        assert 'script' not in read.tags
        assert read.tags
    assert EVIL in Reader(evil._repr_html_()).text


def test_an_explanation_keeps_its_columns(index: HnswDocumentIndex[Book]) -> None:
    """How a query was answered is shown in a notebook as it is printed."""
    explained = index.explain(books(1)[0])
    assert Reader(explained._repr_html_()).text == str(explained)


def test_ids_of_nested_documents_come_last() -> None:
    """In a table the ids of nested documents, which nobody has chosen, stand behind everything else."""
    columns = list(documents_as_table(books(1)).columns)
    assert columns[0] == 'id'
    assert columns[-1] == 'author__id'
    assert 'author__name' in columns[:-1]


def test_html_of_a_list() -> None:
    """Ten rows are shown, each with a picture of its vector, and how many more there are is said."""
    read = Reader(books(1000)._repr_html_())
    assert read.tags.count('tr') == 11
    assert read.tags.count('svg') == 10
    assert 'DocList[Book] of 1,000' in read.text
    assert '990 more rows' in read.text


def test_a_result_shows_its_scores(index: HnswDocumentIndex[Book]) -> None:
    """The first column of a result is the score, in html and in a terminal."""
    found = index.find(books(2)[1], limit=2)
    assert Reader(found._repr_html_()).text.startswith('2 foundscoreid')
    assert 'score' in printed(found, 100)
    batched = index.find_batched(books(7).embedding, limit=2)
    assert Reader(batched._repr_html_()).text.count('2 found') == 5
    assert 'query 1 of 7: 2 found' in printed(batched, 100)


@pytest.mark.parametrize('width', [20, 40, 80, 140])
def test_tables_fit_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is longer than the terminal; what there is no room for is named below."""
    monkeypatch.setenv('COLUMNS', str(width))
    docs = books(12, 'x' * 500)
    for text in (printed(docs, width), str(documents_as_table(docs))):
        table = [line for line in text.splitlines() if 'more columns' not in line]
        assert max(map(len, table)) <= width
        assert '2 more rows' in text
    assert ('more columns' in printed(docs, width)) == (width < 140)


def test_a_document_is_a_tree() -> None:
    """`summary` prints a document's fields with types and shapes, nested ones below, and three of a list."""
    pages = DocList[Page](Page(id=str(n), text='x' * 200) for n in range(5))
    book = Book(id='a', title='T', author=Author(id='b', name='N'), embedding=[1, 2, 3, 4], pages=pages)
    lines = str(document_as_tree(book)).splitlines()
    assert lines[:7] == [
        "Book 'a'",
        "├── title: str = 'T'",
        "├── author: Author 'b'",
        "│   └── name: str = 'N'",
        '├── kind: Kind = NOVEL',
        "├── shelf: str = 'c'",
        '├── embedding: ▁▃▆█ 4 int64',
    ]
    assert lines[7] == '└── pages: 5 Pages'
    assert lines[-1] == '    └── … 2 more'
    assert max(map(len, lines)) < 100


def test_a_schema_shows_what_it_embeds() -> None:
    """A vector that is made of a text says of which, and by which function."""

    class Note(BaseDoc):
        text: str
        vector: NdArray[4] = Field(embeds='text', with_=Embedder(np.asarray, name='minilm'))

    assert str(schema_as_tree(Note)).splitlines()[-1] == "└── vector: NdArray[4]  (embeds='text', with_=minilm)"


def test_a_schema_is_a_tree() -> None:
    """`schema_summary` prints a class's fields with types and settings, and those of documents in it."""
    assert str(schema_as_tree(Book)).splitlines() == [
        'Book',
        '├── id: ID',
        '├── title: str',
        '├── author: Author | None',
        '│   ├── id: ID',
        '│   └── name: str',
        '├── kind: Kind',
        "├── shelf: Literal['a.b', 'c']",
        "├── embedding: NdArray[4]  (space='cosine', M=32)",
        '└── pages: DocList[Page]',
        '    ├── id: ID',
        '    └── text: str',
    ]


def test_what_contains_itself_ends() -> None:
    """A class that mentions itself is shown once."""
    assert str(schema_as_tree(Node)).splitlines()[-1] == '└── nodes: list[Node]'


Sheet = NewType('Sheet', Page)


class Folio(BaseDoc):
    sheet: Sheet


def test_a_document_under_another_name_shows_its_fields() -> None:
    """A field that is declared by a name of a document class is shown with what is in the documents."""
    assert str(schema_as_tree(Folio)).splitlines()[-3:] == ['└── sheet: Sheet', '    ├── id: ID', '    └── text: str']


@pytest.mark.parametrize('has_rich', [True, False])
def test_printing(
    has_rich: bool, index: HnswDocumentIndex[Book], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, documents, classes and indexes print themselves, with rich or without."""
    if not has_rich:
        monkeypatch.setattr(display, 'find_spec', lambda name: None)
    books(2).summary()
    books(2)[0].summary()
    Book.schema_summary()
    index.summary()
    text = capsys.readouterr().out
    assert ('┏' in text) == has_rich
    for expected in ('DocList[Book] of 2', "Book 'b0'", 'embedding: NdArray[4]', '5 documents', 'cosine', 'graphs'):
        assert expected in text


def test_an_index_says_what_it_is(index: HnswDocumentIndex[Book]) -> None:
    """An index shows its settings in force and the sizes of its files; a closed one shows its repr."""
    index.configure(ef=77)
    index.save_graphs()
    text = printed(index, 120)
    assert '77' in text
    summary = index._summary()
    assert summary.documents == 5
    assert all(size > 0 for size in summary.files.values())
    index.close()
    assert index._repr_html_() is None
    assert 'closed' in printed(index, 120)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('a\n  b\x1b[31m', 'a b [31m'),
        ('x' * 1000, 'x' * 59 + '…'),
        (np.zeros((3, 2), np.int8), '3 x 2 int8'),
        (np.array(1.5), 'one float64'),
        (DocList[Page](), 'none'),
        ([Page(text=''), Page(text='')], '2 Pages'),
        (date(2026, 1, 31), '2026-01-31'),
        (Kind.NOVEL, 'NOVEL'),
        (b'x' * 10**6, "b'" + 'x' * 57 + '…'),
        (None, 'None'),
    ],
)
def test_short_values(value: object, expected: str) -> None:
    """A value is one short line without control characters."""
    assert shortened(value) == expected


@pytest.mark.parametrize('vector', [[1.0], [np.nan, np.inf], [0, 0], list(range(1000)), [True, False]], ids=str)
def test_pictures_of_vectors(vector: list[float]) -> None:
    """Any vector has a picture of at most 32 cells; what is no number is grey, or a dot."""
    array = np.array(vector)
    cells = min(len(vector), 32)
    assert Reader(vector_as_svg(array)).tags.count('rect') == cells
    assert len(vector_as_blocks(array)) == min(len(vector), 8)
    assert len(averaged(array, 32)) == cells
    assert ('·' in vector_as_blocks(array)) == (not np.isfinite(array).all())
