"""
What every version of docindex has written, this one reads: the directories under `tests/formats`.

See `tests/formats/make.py`, which has written them and says what they hold.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import docindex
from docindex import CorruptIndexError, DocIndexError, FormatVersionError, HnswDocumentIndex
from docindex.testing import ExactIndex
from tests.formats import make
from tests.programs import ROOT

VERSIONS = sorted(path.name for path in make.HERE.iterdir() if path.is_dir() and path.name[0].isdigit())
SHELVES = [(version, path.name) for version in VERSIONS for path in sorted((make.HERE / version).iterdir())]
_EACH = pytest.mark.parametrize(('version', 'name'), SHELVES)


def held(name: str) -> ExactIndex:
    """Return what a shelf holds."""
    shelf = make.SHELVES[name]
    oracle: ExactIndex = ExactIndex(shelf.spaces)
    for change in shelf.changes:
        change(oracle)
    return oracle


@pytest.fixture
def copy(tmp_path: Path, version: str, name: str) -> Path:
    """A copy of a shelf of a version."""
    shutil.copytree(make.HERE / version / name, tmp_path / 'index')
    return tmp_path / 'index'


def test_this_version_has_written_all_shelves() -> None:
    """There is a directory of this version, with every kind of index in it, and it is small."""
    assert docindex.__version__ in VERSIONS
    assert sorted(path.name for path in (make.HERE / docindex.__version__).iterdir()) == sorted(make.SHELVES)
    for version in VERSIONS:
        assert sum(file.stat().st_size for file in (make.HERE / version).rglob('*') if file.is_file()) < 300_000


@pytest.mark.skipif(not (ROOT / '.git').exists() or shutil.which('git') is None, reason='this is no clone')
def test_no_shelf_is_ignored() -> None:
    """Git ignores none of the files, whatever their names end in."""
    files = [str(file) for version in VERSIONS for file in (make.HERE / version).rglob('*') if file.is_file()]
    assert files
    done = subprocess.run(['git', 'check-ignore', *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, '')


@_EACH
def test_it_holds_what_was_stored(copy: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each document is what was stored, each vector finds what it should, and nothing is wrong with it."""
    oracle = held(name)
    with HnswDocumentIndex[make.SHELVES[name].doc_type](work_dir=copy) as index:  # type: ignore[name-defined]
        oracle.check_all(index)
        report = index.verify()
        assert report.problems == []
        assert report.documents == len(oracle.docs)
        for field in oracle.spaces:
            assert index._store.state.graphs.get(field) is not None
    assert caplog.messages == [], 'a graph file was not used'


@_EACH
def test_it_can_be_read_only(copy: Path, name: str) -> None:
    """A reader sees all of it."""
    with HnswDocumentIndex[make.SHELVES[name].doc_type](work_dir=copy, read_only=True) as index:  # type: ignore[name-defined]
        held(name).check_all(index)


@_EACH
def test_it_goes_on(copy: Path, name: str) -> None:
    """It can be written to, compacted and copied, and opens again."""
    shelf, oracle = make.SHELVES[name], held(name)
    with HnswDocumentIndex[shelf.doc_type](work_dir=copy) as index:  # type: ignore[name-defined]
        gone, changed = list(oracle.docs)[:2]
        new = oracle.docs[changed].model_copy(update={'id': 'new'})
        for store in (index, oracle):
            store.delete([gone])
            store.index([new])
        oracle.check_all(index)
        index.compact()
        index.backup(copy.with_name('copy'))
    for directory in (copy, copy.with_name('copy')):
        with HnswDocumentIndex[shelf.doc_type](work_dir=directory) as index:  # type: ignore[name-defined]
            oracle.check_all(index)
            assert index.verify().problems == []


@_EACH
def test_damage_is_noticed(copy: Path, version: str, name: str) -> None:
    """A file that is cut, or is not what it should be, is an error that names it; a graph file is made anew."""
    doc_type, oracle = make.SHELVES[name].doc_type, held(name)
    files = [file for file in copy.rglob('*') if file.is_file()]
    assert len(files) > 1
    for path in files:
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b'\xff' * len(whole), whole[:10]):
            path.write_bytes(content)
            if path.suffix == '.hnsw':
                with HnswDocumentIndex[doc_type](work_dir=copy) as index:  # type: ignore[valid-type]
                    oracle.check_all(index)
            else:
                with pytest.raises(DocIndexError) as raised:
                    use(copy, doc_type, oracle)
                assert path.name in str(raised.value)
            shutil.rmtree(copy)
            shutil.copytree(make.HERE / version / name, copy)


def use(path: Path, doc_type: type, oracle: ExactIndex) -> None:
    with HnswDocumentIndex[doc_type](work_dir=path) as index:  # type: ignore[valid-type]
        for id_ in oracle.docs:
            index[id_]


@_EACH
def test_a_later_format_is_refused(copy: Path, name: str) -> None:
    """A vector file of a format that this version does not know is told from a damaged one."""
    (path, *_) = sorted((copy / 'vectors').iterdir())
    content = bytearray(path.read_bytes())
    content[8:12] = np.array([1000], '<u4').tobytes()
    path.write_bytes(content)
    with pytest.raises(FormatVersionError, match='newer docindex') as raised:
        HnswDocumentIndex[make.SHELVES[name].doc_type](work_dir=copy)  # type: ignore[name-defined]
    assert not isinstance(raised.value, CorruptIndexError)


def test_the_shelves_can_be_made_anew(tmp_path: Path) -> None:
    """The program that has written the directories still does, and what it writes now holds the same."""
    make.make(tmp_path / 'anew')
    for name, shelf in make.SHELVES.items():
        with HnswDocumentIndex[shelf.doc_type](work_dir=tmp_path / 'anew' / name) as index:  # type: ignore[name-defined]
            held(name).check_all(index)
