"""The command `docindex`: in this process, and as a program where that makes a difference."""
# ruff: noqa: RUF012 (pydantic copies defaults)

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from docindex.cli import app, main, reading
from docindex.cli.reference import reference
from tests.programs import PATIENCE, ROOT, environment


class Note(BaseDoc):
    text: str = ''
    vector: NdArray = Field(dim=4)


class Author(BaseDoc):
    name: str


class Part(BaseDoc):
    text: str
    vector: NdArray = Field(dim=2)


class Book(BaseDoc):
    title: str = Field(full_text=True)
    author: Author
    price: float
    tags: list[str] = []
    cover: NdArray = Field(dim=3, space='cosine')
    back: NdArray | None = Field(None, dim=3)
    parts: list[Part] = []


class Checked(BaseDoc):
    text: str
    vector: NdArray = Field(dim=2)

    @pydantic.field_validator('text')
    @classmethod
    def not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError('a text is needed')
        return value


Ran = subprocess.CompletedProcess[str]
Command = Callable[..., Ran]


@pytest.fixture
def docindex(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process: a program would need a second for each to begin."""

    def run(*arguments: object, given: str = '') -> Ran:
        monkeypatch.setattr(sys, 'argv', ['docindex', *map(str, arguments)])
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(given.encode())))
        monkeypatch.setenv('COLUMNS', '200')
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ran(sys.argv, ended.value.code, written.out, written.err)  # type: ignore[arg-type]

    return run


def program(*arguments: object, **how: Any) -> Ran:
    """Run a command as a program."""
    return subprocess.run(
        [sys.executable, '-m', 'docindex', *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**environment(), 'COLUMNS': '200', 'NO_COLOR': '1'},
        check=False,
        **how,
    )


def lines(ran: Ran) -> list[Any]:
    """Return the JSON lines that a command has written, which ended well."""
    assert (ran.returncode, ran.stderr) == (0, '')
    return [json.loads(line) for line in ran.stdout.splitlines()]


def book(at: int) -> dict[str, Any]:
    return {
        'id': f'b{at}',
        'title': f'The {"old" if at % 2 else "new"} book {at}',
        'author': {'id': f'a{at}', 'name': f'Ann {at}'},
        'price': at / 2,
        'tags': ['x'] * (at % 2),
        'cover': [1.0, at / 4, 0.5],
        'back': None,
        'parts': [{'id': f'p{at}', 'text': 'part', 'vector': [float(at), 1.0]}],
    }


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A closed index of twelve books."""
    (tmp_path / 'books.jsonl').write_text('\n'.join(json.dumps(book(at)) for at in range(12)))
    with HnswDocumentIndex[Book](work_dir=tmp_path / 'books') as index:
        index.index_from(tmp_path / 'books.jsonl')
    return tmp_path / 'books'


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A closed index of thirty notes, ten of them replaced."""
    path = tmp_path / 'made'
    with HnswDocumentIndex[Note](work_dir=path) as index:
        vectors = np.random.default_rng(0).normal(size=(40, 4))
        index.index([Note(id=str(at % 30), vector=vector) for at, vector in enumerate(vectors[:30])])
        index.index([Note(id=str(at), vector=vector) for at, vector in enumerate(vectors[30:])])
    return path


def test_a_sound_index(docindex: Command, made: Path) -> None:
    """`check` of a sound directory says so and exits with 0, also while the index is open."""
    with HnswDocumentIndex[Note](work_dir=made):
        checked = docindex('check', made)
    assert (checked.returncode, checked.stdout) == (0, '30 documents and 30 vectors read: sound\n')
    assert docindex('check', '--repair', made).returncode == 0


def test_a_damaged_index(docindex: Command, made: Path) -> None:
    """`check` lists what is damaged and exits with 1; `--repair` mends what the graph still has."""
    with (made / 'vectors' / 'vector.0.f32').open('r+b') as file:
        file.seek(64 + 20 * 20)
        file.write(b'\xff\xff')
    checked = docindex('check', made)
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[1:] == ["document '20', field 'vector': its vector does not match its checksum"]
    mended = docindex('check', made, '--repair')
    assert (mended.returncode, mended.stdout.splitlines()[1].endswith('(mended)')) == (0, True)
    assert docindex('check', made).returncode == 0


def test_compact(docindex: Command, made: Path) -> None:
    """`compact` removes what is dead, and says how much that was."""
    assert docindex('compact', made).stdout == '30 documents; 10 dead versions are gone\n'
    with HnswDocumentIndex[Note](work_dir=made) as index:
        assert len(index) == 30
        assert index.verify().is_sound


def test_backup(docindex: Command, made: Path, tmp_path: Path) -> None:
    """`backup` makes a copy that opens, and no second one over it."""
    assert docindex('backup', made, tmp_path / 'copy').returncode == 0
    with HnswDocumentIndex[Note](work_dir=tmp_path / 'copy') as copy:
        assert len(copy) == 30
    again = docindex('backup', made, tmp_path / 'copy')
    assert (again.returncode, again.stdout) == (2, '')
    assert again.stderr.startswith('docindex: a backup needs an empty directory')


@pytest.mark.parametrize('command', [['check', '--repair'], ['compact']], ids=' '.join)
def test_an_open_index_is_in_the_way(made: Path, command: list[str]) -> None:
    """What writes to a directory that another process has open is refused in one line that names the process."""
    with HnswDocumentIndex[Note](work_dir=made):
        refused = program(*command, made)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert 'open for writing' in refused.stderr


@pytest.mark.parametrize('what', ['nothing there', 'no index'])
def test_there_is_nothing_to_check(docindex: Command, tmp_path: Path, what: str) -> None:
    """A directory without an index is an error of use."""
    path = tmp_path if what == 'no index' else tmp_path / 'nowhere'
    checked = docindex('check', path)
    assert checked.returncode == 2
    assert 'Traceback' not in checked.stderr
    assert not (tmp_path / 'documents.sqlite3').exists()


def test_a_file_goes_in_and_out(docindex: Command, tmp_path: Path) -> None:
    """`index` stores the rows of a file, and lists those that it skips; `export` writes them to another."""
    rows = ['{"id": "a", "vector": [1, 2, 3, 4]}', '{"id": "b"}', '{"id": "c", "vector": [4, 3, 2, 1]}']
    (tmp_path / 'x.jsonl').write_text('\n'.join(rows))
    schema = ['--schema', 'tests.test_cli:Note']
    refused = docindex('index', tmp_path / 'index', tmp_path / 'x.jsonl', *schema)
    assert (refused.returncode, refused.stdout) == (1, '')
    assert refused.stderr.endswith("x.jsonl, row 2 (line 2): (id 'b'): vector: Field required; nothing is stored\n")
    done = docindex('index', tmp_path / 'index', tmp_path / 'x.jsonl', '--skip', *schema)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "  row 2 (line 2): (id 'b'): vector: Field required"
    exported = docindex('export', tmp_path / 'index', tmp_path / 'y.csv', *schema)
    assert exported.stdout == f'2 documents written to {tmp_path / "y.csv"}\n'
    assert (tmp_path / 'y.csv').read_text().startswith('id,text,vector\na,')


@pytest.mark.parametrize(
    'schema', ['nowhere:Note', 'tests.test_cli:Nothing', 'tests.test_cli', 'tests.test_cli:Path', '.:Note', ':']
)
def test_a_schema_that_is_none(docindex: Command, made: Path, tmp_path: Path, schema: str) -> None:
    """What is no document class is refused in one line."""
    refused = docindex('export', made, tmp_path / 'x.csv', '--schema', schema)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f'docindex: --schema {schema}: ')


def test_help_names_every_command(docindex: Command) -> None:
    """`--help` lists the commands with a line each."""
    shown = docindex('--help').stdout
    for line in ('find', 'check', 'compact', 'backup', 'Read everything, and list every document that is damaged.'):
        assert line in shown


# -- reading ------------------------------------------------------------------------------------------------


def test_info(docindex: Command, books: Path) -> None:
    """`info` says what is there, as one line of JSON or as a tree and tables; recall if it is asked for."""
    (found,) = lines(docindex('info', books))
    assert found['documents'] == {'': 12, 'parts': 12}
    assert found['fields']['cover']['vectors'] == 12
    assert found['fields']['cover']['settings']['space'] == 'cosine'
    assert found['fields']['back']['vectors'] == 0
    assert (found['schema']['price'], found['schema']['parts__vector'], found['unknown']) == ('float', 'vector[2]', [])
    assert 'recall' not in found
    (found,) = lines(docindex('info', books, '--recall'))
    assert found['recall'] == {'cover': 1.0, 'back': None, 'parts__vector': 1.0}
    shown = docindex('info', books, '--table').stdout
    assert shown.startswith('Book: 12 documents, 12 parts, 0 dead\nBook\n├── id: ID\n├── title: str  (full_text=True)')


def test_get(docindex: Command, books: Path) -> None:
    """`get` writes documents as they were given; one that is missing is said, and is exit code 1."""
    assert lines(docindex('get', books, 'b3', 'b1')) == [book(3), book(1)]
    some = docindex('get', books, 'b3', 'nope', '--select', 'id', '-s', 'author__name')
    assert (some.returncode, some.stdout) == (1, '{"id":"b3","author__name":"Ann 3"}\n')
    assert some.stderr == "docindex: there is no document 'nope'\n"
    tree = docindex('get', books, 'b3', '--table').stdout
    assert tree.startswith("Book 'b3'\n├── title: str = 'The old book 3'\n├── author: Author 'a3'\n")


def test_half_a_surrogate_pair(docindex: Command, books: Path) -> None:
    """A text with half of a surrogate pair is written as JSON escapes it, and can be read again."""
    with HnswDocumentIndex[Book](work_dir=books) as index:
        index.update('b3', title='half \ud83d of é')
    ran = docindex('get', books, 'b3', 'b1')
    assert lines(ran) == [{**book(3), 'title': 'half \ud83d of é'}, book(1)]
    assert ran.stdout.isascii()
    assert docindex('index', books, '-', given=ran.stdout).returncode == 0
    assert docindex('get', books, 'b3', 'b1').stdout == ran.stdout


def test_a_terminal_without_unicode(books: Path) -> None:
    """Where standard output has no Unicode, JSON escapes what is not there."""
    with HnswDocumentIndex[Book](work_dir=books) as index:
        index.update('b3', title='é 😀')
    code, env = [sys.executable, '-m', 'docindex', 'get', str(books), 'b3'], {'PYTHONIOENCODING': 'ascii'}
    ended = subprocess.run(code, capture_output=True, text=True, env={**environment(), **env}, check=False)
    assert lines(ended) == [{**book(3), 'title': 'é 😀'}]


def test_what_a_terminal_has_no_signs_for(books: Path) -> None:
    """Where standard output has not all signs, tables and lists of damage escape what is not there."""
    with HnswDocumentIndex[Book](work_dir=books) as index:
        index.index({**book(20), 'id': '日'})
    for command in (['get', books, '日', '--table'], ['check', books]):
        code, env = [sys.executable, '-m', 'docindex', *map(str, command)], {'PYTHONIOENCODING': 'latin-1'}
        ended = subprocess.run(code, capture_output=True, text=True, env={**environment(), **env}, check=False)
        assert (r'\u65e5' in ended.stdout, ended.stderr) == (True, '')
        with closing(sqlite3.connect(books / 'documents.sqlite3', isolation_level=None)) as connection:
            connection.execute("UPDATE documents SET checksum = 0 WHERE id = '日'")


@pytest.mark.skipif(sys.platform == 'win32', reason='there descriptors cannot be closed beforehand')
def test_closed_streams(books: Path) -> None:
    """A program whose standard input and output are closed does its work, and says nothing."""
    code = [sys.executable, '-m', 'docindex', 'count', str(books)]
    ended = subprocess.run(
        ['/bin/sh', '-c', '"$@" <&- >&-', 'sh', *code], capture_output=True, text=True, env=environment(), check=False
    )
    assert (ended.returncode, ended.stderr) == (0, '')


def test_find_like(docindex: Command, books: Path) -> None:
    """`find --like` ranks by nearness to a document, which is left out, also among documents in lists."""
    found = lines(docindex('find', books, '--like', 'b5', '--field', 'cover', '--limit', 2, '-s', 'id'))
    assert [one['document'] for one in found] == [{'id': 'b6'}, {'id': 'b4'}]
    with HnswDocumentIndex[Book](work_dir=books) as index:
        assert [one['score'] for one in found] == index.find(index['b5'], 'cover', 3).scores[1:].tolist()
    found = lines(docindex('find', books, '--like', 'p5', '-f', 'parts__vector', '--limit', 1, '--exact'))
    assert found == [{'score': 1.0, 'document': {'id': 'p4', 'text': 'part', 'vector': [4.0, 1.0]}}]


def test_find_a_vector(docindex: Command, books: Path, tmp_path: Path) -> None:
    """`find --vector` takes numpy's files and JSON, from standard input too, and one vector only."""
    np.save(tmp_path / 'v.npy', np.array([1, 1.5, 0.5]))
    np.save(tmp_path / 'vs.npy', np.ones((2, 3)))
    (tmp_path / 'v.json').write_text('[1, 1.5, 0.5]')
    for file, given in (('v.npy', ''), ('v.json', ''), ('-', '[1, 1.5, 0.5]')):
        path = '-' if file == '-' else tmp_path / file
        found = lines(docindex('find', books, '--vector', path, '-f', 'cover', '--limit', 1, '-s', 'id', given=given))
        assert found[0]['document'] == {'id': 'b6'}
    for file, word in (('vs.npy', 'one vector is needed'), ('none.npy', 'No such file'), ('v.json.gz', 'No such')):
        refused = docindex('find', books, '--vector', tmp_path / file, '-f', 'cover')
        assert refused.returncode == 2
        assert word in refused.stderr


@pytest.mark.parametrize('name', ['v.npy', 'v.json'])
@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'[' * 20_000, 'header', 'shape', 'end'])
def test_a_file_with_no_vector(docindex: Command, books: Path, tmp_path: Path, name: str, content: Any) -> None:
    """A file that is empty, cut off, damaged or nested without end is no vector: one line, exit code 2."""
    np.save(tmp_path / 'sound.npy', np.ones(3))
    sound = (tmp_path / 'sound.npy').read_bytes()
    damages = {'header': sound.replace(b'(3,)', b'(3,'), 'end': sound[:-1]}
    damages['shape'] = sound.replace(b'(3,), }' + b' ' * 11, b'(999999999999,), }')
    (tmp_path / name).write_bytes(damages.get(content, content))
    refused = docindex('find', books, '--vector', tmp_path / name, '-f', 'cover')
    assert (refused.returncode, refused.stderr.count('\n')) == (2, 1)
    assert refused.stderr.startswith(
        f'docindex: {tmp_path / name} is neither an .npy file nor a JSON list of numbers: '
    )


def test_find_words(docindex: Command, books: Path) -> None:
    """`find --text` ranks by words, and with a vector by both; a filter and a limit count for each."""
    found = lines(docindex('find', books, '--text', 'old 7', '--limit', 2, '--filter', '{"price": {"$gt": 3}}'))
    assert found[0]['document'] == book(7)
    assert len(found) == 2
    both = lines(docindex('find', books, '--text', 'old', '--like', 'b2', '-f', 'cover', '--limit', 3, '-s', 'id'))
    assert {one['document']['id'] for one in both} == {'b1', 'b3', 'b5'}
    table = docindex('find', books, '--text', 'old', '--limit', 1, '--table').stdout
    assert table.splitlines()[0].strip() == '1 document'


def test_filter_and_count(docindex: Command, books: Path) -> None:
    """`filter` writes what matches, in any order and number; `count` says how many there are."""
    cheap = '{"price": {"$lt": 3}, "tags": {"$contains": "x"}}'
    assert lines(docindex('filter', books, cheap)) == [book(1), book(3), book(5)]
    found = lines(docindex('filter', books, cheap, '--sort', 'price', '--descending', '--limit', 1, '-s', 'id'))
    assert found == [{'id': 'b5'}]
    assert len(lines(docindex('filter', books))) == 10
    assert len(lines(docindex('filter', books, '--all'))) == 12
    assert (lines(docindex('count', books)), lines(docindex('count', books, cheap))) == ([12], [3])
    assert docindex('filter', books, '{"price": 99}', '--table').stdout == 'no documents\n'


WRONG: dict[str, tuple[list[str], str]] = {
    'no query': (['find'], 'what is to be found? Say --like ID, --vector FILE or --text "some words"'),
    'two vectors': (['find', '--like', 'b1', '--vector', 'x'], '--like and --vector exclude each other'),
    'no field': (['find', '--like', 'b1'], 'say --field, for there are several vector fields: cover, back, parts__ve'),
    'another field': (['find', '--like', 'b1', '-f', 'titel'], "there is no vector field 'titel': cover, back"),
    'no vector': (['find', '--like', 'b1', '-f', 'back'], "the document 'b1' has no vector in back"),
    'an option in vain': (['find', '--text', 'x', '--exact'], '--exact has no meaning where only words are'),
    'another option in vain': (
        ['find', '--like', 'b1', '-f', 'cover', '--text-field', 'title'],
        '--text-field has no meaning without --text',
    ),
    'quotes': (['count', "{'price': 3}"], 'the filter is no JSON: '),
    'brackets': (['count', '[' * 20_000], 'this filter is nested too deeply'),
    'a directory': (['export', '.', '--format', 'csv'], 'this file cannot be written: it is a directory (.)'),
    'the root': (['export', '/', '--format', 'csv'], 'this file cannot be written: it is a directory (/)'),
    'no such field': (['count', '{"prize": 3}'], "Book has no field 'prize'; did you mean 'price'?"),
    'nothing to show': (['get', 'b1', '-s', 'prize'], "there is no field 'prize' to show; the fields are id, title"),
    'a limit': (['filter', '--limit', '0'], "Invalid value for '--limit'"),
    'no such option': (['info', '--nothing'], 'No such option: --nothing'),
    'nothing to delete': (['delete'], 'say which documents: either ids, or --filter'),
    'a rename': (['index', '-', '--rename', 'text'], '--rename text: expected COLUMN=FIELD'),
}


@pytest.mark.parametrize('what', WRONG)
def test_what_makes_no_sense(docindex: Command, books: Path, what: str) -> None:
    """What makes no sense is exit code 2, and one line that says what does."""
    (name, *rest), expected = WRONG[what]
    refused = docindex(name, books, *rest)
    assert (refused.returncode, refused.stdout) == (2, '')
    assert refused.stderr.startswith(f'docindex: {expected}')
    assert refused.stderr.count('\n') == 1


def test_a_document_that_is_not_there(docindex: Command, books: Path) -> None:
    """A document that something is to be like, and that is not there, is exit code 1."""
    refused = docindex('find', books, '--like', 'nope', '-f', 'cover')
    assert (refused.returncode, refused.stderr) == (1, "docindex: there is no document 'nope'\n")


def test_with_the_class(docindex: Command, books: Path) -> None:
    """Each command that reads takes the class, too."""
    for command in (['get', books, 'b1'], ['filter', books, '{"id": "b1"}']):
        assert lines(docindex(*command, '--schema', 'tests.test_cli:Book')) == [book(1)]
    assert lines(docindex('count', books, '--schema', 'tests.test_cli:Book')) == [12]


# -- storing ------------------------------------------------------------------------------------------------


def test_documents_through_a_pipe(docindex: Command, books: Path, tmp_path: Path) -> None:
    """What `filter` and `export -` write, `index -` reads into another index, and into the same without the class."""
    new = tmp_path / 'new'
    exported = docindex('export', books, '-', '--filter', '{"price": {"$lt": 2}}')
    assert exported.stderr == '4 documents written to standard output\n'
    assert exported.stdout == docindex('filter', books, '{"price": {"$lt": 2}}').stdout
    refused = docindex('index', new, '-', given=exported.stdout)
    assert refused.stderr == f'docindex: there is no index in {new} yet; to make one, say --schema module:Class\n'
    stored = docindex('index', new, '-', '--schema', 'tests.test_cli:Book', given=exported.stdout)
    assert stored.stdout.startswith('standard input: 4 rows stored')
    assert docindex('index', new, '-', given=json.dumps(book(9))).returncode == 0
    assert lines(docindex('filter', new, '--sort', 'price')) == [book(0), book(1), book(2), book(3), book(9)]
    table = docindex('export', new, '-', '--format', 'csv')
    renamed = table.stdout.replace('title,', 'name,', 1)
    again = docindex('index', new, '-', '--format', 'csv', '--rename', 'name=title', given=renamed)
    assert again.stdout.startswith('standard input: 5 rows stored')
    assert lines(docindex('get', new, 'b9')) == [book(9)]


def test_a_row_that_does_not_fit(docindex: Command, books: Path) -> None:
    """A row that does not fit is exit code 1, and a line that says which and why."""
    refused = docindex('index', books, '-', given=json.dumps({**book(1), 'price': 'much'}))
    assert (refused.returncode, refused.stdout) == (1, '')
    assert refused.stderr.startswith("docindex: standard input, row 1 (line 1): (id 'b1'): price: Input should be a")
    skipped = docindex('index', books, '-', '--skip', given='nothing\n' + json.dumps(book(20)))
    assert (skipped.returncode, skipped.stdout.count('\n')) == (1, 2)
    assert lines(docindex('count', books)) == [13]


def test_a_class_with_code_of_its_own(docindex: Command, tmp_path: Path) -> None:
    """Where a class has a validator, storing asks for the class, and everything else goes without it."""
    row = json.dumps({'id': 'a', 'text': 'x', 'vector': [1, 2]})
    with_class = ['--schema', 'tests.test_cli:Checked']
    assert docindex('index', tmp_path / 'i', '-', *with_class, given=row).returncode == 0
    refused = docindex('index', tmp_path / 'i', '-', given=row)
    assert refused.returncode == 2
    assert 'Checked has not_empty()' in refused.stderr
    assert '--schema module:Class' in refused.stderr
    (found,) = lines(docindex('info', tmp_path / 'i'))
    assert found['unknown'] == ['Checked has not_empty()']
    assert lines(docindex('get', tmp_path / 'i', 'a', '-s', 'text')) == [{'text': 'x'}]
    assert docindex('delete', tmp_path / 'i', 'a').stdout == '1 document deleted\n'
    assert docindex('check', tmp_path / 'i').returncode == 0


def test_lost_commits_stay_lost(docindex: Command, made: Path, tmp_path: Path) -> None:
    """Where SQLite's log is gone, `check` says so, and `--repair` changes nothing, so that it fits if it is found."""
    with closing(sqlite3.connect(made / 'documents.sqlite3', isolation_level=None)) as connection:
        connection.execute("UPDATE fields SET f_text = 'other' WHERE label = 20")
    with HnswDocumentIndex[Note](work_dir=made) as index:
        index.index([Note(id='lost', vector=np.ones(4))])
        copy = shutil.copytree(made, tmp_path / 'copy')
    (copy / 'documents.sqlite3-shm').unlink()
    log = (copy / 'documents.sqlite3-wal').rename(tmp_path / 'log')
    before = (copy / 'documents.sqlite3').read_bytes()
    for _ in range(2):
        assert 'SQLite has lost 1 commits that vector.0.f32 knows of' in docindex('check', copy).stdout
        repaired = docindex('check', copy, '--repair')
        assert (repaired.returncode, 'this file has lost 1 of 3 commits' in repaired.stderr) == (1, True)
    assert (copy / 'documents.sqlite3').read_bytes() == before
    for file in copy.glob('documents.sqlite3-*'):
        file.unlink()
    log.rename(copy / 'documents.sqlite3-wal')
    assert docindex('check', copy, '--repair').returncode == 0
    assert json.loads(docindex('get', copy, 'lost').stdout)['id'] == 'lost'


def test_a_check_without_the_class(docindex: Command, tmp_path: Path) -> None:
    """Where a class has a validator, `check` says what it cannot compare, and still tells of a damaged id."""
    path = tmp_path / 'i'
    with HnswDocumentIndex[Checked](work_dir=path) as index:
        index.index([Checked(id=id_, text='x', vector=np.ones(2)) for id_ in 'ab'])
    sound, said = docindex('check', path).stdout.splitlines()
    assert sound == '2 documents and 2 vectors read: sound'
    assert said == (
        'What filters look at was not compared, which takes the class and index.verify(): Checked has not_empty().'
    )
    with closing(sqlite3.connect(path / 'documents.sqlite3', isolation_level=None)) as connection:
        connection.execute("UPDATE documents SET id = 'c' WHERE id = 'b'")
    checked = docindex('check', path)
    assert checked.returncode == 1
    assert "document 'c': its row says the id is 'b'" in checked.stdout


def test_delete(docindex: Command, books: Path) -> None:
    """`delete` takes ids or a filter; an id that is not there is said, and exit code 1."""
    some = docindex('delete', books, 'b1', 'nope', 'b1')
    assert (some.returncode, some.stdout) == (1, '1 document deleted\n')
    assert some.stderr == "docindex: there is no document 'nope'\n"
    assert docindex('delete', books, '--filter', '{"price": {"$gte": 4}}').stdout == '4 documents deleted\n'
    assert lines(docindex('count', books)) == [7]
    assert docindex('check', books).returncode == 0


def test_tune(docindex: Command, books: Path) -> None:
    """`tune` stores the ef that it finds, or only measures; a recall that is not reached is exit code 1."""
    (found,) = lines(docindex('tune', books, '-f', 'cover', '--measure', '--limit', 2))
    assert (found['search_field'], found['is_reached'], found['is_stored']) == ('cover', True, False)
    assert docindex('tune', books, '-f', 'cover', '--limit', 2, '--table').stdout.startswith('cover: ef=')
    (info,) = lines(docindex('info', books))
    assert info['fields']['cover']['settings']['ef'] == found['ef']


# -- as a program -------------------------------------------------------------------------------------------


def test_ctrl_c(docindex: Command, books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is exit code 130 and a line, and leaves nothing open."""

    def interrupted(text: str | None) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, 'filter_of', interrupted)
    ended = docindex('count', books)
    assert (ended.returncode, ended.stderr) == (130, 'docindex: interrupted; nothing is half done\n')


def test_who_reads_has_enough(books: Path) -> None:
    """Where the reader of a pipe stops reading, as `head` does, nobody complains."""
    code = f'{sys.executable} -m docindex filter {books} --all | {sys.executable} -c "input()"'
    with HnswDocumentIndex[Book](work_dir=books) as index:  # more than a pipe holds
        index.index([{**book(at), 'title': 'long ' * 1000} for at in range(100)])
    ended = subprocess.run(code, shell=True, capture_output=True, text=True, env=environment(), check=False)
    assert (ended.returncode, ended.stderr) == (0, '')


@pytest.mark.skipif(sys.platform == 'win32', reason='there are no pseudo-terminals')
def test_on_a_terminal(books: Path) -> None:
    """On a terminal documents are a table, without a word about it; vectors are left out."""
    import pty

    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, '-m', 'docindex', 'filter', str(books), '--limit', '2'],
        stdout=theirs,
        env={**environment(), 'COLUMNS': '200', 'NO_COLOR': '1', 'TERM': 'dumb'},
        timeout=PATIENCE,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ended.returncode == 0
    assert shown.startswith('2 documents')
    assert 'The old book 1' in shown
    assert 'cover' not in shown


# -- the page -----------------------------------------------------------------------------------------------


def test_the_page_is_that_of_the_commands() -> None:
    """docs/cli.md is what is written from the commands; `python -m docindex.cli.reference docs/cli.md` does it."""
    assert (ROOT / 'docs' / 'cli.md').read_text() == reference()


def test_every_command_is_explained() -> None:
    """Each command has a text, and so has each of its arguments and options."""
    from typer.main import get_command

    commands: Any = get_command(app)
    for command in commands.commands.values():
        assert command.help
        assert all(param.help for param in command.params)


def test_without_typer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command line's library is missing, one line says what to install."""
    code = "import sys; sys.modules['typer'] = None; from docindex.__main__ import main; main()"
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment(), check=False)
    assert ended.returncode == 1
    assert ended.stderr == "docindex: the command line needs typer: pip install 'docindex-hnsw[cli]'\n"


# -- copy --------------------------------------------------------------------------------------------------


def test_copy_there_and_back(docindex: Command, books: Path, tmp_path: Path) -> None:
    """A directory is copied to Milvus and back without the class; the second time there is nothing to write."""
    server = f'milvus:{tmp_path / "server.db"}/books'
    first = docindex('copy', books, server)
    again = docindex('copy', books, server)
    back = docindex('copy', server, tmp_path / 'back')
    assert (first.returncode, again.returncode, back.returncode) == (0, 0, 0)
    count = docindex('count', books).stdout.strip()
    assert f'{count} documents: {count} written' in first.stdout
    assert ' 0 written' in again.stdout
    assert docindex('count', tmp_path / 'back').stdout.strip() == count
    exported = [docindex('export', place, '-').stdout for place in (books, tmp_path / 'back')]
    assert exported[0] == exported[1]


def test_copy_of_some(docindex: Command, books: Path, tmp_path: Path) -> None:
    """`--filter` copies what matches, and `--mirror` deletes what the source does not have."""
    target = tmp_path / 'some'
    docindex('copy', books, target, '--filter', '{"id": {"$in": ["b1", "b2"]}}')
    assert docindex('count', target).stdout.strip() == '2'
    docindex('delete', books, 'b1')
    assert docindex('copy', books, target, '--mirror').returncode == 0
    assert docindex('get', target, 'b1').returncode == 1


@pytest.mark.parametrize(
    'place', ['milvus:/x', 'milvus://', 'milvus://user:secret@/x', 'milvus:./there.db/nothing', 'nowhere'], ids=str
)
def test_copy_from_where_nothing_is(docindex: Command, tmp_path: Path, place: str) -> None:
    """A source that is none is one line, without any password, and exit code 2."""
    place = place.replace('./there', str(tmp_path / 'there'))
    ran = docindex('copy', place, tmp_path / 'target')
    assert ran.returncode == 2
    assert len(ran.stderr.strip().splitlines()) == 1
    assert 'secret' not in ran.stderr
