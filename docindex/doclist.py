"""
`DocList`: a list of documents of one class, with the columns of its documents as attributes.

It is a plain list with a class. What makes tables and pictures of it stands in modules above, called by their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import itemgetter
from os import PathLike
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    SupportsIndex,
    TypeVar,
    cast,
    get_origin,
    overload,
)

import numpy as np
from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ._later import later
from .document import equal_values
from .errors import TableError
from .tensors import is_tensor_type

if TYPE_CHECKING:
    from typing import Self

    from pydantic.fields import FieldInfo

D = TypeVar('D')

_LONGEST_REPR = 120


class DocList(list[D]):
    """
    A list of documents. `DocList[Book]` refuses anything that is not a `Book`.

    `books.title` is the list of their titles, and `books.embedding` one array of shape (documents, dim) where all have
    a vector of one shape. Nested documents give a `DocList` of their own, so `books.author.name` works. `books[[2, 0]]`
    and `books[mask]` pick several at once.

    What a list can do comes first: a field that is called like a method (`count`, `index`, `summary`) is
    `books.column('count')`.
    """

    doc_type: ClassVar[type[Any] | None] = None

    def __init__(self, docs: Iterable[D] = ()) -> None:
        super().__init__(docs if self.doc_type is None else map(self._checked, docs))

    if not TYPE_CHECKING:

        def __class_getitem__(cls, doc_type):
            return cls if isinstance(doc_type, TypeVar) else _typed(cls, doc_type)

    @classmethod
    def trusted(cls, docs: list[D]) -> Self:
        """Return a list of documents that are known to be of the right class, unchecked."""
        made = cls()
        list.extend(made, docs)
        return made

    def _checked(self, doc: D) -> D:
        if self.doc_type is not None and not isinstance(doc, self.doc_type):
            raise TypeError(f'{type(self).__name__} holds {self.doc_type.__name__}s, got {type(doc).__name__}: {doc!r}')
        return doc

    # -- as a list -------------------------------------------------------------------------------

    def append(self, doc: D) -> None:
        """Add one document at the end."""
        super().append(self._checked(doc))

    def extend(self, docs: Iterable[D]) -> None:
        """Add documents at the end; all of them, or none if one is of the wrong class."""
        super().extend([self._checked(doc) for doc in docs])

    def insert(self, index: SupportsIndex, doc: D) -> None:
        """Put one document before position `index`."""
        super().insert(index, self._checked(doc))

    def copy(self) -> Self:
        """Return another list of the same class with the same documents."""
        return self.trusted(self)

    def sort(self, *, key: str | Callable[[D], Any] | None = None, reverse: bool = False) -> None:
        """Sort the list itself; see `sorted_by`."""
        super().__setitem__(slice(None), self.sorted_by(key, reverse=reverse))

    def sorted_by(self, key: str | Callable[[D], Any] | None, *, reverse: bool = False) -> Self:
        """
        Return the documents in another order; equal ones stay in theirs.

        Args:
            key: A field, `price` or `author__name`, or a function of a document.
            reverse: Largest first.

        Documents for which the key is None come last, either way.

        Raises:
            TypeError: there is no key, or its values have no order.
            AttributeError: there is no such field.
        """
        if key is None:
            raise TypeError("documents have no order of their own; give a key, sort(key='title')")
        values = self.column(key) if isinstance(key, str) else map(key, self)
        pairs = [*zip(values, self, strict=True)]
        ordered = sorted([pair for pair in pairs if pair[0] is not None], key=itemgetter(0), reverse=reverse)
        ordered += [pair for pair in pairs if pair[0] is None]
        return self.trusted([doc for _, doc in ordered])

    def __add__(self, docs: Iterable[D]) -> Self:  # type: ignore[override]
        made = self.copy()
        made.extend(docs)
        return made

    def __radd__(self, docs: Iterable[D]) -> Self:
        made = self.trusted([])
        made.extend(docs)
        made.extend(self)
        return made

    def __iadd__(self, docs: Iterable[D]) -> Self:  # type: ignore[override]
        self.extend(docs)
        return self

    def __mul__(self, times: SupportsIndex) -> Self:
        return self.trusted(super().__mul__(times))

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        # As lists are, but documents that are no BaseDocs cannot compare their arrays.
        return equal_values(list(self), list(other)) if isinstance(other, list) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other if isinstance(other, list) else NotImplemented

    __hash__ = None

    @overload
    def __getitem__(self, key: SupportsIndex) -> D: ...
    @overload
    def __getitem__(self, key: slice | Iterable[int] | Iterable[bool]) -> Self: ...

    def __getitem__(self, key: Any) -> D | Self:
        """Return one document, or for a slice, a list or array of positions or a boolean mask a `DocList`."""
        if isinstance(key, slice):
            return self.trusted(super().__getitem__(key))
        if _is_position(key):
            doc: D = super().__getitem__(key)
            return doc
        pick = super().__getitem__
        return self.trusted([pick(position) for position in self._positions(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            super().__setitem__(key, [self._checked(doc) for doc in value])
        elif _is_position(key):
            super().__setitem__(key, self._checked(value))
        else:
            positions, docs = self._positions(key), [self._checked(doc) for doc in value]
            if len(positions) != len(docs):
                raise ValueError(f'{len(docs)} documents for {len(positions)} positions')
            for position, doc in zip(positions, docs, strict=True):
                super().__setitem__(position, doc)

    def __delitem__(self, key: Any) -> None:
        if isinstance(key, slice) or _is_position(key):
            super().__delitem__(key)
            return
        for position in sorted({position % len(self) for position in self._positions(key)}, reverse=True):
            super().__delitem__(position)

    def _positions(self, key: Any) -> list[int]:
        """Return the positions that a list, an array or a mask of numpy or torch means."""
        positions = np.asarray(key)
        if positions.ndim != 1:
            raise IndexError(f'expected positions or a mask with one axis, got {positions.ndim} axes')
        if positions.dtype == bool and len(positions) != len(self):
            raise IndexError(f'a mask of {len(positions)} for {len(self)} documents')
        if positions.dtype == bool:
            return np.flatnonzero(positions).tolist()
        if positions.size and positions.dtype.kind not in 'iu':
            raise TypeError(f'positions are integers, got {positions.dtype}: {key!r}')
        for position in positions.tolist():
            if not -len(self) <= position < len(self):
                raise IndexError(f'position {position} in a list of {len(self)} documents')
        return [int(position) for position in positions]

    # -- columns ---------------------------------------------------------------------------------

    def column(self, name: str) -> Any:
        """
        Return the values of a field, one a document.

        A nested document gives a `DocList`; where it is optional and missing, None stands in it, and in its columns. A
        tensor field gives one array, of shape (documents, dim) for vectors, if every document has one of the same
        shape, else a list. Anything else gives a list. The array is a copy: assign the column to change it.

        Args:
            name: The field, `title`, or `author__name` of a nested document.

        Raises:
            AttributeError: there is no such field.
        """
        outer, _, inner = name.partition('__')
        if inner and name not in self._fields():
            return self.column(outer).column(inner)
        if name not in self._fields():
            known = f'; its columns are {", ".join(self._fields())}' if self._fields() else ''
            raise AttributeError(f'{type(self).__name__!r} has no column {name!r}{known}')
        values = [None if doc is None else getattr(doc, name) for doc in self]
        annotation, *_ = later('annotations').unwrap(self._fields()[name].annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return _typed(DocList, annotation).trusted(values)
        is_tensor = is_tensor_type(annotation) or np.ndarray in (annotation, get_origin(annotation))
        return _stacked(values) if is_tensor else values

    def __getattr__(self, name: str) -> Any:
        if name not in self._fields():
            raise AttributeError(f'{type(self).__name__!r} has no attribute {name!r}')
        return self.column(name)

    def __setattr__(self, name: str, values: Iterable[Any]) -> None:
        if name not in self._fields():
            raise AttributeError(f'{type(self).__name__!r} has no column {name!r}')
        values = list(values)
        if len(values) != len(self):
            raise ValueError(f'column {name!r} needs {len(self)} values, got {len(values)}')
        for position, (doc, value) in enumerate(zip(self, values, strict=True)):
            if doc is None:
                raise ValueError(f'column {name!r}: the document at position {position} is None')
            setattr(doc, name, value)

    def _fields(self) -> Mapping[str, FieldInfo]:
        return getattr(type(self).doc_type, 'model_fields', None) or {}

    # -- as a table, as a text -------------------------------------------------------------------

    def to_arrow(self) -> Any:
        """
        Return an Arrow table. Nested documents become columns `outer__inner`, vectors fixed-size lists.

        Raises:
            TableError: a value does not fit its column; the message names the row, the column and the reason.
            MissingLibraryError: pyarrow is not installed.
        """
        return later('arrow').to_arrow(self, self.doc_type)

    @classmethod
    def from_arrow(cls, table: Any) -> Self:
        """
        Return the rows of an Arrow table, or of anything that has Arrow's C stream interface, as documents.

        Raises:
            TableError: a column is missing, or a row does not fit; the message names both and the reason.
            MissingLibraryError: pyarrow is not installed.
        """
        return cls.trusted(later('arrow').from_arrow(table, cls._class()))

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write a Parquet file; columns and errors as of `to_arrow`."""
        later('arrow').to_parquet(self, self.doc_type, path)

    @classmethod
    def from_parquet(cls, path: str | PathLike[str]) -> Self:
        """Return the rows of a Parquet file as documents; errors as of `from_arrow`."""
        return cls.trusted(later('arrow').from_parquet(path, cls._class()))

    def to_dataframe(self, library: Literal['pandas', 'polars'] = 'pandas') -> Any:
        """
        Return a data frame. Nested documents become columns `outer__inner`.

        Raises:
            TableError: a value does not fit its column, or there is no such library.
            MissingLibraryError: pandas, or polars or pyarrow, is not installed.
        """
        return later('frames').to_dataframe(self, self.doc_type, library)

    @classmethod
    def from_dataframe(cls, frame: Any) -> Self:
        """
        Return the rows of a data frame of pandas or polars as documents.

        Raises:
            TableError: a column is missing, or a row does not fit; the message names both and the reason.
        """
        return cls.trusted(later('frames').from_dataframe(frame, cls._class()))

    def to_csv(self, path: str | PathLike[str], dialect: str = 'excel') -> None:
        """
        Write a CSV file in UTF-8. Nested documents become columns `outer__inner`.

        What is no number, text or time is JSON. `index.index_from` reads it, too.
        """
        later('texts').to_csv(self, self.doc_type, path, dialect)

    @classmethod
    def from_csv(cls, path: str | PathLike[str], encoding: str = 'utf-8-sig', dialect: str = 'excel') -> Self:
        """
        Return the rows of a CSV file as documents; its first line names the columns.

        Raises:
            TableError: a column is missing, or a row does not fit; the message names both and the reason.
        """
        return cls.trusted(later('texts').from_csv(path, cls._class(), encoding, dialect))

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Return a JSON array, one document in a line, and write it to a file if there is a `path`."""
        text: str = later('texts').to_json(self, self.doc_type, path)
        return text

    @classmethod
    def from_json(cls, source: str | bytes | bytearray | PathLike[str]) -> Self:
        """
        Return the documents of a JSON array or of JSON lines, given as text or as the path of a file.

        Raises:
            TableError: it is neither, or a document does not fit; the message names its row and line.
        """
        return cls.trusted(later('texts').from_json(source, cls._class()))

    @classmethod
    def _class(cls) -> Any:
        if cls.doc_type is None:
            raise TableError('a DocList of no class cannot read documents; write DocList[Book].from_...')
        return cls.doc_type

    # -- to look at ------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print how many documents there are, their schema and the first of them, as a table if rich is installed."""
        later('display').print_documents(self)

    def __repr__(self) -> str:
        shown = ', '.join(map(_shortened, self[:5]))
        more = f', ... {len(self) - 5} more' if len(self) > 5 else ''
        return f'<{type(self).__name__} of {len(self)}: [{shown}{more}]>'

    def _repr_html_(self) -> str:
        html: str = later('display').documents_as_html(self)
        return html

    def __rich__(self) -> Any:
        return later('display').documents_as_table(self)

    # -- for Python and pydantic -----------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of DocList[Book] has no importable name of its own.
        return _restore, (self.doc_type, list(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        items = handler.generate_schema(cls.doc_type) if cls.doc_type is not None else core_schema.any_schema()
        return core_schema.no_info_after_validator_function(cls.trusted, core_schema.list_schema(items))


def _is_position(key: Any) -> bool:
    # An array or tensor with one element in one axis could be an index, but is a list of positions.
    return hasattr(key, '__index__') and not getattr(key, 'ndim', 0)


def _stacked(values: list[Any]) -> Any:
    """Return tensors of one shape as one tensor of their library, others as the list that they are."""
    if len({(type(value), getattr(value, 'shape', None)) for value in values}) != 1:
        return values
    if isinstance(values[0], np.ndarray):
        return np.stack(values)
    torch = sys.modules.get('torch')
    return torch.stack(values) if torch is not None and isinstance(values[0], torch.Tensor) else values


def _shortened(doc: object) -> str:
    text = repr(doc)
    return text if len(text) <= _LONGEST_REPR else f'{text[: _LONGEST_REPR - 4]}...)'


@cache
def _typed(base: type[DocList[Any]], doc_type: Any) -> type[DocList[Any]]:
    name = f'{base.__name__}[{getattr(doc_type, "__name__", doc_type)}]'
    return cast('type[DocList[Any]]', type(name, (base,), {'doc_type': doc_type, '__module__': base.__module__}))


def _restore(doc_type: Any, docs: list[Any]) -> DocList[Any]:
    return (DocList if doc_type is None else _typed(DocList, doc_type)).trusted(docs)
