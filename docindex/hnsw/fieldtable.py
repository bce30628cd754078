"""
The table `fields`: what of each document filters and full text look at, one column a field, as SQL.

    fields            label, and for each field of a document but `id` and its vectors what `values.to_sql` makes of it
    text_<tokenizer>  full text (FTS5) over the fields with that tokenizer; it has the words, `fields` has the text

Both say nothing that `documents` does not say, and change in the same transactions. They are made anew where the schema
wants them otherwise. Names in SQL come from the schema alone; whatever a user gives is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..schema import Schema

FIELDS = 'fields'

_TOKENIZE = {
    'unicode61': 'unicode61 remove_diacritics 2',
    'porter': 'porter unicode61 remove_diacritics 2',
    'trigram': 'trigram',
}


class StoredField(NamedTuple):
    """
    A column of the table.

    Attributes:
        name: The flat name of the field.
        column: The column's name in SQL.
        kind: What its values are; see `docindex.values`.
        is_indexed: Whether it has an index.
        tokenizer: How its text becomes words; None: it is not searched.
    """

    name: str
    column: str
    kind: str
    is_indexed: bool
    tokenizer: str | None


def stored_fields(schema: Schema[Any]) -> FieldTable:
    """Return the table for the documents of a schema."""
    fields: list[StoredField] = []
    seen: set[str] = set()
    for name, node in sorted(schema.nodes.items()):  # a class may list its fields in another order the next time
        kind, settings = node.kind, node.settings
        if name == 'id' or not node.is_stored or (kind.name == 'opaque' and not node.is_optional):
            continue  # the last is always there
        column = f'f_{name}'
        if column.lower() in seen:  # SQLite takes `Name` and `name` for the same
            column = f'f{len(fields)}_{name}'
        seen.add(column.lower())
        is_text = bool(settings.get('full_text', False))
        is_indexed = kind.is_scalar and bool(settings.get('index', not is_text))
        tokenizer = settings.get('tokenizer', 'unicode61') if is_text else None
        fields.append(StoredField(name, column, kind.name, is_indexed, tokenizer))
    return FieldTable(fields)


class FieldTable:
    """
    The columns of the table, and the statements that make and fill it.

    Attributes:
        fields: Its columns by the flat name of the field, in order.
    """

    delete = f'DELETE FROM {FIELDS} WHERE label = ?'

    def __init__(self, fields: Iterable[StoredField] = ()) -> None:
        self.fields = {field.name: field for field in fields}
        self._columns = ''.join(f', {field.column}' for field in self.fields.values())
        self.insert = f'INSERT INTO {FIELDS} (label{self._columns}) VALUES (?{", ?" * len(self.fields)})'

    @staticmethod
    def is_safe(rows: Sequence[Any]) -> bool:
        """Return whether these can be what `to_json` returned, and put into SQL: a stranger may have written them."""
        return all(
            isinstance(row, list)
            and len(row) == len(StoredField._fields)
            and all(isinstance(text, str) for text in row[:3])
            and re.fullmatch(r'f\d*_\w+', row[1]) is not None
            and isinstance(row[3], bool)
            and row[4] in (None, *_TOKENIZE)
            for row in rows
        )

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[Any]]) -> FieldTable:
        """Return what `to_json` was called on."""
        return cls(StoredField(*row) for row in rows)

    def to_json(self) -> list[list[Any]]:
        """Return the columns as JSON types: what a directory remembers of them."""
        return [list(field) for field in self.fields.values()]

    def has_columns_of(self, other: FieldTable) -> bool:
        """Return whether both tables hold the same values, whatever indexes they have."""
        return [field[:3] for field in self.fields.values()] == [field[:3] for field in other.fields.values()]

    def text_tables(self) -> dict[str, list[StoredField]]:
        """Return the fields in each table of full text, by its name."""
        tables: dict[str, list[StoredField]] = {}
        for field in self.fields.values():
            if field.tokenizer is not None:
                tables.setdefault(f'text_{field.tokenizer}', []).append(field)
        return tables

    def create(self) -> Iterator[str]:
        """Yield the statements that make the table, empty."""
        yield self._create(FIELDS)
        yield from self._create_beside()

    def drop(self) -> Iterator[str]:
        """Yield the statements that remove it."""
        yield from (f'DROP TABLE IF EXISTS {name}' for name in (*self.text_tables(), FIELDS))

    def renumber(self) -> Iterator[str]:
        """Yield the statements that give its rows the labels that `documents` is about to give to the same."""
        yield self._create('renumbered_fields')
        yield (
            f'INSERT INTO renumbered_fields SELECT new{self._columns} '
            'FROM (SELECT label, row_number() OVER (ORDER BY label) - 1 AS new FROM documents) '
            f'LEFT JOIN {FIELDS} USING (label)'
        )
        yield from self.drop()
        yield f'ALTER TABLE renumbered_fields RENAME TO {FIELDS}'
        yield from self._create_beside()
        yield from self.fill_text()

    def fill_text(self) -> Iterator[str]:
        """Yield the statements that read all texts anew."""
        yield from (f"INSERT INTO {name} ({name}) VALUES ('rebuild')" for name in self.text_tables())

    def check_text(self) -> Iterator[str]:
        """Yield the statements that fail where full text and `fields` say different things."""
        yield from (f"INSERT INTO {name} ({name}, rank) VALUES ('integrity-check', 1)" for name in self.text_tables())

    def _create(self, name: str) -> str:
        return f'CREATE TABLE {name} (label INTEGER PRIMARY KEY{self._columns})'

    def _create_beside(self) -> Iterator[str]:
        for field in self.fields.values():
            if field.is_indexed:
                yield f'CREATE INDEX index_{field.column} ON {FIELDS} ({field.column})'
        for name, fields in self.text_tables().items():
            columns = ', '.join(field.column for field in fields)
            old, new = (', '.join(f'{side}.{field.column}' for field in fields) for side in ('old', 'new'))
            tokenize = _TOKENIZE[name.removeprefix('text_')]
            yield (
                f"CREATE VIRTUAL TABLE {name} USING fts5({columns}, content='{FIELDS}', content_rowid='label', "
                f"tokenize='{tokenize}')"
            )
            yield (
                f'CREATE TRIGGER {name}_insert AFTER INSERT ON {FIELDS} BEGIN '
                f'INSERT INTO {name} (rowid, {columns}) VALUES (new.label, {new}); END'
            )
            yield (
                f'CREATE TRIGGER {name}_delete AFTER DELETE ON {FIELDS} BEGIN '
                f"INSERT INTO {name} ({name}, rowid, {columns}) VALUES ('delete', old.label, {old}); END"
            )
