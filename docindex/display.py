"""
How documents, lists of them, results and indexes show themselves: as text, as tables of rich, as HTML in notebooks.

What is shown is cut short in every direction: rows, columns, the length of a text. Printing a list of a million
documents takes no longer than printing ten.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from shutil import get_terminal_size
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import numpy as np
from pydantic import BaseModel

from .annotations import unwrap
from .doclist import DocList
from .embedding import declared_embeds
from .errors import TableError
from .fields import VectorSettings, declared_settings
from .frameworks import NUMPY, Array, framework_of
from .pictures import cell_as_html, lines_as_html, table_as_html, tree_as_html, vector_as_blocks
from .tables import is_document_type, rows_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_ROWS = 10
_COLUMNS = 12
_LONGEST_TEXT = 60
_NARROWEST = 20


# -- a value, in a few characters -----------------------------------------------------------------------------


def shortened(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Return a value as a short text in one line."""
    framework = framework_of(value)
    if framework is not None:
        tensor: Any = value
        kind = '' if framework is NUMPY else f' {framework.name}'
        name = framework.dtype(tensor)
        dtype = str(np.dtype(name)) if name[0] in '<>|' else name
        return f'{" x ".join(map(str, tensor.shape)) or "one"} {dtype}{kind}'
    if isinstance(value, (list, tuple, set, frozenset)) and any(isinstance(item, BaseModel) for item in value):
        return f'{len(value)} {type(next(iter(value))).__name__}{"s" if len(value) > 1 else ""}'
    if isinstance(value, DocList):
        return 'none'
    if isinstance(value, Enum):
        value = value.name
    if isinstance(value, (date, time, timedelta, Decimal, UUID)):
        value = str(value)
    text = value if isinstance(value, str) else repr(value[: 4 * longest] if isinstance(value, bytes) else value)
    # Before anything else looks at it: a text can have megabytes.
    text = re.sub(r'\s+', ' ', ''.join(c if c.isprintable() else ' ' for c in text[: 4 * longest])).strip()
    return text if len(text) <= longest else f'{text[: longest - 1]}…'


def _as_vector(value: object) -> Array | None:
    framework = framework_of(value)
    array = None if framework is None else framework.numbers(value)
    is_vector = array is not None and array.ndim == 1 and array.size > 0 and array.dtype.kind in 'biuf'
    return array if is_vector else None


def _in_terminal(value: object) -> str:
    vector = _as_vector(value)
    return shortened(value) if vector is None else f'{vector_as_blocks(vector)} {shortened(value)}'


# -- tables --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """
    A table that can be looked at: `str`, rich and notebooks each have their way.

    Attributes:
        title: What stands above it.
        columns: The names of its columns.
        rows: The values in it, as many rows as are shown.
        more: How many further rows there are.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: int = 0

    def __str__(self) -> str:
        texts = self._texts()
        widths = self._widths(texts, get_terminal_size((100, 24)).columns, 2)
        lines = ['  '.join(map(_fitted, row, widths)).rstrip() for row in texts]
        lines.insert(1, '  '.join('-' * width for width in widths))
        return '\n'.join([self.title, *lines, *self._notes(len(widths))])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        texts = self._texts()
        widths = self._widths(texts, options.max_width - 1, 3)
        table = Table(title=Text(self.title), title_justify='left')
        for name, width in zip(texts[0], widths, strict=False):
            table.add_column(Text(name), no_wrap=True, overflow='ellipsis', width=width)
        for row in texts[1:]:
            table.add_row(*map(Text, row[: len(widths)]))
        yield table
        for note in self._notes(len(widths)):
            yield Text(note, style='dim')

    def _repr_html_(self) -> str:
        rows = [[cell_as_html(shortened(cell), _as_vector(cell)) for cell in row[:_COLUMNS]] for row in self.rows]
        return table_as_html(self.title, self.columns[:_COLUMNS], rows, self._notes(_COLUMNS))

    def _texts(self) -> list[list[str]]:
        """Return the names of the columns, and the rows as texts."""
        return [list(self.columns[:_COLUMNS]), *([_in_terminal(cell) for cell in row[:_COLUMNS]] for row in self.rows)]

    def _widths(self, texts: list[list[str]], room: int, between: int) -> list[int]:
        """Return the widths of as many columns as there is room for; narrow ones are not cut."""
        wanted = [max(map(len, column)) for column in zip(*texts, strict=True)]
        widths: list[int] = []
        for width in wanted:
            least = min(width, _NARROWEST)
            if widths and sum(widths) + least + between * (len(widths) + 1) > room:
                break
            widths.append(least)
        free = room - sum(widths) - between * len(widths)
        for at, width in enumerate(widths):
            more = max(0, min(wanted[at] - width, free))
            widths[at] += more
            free -= more
        return widths

    def _notes(self, columns: int) -> list[str]:
        left_out = self.columns[columns:]
        notes = [f'… {self.more:,} more rows'] if self.more else []
        names = ', '.join(left_out[:_COLUMNS]) + (', …' if len(left_out) > _COLUMNS else '')
        return notes + ([f'… {len(left_out)} more columns: {names}'] if left_out else [])


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f'{text[: width - 1]}…'


def documents_as_table(
    docs: Sequence[Any],
    scores: Any = None,
    rows: int = _ROWS,
    title: str = '',
    columns: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Shown:
    """
    Return the first documents of a list as a table, with their scores if there are any.

    Args:
        docs: The documents.
        scores: One for each.
        rows: How many are shown.
        title: What stands above it; by default how many there are.
        columns: Names, and what gives their values; by default the fields of the documents.
    """
    first = list(docs[:rows])
    doc_type = getattr(docs, 'doc_type', None) or (type(first[0]) if len({type(doc) for doc in first}) == 1 else None)
    columns = columns or _columns(doc_type)
    names = [*(['score'] if scores is not None else []), *columns]
    cells = [[column(doc) for column in columns.values()] for doc in first]
    if scores is not None:
        cells = [[f'{score:.4g}', *row] for score, row in zip(scores, cells, strict=False)]
    name = 'DocList' if doc_type is None else f'DocList[{getattr(doc_type, "__name__", doc_type)}]'
    return Shown(title or f'{name} of {len(docs):,}', names, cells, len(docs) - len(first))


def _columns(doc_type: Any) -> Mapping[str, Any]:
    if is_document_type(doc_type):
        try:
            columns = rows_of(doc_type).columns
            # Ids of nested documents are seldom given, and long: they come last, where there may be no room.
            names = sorted(columns, key=lambda name: name.endswith('__id'))
            return {name: columns[name].value for name in names}
        except TableError:  # it has no flat names; it can be looked at all the same
            pass
    return {'document': lambda doc: doc}


def documents_as_html(docs: Sequence[Any]) -> str:
    """Return the first documents of a list as an HTML table."""
    return documents_as_table(docs)._repr_html_()


def result_as_table(result: Any) -> Shown:
    """Return what a search found as a table, the scores first."""
    title = f'{len(result.documents):,} found'
    if hasattr(result, 'root_documents'):
        title = f'{title}, in {len(set(result.root_documents.id)):,} documents'
    return documents_as_table(result.documents, result.scores, title=title)


def results_as_tables(results: Any) -> list[Shown]:
    """Return what the first queries of several found, one table each."""
    pairs = zip(results.documents[:5], results.scores[:5], strict=True)
    count = len(results.documents)
    return [
        documents_as_table(docs, scores, rows=3, title=f'query {at} of {count}: {len(docs):,} found')
        for at, (docs, scores) in enumerate(pairs, 1)
    ]


# -- trees ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branch:
    """A tree that can be looked at: a line, and the branches below it."""

    label: str
    branches: Sequence[Branch] = field(default=())

    def __str__(self) -> str:
        return '\n'.join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.label
        for branch in self.branches:
            is_last = branch is self.branches[-1]
            first, *others = branch._lines()
            yield ('└── ' if is_last else '├── ') + first
            yield from (('    ' if is_last else '│   ') + line for line in others)

    def __rich__(self) -> Any:
        from rich.text import Text
        from rich.tree import Tree

        tree = Tree(Text(self.label))
        for branch in self.branches:
            tree.children.append(branch.__rich__())
        return tree

    def _repr_html_(self) -> str:
        return f'<div class="docindex">{tree_as_html(self.label, self.branches)}</div>'


def document_as_tree(doc: BaseModel, name: str = '') -> Branch:
    """Return a document as a tree of its fields, with their types and the beginnings of their values."""
    id_ = getattr(doc, 'id', None)
    label = f'{name}{": " if name else ""}{type(doc).__name__}' + (
        f' {shortened(id_)!r}' if isinstance(id_, str) else ''
    )
    fields = [field for field in type(doc).model_fields if not (field == 'id' and isinstance(id_, str))]
    return Branch(label, [_value_as_tree(field, getattr(doc, field, None)) for field in fields])


def _value_as_tree(name: str, value: object) -> Branch:
    if isinstance(value, BaseModel):
        return document_as_tree(value, name)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], BaseModel):
        first = [document_as_tree(doc, str(at)) for at, doc in enumerate(value[:3]) if isinstance(doc, BaseModel)]
        more = [Branch(f'… {len(value) - 3:,} more')] if len(value) > 3 else []
        return Branch(f'{name}: {shortened(value)}', [*first, *more])
    if isinstance(value, np.ndarray):
        return Branch(f'{name}: {_in_terminal(value)}')
    shown = repr(shortened(value)) if isinstance(value, str) else shortened(value)
    return Branch(f'{name}: None' if value is None else f'{name}: {type(value).__name__} = {shown}')


def schema_as_tree(doc_type: type[BaseModel], within: tuple[type[Any], ...] = ()) -> Branch:
    """Return a document class as a tree of its fields, with their types and what the schema says about them."""
    inner = (*within, doc_type)
    branches = [
        _field_as_tree(field, info, f'{doc_type.__name__}.{field}', inner)
        for field, info in doc_type.model_fields.items()
    ]
    return Branch(doc_type.__name__, branches)


def _field_as_tree(name: str, info: Any, where: str, within: tuple[type[Any], ...]) -> Branch:
    said = [f'{key}={value!r}' for key, value in declared_settings(info, where).items()]
    embeds = declared_embeds(info)
    said += [] if embeds is None else [f'embeds={embeds.of!r}', f'with_={embeds.embedder.name}']
    settings = ', '.join(said)
    label = f'{name}: {_type_name(info.annotation)}' + (f'  ({settings})' if settings else '')
    classes = [cls for cls in _document_types(unwrap(info.annotation)[0]) if cls not in within]
    return Branch(label, [branch for cls in classes for branch in schema_as_tree(cls, within).branches])


def _document_types(annotation: Any) -> list[type[Any]]:
    if is_document_type(annotation):
        return [annotation]
    if isinstance(annotation, type) and issubclass(annotation, DocList):
        return _document_types(annotation.doc_type)
    if get_origin(annotation) in (list, tuple, Annotated, Union, UnionType):
        return [cls for inner in get_args(annotation) for cls in _document_types(inner)]
    return []


def _type_name(annotation: Any) -> str:
    # Without the modules of the classes; quotes are those of a Literal, in which a dot may be one.
    return re.sub(
        r"('[^']*')|\b[\w.<>]+\.(?=\w)", lambda match: match.group(1) or '', inspect.formatannotation(annotation)
    )


# -- an index ------------------------------------------------------------------------------------------------


class Sections:
    """Something that shows itself as a line, and trees and tables below it."""

    @property
    def title(self) -> str:
        """What it is, in a line."""
        raise NotImplementedError

    def _parts(self) -> Sequence[Branch | Shown]:
        raise NotImplementedError

    def __str__(self) -> str:
        return '\n\n'.join([self.title, *map(str, self._parts())])

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(self.title, style='bold'), *self._parts())

    def _repr_html_(self) -> str:
        parts = ''.join(part._repr_html_() for part in self._parts())
        return f'<div class="docindex">{tree_as_html(self.title, ())}{parts}</div>'


@dataclass(frozen=True)
class IndexSummary(Sections):
    """
    What an index is, and what it holds.

    Attributes:
        name: Its class, `HnswDocumentIndex[Book]`.
        doc_type: The document class.
        work_dir: The directory.
        documents: How many documents there are.
        lists: How many documents are in their lists, by the name of the list.
        vectors: The settings in force of each vector field.
        files: How many bytes its files have, by what is in them: documents, vectors, graphs.
    """

    name: str
    doc_type: type[BaseModel]
    work_dir: Path
    documents: int
    lists: Mapping[str, int]
    vectors: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, int]

    @cached_property
    def schema(self) -> Branch:
        """The document class as a tree."""
        return schema_as_tree(self.doc_type)

    @property
    def columns(self) -> Shown:
        """The vector fields and their settings, as a table."""
        names, usual = ['dim', 'space', 'M', 'ef_construction', 'ef', 'index'], VectorSettings().to_dict()
        names += [  # seldom set, and the table is wide
            name
            for name in ('index_dim', 'index_by', 'stored_as')
            if any(settings[name] != usual[name] for settings in self.vectors.values())
        ]
        rows = [[field, *(_setting(settings[name]) for name in names)] for field, settings in self.vectors.items()]
        return Shown('Vector fields', ['field', *names], rows)

    @property
    def disk(self) -> Shown:
        """How much room the files take, as a table."""
        return files_as_table(self.files)

    @property
    def title(self) -> str:
        """What it is, in a line."""
        inside = ''.join(f', {count:,} {name}' for name, count in self.lists.items())
        return f'{self.name}: {self.documents:,} documents{inside} in {str(self.work_dir)!r}'

    def _parts(self) -> list[Branch | Shown]:
        return [self.schema, *([self.columns] if self.vectors else []), self.disk]


def file_sizes(work_dir: Path) -> dict[str, int]:
    """Return how many bytes the files of a work directory have: of documents, vectors and graphs."""
    return {
        'documents': sum(map(bytes_of, work_dir.glob('documents.sqlite3*'))),
        'vectors': sum(map(bytes_of, work_dir.glob('vectors/*'))),
        'graphs': sum(map(bytes_of, work_dir.glob('graphs/*'))),
    }


def files_as_table(files: Mapping[str, int]) -> Shown:
    """Return how many bytes files have, by what is in them, as a table."""
    rows = [[kind, size_as_text(size)] for kind, size in files.items()]
    return Shown('On disk', ['files', 'size'], [*rows, ['all', size_as_text(sum(files.values()))]])


def bytes_of(path: Path) -> int:
    """Return how much room a file takes; 0 if it is not there."""
    try:
        found = path.stat()
        # Where documents in lists have vectors, the files of the others have holes, which take no room.
        return min(found.st_size, 512 * found.st_blocks) if hasattr(found, 'st_blocks') else found.st_size
    except FileNotFoundError:  # a writer has just put another in its place
        return 0


def _setting(value: Any) -> str:
    return 'automatic' if value is None else str(value)


def size_as_text(count: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ('bytes', 'kB', 'MB'):
        if count < 1000:
            return f'{count:.3g} {unit}' if unit != 'bytes' else f'{count} bytes'
        count /= 1000
    return f'{count:.3g} GB'


def explanation_as_html(explanation: Any) -> str:
    """Return how a query was answered as HTML."""
    return lines_as_html(str(explanation))


# -- printing ------------------------------------------------------------------------------------------------


def show(*things: object) -> None:
    """Print things that have a `__rich__` with rich if it is installed, else as text."""
    if find_spec('rich') is None:
        sys.stdout.write('\n'.join(map(str, things)) + '\n')
        return
    from rich.console import Console

    Console().print(*things, sep='\n')


def print_documents(docs: Sequence[Any]) -> None:
    """Print a list's schema and its first documents."""
    doc_type = getattr(docs, 'doc_type', None)
    schema = [schema_as_tree(doc_type)] if doc_type is not None and is_document_type(doc_type) else []
    show(*schema, documents_as_table(docs))
