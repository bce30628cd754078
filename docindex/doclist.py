"""`DocList`: a list of documents of one class, with the columns of its documents as attributes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex, TypeVar, cast, overload

import numpy as np
from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

D = TypeVar('D')


class DocList(list[D]):
    """
    A list of documents. `DocList[Book]` refuses anything that is not a `Book`.

    `books.title` is the list of their titles; nested documents give a `DocList` of their own, so
    `books.author.name` works. `books[[2, 0]]` and `books[mask]` pick several at once.
    """

    doc_type: ClassVar[type[Any] | None] = None

    def __init__(self, docs: Iterable[D] = ()) -> None:
        super().__init__(docs if self.doc_type is None else map(self._checked, docs))

    if not TYPE_CHECKING:

        def __class_getitem__(cls, doc_type):
            return cls if isinstance(doc_type, TypeVar) else _typed(cls, doc_type)

    @classmethod
    def trusted(cls, docs: list[D]) -> DocList[D]:
        """Return a list of documents that are known to be of the right class, unchecked."""
        made = cls()
        list.extend(made, docs)
        return made

    def _checked(self, doc: D) -> D:
        if self.doc_type is not None and not isinstance(doc, self.doc_type):
            raise TypeError(f'{type(self).__name__} holds {self.doc_type.__name__}s, got {type(doc).__name__}: {doc!r}')
        return doc

    def append(self, doc: D) -> None:
        """Add one document at the end."""
        super().append(self._checked(doc))

    def extend(self, docs: Iterable[D]) -> None:
        """Add documents at the end; all of them, or none if one is of the wrong class."""
        super().extend([self._checked(doc) for doc in docs])

    def insert(self, index: SupportsIndex, doc: D) -> None:
        """Put one document before position `index`."""
        super().insert(index, self._checked(doc))

    def __iadd__(self, docs: Iterable[D]) -> DocList[D]:  # type: ignore[override, misc]
        self.extend(docs)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            super().__setitem__(key, [self._checked(doc) for doc in value])
        else:
            super().__setitem__(key, self._checked(value))

    @overload
    def __getitem__(self, key: SupportsIndex) -> D: ...
    @overload
    def __getitem__(self, key: slice | Iterable[int] | Iterable[bool]) -> DocList[D]: ...

    def __getitem__(self, key: Any) -> D | DocList[D]:
        """Return one document, or for a slice, a list of positions or a boolean mask a `DocList`."""
        if isinstance(key, slice):
            return type(self).trusted(super().__getitem__(key))
        if isinstance(key, (int, np.integer)):
            return super().__getitem__(key)
        positions = np.asarray(key)
        if positions.dtype == bool and len(positions) != len(self):
            raise IndexError(f'a mask of {len(positions)} for {len(self)} documents')
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        pick = super().__getitem__
        return type(self).trusted([pick(int(position)) for position in positions])

    def __getattr__(self, name: str) -> Any:
        doc_type = type(self).doc_type
        if doc_type is None or name not in getattr(doc_type, 'model_fields', ()):
            raise AttributeError(f'{type(self).__name__!r} has no attribute {name!r}')
        column = [getattr(doc, name) for doc in self]
        annotation: Any = doc_type.model_fields[name].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return _typed(DocList, annotation)(column)
        return column

    def __setattr__(self, name: str, values: Iterable[Any]) -> None:
        if self.doc_type is None or name not in self.doc_type.model_fields:
            raise AttributeError(f'{type(self).__name__!r} has no column {name!r}')
        values = list(values)
        if len(values) != len(self):
            raise ValueError(f'column {name!r} needs {len(self)} values, got {len(values)}')
        for doc, value in zip(self, values, strict=True):
            setattr(doc, name, value)

    def __repr__(self) -> str:
        shown = ', '.join(map(repr, list(self[:5])))
        more = f', ... {len(self) - 5} more' if len(self) > 5 else ''
        return f'<{type(self).__name__} of {len(self)}: [{shown}{more}]>'

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of DocList[Book] has no importable name of its own.
        return _restore, (self.doc_type, list(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        items = handler.generate_schema(cls.doc_type) if cls.doc_type is not None else core_schema.any_schema()
        return core_schema.no_info_after_validator_function(cls.trusted, core_schema.list_schema(items))


@cache
def _typed(base: type[DocList[Any]], doc_type: Any) -> type[DocList[Any]]:
    name = f'{base.__name__}[{getattr(doc_type, "__name__", doc_type)}]'
    return cast('type[DocList[Any]]', type(name, (base,), {'doc_type': doc_type, '__module__': base.__module__}))


def _restore(doc_type: Any, docs: list[Any]) -> DocList[Any]:
    return (DocList if doc_type is None else _typed(DocList, doc_type)).trusted(docs)
