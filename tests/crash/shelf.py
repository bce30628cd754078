"""What an index of documents with lists should hold and find, those in the lists being changed by their own ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from docindex.doclist import DocList
from docindex.testing import ExactIndex


class Shelf(ExactIndex[Any]):
    """An exact index whose documents have lists of documents."""

    def copy(self) -> Shelf:
        twin = Shelf(self.spaces)
        twin.docs = dict(self.docs)
        return twin

    def __iter__(self) -> Iterator[str]:
        return iter(self.docs)

    def subindex(self, name: str) -> Shelved:
        return Shelved(self, name)


class Shelved:
    """
    The documents in one list of those on a shelf, in all of them.

    Args:
        shelf: The shelf.
        name: The flat name of the list, `sections__notes`.
    """

    def __init__(self, shelf: Shelf, name: str) -> None:
        self._shelf = shelf
        self._steps = name.split('__')

    def __iter__(self) -> Iterator[str]:
        return (child.id for doc in self._shelf.docs.values() for child in inside(doc, self._steps))

    def append(self, parent_id: str, docs: Iterable[Any]) -> None:
        *outer, last = self._steps
        for holder in self._changing(outer, {parent_id}):
            _put(holder, last, [*_listed(holder, last), *(doc.model_copy(deep=True) for doc in docs)])

    def update(self, given: Any, **fields: Any) -> None:
        """Change some fields of a document in a list, or put others in the place of those with their ids."""
        if isinstance(given, str):
            for doc in self._changing(self._steps, {given}):
                for name, value in fields.items():
                    setattr(doc, name, value)
            return
        news = {doc.id: doc.model_copy(deep=True) for doc in given}
        *outer, last = self._steps
        for holder in self._holders(outer, set(news)):
            _put(holder, last, [news.get(child.id, child) for child in _listed(holder, last)])

    def delete(self, ids: Iterable[str]) -> int:
        gone = set(ids) & set(self)
        *outer, last = self._steps
        for holder in self._holders(outer, gone):
            _put(holder, last, [child for child in _listed(holder, last) if child.id not in gone])
        return len(gone)

    def _holders(self, outer: list[str], ids: set[str]) -> Iterator[Any]:
        """Yield those in whose lists some of these documents are, to be changed."""
        last = self._steps[-1]
        yield from self._changing(outer, lambda doc: any(child.id in ids for child in _listed(doc, last)))

    def _changing(self, steps: list[str], wanted: Any) -> Iterator[Any]:
        """Yield the documents at the end of some steps that are wanted, in copies of those on the shelf."""
        is_wanted = wanted if callable(wanted) else lambda doc: doc.id in wanted
        for id_, doc in list(self._shelf.docs.items()):
            if any(is_wanted(each) for each in inside(doc, steps)):
                self._shelf.docs[id_] = copy = doc.model_copy(deep=True)  # states before this one keep the other
                yield from (each for each in inside(copy, steps) if is_wanted(each))


def inside(doc: Any, steps: Iterable[str]) -> list[Any]:
    """Return the documents in lists of a document, some steps down; with no step, itself."""
    docs = [doc]
    for step in steps:
        docs = [child for each in docs for child in _listed(each, step)]
    return docs


def _listed(doc: Any, name: str) -> list[Any]:
    return getattr(doc, name) or []


def _put(doc: Any, name: str, docs: list[Any]) -> None:
    doc.__dict__[name] = type(doc.__dict__[name])(docs) if isinstance(doc.__dict__[name], DocList) else docs
