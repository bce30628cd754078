"""
`index.plot`: a sample of the vectors in two dimensions, coloured by a field, with a result in it.

It asks only what every index answers: ids, filters, documents by id. Documents are read in batches, and only their
vectors and colours are kept.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel

from ._optional import optional
from .display import shortened
from .errors import QueryError
from .execution import field_of
from .fields import VectorSettings
from .filters import FilterLike
from .matrices import query_matrix
from .planes import Float64Array, Method, Plane, plane_of
from .query import checked_count
from .results import FindResult, SubindexFindResult
from .schema import Column, Schema
from .searchable import Searchable, ids_of
from .tensors import Float32Array, as_array
from .values import canonical

_BATCH = 256  # documents with pictures in them may be large
_CATEGORIES = 9
_NUMBERED = 10
_LONGEST = 28
_GREY = '#c4c4c4'
_SKEWED = 100  # times as large as the median: then the colours are those of magnitudes


def plot(
    index: Searchable[Any],
    search_field: str,
    *,
    color: str,
    highlight: object,
    query: object,
    method: Method | None,
    filter_: FilterLike,
    limit: int,
    ax: Any,
) -> Any:
    """Draw the vectors of an index; see `Searchable.plot`."""
    limit = checked_count('limit', limit)
    doc_type: Any = index.get([]).doc_type
    schema: Schema[Any] = Schema(doc_type)
    column = _vector_column(schema, search_field)
    colour = _colour_column(schema, color) if color else None
    axes = ax if ax is not None else new_figure(8, 5.6).subplots()
    ids, total = _sample(index, filter_, limit)
    marked = _marked_ids(index, highlight)
    points = _read(index, list(dict.fromkeys([*ids, *marked])), column, colour)
    if not points.ids:
        raise QueryError(f'there is nothing to draw: no document that matches has a vector in {column.name!r}')
    settings = VectorSettings().changed({**column.settings, 'dim': points.vectors.shape[1]}, column.name)
    asked = None if query is None else query_matrix([query], column, settings)
    plane = plane_of(points.vectors, settings.space, method)
    picture = _Picture(axes, points, plane.place(points.vectors))
    picture.draw(colour, marked)
    if asked is not None:
        picture.draw_query(plane.place(asked)[0])
    there = set(points.ids)
    shown = sum(id_ in there for id_ in ids)
    picture.finish(plane, f'{schema.name}.{column.name}: {_of_all(shown, total)}, {plane.name}')
    return axes.get_figure()


def _of_all(shown: int, total: int) -> str:
    return f'{total:,} documents' if shown == total else f'{shown:,} of {total:,} documents'


# -- what is drawn -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Points:
    """
    What is drawn.

    Attributes:
        ids: Of the documents that have a vector.
        vectors: Their vectors, shape (len(ids), dim).
        values: What each has in the field of the colour; None for all without one.
    """

    ids: list[str]
    vectors: Float32Array
    values: list[Any]


def _vector_column(schema: Schema[Any], name: str) -> Column:
    tensors = [column for column in schema.columns.values() if column.is_tensor]
    known = [column for column in tensors if column.settings.get('index', True)]
    if not name and len(known) == 1:
        return known[0]
    if name in schema.columns and schema.columns[name].is_tensor:
        return schema.columns[name]
    inside = next((one for one in schema.lists if name.startswith(f'{one}__')), None)
    if inside is not None:
        inner = name.removeprefix(f'{inside}__')
        raise QueryError(f'{name!r} is in a list of documents: index.subindex({inside!r}).plot({inner!r}) draws it')
    names = ', '.join(column.name for column in known) or 'none'
    problem = f'{name!r} is not a vector field of {schema.name}' if name else 'search_field is missing'
    raise QueryError(f'{problem}; the vector fields are {names}')


def _colour_column(schema: Schema[Any], name: str) -> Column:
    column = field_of(schema, name)
    if not column.kind.is_scalar and column.kind.name != 'any':
        raise QueryError(f'color={name!r}: a {column.type_name} is no colour; take a field with one value a document')
    return column


def _sample(index: Searchable[Any], filter_: FilterLike, limit: int) -> tuple[list[str], int]:
    """Return the ids of at most so many of the documents that match, the same each time, and how many match."""
    if filter_ is None:
        ids = list(index)
    else:
        found = index.execute_query(index.build_query().filter(filter_).select('id').build())
        ids = [doc.id for doc in found.documents]
    if len(ids) <= limit:
        return ids, len(ids)
    chosen = np.sort(np.random.default_rng(0).choice(len(ids), limit, replace=False))
    return [ids[at] for at in chosen], len(ids)


def _marked_ids(index: Searchable[Any], highlight: object) -> list[str]:
    """
    Return the ids of what is to be highlighted, best first.

    Raises:
        DocumentNotFoundError: the index does not have one of them; `IdTypeError`: something is no id.
    """
    if highlight is None:
        return []
    if isinstance(highlight, (FindResult, SubindexFindResult)):
        highlight = highlight.documents
    given = [highlight] if isinstance(highlight, (str, BaseModel)) or not isinstance(highlight, Iterable) else highlight
    ids = ids_of([getattr(one, 'id', one) for one in given])
    return [doc.id for doc in index[ids]] if ids else []


def _read(index: Searchable[Any], ids: Sequence[str], column: Column, colour: Column | None) -> _Points:
    found: list[str] = []
    vectors: list[Float32Array] = []
    values: list[Any] = []
    for start in range(0, len(ids), _BATCH):
        for doc in index.get(ids[start : start + _BATCH]):
            vector = column.value(doc)
            if vector is not None:
                found.append(doc.id)
                vectors.append(as_array(vector).astype(np.float32))
                values.append(None if colour is None else colour.value(doc))
    shapes = {vector.shape for vector in vectors}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise QueryError(f'{column.name!r} holds tensors of {len(shapes)} shapes; vectors of one length can be drawn')
    return _Points(found, np.array(vectors, np.float32), values)


# -- drawing -----------------------------------------------------------------------------------------------------


class _Picture:
    """
    Draws points on the axes of matplotlib.

    Args:
        axes: The axes.
        points: What is drawn.
        places: Where, shape (len(points.ids), 2).
    """

    def __init__(self, axes: Any, points: _Points, places: Float64Array) -> None:
        self._axes = axes
        self._points = points
        self._places = places
        self._size = float(np.clip(20_000 / len(places), 7, 36))
        self._handles: list[Any] = []
        self._headers: list[int] = []

    def draw(self, colour: Column | None, marked: Sequence[str]) -> None:
        """Draw all points, those that are highlighted above the others, which are paler then."""
        alpha = 0.5 if marked else 0.8
        if colour is None:
            self._scatter(slice(None), alpha, color='C0')
        elif colour.kind.name in ('number', 'decimal', 'duration', 'datetime', 'date'):
            self._draw_numbers(colour, alpha)
        else:
            self._draw_categories(colour, alpha)
        self._draw_marked(marked)

    def _scatter(self, which: Any, alpha: float, **how: Any) -> Any:
        x, y = self._places[which].T
        return self._axes.scatter(x, y, s=self._size, alpha=alpha, linewidths=0, rasterized=True, **how)

    def _draw_categories(self, colour: Column, alpha: float) -> None:
        """Draw the most frequent values in colours of their own, and all others in grey."""
        names = [None if value is None else shortened(value, _LONGEST) for value in self._points.values]
        counts = Counter(name for name in names if name is not None)
        # Of two that are as frequent the same one each time, wherever they stand.
        first = sorted(counts, key=lambda name: (-counts[name], name))[:_CATEGORIES]
        palette = [f'C{number}' for number in range(10) if number != 7]  # matplotlib's seventh is grey
        others = np.array([name not in first for name in names])
        self._header(colour.name)
        if others.any():
            self._scatter(others, alpha, color=_GREY)
        for name, shade in zip(first, palette, strict=False):
            self._scatter(np.array([other == name for other in names]), alpha, color=shade)
            self._entry(f'{name} ({counts[name]:,})', marker='o', color=shade)
        left = len(counts) - len(first)
        none = names.count(None)
        if left:
            self._entry(f'{left:,} others ({int(others.sum()) - none:,})', marker='o', color=_GREY)
        if none:
            self._entry(f'None ({none:,})', marker='o', color=_GREY)

    def _draw_numbers(self, colour: Column, alpha: float) -> None:
        """Draw values that have an order along a range of colours, and what has none in grey."""
        is_time = colour.kind.name in ('datetime', 'date')
        numbers = np.array([_number(value) for value in self._points.values])
        is_there = np.isfinite(numbers)
        if not is_there.all():
            self._scatter(~is_there, alpha, color=_GREY)
            self._entry(f'{colour.name}: None ({int((~is_there).sum()):,})', marker='o', color=_GREY)
        if not is_there.any():
            return
        norm = None if is_time else _norm(numbers[is_there])
        drawn = self._scatter(is_there, alpha, c=numbers[is_there], cmap='viridis', norm=norm)
        ticks: dict[str, Any] = {}
        if is_time:
            dates = optional('matplotlib.dates', 'plot', 'plots')
            drawn.set_array(numbers[is_there] / 86_400)  # matplotlib counts days since 1970, too
            locator = dates.AutoDateLocator(maxticks=6)
            ticks = {'ticks': locator, 'format': dates.ConciseDateFormatter(locator)}
            drawn.autoscale()
        label = f'{colour.name} (seconds)' if colour.kind.name == 'duration' else colour.name
        bar = self._axes.get_figure().colorbar(
            drawn, ax=self._axes, location='bottom', shrink=0.6, aspect=40, pad=0.02, label=label, **ticks
        )
        bar.solids.set_alpha(1)

    def _draw_marked(self, marked: Sequence[str]) -> None:
        """Draw rings around what is highlighted; the first have numbers, and stand beside the picture."""
        place_of = dict(zip(self._points.ids, self._places, strict=True))
        there = [id_ for id_ in dict.fromkeys(marked) if id_ in place_of]
        if not there:
            return
        x, y = np.array([place_of[id_] for id_ in there]).T
        size = max(40.0, 2 * self._size)
        self._axes.scatter(x, y, s=size, facecolors='none', edgecolors='black', linewidths=1.2, zorder=3)
        self._header('highlighted')
        for rank, id_ in enumerate(there[:_NUMBERED], 1):
            self._number(rank, place_of[id_], place_of[id_] - (x.mean(), y.mean()))
            self._entry(f'{rank}  {shortened(id_, _LONGEST)}')
        if len(there) > _NUMBERED:
            self._entry(f'{len(there) - _NUMBERED:,} more', marker='o', color='none', edge='black')

    def _number(self, rank: int, place: Float64Array, outwards: Float64Array) -> None:
        """Write a number beside a point, on the side where there are fewer of the others."""
        length = float(np.hypot(*outwards))
        offset = 9 * outwards / length if length else np.array([6.0, 6.0])
        text = self._axes.annotate(
            str(rank),
            place,
            tuple(offset),
            textcoords='offset points',
            fontsize=8,
            fontweight='bold',
            ha='center',
            va='center',
            zorder=5,
        )
        outline = optional('matplotlib.patheffects', 'plot', 'plots').withStroke(linewidth=2.5, foreground='white')
        text.set_path_effects([outline])

    def draw_query(self, place: Float64Array) -> None:
        """Draw a star where the query stands."""
        how = {'marker': '*', 'color': 'crimson', 'edgecolors': 'white', 'linewidths': 0.8}
        self._axes.scatter(*place[:, None], s=240, zorder=6, **how)  # above the numbers of the nearest
        self._entry('the query', marker='*', color='crimson')

    def _header(self, text: str) -> None:
        self._headers.append(len(self._handles))
        self._entry(text)

    def _entry(self, text: str, marker: str = '', color: str = 'none', edge: str | None = None) -> None:
        line = optional('matplotlib.lines', 'plot', 'plots').Line2D
        text = text.replace('$', r'\$')  # which begins a formula
        self._handles.append(
            line([], [], linestyle='', marker=marker, color=color, markeredgecolor=edge or color, label=text)
        )

    def finish(self, plane: Plane, title: str) -> None:
        """Draw what stands around the picture."""
        self._axes.set_title(title.replace('$', r'\$'), loc='left', fontsize='medium')
        self._axes.set(xlabel=plane.labels[0], ylabel=plane.labels[1], xticks=[], yticks=[])
        for side in self._axes.spines.values():
            side.set_color(_GREY)
        if self._handles:
            legend = self._axes.legend(
                handles=self._handles,
                loc='upper left',
                bbox_to_anchor=(1.01, 1.01),
                frameon=False,
                fontsize='small',
                handletextpad=0.4,
            )
            for at in self._headers:
                legend.get_texts()[at].set_fontweight('bold')


def _number(value: Any) -> float:
    """Return a number, or seconds: of a duration, or of a time since 1970; NaN for None."""
    found = canonical(value)
    if found is None:
        return float('nan')
    if hasattr(found, 'total_seconds'):
        return float(found.total_seconds())
    if hasattr(found, 'timestamp'):
        return float(found.timestamp())
    return float(found.toordinal() - 719_163) * 86_400 if hasattr(found, 'toordinal') else float(found)


def _norm(numbers: Float64Array) -> Any:
    """Return how numbers become colours: by their magnitude, if a few are far larger than most; None: as they are."""
    if numbers.min() <= 0 or numbers.max() < _SKEWED * np.median(numbers):
        return None
    return optional('matplotlib.colors', 'plot', 'plots').LogNorm()


def new_figure(width: float, height: float) -> Any:
    """
    Return an empty `matplotlib.figure.Figure`, of so many inches, which a notebook shows.

    Not pyplot's, which would keep each until it is told to forget it; but only those does a notebook know by itself.

    Raises:
        MissingLibraryError: matplotlib is missing; the message says what to install.
    """
    figure = optional('matplotlib.figure', 'plot', 'plots').Figure(figsize=(width, height), layout='constrained')
    # Not as a method of a class that is made here: pickle would not find it.
    figure._repr_png_ = partial(_as_png, figure)
    return figure


def _as_png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=120)
    return file.getvalue()
