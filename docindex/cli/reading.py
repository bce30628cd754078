"""The commands that only read: `info`, `get`, `find`, `filter`, `count`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import BaseModel

from ..display import Shown, show, size_as_text
from ..errors import QueryError, VectorError
from ..hnsw.index import HnswDocumentIndex
from ..hnsw.stats import FieldStats, IndexStats
from ..refusals import unknown_of
from ..tensors import as_array
from .app import PROBLEM, AsJson, Directory, FilterOption, Schema, command, fail, opened, without
from .output import is_json, write_documents, write_found, write_json

Limit = Annotated[int, typer.Option(metavar='COUNT', help='At most so many documents.', min=1)]
Select = Annotated[
    list[str] | None,
    typer.Option(
        '--select', '-s', metavar='FIELD', help='Show this field only; may be repeated. Nested ones: author__name.'
    ),
]


@command()
def info(
    directory: Directory,
    recall: Annotated[
        bool, typer.Option('--recall', help='Also measure which share of the true neighbours searches find.')
    ] = False,
    schema: Schema = None,
    as_json: AsJson = None,
) -> None:
    """
    Show the schema, how many documents and vectors there are, sizes and settings. The index may be in use.

    --recall measures recall@10, with queries beside stored vectors.
    """
    with opened(directory, schema, read_only=True, lazy=True) as index:
        stats = index.stats()
        recalls: dict[str, float | None] = {
            name: index.recall(name) if field.vectors > 1 else None for name, field in stats.fields.items() if recall
        }
        unknown = unknown_of(index._schema.doc_type)
        if is_json(as_json):
            about = {'name': stats.name, 'work_dir': str(stats.work_dir), 'documents': stats.documents}
            fields = {name: _numbers(field) for name, field in stats.fields.items()}
            schema_ = {'schema': index._schema.describe(index._declared()), 'unknown': unknown}
            found = {'recall': recalls} if recall else {}
            write_json({**about, 'dead': stats.dead, 'fields': fields, 'files': stats.files, **schema_, **found})
            return
        summary = index._summary()
        show(stats.title.partition(';')[0], summary.schema)
        if stats.fields:
            show(Shown('Vectors', *_vectors(stats, recalls)), summary.columns)
        show(summary.disk)
        if unknown:
            typer.echo(f'Documents can be stored with their class only: {"; ".join(unknown)}.')


@command()
def get(
    directory: Directory,
    ids: Annotated[list[str], typer.Argument(metavar='ID...', help='The ids of documents.')],
    select: Select = None,
    schema: Schema = None,
    as_json: AsJson = None,
) -> None:
    """Show the documents with these ids. If one is not there, the exit code is 1."""
    with opened(directory, schema, read_only=True, lazy=True) as index:
        docs = index.get(ids)
        write_documents(docs, _class_of(index), select or [], as_json)
    missing = [id_ for id_ in dict.fromkeys(ids) if id_ not in set(docs.id)]
    if missing:
        fail(f'there is no document {", ".join(map(repr, missing))}', PROBLEM)


@command()
def find(
    directory: Directory,
    like: Annotated[
        str | None, typer.Option(metavar='ID', help='What is near to this document, which is left out.')
    ] = None,
    vector: Annotated[
        Path | None,
        typer.Option(metavar='FILE', help='What is near to the vector in this file, .npy or a JSON list; - for JSON.'),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar='WORDS', help='What has these words; with --like or --vector: near, too.')
    ] = None,
    field: Annotated[
        str, typer.Option('--field', '-f', metavar='FIELD', help='The vector field to search, if there are several.')
    ] = '',
    text_field: Annotated[
        list[str] | None,
        typer.Option('--text-field', metavar='FIELD', help='The text to search, if not all; may be repeated.'),
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar='MODE', help='How words are searched: any, all, phrase, prefix or boolean.')
    ] = 'any',
    filter_: FilterOption = None,
    limit: Limit = 10,
    exact: Annotated[bool, typer.Option('--exact', help='Compare with every vector, without the graph.')] = False,
    ef: Annotated[
        int | None, typer.Option(metavar='COUNT', help='How many candidates to examine; more: slower, better.')
    ] = None,
    select: Select = None,
    schema: Schema = None,
    as_json: AsJson = None,
) -> None:
    """
    Find documents by a vector, by words, or by both.

    The score is a distance, smaller is nearer; with --text it is larger the better a document fits.
    """
    if like is None and vector is None and text is None:
        raise QueryError('what is to be found? Say --like ID, --vector FILE or --text "some words"')
    if like is not None and vector is not None:
        raise QueryError('--like and --vector exclude each other')
    with opened(directory, schema, read_only=True, lazy=True) as index:
        name = '' if like is None and vector is None else _field(index, field)
        query = _vector_of(index, name, like) if like is not None else _vector_in(vector)
        wanted = limit + (like is not None)
        words: dict[str, Any] = {'filter': filter_of(filter_), 'mode': mode}
        if query is None:
            without('where only words are searched', {'--field': field, '--exact': exact, '--ef': ef})
            found = index.text_search(text, text_field or '', wanted, **words)
        elif text is None:
            without('without --text', {'--text-field': text_field, '--mode': mode != 'any'})
            found = index.find(query, name, wanted, filter=words['filter'], exact=exact, ef=ef)
        else:
            without('where words are searched, too', {'--exact': exact, '--ef': ef})
            found = index.hybrid(text, query, name, text_field or '', wanted, **words)
        others = [at for at, doc in enumerate(found.documents) if like is None or doc.id != like][:limit]
        docs = found.documents[others]
        write_found(docs, found.scores[others], docs.doc_type or _class_of(index), select or [], as_json)


@command(name='filter')
def filter_(
    directory: Directory,
    query: Annotated[
        str, typer.Argument(metavar='FILTER', help="""As JSON: '{"size": {"$lt": 1000}}'; see docs/filters.md.""")
    ] = '{}',
    limit: Limit = 10,
    every: Annotated[bool, typer.Option('--all', help='All documents that match, however many.')] = False,
    sort: Annotated[str, typer.Option(metavar='FIELD', help='In the order of this field.')] = '',
    descending: Annotated[bool, typer.Option('--descending', help='The largest first.')] = False,
    select: Select = None,
    schema: Schema = None,
    as_json: AsJson = None,
) -> None:
    """Show documents that match a filter, in the order in which they were stored."""
    with opened(directory, schema, read_only=True, lazy=True) as index:
        steps = index.build_query().filter(filter_of(query))
        steps = steps.sort(sort, descending=descending) if sort else steps
        found = index.execute_query((steps if every else steps.limit(limit)).build())
        write_documents(found.documents, _class_of(index), select or [], as_json)


@command()
def count(
    directory: Directory,
    query: Annotated[str, typer.Argument(metavar='FILTER', help='As for the command filter; none: all.')] = '{}',
    schema: Schema = None,
) -> None:
    """Say how many documents match a filter."""
    with opened(directory, schema, read_only=True, lazy=True) as index:
        typer.echo(index.count(filter_of(query)))


def filter_of(text: str | None) -> Any:
    """
    Return the filter that was typed.

    Raises:
        QueryError: it is no JSON, or nested too deeply.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise QueryError(
            f"""the filter is no JSON: {error}; it begins like '{{"section": "games"}}', in single quotes"""
        ) from error
    except RecursionError:
        raise QueryError('this filter is nested too deeply') from None


def _numbers(field: FieldStats) -> dict[str, Any]:
    """Return what is in the directory of a vector field, as JSON types."""
    numbers = {name: getattr(field, name) for name in ('vectors', 'dead', 'vector_bytes', 'graph_bytes')}
    return {**numbers, 'settings': dict(field.settings)}


def _vectors(stats: IndexStats, recalls: Mapping[str, float | None]) -> tuple[list[str], list[list[Any]]]:
    """Return the names and the rows of a table of the vector fields."""
    names = ['field', 'vectors', 'dead', 'vector file', 'graph file', *(['recall@10'] if recalls else [])]
    rows: list[list[Any]] = []
    for name, one in stats.fields.items():
        sizes = [size_as_text(one.vector_bytes), size_as_text(one.graph_bytes)]
        share = recalls.get(name)
        measured = ['' if share is None else f'{share:.3f}'] if recalls else []
        rows.append([name, f'{one.vectors:,}', f'{one.dead:,}', *sizes, *measured])
    return names, rows


def _class_of(index: HnswDocumentIndex[Any]) -> type[BaseModel]:
    return index._schema.doc_type


def _field(index: HnswDocumentIndex[Any], field: str) -> str:
    """Return the vector field that is meant."""
    known = list(index.stats().fields)
    if field in known or (not field and len(known) == 1):
        return field or known[0]
    said = f'there is no vector field {field!r}' if field else 'say --field, for there are several vector fields'
    raise QueryError(f'{said}: {", ".join(known)}' if known else 'there is no vector field to search; use --text')


def _vector_of(index: HnswDocumentIndex[Any], field: str, id_: str) -> Any:
    """Return the vector that a document has in a field."""
    level = index._schema.level_of(field)
    doc = (index.subindex(level.name) if level.name else index)[id_]
    vector = level.schema.columns[level.name_of(field)].value(doc)
    if vector is None:
        raise QueryError(f'the document {id_!r} has no vector in {field}')
    return vector


def _vector_in(path: Path | None) -> Any:
    """Return the vector in a file; None: no file."""
    if path is None:
        return None
    try:
        if path.suffix == '.npy':
            with path.open('rb') as file:
                found = np.load(file)
        else:
            found = np.asarray(json.loads(sys.stdin.read() if str(path) == '-' else path.read_text()))
    except OSError:
        raise
    except Exception as error:  # numpy's for damaged files: EOFError, TokenError, BadZipFile, MemoryError
        raise VectorError(f'{path} is neither an .npy file nor a JSON list of numbers: {error}') from error
    found = as_array(found)
    found = found[0] if found.ndim == 2 and len(found) == 1 else found
    if found.ndim != 1:
        raise VectorError(f'{path} has an array of shape {found.shape}; one vector is needed')
    return found
