"""Whether filters and full text agree with the documents: what every crash and every damage has to leave so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from docindex.testing import same

_SOME = 6


def check_agreement(index: Any, docs: Mapping[str, Any], field: str = 'title') -> None:
    """
    Assert that an index finds just these documents by the values and the words of a string field with full text.

    Args:
        index: The index.
        docs: What it holds, by id.
        field: The field.
    """
    assert index.count() == len(docs)
    assert index.count({field: {'$exists': True}}) == len(docs)
    assert index.count({field: None}) == 0
    values = Counter(getattr(doc, field) for doc in docs.values())
    for value in sorted(values)[:: len(values) // _SOME + 1]:
        found = index.filter({field: value}, limit=None)
        assert len(found) == index.count({field: value}) == values[value]
        for doc in found:
            assert same(doc, docs[doc.id])
            assert getattr(doc, field) == value
    words = Counter(word for value in values.elements() for word in words_of(value))
    for word in (*sorted(words)[:: len(words) // _SOME + 1], 'nowhere'):
        ids = index.text_search(word, field, limit=len(docs) + 1).documents.id
        assert sorted(ids) == sorted(id_ for id_, doc in docs.items() if word in words_of(getattr(doc, field))), word


def words_of(text: str) -> set[str]:
    """Return the words of a text, as full text takes it apart."""
    return set(re.findall(r'[^\W_]+', text.lower()))
