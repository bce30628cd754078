"""The command `docindex`, as a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray
from tests.programs import PATIENCE, environment


class Note(BaseDoc):
    text: str = ''
    vector: NdArray = Field(dim=4)


def docindex(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'docindex', *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**environment(), 'COLUMNS': '200', 'NO_COLOR': '1'},
        check=False,
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A closed index of thirty notes, ten of them replaced."""
    path = tmp_path / 'made'
    with HnswDocumentIndex[Note](work_dir=path) as index:
        vectors = np.random.default_rng(0).normal(size=(40, 4))
        index.index([Note(id=str(at % 30), vector=vector) for at, vector in enumerate(vectors[:30])])
        index.index([Note(id=str(at), vector=vector) for at, vector in enumerate(vectors[30:])])
    return path


def test_a_sound_index(made: Path) -> None:
    """`check` of a sound directory says so and exits with 0, also while the index is open."""
    with HnswDocumentIndex[Note](work_dir=made):
        checked = docindex('check', made)
    assert (checked.returncode, checked.stdout) == (0, '30 documents and 30 vectors read: sound\n')
    assert docindex('check', '--repair', made).returncode == 0


def test_a_damaged_index(made: Path) -> None:
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


def test_compact(made: Path) -> None:
    """`compact` removes what is dead, and says how much that was."""
    assert docindex('compact', made).stdout == '30 documents; 10 dead versions are gone\n'
    with HnswDocumentIndex[Note](work_dir=made) as index:
        assert len(index) == 30
        assert index.verify().is_sound


def test_backup(made: Path, tmp_path: Path) -> None:
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
        refused = docindex(*command, made)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert 'open for writing' in refused.stderr


@pytest.mark.parametrize('what', ['nothing there', 'no index'])
def test_there_is_nothing_to_check(tmp_path: Path, what: str) -> None:
    """A directory without an index is an error of use."""
    path = tmp_path if what == 'no index' else tmp_path / 'nowhere'
    checked = docindex('check', path)
    assert checked.returncode == 2
    assert 'Traceback' not in checked.stderr
    assert not (tmp_path / 'documents.sqlite3').exists()


def test_a_file_goes_in_and_out(tmp_path: Path) -> None:
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


@pytest.mark.parametrize('schema', ['nowhere:Note', 'tests.test_cli:Nothing', 'tests.test_cli', 'tests.test_cli:Path'])
def test_a_schema_that_is_none(made: Path, tmp_path: Path, schema: str) -> None:
    """What is no document class is refused in one line."""
    refused = docindex('export', made, tmp_path / 'x.csv', '--schema', schema)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f'docindex: --schema {schema}: ')


def test_help_names_every_command() -> None:
    """`--help` lists the commands with a line each."""
    shown = docindex('--help').stdout
    for line in ('check', 'compact', 'backup', 'Read everything, and list every document that is damaged.'):
        assert line in shown


def test_without_typer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command line's library is missing, one line says what to install."""
    code = "import sys; sys.modules['typer'] = None; from docindex.__main__ import main; main()"
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment(), check=False)
    assert ended.returncode == 1
    assert ended.stderr == "docindex: the command line needs typer: pip install 'docindex-hnsw[cli]'\n"
