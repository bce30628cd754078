"""What a stranger, or a failing disk, may have put into the tables about documents in lists."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from docindex import BaseDoc, DocIndexError, DocList, Field, HnswDocumentIndex, NdArray
from docindex.testing import same


class Line(BaseDoc):
    text: str = ''
    vector: NdArray | None = Field(None, dim=2)


class Chunk(BaseDoc):
    text: str = ''
    vector: NdArray = Field(dim=3)
    lines: DocList[Line] = DocList[Line]()


class Page(BaseDoc):
    title: str = ''
    vector: NdArray = Field(dim=2)
    chunks: DocList[Chunk] = DocList[Chunk]()


Pages = HnswDocumentIndex[Page]


def lines(at: str, first: int) -> list[Line]:
    """Return two lines, the first of which has no vector."""
    return [Line(id=f'l{at}.{n}', text='y', vector=[first, n] if n else None) for n in range(2)]


def page(at: int, count: int = 3) -> Page:
    chunks = [
        Chunk(id=f'c{at}.{n}', text=f'x{n}', vector=[at, n, 1], lines=lines(f'{at}.{n}', at + n)) for n in range(count)
    ]
    return Page(id=f'p{at}', title=f'title {at}', vector=[at, 1], chunks=chunks)


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with four pages, one of them replaced with fewer chunks and one changed, and a deleted one."""
    path = tmp_path_factory.mktemp('made') / 'work'
    with Pages(work_dir=path) as index:
        index.index([page(at) for at in range(5)])
        index.index(page(1, count=2))
        index.delete('p4')
        index.update('p2', title='new')
    return path


PAGES = {one.id: one for one in (page(0), page(1, count=2), page(2), page(3))}
PAGES['p2'].title = 'new'
CHUNKS = {chunk.id: chunk for one in PAGES.values() for chunk in one.chunks}
LINES = {line.id: line for chunk in CHUNKS.values() for line in chunk.lines}
STORED: dict[str, Any] = {**PAGES, **CHUNKS, **LINES}

OF_A_CHUNK = ["level = '0'", "level = '2'", 'level = 9', "level = 'x'", "parent = 'p2'", "parent = 'nobody'"]
OF_A_CHUNK += ['parent = NULL', "parent = x'ff'", 'parent = 7', "parent = 'c0.1'", "id = 'c77'", "id = x'ff'"]
OF_A_CHUNK += ['position = 0', 'position = 7', "position = 'x'", 'children = 0', 'children = -1', "children = 'x'"]
LABEL = "(SELECT label FROM documents WHERE id = 'c0.1')"
LIES = [
    *(f"UPDATE documents SET {lie} WHERE id = 'c0.1'" for lie in OF_A_CHUNK),
    "UPDATE documents SET children = 7 WHERE id = 'p0'",
    "UPDATE documents SET children = 0 WHERE id = 'p0'",
    "UPDATE documents SET id = 'p77' WHERE id = 'p0'",
    "DELETE FROM documents WHERE id = 'c0.1'",
    "DELETE FROM documents WHERE id = 'p0'",
    'DELETE FROM runs',
    'DROP TABLE runs',
    'UPDATE runs SET level = 3 - level',
    'UPDATE runs SET level = 7',
    "UPDATE runs SET level = 'x'",
    'UPDATE runs SET label = label + 1',
    'INSERT INTO runs VALUES (0, 1)',
    'INSERT INTO runs VALUES (2, 2)',
    'DELETE FROM runs WHERE label = (SELECT max(label) FROM runs)',
    'INSERT INTO runs VALUES ((SELECT max(label) + 1 FROM runs), 0)',
    'DELETE FROM fields_1',
    'DROP TABLE fields_1',
    f'DELETE FROM fields_1 WHERE label = {LABEL}',
    'INSERT INTO fields_1 (label) VALUES (0)',
    "UPDATE fields_1 SET f_text = 'x1'",
    'DELETE FROM absences',
    f"INSERT INTO absences VALUES ('chunks__vector', {LABEL})",
]


def questions(index: HnswDocumentIndex[Page]) -> Iterator[Callable[[], Any]]:
    """Yield calls whose answers are documents as they were stored."""
    chunks, rows = index.subindex('chunks'), index.subindex('chunks__lines')
    yield from (lambda id_=id_: [found] if (found := index.get(id_)) else [] for id_ in PAGES)
    yield from (lambda id_=id_: [found] if (found := chunks.get(id_)) else [] for id_ in CHUNKS)
    for exact in (False, True):
        yield lambda exact=exact: index.find([1, 2, 3], 'chunks__vector', limit=99, exact=exact).documents
        yield lambda exact=exact: rows.find([1, 2], limit=99, exact=exact).documents
    yield lambda: chunks.filter({'text': 'x1'})
    yield lambda: chunks.find([1, 2, 3], filter={'text': 'x1'}, limit=99).documents
    yield lambda: index.find_subindex([1, 2, 3], 'chunks', 'vector', limit=99).root_documents
    yield lambda: index.find([1, 2, 3], 'chunks__vector', limit=99, group_by_root=True).documents
    yield lambda: chunks.roots(list(CHUNKS))
    yield lambda: index.filter({'chunks__lines__text': 'y'})
    yield lambda: index.filter({'chunks': {'$size': 3}})


def looked_at(docs: Any) -> list[Any]:
    """Return documents once all in their lists, which are made when somebody looks at them, are made."""
    for doc in docs:
        for inside in (getattr(doc, 'chunks', []), getattr(doc, 'lines', [])):
            looked_at(inside)
    return list(docs)


CHANGES: list[Callable[[HnswDocumentIndex[Page]], object]] = [
    lambda index: index.subindex('chunks').append('p0', Chunk(vector=[1, 2, 3])),
    lambda index: index.subindex('chunks').delete('c2.0'),
    lambda index: index.subindex('chunks').update('c0.1', text='another'),
    lambda index: index.update('p0', title='another'),
    lambda index: index.index(page(0)),
    lambda index: index.compact(),
    lambda index: index.delete('p0'),
]


@pytest.mark.parametrize('lie', LIES)
@pytest.mark.parametrize('read_only', [False, True])
def test_lies_about_lists(made: Path, tmp_path: Path, lie: str, read_only: bool) -> None:
    """Whatever the tables say of lists, each answer is a document as it was stored, or an error of docindex."""
    shutil.copytree(made, tmp_path / 'work')
    with closing(sqlite3.connect(tmp_path / 'work' / 'documents.sqlite3', isolation_level=None)) as connection:
        connection.execute(lie)
    try:
        index = Pages(work_dir=tmp_path / 'work', read_only=read_only)
    except DocIndexError:
        return
    with index:
        for ask in questions(index):
            try:
                found = looked_at(ask())
            except DocIndexError:
                continue
            wrong = [doc.id for doc in found if not same(doc, STORED[doc.id])]
            assert wrong == []
        assert not index.verify().is_sound
        for change in CHANGES if not read_only else []:
            with suppress(DocIndexError):
                change(index)


def test_the_questions_have_answers(made: Path, tmp_path: Path) -> None:
    """In the directory as it was made each question finds something, and each change can be made."""
    shutil.copytree(made, tmp_path / 'work')
    with Pages(work_dir=tmp_path / 'work') as index:
        for ask in questions(index):
            found = ask()
            assert found
            assert all(same(doc, STORED[doc.id]) for doc in found)
        assert index.verify().problems == []
        for change in CHANGES:
            change(index)
        assert sorted(index) == ['p1', 'p2', 'p3']
        assert index.verify().problems == []
