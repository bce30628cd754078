"""
The command `docindex`: what can be done to a directory, mostly without the Python class of its documents.

Exit codes: 0 done, and sound; 1 something is damaged, or was left out; 2 the directory cannot be used, or the command
makes no sense; 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from .errors import CorruptIndexError, DocIndexError
from .fromdocarray import importing as fromdocarray
from .hnsw.check import verify
from .hnsw.state import Access
from .hnsw.store import Store

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
        typer.echo(f'{store.state.labels.documents:,} documents; {before:,} dead versions are gone')


@app.command()
def backup(
    directory: Directory,
    target: Annotated[Path, typer.Argument(help='A directory that is empty or does not exist.')],
    wait: Wait = 0,
) -> None:
    """Copy an index into another directory. The index has to be closed; index.backup() copies one that is open."""
    with _opened(directory, Access(), wait) as store:
        store.backup(target)
        typer.echo(f'{store.state.labels.documents:,} documents copied to {target}')


@app.command()
def import_docarray(
    old: Annotated[
        Path, typer.Argument(metavar='OLD', help='The directory of a DocArray index.', exists=True, file_okay=False)
    ],
    new: Annotated[
        Path, typer.Argument(metavar='NEW', help='The directory of the new index, which must hold no documents yet.')
    ],
    schema: Annotated[
        str, typer.Option(metavar='MODULE:CLASS', help="The class of the documents, with docindex's types.")
    ],
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
        report = fromdocarray.import_docarray(
            old,
            new,
            _schema(schema),
            batch_size=batch_size,
            on_error='skip' if skip_errors else 'raise',
            resume=resume,
            show_progress=None,
        )
    except KeyboardInterrupt:
        typer.echo(f'docindex: interrupted; what was imported is in {new}, and --resume goes on', err=True)
        raise typer.Exit(130) from None
    except (DocIndexError, OSError) as error:
        raise _failed(error) from error
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_complete else 1)


def _schema(name: str) -> type[BaseModel]:
    """Return the class that `module:Class` names; the module may be in the current directory."""
    module, _, attribute = name.partition(':')
    if not (module and attribute):
        raise typer.BadParameter(f'expected module:Class, got {name!r}', param_hint='--schema')
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(str(error), param_hint='--schema') from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise typer.BadParameter(f'{name} is not a document class', param_hint='--schema')
    return found


@contextmanager
def _opened(directory: Path, access: Access, wait: float) -> Iterator[Store]:
    """Open a directory with the schema it has; an error becomes one line and an exit code."""
    if not (directory / 'documents.sqlite3').exists():
        typer.echo(f'docindex: there is no index in {directory}: documents.sqlite3 is missing', err=True)
        raise typer.Exit(2)
    try:
        store = Store(directory.resolve(), None, None, {}, access, wait)
        try:
            yield store
        finally:
            store.close()
    except (DocIndexError, OSError) as error:
        raise _failed(error) from error


def _failed(error: Exception) -> typer.Exit:
    """Print an error as one line, and return the exit that belongs to it."""
    typer.echo(f'docindex: {error}', err=True)
    return typer.Exit(1 if isinstance(error, CorruptIndexError) else 2)
