"""Why documents are refused: their ids, classes of which not all is known, and what pydantic complains of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .errors import DimensionError, DocIndexError, DocumentError, IdTypeError, SchemaError, VectorError

UNKNOWN = '__docindex_unknown__'
"""The attribute of a class that `docindex.rebuilding` has made: what of the user's class is not known."""


def unknown_of(doc_type: type[Any]) -> list[str]:
    """Return what is not known of the class that a document class stands in for, a clause each; mostly nothing."""
    unknown: list[str] = getattr(doc_type, UNKNOWN, [])
    return unknown


def check_known(doc_type: type[Any]) -> None:
    """
    Check that documents of a class can be stored.

    Raises:
        SchemaError: it stands in for a class of which not all is known.
    """
    unknown = unknown_of(doc_type)
    if unknown:
        more = f', and {len(unknown) - 3} more' if len(unknown) > 3 else ''
        raise SchemaError(
            f'documents can be read and deleted here, but not stored without their class: {"; ".join(unknown[:3])}'
            f'{more}. Open the directory with the class, HnswDocumentIndex[{doc_type.__name__}], or on a command line '
            'with --schema module:Class'
        )


def check_id(id_: object, what: Callable[[], str]) -> str:
    """Return the id of the document `what`, which must be a string that is not empty and can be written as UTF-8."""
    if not isinstance(id_, str):
        raise IdTypeError(not_a_string(what(), id_))
    if not id_:
        raise DocumentError(f'{what()}: the id is empty')
    try:
        id_.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(f'{what()}: the id {id_!r} is not valid Unicode: {error}') from error
    return id_


def check_ids(ids: Sequence[Any], name: Callable[[int], str]) -> None:
    """Check that each can be an id; `name` returns what an error calls a position. See `check_id`."""
    with suppress(TypeError, UnicodeEncodeError):
        if all(ids) and '\n'.join(ids).encode():  # nearly always
            return
    for at, id_ in enumerate(ids):
        check_id(id_, partial(name, at))


def not_a_string(what: str, id_: object) -> str:
    """Return what an error says where a document has something else for its id."""
    return f'{what}: an id is a string, got {type(id_).__name__} {id_!r}; use str(...)'


def unfit(what: str, error: ValidationError, outer: tuple[str, ...] = ()) -> DocIndexError:
    """Return our error for pydantic's: about the first vector it complains of, if there is one."""
    message = f'{what}: {explain(error, outer)}'
    for complaint in error.errors(include_url=False, include_input=False):
        if complaint['type'] == 'tensor_shape':
            context = complaint['ctx']
            return DimensionError(message, _flat(outer, complaint), context['expected'], context['got'])
        if complaint['type'] == 'tensor':
            return VectorError(message)
    return DocumentError(message)


def explain(error: ValidationError, outer: tuple[str, ...] = ()) -> str:
    """Return pydantic's complaints in one line, each with its field's flat name; `outer` is where the document is."""
    complaints = error.errors(include_url=False, include_input=False)
    return '; '.join(f'{_flat(outer, complaint) or "document"}: {complaint["msg"]}' for complaint in complaints)


def _flat(outer: tuple[str, ...], complaint: ErrorDetails) -> str:
    return '__'.join((*outer, *map(str, complaint['loc'])))
