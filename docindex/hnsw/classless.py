"""
`open_index`: an index without the class of its documents, which is made of what the directory says of it.

Nothing that the directory says of the schema is changed by that, so whoever opens it with the class later finds it as
it was. Documents are stored only if all is known that their class does to them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

from ..errors import CHECK, CorruptIndexError, SchemaMismatchError, WorkDirError
from ..guessing import guessed
from ..rebuilding import rebuilt
from ..schema import Schema
from .config import Durability
from .fieldtable import FieldTables, stored_fields
from .index import HnswDocumentIndex
from .settings import Declared, SettingsRecord
from .sidecar import Sidecar
from .state import Access

D = TypeVar('D', bound=BaseModel)

_FILE = 'documents.sqlite3'


@dataclass(frozen=True)
class Stored:
    """
    What a directory says of its documents.

    Attributes:
        doc_type: A class that reads them, and writes them as the user's does, if all of that is known.
        columns: The types of the columns.
        declared: For each vector field the settings that its schema has declared.
    """

    doc_type: type[BaseModel]
    columns: Mapping[str, str]
    declared: Declared

    @classmethod
    def of(cls, path: Path) -> Stored:
        """
        Return what a directory says.

        Raises:
            WorkDirError: there is no index, or it is damaged or of a newer docindex; see its subclasses.
        """
        file = path / _FILE
        if not file.is_file():
            raise WorkDirError(f'there is no index here: {_FILE} is missing', path, 'an index is made with a class')
        with closing(Sidecar(file, read_only=True)) as sidecar:
            if sidecar.is_new():
                raise WorkDirError('there is no index here yet', path, 'open it for writing with a class first')
            meta = sidecar.rows.meta()
            effective = SettingsRecord(sidecar, meta['settings'], {}).effective
        if not effective.keys() <= meta['columns'].keys():
            raise CorruptIndexError('this file has settings of fields that it has not', file, CHECK)
        declared = {
            field: {**meta['settings'][field]['declared'], 'dim': settings.dim} for field, settings in effective.items()
        }
        return cls(_class(meta, declared), meta['columns'], declared)


def _class(meta: Mapping[str, Any], declared: Declared) -> type[BaseModel]:
    """Return a class for the documents of a directory, as good as can be told."""
    drawn = meta.get('blueprint')
    if isinstance(drawn, dict):
        doc_type = rebuilt(drawn)
        schema = Schema(doc_type)
        columns = schema.describe(declared)
        if columns == meta['columns'] and _fields_of(schema, meta) == meta['fields']:
            return doc_type
        if columns.keys() == meta['columns'].keys():
            return rebuilt({**drawn, 'unknown': [*drawn['unknown'], 'its fields are kept otherwise here']})
    # An older docindex wrote it last.
    fields = FieldTables.from_json(meta['levels'], meta['fields'])
    kinds: dict[str, str] = {}
    settings: dict[str, dict[str, Any]] = {}
    for name, table in zip(fields.names, fields, strict=True):
        for flat, field in ((f'{name}__{one}' if name else one, field) for one, field in table.fields.items()):
            kinds[flat] = field.kind
            settings[flat] = {'full_text': True, 'tokenizer': field.tokenizer} if field.tokenizer else {}
    return rebuilt(guessed('Document', meta['columns'], meta.get('json_schema'), kinds, settings))


def _fields_of(schema: Schema[Any], meta: Mapping[str, Any]) -> list[list[list[Any]]] | None:
    """Return what filters would look at in documents of a schema, as a directory remembers it."""
    if set(schema.levels) != set(meta['levels']):
        return None
    return [[list(field) for field in stored_fields(schema.levels[name].schema)] for name in meta['levels']]


class ClasslessIndex(HnswDocumentIndex[D]):
    """An index whose class is made of what the directory says."""

    _stored: ClassVar[Stored]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        with self._usable().reading() as view:
            is_same = view.state.columns == self._stored.columns
        if not is_same:
            self.close()
            raise SchemaMismatchError('this directory has just got another schema', self.work_dir, 'open it once more')

    def _declared(self) -> Declared:
        return self._stored.declared

    def _access(self) -> Access:
        return replace(super()._access(), keeps_schema=True)


def is_index(work_dir: str | os.PathLike[str]) -> bool:
    """Return whether there is an index in a directory."""
    file = Path(work_dir) / _FILE
    if not file.is_file():
        return False
    with closing(Sidecar(file, read_only=True)) as sidecar:
        return not sidecar.is_new()


def open_index(
    work_dir: str | os.PathLike[str],
    *,
    read_only: bool = False,
    shared_writes: bool = False,
    durability: Durability = 'power',
    auto_compact: float | bool | None = None,
    trust_graphs: bool = True,
    lazy: bool = False,
    lock_timeout: float | None = None,
) -> HnswDocumentIndex[Any]:
    """
    Open an index that exists without the class of its documents: `open_index('films', read_only=True)`.

    The class is made of what the directory says: `index['7']` is a `Film` with the fields, types and defaults of
    yours, though no instance of it. If there is what a directory cannot say, as a validator, documents can be found,
    read and deleted, and storing some is refused; values of a type that neither pydantic nor docindex has come back as
    what stands in their JSON. Either way the directory stays as it was for whoever opens it with the class.

    Args:
        work_dir: The directory.
        read_only: See `HnswDocumentIndex`, as for the others.
        shared_writes: Hold the lock for each write only.
        durability: What an acknowledged write survives, 'power' or 'process'.
        auto_compact: The share of dead versions at which a write compacts the index.
        trust_graphs: False: build the graphs from the vectors.
        lazy: True: load a graph when it is first searched.
        lock_timeout: Seconds to wait for another process that writes.

    Raises:
        WorkDirError: there is no index, or it cannot be used; see `HnswDocumentIndex`.
        SchemaError: what the directory says of the class makes no sense.
    """
    stored = Stored.of(Path(work_dir))
    base: Any = ClasslessIndex[stored.doc_type]  # type: ignore[name-defined]
    name = f'HnswDocumentIndex[{stored.doc_type.__name__}]'
    opened: type[HnswDocumentIndex[Any]] = type(name, (base,), {'_stored': stored, '__module__': base.__module__})
    return opened(
        work_dir=work_dir,
        read_only=read_only,
        shared_writes=shared_writes,
        durability=durability,
        auto_compact=auto_compact,
        trust_graphs=trust_graphs,
        lazy=lazy,
        lock_timeout=lock_timeout,
    )
