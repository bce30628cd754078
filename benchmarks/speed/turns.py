"""
The floor and some engines, each in its process, that do the same portion of work in turn, round after round.

So the figures of one round are neighbours in time, and the ratios between them do not drift with the machine. An engine
that takes too long is ended, which is its figure; it gets a new process for what comes next.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.datasets import Dataset
from benchmarks.speed.protocol import NoAnswerError, Worker
from benchmarks.speed.results import NO_FIGURE, Results
from benchmarks.speed.venvs import python_of

Work = Callable[[str, int], list[float]]
"""Does a portion, given the name of an engine and the number of the round; returns seconds."""


@dataclass
class Options:
    """How thoroughly to measure."""

    cache: Path
    parts: tuple[str, ...]
    rounds: int
    limit: float
    """Seconds for each piece of work of an engine."""
    portion: float
    """How many seconds a portion of queries takes, about."""

    @property
    def few(self) -> int:
        """Rounds of writing much: more would leave another index than the one that was measured."""
        return min(3, self.rounds)


class Turns:
    """Those who take turns on one dataset, and what came of it."""

    def __init__(self, data: Dataset, names: list[str], options: Options, results: Results, run: str) -> None:
        self.data = data
        self.names = ['floor', *(name for name in names if name != 'floor')]
        self.options = options
        self.results = results
        self.random = np.random.default_rng(3)
        self.lost: dict[str, dict[str, Any]] = {}
        """What the figures say of engines that cannot take part at the moment."""
        self._run = run
        self._home = options.cache / 'indexes' / data.directory.name
        self._workers: dict[str, Worker] = {}
        self._spare = 0

    @property
    def present(self) -> list[str]:
        """The names of those who take part at the moment."""
        return [name for name in self.names if name not in self.lost]

    # -- indexes and processes

    def directory(self, name: str) -> Path:
        """Return where the index of an engine is."""
        return self._home / name

    def built(self, name: str) -> Path:
        """Return the path of a file that is there when an index is complete."""
        return self._home / f'{name}.complete'

    def begin(self, name: str, directory: Path, do: str = 'open') -> Worker:
        """Give an engine a process, and have it open its index, or create one."""
        if do == 'create':
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        python = python_of(name, self.options.cache / 'venvs')
        worker = Worker(name, python, directory, self.data.directory, self.options.limit)
        about = {key: worker.told[key] for key in ('title', 'durable', 'versions')}
        self.results.data['runs'][self._run]['versions'][name] = about
        self._workers[name] = worker
        worker.opening = worker.ask(do)['seconds'][0]
        return worker

    def begin_all(self, directory: Callable[[str], Path], renew: Callable[[str], object] | None = None) -> None:
        """Give each engine that has no process one that has its index open; `renew` is called before that."""
        self.lost = {}
        for name in self.names:
            if not self.built(name).exists():
                self.lost[name] = self.why_not_built(name)
            elif name not in self._workers or self._workers[name].has_ended:
                try:
                    if renew is not None:
                        renew(name)
                    self.begin(name, directory(name))
                except NoAnswerError as error:
                    self.lost[name] = error.entry

    def end(self, name: str) -> None:
        """End the process of an engine."""
        self._workers.pop(name).end()

    @property
    def ended(self) -> list[str]:
        """The engines whose process was ended, or has died."""
        return [name for name, worker in self._workers.items() if worker.has_ended]

    def end_all(self) -> None:
        """Close what is open, and end all processes."""
        for worker in self._workers.values():
            if not worker.has_ended:
                with suppress(NoAnswerError):  # it is ended in any case
                    worker.ask('close')
            worker.end()
        self._workers = {}

    def why_not_built(self, name: str) -> dict[str, Any]:
        """Return the figure of an engine that has no index."""
        figure = self.results.get('build', '', name) or {}
        found: dict[str, Any] = {key: figure[key] for key in NO_FIGURE if key in figure}
        return {**(found or {'fails': 'there is no index'}), 'building': True}

    def ask(self, name: str, do: str, limit: float | None = None, **given: Any) -> dict[str, Any]:
        """Ask the process of an engine; raises `NoAnswerError` where there is no figure."""
        return self._workers[name].ask(do, limit, **given)

    def seconds(self, name: str, do: str, **given: Any) -> list[float]:
        """Return the seconds that an engine has measured."""
        found: list[float] = self.ask(name, do, **given)['seconds']
        return found

    def ask_within(self, name: str, spent: float, do: str, **given: Any) -> dict[str, Any]:
        """Ask for a part of a piece of work of which some seconds are spent; documents are read and made besides."""
        if spent > self.options.limit:
            raise NoAnswerError({'not_finished': self.options.limit})
        return self.ask(name, do, limit=1.5 * (self.options.limit - spent) + 30, **given)

    def unused(self, count: int) -> int:
        """Return the number of the first of so many spare vectors that were not written yet."""
        self._spare += count
        return self._spare - count

    # -- figures

    def take(self, part: str, case: str, work: Work, rounds: int | None = None, **about: dict[str, Any]) -> None:
        """
        Let each engine do its portion in each round, and take in the median second of each portion.

        Args:
            part: What is measured.
            case: Which kind of it.
            work: A portion.
            rounds: How many, if not as many as usual.
            about: What else the figures say: by key, and by the name of an engine. The floor's is for all if it is
                called `floor_...`.
        """
        seconds: dict[str, list[float]] = {name: [] for name in self.present}
        lost = dict(self.lost)
        for round_ in range(rounds or self.options.rounds):
            for name in [*seconds]:
                try:
                    seconds[name].append(statistics.median(work(name, round_)))
                except NoAnswerError as error:
                    lost[name] = error.entry
                    del seconds[name]
        for name in self.names:
            more = {key: values[name] for key, values in about.items() if name in values}
            if name in lost:
                self.put(part, case, name, **lost[name], **more)
                continue
            if name != 'floor' and 'floor' in seconds:
                more['floor'] = seconds['floor']
                more |= {f'floor_{key}': values['floor'] for key, values in about.items() if key == 'opening'}
            self.put(part, case, name, seconds=seconds[name], **more)
        self.say(part, case)

    def put(self, part: str, case: str, name: str, **figure: Any) -> None:
        """Take in a figure."""
        self.results.put(self._run, part, case, name, **figure)

    def say(self, part: str, case: str = '') -> None:
        """Print a line on what was just measured."""
        told = []
        for name in self.names:
            figure = self.results.get(part, case, name) or {}
            if 'seconds' in figure:
                recall = f' ({figure["recall"]:.3f})' if 'recall' in figure else ''
                told.append(f'{name} {1000 * statistics.median(figure["seconds"]):.3g} ms{recall}')
            else:
                told.append(f'{name} {next((key for key in NO_FIGURE if key in figure), "-")}')
        print(f'{self.data.meta.title}, {part} {case}: {", ".join(told)}', flush=True)
