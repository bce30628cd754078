"""
Which fields of a collection filters look at, and what stands in them for the value of a document.

| kind | in Milvus |
| --- | --- |
| text | VARCHAR |
| number | INT64 if all values are integers, otherwise DOUBLE |
| boolean | BOOL |
| datetime, date, time | INT64: microseconds since 1970, days since the year 1, microseconds since midnight |
| decimal, duration, uuid, bytes | VARCHAR, strings in their order |
| list, dict, any | JSON, as `forms` writes it |
| a list of documents | INT64, `_size__<list>`: how many there are |
| an optional document, and what else cannot be compared | BOOL, `_has__<field>`: whether it is there |

A number that does not fit into INT64 or DOUBLE stands there as the nearest that does. `expressions` knows where that
happens, and that these cannot be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from ..errors import DocumentError
from ..kinds import Kind, canonical_of
from ..schema import Column, Schema
from ..values import class_of, decimal_key, encode, to_sql
from .forms import LARGEST_INT64, nearest_of, scalar, tagged

DataType = Literal['INT64', 'DOUBLE', 'BOOL', 'VARCHAR', 'JSON']

LONGEST_TEXT = 65_535
LONGEST_JSON = 65_536
"""Bytes that a server takes; Milvus Lite takes more."""

_KEYWORDS = {'and', 'or', 'not', 'in', 'is', 'null', 'like', 'exists', 'iso', 'interval', 'true', 'false'}
_KEYWORDS |= {'text_match', 'phrase_match', 'random_sample', 'minimum_should_match', 'threshold', 'element_filter'}
_KEYWORDS |= {f'match_{which}' for which in ('all', 'any', 'least', 'most', 'exact')}
_KEYWORDS |= {f'{what}_contains{which}' for what in ('json', 'array') for which in ('', '_all', '_any')}
_KEYWORDS |= {f'st_{which}' for which in ('equals', 'touches', 'overlaps', 'crosses', 'contains', 'intersects')}
_KEYWORDS |= {'st_within', 'st_dwithin', 'st_isvalid', 'array_length', 'rowid', 'timestamp'}
"""Words of the language of expressions (Milvus 3.0, Plan.g4; Milvus Lite 3.2), and a server's own fields."""

_DATA_TYPES: dict[str, DataType] = {
    'text': 'VARCHAR',
    'boolean': 'BOOL',
    **dict.fromkeys(('datetime', 'date', 'time'), 'INT64'),
    **dict.fromkeys(('decimal', 'duration', 'uuid', 'bytes'), 'VARCHAR'),
    **dict.fromkeys(('list', 'dict', 'any'), 'JSON'),
}
_MAY_BE_NAN = ('decimal', 'any')
_TEXT = Kind('text', str, is_ordered=True)


@dataclass(frozen=True)
class ScalarColumn:
    """
    A field of a collection that filters look at.

    Attributes:
        field: The flat name of the field in the schema.
        name: The name of the field in the collection.
        data_type: Its type there.
        is_nullable: Whether a document may have nothing there.
        max_length: How many bytes a VARCHAR has room for; None of other types.
        kind: What the values of the field in the schema are; `opaque`, if it is asked for its presence or size alone.
    """

    field: str
    name: str
    data_type: DataType
    is_nullable: bool
    max_length: int | None = None
    kind: Kind = _TEXT

    def encode(self, value: Any) -> Any:
        """
        Return what stands in the collection for the value of a document; None where that is missing, or NaN.

        Raises:
            DocumentError: a server would refuse it: it is too long, or not what the schema says.
        """
        if self.kind.name == 'opaque':
            return value is not None if self.data_type == 'BOOL' else self._or_none(value, len)
        return self._or_none(canonical_of(self.kind, value), self._encoded)

    def _or_none(self, value: Any, convert: Any) -> Any:
        if value is not None:
            return convert(value)
        if not self.is_nullable:
            raise DocumentError(f'field {self.field!r} is None or NaN, and by the schema it always has a value')
        return None

    def _encoded(self, value: Any) -> Any:
        is_decimal = isinstance(value, Decimal)
        if self.kind.name not in ('any', 'decimal' if is_decimal else class_of(value)):
            raise DocumentError(f'field {self.field!r}: expected {self.kind.describe()}, got {value!r}')
        if self.data_type == 'JSON':
            return self._checked_json(tagged(value))
        found = self.stored(value)
        return self._checked_text(found) if self.data_type == 'VARCHAR' else found

    def stored(self, value: Any) -> Any:
        """Return a canonical value of the kind of this field, which is a scalar, as it stands in the collection."""
        if self.kind.name == 'number':
            return self._integer(value) if self.data_type == 'INT64' else nearest_of(value)
        if self.kind.name == 'decimal':
            return decimal_key(Decimal(value))
        return to_sql(value) if self.data_type == 'INT64' else scalar(value)

    def _integer(self, value: Any) -> int:
        if not -LARGEST_INT64 < value < LARGEST_INT64:
            # -2**63 itself is left out: a server reads a minus, and then a number that is too large for it.
            return LARGEST_INT64 if value > 0 else -LARGEST_INT64
        if value != int(value):
            raise DocumentError(f'field {self.field!r}: expected an integer, got {value!r}')
        return int(value)

    def _checked_text(self, text: str) -> str:
        self._check_length(len(text) if text.isascii() else len(text.encode()), LONGEST_TEXT, 'a text')
        return text

    def _checked_json(self, content: dict[str, Any]) -> dict[str, Any]:
        self._check_length(len(encode(content).encode()), LONGEST_JSON, 'a list, dict or union')
        return content

    def _check_length(self, length: int, limit: int, what: str) -> None:
        if length > limit:
            raise DocumentError(
                f'field {self.field!r} has {length:,} bytes for filters to look at, and Milvus takes {limit:,} in '
                f'{what}; with Field(index=False) it is stored, and filters read the documents'
            )


def scalar_columns(schema: Schema[Any]) -> dict[str, ScalarColumn]:
    """
    Return, by flat name, the fields of a collection that filters look at, for the documents of one level.

    Neither `id` nor vectors are among them, nor what is always there and cannot be compared.
    """
    found = {}
    for field, node in sorted(schema.nodes.items()):
        is_looked_at = node.is_stored and node.settings.get('index', True)
        if is_looked_at and field != 'id' and not node.is_tensor:
            column = _column(field, node)
            if column is not None:
                found[field] = column
    return found


def _column(field: str, node: Column) -> ScalarColumn | None:
    name, kind = name_in_collection(field), node.kind
    if node.inner is not None:
        return ScalarColumn(field, f'_size__{name}', 'INT64', node.is_optional, kind=kind)
    if kind.name == 'opaque':
        return ScalarColumn(field, f'_has__{name}', 'BOOL', False, kind=kind) if node.is_optional else None
    data_type = _DATA_TYPES.get(kind.name) or ('INT64' if _is_integer(kind) else 'DOUBLE')
    is_nullable = node.is_optional or data_type == 'DOUBLE' or kind.name in _MAY_BE_NAN
    max_length = LONGEST_TEXT if data_type == 'VARCHAR' else None
    return ScalarColumn(field, name, data_type, is_nullable, max_length, kind)


def _is_integer(kind: Kind) -> bool:
    if kind.choices is not None:
        return all(type(choice) is int for choice in kind.choices)
    return isinstance(kind.type, type) and issubclass(kind.type, int)


def name_in_collection(field: str) -> str:
    """
    Return the name that a field has in a collection: its flat name, if it is ASCII and no word of an expression.

    No two fields have the same, and only what is not a flat name begins with an underscore.
    """
    if field.isascii():
        return f'_k_{field}' if field.lower() in _KEYWORDS else field
    # Punycode: the letters that are ASCII, a hyphen if there are any, and letters and digits for the rest.
    return re.sub('-(?=[^-]*$)', '_', f'_u_{field.encode("punycode").decode("ascii")}')


Columns = Mapping[str, ScalarColumn]
"""By the flat name of the field."""
