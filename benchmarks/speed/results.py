"""
Results as JSON files, one for each dataset: what was measured, where and when.

    {"dataset": {...}, "runs": {"<id>": {"date", "machine", ...}}, "figures": [{"part", "case", "engine", "run", ...}]}

A figure has `seconds`, one number for each round, and `floor`, those of the floor in the same rounds; or `not_finished`
(seconds it was given), `has_none` or `fails` (why). A part that is measured again replaces what was there of it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.protocol import ROOT

NO_FIGURE = ('not_finished', 'has_none', 'fails')


class Results:
    """The file of one dataset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        empty: dict[str, Any] = {'dataset': {}, 'runs': {}, 'figures': []}
        self.data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else empty

    def get(self, part: str, case: str, engine: str) -> dict[str, Any] | None:
        """Return a figure, if it was tried."""
        key = (part, case, engine)
        return next(
            (each for each in self.data['figures'] if (each['part'], each['case'], each['engine']) == key), None
        )

    def put(self, run: str, part: str, case: str, engine: str, **figure: Any) -> None:
        """Take a figure in, and write the file."""
        old = self.get(part, case, engine)
        if old is not None:
            self.data['figures'].remove(old)
        self.data['figures'].append({'part': part, 'case': case, 'engine': engine, 'run': run, **rounded(figure)})
        self.save()

    def save(self) -> None:
        """Write the file, a line for each figure, without the runs that nothing comes from any more."""
        used = {figure['run'] for figure in self.data['figures']}
        self.data['runs'] = {id_: run for id_, run in self.data['runs'].items() if id_ in used}
        figures = sorted(self.data['figures'], key=lambda each: (each['part'], each['case'], each['engine']))
        lines = ',\n'.join(f'  {json.dumps(figure)}' for figure in figures)
        head = {'dataset': self.data['dataset'], 'runs': self.data['runs']}
        text = json.dumps(head, indent=1).removesuffix('\n}') + f',\n "figures": [\n{lines}\n ]\n}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix('.new')
        beside.write_text(text)
        beside.replace(self.path)


def rounded(value: Any) -> Any:
    """Return figures with as many digits as mean something."""
    if isinstance(value, float):
        return float(f'{value:.5g}')
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return value


def describe_run(rounds: int, limit: float) -> dict[str, Any]:
    """Return when, where and how something is measured."""
    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'commit': commit.stdout.strip(),
        'python': platform.python_version(),
        'system': platform.platform(),
        'processor': _processor(),
        'cores': os.cpu_count(),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'load': os.getloadavg()[0],
        'rounds': rounds,
        'limit': limit,
        'versions': {},
    }


def _processor() -> str:
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()
