"""
The table `fields`: what of each document filters and full text look at, one column a field, as SQL.

    fields            label, and for each field of a document but `id` and its vectors what `values.to_sql` makes of it
    text_<tokenizer>  full text (FTS5) over the fields with that tokenizer; it has the words, `fields` has the text

Documents in lists have tables of their own, with the number of their level: `fields_1`, `text_1_<tokenizer>`.

Both say nothing that `documents` does not say, and change in the same transactions. They are made anew where the schema
wants them otherwise. Names in SQL come from the schema alone; whatever a user gives is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..schema import Schema

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


def stored_fields(schema: Schema[Any]) -> list[StoredField]:
    """Return the columns of the table for the documents of a schema."""
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
    return fields


class FieldTables:
    """
    The tables of all levels, and how the levels belong together.

    Attributes:
        names: The flat name of each level's list by the number of the level; that of level 0 is empty.
        tables: The table of each level.
    """

    def __init__(self, names: Sequence[str], tables: Sequence[FieldTable]) -> None:
        self.names = list(names)
        self.tables = list(tables)
        self._number = {name: level for level, name in enumerate(self.names)}

    @classmethod
    def from_json(cls, names: Sequence[str], levels: Sequence[Sequence[Sequence[Any]]]) -> FieldTables:
        """Return what `to_json` was called on, with the names of the levels."""
        tables = [FieldTable((StoredField(*row) for row in rows), level) for level, rows in enumerate(levels)]
        return cls(names, tables)

    def to_json(self) -> list[list[list[Any]]]:
        """Return the columns of each level as JSON types: what a directory remembers of them."""
        return [table.to_json() for table in self.tables]

    def __iter__(self) -> Iterator[FieldTable]:
        return iter(self.tables)

    def __getitem__(self, level: int) -> FieldTable:
        return self.tables[level]

    def has_columns_of(self, other: FieldTables) -> bool:
        """Return whether all tables hold the same values as others, whatever indexes they have."""
        pairs = zip(self.tables, other.tables, strict=False)
        return self.names == other.names and all(mine.has_columns_of(theirs) for mine, theirs in pairs)

    def number(self, name: str) -> int:
        """Return the number of a level, by the flat name of its list."""
        return self._number[name]

    def outer(self, level: int) -> int | None:
        """Return the level of the documents in whose lists those of a level are; None for those that are in none."""
        if level == 0:
            return None
        outer = self.names[level]
        while '__' in outer:
            outer = outer.rpartition('__')[0]
            if outer in self._number:
                return self._number[outer]
        return 0

    def below(self, level: int) -> list[int]:
        """Return the levels of the documents that are in lists of those of a level."""
        return [inner for inner in range(1, len(self.names)) if self.outer(inner) == level]

    def inner(self, level: int, list_name: str) -> int:
        """Return the level of the documents in a list of those of a level, by its flat name there."""
        outer = self.names[level]
        return self._number[f'{outer}__{list_name}' if outer else list_name]

    def level_of(self, field: str) -> int:
        """Return the level that a vector field, by its flat name, belongs to."""
        outer = [level for level, name in enumerate(self.names) if name and field.startswith(f'{name}__')]
        return max(outer, key=lambda level: len(self.names[level]), default=0)


def are_safe(levels: Sequence[Any]) -> bool:
    """Return whether these can be what `to_json` returned, and put into SQL: a stranger may have written them."""
    return all(isinstance(rows, list) and all(map(_is_safe, rows)) for rows in levels)


def _is_safe(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == len(StoredField._fields)
        and all(isinstance(text, str) for text in row[:3])
        and re.fullmatch(r'f\d*_\w+', row[1]) is not None
        and isinstance(row[3], bool)
        and row[4] in (None, *_TOKENIZE)
    )


class FieldTable:
    """
    The columns of one level's table, and the statements that make and fill it.

    Attributes:
        level: The level; 0 for the documents that are in no list.
        name: Its name in SQL.
        fields: Its columns by the flat name of the field, in order.
    """

    def __init__(self, fields: Iterable[StoredField] = (), level: int = 0) -> None:
        self.level = level
        self.fields = {field.name: field for field in fields}
        self._infix = f'{level}_' if level else ''
        self.name = f'fields_{level}' if level else 'fields'
        self._columns = ''.join(f', {field.column}' for field in self.fields.values())
        self.insert = f'INSERT INTO {self.name} (label{self._columns}) VALUES (?{", ?" * len(self.fields)})'
        self.delete = f'DELETE FROM {self.name} WHERE label = ?'

    def update(self, positions: Sequence[int]) -> str:
        """Return the statement that gives a row other values in the columns at these positions."""
        columns = [field.column for field in self.fields.values()]
        return f'UPDATE {self.name} SET {", ".join(f"{columns[at]} = ?" for at in positions)} WHERE label = ?'

    def select(self, count: int) -> str:
        """Return the statement that reads so many rows by their labels."""
        return f'SELECT label{self._columns} FROM {self.name} WHERE label IN ({", ".join("?" * count)})'

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
                tables.setdefault(self.text_table(field), []).append(field)
        return tables

    def text_table(self, field: StoredField) -> str:
        """Return the name of the table that has the full text of a field."""
        return f'text_{self._infix}{field.tokenizer}'

    def create(self) -> Iterator[str]:
        """Yield the statements that make the table, empty."""
        yield self._create(self.name)
        yield from self._create_beside()

    def drop(self) -> Iterator[str]:
        """Yield the statements that remove it."""
        yield from (f'DROP TABLE IF EXISTS {name}' for name in (*self.text_tables(), self.name))

    def renumber(self) -> Iterator[str]:
        """Yield the statements that give its rows the labels that `documents` is about to give to the same."""
        yield self._create('renumbered_fields')
        yield (
            f'INSERT INTO renumbered_fields SELECT new{self._columns} '
            'FROM (SELECT label, level, row_number() OVER (ORDER BY level, label) - 1 AS new FROM documents) '
            f'LEFT JOIN {self.name} USING (label) WHERE level = {self.level}'
        )
        yield from self.drop()
        yield f'ALTER TABLE renumbered_fields RENAME TO {self.name}'
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

    def create_indexes(self) -> Iterator[str]:
        """Yield the statements that make its indexes."""
        for field in self.fields.values():
            if field.is_indexed:
                yield f'CREATE INDEX index_{self._infix}{field.column} ON {self.name} ({field.column})'

    def drop_indexes(self) -> Iterator[str]:
        """Yield the statements that remove them."""
        yield from (
            f'DROP INDEX index_{self._infix}{field.column}' for field in self.fields.values() if field.is_indexed
        )

    def _create_beside(self) -> Iterator[str]:
        yield from self.create_indexes()
        for name, fields in self.text_tables().items():
            columns = ', '.join(field.column for field in fields)
            old, new = (', '.join(f'{side}.{field.column}' for field in fields) for side in ('old', 'new'))
            tokenize = _TOKENIZE[name.removeprefix(f'text_{self._infix}')]
            yield (
                f"CREATE VIRTUAL TABLE {name} USING fts5({columns}, content='{self.name}', content_rowid='label', "
                f"tokenize='{tokenize}')"
            )
            yield (
                f'CREATE TRIGGER {name}_insert AFTER INSERT ON {self.name} BEGIN '
                f'INSERT INTO {name} (rowid, {columns}) VALUES (new.label, {new}); END'
            )
            yield (
                f'CREATE TRIGGER {name}_delete AFTER DELETE ON {self.name} BEGIN '
                f"INSERT INTO {name} ({name}, rowid, {columns}) VALUES ('delete', old.label, {old}); END"
            )
