"""
A random workload whose every step follows from a seed and the ids that are there: so a parent can foretell a child's.

As a program, `python -m tests.crash.workload DIRECTORY SEED`, it works on the index in DIRECTORY until it is killed. It
prints `open` when the index is open, `begin N` before step N and `done N` once the index has acknowledged it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

SPACES = {'text': 'cosine', 'picture__look': 'l2'}


class Picture(BaseDoc):
    look: NdArray = Field(dim=4, space='l2')


class Page(BaseDoc):
    title: str
    step: int
    text: NdArray = Field(dim=8, space='cosine', max_elements=2)
    picture: Picture | None = None


def open_index(path: Path) -> HnswDocumentIndex[Page]:
    return HnswDocumentIndex[Page](work_dir=path)


def pages(ids: Sequence[str], step: int, chance: Random) -> list[Page]:
    random = np.random.default_rng(chance.randrange(1 << 32))
    return [
        Page(
            id=id_,
            title=f'{id_} of step {step}',
            step=step,
            text=random.standard_normal(8).astype(np.float32),
            picture=Picture(id='p', look=random.standard_normal(4).astype(np.float32)) if at % 3 else None,
        )
        for at, id_ in enumerate(ids)
    ]


class Step:
    """What happens at one step: documents to store, or an id and changes, or ids to delete; or just housekeeping."""

    def __init__(self, seed: int, number: int, known: Sequence[str]) -> None:
        chance = Random(f'{seed} {number}')
        known = sorted(known)
        kinds = ['store'] * 4 + ['update', 'revise', 'delete', 'save_graphs', 'reopen', 'compact']
        self.kind = chance.choice(kinds if known else ['store'])
        some = chance.sample(known, chance.randint(1, min(20, len(known)))) if known else []
        self.docs = pages([*some, *(f'{number}.{at}' for at in range(chance.randint(1, 40)))], number, chance)
        self.ids = some
        self.change: dict[str, Any] = {'title': f'changed in step {number}'}
        if self.kind == 'revise':
            self.change['text'] = self.docs[0].text

    def apply(self, store: Any) -> None:
        """Do it to an index, or to the reference, for which housekeeping is nothing."""
        if self.kind == 'store':
            store.index(self.docs)
        elif self.kind in ('update', 'revise'):
            store.update(self.ids[0], **self.change)
        elif self.kind == 'delete':
            store.delete(self.ids)
        elif self.kind in ('save_graphs', 'compact') and isinstance(store, HnswDocumentIndex):
            getattr(store, self.kind)()


def work(path: Path, seed: int) -> None:
    index = open_index(path)
    print('open', flush=True)
    number = 0
    while True:
        step = Step(seed, number, list(index))
        print('begin', number, flush=True)
        step.apply(index)
        if step.kind == 'reopen':
            index.close()
            index = open_index(path)
        print('done', number, flush=True)
        number += 1


if __name__ == '__main__':
    work(Path(sys.argv[1]), int(sys.argv[2]))
