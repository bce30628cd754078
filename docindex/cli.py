"""
The command `docindex`: what can be done to a directory without the Python class of its documents.

Exit codes: 0 done, and sound; 1 something is damaged; 2 the directory cannot be used, or the command makes no sense.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .errors import CorruptIndexError, DocIndexError
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
        typer.echo(f'docindex: {error}', err=True)
        raise typer.Exit(1 if isinstance(error, CorruptIndexError) else 2) from error
