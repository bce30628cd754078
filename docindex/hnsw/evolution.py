"""
When a directory is opened with another schema than it was made with: what can be carried over, and what cannot.

Stored documents are not rewritten. So a new field must be one that they can do without (it has a default, or is an
optional vector), a removed one is no longer read, and a type may only begin to allow None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..schema import Column, Schema

Types = Mapping[str, str]
"""Each column and nested document by flat name, with its type: `Schema.describe`."""


@dataclass(frozen=True)
class Evolution:
    """
    The way from one schema to another.

    Attributes:
        obstacles: Why it cannot be gone, a clause for each field; empty if it can.
        changes: What changes, a clause for each field.
        new_vectors: The vector columns that the stored documents do not have, with those of new lists.
    """

    obstacles: list[str]
    changes: list[str]
    new_vectors: list[str]


def evolution(before: Types, now: Types, schema: Schema[Any]) -> Evolution:
    """Return what opening a directory with `schema` means, whose types are `now` and were `before`."""
    found = Evolution([], [], [])
    for name, type_ in now.items():
        if name not in before:
            _add(found, before, name, type_, schema)
        elif type_ == f'{before[name]} | None':
            found.changes.append(f'{name} may be None now')
        elif type_ != before[name]:
            found.obstacles.append(f'{name} is {before[name]} there and {type_} here')
    for name, type_ in before.items():
        if name in now:
            continue
        forbids = schema.level_of(name).schema.doc_type.model_config.get('extra') == 'forbid'
        if type_.startswith(('vector[', 'documents')):
            what = 'vectors' if type_.startswith('vector[') else 'documents'
            found.obstacles.append(f'{name} is {type_} there and missing here, and its {what} would be lost')
        elif forbids:
            found.obstacles.append(f"{name} is {type_} there and missing here, and extra='forbid' refuses it")
        else:
            found.changes.append(f'{name} is not read any more')
    return found


def _add(found: Evolution, before: Types, name: str, type_: str, schema: Schema[Any]) -> None:
    outer, column = _field(schema, name)
    if outer and outer not in before:
        return  # it came with its document, which has to have a default, or with its list
    if not column.has_default:
        found.obstacles.append(f'{name} is new and has no default, which the stored documents would need')
    elif type_.startswith('vector[') and not type_.endswith(' | None'):
        found.obstacles.append(f'{name} is a new vector, which the stored documents lack; make it optional')
    else:
        found.changes.append(f'{name} is new, with its default in the stored documents')
    for level in schema.levels.values():
        for flat, inside in ((level.flat(each), one) for each, one in level.schema.columns.items()):
            if inside.is_tensor and (flat == name or flat.startswith(f'{name}__')):
                found.new_vectors.append(flat)


def _field(schema: Schema[Any], name: str) -> tuple[str, Column]:
    """Return the flat name of the document or list that a field is in, and the field."""
    level = schema.level_of(name)
    column = level.schema.nodes[level.name_of(name)]
    return (level.flat(column.outer) if column.outer else level.name), column
