"""The public names, and what importing them costs."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import docindex
from tests import programs

OPTIONAL = [
    'torch',
    'jax',
    'tensorflow',
    'ml_dtypes',
    'PIL',
    'pandas',
    'tqdm',
    'rich',
    'pytest',
    'hypothesis',
    'pymilvus',
    'matplotlib',
    'umap',
    'fastapi',
    'docindex.testing',
]
LATE = [
    *OPTIONAL,
    'asyncio',
    'concurrent.futures',
    'docindex.arrow',
    'docindex.display',
    'docindex.exporting',
    'docindex.expressions',
    'docindex.formats',
    'docindex.frames',
    'docindex.fromdocarray',
    'docindex.hnsw.check',
    'docindex.loading',
    'docindex.media',
    'docindex.pictures',
    'docindex.planes',
    'docindex.plotting',
    'docindex.predefined',
    'docindex.responses',
    'docindex.sources',
    'docindex.tables',
    'docindex.texts',
    'html',
    'numpy.random',
    'urllib.request',
]
"""What only some programs need: it is loaded by the calls that need it."""


def test_all_is_what_can_be_seen() -> None:
    """`__all__` lists every public name of the package, once, and `dir` shows these and nothing else."""
    assert {name for name in dir(docindex) if not name.startswith('_')} == set(docindex.__all__)
    assert len(docindex.__all__) == len(set(docindex.__all__))


def test_each_name_is_what_type_checkers_take_it_for() -> None:
    """Each public name is the object that the imports name which only type checkers read, and there are no others."""
    tree = ast.parse(Path(docindex.__file__).read_text())
    read_by_checkers = next(node for node in tree.body if isinstance(node, ast.If))
    imported = [node for node in read_by_checkers.body if isinstance(node, ast.ImportFrom)]
    named = {alias.name: f'docindex.{node.module}' for node in imported for alias in node.names}
    assert set(named) == set(docindex.__all__)
    for name, module in named.items():
        assert getattr(docindex, name) is getattr(import_module(module), name)


def test_every_error_is_public() -> None:
    """Whatever docindex raises on purpose can be caught by a name of the package."""
    errors = {name for name, value in vars(docindex.errors).items() if name.endswith('Error') and value.__module__}
    assert errors <= set(docindex.__all__)


def test_star_import_brings_the_public_names() -> None:
    """`from docindex import *` works and brings `__all__`."""
    names: dict[str, object] = {}
    exec('from docindex import *', names)
    assert set(docindex.__all__) <= set(names)


def test_the_version_is_a_version() -> None:
    """`__version__` consists of numbers."""
    assert all(part.isdecimal() for part in docindex.__version__.split('.'))


def test_importing_docindex_loads_nothing_else() -> None:
    """`import docindex` alone loads no other module that is not of the standard library, and little of that."""
    loaded = set(programs.run('import docindex, sys; print(*sys.modules)').stdout.split())
    assert {name for name in loaded if name.startswith('docindex')} == {'docindex', 'docindex._later'}
    assert not {'numpy', 'pydantic', 'hnswlib', 'filelock', 'sqlite3', 'asyncio', 'dataclasses'} & loaded


def test_every_public_name_loads_nothing_optional() -> None:
    """All public names together load the four dependencies, and nothing optional, even where it is installed."""
    loaded = programs.run('from docindex import *; import sys; print(*sys.modules)').stdout.split()
    assert {'numpy', 'pydantic', 'hnswlib', 'filelock'} <= set(loaded)
    assert not set(OPTIONAL) & set(loaded)


def test_indexing_and_finding_load_what_they_need(tmp_path: Path) -> None:
    """A program that indexes, finds, filters and reads waits for none of the modules that only other calls need."""
    code = """
import sys
from docindex import BaseDoc, HnswDocumentIndex, NdArray
class Note(BaseDoc):
    text: str
    embedding: NdArray[2]
with HnswDocumentIndex[Note](work_dir=sys.argv[1]) as index:
    index.index([Note(id='a', text='one', embedding=[1, 2]), Note(id='b', text='two', embedding=[3, 4])])
    assert index.find([1, 2], filter={'text': 'two'}).documents.id == ['b']
    assert index['a'].text == 'one'
print(*sys.modules)
"""
    loaded = programs.run(code, tmp_path).stdout.split()
    assert 'docindex.hnsw.store' in loaded
    assert not set(LATE) & set(loaded)


def test_modules_are_attributes_as_if_they_had_been_imported() -> None:
    """`docindex.errors` is there after `import docindex`, as type checkers think; what does not exist is missed."""
    code = (
        'import docindex; print(docindex.errors.DocIndexError is docindex.DocIndexError, hasattr(docindex, "nothing"))'
    )
    assert programs.run(code).stdout.split() == ['True', 'False']


def test_help_shows_the_public_names() -> None:
    """`help(docindex)` shows what is public, though nothing was loaded before."""
    shown = programs.run('import docindex; help(docindex)').stdout
    for name in ('class BaseDoc', 'class HnswDocumentIndex', 'import_docarray(', 'class VideoUrl', 'class QueryError'):
        assert name in shown
