"""
From a document class to the flat list of its columns.

A nested document contributes its fields under `outer__inner` names, to any depth. A tensor with one
axis of known length is a vector column; everything else is stored with the document. A list of documents that have ids
is a level of its own: a schema within the schema, whose names go on from that of the list, `chapters__title`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import numpy as np
from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticSerializationError

from ._later import later
from .annotations import listed, tensor_settings, type_name, unwrap
from .embedding import Embeds, Recorded, declared_embeds
from .errors import DocumentError, IdTypeError, QueryError, SchemaError
from .fields import BACKEND_SETTINGS, TEXT_SETTINGS, declared_settings
from .kinds import Kind, kind_of
from .refusals import not_a_string, unfit

D = TypeVar('D', bound=BaseModel)

_MOST_LISTS = 100  # a level's number is a byte
_LONGEST_NAME = 200  # bytes; a vector column's name becomes a file's, and those end at 255


@dataclass(frozen=True)
class Column:
    """
    One field of a document, or of a document nested in it.

    Attributes:
        name: The flat name, `thumbnail__tensor`.
        path: The same as steps, `('thumbnail', 'tensor')`.
        type_name: The type as one would write it.
        is_optional: Whether the value may be None, or a document on the way to it.
        has_default: Whether a document can be made without naming it.
        is_document: Whether it is a nested document, whose fields are columns of their own.
        is_tensor: Whether it can be a vector column, once its length is known.
        inner: The schema of the documents in it, if it is a list whose documents are stored one by one.
        settings: What the schema says about the field; see `docindex.Field`.
        annotation: The type itself.
        is_stored: Whether a stored document has it; pydantic's `exclude` leaves it out.
        embeds: What its vectors are made of, if they are made of texts.
        sources: The fields that these stand in, as steps.
    """

    name: str
    path: tuple[str, ...]
    type_name: str
    is_optional: bool
    has_default: bool
    is_document: bool = False
    is_tensor: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    annotation: Any = field(default=None, hash=False)
    is_stored: bool = True
    inner: Schema[Any] | None = field(default=None, hash=False, compare=False)
    embeds: Embeds | None = field(default=None, hash=False, compare=False)
    sources: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def kind(self) -> Kind:
        """What its values are to a filter."""
        is_opaque = self.is_document or self.is_tensor or self.inner is not None
        return Kind('opaque') if is_opaque else kind_of(self.annotation)

    @property
    def can_be_none(self) -> bool:
        """Whether the value may be None where all documents on the way to it are there."""
        return self.type_name.endswith(' | None')

    @property
    def outer(self) -> str:
        """The flat name of the document it is a field of; empty for the outermost."""
        return '__'.join(self.path[:-1])

    def value(self, doc: BaseModel) -> Any:
        """Return this column's value in `doc`; None where a document on the way is None."""
        value: Any = doc
        for step in self.path:
            if value is None:
                return None
            value = getattr(value, step, None)  # model_construct() may have left it out
        return value


@dataclass(frozen=True)
class Level:
    """
    The documents that are indexed, or those in a list of others.

    Attributes:
        name: The flat name of the list, `folders__files`; empty for the documents that are indexed.
        schema: Their schema.
        outer: The level of the documents that have the list; None: they are in no list.
        column: The list, in the schema of those; None likewise.
    """

    name: str
    schema: Schema[Any]
    outer: str | None = None
    column: Column | None = None

    def flat(self, name: str) -> str:
        """Return the flat name, in the outermost schema, of one of its fields."""
        return f'{self.name}__{name}' if self.name else name

    def has(self, flat: str) -> bool:
        """Return whether one of its fields, or one of documents in its lists, has this flat name."""
        return not self.name or flat.startswith(f'{self.name}__')

    def name_of(self, flat: str) -> str:
        """Return the name in its schema of a field by its flat name in the outermost one."""
        return flat.removeprefix(f'{self.name}__') if self.name else flat

    @property
    def list_column(self) -> Column:
        """The list that its documents are in."""
        if self.column is None:
            raise TypeError('the outermost documents are in no list')
        return self.column


class Schema(Generic[D]):
    """
    A document class and its columns.

    Attributes:
        doc_type: The document class.
        columns: Its columns by flat name.
        nodes: The same, and the nested documents that they are fields of.
        lists: Those of the columns that are lists of documents with an id, which are stored one by one.
        levels: The documents of this class, under the empty name, and those in lists, to any depth, by flat name.
        embedding: Those of the columns whose vectors are made of texts.

    Args:
        doc_type: The document class.
        within: The classes in whose lists its documents are.

    Raises:
        SchemaError: the class cannot be indexed; the message names the field and what to change.
    """

    def __init__(self, doc_type: type[D], within: tuple[type[BaseModel], ...] = ()) -> None:
        if not (isinstance(doc_type, type) and issubclass(doc_type, BaseModel)):
            raise SchemaError(f'a schema is a BaseDoc or pydantic model class, got {doc_type!r}')
        if not doc_type.__pydantic_complete__ and not doc_type.model_rebuild(raise_errors=False):
            raise SchemaError(
                f'{doc_type.__name__} mentions a type that is not defined yet; see pydantic, model_rebuild()'
            )
        self.doc_type = doc_type
        self.nodes: dict[str, Column] = {}
        for node in _nodes(doc_type, (), False, (), True, within):
            self._add(node)
        for node in [node for node in self.nodes.values() if node.embeds is not None]:
            self.nodes[node.name] = replace(node, sources=tuple(self._sources(node)))
        self.columns = {name: node for name, node in self.nodes.items() if not node.is_document}
        self.lists = {name: node for name, node in self.columns.items() if node.inner is not None}
        self.embedding = [column for column in self.columns.values() if column.embeds is not None]
        self._check_id()
        self._check_lists()
        self.levels = {level.name: level for level in self._levels()}
        lists = len(self.levels) - 1
        if lists > _MOST_LISTS:
            raise SchemaError(f'{self.name} has {lists} lists of documents; {_MOST_LISTS} are possible')

    def _levels(self) -> Iterable[Level]:
        yield Level('', self)
        for name, column in self.lists.items():
            for inner in column.inner.levels.values() if column.inner is not None else ():
                if inner.outer is None:
                    yield Level(name, inner.schema, '', column)
                else:
                    outer = f'{name}__{inner.outer}' if inner.outer else name
                    yield Level(f'{name}__{inner.name}', inner.schema, outer, inner.column)

    def _add(self, node: Column) -> None:
        if node.name in self.nodes:
            paths = ' and '.join('.'.join(each.path) for each in (self.nodes[node.name], node))
            raise SchemaError(f'{self.name}: {paths} both flatten to {node.name!r}; rename one of them')
        self.nodes[node.name] = node

    def _sources(self, node: Column) -> Iterable[tuple[str, ...]]:
        """Yield the paths of the fields that a vector is made of."""
        for name in node.embeds.names if node.embeds is not None else ():
            source = self.nodes.get(f'{node.outer}__{name}' if node.outer else name)
            what = f'{self.name}: {node.name!r} embeds {name!r}'
            if source is None:
                beside = [
                    one.name.removeprefix(f'{node.outer}__') for one in self.nodes.values() if _is_text(one, node)
                ]
                raise SchemaError(
                    f'{what}, and there is no such field; with text there are {", ".join(beside) or "none"}'
                )
            if not _is_text(source, node):
                raise SchemaError(f'{what}, which is a {source.type_name}; only strings are embedded')
            if not source.is_stored:
                raise SchemaError(f'{what}, which is excluded from serialisation; an update could not read it')
            yield source.path

    def _check_id(self) -> None:
        if 'id' not in self.columns:
            raise SchemaError(f'{self.name} has no field "id"; add `id: str`, or inherit from docindex.BaseDoc')
        if self.columns['id'].type_name.removesuffix(' | None') not in ('str', 'ID'):
            raise SchemaError(f'{self.name}.id must be a string, not {self.columns["id"].type_name}')

    def _check_lists(self) -> None:
        for name, node in self.nodes.items():
            of = next((one for one in self.lists if name.startswith(f'{one}__')), None)
            if of is not None:
                path = '.'.join(node.path)
                raise SchemaError(f'{self.name}: {path} is called like a field of the documents in {of!r}; rename it')

    @property
    def name(self) -> str:
        """The name of the document class."""
        return self.doc_type.__name__

    def vector_settings(self, defaults: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """
        Return for each vector column what is said about it: `defaults`, and over them its own settings.

        Those of the documents in lists are among them, by their flat names.

        Raises:
            SchemaError: nothing says how long the vectors of a column are.
        """
        vectors: dict[str, dict[str, Any]] = {}
        for level in self.levels.values():
            for column in level.schema.columns.values():
                if not column.is_tensor:
                    continue
                own = {name: value for name, value in column.settings.items() if name not in BACKEND_SETTINGS}
                settings = {**defaults, **own}
                if settings.get('dim', -1) > 0:
                    vectors[level.flat(column.name)] = settings
                elif settings.get('index', True):
                    raise SchemaError(
                        f'{level.schema.name}: nothing says how long the vectors in {column.name!r} are; write '
                        'NdArray[128] or NdArray = Field(dim=128), or Field(index=False) to store any shape without '
                        'searching it'
                    )
        _check_file_names(self.name, vectors)
        return vectors

    @cached_property
    def makes_vectors(self) -> bool:
        """Whether some vectors of these documents, or of those in their lists, are made of texts."""
        return any(level.schema.embedding for level in self.levels.values())

    def embeddings(self, vectors: Mapping[str, Mapping[str, Any]]) -> dict[str, Recorded]:
        """Return what a directory remembers of the vectors that are made of texts, by flat name of their field."""
        found: dict[str, Recorded] = {}
        for level in self.levels.values():
            for column in level.schema.embedding:
                flat = level.flat(column.name)
                if column.embeds is not None and flat in vectors:
                    found[flat] = {
                        'function': column.embeds.embedder.name,
                        'of': column.embeds.to_json(),
                        'fields': ['__'.join(path) for path in column.sources],
                        'dim': vectors[flat]['dim'],
                    }
        return found

    def level_of(self, name: str) -> Level:
        """Return the level of the documents that have, or could have, a field of this flat name."""
        found = [level for level in self.levels.values() if level.has(name)]
        return found[0] if len(found) == 1 else max(found, key=lambda level: len(level.name))

    def describe(self, vectors: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """
        Return the type of each column and nested document by its flat name: what a directory remembers of a schema.

        Nothing in it depends on the order of the fields, or on the name of a document class.
        """
        types = {
            level.flat(name): node.type_name
            for level in self.levels.values()
            for name, node in level.schema.nodes.items()
        }
        for name, settings in vectors.items():
            types[name] = f'vector[{settings["dim"]}]' + (' | None' if types[name].endswith(' | None') else '')
        return types

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the document class; None if a type, or what is said of a field, has none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of defaults that JSON cannot say; they are left out
                return self.doc_type.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticSerializationError):
            return None

    def documents(
        self, docs: object, what: str = 'document', show_progress: bool | None = False, *, by_alias: bool = True
    ) -> list[D]:
        """
        Return documents of this schema from a document, a dict, or any iterable of these.

        A document of the class itself comes back as it is; one of another class is read by its attributes. Where
        vectors are missing that are made of texts, they are made, and copies of the documents have them.

        Args:
            docs: The documents.
            what: What errors call each of them; they say where it stands.
            show_progress: Whether to show a bar while vectors are made.
            by_alias: Whether a key of a dict may be the alias of a field, and not only its name.

        Raises:
            DocumentError: one of them does not fit; the message names it and its fields.
            EmbeddingError: a function that makes vectors has failed.
        """
        given: Iterable[Any]
        if isinstance(docs, (BaseModel, Mapping)):
            given = [docs]
        elif isinstance(docs, Iterable) and not isinstance(docs, (str, bytes, np.ndarray)):
            given = docs
        else:
            raise DocumentError(f'expected {self.name}s, dicts or a list of them, got {type(docs).__name__}')
        given = list(given)
        found = self._documents_of_dicts(given, by_alias) or [
            doc if isinstance(doc, self.doc_type) else self._document(doc, f'{what} {at}', by_alias)
            for at, doc in enumerate(given)
        ]
        if not self.makes_vectors:
            return found
        filled: list[D] = later('filling').filled(self, found, what, show_progress=show_progress)
        return filled

    def _documents_of_dicts(self, given: Sequence[Any], by_alias: bool) -> list[D] | None:
        """Return dicts as documents all at once, in two thirds of the time; None if one of them does not fit."""
        if len(given) < 2 or {*map(type, given)} != {dict}:
            return None
        try:
            return self._all.validate_python([*map(dict, given)], by_alias=by_alias, by_name=True)
        except ValidationError:
            return None  # `_document` says which of them

    @cached_property
    def _all(self) -> TypeAdapter[list[D]]:
        return TypeAdapter(list[self.doc_type])  # type: ignore[name-defined]

    def _document(self, doc: object, what: str, by_alias: bool) -> D:
        if not isinstance(doc, (BaseModel, Mapping)):
            raise DocumentError(f'{what}: expected a {self.name} or a dict, got {type(doc).__name__}')
        try:
            if isinstance(doc, Mapping):
                return self.doc_type.model_validate(dict(doc), by_alias=by_alias, by_name=True)
            return self.doc_type.model_validate(doc, from_attributes=True, by_alias=False, by_name=True)
        except ValidationError as error:
            id_ = doc.get('id') if isinstance(doc, Mapping) else getattr(doc, 'id', None)
            if 'id' in (doc if isinstance(doc, Mapping) else type(doc).model_fields) and not isinstance(id_, str):
                raise IdTypeError(not_a_string(what, id_)) from error
            raise unfit(what + (f' (id {id_!r})' if isinstance(id_, str) else ''), error) from error

    def changed(self, doc: D, values: Mapping[str, Any]) -> D:
        """
        Return a validated copy of `doc` with other `values`, by flat name. No vector is made of a text.

        Raises:
            QueryError: a name is not a column's, or is `id`, or of a field that is not stored.
            DocumentError: a value does not fit its column.
        """
        for name, value in values.items():
            if name not in self.nodes:
                inside = [one for one in self.lists if name.startswith(f'{one}__')]
                hint = f'its fields are {", ".join(self.columns)}'
                if inside:
                    inner = name.removeprefix(f'{inside[0]}__')
                    hint = (
                        f'documents in a list change by their own ids: subindex({inside[0]!r}).update(id, {inner}=...)'
                    )
                raise QueryError(f'{self.name} has no field {name!r}; {hint}')
            if name == 'id':
                raise QueryError(
                    'the id of a document cannot be changed; index it under the new id and delete the old one'
                )
            if self._is_lost(name):
                raise QueryError(
                    f'{self.name}.{name} is excluded from serialisation, so it is not stored, and cannot be updated'
                )
            path = self.nodes[name].path
            try:
                doc = cast(D, _replaced(doc, path, value))
            except ValidationError as error:
                raise unfit(f'{self.name} {self.columns["id"].value(doc)!r}', error, path[:-1]) from error
        return doc

    def _is_lost(self, name: str) -> bool:
        """Return whether nothing of a field is stored; of what is excluded from serialisation, only vectors are."""
        path = self.nodes[name].path
        if not _is_excluded(self.doc_type, path):
            return False
        inside = [column for column in self.columns.values() if column.path[: len(path)] == path]
        return not any(column.is_tensor and column.settings.get('index', True) for column in inside)


def _is_excluded(doc_type: type[BaseModel], path: Sequence[str]) -> bool:
    """Return whether pydantic's `exclude` leaves out a field, or a document that it is in."""
    step, *rest = path
    info = doc_type.model_fields[step]
    return bool(info.exclude) or (bool(rest) and _is_excluded(unwrap(info.annotation)[0], rest))


def _is_text(source: Column, beside: Column) -> bool:
    """Return whether a column has text that a vector in the same document can be made of."""
    return source.kind.name == 'text' and source.name.startswith(f'{beside.outer}__' if beside.outer else '')


def _replaced(doc: BaseModel, path: Sequence[str], value: object, outer: tuple[str, ...] = ()) -> BaseModel:
    step, *rest = path
    if rest:
        inner, flat = getattr(doc, step), '__'.join((*outer, step))
        if inner is None:
            raise DocumentError(f'{flat} is None in this document; set it as a whole, {flat}=...')
        value = _replaced(inner, rest, value, (*outer, step))
    # Only this field is validated: the validators of the others need not like their own output. To
    # pydantic's core a frozen class is like others; its validators, which cannot change a document, may return another.
    changed = doc.model_copy()
    validator = type(doc).__pydantic_validator__
    made: object = validator.validate_assignment(changed, step, value, by_alias=True, by_name=True)
    return made if isinstance(made, BaseModel) else changed


def _nodes(
    doc_type: type[BaseModel],
    outer: tuple[str, ...],
    is_optional: bool,
    within: tuple[type[BaseModel], ...],
    is_stored: bool,
    in_lists_of: tuple[type[BaseModel], ...],
) -> Iterable[Column]:
    if doc_type in within:
        raise SchemaError(
            f'{doc_type.__name__} contains itself at {".".join(outer)}, so its columns have no end; '
            f'make it a list (list[{doc_type.__name__}]), which is stored as one value'
        )
    for name, info in doc_type.model_fields.items():
        if not name.isidentifier():
            raise SchemaError(f'{doc_type.__name__}: the field {name!r} has a name that is no Python name')
        path = (*outer, name)
        flat = '__'.join(path)
        where = f'{doc_type.__name__}.{name}'
        annotation, can_be_none, annotated = unwrap(info.annotation)
        if info.exclude and info.is_required():
            raise SchemaError(f'{where} is required but excluded from serialisation, so it could not be read back')
        none = ' | None' if can_be_none else ''
        optional, has_default = is_optional or can_be_none, not info.is_required()
        stored = is_stored and not info.exclude
        embeds = next(filter(None, map(declared_embeds, (info, *annotated))), None)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and not issubclass(annotation, RootModel):
            if TEXT_SETTINGS & declared_settings(info, where).keys():
                raise SchemaError(f'{where}: full text is for strings, and this is a document; say it of its fields')
            if embeds is not None:
                raise SchemaError(f'{where}: embeds is for vectors, and this is a document; say it of its fields')
            yield Column(flat, path, f'document{none}', optional, has_default, True, False, {}, annotation, stored)
            yield from _nodes(annotation, path, optional, (*within, doc_type), stored, in_lists_of)
            continue
        settings: dict[str, Any] = {}
        for source in (*annotated, info):
            settings |= declared_settings(source, where)
        item = listed(annotation)
        above = (*in_lists_of, *within, doc_type)
        if embeds is not None and item is not None:
            raise SchemaError(
                f'{where}: embeds is for vectors, and this is a list of documents; say it of their fields'
            )
        if item is not None and item not in above and settings.get('index', True) and stored:
            if settings.keys() - {'index'}:
                raise SchemaError(f'{where}: a list of documents has no {", ".join(settings)}; say it of their fields')
            inner = Schema(item, above)
            yield Column(
                flat, path, f'documents{none}', optional, has_default, False, False, {}, annotation, stored, inner
            )
            continue
        is_tensor, settings = tensor_settings(where, annotation, settings)
        written = f'{type_name(annotation)}{none}'
        if embeds is not None and not is_tensor:
            raise SchemaError(f'{where}: embeds is for vectors, NdArray[384] say, and this is a {written}')
        column = Column(
            flat, path, written, optional, has_default, False, is_tensor, settings, annotation, stored, embeds=embeds
        )
        _check_text(where, column)
        yield column


def _check_text(where: str, column: Column) -> None:
    said = sorted(TEXT_SETTINGS & column.settings.keys())
    if said and column.name == 'id':
        raise SchemaError(f'{where}: an id has no full text')
    if said and (column.is_tensor or column.kind.name != 'text'):
        raise SchemaError(f'{where}: {said[0]} is for strings, and this is a {column.type_name}')
    if 'tokenizer' in said and not column.settings.get('full_text'):
        raise SchemaError(f'{where}: a tokenizer needs full_text=True')


def _check_file_names(schema_name: str, vectors: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in vectors:
        if len(name.encode()) > _LONGEST_NAME:
            raise SchemaError(
                f'{schema_name}: the vector field {name[:40]!r}... has a name of over {_LONGEST_NAME} bytes'
            )
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            # On macOS and Windows their files would be one.
            raise SchemaError(
                f'{schema_name}: the vector fields {twin!r} and {name!r} differ only in upper and lower case'
            )
