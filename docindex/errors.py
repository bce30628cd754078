"""
Every error that docindex raises on purpose.

    DocIndexError
      SchemaError (TypeError)              the document class cannot be indexed
      SettingsError (ValueError)           a setting is unknown, out of range, or fixed by now
      DocumentError (ValueError)           a document cannot be stored
      QueryError (ValueError)              this call makes no sense
        FilterError                        ... because of its filter
      VectorError (ValueError)             a vector, stored or asked for, is not usable
        DimensionError                     ... because of its length
      EmbeddingError (RuntimeError)        a function that makes vectors of texts has failed
      TableError (ValueError)              a table, or a file with one, does not fit the documents
      LoadError (ValueError)               what is loaded into an index has a row or a column that does not fit
        SourceError (OSError)              ... or cannot be read any further
      ExportError (OSError)                an index cannot be written to a file
      IdTypeError (TypeError)              an id is not a string
      DocumentNotFoundError (KeyError)     no document has this id
      WorkDirError (OSError)               the work directory cannot be used
        WorkDirLockedError (TimeoutError)  ... another process is writing to it
        ReadOnlyError (PermissionError)    ... it was opened for reading
        SchemaMismatchError                ... it holds documents of another schema
        FormatVersionError                 ... a newer docindex wrote it
        CorruptIndexError                  ... a file in it is damaged
      ServerError (ConnectionError)        a server cannot be reached, or has failed
        BatchError                         ... while it was taking documents: some are stored
      CollectionError (ValueError)         a collection on a server is not what this index needs
      ClosedIndexError (RuntimeError)      the index was closed
      UrlError (OSError)                   what a url names cannot be loaded
      MissingLibraryError (ImportError)    an optional library is not installed

One `except DocIndexError` catches all of them; each is also the builtin that a Python user would
guess. What an error is about stands in its attributes, so that a program need not parse the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath

CHECK = 'index.verify(), or `docindex check` with the directory, lists all that is damaged; restore it from a backup'
"""What to do about a damaged file."""


class DocIndexError(Exception):
    """The base of every error in this library."""


class SchemaError(DocIndexError, TypeError):
    """The document class cannot be indexed; the message names the field."""


class SettingsError(DocIndexError, ValueError):
    """A setting is unknown, out of range, or cannot be changed any more."""


class DocumentError(DocIndexError, ValueError):
    """A document cannot be stored. Nothing of its batch was."""


class QueryError(DocIndexError, ValueError):
    """The call makes no sense: an unknown field, a negative limit, no query at all."""


class FilterError(QueryError):
    """A filter names an unknown field, an operator that does not fit it, or a value of another type."""


class VectorError(DocIndexError, ValueError):
    """A vector is not usable: not numeric, not finite, or too large for its space."""


class DimensionError(VectorError):
    """A vector has another length than its field; see `field`, `expected`, `got`."""

    def __init__(self, message: str, field: str, expected: int, got: object) -> None:
        super().__init__(message, field, expected, got)
        self.field = field
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return str(self.args[0])


class EmbeddingError(DocIndexError, RuntimeError):
    """
    A function that makes vectors of texts has failed, or returned something else. Nothing is stored of the call.

    Attributes:
        field: The flat name of the vector field.
        function: The name of the function. The exception that it raised is the `__cause__`.
    """

    def __init__(self, message: str, field: str, function: str) -> None:
        super().__init__(message, field, function)
        self.field = field
        self.function = function

    def __str__(self) -> str:
        return str(self.args[0])


class TableError(DocIndexError, ValueError):
    """A table does not fit the documents: `row` is the number of the row, from 0, and `column` its column, if known."""

    def __init__(self, message: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        self.column = column


class LoadError(DocIndexError, ValueError):
    """
    What is loaded into an index does not fit it. The batches before are stored, and the same call goes on after them.

    Attributes:
        path: The file, or what else was loaded.
        row: The number of the row, from 1; None if it is not about a row.
        line: The line of the file in which the row begins, from 1; None where there are no lines.
        stored: How many rows this call has stored.
        done: How many rows this call and those before it have dealt with.
    """

    def __init__(self, message: str, path: str, row: int | None = None, line: int | None = None) -> None:
        super().__init__(message, path, row, line)
        self.path = path
        self.row = row
        self.line = line
        self.stored = 0
        self.done = 0

    def __str__(self) -> str:
        return f'{self.args[0]}; {f"rows 1 to {self.done:,} are done" if self.done else "nothing is stored"}'


class SourceError(LoadError, OSError):
    """A file or table that is loaded cannot be read: it is missing, damaged, cut off or of another format."""


class ExportError(DocIndexError, OSError):
    """An index cannot be written to a file; there is no half of one. `path` is the file."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return f'{self.args[0]} ({self.path})'


class IdTypeError(DocIndexError, TypeError):
    """An id is not a string."""


class DocumentNotFoundError(DocIndexError, KeyError):
    """No document has one of these ids; `ids` lists all that are missing."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(ids)
        self.ids = list(ids)

    def __str__(self) -> str:
        shown = ', '.join(repr(id_ if len(id_) <= 80 else f'{id_[:77]}...') for id_ in self.ids[:10])
        more = f' and {len(self.ids) - 10} more' if len(self.ids) > 10 else ''
        return f'no document with id {shown}{more}'


class WorkDirError(DocIndexError, OSError):
    """A work directory cannot be used: `path` is the file or directory, `hint` what to do about it."""

    def __init__(self, message: str, path: str | PathLike[str], hint: str = '') -> None:
        super().__init__(message, path, hint)
        self.path = fspath(path)
        self.hint = hint

    def __str__(self) -> str:
        message = f'{self.args[0]} ({self.path})'
        return f'{message}; {self.hint}' if self.hint else message


class WorkDirLockedError(WorkDirError, TimeoutError):
    """Another process is writing to this directory; `pid` is its process id, if it could be read."""

    def __init__(self, message: str, path: str | PathLike[str], hint: str = '', pid: int | None = None) -> None:
        super().__init__(message, path, hint)
        self.args = (message, path, hint, pid)
        self.pid = pid


class ReadOnlyError(WorkDirError, PermissionError):
    """The index was opened with `read_only=True`, and this call writes."""


class SchemaMismatchError(WorkDirError):
    """The directory was made with another schema; the message names the fields that differ."""


class FormatVersionError(WorkDirError):
    """A newer docindex wrote this directory."""


class CorruptIndexError(WorkDirError):
    """A file in the directory is damaged, missing or foreign."""


class ServerError(DocIndexError, ConnectionError):
    """A server cannot be reached, has refused something, or has failed; `uri` is its address, without any password."""

    def __init__(self, message: str, uri: str) -> None:
        super().__init__(message, uri)
        self.uri = uri

    def __str__(self) -> str:
        return f'{self.args[0]} ({self.uri})'


class BatchError(ServerError):
    """
    A server has failed while documents were sent to it. The same call again stores the rest, and nothing twice.

    Attributes:
        uri: The address of the server.
        stored: The ids of the documents that it has acknowledged; any other may be stored or not.
    """

    def __init__(self, message: str, uri: str, stored: Sequence[str] = ()) -> None:
        super().__init__(message, uri)
        self.args = (message, uri, stored)
        self.stored = list(stored)


class CollectionError(DocIndexError, ValueError):
    """A collection on a server was made by something else, or holds what docindex did not write; see `collection`."""

    def __init__(self, message: str, collection: str) -> None:
        super().__init__(message, collection)
        self.collection = collection

    def __str__(self) -> str:
        return str(self.args[0])


class ClosedIndexError(DocIndexError, RuntimeError):
    """The index was closed, or belongs to the process that this one was forked from."""


class UrlError(DocIndexError, OSError):
    """What a url names cannot be loaded: it is missing, too large, damaged, or on a network that is not allowed."""


class MissingLibraryError(DocIndexError, ImportError):
    """An optional library is needed here and not installed; the message has the line that installs it."""
