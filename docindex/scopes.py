"""What a query is about: whose names it speaks, and whose documents, perhaps in lists of those, it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .errors import IdTypeError, QueryError
from .fields import check_settings
from .filters import And, Filter, Some
from .query import VERBS, FindStep, GroupStep, Query, SearchFields, SelectStep, SortStep, TextStep
from .schema import Level, Schema

ALL = And()
"""The filter that everything matches."""


@dataclass(frozen=True)
class Scope:
    """
    Whose names a query speaks, and whose documents it finds.

    Attributes:
        names: The level whose names it speaks.
        found: The level whose documents it finds: the same, or one in lists of its documents.
        root_filter: What the outermost documents are to fulfil, by their own names.
    """

    names: Level
    found: Level
    root_filter: Filter = ALL

    def own(self, name: str) -> str:
        """Return the name, in the documents that are found, of a field by its flat name."""
        return self.found.name_of(self.names.flat(name))

    def own_fields(self, search_field: SearchFields) -> SearchFields:
        """Return the same with the names that the documents that are found have."""
        if self.names is self.found or not search_field:
            return search_field
        if isinstance(search_field, str):
            return self.own(search_field)
        if isinstance(search_field, Mapping):
            return {self.own(name): weight for name, weight in search_field.items()}
        return [self.own(name) for name in search_field]

    def check_queries(self, name: str, queries: Any) -> None:
        """
        Check that no query is a document around those that are found, whose fields may have the same names.

        Raises:
            QueryError: one is.
        """
        if self.found is self.names or not isinstance(queries, Sequence):
            return
        outer, inner = self.names.schema, self.found.schema
        for query in queries:
            if isinstance(query, outer.doc_type) and not isinstance(query, inner.doc_type):
                raise QueryError(f'{name!r} is searched with a {inner.name} or a vector, got a {outer.name}')


def scope_of(query: Query, names: Level, schema: Schema[Any], vectors: Sequence[str], root_filter: Filter) -> Scope:
    """
    Return what a query is about: documents of the level `names`, or those in a list whose fields are searched.

    Args:
        query: The query.
        names: The level whose names it speaks.
        schema: The schema of the outermost documents.
        vectors: All vector fields, by their flat names there.
        root_filter: What the outermost documents are to fulfil.

    Raises:
        QueryError: it searches documents of several levels, or has a step that cannot be made with those of lists.
    """
    if not isinstance(query, Query):
        raise QueryError(f'expected a query, as index.build_query()...build() makes it; got {type(query).__name__}')
    found: dict[str, Level] = {}
    for step in query.steps:
        if isinstance(step, FindStep):
            level = schema.level_of(vector_field(names, vectors, step.search_field))
            found[level.name] = level
        elif isinstance(step, TextStep):
            found |= {level.name: level for level in levels_named(schema, names, step.search_field)}
    if len(found) > 1:
        raise QueryError(f'a query finds documents of one kind; this one searches {" and ".join(map(repr, found))}')
    level = next(iter(found.values()), names)
    for step in query.steps if level is not names else ():
        if isinstance(step, (SortStep, GroupStep, SelectStep)):
            name = names.name_of(level.name)
            raise QueryError(
                f'{VERBS[type(step)]}() is not possible where documents in a list are found; '
                f'ask subindex({name!r}), which speaks of their fields'
            )
    return Scope(names, level, root_filter)


def levels_named(schema: Schema[Any], names: Level, search_field: SearchFields) -> list[Level]:
    """Return the levels of the fields that are named, as far as they are right; of no field, `names` itself."""
    each = [search_field] if isinstance(search_field, str) else search_field
    if not isinstance(each, Iterable) or list(each) in ([''], []):
        return [names]
    return [schema.level_of(names.flat(name)) for name in each if isinstance(name, str)]


def about(filter_: Filter, scope: Scope) -> Filter:
    """Return what a filter says of the documents in a list that are found, as far as it says it of them alone."""
    parts = filter_.parts if isinstance(filter_, And) else (filter_,)
    inner: list[Filter] = []
    for part in parts:
        name, of = scope.names.name, part
        while isinstance(of, Some) and of.position is None:
            name, of = f'{name}__{of.field}' if name else of.field, of.part
            if name == scope.found.name:
                inner.append(of)
                break
    return And(tuple(inner))


def checked_ef(ef: int | None) -> int | None:
    """Return an `ef` that is in range; None: what the settings say."""
    check_settings({} if ef is None else {'ef': ef}, 'find()')
    return ef if ef and ef > 0 else None


def vector_field(names: Level, vectors: Sequence[str], name: str) -> str:
    """
    Return the flat name, in the outermost documents, of the vector field that is meant: the only one, if none is named.

    Args:
        names: The level whose names are spoken.
        vectors: All vector fields, by their flat names in the outermost documents.
        name: What is said.

    Raises:
        QueryError: there is no such field, or there are several.
    """
    if name in names.schema.columns and names.flat(name) in vectors:
        return names.flat(name)  # nearly always
    known = {names.name_of(flat): flat for flat in vectors if names.has(flat)}
    if not name:
        own = [flat for inner, flat in known.items() if inner in names.schema.columns] or list(known.values())
        if len(own) == 1:
            return own[0]
    if name in known:
        return known[name]
    what = f'the vector fields are {", ".join(known)}' if known else 'there is no vector field'
    column = names.schema.columns.get(name)
    if column is not None and column.is_tensor:
        what = f'nothing says how long its vectors are; write `{column.path[-1]}: NdArray[128]`, be it in a subclass'
    problem = f'{name!r} is not a vector field of {names.schema.name}' if name else 'search_field is missing'
    raise QueryError(f'{problem}; {what}')


def list_level(schema: Schema[Any], name: object) -> Level:
    """
    Return the level of the documents in a list, by the flat name of the list: the only one, if none is named.

    Raises:
        QueryError: there is no such list.
    """
    names = [each for each in schema.levels if each]
    if not name and len(names) == 1:
        return schema.levels[names[0]]
    if not isinstance(name, str) or name not in names:
        known = f'the lists of documents are {", ".join(names)}' if names else 'there are no lists of documents'
        problem = f'{name!r} is no list of documents in {schema.name}' if name else 'subindex is missing'
        raise QueryError(f'{problem}; {known}')
    return schema.levels[name]


def id_of(item: object) -> str:
    """
    Return the id that is asked for: itself, or that of a document.

    Raises:
        IdTypeError: it is neither.
    """
    id_ = getattr(item, 'id', None) if isinstance(item, BaseModel) else item
    if not isinstance(id_, str):
        raise IdTypeError(f'expected an id or a document, got {type(item).__name__} {item!r}')
    return id_
