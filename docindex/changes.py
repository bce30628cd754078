"""What `update` changes in documents that exist: some fields of each, by id; and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel

from .annotations import aliases_of
from .document import BaseDoc
from .embedding import Recorded
from .errors import DocumentError, DocumentNotFoundError, QueryError
from .filling import Made, check_texts, renewed
from .plain import makes_as
from .schema import Level
from .searchable import ids_of

D = TypeVar('D', bound=BaseModel)

Changes = Mapping[str, Mapping[str, Any]]
"""New values by the id of the document and the flat name of the field."""


def changes_of(docs: object, fields: Mapping[str, Any], doc_type: type[BaseModel]) -> Changes | None:
    """
    Return what an `update` of some fields changes in documents of a class; None, if it replaces documents.

    `{'a': {'price': 3}}` changes a document. One that is replaced comes as a dictionary too, but there is always
    something in that which is none itself: its id.

    Raises:
        QueryError: nobody can tell which document it is of, its changes are no dictionary, or something is no name of a
            field.
        IdTypeError: something is no id.
    """
    if isinstance(docs, str):
        return {docs: fields}
    if fields:
        raise QueryError("to change some fields, give the document's id: update('the id', price=3)")
    if not isinstance(docs, Mapping) or _is_document(docs, doc_type):
        return None
    ids_of([*docs])
    for id_, values in docs.items():
        if not isinstance(values, Mapping):
            raise QueryError(
                f"{id_!r}: expected a dict of the fields that change, as in update({{'the id': {{'price': 3}}}}), got "
                f'{type(values).__name__}; nor is the whole a document, for none of its keys is a field of '
                f'{doc_type.__name__}'
            )
        for name in values:
            if not isinstance(name, str):
                raise QueryError(f'{id_!r}: the name of a field is a string, got {name!r}')
    return docs


def _is_document(given: Mapping[Any, Any], doc_type: type[BaseModel]) -> bool:
    """Return whether a dictionary is a document, perhaps a bad one, and not changes, perhaps bad ones."""
    if all(isinstance(values, Mapping) for values in given.values()):
        return False
    has_fields = not given.keys().isdisjoint({*doc_type.model_fields, *aliases_of(doc_type)})
    return has_fields or isinstance(doc_type.model_fields['id'].default, str) or _may_read_anything(doc_type)


def _may_read_anything(doc_type: type[BaseModel]) -> bool:
    """Return whether code of the user's sees a dictionary before its keys are taken for those of fields."""
    decorators = doc_type.__pydantic_decorators__
    modes = {one.info.mode for one in decorators.model_validators.values()}
    modes |= {one.info.mode for one in decorators.root_validators.values()}
    return bool(modes - {'after'}) or not any(makes_as(doc_type, base) for base in (BaseModel, BaseDoc))


@contextmanager
def naming_what_has_no_id(docs: Sequence[BaseModel]) -> Iterator[None]:
    """
    Name a document that is to replace another one and was given no id, instead of the id that its class made up.

    Raises:
        DocumentError: there is such a document, and none with that id.
    """
    try:
        yield
    except DocumentNotFoundError as error:
        for at, doc in enumerate(docs):
            if 'id' not in doc.model_fields_set and getattr(doc, 'id', None) in error.ids:
                raise DocumentError(
                    f'document {at} has no id, which says what it replaces; to change some fields of a document: '
                    "update('the id', price=3)"
                ) from error
        raise


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
