"""
Which search finds the right packages: vectors, words, or both.

    python benchmarks/relevance.py --data PATH_TO_debian-packages

Thirty questions, and for each the packages that are right answers, in `examples/data/relevance.json`; how these were
judged stands in the README beside it. Of the 20,000 packages, or of the 2,300 in `examples/data` without `--data`.

    P@10      of the first ten, how many are right
    R@10      of the right ones (of ten, if there are more), how many are among the first ten
    nDCG@10   the same, the first places counting more
    in 10, 3  for how many questions a right one is among the first ten, three
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.tensors import Float32Array

EXAMPLES = Path(__file__).parents[1] / 'examples' / 'data'
LIMIT = 10


class Package(BaseDoc):
    """A Debian package; its id is its name."""

    name: str = Field(full_text=True, tokenizer='porter')
    description: str = Field(full_text=True, tokenizer='porter')
    embedding: NdArray = Field(dim=384, space='cosine')


Search = Callable[[str, Float32Array], list[str]]
"""From a question and its vector to the names of ten packages."""


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=EXAMPLES, help='the directory with packages.jsonl.gz')
    data = parser.parse_args().data
    right = json.loads((EXAMPLES / 'relevance.json').read_text())
    vectors = np.load(data / 'queries.npz')['text'].astype(np.float32)
    questions = list(zip(json.loads((data / 'queries.json').read_text()), vectors, strict=True))
    with tempfile.TemporaryDirectory() as directory, HnswDocumentIndex[Package](work_dir=directory) as index:
        index.index(packages(data))
        known = set(index)
        print(f'{len(index):,} packages, {len(questions)} questions')
        print('search                                P@10    R@10   nDCG@10   in 10   in 3')
        for name, search in searches(index).items():
            each = [figures(search(text, vector), known & set(right[text])) for text, vector in questions]
            columns = [statistics.fmean(column) for column in zip(*each, strict=True)]
            counts = [round(share * len(questions)) for share in columns[3:]]
            print(f'{name:34} {columns[0]:7.3f} {columns[1]:7.3f} {columns[2]:9.3f} {counts[0]:7} {counts[1]:6}')


def searches(index: HnswDocumentIndex[Package]) -> dict[str, Search]:
    """Return the searches that are compared, by name."""

    def hybrid(**how: Any) -> Search:
        return lambda text, vector: names(index.hybrid(text, vector, limit=LIMIT, **how))

    def names(found: Any) -> list[str]:
        return list(found.documents.id)

    return {
        'vectors': lambda text, vector: names(index.find(vector, limit=LIMIT)),
        'words': lambda text, vector: names(index.text_search(text, limit=LIMIT)),
        'hybrid()': hybrid(),
        'hybrid(weights=(0.5, 0.5))': hybrid(weights=(0.5, 0.5)),
        "hybrid(fusion='rrf')": hybrid(fusion='rrf'),
        "hybrid(fusion='rrf', weights=(1, 1))": hybrid(fusion='rrf', weights=(1, 1)),
    }


def figures(found: list[str], right: set[str]) -> tuple[float, ...]:
    """Return P@10, R@10, nDCG@10, and whether a right one is in the first ten and three."""
    hits = [name in right for name in found]
    best = min(len(right), LIMIT)
    ideal = sum(1 / math.log2(at + 2) for at in range(best))
    gained = sum(hit / math.log2(at + 2) for at, hit in enumerate(hits))
    return sum(hits) / LIMIT, sum(hits) / max(best, 1), gained / (ideal or 1), any(hits), any(hits[:3])


def packages(directory: Path) -> list[Package]:
    """Return the packages with the embeddings of their descriptions."""
    vectors = np.load(directory / 'embeddings.npz')['description'].astype(np.float32)
    with gzip.open(directory / 'packages.jsonl.gz', 'rt') as file:
        rows = [json.loads(line) for line in file]
    return [
        Package(id=row['name'], name=row['name'], description=row['description'], embedding=vector)
        for row, vector in zip(rows, vectors, strict=True)
    ]


if __name__ == '__main__':
    main()
