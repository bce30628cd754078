"""Documents that are made when somebody looks at them are, to whoever looks, documents like others."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter

from docindex import BaseDoc, DocList
from docindex.deferred import deferred


class Chunk(BaseDoc):
    text: str
    number: int = 3

    @property
    def shout(self) -> str:
        return self.text.upper()


class Plain(BaseModel):
    id: str
    text: str
    number: int = 3


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    id: str
    text: str
    number: int = 3


CLASSES: list[Any] = [Chunk, Plain, Frozen]
made: list[int] = []


def make(doc_type: type[Any], at: int) -> Any:
    made.append(at)
    return doc_type(id=f'id {at}', text=f'text {at}')


def one(doc_type: type[Any]) -> Any:
    (doc,) = deferred(doc_type, lambda at: make(doc_type, at), [7])
    return doc


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


LOOKS: dict[str, Callable[[Any, Any], Any]] = {
    'an attribute': lambda doc, of: doc.text,
    'a default': lambda doc, of: doc.number,
    'its fields': lambda doc, of: vars(doc),
    'what was set': lambda doc, of: sorted(doc.model_fields_set),
    'model_dump': lambda doc, of: doc.model_dump(),
    'JSON': lambda doc, of: doc.model_dump_json(),
    'JSON of a list': lambda doc, of: TypeAdapter(list[of]).dump_json([doc]),
    'repr': lambda doc, of: repr(doc),
    'str': lambda doc, of: str(doc),
    'its items': lambda doc, of: list(doc),
    'a copy': lambda doc, of: copy.copy(doc),
    'a deep copy': lambda doc, of: copy.deepcopy(doc),
    'model_copy': lambda doc, of: doc.model_copy(update={'text': 'other'}),
    'pickle': lambda doc, of: pickle.loads(pickle.dumps(doc)),
    'its class': lambda doc, of: doc.__class__,
    'validation': lambda doc, of: of.model_validate(doc).text,
    'from attributes': lambda doc, of: Plain.model_validate(doc, from_attributes=True),
}


@pytest.mark.parametrize('doc_type', CLASSES)
@pytest.mark.parametrize('look', LOOKS.values(), ids=LOOKS)
def test_whoever_looks_sees_the_document(doc_type: type[Any], look: Callable[[Any, Any], Any]) -> None:
    """Whatever is asked of it first gives what a document made at once gives, and makes it once."""
    expected, doc = look(make(doc_type, 7), doc_type), one(doc_type)
    made.clear()
    assert look(doc, doc_type) == expected
    assert look(doc, doc_type) == expected
    assert made == [7]
    assert type(doc) is doc_type


@pytest.mark.parametrize('doc_type', CLASSES)
def test_nothing_is_made_before(doc_type: type[Any]) -> None:
    """Documents that nobody looks at are not made, also in lists that are cut, copied or counted."""
    docs = deferred(doc_type, lambda at: make(doc_type, at), range(5))
    every = DocList[doc_type].trusted(docs)  # type: ignore[valid-type]
    assert len(every[1:4]) == 3
    assert made == []
    assert [doc.text for doc in every[3:]] == ['text 3', 'text 4']
    assert made == [3, 4]


@pytest.mark.parametrize('doc_type', CLASSES)
def test_it_equals_an_ordinary_one(doc_type: type[Any]) -> None:
    """It is equal from either side, and not to one that differs."""
    ordinary, other = make(doc_type, 7), make(doc_type, 8)
    assert one(doc_type) == ordinary
    assert ordinary == one(doc_type)
    assert one(doc_type) == one(doc_type)
    assert [one(doc_type)] == [ordinary]
    assert one(doc_type) != other
    assert other != one(doc_type)
    assert isinstance(one(doc_type), doc_type)


def test_it_can_be_changed() -> None:
    """Assigning to a field makes it first."""
    doc = one(Chunk)
    doc.text = 'new'
    assert (doc.text, doc.number, doc.id) == ('new', 3, 'id 7')


def test_methods_of_the_class_work() -> None:
    """Properties and methods of the document's class see its fields."""
    assert one(Chunk).shout == 'TEXT 7'


def test_it_is_a_field_like_any_document() -> None:
    """Another document takes it as it is, and its JSON has it whole."""

    class Holder(BaseModel):
        chunk: Chunk
        chunks: list[Chunk]

    holder = Holder(chunk=one(Chunk), chunks=[one(Chunk)])
    dumped = holder.model_dump()
    assert dumped['chunk'] == dumped['chunks'][0] == {'id': 'id 7', 'text': 'text 7', 'number': 3}


def test_an_error_is_raised_where_it_is_looked_at() -> None:
    """What keeps a document from being made is raised each time somebody looks."""

    def fail(at: int) -> Chunk:
        raise LookupError(f'{at} is damaged')

    (doc,) = deferred(Chunk, fail, [2])
    for _ in range(2):
        with pytest.raises(LookupError, match='2 is damaged'):
            _ = doc.text


def test_several_threads_make_it_once() -> None:
    """Threads that look at once see one document."""
    docs = deferred(Chunk, lambda at: make(Chunk, at), range(200))
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append([doc.text for doc in docs])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[f'text {at}' for at in range(200)]] * 4
    assert sorted(made) == list(range(200))
