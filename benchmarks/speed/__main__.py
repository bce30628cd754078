"""
docindex beside the floor (hnswlib, numpy and sqlite3 by hand) and other embedded stores.

    python -m benchmarks.speed --data PATH_TO_debian-packages
    python -m benchmarks.speed --data PATH --datasets packages --engines docindex,zvec --parts curve,query
    python -m benchmarks.speed report
    python -m benchmarks.speed --smoke

Makes a virtual environment for each library and the data in a cache outside of the repository, measures, keeps results
as JSON in benchmarks/results, and writes docs/benchmarks.md from all results that are there. Everything can be measured
in parts: what is measured again replaces what was there of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from benchmarks.speed.datasets import prepare
from benchmarks.speed.engines import CLASSES, ONLY_BUILD
from benchmarks.speed.measure import PARTS, measure
from benchmarks.speed.protocol import ROOT
from benchmarks.speed.results import Results, describe_run
from benchmarks.speed.turns import Options, Turns

DATASETS = ('packages', '768', '128')


def main() -> None:
    """Measure what was asked for, and write the page."""
    given = parsed()
    if given.command == 'run':
        if given.smoke:
            with tempfile.TemporaryDirectory() as cache:
                given.cache = Path(cache)
                given.engines, given.datasets = ['floor', 'docindex'], ['smoke']
                given.rounds, given.portion, given.scale = 2, 0.01, 1.0
                run(given)
        else:
            run(given)
    from benchmarks.speed.report import write  # here, for it needs matplotlib

    print(f'written: {write(given.results, given.page)}')


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        'python -m benchmarks.speed', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = 'floor, ' + ', '.join(name for name in CLASSES if name != 'floor')
    parser.add_argument(
        'command', nargs='?', choices=['run', 'report'], default='run', help='report: only write the page'
    )
    parser.add_argument('--data', type=Path, help='the directory with packages.jsonl.gz and embeddings.npz')
    parser.add_argument('--engines', type=listed(CLASSES), default=[*CLASSES], help=f'which, with commas: {names}')
    parser.add_argument('--datasets', type=listed(DATASETS), default=[*DATASETS], help='which: packages, 768, 128')
    parser.add_argument('--parts', type=listed(PARTS), default=[*PARTS], help=f'what: {", ".join(PARTS)}')
    parser.add_argument('--rounds', type=int, default=7, help='how often each figure is measured (7)')
    parser.add_argument('--limit-seconds', type=float, default=600, help='for each piece of work of an engine (600)')
    parser.add_argument(
        '--portion', type=float, default=0.3, help='seconds of queries before the next takes its turn (0.3)'
    )
    parser.add_argument('--together', type=int, default=1, help='how many engines run beside the floor at a time (1)')
    parser.add_argument('--scale', type=float, default=1.0, help='a part of the synthetic vectors: 0.1 for a tenth')
    parser.add_argument('--cache', type=Path, default=Path.home() / '.cache' / 'docindex-benchmarks')
    parser.add_argument('--results', type=Path, default=ROOT / 'benchmarks' / 'results')
    parser.add_argument('--page', type=Path, default=ROOT / 'docs' / 'benchmarks.md')
    parser.add_argument(
        '--smoke', action='store_true', help='a few hundred vectors, docindex and the floor, no network'
    )
    return parser.parse_args()


def listed(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return what reads `a,b` and refuses unknown names."""

    def read(text: str) -> list[str]:
        names = text.split(',')
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f'{", ".join(unknown)}; there are {", ".join(known)}')
        return names

    return read


def run(given: argparse.Namespace) -> None:
    """Measure each dataset with groups of engines, each beside the floor."""
    options = Options(given.cache, tuple(given.parts), given.rounds, given.limit_seconds, given.portion)
    peers = [name for name in given.engines if name != 'floor' and name not in ONLY_BUILD]
    groups = [peers[at : at + given.together] for at in range(0, len(peers), given.together)] or [[]]
    forms = [[name] for name in given.engines if name in ONLY_BUILD and 'build' in given.parts]
    for dataset in given.datasets:
        data = prepare(dataset, given.cache / 'data', given.data, given.scale)
        results = Results(given.results / f'{data.directory.name}.json')
        results.data['dataset'] |= vars(data.meta)
        for names in [*forms, *groups]:
            id_ = time.strftime('%Y%m%d-%H%M%S') + ' ' + ' '.join(names or ['floor'])
            results.data['runs'][id_] = describe_run(given.rounds, given.limit_seconds)
            chosen = replace(options, parts=('build',)) if names in forms else options
            measure(Turns(data, names, chosen, results, id_))


if __name__ == '__main__':
    main()
