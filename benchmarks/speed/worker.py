"""
One engine in a process of its own: reads commands from stdin, a line of JSON each, and answers on stdout.

It runs in the virtual environment of its engine, and imports nothing else but numpy. What is measured is measured here,
so that what is said over the pipe does not count.

    {"do": "find", "numbers": [0, 1], "below": null}
    {"seconds": [0.0003, 0.0002], "ids": [["17", ...], ...]}

An engine that lacks something answers {"has_none": why}; what goes wrong is answered as {"fails": what}.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.speed.datasets import Dataset
from benchmarks.speed.engines import HasNoneError, engine_class


class Session:
    """The commands: each public method is one."""

    def __init__(self, engine: str, directory: str, data: str) -> None:
        self._class = engine_class(engine)
        self._engine = self._class(Path(directory), Dataset.open(Path(data)))
        self._data = self._engine.data
        self._engine.define()

    def hello(self) -> dict[str, Any]:
        """Say what this is."""
        told = {name: getattr(self._class, name) for name in ('title', 'efforts', 'durable')}
        return {**told, 'versions': {name: _version(name) for name in self._class.packages}, **self.memory()}

    def memory(self) -> dict[str, float]:
        """Return resident memory in bytes: all, and what is no page of a file."""
        lines = Path('/proc/self/status').read_text()
        return {
            name: 1024 * int(lines.partition(f'{key}:')[2].split()[0])
            for name, key in (('all', 'VmRSS'), ('own', 'RssAnon'))
        }

    def create(self) -> dict[str, Any]:
        return _timed(self._engine.create)

    def open(self) -> dict[str, Any]:
        return _timed(self._engine.open)

    def close(self) -> dict[str, Any]:
        return _timed(self._engine.close)

    def effort(self, effort: int | None) -> dict[str, Any]:
        return _timed(partial(self._engine.set_effort, effort))

    # -- writing

    def add(self, start: int, stop: int) -> dict[str, Any]:
        """Index documents of the dataset."""
        ready = self._engine.prepare(self._data.batch(start, stop))
        began = time.perf_counter()
        parts = self._engine.add(ready)
        return {'seconds': [time.perf_counter() - began], 'parts': parts or {}}

    def finish(self) -> dict[str, Any]:
        return _timed(self._engine.finish)

    def upsert(self, ids: list[str], spare: int, one_by_one: bool) -> dict[str, Any]:
        """Store documents with other vectors under these ids: each in a call of its own, or all in one."""
        groups = [[id_] for id_ in ids] if one_by_one else [ids]
        ready = [self._engine.prepare(self._data.changed(group, spare + at)) for at, group in enumerate(groups)]
        if one_by_one:
            return {'seconds': [_timed(partial(self._engine.upsert, each))['seconds'][0] for each in ready]}
        return self._settled(partial(self._engine.upsert, ready[0]))

    def add_new(self, ids: list[str], spare: int) -> dict[str, Any]:
        """Store new documents in one call."""
        return self._settled(partial(self._engine.add, self._engine.prepare(self._data.changed(ids, spare))))

    def _settled(self, write: Callable[[], object]) -> dict[str, Any]:
        """Write, then wait until the index has it; `call` is how long the call itself took."""
        call, settling = _timed(write)['seconds'], _timed(self._engine.settle)['seconds']
        return {'seconds': [call[0] + settling[0]], 'call': call}

    def update(self, ids: list[str], values: list[str]) -> dict[str, Any]:
        return _timed(partial(self._engine.update, ids, self._data.meta.changing, values))

    def delete(self, ids: list[str]) -> dict[str, Any]:
        return _timed(partial(self._engine.delete, ids))

    # -- reading

    def find(self, numbers: list[int], below: float | None) -> dict[str, Any]:
        """Ask queries one after another."""
        seconds, ids = [], []
        for query in self._queries(numbers):
            began = time.perf_counter()
            found = self._engine.find(query, below)
            seconds.append(time.perf_counter() - began)
            ids.append(self._engine.ids(found))
        return {'seconds': seconds, 'ids': ids}

    def find_batched(self, count: int) -> dict[str, Any]:
        """Ask so many queries in one call."""
        return _timed(partial(self._engine.find_batched, self._queries(list(range(count)))))

    def find_from_threads(self, numbers: list[int], threads: int) -> dict[str, Any]:
        """Ask queries from so many threads at once."""
        queries = self._queries(numbers)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda query: self._engine.find(query, None), queries[:threads]))  # connections are made now
            began = time.perf_counter()
            list(pool.map(lambda query: self._engine.find(query, None), queries))
            return {'seconds': [time.perf_counter() - began]}

    def get(self, ids: list[str]) -> dict[str, Any]:
        return {'seconds': [_timed(partial(self._engine.get, id_))['seconds'][0] for id_ in ids]}

    def _queries(self, numbers: list[int]) -> Any:
        return self._data.queries[[number % len(self._data.queries) for number in numbers]]


def _timed(work: Callable[[], object]) -> dict[str, Any]:
    began = time.perf_counter()
    work()
    return {'seconds': [time.perf_counter() - began]}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a checkout that was not installed
        found: str = __import__(package).__version__
        return found


def main() -> None:
    """Answer until stdin ends. Whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    session = Session(*sys.argv[1:])
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(session, command.pop('do'))(**command)
        except HasNoneError as missing:
            answer = {'has_none': str(missing)}
        except Exception as error:  # whatever a library raises belongs into the table
            traceback.print_exc()
            answer = {'fails': f'{type(error).__name__}: {error}'[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
