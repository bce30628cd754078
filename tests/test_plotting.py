"""Vectors in two dimensions: which points are drawn, where, in which colours."""

from __future__ import annotations

import asyncio
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pytest
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from docindex import (
    BaseDoc,
    DimensionError,
    DocList,
    DocumentNotFoundError,
    Field,
    FilterError,
    HnswDocumentIndex,
    MissingLibraryError,
    NdArray,
    QueryError,
    planes,
)
from docindex.planes import plane_of

COUNT = 60
HAS_UMAP = planes._is_umap_installed()
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(COUNT, 6)).astype(np.float32) * [5, 3, 1, 1, 1, 1]


class Chapter(BaseDoc):
    mood: NdArray[2]


class Book(BaseDoc):
    genre: str
    pages: int
    price: Decimal | None = None
    printed: date = date(2026, 1, 31)
    sold: datetime | None = None
    lent: timedelta = timedelta(days=1)
    shelf: Literal['a', 'b'] | None = None
    tags: list[str] = []  # noqa: RUF012
    embedding: NdArray = Field(dim=6)
    cover: NdArray | None = Field(default=None, dim=2)
    pixels: NdArray | None = Field(default=None, index=False)
    chapters: DocList[Chapter] = DocList[Chapter]()


def books() -> list[Book]:
    return [
        Book(
            id=f'b{at}',
            genre=f'g{min(at % 20, 10 + at % 4)}' if at else 'cost in $ or $$',
            pages=10 ** (at % 6),
            price=None if at % 2 else Decimal(at),
            printed=date(2020, 1, 1 + at % 30),
            sold=None,
            shelf='a' if at % 3 else None,
            embedding=vector,
            cover=vector[:2] if at < 10 else None,
            pixels=np.zeros((at, 2)) if at in (1, 2) else None,
            chapters=DocList[Chapter]([Chapter(id=f'c{at}', mood=vector[:2])]),
        )
        for at, vector in enumerate(VECTORS)
    ]


@pytest.fixture(scope='module')
def index(tmp_path_factory: pytest.TempPathFactory) -> HnswDocumentIndex[Book]:
    index = HnswDocumentIndex[Book](work_dir=tmp_path_factory.mktemp('books'))
    index.index(books())
    return index


@pytest.fixture(autouse=True)
def _without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, '_is_umap_installed', lambda: False)


def points(figure: Figure) -> np.ndarray[Any, Any]:
    """Return all places at which something is drawn, shape (n, 2), in no order."""
    drawn = [np.asarray(one.get_offsets()) for one in figure.axes[0].collections]
    places = np.concatenate(drawn)
    return places[np.lexsort(places.T)]


def texts(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_principal_components_keep_what_differs_most() -> None:
    """The places are, but for their signs, those of the singular value decomposition; the shares are its values'."""
    for vectors in (VECTORS, VECTORS[:4]):  # more vectors than dimensions, and fewer
        plane = plane_of(vectors.astype(np.float32), 'l2', 'pca')
        places = plane.place(vectors.astype(np.float32))
        centred = vectors - vectors.mean(axis=0)
        sides, values, _ = np.linalg.svd(centred, full_matrices=False)
        assert np.allclose(np.abs(places), np.abs(sides[:, :2] * values[:2]), atol=1e-5)
        assert plane.labels[0] == f'{100 * values[0] ** 2 / (values**2).sum():.2g} % of the variance'


def test_lengths_do_not_count_where_the_space_is_cosine() -> None:
    """With the space 'cosine' a vector stands where any multiple of it does, and zero in a place of its own."""
    vectors = np.concatenate([VECTORS, 7 * VECTORS[:1], np.zeros((1, 6))]).astype(np.float32)
    places = plane_of(vectors, 'cosine', 'pca').place(vectors)
    assert np.allclose(places[0], places[-2])
    assert np.isfinite(places).all()
    assert not np.allclose(*plane_of(vectors, 'l2', 'pca').place(vectors)[[0, -2]])


@pytest.mark.parametrize('vectors', [[[1, 2, 3]], [[1.0], [2.0], [5.0]], [[2, 2]] * 7, [[1e20, 0], [0, 1e20]]], ids=str)
def test_any_vectors_have_a_plane(vectors: Any) -> None:
    """One vector, vectors with one dimension, equal ones and huge ones have finite places."""
    matrix = np.array(vectors, np.float32)
    places = plane_of(matrix, 'l2', 'pca').place(matrix)
    assert places.shape == (len(matrix), 2)
    assert np.isfinite(places).all()


@pytest.mark.skipif(not HAS_UMAP, reason='umap-learn is not installed')
@pytest.mark.filterwarnings('ignore::ImportWarning')  # umap misses tensorflow
def test_umap_gives_the_same_each_time() -> None:
    """UMAP gives every vector a place, the same one in each run, and new vectors too."""
    vectors = VECTORS.astype(np.float32)
    plane, again = plane_of(vectors, 'l2', 'umap'), plane_of(vectors, 'l2', 'umap')
    assert np.array_equal(plane.place(vectors), again.place(vectors))
    assert plane.place(vectors[:1]).shape == (1, 2)


def test_umap_is_asked_for_only_where_it_can_be_used(index: HnswDocumentIndex[Book]) -> None:
    """Without a method that is installed the components are drawn; a method by name is used, or missed with a word."""
    assert index.plot('embedding').axes[0].get_title(loc='left').endswith('PCA')
    with pytest.raises(QueryError, match="'pca', 'umap' or None"):
        index.plot('embedding', method='tsne')  # type: ignore[arg-type]
    with pytest.raises(QueryError, match='UMAP needs 5 vectors, and there are 2'):
        index.plot('embedding', method='umap', filter={'id': {'$in': ['b1', 'b2']}})
    if not HAS_UMAP:
        with pytest.raises(MissingLibraryError, match='pip install umap-learn'):
            index.plot('embedding', method='umap')


def test_every_document_with_a_vector_is_a_point(index: HnswDocumentIndex[Book]) -> None:
    """All vectors are drawn, each at its place; those that are None are not, and the title says how many are."""
    figure = index.plot('embedding')
    expected = plane_of(VECTORS.astype(np.float32), 'l2', 'pca').place(VECTORS.astype(np.float32))
    assert np.allclose(points(figure), expected[np.lexsort(expected.T)])
    assert figure.axes[0].get_title(loc='left') == 'Book.embedding: 60 documents, PCA'
    figure = index.plot('cover')
    assert len(points(figure)) == 10
    assert figure.axes[0].get_title(loc='left') == 'Book.cover: 10 of 60 documents, PCA'


def test_a_sample_is_the_same_each_time(index: HnswDocumentIndex[Book]) -> None:
    """With a limit so many documents are drawn, by chance, and the same ones in each call."""
    figure, again = index.plot('embedding', limit=20), index.plot('embedding', limit=20)
    assert len(points(figure)) == 20
    assert np.array_equal(points(figure), points(again))
    assert '20 of 60 documents' in figure.axes[0].get_title(loc='left')
    assert not np.array_equal(points(figure), points(index.plot('embedding', filter={'pages': {'$lt': 100}})))


def test_a_filter_says_what_is_drawn(index: HnswDocumentIndex[Book]) -> None:
    """Only documents that match are drawn, beside those that are highlighted."""
    assert len(points(index.plot('embedding', filter={'pages': 1}))) == 10
    marked = index.plot('embedding', filter={'pages': 1}, highlight=['b1', 'b2'])
    assert len(points(marked)) == 10 + 2 + 2
    assert '10 documents' in marked.axes[0].get_title(loc='left')


def test_what_is_found_is_highlighted(index: HnswDocumentIndex[Book]) -> None:
    """A result, documents, ids, or one of them get rings, and stand beside the picture in their order, ten by name."""
    found = index.find(VECTORS[3], 'embedding', limit=12)
    ids = list(found.documents.id)
    expected = ['highlighted', *(f'{rank}  {id_}' for rank, id_ in enumerate(ids[:10], 1)), '2 more']
    for given in (found, found.documents, ids, iter(ids)):
        figure = index.plot('embedding', highlight=given)
        assert texts(figure) == expected
        assert len(figure.axes[0].collections[-1].get_offsets()) == 12
    assert texts(index.plot('embedding', highlight='b7')) == texts(index.plot('embedding', highlight=index['b7']))
    assert texts(index.plot('embedding', highlight=[])) == []
    inside = index.find_subindex([1, 1], 'chapters', 'mood', limit=3)
    assert texts(index.subindex('chapters').plot('mood', highlight=inside))[1] == f'1  {inside.documents[0].id}'


def test_what_is_not_there_cannot_be_highlighted(index: HnswDocumentIndex[Book]) -> None:
    """An id that the index does not have is named; one without a vector in the field is passed over."""
    with pytest.raises(DocumentNotFoundError, match='nobody'):
        index.plot('embedding', highlight=['b1', 'nobody'])
    assert texts(index.plot('cover', highlight=['b50', 'b1'])) == ['highlighted', '1  b1']


def test_documents_in_lists_are_drawn_by_their_subindex(index: HnswDocumentIndex[Book]) -> None:
    """`subindex('chapters').plot` draws the documents in a list, with filters and colours by their own fields."""
    chapters = index.subindex('chapters')
    assert len(points(chapters.plot('mood', limit=25))) == 25
    figure = chapters.plot(color='id', filter={'id': {'$in': ['c1', 'c2', 'c3']}})
    assert texts(figure) == ['id', 'c1 (1)', 'c2 (1)', 'c3 (1)']


def test_the_query_has_a_star_at_its_place(index: HnswDocumentIndex[Book]) -> None:
    """A vector or a document as query is drawn where a document with its vector is."""
    own = index.plot('embedding', filter={'id': 'b3'}).axes[0].collections[0].get_offsets()
    assert own.shape == (1, 2)
    for query in (VECTORS[3], index['b3']):
        figure = index.plot('embedding', query=query, highlight='b3')
        star, ring = figure.axes[0].collections[-1].get_offsets(), figure.axes[0].collections[-2].get_offsets()
        assert np.allclose(star, ring, atol=1e-4)
        assert texts(figure)[-1] == 'the query'
    with pytest.raises(DimensionError):
        index.plot('embedding', query=[1, 2])


def test_frequent_values_have_colours(index: HnswDocumentIndex[Book]) -> None:
    """The nine most frequent values have a colour each, with their counts; others are counted together, None apart."""
    shown = texts(index.plot('embedding', color='genre'))
    assert shown[0] == 'genre'
    counts = [int(text.rpartition('(')[2].rstrip(')')) for text in shown[1:]]
    assert counts[:9] == sorted(counts[:9], reverse=True)
    assert len(shown) == 11
    assert sum(counts) == COUNT
    assert texts(index.plot('embedding', color='shelf')) == ['shelf', 'a (40)', 'None (20)']
    assert len(points(index.plot('embedding', color='shelf'))) == COUNT


def test_a_value_is_no_formula(index: HnswDocumentIndex[Book]) -> None:
    """Signs that matplotlib would read as a formula stand in the picture as they are."""
    figure = index.plot('embedding', color='genre', filter={'id': {'$in': ['b0', 'b1']}})
    assert r'cost in \$ or \$\$ (1)' in texts(figure)
    assert figure._repr_png_().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    ('color', 'label', 'left_out'),
    [('pages', 'pages', 0), ('price', 'price', 30), ('printed', 'printed', 0), ('lent', 'lent (seconds)', 0)],
)
def test_numbers_have_a_range_of_colours(index: HnswDocumentIndex[Book], color: str, label: str, left_out: int) -> None:
    """Numbers, durations and times have a colour bar with the field's name; what has no value is grey, and counted."""
    figure = index.plot('embedding', color=color)
    assert figure.axes[1].get_xlabel() == label
    assert len(points(figure)) == COUNT
    assert texts(figure) == ([f'{color}: None ({left_out})'] if left_out else [])
    assert figure._repr_png_()


def test_colour_bars_fit_their_values(index: HnswDocumentIndex[Book]) -> None:
    """Numbers of different magnitudes have a bar of magnitudes, and dates one of dates."""
    assert index.plot('embedding', color='pages').axes[1].get_xscale() != 'linear'
    assert index.plot('embedding', color='price').axes[1].get_xscale() == 'linear'
    dates = index.plot('embedding', color='printed').axes[1]
    assert isinstance(dates.xaxis.get_major_formatter(), ConciseDateFormatter)
    low, high = matplotlib.dates.num2date(dates.get_xlim())
    assert (low.date(), high.date()) == (date(2020, 1, 1), date(2020, 1, 30))


def test_a_field_without_values_leaves_all_grey(index: HnswDocumentIndex[Book]) -> None:
    """Where nobody has a value there is no bar, and every point is drawn."""
    figure = index.plot('embedding', color='sold')
    assert len(figure.axes) == 1
    assert len(points(figure)) == COUNT
    assert texts(figure) == ['sold: None (60)']


@pytest.mark.parametrize(
    ('arguments', 'error', 'complaint'),
    [
        ({}, QueryError, 'search_field is missing; the vector fields are embedding, cover'),
        ({'search_field': 'genre'}, QueryError, "'genre' is not a vector field of Book"),
        ({'search_field': 'chapters__mood'}, QueryError, r"index.subindex\('chapters'\).plot\('mood'\)"),
        ({'search_field': 'cover', 'filter': {'id': 'b50'}}, QueryError, 'nothing to draw'),
        ({'search_field': 'pixels'}, QueryError, "'pixels' holds tensors of 2 shapes"),
        ({'search_field': 'embedding', 'color': 'colour'}, QueryError, "no field 'colour'; its fields are id, genre"),
        ({'search_field': 'embedding', 'color': 'tags'}, QueryError, r'a list\[str\] is no colour'),
        ({'search_field': 'embedding', 'color': 'cover'}, QueryError, 'is no colour'),
        ({'search_field': 'embedding', 'limit': -1}, QueryError, 'limit'),
        ({'search_field': 'embedding', 'filter': {'pages': 'many'}}, FilterError, 'pages'),
        ({'search_field': 'embedding', 'filter': {'pages': 3}}, QueryError, 'nothing to draw'),
    ],
)
def test_what_cannot_be_drawn_is_said(
    index: HnswDocumentIndex[Book], arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    """An unknown field, one that is no colour, and what leaves nothing over is an error that says what there is."""
    with pytest.raises(error, match=complaint):
        index.plot(**arguments)


def test_axes_of_ones_own(index: HnswDocumentIndex[Book]) -> None:
    """With `ax` the picture is drawn there, into a figure with others in it; what is refused draws nothing."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert index.plot('embedding', ax=right) is figure
    assert right.collections
    with pytest.raises(DimensionError):
        index.plot('embedding', ax=left, query=[1])
    assert not left.collections


def test_a_picture_while_the_loop_goes_on(index: HnswDocumentIndex[Book], tmp_path: Path) -> None:
    """`aplot` draws what `plot` does, and the figure can be written to a file."""
    figure = asyncio.run(index.aplot('embedding', color='genre', limit=30, method='pca'))
    figure.savefig(tmp_path / 'books.svg')
    assert (tmp_path / 'books.svg').read_text().startswith('<?xml')
    assert np.array_equal(points(figure), points(index.plot('embedding', color='genre', limit=30)))


def test_without_matplotlib(index: HnswDocumentIndex[Book], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where matplotlib is missing, the error says how to install it."""
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(MissingLibraryError, match=r'docindex-hnsw\[plot\]'):
        index.plot('embedding')
