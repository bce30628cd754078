"""
Directories that somebody else made: opening one executes nothing, reaches nothing outside it, and ends.

What a stranger can do is be wrong: whoever can write the files can store any document. Answers about documents are
right as to what is stored; the rest is an error of docindex.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from docindex import BaseDoc, DocIndexError, Field, HnswDocumentIndex, NdArray, WorkDirError
from docindex.cli import app
from docindex.hnsw.graph import Graph
from tests.programs import run

CANARY = 'docindex_canary_that_nobody_may_import'


class Leaf(BaseDoc):
    look: NdArray | None = Field(default=None, dim=4, space='cosine')


class Typed(BaseDoc):
    """A document that JSON alone does not describe, with vectors."""

    title: str
    blob: bytes = b''
    tags: set[str] = Field(default_factory=set)
    value: int | str | bytes | None = None
    vector: NdArray = Field(dim=4)
    leaf: Leaf | None = None


Index = HnswDocumentIndex[Typed]


def docs(count: int = 12) -> list[Typed]:
    random = np.random.default_rng(5)
    vectors = random.standard_normal((count, 2, 4)).astype(np.float32)
    vectors[3:5, 0] = vectors[2, 0]  # equal ones
    return [
        Typed(
            id=f'd{at}',
            title=f'Title {at}',
            blob=b'\xff',
            tags={'a'},
            value=b'v',
            vector=vectors[at, 0],
            leaf=Leaf(id=f'l{at}', look=vectors[at, 1]) if at % 3 else None,
        )
        for at in range(count)
    ]


def make(path: Path) -> None:
    """Make an index, and close it; one document was replaced, one deleted."""
    with Index(work_dir=path) as index:
        index.index(docs())
        index.index(docs()[:1])
        index.update('d5', vector=np.ones(4, np.float32))
        index.delete('d11')


@pytest.fixture
def made(work_dir: Path) -> Path:
    """An index that was closed."""
    make(work_dir)
    return work_dir


def edit(directory: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / 'documents.sqlite3')) as connection, connection:
        assert connection.execute(sql, values).rowcount >= 1


def put_meta(directory: Path, change: Callable[[Any], Any], key: str = 'settings') -> None:
    """Change an entry of `meta`."""
    with closing(sqlite3.connect(directory / 'documents.sqlite3')) as connection, connection:
        ((value,),) = connection.execute('SELECT value FROM meta WHERE key = ?', (key,))
        entry = json.loads(value)
        changed = change(entry)
        entry = entry if changed is None else changed
        connection.execute('UPDATE meta SET value = ? WHERE key = ?', (json.dumps(entry), key))


def check_answers(directory: Path) -> None:
    """Assert that all answers about the stored documents are right."""
    expected = {doc.id: doc for doc in docs()[:11]}
    expected['d5'] = expected['d5'].model_copy(update={'vector': np.ones(4, np.float32)})
    with Index(work_dir=directory) as index:
        assert {id_: index[id_] for id_ in index} == expected
        for doc in expected.values():
            answers = [index.find(doc.vector, 'vector', limit=5, exact=exact) for exact in (False, True)]
            found, exact = (dict(zip(answer.documents.id, answer.scores, strict=True)) for answer in answers)
            assert len(found) == 5
            np.testing.assert_allclose(list(found.values()), list(exact.values()), rtol=1e-5, atol=1e-6)
            for id_, score in found.items():
                assert score == pytest.approx(((expected[id_].vector - doc.vector) ** 2).sum(), rel=1e-5, abs=1e-6)


def is_right_or_refused(directory: Path) -> str | None:
    """Assert that answers are right, or an error of docindex; return that."""
    try:
        check_answers(directory)
    except DocIndexError as error:
        return str(error)
    return None


def check_command(directory: Path, *options: str) -> tuple[int, str]:
    """Call `docindex check`; assert that it ends as it should; return its code and what it said."""
    result = CliRunner().invoke(app, ['check', str(directory), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2)
    assert result.output.strip()
    return result.exit_code, result.output


# -- nothing is executed ------------------------------------------------------------------------------


@contextmanager
def canary(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that a module that could be imported is not."""
    path.mkdir()
    (path / f'{CANARY}.py').write_text(f'import pathlib\npathlib.Path({str(path / "sung")!r}).touch()\n')
    monkeypatch.syspath_prepend(path)
    modules = set(sys.modules)
    yield
    assert not (path / 'sung').exists()
    assert CANARY not in sys.modules
    assert not {name for name in set(sys.modules) - modules if name.split('.')[0] in ('pickle', 'antigravity', 'this')}


EVIL_VALUES: dict[str, Any] = {
    'a model': {'$model': [f'{CANARY}.Thing', {}]},
    'a module': {'$model': [CANARY, {}]},
    'a function': {'$model': ['os.system', {'command': 'true'}]},
    'a list': {'$model': ['os.system']},
    'a number': {'$model': 7},
    'deep': {'$model': ['Typed', {'$model': ['os.system', ['true']]}]},
    'a builtin': {'$model': ['builtins.eval', {'source': '1'}]},
    'an unknown tag': {'$import': CANARY},
    'reduce': {'$reduce': ['os.system', ['true']]},
    'an enum': {'$enum': [f'{CANARY}.Thing', 'x']},
    'a path': {'$path': '/etc/passwd'},
    'bytes that are none': {'$bytes': 7},
    'a set of lists': {'$set': [[1]]},
    'a set that is none': {'$set': 7},
    'nested': None,
}


@pytest.mark.parametrize('name', EVIL_VALUES)
@pytest.mark.parametrize('whole', [False, True], ids=['a value', 'the document'])
def test_a_tag_imports_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, whole: bool
) -> None:
    """A text that names a class, a function or a file is an error of docindex, and nothing is imported or read."""
    with closing(sqlite3.connect(made / 'documents.sqlite3')) as connection:
        ((data, tensors),) = connection.execute("SELECT data, tensors FROM documents WHERE id = 'd1'")
    (doc,) = json.loads(data)
    evil: Any = EVIL_VALUES[name]
    if name == 'nested':
        text = data.replace('"value":', '"value":' + '{"$set":[' * 5000 + ']}' * 5000 + ',"value":')
        text = text if not whole else '[' * 100_000
    elif whole:
        text = json.dumps([evil])
    else:
        fields = doc['$model'][1] if '$model' in doc else doc
        assert 'value' in fields, 'this test does not know how a document is written'
        fields['value'] = evil
        text = json.dumps([doc])
    checksum = zlib.crc32(tensors or b'', zlib.crc32(text.encode()))
    edit(made, "UPDATE documents SET data = ?, checksum = ? WHERE id = 'd1'", text, checksum)
    with canary(tmp_path / 'canary', monkeypatch), Index(work_dir=made) as index:
        assert index['d2'].title == 'Title 2'
        try:
            value = index['d1'].value
        except DocIndexError as error:
            print(error)
            assert [problem.id for problem in index.verify().problems] == ['d1']
        else:
            assert isinstance(value, (int, str, bytes, Path, type(None)))  # a path alone opens nothing
        check_command(made)


@pytest.mark.parametrize('key', ['json_schema', 'columns', 'settings'])
def test_a_description_imports_nothing(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Modules and classes that the description of a directory names are not looked for."""

    def rename(entry: dict[str, Any]) -> None:
        entry.update({'$ref': f'{CANARY}.Thing', 'title': CANARY, '__class__': f'{CANARY}.Thing', 'py/object': CANARY})

    put_meta(made, rename, key)
    with canary(tmp_path / 'canary', monkeypatch):
        is_right_or_refused(made)
        check_command(made)


# -- nothing outside is read, written or removed ------------------------------------------------------


def photograph(path: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files below a directory, with what is in them and when they were changed."""
    return {
        file.relative_to(path).as_posix(): (b'' if file.is_dir() else file.read_bytes(), file.lstat().st_mtime_ns)
        for file in sorted(path.rglob('*'))
        if not file.is_symlink()
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory with files that are nobody's business, named like those of an index."""
    path = tmp_path / 'outside'
    path.mkdir()
    for name in ('secret.1.hnsw', 'vector.9.hnsw', 'vector.0.f32', 'evil.0.f32', 'file', 'evil.1.hnsw.new'):
        (path / name).write_bytes(b'do not touch ' * 100)
    return path


NAMES = [
    *('../../outside/vector.9.hnsw', '{outside}/vector.9.hnsw', '../vectors/vector.0.f32', '../documents.sqlite3'),
    *(
        '..',
        '',
        '.',
        'vector.9.hnsw\0',
        'vector.1.hnsw\n',
        'vector.9.hnsw/../../../outside/file',
        '../graphs/vector.4.hnsw',
    ),
]


@pytest.mark.parametrize('name', NAMES)
def test_a_graph_file_elsewhere_is_neither_read_nor_removed(
    made: Path, outside: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that leaves the directory, in SQLite's list of graph files, is not followed, however it is written."""
    name = name.format(outside=outside)
    target = made / 'graphs' / name
    size, checksum = 1, 1
    if '\0' not in name and target.is_file():
        size, checksum = target.stat().st_size, zlib.crc32(target.read_bytes())
    edit(made, "UPDATE snapshots SET file = ?, size = ?, checksum = ? WHERE field = 'vector'", name, size, checksum)
    before, truth = photograph(outside), (made / 'vectors' / 'vector.0.f32').read_bytes()
    loaded: list[Path] = []
    load = Graph.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Graph, 'load', classmethod(lambda cls, path, *rest: loaded.append(path) or load(cls, path, *rest))
    )
    check_answers(made)
    with Index(work_dir=made) as index:
        index.delete('d1')
        index.save_graphs()
        index.backup(made.with_name('copy'))
        index.compact()
    check_command(made, '--repair')
    assert photograph(outside) == before
    assert all(path.resolve().parent == made / 'graphs' for path in loaded)
    assert len(truth) > 100


FIELDS = ['../../outside/evil', '{outside}/evil', 'a/b', '..', 'evil\0', '../vectors/vector', 'x' * 300]


@pytest.mark.parametrize('field', FIELDS)
@pytest.mark.parametrize('options', [(), ('--repair',)], ids=['check', 'repair'])
def test_a_field_elsewhere_is_not_followed(made: Path, outside: Path, field: str, options: tuple[str, ...]) -> None:
    """`docindex check`, which goes by the stored schema, touches nothing where a name in it leaves the directory."""
    field = field.format(outside=outside)

    def rename(settings: dict[str, Any]) -> None:
        settings[field] = settings.pop('vector')

    put_meta(made, rename)
    # So that the file would be accepted, and written to: it lacks rows, and there is a graph to save.
    (outside / 'evil.0.f32').write_bytes((made / 'vectors' / 'vector.0.f32').read_bytes()[:-50])
    before = photograph(outside)
    try:
        code, lines = check_command(made, *options)
    finally:
        assert photograph(outside) == before
    assert code in (1, 2), lines
    assert sorted(path.name for path in made.parent.iterdir()) == ['outside', made.name]


LINKED = [
    *('vectors', 'graphs', 'documents.sqlite3', 'documents.sqlite3-wal', 'documents.sqlite3-shm', 'docindex.lock'),
    *('documents.sqlite3-journal', 'vectors/vector.0.f32', 'graphs/vector', 'vectors/*.new', 'graphs/*.new'),
    *('vectors/vector.1.f32', 'vectors/leaf__look.0.f32'),
]


@pytest.mark.parametrize('dangling', [False, True], ids=['a link', 'a dangling link'])
@pytest.mark.parametrize('state', ['new', 'made'])
@pytest.mark.parametrize('name', LINKED)
def test_a_link_is_never_written_through(made: Path, tmp_path: Path, name: str, state: str, dangling: bool) -> None:
    """A symbolic link in the place of a file is refused or replaced; what it points to stays, byte by byte."""
    directory = made if state == 'made' else tmp_path / 'new'
    for part in ('vectors', 'graphs'):
        (directory / part).mkdir(parents=True, exist_ok=True)
    targets = tmp_path / 'targets'
    targets.mkdir()
    for path in linked_paths(directory, name):
        target = targets / f'target of {path.name}'
        if path.is_dir() and not path.is_symlink():
            path.rename(target)
        elif path.exists():
            shutil.move(path, target)
        elif name in ('vectors', 'graphs'):
            target.mkdir()
        elif not dangling:
            target.write_bytes(b'' if name.endswith('lock') else b'precious ' * 1000)
        if dangling and target.exists():
            target.rename(tmp_path / 'gone')
        path.symlink_to(target)
        if dangling:
            shutil.rmtree(tmp_path / 'gone') if (tmp_path / 'gone').is_dir() else (tmp_path / 'gone').unlink(
                missing_ok=True
            )
    before = photograph(targets)
    refusals = []
    for use in (use_it, use_it, lambda path: check_command(path, '--repair')):
        try:
            use(directory)
        except DocIndexError as error:
            refusals.append(error)
    assert photograph(targets) == before
    assert all(isinstance(error, WorkDirError) for error in refusals)
    if state == 'made' and name in LINKED[:5]:
        assert 'symbolic link' in str(refusals[0])


def linked_paths(directory: Path, name: str) -> list[Path]:
    """Return where the links are to be."""
    if name == 'graphs/vector':
        return list(directory.glob('graphs/vector.*.hnsw')) or [directory / 'graphs' / 'vector.1.hnsw']
    if name == 'vectors/*.new':
        return [directory / 'vectors' / f'{field}.{n}.f32.new' for field in ('vector', 'leaf__look') for n in (0, 1)]
    if name == 'graphs/*.new':
        return [
            directory / 'graphs' / f'{field}.{n}.hnsw.new' for field in ('vector', 'leaf__look') for n in range(1, 20)
        ]
    return [directory / name]


def use_it(directory: Path) -> None:
    with Index(work_dir=directory) as index:
        index.index(docs(6))
        index.update('d0', title='New')
        index.save_graphs()
        index.delete('d1')
        index.compact()
        index.verify(repair=True)


@pytest.mark.parametrize('name', ['documents.sqlite3', 'vectors/vector.0.f32', 'graphs', 'docindex.lock'])
@pytest.mark.parametrize('kind', ['a pipe', 'a directory'])
def test_what_is_no_file_does_not_hang(made: Path, name: str, kind: str) -> None:
    """A pipe or a directory in the place of a file is an error at once, or is passed over."""
    (path,) = made.glob('graphs/vector.*.hnsw') if name == 'graphs' else [made / name]
    path.unlink()
    if kind == 'a pipe':
        os.mkfifo(path)
    else:
        path.mkdir()
    with within(5):
        try:
            with Index(work_dir=made) as index:
                assert index['d1'].title == 'Title 1'
            is_refused = False
        except DocIndexError as error:
            is_refused = str(made) in str(error)
    assert is_refused or name in ('graphs', 'docindex.lock')


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Assert that what is inside does not take longer."""

    def end(*_: object) -> None:
        raise AssertionError(f'still not done after {seconds} seconds')

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# -- permissions --------------------------------------------------------------------------------------


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has other permissions')
@pytest.mark.parametrize(('mask', 'forbidden'), [(0o000, 0o022), (0o022, 0o022), (0o077, 0o077), (0o027, 0o027)])
def test_nobody_else_may_write(work_dir: Path, mask: int, forbidden: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment of a write is there a file that others may write, whatever the umask, or read against it."""
    from tests.crash.disk import watched

    seen: dict[str, int] = {}

    def look(step: str = '') -> None:
        for path in (work_dir.parent, *work_dir.parent.rglob('*')):
            if path != work_dir.parent:
                seen[path.relative_to(work_dir.parent).as_posix()] = stat.S_IMODE(path.lstat().st_mode)
                assert not path.lstat().st_mode & forbidden, f'{path} at {step}: {path.lstat().st_mode:o}'

    save = Graph.save
    monkeypatch.setattr(Graph, 'save', lambda self, path: (save(self, path), look('saving'))[0])
    with umask(mask), watched(look, look), Index(work_dir=work_dir / 'below') as index:
        index.index(docs())
        look()
        index.save_graphs()
        index.delete('d1')
        index.compact()
        look()
        index.backup(work_dir / 'copies' / 'copy')
        look()
        with Index(work_dir=work_dir / 'below', read_only=True) as reader:
            assert len(reader) == 11
            look()
    look()
    names = {Path(path).suffix for path in seen}
    assert {'.lock', '.sqlite3', '.sqlite3-wal', '.sqlite3-shm', '.f32', '.hnsw', '.new', ''} <= names
    assert mask or max(mode for mode in seen.values()) == 0o755


# -- lies in SQLite -----------------------------------------------------------------------------------

TWINS: dict[str, str] = {
    'no list': '7',
    'an object': '{"3": [4]}',
    'text': '"abc"',
    'lists of text': '[["a", "b"]]',
    'too large': '[[3, 99999]]',
    'huge': '[[3, 1e400]]',
    'an enormous number': '[[3, 100000000000000000000000000]]',
    'negative': '[[3, -1]]',
    'a node that is none': '[[99999, 3]]',
    'the dead': '[[3, 0, 11]]',
    'somebody else': '[[3, 5, 6]]',
    'nobody': '[]',
    'everybody': json.dumps([[3, *range(13)]]),
    'twice': '[[3, 4], [4, 3], [3, 7]]',
    'empty': '[[]]',
    'fractions': '[[3, 4.5]]',
    'booleans': '[[true, false]]',
    'null': '[null]',
    'deep': '[' * 100_000,
    'deep and closed': '[' * 900 + ']' * 900,
    'nonsense': 'nonsense',
}


@pytest.mark.parametrize('name', TWINS)
def test_lies_about_equal_vectors(made: Path, name: str) -> None:
    """Whatever SQLite says of who shares a node, answers are right or there is an error."""
    edit(made, "UPDATE snapshots SET twins = ? WHERE field = 'vector'", TWINS[name])
    is_right_or_refused(made)
    check_command(made)


NUMBERS = [-1, 0, 1, 2, 5, 12, 13, 99999, 1 << 40, -(1 << 62), 1.5, '12', 'x', None, b'x']


@pytest.mark.parametrize('column', ['covered', 'buried', 'dead', 'size', 'checksum'])
def test_lies_about_a_graph_file(made: Path, tmp_path: Path, column: str) -> None:
    """Whatever SQLite says of what a graph file covers, answers are right or there is an error."""
    for at, number in enumerate(NUMBERS):
        directory = tmp_path / str(at)
        shutil.copytree(made, directory)
        try:
            edit(directory, f"UPDATE snapshots SET {column} = ? WHERE field = 'vector'", number)
        except sqlite3.IntegrityError:
            continue
        try:
            is_right_or_refused(directory)
        except AssertionError as error:
            raise AssertionError(f'{column} = {number!r}: {error}') from error


def test_a_graph_file_that_covers_less_than_it_says(made: Path, tmp_path: Path) -> None:
    """A graph file that lacks what SQLite says it covers hides no document: it is completed, or not used."""
    with Index(work_dir=made) as index:
        new = docs()[1].model_copy(update={'id': 'new', 'vector': np.full(4, 9, np.float32)})
        index.index([new])
        shutil.copytree(made, tmp_path / 'killed')
        following = index._store.state.labels.next
    edit(tmp_path / 'killed', 'UPDATE snapshots SET covered = ?', following)
    with Index(work_dir=tmp_path / 'killed') as index:
        assert index.find(new.vector, 'vector', limit=1).documents.id == ['new']


def test_a_crafted_graph_is_not_used(made: Path) -> None:
    """A graph file whose checksum was made to match is looked into all the same, and built anew."""
    (path,) = made.glob('graphs/vector.*.hnsw')
    sound = path.read_bytes()
    for at, value in [
        (8, 1 << 60),
        (16, 1 << 40),
        (16, 5),
        (24, 8),
        (48, 1 << 30),
        (52, 1 << 30),
        (96, 0xFFFF),
        (100, 1 << 31),
    ]:
        content = bytearray(sound)
        size = 4 if at >= 48 else 8
        content[at : at + size] = value.to_bytes(8, 'little')[:size]
        (path,) = made.glob('graphs/vector.*.hnsw')
        path.write_bytes(content)
        edit(
            made,
            "UPDATE snapshots SET size = ?, checksum = ? WHERE field = 'vector'",
            len(content),
            zlib.crc32(content),
        )
        check_answers(made)


LIES: dict[str, str] = {
    'tombstones': 'UPDATE tombstones SET label = 2 WHERE position = 1',
    'tombstones twice': 'UPDATE tombstones SET label = 11',
    'tombstones beyond': 'UPDATE tombstones SET label = 99 WHERE position = 1',
    'negative tombstones': 'UPDATE tombstones SET label = -3 WHERE position = 1',
    'huge tombstones': 'UPDATE tombstones SET label = 4611686018427387904 WHERE position = 1',
    'tombstones of text': "UPDATE tombstones SET label = 'x' WHERE position = 1",
    'absences': 'UPDATE absences SET label = 1 WHERE label = 3',
    'absences beyond': 'UPDATE absences SET label = 99 WHERE label = 3',
    'negative absences': 'UPDATE absences SET label = -3 WHERE label = 3',
    'huge absences': 'UPDATE absences SET label = 4611686018427387904 WHERE label = 3',
    'absences of another field': "UPDATE absences SET field = 'vector' WHERE label = 3",
    'absences of no field': "UPDATE absences SET field = '../x' WHERE label = 3",
    'labels': "UPDATE documents SET label = 99 WHERE id = 'd1'",
    'negative labels': "UPDATE documents SET label = -1 WHERE id = 'd1'",
    'ids': "UPDATE documents SET id = 'd77' WHERE id = 'd1'",
    'swapped ids': "UPDATE documents SET id = CASE id WHEN 'd1' THEN 'd2 ' WHEN 'd2' THEN 'd1' ELSE id END",
    'next label': "UPDATE meta SET value = '14' WHERE key = 'next_label'",
    'a huge next label': "UPDATE meta SET value = '4611686018427387904' WHERE key = 'next_label'",
    'a negative next label': "UPDATE meta SET value = '-1' WHERE key = 'next_label'",
    'a next label of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'next_label'",
    'commits of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'commits'",
    'no commits': "DELETE FROM meta WHERE key = 'commits'",
    'a generation of text': "UPDATE meta SET value = '\"../../x\"' WHERE key = 'generation'",
    'a format of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'format'",
    'settings of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'settings'",
    'no settings': "UPDATE meta SET value = '{}' WHERE key = 'settings'",
    'empty settings': 'UPDATE meta SET value = \'{"vector": {}, "leaf__look": {}}\' WHERE key = \'settings\'',
    'columns of text': "UPDATE meta SET value = '7' WHERE key = 'columns'",
    'is_synced of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'is_synced'",
    'a blob': "UPDATE meta SET value = x'ff' WHERE key = 'settings'",
    'another level': "UPDATE documents SET level = 1 WHERE id = 'd1'",
    'a negative level': "UPDATE documents SET level = -1 WHERE id = 'd1'",
    'a huge level': "UPDATE documents SET level = 4611686018427387904 WHERE id = 'd1'",
    'a level of text': "UPDATE documents SET level = 'x' WHERE id = 'd1'",
    'a parent': "UPDATE documents SET parent = 'd2' WHERE id = 'd1'",
    'a parent of bytes': "UPDATE documents SET parent = x'ff' WHERE id = 'd1'",
    'a parent of numbers': "UPDATE documents SET parent = 7 WHERE id = 'd1'",
    'children': "UPDATE documents SET children = 3 WHERE id = 'd1'",
    'children of text': "UPDATE documents SET children = 'x' WHERE id = 'd1'",
    'a position of text': "UPDATE documents SET position = 'x' WHERE id = 'd1'",
    'a run': 'INSERT INTO runs VALUES (3, 1)',
    'a run of level 0': 'INSERT INTO runs VALUES (3, 0)',
    'a run beyond': 'INSERT INTO runs VALUES (99, 1)',
    'a negative run': 'INSERT INTO runs VALUES (-3, 1)',
    'a huge run': 'INSERT INTO runs VALUES (3, 4611686018427387904)',
    'a run that no byte holds': 'INSERT INTO runs VALUES (3, 200)',
    'a run of a negative level': 'INSERT INTO runs VALUES (3, -1)',
    'a run of text': "INSERT INTO runs VALUES (3, 'x')",
    'levels of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'levels'",
    'levels': 'UPDATE meta SET value = \'["", "leaf"]\' WHERE key = \'levels\'',
    'no levels': "DELETE FROM meta WHERE key = 'levels'",
    'fields of text': "UPDATE meta SET value = '\"x\"' WHERE key = 'fields'",
}


HUGE: dict[str, dict[str, Any]] = {
    'max_elements': {'max_elements': 1 << 32},
    'rather many elements': {'max_elements': 1 << 29},
    'dim': {'dim': (1 << 20) - 1},
    'a dim out of range': {'dim': 1 << 40},
    'M': {'M': 10_000},
    'ef_construction': {'ef_construction': 1 << 40},
    'negative': {'max_elements': -1},
    'text': {'max_elements': '7'},
    'threads': {'num_threads': 65_000},
    'unknown': {'evil': 1},
}


PROGRAM = """
import faulthandler, json, resource, sys, traceback
from pathlib import Path
from docindex import DocIndexError
from tests.hnsw.test_strangers import check_answers, check_command
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for name in sys.argv[1:]:
    print(json.dumps(name), flush=True)
    faulthandler.dump_traceback_later(10, exit=True)
    verdict = []
    for use in (check_answers, check_command):
        try:
            use(Path(name))
        except DocIndexError:
            pass
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = [f'{Path(frame.filename).name}:{frame.lineno}' for frame in frames]
            verdict.append(f'{use.__name__}: {type(error).__name__}: {str(error)[:200]} in {where[-5:]}')
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(verdict), flush=True)
"""


@pytest.fixture(scope='module')
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is wrong with how each of `LIES` and `HUGE` is taken, by a process that may not have much memory."""
    path = tmp_path_factory.mktemp('lies')
    make(path / 'made')
    for name in (*LIES, *HUGE):
        shutil.copytree(path / 'made', path / name)
        if name in LIES:
            edit(path / name, LIES[name])
        else:
            put_meta(path / name, lambda settings, name=name: settings['vector']['effective'].update(HUGE[name]))
            edit(path / name, 'DELETE FROM snapshots')
    found: dict[str, list[str]] = {}
    left = [*LIES, *HUGE]
    while left:
        done = run(PROGRAM, *(path / name for name in left))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines, done.stderr
        found.update(zip(left, lines[1::2], strict=False))
        if done.returncode:
            found[left[len(lines) // 2]] = [f'ended with {done.returncode}: {done.stderr[-600:]}']
        left = [name for name in left if name not in found]
    return found


@pytest.mark.parametrize('name', LIES)
def test_lies_about_documents(verdicts: dict[str, list[str]], name: str) -> None:
    """Tables that contradict each other, or hold what nobody would write, are an error of docindex, or do no harm."""
    assert verdicts[name] == []


@pytest.mark.parametrize('name', HUGE)
def test_absurd_settings_take_no_absurd_memory(verdicts: dict[str, list[str]], name: str) -> None:
    """Settings that would take more memory than there is are an error of docindex; no process is ended by them."""
    assert verdicts[name] == []


def test_graphs_of_a_stranger_need_not_be_read(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `trust_graphs=False` no graph file is opened; graphs are built from the vectors, answers are right."""
    opened: list[str] = []
    is_watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watching and event == 'open' and str(arguments[0]).endswith('.hnsw'):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    loads: list[Any] = []
    load = Graph.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Graph, 'load', classmethod(lambda cls, *given: loads.append(given) or load(cls, *given)))
    with Index(work_dir=made, trust_graphs=False) as index:
        assert (opened, loads) == ([], [])
        assert index.find(docs()[2].vector, 'vector', limit=1).documents.id == ['d2']
        graph = index._store.state.graphs.get('vector')
        assert graph is not None
        assert graph.covered == index._store.state.labels.next
    with Index(work_dir=made) as index:
        assert loads
        assert opened
    is_watching = False
    check_answers(made)


def test_memory_is_limited_here() -> None:
    """The limit that the programs above live with is one."""
    code = 'import resource, numpy; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)); numpy.ones(1 << 29)'
    assert 'MemoryError' in run(code).stderr
