"""What all commands have in common: their options, how a directory is opened, how errors and interrupts end them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, cast

import typer
from pydantic import BaseModel

from ..errors import CorruptIndexError, DocIndexError, DocumentNotFoundError, LoadError, QueryError, SchemaError
from ..hnsw.classless import open_index
from ..hnsw.index import HnswDocumentIndex

P = ParamSpec('P')

PROBLEM, UNUSABLE, INTERRUPTED = 1, 2, 130
"""Exit codes; see the docstring of `docindex.cli`."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Directory = Annotated[
    Path, typer.Argument(metavar='DIR', help='The directory of the index.', exists=True, file_okay=False)
]
Schema = Annotated[
    str | None,
    typer.Option(
        metavar='MODULE:CLASS',
        help='The class of the documents, from a module here or installed; without it, what the directory says of it.',
    ),
]
Wait = Annotated[
    float, typer.Option(metavar='SECONDS', help='How long to wait for another process that writes.', min=0)
]
AsJson = Annotated[
    bool | None,
    typer.Option('--json/--table', help='JSON lines, or tables; otherwise JSON on a pipe, tables on a terminal.'),
]
Format = Annotated[
    str | None, typer.Option(metavar='FORMAT', help='parquet, arrow, jsonl, json or csv, if the name does not say.')
]
FilterOption = Annotated[
    str | None,
    typer.Option(
        '--filter',
        metavar='FILTER',
        help="""Only documents that match, as JSON: '{"size": {"$lt": 1000}}'; see docs/filters.md.""",
    ),
]


@app.callback()
def docindex() -> None:
    """Look into the directory of an index, search it, change it, look after it."""


def command(
    interrupted: str = 'nothing is half done', name: str | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """
    Make a command of a function: an error is one line and an exit code, and so is Ctrl-C.

    Args:
        interrupted: What to say after Ctrl-C.
        name: The command, if it is not called like the function.
    """

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*arguments: P.args, **named: P.kwargs) -> None:
            try:
                function(*arguments, **named)
                sys.stdout.flush()
            except (KeyboardInterrupt, typer.Abort):  # the latter where a question was to be answered
                fail(f'interrupted; {interrupted}', INTERRUPTED)
            except BrokenPipeError:
                # Whoever reads has enough, as `head` has; what is left in the buffer must not be complained of at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            except DocumentNotFoundError as error:
                fail(f'there is no document {", ".join(map(repr, error.ids))}', PROBLEM)
            except (CorruptIndexError, LoadError) as error:
                fail(str(error), PROBLEM)
            except (DocIndexError, OSError) as error:
                fail(str(error), UNUSABLE)

        return app.command(name)(run)

    return decorate


def fail(message: str, code: int) -> NoReturn:
    """End the program with a line and an exit code."""
    typer.echo(f'docindex: {" ".join(message.split())}', err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    _open_streams()
    try:
        sys.exit(app(prog_name='docindex', standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        # What has been typed makes no sense. Older versions of typer raise errors of click, newer ones their own.
        if not hasattr(error, 'format_message'):
            raise
        context = getattr(error, 'ctx', None)
        where = context.command_path if context is not None else 'docindex'
        message = ' '.join(error.format_message().split())
        if message:  # none: there were no arguments, and the help was shown
            typer.echo(f'docindex: {message.removesuffix(".")}; see {where} --help', err=True)
        sys.exit(UNUSABLE)


def _open_streams() -> None:
    """Let all that is printed go out: signs that standard output has not are escaped."""
    # Whoever has started this may have closed some; no file of an index is to get their numbers.
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    cast('TextIOWrapper', sys.stdout).reconfigure(errors='backslashreplace')


@contextmanager
def opened(directory: Path, schema: str | None, *, wait: float = 0, **how: Any) -> Iterator[HnswDocumentIndex[Any]]:
    """Open an index, with its class if that is said; `how` is as for `open_index`."""
    how['lock_timeout'] = wait
    if schema is None:
        with open_index(directory, **how) as index:
            yield index
    else:
        with index_of(schema)(work_dir=directory, **how) as index:
            yield index


def index_of(schema: str) -> type[HnswDocumentIndex[Any]]:
    """Return the class of an index for `module:Class`."""
    return cast('type[HnswDocumentIndex[Any]]', HnswDocumentIndex[class_of(schema)])  # type: ignore[misc]


def class_of(schema: str) -> type[BaseModel]:
    """Return the document class `module:Class`; modules of the current directory come first."""
    module, _, name = schema.partition(':')
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last for `.name:Class`
        raise SchemaError(f'--schema {schema}: expected module:Class, and there is none: {error}') from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise SchemaError(f'--schema {schema}: this is no document class')
    return found


def without(what: str, options: dict[str, object]) -> None:
    """
    Check that no option is given that has no meaning for `what`.

    Raises:
        QueryError: one is; the message names it.
    """
    for name, value in options.items():
        if value:
            raise QueryError(f'{name} has no meaning {what}')
