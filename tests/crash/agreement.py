"""Whether what filters, full text and lists say agrees with the documents: what every crash has to leave so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from docindex.testing import ExactIndex, same
from tests.crash.shelf import inside

_SOME = 6
_LIMIT = 4
Spaces = Mapping[str, str]


def check_agreement(
    index: Any, docs: Mapping[str, Any], field: str = 'title', lists: Mapping[str, Spaces] | None = None
) -> None:
    """
    Assert that an index finds just these documents by the values and the words of a string field with full text.

    Those in their lists are looked for in the same way, by their own fields and vectors and by those of the others.

    Args:
        index: The index.
        docs: What it holds, by id.
        field: The field; documents in lists have one of this name, too.
        lists: The lists of documents by flat name, each with the spaces of the vectors in it.
    """
    _check_fields(index, docs, field)
    for name, spaces in (lists or {}).items():
        children = {child.id: child for doc in docs.values() for child in inside(doc, name.split('__'))}
        within = index.subindex(name)
        assert sorted(within) == sorted(children)
        assert len(within) == len(children)
        for child in within.get(list(children)):
            assert same(child, children[child.id]), f'{child!r} is in {name}; should be {children[child.id]!r}'
        _check_fields(within, children, field)
        _check_vectors(index, docs, name, children, spaces)
        _check_across(index, docs, name, field)


def _check_fields(index: Any, docs: Mapping[str, Any], field: str) -> None:
    assert index.count() == len(docs)
    assert index.count({field: {'$exists': True}}) == len(docs)
    assert index.count({field: None}) == 0
    values = Counter(getattr(doc, field) for doc in docs.values())
    for value in _some(values):
        found = index.filter({field: value}, limit=None)
        assert len(found) == index.count({field: value}) == values[value]
        for doc in found:
            assert same(doc, docs[doc.id])
            assert getattr(doc, field) == value
    words = Counter(word for value in values.elements() for word in words_of(value))
    for word in (*_some(words), 'nowhere'):
        ids = index.text_search(word, field, limit=len(docs) + 1).documents.id
        assert sorted(ids) == sorted(id_ for id_, doc in docs.items() if word in words_of(getattr(doc, field))), word


def _check_vectors(index: Any, docs: Mapping[str, Any], name: str, children: Mapping[str, Any], spaces: Spaces) -> None:
    """Assert that documents in lists are found by their vectors, with those that they are in."""
    oracle: ExactIndex[Any] = ExactIndex(spaces)
    oracle.docs = dict(children)
    root_of = {child.id: doc for doc in docs.values() for child in inside(doc, name.split('__'))}
    for field in spaces:
        for id_ in _some(id_ for id_ in children if oracle.vector(id_, field) is not None):
            vector = oracle.vector(id_, field)
            for exact in (False, True):
                found = index.find_subindex(vector, name, field, limit=_LIMIT, exact=exact)
                oracle.check(found, vector, field, limit=_LIMIT)
                for root, child in zip(found.root_documents, found.documents, strict=True):
                    assert same(root, root_of[child.id])
            nearest = dict.fromkeys(root_of[child].id for child in oracle.distances(vector, field))
            grouped = index.find(vector, f'{name}__{field}', limit=1, exact=True, group_by_root=True)
            assert grouped.documents.id == list(nearest)[:1]


def _check_across(index: Any, docs: Mapping[str, Any], name: str, field: str) -> None:
    """Assert that documents are found by what is in their lists, and those in lists by what they are in."""
    steps = name.split('__')
    for value in _some({getattr(child, field) for doc in docs.values() for child in inside(doc, steps)}):
        with_one = [
            id_ for id_, doc in docs.items() if any(getattr(child, field) == value for child in inside(doc, steps))
        ]
        assert sorted(index.filter({f'{name}__{field}': value}, limit=None).id) == sorted(with_one)
    for value in _some({getattr(doc, field) for doc in docs.values()}):
        ids = [child.id for doc in docs.values() if getattr(doc, field) == value for child in inside(doc, steps)]
        found = index.filter_subindex({}, name, limit=None, root_filter={field: value})
        assert sorted(found.id) == sorted(ids)


def _some(values: Any) -> list[Any]:
    found = sorted(values)
    return found[:: len(found) // _SOME + 1]


def words_of(text: str) -> set[str]:
    """Return the words of a text, as full text takes it apart."""
    return set(re.findall(r'[^\W_]+', text.lower()))
