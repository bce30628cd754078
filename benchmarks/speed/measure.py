"""What is measured: all parts that were asked for, of the floor and some engines on one dataset."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.speed.building import build, grow, weigh
from benchmarks.speed.reading import open_anew, read
from benchmarks.speed.turns import Turns
from benchmarks.speed.writing import write

STEPS: list[tuple[Callable[[Turns], None], tuple[str, ...]]] = [
    (build, ('build',)),
    (weigh, ('disk',)),
    (open_anew, ('open',)),
    (read, ('curve', 'query', 'batch', 'threads', 'filters', 'get')),
    (write, ('upsert', 'metadata', 'vectors', 'delete')),
    (grow, ('growth',)),
]
PARTS = tuple(part for _, parts in STEPS for part in parts)


def measure(turns: Turns) -> None:
    """Measure what was asked for; indexes that nobody has tried to build yet are built in any case."""
    try:
        for step, parts in STEPS:
            if set(parts) & set(turns.options.parts) or (step is build and unbuilt(turns)):
                step(turns)
    finally:
        turns.end_all()


def unbuilt(turns: Turns) -> list[str]:
    """Return the engines that have neither an index nor a figure that says why."""
    missing = [name for name in turns.names if not turns.built(name).exists()]
    return [name for name in missing if 'seconds' in (turns.results.get('build', '', name) or {'seconds': []})]
