"""Documents to load, in a module that a program of a test imports quickly."""

from __future__ import annotations

from docindex import BaseDoc, Field, NdArray


class Cover(BaseDoc):
    url: str = ''
    look: NdArray | None = Field(default=None, dim=2)


class Book(BaseDoc):
    title: str
    price: float | None = None
    pages: int = 0
    tags: list[str] = Field(default_factory=list)
    vector: NdArray = Field(dim=2)
    cover: Cover | None = None
