"""Opening, and searches: at which setting enough is found, then how long one query, many, and filtered ones take."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.speed.datasets import JUDGED, QUERIES, shares_of
from benchmarks.speed.protocol import NoAnswerError
from benchmarks.speed.turns import Turns

ENOUGH = 0.95
NEARLY_ALL = 0.998
"""Where the curve of recall may end."""
LEVELS = ('equal', 'default')
"""All engines at the setting with which they find enough, or docindex and the floor at docindex's default."""
THREADS = 8
WARM = 100
"""After so many queries memory is looked at once more."""


def open_anew(turns: Turns) -> None:
    """Open each index in new processes until it has answered once; note how much memory it takes."""
    turns.lost = {name: turns.why_not_built(name) for name in turns.names if not turns.built(name).exists()}
    opening: dict[str, list[float]] = {name: [] for name in turns.names}
    memory: dict[str, dict[str, list[float]]] = {name: {} for name in turns.names}

    def work(name: str, round_: int) -> list[float]:
        worker = turns.begin(name, turns.directory(name))
        try:
            after = {'opened': worker.ask('memory')}
            answered = worker.ask('find', numbers=[0], below=None)['seconds'][0]
            worker.ask('find', numbers=list(range(1, WARM)), below=None)
            after['queried'] = worker.ask('memory')
            worker.ask('close')
        finally:
            worker.end()
        opening[name].append(worker.opening)
        for when, found in after.items():
            for kind in ('all', 'own'):
                memory[name].setdefault(f'{kind}_{when}', []).append(found[kind] - worker.told[kind])
        return [worker.opening + answered]

    turns.take('open', '', work, opening=opening, memory=memory)


def read(turns: Turns) -> None:
    """Measure the parts that were asked for; each begins with every engine there."""
    parts = {'curve': curve, 'query': query, 'batch': batch, 'threads': threads, 'filters': filters, 'get': get}
    for part, measure in parts.items():
        if part in turns.options.parts:
            turns.begin_all(turns.directory)
            measure(turns)
    turns.end_all()


# -- how thorough a search has to be


def curve(turns: Turns) -> None:
    """Try each engine's search settings until nearly all neighbours are found; keep the smallest that suffices."""
    waiting = {name: [None, *turns.ask(name, 'hello')['efforts']] for name in turns.present}
    points: dict[str, list[list[Any]]] = {name: [] for name in turns.names}
    while waiting:
        for name in [*waiting]:
            effort = waiting[name].pop(0)
            try:
                recall, seconds = judged(turns, name, effort, None)
                points[name].append([effort, recall, *beside_floor(turns, name, effort, seconds)])
            except NoAnswerError as error:
                turns.lost[name] = error.entry
                del waiting[name]
                continue
            if not waiting[name] or (effort is not None and recall >= NEARLY_ALL):
                del waiting[name]
    for name in turns.names:
        if name in turns.lost:
            turns.put('curve', '', name, **turns.lost[name], points=points[name])
        else:
            effort, recall = smallest(points[name])
            turns.put('curve', '', name, points=points[name], effort=effort, recall=recall)
            print(f'{turns.data.meta.title}, {name}: effort {effort}, recall {recall:.3f}', flush=True)


def smallest(points: list[list[Any]]) -> tuple[int | None, float]:
    """Return the smallest setting that reaches the recall, or else the largest, and its recall."""
    tried = [(effort, recall) for effort, recall, *_ in points if effort is not None or len(points) == 1]
    return next(((effort, recall) for effort, recall in tried if recall >= ENOUGH), tried[-1])


def judged(turns: Turns, name: str, effort: int | None, below: float | None) -> tuple[float, float]:
    """Return recall and the median of seconds, over all judged queries or as many as there is time for."""
    turns.ask(name, 'effort', effort=effort)
    second = turns.seconds(name, 'find', numbers=[0, 1], below=below)[-1]
    numbers = list(range(max(10, min(JUDGED, int(20 * turns.options.portion / second)))))
    answer = turns.ask(name, 'find', numbers=numbers, below=below)
    return turns.data.recall(numbers, answer['ids'], below), statistics.median(answer['seconds'])


def beside_floor(turns: Turns, name: str, effort: int | None, usual: float) -> tuple[float, float]:
    """Return the median second of a query, and what the floor takes by default next to it, so that runs compare."""
    numbers = list(range(max(1, min(QUERIES, int(turns.options.portion / 2 / usual)))))
    seconds, ratios = [], []
    for _ in range(turns.options.rounds):
        turns.ask('floor', 'effort', effort=None)
        floor = statistics.median(turns.seconds('floor', 'find', numbers=list(range(WARM)), below=None))
        if name == 'floor':
            turns.ask('floor', 'effort', effort=effort)
        seconds.append(statistics.median(turns.seconds(name, 'find', numbers=numbers, below=None)))
        ratios.append(seconds[-1] / floor)
    middle = statistics.median(seconds)
    return middle, middle / statistics.median(ratios)


@contextmanager
def at(turns: Turns, level: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Set all engines to a level; leave out those that it is not for. Gives settings and recall of each."""
    turns.begin_all(turns.directory)
    names = turns.names
    if level == 'default':
        turns.names = [name for name in names if name in ('floor', 'docindex')]
    efforts: dict[str, Any] = {}
    recalls: dict[str, Any] = {}
    for name in turns.present:
        figure = turns.results.get('curve', '', name) or {'fails': 'the part "curve" was not measured'}
        if 'effort' not in figure:
            turns.lost[name] = {key: figure[key] for key in ('not_finished', 'fails') if key in figure}
            continue
        efforts[name] = figure['effort'] if level == 'equal' else None
        recalls[name] = {point[0]: point[1] for point in figure['points']}[efforts[name]]
        turns.ask(name, 'effort', effort=efforts[name])
    yield efforts, recalls
    turns.names = names


def portions(turns: Turns, below: float | None = None) -> dict[str, int]:
    """Return for each engine how many queries make a portion; one that does not answer is left out from here on."""
    found = {}
    for name in turns.present:
        try:
            seconds = turns.seconds(name, 'find', numbers=[0, 1, 2], below=below)
            found[name] = max(1, min(QUERIES, int(turns.options.portion / statistics.median(seconds))))
        except NoAnswerError as error:
            turns.lost[name] = error.entry
    return found


# -- searches


def query(turns: Turns) -> None:
    """Ask one query after another, ten complete documents each."""
    for level in LEVELS:
        with at(turns, level) as (efforts, recalls):
            _find_in_turn(turns, 'query', level, None, effort=efforts, recall=recalls)


def _find_in_turn(turns: Turns, part: str, case: str, below: float | None, **about: dict[str, Any]) -> None:
    sizes = portions(turns, below)

    def work(name: str, round_: int) -> list[float]:
        first = round_ * sizes[name]
        numbers = [number % QUERIES for number in range(first, first + sizes[name])]
        return turns.seconds(name, 'find', numbers=numbers, below=below)

    turns.take(part, case, work, None, **about)


def batch(turns: Turns) -> None:
    """Ask 1,000 queries in one call."""
    for level in LEVELS:
        with at(turns, level) as (efforts, recalls):

            def work(name: str, round_: int) -> list[float]:
                return turns.seconds(name, 'find_batched', count=QUERIES)

            turns.take('batch', level, work, effort=efforts, recall=recalls)


def threads(turns: Turns) -> None:
    """Ask from eight threads and, next to it, from one; seconds are those of all queries, divided by how many."""
    for level in LEVELS:
        with at(turns, level) as (efforts, recalls):
            sizes = {name: max(2 * THREADS, 2 * size) for name, size in portions(turns).items()}
            single: dict[str, list[float]] = {name: [] for name in turns.names}

            def work(
                name: str, round_: int, sizes: dict[str, int] = sizes, single: dict[str, list[float]] = single
            ) -> list[float]:
                numbers = [number % QUERIES for number in range(sizes[name])]
                one, many = (
                    turns.seconds(name, 'find_from_threads', numbers=numbers, threads=count)[0] / len(numbers)
                    for count in (1, THREADS)
                )
                single[name].append(one)
                return [many]

            turns.take('threads', level, work, effort=efforts, recall=recalls, single=single)


def filters(turns: Turns) -> None:
    """Ask with filters of every share; at equal recall, each with the smallest setting that still finds enough."""
    for level in LEVELS:
        for share in shares_of(turns.data.meta.count):
            with at(turns, level) as (efforts, recalls):
                for name in turns.present:
                    try:
                        efforts[name], recalls[name] = _filtered_effort(turns, name, efforts[name], share, level)
                    except NoAnswerError as error:
                        turns.lost[name] = error.entry
                _find_in_turn(turns, 'filters', f'{level} {share}', share, effort=efforts, recall=recalls)


def _filtered_effort(turns: Turns, name: str, effort: int | None, share: float, level: str) -> tuple[int | None, float]:
    """Return the smallest setting from one on that finds enough through a filter, or the last, and its recall."""
    recall, _ = judged(turns, name, effort, share)
    for more in turns.ask(name, 'hello')['efforts'] if level == 'equal' else ():
        if recall < ENOUGH and effort is not None and more > effort:
            effort = more
            recall, _ = judged(turns, name, effort, share)
    return effort, recall


def get(turns: Turns) -> None:
    """Read documents by id, complete."""
    ids = [str(number) for number in turns.random.integers(turns.data.meta.count, size=100 * turns.options.rounds)]

    def work(name: str, round_: int) -> list[float]:
        return turns.seconds(name, 'get', ids=ids[100 * round_ : 100 * round_ + 100])

    turns.take('get', '', work)
