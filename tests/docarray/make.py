"""
Makes the directories in tests/docarray, with DocArray itself. Not run by the tests.

    python3.11 -m venv v
    v/bin/pip install 'docarray[hnswlib]==0.41.0' hnswlib==0.8.0 numpy==1.26.4 pydantic==2.14.3 protobuf==7.36.2
    v/bin/python tests/docarray/make.py

Each directory `<name>` is a work directory as DocArray left it, and `<name>.json` what DocArray then returned: under
'documents' what `index[id]` gave, or where DocArray cannot read what it has written, what it was given; under 'found'
what `find` gave. tests/docarray/schemas.py has the same classes for docindex.
"""

# ruff: noqa: UP042, UP045 (DocArray does not know `X | None`)

from __future__ import annotations

import enum
import json
import shutil
from pathlib import Path
from typing import Any, Optional

import numpy as np
from docarray import BaseDoc, DocList
from docarray.index import HnswDocumentIndex
from docarray.typing import AnyTensor, ImageUrl, NdArray
from plain import plain
from pydantic import Field

HERE = Path(__file__).parent
random = np.random.default_rng(5)


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


class Size(str, enum.Enum):
    SMALL = 'small'
    LARGE = 'large'


class Inner(BaseDoc):
    text: str
    note: Optional[str] = None


class Kinds(BaseDoc):
    """Several vector fields, values of all kinds, and what is optional or not indexed."""

    size: Size
    tags: set
    point: tuple
    words: list
    data: bytes
    attributes: dict
    flag: bool
    count: int
    rating: Optional[float] = None
    inner: Optional[Inner] = None
    url: Optional[ImageUrl] = None
    picture: NdArray = Field(index=False)
    maybe: Optional[NdArray[3]] = None
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


class DocArrayDoc(BaseDoc):
    """What langchain-community's `DocArrayHnswSearch` makes; `_get_doc_cls` in vectorstores/docarray/base.py."""

    text: Optional[str] = Field(default=None)
    embedding: Optional[NdArray] = Field(dim=6, space='cosine', max_elements=1024, ef=10, num_threads=1)
    metadata: Optional[dict] = Field(default=None)


def made(name: str, schema: type[BaseDoc], docs: list[BaseDoc]) -> HnswDocumentIndex:
    """Index documents in a new directory."""
    shutil.rmtree(HERE / name, ignore_errors=True)
    index = HnswDocumentIndex[schema](work_dir=str(HERE / name))
    index.index(docs)
    return index


def write(name: str, documents: list[Any], found: dict[str, Any]) -> None:
    text = json.dumps({'documents': [plain(doc) for doc in documents], 'found': found}, separators=(',', ':'))
    (HERE / f'{name}.json').write_text(text.replace('{"document"', '\n{"document"') + '\n')


def reopened(name: str, schema: type[BaseDoc]) -> HnswDocumentIndex:
    return HnswDocumentIndex[schema](work_dir=str(HERE / name))


def search(index: HnswDocumentIndex, fields: dict[str, int]) -> dict[str, Any]:
    """Return for each vector field a query, and what DocArray finds with it."""
    found = {}
    for search_field, dim in fields.items():
        query = random.normal(size=dim).astype(np.float32)
        docs, scores = index.find(query, search_field=search_field, limit=5)
        found[search_field] = {
            'query': query.tolist(),
            'ids': [doc.id for doc in docs],
            'scores': [float(score) for score in scores],
        }
    return found


def vector(dim: int, dtype: str = 'float64') -> np.ndarray:
    return (random.normal(size=dim) * 3).astype(dtype)


def flat() -> None:
    docs = [
        Flat(id=f'flat-{n}', title=f'Title {n}', price=n / 7, pages=-n * 10**6, embedding=vector(8)) for n in range(30)
    ]
    index = made('flat', Flat, docs)
    write('flat', [index[doc.id] for doc in docs], search(index, {'embedding': 8}))


def cosine() -> None:
    docs = [Cosine(id=f'Ünicode {n} 文', title='', embedding=vector(8)) for n in range(20)]
    index = made('cosine', Cosine, docs)
    write('cosine', [index[doc.id] for doc in docs], search(index, {'embedding': 8}))


def anytensor() -> None:
    # DocArray writes these and cannot read them: AttributeError, 'NoneType' has no '_to_node_protobuf'.
    docs = [Anytensor(id=str(n), title=f'Title {n}', embedding=vector(8, 'float32')) for n in range(20)]
    given = [doc.model_copy() for doc in docs]
    made('anytensor', Anytensor, docs)
    write('anytensor', given, {})


def nested() -> None:
    docs = [
        Nested(
            id=f'nested-{n}',
            text=f'Text {n}',
            poster=Poster(id=f'p{n}', title='A poster', image=Image(url=f'http://a.b/{n}.png', tensor=vector(4))),
            embedding=vector(8),
        )
        for n in range(20)
    ]
    index = made('nested', Nested, docs)
    write('nested', [index[doc.id] for doc in docs], search(index, {'embedding': 8, 'poster__image__tensor': 4}))


def kinds() -> None:
    docs = [
        Kinds(
            id=f'kinds-{n}',
            size=list(Size)[n % 2],
            tags={'red', 'green', f'tag {n}'},
            point=(n, -n),
            words=['a', '', f'{n}', None, ['deep', 1.5]],
            data=bytes(range(n, n + 5)),
            attributes={'a': n, 'b': {'c': [1, 2.5, True]}, '': None},
            flag=n % 2 == 0,
            count=(-1) ** n * (2**31 - 1),
            rating=n / 3 if n % 2 else None,
            inner=Inner(id=f'inner {n}', text='inside') if n % 3 else None,
            url='picture.png' if n % 2 else None,
            picture=random.integers(0, 255, size=(2, 3, n % 2 * 4), dtype=np.uint8),
            maybe=vector(3, 'float32') if n % 2 else None,
            numbers=random.integers(-100, 100, size=4),
            doubles=vector(6),
        )
        for n in range(8)
    ]
    index = made('kinds', Kinds, docs)
    kept = [index[doc.id] for doc in docs]
    for given, doc in zip(docs, kept, strict=True):
        if doc.picture.size == 0:  # DocArray returns float64, whatever the dtype was
            doc.picture = given.picture
    write('kinds', kept, search(index, {'numbers': 4, 'doubles': 6}))


def book(n: int, chapters: int) -> Book:
    return Book(
        id=f'book-{n}',
        title=f'Book {n}',
        embedding=vector(4),
        chapters=[
            Chapter(
                id=f'chapter-{n}-{c}',
                title=f'Chapter {c}',
                embedding=vector(4),
                pages=[
                    Page(
                        id=f'page-{n}-{c}-{p}',
                        number=p,
                        embedding=vector(4),
                        sentences=[
                            Sentence(id=f'sentence-{n}-{c}-{p}-{s}', text=f'Sentence {s}', embedding=vector(4))
                            for s in range(2)
                        ],
                    )
                    for p in range(1 + (n + c) % 2)
                ],
            )
            for c in range(chapters)
        ],
    )


def books() -> None:
    docs = [book(n, n % 3) for n in range(4)]
    index = made('books', Book, docs)
    write('books', [index[doc.id] for doc in docs], search(index, {'embedding': 4}))


def edited_books() -> None:
    """Books of which one has lost chapters, one was deleted after it had lost some, and one was deleted whole."""
    docs = [book(n, 2) for n in range(4)]
    index = made('edited_books', Book, docs)
    index.index([book(0, 1), book(1, 1)])  # page-0-1-*, page-1-1-* and what is in them stay in the subindexes
    del index['book-1']
    del index['book-2']
    del index._subindices['chapters']['chapter-3-1']  # behind the back of its book, which still has it
    kept = [index[f'book-{n}'] for n in (0, 3)]
    del index
    write('edited_books', kept, {})


def edited() -> None:
    """Documents that were deleted, deleted and indexed again, replaced, and half deleted."""
    docs = [
        Flat(id=f'flat-{n}', title=f'Title {n}', price=n, pages=n, embedding=vector(8, 'float32')) for n in range(30)
    ]
    index = made('edited', Flat, docs)
    del index[[f'flat-{n}' for n in range(10)]]
    index = reopened('edited', Flat)  # which has forgotten the deletions: the ten are in the graph again
    again = Flat(id='flat-3', title='Again', price=0.5, pages=3, embedding=vector(8, 'float32'))
    index.index([again, docs[20].model_copy(update={'title': 'Other title', 'embedding': vector(8, 'float32')})])
    try:
        del index[['flat-25', 'nobody']]  # marks flat-25, raises for nobody, and leaves the row of flat-25
    except KeyError:
        pass
    else:
        raise AssertionError('DocArray deletes whole lists by now')
    index.index([Flat(id='last', title='Last', price=1, pages=1, embedding=vector(8, 'float32'))])  # saves the mark
    kept = [index[f'flat-{n}'] for n in (3, *range(10, 25), *range(26, 30))] + [index['last']]
    given = docs[25].model_copy()  # DocArray says 'Label not found'
    write('edited', [*kept, given], {})


def changed_space() -> None:
    """An index that was made with l2 and went on with cosine: only the later documents have their vectors in SQLite."""
    docs = [Cosine(id=f'{n}', title='', embedding=vector(8, 'float32')) for n in range(10)]

    class WithL2(BaseDoc):
        title: str
        embedding: NdArray[8] = Field(space='l2')

    made('changed_space', WithL2, [WithL2(**dict(doc)) for doc in docs[:5]])
    reopened('changed_space', Cosine).index(docs[5:])
    write('changed_space', docs, {})


def langchain() -> None:
    """Texts with metadata, as langchain-community stores them; docs/langchain.md brings them over."""
    texts = ['An engine that plays chess', 'Letters from a garden', 'River']
    words = ['chess', 'garden', 'engine', 'night', 'river', 'letters']
    docs = [
        DocArrayDoc(
            id=str(n),
            text=text,
            embedding=np.array([0.1 + text.lower().count(word) for word in words]),
            metadata={'page': n, 'source': {'file': f'{n}.txt'}},
        )
        for n, text in enumerate(texts)
    ]
    write('langchain', docs, search(made('langchain', DocArrayDoc, docs), {'embedding': 6}))


if __name__ == '__main__':
    for make in (flat, cosine, anytensor, nested, kinds, books, edited_books, edited, changed_space, langchain):
        make()
        print(make.__name__)
