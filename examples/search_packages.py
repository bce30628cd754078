"""
Index real Debian packages, ask for them in plain English, close, reopen, ask again, update, delete.

The vectors come from a function, as they would from a model. This one looks them up among those that a model has made.

    python examples/search_packages.py                           three questions
    python examples/search_packages.py 14 "typeset documents"    others, by number or by words; --list shows all
    python examples/search_packages.py --like gnome-chess        packages that are similar to one
"""

from __future__ import annotations

import argparse
import difflib
import gzip
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from docindex import BaseDoc, DocIndexError, Field, FindResult, HnswDocumentIndex, NdArray, fields_of


class StoredVectors:
    """The vectors that a model has made of the texts in the data, which saves this example the model itself."""

    name = 'all-MiniLM-L6-v2'

    def __init__(self) -> None:
        self._vectors: dict[str, np.ndarray[Any, Any]] = {}

    def __call__(self, texts: list[str]) -> np.ndarray[Any, Any]:
        return np.stack([self._vectors[text] for text in texts])

    def add(self, texts: list[str], vectors: np.ndarray[Any, Any]) -> None:
        self._vectors.update(zip(texts, vectors, strict=True))


minilm = StoredVectors()


class Name(BaseDoc):
    """A package's name, and what it sounds like."""

    text: str
    embedding: NdArray = Field(default=None, dim=384, space='cosine', embeds='text', with_=minilm)


class Package(BaseDoc):
    """A package. Each of the two vector fields, `embedding` and `name__embedding`, can be searched."""

    name: Name
    description: str = Field(full_text=True, tokenizer='porter')
    section: str
    size: int
    embedding: NdArray = Field(
        default=None, dim=384, space='cosine', embeds='{name__text}: {description}', with_=minilm
    )


say = Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print


def main(options: argparse.Namespace, work_dir: Path) -> None:
    texts = read_questions(options.data)
    if options.list:
        return print(numbered(texts))
    asked = [] if options.like else [choose(question, texts) for question in options.question or ['1', '10', '25']]
    questions = [texts[number] for number in asked]
    packages = read_packages(options.data)
    names = [package.id for package in packages]
    if options.like and options.like not in names:
        similar = ', '.join(difflib.get_close_matches(options.like, names, n=5)) or 'none'
        sys.exit(f'There is no package {options.like!r} in this data. Similar names: {similar}.')

    say(f'Indexing {len(packages):,} packages, each with two vectors, in {work_dir}.')
    start = time.perf_counter()
    with HnswDocumentIndex[Package](work_dir=work_dir) as index:
        index.index(packages, show_progress=True)
        say(f'{len(index):,} packages are stored and can be searched, after {time.perf_counter() - start:.1f} s.\n')
        if options.like:
            like = index[options.like]
            say(f'No question is asked: these are nearest to {like.id}, itself included.\n')
            show('By description', index.find(like, search_field='embedding', limit=options.limit))
            show('By name alone', index.find(like, search_field='name__embedding', limit=options.limit))
            return
        before = index.find_batched(questions, search_field='embedding', limit=options.limit)
        for number, docs, scores in zip(asked, before.documents, before.scores, strict=True):
            show(f'{number + 1}. {texts[number]}', FindResult(docs, scores))
        question = questions[0]
        by_name = index.find(question, search_field='name__embedding', limit=options.limit)
        show(f'{asked[0] + 1}. {question} (compared with the names alone)', by_name)
        small = fields_of(Package).size < 100_000
        found = index.find(question, search_field='embedding', limit=options.limit, filter=small)
        show(f'{asked[0] + 1}. {question} (only packages of less than 100 kB)', found)
        both = index.hybrid(question, search_field='embedding', limit=options.limit)
        show(f'{asked[0] + 1}. {question} (vectors and words together)', both, 'score')

    with HnswDocumentIndex[Package](work_dir=work_dir) as index:
        after = index.find_batched(questions, search_field='embedding', limit=options.limit)
        is_same = after.documents == before.documents and np.array_equal(after.scores, before.scores)
        say(f'Closed, reopened, asked again: {"the same" if is_same else "NOT THE SAME"} documents and distances.\n')

        best, *others = after.documents[0].id
        # Without the vector a model would be asked for that of the new description, which was never stored.
        index.update(best, description=question, embedding=minilm([question])[0])
        say(f'Updated {best}: its description is now the question, its vector that of the question.')
        del index[others]
        say(f'Deleted {", ".join(others) or "none"}; {len(index):,} packages are left. Asked again:\n')
        show(f'{asked[0] + 1}. {question}', index.find(question, search_field='embedding', limit=options.limit))
    if options.work_dir:
        say(f'The index stays in {work_dir}; the next run puts back what this one changed.')


def show(title: str, found: FindResult[Package], score: str = 'distance') -> None:
    table = Table(score, 'package', 'section', 'description', title=title, title_justify='left', box=SIMPLE_HEAD)
    for package, distance in zip(found.documents, found.scores, strict=True):
        table.add_row(f'{distance:.3f}', package.name.text, package.section, package.description)
    say(table, soft_wrap=False)


def choose(question: str, texts: list[str]) -> int:
    """Return which of the stored questions is meant: no model is here to embed a new one."""
    if question.isdecimal() and 1 <= int(question) <= len(texts):
        return int(question) - 1
    shared = [len(words(question) & words(text)) / len(words(question) | words(text)) for text in texts]
    best = int(np.argmax(shared))
    if not shared[best]:
        sys.exit(f'No stored question has the number or a word of {question!r}. There are:\n{numbered(texts)}')
    if question != texts[best]:
        say(f'No embedding model is here to ask {question!r}. Asking the stored question with the nearest words: ')
        say(f'{best + 1}. {texts[best]}\n')
    return best


def words(text: str) -> set[str]:
    return set(re.findall(r'\w+', text.lower())) - {'a', 'and', 'for', 'from', 'in', 'of', 'the', 'to', 'with'}


def numbered(texts: list[str]) -> str:
    return '\n'.join(f'{number:>4}  {text}' for number, text in enumerate(texts, 1))


def read_questions(data: Path) -> list[str]:
    texts: list[str] = json.loads((data / 'queries.json').read_text())
    minilm.add(texts, np.load(data / 'queries.npz')['text'])
    return texts


def read_packages(data: Path) -> list[Package]:
    with gzip.open(data / 'packages.jsonl.gz', 'rt', encoding='utf-8') as lines:
        rows = [json.loads(line) for line in lines]
    vectors = np.load(data / 'embeddings.npz')
    minilm.add([f'{row["name"]}: {row["description"]}' for row in rows], vectors['description'])
    minilm.add([row['name'] for row in rows], vectors['name'])
    return [Package(id=row['name'], name=Name(text=row.pop('name')), **row) for row in rows]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('question', nargs='*', help='the number or some words of a stored question')
    parser.add_argument('--like', metavar='PACKAGE', help='instead of a question: what is similar to this package')
    parser.add_argument('--list', action='store_true', help='list the stored questions')
    parser.add_argument('--limit', type=int, default=3, help='how many answers to each question (3)')
    parser.add_argument('--work-dir', type=Path, help='where to keep the index (a temporary directory)')
    parser.add_argument('--data', type=Path, default=Path(__file__).with_name('data'), help='other data of this format')
    options = parser.parse_args()
    if options.limit < 1 or (options.like and options.question):
        parser.error('--limit must be at least 1' if options.limit < 1 else 'either questions or --like, not both')
    with tempfile.TemporaryDirectory() as temporary:
        try:
            main(options, options.work_dir or Path(temporary))
        except (DocIndexError, OSError) as error:
            sys.exit(f'{parser.prog}: {error}')
