"""
Directories as this version of docindex writes them, for later versions to read; and what is in them.

`python -m tests.formats.make` writes `tests/formats/<version>/`, which is checked in and never changed afterwards: what
a later version writes differently goes into a directory of that version. `SHELVES` says what all of them hold.
"""

from __future__ import annotations

import datetime
import decimal
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import docindex
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

HERE = Path(__file__).parent


class Poster(BaseDoc):
    url: str = ''
    look: NdArray = Field(dim=3, space='cosine')


class Film(BaseDoc):
    """A vector in each space: required, optional, nested; nothing that JSON has no word for."""

    title: str
    year: int = 1895
    tags: list[str] = Field(default_factory=list)
    plot: NdArray = Field(dim=4, space='l2', M=8)
    sound: NdArray | None = Field(default=None, dim=2, space='ip')
    poster: Poster | None = None


class Specimen(BaseDoc):
    """Much that JSON has no word for."""

    label: str
    raw: bytes
    tags: set[str]
    codes: frozenset[int] = frozenset()
    pair: tuple[int, str] = (0, '')
    when: datetime.datetime | str | None = None
    price: decimal.Decimal | None = None
    weights: dict[int, float] = Field(default_factory=dict)
    vector: NdArray = Field(dim=4, space='cosine', index_dim=2, index_by='projection')
    double: NdArray | None = Field(default=None, dim=2, stored_as='float16')
    pixels: NdArray | None = Field(default=None, index=False)


class Entry(BaseDoc):
    """No vectors."""

    text: str
    number: int = 0


def _vector(seed: int, dim: int, dtype: str = 'f4') -> Any:
    # All of them float16 holds exactly.
    # Not numpy's generators, whose numbers another numpy need not repeat.
    return np.array([((seed * 37 + at * 101 + 11) * 7919 % 2003 - 1001) / 256 for at in range(dim)], dtype)


def films() -> list[Film]:
    return [
        Film(
            id=f'film {at}',
            title=f'Title {at} \N{CLAPPER BOARD} é',
            year=1900 + at,
            tags=['a', 'b'][: at % 3],
            plot=_vector(1 if at in (5, 6, 7) else at, 4),
            sound=None if at % 3 == 2 else _vector(100 + at, 2),
            poster=None if at % 4 == 3 else Poster(id=f'poster {at}', url=f'{at}.png', look=_vector(200 + at, 3)),
        )
        for at in range(20)
    ]


def specimens() -> list[Specimen]:
    return [
        Specimen(
            id=f'specimen {at}',
            label=f'No. {at}',
            raw=bytes([at, 255, 0]),
            tags={'x', f'y{at}'},
            codes=frozenset(range(at)),
            pair=(at, 'p'),
            when=[None, '2020-01-01', datetime.datetime(2020, 1, 1, at, tzinfo=datetime.UTC)][at % 3],
            price=decimal.Decimal('1.10') if at % 2 else None,
            weights={at: float('inf'), -1: float('-0.0')},
            vector=_vector(300 + at, 4),
            double=_vector(400 + at, 2, 'f8') if at % 3 else None,
            pixels=np.arange(at * 2, dtype='i2').reshape(at, 2) if at % 2 else None,
        )
        for at in range(12)
    ]


def entries() -> list[Entry]:
    return [Entry(id=f'entry {at}', text=f'Text {at}', number=at) for at in range(10)]


class Shelf:
    """
    One directory of each version.

    Attributes:
        doc_type: Its documents.
        spaces: The vector fields, each with its space.
        changes: What was done to it, one after another: it is closed after each.
    """

    def __init__(self, doc_type: type[BaseDoc], spaces: dict[str, str], *changes: Callable[[Any], object]) -> None:
        self.doc_type = doc_type
        self.spaces = spaces
        self.changes = changes


def _change_films(index: Any) -> None:
    index.update('film 1', title='New title')
    index.update('film 2', plot=_vector(500, 4))
    index.delete(['film 3', 'film 6', 'film 19'])


def _change_specimens(index: Any) -> None:
    index.update('specimen 4', raw=b'changed', tags=set())
    index.update('specimen 5', vector=_vector(600, 4))
    index.delete(['specimen 0'])


def _change_entries(index: Any) -> None:
    index.update('entry 1', text='New text')
    index.delete(['entry 2'])


def _compact(index: Any) -> None:
    if isinstance(index, HnswDocumentIndex):
        index.compact()


FILM_SPACES = {'plot': 'l2', 'sound': 'ip', 'poster__look': 'cosine'}
SPECIMEN_SPACES = {'vector': 'cosine', 'double': 'l2'}
SHELVES: dict[str, Shelf] = {
    'films': Shelf(Film, FILM_SPACES, lambda index: index.index(films()), _change_films),
    'compacted': Shelf(Film, FILM_SPACES, lambda index: index.index(films()), _change_films, _compact,
                       lambda index: index.index(films()[3:5])),
    'specimens': Shelf(Specimen, SPECIMEN_SPACES, lambda index: index.index(specimens()), _change_specimens),
    'entries': Shelf(Entry, {}, lambda index: index.index(entries()), _change_entries),
}  # fmt: skip


def make(path: Path) -> None:
    """Write all shelves below a directory that does not exist."""
    for name, shelf in SHELVES.items():
        for change in shelf.changes:
            with HnswDocumentIndex[shelf.doc_type](work_dir=path / name) as index:  # type: ignore[name-defined]
                change(index)
        with closing(sqlite3.connect(path / name / 'documents.sqlite3')) as connection:
            connection.execute('VACUUM')
            connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        (path / name / 'docindex.lock').unlink()


if __name__ == '__main__':
    target = HERE / docindex.__version__
    make(target)
    print(target, sum(file.stat().st_size for file in target.rglob('*') if file.is_file()), 'bytes')
    shutil.rmtree(target / '__pycache__', ignore_errors=True)
