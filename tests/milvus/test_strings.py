"""Strings of any kind, as ids, values and what filters look for: none is changed, and none changes an expression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docindex import BaseDoc, DocList, Field, NdArray
from docindex.milvus.index import MilvusDocumentIndex
from tests.milvus.servers import guarded_server

NASTY = [
    '"',
    "'",
    '\\',
    '\\"',
    '" or id != "',
    '\n',
    '\r\n',
    '\t',
    '\0',
    '\\n',
    '\\u0041',
    '%',
    '_',
    '{x}',
    '$',
    '日本',
    '🎬',
]
NASTY += [
    "' or 1 == 1 --",
    '"] or id in ["other',
    '\\" or true or title == "',
    'e\u0301',
    '\u2028',
    '\ufeff',
    '\x7f',
    ' ',
    '',
]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=20), st.lists(st.sampled_from(NASTY)).map(''.join))


class Scene(BaseDoc):
    words: str


class Film(BaseDoc):
    title: str
    subtitle: str | None = None
    tags: list[str] = Field(default_factory=list)
    meta: dict[str, Any] = Field(default_factory=dict)
    plot: NdArray = Field(dim=2, space='l2')
    scenes: DocList[Scene] = DocList[Scene]()


@pytest.fixture(scope='module')
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusDocumentIndex[Film]]:
    with (
        guarded_server(tmp_path_factory.mktemp('strings')) as server,
        MilvusDocumentIndex[Film](uri=server.uri) as one,
    ):
        yield one


@settings(max_examples=30)
@given(id_=TEXTS.filter(bool), text=TEXTS, key=TEXTS, other=TEXTS)
@example(id_='"] or id in ["', text='\\', key='a"b', other='"')
def test_any_string(index: MilvusDocumentIndex[Film], id_: str, text: str, key: str, other: str) -> None:
    """A document of any strings comes back as it was, is found by each of them, and never by what is not there."""
    index.delete(list(index))
    doc = Film(
        id=id_,
        title=text,
        subtitle=text,
        tags=[text, other],
        meta={key: text},
        plot=[1, 2],
        scenes=[Scene(id=f'{id_}!', words=text)],
    )
    bystander = Film(id=f'{id_}?', title=f'{text}?', plot=[2, 2])
    index.index([doc, bystander])
    assert index[id_] == doc
    assert index.get([id_]).id == [id_]

    def found(filter_: Any) -> list[str]:
        return [one.id for one in index.filter(filter_, limit=None)]

    assert found({'id': id_}) == [id_]
    assert found({'title': text}) == [id_]
    assert found({'title': {'$in': [text, f'{text}!']}}) == [id_]
    assert found({'title': {'$nin': [text]}}) == [bystander.id]
    assert found({'title': {'$startswith': text}}) == [id_, bystander.id]
    assert found({'title': {'$contains': text}}) == [id_, bystander.id]
    assert found({'subtitle': text}) == [id_]
    assert found({'tags': {'$contains': other}}) == [id_]
    assert found({'meta': {'$eq': {key: text}}}) == [id_]
    assert found({'title': f'{text}" or id != "'}) == []
    assert index.find([1, 2], limit=5, filter={'title': text}).documents.id == [id_]
    assert index.subindex('scenes').filter({'words': text}).id == [f'{id_}!']
    assert index.delete([id_, f'{id_}" or "']) == 1
    assert list(index) == [bystander.id]
    assert index.subindex('scenes').count() == 0
