"""The commands that look after a directory: `check`, `compact`, `backup`, `tune`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..display import show
from ..errors import DocIndexError, WorkDirError
from ..hnsw.check import ReadDocument, verify
from ..hnsw.classless import Stored
from ..hnsw.extraction import Extractions
from ..hnsw.state import Access
from ..hnsw.store import Store
from ..hnsw.tree import Tree
from ..refusals import unknown_of
from ..schema import Schema as DocumentSchema
from .app import PROBLEM, AsJson, Directory, Schema, Wait, command, opened
from .output import documents, is_json, write_json


@command()
def check(
    directory: Directory,
    repair: Annotated[bool, typer.Option('--repair', help='Mend the graphs; needs the index closed.')] = False,
    wait: Wait = 0,
) -> None:
    """
    Read everything, and list every document that is damaged. The index may be in use.

    What filters look at is compared with the documents if all is known of their class; else a line says that it is not.
    Full text is compared in a copy of documents.sqlite3, among the temporary files of the system.
    """
    access = Access(is_tolerant=True) if repair else Access(read_only=True, is_tolerant=True)
    with _store(directory, access, wait) as store:
        read, extractions, unknown = _readers(directory)
        report = verify(store, read, extractions, repair, show_progress=None)
    typer.echo(str(report))
    if unknown:
        typer.echo(f'What filters look at was not compared, which takes the class and index.verify(): {unknown}.')
    raise typer.Exit(0 if report.is_sound else PROBLEM)


@command(interrupted='the index is as it was')
def compact(directory: Directory, wait: Wait = 0) -> None:
    """Give back the room of what was deleted or replaced. The index has to be closed."""
    with _store(directory, Access(), wait) as store:
        before = len(store.state.labels.dead)
        store.compact(show_progress=None)
        typer.echo(f'{documents(store.state.labels.documents())}; {before:,} dead versions are gone')


@command(interrupted='the copy is not complete; remove it')
def backup(
    directory: Directory,
    target: Annotated[Path, typer.Argument(metavar='TARGET', help='A directory that is empty or does not exist.')],
    wait: Wait = 0,
) -> None:
    """Copy an index into another directory. The index has to be closed; index.backup() copies one that is open."""
    with _store(directory, Access(), wait) as store:
        store.backup(target, show_progress=None)
        typer.echo(f'{documents(store.state.labels.documents())} copied to {target}')


@command(interrupted='nothing was stored')
def tune(
    directory: Directory,
    field: Annotated[
        str, typer.Option('--field', '-f', metavar='FIELD', help='The vector field, if there are several.')
    ] = '',
    recall: Annotated[
        float, typer.Option(metavar='SHARE', help='Which share of the true neighbours is to be found.', min=0, max=1)
    ] = 0.95,
    limit: Annotated[int, typer.Option(metavar='COUNT', help='Of how many nearest neighbours.', min=1)] = 10,
    sample: Annotated[
        int, typer.Option(metavar='COUNT', help='Beside how many stored vectors to search.', min=1)
    ] = 1000,
    measure: Annotated[bool, typer.Option('--measure', help='Only measure; the index may be in use.')] = False,
    schema: Schema = None,
    wait: Wait = 0,
    as_json: AsJson = None,
) -> None:
    """
    Find the smallest ef with which searches reach a recall, and let them use it from now on.

    If none is enough, nothing is stored, and the exit code is 1.
    """
    with opened(directory, schema, wait=wait, read_only=measure) as index:
        found = index.tune(field, recall, limit=limit, sample=sample, store=not measure)
    if is_json(as_json):
        curve = [point._asdict() for point in found.curve]
        outcome = {'ef': found.ef, 'recall': found.recall, 'is_reached': found.is_reached}
        write_json({'search_field': found.search_field, **outcome, 'is_stored': found.is_stored, 'curve': curve})
    else:
        show(found)
    raise typer.Exit(0 if found.is_reached else PROBLEM)


@contextmanager
def _store(directory: Path, access: Access, wait: float) -> Iterator[Store]:
    """Open a directory with the schema it has, and as well as it can be."""
    if not (directory / 'documents.sqlite3').exists():
        raise WorkDirError('there is no index here: documents.sqlite3 is missing', directory)
    store = Store(directory.resolve(), None, None, {}, access, wait)
    try:
        yield store
    finally:
        store.close()


def _readers(directory: Path) -> tuple[ReadDocument | None, Extractions | None, str]:
    """Return what reads documents, and what filters look at; None, and why, if the class is not known well enough."""
    try:
        stored = Stored.of(directory)
    except DocIndexError as error:  # damaged; what can be checked without is checked
        return None, None, str(error)
    unknown = unknown_of(stored.doc_type)
    if unknown:
        return None, None, '; '.join(unknown)
    dims = {field: given['dim'] for field, given in stored.declared.items()}
    tree = Tree(DocumentSchema(stored.doc_type), dims)
    return tree.reread, tree.extractions, ''
