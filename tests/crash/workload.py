"""
A random workload whose every step follows from a seed and the ids that are there: so a parent can foretell a child's.

As a program, `python -m tests.crash.workload DIRECTORY SEED`, it works on the index in DIRECTORY until it is killed. It
prints `open` when the index is open, `begin N` before step N and `done N` once the index has acknowledged it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray

KINDS = ['store', 'update', 'revise', 'delete', 'save_graphs', 'reopen', 'compact']
SPACES = {'text': 'cosine', 'picture__look': 'l2'}


class Picture(BaseDoc):
    look: NdArray = Field(dim=4, space='l2')


class Page(BaseDoc):
    title: str = Field(full_text=True)
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
    """
    What happens at one step: documents to store, or an id and changes, or ids to delete; or just housekeeping.

    Its kind is left to chance if none is given; while nothing is there it is to store. `most` documents may be new.
    """

    def __init__(self, seed: int, number: int, known: Sequence[str], kind: str | None = None, most: int = 40) -> None:
        chance = Random(f'{seed} {number}')
        known = sorted(known)
        drawn = chance.choice(['store'] * 3 + KINDS if known else ['store'])
        self.kind = kind if kind and known else drawn
        some = chance.sample(known, chance.randint(1, min(20, len(known)))) if known else []
        self.docs = pages([*some, *(f'{number}.{at}' for at in range(chance.randint(1, most)))], number, chance)
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


Plan = Iterable[Callable[[Sequence[str]], Step]]
"""Steps, each made when the ids are known that are there."""


def endless(seed: int) -> Plan:
    return (partial(Step, seed, number) for number in count())


def one_of_each_kind(seed: int) -> Plan:
    """Plan few and small steps, of every kind, in an order that follows from the seed."""
    kinds = ['store', *Random(seed).sample(KINDS, len(KINDS))]
    return (partial(Step, seed, number, kind=kind, most=8) for number, kind in enumerate(kinds))


def work(path: Path, plan: Plan) -> None:
    index = open_index(path)
    print('open', flush=True)
    for number, make_step in enumerate(plan):
        step = make_step(list(index))
        print('begin', number, flush=True)
        step.apply(index)
        if step.kind == 'reopen':
            index.close()
            index = open_index(path)
        print('done', number, flush=True)
    index.close()


if __name__ == '__main__':
    work(Path(sys.argv[1]), endless(int(sys.argv[2])))
