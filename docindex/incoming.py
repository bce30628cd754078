"""Documents on their way into a store, with those in their lists: where they stand, and what an error calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import BaseModel

from .errors import DocumentError
from .refusals import check_id, check_ids
from .schema import Level


class Given(NamedTuple):
    """
    A document that is to be stored.

    Attributes:
        doc: The document.
        parent: The id of the document in whose list it is; None: it is in none.
        position: Where in that list.
        trail: How to get there: the name of the outermost document, or the trail of the one it is in, the name of the
            list and the position.
    """

    doc: Any
    parent: str | None
    position: int
    trail: tuple[Any, ...]

    def name(self) -> str:
        """Return what an error calls it."""
        if len(self.trail) == 1:  # which has the id already
            return named(self.trail)
        id_ = getattr(self.doc, 'id', None)
        return f'{named(self.trail)} (id {id_!r})' if isinstance(id_, str) else named(self.trail)


def named(trail: tuple[Any, ...]) -> str:
    """Return a trail in words."""
    if len(trail) == 1:
        return str(trail[0])
    outer, name, position = trail
    return f'{named(outer)}{": " if len(outer) == 1 else "."}{name}[{position}]'


def last_of_each(docs: Sequence[Any], what: str = 'document') -> list[Given]:
    """
    Return documents that are in no list, or whose place is not known yet: the last of each id. Errors call each `what`.

    Raises:
        IdTypeError, DocumentError: something is no id.
    """
    ids = [getattr(doc, 'id', None) for doc in docs]
    check_ids(ids, partial('{} {}'.format, what))
    last = dict(zip(ids, range(len(ids)), strict=True))
    return [Given(docs[at], None, 0, (f'{what} {at} (id {id_!r})',)) for id_, at in last.items()]


def unlike(given: Iterable[Given]) -> Iterator[Given]:
    """Yield documents in lists; raise for one with the id of another."""
    seen: dict[str, tuple[Any, ...]] = {}
    for one in given:
        id_ = check_id(getattr(one.doc, 'id', None), one.name)
        other = seen.setdefault(id_, one.trail)
        if other is not one.trail:
            raise DocumentError(f'{named(one.trail)}: its id {id_!r} is taken by {named(other)}')
        yield one


def inside(levels: Mapping[str, Level], name: str, top: str, given: Iterable[Given]) -> Iterator[Given]:
    """Yield the documents of a level that are in lists of those given, which are of the level `top`."""
    level = levels[name]
    if name == top or level.outer is None:
        yield from given
        return
    for outer in inside(levels, level.outer, top, given):
        for position, doc in enumerate(_listed(level, outer)):
            yield Given(doc, outer.doc.id, position, (outer.trail, level.list_column.name, position))


def _listed(level: Level, outer: Given) -> Iterable[BaseModel]:
    """Return the documents in a list of a document, checked for their class."""
    found, wanted = level.list_column.value(outer.doc), level.schema.doc_type
    if found is None:
        return ()
    if not isinstance(found, list):
        raise DocumentError(f'{outer.name()}: {level.list_column.name} is a {type(found).__name__} and no list')
    for position, doc in enumerate(found):
        if not isinstance(doc, wanted):
            what = f'{level.list_column.name}[{position}]'
            raise DocumentError(f'{outer.name()}: {what} is a {type(doc).__name__} and no {wanted.__name__}')
    return found


def levels_from(levels: Mapping[str, Level], top: str) -> list[str]:
    """Return a level, and all in whose lists its documents have others, each after the one it is in."""
    return [top, *(name for name in levels if _is_below(levels, name, top))]


def _is_below(levels: Mapping[str, Level], name: str, top: str) -> bool:
    outer = levels[name].outer
    return outer is not None and (outer == top or _is_below(levels, outer, top))


def list_of(doc: Any, level: Level) -> list[Any] | None:
    """Return the list of a document in which those of a level are; None: there is none."""
    *outer, name = level.list_column.path
    for step in outer:
        doc = None if doc is None else getattr(doc, step)
    current = None if doc is None else doc.__dict__.get(name)
    return current if isinstance(current, list) else None
