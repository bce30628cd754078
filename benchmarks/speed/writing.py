"""Changes, to copies of the indexes: single upserts, metadata, vectors, deletes."""

from __future__ import annotations

import shutil

from benchmarks.speed.building import upsert_in_turn
from benchmarks.speed.turns import Turns


def write(turns: Turns) -> None:
    """Measure the parts that were asked for. An engine that was ended in one gets a new copy for the next."""
    copies = turns.options.cache / 'changed' / turns.data.directory.name
    parts = {'upsert': upsert, 'metadata': metadata, 'vectors': vectors, 'delete': delete}

    def copy(name: str) -> None:
        shutil.rmtree(copies / name, ignore_errors=True)
        shutil.copytree(turns.directory(name), copies / name)

    for part, measure in parts.items():
        if part in turns.options.parts:
            turns.begin_all(lambda name: copies / name, copy)
            measure(turns)
    turns.end_all()
    shutil.rmtree(copies, ignore_errors=True)


def upsert(turns: Turns) -> None:
    """Replace documents, vectors and all, each in a durable call of its own."""
    upsert_in_turn(turns, 'upsert', '', turns.data.meta.count)


def metadata(turns: Turns) -> None:
    """Change one field of 1,000 documents that is no vector."""
    ids = _some(turns, 1_000)

    def work(name: str, round_: int) -> list[float]:
        values = [f'changed in round {round_}'] * len(ids[round_])
        return turns.seconds(name, 'update', ids=ids[round_], values=values)

    turns.take('metadata', '', work, turns.options.few)


def vectors(turns: Turns) -> None:
    """Insert 5,000 new documents in one call, and replace 5,000 with their vectors in another."""
    ids = _some(turns, 5_000)
    new = [turns.unused(len(some)) for some in ids]
    other = [turns.unused(len(some)) for some in ids]
    inserted: dict[str, list[float]] = {name: [] for name in turns.names}
    calls: dict[str, list[float]] = {name: [] for name in turns.names}
    replacing: dict[str, list[float]] = {name: [] for name in turns.names}

    def insert(name: str, round_: int) -> list[float]:
        names = [f'new {new[round_] + at}' for at in range(len(ids[round_]))]
        answer = turns.ask(name, 'add_new', ids=names, spare=new[round_])
        calls[name] += answer['call']
        inserted[name] += answer['seconds']
        return inserted[name][-1:]

    def replace(name: str, round_: int) -> list[float]:
        answer = turns.ask(name, 'upsert', ids=ids[round_], spare=other[round_], one_by_one=False)
        replacing[name] += answer['call']
        seconds: list[float] = answer['seconds']
        return seconds

    turns.take('insert', '', insert, turns.options.few, call=calls)
    # The copy of an engine that was ended has some of the documents, and is of no use for the next.
    turns.lost |= {name: turns.results.get('insert', '', name) or {} for name in turns.ended}
    turns.take('replace', '', replace, turns.options.few, call=replacing, inserted=inserted)


def delete(turns: Turns) -> None:
    """Delete 1,000 documents in one call."""
    ids = _some(turns, 1_000)

    def work(name: str, round_: int) -> list[float]:
        return turns.seconds(name, 'delete', ids=ids[round_])

    turns.take('delete', '', work, turns.options.few)


def _some(turns: Turns, at_most: int) -> list[list[str]]:
    """Return ids of documents for each of few rounds, at most so many, each once."""
    rounds = turns.options.few
    each = min(at_most, turns.data.meta.count // rounds)
    chosen = turns.random.permutation(turns.data.meta.count)
    return [[str(number) for number in chosen[round_ * each : (round_ + 1) * each]] for round_ in range(rounds)]
