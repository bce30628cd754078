"""
The command `docindex`: what can be done to a directory, mostly without the Python class of its documents.

Exit codes: 0 done, and sound; 1 something is damaged, does not fit or was left out; 2 the directory cannot be used, or
the command makes no sense; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from pydantic import BaseModel

from .errors import CorruptIndexError, DocIndexError, LoadError, SchemaError
from .fromdocarray import importing as fromdocarray
from .hnsw.check import verify
from .hnsw.index import HnswDocumentIndex
from .hnsw.state import Access
from .hnsw.store import Store
from .index import BATCH_SIZE

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Directory = Annotated[Path, typer.Argument(help='The directory of the index.', exists=True, file_okay=False)]
Wait = Annotated[float, typer.Option(help='Seconds to wait for another process that writes.', min=0)]


@app.callback()
def docindex() -> None:
    """Look after the directory of an index."""


@app.command()
def check(
    directory: Directory,
    repair: Annotated[bool, typer.Option('--repair', help='Mend the graphs; needs the index closed.')] = False,
    wait: Wait = 0,
) -> None:
    """Read everything, and list every document that is damaged. The index may be in use."""
    access = Access(is_tolerant=True) if repair else Access(read_only=True, is_tolerant=True)
    with _opened(directory, access, wait) as store:
        report = verify(store, None, None, repair, show_progress=None)
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_sound else 1)


@app.command()
def compact(directory: Directory, wait: Wait = 0) -> None:
    """Give back the room of what was deleted or replaced. The index has to be closed."""
    with _opened(directory, Access(), wait) as store:
        before = len(store.state.labels.dead)
        store.compact(show_progress=None)
        typer.echo(f'{store.state.labels.documents():,} documents; {before:,} dead versions are gone')


@app.command()
def backup(
    directory: Directory,
    target: Annotated[Path, typer.Argument(help='A directory that is empty or does not exist.')],
    wait: Wait = 0,
) -> None:
    """Copy an index into another directory. The index has to be closed; index.backup() copies one that is open."""
    with _opened(directory, Access(), wait) as store:
        store.backup(target, show_progress=None)
        typer.echo(f'{store.state.labels.documents():,} documents copied to {target}')


Schema = Annotated[str, typer.Option(help='The class of the documents, as module:Class.')]
Format = Annotated[str | None, typer.Option(help='parquet, arrow, jsonl, json or csv, if the name does not say.')]


@app.command()
def index(
    directory: Annotated[Path, typer.Argument(help='The directory of the index; made if it does not exist.')],
    file: Annotated[Path, typer.Argument(help='A Parquet, Arrow, JSON lines or CSV file.')],
    schema: Schema,
    format: Format = None,  # noqa: A002 (the option's name)
    batch_size: Annotated[int, typer.Option(help='How many rows are one transaction.', min=1)] = BATCH_SIZE,
    skip: Annotated[bool, typer.Option('--skip', help='Leave out bad rows, and list them.')] = False,
    wait: Wait = 0,
) -> None:
    """Store the rows of a file; a load that was interrupted goes on where it was."""
    try:
        with _errors(), _index_of(schema)(work_dir=directory, lock_timeout=wait) as opened:
            report = opened.index_from(
                file, batch_size=batch_size, format=format, on_error='skip' if skip else 'raise', show_progress=None
            )
    except KeyboardInterrupt:
        typer.echo(f'docindex: interrupted; the same command goes on where {file} was', err=True)
        raise typer.Exit(130) from None
    typer.echo(str(report))
    raise typer.Exit(1 if report.skipped else 0)


@app.command()
def export(
    directory: Directory,
    file: Annotated[Path, typer.Argument(help='The file: .parquet, .arrow, .jsonl, .json, .csv; texts also .gz.')],
    schema: Schema,
    format: Format = None,  # noqa: A002
) -> None:
    """Write all documents, with their vectors, to a file. The index may be in use."""
    with _errors(), _index_of(schema)(work_dir=directory, read_only=True) as opened:
        count = opened.export(file, format=format, show_progress=None)
    typer.echo(f'{count:,} documents written to {file}')


@app.command()
def import_docarray(
    old: Annotated[
        Path, typer.Argument(metavar='OLD', help='The directory of a DocArray index.', exists=True, file_okay=False)
    ],
    new: Annotated[
        Path, typer.Argument(metavar='NEW', help='The directory of the new index, which must hold no documents yet.')
    ],
    schema: Schema,
    batch_size: Annotated[int, typer.Option(help='Documents in one transaction.', min=1)] = 1000,
    skip_errors: Annotated[
        bool, typer.Option('--skip-errors', help='Leave out what cannot be read, and go on.')
    ] = False,
    resume: Annotated[
        bool, typer.Option('--resume', help='NEW holds documents; replace those with the same id.')
    ] = False,
) -> None:
    """Import the work directory of DocArray's HnswDocumentIndex, which is only read."""
    try:
        with _errors():
            report = fromdocarray.import_docarray(
                old,
                new,
                _class_of(schema),
                batch_size=batch_size,
                on_error='skip' if skip_errors else 'raise',
                resume=resume,
                show_progress=None,
            )
    except KeyboardInterrupt:
        typer.echo(f'docindex: interrupted; what was imported is in {new}, and --resume goes on', err=True)
        raise typer.Exit(130) from None
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_complete else 1)


def _class_of(schema: str) -> type[BaseModel]:
    """Return the document class `module:Class`; modules of the current directory come first."""
    module, _, name = schema.partition(':')
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SchemaError(f'--schema {schema}: expected module:Class, and there is none: {error}') from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise SchemaError(f'--schema {schema}: this is no document class')
    return found


def _index_of(schema: str) -> type[HnswDocumentIndex[Any]]:
    return cast('type[HnswDocumentIndex[Any]]', HnswDocumentIndex[_class_of(schema)])  # type: ignore[misc]


@contextmanager
def _errors() -> Iterator[None]:
    """Let an error become one line and an exit code."""
    try:
        yield
    except (DocIndexError, OSError) as error:
        typer.echo(f'docindex: {error}', err=True)
        raise typer.Exit(1 if isinstance(error, (CorruptIndexError, LoadError)) else 2) from error


@contextmanager
def _opened(directory: Path, access: Access, wait: float) -> Iterator[Store]:
    """Open a directory with the schema it has; an error becomes one line and an exit code."""
    if not (directory / 'documents.sqlite3').exists():
        typer.echo(f'docindex: there is no index in {directory}: documents.sqlite3 is missing', err=True)
        raise typer.Exit(2)
    with _errors():
        store = Store(directory.resolve(), None, None, {}, access, wait)
        try:
            yield store
        finally:
            store.close()
