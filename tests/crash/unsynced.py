"""
What a program does with `durability='process'` while a test records it, and how the test foretells it.

Without pytest, which starts processes that a recording does not understand.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from docindex import HnswDocumentIndex
from tests.crash.workload import KINDS_OF_LISTS, Page, Plan, Step, pages


class UndoneError(Exception):
    """Undoes a batch."""


def plan(seed: int) -> Plan:
    """Plan small steps, some of them in lists, in an order that follows from the seed."""
    chance = Random(seed)
    kinds = 2 * ['store', 'revise', 'delete', 'reopen', 'compact'] + chance.sample(KINDS_OF_LISTS, 3)
    kinds = ['store', *chance.sample(kinds, 12)]
    return [partial(Step, seed, number, kind=kind, most=8) for number, kind in enumerate(kinds)]


def live(path: Path, seed: int, *habits: str) -> None:
    """
    Make the steps of a plan with `durability='process'`.

    With the habit 'undoing' there is before each step a batch that is undone; with 'power' the second half of the steps
    is made with `durability='power'`.
    """
    durability: Any = 'process'
    index = HnswDocumentIndex[Page](path, durability=durability)
    print('open', flush=True)
    steps = list(plan(seed))
    for number, make_step in enumerate(steps):
        if 'undoing' in habits:
            with suppress(UndoneError), index.batch():
                index.index(pages([f'undone {at}' for at in range(4)], number, Random(number)))
                raise UndoneError
        if 'power' in habits and number == len(steps) // 2:
            index.close()
            durability = 'power'
            index = HnswDocumentIndex[Page](path, durability=durability)
            print('power', flush=True)
        step = make_step(index)
        print('begin', number, flush=True)
        step.apply(index)
        if step.kind == 'reopen':
            index.close()
            index = HnswDocumentIndex[Page](path, durability=durability)
        print('done', number, flush=True)
    index.close()
