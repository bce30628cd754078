"""What `update` changes in documents that exist: some fields of each, by id; and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from .embedding import Recorded
from .errors import QueryError
from .filling import Made, check_texts, renewed
from .schema import Level
from .searchable import ids_of

D = TypeVar('D', bound=BaseModel)

Changes = Mapping[str, Mapping[str, Any]]
"""New values by the id of the document and the flat name of the field."""


def changes_of(docs: object, fields: Mapping[str, Any]) -> Changes | None:
    """
    Return what an `update` of some fields changes; None, if it replaces documents.

    `{'a': {'price': 3}}` changes a document. One that is replaced comes as a dictionary too, but there is always
    something in that which is none itself: its id.

    Raises:
        QueryError: nobody can tell which document it is of, or something is no name of a field.
        IdTypeError: something is no id.
    """
    if isinstance(docs, str):
        return {docs: fields}
    if fields:
        raise QueryError("to change some fields, give the document's id: update('the id', price=3)")
    if not isinstance(docs, Mapping) or not all(isinstance(values, Mapping) for values in docs.values()):
        return None
    ids_of([*docs])
    for id_, values in docs.items():
        for name in values:
            if not isinstance(name, str):
                raise QueryError(f'{id_!r}: the name of a field is a string, got {name!r}')
    return docs


def touches(changes: Changes, fields: Iterable[str]) -> bool:
    """Return whether one of these fields, by flat name, changes, or something in it, or the document it is in."""
    names = {name for values in changes.values() for name in values}
    return any(
        name == field or name.startswith(f'{field}__') or field.startswith(f'{name}__')
        for field in fields
        for name in names
    )


def changed(
    level: Level,
    docs: Sequence[D],
    changes: Changes,
    recorded: Mapping[str, Recorded],
    made: Made,
) -> list[D]:
    """
    Return copies of documents with other values, validated, and with the vectors of the texts that they have now.

    Args:
        level: Their level.
        docs: The documents, in the order of `changes`.
        changes: The values.
        recorded: What the index knows of how vectors were made, by flat name.
        made: Vectors that need not be made again; new ones are added.

    Raises:
        QueryError: a name is not a field's, or a text changes whose vector nobody here can make.
        DocumentError: a value does not fit.
        EmbeddingError: a function that makes vectors has failed.
    """
    after: list[D] = []
    for doc, (id_, values) in zip(docs, changes.items(), strict=True):
        try:
            check_texts(level, recorded, values)
            after.append(level.schema.changed(doc, values))
        except QueryError as error:
            if len(changes) == 1:
                raise
            raise QueryError(f'{id_!r}: {error}') from None
    return renewed(level.schema, docs, after, [*changes.values()], made) if level.schema.makes_vectors else after
