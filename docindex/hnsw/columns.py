"""
Documents given as columns on their way into the store, as rows and matrices: no document is made of them.

What is stored is what `documents` would store of the documents, to the byte. All columns are validated before the first
row is written; rows are made in portions. Three things go the slow way, by documents: a class that is not plain, whose
validators see whole documents, say (`Columns._fields`), columns whose vectors have to be made of texts, and a portion
with a value that JSON has no word for (`_SpecialValueError`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property, partial
from itertools import compress, repeat
from json.encoder import encode_basestring
from types import NoneType
from typing import Annotated, Any, Generic, TypeVar, cast

import numpy as np
from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ..annotations import is_ambiguous, types_within
from ..columns import GivenColumns
from ..embedding import Embeds
from ..errors import DocumentError
from ..fields import VectorSettings
from ..frameworks import NUMPY
from ..incoming import Given, last_of_each
from ..matrices import column_matrix, whole_matrix
from ..plain import json_loses
from ..refusals import check_id, check_ids
from ..schema import Column, Schema
from ..tensors import framework_of_type, is_tensor_type
from .documents import NEAR, Documents
from .extraction import lists_in
from .fieldtable import FieldTables
from .records import Row
from .transaction import Part, Vectors
from .tree import PORTION, Tree

D = TypeVar('D', bound=BaseModel)


class Columns(Generic[D]):
    """
    Makes what is stored of the outermost documents of a tree, given as columns.

    Args:
        tree: Writes those that come as documents.
    """

    def __init__(self, tree: Tree[D]) -> None:
        self._tree = tree
        self._documents: Documents[D] = tree.levels['']
        self._schema: Schema[D] = tree.schema

    @cached_property
    def _fields(self) -> Mapping[str, _Field]:
        """The fields that have values, by flat name; nothing, if documents have to be made."""
        if not self._documents.is_plain or not all(map(self._is_ready, self._schema.columns.values())):
            return {}
        by_alias = not is_ambiguous(self._schema.doc_type)
        columns = [column for column in self._schema.columns.values() if column.name not in self._documents.dims]
        try:
            return {column.name: _Field(column, self._class_of(column), by_alias) for column in columns}
        except PydanticUserError:  # a type that pydantic takes in this class only
            return {}

    def _is_ready(self, column: Column) -> bool:
        """Return whether the values of a column are all that is needed to store it."""
        if column.name in self._documents.dims:
            info = self._class_of(column).model_fields[column.path[-1]]
            says_more = any(not isinstance(item, Embeds) for item in info.metadata)
            return column.is_stored and framework_of_type(column.annotation) is NUMPY and not says_more
        return column.is_stored and not any(map(is_tensor_type, types_within(column.annotation)))

    def _class_of(self, column: Column) -> type[BaseModel]:
        """Return the document class that has the field."""
        return self._schema.nodes[column.outer].annotation if column.outer else self._schema.doc_type

    def parts(
        self,
        given: GivenColumns[D],
        fields: FieldTables,
        settings: Mapping[str, VectorSettings],
        show_progress: bool | None = False,
    ) -> Iterable[Part]:
        """
        Return documents, the last of each id, as parts to be stored.

        Args:
            given: The columns.
            fields: The tables of fields.
            settings: Those of each vector field.
            show_progress: Whether to show a bar while vectors are made of texts.

        Raises:
            DocumentError, IdTypeError, VectorError: something does not fit; the message names its row and column.
            EmbeddingError: a function that makes vectors has failed.
        """
        ready = self._checked(given, settings) if self._fields and not given.lacks_vectors() else None
        if ready is None:  # a class that is not plain, a default that is no mere value, or vectors to be made of texts
            docs = given.documents(show_progress)
            return self._tree.parts_of('', last_of_each(docs, 'row'), fields, settings)
        return self._parts(ready, fields.number(''), settings)

    # -- before anything is written ----------------------------------------------------------------

    def _checked(self, given: GivenColumns[D], settings: Mapping[str, VectorSettings]) -> _Ready | None:
        """Return validated columns and vectors; None, if documents have to be made."""
        ids = self._ids(given)
        ready = _Ready(self._schema, np.arange(given.count), ids or [])
        for name, node in self._schema.nodes.items():
            if name in self._documents.dims or (node.outer and not given.has_within(node.outer)):
                continue
            there = given.presence(node.outer)
            if name in given.values:
                values = cast(Any, given.values[name])
                ready.columns[name] = self._fields[name].validated(values, there, ready.name) if name != 'id' else ids
            elif node.is_document and given.has_within(name):
                ready.presence[name] = given.presence(name)
            elif node.is_document:
                if not self._is_none_by_default(node):
                    return None
            elif not self._put_default(ready, node, there):
                return None
        return self._with_vectors(ready, given, settings)

    def _ids(self, given: GivenColumns[D]) -> list[Any] | None:
        """Return the validated ids, or None if they are not given."""
        if 'id' not in given.values:
            return None
        raw = given.values['id']
        try:
            return self._fields['id'].validated(raw, None, 'row {}'.format)
        except DocumentError:
            for row, id_ in enumerate(raw):
                if not isinstance(id_, str):
                    check_id(id_, partial('row {}'.format, row))
            raise

    def _put_default(self, ready: _Ready, column: Column, there: list[bool] | None) -> bool:
        """Take the default of a field for all rows; return whether it can stand there as it is."""
        cls, its = self._class_of(column), self._fields[column.name]
        info = cls.model_fields[column.path[-1]]
        if info.validate_default or cls.model_config.get('validate_default'):
            return False
        if info.default_factory is None:
            ready.defaults[column.name] = info.get_default()
            return its.allows([info.default])
        if info.default_factory_takes_validated_data:
            return False
        made = [
            info.get_default(call_default_factory=True) for _ in range(ready.count if there is None else sum(there))
        ]
        ready.columns[column.name] = made if there is None else _spread(made, there)
        return its.allows(made)

    def _with_vectors(
        self, ready: _Ready, given: GivenColumns[D], settings: Mapping[str, VectorSettings]
    ) -> _Ready | None:
        """Check ids and vectors; of rows with one id only the last is kept."""
        ready.ids = ready.columns.get('id') or [ready.defaults['id']] * ready.count
        check_ids(ready.ids, ready.name)
        last = dict(zip(ready.ids, range(ready.count), strict=True))
        kept = ready if len(last) == ready.count else ready.only(list(last.values()))
        for name, dim in self._documents.dims.items():
            column = self._schema.columns[name]
            if name in given.values:
                values = given.values[name]
                of_kept = values if kept is ready else _picked(values, kept.rows)
                kept.vectors[name] = self._vectors(column, of_kept, settings[name], kept)
            elif self._is_none_by_default(column) or (column.outer and not given.has_within(column.outer)):
                kept.vectors[name] = Vectors(np.zeros((kept.count, dim), np.float32), np.zeros(kept.count, bool))
            else:
                return None
        return kept

    def _is_none_by_default(self, column: Column) -> bool:
        info = self._class_of(column).model_fields[column.path[-1]]
        return column.can_be_none and info.default is None and info.default_factory is None

    def _vectors(self, column: Column, values: Any, settings: VectorSettings, ready: _Ready) -> Vectors:
        matrix = whole_matrix(values, column, settings, ready.name)
        if matrix is not None:
            return Vectors(matrix, np.ones(ready.count, bool))
        if not column.can_be_none:
            there = ready.presence.get(column.outer)
            for row in np.flatnonzero([value is None for value in values]).tolist():
                if there is None or there[row]:
                    raise DocumentError(
                        f'{ready.name(row)}: field {column.name!r} is missing; it needs a {settings.dim}-d vector'
                    )
        matrix, arrays = column_matrix(values, column, settings, ready.name)
        return Vectors(matrix, np.array([array is not None for array in arrays], bool))

    # -- while it is written -----------------------------------------------------------------------

    def _parts(self, ready: _Ready, level: int, settings: Mapping[str, VectorSettings]) -> Iterator[Part]:
        for start in range(0, ready.count, PORTION):
            portion = ready.slice(start, start + PORTION)
            try:
                near = (portion.slice(at, at + NEAR) for at in range(0, portion.count, NEAR))
                rows, vectors = [row for few in near for row in self._rows(few)], portion.vectors
            except ValueError:  # ours, one of Unicode's or one of pydantic's: JSON cannot say all of it
                rows, vectors = self._documents.prepared(self._as_documents(portion), settings)
            yield Part(level, rows, vectors)

    def _rows(self, portion: _Ready) -> list[Row]:
        texts = self._objects('', portion)
        data = [text.encode() for text in texts]
        fields = self._documents.extraction.of_columns(self._extracted(portion), portion.count)
        return [*map(Row, portion.ids, data, repeat(None), fields)]

    def _objects(self, outer: str, portion: _Ready) -> list[str]:
        """Return the nested documents `outer` of all rows as JSON objects; the empty name is that of the rows."""
        fixed = '{'
        pieces: list[Iterable[str]] = []  # what is the same in all rows, then a column, and so on
        for node in self._schema.nodes.values():
            if node.outer != outer:
                continue
            text = self._text(node, portion)
            fixed += f'{"" if fixed == "{" and not pieces else ","}{encode_basestring(node.path[-1])}:'
            if isinstance(text, str):
                fixed += text
            else:
                pieces += [repeat(fixed), text]
                fixed = ''
        fixed += '}'
        # Not "{...}" % row, which takes four times as long.
        return [*map(''.join, zip(*pieces, repeat(fixed)))] if pieces else [fixed] * portion.count

    def _text(self, node: Column, portion: _Ready) -> str | list[str]:
        """Return the JSON of one field: of each row, or if it is the same in all, once."""
        if node.name in portion.vectors:
            reference = encode_basestring(node.name)
            is_present = portion.vectors[node.name].is_present
            if is_present.all() or not is_present.any():
                return reference if is_present.all() else 'null'
            return [reference if one else 'null' for one in is_present.tolist()]
        if node.is_document:
            if node.name not in portion.presence:
                return 'null'
            objects, there = self._objects(node.name, portion), portion.presence[node.name]
            if there is None:
                return objects
            return [text if one else 'null' for text, one in zip(objects, there, strict=True)]
        if node.name in portion.defaults:
            (text,) = self._fields[node.name].texts([portion.defaults[node.name]])
            return text
        return self._fields[node.name].texts(portion.columns[node.name])

    def _extracted(self, portion: _Ready) -> dict[str, list[Any]]:
        """Return the values of the columns that filters look at, by flat name."""
        found: dict[str, list[Any]] = {}
        for name in [one.name for one in self._documents.extraction.fields]:
            node = self._schema.nodes[name]
            if name in portion.columns:
                found[name] = portion.columns[name]
            elif name in portion.vectors:
                found[name] = [one or None for one in portion.vectors[name].is_present.tolist()]
            elif name in portion.presence:
                there = portion.presence[name]
                found[name] = [True] * portion.count if there is None else [one or None for one in there]
            else:
                there = portion.presence.get(node.outer)
                value = portion.defaults.get(name)
                found[name] = [value] * portion.count if there is None else [value if one else None for one in there]
        return found

    def _as_documents(self, portion: _Ready) -> list[Given]:
        vectors = {
            name: [row if one else None for row, one in zip(given.matrix, given.is_present.tolist(), strict=True)]
            for name, given in portion.vectors.items()
            if given.is_present.any()
        }
        docs = GivenColumns(self._schema, {**portion.columns, **vectors}, portion.count, vectors).documents()
        return [Given(doc, None, 0, (portion.name(at),)) for at, doc in enumerate(docs)]


@dataclass
class _Ready:
    """
    Checked columns.

    Attributes:
        schema: The schema.
        rows: Which rows these are, of those that were given.
        ids: Their ids, as far as they are known.
        columns: Validated values by flat name, None where there is no document around them.
        defaults: What stands in all rows instead, where a column was left out.
        presence: In which rows there is a nested document, by flat name; None: in all. Only of those with columns.
        vectors: The vectors by field.
    """

    schema: Schema[Any]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    ids: list[Any]
    columns: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    presence: dict[str, list[bool] | None] = field(default_factory=dict)
    vectors: dict[str, Vectors] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def name(self, row: int) -> str:
        """Return what an error calls a row."""
        id_ = self.ids[row] if self.ids else None
        return f'row {self.rows[row]}' + (f' (id {id_!r})' if isinstance(id_, str) else '')

    def only(self, rows: list[int]) -> _Ready:
        """Return some of the rows, before there are vectors."""
        return self._of(self.rows[rows], lambda values: [values[row] for row in rows], {})

    def slice(self, start: int, end: int) -> _Ready:
        """Return the rows from `start` to before `end`."""
        vectors = {
            name: Vectors(given.matrix[start:end], given.is_present[start:end]) for name, given in self.vectors.items()
        }
        return self._of(self.rows[start:end], lambda values: values[start:end], vectors)

    def _of(self, rows: Any, pick: Callable[[list[Any]], list[Any]], vectors: dict[str, Vectors]) -> _Ready:
        columns = {name: pick(values) for name, values in self.columns.items()}
        presence = {name: there if there is None else pick(there) for name, there in self.presence.items()}
        return _Ready(self.schema, rows, pick(self.ids), columns, self.defaults, presence, vectors)


class _Field:
    """
    One field that is no vector and no nested document: validates its values and writes them as JSON.

    Args:
        column: The field.
        doc_type: The document class that has it.
        by_alias: Whether a key of a dict in it may be the alias of a field, and not only its name.
    """

    def __init__(self, column: Column, doc_type: type[BaseModel], by_alias: bool) -> None:
        info = doc_type.model_fields[column.path[-1]]
        annotation: Any = info.annotation
        one = Annotated[(annotation, *info.metadata)] if info.metadata else annotation
        self.name = column.name
        self._by_alias = by_alias
        self._can_be_none = column.can_be_none
        self._is_list_of_documents = column.inner is not None
        self._may_be_lost = not {float, datetime, time}.isdisjoint(types_within(annotation))
        whole = Annotated[list[one], FailFast()]  # type: ignore[valid-type]
        self._values: TypeAdapter[list[Any]] = TypeAdapter(whole, config=doc_type.model_config)

    def validated(self, values: Sequence[Any], there: list[bool] | None, name: Callable[[int], str]) -> list[Any]:
        """
        Return the values as documents would have them.

        Args:
            values: The values.
            there: In which rows there is a document that has the field; None: in all. The others get None.
            name: What an error calls a row.

        Raises:
            DocumentError: one of them does not fit.
        """
        given = list(values) if there is None else list(compress(values, there))
        try:
            found = self._values.validate_python(given, by_alias=self._by_alias, by_name=True)
        except ValidationError as error:
            complaint = error.errors(include_url=False, include_input=False)[0]
            at, *inside = complaint['loc']
            row = cast(int, at) if there is None else [*compress(range(len(values)), there)][cast(int, at)]
            what = '__'.join([self.name, *map(str, inside)])
            raise DocumentError(f'{name(row)}: {what}: {complaint["msg"]}') from error
        return found if there is None else _spread(found, there)

    def allows(self, defaults: list[Any]) -> bool:
        """Return whether defaults, which nobody has validated, are what the class would make of them."""
        if self._is_list_of_documents:  # which are rows of their own
            return not any(defaults) and (self._can_be_none or None not in defaults)
        types = {*map(type, defaults)}
        try:
            return self._dumped(defaults, types) == self._dumped(self._values.validate_python(defaults), types)
        except ValueError:  # pydantic's: it is of another type, or refused
            return False

    def texts(self, values: list[Any]) -> list[str]:
        """
        Return each value as JSON.

        Raises:
            ValueError: JSON cannot say all about one of them.
        """
        types = {*map(type, values)}
        if NoneType in types:
            each = iter(self.texts([value for value in values if value is not None]))
            return ['null' if value is None else next(each) for value in values]
        if types == {str}:
            return [*map(encode_basestring, values)]
        if types == {int} and not self._may_be_lost:  # in a field of floats a default may be 0
            return [*map(repr, values)]
        if self._may_be_lost and json_loses(values):
            raise _SpecialValueError
        return self._dumped(values, types)

    def _dumped(self, values: list[Any], types: set[type[Any]]) -> list[str]:
        dump = self._values.serializer.to_json
        text = dump(values, by_alias=False, round_trip=True, warnings='error').decode()
        # All at once, in a quarter of the time: if there are as many pieces as values, each is one.
        if types <= {list, tuple, set, frozenset}:
            pieces = lists_in(text, len(values))
        else:
            found = text[1:-1].split(',')
            pieces = found if len(found) == len(values) else None
        if pieces is not None:
            return pieces
        return [dump([value], by_alias=False, round_trip=True, warnings='error').decode()[1:-1] for value in values]


class _SpecialValueError(ValueError):
    """A value of which JSON cannot say all, though it can say all of others of its type."""


def _spread(values: list[Any], there: list[bool]) -> list[Any]:
    """Return values at their places, and None elsewhere."""
    each = iter(values)
    return [next(each) if one else None for one in there]


def _picked(values: Any, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """Return some of the values of a column."""
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows.tolist()]
