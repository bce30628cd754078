"""Some fields of documents, as documents of a class that has no others: what `select` of a query returns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, create_model

from .doclist import DocList
from .document import BaseDoc
from .schema import Column, Schema


def selected(schema: Schema[Any], docs: Sequence[BaseModel], fields: tuple[str, ...]) -> DocList[Any]:
    """Return the id and these fields, by flat name, of documents of a schema."""
    columns = [schema.nodes[name] for name in dict.fromkeys(('id', *fields))]
    whole: type[BaseModel] = schema.doc_type
    doc_type = _selection(whole, tuple(columns))
    values = ({column.name: column.value(doc) for column in columns} for doc in docs)
    return DocList[doc_type].trusted([doc_type.model_construct(**each) for each in values])  # type: ignore[valid-type]


@lru_cache(maxsize=256)
def _selection(doc_type: type[BaseModel], columns: tuple[Column, ...]) -> type[BaseDoc]:
    """Return the class of documents with only these fields."""
    fields: dict[str, Any] = {
        column.name: (column.annotation | None if column.is_optional else column.annotation, ...)
        for column in columns
        if column.name != 'id'
    }
    return create_model(f'{doc_type.__name__}Selection', __base__=BaseDoc, **fields)
