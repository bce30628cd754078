"""The document classes of tests/docarray/make.py, as a user of docindex writes them."""

from __future__ import annotations

import enum
from typing import Any

from docindex import AnyTensor, BaseDoc, DocList, Field, ImageUrl, NdArray


class Flat(BaseDoc):
    title: str
    price: float
    pages: int
    embedding: NdArray[8]


class Cosine(BaseDoc):
    title: str
    embedding: NdArray[8] = Field(space='cosine')


class Anytensor(BaseDoc):
    title: str
    embedding: AnyTensor = Field(dim=8)


class Image(BaseDoc):
    url: ImageUrl
    tensor: NdArray[4]


class Poster(BaseDoc):
    title: str
    image: Image


class Nested(BaseDoc):
    text: str
    poster: Poster
    embedding: NdArray[8] = Field(space='ip')


class Size(enum.StrEnum):
    SMALL = 'small'
    LARGE = 'large'


class Inner(BaseDoc):
    text: str
    note: str | None = None


class Kinds(BaseDoc):
    size: Size
    tags: set[str]
    point: tuple[int, int]
    words: list[Any]
    data: bytes
    attributes: dict[str, Any]
    flag: bool
    count: int
    rating: float | None = None
    inner: Inner | None = None
    url: ImageUrl | None = None
    picture: NdArray = Field(index=False)
    maybe: NdArray[3] | None = None
    numbers: NdArray[4]
    doubles: NdArray[6] = Field(space='cosine')


class Sentence(BaseDoc):
    text: str
    embedding: NdArray[4]


class Page(BaseDoc):
    number: int
    sentences: DocList[Sentence]
    embedding: NdArray[4] = Field(space='cosine')


class Chapter(BaseDoc):
    title: str
    pages: DocList[Page]
    embedding: NdArray[4]


class Book(BaseDoc):
    title: str
    chapters: DocList[Chapter]
    embedding: NdArray[4]


SCHEMAS: dict[str, type[BaseDoc]] = {
    'flat': Flat,
    'cosine': Cosine,
    'anytensor': Anytensor,
    'nested': Nested,
    'kinds': Kinds,
    'books': Book,
    'edited_books': Book,
    'edited': Flat,
    'changed_space': Cosine,
}
"""By directory."""
