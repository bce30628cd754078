"""
Every call that writes, once: a program that a test records, and can foretell.

`work` makes an index, does all of `WRITES` to it, copies it, and opens it anew with another field in its schema. It
prints the name of each call when it has returned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from docindex import Field, HnswDocumentIndex, NdArray
from tests.crash.workload import Page, open_index, pages


class IllustratedPage(Page):
    """What a page has become later."""

    cover: NdArray | None = Field(default=None, dim=3, space='ip')
    pictures: int = 1


def _some(*ids: int, step: int) -> list[Page]:
    return pages([f'page {number}' for number in ids], step, Random(step))


def _housekeeping(name: str, **settings: Any) -> Callable[[Any], object]:
    return lambda index: getattr(index, name)(**settings) if isinstance(index, HnswDocumentIndex) else None


def illustrate(index: Any) -> None:
    page = _some(2, step=4)[0]
    index.index([IllustratedPage(**dict(page), cover=np.array([1, 2, 3], np.float32))])


WRITES: dict[str, Callable[[Any], object]] = {
    'index': lambda index: index.index(_some(*range(12), step=0)),
    'index more': lambda index: index.index(_some(*range(8, 20), step=1)),
    'update': lambda index: index.update('page 0', title='New'),
    'update a vector': lambda index: index.update('page 1', text=_some(1, step=2)[0].text, step=2),
    'save_graphs': _housekeeping('save_graphs'),
    'delete': lambda index: index.delete(['page 2', 'page 3']),
    'configure': _housekeeping('configure', ef=77),
    'compact': _housekeeping('compact'),
    'index again': lambda index: index.index(_some(4, 5, 30, step=3)),
    'save_graphs again': _housekeeping('save_graphs'),
}
"""What is done to an index of `Page`."""


def work(work_dir: Path, copy: Path) -> None:
    def returned(call: str) -> None:
        print(call, flush=True)

    with open_index(work_dir) as index:
        returned('open')
        for name, write in WRITES.items():
            write(index)
            returned(name)
        index.backup(copy)
        returned('backup')
    returned('close')
    illustrated = HnswDocumentIndex[IllustratedPage](work_dir=work_dir)
    returned('open with another field')
    illustrate(illustrated)
    returned('illustrate')
    illustrated.close()
    returned('close again')
