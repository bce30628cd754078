"""
Vectors that are made of texts: in documents on their way into an index, and in queries.

F1  A vector that is None is made of its text when its document is stored. One that is there was given, and stays.
F2  A text that is None, empty or blank has no vector. Where the type does not allow None, such a document is refused.
F3  An update that changes a text makes its vector anew, also one that was given, unless it gives another.
F4  All texts are looked at before the first function is called, and all vectors are made before anything is written.
F5  A user's own documents stay as they were: what is stored are copies. So whoever changes a text and indexes the same
    document again gets the vector of the new text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, get_origin

import numpy as np
from pydantic import BaseModel

from .doclist import DocList
from .document import with_value
from .embedding import Recorded, shortened, shown_of
from .errors import DocumentError, QueryError
from .query import DiversifyStep, FindStep, Query, Step
from .schema import Column, Level, Schema
from .tensors import Float32Array, as_tensor, framework_of_type, is_tensor_type

D = TypeVar('D', bound=BaseModel)

Made = dict[str, dict[str, Any]]
"""Vectors by the flat name of their field and the text that they are made of, as the field wants them."""
_Name = Callable[[int], str]


# -- documents ---------------------------------------------------------------------------------------


def filled(
    schema: Schema[D],
    docs: Sequence[D],
    what: str = 'document',
    made: Made | None = None,
    show_progress: bool | None = False,
) -> list[D]:
    """
    Return documents with the vectors that they lack, and so for the documents in their lists.

    Args:
        schema: Their schema.
        docs: The documents; those that lack no vector come back as they are.
        what: What errors call each of them.
        made: Vectors that need not be made again; new ones are added.
        show_progress: Whether to show a bar for each field.

    Raises:
        DocumentError: a vector is missing that the schema requires, and so is its text.
        EmbeddingError: a function has failed, or returned something else than vectors.
    """
    filling = _Filling({} if made is None else made)
    filling.look_at(schema, docs, partial(_name, docs, what), '')
    filling.make(show_progress)
    return [filling.filled(schema, doc, '') for doc in docs] if filling.lacks_any else list(docs)


def renewed(
    schema: Schema[D],
    before: Sequence[D],
    after: Sequence[D],
    given: Sequence[Mapping[str, Any]],
    made: Made,
) -> list[D]:
    """
    Return documents that were changed with vectors of the texts that they have now.

    Args:
        schema: Their schema.
        before: The documents as they were.
        after: The documents as they are now.
        given: What was changed in each, by flat name.
        made: Vectors that need not be made again; new ones are added.

    Raises:
        DocumentError, EmbeddingError: as for `filled`.
    """
    lacking = [_without_old(schema, *one) for one in zip(before, after, given, strict=True)]
    return filled(schema, lacking, schema.name, made)


def _without_old(schema: Schema[D], before: D, after: D, given: Mapping[str, Any]) -> D:
    """Return a document without the vectors of texts that it does not have any more."""  # F3
    for column in schema.embedding:
        own = ['__'.join(column.path[:depth]) for depth in range(1, len(column.path) + 1)]
        is_there = _found(after, column.path[:-1]) is not None
        if is_there and given.keys().isdisjoint(own) and text_of(column, before) != text_of(column, after):
            after = with_value(after, column.path, None)
    return after


def text_of(column: Column, doc: object) -> str | None:
    """Return the text in a document, or in a dict, that a vector is made of; None if there is nothing to embed."""
    # F2
    return None if column.embeds is None else column.embeds.text([_found(doc, path) for path in column.sources])


class _Filling:
    """
    Collects texts, makes their vectors, puts them into documents.

    Args:
        made: Vectors that are there already.

    Attributes:
        lacks_any: Whether one of the documents lacks a vector that can be made.
    """

    def __init__(self, made: Made) -> None:
        self._made = made
        self._wanted: dict[str, tuple[Column, dict[str, None]]] = {}
        self.lacks_any = False

    def look_at(self, schema: Schema[Any], docs: Sequence[Any], name: _Name, level: str) -> None:
        """Collect the texts of documents in which vectors are missing, and of those in their lists."""  # F4
        for column in schema.embedding:
            for at, doc in enumerate(docs):
                if not _lacks(column, doc):
                    continue
                text = text_of(column, doc)
                if text is not None:
                    self._want(level + column.name, column, text)
                elif not column.can_be_none:
                    raise _no_text(name(at), column)
        for column in schema.lists.values():
            if column.inner is not None and column.inner.makes_vectors:
                for at, doc in enumerate(docs):
                    inside = _listed(column, doc)
                    self.look_at(
                        column.inner, inside, partial(_name_inside, name, at, column), f'{level}{column.name}__'
                    )

    def _want(self, flat: str, column: Column, text: str) -> None:
        self.lacks_any = True
        if text not in self._made.get(flat, ()):
            self._wanted.setdefault(flat, (column, {}))[1][text] = None

    def make(self, show_progress: bool | None) -> None:
        """Make the vectors of the texts that were collected, each once."""
        for flat, (column, texts) in self._wanted.items():
            if column.embeds is None:
                continue
            embedder, dim = column.embeds.embedder, column.settings.get('dim')
            matrix = embedder.documents(list(texts), flat, dim, show_progress)
            vectors = [_as_value(column, vector) for vector in matrix]
            self._made.setdefault(flat, {}).update(zip(texts, vectors, strict=True))

    def filled(self, schema: Schema[Any], doc: Any, level: str) -> Any:
        """Return a document with the vectors that it lacks, or itself."""  # F1, F5
        for column in schema.embedding:
            text = text_of(column, doc) if _lacks(column, doc) else None
            if text is not None:
                doc = with_value(doc, column.path, self._made[level + column.name][text])
        for column in schema.lists.values():
            if column.inner is None or not column.inner.makes_vectors:
                continue
            inside = _listed(column, doc)
            whole = [self.filled(column.inner, one, f'{level}{column.name}__') for one in inside]
            if any(one is not other for one, other in zip(inside, whole, strict=True)):
                doc = with_value(doc, column.path, inside.trusted(whole) if isinstance(inside, DocList) else whole)
        return doc


def _lacks(column: Column, doc: Any) -> bool:
    """Return whether a document has a place for a vector, and none there."""
    holder = _found(doc, column.path[:-1])
    return holder is not None and getattr(holder, column.path[-1], None) is None


def _found(doc: object, path: Sequence[str]) -> Any:
    """Return what stands at the end of a path, in a document or a dict; None if there is nothing."""
    value: Any = doc
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else getattr(value, step, None)
    return value


def _listed(column: Column, doc: Any) -> list[Any]:
    """Return the documents in a list; none, if there is something else, of which whoever stores it complains."""
    found = column.value(doc)
    if column.inner is None or not isinstance(found, list):
        return []
    wanted = column.inner.doc_type
    return found if all(isinstance(one, wanted) for one in found) else []


def _as_value(column: Column, vector: Float32Array) -> Any:
    """Return a vector as the type of its field wants it."""
    if is_tensor_type(column.annotation):
        return as_tensor(vector, framework_of_type(column.annotation))
    origin = get_origin(column.annotation) or column.annotation
    if origin is np.ndarray:
        return vector
    return tuple(vector.tolist()) if origin is tuple else vector.tolist()


def _no_text(what: str, column: Column) -> DocumentError:
    names = ', '.join('__'.join(path) for path in column.sources)
    return DocumentError(
        f'{what}: field {column.name!r} has no vector and no text to make one of: {names} is empty. Give it one of '
        f'these, or let the vector be missing: `{column.path[-1]}: ... | None`'
    )


def _name(docs: Sequence[Any], what: str, at: int) -> str:
    id_ = getattr(docs[at], 'id', None)
    where = what if len(docs) == 1 and what not in ('document', 'row') else f'{what} {at}'
    return f'{where} (id {id_!r})' if isinstance(id_, str) else where


def _name_inside(outer: _Name, at: int, column: Column, position: int) -> str:
    return f'{outer(at)}: {column.name}[{position}]'


# -- queries -----------------------------------------------------------------------------------------


def with_vectors(queries: Any, column: Column, recorded: Recorded | None = None) -> Any:
    """
    Return queries with vectors in the place of texts, and of documents that have a text but no vector.

    Args:
        queries: Several; what is not comes back as it is, for others to refuse.
        column: The vector field that is searched.
        recorded: What a directory says of its vectors, if it knows more than the schema.

    Raises:
        QueryError: nothing says how a text becomes a vector of this field, or there is no text in it.
        EmbeddingError: the function has failed, or returned something else than vectors.
    """
    if isinstance(queries, (str, bytes, np.ndarray, BaseModel, Mapping)) or not hasattr(queries, '__len__'):
        return queries
    queries = list(queries)
    asked = [at for at, query in enumerate(queries) if isinstance(query, str)]
    if asked and column.embeds is None:
        what = f'{_query(queries, asked[0])} is a text, {shortened(queries[asked[0]])!r}'
        raise QueryError(f'{what}, and {_no_function(column, recorded)}')
    if column.embeds is None:
        return queries
    for at in asked:
        if not queries[at].strip():
            raise QueryError(f'{_query(queries, at)} is an empty text')
    like = {at: text for at, query in enumerate(queries) if (text := _text_of_query(query, column)) is not None}
    if not asked and not like:
        return queries
    found, dim, embedder = queries, column.settings.get('dim'), column.embeds.embedder
    if asked:
        vectors = embedder.queries([queries[at] for at in asked], column.name, dim)
        for at, vector in zip(asked, vectors, strict=True):
            found[at] = vector
    if like:
        vectors = embedder.documents(list(like.values()), column.name, dim)
        for at, vector in zip(like, vectors, strict=True):
            found[at] = vector
    return found


def check_texts(level: Level, recorded: Mapping[str, Recorded], fields: Mapping[str, Any]) -> None:
    """
    Check that no text changes under a vector that was made of it by a function that is not here.

    Args:
        level: The level of the document that changes.
        recorded: What an index knows of how its vectors were made, by flat name.
        fields: What changes, by the names of the level.

    Raises:
        QueryError: one does.
    """
    for flat, made in recorded.items():
        column = level.schema.columns.get(level.name_of(flat)) if level.has(flat) else None
        if column is None or column.embeds is not None or column.name in fields:
            continue
        texts = [name for name in made['fields'] for one in fields if name == one or name.startswith(f'{one}__')]
        if texts:
            raise QueryError(
                f'the vector in {column.name!r} was made of {texts[0]!r} by the function {made["function"]!r}, '
                f'which this schema does not have: give the new vector too, {column.name}=..., or open it with '
                f'Field(embeds={made["of"]!r}, with_=...)'
            )


def query_with_vectors(query: Any, asked: Callable[[str, Any], Any]) -> Any:
    """
    Return a query of several steps with vectors in the place of texts.

    Args:
        query: The query; anything else comes back as it is.
        asked: Returns what is searched for in a field as a vector, if it is a text.
    """
    if not isinstance(query, Query):
        return query
    field, steps = '', list[Step]()
    for step in query.steps:
        if isinstance(step, FindStep):
            field = step.search_field
            step = replace(step, query=asked(field, step.query))
        elif isinstance(step, DiversifyStep) and step.query is not None:
            step = replace(step, query=asked(step.search_field or field, step.query))
        steps.append(step)
    return Query(tuple(steps))


def _text_of_query(query: object, column: Column) -> str | None:
    """Return the text of a document, or of a dict, that has no vector itself."""
    if not isinstance(query, (BaseModel, Mapping)) or _found(query, column.path) is not None:
        return None
    return None if isinstance(query, Mapping) and query.get(column.name) is not None else text_of(column, query)


def _query(queries: Sequence[Any], at: int) -> str:
    return 'the query' if len(queries) == 1 else f'query {at}'


def _no_function(column: Column, recorded: Recorded | None) -> str:
    how = "Field(embeds='the field with the text', with_=the function that makes vectors)"
    if recorded is None:
        return (
            f'{column.name!r} is searched with vectors; to ask in words, say in the schema how they become one: {how}'
        )
    return (
        f'{column.name!r} is searched with vectors here: its own were made of {shown_of(recorded)} by the function '
        f'{recorded["function"]!r}, which this schema does not have; to ask in words, write {how}'
    )
