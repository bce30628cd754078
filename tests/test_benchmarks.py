"""The benchmark runs from end to end on a few hundred vectors; its page says what is missing. No times are judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed.datasets import LIMIT, Dataset, distances, prepare
from benchmarks.speed.measure import PARTS
from benchmarks.speed.protocol import NoAnswerError, Worker
from benchmarks.speed.report import write
from benchmarks.speed.results import Results
from tests.programs import PATIENCE, ROOT, environment


@pytest.fixture(scope='module')
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that one short run has left: `results`, and `docs` with the page."""
    home = tmp_path_factory.mktemp('benchmark')
    places = ['--results', home / 'results', '--page', home / 'docs' / 'benchmarks.md']
    ended = subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed', '--smoke', *map(str, places)],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        env=environment(),
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return home


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a dataset of 600 vectors."""
    return prepare('smoke', tmp_path_factory.mktemp('data'), None, 1.0)


def figures(smoke: Path) -> list[dict[str, object]]:
    """Return all figures of a run."""
    (file,) = (smoke / 'results').iterdir()
    found: list[dict[str, object]] = json.loads(file.read_text())['figures']
    return found


def test_a_run_measures_every_part(smoke: Path) -> None:
    """Each part has a figure of docindex and of the floor, and none has failed."""
    made = {'vectors': {'insert', 'replace'}, 'build': {'build', 'disk'}}
    expected = set().union(*(made.get(part, {part}) for part in PARTS))
    for engine in ('floor', 'docindex'):
        found = [figure for figure in figures(smoke) if figure['engine'] == engine]
        assert {figure['part'] for figure in found} == expected
        assert [figure for figure in found if 'fails' in figure or 'not_finished' in figure] == []


def test_a_figure_stands_beside_the_floor_of_its_rounds(smoke: Path) -> None:
    """A time of docindex comes with the floor's times in the same rounds, as many of them."""
    timed = [each for each in figures(smoke) if each['engine'] == 'docindex' and 'seconds' in each]
    assert timed
    for figure in timed:
        assert len(figure['floor']) == len(figure['seconds']) > 0  # type: ignore[arg-type]


def test_searches_are_compared_at_the_recall_that_was_asked_for(smoke: Path) -> None:
    """The setting that is taken for a comparison finds 95 % of the true neighbours."""
    compared = [
        each for each in figures(smoke) if each['part'] in ('query', 'filters') and 'equal' in str(each['case'])
    ]
    assert compared
    assert min(float(str(each['recall'])) for each in compared) >= 0.95


def test_a_run_writes_the_page(smoke: Path) -> None:
    """The page has tables with times and ratios, and each picture that it shows is there."""
    page = (smoke / 'docs' / 'benchmarks.md').read_text()
    assert '| one query, ten complete documents |' in page
    shown = [line.partition('](')[2].rstrip(')') for line in page.splitlines() if line.startswith('![')]
    assert shown == ['benchmarks/recall.svg', 'benchmarks/filters.svg', 'benchmarks/upserts.svg']
    assert all((smoke / 'docs' / name).read_text().lstrip().startswith('<?xml') for name in shown)


def test_the_page_says_what_is_missing(smoke: Path, tmp_path: Path) -> None:
    """What was not finished, is lacking or has failed stands in the tables in words."""
    shutil.copytree(smoke / 'results', tmp_path / 'results')
    (file,) = (tmp_path / 'results').iterdir()
    results = Results(file)
    (run, *_) = results.data['runs']
    results.put(run, 'build', '', 'docarray', not_finished=60.0)
    results.put(run, 'get', '', 'chroma', has_none='no such call')
    results.put(run, 'query', 'equal', 'zvec', fails='ValueError: wrong')
    for part in ('upsert', 'delete', 'open', 'threads', 'curve'):
        results.put(run, part, '', 'docindex', not_finished=60.0)
    page = write(tmp_path / 'results', tmp_path / 'page.md').read_text()
    rows = {line.split('|')[1].strip(): line for line in page.splitlines() if line.startswith('| ')}
    assert 'not finished in 60 s' in rows['bulk indexing until durable and searchable']
    assert 'has none' in rows['a document by its id']
    assert 'fails: ValueError' in rows['one query, ten complete documents']
    assert 'not finished in 60 s' in rows['1,000 documents deleted in one call']


def test_a_part_that_is_measured_again_replaces_the_old_figure(tmp_path: Path) -> None:
    """There is one figure for each part, case and engine, and runs that nothing comes from are forgotten."""
    results = Results(tmp_path / 'some.json')
    results.data['runs']['first'] = {}
    results.put('first', 'get', '', 'floor', seconds=[1.0])
    results.data['runs']['second'] = {}
    results.put('second', 'get', '', 'floor', seconds=[2.0])
    again = Results(tmp_path / 'some.json')
    assert [figure['seconds'] for figure in again.data['figures']] == [[2.0]]
    assert [*again.data['runs']] == ['second']


def test_an_engine_that_takes_too_long_is_ended(data: Dataset, tmp_path: Path) -> None:
    """Past its limit a process is ended, and the figure is how long it was given."""
    (tmp_path / 'index').mkdir()
    worker = Worker('floor', Path(sys.executable), tmp_path / 'index', data.directory, limit=PATIENCE)
    worker.ask('create')
    with pytest.raises(NoAnswerError) as refused:
        worker.ask('add', limit=0.0, start=0, stop=600)
    assert refused.value.entry == {'not_finished': PATIENCE}
    assert worker.has_ended


def test_what_an_engine_raises_is_its_figure(data: Dataset, tmp_path: Path) -> None:
    """An error in a library is answered, and the process goes on."""
    (tmp_path / 'index').mkdir()
    worker = Worker('floor', Path(sys.executable), tmp_path / 'index', data.directory, limit=PATIENCE)
    worker.ask('create')
    with pytest.raises(NoAnswerError) as refused:
        worker.ask('get', ids=['not there'])
    assert refused.value.entry['fails'].startswith('TypeError')
    assert worker.ask('memory')['all'] > 0
    worker.end()


@pytest.mark.parametrize('below', [None, 0.5, 0.01])
def test_recall_is_that_of_exact_search(data: Dataset, below: float | None) -> None:
    """The true neighbours have a recall of 1, half of them 0.5; what is repeated, far or filtered out adds nothing."""
    allowed = [at for at in range(data.meta.count) if below is None or data.parts[at] < below]
    far = distances(data.meta.space, data.queries[3], data.vectors[allowed])
    nearest = [str(allowed[at]) for at in far.argsort()[:LIMIT]]
    half = nearest[: len(nearest) // 2]
    assert data.recall([3], [nearest], below) == 1
    assert data.recall([3], [half * 2], below) == 0.5
    out = [str(at) for at in range(data.meta.count) if str(at) not in nearest][-1:]
    assert data.recall([3], [half + out], below) == 0.5
