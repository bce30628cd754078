"""
Results become a page: tables, pictures, and where another library is ahead.

Nothing on the page is claimed that is not computed here from the figures, but for `words.md`, which is written by hand
and says how things were measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.datasets import SHARES
from benchmarks.speed.engines import CLASSES, ONLY_BUILD
from benchmarks.speed.plots import TITLES, draw
from benchmarks.speed.results import Results

ORDER = {'packages': 0, '768': 1, '128': 2}
WORKS = {
    ('build', ''): 'bulk indexing until durable and searchable',
    ('open', ''): 'opening until the first answer',
    ('query', 'equal'): 'one query, ten complete documents',
    ('batch', 'equal'): '1,000 queries in one call',
    ('threads', 'equal'): 'a query, asked from 8 threads',
    ('get', ''): 'a document by its id',
    ('upsert', ''): 'one durable upsert',
    ('metadata', ''): 'one field of 1,000 documents',
    ('insert', ''): '5,000 new documents in one call',
    ('replace', ''): '5,000 documents replaced, with their vectors',
    ('delete', ''): '1,000 documents deleted in one call',
}
Figure = dict[str, Any]


def write(directory: Path, page: Path) -> Path:
    """Write the page, and the pictures beside it; return its path."""
    results = [Results(path) for path in directory.glob('*.json')]
    results.sort(key=lambda each: ORDER.get(each.data['dataset']['name'], 9))
    pictures = draw(results, page.with_suffix(''))
    words = sections(Path(__file__).with_name('words.md').read_text())
    text = [
        '<!-- Written by `python -m benchmarks.speed report`, from its results and words.md. -->',
        '# Benchmarks',
        words['introduction'],
        '## docindex above the floor',
        words['floor'],
        table(['work', 'aim', *(each.data['dataset']['title'] for each in results)], floor_rows(results)),
        '## All libraries at the same recall',
        words['libraries'],
        *(block for each in results for block in comparison(each)),
        '## Filters',
        words['filters'],
        *(block for each in results for block in filter_tables(each)),
        '## Pictures',
        *(f'**{caption}.**\n\n![{caption}]({page.stem}/{name})' for name, caption in pictures),
        '## Where another is ahead',
        words['ahead'],
        '\n'.join(ahead(results)) or 'Nowhere in these figures.',
        '## How it was measured',
        words['how'],
        '## Machine and versions',
        *(block for each in results for block in provenance(each)),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text('\n\n'.join(block.strip() for block in text) + '\n')
    return page


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading."""
    parts = [part.partition('\n') for part in ('\n' + text).split('\n# ')[1:]]
    return {name.strip(): rest.strip() for name, _, rest in parts}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


# -- figures as words


def missing(figure: Figure | None) -> str:
    """Say why there is no number."""
    if figure is None:
        return 'not measured'
    if 'not_finished' in figure:
        building = ' (building)' if figure.get('building') else ''
        return f'not finished in {figure["not_finished"]:,.0f} s{building}'
    if 'has_none' in figure:
        return 'has none'
    return f'fails: {figure["fails"].partition(":")[0]}'


def duration(seconds: float) -> str:
    """Return a time with a unit that fits, and three digits."""
    for unit, size in (('s', 1.0), ('ms', 1e-3)):
        if seconds >= size:
            return f'{digits(seconds / size)} {unit}'
    return f'{digits(seconds / 1e-6)} µs'


def digits(value: float) -> str:
    """Return a number with about three digits."""
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def total(figure: Figure) -> float:
    """Return the seconds of a figure: of all rounds and finishing where something was built, else the median."""
    seconds = figure['seconds']
    return float(sum(seconds) + figure['finish'] if 'finish' in figure else statistics.median(seconds))


def ratios(figure: Figure, floor: str = 'floor') -> list[float]:
    """Return the ratio to the floor in each round; where something was built also of the totals."""
    pairs = zip(figure['seconds'], figure[floor], strict=True)
    if 'finish' in figure:
        return [total(figure) / sum(figure[floor])]
    return [mine / its for mine, its in pairs]


def with_spread(values: list[float]) -> str:
    """Return the median, and the quartiles if there are several."""
    if len(values) < 2:
        return f'{digits(values[0])} x'
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return f'{digits(statistics.median(values))} x ({digits(low)} to {digits(high)})'


def cell(figure: Figure | None, floor: Figure | None) -> str:
    """
    Return the ratio to the floor in the rounds that they shared, and what that makes of the floor's time in this row.

    The time is not the one that was measured: of two libraries that were measured on different days, or beside other
    programs, that would compare the days.
    """
    if figure is None or 'seconds' not in figure:
        return missing(figure)
    if 'floor' not in figure or floor is None or 'seconds' not in floor:
        return duration(total(figure))
    ratio = statistics.median(ratios(figure))
    time = ratio * total(floor)
    told = f'{duration(time)}, {digits(ratio)} x'
    if 'call' in figure and (call := statistics.median(figure['call']) / total(figure)) < 0.8:
        told += f' (the call {duration(call * time)})'
    return told


# -- docindex and the floor


def floor_rows(results: list[Results]) -> list[list[str]]:
    """Return a row for each aim: the ratio on each dataset, with its spread."""

    def row(work: str, aim: str, value: Any) -> list[str]:
        return [work, aim, *(value(each) for each in results)]

    def ratio(part: str, case: str, floor: str = 'floor') -> Any:
        def value(each: Results) -> str:
            figure = each.get(part, case, 'docindex')
            if figure is None or floor not in figure:
                return missing(figure) if figure is None or 'seconds' not in figure else 'not measured'
            return with_spread(ratios(figure, floor))

        return value

    def rate(engine: str, floor: str) -> Any:
        def value(each: Results) -> str:
            figure = each.get('build', '', engine)
            if figure is None or floor not in figure:
                return missing(figure)
            return f'{digits(sum(figure[floor]) / total(figure))} ({figure["rows"] / total(figure):,.0f} a second)'

        return value

    def scaling(each: Results) -> str:
        figure = each.get('threads', 'default', 'docindex')
        if figure is None or 'seconds' not in figure:
            return missing(figure)
        gains = [one / many for one, many in zip(figure['single'], figure['seconds'], strict=True)]
        its = each.get('threads', 'default', 'floor') or {}
        floor = [one / many for one, many in zip(its.get('single', []), its.get('seconds', []), strict=True)]
        return f'{digits(statistics.median(gains))}' + (
            f' (the floor: {digits(statistics.median(floor))})' if floor else ''
        )

    def replacing(each: Results) -> str:
        figure = each.get('replace', '', 'docindex')
        if figure is None or 'seconds' not in figure:
            return missing(figure)
        floor = each.get('replace', '', 'floor') or {}
        mine, its = (
            [again / new for again, new in zip(one.get('seconds', []), one.get('inserted', []), strict=True)]
            for one in (figure, floor)
        )
        return with_spread(mine) + (f'; the floor {digits(statistics.median(its))}' if its else '')

    def beside(engine: str, part: str) -> Any:
        def value(each: Results) -> str:
            mine, other = each.get(part, '', 'docindex'), each.get(part, '', engine)
            if mine is None or other is None or 'seconds' not in mine or 'seconds' not in other:
                return missing(mine if mine is None or 'seconds' not in mine else other)
            # Both were measured beside the floor, perhaps in two runs; so their ratios to it are compared.
            return f'{digits(statistics.median(ratios(other)) / statistics.median(ratios(mine)))} x as fast'

        return value

    return [
        row('`find`, ten complete documents', '1.2', ratio('query', 'default')),
        row('`find_batched`, 1,000 queries', '1.15', ratio('batch', 'default')),
        row('8 threads: throughput, to that of one', 'at least 1.8 on 2 cores', scaling),
        row('bulk `index`: rate, to that of the floor', 'at least 0.95', rate('docindex', 'floor')),
        row('the same, to that of `add_items` alone', '', rate('docindex', 'floor_add_items')),
        row('from dicts, to the floor', 'at least 0.95', rate('docindex-dicts', 'floor')),
        row('from columns, to the floor', 'at least 0.95', rate('docindex-columns', 'floor')),
        row('one durable upsert', '1.2', ratio('upsert', '')),
        row('1,000 updates of metadata, to DocArray', 'at least 50 x as fast', beside('docarray', 'metadata')),
        row('replacing 5,000, to inserting 5,000', '1.15', replacing),
        row('opening until the first answer, to `load_index` alone', '1.2', ratio('open', '', 'floor_opening')),
        row('memory of an open index, to that of the graph', '1.15', memory_ratio),
        row('disk, to vectors, graph file and JSON', '1.1', disk_ratio),
    ]


def memory_ratio(each: Results) -> str:
    """Return resident memory of docindex after 100 queries, to that of the floor's graph when it was just loaded."""
    mine, floor = ((each.get('open', '', engine) or {}).get('memory') for engine in ('docindex', 'floor'))
    if not mine or not floor:
        return missing(each.get('open', '', 'docindex'))
    graph = statistics.median(floor['all_opened'])
    return ', '.join(
        f'{digits(statistics.median(mine[f"{kind}_queried"]) / graph)} {words}'
        for kind, words in (('own', 'of its own'), ('all', 'with mapped files'))
    )


def disk_ratio(each: Results) -> str:
    """Return what the directory takes, to what it must."""
    figure, about = each.get('disk', '', 'docindex'), each.data['dataset']
    if figure is None or 'graph_bytes' not in about:
        return missing(figure)
    return digits(figure['bytes'] / (about['vector_bytes'] + about['graph_bytes'] + about['json_bytes']))


# -- all libraries


def comparison(results: Results) -> list[str]:
    """Return a heading and a table with a column for each library."""
    engines = [name for name in CLASSES if name not in ONLY_BUILD]
    rows = [
        ['recall@10 reached, at which setting', *(reached(results, name) for name in engines)],
        ['recall@10 at its default setting', *(by_default(results, name) for name in engines)],
        *(
            [work, *(cell(results.get(part, case, name), results.get(part, case, 'floor')) for name in engines)]
            for (part, case), work in WORKS.items()
        ),
        ['disk', *(disk(results, name) for name in engines)],
        ['memory when open, after 100 queries', *(memory(results, name) for name in engines)],
    ]
    title = results.data['dataset']['title']
    return [f'### {title}', table(['', *(TITLES[name] for name in engines)], rows)]


def reached(results: Results, name: str) -> str:
    figure = results.get('curve', '', name)
    if figure is None or 'recall' not in figure:
        return missing(figure)
    return f'{figure["recall"]:.3f}, ' + ('exact' if figure['effort'] is None else f'ef={figure["effort"]}')


def by_default(results: Results, name: str) -> str:
    figure = results.get('curve', '', name)
    if figure is None or 'recall' not in figure:
        return missing(figure)
    return f'{next(recall for effort, recall, *_ in figure["points"] if effort is None):.3f}'


def disk(results: Results, name: str) -> str:
    figure = results.get('disk', '', name)
    return (
        missing(figure or results.get('build', '', name))
        if figure is None
        else f'{digits(figure["bytes"] / 2**20)} MiB'
    )


def memory(results: Results, name: str) -> str:
    figure = results.get('open', '', name)
    if figure is None or 'seconds' not in figure:
        return missing(figure)
    own, all_ = (statistics.median(figure['memory'][f'{kind}_queried']) / 2**20 for kind in ('own', 'all'))
    return f'{digits(own)} MiB, {digits(all_)} with mapped files'


def filter_tables(results: Results) -> list[str]:
    """Return a heading and a table with a row for each share."""
    engines = [name for name in CLASSES if name not in ONLY_BUILD]
    rows = []
    for share in SHARES:
        found = [results.get('filters', f'equal {share}', name) for name in engines]
        if any(found):
            cells = [
                cell(figure, found[0]) + (f', {figure["recall"]:.2f}' if figure and 'seconds' in figure else '')
                for figure in found
            ]
            rows.append([f'{100 * share:g} %', *cells])
    return (
        [f'### {results.data["dataset"]["title"]}', table(['match', *(TITLES[name] for name in engines)], rows)]
        if rows
        else []
    )


# -- who is ahead


def ahead(results: list[Results]) -> list[str]:
    """Return a line for each work in which another library is faster, and by how much."""
    lines = []
    works = {
        **WORKS,
        **{('filters', f'equal {share}'): f'a query with a filter that {100 * share:g} % match' for share in SHARES},
    }
    for each in results:
        for (part, case), work in works.items():
            mine = each.get(part, case, 'docindex')
            if mine is None or 'floor' not in mine:
                continue
            for name in CLASSES:
                other = each.get(part, case, name)
                if name in ('floor', 'docindex', *ONLY_BUILD) or other is None or 'floor' not in other:
                    continue
                factor = statistics.median(ratios(mine)) / statistics.median(ratios(other))
                if factor > 1.05 and other.get('recall', 1) >= 0.95:
                    title = each.data['dataset']['title']
                    lines.append(f'- {title}, {work}: {TITLES[name]} takes {digits(1 / factor)} of the time.')
    return lines


# -- where it comes from


def provenance(results: Results) -> list[str]:
    """Return a heading, the machine, and the versions that were measured, with dates."""
    runs = results.data['runs']
    machines = {
        f'{run["processor"]}, {run["cores"]} cores, {run["memory_gib"]:g} GiB; {run["system"]}; '
        f'Python {run["python"]}; {run["rounds"]} rounds, {run["limit"]:g} s for each piece of work'
        for run in runs.values()
    }
    rows = []
    for name in CLASSES:
        used = {figure['run'] for figure in results.data['figures'] if figure['engine'] == name}
        told = {id_: runs[id_] for id_ in sorted(used) if name in runs[id_]['versions']}
        if told:
            about = [*told.values()][-1]['versions'][name]
            versions = ', '.join(f'{package} {version}' for package, version in about['versions'].items())
            dates = ', '.join(sorted({f'{run["date"][:10]} ({run["commit"]})' for run in told.values()}))
            rows.append([about['title'], versions, about['durable'], dates])
    title = results.data['dataset']['title']
    return [
        f'### {title}',
        '\n'.join(sorted(machines)),
        table(['', 'versions', 'a write is on the disk by', 'measured'], rows),
    ]
