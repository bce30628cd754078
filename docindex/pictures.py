"""
Documents as HTML, for notebooks: tables and trees, with small pictures of vectors.

Whatever comes from a document is escaped: a title may well be `<script>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from .frameworks import Array

_CELLS = 32
_SHORT = 32
# What a notebook says of all tables and pictures (centred, no wider than a column) is said otherwise here.
_TABLE = 'border-collapse:collapse;font-size:90%;text-align:left;margin:0'
_CELL = 'padding:2px 8px;border-bottom:1px solid rgba(128,128,128,.35);text-align:left;vertical-align:middle'
_NOTE = 'opacity:.65;font-size:85%;margin:2px 0 6px'


def averaged(vector: Array, cells: int) -> Array:
    """Return a vector as so many numbers at the most, each the mean of its part; not finite: NaN."""
    numbers = vector.ravel().astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    if len(numbers) <= cells:
        return numbers
    bounds = np.linspace(0, len(numbers), cells + 1).astype(int)
    return np.array([numbers[start:end].mean() for start, end in pairwise(bounds)])


def vector_as_svg(vector: Array) -> str:
    """Return a strip of coloured cells: blue below zero, orange above, the more so the farther from it."""
    numbers = averaged(vector, _CELLS)
    largest = np.nanmax(np.abs(numbers), initial=0.0) or 1.0
    cells = ''.join(_svg_cell(at, number / largest) for at, number in enumerate(numbers))
    title = escape(f'{vector.size} {vector.dtype}: ' + ', '.join(f'{number:.3g}' for number in vector.ravel()[:6]))
    size = f'width="{4 * len(numbers)}" height="14"'
    return f'<svg {size} role="img" style="vertical-align:middle;max-width:none"><title>{title}</title>{cells}</svg>'


def _svg_cell(at: int, strength: float) -> str:
    if np.isnan(strength):
        fill = '#888'
    else:
        # From a light grey towards the colour; both can be seen on white and on black.
        colour = (214, 96, 20) if strength > 0 else (33, 102, 190)
        mixed = [round(225 + (part - 225) * abs(strength)) for part in colour]
        fill = '#{:02x}{:02x}{:02x}'.format(*mixed)
    return f'<rect x="{4 * at}" width="4" height="14" fill="{fill}"/>'


def vector_as_blocks(vector: Array, cells: int = 8) -> str:
    """Return a vector as a few blocks of different heights, for terminals."""
    numbers = averaged(vector, cells)
    finite = numbers[np.isfinite(numbers)]
    low, span = (finite.min(), np.ptp(finite)) if len(finite) else (0, 0)
    steps = (numbers - low) / (span or 1) * 7
    return ''.join('·' if np.isnan(step) else '▁▂▃▄▅▆▇█'[round(step)] for step in steps)


def cell_as_html(text: str, vector: Array | None = None) -> str:
    """Return a shortened value as HTML, with a picture if it is a vector."""
    picture = f'{vector_as_svg(vector)} ' if vector is not None else ''
    # A sentence wraps, but not after each word because the other columns do not.
    wrap = 'normal;display:inline-block;min-width:16em' if len(text) > _SHORT else 'nowrap'
    return f'<span style="white-space:{wrap}">{picture}{escape(text)}</span>'


def table_as_html(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], notes: Iterable[str]) -> str:
    """Return a table; its `rows` are HTML, everything else is escaped."""
    head = ''.join(f'<th style="{_CELL}">{escape(name)}</th>' for name in columns)
    body = ''.join(f'<tr>{"".join(f"<td style={_CELL!r}>{cell}</td>" for cell in row)}</tr>' for row in rows)
    below = ''.join(f'<div style="{_NOTE}">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="docindex"><div style="margin:4px 0"><b>{escape(title)}</b></div>'
        f'<div style="overflow-x:auto"><table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        f'</table></div>{below}</div>'
    )


def tree_as_html(label: str, branches: Iterable[Any]) -> str:
    """Return a tree as nested lists; a branch has a `label` and `branches`."""
    inner = ''.join(f'<li>{tree_as_html(branch.label, branch.branches)}</li>' for branch in branches)
    listed = f'<ul style="margin:0;padding-left:1.4em">{inner}</ul>' if inner else ''
    return f'<span style="font-family:monospace">{escape(label)}</span>{listed}'


def lines_as_html(text: str) -> str:
    """Return lines in which columns stand below each other."""
    return f'<pre class="docindex" style="overflow-x:auto;margin:0">{escape(text)}</pre>'
