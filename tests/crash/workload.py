"""
A random workload whose every step follows from a seed and the ids that are there: so a parent can foretell a child's.

As a program, `python -m tests.crash.workload DIRECTORY SEED`, it works on the index in DIRECTORY until it is killed. It
prints `open` when the index is open, `begin N` before step N and `done N` once the index has acknowledged it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np

from docindex import BaseDoc, DocList, Field, HnswDocumentIndex, NdArray

KINDS = ['store', 'update', 'revise', 'delete', 'save_graphs', 'reopen', 'compact']
KINDS_OF_LISTS = ['append', 'append deep', 'rewrite', 'thin out', 'thin out deep', 'batch']
SPACES = {'text': 'cosine', 'picture__look': 'l2'}
LISTS = {'sections': {'gist': 'l2'}, 'sections__notes': {'hue': 'ip'}}


class Picture(BaseDoc):
    # With so many candidates the graph's answers are exact, whatever stands in it.
    look: NdArray = Field(dim=4, space='l2', stored_as='float16', index_dim=3, index_by='projection', ef=1000)


class Note(BaseDoc):
    title: str = Field(full_text=True)
    hue: NdArray | None = Field(default=None, dim=3, space='ip')


class Section(BaseDoc):
    title: str = Field(full_text=True)
    gist: NdArray = Field(dim=4, space='l2', index_dim=2, ef=1000)
    notes: DocList[Note] = Field(default_factory=DocList[Note])


class Page(BaseDoc):
    title: str = Field(full_text=True)
    step: int
    text: NdArray = Field(dim=8, space='cosine', max_elements=2)
    picture: Picture | None = None
    sections: DocList[Section] = Field(default_factory=DocList[Section])


def open_index(path: Path) -> HnswDocumentIndex[Page]:
    return HnswDocumentIndex[Page](work_dir=path)


def pages(ids: Sequence[str], step: int, chance: Random, has_lists: bool = True) -> list[Page]:
    """Return pages, with lists or without; a page with an id that there was may have some of its sections and notes."""
    random = np.random.default_rng(chance.randrange(1 << 32))
    return [
        Page(
            id=id_,
            title=f'{id_} of step {step}',
            step=step,
            text=random.standard_normal(8).astype(np.float32),
            picture=Picture(id='p', look=np.float32(np.float16(random.standard_normal(4)))) if at % 3 else None,
            sections=DocList[Section](sections(id_, step, chance) if has_lists else ()),
        )
        for at, id_ in enumerate(ids)
    ]


def sections(page: str, step: int, chance: Random) -> list[Section]:
    """Return up to three of a page's five sections in any order, among which some of its five notes are shared out."""
    found = [a_section(f'{page}/{at}', step, chance) for at in chance.sample(range(5), chance.randint(0, 3))]
    for at in chance.sample(range(5), chance.randint(0, 4)) if found else ():
        chance.choice(found).notes.append(a_note(f'{page}/note {at}', step, chance))
    return found


def a_section(id_: str, step: int, chance: Random) -> Section:
    """Return a section, whose vector is often the one that it always had."""
    seed = crc32(id_.encode()) if chance.random() < 0.5 else chance.randrange(1 << 32)
    gist = np.random.default_rng(seed).standard_normal(4).astype(np.float32)
    return Section(id=id_, title=f'{id_} of step {step}', gist=gist)


def a_note(id_: str, step: int, chance: Random) -> Note:
    """Return a note, with a vector or without."""
    hue = np.random.default_rng(chance.randrange(1 << 32)).standard_normal(3).astype(np.float32)
    return Note(id=id_, title=f'{id_} of step {step}', hue=hue if chance.random() < 0.7 else None)


class Step:
    """
    What happens at one step: documents to store, or an id and changes, or ids to delete; or just housekeeping.

    Its kind is left to chance if none is given; while nothing is there it is to store. `most` documents may be new. The
    seed also says from which step on pages have lists.
    """

    def __init__(self, seed: int, number: int, store: Any, kind: str | None = None, most: int = 40) -> None:
        chance = Random(f'{seed} {number}')
        known = sorted(store)
        drawn = chance.choice(['store'] * 4 + KINDS + KINDS_OF_LISTS if known else ['store'])
        has_lists = number >= Random(f'{seed} lists').choice([0, 0, 0, 2, 5])
        self.kind = kind if kind and known else drawn
        some = chance.sample(known, chance.randint(1, min(20, len(known)))) if known else []
        new = [f'{number}.{at}' for at in range(chance.randint(1, most))]
        self.docs = pages([*some, *new], number, chance, has_lists)
        self.ids = some
        self.change: dict[str, Any] = {'title': f'changed in step {number}'}
        if self.kind == 'revise':
            self.change['text'] = self.docs[0].text
        self._in_lists = _ChangesInLists(number, store, chance, some[:1])

    def apply(self, store: Any) -> None:
        """Do it to an index, or to the reference, for which housekeeping is nothing."""
        if self.kind == 'store':
            store.index(self.docs)
        elif self.kind in ('update', 'revise'):
            store.update(self.ids[0], **self.change)
        elif self.kind == 'delete':
            store.delete(self.ids)
        elif self.kind == 'batch':
            self._batch(store)
        elif self.kind in KINDS_OF_LISTS:
            self._in_lists.apply(store, self.kind)
        elif self.kind in ('save_graphs', 'compact') and isinstance(store, HnswDocumentIndex):
            getattr(store, self.kind)()

    def _batch(self, store: Any) -> None:
        with store.batch() if isinstance(store, HnswDocumentIndex) else nullcontext():
            for kind in ('thin out', 'append', 'rewrite'):
                self._in_lists.apply(store, kind)
            store.index(self.docs)
            store.delete(self.ids[1::2])


class _ChangesInLists:
    """What may happen to the lists of pages that are there."""

    def __init__(self, number: int, store: Any, chance: Random, parents: Sequence[str]) -> None:
        known, deep = (sorted(store.subindex(name)) for name in LISTS)
        self._parents = parents
        tag = f'{number}.{chance.randrange(1 << 32)}'
        self._gone, self._gone_deep = (_some_of(ids, chance) for ids in (known, deep))
        left = [id_ for id_ in known if id_ not in self._gone]
        self._one = chance.sample(left, min(1, len(left)))
        self._new = [a_section(f'{id_}/{tag}.{at}', number, chance) for id_ in parents for at in range(2)]
        for section in self._new:
            section.notes.append(a_note(f'{section.id}/note', number, chance))
        self._notes = [a_note(f'{id_}/{tag}/note {at}', number, chance) for id_ in self._one for at in range(2)]
        self._rewritten = [a_section(id_, number, chance) for id_ in self._one]
        for section in self._rewritten:
            section.notes.append(a_note(f'{section.id}/{tag}/other', number, chance))
        self._is_whole = chance.random() < 0.5

    def apply(self, store: Any, kind: str) -> None:
        within, deep = (store.subindex(name) for name in LISTS)
        if kind == 'thin out':
            within.delete(self._gone)
        elif kind == 'thin out deep':
            deep.delete(self._gone_deep)
        elif kind == 'append':
            for id_ in self._parents:
                within.append(id_, self._new)
        elif kind == 'append deep':
            for id_ in self._one:
                deep.append(id_, self._notes)
        elif self._is_whole:
            within.update(self._rewritten)
        else:
            for section in self._rewritten:
                within.update(section.id, title=section.title, gist=section.gist)


def _some_of(ids: Sequence[str], chance: Random) -> list[str]:
    return chance.sample(ids, chance.randint(1, min(5, len(ids)))) if ids else []


Plan = Iterable[Callable[[Any], Step]]
"""Steps, each made of the store as it is then."""


def endless(seed: int) -> Plan:
    return (partial(Step, seed, number) for number in count())


def a_few_kinds(seed: int) -> Plan:
    """Plan few and small steps, half of them in lists, of kinds and in an order that follow from the seed."""
    chance = Random(seed)
    kinds = ['store', *chance.sample([*chance.sample(KINDS, 4), *chance.sample(KINDS_OF_LISTS, 4)], 8)]
    return (partial(Step, seed, number, kind=kind, most=8) for number, kind in enumerate(kinds))


def work(path: Path, plan: Plan) -> None:
    index = open_index(path)
    print('open', flush=True)
    for number, make_step in enumerate(plan):
        step = make_step(index)
        print('begin', number, flush=True)
        step.apply(index)
        if step.kind == 'reopen':
            index.close()
            index = open_index(path)
        print('done', number, flush=True)
    index.close()


if __name__ == '__main__':
    work(Path(sys.argv[1]), endless(int(sys.argv[2])))
