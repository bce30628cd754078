"""Indexing everything, in turn; and indexes of several sizes, to see what a single write costs in each."""

from __future__ import annotations

import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.engines import ONLY_BUILD
from benchmarks.speed.protocol import NoAnswerError
from benchmarks.speed.turns import Turns

GROWTH = (300, 1_000, 5_000, 20_000, 100_000)
UPSERTS = 20
"""How many single upserts are a portion."""


def build(turns: Turns) -> None:
    """Index all documents, a part in each round; then what the engine has put off, and closing."""
    spent: dict[str, list[float]] = {name: [] for name in turns.names}
    alone: dict[str, list[float]] = {name: [] for name in turns.names}
    turns.lost = {}
    for name in turns.names:
        turns.built(name).unlink(missing_ok=True)
        turns.begin(name, turns.directory(name), 'create')
    edges = np.linspace(0, turns.data.meta.count, turns.options.rounds + 1).astype(int).tolist()
    for start, stop in pairwise(edges):
        for name in turns.present:
            try:
                answer = turns.ask_within(name, sum(spent[name]), 'add', start=start, stop=stop)
                spent[name] += answer['seconds']
                alone[name] += answer['parts'].values()
            except NoAnswerError as error:
                turns.lost[name] = {**error.entry, 'rows': start}
        told = ', '.join(f'{name} {sum(spent[name]):.1f} s' for name in turns.present)
        print(f'{turns.data.meta.title}, {stop:,} indexed: {told}', flush=True)
    for name in turns.names:
        figure: dict[str, Any] = {'seconds': spent[name], 'rows': turns.data.meta.count}
        if alone[name]:
            figure['add_items'] = alone[name]
        if name != 'floor' and 'floor' not in turns.lost:
            figure |= {'floor': spent['floor'], 'floor_add_items': alone['floor']}
        _complete(turns, name, figure)
    turns.end_all()
    turns.say('build')


def _complete(turns: Turns, name: str, figure: dict[str, Any]) -> None:
    """Finish an index that has all documents, close it, and take in what building has taken."""
    directory = turns.directory(name)
    try:
        if name in turns.lost:
            raise NoAnswerError(turns.lost[name])
        spent = sum(figure['seconds'])
        figure['finish'] = turns.ask_within(name, spent, 'finish')['seconds'][0]
        if spent + figure['finish'] > turns.options.limit:
            raise NoAnswerError({'not_finished': turns.options.limit})
        figure['close'] = turns.seconds(name, 'close')[0]
    except NoAnswerError as error:
        turns.put('build', '', name, **error.entry)
        shutil.rmtree(directory, ignore_errors=True)
        return
    turns.end(name)
    turns.put('build', '', name, **figure)
    _weigh(turns, name)
    if name == 'floor':
        turns.results.data['dataset']['graph_bytes'] = (directory / 'graph.bin').stat().st_size
    if name in ONLY_BUILD:
        shutil.rmtree(directory)
    else:
        turns.built(name).touch()


def weigh(turns: Turns) -> None:
    """Measure what the indexes that were built take on the disk, closed as they are."""
    for name in turns.names:
        if turns.built(name).exists():
            _weigh(turns, name)


def _weigh(turns: Turns, name: str) -> None:
    turns.put('disk', '', name, bytes=size(turns.directory(name)))


def size(directory: Path) -> int:
    """Return how many bytes the files in a directory take; holes take none."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob('*') if path.is_file())


def grow(turns: Turns) -> None:
    """Measure single upserts in smaller indexes, too, so that it can be seen what they depend on."""
    home = turns.options.cache / 'growing' / turns.data.directory.name
    for count in [count for count in GROWTH if count < turns.data.meta.count]:
        turns.lost = {}
        for name in turns.names:
            try:
                turns.begin(name, home / name, 'create')
                _fill(turns, name, count)
            except NoAnswerError as error:
                turns.lost[name] = error.entry
        upsert_in_turn(turns, 'growth', str(count), count)
        turns.end_all()
        shutil.rmtree(home, ignore_errors=True)


def _fill(turns: Turns, name: str, count: int) -> None:
    """Index so many documents, within the limit."""
    began = time.monotonic()
    for start in range(0, count, 10_000):
        turns.ask_within(name, time.monotonic() - began, 'add', start=start, stop=min(start + 10_000, count))
    turns.ask_within(name, time.monotonic() - began, 'finish')


def upsert_in_turn(turns: Turns, part: str, case: str, count: int) -> None:
    """Replace some of the first so many documents, vectors and all, each in a durable call of its own."""
    rounds = turns.options.rounds
    numbers = turns.random.permutation(count)[: UPSERTS * rounds]
    ids = [[str(number) for number in some] for some in np.array_split(numbers, rounds)]
    spare = turns.unused(UPSERTS * rounds)

    def work(name: str, round_: int) -> list[float]:
        return turns.seconds(name, 'upsert', ids=ids[round_], spare=spare + UPSERTS * round_, one_by_one=True)

    turns.take(part, case, work)
