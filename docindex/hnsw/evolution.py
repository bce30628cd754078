"""
When a directory is opened with another schema than it was made with: what can be carried over, and what cannot.

Stored documents are not rewritten. So a new field must be one that they can do without (it has a default, or is an
optional vector), a removed one is no longer read, and a type may only begin to allow None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..schema import Schema

Types = Mapping[str, str]
"""Each column and nested document by flat name, with its type: `Schema.describe`."""


@dataclass(frozen=True)
class Evolution:
    """
    The way from one schema to another.

    Attributes:
        obstacles: Why it cannot be gone, a clause for each field; empty if it can.
        changes: What changes, a clause for each field.
        new_vectors: The vector columns that the stored documents do not have.
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
    forbids = schema.doc_type.model_config.get('extra') == 'forbid'
    for name, type_ in before.items():
        if name in now:
            continue
        if type_.startswith('vector['):
            found.obstacles.append(f'{name} is {type_} there and missing here, and its vectors would be lost')
        elif forbids:
            found.obstacles.append(f"{name} is {type_} there and missing here, and extra='forbid' refuses it")
        else:
            found.changes.append(f'{name} is not read any more')
    return found


def _add(found: Evolution, before: Types, name: str, type_: str, schema: Schema[Any]) -> None:
    outer = schema.nodes[name].outer
    if outer and outer not in before:
        return  # it came with its document, which has to have a default
    if not schema.nodes[name].has_default:
        found.obstacles.append(f'{name} is new and has no default, which the stored documents would need')
    elif type_.startswith('vector[') and not type_.endswith(' | None'):
        found.obstacles.append(f'{name} is a new vector, which the stored documents lack; make it optional')
    else:
        found.changes.append(f'{name} is new, with its default in the stored documents')
    inside = [other for other in schema.nodes if other == name or other.startswith(f'{name}__')]
    found.new_vectors.extend(other for other in inside if other in schema.columns and schema.columns[other].is_tensor)
