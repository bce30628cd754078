"""
Index real Debian packages on this machine, copy them to Milvus, and ask both the same questions.

    pip install -e '.[examples,milvus]'

    python examples/scale_out.py                                 to Milvus Lite, in this process
    python examples/scale_out.py --uri http://localhost:19530    to a server
    python examples/scale_out.py 14 25 --limit 5                 other questions, by number
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from docindex import (
    BaseDoc,
    DocIndexError,
    DocumentIndex,
    Field,
    FindResult,
    HnswDocumentIndex,
    MilvusDocumentIndex,
    NdArray,
    contains,
    copy_index,
    fields_of,
)


class Package(BaseDoc):
    """A package. The same class is the schema of both indexes."""

    name: str
    description: str = Field(full_text=True)
    section: str
    size: int
    tags: list[str]
    embedding: NdArray = Field(dim=384, space='cosine')


Ask = Callable[[DocumentIndex[Package]], FindResult[Package]]
say = Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print


def main(options: argparse.Namespace, work_dir: Path) -> None:
    texts = json.loads((options.data / 'queries.json').read_text())
    vectors = np.load(options.data / 'queries.npz')['text']
    packages = read_packages(options.data)
    uri = options.uri or str(work_dir / 'milvus.db')

    with (
        HnswDocumentIndex[Package](work_dir=work_dir / 'local') as local,
        MilvusDocumentIndex[Package](uri=uri, token=options.token) as milvus,  # the line that changes
    ):
        say(f'Indexing {len(packages):,} packages in {work_dir / "local"}.')
        local.index(packages, show_progress=True)
        say(f'Copying them to {milvus.uri}.\n')
        say(f'{copy_index(local, milvus, mirror=True, show_progress=True)}\n')

        for number in options.question:
            asked = questions(texts[number - 1], vectors[number - 1], options.limit)
            compare(f'{number}. {texts[number - 1]}', asked, local, milvus)
    say('Distances are the same on both. Scores of words are computed by each in its own way: compare their order.')
    if options.work_dir or options.uri:
        say('Both indexes stay where they are; the next run copies only what has changed.')


def questions(text: str, vector: Any, limit: int) -> dict[str, Ask]:
    """Return what to ask an index, of either kind, about a text and its embedding."""
    package = fields_of(Package)
    small, program = package.size < 100_000, contains(package.tags, 'role::program')
    return {
        'find': lambda index: index.find(vector, limit=limit),
        'find < 100 kB': lambda index: index.find(vector, limit=limit, filter=small),
        'find programs': lambda index: index.find(vector, limit=limit, filter=program),
        'text_search': lambda index: index.text_search(text, limit=limit),
        'hybrid': lambda index: index.hybrid(text, vector, limit=limit),
    }


def compare(title: str, asked: dict[str, Ask], local: DocumentIndex[Package], milvus: DocumentIndex[Package]) -> None:
    """Ask both, and show what they answer and how long they take."""
    table = Table(title=title, title_justify='left', box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column('asked', no_wrap=True, width=14)
    for name in ('local', 'Milvus'):
        table.add_column(name, no_wrap=True, max_width=22)
        table.add_column('ms', justify='right', width=5)
    table.add_column('same', width=5)
    for what, ask in asked.items():
        (mine, here), (other, there) = timed(ask, local), timed(ask, milvus)
        shared = len(set(mine.documents.id) & set(other.documents.id))
        table.add_row(what, shown(mine), here, shown(other), there, f'{shared}/{len(mine.documents)}')
    say(table, soft_wrap=False)


def timed(ask: Ask, index: DocumentIndex[Package]) -> tuple[FindResult[Package], str]:
    """Return the answer, and the shortest of three times: the first of all questions finds files unread."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = ask(index)
        times.append(time.perf_counter() - start)
    return found, f'{min(times) * 1e3:.1f}'


def shown(found: FindResult[Package]) -> str:
    return '\n'.join(f'{score:.3f} {doc.name}' for doc, score in zip(found.documents, found.scores, strict=True))


def read_packages(data: Path) -> list[Package]:
    vectors: Any = np.load(data / 'embeddings.npz')['description']
    packages = []
    with gzip.open(data / 'packages.jsonl.gz', 'rt', encoding='utf-8') as lines:
        for line, vector in zip(lines, vectors, strict=True):
            row = json.loads(line)
            packages.append(
                Package(
                    id=row['name'],
                    name=row['name'],
                    description=row['description'],
                    section=row['section'],
                    size=row['size'],
                    tags=row.get('tags') or [],
                    embedding=vector,
                )
            )
    return packages


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('question', nargs='*', type=int, default=[1, 25], help='numbers of stored questions (1 25)')
    parser.add_argument('--uri', help='a Milvus server (Milvus Lite, in the work directory)')
    parser.add_argument(
        '--token', default=os.environ.get('DOCINDEX_MILVUS_TOKEN', ''), help='user:password; or DOCINDEX_MILVUS_TOKEN'
    )
    parser.add_argument('--limit', type=int, default=3, help='how many answers to each question (3)')
    parser.add_argument('--work-dir', type=Path, help='where to keep the indexes (a temporary directory)')
    parser.add_argument('--data', type=Path, default=Path(__file__).with_name('data'), help='other data of this format')
    options = parser.parse_args()
    count = len(json.loads((options.data / 'queries.json').read_text()))
    if options.limit < 1 or not all(1 <= number <= count for number in options.question):
        parser.error(f'--limit must be at least 1, and questions have numbers from 1 to {count}')
    with tempfile.TemporaryDirectory() as temporary:
        try:
            main(options, options.work_dir or Path(temporary))
        except (DocIndexError, OSError) as error:
            sys.exit(f'{parser.prog}: {error}')
