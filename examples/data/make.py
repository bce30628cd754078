"""
Cut the example data out of the full data: `python examples/data/make.py DIRECTORY`.

Which packages, in this order, until there are enough; the same input always gives the same files:
the nearest to each question by description and by name, a few of every section, and then of the rest
every n-th, so that common sections stay common. They keep the order of the full data.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import numpy as np

PACKAGES = 2300  # 3.5 MB
BY_DESCRIPTION = 20
BY_NAME = 10
OF_EACH_SECTION = 10
UNSEEN = 20


def choose(sections: list[str], description: np.ndarray, name: np.ndarray, questions: np.ndarray) -> list[int]:
    """Return the rows of the packages to keep, ascending."""
    chosen: dict[int, None] = {}
    for vectors, many in ((description, BY_DESCRIPTION), (name, BY_NAME)):
        unit = vectors.astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        for question in questions.astype(np.float64):
            chosen.update(dict.fromkeys(np.argsort(-(unit @ question), kind='stable')[:many].tolist()))
    for section in sorted(set(sections)):
        rows = [row for row, its in enumerate(sections) if its == section]
        chosen.update(dict.fromkeys(rows[:OF_EACH_SECTION]))
    rest = [row for row in range(len(sections)) if row not in chosen]
    picks = np.linspace(0, len(rest) - 1, PACKAGES - len(chosen)).round().astype(int)
    return sorted([*chosen, *(rest[pick] for pick in picks)])


def main(source: Path, target: Path) -> None:
    with gzip.open(source / 'packages.jsonl.gz', 'rt', encoding='utf-8') as file:
        lines = file.readlines()
    embeddings = np.load(source / 'embeddings.npz')
    queries = np.load(source / 'queries.npz')
    description, name = embeddings['description'], embeddings['name']
    rows = choose([json.loads(line)['section'] for line in lines], description, name, queries['text'])
    with (target / 'packages.jsonl.gz').open('wb') as raw, gzip.GzipFile('', 'wb', 9, raw, mtime=0) as packed:
        packed.write(''.join(lines[row] for row in rows).encode())
    np.savez_compressed(
        target / 'embeddings.npz', description=description[rows].astype('f2'), name=name[rows].astype('f2')
    )
    np.savez_compressed(
        target / 'queries.npz', text=queries['text'].astype('f2'), unseen=queries['unseen'][:UNSEEN].astype('f2')
    )
    shutil.copyfile(source / 'queries.json', target / 'queries.json')
    print(f'{len(rows):,} packages')


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit('usage: python examples/data/make.py DIRECTORY_OF_THE_FULL_DATA')
    main(Path(sys.argv[1]), Path(__file__).parent)
