"""The command `copy`, between directories and servers."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..copying import copy_index
from ..hnsw.classless import open_index
from ..hnsw.index import HnswDocumentIndex
from ..index import DocumentIndex
from .app import PROBLEM, FilterOption, Schema, class_of, command
from .reading import filter_of

_TOKEN = 'DOCINDEX_MILVUS_TOKEN'


@command(interrupted='the same command goes on where it was')
def copy(
    source: Annotated[
        str, typer.Argument(metavar='SOURCE', help='A directory, or milvus://host:19530/name; see TARGET.')
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar='TARGET',
            help='A directory, milvus://host:19530/name, milvus+https://host/name, or milvus:./file.db/name for Milvus '
            f'Lite; made if it does not exist. The token of a server is in the environment, {_TOKEN}.',
        ),
    ],
    filter_: FilterOption = None,
    mirror: Annotated[
        bool, typer.Option('--mirror', help='Delete from the target what the source does not have.')
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar='COUNT', help='How many are copied at once.', min=1)] = 1_000,
    sample: Annotated[int, typer.Option(metavar='COUNT', help='How many to compare at the end.', min=0)] = 100,
    schema: Schema = None,
) -> None:
    """
    Copy all documents of an index into another, and compare the two.

    What the target has already is compared instead of written; a copy that was interrupted goes on so.
    """
    doc_type: Any = None if schema is None else class_of(schema)
    with (
        _opened(source, doc_type, is_source=True) as first,
        _opened(target, doc_type or first._documents_class(), is_source=False) as second,
    ):
        report = copy_index(
            first,
            second,
            filter=filter_of(filter_),
            mirror=mirror,
            batch_size=batch_size,
            sample=sample,
            show_progress=None,
        )
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_complete else PROBLEM)


def _opened(place: str, doc_type: Any, is_source: bool) -> AbstractContextManager[DocumentIndex[Any]]:
    """Open a directory or an index on a server; one that is read need not say its class."""
    if place.startswith('milvus'):
        from ..milvus.classless import open_milvus
        from ..milvus.config import config_of
        from ..milvus.index import MilvusDocumentIndex

        config = config_of(place).changed(token=os.environ.get(_TOKEN))
        if doc_type is None:
            return open_milvus(config)
        return MilvusDocumentIndex[doc_type](config)
    if doc_type is None:
        return open_index(Path(place), read_only=True)
    return HnswDocumentIndex[doc_type](work_dir=place, read_only=is_source)
