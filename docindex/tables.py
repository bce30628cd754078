"""
A document class as the columns of a table, and rows as documents.

Nested documents are flattened: the title of a book's author is the column `author__title`, as in DocArray. Lists of
documents stay in one column. Whether a cell is a number, a tensor or some JSON is its `Form`; how a form looks in Arrow
or in CSV is known by the modules for these (`docindex.arrow`, `docindex.texts`, `docindex.frames`).

Values that have no form of their own (dicts, unions, dataclasses, documents that contain themselves) are cells of JSON
that name their types as stored documents do, see `docindex.typed`.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, cached_property, partial
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import numpy as np
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError, create_model

from .annotations import is_ambiguous, members_of, unwrap
from .doclist import DocList
from .document import ID
from .errors import TableError
from .fields import declared_settings
from .frameworks import Array
from .refusals import explain
from .tensorjson import InlineTensors
from .tensors import is_tensor_type
from .typed import TypedJson
from .urls import AnyUrl

D = TypeVar('D', bound=BaseModel)

Kind = Literal[
    'str', 'bool', 'int', 'float', 'bytes', 'datetime', 'date', 'time', 'timedelta',
    'text', 'tensor', 'list', 'documents', 'presence', 'json',
]  # fmt: skip

EXTRA = 'model_extra'
"""The column with what documents of a class with `extra='allow'` hold beyond their fields."""

STRICT_TEXTS: tuple[Kind, ...] = ('timedelta', 'text', 'str')
"""The kinds whose values are texts in other formats, which a strict class does not take."""

BLANK = object()
"""A cell that is empty text in a file that cannot say None: the value of a string, if its document is there."""

_ATOMS: dict[Any, Kind] = {
    str: 'str',
    ID: 'str',
    bool: 'bool',
    int: 'int',
    float: 'float',
    bytes: 'bytes',
    datetime: 'datetime',
    date: 'date',
    time: 'time',
    timedelta: 'timedelta',
    Decimal: 'text',
    UUID: 'text',
}
_TIMES: dict[str, Any] = {'datetime': datetime, 'date': date, 'time': time}
_LISTS = (list, set, frozenset, tuple, Sequence)


@dataclass(frozen=True)
class Form:
    """
    What the cells of a column hold.

    Attributes:
        kind: `text` is what `str(value)` says all about; `presence` whether an optional document is there.
        annotation: The type in the schema, without None.
        item: Of a list, the form of what is in it.
        rows: Of a list of documents, their columns.
        shape: Of a tensor, its shape as far as the schema says it.
    """

    kind: Kind
    annotation: Any = None
    item: Form | None = None
    rows: Rows[BaseModel] | None = None
    shape: tuple[int, ...] | None = None

    @cached_property
    def cells(self) -> JsonCells:
        """What reads and writes the JSON of these cells."""
        return JsonCells(self.annotation)

    @property
    def is_choice(self) -> bool:
        """Whether it is one of the values of a `Literal`, for which pydantic takes no text."""
        return typing.get_origin(self.annotation) is Literal

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """What validates a value of the type by itself; of a `Literal`, of the type that all of its values have."""
        return TypeAdapter(type(typing.get_args(self.annotation)[0]) if self.is_choice else self.annotation)

    @property
    def is_vector(self) -> bool:
        """Whether it is a tensor with one axis of known length."""
        return self.shape is not None and len(self.shape) == 1

    @cached_property
    def may_be_text(self) -> bool:
        """Whether a string may be a value, and not only the text of one."""
        members = members_of(self.annotation)
        return any(member in (str, Any, object) or typing.get_origin(member) is Literal for member in members)

    @cached_property
    def may_be_nan(self) -> bool:
        """Whether NaN may be a value, and not only say that one is missing."""
        return float in members_of(self.annotation)


@dataclass(frozen=True)
class TableColumn:
    """
    One column of a table of documents.

    Attributes:
        name: The flat name, `author__title`.
        path: The same as steps.
        form: What its cells hold.
        can_be_none: Whether the field itself may be None.
        is_key: Whether there is no document without it: neither it nor a document on the way has a default.
        is_strict: Whether it converts nothing, no text to a time, by itself or like all fields of its class.
    """

    name: str
    path: tuple[str, ...]
    form: Form
    can_be_none: bool
    is_key: bool
    is_strict: bool = False

    def value(self, doc: BaseModel) -> Any:
        """Return this column's cell for `doc`; None where a document on the way is None."""
        value: Any = doc
        for step in self.path:
            if value is None:
                break
            value = getattr(value, step, None)  # model_construct() may have left it out
        return value is not None if self.form.kind == 'presence' else value


@dataclass(frozen=True)
class Nest:
    """
    A document in the row of a table.

    Attributes:
        name: The flat name of the field that it is the value of; empty for the outermost.
        can_be_none: Whether the field may be None.
        members: Its fields: columns, and further documents.
    """

    name: str
    can_be_none: bool
    members: Mapping[str, TableColumn | Nest]

    def says_whether_it_is_there(self) -> bool:
        """Return whether one of its columns has a value in each document that there is."""
        return any(
            member.says_whether_it_is_there() and not member.can_be_none
            if isinstance(member, Nest)
            else not member.can_be_none
            for member in self.members.values()
        )

    def tree(self, cells: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the document as a dict of what a class validates, and whether any of its cells has a value."""
        tree: dict[str, Any] = {}
        is_there = bool(cells.get(self.name))
        for field, member in self.members.items():
            if isinstance(member, Nest) and isinstance(cells.get(member.name), (Mapping, BaseModel)):
                tree[field], is_there = cells[member.name], True
            elif isinstance(member, Nest):
                inner, inner_is_there = member.tree(cells)
                is_there = is_there or inner_is_there
                if inner or inner is None or cells.get(member.name):
                    tree[field] = inner
            elif member.name in cells and member.form.kind != 'presence':
                cell = cells[member.name]
                is_there = is_there or (cell is not None and cell is not BLANK)
                tree[field] = '' if cell is BLANK else cell
        tree |= tree.pop(EXTRA, None) or {}
        return (tree if is_there or not self.can_be_none else None), is_there


class Rows(Generic[D]):
    """
    The columns of a document class, and rows as its documents.

    Attributes:
        doc_type: The document class.
        columns: Its columns by flat name, in the order of the fields.
        doc_types: The classes of its nested documents by flat name.
        is_ambiguous: Whether the name of some field is an alias of another one.

    Raises:
        TableError: two fields flatten to one name.
    """

    def __init__(self, doc_type: type[D], within: tuple[type[BaseModel], ...] = ()) -> None:
        self.doc_type = doc_type
        self.columns: dict[str, TableColumn] = {}
        self.doc_types: dict[str, type[BaseModel]] = {}
        self.is_ambiguous = is_ambiguous(doc_type)
        self._nest = self._nested(doc_type, (), False, True, within)
        self._is_flat = all(isinstance(member, TableColumn) for member in self._nest.members.values())

    def _nested(
        self, cls: type[BaseModel], outer: tuple[str, ...], can_be_none: bool, is_key: bool, within: tuple[Any, ...]
    ) -> Nest:
        members: dict[str, TableColumn | Nest] = {}
        for field, info in cls.model_fields.items():
            if info.exclude:
                continue
            path = (*outer, field)
            annotation, may_be_none = _unwrap(info.annotation)
            needed = is_key and info.is_required() and not may_be_none
            if is_document_type(annotation) and annotation not in (*within, cls):
                self.doc_types['__'.join(path)] = annotation
                members[field] = self._nested(annotation, path, may_be_none, needed, (*within, cls))
            else:
                form = _form(annotation, (*within, cls), declared_settings(info, f'{cls.__name__}.{field}').get('dim'))
                is_strict = cls.model_config.get('strict') or any(map(_says_strict, (info.annotation, *info.metadata)))
                members[field] = self._add(path, form, may_be_none, needed, bool(is_strict))
        if cls.model_config.get('extra') == 'allow':
            members[EXTRA] = self._add((*outer, EXTRA), Form('json', dict[str, Any]), True, False)
        nest = Nest('__'.join(outer), can_be_none, members)
        if can_be_none and not nest.says_whether_it_is_there():
            self._add(outer, Form('presence'), False, False)
        return nest

    def _add(
        self, path: tuple[str, ...], form: Form, can_be_none: bool, is_key: bool, is_strict: bool = False
    ) -> TableColumn:
        column = TableColumn('__'.join(path), path, form, can_be_none, is_key, is_strict)
        if column.name in self.columns:
            raise TableError(
                f'{self.doc_type.__name__}: two fields flatten to the column {column.name!r}; rename one of them',
                column=column.name,
            )
        self.columns[column.name] = column
        return column

    def known(self, names: Iterable[str], *, whole: bool = False) -> list[str]:
        """
        Return those of a table's columns that are a document's; the others are ignored.

        Args:
            names: The columns of the table.
            whole: Whether a cell may be a nested document: a column of its name stands for those of its fields.

        Raises:
            TableError: a column is missing that every document needs or is there twice, or none is a document's.
        """
        given = list(names)
        nested = tuple(f'{name}__' for name in given if whole and self.is_document(name))
        for name, column in self.columns.items():
            if column.is_key and name not in given and not name.startswith(nested):
                raise TableError(
                    f'there is no column {name!r}, which {self.doc_type.__name__} needs{self._meant(name, given)}; '
                    f'the columns are {", ".join(map(repr, given)) or "none at all"}',
                    column=name,
                )
        known = [name for name in given if name in self.columns or (whole and self.is_document(name))]
        if given and not known:
            raise TableError(
                f'none of the columns is one of {self.doc_type.__name__}: {", ".join(map(repr, given))}; '
                f'it has {", ".join(map(repr, self.columns))}'
            )
        twice = next((name for at, name in enumerate(known) if name in known[:at]), None)
        if twice is not None:
            raise TableError(f'there are two columns {twice!r}', column=twice)
        return known

    def _meant(self, missing: str, given: Iterable[str]) -> str:
        """Return a question about the column that may be the missing one: only last steps can be misspelt."""
        last_steps = {name.rpartition('__')[2]: name for name in given if name not in self.columns}
        close = difflib.get_close_matches(missing.rpartition('__')[2], last_steps, n=1, cutoff=0.75)
        return f'; is it {last_steps[close[0]]!r}?' if close else ''

    @cached_property
    def documents(self) -> dict[str, tuple[str, ...]]:
        """The paths of the nested documents by flat name."""
        paths = {column.path[:depth] for column in self.columns.values() for depth in range(1, len(column.path))}
        return {'__'.join(path): path for path in paths}

    def is_document(self, name: str) -> bool:
        """Return whether a flat name is that of a nested document."""
        return name in self.doc_types

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
        """
        Yield rows as nested dicts, as a document class validates them, from the cells of known columns.

        An empty cell of a field that is never None is left out, so that its default counts. An optional document all
        of whose cells are empty is None. A cell may also be a nested document, as a dict or a model.
        """
        keeps_none = [name in self.columns and self.columns[name].can_be_none for name in columns]
        for row in zip(*columns.values(), strict=True):
            cells = {
                name: cell
                for name, cell, keeps in zip(columns, row, keeps_none, strict=True)
                if keeps or cell is not None
            }
            yield cells if self._is_flat and EXTRA not in cells else self._nest.tree(cells)[0] or {}

    def tree(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cells of one row as a nested dict; one that is nested already comes back as it is."""
        return (self._nest.tree(cells)[0] or {}) if cells.keys() <= self.columns.keys() else dict(cells)

    def document(self, row: Mapping[str, Any], number: int, line: int | None = None) -> D:
        """
        Return a nested row as a document; `number` is the row's, and `line` that of the file in which it begins.

        Raises:
            TableError: it does not fit; the message names the row, the columns and the reasons.
        """
        try:
            return self.validated(row)
        except ValidationError as error:
            column = '__'.join(map(str, error.errors(include_url=False, include_input=False)[0]['loc']))
            raise TableError(at_row(number, row.get('id'), explain(error), line), row=number, column=column) from error

    def validated(self, row: Mapping[str, Any]) -> D:
        """Return a nested row as a document: a name that is a field's is not taken for the alias of another field."""
        return self.doc_type.model_validate(row, by_alias=not self.is_ambiguous, by_name=True)


class JsonCells:
    """
    Values of one type as JSON that names the types that JSON has no word for, tensors among them.

    Args:
        annotation: The type.
    """

    _BEFORE, _AFTER = '[{"value":', '}]'

    def __init__(self, annotation: Any) -> None:
        config = ConfigDict(arbitrary_types_allowed=True)
        self._cell = create_model('Cell', __config__=config, value=(annotation, ...))
        self._json = TypedJson(self._cell)

    def dump(self, value: object) -> str:
        """
        Return a value as JSON.

        Raises:
            DocumentError: it holds something of a type that the schema does not mention.
        """
        text = self._json.dump(self._cell.model_construct(value=value), InlineTensors()).decode()
        return text.removeprefix(self._BEFORE).removesuffix(self._AFTER)

    def load(self, text: str) -> Any:
        """
        Return the value that `dump` was given.

        A text that is no JSON comes back as it is: where a number or a text may stand, others write texts.

        Raises:
            DocumentError: it names a class that the schema does not mention.
        """
        try:
            json.loads(text)
        except json.JSONDecodeError:
            return text
        return self._json.load(f'{self._BEFORE}{text}{self._AFTER}'.encode(), InlineTensors()).value


@cache
def rows_of(doc_type: type[D]) -> Rows[D]:
    """Return the columns of a document class."""
    return Rows(doc_type)


def type_of(docs: Sequence[Any], doc_type: type[Any] | None) -> type[BaseModel]:
    """
    Return the class of a list's documents.

    Raises:
        TableError: the list has no class, and its documents are of several, or there are none.
    """
    if doc_type is None:
        found = {type(doc) for doc in docs}
        doc_type = found.pop() if len(found) == 1 else None
    if not (isinstance(doc_type, type) and issubclass(doc_type, BaseModel)):
        raise TableError('a table needs to know the class of its documents; write DocList[Book](...)')
    return doc_type


def at_row(number: int, id_: object, reason: str, line: int | None = None) -> str:
    """Return a reason with the row, its line in the file and the id of its document, if there are such."""
    id_ = getattr(id_, 'id', None) if isinstance(id_, BaseModel) else id_
    marks = [f'line {line}'] * (line is not None) + [f'id {id_!r}'] * isinstance(id_, str)
    where = f' ({", ".join(marks)})' if marks else ''
    return f'row {number}{where}: {reason}'


def tensor_from_parts(parts: Mapping[str, Any]) -> Array:
    """Return the tensor of a cell that says its dtype and shape, and has its bytes."""
    return np.frombuffer(parts['data'], np.dtype(parts['dtype'])).reshape(parts['shape']).copy()


class BadCellError(Exception):
    """A cell cannot be read; it does not know of which column, nor where its rows begin."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row = row
        self.reason = reason

    def at(self, first_row: int, column: str) -> TableError:
        """Return the error for a user."""
        row = first_row + self.row
        return TableError(at_row(row, None, f'{column}: {self.reason}'), row=row, column=column)


def read_cells(cells: Iterable[Any], read: Callable[[Any], Any]) -> list[Any]:
    """
    Return cells read one by one; None stays None.

    Raises:
        BadCellError: one of them cannot be read.
    """
    values: list[Any] = []
    for row, cell in enumerate(cells):
        try:
            values.append(None if cell is None else read(cell))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise BadCellError(row, str(error)) from error
    return values


def plain_cell(form: Form, cell: Any, is_text: bool = False) -> Any:
    """Return a cell as a value that other libraries know; `is_text`: times as texts."""
    if form.kind == 'json':
        return form.cells.dump(cell)
    if form.kind == 'text':
        return str(cell)
    if isinstance(cell, Enum):
        return cell.value
    if form.kind == 'str':
        return str(cell)  # the class of a url is not theirs
    return cell.isoformat() if is_text and isinstance(cell, (datetime, time)) else cell


def text_reader(form: Form, kinds: Collection[Kind] = ()) -> Callable[[str], Any]:
    """Return what reads a time as `isoformat` writes it, and texts of these kinds; others are left to pydantic."""
    if form.kind in _TIMES:
        return partial(_read_text, _TIMES[form.kind].fromisoformat)
    if form.kind in kinds and form.annotation is not str:
        return partial(_read_text, partial(form.adapter.validate_python, strict=False))
    return str


def _read_text(read: Callable[[str], Any], text: str) -> Any:
    with suppress(ValueError):  # pydantic's errors are such
        return read(text)
    return text


def strict_list(form: Form, items: Iterable[Any]) -> Any:
    """Return the items of a list as what a strict class takes: a set, a tuple, a list."""
    container = typing.get_origin(form.annotation)
    return container(items) if container in (set, frozenset, tuple) else list(items)


def _says_strict(said: Any) -> bool:
    """Return whether a type, or what stands beside it in its declaration, says that nothing is to be converted."""
    return getattr(said, 'strict', None) is True or any(map(_says_strict, typing.get_args(said)))


# -- the form of a type --------------------------------------------------------------------------------------


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """Return the type of a field without None and names of types, and whether None is allowed."""
    inner, can_be_none, _ = unwrap(annotation)
    is_among_choices = typing.get_origin(inner) is Literal and None in typing.get_args(inner)
    return inner, can_be_none or is_among_choices or inner in (None, types.NoneType, Any)


def is_document_type(annotation: Any) -> bool:
    """Return whether a type is a document class, whose fields can be columns."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and not issubclass(annotation, RootModel)


def _form(annotation: Any, within: tuple[Any, ...], dim: int | None = None) -> Form:
    if annotation in within:
        return Form('json', annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if is_tensor_type(annotation) or annotation is np.ndarray or origin is np.ndarray:
        return Form('tensor', annotation, shape=_shape(annotation, dim))
    if origin is None and isinstance(annotation, type):
        return _form_of_class(annotation, within)
    if origin is Literal and len(kinds := {_ATOMS.get(type(member)) for member in arguments}) == 1:
        return Form(kinds.pop() or 'json', annotation)
    is_even = len(arguments) == 1 or (origin is tuple and len(arguments) == 2 and arguments[1] is ...)
    if origin in _LISTS and is_even:
        item, can_be_none = _unwrap(arguments[0])
        if is_document_type(item) and not can_be_none and item not in within and origin is list:
            return Form('documents', annotation, rows=Rows(item, within))
        form = _form(item, (*within, annotation))
        if form.kind not in ('documents', 'json'):
            return Form('list', annotation, item=form)
    return Form('json', annotation)


def _form_of_class(cls: type[Any], within: tuple[type[BaseModel], ...]) -> Form:
    if cls in _ATOMS:
        return Form(_ATOMS[cls], cls)
    if issubclass(cls, AnyUrl) or (issubclass(cls, Enum) and all(type(member.value) is str for member in cls)):
        return Form('str', cls)
    if (
        issubclass(cls, DocList)
        and cls.doc_type is not None
        and is_document_type(cls.doc_type)
        and cls.doc_type not in within
    ):
        return Form('documents', cls, rows=Rows(cls.doc_type, within))
    return Form('json', cls)


def _shape(annotation: Any, dim: int | None) -> tuple[int, ...] | None:
    shape = getattr(annotation, 'shape', None) if is_tensor_type(annotation) else None
    if shape is not None and all(type(axis) is int for axis in shape):
        return tuple(shape)
    return (dim,) if dim is not None and dim > 0 and shape in (None, ('n',)) else None
