"""The three pictures of the page, as SVG: each has a panel for each dataset, and names the lines at their ends."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use('svg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.speed.datasets import SHARES
from benchmarks.speed.results import Results

# Okabe and Ito's colours, which people with any colour vision can tell apart; the floor is black.
STYLES: dict[str, dict[str, Any]] = {
    'floor': {'color': '#000000', 'linestyle': '--', 'marker': 'None', 'linewidth': 1.2},
    'docindex': {'color': '#0072B2', 'marker': 'o', 'linewidth': 2.6},
    'docarray': {'color': '#D55E00', 'marker': 's'},
    'chroma': {'color': '#009E73', 'marker': '^'},
    'lancedb': {'color': '#CC79A7', 'marker': 'D'},
    'zvec': {'color': '#E69F00', 'marker': 'v'},
    'qdrant': {'color': '#56B4E9', 'marker': 'P'},
    'sqlite-vec': {'color': '#8C8C8C', 'marker': 'X'},
}
TITLES = {
    'floor': 'floor',
    'docindex': 'docindex',
    'docarray': 'DocArray',
    'chroma': 'Chroma',
    'lancedb': 'LanceDB',
    'zvec': 'zvec',
    'qdrant': 'Qdrant local',
    'sqlite-vec': 'sqlite-vec',
}
Line = Sequence[tuple[float, float]]


def draw(results: list[Results], directory: Path) -> list[tuple[str, str]]:
    """Draw what there are figures for; return the names of files, and what each shows."""
    mpl.rcParams |= {'svg.fonttype': 'none', 'font.size': 9, 'svg.hashsalt': 'docindex', 'axes.grid': True}
    mpl.rcParams |= {'grid.alpha': 0.25, 'axes.spines.top': False, 'axes.spines.right': False}
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, caption, lines, axes in (
        (
            'recall.svg',
            'Recall against queries per second, one at a time; up and right is better',
            recall_lines,
            recall_axes,
        ),
        (
            'filters.svg',
            'Latency of a query against the share of documents that its filter lets through',
            filter_lines,
            filter_axes,
        ),
        ('upserts.svg', 'One durable upsert against the number of documents', upsert_lines, upsert_axes),
    ):
        panels = [(each, found) for each in results if (found := {k: v for k, v in lines(each).items() if v})]
        if panels:
            picture(panels, axes, directory / name)
            drawn.append((name, caption))
    return drawn


def picture(panels: list[tuple[Results, dict[str, Line]]], axes: Callable[[Axes], None], path: Path) -> None:
    """Draw a panel for each dataset."""
    figure, places = plt.subplots(
        1, len(panels), figsize=(1.4 + 4.4 * len(panels), 4.2), squeeze=False, layout='constrained'
    )
    for place, (results, lines) in zip(places[0], panels, strict=True):
        for engine, line in lines.items():
            style = {'markersize': 4, 'linewidth': 1.5, 'clip_on': False, **STYLES[engine]}
            place.plot([x for x, _ in line], [y for _, y in line], label=TITLES[engine], **style)
        place.set_title(results.data['dataset']['title'], fontsize=10, loc='left')
        axes(place)
        name_lines(place, lines)
    figure.savefig(path, metadata={'Date': None})
    plt.close(figure)


def name_lines(place: Axes, lines: dict[str, Line]) -> None:
    """Write each name beside the last point of its line, moved up as far as the one below needs."""
    figure = place.figure
    figure.canvas.draw()
    ends = {engine: place.transData.transform(line[-1]) for engine, line in lines.items()}
    right = max(float(end[0]) for end in ends.values())
    lowest, step = -1e9, 11.5 * figure.dpi / 72
    for engine, end in sorted(ends.items(), key=lambda item: float(item[1][1])):
        lowest = max(float(end[1]), lowest + step)
        there = ((right - float(end[0])) * 72 / figure.dpi + 8, (lowest - float(end[1])) * 72 / figure.dpi)
        far = there[0] > 12 or abs(there[1]) > 6
        place.annotate(
            TITLES[engine],
            lines[engine][-1],
            there,
            textcoords='offset points',
            color=STYLES[engine]['color'],
            va='center',
            fontsize=8.5,
            fontweight='bold' if engine == 'docindex' else 'normal',
            arrowprops={'arrowstyle': '-', 'color': STYLES[engine]['color'], 'linewidth': 0.5, 'alpha': 0.6}
            if far
            else None,
            annotation_clip=False,
        )


def figures(results: Results, part: str, case: str = '') -> dict[str, dict[str, Any]]:
    """Return the figures of a part by engine, in the order of `STYLES`."""
    found = {engine: results.get(part, case, engine) for engine in STYLES}
    return {engine: figure for engine, figure in found.items() if figure is not None}


def milliseconds(figure: dict[str, Any], floor: dict[str, Any]) -> float:
    """Return a time as it would have been beside the last run of the floor: its ratio, times the floor's time."""
    usual = statistics.median(floor['seconds'])
    pairs = zip(figure['seconds'], figure.get('floor', figure['seconds']), strict=True)
    return float(1000 * usual * statistics.median(mine / its for mine, its in pairs))


# -- recall against queries per second


def recall_lines(results: Results) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    found = figures(results, 'curve')
    if 'floor' not in found:  # nothing but builds has been measured
        return {}
    usual = statistics.median(point[3] for point in found['floor']['points'])
    for engine, figure in found.items():
        points = [point for point in figure.get('points', []) if point[0] is not None or len(figure['points']) == 1]
        line: list[tuple[float, float]] = []
        for _, recall, seconds, beside in points:
            if recall >= max(
                [0.7, *(found + 1e-4 for found, _ in line[-1:])]
            ):  # more effort that finds no more is left out
                line.append((recall, beside / seconds / usual))
        lines[engine] = line
    return lines


def recall_axes(place: Axes) -> None:
    place.set_yscale('log')
    # Stretched towards 1: 0.99 is as far from 0.999 as 0.9 from 0.99.
    place.set_xscale('function', functions=(lambda x: -_log10(1.0005 - x), lambda y: 1.0005 - 10.0**-y))
    ticks = [0.7, 0.9, 0.95, 0.99, 1.0]
    place.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    place.set_xlim(0.68, 1.0)
    place.axvline(0.95, color='#999999', linewidth=0.8)
    place.set_xlabel('recall@10')
    place.set_ylabel('queries per second')
    plain(place.yaxis)


def _log10(values: Any) -> Any:
    return np.log10(np.maximum(values, 1e-9))


# -- latency against selectivity


def filter_lines(results: Results) -> dict[str, Line]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for share in (1.0, *SHARES):
        found = figures(results, 'query', 'equal') if share == 1 else figures(results, 'filters', f'equal {share}')
        for engine, figure in found.items():
            if 'seconds' in figure:
                lines.setdefault(engine, []).append((share, milliseconds(figure, found['floor'])))
    return {engine: line for engine, line in lines.items() if len(line) > 1}


def filter_axes(place: Axes) -> None:
    place.set_xscale('log')
    place.set_yscale('log')
    place.invert_xaxis()
    ticks = [1.0, *SHARES]
    place.set_xticks(ticks, ['no filter', *(f'{100 * share:g} %' for share in SHARES)], rotation=40)
    place.xaxis.set_minor_formatter(NullFormatter())
    place.set_xlabel('documents that match')
    place.set_ylabel('ms')
    plain(place.yaxis)


# -- upserts against size


def upsert_lines(results: Results) -> dict[str, Line]:
    grown = sorted({int(figure['case']) for figure in results.data['figures'] if figure['part'] == 'growth'})
    if not grown:
        return {}
    lines: dict[str, list[tuple[float, float]]] = {}
    cases = [(count, figures(results, 'growth', str(count))) for count in grown]
    for count, found in [*cases, (results.data['dataset']['count'], figures(results, 'upsert'))]:
        for engine, figure in found.items():
            if 'seconds' in figure:
                lines.setdefault(engine, []).append((count, milliseconds(figure, found['floor'])))
    return {engine: line for engine, line in lines.items() if len(line) > 1}


def upsert_axes(place: Axes) -> None:
    place.set_xscale('log')
    place.set_yscale('log')
    place.set_xlabel('documents')
    place.set_ylabel('ms')
    plain(place.xaxis)
    plain(place.yaxis)


def plain(axis: Any) -> None:
    """Write 1,000 instead of a power of ten."""
    smallest, largest = axis.get_data_interval()
    is_wide = largest > 1000 * smallest  # there is no room for more labels
    axis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,.0f}' if value >= 1 else f'{value:g}'))
