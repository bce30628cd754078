"""The commands for documents on their way in and out: `index`, `export`, `delete`, `import-docarray`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .._later import later
from ..errors import LoadError, QueryError, SchemaError
from ..index import BATCH_SIZE
from ..refusals import check_known
from .app import PROBLEM, Directory, FilterOption, Format, Schema, Wait, class_of, command, fail, opened
from .output import documents
from .reading import filter_of


@command(interrupted='the same command goes on where it was')
def index(
    directory: Annotated[
        Path,
        typer.Argument(metavar='DIR', help='The directory of the index; with --schema, made if it does not exist.'),
    ],
    file: Annotated[
        Path, typer.Argument(metavar='FILE', help='A Parquet, Arrow, JSON lines or CSV file; - for standard input.')
    ],
    schema: Schema = None,
    format: Format = None,  # noqa: A002 (the option's name)
    batch_size: Annotated[
        int, typer.Option(metavar='COUNT', help='How many rows are one transaction.', min=1)
    ] = BATCH_SIZE,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar='COLUMN=FIELD', help='Read a column of the file into this field; may be repeated.'),
    ] = None,
    skip: Annotated[bool, typer.Option('--skip', help='Leave out bad rows, and list them.')] = False,
    wait: Wait = 0,
) -> None:
    """
    Store the rows of a file: new documents, or in the place of those with their ids.

    A load of a file that was interrupted goes on where it was. Standard input is JSON lines, unless --format says
    otherwise; it is read to its end first.
    """
    is_new = not (directory / 'documents.sqlite3').exists()
    if schema is None and is_new:
        raise SchemaError(f'there is no index in {directory} yet; to make one, say --schema module:Class')
    with _readable(file, format) as source, opened(directory, schema, wait=wait) as opened_index:
        check_known(opened_index._schema.doc_type)
        try:
            report = opened_index.index_from(
                source,
                batch_size=batch_size,
                format=format,
                rename=dict(map(_renamed, rename or [])),
                on_error='skip' if skip else 'raise',
                resume=source == file,
                show_progress=None,
            )
        except LoadError as error:
            error.args = (error.args[0].replace(str(source), _shown(file)), *error.args[1:])
            raise
    typer.echo(str(report).replace(str(source), _shown(file)))
    raise typer.Exit(PROBLEM if report.skipped else 0)


@command()
def export(
    directory: Directory,
    file: Annotated[
        Path,
        typer.Argument(
            metavar='FILE',
            help='The file: .parquet, .arrow, .jsonl, .json, .csv; texts also .gz. - for standard output.',
        ),
    ],
    filter_: FilterOption = None,
    schema: Schema = None,
    format: Format = None,  # noqa: A002
) -> None:
    """
    Write documents, with their vectors, to a file. The index may be in use.

    The file appears when it is complete. Standard output is JSON lines, unless --format says otherwise.
    """
    to_stdout = str(file) == '-'
    with tempfile.TemporaryDirectory() as temporary, opened(directory, schema, read_only=True, lazy=True) as index:
        path = Path(temporary) / 'documents' if to_stdout else file
        format = format or ('jsonl' if to_stdout else None)  # noqa: A001
        written = index.export(path, format=format, filter=filter_of(filter_), show_progress=None)
        if to_stdout:
            sys.stdout.flush()
            with path.open('rb') as copied:
                shutil.copyfileobj(copied, sys.stdout.buffer)
    where = 'standard output' if to_stdout else file
    typer.echo(f'{documents(written)} written to {where}', err=to_stdout)


@command()
def delete(
    directory: Directory,
    ids: Annotated[list[str] | None, typer.Argument(metavar='ID...', help='The ids of documents.')] = None,
    filter_: FilterOption = None,
    yes: Annotated[
        bool, typer.Option('--yes', '-y', help='Do not ask, on a terminal, before --filter deletes.')
    ] = False,
    schema: Schema = None,
    wait: Wait = 0,
) -> None:
    """Delete documents by their ids, or all that match a filter. If an id is not there, the exit code is 1."""
    if bool(ids) == (filter_ is not None):
        raise QueryError('say which documents: either ids, or --filter')
    query = filter_of(filter_)
    with opened(directory, schema, wait=wait, lazy=True) as index:
        is_asked = query is not None and not yes and sys.stdin.isatty()
        if is_asked and not typer.confirm(f'Delete {index.count(query):,} of {documents(len(index))}?'):
            fail('nothing was deleted', PROBLEM)
        missing: list[str] = []
        with index.batch():
            if query is not None:
                ids = index.execute_query(index.build_query().filter(query).select('id').build()).documents.id
            wanted = list(dict.fromkeys(ids or []))
            missing = [id_ for id_ in wanted if id_ not in index] if query is None else []
            deleted = index.delete(wanted)
    typer.echo(f'{documents(deleted)} deleted')
    if missing:
        typer.echo(f'docindex: there is no document {", ".join(map(repr, missing))}', err=True)
        raise typer.Exit(PROBLEM)


@command(name='import-docarray', interrupted='what was imported is in NEW, and --resume goes on')
def import_docarray(
    old: Annotated[
        Path, typer.Argument(metavar='OLD', help='The directory of a DocArray index.', exists=True, file_okay=False)
    ],
    new: Annotated[
        Path, typer.Argument(metavar='NEW', help='The directory of the new index, which must hold no documents yet.')
    ],
    schema: Annotated[str, typer.Option(metavar='MODULE:CLASS', help='The class of the documents.')],
    batch_size: Annotated[int, typer.Option(metavar='COUNT', help='Documents in one transaction.', min=1)] = 1000,
    skip_errors: Annotated[
        bool, typer.Option('--skip-errors', help='Leave out what cannot be read, and go on.')
    ] = False,
    resume: Annotated[
        bool, typer.Option('--resume', help='NEW holds documents; replace those with the same id.')
    ] = False,
) -> None:
    """Import the work directory of DocArray's HnswDocumentIndex, which is only read."""
    report = later('fromdocarray.importing').import_docarray(
        old,
        new,
        class_of(schema),
        batch_size=batch_size,
        on_error='skip' if skip_errors else 'raise',
        resume=resume,
        show_progress=None,
    )
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_complete else PROBLEM)


@contextmanager
def _readable(file: Path, format_: str | None) -> Iterator[Path]:
    """Give a file that can be read more than once: standard input is copied into one."""
    if str(file) != '-':
        yield file
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f'stdin.{format_ or "jsonl"}'
        with path.open('wb') as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield path


def _shown(file: Path) -> str:
    return 'standard input' if str(file) == '-' else str(file)


def _renamed(text: str) -> tuple[str, str]:
    column, equals, field = text.partition('=')
    if not (column and equals and field):
        raise QueryError(f'--rename {text}: expected COLUMN=FIELD, as in --rename text=description')
    return column, field
