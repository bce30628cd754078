"""Documents and results as JSON, with their JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter, ValidationError

from docindex import (
    AnyTensor,
    BaseDoc,
    DocList,
    Field,
    FindResult,
    FindResultBatched,
    ImageDoc,
    NdArray,
    SubindexFindResult,
)


class Page(BaseDoc):
    text: str
    embedding: NdArray[2]


class Book(BaseDoc):
    title: str
    embedding: NdArray = Field(dim=3, space='cosine')
    back: NdArray | None = Field(default=None, dim=2)
    cover: NdArray[2, 'w'] | None = None  # noqa: F821, UP037
    anything: AnyTensor | None = Field(default=None, index=False)
    pages: DocList[Page] = DocList[Page]()


def books(count: int = 2) -> DocList[Book]:
    page = Page(id='p', text='A page', embedding=[1, 2])
    return DocList[Book](
        Book(id=f'b{at}', title='T', embedding=[at, 0.1, 2], back=[1, 2], cover=[[1], [2]], pages=[page])
        for at in range(count)
    )


SCORES = np.array([0.1, np.nan], np.float32)
RESULTS: list[tuple[Any, Any]] = [
    (FindResult[Book], FindResult(books(), SCORES)),
    (FindResult[Book], FindResult(DocList[Book](), SCORES[:0])),
    (FindResultBatched[Book], FindResultBatched([books(), books()], np.stack([SCORES, SCORES]))),
    (FindResultBatched[Book], FindResultBatched([books(), books(1)], [SCORES, SCORES[:1]])),
    (SubindexFindResult[Book, Page], SubindexFindResult(books(), books().pages[0] * 2, SCORES)),
]


def validator(of: TypeAdapter[Any], mode: Any) -> Draft202012Validator:
    schema = of.json_schema(mode=mode)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(('of', 'result'), RESULTS)
def test_a_result_comes_back_from_json(of: Any, result: Any) -> None:
    """A result is written as an object of its fields, which its JSON Schema describes, and read as it was."""
    adapter = TypeAdapter(of)
    text = adapter.dump_json(result)
    again = adapter.validate_json(text)
    assert type(again) is type(result)
    assert again._fields == tuple(json.loads(text))
    assert again.documents == result.documents
    pairs = zip(again.scores, result.scores, strict=True)
    assert all(np.array_equal(mine, theirs, equal_nan=True) for mine, theirs in pairs)
    assert type(again.scores) is type(result.scores)
    validator(adapter, 'validation').validate(json.loads(text))
    validator(adapter, 'serialization').validate(json.loads(text))


def test_documents_of_a_result_keep_their_class() -> None:
    """What is read from JSON is a `DocList[Book]`, and of documents in lists what stands behind the comma."""
    found = TypeAdapter(FindResult[Book]).validate_json(TypeAdapter(FindResult[Book]).dump_json(RESULTS[0][1]))
    assert found.documents.doc_type is Book
    assert found.documents.pages[0].doc_type is Page
    inner = TypeAdapter(SubindexFindResult[Book, Page])
    found = inner.validate_json(inner.dump_json(RESULTS[-1][1]))
    assert (found.root_documents.doc_type, found.documents.doc_type) == (Book, Page)
    assert found.scores.dtype == np.float32


def test_what_nothing_has_ranked_has_null() -> None:
    """A score that is NaN is null in JSON, and so are the infinite ones; null is NaN again."""
    adapter = TypeAdapter(FindResult[Book])
    result = FindResult(books(3), np.array([1, np.nan, np.inf], np.float32))
    assert json.loads(adapter.dump_json(result))['scores'] == [1, None, None]
    assert adapter.dump_python(result, mode='json')['scores'] == [1, None, None]
    assert adapter.dump_python(result)['scores'] is result.scores
    assert np.isnan(adapter.validate_json(adapter.dump_json(result)).scores).tolist() == [False, True, True]


def test_a_result_without_a_class_is_written_as_what_it_holds() -> None:
    """`FindResult` alone writes documents of any class, with all of their fields, and reads dicts."""
    adapter = TypeAdapter(FindResult)
    text = adapter.dump_json(RESULTS[0][1])
    assert text == TypeAdapter(FindResult[Book]).dump_json(RESULTS[0][1])
    assert adapter.validate_json(text).documents[0]['title'] == 'T'
    validator(adapter, 'serialization').validate(json.loads(text))


@pytest.mark.parametrize(
    ('given_', 'complaint'),
    [
        ({'documents': []}, 'scores'),
        ({'documents': [], 'scores': [1]}, '0 in documents, and 1 in scores'),
        ({'documents': [{'id': 'a'}], 'scores': [1]}, 'title'),
        ({'documents': [], 'scores': [['x']]}, 'scores'),
        ([], 'valid dictionary'),
        (FindResult(DocList[Page]([Page(text='', embedding=[1, 2])]), SCORES[:1]), 'instance of Book'),
    ],
)
def test_what_is_no_result_is_refused(given_: Any, complaint: str) -> None:
    """A result that lacks something, or whose documents are of another class, is refused with its place."""
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(FindResult[Book]).validate_python(given_)


def test_results_are_fields_and_have_names() -> None:
    """A result can be the field of a model; in a JSON Schema it stands once, under its name and class."""

    class Answer(BaseModel):
        found: FindResult[Book]
        each: FindResultBatched[Book]
        inside: SubindexFindResult[Book]

    names = set(Answer.model_json_schema(mode='serialization')['$defs'])
    assert names == {'Book', 'Page', 'FindResult_Book_', 'FindResultBatched_Book_', 'SubindexFindResult_Book_'}
    answer = Answer(found=RESULTS[0][1], each=RESULTS[2][1], inside=RESULTS[4][1])
    assert Answer.model_validate_json(answer.model_dump_json()).found.documents == books()


@pytest.mark.parametrize('mode', ['validation', 'serialization'])
def test_the_schema_of_a_document_says_how_long_vectors_are(mode: Any) -> None:
    """A vector is an array of so many numbers, wherever its length is said; settings of the field stand beside."""
    fields = Book.model_json_schema(mode=mode)['properties']
    assert fields['embedding'].items() >= {'minItems': 3, 'maxItems': 3, 'space': 'cosine'}.items()
    assert fields['embedding']['items'] == {'type': 'number'}
    assert fields['back']['anyOf'][0].items() >= {'minItems': 2, 'maxItems': 2}.items()
    assert fields['cover']['anyOf'][0]['minItems'] == 2


DTYPES = ['float16', 'float32', 'float64', 'uint8', 'int64', 'bool']
TENSORS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, max_side=3))
)


@given(TENSORS, st.integers(1, 2).flatmap(lambda w: arrays.arrays('float32', (2, w))))
def test_documents_come_back_from_json(tensor: Any, cover: Any) -> None:
    """Tensors of any type are lists in JSON, as the schema says, and the same numbers again; NaN is null."""
    book = Book(id='a', title='T', embedding=[1, 2, 3], anything=tensor, cover=cover)
    text = book.model_dump_json()
    validator(TypeAdapter(Book), 'serialization').validate(json.loads(text))
    again = Book.model_validate_json(text)
    for mine, theirs in ((book.anything, again.anything), (book.cover, again.cover)):
        is_finite = np.isfinite(mine)
        assert np.array_equal(np.where(is_finite, mine, 0), np.where(is_finite, theirs, 0))
        assert not np.isfinite(theirs[~is_finite]).any()


@pytest.mark.parametrize('number', [3, 2.5, True])
def test_a_tensor_without_axes_is_a_number(number: Any) -> None:
    """One number is written as itself, and read as a tensor without axes."""
    book = Book.model_validate_json(Book(title='T', embedding=[1, 2, 3], anything=np.array(number)).model_dump_json())
    assert book.anything.shape == ()
    assert book.anything == number


@pytest.mark.parametrize('given_', [[1, None, 'a'], [[1], [None, 2]], 'a', [{}]])
def test_json_that_is_no_tensor_is_refused(given_: Any) -> None:
    """Null among numbers is NaN; beside strings, or in uneven lists, nothing is a tensor."""
    with pytest.raises(ValidationError, match='array of numbers'):
        Book.model_validate_json(json.dumps({'title': 'T', 'embedding': [1, 2, 3], 'anything': given_}))


def test_none_is_no_number_in_python() -> None:
    """Only JSON says null for NaN: a list with None, which a program made, is refused."""
    with pytest.raises(ValidationError, match='array of numbers'):
        Book(title='T', embedding=[1, None, 3])


def test_bytes_of_predefined_documents_are_base64() -> None:
    """A picture's bytes, which are no text, come back from JSON."""
    picture = ImageDoc(id='a', bytes_=b'\xff\x00\x89PNG', tensor=np.zeros((1, 2), np.uint8))
    assert ImageDoc.model_validate_json(picture.model_dump_json()) == picture


@pytest.mark.parametrize('of', [FindResult, FindResultBatched, SubindexFindResult])
def test_a_class_in_brackets_changes_nothing_but_json(of: Callable[..., Any]) -> None:
    """`FindResult[Book](...)` makes the same as `FindResult(...)`, and two of one class are one type."""
    given_: list[Any] = [books()] * (len(of._fields) - 1) + [SCORES]  # type: ignore[attr-defined]
    assert type(of[Book](*given_)) is of  # type: ignore[index]
    assert of[Book] == of[Book] != of[Page]  # type: ignore[index]
    assert hash(of[Book]) == hash(of[Book])  # type: ignore[index]
