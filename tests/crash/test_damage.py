"""
Whatever is done to the files of a directory: answers are right, or there is an error; nothing else.

DOCINDEX_FUZZ=5000 python -m pytest tests/crash/test_damage.py -k random damages that many copies; it prints its seed,
and DOCINDEX_SEED=... repeats a run. The usual run damages the same copies each time.

What cannot be noticed, and need not: bytes that nobody reads (pages of SQLite without content, the zeros in the header
of a vector file, rows of dead labels), a counter of commits that is lower than it was, the lock file. `Judge` does not
ask whether damage was noticed; it asks for everything that is stored, before and after another write.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from docindex import CorruptIndexError, HnswDocumentIndex
from tests.crash.mutants import (
    ORIGINALS,
    PATIENCE,
    Mutant,
    Original,
    Plain,
    Thing,
    Verdict,
    ask_everything,
    check_command,
    files_in,
    make_all,
    random_mutants,
)
from tests.programs import ROOT, environment

FUZZ = int(os.environ.get('DOCINDEX_FUZZ', '0'))
SEED = int(os.environ.get('DOCINDEX_SEED', random.randrange(1 << 32) if FUZZ else 4))
HEADER, ROW = 64, 20
_LOG_HEADER, _FRAME = 32, 24 + 4096  # of SQLite's write-ahead log


@pytest.fixture(scope='module')
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Original]]:
    """Directories that were closed, or killed, or killed soon, with vectors and without."""
    path = tmp_path_factory.mktemp('originals')
    return path, make_all(path)


def judged(path: Path, mutants: Sequence[Mutant]) -> list[tuple[Mutant, Verdict]]:
    """Let another process judge mutants; where it crashes or hangs, that is the verdict, and the next goes on."""
    found: list[tuple[Mutant, Verdict]] = []
    while len(found) < len(mutants):
        left = mutants[len(found) :]
        process = subprocess.run(
            [sys.executable, '-m', 'tests.crash.mutants', str(path)],
            input=''.join(json.dumps(asdict(mutant)) + '\n' for mutant in left),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(),
            timeout=PATIENCE + 10 * len(left),
            check=False,
        )
        lines = process.stdout.splitlines()
        assert lines, process.stderr
        found += zip(left, (Verdict(**json.loads(line)) for line in lines[1::2]), strict=False)
        if process.returncode:
            end = f'ended with {process.returncode}: {process.stderr[-2000:]}'
            found.append((mutants[len(found)], Verdict('crashed', [end])))
    return found


def check_verdicts(verdicts: Iterable[tuple[Mutant, Verdict]]) -> Counter[str]:
    """Assert that nothing is wrong with any; return how often each outcome came."""
    wrong, outcomes = [], Counter[str]()
    for mutant, verdict in verdicts:
        outcomes[verdict.outcome] += 1
        # SQLite's own pages have no checksums: a damaged id, or a damaged index of ids, is for `verify` to find.
        is_known = mutant.file == 'documents.sqlite3' and verdict.outcome == 'unsound'
        if verdict.wrong and not is_known:
            wrong.append(f'{json.dumps(asdict(mutant))}\n    {verdict.outcome}: {verdict.wrong[0]}')
    print(outcomes)
    assert not wrong, '\n'.join([f'{len(wrong)} of {outcomes.total()}:', *wrong[:20]])
    return outcomes


# -- every file, in every way -----------------------------------------------------------------------


def spread(size: int, count: int) -> list[int]:
    """Return positions all over a file, its ends among them."""
    return sorted({at * (size - 1) // (count - 1) for at in range(count)}) if size else [0]


def systematic(path: Path, original: str, file: str) -> Iterator[Mutant]:
    """Yield every kind of damage to a file, in several places."""
    directory, chance = path / original, Random(f'{original} {file}')
    size = (directory / file).stat().st_size
    content = (directory / file).read_bytes()
    is_looked_at_closely = original in ('closed', 'killed') and not file.startswith(('graphs', 'docindex'))
    count = 3 if is_looked_at_closely else 1
    yield from (Mutant(original, file, 'cut', at) for at in spread(size, count + 1))
    yield from (Mutant(original, file, 'zero', at, 512) for at in spread(size, count + 1)[:-1])
    yield Mutant(original, file, 'garbage', 0, size, 1)
    yield Mutant(original, file, 'remove')
    places = [at for at, byte in enumerate(content) if byte]
    for at in chance.sample(places, min(2 * count, len(places))):
        yield Mutant(original, file, chance.choice(['bit', 'flip']), at, 1, at)
    if is_looked_at_closely:
        yield Mutant(original, file, 'cut', size // 512 * 512)
        yield Mutant(original, file, 'append', 0, 100, 1)
        yield Mutant(original, file, 'garbage', 0, 16, 1)
    for other in files_in(directory):
        if other != file and Path(other).parent == Path(file).parent:
            yield Mutant(original, file, 'swap', other=other)


FILES = {
    'lock': 'docindex.lock',
    'database': 'documents.sqlite3',
    'log': 'documents.sqlite3-wal',
    'vectors': 'vectors/',
    'graphs': 'graphs/',
}


@pytest.fixture(scope='module')
def verdicts(originals: tuple[Path, dict[str, Original]]) -> list[tuple[Mutant, Verdict]]:
    """The verdicts on all systematic damage."""
    path, _ = originals
    files = {
        name: [file for file in files_in(path / name) if 'closed' in name or '__' not in file] for name in ORIGINALS
    }
    return judged(
        path, [mutant for name in ORIGINALS for file in files[name] for mutant in systematic(path, name, file)]
    )


@pytest.mark.parametrize('original', ORIGINALS)
@pytest.mark.parametrize('files', FILES)
def test_damage_to_any_file_is_never_a_wrong_answer(
    verdicts: list[tuple[Mutant, Verdict]], files: str, original: str
) -> None:
    """It is refused by name, or calls raise and `verify` says why, or every answer is right; no crash, no hang."""
    these = [(m, v) for m, v in verdicts if m.original == original and is_of(m.file, FILES[files])]
    if not these:
        assert (files, original) in EMPTY, 'nothing was tried'
        return
    outcomes = check_verdicts(these)
    if files in ('lock', 'graphs'):
        alone = {verdict.outcome for mutant, verdict in these if mutant.kind != 'swap'}
        assert alone == {'right'}, 'a lock and a cache keep nobody from reading'
    else:
        assert outcomes['refused'], 'nothing was noticed'


EMPTY = [
    *(('log', name) for name in ('closed', 'listed closed', 'plain closed')),
    *(('graphs', name) for name in ('plain closed', 'plain young')),
]
"""Where there are no such files."""


def is_of(file: str, files: str) -> bool:
    return file.startswith(files) if files.endswith('/') else file == files


def test_random_damage_is_never_a_wrong_answer(originals: tuple[Path, dict[str, Original]]) -> None:
    """The same of damage of any kind at any place."""
    print(f'seed {SEED}')
    outcomes = check_verdicts(
        judged(originals[0], list(islice(random_mutants(originals[0], Random(SEED)), FUZZ or 60)))
    )
    assert {'right', 'refused', 'raises'} <= set(outcomes)


# -- a log that is damaged --------------------------------------------------------------------------


@pytest.mark.parametrize('original', ['killed', 'listed killed', 'plain young'])
def test_commits_that_sqlite_drops_are_missed(originals: tuple[Path, dict[str, Original]], original: str) -> None:
    """SQLite reads a log up to the first damage, without a word; docindex knows how many commits there were."""
    path, _ = originals
    log = 'documents.sqlite3-wal'
    frames = ((path / original / log).stat().st_size - _LOG_HEADER) // _FRAME
    assert frames > 3
    starts = [_LOG_HEADER + frame * _FRAME for frame in range(frames)]
    mutants = [Mutant(original, log, 'remove'), Mutant(original, log, 'cut', 0), Mutant(original, log, 'bit', 9, 1)]
    mutants += [Mutant(original, log, 'cut', at) for at in starts]
    mutants += [Mutant(original, log, 'bit', at + 24 + 1000, 1, at) for at in starts[::3]]
    verdicts = judged(path, mutants)
    check_verdicts(verdicts)
    assert all(verdict.outcome in ('right', 'refused') for _, verdict in verdicts)
    # Not those that cut off what was never committed, or only the name of a graph file.
    assert [verdict.outcome for _, verdict in verdicts].count('refused') > len(mutants) / 2


# -- a vector ---------------------------------------------------------------------------------------


@pytest.fixture
def closed(originals: tuple[Path, dict[str, Original]], tmp_path: Path) -> Path:
    """A copy of the directory that was closed."""
    shutil.copytree(originals[0] / 'closed', tmp_path / 'index')
    return tmp_path / 'index'


def damage(path: Path, at: int, bit: int = 1) -> None:
    with path.open('r+b') as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


@pytest.mark.parametrize('field', ['left', 'right', 'leaf__look'])
def test_each_bit_of_a_vector_counts(closed: Path, field: str) -> None:
    """A flipped bit of a vector, or of its checksum, is noticed by who reads it, and told by document and field."""
    file = closed / 'vectors' / f'{field}.0.f32'
    with HnswDocumentIndex[Thing](work_dir=closed) as index:
        for at in range(HEADER + 3 * ROW, HEADER + 4 * ROW):
            for bit in (1, 128):
                damage(file, at, bit)
                with pytest.raises(CorruptIndexError, match=r'row 3 .*f32'):
                    index['thing 3']
                damage(file, at, bit)
        assert index['thing 3'].number == 3
        damage(file, HEADER + 3 * ROW)
        problems = index.verify().problems
        assert [(problem.id, problem.field) for problem in problems] == [('thing 3', field)]


def test_zeros_in_a_header_say_nothing(originals: tuple[Path, dict[str, Original]]) -> None:
    """What stands in the reserved part of a vector file's header changes nothing, nor does a lower count of commits."""
    mutants = [Mutant('closed', 'vectors/left.0.f32', 'flip', at, 1, at) for at in range(32, HEADER, 5)]
    mutants.append(Mutant('closed', 'vectors/left.0.f32', 'zero', 16, 8))
    verdicts = judged(originals[0], mutants)
    check_verdicts(verdicts)
    assert {verdict.outcome for _, verdict in verdicts} == {'right'}


# -- the command ------------------------------------------------------------------------------------


def check(directory: Path, *options: str) -> tuple[int, str]:
    """Call `docindex check`, and assert that it answers as it should."""
    verdict = Verdict()
    answer = check_command(directory, verdict, *options)
    assert not verdict.wrong, verdict.wrong
    return answer


def check_whole(directory: Path, original: Original) -> None:
    """Assert that nothing is lost."""
    verdict = Verdict()
    with HnswDocumentIndex[original.doc_type](work_dir=directory) as index:  # type: ignore[name-defined]
        ask_everything(index, original.oracle(), verdict)
        assert index.verify().problems == []
    assert verdict == Verdict()


def test_the_command_is_a_program(closed: Path) -> None:
    """`python -m docindex check` ends with 0 for what is sound, and with 1 and a line for what is not."""
    command = [sys.executable, '-m', 'docindex', 'check', str(closed)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=PATIENCE)
    assert (run.returncode, run.stdout.count('sound'), run.stderr) == (0, 1, '')
    damage(closed / 'vectors' / 'left.0.f32', HEADER + 3 * ROW)
    run = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=PATIENCE)
    assert run.returncode == 1
    assert "document 'thing 3', field 'left': its vector does not match its checksum" in run.stdout
    assert 'Traceback' not in run.stdout + run.stderr


@pytest.mark.parametrize('loss', ['flipped', 'cut', 'zeroed'])
@pytest.mark.parametrize('field', ['left', 'right'])
def test_vectors_that_the_graph_has_are_mended(
    closed: Path, originals: tuple[Path, dict[str, Original]], field: str, loss: str
) -> None:
    """`check` ends with 1 and names documents; `--repair` takes their vectors from the graph: all is as it was."""
    file = closed / 'vectors' / f'{field}.0.f32'
    content = file.read_bytes()
    if loss == 'flipped':
        damage(file, HEADER + 3 * ROW + 2)
    elif loss == 'cut':
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(content[: HEADER + 2 * ROW] + bytes(8 * ROW) + content[HEADER + 10 * ROW :])
    code, lines = check(closed)
    assert code == 1
    assert f"field '{field}'" in lines
    assert loss == 'cut' or "'thing 3'" in lines
    code, lines = check(closed, '--repair')
    assert (code, lines.count('(mended)') > 0) == (0, True), lines
    assert check(closed)[0] == 0
    check_whole(closed, originals[1]['closed'])


def test_a_cosine_vector_is_not_made_up(closed: Path) -> None:
    """The graph of a 'cosine' field has no vector as it was: repairing says so, and changes nothing."""
    file = closed / 'vectors' / 'leaf__look.0.f32'
    damage(file, HEADER + 3 * ROW)
    content = file.read_bytes()
    for options in ((), ('--repair',), ()):
        code, lines = check(closed, *options)
        assert code == 1
        assert "document 'thing 3', field 'leaf__look': its vector does not match its checksum" in lines
    assert file.read_bytes() == content


@pytest.mark.parametrize('loss', ['removed', 'damaged', 'all removed'])
def test_graphs_are_mended(closed: Path, originals: tuple[Path, dict[str, Original]], loss: str) -> None:
    """Graph files that are lost are no damage: `check` ends with 0, with `--repair` they are written anew."""
    files = sorted((closed / 'graphs').iterdir())
    if loss == 'all removed':
        shutil.rmtree(closed / 'graphs')
    elif loss == 'removed':
        files[0].unlink()
    else:
        damage(files[0], files[0].stat().st_size // 2)
    assert check(closed)[0] == 0
    assert check(closed, '--repair')[0] == 0
    assert len(list((closed / 'graphs').glob('*.hnsw'))) == 3
    check_whole(closed, originals[1]['closed'])


@pytest.mark.parametrize('file', ['documents.sqlite3', 'vectors/left.0.f32'])
def test_what_is_gone_is_said(closed: Path, file: str) -> None:
    """Without a file that holds the truth, the command says which one is missing, and makes none."""
    (closed / file).unlink()
    for options in ((), ('--repair',)):
        code, lines = check(closed, *options)
        assert code in (1, 2)
        assert Path(file).name in lines or 'there is no index here' in lines
    assert not (closed / 'vectors' / 'left.0.f32').exists() or file == 'documents.sqlite3'


def test_a_lost_database_without_vectors_is_no_new_index(
    originals: tuple[Path, dict[str, Original]], tmp_path: Path
) -> None:
    """A directory whose SQLite file is gone is not taken for a new one because its schema has no vectors."""
    for original in ('plain closed', 'plain young'):
        directory = tmp_path / original
        shutil.copytree(originals[0] / original, directory)
        for file in directory.glob('documents.sqlite3*'):
            file.unlink()
        with pytest.raises(CorruptIndexError, match='sqlite3'):
            HnswDocumentIndex[Plain](work_dir=directory)
