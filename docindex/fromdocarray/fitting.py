"""`Fitting`: the values of DocArray's documents made into values for a document class of docindex."""

from __future__ import annotations

import typing
from array import array
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from .directory import row_of

_ADDED = 'parent_id'
"""What DocArray writes into each document in a list: the id of the document whose list it is."""


class Fitting:
    """
    Makes documents of one class, and notes what it meets.

    Attributes:
        doc_type: The class.
        unknown: Fields that documents have and the class does not, by flat name.
        children: The numbers (`row_of`) of all documents in lists, by the fields that lead there.
    """

    def __init__(self, doc_type: type[BaseModel]) -> None:
        self.doc_type = doc_type
        self.unknown: set[str] = set()
        self.children: dict[tuple[str, ...], array[int]] = {}

    def fit(self, values: dict[str, Any]) -> None:
        """Take off what DocArray has added to the documents in `values`, and note what is in them."""
        self._fit(values, self.doc_type, ())

    def _fit(self, values: dict[str, Any], doc_type: type[BaseModel], path: tuple[str, ...]) -> None:
        if values.get('id', '') is None:  # DocArray lets a nested document have none; here a default may be fine
            del values['id']
        inner, ignores = _document_types(doc_type), doc_type.model_config.get('extra', 'ignore') == 'ignore'
        for name, value in values.items():
            if name not in doc_type.model_fields:
                if ignores:
                    self.unknown.add('__'.join((*path, name)))
            elif name in inner and isinstance(value, dict):
                self._fit(value, inner[name], (*path, name))
            elif name in inner and isinstance(value, list):
                self._fit_children(value, inner[name], (*path, name))

    def _fit_children(self, children: list[Any], doc_type: type[BaseModel], path: tuple[str, ...]) -> None:
        numbers = self.children.setdefault(path, array('q'))
        for child in children:
            if not isinstance(child, dict):
                continue  # pydantic will say what is wrong with it
            if _ADDED not in doc_type.model_fields:
                child.pop(_ADDED, None)
            if isinstance(child.get('id'), str):
                numbers.append(row_of(child['id']))
            self._fit(child, doc_type, path)


@cache
def _document_types(doc_type: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the document class of each field that holds a document, or several."""
    found = {name: _document_type(info.annotation) for name, info in doc_type.model_fields.items()}
    return {name: inner for name, inner in found.items() if inner is not None}


def _document_type(annotation: Any) -> type[BaseModel] | None:
    """Return the document class in a type such as `Chunk | None`, `list[Chunk]`, `DocList[Chunk]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return None  # its keys are no fields, and DocArray adds nothing to the documents in it
    for inner in (getattr(annotation, 'doc_type', None), *typing.get_args(annotation)):
        found = None if inner is None else _document_type(inner)
        if found is not None:
            return found
    return None
