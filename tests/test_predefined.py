"""The predefined documents, and DocArray's names of types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import docindex.typing
from docindex import (
    AudioDoc,
    BaseDoc,
    Field,
    HnswDocumentIndex,
    ImageDoc,
    NdArray,
    QueryError,
    TextDoc,
    VideoDoc,
)

# What docarray 0.41.0 has; there `id` stands in BaseDoc too.
FIELDS = {
    TextDoc: {'text', 'url', 'embedding', 'bytes_'},
    ImageDoc: {'url', 'tensor', 'embedding', 'bytes_'},
    AudioDoc: {'url', 'tensor', 'embedding', 'bytes_', 'frame_rate'},
    VideoDoc: {'url', 'audio', 'tensor', 'key_frame_indices', 'embedding', 'bytes_'},
}


@pytest.mark.parametrize('doc_type', FIELDS, ids=lambda doc_type: doc_type.__name__)
def test_fields_are_those_of_docarray(doc_type: type[BaseDoc]) -> None:
    """Each predefined document has the fields of DocArray's, all of them optional."""
    assert doc_type.model_fields.keys() == {'id', *FIELDS[doc_type]}
    doc = doc_type()
    assert {getattr(doc, name) for name in FIELDS[doc_type]} == {None}


def test_a_text_is_like_a_string() -> None:
    """A `TextDoc` is made of a string, equals it, and says what is in it."""
    doc = TextDoc('hello world')
    assert doc.text == TextDoc(text='hello world').text == 'hello world'
    assert doc == 'hello world'
    assert doc != 'hello'
    assert doc != TextDoc('hello world')  # another id
    assert 'world' in doc
    assert 'word' not in doc
    assert 'x' not in TextDoc()
    doc.text = 'bye'
    assert doc == 'bye'


def test_a_text_may_have_a_field_called_self() -> None:
    """A subclass of `TextDoc` may name its fields as it likes, and is made of a string all the same."""

    class Quoted(TextDoc):
        self: str = ''

    doc = Quoted('hello', self='me')
    assert (doc.text, doc.self) == ('hello', 'me')


@pytest.mark.parametrize(
    ('doc_type', 'content', 'field'),
    [
        (TextDoc, 'a boat', 'text'),
        (ImageDoc, 'boat.png', 'url'),
        (ImageDoc, b'\xff', 'bytes_'),
        (ImageDoc, np.zeros((2, 2, 3)), 'tensor'),
        (AudioDoc, 'boat.wav', 'url'),
        (AudioDoc, np.zeros(9), 'tensor'),
        (VideoDoc, 'boat.mp4', 'url'),
        (VideoDoc, b'\xff', 'bytes_'),
    ],
)
def test_content_alone_makes_a_field(doc_type: Any, content: Any, field: str) -> None:
    """Where a field holds a predefined document, a text, url, tensor or bytes are enough; a dict says more."""

    class Page(BaseDoc):
        item: doc_type

    made = getattr(Page(item=content).item, field)
    assert made is content or made == content
    named = getattr(Page(item={field: content}).item, field)
    assert named is content or named == content


def test_a_subclass_with_a_dimension_is_searched(tmp_path: Path) -> None:
    """A subclass says how long the embedding is and is searched by it; its other tensors are of any shape."""

    class Picture(ImageDoc):
        embedding: NdArray[3] = Field(space='cosine')

    class Page(BaseDoc):
        title: TextDoc
        picture: Picture
        embedding: NdArray[2]

    pictures = [Picture(tensor=np.full((3, n, 2), n, np.uint8), embedding=[n, 1, 1], bytes_=b'\xff') for n in (1, 2, 3)]
    pages = [Page(title=f'page {n}', picture=picture, embedding=[n, 0]) for n, picture in enumerate(pictures)]
    with HnswDocumentIndex[Page](work_dir=tmp_path) as index:
        index.index(pages)
        assert index.find([3, 1, 1], 'picture__embedding', limit=1).documents == [pages[2]]
        assert index.find([1, 0], 'embedding', limit=1).documents == [pages[1]]
        assert index.filter({'title__text': 'page 1'}) == [pages[1]]


def test_an_index_of_texts_without_a_dimension_stores_them(tmp_path: Path) -> None:
    """`TextDoc` itself can be indexed and filtered; a search in its embedding says how to make it one."""
    doc = TextDoc('hello', embedding=np.float16([1, 2]))
    with HnswDocumentIndex[TextDoc](work_dir=tmp_path) as index:
        index.index(doc)
        assert index[doc.id] == doc
        assert index.filter({'text': 'hello'}) == [doc]
        with pytest.raises(QueryError, match=r'embedding.*NdArray\[128\]'):
            index.find([1, 2], 'embedding')


def test_docarrays_names_of_types() -> None:
    """`docindex.typing` has a name for each tensor of a medium and framework that `docarray.typing` has."""
    frameworks = {'': 'AnyTensor', 'NdArray': 'NdArray', 'TorchTensor': 'TorchTensor', 'JaxArray': 'JaxArray'}
    frameworks['TensorFlowTensor'] = 'TensorFlowTensor'
    for medium in ('Image', 'Audio', 'Video'):
        for name, kind in frameworks.items():
            found = getattr(docindex.typing, f'{medium}{name or "Tensor"}')
            assert found is getattr(docindex, kind)
    for prefix, kind in (('Any', 'AnyTensor'), ('NdArray', 'NdArray'), ('Torch', 'TorchTensor')):
        assert getattr(docindex.typing, f'{prefix}Embedding') is getattr(docindex, kind)
    assert all(hasattr(docindex.typing, name) for name in docindex.typing.__all__)
